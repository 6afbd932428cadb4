"""SIGKILL in the middle of work: nothing lost, nothing twice but what docs/promise.md says.

One installation for the module; its mail server is a sink in this process that counts.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from email import message_from_bytes
from types import SimpleNamespace

import pytest
from redis import Redis

from server.config import read_runtime
from server.db import db, now
from server.merchants.service import change_setting
from tests.factories import bearer, make_key, make_merchant, make_shop, wire_order
from tests.flows.installation import Installation, eventually
from tests.server.mail.sink import Sink, running
from tests.server.test_statements import camt, entry

BATCH = 100
TEXT = "2026030500{n:06}XYZ"


@pytest.fixture(scope="module")
def sink():
    with running(Sink()) as sink:
        yield sink


@pytest.fixture(scope="module")
def installation(sink):
    installation = Installation("--no-demo", SMTP_URL=f"smtp://127.0.0.1:{sink.port}")
    try:
        installation.start()
        with installation.inside():
            yield installation
    finally:
        installation.remove()


@pytest.fixture
def merchant(installation, sink):
    """A merchant of this test's own, whose mails do not wait: keys, and an empty sink."""
    sink.received.clear()
    merchant = make_merchant()
    change_setting(merchant.id, "mail_wait_seconds", "0", actor="", at=now())
    shop = make_shop(merchant)
    return SimpleNamespace(
        id=merchant.id,
        shop=bearer(make_key(merchant, "shop", shop)[1]),
        bank=bearer(make_key(merchant, "bank")[1]),
    )


def push(installation, merchant, orders):
    """All at once; every one is taken."""
    for start in range(0, len(orders), BATCH):
        part = orders[start : start + BATCH]
        answer = installation.api("POST", "orders/batch", merchant.shop, {"orders": part})
        assert {result["outcome"] for result in answer["results"]} == {"created"}


def mails(installation, merchant, status):
    return installation.value(
        "select count(*) from mail where merchant_id = :m and status = :s",
        m=merchant.id,
        s=status,
    )


def all_mails_are_out(installation, merchant, count):
    eventually(lambda: mails(installation, merchant, "done") == count, f"{count} mails")


def to_each_customer(count):
    return [
        wire_order(customer={"email": f"erika{n}@example.org", "language": "de"})
        for n in range(count)
    ]


@pytest.mark.parametrize(
    ("count", "kills"), [(200, 2), pytest.param(2_000, 25, marks=pytest.mark.torture)]
)
def test_a_mail_worker_killed_while_sending_loses_nothing(
    installation, merchant, sink, count, kills
):
    push(installation, merchant, to_each_customer(count))
    for kill in range(1, kills + 1):
        already = count * kill // (kills + 2)
        eventually(lambda already=already: len(sink.received) >= already, f"{already} mails sent")
        installation.kill("worker-mail")
        installation.let_leases_end("mail")
    all_mails_are_out(installation, merchant, count)

    letters = [(e.rcpt_tos[0], message_from_bytes(e.content)["Message-ID"]) for e in sink.received]
    assert len({recipient for recipient, _ in letters}) == count  # none is lost
    copies = Counter(letters)
    assert len(copies) == count  # a second copy has the same Message-ID
    assert sum(copies.values()) - count <= kills
    assert max(copies.values()) <= 2 or kills > 2
    assert installation.value("select count(*) from mail where status = 'running'") == 0


def statement(entries, orders):
    """Every hundredth entry pays an order, the others nothing that is known."""
    parts = []
    for n in range(entries):
        paid = orders[n // BATCH] if n % BATCH == BATCH // 2 else None
        amount, text = (paid["total"], paid["number"]) if paid else (f"{n % 90 + 5}.00", f"x{n}")
        parts.append(entry(amount, f"Bestellung {text}", TEXT.format(n=n)))
    return camt(*parts)


@pytest.mark.feature("S18")
@pytest.mark.parametrize(
    ("entries", "kills"), [(3_000, 1), pytest.param(30_000, 12, marks=pytest.mark.torture)]
)
def test_workers_killed_while_a_statement_is_read_and_matched_book_nothing_twice(
    installation, merchant, entries, kills
):
    orders = [
        wire_order(number=f"AA-{merchant.id}{n:04}7", total=f"{20 + n % 50}.35")
        for n in range(entries // BATCH)
    ]
    push(installation, merchant, orders)
    made = installation.api("POST", "statements", merchant.bank, statement(entries, orders))

    def read():
        query = "select entries_read from statement where id = :id"
        return installation.value(query, id=int(made["id"]))

    for kill in range(1, kills + 1):
        so_far = entries * kill // (kills + 2)
        eventually(lambda so_far=so_far: read() >= so_far, f"{so_far} entries")
        for kind in ("statement", "match_request"):
            installation.kill(f"worker-{kind}")
            installation.let_leases_end(kind)

    def look():
        return installation.api("GET", f"statements/{made['id']}", merchant.bank)

    eventually(lambda: look()["state"] == "done", "the statement")
    answer = look()
    assert (answer["postings_new"], answer["postings_known"]) == (entries, 0)
    assert (answer["entries_read"], answer["problem_count"]) == (entries, 0)
    postings = "select count(*) from posting where merchant_id = :m"
    assert installation.value(postings, m=merchant.id) == entries

    paid = 'select count(*) from "order" where merchant_id = :m and payment_status = :s'
    eventually(
        lambda: installation.value(paid, m=merchant.id, s="paid") == len(orders),
        "every order paid",
    )
    booked = "select count(*) from assignment where merchant_id = :m"
    assert installation.value(booked, m=merchant.id) == len(orders)
    too_much = (
        "select count(*) from (select 1 from posting p join assignment a on a.posting_id = p.id"
        " group by p.id having sum(a.amount) > p.amount) t"
    )
    assert installation.value(too_much) == 0
    told = "select count(*) from payment_update where merchant_id = :m and intent = 'paid'"
    assert installation.value(told, m=merchant.id) == len(orders)
    thanks = "select count(*) from mail where merchant_id = :m and kind = 'payment_received'"
    assert installation.value(thanks, m=merchant.id) == len(orders)


def test_without_redis_orders_are_taken_and_a_flushed_redis_loses_nothing(
    installation, merchant, sink
):
    """First it hangs, then it dies, then it comes back empty; the rows are still there."""
    redis = installation.pids()["redis"]
    os.kill(redis, signal.SIGSTOP)
    push(installation, merchant, to_each_customer(20))
    installation.kill("redis")
    push(installation, merchant, to_each_customer(20))
    eventually(lambda: installation.pids().get("redis") not in (None, redis), "redis again")
    client = Redis.from_url(read_runtime(installation.var)["REDIS_URL"])
    eventually(lambda: answers(client), "an answer of redis")
    push(installation, merchant, to_each_customer(20))
    client.flushall()
    installation.let_leases_end("mail")
    all_mails_are_out(installation, merchant, 60)
    waiting = "select count(*) from match_request where merchant_id = :m"
    eventually(lambda: installation.value(waiting, m=merchant.id) == 0, "no match request")
    assert len(sink.received) >= 60
    client.close()


def answers(client):
    from redis.exceptions import RedisError

    try:
        return client.ping()
    except RedisError:
        return False


def test_a_web_server_killed_while_orders_come_in_has_stored_what_it_acknowledged(
    installation, merchant
):
    """And what it did not acknowledge may be sent again: the same orders, once each."""
    import urllib.error

    orders = [wire_order() for _ in range(60)]
    for number, order in enumerate(orders):
        if number == 25:
            installation.kill("web")

        def accepted(order=order):
            try:
                return installation.api("POST", "orders", merchant.shop, order)["outcome"]
            except (urllib.error.URLError, OSError):
                return None

        assert eventually(accepted, "an answer") in {"created", "unchanged"}
    stored = 'select count(*) from "order" where merchant_id = :m'
    assert installation.value(stored, m=merchant.id) == len(orders)
    asked = "select count(*) from mail where merchant_id = :m"
    assert installation.value(asked, m=merchant.id) == len(orders)
    db.session.rollback()
