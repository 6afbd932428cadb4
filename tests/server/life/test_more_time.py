"""A customer asks for more time, and a person answers him (N8)."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from server.db import db, now
from server.merchants.service import change_setting
from server.orders import deferrals, lifecycle, service
from server.orders.claims import claim_paid, claims_of, settle_claims
from server.orders.deferrals import ask_for_time, grant, open_request, refuse, requests_of
from server.orders.ledger import NotPossible
from server.orders.models import DeferralRequest, OrderEvent
from server.refunds.service import arrange
from tests.factories import make_merchant, make_order, make_posting, today
from tests.server.life.steps import ANNA, mails


@pytest.fixture
def order(shop):
    return make_order(shop)


def ask(order, days: int = 10, at=None):
    request = ask_for_time(
        order, until=today() + timedelta(days=days), message="Mein Gehalt\x00 kommt", at=at or now()
    )
    db.session.commit()
    return request


def answers(order):
    return [mail for mail in mails(order) if mail.kind == "more_time_answer"]


def notices(order):
    return [mail for mail in mails(order) if mail.kind == "more_time_asked"]


@pytest.mark.feature("N8")
def test_who_asks_is_left_in_peace_for_three_days_and_the_merchant_hears_of_it(order):
    request = ask(order)
    assert (request.status, request.message) == ("open", "Mein Gehalt kommt")
    assert order.paused_until == today() + timedelta(days=3)
    (notice,) = notices(order)
    assert notice.recipient == ANNA and notice.facts["message"] == "Mein Gehalt kommt"
    event = db.session.query(OrderEvent).filter_by(kind="more_time_asked").one()
    assert event.facts == {"day": request.until_date.isoformat()}


@pytest.mark.feature("N8")
@pytest.mark.parametrize("given", [10, 4])
def test_a_yes_may_name_another_day_and_reminders_rest_until_then(merchant, order, given):
    request = ask(order)
    until = today() + timedelta(days=given)
    grant(merchant.id, order.id, request.id, until=until, actor=ANNA, at=now())
    db.session.commit()
    assert (request.status, request.granted_until, request.decided_by) == ("accepted", until, ANNA)
    assert order.paused_until == until
    (answer,) = answers(order)
    assert answer.recipient == "erika@example.org" and not answer.facts["is_refused"]
    assert answer.facts["granted_until"] == answer.facts["payable_until"]
    assert answer.facts["iban"] and answer.facts["page_url"]


@pytest.mark.feature("N8")
def test_after_a_no_reminders_go_on(merchant, order):
    request = ask(order)
    refuse(merchant.id, order.id, request.id, actor=ANNA, at=now())
    db.session.commit()
    assert (request.status, order.paused_until) == ("refused", None)
    (answer,) = answers(order)
    assert answer.facts["is_refused"] == "yes" and not answer.facts["granted_until"]


def test_a_no_does_not_end_the_rest_of_who_says_that_he_has_paid(merchant, order):
    claim_paid(order, paid_on=None, message="", proof=None, at=now())
    request = ask(order)
    assert order.paused_until == today() + timedelta(days=5)
    refuse(merchant.id, order.id, request.id, actor=ANNA, at=now())
    assert order.paused_until == today() + timedelta(days=5)


@pytest.mark.feature("S61")
def test_when_somebody_has_looked_and_found_nothing_reminders_go_on(merchant, order):
    claim_paid(order, paid_on=None, message="", proof=None, at=now())
    settle_claims(merchant.id, order.id, actor=ANNA, at=now())
    db.session.commit()
    (claim,) = claims_of(order.id)
    assert claim.settled_by == ANNA and claim.settled_at and order.paused_until is None
    with pytest.raises(NotPossible, match="claim_settled"):
        settle_claims(merchant.id, order.id, actor=ANNA, at=now())


def test_time_that_was_given_outlasts_a_claim_that_was_settled(merchant, order):
    until = today() + timedelta(days=10)
    grant(merchant.id, order.id, ask(order).id, until=until, actor=ANNA, at=now())
    claim_paid(order, paid_on=None, message="", proof=None, at=now())
    settle_claims(merchant.id, order.id, actor=ANNA, at=now())
    assert order.paused_until == until


def test_what_the_customer_says_does_not_end_the_rest_while_his_money_goes_back(merchant, order):
    posting = make_posting(merchant, "10.00")
    service.assign(merchant.id, posting.id, [(order.id, posting.amount)], actor=ANNA, at=now())
    arrange(merchant.id, order_id=order.id, amount=Decimal("10.00"), actor=ANNA, at=now())
    until = order.paused_until
    assert until == today() + timedelta(days=30)
    claim_paid(order, paid_on=None, message="", proof=None, at=now())
    assert order.paused_until == until
    settle_claims(merchant.id, order.id, actor=ANNA, at=now())
    assert order.paused_until == until
    refuse(merchant.id, order.id, ask(order).id, actor=ANNA, at=now())
    assert order.paused_until == until


@pytest.mark.feature("N8")
def test_a_reminder_that_waits_to_be_sent_is_withheld(merchant, order):
    from server.mail.models import Mail

    mail = db.session.query(Mail).filter_by(order_id=order.id).one()
    mail.kind = "reminder"
    db.session.commit()
    ask(order)
    assert mail.status == "withheld"


@pytest.mark.feature("N8")
def test_money_answers_a_question_and_takes_back_an_answer(merchant, order):
    request = ask(order)
    grant(merchant.id, order.id, request.id, until=today() + timedelta(3), actor=ANNA, at=now())
    second = ask(order)
    posting = make_posting(merchant, "19.90", order.number)
    service.assign(merchant.id, posting.id, [(order.id, posting.amount)], actor=ANNA, at=now())
    db.session.commit()
    db.session.refresh(second)
    assert (second.status, request.status) == ("moot", "accepted")
    assert open_request(order.id) is None
    assert answers(order)[0].status == "withheld"
    with pytest.raises(NotPossible, match="more_answered"):
        refuse(merchant.id, order.id, second.id, actor=ANNA, at=now())


def test_the_matcher_ends_a_question_too(merchant, order):
    from server.matching.service import match_postings

    request = ask(order)
    make_posting(merchant, "19.90", order.payment_reference)
    assert not match_postings(merchant.id, now())
    db.session.commit()
    db.session.refresh(request)
    assert (order.payment_status, request.status) == ("paid", "moot")


@pytest.mark.feature("N8")
def test_one_question_at_a_time_and_three_in_all(merchant, order):
    for _ in range(deferrals.MAX_REQUESTS):
        request = ask(order)
        with pytest.raises(NotPossible, match="more_waits"):
            ask(order)
        db.session.rollback()
        refuse(merchant.id, order.id, request.id, actor=ANNA, at=now())
        db.session.commit()
    with pytest.raises(NotPossible, match="more_too_many"):
        ask(order)
    assert len(requests_of(order.id)) == deferrals.MAX_REQUESTS


@pytest.mark.feature("N8")
@pytest.mark.parametrize("days", [-1, 0, 15, 400, None])
def test_days_that_nobody_may_ask_for(order, days):
    until = today() + timedelta(days=days) if days is not None else None
    with pytest.raises(NotPossible, match="more_date_impossible"):
        ask_for_time(order, until=until, message="", at=now())


@pytest.mark.feature("N8")
def test_where_the_merchant_gives_no_time_nobody_is_asked(merchant, order):
    change_setting(merchant.id, "page_more_days", "0", actor=ANNA, at=now())
    with pytest.raises(NotPossible, match="more_not_offered"):
        ask(order)


def test_for_what_is_not_owed_there_is_no_time_to_give(merchant, shop):
    cash = make_order(shop, payment_method="cod", shop_status="processing")
    gone, late = make_order(shop), make_order(shop, payment_method="invoice")
    for one in (gone, late):
        lifecycle.cancel_order(merchant.id, one.id, actor=ANNA, at=now())
    for one in (cash, gone):
        with pytest.raises(NotPossible, match="more_not_offered"):
            ask(one)
    assert ask(late).status == "open", "an overdue invoice is still owed"


@pytest.mark.parametrize("days", [-1, 367])
def test_an_answer_names_a_day_to_come(merchant, order, days):
    request = ask(order)
    with pytest.raises(NotPossible, match="date_out_of_range"):
        grant(
            merchant.id,
            order.id,
            request.id,
            until=today() + timedelta(days=days),
            actor=ANNA,
            at=now(),
        )


def test_nobody_answers_for_another_merchant_or_twice(merchant, order, shop):
    request = ask(order)
    stranger = make_merchant("Bobs Laden")
    with pytest.raises(NotPossible, match="order_unknown"):
        refuse(stranger.id, order.id, request.id, actor="bob", at=now())
    with pytest.raises(NotPossible, match="more_unknown"):
        refuse(merchant.id, make_order(shop).id, request.id, actor=ANNA, at=now())
    refuse(merchant.id, order.id, request.id, actor=ANNA, at=now())
    with pytest.raises(NotPossible, match="more_answered"):
        grant(merchant.id, order.id, request.id, until=today(), actor=ANNA, at=now())
    assert db.session.query(DeferralRequest).count() == 1
