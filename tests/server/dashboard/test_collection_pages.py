"""The pages of collection: cases, what a person does with one, the partner, the order."""

from __future__ import annotations

import io
import re
import zipfile

import pytest

from server.collection import service
from server.collection.rules import BY_HAND, STATES
from server.dashboard import words as texts
from server.dashboard.collection import EVENT_ICONS, LOOKS
from server.db import db, now
from server.jobs import drain
from server.merchants.models import User
from server.orders.models import CollectionCase, CollectionEvent, PaymentClaim
from tests.factories import make_merchant, make_shop
from tests.fakes.collection_partner import TOKEN, FakePartner
from tests.server.collection.conftest import *  # noqa: F403  the merchant with an unpaid invoice
from tests.server.collection.steps import case_of, hand_over, invoice_of, name_partner, pay, work
from tests.server.dashboard.test_order_pages import words
from tests.server.dashboard.visitor import member

LIST, PARTNER = "/collection", "/settings/collection"
FORM = {
    "adapter": "http",
    "name": "Inkasso Muster",
    "contact_name": "Anna Beispiel",
    "contact_phone": "0123 456789-0",
    "recipient": "",
    "url": "",
    "token": "",
}


@pytest.fixture
def anna(app, merchant, allowed):
    return member(app, merchant)


@pytest.fixture
def reader(app, merchant, allowed):
    """May look."""
    made = member(app, merchant, "rita@example.org")
    db.session.query(User).filter_by(email="rita@example.org").one().is_administrator = False
    db.session.commit()
    return made


@pytest.fixture
def opened(order, by_http, partner):
    """A case that the partner has."""
    hand_over(order, now())
    at = case_of(order).due_at
    work(at)
    return case_of(order)


def page_of(case) -> str:
    return f"{LIST}/{case.id}"


# --- the order ---------------------------------------------------------------------------------


@pytest.mark.feature("S79", "S64", "K6")
def test_an_order_is_handed_over_and_its_page_shows_the_case(anna, merchant, order, by_http):
    ask = f"/orders/{order.id}/hand-to-collection"
    asked = anna.get(ask)
    assert "Bankdaten zu alt" in words(asked), "no file of the bank was ever read"
    answer = anna.post(ask, page=ask)
    assert answer.status_code == 409 and case_of(order) is None
    assert anna.post(ask, {"anyway": "yes"}, page=ask).status_code == 303
    case = case_of(order)
    assert case.handed_over_by == "anna@example.org"
    shown = anna.get(f"/orders/{order.id}")
    assert "Inkasso-Details anzeigen" in words(shown)
    assert f'href="{page_of(case)}"' in shown.text
    to_details = anna.get(f"/orders/{order.id}/collection")
    assert to_details.location == page_of(case)
    assert "119,00" in words(anna.get(LIST))


@pytest.mark.feature("K61")
def test_what_speaks_against_it_is_said_before(anna, merchant, order):
    db.session.add(PaymentClaim(merchant_id=merchant.id, order_id=order.id, claimed_at=now()))
    order.reminders_blocked_at = now()
    db.session.commit()
    said = words(anna.get(f"/orders/{order.id}/hand-to-collection"))
    for wanted in ("Mahnsperre", "niemand hat es geprüft", "Trotzdem abgeben"):
        assert wanted in said


@pytest.mark.feature("S79")
def test_only_administrators_hand_over(reader, order):
    path = f"/orders/{order.id}/hand-to-collection"
    assert "nur Administratoren" in words(reader.get(path))
    assert reader.post(path, {"anyway": "yes"}).status_code == 403
    assert case_of(order) is None


def test_an_order_that_was_never_handed_over_has_no_details(anna, order):
    assert anna.get(f"/orders/{order.id}/collection").status_code == 404


# --- a case ------------------------------------------------------------------------------------


@pytest.mark.feature("S64", "K62")
def test_the_details_show_states_events_and_the_way_to_the_partner(anna, order, opened, partner):
    partner.becomes("accepted", "Der Schuldner ist angeschrieben", "12.50")
    answer = anna.post(f"{page_of(opened)}/refresh", page=page_of(opened))
    assert answer.status_code == 303
    shown = anna.get(page_of(opened))
    said = words(shown)
    for wanted in (
        "Angenommen",
        "Der Schuldner ist angeschrieben",
        "12,50",
        "PF-1",
        "Inkasso Muster",
    ):
        assert wanted in said
    assert 'href="https://partner.example.com/cases/PF-1"' in shown.text


@pytest.mark.feature("K62")
def test_who_cannot_be_asked_is_a_clear_error(anna, merchant, order):
    name_partner(merchant, "folder")
    hand_over(order, now())
    work(case_of(order).due_at)
    case = case_of(order)
    answer = anna.post(f"{page_of(case)}/refresh", page=page_of(case))
    assert answer.status_code == 409
    assert "kann nicht abgefragt werden" in words(answer)


@pytest.mark.feature("K62")
def test_a_partner_who_does_not_answer_is_said(anna, opened, partner):
    partner.faults = [503]
    answer = anna.post(f"{page_of(opened)}/refresh", page=page_of(opened))
    assert answer.status_code == 409
    assert "Der Partner hat nicht geantwortet" in words(answer)
    assert case_of_id(opened.id).status == "queued"


def case_of_id(case_id):
    db.session.expire_all()
    return db.session.get_one(CollectionCase, case_id)


@pytest.mark.feature("K62")
def test_it_is_taken_back_unless_it_is_paid(anna, order, opened, partner):
    ask = f"{page_of(opened)}/cancel"
    assert "hat die Akte schon" in words(anna.get(ask))
    assert anna.post(ask, page=ask).status_code == 303
    drain("collection_case")
    assert partner.only.state == "withdrawn"
    again = anna.post(ask, page="/account")
    assert again.status_code == 409
    assert "kann nicht zurückgeholt werden" in words(again)


@pytest.mark.feature("K62", "K6")
def test_what_the_partner_says_on_the_phone_is_recorded(anna, order, opened):
    path = page_of(opened)
    form = {"state": "paid", "words": "Az. 4711, <b>bezahlt</b>"}
    assert anna.post(f"{path}/record", form, page=path).status_code == 303
    shown = anna.get(path)
    assert "Az. 4711, &lt;b&gt;bezahlt&lt;/b&gt;" in shown.text
    db.session.refresh(order)
    assert order.payment_status == "paid"


@pytest.mark.parametrize(("state", "said"), [("", ""), ("won", "x"), ("cancelled", "")])
def test_what_cannot_be_recorded_is_said(anna, opened, state, said):
    path = page_of(opened)
    answer = anna.post(f"{path}/record", {"state": state, "words": said}, page=path)
    assert answer.status_code == 422
    assert case_of_id(opened.id).state == "handed_over"


@pytest.mark.feature("C23")
def test_the_dossier_is_saved_and_never_shown(anna, opened):
    answer = anna.get(f"{page_of(opened)}/dossier.zip")
    assert "attachment" in answer.headers["Content-Disposition"]
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        assert "index.pdf" in archive.namelist()


def test_an_erased_order_has_no_dossier(anna, order, opened):
    order.erased_at = now()
    db.session.commit()
    assert anna.get(f"{page_of(opened)}/dossier.zip").status_code == 409
    assert "dossier.zip" not in anna.get(page_of(opened)).text


@pytest.mark.feature("S79")
def test_the_quarter_of_an_hour_can_be_cut_short(anna, reader, order, by_http, partner):
    hand_over(order, now())
    path = page_of(case_of(order))
    assert "Bis dahin erfährt niemand davon" in words(anna.get(path))
    assert reader.post(f"{path}/hand-over").status_code == 403
    assert anna.post(f"{path}/hand-over", page=path).status_code == 303
    drain("collection_case")
    assert case_of(order).is_opened
    assert anna.post(f"{path}/hand-over", page=path).status_code == 409


def test_without_a_partner_the_page_says_what_to_do(anna, order):
    hand_over(order, now())
    work(case_of(order).due_at)
    path = page_of(case_of(order))
    assert "liegt bei Ihnen" in words(anna.get(path))
    assert anna.post(f"{path}/hand-over", page=path).status_code == 409


@pytest.mark.parametrize(
    "path", ["", "/dossier.zip", "/cancel", "/refresh", "/hand-over", "/record"]
)
def test_a_case_of_another_merchant_is_nowhere(app, anna, path):
    other = make_merchant("Bobs Laden")
    case = hand_over(invoice_of(make_shop(other)), now())
    url = f"{LIST}/{case.id}{path}"
    get = anna.get(url).status_code
    assert get in (404, 405)
    assert anna.post(url).status_code in (404, 405)
    assert get == 404 or anna.post(url).status_code == 404


def test_nobody_who_is_not_logged_in(app, opened):
    stranger = app.test_client()
    for path in (LIST, PARTNER, page_of(opened), f"{page_of(opened)}/dossier.zip"):
        assert stranger.get(path).location.startswith("/login")


# --- the list ----------------------------------------------------------------------------------


def test_the_list_is_filtered_summed_and_paged(anna, shop, merchant, monkeypatch):
    monkeypatch.setattr("server.dashboard.collection.CASES_A_PAGE", 2)
    assert "Kein Fall im Inkasso" in words(anna.get(LIST))
    for total in ("10.00", "20.00", "30.00"):
        hand_over(invoice_of(shop, total=total), now())
    first = anna.get(LIST)
    assert "60,00" in words(first) and "3 Fälle" in words(first)
    (more,) = re.findall(r'rel="next" href="([^"]+)"', first.text)
    second = anna.get(more.replace("&amp;", "&"))
    assert second.text.count("/dossier.zip") == 0
    assert "10,00" in words(second) and "30,00" not in words(second)
    assert "Kein Fall mit diesem Stand" in words(anna.get(f"{LIST}?state=paid"))
    assert "60,00" in words(anna.get(f"{LIST}?state=nonsense"))


# --- Today -------------------------------------------------------------------------------------


def test_today_names_what_nobody_does_by_itself(anna, merchant, order, shop, allowed):
    hand_over(order, now())
    work(case_of(order).due_at)
    assert "Ein Inkassofall wartet auf Sie" in words(anna.get("/"))
    service.record_by_hand(merchant.id, case_of(order).id, "closed", "", actor="a", at=now())
    db.session.commit()
    assert "ohne Geld zu Ende" in words(anna.get("/"))
    pay(order, "119.00", now())
    assert "Inkassofall" not in words(anna.get("/"))


def test_today_names_a_partner_who_takes_nothing(anna, order, by_http, partner):
    partner.faults = [401]
    hand_over(order, now())
    work(case_of(order).due_at)
    said = words(anna.get("/"))
    assert "Der Inkassopartner Inkasso Muster nimmt nichts an" in said
    partner.faults = [422]
    work(case_of(order).due_at)
    assert "konnte nicht übergeben werden" in words(anna.get("/"))


@pytest.mark.feature("K62")
@pytest.mark.parametrize("how", ["refused", "away"])
def test_today_names_who_is_not_told_of_a_payment(anna, order, opened, partner, monkeypatch, how):
    """Else he goes on collecting what was paid, and nobody knows."""
    if how == "away":
        monkeypatch.setattr(CollectionCase, "schedule", ())
    partner.faults = [422 if how == "refused" else 503]
    pay(order, "119.00", now())
    work(now())
    said = words(anna.get("/"))
    assert "weiß etwas nicht, was er wissen muss" in said
    service.record_by_hand(order.merchant_id, opened.id, "", "angerufen", actor="a", at=now())
    db.session.commit()
    assert "weiß etwas nicht" not in words(anna.get("/"))


def test_what_could_not_be_told_is_told_once_the_partner_is_mended(
    anna, order, opened, partner, monkeypatch
):
    monkeypatch.setattr(CollectionCase, "schedule", ())
    partner.faults = [401]
    pay(order, "19.00", now())
    work(now())
    assert case_of(order).status == "failed"
    assert "weiß etwas nicht" in words(anna.get("/"))
    answer = anna.post(PARTNER, FORM | {"url": partner.url, "token": TOKEN}, page=PARTNER)
    assert answer.status_code == 303
    work(now())
    assert len([one for one in partner.asked if one[1].endswith("/payments")]) == 2
    assert "weiß etwas nicht" not in words(anna.get("/"))


# --- the partner -------------------------------------------------------------------------------


@pytest.mark.parametrize("act", ["check", "refresh"])
def test_nothing_stays_open_while_the_partner_thinks(anna, opened, partner, act):
    seen = []
    partner.on_request = lambda: seen.extend(
        session.in_transaction() for session in db.session.registry.registry.values()
    )
    db.session.commit()
    path, back = (f"{PARTNER}/check", PARTNER) if act == "check" else (
        f"{page_of(opened)}/refresh", page_of(opened))  # fmt: skip
    assert anna.post(path, page=back).status_code == 303
    assert seen and not any(seen)


@pytest.mark.feature("K61")
def test_a_partner_is_named_checked_and_removed(anna, merchant, partner):
    form = FORM | {"url": partner.url, "token": TOKEN}
    assert anna.post(PARTNER, form, page=PARTNER).status_code == 303
    shown = anna.get(PARTNER)
    assert TOKEN not in shown.text and partner.url in shown.text
    assert anna.post(f"{PARTNER}/check", page=PARTNER).status_code == 303
    partner.faults = [401]
    answer = anna.post(f"{PARTNER}/check", page=PARTNER)
    assert answer.status_code == 409 and "The key was refused" in words(answer)
    assert anna.post(f"{PARTNER}/remove", page=PARTNER).status_code == 303
    assert service.partner_of(merchant.id) is None
    assert anna.post(f"{PARTNER}/check", page=PARTNER).status_code == 409


def test_the_key_stays_only_as_long_as_the_address(anna, merchant, partner):
    """Else whoever may change the address could have the key sent to himself."""
    anna.post(PARTNER, FORM | {"url": partner.url, "token": TOKEN}, page=PARTNER)
    renamed = FORM | {"url": partner.url, "name": "Muster & Partner"}
    assert anna.post(PARTNER, renamed, page=PARTNER).status_code == 303
    stored = service.settings_of_partner(service.partner_of(merchant.id))
    assert stored["token"] == TOKEN
    with_other_url = FORM | {"url": partner.url + "/other"}
    answer = anna.post(PARTNER, with_other_url, page=PARTNER)
    assert answer.status_code == 422 and 'id="token-error"' in answer.text


@pytest.mark.parametrize(
    ("over", "wrong"),
    [
        ({"name": ""}, "name"),
        ({"contact_phone": " "}, "contact_phone"),
        ({"url": "gopher://x"}, "url"),
        ({"url": "https://user:pw@partner.example.com"}, "url"),
        ({"adapter": "mail", "recipient": "nobody"}, "recipient"),
        ({"adapter": "mail", "recipient": ""}, "recipient"),
    ],
)
def test_wrong_input_is_said_at_its_field(anna, merchant, over, wrong):
    form = FORM | {"url": "https://partner.example.com", "token": TOKEN} | over
    answer = anna.post(PARTNER, form, page=PARTNER)
    assert answer.status_code == 422
    assert f'id="{wrong}-error"' in answer.text
    assert service.partner_of(merchant.id) is None


def test_a_way_that_nobody_offers_is_refused(anna):
    assert anna.post(PARTNER, FORM | {"adapter": "fax"}, page=PARTNER).status_code == 400


def test_only_administrators_name_the_partner(reader):
    assert reader.get(PARTNER).status_code == 403
    assert reader.post(PARTNER, FORM).status_code == 403
    assert reader.post(f"{PARTNER}/remove").status_code == 403


# --- words -------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["de", "en"])
def test_every_state_and_event_has_words(language):
    known = {
        *EVENT_ICONS,
        *("handed_over", "opened", "wanted_now", "told", "told_state", "state_state", "noted"),
    }
    for state in (*STATES, *BY_HAND):
        assert texts.has_text(f"collection_state.{state}")
    for kind in known:
        assert texts.has_text(f"collection_event.{kind}")
    assert set(LOOKS) == set(STATES)


def test_every_kind_of_event_that_is_written_is_known(order, opened, partner):
    kinds = {row.kind for row in db.session.query(CollectionEvent)}
    assert kinds <= {*EVENT_ICONS, "handed_over", "opened", "state"}
    assert isinstance(partner, FakePartner)
