"""The words of mails, and how they get into the compiled templates. Pure; reads only files beside.

A file of its own because a template is compiled once a kind, without words, and every edition's
words are put in when it is loaded: thirteen kinds in nine editions would otherwise be megabytes
of the same HTML, and a merchant's own words would have to meet the compiler.

A compiled template asks for words by marks (``{{ words.title }}``):

    words.x        one line, its ``**bold**`` as a tag
    paragraphs.x   the same with an empty line between paragraphs
    labels.x       a name beside a value
    columns.x      the same, in plain text, filled up to the column where values begin
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import Final

from server.mail.languages import is_swiss, parents_of

TEXTS: Final = Path(__file__).parent / "templates" / "texts"
LABEL_COLUMNS: Final = 20  # where values begin in plain text
PARAGRAPH: Final = '<p style="margin: 0 0 16px 0">'

_MARK: Final = re.compile(r"\{\{ (words|paragraphs|labels|columns)\.([a-z_]+) \}\}")
_BOLD: Final = re.compile(r"\*\*(.+?)\*\*")
_EMPTY_LINE: Final = re.compile(r"\n\s*\n")


class WordsError(ValueError):
    """A text that a template asks for does not exist."""


@dataclass(frozen=True, slots=True)
class Words:
    """One text in the forms that it is shown in; fact marks still in it."""

    line: str  # HTML inside an element
    paragraphs: str  # HTML, a <p> each
    plain: str


def words_of(kind: str, edition: str) -> dict[str, Words]:
    """All texts of a kind, its own and those that all kinds share, by name."""
    texts = texts_of(edition)
    shared = {**texts["common"], **texts.get(kind, {})}
    return {name: formed(text) for name, text in shared.items()}


def labels_of(edition: str) -> dict[str, Words]:
    """The names beside values, by name."""
    return {name: formed(text) for name, text in texts_of(edition)["labels"].items()}


def put_in(
    skeleton: str, words: Mapping[str, Words], labels: Mapping[str, Words], form: str
) -> str:
    """A compiled template with its words; ``form`` is ``html`` or ``txt``. Raises WordsError."""

    def found(mark: re.Match[str]) -> str:
        group, name = mark[1], mark[2]
        is_label = group == "labels" or (group == "columns" and name in labels)
        text = labels.get(name) if is_label else words.get(name)
        if text is None:
            raise WordsError(f"there are no words for {mark[0]}")
        if group == "columns":
            return f"{text.plain}{words['colon'].plain} ".ljust(LABEL_COLUMNS)
        if form == "txt":
            return text.plain
        return text.paragraphs if group == "paragraphs" else text.line

    return _MARK.sub(found, skeleton)


def formed(text: str) -> Words:
    """The forms of one of our own texts."""
    line = _BOLD.sub(r"<strong>\1</strong>", escape(text, quote=True))
    paragraphs = "".join(f"{PARAGRAPH}{part}</p>" for part in _EMPTY_LINE.split(line))
    return Words(line, paragraphs, text.replace("**", ""))


@cache
def texts_of(edition: str) -> dict[str, dict[str, str]]:
    """The texts of an edition by group (``common``, ``labels``, a kind) and name.

    An edition's file holds what differs from the more general ones. Swiss German has no ß.
    """
    texts: dict[str, dict[str, str]] = {}
    for parent in parents_of(edition):
        path = TEXTS / f"{parent}.toml"
        if path.exists():
            for group, part in tomllib.loads(path.read_text("utf-8")).items():
                stripped = {name: text.strip(" \n") for name, text in part.items()}
                texts[group] = {**texts.get(group, {}), **stripped}
    if is_swiss(edition):
        texts = {
            group: {name: text.replace("ß", "ss") for name, text in part.items()}
            for group, part in texts.items()
        }
    return texts
