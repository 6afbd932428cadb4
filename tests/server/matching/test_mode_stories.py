"""Who books: the matcher, a person who looked at its proposals, or nobody yet."""

from __future__ import annotations

from datetime import timedelta

import pytest

from server.db import db, now
from server.mail.models import Mail
from server.matching.replay import shadow_report, what_if
from server.matching.service import book_proposals
from server.merchants.service import change_setting
from server.orders.asking import ask_waiting
from server.orders.models import Assignment
from tests.factories import make_merchant, make_order, make_posting, make_shop
from tests.server.matching.steps import (
    ANNA,
    AT,
    BOB,
    assign_by_hand,
    best_offer,
    booked,
    decisions,
    look_at_all_again,
    match_all,
    offers,
    only_assignment,
    push,
    queued,
    settle_on,
    status,
    updates,
)

SINCE = AT - timedelta(days=30)


# --- look again --------------------------------------------------------------------------------


@pytest.mark.feature("K48", "C5")
def test_what_lay_there_before_is_decided_anew_when_asked_for(merchant, shop):
    """The merchant's wishes changed; nothing else would make the matcher look again."""
    settle_on(merchant, max_order_age_days="2")
    order = make_order(shop)
    posting = make_posting(merchant, text=order.number)
    other = make_posting(merchant, "3.33", "Miete", **BOB)
    match_all(merchant)
    settle_on(merchant, max_order_age_days="0")
    match_all(merchant)
    assert booked(posting) == {}
    assert look_at_all_again(merchant) == 2
    assert (booked(posting), other.is_open) == ({order.number: "19.90"}, True)
    assert look_at_all_again(merchant) == 1


@pytest.mark.feature("K48")
def test_looking_again_is_for_ones_own_open_postings(merchant, shop):
    order = make_order(shop)
    paid = make_posting(merchant, text=order.number)
    match_all(merchant)
    bob = make_merchant("Bobs Laden")
    theirs = make_posting(bob, needs_match=False)
    assert look_at_all_again(merchant) == 0
    assert (booked(paid), theirs.needs_match) == ({order.number: "19.90"}, False)


# --- review ------------------------------------------------------------------------------------


@pytest.mark.feature("C5")
def test_in_review_the_run_proposes_and_a_person_books(merchant, shop):
    settle_on(merchant, assignment="review")
    sure, unsure = make_order(shop, total="38.47"), make_order(shop, total="71.30")
    posting = make_posting(merchant, "38.47", sure.number)
    question = make_posting(merchant, "950.00", unsure.number, **BOB)
    match_all(merchant)
    assert (status(sure), booked(posting), updates(sure)) == ("unpaid", {}, [])
    assert queued(sure) == ["payment_information"]
    assert best_offer(posting).is_proposed and not best_offer(question).is_proposed
    assert book_proposals(merchant.id, None, actor=ANNA, at=AT) == 1
    db.session.commit()
    row = only_assignment(sure)
    assert (status(sure), row.origin, row.decided_by) == ("paid", "person", ANNA)
    assert (updates(sure), queued(sure)) == ([("paid", "queued")], ["payment_received"])
    assert (status(unsure), booked(question)) == ("unpaid", {})


@pytest.mark.feature("C5")
def test_a_person_corrects_a_proposal_before_the_rest_is_booked(merchant, shop):
    settle_on(merchant, assignment="review")
    wrong, right = make_order(shop), make_order(shop)
    posting, other = make_posting(merchant, text=wrong.number), make_posting(merchant, **BOB)
    match_all(merchant)
    assign_by_hand(posting, (right, "19.90"))
    assert book_proposals(merchant.id, [posting.id, other.id], actor=ANNA, at=AT) == 0
    assert (status(wrong), booked(posting)) == ("unpaid", {right.number: "19.90"})


@pytest.mark.feature("C5")
def test_two_proposals_for_one_order_are_booked_once(merchant, shop):
    """Each was sure when it came; what no longer fits is left to a person."""
    settle_on(merchant, assignment="review")
    order = make_order(shop)
    first = make_posting(merchant, text=order.number)
    match_all(merchant)
    second = make_posting(merchant, text=order.number)
    match_all(merchant)
    book_proposals(merchant.id, None, actor=ANNA, at=AT)
    db.session.commit()
    assert [booked(first), booked(second)] == [{order.number: "19.90"}, {}]


@pytest.mark.feature("C5")
def test_proposals_of_others_are_not_booked(merchant, shop):
    settle_on(merchant, assignment="review")
    posting = make_posting(merchant, text=make_order(shop).number)
    match_all(merchant)
    bob = make_merchant("Bobs Laden")
    assert book_proposals(bob.id, [posting.id], actor="bob@example.org", at=AT) == 0
    assert booked(posting) == {}


@pytest.mark.feature("C5")
def test_back_to_automatic_books_what_comes_and_what_is_asked_for_again(merchant, shop):
    settle_on(merchant, assignment="review")
    first, second = make_order(shop), make_order(shop)
    early = make_posting(merchant, text=first.number)
    match_all(merchant)
    settle_on(merchant, assignment="auto")
    late = make_posting(merchant, text=second.number)
    match_all(merchant)
    assert (booked(early), booked(late)) == ({}, {second.number: "19.90"})
    look_at_all_again(merchant)
    assert booked(early) == {first.number: "19.90"}
    assert offers(early) == []


# --- in the shadow -----------------------------------------------------------------------------


@pytest.mark.feature("N3")
def test_in_the_shadow_it_is_decided_and_shown_but_nothing_leaves_the_house(merchant, shop):
    settle_on(merchant, assignment="shadow")
    order = make_order(shop)
    posting = make_posting(merchant, text=order.number)
    mails = db.session.query(Mail).count()
    match_all(merchant)
    (decision,) = decisions(posting)
    assert (decision.choice, decision.mode) == ("auto", "shadow")
    assert (offers(posting), best_offer(posting).is_proposed) == ([[order.number]], False)
    assert (status(order), booked(posting), posting.is_open) == ("unpaid", {}, True)
    assert db.session.query(Assignment).count() == 0
    assert (updates(order), queued(order)) == ([], [])
    assert db.session.query(Mail).count() == mails
    assert book_proposals(merchant.id, None, actor=ANNA, at=AT) == 0


@pytest.mark.feature("N3")
def test_the_report_compares_with_what_people_and_the_shop_did(merchant, shop):
    settle_on(merchant, assignment="shadow")
    raws = [{"external_id": str(n), "number": f"AA-6{n}0{n}1"} for n in range(1, 7)]
    agreed, differed, by_shop, alone, other, only_there = (make_order(shop, **raw) for raw in raws)
    postings = {
        order.number: make_posting(merchant, text=order.number)
        for order in (agreed, differed, by_shop, alone)
    }
    make_posting(merchant, "3.33", "Miete", **BOB)
    match_all(merchant)
    assign_by_hand(postings[agreed.number], (agreed, "19.90"))
    assign_by_hand(postings[differed.number], (other, "19.90"))
    for order in (by_shop, only_there):  # the shop's people have set them to paid
        push(shop, order.wire | {"shop_status": "processing"})
    report = shadow_report(merchant.id, since=SINCE)
    assert (report.decided, report.agreed, report.differed) == (4, 2, 1)
    assert (report.only_kontor, report.only_shop) == (1, 1)
    assert [(row.order_id, row.what) for row in report.rows] == [
        (differed.id, "differed"),
        (only_there.id, "only_shop"),
        (alone.id, "only_kontor"),
    ]
    stranger = make_merchant("Bobs Laden")
    assert shadow_report(stranger.id, since=SINCE).decided == 0


@pytest.mark.feature("N3", "C5")
def test_then_it_goes_live(merchant, shop):
    settle_on(merchant, assignment="shadow")
    order = make_order(shop)
    posting = make_posting(merchant, text=order.number)
    match_all(merchant)
    settle_on(merchant, assignment="auto")
    look_at_all_again(merchant)
    assert (status(order), booked(posting)) == ("paid", {order.number: "19.90"})
    assert [row.mode for row in decisions(posting)] == ["shadow", "auto"]


@pytest.mark.feature("N3", "C6")
def test_what_if_shows_each_level_on_the_past_and_changes_nothing(merchant, shop):
    sure = make_order(shop, number="AA-70017", total="138.47")
    nearly = make_order(shop, number="AA-81151", total="238.63")
    wrong, right = make_order(shop, total="51.10"), make_order(shop, total="51.10")
    by_hand = make_posting(merchant, "51.10", wrong.number)
    match_all(merchant, AT - timedelta(days=9))  # before its day: only suggested
    assign_by_hand(by_hand, (right, "51.10"))
    make_posting(merchant, "138.47", "AA-70017")
    make_posting(merchant, "238.63", "AA-8151", counterparty_name=None, counterparty_iban=None)
    match_all(merchant)
    assert [status(order) for order in (sure, nearly, wrong)] == ["paid", "unpaid", "unpaid"]
    before = db.session.query(Assignment).count()
    found = what_if(merchant.id, days=30, at=AT)
    assert (found.postings, found.by_people) == (3, 1)
    assert {level: result.booked for level, result in found.levels.items()} == {
        "careful": 2,
        "normal": 2,
        "eager": 3,
    }
    for result in found.levels.values():
        assert (result.agreed, result.differed) == (1, 1)
        assert result.examples[0] == (by_hand.id, (wrong.id,))
        assert result.booked + result.open_to_people == 3
    assert db.session.query(Assignment).count() == before
    assert what_if(merchant.id, days=2, at=AT).postings == 0
    assert what_if(make_merchant("Bobs").id, days=30, at=AT).postings == 0


@pytest.mark.feature("N3", "S18")
def test_what_if_books_a_second_payment_no_more_than_the_matcher_did(merchant, shop):
    order = make_order(shop)
    for _ in range(2):
        make_posting(merchant, text=order.number)
    match_all(merchant)
    found = what_if(merchant.id, days=30, at=AT).levels["normal"]
    assert (found.booked, found.agreed, found.open_to_people) == (1, 1, 1)


@pytest.mark.feature("N3")
def test_a_shop_of_anothers_makes_no_difference(merchant, shop):
    order = make_order(shop)
    make_posting(merchant, text=order.number)
    bobs = make_order(make_shop(make_merchant("Bobs Laden")), number=order.number)
    match_all(merchant)
    assert what_if(merchant.id, days=30, at=AT).levels["careful"].agreed == 1
    assert status(bobs) == "unpaid"


@pytest.mark.feature("N3")
def test_in_the_shadow_nobody_is_asked_for_money(merchant, shop):
    settle_on(merchant, assignment="shadow")
    quiet = make_order(shop, total="19.90")
    assert db.session.query(Mail).filter_by(order_id=quiet.id).all() == []
    assert ask_waiting(merchant.id, now()) == 0
    change_setting(merchant.id, "assignment", "auto", actor=ANNA, at=now())
    db.session.commit()
    assert ask_waiting(merchant.id, now()) == 0
    loud = make_order(shop, total="19.90")
    assert [mail.kind for mail in db.session.query(Mail).filter_by(order_id=loud.id)] == [
        "payment_information"
    ]
