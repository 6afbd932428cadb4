"""A shop that stays in error for 30 days is disabled, and its merchant is told once (K12)."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from sqlalchemy import select

from plugin_sdk.types import Acknowledgement, Heartbeat, Outcome
from server.clock import tick
from server.db import db, now
from server.jobs import drain_payment_update
from server.mail.models import Mail
from server.mail.service import preview_mail
from server.merchants.models import Merchant
from server.orders.service import (
    acknowledge_update,
    disable_lasting,
    expire_updates,
    hear_heartbeat,
    mark_as_paid,
)
from server.shops import service as shops
from server.shops.connections import add_connection, connection_of, switch_on
from server.shops.models import UPDATE_LIFETIME, OrderHint, PaymentUpdate, Shop
from server.shops.service import DISABLED_AFTER, has_lasting_error, lease_updates
from tests.factories import (
    AT,
    CONNECTED_AT,
    bearer,
    make_key,
    make_merchant,
    make_order,
    make_shop,
    make_user,
)
from tests.server.dashboard.visitor import member

SECOND = timedelta(seconds=1)
END = AT + DISABLED_AFTER
WRONG = "HTTP 401: wrong password"


@pytest.fixture
def merchant(app) -> Merchant:
    merchant = make_merchant()
    make_user(merchant, "inhaber@example.org")
    return merchant


def ill_shop(merchant, name="Laden", since=AT, **over) -> Shop:
    """In error since then: its agent said so."""
    shop = make_shop(merchant, name, **over)
    beat(shop, since, WRONG)
    assert (shop.status, shop.error_since) == ("error", since)
    return shop


def beat(shop, at, error=None):
    hear_heartbeat(shop, Heartbeat("woocommerce", "1", last_error=error), at)
    db.session.commit()


def pass_time(at) -> int:
    count = disable_lasting(at)
    db.session.commit()
    db.session.expire_all()
    return count


def notices(kind="shop_disabled") -> list[Mail]:
    return list(db.session.scalars(select(Mail).where(Mail.kind == kind).order_by(Mail.id)))


def hosted(shop, at=AT):
    """Kontor visits it by itself."""
    settings = {"shop_url": shop.url, "consumer_key": "ck_1", "consumer_secret": "cs_1"}
    row = add_connection(shop, "woocommerce", settings, at)
    switch_on(row, at)
    db.session.commit()
    return row


@pytest.mark.feature("K12")
def test_after_30_days_in_error_it_is_disabled_and_told_once(merchant):
    shop = ill_shop(merchant)
    assert timedelta(days=30) == DISABLED_AFTER
    beat(shop, END - timedelta(days=1), WRONG)  # seen again and again, and still the same fault
    assert (has_lasting_error(END - SECOND), pass_time(END - SECOND)) == (False, 0)
    assert (shop.status, notices()) == ("error", [])
    assert has_lasting_error(END)
    assert pass_time(END) == 1
    assert (shop.status, shop.error, shop.error_since) == ("disabled", WRONG, AT)
    assert not has_lasting_error(END + timedelta(days=30))  # else the clock would ring for ever
    assert pass_time(END + timedelta(days=30)) == 0
    (notice,) = notices()
    assert (notice.recipient, notice.shop_id) == ("inhaber@example.org", shop.id)
    text = preview_mail(notice).text
    assert WRONG in text and f"/shops/{shop.id}\n" in text


@pytest.mark.feature("K12")
def test_the_clock_rings_for_it_and_the_worker_does_it(app, merchant):
    bell = app.extensions["kontor.bell"]
    since = now() - DISABLED_AFTER
    almost = ill_shop(merchant, "Anderer Laden", since + timedelta(hours=1))
    assert "payment_update" not in tick(bell, now())
    shop = ill_shop(merchant, since=since)
    assert "payment_update" in tick(bell, now())
    assert drain_payment_update() is False
    db.session.expire_all()
    assert (shop.status, almost.status, len(notices())) == ("disabled", "error", 1)
    bell.hear("payment_update")
    assert "payment_update" not in tick(bell, now())


@pytest.mark.feature("K12")
def test_more_than_fit_into_one_go_are_all_disabled(merchant, monkeypatch):
    monkeypatch.setattr(shops, "DISABLED_AT_ONCE", 2)
    ill = [ill_shop(merchant, f"Laden {n}", now() - DISABLED_AFTER) for n in range(5)]
    drain_payment_update()
    db.session.expire_all()
    assert {shop.status for shop in ill} == {"disabled"}
    assert {notice.shop_id for notice in notices()} == {shop.id for shop in ill}


@pytest.mark.feature("K12")
def test_a_shop_that_healed_meanwhile_is_not_disabled(merchant):
    shop = ill_shop(merchant)
    beat(shop, END - timedelta(days=2))
    assert pass_time(END) == 0
    beat(shop, END - timedelta(days=1), "another fault")
    assert pass_time(END) == 0  # the 30 days begin with the new fault
    assert (shop.status, notices()) == ("error", [])
    assert pass_time(END - timedelta(days=1) + DISABLED_AFTER) == 1


@pytest.mark.feature("K12")
@pytest.mark.parametrize("status", ["not_connected", "connected", "disabled", "deregistered"])
def test_only_an_error_that_is_there_disables(merchant, status):
    """Also where an old one is still written, as on a shop that somebody switched on again."""
    shop = make_shop(merchant, status=status, error=WRONG, error_since=AT, error_source="update")
    assert (has_lasting_error(END), pass_time(END), shop.status) == (False, 0, status)


@pytest.mark.feature("K12")
def test_each_merchant_hears_of_his_own_shop_only(merchant):
    bob = make_merchant("Bobs Laden")
    make_user(bob, "bob@example.org")
    ours, theirs = ill_shop(merchant), ill_shop(bob, since=AT + timedelta(days=1))
    well = make_shop(bob, "Bobs zweiter Laden")
    assert pass_time(END) == 1
    assert (ours.status, theirs.status, well.status) == ("disabled", "error", "connected")
    assert [mail.recipient for mail in notices()] == ["inhaber@example.org"]
    assert pass_time(END + timedelta(days=1)) == 1
    assert (theirs.status, well.status) == ("disabled", "connected")
    assert [(mail.merchant_id, mail.recipient) for mail in notices()][1:] == [
        (bob.id, "bob@example.org")
    ]


@pytest.mark.feature("K12", "S42")
def test_what_waits_for_it_ends_by_its_age_and_is_told(client, merchant):
    shop = make_shop(merchant)
    key = bearer(make_key(merchant, "shop", shop)[1])
    order = make_order(shop)
    mark_as_paid(merchant.id, order.id, actor="anna@example.org", at=AT)
    db.session.commit()
    (row,) = lease_updates(shop, 1, AT)
    ack = Acknowledgement(Outcome.MISCONFIGURED, WRONG)
    acknowledge_update(shop, row.id, ack, AT)
    later = make_order(shop)
    mark_as_paid(merchant.id, later.id, actor="anna@example.org", at=END - timedelta(days=1))
    db.session.commit()
    expire_updates(END)
    assert pass_time(END) == 1
    waiting = db.session.query(PaymentUpdate).filter_by(order_id=later.id).one()
    assert waiting.status == "queued"
    answer = client.get("/api/v1/payment-updates", headers=key)
    assert (answer.status_code, answer.json["detail"]) == (403, "The shop is disabled.")
    expire_updates(END - timedelta(days=1) + UPDATE_LIFETIME)
    db.session.commit()
    assert waiting.status == "failed"
    assert {mail.order_id for mail in notices("transfer_failed")} == {order.id, later.id}


@pytest.mark.feature("K12")
def test_a_shop_that_kontor_visits_is_left_alone_and_can_be_switched_on_again(app, merchant):
    shop = ill_shop(merchant)
    row = hosted(shop)
    db.session.add(
        OrderHint(merchant_id=merchant.id, shop_id=shop.id, external_id="1", created_at=AT)
    )
    db.session.commit()
    assert pass_time(END) == 1
    assert (shop.status, row.status) == ("disabled", "withheld")
    assert db.session.scalars(select(OrderHint)).all() == []

    anna = member(app, merchant)
    answer = anna.post(f"/shops/{shop.id}/connection/on")
    assert answer.location.endswith(f"/shops/{shop.id}?done=shop_on")
    db.session.expire_all()
    assert (shop.status, row.status) == ("connected", "queued")
    assert shop.connected_at == CONNECTED_AT
    assert pass_time(END + SECOND) == 0
    fault = END + timedelta(days=2)
    beat(shop, fault, WRONG)
    assert (shop.status, shop.error_since) == ("error", fault)
    assert pass_time(fault + DISABLED_AFTER - SECOND) == 0
    assert pass_time(fault + DISABLED_AFTER) == 1
    assert {mail.once.rpartition(":")[0] for mail in notices()} == {
        f"shop:{shop.id}:disabled:{since.isoformat()}" for since in (AT, fault)
    }  # a new fault is news


@pytest.mark.feature("K12")
def test_an_agents_shop_that_is_switched_on_again_hears_of_its_agent(app, client, merchant):
    shop = ill_shop(merchant)
    key = bearer(make_key(merchant, "shop", shop)[1])
    assert pass_time(END) == 1
    assert client.get("/api/v1/payment-updates", headers=key).status_code == 403
    anna = member(app, merchant)
    assert WRONG in anna.get(f"/shops/{shop.id}").text
    assert anna.post(f"/shops/{shop.id}/connection/on").status_code == 303
    assert client.get("/api/v1/payment-updates", headers=key).status_code == 200
    db.session.expire_all()
    assert (shop.status, pass_time(END + SECOND)) == ("connected", 0)
    fault = END + timedelta(days=2)
    beat(shop, fault, WRONG)
    assert (shop.status, shop.error_since) == ("error", fault)


@pytest.mark.feature("K12")
def test_a_visit_that_is_under_way_does_not_bring_it_back(merchant):
    shop = ill_shop(merchant)
    hosted(shop).status = "running"
    db.session.commit()
    assert pass_time(END) == 1
    beat(shop, END + SECOND, "still broken")
    assert (shop.status, shop.error) == ("disabled", "still broken")
    beat(shop, END + 2 * SECOND)
    assert shop.status == "disabled"
    row = connection_of(merchant.id, shop.id)
    assert row is not None and row.status == "withheld"
    assert len(notices("shop_error")) == 1


@pytest.mark.feature("K12")
@pytest.mark.real_commits
def test_who_reports_health_in_the_moment_of_its_end_finds_it_disabled(app, merchant):
    """The report was read before and is written after; what the merchant was told stays true."""
    shop = ill_shop(merchant)
    assert shop.status == "error"  # as this session saw it

    def end():
        with app.app_context():
            disable_lasting(END)
            db.session.commit()

    thread = threading.Thread(target=end)
    thread.start()
    thread.join(20)
    hear_heartbeat(shop, Heartbeat("woocommerce", "2"), END + SECOND)
    db.session.commit()
    db.session.expire_all()
    assert (shop.status, shop.error, shop.connector_version) == ("disabled", WRONG, "2")
