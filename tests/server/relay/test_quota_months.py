"""Months of quota by a clock of our own: what is booked, used, lost and billed, and who is told."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import func, select

from server.db import db, now
from server.relay import counting, intake, quota
from server.relay.connections import NotPossible
from server.relay.intake import Origin
from server.relay.models import RelayAccount, RelayEntry, RelayStat
from tests.factories import make_merchant
from tests.server.relay.systems import DOMAIN, a_mail, make_system

BERLIN = ZoneInfo("Europe/Berlin")
BEGAN = datetime(2026, 3, 1, 9, tzinfo=UTC)
THIRTY = timedelta(days=30)
PRICE = Decimal("19.00")


@pytest.fixture
def merchant_id(app) -> int:
    return make_merchant().id


def plan(block: int = 25_000, price: Decimal = PRICE) -> int:
    return quota.add_plan(f"Block {block}", block, price, BEGAN).id


def booked(merchant_id: int, plan_id: int | None, at: datetime = BEGAN, **how) -> RelayAccount:
    row = quota.book(merchant_id, plan_id, actor="anna", at=at, **how)
    db.session.flush()
    return row


def sent(merchant_id: int, count: int, at: datetime) -> quota.Crossing | None:
    return quota.use(merchant_id, {at.date(): count}, at)


def ledger(merchant_id: int) -> list[tuple[str, int, Decimal | None]]:
    """The oldest first."""
    rows = quota.entries_of(merchant_id, limit=1000)
    return [(row.kind, row.mails, row.price) for row in reversed(rows)]


def left(merchant_id: int, at: datetime) -> int:
    return quota.left_of(quota.account_of(merchant_id, at))


# --- demo ---------------------------------------------------------------------------------------


@pytest.mark.feature("S97")
def test_a_thousand_mails_are_free_and_have_time(merchant_id):
    account = quota.account_of(merchant_id, BEGAN)
    assert (account.granted, account.period_ends_at) == (1_000, None)
    sent(merchant_id, 400, BEGAN)
    years_later = BEGAN + timedelta(days=900)
    assert quota.roll(years_later) == 0 and not quota.has_period_over(years_later)
    assert left(merchant_id, years_later) == 600
    assert ledger(merchant_id) == [("demo", 1_000, None), ("use", -400, None)]


@pytest.mark.feature("S97", "S99")
def test_what_was_too_much_of_the_demo_is_billed_with_the_first_block(merchant_id):
    sent(merchant_id, 3_000, BEGAN)
    assert left(merchant_id, BEGAN) == -2_000
    booked(merchant_id, plan(), BEGAN + THIRTY)
    assert ledger(merchant_id)[-2:] == [
        ("excess", 2_000, Decimal("1.90")),
        ("block", 25_000, PRICE),
    ]
    assert left(merchant_id, BEGAN) == 25_000


def test_the_rest_of_the_demo_ends_with_the_first_block(merchant_id):
    sent(merchant_id, 10, BEGAN)
    booked(merchant_id, plan())
    assert ledger(merchant_id)[2:] == [("expiry", -990, None), ("block", 25_000, PRICE)]


@pytest.mark.feature("S98")
def test_days_of_the_ledger_are_the_merchants(app):
    """Half past eleven in the evening of London is the next day in Berlin."""
    system = make_system()
    late = datetime(2026, 3, 2, 23, 30, tzinfo=UTC)
    caller = intake.caller_now(system.connection.id)
    intake.accept(
        caller, a_mail(), sender="", recipients=["erika@example.com"], origin=Origin("smtp"),
        at=late,
    )  # fmt: skip
    counting.count(late)
    booked(system.merchant.id, plan(), late)
    days = {row.kind: row.day for row in quota.entries_of(system.merchant.id, limit=9)}
    assert days == dict.fromkeys(("demo", "use", "expiry", "block"), date(2026, 3, 3))


# --- blocks -------------------------------------------------------------------------------------


@pytest.mark.feature("S97")
def test_after_thirty_days_the_rest_is_lost_and_the_block_comes_again(merchant_id):
    booked(merchant_id, plan())
    sent(merchant_id, 20_000, BEGAN + timedelta(days=3))
    end = BEGAN + THIRTY
    assert quota.roll(end - timedelta(microseconds=1)) == 0
    assert quota.roll(end) == 1 and quota.roll(end) == 0
    assert left(merchant_id, end) == 25_000
    assert ledger(merchant_id)[-3:] == [
        ("use", -20_000, None),
        ("expiry", -5_000, None),
        ("block", 25_000, PRICE),
    ]
    assert quota.account_of(merchant_id, end).period_ends_at == end + THIRTY


@pytest.mark.parametrize(
    ("begins", "ends"),
    [
        (datetime(2026, 3, 15, 23, 30), datetime(2026, 4, 15, 0, 30)),  # an hour less in March
        (datetime(2026, 10, 10, 0, 30), datetime(2026, 11, 8, 23, 30)),  # one more in October
        (datetime(2026, 6, 1, 12, 0), datetime(2026, 7, 1, 12, 0)),
        (datetime(2028, 2, 1, 12, 0), datetime(2028, 3, 2, 12, 0)),
    ],
)
def test_thirty_days_are_thirty_times_24_hours(merchant_id, begins, ends):
    at, end = (one.replace(tzinfo=BERLIN).astimezone(UTC) for one in (begins, ends))
    account = booked(merchant_id, plan(), at)
    assert account.period_ends_at == end
    assert quota.roll(end - timedelta(seconds=1)) == 0 and quota.roll(end) == 1


@pytest.mark.feature("S98", "S99")
@pytest.mark.parametrize(
    ("too_much", "price"),
    [(1, "0.00"), (6, "0.01"), (100, "0.10"), (300, "0.29"), (10_000, "9.50"), (987_654, "938.27")],
)
def test_below_zero_sending_goes_on_and_is_billed_at_the_highest_price(
    merchant_id, too_much, price
):
    booked(merchant_id, plan())
    sent(merchant_id, 25_000 + too_much, BEGAN)
    assert left(merchant_id, BEGAN) == -too_much
    quota.roll(BEGAN + THIRTY)
    assert ledger(merchant_id)[-2:] == [
        ("excess", too_much, Decimal(price)),
        ("block", 25_000, PRICE),
    ]
    assert left(merchant_id, BEGAN) == 25_000, "billed, so it is not taken off the next block too"


@pytest.mark.feature("S99")
def test_the_dearest_plan_sets_the_price_of_what_is_too_much(merchant_id):
    booked(merchant_id, plan())
    quota.withdraw_plan(plan(25_000, Decimal("50.00")))
    sent(merchant_id, 26_000, BEGAN)
    quota.roll(BEGAN + THIRTY)
    assert ledger(merchant_id)[-2] == ("excess", 1_000, Decimal("2.00"))


def test_who_misses_many_periods_pays_and_loses_each_of_them(merchant_id):
    booked(merchant_id, plan())
    sent(merchant_id, 30_000, BEGAN)
    late = BEGAN + 7 * THIRTY + timedelta(days=4)
    assert quota.roll(late) == 1
    kinds = Counter(kind for kind, _, _ in ledger(merchant_id))
    assert kinds == {"demo": 1, "use": 1, "excess": 1, "expiry": 1 + 6, "block": 1 + 7}
    account = quota.account_of(merchant_id, late)
    assert account.period_began_at == BEGAN + 7 * THIRTY and quota.left_of(account) == 25_000
    assert not quota.has_period_over(late)


def test_more_periods_than_are_ended_at_once_end_one_call_after_the_other(merchant_id):
    booked(merchant_id, plan())
    late = BEGAN + (quota.MAX_PERIODS_AT_ONCE + 5) * THIRTY
    assert [quota.roll(late), quota.roll(late), quota.roll(late)] == [1, 1, 0]
    blocks = [kind for kind, _, _ in ledger(merchant_id) if kind == "block"]
    assert len(blocks) == 1 + quota.MAX_PERIODS_AT_ONCE + 5


# --- changes ------------------------------------------------------------------------------------


@pytest.mark.feature("S97")
def test_another_plan_begins_with_the_next_period_or_at_once(merchant_id):
    small, large = plan(), plan(100_000, Decimal("60.00"))
    booked(merchant_id, small)
    sent(merchant_id, 5_000, BEGAN)
    middle = BEGAN + timedelta(days=10)
    account = booked(merchant_id, large, middle)
    assert (account.plan_id, account.next_plan_id, account.granted) == (small, large, 25_000)
    quota.roll(BEGAN + THIRTY)
    account = quota.account_of(merchant_id, middle)
    assert (account.plan_id, account.next_plan_id, account.granted) == (large, None, 100_000)
    at_once = booked(merchant_id, small, BEGAN + THIRTY + timedelta(days=1), at_once=True)
    assert (at_once.plan_id, at_once.granted, at_once.used) == (small, 25_000, 0)
    assert at_once.period_ends_at == BEGAN + 2 * THIRTY + timedelta(days=1)
    assert [one for one in ledger(merchant_id) if one[0] in ("block", "expiry")] == [
        ("expiry", -1_000, None),
        ("block", 25_000, PRICE),
        ("expiry", -20_000, None),
        ("block", 100_000, Decimal("60.00")),
        ("expiry", -100_000, None),
        ("block", 25_000, PRICE),
    ]


@pytest.mark.feature("S97", "S99")
def test_who_ends_it_keeps_his_block_until_its_end_and_pays_what_comes_after(merchant_id):
    plan_id = plan()
    booked(merchant_id, plan_id)
    booked(merchant_id, None, BEGAN + timedelta(days=5))
    sent(merchant_id, 1_000, BEGAN + timedelta(days=6))
    assert left(merchant_id, BEGAN) == 24_000
    end = BEGAN + THIRTY
    quota.roll(end)
    assert left(merchant_id, end) == 0 and ledger(merchant_id)[-1] == ("expiry", -24_000, None)
    sent(merchant_id, 2_000, end + timedelta(days=1))
    quota.roll(end + THIRTY)
    assert ledger(merchant_id)[-1] == ("excess", 2_000, Decimal("1.90"))
    quota.roll(end + 2 * THIRTY)
    assert ledger(merchant_id)[-1] == ("excess", 2_000, Decimal("1.90")), "billed once"
    again = booked(merchant_id, plan_id, end + 2 * THIRTY + timedelta(hours=1))
    assert again.renews and quota.left_of(again) == 25_000


def test_a_withdrawn_plan_is_kept_and_not_booked(merchant_id):
    plan_id = plan()
    booked(merchant_id, plan_id)
    quota.withdraw_plan(plan_id)
    quota.roll(BEGAN + THIRTY)
    assert left(merchant_id, BEGAN) == 25_000
    with pytest.raises(NotPossible, match="relay_plan_unknown"):
        booked(merchant_id, plan_id)
    with pytest.raises(NotPossible, match="relay_plan_block_out_of_range"):
        quota.add_plan("zu klein", 24_999, PRICE, BEGAN)


def test_the_ledger_adds_up_to_what_is_left(merchant_id):
    """Months of ordinary use; what is billed is taken off, so it counts for the sum."""
    booked(merchant_id, plan())
    for number in range(100):
        at = BEGAN + timedelta(days=number)
        quota.roll(at)
        sent(merchant_id, 300 + number * 37 % 1_000, at)
    assert sum(mails for _, mails, _ in ledger(merchant_id)) == left(merchant_id, BEGAN)
    uses = select(func.count(RelayEntry.id)).where(RelayEntry.kind == "use")
    days_of_two_periods = 3  # the day of a renewal is in both
    assert 100 <= (db.session.scalar(uses) or 0) <= 100 + days_of_two_periods


# --- telling ------------------------------------------------------------------------------------


@pytest.mark.feature("S100")
def test_a_crossing_is_told_once_until_it_is_above_again(merchant_id):
    booked(merchant_id, plan())
    quota.set_threshold(merchant_id, 1_000, BEGAN)
    assert sent(merchant_id, 24_000, BEGAN) is None, "as many as the threshold are not below it"
    crossing = sent(merchant_id, 1, BEGAN)
    assert crossing == quota.Crossing(merchant_id, 999, 1_000, BEGAN + THIRTY)
    assert [sent(merchant_id, 1, BEGAN), sent(merchant_id, 5_000, BEGAN)] == [None, None]
    quota.roll(BEGAN + THIRTY)
    later = sent(merchant_id, 30_000, BEGAN + THIRTY)
    assert later is not None and later.left == -5_000


@pytest.mark.feature("S100")
def test_a_threshold_that_is_set_when_it_is_late_tells_nobody(merchant_id):
    sent(merchant_id, 900, BEGAN)
    quota.set_threshold(merchant_id, 500, BEGAN)
    assert sent(merchant_id, 10, BEGAN) is None
    quota.set_threshold(merchant_id, 50, BEGAN)
    assert sent(merchant_id, 50, BEGAN) is not None
    quota.set_threshold(merchant_id, None, BEGAN)
    assert sent(merchant_id, 5_000, BEGAN) is None
    for wrong in (0, -1, quota.MOST_BLOCK + 1):
        with pytest.raises(NotPossible):
            quota.set_threshold(merchant_id, wrong, BEGAN)


@pytest.mark.real_commits
@pytest.mark.feature("S98", "S100")
def test_parallel_use_is_added_up_and_told_once(app, merchant_id):
    quota.set_threshold(merchant_id, 500, BEGAN)
    db.session.commit()

    def one_more(number: int) -> quota.Crossing | None:
        with app.app_context():
            crossing = quota.use(merchant_id, {date(2026, 3, 1 + number % 2): 5}, BEGAN)
            db.session.commit()
            return crossing

    with ThreadPoolExecutor(8) as pool:
        told = [one for one in pool.map(one_more, range(200)) if one is not None]
    assert [(one.left, one.threshold) for one in told] == [(495, 500)]
    assert left(merchant_id, BEGAN) == 0
    assert sorted(ledger(merchant_id)[1:]) == [("use", -500, None)] * 2


@pytest.mark.real_commits
def test_an_account_that_many_ask_for_first_gets_one_demo(app, merchant_id):
    def ask(_: int) -> int:
        with app.app_context():
            granted = quota.account_of(merchant_id, BEGAN).granted
            db.session.commit()
            return granted

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(16))) == {1_000}
    assert ledger(merchant_id) == [("demo", 1_000, None)]


@pytest.mark.real_commits
@pytest.mark.feature("S96", "S98", "S100")
def test_parallel_workers_count_every_mail_once(app, monkeypatch):
    """Mails of two recipients count twice; what bounces later counts all the same."""
    monkeypatch.setattr(counting, "COUNTED_AT_ONCE", 7)
    system = make_system()
    caller = intake.caller_now(system.connection.id)
    quota.set_threshold(system.merchant.id, 950, now())
    for number in range(60):
        intake.accept(
            caller,
            a_mail(str(number)),
            sender=f"buchung@{DOMAIN}",
            recipients=["erika@example.com", "max@example.com"],
            origin=Origin("smtp"),
            at=now(),
        )
    db.session.commit()

    def work(_: int) -> list[quota.Crossing]:
        told = []
        with app.app_context():
            while True:
                counted, crossings = counting.count(now())
                db.session.commit()
                told += crossings
                if not counted and not counting.has_uncounted(now()):
                    return told

    with ThreadPoolExecutor(4) as pool:
        told = [one for some in pool.map(work, range(4)) for one in some]
    assert len(told) == 1 and 940 < told[0].left < 950
    assert quota.account_of(system.merchant.id, now()).used == 120
    assert sum(db.session.scalars(select(RelayStat.received))) == 120
