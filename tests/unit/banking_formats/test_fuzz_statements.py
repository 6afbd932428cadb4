"""Damaged statements: nothing crashes, nothing hangs, and nothing is booked that is not there.

Every fixture of a statement is a seed, whatever its format: a new one is found by itself. It is
cut, doubled, swapped and re-encoded by chance. ``make torture`` runs the full count of damages.
"""

from __future__ import annotations

import io
import random
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from itertools import combinations
from pathlib import Path
from types import FrameType

import pytest

from server.banking.formats import (
    ParsedPosting,
    Problem,
    StatementFacts,
    Unreadable,
    parse,
    to_wire,
)
from server.banking.formats.fields import printed_amount

FIXTURES = Path(__file__).parents[2] / "fixtures" / "statements"
SEEDS = sorted(path for path in FIXTURES.iterdir() if path.suffix != ".json")
FORMATS = sorted({path.suffix for path in SEEDS})

SAMPLE, FULL = 40, 500
HANG_SECONDS = 5
# The shortest thing that can be a posting or a problem of its own is a line with a few bytes; a
# line may give a posting and a problem for each of its dates, and facts at the end.
MOST_ITEMS_A_LINE = 4
ENCODINGS = ("utf-8", "latin-1", "cp1252", "cp850", "utf-16")

Damage = Callable[[bytes, random.Random], bytes]


def cut(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content))]


def doubled(content: bytes, chance: random.Random) -> bytes:
    begin, end = span(content, chance)
    return content[:end] + content[begin:end] + content[end:]


def deleted(content: bytes, chance: random.Random) -> bytes:
    begin, end = span(content, chance)
    return content[:begin] + content[end:]


def swapped_bytes(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.randrange(1, 12)):
        one, other = chance.randrange(len(changed)), chance.randrange(len(changed))
        changed[one], changed[other] = changed[other], changed[one]
    return bytes(changed)


def random_bytes(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.randrange(1, 12)):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def swapped_lines(content: bytes, chance: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    for _ in range(chance.randrange(1, 6)):
        one, other = chance.randrange(len(lines)), chance.randrange(len(lines))
        lines[one], lines[other] = lines[other], lines[one]
    return b"".join(lines)


def wrong_encoding(content: bytes, chance: random.Random) -> bytes:
    read, written = chance.choice(ENCODINGS[:-1]), chance.choice(ENCODINGS)
    return content.decode(read, errors="replace").encode(written, errors="replace")


def span(content: bytes, chance: random.Random) -> tuple[int, int]:
    begin = chance.randrange(len(content))
    return begin, min(len(content), begin + chance.choice((1, 7, 60, 400, 3_000)))


DAMAGES: tuple[Damage, ...] = (
    cut,
    doubled,
    deleted,
    swapped_bytes,
    random_bytes,
    swapped_lines,
    wrong_encoding,
)


@contextmanager
def watched(name: str) -> Iterator[None]:
    """A hang ends with the place it hangs at; the tests themselves never measure time."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise AssertionError(f"still not read after {HANG_SECONDS} s: {name}")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(HANG_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def damaged(suffix: str, count: int) -> Iterator[tuple[str, bytes]]:
    seeds = [path for path in SEEDS if path.suffix == suffix]
    for number in range(count):
        path = seeds[number % len(seeds)]
        chance = random.Random(f"{path.name} {number}")
        content = path.read_bytes()
        damages = chance.sample(DAMAGES, chance.choice((1, 1, 2)))
        for damage in damages:
            content = damage(content, chance) or b" "
        yield f"{path.name} {number} {' '.join(one.__name__ for one in damages)}", content


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(
    "count", [SAMPLE, pytest.param(FULL, marks=pytest.mark.torture)], ids=["sample", "full"]
)
def test_damaged_statements(suffix: str, count: int) -> None:
    readable = 0
    for name, content in damaged(suffix, count):
        with watched(name):
            readable += bool(check(name, content))
    assert readable > count // 5  # else the damages are too hard to show anything


def check(name: str, content: bytes) -> list[ParsedPosting]:
    found: list[ParsedPosting] = []
    count = 0
    try:
        for item in parse(io.BytesIO(content), name):
            count += 1
            assert isinstance(item, ParsedPosting | Problem | StatementFacts), name
            if isinstance(item, ParsedPosting):
                to_wire(item, name)
                hash(item)
                found.append(item)
    except Unreadable:
        assert not found, name
    limit = MOST_ITEMS_A_LINE * (1 + len(re.split(rb"[\r\n;><]+", content)))
    assert count <= limit, name
    assert_all_is_in_the_file(name, content, found)
    return found


def assert_all_is_in_the_file(name: str, content: bytes, found: list[ParsedPosting]) -> None:
    """Every amount stands in the bytes, or is what an entry and its listed payments leave over."""
    written = numbers(content) | sums_of_splits(content)
    for one in found:
        assert one.amount.is_finite(), name
        if digits(one.amount) in written:
            continue
        if one.entry is None:
            whole = (digits(one.amount + other.amount) for other in found if other is not one)
            assert not written.isdisjoint(whole), f"{name}: {one.amount} is nowhere"
            continue
        assert digits(one.entry.amount) in written, name
        listed = sum(
            other.amount for other in found if other.entry is one.entry and other is not one
        )
        assert one.amount == one.entry.amount - listed, f"{name}: {one.amount} is invented"


def sums_of_splits(content: bytes) -> set[str]:
    """What the parts of QIF records add up to: a record may leave the total to its parts."""
    if not content.lstrip().startswith(b"!"):
        return set()
    text = CONTROL.sub("", content.decode("utf-8", errors="replace").replace("\r", "\n"))
    found = set()
    for record in text.split("\n^"):
        parts = [printed_amount(one[1:]) for one in record.splitlines() if one.startswith("$")]
        for begin, end in combinations(range(len(parts) + 1), 2):
            found.add(digits(sum(filter(None, parts[begin:end]), Decimal(0))))
    return found


CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
# What may stand between the digits of one number: grouping, quotes of a CSV, signs of money, and
# what the damage made of them.
BETWEEN = r"""[\d.,'"’\s€$£¤\ufffd]"""
NUMBER = re.compile(rf"\d{BETWEEN}*\d|\d")


def numbers(content: bytes) -> set[str]:
    """The digits of all numbers in the file, however grouped, and of those inside of them.

    Separators may belong to a number (1.234,56) or stand between two, so every run of its groups
    counts. Control characters are no part of a text, so they may stand inside a number.
    """
    found: set[str] = set()
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    decoded = content.decode(encoding, errors="replace")
    for text in (decoded, CONTROL.sub("", decoded)):
        for printed in NUMBER.findall(text):
            groups = re.findall(r"\d+", printed)[:40]
            for begin, end in combinations(range(len(groups) + 1), 2):
                found.add(plain("".join(groups[begin:end])))
    return found


def plain(printed: str) -> str:
    return printed.strip("0") or "0"


def digits(amount: Decimal) -> str:
    """The digits of an amount without the zeros that writing it otherwise adds or leaves out."""
    return plain(f"{abs(amount):f}".replace(".", ""))
