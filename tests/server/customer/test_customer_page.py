"""The customer's page: what is open, how to pay it, "I have paid", and what strangers see (S61)."""

from __future__ import annotations

import io
import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from markupsafe import escape
from sqlalchemy import event

from server.customer.answers import ANSWERS_PER_ORDER
from server.customer.pages import CONTENT_SECURITY_POLICY, MAX_FORM_BYTES, UNKNOWN_PER_ADDRESS
from server.customer.rules import KEPT_AFTER, state_of, typed_date
from server.db import db, now
from server.forgetting.service import erase_personal_data
from server.mail.models import Mail
from server.merchants.service import change_setting
from server.orders import lifecycle, service
from server.orders.claims import claim_paid, claims_of, proofs_of, settle_claims
from server.orders.links import page_url
from server.orders.models import CollectionCase, DeferralRequest, PaymentClaim
from tests.factories import (
    AT,
    make_account,
    make_merchant,
    make_order,
    make_posting,
    make_shop,
    today,
)

ACTOR = "anna@example.org"
PDF = b"%PDF-1.7\nein Kontoauszug"


@pytest.fixture
def merchant(app):
    return make_merchant()


@pytest.fixture
def shop(merchant):
    return make_shop(merchant, "Papier & Feder")


@pytest.fixture
def order(shop):
    return make_order(shop, total="1284.60")


def path_of(order) -> str:
    return "/pay/" + page_url(order).rpartition("/pay/")[2]


def words_of(answer) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", answer.text).split())


def typed(**over) -> dict[str, object]:
    return {"paid_on": today().isoformat(), "message": "Gestern überwiesen"} | over


def large_form(size: int) -> dict[str, object]:
    """A body of bytes: the test client would keep a temporary file open for it."""
    head = b'--b\r\nContent-Disposition: form-data; name="proof"; filename="a.pdf"\r\n\r\n'
    body = head + PDF + b"x" * (size - len(PDF)) + b"\r\n--b--\r\n"
    return {"data": body, "content_type": "multipart/form-data; boundary=b"}


def claim_count() -> int:
    return db.session.query(PaymentClaim).count()


# --- what is shown --------------------------------------------------------------------------------


@pytest.mark.feature("S61", "S62")
def test_the_page_says_what_is_open_and_how_to_pay_it_and_nothing_else(client, order):
    answer = client.get(path_of(order))
    said = words_of(answer)
    assert answer.status_code == 200 and '<html lang="de">' in answer.text
    for there in (
        "Papier & Feder".replace("&", "&amp;"),
        order.number,
        "1.284,60\u00a0€",
        "DE02 1203 0000 0000 2020 51",
        order.payment_reference,
        "Annas Antiquariat",
    ):
        assert there.replace("\u00a0", " ") in said.replace("\u00a0", " "), there
    for private in ("Erika", "Mustermann", "erika@", "Heidestraße", "Köln"):
        assert private not in answer.text
    picture = client.get(path_of(order) + "/qr.png")
    assert picture.mimetype == "image/png" and picture.data.startswith(b"\x89PNG")


@pytest.mark.feature("S62")
def test_an_english_customer_reads_english(client, shop):
    order = make_order(shop, total="1284.60", customer={"email": "e@example.org", "language": "en"})
    answer = client.get(path_of(order))
    assert '<html lang="en">' in answer.text and "€1,284.60" in answer.text
    assert "I have paid" in answer.text


@pytest.mark.feature("K16", "K35", "N12")
@pytest.mark.parametrize("kind", ["rf", "order_number"])
def test_the_reference_is_of_the_kind_that_the_merchant_wants(client, merchant, order, kind):
    change_setting(merchant.id, "reference_kind", kind, actor=ACTOR, at=now())
    db.session.commit()
    page = client.get(path_of(order)).text
    asked = re.search(r'id="reference" class="mono strong">([^<]+)</span>', page)
    assert asked and (asked[1] == order.number if kind == "order_number" else asked[1][:2] == "RF")


@pytest.mark.feature("K28")
@pytest.mark.parametrize(("claims", "owed"), [("on", "22,40"), ("off", "19,90")])
def test_fees_are_asked_for_where_they_are_claimed(client, merchant, shop, claims, owed):
    order = make_order(shop, payment_method="invoice")
    order.fee_total = Decimal("2.50")
    change_setting(merchant.id, "invoice.claim_fees", claims, actor=ACTOR, at=now())
    db.session.commit()
    assert f"{owed}\u00a0€" in client.get(path_of(order)).text


def test_a_part_payment_leaves_the_rest(client, merchant, order):
    posting = make_posting(merchant, "1000.00", "Teil")
    part = [(order.id, posting.amount)]
    service.assign(merchant.id, posting.id, part, actor=ACTOR, at=AT)
    db.session.commit()
    assert "284,60\u00a0€" in client.get(path_of(order)).text


def test_cash_is_paid_at_the_door(client, shop):
    order = make_order(shop, payment_method="cod", shop_status="processing")
    page = client.get(path_of(order)).text
    assert "DE02" not in page and "Ich habe bezahlt" in page
    assert client.get(path_of(order) + "/qr.png").status_code == 404


def test_where_no_account_is_known_only_the_amount_is_shown(client):
    order = make_order(make_shop(make_merchant(account=False)))
    page = client.get(path_of(order)).text
    assert "19,90\u00a0€" in page and "IBAN" not in page


@pytest.mark.feature("S61")
def test_looking_changes_nothing(client, order):
    before = db.session.query(Mail).count()
    client.get(path_of(order))
    client.head(path_of(order))
    db.session.rollback()
    assert (claim_count(), db.session.query(Mail).count()) == (0, before)


def _erase(merchant, order):
    erase_personal_data(merchant.id, order.id, actor=ACTOR, at=now())


def _remove(merchant, order):
    order.removed_at = now()
    order.payment_status = "removed"


def _stop(merchant, order):
    lifecycle.stop_managing(merchant.id, order.id, actor=ACTOR, at=now())


def _pay_long_ago(merchant, order):
    paid_at = now() - KEPT_AFTER - timedelta(days=2)
    service.mark_as_paid(merchant.id, order.id, actor=ACTOR, at=paid_at)


@pytest.mark.feature("S61", "S86", "N8")
@pytest.mark.parametrize("change", [_erase, _remove, _stop, _pay_long_ago])
def test_an_order_that_is_over_says_so_and_nothing_else(client, merchant, order, change):
    change(merchant, order)
    db.session.commit()
    answer = client.get(path_of(order))
    assert answer.status_code == 200 and "nichts mehr zu bezahlen" in answer.text
    for private in (order.number, "1.284", "Papier", "DE02", "<form", "abbestellen"):
        assert private not in answer.text
    assert client.get(path_of(order) + "/qr.png").status_code == 404
    for form in ("", "/more-time", "/bank-details"):
        assert client.post(path_of(order) + form, data=typed()).status_code in (303, 422)
    assert claim_count() == 0 and db.session.query(DeferralRequest).count() == 0


@pytest.mark.feature("S61", "N8")
def test_a_paid_order_thanks_and_asks_for_nothing(client, merchant, order):
    service.mark_as_paid(merchant.id, order.id, actor=ACTOR, at=now())
    db.session.commit()
    page = client.get(path_of(order)).text
    assert "Diese Bestellung ist bezahlt" in page and order.number in page
    for gone in ("1.284", "DE02", "<form", "Erika"):
        assert gone not in page
    assert client.get(path_of(order) + "/qr.png").status_code == 404
    assert client.post(path_of(order), data=typed()).status_code == 303
    assert claim_count() == 0


@pytest.mark.feature("N8", "S79")
@pytest.mark.parametrize("partner", ["", "Inkasso Nord <GmbH>"])
def test_who_has_the_debt_now_is_named(client, merchant, shop, partner):
    order = make_order(shop, payment_method="invoice")
    lifecycle.hand_to_collection(merchant.id, order.id, actor=ACTOR, at=now())
    db.session.flush()
    for case in db.session.query(CollectionCase):
        case.partner_name = partner
    db.session.commit()
    page = client.get(path_of(order)).text
    assert "abgegeben" in page and "DE02" not in page and "qr.png" not in page
    assert (str(escape(partner)) if partner else "wer das ist") in page
    assert "Ich habe bezahlt" in page


def test_a_cancelled_order_asks_for_nothing_but_listens(client, merchant, order):
    lifecycle.cancel_order(merchant.id, order.id, actor=ACTOR, at=now())
    db.session.commit()
    page = client.get(path_of(order)).text
    assert "wartet nicht mehr auf Geld" in page and "DE02" not in page
    assert client.post(path_of(order), data=typed()).status_code == 303
    assert claim_count() == 1


@pytest.mark.parametrize(
    ("status", "code", "state"),
    [("unpaid", "prepayment", "owing"), ("partially_paid", "other", "owing"),
     ("cancelled", "prepayment", "ended"), ("cancelled", "invoice", "owing"),
     ("collection", "invoice", "collection"), ("paid", "invoice", "paid"),
     ("refunded", "invoice", "refunded"), ("not_managed", "prepayment", "over")],
)  # fmt: skip
def test_what_a_status_means_for_the_page(status, code, state):
    assert state_of(status, code, is_erased=False) == state
    assert state_of(status, code, is_erased=True) == "over"


# --- "I have paid" --------------------------------------------------------------------------------


@pytest.mark.feature("S61")
def test_a_customer_says_that_he_has_paid_and_reminders_rest(client, order):
    upload = typed(proof=(io.BytesIO(PDF), "Beleg.pdf"))
    answer = client.post(path_of(order), data=upload, headers={"Origin": "http://localhost"})
    assert (answer.status_code, answer.location) == (303, path_of(order))
    (claim,) = claims_of(order.id)
    assert (claim.paid_on, claim.message) == (today(), "Gestern überwiesen")
    (proof,) = proofs_of(order.id)
    assert (proof.filename, proof.media_type, proof.content) == (
        "Beleg.pdf", "application/pdf", PDF,
    )  # fmt: skip
    assert order.paused_until == today() + timedelta(days=5)
    page = client.get(answer.location).text
    assert "Danke für Ihre Nachricht vom" in page and "Vorerst erinnern wir Sie nicht" in page
    assert "<details" in page


@pytest.mark.feature("S61")
@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [("a.PNG", b"\x89PNG\r\n\x1a\n0", "image/png"), ("a.jpeg", b"\xff\xd8\xff\xe0", "image/jpeg"),
     ("C:\\Fotos\\b.jpg", b"\xff\xd8\xff\xdb", "image/jpeg")],
)  # fmt: skip
def test_pictures_are_proofs_too(client, order, name, content, kind):
    client.post(path_of(order), data=typed(proof=(io.BytesIO(content), name)))
    assert proofs_of(order.id)[0].media_type == kind


@pytest.mark.feature("S61")
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"paid_on": "2999-01-01"}, "nicht in der Zukunft"),
        ({"paid_on": "gestern"}, "Schreiben Sie das Datum so"),
        ({"paid_on": "2026-02-30"}, "Schreiben Sie das Datum so"),
        ({"message": "x" * 1001}, "höchstens 1.000 Zeichen"),
        ({"proof": (b"<script>", "a.pdf")}, "PDF, JPEG oder PNG"),
        ({"proof": (PDF, "a.exe")}, "PDF, JPEG oder PNG"),
        ({"proof": (PDF, "a.png")}, "PDF, JPEG oder PNG"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_typed_is_lost(client, order, wrong, said):
    form = typed() | wrong
    if "proof" in wrong:
        content, name = wrong["proof"]
        form["proof"] = (io.BytesIO(content), name)
    answer = client.post(path_of(order), data=form, content_type="multipart/form-data")
    assert answer.status_code == 422 and said in answer.text
    assert 'role="alert"' in answer.text and 'aria-invalid="true"' in answer.text
    if "message" not in wrong:
        assert "Gestern überwiesen" in answer.text
    assert claim_count() == 0


@pytest.mark.parametrize(
    ("size", "code"), [(10 * 1024**2 + 1, 422), (MAX_FORM_BYTES + 1, 413)], ids=["read", "unread"]
)
def test_an_upload_larger_than_any_proof_is_refused(client, order, size, code):
    answer = client.post(path_of(order), **large_form(size))
    assert answer.status_code == code and "höchstens 10 MB" in answer.text
    assert claim_count() == 0


@pytest.mark.parametrize("text", ["22.11.2026", "2026-11-22", " 2026-11-22 "])
def test_dates_as_browsers_and_people_write_them(text):
    day = typed_date(text)
    assert day is not None and day.isoformat() == "2026-11-22"
    assert typed_date("  ") is None


@pytest.mark.feature("S61")
def test_without_a_pause_reminders_go_on(client, merchant, order):
    change_setting(merchant.id, "claim_pause_days", "0", actor=ACTOR, at=now())
    assert "vorerst nicht" not in words_of(client.get(path_of(order)))
    client.post(path_of(order), data=typed())
    assert claim_count() == 1 and order.paused_until is None
    page = words_of(client.get(path_of(order)))
    assert "Danke für Ihre Nachricht" in page and "Vorerst" not in page


@pytest.mark.feature("S61")
def test_after_the_pause_the_page_promises_no_rest_any_more(client, order):
    client.post(path_of(order), data=typed())
    order.paused_until = today() - timedelta(days=1)
    db.session.commit()
    page = words_of(client.get(path_of(order)))
    assert "Danke für Ihre Nachricht" in page and "Vorerst" not in page


# --- strangers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["nothing", "x" * 500, "MQ.abc.def"])
def test_an_unknown_link_has_a_friendly_page_in_both_languages(client, order, token):
    for path in (f"/pay/{token}", f"/pay/{token}/qr.png"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert "Dieser Link führt zu nichts" in answer.text
        assert "This link leads nowhere" in answer.text
    assert client.post(f"/pay/{token}", data=typed()).status_code == 404


def test_a_link_is_no_key_to_the_next_order(client, shop, order):
    other = make_order(shop)
    theirs, ours = path_of(other).split("."), path_of(order).split(".")
    forged = ".".join([theirs[0], *ours[1:]])
    assert client.get(forged).status_code == 404
    assert other.number not in client.get(path_of(order)).text


def test_an_order_that_is_only_watched_does_not_exist_yet(client, order):
    order.monitor_at = now() + timedelta(hours=1)
    db.session.commit()
    assert client.get(path_of(order)).status_code == 404


def test_a_form_of_another_site_is_refused(client, order):
    away = client.post(path_of(order), data=typed(), headers={"Origin": "https://evil.example"})
    assert away.status_code == 403 and claim_count() == 0
    own = client.post(path_of(order), data=typed(), headers={"Origin": "null"})
    assert own.status_code == 303 and claim_count() == 1


def test_who_tries_many_links_or_says_it_too_often_has_to_wait(client, order):
    for _ in range(ANSWERS_PER_ORDER.amount):
        client.post(path_of(order), data=typed(message="x" * 1001))
    assert client.post(path_of(order), data=typed()).status_code == 429
    for number in range(UNKNOWN_PER_ADDRESS.amount):
        assert client.get(f"/pay/{number}").status_code == 404
    answer = client.get("/pay/once-more")
    assert answer.status_code == 429 and "Bitte etwas später" in answer.text


def test_every_page_keeps_the_link_to_itself(client, order):
    for path in (path_of(order), "/pay/nothing"):
        headers = client.get(path).headers
        assert headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
        assert headers["Referrer-Policy"] == "no-referrer"
        assert "noindex" in headers["X-Robots-Tag"]
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "Set-Cookie" not in headers
    page = client.get(path_of(order)).text
    style = re.search(r'href="(/pay-assets/customer\.css\?v=[0-9a-f]{12})"', page)
    assert style and "immutable" in client.get(style[1], buffered=True).headers["Cache-Control"]
    assert page.count("<script") == 1 and '<script src="/pay-assets/copy.js?v=' in page
    assert "style=" not in page and "onclick" not in page


@pytest.mark.feature("S61")
def test_when_somebody_has_looked_nobody_says_that_he_still_looks(client, merchant, order):
    claim_paid(order, paid_on=None, message="", proof=None, at=now())
    db.session.commit()
    assert "Wir sehen nach Ihrer Zahlung" in words_of(client.get(path_of(order)))
    settle_claims(merchant.id, order.id, actor=ACTOR, at=now())
    db.session.commit()
    page = words_of(client.get(path_of(order)))
    assert "Wir sehen nach Ihrer Zahlung" not in page and "Sagen Sie uns Bescheid" in page


def test_the_page_of_an_ordinary_order_asks_the_database_four_times(client, order):
    db.session.commit()
    path = path_of(order)
    db.session.remove()
    asked: list[str] = []

    def note(*said: Any) -> None:
        asked.append(said[2])

    event.listen(db.engine, "before_cursor_execute", note)
    try:
        assert client.get(path).status_code == 200
    finally:
        event.remove(db.engine, "before_cursor_execute", note)
    assert len([one for one in asked if one.startswith("SELECT")]) == 4, asked


def test_a_fault_of_ours_shows_nothing_of_itself(client, order, monkeypatch, caplog):
    monkeypatch.setattr("server.customer.shown.look_of", lambda _: 1 / 0)
    answer = client.get(path_of(order))
    assert answer.status_code == 500 and "Es liegt an uns" in answer.text
    assert "ZeroDivision" not in answer.text and "ZeroDivision" in caplog.text


def test_the_account_of_the_shop_is_named(client, shop, merchant):
    """The one that the payment information would name (S20)."""
    make_account(merchant, "DE89370400440532013000")
    assert "IBAN" in client.get(path_of(make_order(shop))).text


@pytest.mark.feature("N8", "S61")
def test_the_first_mail_of_an_order_has_the_link_before_the_order_has_an_id(client, shop, order):
    """And whoever thanks or asks again leads to the same page."""
    mail = db.session.query(Mail).filter_by(order_id=order.id, kind="payment_information").one()
    link = "/pay/" + mail.facts["page_url"].rpartition("/pay/")[2]
    assert order.number in client.get(link).text
    other = make_order(shop)
    assert other.number not in client.get(link).text
    forged = link.replace("/pay/", "/pay/X")
    assert client.get(forged).status_code == 404


@pytest.mark.feature("N8")
def test_a_thank_you_leads_to_the_page(client, merchant, order):
    posting = make_posting(merchant, "1284.60", "danke")
    service.assign(merchant.id, posting.id, [(order.id, posting.amount)], actor=ACTOR, at=now())
    db.session.commit()
    mail = db.session.query(Mail).filter_by(order_id=order.id, kind="payment_received").one()
    link = "/pay/" + mail.facts["page_url"].rpartition("/pay/")[2]
    assert "Diese Bestellung ist bezahlt" in client.get(link).text
