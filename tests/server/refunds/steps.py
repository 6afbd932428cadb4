"""What the tests of repayments do again and again, each with its commit."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from server.db import db
from server.mail.models import Mail
from server.merchants.service import change_setting
from server.orders.models import Order, OrderEvent
from server.refunds import batches, service
from server.refunds.rules import BankDetails
from tests.server.test_ledger import LATER

ANNA, BERT = "anna@example.org", "bert@example.org"
AT = LATER + timedelta(days=1)
PAYER = BankDetails("Erika Mustermann", "DE89370400440532013000")
OTHER_IBAN = "AT611904300234573201"


def set_to(merchant, name, value):
    change_setting(merchant.id, name, value, actor=ANNA, at=AT)
    db.session.commit()


def repay(order, amount, at=AT, actor=ANNA, **over):
    row = service.arrange(
        order.merchant_id, order_id=order.id, amount=Decimal(amount), actor=actor, at=at, **over
    )
    db.session.commit()
    return row


def send_back(posting, amount, at=AT, actor=ANNA, **over):
    """Of a posting that pays no order."""
    row = service.arrange(
        posting.merchant_id,
        posting_id=posting.id,
        amount=Decimal(amount),
        actor=actor,
        at=at,
        **over,
    )
    db.session.commit()
    return row


def do(act, refund, at=AT, actor=ANNA, **over):
    row = act(refund, actor=actor, at=at, **over)
    db.session.commit()
    return row


def ready(refund):
    """Without the days in which the customer may change the details."""
    if refund.status == "planned":
        do(service.execute_now, refund)
    return refund


def hand_in(*refunds, at=AT, channel="pain001", is_sent=True):
    """All of them in one batch that the bank has."""
    merchant_id = refunds[0].merchant_id
    account = batches.paying_accounts(merchant_id)[0]
    ids = [ready(one).id for one in refunds]
    batch = batches.make_batch(merchant_id, account.id, ids, channel=channel, actor=ANNA, at=at)
    if is_sent:
        batches.mark_batch_sent(batch, actor=ANNA, at=at)
    db.session.commit()
    return batch


def status(order):
    db.session.expire_all()
    return db.session.get_one(Order, order.id).payment_status


def history(order):
    rows = db.session.query(OrderEvent).filter_by(order_id=order.id).order_by(OrderEvent.id)
    return [row.kind for row in rows]


def mails(order, kind):
    rows = db.session.query(Mail).filter_by(order_id=order.id, kind=kind).order_by(Mail.id)
    return [row for row in rows if row.status != "withheld"]
