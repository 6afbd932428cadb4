"""CSV of banks: known layouts found by their set of headers, unknown ones by explicit columns.

Position and order of columns, lines before the header, delimiter and encoding do not matter.
What no layout knows is refused with the header it has, so that the columns can be asked for
once and remembered; they are never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from itertools import chain
from typing import Any, BinaryIO

from server.banking.formats import fields, layouts, notation, packed
from server.banking.formats.items import (
    MAX_RAW_CHARACTERS,
    Balance,
    Entry,
    ForeignAmount,
    Item,
    ParsedPosting,
    Problem,
    StatementFacts,
    Unreadable,
)
from server.banking.formats.layouts import Reading, normal
from server.banking.formats.purpose import Purpose
from server.banking.formats.table import DELIMITERS, OTHER_ENCODINGS, Record, Table, split

SOURCE = "CSV"
MAX_LINES_BEFORE_HEADER = 60
MAX_COLUMNS = 200
MAX_SAMPLE_RECORDS = 1_000
MAX_UNDECIDED_RECORDS = 50_000
MAX_DETAILS = 10_000
MAX_LEFT_OUT_CELLS = 2

_TEXT_FIELDS = (
    "counterparty_name creditor_reference end_to_end_id mandate_id bank_reference transaction_code"
).split()
_REFERENCES = {
    *"creditor_reference end_to_end_id mandate_id bank_reference remittance_information".split()
}
_AMOUNTS = ("amount", "debit", "credit")
_DATES = ("booking_date", "value_date")
COLUMN_FIELDS = {
    *_TEXT_FIELDS,
    *_AMOUNTS,
    *_DATES,
    *"account_iban currency counterparty_iban counterparty_bic remittance_information".split(),
    *"return_reason debit_or_credit payer payee status fee net charges".split(),
    *"foreign_amount foreign_currency exchange_rate".split(),
}
"""What a column mapping may name: fields of a posting, and how its amount and party are said."""

_TEXT_OPTIONS = ("date_format", "delimiter", "decimal", "encoding")
_FLAG_OPTIONS = ("has_header", "inverted")
# Booked is what no word speaks against: each bank has its own word for it.
_NOT_BOOKED = re.compile(
    r"vorgemerkt|vormerk|pending|ausstehend|offen|\bopen\b|unclaimed|nicht eingefordert|held"
    r"|zurückgestellt|reserv|bearbeitung|processing|declin|abgelehnt|denied|cancel|storniert"
    r"|reverted|rückgängig|failed|fehlgeschlagen|reject|removed|entfernt|expired|abgelaufen"
    r"|en attente|pendiente|in attesa|in afwachting",
    re.IGNORECASE,
)
_UNDATED = re.compile(r"\boffen\b|\bneu\b|pending|vorgemerkt|ausstehend", re.IGNORECASE)
_AUTHORIZATION = re.compile(r"autorisierung|authori[sz]ation|^(?:order|bestellung)$", re.IGNORECASE)
_RETURN = re.compile(
    r"r(?:ue|ü)ck(?:lastschrift|(?:ue|ü)berweisung|buchung|belastung)|retoure|storno",
    re.IGNORECASE,
)
_MANGLED = re.compile(r"[+-]?\d(?:[.,]\d+)?E\+?\d+", re.IGNORECASE)
_NOTHING = {"N/A", "n/a", "--", "-"}
_BALANCE_WORD = re.compile(
    r"(?P<opening>(?:anfangs|alter |letzter? )(?:saldo|kontostand)|alter kontostand|saldovortrag"
    r"|opening balance|balance brought forward|solde initial)"
    r"|(?P<closing>(?:end|schluss|neuer |tages)(?:saldo|kontostand)|neuer kontostand|kontostand"
    r"|saldo|closing balance|ledger balance|solde final)"
    r"|(?P<sum>summe|gesamt|total|disclaimer)",
    re.IGNORECASE,
)
_BALANCE_LINE = re.compile(rf"\s*(?:{_BALANCE_WORD.pattern})\b", re.IGNORECASE)
_PRINTED_DAY = re.compile(r"\d{1,2}\.\d{1,2}\.(?:\d{4}|\d{2})|\d{4}-\d\d-\d\d")
_ACCOUNT_LABEL = re.compile(
    r"(?:konto|karten?konto|kontonummer|kontonummer / iban|kreditkarte|karte|kartennummer"
    r"|account|account details for|rekening|compte):?",
    re.IGNORECASE,
)
_LABEL = re.compile(r'\s*"?[^";,\t]+:"?\s*[;,\t]')
_CURRENCY_OF_HEADER = re.compile(r"(?:[(\s])(€|[A-Z]{3})\)?\s*$")
_CURRENCIES = {*"EUR CHF USD GBP CZK SGD PLN SEK NOK DKK HUF RON JPY AUD CAD".split()}
_SYMBOLS = {"€": "EUR", "£": "GBP", "$": "USD"}
_CREDIT_OR_DEBIT = re.compile(r"(?P<amount>.*?)\s*(?P<mark>CR|DR)\.?", re.IGNORECASE)
_DIGITS = re.compile(r"\s*[+-]?\d+(?:\.\d+)?\s*")
_CODE = re.compile(r"^\s*[A-Za-z]{2,3}\s+|\s*[A-Za-z]{2,3}\s*$")
_DEBIT_MARKS = {
    *"S SOLL D DR DB DBIT DEBIT DEBET DÉBIT - AF O OUT OUTFLOW BELASTUNG KIADÁS EXPENSE".split()
}
_CREDIT_MARKS = {
    *"H HABEN C CR K KREDIT CRDT CREDIT CRÉDIT + BIJ I IN INFLOW GUTSCHRIFT BEVÉTEL".split()
}


class UnknownColumns(Unreadable):
    """A table whose columns must be named first; ``header`` has its cells as they are printed."""

    def __init__(self, message: str, header: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.header = list(header)


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """Which column holds which field, for a CSV that no layout knows.

    ``columns``: one of ``COLUMN_FIELDS`` to a header, or to several headers that are joined by
    line feeds; without a header line (``has_header`` false) the number of the column, from "1".
    ``debit`` and ``credit`` are two amount columns, ``debit_or_credit`` a mark (S/H, D/C),
    ``payer`` and ``payee`` two parties, ``status`` says pending or booked, ``fee`` becomes a
    posting of its own. ``inverted``: what was spent is printed positive (credit cards).
    """

    columns: Mapping[str, Sequence[str]]
    date_format: str | None = None
    delimiter: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    has_header: bool = True
    inverted: bool = False

    @classmethod
    def from_json(cls, loaded: object) -> ColumnMapping:
        """The mapping of a JSON object; ValueError with plain words for what is wrong in it."""
        if not isinstance(loaded, dict):
            raise ValueError("the column mapping must be a JSON object")
        options: dict[str, Any] = {}
        columns: dict[str, Sequence[str]] = {}
        for key, value in loaded.items():
            if key in _TEXT_OPTIONS:
                options[key] = _text_option(key, value)
            elif key in _FLAG_OPTIONS:
                options[key] = _flag_option(key, value)
            elif key not in COLUMN_FIELDS:
                raise ValueError(f"the column mapping names an unknown field “{key}”")
            elif value is not None:
                columns[key] = _headers(key, value)
        if "amount" not in columns and not {"debit", "credit"} & set(columns):
            raise ValueError("the column mapping must name the amount (or debit and credit)")
        if not options.get("has_header", True):
            _check_numbers(columns)
        return cls(columns, **options)

    def reading(self) -> Reading:
        """How its cells are to be read."""
        return Reading(
            decimal=self.decimal, date_format=self.date_format, is_inverted=self.inverted
        )


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


def _flag_option(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"“{key}” in the column mapping must be true or false")
    return value


def _headers(key: str, value: object) -> Sequence[str]:
    headers = [value] if isinstance(value, str) else value
    if not isinstance(headers, list) or not all(isinstance(one, str) for one in headers):
        raise ValueError(f"“{key}” in the column mapping must be a header or a list of headers")
    return headers


def _check_numbers(columns: Mapping[str, Sequence[str]]) -> None:
    for key, headers in columns.items():
        for header in headers:
            if not header.isascii() or not header.isdigit() or not 1 <= int(header) <= MAX_COLUMNS:
                raise ValueError(
                    f"“{key}” in the column mapping must be the number of a column, from “1”,"
                    " because the file has no header"
                )


def read(source: BinaryIO, columns: ColumnMapping | None = None) -> Iterator[Item]:
    """The postings of a CSV file, then its StatementFacts.

    Raises UnknownColumns, naming the header, if no layout fits and no columns are given, and if
    given columns are not in the file.
    """
    table = Table(source, columns.encoding if columns else None)
    header = find_header(table, columns)
    records = table.records(header.delimiter, header.width)
    sample = _sampled(records, header)
    yield from _Reader(header).items(chain(sample, records))


@dataclass(slots=True)
class Header:
    """Where in a record which field stands, and what the lines before the postings say.

    ``names`` is empty for files without a header line; ``width`` is the number of columns.
    """

    delimiter: str
    names: list[str]
    width: int
    places: Mapping[str, Sequence[int]]
    reading: Reading
    account_iban: str | None = None
    account: str | None = None
    currency: str | None = None
    opening: Balance | None = None
    closing: Balance | None = None
    amounts_before: set[Decimal] = field(default_factory=set)

    def name(self, key: str) -> str:
        """The header of a field, as printed; empty where there is none."""
        places = self.places.get(key)
        return self.names[places[0]].strip() if places and places[0] < len(self.names) else ""


def find_header(table: Table, columns: ColumnMapping | None) -> Header:
    """The header line and its layout; what stands before it is searched for account and balance.

    The table then stands behind the header. Raises UnknownColumns.
    """
    if columns is not None and not columns.has_header:
        return _numbered(table, columns)
    before: list[str] = []
    while len(before) < MAX_LINES_BEFORE_HEADER and (printed := table.line()) is not None:
        header = _header_at(table, printed, columns)
        if header is not None:
            _note_before(header, [table.decoded(line) for line in before])
            return header
        before.append(printed)
    table.give_back(before)
    decoded = [table.decoded(line) for line in before]
    header = _headerless(decoded) if columns is None else None
    if header is None and _is_labels_only(decoded):
        raise Unreadable("it says things about an account, but holds no table of postings")
    if header is None:
        raise _unknown(decoded, columns)
    return header


def _header_at(table: Table, printed: str, columns: ColumnMapping | None) -> Header | None:
    """The header that this line is, alone or with the lines that its open quote reaches to."""
    line_number = table.line_number
    whole = table.whole(printed)
    for encoding in (None, *OTHER_ENCODINGS):
        for delimiter in (columns and columns.delimiter) or DELIMITERS:
            text = table.decoded(whole, encoding)
            if header := _header(split(text, delimiter), delimiter, columns):
                table.encoding = encoding
                return header
        if columns is not None or whole.isascii():
            break
    if whole != printed:
        table.give_back(whole.split("\n")[1:])
        table.line_number = line_number
    return None


def _header(cells: list[str], delimiter: str, columns: ColumnMapping | None) -> Header | None:
    if not 2 <= len(cells) <= MAX_COLUMNS:
        return None
    names = [normal(cell) for cell in cells]
    if columns is not None:
        mapped = _mapped(columns.columns, names)
        if mapped is None:
            return None
        places, reading = mapped, columns.reading()
    else:
        found = layouts.best(names)
        if found is None and any("\ufffd" in name for name in names):
            found = layouts.best(layouts.mended(names))
        if found is None:
            return None
        places, reading = found[1], found[0].reading
    header = Header(delimiter, cells, len(cells), places, reading)
    header.currency = _header_currency(header)
    return header


def _mapped(columns: Mapping[str, Sequence[str]], names: list[str]) -> dict[str, list[int]] | None:
    places: dict[str, list[int]] = {}
    for key, headers in columns.items():
        for header in headers:
            name = normal(header)
            if name not in names:
                return None
            places.setdefault(key, []).append(names.index(name))
    if "currency" in places:
        places["currency"] = [layouts.currency_place(places, names)]
    return places


def _header_currency(header: Header) -> str | None:
    for key in _AMOUNTS:
        if found := _CURRENCY_OF_HEADER.search(header.name(key)):
            return found[1].replace("€", "EUR")
    return None


def _headerless(lines: Sequence[str]) -> Header | None:
    for delimiter in DELIMITERS:
        layout = layouts.by_shape([split(line, delimiter) for line in lines], delimiter)
        if layout is not None:
            places = {
                key: [int(part[0]) - 1 for part in column]
                for key, column in layout.required.items()
            }
            return Header(delimiter, [], len(layout.shape), places, layout.reading)
    return None


def _numbered(table: Table, columns: ColumnMapping) -> Header:
    """A file without header whose columns are named by their numbers."""
    before: list[str] = []
    places = {
        key: [int(number) - 1 for number in numbers] for key, numbers in columns.columns.items()
    }
    needed = max(place for one in places.values() for place in one) + 1
    while len(before) < MAX_LINES_BEFORE_HEADER and (printed := table.line()) is not None:
        before.append(printed)
    table.give_back(before)
    decoded = [table.decoded(line) for line in before]
    for delimiter in columns.delimiter or DELIMITERS:
        widths = [len(split(line, delimiter)) for line in decoded if line.strip()]
        width = max(widths, key=widths.count, default=0)
        if width >= max(needed, 2):
            return Header(delimiter, [], width, places, columns.reading())
    raise _unknown(decoded, columns)


def _note_before(header: Header, before: Sequence[str]) -> None:
    """Account, currency and balance of the lines above the header."""
    currencies: set[str] = set()
    for printed in before:
        cells = [_plain(cell) for cell in split(printed, header.delimiter)]
        for index, cell in enumerate(cells):
            header.account_iban = header.account_iban or fields.iban(cell.partition(" /")[0])
            if index and header.account is None and _ACCOUNT_LABEL.fullmatch(cells[index - 1]):
                header.account = fields.text(cell)
            if index and (amount := fields.printed_amount(cell, header.reading.decimal)):
                header.amounts_before.add(amount)
        currencies |= {cell for cell in cells if cell in _CURRENCIES}
        if cells and (found := _BALANCE_LINE.match(cells[0])):
            _note_balance(header, cells, found)
    if len(currencies) == 1:
        header.currency = header.currency or currencies.pop()


def _plain(cell: str) -> str:
    """A cell without blanks around it and without Excel's ``="…"`` for texts of digits."""
    cell = cell.strip()
    return cell[2:-1] if cell.startswith('="') and cell.endswith('"') else cell


def _note_balance(header: Header, cells: Sequence[str], found: re.Match[str]) -> None:
    """A line that prints a balance; dates in it belong to it."""
    day = next((one for cell in cells for one in _PRINTED_DAY.findall(cell)), None)
    on = fields.printed_date(day) if day else None
    for cell in cells:
        amount = fields.printed_amount(cell, header.reading.decimal)
        if amount is None or _PRINTED_DAY.search(cell):
            continue
        currency = header.currency or header.reading.currency
        balance = Balance(amount, currency or _symbol(cell), on)
        if found["opening"]:
            header.opening = header.opening or balance
        elif found["closing"]:
            header.closing = balance
        return


def _symbol(cell: str) -> str | None:
    """The currency printed beside an amount in its own cell."""
    found = next((code for sign, code in _SYMBOLS.items() if sign in cell), None)
    return found or next((code for code in re.findall(r"[A-Z]{3}", cell)), None)


def _unknown(lines: Sequence[str], columns: ColumnMapping | None) -> UnknownColumns:
    cells, delimiter = probable_header(lines)
    shown = fields.shown(delimiter.join(cells))
    if columns is None:
        what = f"the header of this CSV is not known, please name its columns; it is “{shown}”"
    elif not columns.has_header:
        what = f"it has fewer columns than the mapping names; its first line is “{shown}”"
    else:
        wanted = ", ".join(header for headers in columns.columns.values() for header in headers)
        what = f"no line holds all the columns {wanted}; the header is “{shown}”"
    return UnknownColumns(what, cells)


def _is_labels_only(lines: Sequence[str]) -> bool:
    """Whether all that stands in the file is ``label: value``: an export of a day without any."""
    filled = [line for line in lines if line.strip(' ";,\t')]
    return len(filled) > 1 and all(map(_LABEL.match, filled))


def probable_header(lines: Sequence[str]) -> tuple[list[str], str]:
    """The cells and delimiter of the line that seems to be the header: the first of the widest."""
    delimiter = max(DELIMITERS, key=lambda one: max((line.count(one) for line in lines), default=0))
    records = [split(line, delimiter) for line in lines]
    widths = [len([cell for cell in cells if cell.strip()]) for cells in records]
    widest = max(widths, default=0)
    for cells, width in zip(records, widths, strict=True):
        if width and width >= 0.7 * widest and not any(map(_is_value, cells)):
            return cells, delimiter
    return (records[widths.index(widest)] if records else []), delimiter


def _is_value(cell: str) -> bool:
    """Whether a cell holds a date or an amount, which headers never do."""
    return any(one.isdigit() for one in cell) and (
        fields.printed_amount(cell) is not None or notation.printed_date(cell, True) is not None
    )


def _sampled(records: Iterator[Record], header: Header) -> list[Record]:
    """The first records, as many as show in which notation the file prints amounts and dates."""
    sample: list[Record] = []
    for record in records:
        sample.append(record)
        if len(sample) == MAX_UNDECIDED_RECORDS:
            break
        if len(sample) % MAX_SAMPLE_RECORDS == 0 and _is_decided(sample, header):
            break
    reading = header.reading
    decimal = notation.decimal_sign(_cells(sample, header, _AMOUNTS))
    day_first = notation.day_first(_cells(sample, header, _DATES))
    header.reading = replace(
        reading,
        decimal=decimal or reading.decimal,
        day_first=day_first if day_first is not None else reading.day_first,
    )
    return sample


def _is_decided(sample: Sequence[Record], header: Header) -> bool:
    if header.reading.day_first is not None or header.reading.date_format is not None:
        return True
    dates = list(_cells(sample, header, _DATES))
    return notation.day_first(dates) is not None or not any(map(notation.is_ordered, dates))


def _cells(sample: Iterable[Record], header: Header, keys: Iterable[str]) -> Iterator[str]:
    places = [place for key in keys for place in header.places.get(key, ())]
    for record in sample:
        for place in places:
            if place < len(record.cells):
                yield record.cells[place]


class _Reader:
    """Turns records into postings, one behind: later lines may belong to the posting before."""

    def __init__(self, header: Header) -> None:
        self._header = header
        self._held: ParsedPosting | None = None
        self._more: list[Item] = []
        self._details: list[_Row] = []
        self._is_undated = False
        self._unread: _Row | None = None
        self._sum = Decimal(0)
        self._currencies: set[str | None] = set()
        self._accounts: set[tuple[str | None, str | None]] = set()
        self._from: date | None = None
        self._to: date | None = None

    def items(self, records: Iterable[Record]) -> Iterator[Item]:
        for record in records:
            if any(cell and not cell.isspace() for cell in record.cells):
                yield from self._lost()
                yield from self._record(record)
        yield from self._last()
        yield self._facts()

    def _record(self, record: Record) -> Iterator[Item]:
        row = _Row(record, self._header)
        if row.is_memo() or self._is_balance(row):
            return
        amount = row.amount()
        if amount is None:
            yield from self._without_amount(row)
            return
        yield from self._release()
        posting = row.posting(amount)
        self._is_undated = posting.booking_date is None and row.is_undated()
        fee = row.fee(posting)
        if fee is not None:
            posting = replace(posting, entry=fee.entry)
            self._more.append(fee)
        self._held = posting
        self._more.extend(row.problems_as_items())

    def _is_balance(self, row: _Row) -> bool:
        """Whether a line prints a balance or a sum; they stand where the date is, or alone."""
        found = row.balance_word()
        if found is not None:
            _note_balance(self._header, row.cells, found)
        return found is not None

    def _without_amount(self, row: _Row) -> Iterator[Item]:
        """A line without amount: more text, one payment of the total above, a note, or a loss."""
        if self._held is not None and row.has("detail_amount") and len(self._details) < MAX_DETAILS:
            self._details.append(row)
        elif self._held is not None and not row.is_dated() and (more := row.only_text()):
            text = "\n".join(filter(None, (self._held.remittance_information, more)))
            self._held = replace(self._held, remittance_information=text)
        elif not row.is_note():
            yield from self._release()
            self._unread = row

    def _lost(self) -> Iterator[Item]:
        """The line that has no amount although it is no note; the last one may be a balance."""
        row, self._unread = self._unread, None
        if row is not None:
            why = "".join(f" ({what})" for what in row.problems)
            shown = fields.shown(row.cells_in_a_line()[:80])
            yield Problem(row.where, f"no amount found in “{shown}”{why}", row.shown_raw)

    def _last(self) -> Iterator[Item]:
        """The end: an undated last line is no posting if it prints what all sums add up to."""
        held, unread = self._held, self._unread
        if unread is not None:
            balance = next(filter(self._is_balanced, unread.numbers()), None)
        else:
            is_doubtful = held is not None and self._is_undated and self._is_balanced(held.amount)
            balance = held.amount if held is not None and is_doubtful else None
        if balance is None:
            yield from self._release()
            yield from self._lost()
            return
        self._header.closing = Balance(balance, self._header.currency, None)
        if unread is not None:
            yield from self._release()

    def _is_balanced(self, amount: Decimal) -> bool:
        return any(amount in (one, one + self._sum) for one in self._header.amounts_before)

    def _release(self) -> Iterator[Item]:
        """The posting that was held back, or the payments that its total consists of."""
        held, self._held = self._held, None
        if held is not None:
            for posting in self._split(held):
                self._note(posting)
                yield posting
            for item in self._more:
                if isinstance(item, ParsedPosting):
                    self._note(item)
                yield item
        self._more.clear()
        self._details.clear()

    def _split(self, total: ParsedPosting) -> list[ParsedPosting]:
        amounts = [row.number("detail_amount") or Decimal(0) for row in self._details]
        if not amounts:
            return [total]
        if sum(map(abs, amounts)) != abs(total.amount):
            what = f"the payments in it add up to {sum(map(abs, amounts))}; it is left whole"
            self._more.append(Problem(total.where, what))
            return [replace(total, is_batch_total=len(amounts) > 1)]
        references = (total.bank_reference,) if total.bank_reference else ()
        entry = Entry(total.amount, references, len(amounts))
        return [
            row.detail_of(total, entry, index, abs(amount))
            for index, (row, amount) in enumerate(zip(self._details, amounts, strict=True))
        ]

    def _note(self, posting: ParsedPosting) -> None:
        self._accounts.add((posting.account_iban, posting.account))
        if posting.is_pending:
            return
        self._currencies.add(posting.currency)
        self._sum += posting.amount
        day = posting.booking_date
        if day is not None:
            if self._from is None or day < self._from:
                self._from = day
            if self._to is None or day > self._to:
                self._to = day

    def _facts(self) -> StatementFacts:
        iban, account = self._header.account_iban, self._header.account
        if len(self._accounts) == 1:
            iban, account = next(iter(self._accounts))
        account = account or self._header.reading.account
        only = next(iter(self._currencies)) if len(self._currencies) == 1 else None
        currency = only or self._header.currency
        opening, closing = (
            one and replace(one, currency=one.currency or currency)
            for one in (self._header.opening, self._header.closing)
        )
        return StatementFacts(
            account_iban=iban,
            account=iban or account,
            from_date=self._from,
            to_date=self._to,
            opening=opening,
            closing=closing,
            currency=currency,
            source=SOURCE,
        )


class _Row:
    """One record, read by the names of fields; what is not readable is added to the problems."""

    __slots__ = ("_header", "_is_pending", "_reading", "cells", "problems", "raw", "where")

    def __init__(self, record: Record, header: Header) -> None:
        self._header = header
        self._reading = header.reading
        self._is_pending = False
        self.raw = record.raw
        self.where = f"line {record.line_number}"
        self.problems: list[str] = [record.problem] if record.problem else []
        self.cells = record.cells
        if len(self.cells) != header.width:
            self._align()

    @property
    def shown_raw(self) -> str:
        return self.raw[:MAX_RAW_CHARACTERS]

    def cells_in_a_line(self) -> str:
        return self._header.delimiter.join(self.cells)

    def problems_as_items(self) -> list[Problem]:
        return [Problem(self.where, what, self.shown_raw) for what in self.problems]

    def _align(self) -> None:
        """As many cells as the header has.

        Too many: a delimiter stands unquoted in the free text, which takes the surplus cells.
        Too few: empty cells were left out at the end, or else in the middle.
        """
        width = self._header.width
        cells = self.cells
        while len(cells) > width and not cells[-1].strip():
            cells = cells[:-1]
        text_at = self._header.places.get("remittance_information", [width - 1])[0]
        surplus = len(cells) - width
        if surplus > 0:
            cells = self._with_joined_text(cells, text_at, surplus)
        self.cells = cells + [""] * -surplus
        if 0 < -surplus <= MAX_LEFT_OUT_CELLS and self.amount() is None:
            self._shift(cells, -surplus)

    def _with_joined_text(self, cells: list[str], text_at: int, surplus: int) -> list[str]:
        taken = cells[text_at : text_at + surplus + 1]
        if self._header.delimiter == "," and any(map(_DIGITS.fullmatch, taken)):
            # 12,34 without quotation marks is two cells, and no text may swallow half of it.
            self.problems.append("commas in its amount or its text are not in quotation marks")
            return [""] * self._header.width
        self.problems.append(f"it has {surplus} cells more than the header; its text took them")
        joined = self._header.delimiter.join(taken)
        return [*cells[:text_at], joined, *cells[text_at + surplus + 1 :]]

    def _shift(self, cells: list[str], left_out: int) -> None:
        """Find where cells were left out: there the amount and the text come to stand right."""
        padded = self.cells
        for need_text in (True, False):
            for at in range(self._header.width - left_out, 0, -1):
                self.cells = [*cells[:at], *[""] * left_out, *cells[at:]]
                is_dated = notation.printed_date(self.text("booking_date") or "", True) is not None
                has_text = self.has("remittance_information") or not need_text
                if is_dated and has_text and self.amount() is not None:
                    self.problems.append(f"it has {left_out} cells less than the header")
                    return
        self.cells = padded

    def has(self, key: str) -> bool:
        """Whether any cell of this field is filled."""
        return any(self.cells[place].strip() for place in self._header.places.get(key, ()))

    def text(self, key: str) -> str | None:
        places = self._header.places.get(key)
        if places is None:
            return None
        if len(places) == 1:
            return self._cell(key, places[0]) if self.cells[places[0]] else None
        return "\n".join(filter(None, (self._cell(key, place) for place in places))) or None

    def _cell(self, key: str, place: int) -> str | None:
        value = fields.text(self.cells[place])
        if value is None or value in _NOTHING:
            return None
        if value.startswith('="'):
            value = _plain(value)
        if key in _REFERENCES and value[-1].isdigit() and _MANGLED.fullmatch(value):
            self.problems.append(
                f"a spreadsheet has rounded the {key} to “{value}”; it is left out"
            )
            return None
        return value

    def number(self, key: str) -> Decimal | None:
        printed = self.text(key)
        return self._amount_in(printed) if printed else None

    def _amount_in(self, printed: str) -> Decimal | None:
        amount = fields.printed_amount(printed, self._reading.decimal)
        if amount is not None:
            return amount
        if marked := _CREDIT_OR_DEBIT.fullmatch(printed):
            amount = fields.printed_amount(marked["amount"], self._reading.decimal)
            if amount is None:
                return None
            is_debit = (marked["mark"].upper() == "DR") != self._reading.is_inverted
            return -abs(amount) if is_debit else abs(amount)
        return fields.printed_amount(_CODE.sub("", printed), self._reading.decimal)

    def amount(self) -> Decimal | None:
        """The signed amount, from one column, from debit and credit, or with a mark beside it."""
        amount = self.number("amount")
        if amount is None:
            debit, credit = self.number("debit"), self.number("credit")
            if debit is None and credit is None:
                return None
            return (credit or Decimal(0)) - abs(debit or Decimal(0))
        mark = (self.text("debit_or_credit") or "").upper().partition(" ")[0]
        if mark in _DEBIT_MARKS:
            return -abs(amount)
        if mark in _CREDIT_MARKS:
            return abs(amount)
        if mark:
            self.problems.append(f"“{fields.shown(mark)}” says neither debit nor credit")
        return -amount if self._reading.is_inverted else amount

    def is_memo(self) -> bool:
        """Whether the file itself says that this row does not move the balance."""
        effect = self.text("balance_effect")
        return effect is not None and effect.casefold() == "memo"

    def is_dated(self) -> bool:
        return any(self.has(key) for key in _DATES)

    def is_undated(self) -> bool:
        """Whether words stand where the date should."""
        cell = self.text("booking_date")
        return cell is not None and not any(one.isdigit() for one in cell)

    def numbers(self) -> Iterator[Decimal]:
        """All amounts in this line, wherever they stand."""
        for cell in self.cells:
            amount = fields.printed_amount(cell, self._reading.decimal)
            if amount is not None:
                yield amount

    def only_text(self) -> str | None:
        """The text of a line that has nothing but text."""
        places = {
            *self._header.places.get("remittance_information", ()),
            *self._header.places.get("counterparty_name", ()),
        }
        rest = (cell for place, cell in enumerate(self.cells) if place not in places)
        return None if any(cell.strip() for cell in rest) else self.text("remittance_information")

    def is_note(self) -> bool:
        """Whether a line is words only: neither a date where dates are, nor any number."""
        return (
            not self.problems
            and not any(self.has(key) for key in _AMOUNTS)
            and not any(map(_is_value, self.cells))
        )

    def balance_word(self) -> re.Match[str] | None:
        first = self.cells[0].lstrip()
        place = self._header.places.get("booking_date", (0,))[0]
        for cell in (first, self.cells[place]):
            if cell[:1].isalpha() and (found := _BALANCE_LINE.match(cell)):
                is_date_cell = place == 0 or cell is not first
                return found if is_date_cell or self._says_nothing_else() else None
        if self._says_nothing_else():
            matches = (_BALANCE_WORD.fullmatch(cell.strip()) for cell in self.cells)
            return next((found for found in matches if found and not found["sum"]), None)
        return None

    def _says_nothing_else(self) -> bool:
        """Whether no party and no text stand in this line; a currency is no text."""
        texts = (
            self.cells[place].strip()
            for key in ("remittance_information", "counterparty_name", "payer", "payee")
            for place in self._header.places.get(key, ())
        )
        return all(not text or text in _CURRENCIES for text in texts)

    def _date(self, key: str) -> date | None:
        printed = self.text(key)
        if printed is None:
            return None
        if self._reading.date_format is not None:
            found = _formatted_date(printed, self._reading.date_format)
        else:
            found = notation.printed_date(printed, self._reading.day_first)
        if not printed[-1].isdigit() and _UNDATED.search(printed):
            self._is_pending = True
        elif found is None:
            shown = fields.shown(printed[:40])
            is_unsure = self._reading.date_format is None and notation.is_ordered(printed)
            what = (
                "can be read two ways, and no date of the file says which"
                if (is_unsure and notation.printed_date(printed, True))
                else "is no date"
            )
            self.problems.append(f"the {key} “{shown}” {what}")
        return found

    def _iban(self, key: str) -> str | None:
        printed = self.text(key)
        if printed and _MANGLED.fullmatch(printed):
            self.problems.append(f"a spreadsheet has rounded the {key} to “{printed}”")
        return fields.iban(printed.strip("'")) if printed else None

    def _name(self, amount: Decimal, said: Purpose) -> str | None:
        if name := self.text("counterparty_name"):
            return " ".join(name.split("\n"))
        side = "payer" if amount > 0 else "payee"
        return self.text(side) or said.counterparty_name or said.other_party

    def _own_account(self) -> tuple[str | None, str | None]:
        """The own account as IBAN, and as the file names it where that is none."""
        printed = self.text("account_iban")
        if printed and (iban := fields.iban(printed.strip("'"))):
            return iban, None
        iban = self._header.account_iban
        account = self._reading.account or printed or self._header.account
        return iban, (None if iban else account)

    def posting(self, amount: Decimal) -> ParsedPosting:
        said = packed.read(self.text("remittance_information"), self._reading.packed)
        code = self.text("transaction_code") or said.booking_text
        reason = self.text("return_reason")
        iban, account = self._own_account()
        currency = self._currency()
        booking_date = self._date("booking_date")
        return ParsedPosting(
            account_iban=iban,
            booking_date=booking_date,
            value_date=self._date("value_date"),
            amount=amount,
            currency=currency,
            counterparty_name=self._name(amount, said),
            counterparty_iban=self._iban("counterparty_iban") or said.counterparty_iban,
            counterparty_bic=fields.bic(self.text("counterparty_bic")) or said.counterparty_bic,
            remittance_information=said.remittance_information,
            creditor_reference=self.text("creditor_reference"),
            end_to_end_id=self.text("end_to_end_id") or said.end_to_end_id,
            mandate_id=self.text("mandate_id") or said.mandate_id,
            bank_reference=self.text("bank_reference") or said.bank_reference,
            transaction_code=code,
            is_return=reason is not None or bool(code and _says_returned(code)),
            return_reason=reason,
            is_pending=self._is_not_booked(code, booking_date),
            source=SOURCE,
            account=account,
            foreign=self._foreign(currency),
            charges=self._charges(),
            where=self.where,
        )

    def _is_not_booked(self, code: str | None, booking_date: date | None) -> bool:
        status = self.text("status")
        if self._is_pending or (status is not None and _says_not_booked(status)):
            return True
        if booking_date is None and self._reading.undated_is_pending:
            return True
        # Without the column that says so, an authorisation by a payment provider moves nothing.
        is_provider = self._reading.account is not None and not self.has("balance_effect")
        return is_provider and code is not None and _AUTHORIZATION.search(code) is not None

    def _currency(self) -> str | None:
        printed = (self.text("currency") or "").upper()
        if found := fields.currency(_SYMBOLS.get(printed, printed)):
            return found
        if self._header.currency or self._reading.currency:
            return self._header.currency or self._reading.currency
        printed = next((self.text(key) for key in _AMOUNTS if self.has(key)), None) or ""
        return next((code for sign, code in _SYMBOLS.items() if sign in printed), None)

    def _foreign(self, currency: str | None) -> ForeignAmount | None:
        printed = self.text("foreign_amount")
        if printed is None:
            return None
        amount = self._amount_in(printed)
        code = fields.currency(self.text("foreign_currency")) or _symbol(printed)
        if not amount or code is None or code == currency:
            return None
        return ForeignAmount(abs(amount), code, self.number("exchange_rate"))

    def _charges(self) -> Decimal | None:
        return abs(self.number("charges") or Decimal(0)) or None

    def fee(self, posting: ParsedPosting) -> ParsedPosting | None:
        """The fee that was taken off this payment, as a posting of the same entry."""
        printed = self.number("fee")
        if not printed:
            return None
        net = self.number("net")
        amount = net - posting.amount if net is not None else printed
        if net is None and self._reading.fee_is_deducted:
            amount = -printed
        if abs(amount) != abs(printed):
            self.problems.append(f"{posting.amount}, fee {printed} and {net} do not add up")
            amount = -abs(printed)
        title = self._header.name("fee") or "fee"
        references = (posting.bank_reference,) if posting.bank_reference else ()
        return replace(
            posting,
            amount=amount,
            counterparty_name=self._reading.account,
            counterparty_iban=None,
            counterparty_bic=None,
            remittance_information=" ".join(filter(None, (self._reading.account, title))),
            creditor_reference=None,
            end_to_end_id=None,
            is_return=False,
            return_reason=None,
            leaf_index=1,
            entry=Entry(posting.amount + amount, references),
            foreign=None,
            charges=None,
        )

    def detail_of(
        self, total: ParsedPosting, entry: Entry, index: int, amount: Decimal
    ) -> ParsedPosting:
        """One payment of a total: what its own line does not say is as in the line of the total."""
        signed = amount if total.amount > 0 else -amount
        own = self.posting(signed)
        return replace(
            own,
            booking_date=total.booking_date,
            value_date=total.value_date,
            currency=total.currency,
            counterparty_name=own.counterparty_name or total.counterparty_name,
            remittance_information=own.remittance_information or total.remittance_information,
            bank_reference=own.bank_reference or total.bank_reference,
            transaction_code=own.transaction_code or total.transaction_code,
            is_pending=total.is_pending,
            leaf_index=index,
            entry=entry,
        )


@lru_cache(maxsize=4096)
def _says_not_booked(status: str) -> bool:
    return _NOT_BOOKED.search(status) is not None


@lru_cache(maxsize=4096)
def _says_returned(code: str) -> bool:
    return _RETURN.search(code) is not None


def _formatted_date(printed: str, date_format: str) -> date | None:
    try:
        found: Any = datetime.strptime(printed, date_format)  # noqa: DTZ007 - a date, no moment
    except ValueError:
        return None
    return fields.calendar_date(found.year, found.month, found.day)
