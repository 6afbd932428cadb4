"""``python -m server match``: files in, one decision a posting out."""

import json
import subprocess
import sys

import pytest

from server.match import main

ORDER = {
    "external_id": "17",
    "number": "ANNA-20017",
    "ordered_at": "2026-11-02T10:00:00+01:00",
    "currency": "EUR",
    "total": "49.90",
    "billing_address": {"first_name": "Erika", "last_name": "Mustermann"},
    "invoices": [{"number": "RE-30017", "date": "2026-11-02"}],
    "payment_terms": {"discount_percent": "2", "discount_days": 14, "net_days": 30},
    "something_new": True,
}
POSTING = {
    "id": "a",
    "account_iban": "DE02120300000000202051",
    "booking_date": "2026-11-05",
    "value_date": None,
    "amount": "50.00",
    "currency": "EUR",
    "counterparty_name": "Erika Mustermann",
    "remittance_information": "ANNA-20017",
    "is_return": False,
}


@pytest.fixture
def match(tmp_path, capsys):
    def run(orders, postings, *options):
        paths = []
        for name, lines in (("orders", orders), ("postings", postings)):
            path = tmp_path / f"{name}.jsonl"
            path.write_text("".join(line + "\n" for line in map(as_line, lines)), encoding="utf-8")
            paths += [f"--{name}", str(path)]
        code = main([*paths, *options])
        return code, *capsys.readouterr()

    return run


def as_line(line):
    return line if isinstance(line, str) else json.dumps(line)


def test_one_object_a_posting_in_input_order(match):
    unnamed = {key: POSTING[key] for key in ("amount", "currency")}
    code, out, err = match([ORDER], [POSTING, unnamed, "", POSTING | {"id": 7}], "--json")
    assert (code, err) == (0, "")
    first, second, third = map(json.loads, out.splitlines())
    assert first == {
        "id": "a",
        "decision": "auto",
        "assignments": [{"order": "ANNA-20017", "amount": "49.90"}],
        "remainder": "0.10",
        "probability": 0.99999,
        "evidence": first["evidence"],
        "vetoes": [],
        "suggestions": first["suggestions"],
    }
    assert second == {
        "id": 1,  # the line's number from 0
        "decision": "none",
        "assignments": [],
        "remainder": "50.00",
        "probability": 0.0,
        "evidence": [],
        "vetoes": [],
        "suggestions": [],
    }
    assert (third["id"], third["decision"]) == (7, "suggest")
    assert third["vetoes"] == ["order_paid"]
    assert third["suggestions"][0]["orders"] == ["ANNA-20017"]


@pytest.mark.parametrize(
    ("over", "choice"),
    [
        ({}, "auto"),
        ({"payment_status": "unpaid", "paid_total": "0.00"}, "auto"),
        ({"paid_total": "49.90"}, "suggest"),
        ({"payment_status": "cancelled"}, "suggest"),
        ({"invoices": None, "billing_address": None, "payment_terms": None}, "auto"),
    ],
)
def test_what_is_paid_already_is_read_from_the_order(match, over, choice):
    _, out, _ = match([ORDER | over], [POSTING | {"amount": "49.90"}], "--json")
    assert json.loads(out)["decision"] == choice


def test_a_posting_the_bank_left_unreadable_is_answered(match):
    code, out, _ = match([ORDER], [{"amount": None, "currency": None}], "--json")
    assert code == 0
    assert json.loads(out)["decision"] == "none"


def test_a_posting_after_today_is_not_booked(match):
    _, out, _ = match([ORDER], [POSTING], "--json", "--today", "2026-11-04")
    assert json.loads(out)["vetoes"] == ["booked_in_future"]


def test_the_report_is_for_reading(match):
    code, out, _ = match([ORDER], [POSTING, POSTING, {"amount": "1", "currency": "EUR"}])
    assert code == 0
    assert "pays ANNA-20017: 49.90" in out
    assert "but the order is paid" in out
    assert out.endswith("1 auto, 1 suggest, 1 none\n")


@pytest.mark.parametrize(
    ("order", "complaint"),
    [
        ("{", "orders.jsonl:2: is not JSON"),
        ("[]", "orders.jsonl:2: is not a JSON object"),
        (ORDER | {"total": None}, "orders.jsonl:2: total is missing"),
        (ORDER | {"total": "12,50"}, "orders.jsonl:2: total is not an amount: '12,50'"),
        (ORDER | {"total": "NaN"}, "total is not an amount"),
        (ORDER | {"total": "1E+30"}, "total is not an amount"),
        (ORDER | {"total": True}, "total is not an amount"),
        (ORDER | {"number": ""}, "number is missing"),
        (ORDER | {"number": 17}, "number is not a text: 17"),
        (ORDER | {"currency": None}, "currency is missing"),
        (ORDER | {"ordered_at": "yesterday"}, "ordered_at is not a time"),
        (ORDER | {"billing_address": "Berlin"}, "billing_address is not an object"),
        (ORDER | {"invoices": ["RE-1"]}, "invoices is not a list of objects"),
        (ORDER | {"references": [1]}, "references is not a list of texts"),
        (
            ORDER | {"payment_terms": {"discount_percent": "200", "discount_days": 1}},
            "discount_percent is not between 0 and 100",
        ),
        (
            ORDER | {"payment_terms": {"discount_percent": "2", "discount_days": "a"}},
            "discount_days is not a number of days",
        ),
    ],
)
def test_a_line_that_cannot_be_read_is_named(match, order, complaint):
    code, out, err = match([ORDER, order], [POSTING], "--json")
    assert (code, out) == (2, "")
    assert complaint in err


@pytest.mark.parametrize(
    ("over", "complaint"),
    [
        ({"booking_date": "5.11.2026"}, "postings.jsonl:1: booking_date is not a date"),
        ({"is_return": "no"}, "is_return is not true or false"),
        ({"amount": "many"}, "amount is not an amount"),
    ],
)
def test_a_posting_that_cannot_be_read_is_named(match, over, complaint):
    code, _, err = match([ORDER], [POSTING | over], "--json")
    assert code == 2
    assert complaint in err


def test_a_missing_file_is_named(capsys):
    assert main(["--orders", "no-such-file", "--postings", "no-such-file"]) == 2
    assert "no-such-file: No such file" in capsys.readouterr().err


def test_the_history_is_checked(match, tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_text('{"order": "ANNA-1", "booked_date": "2026-10-01"}\n')
    assert match([ORDER], [POSTING], "--json", "--history", str(path))[0] == 0
    path.write_text('{"booked_date": "2026-10-01"}\n')
    code, _, err = match([ORDER], [POSTING], "--json", "--history", str(path))
    assert (code, "history.jsonl:1: order is missing" in err) == (2, True)


def test_it_starts_without_the_server():
    """No web framework, no database, no queue: that is what makes it start at once."""
    loaded = "import sys, server.match; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"flask", "sqlalchemy", "rq", "redis", "marshmallow", "requests"} & set(modules)
