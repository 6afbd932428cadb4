"""The same world, driven by Hypothesis, which makes a story that fails short."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.simulator import people
from tests.simulator.rig import fresh
from tests.simulator.world import FAULTS, World

EXAMPLES, STEPS = 10, 20
FULL_EXAMPLES, FULL_STEPS = 200, 80
IN_FULL = tuple(sorted(people.ACTS))


class ShopLife(RuleBasedStateMachine):
    """``house`` is the app; every example begins with empty tables."""

    house = None

    @initialize(seed=st.integers(0, 4), merchants=st.integers(1, 2))
    def begin(self, seed: int, merchants: int) -> None:
        self.stack = ExitStack()
        self.stack.enter_context(fresh(self.house))
        self.world = World(seed, merchants=merchants, shops=2, orders=0)
        self.stack.enter_context(self.world.opened())
        self.number = 0

    def teardown(self) -> None:
        if not hasattr(self, "stack"):
            return
        with self.stack:
            self.world.end()

    @rule(count=st.integers(1, 3))
    def orders(self, count: int) -> None:
        for _ in range(count):
            self.world.do("order", self.world.new_order)

    @rule(hours=st.sampled_from([1, 5, 26, 24 * 4]))
    def time_passes(self, hours: int) -> None:
        until = self.world.time + timedelta(hours=hours)
        while self.world.planned_until <= until:
            self.world.plan_quiet_day(self.number)
            self.number += 1
        self.world.play_until(until)

    @rule(name=st.sampled_from(IN_FULL), whose=st.integers(0, 1))
    def somebody_acts(self, name: str, whose: int) -> None:
        merchant_id = self.world.merchants[whose % len(self.world.merchants)]
        hand = people.Hand(self.world, merchant_id)
        self.world.do("act", lambda: hand.run(name))

    @rule()
    def the_shop_changes_an_order(self) -> None:
        self.world.do("change", self.world.change_order)

    @rule(kind=st.sampled_from(sorted(set(FAULTS))))
    def something_is_away(self, kind: str) -> None:
        self.world.do("fault", lambda: self.world.fault(kind))

    @rule()
    def all_is_well_again(self) -> None:
        self.world.do("heal", self.world.heal)

    @rule()
    def everything_is_looked_at(self) -> None:
        self.world.do("check", self.world.checker.daily)


def _play(house, examples: int, steps: int) -> None:
    ShopLife.house = house
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(ShopLife, settings=chosen)


@pytest.mark.feature("N4", "N5", "S84")
def test_any_story_of_a_shop(house):
    _play(house, EXAMPLES, STEPS)


@pytest.mark.torture
def test_very_many_stories_of_a_shop(house):
    _play(house, FULL_EXAMPLES, FULL_STEPS)
