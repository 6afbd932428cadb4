"""What became of mails is told to those addresses that want to hear of it, once an event."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from server import config
from server.callbacks import choices, mails, rules, service
from server.callbacks.choices import CallbackError, hearing
from server.callbacks.models import KEPT, MAILS_KEPT, Callback
from server.db import db, now
from server.forgetting.traces import Traces, sweep
from server.jobs import drain
from server.mail.suppression import suppress
from server.merchants.models import SettingChange
from server.orders.service import assign
from server.relay import counting, intake
from server.relay.delivery import add_event
from server.relay.intake import Origin
from server.relay.models import RelayDelivery, RelayStat
from tests.factories import AT, make_merchant, make_order, make_posting
from tests.server.dashboard.test_order_pages import words
from tests.server.dashboard.visitor import member
from tests.server.relay.systems import DOMAIN, a_mail, make_system

pytestmark = pytest.mark.feature("S96")

TO = "erika@example.com"
PAGE = "/settings/callbacks"
OF_MAILS = [kind.removeprefix(rules.MAIL_PREFIX) for kind in rules.MAIL_KINDS]


@pytest.fixture
def system(merchant):
    return make_system(merchant=merchant)


@pytest.fixture
def anna(app, merchant, allowed):
    return member(app, merchant)


def hears(url, *kinds: str) -> None:
    choices.choose(url, kinds, actor="anna", at=AT)
    db.session.commit()


def handed_in(system, *recipients: str) -> list[RelayDelivery]:
    number = intake.accept(
        intake.caller_now(system.connection.id),
        a_mail(),
        sender=f"buchung@{DOMAIN}",
        recipients=recipients or (TO,),
        origin=Origin("smtp"),
        at=AT,
    )
    db.session.commit()
    of_it = select(RelayDelivery).where(RelayDelivery.relay_message_id == number)
    return list(db.session.scalars(of_it.order_by(RelayDelivery.id)))


def happened(row: RelayDelivery, kind: str, words: str = "") -> None:
    add_event(row, kind, AT, words=words, code="5.1.1", host="mx.example.com")
    db.session.commit()


def count() -> None:
    counting.count(AT)
    db.session.commit()


def told() -> list[Callback]:
    return list(db.session.scalars(select(Callback).order_by(Callback.id)))


def test_a_bounce_is_told_with_what_is_needed_to_find_the_mail(system, url, secret, receiver, post):
    hears(url, "relay.bounced")
    [row] = handed_in(system)
    happened(row, "bounced", "550 5.1.1 no such user")
    count()
    post(AT)
    [got] = receiver.received
    assert got.is_signed_with(secret)
    assert got.message == {
        "type": "relay.bounced",
        "timestamp": AT.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "data": {
            "id": str(row.relay_message_id),
            "message_id": "<buchung-1@shop.example.org>",
            "recipient": TO,
            "from": f"buchung@{DOMAIN}",
            "received_at": AT.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "connection": {"id": system.connection.id, "name": "Buchungssystem"},
            "code": "5.1.1",
            "words": "550 5.1.1 no such user",
            "host": "mx.example.com",
        },
    }


def test_the_workers_do_it_by_themselves(
    app, merchant, system, url, secret, receiver, allowed, monkeypatch
):
    settings = replace(allowed, relay_smtp_url="smtp://127.0.0.1:9")  # nobody is asked
    config.install(settings)
    monkeypatch.setitem(app.config, "SETTINGS", settings)
    hears(url, "relay.suppressed")
    suppress(merchant.id, TO, "manual", at=now(), evidence="")
    handed_in(system)
    assert not drain("relay_delivery")
    drain("callback")
    [got] = receiver.received
    assert got.is_signed_with(secret)
    assert (got.message["type"], got.message["data"]["recipient"]) == ("relay.suppressed", TO)


@pytest.mark.parametrize("kind", OF_MAILS)
def test_each_kind_is_told_to_who_chose_it(system, url, kind):
    hears(url, f"relay.{kind}")
    [row] = handed_in(system)
    for one in OF_MAILS:
        happened(row, one)
    count()
    assert [one.kind for one in told()] == [f"relay.{kind}"]
    assert set(json.loads(told()[0].body)) == {"type", "timestamp", "data"}


def test_one_message_an_event_and_each_event_once(system, url):
    hears(url, "relay.delivered", "relay.deferred")
    first, second = handed_in(system, TO, "max@example.com")
    happened(first, "deferred")
    happened(first, "delivered")
    happened(second, "delivered")
    count()
    count()
    found = [(one.kind, json.loads(one.body)["data"]["recipient"]) for one in told()]
    assert found == [
        ("relay.deferred", TO),
        ("relay.delivered", TO),
        ("relay.delivered", "max@example.com"),
    ]
    assert len({one.message_id for one in told()}) == 3
    assert sum(row.delivered for row in db.session.query(RelayStat)) == 2


def test_it_is_written_with_the_numbers_or_not_at_all(system, url):
    hears(url, "relay.bounced")
    [row] = handed_in(system)
    happened(row, "bounced")
    counting.count(AT)
    assert len(told()) == 1
    db.session.rollback()
    assert told() == []
    count()
    assert len(told()) == 1


def test_payments_stay_the_default_and_can_be_chosen_away(merchant, shop, system, url):
    assert hearing(merchant.id, [url.id]) == {url.id: {rules.STATUS_CHANGED}}
    [row] = handed_in(system)
    happened(row, "bounced")
    count()
    assert told() == []
    hears(url, "relay.bounced")
    order = make_order(shop)
    posting = make_posting(merchant)
    assign(merchant.id, posting.id, [(order.id, posting.amount)], actor="anna", at=AT)
    db.session.commit()
    assert told() == []


def test_strangers_and_addresses_that_are_off_hear_nothing(system, url, allowed):
    hears(url, "relay.bounced")
    other = make_merchant("Bobs Basar")
    theirs, _ = service.add_url(
        other.id, "http://127.0.0.1:9/", shop_id=None, actor="bob", at=AT, kinds=rules.CHOICES
    )
    service.switch_off(url, "person", AT)
    [row] = handed_in(system)
    happened(row, "bounced")
    count()
    assert told() == []
    assert hearing(other.id, [theirs.id]) == {theirs.id: set(rules.CHOICES)}


def test_who_takes_nothing_gets_only_so_many(system, url, monkeypatch, caplog):
    hears(url, "relay.delivered")
    monkeypatch.setattr(mails, "MAX_WAITING", 2)
    rows = handed_in(system, *(f"k{n}@example.com" for n in range(4)))
    for row in rows:
        happened(row, "delivered")
    count()
    assert len(told()) == 2 and mails.waiting(url.id) == 2
    assert "2 mails are not told" in caplog.text
    told()[0].succeed(AT)
    happened(rows[0], "delivered")
    count()
    assert len(told()) == 3


def test_long_words_of_a_server_are_cut(system, url):
    hears(url, "relay.bounced")
    [row] = handed_in(system)
    happened(row, "bounced", "\x01" * 2000)
    count()
    [one] = told()
    assert len(one.body.encode()) <= rules.MAX_BODY_BYTES
    assert len(json.loads(one.body)["data"]["words"]) == 500


def test_they_are_forgotten_sooner_than_those_of_orders(system, url):
    hears(url, "relay.delivered")
    [row] = handed_in(system)
    happened(row, "delivered")
    count()
    [of_mail] = told()
    of_mail.succeed(AT)
    test = service.send_test(url, actor="anna", at=AT)
    test.succeed(AT)
    db.session.commit()
    assert service.end_what_is_over(AT + MAILS_KEPT) == 0
    assert service.end_what_is_over(AT + MAILS_KEPT + timedelta(seconds=1)) == 1
    assert told() == [test]
    assert service.end_what_is_over(AT + KEPT + timedelta(seconds=1)) == 1


def test_whoever_is_forgotten_is_told_of_no_more(merchant, system, url):
    hears(url, "relay.delivered")
    for row in handed_in(system, TO, "rika@example.com"):
        happened(row, "delivered")
    count()
    addresses = frozenset({TO})
    sweep([merchant.id], Traces(addresses, addresses, frozenset()))
    left = [json.loads(one.body)["data"]["recipient"] for one in told()]
    assert left == ["rika@example.com"]


# --- the pages ----------------------------------------------------------------------------------


def test_the_merchant_chooses_what_an_address_hears(anna, merchant, receiver):
    empty = anna.post(PAGE, {"url": receiver.url}, page=PAGE)
    assert empty.status_code == 422 and "Wählen Sie mindestens eines" in words(empty)
    made = anna.post(PAGE, {"url": receiver.url, "kind": ["relay.bounced", "x"]}, page=PAGE)
    assert made.status_code == 200
    [row] = service.urls_of(merchant.id)
    assert hearing(merchant.id, [row.id]) == {row.id: {"relay.bounced"}}
    page = f"{PAGE}/{row.id}"
    assert anna.post(f"{page}/kinds", {}, page=page).status_code == 422
    both = ["order.payment_status_changed", "relay.complained"]
    assert anna.post(f"{page}/kinds", {"kind": both}, page=page).status_code == 303
    assert hearing(merchant.id, [row.id]) == {row.id: set(both)}
    assert anna.get(page).text.count(" checked") == 2
    assert "Beschwerde über eine E-Mail" in words(anna.get(PAGE))


def test_who_changed_it_stands_in_the_log(anna, merchant, url):
    page = f"{PAGE}/{url.id}"
    for _ in range(2):
        anna.post(f"{page}/kinds", {"kind": "relay.bounced"}, page=page)
    [line] = db.session.query(SettingChange).all()
    assert (line.changed_by, line.shop_id) == ("anna@example.org", None)
    shown = words(anna.get("/settings/changes"))
    assert url.url in shown and "anderem Zahlungsstatus → E-Mail zurückgekommen" in shown


def test_a_message_shows_whom_and_what_it_tells(anna, system, url):
    hears(url, *rules.MAIL_KINDS)
    [row] = handed_in(system)
    for kind in OF_MAILS:
        happened(row, kind)
    count()
    shown = words(anna.get(f"{PAGE}/{url.id}"))
    for said in ("zugestellt", "verzögert", "zurückgekommen", "Beschwerde", "gesperrt"):
        assert f"E-Mail an {TO} {said}" in shown
    message = anna.get(f"{PAGE}/messages/{told()[0].id}")
    assert TO in words(message) and "relay.delivered" in message.text
    assert f'href="/relay/log/{row.relay_message_id}"' in message.text


def test_a_full_address_says_so(anna, system, url, monkeypatch):
    monkeypatch.setattr(mails, "MAX_WAITING", 1)
    hears(url, "relay.delivered")
    assert "10.000 warten" not in words(anna.get(f"{PAGE}/{url.id}"))
    [row] = handed_in(system)
    happened(row, "delivered")
    count()
    assert "10.000 warten" in words(anna.get(f"{PAGE}/{url.id}"))


def test_nothing_chosen_is_refused_by_the_room_too(url):
    with pytest.raises(CallbackError, match="no_kind"):
        choices.choose(url, ["relay.opened"], actor="anna", at=now())
