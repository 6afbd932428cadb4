"""Today: what of an order's life needs a person, and nothing that does not."""

from __future__ import annotations

from datetime import timedelta

import pytest

from server.db import db, now
from server.dunning.models import DunningRun
from server.dunning.runs import DISCARDED, TOO_MANY
from server.mail.models import Mail
from server.merchants.service import change_setting
from server.orders.brakes import STOPPED
from server.orders.models import PaymentClaim
from tests.factories import make_merchant, make_order, make_shop, make_user, today
from tests.server.dashboard.test_order_pages import words
from tests.server.dashboard.visitor import member

ACTOR = "anna@example.org"


@pytest.fixture
def merchant(app):
    return make_merchant()


@pytest.fixture
def shop(merchant):
    return make_shop(merchant)


@pytest.fixture
def anna(app, merchant):
    return member(app, merchant)


def make_run(merchant, **over) -> DunningRun:
    values = {"run_date": today(), "origin": "daily", "status": "done", "finished_at": now()}
    row = DunningRun(merchant_id=merchant.id, **(values | over))
    db.session.add(row)
    db.session.commit()
    return row


def claim(order, at) -> None:
    db.session.add(PaymentClaim(merchant_id=order.merchant_id, order_id=order.id, claimed_at=at))
    db.session.commit()


def test_after_an_ordinary_run_nothing_needs_anybody(merchant, shop, anna):
    make_order(shop)
    make_run(merchant, did={"reminder": 12, "resend": 3}, hindered={"blocked": 2, "no_email": 1})
    assert "Nichts. Kontor kommt allein zurecht." in words(anna.get("/"))


@pytest.mark.feature("S84")
def test_a_run_that_waits_for_a_click_is_named_with_the_way_to_it(merchant, shop, anna):
    make_order(shop)
    run = make_run(merchant, status="withheld", finished_at=None, error=TOO_MANY)
    page = anna.get("/")
    assert "Ein Mahnlauf wartet auf Ihre Freigabe" in words(page)
    assert f'href="/dunning/runs/{run.id}"' in page.text
    run.error = DISCARDED
    db.session.commit()
    assert "Nichts. Kontor kommt allein zurecht." in words(anna.get("/"))


@pytest.mark.feature("S41")
def test_removals_that_are_held_are_counted_by_shop(merchant, shop, anna):
    other = make_shop(merchant, "Antiquariat")
    for number in range(3):
        make_order(shop if number else other).held_removal = "not_open"
    db.session.commit()
    page = anna.get("/")
    assert "Laden: 2 Bestellungen sollen entfernt werden" in words(page)
    assert "Antiquariat: 1 Bestellung soll entfernt werden" in words(page)
    assert f'href="/shops/{shop.id}/removals"' in page.text


@pytest.mark.feature("N21")
def test_only_what_somebody_else_changed_asks_for_consent(app, merchant, shop, anna):
    make_order(shop)
    make_user(merchant, "carla@example.org")
    change_setting(merchant.id, "approve_changes", "on", actor="carla@example.org", at=now())
    change_setting(merchant.id, "prepayment.reminders", "5", actor=ACTOR, at=now())
    db.session.commit()
    assert "wartet auf Ihre Zustimmung" not in words(anna.get("/"))
    change_setting(
        merchant.id, "invoice.cancel_after_days", "3", actor="carla@example.org", at=now()
    )
    db.session.commit()
    page = words(anna.get("/"))
    assert "1 Einstellung wartet auf Ihre Zustimmung" in page and "carla@example.org" in page


@pytest.mark.feature("S61")
def test_customers_who_say_that_they_have_paid_are_named_until_money_is_there(merchant, shop, anna):
    order, old, paid = (make_order(shop) for _ in range(3))
    claim(order, now())
    claim(order, now())
    claim(old, now() - timedelta(days=8))
    claim(paid, now())
    paid.payment_status = "paid"
    db.session.commit()
    page = anna.get("/")
    assert "1 Kunde sagt, er habe bezahlt" in words(page)
    assert f'<a href="/orders/{order.id}">{order.number}</a>' in page.text


@pytest.mark.feature("N5")
@pytest.mark.parametrize(
    ("why", "said"),
    [("stale_bank", "Die Bankdaten sind zu alt"), ("shop_away", "Ein Shop ist nicht zu erreichen")],
)
def test_reminders_on_hold_are_counted_with_the_reason(merchant, shop, anna, why, said):
    make_order(shop)
    make_run(merchant, hindered={why: 31, "paused": 2})
    page = words(anna.get("/"))
    assert "31 Mahnungen ruhen" in page and said in page


def test_what_an_older_run_held_back_is_no_news(merchant, shop, anna):
    make_order(shop)
    long_ago = now() - timedelta(days=3)
    make_run(merchant, hindered={"stale_bank": 31}, did={"cancel": 2}, finished_at=long_ago)
    assert "Nichts. Kontor kommt allein zurecht." in words(anna.get("/"))


@pytest.mark.feature("S50")
def test_orders_that_the_last_run_ended_are_named_once_by_the_newest_run(merchant, shop, anna):
    make_order(shop)
    run = make_run(merchant, did={"cancel": 2, "collection": 1, "reminder": 9})
    page = anna.get("/")
    assert "3 Bestellungen wurden im letzten Mahnlauf beendet" in words(page)
    assert "2 storniert oder überfällig. 1 ins Inkasso gegeben." in words(page)
    assert f'href="/dunning/runs/{run.id}"' in page.text
    make_run(merchant, origin="person")
    assert "beendet" not in words(anna.get("/"))


@pytest.mark.feature("K66")
def test_a_stop_and_a_shop_in_test_mode_are_not_forgotten(merchant, shop, anna):
    make_order(shop)
    change_setting(merchant.id, "stop_mails", "on", actor=ACTOR, at=now())
    change_setting(merchant.id, "mode", "test", actor=ACTOR, at=now(), shop_id=shop.id)
    mail = db.session.query(Mail).first()
    mail.status, mail.error = "withheld", STOPPED
    db.session.commit()
    page = words(anna.get("/"))
    assert "E-Mails an die Kundschaft sind gestoppt 1 E-Mail wartet." in page
    assert "Im Testbetrieb: Laden" in page


def test_what_waits_for_a_stranger_is_not_shown(app, merchant, shop, anna):
    make_order(shop).held_removal = "not_open"
    claim(make_order(shop), now())
    make_run(merchant, status="withheld", error=TOO_MANY)
    bobs = make_merchant("Bobs Laden")
    make_order(make_shop(bobs))
    bob = member(app, bobs, "bob@example.org")
    assert "Nichts. Kontor kommt allein zurecht." in words(bob.get("/"))
