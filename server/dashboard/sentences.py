"""What other rooms found out, in the reader's language.

The matcher's grounds are stored as kinds with facts; ``evidence.<kind>`` is their sentence. What
a reader of files or an earlier version of the matcher said is stored as an English sentence:
``texts/sentences.toml`` holds the German of each, with the same {names}. Amounts are written the
reader's way. What the texts do not know is shown as it is, marked as English, so that nothing is
ever hidden.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any

from babel.numbers import format_decimal
from markupsafe import Markup, escape

from server.dashboard import words
from server.dashboard.words import TEXTS, t

_WEIGHT = re.compile(r" \(([+-]\d+\.\d)\)$")
_NAME = re.compile(r"\{(\w+)\}")
_DECIMAL = re.compile(r"-?\d+\.\d+")
_PLAIN_AMOUNT = re.compile(r"-?\d{1,12}(?:\.\d{1,6})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Sentence:
    """``language`` is the one it is in, where that is not the page's."""

    text: str
    language: str | None = None


LOOKS = {
    "for": ("plus", "ok"),
    "neither": ("neither", "off"),
    "against": ("minus", "warn"),
    "veto": ("warn", "warn"),
}
"""Icon and colour of each kind of reason, in the order in which they are read."""

STRONGEST = Decimal(8)
"""As a power of ten: a reference whose check characters are right. Fills the bar."""
STRENGTHS = (("strong", Decimal(4)), ("medium", Decimal("1.5")), ("weak", Decimal(0)))
"""Words for those who do not see the bar, and from which weight on."""


@dataclass(frozen=True, slots=True)
class Reason:
    """What speaks for or against a suggestion, or why nobody booked it (`veto`).

    ``weight`` is a power of ten: how much more often this is seen where the posting does pay the
    order; below zero it speaks against.
    """

    kind: str
    sentence: Sentence
    weight: Decimal = Decimal(0)

    @property
    def icon(self) -> str:
        return LOOKS[self.kind][0]

    @property
    def colour(self) -> str:
        return LOOKS[self.kind][1]

    @property
    def share(self) -> int:
        """How much of the bar is filled, 0 to 100."""
        return int(min(abs(self.weight) / STRONGEST, Decimal(1)) * 100)

    @property
    def strength(self) -> str:
        return next(word for word, least in STRENGTHS if abs(self.weight) >= least)


Evidence = str | Mapping[str, Any]
"""A ground as it is stored: kind, weight, facts and span, or an English sentence (before that)."""


def reasons(
    evidence: Sequence[Evidence], vetoes: Sequence[str], currency: str = ""
) -> list[Reason]:
    """What is shown beside a suggestion, what speaks for it first, the strongest first."""
    found = [_reason(one, currency) for one in evidence]
    found += [Reason("veto", veto(one)) for one in vetoes]
    return sorted(found, key=lambda reason: (list(LOOKS).index(reason.kind), -abs(reason.weight)))


def _reason(one: Evidence, currency: str) -> Reason:
    if isinstance(one, str):
        found = _WEIGHT.search(one)
        weight = Decimal(found[1]) if found else Decimal(1)
        return Reason(_kind(weight), say(_WEIGHT.sub("", one)), weight)
    weight = Decimal(str(one.get("weight", 0)))
    return Reason(_kind(weight), ground(one, currency), weight)


def _kind(weight: Decimal) -> str:
    return "for" if weight > 0 else "against" if weight < 0 else "neither"


# --- grounds -----------------------------------------------------------------------------------

AMOUNTS = {"amount", "owed", "difference", "discount", "fee", "fees"}
TRANSLATED = {"what": "sentence_word", "slip": "slip"}
COUNTS = ("count", "times", "parts", "days")


def ground(one: Mapping[str, Any], currency: str = "") -> Sentence:
    """The sentence of one ground. ``currency`` is that of its amounts, if it is known."""
    kind, facts = str(one.get("kind", "")), one.get("facts") or {}
    values: dict[str, object] = {
        name: _fact(name, str(value), str(facts.get("currency") or currency))
        for name, value in facts.items()
    }
    counted = next((str(facts[name]) for name in COUNTS if name in facts), "")
    if counted.isdecimal():
        values["n"] = int(counted)
    try:
        # ``kind`` is in no sentence, but a sentence whose facts are missing must not pass for one.
        return Sentence(t(f"evidence.{kind}", kind=kind, **values).unescape())
    except KeyError:
        told = ", ".join(f"{name} {value}" for name, value in facts.items())
        said = kind.replace("_", " ")
        return Sentence(f"{said}: {told}" if told else said, "en")


def _fact(name: str, value: str, currency: str) -> str:
    if name in TRANSLATED:
        key = f"{TRANSLATED[name]}.{value.replace(' ', '_')}"
        return str(t(key)) if words.has_text(key) else value
    if name in AMOUNTS and _PLAIN_AMOUNT.fullmatch(value):
        return words.money(Decimal(value), currency) if currency else _local(value)
    if name == "percent" and _PLAIN_AMOUNT.fullmatch(value):
        return words.exact(Decimal(value))
    if name in {"payer", "iban"}:
        return words.iban(value)
    if name == "formula":
        return _DECIMAL.sub(lambda found: _local(found[0]), value)
    return value


def marked(texts: Mapping[str, str | None], evidence: Iterable[Evidence]) -> dict[str, Markup]:
    """The texts of a posting with the spans of the grounds marked; a span that does not lie
    within its text, or within another mark, is left out."""
    spans: dict[str, list[tuple[int, int]]] = {}
    for one in evidence:
        span = None if isinstance(one, str) else one.get("span")
        if span:
            spans.setdefault(str(span[0]), []).append((int(span[1]), int(span[2])))
    return {name: _with_marks(text or "", spans.get(name, ())) for name, text in texts.items()}


def _with_marks(text: str, spans: Iterable[tuple[int, int]]) -> Markup:
    found, done = Markup(""), 0
    for start, end in sorted(set(spans)):
        if done <= start < end <= len(text):
            found += escape(text[done:start]) + Markup("<mark>{}</mark>").format(text[start:end])
            done = end
    return found + escape(text[done:])


# --- sentences ---------------------------------------------------------------------------------


def veto(key: str) -> Sentence:
    """Why something that fits was not booked without a person."""
    if words.has_text(f"veto.{key}"):
        return Sentence(str(t(f"veto.{key}")))
    return Sentence(key.replace("_", " "), "en")


def say(english: str) -> Sentence:
    """The sentence in the reader's language."""
    for pattern, german in _table():
        found = pattern.fullmatch(english)
        if found:
            values = {name: _local(value) for name, value in found.groupdict().items()}
            template = german if words.language() == "de" else _ENGLISH[pattern]
            return Sentence(_filled(template, values))
    return Sentence(english, None if words.language() == "en" else "en")


def _filled(template: str, values: dict[str, str]) -> str:
    # Not str.format: the values are a bank's and may hold braces.
    text = _NAME.sub(lambda name: values[name[1]], template)
    return text[:1].upper() + text[1:]


def _local(value: str) -> str:
    """Amounts as the reader writes them; words that have a translation of their own."""
    if _DECIMAL.fullmatch(value):
        locale = "de" if words.language() == "de" else "en_GB"
        return format_decimal(Decimal(value), format="#,##0.00#", locale=locale)
    key = f"sentence_word.{value.replace(' ', '_')}"
    return str(t(key)) if words.has_text(key) else value


@cache
def _table() -> tuple[tuple[re.Pattern[str], str], ...]:
    pairs = tomllib.loads((TEXTS / "sentences.toml").read_text("utf-8"))["sentences"]
    return tuple((_pattern(pair["en"]), pair["de"]) for pair in pairs)


_ENGLISH: dict[re.Pattern[str], str] = {}


def _pattern(english: str) -> re.Pattern[str]:
    """A pattern for the sentence; a name stands for anything, ``number`` for digits."""
    parts = _NAME.split(english)
    source = "".join(
        re.escape(piece) if at % 2 == 0 else f"(?P<{piece}>{_shape(piece)})"
        for at, piece in enumerate(parts)
    )
    pattern = re.compile(source, re.DOTALL)
    _ENGLISH[pattern] = english
    return pattern


def _shape(name: str) -> str:
    return r"[\d.,]+" if name in {"amount", "owed", "number", "count", "percent"} else ".+?"
