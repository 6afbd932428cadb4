"""The status, the references and the search keys of an order."""

import random
from decimal import Decimal
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugin_sdk.types import PaymentStatus
from server.check_digits import mod_97
from server.orders.rules import (
    REFERENCE_ALPHABET,
    REFERENCE_LENGTH,
    creditor_reference,
    fold_look_alikes,
    is_creditor_reference,
    make_payment_reference,
    name_key,
    normalise_reference,
    order_keys,
    payment_status,
)

AMOUNTS = st.decimals(min_value=0, max_value=1_000_000, places=2)


@pytest.mark.feature("K1", "K2", "K3", "K32")
@pytest.mark.parametrize(
    ("total", "paid", "status"),
    [
        ("19.90", "0", "unpaid"),
        ("19.90", "19.90", "paid"),
        ("19.90", "25.00", "paid"),  # overpaid is paid
        ("19.90", "0.01", "partially_paid"),
        ("29.90", "19.90", "partially_paid"),  # the total was raised after the payment
        ("0.00", "0", "paid"),  # nothing to pay
        ("-5.00", "0", "paid"),
    ],
)
def test_status_follows_from_what_is_paid(total, paid, status):
    assert payment_status(Decimal(total), Decimal(paid)) == status


@pytest.mark.feature("K32")
@pytest.mark.parametrize(
    ("total", "paid", "status"),
    [("0.00", "0", "unpaid"), ("-5.00", "0", "unpaid"), ("0.00", "5.00", "paid")],
)
def test_a_merchant_may_want_to_look_at_orders_of_nothing(total, paid, status):
    assert payment_status(Decimal(total), Decimal(paid), zero_is_paid=False) == status


@pytest.mark.feature("K21")
@pytest.mark.parametrize(
    ("paid", "status"),
    [("19.94", "paid"), ("19.93", "partially_paid"), ("20.04", "paid"), ("0", "unpaid")],
)
def test_the_allowed_deviation_counts_as_paid(paid, status):
    assert payment_status(Decimal("19.99"), Decimal(paid), tolerance=Decimal("0.05")) == status


def test_nothing_paid_is_never_paid_however_small_the_order():
    small = Decimal("0.04")
    assert payment_status(small, Decimal(0), tolerance=Decimal("0.05")) == "unpaid"


@pytest.mark.feature("K4", "K6", "K7", "K8")
@pytest.mark.parametrize(
    ("flags", "paid", "status"),
    [
        ({"cancelled": True}, "0", "cancelled"),
        ({"cancelled": True}, "5.00", "cancelled"),
        ({"cancelled": True}, "19.90", "paid"),  # paid after all
        ({"collection": True}, "0", "collection"),
        ({"collection": True, "cancelled": True}, "0", "collection"),
        ({"collection": True}, "19.90", "paid"),  # successful collection
        ({"removed": True}, "0", "removed"),
        ({"removed": True, "cancelled": True}, "0", "removed"),
        ({"managed": False}, "19.90", "not_managed"),
    ],
)
def test_status_follows_from_marks(flags, paid, status):
    assert payment_status(Decimal("19.90"), Decimal(paid), **flags) == status


@pytest.mark.feature("K5")
@pytest.mark.parametrize(
    ("paid", "refunded", "status"),
    [
        ("100.00", "100.00", "refunded"),
        ("100.00", "30.00", "partially_refunded"),
        ("40.00", "40.00", "refunded"),
        ("110.00", "10.00", "paid"),  # only the surplus went back
        ("110.00", "110.00", "refunded"),
    ],
)
def test_status_follows_from_refunds(paid, refunded, status):
    found = payment_status(Decimal("100.00"), Decimal(paid), refunded=Decimal(refunded))
    assert found == status


@given(total=AMOUNTS, paid=AMOUNTS, more=AMOUNTS)
def test_more_money_never_makes_an_order_less_paid(total, paid, more):
    order = [PaymentStatus.UNPAID, PaymentStatus.PARTIALLY_PAID, PaymentStatus.PAID]
    before = order.index(payment_status(total, paid))
    assert order.index(payment_status(total, paid + more)) >= before


# --- Our own reference ---


def checks(reference: str) -> bool:
    """The check character by the definition: weights 8 to 1, a multiple of the prime 23."""
    values = [REFERENCE_ALPHABET.index(character) for character in reference]
    weighted = zip(range(REFERENCE_LENGTH, 0, -1), values, strict=True)
    return sum(weight * value for weight, value in weighted) % len(REFERENCE_ALPHABET) == 0


@pytest.mark.feature("K15")
@given(st.integers(min_value=0))
def test_own_reference_is_easy_to_copy(seed):
    reference = make_payment_reference(random.Random(seed))
    assert checks(reference)
    assert len(reference) == REFERENCE_LENGTH
    assert len(set(reference)) == len(reference)
    assert not set(reference) & set("01OQDILSZBGUV")
    assert reference[0].isalpha()


@pytest.mark.feature("K15")
def test_every_wrong_character_and_every_exchange_is_detected():
    source = random.Random(15)
    for _ in range(500):
        reference = make_payment_reference(source)
        for place, right in enumerate(reference):
            for wrong in set(REFERENCE_ALPHABET) - {right}:
                assert not checks(reference[:place] + wrong + reference[place + 1 :])
        for one, other in combinations(range(REFERENCE_LENGTH), 2):
            swapped = list(reference)
            swapped[one], swapped[other] = swapped[other], swapped[one]
            assert not checks("".join(swapped))


@pytest.mark.feature("K15")
def test_the_check_detects_for_every_pair_of_characters_at_every_place():
    """The proof behind the sample above: no weight, no difference of weights, no character
    difference is a multiple of the prime 23."""
    modulus = len(REFERENCE_ALPHABET)
    assert all(modulus % divisor for divisor in range(2, modulus))
    weights = range(REFERENCE_LENGTH, 0, -1)
    for one, other in combinations(range(modulus), 2):
        assert all(weight * (one - other) % modulus for weight in weights)
        for first, second in combinations(weights, 2):
            assert (first - second) * (one - other) % modulus


def test_own_reference_is_read_whatever_its_case_and_separators():
    reference = make_payment_reference(random.Random(1))
    assert normalise_reference(f" {reference[:4].lower()}-{reference[4:]} ") == reference


# --- Creditor reference ---


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("539007547034", "RF18539007547034"),  # the standard's own example
        ("R-2026 0012", None),
        ("a", None),
    ],
)
def test_creditor_reference_checks(reference, expected):
    made = creditor_reference(reference)
    assert expected is None or made == expected
    assert mod_97(made[4:] + made[:4]) == 1
    assert is_creditor_reference(f"{made[:4].lower()} {made[4:]}")


@given(st.from_regex(r"[A-Z0-9]{1,21}", fullmatch=True), st.data())
def test_creditor_reference_detects_a_wrong_character(body, data):
    """A digit for a digit, a letter for a letter."""
    made = creditor_reference(body)
    place = data.draw(st.integers(min_value=2, max_value=len(made) - 1))
    alike = "0123456789" if made[place].isdigit() else "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    wrong = data.draw(st.sampled_from([c for c in alike if c != made[place]]))
    assert not is_creditor_reference(made[:place] + wrong + made[place + 1 :])


@pytest.mark.parametrize("reference", ["", " - ", "X" * 22])
def test_creditor_reference_refuses_what_it_cannot_hold(reference):
    with pytest.raises(ValueError, match="1 to 21"):
        creditor_reference(reference)


@pytest.mark.parametrize("text", ["RF", "RF18", "RF19539007547034", "XF18539007547034", "RFAB1"])
def test_what_is_no_creditor_reference(text):
    assert not is_creditor_reference(text)


# --- Keys ---


@pytest.mark.feature("K16")
def test_an_order_is_found_by_number_invoice_and_reference():
    reference = make_payment_reference(random.Random(7))
    keys = order_keys(
        "Anna-2026/0815",
        invoice_numbers=["RE 4711"],
        payment_reference=reference,
        references=["028-1234567-7654321"],
    )
    assert set(keys) >= {
        ("ANNA20260815", "order_number"),
        ("20260815", "order_number_part"),
        ("RE4711", "invoice_number"),
        ("4711", "invoice_number_part"),
        (reference, "payment_reference"),
        (creditor_reference(reference), "creditor_reference"),
        ("02812345677654321", "external_reference"),
    }
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("name", ["Müller", "MUELLER", "Muller", "von Müller"])
def test_an_order_is_found_by_name(name):
    keys = order_keys("4711", names=["Müller", "Kunz Metallbau GmbH"])
    assert {key for key, kind in keys if kind == "name"} == {"@MULLER", "@KUNZ", "@METALLBAU"}
    assert "@MULLER" in {name_key(word) for word in name.split()}
    assert name_key("Li") == ""


@pytest.mark.feature("S85")
def test_what_was_added_and_the_customers_number_are_keys():
    keys = order_keys("4711", customer_number="K-1007", additional_number="AZ 12/88")
    assert ("K1007", "customer_number") in keys
    assert ("AZ1288", "additional_number") in keys


def test_a_number_in_groups_is_found_by_its_last_group():
    assert ("04711", "order_number_part") in order_keys("2026-04711")
    assert ("4711", "order_number_part") in order_keys("ANNA-2026-4711")
    assert "12" not in {key for key, _ in order_keys("2026-12")}


def test_keys_that_say_nothing_are_left_out():
    assert order_keys("A1") == ()
    assert order_keys("#12", references=["X" * 36]) == ()


def test_a_number_without_a_leading_word_has_one_reading_only():
    assert order_keys("4711") == (("4711", "order_number"),)


def test_look_alikes_fold_to_one_key():
    assert fold_look_alikes(normalise_reference("shop-2o1S")) == "5H0P2015"
    assert fold_look_alikes(normalise_reference("SHOP-2015")) == "5H0P2015"
