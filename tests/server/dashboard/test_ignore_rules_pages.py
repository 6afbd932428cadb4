"""Ignore rules: written, looked at before they are saved, changed, deleted."""

from __future__ import annotations

import re

import pytest

from server.banking.service import add_rule, rules_of
from server.dashboard.ignore_rules import provider_names
from server.db import db, now
from server.jobs import drain_match_request
from tests.factories import make_merchant, make_order, make_posting, make_shop
from tests.server.dashboard.test_order_pages import words
from tests.server.dashboard.visitor import member

IBAN = "DE12500105170648489890"


@pytest.fixture
def merchant(app):
    return make_merchant()


@pytest.fixture
def anna(app, merchant):
    return member(app, merchant)


def kept(merchant) -> list[tuple[str, str, bool]]:
    return [(one.kind, one.value, one.tells_merchant) for one in rules_of(merchant.id)]


def rule(merchant, kind="text", value="Umbuchung", *, tells=False):
    row = add_rule(merchant.id, kind, value, tells_merchant=tells, actor="anna@example.org")
    db.session.commit()
    return row


def test_a_merchant_without_rules_is_shown_the_way(anna):
    page = words(anna.get("/ignore-rules"))
    assert "Noch keine Regel" in page and "Regel anlegen" in page


@pytest.mark.feature("K44", "K45")
@pytest.mark.parametrize(
    ("kind", "value", "stored", "shown"),
    [
        ("iban", "de12 5001 0517 0648 4898 90", IBAN, "DE12 5001 0517 0648 4898 90"),
        ("name", "Finanzamt Musterstadt", "Finanzamt Musterstadt", "Finanzamt Musterstadt"),
        ("text", "Umbuchung Tagesgeld", "Umbuchung Tagesgeld", "Umbuchung Tagesgeld"),
        ("text", "{regex}.*(SOFORT|eps).*", "{regex}.*(SOFORT|eps).*", ">.*(SOFORT|eps).*<"),
        ("amount_above", "5.000,50", "5000.50", "über 5000,50"),
        ("unassigned", "", "", "Alles, was Kontor keiner Bestellung zuordnet"),
    ],
)
def test_a_rule_of_each_kind_is_added_and_listed(merchant, anna, kind, value, stored, shown):
    answer = anna.post("/ignore-rules", {"kind": kind, "value": value})
    assert answer.location == "/ignore-rules?done=rule_added"
    assert kept(merchant) == [(kind, stored, False)]
    page = anna.get(answer.location).text
    assert shown in page and "Sie gilt ab dem nächsten Umsatz" in page
    assert ("nicht zu empfehlen" in page) == (kind == "unassigned")


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("iban", "DE1", "Das ist keine IBAN"),
        ("name", "ab", "mindestens drei Zeichen"),
        ("text", "", "Schreiben Sie, was die Regel treffen soll"),
        ("text", "{regex}(", "Dieses Muster ist nicht zu verstehen"),
        ("amount_above", "viel", "Das ist kein Betrag"),
        ("amount_above", "-5", "Das ist kein Betrag"),
    ],
)
def test_what_is_no_rule_is_refused_and_what_was_typed_stays(merchant, anna, kind, value, said):
    answer = anna.post("/ignore-rules", {"kind": kind, "value": value})
    assert answer.status_code == 422 and said in answer.text
    assert f'value="{value}"' in answer.text and 'aria-invalid="true"' in answer.text
    assert kept(merchant) == []
    if value:
        look = anna.client.get("/ignore-rules/new", query_string={"kind": kind, "value": value})
        assert look.status_code == 200 and said in look.text


@pytest.mark.feature("K44")
def test_what_a_rule_would_have_hit_is_shown_before_it_is_saved(merchant, anna):
    for number in range(22):
        make_posting(merchant, f"{number + 1}.00", f"Umbuchung {number}")
    make_posting(merchant, "99.00", "Bestellung")
    for path in ("/ignore-rules/new", "/ignore-rules/preview"):
        answer = anna.get(f"{path}?kind=text&value=umbuchung")
        page = words(answer)
        assert "22 Umsätze." in page and "Und 2 weitere." in page and "99,00" not in page
        assert answer.text.count("said-two") == 20
        assert ("<html" in answer.text) == path.endswith("new")
    assert "Keinen Umsatz." in anna.get("/ignore-rules/preview?kind=text&value=Zinsen").text
    assert "Zurzeit warten 23 Umsätze" in anna.get("/ignore-rules/new?kind=unassigned").text
    assert kept(merchant) == []


@pytest.mark.feature("K44")
@pytest.mark.parametrize(
    ("over", "kind", "value"),
    [
        ({"counterparty_iban": IBAN}, "iban", IBAN),
        ({"counterparty_iban": None}, "name", "Erika Mustermann"),
    ],
)
def test_everything_of_an_originator_is_ignored_from_its_posting(merchant, anna, over, kind, value):
    posting = make_posting(merchant, "5.00", **over)
    link = re.search(r'href="(/ignore-rules/new\?[^"]+)"', anna.get(f"/postings/{posting.id}").text)
    assert link
    page = anna.get(link[1].replace("&amp;", "&")).text
    assert f'<option value="{kind}" selected>' in page and f'value="{value}"' in page
    assert "1 Umsatz." in page


@pytest.mark.feature("K45")
def test_a_mail_all_the_same_is_offered_for_texts_only(merchant, anna):
    anna.post("/ignore-rules", {"kind": "text", "value": "Zinsen", "tells_merchant": "on"})
    anna.post("/ignore-rules", {"kind": "name", "value": "Finanzamt", "tells_merchant": "on"})
    assert kept(merchant) == [("name", "Finanzamt", False), ("text", "Zinsen", True)]


@pytest.mark.feature("K45")
def test_a_rule_is_changed_and_an_emptied_one_is_deleted(merchant, anna):
    row = rule(merchant, tells=True)
    page = anna.get(f"/ignore-rules/{row.id}").text
    assert 'value="Umbuchung"' in page and "checked" in page and "Keinen Umsatz." in page
    answer = anna.post(f"/ignore-rules/{row.id}", {"value": "Zinsen"})
    assert "Regel geändert" in anna.get(answer.location).text
    ((kind, value, tells),) = kept(merchant)
    assert (kind, value, tells) == ("text", "Zinsen", False)
    (row,) = rules_of(merchant.id)
    refused = anna.post(f"/ignore-rules/{row.id}", {"value": "{regex}("})
    assert refused.status_code == 422 and kept(merchant) == [("text", "Zinsen", False)]
    (row,) = rules_of(merchant.id)
    answer = anna.post(f"/ignore-rules/{row.id}", {"value": " "})
    assert "Regel gelöscht" in anna.get(answer.location).text
    assert kept(merchant) == []


def test_a_rule_is_deleted_with_one_click_and_foreign_ones_are_not_there(merchant, anna):
    row, foreign = rule(merchant), rule(make_merchant("Bobs Laden"))
    assert anna.post(f"/ignore-rules/{foreign.id}/delete").status_code == 404
    assert anna.get(f"/ignore-rules/{foreign.id}").status_code == 404
    anna.post(f"/ignore-rules/{row.id}/delete")
    assert kept(merchant) == []


def test_the_list_counts_what_each_rule_ignored(merchant, anna):
    rule(merchant, "name", "Finanzamt")
    for by, because in (("Finanzamt", "name"), ("Finanzamt", "name"), ("Klarna", "provider")):
        make_posting(
            merchant, "1.00", ignored_at=now(), ignored_by=by, ignored_because=because,
            is_open=False,
        )  # fmt: skip
    page = words(anna.get("/ignore-rules"))
    assert "Finanzamt Absender: Name nein 2" in page
    assert "Klarna 1 ignoriert" in page


@pytest.mark.feature("K44")
def test_payouts_of_providers_are_switched_off_and_on(merchant, anna):
    page = anna.get("/ignore-rules").text
    assert "werden erkannt" in page and all(name in page for name in ("PayPal", "Klarna", "Etsy"))
    assert len(provider_names()) > 20
    answer = anna.post("/ignore-rules/providers", {"recognised": "off"})
    assert [one[0] for one in kept(merchant)] == ["keep_providers"]
    page = anna.get(answer.location).text
    assert "werden nicht erkannt" in page and "bleiben auf der Liste" in page
    assert "Noch keine Regel" in page  # the switch is no rule of the list
    anna.post("/ignore-rules/providers", {"recognised": "on"})
    assert kept(merchant) == []


@pytest.mark.feature("K44", "S18")
def test_whoever_ignores_everything_unassigned_is_shown_suggestions_only(merchant, anna):
    """Nothing is lost by it: an order that comes later still finds its posting."""
    named = make_posting(merchant, "19.90", "AA-1001")
    make_posting(merchant, "5.00", "ganz etwas anderes")
    assert "Zurzeit warten 2 Umsätze" in anna.get("/ignore-rules/new?kind=unassigned").text
    anna.post("/ignore-rules", {"kind": "unassigned", "value": ""})
    assert "Zurzeit warten 0 Umsätze" in anna.get("/ignore-rules/new?kind=unassigned").text
    assert "ganz etwas anderes" not in anna.get("/postings").text
    assert "ganz etwas anderes" in anna.get("/postings?state=open").text
    order = make_order(make_shop(merchant), number="AA-1001")
    drain_match_request()
    db.session.refresh(named)
    db.session.refresh(order)
    assert (named.is_open, order.payment_status) == (False, "paid")
