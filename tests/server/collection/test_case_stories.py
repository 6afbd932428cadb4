"""A case from the hand-over to its end, with a partner who answers over HTTP."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from plugin_sdk.errors import Misconfigured
from server.collection import service
from server.db import db
from server.dunning import service as dunning
from server.orders import lifecycle
from server.orders.ledger import NotPossible
from server.orders.models import CollectionCase, CollectionEvent, PaymentClaim, Reminder
from server.orders.service import undo
from tests.factories import make_merchant, make_order, make_shop
from tests.server.collection.steps import (
    ANNA,
    HANDED,
    LATER,
    PDF,
    case_of,
    events_of,
    hand_over,
    name_partner,
    pay,
    told_shop,
    work,
)

A_DAY = timedelta(days=1)


@pytest.mark.feature("S79", "K61")
def test_a_case_is_opened_at_the_partner_with_its_papers(order, by_http, partner):
    hand_over(order)
    assert work(HANDED) == 0, "it may still be taken back"
    assert work() == 1
    case = case_of(order)
    assert (case.is_opened, case.adapter, case.partner_name) == (True, "http", "Inkasso Muster")
    assert (case.partner_reference, case.state) == (partner.only.reference, "handed_over")
    assert case.partner_url == f"https://partner.example.com/cases/{case.partner_reference}"
    told = partner.only.case
    assert told["debtor"]["name"] == "Erika Mustermann"
    assert told["claim"]["total"] == "119.00"
    assert told["invoices"][0]["date"] == "2026-03-02"
    assert told["order"]["items"] == [
        {"number": "B-7", "name": "Faust, Erstausgabe", "quantity": "1"}
    ]
    assert told["creditor"]["contact_name"] == "Anna Beispiel"
    assert told["creditor"]["contact_phone"] == "0123 456789-0"
    assert PDF in partner.only.dossier
    assert (case.status, case.due_at) == ("queued", LATER + A_DAY)
    assert order.collection_at == HANDED


@pytest.mark.feature("S79")
def test_taken_back_within_the_quarter_of_an_hour_nobody_hears_of_it(order, by_http, partner):
    hand_over(order)
    lifecycle.take_from_collection(order.merchant_id, order.id, actor=ANNA, at=HANDED)
    db.session.commit()
    assert work() == 0
    case = case_of(order)
    assert (case.state, case.status, case.ended_at) == ("cancelled", "withheld", HANDED)
    assert partner.asked == []
    assert events_of(order) == ["handed_over", "taken_back"]


@pytest.mark.feature("K62")
def test_taken_back_later_the_partner_is_told(order, by_http, partner):
    hand_over(order)
    work()
    service.cancel_case(order.merchant_id, case_of(order).id, actor=ANNA, at=LATER)
    db.session.commit()
    assert work() == 1
    assert partner.only.state == "withdrawn"
    case = case_of(order)
    assert (case.state, case.is_withdrawn, case.status) == ("cancelled", True, "done")
    assert order.payment_status == "unpaid"
    with pytest.raises(NotPossible, match="collection_cannot_cancel"):
        service.cancel_case(order.merchant_id, case.id, actor=ANNA, at=LATER)


def test_taken_back_while_it_is_on_its_way(order, by_http, partner):
    hand_over(order)
    (case,) = CollectionCase.claim(1, LATER)
    errand = service.errand_of(case.id, LATER)
    db.session.commit()
    outcome = service.run_errand(errand, LATER)
    lifecycle.take_from_collection(order.merchant_id, order.id, actor=ANNA, at=LATER)
    db.session.commit()
    service.settle_errand(errand, outcome, LATER)
    db.session.commit()
    assert work() == 1
    assert (partner.only.state, case_of(order).is_withdrawn) == ("withdrawn", True)


@pytest.mark.feature("S79")
def test_an_order_that_was_taken_back_can_be_handed_over_once_more(order, by_http, partner):
    hand_over(order)
    work()
    lifecycle.take_from_collection(order.merchant_id, order.id, actor=ANNA, at=LATER)
    db.session.commit()
    work()
    hand_over(order, LATER)
    work(LATER + A_DAY)
    assert len(partner.cases) == 2
    assert case_of(order).partner_reference == "PF-2"


@pytest.mark.feature("K62")
def test_direct_payments_are_told_and_end_the_case_when_all_is_paid(order, by_http, partner):
    hand_over(order)
    work()
    pay(order, "19.00")
    assert work() == 1
    assert partner.only.payments[-1]["paid_total"] == "19.00"
    assert case_of(order).state == "handed_over"
    row = pay(order, "100.00")
    work()
    (told,) = partner.only.payments[-1:]
    assert (told["paid_total"], [one["amount"] for one in told["payments"]]) == (
        "119.00",
        ["19.00", "100.00"],
    )
    case = case_of(order)
    assert (order.payment_status, case.state, case.status) == ("paid", "paid", "done")
    undo(order.merchant_id, row.id, actor=ANNA, at=LATER)
    db.session.commit()
    work()
    assert partner.only.payments[-1]["paid_total"] == "19.00"
    assert (case_of(order).state, order.payment_status) == ("accepted", "collection")


def test_what_is_paid_before_anybody_got_the_papers_needs_nobody(order, by_http, partner):
    hand_over(order)
    pay(order, "119.00", HANDED + timedelta(minutes=1))
    assert work() == 1
    assert (case_of(order).state, case_of(order).status) == ("cancelled", "withheld")
    assert partner.asked == []


def test_part_of_it_paid_before_is_in_the_papers_and_not_told_again(order, by_http, partner):
    pay(order, "19.00", HANDED - A_DAY)
    hand_over(order)
    pay(order, "20.00", HANDED + timedelta(minutes=1))
    work()
    case = case_of(order)
    assert (case.principal, case.told_paid) == (Decimal(100), Decimal(20))
    payments = partner.only.case["payments"]
    assert [(one["amount"], one["is_after_hand_over"]) for one in payments] == [
        ("19.00", False),
        ("20.00", True),
    ]
    assert partner.only.payments == []


@pytest.mark.feature("K6", "K62", "S27")
def test_what_the_partner_collects_makes_the_order_paid(order, shop, by_http, partner):
    hand_over(order)
    work()
    partner.becomes("accepted", "The debtor has been written to")
    work(LATER + A_DAY)
    partner.becomes("paid", "Paid in full", "119.00")
    work(LATER + 2 * A_DAY)
    case = case_of(order)
    assert (case.state, case.status) == ("paid", "done")
    assert order.payment_status == "paid"
    told = [one for one in events_of(order) if one == "told"]
    assert len(told) == 2, "each of his events once"
    assert told_shop(order) == [("collection", "in-collection"), ("paid", "completed")]
    assert partner.only.payments == [], "he knows what he collected himself"
    with pytest.raises(NotPossible, match="collection_cannot_cancel"):
        service.cancel_case(order.merchant_id, case.id, actor=ANNA, at=LATER + 2 * A_DAY)


@pytest.mark.feature("S27")
def test_the_shop_hears_of_overdue_collection_and_the_way_back(order, shop, by_http):
    lifecycle.cancel_order(order.merchant_id, order.id, actor=ANNA, at=HANDED)
    hand_over(order)
    assert told_shop(order) == [("overdue", "overdue"), ("collection", "in-collection")]
    lifecycle.take_from_collection(order.merchant_id, order.id, actor=ANNA, at=LATER)
    db.session.commit()
    assert told_shop(order)[-1] == ("overdue", "overdue")


@pytest.mark.parametrize(
    ("said", "state"), [("closed", "closed"), ("rejected", "rejected"), ("in_progress", "accepted")]
)
def test_other_words_of_the_partner(order, by_http, partner, said, state):
    hand_over(order)
    work()
    partner.becomes(said, "no success")
    work(LATER + A_DAY)
    case = case_of(order)
    assert (case.state, case.ended_at is None) == (state, state == "accepted")
    assert order.payment_status == "collection"
    asked = len(partner.asked)
    work(LATER + 3 * A_DAY)
    assert (len(partner.asked) == asked) == (state != "accepted"), "what is over is not asked for"


def test_a_word_that_nobody_knows_changes_nothing(order, by_http, partner):
    hand_over(order)
    work()
    partner.becomes("garnished", "Ein neues Wort", "12.00")
    work(LATER + A_DAY)
    assert case_of(order).state == "handed_over"
    event = db.session.query(CollectionEvent).filter_by(kind="told").one()
    assert (event.words, event.amount, event.state) == ("Ein neues Wort", Decimal(12), None)


# --- trouble -----------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [500, 503, 429, "drop", "nonsense"])
def test_a_partner_who_is_away_is_asked_again_and_has_one_case(order, by_http, partner, fault):
    partner.faults = [fault]
    hand_over(order)
    assert work() == 1
    case = case_of(order)
    assert (case.is_opened, case.status) == (False, "queued")
    assert case.due_at > LATER
    work(LATER + A_DAY)
    assert len(partner.cases) == 1
    assert case_of(order).is_opened


def test_a_partner_who_hangs(order, by_http, partner, monkeypatch):
    monkeypatch.setattr("server.collection.partners.READ_TIMEOUT_SECONDS", 0.2)
    partner.faults = ["hang"]
    hand_over(order)
    work()
    assert "cannot be reached" in case_of(order).error
    partner.released.set()


def test_an_answer_that_got_lost_makes_no_second_case(order, by_http, partner):
    hand_over(order)
    (case,) = CollectionCase.claim(1, LATER)
    errand = service.errand_of(case.id, LATER)
    service.run_errand(errand, LATER)  # and the worker dies
    case.put_back(LATER)
    db.session.commit()
    work()
    assert (len(partner.cases), case_of(order).partner_reference) == (1, "PF-1")


def test_a_wrong_token_is_told_and_nothing_is_lost(order, merchant, partner, allowed):
    name_partner(merchant, "http", url=partner.url, token="another")
    hand_over(order)
    work()
    found = service.partner_of(merchant.id)
    assert "The key was refused" in found.error and found.error_since == LATER
    assert "another" not in found.error
    assert case_of(order).status == "queued"
    name_partner(merchant, "http", url=partner.url)
    work(LATER + A_DAY)
    assert service.partner_of(merchant.id).error is None
    assert case_of(order).is_opened


def test_a_partner_who_refuses_the_case_for_good(order, by_http, partner):
    partner.faults = [422]
    hand_over(order)
    work()
    case = case_of(order)
    assert (case.status, case.state, case.is_opened) == ("failed", "handed_over", False)
    assert events_of(order)[-1] == "not_handed_over"
    service.hand_over_now(order.merchant_id, case.id, actor=ANNA, at=LATER)
    db.session.commit()
    work()
    assert case_of(order).is_opened


@pytest.mark.parametrize("act", ["pay", "take_back"])
def test_a_case_that_the_partner_closed_already(order, by_http, partner, act):
    hand_over(order)
    work()
    partner.only.state = "closed"
    if act == "pay":
        pay(order, "19.00")
    else:
        lifecycle.take_from_collection(order.merchant_id, order.id, actor=ANNA, at=LATER)
        db.session.commit()
    work()
    case = case_of(order)
    assert events_of(order).count("report_refused" if act == "pay" else "withdraw_refused") == 1
    assert case.status == "done"
    assert case.state == ("closed" if act == "pay" else "cancelled")


def test_whoever_is_no_longer_the_partner_is_told_nothing(order, merchant, by_http, partner):
    hand_over(order)
    work()
    asked = len(partner.asked)
    service.remove_partner(merchant.id)
    pay(order, "19.00")
    work()
    assert len(partner.asked) == asked
    assert events_of(order)[-1] == "report_refused"


def test_a_partner_with_a_new_name_keeps_his_cases(order, merchant, by_http, partner):
    hand_over(order)
    work()
    service.set_partner(
        merchant.id, "http", service.settings_of_partner(service.partner_of(merchant.id)),
        name="Muster & Partner", contact_name="Anna", contact_phone="1", actor=ANNA, at=LATER,
    )  # fmt: skip
    pay(order, "19.00")
    work()
    assert partner.only.payments


# --- without a partner, and by hand ------------------------------------------------------------


@pytest.mark.feature("K62")
def test_without_a_partner_the_merchant_does_it_himself(order, allowed):
    hand_over(order)
    work()
    case = case_of(order)
    assert (case.status, case.error) == ("withheld", service.NO_PARTNER)
    service.record_by_hand(order.merchant_id, case.id, "accepted", "Az. 4711", actor=ANNA, at=LATER)
    service.record_by_hand(order.merchant_id, case.id, "paid", "", actor=ANNA, at=LATER)
    db.session.commit()
    assert (case_of(order).state, order.payment_status) == ("paid", "paid")
    assert events_of(order) == ["handed_over", "noted", "state", "state"]
    rows = db.session.query(CollectionEvent).filter_by(case_id=case.id)
    assert {row.actor for row in rows} == {ANNA}


@pytest.mark.feature("K6", "K62")
def test_what_he_said_on_the_phone_to_have_collected_is_not_told_him(order, by_http, partner):
    hand_over(order)
    work()
    service.record_by_hand(
        order.merchant_id, case_of(order).id, "paid", "by phone", actor=ANNA, at=LATER
    )
    db.session.commit()
    work()
    assert (order.payment_status, partner.only.payments) == ("paid", [])
    recorded = db.session.query(CollectionEvent).filter_by(kind="state").one()
    assert (recorded.state, recorded.actor) == ("paid", ANNA)


@pytest.mark.parametrize(
    ("state", "words", "why"),
    [("cancelled", "", "no_state"), ("", "  ", "nothing_recorded"), ("won", "x", "no_state")],
)
def test_what_cannot_be_recorded(order, allowed, state, words, why):
    case = hand_over(order)
    with pytest.raises(NotPossible, match=f"collection_{why}"):
        service.record_by_hand(order.merchant_id, case.id, state, words, actor=ANNA, at=LATER)


@pytest.mark.feature("K62")
def test_only_who_can_be_asked_is_asked(order, merchant, allowed):
    name_partner(merchant, "folder")
    case = hand_over(order)
    work()
    assert not service.can_be_asked(case_of(order))
    with pytest.raises(NotPossible, match="collection_no_refresh"):
        service.refresh_errand(case_of(order))
    assert case.status == "done"


def test_a_case_of_another_merchant_is_none(order, allowed):
    case = hand_over(order)
    stranger = make_merchant("Bobs Laden")
    for act in (service.cancel_case, service.hand_over_now):
        with pytest.raises(NotPossible, match="order_unknown"):
            act(stranger.id, case.id, actor="bob", at=LATER)
    assert service.case_of(stranger.id, case.id) is None


@pytest.mark.feature("K61")
def test_who_claims_to_have_paid_is_handed_over_only_by_somebody_who_says_so(order, merchant):
    claim = PaymentClaim(merchant_id=merchant.id, order_id=order.id, claimed_at=HANDED)
    db.session.add(claim)
    db.session.commit()
    assert "claims_paid" in dunning.collection_doubts(order, HANDED)
    with pytest.raises(NotPossible, match="collection_in_doubt"):
        dunning.hand_over(merchant.id, order.id, actor=ANNA, at=HANDED)
    dunning.hand_over(merchant.id, order.id, actor=ANNA, at=HANDED, anyway=True)
    assert order.payment_status == "collection"


def test_what_was_charged_is_part_of_the_claim(order, by_http):
    for level, fee, interest in ((1, 0, "0.50"), (2, "2.50", "1.25")):
        db.session.add(
            Reminder(
                merchant_id=order.merchant_id,
                order_id=order.id,
                level=level,
                sent_on=HANDED.date() - timedelta(days=20 - level),
                fee=Decimal(fee),
                interest=Decimal(interest),
            )
        )
    db.session.commit()
    case = hand_over(order)
    assert (case.principal, case.fees, case.interest) == (
        Decimal(119),
        Decimal("2.50"),
        Decimal("1.25"),
    )


def test_another_merchants_case_is_not_woken(order, by_http, partner):
    hand_over(order)
    work()
    other = make_merchant("Bobs Laden")
    pay(make_order(make_shop(other)), "19.90")
    assert work() == 0


@pytest.mark.feature("K62")
def test_what_is_paid_while_the_dossier_is_on_its_way_is_told(order, by_http, partner):
    """The dossier was written before it came, so it does not say it."""
    hand_over(order)
    (case,) = CollectionCase.claim(1, LATER)
    errand = service.errand_of(case.id, LATER)
    db.session.commit()
    outcome = service.run_errand(errand, LATER)
    pay(order, "119.00")
    service.settle_errand(errand, outcome, LATER)
    db.session.commit()
    work()
    assert [one["paid_total"] for one in partner.only.payments] == ["119.00"]
    assert case_of(order).state == "paid"


def test_a_payment_that_was_taken_back_before_anybody_got_the_papers(order, by_http, partner):
    """The debt is there again, and so is the case: nobody else would think of it."""
    hand_over(order)
    row = pay(order, "119.00", HANDED + timedelta(minutes=1))
    work()
    assert case_of(order).state == "cancelled"
    undo(order.merchant_id, row.id, actor=ANNA, at=LATER)
    db.session.commit()
    assert order.payment_status == "collection"
    work()
    case = case_of(order)
    assert (case.is_opened, case.state, case.ended_at) == (True, "handed_over", None)
    assert events_of(order)[1:4] == ["settled_first", "state", "opened"]


def test_what_waits_for_a_partner_is_over_when_it_is_paid(order, allowed):
    hand_over(order)
    work()
    assert case_of(order).error == service.NO_PARTNER
    pay(order, "119.00")
    work()
    case = case_of(order)
    assert (case.state, case.status, case.ended_at) == ("cancelled", "withheld", LATER)


@pytest.mark.feature("K62")
@pytest.mark.parametrize("adapter", ["folder", None])
def test_a_case_belongs_to_whom_it_was_handed_to(order, merchant, by_http, partner, adapter):
    """Although the merchant has named another, or nobody, while the papers were on their way."""
    hand_over(order)
    (claimed,) = CollectionCase.claim(1, LATER)
    errand = service.errand_of(claimed.id, LATER)
    db.session.commit()
    assert errand is not None
    outcome = service.run_errand(errand, LATER)
    if adapter:
        name_partner(merchant, adapter)
    else:
        service.remove_partner(merchant.id)
    service.settle_errand(errand, outcome, LATER)
    db.session.commit()
    case = case_of(order)
    assert (case.is_opened, case.adapter, case.partner_name) == (True, "http", "Inkasso Muster")
    assert case.partner_reference == partner.only.reference


@pytest.mark.feature("K62")
def test_trouble_of_the_partner_before_is_not_that_of_the_new_one(order, merchant, by_http):
    hand_over(order)
    (claimed,) = CollectionCase.claim(1, LATER)
    errand = service.errand_of(claimed.id, LATER)
    db.session.commit()
    assert errand is not None
    name_partner(merchant, "folder")
    service.settle_errand(errand, service.Outcome(trouble=Misconfigured("a wrong token")), LATER)
    db.session.commit()
    assert service.partner_of(merchant.id).error is None
