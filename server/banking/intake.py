"""Postings that arrive: none twice, none lost (docs/adr/0011). Never commits.

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

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert

from server.banking.accounts import Accounts
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
from server.banking.neighbours import (
    Doubles,
    Neighbours,
    Placed,
    booked_form,
    known,
    pending_rows,
)
from server.banking.rules.identity import (
    Fingerprints,
    Likeness,
)
from server.banking.rules.ignoring import Rule, rule_for
from server.db import db, now
from server.merchants.service import lock_merchant

SLICE_ENTRIES = 500
PROBLEMS_KEPT = 200
PROBLEM_LENGTH = 500
PENDING_KEPT = timedelta(days=30)

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
        there = known(placed)
        fresh = []
        for posting, fingerprint, account in placed:
            if (account.id, fingerprint) in there:
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
        self._forget_old_pending()
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
        linked_to = db.aliased(Posting)
        linked = db.session.execute(
            select(Posting.id, linked_to.fingerprint)
            .join(linked_to, linked_to.id == Posting.duplicate_of_id)
            .where(Posting.statement_id == self.statement_id)
        )
        wrong = [row.id for row in linked if hash(row.fingerprint) in self._delivered]
        if wrong:
            db.session.execute(
                update(Posting)
                .where(Posting.id.in_(wrong))
                .values(duplicate_of_id=None, needs_match=Posting.is_open)
            )

    def _forget_old_pending(self) -> None:
        """Announced long ago and never booked: off the list; the files are kept."""
        old = Posting.is_pending & (Posting.created_at < self._at - PENDING_KEPT)
        db.session.execute(delete(Posting).where(Posting.account_id.in_(self._accounts.ids()), old))

    # --- what no delivery has told in these words ---

    def _write_fresh(self, fresh: Sequence[Placed], written: Written) -> None:
        neighbours = self._neighbours(fresh)
        doubles = Doubles(fresh)
        pending = pending_rows({account.id for _, _, account in fresh}, self.statement_id)
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
            before = booked_form(posting, account, pending)
            if before is not None:
                # A new row, so that whoever reads postings by their ids does not miss it.
                pending.remove(before)
                db.session.delete(before)
            rows.append(row)
        _complete(same)
        _copy(rows)
        _count_days(rows, self.statement_id)

    def _neighbours(self, fresh: Sequence[Placed]) -> Neighbours:
        return Neighbours(fresh, self.statement_id, self._delivered)

    def _weigh_batch(
        self,
        posting: ParsedPosting,
        account: BankAccount,
        row: dict[str, Any],
        neighbours: Neighbours,
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
            "needs_match": is_open or (posting.amount < 0 and not posting.is_pending),
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


# --- reading and writing in bulk ---------------------------------------------------------------


def _lock(account_ids: Iterable[int]) -> None:
    """Two deliveries for one account are compared one after the other."""
    db.session.execute(
        select(BankAccount.id)
        .where(BankAccount.id.in_(sorted(account_ids)))
        .order_by(BankAccount.id)
        .with_for_update(key_share=True)
    )


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
    if not same:
        return
    aliases = [
        {"account_id": other.account_id, "fingerprint": fingerprint, "posting_id": other.id}
        for other, _, fingerprint in same
    ]
    db.session.execute(insert(PostingAlias).on_conflict_do_nothing(), aliases)
    completed = []
    for other, posting, _ in same:
        whole = {
            name: _bounded(name, getattr(posting, name)) if told is None else told
            for name in _FILLED_IN
            for told in (getattr(other, name),)
        }
        if any(value != getattr(other, name) for name, value in whole.items()):
            completed.append({"id": other.id, **whole})
    if completed:
        db.session.execute(update(Posting), completed)
        # Suggestions and keys come from the texts: look again.
        ids = [row["id"] for row in completed]
        again = {"needs_match": Posting.is_open, "keys": None}
        db.session.execute(update(Posting).where(Posting.id.in_(ids)).values(**again))


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
