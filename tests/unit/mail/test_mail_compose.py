"""What a mail says, and that nothing a customer typed can change anything else in it."""

from __future__ import annotations

import html
import os
import re
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.mail import build
from server.mail.kinds import KINDS
from server.mail.languages import EDITIONS, editions_for
from server.mail.rules import (
    COMPILED,
    MAX_FACT_LENGTH,
    FactError,
    compose,
    fill,
    grouped_iban,
    parse,
    payment_facts,
    wrap,
)
from server.mail.theme import KONTOR, Theme
from server.mail.wording import texts_of
from tests.unit.mail.samples import (
    BIC,
    IBAN,
    REFERENCE,
    SWISS_IBAN,
    facts_for,
    facts_of_swiss_account,
    theme_for,
)

GOLDEN = Path(__file__).parents[2] / "fixtures" / "mails"
EVERY = [(name, edition) for name, kind in KINDS.items() for edition in editions_for(kind.reader)]


def test_compiled_mails_are_what_the_templates_say() -> None:
    """``python -m server.mail.build`` after changing a template or a text."""
    kept = {path.name: path.read_text("utf-8") for path in COMPILED.iterdir()}
    fresh = build.build()
    assert kept.keys() == fresh.keys()
    for name, content in fresh.items():
        assert kept[name] == content, f"{name} is older than its template"


@pytest.mark.parametrize(
    ("skeleton", "problem"),
    [
        ("{{#reason}}{{ iban }}{{/reason}}", "'iban', which is no fact of this kind"),
        ("{{ theme.nothing }}", "'theme.nothing'"),
        ("[[ common.greeting ]]", "mark of the build"),
        ("{{ words.nothing }}", "no words for {{ words.nothing }}"),
        ("{{ labels.nothing }}", "no words for {{ labels.nothing }}"),
        ("<!--[if mso]>", "tore an Outlook comment"),
        ("{{#reason}}", "never closed"),
        ("x" * build.MAX_HTML_BYTES + "x", "too many"),
    ],
)
def test_a_template_with_a_mistake_is_not_built(skeleton: str, problem: str) -> None:
    with pytest.raises(build.BuildError, match=re.escape(problem)):
        build.check("shop_error.html", skeleton)


def test_a_page_that_the_compiler_refuses_is_an_error() -> None:
    with pytest.raises(build.BuildError):
        build.compile_in_child({"broken": "<mjml><mj-body><mj-text><p></mj-text></mj-body></mjml>"})


def test_a_crash_of_the_compiler_is_only_an_error() -> None:
    """Deeply nested markup ends the native compiler's process; ours goes on."""
    deep = "<div>" * 60_000 + "x" + "</div>" * 60_000
    page = f"<mjml><mj-body><mj-raw>{deep}</mj-raw></mj-body></mjml>"
    with pytest.raises(build.BuildError):
        build.compile_in_child({"deep": page})


@pytest.mark.feature("S1", "K40", "K41")
@pytest.mark.parametrize(("kind", "edition"), EVERY)
def test_golden(kind: str, edition: str) -> None:
    """``KONTOR_GOLDEN=1 pytest tests/unit/mail`` writes them anew; then look at the difference.

    The HTML is kept once a kind: all editions have the same, with other words.
    """
    message = compose(kind, edition, facts_for(kind, edition), theme_for(kind))
    made = {GOLDEN / f"{kind}.{edition}.txt": f"{message.subject}\n\n{message.text}"}
    if edition == EDITIONS[0]:
        made[GOLDEN / f"{kind}.{edition}.html"] = message.html
    for path, content in made.items():
        if os.environ.get("KONTOR_GOLDEN"):
            path.write_text(content, "utf-8")
        assert path.read_text("utf-8") == content


def test_no_golden_file_is_left_over() -> None:
    wanted = {f"{kind}.{edition}.txt" for kind, edition in EVERY}
    wanted |= {f"{kind}.{EDITIONS[0]}.html" for kind in KINDS}
    assert {path.name for path in GOLDEN.iterdir()} == wanted


@pytest.mark.parametrize(("kind", "edition"), EVERY)
def test_every_mail_is_small_complete_and_loads_nothing(kind: str, edition: str) -> None:
    message = compose(kind, edition, facts_for(kind, edition), theme_for(kind))
    assert len(message.html.encode()) < 40_000
    for form in (message.subject, message.text, message.html):
        assert not re.search(r"\{\{|\}\}|\[\[|\[%|#fab1|\*\*", form)
    assert "<script" not in message.html
    assert not re.search(r"""(?:src|url\(|@import)\s*=?\s*["']?(?!cid:)\w+:""", message.html)
    assert f'lang="{edition.removesuffix("-du")}"' in message.html
    assert "prefers-color-scheme: dark" in message.html
    assert max(map(len, message.text.splitlines())) <= 110


@pytest.mark.feature("K18")
@pytest.mark.parametrize("edition", EDITIONS)
def test_payment_information_states_every_fact_in_both_parts(edition: str) -> None:
    facts = facts_for("payment_information", edition)
    message = compose("payment_information", edition, facts, KONTOR)
    visible = _visible(message.html)
    stated = [str(facts[name]) for name in ("amount_due", "payable_until", "order_date")]
    for fact in (*stated, "Annas Antiquariat", grouped_iban(IBAN), BIC, REFERENCE, "10482"):
        assert fact in message.text
        assert fact in visible
    assert [image.content_id for image in message.inline] == ["girocode@kontor"]
    assert "cid:girocode@kontor" in message.html


@pytest.mark.feature("K18", "K19", "S62")
@pytest.mark.parametrize("edition", EDITIONS)
def test_the_payment_part_of_a_swiss_bill_is_drawn_in_text(edition: str) -> None:
    facts = {**facts_for("payment_information", edition), **facts_of_swiss_account(edition)}
    message = compose("payment_information", edition, facts, KONTOR)
    visible = _visible(message.html)
    for fact in (str(facts["amount_due"]), grouped_iban(SWISS_IBAN), REFERENCE):
        assert fact in message.text
        assert fact in visible
    assert [image.content_id for image in message.inline] == ["swissqr@kontor"]
    assert 'src="cid:swissqr@kontor"' in message.html
    assert "girocode" not in message.html
    title = texts_of(edition)["common"]["ch_title"]
    assert title in visible
    assert texts_of(edition)["common"]["ch_message"] in visible
    without = compose("payment_information", edition, {**facts, "swiss_qr": ""}, KONTOR)
    assert without.inline == ()
    assert "cid:" not in without.html
    assert title in _visible(without.html)


@pytest.mark.feature("K18", "S62")
def test_the_form_has_the_name_that_it_has_in_the_country() -> None:
    german = facts_for("payment_information", "de")
    austrian = compose("payment_information", "de", {**german, "form_at": "yes"}, KONTOR)
    assert "SEPA-Überweisung" in compose("payment_information", "de", german, KONTOR).html
    assert "Zahlungsanweisung" in austrian.html
    assert "SEPA-Überweisung" not in austrian.html


def test_a_code_that_is_too_long_is_named() -> None:
    facts = {**facts_for("payment_information", "de"), "girocode": "x" * 332}
    with pytest.raises(FactError, match="'girocode': a GiroCode holds 331 bytes"):
        compose("payment_information", "de", facts, KONTOR)


@pytest.mark.feature("S11", "S12")
@pytest.mark.parametrize(
    "kind", [name for name, kind in KINDS.items() if kind.reader == "customer"]
)
def test_only_what_one_can_do_without_has_a_link_to_unsubscribe(kind: str) -> None:
    is_optional = "unsubscribe_url" in KINDS[kind].optional
    assert is_optional is KINDS[kind].is_optional
    assert "unsubscribe_url" not in KINDS[kind].required
    assert not (is_optional and KINDS[kind].is_important)
    message = compose(kind, "de", facts_for(kind, "de"), KONTOR)
    for form in (message.text, message.html):
        assert ("/unsubscribe/" in form) is is_optional


@pytest.mark.feature("K38")
@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if kind.footer == "notice"])
def test_every_notice_can_be_stopped(kind: str) -> None:
    stop = "https://kontor.example.org/notices/stop/x"
    for language in ("de", "en"):
        facts = {**facts_for(kind, language), "stop_url": stop}
        message = compose(kind, language, facts, KONTOR)
        assert f"\n{stop}\n" in message.text
        assert f'href="{stop}"' in message.html
        without = compose(kind, language, {**facts, "stop_url": ""}, KONTOR)
        assert texts_of(language)["common"]["stop"] not in without.text + without.html


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
    for kind, edition in (("payment_information", "pt"), ("shop_error", "fr")):
        with pytest.raises(FactError, match=f"not in '{edition}'"):
            compose(kind, edition, facts_for(kind, "de"), KONTOR)


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


def test_ibans_in_fours() -> None:
    assert grouped_iban(" at61 1904300234573201") == "AT61 1904 3002 3457 3201"


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
