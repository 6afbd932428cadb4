"""What mails tell a customer of an order: snapshots of facts, finished for the reader.

A file of its own because both the ledger and the intake write mails; what the merchant is told
stands in ``merchant_notices``. Never commits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from zoneinfo import ZoneInfo

from plugin_sdk import types as wire
from plugin_sdk.schemas import amount_text
from server.banking.models import Posting
from server.banking.payments.swiss_qr import grouped_reference, is_qr_iban
from server.banking.rules.accounts import Payee, choose_payee
from server.banking.service import payees
from server.db import db
from server.mail.kinds import KINDS
from server.mail.languages import day, money
from server.mail.rules import MAX_LIST_ITEMS, payment_facts
from server.mail.service import insert_mail, mail_content
from server.merchants.service import settings_of
from server.merchants.settings import MerchantSettings
from server.orders.identity import (
    Sender,
    country_of,
    edition_for,
    identity_of,
    stored_country,
)
from server.orders.links import help_url, page_url, page_url_of, unsubscribe_url
from server.orders.models import Assignment, Order
from server.orders.rules import creditor_reference, qr_reference
from server.orders.slips import slip_facts
from server.orders.told import told_order, zone_of
from server.shops.models import Shop

ASKS_FOR_MONEY = frozenset({wire.PaymentCode.PREPAYMENT, wire.PaymentCode.INVOICE})
"""Cash on delivery is paid at the door: no payment information (K29)."""

ZERO = Decimal(0)


def payee_for(order: wire.Order, shop_id: int, payees: Iterable[Payee]) -> Payee | None:
    """The account that this order is to be paid to (S20, K17); None if there is none for it."""
    address = order.billing_address or order.shipping_address
    country = address.country if address is not None else None
    return choose_payee(payees, shop_id=shop_id, country=country, currency=order.currency)


def recipient_name(order: wire.Order) -> str:
    """ "Erika Mustermann", or the company, or nothing."""
    address = order.billing_address or order.shipping_address
    if address is None:
        return ""
    person = " ".join(part for part in (address.first_name, address.last_name) if part)
    return person or address.company or ""


def asked_reference(kind: str, payment_reference: str, order: wire.Order, payee: Payee) -> str:
    """The text that the customer is asked to write (K15, K16, N12).

    Banks take payments to a QR-IBAN only with a QR reference, whatever the merchant wants (K19).
    """
    if is_qr_iban(payee.asked_iban(country_of(order))):
        return grouped_reference(qr_reference(payment_reference))
    if kind == "rf":
        return creditor_reference(payment_reference)
    if kind == "order_number":
        return order.number
    if kind == "invoice_number" and order.invoices:
        return order.invoices[0].number
    return payment_reference


def asked_transfer(
    payee: Payee,
    *,
    language: str,
    amount: Decimal,
    currency: str,
    payment_reference: str,
    country: str | None = None,
) -> dict[str, str]:
    """The facts of the transfer that a customer is asked for, and how his country draws it."""
    facts = payment_facts(
        language=language,
        amount=amount,
        currency=currency,
        creditor=payee.creditor_name,
        iban=payee.asked_iban(country),
        bic=payee.bic,
        payment_reference=payment_reference,
    )
    slip = slip_facts(
        payee,
        country=country,
        amount=amount,
        currency=currency,
        payment_reference=payment_reference,
    )
    return facts | slip


@dataclass(frozen=True, slots=True)
class Request:
    """That a customer is asked for money: how much, to which account, with which words.

    ``amount`` is what is owed now. ``payable_until`` is for display only (S52). ``asked_on``: the
    day where the merchant lives, if it is not the order's first; a discount whose days are over is
    not offered any more.
    """

    order: wire.Order
    code: wire.PaymentCode
    payment_reference: str
    account: Payee
    settings: MerchantSettings
    zone: ZoneInfo
    amount: Decimal
    payable_until: date | None = None
    asked_on: date | None = None

    @property
    def order_date(self) -> date:
        """Where the merchant lives."""
        return self.order.ordered_at.astimezone(self.zone).date()

    def made(self, at: datetime) -> Request:
        """The same, asked at that moment."""
        return replace(self, asked_on=at.astimezone(self.zone).date())


def request_of(
    order: wire.Order,
    code: wire.PaymentCode,
    payment_reference: str,
    account: Payee,
    settings: MerchantSettings,
    zone: ZoneInfo,
    amount: Decimal | None = None,
) -> Request:
    """The request of a payment information; ``amount`` None is the order's total."""
    asked = Request(
        order,
        code,
        payment_reference,
        account,
        settings,
        zone,
        order.total if amount is None else amount,
    )
    days = settings.of(code.value).payable_days
    return replace(asked, payable_until=asked.order_date + timedelta(days=days)) if days else asked


def facts_of_request(asked: Request, shop: Sender, language: str) -> dict[str, str]:
    """What every mail says that asks for money: the transfer, the order and who is asked."""
    order = asked.order
    transfer = asked_transfer(
        asked.account,
        language=language,
        amount=asked.amount,
        currency=order.currency,
        payment_reference=asked_reference(
            asked.settings.reference_kind, asked.payment_reference, order, asked.account
        ),
        country=country_of(order),
    )
    until = asked.payable_until
    return {
        **transfer,
        "shop_name": shop.name,
        "order_number": order.number,
        "order_date": day(asked.order_date, language),
        "recipient_name": recipient_name(order),
        "prepayment": "yes" if asked.code is wire.PaymentCode.PREPAYMENT else "",
        "payable_until": day(until, language) if until else "",
        "page_url": page_url_of(shop.id, asked.payment_reference),
        "help_url": help_url(shop.id, language),
        "legal_line": identity_of(shop).legal_line,
    }


def payment_information(
    shop: Sender, asked: Request, facts: Callable[[str], dict[str, str]] = lambda _: {}
) -> dict[str, Any] | None:
    """The mail that asks for the money, as ``mail_content``; None without an address.

    ``facts`` of a language are more optional ones, such as that the amount has changed (S37).
    """
    order = asked.order
    if not order.customer.email:
        return None
    language = edition_for(order.customer.language, country_of(order), shop, asked.settings)
    identity = identity_of(shop)
    return mail_content(
        "payment_information",
        language=language,
        recipient=order.customer.email,
        facts=facts_of_asking(asked, shop, language) | facts(language),
        theme=identity.theme,
        sender_name=identity.sender_name,
        sender_address=identity.sender_address,
        reply_to=identity.reply_to,
    )


def facts_of_asking(asked: Request, shop: Sender, language: str) -> dict[str, str]:
    """What asks for the money first, by mail and by letter: the request, and a cash discount."""
    return facts_of_request(asked, shop, language) | _discount(asked, language)


def _discount(asked: Request, language: str) -> dict[str, str]:
    """What is enough until when, where there is a cash discount (S59)."""
    terms = terms_of(asked.order, asked.code, asked.settings)
    if terms is None or not terms.discount_percent or not terms.discount_days:
        return {}
    if asked.amount != asked.order.total:
        return {}
    share = (100 - terms.discount_percent) / 100
    reduced = (asked.amount * share).quantize(Decimal("0.01"), ROUND_HALF_UP)
    until = terms_date(asked.order, asked.zone) + timedelta(days=terms.discount_days)
    if asked.asked_on is not None and asked.asked_on > until:
        return {}
    return {
        "discount_amount": money(reduced, asked.order.currency, language),
        "discount_until": day(until, language),
    }


def terms_of(
    order: wire.Order, code: wire.PaymentCode, settings: MerchantSettings
) -> wire.PaymentTerms | None:
    """The payment terms: the shop's, else those of the invoice settings; None if unknown (S59)."""
    if order.payment_terms is not None:
        return order.payment_terms
    own = settings.of(code.value)
    if not own.net_days and not (own.discount_percent and own.discount_days):
        return None
    return wire.PaymentTerms(
        discount_percent=own.discount_percent or None,
        discount_days=own.discount_days or None,
        net_days=own.net_days or None,
    )


def terms_date(order: wire.Order, zone: ZoneInfo) -> date:
    """What the terms count from: the first invoice, else the order."""
    days = [invoice.date for invoice in order.invoices if invoice.date is not None]
    return min(days) if days else order.ordered_at.astimezone(zone).date()


# --- to customers, of money that came -----------------------------------------------------------


Outbox = list[dict[str, Any]]
"""Mails of a batch that are written together; see ``mail.service.queue_mail``."""


def queue_payment_received(
    order: Order,
    rows: Sequence[Assignment],
    paid: Decimal,
    outbox: Outbox | None = None,
    settings: MerchantSettings | None = None,
) -> bool:
    """Thank for the money. Once an order, however often it is undone and booked again.

    ``rows`` are the standing assignments, ``paid`` is their sum. What was written off is not
    money that came: the customer reads what arrived, and that the order is paid (K21).
    ``settings`` are those of the order's shop, for whoever has read them already.
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
        settings,
    )


def queue_partially_paid(
    order: Order,
    rows: Sequence[Assignment],
    paid: Decimal,
    rest: Decimal,
    outbox: Outbox | None = None,
    settings: MerchantSettings | None = None,
) -> bool:
    """Thank for a part and ask for the rest: once an order and paid sum (K40).

    ``rows`` are the standing assignments, ``paid`` is all that counts as paid, ``rest`` what is
    owed after it, with claimed fees (K28), in the order's currency. Only money that was seen on an
    account is thanked for. False without an address, without such money and if nothing is missing.
    """
    received = [row for row in rows if row.posting_id is not None]
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
    return _queue_to_customer("partially_paid", order, once, facts, outbox, settings)


def queue_overpaid(
    order: Order,
    rows: Sequence[Assignment],
    paid: Decimal,
    surplus: Decimal,
    outbox: Outbox | None = None,
    settings: MerchantSettings | None = None,
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
    owed = max(order.total, ZERO) + order.fee_total
    left_on_postings = surplus - max(booked - owed, ZERO)
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
    return _queue_to_customer("overpaid", order, once, facts, outbox, settings)


def _queue_to_customer(
    kind: str,
    order: Order,
    once: str,
    facts: Callable[[Shop, str], dict[str, Any]],
    outbox: Outbox | None,
    settings: MerchantSettings | None,
) -> bool:
    """A mail about one order in the customer's language; False if it was written before, or if the
    merchant wants none of its kind (S1)."""
    shop = db.session.get_one(Shop, order.shop_id)
    ordered_on = order.ordered_at.astimezone(zone_of(order.merchant_id)).date()

    def all_facts(shop: Shop, language: str) -> dict[str, Any]:
        return {
            "shop_name": shop.name,
            "order_number": order.number,
            "order_date": day(ordered_on, language),
            "recipient_name": order.customer_name,
            "prepayment": "yes" if order.payment_code == "prepayment" else "",
            "page_url": page_url(order),
            "help_url": help_url(shop.id, language),
            "legal_line": identity_of(shop).legal_line,
            **_way_out(kind, order),
            **facts(shop, language),
        }

    settings = settings or settings_of(order.merchant_id, order.shop_id)
    mail = mail_to_customer(kind, order, shop, settings, all_facts)
    if mail is None:
        return False
    mail["once"] = f"order:{order.id}:{once}"
    if outbox is None:
        return insert_mail(mail)
    outbox.append(mail)
    return True


def mail_to_customer(
    kind: str,
    order: Order,
    shop: Shop,
    settings: MerchantSettings,
    facts: Callable[[Shop, str], dict[str, Any]],
) -> dict[str, Any] | None:
    """The columns of a mail about one order in its customer's language, but for ``once``.

    None without an address, or if the merchant wants none of its kind (S1). ``settings`` are those
    of the order's shop.
    """
    if not order.customer_email or not settings.sends(kind):
        return None
    language = edition_for(order.language, stored_country(order.wire), shop, settings)
    identity = identity_of(shop)
    content = mail_content(
        kind,
        language=language,
        recipient=order.customer_email,
        facts=facts(shop, language),
        theme=identity.theme,
        sender_name=identity.sender_name,
        sender_address=identity.sender_address,
        reply_to=identity.reply_to,
    )
    ids = {"merchant_id": order.merchant_id, "shop_id": order.shop_id, "order_id": order.id}
    return content | ids


def _way_out(kind: str, order: Order) -> dict[str, str]:
    """The link to unsubscribe, which only optional kinds have (S11, S12)."""
    if not KINDS[kind].is_optional or not order.customer_email:
        return {}
    return {"unsubscribe_url": unsubscribe_url(order.id, order.customer_email, kind)}


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
    told = told_order(order)
    account = payee_for(told, order.shop_id, payees(order.merchant_id))
    if account is None:
        return {}
    kind = settings_of(order.merchant_id, shop.id).reference_kind
    return asked_transfer(
        account,
        language=language,
        amount=rest,
        currency=order.currency,
        payment_reference=asked_reference(kind, order.payment_reference, told, account),
        country=country_of(told),
    )


def _received_on(row: Assignment) -> date:
    """The bank's booking date; for what a person marked as paid, the merchant's day of that."""
    posting = db.session.get(Posting, row.posting_id) if row.posting_id is not None else None
    booked_on = posting.booking_date if posting else None
    return booked_on or row.created_at.astimezone(zone_of(row.merchant_id)).date()
