"""Everything that runs in the background, on one page.

A job names a kind of work and carries nothing else. It drains what is due of that kind: claim,
act, write the outcome, commit; row after row, for at most ``DRAIN_SECONDS``. RQ is the doorbell:
when a job is lost, the rows are still due and the clock rings again.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, suppress
from datetime import datetime, timedelta
from typing import Any

from flask import current_app
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue, SimpleWorker
from rq.timeouts import UnixSignalDeathPenalty

from plugin_sdk.errors import ConnectorError, Misconfigured, Rejected, Temporary
from server.banking import fetching, folder
from server.banking.accounts import AccountNeeded
from server.banking.formats import UnknownColumns, Unreadable
from server.banking.intake import StatementImport
from server.banking.models import BankConnection, Statement
from server.banking.service import has_columns, use_remembered_columns
from server.callbacks import service as callbacks
from server.callbacks.models import Callback
from server.callbacks.sending import Attempt, Sender
from server.collection import service as collection
from server.config import Settings, installed
from server.db import db, now
from server.dunning import runs
from server.dunning.models import DunningRun
from server.forgetting.retention import Forgetting
from server.hosting.host import Host
from server.letters import handover
from server.letters import models as letters
from server.letters.adapters import HandoverInDoubt
from server.mail import domains
from server.mail.delivery import Desk, Letter, withhold_opted_out
from server.mail.dns import resolver_of
from server.mail.models import Mail, SendingDomain
from server.mail.rounds import Rounds
from server.mail.routes import Routes
from server.mail.smtp import MayHaveArrived
from server.matching.service import match_postings, tell_of_the_day
from server.orders.brakes import hold_back
from server.orders.letters import hold_back as hold_letters_back
from server.orders.lifecycle import admit_monitored
from server.orders.merchant_notices import (
    tell_of_bank,
    tell_of_callback,
    tell_of_domain,
    tell_of_quota,
    tell_of_recognised,
)
from server.orders.models import CollectionCase, MatchRequest
from server.orders.proofs import read_waiting
from server.orders.service import (
    disable_lasting,
    expire_updates,
    no_longer_asked,
    request_match,
    take_match_requests,
)
from server.refunds.recognition import recognise
from server.refunds.service import pass_time
from server.refunds.surpluses import repay_surpluses
from server.relay import counting, quota
from server.relay.delivery import POOL, Parcel, RelayDesk, withhold_suppressed
from server.relay.models import RelayDelivery
from server.shops.models import PaymentUpdate, ShopConnection
from server.shops.order_requests import expire_requests
from server.vault import VaultLocked
from server.work import DRAIN_SECONDS, JOB_TIMEOUT_SECONDS, WorkItem

MAILS_AT_ONCE = 20
RELAY_SECONDS = 20
MAIL_SECONDS = 10
"""A mail that is begun in the last of them has 48 s more; a job may live for 60."""
STATEMENTS_OPEN = 8
CALLBACKS_AT_ONCE = 16
CALLBACK_LOOK_SECONDS = 0.25
"""So often it is looked who else is due, while some wait for an answer."""
RING_SECONDS = 2
COLLECT_SECONDS = 0.02
YIELD_SECONDS = 0.03
"""Long work rests that long after each slice: somebody else's short work comes in between."""
RESULT_SECONDS = 60
WORKER_TTL_SECONDS = 60
MAINTENANCE_SECONDS = 30
WORKER_NICENESS = 5
SWITCH_SECONDS = 0.0005
"""A mail that is being written lets go that soon when the dialogue of another has an answer."""
GARBAGE_THRESHOLDS = (50_000, 20, 100)
"""A worker keeps what it has loaded; looking through it for garbage took a tenth of its time."""
RUNG = "kontor:rung:"
HOST = "kontor.host"
VISIT_LOOK_SECONDS = 0.2

STOPPING = threading.Event()
"""Set when this worker was asked to stop: a drain ends after the row at hand."""

FORGETTING: dict[int, Forgetting] = {}
"""Whose day has come, by id of the merchant. What a worker that stops has not done yet is as old
on the next day."""


# --- the drains --------------------------------------------------------------------------------


def drain_mail() -> bool:
    """Send what is due. Connections are kept for many mails; commit right after each 250."""
    settings, deadline = _settings(), time.monotonic() + MAIL_SECONDS
    rounds: Rounds[Mail, Letter] = Rounds(
        Routes.of(settings, _smtp_url()),
        act=act,
        commit=db.session.commit,
        may_begin=lambda: _may_go_on(deadline),
        own_name=settings.mail_host,
        mails_a_minute=settings.mails_a_minute,
    )
    return _send_in(rounds, _take_mails, deadline)


def _send_in(
    rounds: Rounds[Any, Any], take: Callable[[Rounds[Any, Any], list[Any]], bool], deadline: float
) -> bool:
    """Take what is due and see it to its outcome; True if there may be more."""
    taken: list[Any] = []
    try:
        with rounds:
            while _may_go_on(deadline):
                if rounds.wants_more or not rounds.is_busy:
                    is_any = take(rounds, taken)
                    if not is_any and not rounds.is_busy:
                        return False
                rounds.step()
    finally:
        not_begun = [row for row in taken if row not in rounds.in_doubt]
        _put_back([row for row in not_begun if row.status == "running"])
    return True


def _take_mails(rounds: Rounds[Mail, Letter], taken: list[Mail]) -> bool:
    """Claim the next ones and give out what may go; False if there were none."""
    mails = Mail.claim(MAILS_AT_ONCE, now())
    if not mails:
        rounds.took(0)
        return False
    taken += mails
    _withhold_moot(mails)
    desk = Desk.of(mails, now(), _settings())
    for mail in withhold_opted_out(mails, desk):
        mails.remove(mail)
    db.session.commit()
    rounds.take(mails, desk)
    return True


def _withhold_moot(mails: list[Mail]) -> None:
    """A payment withholds what is queued; this finds what was claimed then and came back."""
    for mail in no_longer_asked(mails):
        mail.withhold("the order is not open any more")
        mails.remove(mail)
    for mail in hold_back(mails):
        mails.remove(mail)
    db.session.commit()


def drain_relay_delivery() -> bool:
    """Deliver other systems' mails, from servers of their own (S88); then count, roll and forget.

    A mail of 30 MB takes its time, so this job lives longer than others.
    """
    settings, deadline = _settings(), time.monotonic() + RELAY_SECONDS
    url = settings.relay_smtp_url or _smtp_url()
    rounds: Rounds[RelayDelivery, Parcel] = Rounds(
        Routes.of(settings, url),
        act=act,
        commit=db.session.commit,
        may_begin=lambda: _may_go_on(deadline),
        own_name=settings.relay_host or settings.mail_host,
        mails_a_minute=settings.mails_a_minute,
        pool=POOL,
        source=settings.relay_source,
    )
    has_more = _send_in(rounds, _take_deliveries, deadline)
    return _count_relay() or has_more


def _take_deliveries(rounds: Rounds[Any, Any], taken: list[Any]) -> bool:
    _count_relay()
    rows = RelayDelivery.claim(MAILS_AT_ONCE, now())
    if not rows:
        rounds.took(0)
        return False
    taken += rows
    held = withhold_suppressed(rows, now())
    rows = [row for row in rows if row not in held]
    desk = RelayDesk(rows, now(), _settings())
    db.session.commit()
    rounds.take(rows, desk)
    return True


def _count_relay() -> bool:
    """One slice of the statistics and the quota; True if there may be more."""
    while quota.roll(now()):
        db.session.commit()
    counted, crossings = counting.count(now())
    for crossing in crossings:
        tell_of_quota(
            crossing.merchant_id, crossing.left, crossing.threshold, crossing.ends_at, now()
        )
    forgotten = counting.forget_content(now())
    db.session.commit()
    return counted == counting.COUNTED_AT_ONCE or forgotten == counting.FORGOTTEN_AT_ONCE


def _put_back(rows: Iterable[WorkItem]) -> None:
    """Claimed, but not acted on: at once for the next drain, not after the lease."""
    for row in rows:
        row.put_back(now())
    db.session.commit()


def drain_statement() -> bool:
    """Read what came in: one slice of each open file in turn, so nobody waits for a long one."""
    deadline = time.monotonic() + DRAIN_SECONDS
    _empty_inbox()
    reading: dict[Statement, StatementImport] = {}
    try:
        while _may_go_on(deadline):
            for statement in Statement.claim(STATEMENTS_OPEN - len(reading), now()):
                reading[statement] = StatementImport(statement)
            if not reading:
                return False
            for statement in list(reading):
                importing = reading.pop(statement)
                if _read_slice(statement, importing):
                    reading[statement] = importing
                    time.sleep(YIELD_SECONDS)
    finally:
        _put_back(reading)
    return True


def _empty_inbox() -> None:
    """Files that another program laid there: kept first, then moved away."""
    inbox, at = _settings().inbox, now()
    for file in folder.laid(inbox, at) if inbox else ():
        was_kept = folder.keep(file)
        db.session.commit()
        folder.put_away(file, was_kept=was_kept, at=at)


def _read_slice(statement: Statement, importing: StatementImport) -> bool:
    """One slice, committed. True while more is to come."""
    try:
        more = _step(statement, importing)
    except Exception as error:
        _failed(statement, error)
        raise
    request_match(statement.merchant_id, now())
    db.session.commit()
    return more


def _step(statement: Statement, importing: StatementImport) -> bool:
    try:
        more = importing.step()
    except Unreadable as problem:
        db.session.rollback()
        if isinstance(problem, UnknownColumns) and use_remembered_columns(statement):
            statement.put_back(now())
            return False
        statement.asks_account = isinstance(problem, AccountNeeded)
        statement.asks_columns = isinstance(problem, UnknownColumns) and has_columns(statement)
        statement.problems = [{"where": "file", "what": str(problem)}, *statement.problems][:200]
        statement.give_up(str(problem), now())
        return False
    statement.attempts = 1  # it gets on, so earlier failures are over
    if not more:
        statement.succeed(now())
        tell_of_recognised(statement)
    return more


def drain_match_request() -> bool:
    """Decide which posting pays which order; merchants in turn, a slice each."""
    deadline = time.monotonic() + DRAIN_SECONDS
    has_more: list[bool] = []
    while _may_go_on(deadline):
        requests = MatchRequest.claim(1, now())
        if not requests:
            return False
        act(requests[0], lambda request: has_more.append(_match(request)))
        if has_more and has_more.pop():
            time.sleep(YIELD_SECONDS)
    return True


def _match(request: MatchRequest) -> bool:
    """One slice. True if more of this merchant is waiting."""
    at = now()
    take_match_requests(request.merchant_id, at)
    waits = read_waiting(request.merchant_id, at)
    waits |= recognise(request.merchant_id, at)
    is_more = match_postings(request.merchant_id, at) or waits
    if is_more:
        request_match(request.merchant_id, now())  # behind whoever asked meanwhile
    else:
        repay_surpluses(request.merchant_id, at)
        tell_of_the_day(request.merchant_id, at)
    db.session.delete(request)
    return is_more


def drain_payment_update() -> bool:
    """What time does by itself: news to shops that are too old end, watched orders come in,
    repayments that were planned for today may go."""
    while expire_updates(now()) or expire_requests(now()):
        db.session.commit()
    while disable_lasting(now()):
        db.session.commit()
    while admit_monitored(now()):
        db.session.commit()
    while pass_time(now()):
        db.session.commit()
    db.session.commit()
    return False


def drain_bank_connection() -> bool:
    """Fetch from the banks whose time has come. A bank that is away is asked again later."""
    deadline = time.monotonic() + DRAIN_SECONDS
    while _may_go_on(deadline):
        rows = BankConnection.claim(1, now())
        if not rows:
            return False
        _fetch(rows[0])
    return True


def _fetch(claimed: BankConnection) -> None:
    row = fetching.connection_of(claimed.merchant_id, claimed.id)
    assert row is not None, "it was claimed just now"
    try:
        notice = fetching.fetch(row, now(), is_attended=False)
    except Temporary as error:
        fetching.bank_is_away(row, str(error), now())
        notice = None
    except Exception as error:
        _failed(row, error)
        raise
    if notice is not None:
        tell_of_bank(notice)
    db.session.commit()


def drain_shop_connection() -> bool:
    """Visit the shops that Kontor talks to itself; whoever takes long is not waited for."""
    host = _host()
    deadline = time.monotonic() + DRAIN_SECONDS
    while _may_go_on(deadline):
        host.begin(now())
        if not host.is_busy:
            return False
        host.wait(VISIT_LOOK_SECONDS)
    return True


def _host() -> Host:
    """One a process: its threads outlive the job."""
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    if HOST not in app.extensions:
        app.extensions[HOST] = Host(
            in_context=app.app_context, commit=db.session.commit, is_stopping=STOPPING.is_set
        )
    host: Host = app.extensions[HOST]
    return host


def drain_dunning_run() -> bool:
    """Remind, cancel and hand over what is due: a slice at a time, and it goes on where it was.

    Then what grew old is forgotten, while no run waits.
    """
    deadline = time.monotonic() + DRAIN_SECONDS
    while _may_go_on(deadline):
        rows = DunningRun.claim(1, now())
        if rows:
            _run(rows[0], deadline)
        elif not _forget_a_little():
            return False
    return True


def _run(run: DunningRun, deadline: float) -> None:
    try:
        while runs.step(run, now()):
            db.session.commit()
            if not _may_go_on(deadline):
                _put_back([run])
                return
            time.sleep(YIELD_SECONDS)
        if run.status != "queued" and run.origin == "daily":
            FORGETTING.setdefault(run.merchant_id, Forgetting(run.merchant_id))
        if run.status == "done" and run.origin == "daily":
            tell_of_the_day(run.merchant_id, now())
    except Exception as error:
        _failed(run, error)
        raise
    db.session.commit()


def _forget_a_little() -> bool:
    """One slice of the merchant whose turn it is. False if no merchant is left."""
    if not FORGETTING:
        return False
    merchant_id = next(iter(FORGETTING))
    turn = FORGETTING.pop(merchant_id)
    if turn.step(now()):
        FORGETTING[merchant_id] = turn  # behind the others
    db.session.commit()
    time.sleep(YIELD_SECONDS)
    return True


def drain_sending_domain() -> bool:
    """Look at the domains whose day has come. A DNS that is away changes nothing."""
    deadline = time.monotonic() + DRAIN_SECONDS
    while _may_go_on(deadline):
        rows = SendingDomain.claim(1, now())
        if not rows:
            return False
        _look_at(rows[0])
    return True


def _look_at(row: SendingDomain) -> None:
    try:
        asked = domains.question(row)
        db.session.commit()
        report = domains.observe(asked, resolver_of(_settings()), domains.home())
        broken = domains.settle(row.id, report, now())
        if broken is not None:
            tell_of_domain(broken)
    except Exception as error:
        _failed(row, error)
        raise
    db.session.commit()


def drain_callback() -> bool:
    """Post what is due, several at once: an address that hangs holds up no other."""
    deadline = time.monotonic() + DRAIN_SECONDS
    while callbacks.end_what_is_over(now()):
        db.session.commit()
    on_their_way: dict[Future[Attempt], Callback] = {}
    with closing(Sender(_settings())) as sender, ThreadPoolExecutor(CALLBACKS_AT_ONCE) as pool:
        while True:
            may_go_on = _may_go_on(deadline)
            if may_go_on and len(on_their_way) < CALLBACKS_AT_ONCE:
                for row in Callback.claim(CALLBACKS_AT_ONCE - len(on_their_way), now()):
                    _post(row, sender, pool, on_their_way)
            if not on_their_way:
                return not may_go_on
            arrived, _ = wait(on_their_way, CALLBACK_LOOK_SECONDS, FIRST_COMPLETED)
            for future in arrived:
                _arrived(on_their_way.pop(future), future)


def _post(
    row: Callback,
    sender: Sender,
    pool: ThreadPoolExecutor,
    on_their_way: dict[Future[Attempt], Callback],
) -> None:
    try:
        parcel = callbacks.parcel_of(row, now())
    except VaultLocked as locked:
        row.break_off(str(locked), now())
    else:
        if parcel is not None:
            on_their_way[pool.submit(sender.send, parcel)] = row
    db.session.commit()


def _arrived(row: Callback, future: Future[Attempt]) -> None:
    try:
        trouble = callbacks.settle(row.id, future.result(), now())
        if trouble is not None:
            tell_of_callback(trouble)
    except Exception as error:
        _failed(row, error)
        raise
    db.session.commit()


def drain_collection_case() -> bool:
    """Tell the partners what they do not know yet, and ask them: one thing of a case at a time."""
    deadline = time.monotonic() + DRAIN_SECONDS
    while _may_go_on(deadline):
        rows = CollectionCase.claim(1, now())
        if not rows:
            return False
        _collect(rows[0])
    return True


def _collect(case: CollectionCase) -> None:
    try:
        errand = collection.errand_of(case.id, now())
        db.session.commit()
        if errand is not None:
            outcome = collection.run_errand(errand, now())
            collection.settle_errand(errand, outcome, now())
    except Exception as error:
        _failed(case, error)
        raise
    db.session.commit()


def drain_letter() -> bool:
    """Hand over what is due, then ask how those fare that are under way."""
    deadline = time.monotonic() + DRAIN_SECONDS
    with handover.Printers(db.session.commit) as printers:
        try:
            while _may_go_on(deadline):
                rows = letters.Letter.claim(1, now())
                if not rows:
                    return _ask_after_letters(deadline, printers)
                _hand_over(rows[0], printers)
        finally:
            with suppress(Temporary):  # the next round puts it together
                printers.finish()
    return True


def _hand_over(row: letters.Letter, printers: handover.Printers) -> None:
    if hold_letters_back([row]) or handover.waits_for_service(row, now(), printers):
        db.session.commit()
        return
    act(row, lambda letter: handover.hand_over(letter, now(), printers))


def _ask_after_letters(deadline: float, printers: handover.Printers) -> bool:
    """True while more are to be asked after."""
    while _may_go_on(deadline):
        rows = handover.letters_to_ask(now(), 1)
        if not rows:
            db.session.rollback()
            return False
        handover.refresh(rows[0], now(), printers)
        db.session.commit()
    return True


_WORK: dict[str, tuple[type[WorkItem], Callable[[], bool]]] = {
    "mail": (Mail, drain_mail),
    "statement": (Statement, drain_statement),
    "match_request": (MatchRequest, drain_match_request),
    "payment_update": (PaymentUpdate, drain_payment_update),
    "bank_connection": (BankConnection, drain_bank_connection),
    "dunning_run": (DunningRun, drain_dunning_run),
    "sending_domain": (SendingDomain, drain_sending_domain),
    "shop_connection": (ShopConnection, drain_shop_connection),
    "callback": (Callback, drain_callback),
    "relay_delivery": (RelayDelivery, drain_relay_delivery),
    "letter": (letters.Letter, drain_letter),
    "collection_case": (CollectionCase, drain_collection_case),
}
"""By the name of its table, which is the name of its bell."""

KINDS: dict[str, type[WorkItem]] = {name: kind for name, (kind, _) in _WORK.items()}
DRAINS: dict[str, Callable[[], bool]] = {name: drains for name, (_, drains) in _WORK.items()}

QUEUES: dict[str, str] = {"letter": "partner", "collection_case": "partner"}
"""Kinds that share a queue, and so a worker, because there is little of them."""


def drain(kind: str) -> None:
    """The one job there is. Its first act makes room for the next ring."""
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    bell: Bell = app.extensions["kontor.bell"]
    bell.hear(kind)
    try:
        more = DRAINS[kind]()
    finally:
        db.session.remove()
    if more:
        bell.ring({kind})


def act(item: Any, action: Callable[[Any], None]) -> None:
    """Do one row and write how it went. The one place where errors become states."""
    try:
        action(item)
    except (MayHaveArrived, HandoverInDoubt) as error:
        item.in_doubt(str(error), now())
    except Temporary as error:
        wish = error.retry_after_seconds
        item.retry(str(error), now(), timedelta(seconds=wish) if wish else None)
    except Rejected as error:
        item.give_up(str(error), now())
    except ConnectorError as error:
        item.retry(str(error), now())
    except Exception as error:
        _failed(item, error)
        raise
    else:
        item.succeed(now())
    db.session.commit()


def _failed(item: Any, error: Exception) -> None:
    """A bug is loud, and the row survives it."""
    db.session.rollback()
    item.break_off(f"unexpected: {error!r}"[:1000], now())
    db.session.commit()


def _may_go_on(deadline: float) -> bool:
    return time.monotonic() < deadline and not STOPPING.is_set()


def _settings() -> Settings:
    settings: Settings = current_app.config["SETTINGS"]
    return settings


def _smtp_url() -> str:
    settings = _settings()
    if settings.smtp_url is None:
        raise Misconfigured("SMTP_URL is not set, so no mail can be sent")
    return settings.smtp_url


# --- the bell ----------------------------------------------------------------------------------


class Bell:
    """Tells RQ that rows of a kind are due. Best effort, and never in anybody's way.

    Rings are collected and sent by a thread of their own, so that a request neither waits for
    Redis nor notices that it is away. A kind that was rung and not yet heard is not rung again.
    """

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self._kinds: set[str] = set()
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None

    def ring(self, kinds: set[str]) -> None:
        with self._change:
            self._kinds |= kinds
            if self._thread is None or not self._thread.is_alive():  # also after a fork
                self._thread = threading.Thread(target=self._work, name="bell", daemon=True)
                self._thread.start()
            self._change.notify()

    def ring_now(self, kinds: set[str]) -> None:
        """For the clock, which has nothing else to do. Raises RedisError.

        What no worker of ours drains, such as a request to a shop's agent, is not rung for.
        """
        for kind in sorted(kinds & KINDS.keys()):
            if self.redis.set(RUNG + kind, 1, nx=True, ex=RING_SECONDS):
                queue = Queue(QUEUES.get(kind, kind), connection=self.redis, serializer="json")
                queue.enqueue(
                    "server.jobs.drain",
                    kind,
                    job_timeout=int(KINDS[kind].lease.total_seconds() / 2),
                    result_ttl=0,
                    failure_ttl=RESULT_SECONDS,
                    ttl=JOB_TIMEOUT_SECONDS,
                )

    def hear(self, kind: str) -> None:
        with suppress(RedisError):
            self.redis.delete(RUNG + kind)

    def _work(self) -> None:
        while True:
            with self._change:
                while not self._kinds:
                    self._change.wait()
                kinds, self._kinds = self._kinds, set()
            with suppress(RedisError):  # the clock rings again
                self.ring_now(kinds)
            time.sleep(COLLECT_SECONDS)


# --- the worker --------------------------------------------------------------------------------


class Worker(SimpleWorker):
    """One queue, one process. A stop signal lets the row at hand finish."""

    death_penalty_class = UnixSignalDeathPenalty

    def request_stop(self, signum: Any, frame: Any) -> None:
        STOPPING.set()
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]


def work(app: Any, name: str) -> None:
    """Run the worker of one queue until it is told to stop. Requests go first on the processor."""
    os.nice(WORKER_NICENESS)
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    redis = Redis.from_url(app.config["SETTINGS"].redis_url)
    with app.app_context():
        queue = Queue(name, connection=redis, serializer="json")
        worker = Worker(
            [queue],
            connection=redis,
            serializer="json",
            worker_ttl=WORKER_TTL_SECONDS,
            maintenance_interval=MAINTENANCE_SECONDS,
            job_monitoring_interval=5,
        )
        worker.work(logging_level="WARNING", with_scheduler=False)


def due_kinds(at: datetime) -> set[str]:
    """What the clock rings for."""
    kinds = {name for name, kind in KINDS.items() if kind.is_due(at)}
    inbox = installed().inbox
    if inbox and next(folder.laid(inbox, at), None) is not None:
        kinds.add(Statement.__tablename__)
    return kinds
