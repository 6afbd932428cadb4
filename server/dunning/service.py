"""One order: its plan, its next step, a reminder by hand. Runs are in ``runs``. Never commits.

The merchant's lock is held whenever something is done, and the order is planned again below it:
what a run saw before counts for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Final

from plugin_sdk.schemas import amount_text
from server.db import db
from server.dunning.circumstances import HARMLESS, Circumstances
from server.dunning.fees import fee_of, interest_of
from server.dunning.notices import (
    Claim,
    Ways,
    drop_withheld,
    due_date_fact,
    payable_until,
    write_cancelled,
    write_enquiry,
    write_overdue,
    write_reminder,
)
from server.dunning.reading import (
    OpenOrder,
    before_due_once,
    enquiry_once,
    plan_for,
    read_order,
    reminder_once,
    resend_once,
)
from server.dunning.rules import ASKED_CODES, Step, kind_of
from server.merchants.service import lock_merchant
from server.merchants.settings import MOST_REMINDERS
from server.orders.asking import ask
from server.orders.charges import Levels, count_charges, miscounted, reminders_of
from server.orders.ledger import ZERO, Ledger, NotPossible, note, order_now
from server.orders.letters import has_address
from server.orders.lifecycle import cancel_now, collect_now, hand_to_collection
from server.orders.models import OWING_STATUSES, Order, Reminder
from server.orders.settlement import settle

# --- what it charges ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Charge:
    """What a level would charge; ``before`` is what those before it charge that were told of."""

    level: int
    fee: Decimal
    interest: Decimal
    before: Decimal


def reminder_by_hand(order: Order, at: datetime) -> Charge | None:
    """The reminder that a person would send now; None if there is none higher."""
    here = Circumstances(order.merchant_id, at)
    one = read_order(order, here)
    level = one.facts.level + 1
    if level > MOST_REMINDERS:
        return None
    return _charge(order, one, level, here, reminders_of(order.id), Ledger([order.id]))


def _charge(
    order: Order,
    one: OpenOrder,
    level: int,
    here: Circumstances,
    levels: Levels,
    ledger: Ledger,
) -> Charge:
    settings = here.settings(order.shop_id).of(order.payment_code)
    told = tuple(sent for sent in one.facts.reminders if sent[0] not in levels.lost)
    facts = replace(one.facts, reminders=told)  # nobody is in default by a mail that got lost
    fee = fee_of(level, facts, settings, order.currency, levels.fees)
    open_amount = max(order.total - ledger.paid(order.id), ZERO)
    interest = interest_of(level, facts, settings, open_amount, here.today, here.base_rates)
    return Charge(level, fee, interest, levels.fees)


# --- by a person -------------------------------------------------------------------------------


def send_reminder(
    merchant_id: int,
    order_id: int,
    *,
    actor: str,
    at: datetime,
    anyway: bool = False,
    ways: Ways | None = None,
    level: int | None = None,
) -> Reminder:
    """The next level now, whatever the plan says (S83): by mail, by letter or both, as ``ways``
    says, else as the settings do. A block does not keep a person from it. ``level`` is the one that
    he was shown: of two clicks at once the second does not send the one after it.

    Raises NotPossible: nothing is owed or not by transfer, no address for the way, no invoice
    number where that is waited for, no higher level, mails are stopped, no account. And, unless
    ``anyway``, if the bank's data is old, the shop away, money may have come, or one was sent
    today.
    """
    lock_merchant(merchant_id)
    order = order_now(merchant_id, order_id)
    here = Circumstances(merchant_id, at)
    one = read_order(order, here)
    if level is not None and level != one.facts.level + 1:
        raise NotPossible("reminder_today", number=order.number)
    _check_by_hand(one, here, anyway=anyway, ways=ways)
    if ways and "letter" in ways and not has_address(order.wire):
        raise NotPossible("letter_no_address", number=order.number)
    reminder = remind(order, one, one.facts.level + 1, here, actor=actor, ways=ways)
    if reminder is None:
        raise NotPossible("reminder_no_account", number=order.number)
    return reminder


def _check_by_hand(one: OpenOrder, here: Circumstances, *, anyway: bool, ways: Ways | None) -> None:
    facts, number = one.facts, one.whose.number
    switches = here.settings(one.whose.shop_id)
    settings = switches.of(facts.payment_code)
    kind = kind_of(facts.level + 1)
    by_mail = ways is None or "mail" in ways
    can_get_it = facts.has_email if ways is not None else facts.can_be_written_to(kind)
    waits = settings.ask_when == "with_invoice" and not facts.has_invoice_number
    hindrance = here.hindrance(one.whose)
    refusals = {
        "reminder_not_owing": facts.payment_status not in OWING_STATUSES,
        "reminder_no_transfer": facts.payment_code not in ASKED_CODES,
        "reminder_no_way": ways is not None and not ways,
        "reminder_no_email": by_mail and not can_get_it,
        "mail_switched_off": by_mail and not switches.sends(kind),
        "reminder_no_invoice": waits,
        "reminder_highest": facts.level >= MOST_REMINDERS,
        f"reminder_{hindrance}": hindrance is not None
        and (hindrance not in HARMLESS or not anyway),
        "reminder_today": facts.last_reminder_on == here.today and not anyway,
    }
    for key, is_so in refusals.items():
        if is_so:
            raise NotPossible(key, number=number)


def run_order(merchant_id: int, order_id: int, *, actor: str, at: datetime) -> Step | None:
    """Do what is due for one order (S84); None if nothing is. Twice is as good as once.

    Raises NotPossible if something is due and held back.
    """
    lock_merchant(merchant_id)
    order = order_now(merchant_id, order_id)
    here = Circumstances(merchant_id, at)
    one = read_order(order, here)
    step = plan_for(one, here).due(here.today)
    if step is None:
        return None
    hindrance = here.hindrance(one.whose)
    if hindrance is not None:
        raise NotPossible(f"reminder_{hindrance}", number=order.number)
    return step if carry_out(order, one, step, here, actor=actor) else None


def collection_doubts(order: Order, at: datetime) -> tuple[str, ...]:
    """Why the daily run would not hand this order over, as a person should know before he does.

    ``blocked``, ``no_invoice_number``, ``claims_paid``, ``asks_for_time`` and what
    ``Circumstances.hindrance`` says.
    """
    here = Circumstances(order.merchant_id, at)
    one = read_order(order, here)
    so = {
        "blocked": one.facts.is_blocked,
        "no_invoice_number": not one.facts.has_invoice_number,
        "claims_paid": one.facts.claims_paid,
        "asks_for_time": one.facts.asks_for_time,
    }
    hindrance = here.hindrance(one.whose)
    found = [name for name, is_so in so.items() if is_so]
    return (*found, hindrance) if hindrance is not None else tuple(found)


def hand_over(
    merchant_id: int, order_id: int, *, actor: str, at: datetime, anyway: bool = False
) -> Order:
    """To collection by a person (S79). Raises NotPossible `collection_in_doubt`, unless
    ``anyway``, where the daily run would not do it."""
    lock_merchant(merchant_id)
    order = order_now(merchant_id, order_id)
    if not anyway and collection_doubts(order, at):
        raise NotPossible("collection_in_doubt", number=order.number)
    return hand_to_collection(merchant_id, order_id, actor=actor, at=at)


# --- steps -------------------------------------------------------------------------------------


def carry_out(
    order: Order,
    one: OpenOrder,
    step: Step,
    here: Circumstances,
    *,
    actor: str,
    run_id: int | None = None,
    ledger: Ledger | None = None,
) -> bool:
    """Do one step that is due. False if it could not be: no account, or it was done before.

    The caller holds the merchant's lock, has the order as it is now and ``one`` read below it.
    """
    ledger = ledger or Ledger([order.id])
    if step.kind == "reminder":
        sent = remind(order, one, step.level, here, actor=actor, run_id=run_id, ledger=ledger)
        return sent is not None
    if step.kind == "cancel":
        cancel_now(order, here.at, actor=actor, ledger=ledger)
        _tell_of_end(order, here, ledger)
        return True
    if step.kind == "collection":
        collect_now(order, here.at, actor=actor, ledger=ledger)
        return True
    if step.kind == "enquiry":
        return _enquire(order, here, actor)
    return _ask_again(order, one, step, here, actor, ledger)


def _tell_of_end(order: Order, here: Circumstances, ledger: Ledger) -> None:
    """What the customer hears; of a parcel that was not paid at the door nothing."""
    if order.payment_code == "prepayment":
        write_cancelled(order, here)
    elif order.payment_code == "invoice":
        paid = ledger.paid(order.id)
        write_overdue(order, paid, ledger.owed(order) - paid, here)


def _enquire(order: Order, here: Circumstances, actor: str) -> bool:
    if write_enquiry(order, enquiry_once(order.id), here) is None:
        return False
    note(order, "enquired", actor, here.at)
    return True


def _ask_again(
    order: Order, one: OpenOrder, step: Step, here: Circumstances, actor: str, ledger: Ledger
) -> bool:
    """The payment information once more; no reminder, so the level stays (S45, K24)."""
    once = resend_once(order.id) if step.kind == "resend" else before_due_once(order.id)
    drop_withheld(once)
    rest = ledger.rest(order)
    if not ask(order, once, rest, at=here.at, facts=due_date_fact(one.facts.due_date)):
        return False
    note(order, "payment_information_sent", actor, here.at)
    return True


def remind(
    order: Order,
    one: OpenOrder,
    level: int,
    here: Circumstances,
    *,
    actor: str,
    run_id: int | None = None,
    ledger: Ledger | None = None,
    ways: Ways | None = None,
) -> Reminder | None:
    """Write one level: its mail and its letter, what it charges, and what follows for the order
    (S68, K25 to K28); however it goes, it is one level.

    None without an account or an address. A row of which nothing was ever sent is written anew.
    """
    ledger = ledger or Ledger([order.id])
    settings = here.settings(order.shop_id).of(order.payment_code)
    levels = reminders_of(order.id)
    charge = _charge(order, one, level, here, levels, ledger)
    fee, interest, fees = charge.fee, charge.interest, charge.before + charge.fee
    is_last = level >= settings.reminders
    claim = Claim(level, order.total, ledger.paid(order.id), fee, fees, interest, is_last)
    once = reminder_once(order.id, level)
    until = payable_until(order, here)
    written = write_reminder(order, claim, once, here, until, ways=ways, actor=actor)
    if written is None:
        return None
    for lost in levels.lost.values():  # it was reckoned without them, so they are over
        lost.fee = lost.interest = ZERO
    row = levels.untold.get(level) or Reminder(
        merchant_id=order.merchant_id, order_id=order.id, level=level
    )
    db.session.add(row)
    row.sent_on, row.fee, row.interest = here.today, fee, interest
    row.mail_id, row.letter_id = written.mail_id, written.letter_id
    row.run_id, row.actor, row.created_at = run_id, actor, here.at
    order.fee_total = fees + interest
    facts = {"fee": amount_text(fee)} if fee else {}
    facts |= {"interest": amount_text(interest)} if interest else {}
    note(order, "reminder_sent", actor, here.at, level=level, **facts)
    settle(order, here.at, ledger)
    return row


# --- what nobody was told of is not charged ------------------------------------------------------

RECOUNTED_AT_ONCE: Final = 500


def recount_fees(merchant_id: int, at: datetime) -> int:
    """Take back what reminders charged whose mails and letters were withheld, failed or came back:
    the workers may not change orders (N4). Returns of how many orders."""
    lock_merchant(merchant_id)
    order_ids = miscounted(merchant_id, RECOUNTED_AT_ONCE)
    for order_id in order_ids:
        order = order_now(merchant_id, order_id)
        count_charges(order)
        settle(order, at)
    return len(order_ids)
