"""Slips of the pen: what may have been meant by a number that is written otherwise."""

from collections.abc import Iterator, Set
from functools import lru_cache
from itertools import product
from math import prod
from typing import Final

from server.orders.rules import fold_look_alikes

DIGITS: Final = "0123456789"
MOST_ALIKE: Final = 64
_ALIKE: Final = {
    character: "".join(dict.fromkeys((character, *group)))
    for group in ("0O", "1IL", "5S", "8B", "2Z", "6G")
    for character in group
}
LETTERS_AND_DIGITS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


@lru_cache(maxsize=2_000)
def near(key: str, lengths: frozenset[int] | None) -> dict[str, str]:
    """Keys one slip away, each with the slip by which ``key`` was written instead.

    ``look_alike`` (however many characters), ``swapped``, ``missing`` (the payer left one out),
    ``doubled``, ``extra``, ``substituted``. Only of the lengths that some key has, if they are
    known.
    """
    found: dict[str, str] = {}
    for other, slip in _near(key, lengths):
        if other not in found:
            found[other] = slip
    found.pop(key, None)
    return found


def _near(key: str, lengths: Set[int] | None) -> Iterator[tuple[str, str]]:
    folded = fold_look_alikes(key)
    alphabet = DIGITS if folded.isdigit() else LETTERS_AND_DIGITS
    size = len(key)
    if lengths is None or size in lengths:
        yield folded, "look_alike"
        yield from ((other, "look_alike") for other in _alike(key))
        yield from _same_length(key, alphabet)
    if lengths is None or size + 1 in lengths:
        for cut in range(size + 1):
            left, right = key[:cut], key[cut:]
            for character in alphabet:
                yield left + character + right, "missing"
    if lengths is None or size - 1 in lengths:
        for at in range(size):
            is_double = at > 0 and key[at] == key[at - 1]
            yield key[:at] + key[at + 1 :], "doubled" if is_double else "extra"


def _alike(key: str) -> Iterator[str]:
    """Codes of letters and digits in which several characters were mistaken."""
    ways = [_ALIKE.get(character, character) for character in key]
    if key.isdigit() or prod(map(len, ways)) > MOST_ALIKE:
        return
    for characters in product(*ways):
        yield "".join(characters)


def _same_length(key: str, alphabet: str) -> Iterator[tuple[str, str]]:
    for at in range(len(key) - 1):
        yield key[:at] + key[at + 1] + key[at] + key[at + 2 :], "swapped"
    for at, written in enumerate(key):
        left, right, eye = key[:at], key[at + 1 :], fold_look_alikes(written)
        for character in alphabet:
            alike = fold_look_alikes(character) == eye
            yield left + character + right, "look_alike" if alike else "substituted"
