"""A shop's page: its state, live or test, its mapping, orders that vanished (K66, S22 to S41)."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from plugin_sdk.schemas import OrderSchema
from server.db import db, now
from server.merchants.service import set_values, settings_of
from server.orders.intake import Arrival, receive_orders
from server.orders.models import Order
from server.orders.receiver import receiver_of
from server.shops.models import Shop
from tests.factories import AT, MAPPING, make_merchant, make_order, make_shop, wire_order
from tests.server.dashboard.visitor import member

DISCOVERY = {
    "payment_methods": [
        {"code": "bacs", "name": "Direkte Banküberweisung"},
        {"code": "invoice", "name": "Kauf auf Rechnung"},
        {"code": "invoice_b2b", "name": "Rechnung für Firmen"},
        {"code": "sepa", "name": "Lastschrift"},
    ],
    "statuses": [
        {"code": "on-hold", "name": "In Wartestellung"},
        {"code": "processing", "name": "In Bearbeitung"},
        {"code": "completed", "name": "Abgeschlossen"},
    ],
    "currency": "EUR",
    "version": "10.3.2",
}


@pytest.fixture
def merchant(app):
    return make_merchant()


@pytest.fixture
def shop(merchant):
    return make_shop(merchant, "Papier & Feder", discovery=DISCOVERY)


@pytest.fixture
def anna(app, merchant):
    return member(app, merchant)


def words_of(answer) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", answer.text).split())


# --- how it is doing ------------------------------------------------------------------------------


@pytest.mark.feature("K66", "S28", "S29", "S30")
def test_a_shop_says_what_it_is_and_since_when_it_is_managed(anna, shop):
    shop.last_order_at = shop.last_update_at = now()
    shop.compare_seconds = 1800
    db.session.commit()
    said = words_of(anna.get(f"/shops/{shop.id}"))
    assert "System WooCommerce 10.3.2" in said and "Verschlüsselt ja" in said
    assert "https://shop.example.org" in said and "Währung EUR" in said
    assert "Letzte Bestellung heute" in said and "Letzte Rückmeldung heute" in said
    assert "alle 30 Minuten" in said and "Das belastet ihn" not in said
    assert "Stichtag" in said and "Nicht verwaltet" in said and "keine E-Mail" in said


@pytest.mark.feature("S28")
def test_before_the_first_connection_the_cut_off_is_announced(anna, merchant):
    shop = make_shop(merchant, status="not_connected", connected_at=None)
    said = words_of(anna.get(f"/shops/{shop.id}"))
    assert "Noch nicht verbunden" in said and "steht als „Nicht verwaltet“ da" in said
    assert "Stichtag" not in said


@pytest.mark.feature("S33")
@pytest.mark.parametrize(("seconds", "is_said"), [(180, True), (60, True), (1800, False)])
def test_a_shop_that_is_asked_all_the_time_hears_that_this_loads_it(anna, shop, seconds, is_said):
    shop.compare_seconds = seconds
    db.session.commit()
    assert ("Das belastet ihn" in anna.get(f"/shops/{shop.id}").text) is is_said


@pytest.mark.feature("K66")
def test_an_unencrypted_shop_is_a_warning(anna, merchant):
    shop = make_shop(merchant, url="http://shop.example.org")
    page = anna.get(f"/shops/{shop.id}").text
    assert 'nein</span><p class="small muted">Wer mitliest, sieht Bestellungen' in page


# --- name, system, address ------------------------------------------------------------------------


@pytest.mark.feature("K66")
def test_another_system_is_asked_for_its_address_and_the_old_mapping_is_forgotten(anna, shop):
    path = f"/shops/{shop.id}/edit"
    form = {"name": "Papier", "system": "shopware", "url": shop.url}
    answer = anna.post(path, form)
    assert answer.status_code == 422 and "Tragen Sie seine Adresse ein" in answer.text
    assert 'value="https://shop.example.org"' not in answer.text
    assert (shop.system, shop.name) == ("woocommerce", "Papier & Feder")
    again = form | {"address_of": "shopware", "url": "https://neu.example.org"}
    assert "done=shop_changed" in anna.post(path, again).location
    assert (shop.name, shop.system, shop.url) == ("Papier", "shopware", "https://neu.example.org")
    assert (shop.mapping, shop.default_mapping, shop.discovery) == ({}, {}, {})


@pytest.mark.feature("K66")
def test_the_address_of_a_marketplace_is_fixed(anna, shop, merchant):
    form = {"name": "eBay", "system": "ebay", "url": "https://evil.example.org"}
    anna.post(f"/shops/{shop.id}/edit", form)
    assert shop.url == "https://www.ebay.de"
    assert "readonly" in anna.get(f"/shops/{shop.id}/edit").text
    anna.post("/shops/new", form | {"url": ""})
    added = db.session.query(Shop).filter_by(merchant_id=merchant.id, system="ebay")
    assert {one.url for one in added} == {"https://www.ebay.de"} and added.count() == 2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"name": " "}, "einen Namen"), ({"url": "ftp://x"}, "keine Adresse"),
     ({"system": "nonsense"}, "Shopsystem")],
)  # fmt: skip
def test_details_that_cannot_be_are_refused(anna, shop, wrong, said):
    form = {"name": "Laden", "system": "woocommerce", "url": "https://b.example.org"} | wrong
    answer = anna.post(f"/shops/{shop.id}/edit", form)
    assert answer.status_code == 422 and said in answer.text
    assert shop.url == "https://shop.example.org"


def test_the_same_system_keeps_what_is_known(anna, shop):
    form = {"name": "Papier", "system": "woocommerce", "url": "https://b.example.org"}
    anna.post(f"/shops/{shop.id}/edit", form)
    assert shop.discovery == DISCOVERY and shop.url == "https://b.example.org"


# --- live or test ---------------------------------------------------------------------------------


@pytest.mark.feature("K66")
def test_a_shop_goes_into_test_mode_and_back_after_a_question(anna, shop, merchant):
    path = f"/shops/{shop.id}/mode"
    assert "In den Testbetrieb" in anna.get(f"/shops/{shop.id}").text
    assert "in den Testbetrieb nehmen?" in anna.get(path).text
    assert set_values(merchant.id, shop.id) == {}
    answer = anna.post(path, {"mode": "test"})
    assert "Der Shop ist im Testbetrieb." in anna.get(answer.location).text
    assert settings_of(merchant.id, shop.id).mode == "test"
    assert settings_of(merchant.id).mode == "live"
    assert "Testbetrieb" in words_of(anna.get("/shops")).partition("Shops Shop verbinden")[2]
    assert "in den Echtbetrieb nehmen?" in anna.get(path).text
    anna.post(path, {"mode": "live"})
    assert settings_of(merchant.id, shop.id).mode == "live"
    assert anna.post(path, {"mode": "off"}).status_code == 303


# --- the mapping ----------------------------------------------------------------------------------


def ticked(page: str, name: str) -> list[str]:
    return re.findall(rf'name="{name}" value="([^"]+)" checked', page)


@pytest.mark.feature("S22", "S23", "S25", "S26", "S27")
def test_the_pickers_show_the_shops_own_names_and_its_defaults(anna, shop):
    page = anna.get(f"/shops/{shop.id}/mapping").text
    assert "Direkte Banküberweisung" in page and "In Wartestellung" in page
    assert ticked(page, "prepayment-methods") == ["bacs"]
    assert set(ticked(page, "prepayment-open_statuses")) == {"on-hold", "pending"}
    paid = page.split('name="invoice-paid_status"')[1].split("</select>", 1)[0]
    assert '<option value="completed" selected>Abgeschlossen' in paid
    said = words_of(anna.get(f"/shops/{shop.id}"))
    assert "Kauf auf Rechnung" in said and "Abgeschlossen" in said


@pytest.mark.feature("S22", "S23", "S27", "S55")
def test_a_mapping_is_changed_and_goes_back_to_the_default(anna, shop):
    path = f"/shops/{shop.id}/mapping"
    form = {
        "prepayment-methods": "bacs",
        "prepayment-open_statuses": ["on-hold", "pending"],
        "prepayment-paid_status": "processing",
        "prepayment-cancelled_status": "cancelled",
        "invoice-methods": ["invoice", "invoice_b2b"],
        "invoice-open_statuses": ["processing"],
        "invoice-open_statuses-more": "versandt, teilversandt",
        "invoice-paid_status": "completed",
        "invoice-collection_status-more": "inkasso",
        "cash_on_delivery-methods": "cod",
        "cash_on_delivery-open_statuses": "processing",
        "cash_on_delivery-paid_status": "completed",
        "other-methods": "sepa",
    }
    answer = anna.post(path, form)
    assert "Gespeichert" in anna.get(answer.location).text
    assert shop.mapping == {
        "invoice": {
            "methods": ["invoice", "invoice_b2b"],
            "open_statuses": ["processing", "versandt", "teilversandt"],
            "paid_status": "completed",
            "overdue_status": None,
            "collection_status": "inkasso",
        },
        "other": {"methods": ["sepa"], "open_statuses": []},
    }
    page = anna.get(path)
    assert "versandt" in ticked(page.text, "invoice-open_statuses")
    assert "Vorgabe der Schnittstelle: Kauf auf Rechnung;" in words_of(page)
    assert "Beobachtet" in words_of(anna.get(f"/shops/{shop.id}"))
    anna.post(f"{path}/default", {"code": "invoice"})
    assert set(shop.mapping) == {"other"}
    assert anna.post(f"{path}/default", {"code": "barter"}).status_code == 303


@pytest.mark.feature("S22", "S23", "S26")
def test_orders_are_judged_by_the_new_mapping_when_the_shop_next_sends_them(anna, shop):
    raw = wire_order(payment_method="invoice_b2b", shop_status="processing")

    def push() -> Order:
        receive_orders(receiver_of(shop.id), [Arrival(OrderSchema().load(raw), raw)], AT)
        db.session.commit()
        return db.session.query(Order).filter_by(external_id=raw["external_id"]).one()

    anna.post(f"/shops/{shop.id}/mapping", {"invoice-methods": ["invoice", "invoice_b2b"],
                                            "invoice-open_statuses": "processing"})  # fmt: skip
    assert push().payment_code == "invoice"
    anna.post(f"/shops/{shop.id}/mapping", {"prepayment-methods": "invoice_b2b",
                                            "prepayment-open_statuses": "processing"})  # fmt: skip
    assert push().payment_code == "prepayment"


@pytest.mark.feature("S23")
def test_a_method_in_two_codes_is_refused_and_what_was_ticked_stays(anna, shop):
    path = f"/shops/{shop.id}/mapping"
    form = {"prepayment-methods": "sepa", "invoice-methods": ["invoice", "sepa"],
            "invoice-open_statuses-more": "versandt"}  # fmt: skip
    answer = anna.post(path, form)
    assert answer.status_code == 422 and "Die Zahlart „sepa“ kann nur zu einer Art" in answer.text
    assert ticked(answer.text, "invoice-methods") == ["invoice", "sepa"]
    assert 'value="versandt"' in answer.text
    assert shop.mapping == {}
    answer = anna.post(path, {"prepayment-methods-more": "x" * 129})
    assert answer.status_code == 422 and "zu lang" in answer.text


@pytest.mark.feature("S23")
def test_a_default_that_would_claim_the_method_of_another_code_is_refused(anna, shop):
    shop.mapping = {
        "prepayment": {"methods": ["invoice"], "open_statuses": []},
        "invoice": {"methods": [], "open_statuses": []},
    }
    db.session.commit()
    answer = anna.post(f"/shops/{shop.id}/mapping/default", {"code": "invoice"})
    assert answer.status_code == 422 and set(shop.mapping) == {"prepayment", "invoice"}


@pytest.mark.feature("S22")
def test_where_the_plugin_decides_the_mapping_is_only_shown(anna, shop):
    shop.mapping_pinned = True
    db.session.commit()
    path = f"/shops/{shop.id}/mapping"
    page = anna.get(path).text
    assert "Im Plugin eingestellt." in page and "disabled" in page
    assert ">Speichern<" not in page
    assert anna.post(path, {"prepayment-methods": "sepa"}).status_code == 409
    assert anna.post(f"{path}/default", {"code": "invoice"}).status_code == 409
    assert shop.mapping == {}


@pytest.mark.feature("S22")
def test_a_shop_that_has_told_nothing_is_mapped_by_hand(anna, merchant):
    shop = make_shop(merchant, default_mapping={})
    path = f"/shops/{shop.id}/mapping"
    assert "noch nicht gemeldet" in anna.get(path).text
    anna.post(path, {"prepayment-methods-more": "vorkasse,\nueberweisung",
                     "prepayment-paid_status-more": "bezahlt"})  # fmt: skip
    assert shop.mapping["prepayment"]["methods"] == ["vorkasse", "ueberweisung"]
    assert shop.mapping["prepayment"]["paid_status"] == "bezahlt"


# --- orders that vanished -------------------------------------------------------------------------


def hold(shop, count: int, why: str = "not_open") -> list[Order]:
    orders = [make_order(shop) for _ in range(count)]
    for order in orders:
        order.held_removal = why
    db.session.commit()
    return orders


@pytest.mark.feature("S41")
@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [("remove", "removed", "3 Bestellungen entfernt."), ("keep", "unpaid", "3 Bestellungen beh")],
)
def test_orders_that_vanish_together_wait_for_a_person(anna, shop, answer, status, said):
    orders = hold(shop, 3)
    make_order(shop)
    path = f"/shops/{shop.id}/removals"
    assert "3 Bestellungen sind im Shop verschwunden." in anna.get(f"/shops/{shop.id}").text
    assert "3 Bestellungen sind im Shop verschwunden." in anna.get("/shops").text
    page = words_of(anna.get(path))
    assert "offen sind hier insgesamt 4" in page and "nicht mehr offen" in page
    assert all(order.number in page for order in orders)
    question = anna.get(f"{path}/decide?answer={answer}")
    assert f"Alle 3 Bestellungen {'entfernen' if answer == 'remove' else 'behalten'}?" in (
        question.text
    )
    assert {order.payment_status for order in orders} == {"unpaid"}
    late = hold(shop, 1)
    again = anna.post(f"{path}/decide", {"answer": answer, "held": "3"})
    assert again.status_code == 409 and "Alle 4 Bestellungen" in again.text
    assert {order.held_removal for order in [*orders, *late]} == {"not_open"}
    late[0].held_removal = None
    db.session.commit()
    done = anna.post(f"{path}/decide", {"answer": answer, "held": "3"})
    page = anna.get(done.location).text
    assert said in page and "Nichts zu entscheiden" in page
    db.session.expire_all()
    assert {order.payment_status for order in orders} == {status}
    assert {order.held_removal for order in orders} == {None}


@pytest.mark.feature("S41")
def test_without_an_answer_nothing_is_removed(anna, shop):
    (order,) = hold(shop, 1, "gone")
    path = f"/shops/{shop.id}/removals"
    assert "gelöscht" in words_of(anna.get(path))
    assert anna.post(f"{path}/decide", {"answer": "perhaps"}).status_code == 303
    assert "Alle entfernen" in anna.get(f"{path}/decide").text
    assert order.held_removal == "gone"


def test_a_stranger_finds_no_shop_and_changes_none(app, shop):
    hold(shop, 1)
    bob = member(app, make_merchant("Bobs Laden"), "bob@example.org")
    base = f"/shops/{shop.id}"
    for path in ("edit", "mode", "mapping", "removals", "removals/decide?answer=remove"):
        assert bob.get(f"{base}/{path}").status_code == 404
    form = {"mode": "test", "answer": "remove", "code": "invoice", "prepayment-methods": "sepa",
            "name": "x", "system": "ebay", "url": "https://x.example"}  # fmt: skip
    for path in ("edit", "mode", "mapping", "mapping/default", "removals/decide"):
        assert bob.post(f"{base}/{path}", form).status_code == 404
    db.session.expire_all()
    assert (shop.name, shop.mapping) == ("Papier & Feder", {})
    assert shop.default_mapping == MAPPING
    assert settings_of(shop.merchant_id, shop.id).mode == "live"


def test_a_shop_that_is_silent_says_so(anna, shop):
    shop.seen_at = now() - timedelta(hours=1)
    db.session.commit()
    assert "hat sich zuletzt" in anna.get(f"/shops/{shop.id}").text
