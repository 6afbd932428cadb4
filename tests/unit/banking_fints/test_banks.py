"""The bank of a code, and where it speaks FinTS."""

from __future__ import annotations

import tomllib
from urllib.parse import urlsplit

import pytest

from server.banking.fints import banks, connection
from server.banking.fints.banks import find_bank


@pytest.mark.parametrize("code", ["12030000", "BYLADEM1001", "DE02 1203 0000 0000 2020 51"])
def test_bank_code_bic_and_iban_lead_to_the_same_bank(code):
    found = find_bank(code)
    assert found.bank_code == "12030000"
    assert found.bic == "BYLADEM1001"
    assert found.name.startswith("Deutsche Kreditbank")
    assert found.urls == ("https://fints.dkb.de/fints",)


@pytest.mark.parametrize(
    ("code", "host"),
    [
        ("50010517", "fints.ing.de"),
        ("20041133", "fints.comdirect.de"),
        ("37040044", "fints.commerzbank.de"),
        ("deutdeff", "fints.deutsche-bank.de"),
        ("10077777", "fints.norisbank.de"),
        ("10010010", "hbci.postbank.de"),
        ("43060967", "fints1.atruvia.de"),
    ],
)
def test_well_known_banks_have_an_address(code, host):
    assert [urlsplit(url).hostname for url in find_bank(code).urls] == [host]


def test_a_group_with_two_computing_centres_has_both_addresses():
    assert len(find_bank("GENODEF1ETK").urls) == 2


def test_a_bank_without_a_known_address_is_still_a_bank():
    found = find_bank("37050198")
    assert found.name == "Sparkasse KölnBonn"
    assert found.urls == ()


@pytest.mark.parametrize(
    "code",
    ["", "1", "99999999", "XXXXXXXX", "AT611904300234573201", "GIBAATWWXXX", "1" * 500, "१२३४५६७८"],
)
def test_what_is_no_german_bank_is_none(code):
    assert find_bank(code) is None


def test_every_address_of_the_table_may_be_used():
    table = tomllib.loads(banks._TABLE.read_text(encoding="utf-8"))["bank"]
    for bank in table:
        for url in bank["urls"]:
            assert connection.checked_url(url) == url
