"""What people and the matcher do with money: assign, undo, move, ignore. Never commits.

Every function that moves money takes the merchant's lock first. What it stands on is in
``ledger.py``, what follows in ``settlement.py``; customers' credit and returned money are subjects
of their own. Orders that arrive are in ``intake.py``, the one hot path, written for bulk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import Row, delete, func, literal, select
from sqlalchemy.dialects.postgresql import insert

from plugin_sdk import types as wire
from plugin_sdk.schemas import amount_text
from server.banking.models import Posting
from server.db import db
from server.mail.models import Mail
from server.merchants.service import lock_merchant
from server.orders.asking import (
    ASKING,
    MORE_TIME,
    OVERDUE,
    REMINDERS,
    ask_first,
    withhold_mails,
)
from server.orders.charges import drop_lost_charges
from server.orders.effects import mapping_changed
from server.orders.invoice_letters import invoice_came
from server.orders.keys import rewrite_keys
from server.orders.ledger import (
    ZERO,
    Ledger,
    NotPossible,
    drop_suggestions,
    note,
    order_now,
    paid_totals,
    posting_now,
    refresh_posting,
    taken_totals,
)
from server.orders.merchant_notices import tell_merchant, tell_of_order
from server.orders.models import (
    OWING_STATUSES,
    Assignment,
    Credit,
    Invoice,
    MatchRequest,
    Order,
    Suggestion,
)
from server.orders.order_notices import tell_of_payment
from server.orders.settlement import PAID_FIRST, cancel_again, revive, settle
from server.shops import service as shops
from server.shops.models import PaymentUpdate, Shop
from server.work import announce

__all__ = [
    "Ledger",
    "NotPossible",
    "taken_totals",
    "drop_suggestions",
    "paid_totals",
    "settle",
]

MAX_PARTS = 50
STARTED_AT_ONCE = 5_000
MAX_INVOICE_BYTES = 10 * 1024 * 1024
MAX_INVOICES = 20
MAX_ADDITIONAL_NAME = 200
MAX_ADDITIONAL_NUMBER = 64
DIFFERENCES: Final = ("bank_fee", "discount", "tolerance", "goodwill", "other")
"""Why an order may count as paid though a little is missing (C7)."""
ASKING_MAILS: Final = {
    **dict.fromkeys(ASKING, OWING_STATUSES),
    OVERDUE: ("cancelled",),
    MORE_TIME: (*OWING_STATUSES, "cancelled"),
    "partially_paid": ("partially_paid",),
}
"""Kinds of mails that ask a customer for money, and the statuses in which an order owes it."""
NO_DIFFERENCES: Final[Mapping[int, str]] = MappingProxyType({})


# --- booking -----------------------------------------------------------------------------------


def assign(
    merchant_id: int,
    posting_id: int,
    parts: Sequence[tuple[int, Decimal]],
    *,
    actor: str,
    at: datetime,
    differences: Mapping[int, str] = NO_DIFFERENCES,
) -> list[Assignment]:
    """A person says which orders a posting pays. Raises NotPossible; all parts or none.

    ``differences``: order id to why it is paid all the same if a rest is missing (C7).
    """
    lock_merchant(merchant_id)
    posting = posting_now(merchant_id, posting_id)
    if posting.is_pending or posting.is_replaced or posting.is_passed_on:
        raise NotPossible("assign_posting_not_final")
    if posting.is_kept or posting.is_returned:
        raise NotPossible("posting_is_kept" if posting.is_kept else "posting_is_returned")
    if not parts or len(parts) > MAX_PARTS:
        raise NotPossible("assign_no_parts")
    if len({order_id for order_id, _ in parts}) != len(parts):
        raise NotPossible("assign_order_twice")
    if any(amount <= 0 for _, amount in parts):
        raise NotPossible("assign_amount_not_positive")
    ledger = Ledger([order_id for order_id, _ in parts], [posting_id])
    booked = []
    for order_id, amount in parts:
        booked.append(
            book_payment(
                order_now(merchant_id, order_id),
                posting,
                amount,
                ledger,
                origin="person",
                actor=actor,
                at=at,
                because=differences.get(order_id),
            )
        )
    return booked


def confirm_suggestion(
    merchant_id: int, suggestion_id: int, *, actor: str, at: datetime
) -> list[Assignment]:
    """Book what was suggested. Raises NotPossible if it is gone or no longer fits.

    A part of it may say ``because``: then the rest of its order is booked as a difference.
    Returned money (``returns_id``) is booked by ``returns.book_return``.
    """
    lock_merchant(merchant_id)
    suggestion = db.session.scalar(
        select(Suggestion).where(
            Suggestion.merchant_id == merchant_id, Suggestion.id == suggestion_id
        )
    )
    if suggestion is None or suggestion.returns_id is not None:
        raise NotPossible("suggestion_gone")
    parts = [(int(p["order_id"]), Decimal(p["amount"])) for p in suggestion.orders]
    because = {int(p["order_id"]): p["because"] for p in suggestion.orders if p.get("because")}
    return assign(
        merchant_id, suggestion.posting_id, parts, actor=actor, at=at, differences=because
    )


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
    evidence: Sequence[Any] = (),
    because: str | None = None,
    left_over: Decimal = ZERO,
) -> Assignment:
    """So much of the posting pays so much of the order, with all that follows.

    The caller holds the merchant's lock. What the order then still owes is booked as a difference
    if ``because`` says why, or by itself within the tolerance (K21). ``left_over``: what the
    posting has too much when all that it pays is booked; the customer is told of it. Raises
    NotPossible if the posting has not that much left or the currencies differ.
    """
    assert order.merchant_id == posting.merchant_id, "tenants never mix"
    if because is not None and because not in DIFFERENCES:
        raise NotPossible("difference_reason_unknown")
    if posting.currency != order.currency:
        raise NotPossible("assign_other_currency", number=order.number)
    left = posting.amount - ledger.taken(posting.id)
    if amount > left:
        raise NotPossible("assign_more_than_left", left=amount_text(left))
    if not order.is_managed:
        order.is_managed, order.monitor_at = True, None
    drop_lost_charges(order)
    row = ledger.write(order, posting.id, amount, origin=origin, actor=actor, at=at)
    row.probability, row.evidence = probability, list(evidence)
    refresh_posting(posting, left - amount, keep_suggestions=origin == "auto")
    note(order, "assigned", actor, at, amount=amount_text(amount), posting_id=posting.id)
    _book_difference(order, row, ledger, because)
    was_cancelled = order.cancelled_at is not None
    if was_cancelled and ledger.settings(order).of(order.payment_code).revive_cancelled:
        revive(order, row, ledger, actor, at)
    outbox = ledger.outbox if ledger.is_quiet(order.id) else None
    settle(order, at, ledger, row=row, left_over=left_over)
    special = _special_of(order, was_cancelled=was_cancelled)
    if special is None:
        tell_of_payment(order, posting, ledger, at, left_over=left_over, outbox=outbox)
    elif origin != "credit":
        db.session.flush()  # the notice says what the ledger has
        tell_of_order(special, order, posting, at)
    return row


def _special_of(order: Order, *, was_cancelled: bool) -> str | None:
    """The notice that somebody must read because no shop acts on this payment."""
    if order.removed_at is not None:
        return "payment_for_removed"
    if was_cancelled:
        return "payment_for_cancelled"
    return "payment_for_manual_order" if order.sync == "manual" else None


def _book_difference(order: Order, row: Assignment, ledger: Ledger, because: str | None) -> None:
    """What is missing after ``row``, if somebody says why or it is too little to ask for.

    What is too much within the tolerance is written off as well, as a negative difference (K21).
    """
    rest = ledger.rest(order)
    if rest == 0 or order.total <= 0 or (rest < 0 and row.amount < -rest):
        return
    if because is None or rest < 0:
        if abs(rest) > ledger.settings(order).tolerance:
            return
        because = "tolerance"
    difference = ledger.write(
        order, None, rest, origin="difference", actor=row.decided_by, at=row.created_at
    )
    difference.because, difference.completes = because, row
    note(
        order,
        "difference_booked",
        row.decided_by,
        row.created_at,
        amount=amount_text(rest),
        because=because,
    )


def mark_as_paid(merchant_id: int, order_id: int, *, actor: str, at: datetime) -> Assignment:
    """A person knows that the rest was paid (S80): booked without a posting, like any other.

    An order of nothing that the merchant's setting leaves unpaid (K32) gets a row of 0.
    """
    lock_merchant(merchant_id)
    order = order_now(merchant_id, order_id)
    withhold_mails(order, REMINDERS, PAID_FIRST)  # before the rest is known, as they may charge
    drop_lost_charges(order)
    ledger = Ledger([order_id])
    if ledger.refunded(order_id):
        raise NotPossible("action_does_not_fit", number=order.number)
    rest = ledger.owed(order) - ledger.paid(order_id)
    if rest < 0 or (rest == 0 and order.payment_status == wire.PaymentStatus.PAID.value):
        raise NotPossible("already_paid", number=order.number)
    if not order.is_managed:
        order.is_managed, order.monitor_at = True, None
    row = ledger.write(order, None, rest, origin="person", actor=actor, at=at)
    db.session.flush()
    note(order, "marked_as_paid", actor, at, amount=amount_text(rest))
    revive(order, row, ledger, actor, at)
    settle(order, at, ledger, row=row)
    return row


def undo(merchant_id: int, assignment_id: int, *, actor: str, at: datetime) -> Assignment:
    """Reverse an assignment, and the difference that completed it.

    The posting is open again and is never booked by itself again. Money that was a customer's
    credit is credit again if it is the use of the credit that is undone; else nobody knows any
    more whose it is, and all of it is back in the inbox.
    """
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
    order = order_now(merchant_id, row.order_id)
    return reverse_row(order, row, actor=actor, at=at)


def reverse_row(order: Order, row: Assignment, *, actor: str, at: datetime) -> Assignment:
    """As ``undo``; the caller holds the merchant's lock and knows that the row stands.

    Raises NotPossible if what it paid is arranged to go back.
    """
    ledger = Ledger([order.id], [row.posting_id] if row.posting_id is not None else [])
    completing = ledger.completing(order.id, row.id)
    ledger.keep_for_repayments(order, sum((one.amount for one in completing), row.amount))
    back = ledger.reverse(order, row, origin="person", actor=actor, at=at)
    if row.posting_id is not None:
        posting = posting_now(order.merchant_id, row.posting_id)
        if posting.is_kept and row.origin != "credit":
            db.session.execute(delete(Credit).where(Credit.posting_id == posting.id))
            posting.is_kept = False
        posting.is_blocked = posting.needs_match = True
        refresh_posting(posting, posting.amount - ledger.taken(posting.id))
    note(order, "assignment_undone", actor, at, amount=amount_text(row.amount))
    order.needs_match = True
    cancel_again(order, row, at)
    settle(order, at, ledger, row=back)
    request_match(order.merchant_id, at)
    return back


def move_surplus(
    merchant_id: int,
    from_order_id: int,
    to_order_id: int,
    *,
    actor: str,
    at: datetime,
    amount: Decimal | None = None,
) -> list[Assignment]:
    """What was booked too much on one order pays another (C13); taken from the newest payments.

    ``amount`` None is as much of the surplus as the other order owes. Returns what was booked on
    the other order. Raises NotPossible. A surplus that is still on its posting is no matter of
    this: it is assigned like any other.
    """
    lock_merchant(merchant_id)
    if from_order_id == to_order_id:
        raise NotPossible("move_same_order")
    source, target = order_now(merchant_id, from_order_id), order_now(merchant_id, to_order_id)
    if source.currency != target.currency:
        raise NotPossible("assign_other_currency", number=target.number)
    for order in (source, target):  # before it is known how much is too much, and how much owed
        drop_lost_charges(order)
    ledger = Ledger([source.id, target.id])
    surplus, owed = ledger.surplus(source), ledger.rest(target)
    if surplus <= 0:
        raise NotPossible("move_no_surplus", number=source.number)
    if amount is None and owed <= 0:
        raise NotPossible("already_paid", number=target.number)
    amount = min(surplus, owed) if amount is None else amount
    if amount <= 0:
        raise NotPossible("assign_amount_not_positive")
    if amount > min(surplus, _of_postings(ledger, source)):
        raise NotPossible("move_more_than_surplus", surplus=amount_text(surplus))
    target.is_managed = True
    taken = take_surplus(source, amount, ledger, actor=actor, at=at)
    booked = [
        ledger.write(target, posting_id, part, origin="person", actor=actor, at=at)
        for posting_id, part in taken.items()
    ]
    for row in booked:
        _book_difference(target, row, ledger, None)
    db.session.flush()
    facts = {"amount": amount_text(amount)}
    note(source, "surplus_moved", actor, at, order_id=target.id, number=target.number, **facts)
    note(target, "surplus_received", actor, at, order_id=source.id, number=source.number, **facts)
    settle(target, at, ledger, row=booked[-1])
    return booked


def _of_postings(ledger: Ledger, order: Order) -> Decimal:
    rows = ledger.standing(order.id)
    return sum((row.amount for row in rows if row.posting_id is not None), ZERO)


def take_surplus(
    order: Order,
    amount: Decimal,
    ledger: Ledger,
    *,
    actor: str,
    at: datetime,
    posting_id: int | None = None,
) -> dict[int, Decimal]:
    """Free so much of what is booked on an overpaid order: posting id to amount, newest first.

    ``posting_id``: of this posting only. The rest of each assignment is booked again. Raises
    NotPossible if it is arranged to go back.
    """
    ledger.keep_for_repayments(order, amount)
    taken: dict[int, Decimal] = {}
    back: Assignment | None = None
    for row in reversed(ledger.standing(order.id)):
        part = min(row.amount, amount)
        if row.posting_id is None or posting_id not in (None, row.posting_id) or part <= 0:
            continue
        back = ledger.reverse(order, row, origin="person", actor=actor, at=at)
        if row.amount > part:
            ledger.write(
                order, row.posting_id, row.amount - part, origin="person", actor=actor, at=at
            )
        taken[row.posting_id] = taken.get(row.posting_id, ZERO) + part
        amount -= part
    assert back is not None and amount == 0, "the caller knows that there is as much"
    db.session.flush()
    settle(order, at, ledger, row=back)
    return taken


def ignore_posting(merchant_id: int, posting_id: int, *, actor: str, at: datetime) -> None:
    """Take a posting off the list without assigning it. ``actor`` goes to its history."""
    lock_merchant(merchant_id)
    posting = posting_now(merchant_id, posting_id)
    if posting.is_kept:
        raise NotPossible("posting_is_kept")
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
    posting = posting_now(merchant_id, posting_id)
    if posting.duplicate_of_id is None:
        raise NotPossible("not_a_duplicate")
    if is_same and (posting.is_assigned or posting.is_kept):
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
    assigned = taken_totals([posting.id for posting in postings])
    for posting in postings:
        posting.no_assignment = False
        refresh_posting(posting, posting.amount - assigned[posting.id])
        posting.needs_match = posting.is_open
    if postings:
        request_match(merchant_id, at)
    return len(postings)


def unignore_posting(merchant_id: int, posting_id: int, *, actor: str, at: datetime) -> None:
    """Back on the list, whatever took it off; it is looked at again."""
    lock_merchant(merchant_id)
    posting = posting_now(merchant_id, posting_id)
    posting.ignored_at, posting.ignored_by, posting.ignored_because = None, actor, None
    posting.no_assignment, posting.needs_match = False, True
    refresh_posting(posting, posting.amount - taken_totals([posting.id])[posting.id])
    request_match(merchant_id, at)


# --- the shop's side and the matcher's bell ------------------------------------------------------


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


def orders_in_status(
    shop_id: int, payment_status: str, after_id: int, limit: int
) -> Sequence[Row[int, str]]:
    """Id and external id of the shop's orders in this payment status, by id, after ``after_id``."""
    query = (
        select(Order.id, Order.external_id)
        .where(
            Order.shop_id == shop_id,
            Order.payment_status == payment_status,
            Order.id > after_id,
        )
        .order_by(Order.id)
        .limit(limit)
    )
    return db.session.execute(query).all()


def hear_heartbeat(shop: Shop, heartbeat: wire.Heartbeat, at: datetime) -> None:
    before = (shops.mapping_of(shop), shop.mapping_pinned)
    notice = shops.hear_heartbeat(shop, heartbeat, at)
    if (shops.mapping_of(shop), shop.mapping_pinned) != before:
        mapping_changed(shop.merchant_id, shop.id)
    if notice is not None:
        tell_merchant(notice, shop, None, at)


def expire_updates(at: datetime) -> int:
    """After 168 h a payment update ends, and the merchant is told once an order (S42)."""
    ended = shops.expire_updates(at)
    for row in ended:
        tell_merchant("transfer_failed", db.session.get_one(Shop, row.shop_id), row, at)
    return len(ended)


def disable_lasting(at: datetime) -> int:
    """After 30 days in error a shop is disabled, and the merchant is told once (K12)."""
    disabled = shops.disable_lasting(at)
    for shop in disabled:
        tell_merchant("shop_disabled", shop, None, at)
    return len(disabled)


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


# --- what a person knows beyond the shop ----------------------------------------------------------


def set_additional(
    merchant_id: int,
    order_id: int,
    *,
    name: str | None,
    number: str | None,
    actor: str,
    at: datetime,
) -> Order:
    """Under which other name or number (project, ticket, file) the order may be paid (S85).

    None or blanks take away what was there. Raises NotPossible once the order is paid, or its
    personal data was removed: nobody could remove this.
    """
    lock_merchant(merchant_id)
    order = order_now(merchant_id, order_id)
    if order.erased_at is not None:
        raise NotPossible("action_does_not_fit", number=order.number)
    if order.payment_status == wire.PaymentStatus.PAID.value:
        raise NotPossible("additional_only_while_open", number=order.number)
    order.additional_name = _typed(name, MAX_ADDITIONAL_NAME)
    order.additional_number = _typed(number, MAX_ADDITIONAL_NUMBER)
    rewrite_keys(order)
    order.needs_match, order.changed_at = True, at
    added = {"name": order.additional_name or "", "number": order.additional_number or ""}
    note(order, "additional_set", actor, at, **added)
    request_match(merchant_id, at)
    return order


def _typed(text: str | None, longest: int) -> str | None:
    """On one line. Raises NotPossible."""
    line = " ".join((text or "").replace("\x00", " ").split())
    if len(line) > longest:
        raise NotPossible("additional_too_long", longest=str(longest))
    return line or None


# --- invoices ----------------------------------------------------------------------------------


def store_invoice(order: Order, number: str, pdf: bytes, at: datetime) -> Invoice:
    """Keep the PDF of an invoice (S60); the same number again replaces the file.

    A number that was not known is what the payment information may wait for (S44), and what the
    customer may write. The first PDF of it may go by letter (K77). Raises NotPossible if it is no
    PDF, too large, one too many, or of an order whose personal data was removed.
    """
    if not pdf.startswith(b"%PDF-"):
        raise NotPossible("invoice_no_pdf")
    if len(pdf) > MAX_INVOICE_BYTES:
        raise NotPossible("invoice_too_large")
    lock_merchant(order.merchant_id)
    order = order_now(order.merchant_id, order.id)
    if order.erased_at is not None:
        raise NotPossible("invoice_of_erased")
    invoice = db.session.scalar(
        select(Invoice).where(Invoice.order_id == order.id, Invoice.number == number)
    )
    is_new = invoice is None
    if invoice is None:
        count = select(func.count()).select_from(Invoice).where(Invoice.order_id == order.id)
        if (db.session.scalar(count) or 0) >= MAX_INVOICES:
            raise NotPossible("invoice_too_many")
        invoice = Invoice(merchant_id=order.merchant_id, order_id=order.id, number=number)
        db.session.add(invoice)
    is_first = invoice.received_at is None
    invoice.pdf, invoice.pdf_size_bytes, invoice.received_at = pdf, len(pdf), at
    if is_new:
        rewrite_keys(order)
        order.needs_match = True
        request_match(order.merchant_id, at)
        if order.payment_status in OWING_STATUSES:
            ask_first(order, at)
    if is_first:
        db.session.flush()
        invoice_came(order, invoice, at)
    return invoice


# --- furniture ---------------------------------------------------------------------------------


def order_of(merchant_id: int, order_id: int) -> Order | None:
    return db.session.scalar(
        select(Order).where(Order.merchant_id == merchant_id, Order.id == order_id)
    )


def no_longer_asked(mails: Sequence[Mail]) -> list[Mail]:
    """Those that ask for money of an order that does not owe it any more."""
    asking = [mail for mail in mails if mail.kind in ASKING_MAILS]
    if not asking:
        return []
    query = select(Order.id, Order.payment_status).where(
        Order.id.in_({mail.order_id for mail in asking})
    )
    owing = {(row.id, row.payment_status) for row in db.session.execute(query)}
    return [
        mail
        for mail in asking
        if not any((mail.order_id, status) in owing for status in ASKING_MAILS[mail.kind])
    ]
