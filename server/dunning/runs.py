"""Runs: all open orders of a merchant are looked at, and what is due is done (S84, N5).

A file of its own because a run is work with a state: it goes on where it stopped, waits for the
bank or for a click, and twice is as good as once. ``step`` does one slice; whoever calls it
commits. Never commits.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError

from server.db import db
from server.dunning.circumstances import Circumstances, bank_is_busy
from server.dunning.models import DunningRun
from server.dunning.notices import LISTED, tell_of_ended, tell_of_held, tell_of_waiting_run
from server.dunning.reading import OpenOrder, open_ids, plan_for, read_orders, slices
from server.dunning.rules import MAILS, Plan, Step
from server.dunning.service import carry_out, recount_fees
from server.mail.models import Mail
from server.merchants.models import Merchant, SettingChange
from server.merchants.service import lock_merchant
from server.merchants.settings import SCHEMA
from server.orders.brakes import release_stopped
from server.orders.ledger import Ledger, NotPossible, is_any, orders_now
from server.orders.models import Order
from server.shops.models import Shop
from server.work import announce

LOOKED_AT_ONCE: Final = 2_000
DONE_AT_ONCE: Final = 50
FREE_MAILS: Final = 50
UNUSUAL: Final = 10
USUAL_OF_RUNS: Final = 14
"""More than ``FREE_MAILS``, and more than ``UNUSUAL`` times the median of the last runs that sent
anything, waits for a click."""
PAUSE_FOR_BANK: Final = timedelta(minutes=1)
LONGEST_WAIT: Final = timedelta(hours=1)
HOLDS: Final = ("stale_bank", "shop_away")
"""Why something that is due is held back, of which the merchant hears (N5)."""
ENDS: Final = {"cancel": "orders_cancelled", "collection": "orders_to_collection"}
"""Steps that end an order, and the mail that the merchant gets of them."""
TOO_MANY: Final = "it would send far more than usual"
TOLD_AGAIN_AFTER: Final = timedelta(days=7)
REPLACED: Final = "a newer run waits in its place"
DISCARDED: Final = "a person looked at it and discarded it"
MAIL_KINDS: Final = (*sorted(MAILS), "cancel")
"""What of ``did`` reached a customer, or may have."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Due:
    """An order whose turn it is. ``hindered``: why it does not happen all the same."""

    order: OpenOrder
    step: Step
    hindered: str | None


# --- asking for a run ----------------------------------------------------------------------------


def ask_run(merchant_id: int, *, actor: str, at: datetime) -> DunningRun:
    """A run now, because a person says so; the one that is on its way, if there is one (S84)."""
    merchant = lock_merchant(merchant_id)
    going = select(DunningRun).where(
        DunningRun.merchant_id == merchant_id, DunningRun.status.in_(("queued", "running"))
    )
    found = db.session.scalar(going.order_by(DunningRun.id).limit(1))
    if found is not None:
        return found
    run = DunningRun(
        merchant_id=merchant_id,
        run_date=at.astimezone(ZoneInfo(merchant.timezone)).date(),
        origin="person",
        actor=actor,
        created_at=at,
        due_at=at,
    )
    db.session.add(run)
    db.session.flush()
    return run


def release_run(merchant_id: int, run_id: int, *, actor: str, at: datetime) -> DunningRun:
    """A person has looked at a run that waited: it looks again and sends what is due by then.

    Raises NotPossible if it does not wait.
    """
    run = _waiting_run(merchant_id, run_id)
    run.released_at, run.released_by = at, actor
    run.after_order_id = run.looked_at = 0
    run.is_counted, run.due_ids, run.hindered = False, [], {}
    run.error = None
    run.put_back(at)
    announce(DunningRun)
    return run


def discard_run(merchant_id: int, run_id: int, *, actor: str, at: datetime) -> DunningRun:
    """A person has looked at a run that waited and wants none of it; the next one looks anew.

    Raises NotPossible if it does not wait.
    """
    run = _waiting_run(merchant_id, run_id)
    run.released_at, run.released_by, run.due_ids = at, actor, []
    run.finished_at = at
    run.withhold(DISCARDED)
    return run


def _waiting_run(merchant_id: int, run_id: int) -> DunningRun:
    """Below the merchant's lock, as it is now."""
    lock_merchant(merchant_id)
    query = select(DunningRun).where(DunningRun.merchant_id == merchant_id, DunningRun.id == run_id)
    run = db.session.scalar(query.execution_options(populate_existing=True))
    if run is None or run.status != "withheld" or run.error != TOO_MANY:
        raise NotPossible("run_does_not_wait")
    return run


def begin_daily_runs(at: datetime) -> int:
    """One for each merchant with a shop whose hour has come and who has none of this local date.

    Twice at once is harmless, and so are nights in which the clocks change. Returns how many.
    """
    begun = 0
    for name in db.session.scalars(select(Merchant.timezone).distinct()).all():
        local = at.astimezone(ZoneInfo(name))
        has_run = exists().where(
            DunningRun.merchant_id == Merchant.id,
            DunningRun.run_date == local.date(),
            DunningRun.origin == "daily",
        )
        has_shop = exists().where(Shop.merchant_id == Merchant.id)
        waiting = select(Merchant.id).where(Merchant.timezone == name, has_shop, ~has_run)
        ids = list(db.session.scalars(waiting.order_by(Merchant.id)))
        hours = _run_hours(ids)
        rows = [
            {"merchant_id": one, "run_date": local.date(), "created_at": at, "due_at": at}
            for one in ids
            if local.hour >= hours.get(one, SCHEMA["run_hour"].default)
        ]
        for row in rows:
            new = insert(DunningRun).values(**row, origin="daily").on_conflict_do_nothing()
            begun += db.session.scalar(new.returning(DunningRun.id)) is not None
    if begun:
        announce(DunningRun)
    return begun


def _run_hours(merchant_ids: Sequence[int]) -> dict[int, int]:
    """Of those merchants who have set one."""
    changes = select(SettingChange.merchant_id, SettingChange.value).where(
        is_any(SettingChange.merchant_id, merchant_ids),
        SettingChange.name == "run_hour",
        SettingChange.shop_id.is_(None),
        ~SettingChange.waits,
    )
    newest = {row[0]: row[1] for row in db.session.execute(changes.order_by(SettingChange.id))}
    return {merchant_id: int(hour) for merchant_id, hour in newest.items() if hour is not None}


# --- a run, slice by slice -----------------------------------------------------------------------


def step(run: DunningRun, at: datetime) -> bool:
    """One slice of a run that is at work. True while more is to come.

    First it looks at all open orders and counts, then it does what is due. When it returns False
    the run is over, waits for the bank (``queued`` again) or for a click (``withheld``).
    """
    if _waits_for_bank(run, at):
        run.put_back(at + PAUSE_FOR_BANK)
        return False
    if not run.is_counted:
        return _look(run, at)
    if run.due_ids:
        _do_slice(run, at)
        return True
    _finish(run, at)
    return False


def _waits_for_bank(run: DunningRun, at: datetime) -> bool:
    """Money that was read and not yet looked at may be an order's: a little patience first."""
    since = run.released_at or run.created_at
    return at - since < LONGEST_WAIT and bank_is_busy(run.merchant_id)


def _look(run: DunningRun, at: datetime) -> bool:
    """The next orders: whose turn it is, and who would be but for what. True, or False if the run
    waits for a click."""
    here = Circumstances(run.merchant_id, at)
    if run.after_order_id == 0:
        recount_fees(run.merchant_id, at)
        if not here.general.stop_mails:  # a mail that was stopped in the moment in which that ended
            release_stopped(run.merchant_id, at)
    ids = open_ids(run.merchant_id, run.after_order_id, LOOKED_AT_ONCE)
    hindered, due_ids = Counter(run.hindered), list(run.due_ids)
    for one in _due_in(ids, here):
        if one.hindered is None:
            due_ids.append(one.order.order_id)
        else:
            hindered[one.hindered] += 1
    run.hindered, run.due_ids = dict(hindered), due_ids
    run.looked_at += len(ids)
    if len(ids) == LOOKED_AT_ONCE:
        run.after_order_id = ids[-1]
        return True
    return _counted(run, at)


def _counted(run: DunningRun, at: datetime) -> bool:
    """All were looked at: is it more than a person would expect?"""
    run.is_counted = True
    usual = _usual(run.merchant_id)
    count = len(run.due_ids)
    if run.released_at is None and count > FREE_MAILS and count > UNUSUAL * usual:
        run.withhold(TOO_MANY)
        _replace_waiting(run, at)
        tell_of_waiting_run(run.merchant_id, run.id, count, usual, at)
        return False
    return True


def _replace_waiting(run: DunningRun, at: datetime) -> None:
    """Only the newest run waits for a click: it knows what is due now."""
    older = update(DunningRun).where(
        DunningRun.merchant_id == run.merchant_id,
        DunningRun.id < run.id,
        DunningRun.status == "withheld",
        DunningRun.error == TOO_MANY,
    )
    db.session.execute(older.values(error=REPLACED, finished_at=at, due_ids=[]))


def _usual(merchant_id: int) -> int:
    """How many mails the last runs wrote that wrote any: their median."""
    last = (
        select(DunningRun.did)
        .where(DunningRun.merchant_id == merchant_id, DunningRun.status == "done")
        .order_by(DunningRun.id.desc())
    )
    counts: list[int] = []
    for did in db.session.scalars(last.limit(USUAL_OF_RUNS * 30)):
        count = mails_in(did)
        if count:
            counts.append(count)
        if len(counts) == USUAL_OF_RUNS:
            break
    return int(median(counts)) if counts else 0


def mails_in(did: Mapping[str, int]) -> int:
    return sum(did.get(kind, 0) for kind in MAIL_KINDS)


def _do_slice(run: DunningRun, at: datetime) -> None:
    """The next orders, planned again below the lock: one step each."""
    taken, run.due_ids = run.due_ids[:DONE_AT_ONCE], run.due_ids[DONE_AT_ONCE:]
    lock_merchant(run.merchant_id)
    here = Circumstances(run.merchant_id, at)
    orders = orders_now(run.merchant_id, taken)
    ledger = Ledger(taken)
    did, hindered = Counter(run.did), Counter(run.hindered)
    listed = {kind: list(ids) for kind, ids in run.listed.items()}
    for one in read_orders(taken, here):
        due = _due(one, here)
        if due is None:
            continue
        if due.hindered is not None:
            hindered[due.hindered] += 1
            continue
        kind = due.step.kind
        if _try(run, orders[one.order_id], due, here, ledger):
            did[kind] += 1
            if kind in ENDS and len(listed.setdefault(kind, [])) < LISTED:
                listed[kind].append(one.order_id)
        else:
            hindered["impossible"] += 1
    run.did, run.hindered, run.listed = dict(did), dict(hindered), listed
    announce(Mail)  # a savepoint that ended has rung already, before the commit


def _try(run: DunningRun, order: Order, due: Due, here: Circumstances, ledger: Ledger) -> bool:
    """Do the step. An order of which no mail can be made must not keep all others waiting."""
    try:
        with db.session.begin_nested():
            return carry_out(
                order, due.order, due.step, here, actor=run.actor, run_id=run.id, ledger=ledger
            )
    except DBAPIError:
        raise
    except Exception:
        log.exception("order %s of run %s", order.id, run.id)
        return False


def _finish(run: DunningRun, at: datetime) -> None:
    """The merchant hears of what ended, and once a day of what is held back."""
    for kind, mail in ENDS.items():
        if run.did.get(kind):
            ids = run.listed.get(kind, [])
            tell_of_ended(mail, run.merchant_id, run.id, ids, run.did[kind], at)
    held = held_in(run.hindered)
    if held and _begins_to_hold(run, at):
        _tell_why(run.merchant_id, held, at)
    run.due_ids = []
    run.succeed(at)


def held_in(hindered: Mapping[str, int]) -> int:
    """How many were held back for a reason that the merchant can do something about."""
    return sum(hindered.get(reason, 0) for reason in HOLDS)


def _begins_to_hold(run: DunningRun, at: datetime) -> bool:
    """Not told every day of what lasts: when it begins, and once in ``TOLD_AGAIN_AFTER``."""
    before = select(DunningRun.hindered).where(
        DunningRun.merchant_id == run.merchant_id,
        DunningRun.id != run.id,
        DunningRun.status == "done",
    )
    held_before = held_in(db.session.scalar(before.order_by(DunningRun.id.desc()).limit(1)) or {})
    told = select(func.max(Mail.created_at)).where(
        Mail.merchant_id == run.merchant_id, Mail.kind == "reminders_held"
    )
    told_at = db.session.scalar(told)
    return not held_before or told_at is None or at - told_at >= TOLD_AGAIN_AFTER


def _tell_why(merchant_id: int, count: int, at: datetime) -> None:
    here = Circumstances(merchant_id, at)
    away = {shop_id for shop_id in here.living if here.is_away(shop_id)}
    asked_at = here.asked_at()
    stale = {iban for iban, shops in asked_at.items() if any(here.is_stale(iban, s) for s in shops)}
    tell_of_held(here, count, stale, away)


# --- looking without doing -----------------------------------------------------------------------


def preview(merchant_id: int, at: datetime, limit: int) -> list[Due]:
    """What a run would do now, and what it would leave undone and why; the first ``limit``."""
    found: list[Due] = []
    for due in _all_due(merchant_id, at):
        found.append(due)
        if len(found) >= limit:
            break
    return found


def preview_counts(merchant_id: int, at: datetime) -> tuple[dict[str, int], dict[str, int]]:
    """(What a run would do now, by kind of step; what it would leave undone, by reason)."""
    does: Counter[str] = Counter()
    hindered: Counter[str] = Counter()
    for due in _all_due(merchant_id, at):
        if due.hindered is None:
            does[due.step.kind] += 1
        else:
            hindered[due.hindered] += 1
    return dict(does), dict(hindered)


def plans(merchant_id: int, at: datetime, limit: int) -> Iterator[tuple[OpenOrder, Plan]]:
    """The plans of the first ``limit`` open orders, by id."""
    here = Circumstances(merchant_id, at)
    for ids in slices(open_ids(merchant_id, 0, limit), LOOKED_AT_ONCE):
        for one in read_orders(ids, here):
            yield one, plan_for(one, here)


def _all_due(merchant_id: int, at: datetime) -> Iterator[Due]:
    here = Circumstances(merchant_id, at)
    after_id = 0
    while True:
        ids = open_ids(merchant_id, after_id, LOOKED_AT_ONCE)
        yield from _due_in(ids, here)
        if len(ids) < LOOKED_AT_ONCE:
            return
        after_id = ids[-1]


def _due_in(ids: Sequence[int], here: Circumstances) -> Iterator[Due]:
    for one in read_orders(ids, here):
        due = _due(one, here)
        if due is not None:
            yield due


def _due(one: OpenOrder, here: Circumstances) -> Due | None:
    found = plan_for(one, here).due(here.today)
    return Due(one, found, here.hindrance(one.whose)) if found is not None else None
