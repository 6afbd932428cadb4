"""The other half of the seeds; see ``test_simulation``."""

from __future__ import annotations

import pytest

from tests.simulator.test_simulation import play_three_months

SAMPLE = range(10, 20)


@pytest.mark.feature("N4", "N5", "S84", "K3")
@pytest.mark.parametrize("seed", SAMPLE)
def test_three_months(house, seed):
    play_three_months(house, seed)
