"""Sentences that other rooms wrote in English, in the reader's language.

Rules explain themselves in plain English sentences, which are stored with what they explain.
``texts/sentences.toml`` holds the German of each, with the same {names}; amounts in them are
written the reader's way. A sentence that the table does not know is shown as it is, marked as
English, so that nothing is ever hidden.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

from babel.numbers import format_decimal

from server.dashboard import words
from server.dashboard.words import TEXTS, t

_WEIGHT = re.compile(r" \(([+-]\d+\.\d)\)$")
_NAME = re.compile(r"\{(\w+)\}")
_DECIMAL = re.compile(r"-?\d+\.\d+")


@dataclass(frozen=True, slots=True)
class Sentence:
    """``language`` is the one it is in, where that is not the page's."""

    text: str
    language: str | None = None


LOOKS = {
    "for": ("check", "ok"),
    "neither": ("search", "off"),
    "against": ("warn", "warn"),
    "veto": ("warn", "warn"),
}
"""Icon and colour of each kind of reason, in the order in which they are read."""


@dataclass(frozen=True, slots=True)
class Reason:
    """What speaks for or against a suggestion, or why nobody booked it (`veto`)."""

    kind: str
    sentence: Sentence

    @property
    def icon(self) -> str:
        return LOOKS[self.kind][0]

    @property
    def colour(self) -> str:
        return LOOKS[self.kind][1]


def reasons(evidence: Sequence[str], vetoes: Sequence[str]) -> list[Reason]:
    """What is shown beside a suggestion, what speaks for it first."""
    found = [Reason(_kind(one), say(_WEIGHT.sub("", one))) for one in evidence]
    found += [Reason("veto", veto(one)) for one in vetoes]
    return sorted(found, key=lambda reason: list(LOOKS).index(reason.kind))


def _kind(sentence: str) -> str:
    found = _WEIGHT.search(sentence)
    weight = Decimal(found[1]) if found else Decimal(1)
    return "for" if weight > 0 else "against" if weight < 0 else "neither"


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
