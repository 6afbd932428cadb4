"""An order in every state that its customer's page knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

from server.db import db, now
from server.mail.models import Mail
from server.merchants.models import Merchant
from server.orders import deferrals, lifecycle, service
from server.orders.claims import ProofFile, claim_paid
from server.orders.links import page_url
from server.orders.models import Order
from server.refunds import service as refunds
from server.shops.models import Shop
from tests.factories import make_order, make_posting, today

ACTOR = "anna@example.org"
PAYER = "DE89370400440532013000"


def path_of(order: Order) -> str:
    return "/pay/" + page_url(order).rpartition("/pay/")[2]


def owing(shop: Shop, **over: Any) -> Order:
    customer = {"email": "erika@example.org", "language": over.pop("language", "de")}
    values = {"total": "1284.60", "at": now(), "ordered_at": now().isoformat()}
    return make_order(shop, customer=customer, **(values | over))


def partly_paid(shop: Shop, **over: Any) -> Order:
    order = owing(shop, **over)
    _pay(order, "1000.00")
    return order


def claimed(shop: Shop, **over: Any) -> Order:
    order = owing(shop, **over)
    proof = ProofFile("Beleg.pdf", b"%PDF-1.7 x")
    claim_paid(order, paid_on=today(), message="Gestern", proof=proof, at=now())
    return order


def asking(shop: Shop, **over: Any) -> Order:
    order = owing(shop, **over)
    _ask(order)
    return order


def given_time(shop: Shop, **over: Any) -> Order:
    order = owing(shop, **over)
    until = today() + timedelta(days=9)
    deferrals.grant(order.merchant_id, order.id, _ask(order).id, until=until, actor=ACTOR, at=now())
    return order


def refused_time(shop: Shop, **over: Any) -> Order:
    order = owing(shop, **over)
    deferrals.refuse(order.merchant_id, order.id, _ask(order).id, actor=ACTOR, at=now())
    return order


def overdue(shop: Shop, **over: Any) -> Order:
    order = owing(shop, payment_method="invoice", **over)
    lifecycle.cancel_order(order.merchant_id, order.id, actor=ACTOR, at=now())
    return order


def with_invoice(shop: Shop, **over: Any) -> Order:
    """A reminder has named it."""
    order = owing(shop, payment_method="invoice", **over)
    service.store_invoice(order, "R-2026-118", b"%PDF-1.7 Rechnung", now())
    mail = db.session.query(Mail).filter_by(order_id=order.id).first()
    mail.facts = {**mail.facts, "invoice_number": "R-2026-118"}
    mail.succeed(now())
    return order


def cash(shop: Shop, **over: Any) -> Order:
    return owing(shop, payment_method="cod", shop_status="processing", **over)


def austrian(shop: Shop, **over: Any) -> Order:
    return owing(shop, billing_address={"last_name": "Muster", "country": "AT"}, **over)


def cancelled(shop: Shop, **over: Any) -> Order:
    order = owing(shop, **over)
    lifecycle.cancel_order(order.merchant_id, order.id, actor=ACTOR, at=now())
    return order


def in_collection(shop: Shop, **over: Any) -> Order:
    order = owing(shop, payment_method="invoice", **over)
    lifecycle.hand_to_collection(order.merchant_id, order.id, actor=ACTOR, at=now())
    return order


def paid(shop: Shop, **over: Any) -> Order:
    order = owing(shop, **over)
    _pay(order, "1284.60")
    return order


def waits_for_account(shop: Shop, **over: Any) -> Order:
    """Money goes back, and nobody knows where to."""
    order = owing(shop, **over)
    _pay(order, "1300.00", counterparty_iban=None)
    _refund(order, "15.40")
    return order


def account_to_confirm(shop: Shop, **over: Any) -> Order:
    """Money goes back to where it came from, unless the customer names another account."""
    order = owing(shop, **over)
    _pay(order, "1300.00")
    _refund(order, "15.40")
    return order


def refunded(shop: Shop, **over: Any) -> Order:
    order = owing(shop, **over)
    _pay(order, "1284.60")
    refund = _refund(order, "1284.60")
    if refund.status == "held":
        refunds.approve(refund, actor="max@example.org", at=now())
    refunds.mark_processed(refund, actor=ACTOR, at=now())
    return order


def over(shop: Shop, **over: Any) -> Order:
    order = owing(shop, **over)
    lifecycle.stop_managing(order.merchant_id, order.id, actor=ACTOR, at=now())
    return order


STATES: Mapping[str, Callable[..., Order]] = {
    one.__name__: one
    for one in (
        owing,
        partly_paid,
        claimed,
        asking,
        given_time,
        refused_time,
        overdue,
        with_invoice,
        cash,
        austrian,
        cancelled,
        in_collection,
        paid,
        waits_for_account,
        account_to_confirm,
        refunded,
        over,
    )
}


def _pay(order: Order, amount: str, **over: Any) -> None:
    merchant = db.session.get_one(Merchant, order.merchant_id)
    posting = make_posting(merchant, amount, "danke", **over)
    service.assign(
        order.merchant_id, posting.id, [(order.id, posting.amount)], actor=ACTOR, at=now()
    )
    db.session.flush()


def _refund(order: Order, amount: str) -> Any:
    refund = refunds.arrange(
        order.merchant_id, order_id=order.id, amount=Decimal(amount), actor=ACTOR, at=now()
    )
    db.session.flush()
    return refund


def _ask(order: Order) -> Any:
    until = today() + timedelta(days=9)
    return deferrals.ask_for_time(order, until=until, message="Gehalt am 1.", at=now())
