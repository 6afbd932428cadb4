"""What the stories about collection do: hand over, let the worker have its turn, look."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from server.collection import service
from server.db import db
from server.merchants.models import Merchant
from server.orders import lifecycle
from server.orders.models import CollectionCase, CollectionEvent
from server.orders.service import assign, store_invoice
from server.shops.models import PaymentUpdate
from tests.factories import AT, make_order, make_posting
from tests.fakes.collection_partner import TOKEN

ANNA = "anna@example.org"
PDF = b"%PDF-1.7 an invoice"
MINUTES_16 = timedelta(minutes=16)
HANDED = AT + timedelta(days=40)
LATER = HANDED + MINUTES_16


def invoice_of(shop, **over):
    values = {
        "payment_method": "invoice",
        "shop_status": "processing",
        "total": "119.00",
        "invoices": [{"number": "R-1001", "date": "2026-03-02"}],
        "items": [{"number": "B-7", "name": "Faust, Erstausgabe", "quantity": "1"}],
        "customer": {"email": "erika@example.org", "language": "de", "number": "K-42"},
    }
    order = make_order(shop, **(values | over))
    store_invoice(order, "R-1001", PDF, AT)
    db.session.commit()
    return order


def name_partner(merchant, adapter, **settings):
    made = service.set_partner(
        merchant.id,
        adapter,
        ({"token": TOKEN} if adapter == "http" else {}) | settings,
        name="Inkasso Muster",
        contact_name="Anna Beispiel",
        contact_phone="0123 456789-0",
        actor=ANNA,
        at=AT,
    )
    db.session.commit()
    return made


def hand_over(order, at=HANDED, actor=ANNA) -> CollectionCase:
    lifecycle.hand_to_collection(order.merchant_id, order.id, actor=actor, at=at)
    db.session.commit()
    return case_of(order)


def case_of(order) -> CollectionCase:
    """The newest one, as it is."""
    db.session.expire_all()
    query = db.session.query(CollectionCase).filter_by(order_id=order.id)
    return query.order_by(CollectionCase.id.desc()).first()


def work(at: datetime = LATER, most: int = 20) -> int:
    """The worker's turns at one moment, as ``jobs.drain_collection_case`` takes them; how many."""
    for count in range(most):
        rows = CollectionCase.claim(1, at)
        if not rows:
            return count
        errand = service.errand_of(rows[0].id, at)
        db.session.commit()
        if errand is not None:
            service.settle_errand(errand, service.run_errand(errand, at), at)
        db.session.commit()
    raise AssertionError("the case finds no rest")


def pay(order, amount: str, at: datetime = LATER, text: str = "R-1001"):
    posting = make_posting(merchant_of(order), amount, text)
    (row,) = assign(order.merchant_id, posting.id, [(order.id, Decimal(amount))], actor=ANNA, at=at)
    db.session.commit()
    return row


def merchant_of(order) -> Merchant:
    return db.session.get_one(Merchant, order.merchant_id)


def events_of(order) -> list[str]:
    rows = db.session.query(CollectionEvent).filter_by(case_id=case_of(order).id)
    return [row.kind for row in rows.order_by(CollectionEvent.id)]


def told_shop(order) -> list[tuple[str, str | None]]:
    """Intent and status of what the shop hears, in order."""
    rows = db.session.query(PaymentUpdate).filter_by(order_id=order.id).order_by(PaymentUpdate.id)
    return [(row.intent, row.shop_status) for row in rows]
