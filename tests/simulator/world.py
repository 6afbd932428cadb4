"""A world: shops, customers, banks, merchants and workers, played from one seed.

Time is the world's; the house reads it from the clock of ``rig``. Everything that happens is an
entry of one queue, ordered by time; after each the workers do what is due, and what must hold is
checked. Redis is only the bell: while it is lost the workers wait for the clock's next round.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import select, text

from plugin_sdk.errors import Rejected, Temporary
from server import clock as house_clock
from server import jobs
from server.db import db
from server.dunning.models import DunningRun
from server.mail.delivery import Desk
from server.mail.models import Mail
from server.merchants.models import Merchant, User
from server.orders.ledger import NotPossible
from server.orders.models import Order
from server.shops.models import Shop
from server.shops.order_requests import has_expired_requests
from server.shops.service import has_expired
from tests.factories import MAPPING, make_account
from tests.fakes.one_mail import deliver_mail
from tests.simulator import people
from tests.simulator.bank import BankModel, german_iban
from tests.simulator.invariants import Checker
from tests.simulator.rig import Clock, governed
from tests.simulator.shop import ShopModel

BERLIN: Final = ZoneInfo("Europe/Berlin")
STARTS: Final = (
    date(2026, 3, 2),  # the clocks go forward on the 29th
    date(2026, 9, 1),  # the clocks go back on 25 October
    date(2028, 2, 28),  # a leap day follows
    date(2026, 11, 23),  # Christmas, the year's end
    date(2026, 2, 16),  # Easter, 1 May
)
ZONES: Final = ("Europe/Berlin", "America/New_York", "Pacific/Auckland")
TICKS: Final = (time(0, 3), time(9, 7))
DUE_KINDS: Final = (
    *("statement", "match_request", "dunning_run", "mail"),
    *("payment_update", "order_request"),
)
FILE_DAYS: Final = (0, 3)
"""On other days a bank says something only if there is money."""
DRAINS_AT_ONCE: Final = 60
GRACE_DAYS: Final = (1, 2, 5, 8)
"""Of the days after the last one those with a clock: longer than the 168 h of a payment update
and the 72 h of a mail."""
LEASE_OVER: Final = timedelta(minutes=6)
BUSINESS_HOURS: Final = (7, 21)

DUE = " UNION ALL ".join(
    f"SELECT '{kind}', bool_or(due_at <= %(at)s), min(due_at) FILTER (WHERE due_at > %(at)s)"
    f" FROM {kind} WHERE status = 'queued'"
    for kind in DUE_KINDS
)


class Died(BaseException):
    """A worker is killed in the middle of a row."""


class Sink:
    """Where mails arrive: who got which, and when. It fails as mail servers fail."""

    host = "mail.example.org"

    def __init__(self, world: World) -> None:
        self.world = world
        self.is_down = self.kills = False
        self.asked: set[int] = set()
        self.count = 0
        self._mail: Mail | None = None

    def deliver(self, mail: Mail) -> None:
        self._mail = mail
        deliver_mail(mail, Desk.of([mail], self.world.now), self)

    def send(self, sender: str, recipient: str, raw: bytes) -> str:
        """As ``SmtpSession.send``."""
        chance, mail = self.world.chance, self._mail
        assert mail is not None and raw
        if self.kills and chance.random() < 0.3:
            raise Died
        if self.is_down or chance.random() < 0.01:
            raise Temporary("451 come back later")
        if chance.random() < 0.004:
            raise Rejected("550 nobody of that name")
        self.count += 1
        self.world.checker.mail_delivered(mail, recipient)
        if mail.kind == "payment_information" and mail.order_id is not None:
            self.asked.add(mail.order_id)
        return "250 OK"


class World:
    """``orders``: about how many in ``days``. ``rows`` of other worlds are not there: it stands on
    ``rig.fresh``."""

    def __init__(
        self, seed: int, *, merchants: int = 2, shops: int = 3, orders: int = 50, days: int = 90
    ) -> None:
        self.seed, self.days = seed, days
        self.chance = Random(seed)
        first = STARTS[seed % len(STARTS)]
        self.first = datetime.combine(first, time(0, 1), BERLIN)
        self.time = self.first.astimezone(UTC)
        self.skew = timedelta(0)
        self.clock = Clock(self.first)
        self.orders_a_day = orders / days
        self.names: set[str] = set()
        self.order_count = 0
        self.wishes: dict[tuple[int, int | None, str], str] = {}
        self.is_house_up = self.are_workers_up = self.is_redis_up = True
        self.did: Counter[str] = Counter()
        self._queue: list[tuple[datetime, int, str, Callable[[], Any]]] = []
        self._count = 0
        self._wake_at: datetime | None = None
        self._rung = True
        self._planned = 0
        self._begun: set[tuple[int, date]] = set()
        self.sink = Sink(self)
        self.shops: list[ShopModel] = []
        self.banks: dict[int, BankModel] = {}
        self.merchants: list[int] = []
        self._asked_for = (merchants, shops)

    # --- its beginning

    @contextmanager
    def opened(self) -> Iterator[World]:
        """The house reads this world's clock and chance inside."""
        with governed(self.clock, self.seed, self._ring):
            self._build(*self._asked_for)
            self.checker = Checker(self)
            yield self

    def _build(self, merchants: int, shops: int) -> None:
        for number in range(merchants):
            zone = ZONES[0] if number == 0 else self.chance.choice(ZONES)
            merchant = Merchant(name=f"Antiquariat {number}", language="de", timezone=zone)
            db.session.add(merchant)
            db.session.flush()
            self.merchants.append(merchant.id)
            db.session.add(
                User(
                    merchant_id=merchant.id,
                    email=self.anna(merchant.id),
                    name="Anna",
                    language="de",
                )
            )
            account = make_account(merchant, german_iban(100 + number))
            self.banks[merchant.id] = BankModel(
                merchant.id, account.id, account.iban, ZoneInfo(zone), self.chance
            )
            self._wish_at_first(merchant.id)
        for number in range(shops):
            self._open_shop(self.merchants[number % merchants], number)
        for bank in self.banks.values():
            bank.deliver(self)
        db.session.remove()

    def _wish_at_first(self, merchant_id: int) -> None:
        for name, values in self.chance.sample(people.WISHES, 8):
            people.Hand(self, merchant_id).wish(name, self.chance.choice(values))
        db.session.commit()

    def _open_shop(self, merchant_id: int, number: int) -> None:
        row = Shop(
            merchant_id=merchant_id,
            name=f"Laden {number}",
            system="woocommerce",
            url="https://shop.example.org",
            status="connected",
            connected_at=self.now,
            default_mapping=MAPPING,
        )
        db.session.add(row)
        db.session.commit()
        shop = ShopModel(row.id, merchant_id, self.chance, has_agent=number % 2 == 1)
        self.shops.append(shop)
        shop.beat(self)

    # --- time

    @property
    def now(self) -> datetime:
        """What the house believes."""
        return self.clock.at

    def today(self, merchant_id: int) -> date:
        return self.now.astimezone(self.banks[merchant_id].zone).date()

    def number_of(self, merchant_id: int) -> int:
        return self.merchants.index(merchant_id)

    def anna(self, merchant_id: int) -> str:
        return f"anna@laden{self.number_of(merchant_id)}.example.org"

    def later(self, wait: timedelta, name: str, act: Callable[[], Any]) -> None:
        self._put(self.time + wait, name, act)

    def soon(self, minutes: float) -> None:
        """The clock looks again."""
        self.later(timedelta(minutes=minutes), "look", self._look)

    def _put(self, at: datetime, name: str, act: Callable[[], Any]) -> None:
        self._count += 1
        heapq.heappush(self._queue, (at.astimezone(UTC), self._count, name, act))

    def _move_to(self, at: datetime) -> None:
        self.time = max(at.astimezone(UTC), self.time)
        self.clock.at = self.time + self.skew

    # --- playing

    def run(self, days: int | None = None) -> None:
        """So many days, then the grace period in which everything is well, then the last check."""
        days = self.days if days is None else days
        for number in range(days):
            self.plan_day(number)
            self.play_until(self.first + timedelta(days=number + 1))
        self.end()

    def end(self) -> None:
        self.heal()
        begins = self.time
        for days in GRACE_DAYS:
            day = (begins + timedelta(days=days)).astimezone(BERLIN).date()
            self._plan_quiet_day(day)
        self.play_until(begins + timedelta(days=GRACE_DAYS[-1] + 1))
        self.checker.at_end()

    def play_until(self, until: datetime) -> None:
        while self._queue and self._queue[0][0] <= until:
            at, _, name, act = heapq.heappop(self._queue)
            self._move_to(at)
            self.do(name, act)
        self._move_to(until)

    def do(self, name: str, act: Callable[[], Any]) -> None:
        """One step: it happens, the workers do what follows, and everything is checked."""
        self.did[name] += 1
        act()
        db.session.remove()
        self.checker.after_step()
        self.pump()

    def attempt(self, act: Callable[[], Any]) -> bool:
        """What a person clicks: done as a whole, or refused and nothing is changed."""
        if not self.is_house_up:
            return False
        try:
            act()
        except NotPossible:
            db.session.rollback()
            return False
        db.session.commit()
        return True

    @property
    def planned_until(self) -> datetime:
        """Days until then have their ticks, files and comparisons in the queue."""
        return self.first + timedelta(days=self._planned)

    def plan_quiet_day(self, number: int) -> date:
        """Clock, bank and comparisons of the day ``number`` of the world, counted from 0."""
        self._planned = number + 1
        day = (self.first + timedelta(days=number)).astimezone(BERLIN).date()
        self._plan_quiet_day(day)
        return day

    def plan_day(self, number: int) -> None:
        """All that happens on the day ``number``."""
        day = self.plan_quiet_day(number)
        chance = self.chance
        count = int(self.orders_a_day) + (chance.random() < self.orders_a_day % 1)
        for _ in range(count):
            self._put(self._moment(day), "order", self.new_order)
        if chance.random() < 0.45:
            merchant_id = chance.choice(self.merchants)
            self._put(self._moment(day), "act", lambda: people.act_by_chance(self, merchant_id))
        if chance.random() < 0.35:
            self._put(self._moment(day), "change", self.change_order)
        if chance.random() < 0.09:
            self._put(self._moment(day), "fault", self.fault)
        if chance.random() < 0.1:
            bank = self.banks[chance.choice(self.merchants)]
            self._put(self._moment(day), "file again", lambda: bank.deliver_again(self))

    def _plan_quiet_day(self, day: date) -> None:
        for tick in TICKS:
            self._put(datetime.combine(day, tick, BERLIN), "tick", self.tick)
        for bank in self.banks.values():
            if day.weekday() in FILE_DAYS or bank.has_money:
                at = datetime.combine(day, time(6, 40), bank.zone)
                self._put(at, "bank", _deliver(bank, self))
        if day.day % 2 == 0:
            compare = datetime.combine(day, time(4, 20), BERLIN)
            self._put(compare, "compare", lambda: self.compare(everything=day.day % 6 == 0))
        if day.day % 4 == 0:
            self._put(datetime.combine(day, time(23, 40), BERLIN), "check", self.checker.daily)

    def _moment(self, day: date) -> datetime:
        minutes = self.chance.randrange(BUSINESS_HOURS[0] * 60, BUSINESS_HOURS[1] * 60)
        return datetime.combine(day, time(minutes // 60, minutes % 60), BERLIN)

    # --- what happens

    def new_order(self) -> None:
        shop = self.chance.choice(self.shops)
        buyer = None
        if self.chance.random() < 0.15 and shop.orders:
            buyer = self._buyers.get((shop.id, self.chance.choice(sorted(shop.orders))))
        buyer = buyer or people.somebody(self, shop.merchant_id)
        raw = people.order_of(self, shop, buyer)
        shop.place(raw)
        self._buyers[shop.id, raw["external_id"]] = buyer
        people.plan_payment(self, shop, raw["external_id"], buyer)
        shop.push(self)

    @property
    def _buyers(self) -> dict[tuple[int, str], people.Customer]:
        found: dict[tuple[int, str], people.Customer] = self.__dict__.setdefault("buyers", {})
        return found

    def change_order(self) -> None:
        """A shop changes one of its orders; the message may get lost, come twice or late."""
        shop = self.chance.choice(self.shops)
        living = shop.living()[-25:]
        if not living:
            return
        key = self.chance.choice(living)
        before = shop.orders[key]
        kind = self.chance.choice(CHANGES)
        if kind in ("gone", "trashed"):
            shop.remove(key, kind)
            shop.report_removed(self)
            self.later(timedelta(hours=8), "gone", lambda: shop.report_removed(self))
            return
        shop.change(key, **self._changed(before, kind))
        fate = self.chance.random()
        if fate < 0.15:
            return  # lost: the next compare brings it
        shop.push(self)
        if fate > 0.85:
            shop.push(self, [key])
        elif fate > 0.75:
            shop.push_old(self, before)

    def _changed(self, raw: dict[str, Any], kind: str) -> dict[str, Any]:
        match kind:
            case "email":
                email = raw["customer"]["email"]
                return {"customer": {**raw["customer"], "email": f"neu.{email}" if email else None}}
            case "total":
                return {"total": f"{max(float(raw['total']) + self.chance.choice([-5, 7]), 1):.2f}"}
            case "invoice":
                number = f"R{raw['number']}"
                return {"invoices": [{"number": number, "date": self.now.date().isoformat()}]}
            case "open":
                return {"shop_status": people.OPEN_AT_FIRST.get(raw["payment_method"], "on-hold")}
            case "method":
                return {"payment_method": self.chance.choice(["bacs", "invoice", "paypal"])}
        return {"shop_status": kind}

    def compare(self, *, everything: bool) -> None:
        for shop in self.shops:
            keys = shop.living() if everything else sorted(shop.unsent)
            if keys:
                shop.push(self, keys)
            if shop.removed:
                shop.report_removed(self)

    def fault(self, kind: str = "") -> None:
        """Something is away, for a while."""
        chance, wait = self.chance, timedelta(days=self.chance.uniform(0.2, 6))
        kind = kind or chance.choice(FAULTS)
        self.did[f"fault {kind}"] += 1
        shop, bank = chance.choice(self.shops), self.banks[chance.choice(self.merchants)]
        match kind:
            case "shop":
                shop.is_away = True
            case "moody shop":
                shop.is_moody = True
            case "bank":
                bank.is_away = True
            case "house":
                self.is_house_up = self.are_workers_up = False
            case "workers":
                self.are_workers_up = False
            case "redis":
                self.is_redis_up = False
            case "smtp":
                self.sink.is_down = True
            case "killed mails":
                self.sink.kills = True
            case "killed worker":
                self._kill_worker()
            case "agent error":
                shop.beat(self, error="HTTP 500")
            case "clock":
                self.skew = timedelta(hours=chance.choice([-1, 1]))
        self.later(wait, "heal", lambda: self.heal(kind, shop, bank))

    def _kill_worker(self) -> None:
        """It had claimed rows, and nobody hears of it again until the clock releases them."""
        kind = self.chance.choice(["mail", "match_request", "dunning_run", "statement"])
        jobs.KINDS[kind].claim(5, self.now)
        self.later(LEASE_OVER, "release", self._release)

    def _release(self) -> None:
        if self.are_workers_up:
            house_clock.release(self.now)
            self._rung = True

    def heal(
        self, kind: str = "", shop: ShopModel | None = None, bank: BankModel | None = None
    ) -> None:
        """Well again: one thing, or everything."""
        for one in [shop] if shop else self.shops:
            one.is_away = one.is_moody = False
            one.beat(self)
            one.poll(self)
        for each in [bank] if bank else self.banks.values():
            each.is_away = False
        if kind in ("", "house", "workers"):
            self.is_house_up = self.are_workers_up = True
            self.later(timedelta(minutes=1), "poll", self._poll_all)
        if kind in ("", "redis"):
            self.is_redis_up = True
        if kind in ("", "smtp", "killed mails"):
            self.sink.is_down = self.sink.kills = False
        if kind in ("", "clock"):
            self.skew = timedelta(0)
            self._move_to(self.time)
        if not kind:
            for merchant_id in self.merchants:
                people.Hand(self, merchant_id).run("go_on")
        self._rung = True

    def _poll_all(self) -> None:
        for shop in self.shops:
            shop.poll(self)

    # --- the workers

    def _ring(self, kinds: set[str]) -> None:
        if self.is_redis_up:
            self._rung = True
        else:
            self.soon(minutes=0.1)

    def tick(self) -> None:
        """What the clock does beside ringing: daily runs, what is too old."""
        if self.are_workers_up:
            house_clock.release(self.now)
            self._begin_runs()
            if has_expired(self.now) or has_expired_requests(self.now):
                jobs.drain_payment_update()
        self._look()

    def _begin_runs(self) -> None:
        """As every minute; left out where it has had its effect, but not always: twice a day and
        two clocks at once are harmless."""
        todays = {(merchant_id, self.today(merchant_id)) for merchant_id in self.merchants}
        if todays <= self._begun and self.chance.random() > 0.1:
            return
        if house_clock.begin(self.now) and self.chance.random() < 0.1:
            house_clock.begin(self.now)
        query = select(DunningRun.merchant_id, DunningRun.run_date)
        rows = db.session.execute(query.where(DunningRun.origin == "daily"))
        self._begun = {(row.merchant_id, row.run_date) for row in rows}

    def _look(self) -> None:
        self._rung = True

    def pump(self) -> None:
        """Everything that is due is done, until nothing is."""
        if not self._rung or not self.are_workers_up:
            return
        self._rung = False
        polled: set[int] = set()
        for _ in range(DRAINS_AT_ONCE):
            due = [kind for kind in self._due() if self._may_drain(kind, polled)]
            if not due:
                return
            for kind in due:
                self._drain(kind, polled)
                db.session.remove()
                self.checker.after_step()
        self.checker.fail(f"after {DRAINS_AT_ONCE} rounds there is still work: {due}")

    def _may_drain(self, kind: str, polled: set[int]) -> bool:
        return kind not in ("payment_update", "order_request") or not polled

    def _due(self) -> list[str]:
        rows = db.session.connection().exec_driver_sql(DUE, {"at": self.now}).all()
        db.session.rollback()
        nexts = [row[2] for row in rows if row[2] is not None]
        if nexts:
            wake = max(min(nexts) - self.skew, self.time) + timedelta(seconds=1)
            if self._wake_at is None or not self.time < self._wake_at <= wake:
                self._wake_at = wake
                self._put(self._wake_at, "wake", self._look)
        return [row[0] for row in rows if row[1]]

    def _drain(self, kind: str, polled: set[int]) -> None:
        if kind in ("payment_update", "order_request"):
            for shop in self.shops:
                polled.add(shop.id)
                shop.poll(self)
        elif kind == "mail":
            self._drain_mail()
        elif kind == "dunning_run":
            for shop in self.shops:
                shop.beat(self)
            with self.checker.watching_run():
                jobs.drain_dunning_run()
        else:
            jobs.DRAINS[kind]()

    def _drain_mail(self) -> None:
        """As ``jobs.drain_mail``, with another end of the wire."""
        while mails := Mail.claim(jobs.MAILS_AT_ONCE, self.now):
            jobs._withhold_moot(mails)
            try:
                for mail in mails:
                    jobs.act(mail, self.sink.deliver)
            except Died:
                db.session.rollback()
                self.later(LEASE_OVER, "release", self._release)

    # --- looking

    def order(self, shop: ShopModel, key: str) -> Order | None:
        query = select(Order).where(Order.shop_id == shop.id, Order.external_id == key)
        return db.session.scalar(query.execution_options(populate_existing=True))

    def history(self, order_id: int, last: int = 30) -> list[str]:
        """What happened to an order, for people."""
        rows = db.session.connection().exec_driver_sql(HISTORY, {"id": order_id}).all()
        return [f"{row[0]:%Y-%m-%d %H:%M:%S} {row[1]}" for row in rows[-last:]]

    def everything(self) -> list[str]:
        """What happened to all orders, without what is drawn anew each time."""
        ids = list(db.session.scalars(select(Order.id).order_by(Order.id)))
        return [line for order_id in ids for line in self.history(order_id, last=1000)]

    def summary(self) -> str:
        counts = db.session.execute(
            text('SELECT payment_status, count(*) FROM "order" GROUP BY 1 ORDER BY 1')
        ).all()
        orders = ", ".join(f"{count} {status}" for status, count in counts)
        return f"{self.sink.count} mails, {self.checker.reminders} reminders; orders: {orders}"


def _deliver(bank: BankModel, world: World) -> Callable[[], None]:
    return lambda: bank.deliver(world)


CHANGES: Final = ["email", "total", "total", "invoice", "invoice", "open", "method"] + [
    "cancelled",
    "completed",
    "processing",
    "gone",
    "trashed",
]
FAULTS: Final = (
    *("shop", "moody shop", "bank", "bank", "house", "workers", "redis", "smtp"),
    *("killed mails", "killed worker", "killed worker", "agent error", "clock", "clock"),
)
HISTORY: Final = """
SELECT at, 'event  ' || kind || ' ' || actor || ' ' || facts::text FROM order_event
    WHERE order_id = %(id)s
UNION ALL SELECT created_at, 'mail   ' || kind || ' to ' || recipient || ' is ' || status || ' '
    || coalesce(error, '') || ' ' || once FROM mail WHERE order_id = %(id)s
UNION ALL SELECT created_at, 'update ' || intent || ' ' || coalesce(shop_status, '') || ' is '
    || status FROM payment_update WHERE order_id = %(id)s
UNION ALL SELECT created_at, 'ledger ' || amount || ' ' || origin || ' of posting '
    || coalesce(posting_id::text, '-') FROM assignment WHERE order_id = %(id)s
UNION ALL SELECT changed_at, 'order  ' || number || ' ' || payment_code || ' ' || payment_status
    || ' total ' || total || ' fees ' || fee_total || ' ' || sync FROM "order" WHERE id = %(id)s
ORDER BY 1, 2
"""
