"""One order: what may be done with it, what comes next, what the customer says, its history."""

from __future__ import annotations

import re
from datetime import date, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select

from server.db import db, now
from server.dunning.calendar import Calendar
from server.dunning.fees import half_year_of
from server.dunning.models import BaseRate
from server.dunning.service import send_reminder
from server.mail.languages import money
from server.mail.models import Mail
from server.merchants.models import User
from server.merchants.service import change_setting
from server.orders import claims, lifecycle, service
from server.orders.models import Order, OrderEvent, Reminder
from server.shops.models import OrderRequest, PaymentUpdate
from tests.factories import AT, make_merchant, make_order, make_posting, make_shop, today
from tests.server.dashboard.test_order_pages import words
from tests.server.dashboard.visitor import member

ANNA = "anna@example.org"


@pytest.fixture
def merchant(app):
    return make_merchant()


@pytest.fixture
def shop(merchant):
    return make_shop(merchant)


@pytest.fixture
def anna(app, merchant):
    return member(app, merchant)


@pytest.fixture
def workday(monkeypatch):
    """Now, or the next day on which reminders go out: on Sundays nothing is due."""
    days = (now() + timedelta(days=number) for number in range(8))
    good = Calendar("DE", saturdays=False)
    day = next(one for one in days if good.is_good_day(one.date()))
    for module in ("order_actions", "order_detail"):
        monkeypatch.setattr(f"server.dashboard.{module}.now", lambda: day)
    return day


@pytest.fixture
def fresh_bank(merchant):
    """The bank was heard today, so reminders may go out."""
    return make_posting(merchant, "0.01", "anything", booking_date=today(), needs_match=False)


def recent(shop, *, days=1, **over) -> Order:
    at = now() - timedelta(days=days)
    return make_order(shop, at=at, ordered_at=at.isoformat(), **over)


def invoice(shop, **over) -> Order:
    values = {"payment_method": "invoice", "shop_status": "processing"}
    return recent(shop, **(values | over))


def ordered_set(merchant, **values: str) -> None:
    for name, typed in values.items():
        change_setting(merchant.id, name.replace("__", "."), typed, actor=ANNA, at=now())
    db.session.commit()


def menu(answer) -> list[str]:
    """The entries of the menu of actions, in their order."""
    found = re.search(r'<details class="menu actions">.*?</details>', answer.text, re.DOTALL)
    assert found, "the order has a menu"
    return [
        re.sub(r"<[^>]*>", "", one).strip()
        for one in re.findall(r"<(?:a|button)[ >][^>]*>?(.*?)</(?:a|button)>", found[0], re.DOTALL)
    ]


def kinds(order: Order) -> list[str]:
    query = select(OrderEvent.kind).where(OrderEvent.order_id == order.id)
    return list(db.session.scalars(query.order_by(OrderEvent.id)))


def refreshed(order: Order) -> Order:
    db.session.refresh(order)
    return order


# --- the menu ---------------------------------------------------------------------------------


@pytest.mark.feature("S56", "S81", "K4")
def test_only_what_fits_type_and_status_is_offered(merchant, shop, anna):
    prepaid, bought = recent(shop), invoice(shop)
    of_prepaid = menu(anna.get(f"/orders/{prepaid.id}"))
    assert "Stornieren …" in of_prepaid and "An Inkasso übergeben …" not in of_prepaid
    assert "Zahlungserinnerung jetzt senden …" in of_prepaid
    assert "Fälligkeitsdatum ändern …" in of_prepaid
    of_bought = menu(anna.get(f"/orders/{bought.id}"))
    assert "Als überfällig markieren …" in of_bought and "An Inkasso übergeben …" in of_bought
    assert "Rechnungsdatum ändern …" in of_bought
    service.mark_as_paid(merchant.id, prepaid.id, actor="x", at=now())
    db.session.commit()
    of_paid = menu(anna.get(f"/orders/{prepaid.id}"))
    assert "Als unbezahlt markieren …" in of_paid
    assert not {"Stornieren …", "Als bezahlt markieren …"} & set(of_paid)


def test_cash_on_delivery_is_not_reminded_of_a_transfer(shop, anna):
    order = recent(shop, payment_method="cod", shop_status="processing")
    assert not [one for one in menu(anna.get(f"/orders/{order.id}")) if "jetzt senden" in one]


@pytest.mark.feature("S81")
def test_cancelled_after_a_question_and_taken_back_without(shop, anna):
    order = recent(shop)
    asked = words(anna.get(f"/orders/{order.id}/cancel"))
    assert f"{order.number} stornieren?" in asked and "an Laden" in asked
    answer = anna.post(f"/orders/{order.id}/cancel")
    assert answer.location == f"/orders/{order.id}?done=cancel"
    assert refreshed(order).payment_status == "cancelled"
    shown = anna.get(answer.location)
    assert "Storniert" in words(shown) and "Stornierung zurücknehmen" in menu(shown)
    again = anna.post(f"/orders/{order.id}/cancel")
    assert again.status_code == 409 and "passt nicht zu" in again.text
    anna.post(f"/orders/{order.id}/reopen")
    assert refreshed(order).payment_status == "unpaid"
    assert kinds(order) == ["cancelled", "status_changed", "reopened", "status_changed"]


@pytest.mark.feature("S81", "K4", "K6", "S79", "S64")
def test_overdue_then_collection_and_back(shop, anna):
    order = invoice(shop)
    assert "als überfällig markieren?" in words(anna.get(f"/orders/{order.id}/cancel"))
    anna.post(f"/orders/{order.id}/cancel")
    assert "Überfällig" in words(anna.get(f"/orders/{order.id}"))
    anna.post(f"/orders/{order.id}/hand-to-collection", {"anyway": "yes"})
    page = anna.get(f"/orders/{order.id}")
    assert refreshed(order).payment_status == "collection"
    assert "An Inkasso übergeben." in words(page) and "Inkasso" in words(page)
    anna.post(f"/orders/{order.id}/take-from-collection")
    assert refreshed(order).payment_status == "cancelled"


@pytest.mark.feature("S82")
def test_blocked_reminders_are_seen_and_allowed_again(shop, anna):
    order = recent(shop)
    assert anna.post(f"/orders/{order.id}/block-reminders").status_code == 303
    page = anna.get(f"/orders/{order.id}")
    assert "Mahnsperre" in words(page) and "Mahnsperre aufheben" in menu(page)
    assert "Von selbst kommt nichts: Mahnsperre." in words(page)
    anna.post(f"/orders/{order.id}/allow-reminders")
    assert refreshed(order).reminders_blocked_at is None


@pytest.mark.feature("K2")
def test_marked_as_unpaid_everything_booked_is_taken_back(merchant, shop, anna):
    order = recent(shop)
    posting = make_posting(merchant, "19.90", order.number)
    service.assign(merchant.id, posting.id, [(order.id, posting.amount)], actor="x", at=now())
    db.session.commit()
    assert "als unbezahlt markieren?" in words(anna.get(f"/orders/{order.id}/mark-as-unpaid"))
    anna.post(f"/orders/{order.id}/mark-as-unpaid")
    assert refreshed(order).payment_status == "unpaid"
    db.session.refresh(posting)
    assert posting.is_open


@pytest.mark.feature("S76")
def test_the_payment_information_is_sent_again(shop, anna):
    order = recent(shop)
    before = db.session.query(Mail).count()
    anna.post(f"/orders/{order.id}/send-payment-information")
    assert db.session.query(Mail).filter_by(kind="payment_information").count() == before + 1
    page = words(anna.get(f"/orders/{order.id}?show=mails"))
    assert "Zahlungsinformation erneut gesendet." in page and ANNA in page


@pytest.mark.feature("S74")
def test_the_shop_is_asked_for_the_order_and_its_answer_is_told(shop, anna):
    order = recent(shop)
    anna.post(f"/orders/{order.id}/read-again")
    request = db.session.scalars(select(OrderRequest)).one()
    assert (request.external_id, request.asked_by) == (order.external_id, ANNA)
    assert "Der Shop wird nach der Bestellung gefragt." in words(anna.get(f"/orders/{order.id}"))
    request.outcome = "trashed"
    request.succeed(now())
    db.session.commit()
    assert "liegt die Bestellung im Papierkorb" in words(anna.get(f"/orders/{order.id}"))


@pytest.mark.feature("S29", "K8")
def test_an_order_is_left_alone_and_taken_up_again(shop, anna):
    order = recent(shop)
    anna.post(f"/orders/{order.id}/stop-managing")
    assert refreshed(order).payment_status == "not_managed"
    page = anna.get(f"/orders/{order.id}")
    assert "In die Verwaltung nehmen …" in menu(page) and "nicht verwaltet" in words(page)
    anna.post(f"/orders/{order.id}/take-over")
    assert refreshed(order).payment_status == "unpaid"


# --- reminders --------------------------------------------------------------------------------


@pytest.mark.feature("S63")
def test_what_comes_next_is_shown_with_its_earliest_day(merchant, shop, anna, fresh_bank):
    ordered_set(merchant, prepayment__cancel_after_days="30")
    order = recent(shop, days=2)
    page = words(anna.get(f"/orders/{order.id}"))
    assert "Nächste Schritte frühestens Zahlungserinnerung" in page
    assert re.search(r"Stornieren \d+\. \w+ 20\d\d Es kann einige Tage später werden", page)
    assert "Inkasso" not in page, "shown only where the function is active"
    ordered_set(merchant, invoice__collect_after_days="60")
    numbered = invoice(shop, invoices=[{"number": "R-1001"}])
    assert "Ins Inkasso geben" in words(anna.get(f"/orders/{numbered.id}"))


@pytest.mark.feature("S63")
def test_why_nothing_comes_is_said(shop, anna, workday):
    order = recent(shop, days=30)
    assert "Bankdaten zu alt" in words(anna.get(f"/orders/{order.id}"))
    silent = recent(shop, customer={"language": "de"})
    assert "keine E-Mail-Adresse" in words(anna.get(f"/orders/{silent.id}"))


@pytest.mark.feature("S83", "S68")
def test_a_reminder_by_hand_is_named_with_its_fee_and_listed(merchant, shop, anna, fresh_bank):
    ordered_set(
        merchant,
        invoice__charge_fees="on",
        invoice__fee_rule="own",
        invoice__fee_1="1.50 EUR",
        invoice__claim_fees="on",
    )
    order = invoice(shop, days=3)
    asked = words(anna.get(f"/orders/{order.id}/send-reminder"))
    assert f"Zahlungserinnerung für {order.number} senden?" in asked and "1,50 €" in asked
    answer = anna.post(f"/orders/{order.id}/send-reminder")
    assert answer.location == f"/orders/{order.id}?done=send_reminder"
    mail = db.session.query(Mail).filter_by(kind="reminder", order_id=order.id).one()
    page = anna.get(f"/orders/{order.id}")
    assert "Mahngebühren 1,50 € werden mit eingefordert" in words(page)
    assert "Noch offen 21,40 €" in words(page)
    table = page.text.split('<h2 id="reminders">')[1].split("</table>")[0]
    assert "Zahlungserinnerung" in table and f"/mails/{mail.id}" in table
    assert "1. Mahnung jetzt senden …" in menu(page)
    export = anna.get("/orders/export.csv?period=all").text.splitlines()[1].split(";")
    assert export[-3:] == ["1", "1,50", order.payment_reference]


@pytest.mark.feature("S68", "K28")
@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("de", "1,50 € E-Mail kam nicht an, Gebühr nicht berechnet"),
        ("en", "€1.50 e-mail did not arrive, fee not charged"),
    ],
)
def test_the_fee_of_a_reminder_that_did_not_arrive_is_listed_as_not_charged(
    merchant, shop, anna, fresh_bank, language, said
):
    fees = {"invoice__fee_rule": "own", "invoice__fee_1": "1.50 EUR"}
    ordered_set(merchant, invoice__charge_fees="on", **fees)
    order = invoice(shop, days=3)
    anna.post(f"/orders/{order.id}/send-reminder")
    db.session.query(User).one().language = language
    mail = db.session.query(Mail).filter_by(kind="reminder", order_id=order.id).one()
    mail.succeed(now())
    db.session.commit()
    assert said not in words(anna.get(f"/orders/{order.id}"))
    mail.delivery = "bounced"
    db.session.commit()
    assert said in words(anna.get(f"/orders/{order.id}"))


@pytest.mark.feature("S83", "K27", "N15")
def test_what_a_reminder_by_hand_will_charge_is_what_it_charges(
    merchant, shop, anna, fresh_bank, workday
):
    """Interest that was charged before is no fee: the flat fee of the law is owed all the same."""
    for day in (today(), today() - timedelta(days=60)):
        rate = BaseRate(country="DE", valid_from=half_year_of(day), percent=Decimal(2))
        db.session.merge(rate)
    ordered_set(merchant, invoice__charge_interest="on")
    business = {"email": "erika@example.org", "language": "de", "vat_id": "DE136695976"}
    order = invoice(shop, days=30, total="1000.00", customer=business)
    for days in (20, 10):
        at = workday - timedelta(days=days)
        send_reminder(merchant.id, order.id, actor=ANNA, at=at, anyway=True)
        for mail in db.session.query(Mail).filter_by(status="queued"):
            mail.succeed(at)
        db.session.commit()
    ordered_set(merchant, invoice__charge_fees="on")
    assert refreshed(order).fee_total > 0
    asked = words(anna.get(f"/orders/{order.id}/send-reminder"))
    anna.post(f"/orders/{order.id}/send-reminder", {"anyway": "yes"})
    third = db.session.query(Reminder).filter_by(order_id=order.id, level=3).one()
    assert third.fee == 40 and "Gebühr 40,00 €" in asked
    assert f"Zinsen {money(third.interest, 'EUR', 'de')}".replace("\xa0", " ") in asked


@pytest.mark.feature("S83", "N5")
def test_on_old_bank_data_a_person_must_insist(shop, anna):
    order = recent(shop, days=30)
    refused = anna.post(f"/orders/{order.id}/send-reminder")
    assert refused.status_code == 409 and "Bankdaten sind zu alt" in refused.text
    assert 'name="anyway"' in refused.text
    assert db.session.query(Mail).filter_by(kind="reminder").count() == 0
    anna.post(f"/orders/{order.id}/send-reminder", {"anyway": "yes"})
    assert db.session.query(Mail).filter_by(kind="reminder").count() == 1


@pytest.mark.feature("S83", "K25")
def test_two_clicks_send_one_reminder_also_of_who_insists(shop, anna):
    order = recent(shop, days=60)
    path = f"/orders/{order.id}/send-reminder"
    refused = anna.post(path)
    (level,) = re.findall(r'name="level" value="(\d)"', refused.text)
    insisting = {"anyway": "yes", "level": level}
    assert anna.post(path, insisting).status_code == 303
    again = anna.post(path, insisting)
    assert again.status_code == 409 and "heute schon" in words(again)
    sent = db.session.query(Reminder).filter_by(order_id=order.id)
    assert [row.level for row in sent] == [1]


@pytest.mark.feature("S84")
def test_the_run_of_one_order_does_what_is_due_and_nothing_twice(shop, anna, fresh_bank, workday):
    order = recent(shop, days=30)
    for _ in range(2):
        assert anna.post(f"/orders/{order.id}/run").status_code == 303
    assert db.session.query(Mail).filter_by(kind="reminder", order_id=order.id).count() == 1


@pytest.mark.feature("S57", "S58")
def test_the_base_date_moves_and_comes_back(shop, anna):
    order = invoice(shop, invoices=[{"number": "R-9", "date": "2026-11-02"}])
    page = anna.get(f"/orders/{order.id}/base-date")
    assert "Rechnungsdatum ändern" in page.text and 'value="2026-11-02"' in page.text
    assert "vertraglich fällig" in words(page)
    answer = anna.post(f"/orders/{order.id}/base-date", {"day": "2026-11-20"})
    assert answer.status_code == 303 and refreshed(order).base_date == date(2026, 11, 20)
    shown = words(anna.get(answer.location))
    assert "Rechnungsdatum auf den 20. November 2026 gesetzt." in shown
    assert "von Hand gesetzt" in shown
    wrong = anna.post(f"/orders/{order.id}/base-date", {"day": "morgen"})
    assert wrong.status_code == 422 and "Das ist kein Datum." in wrong.text
    far = anna.post(f"/orders/{order.id}/base-date", {"day": "1999-01-01"})
    assert far.status_code == 422 and "zu weit weg" in far.text
    anna.post(f"/orders/{order.id}/base-date", {"reset": "yes"})
    assert refreshed(order).base_date is None
    assert "Rechnungsdatum wieder wie im Shop." in words(anna.get(f"/orders/{order.id}"))


# --- edits ------------------------------------------------------------------------------------


@pytest.mark.feature("S65", "S66")
def test_edited_here_the_order_follows_its_shop_no_more(shop, anna):
    order = recent(shop)
    page = words(anna.get(f"/orders/{order.id}/edit"))
    assert "folgt die Bestellung Laden nicht mehr" in page
    answer = anna.post(f"/orders/{order.id}/edit", {"email": "neu@example.org", "total": "17,50"})
    assert answer.status_code == 303
    refreshed(order)
    assert (order.customer_email, order.total, order.sync) == (
        "neu@example.org", Decimal("17.50"), "edited",
    )  # fmt: skip
    shown = words(anna.get(f"/orders/{order.id}"))
    assert "Hier geändert" in shown and "Hier geändert: E-Mail, Betrag." in shown


@pytest.mark.feature("S65")
@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"total": "viel"}, "„viel“ ist kein Betrag"),
        ({"total": "0"}, "größer als null"),
        ({"email": "kein at"}, "Das ist keine E-Mail-Adresse."),
    ],
)
def test_what_cannot_be_is_shown_again_with_a_sentence(shop, anna, form, said):
    order = recent(shop)
    typed = {"email": "erika@example.org", "total": "19,90"} | form
    answer = anna.post(f"/orders/{order.id}/edit", typed)
    assert answer.status_code == 422 and said in answer.text
    for value in typed.values():
        assert f'value="{value}"' in answer.text
    assert refreshed(order).sync == "shop"


@pytest.mark.feature("S65", "S67")
def test_paid_or_in_a_foreign_currency_it_is_not_edited(merchant, shop, anna):
    foreign = recent(shop, foreign_total="21.00", foreign_currency="USD", exchange_rate="1.05")
    page = anna.get(f"/orders/{foreign.id}/edit").text
    assert "readonly" in page and "Wechselkurs" in page
    form = {"email": "erika@example.org", "total": "5,00"}
    assert anna.post(f"/orders/{foreign.id}/edit", form).status_code == 422
    paid = recent(shop)
    service.mark_as_paid(merchant.id, paid.id, actor="x", at=now())
    db.session.commit()
    assert anna.post(f"/orders/{paid.id}/edit", form).status_code == 409
    assert refreshed(paid).total == Decimal("19.90")


@pytest.mark.feature("S86")
def test_personal_data_goes_only_after_the_number_was_typed(shop, anna):
    order = recent(shop)
    wrong = anna.post(f"/orders/{order.id}/erase", {"number": "AA-1"})
    assert wrong.status_code == 422 and "Das ist nicht die Nummer" in wrong.text
    assert refreshed(order).erased_at is None
    answer = anna.post(f"/orders/{order.id}/erase", {"number": order.number})
    assert answer.status_code == 303
    page = anna.get(answer.location).text
    assert "Personendaten entfernt am" in words(anna.get(answer.location))
    assert "Mustermann" not in page and "erika@example.org" not in page
    assert "19,90" in page


# --- the customer's word ----------------------------------------------------------------------


@pytest.mark.feature("S61")
def test_what_the_customer_says_is_shown_and_his_proof_is_only_saved(shop, anna):
    order = recent(shop, days=9)
    proof = claims.ProofFile("../Beleg <1>.pdf", b"%PDF-1.7 proof")
    claims.claim_paid(
        order,
        paid_on=today() - timedelta(days=1),
        message="Am <b>Montag</b>",
        proof=proof,
        at=now(),
    )
    db.session.commit()
    page = anna.get(f"/orders/{order.id}")
    assert "Der Kunde sagt, er habe bezahlt" in page.text and "Mahnungen ruhen bis" in page.text
    assert "Am &lt;b&gt;Montag&lt;/b&gt;" in page.text
    link = re.search(r'href="(/orders/\d+/proofs/\d+)"', page.text)
    assert link
    answer = anna.get(link[1])
    assert answer.data == b"%PDF-1.7 proof"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    other = recent(shop)
    assert anna.get(link[1].replace(f"/{order.id}/", f"/{other.id}/")).status_code == 404


# --- the history ------------------------------------------------------------------------------


@pytest.mark.feature("S69")
def test_mails_of_36_months_to_both_with_a_warning_where_one_failed(shop, anna):
    order = recent(shop)
    mail = db.session.query(Mail).filter_by(order_id=order.id).one()
    mail.status, mail.delivery, mail.finished_at = "done", "bounced", now()
    claims.claim_paid(order, paid_on=None, message="", proof=None, at=now())
    db.session.commit()
    page = anna.get(f"/orders/{order.id}?show=mails")
    assert "Kam zurück" in words(page) and "#warn" in page.text
    assert "E-Mail an Sie: Kunde meldet Zahlung" in words(page)
    mail.created_at = now() - timedelta(days=3 * 366 + 1)
    db.session.commit()
    assert f"/mails/{mail.id}" not in anna.get(f"/orders/{order.id}").text


@pytest.mark.feature("K66")
def test_a_mail_of_a_shop_in_test_mode_says_where_it_went(merchant, shop, anna):
    ordered_set(merchant, mode="test")
    order = recent(shop)
    mail = db.session.query(Mail).filter_by(order_id=order.id).one()
    mail.redirected_to = ANNA
    db.session.commit()
    page = words(anna.get(f"/orders/{order.id}"))
    assert f"an {ANNA} statt an erika@example.org gesendet" in page


def test_the_history_is_one_and_may_be_narrowed(merchant, shop, anna):
    order = recent(shop)
    posting = make_posting(merchant, "9.90", order.number)
    service.assign(merchant.id, posting.id, [(order.id, posting.amount)], actor=ANNA, at=now())
    db.session.commit()

    def history(show: str) -> str:
        answer = anna.get(f"/orders/{order.id}?show={show}")
        return answer.text.split('<ol class="timeline">')[1].split("</ol>")[0]

    everything = history("")
    # Money, status, its mail and the one that asks, news for the shop, received.
    assert everything.count("<li") == 6
    assert everything.index("9,90") < everything.index("Aus Laden übernommen")
    assert "zugeordnet." not in everything, "the booking itself says so"
    assert "9,90" in history("payments") and "Zahlungsinformation" not in history("payments")
    assert "/mails/" in history("mails") and "Aus Laden" not in history("mails")
    assert "an Laden" in history("shop") and "/mails/" not in history("shop")
    assert history("nonsense").count("<li") == 6


def test_an_event_of_a_kind_that_nobody_knows_is_shown_as_it_is(shop, anna):
    order = recent(shop)
    for kind, facts in (("something_new", {}), ("surplus_moved", {"amount": "1.00"})):
        db.session.add(
            OrderEvent(merchant_id=order.merchant_id, order_id=order.id, kind=kind, facts=facts)
        )
    db.session.commit()
    page = words(anna.get(f"/orders/{order.id}"))
    assert "something new" in page and "surplus moved" in page


@pytest.mark.feature("S62", "S59")
def test_language_country_and_terms_of_the_settings_are_shown(merchant, shop, anna):
    ordered_set(merchant, invoice__net_days="14", invoice__discount_percent="2",
                invoice__discount_days="7")  # fmt: skip
    order = invoice(
        shop,
        customer={"email": "erika@example.org", "language": "en"},
        billing_address={"last_name": "Mustermann", "country": "CH"},
    )
    page = words(anna.get(f"/orders/{order.id}"))
    assert "Sprache Englisch" in page and "Land Schweiz" in page
    assert "2 % in 7 Tagen, 14 Tage netto" in page


@pytest.mark.feature("S55")
def test_a_watched_order_is_not_there_before_its_time(shop, anna):
    order = recent(shop)
    order.monitor_at = now() + timedelta(hours=5)
    db.session.commit()
    assert anna.get(f"/orders/{order.id}").status_code == 404
    assert anna.post(f"/orders/{order.id}/cancel").status_code == 404
    assert order.number not in anna.get("/orders").text
    assert order.number not in anna.get("/orders/export.csv").text


@pytest.mark.feature("S41")
def test_a_held_removal_is_told_on_the_order(shop, anna):
    order = recent(shop)
    order.held_removal = "not_open"
    db.session.commit()
    page = words(anna.get(f"/orders/{order.id}"))
    assert "Entfernung offen" in page and "fragt Kontor, bevor es sie entfernt" in page


@pytest.mark.feature("K28")
def test_fees_that_are_not_claimed_are_told_and_owed_by_nobody(merchant, shop, anna):
    order = invoice(shop)
    order.fee_total = Decimal("5.00")
    db.session.commit()
    page = words(anna.get(f"/orders/{order.id}"))
    assert "Mahngebühren 5,00 € berechnet, nicht eingefordert" in page
    assert "Noch offen 19,90 €" in page
    ordered_set(merchant, invoice__claim_fees="on")
    assert "Noch offen 24,90 €" in words(anna.get(f"/orders/{order.id}"))
    assert "offen 24,90 €" in words(anna.get("/orders"))


def test_an_english_reader_reads_all_of_it_in_english(merchant, shop, anna, fresh_bank):
    anna.post("/account", {"language": "en"})
    order = invoice(shop, days=30)
    lifecycle.block_reminders(merchant.id, order.id, actor=ANNA, at=now())
    lifecycle.allow_reminders(merchant.id, order.id, actor=ANNA, at=now())
    lifecycle.set_base_date(merchant.id, order.id, AT.date(), actor=ANNA, at=now())
    db.session.commit()
    page = anna.get(f"/orders/{order.id}")
    assert "Change the invoice date …" in menu(page)
    text = words(page)
    for said in ("Next steps", "Reminders blocked.", "Reminders allowed.", "set by hand"):
        assert said in text, said
    assert db.session.query(PaymentUpdate).count() == 0
