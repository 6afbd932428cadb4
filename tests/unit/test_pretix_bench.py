"""The comparison with pretix, as far as it goes without pretix."""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from bench.matching.pretix import run
from bench.matching.pretix.inside import (
    INVOICE_NUMBER,
    CannotBeTold,
    OrderFound,
    Probe,
    can_be_given,
    row,
    split_numbers,
)

FIGURES = {
    "postings": 3,
    "pretix": "2026.8.0",
    "database": "sqlite",
    "pure_seconds": 0.5,
    "pure_found": 2,
    "pure_statements": 6,
    "booking_seconds": 1.5,
    "booking_cpu_seconds": 1.25,
    "booking_statements": 90,
}


def lines(*objects: dict[str, object]) -> str:
    return "".join(json.dumps(one) + "\n" for one in objects)


# --- Answers ----------------------------------------------------------------------------------


def test_the_answer_of_pretix() -> None:
    answer = lines(
        {"id": 0, "orders": ["SHOP-1", "SHOP-2"], "state": "valid"},
        {"id": "b", "orders": [], "state": "nomatch"},
        {"figures": FIGURES},
    )

    decisions, figures = run.read_pretix(answer)

    assert decisions == {"0": {"SHOP-1", "SHOP-2"}, "b": frozenset()}
    assert figures == FIGURES


@pytest.mark.parametrize("answer", ["", lines({"id": 0, "orders": [], "state": "nomatch"})])
def test_an_answer_that_breaks_off_is_no_answer(answer: str) -> None:
    with pytest.raises(run.Failed, match="ends without its figures"):
        run.read_pretix(answer)


def test_what_we_only_suggest_counts_as_left_open() -> None:
    share = {"order": "SHOP-1", "amount": "5.00"}
    answer = lines(
        {"id": 0, "decision": "auto", "assignments": [share]},
        {"id": 1, "decision": "suggest", "assignments": [share]},
        {"id": 2, "decision": "none", "assignments": []},
    )

    assert run.read_ours(answer) == {"0": {"SHOP-1"}, "1": frozenset(), "2": frozenset()}


# --- Figures ----------------------------------------------------------------------------------


def test_only_the_exact_set_of_orders_is_right() -> None:
    truth = run.read_truth(
        lines(
            {"id": 0, "orders": ["A-1"]},
            {"id": 1, "orders": ["A-1", "A-2"]},
            {"id": 2, "orders": []},
            {"id": 3, "orders": ["A-3"]},
            {"id": 4, "orders": ["A-4", "A-5"]},
        )
    )
    decisions = {
        "0": frozenset({"A-1"}),
        "1": frozenset({"A-1"}),
        "2": frozenset({"A-9"}),
        "3": frozenset[str](),
        "4": frozenset({"A-5", "A-4"}),
    }

    assert run.score(decisions, truth).figures() == {
        "assigned": 4,
        "share_assigned": 0.8,
        "right": 2,
        "wrong": 2,
        "wrong_per_10000": 4000.0,
    }


def test_a_posting_without_truth_is_not_counted_in_silence() -> None:
    with pytest.raises(run.Failed, match="1 of 2 postings"):
        run.score({"0": frozenset(), "1": frozenset()}, {"0": frozenset()})


def test_rates_are_of_all_postings() -> None:
    assert run.speeds(FIGURES) == {
        "pure_postings_per_second": 6.0,
        "booking_postings_per_second": 2.0,
        "pure_statements_per_posting": 2.0,
        "booking_statements_per_posting": 30.0,
    }


# --- How orders and postings are told to pretix -----------------------------------------------


def test_numbers_are_event_and_code() -> None:
    assert split_numbers(["SHOP-20000", "SHOP-LENWB"]) == ("SHOP", ["20000", "LENWB"])
    assert split_numbers(["MY-SHOP-7"]) == ("MY-SHOP", ["7"])


@pytest.mark.parametrize(
    "numbers", [[], ["20000"], ["A-1", "B-1"], ["SHOP-abc"], ["SHOP-" + "9" * 17], ["SHOP-1/2"]]
)
def test_numbers_that_pretix_cannot_have(numbers: list[str]) -> None:
    with pytest.raises(CannotBeTold, match="EVENT-CODE"):
        split_numbers(numbers)


@pytest.mark.parametrize(
    ("number", "parts"), [("SHOP-40000", ("SHOP-", "40000")), ("R7-12", ("R7-", "12")), ("5", None)]
)
def test_invoice_numbers_are_cut_before_their_last_digits(
    number: str, parts: tuple[str, str] | None
) -> None:
    found = INVOICE_NUMBER.fullmatch(number)

    assert (found and found.groups()) == parts


def test_references_are_further_lines_of_the_text() -> None:
    posting = {
        "amount": "5.00",
        "booking_date": "2026-11-05",
        "counterparty_name": "Erika Mustermann",
        "remittance_information": "Bestellung",
        "creditor_reference": None,
        "end_to_end_id": "SHOP-20000",
    }

    assert row(posting) == {
        "payer": "Erika Mustermann",
        "iban": "",
        "reference": "Bestellung\nSHOP-20000",
        "amount": "5.00",
        "date": "2026-11-05",
    }


@pytest.mark.parametrize(
    ("change", "given"),
    [
        ({}, True),
        ({"currency": None}, True),
        ({"currency": "CHF"}, False),
        ({"amount": None}, False),
        ({"is_pending": True}, False),
    ],
)
def test_what_an_import_of_pretix_can_hold(change: dict[str, object], given: bool) -> None:
    posting = {"amount": "5.00", "currency": "EUR", "is_pending": False, **change}

    assert can_be_given(posting, "EUR") is given


def test_the_search_ends_where_the_order_is_known() -> None:
    probe = Probe({"reference": "SHOP-20000", "amount": "5.00"})
    probe.state = "nomatch"
    probe.save()

    assert (probe.reference, probe.amount, probe.state) == ("SHOP-20000", Decimal(5), "nomatch")
    with pytest.raises(OrderFound):
        probe.order = object()


# --- The command ------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Arguments naming two orders, three postings and their truth."""
    order = {"currency": "EUR", "ordered_at": "2026-11-02T10:00:00+01:00", "total": "12.34"}
    posting = {
        "amount": "12.34",
        "currency": "EUR",
        "booking_date": "2026-11-05",
        "counterparty_name": "Erika Mustermann",
    }
    contents = {
        "orders": lines(
            {"external_id": "1", "number": "SHOP-20417", **order},
            {"external_id": "2", "number": "SHOP-20981", **order, "total": "56.78"},
        ),
        "postings": lines(
            {"id": 0, "remittance_information": "Bestellung SHOP-20417", **posting},
            {
                "id": 1,
                "remittance_information": "Bestellung SHOP-20981",
                **posting,
                "amount": "56.78",
            },
            {"id": 2, "remittance_information": "Miete", **posting, "amount": "-800.00"},
        ),
        "truth": lines(
            {"id": 0, "orders": ["SHOP-20417"]},
            {"id": 1, "orders": ["SHOP-20981"]},
            {"id": 2, "orders": []},
        ),
    }
    arguments = []
    for name, text in contents.items():
        path = tmp_path / f"{name}.jsonl"
        path.write_text(text)
        arguments += [f"--{name}", str(path)]
    return arguments


def stand_in(tmp_path: Path, answer: str, status: int = 0) -> str:
    """An interpreter that has pretix, and answers this to whatever else it is told to run."""
    (tmp_path / "answer.jsonl").write_text(answer)
    path = tmp_path / "python"
    path.write_text(
        '#!/bin/sh\n[ "$2" = -c ] && exit 0\n'
        f"echo noise >&2\nenv >'{tmp_path}/env'\ncat '{tmp_path}/answer.jsonl'\nexit {status}\n"
    )
    path.chmod(0o755)
    return str(path)


PRETIX_ANSWER = lines(
    {"id": 0, "orders": ["SHOP-20417"], "state": "valid"},
    {"id": 1, "orders": ["SHOP-20918"], "state": "valid"},
    {"id": 2, "orders": [], "state": "nomatch"},
    {"figures": FIGURES},
)


def test_both_sides_in_one_run(
    tmp_path: Path, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    python = stand_in(tmp_path, PRETIX_ANSWER)
    command = ["--python", python, "--database", "sqlite", *files]

    assert run.main([*command, "--json"]) == 0

    figures = json.loads(capsys.readouterr().out)
    theirs, ours = figures["pretix"], figures["ours"]
    assert figures["postings"] == 3
    assert (theirs["right"], theirs["wrong"], theirs["wrong_per_10000"]) == (1, 1, 3333.3)
    assert theirs["booking_postings_per_second"] == 2.0
    assert (ours["right"], ours["wrong"]) == (2, 0)
    assert ours["pure_postings_per_second"] > 0
    assert figures["times_as_fast_pure"] == pytest.approx(
        ours["pure_postings_per_second"] / 6.0, rel=0.1
    )


def test_the_table_has_a_dash_where_a_side_has_no_figure() -> None:
    table = run.as_table(
        {
            "postings": 3,
            "pretix": FIGURES | run.speeds(FIGURES),
            "ours": {"pure_postings_per_second": 60.0},
            "times_as_fast_pure": 10.0,
        }
    )

    rows = {" ".join(line.split()) for line in table.splitlines()}
    assert "3 postings, pretix 2026.8.0 on sqlite" in rows
    assert "pure matching, postings/s 6.0 60.0" in rows
    assert "booking end to end, postings/s 2.0 -" in rows
    assert "times as fast, pure 10.0" in rows
    assert not any(one.startswith("right") for one in rows)


def test_a_side_that_fails_is_named(tmp_path: Path, files: list[str]) -> None:
    python = stand_in(tmp_path, "", status=1)

    with pytest.raises(run.Failed, match=r"pretix failed:\nnoise"):
        run.main(["--python", python, "--database", "sqlite", *files])


def test_answers_for_other_postings_are_not_compared(tmp_path: Path, files: list[str]) -> None:
    python = stand_in(tmp_path, lines({"figures": FIGURES}))

    with pytest.raises(run.Failed, match="different postings"):
        run.main(["--python", python, "--database", "sqlite", *files])


@pytest.mark.parametrize("python", ["/nowhere/bin/python", sys.executable])
def test_without_pretix_it_says_what_to_install(
    python: str, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main(["--python", python, *files]) == 0

    said = capsys.readouterr().out
    assert said.startswith("skipped: ")
    assert f"{python} -m pip install pretix" in said


def test_pretix_is_asked_without_settings_of_somebody_else(
    tmp_path: Path, files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    python = stand_in(tmp_path, PRETIX_ANSWER)
    monkeypatch.setenv("PRETIX_DATABASE_NAME", "production")
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "elsewhere")
    monkeypatch.setenv("LC_TIME", "C")

    assert run.main(["--python", python, "--database", "sqlite", *files]) == 0

    seen = (tmp_path / "env").read_text()
    assert "LC_TIME=C" in seen
    assert "production" not in seen
    assert "elsewhere" not in seen
