"""A mapping that a person writes: several methods a code, each in one code only (S22 to S27)."""

from __future__ import annotations

import pytest

from server.shops.rules import MOST_CODES_OF_A_LIST, WrongMapping, checked_mapping


@pytest.mark.feature("S23", "S25", "S26", "S27")
def test_several_methods_and_open_statuses_belong_to_a_code():
    typed = {
        "invoice": {
            "methods": ["invoice", " invoice_b2b ", "invoice", ""],
            "open_statuses": ["processing", "on-hold"],
            "paid_status": " completed ",
            "overdue_status": "",
            "collection_status": "collection",
            "cancelled_status": "is of prepayment",
        }
    }
    assert checked_mapping(typed) == {
        "invoice": {
            "methods": ["invoice", "invoice_b2b"],
            "open_statuses": ["processing", "on-hold"],
            "paid_status": "completed",
            "overdue_status": None,
            "collection_status": "collection",
        }
    }


@pytest.mark.feature("S55")
def test_watched_methods_write_nothing_to_the_shop():
    typed = {"other": {"methods": ["sepa"], "paid_status": "completed"}}
    assert checked_mapping(typed) == {"other": {"methods": ["sepa"], "open_statuses": []}}


@pytest.mark.feature("S23")
def test_a_method_in_two_codes_is_an_error_that_names_it():
    typed = {"prepayment": {"methods": ["bacs"]}, "other": {"methods": ["sepa", "bacs"]}}
    with pytest.raises(WrongMapping) as wrong:
        checked_mapping(typed)
    assert (wrong.value.args[0], wrong.value.code, wrong.value.word) == (
        "mapping_method_twice", "other", "bacs",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("entry", "key"),
    [
        ({"methods": ["x" * 129]}, "mapping_code_wrong"),
        ({"methods": ["a\x00b"]}, "mapping_code_wrong"),
        ({"paid_status": "a\nb"}, "mapping_code_wrong"),
        ({"open_statuses": [str(n) for n in range(MOST_CODES_OF_A_LIST + 1)]}, "mapping_too_many"),
    ],
)
def test_what_no_shop_could_have_is_refused(entry, key):
    with pytest.raises(WrongMapping) as wrong:
        checked_mapping({"prepayment": entry})
    assert wrong.value.args[0] == key and wrong.value.code == "prepayment"


def test_unknown_payment_codes_are_left_out():
    assert checked_mapping({"barter": {"methods": ["eggs"]}}) == {}
