"""The return path of a mail: an address that says which mail came back and cannot be made up.

``b+<id>.<signature>@domain``: the row's id and 80 bits of an HMAC-SHA-256 over it, both in base32
(RFC 4648) and small letters; ``r+`` for a delivery of the relay. Who does not have the key can name
no mail of ours, so a forged report changes nothing, whatever stands in it. Pure.
"""

from __future__ import annotations

import hmac
import re
from base64 import b32decode, b32encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Final, Literal

SIGNATURE_BYTES = 10
MAX_ADDRESS_LENGTH = 320  # RFC 5321, 4.5.3.1: 64 + 1 + 255
MAX_ID = 2**63 - 1
Sort = Literal["b", "r"]
_PURPOSES: Final[Mapping[str, bytes]] = {  # the key signs other things too
    "b": b"kontor return path\0",
    "r": b"kontor relay return path\0",
}
_FORM = re.compile(r"([br])\+([a-z2-7]{2,13})\.([a-z2-7]{16})@(.+)", re.DOTALL)


def return_path(mail_id: int, secret: str, domain: str, sort: Sort = "b") -> str:
    """The envelope sender of this mail; its local part has at most 32 characters."""
    number = mail_id.to_bytes((mail_id.bit_length() + 7) // 8 or 1, "big")
    signature = hmac.digest(secret.encode(), _PURPOSES[sort] + number, sha256)[:SIGNATURE_BYTES]
    return f"{sort}+{_base32(number)}.{_base32(signature)}@{domain.lower()}"


def mail_id_of(address: str, secret: str, domain: str, sort: Sort = "b") -> int | None:
    """Whose return path this is; None for what is none of ours. Case does not matter.

    Servers on the way may change the case of a local part, though they should not.
    """
    small = address.strip().lower()
    found = _FORM.fullmatch(small) if len(address) <= MAX_ADDRESS_LENGTH else None
    if found is None or found[1] != sort or not small.isascii():
        return None
    number = found[2].upper()
    try:
        mail_id = int.from_bytes(b32decode(number + "=" * (-len(number) % 8)), "big")
    except ValueError:
        return None
    if not 0 < mail_id <= MAX_ID:
        return None
    # Compared as a whole: each mail has one spelling, and time tells nothing of the signature.
    expected = return_path(mail_id, secret, domain, sort)
    return mail_id if hmac.compare_digest(small.encode(), expected.encode()) else None


def _base32(raw: bytes) -> str:
    return b32encode(raw).decode().rstrip("=").lower()
