"""The ledger: what is booked on an order, and what follows from it. Never commits.

Every function that moves money takes the merchant's lock first. Orders that arrive are in
``intake.py``, which is a file of its own because it is the one hot path and written for bulk.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import delete, func, literal, select
from sqlalchemy.dialects.postgresql import insert

from plugin_sdk import types as wire
from plugin_sdk.schemas import OrderSchema, amount_text
from server.banking.models import Posting
from server.banking.service import payees
from server.db import db
from server.mail.models import Mail
from server.merchants.service import lock_merchant
from server.orders.models import Assignment, Invoice, MatchRequest, Order, OrderEvent, Suggestion
from server.orders.notices import (
    payee_for,
    queue_payment_information,
    queue_payment_received,
    tell_merchant,
)
from server.orders.rules import payment_status
from server.shops import service as shops
from server.shops.models import PaymentUpdate, Shop
from server.shops.rules import intent_of, status_to_write
from server.work import announce

ZERO = Decimal(0)
MAX_PARTS = 50
STARTED_AT_ONCE = 5_000
MAX_INVOICE_BYTES = 10 * 1024 * 1024
MAX_INVOICES = 20


class NotPossible(ValueError):
    """The ledger forbids it. ``args[0]`` is the message key, ``facts`` fill the message."""

    def __init__(self, message_key: str, **facts: str) -> None:
        super().__init__(message_key)
        self.facts = facts


# --- sums --------------------------------------------------------------------------------------


def paid_totals(order_ids: Collection[int]) -> dict[int, Decimal]:
    """Order id to the sum of its assignments; every id is there."""
    return _sums(Assignment.order_id, order_ids)


def assigned_totals(posting_ids: Collection[int]) -> dict[int, Decimal]:
    """Posting id to the sum of its assignments; every id is there."""
    return _sums(Assignment.posting_id, posting_ids)


def _sums(column: Any, ids: Collection[int]) -> dict[int, Decimal]:
    totals: dict[int, Decimal] = dict.fromkeys(ids, ZERO)
    if ids:
        rows = db.session.execute(
            select(column, func.sum(Assignment.amount)).where(column.in_(ids)).group_by(column)
        )
        totals.update((row[0], row[1]) for row in rows)
    return totals


class Ledger:
    """The assignments of some orders and postings, read at once; what is added counts at once.

    Only below the merchant's lock. Whoever books much gives all of it to one Ledger.
    """

    def __init__(self, order_ids: Collection[int], posting_ids: Collection[int] = ()) -> None:
        self.order_ids, self.posting_ids = set(order_ids), set(posting_ids)
        rows = select(Assignment).where(
            Assignment.order_id.in_(self.order_ids) | Assignment.posting_id.in_(self.posting_ids)
        )
        self._rows = list(db.session.scalars(rows.order_by(Assignment.id)))

    def add(self, row: Assignment) -> None:
        self._rows.append(row)
        db.session.add(row)

    def paid(self, order_id: int) -> Decimal:
        return sum((row.amount for row in self._of(order_id)), ZERO)

    def assigned(self, posting_id: int) -> Decimal:
        assert posting_id in self.posting_ids, "read with the others"
        return sum((row.amount for row in self._rows if row.posting_id == posting_id), ZERO)

    def turn(self, order_id: int, posting_id: int | None) -> int:
        """How many rows this pair has."""
        return sum(row.posting_id == posting_id for row in self._of(order_id))

    def standing(self, order_id: int) -> list[Assignment]:
        """Neither reversed nor a reversal; oldest first."""
        rows = self._of(order_id)
        reversed_ids = {row.reverses_id for row in rows} - {None}
        return [row for row in rows if row.reverses_id is None and row.id not in reversed_ids]

    def _of(self, order_id: int) -> list[Assignment]:
        assert order_id in self.order_ids, "read with the others"
        return [row for row in self._rows if row.order_id == order_id]


# --- booking -----------------------------------------------------------------------------------


def assign(
    merchant_id: int,
    posting_id: int,
    parts: Sequence[tuple[int, Decimal]],
    *,
    actor: str,
    at: datetime,
) -> list[Assignment]:
    """A person says which orders a posting pays. Raises NotPossible; all parts or none."""
    lock_merchant(merchant_id)
    posting = _posting(merchant_id, posting_id)
    if posting.is_pending or posting.is_replaced or posting.is_passed_on:
        raise NotPossible("assign_posting_not_final")
    if not parts or len(parts) > MAX_PARTS:
        raise NotPossible("assign_no_parts")
    if len({order_id for order_id, _ in parts}) != len(parts):
        raise NotPossible("assign_order_twice")
    if any(amount <= 0 for _, amount in parts):
        raise NotPossible("assign_amount_not_positive")
    ledger = Ledger([order_id for order_id, _ in parts], [posting_id])
    booked = []
    for order_id, amount in parts:
        order = _order(merchant_id, order_id)
        if not order.is_managed:
            order.is_managed = True
        booked.append(
            book_payment(order, posting, amount, ledger, origin="person", actor=actor, at=at)
        )
    return booked


def confirm_suggestion(
    merchant_id: int, suggestion_id: int, *, actor: str, at: datetime
) -> list[Assignment]:
    """Book what was suggested. Raises NotPossible if it is gone or no longer fits."""
    lock_merchant(merchant_id)
    suggestion = db.session.scalar(
        select(Suggestion).where(
            Suggestion.merchant_id == merchant_id, Suggestion.id == suggestion_id
        )
    )
    if suggestion is None:
        raise NotPossible("suggestion_gone")
    parts = [(int(p["order_id"]), Decimal(p["amount"])) for p in suggestion.orders]
    return assign(merchant_id, suggestion.posting_id, parts, actor=actor, at=at)


def book_payment(  # noqa: PLR0913  an assignment has that many facts
    order: Order,
    posting: Posting,
    amount: Decimal,
    ledger: Ledger,
    *,
    origin: str,
    actor: str,
    at: datetime,
    probability: float | None = None,
    evidence: Sequence[str] = (),
) -> Assignment:
    """So much of the posting pays so much of the order, with all that follows.

    The caller holds the merchant's lock. Raises NotPossible if the posting has not that much
    left or the currencies differ.
    """
    assert order.merchant_id == posting.merchant_id, "tenants never mix"
    if posting.currency != order.currency:
        raise NotPossible("assign_other_currency", number=order.number)
    left = posting.amount - ledger.assigned(posting.id)
    if amount > left:
        raise NotPossible("assign_more_than_left", left=amount_text(left))
    row = _add_row(ledger, order, posting.id, amount, origin, actor, at)
    row.probability, row.evidence = probability, list(evidence)
    _refresh_posting(posting, left - amount, keep_suggestions=origin == "auto")
    _note(order, "assigned", actor, at, amount=amount_text(amount), posting_id=posting.id)
    settle(order, at, ledger)
    return row


def mark_as_paid(merchant_id: int, order_id: int, *, actor: str, at: datetime) -> Assignment:
    """A person knows that the rest was paid (S80): booked without a posting, like any other."""
    lock_merchant(merchant_id)
    order = _order(merchant_id, order_id)
    ledger = Ledger([order_id])
    rest = order.total - ledger.paid(order_id)
    if rest <= 0:
        raise NotPossible("already_paid", number=order.number)
    if not order.is_managed:
        order.is_managed = True
    row = _add_row(ledger, order, None, rest, "person", actor, at)
    db.session.flush()
    _note(order, "marked_as_paid", actor, at, amount=amount_text(rest))
    settle(order, at, ledger)
    return row


def undo(merchant_id: int, assignment_id: int, *, actor: str, at: datetime) -> Assignment:
    """Reverse an assignment. The posting is open again and is never booked by itself again."""
    lock_merchant(merchant_id)
    row = db.session.scalar(
        select(Assignment).where(
            Assignment.merchant_id == merchant_id, Assignment.id == assignment_id
        )
    )
    if row is None:
        raise NotPossible("assignment_unknown")
    reversed_already = db.session.scalar(
        select(Assignment.id).where(Assignment.reverses_id == row.id)
    )
    if row.reverses_id is not None or reversed_already is not None:
        raise NotPossible("already_undone")
    order = _order(merchant_id, row.order_id)
    ledger = Ledger([order.id], [row.posting_id] if row.posting_id is not None else [])
    back = _add_row(ledger, order, row.posting_id, -row.amount, "person", actor, at)
    back.reverses_id = row.id
    db.session.flush()
    if row.posting_id is not None:
        posting = _posting(merchant_id, row.posting_id)
        posting.is_blocked = posting.needs_match = True
        _refresh_posting(posting, posting.amount - ledger.assigned(posting.id))
    _note(order, "assignment_undone", actor, at, amount=amount_text(row.amount))
    order.needs_match = True
    settle(order, at, ledger)
    request_match(merchant_id, at)
    return back


def ignore_posting(merchant_id: int, posting_id: int, *, actor: str, at: datetime) -> None:
    """Take a posting off the list without assigning it. ``actor`` goes to its history."""
    lock_merchant(merchant_id)
    posting = _posting(merchant_id, posting_id)
    posting.ignored_at, posting.ignored_by, posting.ignored_because = at, actor, "person"
    posting.is_open = posting.needs_match = False
    drop_suggestions([posting.id])


def decide_duplicate(
    merchant_id: int, posting_id: int, *, is_same: bool, actor: str, at: datetime
) -> None:
    """A person says whether a posting is the one that it looks like (K46).

    The same: off the list, and the link stays. Another: assigned like any other.
    """
    lock_merchant(merchant_id)
    posting = _posting(merchant_id, posting_id)
    if posting.duplicate_of_id is None:
        raise NotPossible("not_a_duplicate")
    if is_same and posting.is_assigned:
        raise NotPossible("duplicate_is_assigned")
    if is_same:
        posting.ignored_at, posting.ignored_by, posting.ignored_because = at, actor, "duplicate"
        posting.is_open = posting.needs_match = False
        drop_suggestions([posting.id])
        return
    posting.duplicate_of_id = None
    posting.needs_match = posting.is_open
    request_match(merchant_id, at)


def start_assignment(merchant_id: int, account_id: int, *, at: datetime) -> int:
    """Postings from before the account's first day take part after all (K48), at most
    ``STARTED_AT_ONCE``, the newest first. Returns how many."""
    lock_merchant(merchant_id)
    old = select(Posting).where(
        Posting.merchant_id == merchant_id, Posting.account_id == account_id, Posting.no_assignment
    )
    newest = old.order_by(Posting.id.desc()).limit(STARTED_AT_ONCE)
    postings = list(db.session.scalars(newest.execution_options(populate_existing=True)))
    assigned = assigned_totals([posting.id for posting in postings])
    for posting in postings:
        posting.no_assignment = False
        _refresh_posting(posting, posting.amount - assigned[posting.id])
        posting.needs_match = posting.is_open
    if postings:
        request_match(merchant_id, at)
    return len(postings)


def unignore_posting(merchant_id: int, posting_id: int, *, actor: str, at: datetime) -> None:
    """Back on the list, whatever took it off; it is looked at again."""
    lock_merchant(merchant_id)
    posting = _posting(merchant_id, posting_id)
    posting.ignored_at, posting.ignored_by, posting.ignored_because = None, actor, None
    posting.no_assignment, posting.needs_match = False, True
    _refresh_posting(posting, posting.amount - assigned_totals([posting.id])[posting.id])
    request_match(merchant_id, at)


# --- what follows ------------------------------------------------------------------------------


def settle(order: Order, at: datetime, ledger: Ledger | None = None) -> None:
    """Bring the status up to date with the ledger, and queue what follows from a change.

    The only place that writes ``order.payment_status``.
    """
    before = order.payment_status
    ledger = ledger or Ledger([order.id])
    paid = ledger.paid(order.id)
    after = payment_status(
        order.total,
        paid,
        cancelled=order.cancelled_at is not None,
        removed=order.removed_at is not None,
        managed=order.is_managed,
    )
    if after == before:
        return
    order.payment_status, order.changed_at = after.value, at
    _note(order, "status_changed", "", at, before=before, after=after.value)
    if after is wire.PaymentStatus.PAID:
        has_withheld = _stop_asking(order)
        _thank(order, ledger, has_withheld=has_withheld)
    else:
        withhold_mails(order, "payment_received", "the order is not paid any more")
    if after is wire.PaymentStatus.UNPAID:
        _ask_after_all(order)
    if order.removed_at is None:
        _tell_shop(order, after, paid, at)


def _stop_asking(order: Order) -> bool:
    """Nobody is asked for money that has arrived. True if an older thank-you was withheld."""
    waiting = select(Mail).where(
        Mail.order_id == order.id,
        ((Mail.kind == "payment_information") & (Mail.status == "queued"))
        | ((Mail.kind == "payment_received") & (Mail.status == "withheld")),
    )
    mails = list(db.session.scalars(waiting.with_for_update(skip_locked=True)))
    for mail in mails:
        if mail.kind == "payment_information":
            mail.withhold("the order was paid before it was sent")
    return any(mail.kind == "payment_received" for mail in mails)


def _thank(order: Order, ledger: Ledger, *, has_withheld: bool) -> None:
    """Money was seen: thank for it. An order that a person marked as paid is not mailed."""
    rows = ledger.standing(order.id)
    if any(row.posting_id is not None for row in rows):
        if has_withheld:
            _drop_withheld(order, "payment_received")
        queue_payment_received(order, rows, ledger.paid(order.id))


def _ask_after_all(order: Order) -> None:
    """Open again, and the customer was never asked, because a payment seemed to be there."""
    told: wire.Order = OrderSchema().load(order.wire)
    account = payee_for(told, order.shop_id, payees(order.merchant_id))
    if account is None or not _drop_withheld(order, "payment_information"):
        return
    queue_payment_information(
        db.session.get_one(Shop, order.shop_id),
        told,
        wire.PaymentCode(order.payment_code),
        order.id,
        order.payment_reference,
        account,
    )


def _drop_withheld(order: Order, kind: str) -> bool:
    """Make room for a mail that says what is true now. True if there was one."""
    dropped = db.session.execute(
        delete(Mail).where(Mail.order_id == order.id, Mail.kind == kind, Mail.status == "withheld")
    )
    return bool(dropped.rowcount)  # type: ignore[attr-defined]


def _tell_shop(order: Order, status: wire.PaymentStatus, paid: Decimal, at: datetime) -> None:
    shop = db.session.get_one(Shop, order.shop_id)
    code = wire.PaymentCode(order.payment_code)
    intent = intent_of(status, code)
    if intent is None or (intent is wire.Intent.UNPAID and not shops.must_hear_of_unpaid(order.id)):
        shops.withhold_updates(order.id)
        return  # the shop never heard of the payment, so there is nothing to take back
    mapping = shops.mapping_of(shop)
    open_statuses = mapping.get(code.value, {}).get("open_statuses") or ()
    shop_status = status_to_write(mapping, code, intent)
    if intent is wire.Intent.UNPAID:
        paid_status = status_to_write(mapping, code, wire.Intent.PAID)
        shop_status = next(iter(open_statuses), None)  # type: ignore[call-overload]
        open_statuses = (paid_status,) if paid_status else ()
    shops.queue_update(
        wire.PaymentUpdate(
            id="",
            external_id=order.external_id,
            number=order.number,
            payment_status=status,
            paid_total=paid,
            currency=order.currency,
            intent=intent,
            shop_status=shop_status,
            open_statuses=tuple(open_statuses),  # type: ignore[arg-type]
            created_at=at,
        ),
        shop,
        order.id,
        at,
    )


def acknowledge_update(
    shop: Shop, update_id: int, ack: wire.Acknowledgement, at: datetime
) -> PaymentUpdate | None:
    """What the shop's side said, and the notice that the merchant may get for it."""
    verdict = shops.acknowledge(shop, update_id, ack, at)
    if verdict is None:
        return None
    if verdict.tell is not None:
        tell_merchant(verdict.tell, shop, verdict.update, at)
    return verdict.update


def hear_heartbeat(shop: Shop, heartbeat: wire.Heartbeat, at: datetime) -> None:
    notice = shops.hear_heartbeat(shop, heartbeat, at)
    if notice is not None:
        tell_merchant(notice, shop, None, at)


def expire_updates(at: datetime) -> int:
    """After 168 h a payment update ends, and the merchant is told once an order (S42)."""
    ended = shops.expire_updates(at)
    for row in ended:
        tell_merchant("transfer_failed", db.session.get_one(Shop, row.shop_id), row, at)
    return len(ended)


def request_match(merchant_id: int, at: datetime) -> None:
    """Look again, soon."""
    waiting = select(MatchRequest.id).where(
        MatchRequest.merchant_id == merchant_id,
        MatchRequest.status == "queued",
        MatchRequest.due_at <= at,
    )
    row = select(literal(merchant_id), literal("queued"), literal(0), literal(at), literal(at))
    columns = ["merchant_id", "status", "attempts", "created_at", "due_at"]
    db.session.execute(insert(MatchRequest).from_select(columns, row.where(~waiting.exists())))
    announce(MatchRequest)


def take_match_requests(merchant_id: int, at: datetime) -> None:
    """All that wait are answered by the run that begins now."""
    db.session.execute(
        delete(MatchRequest).where(
            MatchRequest.merchant_id == merchant_id,
            MatchRequest.status == "queued",
            MatchRequest.due_at <= at,
        )
    )


def drop_suggestions(posting_ids: Collection[int]) -> None:
    db.session.execute(delete(Suggestion).where(Suggestion.posting_id.in_(posting_ids)))


# --- invoices ----------------------------------------------------------------------------------


def store_invoice(order: Order, number: str, pdf: bytes, at: datetime) -> Invoice:
    """Keep the PDF of an invoice (S60); the same number again replaces the file.

    Raises NotPossible if it is no PDF, too large, or one too many.
    """
    if not pdf.startswith(b"%PDF-"):
        raise NotPossible("invoice_no_pdf")
    if len(pdf) > MAX_INVOICE_BYTES:
        raise NotPossible("invoice_too_large")
    invoice = db.session.scalar(
        select(Invoice).where(Invoice.order_id == order.id, Invoice.number == number)
    )
    if invoice is None:
        count = select(func.count()).select_from(Invoice).where(Invoice.order_id == order.id)
        if (db.session.scalar(count) or 0) >= MAX_INVOICES:
            raise NotPossible("invoice_too_many")
        invoice = Invoice(merchant_id=order.merchant_id, order_id=order.id, number=number)
        db.session.add(invoice)
    invoice.pdf, invoice.pdf_size_bytes, invoice.received_at = pdf, len(pdf), at
    return invoice


# --- furniture ---------------------------------------------------------------------------------


def order_of(merchant_id: int, order_id: int) -> Order | None:
    return db.session.scalar(
        select(Order).where(Order.merchant_id == merchant_id, Order.id == order_id)
    )


def _order(merchant_id: int, order_id: int) -> Order:
    """As it is now that we hold the lock: a view may have loaded it before."""
    order = db.session.scalar(
        select(Order)
        .where(Order.merchant_id == merchant_id, Order.id == order_id)
        .execution_options(populate_existing=True)
    )
    if order is None:
        raise NotPossible("order_unknown")
    return order


def _posting(merchant_id: int, posting_id: int) -> Posting:
    """As it is now that we hold the lock."""
    posting = db.session.scalar(
        select(Posting)
        .where(Posting.merchant_id == merchant_id, Posting.id == posting_id)
        .execution_options(populate_existing=True)
    )
    if posting is None:
        raise NotPossible("posting_unknown")
    return posting


def _add_row(
    ledger: Ledger,
    order: Order,
    posting_id: int | None,
    amount: Decimal,
    origin: str,
    actor: str,
    at: datetime,
) -> Assignment:
    row = Assignment(
        merchant_id=order.merchant_id,
        order_id=order.id,
        posting_id=posting_id,
        amount=amount,
        turn=ledger.turn(order.id, posting_id),
        origin=origin,
        decided_by=actor,
        created_at=at,
    )
    ledger.add(row)
    return row


def _refresh_posting(posting: Posting, left: Decimal, *, keep_suggestions: bool = False) -> None:
    """``keep_suggestions``: the matcher has dropped those of its whole batch already."""
    posting.is_open = left > 0 and posting.may_be_open
    posting.is_assigned = left != posting.amount
    if not posting.is_open:
        posting.needs_match = False
        if not keep_suggestions:
            drop_suggestions([posting.id])


def withhold_mails(order: Order, kind: str, why: str) -> None:
    """In the same transaction as the payment: nobody is asked for money that has arrived."""
    waiting = select(Mail).where(
        Mail.order_id == order.id, Mail.kind == kind, Mail.status == "queued"
    )
    for mail in db.session.scalars(waiting.with_for_update(skip_locked=True)):
        mail.withhold(why)


def no_longer_asked(mails: Sequence[Mail]) -> list[Mail]:
    """Those that ask for money of an order that is not open any more."""
    asked = {mail.order_id for mail in mails if mail.kind == "payment_information"}
    still = select(Order.id).where(
        Order.id.in_(asked), Order.payment_status.in_(["unpaid", "partially_paid"])
    )
    moot = asked - set(db.session.scalars(still)) if asked else set()
    return [mail for mail in mails if mail.kind == "payment_information" and mail.order_id in moot]


def _note(order: Order, kind: str, actor: str, at: datetime, **facts: Any) -> None:
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
