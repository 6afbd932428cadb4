"""What mails tell a customer of an order: snapshots of facts, finished for the reader.

A file of its own because both the ledger and the intake write mails; what the merchant is told
stands in ``merchant_notices``. Never commits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Protocol

from plugin_sdk import types as wire
from plugin_sdk.schemas import OrderSchema, amount_text
from server.banking.models import Posting
from server.banking.payments.epc import girocode_payload
from server.banking.rules.accounts import Payee, choose_payee
from server.banking.service import payees
from server.config import installed
from server.db import db
from server.mail.rules import MAX_LIST_ITEMS, day, money, nearest_language, payment_facts
from server.mail.service import insert_mail, mail_content, queue_mail, sender_of
from server.mail.theme import Theme
from server.orders.models import Assignment, Order
from server.orders.rules import creditor_reference
from server.shops.models import Shop

ASKS_FOR_MONEY = frozenset({wire.PaymentCode.PREPAYMENT, wire.PaymentCode.INVOICE})
"""Cash on delivery is paid at the door: no payment information (K29)."""

ZERO = Decimal(0)


def payee_for(order: wire.Order, shop_id: int, payees: Iterable[Payee]) -> Payee | None:
    """The account that this order is to be paid to (S20, K17); None if there is none for it."""
    address = order.billing_address or order.shipping_address
    country = address.country if address is not None else None
    return choose_payee(payees, shop_id=shop_id, country=country, currency=order.currency)


def system_address() -> str:
    """Where mails come from until the shop's own domain is proven (S17)."""
    return sender_of(installed().mail_from)[1]


def mail_language(customer: str | None, shop: str) -> str:
    return nearest_language(customer, nearest_language(shop, "de"))


def recipient_name(order: wire.Order) -> str:
    """ "Erika Mustermann", or the company, or nothing."""
    address = order.billing_address or order.shipping_address
    if address is None:
        return ""
    person = " ".join(part for part in (address.first_name, address.last_name) if part)
    return person or address.company or ""


def asked_reference(kind: str, payment_reference: str, order: wire.Order) -> str:
    """The text that the customer is asked to write (K15, K16, N12)."""
    if kind == "rf":
        return creditor_reference(payment_reference)
    if kind == "order_number":
        return order.number
    if kind == "invoice_number" and order.invoices:
        return order.invoices[0].number
    return payment_reference


def asked_transfer(
    payee: Payee, *, language: str, amount: Decimal, currency: str, payment_reference: str
) -> dict[str, str]:
    """The facts of the transfer that a customer is asked for, with the text of its QR code."""
    girocode = girocode_payload(
        creditor=payee.creditor_name,
        iban=payee.iban,
        bic=payee.bic,
        amount=amount,
        currency=currency,
        reference=payment_reference,
    )
    facts = payment_facts(
        language=language,
        amount=amount,
        currency=currency,
        creditor=payee.creditor_name,
        iban=payee.iban,
        bic=payee.bic,
        payment_reference=payment_reference,
    )
    return {**facts, "girocode": girocode or ""}


class Sender(Protocol):
    """What a mail to a customer needs to know of the shop that it comes from."""

    @property
    def name(self) -> str: ...
    @property
    def language(self) -> str: ...
    @property
    def sender_name(self) -> str: ...
    @property
    def reply_to(self) -> str | None: ...
    @property
    def reference_kind(self) -> str: ...


def payment_information(
    shop: Sender,
    order: wire.Order,
    code: wire.PaymentCode,
    payment_reference: str,
    account: Payee,
) -> dict[str, Any] | None:
    """The mail that asks for the money, as ``mail_content``; None without an address."""
    if not order.customer.email:
        return None
    language = mail_language(order.customer.language, shop.language)
    facts = asked_transfer(
        account,
        language=language,
        amount=order.total,
        currency=order.currency,
        payment_reference=asked_reference(shop.reference_kind, payment_reference, order),
    )
    return mail_content(
        "payment_information",
        language=language,
        recipient=order.customer.email,
        facts={
            **facts,
            "shop_name": shop.name,
            "order_number": order.number,
            "order_date": day(order.ordered_at.date(), language),
            "recipient_name": recipient_name(order),
            "prepayment": "yes" if code is wire.PaymentCode.PREPAYMENT else "",
        },
        theme=Theme(),
        sender_name=shop.sender_name or shop.name,
        sender_address=system_address(),
        reply_to=shop.reply_to,
    )


def queue_payment_information(
    shop: Shop,
    order: wire.Order,
    code: wire.PaymentCode,
    order_id: int,
    payment_reference: str,
    account: Payee,
) -> bool:
    """Ask for the money of one order. True if a mail was written (never a second one)."""
    content = payment_information(shop, order, code, payment_reference, account)
    if content is None:
        return False
    once = f"order:{order_id}:payment_information"
    ids = {"merchant_id": shop.merchant_id, "shop_id": shop.id, "order_id": order_id, "once": once}
    return insert_mail(content | ids)


# --- to customers, of money that came -----------------------------------------------------------


Outbox = list[dict[str, Any]]
"""Mails of a batch that are written together; see ``mail.service.queue_mail``."""


def queue_payment_received(
    order: Order, rows: Sequence[Assignment], paid: Decimal, outbox: Outbox | None = None
) -> bool:
    """Thank for the money. Once an order, however often it is undone and booked again.

    ``rows`` are the standing assignments, ``paid`` is their sum. What was written off is not
    money that came: the customer reads what arrived, and that the order is paid (K21).
    """
    received = [row for row in rows if row.origin != "difference"]
    received_total = _money_of(rows, paid)
    return _queue_to_customer(
        "payment_received",
        order,
        "payment_received",
        lambda shop, language: {
            "received_total": money(received_total, order.currency, language),
            "payments": _payments(received, order.currency, language),
        },
        outbox,
    )


def queue_partially_paid(
    order: Order, rows: Sequence[Assignment], paid: Decimal, outbox: Outbox | None = None
) -> bool:
    """Thank for a part and ask for the rest: once an order and paid sum (K40).

    ``rows`` are the standing assignments, ``paid`` is all that counts as paid, in the order's
    currency. Only money that was seen on an account is thanked for. False without an address,
    without such money and if nothing is missing.
    """
    received = [row for row in rows if row.posting_id is not None]
    rest = order.total - paid
    if not received or rest <= ZERO:
        return False
    received_total = sum((row.amount for row in received), ZERO)
    otherwise = paid - received_total

    def facts(shop: Shop, language: str) -> dict[str, Any]:
        return {
            "order_total": money(order.total, order.currency, language),
            "received_total": money(received_total, order.currency, language),
            "payments": _payments(received, order.currency, language),
            "settled_otherwise": (
                money(otherwise, order.currency, language) if otherwise > ZERO else ""
            ),
            "amount_due": money(rest, order.currency, language),
            **_transfer_of_rest(order, shop, rest, language),
        }

    once = f"partially_paid:{amount_text(paid)}"
    return _queue_to_customer("partially_paid", order, once, facts, outbox)


def queue_overpaid(
    order: Order,
    rows: Sequence[Assignment],
    paid: Decimal,
    surplus: Decimal,
    outbox: Outbox | None = None,
) -> bool:
    """Say that more came than was owed: once an order and surplus (K40).

    ``rows`` and ``paid`` as for ``queue_payment_received``; ``surplus`` is all that is too much,
    whether it is booked on the order above its total or left on its postings. False without an
    address and if no money was seen on an account.
    """
    received = [row for row in rows if row.posting_id is not None]
    if not received or surplus <= ZERO:
        return False
    booked = _money_of(rows, paid)
    left_on_postings = surplus - max(booked - max(order.total, ZERO), ZERO)
    came = booked + left_on_postings

    def facts(shop: Shop, language: str) -> dict[str, Any]:
        return {
            "received_total": money(came, order.currency, language),
            "received_on": day(max(_received_on(row) for row in received), language),
            "surplus": money(surplus, order.currency, language),
            # Where something was settled otherwise, the three would not add up.
            "order_total": (
                money(order.total, order.currency, language)
                if came - surplus == order.total
                else ""
            ),
        }

    once = f"overpaid:{amount_text(surplus)}"
    return _queue_to_customer("overpaid", order, once, facts, outbox)


def _queue_to_customer(
    kind: str,
    order: Order,
    once: str,
    facts: Callable[[Shop, str], dict[str, Any]],
    outbox: Outbox | None,
) -> bool:
    """A mail about one order in the customer's language; False if it was written before."""
    if not order.customer_email:
        return False
    shop = db.session.get_one(Shop, order.shop_id)
    language = mail_language(order.language, shop.language)
    return queue_mail(
        kind,
        merchant_id=order.merchant_id,
        shop_id=order.shop_id,
        order_id=order.id,
        language=language,
        recipient=order.customer_email,
        once=f"order:{order.id}:{once}",
        facts={
            "shop_name": shop.name,
            "order_number": order.number,
            "order_date": day(order.ordered_at.date(), language),
            "recipient_name": order.customer_name,
            "prepayment": "yes" if order.payment_code == "prepayment" else "",
            **facts(shop, language),
        },
        theme=Theme(),
        sender_name=shop.sender_name or shop.name,
        sender_address=system_address(),
        reply_to=shop.reply_to,
        outbox=outbox,
    )


def _money_of(rows: Sequence[Assignment], paid: Decimal) -> Decimal:
    """What came, of what counts as paid: without what was written off."""
    return paid - sum((row.amount for row in rows if row.origin == "difference"), ZERO)


def _payments(rows: Sequence[Assignment], currency: str, language: str) -> list[dict[str, str]]:
    """A line for each, the last ones if there are more than a mail takes."""
    return [
        {
            "received_on": day(_received_on(row), language),
            "amount": money(row.amount, currency, language),
        }
        for row in rows[-MAX_LIST_ITEMS:]
    ]


def _transfer_of_rest(order: Order, shop: Shop, rest: Decimal, language: str) -> dict[str, str]:
    """How to pay the rest; nothing where the order is not paid by transfer to an account."""
    if wire.PaymentCode(order.payment_code) not in ASKS_FOR_MONEY:
        return {}
    told: wire.Order = OrderSchema().load(order.wire)
    account = payee_for(told, order.shop_id, payees(order.merchant_id))
    if account is None:
        return {}
    return asked_transfer(
        account,
        language=language,
        amount=rest,
        currency=order.currency,
        payment_reference=asked_reference(shop.reference_kind, order.payment_reference, told),
    )


def _received_on(row: Assignment) -> date:
    """The bank's booking date; for what a person marked as paid, the day of that."""
    posting = db.session.get(Posting, row.posting_id) if row.posting_id is not None else None
    return (posting.booking_date if posting else None) or row.created_at.date()
