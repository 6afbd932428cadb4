"""``python -m server match`` on whole files: what was learned, refunds, the shape of answers."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from bench.matching.generate import set_of
from server.match import main

KEYS = [
    "id",
    "decision",
    "assignments",
    "remainder",
    "probability",
    "evidence",
    "vetoes",
    "suggestions",
]
KARL = {"counterparty_name": "Karl Fremd", "counterparty_iban": "DE02100500000054540402"}


def make_line(number: str, total: str, email: str, **over: object) -> dict[str, object]:
    return {
        "external_id": number,
        "number": number,
        "ordered_at": "2026-11-02T10:00:00+01:00",
        "currency": "EUR",
        "total": total,
        "customer": {"email": email, "number": f"K-{number}"},
        "billing_address": {"first_name": "Erika", "last_name": "Mustermann"},
    } | over


ORDERS = [
    make_line("ANNA-20017", "38.47", "erika@example.org"),
    make_line("ANNA-20999", "71.30", "max@example.org"),
]
PAID = {
    "amount": "38.47",
    "currency": "EUR",
    "booking_date": "2026-11-05",
    "remittance_information": "Danke",
} | KARL


@pytest.fixture
def match(tmp_path: Path, capsys):
    def run(orders, postings, history=(), *options):
        files = {"orders": orders, "postings": postings, "history": history}
        named = []
        for name, lines in files.items():
            path = tmp_path / f"{name}.jsonl"
            text = "".join(json.dumps(line) + "\n" for line in lines)
            path.write_text(text, encoding="utf-8")
            named += [f"--{name}", str(path)]
        assert main([*named, "--json", *options]) == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


def confirmed(**over):
    return {"order": "OLD-1", "booked_date": "2026-05-05"} | KARL | over


@pytest.mark.feature("C19")
@pytest.mark.parametrize(
    "customer",
    [
        {"customer_email": "Erika@Example.org"},
        {"customer_number": "K-ANNA-20017"},
        {"order": "ANNA-20017"},  # one of the orders tells whose it was
    ],
)
def test_the_history_tells_for_whom_an_account_pays(match, customer):
    (unknown,) = match(ORDERS, [PAID])
    assert unknown["decision"] != "auto"
    (known,) = match(ORDERS, [PAID], [confirmed(**customer)])
    assert known["decision"] == "auto"
    assert known["assignments"] == [{"order": "ANNA-20017", "amount": "38.47"}]
    assert any("paid for this customer before" in each for each in known["evidence"])


@pytest.mark.feature("C19")
def test_an_account_of_many_customers_tells_nothing(match):
    many = [confirmed(customer_email=f"{n}@example.org") for n in range(6)]
    (answer,) = match(ORDERS, [PAID], [*many, confirmed(customer_email="erika@example.org")])
    assert answer["decision"] != "auto"


@pytest.mark.feature("C16", "N18")
@pytest.mark.parametrize("is_before", [True, False])
def test_our_own_refund_that_came_back_is_known_by_its_end_to_end_id(match, is_before):
    named = PAID | {"remittance_information": "ANNA-20017", "counterparty_name": "Erika Mustermann"}
    (sure,) = match(ORDERS, [named])
    assert sure["decision"] == "auto"
    came = named | {"id": "came", "end_to_end_id": "REFUND-17"}
    went = {"id": "went", "amount": "-38.47", "currency": "EUR", "end_to_end_id": "REFUND-17"}
    answers = match(ORDERS, [went, came] if is_before else [came, went])
    found = {answer["id"]: answer for answer in answers}
    assert found["came"]["decision"] != "auto"
    assert found["came"]["vetoes"] == ["own_refund"]
    assert (found["went"]["decision"], found["went"]["remainder"]) == ("none", "0")


def test_an_end_to_end_id_that_says_nothing_is_no_refund(match):
    named = PAID | {"remittance_information": "ANNA-20017", "end_to_end_id": "NOTPROVIDED"}
    went = {"amount": "-9.00", "currency": "EUR", "end_to_end_id": "NOTPROVIDED"}
    came, _ = match(ORDERS, [named, went])
    assert came["decision"] == "auto"


@pytest.fixture(scope="module", params=["families", "b2b"])
def one(request):
    return set_of(request.param, 5, 200, 120)


def test_every_answer_has_the_same_shape(match, one):
    answers = match(one.orders, one.postings, one.history, "--today", one.today)
    assert [answer["id"] for answer in answers] == [line["id"] for line in one.postings]
    assert {answer["decision"] for answer in answers} == {"auto", "suggest", "none"}
    for answer, line in zip(answers, one.postings, strict=True):
        assert list(answer) == KEYS
        assert 0 <= answer["probability"] <= 1
        booked = sum(round(float(share["amount"]) * 100) for share in answer["assignments"])
        available = max(round(float(line["amount"]) * 100), 0)
        assert booked + round(float(answer["remainder"]) * 100) == available
        if answer["decision"] == "auto":
            assert answer["assignments"] and answer["evidence"] and not answer["vetoes"]
        elif answer["decision"] == "suggest":
            assert answer["suggestions"] and not answer["assignments"]
        else:
            lists = ("assignments", "evidence", "vetoes", "suggestions")
            assert [answer[name] for name in lists] == [[], [], [], []]
            assert answer["probability"] == 0


def test_the_order_of_the_lines_does_not_matter(match, one):
    straight = match(one.orders, one.postings, one.history, "--today", one.today)
    mixed = [list(one.orders), list(one.postings), list(one.history)]
    for lines in mixed:
        random.Random(7).shuffle(lines)
    answers = match(*mixed, "--today", one.today)
    assert [answer["id"] for answer in answers] == [line["id"] for line in mixed[1]]
    by_id = {answer["id"]: answer for answer in answers}
    assert {answer["id"]: answer for answer in straight} == by_id


def test_most_is_assigned_and_nothing_wrongly(match, one):
    answers = match(one.orders, one.postings, one.history, "--today", one.today)
    true = {line["id"]: line["booked"] for line in one.truth}
    auto = [answer for answer in answers if answer["decision"] == "auto"]
    for answer in auto:
        booked = {share["order"]: share["amount"] for share in answer["assignments"]}
        assert booked == true[answer["id"]], answer
    assert len(auto) > len(answers) * 0.7
