"""OFX: SGML with and without end tags, XML, what is missing, damaged or hostile."""

from __future__ import annotations

import io
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.banking.formats import (
    Item,
    ParsedPosting,
    Problem,
    StatementFacts,
    Unreadable,
    ofx,
    parse,
)

SALE = "<STMTTRN><TRNTYPE>CREDIT<DTPOSTED>20251118<TRNAMT>5.00<FITID>1<NAME>Erika Mustermann"
ACCOUNT = "<BANKACCTFROM><BANKID>12030000<ACCTID>202051<ACCTTYPE>CHECKING</BANKACCTFROM>"


def document(*postings: str, account: str = ACCOUNT, after: str = "") -> str:
    return (
        "OFXHEADER:100\nDATA:OFXSGML\nVERSION:102\nENCODING:USASCII\nCHARSET:1252\n\n"
        f"<OFX><BANKMSGSRSV1><STMTTRNRS><STMTRS><CURDEF>EUR\n{account}<BANKTRANLIST>"
        f"<DTSTART>20251101<DTEND>20251130\n{''.join(postings)}</BANKTRANLIST>{after}"
        "</STMTRS></STMTTRNRS></BANKMSGSRSV1></OFX>"
    )


def items(content: str | bytes) -> list[Item]:
    raw = content if isinstance(content, bytes) else content.encode("cp1252")
    return list(parse(io.BytesIO(raw), "file"))


def postings(content: str | bytes) -> list[ParsedPosting]:
    return [one for one in items(content) if isinstance(one, ParsedPosting)]


@pytest.mark.parametrize("end", ["", "</STMTTRN>", "\n</STMTTRN>\n"])
@pytest.mark.parametrize("line_end", ["", "\n", "\r\n"])
def test_elements_may_lack_their_end(end: str, line_end: str) -> None:
    text = document(*[SALE.replace("<", f"{line_end}<") + end] * 3)
    found = postings(text)
    assert [(one.amount, one.counterparty_name) for one in found] == [(5, "Erika Mustermann")] * 3
    assert [one.where for one in found] == ["entry 1", "entry 2", "entry 3"]
    assert {one.source for one in found} == {"OFX"}


def test_xml_reads_the_same() -> None:
    text = document(SALE)
    xml = (
        '<?xml version="1.0"?>\n<?OFX OFXHEADER="200" VERSION="211"?>\n'
        + text[text.index("<OFX>") :]
    )
    for tag in "TRNTYPE DTPOSTED TRNAMT FITID NAME CURDEF DTSTART DTEND ACCTID BANKID".split():
        head, _, rest = xml.partition(f"<{tag}>")
        value, bracket, tail = rest.partition("<")
        xml = f"{head}<{tag}>{value}</{tag}>{bracket}{tail}"
    assert items(xml) == items(text)


@pytest.mark.parametrize(
    ("account", "iban", "number"),
    [
        (ACCOUNT, None, "202051"),
        (
            "<BANKACCTFROM><BANKID>1<ACCTID>DE02 1203 0000 0000 2020 51</BANKACCTFROM>",
            "DE02120300000000202051",
            None,
        ),
        (
            "<BANKACCTFROM><BANKID>1<ACCTID>9<IBAN>DE02120300000000202051</BANKACCTFROM>",
            "DE02120300000000202051",
            None,
        ),
        ("<CCACCTFROM><ACCTID>4111****1111</CCACCTFROM>", None, "4111****1111"),
    ],
)
def test_the_account_is_an_iban_or_as_the_bank_prints_it(
    account: str, iban: str | None, number: str | None
) -> None:
    balance = "<LEDGERBAL><BALAMT>-17.50<DTASOF>20251130</LEDGERBAL>"
    posting, facts = items(document(SALE, account=account, after=balance))
    assert isinstance(posting, ParsedPosting)
    assert isinstance(facts, StatementFacts)
    assert (posting.account_iban, posting.account) == (iban, number)
    assert (facts.account_iban, facts.account) == (iban, iban or number)
    assert facts.closing is not None
    assert (facts.closing.amount, facts.closing.on) == (Decimal("-17.50"), date(2025, 11, 30))
    assert (facts.from_date, facts.to_date) == (date(2025, 11, 1), date(2025, 11, 30))
    assert (facts.currency, facts.is_complete, facts.source) == ("EUR", False, "OFX")


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("20251118", date(2025, 11, 18)),
        ("20251118235959", date(2025, 11, 18)),
        ("20251118233000.000[-5:EST]", date(2025, 11, 18)),
        ("20250230", None),
        ("heute", None),
    ],
)
def test_the_day_is_the_one_that_the_bank_prints(printed: str, expected: date | None) -> None:
    found = items(document(SALE.replace("20251118", printed)))
    assert isinstance(found[0], ParsedPosting)
    assert found[0].booking_date == expected
    assert len([one for one in found if isinstance(one, Problem)]) == (expected is None)


@pytest.mark.feature("C8")
def test_what_has_no_date_or_stands_in_the_pending_list_is_pending() -> None:
    undated = SALE.replace("<DTPOSTED>20251118", "")
    pending = (
        "<BANKTRANLISTP><DTASOF>20251130<STMTTRNP><TRNTYPE>DEBIT<DTTRAN>20251129"
        "<TRNAMT>-3.00<NAME>Laden</STMTTRNP></BANKTRANLISTP>"
    )
    found = postings(document(SALE, undated, after=pending))
    assert [one.is_pending for one in found] == [False, True, True]
    assert (found[2].amount, found[2].value_date) == (-3, date(2025, 11, 29))


def test_texts_names_and_numbers() -> None:
    [posting] = postings(
        document(
            "<STMTTRN><TRNTYPE>XFER<DTPOSTED>20251118<TRNAMT>+1,049.90<FITID>F-1<CHECKNUM>4711"
            "<REFNUM>R-1<PAYEE><NAME>Müller &amp; Söhne<CITY>Berlin</PAYEE>"
            "<BANKACCTTO><BANKID>BYLADEM1001<ACCTID>DE02120300000000202051</BANKACCTTO>"
            "<MEMO>Bestellung &#65;N-1 R&D</STMTTRN>"
        )
    )
    assert posting.amount == Decimal("1049.90")
    assert posting.counterparty_name == "Müller & Söhne"
    assert posting.counterparty_iban == "DE02120300000000202051"
    assert posting.counterparty_bic == "BYLADEM1001"
    assert posting.remittance_information == "Bestellung AN-1 R&D\n4711\nR-1"
    assert (posting.bank_reference, posting.transaction_code) == ("F-1", "XFER")


def test_a_purpose_in_the_name_is_searched_as_well() -> None:
    [posting] = postings(document(SALE.replace("Erika Mustermann", "Bestellung AN-17")))
    assert posting.remittance_information == "Bestellung AN-17"


def test_foreign_currencies() -> None:
    converted = SALE + "<ORIGCURRENCY><CURRATE>0.5<CURSYM>USD</ORIGCURRENCY></STMTTRN>"
    other = SALE + "<CURRENCY><CURRATE>0.5<CURSYM>USD</CURRENCY></STMTTRN>"
    first, second = postings(document(converted, other))
    assert first.foreign is not None
    assert (first.currency, first.foreign.amount, first.foreign.currency) == ("EUR", 10, "USD")
    assert (second.currency, second.foreign) == ("USD", None)


def test_an_amount_that_is_none_is_said_with_its_element() -> None:
    found = items(document(SALE.replace("5.00", "fünf"), SALE))
    assert [one.amount for one in found if isinstance(one, ParsedPosting)] == [5]
    [problem] = [one for one in found if isinstance(one, Problem)]
    assert (problem.where, problem.raw is not None and "fünf" in problem.raw) == ("entry 1", True)


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-8-sig", "utf-16"])
def test_umlauts_in_the_encodings_that_banks_write(encoding: str) -> None:
    text = document(SALE.replace("Erika", "Jörg"))
    assert [one.counterparty_name for one in postings(text.encode(encoding))] == ["Jörg Mustermann"]


def test_a_long_file_without_line_ends_loses_no_character() -> None:
    text = document(*[SALE.replace("Erika", "Jörg") + "</STMTTRN>"] * 3_000).replace("\n", " ")
    for encoding in ("utf-8", "cp1252"):
        assert {one.counterparty_name for one in postings(text.encode(encoding))} == {
            "Jörg Mustermann"
        }


def test_nothing_outside_the_file_is_reached_and_nothing_is_expanded() -> None:
    hostile = (
        '<?xml version="1.0"?><!DOCTYPE OFX [<!ENTITY a "aaaaaaaaaa">'
        '<!ENTITY b SYSTEM "file:///etc/passwd">]>'
    )
    text = hostile + document(SALE.replace("Erika", "&a;&b;"))[document().index("<OFX>") :]
    [posting] = postings(text)
    assert posting.counterparty_name == "&a;&b; Mustermann"


def test_sections_and_comments() -> None:
    memo = "<MEMO><![CDATA[a <b> & c]]><!-- <TRNAMT>9 --></STMTTRN>"
    [posting] = postings(document(SALE + memo))
    assert (posting.amount, posting.remittance_information) == (5, "a <b> & c")


def test_two_statements_in_a_file_stay_apart() -> None:
    two = document(SALE) + document(SALE, account=ACCOUNT.replace("202051", "9"))
    assert [one.account for one in items(two) if isinstance(one, StatementFacts)] == ["202051", "9"]


@pytest.mark.parametrize(
    "content",
    ["<OFX></OFX>", "OFXHEADER:100\n\n<OFX><SIGNONMSGSRSV1></OFX>", "OFXHEADER:100", "<OFX>"],
)
def test_a_file_without_statement_is_refused(content: str) -> None:
    with pytest.raises(Unreadable, match="OFX"):
        items(content)


def test_an_endless_element_is_refused() -> None:
    with pytest.raises(Unreadable, match="longer"):
        items(document(SALE + "x" * (ofx.MAX_ELEMENT_CHARACTERS + ofx.BLOCK_BYTES)))


@given(st.text("<>/&;![]-?CDATSMR01 \n", max_size=200))
def test_no_text_crashes_the_reader(noise: str) -> None:
    found = items(document(SALE + "</STMTTRN>") + noise)
    assert isinstance(found[0], ParsedPosting)
