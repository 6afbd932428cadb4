"""What holds in the ledger whatever people, the bank and the shop do, in whatever order.

Each example is a merchant of its own in one database, so that Hypothesis can make a failing
history shorter.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from server.banking.models import Posting
from server.db import db
from server.mail.models import Mail
from server.orders import rules
from server.orders.credit import (
    apply_automatically,
    apply_credit,
    credit_of,
    keep_as_credit,
    release_credit,
)
from server.orders.ledger import Ledger
from server.orders.models import Assignment, Credit, Order
from server.orders.returns import book_return, undo_return
from server.orders.service import NotPossible, assign, mark_as_paid, move_surplus, undo
from server.shops.models import PaymentUpdate, Shop
from tests.factories import make_merchant, make_posting, make_shop, make_user, wire_order
from tests.server.test_ledger import ACTOR, AT, LATER, apply_updates, push

AMOUNTS = [Decimal(text) for text in ("0.01", "5.00", "10.00", "19.90", "20.00", "40.00")]
BECAUSE = (None, None, "discount", "bank_fee", "goodwill")
ORDERS, POSTINGS = 3, 3

numbers = st.integers(0, 5)
steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["book"] * 5
            + ["undo"] * 3
            + ["difference", "keep", "keep", "release", "use", "use_alone", "move", "move"]
            + ["take_back", "take_back", "no_return", "mark", "reprice", "read", "hear"]
        ),
        numbers,
        numbers,
        numbers,
    ),
    min_size=1,
    max_size=25,
)


@dataclass
class House:
    """One merchant with some orders, payments, and the returns of those payments."""

    totals: list[Decimal]
    shop: Shop = field(init=False)
    at: object = LATER

    def __post_init__(self):
        merchant = make_merchant()
        make_user(merchant, f"anna{merchant.id}@example.org")
        self.merchant_id = merchant.id
        self.shop = make_shop(merchant)
        self.raws = [wire_order(total=f"{total:.2f}") for total in self.totals]
        for raw in self.raws:
            push(self.shop, raw, AT)
        amounts = itertools.islice(itertools.cycle(AMOUNTS[::-1]), POSTINGS)
        for amount in amounts:
            make_posting(merchant, f"{amount:.2f}")
            make_posting(merchant, f"{-amount:.2f}", is_return=True, booking_date=date(2026, 3, 20))

    def rows(self, model):
        return db.session.query(model).filter_by(merchant_id=self.merchant_id).order_by(model.id)

    @property
    def orders(self):
        return self.rows(Order).all()

    @property
    def paid(self):
        return self.rows(Posting).filter(Posting.amount > 0).all()

    @property
    def backs(self):
        return self.rows(Posting).filter(Posting.amount < 0).all()

    def order(self, number):
        return self.orders[number % ORDERS]

    def act(self, kind, one, two, three):
        """Do one step; what the ledger forbids changes nothing. True if it was done."""
        self.at += timedelta(minutes=1)
        who = {"actor": ACTOR, "at": self.at}
        order, posting = self.order(one), self.paid[two % POSTINGS]
        back = self.backs[two % POSTINGS]
        try:
            match kind:
                case "book" | "difference":
                    because = BECAUSE[three % len(BECAUSE)] if kind == "book" else "other"
                    self._book(order, posting, AMOUNTS[three], because, who)
                case "undo":
                    standing = [row for each in self.orders for row in self._standing(each)]
                    undo(self.merchant_id, standing[three % len(standing)].id, **who)
                case "keep":
                    keep_as_credit(self.merchant_id, posting.id, order.id, **who)
                case "release":
                    release_credit(self.merchant_id, posting.id, **who)
                case "use":
                    apply_credit(self.merchant_id, order.id, posting.id, **who)
                case "use_alone":
                    for credit in self.rows(Credit):
                        credit.mode = "automatic"
                    apply_automatically(order, self.at)
                case "move":
                    other = self.order(two)
                    move_surplus(self.merchant_id, order.id, other.id, **who)
                case "take_back":
                    book_return(self.merchant_id, back.id, posting.id, **who)
                case "no_return":
                    undo_return(self.merchant_id, back.id, **who)
                case "mark":
                    mark_as_paid(self.merchant_id, order.id, **who)
                case "reprice":
                    raw = self.raws[one % ORDERS]
                    raw["total"] = f"{AMOUNTS[three]:.2f}"
                    push(self.shop, dict(raw), self.at)
                case "read":
                    for mail in self.rows(Mail).filter_by(status="queued"):
                        mail.succeed(self.at)
                case "hear":
                    apply_updates(self.shop, self.at)
        except (NotPossible, ZeroDivisionError):
            db.session.rollback()
            return False
        db.session.commit()
        return True

    def _book(self, order, posting, amount, because, who):
        reasons = {order.id: because} if because else {}
        assign(self.merchant_id, posting.id, [(order.id, amount)], differences=reasons, **who)

    @staticmethod
    def _standing(order):
        return Ledger([order.id]).standing(order.id)

    def check(self):
        db.session.expire_all()
        rows = self.rows(Assignment).all()
        credits = {row.posting_id for row in self.rows(Credit)}
        for posting in self.rows(Posting):
            booked = sum((r.amount for r in rows if r.posting_id == posting.id), Decimal(0))
            assert 0 <= booked <= max(posting.amount, 0)
            assert posting.is_open == (booked < posting.amount and posting.may_be_open)
            assert posting.is_assigned == (booked != 0)
            assert posting.is_kept == (posting.id in credits)
            assert not (posting.is_returned and booked)
        returned = {row.returns_id for row in self.backs} - {None}
        assert returned == {row.id for row in self.paid if row.is_returned}
        for order in self.orders:
            own = [row for row in rows if row.order_id == order.id]
            paid = sum((row.amount for row in own), Decimal(0))
            assert order.payment_status == rules.payment_status(order.total, paid)
            self._check_rows(own)
            self._check_words(order)
        for row in credit_of(self.order(0)):
            assert row.left == row.posting.amount - sum(
                r.amount for r in rows if r.posting_id == row.posting.id
            )

    def _check_rows(self, own):
        """Reversals mirror their rows, and no difference stands without the row it completes."""
        by_id = {row.id: row for row in own}
        reversed_ids = {row.reverses_id for row in own} - {None}
        for row in own:
            if row.reverses_id is not None:
                taken = by_id[row.reverses_id]
                assert (row.amount, row.posting_id) == (-taken.amount, taken.posting_id)
                assert row.because == taken.because and taken.reverses_id is None
            elif row.completes_id is not None and row.id not in reversed_ids:
                assert row.completes_id not in reversed_ids
                assert row.posting_id is None and row.amount > 0

    def _check_words(self, order):
        """One mail on what came waits at most, and the shop's last news are true."""
        waiting = self.rows(Mail).filter_by(order_id=order.id, status="queued")
        kinds = [row.kind for row in waiting if not row.kind.startswith("payment_re")]
        receipts = [row for row in waiting if row.kind in RECEIPTS]
        assert len(receipts) <= 1, [(row.kind, row.facts) for row in receipts]
        if order.payment_status == "paid":
            assert "payment_information" not in kinds and "partially_paid" not in kinds
        if order.payment_status == "unpaid":
            assert receipts == []
        told = self.rows(PaymentUpdate).filter_by(order_id=order.id)
        last = [row for row in told if row.status in ("queued", "done")][-1:]
        assert ([row.payment_status for row in last] or ["unpaid"]) == [order.payment_status]

    def seen(self):
        """All that must be as before when a step was undone: append-only rows left out."""
        db.session.expire_all()
        standing = [
            (row.order_id, row.posting_id, row.amount, row.origin, row.because)
            for order in self.orders
            for row in self._standing(order)
        ]
        mails = self.rows(Mail).filter_by(status="queued")
        waiting = sorted((row.order_id, row.kind) for row in mails)
        updates = self.rows(PaymentUpdate).filter(PaymentUpdate.status.in_(["queued", "done"]))
        return {
            "orders": [(row.id, row.payment_status) for row in self.orders],
            "standing": sorted(standing, key=str),
            "mails": waiting,
            "shop": {row.order_id: row.intent for row in updates},  # the last of each order
            "postings": [(row.id, row.is_open, row.is_kept, row.is_returned) for row in self.paid],
            "credits": sorted((row.posting_id, row.mode) for row in self.rows(Credit)),
        }


RECEIPTS = ("payment_received", "partially_paid", "overpaid")
histories = settings(
    max_examples=20,
    phases=[Phase.explicit, Phase.generate],  # shrinking would take minutes
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
totals = st.lists(st.sampled_from(AMOUNTS), min_size=ORDERS, max_size=ORDERS)


@pytest.mark.feature("C7", "C12", "C13", "N4", "N18")
@histories
@given(totals=totals, history=steps)
def test_the_ledger_holds_through_any_history(app, totals, history):
    house = House(totals)
    for step in history:
        house.act(*step)
        house.check()


@pytest.mark.feature("N4")
@histories
@given(totals=totals, history=steps, one=numbers, two=numbers, three=numbers)
def test_an_undo_is_exact_after_any_history(app, totals, history, one, two, three):
    """A booking with its difference, a use of credit and a return: done, undone, as before."""
    house = House(totals)
    for step in history:
        if step[0] != "reprice":  # a mail that waits says the old total, one written anew the new
            house.act(*step)
    for kind in ("book", "difference", "use", "take_back"):
        before = house.seen()
        newest = max((row.id for row in house.rows(Assignment)), default=0)
        if not house.act(kind, one, two, three):
            continue
        if kind == "take_back":
            assert house.act("no_return", one, two, three)
        else:
            row = house.rows(Assignment).filter(Assignment.id > newest).first()
            undo(house.merchant_id, row.id, actor=ACTOR, at=house.at)
            db.session.commit()
        assert house.seen() == before, kind
        house.check()
