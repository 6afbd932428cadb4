"""Settings of the payment codes, brakes, two persons, the log and the file, as pages show them."""

from __future__ import annotations

import io
import re
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from server.db import db, now
from server.mail.models import Mail
from server.merchants.models import SettingChange
from server.merchants.service import (
    change_setting,
    set_values,
    settings_of,
    waiting_changes,
)
from server.orders.models import Order
from tests.factories import AT, make_merchant, make_order, make_shop, make_user
from tests.server.dashboard.visitor import PASSWORD, Visitor, member

ANNA, BERT = "anna@example.org", "bert@example.org"
PREPAYMENT, INVOICE, COD, MORE = (
    f"/settings/{tab}" for tab in ("prepayment", "invoice", "cash-on-delivery", "more")
)
FILE = "/settings/file"


@pytest.fixture
def merchant(app):
    return make_merchant()


@pytest.fixture
def shop(merchant):
    return make_shop(merchant, "Papier & Feder")


@pytest.fixture
def anna(app, merchant):
    return member(app, merchant)


@pytest.fixture
def bert(app, merchant, anna):
    make_user(merchant, BERT, PASSWORD)
    visitor = Visitor(app)
    visitor.log_in(BERT)
    return visitor


def words_of(answer) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", answer.text).split())


def changes() -> int:
    return int(db.session.scalar(select(func.count()).select_from(SettingChange)) or 0)


def put(merchant, name: str, typed: str, shop=None, actor: str = ANNA) -> None:
    change_setting(
        merchant.id, name, typed, actor=actor, at=now(), shop_id=shop.id if shop else None
    )
    db.session.commit()


# --- the forms ------------------------------------------------------------------------------------


def named(page: str) -> dict[str, str]:
    """What the form would send if nobody touched it."""
    form = page.split('<form id="settings"')[1].split("</form>", maxsplit=1)[0]
    typed = dict(re.findall(r'<input class="(?:short|wide)"[^>]* name="([^"]+)"[^>]*?'
                            r' value="([^"]*)"', form))  # fmt: skip
    for name, options in re.findall(r'<select[^>]* name="([^"]+)"[^>]*>(.*?)</select>', form):
        typed[name] = re.findall(r'value="(\w+)" selected', options)[0]
    return typed


@pytest.mark.feature("S44", "S46", "S48", "S49", "S50", "S52")
@pytest.mark.parametrize("path", [PREPAYMENT, INVOICE, COD, MORE])
def test_saving_a_page_as_it_is_sets_nothing(anna, path):
    form = named(anna.get(path).text)
    assert len(form) >= 3
    assert anna.post(path, form).status_code == 303
    assert changes() == 0


@pytest.mark.feature("S43", "S46", "S48", "S50")
def test_the_shop_has_its_own_reminders_and_the_page_says_where_values_come_from(
    merchant, shop, anna
):
    put(merchant, "prepayment.cancel_after_days", "30")
    there = f"{PREPAYMENT}?shop={shop.id}"
    page = anna.get(there)
    assert "von „Alle Shops“" in words_of(page) and "Vorkasse für Papier &amp; Feder" in page.text
    form = named(page.text) | {
        "shop": str(shop.id), "prepayment.reminders": "2", "prepayment.first_reminder_days": "5",
        "prepayment.cancel_after_days": "21",
    }  # fmt: skip
    assert anna.post(PREPAYMENT, form).location.startswith(there)
    assert set_values(merchant.id, shop.id) == {
        "prepayment.reminders": 2,
        "prepayment.first_reminder_days": 5,
        "prepayment.cancel_after_days": 21,
    }
    said = words_of(anna.get(there))
    assert "nur hier sonst 30 Tage" in said
    assert "Tag 5 Zahlungserinnerung Tag 12 1. Mahnung Tag 21 Storniert" in said
    anna.post("/settings/reset", {"shop": str(shop.id), "name": "prepayment.cancel_after_days"})
    assert settings_of(merchant.id, shop.id).prepayment.cancel_after_days == 30


@pytest.mark.feature("S46", "K26")
def test_levels_that_are_not_sent_are_folded_away_but_keep_their_values(merchant, anna):
    page = anna.get(INVOICE).text
    assert "6 weitere ohne Wirkung" not in page
    folded = "".join(re.findall(r'<details class="more idle">.*?</details>', page, re.DOTALL))
    assert 'name="invoice.reminder_3_days"' in folded and 'name="invoice.claim_fees"' in folded
    assert 'name="invoice.reminder_2_days"' not in folded
    form = named(page) | {"invoice.reminder_3_days": "9", "invoice.reminders": "3"}
    anna.post(INVOICE, form)
    assert settings_of(merchant.id).invoice.gap_days(3) == 9


@pytest.mark.feature("S53", "K27", "K28")
@pytest.mark.parametrize(
    ("language", "said"),
    [("de", ("als Stundung ausgelegt", "wirklich kostet", "Das ist keine Rechtsberatung")),
     ("en", ("argued as a deferral", "really costs", "This is no legal advice"))],
)  # fmt: skip
def test_the_law_is_named_where_a_setting_touches_it(merchant, anna, language, said):
    put(merchant, "invoice.charge_fees", "on")
    anna.post("/account", {"language": language})
    page = anna.get(INVOICE).text
    for words in said:
        assert words in page
    claim = page.split('id="caution-invoice-claim_fees"')[1].split("</p>")[0]
    assert ("keine Rechtsberatung" if language == "de" else "no legal advice") in claim


@pytest.mark.feature("K26", "K27")
def test_own_fees_are_typed_by_currency_and_what_is_none_is_named(merchant, anna):
    put(merchant, "invoice.charge_fees", "on")
    form = named(anna.get(INVOICE).text) | {"invoice.fee_rule": "own"}
    answer = anna.post(INVOICE, form | {"invoice.fee_2": "viel"})
    assert answer.status_code == 422 and "je Währung einen Betrag" in answer.text
    assert settings_of(merchant.id).invoice.fee_rule == "legal"
    anna.post(INVOICE, form | {"invoice.fee_2": "2,50 EUR; CHF 5"})
    said = words_of(anna.get(INVOICE))
    assert "Gebühr der 1. Mahnung: Vorgabe → 5 CHF; 2.50 EUR" in said


@pytest.mark.feature("S59")
def test_a_discount_is_said_with_its_percent(merchant, anna):
    form = named(anna.get(INVOICE).text) | {"invoice.discount_percent": "2,5"}
    anna.post(INVOICE, form)
    assert "Skonto: Vorgabe → 2,50 %" in words_of(anna.get(INVOICE)).replace("\u00a0", " ")


@pytest.mark.feature("K22")
def test_asking_at_once_also_asks_for_the_orders_of_the_last_six_hours(merchant, shop, anna):
    put(merchant, "invoice.ask_when", "by_shop")
    at = now()
    young, old = (
        make_order(shop, at=at - age, payment_method="invoice", ordered_at=at.isoformat())
        for age in (timedelta(hours=1), timedelta(hours=7))
    )
    db.session.query(Order).filter_by(id=young.id).update({"created_at": at - timedelta(hours=1)})
    db.session.query(Order).filter_by(id=old.id).update({"created_at": at - timedelta(hours=7)})
    db.session.commit()
    anna.post(INVOICE, named(anna.get(INVOICE).text) | {"invoice.ask_when": "at_once"})
    asked = {mail.order_id for mail in db.session.query(Mail).filter_by(kind="payment_information")}
    assert asked == {young.id}


def test_what_somebody_else_set_meanwhile_is_not_taken_back(merchant, anna):
    page = anna.get(PREPAYMENT).text
    shown = dict(re.findall(r'name="(shown:[^"]+)" value="([^"]*)"', page))
    put(merchant, "prepayment.reminders", "3", actor=BERT)
    form = named(page) | shown | {"prepayment.cancel_after_days": "21"}
    assert form["prepayment.reminders"] == "1"
    anna.post(PREPAYMENT, form)
    now_set = settings_of(merchant.id).prepayment
    assert (now_set.reminders, now_set.cancel_after_days) == (3, 21)


# --- brakes ---------------------------------------------------------------------------------------


@pytest.mark.feature("K66")
def test_a_brake_that_is_on_stands_above_every_page(merchant, shop, anna):
    stopped, test = "Alle E-Mails an die Kundschaft sind angehalten.", "ist im Testbetrieb."
    make_shop(merchant, "Anderer")
    for path in ("/", "/shops", "/orders"):
        assert stopped not in anna.get(path).text and test not in anna.get(path).text
    put(merchant, "stop_mails", "on")
    put(merchant, "mode", "test", shop)
    for path in ("/", "/shops", "/orders"):
        page = anna.get(path).text
        assert stopped in page and f"Papier &amp; Feder {test}" in page
    anna.post(MORE, named(anna.get(MORE).text) | {"stop_mails": "off", "mode": "test"})
    page = anna.get("/").text
    assert stopped not in page and "2 Shops sind im Testbetrieb" in page
    put(merchant, "mode", "live", shop)
    assert f"Anderer {test}" in anna.get("/").text


# --- two persons ----------------------------------------------------------------------------------


@pytest.mark.feature("N21")
def test_a_risky_change_waits_for_a_second_person(merchant, anna, bert):
    put(merchant, "approve_changes", "on")
    answer = anna.post(PREPAYMENT, named(anna.get(PREPAYMENT).text) | {"prepayment.reminders": "3"})
    page = words_of(anna.get(answer.location))
    assert "gilt erst, wenn eine zweite Person zustimmt" in page
    assert "Eine Änderung wartet auf eine zweite Person" in page and "Zurückziehen" in page
    assert settings_of(merchant.id).prepayment.reminders == 1
    (row,) = waiting_changes(merchant.id)
    decide = {"change": str(row.id), "agrees": "yes"}
    assert anna.post("/settings/changes/decide", decide).status_code == 403
    assert "Zustimmen" in words_of(bert.get("/settings/changes"))
    answer = bert.post("/settings/changes/decide", decide)
    assert "Zugestimmt" in bert.get(answer.location).text
    assert settings_of(merchant.id).prepayment.reminders == 3
    said = words_of(bert.get("/settings/changes"))
    assert "Vorkasse: Zahl der Erinnerungen: Vorgabe → 3" in said
    assert f"{ANNA} · bestätigt von {BERT}" in said
    again = bert.post("/settings/changes/decide", decide)
    assert "schon entschieden" in bert.get(again.location).text


@pytest.mark.feature("N21")
def test_a_refused_change_never_counts(merchant, anna, bert):
    put(merchant, "approve_changes", "on")
    anna.post(INVOICE, named(anna.get(INVOICE).text) | {"invoice.collect_after_days": "90"})
    (row,) = waiting_changes(merchant.id)
    bert.post("/settings/changes/decide", {"change": str(row.id), "agrees": "no"})
    assert settings_of(merchant.id).invoice.collect_after_days == 0
    assert waiting_changes(merchant.id) == []


@pytest.mark.feature("K22", "N21")
def test_what_is_agreed_to_has_its_effect_at_once(merchant, shop, anna, bert):
    put(merchant, "approve_changes", "on")
    put(merchant, "stop_mails", "on")
    order = make_order(shop)
    (mail,) = db.session.query(Mail).filter_by(order_id=order.id, kind="payment_information")
    mail.status, mail.error = "withheld", "all mails to customers are stopped"
    row = SettingChange(merchant_id=merchant.id, name="stop_mails", value=False,
                        changed_at=AT, changed_by=ANNA, waits=True)  # fmt: skip
    db.session.add(row)
    db.session.commit()
    bert.post("/settings/changes/decide", {"change": str(row.id), "agrees": "yes"})
    assert mail.status == "queued"


def test_a_change_of_others_is_not_to_be_decided_here(app, merchant, anna):
    other = make_merchant("Bobs Laden")
    row = SettingChange(merchant_id=other.id, name="stop_mails", value=True, waits=True)
    db.session.add(row)
    db.session.commit()
    for wrong in (str(row.id), "", "x", "9" * 30):
        answer = anna.post("/settings/changes/decide", {"change": wrong, "agrees": "yes"})
        assert answer.status_code == 303
    assert row.decided_at is None


def test_the_log_is_narrowed_to_one_setting(merchant, shop, anna):
    put(merchant, "tolerance_cents", "5")
    put(merchant, "tolerance_cents", "7", shop)
    put(merchant, "run_hour", "11")
    said = words_of(anna.get("/settings/changes?name=tolerance_cents"))
    assert "Erlaubte Abweichung (Papier &amp; Feder) : Vorgabe → 7 Cent" in said
    assert "→ 11 Uhr" not in said
    assert "→ 11 Uhr" in words_of(anna.get("/settings/changes?name=nonsense"))


# --- the file -------------------------------------------------------------------------------------


def upload(anna, text: str | bytes):
    content = text.encode() if isinstance(text, str) else text
    form = {"file": (io.BytesIO(content), "settings.toml")}
    return anna.post(FILE, form, content_type="multipart/form-data")


def confirmation(page: str) -> dict[str, str]:
    from html import unescape

    found = dict(re.findall(r'name="(seen|text)" value="([^"]*)"', page))
    return {name: unescape(value) for name, value in found.items()}


@pytest.mark.feature("N21")
def test_a_file_is_downloaded_shown_as_a_difference_and_applied_after_a_click(merchant, shop, anna):
    put(merchant, "tolerance_cents", "5")
    put(merchant, "prepayment.reminders", "2", shop)
    answer = anna.get(f"{FILE}/download")
    assert answer.mimetype == "text/plain"
    assert "attachment; filename=" in answer.headers["Content-Disposition"]
    text = answer.text
    assert "Die Datei sagt, was schon gilt." in upload(anna, text).text
    text = text.replace("tolerance_cents = 5", "tolerance_cents = 50").replace(
        "# run_hour = 9", "run_hour = 11"
    )
    before = changes()
    shown = upload(anna, text.replace("reminders = 2  #", "# reminders = 2  #"))
    said = words_of(shown)
    assert "3 Unterschiede" in said and "Erlaubte Abweichung Alle Shops 5 Cent 50 Cent" in said
    assert "Vorkasse: Zahl der Erinnerungen Papier &amp; Feder 2 Vorgabe (1)" in said
    assert "Alle Shops Vorgabe (9 Uhr) 11 Uhr" in said
    assert changes() == before
    answer = anna.post(f"{FILE}/apply", confirmation(shown.text))
    assert "3 Änderungen übernommen." in anna.get(answer.location).text
    now_set = settings_of(merchant.id)
    assert (now_set.tolerance_cents, now_set.run_hour) == (50, 11)
    assert set_values(merchant.id, shop.id) == {}
    assert ANNA in words_of(anna.get("/settings/changes?name=run_hour"))


@pytest.mark.feature("N21")
def test_what_changed_meanwhile_is_shown_again_before_anything_is_applied(merchant, anna):
    shown = upload(anna, "version = 1\n[general]\nrun_hour = 11\n")
    put(merchant, "tolerance_cents", "5")
    answer = anna.post(f"{FILE}/apply", confirmation(shown.text))
    assert answer.status_code == 409 and "Inzwischen hat jemand etwas geändert" in answer.text
    assert settings_of(merchant.id).run_hour == 9
    anna.post(f"{FILE}/apply", confirmation(answer.text))
    assert settings_of(merchant.id).run_hour == 11


@pytest.mark.feature("N21")
def test_a_wrong_file_names_its_lines_and_changes_nothing(merchant, anna):
    answer = upload(anna, "version = 1\n[general]\nrun_hour = 99\nnonsense = 1\n[[shop]]\nid = 1\n")
    said = words_of(answer)
    assert answer.status_code == 422 and changes() == 0
    assert "Zeile 3: „99“ ist kein Wert für run_hour." in said
    assert "Zeile 4: Eine Einstellung „nonsense“ gibt es nicht." in said
    assert "Zeile 5: Den Shop „1“ gibt es hier nicht." in said
    assert "größer als 256 kB" in upload(anna, b"#" * 256_001).text
    assert "Wählen Sie eine Datei" in anna.post(FILE).text
    forged = {"text": "version = 9", "seen": ""}
    assert anna.post(f"{FILE}/apply", forged).status_code == 422


@pytest.mark.feature("N21")
def test_a_file_is_judged_by_the_second_person_too(merchant, anna, bert):
    put(merchant, "approve_changes", "on")
    shown = upload(anna, "version = 1\n[general]\napprove_changes = false\nstop_mails = true\n")
    assert shown.text.count("wartet auf eine zweite Person") == 1
    answer = anna.post(f"{FILE}/apply", confirmation(shown.text))
    assert "done=settings_wait" in answer.location
    assert settings_of(merchant.id).approve_changes is True
    assert settings_of(merchant.id).stop_mails is True


@pytest.mark.feature("N21")
def test_the_file_holds_nothing_of_other_merchants_and_names_no_secret(merchant, shop, anna):
    other = make_merchant("Bobs Laden")
    make_shop(other, "Bobs Shop")
    put(other, "tolerance_cents", "77")
    text = anna.get(f"{FILE}/download").text
    assert "Bobs" not in text and "tolerance_cents = 77" not in text
    for secret in ("kontor_", "password", "secret", "DE02"):
        assert secret not in text
