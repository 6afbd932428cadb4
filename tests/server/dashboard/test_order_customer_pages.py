"""What customers said on their page, as the merchant sees and answers it (S61, N8, N26)."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from server.db import db, now
from server.mail.models import Mail
from server.orders.claims import ProofFile, claim_paid, claims_of
from server.orders.deferrals import ask_for_time
from server.orders.models import Assignment
from server.orders.proofs import read_waiting
from tests.factories import make_merchant, make_order, make_posting, make_shop, today
from tests.proof_files import text_pdf
from tests.server.dashboard.visitor import member

PAYER = "DE89370400440532013000"


@pytest.fixture
def merchant(app):
    return make_merchant()


@pytest.fixture
def shop(merchant):
    return make_shop(merchant)


@pytest.fixture
def order(shop):
    return make_order(shop, ordered_at=now().isoformat(), at=now())


@pytest.fixture
def anna(app, merchant):
    return member(app, merchant)


def words(answer) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", answer.text).split())


def asked(order, days: int = 9, message: str = "Gehalt am 1."):
    request = ask_for_time(order, until=today() + timedelta(days=days), message=message, at=now())
    db.session.commit()
    return request


def said_paid(order, *lines: str):
    proof = ProofFile("Beleg.pdf", text_pdf(lines)) if lines else None
    claim_paid(order, paid_on=today(), message="Gestern!", proof=proof, at=now())
    db.session.commit()
    read_waiting(order.merchant_id, now())
    db.session.commit()


# --- more time ----------------------------------------------------------------------------------


@pytest.mark.feature("N8")
def test_a_question_is_answered_with_another_day(anna, order):
    request = asked(order)
    page = anna.get(f"/orders/{order.id}")
    assert "Der Kunde bittet um mehr Zeit" in words(page) and "Gehalt am 1." in words(page)
    until = today() + timedelta(days=4)
    form = {"request": str(request.id), "until": until.isoformat()}
    answer = anna.post(f"/orders/{order.id}/more-time/grant", form)
    assert (answer.status_code, answer.location) == (303, f"/orders/{order.id}?done=time_granted")
    db.session.refresh(request)
    assert (request.status, request.granted_until) == ("accepted", until)
    shown = words(anna.get(answer.location))
    assert "Zeit gegeben bis" in shown and "anna@example.org" in shown
    assert "/more-time/grant" not in anna.get(answer.location).text
    assert db.session.query(Mail).filter_by(kind="more_time_answer").count() == 1


@pytest.mark.feature("N8")
def test_a_question_is_refused(anna, order):
    request = asked(order)
    answer = anna.post(f"/orders/{order.id}/more-time/refuse", {"request": str(request.id)})
    assert answer.status_code == 303
    assert "Abgelehnt von anna@example.org" in words(anna.get(f"/orders/{order.id}"))


@pytest.mark.parametrize(
    ("until", "said"),
    [("", "Das ist kein Datum"), ("morgen", "Das ist kein Datum"),
     ("2020-01-01", "liegt zu weit weg"), ("2999-01-01", "liegt zu weit weg")],
)  # fmt: skip
def test_a_day_that_cannot_be_is_said(anna, order, until, said):
    request = asked(order)
    form = {"request": str(request.id), "until": until}
    answer = anna.post(f"/orders/{order.id}/more-time/grant", form)
    assert answer.status_code == 422 and said in words(answer)
    db.session.refresh(request)
    assert request.status == "open"


@pytest.mark.parametrize("act", ["grant", "refuse"])
def test_a_second_click_and_a_question_of_another_order_do_nothing(anna, order, shop, act):
    request = asked(order)
    form = {"request": str(request.id), "until": today().isoformat()}
    other = make_order(shop)
    assert anna.post(f"/orders/{other.id}/more-time/{act}", form).status_code == 409
    assert anna.post(f"/orders/{order.id}/more-time/{act}", form).status_code == 303
    second = anna.post(f"/orders/{order.id}/more-time/{act}", form)
    assert second.status_code == 409 and "schon beantwortet" in words(second)
    assert anna.post(
        f"/orders/{order.id}/more-time/{act}", {"until": "2026-01-01"}
    ).status_code in (
        409,
        422,
    )
    assert db.session.query(Mail).filter_by(kind="more_time_answer").count() == 1


@pytest.mark.feature("N8")
def test_today_and_the_list_say_who_waits(app, anna, order, shop):
    said_paid(make_order(shop))
    asked(order)
    start = words(anna.get("/"))
    assert "1 Kunde bittet um mehr Zeit" in start and order.number in start
    assert "1 Kunde sagt, er habe bezahlt" in start
    listed = words(anna.get("/orders?period=all"))
    assert "bittet um Zeit" in listed and "sagt: bezahlt" in listed
    bob = member(app, make_merchant("Bobs Laden"), "bob@example.org")
    assert order.number not in words(bob.get("/"))


# --- "I have paid" ------------------------------------------------------------------------------


@pytest.mark.feature("S61")
def test_somebody_looked_and_the_money_is_not_there(anna, order):
    said_paid(order)
    answer = anna.post(f"/orders/{order.id}/claims/settle")
    assert answer.status_code == 303
    db.session.expire_all()
    assert claims_of(order.id)[0].settled_by == "anna@example.org"
    page = anna.get(answer.location)
    assert "Das Geld war nicht da" in words(page) and "/claims/settle" not in page.text
    assert anna.post(f"/orders/{order.id}/claims/settle").status_code == 409
    assert "sagt, er habe bezahlt" not in words(anna.get("/"))


# --- proofs -------------------------------------------------------------------------------------


@pytest.mark.feature("N26")
def test_what_a_proof_shows_stands_beside_it_and_its_posting_is_offered(anna, merchant, order):
    posting = make_posting(merchant, "19.90", "Danke", booking_date=today(), needs_match=False)
    said_paid(
        order,
        f"{today():%d.%m.%Y} 19,90 EUR von DE89 3704 0044 0532 0130 00",
        f"an DE02 1203 0000 0000 2020 51, {order.payment_reference}",
    )
    page = anna.get(f"/orders/{order.id}")
    shown = words(page)
    for there in (
        "Der Betrag passt: 19,90",
        "Eine IBAN von Ihnen",
        "Nennt diese Bestellung",
        "gleiches Konto des Zahlers, passender Tag.",
        "Ansehen und zuordnen",
        "lässt sich leicht fälschen",
    ):
        assert there in shown, there
    assert f"/postings/{posting.id}" in page.text
    assert db.session.query(Assignment).count() == 0


@pytest.mark.feature("N26")
@pytest.mark.parametrize(
    ("content", "name", "said"),
    [(b"%PDF-1.7 none", "a.pdf", "beschädigt"), (b"\x89PNG\r\n\x1a\n0", "a.png", "Ein Bild"),
     (text_pdf(["Nur 5,00 an DE02 5001 0517 0137 0750 30"]), "a.pdf", "nicht darin")],
)  # fmt: skip
def test_what_a_proof_does_not_show_is_said(anna, order, content, name, said):
    claim_paid(order, paid_on=None, message="", proof=ProofFile(name, content), at=now())
    db.session.commit()
    assert "wird gerade gelesen" in words(anna.get(f"/orders/{order.id}"))
    read_waiting(order.merchant_id, now())
    db.session.commit()
    assert said in words(anna.get(f"/orders/{order.id}"))
