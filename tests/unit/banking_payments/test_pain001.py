"""Payment files are valid pain.001.001.09, hold what was asked, and refuse what banks refuse."""

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from server.banking.payments.pain001 import (
    MAX_PAYMENTS,
    NAMESPACE,
    CreditTransfer,
    Payer,
    PaymentRefused,
    credit_transfer_file,
)
from server.banking.payments.sepa_text import is_sepa_identifier, sepa_name, sepa_text

SCHEMA = etree.XMLSchema(
    etree.fromstring(files("sepaxml").joinpath("schemas/pain.001.001.09.xsd").read_bytes())
)
ANNA = Payer("Annas Antiquariat", "DE89 3704 0044 0532 0130 00", "COBADEFFXXX")
REFUND = CreditTransfer(
    "KT-1", "Erika Mustermann", "AT611904300234573201", Decimal("12.5"), "Refund order 10482"
)
XML = {"p": NAMESPACE}


def written(*payments, debtor=ANNA, message_id="KONTOR-1", **over):
    times = {
        "created_at": datetime(2026, 11, 21, 23, 30, tzinfo=UTC),
        "execution_date": date(2026, 11, 23),
    }
    content = credit_transfer_file(debtor, payments, message_id=message_id, **{**times, **over})
    document = etree.fromstring(content)
    SCHEMA.assertValid(document)
    return document


def found(document, *path):
    steps = "/".join(f"p:{step}" for step in path)
    return [element.text for element in document.iterfind(f".//{steps}", XML)]


def test_a_batch_of_two():
    second = replace(REFUND, end_to_end_id="KT-2", amount=Decimal("1000"), bic="BKAUATWW")
    document = written(REFUND, second)
    assert found(document, "GrpHdr", "MsgId") == ["KONTOR-1"]
    assert found(document, "CreDtTm") == ["2026-11-21T23:30:00Z"]
    assert found(document, "NbOfTxs") == ["2", "2"]
    assert found(document, "CtrlSum") == ["1012.50", "1012.50"]
    assert found(document, "BtchBookg") == ["true"]
    assert found(document, "SvcLvl", "Cd") == ["SEPA"]
    assert found(document, "ChrgBr") == ["SLEV"]
    assert found(document, "ReqdExctnDt", "Dt") == ["2026-11-23"]
    assert found(document, "DbtrAcct", "Id", "IBAN") == ["DE89370400440532013000"]
    assert found(document, "DbtrAgt", "FinInstnId", "BICFI") == ["COBADEFFXXX"]
    assert found(document, "EndToEndId") == ["KT-1", "KT-2"]
    assert found(document, "InstdAmt") == ["12.50", "1000.00"]
    assert document.find(".//p:InstdAmt", XML).attrib == {"Ccy": "EUR"}
    assert found(document, "Cdtr", "Nm") == ["Erika Mustermann"] * 2
    assert found(document, "CdtrAcct", "Id", "IBAN") == ["AT611904300234573201"] * 2
    assert found(document, "CdtrAgt", "FinInstnId", "BICFI") == ["BKAUATWW"]
    assert found(document, "Ustrd") == ["Refund order 10482"] * 2
    assert found(document, "PstlAdr") == []


def test_without_what_is_optional():
    document = written(
        replace(REFUND, remittance_information=""), debtor=replace(ANNA, bic=""), batch=False
    )
    assert found(document, "DbtrAgt", "FinInstnId", "Othr", "Id") == ["NOTPROVIDED"]
    assert found(document, "CdtrAgt") == found(document, "RmtInf") == []
    assert found(document, "BtchBookg") == ["false"]


def test_a_creditor_reference_is_structured():
    document = written(replace(REFUND, remittance_information="RF18 5390 0754 7034"))
    assert found(document, "CdtrRefInf", "Tp", "CdOrPrtry", "Cd") == ["SCOR"]
    assert found(document, "CdtrRefInf", "Ref") == ["RF18539007547034"]
    assert found(document, "Ustrd") == []
    wrong = written(replace(REFUND, remittance_information="RF19539007547034"))
    assert found(wrong, "Ustrd") == ["RF19539007547034"]


def test_names_keep_their_letters_and_end_where_sepa_ends():
    document = written(replace(REFUND, name="Büchertruhe Müßiggang & Söhne"))
    assert found(document, "Cdtr", "Nm") == ["Büchertruhe Müßiggang & Söhne"]
    document = written(replace(REFUND, name="A" * 69 + " Mustermann"))
    assert found(document, "Cdtr", "Nm") == ["A" * 69]


def test_a_text_of_140_is_whole():
    document = written(replace(REFUND, remittance_information="x" * 140))
    assert found(document, "Ustrd") == ["x" * 140]


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"amount": Decimal(0)}, "amount_invalid"),
        ({"amount": Decimal("-5")}, "amount_invalid"),
        ({"amount": Decimal("1.005")}, "amount_invalid"),
        ({"amount": Decimal("1000000000")}, "amount_invalid"),
        ({"amount": Decimal("Infinity")}, "amount_invalid"),
        ({"currency": "CHF"}, "currency_not_eur"),
        ({"iban": ""}, "iban_invalid"),
        ({"iban": "AT621904300234573201"}, "iban_invalid"),
        ({"iban": "DE5137040044053201300"}, "iban_invalid"),  # checks, but is too short
        ({"bic": "BKAU"}, "bic_invalid"),
        ({"name": "  "}, "name_empty"),
        ({"name": "..."}, "name_empty"),
        ({"name": "Эрика"}, "name_not_latin"),
        ({"end_to_end_id": ""}, "end_to_end_id_invalid"),
        ({"end_to_end_id": "x" * 36}, "end_to_end_id_invalid"),
        ({"end_to_end_id": "ü"}, "end_to_end_id_invalid"),
        ({"end_to_end_id": "KT-0"}, "end_to_end_id_repeated"),
        ({"remittance_information": "x" * 141}, "text_too_long"),
        ({"remittance_information": "ü" * 71}, "text_too_long"),
    ],
)
def test_what_is_refused_and_where(change, key):
    first = replace(REFUND, end_to_end_id="KT-0")
    with pytest.raises(PaymentRefused, match=f"^{key}$") as refused:
        written(first, replace(REFUND, **change))
    assert refused.value.position == 1


@pytest.mark.parametrize(
    ("debtor", "key"),
    [
        ({"iban": "DE88370400440532013000"}, "iban_invalid"),
        ({"name": ""}, "name_empty"),
        ({"bic": "?"}, "bic_invalid"),
    ],
)
def test_a_wrong_debtor(debtor, key):
    with pytest.raises(PaymentRefused, match=f"^{key}$") as refused:
        written(REFUND, debtor=replace(ANNA, **debtor))
    assert refused.value.position is None


def test_limits_of_the_file():
    with pytest.raises(PaymentRefused, match="no_payments"):
        written()
    with pytest.raises(PaymentRefused, match="too_many_payments"):
        written(*[REFUND] * (MAX_PAYMENTS + 1))
    with pytest.raises(PaymentRefused, match="message_id_invalid"):
        written(REFUND, message_id="a//b")


def test_the_largest_file_adds_up():
    largest = Decimal("999999999.99")
    payments = [
        replace(REFUND, end_to_end_id=f"KT-{number}", amount=largest)
        for number in range(MAX_PAYMENTS)
    ]
    document = written(*payments)
    assert found(document, "CtrlSum") == ["9999999999900.00"] * 2
    assert found(document, "GrpHdr", "NbOfTxs") == ["10000"]


@given(st.text(max_size=60), st.text(max_size=70))
def test_any_text_gives_a_valid_file_or_a_key(name, text):
    try:
        written(replace(REFUND, name=name, remittance_information=text))
    except PaymentRefused as problem:
        assert str(problem) in {"name_empty", "name_not_latin", "text_too_long"}


@pytest.mark.parametrize(
    ("text", "small", "name"),
    [
        ("Müller & Söhne", "Mueller + Soehne", "Müller & Söhne"),
        ("GROSSE ÄSTE", "GROSSE AESTE", "GROSSE ÄSTE"),
        ("Mu\u0308ller", "Mueller", "Müller"),
        ("José Łukasz Ñandú", "Jose Lukasz Nandu", "Jose Lukasz Nandu"),
        ("x\u030cy", "xy", "xy"),  # a mark that Unicode has no single letter for
        ("O’Brien – „X“", "O'Brien - 'X'", "O'Brien - 'X'"),
        ("a@b_c; [1]", "a(at)b-c, (1)", "a(at)b-c, (1)"),
        ("a\n b\t c", "a b c", "a b c"),
        ("100 %", "100 .", "100 %"),
        ("5 €!", "5 EUR.", "5 EUR."),
    ],
)
def test_as_sepa_lets_it_be_written(text, small, name):
    assert sepa_text(text) == small
    assert sepa_name(text) == name


def test_letters_of_other_scripts():
    assert sepa_text("Ж1") == ".1"
    with pytest.raises(ValueError, match="name_not_latin"):
        sepa_name("Ж1")


@pytest.mark.parametrize("good", ["A", "KKBT-2026/1", "a b", "x" * 35, "+:?(),.'-"])
def test_identifiers(good):
    assert is_sepa_identifier(good)


@pytest.mark.parametrize("bad", ["", "/a", "a/", "a//b", " a", "a ", "a\n", "x" * 36, "a_b", "é"])
def test_no_identifiers(bad):
    assert not is_sepa_identifier(bad)
