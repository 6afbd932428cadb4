"""Settings of the assignment: the form of the schema, shops, the log, the shadow, the payers."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from sqlalchemy import func, select

from server.db import db, now
from server.matching.service import match_postings
from server.merchants.models import SettingChange
from server.merchants.service import change_setting, set_values, settings_of
from server.merchants.settings import SCHEMA
from server.orders import service
from tests.factories import AT, make_merchant, make_order, make_posting, make_shop, today
from tests.server.dashboard.visitor import member

ACTOR = "anna@example.org"
PATH = "/settings/assignment"
RESET = "/settings/reset"


@pytest.fixture
def merchant(app):
    return make_merchant()


@pytest.fixture
def shop(merchant):
    return make_shop(merchant)


@pytest.fixture
def anna(app, merchant):
    return member(app, merchant)


def changes() -> int:
    return int(db.session.scalar(select(func.count()).select_from(SettingChange)) or 0)


def field(page: str, name: str) -> str:
    """The value that the form shows."""
    typed = re.search(rf'name="{name}" inputmode="numeric"[^>]* value="([^"]*)"', page)
    if typed:
        return typed[1]
    choice = re.search(rf'name="{name}"[^>]*>(.*?)</select>', page, re.DOTALL)
    assert choice, name
    chosen = re.search(r'value="(\w+)" selected', choice[1])
    assert chosen, name
    return chosen[1]


def filled(page: str) -> dict[str, str]:
    return {name: field(page, name) for name in SCHEMA if f'name="{name}"' in page}


@pytest.mark.feature("C6", "C7", "C9", "K21", "K30", "K32")
def test_the_form_has_every_setting_and_saving_it_unchanged_sets_nothing(anna):
    page = anna.get(PATH).text
    form = filled(page)
    assert form["tolerance_cents"] == "1" and form["zero_is_paid"] == "on"
    assert page.count("von Kontor vorgegeben") == len(form)
    assert anna.post(PATH, form).status_code == 303
    assert changes() == 0


@pytest.mark.feature("K21", "K30")
def test_what_is_changed_is_in_force_and_in_the_log(merchant, anna):
    form = filled(anna.get(PATH).text)
    form |= {"tolerance_cents": "5", "claim_bank_fees": "on", "match_level": "careful"}
    answer = anna.post(PATH, form)
    assert "Gespeichert" in anna.get(answer.location).text
    now_set = settings_of(merchant.id)
    assert (now_set.tolerance, now_set.claim_bank_fees, now_set.match_level) == (
        Decimal("0.05"), True, "careful",
    )  # fmt: skip
    anna.post(PATH, filled(anna.get(PATH).text) | {"tolerance_cents": "7"})
    said = " ".join(re.sub(r"<[^>]+>", "", anna.get(PATH).text).split())
    assert "Erlaubte Abweichung: 5 Cent → 7 Cent" in said
    assert "Erlaubte Abweichung: Vorgabe → 5 Cent" in said
    assert "Bankgebühren einfordern: Vorgabe → ja" in said
    assert "Sicherheit, ab der gebucht wird: Vorgabe → Vorsichtig" in said
    assert ACTOR in said


@pytest.mark.parametrize(
    ("name", "typed", "words"),
    [
        ("tolerance_cents", "ein paar", "Das ist keine passende Zahl. Erlaubt sind 0 bis 10.000."),
        ("tolerance_cents", "10001", "Erlaubt sind 0 bis 10.000."),
        ("max_order_age_days", "-1", "Das ist keine passende Zahl"),
        ("match_level", "reckless", "Wählen Sie eine der Möglichkeiten."),
        ("zero_is_paid", "maybe", "Wählen Sie ja oder nein."),
    ],
)
def test_what_is_no_value_is_shown_with_its_limits_and_nothing_is_saved(anna, name, typed, words):
    form = filled(anna.get(PATH).text) | {"discount_grace_days": "9", name: typed}
    answer = anna.post(PATH, form)
    assert answer.status_code == 422 and words in answer.text
    assert field(answer.text, "discount_grace_days") == "9"
    assert changes() == 0
    if name == "tolerance_cents":
        assert field(answer.text, name) == typed


@pytest.mark.feature("S43")
def test_a_shop_has_its_own_values_and_goes_back_to_the_inherited_ones(merchant, shop, anna):
    change_setting(merchant.id, "tolerance_cents", "5", actor=ACTOR, at=AT)
    db.session.commit()
    there = f"{PATH}?shop={shop.id}"
    page = anna.get(there).text
    assert field(page, "tolerance_cents") == "5" and "von „Alle Shops“" in page
    assert 'name="assignment"' not in page and 'name="match_level"' not in page
    form = filled(page) | {"shop": str(shop.id), "tolerance_cents": "50"}
    assert anna.post(PATH, form).location.startswith(f"{PATH}?shop={shop.id}")
    assert set_values(merchant.id, shop.id) == {"tolerance_cents": 50}
    assert settings_of(merchant.id).tolerance_cents == 5
    said = " ".join(re.sub(r"<[^>]+>", "", anna.get(there).text).split())
    assert "nur hier" in said and "sonst 5 Cent" in said
    anna.post(RESET, {"shop": str(shop.id), "name": "tolerance_cents"})
    assert set_values(merchant.id, shop.id) == {}
    assert field(anna.get(there).text, "tolerance_cents") == "5"
    anna.post(RESET, {"name": "tolerance_cents"})
    assert settings_of(merchant.id).tolerance_cents == 1


@pytest.mark.feature("S43")
def test_a_shop_may_set_the_very_value_that_is_kontors(merchant, shop, anna):
    change_setting(merchant.id, "tolerance_cents", "5", actor=ACTOR, at=AT)
    change_setting(merchant.id, "tolerance_cents", "1", actor=ACTOR, at=AT, shop_id=shop.id)
    db.session.commit()
    said = anna.get(f"{PATH}?shop={shop.id}").text
    assert field(said, "tolerance_cents") == "1" and "nur hier" in said


def test_a_shop_of_others_has_no_settings_here(anna):
    others = make_shop(make_merchant("Bobs Laden"))
    assert anna.get(f"{PATH}?shop={others.id}").status_code == 404
    form = {"shop": str(others.id), "tolerance_cents": "5"}
    assert anna.post(PATH, form).status_code == 404
    reset = {"shop": str(others.id), "name": "tolerance_cents"}
    assert anna.post(RESET, reset).status_code == 404
    assert anna.post(RESET, {"name": "nonsense"}).status_code == 404
    for wrong in ("x", "0", "9" * 30):
        assert anna.post(PATH, form | {"shop": wrong}).status_code == 404
    assert changes() == 0


@pytest.mark.feature("N3")
def test_in_the_shadow_every_page_says_so_until_it_goes_live(merchant, anna):
    banner = "Kontor entscheidet und zeigt, bucht aber nichts."
    assert banner not in anna.get("/").text
    change_setting(merchant.id, "assignment", "shadow", actor=ACTOR, at=AT)
    db.session.commit()
    for path in ("/", "/orders", "/postings", "/statements", "/credits", PATH):
        assert banner in anna.get(path).text, path
    answer = anna.post(f"{PATH}/live")
    assert "Kontor bucht ab jetzt." in anna.get(answer.location).text
    assert settings_of(merchant.id).assignment == "auto"
    assert banner not in anna.get("/").text


# --- what would have been -----------------------------------------------------------------------

WHAT_IF = f"{PATH}/what-if"


@pytest.mark.feature("C6", "N3")
def test_the_levels_are_compared_on_the_past_and_one_is_chosen(merchant, shop, anna):
    order = make_order(shop, total="31.70", ordered_at=f"{today()}T08:00:00+00:00")
    text = f"Bestellung {order.number}"
    posting = make_posting(merchant, "31.70", text, booking_date=today(), value_date=today())
    part = [(order.id, Decimal("31.70"))]
    service.assign(merchant.id, posting.id, part, actor=ACTOR, at=AT)
    db.session.commit()
    page = anna.get(f"{WHAT_IF}?days=90").text
    assert "1 Umsatz, davon 1 von Menschen zugeordnet." in page
    assert page.count('id="level-') == 3
    assert re.search(r'aria-current="true"[^>]*>90', page)
    part_of_it = anna.get(WHAT_IF, headers={"HX-Request": "true"}).text
    assert "<html" not in part_of_it and 'id="level-careful"' in part_of_it
    anna.post(PATH, {"match_level": "careful"})
    assert settings_of(merchant.id).match_level == "careful"
    careful = anna.get(WHAT_IF).text.split('id="level-careful"')[1]
    assert careful.index("heute gewählt") < careful.index('id="level-normal"')


@pytest.mark.parametrize("days", ["", "7", "x", "9" * 30])
def test_other_periods_are_the_shortest(anna, days):
    page = anna.get(f"{WHAT_IF}?days={days}").text
    assert "Keine Umsätze in dieser Zeit" in page
    assert re.search(r'aria-current="true"[^>]*>30', page)


@pytest.mark.feature("N3")
def test_the_shadow_reports_what_kontor_would_have_done(merchant, shop, anna):
    assert "Noch nichts zu berichten" in anna.get(f"{PATH}/shadow").text
    change_setting(merchant.id, "assignment", "shadow", actor=ACTOR, at=now())
    order = make_order(shop, total="31.70", ordered_at=f"{today()}T08:00:00+00:00")
    make_posting(merchant, "31.70", f"Bestellung {order.number}", booking_date=today())
    while match_postings(merchant.id, now()):
        pass
    db.session.commit()
    assert order.payment_status == "unpaid"
    page = anna.get(f"{PATH}/shadow").text
    assert "Ab jetzt buchen" in page and order.number in page
    assert "nur von Kontor erkannt" in page


# --- payers -----------------------------------------------------------------------------------

PAYERS = "/settings/payers"


def confirm(merchant, shop, iban: str, **over) -> None:
    """A person says that this account paid for the customer of this order."""
    order = make_order(shop, **over)
    posting = make_posting(merchant, "19.90", counterparty_iban=iban)
    part = [(order.id, Decimal("19.90"))]
    service.assign(merchant.id, posting.id, part, actor=ACTOR, at=AT)
    db.session.commit()


@pytest.mark.feature("C19")
def test_what_was_learned_of_payers_is_shown_and_forgotten(merchant, shop, anna):
    for _ in range(2):
        confirm(merchant, shop, "DE12500105170648489890")
    page = anna.get(PAYERS).text
    assert "DE12 5001 0517 0648 4898 90" in page
    assert "Erika Mustermann" in page and "2-mal" in page
    answer = anna.post(f"{PAYERS}/forget", {"payer": "DE12500105170648489890"})
    page = anna.get(answer.location).text
    assert "DE12 5001" not in page and "Vergessen. Kontor lernt" in page


def test_payers_are_found_by_account_name_or_mail(merchant, shop, anna):
    confirm(merchant, shop, "DE12500105170648489890")
    confirm(merchant, shop, "AT611904300234573201", customer={"email": "max@example.org"})
    for text, there in (("DE12 5001 0517", "DE12"), ("MAX@EXAMPLE", "AT61")):
        rows = re.findall(r'<th scope="row"><span class="anywhere">(\w{4})',
                          anna.get(PAYERS, query_string={"q": text}).text)  # fmt: skip
        assert there in rows and len({"DE12", "AT61"} & set(rows)) == 1
    assert "Nichts gefunden" in anna.get(f"{PAYERS}?q=niemand").text


@pytest.mark.feature("C19")
def test_an_account_that_pays_for_many_is_marked(merchant, shop, anna):
    for number in range(12):
        mail = {"email": f"kunde{number}@example.org"}
        confirm(merchant, shop, "DE12500105170648489890", customer=mail)
    assert "für mehrere</span>" in anna.get(PAYERS).text


def test_where_nothing_was_learned_the_page_says_what_teaches(merchant, anna):
    page = anna.get(PAYERS).text
    assert "Noch nichts gelernt" in page and "was Sie bestätigen" in page
    assert anna.post(f"{PAYERS}/forget", {"payer": "nobody"}).status_code == 303
