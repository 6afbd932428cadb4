"""A shop that is deregistered: for good, with its orders kept (K12)."""

from __future__ import annotations

import re
import threading

import pytest
from sqlalchemy import select

from plugin_sdk.errors import Temporary
from plugin_sdk.schemas import OrderSchema
from plugin_sdk.types import Heartbeat
from server.db import db
from server.dunning.runs import preview_counts
from server.hosting.connecting import WEBHOOK_PATH
from server.hosting.house import House
from server.mail.models import Mail
from server.merchants.models import Merchant, SettingChange, User
from server.merchants.service import change_setting
from server.orders.asking import ask_waiting
from server.orders.brakes import STOPPED
from server.orders.effects import shop_deregistered
from server.orders.ledger import NotPossible
from server.orders.lifecycle import mark_as_unpaid, read_again, send_payment_information
from server.orders.models import Order
from server.orders.service import expire_updates, hear_heartbeat, mark_as_paid
from server.shops.connections import add_connection, connection_of, switch_on, webhook_token
from server.shops.models import UPDATE_LIFETIME, OrderHint, OrderRequest, PaymentUpdate, Shop
from server.shops.order_requests import ask_for_order
from server.shops.service import DEREGISTERED, deregister, lease_updates, queue_update, to_wire
from tests.factories import (
    AT,
    bearer,
    make_account,
    make_key,
    make_merchant,
    make_order,
    make_shop,
    make_user,
    wire_order,
)
from tests.server.dashboard.visitor import member
from tests.server.dunning.steps import bank_is_heard, day, order_of, reminders_of, run_at

ANNA = "anna@example.org"


@pytest.fixture
def merchant(app) -> Merchant:
    return make_merchant()


@pytest.fixture
def shop(merchant) -> Shop:
    return make_shop(merchant)


@pytest.fixture
def anna(app, merchant):
    return member(app, merchant)


def end(shop, at=AT) -> bool:
    did = deregister(shop, actor=ANNA, at=at)
    shop_deregistered(shop.merchant_id, shop.id)
    db.session.commit()
    db.session.expire_all()
    return did


def words_of(answer) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", answer.text).split())


def paid_order(shop, at=AT) -> Order:
    order = make_order(shop)
    mark_as_paid(shop.merchant_id, order.id, actor=ANNA, at=at)
    db.session.commit()
    return order


def notices(kind="transfer_failed") -> list[Mail]:
    return list(db.session.scalars(select(Mail).where(Mail.kind == kind)))


# --- what ends --------------------------------------------------------------------------------


@pytest.mark.feature("K12")
def test_its_keys_open_nothing_and_no_sign_of_life_brings_it_back(client, merchant, shop):
    keys = [bearer(make_key(merchant, "shop", shop)[1]) for _ in range(2)]
    other = make_shop(merchant, "Zweiter Laden")
    others = bearer(make_key(merchant, "shop", other)[1])
    beat = {"wire_version": 2, "connector": "woocommerce", "connector_version": "1"}
    pushed = wire_order()
    for key in keys:  # so that who pushes is remembered
        assert client.post("/api/v1/orders", json=pushed, headers=key).status_code in (200, 201)
    assert end(shop)
    assert not end(shop), "once is enough"
    for key in keys:
        assert client.post("/api/v1/heartbeat", json=beat, headers=key).status_code == 401
        assert client.post("/api/v1/orders", json=wire_order(), headers=key).status_code == 401
        assert client.get("/api/v1/payment-updates", headers=key).status_code == 401
    late = bearer(make_key(merchant, "shop", shop)[1])  # whoever made one meanwhile
    assert client.post("/api/v1/heartbeat", json=beat, headers=late).status_code == 403
    assert client.post("/api/v1/orders", json=wire_order(), headers=late).status_code == 403
    hear_heartbeat(shop, Heartbeat("woocommerce", "1", last_error="broken"), AT)
    hear_heartbeat(shop, Heartbeat("woocommerce", "1"), AT)
    db.session.commit()
    assert (shop.status, other.status) == ("deregistered", "connected")
    assert db.session.query(Order).count() == 1
    assert client.get("/api/v1/payment-updates", headers=others).status_code == 200
    logged = db.session.query(SettingChange).filter_by(name="shop.status").one()
    assert logged.value == {"before": "connected", "after": "deregistered"}
    assert logged.changed_by == ANNA


@pytest.mark.feature("K12")
def test_a_connection_of_kontors_own_is_gone_with_its_keys(client, merchant, shop):
    given = {"shop_url": shop.url, "consumer_key": "ck_1", "consumer_secret": "cs_1"}
    row = add_connection(shop, "woocommerce", given, AT)
    switch_on(row, AT)
    db.session.add(
        OrderHint(merchant_id=merchant.id, shop_id=shop.id, external_id="1", created_at=AT)
    )
    db.session.commit()
    path = WEBHOOK_PATH + webhook_token(row)
    assert client.post(path, json={}).status_code != 404
    house = House(shop.id, db.session.commit)
    end(shop)
    assert connection_of(merchant.id, shop.id) is None
    assert db.session.scalars(select(OrderHint)).all() == []
    assert client.post(path, json={}).status_code == 404
    assert not house.is_on()
    with pytest.raises(Temporary, match="deregistered"):  # a visit that had begun
        house.push_orders([OrderSchema().load(wire_order())])
    assert db.session.query(Order).count() == 0


@pytest.mark.feature("K12", "S42")
def test_what_waits_for_it_is_withheld_and_nobody_is_told_of_each(merchant, shop):
    make_user(merchant, ANNA)
    order, handed_out = paid_order(shop), paid_order(shop)
    other = make_shop(merchant, "Zweiter Laden")
    theirs = paid_order(other)
    (leased,) = lease_updates(shop, 1, AT)
    request = ask_for_order(shop, external_id="1", asked_by=ANNA, at=AT)
    db.session.commit()
    end(shop)
    mine = db.session.query(PaymentUpdate).filter_by(shop_id=shop.id).all()
    assert {row.order_id for row in mine} == {order.id, handed_out.id}
    assert {(row.status, row.error) for row in mine} == {("withheld", DEREGISTERED)}
    assert db.session.get_one(OrderRequest, request.id).status == "withheld"
    assert lease_updates(shop, 10, AT) == []

    late = paid_order(shop)  # by hand, and the shop is not told
    assert late.payment_status == "paid"
    assert db.session.query(PaymentUpdate).filter_by(order_id=late.id).count() == 0
    db.session.get_one(PaymentUpdate, leased.id).status = "queued"  # written by who had not heard
    db.session.commit()
    expire_updates(AT + UPDATE_LIFETIME)
    db.session.commit()
    assert {mail.order_id for mail in notices()} == {theirs.id}


@pytest.mark.feature("K12")
def test_an_update_for_it_is_not_even_written(shop):
    order = paid_order(shop)
    (row,) = db.session.query(PaymentUpdate).filter_by(order_id=order.id)
    end(shop)
    queue_update(to_wire(row), shop, order.id, AT)
    db.session.commit()
    assert db.session.query(PaymentUpdate).one().status == "withheld"


@pytest.mark.feature("K12")
def test_it_is_asked_for_no_order_any_more(merchant, shop):
    order = make_order(shop)
    end(shop)
    with pytest.raises(ValueError, match="shop_deregistered"):
        ask_for_order(shop, number="AA-1", asked_by=ANNA, at=AT)
    with pytest.raises(NotPossible, match="shop_deregistered"):
        read_again(merchant.id, order.id, actor=ANNA, at=AT)


# --- its orders and their mails ---------------------------------------------------------------


@pytest.mark.feature("K12", "N5")
def test_its_customers_are_not_reminded_and_others_are(merchant, shop):
    mine, theirs = order_of(shop), order_of(make_shop(merchant, "Zweiter Laden"))
    assert preview_counts(merchant.id, day(7))[0] == {}, "the bank was not heard yet"
    bank_is_heard(merchant, day(7))
    assert preview_counts(merchant.id, day(7)) == ({"reminder": 2}, {})
    end(shop)
    assert preview_counts(merchant.id, day(7)) == ({"reminder": 1}, {})
    run = run_at(merchant, day(7))
    assert (reminders_of(mine), len(reminders_of(theirs))) == ([], 1)
    assert run.hindered == {}, "nobody hears every day of what is over"


@pytest.mark.feature("K12")
def test_requests_that_wait_are_withheld_and_thanks_are_not(merchant, shop):
    asked, stopped = make_order(shop), make_order(shop)
    other = make_order(make_shop(merchant, "Zweiter Laden"))
    thanks = db.session.query(Mail).filter_by(order_id=make_order(shop).id).one()
    thanks.kind = "payment_received"
    held = db.session.query(Mail).filter_by(order_id=stopped.id).one()
    held.withhold(STOPPED)
    db.session.commit()
    end(shop)
    found = {
        order.id: db.session.query(Mail).filter_by(order_id=order.id, kind="payment_information")
        for order in (asked, stopped, other)
    }
    assert [(row.status, row.error) for row in found[asked.id]] == [("withheld", DEREGISTERED)]
    assert [(row.status, row.error) for row in found[stopped.id]] == [("withheld", DEREGISTERED)]
    assert [row.status for row in found[other.id]] == ["queued"]
    assert thanks.status == "queued"


@pytest.mark.feature("K12")
def test_by_itself_nobody_is_asked_after_it_and_by_hand_he_is(app):
    merchant = make_merchant(account=False)
    shop = make_shop(merchant)
    never, paid = make_order(shop), paid_order(shop)
    asked = order_of(make_shop(merchant, "Zweiter Laden"))
    end(shop)
    make_account(merchant)
    assert ask_waiting(merchant.id, AT) == 1, "of the other shop"
    mark_as_unpaid(merchant.id, paid.id, actor=ANNA, at=AT)
    db.session.commit()
    requests = select(Mail.order_id).where(Mail.kind == "payment_information")
    assert list(db.session.scalars(requests)) == [asked.id]
    for order in (never, paid):
        send_payment_information(merchant.id, order.id, actor=ANNA, at=AT)
    db.session.commit()
    assert set(db.session.scalars(requests)) == {asked.id, never.id, paid.id}


@pytest.mark.feature("K12")
def test_a_request_that_was_withheld_stays_so_when_a_payment_is_undone(merchant, shop):
    order = make_order(shop)
    end(shop)
    mark_as_paid(merchant.id, order.id, actor=ANNA, at=AT)
    mark_as_unpaid(merchant.id, order.id, actor=ANNA, at=AT)
    db.session.commit()
    assert order.payment_status == "unpaid"
    (mail,) = db.session.query(Mail).filter_by(order_id=order.id, kind="payment_information")
    assert (mail.status, mail.error) == ("withheld", DEREGISTERED)


# --- its page ---------------------------------------------------------------------------------


@pytest.mark.feature("K12", "N21")
def test_the_page_asks_first_and_then_only_shows(anna, merchant, shop):
    make_key(merchant, "shop", shop)
    order = make_order(shop)
    page = anna.get(f"/shops/{shop.id}")
    assert f"/shops/{shop.id}/deregister" in page.text
    asked = words_of(anna.get(f"/shops/{shop.id}/deregister"))
    assert "Laden endgültig abmelden?" in asked and "nicht zurücknehmen" in asked
    assert db.session.get_one(Shop, shop.id).status == "connected"
    answer = anna.post(f"/shops/{shop.id}/deregister")
    assert answer.location.endswith(f"/shops/{shop.id}?done=shop_deregistered")
    page = anna.get(f"/shops/{shop.id}")
    said = words_of(page)
    assert "Abgemeldet. Das ist endgültig" in said and "gesperrt" in said
    main = page.text[page.text.index("<main") : page.text.index("</main>")]
    assert "<form" not in main and f"/shops/{shop.id}/" not in main, "nothing to be changed"
    log = words_of(anna.get("/settings/changes"))
    assert "Zustand (Laden) : Verbunden → Abgemeldet" in log
    assert anna.get(f"/orders/{order.id}").status_code == 200
    assert order.number in anna.get(f"/orders?shop={shop.id}").text


@pytest.mark.feature("K12")
@pytest.mark.parametrize(
    "path",
    [
        "edit",
        "mode",
        "mapping",
        "mapping/default",
        "keys",
        "deregister",
        "connection",
        "connection/login",
        "connection/app",
        "connection/check",
        "connection/orders",
        "connection/on",
        "connection/off",
        "connection/refresh",
        "connection/remove",
    ],
)
def test_no_form_of_its_pages_changes_it_again(anna, shop, path):
    end(shop)
    before = [tuple(row) for row in db.session.execute(select(Shop.__table__))]
    forms = {
        "edit": {"name": "Neu", "system": "shopware", "url": "https://neu.example.org"},
        "mode": {"mode": "test"},
        "keys": {"name": "Server"},
        "connection": {"shop_url": shop.url, "consumer_key": "ck", "consumer_secret": "cs"},
    }
    answer = anna.post(f"/shops/{shop.id}/{path}", forms.get(path))
    assert (answer.status_code, answer.location) == (303, f"/shops/{shop.id}")
    db.session.expire_all()
    assert [tuple(row) for row in db.session.execute(select(Shop.__table__))] == before
    assert connection_of(shop.merchant_id, shop.id) is None
    assert db.session.query(SettingChange).filter(SettingChange.name != "shop.status").all() == []


@pytest.mark.feature("K12")
@pytest.mark.parametrize("path", ["edit", "mode", "mapping", "connection", "connection/check"])
def test_its_other_pages_lead_back_to_it(anna, shop, path):
    end(shop)
    answer = anna.get(f"/shops/{shop.id}/{path}")
    assert (answer.status_code, answer.location) == (303, f"/shops/{shop.id}")


@pytest.mark.feature("K12")
def test_it_stands_below_the_others_and_its_name_and_address_are_free(anna, merchant, shop):
    make_shop(merchant, "Zweiter Laden", url="https://b.example.org")
    typed = {"system": "woocommerce", "name": "Laden", "shop_url": shop.url}
    keys = {"consumer_key": "ck_" + "1" * 40, "consumer_secret": "cs_" + "1" * 40}
    assert "Diesen Shop gibt es schon" in anna.post("/shops/connect", typed | keys).text
    end(shop)
    page = anna.get("/shops").text
    assert page.index("Zweiter Laden") < page.index("1 abgemeldeter Shop") < page.index(">Laden<")
    assert anna.post("/shops/connect", typed | keys).status_code == 303
    again = db.session.scalars(select(Shop).where(Shop.name == "Laden").order_by(Shop.id)).all()
    assert [one.status for one in again] == ["deregistered", "not_connected"]
    for path in ("/orders/new", "/orders/import"):
        offered = anna.get(path).text
        assert f'value="{again[1].id}"' in offered and f'value="{shop.id}"' not in offered
    refused = anna.post("/orders/import", {"shop": str(shop.id), "order": "AA-1"})
    assert refused.status_code == 422
    manual = {"shop": str(shop.id), "number": "H-1", "total": "10,00", "code": "prepayment"}
    assert anna.post("/orders/new", manual | {"ordered_on": "2026-03-01"}).status_code == 422
    assert db.session.query(Order).count() == 0


@pytest.mark.feature("K12")
def test_today_and_the_reminders_page_say_nothing_of_it(anna, merchant, shop):
    change_setting(merchant.id, "mode", "test", actor=ANNA, at=AT, shop_id=shop.id)
    make_shop(merchant, "Zweiter Laden")
    db.session.commit()
    assert "Im Testbetrieb: Laden" in anna.get("/").text
    end(shop)
    assert "Im Testbetrieb: Laden" not in anna.get("/").text
    assert "Laden hat sich noch nie" not in anna.get("/dunning").text


@pytest.mark.feature("K12")
def test_only_administrators_of_this_merchant_deregister_it(app, anna, merchant, shop):
    bob = member(app, make_merchant("Bobs Laden"), "bob@example.org")
    clara = member(app, merchant, "clara@example.org")
    db.session.query(User).filter_by(email="clara@example.org").one().is_administrator = False
    db.session.commit()
    path = f"/shops/{shop.id}/deregister"
    assert (bob.get(path).status_code, bob.post(path).status_code) == (404, 404)
    assert (clara.get(path).status_code, clara.post(path).status_code) == (403, 403)
    assert path not in clara.get(f"/shops/{shop.id}").text
    db.session.expire_all()
    assert db.session.get_one(Shop, shop.id).status == "connected"


@pytest.mark.feature("K12")
def test_another_merchants_shop_is_left_alone(merchant, shop):
    bob = make_merchant("Bobs Laden")
    theirs = make_shop(bob, "Bobs Laden")
    key, _ = make_key(bob, "shop", theirs)
    order = paid_order(theirs)
    asked = make_order(theirs)
    end(shop)
    assert (theirs.status, key.revoked_at) == ("connected", None)
    assert db.session.query(PaymentUpdate).filter_by(order_id=order.id).one().status == "queued"
    assert db.session.query(Mail).filter_by(order_id=asked.id).one().status == "queued"


@pytest.mark.feature("K12")
@pytest.mark.real_commits
@pytest.mark.parametrize("first", ["not_connected", "connected"])
def test_who_reports_in_the_moment_of_its_end_does_not_bring_it_back(app, merchant, first):
    shop = make_shop(merchant, status=first)
    assert shop.status == first  # as this session saw it

    def finish():
        with app.app_context():
            end(db.session.get_one(Shop, shop_id))

    shop_id = shop.id
    thread = threading.Thread(target=finish)
    thread.start()
    thread.join(20)
    hear_heartbeat(shop, Heartbeat("woocommerce", "2", last_error="broken"), AT)
    db.session.commit()
    db.session.expire_all()
    assert shop.status == "deregistered"
    assert notices("shop_error") == []
