"""What holds whatever people, the customer and the bank do with repayments, in whatever order."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from server.banking.models import Posting
from server.db import db
from server.orders import rules as order_rules
from server.orders.ledger import Ledger, NotPossible
from server.orders.models import Assignment, Order, Refund
from server.orders.returns import book_return, undo_return
from server.orders.rules import REFUND_ARRANGED, REFUND_PAID
from server.orders.service import assign, mark_as_paid, move_surplus, undo
from server.refunds import batches, service
from server.refunds.models import RefundBatch
from server.refunds.recognition import recognise
from server.refunds.rules import MOVES, BankDetails
from server.shops.models import Shop
from tests.factories import make_merchant, make_posting, make_shop, make_user, wire_order
from tests.server.refunds.steps import ANNA, AT, BERT, OTHER_IBAN, PAYER
from tests.server.test_ledger import AT as ORDERED
from tests.server.test_ledger import push

AMOUNTS = [Decimal(text) for text in ("0.01", "5.00", "10.00", "20.00", "40.00")]
ORDERS, POSTINGS = 2, 3
DETAILS = (None, PAYER, BankDetails("Bob Fremd", OTHER_IBAN))

numbers = st.integers(0, 4)
steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["release"] * 4
            + ["batch"] * 4
            + ["book", "repay", "repay", "send_back", "approve", "approve", "change", "confirm"]
            + ["sent", "drop", "fail", "cancel", "failed", "again", "again", "executed", "executed"]
            + ["out", "out", "back", "back", "keep", "undo", "move", "mark"]
            + ["take_back", "no_return", "reprice", "days"]
        ),
        numbers,
        numbers,
        numbers,
    ),
    min_size=8,
    max_size=24,
)


@dataclass
class House:
    """A merchant with two orders, three payments and the returns of these."""

    shop: Shop = field(init=False)
    at: object = AT

    def __post_init__(self):
        merchant = make_merchant()
        for name in (ANNA, BERT):
            make_user(merchant, f"{merchant.id}{name}")
        self.merchant_id, self.merchant = merchant.id, merchant
        self.shop = make_shop(merchant)
        self.raws = [wire_order(total=f"{total:.2f}") for total in AMOUNTS[-ORDERS:]]
        for raw in self.raws:
            push(self.shop, raw, ORDERED)
        for amount in ("40.00", "45.00", "20.00"):
            make_posting(merchant, amount)
            make_posting(merchant, f"-{amount}", is_return=True)
        self.before = {}
        for one, two, three in ((1, 1, 4), (0, 2, 3), (1, 1, 1)):
            self.act("book", one, two, three)
        self.act("repay", 1, 0, 2)
        self.act("repay", 0, 0, 3)

    def rows(self, model):
        return db.session.query(model).filter_by(merchant_id=self.merchant_id).order_by(model.id)

    @property
    def who(self):
        return {"actor": f"{self.merchant_id}{ANNA}", "at": self.at}

    @property
    def other(self):
        return {"actor": f"{self.merchant_id}{BERT}", "at": self.at}

    def pick(self, model, number):
        rows = self.rows(model).all()
        if not rows:
            raise NotPossible("nothing there")
        return rows[number % len(rows)]

    def act(self, kind, one, two, three):
        """Do one step; what is forbidden changes nothing."""
        self.at += timedelta(minutes=2)
        try:
            getattr(self, f"_{kind}")(one, two, three)
        except NotPossible:
            db.session.rollback()
            return
        db.session.commit()

    def _order(self, number):
        return self.rows(Order).all()[number % ORDERS]

    def _paid(self, number):
        known = self.rows(Posting).filter(Posting.amount > 0, ~Posting.is_return).all()
        return known[number % POSTINGS]

    def _taken(self, number):
        return self.rows(Posting).filter(Posting.amount < 0, Posting.is_return).all()[number % 3]

    def _book(self, one, two, three):
        parts = [(self._order(one).id, AMOUNTS[three])]
        assign(self.merchant_id, self._paid(two).id, parts, **self.who)

    def _repay(self, one, two, three):
        service.arrange(
            self.merchant_id,
            order_id=self._order(one).id,
            amount=AMOUNTS[three],
            payee=DETAILS[two % 3],
            **self.who,
        )

    def _send_back(self, one, two, three):
        posting_id = self._paid(two).id
        service.arrange(self.merchant_id, posting_id=posting_id, amount=AMOUNTS[three], **self.who)

    def _approve(self, one, two, three):
        service.approve(self.pick(Refund, one), **self.other)

    def _change(self, one, two, three):
        service.change(self.pick(Refund, one), payee=DETAILS[two % 3], **self.who)

    def _confirm(self, one, two, three):
        waiting = service.waiting_for_customer(self._order(one))
        for refund in waiting[:1]:
            payee = DETAILS[1 + two % 2]
            service.confirm_details(
                self._order(one), refund.id, name=payee.name, iban=payee.iban, at=self.at
            )

    def _release(self, one, two, three):
        service.execute_now(self.pick(Refund, one), **self.who)

    def _batch(self, one, two, three):
        ids = [row.id for row in self.rows(Refund)]
        account = batches.paying_accounts(self.merchant_id)[0]
        batches.make_batch(self.merchant_id, account.id, ids, channel="pain001", **self.who)

    def _sent(self, one, two, three):
        batches.mark_batch_sent(self.pick(RefundBatch, one), **self.who)

    def _drop(self, one, two, three):
        batches.drop_batch(self.pick(RefundBatch, one), **self.who)

    def _fail(self, one, two, three):
        batches.fail_batch(self.pick(RefundBatch, one), "refused", **self.who)

    def _cancel(self, one, two, three):
        service.cancel(self.pick(Refund, one), **self.who)

    def _failed(self, one, two, three):
        service.mark_failed(self.pick(Refund, one), "closed", **self.who)

    def _again(self, one, two, three):
        service.try_again(self.pick(Refund, one), **self.who)

    def _executed(self, one, two, three):
        service.mark_processed(self.pick(Refund, one), **self.who)

    def _out(self, one, two, three):
        refund = self.pick(Refund, one)
        self._comes(-refund.amount, end_to_end_id=refund.reference)

    def _back(self, one, two, three):
        refund = self.pick(Refund, one)
        why = ("AC04", "MD07")[two % 2]
        self._comes(
            refund.amount, end_to_end_id=refund.reference, is_return=True, return_reason=why
        )

    def _comes(self, amount, **over):
        if amount:
            day = self.at.date()
            make_posting(self.merchant, f"{amount:.2f}", booking_date=day, needs_match=True, **over)
            recognise(self.merchant_id, self.at)

    def _keep(self, one, two, three):
        service.keep_money(self.merchant_id, self._order(one).id, reason="gift", **self.who)

    def _undo(self, one, two, three):
        undo(self.merchant_id, self.pick(Assignment, three).id, **self.who)

    def _move(self, one, two, three):
        ids = [self._order(number).id for number in (one, one + 1)]
        move_surplus(self.merchant_id, *ids, **self.who)

    def _mark(self, one, two, three):
        mark_as_paid(self.merchant_id, self._order(one).id, **self.who)

    def _take_back(self, one, two, three):
        book_return(self.merchant_id, self._taken(two).id, self._paid(two).id, **self.who)

    def _no_return(self, one, two, three):
        undo_return(self.merchant_id, self._taken(two).id, **self.who)

    def _reprice(self, one, two, three):
        raw = self.raws[one % ORDERS]
        raw["total"] = f"{AMOUNTS[three]:.2f}"
        push(self.shop, dict(raw), self.at)

    def _days(self, one, two, three):
        self.at += timedelta(days=one)
        service.pass_time(self.at)

    def check(self):
        db.session.expire_all()
        refunds = self.rows(Refund).all()
        for order in self.rows(Order):
            self._check_order(order, [row for row in refunds if row.order_id == order.id])
        for posting in self.rows(Posting).filter(Posting.amount > 0):
            self._check_posting(posting, refunds)
        living = {row.id for row in self.rows(RefundBatch) if row.status in ("made", "sent")}
        for row in refunds:
            before = self.before.get(row.id, "new")
            assert _leads_to(before, row.status), f"{before} to {row.status}"
            assert row.status != "in_process" or row.batch_id in living
            assert row.status != "held" or (row.holds and row.approved_at is None)
            assert (row.payee_iban is None) == (row.status == "bank_details_missing") or (
                row.status in ("processed", "cancelled", "held", "failed")
            )
            self.before[row.id] = row.status
        for batch in self.rows(RefundBatch).filter_by(status="made"):
            inside = [row for row in refunds if row.batch_id == batch.id]
            assert sum(row.amount for row in inside) == batch.total
        assert len({row.reference for row in refunds}) == len(refunds)

    def _check_order(self, order, refunds):
        ledger = Ledger([order.id])
        refunded = sum((r.amount for r in refunds if r.status in REFUND_PAID), Decimal(0))
        arranged = sum((r.amount for r in refunds if r.status in REFUND_ARRANGED), Decimal(0))
        paid = ledger.paid(order.id)
        assert (ledger.refunded(order.id), ledger.arranged(order.id)) == (refunded, arranged)
        expected = order_rules.payment_status(order.total, paid, refunded=refunded)
        assert order.payment_status == expected
        if refunded:
            assert order.payment_status not in ("unpaid", "partially_paid")
            assert ledger.rest(order) <= 0
        assert 0 <= ledger.surplus(order) <= max(paid - arranged, 0)

    def _check_posting(self, posting, refunds):
        ledger = Ledger([], [posting.id])
        without_order = [r for r in refunds if r.posting_id == posting.id and r.order_id is None]
        back = sum((r.amount for r in without_order if r.status in REFUND_ARRANGED), Decimal(0))
        booked = sum(
            (row.amount for row in self.rows(Assignment).filter_by(posting_id=posting.id)),
            Decimal(0),
        )
        assert ledger.taken(posting.id) == booked + back <= posting.amount
        assert posting.is_open == (booked + back < posting.amount and posting.may_be_open)
        if posting.ignored_because == "refund_back":
            assert booked == 0


def _leads_to(before, after):
    """In any number of moves: a step may make several at once."""
    seen, ahead = {before}, [before]
    while ahead:
        for each in MOVES[ahead.pop()] - seen:
            seen.add(each)
            ahead.append(each)
    return after in seen


@pytest.mark.feature("K10", "K57", "S78", "C15")
@settings(
    max_examples=12,
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=steps)
def test_money_is_neither_made_nor_lost_through_any_history(app, history):
    house = House()
    for step in history:
        house.act(*step)
        house.check()
