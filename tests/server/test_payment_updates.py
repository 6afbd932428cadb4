"""Payment updates: leased, acknowledged, retried for exactly 168 h, told once."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select

from plugin_sdk.types import Acknowledgement, Heartbeat, Outcome
from server.clock import release
from server.db import db, now
from server.jobs import drain_payment_update
from server.mail.models import Mail
from server.merchants.models import Merchant
from server.orders.service import (
    acknowledge_update,
    assign,
    expire_updates,
    hear_heartbeat,
    mark_as_paid,
    undo,
)
from server.shops.models import UPDATE_LIFETIME, PaymentUpdate, Shop
from server.shops.service import lease_updates, shops_with_due_updates
from server.work import LEASE
from tests.factories import (
    AT,
    bearer,
    make_key,
    make_merchant,
    make_order,
    make_posting,
    make_shop,
    make_user,
)

SECOND = timedelta(seconds=1)
POLL = "/api/v1/payment-updates"


@pytest.fixture
def merchant(app):
    merchant = make_merchant()
    make_user(merchant)
    return merchant


@pytest.fixture
def shop(merchant):
    return make_shop(merchant)


def make_update(shop, at=AT, **over):
    """A paid order whose shop does not know it yet."""
    order = make_order(shop, **over)
    mark_as_paid(shop.merchant_id, order.id, actor="anna@example.org", at=at)
    db.session.commit()
    return db.session.query(PaymentUpdate).filter_by(order_id=order.id).one()


def lease(shop, at, limit=100):
    rows = lease_updates(shop, limit, at)
    db.session.commit()
    return rows


def answer(row, outcome, at, reason=None, wish=None):
    shop = db.session.get_one(Shop, row.shop_id)
    ack = Acknowledgement(outcome, reason, retry_after_seconds=wish)
    found = acknowledge_update(shop, row.id, ack, at)
    db.session.commit()
    return found


def notices(kind):
    return db.session.query(Mail).filter_by(kind=kind).count()


# --- leases ------------------------------------------------------------------------------------


def test_what_is_leased_comes_again_only_after_its_lease(shop):
    row = make_update(shop)
    assert [r.id for r in lease(shop, AT)] == [row.id]
    assert lease(shop, AT + LEASE) == []
    (again,) = lease(shop, AT + LEASE + SECOND)
    assert (again.id, again.attempts) == (row.id, 2)
    assert timedelta(seconds=120) == LEASE


def test_the_clock_releases_it_too(shop):
    row = make_update(shop)
    lease(shop, AT)
    assert release(AT + LEASE) == 0
    assert release(AT + LEASE + SECOND) == 1
    assert (row.status, row.due_at) == ("queued", AT + LEASE + SECOND)


def test_the_limit_and_the_order_of_things(shop):
    rows = [make_update(shop, AT + n * SECOND) for n in (3, 1, 2)]
    first = lease(shop, AT + timedelta(minutes=1), limit=2)
    assert [r.id for r in first] == [rows[1].id, rows[2].id]
    assert [r.id for r in lease(shop, AT + timedelta(minutes=1))] == [rows[0].id]


def test_a_shop_gets_its_own_updates_only(shop, merchant):
    make_update(shop)
    assert lease(make_shop(merchant, "Zweiter Laden"), AT) == []
    assert lease(make_shop(make_merchant("Bobs Laden")), AT) == []


# --- acknowledgements --------------------------------------------------------------------------


@pytest.mark.feature("S26", "S42")
@pytest.mark.parametrize(
    ("outcome", "status", "told"),
    [
        (Outcome.APPLIED, "done", None),
        (Outcome.ALREADY_THERE, "done", None),
        (Outcome.NO_LONGER_OPEN, "done", None),
        (Outcome.NOT_SUPPORTED, "done", None),
        (Outcome.TEMPORARY, "queued", None),
        (Outcome.REJECTED, "failed", "transfer_failed"),
        (Outcome.MISCONFIGURED, "queued", "shop_error"),
    ],
)
def test_each_outcome(client, shop, merchant, outcome, status, told):
    row = make_update(shop, at=now())
    key = bearer(make_key(merchant, "shop", shop)[1])
    (found,) = client.get(POLL, headers=key).json["payment_updates"]
    assert (found["id"], found["shop_status"], found["intent"]) == (
        str(row.id), "processing", "paid",
    )  # fmt: skip
    body = {"outcome": outcome.value, "reason": "because"}
    url = f"{POLL}/{row.id}/acknowledgement"
    for _ in "12":  # repeating it changes nothing
        done = client.post(url, json=body, headers=key)
        assert (done.status_code, done.json) == (200, {"id": str(row.id), "state": status})
        if status == "queued":
            break
    assert (row.outcome, row.error) == (outcome.value, "because")
    assert {m.kind for m in db.session.query(Mail).filter(Mail.order_id.is_(None))} <= {told}
    assert sum(map(notices, ("transfer_failed", "shop_error"))) == bool(told)
    heals = {Outcome.APPLIED, Outcome.ALREADY_THERE, Outcome.NO_LONGER_OPEN}
    assert (shop.last_update_at is not None) == (outcome in heals)
    assert shop.status == ("error" if outcome is Outcome.MISCONFIGURED else "connected")


def test_a_late_acknowledgement_of_what_has_ended_changes_nothing(shop):
    row = make_update(shop)
    lease(shop, AT)
    answer(row, Outcome.APPLIED, AT)
    assert answer(row, Outcome.REJECTED, AT + SECOND).status == "done"
    assert notices("transfer_failed") == 0


def test_the_shops_wish_for_a_pause_is_respected(shop):
    row = make_update(shop)
    lease(shop, AT)
    answer(row, Outcome.TEMPORARY, AT, wish=3600)
    assert row.due_at == AT + timedelta(hours=1)


# --- 168 hours ---------------------------------------------------------------------------------


def live_through(shop, row, end):
    """An agent that asks every ten seconds and always fails; the times at which it tried."""
    tried, at = [], AT
    while at < end:
        for leased in lease_updates(shop, 10, at):
            assert leased.id == row.id
            tried.append(at)
            acknowledge_update(shop, row.id, Acknowledgement(Outcome.TEMPORARY, "away"), at)
        expire_updates(at)
        db.session.commit()
        if row.status != "queued":
            break
        at = max(at + timedelta(seconds=10), min(row.due_at, end))
    return tried


@pytest.mark.feature("S42", "S26")
def test_an_update_is_tried_for_exactly_168_hours_and_then_told_once(shop):
    row = make_update(shop)
    end = AT + UPDATE_LIFETIME
    assert timedelta(hours=168) == UPDATE_LIFETIME
    tried = live_through(shop, row, end - SECOND)
    assert row.status == "queued"
    assert notices("transfer_failed") == 0
    pauses = [after - before for before, after in zip(tried, tried[1:], strict=False)]
    for pause, wanted in zip(pauses, PaymentUpdate.schedule, strict=False):
        assert wanted * 0.8 <= pause <= wanted * 1.2 + timedelta(seconds=10)
    assert max(pauses) <= PaymentUpdate.schedule[-1] * 1.2 + timedelta(seconds=10)
    assert tried[-1] == end - LEASE  # once more, just before the end
    assert len(tried) < 60
    assert lease(shop, end) == []
    for _ in "12":
        expire_updates(end)
        db.session.commit()
    assert (row.status, row.error, row.finished_at) == ("failed", "away", end)
    assert notices("transfer_failed") == 1


@pytest.mark.feature("S42")
def test_an_agent_that_is_away_is_a_failure_like_any_other(app, shop):
    row = make_update(shop, at=now() - UPDATE_LIFETIME + timedelta(hours=1))
    late = make_update(shop, at=now() - UPDATE_LIFETIME)
    drain_payment_update()
    db.session.expire_all()
    assert (row.status, late.status) == ("queued", "failed")
    assert "did not fetch" in late.error
    assert notices("transfer_failed") == 1


def test_what_was_superseded_while_it_was_away_is_not_told_as_failed(shop, merchant):
    order = make_order(shop)
    (booked,) = assign(
        merchant.id, make_posting(merchant).id, [(order.id, order.total)], actor="", at=AT
    )
    db.session.commit()
    (paid,) = lease(shop, AT)
    undo(merchant.id, booked.id, actor="", at=AT + SECOND)
    db.session.commit()
    release(AT + LEASE + SECOND)
    expire_updates(AT + UPDATE_LIFETIME)
    db.session.commit()
    assert paid.status == "withheld"
    assert notices("transfer_failed") == 0


# --- a shop in error ---------------------------------------------------------------------------


@pytest.mark.feature("K12", "S42")
def test_a_fault_is_told_once_and_ends_with_the_first_success(shop):
    rows = [make_update(shop) for _ in range(4)]
    lease(shop, AT)
    for row in rows[:3]:
        answer(row, Outcome.MISCONFIGURED, AT, "wrong password")
    answer(rows[3], Outcome.TEMPORARY, AT, "busy")
    assert (shop.status, shop.error) == ("error", "wrong password")
    assert notices("shop_error") == 1
    at = AT + timedelta(hours=1)
    (probe,) = lease(shop, at)
    assert lease(shop, at + SECOND) == []
    answer(probe, Outcome.APPLIED, at + SECOND)
    assert (shop.status, shop.error, shop.error_since) == ("connected", None, None)
    assert {r.id for r in lease(shop, at + 2 * SECOND)} == {r.id for r in rows} - {probe.id}
    answer(rows[0] if probe is not rows[0] else rows[1], Outcome.MISCONFIGURED, at + 3 * SECOND)
    assert notices("shop_error") == 2  # a new fault is news


@pytest.mark.feature("S42")
def test_one_probe_on_the_schedule_while_in_error(shop):
    rows = [make_update(shop) for _ in range(5)]
    (first,) = lease(shop, AT, limit=1)
    answer(first, Outcome.MISCONFIGURED, AT, "wrong password")
    make_update(shop, at=AT + SECOND)  # what is new waits as well
    seen, at = [], AT + SECOND
    while at < AT + timedelta(minutes=10):
        leased = lease(shop, at)
        assert len(leased) <= 1
        for probe in leased:
            seen.append((at, probe.id))
            answer(probe, Outcome.MISCONFIGURED, at, "wrong password")
            assert lease(shop, at) == []
        at += 5 * SECOND
    times = [moment for moment, _ in seen]
    assert all(b - a >= timedelta(seconds=24) for a, b in zip(times, times[1:], strict=False))
    assert times[0] - AT >= timedelta(seconds=24)
    assert {probe for _, probe in seen} > {row.id for row in rows[1:]}  # none blocks the others
    assert notices("shop_error") == 1


@pytest.mark.feature("K12", "S42")
def test_half_an_hour_of_time_outs_is_an_error_of_the_shop(shop):
    row, at, states = make_update(shop), AT, []
    for _ in range(4):
        at = max(at, row.due_at)
        lease(shop, at)
        answer(row, Outcome.TEMPORARY, at, "timed out")
        states.append(shop.status)
    assert states == ["connected", "connected", "connected", "error"]
    assert notices("shop_error") == 1


@pytest.mark.feature("K12")
def test_what_an_agent_reports_is_healed_by_its_next_report(shop):
    def beat(error, at):
        hear_heartbeat(shop, Heartbeat("woocommerce", "1", last_error=error), at)
        db.session.commit()

    for second in range(3):
        beat("cannot read orders", AT + second * SECOND)
    assert (shop.status, shop.error_since, notices("shop_error")) == ("error", AT, 1)
    rows = [make_update(shop) for _ in range(2)]
    leased = lease(shop, AT)
    assert len(leased) == 2  # writing works as far as anybody knows
    answer(rows[0], Outcome.APPLIED, AT)
    assert shop.status == "error"  # a write says nothing about reading
    beat("cannot read orders", AT + timedelta(minutes=1))
    assert notices("shop_error") == 1
    beat(None, AT + timedelta(minutes=2))
    assert (shop.status, shop.error) == ("connected", None)


@pytest.mark.feature("K12")
def test_a_report_without_error_does_not_heal_a_write_that_fails(shop):
    row = make_update(shop)
    lease(shop, AT)
    answer(row, Outcome.MISCONFIGURED, AT, "wrong password")
    hear_heartbeat(shop, Heartbeat("woocommerce", "1"), AT + SECOND)
    assert (shop.status, shop.error) == ("error", "wrong password")


# --- one order, one update at a time -----------------------------------------------------------


@pytest.mark.feature("S26")
def test_never_two_updates_of_one_order_at_once(shop, merchant):
    order = make_order(shop, total="30.00")
    pay = [make_posting(merchant, "10.00"), make_posting(merchant, "20.00")]
    assign(merchant.id, pay[0].id, [(order.id, Decimal(10))], actor="", at=AT)
    db.session.commit()
    (part,) = lease(shop, AT)
    assign(merchant.id, pay[1].id, [(order.id, Decimal(20))], actor="", at=AT + SECOND)
    db.session.commit()
    assert lease(shop, AT + SECOND) == []
    assert shops_with_due_updates({shop.id}, AT + SECOND) == set()  # no poll wakes for nothing
    answer(part, Outcome.APPLIED, AT + 2 * SECOND)
    assert [(r.intent, r.shop_status) for r in lease(shop, AT + 2 * SECOND)] == [
        ("paid", "processing")
    ]


@pytest.mark.parametrize("comes_back", ["temporary", "lease"])
def test_an_older_status_never_overtakes_a_newer_one(shop, merchant, comes_back):
    order = make_order(shop)
    (booked,) = assign(
        merchant.id, make_posting(merchant).id, [(order.id, order.total)], actor="", at=AT
    )
    db.session.commit()
    (paid,) = lease(shop, AT)
    undo(merchant.id, booked.id, actor="", at=AT)
    db.session.commit()
    at = AT
    if comes_back == "temporary":
        answer(paid, Outcome.TEMPORARY, AT)
    else:
        at += LEASE + SECOND
        release(at)
    (unpaid,) = lease(shop, at)
    assert (unpaid.intent, paid.status) == ("unpaid", "withheld")
    answer(unpaid, Outcome.APPLIED, at)
    assert lease(shop, AT + timedelta(days=6)) == []


# --- waiting for it ----------------------------------------------------------------------------


@pytest.fixture
def polling(app, live_server):
    """A merchant's shop, and a function that asks for its updates over HTTP."""
    shop = make_shop(make_merchant())
    key = make_key(db.session.get_one(Merchant, shop.merchant_id), "shop", shop)[1]

    def poll(wait_seconds):
        request = urllib.request.Request(
            f"{live_server.url}{POLL}?wait_seconds={wait_seconds}", headers=bearer(key)
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.loads(response.read())

    return shop, poll


class Asking(threading.Thread):
    """A poll under way."""

    def __init__(self, poll, wait_seconds):
        super().__init__(daemon=True)
        self.poll, self.wait_seconds, self.answer, self.ended = poll, wait_seconds, None, 0.0
        self.start()

    def run(self):
        self.answer = self.poll(self.wait_seconds)
        self.ended = time.monotonic()


def waits(app, count):
    polls, until = app.extensions["kontor.polls"], time.monotonic() + 10
    while len(polls._waiting) != count:
        assert time.monotonic() < until, f"{len(polls._waiting)} polls wait"
        time.sleep(0.01)


def test_a_waiting_poll_wakes_when_something_is_committed(app, polling):
    shop, poll = polling
    asking = Asking(poll, 20)
    waits(app, 1)
    row = make_update(shop, at=now())
    committed = time.monotonic()
    asking.join(15)
    assert [u["id"] for u in asking.answer["payment_updates"]] == [str(row.id)]
    assert asking.ended - committed < 5  # 0.2 s by design; this only tells it from the 20 s


def test_a_poll_without_news_ends_empty(polling):
    _, poll = polling
    assert poll(1) == {"payment_updates": []}


def test_half_of_the_threads_may_wait_and_the_rest_is_told_to_come_back(app, polling):
    _, poll = polling
    polls = app.extensions["kontor.polls"]
    half = app.config["SETTINGS"].web_threads // 2
    waiting = [Asking(poll, 20) for _ in range(half)]
    waits(app, half)
    assert poll(20) == {"payment_updates": [], "retry_after_seconds": 5}
    polls.is_stopping = lambda: True
    try:  # a server that stops lets go of all of them
        for asking in waiting:
            asking.join(10)
            assert asking.answer == {"payment_updates": []}
        assert poll(20)["retry_after_seconds"] == 5
    finally:
        polls.is_stopping = lambda: False


def test_waiting_holds_no_connection(app, polling):
    _, poll = polling
    before = db.engine.pool.checkedout()
    asking = [Asking(poll, 1) for _ in range(3)]
    waits(app, 3)
    assert db.engine.pool.checkedout() <= before + 1  # the one thread that looks for all
    for one in asking:
        one.join(10)


@pytest.mark.parametrize("query", ["wait_seconds=21", "wait_seconds=-1", "limit=0", "limit=101"])
def test_limits_of_a_poll(client, shop, merchant, query):
    key = bearer(make_key(merchant, "shop", shop)[1])
    found = client.get(f"{POLL}?{query}", headers=key)
    assert found.status_code == 422
    assert query.partition("=")[0] in found.json["detail"]


def test_an_unknown_update_is_not_there(client, shop, merchant):
    key = bearer(make_key(merchant, "shop", shop)[1])
    theirs = make_update(make_shop(make_merchant("Bobs Laden")))
    for number in (theirs.id, 0, 2**63, 10**30):
        url = f"{POLL}/{number}/acknowledgement"
        assert client.post(url, json={"outcome": "applied"}, headers=key).status_code == 404
    assert db.session.scalar(select(PaymentUpdate.status)) == "queued"
