"""Stories for properties: by Hypothesis where it is installed, else by a fixed seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

STORIES = 12
MAX_STEPS = 9
WHAT = ("order", "change", "tick", "compare")


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happens. ``number``: which order, or how many seconds."""

    what: str
    number: int = 0


def tell_stories(story: Callable[[list[Step]], None]) -> None:
    """Play a story with many lists of steps. With Hypothesis a failure is made short."""
    try:
        from hypothesis import HealthCheck, given, settings
        from hypothesis import strategies as some
    except ImportError:
        dice = random.Random(4711)  # noqa: S311 - the same stories every time
        for _ in range(STORIES):
            count = dice.randint(1, MAX_STEPS)
            story([Step(dice.choice(WHAT), dice.randint(0, 3)) for _ in range(count)])
        return
    steps = some.lists(
        some.builds(Step, some.sampled_from(WHAT), some.integers(0, 3)), max_size=MAX_STEPS
    )
    settings(
        max_examples=STORIES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )(given(steps)(story))()
