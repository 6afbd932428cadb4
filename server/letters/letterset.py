"""Which letters can be printed: those of the font that is shipped. Pure but for reading it.

A file of its own because a letter that the font lacks would be a hole in the text, and a PDF/A may
have none. The table is read from the font itself (OpenType, ``cmap``), so that a newer font is
right by itself.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from struct import unpack_from
from typing import Final

FONTS: Final = Path(__file__).parent / "fonts"
_FILES: Final = ("LiberationSans-Regular.ttf", "LiberationSans-Bold.ttf")
STRONG: Final = "\ue000"
"""Stands where bold begins or ends in a text; no reader's text may hold it."""
MISSING: Final = "?"
_NO_LETTER: Final = frozenset({"Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp"})
_BLANKS: Final = re.compile(" {2,}")
_ORNAMENT: Final = frozenset({"So", "Sk", "Mn", "Me"})


def printable(text: str) -> str:
    """The text as it can be printed: controls become spaces, ornaments that the font lacks go.

    A letter that it lacks loses its accent, or becomes a question mark.
    """
    return _BLANKS.sub(" ", "".join(_printed(unicodedata.normalize("NFC", text)))).strip()


def unprintable_letters(text: str) -> str:
    """The letters of other scripts that would become question marks, each once."""
    known = _known()
    found = dict.fromkeys(
        letter
        for letter in unicodedata.normalize("NFC", text)
        if ord(letter) not in known and letter.isalnum() and not _without_accent(letter)
    )
    return "".join(found)


def _printed(text: str) -> Iterator[str]:
    known = _known()
    for letter in text:
        category = unicodedata.category(letter)
        if letter == "\n" or (ord(letter) in known and category not in _NO_LETTER):
            yield letter
        elif category in _NO_LETTER:
            yield "" if category == "Cf" else " "
        elif category not in _ORNAMENT:
            yield _without_accent(letter) or MISSING


def _without_accent(letter: str) -> str:
    known = _known()
    parts = unicodedata.normalize("NFKD", letter)
    return "".join(part for part in parts if ord(part) in known and part.isprintable())


@cache
def _known() -> frozenset[int]:
    """Code points that every one of our fonts has."""
    regular, bold = (frozenset(_code_points((FONTS / name).read_bytes())) for name in _FILES)
    return regular & bold


def _code_points(font: bytes) -> Iterator[int]:
    """Of the table in format 4 for the basic plane, which every TrueType font has."""
    tables = unpack_from(">H", font, 4)[0]
    for number in range(tables):
        tag, _, offset, _ = unpack_from(">4sLLL", font, 12 + 16 * number)
        if tag == b"cmap":
            yield from _mapped(font, offset)
            return


def _mapped(font: bytes, cmap: int) -> Iterator[int]:
    for number in range(unpack_from(">H", font, cmap + 2)[0]):
        offset = cmap + unpack_from(">HHL", font, cmap + 4 + 8 * number)[2]
        if unpack_from(">H", font, offset)[0] == 4:
            yield from _of_segments(font, offset)
            return


def _of_segments(font: bytes, at: int) -> Iterator[int]:
    """Each segment maps its code points by a shift, or through a list of glyphs where 0 is none."""
    count = unpack_from(">H", font, at + 6)[0] // 2
    ends = unpack_from(f">{count}H", font, at + 14)
    starts = unpack_from(f">{count}H", font, at + 16 + 2 * count)
    shifts = unpack_from(f">{count}h", font, at + 16 + 4 * count)
    ranges_at = at + 16 + 6 * count
    ranges = unpack_from(f">{count}H", font, ranges_at)
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        for point in range(start, min(end, 0xFFFE) + 1):
            if ranges[number] == 0:
                glyph = (point + shifts[number]) & 0xFFFF
            else:
                place = ranges_at + 2 * number + ranges[number] + 2 * (point - start)
                glyph = unpack_from(">H", font, place)[0]
            if glyph:
                yield point
