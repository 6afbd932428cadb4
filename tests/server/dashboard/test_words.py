"""The texts of both languages, the sentences of other rooms, and how things are written."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from string import Formatter
from typing import get_args

import pytest
from flask import g

from plugin_sdk.types import Outcome, PaymentCode, PaymentStatus
from server.dashboard import sentences, status, words
from server.dashboard.login import pages as _login_pages  # noqa: F401 - the app knows its words
from server.dashboard.settings_form import text_key
from server.dashboard.statements import FIELDS
from server.mail.rules import KINDS
from server.matching.rules.evidence import SENTENCES, VETOES
from server.merchants.settings import SCHEMA
from server.orders.failed_mails import KIND_WORDS
from server.orders.rules import KeyKind

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
    begun = (
        *("sentence_word.", "slip.", "veto.", "error.", "done.bulk_"),
        *(b for b in beginnings if b.endswith((".", "_"))),
    )
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
    files = (ROOT / "server" / room).glob("*.py") if room == "orders" else ()
    sources = [file.read_text("utf-8") for file in files]
    sources.append((ROOT / "server" / room / "service.py").read_text("utf-8"))
    found = {key for source in sources for key in MESSAGE_KEY.findall(source)}
    keys = {key for key in found if not key.startswith("invoice_")}
    assert keys and {key for key in keys if not words.has_text(f"{section}.{key}")} == set()


def test_everything_that_happens_to_an_order_has_a_text():
    noted = re.compile(r'note\(\s*\w+,\s*"([a-z_]+)"')
    rooms = (ROOT / "server").rglob("*.py")
    kinds = {kind for file in rooms for kind in noted.findall(file.read_text("utf-8"))}
    assert {"assigned", "credit_kept", "payment_returned", "enquired"} <= kinds
    assert {kind for kind in kinds if not words.has_text(f"event.{kind}")} == set()


def test_every_ground_of_the_matcher_has_a_sentence_that_needs_what_it_knows(german):
    known = words.texts("de")
    assert "number_slip" in SENTENCES
    for kind, english in SENTENCES.items():
        facts = {name for _, name, _, _ in Formatter().parse(english) if name}
        counts = {"n"} if facts & set(sentences.COUNTS) else set()
        assert _values(known[f"evidence.{kind}"]) <= facts | counts, kind
        stored = dict.fromkeys(facts, "2")
        assert sentences.ground({"kind": kind, "facts": stored}).language is None, kind


def test_every_ground_of_a_return_has_a_sentence():
    source = (ROOT / "server" / "orders" / "return_rules.py").read_text("utf-8")
    kinds = set(re.findall(r'"(return_[a-z_]+)"', source))
    assert len(kinds) > 3
    assert {kind for kind in kinds if not words.has_text(f"evidence.{kind}")} == set()


def test_every_word_that_a_ground_may_use_has_a_text():
    kinds = {kind.removesuffix("_part") for kind in get_args(KeyKind)} - {"name"}
    assert {kind for kind in kinds if not words.has_text(f"sentence_word.{kind}")} == set()


def test_every_reason_not_to_book_has_a_text():
    assert {f"order_{one.value}" for one in PaymentStatus} - set(VETOES) <= {
        "order_unpaid",
        "order_partially_paid",
    }
    assert {key for key in VETOES if not words.has_text(f"veto.{key}")} == set()


@pytest.mark.feature("C6", "C9", "K21", "K30", "K32", "N16", "S51")
@pytest.mark.parametrize("language", words.LANGUAGES)
def test_a_kind_of_mail_has_one_name(language: str) -> None:
    known = words.texts(language)
    for kind, name in KIND_WORDS[language].items():
        assert known[f"mail_kind.{kind}"] == name
        assert known[f"setting.mail_{kind}.label"] == name


def test_every_setting_is_named_and_explained():
    wanted = []
    for setting in SCHEMA.values():
        wanted += [text_key(setting, "label"), text_key(setting, "effect")]
        wanted += [text_key(setting, choice) for choice in setting.choices]
        if setting.kind == "whole":
            wanted += [f"setting_unit.{setting.unit}", f"setting_unit_name.{setting.unit}"]
    assert [key for key in wanted if not words.has_text(key)] == []


def ground(kind: str, weight: float, **facts: str) -> dict[str, object]:
    return {"kind": kind, "weight": weight, "facts": facts, "span": None}


@pytest.mark.feature("N2")
def test_grounds_read_as_sentences_the_strongest_first(german):
    found = sentences.reasons(
        [
            ground("name_different", -0.8, name="Max Beispiel"),
            ground("amount_exact", 2.8, amount="1284.60"),
            ground("name_unknown", 0.0),
            ground("number_slip", 4.1, written="AN2O", what="order number", meant="AN20",
                   slip="look alike"),
        ],
        ["order_paid"],
        "EUR",
    )  # fmt: skip
    assert [one.kind for one in found] == ["for", "for", "neither", "against", "veto"]
    assert [one.sentence.text for one in found] == [
        "„AN2O“ ist fast die Bestellnummer AN20: nur ähnlich aussehende Zeichen sind anders",
        "1.284,60\u00a0€ ist genau der offene Betrag",
        "Die Bank nennt keinen Namen, der sich vergleichen ließe",
        "„Max Beispiel“ ist ein anderer Name als in der Bestellung",
        "Die Bestellung ist schon bezahlt.",
    ]
    assert [one.strength for one in found[:2]] == ["strong", "medium"]
    assert 100 > found[0].share > found[1].share > found[3].share > 0 == found[2].share


def test_what_a_ground_counts_is_written_as_its_number(german):
    one = ground("payer_known", 1.0, payer="DE89370400440532013000", times="1")
    assert sentences.ground(one).text == (
        "„DE89 3704 0044 0532 0130 00“ hat schon einmal für diese Kundschaft bezahlt"
    )
    many = one | {"facts": {"payer": "Anna", "times": "12"}}
    assert "12-mal" in sentences.ground(many).text


def test_a_ground_that_nobody_knows_is_shown_as_it_is(german):
    assert sentences.ground(ground("moon_phase", 1.0, moon="full")) == sentences.Sentence(
        "moon phase: moon full", "en"
    )
    assert sentences.ground(ground("amount_exact", 1.0)).language == "en"


def test_values_of_a_ground_are_text_and_nothing_else(german):
    said = sentences.ground(ground("name_full", 1.0, name="<b>{amount}</b> & Co"))
    assert said.text == "„<b>{amount}</b> & Co“ ist der Name der Bestellung"


def spanned(*span: object) -> dict[str, object]:
    return ground("number", 1.0) | {"span": list(span)}


def test_what_was_found_is_marked_exactly_where_it_stands():
    texts = {"remittance_information": "a <AN 1> b", "end_to_end_id": None}
    found = sentences.marked(texts, [spanned("remittance_information", 3, 7), "an old sentence"])
    assert found["remittance_information"] == "a &lt;<mark>AN 1</mark>&gt; b"
    assert found["end_to_end_id"] == ""


@pytest.mark.parametrize("spans", [[(0, 99)], [(5, 5)], [(4, 2)], [(-3, 2)]])
def test_a_mark_that_is_not_in_the_text_is_left_out(spans):
    grounds = [spanned("remittance_information", *one) for one in spans]
    found = sentences.marked({"remittance_information": "abcdef"}, grounds)
    assert found["remittance_information"] == "abcdef"


def test_marks_within_each_other_are_one():
    grounds = [spanned("remittance_information", *one) for one in [(0, 4), (2, 6), (4, 5)]]
    found = sentences.marked({"remittance_information": "abcdef"}, grounds)
    assert found["remittance_information"] == "<mark>abcd</mark><mark>e</mark>f"


@pytest.mark.feature("N2")
def test_evidence_of_before_reads_as_sentences_with_amounts_of_the_language(german):
    first, second, third = sentences.reasons(
        ["12.50 is less than 1284.60 (-1.5)", "AA10037 is its order number (+6.5)"],
        ["order_paid"],
    )
    (neither,) = sentences.reasons(["no name to compare (+0.0)"], [])
    assert (neither.kind, neither.icon) == ("neither", "neither")
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
