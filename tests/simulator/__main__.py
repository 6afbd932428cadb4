"""``python -m tests.simulator --seed 7 --days 90``, or ``--seeds 1..50``."""

from __future__ import annotations

import argparse
import sys
import time
from datetime import timedelta

from tests.simulator.invariants import Broken
from tests.simulator.rig import fresh, own_house
from tests.simulator.world import World

# ruff: noqa: T201

WEEK_DAYS = 7


def main() -> int:
    """The number of seeds in which something was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulator")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", help="first..last")
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--orders", type=int, default=50)
    chosen = parser.parse_args()
    first, _, last = (chosen.seeds or f"{chosen.seed}..{chosen.seed}").partition("..")
    broken: list[int] = []
    with own_house() as app:
        for seed in range(int(first), int(last) + 1):
            world = World(seed, days=chosen.days, orders=chosen.orders)
            with fresh(app), world.opened():
                if not _play(world, is_loud=chosen.seeds is None):
                    broken.append(seed)
    if broken:
        print("broken seeds:", *broken)
    return min(len(broken), 1)


def _play(world: World, *, is_loud: bool) -> bool:
    began = time.monotonic()
    try:
        for number in range(world.days):
            world.plan_day(number)
            world.play_until(world.first + timedelta(days=number + 1))
            if is_loud and (number + 1) % WEEK_DAYS == 0:
                print(f"{world.now:%Y-%m-%d}: {world.summary()}", flush=True)
        world.end()
    except Broken as problem:
        print(f"BROKEN after {time.monotonic() - began:.1f} s\n{problem}", flush=True)
        return False
    took = time.monotonic() - began
    print(f"seed {world.seed}: {world.days} days in {took:.1f} s; {world.summary()}", flush=True)
    if is_loud:
        print(", ".join(f"{count} {name}" for name, count in world.did.most_common()))
    return True


if __name__ == "__main__":
    sys.exit(main())
