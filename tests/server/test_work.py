"""Work rows: claimed by one, retried on a schedule, released when a worker dies, rung for."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import timedelta

import pytest
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue

from plugin_sdk.errors import Misconfigured, Rejected, Temporary
from server.banking.service import store_statement
from server.clock import release, tick
from server.db import db, now
from server.jobs import (
    MAILS_AT_ONCE,
    RUNG,
    Bell,
    act,
    drain,
    drain_mail,
    drain_match_request,
    drain_statement,
)
from server.mail.models import JITTER, Mail
from server.merchants.models import Merchant
from server.orders.models import MatchRequest
from server.orders.service import assign, mark_as_paid
from server.work import LEASE, listen
from tests.factories import make_merchant, make_order, make_posting, make_shop
from tests.server.mail.sink import Sink, running

SECOND = timedelta(seconds=1)
NOWHERE = "unix:///nonexistent/redis.sock"


@pytest.fixture
def shop(app):
    return make_shop(make_merchant())


@pytest.fixture
def mail(shop):
    """A queued mail with the payment information of an order."""
    order = make_order(shop)
    return db.session.query(Mail).filter_by(order_id=order.id).one()


@pytest.fixture
def at(mail):
    return max(mail.due_at, now())


@pytest.fixture
def sink(app, monkeypatch):
    """The mail server that drains talk to."""
    with running(Sink()) as sink:
        settings = replace(app.config["SETTINGS"], smtp_url=f"smtp://127.0.0.1:{sink.port}")
        monkeypatch.setitem(app.config, "SETTINGS", settings)
        yield sink


def merchant_of(shop):
    return db.session.get_one(Merchant, shop.merchant_id)


# --- one row -----------------------------------------------------------------------------------


def test_a_claim_takes_what_is_due_oldest_first_and_only_once(shop, at):
    for _ in range(4):
        make_order(shop)
    rows = list(db.session.query(Mail).order_by(Mail.id))
    for place, row in enumerate(rows):
        row.due_at = at - place * SECOND
    rows[1].due_at = at + SECOND
    db.session.commit()
    assert [m.id for m in Mail.claim(2, at)] == [rows[4].id, rows[3].id]
    assert [m.id for m in Mail.claim(9, at)] == [rows[2].id, rows[0].id]
    assert Mail.claim(9, at) == []
    assert {(m.status, m.attempts) for m in rows} == {("running", 1), ("queued", 0)}


def failing(error):
    def action(_):
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Temporary("busy"), "queued"),
        (Rejected("no such address"), "failed"),
        (Misconfigured("no password"), "queued"),
    ],
)
def test_errors_become_states(mail, at, error, status):
    (claimed,) = Mail.claim(1, at)
    act(claimed, failing(error))
    assert (mail.status, mail.error) == (status, str(error))
    assert (mail.finished_at is not None) == (status == "failed")
    assert not Mail.is_due(now())


def test_retries_follow_the_schedule_and_end(mail, at):
    pauses = []
    mail.created_at = at
    for _ in range(100):
        (claimed,) = Mail.claim(1, at)
        claimed.retry("busy", at)
        db.session.commit()
        if claimed.status == "failed":
            break
        pauses.append(claimed.due_at - at)
        assert Mail.claim(1, claimed.due_at - SECOND) == []
        at = claimed.due_at
    assert len(pauses) in (len(Mail.schedule) - 1, len(Mail.schedule))  # or three days are over
    for pause, planned in zip(pauses, Mail.schedule, strict=False):
        assert planned * (1 - JITTER) <= pause <= planned * (1 + JITTER)
    assert len({pause / planned for pause, planned in zip(pauses, Mail.schedule, strict=False)}) > 9
    assert (mail.status, mail.error, mail.finished_at) == ("failed", "busy", at)
    assert mail.failure == "expired"


def test_the_other_sides_wish_is_at_least_kept(mail, at):
    (claimed,) = Mail.claim(1, at)
    before = now()
    act(claimed, failing(Temporary("slow down", retry_after_seconds=7200)))
    assert mail.due_at >= before + timedelta(hours=2)
    claimed.retry("busy", at, timedelta(seconds=1))
    assert mail.due_at >= at + Mail.schedule[0] * (1 - JITTER)


def test_a_row_of_a_dead_worker_is_released_after_its_lease(mail, at):
    Mail.claim(1, at)
    assert release(at + LEASE) == 0
    assert release(at + LEASE + SECOND) == 1
    db.session.refresh(mail)
    assert (mail.status, mail.error) == ("queued", "the worker stopped while at it")
    (again,) = Mail.claim(1, at + LEASE + SECOND)
    assert again.attempts == 2


def test_where_repeating_is_a_question_the_row_is_put_aside(mail, at):
    """A mail that asks for no money, and that its worker had begun to hand over."""
    mail.kind, mail.sent_via = "payment_received", "mail.example.org"
    db.session.commit()
    Mail.claim(1, at)
    release(at + LEASE + SECOND)
    db.session.refresh(mail)
    assert mail.status == "unknown"
    assert not Mail.is_due(at + timedelta(days=9))


def test_put_back_counts_nothing(mail, at):
    for _ in range(3):
        (claimed,) = Mail.claim(1, at)
        claimed.put_back(at)
        db.session.commit()
    assert (mail.status, mail.attempts, mail.due_at) == ("queued", 0, at)


def test_a_bug_is_loud_and_the_row_survives_it(mail, at):
    (claimed,) = Mail.claim(1, at)
    with pytest.raises(ZeroDivisionError):
        act(claimed, lambda _: 1 / 0)
    assert mail.status == "queued"
    assert "unexpected: ZeroDivisionError" in mail.error
    assert mail.due_at > at


# --- drains ------------------------------------------------------------------------------------


def test_a_bug_in_one_mail_does_not_hold_up_its_neighbours(shop, sink):
    orders = [make_order(shop) for _ in range(4)]
    mails = [db.session.query(Mail).filter_by(order_id=order.id).one() for order in orders]
    mails[1].theme = {"no": "theme"}  # a fact that nobody expects: TypeError
    db.session.commit()
    with pytest.raises(TypeError):
        drain_mail()
    assert [m.status for m in mails] == ["done", "queued", "queued", "queued"]
    assert drain_mail() is False
    assert [m.status for m in mails] == ["done", "queued", "done", "done"]
    assert len(sink.received) == 3


def test_a_bug_in_one_statement_does_not_hold_up_the_others(shop):
    rows = [
        store_statement(shop.merchant_id, f"{n}.csv", b"x;y\n1;2\n", uploaded_by="")
        for n in range(3)
    ]
    rows[1].problems = None  # nobody expects that either
    db.session.commit()
    with pytest.raises(TypeError):
        drain_statement()
    assert drain_statement() is False
    assert [s.status for s in rows] == ["failed", "queued", "failed"]
    assert rows[1].due_at > now()
    assert "unexpected: TypeError" in rows[1].error


def test_nobody_is_asked_for_money_that_came_while_the_mail_was_under_way(shop, sink):
    """Claimed when the payment was booked, refused for the moment, then due again."""
    paid, open_ = make_order(shop), make_order(shop)
    mails = Mail.claim(2, now())
    mark_as_paid(shop.merchant_id, paid.id, actor="", at=now())
    for mail in mails:
        mail.put_back(now())
    db.session.commit()
    drain_mail()
    assert {m.order_id: m.status for m in mails} == {paid.id: "withheld", open_.id: "done"}
    assert len(sink.received) == 1


def test_a_match_request_is_gone_when_it_was_answered(shop):
    order = make_order(shop, number="AA-90417", total="12.00")
    make_posting(merchant_of(shop), "12.00", "Bestellung AA-90417")
    assert db.session.query(MatchRequest).count() == 1
    assert drain_match_request() is False
    assert db.session.query(MatchRequest).count() == 0
    assert order.payment_status == "paid"


def test_more_than_one_batch_is_drained(shop, sink):
    for _ in range(MAILS_AT_ONCE + 2):
        make_order(shop)
    assert drain_mail() is False
    assert len(sink.received) == MAILS_AT_ONCE + 2
    assert len({e.rcpt_tos[0] for e in sink.received}) == 1


# --- bell and clock ----------------------------------------------------------------------------


def queued(redis, kind):
    return Queue(kind, connection=redis, serializer="json").count


def eventually(look):
    until = time.monotonic() + 10
    while not look():
        assert time.monotonic() < until, "it did not come true"
        time.sleep(0.01)


@pytest.fixture
def silent(app):
    """Commits do not ring."""
    listen(lambda _: None)
    yield
    listen(app.extensions["kontor.bell"].ring)


def test_the_clock_rings_for_what_is_due_and_for_nothing_else(app, silent, shop):
    bell = app.extensions["kontor.bell"]
    assert tick(bell, now() - timedelta(days=1)) == set()
    make_order(shop)
    assert tick(bell, now()) == {"mail", "match_request"}
    assert (queued(bell.redis, "mail"), queued(bell.redis, "statement")) == (1, 0)
    tick(bell, now())
    assert queued(bell.redis, "mail") == 1  # rung and not yet heard: no second ring


def test_the_first_act_of_a_job_makes_room_for_the_next_ring(app, shop):
    bell = app.extensions["kontor.bell"]
    bell.ring_now({"match_request"})
    assert bell.redis.exists(RUNG + "match_request")
    drain("match_request")
    assert not bell.redis.exists(RUNG + "match_request")


def test_a_commit_rings(app, shop):
    bell = app.extensions["kontor.bell"]
    make_order(shop)
    eventually(lambda: queued(bell.redis, "mail") and queued(bell.redis, "match_request"))


def test_what_is_rolled_back_does_not_ring(app, shop):
    rung = []
    listen(rung.append)
    try:
        order = make_order(shop)
        rung.clear()
        posting = make_posting(merchant_of(shop))
        assign(shop.merchant_id, posting.id, [(order.id, order.total)], actor="", at=now())
        db.session.rollback()
        db.session.commit()
        assert rung == []
        assign(shop.merchant_id, posting.id, [(order.id, order.total)], actor="", at=now())
        db.session.commit()
        assert rung == [{"mail", "payment_update", "shop_connection"}]
    finally:
        listen(app.extensions["kontor.bell"].ring)


@pytest.fixture
def deaf(app):
    """A bell whose Redis is away."""
    bell = Bell(Redis.from_url(NOWHERE))
    listen(bell.ring)
    yield bell
    listen(app.extensions["kontor.bell"].ring)


def test_without_redis_rows_are_stored_and_the_clock_rings_later(app, shop, deaf):
    order = make_order(shop)
    eventually(lambda: not deaf._kinds)  # it tried, and nobody noticed
    assert db.session.query(Mail).filter_by(order_id=order.id).one().status == "queued"
    with pytest.raises(RedisError):
        tick(deaf, now())
    bell = app.extensions["kontor.bell"]
    assert "mail" in tick(bell, now())
    assert queued(bell.redis, "mail") == 1


def test_a_commit_does_not_wait_for_a_redis_that_hangs(app, shop):
    """The bell's thread is stuck in Redis; commits go on."""

    class Stuck(Bell):
        def ring_now(self, kinds):
            stuck.append(kinds)
            over.wait()

    stuck, over = [], threading.Event()
    listen(Stuck(Redis.from_url(NOWHERE)).ring)
    try:
        for _ in range(3):
            make_order(shop)
        eventually(lambda: stuck)
        assert len(stuck) == 1  # it is still at the first ring
        assert db.session.query(Mail).count() == 3
    finally:
        over.set()
        listen(app.extensions["kontor.bell"].ring)


def test_redis_flushed_loses_nothing(app, shop, sink):
    bell = app.extensions["kontor.bell"]
    make_order(shop)
    eventually(lambda: queued(bell.redis, "mail"))
    bell.redis.flushdb()
    assert tick(bell, now()) >= {"mail"}
    drain("mail")
    assert len(sink.received) == 1
