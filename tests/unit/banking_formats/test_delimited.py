"""CSV: amounts and dates as banks print them, layouts, explicit columns and damaged rows."""

from __future__ import annotations

import io
import json
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.banking.formats import (
    ColumnMapping,
    Item,
    ParsedPosting,
    Problem,
    StatementFacts,
    Unreadable,
    parse,
)
from server.banking.formats.delimited import LAYOUTS
from server.banking.formats.fields import printed_amount, printed_date

MAPPING = ColumnMapping.from_json(
    {"booking_date": "Day", "amount": "Amount", "remittance_information": "Text"}
)
HEADER = "Day;Text;Amount;Other\n"


def items(text: str | bytes, columns: ColumnMapping | None = MAPPING) -> list[Item]:
    content = text if isinstance(text, bytes) else text.encode()
    return list(parse(io.BytesIO(content), "file", columns))


def postings(text: str | bytes, columns: ColumnMapping | None = MAPPING) -> list[ParsedPosting]:
    return [one for one in items(text, columns) if isinstance(one, ParsedPosting)]


def problems(text: str, columns: ColumnMapping | None = MAPPING) -> list[Problem]:
    return [one for one in items(text, columns) if isinstance(one, Problem)]


@pytest.mark.parametrize(
    ("printed", "amount"),
    [
        ("1.234,56", "1234.56"),
        ("1,234.56", "1234.56"),
        ("-1.234.567,8", "-1234567.8"),
        ("1'234.50", "1234.50"),
        ("1\u202f234,50 €", "1234.50"),
        ("¤ 42,00", "42.00"),
        ("42,23 S", "-42.23"),
        ("42,23 H", "42.23"),
        ("42,23-", "-42.23"),
        ("−42,23", "-42.23"),
        ("(42.23)", "-42.23"),
        ("+42.2", "42.2"),
        ("200", "200"),
        ("1.234", "1234"),
        ("0.123", "0.123"),
        (",5", "0.5"),
        ("5,", "5"),
        ("12,34,56", None),
        ("1.23.456,00", None),
        ("zehn", None),
        ("1,5E+3", None),
        ("9" * 30, None),
        ("", None),
    ],
)
def test_amounts(printed: str, amount: str | None) -> None:
    assert printed_amount(printed) == (None if amount is None else Decimal(amount))


@given(st.decimals(min_value=-(10**12), max_value=10**12, places=2))
def test_amounts_printed_in_german_and_english_are_read_back(amount: Decimal) -> None:
    english = f"{amount:,.2f}"
    german = english.translate(str.maketrans(".,", ",."))
    assert printed_amount(english) == printed_amount(german) == amount
    assert printed_amount(german, ",") == printed_amount(english, ".") == amount


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("18.11.2025", date(2025, 11, 18)),
        ("1.2.25", date(2025, 2, 1)),
        ("2025-11-18", date(2025, 11, 18)),
        ("2025-11-18T23:59:59+01:00", date(2025, 11, 18)),
        ("31.11.2025", None),
        ("18/11/2025", None),
        ("0001-01-01", None),
        ("heute", None),
    ],
)
def test_dates(printed: str, expected: date | None) -> None:
    assert printed_date(printed) == expected


@pytest.mark.parametrize("title", LAYOUTS)
@pytest.mark.parametrize("delimiter", [";", ",", "\t"])
def test_layouts_are_found_by_their_headers_in_any_order(title: str, delimiter: str) -> None:
    layout = LAYOUTS[title]
    cells = {headers[0]: "" for headers in layout.columns.values()}
    cells[layout.columns["booking_date"][0]] = "2025-11-18"
    cells[layout.columns.get("amount", layout.columns.get("credit", ()))[0]] = "12"
    cells[layout.columns["remittance_information"][0]] = "Bestellung 1"
    names = sorted(cells)
    rows = [["Umsätze", "x"], names, [cells[name] for name in names]]
    text = "\n".join(delimiter.join(f'"{cell}"' for cell in row) for row in rows)
    for encoding in ("utf-8", "utf-8-sig", "cp1252", "utf-16"):
        [posting] = postings(text.encode(encoding), None)
        assert posting.amount == 12
        assert posting.booking_date == date(2025, 11, 18)
        assert posting.remittance_information == "Bestellung 1"


def test_an_unknown_header_is_named_and_not_guessed() -> None:
    with pytest.raises(Unreadable, match="Day;Text;Amount;Other"):
        items(HEADER + "2025-11-18;x;1,00;\n", None)
    with pytest.raises(Unreadable, match=r"Saldo.*Day;Text;Amount;Other"):
        items(HEADER, ColumnMapping.from_json({"amount": "Saldo"}))


def test_columns_with_every_option() -> None:
    mapping = ColumnMapping.from_json(
        json.loads(
            '{"booking_date": "Tag", "debit": "Soll", "credit": "Haben",'
            ' "counterparty_name": "Wer",'
            ' "remittance_information": ["Text 1", "Text 2"], "date_format": "%m/%d/%Y",'
            ' "delimiter": "|", "decimal": ".", "encoding": "latin-1"}'
        )
    )
    text = (
        "Tag|Wer|Text 1|Text 2|Soll|Haben\n"
        "11/18/2025|Jörg|eins|zwei|1,234|\n11/19/2025|Jörg|drei||-5|\n11/19/2025|Jörg|||0|7.5\n"
    )
    found = postings(text.encode("latin-1"), mapping)
    assert [one.amount for one in found] == [Decimal(-1234), Decimal(-5), Decimal("7.5")]
    assert found[0].remittance_information == "eins\nzwei"
    assert (found[0].booking_date, found[0].counterparty_name) == (date(2025, 11, 18), "Jörg")


@pytest.mark.parametrize(
    "mapping",
    [
        [],
        {},
        {"amount": 5},
        {"betrag": "x"},
        {"amount": "x", "delimiter": ";;"},
        {"amount": "x", "decimal": "'"},
        {"amount": "x", "encoding": "klingon"},
        {"booking_date": "x"},
        {"amount": ["x", 5]},
    ],
)
def test_a_wrong_mapping_is_refused_in_words(mapping: object) -> None:
    with pytest.raises(ValueError, match="column mapping|encoding"):
        ColumnMapping.from_json(mapping)


def test_a_broken_quote_costs_its_line_only() -> None:
    rows = [f'2025-11-1{n};"Text {n}";{n},00;\n' for n in range(1, 8)]
    rows[2] = '2025-11-13;"Text 3;3,00;\n'
    found = postings(HEADER + "".join(rows))
    assert [int(one.amount) for one in found] == list(range(1, 8))
    assert found[2].remittance_information == "Text 3"
    assert [one.where for one in problems(HEADER + "".join(rows))] == ["line 4"]


def test_a_delimiter_in_the_text_moves_nothing() -> None:
    text = HEADER + "2025-11-18;one; two; three;5,00;x\n"
    [posting] = postings(text)
    assert (posting.amount, posting.remittance_information) == (5, "one; two; three")
    assert [one.where for one in problems(text)] == ["line 2"]


def test_a_row_that_says_no_amount_is_said() -> None:
    text = (
        HEADER + "2025-11-18;x;;\n2025-11-18;x;zehn;\n;;;\n\nKontostand;;12,00;\n2025-11-19;y;1;\n"
    )
    assert [one.amount for one in postings(text)] == [Decimal(12), Decimal(1)]
    assert [one.where for one in problems(text)] == ["line 2", "line 3", "line 6"]


def test_a_closing_balance_below_the_postings_is_no_posting() -> None:
    sparkasse = LAYOUTS["Deutsche Bank, Postbank"]
    names = [headers[0] for headers in sparkasse.columns.values()]
    text = ";".join(names) + "\nKontostand 18.11.2025;;;12,00\n"
    [facts] = items(text, None)
    assert isinstance(facts, StatementFacts)
    assert facts.closing is not None
    assert (facts.closing.amount, facts.closing.on) == (Decimal("12.00"), date(2025, 11, 18))


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=60), max_size=6))
def test_no_text_crashes_the_reader(rows: list[str]) -> None:
    found = items(HEADER + "2025-11-18;x;5,00;\n" + "\n".join(rows))
    assert isinstance(found[0], ParsedPosting)
    assert found[0].amount == 5


def test_messages_hold_nothing_that_a_terminal_or_a_database_would_choke_on() -> None:
    hostile = "\x1b[2J\x00\x07"
    found = problems(HEADER + f"{hostile};x;{hostile};\nx{hostile};x;1;\n")
    assert len(found) == 2
    assert all(one.what.isprintable() for one in found)
    with pytest.raises(Unreadable) as refused:
        items(f"Day{hostile};Text;Amount;Other\n", None)
    assert str(refused.value).isprintable()
