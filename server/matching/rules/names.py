"""Whether a payer's name is a customer's, after what banks and people do to names."""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from server.matching.rules.facts import Payer
from server.orders.rules import LEGAL_FORMS

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
_GERMAN: Final = str.maketrans(
    {"Ä": "AE", "Ö": "OE", "Ü": "UE", "Ø": "OE", "Å": "AA", "Æ": "AE", "Œ": "OE", "ß": "SS"}
)
_PLAIN: Final = str.maketrans(
    {"Ø": "O", "Æ": "AE", "Œ": "OE", "ß": "SS", "Ł": "L", "Đ": "D", "Þ": "TH"}
)
_UMLAUT: Final = re.compile("([AOU])E")
MIN_COMPANY_WORD: Final = 5  # letters; a shorter single word is no company by itself

Spellings = frozenset[str]


class Words(NamedTuple):
    """A name taken apart: its words, all their spellings, and those of one letter."""

    words: tuple[Spellings, ...]
    spellings: Spellings
    initials: Spellings


class Person(NamedTuple):
    """Under which words a customer may pay."""

    first: tuple[Spellings, ...]
    family: tuple[Spellings, ...]
    company: tuple[Spellings, ...]
    initials: Spellings
    telling: Spellings


class Likely(NamedTuple):
    """How far two names agree, and the word of the family or company that did.

    ``is_spoken``: not the account holder's name, but one that he wrote; ``is_added``: the name of
    the payer whom a person has told.
    """

    likeness: Likeness
    word: str = ""
    is_spoken: bool = False
    is_added: bool = False


UNKNOWN: Final = Likely("unknown")
DIFFERENT: Final = Likely("different")


def likeness(counterparty_name: str | None, payers: Iterable[Payer]) -> Likely:
    """How far the name on the account agrees with the best of the order's names.

    ``family``: only the family name; ``initial``: that and the first letter of the first name;
    ``unknown``: one side has no name.
    """
    words = words_of(counterparty_name or "")
    if not words.words:
        return UNKNOWN
    best, rank = UNKNOWN, -1
    for payer in payers:
        if not (payer.last_name or payer.company):
            continue
        person = _person(payer.first_name, payer.last_name, payer.company)
        if words.spellings.isdisjoint(person.telling):
            if rank < 0:
                best, rank = DIFFERENT, 0
            continue
        found = _compare(words, person)
        if payer.is_added and _RANK[found.likeness] >= _RANK["company"]:
            return found._replace(is_added=True)
        if _RANK[found.likeness] > rank:
            best, rank = found, _RANK[found.likeness]
    return best


@lru_cache(maxsize=50_000)
def telling_words(name: str | None) -> tuple[str, ...]:
    """The words of an account holder's name by which an order may be looked for."""
    words = _split(name or "")
    return tuple(word for word in words if len(word) > 1 and _plain(word) not in LEGAL_FORMS)


def same_name(one: str | None, other: str | None) -> bool:
    """Whether two account holders are written with the same words, in whatever order."""
    if one is None or other is None:
        return False
    first, second = words_of(one), words_of(other)
    return (
        bool(first.words)
        and len(first.words) == len(second.words)
        and all(word & second.spellings for word in first.words)
    )


def _compare(name: Words, person: Person) -> Likely:
    held = name.spellings
    if person.company and all(not held.isdisjoint(word) for word in person.company):
        return Likely("company", _longest(person.company))
    own = [word for word in person.family if not held.isdisjoint(word)]
    if not own:
        return DIFFERENT
    family = min(own[0] & held)
    used = frozenset().union(*own) if len(name.words) > 1 and len(person.family) == 1 else None
    others = [word for word in name.words if used is None or used.isdisjoint(word)] or name.words
    if any(not word.isdisjoint(first) for first in person.first for word in others):
        return Likely("full", family)
    if name.initials and not name.initials.isdisjoint(person.initials):
        return Likely("initial", family)
    return Likely("family", family)


def _longest(words: tuple[Spellings, ...]) -> str:
    return max((min(word) for word in words), key=lambda word: (len(word), word))


@lru_cache(maxsize=200_000)
def _person(first_name: str, last_name: str, company: str) -> Person:
    telling = [word for word in _split(company) if _plain(word) not in LEGAL_FORMS]
    if len(telling) < 2 and not any(len(word) >= MIN_COMPANY_WORD for word in telling):
        telling = []
    first = tuple(variants(word) for word in _split(first_name))
    family = tuple(variants(word) for word in _split(last_name) if len(word) > 1)
    firm = tuple(variants(word) for word in telling)
    initials = frozenset(spelling[0] for word in first for spelling in word)
    return Person(first, family, firm, initials, frozenset().union(*family, *firm))


@lru_cache(maxsize=50_000)
def words_of(name: str) -> Words:
    """An account holder's name taken apart."""
    split = _split(name)
    words = tuple(variants(word) for word in split)
    initials = frozenset(_plain(word) for word in split if len(word) == 1)
    return Words(words, frozenset().union(*words), initials)


def _split(name: str) -> tuple[str, ...]:
    if name.isascii():
        return tuple(word for word in _WORD.findall(name.upper()) if word not in _TITLES)
    composed = unicodedata.normalize("NFC", name)
    found = ("".join(map(_capital, word)) for word in _WORD.findall(composed))
    return tuple(word for word in found if _plain(word) not in _TITLES)


def _capital(letter: str) -> str:
    """The capital that still shows where a letter was not ASCII: ß stays, ı becomes İ."""
    return {"ß": "ß", "ı": "İ"}.get(letter, letter.upper())


@lru_cache(maxsize=50_000)
def variants(word: str) -> Spellings:
    """The spellings a capital word takes on its way: Ü as UE, as U, or dropped altogether."""
    if word.isascii():
        folded_word = _UMLAUT.sub(r"\1", word)
        return frozenset((word, folded_word))
    german = _plain(word.translate(_GERMAN))
    plain = _plain(word)
    bare = _plain(word.replace("ß", "S"))
    dropped = "".join(character for character in word if character.isascii())
    spellings = {german, plain, bare, dropped}
    folded = {_UMLAUT.sub(r"\1", spelling) for spelling in spellings}
    return frozenset(spelling for spelling in spellings | folded if spelling)


def _plain(word: str) -> str:
    if word.isascii():
        return word
    decomposed = unicodedata.normalize("NFKD", word.translate(_PLAIN))
    return "".join(character for character in decomposed if character.isascii())
