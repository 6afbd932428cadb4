"""CSV of banks: known layouts found by their set of headers, unknown ones by explicit columns.

A layout is one entry in ``LAYOUTS``. Position and order of columns, lines before the header,
delimiter and encoding do not matter. What no layout knows is refused with the header it has, so
that the columns can be asked for once and remembered; they are never guessed.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, BinaryIO

from server.banking.formats import fields, purpose
from server.banking.formats.items import (
    Balance,
    Item,
    ParsedPosting,
    Problem,
    StatementFacts,
    Unreadable,
)

MAX_LINES_BEFORE_HEADER = 60
MAX_RECORD_LINES = 20
MAX_COLUMNS = 200
DELIMITERS = ";,\t|"

_TEXT_FIELDS = (
    "counterparty_name creditor_reference end_to_end_id mandate_id bank_reference transaction_code"
).split()
_REFERENCES = {"creditor_reference", "end_to_end_id", "mandate_id", "bank_reference"}
_COLUMN_FIELDS = {
    *_TEXT_FIELDS,
    *"account_iban booking_date value_date amount currency counterparty_iban".split(),
    *"counterparty_bic remittance_information return_reason".split(),
    *"debit credit debit_or_credit payer payee status".split(),
}
_OPTIONS = {"date_format", "delimiter", "decimal", "encoding"}
_PENDING = re.compile(r"vorgemerkt|vormerk|pending|ausstehend", re.IGNORECASE)
_RETURN = re.compile(
    r"r(?:ue|ü)ck(?:lastschrift|(?:ue|ü)berweisung|buchung|belastung)|retoure|storno",
    re.IGNORECASE,
)
_MANGLED = re.compile(r"[+-]?\d(?:[.,]\d+)?E\+?\d+", re.IGNORECASE)
_FOOTER = re.compile(
    r"kontostand|saldo|anfangssaldo|endsaldo|alter saldo|neuer saldo|summe|tagessaldo",
    re.IGNORECASE,
)
_CLOSING = re.compile(r"(?:kontostand|saldo)(?: vom| am)? (?P<on>[\d.]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """Which column holds which field, for a CSV that no layout knows.

    ``columns``: field of a posting to header, or to several headers that are joined by line
    feeds. Beside the fields that `parse` prints: ``debit`` and ``credit`` (two amount columns),
    ``debit_or_credit`` (S/H, D/C), ``payer`` and ``payee``, ``status`` (pending or booked).
    """

    columns: Mapping[str, Sequence[str]]
    date_format: str | None = None
    delimiter: str | None = None
    decimal: str | None = None
    encoding: str | None = None

    @classmethod
    def from_json(cls, loaded: object) -> ColumnMapping:
        """The mapping of a JSON object; ValueError with plain words for what is wrong in it."""
        if not isinstance(loaded, dict):
            raise ValueError("the column mapping must be a JSON object")
        options: dict[str, str | None] = dict.fromkeys(_OPTIONS)
        columns: dict[str, Sequence[str]] = {}
        for key, value in loaded.items():
            if key in _OPTIONS:
                options[key] = _text_option(key, value)
            elif key not in _COLUMN_FIELDS:
                raise ValueError(f"the column mapping names an unknown field “{key}”")
            elif value is not None:
                columns[key] = _headers(key, value)
        if "amount" not in columns and not {"debit", "credit"} & set(columns):
            raise ValueError("the column mapping must name the amount (or debit and credit)")
        return cls(columns, **options)


def _text_option(key: str, value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ValueError(f"“{key}” in the column mapping must be a text")
    if key == "delimiter" and value is not None and len(value) != 1:
        raise ValueError("“delimiter” in the column mapping must be one character")
    if key == "decimal" and value not in (None, ".", ","):
        raise ValueError("“decimal” in the column mapping must be “.” or “,”")
    if key == "encoding" and value is not None:
        try:
            "".encode(value)
        except LookupError as error:
            raise ValueError(f"the encoding “{value}” is not known") from error
    return value


def _headers(key: str, value: object) -> Sequence[str]:
    headers = [value] if isinstance(value, str) else value
    if not isinstance(headers, list) or not all(isinstance(one, str) for one in headers):
        raise ValueError(f"“{key}” in the column mapping must be a header or a list of headers")
    return headers


def _layout(decimal: str | None, **columns: str) -> ColumnMapping:
    return ColumnMapping(
        {key: headers.split(" + ") for key, headers in columns.items()}, decimal=decimal
    )


# The first whose headers all stand in the file is it, so richer layouts come first.
LAYOUTS: dict[str, ColumnMapping] = {
    "Sparkasse CSV-CAMT (V2, V8)": _layout(
        ",",
        account_iban="Auftragskonto",
        booking_date="Buchungstag",
        value_date="Valutadatum",
        transaction_code="Buchungstext",
        remittance_information="Verwendungszweck",
        mandate_id="Mandatsreferenz",
        end_to_end_id="Kundenreferenz (End-to-End)",
        counterparty_name="Beguenstigter/Zahlungspflichtiger",
        counterparty_iban="Kontonummer/IBAN",
        counterparty_bic="BIC (SWIFT-Code)",
        amount="Betrag",
        currency="Waehrung",
        status="Info",
    ),
    "Sparkasse CSV-MT940": _layout(
        ",",
        account_iban="Auftragskonto",
        booking_date="Buchungstag",
        value_date="Valutadatum",
        transaction_code="Buchungstext",
        remittance_information="Verwendungszweck",
        counterparty_name="Beguenstigter/Zahlungspflichtiger",
        counterparty_iban="Kontonummer",
        counterparty_bic="BLZ",
        amount="Betrag",
        currency="Waehrung",
        status="Info",
    ),
    "Volksbanken, GLS, Sparda": _layout(
        ",",
        account_iban="IBAN Auftragskonto",
        booking_date="Buchungstag",
        value_date="Valutadatum",
        transaction_code="Buchungstext",
        remittance_information="Verwendungszweck",
        counterparty_name="Name Zahlungsbeteiligter",
        counterparty_iban="IBAN Zahlungsbeteiligter",
        counterparty_bic="BIC (SWIFT-Code) Zahlungsbeteiligter",
        amount="Betrag",
        currency="Waehrung",
    ),
    "DKB": _layout(
        ",",
        booking_date="Buchungsdatum",
        value_date="Wertstellung",
        status="Status",
        payer="Zahlungspflichtige*r",
        payee="Zahlungsempfänger*in",
        remittance_information="Verwendungszweck",
        transaction_code="Umsatztyp",
        counterparty_iban="IBAN",
        amount="Betrag (€)",
        mandate_id="Mandatsreferenz",
        end_to_end_id="Kundenreferenz",
    ),
    "DKB until 2023": _layout(
        ",",
        booking_date="Buchungstag",
        value_date="Wertstellung",
        transaction_code="Buchungstext",
        counterparty_name="Auftraggeber / Begünstigter",
        remittance_information="Verwendungszweck",
        counterparty_iban="Kontonummer",
        counterparty_bic="BLZ",
        amount="Betrag (EUR)",
        mandate_id="Mandatsreferenz",
        end_to_end_id="Kundenreferenz",
    ),
    "Commerzbank": _layout(
        ",",
        account_iban="IBAN Auftraggeberkonto",
        booking_date="Buchungstag",
        value_date="Wertstellung",
        transaction_code="Umsatzart",
        remittance_information="Buchungstext",
        amount="Betrag",
        currency="Währung",
    ),
    "Commerzbank since 2023": _layout(
        ",",
        account_iban="IBAN Kontoinhaber",
        booking_date="Buchungstag",
        value_date="Wertstellung",
        transaction_code="Umsatzart",
        remittance_information="Buchungstext",
        amount="Betrag",
        currency="Währung",
    ),
    "N26": _layout(
        ".",
        booking_date="Booking Date",
        value_date="Value Date",
        counterparty_name="Partner Name",
        counterparty_iban="Partner Iban",
        transaction_code="Type",
        remittance_information="Payment Reference",
        amount="Amount (EUR)",
    ),
    "N26 until 2024, English": _layout(
        ".",
        booking_date="Date",
        counterparty_name="Payee",
        counterparty_iban="Account number",
        transaction_code="Transaction type",
        remittance_information="Payment reference",
        amount="Amount (EUR)",
    ),
    "N26 until 2024, German": _layout(
        ".",
        booking_date="Datum",
        counterparty_name="Empfänger",
        counterparty_iban="Kontonummer",
        transaction_code="Transaktionstyp",
        remittance_information="Verwendungszweck",
        amount="Betrag (EUR)",
    ),
    "Deutsche Bank, Postbank": _layout(
        ",",
        booking_date="Buchungstag",
        value_date="Wert",
        transaction_code="Umsatzart",
        counterparty_name="Begünstigter / Auftraggeber",
        remittance_information="Verwendungszweck",
        end_to_end_id="Kundenreferenz",
        mandate_id="Mandatsreferenz",
        debit="Soll",
        credit="Haben",
        currency="Währung",
    ),
}
# Columns of a layout that only some of the bank's files have, or under another name.
_OPTIONAL_COLUMNS: dict[str, dict[str, Sequence[str]]] = {
    "Deutsche Bank, Postbank": {
        "counterparty_iban": ["IBAN", "IBAN / Kontonummer"],
        "counterparty_bic": ["BIC"],
    },
}
_CURRENCY_OF_HEADER = re.compile(r"\((€|EUR|CHF|USD|GBP)\)")


def read(source: BinaryIO, columns: ColumnMapping | None = None) -> Iterator[Item]:
    """The postings of a CSV file, then its StatementFacts.

    Raises Unreadable, naming the header, if no layout fits and no columns are given, and if
    given columns are not in the file.
    """
    table = _Table(fields.lines(source, columns.encoding if columns else None))
    header = _find_header(table, columns)
    facts = _Facts(header)
    for record in table.records(header.delimiter, len(header.names)):
        yield from _items(record, header, facts)
    yield facts.done()


@dataclass(frozen=True, slots=True)
class _Record:
    line_number: int
    cells: list[str]
    problem: str | None = None


class _Table:
    """The lines of a file as records; a quote that is never closed costs its line, not the rest."""

    def __init__(self, printed: Iterator[str]) -> None:
        self._printed = printed
        self._ahead: deque[str] = deque()
        self.line_number = 0

    def line(self) -> str | None:
        """The next line, or None at the end."""
        printed = self._ahead.popleft() if self._ahead else next(self._printed, None)
        self.line_number += printed is not None
        return printed

    def records(self, delimiter: str, width: int) -> Iterator[_Record]:
        while (printed := self.line()) is not None:
            number = self.line_number
            if printed.count('"') % 2 == 0:
                yield _Record(number, split(printed, delimiter))
                continue
            whole = self._whole_record(printed, delimiter, width)
            if whole is not None:
                yield _Record(number, split(whole, delimiter))
                continue
            cells = printed.replace('"', "").split(delimiter)
            yield _Record(number, cells, "a quotation mark in it is never closed")

    def _whole_record(self, first: str, delimiter: str, width: int) -> str | None:
        """The first line and those that its open quote reaches to, if that gives a whole record."""
        whole = first
        for ahead in range(1, MAX_RECORD_LINES):
            if len(self._ahead) < ahead:
                following = next(self._printed, None)
                if following is None:
                    return None
                self._ahead.append(following)
            whole += "\n" + self._ahead[ahead - 1]
            if whole.count('"') % 2 == 0:
                if len(split(whole, delimiter)) not in (width, width + 1):
                    return None
                for _ in range(ahead):
                    self.line()
                return whole
        return None


def split(printed: str, delimiter: str) -> list[str]:
    """The cells of one record."""
    try:
        return next(csv.reader([printed], delimiter=delimiter), [])
    except csv.Error:
        return printed.replace('"', "").split(delimiter)


@dataclass(slots=True)
class _Header:
    """Where in a record which field stands."""

    delimiter: str
    names: list[str]
    layout: ColumnMapping
    places: dict[str, list[int]]
    account_iban: str | None = None
    currency: str | None = None
    closing: Balance | None = None


def _normal(name: str) -> str:
    """A header without case, blanks, punctuation and the choice of umlauts."""
    name = name.strip().casefold().replace("€", "eur")
    for umlaut, letters in (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("ß", "ss")):
        name = name.replace(umlaut, letters)
    return "".join(
        one for one in unicodedata.normalize("NFKC", name) if one.isalnum() or one == "\ufffd"
    )


def _find_header(table: _Table, columns: ColumnMapping | None) -> _Header:
    """The header line and its layout; what stands before it is searched for account and balance."""
    before: list[str] = []
    while len(before) < MAX_LINES_BEFORE_HEADER and (printed := table.line()) is not None:
        for delimiter in (columns and columns.delimiter) or DELIMITERS:
            header = _header(split(printed, delimiter), delimiter, columns)
            if header is not None:
                _note_before(header, before)
                return header
        before.append(printed)
    raise Unreadable(_unknown(before, columns))


def _header(cells: list[str], delimiter: str, columns: ColumnMapping | None) -> _Header | None:
    if not 2 <= len(cells) <= MAX_COLUMNS:
        return None
    names = [_normal(cell) for cell in cells]
    if columns is not None:
        places = _places(columns.columns, names)
        return _Header(delimiter, cells, columns, places) if places is not None else None
    for title, layout in LAYOUTS.items():
        places = _places(layout.columns, names)
        if places is None:
            continue
        for key, choices in _OPTIONAL_COLUMNS.get(title, {}).items():
            found = [names.index(_normal(one)) for one in choices if _normal(one) in names]
            places[key] = found[:1]
        header = _Header(delimiter, cells, layout, places)
        amount_name = " ".join(layout.columns.get("amount", ()))
        if currency := _CURRENCY_OF_HEADER.search(amount_name):
            header.currency = currency[1].replace("€", "EUR")
        return header
    return None


def _places(columns: Mapping[str, Sequence[str]], names: list[str]) -> dict[str, list[int]] | None:
    places: dict[str, list[int]] = {}
    for key, headers in columns.items():
        for header in headers:
            name = _normal(header)
            if name not in names:
                return None
            places.setdefault(key, []).append(names.index(name))
    return places


def _note_before(header: _Header, before: list[str]) -> None:
    for printed in before:
        cells = split(printed, header.delimiter)
        for cell in cells:
            header.account_iban = header.account_iban or fields.iban(cell.partition("/")[0])
        header.closing = header.closing or _printed_balance(cells, header)


def _printed_balance(cells: list[str], header: _Header) -> Balance | None:
    found = _CLOSING.match(cells[0].strip()) if cells else None
    for cell in cells[1:]:
        amount = fields.printed_amount(cell, header.layout.decimal) if found else None
        if found and amount is not None:
            return Balance(amount, header.currency, fields.printed_date(found["on"]))
    return None


def _unknown(before: list[str], columns: ColumnMapping | None) -> str:
    widest = max(before, key=lambda one: max(one.count(sign) for sign in DELIMITERS), default="")
    seen = next((one for one in before if one.count(";") > 2 or one.count(",") > 2), widest)
    shown = fields.shown(seen)
    if columns is None:
        return f"the header of this CSV is not known, please name its columns; it is “{shown}”"
    wanted = ", ".join(header for headers in columns.columns.values() for header in headers)
    return f"no line holds all the columns {wanted}; the header is “{shown}”"


@dataclass(slots=True)
class _Facts:
    header: _Header
    accounts: set[str] = field(default_factory=set)
    first: date | None = None
    last: date | None = None

    def note(self, posting: ParsedPosting) -> None:
        if posting.account_iban and len(self.accounts) < 2:
            self.accounts.add(posting.account_iban)
        if posting.booking_date is not None and not posting.is_pending:
            self.first = min(self.first or posting.booking_date, posting.booking_date)
            self.last = max(self.last or posting.booking_date, posting.booking_date)

    def done(self) -> StatementFacts:
        account = self.header.account_iban
        if account is None and len(self.accounts) == 1:
            account = next(iter(self.accounts))
        return StatementFacts(
            account_iban=account,
            account=account,
            from_date=self.first,
            to_date=self.last,
            closing=self.header.closing,
        )


def _items(record: _Record, header: _Header, facts: _Facts) -> Iterator[Item]:
    where = f"line {record.line_number}"
    if not any(cell.strip() for cell in record.cells):
        return
    problems = [record.problem] if record.problem else []
    cells = _aligned(record.cells, header, problems)
    row = _Row(cells, header, problems)
    amount = row.amount()
    if amount is None:
        if _FOOTER.match(record.cells[0].strip()):
            header.closing = header.closing or _printed_balance(record.cells, header)
            return
        shown = fields.shown(header.delimiter.join(record.cells)[:80])
        yield Problem(where, f"no amount found in “{shown}”")
        return
    posting = row.posting(amount, where)
    facts.note(posting)
    yield posting
    for what in problems:
        yield Problem(where, what)


def _aligned(cells: list[str], header: _Header, problems: list[str]) -> list[str]:
    """The record with as many cells as the header.

    Too many: a delimiter stands unquoted in the free text, which takes the surplus cells.
    """
    width = len(header.names)
    while len(cells) > width and not cells[-1].strip():
        cells = cells[:-1]
    surplus = len(cells) - width
    if surplus > 0:
        at = header.places.get("remittance_information", [width - 1])[0]
        joined = header.delimiter.join(cells[at : at + surplus + 1])
        problems.append(f"it has {surplus} cells more than the header; its text took them")
        return [*cells[:at], joined, *cells[at + surplus + 1 :]]
    return cells + [""] * -surplus


class _Row:
    """One record, read by the names of fields; what is not readable is added to the problems."""

    def __init__(self, cells: list[str], header: _Header, problems: list[str]) -> None:
        self._cells = cells
        self._header = header
        self._layout = header.layout
        self._problems = problems

    def _text(self, key: str) -> str | None:
        contents = [self._cells[place] for place in self._header.places.get(key, ())]
        value = fields.text("\n".join(one for one in contents if one.strip()))
        if value is not None and key in _REFERENCES and _MANGLED.fullmatch(value):
            self._problems.append(
                f"a spreadsheet has rounded the {key} to “{value}”; it is left out"
            )
            return None
        return value

    def _number(self, key: str) -> Decimal | None:
        printed = self._text(key)
        return fields.printed_amount(printed, self._layout.decimal) if printed else None

    def amount(self) -> Decimal | None:
        """The signed amount, from one column, from debit and credit, or with a mark beside it."""
        amount = self._number("amount")
        if amount is None:
            debit, credit = self._number("debit"), self._number("credit")
            if debit is None and credit is None:
                return None
            return (credit or Decimal(0)) - abs(debit or Decimal(0))
        mark = (self._text("debit_or_credit") or "").upper()
        if mark[:1] in ("S", "D", "-"):
            return -abs(amount)
        return amount

    def _date(self, key: str) -> date | None:
        printed = self._text(key)
        if printed is None:
            return None
        found = _formatted_date(printed, self._layout.date_format)
        if found is None:
            self._problems.append(f"the {key} “{fields.shown(printed[:40])}” is no date")
        return found

    def _iban(self, key: str) -> str | None:
        printed = self._text(key)
        if printed and _MANGLED.fullmatch(printed):
            self._problems.append(f"a spreadsheet has rounded the {key} to “{printed}”")
        return fields.iban(printed)

    def _name(self, amount: Decimal) -> str | None:
        return self._text("counterparty_name") or self._text("payer" if amount > 0 else "payee")

    def _remittance(self) -> purpose.Purpose:
        printed = self._text("remittance_information")
        if printed and "SVWZ+" in printed:
            return purpose.read_keywords([printed])
        return purpose.Purpose(remittance_information=printed)

    def posting(self, amount: Decimal, where: str) -> ParsedPosting:
        said = self._remittance()
        code = self._text("transaction_code")
        reason = self._text("return_reason")
        return ParsedPosting(
            account_iban=self._iban("account_iban") or self._header.account_iban,
            booking_date=self._date("booking_date"),
            value_date=self._date("value_date"),
            amount=amount,
            currency=self._currency(),
            counterparty_name=self._name(amount) or said.counterparty_name,
            counterparty_iban=self._iban("counterparty_iban") or said.counterparty_iban,
            counterparty_bic=fields.bic(self._text("counterparty_bic")) or said.counterparty_bic,
            remittance_information=said.remittance_information,
            creditor_reference=self._text("creditor_reference"),
            end_to_end_id=self._text("end_to_end_id") or said.end_to_end_id,
            mandate_id=self._text("mandate_id") or said.mandate_id,
            bank_reference=self._text("bank_reference"),
            transaction_code=code,
            is_return=reason is not None or bool(code and _RETURN.search(code)),
            return_reason=reason,
            is_pending=bool(_PENDING.search(self._text("status") or "")),
            where=where,
        )

    def _currency(self) -> str | None:
        printed = (self._text("currency") or "").upper().replace("€", "EUR")
        return fields.currency(printed) or self._header.currency


def _formatted_date(printed: str, date_format: str | None) -> date | None:
    if date_format is None:
        return fields.printed_date(printed)
    try:
        found: Any = datetime.strptime(printed, date_format)  # noqa: DTZ007 - a date, no moment
    except ValueError:
        return None
    return fields.calendar_date(found.year, found.month, found.day)
