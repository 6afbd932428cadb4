"""The inbox: why, the runner-up, differences, credit, returned money, proposals."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select

from server.banking.models import IgnoreRule, Posting
from server.db import db
from server.matching.models import MatchDecision
from server.merchants.service import change_setting
from server.orders import returns, service
from server.orders.models import Assignment, Credit, MatchRequest, OrderEvent, Suggestion
from tests.factories import AT, make_merchant, make_order, make_posting, make_shop
from tests.server.dashboard.visitor import member

ACTOR = "anna@example.org"


@pytest.fixture
def merchant(app):
    return make_merchant()


@pytest.fixture
def shop(merchant):
    return make_shop(merchant)


@pytest.fixture
def anna(app, merchant):
    return member(app, merchant)


def suggest(posting, *parts, **over: Any) -> Suggestion:
    values: dict[str, Any] = {
        "rank": 0,
        "orders": [{"order_id": order.id, "amount": amount} for order, amount in parts],
        "probability": Decimal("0.97"),
    }
    row = Suggestion(merchant_id=posting.merchant_id, posting_id=posting.id, **(values | over))
    db.session.add(row)
    db.session.commit()
    return row


def differences() -> list[tuple[Decimal, str | None]]:
    rows = db.session.scalars(select(Assignment).where(Assignment.origin == "difference"))
    return [(row.amount, row.because) for row in rows]


def credits() -> int:
    return int(db.session.scalar(select(func.count()).select_from(Credit)) or 0)


# --- why --------------------------------------------------------------------------------------


@pytest.mark.feature("N2")
def test_the_decision_names_runner_up_level_and_rules(merchant, shop, anna):
    first, second = make_order(shop), make_order(shop)
    posting = make_posting(merchant, "19.90", first.number)
    suggest(posting, (first, "19.90"))
    db.session.add(
        MatchDecision(
            merchant_id=merchant.id, posting_id=posting.id, choice="suggest", probability="0.97",
            shares=[{"order_id": first.id, "amount": "19.90"}], level="careful", mode="review",
            runner_up={"orders": [second.id], "probability": "0.034"}, rule_version="2026.11",
        )
    )  # fmt: skip
    db.session.commit()
    page = re.sub(r"<[^>]+>", "", anna.get(f"/postings/{posting.id}").text)
    assert f"Auf Platz zwei{second.number}, 3,4\u00a0%" in page
    assert "Vorsichtig · Prüfen und buchen" in page
    assert "Regeln 2026.11" in page


def test_without_a_decision_there_is_nothing_to_explain(merchant, anna):
    posting = make_posting(merchant)
    assert "Wie Kontor entschieden hat" not in anna.get(f"/postings/{posting.id}").text


def test_every_field_in_which_something_was_found_is_marked(merchant, shop, anna):
    order = make_order(shop)
    posting = make_posting(
        merchant, "19.90", "Danke", end_to_end_id=order.number, counterparty_name="Erika & Co"
    )
    found = [
        {"kind": "number", "weight": 6.5, "span": ["end_to_end_id", 0, 3],
         "facts": {"written": order.number, "what": "order number", "number": order.number}},
        {"kind": "name_full", "weight": 2.7, "span": ["counterparty_name", 0, 7],
         "facts": {"name": "Erika"}},
    ]  # fmt: skip
    suggest(posting, (order, "19.90"), evidence=found)
    page = anna.get(f"/postings/{posting.id}").text
    assert f"<mark>{order.number[:3]}</mark>{order.number[3:]}" in page
    assert "<mark>Erika &amp;</mark> Co" in page


# --- differences and the rest -----------------------------------------------------------------


@pytest.mark.feature("C7")
def test_a_split_says_why_an_order_that_is_short_counts_as_paid(merchant, shop, anna):
    one, two = make_order(shop, total="50.00"), make_order(shop, total="30.00")
    posting = make_posting(merchant, "75.00")
    page = anna.get(f"/postings/{posting.id}?order={one.id}&order={two.id}").text
    assert f'name="difference-{one.id}"' in page and ">Bankgebühr</option>" in page
    form = {
        f"amount-{one.id}": "47,50", f"difference-{one.id}": "bank_fee",
        f"amount-{two.id}": "27,50", f"difference-{two.id}": "",
    }  # fmt: skip
    answer = anna.post(f"/postings/{posting.id}/assign", form)
    assert answer.status_code == 303
    assert (one.payment_status, two.payment_status) == ("paid", "partially_paid")
    assert differences() == [(Decimal("2.50"), "bank_fee")]
    for path in (f"/postings/{posting.id}?state=all", f"/orders/{one.id}"):
        assert "2,50\u00a0€ gelten als bezahlt: Bankgebühr" in anna.get(path).text
    anna.post(f"/postings/{posting.id}/undo", {"assignment": "all"})
    assert (one.payment_status, two.payment_status) == ("unpaid", "unpaid")


def test_what_was_typed_is_still_there_when_something_is_wrong(merchant, shop, anna):
    order = make_order(shop, total="50.00")
    posting = make_posting(merchant, "40.00")
    form = {
        f"amount-{order.id}": "vierzig", f"difference-{order.id}": "goodwill", "rest": "credit",
    }  # fmt: skip
    answer = anna.post(f"/postings/{posting.id}/assign", form)
    assert answer.status_code == 409
    assert 'value="vierzig"' in answer.text
    assert '<option value="goodwill" selected>' in answer.text
    assert '<option value="credit" selected>' in answer.text
    assert order.payment_status == "unpaid"


@pytest.mark.feature("C12")
def test_what_a_suggestion_leaves_over_is_kept_in_the_same_click(merchant, shop, anna):
    order = make_order(shop, total="49.90")
    posting = make_posting(merchant, "52.90")
    suggestion = suggest(posting, (order, "49.90"))
    assert "Zuordnen, Rest als Guthaben" in anna.get(f"/postings/{posting.id}").text
    form = {"suggestion": suggestion.id, "rest": "credit"}
    assert anna.post(f"/postings/{posting.id}/confirm", form).status_code == 303
    assert order.payment_status == "paid" and posting.is_kept and not posting.is_open
    page = anna.get(f"/postings/{posting.id}?state=kept").text
    assert "3,00\u00a0€ sind Guthaben." in page
    assert "noch 3,00" not in page


@pytest.mark.feature("C12", "N22")
def test_a_rest_is_kept_and_the_toast_takes_it_back(merchant, shop, anna):
    order = make_order(shop, total="10.00")
    posting = make_posting(merchant, "25.00")
    part = [(order.id, Decimal("10.00"))]
    service.assign(merchant.id, posting.id, part, actor=ACTOR, at=AT)
    db.session.commit()
    page = anna.get(f"/postings/{posting.id}").text
    assert "15,00\u00a0€ sind übrig" in page and 'data-key="c"' in page
    answer = anna.post(f"/postings/{posting.id}/keep", {"order": order.id})
    toast = anna.get(answer.location).text
    assert "als Guthaben behalten." in toast
    undo = re.search(r'action="(/postings/\d+/release)"', toast)
    assert undo and credits() == 1
    anna.post(undo[1])
    assert credits() == 0 and posting.is_open


@pytest.mark.feature("N22", "S51")
def test_the_search_finds_paid_cancelled_and_removed_orders_with_their_status(merchant, shop, anna):
    paid, cancelled, removed = (
        make_order(shop, total=total, number=f"SUCH-{total}") for total in ("1.00", "2.00", "3.00")
    )
    service.mark_as_paid(merchant.id, paid.id, actor=ACTOR, at=AT)
    cancelled.cancelled_at = removed.removed_at = AT
    cancelled.payment_status, removed.payment_status = "cancelled", "removed"
    db.session.commit()
    posting = make_posting(merchant, "9.00")
    found = anna.get(f"/postings/{posting.id}/orders?q=such").text
    for word in ("Bezahlt", "Storniert", "Extern entfernt"):
        assert word in found
    assert "Als Guthaben behalten" in found


def test_keeping_refuses_what_is_no_order(merchant, anna):
    posting = make_posting(merchant)
    for wrong in ("", "x", "9" * 30, "4711"):
        assert anna.post(f"/postings/{posting.id}/keep", {"order": wrong}).status_code == 409
    assert posting.is_open


@pytest.mark.feature("K44", "N22")
def test_ignoring_may_make_the_rule_for_everything_from_there(merchant, anna):
    posting = make_posting(merchant, "5.00", counterparty_iban="DE12500105170648489890")
    page = anna.get(f"/postings/{posting.id}").text
    assert "und künftig alles von DE12 5001 0517 0648 4898 90" in page
    answer = anna.post(f"/postings/{posting.id}/ignore", {"always": "on"})
    assert "und künftig alles von dort" in anna.get(answer.location).text
    (rule,) = db.session.scalars(select(IgnoreRule))
    assert (rule.kind, rule.value) == ("iban", "DE12500105170648489890")
    assert posting.ignored_at is not None


# --- returned money ---------------------------------------------------------------------------


@pytest.fixture
def returned(merchant, shop):
    """(order, payment, the posting that takes it back), offered with one click."""
    order = make_order(shop, total="49.90")
    paid = make_posting(merchant, "49.90", order.number, booking_date=date(2026, 11, 3))
    part = [(order.id, Decimal("49.90"))]
    service.assign(merchant.id, paid.id, part, actor=ACTOR, at=AT)
    back = make_posting(merchant, "-49.90", "RUECKGABE", is_return=True, is_open=False)
    found = {"kind": "return_amount", "weight": 2.0, "facts": {"amount": "49.90"}, "span": None}
    suggest(back, returns_id=paid.id, vetoes=["return"], evidence=[found])
    return order, paid, back


@pytest.mark.feature("N18", "C16")
def test_a_return_waits_in_the_inbox_and_is_booked_in_one_click(returned, anna):
    order, paid, back = returned
    page = anna.get("/postings").text
    assert f"/postings/{back.id}" in page and "1 ohne Zuordnung" in page
    shown = " ".join(re.sub(r"<[^>]+>", "", page).split())
    assert f"Das nimmt zurück: Zahlung vom 3.11.2026 über 49,90 € für {order.number}" in shown
    assert "49,90 € ist genau der damalige Betrag" in shown
    answer = anna.post(f"/postings/{back.id}/return", {"returned": paid.id})
    assert answer.status_code == 303
    assert order.payment_status == "unpaid" and paid.is_returned
    toast = anna.get(answer.location).text
    assert "Rückbuchung gebucht" in toast
    undo = re.search(r'action="(/postings/\d+/undo-return)"', toast)
    assert undo
    anna.post(undo[1])
    assert order.payment_status == "paid" and not paid.is_returned


@pytest.mark.feature("N18")
def test_both_ends_of_a_return_name_each_other(merchant, returned, anna):
    _, paid, back = returned
    returns.book_return(merchant.id, back.id, paid.id, actor=ACTOR, at=AT)
    db.session.commit()
    page = anna.get("/postings?state=returned").text
    assert f"/postings/{paid.id}" in page and "Zurückgeholt" in page
    there = anna.get(f"/postings/{paid.id}?state=all").text
    assert "Die Bank hat dieses Geld zurückgeholt." in there
    assert f'href="/postings/{back.id}' in there
    here = anna.get(f"/postings/{back.id}?state=all").text
    assert "Das nimmt zurück:" in here and f'href="/postings/{paid.id}' in here


@pytest.mark.feature("N18")
def test_a_return_that_is_nobodys_or_anybodys_is_refused_with_words(returned, anna):
    _, _, back = returned
    for wrong in ("", "x", "4711", str(back.id)):
        answer = anna.post(f"/postings/{back.id}/return", {"returned": wrong})
        assert answer.status_code == 409 and 'role="alert"' in answer.text


# --- review mode --------------------------------------------------------------------------------


def propose(merchant, shop, count: int) -> list[Posting]:
    postings = []
    for number in range(count):
        order = make_order(shop, total=f"{10 + number}.00")
        posting = make_posting(merchant, f"{10 + number}.00", order.number)
        suggest(posting, (order, str(order.total)), is_proposed=True)
        postings.append(posting)
    return postings


@pytest.mark.feature("C5")
def test_proposals_are_looked_through_and_booked_at_once(merchant, shop, anna):
    change_setting(merchant.id, "assignment", "review", actor=ACTOR, at=AT)
    first, second, third = propose(merchant, shop, 3)
    vetoed = propose(merchant, shop, 1)[0]
    db.session.scalars(
        select(Suggestion).where(Suggestion.posting_id == vetoed.id)
    ).one().vetoes = ["competing_posting"]
    db.session.commit()
    inbox = anna.get("/postings").text
    assert "3 Zuordnungen prüfen" in inbox and "Kontor würde buchen:" in inbox
    page = anna.get("/postings/proposals").text
    assert page.count('name="posting"') == page.count(" checked") == 3
    assert f'value="{vetoed.id}"' not in page
    answer = anna.post("/postings/proposals/book", {"posting": [first.id, second.id]})
    assert answer.location == "/postings/proposals?done=proposals_booked&n=2"
    assert "2 Umsätze gebucht." in anna.get(answer.location).text
    assert [one.is_open for one in (first, second, third, vetoed)] == [False, False, True, True]
    answer = anna.post("/postings/proposals/book", {"posting": third.id})
    assert answer.location == "/postings?done=proposals_booked&n=1"


@pytest.mark.feature("C5")
def test_one_proposal_is_booked_in_one_click(merchant, shop, anna):
    (posting,) = propose(merchant, shop, 1)
    wanted = re.search(r'name="suggestion" value="(\d+)"', anna.get("/postings").text)
    assert wanted
    anna.post(f"/postings/{posting.id}/confirm", {"suggestion": wanted[1]})
    assert not posting.is_open


def test_booking_proposals_asks_for_a_tick_and_takes_no_foreign_ids(merchant, shop, anna):
    (posting,) = propose(merchant, shop, 1)
    answer = anna.post("/postings/proposals/book", {"posting": ["x", "9" * 40]})
    assert answer.status_code == 422 and 'role="alert"' in answer.text
    others = make_shop(make_merchant("Bobs Laden"))
    foreign = propose(db.session.get_one(type(merchant), others.merchant_id), others, 1)[0]
    anna.post("/postings/proposals/book", {"posting": foreign.id})
    assert posting.is_open and foreign.is_open


def test_without_proposals_the_page_says_how_there_come_to_be_some(anna):
    assert "Nichts zu prüfen" in anna.get("/postings/proposals").text


@pytest.mark.feature("K48", "C5")
def test_matching_is_run_again_over_everything_open(merchant, anna):
    for amount in ("1.00", "2.00"):
        make_posting(merchant, amount, needs_match=False)
    answer = anna.post("/postings/look-again")
    assert "Kontor sieht sich 2 offene Umsätze noch einmal an." in anna.get(answer.location).text
    assert db.session.scalar(select(func.count()).where(Posting.needs_match)) == 2
    assert db.session.scalar(select(func.count()).select_from(MatchRequest)) == 1


# --- the order ----------------------------------------------------------------------------------


@pytest.mark.feature("C12")
def test_credit_of_the_customer_pays_the_order(merchant, shop, anna):
    old, new = make_order(shop, total="10.00"), make_order(shop, total="12.00")
    posting = make_posting(merchant, "15.00")
    part = [(old.id, Decimal("10.00"))]
    service.assign(merchant.id, posting.id, part, actor=ACTOR, at=AT)
    anna.post(f"/postings/{posting.id}/keep", {"order": old.id})
    page = anna.get(f"/orders/{new.id}").text
    assert "5,00\u00a0€ Guthaben dieser Kundschaft." in page
    answer = anna.post(f"/orders/{new.id}/credit", {"posting": posting.id})
    assert answer.status_code == 303 and new.payment_status == "partially_paid"
    assert "aus Guthaben" in anna.get(f"/orders/{new.id}").text
    for wrong in ("", "x", "4711"):
        assert anna.post(f"/orders/{new.id}/credit", {"posting": wrong}).status_code == 409


@pytest.fixture
def overpaid(merchant, shop):
    order = make_order(shop, total="19.90")
    posting = make_posting(merchant, "29.90", order.number)
    part = [(order.id, Decimal("29.90"))]
    service.assign(merchant.id, posting.id, part, actor=ACTOR, at=AT)
    db.session.commit()
    return order, posting


@pytest.mark.feature("C13")
def test_a_surplus_moves_to_another_order(overpaid, shop, anna):
    order, _ = overpaid
    other = make_order(shop, total="8.00")
    page = anna.get(f"/orders/{order.id}").text
    assert "10,00\u00a0€ zu viel bezahlt" in page and "8,00\u00a0€ umbuchen" in page
    form = {"to": other.id, "amount": "8,00"}
    assert anna.post(f"/orders/{order.id}/surplus", form).status_code == 303
    assert (other.payment_status, order.payment_status) == ("paid", "paid")
    assert "2,00\u00a0€ zu viel bezahlt" in anna.get(f"/orders/{order.id}").text
    kinds = set(db.session.scalars(select(OrderEvent.kind)))
    assert {"surplus_moved", "surplus_received"} <= kinds
    assert "umgebucht." in anna.get(f"/orders/{other.id}").text


def test_the_surplus_searches_among_all_orders(overpaid, shop, anna):
    order, _ = overpaid
    bobs = make_order(
        shop, number="FREMD-1", billing_address={"first_name": "Bob", "last_name": "Beispiel"},
        customer={"email": "bob@example.org"},
    )  # fmt: skip
    assert bobs.number not in anna.get(f"/orders/{order.id}").text
    assert bobs.number in anna.get(f"/orders/{order.id}?q=fremd").text
    assert "gibt es keine Bestellung" in anna.get(f"/orders/{order.id}?q=niemand").text


@pytest.mark.parametrize(
    "form", [{"to": "4711", "amount": "1,00"}, {"to": "x"}, {"to": "own", "amount": "1"},
             {"to": "own", "amount": "eins"}]
)  # fmt: skip
def test_a_surplus_that_cannot_move_is_refused_with_words(overpaid, anna, form):
    order, _ = overpaid
    wanted = form | ({"to": order.id} if form["to"] == "own" else {})
    answer = anna.post(f"/orders/{order.id}/surplus", wanted)
    assert answer.status_code == 409 and 'role="alert"' in answer.text


@pytest.mark.feature("C12", "C13")
def test_a_surplus_is_kept_as_credit(overpaid, anna):
    order, posting = overpaid
    assert anna.post(f"/orders/{order.id}/surplus/keep").status_code == 303
    assert posting.is_kept and credits() == 1
    assert "zu viel bezahlt" not in anna.get(f"/orders/{order.id}").text
    assert anna.post(f"/orders/{order.id}/surplus/keep").status_code == 409


@pytest.mark.feature("S85")
def test_name_and_number_for_the_matcher_while_the_order_is_open(merchant, shop, anna):
    order = make_order(shop)
    page = anna.get(f"/orders/{order.id}").text
    assert "Weiterer Name" in page and "Weitere Nummer" in page
    form = {"name": " Hausverwaltung Sonnenschein ", "number": "PRJ-77"}
    assert anna.post(f"/orders/{order.id}/additional", form).status_code == 303
    assert (order.additional_name, order.additional_number) == (
        "Hausverwaltung Sonnenschein", "PRJ-77",
    )  # fmt: skip
    assert 'value="PRJ-77"' in anna.get(f"/orders/{order.id}").text
    service.mark_as_paid(merchant.id, order.id, actor=ACTOR, at=AT)
    db.session.commit()
    page = anna.get(f"/orders/{order.id}").text
    assert "PRJ-77" in page and 'name="number"' not in page
    assert anna.post(f"/orders/{order.id}/additional", form).status_code == 409
