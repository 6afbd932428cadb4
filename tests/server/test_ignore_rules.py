"""Postings that nobody needs to look at are taken off the list when they arrive."""

from __future__ import annotations

from decimal import Decimal

import pytest

from server.banking.models import IgnoreRule, Posting
from server.banking.service import add_rule, delete_rule, past_hits, rules_of, store_statement
from server.db import db, now
from server.jobs import drain_match_request, drain_statement
from server.mail.models import Mail
from server.orders.service import unignore_posting
from tests.bank_files import Paid, camt
from tests.factories import make_merchant, make_order, make_shop, make_user

PAYPAL = Paid("512.30", "PP.1234.PP . Auszahlung", "PayPal Europe S.a.r.l. et Cie S.C.A", "")
SOFORT = Paid("19.90", "Bestellung 1001 SOFORT UEBERWEISUNG")


@pytest.fixture
def merchant(app):
    merchant = make_merchant()
    make_user(merchant)
    return merchant


@pytest.fixture
def bring(merchant):
    def bring(*paid):
        statement = store_statement(
            merchant.id, "u.xml", camt("camt.053", *paid), uploaded_by="Anna"
        )
        db.session.commit()
        drain_statement()
        drain_match_request()
        db.session.expire_all()
        return statement

    return bring


def states():
    rows = db.session.query(Posting).order_by(Posting.id)
    return [(row.is_open, row.ignored_because, row.ignored_by) for row in rows]


def rule(merchant, kind, value, *, tells=False):
    row = add_rule(merchant.id, kind, value, tells_merchant=tells, actor="Anna")
    db.session.commit()
    return row


@pytest.mark.feature("K44")
def test_payouts_of_providers_are_ignored_by_themselves(bring):
    statement = bring(PAYPAL, SOFORT)
    assert states() == [(False, "provider", "PayPal"), (True, None, None)]
    assert (statement.postings_new, statement.postings_ignored) == (2, 1)


@pytest.mark.feature("K44")
def test_and_are_kept_where_the_merchant_wants_them(bring, merchant):
    rule(merchant, "keep_providers", "")
    bring(PAYPAL)
    assert states() == [(True, None, None)]


@pytest.mark.feature("K44")
@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("iban", SOFORT.iban),
        ("name", "ERIKA MUSTERMANN"),
        ("text", "sofort"),
        ("amount_above", "19,89"),
    ],
)
def test_what_a_rule_says_is_ignored_and_can_be_brought_back(bring, merchant, kind, value):
    order = make_order(make_shop(merchant), number="1001")
    its = rule(merchant, kind, value)
    bring(SOFORT)
    assert states() == [(False, kind, its.value)]
    assert order.payment_status == "unpaid"
    (posting,) = db.session.query(Posting).all()
    unignore_posting(merchant.id, posting.id, actor="Anna", at=now())
    db.session.commit()
    drain_match_request()
    db.session.refresh(order)
    assert order.payment_status == "paid"


@pytest.mark.feature("K45")
def test_a_pattern_may_tell_the_merchant_once_a_file(bring, merchant):
    rule(merchant, "text", "{regex}.*SOFORT.*", tells=True)
    rule(merchant, "name", "Max Beispiel")
    bring(SOFORT, Paid("5.00", "x SOFORT y"), Paid("1.00", "z", "Max Beispiel"))
    (mail,) = db.session.query(Mail).filter_by(kind="postings_recognised").all()
    assert (mail.facts["count"], mail.facts["pattern"]) == ("2", "{regex}.*SOFORT.*")
    assert "24,90" in mail.facts["received_total"]


@pytest.mark.feature("K44", "N22")
def test_a_rule_shows_what_it_would_have_done_before_it_is_saved(bring, merchant):
    bring(SOFORT, PAYPAL, Paid("7.00", "etwas"))
    count, newest = past_hits(merchant.id, "text", "sofort")
    assert (count, [row.amount for row in newest]) == (1, [Decimal("19.90")])
    with pytest.raises(ValueError, match="ignore_pattern_invalid"):
        past_hits(merchant.id, "text", "{regex}(")


def test_rules_are_the_merchants_own(bring, merchant):
    other = make_merchant("Bobs Bohrer", account=False)
    its = rule(other, "text", "sofort")
    bring(SOFORT)
    assert states() == [(True, None, None)]
    assert delete_rule(merchant.id, its.id) is False
    assert delete_rule(other.id, its.id) is True
    assert rules_of(other.id) == []


def test_the_same_rule_twice_is_one_rule(merchant):
    rule(merchant, "text", "sofort")
    again = rule(merchant, "text", " sofort ", tells=True)
    assert db.session.query(IgnoreRule).count() == 1
    assert again.tells_merchant is True
