"""Everything that is stored about one customer, to be handed to him (GDPR Art. 15 and 20).

A file of its own because it only reads. The ZIP holds ``customer.json`` (for machines, ``version``
says its shape), ``index.html`` (for people) and the files themselves: mails as they were sent,
letters, invoices, proofs, and what mail servers sent back. Nothing of other customers is in it,
and nobody who works for the merchant: who did what is `merchant`, `customer` or `kontor`.
"""

from __future__ import annotations

import json
import tomllib
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import IO, Any, Final
from zoneinfo import ZoneInfo

from markupsafe import Markup, escape
from sqlalchemy import ColumnElement, func, or_, select

from server.db import db
from server.forgetting.service import own_postings
from server.letters.models import Letter
from server.mail.delivery import preview_mail, source_of
from server.mail.models import Mail, MailReport, Suppression
from server.mail.suppression import address_hash
from server.matching.models import MatchDecision
from server.merchants.models import Merchant
from server.orders.brakes import CUSTOMER_KINDS
from server.orders.ledger import NotPossible
from server.orders.models import (
    Assignment,
    CollectionCase,
    CollectionEvent,
    Credit,
    DeferralRequest,
    Invoice,
    Order,
    OrderEvent,
    PaymentClaim,
    Proof,
    Refund,
    Reminder,
    Suggestion,
)
from server.relay.models import RelayDelivery, RelayMessage

VERSION: Final = 1
MOST_ORDERS: Final = 200
MOST_BYTES: Final = 400 * 1024**2
LONGEST_CELL: Final = 4_000
SUFFIXES: Final = {"application/pdf": ".pdf", "image/jpeg": ".jpg", "image/png": ".png"}
LANGUAGES: Final = ("de", "en")
STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}"
    "th,td{text-align:left;vertical-align:top;padding:.25rem .75rem .25rem 0;"
    "border-bottom:1px solid #ccc;overflow-wrap:anywhere}th{white-space:nowrap;font-weight:600}"
)

Facts = Mapping[str, Any]

_ORDER: Final = (
    "number external_id ordered_at currency total payment_method payment_code payment_status"
    " shop_status payment_reference customer_name customer_email language additional_name"
    " additional_number created_at changed_at cancelled_at removed_at collection_at base_date"
    " fee_total reminders_blocked_at paused_until"
)
_POSTING: Final = (
    "booking_date value_date amount currency counterparty_name counterparty_iban counterparty_bic"
    " remittance_information creditor_reference end_to_end_id mandate_id bank_reference"
    " is_return return_reason particulars"
)
_MAIL: Final = (
    "kind language recipient subject created_at status finished_at sender_address delivery"
    " delivery_words delivered_at error"
)
_LETTER: Final = (
    "kind language recipient country created_at status finished_at pages delivery delivery_words"
    " delivered_at"
)
_REFUND: Final = (
    "amount currency reference reason payee_name payee_iban payee_bic details_by details_at status"
    " holds planned_for requested_at announced_at confirmed_at sent_at processed_at cancelled_at"
)
_CASE: Final = (
    "partner_name partner_reference currency principal fees interest state handed_over_at ended_at"
)


@dataclass(frozen=True, slots=True)
class Customer:
    """Whose data is asked for: the orders that are his, and the e-mail address that was searched
    for, if it was one."""

    merchant_id: int
    order_ids: Sequence[int]
    address: str | None = None


@dataclass(slots=True)
class Found:
    """One order with everything of it: ``sections`` by name, and the files to lay beside."""

    number: str
    sections: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)


# --- who it is -----------------------------------------------------------------------------------


def orders_of_address(merchant_id: int, address: str) -> list[Order]:
    """Of all shops, newest first, at most MOST_ORDERS + 1: with this e-mail address, in any case,
    or with a mail that went there."""
    written = select(Mail.order_id).where(
        Mail.merchant_id == merchant_id,
        func.lower(Mail.recipient) == address.lower(),
        Mail.kind.in_(CUSTOMER_KINDS),
    )
    is_his = (func.lower(Order.customer_email) == address.lower()) | Order.id.in_(written)
    return _orders(merchant_id, is_his)


def orders_of_number(merchant_id: int, customer_number: str) -> list[Order]:
    """The same by the customer number; each shop counts its customers for itself, so these may be
    several people."""
    number = Order.wire["customer"]["number"].as_string()
    return _orders(merchant_id, number == customer_number)


def _orders(merchant_id: int, is_his: ColumnElement[bool]) -> list[Order]:
    query = select(Order).where(Order.merchant_id == merchant_id, Order.erased_at.is_(None), is_his)
    newest = query.order_by(Order.ordered_at.desc(), Order.id.desc()).limit(MOST_ORDERS + 1)
    return list(db.session.scalars(newest))


def is_known(merchant_id: int, address: str) -> bool:
    """Is there anything of this address beside orders?"""
    return bool(_blocks(merchant_id, address) or _relayed(merchant_id, address))


# --- the ZIP -------------------------------------------------------------------------------------


def write_extract(customer: Customer, target: IO[bytes], *, language: str, at: datetime) -> None:
    """Write the ZIP into ``target``. Raises NotPossible(`extract_too_large`) above MOST_BYTES."""
    assert language in LANGUAGES
    merchant = db.session.get_one(Merchant, customer.merchant_id)
    day = at.astimezone(ZoneInfo(merchant.timezone))
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        box = _Box(archive, day)
        orders = [_all_of(order, box) for order in _asked_orders(customer)]
        beside = _beside_orders(customer)
        told = {
            "version": VERSION,
            "merchant": merchant.name,
            "made_at": at.isoformat(),
            "orders": [
                {"number": one.number, **one.sections, "files": one.files} for one in orders
            ],
            **beside,
        }
        box.lay("customer.json", json.dumps(told, ensure_ascii=False, indent=1, default=str))
        box.lay("index.html", _page(merchant.name, day, orders, beside, language))


def _asked_orders(customer: Customer) -> Iterator[Order]:
    for order_id in customer.order_ids[:MOST_ORDERS]:
        order = db.session.get(Order, order_id)
        if order is not None and order.merchant_id == customer.merchant_id:
            yield order


class _Box:
    """The archive, with the limit on what is laid into it; the same content, the same bytes."""

    def __init__(self, archive: zipfile.ZipFile, at: datetime) -> None:
        self._archive = archive
        self._moment = (at.year, at.month, at.day, at.hour, at.minute, 0)
        self._bytes = 0

    def lay(self, name: str, content: str | bytes) -> str:
        raw = content.encode() if isinstance(content, str) else content
        self._bytes += len(raw)
        if self._bytes > MOST_BYTES:
            raise NotPossible("extract_too_large")
        entry = zipfile.ZipInfo(name, self._moment)
        entry.compress_type = zipfile.ZIP_DEFLATED
        entry.external_attr = 0o600 << 16
        self._archive.writestr(entry, raw)
        return name


# --- one order -----------------------------------------------------------------------------------


def _all_of(order: Order, box: _Box) -> Found:
    found = Found(order.number)
    postings = own_postings(order)
    posting_ids = [posting.id for posting in postings]
    own: dict[str, list[dict[str, Any]]] = {
        "order_facts": [_facts(order, _ORDER)],
        "told_by_shop": [dict(order.wire)],
        "invoices": _rows(Invoice, order, "number date received_at"),
        "payments": [_facts(posting, _POSTING) for posting in postings],
        "bookings": _rows(
            Assignment, order, "amount origin because probability evidence created_at"
        ),
        "suggestions": _of_postings(Suggestion, posting_ids, "orders probability evidence vetoes"),
        "decisions": _of_postings(
            MatchDecision, posting_ids, "choice probability evidence vetoes decided_at"
        ),
        "credits": _credits(order, posting_ids),
        "reminders": _rows(Reminder, order, "level sent_on fee interest"),
        "mails": [_facts(mail, _MAIL) for mail in _mails(order)],
        "letters": _rows(Letter, order, _LETTER),
        "claims": _rows(PaymentClaim, order, "claimed_at paid_on message settled_at"),
        "deferrals": _rows(
            DeferralRequest, order, "asked_at until_date message status granted_until"
        ),
        "proofs": _rows(Proof, order, "filename media_type size_bytes received_at findings"),
        "refunds": _rows(Refund, order, _REFUND),
        "cases": _cases(order),
        "history": [
            {**_facts(event, "at kind facts"), "by": _who(event.actor)}
            for event in _scalars(OrderEvent, order)
        ],
    }
    own["reports"] = _reports(order, found, box)
    found.sections = {name: rows for name, rows in own.items() if rows}
    _lay_mails(order, found, box)
    _lay_files(order, found, box)
    return found


def _who(actor: str) -> str:
    """Who works for the merchant is his own affair."""
    if actor.lower() in ("", "kontor"):
        return "kontor"
    return "merchant" if "@" in actor else actor


def _facts(row: Any, names: str) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in names.split()}
    return {
        name: _plain(value)
        for name, value in values.items()
        if value is not None and value not in ("", [], {})
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value, "f")
    return value.isoformat() if isinstance(value, date) else value


def _rows(table: Any, order: Order, names: str) -> list[dict[str, Any]]:
    return [_facts(row, names) for row in _scalars(table, order)]


def _scalars(table: Any, order: Order) -> Sequence[Any]:
    return db.session.scalars(
        select(table).where(table.order_id == order.id).order_by(table.id)
    ).all()


def _of_postings(table: Any, posting_ids: Collection[int], names: str) -> list[dict[str, Any]]:
    query = select(table).where(table.posting_id.in_(posting_ids)).order_by(table.id)
    return [_facts(row, names) for row in db.session.scalars(query)]


def _credits(order: Order, posting_ids: Collection[int]) -> list[dict[str, Any]]:
    kept = Credit.posting_id.in_(posting_ids) | (Credit.from_order_id == order.id)
    query = select(Credit).where(kept).order_by(Credit.id)
    names = "customer_name customer_email customer_number mode kept_at"
    return [_facts(row, names) for row in db.session.scalars(query)]


def _cases(order: Order) -> list[dict[str, Any]]:
    found = []
    for case in _scalars(CollectionCase, order):
        events = select(CollectionEvent).where(CollectionEvent.case_id == case.id)
        told = [
            _facts(event, "at kind state words amount")
            for event in db.session.scalars(events.order_by(CollectionEvent.id))
        ]
        found.append({**_facts(case, _CASE), "events": told})
    return found


def _mails(order: Order) -> Sequence[Mail]:
    """What went to the customer; what the merchant was told is about him, and not his."""
    query = select(Mail).where(Mail.order_id == order.id, Mail.kind.in_(CUSTOMER_KINDS))
    return db.session.scalars(query.order_by(Mail.id)).all()


def _lay_mails(order: Order, found: Found, box: _Box) -> None:
    for mail in _mails(order):
        name = f"{_folder(order)}/mails/{mail.id}-{mail.kind}"
        source = source_of(mail)
        if source is not None:
            found.files.append(box.lay(f"{name}.eml", source))
            continue
        try:
            message = preview_mail(mail)
        except ValueError:  # its content was removed, or its kind asks for other facts by now
            continue
        found.files.append(box.lay(f"{name}.html", message.html))


def _lay_files(order: Order, found: Found, box: _Box) -> None:
    for letter in _scalars(Letter, order):
        if letter.pdf is not None:
            name = f"{_folder(order)}/letters/{letter.id}-{letter.kind}.pdf"
            found.files.append(box.lay(name, letter.pdf))
    for invoice in _scalars(Invoice, order):
        if invoice.pdf is not None:
            found.files.append(
                box.lay(f"{_folder(order)}/invoices/{_safe(invoice.number)}.pdf", invoice.pdf)
            )
    for proof in _scalars(Proof, order):
        suffix = SUFFIXES.get(proof.media_type, ".bin")
        found.files.append(box.lay(f"{_folder(order)}/proofs/{proof.id}{suffix}", proof.content))


def _reports(order: Order, found: Found, box: _Box) -> list[dict[str, Any]]:
    query = (
        select(MailReport)
        .join(Mail, Mail.id == MailReport.mail_id)
        .where(Mail.order_id == order.id, Mail.kind.in_(CUSTOMER_KINDS))
    )
    rows = db.session.scalars(query.order_by(MailReport.id)).all()
    for row in rows:
        if row.raw:
            found.files.append(box.lay(f"{_folder(order)}/reports/{row.id}.eml", row.raw))
    return [_facts(row, "kind status_code words received_at") for row in rows]


def _folder(order: Order) -> str:
    return f"{order.id}-{_safe(order.number)}"


def _safe(text: str) -> str:
    """As a part of a name that every system takes."""
    kept = "".join(
        each if each.isascii() and (each.isalnum() or each in "-_") else "_" for each in text
    )
    return kept[:64] or "_"


# --- beside his orders ---------------------------------------------------------------------------


def _beside_orders(customer: Customer) -> dict[str, list[dict[str, Any]]]:
    if customer.address is None:
        return {}
    own = {
        "blocks": _blocks(customer.merchant_id, customer.address),
        "relay": _relayed(customer.merchant_id, customer.address),
    }
    return {name: rows for name, rows in own.items() if rows}


def _blocks(merchant_id: int, address: str) -> list[dict[str, Any]]:
    query = select(Suppression).where(
        Suppression.merchant_id == merchant_id,
        Suppression.address_hash == address_hash(address.lower()),
        or_(Suppression.address != "", Suppression.evidence != ""),
    )
    names = "address kind reason evidence created_at expires_at ended_at"
    return [_facts(row, names) for row in db.session.scalars(query.order_by(Suppression.id))]


def _relayed(merchant_id: int, address: str) -> list[dict[str, Any]]:
    query = (
        select(RelayDelivery, RelayMessage)
        .join(RelayMessage, RelayMessage.id == RelayDelivery.relay_message_id)
        .where(
            RelayDelivery.merchant_id == merchant_id,
            func.lower(RelayDelivery.recipient) == address.lower(),
        )
        .order_by(RelayDelivery.id)
    )
    return [
        {
            **_facts(message, "received_at header_from subject"),
            **_facts(delivery, "recipient status delivery delivery_words"),
        }
        for delivery, message in db.session.execute(query)
    ]


# --- for people ----------------------------------------------------------------------------------


@cache
def _words(language: str) -> Mapping[str, str]:
    known = tomllib.loads((Path(__file__).parent / "words.toml").read_text())
    found: Mapping[str, str] = known[language]
    return found


def _page(
    merchant: str,
    at: datetime,
    orders: Sequence[Found],
    beside: Mapping[str, Sequence[Facts]],
    language: str,
) -> str:
    words = _words(language)
    facts = {"merchant": merchant, "day": at.date().isoformat()}
    parts = [
        Markup("<h1>{}</h1><p>{}</p>").format(words["title"], words["intro"].format(**facts)),
        Markup("<h2>{}</h2><p>{}</p>").format(
            words["purposes_title"], words["purposes"].format(**facts)
        ),
    ]
    for one in orders:
        parts.append(Markup("<h2>{}</h2>").format(words["order"].format(number=one.number)))
        parts += [_section(words[name], rows) for name, rows in one.sections.items()]
        parts.append(_links(words["files"], one.files))
    parts += [_section(words[name], rows) for name, rows in beside.items()]
    if not orders and not beside:
        parts.append(Markup("<p>{}</p>").format(words["nothing"]))
    return Markup(
        '<!doctype html><html lang="{}"><meta charset="utf-8"><title>{}</title>'
        "<style>{}</style>{}</html>"
    ).format(language, words["title"], Markup(STYLE), Markup("\n").join(parts))  # noqa: S704


def _section(title: str, rows: Sequence[Facts]) -> Markup:
    tables = Markup("").join(_table(row) for row in rows)
    return Markup("<h3>{}</h3>{}").format(title, tables)


def _table(row: Facts) -> Markup:
    lines = Markup("").join(
        Markup("<tr><th>{}</th><td>{}</td></tr>").format(name, _cell(value))
        for name, value in row.items()
    )
    return Markup("<table>{}</table>").format(lines)


def _cell(value: Any) -> Markup:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return escape(text if len(text) <= LONGEST_CELL else text[:LONGEST_CELL] + " …")


def _links(title: str, names: Sequence[str]) -> Markup:
    if not names:
        return Markup("")
    lines = Markup("").join(Markup('<li><a href="{0}">{0}</a></li>').format(name) for name in names)
    return Markup("<h3>{}</h3><ul>{}</ul>").format(title, lines)
