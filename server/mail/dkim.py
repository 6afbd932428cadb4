"""Signing mails with the key of the sender's domain: DKIM, RFC 6376.

Pure: bytes in, the same bytes with one field in front out. Both parts are canonicalised
`relaxed` (3.4.2, 3.4.4), because servers on the way may refold. The algorithm is rsa-sha256 with
keys of 2048 bits (RFC 8301). Fields that people read or that receivers act on are named once more
than they occur (8.15): one that is added on the way breaks the signature.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

KEY_BITS = 2048
PUBLIC_EXPONENT = 65_537
MAX_LINE = 76
MAX_DOMAIN_LENGTH = 253

SIGNED = (
    "From",
    "To",
    "Subject",
    "Reply-To",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "Feedback-ID",
    "List-Help",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "MIME-Version",
    "Content-Type",
)
"""What is signed, where it is present."""
SIGNED_ONCE_MORE = frozenset(
    {"From", "To", "Subject", "Reply-To", "Date", "Message-ID", "List-Unsubscribe"}
)
"""Of these, one more must not be added, nor a first where there was none."""

_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*")
_BLANKS = re.compile(rb" {2,}")


@dataclass(frozen=True)
class SigningKey:
    """A private key and where its public half is published: <selector>._domainkey.<domain>."""

    domain: str
    selector: str
    private_key: rsa.RSAPrivateKey = field(repr=False)

    def __post_init__(self) -> None:
        for name in (self.domain, self.selector):
            if len(name) > MAX_DOMAIN_LENGTH or not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a domain")


def new_key() -> tuple[bytes, str]:
    """A fresh key: the private half as PKCS #8 (DER), the public one as base64 for ``p=``."""
    private_key = rsa.generate_private_key(PUBLIC_EXPONENT, KEY_BITS)
    pkcs8 = private_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    public = private_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return pkcs8, b64encode(public).decode()


def load_key(domain: str, selector: str, pkcs8: bytes) -> SigningKey:
    """The key that ``new_key`` made. Raises ValueError if it is none, or a weak one."""
    # Ours, and sealed since we made it: checking the primes again would take 20 ms a key.
    private_key = load_der_private_key(pkcs8, password=None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(private_key, rsa.RSAPrivateKey) or private_key.key_size < KEY_BITS:
        raise ValueError(f"a signing key is RSA with {KEY_BITS} bits or more")
    return SigningKey(domain, selector, private_key)


def sign(raw: bytes, key: SigningKey, at: datetime) -> bytes:
    """``raw`` with a DKIM-Signature field in front; nothing else of it changes.

    ``raw`` is the whole mail as it goes over the wire, with CRLF lines. Raises ValueError for a
    mail without From and for bare CR or LF, which a server on the way would change.
    """
    if not raw.count(b"\r\n") == raw.count(b"\n") == raw.count(b"\r"):
        raise ValueError("the lines of a mail end with CRLF")
    head, _, body = raw.partition(b"\r\n\r\n")
    occurring = _fields(head)
    if "from" not in occurring:
        raise ValueError("a mail without From is not signed")
    names = _signed_names(occurring)
    unsigned = _unsigned_field(key, names, _body_hash(body), at)
    signed = b"".join([*_canonical_fields(occurring, names), _relaxed(unsigned.encode())])
    signature = key.private_key.sign(signed, padding.PKCS1v15(), SHA256())
    return f"{unsigned}{_folded(b64encode(signature).decode())}\r\n".encode() + raw


def _fields(head: bytes) -> dict[str, list[bytes]]:
    """The fields of each name, in lower case, from the top."""
    found: dict[str, list[bytes]] = {}
    for one in re.split(rb"\r\n(?![ \t])", head.removesuffix(b"\r\n")):
        name = one.partition(b":")[0].strip(b" \t").decode("ascii", "replace").lower()
        found.setdefault(name, []).append(one)
    return found


def _signed_names(occurring: dict[str, list[bytes]]) -> list[str]:
    """What ``h=`` lists: each field as often as it occurs, some once more."""
    return [
        name
        for name in SIGNED
        for _ in range(len(occurring.get(name.lower(), ())) + (name in SIGNED_ONCE_MORE))
    ]


def _canonical_fields(occurring: dict[str, list[bytes]], names: list[str]) -> list[bytes]:
    """Of several fields of one name the lowest comes first (5.4.2); absent ones are nothing."""
    taken: Counter[str] = Counter()
    canonical = []
    for name in (one.lower() for one in names):
        taken[name] += 1
        fields = occurring.get(name, [])
        if taken[name] <= len(fields):
            canonical.append(_relaxed(fields[-taken[name]]) + b"\r\n")
    return canonical


def _relaxed(one: bytes) -> bytes:
    """A field on one line, with single blanks, its name in lower case (3.4.2); no line end."""
    name, _, value = one.partition(b":")
    unfolded = _single_blanks(value.replace(b"\r\n", b"")).strip(b" ")
    return name.rstrip(b" \t").lower() + b":" + unfolded


def _single_blanks(text: bytes) -> bytes:
    spaces = text.replace(b"\t", b" ")
    return _BLANKS.sub(b" ", spaces) if b"  " in spaces else spaces


def _body_hash(body: bytes) -> str:
    """Of the body without blanks at the end of lines and without empty lines at its end (3.4.4)."""
    text = _single_blanks(body).replace(b" \r\n", b"\r\n").rstrip(b" \r\n")
    return b64encode(sha256(text + b"\r\n" if text else b"").digest()).decode()


def _unsigned_field(key: SigningKey, names: list[str], body_hash: str, at: datetime) -> str:
    """The field up to ``b=``, folded."""
    tags = [
        "v=1;",
        "a=rsa-sha256;",
        "c=relaxed/relaxed;",
        f"d={key.domain};",
        f"s={key.selector};",
        f"t={int(at.timestamp())};",
        *(f"{name}:" for name in ["h=" + names[0], *names[1:-1]]),
        f"{names[-1]};",
        f"bh={body_hash};",
    ]
    lines = ["DKIM-Signature:"]
    for tag in tags:
        if len(lines[-1]) + 1 + len(tag) > MAX_LINE:
            lines.append("")
        lines[-1] += " " + tag
    return "\r\n".join([*lines, " b="])


def _folded(signature: str) -> str:
    parts = [signature[at : at + MAX_LINE - 4] for at in range(0, len(signature), MAX_LINE - 4)]
    return "\r\n ".join(parts)
