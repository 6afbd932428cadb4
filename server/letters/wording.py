"""The words of letters in every edition, and how facts are put into them. Pure.

A file of its own because words are no layout. An edition is a language, for German also with a
form of address and the wording of Switzerland; it holds what differs from the one it builds on.

    {{ name }}               the fact
    {{#name}} ... {{/name}}  only if the fact is there
    {{^name}} ... {{/name}}  only if it is not there
    **...**                  bold;  an empty line starts a paragraph
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from server.letters.letterset import STRONG, printable

TEXTS: Final = Path(__file__).parent / "texts"
EDITIONS: Final = ("de", "de-du", "de-CH", "de-CH-du", "en", "fr", "it", "nl", "es")
BILL_LANGUAGES: Final = frozenset({"de", "fr", "it", "en"})
"""A QR-bill is written in one of these (SIX, QR-bill, 3.1)."""

Words = Mapping[str, str]
_MARK: Final = re.compile(r"\{\{([#^/]?) ?([a-z_]+) ?\}\}")


@cache
def words_of(edition: str, section: str) -> Words:
    """The words of one section. KeyError for an edition or a section that there is not."""
    if edition not in EDITIONS:
        raise KeyError(edition)
    found: dict[str, str] = {}
    for parent in _parents(edition):
        found |= _file(parent).get(section, {})
    if not found:
        raise KeyError(section)
    if "CH" in edition.split("-"):  # Switzerland writes no sharp s
        found = {name: text.replace("ß", "ss") for name, text in found.items()}
    return {name: text.replace("**", STRONG) for name, text in found.items()}


def language_of(edition: str) -> str:
    return edition.partition("-")[0]


def filled(text: str, facts: Mapping[str, str]) -> str:
    """The text with its facts; KeyError for a mark that is no fact, ValueError for an open part."""
    pieces: list[str] = []
    hidden: list[tuple[str, bool]] = []
    at = 0
    for mark in _MARK.finditer(text):
        is_shown = not any(is_hidden for _, is_hidden in hidden)
        if is_shown:
            pieces.append(text[at : mark.start()])
        at = mark.end()
        sign, name = mark[1], mark[2]
        if sign == "/":
            if not hidden or hidden.pop()[0] != name:
                raise ValueError(f"{{{{/{name}}}}} closes what is not open")
        elif sign:
            hidden.append((name, bool(facts[name]) is (sign == "^")))
        elif is_shown:
            pieces.append(printable(facts[name]))
    if hidden:
        raise ValueError(f"{{{{#{hidden[-1][0]}}}}} is never closed")
    return "".join([*pieces, text[at:]])


def paragraphs(text: str) -> list[list[tuple[bool, str]]]:
    """Filled text as paragraphs of (is bold, words)."""
    return [
        [(bool(number % 2), words) for number, words in enumerate(part.split(STRONG)) if words]
        for part in re.split(r"\n\s*\n", text.strip())
        if part.strip()
    ]


def _parents(edition: str) -> tuple[str, ...]:
    """The editions whose words this one builds on, the most general first, itself last."""
    parts = edition.split("-")
    own = [f"{parts[0]}-{part}" for part in sorted(parts[1:], reverse=True)]
    return (parts[0], *own, *([edition] if len(parts) > 2 else []))


@cache
def _file(edition: str) -> Mapping[str, Words]:
    content: Mapping[str, Words] = tomllib.loads((TEXTS / f"{edition}.toml").read_text("utf-8"))
    return content
