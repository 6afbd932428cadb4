"""Mails of orders that are not paid: what they say, and what they never say."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

import pytest

from server.mail.kinds import KINDS
from server.mail.languages import MERCHANT_LANGUAGES
from server.mail.rules import Facts, Message, compose
from server.mail.theme import KONTOR
from tests.unit.mail.samples import facts_for, facts_of_change

DEMANDS = ("reminder", "dunning_notice")
WITH_PAGE = (*DEMANDS, "cod_enquiry", "order_cancelled")
PAGE = "https://kontor.example.org/o/4nB8wK2t8fQ2vX7n"


def composed(kind: str, language: str = "de", **facts: str) -> Message:
    return compose(kind, language, {**facts_for(kind, language), **facts}, KONTOR)


def bare(kind: str, language: str) -> Message:
    """With the required facts only."""
    facts: Facts = {
        name: value
        for name, value in facts_for(kind, language).items()
        if name in KINDS[kind].required
    }
    return compose(kind, language, facts, KONTOR)


def both(message: Message) -> Iterator[str]:
    """The text, and what is seen of the HTML, each as one line."""
    body = re.sub(r"<(style|head)\b.*?</\1>", "", message.html, flags=re.DOTALL)
    shown = re.sub(r'<div style="display:none.*?</div>', "", body, flags=re.DOTALL)
    for form in (message.text, html.unescape(re.sub(r"<[^>]+>", " ", shown))):
        yield " ".join(form.split())


@pytest.mark.feature("S1", "K25")
def test_the_first_is_a_reminder_and_later_ones_are_notices() -> None:
    assert composed("reminder").subject == "Zahlungserinnerung zu Ihrer Bestellung 10482"
    for form in both(composed("reminder")):
        assert "Mahnung" not in form
    assert composed("dunning_notice", level="1").subject.startswith("1. Mahnung zu Ihrer Rechnung")
    last = composed("dunning_notice", level="3", is_last="yes", invoice_number="")
    assert last.subject == "Letzte Mahnung zu Ihrer Bestellung 10482"
    assert "3. Mahnung" not in last.html + last.text
    english = composed("dunning_notice", "en", level="1")
    assert english.subject == "Notice 1: your invoice R-2026-118 is overdue"


@pytest.mark.feature("S52", "S53")
@pytest.mark.parametrize("kind", DEMANDS)
@pytest.mark.parametrize(
    ("language", "words"), [("de", "bis zum 28.11.2026"), ("en", "by 28 November 2026")]
)
def test_only_the_merchant_sets_a_date(kind: str, language: str, words: str) -> None:
    """A term that nobody granted must not stand in a reminder: it could count as a deferral."""
    until = words.split(" ", 2)[2] if language == "de" else words.removeprefix("by ")
    for form in both(composed(kind, language, payable_until=until)):
        assert words in form
        assert form.count(until) == 2  # in the sentence and beside the amount
    for form in both(bare(kind, language)):
        assert not re.search(r"Zahlbar bis|Payable until|\bbis zum\b|\bby \d|Tagen|\bdays\b", form)


@pytest.mark.feature("K25", "K28")
@pytest.mark.parametrize("kind", DEMANDS)
@pytest.mark.parametrize("fees", ["", "5,00 €"])
@pytest.mark.parametrize("interest", ["", "2,00 €"])
def test_what_is_owed_besides_is_listed_if_there_is_any(
    kind: str, fees: str, interest: str
) -> None:
    message = composed(kind, fees_total=fees, interest=interest, open_amount="1.284,60 €")
    for form in both(message):
        assert ("Mahngebühren" in form) is bool(fees)
        assert ("Zinsen" in form) is bool(interest)
        for name in ("Offener Betrag", "Zusammen"):
            assert form.count(name) == (1 if fees or interest else 0)


def test_the_fee_of_this_notice_is_part_of_all_fees() -> None:
    for form in both(composed("dunning_notice")):
        assert re.search(r"Mahngebühren:? (davon|5,00)", form)
        assert "davon für diese Mahnung 2,50" in form
    for form in both(composed("dunning_notice", fee="")):
        assert "davon" not in form


@pytest.mark.parametrize("kind", DEMANDS)
@pytest.mark.parametrize("language", MERCHANT_LANGUAGES)
def test_what_came_is_thanked_for_and_how_fresh_the_postings_are(kind: str, language: str) -> None:
    message = composed(kind, language, received_total="1.000,00", bank_as_of="9.12.")
    for form in both(message):
        assert "1.000,00" in form
        assert re.search(r"(Überweisungen bis|Transfers up to) 9.12. ", form)
    for form in both(bare(kind, language)):
        assert not re.search("Überweisungen bis|Transfers up to", form)


@pytest.mark.feature("S61")
@pytest.mark.parametrize("kind", WITH_PAGE)
@pytest.mark.parametrize("language", MERCHANT_LANGUAGES)
def test_who_has_paid_can_say_so(kind: str, language: str) -> None:
    with_page, without = composed(kind, language), bare(kind, language)
    label = "Ich habe schon bezahlt" if language == "de" else "I have already paid"
    assert f"{label}:\n{PAGE}\n" in with_page.text
    assert with_page.html.count(f'href="{PAGE}"') == 1
    assert label not in without.text
    assert label not in without.html


@pytest.mark.feature("S12")
@pytest.mark.parametrize("kind", [*WITH_PAGE, "payment_information"])
def test_what_belongs_to_the_order_cannot_be_unsubscribed(kind: str) -> None:
    assert KINDS[kind].footer == "order"
    assert "unsubscribe_url" not in KINDS[kind].required | KINDS[kind].optional


@pytest.mark.feature("K29")
def test_cash_on_delivery_is_asked_about_and_not_demanded() -> None:
    assert not {"iban", "amount_due"} & (
        KINDS["cod_enquiry"].required | KINDS["cod_enquiry"].optional
    )
    for form in both(composed("cod_enquiry")):
        assert "Haben Sie das Paket bekommen und bezahlt?" in form
        assert "überweisen" not in form


@pytest.mark.feature("S50")
@pytest.mark.parametrize("language", MERCHANT_LANGUAGES)
def test_a_cancelled_order_asks_for_no_money(language: str) -> None:
    for form in both(bare("order_cancelled", language)):
        assert re.search(
            "Bitte überweisen Sie jetzt nichts mehr|Please do not transfer anything now", form
        )
        assert "IBAN" not in form


@pytest.mark.feature("S37")
@pytest.mark.parametrize("language", MERCHANT_LANGUAGES)
def test_a_new_amount_replaces_the_old_one(language: str) -> None:
    message = composed("payment_information", language, **facts_of_change(language))
    change = facts_of_change(language)
    assert re.match("Neuer Betrag|New amount", message.subject)
    for form in both(message):
        for name in ("previous_amount", "due_on", "discount_amount", "discount_until"):
            assert change[name].replace("\u00a0", " ") in form.replace("\u00a0", " ")
        assert re.search("frühere E-Mail gilt nicht mehr|earlier email no longer counts", form)
    assert re.search(r"<s\b[^>]*>[^<]*1[.,]399[.,]90", message.html)


@pytest.mark.feature("S45")
@pytest.mark.parametrize(
    ("language", "subject"),
    [
        ("de", "Noch einmal: Zahlungsinformationen zu Ihrer Bestellung 10482"),
        ("en", "Once more: payment details for your order 10482"),
    ],
)
def test_sent_again_is_no_reminder(language: str, subject: str) -> None:
    message = composed("payment_information", language, sent_again="yes")
    assert message.subject == subject
    for form in both(message):
        assert re.search("brauchen Sie nichts mehr zu tun|nothing left to do", form)
        assert not re.search("(?i)mahnung|erinnerung|reminder|overdue", form)


@pytest.mark.parametrize("lacking", ["discount_amount", "discount_until"])
def test_half_a_discount_is_none(lacking: str) -> None:
    change = facts_of_change("de") | {lacking: ""}
    for form in both(composed("payment_information", **change)):
        assert "Skonto" not in form


def test_the_code_holds_the_full_amount_although_there_is_a_discount() -> None:
    with_code = composed("payment_information", **facts_of_change("de"))
    without = composed("payment_information", **facts_of_change("de"), girocode="")
    for form in both(with_code):
        assert "Der GiroCode enthält den vollen Betrag." in form
    for form in both(without):
        assert "GiroCode" not in form
        assert "Mit Skonto zahlen Sie bis 24.11.2026 nur 1.258,91" in form


@pytest.mark.feature("K41", "S50")
@pytest.mark.parametrize("language", MERCHANT_LANGUAGES)
def test_lists_of_orders_say_what_became_of_each(language: str) -> None:
    words = ("storniert", "überfällig") if language == "de" else ("cancelled", "overdue")
    message = composed("orders_cancelled", language)
    lines = [line for line in message.text.splitlines() if line.startswith("    ")]
    assert [word in line for line, word in zip(lines, words, strict=True)] == [True, True]
    for number in ("482", "490"):
        assert f'href="https://kontor.example.org/orders/{number}"' in message.html
    for form in both(message):
        assert re.search("und 21 weitere|and 21 more", form)


@pytest.mark.feature("K41", "K61")
def test_collection_is_left_to_the_merchant() -> None:
    for form in both(composed("orders_to_collection")):
        assert "Kontor schickt nichts an Ihren Inkassopartner." in form
        assert "diese Bestellung ist" in form
    for form in both(composed("orders_to_collection", single="", count="2")):
        assert "diese Bestellungen sind" in form


@pytest.mark.parametrize("language", MERCHANT_LANGUAGES)
def test_every_reason_has_its_line(language: str) -> None:
    message = composed("reminders_held", language)
    for form in both(message):
        assert "Musterbank Nord" in form
        assert "Annas Antiquariat" in form
        assert len(re.findall("Seit|Since", form)) == 1  # nobody knows since when the shop is away


@pytest.mark.feature("S61", "K41")
def test_a_claim_to_have_paid_is_told_as_far_as_it_goes() -> None:
    for form in both(composed("customer_says_paid")):
        for part in ("08.12.2026", "Konto meines Mannes", "Ein Beleg liegt bei", "Bis 17.12.2026"):
            assert part in form
    for form in both(bare("customer_says_paid", "de")):
        assert not re.search("Beleg|Bezahlt am|Nachricht|mahnt", form)


def test_a_message_of_a_customer_brings_no_markup() -> None:
    plain = composed("customer_says_paid", message="x")
    message = composed("customer_says_paid", message='</td><a href="https://example.com">x</a>')
    assert message.html.count("<") == plain.html.count("<")


@pytest.mark.parametrize("kind", ["run_waits", "removals_wait"])
@pytest.mark.parametrize("language", MERCHANT_LANGUAGES)
def test_what_waits_for_a_click_has_not_happened(kind: str, language: str) -> None:
    for form in both(composed(kind, language)):
        assert re.search(
            "geht keine dieser E-Mails hinaus|None of these mails is sent"
            "|Kontor hat nichts entfernt|Kontor has removed nothing",
            form,
        )
