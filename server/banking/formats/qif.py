"""QIF, Quicken's text format: lines of one letter and a value, ``^`` behind each posting.

There is no standard beyond Quicken's own description. Dates carry no hint whether the day or the
month stands first, so that is decided for the whole file; a file that never shows it gives its
postings without dates, and says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import BinaryIO

from server.banking.formats import fields, notation, packed
from server.banking.formats.items import (
    MAX_RAW_CHARACTERS,
    Balance,
    Item,
    ParsedPosting,
    Problem,
    StatementFacts,
    Unreadable,
)
from server.banking.formats.purpose import Purpose

SOURCE = "QIF"
MAX_RECORD_LINES = 1_000

_START = re.compile(rb"\s*!(?:Type|Account|Option|Clear)\b", re.IGNORECASE)
# Lists of other things, which a file may hold beside its postings.
_WITH_POSTINGS = {"bank", "ccard", "cash", "oth a", "oth l"}
_OPENING = re.compile(r"opening balance|anfangsbestand|er(?:ö|oe)ffnungssaldo", re.IGNORECASE)
_APOSTROPHE_YEAR = re.compile(r"(\d{1,2})[/.-]\s?(\d{1,2})'\s?(\d{1,4})")


@dataclass(slots=True)
class _Record:
    """The lines of one posting: letter to values, in their order."""

    line_number: int
    values: dict[str, list[str]] = field(default_factory=dict)
    raw: str = ""

    def get(self, letter: str) -> str | None:
        return fields.text(self.values.get(letter, [""])[0])


def looks_like(head: bytes) -> bool:
    """Whether these first bytes of a file are those of QIF."""
    return _START.match(head.removeprefix(b"\xef\xbb\xbf")) is not None


def read(source: BinaryIO) -> Iterator[Item]:
    """The postings of each account, then its StatementFacts; Unreadable if there are none at all.

    Investments, categories and other lists are skipped. Splits stay one posting, their sum.
    """
    facts: _Facts | None = None
    for account, records in _sections(source):
        facts = _Facts(account)
        decimal = notation.decimal_sign(_values(records, "TU"))
        day_first = notation.day_first(_sloppy(one) for one in _values(records, "D"))
        for record in records:
            yield from _items(record, account, decimal, day_first, facts)
        yield facts.done()
    if facts is None:
        raise Unreadable("this QIF holds no postings of a bank account, a card or cash")


def _sections(source: BinaryIO) -> Iterator[tuple[str | None, list[_Record]]]:
    """The account and the records of every list of postings."""
    account: str | None = None
    kind = ""
    records: list[_Record] = []
    current = _Record(1)
    for number, line in enumerate(fields.lines(source), start=1):
        printed = line.strip()
        if printed.startswith("!"):
            if kind in _WITH_POSTINGS:
                yield account, [*records, *([current] if current.values else [])]
            kind = _kind(printed)
            records, current = [], _Record(number + 1)
        elif printed.startswith("^"):
            if kind == "account":
                account = current.get("N") or account
            elif current.values:
                records.append(current)
            current = _Record(number + 1)
        elif printed and len(current.raw) < MAX_RECORD_LINES * MAX_RAW_CHARACTERS:
            current.values.setdefault(printed[0], []).append(printed[1:])
            current.raw += f"{printed}\n"
    if kind in _WITH_POSTINGS:
        yield account, [*records, *([current] if current.values else [])]


def _kind(printed: str) -> str:
    name = printed[1:].strip().casefold()
    return name.partition(":")[2].strip() if name.startswith("type:") else name


def _values(records: Sequence[_Record], letters: str) -> Iterator[str]:
    for record in records:
        for letter in letters:
            yield from record.values.get(letter, ())


def _sloppy(printed: str) -> str:
    """Quicken's ``1/ 2'26`` and ``18.11'25`` as ``1/2/2026`` and ``18/11/2025``."""
    if found := _APOSTROPHE_YEAR.match(printed.strip()):
        year = int(found[3])
        return f"{found[1]}/{found[2]}/{year if year >= 1000 else 2000 + year}"
    return printed.replace(" ", "")


def _items(
    record: _Record, account: str | None, decimal: str | None, day_first: bool | None, facts: _Facts
) -> Iterator[Item]:
    where = f"line {record.line_number}"
    raw = record.raw[:MAX_RAW_CHARACTERS]
    problems: list[str] = []
    amount = _amount(record.values, decimal, problems)
    if amount is None:
        yield Problem(where, f"no amount found in “{fields.shown(raw)[:80]}”", raw)
        return
    payee = record.get("P")
    if payee and _OPENING.fullmatch(payee) and _is_own(record.get("L"), account):
        facts.open(amount, _date(record.get("D"), day_first, problems))
        return
    iban = fields.iban(account)
    # Some banks put all they know into P, with this sign between the parts.
    said = packed.blanks(payee.replace(" ; ", "   ")) if payee and " ; " in payee else Purpose()
    posting = ParsedPosting(
        account_iban=iban,
        booking_date=_date(record.get("D"), day_first, problems),
        value_date=None,
        amount=amount,
        currency=None,
        counterparty_name=said.counterparty_name or payee,
        counterparty_iban=said.counterparty_iban,
        counterparty_bic=said.counterparty_bic,
        remittance_information=_text(said.remittance_information, payee, record.values),
        transaction_code=said.booking_text or _kind_of(record.get("N")),
        source=SOURCE,
        account=None if iban else account,
        where=where,
    )
    facts.note(posting)
    yield posting
    for what in problems:
        yield Problem(where, what, raw)


def _amount(
    values: Mapping[str, Sequence[str]], decimal: str | None, problems: list[str]
) -> Decimal | None:
    """T or U, else the sum of the splits ($); a sum that differs from T is said."""
    printed = next((one for letter in "TU" for one in values.get(letter, ()) if one.strip()), None)
    amount = fields.printed_amount(printed, decimal) if printed else None
    splits = [fields.printed_amount(one, decimal) for one in values.get("$", ())]
    known = [one for one in splits if one is not None]
    if amount is None:
        return sum(known, Decimal(0)) if known and len(known) == len(splits) else None
    if known and (len(known) < len(splits) or sum(known) != amount):
        problems.append(f"its splits add up to {sum(known)} and not to {amount}")
    return amount


def _is_own(category: str | None, account: str | None) -> bool:
    """Whether this is the first line of Quicken's lists: the balance that they start from."""
    return account is None or category in (None, f"[{account}]")


def _text(
    unpacked: str | None, payee: str | None, values: Mapping[str, Sequence[str]]
) -> str | None:
    """The memo, the memos of the splits, the number if it is one, and a payee with digits.

    No person's name has digits: there the bank begins the purpose in it.
    """
    lines = [unpacked or (payee if _is_reference(payee) else None)]
    lines += [fields.text(one) for letter in "ME" for one in values.get(letter, ())]
    lines += [fields.text(one) for one in values.get("N", ()) if _is_reference(one)]
    return "\n".join(dict.fromkeys(one for one in lines if one)) or None


def _is_reference(number: str | None) -> bool:
    return number is not None and any(one.isdigit() for one in number)


def _kind_of(number: str | None) -> str | None:
    """What stands in N beside numbers: ``ATM``, ``Transfer``."""
    return None if _is_reference(number) else number


def _date(printed: str | None, day_first: bool | None, problems: list[str]) -> date | None:
    if printed is None:
        problems.append("it has no date")
        return None
    sloppy = _sloppy(printed)
    found = notation.printed_date(sloppy, day_first)
    if found is None:
        is_unsure = notation.printed_date(sloppy, True) is not None
        what = (
            "can be read two ways, and no date of the file says which"
            if is_unsure
            else ("is no date")
        )
        problems.append(f"the booking date “{fields.shown(printed[:40])}” {what}")
    return found


class _Facts:
    """What a list of postings says as a whole."""

    def __init__(self, account: str | None) -> None:
        iban = fields.iban(account)
        self._facts = StatementFacts(account_iban=iban, account=iban or account, source=SOURCE)

    def note(self, posting: ParsedPosting) -> None:
        day, known = posting.booking_date, self._facts
        if day is not None:
            self._facts = replace(
                known,
                from_date=min(known.from_date or day, day),
                to_date=max(known.to_date or day, day),
            )

    def open(self, amount: Decimal, on: date | None) -> None:
        self._facts = replace(self._facts, opening=Balance(amount, None, on))

    def done(self) -> StatementFacts:
        return self._facts
