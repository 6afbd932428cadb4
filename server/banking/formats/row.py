"""One record of a CSV, read by the names of its fields."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from server.banking.formats import fields, notation, packed
from server.banking.formats.columns import AMOUNTS, DATES
from server.banking.formats.header import (
    BALANCE_LINE,
    BALANCE_WORD,
    CURRENCIES,
    SYMBOLS,
    Header,
    is_value,
    plain_cell,
    symbol,
)
from server.banking.formats.items import (
    MAX_RAW_CHARACTERS,
    Entry,
    ForeignAmount,
    ParsedPosting,
    Problem,
)
from server.banking.formats.purpose import Purpose
from server.banking.formats.table import Record

SOURCE = "CSV"
MAX_LEFT_OUT_CELLS = 2

_REFERENCES = {
    *"creditor_reference end_to_end_id mandate_id bank_reference remittance_information".split()
}
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
# Alone in a cell they may name a category; only the longer words can be nothing else.
_BARE_WORDS = {"Saldo", "Kontostand", "saldo", "kontostand"}
_MANGLED = re.compile(r"[+-]?\d(?:[.,]\d+)?E\+?\d+", re.IGNORECASE)
_NOTHING = {"N/A", "n/a", "--", "-"}
_CREDIT_OR_DEBIT = re.compile(r"(?P<amount>.*?)\s*(?P<mark>CR|DR)\.?", re.IGNORECASE)
_DIGITS = re.compile(r"\s*[+-]?\d+(?:\.\d+)?\s*")
_CODE = re.compile(r"^\s*[A-Za-z]{2,3}\s+|\s*[A-Za-z]{2,3}\s*$")
_DEBIT_MARKS = {
    *"S SOLL D DR DB DBIT DEBIT DEBET DÉBIT - AF O OUT OUTFLOW BELASTUNG KIADÁS EXPENSE".split()
}
_CREDIT_MARKS = {
    *"H HABEN C CR K KREDIT CRDT CREDIT CRÉDIT + BIJ I IN INFLOW GUTSCHRIFT BEVÉTEL".split()
}


class Row:
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
            value = plain_cell(value)
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
        return any(self.has(key) for key in DATES)

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
            and not any(self.has(key) for key in AMOUNTS)
            and not any(map(is_value, self.cells))
        )

    def balance_word(self) -> re.Match[str] | None:
        """The word for a balance or a sum, where the date should be or alone in the line."""
        place = self._header.places.get("booking_date", (None,))[0]
        for at in dict.fromkeys((place, 0)):
            cell = "" if at is None else self.cells[at].lstrip()
            if cell[:1].isalpha() and (found := BALANCE_LINE.match(cell)):
                return found if at == place or self._says_nothing_else() else None
        if self._says_nothing_else():
            words = (cell.strip() for cell in self.cells)
            matches = (BALANCE_WORD.fullmatch(one) for one in words if one not in _BARE_WORDS)
            return next((found for found in matches if found and not found["sum"]), None)
        return None

    def _says_nothing_else(self) -> bool:
        """Whether no party and no text stand in this line; a currency is no text."""
        texts = (
            self.cells[place].strip()
            for key in ("remittance_information", "counterparty_name", "payer", "payee")
            for place in self._header.places.get(key, ())
        )
        return all(not text or text in CURRENCIES for text in texts)

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
        if found := fields.currency(SYMBOLS.get(printed, printed)):
            return found
        if self._header.currency or self._reading.currency:
            return self._header.currency or self._reading.currency
        printed = next((self.text(key) for key in AMOUNTS if self.has(key)), None) or ""
        return next((code for sign, code in SYMBOLS.items() if sign in printed), None)

    def _foreign(self, currency: str | None) -> ForeignAmount | None:
        printed = self.text("foreign_amount")
        if printed is None:
            return None
        amount = self._amount_in(printed)
        code = fields.currency(self.text("foreign_currency")) or symbol(printed)
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
