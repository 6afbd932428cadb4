"""What the account knows already of a delivery, and what other deliveries told like it.

A file of its own because it is all reading, in bulk and through indexes. Never commits.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from decimal import Decimal
from itertools import islice
from typing import Any

from sqlalchemy import select, text

from server.banking.formats import Entry, ParsedPosting
from server.banking.models import AccountDay, BankAccount, Posting
from server.banking.rules.identity import NEAR, Likeness, core, is_booked_form_of, likeness
from server.db import db

NEIGHBOURS_LOOKED_AT = 200
NEIGHBOURS_OF_AN_AMOUNT = 2_000
PENDING_READ = 2_000
DOUBLES_READ = 20_000
OTHER_MONEY = Decimal("0.001")
"""What the table tells apart; smaller parts of an amount are rounded away."""

Placed = tuple[ParsedPosting, str, BankAccount]
"""A posting of a delivery, its fingerprint and its account."""


# Each pair is looked up in the index by itself: a new table has no statistics yet, and a plan
# made for it would read the whole account for every slice.
_KNOWN = text(
    """
    SELECT wanted.account_id, wanted.fingerprint
    FROM unnest(CAST(:accounts AS bigint[]), CAST(:fingerprints AS text[]))
        AS wanted(account_id, fingerprint)
    CROSS JOIN LATERAL (
        (SELECT FROM posting AS one
            WHERE one.account_id = wanted.account_id AND one.fingerprint = wanted.fingerprint
            LIMIT 1)
        UNION ALL
        (SELECT FROM posting_alias AS one
            WHERE one.account_id = wanted.account_id AND one.fingerprint = wanted.fingerprint
            LIMIT 1)
    ) AS found
    """
)


def known(placed: Sequence[Placed]) -> set[tuple[int, str]]:
    wanted = {
        "accounts": [account.id for _, _, account in placed],
        "fingerprints": [fingerprint for _, fingerprint, _ in placed],
    }
    return {(row.account_id, row.fingerprint) for row in db.session.execute(_KNOWN, wanted)}


def pending_rows(account_ids: Iterable[int], statement_id: int | None) -> list[Any]:
    query = select(Posting).where(
        Posting.account_id.in_(sorted(account_ids)),
        Posting.is_pending,
        Posting.statement_id.is_distinct_from(statement_id),
    )
    return list(db.session.scalars(query.order_by(Posting.id).limit(PENDING_READ)))


def booked_form(posting: ParsedPosting, account: BankAccount, pending: Sequence[Any]) -> Any | None:
    for row in pending:
        if (
            row.account_id == account.id
            and row.amount == posting.amount
            and is_booked_form_of(posting, row)
        ):
            return row
    return None


_TOLD = """
    one.id, one.account_id, one.amount, one.booking_date, one.value_date, one.source,
    one.fingerprint, one.counterparty_name, one.counterparty_iban, one.counterparty_bic,
    one.remittance_information, one.creditor_reference, one.end_to_end_id, one.mandate_id,
    one.bank_reference, one.transaction_code, one.is_batch_total, one.entry_amount,
    one.is_replaced, one.particulars
"""
_NEAR = """
    one.account_id = :account_id AND one.booking_date BETWEEN :first AND :last
    AND NOT one.is_pending AND one.statement_id IS DISTINCT FROM :statement_id
    ORDER BY one.id LIMIT :most
"""
# Amount by amount, each from its index; a posting may be found as itself and as a part.
_NEIGHBOURS = text(
    f"""
    SELECT DISTINCT ON (found.id) found.*
    FROM unnest(CAST(:amounts AS numeric[])) AS wanted(amount)
    CROSS JOIN LATERAL (
        (SELECT {_TOLD} FROM posting AS one WHERE one.amount = wanted.amount AND {_NEAR})
        UNION ALL
        (SELECT {_TOLD} FROM posting AS one WHERE one.entry_amount = wanted.amount AND {_NEAR})
    ) AS found
    ORDER BY found.id
    """  # noqa: S608 - our own constants
)


class Neighbours:
    """What other deliveries brought of the same amounts around the same days.

    Nothing is asked where no other delivery has brought anything for these days.
    """

    def __init__(
        self, fresh: Sequence[Placed], statement_id: int | None, delivered: set[int]
    ) -> None:
        self._delivered = delivered
        self._taken: set[int] = set()
        self._by_text: dict[tuple[int, Decimal, str], list[Any]] = defaultdict(list)
        self._by_iban: dict[tuple[int, Decimal, str | None], list[Any]] = defaultdict(list)
        self._all: dict[tuple[int, Decimal], list[Any]] = defaultdict(list)
        self._leaves: dict[tuple[int, Decimal], list[Any]] = defaultdict(list)
        for account_id, postings in _by_account(fresh).items():
            days = [on for one in postings if (on := one.booking_date or one.value_date)]
            if days and _has_others(account_id, min(days), max(days), statement_id):
                self._read(account_id, postings, min(days), max(days), statement_id)

    def _read(
        self,
        account_id: int,
        postings: Sequence[ParsedPosting],
        first: date,
        last: date,
        statement_id: int | None,
    ) -> None:
        amounts = {_stored(one.amount) for one in postings}
        amounts |= {_stored(one.entry.amount) for one in postings if one.entry is not None}
        rows = db.session.execute(
            _NEIGHBOURS,
            {
                "account_id": account_id,
                "first": first - NEAR,
                "last": last + NEAR,
                "amounts": sorted(amounts),
                "statement_id": statement_id,
                "most": NEIGHBOURS_OF_AN_AMOUNT,
            },
        )
        for row in rows:
            if row.entry_amount is not None and not row.is_batch_total:
                self._leaves[account_id, row.entry_amount].append(row)
            if row.is_batch_total and row.is_replaced:
                continue
            self._all[account_id, row.amount].append(row)
            self._by_text[account_id, row.amount, core(row)].append(row)
            self._by_iban[account_id, row.amount, row.counterparty_iban].append(row)

    def find(self, posting: ParsedPosting, account: BankAccount) -> tuple[Likeness, Any | None]:
        """The posting of another delivery that is the same money, else one that looks like it."""
        amount = _stored(posting.amount)
        if (account.id, amount) not in self._all:
            return Likeness.OTHER, None
        alike = None
        for row in islice(self._candidates(posting, account.id, amount), NEIGHBOURS_LOOKED_AT):
            found = likeness(posting, row)
            if found is Likeness.SAME and row.is_batch_total == posting.is_batch_total:
                return found, row
            if found is not Likeness.OTHER and alike is None:
                alike = row
        return (Likeness.ALIKE, alike) if alike is not None else (Likeness.OTHER, None)

    def _candidates(
        self, posting: ParsedPosting, account_id: int, amount: Decimal
    ) -> Iterator[Any]:
        """Same text first, then same payer, then those of unknown payer."""
        lists = [self._by_text.get((account_id, amount, core(posting)), ())]
        if posting.counterparty_iban:
            lists.append(self._by_iban.get((account_id, amount, posting.counterparty_iban), ()))
            lists.append(self._by_iban.get((account_id, amount, None), ()))
        else:
            lists.append(self._all[account_id, amount])
        for rows in lists:
            for row in rows:
                if row.id not in self._taken and hash(row.fingerprint) not in self._delivered:
                    yield row

    def take(self, row: Any) -> None:
        """It is the same money as one of this delivery, so it is no other's."""
        self._taken.add(row.id)

    def leaf_of(self, posting: ParsedPosting, account: BankAccount) -> Any | None:
        """A payment out of an entry of this amount, which another delivery brought."""
        for row in self._leaves.get((account.id, _stored(posting.amount)), ()):
            if row.id not in self._taken and _are_near(posting, row):
                return row
        return None

    def total_of(self, entry: Entry, posting: ParsedPosting, account: BankAccount) -> Any | None:
        """The sum of this entry, which another delivery brought as one posting."""
        rows = self._all.get((account.id, _stored(entry.amount)), ())
        near = [
            row
            for row in rows
            if row.id not in self._taken
            and row.entry_amount in (None, row.amount)
            and _are_near(posting, row)
            and hash(row.fingerprint) not in self._delivered
        ]
        batches = [row for row in near if row.is_batch_total]
        named = [row for row in batches if _shares_reference(entry, row)]
        if named or batches or posting.amount == entry.amount:
            return next(iter(named or batches), None)
        return next((row for row in near if row.source != posting.source), None)


def _shares_reference(entry: Entry, row: Any) -> bool:
    known = set((row.particulars or {}).get("entry_references", ())) | {row.bank_reference}
    return bool(known & set(entry.references))


def _are_near(posting: ParsedPosting, row: Any) -> bool:
    on = posting.booking_date or posting.value_date
    return on is not None and row.booking_date is not None and abs(on - row.booking_date) <= NEAR


def _stored(amount: Decimal) -> Decimal:
    return amount.quantize(OTHER_MONEY)


def _by_account(fresh: Sequence[Placed]) -> dict[int, list[ParsedPosting]]:
    postings: dict[int, list[ParsedPosting]] = defaultdict(list)
    for posting, _, account in fresh:
        postings[account.id].append(posting)
    return postings


def _has_others(account_id: int, first: date, last: date, statement_id: int | None) -> bool:
    query = select(AccountDay.day).where(
        AccountDay.account_id == account_id,
        AccountDay.day.between(first - NEAR, last + NEAR),
    )
    if statement_id is not None:
        query = query.where(AccountDay.statement_id != statement_id)
    return db.session.scalar(query.limit(1)) is not None


class Doubles:
    """Accounts whose bank sends one payment twice under two references (K46), if so set."""

    def __init__(self, fresh: Sequence[Placed]) -> None:
        self._seen: set[tuple[object, ...]] = set()
        for account in {account.id: account for _, _, account in fresh}.values():
            if not account.ignores_doubles:
                continue
            days = {one.booking_date for one, _, its in fresh if its.id == account.id} - {None}
            known = select(Posting).where(
                Posting.account_id == account.id, Posting.booking_date.in_(days)
            )
            for row in db.session.scalars(known.limit(DOUBLES_READ)):
                self._seen.add(_double_key(row, account.id))

    def has(self, posting: ParsedPosting, account: BankAccount) -> bool:
        """Whether originator, amount, purpose and day were there before."""
        if not account.ignores_doubles or posting.amount <= 0:
            return False
        key = _double_key(posting, account.id)
        was_there = key in self._seen
        self._seen.add(key)
        return was_there


def _double_key(one: Any, account_id: int) -> tuple[object, ...]:
    who = one.counterparty_iban or one.counterparty_name
    return account_id, one.booking_date, _stored(one.amount), who, core(one)
