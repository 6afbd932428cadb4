"""Reminders: may they go out, what is due, runs that wait, runs of the past, the days ahead."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from sqlalchemy import event, func, select

from server.dashboard import dunning as dunning_pages
from server.dashboard import dunning_coming, dunning_queries, order_queries
from server.dashboard.dunning_lines import KINDS
from server.dashboard.words import has_text
from server.db import db
from server.dunning import runs
from server.dunning.circumstances import HARMLESS
from server.dunning.models import DunningRun
from server.dunning.rules import StepKind
from server.mail.models import Mail
from server.merchants.service import change_setting
from server.orders.brakes import STOPPED
from server.orders.models import Reminder, Suggestion
from tests.factories import make_merchant, make_order, make_posting, make_shop
from tests.server.dashboard.test_order_pages import words
from tests.server.dashboard.visitor import member
from tests.server.mail.rows import sent_mail

ACTOR = "anna@example.org"
MONDAY = datetime(2026, 3, 16, 9, 0, tzinfo=UTC)
"""A good day for reminders, two weeks after the orders of the factories."""


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """The pages look at Monday."""
    for name in ("dunning", "dunning_coming", "dunning_preview"):
        monkeypatch.setattr(f"server.dashboard.{name}.now", lambda: MONDAY)


@pytest.fixture
def merchant(app):
    return make_merchant()


@pytest.fixture
def shop(merchant):
    return make_shop(merchant)


@pytest.fixture
def anna(app, merchant):
    return member(app, merchant)


def hear_bank(merchant, at=MONDAY) -> None:
    """Something came from the bank, and it was looked at."""
    make_posting(merchant, "1.00", "Kaffee", created_at=at, is_open=False, needs_match=False)


def set_to(merchant, name: str, value: str, shop=None) -> None:
    shop_id = shop.id if shop else None
    change_setting(merchant.id, name, value, actor=ACTOR, at=MONDAY, shop_id=shop_id)
    db.session.commit()


def work(run: DunningRun, at=MONDAY) -> None:
    """As the worker does."""
    run.status = "running"
    while runs.step(run, at):
        db.session.commit()
    db.session.commit()


def make_run(merchant, **over) -> DunningRun:
    values = {"run_date": MONDAY.date(), "origin": "person", "status": "done", "created_at": MONDAY}
    row = DunningRun(merchant_id=merchant.id, **(values | over))
    db.session.add(row)
    db.session.commit()
    return row


def reminders() -> int:
    return int(db.session.scalar(select(func.count()).select_from(Reminder)) or 0)


# --- now --------------------------------------------------------------------------------------


def test_without_orders_the_page_says_that_nothing_is_due(merchant, shop, anna):
    hear_bank(merchant)
    page = words(anna.get("/dunning"))
    assert "Mahnungen dürfen hinaus." in page and "Nichts ist fällig" in page
    assert "Noch kein Mahnlauf." in page


@pytest.mark.feature("S84", "S63")
def test_what_is_due_is_shown_before_it_is_done(merchant, shop, anna):
    hear_bank(merchant)
    order = make_order(shop, total="33.00")
    make_order(shop, ordered_at="2026-03-15T10:00:00+00:00", at=MONDAY)
    page = anna.get("/dunning")
    text = words(page)
    assert f"{order.number} Erika Mustermann" in text and "33,00 €" in text
    assert "1 Mahnung" in text and "1 Schritt jetzt ausführen" in text
    assert "9.3.2026" in page.text or "9.3." in page.text  # a week after the order, Sunday out
    assert f'href="/dunning/preview/{order.id}"' in page.text
    assert reminders() == 0


@pytest.mark.feature("S84")
def test_a_run_by_hand_does_what_was_shown_and_twice_is_as_good_as_once(merchant, shop, anna):
    hear_bank(merchant)
    order = make_order(shop)
    answer = anna.post("/dunning/run")
    run = db.session.query(DunningRun).one()
    assert answer.location.startswith(f"/dunning/runs/{run.id}")
    assert (run.actor, run.origin, run.status) == (ACTOR, "person", "queued")
    assert anna.post("/dunning/run").location == answer.location
    assert db.session.query(DunningRun).count() == 1
    assert "Ein Mahnlauf ist unterwegs." in words(anna.get("/dunning"))
    work(run)
    assert reminders() == 1
    page = words(anna.get(f"/dunning/runs/{run.id}"))
    assert f"{order.number} Erika Mustermann Zahlungserinnerung" in page
    assert "Fertig" in page and f"Begonnen von {ACTOR}" in page and "1 Mahnung" in page
    anna.post("/dunning/run")
    work(db.session.query(DunningRun).order_by(DunningRun.id.desc()).first())
    assert reminders() == 1
    assert "Nichts ist fällig" in words(anna.get("/dunning"))


@pytest.mark.feature("K29")
def test_cash_on_delivery_is_asked_about_and_overdue_not_cancelled(merchant, shop, anna):
    hear_bank(merchant)
    set_to(merchant, "cash_on_delivery.ask_unpaid_after_days", "5")
    order = make_order(shop, payment_method="cod", shop_status="processing")
    page = words(anna.get("/dunning"))
    assert f"{order.number} Erika Mustermann Nachfrage zur Nachnahme" in page
    assert "1 Nachfrage" in page
    assert order.number in words(anna.get(f"/dunning/preview/{order.id}"))
    set_to(merchant, "cash_on_delivery.ask_unpaid_after_days", "0")
    set_to(merchant, "cash_on_delivery.cancel_after_days", "5")
    page = anna.get("/dunning")
    assert f"{order.number} Erika Mustermann Als überfällig markieren" in words(page)
    assert f"/dunning/preview/{order.id}" not in page.text  # the customer is told nothing


@pytest.mark.feature("S46")
def test_later_levels_are_called_notices(merchant, shop, anna):
    hear_bank(merchant)
    set_to(merchant, "prepayment.reminders", "2")
    make_order(shop)
    run = make_run(merchant, status="queued")
    work(run, MONDAY - timedelta(days=7))
    for mail in db.session.query(Mail).filter_by(kind="reminder"):
        mail.succeed(MONDAY - timedelta(days=7))
    db.session.commit()
    assert "1. Mahnung" in words(anna.get("/dunning"))


@pytest.mark.feature("S68", "N4")
@pytest.mark.parametrize(("why", "reached"), [(STOPPED, {1}), ("the order was paid", set())])
def test_a_level_that_only_the_stop_of_all_mails_holds_is_shown(merchant, shop, why, reached):
    """It charges, and goes out when mails may go out again."""
    order = make_order(shop)
    mail = sent_mail(merchant.id, "reminder", order_id=order.id, status="withheld", error=why)
    db.session.add(
        Reminder(
            merchant_id=merchant.id, order_id=order.id, level=1, sent_on=MONDAY.date(),
            fee=0, interest=0, mail_id=mail.id, created_at=MONDAY,
        )
    )  # fmt: skip
    db.session.commit()
    rows = order_queries.reminders_of(merchant.id, order.id)
    assert {row.level for row, _ in rows} == reached
    assert set(order_queries.levels(merchant.id, [order.id]).values()) == reached


def test_before_there_is_a_shop_nothing_is_wrong(app):
    dora = member(app, make_merchant("Doras Drucke"), "dora@example.org")
    page = words(dora.get("/dunning"))
    assert "Nichts ist fällig" in page and "geht keine Mahnung hinaus" not in page


@pytest.mark.feature("N5")
def test_old_bank_data_holds_reminders_back_and_the_page_says_since_when(merchant, shop, anna):
    hear_bank(merchant, MONDAY - timedelta(days=10))
    order = make_order(shop)
    page = words(anna.get("/dunning"))
    assert "Zurzeit geht keine Mahnung hinaus:" in page
    assert re.search(r"Bankdaten vom 6\.3\.[^,]*, 10:00, älter als 72 Stunden an Banktagen", page)
    assert "1 zurückgehalten" in page and "1 × Bankdaten zu alt" in page and order.number in page
    assert "Trotzdem nachsehen" in page


@pytest.mark.feature("N5")
def test_a_merchant_without_bank_data_reads_that_there_is_none(merchant, shop, anna):
    assert "Es gibt noch keine Bankdaten." in words(anna.get("/dunning"))
    bare = make_merchant("Claras Comics", account=False)
    make_shop(bare)
    clara = member(anna.client.application, bare, "clara@example.org")
    assert "Es gibt kein Bankkonto" in words(clara.get("/dunning"))


@pytest.mark.feature("N5")
def test_a_shop_that_is_away_holds_back_its_own_orders_only(merchant, shop, anna):
    hear_bank(merchant)
    silent = make_shop(merchant, "Antiquariat", connector="woocommerce")
    make_shop(merchant, "Comics", status="error", error="500", error_since=MONDAY)
    mine, theirs = make_order(shop), make_order(silent)
    page = words(anna.get("/dunning"))
    assert "Nicht alle Mahnungen gehen hinaus:" in page
    assert "Antiquariat hat sich seit 2.3." in page and "Comics meldet einen Fehler." in page
    due, held = page.split("1 zurückgehalten")
    assert mine.number in due and theirs.number not in due
    assert theirs.number in held and "Shop nicht erreichbar" in held


@pytest.mark.feature("N5")
def test_money_that_looks_like_the_orders_holds_its_reminder_back(merchant, shop, anna):
    hear_bank(merchant)
    order = make_order(shop)
    posting = make_posting(merchant, "19.90", "Bücher", needs_match=False, created_at=MONDAY)
    db.session.add(
        Suggestion(
            merchant_id=merchant.id,
            posting_id=posting.id,
            rank=0,
            orders=[{"order_id": order.id, "amount": "19.90"}],
            probability="0.4",
        )
    )
    db.session.commit()
    assert "ein Umsatz sieht nach dieser Zahlung aus" in words(anna.get("/dunning"))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("stop_mails", "on", "E-Mails an die Kundschaft sind gestoppt."),
        ("assignment", "shadow", "Probelauf: Kontor sieht nur zu"),
    ],
)
def test_brakes_are_said_in_words_with_the_way_to_them(merchant, shop, anna, name, value, said):
    hear_bank(merchant)
    make_order(shop)
    set_to(merchant, name, value)
    page = words(anna.get("/dunning"))
    assert said in page and "Zurzeit geht keine Mahnung hinaus:" in page


def test_the_next_run_is_today_until_it_has_been_then_tomorrow(merchant, shop, anna):
    set_to(merchant, "run_hour", "14")
    assert re.search(r"Nächster Lauf: 16\.3\.\S*, 14:00", words(anna.get("/dunning")))
    make_run(merchant, origin="daily")
    assert re.search(r"Nächster Lauf: 17\.3\.\S*, 14:00", words(anna.get("/dunning")))


def test_of_many_the_first_are_shown_and_all_counted(merchant, shop, anna, monkeypatch):
    monkeypatch.setattr(dunning_pages, "DUE_SHOWN", 2)
    hear_bank(merchant)
    for _ in range(3):
        make_order(shop)
    page = words(anna.get("/dunning"))
    assert "Gezeigt sind die ersten 2 von 3." in page and "3 Mahnungen" in page


def test_the_number_of_queries_does_not_grow_with_the_orders(merchant, shop, anna):
    hear_bank(merchant)

    def count() -> int:
        seen: list[str] = []
        listen = lambda *args: seen.append(args[2])  # noqa: E731
        event.listen(db.engine, "before_cursor_execute", listen)
        try:
            assert anna.get("/dunning").status_code == 200
        finally:
            event.remove(db.engine, "before_cursor_execute", listen)
        return len(seen)

    make_order(shop)
    few = count()
    for _ in range(6):
        make_order(shop)
    assert count() == few


def test_everything_that_holds_a_run_back_has_a_text():
    reasons = {*HARMLESS, "stopped", "shadow"}
    assert {one for one in reasons if not has_text(f"dunning.why_{one}")} == set()
    assert {one for one in KINDS if not has_text(f"dunning.did_{one}")} == set()
    assert set(KINDS) == set(get_args(StepKind))


# --- a mail before it is sent -----------------------------------------------------------------


@pytest.mark.feature("S84")
def test_a_mail_is_looked_at_before_it_is_sent_and_nothing_is_stored(merchant, shop, anna):
    order = make_order(shop, total="33.00")
    mails = db.session.query(Mail).count()
    page = anna.get(f"/dunning/preview/{order.id}")
    assert "Gesendet ist sie noch nicht." in words(page) and order.number in words(page)
    content = anna.get(f"/dunning/preview/{order.id}/content")
    assert "sandbox" in content.headers["Content-Security-Policy"]
    assert "33,00" in content.text and order.payment_reference in content.text
    db.session.expire_all()
    assert (reminders(), db.session.query(Mail).count()) == (0, mails)


def test_where_no_mail_is_due_there_is_none_to_look_at(merchant, shop, anna):
    order = make_order(shop)
    order.reminders_blocked_at = MONDAY
    db.session.commit()
    assert "steht gerade keine E-Mail an" in words(anna.get(f"/dunning/preview/{order.id}"))
    assert anna.get(f"/dunning/preview/{order.id}/content").status_code == 404


# --- a run that waits -------------------------------------------------------------------------


@pytest.fixture
def waiting(merchant, shop, monkeypatch) -> DunningRun:
    """A run that would send far more than usual."""
    monkeypatch.setattr(runs, "FREE_MAILS", 2)
    hear_bank(merchant)
    for _ in range(3):
        make_order(shop)
    run = make_run(merchant, status="queued", origin="daily")
    work(run)
    assert run.status == "withheld"
    return run


@pytest.mark.feature("S84")
def test_a_run_that_waits_shows_what_it_would_send_and_is_released(merchant, waiting, anna):
    page = anna.get(f"/dunning/runs/{waiting.id}")
    text = words(page)
    assert "Dieser Lauf würde weit mehr E-Mails senden als sonst." in text
    assert "3 Schritte stehen bevor" in text and "3 Mahnungen" in text
    assert page.text.count("/dunning/preview/") == 3
    assert "Ein Mahnlauf wartet auf Ihre Freigabe." in words(anna.get("/dunning"))
    answer = anna.post(f"/dunning/runs/{waiting.id}/release")
    assert answer.location.endswith("done=run_released")
    db.session.refresh(waiting)
    assert (waiting.status, waiting.released_by) == ("queued", ACTOR)
    work(waiting)
    assert (waiting.status, reminders()) == ("done", 3)
    assert f"Freigegeben von {ACTOR}" in words(anna.get(f"/dunning/runs/{waiting.id}"))


@pytest.mark.feature("S84")
def test_a_run_that_is_discarded_sends_nothing_and_cannot_be_released(merchant, waiting, anna):
    answer = anna.post(f"/dunning/runs/{waiting.id}/discard")
    assert answer.location.endswith("done=run_discarded")
    page = words(anna.get(answer.location))
    assert "Verworfen. Es wurde nichts gesendet." in page and "Freigeben" not in page
    answer = anna.post(f"/dunning/runs/{waiting.id}/release")
    assert answer.location.endswith("done=run_decided_already")
    db.session.refresh(waiting)
    assert (waiting.status, reminders()) == ("withheld", 0)
    assert "3 Mahnungen" in words(anna.get("/dunning"))


def test_a_run_of_another_merchant_is_not_there(app, waiting):
    bob = member(app, make_merchant("Bobs Laden"), "bob@example.org")
    assert bob.get(f"/dunning/runs/{waiting.id}").status_code == 404
    for decision in ("release", "discard"):
        assert bob.post(f"/dunning/runs/{waiting.id}/{decision}").status_code == 404
    assert "Mahnlauf vom" not in words(bob.get("/dunning/runs"))
    db.session.refresh(waiting)
    assert waiting.released_by is None


# --- runs of the past -------------------------------------------------------------------------


@pytest.mark.feature("S84", "N5")
def test_past_runs_say_who_what_and_what_was_held_back(merchant, shop, anna):
    make_run(
        merchant,
        origin="daily",
        did={"reminder": 12, "cancel": 1},
        hindered={"stale_bank": 3, "maybe_paid": 1},
        looked_at=1200,
        finished_at=MONDAY + timedelta(seconds=7),
    )
    make_run(merchant, status="failed", error="unexpected", finished_at=MONDAY, actor=ACTOR)
    page = words(anna.get("/dunning/runs"))
    for said in (
        "von selbst",
        ACTOR,
        "12 Mahnungen",
        "1 storniert oder überfällig",
        "3 × Bankdaten zu alt",
        "1 × ein Umsatz sieht nach dieser Zahlung aus",
        "7 s",
        "Gescheitert",
    ):
        assert said in page, said


@pytest.mark.feature("S50")
def test_a_run_names_the_orders_that_it_cancelled(merchant, shop, anna):
    hear_bank(merchant)
    set_to(merchant, "prepayment.reminders", "0")
    set_to(merchant, "prepayment.cancel_after_days", "10")
    order = make_order(shop)
    assert "Stornieren" in words(anna.get("/dunning"))
    anna.post("/dunning/run")
    run = db.session.query(DunningRun).one()
    work(run)
    page = words(anna.get(f"/dunning/runs/{run.id}"))
    assert f"Beendete Bestellungen {order.number} Storniert" in page


def test_older_runs_are_a_page_further(merchant, anna, monkeypatch):
    monkeypatch.setattr(dunning_queries, "RUNS_SHOWN", 2)
    rows = [make_run(merchant) for _ in range(3)]
    page = anna.get("/dunning/runs").text
    older = re.search(r'href="(/dunning/runs\?before=\d+)"', page)
    assert older and f"/dunning/runs/{rows[0].id}" not in page
    page = anna.get(older[1]).text
    assert f"/dunning/runs/{rows[0].id}" in page and f"/dunning/runs/{rows[2].id}" not in page


# --- the days ahead ---------------------------------------------------------------------------


@pytest.mark.feature("S63")
def test_the_days_ahead_are_drawn_and_counted(merchant, shop, anna):
    set_to(merchant, "prepayment.cancel_after_days", "10")
    for _ in range(2):
        make_order(shop, ordered_at="2026-03-15T10:00:00+00:00", at=MONDAY)
    page = anna.get("/dunning/coming")
    assert page.text.count('<rect class="bar-as" x=') == 1
    assert page.text.count('<rect class="bar-end" x=') == 1
    text = words(page)
    assert "2 E-Mails, 2 Bestellungen enden" in text
    assert re.search(r"23\.3\.\S* 2 – ", text), text  # a Sunday, so the Monday after it
    assert "Mahnungen Storno, überfällig" in text and "Summe 2 2" in text


def test_of_too_many_orders_the_oldest_are_counted_and_the_page_says_so(
    merchant, shop, anna, monkeypatch
):
    monkeypatch.setattr(dunning_coming, "MOST_ORDERS", 2)
    for _ in range(3):
        make_order(shop, ordered_at="2026-03-15T10:00:00+00:00", at=MONDAY)
    page = words(anna.get("/dunning/coming"))
    assert "Angesehen sind nur die 2 ältesten offenen Bestellungen." in page
    assert "Summe 2" in page


def test_without_anything_to_come_the_page_says_so(merchant, shop, anna):
    assert "In den nächsten 14 Tagen kommt nichts" in words(anna.get("/dunning/coming"))


@pytest.mark.parametrize(
    ("count", "top"),
    [(0, 4), (4, 4), (5, 8), (13, 20), (99, 120), (101, 120), (121, 200), (1201, 2000)],
)
def test_the_lines_of_the_drawing_are_whole_numbers(count, top):
    assert dunning_coming._round_up(count) == top
