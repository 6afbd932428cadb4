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
    UnknownColumns,
    Unreadable,
    parse,
)
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


@pytest.mark.feature("C2")
def test_an_unknown_header_is_named_and_not_guessed() -> None:
    with pytest.raises(UnknownColumns, match="Day;Text;Amount;Other") as refused:
        items(HEADER + "2025-11-18;x;1,00;\n", None)
    assert refused.value.header == ["Day", "Text", "Amount", "Other"]
    with pytest.raises(UnknownColumns, match=r"Saldo.*Day;Text;Amount;Other"):
        items(HEADER, ColumnMapping.from_json({"amount": "Saldo"}))


@pytest.mark.feature("C2")
def test_a_file_without_any_table_is_not_asked_for_columns() -> None:
    text = '"Kontonummer:";"202051";\n\n"Von:";"1.11.2025";\n"Betrag von:";"";"bis:";"";\n\n'
    with pytest.raises(Unreadable, match="no table") as refused:
        items(text, None)
    assert not isinstance(refused.value, UnknownColumns)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "cp1252"])
def test_encodings_that_spreadsheets_write(encoding: str) -> None:
    text = HEADER.replace(";", "\t") + "2025-11-18\tJörg\t5,00\t\n"
    [posting] = postings(text.encode(encoding))
    assert posting.remittance_information == "Jörg"


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
        {"amount": "x", "has_header": "no"},
        {"amount": "x", "inverted": 1},
        {"amount": "Betrag", "has_header": False},
        {"amount": "0", "has_header": False},
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


@pytest.mark.parametrize(
    "broken",
    [
        '2025-11-18","Text","-12,34","x"',
        '"2025-11-18","Text","-12,34","x',
        '"2025-11-18","Text" 2","-12,34","x"',
    ],
)
def test_a_missing_quote_never_cuts_an_amount_in_two(broken: str) -> None:
    header = HEADER.replace(";", ",")
    text = f'{header}"2025-11-17","a","-1,00",""\n{broken}\n"2025-11-19","b","-3,00",""\n'
    assert [one.amount for one in postings(text)] == [Decimal(-1), Decimal("-12.34"), Decimal(-3)]
    assert [one.where for one in problems(text)] == ["line 3"]


@pytest.mark.parametrize(
    "line", ["2025-11-18,text,12,34,x", "2025-11-18,text,1,234.56,x", '2025-11-18,"text,-12,34,x']
)
def test_an_amount_torn_by_its_comma_is_said_and_not_read_in_part(line: str) -> None:
    text = HEADER.replace(";", ",") + f"2025-11-17,a,-1.00,\n{line}\n"
    assert [one.amount for one in postings(text)] == [Decimal(-1)]
    [problem] = problems(text)
    assert (problem.where, problem.raw) == ("line 3", line)


def test_a_cell_left_out_moves_nothing() -> None:
    text = HEADER.replace("Text", "Kind;Text") + "2025-11-18;Gutschrift 7;5,00;x\n"
    [posting] = postings(text)
    assert (posting.amount, posting.remittance_information) == (5, "Gutschrift 7")
    assert [one.where for one in problems(text)] == ["line 2"]


def test_a_delimiter_in_the_text_moves_nothing() -> None:
    text = HEADER + "2025-11-18;one; two; three;5,00;x\n"
    [posting] = postings(text)
    assert (posting.amount, posting.remittance_information) == (5, "one; two; three")
    assert [one.where for one in problems(text)] == ["line 2"]


def test_a_row_that_says_no_amount_is_said() -> None:
    text = HEADER + "2025-11-18;x;;\n2025-11-18;x;zehn;\n;;;\n\n2025-11-19;y;1;\n"
    assert [one.amount for one in postings(text)] == [Decimal(1)]
    assert [one.where for one in problems(text)] == ["line 2", "line 3"]
    assert problems(text)[1].raw == "2025-11-18;x;zehn;"


def test_words_below_the_postings_are_neither_postings_nor_lost_amounts() -> None:
    text = HEADER + "2025-11-18;x;1;\n;;;\nDisclaimer:;;;\nKein Dokument der Bank.\n"
    assert [one.amount for one in postings(text)] == [Decimal(1)]
    assert problems(text) == []


def test_lines_without_date_and_amount_continue_the_text_above() -> None:
    text = HEADER + "2025-11-18;Kartenzahlung;-5;\n;Laden Muster, Berlin;;\n2025-11-19;y;1;\n"
    first, second = postings(text)
    assert first.remittance_information == "Kartenzahlung\nLaden Muster, Berlin"
    assert second.remittance_information == "y"


@pytest.mark.parametrize(
    "line", ["Kontostand vom 18.11.2025;;12,00;", "Endsaldo;;12,00;18.11.2025", ";;12,00;Endsaldo"]
)
def test_a_balance_below_the_postings_is_no_posting(line: str) -> None:
    posting, facts = items(HEADER + f"2025-11-18;x;1,00;\n{line}\n")
    assert isinstance(posting, ParsedPosting)
    assert isinstance(facts, StatementFacts)
    assert facts.closing is not None
    assert facts.closing.amount == Decimal("12.00")


def test_a_sum_is_no_posting_but_a_payee_of_that_name_is() -> None:
    text = HEADER + "2025-11-18;Total Tankstelle;-50,00;\nTotal;;-50,00;\n"
    assert [one.remittance_information for one in postings(text)] == ["Total Tankstelle"]


def test_without_a_date_column_no_first_cell_is_taken_for_a_balance() -> None:
    mapping = ColumnMapping.from_json({"amount": "Amount", "remittance_information": "Text"})
    [posting] = postings("Text;Amount\nTotal Tankstelle;-50,00\n", mapping)
    assert posting.remittance_information == "Total Tankstelle"


def test_an_undated_last_line_is_a_balance_only_if_everything_adds_up_to_it() -> None:
    top = "Konto 17;;\nAbc;;100,00\n" + HEADER + "2025-11-18;x;-40,00;\n"
    *found, facts = items(top + "Xyz;;60,00;\n")
    assert [one.amount for one in found if isinstance(one, ParsedPosting)] == [Decimal(-40)]
    assert isinstance(facts, StatementFacts)
    assert facts.closing is not None
    assert facts.closing.amount == 60
    assert [one.amount for one in postings(top + "Xyz;;61,00;\n")] == [Decimal(-40), Decimal(61)]
    assert [one.where for one in problems(top + "Xyz;;61,00;\n")] == ["line 5"]


@pytest.mark.feature("C2")
def test_a_file_without_header_is_read_by_column_numbers() -> None:
    mapping = ColumnMapping.from_json(
        {
            "has_header": False,
            "booking_date": "1",
            "remittance_information": ["2", "5"],
            "amount": "4",
            "inverted": True,
        }
    )
    text = "18.11.2025;Laden Muster;x;12,50;Berlin\n19.11.2025;Gutschrift;x;-3,00;\n"
    first, second = postings(text, mapping)
    assert (first.amount, first.remittance_information) == (
        Decimal("-12.50"),
        "Laden Muster\nBerlin",
    )
    assert (first.booking_date, second.amount) == (date(2025, 11, 18), Decimal(3))
    with pytest.raises(UnknownColumns, match="fewer columns"):
        items("18.11.2025;12,50\n", mapping)


@pytest.mark.parametrize(
    ("mark", "amount"),
    [("S", -5), ("H", 5), ("D", -5), ("CR", 5), ("DBIT", -5), ("Af", -5), ("Bij", 5), ("+", 5)],
)
def test_marks_beside_the_amount(mark: str, amount: int) -> None:
    mapping = ColumnMapping.from_json({"amount": "Amount", "debit_or_credit": "Other"})
    assert [one.amount for one in postings(HEADER + f";x;5,00;{mark}\n", mapping)] == [amount]


def test_a_mark_that_says_nothing_is_said() -> None:
    mapping = ColumnMapping.from_json({"amount": "Amount", "debit_or_credit": "Other"})
    text = HEADER + ";x;-5,00;\n;x;5,00;Z\n"
    assert [one.amount for one in postings(text, mapping)] == [-5, 5]
    assert [one.where for one in problems(text, mapping)] == ["line 3"]


@pytest.mark.parametrize(
    ("cell", "amount", "currency"),
    [
        ("12,34 €", "12.34", "EUR"),
        ("£1,183.23", "1183.23", "GBP"),
        ("-12,34 CZK", "-12.34", None),
        ("SGD 5.00", "5.00", None),
        ("12,34 CR", "12.34", None),
        ("12,34DR", "-12.34", None),
        ('"=""12,34"""', "12.34", None),
    ],
)
def test_amounts_with_words_in_their_cell(cell: str, amount: str, currency: str | None) -> None:
    [posting] = postings(HEADER + f"2025-11-18;x;{cell};\n")
    assert (posting.amount, posting.currency) == (Decimal(amount), currency)


@pytest.mark.parametrize("first_line", ["", "sep=;\n", "\ufeff", "Umsätze;;;\n\n"])
@pytest.mark.parametrize("padding", ["", ";", ";;;"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_what_stands_around_the_table_changes_nothing(
    first_line: str, padding: str, line_end: str
) -> None:
    lines = f"{HEADER.strip()}{padding}\n2025-11-18;x;5,00;y{padding}\n;;;{padding}\n"
    found = items((first_line + lines).replace("\n", line_end))
    assert [type(one) for one in found] == [ParsedPosting, StatementFacts]
    assert isinstance(found[0], ParsedPosting)
    assert (found[0].amount, found[0].remittance_information) == (5, "x")


def test_a_header_may_break_its_lines() -> None:
    mapping = ColumnMapping.from_json({"amount": "Betrag (EUR)", "booking_date": "Tag"})
    text = 'Tag;"Betrag\n(EUR)";Text\n18.11.2025;5,00;"eins\nzwei"\n'
    [posting] = postings(text, mapping)
    assert (posting.amount, posting.currency) == (5, "EUR")


def test_references_that_a_spreadsheet_rounded_lose_themselves_only() -> None:
    mapping = ColumnMapping.from_json(
        {"amount": "Amount", "end_to_end_id": "Other", "remittance_information": "Text"}
    )
    [posting] = postings(HEADER + ";Bestellung 7;5,00;6,17E+25\n", mapping)
    assert (posting.end_to_end_id, posting.remittance_information) == (None, "Bestellung 7")
    [problem] = problems(HEADER + ";Bestellung 7;5,00;6,17E+25\n", mapping)
    assert problem.raw == ";Bestellung 7;5,00;6,17E+25"


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


def test_an_export_of_days_that_held_nothing_is_read_and_has_no_postings():
    content = (
        '"Kontonummer:";"DE02120300000000202051 / Girokonto";\n\n"Von:";"20.09.2026";\n'
        '"Bis:";"20.10.2026";\n"Kontostand vom 20.10.2026:";"1.234,56 EUR";\n'
    )
    (facts,) = list(parse(io.BytesIO(content.encode()), "leer.csv"))
    assert isinstance(facts, StatementFacts)
    assert facts.account_iban == "DE02120300000000202051"
    assert facts.closing is not None and facts.closing.amount == Decimal("1234.56")
    with pytest.raises(Unreadable):
        list(parse(io.BytesIO(b"Name: x;1\nOrt: y;2\nLand: z;3\n"), "brief.csv"))
