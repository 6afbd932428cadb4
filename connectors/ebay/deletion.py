"""eBay's marketplace account deletion: what eBay asks of everybody who uses its production API.

When a user of eBay closes the account, eBay tells every application, and all that is known of the
user must be erased. Before the first call eBay checks the address that it will tell: it sends a
challenge, and the answer shows that the address belongs to whoever entered it.

Everything here is pure; the public key is fetched by ``Ebay.public_key``.
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64decode
from dataclasses import dataclass
from typing import Any

from plugin_sdk.errors import Misconfigured, Rejected

TOPIC = "MARKETPLACE_ACCOUNT_DELETION"
SIGNATURE_HEADER = "x-ebay-signature"
MAX_BODY_BYTES = 64 * 1024
MAX_SIGNATURE = 4096
MAX_NAME = 256


@dataclass(frozen=True, slots=True)
class Proof:
    """What the header x-ebay-signature holds. ``key_id`` names the public key to fetch."""

    key_id: str
    signature: bytes


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key as /commerce/notification/v1/public_key answers it."""

    key: str
    algorithm: str = "ECDSA"
    digest: str = "SHA1"


@dataclass(frozen=True, slots=True)
class DeletedUser:
    """Whose traces must be erased. ``username`` is what orders know as their customer's number."""

    notification_id: str
    username: str | None
    user_id: str | None
    eias_token: str | None


def is_token(text: str) -> bool:
    """Does eBay take this as a verification token?"""
    return bool(re.fullmatch(r"[A-Za-z0-9_-]{32,80}", text))


def challenge_answer(challenge_code: str, verification_token: str, endpoint: str) -> dict[str, str]:
    """The JSON that answers GET endpoint?challenge_code=...

    ``endpoint``: the address as it was entered at eBay, to the letter, and the token beside it.
    """
    text = f"{challenge_code}{verification_token}{endpoint}"
    return {"challengeResponse": hashlib.sha256(text.encode()).hexdigest()}


def read_proof(header: str) -> Proof:
    """The header's content: base64 of JSON {alg, kid, signature, digest}. Raises Rejected."""
    try:
        if len(header) > MAX_SIGNATURE:
            raise ValueError
        content = json.loads(b64decode(header, validate=True))
        key_id, signature = content["kid"], b64decode(content["signature"], validate=True)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Rejected("The signature of the notification cannot be read.") from None
    # The id becomes a part of an address.
    if not isinstance(key_id, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,128}", key_id):
        raise Rejected("The signature of the notification names no key.")
    return Proof(key_id, signature)


def verify(body: bytes, proof: Proof, public_key: PublicKey) -> None:
    """Raises Rejected unless eBay signed exactly this body with this key."""
    try:
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import load_der_public_key
    except ImportError:
        raise Misconfigured(
            "Verifying what eBay tells needs more: install kontor-sdk[ebay] (cryptography)."
        ) from None
    # SHA-1 is eBay's choice; a forger would need a second preimage, which nobody can make.
    digests = {"SHA1": hashes.SHA1, "SHA256": hashes.SHA256}
    digest = digests.get(public_key.digest.upper().replace("-", ""))
    if public_key.algorithm.upper() != "ECDSA" or digest is None:
        raise Rejected("The notification is signed in a way that is not known here.")
    inner = "".join(part for part in public_key.key.split("-----") if "PUBLIC KEY" not in part)
    try:
        key = load_der_public_key(b64decode("".join(inner.split()), validate=True))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise Rejected("The public key of the notification cannot be read.")
    try:
        key.verify(proof.signature, body, ec.ECDSA(digest()))
    except InvalidSignature:
        raise Rejected("The signature of the notification does not fit.") from None


def read_deletion(body: bytes) -> DeletedUser:
    """Who is to be erased, from a verified notification. Raises Rejected for anything else."""
    try:
        if len(body) > MAX_BODY_BYTES:
            raise ValueError
        content = json.loads(body)
        topic = content["metadata"]["topic"]
        notification = content["notification"]
        user = notification["data"]
        names = [_name(user.get(key)) for key in ("username", "userId", "eiasToken")]
        notification_id = _name(notification.get("notificationId"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Rejected("The notification cannot be read.") from None
    if topic != TOPIC:
        raise Rejected("The notification is about something else.")
    if not notification_id or not any(names):
        raise Rejected("The notification names nobody.")
    return DeletedUser(notification_id, *names)


def _name(value: Any) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= MAX_NAME else None
