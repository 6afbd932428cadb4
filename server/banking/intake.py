"""Postings that arrive: none twice, none lost (docs/adr/0011). Only the import commits.

A file of its own because it is the hot path and written for bulk. For each slice of a delivery:

1. what the account knows by its fingerprint (of any delivery before) adds nothing;
2. what another delivery told in other words is the same money, and completes what is known;
3. what only looks like that is kept and linked: a person decides (K46);
4. the rest is new.
"""

from __future__ import annotations

import dataclasses
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any

from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert

from server.banking.formats import (
    ColumnMapping,
    Entry,
    ParsedPosting,
    Problem,
    StatementFacts,
    Unreadable,
    parse,
)
from server.banking.models import (
    AccountDay,
    BankAccount,
    IgnoreRule,
    Posting,
    PostingAlias,
    Statement,
    StatementPeriod,
)
from server.banking.rules.accounts import is_account
from server.banking.rules.identity import (
    NEAR,
    Fingerprints,
    Likeness,
    core,
    is_booked_form_of,
    likeness,
)
from server.banking.rules.ignoring import Rule, rule_for
from server.db import db, now
from server.merchants.service import lock_merchant

SLICE_ENTRIES = 500
PROBLEMS_KEPT = 200
PROBLEM_LENGTH = 500
NEIGHBOURS_LOOKED_AT = 200
NEIGHBOURS_OF_AN_AMOUNT = 2_000
PENDING_READ = 2_000
DOUBLES_READ = 20_000
OTHER_MONEY = Decimal("0.001")
"""What the table tells apart; smaller parts of an amount are rounded away."""
UNNAMED = ""

_FILLED_IN = (
    "counterparty_name counterparty_iban counterparty_bic remittance_information"
    " creditor_reference end_to_end_id mandate_id bank_reference transaction_code value_date"
).split()
_COPIED = (
    "merchant_id account_id statement_id fingerprint source booking_date value_date amount"
    " currency counterparty_name counterparty_iban counterparty_bic remittance_information"
    " creditor_reference end_to_end_id mandate_id bank_reference transaction_code is_return"
    " return_reason is_batch_total entry_amount particulars created_at is_open needs_match"
    " is_blocked is_pending no_assignment is_replaced duplicate_of_id ignored_at ignored_by"
    " ignored_because"
).split()
_COPY = f"COPY posting ({', '.join(_COPIED)}) FROM STDIN"


@dataclasses.dataclass(slots=True)
class Written:
    """What became of some postings of a delivery. ``doubtful`` and ``ignored`` are also new."""

    new: int = 0
    known: int = 0
    pending: int = 0
    doubtful: int = 0
    ignored: int = 0


def store_postings(merchant_id: int, postings: Sequence[ParsedPosting]) -> tuple[int, int]:
    """Booked postings that came without a file. Returns (new, known)."""
    given = Fingerprints()
    writer = PostingWriter(merchant_id, statement_id=None)
    written = writer.write([(posting, given.of(posting)) for posting in postings])
    writer.finish()
    return written.new, written.known


class StatementImport:
    """One statement being read, slice by slice, so that a long one holds up nobody.

    ``step`` writes one slice and says whether more is to come; whoever calls it commits. After a
    break (a new drain, a crashed worker) reading starts over and passes by what the row says was
    read.
    """

    def __init__(self, statement: Statement) -> None:
        self.statement_id = statement.id
        self._writer = PostingWriter(
            statement.merchant_id,
            statement_id=statement.id,
            named_account_id=statement.account_id,
        )
        self._problems: list[Problem] = []
        self._periods = _Periods(self._writer, statement)
        self._is_pending = statement.is_pending
        self._items = self._read(statement.content, statement.filename, statement.columns)
        self._skip = statement.entries_read

    def step(self, size: int = SLICE_ENTRIES) -> bool:
        """Write up to ``size`` postings. Raises Unreadable if the file is none of ours."""
        if self._skip:
            for pair in islice(self._items, self._skip):
                self._writer.pass_by(pair)
            self._skip = 0
            self._problems.clear()
        part = list(islice(self._items, size))
        statement = db.session.get_one(Statement, self.statement_id)
        written = self._writer.write(part)
        statement.entries_read += len(part)
        statement.postings_new += written.new
        statement.postings_known += written.known
        statement.postings_pending += written.pending
        statement.postings_doubtful += written.doubtful
        statement.postings_ignored += written.ignored
        self._note_problems(statement)
        if not statement.source and part:
            statement.source = part[0][0].source
        if statement.account_iban is None:
            statement.account_iban = self._writer.first_iban
        if len(part) == size:
            return True
        self._writer.finish()
        self._periods.write()
        return False

    def _read(
        self, content: bytes, name: str, named: dict[str, Any] | None
    ) -> Iterator[tuple[ParsedPosting, str]]:
        try:
            columns = ColumnMapping.from_json(named) if named else None
        except ValueError as problem:
            raise Unreadable(str(problem)) from problem
        given = Fingerprints()
        for item in parse(io.BytesIO(content), name, columns):
            if isinstance(item, ParsedPosting):
                if self._is_pending:
                    item = dataclasses.replace(item, is_pending=True)  # noqa: PLW2901
                self._periods.note(item)
                yield item, given.of(item)
            elif isinstance(item, Problem):
                self._problems.append(item)
            else:
                self._periods.end(item)

    def _note_problems(self, statement: Statement) -> None:
        if not self._problems:
            return
        statement.problem_count += len(self._problems)
        told = [
            {"where": p.where, "what": p.what[:PROBLEM_LENGTH]} | ({"raw": p.raw} if p.raw else {})
            for p in self._problems
        ]
        statement.problems = [*statement.problems, *told][:PROBLEMS_KEPT]
        self._problems.clear()


class _Periods:
    """What the statements inside one delivery say of their days and balances."""

    def __init__(self, writer: PostingWriter, statement: Statement) -> None:
        self._writer = writer
        self._merchant_id, self._statement_id = statement.merchant_id, statement.id
        self._total = Decimal(0)
        self._currency: str | None = None
        self._named: set[tuple[str | None, str | None]] = set()
        self._ended: list[tuple[StatementFacts, Decimal]] = []

    def note(self, posting: ParsedPosting) -> None:
        """One more posting of the statement that is being read."""
        self._currency = posting.currency or self._currency
        self._named.add((posting.account_iban, posting.account))
        if not posting.is_pending:
            self._total += posting.amount

    def end(self, facts: StatementFacts) -> None:
        """The statement is over."""
        if facts.account_iban is None and facts.account is None and len(self._named) == 1:
            iban, printed = next(iter(self._named))
            facts = dataclasses.replace(facts, account_iban=iban, account=printed)
        facts = dataclasses.replace(facts, currency=facts.currency or self._currency)
        if len(self._named) <= 1:  # else it tells of several accounts, and not which
            self._ended.append((facts, self._total))
        self._total, self._currency = Decimal(0), None
        self._named.clear()

    def write(self) -> None:
        """All of them, at the end of the delivery."""
        rows = []
        for position, (facts, total) in enumerate(self._ended):
            first, last = facts.from_date or facts.to_date, facts.to_date or facts.from_date
            if first is None or last is None or last < first:
                continue
            account = self._writer.account(facts.account_iban, facts.account, facts.currency)
            rows.append(
                {
                    "merchant_id": self._merchant_id,
                    "statement_id": self._statement_id,
                    "account_id": account.id,
                    "position": position,
                    "source": facts.source[:16],
                    "number": (facts.number or "")[:64] or None,
                    "from_date": first,
                    "to_date": last,
                    "opening": facts.opening.amount if facts.opening else None,
                    "closing": facts.closing.amount if facts.closing else None,
                    "booked_total": total,
                    "is_complete": facts.is_complete,
                }
            )
        if rows:
            db.session.execute(insert(StatementPeriod).on_conflict_do_nothing(), rows)


Pair = tuple[ParsedPosting, str]


class PostingWriter:
    """Writes the postings of one delivery, and the accounts that they name."""

    def __init__(
        self,
        merchant_id: int,
        *,
        statement_id: int | None,
        named_account_id: int | None = None,
        at: datetime | None = None,
    ) -> None:
        self.merchant_id = merchant_id
        self.statement_id = statement_id
        self._accounts = Accounts(merchant_id, named_account_id)
        self._rules = ignore_rules(merchant_id)
        self._delivered: set[int] = set()
        self._entry: Entry | None = None
        self._totals_in_doubt: list[tuple[int, Decimal]] = []
        self._at = at or now()

    @property
    def first_iban(self) -> str | None:
        """The account of the first posting; None if no file named it."""
        return self._accounts.first_iban

    def account(self, iban: str | None, printed: str | None, currency: str | None) -> BankAccount:
        """The account that a file names so."""
        return self._accounts.find(iban, printed, currency)

    def pass_by(self, pair: Pair) -> None:
        """This posting of the delivery was written before a break."""
        self._delivered.add(hash(pair[1]))
        self._entry = pair[0].entry

    def write(self, pairs: Sequence[Pair]) -> Written:
        """The next postings of the delivery, in its order."""
        written = Written()
        if not pairs:
            return written
        placed = [
            (posting, fingerprint, self._accounts.of(posting)) for posting, fingerprint in pairs
        ]
        _lock({account.id for _, _, account in placed})
        self._delivered.update(hash(fingerprint) for _, fingerprint in pairs)
        known = _known(placed)
        fresh = []
        for posting, fingerprint, account in placed:
            if (account.id, fingerprint) in known:
                written.known += not posting.is_pending
                written.pending += posting.is_pending
                self._entry = posting.entry
            else:
                fresh.append((posting, fingerprint, account))
        if fresh:
            self._write_fresh(fresh, written)
        return written

    def finish(self) -> None:
        """After the last posting: settle what could not be told while reading."""
        if self.statement_id is None:
            return
        self._unlink_what_was_delivered_later()
        for total_id, amount in self._totals_in_doubt:
            leaf = db.session.scalar(
                select(Posting.id)
                .where(Posting.statement_id == self.statement_id, Posting.entry_amount == amount)
                .limit(1)
            )
            if leaf is not None:
                db.session.execute(
                    update(Posting).where(Posting.id == total_id).values(duplicate_of_id=leaf)
                )

    def _unlink_what_was_delivered_later(self) -> None:
        """Linked to a known posting that then came in this very delivery: so it is another one."""
        known = db.aliased(Posting)
        linked = db.session.execute(
            select(Posting.id, known.fingerprint)
            .join(known, known.id == Posting.duplicate_of_id)
            .where(Posting.statement_id == self.statement_id)
        )
        wrong = [row.id for row in linked if hash(row.fingerprint) in self._delivered]
        if wrong:
            db.session.execute(
                update(Posting)
                .where(Posting.id.in_(wrong))
                .values(duplicate_of_id=None, needs_match=Posting.is_open)
            )

    # --- what no delivery has told in these words ---

    def _write_fresh(self, fresh: Sequence[Placed], written: Written) -> None:
        neighbours = self._neighbours(fresh)
        doubles = _Doubles(fresh)
        pending = _pending_rows({account.id for _, _, account in fresh}, self.statement_id)
        rows: list[dict[str, Any]] = []
        same: list[tuple[Any, ParsedPosting, str]] = []
        for posting, fingerprint, account in fresh:
            if posting.is_pending:
                written.pending += 1
                if neighbours.find(posting, account)[0] is not Likeness.SAME:
                    rows.append(self._row(posting, fingerprint, account))
                continue
            found, other = neighbours.find(posting, account)
            if found is Likeness.SAME and other is not None:
                neighbours.take(other)
                same.append((other, posting, fingerprint))
                written.known += 1
                continue
            row = self._row(posting, fingerprint, account)
            if doubles.has(posting, account):
                row |= self._ignored("double", account.iban)
            elif found is Likeness.ALIKE and other is not None:
                row["duplicate_of_id"] = other.id
                written.doubtful += 1
            self._weigh_batch(posting, account, row, neighbours)
            written.new += 1
            written.ignored += row["ignored_at"] is not None
            before = _booked_form(posting, account, pending)
            if before is not None:
                # A new row, so that whoever reads postings by their ids does not miss it.
                pending.remove(before)
                db.session.delete(before)
            rows.append(row)
        _complete(same)
        _copy(rows)
        _count_days(rows, self.statement_id)

    def _neighbours(self, fresh: Sequence[Placed]) -> _Neighbours:
        return _Neighbours(fresh, self.statement_id, self._delivered)

    def _weigh_batch(
        self,
        posting: ParsedPosting,
        account: BankAccount,
        row: dict[str, Any],
        neighbours: _Neighbours,
    ) -> None:
        """A batch in one sum, and the same batch payment by payment, are the same money."""
        if posting.is_batch_total or posting.entry is None:
            leaf = neighbours.leaf_of(posting, account)
            if leaf is None:
                return
            if posting.is_batch_total:
                row |= {"is_replaced": True, "is_open": False, "needs_match": False}
            elif row["duplicate_of_id"] is None:
                row["duplicate_of_id"] = leaf.id
            return
        if posting.entry is self._entry:
            return
        self._entry = posting.entry
        total = neighbours.total_of(posting.entry, posting, account)
        if total is None:
            return
        neighbours.take(total)
        if not total.is_batch_total or not self._replace(total.id):
            self._totals_in_doubt.append((total.id, posting.entry.amount))

    def _replace(self, total_id: int) -> bool:
        """False if somebody has assigned of the sum, or does so in this very moment."""
        lock_merchant(self.merchant_id)
        replaced = db.session.execute(
            update(Posting)
            .where(Posting.id == total_id, ~Posting.is_assigned)
            .values(is_replaced=True, is_open=False, needs_match=False)
        )
        return bool(replaced.rowcount)  # type: ignore[attr-defined]

    def _row(
        self, posting: ParsedPosting, fingerprint: str, account: BankAccount
    ) -> dict[str, Any]:
        on = posting.booking_date or posting.value_date
        is_old = account.assign_from is not None and on is not None and on < account.assign_from
        is_open = posting.amount > 0 and not posting.is_pending and not is_old
        row: dict[str, Any] = {
            name: _bounded(name, getattr(posting, name, None)) for name in _COPIED
        }
        row |= {
            "merchant_id": self.merchant_id,
            "account_id": account.id,
            "statement_id": self.statement_id,
            "fingerprint": fingerprint,
            "source": posting.source or "API",
            "currency": posting.currency or account.currency,
            "entry_amount": _entry_amount(posting),
            "particulars": _particulars(posting),
            "created_at": self._at,
            "is_open": is_open,
            "needs_match": is_open,
            "is_blocked": False,
            "no_assignment": is_old,
            "is_replaced": False,
        }
        rule = rule_for(posting, self._rules) if is_open else None
        if rule is not None:
            row |= self._ignored(rule.kind, rule.value)
        return row

    def _ignored(self, because: str, by: str) -> dict[str, Any]:
        return {
            "ignored_at": self._at,
            "ignored_by": by[:320],
            "ignored_because": because,
            "is_open": False,
            "needs_match": False,
        }


Placed = tuple[ParsedPosting, str, BankAccount]


def ignore_rules(merchant_id: int) -> list[Rule]:
    """The merchant's rules, oldest first."""
    rows = select(IgnoreRule).where(IgnoreRule.merchant_id == merchant_id).order_by(IgnoreRule.id)
    return [Rule(row.kind, row.value, row.tells_merchant) for row in db.session.scalars(rows)]


def _entry_amount(posting: ParsedPosting) -> Decimal | None:
    return None if posting.entry is None or posting.is_batch_total else posting.entry.amount


def _particulars(posting: ParsedPosting) -> dict[str, Any] | None:
    """What is kept for people only."""
    told: dict[str, Any] = {}
    if posting.entry is not None and posting.entry.references:
        told["entry_references"] = list(posting.entry.references)
    if posting.foreign is not None:
        rate = posting.foreign.exchange_rate
        told["foreign"] = {
            "amount": f"{posting.foreign.amount:f}",
            "currency": posting.foreign.currency,
            "exchange_rate": f"{rate:f}" if rate is not None else None,
        }
    if posting.charges:
        told["charges"] = f"{posting.charges:f}"
    return told or None


def _bounded(name: str, value: Any) -> Any:
    return value[:64] if value and name in ("counterparty_iban", "counterparty_bic") else value


class AccountNeeded(Unreadable):
    """The file names no account and the merchant has several: a person must say which."""


# --- accounts ----------------------------------------------------------------------------------


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


# --- reading and writing in bulk ---------------------------------------------------------------


def _lock(account_ids: Iterable[int]) -> None:
    """Two deliveries for one account are compared one after the other."""
    db.session.execute(
        select(BankAccount.id)
        .where(BankAccount.id.in_(sorted(account_ids)))
        .order_by(BankAccount.id)
        .with_for_update(key_share=True)
    )


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


def _known(placed: Sequence[Placed]) -> set[tuple[int, str]]:
    wanted = {
        "accounts": [account.id for _, _, account in placed],
        "fingerprints": [fingerprint for _, fingerprint, _ in placed],
    }
    return {(row.account_id, row.fingerprint) for row in db.session.execute(_KNOWN, wanted)}


def _pending_rows(account_ids: Iterable[int], statement_id: int | None) -> list[Any]:
    query = select(Posting).where(
        Posting.account_id.in_(sorted(account_ids)),
        Posting.is_pending,
        Posting.statement_id.is_distinct_from(statement_id),
    )
    return list(db.session.scalars(query.order_by(Posting.id).limit(PENDING_READ)))


def _booked_form(
    posting: ParsedPosting, account: BankAccount, pending: Sequence[Any]
) -> Any | None:
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


class _Neighbours:
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


class _Doubles:
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


def _copy(rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        return
    db.session.flush()
    connection: Any = db.session.connection().connection.driver_connection
    with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        for row in rows:
            told = row["particulars"]
            copied = {**row, "particulars": json.dumps(told)} if told else row
            copy.write_row([copied[name] for name in _COPIED])


def _complete(same: Sequence[tuple[Any, ParsedPosting, str]]) -> None:
    """The same money in other words: what the first did not say is filled in."""
    aliases = []
    for other, posting, fingerprint in same:
        aliases.append(
            {
                "account_id": other.account_id,
                "fingerprint": fingerprint,
                "posting_id": other.id,
            }
        )
        more = {
            name: _bounded(name, getattr(posting, name))
            for name in _FILLED_IN
            if getattr(other, name) is None and getattr(posting, name) is not None
        }
        if more:
            # Suggestions and keys come from the texts: look again.
            again = {"needs_match": Posting.is_open, "keys": None}
            db.session.execute(
                update(Posting).where(Posting.id == other.id).values(**more, **again)
            )
    if aliases:
        db.session.execute(insert(PostingAlias).on_conflict_do_nothing(), aliases)


def _count_days(rows: Sequence[Mapping[str, Any]], statement_id: int | None) -> None:
    counts: dict[tuple[int, date], int] = defaultdict(int)
    for row in rows:
        on = row["booking_date"] or row["value_date"]
        if on is not None and not row["is_pending"]:
            counts[row["account_id"], on] += 1
    if not counts:
        return
    statement = insert(AccountDay)
    db.session.execute(
        statement.on_conflict_do_update(
            index_elements=["account_id", "day", "statement_id"],
            set_={"postings": AccountDay.postings + statement.excluded.postings},
        ),
        [
            {"account_id": account_id, "day": on, "statement_id": statement_id or 0, "postings": n}
            for (account_id, on), n in sorted(counts.items())
        ],
    )


def forget_old_pending(at: datetime) -> int:
    """Announced and never booked: gone from the list after ``PENDING_KEPT``; the file stays."""
    old = Posting.is_pending & (Posting.created_at < at - PENDING_KEPT)
    return int(db.session.execute(db.delete(Posting).where(old)).rowcount)  # type: ignore[attr-defined]


PENDING_KEPT = timedelta(days=30)
