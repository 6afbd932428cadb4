"""Whether a payer's name is a customer's, after what banks and people do to names."""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, Literal

from server.matching.rules.facts import Payer

Likeness = Literal["full", "company", "initial", "family", "unknown", "different"]

_RANK: Final[dict[Likeness, int]] = {
    "full": 5,
    "company": 4,
    "initial": 3,
    "family": 2,
    "unknown": 1,
    "different": 0,
}
_WORD: Final = re.compile(r"[^\W\d_]+")
_TITLES: Final = frozenset(
    "HERR HERRN FRAU DR PROF DIPL ING MAG MR MRS MS FAM FAMILIE FIRMA EHELEUTE UND AND".split()
)
_LEGAL_FORMS: Final = frozenset(
    "GMBH MBH UG AG KG KGAA OHG GBR EK EV EG SE CO LTD INC LLC SARL SAS SA BV NV SPA SRL "
    "HAFTUNGSBESCHRANKT HAFTUNGSBESCHRAENKT GGMBH E K V".split()
)
_GERMAN: Final = str.maketrans(
    {"Ä": "AE", "Ö": "OE", "Ü": "UE", "Ø": "OE", "Å": "AA", "Æ": "AE", "Œ": "OE", "ß": "SS"}
)
_PLAIN: Final = str.maketrans(
    {"Ø": "O", "Æ": "AE", "Œ": "OE", "ß": "SS", "Ł": "L", "Đ": "D", "Þ": "TH"}
)
MIN_COMPANY_WORD: Final = 5  # letters; a shorter single word is no company by itself


def likeness(counterparty_name: str | None, payers: Iterable[Payer]) -> Likeness:
    """How far the name on the account agrees with the best of the order's names.

    ``family``: only the family name; ``initial``: that and the first letter of the first name;
    ``unknown``: one side has no name.
    """
    words = _words(counterparty_name or "")
    known = [payer for payer in payers if payer.last_name or payer.company]
    if not words or not known:
        return "unknown"
    return max((_compare(words, payer) for payer in known), key=lambda likeness: _RANK[likeness])


def telling_words(name: str | None) -> tuple[str, ...]:
    """The words of an account holder's name by which an order may be looked for."""
    words = _words(name or "")
    return tuple(word for word in words if len(word) > 1 and _plain(word) not in _LEGAL_FORMS)


def same_name(one: str | None, other: str | None) -> bool:
    """Whether two account holders are written with the same words, in whatever order."""
    if one is None or other is None:
        return False
    first, second = _words(one), _words(other)
    return bool(first) and len(first) == len(second) and all(_among(w, second) for w in first)


def _compare(words: tuple[str, ...], payer: Payer) -> Likeness:
    company = [word for word in _words(payer.company) if _plain(word) not in _LEGAL_FORMS]
    telling = len(company) > 1 or any(len(word) >= MIN_COMPANY_WORD for word in company)
    if telling and all(_among(word, words) for word in company):
        return "company"
    family = _words(payer.last_name)
    if not family or not any(_among(word, words) for word in family if len(word) > 1):
        return "different"
    others = tuple(word for word in words if not _among(word, family)) or words
    first_names = _words(payer.first_name)
    if any(_among(word, others if len(family) == 1 else words) for word in first_names):
        return "full"
    initials = {variant[0] for word in first_names for variant in variants(word)}
    if any(len(word) == 1 and _plain(word) in initials for word in others):
        return "initial"
    return "family"


def _among(word: str, words: tuple[str, ...]) -> bool:
    return any(variants(word) & variants(other) for other in words)


@lru_cache(maxsize=50_000)
def _words(name: str) -> tuple[str, ...]:
    composed = unicodedata.normalize("NFC", name)
    found = ("".join(map(_capital, word)) for word in _WORD.findall(composed))
    return tuple(word for word in found if _plain(word) not in _TITLES)


def _capital(letter: str) -> str:
    """The capital that still shows where a letter was not ASCII: ß stays, ı becomes İ."""
    return {"ß": "ß", "ı": "İ"}.get(letter, letter.upper())


@lru_cache(maxsize=50_000)
def variants(word: str) -> frozenset[str]:
    """The spellings a capital word takes on its way: Ü as UE, as U, or dropped altogether."""
    german = _plain(word.translate(_GERMAN))
    plain = _plain(word)
    bare = _plain(word.replace("ß", "S"))
    dropped = "".join(character for character in word if character.isascii())
    spellings = {german, plain, bare, dropped}
    folded = {re.sub("([AOU])E", r"\1", spelling) for spelling in spellings}
    return frozenset(spelling for spelling in spellings | folded if spelling)


def _plain(word: str) -> str:
    decomposed = unicodedata.normalize("NFKD", word.translate(_PLAIN))
    return "".join(character for character in decomposed if character.isascii())
