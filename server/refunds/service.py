"""What people, customers and time do with repayments (S78, K10, K55 to K58). Never commits.

Every function takes the merchant's lock first and reads the row again below it. What is possible
is in ``proposals.py``, what the bank says in ``recognition.py``, what goes back by itself in
``surpluses.py``. The state machine is in ``rules.py``; ``move`` is the only way through it.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final, Literal

from sqlalchemy import Select, func, select

from plugin_sdk.schemas import amount_text
from server.banking.payments.pain001 import MAX_AMOUNT
from server.db import db, now
from server.merchants.service import administrators, lock_merchant
from server.orders.asking import REMINDERS, withhold_mails
from server.orders.ledger import (
    ZERO,
    Ledger,
    NotPossible,
    note,
    order_now,
    posting_now,
    refresh_posting,
)
from server.orders.models import OWING_STATUSES, Order, Refund
from server.orders.pauses import pause_reminders
from server.orders.rules import REFUND_WAITING, make_payment_reference
from server.orders.service import book_payment
from server.orders.settlement import settle
from server.refunds import notices
from server.refunds.models import RefundBatch
from server.refunds.proposals import (
    Case,
    Proposal,
    case_of,
    checked_details,
    facts_of,
    local_day,
    proposal,
    waiting_ends,
)
from server.refunds.rules import (
    MAX_TEXT_LENGTH,
    BankDetails,
    DetailsBy,
    add_bank_days,
    holds_of,
    make_reference,
    may_move,
    next_bank_day,
    transfer_text,
)

__all__ = ["BankDetails", "Proposal", "proposal"]

CENT: Final = Decimal("0.01")
MAX_EXTERNAL_REFERENCE: Final = 64
LATEST_IN: Final = timedelta(days=366)
DOUBLE_CLICK: Final = timedelta(minutes=1)
MOST_OF_AN_ORDER: Final = 200
PLANNED_AT_ONCE: Final = 500
REFERENCE_TRIES: Final = 20
GOES_BACK: Final = "the money goes back"
CUSTOMER: Final = ""
"""As the actor of the order's history: nobody of the house."""


# --- reading -----------------------------------------------------------------------------------


def refund_of(merchant_id: int, refund_id: int) -> Refund | None:
    """One of the merchant's."""
    query = select(Refund).where(Refund.merchant_id == merchant_id, Refund.id == refund_id)
    return db.session.scalar(query)


def refunds_of_order(order: Order) -> Sequence[Refund]:
    """All of them, the newest first."""
    query = select(Refund).where(
        Refund.merchant_id == order.merchant_id, Refund.order_id == order.id
    )
    return db.session.scalars(query.order_by(Refund.id.desc()).limit(MOST_OF_AN_ORDER)).all()


def arrival(refund: Refund, at: datetime | None = None) -> tuple[date | None, date | None]:
    """The day on which the bank gets or got it, and when the payee has it: a bank day later (K58).

    (None, None) where nobody knows: it waits for a person, or is over. Merchant's days.
    """
    today = local_day(refund.merchant_id, at or now())
    if refund.status in ("new", "planned"):
        planned = next_bank_day(max(refund.planned_for or today, today))
    elif refund.status in ("in_process", "processed") and (refund.sent_at or refund.processed_at):
        moment = refund.sent_at or refund.processed_at
        assert moment is not None
        planned = next_bank_day(local_day(refund.merchant_id, moment))
    elif refund.status == "in_process":
        planned = next_bank_day(today)
    else:
        return None, None
    return planned, add_bank_days(planned + timedelta(days=1), 0)


def approval_by(refund: Refund, actor: str) -> Literal["", "alone", "other"]:
    """Who may approve it: ``actor`` himself (empty), he ``alone`` by typing the amount because
    there is no other administrator, or only an ``other`` person (C18)."""
    if refund.requested_by != actor:
        return ""
    return "alone" if len(administrators(refund.merchant_id)) <= 1 else "other"


def waiting_for_customer(order: Order) -> Sequence[Refund]:
    """What the customer may confirm or change on his page: the oldest first (K33, K56)."""
    query = select(Refund).where(
        Refund.merchant_id == order.merchant_id,
        Refund.order_id == order.id,
        (Refund.status == "bank_details_missing")
        | ((Refund.status == "planned") & Refund.announced_at.is_not(None)),
        Refund.confirmed_at.is_(None),
    )
    return db.session.scalars(query.order_by(Refund.id).limit(MOST_OF_AN_ORDER)).all()


def text_of(refund: Refund) -> str:
    """What the payee reads on his bank statement, at most 140 characters."""
    order = db.session.get(Order, refund.order_id) if refund.order_id is not None else None
    return transfer_text(order.number if order else "", refund.reference, refund.reason)


# --- arranging ---------------------------------------------------------------------------------


def arrange(  # noqa: PLR0913  a repayment has that many facts
    merchant_id: int,
    *,
    order_id: int | None = None,
    posting_id: int | None = None,
    amount: Decimal,
    reason: str = "",
    payee: BankDetails | None = None,
    planned_for: date | None = None,
    external_reference: str | None = None,
    is_automatic: bool = False,
    details_by: DetailsBy = "merchant",
    actor: str,
    at: datetime,
) -> Refund:
    """Money of an order, or of a posting that pays none, is to go back (S78, K55).

    Without ``payee`` it goes to where the money came from; where that is unusable it waits for
    bank details (K56). ``details_by`` says whose word ``payee`` is. ``planned_for`` is a day of
    the merchant, the next bank day counts. ``external_reference`` is once a shop (K78). A double
    click is one repayment. Raises NotPossible.
    """
    lock_merchant(merchant_id)
    case = case_of(merchant_id, order_id, posting_id)
    _check_external(case, external_reference)
    again = _just_now(case, amount, actor, at) if external_reference is None else None
    if again is not None:
        return again
    if case.refused is not None:
        raise NotPossible(case.refused, number=case.order.number if case.order else "")
    check_amount(amount, case.largest)
    day = _checked_day(merchant_id, planned_for, at)
    details = checked_details(merchant_id, payee) if payee is not None else None
    case = _with_left_over(case, amount, order_id, posting_id, actor, at)
    row = Refund(
        merchant_id=merchant_id,
        shop_id=case.order.shop_id if case.order else None,
        order_id=case.order.id if case.order else None,
        posting_id=case.source.posting.id if case.source else None,
        amount=amount,
        currency=case.currency,
        reference=_new_reference(case.order, merchant_id),
        external_reference=external_reference,
        reason=_checked_reason(reason),
        status="new",
        holds=[],
        planned_for=day,
        is_automatic=is_automatic,
        requested_at=at,
        requested_by=actor,
        changed_at=at,
    )
    found = case.source.details if case.source else None
    if details is not None:
        is_known = found is not None and details.iban == found.iban
        write_details(row, details, "bank" if is_known and details == found else details_by, at)
    elif found is not None:
        write_details(row, found, "bank", at)
    _check_holds(row, case, at)
    db.session.add(row)
    db.session.flush()
    _refresh(row)
    _note(row, "refund_arranged", actor, at, amount=amount_text(amount), reference=row.reference)
    _stop_asking(case.order, at)
    place(row, at)
    return row


def keep_money(merchant_id: int, order_id: int, *, reason: str, actor: str, at: datetime) -> Refund:
    """Nothing goes back, and that is decided (C14): a repayment of 0, executed at once.

    What the customer paid too much is written off, so that nobody is asked about it again. The
    customer is not written to. A double click is one. Raises NotPossible without a reason, or if
    nothing was paid.
    """
    lock_merchant(merchant_id)
    case = case_of(merchant_id, order_id, None)
    order = case.order
    assert order is not None
    again = _just_now(case, ZERO, actor, at)
    if again is not None:
        return again
    if not reason.strip():
        raise NotPossible("refund_reason_missing")
    if case.refused == "refund_nothing_paid":
        raise NotPossible(case.refused, number=order.number)
    case = _with_left_over(case, case.left_over, order_id, None, actor, at)
    ledger = Ledger([order.id])
    surplus = ledger.surplus(order)
    if surplus > ZERO:
        last = [row for row in ledger.standing(order.id) if row.completes_id is None][-1]
        row = ledger.write(order, None, -surplus, origin="difference", actor=actor, at=at)
        row.because, row.completes = "other", last
        db.session.flush()
        settle(order, at, ledger)
    kept = Refund(
        merchant_id=merchant_id,
        shop_id=order.shop_id,
        order_id=order.id,
        amount=ZERO,
        currency=order.currency,
        reference=_new_reference(order, merchant_id),
        reason=_checked_reason(reason),
        status="processed",
        holds=[],
        requested_at=at,
        requested_by=actor,
        processed_at=at,
        changed_at=at,
    )
    db.session.add(kept)
    db.session.flush()
    note(order, "money_kept", actor, at, amount=amount_text(surplus), reason=kept.reason)
    return kept


def check_amount(amount: Decimal, largest: Decimal) -> None:
    """Raises NotPossible for what no transfer carries, and for more than is allowed (K57)."""
    if not amount.is_finite() or amount <= ZERO or amount != amount.quantize(CENT):
        raise NotPossible("refund_amount_invalid")
    if amount > min(largest, MAX_AMOUNT):
        raise NotPossible("refund_above_limit", largest=amount_text(min(largest, MAX_AMOUNT)))


def _check_external(case: Case, external_reference: str | None) -> None:
    if external_reference is None:
        return
    assert case.order is not None, "only shops have references of their own"
    if not 1 <= len(external_reference) <= MAX_EXTERNAL_REFERENCE:
        raise NotPossible("refund_reference_invalid")
    first = db.session.scalar(
        select(Refund.reference).where(
            Refund.shop_id == case.order.shop_id, Refund.external_reference == external_reference
        )
    )
    if first is not None:
        raise NotPossible("refund_reference_taken", reference=first)


def _just_now(case: Case, amount: Decimal, actor: str, at: datetime) -> Refund | None:
    """The same by the same person a moment ago."""
    same = select(Refund).where(
        Refund.merchant_id == case.merchant_id,
        Refund.requested_by == actor,
        Refund.requested_at > at - DOUBLE_CLICK,
        Refund.amount == amount,
        Refund.status != "cancelled",
    )
    if case.order is not None:
        same = same.where(Refund.order_id == case.order.id)
    else:
        assert case.posting is not None
        same = same.where(Refund.posting_id == case.posting.id, Refund.order_id.is_(None))
    return db.session.scalar(same.order_by(Refund.id.desc()).limit(1))


def _checked_day(merchant_id: int, day: date | None, at: datetime) -> date | None:
    """The bank day from which on it may go; None is at once. Raises NotPossible."""
    if day is None:
        return None
    today = local_day(merchant_id, at)
    if not today <= day <= today + LATEST_IN:
        raise NotPossible("date_out_of_range")
    return next_bank_day(day) if day > today else None


def _checked_reason(reason: str) -> str:
    line = " ".join(reason.replace("\x00", " ").split())
    if len(line) > MAX_TEXT_LENGTH:
        raise NotPossible("refund_reason_too_long", longest=str(MAX_TEXT_LENGTH))
    return line


def _with_left_over(
    case: Case,
    amount: Decimal,
    order_id: int | None,
    posting_id: int | None,
    actor: str,
    at: datetime,
) -> Case:
    """What the order's postings have too much is booked on it first, as far as it goes back.

    So the order's own sums say what came and what went, and nothing else can take it meanwhile.
    """
    if case.order is None or case.left_over <= ZERO:
        return case
    wanted = min(amount - case.ledger.surplus(case.order), case.left_over)
    for payment in case.payments:
        posting = payment.posting
        left = posting.amount - case.ledger.taken(posting.id) if posting.is_open else ZERO
        part = min(left, wanted)
        if part <= ZERO:
            continue
        book_payment(case.order, posting, part, case.ledger, origin="person", actor=actor, at=at)
        wanted -= part
    db.session.flush()
    return case_of(case.merchant_id, order_id, posting_id)


def _new_reference(order: Order | None, merchant_id: int) -> str:
    if order is not None:
        count = select(func.count()).where(
            Refund.merchant_id == merchant_id,
            Refund.reference.startswith(f"R-{order.payment_reference}-"),
        )
        number = (db.session.scalar(count) or 0) + 1
        return _free(merchant_id, order.payment_reference, number)
    return _free(merchant_id, make_payment_reference(secrets.SystemRandom()), 1)


def _free(merchant_id: int, body: str, number: int) -> str:
    """The first that nobody has, from this number on: tries again leave gaps."""
    for ahead in range(REFERENCE_TRIES):
        reference = make_reference(body, number + ahead)
        taken = select(Refund.id).where(
            Refund.merchant_id == merchant_id, Refund.reference == reference
        )
        if db.session.scalar(taken) is None:
            return reference
    raise NotPossible("refund_too_many")


def _stop_asking(order: Order | None, at: datetime) -> None:
    """Nobody is asked for the rest of an order while its money goes back to him."""
    if order is None or order.payment_status not in (*OWING_STATUSES, "cancelled"):
        return
    withhold_mails(order, REMINDERS, GOES_BACK)
    pause_reminders(order, local_day(order.merchant_id, at))


# --- the way through ---------------------------------------------------------------------------


def move(refund: Refund, status: str, at: datetime) -> None:
    """To another status. Raises NotPossible where the table of K10 has no such way."""
    if not may_move(refund.status, status):
        raise NotPossible("refund_does_not_fit", reference=refund.reference)
    refund.status, refund.changed_at = status, at
    if status != "failed":
        refund.error = None


def is_held(refund: Refund) -> bool:
    """Whether a second person has to look at it first (N9, C18)."""
    return bool(refund.holds) and refund.approved_at is None


def place(refund: Refund, at: datetime) -> None:
    """Where a repayment that is not with the bank stands: missing details, held, planned, new.

    Writes to the customer what he has to know; nobody is told of what a second person has not
    seen yet.
    """
    order = order_of(refund)
    if refund.payee_iban is None:
        _to(refund, "bank_details_missing", at)
        if notices.ask_for_details(refund, order, at):
            refund.announced_at = at
        return
    if is_held(refund):
        if refund.status != "held":
            _to(refund, "held", at)
        _note(refund, "refund_held", "", at, holds=", ".join(refund.holds))
        return
    today = local_day(refund.merchant_id, at)
    if refund.announced_at is None and refund.confirmed_at is None:
        until = (
            waiting_ends(case_of(refund.merchant_id, refund.order_id, None), at) if order else None
        )
        if notices.announce(refund, order, until, at):
            refund.announced_at = at
            if until is not None:
                refund.planned_for = max(refund.planned_for or until, until)
    is_later = refund.planned_for is not None and refund.planned_for > today
    _to(refund, "planned" if is_later else "new", at)


def _to(refund: Refund, status: str, at: datetime) -> None:
    if refund.status != status:
        move(refund, status, at)


def write_details(refund: Refund, details: BankDetails, by: DetailsBy, at: datetime) -> None:
    """Whose account it goes to, and whose word that is."""
    refund.payee_name, refund.payee_iban = details.name, details.iban
    refund.payee_bic = details.bic or None
    refund.details_by, refund.details_at = by, at


def _check_holds(
    refund: Refund, case: Case, at: datetime, *, iban_before: str | None = None
) -> None:
    """Look again at what holds it. What the bank took back stays held, whatever else changes."""
    returned = [hold for hold in refund.holds if hold == "payment_returned"]
    if refund.payee_iban is None:
        refund.holds = list(returned)
        return
    details = BankDetails(refund.payee_name or "", refund.payee_iban, refund.payee_bic or "")
    facts = facts_of(
        case,
        refund.amount,
        details,
        refund.details_by or "merchant",
        at=at,
        refund=refund if refund.id is not None else None,
        iban_before=iban_before,
    )
    holds = [*holds_of(facts), *returned]
    if set(holds) - set(refund.holds):
        refund.approved_at = refund.approved_by = None
    refund.holds = holds


def change(
    refund: Refund,
    *,
    payee: BankDetails | None = None,
    planned_for: date | None = None,
    reason: str | None = None,
    actor: str,
    at: datetime,
) -> Refund:
    """Payee, bank details, day or reason, until it is sent (K58). None leaves it as it is.

    Whoever changes the payee answers for it: somebody else approves. Raises NotPossible.
    """
    row = _now(refund)
    if row.status not in (*REFUND_WAITING, "failed"):
        raise NotPossible("refund_does_not_fit", reference=row.reference)
    before = row.payee_iban
    if reason is not None:
        row.reason = _checked_reason(reason)
    if planned_for is not None:
        row.planned_for = _checked_day(row.merchant_id, planned_for, at)
    if payee is not None:
        details = checked_details(row.merchant_id, payee)
        if (details.name, details.iban) != (row.payee_name, row.payee_iban):
            notices.withhold(row)
            row.requested_by = actor
            row.approved_at = row.approved_by = row.confirmed_at = row.announced_at = None
            write_details(row, details, "merchant", at)
    row.changed_at = at
    _note(row, "refund_changed", actor, at, reference=row.reference)
    _place_again(row, at, iban_before=before)
    return row


def _place_again(row: Refund, at: datetime, *, iban_before: str | None = None) -> None:
    _check_again(row, at, iban_before=iban_before)
    if row.status != "failed":
        place(row, at)


def _check_again(row: Refund, at: datetime, *, iban_before: str | None = None) -> None:
    case = case_of(row.merchant_id, row.order_id, None if row.order_id else row.posting_id)
    _check_holds(row, case, at, iban_before=iban_before)


def approve(
    refund: Refund, *, actor: str, at: datetime, typed_amount: Decimal | None = None
) -> Refund:
    """A second person lets it go in spite of what holds it (N9, C18).

    Another one than who arranged or last changed it; a merchant's only administrator may himself
    once he has typed the amount. Raises NotPossible.
    """
    row = _now(refund)
    if row.status != "held":
        raise NotPossible("refund_does_not_fit", reference=row.reference)
    match approval_by(row, actor):
        case "other":
            raise NotPossible("refund_needs_another")
        case "alone" if typed_amount != row.amount:
            raise NotPossible("refund_type_amount", amount=amount_text(row.amount))
    row.approved_at, row.approved_by = at, actor
    _note(row, "refund_approved", actor, at, reference=row.reference)
    place(row, at)
    return row


def execute_now(refund: Refund, *, actor: str, at: datetime) -> Refund:
    """End the waiting: it may go to the bank today. Raises NotPossible unless it is planned."""
    row = _now(refund)
    if row.status != "planned":
        raise NotPossible("refund_does_not_fit", reference=row.reference)
    row.planned_for = None
    move(row, "new", at)
    _note(row, "refund_released", actor, at, reference=row.reference)
    return row


def cancel(refund: Refund, *, actor: str, at: datetime) -> Refund:
    """It does not go. Its money is free again, its mails that wait are not sent."""
    row = _now(refund)
    move(row, "cancelled", at)
    row.cancelled_at = at
    notices.withhold(row)
    _note(row, "refund_cancelled", actor, at, reference=row.reference)
    _refresh(row)
    return row


def mark_processed(
    refund: Refund, *, actor: str, at: datetime, sent_posting_id: int | None = None
) -> Refund:
    """It has left: the bank's posting says so, or a person who paid it himself.

    Raises NotPossible while it stands in a file that nobody has handed in: whoever did so
    afterwards would pay it twice.
    """
    row = _now(refund)
    _check_not_in_file(row)
    processed_now(row, actor=actor, at=at, sent_posting_id=sent_posting_id)
    return row


def processed_now(
    row: Refund, *, actor: str, at: datetime, sent_posting_id: int | None = None
) -> None:
    """As ``mark_processed``; the caller holds the lock and has the row as it is now."""
    move(row, "processed", at)
    row.processed_at, row.sent_posting_id = at, sent_posting_id
    notices.withhold(row)
    order = order_of(row)
    if order is not None:
        note(order, "refund_processed", actor, at, amount=amount_text(row.amount))
        db.session.flush()
        settle(order, at)
    notices.tell_executed(row, order, at)


def mark_failed(refund: Refund, reason: str, *, actor: str, at: datetime) -> Refund:
    """The bank did not execute it. Its money stays arranged until it is cancelled.

    Raises NotPossible while it stands in a file that nobody has handed in, and while FinTS may be
    carrying it out: tried again, it would be paid twice.
    """
    row = _now(refund)
    _check_not_in_file(row)
    _check_not_at_bank(row)
    failed_now(row, order_of(row), reason, actor=actor, at=at)
    return row


def failed_now(row: Refund, order: Order | None, reason: str, *, actor: str, at: datetime) -> None:
    """As ``mark_failed``; also for one that was executed and came back. ``order`` is its own."""
    was_paid = row.status == "processed"
    move(row, "failed", at)
    row.error, row.processed_at = reason[:1000], None
    if order is None:
        return
    note(order, "refund_failed", actor, at, reference=row.reference, reason=row.error)
    if was_paid:
        db.session.flush()
        settle(order, at, is_restored=True)


def ask_anew(row: Refund, at: datetime) -> None:
    """It failed because no such account could be paid: the customer is asked for another one."""
    why = row.error
    _begin_again(row)
    row.payee_iban = row.payee_bic = row.details_by = row.details_at = None
    row.announced_at = row.confirmed_at = row.approved_at = row.approved_by = None
    place(row, at)
    row.error = why


def _begin_again(row: Refund) -> None:
    row.reference = _new_reference(order_of(row), row.merchant_id)
    row.batch_id = row.sent_at = row.sent_posting_id = row.planned_for = None


def try_again(refund: Refund, *, actor: str, at: datetime) -> Refund:
    """Once more after a failure, under a new reference: the bank's answers must not be mixed up."""
    row = _now(refund)
    if row.status != "failed":
        raise NotPossible("refund_does_not_fit", reference=row.reference)
    _begin_again(row)
    _note(row, "refund_retried", actor, at, reference=row.reference)
    _check_again(row, at)
    place(row, at)
    return row


# --- the customer ------------------------------------------------------------------------------


def confirm_details(order: Order, refund_id: int, *, name: str, iban: str, at: datetime) -> Refund:
    """The customer says where his money goes to (K33, K56): executed at once, unless it is held or
    the merchant wants a later day (K58).

    Another account than the payment's is held for a second person. Raises NotPossible.
    """
    lock_merchant(order.merchant_id)
    waiting = {one.id for one in waiting_for_customer(order)}
    found = refund_of(order.merchant_id, refund_id)
    if found is None or found.id not in waiting:
        raise NotPossible("refund_not_waiting")
    row = _now(found)
    details = checked_details(row.merchant_id, BankDetails(name, iban))
    before = row.payee_iban
    if (details.name, details.iban) != (row.payee_name, row.payee_iban):
        bic = (row.payee_bic or "") if details.iban == before else ""
        write_details(row, BankDetails(details.name, details.iban, bic), "customer", at)
        row.requested_by = CUSTOMER
    if _only_waits(row):
        row.planned_for = None
    row.confirmed_at = at
    _note(row, "refund_confirmed", CUSTOMER, at, reference=row.reference)
    _place_again(row, at, iban_before=before)
    return row


def _only_waits(row: Refund) -> bool:
    """Whether its day is no later than the end of the customer's term, so that he may end it."""
    if row.planned_for is None or row.announced_at is None or row.status != "planned":
        return False
    until = waiting_ends(case_of(row.merchant_id, row.order_id, None), row.announced_at)
    return until is not None and row.planned_for <= until


# --- time --------------------------------------------------------------------------------------


def pass_time(at: datetime) -> int:
    """What one merchant planned for a day that has come may go to the bank now. Returns how many;
    0 if nobody has any."""
    merchant_id = db.session.scalar(_due(at).with_only_columns(func.min(Refund.merchant_id)))
    if merchant_id is None:
        return 0
    lock_merchant(merchant_id)
    due = _due(at).where(Refund.merchant_id == merchant_id).order_by(Refund.id)
    due = due.limit(PLANNED_AT_ONCE).execution_options(populate_existing=True)
    rows = db.session.scalars(due).all()
    for row in rows:
        move(row, "new", at)
    return max(len(rows), 1)  # somebody may have been faster; others may have some


def has_planned(at: datetime) -> bool:
    """Asked by the clock."""
    return bool(db.session.scalar(select(_due(at).exists())))


def _due(at: datetime) -> Select[Refund]:
    return select(Refund).where(Refund.status == "planned", Refund.planned_for <= at.date())


# --- furniture ---------------------------------------------------------------------------------


def _now(refund: Refund) -> Refund:
    """The row as it is below the lock. Raises NotPossible if it is gone."""
    lock_merchant(refund.merchant_id)
    query = select(Refund).where(Refund.merchant_id == refund.merchant_id, Refund.id == refund.id)
    row = db.session.scalar(query.execution_options(populate_existing=True))
    if row is None:
        raise NotPossible("refund_unknown")
    return row


def _check_not_in_file(row: Refund) -> None:
    """An order by FinTS is looked through once more before it is sent; a file is out of reach."""
    if row.status != "in_process" or row.batch_id is None:
        return
    batch = db.session.get_one(RefundBatch, row.batch_id)
    if batch.status == "made" and batch.channel != "fints":
        raise NotPossible("refund_in_unsent_batch", reference=row.reference)


def _check_not_at_bank(row: Refund) -> None:
    if row.status != "in_process" or row.batch_id is None:
        return
    if db.session.get_one(RefundBatch, row.batch_id).step is not None:
        raise NotPossible("refund_batch_at_bank")


def order_of(refund: Refund) -> Order | None:
    """The order that it is of, as it is below the lock."""
    if refund.order_id is None:
        return None
    return order_now(refund.merchant_id, refund.order_id)


def _refresh(refund: Refund) -> None:
    """A repayment without an order takes from its posting, and gives back when it is cancelled."""
    if refund.order_id is not None or refund.posting_id is None:
        return
    db.session.flush()
    posting = posting_now(refund.merchant_id, refund.posting_id)
    ledger = Ledger([], [posting.id])
    was_open = posting.is_open
    refresh_posting(posting, posting.amount - ledger.taken(posting.id))
    if posting.is_open and not was_open:
        posting.is_blocked = True  # a person had decided about it: only suggested from now on


def _note(refund: Refund, kind: str, actor: str, at: datetime, **facts: str) -> None:
    """A line of the order's history; one without an order has none."""
    order = order_of(refund)
    if order is not None:
        note(order, kind, actor, at, **facts)
