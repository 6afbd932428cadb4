"""The Swiss QR Code follows SIX's guideline: its sample accounts and references, our people."""

from dataclasses import replace
from decimal import Decimal

import pytest
import segno

from server.banking.payments.swiss_qr import (
    MAX_PAYLOAD_BYTES,
    Party,
    QrBill,
    grouped_reference,
    is_qr_iban,
    qr_bill_payload,
)

# Accounts and references of the samples that SIX publishes with the guideline.
QR_IBAN, QR_REFERENCE = "CH6431961000004421557", "000008207791225857421286694"
IBAN, CREDITOR_REFERENCE = "CH5800791123000889012", "RF240191230100405JSH0438"
ANNA = Party("Annas Antiquariat & Söhne", "8000", "Seldwyla", "CH", "Musterstrasse", "123")
ERIKA = Party("Erika Mustermann", "3600", "Thun", "CH", "Mustergasse", "1")
WITH_QR_REFERENCE = QrBill(
    QR_IBAN, ANNA, Decimal("50"), "CHF", ERIKA, QR_REFERENCE, "Order of 15.10.2026"
)
WITH_CREDITOR_REFERENCE = QrBill(IBAN, ANNA, Decimal("199.95"), "EUR", ERIKA, CREDITOR_REFERENCE)
OPEN = QrBill("CH5204835012345671000", ANNA, None, "CHF")

CREDITOR_LINES = "S\nAnnas Antiquariat & Söhne\nMusterstrasse\n123\n8000\nSeldwyla\nCH"
DEBTOR_LINES = "S\nErika Mustermann\nMustergasse\n1\n3600\nThun\nCH"
NOBODY = "\n" * 6


def test_with_a_qr_reference():
    assert qr_bill_payload(WITH_QR_REFERENCE) == (
        f"SPC\n0200\n1\n{QR_IBAN}\n{CREDITOR_LINES}\n{NOBODY}\n50.00\nCHF\n{DEBTOR_LINES}\n"
        f"QRR\n{QR_REFERENCE}\nOrder of 15.10.2026\nEPD"
    )


def test_with_a_creditor_reference_in_euro():
    assert qr_bill_payload(WITH_CREDITOR_REFERENCE) == (
        f"SPC\n0200\n1\n{IBAN}\n{CREDITOR_LINES}\n{NOBODY}\n199.95\nEUR\n{DEBTOR_LINES}\n"
        f"SCOR\n{CREDITOR_REFERENCE}\n\nEPD"
    )


def test_open_for_any_payer_and_amount():
    assert qr_bill_payload(OPEN) == (
        f"SPC\n0200\n1\nCH5204835012345671000\n{CREDITOR_LINES}\n{NOBODY}\n\nCHF\n{NOBODY}\n"
        "NON\n\n\nEPD"
    )


def test_what_follows_the_end_mark():
    code = "//S1/10/10201409/11/200630/20/140.000-53/30/102673831/31/200630"
    scheme = "eBill/B/erika.mustermann@example.org"
    lines = qr_bill_payload(replace(OPEN, bill_information=code)).split("\n")
    assert lines[30:] == ["EPD", code]
    lines = qr_bill_payload(replace(OPEN, alternative_schemes=[scheme])).split("\n")
    assert lines[30:] == ["EPD", "", scheme]


def test_blanks_and_marks_as_people_type_them():
    printed = replace(
        WITH_QR_REFERENCE,
        iban="ch64 3196 1000 0044 2155 7",
        reference="00 00082 07791 22585 74212 86694",
        creditor=replace(ANNA, name=" Annas Antiquariat & So\u0308hne "),
    )
    assert qr_bill_payload(printed) == qr_bill_payload(WITH_QR_REFERENCE)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"iban": "DE89370400440532013000"}, "iban_not_swiss"),
        ({"iban": "CH5900791123000889012"}, "iban_not_swiss"),
        ({"currency": "USD"}, "currency_not_possible"),
        ({"amount": Decimal(0)}, "amount_invalid"),
        ({"amount": Decimal("0.005")}, "amount_invalid"),
        ({"amount": Decimal("1.999")}, "amount_invalid"),
        ({"amount": Decimal("1000000000")}, "amount_invalid"),
        ({"amount": Decimal("NaN")}, "amount_invalid"),
        ({"iban": QR_IBAN}, "qr_reference_needed"),
        ({"iban": QR_IBAN, "reference": ""}, "qr_reference_needed"),
        ({"iban": QR_IBAN, "reference": QR_REFERENCE[:-1] + "5"}, "qr_reference_needed"),
        ({"reference": QR_REFERENCE}, "qr_iban_needed"),
        ({"reference": "RF720191230100405JSH0438"}, "reference_invalid"),
        ({"reference": "4711"}, "reference_invalid"),
        ({"creditor": replace(ANNA, name=" ")}, "creditor_name_invalid"),
        ({"creditor": replace(ANNA, name="A" * 71)}, "creditor_name_invalid"),
        ({"creditor": replace(ANNA, name="Anna\nEPD")}, "creditor_name_invalid"),
        ({"creditor": replace(ANNA, name="Анна")}, "creditor_name_invalid"),
        ({"debtor": replace(ERIKA, street="S" * 71)}, "debtor_street_invalid"),
        ({"debtor": replace(ERIKA, building_number="1" * 17)}, "debtor_building_number_invalid"),
        ({"debtor": replace(ERIKA, postcode="")}, "debtor_postcode_invalid"),
        ({"debtor": replace(ERIKA, city="T" * 36)}, "debtor_city_invalid"),
        ({"debtor": replace(ERIKA, country="Schweiz")}, "debtor_country_invalid"),
        ({"message": "a\tb"}, "message_invalid"),
        ({"message": "m" * 141}, "message_invalid"),
        ({"message": "m" * 100, "bill_information": "//S1/" + "1" * 36}, "message_too_long"),
        ({"bill_information": "S1/10/1"}, "bill_information_invalid"),
        ({"alternative_schemes": ["a" * 101]}, "alternative_scheme_invalid"),
        ({"alternative_schemes": [""]}, "alternative_scheme_invalid"),
        ({"alternative_schemes": ["a"] * 3}, "too_many_alternative_schemes"),
    ],
)
def test_what_the_guideline_does_not_allow(change, key):
    with pytest.raises(ValueError, match=f"^{key}$"):
        qr_bill_payload(replace(WITH_CREDITOR_REFERENCE, **change))


@pytest.mark.parametrize("permitted", ["é", "Ÿ", "ſ", "Ș", "ț", "€", "®", "~", "{"])
def test_permitted_characters(permitted):
    assert permitted in qr_bill_payload(replace(OPEN, message=permitted))


@pytest.mark.parametrize("other", ["ƀ", "Ȝ", "…", "–", "\x7f", "\u0085", "\u2028", "😀"])
def test_other_characters(other):
    with pytest.raises(ValueError, match="message_invalid"):
        qr_bill_payload(replace(OPEN, message=f"a{other}b"))


def fullest(letter: str) -> QrBill:
    party = Party(letter * 70, letter * 16, letter * 35, "CH", letter * 70, letter * 16)
    message, schemes = letter * 140, [letter * 100] * 2
    amount = Decimal("999999999.99")
    return QrBill(QR_IBAN, party, amount, "CHF", party, QR_REFERENCE, message, "", schemes)


def test_everything_full_fits_the_largest_code_allowed():
    for bill in (WITH_QR_REFERENCE, OPEN, fullest("A")):
        payload = qr_bill_payload(bill)
        code = segno.make_qr(payload, error="m", mode="byte", encoding="utf-8", boost_error=False)
        assert code.error == "M"
        assert code.version <= 25


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="payload_too_long"):
        qr_bill_payload(fullest("Ü"))
    assert len(qr_bill_payload(fullest("A")).encode()) <= MAX_PAYLOAD_BYTES


@pytest.mark.parametrize(
    ("iban", "is_one"),
    [
        (QR_IBAN, True),
        ("CH44 3199 9123 0008 8901 2", True),
        (IBAN, False),
        ("CH5204835012345671000", False),
        ("CH0029999000000000000", False),
        ("CH0030000000000000000", True),
        ("CH0032000000000000000", False),
        ("DE12300000000000000000", False),
    ],
)
def test_qr_iban(iban, is_one):
    assert is_qr_iban(iban) is is_one


@pytest.mark.parametrize(
    ("reference", "printed"),
    [
        ("210000000003139471430009017", "21 00000 00003 13947 14300 09017"),
        ("RF18539007547034", "RF18 5390 0754 7034"),
        ("12345", "12345"),
        ("", ""),
    ],
)
def test_as_people_read_it(reference, printed):
    assert grouped_reference(reference) == printed
    assert grouped_reference(printed) == printed
