"""For pytest: the fixture ``sim_check``, loaded by itself where kraken-engine is installed.

::

    def test_my_strategy(sim_check):
        sim_check(my_strategy, seeds=range(50))
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kraken_engine.sim.checking import check

__all__ = ["sim_check"]


@pytest.fixture
def sim_check() -> Callable[..., None]:
    """Return :func:`kraken_engine.sim.check`: a strategy in simulated worlds full of faults."""
    return check
