"""The measure of the matcher is right itself: sets, truths, judgements, statistics."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from random import Random

import pytest

from bench.matching import baselines, names, wording
from bench.matching.__main__ import main
from bench.matching.generate import Set, batches, set_of
from bench.matching.measure import Task, asked, run
from bench.matching.noise import KINDS
from bench.matching.orders import STYLES, build
from bench.matching.score import (
    clopper_pearson,
    judged,
    mcnemar,
    paired,
    tallies,
)
from plugin_sdk.schemas import OrderSchema

OPEN_ORDERS = 300
SAMPLE = 200


@pytest.fixture(scope="module", params=sorted(STYLES))
def sample(request) -> Set:
    return set_of(request.param, seed=1, open_orders=OPEN_ORDERS, postings=SAMPLE)


# --- Sets -------------------------------------------------------------------------------------


def test_same_seed_gives_the_same_set():
    assert set_of("b2b", 4, 100, 70) == set_of("b2b", 4, 100, 70)
    assert set_of("b2b", 4, 100, 70).postings != set_of("b2b", 5, 100, 70).postings


def test_truth_fits_orders_and_postings(sample):
    owed = {
        order["number"]: Decimal(order["total"]) - Decimal(order["paid_total"])
        for order in sample.orders
    }
    assert [line["id"] for line in sample.truth] == list(range(len(sample.postings)))
    for posting, truth in zip(sample.postings, sample.truth, strict=True):
        assert posting["id"] == truth["id"]
        assert truth["orders"] == sorted(truth["booked"])
        booked = {number: Decimal(amount) for number, amount in truth["booked"].items()}
        assert sum(booked.values()) <= max(Decimal(posting["amount"]), Decimal(0)), truth
        for number, amount in booked.items():
            assert 0 < amount <= owed[number], truth


def test_no_order_is_paid_more_than_it_owes(sample):
    booked: Counter[str] = Counter()
    for truth in sample.truth:
        for number, amount in truth["booked"].items():
            booked[number] += Decimal(amount)
    for order in sample.orders:
        assert booked[order["number"]] <= Decimal(order["total"]) - Decimal(order["paid_total"])


def test_only_open_orders_are_true_and_currencies_agree(sample):
    orders = {order["number"]: order for order in sample.orders}
    for posting, truth in zip(sample.postings, sample.truth, strict=True):
        for number in truth["orders"]:
            assert orders[number]["payment_status"] in {"unpaid", "partially_paid"}
            assert orders[number]["currency"] == posting["currency"]


def test_orders_are_of_the_wire(sample):
    for order in sample.orders[:20]:
        sent = {
            key: value
            for key, value in order.items()
            if key not in {"payment_status", "paid_total"} and value is not None
        }
        assert OrderSchema().load(sent).number == order["number"]


def test_set_has_as_many_orders_as_asked(sample):
    is_open = [order["payment_status"] in {"unpaid", "partially_paid"} for order in sample.orders]
    assert sum(is_open) == (STYLES[sample.style].open_orders or OPEN_ORDERS)
    assert sum(is_open) / len(is_open) == pytest.approx(1 / 1.15, abs=0.01)
    numbers = [order["number"] for order in sample.orders]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_kind_can_be_made_and_says_what_it_is(kind, shops):
    assert kind.make.__doc__
    drafts = next((drafts for shop in shops if (drafts := kind.make(shop))), [])
    assert 1 <= len(drafts) <= 2
    for draft in drafts:
        assert sum(draft.booked.values()) <= max(draft.amount, 0)


@pytest.fixture(scope="module")
def shops():
    """Shops in which every kind finds an order that fits."""
    return [build(STYLES[style], Random(3), 700) for style in ("b2b", "seq5", "families")]


def test_most_of_an_account_is_easy():
    one = set_of("prefixed", 1, 2000, 1500)
    easy = {kind.name for kind in KINDS.values() if kind.rank == 9}
    share = sum(truth["kind"] in easy for truth in one.truth) / len(one.truth)
    assert 0.5 < share < 0.8
    unassignable = sum(not truth["orders"] for truth in one.truth) / len(one.truth)
    assert 0.08 < unassignable < 0.2


def test_second_payment_of_a_duplicate_pays_nothing_and_comes_later():
    one = set_of("seq5", 1, 1000, 750)
    pairs = [truth for truth in one.truth if truth["kind"] == "duplicate"]
    firsts = [truth for truth in pairs if truth["orders"]]
    assert firsts
    assert len(pairs) == 2 * len(firsts)
    for first in firsts:
        amount = one.postings[first["id"]]["amount"]
        later = [
            truth["id"] for truth in pairs if not truth["orders"] and truth["id"] > first["id"]
        ]
        assert any(one.postings[at]["amount"] == amount for at in later)


@pytest.mark.parametrize("through", ["camt", "mt940"])
def test_set_survives_a_real_bank_file(through):
    plain, read = set_of("year", 2, 100, 70), set_of("year", 2, 100, 70, through)
    assert read.truth == plain.truth
    assert [one["amount"] for one in read.postings] == [one["amount"] for one in plain.postings]
    for before, after in zip(plain.postings, read.postings, strict=True):
        text = before["remittance_information"] or ""
        written = (after["remittance_information"] or "").replace("\n", "")
        assert "".join(text.split()) == "".join(written.split())


def test_batches_make_the_postings_asked_for():
    assert batches("seq5", 3, 2000, 3000) == [(3000, 1500), (3001, 1500)]
    assert batches("seq5", 1, 2000, 300) == [(1000, 300)]
    assert len(batches("small", 1, 2000, 5000)) == 20


# --- Names and slips --------------------------------------------------------------------------


def test_check_digits_are_right():
    assert names.check_digits("370400440532013000", "DE") == "89"
    assert names.creditor_reference("539007547034") == "RF18539007547034"


@pytest.mark.parametrize(
    ("number", "core"),
    [
        ("20111", "20111"),
        ("SHOP-20000", "20000"),
        ("2026-104711", "104711"),
        ("KUNST-LENWB", "LENWB"),
        ("B51000", "51000"),
        ("#1041", "1041"),
        ("12-34567-89012", "12-34567-89012"),
        ("K7Q4M", "K7Q4M"),
        ("CVGA8", "CVGA8"),
    ],
)
def test_core_of_a_number(number, core):
    assert wording.core(number) == core


def test_frequent_names_are_frequent():
    rng = Random(1)
    seen = Counter(names.skewed(rng, names.FAMILY_NAMES) for _ in range(5000))
    assert seen["Müller"] > 50
    assert len(seen) > 350


# --- Judging ----------------------------------------------------------------------------------


def truth(*, orders=("A",), booked=None, ambiguous=False, kind="exact"):
    booked = booked if booked is not None else dict.fromkeys(orders, "10.00")
    return {"id": 0, "kind": kind, "orders": list(orders), "booked": booked, "ambiguous": ambiguous}


def answer(decision="auto", said=(("A", "10.00"),), perhaps=(), probability=0.999, vetoes=()):
    return {
        "id": 0,
        "decision": decision,
        "assignments": [{"order": order, "amount": amount} for order, amount in said],
        "remainder": "0.00",
        "probability": probability,
        "evidence": [],
        "vetoes": list(vetoes),
        "suggestions": [{"orders": list(orders), "probability": 0.5} for orders in perhaps],
    }


def suggested(*perhaps, probability=0.5, vetoes=()):
    return answer("suggest", (), perhaps, probability, vetoes)


@pytest.mark.parametrize(
    ("meant", "said", "is_right", "is_wrong", "is_missed"),
    [
        (truth(), answer(), True, False, False),
        (truth(), answer(said=[("A", "10.0")]), True, False, False),
        (truth(), answer(said=[("A", "9.99")]), False, True, False),
        (truth(), answer(said=[("B", "10.00")]), False, True, False),
        (truth(), answer(said=[("A", "10.00"), ("B", "1.00")]), False, True, False),
        (truth(), answer(said=[("A", "5.00"), ("A", "10.00")]), False, True, False),
        (truth(orders=("A", "B")), answer(), False, True, False),
        (truth(orders=()), answer(), False, True, False),
        (truth(orders=()), suggested(["A"]), False, False, False),
        (truth(), suggested(["A"]), False, False, True),
        (truth(ambiguous=True), suggested(["A"]), False, False, False),
        (truth(ambiguous=True), answer(), True, False, False),
    ],
)
def test_judgement(meant, said, is_right, is_wrong, is_missed):
    one = judged("seq5", meant, said)
    assert (one.is_right, one.is_wrong, one.is_missed) == (is_right, is_wrong, is_missed)


def test_answer_to_another_posting_is_refused():
    with pytest.raises(AssertionError, match="was answered as 1"):
        judged("seq5", truth(), {**answer(), "id": 1})


def test_figures_of_a_group():
    outcomes = [
        judged("s", truth(), answer()),
        judged("s", truth(), answer(said=[("B", "10.00")])),
        judged("s", truth(orders=()), answer()),
        judged("s", truth(), suggested(["A"], ["B"], probability=0.75)),
        judged("s", truth(), suggested(["B"], ["A"], probability=0.45)),
        judged("s", truth(), suggested(["B"], probability=0.85, vetoes=["pending"])),
        judged("s", truth(ambiguous=True), suggested()),
    ]
    tally = tallies(outcomes, lambda one: one.style)["s"]
    assert (tally.n, tally.assignable, tally.right, tally.wrong) == (7, 6, 1, 2)
    assert (tally.false_positive, tally.unassignable) == (1, 1)
    assert (tally.clear, tally.clear_right) == (5, 1)
    assert (tally.left, tally.first, tally.among_three) == (4, 1, 2)
    # Two have an answer, no veto and less than 0.99: 0.75 came true, 0.45 did not.
    assert tally.calibration_error == pytest.approx((0.25 + 0.45) / 2)
    assert tally.as_json()["wrong_per_10000"][0] == pytest.approx(20000 / 7)


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [
        (0, 10, 0.0, 0.308497),
        (10, 10, 0.691503, 1.0),
        (1, 10, 0.00252858, 0.445016),
        (5, 10, 0.187086, 0.812914),
        (0, 30000, 0.0, 0.000122955),
        (3, 100, 0.00622998, 0.0851761),
    ],
)
def test_clopper_pearson(hits, trials, low, high):
    assert clopper_pearson(hits, trials) == pytest.approx((low, high), rel=1e-4, abs=1e-9)


@pytest.mark.parametrize(
    ("left", "right", "p"),
    [(0, 0, 1.0), (5, 5, 1.0), (0, 5, 0.0625), (1, 9, 0.021484375), (10, 2, 0.03857421875)],
)
def test_mcnemar(left, right, p):
    assert mcnemar(left, right) == pytest.approx(p)


def test_pairs_are_counted_posting_by_posting():
    ours = [judged("s", truth(), answer()), judged("s", truth(), answer())]
    theirs = [judged("s", truth(), answer()), judged("s", truth(), answer(said=[("B", "10.00")]))]
    assert paired(ours, theirs) == {"right": (1, 0, 1.0), "wrong": (0, 1, 1.0)}


# --- Engines ----------------------------------------------------------------------------------


def test_first_number_looks_at_nothing_else():
    one = set_of("prefixed", 1, OPEN_ORDERS, SAMPLE)
    order = next(order for order in one.orders if order["payment_status"] == "unpaid")
    posting = {
        **one.postings[0],
        "id": 0,
        "amount": "0.50",
        "counterparty_name": "Bob",
        "remittance_information": f"Nr. {order['number'].lower()}, danke",
    }
    (found,) = baselines.first_number(one.orders, [posting])
    assert found["decision"] == "auto"
    assert found["assignments"] == [{"order": order["number"], "amount": "0.50"}]
    (unsure,) = baselines.points(one.orders, [posting])
    assert unsure["decision"] == "suggest"


@pytest.mark.parametrize("name", sorted(baselines.BASELINES))
def test_baselines_answer_every_posting_and_are_mostly_right(name):
    one = set_of("prefixed", 1, OPEN_ORDERS, SAMPLE)
    answers = baselines.BASELINES[name](one.orders, one.postings)
    tally = tallies(
        [judged("s", *pair) for pair in zip(one.truth, answers, strict=True)], lambda _: "all"
    )["all"]
    assert tally.right > tally.assignable / 2


def test_sample_through_the_real_matcher(tmp_path):
    done = run(
        Task(
            style="prefixed",
            seed=1,
            open_orders=400,
            postings=300,
            baseline="points",
            write=tmp_path,
        )
    )
    assert len(done.outcomes) == len(done.baseline) >= 300
    (place,) = tmp_path.iterdir()
    kept = [json.loads(line) for line in (place / "answers.jsonl").read_text().splitlines()]
    assert [one["id"] for one in kept] == list(range(len(done.outcomes)))
    assert asked(place, "2026-11-20", has_history=False)


def test_report_is_printed(capsys):
    arguments = "--postings 60 --orders 80 --style seq5 --engine first_number --jobs 1".split()
    assert main([*arguments, "--baseline", "points", "--misses", "1"]) == 0
    printed = capsys.readouterr().out
    for part in ("wrong/10k", "probability", "postings/s", "against points", "missed", "order "):
        assert part in printed
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["all"]["all"]["n"] >= 60
