"""What a mail says, and that nothing a customer typed can change anything else in it."""

from __future__ import annotations

import html
import os
import re
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.mail import build
from server.mail.rules import (
    COMPILED,
    KINDS,
    LANGUAGES,
    MAX_FACT_LENGTH,
    FactError,
    compose,
    day,
    fill,
    grouped_iban,
    money,
    nearest_language,
    parse,
    payment_facts,
    wrap,
)
from server.mail.theme import KONTOR, Theme
from tests.unit.mail.samples import BIC, IBAN, REFERENCE, facts_for, theme_for

GOLDEN = Path(__file__).parents[2] / "fixtures" / "mails"
EVERY = [(kind, language) for kind in KINDS for language in LANGUAGES]


def test_compiled_mails_are_what_the_templates_say() -> None:
    """``python -m server.mail.build`` after changing a template or a text."""
    kept = {path.name: path.read_text("utf-8") for path in COMPILED.iterdir()}
    fresh = build.build()
    assert kept.keys() == fresh.keys()
    for name, content in fresh.items():
        assert kept[name] == content, f"{name} is older than its template"


def test_a_template_with_a_mistake_is_not_built() -> None:
    with pytest.raises(build.BuildError, match="'iban', which is no fact of this kind"):
        build.check_names("shop_error.de.html", "{{#reason}}{{ iban }}{{/reason}}")
    with pytest.raises(build.BuildError, match="'theme.nothing'"):
        build.check_names("shop_error.de.html", "{{ theme.nothing }}")
    with pytest.raises(build.BuildError, match="mark of the build"):
        build.check_names("shop_error.de.html", "[[ common.greeting ]]")
    with pytest.raises(build.BuildError):
        build.compile_in_child({"broken": "<mjml><mj-body><mj-text><p></mj-text></mj-body></mjml>"})


def test_a_crash_of_the_compiler_is_only_an_error() -> None:
    """Deeply nested markup ends the native compiler's process; ours goes on."""
    deep = "<div>" * 60_000 + "x" + "</div>" * 60_000
    page = f"<mjml><mj-body><mj-raw>{deep}</mj-raw></mj-body></mjml>"
    with pytest.raises(build.BuildError):
        build.compile_in_child({"deep": page})


@pytest.mark.feature("S1", "K40")
@pytest.mark.parametrize(("kind", "language"), EVERY)
def test_golden(kind: str, language: str) -> None:
    """``KONTOR_GOLDEN=1 pytest tests/unit/mail`` writes them anew; then look at the difference."""
    message = compose(kind, language, facts_for(kind, language), theme_for(kind))
    made = {
        GOLDEN / f"{kind}.{language}.html": message.html,
        GOLDEN / f"{kind}.{language}.txt": f"{message.subject}\n\n{message.text}",
    }
    for path, content in made.items():
        if os.environ.get("KONTOR_GOLDEN"):
            path.write_text(content, "utf-8")
        assert path.read_text("utf-8") == content


@pytest.mark.parametrize(("kind", "language"), EVERY)
def test_every_mail_is_small_complete_and_loads_nothing(kind: str, language: str) -> None:
    message = compose(kind, language, facts_for(kind, language), theme_for(kind))
    assert len(message.html.encode()) < 40_000
    for form in (message.subject, message.text, message.html):
        assert not re.search(r"\{\{|\}\}|\[\[|\[%|#fab1", form)
    assert "<script" not in message.html
    assert not re.search(r"""(?:src|url\(|@import)\s*=?\s*["']?(?!cid:)\w+:""", message.html)
    assert f'lang="{language}"' in message.html
    assert "prefers-color-scheme: dark" in message.html
    assert max(map(len, message.text.splitlines())) <= 110


@pytest.mark.feature("K18")
@pytest.mark.parametrize("language", LANGUAGES)
def test_payment_information_states_every_fact_in_both_parts(language: str) -> None:
    message = compose(
        "payment_information", language, facts_for("payment_information", language), KONTOR
    )
    amount = "1.284,60\u00a0€" if language == "de" else "€1,284.60"
    until = "28.11.2026" if language == "de" else "28\u00a0November\u00a02026"
    visible = _visible(message.html)
    for fact in (amount, until, "Annas Antiquariat", grouped_iban(IBAN), BIC, REFERENCE, "10482"):
        assert fact in message.text
        assert fact in visible
    assert [image.content_id for image in message.inline] == ["girocode@kontor"]
    assert "cid:girocode@kontor" in message.html


def test_without_optional_facts_their_places_are_gone() -> None:
    facts = dict(facts_for("payment_information", "de"))
    for name in ("bic", "payable_until", "girocode", "legal_line", "help_url", "prepayment"):
        facts[name] = ""
    del facts["recipient_name"]
    message = compose("payment_information", "de", facts, KONTOR)
    assert message.inline == ()
    for form in (message.text, _visible(message.html)):
        for gone in ("BIC", "Zahlbar bis", "GiroCode", "Sobald"):
            assert gone not in form
        assert "Guten Tag," in form
    assert "cid:" not in message.html


def test_every_payment_of_a_list_has_its_line() -> None:
    message = compose("payment_received", "de", facts_for("payment_received", "de"), KONTOR)
    assert "Zahlung vom 17.11.2026: 1.000,00\u00a0€" in message.text
    assert "Zahlung vom 18.11.2026: 284,60\u00a0€" in message.text
    assert _visible(message.html).count("Zahlung vom") == 2


@pytest.mark.feature("S42")
def test_transfer_failed_says_what_to_do() -> None:
    message = compose("transfer_failed", "de", facts_for("transfer_failed", "de"), KONTOR)
    for part in ("10482", "bezahlt", "woocommerce_rest_cannot_edit", "/orders/10482"):
        assert part in message.text
        assert part in message.html


@pytest.mark.parametrize("reason", ["", None, "<html>" + "x" * 5000])
def test_a_notice_is_written_whatever_the_shop_said(reason: str | None) -> None:
    facts = dict(facts_for("shop_error", "de"))
    del facts["reason"]
    if reason is not None:
        facts["reason"] = reason
    message = compose("shop_error", "de", facts, KONTOR)
    assert ("Meldung des Shops" in message.text) is bool(reason)
    assert ("Meldung des Shops" in message.html) is bool(reason)
    assert len(message.text) < 3000
    assert message.text.count("xxxx…") == (1 if reason else 0)


@settings(max_examples=50)
@given(st.text(max_size=60))
def test_a_customer_name_stays_a_name(name: str) -> None:
    """Whatever it is, the HTML has the same tags, the text the same lines, the subject one line."""
    facts = {**facts_for("payment_information", "de"), "shop_name": f"x{name}x"}
    plain = compose("payment_information", "de", {**facts, "shop_name": "xx"}, KONTOR)
    message = compose("payment_information", "de", facts, KONTOR)
    assert message.html.count("<") == plain.html.count("<")
    assert message.html.count('"') == plain.html.count('"')
    assert "\n" not in message.subject
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e]", message.text + message.html)


def test_marks_in_facts_are_not_filled_again() -> None:
    facts = {**facts_for("payment_information", "de"), "recipient_name": "{{ iban }} {{#bic}}"}
    assert (
        "Guten Tag {{ iban }} {{#bic}}," in compose("payment_information", "de", facts, KONTOR).text
    )


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"iban": None}, "needs the fact 'iban'"),
        ({"creditor": ""}, "cannot be written without 'creditor'"),
        ({"payable_untill": "28.11.2026"}, "knows no fact 'payable_untill'"),
        ({"amount_due": Decimal("84.90")}, "'amount_due' must be a finished string, not Decimal"),
        ({"help_url": "https://example.org/" + "a" * MAX_FACT_LENGTH}, "'help_url' must be"),
        ({"help_url": "javascript:alert(1)"}, "'help_url' must be a web or mail address"),
        ({"creditor": [{"received_on": "x", "amount": "y"}]}, "'creditor' has or lacks 'amount'"),
    ],
)
def test_a_fact_that_does_not_fit_is_named(change: dict[str, object], named: str) -> None:
    facts = {**facts_for("payment_information", "de"), **change}
    if change.get("iban", "") is None:
        del facts["iban"]
    with pytest.raises(FactError, match=re.escape(named)):
        compose("payment_information", "de", facts, KONTOR)  # type: ignore[arg-type]


def test_unknown_kind_and_language() -> None:
    with pytest.raises(FactError, match="'birthday'"):
        compose("birthday", "de", {}, KONTOR)
    with pytest.raises(FactError, match="'fr'"):
        compose("payment_information", "fr", facts_for("payment_information", "de"), KONTOR)


def test_an_item_with_a_wrong_fact_is_named() -> None:
    facts = {**facts_for("payment_received", "de"), "payments": [{"received_on": "17.11.2026"}]}
    with pytest.raises(FactError, match="an item of 'payments' has or lacks 'amount'"):
        compose("payment_received", "de", facts, KONTOR)


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{{ nobody }}", "no fact is called 'nobody'"),
        ("{{#nobody}}x{{/nobody}}", "no fact is called 'nobody'"),
        ("{{ many }}", "'many' is a list"),
    ],
)
def test_an_unknown_mark_stops_the_mail(template: str, problem: str) -> None:
    with pytest.raises(FactError, match=problem):
        fill(parse(template), {"many": [{"a": "b"}]})


@pytest.mark.parametrize("template", ["{{#a}}x", "{{#a}}{{#b}}{{/a}}{{/b}}", "x{{/a}}"])
def test_a_part_must_be_closed_where_it_ends(template: str) -> None:
    with pytest.raises(ValueError, match="close"):
        parse(template)


def test_parts() -> None:
    nodes = parse("{{#a}}yes{{/a}}{{^a}}no{{/a}}{{#l}}[{{ x }}{{#a}}!{{/a}}]{{/l}}{{^l}}-{{/l}}")
    assert fill(nodes, {"a": "1", "l": [{"x": "1"}, {"x": "2"}]}) == "yes[1!][2!]"
    assert fill(nodes, {"a": "", "l": []}) == "no-"


def test_a_theme_changes_every_mail() -> None:
    theme = Theme(
        primary="#0b7a3b",
        font="georgia",
        header_image="https://shop.example.org/header.png?a=1&b=2",
        header_height_pixels=90,
    )
    for kind in KINDS:
        made = compose(kind, "de", facts_for(kind, "de"), theme).html
        assert "#0b7a3b" in made
        assert "Georgia, 'Times New Roman'" in made
        assert 'src="https://shop.example.org/header.png?a=1&amp;b=2"' in made
        assert 'height="90"' in made


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


def test_money_is_never_rounded() -> None:
    assert money(Decimal("19.905"), "EUR", "de") == "19,905\u00a0€"
    assert "53.31" in money(Decimal("53.31"), "JPY", "en")


def test_days_ibans_languages() -> None:
    assert day(date(2026, 3, 5), "de") == "05.03.2026"
    assert day(date(2026, 3, 5), "en") == "5\u00a0March\u00a02026"
    assert grouped_iban(" at61 1904300234573201") == "AT61 1904 3002 3457 3201"
    wanted = [nearest_language(tag, "de") for tag in ("en_GB", "de-AT", "fr", "", None)]
    assert wanted == ["en", "de", "de", "de", "de"]


def test_payment_facts_of_a_swiss_account() -> None:
    facts = payment_facts(
        language="en",
        amount=Decimal("64.50"),
        currency="CHF",
        creditor="Annas Antiquariat",
        iban="CH9300762011623852957",
        bic="",
        payment_reference=REFERENCE,
    )
    assert facts["bic"] == facts["payable_until"] == ""
    assert facts["iban"] == "CH93 0076 2011 6238 5295 7"


def test_wrap_keeps_values_and_links_whole() -> None:
    link = "https://kontor.example.org/" + "a" * 120
    value = "    Empfänger: " + "b" * 90
    folded = wrap(f"{'wort ' * 30}\n{link}\n{value}\n\n\n\nEnde\n")
    assert link in folded.splitlines()
    assert value in folded.splitlines()
    assert max(len(line) for line in folded.splitlines() if line.startswith("wort")) <= 74
    assert folded.endswith("\n\nEnde\n")
    assert "\n\n\n" not in folded


def _visible(page: str) -> str:
    body = re.sub(r"<(style|head)\b.*?</\1>|<!--.*?-->", "", page, flags=re.DOTALL)
    preview_hidden = re.sub(r'<div style="display:none.*?</div>', "", body, flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]+>", "", preview_hidden))
