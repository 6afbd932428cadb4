"""MT940: what banks of many countries print where the standard leaves them free."""

from __future__ import annotations

import io
from decimal import Decimal

import pytest

from server.banking.formats import ParsedPosting, parse

START = ":20:STARTUMS\n:25:12030000/0000202051\n:28C:1\n:60F:C251117EUR10,00\n"
LINE = ":61:2511181118C9,50NTRFNONREF"
END = ":62F:C251118EUR19,50\n-\n"


def posting(*details: str, line: str = LINE) -> ParsedPosting:
    text = START + "\n".join([line, *details]) + "\n" + END
    found = parse(io.BytesIO(text.encode()), "file")
    (only,) = [one for one in found if isinstance(one, ParsedPosting)]
    return only


def test_no_reference_is_no_kind_of_posting() -> None:
    one = posting(":86:Bestellung 10042", line=":61:2511181118C9,50NONREF")
    assert one.transaction_code is None
    assert one.remittance_information == "Bestellung 10042"


def test_a_single_letter_behind_the_reference_is_no_name() -> None:
    one = posting(":86:Bestellung 10042", line=":61:2511181118CF9,50S   X")
    assert (one.amount, one.counterparty_name) == (Decimal("9.50"), None)


def test_a_line_longer_than_the_standard_was_not_cut_by_its_length() -> None:
    long = "Bestellung 10042 " + "x" * 60
    assert posting(f":86:{long}", "4711 Berlin").remittance_information == f"{long}\n4711 Berlin"


def test_lines_that_begin_with_an_unknown_code_end_the_one_before() -> None:
    one = posting(
        ":86:/EREF/BST-10042",
        "/CRNM/ERIKA MUSTERMANN",
        "/CACT/DE89370400440532013000/CBIC/COBADEFFXXX",
        "/REMI/Bestellung 10042",
        "/OPRP/danke",
    )
    assert one.end_to_end_id == "BST-10042"
    assert one.counterparty_name == "ERIKA MUSTERMANN"
    assert one.counterparty_iban == "DE89370400440532013000"
    assert one.counterparty_bic == "COBADEFFXXX"
    assert one.remittance_information == "Bestellung 10042\ndanke"


def test_the_transaction_code_of_the_bank_is_no_part_of_a_reference() -> None:
    one = posting(":86:/EREF/BST-10042/TRCD/626/ORDP//NAME/E. Mustermann/REMI/Bestellung")
    assert (one.end_to_end_id, one.counterparty_name) == ("BST-10042", "E. Mustermann")
    assert one.remittance_information == "Bestellung"


def test_text_behind_the_original_amount_is_kept() -> None:
    one = posting(":86:/OCMT/USD10,40/", "INVOICE 10042")
    assert one.remittance_information == "INVOICE 10042"


def test_the_party_may_be_lines_of_account_name_and_text() -> None:
    one = posting(":86:/ORDP/300000000460495", "/ERIKA MUSTERMANN", "/747//747", "/Faktura 10042")
    assert one.counterparty_name == "ERIKA MUSTERMANN"
    assert one.remittance_information == "747//747\nFaktura 10042"


@pytest.mark.parametrize(
    ("printed", "remittance"),
    [("999Bestellung 10042", "Bestellung 10042"), ("99910042 danke", "999\n10042 danke")],
)
def test_the_code_for_unstructured_text_is_no_text(printed: str, remittance: str) -> None:
    one = posting(f":86:{printed}")
    assert (one.remittance_information, one.transaction_code) == (remittance, "NTRF+999")


@pytest.mark.parametrize(
    "details",
    [
        ["Bestelling 10042", "REK: DE89370400440532013000/NAAM: E. MUSTERMANN"],
        ["999SEPA_CREDIT_TRANSFER:Re: 10042:E. MUSTERMANN:DE89370400440532013000:SALES"],
    ],
)
def test_who_paid_is_found_in_free_text_of_known_form(details: list[str]) -> None:
    one = posting(f":86:{details[0]}", *details[1:])
    assert one.counterparty_name == "E. MUSTERMANN"
    assert one.counterparty_iban == "DE89370400440532013000"
    assert "10042" in (one.remittance_information or "")


def test_labels_of_polish_banks() -> None:
    one = posting(
        ":86:911 TRANSAKCJA; Z RACH.: ",
        "61109010140000071219812874; OD: ERIKA MUSTERMANN  ",
        "UL. PROSTA 1 00-001 WARSZAWA; TYT.: ZAMOWIENIE 10042 ; ",
    )
    assert one.counterparty_name == "ERIKA MUSTERMANN"
    assert one.counterparty_iban == "PL61109010140000071219812874"
    assert "ZAMOWIENIE 10042" in (one.remittance_information or "")


def test_a_name_of_a_polish_bank_goes_on_in_the_next_line() -> None:
    one = posting(":86:973 PRZELEW; DLA: ERIKA ", "MUSTERMANN UL. PROSTA 1; TYT.: ZWROT")
    assert one.counterparty_name == "ERIKA MUSTERMANN UL. PROSTA 1"


def test_a_semicolon_in_free_text_names_nobody() -> None:
    one = posting(":86:Bestellung 10042; OD; danke")
    assert (one.counterparty_name, one.counterparty_iban) == (None, None)


def test_fillers_of_polish_subfields_are_nothing() -> None:
    one = posting(":86:020~00152", "~20ZAMOWIENIE 10042", "~21ÿ", "~32E. MUSTERMANN", "~33ÿ")
    assert one.counterparty_name == "E. MUSTERMANN"
    assert one.remittance_information == "ZAMOWIENIE 10042"


def test_a_second_party_in_subfield_35_is_no_part_of_the_name() -> None:
    one = posting(":86:166?20SVWZ+Bestellung 10042?32Erika Mustermann?35Max Mustermann")
    assert one.counterparty_name == "Erika Mustermann"
    assert one.remittance_information == "Bestellung 10042\nMax Mustermann"


def test_the_field_for_banks_of_their_own_is_read() -> None:
    one = posting(":NS:01Bestellung 10042", "02danke", "15Erika", "16Mustermann", "3312030000")
    assert one.remittance_information == "Bestellung 10042\ndanke"
    assert one.counterparty_name == "Erika Mustermann"


def test_a_balance_with_a_letter_ends_the_text() -> None:
    assert posting(":86:Bestellung 10042", ":65F:Dnullnull74,3").remittance_information == (
        "Bestellung 10042"
    )


def test_the_original_amount_and_the_charges_of_field_61() -> None:
    one = posting("/OCMT/USD12,50//CHGS/EUR1,50/", ":86:166?20Bestellung 10042")
    assert one.foreign is not None
    assert (one.foreign.amount, one.foreign.currency) == (Decimal("12.50"), "USD")
    assert one.charges == Decimal("1.50")


def test_an_original_amount_in_the_currency_of_the_account_is_not_foreign() -> None:
    one = posting("/OCMT/EUR8,00//CHGS/USD1,50/", ":86:166?20Bestellung 10042")
    assert (one.foreign, one.charges) == (None, None)
