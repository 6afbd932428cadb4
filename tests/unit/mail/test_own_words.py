"""A merchant's own words: what becomes of them, and that nothing in them is more than words."""

from __future__ import annotations

from collections import Counter
from functools import cache
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.mail.kinds import KINDS
from server.mail.languages import EDITIONS
from server.mail.own_words import (
    LINES,
    MAX_BLOCK_LENGTH,
    MAX_PARAGRAPHS,
    BlockError,
    blocks_of,
    build_one,
    placeholders_of,
)
from server.mail.rules import Facts, Message, compose, template_of
from server.mail.theme import KONTOR
from tests.unit.mail.samples import facts_for

TO_CUSTOMERS = [name for name, kind in KINDS.items() if kind.reader == "customer"]
WRITTEN_TAGS = {"p", "br", "strong", "a"}


def composed(kind: str, words: dict[str, str], edition: str = "de", **facts: str) -> Message:
    """The mail with these own words; a fact that is "" is not there."""
    known: Facts = {**facts_for(kind, edition), **facts}
    return compose(kind, edition, known, KONTOR, template_of(*build_one(kind, edition, words)))


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.opened: Counter[str] = Counter()
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.opened[tag] += 1
        self.attributes += attrs


@pytest.mark.feature("K39")
@pytest.mark.parametrize("kind", TO_CUSTOMERS)
@pytest.mark.parametrize("edition", EDITIONS)
def test_our_own_words_can_be_saved_as_they_are_shown(kind: str, edition: str) -> None:
    shown = blocks_of(kind, edition)
    assert {"subject", "title", "intro", "greeting", "closing"} <= shown.keys()
    message = composed(kind, shown, edition)
    for form in (message.subject, message.text, message.html):
        assert "{" not in form.partition("</head>")[2]


def test_without_own_words_it_is_our_mail() -> None:
    ours = compose("reminder", "de", facts_for("reminder", "de"), KONTOR)
    assert composed("reminder", {}) == ours


def test_merchants_read_what_kontor_writes() -> None:
    assert blocks_of("shop_error", "de") == {}
    with pytest.raises(BlockError, match="shop_error has no such block"):
        build_one("shop_error", "de", {"intro": "x"})


@pytest.mark.feature("K39")
def test_bold_links_lines_and_facts() -> None:
    words = {
        "subject": "Bestellung {order_number}: so geht's",
        "intro": "Liebe Grüße aus **{shop_name}**.\nZweite Zeile\n\n"
        "Mehr steht **[in unseren Fragen](https://shop.example.org/faq?a=1&b=2)**.",
        "closing": "Ihr *Team*",
    }
    message = composed("payment_information", words)
    assert message.subject == "Bestellung 10482: so geht's"
    assert "Liebe Grüße aus Annas Antiquariat.\nZweite Zeile\n\nMehr steht" in message.text
    folded = " ".join(message.text.split())
    assert "in unseren Fragen (https://shop.example.org/faq?a=1&b=2)." in folded
    assert "<strong>Annas Antiquariat</strong>.<br />Zweite Zeile</p>" in message.html
    link = '<a href="https://shop.example.org/faq?a=1&amp;b=2" style="color: #0f5f57">in unseren'
    assert link in message.html
    assert "Ihr *Team*<br" in message.html


def test_a_link_may_go_where_the_mail_leads() -> None:
    words = {"intro": "Bitte [hier]({page_url}) eintragen."}
    message = composed("bank_details_request", words)
    assert '<a href="https://kontor.example.org/o/4nB8wK2t8fQ2vX7n" style=' in message.html


def test_a_paragraph_whose_fact_is_missing_is_left_out() -> None:
    words = {"intro": "Guten Morgen.\n\nZahlbar bis {payable_until}.\n\nBis bald."}
    with_date = composed("payment_information", words)
    assert "Guten Morgen.\n\nZahlbar bis 28.11.2026.\n\nBis bald." in with_date.text
    without = composed("payment_information", words, payable_until="")
    assert "Guten Morgen.\n\nBis bald." in without.text
    assert "Zahlbar bis" not in without.html.partition("</head>")[2]


def test_a_line_whose_fact_is_missing_is_ours() -> None:
    words = {"greeting": "Moin {recipient_name},"}
    assert "Moin Erika Mustermann," in composed("reminder", words).text
    assert "\nGuten Tag,\n" in composed("reminder", words, recipient_name="").text


@pytest.mark.feature("S37", "K39")
@pytest.mark.parametrize(
    ("kind", "case", "ours"),
    [
        ("payment_information", "amount_changed", "frühere E-Mail gilt nicht mehr"),
        ("payment_information", "sent_again", "noch einmal, falls"),
        ("reminder", "received_total", "sind schon yes bezahlt"),
        ("dunning_notice", "is_last", "Dies ist unsere letzte Mahnung dazu."),
    ],
)
def test_special_cases_keep_our_words(kind: str, case: str, ours: str) -> None:
    """Who writes "thank you for your order" does not think of the mail about a new amount."""
    words = {"intro": "Vielen Dank für Ihre Bestellung!"}
    usual = composed(kind, words, **{case: ""})
    assert words["intro"] in usual.text
    special = composed(kind, words, **{case: "yes"})
    assert words["intro"] not in special.text
    assert ours in " ".join(special.text.split())


@pytest.mark.parametrize(
    ("block", "text", "problem"),
    [
        ("intro", "", "there is no text"),
        ("intro", " \n\u200e\t ", "there is no text"),
        ("intro", "x" * (MAX_BLOCK_LENGTH + 1), "4000 characters are the most, not 4001"),
        ("intro", "x\n\n" * (MAX_PARAGRAPHS + 1), "50 paragraphs are the most, not 51"),
        ("subject", "a\nb", "it must be one line"),
        ("intro", "{payable_untill}", "{payable_untill} is no fact of this kind"),
        ("intro", "{girocode}", "{girocode} is no fact of this kind"),
        ("intro", "{{ iban }}", "braces only stand around"),
        ("intro", "{{iban}}", "braces only stand around"),
        ("intro", "{{#bic}}x{{/bic}}", "braces only stand around"),
        ("intro", "{words.title}", "braces only stand around"),
        ("intro", "}", "braces only stand around"),
        ("intro", "[x](javascript:alert(1))", "a link is written"),
        ("intro", "[x](http://example.org)", "a link is written"),
        ("intro", '[x](https://example.org/"onclick="x)', "a link is written"),
        ("intro", "[x](//example.org)", "a link is written"),
        ("intro", "[x](https://" + "a" * 800 + ")", "a link has at most 800 characters"),
        ("intro", "**[a**](https://example.org)", "a link is written"),
        ("slip_label", "x", "payment_information has no such block"),
        ("why_order", "x", "payment_information has no such block"),
    ],
)
def test_what_cannot_be_is_named(block: str, text: str, problem: str) -> None:
    with pytest.raises(BlockError) as refused:
        build_one("payment_information", "de", {block: text})
    assert refused.value.block == block
    assert str(refused.value).startswith(f"{block}: {problem}")


def test_all_blocks_together_have_a_limit() -> None:
    words = dict.fromkeys(blocks_of("payment_information", "de"), "€" * 4000)
    with pytest.raises(BlockError, match="all blocks: 64000 bytes") as refused:
        build_one("payment_information", "de", words)
    assert refused.value.block == ""


HOSTILE = st.text(
    st.sampled_from("<>\"'&*[](){}/\\:#^\n\r\t\0\u202e\u2028 ")
    | st.characters(max_codepoint=0x2FF)
    | st.characters(),
    max_size=60,
)
PIECES = st.lists(
    HOSTILE
    | st.sampled_from(
        [
            "</p></td></table><script>alert(1)</script>",
            "<mj-include path='x'/>",
            "[[ common.greeting ]]",
            "[% include 'x' %]",
            "**",
            "[a](https://example.org/",
            ")",
            "{order_number}",
            "{bic}",
            "-->",
            "<!--[if mso]>",
            "\r\nBcc: eve@example.org",
        ]
    ),
    max_size=6,
)


@cache
def with_one_letter(block: str) -> tuple[str, Tags]:
    page = composed("payment_information", {block: "x"}).html
    return page, Tags(page)


@pytest.mark.feature("K39")
@settings(max_examples=200, deadline=None)
@given(block=st.sampled_from(list(blocks_of("payment_information", "de"))), pieces=PIECES)
def test_whatever_is_typed_is_refused_or_shown_as_words(block: str, pieces: list[str]) -> None:
    text = "".join(pieces)
    try:
        message = composed("payment_information", {block: text})
    except BlockError:
        return
    plain_html, plain = with_one_letter(block)
    found = Tags(message.html)
    for tag in found.opened.keys() | plain.opened.keys():
        if tag not in WRITTEN_TAGS or block in LINES[:3]:
            assert found.opened[tag] == plain.opened[tag], tag
    known = set(plain.attributes)
    for name, value in found.attributes:
        assert (name, value) in known or name in ("href", "style", "aria-label")
        assert name != "href" or str(value).startswith("https://")
    for mark in ("<!--", "-->", "<![endif]"):
        assert message.html.count(mark) == plain_html.count(mark)
    assert "\n" not in message.subject
    assert "\r" not in message.text


def test_every_placeholder_is_a_line_of_text() -> None:
    for kind in TO_CUSTOMERS:
        facts = facts_for(kind, "de")
        for name in placeholders_of(kind) & facts.keys():
            assert isinstance(facts[name], str)
            assert facts[name] != "yes"
