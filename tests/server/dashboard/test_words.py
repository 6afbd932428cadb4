"""The texts of both languages, the sentences of other rooms, and how things are written."""

from __future__ import annotations

import ast
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from string import Formatter

import pytest
from flask import g

from plugin_sdk.types import Outcome, PaymentCode, PaymentStatus
from server.dashboard import sentences, status, words
from server.dashboard.login import pages as _login_pages  # noqa: F401 - the app knows its words
from server.dashboard.statements import FIELDS
from server.mail.rules import KINDS

ROOT = Path(__file__).parents[3]
DOOR = ROOT / "server" / "dashboard"
SOURCES = [*DOOR.glob("*.py"), *(DOOR / "templates" / "dashboard").glob("*.html")]
SERVER = [*(ROOT / "server").rglob("*.py"), *DOOR.rglob("*.html")]
CALL = re.compile(r"""\b(?:t|has_text)\(\s*f?["']([a-z0-9_.]*)(["']?)""")
MESSAGE_KEY = re.compile(r"""(?:NotPossible|ValueError)\(\s*["']([a-z_]+)["']""")


@pytest.fixture
def german(app):
    with app.test_request_context():
        g.language, g.timezone = "de", "Europe/Berlin"
        yield


@pytest.fixture
def english(app):
    with app.test_request_context():
        g.language, g.timezone = "en", "Europe/Berlin"
        yield


def _values(text: words.Text) -> set[str]:
    parts = text.values() if isinstance(text, dict) else [text]
    return {name for part in parts for _, name, _, _ in Formatter().parse(part) if name}


def test_both_languages_have_the_same_keys_counting_the_same_way():
    german, english = words.texts("de"), words.texts("en")
    assert german.keys() == english.keys()
    for key in german:
        assert isinstance(german[key], dict) == isinstance(english[key], dict), key
        assert _values(german[key]) == _values(english[key]), key


def test_every_text_that_is_asked_for_exists_and_none_is_left_over():
    exact, beginnings = set(), set()
    for source in SOURCES:
        for key, quote in CALL.findall(source.read_text("utf-8")):
            (exact if quote and not key.endswith(".") else beginnings).add(key)
    known = words.texts("de")
    begun = ("sentence_word.", "veto.", "error.", *(b for b in beginnings if b.endswith(".")))
    # `"postings.list_" ~ one` and the like: the key goes on after the quote.
    begun += tuple(key for key in exact if key.endswith("_"))
    missing = {key for key in exact if key not in known and not key.endswith("_")}
    assert {key for key in missing if not any(k.startswith(key) for k in known)} == set()
    unused = {key for key in known if key not in exact and not key.startswith(begun)}
    assert {key for key in unused if not _is_composed(key)} == set()


def _is_composed(key: str) -> bool:
    """Keys whose last part comes from the code: "step.shop_text", "problem.iban_invalid" ..."""
    section, _, name = key.partition(".")
    if section not in {"step", "problem", "not_possible", "period", "mail_kind", "done"}:
        return False
    word = name.removesuffix("_text").removesuffix("_action").removesuffix("_amount")
    return any(f'"{word}"' in source.read_text("utf-8") for source in SERVER)


def test_every_word_of_the_wire_and_of_the_rows_has_a_text():
    known = words.texts("de")
    wanted = [
        *(f"payment_status.{word}" for word in status.ORDER_WORDS),
        *(f"payment_status.{one.value}" for one in PaymentStatus),
        *(f"payment_code.{one.value}" for one in PaymentCode),
        *(f"shop_status.{one}" for one in status._SHOP),
        *(f"mail_status.{one}" for one in status._MAIL),
        *(f"update_status.{one}" for one in status._UPDATE),
        *(f"mail_kind.{name}" for name, kind in KINDS.items() if kind.footer != "account"),
        *(f"field.{one}" for one in FIELDS),
    ]
    assert [key for key in wanted if key not in known] == []
    ending = {Outcome.TEMPORARY, Outcome.REJECTED, Outcome.MISCONFIGURED}
    assert {one.value for one in Outcome if one not in ending} <= set(status._UPDATE)


@pytest.mark.parametrize(
    ("room", "section"),
    [("orders", "not_possible"), ("banking", "problem"), ("shops", "problem")],
)
def test_every_message_key_of_the_services_has_a_text(room, section):
    source = (ROOT / "server" / room / "service.py").read_text("utf-8")
    keys = {key for key in MESSAGE_KEY.findall(source) if not key.startswith("invoice_")}
    assert keys and {key for key in keys if not words.has_text(f"{section}.{key}")} == set()


def _sentences_of(module: Path, names: set[str]) -> set[str]:
    """The sentences a rules module can say, with every value replaced by a word or a number."""
    found = set()
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if not (isinstance(node, ast.Call) and getattr(node.func, "id", "") in names):
            continue
        for argument in node.args[:2]:
            if isinstance(argument, ast.JoinedStr | ast.Constant):
                found.add(_spoken(argument))
    return found - {""}


def _spoken(node: ast.JoinedStr | ast.Constant) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    return "".join(
        str(part.value) if isinstance(part, ast.Constant) else "12.50" for part in node.values
    )


def test_every_sentence_of_the_evidence_is_known_in_german(german):
    module = ROOT / "server" / "matching" / "rules"
    spoken = set()
    for name in ("evidence.py", "decision.py", "candidates.py"):
        spoken |= _sentences_of(module / name, {"Evidence"})
    spoken -= {"12.50 12.50"}  # "{name} {agrees}", whose endings follow
    spoken |= {
        "Erika Mustermann is the customer's name",
        "Erika Mustermann is the customer's company",
        "Erika Mustermann is the customer's family name and initial",
        "Erika Mustermann has the customer's family name",
        "Erika Mustermann is not the customer's name",
        "AA10037 is its order number",
        "AA10037 is nearly its invoice number",
        "W9RTY65F is its payment reference, check characters right",
    }
    assert len(spoken) > 12
    assert {one for one in spoken if sentences.say(one).language} == set()


def test_every_reason_not_to_book_has_a_text():
    rules = ROOT / "server" / "matching" / "rules"
    decision = (rules / "decision.py").read_text("utf-8")
    keys = set(re.findall(r'yield "([a-z_]+)"|vetoes\.append\("([a-z_]+)"\)', decision))
    candidates = (rules / "candidates.py").read_text("utf-8")
    doubts = set(re.findall(r'Mention\([^)]*"([a-z_]+)"\)', candidates))
    found = {key for pair in keys for key in pair if key} | doubts
    found |= {f"order_{one.value}" for one in PaymentStatus if one is not PaymentStatus.UNPAID}
    assert {"return", "no_reference"} <= found
    assert {key for key in found if not words.has_text(f"veto.{key}")} == set()


@pytest.mark.feature("N2")
def test_evidence_reads_as_sentences_with_amounts_of_the_language(german):
    first, second, third = sentences.reasons(
        ["12.50 is less than 1284.60 (-1.5)", "AA10037 is its order number (+6.5)"],
        ["order_paid"],
    )
    (neither,) = sentences.reasons(["no name to compare (+0.0)"], [])
    assert (neither.kind, neither.icon) == ("neither", "search")
    assert (first.kind, first.sentence.text) == ("for", "„AA10037“ ist die Bestellnummer")
    assert second.kind == "against"
    assert second.sentence.text == "12,50 ist weniger als die offenen 1.284,60"
    assert (third.kind, third.sentence.text) == ("veto", "Die Bestellung ist schon bezahlt.")


def test_evidence_in_english_keeps_its_words(english):
    (reason,) = sentences.reasons(["1284.60 is what the order owes (+2.8)"], [])
    assert reason.sentence.text == "1,284.60 is what the order owes"
    assert reason.sentence.language is None


def test_a_sentence_nobody_knows_is_shown_as_it_is_and_marked_as_english(german):
    assert sentences.say("the moon was full") == sentences.Sentence("the moon was full", "en")


def test_values_of_a_sentence_are_never_taken_for_names(german):
    said = sentences.say("{amount} {0} is not the customer's name")
    assert said.text == "„{amount} {0}“ ist ein anderer Name als in der Bestellung"


def test_amounts_and_dates_as_germans_write_them(german):
    assert words.money(Decimal("-1284.6"), "EUR") == "\u22121.284,60\u00a0€"
    assert words.percent(Decimal("0.961"), 1) == "96,1\u00a0%"
    assert words.certainty(Decimal("0.97999")) == "97\u00a0%"
    assert words.certainty(Decimal("1.00000"), 1) == "99,9\u00a0%"
    assert words.day(date(2020, 11, 3)) == "3.11.2020"
    assert words.day(date(2020, 11, 3), "long") == "3. November 2020"
    assert words.moment(datetime(2020, 7, 1, 22, 30, tzinfo=UTC)) == "2.7.2020, 00:30"
    assert words.plain_amount(Decimal("1284.6")) == "1284,60"
    assert words.t("today.postings", n=1) == "1 Umsatz ohne Zuordnung"
    assert words.t("today.postings", n=1200) == "1.200 Umsätze ohne Zuordnung"


def test_amounts_and_dates_as_the_british_write_them(english):
    assert words.money(Decimal("1284.6"), "EUR") == "€1,284.60"
    assert words.day(date(2020, 11, 3), "long") == "3 November 2020"


def test_values_in_texts_are_escaped(german):
    assert "<b>" not in words.t("today.shop_error", shop="<b>")


@pytest.mark.parametrize(
    ("typed", "amount"),
    [
        ("98,90", "98.90"),
        ("98.90", "98.90"),
        ("1.284,60", "1284.60"),
        ("1,284.60", "1284.60"),
        ("1.284", "1284"),
        ("12", "12"),
        (" 12,5 € ", "12.5"),
        ("\u221212,50", "-12.50"),
    ],
)
def test_amounts_are_read_as_people_type_them(typed, amount):
    assert words.read_amount(typed) == Decimal(amount)


@pytest.mark.parametrize("typed", ["", "zwölf", "1.2.3", "12,345,6", "1e5", "١٢", "--1"])
def test_what_is_no_amount_is_not_guessed(typed):
    assert words.read_amount(typed) is None
