"""MT940 and MT942 (SWIFT customer statements) in the dialects that banks really send.

Standards: SWIFT MT940/MT942, DFÜ-Abkommen annex 3 chapter 8. Made for damaged files: every
statement line (field 61) that holds an amount becomes a posting, whatever else is wrong with it,
and one broken line costs that line only. MT942 announces what is not booked yet: its postings
are pending, and the MT940 of the next day brings them again, booked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import BinaryIO

from server.banking.formats import fields, purpose
from server.banking.formats.items import (
    MAX_RAW_CHARACTERS,
    Balance,
    Entry,
    ForeignAmount,
    Item,
    ParsedPosting,
    Problem,
    StatementFacts,
)
from server.banking.formats.purpose import Purpose
from server.check_digits import iban_is_valid, make_iban

MAX_FIELD_LINES = 200
POLISH_DIGITS = 26

RETURN_BUSINESS_CODES = {"108", "109", "159"}
BATCH_BUSINESS_CODES = {str(code) for code in range(191, 200)}

_KNOWN_TAGS = "20 21 25 28 28C 60F 60M 61 62F 62M 64 64F 65 65F 86 NS 13 13D 34F 90C 90D".split()
_TAG = re.compile(r"\s?:(" + "|".join(_KNOWN_TAGS) + r"):")
# The second block of a SWIFT envelope tells the kind of message; the fourth holds it.
ENVELOPE = "{"
_ENVELOPE = re.compile(r"\{[1-5]:")
_ENVELOPE_KIND = re.compile(r"\{2:[IO](940|942)")
# "13:20" + ":15" wrapped at the end of a full line looks like the tag of a new statement.
_CLOCK_TIME = re.compile(r":[0-5]\d:[0-5]\d(?!\d)")
_START = re.compile(rb"(?:^|[\r\n])\s?(?::(?:20|25|28C?|60[FM]|61):|\{1:[FD]0)")

_MARK = r"(?P<mark>R[CD]|E[CD]|[CD])"
_LINE = re.compile(
    r"(?P<value>\d{6})\s*(?P<entry>\d{4})?\s*"
    + _MARK
    + r"\s*(?P<funds>[A-Z])?\s*(?P<amount>\d{1,3}(?: \d{3})+,\d\d|\d[\d.]*(?:,\d*)?|,\d+)"
    r"\s*(?P<kind>(?!NONREF|NOREF)[NFS][A-Z0-9][A-Z0-9 ]{2})?(?P<reference>.*)",
    re.IGNORECASE | re.DOTALL,
)
# Whatever the dates look like: a mark, an amount with a comma.
_AMOUNT_ONLY = re.compile(
    r"(?P<value>.{0,12}?)(?P<entry>(?!))?"
    + _MARK
    + r"(?P<funds>[A-Z])?(?P<amount>\d[\d.]*,\d*|,\d+)"
    r"\s*(?P<kind>(?!NONREF|NOREF)[NFS][A-Z0-9][A-Z0-9 ]{2})?(?P<reference>.*)",
    re.IGNORECASE | re.DOTALL,
)
_BALANCE = re.compile(
    r"(?P<mark>[CD])(?P<date>\d{6})(?P<currency>[A-Z]{3})(?P<amount>[\d., ]+)", re.I
)
_CURRENCY = re.compile(r"[A-Z]{3}")
_BALANCE_CURRENCY = re.compile(r"[CD]\d{6}([A-Z]{3})", re.IGNORECASE)
_ACCOUNT_CURRENCY = re.compile(r".*\d\s?/?([A-Z]{3})")
_PLAIN_AMOUNT = re.compile(r"\d{1,15},\d{1,15}")
_GERMAN_ACCOUNT = re.compile(r"(\d{8})/(\d{1,10})(?:[A-Z]{3})?")
_DUTCH_IBAN = re.compile(r"NL\d{2}[A-Z]{4}\d{10}")
_REFERENCE_AND_NAME = re.compile(r"(\S{1,16})\s{2,}(\S.{2,})")
_SAID_AMOUNT = re.compile(r"/(OCMT|CHGS)/([A-Z]{3})(\d[\d.]*,?\d*)(?=/|\s|$)")
_NO_REFERENCE = {"NONREF", "NOREF", "EREF", "PREF", "MARF", "KREF", "KREF+", "EREF+"}


def looks_like(head: bytes) -> bool:
    """Whether the start of a file holds a SWIFT field."""
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        head = head.decode("utf-16", errors="ignore").encode("latin-1", errors="replace")
    return _START.search(head) is not None


@dataclass(slots=True)
class _Field:
    tag: str
    line_number: int
    lines: list[str]


@dataclass(slots=True)
class _Statement:
    """What is known of the statement that the next line belongs to."""

    account: str | None = None
    account_iban: str | None = None
    currency: str | None = None
    opening: Balance | None = None
    closing: Balance | None = None
    number: str | None = None
    is_preliminary: bool = False
    is_open: bool = False
    first: date | None = None
    last: date | None = None

    @property
    def source(self) -> str:
        return "MT942" if self.is_preliminary else "MT940"

    @property
    def other_account(self) -> str | None:
        """The account as the file names it, where that is no IBAN."""
        return None if self.account_iban else self.account

    def facts(self) -> Iterator[StatementFacts]:
        """The facts at the end of the statement, if there was one."""
        if not self.is_open:
            return
        from_date, to_date = self._period()
        yield StatementFacts(
            account_iban=self.account_iban,
            account=self.account,
            from_date=from_date,
            to_date=to_date,
            opening=self.opening,
            closing=self.closing,
            currency=self.currency,
            source=self.source,
            is_complete=not self.is_preliminary,
            number=self.number,
        )

    def _period(self) -> tuple[date | None, date | None]:
        """The days that the statement tells all of, as far as it is sure.

        An opening balance is dated by the day of the statement before, or by the first day of
        this one: that day counts only where something of it is listed.
        """
        start = self.opening.on if self.opening else None
        end = self.closing.on if self.closing else None
        if start is None or end is None:
            return self.first or start, end or self.last
        listed = self.first if self.first and self.first >= start else end
        return min(start + timedelta(days=1), listed, end), end


@dataclass(slots=True)
class _Line:
    """One field 61 with the fields 86 that follow it, and the fields NS (not of SWIFT)."""

    printed: _Field
    details: list[_Field] = field(default_factory=list)
    unofficial: list[_Field] = field(default_factory=list)

    def add(self, part: _Field) -> None:
        """Take in a field that follows it."""
        (self.details if part.tag == "86" else self.unofficial).append(part)


def read(source: BinaryIO) -> Iterator[Item]:
    """The postings of an MT940 or MT942 file, with one StatementFacts for each message."""
    statement = _Statement()
    is_announcement = False
    line: _Line | None = None
    for part in _fields(source):
        if part.tag in ("86", "NS"):
            if line is not None:
                line.add(part)
            continue
        if line is not None:
            yield from _items(line, statement)
            line = None
        if part.tag == "61":
            line = _Line(part)
        elif part.tag == "20":
            yield from statement.facts()
            statement = _Statement(is_preliminary=is_announcement)
        elif part.tag == ENVELOPE:
            if kind := _ENVELOPE_KIND.search(part.lines[0]):
                is_announcement = kind[1] == "942"
        else:
            yield from _note(statement, part)
    if line is not None:
        yield from _items(line, statement)
    yield from statement.facts()


def _fields(source: BinaryIO) -> Iterator[_Field]:
    """The fields of all messages in the file, wrapped lines gathered under their tag.

    Envelopes (``{1:…``), separators (``-``) and text outside of fields end a field.
    """
    current: _Field | None = None
    is_between_balances = False
    for number, printed in _lines(source):
        if found := _tag(printed, current):
            if current is not None:
                yield current
            text = printed if found == ENVELOPE else printed.lstrip().split(":", 2)[2]
            current = _Field(found, number, [text])
            if found[:2] in ("60", "62"):
                is_between_balances = found[:2] == "60"
        elif current is None:
            continue
        elif _is_separator(printed, current, is_between_balances):
            yield current
            current = None
        elif current.tag == "61" and printed.startswith("86:"):
            yield current
            current = _Field("86", number, [printed[3:]])
        elif len(current.lines) < MAX_FIELD_LINES:
            current.lines.append(printed)
    if current is not None:
        yield current


def _lines(source: BinaryIO) -> Iterator[tuple[int, str]]:
    """The lines with their numbers; a message that begins behind its envelope begins a new one."""
    for number, raw in enumerate(fields.lines(source), start=1):
        printed = raw.strip("\x01\x03\x1a\ufeff")
        if printed.startswith("{"):
            envelope, block, printed = printed.partition("{4:")
            yield number, envelope + block
            if not printed:
                continue
        yield number, printed


def _is_separator(printed: str, current: _Field, is_between_balances: bool) -> bool:
    """A dash ends a message, but before the closing balance one in a text is part of it."""
    if printed.startswith("-}"):
        return True
    return printed.strip() == "-" and not (is_between_balances and current.tag == "86")


def _tag(printed: str, current: _Field | None) -> str | None:
    if ":" not in printed[:2]:
        return ENVELOPE if _ENVELOPE.match(printed) else None
    found = _TAG.match(printed)
    if found is None:
        return None
    wrapped = (
        current is not None
        and current.tag == "86"
        and _CLOCK_TIME.match(printed)
        and current.lines[-1][-1:].isdigit()
    )
    return None if wrapped else found[1]


def _note(statement: _Statement, part: _Field) -> Iterator[Problem]:
    """Account and balances of the statement; a balance that cannot be read is a problem."""
    content = part.lines[0].strip()
    if part.tag == "25":
        statement.account = fields.text(content)
        statement.account_iban = _account_iban(content)
        if found := _ACCOUNT_CURRENCY.fullmatch(content):
            statement.currency = statement.currency or found[1]
    elif part.tag in ("28", "28C"):
        statement.number = fields.text(content)
    elif part.tag in ("34F", "13", "13D"):
        statement.is_preliminary = True
        if part.tag == "34F" and (found := _CURRENCY.match(content)):
            statement.currency = found[0]
    elif part.tag in ("60F", "60M", "62F", "62M"):
        yield from _note_balance(statement, part, content)


def _note_balance(statement: _Statement, part: _Field, content: str) -> Iterator[Problem]:
    is_first = not statement.is_open
    statement.is_open = True
    balance = _balance(content)
    if balance is None:
        what = f"the balance “{fields.shown(content)}” is not readable"
        yield Problem(f"line {part.line_number}", what, _raw(part))
    elif part.tag.startswith("60"):
        statement.opening = statement.opening or balance
    else:
        statement.closing = balance
    if part.tag.startswith("60"):
        statement.is_preliminary = False
    if found := _BALANCE_CURRENCY.match(content):
        # What stands behind the account number may be anything; this is a currency.
        known = None if is_first else statement.currency
        statement.currency = known or found[1].upper()


def _raw(*parts: _Field) -> str:
    """The fields as they stand in the file."""
    texts = [f":{part.tag}:" + "\n".join(part.lines) for part in parts]
    return "\n".join(texts)[:MAX_RAW_CHARACTERS]


def _account_iban(content: str) -> str | None:
    """Field 25 as an IBAN. A German bank code and account number give theirs by the common rule.

    A BIC may stand before it, a currency behind it; Polish banks leave out their country.
    """
    compact = "".join(content.split()).upper()
    if found := _GERMAN_ACCOUNT.fullmatch(compact):
        return _german_iban(found[1], found[2])
    account = compact.rpartition("/")[2]
    for printed in (account[:-3], account) if account[-3:].isalpha() else (account,):
        if iban := fields.iban(printed):
            return iban
        if len(printed) == POLISH_DIGITS and printed.isascii() and printed.isdigit():
            polish = f"PL{printed}"
            return polish if iban_is_valid(polish) else None
    return None


def _german_iban(bank_code: str, account_number: str) -> str:
    return make_iban("DE", f"{bank_code}{account_number.zfill(10)}")


def _balance(content: str) -> Balance | None:
    found = _BALANCE.match(content)
    amount = _amount(found["amount"]) if found else None
    if found is None or amount is None:
        return None
    signed = -amount if found["mark"].upper() == "D" else amount
    return Balance(signed, found["currency"].upper(), _value_date(found["date"]))


def _amount(printed: str) -> Decimal | None:
    if _PLAIN_AMOUNT.fullmatch(printed):
        return Decimal(printed.replace(",", "."))
    return fields.printed_amount(printed.rstrip(",") if printed.endswith(",") else printed, ",")


def _items(line: _Line, statement: _Statement) -> Iterator[Item]:
    """The posting of one field 61, and what could not be read of it."""
    where = f"line {line.printed.line_number}"
    statement.is_open = True
    found = _match_line(line.printed)
    amount = _amount(found["amount"]) if found else None
    if found is None or amount is None:
        printed = fields.shown(" ".join(line.printed.lines)[:80])
        yield Problem(where, f"no amount found in “{printed}”", _raw(line.printed, *line.details))
        return
    problems: list[str] = []
    value_date, booking_date = _dates(found, problems)
    if booking_date is not None:
        statement.first = min(statement.first or booking_date, booking_date)
        statement.last = max(statement.last or booking_date, booking_date)
    yield _posting(line, statement, found, amount, (booking_date, value_date))
    for what in problems:
        yield Problem(where, what, _raw(line.printed, *line.details))


def _match_line(part: _Field) -> re.Match[str] | None:
    """The parts of field 61; a line break inside it is tried as the bank's wrapping."""
    first = part.lines[0].strip()
    found = _LINE.match(first)
    if found is not None and (found["kind"] or len(part.lines) == 1):
        return found
    if found is None or len(first) < 30:
        glued = _LINE.match("".join(part.lines[:2]).strip())
        if glued is not None and glued["kind"]:
            part.lines = ["".join(part.lines[:2]), *part.lines[2:]]
            return glued
    return found or _AMOUNT_ONLY.match(first)


def _dates(found: re.Match[str], problems: list[str]) -> tuple[date | None, date | None]:
    """Value date and booking date; the booking date has no year and lies near the value date."""
    printed_value, printed_entry = found["value"].strip(), found["entry"]
    value_date, booking_date = _days(printed_value, printed_entry)
    if value_date is None:
        problems.append(f"the value date “{fields.shown(printed_value)}” is no date")
    if booking_date is None and printed_entry:
        problems.append(f"the booking date “{printed_entry}” is no date")
    return value_date, booking_date


@lru_cache(maxsize=4096)
def _days(value: str, entry: str | None) -> tuple[date | None, date | None]:
    value_date = _value_date(value)
    return value_date, _booking_date(entry, value_date, value) if entry else value_date


def _value_date(printed: str) -> date | None:
    if len(printed) != 6 or not (printed.isascii() and printed.isdigit()):
        return None
    year = fields.full_year(int(printed[:2]))
    return fields.calendar_date(year, int(printed[2:4]), int(printed[4:]))


def _booking_date(month_day: str, value_date: date | None, printed_value: str) -> date | None:
    month, day = int(month_day[:2]), int(month_day[2:])
    if value_date is None:
        if not printed_value[:2].isdigit():
            return None
        return fields.calendar_date(fields.full_year(int(printed_value[:2])), month, day)
    years = (value_date.year, value_date.year - 1, value_date.year + 1)
    candidates = [fields.calendar_date(year, month, day) for year in years]
    real = [candidate for candidate in candidates if candidate is not None]
    return min(real, key=lambda one: abs(one - value_date), default=None) if real else None


def _posting(
    line: _Line,
    statement: _Statement,
    found: re.Match[str],
    amount: Decimal,
    dates: tuple[date | None, date | None],
) -> ParsedPosting:
    mark = found["mark"].upper()
    said = _purpose(line.details)
    _read_unofficial(said, line.unofficial)
    customer_reference, bank_reference, name = _references(found["reference"])
    supplementary = [extra.strip() for extra in line.printed.lines[1:] if extra.strip()]
    remittance = said.remittance_information
    if said.is_free_text:
        unsaid = [customer_reference or "", *([] if line.details else supplementary)]
        texts = [remittance, *(one for one in unsaid if one not in (remittance or ""))]
        remittance = fields.text("\n".join(filter(None, texts)))
    swift_kind = (found["kind"] or "").strip().upper()
    is_return = (
        said.is_return or mark in ("RC", "RD") or said.business_code in RETURN_BUSINESS_CODES
    )
    signed = amount if mark in ("C", "RD", "EC") else -amount
    bank_reference = bank_reference or said.bank_reference
    foreign, charges = _said_amounts(line, statement.currency)
    is_batch = said.is_batch_total or said.business_code in BATCH_BUSINESS_CODES
    return ParsedPosting(
        account_iban=statement.account_iban,
        booking_date=dates[0],
        value_date=dates[1],
        amount=signed,
        currency=statement.currency,
        counterparty_name=said.counterparty_name or name,
        counterparty_iban=said.counterparty_iban
        or _first_iban([customer_reference or "", *supplementary]),
        counterparty_bic=said.counterparty_bic,
        remittance_information=remittance,
        creditor_reference=said.creditor_reference,
        end_to_end_id=said.end_to_end_id,
        mandate_id=said.mandate_id,
        bank_reference=bank_reference,
        transaction_code="+".join(filter(None, [swift_kind, said.business_code])) or None,
        is_return=is_return,
        return_reason=said.return_reason if is_return else None,
        is_pending=statement.is_preliminary,
        is_batch_total=is_batch,
        entry=_as_entry(signed, bank_reference, said) if is_batch else None,
        source=statement.source,
        account=statement.other_account,
        foreign=foreign,
        charges=charges,
        where=f"line {line.printed.line_number}",
    )


def _said_amounts(line: _Line, currency: str | None) -> tuple[ForeignAmount | None, Decimal | None]:
    """``/OCMT/USD10,40/`` and ``/CHGS/EUR1,50/``: what was instructed, and what the bank took."""
    foreign: ForeignAmount | None = None
    charges: Decimal | None = None
    for part in (line.printed, *line.details):
        text = "".join(part.lines)
        if "/OCMT/" not in text and "/CHGS/" not in text:
            continue
        for code, said_currency, printed in _SAID_AMOUNT.findall(text):
            amount = _amount(printed)
            if not amount:
                continue
            if code == "CHGS" and said_currency == currency:
                charges = charges or amount
            elif code == "OCMT" and said_currency != currency:
                foreign = foreign or ForeignAmount(amount, said_currency)
    return foreign, charges


def _as_entry(amount: Decimal, bank_reference: str | None, said: Purpose) -> Entry:
    """A batch as what its payments, which another file may bring, point to."""
    references = filter(None, (bank_reference, said.customer_reference))
    return Entry(amount, tuple(dict.fromkeys(references)), said.batch_size)


def _purpose(details: list[_Field]) -> Purpose:
    """The fields 86 of one line; further ones repeat the first or go on as free text."""
    if not details:
        return Purpose(is_free_text=True)
    said = purpose.read(details[0].lines)
    texts = [said.remittance_information]
    for part in details[1:]:
        if part.lines != details[0].lines:
            texts.append(purpose.read(part.lines).remittance_information)
    said.remittance_information = fields.text("\n".join(filter(None, texts)))
    return said


def _read_unofficial(said: Purpose, parts: list[_Field]) -> None:
    """Field NS of the German banks: purpose in lines 01 to 14, the other party in 15 and 16."""
    if not parts:
        return
    lines = [one for part in parts for one in part.lines if one[:2].isdigit()]
    texts = [one[2:].strip() for one in lines if "01" <= one[:2] <= "14"]
    names = [one[2:].strip() for one in lines if one[:2] in ("15", "16")]
    written = [said.remittance_information, *texts]
    said.remittance_information = fields.text("\n".join(filter(None, written)))
    said.counterparty_name = said.counterparty_name or fields.text(" ".join(names))


def _references(printed: str) -> tuple[str | None, str | None, str | None]:
    """The customer's and the bank's reference of field 61 (subfields 7 and 8).

    Third, a name: some Dutch banks print the other party behind the customer's reference.
    """
    customer, _, bank = printed.strip().partition("//")
    name = None
    if found := _REFERENCE_AND_NAME.fullmatch(customer):
        customer, name = found[1], fields.text(found[2])
    customer = customer.strip()
    if customer.upper() in _NO_REFERENCE or not customer.strip("0"):
        customer = ""
    return fields.text(customer), fields.text(bank.split("\n")[0]), name


def _first_iban(texts: list[str]) -> str | None:
    """An IBAN where banks print other things too, so only one that cannot be anything else."""
    for one in texts:
        account = fields.iban(one)
        if account and (_DUTCH_IBAN.fullmatch(account) or iban_is_valid(account)):
            return account
    return None
