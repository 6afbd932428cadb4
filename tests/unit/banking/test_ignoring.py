"""Postings that nobody needs to look at, by the merchant's word or because they are payouts."""

from dataclasses import dataclass
from decimal import Decimal

import pytest

from server.banking.rules.ignoring import Rule, checked_rule, provider_of, rule_for, text_fits


@dataclass
class Seen:
    amount: Decimal = Decimal(100)
    counterparty_name: str | None = "Erika Mustermann"
    counterparty_iban: str | None = "DE89370400440532013000"
    remittance_information: str | None = "Bestellung 1001"


def hit(rule, **over):
    found = rule_for(Seen(**over), [rule, Rule("keep_providers")])
    return found == rule


@pytest.mark.feature("K44")
@pytest.mark.parametrize(
    ("kind", "value", "over", "expected"),
    [
        ("iban", "DE89 3704 0044 0532 0130 00", {}, True),
        ("iban", "DE02120300000000202051", {}, False),
        ("name", "erika  MUSTERMANN", {}, True),
        ("name", "Mustermann", {}, False),
        ("name", "Müller GmbH", {"counterparty_name": "MUELLER GMBH"}, True),
        ("text", "bestellung 1001", {}, True),
        ("text", "Versicherung", {"remittance_information": "Erstattung Versi\ncherung"}, True),
        ("text", "{regex}.*SOFORT.*", {"remittance_information": "x sofort y"}, True),
        ("text", "{regex}SOFORT", {"remittance_information": "x SOFORT y"}, False),
        ("amount_above", "99,99", {}, True),
        ("amount_above", "100", {}, False),
        ("iban", "DE89370400440532013000", {"amount": Decimal(-100)}, False),
        ("unassigned", "", {}, False),
    ],
)
def test_what_a_rule_ignores(kind, value, over, expected):
    assert hit(checked_rule(kind, value), **over) is expected


@pytest.mark.parametrize(
    ("kind", "value", "key"),
    [
        ("colour", "red", "ignore_kind_unknown"),
        ("iban", "DE", "ignore_iban_invalid"),
        ("iban", "", "ignore_value_missing"),
        ("name", "..", "ignore_value_missing"),
        ("text", "", "ignore_value_missing"),
        ("text", "{regex}(", "ignore_pattern_invalid"),
        ("text", "{regex}(?=a)b", "ignore_pattern_invalid"),
        ("text", "x" * 501, "ignore_value_missing"),
        ("amount_above", "-1", "ignore_amount_invalid"),
        ("amount_above", "NaN", "ignore_amount_invalid"),
        ("amount_above", "1e30", "ignore_amount_invalid"),
    ],
)
def test_what_cannot_be_a_rule_is_said(kind, value, key):
    with pytest.raises(ValueError, match=key):
        checked_rule(kind, value)


@pytest.mark.feature("K44")
@pytest.mark.parametrize(
    ("name", "provider"),
    [
        ("PayPal Europe S.a.r.l. et Cie S.C.A", "PayPal"),
        ("KLARNA BANK AB (PUBL)", "Klarna"),
        ("Klarna Maier", None),
        ("Stripe", "Stripe"),
        ("Peter Stripe", None),
        (None, None),
        ("", None),
    ],
)
def test_payouts_of_providers_are_known_by_their_whole_name(name, provider):
    seen = Seen(counterparty_name=name)
    assert provider_of(seen) == provider
    assert rule_for(seen, []) == (Rule("provider", provider) if provider else None)
    assert rule_for(seen, [Rule("keep_providers")]) is None


@pytest.mark.feature("K45")
def test_a_pattern_is_for_the_whole_purpose_and_knows_the_banks_line_breaks():
    assert text_fits("{regex}giropay \\d+ danke", "GIROPAY 123\n45 dan\nke") is True
    assert text_fits("{regex}giropay \\d+ danke", "GIROPAY 12345\ndanke") is True
    assert text_fits("{regex}giropay\\d+", "giro\npay12345") is True
    assert text_fits("{regex}giropay", "giropay 1") is False


def test_a_pattern_written_to_hang_does_not():
    """A backtracking engine would need centuries, and this test would never end."""
    rule = checked_rule("text", "{regex}(a+)+(a+)+(a+)+b")
    assert hit(rule, remittance_information="a" * 10_000) is False
