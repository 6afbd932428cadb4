"""Which account a delivery is about; one that nobody has entered is added. Never commits.

A file of its own because both what is entered and what arrives needs it.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from server.banking.formats import ParsedPosting, Unreadable
from server.banking.models import BankAccount
from server.banking.rules.accounts import is_account
from server.db import db

UNNAMED = ""


class AccountNeeded(Unreadable):
    """The file names no account and the merchant has several: a person must say which."""


class Accounts:
    """The merchant's accounts, as files name them; one that nobody has entered is added."""

    def __init__(self, merchant_id: int, named_id: int | None) -> None:
        self._merchant_id = merchant_id
        rows = select(BankAccount).where(BankAccount.merchant_id == merchant_id)
        self._rows = list(db.session.scalars(rows.order_by(BankAccount.id)))
        self._named = next((row for row in self._rows if row.id == named_id), None)
        self._found: dict[tuple[str | None, str | None, str | None], BankAccount] = {}
        self._last: str | None = None
        self.first_iban: str | None = None

    def of(self, posting: ParsedPosting) -> BankAccount:
        """The account of a posting."""
        return self.find(posting.account_iban, posting.account, posting.currency)

    def ids(self) -> set[int]:
        """Those that were named so far."""
        return {account.id for account in self._found.values()}

    def find(self, iban: str | None, printed: str | None, currency: str | None) -> BankAccount:
        """By IBAN, else by what the bank printed instead, else the one that was named."""
        key = (iban, printed, currency)
        if key not in self._found:
            account = self._in_currency(self._name_of(iban, printed), currency)
            if account.shared_account_id is not None:
                # Whoever could bring postings here could give himself money.
                raise Unreadable("only the operator brings postings of this shared account")
            self._found[key] = account
            self._last = account.iban
            self.first_iban = self.first_iban or account.iban or None
        return self._found[key]

    def _name_of(self, iban: str | None, printed: str | None) -> str:
        if iban:
            return iban
        if printed:
            for row in self._rows:
                if row.iban == printed[:34] or (row.iban and is_account(row.iban, printed)):
                    return row.iban
            if self._named is None:
                return printed[:34]
        if self._named is not None:
            return self._named.iban
        if self._last is not None:
            return self._last  # lines of a file that names its account in others
        names = {row.iban for row in self._rows if row.shared_account_id is None}
        if len(names) > 1:
            raise AccountNeeded("the file does not say which account it is about; please choose it")
        return names.pop() if names else UNNAMED

    def _in_currency(self, iban: str, currency: str | None) -> BankAccount:
        same = [row for row in self._rows if row.iban == iban]
        if currency is None and same:
            return same[0]
        for row in same:
            if row.currency == currency:
                return row
        row = find_or_add_account(self._merchant_id, iban, currency or "EUR")
        self._rows.append(row)
        return row


def find_or_add_account(merchant_id: int, iban: str, currency: str) -> BankAccount:
    """The account of this name and currency."""
    iban = "".join(iban.split()) if iban[:2].isalpha() and iban[2:4].isdigit() else iban
    key = {"merchant_id": merchant_id, "iban": iban[:34], "currency": currency}
    db.session.execute(
        insert(BankAccount)
        .values(**key)
        .on_conflict_do_nothing(index_elements=["merchant_id", "iban", "currency"])
    )
    return db.session.scalars(select(BankAccount).filter_by(**key)).one()
