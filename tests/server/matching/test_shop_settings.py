"""What a shop has of its own counts for its orders alone (S43)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from server.db import db
from server.matching.service import match_postings
from server.merchants.service import change_setting
from server.orders.models import Assignment
from tests.factories import make_merchant, make_order, make_posting, make_shop

AT = datetime(2026, 3, 10, 9, 0, tzinfo=UTC)


@pytest.mark.feature("K21", "K30")
def test_tolerance_and_fees_are_those_of_the_orders_shop(app):
    merchant = make_merchant()
    strict, generous = make_shop(merchant), make_shop(merchant)
    change_setting(merchant.id, "claim_bank_fees", "on", actor="anna", at=AT)
    for name, value in (("tolerance_cents", "50"), ("claim_bank_fees", "off")):
        change_setting(merchant.id, name, value, actor="anna", at=AT, shop_id=generous.id)
    orders = {}
    for shop, start in ((strict, 71000), (generous, 72000)):
        for at, (paid, text) in enumerate((("63.10", ""), ("61.90", " CHGS 1,50"))):
            number = f"AA-{start + at * 37}"
            orders[number] = make_order(shop, number=number, total="63.40")
            make_posting(merchant, paid, f"Bestellung {number}{text}")
    while match_postings(merchant.id, AT):
        db.session.commit()
    db.session.commit()
    assert [order.payment_status for order in orders.values()] == [
        "partially_paid",
        "partially_paid",
        "paid",
        "paid",
    ]
    because = db.session.query(Assignment.because).filter(Assignment.because.is_not(None))
    assert sorted(reason for (reason,) in because) == ["bank_fee", "tolerance"]
    with pytest.raises(ValueError, match="setting_not_of_a_shop"):
        change_setting(merchant.id, "match_level", "eager", actor="anna", at=AT, shop_id=strict.id)
