"""How long reminders rest: because of what the customer said (S61, N8), or of money that goes back.

A file of its own because "I have paid", "I need more time" and a repayment ask it alike. The day is
found anew from what stands, so what is settled or refused leaves no pause behind, and none ends
that of another. Never commits.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Final

from sqlalchemy import select

from server.db import db
from server.merchants.service import settings_of
from server.orders.asking import REMINDERS, withhold_mails
from server.orders.models import DeferralRequest, Order, PaymentClaim, Refund
from server.orders.rules import REFUND_ARRANGED
from server.orders.told import zone_of

ASKED: Final = timedelta(days=3)
"""Who asks for more time is not reminded while he waits for the answer, but no longer than this:
a question alone must not put reminders off for good."""
MONEY_GOES_BACK: Final = timedelta(days=30)
"""Nobody is reminded to pay an order whose money is on its way back to him."""
PAUSED: Final = "the customer says that he has paid, or asked for more time"


def pause_reminders(order: Order, today: date) -> None:
    """Bring ``order.paused_until`` up to date, and withhold reminders that wait to be sent."""
    last = max(_days(order), default=None)
    order.paused_until = last if last is not None and last >= today else None
    if order.paused_until is not None:
        withhold_mails(order, REMINDERS, PAUSED)


def _days(order: Order) -> Iterator[date]:
    """The last day of every pause that stands."""
    zone = zone_of(order.merchant_id)
    claim_days = settings_of(order.merchant_id, order.shop_id).claim_pause_days
    if claim_days:
        claims = select(PaymentClaim.claimed_at).where(
            PaymentClaim.order_id == order.id, PaymentClaim.settled_at.is_(None)
        )
        for claimed_at in db.session.scalars(claims):
            yield claimed_at.astimezone(zone).date() + timedelta(days=claim_days)
    requests = select(DeferralRequest).where(DeferralRequest.order_id == order.id)
    for request in db.session.scalars(requests):
        if request.status == "open":
            yield request.asked_at.astimezone(zone).date() + ASKED
        elif request.status == "accepted" and request.granted_until is not None:
            yield request.granted_until
    repayments = select(Refund.requested_at).where(
        Refund.order_id == order.id, Refund.status.in_(REFUND_ARRANGED), Refund.amount > 0
    )
    for requested_at in db.session.scalars(repayments):
        yield requested_at.astimezone(zone).date() + MONEY_GOES_BACK
