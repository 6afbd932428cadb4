"""A merchant's own words in the mails to customers: what they may hold, and what is made of them.

A file of its own because these are the only words that are not ours. They are plain text with
``**bold**``, ``[words](https://...)`` and ``{fact}``; everything else is shown as it was typed.
They are put in where our own stand (``wording.py``), so they never meet Jinja, MJML or any other
compiler. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Final

from server.mail.kinds import KINDS
from server.mail.rules import MAX_LINK_LENGTH, Name, Part, clean, parse, skeleton
from server.mail.wording import (
    PARAGRAPH,
    Words,
    labels_of,
    put_in,
    texts_of,
    words_of,
)

MAX_WORDS_BYTES: Final = 64_000
MAX_BLOCK_LENGTH: Final = 4000
MAX_PARAGRAPHS: Final = 50

PLAIN: Final = ("subject", "preheader", "title")
"""Blocks that stand where no markup can: stars and brackets in them are shown."""

LINES: Final = (*PLAIN, "greeting", "hint", "reply", "closing")
BLOCKS: Final = (*PLAIN, "greeting", "intro", "next", "trouble", "hint", "reply", "closing")
"""In the order of the mail."""

# In these cases something is to be said that the merchant's words, written for the usual one, do
# not say: the new amount, that it is the last notice, that a part has come. Ours stay.
SPECIAL_CASES: Final = ("amount_changed", "sent_again", "is_last", "received_total", "is_refused")

_USUALLY_THERE: Final = frozenset({"recipient_name"})
# Facts that choose sentences, hold a code or are a list: nothing to show in a line.
_NO_PLACEHOLDERS: Final = frozenset(
    "prepayment amount_changed sent_again is_last is_refused form_at form_ch is_structured girocode"
    " swiss_qr payments".split()
)
_PLACEHOLDER: Final = re.compile(r"\{([a-z_]+)\}")
_BOLD: Final = re.compile(r"\*\*([^*\n]+)\*\*")
_URL: Final = r"https://[A-Za-z0-9._~:/?#@!$&+,;=%-]+|\{[a-z_]+_url\}"
_LINK: Final = re.compile(rf"\[([^\[\]<>\n]{{1,200}})\]\(({_URL})\)")
_EMPTY_LINE: Final = re.compile(r"\n[ \t]*\n\s*")


class BlockError(ValueError):
    """Own words that make no mail: ``block`` is which, "" for all; the text says why."""

    def __init__(self, block: str, reason: str) -> None:
        super().__init__(f"{block or 'all blocks'}: {reason}")
        self.block = block


def blocks_of(kind: str, edition: str) -> dict[str, str]:
    """Our words of the blocks that a merchant may replace, in the notation of his own.

    They say the usual case, without what depends on facts that are not in every mail. Kinds that
    merchants read have none.
    """
    if KINDS[kind].reader != "customer":
        return {}
    texts = texts_of(edition)
    ours = {**texts["common"], **texts[kind]}
    used = skeleton(kind, "html") + skeleton(kind, "txt")
    shown = {name for name in BLOCKS if re.search(rf"(?:words|paragraphs)\.{name} ", used)}
    return {name: _usual(ours[name]) for name in BLOCKS if name in shown}


def placeholders_of(kind: str) -> frozenset[str]:
    """The facts that own words may name."""
    return (KINDS[kind].required | KINDS[kind].optional) - _NO_PLACEHOLDERS


def build_one(kind: str, edition: str, words: Mapping[str, str]) -> tuple[str, str]:
    """(HTML, text) of a kind with own ``words`` by block, for ``template_of``; ours where none are.

    A paragraph that names a fact which a mail does not have is left out of it; a line that does
    is ours in that mail. Raises BlockError.
    """
    known = blocks_of(kind, edition)
    if sum(len(text.encode("utf-8", "replace")) for text in words.values()) > MAX_WORDS_BYTES:
        raise BlockError("", f"{MAX_WORDS_BYTES} bytes are the most")
    ours = words_of(kind, edition)
    own = {}
    for block, text in words.items():
        if block not in known:
            raise BlockError(clean(block)[:40], f"{kind} has no such block")
        try:
            own[block] = _own(kind, block, text, ours[block])
        except ValueError as problem:
            raise BlockError(block, str(problem)) from None
    labels = labels_of(edition)
    html = put_in(skeleton(kind, "html"), ours | own, labels, "html")
    return html, put_in(skeleton(kind, "txt"), ours | own, labels, "txt")


def _own(kind: str, block: str, text: str, ours: Words) -> Words:
    """The forms of one own block, with ours for the cases that it does not cover."""
    if len(text) > MAX_BLOCK_LENGTH:
        raise ValueError(f"{MAX_BLOCK_LENGTH} characters are the most, not {len(text)}")
    lines = [clean(line).strip() for line in text.splitlines()]
    tidy = "\n".join(lines).strip()
    if not tidy:
        raise ValueError("there is no text")
    if block in LINES and "\n" in tidy:
        raise ValueError("it must be one line")
    optional = KINDS[kind].optional
    paragraphs = _EMPTY_LINE.split(tidy)
    if len(paragraphs) > MAX_PARAGRAPHS:
        raise ValueError(f"{MAX_PARAGRAPHS} paragraphs are the most, not {len(paragraphs)}")
    formed_ones = []
    for paragraph in paragraphs:
        needed = sorted(_named(kind, paragraph) & optional)
        formed_one = _formed(paragraph, is_plain=block in PLAIN)
        without = ours if block in LINES else Words("", "", "")
        for name in needed:
            formed_one = _either(name, formed_one, without)
        formed_ones.append(formed_one)
    whole = Words(
        line="".join(one.line for one in formed_ones),
        paragraphs="".join(one.paragraphs for one in formed_ones),
        plain="\n\n".join(one.plain for one in formed_ones),
    )
    for name in SPECIAL_CASES:
        if name in optional and "{{#" + name + "}}" in ours.plain:
            whole = _either(name, ours, whole)
    return whole


def _named(kind: str, text: str) -> frozenset[str]:
    """The facts that a text names. ValueError for what is none, and for any other brace."""
    named = frozenset(_PLACEHOLDER.findall(text))
    for unknown in sorted(named - placeholders_of(kind)):
        raise ValueError(f"{{{unknown}}} is no fact of this kind")
    if re.search(r"[{}]", _PLACEHOLDER.sub("", text)):
        raise ValueError("braces only stand around the name of a fact")
    return named


def _formed(text: str, *, is_plain: bool) -> Words:
    """ValueError if a link is none that a mail may have."""
    safe = escape(text, quote=True)
    if is_plain:
        return Words(_marked(safe), _marked(f"{PARAGRAPH}{safe}</p>"), _marked(text))
    for link in _LINK.finditer(text):
        if len(link[2]) > MAX_LINK_LENGTH:
            raise ValueError(f"a link has at most {MAX_LINK_LENGTH} characters")
    html = _LINK.sub(
        r'<a href="\2" style="color: {{ theme.link }}">\1</a>', _BOLD.sub(_strong, safe)
    )
    if "](" in html or "](" in _LINK.sub("", text):
        raise ValueError("a link is written [words](https://address)")
    html = _marked(html).replace("\n", "<br />")
    plain = _LINK.sub(r"\1 (\2)", _BOLD.sub(r"\1", text))
    return Words(html, f"{PARAGRAPH}{html}</p>", _marked(plain))


def _strong(bold: re.Match[str]) -> str:
    return f"<strong>{bold[1]}</strong>"


def _marked(text: str) -> str:
    """``{fact}`` becomes the mark that is filled in; marks that are there stay."""
    return _PLACEHOLDER.sub(r"{{ \1 }}", text)


def _either(name: str, if_there: Words, if_not: Words) -> Words:
    def form(one: str, other: str) -> str:
        return f"{{{{#{name}}}}}{one}{{{{/{name}}}}}{{{{^{name}}}}}{other}{{{{/{name}}}}}"

    return Words(
        form(if_there.line, if_not.line),
        form(if_there.paragraphs, if_not.paragraphs),
        form(if_there.plain, if_not.plain),
    )


def _usual(text: str) -> str:
    """One of our texts as it reads with no more than usual facts, in the merchant's notation."""
    return "".join(_told(parse(text))).strip()


def _told(nodes: Iterable[str | Name | Part]) -> Iterable[str]:
    for node in nodes:
        if isinstance(node, str):
            yield node
        elif isinstance(node, Name):
            yield f"{{{node.name}}}"
        elif node.if_absent is not (node.name in _USUALLY_THERE):
            yield from _told(node.body)
