"""MT940: the fields of German and Dutch banks, and files with broken lines."""

from __future__ import annotations

import io
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.banking.formats import Item, ParsedPosting, Problem, StatementFacts, parse

START = ":20:STARTUMS\n:25:12030000/0000202051\n:28C:1\n:60F:C251117EUR10,00\n"
END = ":62F:C251118EUR20,00\n-\n"
LINE = ":61:2511181118CR9,50N166NONREF//2025111800000001"


def items(text: str | bytes) -> list[Item]:
    return list(parse(io.BytesIO(text if isinstance(text, bytes) else text.encode()), "file"))


def postings(*lines: str) -> list[ParsedPosting]:
    found = items(START + "\n".join(lines) + "\n" + END)
    return [one for one in found if isinstance(one, ParsedPosting)]


def problems(*lines: str) -> list[Problem]:
    found = items(START + "\n".join(lines) + "\n" + END)
    return [one for one in found if isinstance(one, Problem)]


@pytest.mark.parametrize(
    ("line", "amount", "booked", "code"),
    [
        ("2511181118CR9,50N166NONREF", "9.50", "2025-11-18", "N166"),
        ("2511181118C9,NTRFNONREF", "9", "2025-11-18", "NTRF"),
        ("251118C1234,5NTRFNONREF", "1234.5", "2025-11-18", "NTRF"),
        ("2511181118D000000000127,50N102EREF", "-127.50", "2025-11-18", "N102"),
        ("2511181118d1,01N946NONREF", "-1.01", "2025-11-18", "N946"),
        ("251118    DD212,39NMSCNONREF//", "-212.39", "2025-11-18", "NMSC"),
        ("2511181118RCR20,00NRTINONREF", "-20.00", "2025-11-18", "NRTI"),
        ("2511181118RD20,00NRTINONREF", "20.00", "2025-11-18", "NRTI"),
        ("2511181118C0,92", "0.92", "2025-11-18", None),
        ("2511181118C500NTRF29-07 10:05//B4", "500", "2025-11-18", "NTRF"),
        ("251118D65,00NOVBNL91ABNA0417164300", "-65.00", "2025-11-18", "NOVB"),
        ("2512310102C1,00NTRFNONREF", "1.00", "2026-01-02", "NTRF"),
        ("2601011231C1,00NTRFNONREF", "1.00", "2025-12-31", "NTRF"),
    ],
)
def test_statement_lines_of_many_banks(
    line: str, amount: str, booked: str, code: str | None
) -> None:
    [posting] = postings(f":61:{line}")
    assert (posting.amount, posting.transaction_code) == (Decimal(amount), code)
    assert posting.booking_date == date.fromisoformat(booked)


@pytest.mark.parametrize(
    ("line", "booking_date", "value_date"),
    [
        ("2502300302C5,00NTRF", date(2025, 3, 2), None),
        ("250230C5,00NTRF", None, None),
        ("2511181399C5,00NTRF", None, date(2025, 11, 18)),
        ("3622687806CR5,00NMSC37935531", None, None),
    ],
)
def test_a_date_that_does_not_exist_is_left_out_and_said(
    line: str, booking_date: date | None, value_date: date | None
) -> None:
    [posting] = postings(f":61:{line}")
    assert posting.amount == 5
    assert (posting.booking_date, posting.value_date) == (booking_date, value_date)
    assert problems(f":61:{line}")


def test_a_line_wrapped_by_the_bank_is_put_together() -> None:
    [posting] = postings(":61:2511181118CR9,50N1", "66NONREF//2025111800000001", ":86:166?20Hallo")
    assert posting.bank_reference == "2025111800000001"
    assert posting.transaction_code == "N166+166"


@pytest.mark.parametrize(
    ("detail", "field", "value"),
    [
        ("166?20EREF+A-1?21SVWZ+Text", "end_to_end_id", "A-1"),
        ("166?20EREF+NOTPROVIDED?21SVWZ+Text", "end_to_end_id", None),
        # 27 characters: the reference goes on in the next subfield
        (
            "166?20EREF+1234567890123456789012?2134?22SVWZ+Text",
            "end_to_end_id",
            "123456789012345678901234",
        ),
        ("166?20EREF+A-1?21ohne Stichwort", "remittance_information", "ohne Stichwort"),
        (
            "166?20SVWZ+Bestellung A-1023?214 Dank",
            "remittance_information",
            "Bestellung A-1023\n4 Dank",
        ),
        # a keyword in the middle of a subfield, and one cut by its border
        ("166?20SVWZ+Text MREF+M-1", "mandate_id", "M-1"),
        ("166?20SVWZ+Text            MR?21EF+M-1", "mandate_id", "M-1"),
        ("166?20SVWZ+Text?21ABWA+Otto Muster", "remittance_information", "Text\nOtto Muster"),
        ("166>20SVWZ+Text", "remittance_information", "Text"),
        ("166~20SVWZ+Text?20 und", "remittance_information", "Text?20 und"),
        ("166?20Wozu?99Fragen", "remittance_information", "Wozu?99Fragen"),
        ("166?20x?32Erika?33Mustermann", "counterparty_name", "Erika Mustermann"),
        (
            "166?20x?32Annas Antiquariat und Buchh?33andel",
            "counterparty_name",
            "Annas Antiquariat und Buchhandel",
        ),
        ("166?20x?31DE75512108001245126199", "counterparty_iban", "DE75512108001245126199"),
        ("166?20x?31123456", "counterparty_iban", None),
        ("159?20SVWZ+RETOURE?34903", "return_reason", "903"),
        ("166?20SVWZ+x?34992", "return_reason", None),
        ("/TRTP/SEPA/REMI/Order 1/EREF/E-1", "end_to_end_id", "E-1"),
        ("/TRTP/SEPA/REMI/Order 1/EREF/E-1", "remittance_information", "Order 1"),
        ("/RTYP/Terugboeking/RTRN/MS02/REMI/x", "return_reason", "MS02"),
        ("Order 4711 thank you", "remittance_information", "Order 4711 thank you"),
    ],
)
def test_details(detail: str, field: str, value: str | None) -> None:
    [posting] = postings(LINE, f":86:{detail}")
    assert getattr(posting, field) == value


@pytest.mark.parametrize(
    ("line", "detail", "is_return", "is_batch"),
    [
        (LINE, "166?20x", False, False),
        (LINE, "159?20x", True, False),
        (LINE, "109?20x", True, False),
        (LINE.replace("CR", "RD"), "166?20x", True, False),
        (LINE, "191?20x", False, True),
        (LINE, "/TRTP/SEPA BATCH/PREF/7/NRTX/162", False, True),
    ],
)
def test_returns_and_batches(line: str, detail: str, is_return: bool, is_batch: bool) -> None:
    [posting] = postings(line, f":86:{detail}")
    assert (posting.is_return, posting.is_batch_total) == (is_return, is_batch)


def test_a_clock_time_at_the_start_of_a_line_is_no_field() -> None:
    full = "166?20Karte 5355999999999975 am 22-04-2019T03".ljust(63, ".") + "13"
    [posting] = postings(LINE, f":86:{full}", ":20:15 Uhr?32Erika Mustermann")
    assert posting.counterparty_name == "Erika Mustermann"
    assert "13:20:15 Uhr" in (posting.remittance_information or "").replace("\n", "")


def test_text_after_the_closing_balance_belongs_to_no_posting() -> None:
    [posting] = postings(LINE)
    found = items(START + LINE + "\n:62F:C251118EUR20,00\n:86:Werbung\n-\n")
    assert found[0] == posting


def test_umlauts_of_three_encodings() -> None:
    text = START + LINE + "\n:86:166?20x?32Jörg Müller\n"
    for encoding in ("utf-8", "cp1252", "cp850"):
        [posting] = [one for one in items(text.encode(encoding)) if isinstance(one, ParsedPosting)]
        assert posting.counterparty_name == "Jörg Müller"


def test_mt942_announces_and_does_not_book() -> None:
    [posting, facts] = items(
        ":20:X\n:25:12030000/202051\n:34F:EURD0,\n:13D:2511181200+0100\n" + LINE
    )
    assert isinstance(posting, ParsedPosting)
    assert posting.is_pending
    assert posting.currency == "EUR"
    assert isinstance(facts, StatementFacts)
    assert facts.account_iban == "DE02120300000000202051"


# Broken in any way, but not a field of its own, which would be another statement line.
debris = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\n\r:-{"), max_size=40
)


@given(st.lists(debris, min_size=1, max_size=5), st.integers(0, 4))
def test_a_broken_line_costs_itself_only(broken: list[str], place: int) -> None:
    good = [LINE.replace("9,50", f"{number},00") for number in range(1, 6)]
    lines = [*good[:place], *(f":61:{one}" for one in broken), *good[place:]]
    found = [one.amount for one in postings(*lines) if one.bank_reference == "2025111800000001"]
    assert found == [Decimal(number) for number in range(1, 6)]


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_reader(content: bytes) -> None:
    found = items(START.encode() + LINE.encode() + b"\n:86:" + content + b"\n" + END.encode())
    assert any(isinstance(one, ParsedPosting) for one in found)
