"""Many mails to many servers: each server has a lane, and a slow one holds up nobody else.

A file of its own because this is all about order and waiting, while ``delivery`` knows one mail.
What a row is and how it becomes a mail only its ``Desk`` knows, so the relay sends in rounds too.
The SMTP dialogues run in threads, one at a time for each host. Everything that touches a row
happens in the thread that owns the database session, between the dialogues: a mail is written
while the one before it is under way, and its outcome is committed before the next one begins.

That order is the crash policy. At most one mail a lane is under way at any moment, so a worker
that is killed leaves at most that one in doubt. Whether it is sent once more is decided by its
kind (``release_abandoned`` of the row).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Generic, Protocol, Self, TypeVar

from server.db import now
from server.mail import hosts
from server.mail.routes import Route, Routes
from server.mail.smtp import NotEver, NotNow, NotSent, NotSetUp, SmtpSession

DIALOGUES_AT_ONCE = 16
MAX_WAITING = 200
"""Claimed and not under way, over all lanes: a killed worker holds them until its lease ends."""
MAX_WAITING_A_LANE = 50
LANE_IS_FULL = timedelta(seconds=5)
FEW = 5
LONGEST_WAIT_SECONDS = 0.5

Act = Callable[[Any, Callable[[Any], None]], None]
"""Does something with one row, writes its state and commits (``jobs.act``)."""


class Row(Protocol):
    """A mail that a worker has claimed. ``is_important``: rather twice than never."""

    error: Any
    sent_via: Any

    @property
    def is_important(self) -> bool: ...

    def put_back(self, at: datetime) -> None: ...

    def wait_until(
        self, due_at: datetime, why: str, at: datetime, *, is_host_dead: bool = False
    ) -> None: ...


class Letter(Protocol):
    """A finished mail: two bare addresses for the envelope, and the bytes."""

    @property
    def sender(self) -> str: ...

    @property
    def recipient(self) -> str: ...

    @property
    def raw(self) -> bytes: ...


R = TypeVar("R", bound=Row)
R_contra = TypeVar("R_contra", bound=Row, contravariant=True)
L = TypeVar("L", bound=Letter)


class Desk(Protocol[R_contra, L]):
    """What is known of a batch of rows: where they go, how each is written, what is noted."""

    def settle(self, rows: Sequence[R_contra]) -> bool:
        """Fix what every copy must carry alike; True if that is to be committed now."""

    def destination(self, row: R_contra) -> str:
        """The bare address. Raises NotEver and NotSetUp."""

    def write(self, row: R_contra) -> L:
        """Raises NotEver and NotSetUp."""

    def note_success(self, row: R_contra, letter: L, answer: str, host: str) -> None: ...

    def note_failure(self, row: R_contra, problem: NotSent, letter: L | None = None) -> None: ...

    def suppress(self, row: R_contra, evidence: str, at: datetime) -> None:
        """The server knows no such address, so later mails need not try."""


@dataclass(slots=True)
class _Lane(Generic[R, L]):
    """The mails for one host. ``ready`` is the next one, written while another is under way."""

    host: str
    session: SmtpSession
    has_failed: bool
    mails: deque[tuple[R, Desk[R, L]]] = field(default_factory=deque)
    ready: tuple[R, Desk[R, L], L | Exception] | None = None
    is_busy: bool = False
    pause: hosts.Standing | None = None


class Rounds(Generic[R, L]):
    """Takes claimed mails and sees each of them to its outcome.

        with Rounds(routes, act=act, commit=commit, may_begin=may_begin) as rounds:
            rounds.take(mails, desk)
            while rounds.is_busy:
                rounds.step()

    ``may_begin`` False lets what is under way end and begins nothing; mails that were taken and
    not begun are still `running` then. So are those ``in_doubt``: handed over, and the outcome
    could not be written. They are for ``release_abandoned``. ``pool`` names the senders whose
    pauses and limits these are; ``source`` is the address that they connect from, "" any. For one
    thread.
    """

    def __init__(
        self,
        routes: Routes,
        *,
        act: Act,
        commit: Callable[[], None],
        may_begin: Callable[[], bool],
        own_name: str = "",
        mails_a_minute: int | None = None,
        pool: str = "",
        source: str = "",
    ) -> None:
        self._routes = routes
        self._act = act
        self._commit = commit
        self._may_begin = may_begin
        self._own_name = own_name
        self._mails_a_minute = mails_a_minute if routes.is_direct else None
        self._pool_name, self._source = pool, source
        self._lanes: dict[str, _Lane[R, L]] = {}
        self._asking: dict[str, list[tuple[R, Desk[R, L]]]] = {}
        self._under_way: dict[Future[Any], Callable[[Future[Any]], None]] = {}
        self.in_doubt: set[R] = set()
        self._took_at, self._was_much = -LONGEST_WAIT_SECONDS, True
        self._pool = ThreadPoolExecutor(DIALOGUES_AT_ONCE, thread_name_prefix="mail")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """What is under way ends and is written down, whatever happened."""
        self._may_begin = _never
        try:
            while self.is_busy:
                self.step()
        finally:
            self._pool.shutdown()
            for lane in self._lanes.values():
                lane.session.close()

    @property
    def is_busy(self) -> bool:
        return bool(self._under_way)

    @property
    def wants_more(self) -> bool:
        """Few are left, or a while has passed in which only slow hosts had something to do."""
        waiting = sum(len(some) for some in self._asking.values())
        waiting += sum(len(lane.mails) for lane in self._lanes.values())
        is_long_ago = time.monotonic() - self._took_at >= LONGEST_WAIT_SECONDS
        return (waiting <= FEW and self._was_much) or (is_long_ago and waiting < MAX_WAITING)

    def took(self, count: int) -> None:
        """So many were due when it was last asked; decides when to ask again."""
        self._took_at, self._was_much = time.monotonic(), count > FEW

    def take(self, mails: Sequence[R], desk: Desk[R, L]) -> None:
        """Mails that this worker has claimed. What has no address ends here (S5)."""
        self.took(len(mails))
        if desk.settle(mails):
            self._commit()
        by_domain: dict[str, list[tuple[R, Desk[R, L]]]] = {}
        for mail in mails:
            try:
                domain = desk.destination(mail).rpartition("@")[2].lower()
            except (NotEver, NotSetUp) as problem:
                self._fail(mail, desk, problem)
            else:
                by_domain.setdefault(domain, []).append((mail, desk))
        for domain, some in by_domain.items():
            self._find_way(domain, some)

    def step(self) -> None:
        """Wait a moment for the next outcome, and go on from there."""
        done, _ = wait(self._under_way, LONGEST_WAIT_SECONDS, FIRST_COMPLETED)
        for future in done:
            self._under_way.pop(future)(future)

    # --- where to

    def _find_way(self, domain: str, some: list[tuple[R, Desk[R, L]]]) -> None:
        if self._routes.resolver is None:
            self._found_way(some, self._routes.to(domain))
        elif domain in self._asking:
            self._asking[domain] += some
        else:
            self._asking[domain] = some
            self._start(partial(self._routes.to, domain), partial(self._answered_way, domain))

    def _answered_way(self, domain: str, future: Future[Route]) -> None:
        some = self._asking.pop(domain)
        try:
            route = future.result()
        except BaseException:
            self._asking[domain] = some  # a bug; it is raised, and the mails are not lost
            raise
        self._found_way(some, route)

    def _found_way(self, some: Sequence[tuple[R, Desk[R, L]]], route: Route) -> None:
        if route.verdict is not None:
            sort = NotEver if route.verdict.is_final else NotNow
            for mail, desk in some:
                self._fail(mail, desk, sort(route.words, route.verdict))
            return
        lane = self._lanes.get(route.host)
        if lane is None:
            lane = self._open(route)
        lane.mails.extend(some)
        self._hold_paused(lane)
        self._hold_too_many(lane)
        self._go_on(lane)

    def _open(self, route: Route) -> _Lane[R, L]:
        stands = hosts.standing(self._key(route.host))
        session = SmtpSession(route.servers, own_name=self._own_name, source=self._source)
        lane: _Lane[R, L] = _Lane(route.host, session, stands.failures > 0)
        self._lanes[route.host] = lane
        return lane

    def _hold_paused(self, lane: _Lane[R, L]) -> None:
        if not lane.has_failed:
            return
        stands, at = hosts.standing(self._key(lane.host)), now()
        if stands.paused_until is not None and stands.paused_until > at:
            self._hold(lane, stands)

    def _hold_too_many(self, lane: _Lane[R, L]) -> None:
        """More than the host may get in this minute, or than is wise to hold.

        The limits are ours, so no mail is given up for them, however old it is.
        """
        at = now()
        too_many = [lane.mails.pop() for _ in range(len(lane.mails) - MAX_WAITING_A_LANE)]
        for mail, _ in too_many:
            mail.put_back(at + LANE_IS_FULL)
        if self._mails_a_minute is None or not lane.mails:
            return
        wanted = len(lane.mails)
        granted, more_at = hosts.grant(self._key(lane.host), wanted, self._mails_a_minute, at)
        for _ in range(wanted - granted):
            mail, _desk = lane.mails.pop()
            mail.put_back(more_at)
            mail.error = f"{lane.host} gets no more mails in this minute"
        self._commit()

    def _hold(self, lane: _Lane[R, L], stands: hosts.Standing) -> None:
        """Back to the queue until the host may be tried again; no attempt is counted."""
        at = now()
        waiting = [mail for mail, _ in lane.mails]
        if lane.ready is not None:
            waiting.append(lane.ready[0])
        for mail in waiting:
            due_at = stands.paused_until or at
            mail.wait_until(due_at, stands.because, at, is_host_dead=stands.is_dead)
        lane.mails.clear()
        lane.ready = None
        self._commit()

    # --- sending

    def _go_on(self, lane: _Lane[R, L]) -> None:
        """Hand over the next mail of this lane, and write the one after it meanwhile."""
        while not lane.is_busy and self._may_begin():
            lane.ready = lane.ready or _written(lane)
            if lane.ready is None:
                return
            mail, desk, letter = lane.ready
            lane.ready = None
            if isinstance(letter, Exception):
                self._fail(mail, desk, letter)
                continue
            if not mail.is_important:
                mail.sent_via = lane.host  # so that a crash tells it from those not begun
                self._commit()
            lane.is_busy = True
            self.in_doubt.add(mail)
            self._start(
                partial(lane.session.send, letter.sender, letter.recipient, letter.raw),
                partial(self._answered, lane, mail, desk, letter),
            )
            lane.ready = _written(lane)

    def _answered(
        self, lane: _Lane[R, L], mail: R, desk: Desk[R, L], letter: L, future: Future[str]
    ) -> None:
        lane.is_busy = False
        self._act(mail, lambda row: self._conclude(row, lane, desk, letter, future))
        self.in_doubt.discard(mail)
        if lane.pause is not None:
            self._hold(lane, lane.pause)
            lane.pause = None
        self._go_on(lane)

    def _fail(self, mail: R, desk: Desk[R, L], problem: Exception) -> None:
        def fail(row: R) -> None:
            if isinstance(problem, NotSent):
                desk.note_failure(row, problem)
            raise problem

        self._act(mail, fail)

    def _conclude(
        self, row: R, lane: _Lane[R, L], desk: Desk[R, L], letter: L, future: Future[str]
    ) -> None:
        """Write down how one dialogue went, of the mail and of the host. Raises what it raised."""
        try:
            answer = future.result()
        except (NotNow, NotEver, NotSetUp) as problem:
            desk.note_failure(row, problem, letter)
            verdict, at = problem.verdict, now()
            if verdict.suppress:
                desk.suppress(row, str(problem), at)
            if verdict.pause_host:
                lane.has_failed = True
                wish = timedelta(seconds=verdict.retry_after_seconds or 0)
                lane.pause = hosts.failed(self._key(lane.host), str(problem), at, wish)
            raise
        desk.note_success(row, letter, answer, lane.session.host)
        if lane.has_failed:
            hosts.worked(self._key(lane.host))
            lane.has_failed = False

    def _key(self, host: str) -> str:
        """Pools do not share what a host thinks of them."""
        return f"{self._pool_name}:{host}" if self._pool_name else host

    def _start(self, work: Callable[[], Any], then: Callable[[Future[Any]], None]) -> None:
        self._under_way[self._pool.submit(work)] = then


def _never() -> bool:
    return False


def _written(lane: _Lane[R, L]) -> tuple[R, Desk[R, L], L | Exception] | None:
    """The next mail and its letter, or why there is none: said when its turn comes."""
    if not lane.mails:
        return None
    mail, desk = lane.mails.popleft()
    try:
        return mail, desk, desk.write(mail)
    except Exception as problem:
        return mail, desk, problem
