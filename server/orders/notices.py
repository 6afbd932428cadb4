"""What mails say about an order: snapshots of facts, finished for the reader.

A file of its own because both the ledger and the intake write mails. Never commits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import aliased

from plugin_sdk import types as wire
from plugin_sdk.schemas import OrderSchema, amount_text
from server.banking.fetching import Notice as BankNotice
from server.banking.models import IgnoreRule, Posting, Statement
from server.banking.payments.epc import girocode_payload
from server.banking.rules.accounts import Payee, choose_payee
from server.banking.service import Recognised, payees, recognised_in
from server.config import installed
from server.db import db
from server.mail.models import Mail
from server.mail.rules import KINDS, MAX_LIST_ITEMS, day, money, nearest_language, payment_facts
from server.mail.service import insert_mail, mail_content, queue_mail, sender_of
from server.mail.theme import KONTOR, Theme
from server.merchants.models import Merchant
from server.merchants.service import administrators, lock_merchant
from server.orders.ledger import is_standing
from server.orders.models import Assignment, Order, Suggestion
from server.orders.rules import creditor_reference
from server.shops.models import PaymentUpdate, Shop

ASKS_FOR_MONEY = frozenset({wire.PaymentCode.PREPAYMENT, wire.PaymentCode.INVOICE})
"""Cash on delivery is paid at the door: no payment information (K29)."""

ZERO = Decimal(0)
LISTED_POSTINGS = 10
LISTED_DIFFERENCES = 20
PURPOSE_LENGTH = 90  # so much of a bank text tells a person what it is about

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

DIFFERENCE_WORDS = {
    "de": {
        "tolerance": "in Ihrer Toleranz",
        "bank_fee": "Bankgebühr",
        "discount": "Skonto",
        "goodwill": "Kulanz",
        "other": "anderer Grund",
    },
    "en": {
        "tolerance": "within your tolerance",
        "bank_fee": "bank fee",
        "discount": "cash discount",
        "goodwill": "goodwill",
        "other": "another reason",
    },
}

RETURN_WORDS = {
    "de": {
        "AC01": "IBAN ungültig",
        "AC04": "Konto aufgelöst",
        "AC06": "Konto gesperrt",
        "AM04": "Konto nicht gedeckt",
        "AM05": "doppelt ausgeführt",
        "CUST": "auf Wunsch des Zahlers",
        "DUPL": "doppelt ausgeführt",
        "FOCR": "zurückgerufen",
        "FRAD": "Verdacht auf Betrug",
        "MD01": "kein Mandat",
        "MD06": "Widerspruch des Zahlers",
        "MD07": "Kontoinhaber verstorben",
        "MS02": "ohne Angabe von Gründen, vom Zahler",
        "MS03": "ohne Angabe von Gründen, von der Bank",
        "TECH": "technischer Fehler",
    },
    "en": {
        "AC01": "IBAN not valid",
        "AC04": "account closed",
        "AC06": "account blocked",
        "AM04": "not enough money on the account",
        "AM05": "carried out twice",
        "CUST": "at the payer’s wish",
        "DUPL": "carried out twice",
        "FOCR": "recalled",
        "FRAD": "suspected fraud",
        "MD01": "no mandate",
        "MD06": "the payer objected",
        "MD07": "account holder has died",
        "MS02": "no reason given, by the payer",
        "MS03": "no reason given, by the bank",
        "TECH": "technical error",
    },
}
"""ISO 20022, ExternalReturnReason1Code and ExternalCancellationReason1Code: the frequent ones."""


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


def _paid(order: Order) -> Decimal:
    """What the ledger has on the order."""
    total = select(func.sum(Assignment.amount)).where(Assignment.order_id == order.id)
    return db.session.scalar(total) or ZERO


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


# --- to the merchant ----------------------------------------------------------------------------


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
    at: datetime | None = None,
) -> bool:
    """A mail about the house, in each one's language; True if one was written."""
    merchant = db.session.get_one(Merchant, merchant_id)
    is_written = False
    for user in administrators(merchant_id):
        language = nearest_language(user.language, merchant.language)
        is_written |= queue_mail(
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
            at=at,
        )
    return is_written


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


def tell_of_order(kind: str, order: Order, posting: Posting, at: datetime, **facts: str) -> bool:
    """To the administrators, once a kind, order and posting; False if it was told before.

    Kinds: ``payment_for_cancelled`` (S51, S54), ``payment_for_removed`` (S40) and
    ``payment_returned`` (N18), for which ``posting`` is the one that came or the one that took it
    back. To be called when the ledger and the shop's update are written, because the mail says
    what became of them. ``facts`` go over what is found here, finished for every language.
    """
    is_return = kind == "payment_returned"
    came, told_of = _came_and_went(posting) if is_return else (posting, posting)
    booked = _booked(order, [came])
    share = -_booked(order, [came, told_of], "return") if told_of is not came else booked
    amount = share if share > ZERO else abs(came.amount)
    marks = _marks(kind, order, booked, at)
    rest = order.total - _paid(order)
    shop = db.session.get_one(Shop, order.shop_id)
    booked_on = told_of.booking_date or _local_day(order.merchant_id, at)
    base = installed().url

    def told(language: str) -> dict[str, Any]:
        return {
            "shop_name": shop.name,
            "order_number": order.number,
            "customer": order.customer_name,
            "amount": money(amount, came.currency, language),
            "payer": came.counterparty_name or "",
            "booked_on": day(booked_on, language),
            "order_url": f"{base}/orders/{order.id}",
            "posting_url": f"{base}/postings/{told_of.id}",
            **(_facts_of_return(told_of, rest, order.currency, language) if is_return else {}),
            **marks,
            **facts,
        }

    return _tell_administrators(
        kind,
        order.merchant_id,
        f"order:{order.id}:posting:{told_of.id}:{kind}",
        told,
        shop_id=order.shop_id,
        order_id=order.id,
        at=at,
    )


def _came_and_went(posting: Posting) -> tuple[Posting, Posting]:
    """The posting that brought the money and the one that took it back, whichever was given."""
    if posting.returns_id is not None:
        return db.session.get_one(Posting, posting.returns_id), posting
    taken = db.session.scalar(select(Posting).where(Posting.returns_id == posting.id))
    return posting, taken or posting


def _booked(order: Order, postings: Sequence[Posting], origin: str | None = None) -> Decimal:
    """What the ledger has of these postings on the order."""
    total = select(func.sum(Assignment.amount)).where(
        Assignment.order_id == order.id, Assignment.posting_id.in_([one.id for one in postings])
    )
    if origin is not None:
        total = total.where(Assignment.origin == origin)
    return db.session.scalar(total) or ZERO


def _marks(kind: str, order: Order, booked: Decimal, at: datetime) -> dict[str, str]:
    """What Kontor did, and what sort of order it is, as far as the kind speaks of it."""
    update = select(PaymentUpdate.id).where(
        PaymentUpdate.order_id == order.id,
        PaymentUpdate.created_at >= at,
        PaymentUpdate.status != "withheld",
    )
    holds = {
        "is_assigned": booked > ZERO,
        "shop_told": db.session.scalar(update.limit(1)) is not None,
        "overdue": order.payment_code
        in (wire.PaymentCode.INVOICE, wire.PaymentCode.CASH_ON_DELIVERY),
    }
    known = KINDS[kind].optional
    return {name: "yes" if is_so else "" for name, is_so in holds.items() if name in known}


def _facts_of_return(taken: Posting, rest: Decimal, currency: str, language: str) -> dict[str, str]:
    return {
        "reason": return_reason(taken.return_reason, language),
        "amount_open": money(rest, currency, language) if rest > ZERO else "",
    }


def return_reason(printed: str | None, language: str) -> str:
    """``AC04`` as ``Konto aufgelöst (AC04)``; what is no code that we know stays as it is."""
    words = RETURN_WORDS[language].get((printed or "").strip())
    return f"{words} ({(printed or '').strip()})" if words else printed or ""


# --- to the merchant, once a day ----------------------------------------------------------------


def tell_of_unassigned(
    merchant_id: int,
    postings: Sequence[Posting],
    at: datetime,
    likely: Mapping[int, str] | None = None,
) -> bool:
    """To the administrators, at most once in a day of the merchant: these wait for a person.

    ``postings`` were just looked at and not assigned; those that came since the last such mail
    and wait as well are told with them, so that what came later that day is not forgotten.
    ``likely`` is the number of the most likely order by posting id; where it is not given, the
    first suggestion counts. Nobody is told who ignores whatever is not assigned (K44).
    """
    once = _once_a_day("postings_need_you", merchant_id, at)
    if _is_told(once, merchant_id) or _ignores_unassigned(merchant_id):
        return False
    ids = [posting.id for posting in postings]
    waits = (Posting.merchant_id == merchant_id) & Posting.is_open
    looked_at: ColumnElement[bool] = or_(Posting.id.in_(ids), ~Posting.needs_match)
    last = _last_told("postings_need_you", merchant_id)
    is_new = or_(Posting.id.in_(ids), Posting.created_at > last) if last else looked_at
    newest = (
        select(Posting)
        .where(waits, looked_at, is_new)
        .order_by(Posting.booking_date.desc().nulls_last(), Posting.id.desc())
        .limit(LISTED_POSTINGS)
    )
    listed = list(db.session.scalars(newest))
    if not listed:
        return False
    count = db.session.scalar(select(func.count()).select_from(Posting).where(waits, looked_at))
    lines = _lines_of_postings(listed, likely or {})
    base = f"{installed().url}/postings"

    def facts(language: str) -> dict[str, Any]:
        return {
            **_counted(count or 0, len(listed)),
            "postings": [line(language, base) for line in lines],
            "postings_url": base,
        }

    return _tell_administrators("postings_need_you", merchant_id, once, facts, at=at)


def _lines_of_postings(
    postings: Sequence[Posting], likely: Mapping[int, str]
) -> list[Callable[[str, str], dict[str, str]]]:
    ids = [posting.id for posting in postings]
    assigned = dict(
        db.session.execute(
            select(Assignment.posting_id, func.sum(Assignment.amount))
            .where(Assignment.posting_id.in_(ids))
            .group_by(Assignment.posting_id)
        ).all()
    )
    orders = {**_likely_orders(ids), **likely}

    def line_of(posting: Posting) -> Callable[[str, str], dict[str, str]]:
        left = posting.amount - assigned.get(posting.id, ZERO)
        booked_on = posting.booking_date or posting.created_at.date()
        return lambda language, base: {
            "booked_on": day(booked_on, language),
            "payer": posting.counterparty_name or "",
            "amount": money(left, posting.currency, language),
            "purpose": _shortened(posting.remittance_information or ""),
            "likely_order": orders.get(posting.id, ""),
            "posting_url": f"{base}/{posting.id}",
        }

    return [line_of(posting) for posting in postings]


def _likely_orders(posting_ids: Sequence[int]) -> dict[int, str]:
    """Posting id to the numbers of the orders that are suggested first."""
    firsts = db.session.execute(
        select(Suggestion.posting_id, Suggestion.orders).where(
            Suggestion.posting_id.in_(posting_ids),
            Suggestion.rank == 0,
            Suggestion.returns_id.is_(None),
        )
    )
    offered = {posting_id: [int(one["order_id"]) for one in parts] for posting_id, parts in firsts}
    order_ids = {order_id for one in offered.values() for order_id in one}
    numbers = dict(
        db.session.execute(select(Order.id, Order.number).where(Order.id.in_(order_ids))).all()
    )
    return {
        posting_id: ", ".join(numbers[one] for one in order_ids if one in numbers)
        for posting_id, order_ids in offered.items()
    }


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= PURPOSE_LENGTH else line[: PURPOSE_LENGTH - 1].rstrip() + "…"


def _ignores_unassigned(merchant_id: int) -> bool:
    rule = select(IgnoreRule.id).where(
        IgnoreRule.merchant_id == merchant_id, IgnoreRule.kind == "unassigned"
    )
    return db.session.scalar(rule.limit(1)) is not None


def tell_of_differences(merchant_id: int, since: datetime, at: datetime) -> bool:
    """To the administrators, at most once in a day of the merchant: paid, with a difference.

    What was booked since the last such mail, or after ``since`` if there was none (K21, C7), and
    still stands. Takes the merchant's lock, so that no booking is half way in.
    """
    once = _once_a_day("differences_booked", merchant_id, at)
    if _is_told(once, merchant_id):
        return False
    lock_merchant(merchant_id)
    after = _last_told("differences_booked", merchant_id) or since
    rows = db.session.execute(_differences(merchant_id, after, at)).all()
    if not rows:
        return False
    base = f"{installed().url}/orders"

    def facts(language: str) -> dict[str, Any]:
        return {
            **_counted(rows[0][3], len(rows)),
            "differences": [
                _difference_line(row, order, received, language, base)
                for row, order, received, _ in rows
            ],
            "orders_url": f"{base}?status=paid",
        }

    return _tell_administrators("differences_booked", merchant_id, once, facts, at=at)


def _differences(
    merchant_id: int, after: datetime, until: datetime
) -> Select[Assignment, Order, Decimal, int]:
    """Difference, its order, the amount of the payment that it completes; and how many."""
    completed = aliased(Assignment)
    return (
        select(Assignment, Order, completed.amount, func.count().over())
        .join(Order, Order.id == Assignment.order_id)
        .outerjoin(completed, completed.id == Assignment.completes_id)
        .where(
            Assignment.merchant_id == merchant_id,
            Assignment.origin == "difference",
            Assignment.created_at > after,
            Assignment.created_at <= until,
            is_standing(),
        )
        .order_by(Assignment.id.desc())
        .limit(LISTED_DIFFERENCES)
    )


def _difference_line(
    row: Assignment, order: Order, received: Decimal | None, language: str, base: str
) -> dict[str, str]:
    """What was written off lacks in the payment, so it is told as a minus."""
    sign = "+" if row.amount < ZERO else ""
    words = DIFFERENCE_WORDS[language]
    return {
        "order_number": order.number,
        "customer": order.customer_name,
        "amount": money(received, order.currency, language) if received is not None else "",
        "difference": f"{sign}{money(-row.amount, order.currency, language)}",
        "because": words.get(row.because or "other", words["other"]),
        "order_url": f"{base}/{order.id}",
    }


def _counted(count: int, listed: int) -> dict[str, str]:
    return {
        "count": str(count),
        "single": "yes" if count == 1 else "",
        "rest": str(count - listed) if count > listed else "",
    }


def _once_a_day(kind: str, merchant_id: int, at: datetime) -> str:
    return f"merchant:{merchant_id}:{kind}:{_local_day(merchant_id, at).isoformat()}"


def _local_day(merchant_id: int, at: datetime) -> date:
    merchant = db.session.get_one(Merchant, merchant_id)
    return at.astimezone(ZoneInfo(merchant.timezone)).date()


def _is_told(once: str, merchant_id: int) -> bool:
    """Whether everyone who would get this mail has it: one look-up, before any work is done."""
    keys = [f"{once}:{user.id}" for user in administrators(merchant_id)]
    there = select(func.count()).select_from(Mail).where(Mail.once.in_(keys))
    return db.session.scalar(there) == len(keys)


def _last_told(kind: str, merchant_id: int) -> datetime | None:
    """When the last mail of this kind was written."""
    mails = select(Mail.created_at).where(Mail.merchant_id == merchant_id, Mail.kind == kind)
    return db.session.scalar(mails.order_by(Mail.created_at.desc()).limit(1))
