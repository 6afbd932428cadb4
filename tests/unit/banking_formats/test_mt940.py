"""MT940: the fields of German and Dutch banks, and files with broken lines."""

from __future__ import annotations

import io
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.banking.formats import (
    Entry,
    Item,
    ParsedPosting,
    Problem,
    StatementFacts,
    parse,
)
from server.banking.formats.items import MAX_RAW_CHARACTERS

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


@pytest.mark.parametrize(
    ("detail", "field", "value"),
    [
        # Polish banks: other marks, a filler, the account in subfield 38, marks cut by line ends
        ("034^00PRZELEW^20Zamowienie 12^21 dziekuje^32JAN", "counterparty_name", "JAN"),
        ("020~00VE02\n~20Zamowienie 12\n~21˙\n~60˙~63˙", "remittance_information", "Zamowienie 12"),
        (
            "020~20x~38PL61109010140000071219812874",
            "counterparty_iban",
            "PL61109010140000071219812874",
        ),
        (
            "166?20SVWZ+Bestellung 12?2\n1 Dank?\n22!",
            "remittance_information",
            "Bestellung 12\n Dank\n!",
        ),
        # Dutch banks: what is written may itself be structured, the other party in one code
        ("/REMI/USTD//Order 4711/", "remittance_information", "Order 4711"),
        ("/REMI/STRD/CUR/1234567812345678/", "creditor_reference", "1234567812345678"),
        ("/REMI/STRD/CUR/1234567812345678/", "remittance_information", None),
        (
            "/EREF/E-77//CNTP/NL32INGB0000012345/INGBNL2A/J. Jansen///REMI/x",
            "end_to_end_id",
            "E-77",
        ),
        ("/CNTP/NL32INGB0000012345/INGBNL2A/J. Jansen///", "counterparty_name", "J. Jansen"),
        (
            "/CNTP/NL32INGB0000012345/INGBNL2A/J. Jansen///",
            "counterparty_iban",
            "NL32INGB0000012345",
        ),
        ("/CNTP/NL32INGB0000012345/INGBNL2A/J. Jansen///", "counterparty_bic", "INGBNL2A"),
        # Belgian structured messages stay as they are written
        ("/REMI/+++090/9337/55493+++/EREF/1", "remittance_information", "+++090/9337/55493+++"),
    ],
)
def test_details_of_other_countries(detail: str, field: str, value: str | None) -> None:
    [posting] = postings(LINE, f":86:{detail}")
    assert getattr(posting, field) == value


@pytest.mark.parametrize("first", [61, 65], ids=["counts the tag", "counts the text"])
def test_a_line_that_is_full_was_cut_by_its_length(first: int) -> None:
    detail = "166?00GUTSCHRIFT?20SVWZ+Bestellung A-1?32".ljust(first - 4, "x") + "Erika Mustermann"
    [posting] = postings(LINE, f":86:{detail[:first]}", detail[first:])
    assert posting.counterparty_name == detail.partition("?32")[2]


@pytest.mark.parametrize(
    ("printed", "amount"),
    [
        ("C1 234,56NMSC", "1234.56"),
        ("CR1.234,56NMSC", "1234.56"),
        ("C1234.56NMSC", "1234.56"),
        ("D 5,NMSC", "-5"),
        ("C0,92NTRF6f9619ff-8b86-d011-b42d-00cf4fc964ff//TRANSFER-1", "0.92"),
    ],
)
def test_amounts_as_banks_print_them(printed: str, amount: str) -> None:
    assert [one.amount for one in postings(f":61:2511181118{printed}")] == [Decimal(amount)]


@pytest.mark.parametrize(
    ("printed", "iban", "account"),
    [
        ("12030000/0000202051", "DE02120300000000202051", None),
        ("12030000/202051EUR", "DE02120300000000202051", None),
        ("DE02120300000000202051", "DE02120300000000202051", None),
        ("NL91ABNA0417164300EUR", "NL91ABNA0417164300", None),
        ("ABNANL2A/NL91ABNA0417164300", "NL91ABNA0417164300", None),
        ("/PL61109010140000071219812874", "PL61109010140000071219812874", None),
        ("61109010140000071219812874", "PL61109010140000071219812874", None),
        ("61109010140000071219812875", None, "61109010140000071219812875"),
        ("123456789", None, "123456789"),
        ("TRIODOSBANK/0666666666", None, "TRIODOSBANK/0666666666"),
    ],
)
def test_the_own_account(printed: str, iban: str | None, account: str | None) -> None:
    found = items(f":20:X\n:25:{printed}\n:28C:1\n{LINE}\n")
    assert isinstance(found[0], ParsedPosting)
    assert (found[0].account_iban, found[0].account) == (iban, account)
    assert isinstance(found[1], StatementFacts)
    assert (found[1].account_iban, found[1].account) == (iban, printed)


ENVELOPE = "{1:F01BANKDEFFXXXX0000000000}{2:O%s1200251118BANKDEFFXXXX00000000002511181200N}{4:"


@pytest.mark.parametrize("after", ["\n", ""])
def test_an_envelope_says_what_kind_of_message_it_holds(after: str) -> None:
    body = (
        f":20:X\n:25:NL91ABNA0417164300EUR\n:28C:7/1\n{LINE}\n:86:{{3 Stück}}\n-}}{{5:{{CHK:0}}}}\n"
    )
    text = "".join(f"{ENVELOPE % kind}{after}{body}" for kind in ("942", "940"))
    [first, first_facts, second, second_facts] = items(text)
    assert isinstance(first, ParsedPosting)
    assert isinstance(second, ParsedPosting)
    assert (first.source, first.is_pending, first.currency) == ("MT942", True, "EUR")
    assert (second.source, second.is_pending, second.currency) == ("MT940", False, "EUR")
    assert first.remittance_information == "{3 Stück}"
    for facts, source, complete in ((first_facts, "MT942", False), (second_facts, "MT940", True)):
        assert isinstance(facts, StatementFacts)
        assert (facts.source, facts.is_complete, facts.number) == (source, complete, "7/1")


def test_a_dash_in_a_text_is_text_and_after_the_closing_balance_an_end() -> None:
    found = items(f"{START}{LINE}\n:86:eins\n-\nzwei\n{END}Werbung\n:86:mehr Werbung\n")
    [posting] = [one for one in found if isinstance(one, ParsedPosting)]
    assert posting.remittance_information == "eins\n-\nzwei"


@pytest.mark.parametrize(
    ("opening", "booked", "closing", "period"),
    [
        ("251117", "1118", "251118", "2025-11-18 to 2025-11-18"),
        ("251118", "1118", "251118", "2025-11-18 to 2025-11-18"),
        ("251116", "1118", "251118", "2025-11-17 to 2025-11-18"),
        ("251116", "1116", "251118", "2025-11-16 to 2025-11-18"),
        # booked before its statement begins: that does not make the days between complete
        ("251116", "1102", "251118", "2025-11-17 to 2025-11-18"),
    ],
)
def test_a_statement_claims_only_days_that_it_surely_tells_all_of(
    opening: str, booked: str, closing: str, period: str
) -> None:
    found = items(
        f":20:X\n:25:1\n:28C:1\n:60F:C{opening}EUR1,00\n:61:251101{booked}C1,00NTRF\n"
        f":62F:C{closing}EUR2,00\n-\n"
    )
    facts = found[-1]
    assert isinstance(facts, StatementFacts)
    assert f"{facts.from_date} to {facts.to_date}" == period


@pytest.mark.parametrize("code", ["191", "192", "195", "199"])
def test_a_batch_points_to_itself_so_that_its_payments_can_be_known(code: str) -> None:
    [posting] = postings(
        ":61:2511181118CR300,00N192KREF+//B1", f":86:{code}?20KREF+LAUF-7?21SVWZ+3 Posten"
    )
    assert posting.is_batch_total
    assert posting.entry == Entry(Decimal("300.00"), ("B1", "LAUF-7"))
    [dutch] = postings(LINE, ":86:/TRTP/SEPA BATCH/PREF/P-7/NRTX/162")
    assert dutch.entry == Entry(Decimal("9.50"), ("2025111800000001", "P-7"), 162)


def test_a_problem_holds_the_lines_it_is_about() -> None:
    [no_amount, no_date] = problems(
        ":61:Unsinn", ":86:166?20x", ":61:2513321118C1,00NTRF", ":86:wei\nter"
    )
    assert no_amount.raw == ":61:Unsinn\n:86:166?20x"
    assert no_date.raw == ":61:2513321118C1,00NTRF\n:86:wei\nter"
    [null, _] = [
        one
        for one in items(":20:X\n:25:1\n:60F:Dnullnull\n:62F:Dnullnull\n")
        if isinstance(one, Problem)
    ]
    assert null.raw == ":60F:Dnullnull"
    [long] = problems(":61:Unsinn", *[":86:" + "x" * 60] * 20)
    assert len(long.raw or "") == MAX_RAW_CHARACTERS


def test_utf16_with_a_byte_order_mark() -> None:
    [posting] = [
        one
        for one in items(f"{START}{LINE}\n:86:166?20Größe\n".encode("utf-16"))
        if isinstance(one, ParsedPosting)
    ]
    assert posting.remittance_information == "Größe"


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
