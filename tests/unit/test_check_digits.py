"""Check digits: the examples that the standards print, and that slips of the pen are seen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.check_digits import (
    creditor_reference_is_valid,
    iban_is_valid,
    make_creditor_reference,
    make_iban,
    mod10_recursive,
    mod_97,
    qr_reference_is_valid,
)

CODE_CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
bodies = st.text(CODE_CHARACTERS, min_size=1, max_size=21)
digits_26 = st.text("0123456789", min_size=26, max_size=26)


@pytest.mark.parametrize(
    ("text", "remainder"), [("0", 0), ("97", 0), ("98", 1), ("A", 10), ("Z", 35), ("1A", 13)]
)
def test_letters_count_as_two_digits(text, remainder):
    assert mod_97(text) == remainder


# Printed in the IBAN registry (SWIFT) and in SIX's guidelines for the QR-bill.
@pytest.mark.parametrize(
    "iban",
    [
        "DE89370400440532013000",
        "AT611904300234573201",
        "CH9300762011623852957",
        "LI21088100002324013AA",
        "GB29NWBK60161331926819",
        "NO9386011117947",
        "MT84MALT011000012345MTLCAST001S",
        "CH6431961000004421557",
        "CH4431999123000889012",
    ],
)
def test_published_ibans(iban):
    assert iban_is_valid(iban)
    assert make_iban(iban[:2], iban[4:]) == iban


@pytest.mark.parametrize(
    "text",
    [
        "",
        "DE",
        "DE88370400440532013000",  # one digit wrong
        "DE89 3704 0044 0532 0130 00",
        "de89370400440532013000",
        "DE89370400440532013000\n",
        "D989370400440532013000",
        "DE8937040044053201300\u0660",  # a digit, but of another script
        "DE89" + "0" * 31,
    ],
)
def test_what_is_no_iban(text):
    assert not iban_is_valid(text)


def test_published_creditor_references():
    assert make_creditor_reference("539007547034") == "RF18539007547034"
    assert make_creditor_reference("0191230100405JSH0438") == "RF240191230100405JSH0438"
    assert creditor_reference_is_valid("RF18539007547034")
    assert not creditor_reference_is_valid("RF720191230100405JSH0438")


@given(bodies)
def test_every_made_creditor_reference_checks(body):
    assert creditor_reference_is_valid(make_creditor_reference(body))


@given(bodies, st.data())
def test_one_wrong_digit_or_letter_is_seen(body, data):
    # Of the same kind: a letter counts as two digits, so one for a digit moves all before it.
    made = make_creditor_reference(body)
    place = data.draw(st.integers(4, len(made) - 1))
    right = made[place]
    same_kind = [c for c in CODE_CHARACTERS if c.isdigit() == right.isdigit() and c != right]
    other = data.draw(st.sampled_from(same_kind))
    assert not creditor_reference_is_valid(made[:place] + other + made[place + 1 :])


@pytest.mark.parametrize("body", ["", "A" * 22, "rf18", "12 34", "Ü1"])
def test_what_a_creditor_reference_cannot_hold(body):
    with pytest.raises(ValueError, match="1 to 21 letters and digits"):
        make_creditor_reference(body)


@pytest.mark.parametrize(
    "reference",
    ["210000000003139471430009017", "000008207791225857421286694", "000003701588132583136809972"],
)
def test_published_qr_references(reference):
    assert mod10_recursive(reference[:-1]) == int(reference[-1])
    assert qr_reference_is_valid(reference)


@pytest.mark.parametrize(
    "text",
    [
        "210000000003139471430009018",
        "21000000000313947143000901",
        "21 00000 00003 13947 14300 09017",
        "21000000000313947143000901A",
        "",
    ],
)
def test_what_is_no_qr_reference(text):
    assert not qr_reference_is_valid(text)


@given(digits_26, st.integers(0, 26), st.integers(1, 9))
def test_one_wrong_digit_is_seen(digits, place, shift):
    whole = f"{digits}{mod10_recursive(digits)}"
    assert qr_reference_is_valid(whole)
    wrong = (int(whole[place]) + shift) % 10
    assert not qr_reference_is_valid(f"{whole[:place]}{wrong}{whole[place + 1 :]}")


@pytest.mark.parametrize("text", ["", "12a", "1 2", "\u0661"])
def test_only_digits_have_a_check_digit(text):
    with pytest.raises(ValueError, match="only digits"):
        mod10_recursive(text)
