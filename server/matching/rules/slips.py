"""Slips of the pen: what may have been meant by a number that is written otherwise."""

from collections.abc import Iterator, Set
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


def near(key: str, lengths: Set[int] | None) -> set[str]:
    """Keys one slip away: characters exchanged, wrong, missing, too many, or mistaken for others.

    Only of the lengths that some key has, if they are known.
    """
    folded = fold_look_alikes(key)
    alphabet = DIGITS if folded.isdigit() else LETTERS_AND_DIGITS
    size = len(key)
    found: set[str] = set()
    if lengths is None or size in lengths:
        found.add(folded)
        found.update(_alike(key))
        for at in range(size - 1):
            found.add(key[:at] + key[at + 1] + key[at] + key[at + 2 :])
        for at in range(size):
            left, right = key[:at], key[at + 1 :]
            found.update([left + character + right for character in alphabet])
    if lengths is None or size + 1 in lengths:
        for cut in range(size + 1):
            left, right = key[:cut], key[cut:]
            found.update([left + character + right for character in alphabet])
    if lengths is None or size - 1 in lengths:
        found.update([key[:at] + key[at + 1 :] for at in range(size)])
    found.discard(key)
    return found


def slip_of(written: str, meant: str) -> str:
    """The slip by which ``meant``, one of ``near(written)``, became ``written``.

    ``look_alike`` (however many characters), ``swapped``, ``missing`` (the payer left one out),
    ``doubled``, ``extra``, ``substituted``.
    """
    if len(written) < len(meant):
        return "missing"
    at = next(
        (n for n, pair in enumerate(zip(written, meant, strict=False)) if pair[0] != pair[1]), -1
    )
    if len(written) > len(meant):
        at = len(meant) if at < 0 else at
        return "doubled" if at > 0 and written[at] == written[at - 1] else "extra"
    if fold_look_alikes(written) == fold_look_alikes(meant):
        return "look_alike"
    is_swapped = written[at : at + 2] == meant[at : at + 2][::-1]
    return "swapped" if is_swapped and written[at + 2 :] == meant[at + 2 :] else "substituted"


def _alike(key: str) -> Iterator[str]:
    """Codes of letters and digits in which several characters were mistaken."""
    ways = [_ALIKE.get(character, character) for character in key]
    if key.isdigit() or prod(map(len, ways)) > MOST_ALIKE:
        return
    for characters in product(*ways):
        yield "".join(characters)
