"""What a customer says of his order: "I have paid", and the file that shows it (S61).

A file of its own because it is the only thing that strangers may write. Never commits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from sqlalchemy import func, select

from server.db import db
from server.merchants.service import lock_merchant
from server.orders.ledger import NotPossible, note, order_now
from server.orders.merchant_notices import tell_of_claim
from server.orders.models import OWING_STATUSES, Order, PaymentClaim, Proof
from server.orders.pauses import pause_reminders
from server.orders.service import request_match
from server.orders.told import zone_of

MAX_PROOF_BYTES: Final = 10 * 1024 * 1024
MAX_MESSAGE: Final = 1000
MAX_CLAIMS: Final = 10
MAX_PROOFS: Final = 5
MAX_FILENAME: Final = 255
EARLIEST_PAYMENT: Final = timedelta(days=2 * 365)

_BEGINNINGS: Final = {
    "application/pdf": (b"%PDF-", (".pdf",)),
    "image/jpeg": (b"\xff\xd8\xff", (".jpg", ".jpeg")),
    "image/png": (b"\x89PNG\r\n\x1a\n", (".png",)),
}


@dataclass(frozen=True, slots=True)
class ProofFile:
    """An upload: the name that the customer's device gave it, and its bytes."""

    filename: str
    content: bytes


def claim_paid(
    order: Order, *, paid_on: date | None, message: str, proof: ProofFile | None, at: datetime
) -> PaymentClaim:
    """Note it, tell the merchant, and let reminders rest for the days that he has set.

    Raises NotPossible: the order owes nothing, a date in the future, a file that is none of PDF,
    JPEG and PNG or larger than 10 MB, or too many of either.
    """
    lock_merchant(order.merchant_id)
    row = order_now(order.merchant_id, order.id)
    if row.payment_status not in (*OWING_STATUSES, "cancelled", "collection"):
        raise NotPossible("claim_not_owing")
    today = at.astimezone(zone_of(row.merchant_id)).date()
    if paid_on is not None and not today - EARLIEST_PAYMENT <= paid_on <= today:
        raise NotPossible("claim_date_impossible")
    if _count(PaymentClaim, row.id) >= MAX_CLAIMS:
        raise NotPossible("claim_too_many")
    claim = PaymentClaim(
        merchant_id=row.merchant_id,
        order_id=row.id,
        claimed_at=at,
        paid_on=paid_on,
        message=message.replace("\x00", "").strip()[:MAX_MESSAGE],
    )
    db.session.add(claim)
    if proof is not None:
        keep_proof(row, proof, at)
        request_match(row.merchant_id, at)
    db.session.flush()
    pause_reminders(row, today)
    note(row, "claimed_paid", "", at, day=paid_on.isoformat() if paid_on else "")
    tell_of_claim(row, claim, has_proof=proof is not None, at=at)
    return claim


def keep_proof(order: Order, file: ProofFile, at: datetime) -> Proof:
    """Raises NotPossible. The name is for display; what the file is, its first bytes say."""
    if len(file.content) > MAX_PROOF_BYTES:
        raise NotPossible("proof_too_large")
    media_type = _media_type(file)
    if media_type is None:
        raise NotPossible("proof_of_no_kind")
    if _count(Proof, order.id) >= MAX_PROOFS:
        raise NotPossible("proof_too_many")
    row = Proof(
        merchant_id=order.merchant_id,
        order_id=order.id,
        filename=_plain_name(file.filename),
        media_type=media_type,
        content=file.content,
        size_bytes=len(file.content),
        received_at=at,
    )
    db.session.add(row)
    note(order, "proof_received", "", at)
    return row


def _media_type(file: ProofFile) -> str | None:
    """Both the first bytes and the name must say it."""
    name = file.filename.lower()
    for media_type, (beginning, endings) in _BEGINNINGS.items():
        if file.content.startswith(beginning) and name.endswith(endings):
            return media_type
    return None


def _plain_name(filename: str) -> str:
    last = filename.replace("\\", "/").rpartition("/")[2]
    kept = "".join(c if c.isprintable() and c not in '<>:"|?*' else "-" for c in last)
    return kept.strip(". ")[-MAX_FILENAME:] or "proof"


def _count(table: type[PaymentClaim | Proof], order_id: int) -> int:
    query = select(func.count()).select_from(table).where(table.order_id == order_id)
    return db.session.scalar(query) or 0


def settle_claims(merchant_id: int, order_id: int, *, actor: str, at: datetime) -> Order:
    """Somebody has looked, and the money is not there: reminders go on.

    Raises NotPossible if nothing waits to be looked at.
    """
    lock_merchant(merchant_id)
    order = order_now(merchant_id, order_id)
    waiting = [claim for claim in claims_of(order.id) if claim.settled_at is None]
    if not waiting:
        raise NotPossible("claim_settled")
    for claim in waiting:
        claim.settled_at, claim.settled_by = at, actor
    db.session.flush()
    pause_reminders(order, at.astimezone(zone_of(merchant_id)).date())
    note(order, "claim_settled", actor, at)
    return order


def claims_of(order_id: int) -> Sequence[PaymentClaim]:
    """The newest first."""
    query = select(PaymentClaim).where(PaymentClaim.order_id == order_id)
    return list(db.session.scalars(query.order_by(PaymentClaim.id.desc())))


def proofs_of(order_id: int) -> Sequence[Proof]:
    """The newest first, without their bytes."""
    query = select(Proof).where(Proof.order_id == order_id).order_by(Proof.id.desc())
    return list(db.session.scalars(query))


def proof_of(merchant_id: int, order_id: int, proof_id: int) -> Proof | None:
    """One file of the merchant's order."""
    return db.session.scalar(
        select(Proof).where(
            Proof.merchant_id == merchant_id, Proof.order_id == order_id, Proof.id == proof_id
        )
    )
