"""What holds whatever payers write and however much comes at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.matching.rules import (
    Decision,
    Discount,
    MemoryStore,
    OpenOrder,
    PaidFor,
    Payer,
    Policy,
    PostingFacts,
    decide,
)
from server.orders.rules import order_keys

EXAMPLES = settings(max_examples=60, deadline=None)
ERIKA = Payer("Erika", "Mustermann")
PEOPLE = [
    ERIKA,
    Payer("Karl", "Mustermann"),
    Payer("Max", "Beispiel"),
    Payer("Jörg", "Müller", "Müller Bau GmbH & Co. KG"),
    Payer("", "", "Beispiel & Partner AG"),
]
TOTALS = ["19.90", "19.90", "31.20", "8.05", "49.90", "100.00", "250.00", "0.50", "0.00"]
STATUSES = ["unpaid"] * 8 + ["partially_paid", "paid", "cancelled", "removed", "not_managed"]
IBANS = ["DE89370400440532013000", "DE02100500000054540402", None]
DAY = date(2026, 11, 5)


@st.composite
def shops(draw: st.DrawFn) -> list[OpenOrder]:
    """Up to a dozen orders whose numbers, totals and customers are near to each other."""
    pattern = draw(st.sampled_from(["ANNA-200{:02}", "{:05}7", "2026-{:04}", "A{:03}XK", "RE/{}1"]))
    count = draw(st.integers(1, 12))
    return [_order(draw, n, pattern.format(n)) for n in range(count)]


def _order(draw: st.DrawFn, n: int, number: str) -> OpenOrder:
    total = Decimal(draw(st.sampled_from(TOTALS)))
    status = draw(st.sampled_from(STATUSES))
    place = draw(st.integers(0, len(PEOPLE) - 1))
    payer = PEOPLE[place]
    paid = {"partially_paid": total / 2, "paid": total}.get(status, Decimal(0))
    return OpenOrder(
        id=n,
        number=number,
        currency=draw(st.sampled_from(["EUR", "EUR", "EUR", "CHF"])),
        total=total,
        outstanding=(total - paid).quantize(Decimal("0.01")),
        payment_status=status,
        ordered_date=DAY - timedelta(days=draw(st.integers(0, 40))),
        payers=(payer,),
        discount=Discount(Decimal(2), 10) if draw(st.booleans()) else None,
        customer=(f"mail:{place}@example.org",),
        keys=order_keys(
            number,
            invoice_numbers=[f"RG-{800 + n}"],
            names=[payer.last_name, payer.company],
            people=[(payer.first_name, payer.last_name)],
            customer_number=f"K-{4711 + place}",
        ),
    )


@st.composite
def postings(draw: st.DrawFn, orders: list[OpenOrder], at_most: int = 6) -> list[PostingFacts]:
    """Mostly about these orders: named, nearly named, their totals or sums, their people."""
    return [_posting(draw, id, orders) for id in range(draw(st.integers(1, at_most)))]


def _posting(draw: st.DrawFn, id: int, orders: list[OpenOrder]) -> PostingFacts:
    some = draw(st.lists(st.sampled_from(orders), min_size=0, max_size=3))
    meant = some or [draw(st.sampled_from(orders))]
    text = " ".join(_slipped(draw, order.number) for order in some)
    amount = sum((order.outstanding for order in meant), Decimal(0))
    amount += draw(
        st.sampled_from([Decimal(0)] * 5 + [Decimal("0.01"), Decimal("-0.01"), Decimal(7)])
    )
    amount *= draw(
        st.sampled_from([Decimal(1)] * 5 + [Decimal("0.98"), Decimal("0.5"), Decimal(3)])
    )
    payer = draw(
        st.sampled_from([*(order.payers[0] for order in meant), *PEOPLE, Payer("Bob", "F")])
    )
    name = payer.company or f"{payer.first_name} {payer.last_name}"
    return PostingFacts(
        id=id,
        amount=amount.quantize(Decimal("0.01")),
        currency=draw(st.sampled_from(["EUR", "EUR", "EUR", "CHF", None])),
        booking_date=draw(st.sampled_from([DAY, DAY + timedelta(days=1), None])),
        counterparty_name=draw(st.sampled_from([name, name, None])),
        counterparty_iban=draw(st.sampled_from(IBANS)),
        remittance_information=draw(st.sampled_from([text, text, f"Danke! {text}", None])),
        end_to_end_id=draw(st.sampled_from([None, None, meant[0].number])),
        is_return=draw(st.sampled_from([False] * 9 + [True])),
    )


def _slipped(draw: st.DrawFn, number: str) -> str:
    at = draw(st.integers(0, len(number) - 1))
    written = [number, number, number.lower(), number.replace("-", " ")]
    written += [number[:at] + number[at + 1 :], number[:at] + "7" + number[at + 1 :]]
    return draw(st.sampled_from(written))


POLICIES = st.builds(
    Policy,
    level=st.sampled_from(["careful", "normal", "eager"]),
    tolerance=st.sampled_from([Decimal(0), Decimal("0.01"), Decimal("0.50")]),
    claims_bank_fees=st.booleans(),
    max_order_age_days=st.sampled_from([0, 20]),
    accepts_late_discount=st.booleans(),
    assigns_cancelled=st.just(False),
)
HISTORY = {"DE89370400440532013000": [PaidFor(("mail:0@example.org",), 2)]}


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[OpenOrder], list[PostingFacts], Policy]:
    orders = draw(shops())
    return orders, draw(postings(orders)), draw(POLICIES)


def decided(
    orders: list[OpenOrder], some: list[PostingFacts], policy: Policy
) -> dict[object, Decision]:
    store = MemoryStore(orders, HISTORY)
    return {one.posting.id: one for one in decide(some, store, policy=policy)}


def told(decision: Decision) -> tuple[object, ...]:
    """A decision by the numbers of its orders: ids may differ."""
    return (
        decision.choice,
        sorted((share.order.number, share.amount, share.because) for share in decision.shares),
        round(decision.probability, 6),
        sorted(decision.vetoes),
        [sorted(share.order.number for share in each.shares) for each in decision.proposals],
        decision.remainder,
    )


# --- money -------------------------------------------------------------------------------------


@given(batches())
@EXAMPLES
def test_never_more_than_the_posting_has_nor_than_the_order_owes(batch):
    orders, some, policy = batch
    paid: dict[int, Decimal] = {}
    for decision in decided(orders, some, policy).values():
        assert sum(share.amount for share in decision.shares) <= max(decision.posting.available, 0)
        for share in decision.shares:
            assert share.amount > 0
            paid[share.order.id] = paid.get(share.order.id, Decimal(0)) + share.amount
        for proposal in decision.proposals:
            ids = [share.order.id for share in proposal.shares]
            assert len(ids) == len(set(ids))
            assert sum(share.amount for share in proposal.shares) <= decision.posting.available
    for order in orders:
        assert paid.get(order.id, Decimal(0)) <= order.outstanding + policy.tolerance


@given(batches())
@EXAMPLES
def test_only_open_orders_of_the_same_currency_are_paid(batch):
    orders, some, policy = batch
    for decision in decided(orders, some, policy).values():
        for share in decision.shares:
            assert share.order.currency == decision.posting.currency
            assert share.order.payment_status in ("unpaid", "partially_paid")


@given(batches())
@EXAMPLES
def test_a_payment_in_another_currency_changes_nothing_for_the_others(batch):
    orders, some, policy = batch
    francs = [replace(one, id=100 + n, currency="XAU") for n, one in enumerate(some)]
    alone = decided(orders, some, policy)
    together = decided(orders, [*francs, *some], policy)
    assert all(told(together[id]) == told(alone[id]) for id in alone)
    assert all(together[one.id].choice != "auto" for one in francs)


# --- order -------------------------------------------------------------------------------------


@given(batches(), st.randoms(use_true_random=False))
@EXAMPLES
def test_the_place_of_a_posting_in_its_batch_does_not_matter(batch, random):
    orders, some, policy = batch
    mixed = list(some)
    random.shuffle(mixed)
    assert decided(orders, mixed, policy) == decided(orders, some, policy)


@given(batches(), st.randoms(use_true_random=False))
@EXAMPLES
def test_in_which_order_the_orders_came_does_not_matter(batch, random):
    orders, some, policy = batch
    ids = [order.id + 1000 for order in orders]
    random.shuffle(ids)
    others = [replace(order, id=id) for order, id in zip(orders, ids, strict=True)]
    one, other = decided(orders, some, policy), decided(others, some, policy)
    assert {id: told(each) for id, each in one.items()} == {
        id: told(each) for id, each in other.items()
    }


@given(batches())
@EXAMPLES
def test_the_same_input_gives_the_same_answer(batch):
    assert decided(*batch) == decided(*batch)


# --- vetoes ------------------------------------------------------------------------------------

OPEN = OpenOrder(
    id=1,
    number="ANNA-20017",
    currency="EUR",
    total=Decimal("49.90"),
    outstanding=Decimal("49.90"),
    payment_status="unpaid",
    ordered_date=DAY,
    payers=(ERIKA,),
    keys=order_keys("ANNA-20017", payment_reference="HX8J2N9A", names=["Mustermann"]),
)
SURE = PostingFacts(
    id=1,
    amount=Decimal("49.90"),
    currency="EUR",
    booking_date=DAY,
    counterparty_name="Erika Mustermann",
    remittance_information="HX8J2N9A",
)
FORBIDDEN = [
    {"is_return": True},
    {"is_pending": True},
    {"is_batch_total": True},
    {"is_possible_duplicate": True},
    {"is_own_refund": True},
    {"amount": Decimal("-49.90")},
    {"currency": "CHF"},
    {"currency": None},
    {"amount": None},
    {"amount": Decimal(0)},
    {"booking_date": DAY + timedelta(days=30)},
]
PROVIDERS = [
    "PayPal (Europe) S.a.r.l. et Cie, S.C.A.",
    "KLARNA BANK AB (PUBL)",
    "Amazon Payments Europe S.C.A.",
    "Stripe",
]


def test_it_would_be_booked_otherwise():
    (decision,) = decide([SURE], MemoryStore([OPEN]), today=DAY)
    assert decision.choice == "auto"


@pytest.mark.parametrize("over", FORBIDDEN)
@given(text=st.one_of(st.text(max_size=60), st.sampled_from(["ANNA-20017", "HX8J2N9A", "20017"])))
@EXAMPLES
def test_what_is_vetoed_is_never_booked_whatever_it_says(over, text):
    posting = replace(SURE, remittance_information=text, **over)
    (decision,) = decide([posting], MemoryStore([OPEN]), policy=Policy(level="eager"), today=DAY)
    assert decision.choice != "auto"


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize("text", ["ANNA-20017", "Bestellung 20017", "", "PP.4711.PP ANNA-20017"])
def test_a_providers_payout_is_no_payment_of_one_order(name, text):
    posting = replace(SURE, counterparty_name=name, remittance_information=text)
    (decision,) = decide([posting], MemoryStore([OPEN]), policy=Policy(level="eager"))
    assert decision.choice != "auto"


@given(
    st.text(max_size=400),
    st.one_of(st.none(), st.text(max_size=70)),
    st.one_of(st.none(), st.text(max_size=35)),
    st.decimals("-1e11", "1e11", places=2),
)
@EXAMPLES
def test_no_posting_is_too_strange(text, name, reference, amount):
    posting = replace(
        SURE,
        amount=amount,
        counterparty_name=name,
        counterparty_iban=name,
        remittance_information=text,
        creditor_reference=reference,
        end_to_end_id=reference,
    )
    (decision,) = decide([posting], MemoryStore([OPEN, *_others()]), policy=Policy(level="eager"))
    assert decision.choice != "auto" or decision.evidence
    for evidence in decision.evidence:
        assert evidence.sentence
        if evidence.span is not None:
            written = getattr(posting, evidence.span.field)
            assert written[evidence.span.start : evidence.span.end].strip()


def _others() -> list[OpenOrder]:
    random = Random(7)
    return [
        replace(
            OPEN,
            id=10 + n,
            number=(number := f"{random.randrange(10**6):06}"),
            payers=(Payer("Max", "Beispiel"),),
            keys=order_keys(number, names=["Beispiel"]),
        )
        for n in range(30)
    ]
