"""Right, wrong, missed: what an engine's answers are worth against the truth.

A posting is *right* if it was decided automatically and both the set of orders and the amount on
each are true; *wrong* if it was decided automatically otherwise; *missed* if a person could have
told (it is assignable and not ambiguous) and the engine left it to one. Standard library only.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

CONFIDENCE: Final = 0.95
BINS: Final = 10
SURE: Final = 0.99
"""Calibration looks at what is less probable than this: above it nearly everything is right."""
HALVINGS: Final = 80
SERIES_TERMS: Final = 300
TINY: Final = 1e-300

Line = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """One posting, decided. ``best`` is the answer's first choice, automatic or suggested."""

    style: str
    kind: str
    is_assignable: bool
    is_ambiguous: bool
    is_auto: bool
    is_right: bool
    rank: int
    probability: float
    has_veto: bool
    has_answer: bool
    best_is_right: bool

    @property
    def is_wrong(self) -> bool:
        return self.is_auto and not self.is_right

    @property
    def is_missed(self) -> bool:
        return self.is_assignable and not self.is_ambiguous and not self.is_auto


@dataclass
class Tally:
    """Counts of a group of outcomes."""

    n: int = 0
    assignable: int = 0
    clear: int = 0
    clear_right: int = 0
    right: int = 0
    wrong: int = 0
    false_positive: int = 0
    left: int = 0
    first: int = 0
    among_three: int = 0
    reliability: list[list[float]] = field(
        default_factory=lambda: [[0.0, 0.0, 0.0] for _ in range(BINS)]
    )

    def add(self, one: Outcome) -> None:
        self.n += 1
        self.assignable += one.is_assignable
        self.right += one.is_right
        self.wrong += one.is_wrong
        self.false_positive += one.is_wrong and not one.is_assignable
        if one.is_assignable and not one.is_ambiguous:
            self.clear += 1
            self.clear_right += one.is_right
        if one.is_assignable and not one.is_auto:
            self.left += 1
            self.first += one.rank == 1
            self.among_three += 1 <= one.rank <= 3
        if one.has_answer and not one.has_veto and one.probability < SURE:
            place = self.reliability[min(int(one.probability * BINS), BINS - 1)]
            place[0] += 1
            place[1] += one.probability
            place[2] += one.best_is_right

    @property
    def unassignable(self) -> int:
        return self.n - self.assignable

    @property
    def calibration_error(self) -> float:
        """Expected calibration error: mean distance of what was said and what came, by bins."""
        count = sum(seen for seen, _, _ in self.reliability)
        return sum(abs(said - came) for _, said, came in self.reliability) / count if count else 0.0

    def as_json(self) -> Line:
        low, high = clopper_pearson(self.wrong, self.n)
        return {
            "n": self.n,
            "assignable": self.assignable,
            "right": self.right,
            "wrong": self.wrong,
            "assigned_share": ratio(self.clear_right, self.clear),
            "wrong_per_10000": [10000 * ratio(self.wrong, self.n), 10000 * low, 10000 * high],
            "false_positives": self.false_positive,
            "unassignable": self.unassignable,
            "left": self.left,
            "top_1": ratio(self.first, self.left),
            "top_3": ratio(self.among_three, self.left),
            "calibration_error": self.calibration_error,
            "reliability": self.reliability,
        }


def ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


# --- Judging ----------------------------------------------------------------------------------


def judged(style: str, truth: Line, answer: Line) -> Outcome:
    """What one answer of the engine is worth. Raises AssertionError if the ids differ."""
    assert truth["id"] == answer["id"], f"posting {truth['id']} was answered as {answer['id']}"
    true_orders = set(truth["orders"])
    is_auto = answer["decision"] == "auto"
    said = [one["order"] for one in answer["assignments"]]
    proposals = [one["orders"] for one in answer["suggestions"]]
    ranked = ([said] if said else []) + [one for one in proposals if set(one) != set(said)]
    rank = next((at for at, one in enumerate(ranked, 1) if set(one) == true_orders), 0)
    return Outcome(
        style=style,
        kind=truth["kind"],
        is_assignable=bool(true_orders),
        is_ambiguous=bool(truth["ambiguous"]),
        is_auto=is_auto,
        is_right=is_auto and bool(true_orders) and is_split_right(truth, answer),
        rank=rank if true_orders else 0,
        probability=float(answer["probability"]),
        has_veto=bool(answer["vetoes"]),
        has_answer=bool(ranked),
        best_is_right=bool(true_orders) and rank == 1,
    )


def is_split_right(truth: Line, answer: Line) -> bool:
    """Every true order and no other, each with its amount to the cent, each only once."""
    said = [(one["order"], Decimal(one["amount"])) for one in answer["assignments"]]
    meant = {number: Decimal(amount) for number, amount in truth["booked"].items()}
    return len(said) == len(meant) and dict(said) == meant


def tallies(outcomes: Iterable[Outcome], key: Callable[[Outcome], str]) -> dict[str, Tally]:
    """Counts by ``key``, in order of first appearance."""
    groups: dict[str, Tally] = defaultdict(Tally)
    for one in outcomes:
        groups[key(one)].add(one)
    return dict(groups)


# --- Statistics -------------------------------------------------------------------------------


def clopper_pearson(hits: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The exact interval of a share (Clopper and Pearson, Biometrika 26, 1934)."""
    assert 0 <= hits <= trials, (hits, trials)
    if trials == 0:
        return 0.0, 1.0
    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else _beta_quantile(tail, hits, trials - hits + 1)
    high = 1.0 if hits == trials else _beta_quantile(1 - tail, hits + 1, trials - hits)
    return low, high


def mcnemar(only_left: int, only_right: int) -> float:
    """Two-sided exact p of McNemar's test from the pairs that only one of two engines got."""
    pairs = only_left + only_right
    if pairs == 0:
        return 1.0
    fewer = min(only_left, only_right)
    return min(1.0, 2 * _beta_share(0.5, pairs - fewer, fewer + 1))


def paired(left: Sequence[Outcome], right: Sequence[Outcome]) -> dict[str, tuple[int, int, float]]:
    """Right and wrong answers of two engines on the same postings: only left, only right, p."""
    answers: dict[str, tuple[int, int, float]] = {}
    for what in ("is_right", "is_wrong"):
        pairs = [
            (getattr(one, what), getattr(other, what))
            for one, other in zip(left, right, strict=True)
        ]
        only_left, only_right = pairs.count((True, False)), pairs.count((False, True))
        answers[what.removeprefix("is_")] = (only_left, only_right, mcnemar(only_left, only_right))
    return answers


def _beta_quantile(share: float, a: float, b: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if _beta_share(middle, a, b) < share:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _beta_share(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function, by its continued fraction (DLMF 8.17.22)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta_share(1 - x, b, a)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
        + a * math.log(x) + b * math.log1p(-x)
    )  # fmt: skip
    return front / (a * _fraction(x, a, b))


def _fraction(x: float, a: float, b: float) -> float:
    """1 + d1/(1 + d2/(1 + …)), Lentz's way: from the front, until nothing changes any more."""
    value, upper, lower = 1.0, 1.0, 0.0
    for at in range(1, SERIES_TERMS):
        half = at // 2
        if at % 2:
            term = -(a + half) * (a + b + half) * x / ((a + 2 * half) * (a + 2 * half + 1))
        else:
            term = half * (b - half) * x / ((a + 2 * half - 1) * (a + 2 * half))
        lower = 1 / ((1 + term * lower) or TINY)
        upper = (1 + term / upper) or TINY
        value *= upper * lower
        if abs(upper * lower - 1) < 1e-14:
            break
    return value
