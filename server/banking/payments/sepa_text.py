"""Texts as SEPA lets them be written.

Every bank of the area must take a small Latin set (EPC217-08, and the implementation guidelines
of the schemes); what is outside may be replaced by any bank on the way or make it refuse the
whole file. German banks have also agreed to take umlauts and four signs (Deutsche
Kreditwirtschaft, DFÜ-Abkommen, annex 3). So two ways of writing:

- a **name** keeps these letters. The receiving bank compares it with the holder's (Verification
  of Payee), and a bank that cannot carry an ``ü`` knows better than we how to replace it;
- a **text** is compared by nobody but read by machines at the far end, so it is written in
  the small set.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_SMALL: Final = r"A-Za-z0-9/?:().,'+\- "
_GERMAN: Final = "ÄÖÜäöüß&*$%"
_TEXT: Final = re.compile(f"[{_SMALL}]*")
_NAME: Final = re.compile(f"[{_SMALL}{re.escape(_GERMAN)}]*")
_IDENTIFIER: Final = re.compile(rf"(?![/ ])(?!.*//)[{_SMALL}]{{1,35}}(?<![/ ])")

# What has no base letter in Unicode, or a better neighbour than the full stop.
_REPLACED: Final = {
    **dict(zip("ÆæŒœØøĐđŁłÞþÐðĦħŊŋŦŧı", "AaOoOoDdLlTtDdHhNnTti", strict=True)),
    "ẞ": "SS",
    **dict.fromkeys('‘’‚‛`´"“”„‟«»‹›', "'"),
    **dict.fromkeys("‐‑‒–—―−_~", "-"),
    **dict.fromkeys("[{<", "("),
    **dict.fromkeys("]}>", ")"),
    "&": "+",
    "@": "(at)",
    "€": "EUR",
    ";": ",",
    "\\": "/",
    "|": "/",
}
_SPELLED: Final = {"Ä": "AE", "Ö": "OE", "Ü": "UE", "ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"}


def sepa_name(name: str) -> str:
    """A name in one line, umlauts kept, other Latin letters without their marks.

    ValueError ``name_not_latin`` if a letter of another script is in it: what we would make of
    it would be another name.
    """
    line = _one_line(name)
    if _NAME.fullmatch(line):
        return line
    return "".join(one if one in _GERMAN else _base(one, "name_not_latin") for one in line)


def sepa_text(text: str) -> str:
    """A text in one line, in the small set; what has no neighbour in it becomes a full stop."""
    line = _one_line(text)
    if _TEXT.fullmatch(line):
        return line
    return "".join(_SPELLED.get(one) or _base(one) for one in line)


def is_sepa_identifier(identifier: str) -> bool:
    """Whether it may be an identification: 1 to 35 of the small set, slashes only inside, single.

    Identifiers are refused and not rewritten: the bank's answer is recognised by them.
    """
    return _IDENTIFIER.fullmatch(identifier) is not None


def _one_line(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def _base(character: str, letter_refused: str | None = None) -> str:
    """The character in the small set. ValueError of that key if it is a letter without one."""
    if _TEXT.fullmatch(character):
        return character
    if replaced := _REPLACED.get(character):
        return replaced
    if unicodedata.combining(character):
        return ""
    base = "".join(one for one in unicodedata.normalize("NFKD", character) if one.isascii())
    if base and _TEXT.fullmatch(base):
        return base
    if letter_refused and character.isalpha():
        raise ValueError(letter_refused)
    return "."
