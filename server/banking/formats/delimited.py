"""CSV of banks: known layouts found by their set of headers, unknown ones by explicit columns.

Position and order of columns, lines before the header, delimiter and encoding do not matter.
What no layout knows is refused with the header it has, so that the columns can be asked for
once and remembered; they are never guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from itertools import chain
from typing import BinaryIO

from server.banking.formats import fields, notation
from server.banking.formats.columns import AMOUNTS, DATES, ColumnMapping
from server.banking.formats.header import Header, find_header, note_balance
from server.banking.formats.items import (
    Balance,
    Entry,
    Item,
    ParsedPosting,
    Problem,
    StatementFacts,
)
from server.banking.formats.row import SOURCE, Row
from server.banking.formats.table import Record, Table

MAX_SAMPLE_RECORDS = 1_000
MAX_UNDECIDED_RECORDS = 50_000
MAX_DETAILS = 10_000


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
    decimal = notation.decimal_sign(_cells(sample, header, AMOUNTS))
    day_first = notation.day_first(_cells(sample, header, DATES))
    header.reading = replace(
        reading,
        decimal=decimal or reading.decimal,
        day_first=day_first if day_first is not None else reading.day_first,
    )
    return sample


def _is_decided(sample: Sequence[Record], header: Header) -> bool:
    if header.reading.day_first is not None or header.reading.date_format is not None:
        return True
    dates = list(_cells(sample, header, DATES))
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
        self._details: list[Row] = []
        self._is_undated = False
        self._unread: Row | None = None
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
        row = Row(record, self._header)
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

    def _is_balance(self, row: Row) -> bool:
        """Whether a line prints a balance or a sum; they stand where the date is, or alone."""
        found = row.balance_word()
        if found is not None:
            note_balance(self._header, row.cells, found)
        return found is not None

    def _without_amount(self, row: Row) -> Iterator[Item]:
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
