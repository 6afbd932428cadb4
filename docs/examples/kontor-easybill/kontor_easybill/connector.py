"""Speaks easybill's REST API v1: unpaid invoices are open orders, payments are recorded there."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar
from urllib.parse import urlencode

from kontor_easybill.config import EasybillConfig
from kontor_easybill.mapping import (
    ARCHIVED,
    BERLIN,
    CANCELLED,
    INVOICE,
    MAX_DAYS,
    OPEN,
    PAID,
    PARTIALLY_PAID,
    cents,
    document_id,
    is_invoice,
    is_older_than,
    order_from,
    status_of,
)
from plugin_sdk.checks import base_address, clock_findings, encryption_findings
from plugin_sdk.connector import (
    Capability,
    Connector,
    Finding,
    OrderPage,
    Plan,
    Severity,
    WebhookHint,
    problem_of,
)
from plugin_sdk.cursors import mark_of, read_cursor, write_cursor
from plugin_sdk.errors import ConnectorError, Misconfigured, Rejected, Temporary
from plugin_sdk.http import USUAL, Answer, ErrorRule, Limits
from plugin_sdk.paging import PageNumbers, every_row
from plugin_sdk.types import (
    Acknowledgement,
    CodeMapping,
    Discovery,
    Evidence,
    Intent,
    Order,
    Outcome,
    PaymentCode,
    PaymentUpdate,
    ShopMethod,
)

VERSION = "0.1.0"
CURSOR_VERSION = 1
PAGES = PageNumbers(500, size_parameter="limit")  # easybill allows 1000, in answers that may be big
LOOKUPS = 20  # single invoices asked for in one page: the plans allow 10 or 60 requests a minute
MAX_MARKS = 5000  # beyond this, invoices come again, which is harmless
MAX_LISTED = 100_000  # unpaid invoices of one comparison; a list without an end stops here
PDF_TAIL_BYTES = 1024  # within these a whole PDF says that it ends (ISO 32000-1, Annex H)
WRITABLE = (PAID, PARTIALLY_PAID)


class UnknownDocument(Rejected):
    """easybill says that there is no such document."""


RULES = (
    ErrorRule(UnknownDocument, "easybill has no such document", status=404),
    ErrorRule(Misconfigured, "The plan of the easybill account has no API", status=402),
)


@dataclass(slots=True)
class _Place:
    """Where the comparison stands. easybill can be asked for what is unpaid, not for what changed.

    So every comparison lists the unpaid invoices. ``marks``: id to a mark of those of the last
    one; ``listed``: those of this one. Who is no longer among them was paid or removed by somebody
    else: ``absent`` are asked for one by one.
    """

    page: int = PAGES.first
    marks: dict[str, str] = field(default_factory=dict)
    listed: dict[str, str] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)

    def is_news(self, row: Mapping[str, Any]) -> bool:
        """Notes an invoice down; False for one that was told before and has not changed."""
        identifier, mark = document_id(row), mark_of(row)
        if len(self.listed) >= MAX_LISTED:
            raise Temporary(f"easybill lists more than {MAX_LISTED} unpaid invoices.")
        self.listed[identifier] = mark
        return self.marks.get(identifier) != mark

    def end_scan(self) -> None:
        """All pages were read."""
        self.absent = sorted(set(self.marks) - set(self.listed))
        self.marks = dict(list(self.listed.items())[-MAX_MARKS:])
        self.listed, self.page = {}, PAGES.first

    def text(self) -> str:
        return write_cursor(
            CURSOR_VERSION,
            page=self.page,
            marks=self.marks,
            listed=self.listed,
            absent=self.absent,
        )

    @classmethod
    def read(cls, cursor: str | None) -> _Place:
        if cursor is None:
            return cls()
        content = read_cursor(cursor, CURSOR_VERSION)
        try:
            return cls(
                page=int(content["page"]),
                marks={str(key): str(mark) for key, mark in content["marks"].items()},
                listed={str(key): str(mark) for key, mark in content["listed"].items()},
                absent=[str(key) for key in content["absent"]],
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            raise Rejected("The cursor cannot be read; begin from the beginning.") from None


class Easybill(Connector[EasybillConfig]):
    """An easybill account."""

    name = "easybill"
    title = "easybill"
    version = VERSION
    Config = EasybillConfig
    capabilities = frozenset(
        {
            Capability.LIST_ORDERS,
            Capability.GET_ORDERS,
            Capability.FIND_BY_NUMBER,
            Capability.DISCOVER,
            Capability.PUSH_PAID,
            Capability.INVOICE_NUMBERS,
            Capability.INVOICE_PDF,
        }
    )
    defaults: ClassVar[Mapping[PaymentCode, CodeMapping]] = {
        PaymentCode.INVOICE: CodeMapping(
            methods=(INVOICE,), open_statuses=(OPEN, PARTIALLY_PAID), paid_status=PAID
        )
    }
    default_statuses: ClassVar[Mapping[Intent, str]] = {
        Intent.PAID: PAID,
        Intent.PARTIALLY_PAID: PARTIALLY_PAID,
    }
    default_open_statuses = frozenset({OPEN, PARTIALLY_PAID})

    def __init__(self, settings: Mapping[str, Any], *, limits: Limits = USUAL) -> None:
        super().__init__(settings, limits=limits)
        self._base = base_address(self.config.easybill_url, "easybill_url")
        if not 1 <= self.config.history_days <= MAX_DAYS:
            raise Misconfigured(f"Settings: history_days is not within 1 and {MAX_DAYS}.")
        self._http = self.http_session("easybill", rules=RULES)

    def close(self) -> None:
        self._http.close()

    # Reading

    def list_orders(self, cursor: str | None) -> OrderPage:
        """The unpaid invoices that are new or changed, then those that are unpaid no longer."""
        at = _Place.read(cursor)
        orders: list[Order] = []
        problems: list[str] = []
        if at.absent:
            self._look_at_absent(at, orders, problems)
            return OrderPage(tuple(orders), at.text(), bool(at.absent), tuple(problems))
        answer, rows = self._page("documents", {"paid_at": "null", **PAGES.query(at.page)})
        for row in rows:
            if not is_invoice(row) or self._is_too_old(row):
                continue
            try:
                if at.is_news(row):
                    orders.append(order_from(row))
            except Rejected as error:
                problems.append(str(error))
        following = PAGES.next(at.page, answer, rows)
        if following is None:
            at.end_scan()
        else:
            at.page = following
        has_more = following is not None or bool(at.absent)
        return OrderPage(tuple(orders), at.text(), has_more, tuple(problems))

    def _look_at_absent(self, at: _Place, orders: list[Order], problems: list[str]) -> None:
        looked_at, at.absent = at.absent[:LOOKUPS], at.absent[LOOKUPS:]
        for identifier in looked_at:
            row = self._invoice(identifier)
            if isinstance(row, dict):
                try:
                    orders.append(order_from(row))
                except Rejected as error:
                    problems.append(str(error))  # one that cannot be read holds up no other
                    continue
                if status_of(row) in self.default_open_statuses and not self._is_too_old(row):
                    # Others were paid meanwhile, the pages shifted, and this one fell between two.
                    at.marks[identifier] = mark_of(row)

    def _is_too_old(self, row: Mapping[str, Any]) -> bool:
        return is_older_than(row, self.config.history_days, datetime.now(BERLIN).date())

    def get_orders(self, ids: Sequence[str]) -> Mapping[str, Order | Evidence]:
        found: dict[str, Order | Evidence] = {}
        for identifier in dict.fromkeys(ids):
            row = self._invoice(identifier)
            if row is not None:
                found[identifier] = row if isinstance(row, Evidence) else order_from(row)
        return found

    def find_order(self, number: str) -> Order | Evidence | None:
        """Only exact hits count."""
        if "," in number:
            raise Rejected("easybill cannot be asked for a number with a comma.")
        rows = every_row(PAGES, lambda query: self._page("documents", {"number": number, **query}))
        found = [row for row in rows if is_invoice(row) and row.get("number") == number]
        if len(found) > 1:
            raise Rejected(f"easybill has {len(found)} invoices with the number {number}.")
        return order_from(found[0]) if found else None

    def get_invoice(self, external_id: str, number: str) -> bytes | None:
        try:
            answer = self._http.fetch(
                "GET",
                f"{self._base}/documents/{_checked_id(external_id)}/pdf",
                accept="application/pdf",
                headers=self._headers(),
            )
        except UnknownDocument:
            return None
        if not answer.body.startswith(b"%PDF-") or b"%%EOF" not in answer.body[-PDF_TAIL_BYTES:]:
            raise Temporary("easybill answered with something else than a PDF, or cut it off.")
        return bytes(answer.body)

    # Writing

    def plan_payment(self, update: PaymentUpdate) -> Plan | Acknowledgement:
        """A second part of the money is news, although the invoice is partially paid already."""
        plan = super().plan_payment(update)
        is_there = isinstance(plan, Acknowledgement) and plan.outcome is Outcome.ALREADY_THERE
        if is_there and update.intent is Intent.PARTIALLY_PAID:
            row = self._open_invoice(update)
            if _missing(update, row) > 0:
                return Plan(before=f"{PARTIALLY_PAID} with less", target=PARTIALLY_PAID)
        return plan

    def _read_status(self, external_id: str) -> str | Evidence:
        row = self._invoice(external_id)
        if row is None:
            raise Rejected("This document is no finished invoice.")
        return row if isinstance(row, Evidence) else status_of(row)

    def _write_status(self, update: PaymentUpdate, shop_status: str) -> str:
        """Record what is missing between what came in and what easybill knows of.

        Counted anew each time, so a payment whose answer got lost is not recorded twice. The
        answer is the payment, not the invoice: the caller looks at that once more.
        """
        if shop_status not in WRITABLE:
            raise Rejected(f"easybill knows payments; it cannot be told {shop_status!r}.")
        row = self._open_invoice(update)
        amount = _missing(update, row)
        query = {}
        if shop_status == PAID:
            query = {"paid": "true"}  # also when it is less: Kontor has decided that it is enough
            if amount <= 0:
                amount = max(0, (cents(row, "amount") or 0) - (cents(row, "paid_amount") or 0))
        elif amount <= 0:
            return ""  # somebody recorded it meanwhile; less than nothing is not recorded
        payment = {
            "document_id": int(update.external_id),
            "amount": amount,
            "payment_at": update.created_at.astimezone(BERLIN).date().isoformat(),
            "reference": update.id,
            "notice": "Kontor",
        }
        self._call("POST", "document-payments", query, json=payment)
        return ""

    def _open_invoice(self, update: PaymentUpdate) -> dict[str, Any]:
        row = self._invoice(update.external_id)
        if not isinstance(row, dict):
            raise Temporary("The invoice went away while it was looked at.")
        if (row.get("currency") or "EUR") != update.currency:
            raise Rejected(f"The invoice is in {row.get('currency')}, not in {update.currency}.")
        return row

    # Webhooks

    def read_webhook(self, headers: Mapping[str, str], body: bytes) -> WebhookHint | None:
        """easybill's webhooks carry no signature that could be verified: none is believed."""
        raise Rejected("easybill's webhooks are not signed; the invoices are asked for instead.")

    # easybill about itself

    def check(self) -> list[Finding]:
        findings = encryption_findings(self._base)
        try:
            answer, _ = self._page("documents", {"limit": "1"})
        except ConnectorError as error:
            return [*findings, problem_of(error)]
        findings.append(Finding("auth", Severity.NOTE, "Invoices can be read."))
        return [*findings, *clock_findings(answer.headers, time.time())]

    def discover(self) -> Discovery:
        """Fixed words: easybill has neither payment methods nor names for the states."""
        names = {
            OPEN: "Offen",
            PARTIALLY_PAID: "Teilweise bezahlt",
            PAID: "Bezahlt",
            CANCELLED: "Storniert",
            ARCHIVED: "Archiviert",
        }
        return Discovery(
            payment_methods=(ShopMethod(INVOICE, "Rechnung"),),
            statuses=tuple(ShopMethod(code, name) for code, name in names.items()),
            currency="EUR",
        )

    # The way there

    def _invoice(self, identifier: str) -> dict[str, Any] | Evidence | None:
        """None: there is such a document, but it is a draft or no invoice."""
        try:
            row = self._call("GET", f"documents/{_checked_id(identifier)}").body
        except UnknownDocument:
            return Evidence.GONE
        if not isinstance(row, dict) or str(row.get("id")) != identifier:
            raise Temporary("easybill answered with another document than the one asked for.")
        return row if is_invoice(row) else None

    def _page(self, path: str, query: Mapping[str, str]) -> tuple[Answer, list[dict[str, Any]]]:
        answer = self._call("GET", path, {"type": INVOICE, **query})
        rows = answer.body.get("items") if isinstance(answer.body, dict) else None
        if not isinstance(rows, list):
            raise Temporary("easybill answered with something else than a list.")
        return answer, [row for row in rows if isinstance(row, dict)]

    def _call(
        self, method: str, path: str, query: Mapping[str, str] | None = None, json: Any = None
    ) -> Answer:
        asked = f"?{urlencode(query)}" if query else ""
        url = f"{self._base}/{path}{asked}"
        return self._http.request(method, url, json=json, headers=self._headers())

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.config.easybill_key}"}


def _missing(update: PaymentUpdate, row: Mapping[str, Any]) -> int:
    """Cents that came in and that easybill does not know of."""
    return int(update.paid_total * Decimal(100)) - (cents(row, "paid_amount") or 0)


def _checked_id(text: str) -> str:
    if not (text.isascii() and text.isdecimal() and len(text) <= 19):
        raise Rejected("This is no id of an easybill document.")
    return text
