"""The ledger itself: the rows of some orders and postings, their sums, and how a row is written.

A file of its own because whatever moves money (``service``, ``credit``, ``returns``) stands on
it. What follows from a change is in ``settlement.py``. Never commits.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

from sqlalchemy import BigInteger, ColumnElement, cast, delete, func, or_, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import aliased

from server.banking.models import Posting
from server.callbacks.service import listening
from server.db import db
from server.letters.models import Letter
from server.mail.models import Mail
from server.mail.service import insert_mails
from server.merchants.models import User
from server.merchants.notices import wanting
from server.merchants.service import settings_of
from server.merchants.settings import MerchantSettings
from server.orders.models import (
    Assignment,
    DeferralRequest,
    Order,
    OrderEvent,
    Refund,
    Suggestion,
)
from server.orders.rules import REFUND_ARRANGED, REFUND_PAID
from server.shops.models import PaymentUpdate

ZERO = Decimal(0)
PAYMENT_NOTICES = ("order_paid", "order_partially_paid", "order_overpaid")
"""What those of the merchant's people hear of payments who chose to (K40)."""
Row = TypeVar("Row", Order, Posting)


class NotPossible(ValueError):
    """The ledger forbids it. ``args[0]`` is the message key, ``facts`` fill the message."""

    def __init__(self, message_key: str, **facts: str) -> None:
        super().__init__(message_key)
        self.facts = facts


# --- sums --------------------------------------------------------------------------------------


def paid_totals(order_ids: Collection[int]) -> dict[int, Decimal]:
    """Order id to the sum of its assignments; every id is there."""
    return _sums(Assignment.order_id, order_ids)


def taken_totals(posting_ids: Collection[int]) -> dict[int, Decimal]:
    """Posting id to what of it is assigned, or goes back without an order; every id is there."""
    totals = _sums(Assignment.posting_id, posting_ids)
    for posting_id, amount in _refund_sums(
        Refund.posting_id, posting_ids, REFUND_ARRANGED, Refund.order_id.is_(None)
    ).items():
        totals[posting_id] += amount
    return totals


def refunded_totals(order_ids: Collection[int]) -> dict[int, Decimal]:
    """Order id to the sum of the repayments that have left; every id is there."""
    totals: dict[int, Decimal] = dict.fromkeys(order_ids, ZERO)
    return totals | _refund_sums(Refund.order_id, order_ids, REFUND_PAID)


def _sums(column: Any, ids: Collection[int]) -> dict[int, Decimal]:
    totals: dict[int, Decimal] = dict.fromkeys(ids, ZERO)
    if ids:
        rows = db.session.execute(
            select(column, func.sum(Assignment.amount)).where(is_any(column, ids)).group_by(column)
        )
        totals.update((row[0], row[1]) for row in rows)
    return totals


def _refund_sums(
    column: Any, ids: Collection[int], statuses: Collection[str], *which: ColumnElement[bool]
) -> dict[int, Decimal]:
    if not ids:
        return {}
    sums = select(column, func.sum(Refund.amount)).where(
        is_any(column, ids), Refund.status.in_(statuses), *which
    )
    return {row[0]: row[1] for row in db.session.execute(sums.group_by(column))}


def taken_of_posting() -> ColumnElement[Any]:
    """As ``taken_totals``, as a subquery correlated with ``Posting``."""
    assigned = (
        select(func.coalesce(func.sum(Assignment.amount), 0))
        .where(Assignment.posting_id == Posting.id)
        .correlate(Posting)
        .scalar_subquery()
    )
    goes_back = (
        select(func.coalesce(func.sum(Refund.amount), 0))
        .where(Refund.posting_id == Posting.id, Refund.order_id.is_(None))
        .where(Refund.status.in_(REFUND_ARRANGED))
        .correlate(Posting)
        .scalar_subquery()
    )
    return assigned + goes_back


def is_any(column: Any, ids: Collection[int]) -> Any:
    """``column IN ids`` as one parameter: the statement stays the same, however many there are."""
    return column == func.any(cast(sorted(ids), ARRAY(BigInteger)))


def is_standing() -> ColumnElement[bool]:
    """Of ``Assignment``: neither reversed nor a reversal; ``Ledger.standing`` for a query."""
    reversal = aliased(Assignment)
    undone = select(reversal.id).where(reversal.reverses_id == Assignment.id).exists()
    return Assignment.reverses_id.is_(None) & ~undone


class Ledger:
    """The assignments of some orders and postings, read at once; what is added counts at once.

    Their repayments are read when they are first asked for; whoever arranges one asks a new
    Ledger afterwards. Only below the merchant's lock. Whoever books much gives all of it to one
    Ledger, which also asks but once what each shop has set. ``is_empty``: the caller has just seen
    that there is neither assignment nor repayment, and only wants to show what is owed.
    """

    def __init__(
        self,
        order_ids: Collection[int],
        posting_ids: Collection[int] = (),
        *,
        is_empty: bool = False,
    ) -> None:
        self.order_ids, self.posting_ids = set(order_ids), set(posting_ids)
        self._of_order: dict[int, list[Assignment]] = defaultdict(list)
        self._of_posting: dict[int | None, list[Assignment]] = defaultdict(list)
        self._settings: dict[int, MerchantSettings] = {}
        self._callbacks: dict[int, list[int]] = {}
        self._listeners: Mapping[str, Sequence[User]] | None = None
        self._quiet: set[int] = set()
        self._repayments: Sequence[Refund] | None = () if is_empty else None
        self.outbox: list[dict[str, Any]] = []
        if is_empty:
            return
        rows = select(Assignment).where(
            is_any(Assignment.order_id, self.order_ids)
            | is_any(Assignment.posting_id, self.posting_ids)
        )
        for row in db.session.scalars(rows.order_by(Assignment.id)):
            self._take(row)

    def _take(self, row: Assignment) -> None:
        self._of_order[row.order_id].append(row)
        self._of_posting[row.posting_id].append(row)

    def listen(self) -> None:
        """Find out at once which orders have no mail, letter or news for the shop waiting.

        For whoever books many; what those are told is laid into the ``outbox``, and the caller
        writes it at the end by ``post``.
        """
        mails = select(Mail.order_id).where(
            is_any(Mail.order_id, self.order_ids), Mail.status.in_(["queued", "withheld"])
        )
        news = select(PaymentUpdate.order_id).where(
            is_any(PaymentUpdate.order_id, self.order_ids), PaymentUpdate.status == "queued"
        )
        letters = select(Letter.order_id).where(
            is_any(Letter.order_id, self.order_ids), Letter.status.in_(["queued", "withheld"])
        )
        self._quiet = self.order_ids - set(db.session.scalars(mails.union(news, letters)))
        requests = select(DeferralRequest.order_id).where(
            is_any(DeferralRequest.order_id, self.order_ids), DeferralRequest.status == "open"
        )
        self._quiet -= set(db.session.scalars(requests))

    def is_quiet(self, order_id: int) -> bool:
        """Nothing waits that the next mail or news would have to take back."""
        return order_id in self._quiet

    def break_silence(self, order_id: int) -> None:
        """From now on something waits for this order."""
        self._quiet.discard(order_id)

    def post(self) -> None:
        """Write the mails of the outbox."""
        insert_mails(self.outbox)
        self.outbox.clear()

    def paid(self, order_id: int) -> Decimal:
        """What counts as paid: money, what a person marked, and differences."""
        return sum((row.amount for row in self._of(order_id)), ZERO)

    def owed(self, order: Order) -> Decimal:
        """What the order must bring in to be paid: its total, and fees where they are claimed
        (K28)."""
        total = max(order.total, ZERO)
        if order.fee_total and self.settings(order).of(order.payment_code).claim_fees:
            return total + order.fee_total
        return total

    def refunded(self, order_id: int) -> Decimal:
        """What of the order was paid back."""
        return self._repaid(order_id, REFUND_PAID)

    def arranged(self, order_id: int) -> Decimal:
        """What of the order goes back or went: spoken for, whether the bank has it yet or not."""
        return self._repaid(order_id, REFUND_ARRANGED)

    def _repaid(self, order_id: int, statuses: Collection[str]) -> Decimal:
        assert order_id in self.order_ids, "read with the others"
        rows = (row for row in self.repayments() if row.order_id == order_id)
        return sum((row.amount for row in rows if row.status in statuses), ZERO)

    def repayments(self) -> Sequence[Refund]:
        """Of the orders, and of the postings without an order; without the cancelled ones."""
        if self._repayments is None:
            of_order = is_any(Refund.order_id, self.order_ids)
            of_posting = is_any(Refund.posting_id, self.posting_ids) & Refund.order_id.is_(None)
            query = select(Refund).where(
                or_(of_order, of_posting), Refund.status.in_(REFUND_ARRANGED)
            )
            query = query.order_by(Refund.id).execution_options(populate_existing=True)
            self._repayments = db.session.scalars(query).all()
        return self._repayments

    def keep_for_repayments(self, order: Order, taken: Decimal) -> None:
        """Raises NotPossible if so much less on the order left too little for what goes back."""
        arranged = self.arranged(order.id)
        if arranged > ZERO and self.paid(order.id) - taken < arranged:
            raise NotPossible("refund_under_way", number=order.number)

    def rest(self, order: Order) -> Decimal:
        """What is missing; negative is too much, without what goes back already.

        Fees that were charged may be paid, and need not where they are not claimed. Nobody owes
        what was paid back to him.
        """
        paid = self.paid(order.id)
        missing = self.owed(order) - paid
        if missing > ZERO:
            return missing if not self.refunded(order.id) else ZERO
        too_much = paid - self.arranged(order.id) - max(order.total, ZERO) - order.fee_total
        return -max(too_much, ZERO)

    def surplus(self, order: Order) -> Decimal:
        """How much more than its total, and what its reminders charged, was paid and stays.

        What goes back or went is not among it. A difference is no money, so it is none of it: the
        missing rest that comes later after all, or a lower total, makes nobody pay too much; and
        what was written off as too much is not too much (K21).
        """
        rows = self._of(order.id)
        money = sum((row.amount for row in rows if row.because is None), ZERO)
        counted = min(money, sum((row.amount for row in rows), ZERO))
        counted -= self.arranged(order.id)
        return max(counted - max(order.total, ZERO) - order.fee_total, ZERO)

    def taken(self, posting_id: int) -> Decimal:
        """What of a posting is assigned, or goes back without an order."""
        assert posting_id in self.posting_ids, "read with the others"
        assigned = sum((row.amount for row in self._of_posting[posting_id]), ZERO)
        rows = [row for row in self.repayments() if row.order_id is None]
        return assigned + sum(
            (
                row.amount
                for row in rows
                if row.posting_id == posting_id and row.status in REFUND_ARRANGED
            ),
            ZERO,
        )

    def turn(self, order_id: int, posting_id: int | None) -> int:
        """How many rows this pair has."""
        return sum(row.posting_id == posting_id for row in self._of(order_id))

    def standing(self, order_id: int) -> list[Assignment]:
        """Neither reversed nor a reversal; oldest first."""
        return _standing(self._of(order_id))

    def standing_of(self, posting_id: int) -> list[Assignment]:
        """What stands of a posting, on whatever order; oldest first."""
        assert posting_id in self.posting_ids, "read with the others"
        return _standing(self._of_posting[posting_id])

    def completing(
        self, order_id: int, row_id: int, *, reversed_as: str | None = None
    ) -> list[Assignment]:
        """The differences that complete a row: those that stand, or were so reversed."""
        rows = [row for row in self._of(order_id) if row.completes_id == row_id]
        if reversed_as is None:
            standing = self.standing(order_id)
            return [row for row in rows if row in standing]
        backs = {row.reverses_id for row in self._of(order_id) if row.origin == reversed_as}
        return [row for row in rows if row.id in backs]

    def settings(self, order: Order) -> MerchantSettings:
        """What is in force for the order's shop."""
        found = self._settings.get(order.shop_id)
        if found is None:
            found = self._settings[order.shop_id] = settings_of(order.merchant_id, order.shop_id)
        return found

    def callbacks(self, order: Order) -> list[int]:
        """Ids of the callback addresses that hear of the order's shop; asked but once a shop."""
        found = self._callbacks.get(order.shop_id)
        if found is None:
            found = listening(order.merchant_id, order.shop_id)
            self._callbacks[order.shop_id] = found
        return found

    def listeners(self, merchant_id: int) -> Mapping[str, Sequence[User]]:
        """Who wants to hear of payments, by kind of notice; asked but once."""
        if self._listeners is None:
            self._listeners = wanting(merchant_id, PAYMENT_NOTICES)
        return self._listeners

    def write(
        self,
        order: Order,
        posting_id: int | None,
        amount: Decimal,
        *,
        origin: str,
        actor: str,
        at: datetime,
    ) -> Assignment:
        """A new row. Whether it may be written is the caller's question."""
        row = Assignment(
            merchant_id=order.merchant_id,
            order_id=order.id,
            posting_id=posting_id,
            amount=amount,
            turn=self.turn(order.id, posting_id),
            origin=origin,
            decided_by=actor,
            created_at=at,
        )
        self._take(row)
        db.session.add(row)
        return row

    def reverse(
        self, order: Order, row: Assignment, *, origin: str, actor: str, at: datetime
    ) -> Assignment:
        """The row that takes ``row`` back; the differences that completed it go with it."""
        db.session.flush()
        completing = self.completing(order.id, row.id)
        back = self._reverse(order, row, origin, actor, at)
        for difference in completing:
            self._reverse(order, difference, origin, actor, at)
        db.session.flush()
        return back

    def _reverse(
        self, order: Order, row: Assignment, origin: str, actor: str, at: datetime
    ) -> Assignment:
        back = self.write(order, row.posting_id, -row.amount, origin=origin, actor=actor, at=at)
        back.reverses_id, back.because = row.id, row.because
        return back

    def _of(self, order_id: int) -> list[Assignment]:
        assert order_id in self.order_ids, "read with the others"
        return self._of_order[order_id]


def _standing(rows: Sequence[Assignment]) -> list[Assignment]:
    reversed_ids = {row.reverses_id for row in rows} - {None}
    return [row for row in rows if row.reverses_id is None and row.id not in reversed_ids]


# --- rows as they are now ----------------------------------------------------------------------


def order_now(merchant_id: int, order_id: int) -> Order:
    """As it is now that we hold the lock: a view may have loaded it before."""
    return _row_now(Order, merchant_id, order_id, "order_unknown")


def orders_now(merchant_id: int, order_ids: Collection[int]) -> dict[int, Order]:
    """Those of them that the merchant has, by id, as they are now that we hold the lock."""
    query = select(Order).where(Order.merchant_id == merchant_id, Order.id.in_(order_ids))
    rows = db.session.scalars(query.execution_options(populate_existing=True))
    return {row.id: row for row in rows}


def posting_now(merchant_id: int, posting_id: int) -> Posting:
    """As it is now that we hold the lock."""
    return _row_now(Posting, merchant_id, posting_id, "posting_unknown")


def _row_now(table: type[Row], merchant_id: int, row_id: int, unknown: str) -> Row:
    query = select(table).where(table.merchant_id == merchant_id, table.id == row_id)
    row = db.session.scalar(query.execution_options(populate_existing=True))
    if row is None:
        raise NotPossible(unknown)
    return row


def refresh_posting(posting: Posting, left: Decimal, *, keep_suggestions: bool = False) -> None:
    """``keep_suggestions``: the matcher has dropped those of its whole batch already."""
    posting.is_open = left > 0 and posting.may_be_open
    posting.is_assigned = left != posting.amount
    if not posting.is_open:
        posting.needs_match = False
        if not keep_suggestions:
            drop_suggestions([posting.id])


def drop_suggestions(posting_ids: Collection[int]) -> None:
    db.session.execute(delete(Suggestion).where(Suggestion.posting_id.in_(posting_ids)))


def note(order: Order, kind: str, actor: str, at: datetime, **facts: Any) -> None:
    """A line of the order's history."""
    db.session.add(
        OrderEvent(
            merchant_id=order.merchant_id,
            order_id=order.id,
            kind=kind,
            actor=actor,
            at=at,
            facts=facts,
        )
    )
