"""Everything that proves a debt, read from the rows of one order (K61, C23).

A file of its own because reading asks the database and ``dossier`` only writes. Nothing of other
customers goes out: of a posting that pays other orders as well only the share of this one is told.
What people of the merchant wrote about the order among themselves stays here. Never commits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import undefer

from plugin_sdk.schemas import amount_text
from server.banking.models import Posting
from server.banking.rules.accounts import choose_payee
from server.banking.service import payees
from server.collection.models import CollectionPartner
from server.collection.rules import reference_of
from server.db import db
from server.letters.models import Letter
from server.mail.models import Mail
from server.mail.rules import KINDS
from server.mail.service import source_of
from server.merchants.models import Merchant
from server.orders.charges import reminders_of
from server.orders.models import (
    Assignment,
    CollectionCase,
    DeferralRequest,
    Invoice,
    Order,
    OrderEvent,
    PaymentClaim,
    Proof,
    Reminder,
)
from server.shops.models import Shop

SCHEMA: Final = "kontor-case"
SCHEMA_VERSION: Final = 1
MAX_NOTICES: Final = 200
MAX_INVOICES: Final = 50
MAX_EVENTS: Final = 1000
MAX_PAYMENTS: Final = 500
TOLD_FACTS: Final = frozenset(
    {"amount", "before", "after", "level", "day", "fee", "interest", "mail", "because"}
)
"""Facts of the order's history that are of this order alone."""
BY_RULE: Final = ""
"""Nobody's name: the daily run handed it over."""


@dataclass(frozen=True, slots=True)
class Enclosure:
    """A file of the dossier. ``rank``: what is left out first if all is too large, highest."""

    path: str
    content: bytes
    rank: int


@dataclass(frozen=True, slots=True)
class Papers:
    """``facts`` are case.json: text, numbers of items, lists; amounts are decimal strings, days
    ISO dates of the merchant, moments UTC. docs/collection.md says what each is.
    """

    facts: Mapping[str, Any]
    enclosures: tuple[Enclosure, ...]
    language: str
    zone: ZoneInfo


def papers_of(case: CollectionCase, partner: CollectionPartner | None) -> Papers:
    """All that is kept of the order, as it is now; the same rows give the same papers."""
    return _Reading(case, partner).papers()


class _Reading:
    """One order, read once."""

    def __init__(self, case: CollectionCase, partner: CollectionPartner | None) -> None:
        self.case, self.partner = case, partner
        self.order = db.session.get_one(Order, case.order_id)
        self.merchant = db.session.get_one(Merchant, case.merchant_id)
        self.zone = ZoneInfo(self.merchant.timezone)
        self.wire: Mapping[str, Any] = self.order.wire or {}
        self.enclosures: list[Enclosure] = []

    def papers(self) -> Papers:
        facts = {
            "schema": SCHEMA,
            "version": SCHEMA_VERSION,
            "case": self._about_case(),
            "creditor": self._creditor(),
            "debtor": self._debtor(),
            "order": self._about_order(),
            "claim": self._claim(),
            "invoices": list(self._invoices()),
            "payments": list(self._payments()),
            "notices": list(self._notices()),
            "said_by_customer": list(self._said()),
            "timeline": list(self._timeline()),
        }
        return Papers(facts, tuple(self.enclosures), self.merchant.language, self.zone)

    def _rows(self, table: Any, limit: int, *options: Any) -> Sequence[Any]:
        query = select(table).where(table.order_id == self.order.id).order_by(table.id)
        return list(db.session.scalars(query.limit(limit).options(*options)))

    def _day(self, moment: datetime) -> str:
        return moment.astimezone(self.zone).date().isoformat()

    # --- who and what

    def _about_case(self) -> dict[str, Any]:
        case = self.case
        return {
            "reference": reference_of(case.id),
            "handed_over_at": _moment(case.handed_over_at),
            "reason": "rule" if case.handed_over_by == BY_RULE else "person",
        }

    def _creditor(self) -> dict[str, Any]:
        shop = db.session.get_one(Shop, self.order.shop_id)
        country = (self.wire.get("billing_address") or {}).get("country")
        payee = choose_payee(
            payees(self.merchant.id),
            shop_id=shop.id,
            country=country,
            currency=self.order.currency,
        )
        return {
            "name": self.merchant.name,
            "shop": shop.name,
            "shop_url": shop.url or None,
            "contact_name": self.partner.contact_name if self.partner else None,
            "contact_phone": self.partner.contact_phone if self.partner else None,
            "account_holder": payee.creditor_name if payee else None,
            "iban": payee.iban if payee else None,
            "bic": (payee.bic or None) if payee else None,
        }

    def _debtor(self) -> dict[str, Any]:
        customer = self.wire.get("customer") or {}
        billing = self.wire.get("billing_address") or {}
        shipping = self.wire.get("shipping_address") or {}
        address = billing or shipping
        return {
            "name": self.order.customer_name,
            "company": address.get("company"),
            "salutation": customer.get("salutation"),
            "first_name": address.get("first_name"),
            "last_name": address.get("last_name"),
            "customer_number": customer.get("number"),
            "vat_id": customer.get("vat_id"),
            "email": self.order.customer_email,
            "phone": address.get("phone"),
            "language": self.order.language,
            "address": _address(address),
            "delivery_address": _address(shipping) if shipping and shipping != billing else None,
        }

    def _about_order(self) -> dict[str, Any]:
        order, wire = self.order, self.wire
        return {
            "number": order.number,
            "external_id": order.external_id,
            "ordered_on": self._day(order.ordered_at),
            "payment_code": order.payment_code,
            "payment_method": order.payment_method,
            "payment_reference": order.payment_reference,
            "due_date": wire.get("due_date"),
            "total": amount_text(order.total),
            "currency": order.currency,
            "items": [
                {name: item.get(name) for name in ("number", "name", "quantity")}
                for item in wire.get("items") or []
            ],
            "tracking_numbers": list(wire.get("tracking_numbers") or []),
        }

    def _claim(self) -> dict[str, Any]:
        """As it stood at the hand-over; what was paid since is among the payments. Reminders that
        nobody got prove nothing."""
        case, levels = self.case, reminders_of(self.order.id)
        reminders = [row for level, row in levels.reached.items() if level not in levels.lost]
        charging = [row.sent_on for row in reminders if row.interest]
        return {
            "currency": case.currency,
            "principal": amount_text(case.principal),
            "fees": amount_text(case.fees),
            "interest": amount_text(case.interest),
            "total": amount_text(case.principal + case.fees + case.interest),
            "interest_until": max(charging).isoformat() if charging else None,
            "first_notice_on": reminders[0].sent_on.isoformat() if reminders else None,
            "last_notice_on": reminders[-1].sent_on.isoformat() if reminders else None,
        }

    def _reminders(self) -> Sequence[Reminder]:
        query = select(Reminder).where(Reminder.order_id == self.order.id)
        return list(db.session.scalars(query.order_by(Reminder.level)))

    # --- invoices

    def _invoices(self) -> Iterator[dict[str, Any]]:
        for row in self._rows(Invoice, MAX_INVOICES, undefer(Invoice.pdf)):
            path = None
            if row.pdf is not None:
                path = f"invoices/{_plain(row.number)}-{row.id}.pdf"
                self.enclosures.append(Enclosure(path, row.pdf, 0))
            yield {
                "number": row.number,
                "date": row.date.isoformat() if row.date else None,
                "file": path,
            }

    # --- money

    def _payments(self) -> Iterator[dict[str, Any]]:
        rows = self._rows(Assignment, MAX_PAYMENTS)
        postings = self._postings({row.posting_id for row in rows} - {None})
        shared = self._shared(list(postings))
        for row in rows:
            posting = postings.get(row.posting_id)
            yield {
                "kind": _kind_of(row),
                "amount": amount_text(row.amount),
                "currency": self.order.currency,
                "noted_at": _moment(row.created_at),
                "is_after_hand_over": row.created_at > self.case.handed_over_at,
            } | self._bank_facts(posting, is_shared=posting is not None and posting.id in shared)

    def _postings(self, ids: set[Any]) -> dict[int | None, Posting]:
        rows = db.session.scalars(
            select(Posting).where(
                Posting.merchant_id == self.case.merchant_id, Posting.id.in_(sorted(ids))
            )
        )
        return {row.id: row for row in rows}

    def _shared(self, ids: Sequence[int | None]) -> set[int | None]:
        """Those that have anything to do with other orders too."""
        query = select(Assignment.posting_id).where(
            Assignment.posting_id.in_(ids), Assignment.order_id != self.order.id
        )
        return set(db.session.scalars(query))

    def _bank_facts(self, posting: Posting | None, *, is_shared: bool) -> dict[str, Any]:
        names = (
            "booking_date value_date counterparty_name counterparty_iban remittance_information"
            " bank_reference"
        ).split()
        if posting is None:
            return dict.fromkeys(names)
        hidden = set(names[2:]) if is_shared else set()
        found = {name: None if name in hidden else getattr(posting, name) for name in names}
        return {
            name: value.isoformat() if isinstance(value, date) else value
            for name, value in found.items()
        }

    # --- what was written to the customer

    def _notices(self) -> Iterator[dict[str, Any]]:
        reminders = self._reminders()
        by_mail = {row.mail_id: row for row in reminders if row.mail_id}
        by_letter = {row.letter_id: row for row in reminders if row.letter_id}
        found: list[tuple[datetime, str, Any]] = [
            (row.finished_at or row.created_at, "mail", row) for row in self._mails()
        ]
        found += [(row.finished_at or row.created_at, "letter", row) for row in self._letters()]
        found.sort(key=lambda one: (one[0], one[1], one[2].id))
        for number, (at, channel, row) in enumerate(found, 1):
            is_mail = channel == "mail"
            reminder = by_mail.get(row.id) if is_mail else by_letter.get(row.id)
            yield {
                "kind": row.kind,
                "channel": channel,
                "sent_at": _moment(at),
                "recipient": row.recipient if is_mail else ", ".join(row.recipient),
                "delivery": row.delivery,
                "level": reminder.level if reminder else None,
                "fee": amount_text(reminder.fee) if reminder else None,
                "interest": amount_text(reminder.interest) if reminder else None,
                "file": self._enclose_notice(number, self._day(at), row, is_mail=is_mail),
            }

    def _enclose_notice(self, number: int, on: str, row: Any, *, is_mail: bool) -> str | None:
        content = source_of(row) if is_mail else row.pdf
        if content is None:
            return None
        path = f"notices/{number:03}-{on}-{row.kind}.{'eml' if is_mail else 'pdf'}"
        self.enclosures.append(Enclosure(path, content, 1))
        return path

    def _mails(self) -> Sequence[Mail]:
        """What left for the customer; not what went to the merchant's people or was tried out."""
        kinds = [name for name, kind in KINDS.items() if kind.reader == "customer"]
        query = (
            select(Mail)
            .where(
                Mail.order_id == self.order.id,
                Mail.kind.in_(kinds),
                Mail.status == "done",
                Mail.redirected_to.is_(None),
            )
            .order_by(Mail.id)
            .limit(MAX_NOTICES)
        )
        return [mail for mail in db.session.scalars(query) if not mail.is_test]

    def _letters(self) -> Sequence[Letter]:
        query = (
            select(Letter)
            .where(Letter.order_id == self.order.id, Letter.status == "done", ~Letter.is_test)
            .order_by(Letter.id)
            .limit(MAX_NOTICES)
            .options(undefer(Letter.pdf))
        )
        return list(db.session.scalars(query))

    # --- what the customer said, and what happened

    def _said(self) -> Iterator[dict[str, Any]]:
        for claim in self._rows(PaymentClaim, MAX_EVENTS):
            yield {
                "kind": "claims_paid",
                "at": _moment(claim.claimed_at),
                "day": claim.paid_on.isoformat() if claim.paid_on else None,
                "message": claim.message,
                "file": None,
            }
        for asked in self._rows(DeferralRequest, MAX_EVENTS):
            yield {
                "kind": "asks_for_time",
                "at": _moment(asked.asked_at),
                "day": asked.until_date.isoformat(),
                "message": asked.message,
                "file": None,
            }
        for proof in self._rows(Proof, MAX_EVENTS, undefer(Proof.content)):
            ending = proof.media_type.rpartition("/")[2]
            path = f"proofs/{proof.id}.{ending}"
            self.enclosures.append(Enclosure(path, proof.content, 2))
            yield {
                "kind": "proof",
                "at": _moment(proof.received_at),
                "day": None,
                "message": proof.filename,
                "file": path,
            }

    def _timeline(self) -> Iterator[dict[str, Any]]:
        for event in self._rows(OrderEvent, MAX_EVENTS):
            yield {
                "at": _moment(event.at),
                "kind": event.kind,
                "facts": {k: v for k, v in sorted(event.facts.items()) if k in TOLD_FACTS},
            }


def _kind_of(row: Assignment) -> str:
    if row.because is not None:
        return "difference"
    if row.reverses_id is not None:
        return "reversal"
    return "posting" if row.posting_id is not None else "marked"


def _address(told: Mapping[str, Any]) -> dict[str, Any]:
    names = ("company", "first_name", "last_name", "street", "postcode", "city", "country")
    return {name: told.get(name) for name in names}


def _moment(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _plain(text: str) -> str:
    kept = "".join(c if c.isascii() and c.isalnum() else "-" for c in text)
    return kept.strip("-")[:60] or "invoice"
