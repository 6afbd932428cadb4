"""What is taken in leaves again: signed, with its own return path, and its fate is seen."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import dkim
import pytest
from sqlalchemy import select, text

from server.config import install, installed
from server.db import db, now
from server.forgetting.traces import empty_relayed
from server.jobs import drain
from server.mail import domains, hosts
from server.mail.models import SendingDomain
from server.mail.replies import Verdict
from server.mail.smtp import NotNow
from server.mail.suppression import suppress, suppressions_of
from server.mail.verp import return_path
from server.relay import bounces, counting, intake
from server.relay.delivery import Parcel, RelayDesk
from server.relay.intake import Origin
from server.relay.models import RelayDelivery, RelayEvent, RelayStat
from tests.fakes.smtp_server import FakeSmtp
from tests.server.relay.systems import DOMAIN, a_mail, deliveries, make_system, messages, prove

pytestmark = pytest.mark.real_commits
TO = "erika@example.com"
BOUNCE = "bounce.kontor.example.org"
DSN = (
    b"From: MAILER-DAEMON@mx.example.com\r\nSubject: Undelivered\r\n"
    b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/plain\r\n\r\nSorry\r\n"
    b"--b\r\nContent-Type: message/delivery-status\r\n\r\n"
    b"Reporting-MTA: dns; mx.example.com\r\n"
    b"\r\nFinal-Recipient: rfc822; erika@example.com\r\nAction: failed\r\nStatus: 5.1.1\r\n"
    b"Diagnostic-Code: smtp; 550 5.1.1 <erika@example.com> User unknown\r\n\r\n--b--\r\n"
)


@pytest.fixture
def system(app):
    return make_system()


@pytest.fixture
def world(app):
    """A mail server for all the world, and a domain for what comes back."""
    before = app.config["SETTINGS"]
    with FakeSmtp() as fake:
        after = replace(
            before,
            relay_smtp_url=f"smtp://127.0.0.1:{fake.port}",
            relay_host="relay.kontor.example.org",
            bounce_domain=BOUNCE,
        )
        app.config["SETTINGS"] = after
        install(after)
        yield fake
    app.config["SETTINGS"] = before
    install(before)


def hand_in(system, raw: bytes | None = None, *recipients: str) -> int:
    caller = intake.caller_now(system.connection.id)
    number = intake.accept(
        caller,
        raw or a_mail(),
        sender=f"buchung@{DOMAIN}",
        recipients=recipients or (TO,),
        origin=Origin("smtp", "192.0.2.7", "kasse.example.org"),
        at=now(),
    )
    db.session.commit()
    return number


def kinds() -> list[str]:
    db.session.rollback()
    return list(db.session.scalars(select(RelayEvent.kind).order_by(RelayEvent.id)))


def key_in_dns(system):
    """As dkimpy asks for it."""
    [key] = [one for one in domains.keys_of(system.domain) if one.status == "current"]
    record = f"v=DKIM1; k=rsa; p={key.public_key}".encode()
    wanted = f"{key.selector}._domainkey.{DOMAIN}.".encode()
    return lambda name, timeout=5: record if name == wanted else None


@pytest.mark.feature("S87", "S88", "S90")
def test_it_leaves_signed_and_its_body_is_as_it_came(system, world):
    raw = a_mail("Grüße\r\n.\r\nmit Punkt\r\n" + "y" * 3000)
    hand_in(system, raw, TO, "max@example.com")
    drain("relay_delivery")
    assert [one.status for one in deliveries()] == ["done", "done"]
    assert [one.recipients for one in world.received] == [(TO,), ("max@example.com",)]
    for one, row in zip(world.received, deliveries(), strict=True):
        head, _, body = one.content.partition(b"\r\n\r\n")
        assert body == raw.partition(b"\r\n\r\n")[2]
        assert dkim.verify(one.content, dnsfunc=key_in_dns(system))
        assert b"List-Help: <http" in head and b"/relay/why/" in head
        assert b"Received: from kasse.example.org ([192.0.2.7])" in head
        assert one.sender == return_path(row.id, installed().secret_key, BOUNCE, "r")
        assert (row.delivery, row.sent_via) == ("accepted", "127.0.0.1")
    assert kinds() == ["received", "received", "delivered", "delivered"]


def test_what_the_mail_brings_stays_and_what_it_lacks_is_added(system, world):
    raw = (
        f"From: buchung@{DOMAIN}\r\nBcc: chef@example.com\r\n"
        "List-Help: <mailto:hilfe@shop.example.org>\r\nReturn-Path: <x@example.com>\r\n"
        "DKIM-Signature: v=1; a=rsa-sha256; d=other.example; s=a; h=from; bh=x; b=y\r\n"
        "\r\nText\r\n"
    ).encode()
    hand_in(system, raw)
    drain("relay_delivery")
    head = world.received[0].content.partition(b"\r\n\r\n")[0]
    assert b"Bcc" not in head and b"Return-Path" not in head
    assert head.count(b"List-Help") == 2  # its own, and named by the signature's h=
    assert b"List-Help: <mailto:hilfe@shop.example.org>" in head
    assert b"d=other.example" in head and head.count(b"DKIM-Signature:") == 2
    [row] = messages()
    assert f"Message-ID: {row.message_id}".encode() in head and b"\r\nDate: " in head


@pytest.mark.feature("S96")
def test_its_path_is_told_in_the_servers_words(system, world):
    world.faults["RCPT"] = ["450 4.2.1 come later"]
    hand_in(system)
    drain("relay_delivery")
    [row] = deliveries()
    assert (row.status, row.attempts) == ("queued", 1) and "come later" in row.error
    row.due_at = now()
    db.session.commit()
    world.faults["RCPT"] = ["550 5.1.1 <erika@example.com>: User unknown"]
    drain("relay_delivery")
    [row] = deliveries()
    assert (row.status, row.failure) == ("failed", "no_such_mailbox")
    assert kinds() == ["received", "deferred", "bounced"]
    held = suppressions_of(system.merchant.id, now(), limit=5)
    assert [one.address for one in held] == [TO]


def test_a_suppressed_address_gets_nothing(system, world):
    suppress(system.merchant.id, TO, "complaint", at=now())
    db.session.commit()
    hand_in(system, None, TO, "max@example.com")
    drain("relay_delivery")
    assert [one.status for one in deliveries()] == ["withheld", "done"]
    assert [one.recipients for one in world.received] == [("max@example.com",)]
    assert sorted(kinds()) == ["delivered", "received", "received", "suppressed"]


def test_a_key_that_left_the_dns_holds_the_mail_until_it_is_back(system, world):
    hand_in(system)
    prove(system.domain, "missing")
    db.session.commit()
    drain("relay_delivery")
    [row] = deliveries()
    assert row.status == "queued" and "DKIM" in row.error and world.received == []
    prove(db.session.get_one(SendingDomain, system.domain.id))
    row.due_at = now()
    db.session.commit()
    drain("relay_delivery")
    assert deliveries()[0].status == "done"


@pytest.mark.feature("S96")
def test_a_bounce_that_comes_later_is_written_on_it_once(system, world):
    hand_in(system)
    drain("relay_delivery")
    [row] = deliveries()
    path = return_path(row.id, installed().secret_key, BOUNCE, "r")
    assert bounces.is_of_relay(path) and not bounces.is_of_relay(path.replace("r+", "b+"))
    assert [bounces.receive(DSN, path, now()) for _ in range(2)] == [True, False]
    db.session.commit()
    [row] = deliveries()
    assert row.delivery == "bounced" and "User unknown" in row.delivery_words
    assert kinds() == ["received", "delivered", "bounced"]


def test_its_path_says_when_each_step_was_not_when_the_batch_was_taken(system):
    hand_in(system)
    [row] = deliveries()
    begun = now()
    desk = RelayDesk([row], begun - timedelta(minutes=5))
    desk.note_success(row, Parcel("", TO, b""), "250 Ok", "mx.example.com")
    desk.note_failure(row, NotNow("421 later", Verdict("unreachable", False)))
    db.session.flush()
    query = select(RelayEvent.at).where(RelayEvent.kind != "received")
    assert [at >= begun for at in db.session.scalars(query)] == [True, True]


def test_a_bounce_of_a_removed_address_brings_it_not_back(system, world):
    hand_in(system)
    drain("relay_delivery")
    [row] = deliveries()
    path = return_path(row.id, installed().secret_key, BOUNCE, "r")
    empty_relayed([row.id])
    db.session.commit()
    assert not bounces.receive(DSN, path, now())
    db.session.commit()
    [row] = deliveries()
    assert (row.delivery, row.delivery_words) == ("accepted", None)
    assert suppressions_of(system.merchant.id, now(), limit=1) == []


@pytest.mark.feature("S96", "S98")
def test_hours_are_counted_once(system, world):
    hand_in(system, None, TO, "max@example.com")
    drain("relay_delivery")
    while counting.count(now())[0]:
        db.session.commit()
    db.session.commit()
    [stat] = db.session.scalars(select(RelayStat)).all()
    assert (stat.domain, stat.received, stat.delivered, stat.bounced) == (DOMAIN, 2, 2, 0)
    assert counting.count(now()) == (0, [])


def test_a_worker_that_died_sends_it_again_with_the_same_message_id(system, world):
    hand_in(system)
    drain("relay_delivery")
    [row] = deliveries()
    row.status, row.claimed_at = "running", now() - 2 * RelayDelivery.lease
    db.session.commit()
    assert RelayDelivery.release_abandoned(now()) == 1
    drain("relay_delivery")
    ids = [one.content.count(b"Message-ID: <buchung-1@shop.example.org>") for one in world.received]
    assert ids == [1, 1]


def test_the_content_goes_when_its_days_are_over_and_the_envelope_stays(system, world):
    hand_in(system)
    later = now() + timedelta(days=8)
    assert counting.forget_content(later) == 0  # it still has to be delivered
    drain("relay_delivery")
    assert counting.forget_content(now()) == 0
    assert counting.has_old_content(later) and counting.forget_content(later) == 1
    db.session.commit()
    [row] = messages()
    assert row.content is None and row.subject.startswith("Ihre Buchung")


def test_contents_that_are_kept_are_not_looked_through(system):
    """The clock asks every two seconds, and there are as many as a week brought."""
    hand_in(system)
    many = """
        INSERT INTO relay_message (merchant_id, connection_id, received_at, origin, client_address,
            client_name, sender, header_from, domain, subject, message_id, size_bytes, content)
        SELECT merchant_id, connection_id, received_at - number * interval '1 minute', origin,
            client_address, client_name, sender, header_from, domain, subject, message_id,
            size_bytes, content
        FROM relay_message CROSS JOIN generate_series(1, 5000) AS number
    """
    db.session.execute(text(many))
    db.session.execute(text("ANALYZE relay_message"))
    asked = counting.old_content(now()).compile(db.engine, compile_kwargs={"literal_binds": True})
    plan = "\n".join(db.session.scalars(text(f"EXPLAIN {asked}")))
    assert "Seq Scan on relay_message" not in plan
    [looked_up] = re.findall(r"ix_relay_message_content.*\n\s*Index Cond: (.*)", plan)
    assert "connection_id = " in looked_up and "received_at < " in looked_up


@pytest.mark.feature("S88")
def test_the_pool_of_the_relay_is_its_own(system, world):
    """Another server; and what a host thinks of Kontor's own mails is none of its business."""
    assert installed().relay_smtp_url != installed().smtp_url
    hosts.failed("127.0.0.1", "421 too many mails of ours", now(), timedelta(hours=1))
    db.session.commit()
    hand_in(system)
    drain("relay_delivery")
    assert deliveries()[0].status == "done"
    world.faults["CONNECT"] = ["421 4.7.0 not you"] * 3
    hand_in(system, a_mail("zwei"))
    drain("relay_delivery")
    assert hosts.standing("relay:127.0.0.1").failures == 1
    assert hosts.standing("127.0.0.1").failures == 1
