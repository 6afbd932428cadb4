"""Orders: the list with its filter (K63), one order with everything (S56, S60, S80)."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import select

from server.dashboard import order_queries
from server.db import db
from server.mail.models import Mail
from server.orders import service
from server.orders.models import Assignment
from server.shops.models import PaymentUpdate
from tests.factories import AT, make_merchant, make_order, make_posting, make_shop
from tests.server.dashboard.visitor import member


@pytest.fixture
def merchant(app):
    return make_merchant()


@pytest.fixture
def shop(merchant):
    return make_shop(merchant)


@pytest.fixture
def anna(app, merchant):
    return member(app, merchant)


def numbers(answer) -> list[str]:
    return re.findall(r'class="go" href="/orders/\d+">([^<]+)</a>', answer.text)


def words(answer) -> str:
    """The text of a page, without marks and with plain blanks."""
    return " ".join(re.sub(r"<[^>]*>", " ", answer.text).replace("\u00a0", " ").split())


@pytest.mark.feature("K63")
def test_the_filter_in_the_url_narrows_the_list(merchant, shop, anna):
    other = make_shop(merchant, "Zweiter Laden")
    one = make_order(shop, invoices=[{"number": "R-77", "date": None}])
    two = make_order(other, payment_method="invoice", shop_status="processing")
    three = make_order(shop, ordered_at="2026-02-01T10:00:00+00:00")
    service.mark_as_paid(merchant.id, three.id, actor="x", at=AT)
    db.session.commit()

    def found(query: str) -> set[str]:
        return set(numbers(anna.get(f"/orders?period=all&{query}")))

    assert found("") == {one.number, two.number, three.number}
    assert found("code=invoice") == {two.number}
    assert found(f"shop={other.id}") == {two.number}
    assert found("status=paid") == {three.number}
    assert found("status=open") == {one.number, two.number}
    assert found("from=2026-02-28&to=2026-03-02") == {one.number, two.number}
    assert found("to=2026-02-01") == {three.number}
    assert found("q=r-77") == {one.number}
    assert found("q=mustermann+erika") == {one.number, two.number, three.number}
    assert found("q=ERIKA@example.org") == {one.number, two.number, three.number}
    assert found(f"q={one.payment_reference.lower()}") == {one.number}
    assert found("q=%25") == set()
    assert found("status=overpaid") == found("status=overdue") == set()
    posting = make_posting(merchant, "30.00")
    service.assign(merchant.id, posting.id, [(one.id, posting.amount)], actor="x", at=AT)
    two.cancelled_at = AT
    service.settle(two, AT)
    db.session.commit()
    assert found("status=overpaid") == {one.number}
    assert found("status=overdue") == {two.number}
    assert found("status=cancelled") == set()


@pytest.mark.parametrize(
    "query",
    [
        "shop=x&status=x&code=x&period=x&from=x&to=x&before=x",
        "shop=99999999999999999999&before=9-9&q=%00",
        "before=99999999999999999-1",
        "from=0001-01-01&to=9999-12-31",
        "after=-1--1",
    ],
)
def test_filters_that_make_no_sense_are_no_error(shop, anna, query):
    make_order(shop)
    assert anna.get(f"/orders?{query}").status_code == 200


def test_pages_follow_each_other_without_gaps_in_both_directions(shop, anna, monkeypatch):
    monkeypatch.setattr(order_queries, "ORDERS_A_PAGE", 2)
    made = [make_order(shop, ordered_at=f"2026-03-0{d}T10:00:00+00:00") for d in (1, 2, 2, 3, 4)]
    wanted = [order.number for order in reversed(made)]
    answer = anna.get("/orders?period=all")
    seen = [numbers(answer)]
    while link := re.search(r'rel="next" href="([^"]+)"', answer.text):
        answer = anna.get(link[1].replace("&amp;", "&"))
        seen.append(numbers(answer))
    assert [number for page in seen for number in page] == wanted
    while link := re.search(r'rel="prev" href="([^"]+)"', answer.text):
        answer = anna.get(link[1].replace("&amp;", "&"))
        seen.pop()
        assert numbers(answer) == seen[-1]
    assert len(seen) == 1


def test_the_sums_are_those_of_the_filter_not_of_the_page(merchant, shop, anna, monkeypatch):
    monkeypatch.setattr(order_queries, "ORDERS_A_PAGE", 1)
    for total in ("10.00", "20.00", "40.00"):
        order = make_order(shop, total=total)
    service.mark_as_paid(merchant.id, order.id, actor="x", at=AT)
    db.session.commit()
    text = words(anna.get("/orders?period=all"))
    assert "3 Bestellungen · Betrag 70,00 € · offen 30,00 €" in text


def test_an_empty_list_says_what_to_do_next(app, anna):
    assert "Noch keine Bestellung" in anna.get("/orders").text
    assert "Nichts gefunden" in anna.get("/orders?q=nichts").text


@pytest.mark.feature("S56")
def test_an_order_shows_everything_that_is_known(merchant, shop, anna):
    order = make_order(
        shop,
        customer={"email": "erika@example.org", "language": "en", "number": "K-9"},
        payment_terms={"discount_percent": "2", "discount_days": 14, "net_days": 30},
        items=[{"name": "Kupferstich", "quantity": "1.5"}],
        tracking_numbers=["TR-1"],
    )
    posting = make_posting(merchant, "9.90", f"{order.number}")
    service.book_payment(
        order,
        posting,
        posting.amount,
        service.Ledger([order.id], [posting.id]),
        origin="auto",
        actor="",
        at=AT,
        probability=0.9993,
        evidence=["9.90 is less than 19.90 (-1.5)"],
    )
    db.session.commit()
    text = words(anna.get(f"/orders/{order.id}"))
    for known in (
        "Teilbezahlt",
        "19,90 €",
        "10,00 €",
        "Heidestraße 17",
        "K-9",
        "2 % in 14 Tagen, 30 Tage netto",
        "1,5 × Kupferstich",
        "TR-1",
        order.payment_reference,
        "Englisch",
        "99,9 % sicher",
        "9,90 ist weniger als die offenen 19,90",
        "automatisch zugeordnet",
        "Offen → Teilbezahlt",
        "Zahlungsinformation",
        "„Teilbezahlt“ an Laden",
    ):
        assert known in text, known


@pytest.mark.feature("K1", "K2", "K3")
def test_the_status_is_a_word_and_an_icon(merchant, shop, anna):
    order = make_order(shop)
    assert "#unpaid" in anna.get(f"/orders/{order.id}").text
    posting = make_posting(merchant, "25.00")
    for amount, icon, word in (("5.00", "partial", "Teilbezahlt"), ("20.00", "over", "Überzahlt")):
        service.assign(merchant.id, posting.id, [(order.id, posting.amount.__class__(amount))],
                       actor="x", at=AT)  # fmt: skip
        db.session.commit()
        page = anna.get(f"/orders/{order.id}").text
        assert f"#{icon}" in page and word in page


@pytest.mark.feature("S60")
def test_the_invoice_number_is_a_link_once_the_file_is_there(merchant, shop, anna):
    order = make_order(shop, invoices=[{"number": "R/7 ä", "date": "2026-03-01"}])
    page = anna.get(f"/orders/{order.id}").text
    assert "R/7 ä" in page and "/invoices/" not in page
    service.store_invoice(order, "R/7 ä", b"%PDF-1.7 the file", AT)
    db.session.commit()
    link = re.search(r'href="(/orders/\d+/invoices/\d+)"', anna.get(f"/orders/{order.id}").text)
    assert link
    answer = anna.get(link[1])
    assert answer.data == b"%PDF-1.7 the file" and answer.mimetype == "application/pdf"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert "sandbox" in answer.headers["Content-Security-Policy"]


@pytest.mark.feature("S80")
def test_marked_as_paid_the_shop_is_told_and_it_can_be_undone(shop, anna):
    order = make_order(shop)
    asked = anna.get(f"/orders/{order.id}/mark-as-paid")
    assert f"{order.number} als bezahlt markieren?" in asked.text
    answer = anna.post(f"/orders/{order.id}/mark-as-paid")
    assert answer.location == f"/orders/{order.id}?done=marked_as_paid"
    page = anna.get(answer.location)
    assert "Als bezahlt markiert." in page.text and order.payment_status == "paid"
    update = db.session.scalars(select(PaymentUpdate)).one()
    assert (update.intent, update.status) == ("paid", "queued")
    row = db.session.scalars(select(Assignment)).one()
    assert (row.decided_by, row.posting_id) == ("anna@example.org", None)
    anna.post(f"/orders/{order.id}/assignments/{row.id}/undo")
    assert order.payment_status == "unpaid"
    again = anna.post(f"/orders/{order.id}/assignments/{row.id}/undo")
    assert again.status_code == 409 and "schon rückgängig" in again.text


def test_a_paid_order_cannot_be_marked_again(shop, anna):
    order = make_order(shop)
    anna.post(f"/orders/{order.id}/mark-as-paid")
    again = anna.post(f"/orders/{order.id}/mark-as-paid")
    assert again.status_code == 409 and "ist schon bezahlt" in again.text
    assert len(db.session.scalars(select(Assignment)).all()) == 1


@pytest.mark.feature("S4")
def test_a_mail_is_opened_in_a_frame_that_may_do_nothing(shop, anna):
    order = make_order(shop)
    mail = db.session.scalars(select(Mail)).one()
    mail.status, mail.error = "failed", "550 no such user"
    db.session.commit()
    page = anna.get(f"/mails/{mail.id}").text
    assert "550 no such user" in page and "Nicht gesendet" in page
    frame = re.search(r'<iframe[^>]* sandbox src="([^"]+)"', page)
    assert frame
    content = anna.get(frame[1])
    policy = content.headers["Content-Security-Policy"]
    assert "sandbox" in policy and "default-src 'none'" in policy
    assert order.number in content.text
    assert "data:image/png;base64," in content.text and "cid:" not in content.text


def test_the_code_on_the_page_is_for_what_is_still_open(shop, anna):
    order = make_order(shop)
    answer = anna.get(f"/orders/{order.id}/qr.png")
    assert answer.data.startswith(b"\x89PNG")
    anna.post(f"/orders/{order.id}/mark-as-paid")
    assert anna.get(f"/orders/{order.id}/qr.png").status_code == 404
