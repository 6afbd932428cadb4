"""From the queue to the mail servers of many domains: lanes, pauses, limits, doubts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError

from server import jobs
from server.clock import release
from server.config import Settings
from server.db import db, now
from server.mail import hosts, rounds, smtp
from server.mail.models import MAX_AGE, Mail, MailHost, Suppression
from server.mail.service import LEFT_TO_REST, ONE_CLICK, let_rest, queue_mail, resend, send_again
from server.mail.suppression import opt_out, suppress
from server.work import LEASE
from tests.factories import make_merchant
from tests.fakes.dns_server import FakeDns
from tests.fakes.smtp_server import FakeSmtp, free_port
from tests.server.mail.sink import Sink
from tests.unit.mail.samples import ANTIQUARIAT, facts_for

Configure = Callable[..., Settings]
NUMBERS = count()
IMPORTANT, OPTIONAL = "order_cancelled", "payment_received"
CLOSE_ALL_OTHERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@pytest.fixture
def merchant_id(app: Flask) -> int:
    return make_merchant().id


@pytest.fixture
def configure(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Configure:
    def change(**over: Any) -> Settings:
        settings = replace(app.config["SETTINGS"], **over)
        monkeypatch.setitem(app.config, "SETTINGS", settings)
        return settings

    return change


@pytest.fixture
def dns() -> Iterator[FakeDns]:
    with FakeDns() as dns:
        yield dns


class Internet:
    """Domains with a mail server each, on loopback addresses of their own and one port."""

    def __init__(self, dns: FakeDns, stack: ExitStack) -> None:
        self.dns, self._stack = dns, stack
        self.port = free_port()
        self.servers: dict[str, FakeSmtp] = {}
        self._last = 0

    def add(self, domain: str) -> FakeSmtp:
        host = f"mx.{domain}"
        self.dns.put(domain, "MX", f"10 {host}")
        self.servers[domain] = self._stack.enter_context(FakeSmtp(self.name(host), self.port))
        return self.servers[domain]

    def name(self, host: str) -> str:
        """An address of its own, where perhaps nobody listens."""
        self._last += 1
        address = f"127.0.1.{self._last}"
        self.dns.put(host, "A", address)
        return address


@pytest.fixture
def internet(dns: FakeDns, configure: Configure) -> Iterator[Internet]:
    with ExitStack() as stack:
        made = Internet(dns, stack)
        configure(
            smtp_url="mx://",
            dns_servers=(dns.server,),
            allow_private_addresses=True,
            mx_port=made.port,
            mail_host="kontor.example.net",
        )
        yield made


@pytest.fixture
def relay(sink: Sink, configure: Configure) -> Sink:
    configure(smtp_url=f"smtp://127.0.0.1:{sink.port}")
    return sink


def queue(merchant_id: int, recipient: str, kind: str = IMPORTANT) -> Mail:
    once = f"test-{next(NUMBERS)}"
    queue_mail(
        kind,
        merchant_id=merchant_id,
        shop_id=None,
        order_id=None,
        language="de",
        recipient=recipient,
        once=once,
        facts=facts_for(kind, "de"),
        theme=ANTIQUARIAT,
        sender_name="Annas Antiquariat",
        sender_address=None,
        reply_to="anna@example.org",
    )
    db.session.commit()
    return db.session.execute(select(Mail).where(Mail.once == once)).scalar_one()


def make_due(mail: Mail) -> None:
    mail.due_at = now()
    host = db.session.scalars(select(MailHost)).first()
    if host is not None:
        host.paused_until = None
    db.session.commit()


def drain() -> None:
    while jobs.drain_mail():
        pass
    db.session.expire_all()


# --- directly to many hosts ---------------------------------------------------------------------


def test_each_domain_has_its_own_server(merchant_id: int, internet: Internet) -> None:
    one, two = internet.add("one.example"), internet.add("two.example")
    mails = [
        queue(merchant_id, f"erika{n}@{name}.example") for n in range(3) for name in ("one", "two")
    ]
    drain()
    assert {mail.status for mail in mails} == {"done"}
    assert {mail.sent_via for mail in mails} == {"mx.one.example", "mx.two.example"}
    for fake, name in ((one, "one"), (two, "two")):
        assert [mail.recipients for mail in fake.received] == [
            (f"erika{n}@{name}.example",) for n in range(3)
        ]
        assert fake.connections == 1, "one session a host"
        assert fake.arguments[0] == "ehlo kontor.example.net"


def test_a_host_that_hangs_holds_up_nobody_else(
    merchant_id: int, internet: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hangs until the others' mails are done, and is the first in the queue."""
    monkeypatch.setattr(smtp, "DIALOGUE_SECONDS", 5)
    slow, quick = internet.add("slow.example"), internet.add("quick.example")
    slow.always["CONNECT"] = "silence"
    slow_mails = [queue(merchant_id, f"erika{n}@slow.example") for n in range(3)]
    quick_mails = [queue(merchant_id, f"erika{n}@quick.example") for n in range(60)]

    def end_when_the_others_are_done() -> None:
        while len(quick.received) < len(quick_mails) and not slow.is_over.wait(0.01):
            pass
        slow.is_over.set()

    watching = threading.Thread(target=end_when_the_others_are_done)
    watching.start()
    drain()
    watching.join(10)
    assert {mail.status for mail in quick_mails} == {"done"}
    assert {mail.status for mail in slow_mails} == {"queued"}
    assert sorted(mail.attempts for mail in slow_mails) == [0, 0, 1]
    assert slow.connections == 1


def test_after_three_failures_a_host_rests_for_longer(merchant_id: int, internet: Internet) -> None:
    """And its mails wait with it, without an attempt being counted."""
    internet.dns.put("away.example", "MX", "10 mx.away.example")
    internet.name("mx.away.example")
    mails = [queue(merchant_id, f"erika{n}@away.example") for n in range(4)]
    pauses = []
    for _ in range(len(hosts.PAUSES) + 1):
        began = now()
        drain()
        stands = hosts.standing("mx.away.example")
        assert stands.paused_until is not None
        pauses.append(round((stands.paused_until - began).total_seconds()))
        for mail in mails:
            make_due(mail)
    assert pauses == [15, 15, 60, 300, 900, 3600, 3600]
    assert sum(mail.attempts for mail in mails) == len(pauses), "one attempt a pause"
    assert {mail.failure for mail in mails} == {"unreachable"}
    assert all("No connection to mx.away.example" in str(mail.error) for mail in mails)
    with FakeSmtp("127.0.1.1", internet.port) as back:
        drain()
        assert len(back.received) == 4
    assert hosts.standing("mx.away.example") == hosts.Standing()
    assert {(mail.status, mail.failure, mail.error) for mail in mails} == {("done", None, None)}


def test_a_paused_host_is_left_alone(merchant_id: int, internet: Internet) -> None:
    fake = internet.add("busy.example")
    until = hosts.failed("mx.busy.example", "too busy", now(), timedelta(hours=1)).paused_until
    mail = queue(merchant_id, "erika@busy.example")
    drain()
    assert fake.connections == 0
    assert (mail.status, mail.attempts, mail.due_at) == ("queued", 0, until)
    assert mail.error == "too busy"
    assert list(hosts.paused(now())) == ["mx.busy.example"]


@pytest.mark.parametrize("answer", ["421 4.7.0 closing", "451 4.7.28 Too many messages, in 1 hour"])
def test_in_the_middle_of_a_batch_a_host_wants_rest(
    merchant_id: int, internet: Internet, answer: str
) -> None:
    fake = internet.add("busy.example")
    mails = [queue(merchant_id, f"erika{n}@busy.example") for n in range(6)]
    times = 2 if answer.startswith("421") else 1  # a connection that closes is opened once more
    fake.faults["MAIL"] = ["250 ok", "250 ok", *[answer] * times]
    began = now()
    drain()
    assert [mail.status for mail in mails] == ["done"] * 2 + ["queued"] * 4
    assert [mail.attempts for mail in mails] == [1, 1, 1, 0, 0, 0]
    wish = timedelta(hours=1) if "hour" in answer else timedelta(seconds=15)
    assert all(mail.due_at >= began + wish for mail in mails[2:])
    for mail in mails[2:]:
        make_due(mail)
    drain()
    assert {mail.status for mail in mails} == {"done"}
    assert len(fake.received) == 6


def test_a_host_gets_so_many_mails_a_minute(
    merchant_id: int, internet: Internet, configure: Configure
) -> None:
    configure(mails_a_minute=5)
    fake, other = internet.add("one.example"), internet.add("two.example")
    mails = [queue(merchant_id, f"erika{n}@one.example") for n in range(8)]
    queue(merchant_id, "erika@two.example")
    began = now()
    drain()
    assert (len(fake.received), len(other.received)) == (5, 1)
    waiting = [mail for mail in mails if mail.status == "queued"]
    assert len(waiting) == 3
    assert {mail.attempts for mail in waiting} == {0}
    assert all(mail.due_at > began + timedelta(seconds=55) for mail in waiting)
    granted, _ = hosts.grant("mx.one.example", 3, 5, waiting[0].due_at)
    assert granted == 3, "in the next minute"


@pytest.mark.parametrize("limit", ["a minute", "a lane"])
def test_what_waits_for_its_turn_is_not_given_up(
    merchant_id: int,
    internet: Internet,
    configure: Configure,
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
) -> None:
    """Not even an old one that was tried before: this host refuses nothing."""
    if limit == "a minute":
        configure(mails_a_minute=1)
    else:
        monkeypatch.setattr(rounds, "MAX_WAITING_A_LANE", 1)
    fake = internet.add("shop.example")
    mails = [queue(merchant_id, f"erika{n}@shop.example") for n in range(3)]
    for mail in mails:
        mail.attempts, mail.created_at = 1, now() - MAX_AGE
    db.session.commit()
    drain()
    assert len(fake.received) == 1
    assert [mail.status for mail in mails] == ["done", "queued", "queued"]
    assert [mail.attempts for mail in mails] == [2, 1, 1]
    assert [mail.failure for mail in mails] == [None] * 3


# --- the recipient's domain ---------------------------------------------------------------------


@pytest.mark.feature("S6")
@pytest.mark.parametrize("mode", ["direct", "smarthost"])
@pytest.mark.parametrize(
    ("records", "failure", "words"),
    [
        ({}, "no_such_domain", "There is no domain shop.example"),
        ({"MX": "0 ."}, "domain_takes_no_mail", "says that it takes no mail"),
        ({"TXT": "only words"}, "domain_takes_no_mail", "has no mail server"),
    ],
)
def test_a_domain_that_takes_no_mail_is_told_at_once(
    merchant_id: int,
    internet: Internet,
    sink: Sink,
    configure: Configure,
    mode: str,
    records: dict[str, str],
    failure: str,
    words: str,
) -> None:
    if mode == "smarthost":
        configure(smtp_url=f"smtp://127.0.0.1:{sink.port}", check_domains=True)
    for kind, value in records.items():
        internet.dns.put("shop.example", kind, value)
    fake = internet.add("other.example")
    mail, other = queue(merchant_id, "erika@shop.example"), queue(merchant_id, "e@other.example")
    drain()
    assert (mail.status, mail.failure, mail.attempts) == ("failed", failure, 1)
    assert words in str(mail.error)
    assert other.status == "done"
    assert len(fake.received) + len(sink.received) == 1
    assert db.session.scalars(select(Suppression)).all() == [], "domains are registered again"


@pytest.mark.feature("S6")
@pytest.mark.parametrize("fault", ["SERVFAIL", "REFUSED"])
def test_what_the_dns_cannot_say_now_is_not_held_against_the_domain(
    merchant_id: int, internet: Internet, sink: Sink, configure: Configure, fault: str
) -> None:
    internet.add("shop.example")
    internet.dns.faults["shop.example"] = fault
    direct = queue(merchant_id, "erika@shop.example")
    drain()
    assert (direct.status, direct.failure) == ("queued", "unreachable")
    assert "cannot be asked now" in str(direct.error)
    configure(smtp_url=f"smtp://127.0.0.1:{sink.port}", check_domains=True)
    make_due(direct)
    drain()
    assert direct.status == "done", "the smarthost may know better"


def test_the_preferred_server_is_tried_first_then_the_others(
    merchant_id: int, internet: Internet
) -> None:
    internet.dns.put("shop.example", "MX", "20 spare.example", "10 mx.shop.example")
    internet.name("mx.shop.example")  # nobody listens there
    with FakeSmtp(internet.name("spare.example"), internet.port) as spare:
        mail = queue(merchant_id, "erika@shop.example")
        drain()
        assert len(spare.received) == 1
    assert (mail.status, mail.sent_via) == ("done", "spare.example")


def test_servers_inside_private_networks_are_not_connected_to(
    merchant_id: int, internet: Internet, configure: Configure
) -> None:
    fake = internet.add("inside.example")
    configure(allow_private_addresses=False)
    mail = queue(merchant_id, "erika@inside.example")
    drain()
    assert (mail.status, mail.failure) == ("failed", "domain_takes_no_mail")
    assert "private networks" in str(mail.error)
    assert fake.connections == 0


def test_a_domain_without_mx_takes_mail_at_its_own_address(
    merchant_id: int, internet: Internet
) -> None:
    with FakeSmtp(internet.name("plain.example"), internet.port) as fake:
        mail = queue(merchant_id, "erika@plain.example")
        drain()
        assert len(fake.received) == 1
    assert mail.sent_via == "plain.example"


# --- how it ends --------------------------------------------------------------------------------


@pytest.mark.feature("S5")
def test_no_address_no_attempt(merchant_id: int, relay: Sink) -> None:
    mail = queue(merchant_id, "erika mustermann@example.org")
    drain()
    assert (mail.status, mail.failure, relay.connections) == ("failed", "invalid_address", 0)
    assert "is not a mail address" in str(mail.error)


def test_facts_that_are_missing(merchant_id: int, relay: Sink) -> None:
    mail = queue(merchant_id, "erika@example.org")
    mail.facts = {**mail.facts, "order_total": ""}
    db.session.commit()
    drain()
    assert (mail.status, mail.failure, relay.connections) == ("failed", "not_writable", 0)


def test_an_unknown_mailbox_gets_no_more_mails(merchant_id: int, relay: Sink) -> None:
    first, second = (queue(merchant_id, "erika@example.org") for _ in range(2))
    other = queue(make_merchant().id, "erika@example.org")
    first.due_at -= timedelta(hours=1)
    db.session.commit()
    relay.answers["RCPT"] = ["550 5.1.1 User unknown"]
    second.due_at += timedelta(hours=1)
    db.session.commit()
    drain()
    make_due(second)
    drain()
    assert (first.status, first.failure) == ("failed", "no_such_mailbox")
    assert "550 5.1.1 User unknown" in str(first.error)
    assert (second.status, second.failure) == ("failed", "blocked")
    assert "User unknown" in str(second.error)
    assert other.status == "done", "another merchant's mails are his own affair"
    assert relay.verbs.count("RCPT") == 2


@pytest.mark.parametrize(
    "answer", ["550 5.7.1 Your reputation is bad", "552 5.2.2 Mailbox full", "554 5.3.4 Too big"]
)
def test_what_is_not_about_the_address_blocks_nothing(
    merchant_id: int, relay: Sink, answer: str
) -> None:
    mail = queue(merchant_id, "erika@example.org")
    relay.answers["RCPT"] = [answer]
    drain()
    assert answer in str(mail.error)
    assert db.session.scalars(select(Suppression)).all() == []


@pytest.mark.feature("S10", "S11", "S12")
def test_blocked_and_unwanted_mails_are_not_sent_and_say_why(merchant_id: int, relay: Sink) -> None:
    suppress(merchant_id, "bob@example.org", "complaint", at=now(), evidence="marked as spam")
    opt_out(merchant_id, "erika@example.org", OPTIONAL, at=now())
    blocked = queue(merchant_id, "bob@example.org")
    unwanted = queue(merchant_id, "erika@example.org", OPTIONAL)
    mandatory = queue(merchant_id, "erika@example.org", IMPORTANT)
    drain()
    assert (blocked.status, blocked.failure) == ("failed", "blocked")
    assert "marked as spam" in str(blocked.error)
    assert (unwanted.status, unwanted.failure) == ("withheld", "opted_out")
    assert mandatory.status == "done"
    assert len(relay.received) == 1


def test_three_days_are_enough(merchant_id: int, relay: Sink) -> None:
    mail = queue(merchant_id, "erika@example.org")
    for attempt in range(2):
        relay.answers["RCPT"] = ["450 4.2.2 Mailbox full"]
        drain()
        assert (mail.status, mail.failure) == (
            ("queued", "mailbox_full") if attempt == 0 else ("failed", "expired")
        )
        mail.created_at = now() - MAX_AGE
        make_due(mail)
    assert "4.2.2 Mailbox full" in str(mail.error)


def test_a_host_that_was_dead_for_days_takes_its_mails_along(
    merchant_id: int, internet: Internet
) -> None:
    internet.add("dead.example")
    for _ in range(hosts.DEAD_AFTER_FAILURES):
        hosts.failed("mx.dead.example", "no connection", now())
    old, young = (queue(merchant_id, f"{name}@dead.example") for name in ("old", "young"))
    old.created_at -= MAX_AGE
    db.session.commit()
    drain()
    assert (old.status, old.failure, old.error) == ("failed", "expired", "no connection")
    assert (young.status, young.attempts) == ("queued", 0)


# --- doubt --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "status"), [(IMPORTANT, "queued"), (OPTIONAL, "unknown"), ("shop_error", "unknown")]
)
def test_a_connection_that_breaks_after_the_content(
    merchant_id: int, relay: Sink, kind: str, status: str
) -> None:
    mail = queue(merchant_id, "erika@example.org", kind)
    relay.drop_after = "DOT"
    drain()
    assert mail.status == status
    assert "it may have arrived" in str(mail.error)
    assert mail.headers, "so that a person can see what may have arrived"
    assert len(relay.received) == 1
    make_due(mail)
    drain()
    copies = [kept.content for kept in relay.received]
    assert len(copies) == (2 if status == "queued" else 1)
    assert all(mail.message_id.encode() in bytes(copy or b"") for copy in copies)


@pytest.mark.parametrize("kind", [IMPORTANT, OPTIONAL])
@pytest.mark.parametrize("was_begun", [True, False])
def test_a_worker_that_died(merchant_id: int, relay: Sink, kind: str, was_begun: bool) -> None:
    """What was not begun simply goes; what may have arrived goes again only if it is important."""
    mail = queue(merchant_id, "erika@example.org", kind)
    (claimed,) = Mail.claim(1, now())
    if was_begun and not claimed.is_important:
        claimed.sent_via = "127.0.0.1"
        db.session.commit()
    release(now() + LEASE + timedelta(seconds=1))
    db.session.expire_all()
    assert mail.status == ("unknown" if was_begun and kind == OPTIONAL else "queued")
    assert mail.error == "the worker stopped while at it"
    assert release(now() + 2 * LEASE) == 0


@pytest.mark.real_commits
def test_the_message_id_stands_before_the_mail_is_handed_over(
    merchant_id: int, relay: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a copy after a crash is known as one."""
    mail_id = queue(merchant_id, "erika@example.org").id
    seen: set[str] = set()
    answer, engine = relay._answer, db.engine

    def look(server: Any, verb: str, good: str) -> str:
        if verb == "DOT":
            with engine.connect() as other:
                stored = select(Mail.message_id).where(Mail.id == mail_id)
                seen.add(other.execute(stored).scalar_one())
        return answer(server, verb, good)

    monkeypatch.setattr(relay, "_answer", look)
    drain()
    (kept,) = relay.received
    (stored,) = seen
    assert f"Message-ID: {stored}\r\n".encode() in bytes(kept.content or b"")
    assert stored == db.session.get_one(Mail, mail_id).message_id
    assert stored.endswith("@kontor.example.org>")


def test_a_mail_is_marked_before_it_is_handed_over(
    merchant_id: int, relay: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only those of which a crash would leave a doubt cost that extra commit."""
    optional, important = (
        queue(merchant_id, f"{kind}@example.org", kind) for kind in (OPTIONAL, IMPORTANT)
    )
    seen: dict[str, str | None] = {}
    answer = relay._answer

    def look(server: Any, verb: str, good: str) -> str:
        if verb == "DOT":
            for mail in (optional, important):
                if mail.status == "running":
                    seen.setdefault(mail.kind, mail.sent_via)
        return answer(server, verb, good)

    monkeypatch.setattr(relay, "_answer", look)
    drain()
    assert seen == {OPTIONAL: "127.0.0.1", IMPORTANT: None}


@pytest.mark.real_commits
@pytest.mark.parametrize(("kind", "status"), [(IMPORTANT, "queued"), (OPTIONAL, "unknown")])
def test_a_database_that_restarts_while_a_mail_is_under_way(
    merchant_id: int, relay: Sink, monkeypatch: pytest.MonkeyPatch, kind: str, status: str
) -> None:
    """The worker lives on, and knows as little of that mail as one that was killed."""
    mail_id = queue(merchant_id, "erika@example.org", kind).id
    db.session.add(MailHost(host="127.0.0.1", failures=1))
    db.session.commit()
    answer, engine = relay._answer, db.engine

    def restart(server: Any, verb: str, good: str) -> str:
        if verb == "DOT":
            with engine.connect() as other:
                other.execute(text(CLOSE_ALL_OTHERS))
        return answer(server, verb, good)

    monkeypatch.setattr(relay, "_answer", restart)
    with pytest.raises(OperationalError):
        jobs.drain_mail()
    db.session.remove()
    mail = db.session.get_one(Mail, mail_id)
    assert mail.status == status
    assert len(relay.received) == 1


def test_a_person_decides_what_nobody_knows(merchant_id: int, relay: Sink) -> None:
    again, rest = (queue(merchant_id, f"{n}@example.org", OPTIONAL) for n in range(2))
    for mail in (again, rest):
        mail.status, mail.error = "unknown", "it may have arrived"
    before = again.message_id = "<4nB8wK2t@laden.example>"
    send_again(again, now())
    let_rest(rest, now())
    db.session.commit()
    drain()
    assert (again.status, again.message_id, again.attempts) == ("done", before, 1)
    assert (rest.status, rest.error) == ("withheld", LEFT_TO_REST)
    assert len(relay.received) == 1
    for mail in (again, rest):
        with pytest.raises(ValueError, match="is not sent again"):
            send_again(mail, now())
        with pytest.raises(ValueError, match="needs no decision"):
            let_rest(mail, now())


@pytest.mark.feature("S70")
def test_once_more_by_intent_is_a_new_mail(merchant_id: int, relay: Sink) -> None:
    mail = queue(merchant_id, "erika@example.org")
    drain()
    at = now()
    copy, is_new = resend(mail, actor="anna@example.org", at=at)
    moved, _ = resend(mail, recipient="erika@example.com", actor="anna@example.org", at=at)
    clicked = at + ONE_CLICK - timedelta(milliseconds=1)
    twice = resend(mail, actor="anna@example.org", at=clicked)
    later, _ = resend(mail, actor="anna@example.org", at=at + ONE_CLICK)
    db.session.commit()
    assert is_new and twice == (copy, False), "two clicks are one mail"
    drain()
    assert [kept.rcpt_tos for kept in relay.received] == [
        [address] for address in ("erika@example.org", "erika@example.org", "erika@example.com")
    ]
    make_due(later)
    drain()
    mails = (mail, copy, moved, later)
    assert {one.status for one in mails} == {"done"}
    assert len({one.message_id for one in mails}) == 4
    assert len({(one.subject, one.text, one.html) for one in mails}) == 1
    mail.facts = {}
    with pytest.raises(ValueError, match="erased"):
        resend(mail, actor="", at=at)


# --- what must never happen ---------------------------------------------------------------------

HOSTILE_ADDRESSES = [
    "erika@example.org\r\nRCPT TO:<bob@example.org>",
    "erika@example.org\nBcc: bob@example.org",
    "erika@example.org\r",
    "erika\u2028@example.org",
    "erika@example.org, bob@example.org",
    "erika@example.org> <bob@example.org",
    "<erika@example.org>",
    "erika@example.org bob@example.org",
    f"{'e' * 65}@example.org",
    "erïka@example.org",
    "erika@exam\u2028ple.org",
    "erika@[127.0.0.1]",
    "@example.org:erika@example.org",
    '"erika\r\n"@example.org',
    "erika@example.org;bob@example.org",
    "",
]
HOSTILE_WORDS = [
    "Erika\r\nBcc: bob@example.org",
    "Erika\nBcc: bob@example.org\n\n<b>body</b>",
    "Erika\rBcc: bob@example.org",
    "Erika\x00Bcc: bob@example.org",
    "Erika\u2028Bcc: bob@example.org",
    "Erika\u0085Bcc: bob@example.org",
    "Erika\x0b\x0cBcc: bob@example.org",
    '"Erika" <bob@example.org>, ',
    "=?utf-8?q?Erika=0D=0ABcc:_bob@example.org?=",
    "Erika\r\n.\r\nRCPT TO:<bob@example.org>",
    "x" * 5000 + "\r\nBcc: bob@example.org",
]


@pytest.mark.parametrize("address", HOSTILE_ADDRESSES)
def test_no_address_brings_a_second_recipient(merchant_id: int, relay: Sink, address: str) -> None:
    mail = queue(merchant_id, address)
    drain()
    assert (mail.status, mail.failure) == ("failed", "invalid_address")
    assert relay.connections == 0


def test_an_international_domain_is_written_in_ascii(merchant_id: int, relay: Sink) -> None:
    queue(merchant_id, "erika@bücher.example")
    drain()
    (kept,) = relay.received
    assert kept.rcpt_tos == ["erika@xn--bcher-kva.example"]


@pytest.mark.parametrize("words", HOSTILE_WORDS)
def test_no_words_bring_a_header_or_a_recipient(merchant_id: int, relay: Sink, words: str) -> None:
    """In every place that shops and customers write: name, number, sender, reply address."""
    queue(merchant_id, "erika@example.org")
    drain()
    mail = queue(merchant_id, "erika@example.org")
    hostile = words.replace("\x00", "\x01")  # Postgres stores no NUL
    mail.facts = {**mail.facts, "recipient_name": hostile, "shop_name": hostile}
    mail.facts |= {"order_number": hostile, "order_total": hostile}
    mail.sender_name = hostile[:200]
    db.session.commit()
    drain()
    assert mail.status == "done", mail.error
    plain, attacked = (kept.content for kept in relay.received)
    assert isinstance(plain, bytes)
    assert isinstance(attacked, bytes)
    assert _names(attacked) == _names(plain)
    assert [kept.rcpt_tos for kept in relay.received] == [["erika@example.org"]] * 2
    assert max(len(line) for line in attacked.split(b"\r\n")) <= 998


def _names(raw: bytes) -> list[bytes]:
    head = raw.partition(b"\r\n\r\n")[0]
    return [line.partition(b":")[0] for line in head.split(b"\r\n") if line[:1] not in b" \t"]
