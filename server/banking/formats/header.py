"""Where the table of a CSV begins, which layout it has, and what the lines above it say."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from server.banking.formats import fields, layouts, notation
from server.banking.formats.columns import AMOUNTS, MAX_COLUMNS, ColumnMapping
from server.banking.formats.items import Balance, Unreadable
from server.banking.formats.layouts import Reading, normal
from server.banking.formats.table import DELIMITERS, OTHER_ENCODINGS, Table, split

MAX_LINES_BEFORE_HEADER = 60
CURRENCIES = {*"EUR CHF USD GBP CZK SGD PLN SEK NOK DKK HUF RON JPY AUD CAD".split()}

BALANCE_WORD = re.compile(
    r"(?P<opening>(?:anfangs|alter |letzter? )(?:saldo|kontostand)|alter kontostand|saldovortrag"
    r"|opening balance|balance brought forward|solde initial)"
    r"|(?P<closing>(?:end|schluss|neuer |tages)(?:saldo|kontostand)|neuer kontostand|kontostand"
    r"|saldo|closing balance|ledger balance|solde final)"
    r"|(?P<sum>summe|gesamt|total|disclaimer)",
    re.IGNORECASE,
)
BALANCE_LINE = re.compile(rf"\s*(?:{BALANCE_WORD.pattern})\b", re.IGNORECASE)
_PRINTED_DAY = re.compile(r"\d{1,2}\.\d{1,2}\.(?:\d{4}|\d{2})|\d{4}-\d\d-\d\d")
_ACCOUNT_LABEL = re.compile(
    r"(?:konto|karten?konto|kontonummer|kontonummer / iban|kreditkarte|karte|kartennummer"
    r"|account|account details for|rekening|compte):?",
    re.IGNORECASE,
)
_LABEL = re.compile(r'\s*"?[^";,\t]+:"?\s*[;,\t]')
_CURRENCY_OF_HEADER = re.compile(r"(?:[(\s])(€|[A-Z]{3})\)?\s*$")
SYMBOLS = {"€": "EUR", "£": "GBP", "$": "USD"}


class UnknownColumns(Unreadable):
    """A table whose columns must be named first; ``header`` has its cells as they are printed."""

    def __init__(self, message: str, header: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.header = list(header)


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
        header = _without_postings(decoded)
        for _ in before:
            table.line()
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
    for key in AMOUNTS:
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
        cells = [plain_cell(cell) for cell in split(printed, header.delimiter)]
        for index, cell in enumerate(cells):
            header.account_iban = header.account_iban or fields.iban(cell.partition(" /")[0])
            if index and header.account is None and _ACCOUNT_LABEL.fullmatch(cells[index - 1]):
                header.account = fields.text(cell)
            if index and (amount := fields.printed_amount(cell, header.reading.decimal)):
                header.amounts_before.add(amount)
        currencies |= {cell for cell in cells if cell in CURRENCIES}
        if cells and (found := BALANCE_LINE.match(cells[0])):
            note_balance(header, cells, found)
    if len(currencies) == 1:
        header.currency = header.currency or currencies.pop()


def plain_cell(cell: str) -> str:
    """A cell without blanks around it and without Excel's ``="…"`` for texts of digits."""
    cell = cell.strip()
    return cell[2:-1] if cell.startswith('="') and cell.endswith('"') else cell


def note_balance(header: Header, cells: Sequence[str], found: re.Match[str]) -> None:
    """A line that prints a balance; dates in it belong to it."""
    day = next((one for cell in cells for one in _PRINTED_DAY.findall(cell)), None)
    on = fields.printed_date(day) if day else None
    for cell in cells:
        amount = fields.printed_amount(cell, header.reading.decimal)
        if amount is None or _PRINTED_DAY.search(cell):
            continue
        currency = header.currency or header.reading.currency
        balance = Balance(amount, currency or symbol(cell), on)
        if found["opening"]:
            header.opening = header.opening or balance
        elif found["closing"]:
            header.closing = balance
        return


def symbol(cell: str) -> str | None:
    """The currency printed beside an amount in its own cell."""
    found = next((code for sign, code in SYMBOLS.items() if sign in cell), None)
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


def _without_postings(lines: Sequence[str]) -> Header:
    """An export of days that held nothing: account and balance, and no table."""
    header = Header(DELIMITERS[0], [], MAX_COLUMNS, {}, layouts.Reading())
    _note_before(header, lines)
    if header.account_iban is None and header.closing is None:
        raise Unreadable("it says things about an account, but holds no table of postings")
    return header


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
        if width and width >= 0.7 * widest and not any(map(is_value, cells)):
            return cells, delimiter
    return (records[widths.index(widest)] if records else []), delimiter


def is_value(cell: str) -> bool:
    """Whether a cell holds a date or an amount, which headers never do."""
    return any(one.isdigit() for one in cell) and (
        fields.printed_amount(cell) is not None or notation.printed_date(cell, True) is not None
    )
