"""eBay's digital signatures: HTTP message signatures (RFC 9421) with Ed25519, as eBay wants them.

Calls of the Finances API for sellers in the EU and the UK must carry one. eBay makes the key pair
and hands out its public half encrypted (a JWE), which goes along with every call.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from plugin_sdk.errors import Misconfigured

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_HEADER = "x-ebay-signature-key"
LABEL = "sig1"


def signature_headers(
    private_key: str, jwe: str, method: str, url: str, created: int, content: bytes | None = None
) -> dict[str, str]:
    """The headers that sign a request. ``created``: seconds since 1970.

    ``private_key``: PKCS #8 in base64, with or without the lines around it, as eBay hands it out.
    Raises Misconfigured for a key that is none, and where ``cryptography`` is not installed.
    """
    headers = {KEY_HEADER: jwe}
    if content:
        headers["content-digest"] = content_digest(content)
    covered = ["content-digest"] if content else []
    covered += [KEY_HEADER, "@method", "@path", "@authority"]
    quoted = " ".join(f'"{name}"' for name in covered)
    parameters = f"({quoted});created={created}"
    base = signature_base(covered, parameters, method, url, headers)
    signature = _key_from(private_key).sign(base.encode())
    return {
        **headers,
        "Signature-Input": f"{LABEL}={parameters}",
        "Signature": f"{LABEL}=:{b64encode(signature).decode()}:",
    }


def signature_base(
    covered: list[str], parameters: str, method: str, url: str, headers: dict[str, str]
) -> str:
    """What is signed (RFC 9421, 2.5). ``headers``: names in lower case."""
    parts = urlsplit(url)
    derived = {
        "@method": method.upper(),
        "@path": parts.path or "/",
        "@authority": parts.netloc.lower(),
    }
    lines = [f'"{name}": {derived.get(name) or headers[name]}' for name in covered]
    return "\n".join([*lines, f'"@signature-params": {parameters}'])


def content_digest(content: bytes) -> str:
    """The value of Content-Digest (RFC 9530)."""
    return f"sha-256=:{b64encode(hashlib.sha256(content).digest()).decode()}:"


def _key_from(text: str) -> Ed25519PrivateKey:
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_der_private_key
    except ImportError:
        raise Misconfigured(
            "Signing calls to eBay needs more: install kontor-sdk[ebay] (cryptography)."
        ) from None
    inner = "".join(line for line in text.split("-----") if "PRIVATE KEY" not in line)
    try:
        key = load_der_private_key(b64decode("".join(inner.split()), validate=True), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise Misconfigured("Settings: signing_key is no Ed25519 private key.")
    return key
