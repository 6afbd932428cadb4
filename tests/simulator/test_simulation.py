"""Months of shop life from a seed: what must hold holds, whatever is away, late or killed."""

from __future__ import annotations

import pytest

from tests.simulator.rig import fresh
from tests.simulator.world import World

DAYS = 90
SAMPLE, FULL = range(20), range(20, 220)
ORDERS, MANY_ORDERS = 14, 80


@pytest.mark.feature("N4", "N5", "S84", "K3")
@pytest.mark.parametrize("seed", SAMPLE)
def test_three_months(house, seed):
    """Money adds up, nobody is reminded who must not be, and all work ends."""
    merchants = 1 + (seed % 10 == 0)
    shops = max(merchants, 1 + seed % 2)
    world = World(seed, merchants=merchants, shops=shops, orders=ORDERS, days=DAYS)
    with fresh(house), world.opened():
        world.run()
    assert world.sink.count > ORDERS


@pytest.mark.torture
@pytest.mark.parametrize("seed", FULL)
def test_three_months_of_many_shops(house, seed):
    world = World(seed, merchants=2, shops=4, orders=MANY_ORDERS, days=DAYS)
    with fresh(house), world.opened():
        world.run()
    assert world.sink.count > MANY_ORDERS


def test_a_seed_replays(house):
    """What happens follows from the seed alone, to the second and the cent."""
    told = []
    for _ in range(2):
        world = World(3, merchants=1, shops=2, orders=10, days=6)
        with fresh(house), world.opened():
            world.run()
            told.append((world.summary(), world.did, world.everything()))
    assert told[0] == told[1]
