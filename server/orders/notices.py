"""What mails say about an order: snapshots of facts, finished for the reader.

A file of its own because both the ledger and the intake write mails. Never commits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from plugin_sdk import types as wire
from server.banking.fetching import Notice as BankNotice
from server.banking.models import Posting, Statement
from server.banking.payments.epc import girocode_payload
from server.banking.rules.accounts import Payee, choose_payee
from server.banking.service import Recognised, recognised_in
from server.config import installed
from server.db import db
from server.mail.rules import day, money, nearest_language, payment_facts
from server.mail.service import insert_mail, mail_content, queue_mail, sender_of
from server.mail.theme import KONTOR, Theme
from server.merchants.models import Merchant
from server.merchants.service import administrators
from server.orders.models import Assignment, Order
from server.orders.rules import creditor_reference
from server.shops.models import PaymentUpdate, Shop

ASKS_FOR_MONEY = frozenset({wire.PaymentCode.PREPAYMENT, wire.PaymentCode.INVOICE})
"""Cash on delivery is paid at the door: no payment information (K29)."""

STATUS_WORDS = {
    "de": {
        "paid": "bezahlt",
        "partially_paid": "teilbezahlt",
        "unpaid": "offen",
        "cancelled": "storniert",
        "overdue": "überfällig",
        "collection": "Inkasso",
        "refunded": "erstattet",
        "partially_refunded": "teilerstattet",
    },
    "en": {
        "paid": "paid",
        "partially_paid": "partially paid",
        "unpaid": "unpaid",
        "cancelled": "cancelled",
        "overdue": "overdue",
        "collection": "in collection",
        "refunded": "refunded",
        "partially_refunded": "partially refunded",
    },
}


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


def queue_payment_received(order: Order, rows: Sequence[Assignment], paid: Decimal) -> bool:
    """Thank for the money. Once an order, however often it is undone and booked again."""
    if not order.customer_email:
        return False
    shop = db.session.get_one(Shop, order.shop_id)
    language = mail_language(order.language, shop.language)
    payments = [
        {
            "received_on": day(_received_on(row), language),
            "amount": money(row.amount, order.currency, language),
        }
        for row in rows
    ]
    return queue_mail(
        "payment_received",
        merchant_id=order.merchant_id,
        shop_id=order.shop_id,
        order_id=order.id,
        language=language,
        recipient=order.customer_email,
        once=f"order:{order.id}:payment_received",
        facts={
            "shop_name": shop.name,
            "order_number": order.number,
            "order_date": day(order.ordered_at.date(), language),
            "recipient_name": order.customer_name,
            "received_total": money(paid, order.currency, language),
            "payments": payments,
            "prepayment": "yes" if order.payment_code == "prepayment" else "",
        },
        theme=Theme(),
        sender_name=shop.sender_name or shop.name,
        sender_address=system_address(),
        reply_to=shop.reply_to,
    )


def _received_on(row: Assignment) -> date:
    """The bank's booking date; for what a person marked as paid, the day of that."""
    posting = db.session.get(Posting, row.posting_id) if row.posting_id is not None else None
    return (posting.booking_date if posting else None) or row.created_at.date()


def tell_of_bank(notice: BankNotice) -> None:
    """To the administrators, once an occasion: a bank wants a person (C27)."""
    row = notice.connection
    moment = (row.consent_at or row.created_at).isoformat()

    def facts(language: str) -> dict[str, Any]:
        told = {
            "bank_name": row.bank_name,
            "bank_url": f"{installed().url}/bank-connections/{row.id}",
        }
        return told | ({"ends_on": day(notice.on, language)} if notice.on else {})

    _tell_administrators(
        notice.kind, row.merchant_id, f"bank:{row.id}:{notice.kind}:{moment}", facts
    )


def tell_of_recognised(statement: Statement) -> None:
    """What rules took off the list of which the merchant wants to hear (K45): once a file."""
    url = f"{installed().url}/postings?state=ignored&statement={statement.id}"
    for hits in recognised_in(statement):

        def facts(language: str, hits: Recognised = hits) -> dict[str, Any]:
            return {
                "pattern": hits.pattern,
                "count": str(hits.count),
                "received_total": money(hits.total, hits.currency, language),
                "postings_url": url,
            }

        _tell_administrators(
            "postings_recognised",
            statement.merchant_id,
            f"statement:{statement.id}:rule:{hits.rule_id}:{hits.currency}",
            facts,
        )


def _tell_administrators(
    kind: str,
    merchant_id: int,
    once: str,
    facts: Callable[[str], dict[str, Any]],
    *,
    shop_id: int | None = None,
    order_id: int | None = None,
) -> None:
    """A mail about the house, in each one's language."""
    merchant = db.session.get_one(Merchant, merchant_id)
    for user in administrators(merchant_id):
        language = nearest_language(user.language, merchant.language)
        queue_mail(
            kind,
            merchant_id=merchant_id,
            shop_id=shop_id,
            order_id=order_id,
            language=language,
            recipient=user.email,
            once=f"{once}:{user.id}",
            facts={"recipient_name": user.name} | facts(language),
            theme=KONTOR,
            sender_name="Kontor",
            sender_address=system_address(),
        )


def tell_merchant(kind: str, shop: Shop, update: PaymentUpdate | None, at: datetime) -> None:
    """To the administrators: `shop_error` once a fault, `transfer_failed` once an order."""
    zone = ZoneInfo(db.session.get_one(Merchant, shop.merchant_id).timezone)
    if kind == "shop_error":
        since = shop.error_since or at
        once = f"shop:{shop.id}:error:{since.isoformat()}"
    else:
        assert update is not None, "a failed transfer has an update"
        since = update.created_at
        once = f"update:{update.id}:failed"
    moment = since.astimezone(zone)

    def facts(language: str) -> dict[str, Any]:
        told = {
            "shop_name": shop.name,
            "since": f"{day(moment.date(), language)}, {moment:%H:%M}",
        }
        if update is None or kind == "shop_error":
            url = f"{installed().url}/shops"
            return told | {"reason": shop.error or "", "shop_settings_url": url}
        return told | {
            "order_number": update.number,
            "payment_status": STATUS_WORDS[language].get(update.intent, update.intent),
            "reason": update.error or "",
            "order_url": f"{installed().url}/orders/{update.order_id}",
        }

    order_id = update.order_id if update is not None else None
    _tell_administrators(kind, shop.merchant_id, once, facts, shop_id=shop.id, order_id=order_id)
