"""The next mail of an order before it is sent (S84).

It is written by the very code that a run uses, and taken back: nothing is stored and nothing sent.
"""

from __future__ import annotations

from datetime import datetime

from flask import Blueprint, Response, abort, g
from sqlalchemy import func, select

from server.dashboard import order_queries
from server.dashboard.order_mails import framed
from server.dashboard.pages import page
from server.db import db, now
from server.dunning.circumstances import Circumstances
from server.dunning.reading import plan_for, read_orders
from server.dunning.service import carry_out
from server.mail.models import Mail
from server.mail.rules import FactError, Message
from server.mail.service import preview_mail
from server.mail.texts import own_templates
from server.merchants.service import lock_merchant
from server.orders.brakes import CUSTOMER_KINDS
from server.orders.ledger import NotPossible, order_now
from server.orders.models import Order

pages = Blueprint("dunning_preview", __name__)


@pages.get("/dunning/preview/<int:order_id>")
def show(order_id: int) -> Response:
    _order_or_404(order_id)
    message, language = next_mail(g.merchant_id, order_id, now()) or (None, None)
    return page(
        "dunning_preview.html",
        order=_order_or_404(order_id),
        message=message,
        mail_language=language,
    )


@pages.get("/dunning/preview/<int:order_id>/content")
def content(order_id: int) -> Response:
    _order_or_404(order_id)
    found = next_mail(g.merchant_id, order_id, now())
    if found is None:
        abort(404)
    return framed(found[0])


def next_mail(merchant_id: int, order_id: int, at: datetime) -> tuple[Message, str] | None:
    """(What it says, its language), as if the next step were today; None if that sends none."""
    try:
        mail = _written(merchant_id, order_id, at)
        if mail is None:
            return None
        return preview_mail(mail, own_templates([mail]).get(mail.id)), mail.language
    except (NotPossible, FactError):
        return None
    finally:
        db.session.rollback()


def _written(merchant_id: int, order_id: int, at: datetime) -> Mail | None:
    lock_merchant(merchant_id)
    order = order_now(merchant_id, order_id)
    here = Circumstances(merchant_id, at)
    (one,) = read_orders([order_id], here)
    step = plan_for(one, here).next
    before = db.session.scalar(select(func.max(Mail.id)).where(Mail.order_id == order_id)) or 0
    if step is None or not carry_out(order, one, step, here, actor=""):
        return None
    db.session.flush()
    written = select(Mail).where(
        Mail.order_id == order_id, Mail.id > before, Mail.kind.in_(CUSTOMER_KINDS)
    )
    return db.session.scalar(written.order_by(Mail.id.desc()).limit(1))


def _order_or_404(order_id: int) -> Order:
    order = order_queries.order_of(g.merchant_id, order_id)
    if order is None:
        abort(404)
    return order
