"""What the customer said on his page, and what a person answers (S61, N8, N26).

He says that he has paid, shows a proof, or asks for more time. Nothing here moves money.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

from flask import g, request
from markupsafe import Markup
from sqlalchemy import select
from werkzeug.wrappers import Response as BaseResponse

from server.dashboard import words
from server.dashboard.order_detail import attempt, order_page, row_or_404
from server.dashboard.pages import plain, typed_id
from server.dashboard.words import t
from server.db import db, now
from server.orders import claims, deferrals
from server.orders.models import OWING_STATUSES, DeferralRequest, Order, PaymentClaim
from server.orders.service import NotPossible


def settle_claims(order_id: int) -> BaseResponse:
    """Looked at, and the money is not there: reminders go on."""
    row_or_404(order_id)

    def do() -> None:
        claims.settle_claims(g.merchant_id, order_id, actor=g.user.email, at=now())

    return attempt(order_id, do, "claim_settled")


def grant_time(order_id: int) -> BaseResponse:
    """Until the day of the form, which may be another than the customer's."""
    row_or_404(order_id)
    try:
        until = date.fromisoformat(plain(request.form.get("until", "")))
    except ValueError:
        return order_page(order_id, NotPossible("date_unreadable"), 422)
    if until < words.today() or until > words.today() + deferrals.LATEST_GRANTED:
        return order_page(order_id, NotPossible("date_out_of_range"), 422)
    return _answer(order_id, lambda **by: deferrals.grant(**by, until=until), "time_granted")


def refuse_time(order_id: int) -> BaseResponse:
    row_or_404(order_id)
    return _answer(order_id, deferrals.refuse, "time_refused")


def _answer(order_id: int, answer: Callable[..., object], done: str) -> BaseResponse:
    """To the very question that the page showed, not to one that came since."""
    request_id = typed_id(request.form.get("request"))

    def do() -> None:
        answer(
            merchant_id=g.merchant_id,
            order_id=order_id,
            request_id=request_id,
            actor=g.user.email,
            at=now(),
        )

    return attempt(order_id, do, done)


def waiting_words(merchant_id: int, orders: Sequence[Order]) -> dict[int, Markup]:
    """Order id to what its customer said and nobody has answered, for the list."""
    ids = [one.id for one in orders if one.payment_status in OWING_STATUSES]
    if not ids:
        return {}

    def of(table: type[PaymentClaim] | type[DeferralRequest], waits: Any) -> set[int]:
        found = select(table.order_id).where(
            table.merchant_id == merchant_id, table.order_id.in_(ids), waits
        )
        return set(db.session.scalars(found))

    claimed = of(PaymentClaim, PaymentClaim.settled_at.is_(None))
    asking = of(DeferralRequest, DeferralRequest.status == "open")
    return dict.fromkeys(claimed, t("claim.short")) | dict.fromkeys(asking, t("more_time.short"))
