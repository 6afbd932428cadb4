"""PDFs that shops make: whether they can be printed, whom they are addressed to, and putting some
together.

A file of its own because such a file may be hostile. Each question is answered by a child process
(``pdf_child``) that has little time and memory and, if it dies, takes nobody with it.

Refusals, as message keys: `not_pdf` `too_large` `broken` `encrypted` `scripts` (JavaScript)
`actions` (launches a program, sends a form, opens a file) `program_enclosed` `form_xfa` `media`
`too_many_pages` `page_size` (no page but A4, upright, is printed) `too_complex`. Enclosed files
that are no programs are no reason: an e-invoice encloses its XML.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

MAX_PAGES: Final = 50
MAX_BYTES: Final = 10 * 1024 * 1024
MAX_MERGED_PAGES: Final = 1_000
CHILD_SECONDS: Final = 30
MAX_ADDRESS_WORDS: Final = 40
ENOUGH: Final = 0.8
"""That share of an address's words must stand in the window: shops shorten and leave out."""

_CHILD: Final = Path(__file__).with_name("pdf_child.py")
_HEAD_BYTES: Final = 1024  # ISO 32000-1, annex H: readers look for the header there


class PdfRefused(ValueError):
    """A file that is not printed; ``args[0]`` is the message key."""


@dataclass(frozen=True, slots=True)
class PdfFacts:
    """``pages`` and ``size`` in bytes."""

    pages: int
    size: int


def checked_pdf(content: bytes) -> PdfFacts:
    """What is known of a file that can be printed. Raises PdfRefused."""
    if len(content) > MAX_BYTES:
        raise PdfRefused("too_large")
    if b"%PDF-" not in content[:_HEAD_BYTES]:
        raise PdfRefused("not_pdf")
    answer, _ = _ask("check", [content], MAX_PAGES)
    return PdfFacts(answer["pages"], len(content))


def is_addressed_to(content: bytes, recipient: Sequence[str]) -> bool:
    """Whether page 1 shows this address in one of the windows. Raises PdfRefused.

    Case, accents, punctuation and the usual short forms do not matter; the last line, postcode
    and city, must be there whole.
    """
    lines = [words for line in recipient if (words := _words(line))]
    if not lines:
        return False
    wanted = [word for words in lines for word in words][:MAX_ADDRESS_WORDS]
    for text in _windows(content):
        shown = _words(text)
        joined = "".join(shown)
        found = sum(word in shown or (len(word) > 3 and word in joined) for word in wanted)
        if found >= ENOUGH * len(wanted) and all(word in joined for word in lines[-1]):
            return True
    return False


def merge(contents: Iterable[bytes]) -> bytes:
    """The pages of all files, in their order, as one file. Raises PdfRefused."""
    return _ask("merge", list(contents), MAX_MERGED_PAGES)[1]


def _windows(content: bytes) -> list[str]:
    """What page 1 shows in the address windows of DIN 5008, forms A and B, and of Switzerland."""
    windows: list[str] = _ask("window", [content], MAX_PAGES)[0]["windows"]
    return windows


_STREET: Final = re.compile(r"str(?:a?ss?e|asse)?$|^str$")


def _words(text: str) -> list[str]:
    """Of a line as they are compared: small, without accents, umlauts as their base letter."""
    small = text.casefold()
    for digraph, letter in (("ae", "a"), ("oe", "o"), ("ue", "u")):
        small = small.replace(digraph, letter)
    plain = unicodedata.normalize("NFKD", small)
    letters = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return [_STREET.sub("str", word) for word in re.findall(r"[^\W_]+", letters)]


def _ask(question: str, contents: list[bytes], most_pages: int) -> tuple[dict[str, Any], bytes]:
    head = {"ask": question, "sizes": [len(each) for each in contents], "most_pages": most_pages}
    try:
        child = subprocess.run(  # noqa: S603  our own file
            [sys.executable, "-I", str(_CHILD)],
            input=b"".join([json.dumps(head).encode(), b"\n", *contents]),
            capture_output=True,
            timeout=CHILD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise PdfRefused("too_complex") from None
    line, _, content = child.stdout.partition(b"\n")
    if child.returncode != 0 or not line:
        raise PdfRefused("too_complex")
    answer: dict[str, Any] = json.loads(line)
    if "refused" in answer:
        raise PdfRefused(answer["refused"])
    return answer, content
