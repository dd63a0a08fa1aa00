"""A whole world from one seed: engine, venue, network and clock in one process, replayable.

For applications: :func:`check` runs a strategy in such worlds and finds the faults that break it.
"""

from kraken_engine.sim.checking import Invariant, Strategy, StrategyFailed, check
from kraken_engine.sim.plan import Plan
from kraken_engine.sim.world import WorldSettings

__all__ = ["Invariant", "Plan", "Strategy", "StrategyFailed", "WorldSettings", "check"]
