"""Amounts and dates of a whole column: one cell decides for its neighbours, or nobody does."""

from __future__ import annotations

import io
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.banking.formats import ColumnMapping, Item, ParsedPosting, Problem, parse
from server.banking.formats.delimited import MAX_SAMPLE_RECORDS
from server.banking.formats.notation import day_first, decimal_sign, printed_date

MAPPING = ColumnMapping.from_json({"booking_date": "Day", "amount": "Amount"})


def items(rows: list[tuple[str, str]], columns: ColumnMapping = MAPPING) -> list[Item]:
    text = "Day;Amount;Text\n" + "".join(f"{day};{amount};x\n" for day, amount in rows)
    return list(parse(io.BytesIO(text.encode()), "file", columns))


def postings(rows: list[tuple[str, str]]) -> list[ParsedPosting]:
    return [one for one in items(rows) if isinstance(one, ParsedPosting)]


@pytest.mark.parametrize(
    ("cells", "sign"),
    [
        (["1.234", "12,50"], ","),
        (["1,234", "12.50"], "."),
        (["1.234.567"], ","),
        (["1.234,5 EUR"], ","),
        (["-1,234.50"], "."),
        (["200", "1.234", ""], None),
        (["12,50", "12.50"], None),
        (["12,50", "13,50", "12.50"], ","),
    ],
)
def test_the_decimal_sign_of_a_column(cells: list[str], sign: str | None) -> None:
    assert decimal_sign(cells) == sign


@pytest.mark.parametrize(
    ("cells", "first"),
    [
        (["01/02/2026", "18/11/2025"], True),
        (["01/02/2026", "11/18/2025"], False),
        (["01/02/2026", "03-04-26"], None),
        (["18/11/2025", "11/18/2025"], None),
        (["01.02.2026"], None),
    ],
)
def test_whether_the_day_stands_first_in_a_column(cells: list[str], first: bool | None) -> None:
    assert day_first(cells) is first


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("18/11/2025", date(2025, 11, 18)),
        ("11/18/2025", date(2025, 11, 18)),
        ("11-18-25", date(2025, 11, 18)),
        ("02/02/2026", date(2026, 2, 2)),
        ("01/02/2026", None),
        ("2025/11/18", date(2025, 11, 18)),
        ("2025.11.18.", date(2025, 11, 18)),
        ("20251118", date(2025, 11, 18)),
        ("12-Dec-2019", date(2019, 12, 12)),
        ("10 Feb 18", date(2018, 2, 10)),
        ("3. März 2026", date(2026, 3, 3)),
        ("Feb 10, 2018", date(2018, 2, 10)),
        ("2025-11-18 23:59:59 +0000", date(2025, 11, 18)),
        ("18-11-2025 16:02:46.004", date(2025, 11, 18)),
        ("31/02/2025", None),
        ("10 Foo 18", None),
        ("2025", None),
    ],
)
def test_dates_in_the_notations_of_banks(printed: str, expected: date | None) -> None:
    assert printed_date(printed, None) == expected


@given(st.dates(date(1970, 1, 1), date(2099, 12, 31)))
def test_dates_are_read_back_in_either_order(day: date) -> None:
    assert printed_date(f"{day:%d/%m/%Y}", True) == day
    assert printed_date(f"{day:%m/%d/%Y}", False) == day
    assert printed_date(f"{day:%d/%m/%Y}", None) in (day, None)


def test_one_cell_decides_for_the_whole_column() -> None:
    german = [("01/02/2026", "1.234"), ("18/11/2025", "12,50")]
    english = [("01/02/2026", "1,234"), ("11/18/2025", "12.50")]
    assert [(one.booking_date, one.amount) for one in postings(german)] == [
        (date(2026, 2, 1), Decimal(1234)),
        (date(2025, 11, 18), Decimal("12.50")),
    ]
    assert [(one.booking_date, one.amount) for one in postings(english)] == [
        (date(2026, 1, 2), Decimal(1234)),
        (date(2025, 11, 18), Decimal("12.50")),
    ]


def test_an_unsure_date_is_left_out_and_said() -> None:
    found = items([("01/02/2026", "5"), ("03/03/2026", "6")])
    assert [one.booking_date for one in found if isinstance(one, ParsedPosting)] == [
        None,
        date(2026, 3, 3),
    ]
    [problem] = [one for one in found if isinstance(one, Problem)]
    assert (problem.where, problem.raw) == ("line 2", "01/02/2026;5;x")
    assert "two ways" in problem.what


def test_what_decides_may_stand_far_below() -> None:
    rows = [("01/02/2026", "5")] * (MAX_SAMPLE_RECORDS + 1) + [("18/11/2025", "6")]
    assert {one.booking_date for one in postings(rows)} == {date(2026, 2, 1), date(2025, 11, 18)}


def test_a_given_format_wins() -> None:
    mapping = ColumnMapping.from_json(
        {"booking_date": "Day", "amount": "Amount", "date_format": "%m/%d/%Y", "decimal": "."}
    )
    [posting] = [
        one for one in items([("01/02/2026", "1,234")], mapping) if isinstance(one, ParsedPosting)
    ]
    assert (posting.booking_date, posting.amount) == (date(2026, 1, 2), Decimal(1234))
