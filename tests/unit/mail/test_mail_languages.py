"""Editions of mails: which one a customer gets, how amounts and days are written, what all say."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal

import pytest
from babel.dates import format_date
from babel.numbers import format_currency

from server.mail.kinds import KINDS
from server.mail.languages import (
    EDITIONS,
    LANGUAGES,
    MERCHANT_LANGUAGES,
    day,
    edition,
    editions_for,
    is_swiss,
    language_of,
    money,
    nearest_language,
    parents_of,
)
from server.mail.rules import Name, Part, compose, load_template, skeleton
from server.mail.wording import texts_of, words_of
from tests.unit.mail.samples import facts_for, theme_for

TO_CUSTOMERS = [name for name, kind in KINDS.items() if kind.reader == "customer"]
GROUPING = [language for language in LANGUAGES if language != "es"]
"""Babel groups four digits in Spanish, which CLDR (minimumGroupingDigits) does not."""

AMOUNTS = ("0.05", "19.90", "999.99", "1284.60", "12284.60", "1234567.89")


@pytest.mark.parametrize(
    ("amount", "currency", "german", "english"),
    [
        ("1284.60", "EUR", "1.284,60\u00a0€", "€1,284.60"),
        ("0.05", "EUR", "0,05\u00a0€", "€0.05"),
        ("-5.1", "EUR", "\u22125,10\u00a0€", "\u2212€5.10"),
        ("64.50", "CHF", "64,50\u00a0CHF", "CHF\u00a064.50"),
        ("12000", "JPY", "12.000\u00a0JPY", "JPY\u00a012,000"),
        ("1234567.891", "KWD", "1.234.567,891\u00a0KWD", "KWD\u00a01,234,567.891"),
    ],
)
def test_money(amount: str, currency: str, german: str, english: str) -> None:
    assert money(Decimal(amount), currency, "de") == german
    assert money(Decimal(amount), currency, "en") == english


@pytest.mark.feature("S62")
@pytest.mark.parametrize("amount", AMOUNTS)
@pytest.mark.parametrize(
    ("written_in", "currency", "locale"),
    [(language, "EUR", "en_IE" if language == "en" else language) for language in GROUPING]
    + [("de-CH", "CHF", "de_CH"), ("de-CH-du", "CHF", "de_CH"), ("it", "CHF", "it_CH")],
)
def test_amounts_are_written_as_unicode_knows_it(
    amount: str, written_in: str, currency: str, locale: str
) -> None:
    known = format_currency(Decimal(amount), currency, locale=locale)
    assert money(Decimal(amount), currency, written_in) == known.replace(" ", "\u00a0")


@pytest.mark.feature("S62")
@pytest.mark.parametrize("language", ["en", "fr", "nl", "es"])
@pytest.mark.parametrize("month", range(1, 13))
def test_days_are_written_as_unicode_knows_it(language: str, month: int) -> None:
    known = format_date(date(2026, month, 14), "long", "en_GB" if language == "en" else language)
    assert day(date(2026, month, 14), language) == known.replace(" ", "\u00a0")


def test_days_in_figures_and_the_first_of_a_month() -> None:
    assert {day(date(2026, 3, 5), one) for one in EDITIONS if language_of(one) == "de"} == {
        "05.03.2026"
    }
    assert day(date(2026, 3, 5), "it") == "05/03/2026"
    assert day(date(2026, 3, 5), "en") == "5\u00a0March\u00a02026"
    assert day(date(2026, 3, 1), "fr") == "1er\u00a0mars\u00a02026"


@pytest.mark.parametrize("one", EDITIONS)
def test_minus_stands_before_the_digits(one: str) -> None:
    written = money(Decimal("-5.10"), "EUR", one)
    assert re.search("\u2212€?5[.,]10", written)
    assert "-" not in written


def test_spanish_groups_from_five_digits_on() -> None:
    assert money(Decimal("1284.60"), "EUR", "es") == "1284,60\u00a0€"
    assert money(Decimal("12284.60"), "EUR", "es") == "12.284,60\u00a0€"


def test_money_is_never_rounded() -> None:
    assert money(Decimal("19.905"), "EUR", "de") == "19,905\u00a0€"
    assert "53.31" in money(Decimal("53.31"), "JPY", "en")


def test_nearest_language() -> None:
    wanted = [nearest_language(tag, "de") for tag in ("en_GB", "de-AT", "fr", "", None)]
    assert wanted == ["en", "de", "de", "de", "de"]


@pytest.mark.feature("S62", "K20")
@pytest.mark.parametrize(
    ("language", "country", "shop", "informal", "found"),
    [
        ("de", "DE", "de", False, "de"),
        ("de-DE", "DE", "en", True, "de-du"),
        ("de", "CH", "de", False, "de-CH"),
        ("de", "li", "de", True, "de-CH-du"),
        ("de_CH", None, "de", False, "de-CH"),
        ("de-CH", "DE", "de", False, "de"),  # who is billed in Germany lives there
        ("fr-CH", "CH", "de", True, "fr"),
        ("en", "CH", "de", True, "en"),
        ("pt", "PT", "es", False, "es"),
        (None, "CH", "de", False, "de-CH"),
        (None, None, "pt", True, "de-du"),
        ("", "AT", "it", False, "it"),
    ],
)
def test_the_edition_of_a_customer(
    language: str | None, country: str | None, shop: str, informal: bool, found: str
) -> None:
    assert edition(language, country, shop, informal=informal) == found
    assert found in EDITIONS


def test_editions_build_on_more_general_ones() -> None:
    assert parents_of("fr") == ("fr",)
    assert parents_of("de-CH") == ("de", "de-CH")
    assert parents_of("de-CH-du") == ("de", "de-du", "de-CH", "de-CH-du")
    assert editions_for("merchant") == MERCHANT_LANGUAGES


@pytest.mark.feature("K20")
@pytest.mark.parametrize("kind", TO_CUSTOMERS)
def test_every_edition_says_the_same_facts(kind: str) -> None:
    """A fact that one language forgot would be missing in somebody's mail.

    Those that only choose between two words are each language's own matter.
    """

    def used(one: str) -> list[set[str]]:
        template = load_template(kind, one)
        return [_names(part) - CHOOSE_WORDS for part in (template.text, template.html)]

    for one in EDITIONS:
        assert used(one) == used("de"), one


CHOOSE_WORDS = {"form_at", "form_ch", "is_structured"}


def _names(nodes: tuple[str | Name | Part, ...]) -> set[str]:
    found: set[str] = set()
    for node in nodes:
        if not isinstance(node, str):
            found.add(node.name)
        if isinstance(node, Part):
            found |= _names(node.body)
    return found


@pytest.mark.parametrize("one", EDITIONS)
def test_every_edition_has_the_texts_of_the_first(one: str) -> None:
    for kind in TO_CUSTOMERS:
        assert words_of(kind, one).keys() >= words_of(kind, "de").keys() - MERCHANT_WORDS, kind
    assert texts_of(one)["labels"].keys() <= texts_of("de")["labels"].keys()


MERCHANT_WORDS = {"why_notice", "why_account", "stop"}


@pytest.mark.feature("S62", "K20")
@pytest.mark.parametrize("one", [one for one in EDITIONS if is_swiss(one)])
@pytest.mark.parametrize("kind", TO_CUSTOMERS)
def test_switzerland_has_its_own_words(kind: str, one: str) -> None:
    facts = facts_for(kind, one)
    message = compose(kind, one, facts, theme_for(kind))
    said = message.subject + message.text + message.html
    for word in ("ß", "SEPA", "Überweis", "überweis", "Verwendungszweck"):
        if kind not in REFUNDS:
            assert word not in said
    assert "ß" not in said


REFUNDS = {"refund_announced", "refund_executed", "bank_details_request"}
"""What the shop does itself is an Überweisung there too."""


@pytest.mark.feature("K20")
@pytest.mark.parametrize("one", ["de-du", "de-CH-du"])
@pytest.mark.parametrize("kind", TO_CUSTOMERS)
def test_who_says_du_says_it_everywhere(kind: str, one: str) -> None:
    said = _said(kind, one)
    assert not re.search(r"\b(Sie (?!gehört)|Ihnen|Ihr|Ihre|Ihrem|Ihren|Ihrer)\b", said)


@pytest.mark.feature("K20")
@pytest.mark.parametrize("one", ["de", "de-CH"])
@pytest.mark.parametrize("kind", TO_CUSTOMERS)
def test_who_says_sie_never_says_du(kind: str, one: str) -> None:
    said = _said(kind, one)
    assert not re.search(r"\b([Dd]u|[Dd]ich|[Dd]ir|[Dd]ein\w*)\b", said)


def _said(kind: str, one: str) -> str:
    """All words, whatever facts there are."""
    template = load_template(kind, one)
    page = re.sub(r"<style.*?</style>|<[^>]+>", " ", "x".join(_texts(template.html)), flags=re.S)
    return " ".join([*_texts(template.subject + template.text), page])


def _texts(nodes: tuple[str | Name | Part, ...]) -> list[str]:
    found: list[str] = []
    for node in nodes:
        if isinstance(node, str):
            found.append(node)
        elif isinstance(node, Part):
            found += _texts(node.body)
        else:
            found.append("")
    return found


@pytest.mark.parametrize("one", EDITIONS)
def test_names_and_values_never_touch_in_plain_text(one: str) -> None:
    for kind in TO_CUSTOMERS:
        message = compose(kind, one, facts_for(kind, one), theme_for(kind))
        for line in message.text.splitlines():
            assert not re.search(r"^    \S.*[:][^ \u00a0/]", line), line


def test_french_has_a_blank_before_its_tall_marks() -> None:
    for group in texts_of("fr").values():
        for text in group.values():
            words = re.sub(r"\{\{.*?\}\}", "x", text)
            assert not re.search(r"[^\u00a0\u202f][;?!]|\w:| [:;?!]", words), text


def test_a_french_name_has_a_blank_before_its_colon() -> None:
    message = compose("refund_executed", "fr", facts_for("refund_executed", "fr"), theme_for("x"))
    assert re.search(r"\n    Remboursement\u00a0: +15,40", message.text)


def test_no_text_is_left_over() -> None:
    """What no template asks for would be translated for nobody."""
    asked = {
        kind: set(
            re.findall(r"\{\{ (\w+)\.(\w+) \}\}", skeleton(kind, "html") + skeleton(kind, "txt"))
        )
        for kind in KINDS
    }
    everywhere = {name for marks in asked.values() for _, name in marks} | {"colon"}
    for one in EDITIONS:
        for group, texts in texts_of(one).items():
            known = {name for _, name in asked[group]} if group in KINDS else everywhere
            assert texts.keys() <= known, (one, group)
