"""Our own reference as the QR reference of a Swiss QR-bill, there and back."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.banking.payments.swiss_qr import grouped_reference
from server.check_digits import mod10_recursive, qr_reference_is_valid
from server.orders.rules import (
    is_payment_reference,
    make_payment_reference,
    qr_reference,
    reference_in_qr,
)

OWN = "HX8J2N9A"


@pytest.mark.feature("K19")
@given(st.integers(min_value=0))
def test_every_own_reference_comes_back_from_its_qr_reference(seed: int) -> None:
    own = make_payment_reference(random.Random(seed))
    made = qr_reference(own)
    assert is_payment_reference(own)
    assert qr_reference_is_valid(made)
    assert reference_in_qr(made) == reference_in_qr(grouped_reference(made)) == own


def test_two_references_never_share_a_qr_reference() -> None:
    source = random.Random(19)
    owns = {make_payment_reference(source) for _ in range(2_000)}
    assert len({qr_reference(own) for own in owns}) == len(owns)


@pytest.mark.feature("K19")
@given(st.integers(0, 26), st.integers(1, 9))
def test_a_wrong_digit_is_nobodys_reference(place: int, more: int) -> None:
    made = qr_reference(OWN)
    wrong = str((int(made[place]) + more) % 10)
    assert reference_in_qr(made[:place] + wrong + made[place + 1 :]) is None


@given(st.integers(0, 10**26 - 1))
def test_a_strangers_qr_reference_is_hardly_ever_ours(number: int) -> None:
    digits = f"{number:026d}"
    found = reference_in_qr(f"{digits}{mod10_recursive(digits)}")
    assert found is None or qr_reference(found)[:26] == digits


@pytest.mark.parametrize(
    "text",
    [
        "",
        "21 00000 00003 13947 14300 09017",  # the example of the guidelines
        "000000000000000000000047118",  # an order number with zeros in front
        "RF18539007547034",
        qr_reference(OWN)[1:],
        f"0{qr_reference(OWN)}",
        "٠" * 27,
    ],
)
def test_what_is_no_qr_reference_of_ours(text: str) -> None:
    assert reference_in_qr(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "AA-10482",
        "HX8J2N9",
        "HX8J2N9AA",
        "HX8J2N9C",
        "hx8j2n9a",
        "2HX8J9NA",
        "HXHJ2N9A",
        OWN[:7] + "0",
    ],
)
def test_only_own_references_become_qr_references(text: str) -> None:
    assert not is_payment_reference(text)
    with pytest.raises(ValueError, match="only our own"):
        qr_reference(text)
