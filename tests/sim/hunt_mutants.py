"""Hunt every planted bug with fresh seeds: ``python -m tests.sim.hunt_mutants [NAME ...]``, or ``nox -s mutants``.

Each mutant has to fall within 50 seeds of a few virtual minutes, in the world of its kind. The smallest plan that kills
it goes to ``mutant_plans/NAME.json``, where the quick test takes it from.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.sim.mutants import MUTANTS
from tests.sim.mutants_of_accounts import MUTANTS_OF_ACCOUNTS
from tests.sim.mutants_of_continuity import MUTANTS_OF_CONTINUITY
from tests.sim.mutants_of_lines import MUTANTS_OF_LINES

from kraken_engine.config import Config, PoolSettings
from kraken_engine.sim.campaign import Failure, shrink_report
from kraken_engine.sim.runner import FAILOVER, PRIVATE, Options, simulate
from kraken_engine.sim.world import WorldSettings

PLANS = Path(__file__).parent / "mutant_plans"
ONE_LINE = Options(minutes=2, settings=WorldSettings())
TWO_LINES = Options(minutes=2)
ACCOUNTS = Options(minutes=3, profile=PRIVATE)
SMALL = WorldSettings(symbols=3, rate=2.0, config=Config(pool=PoolSettings(max_connections=1)))
CONTINUITY = Options(minutes=5, profile=FAILOVER, settings=SMALL)
MOST_SEEDS = 50
ALL = MUTANTS | MUTANTS_OF_LINES | MUTANTS_OF_ACCOUNTS | MUTANTS_OF_CONTINUITY


def hunt(name: str) -> Failure | None:
    """Return the first failure of a mutant, shrunk; None: it survived."""
    options = options_for(name)
    with pytest.MonkeyPatch.context() as patch:
        ALL[name](patch)
        for seed in range(MOST_SEEDS):
            report = simulate(seed, None, options)
            if report.violation is not None:
                return shrink_report(report, options)
    return None


def options_for(name: str) -> Options:
    """Return the world to hunt in: one in which nothing hides what is wrong, as a second line would with the first."""
    for mutants, options in (
        (MUTANTS_OF_LINES, TWO_LINES),
        (MUTANTS_OF_ACCOUNTS, ACCOUNTS),
        (MUTANTS_OF_CONTINUITY, CONTINUITY),
    ):
        if name in mutants:
            return options
    return ONE_LINE


def main(names: list[str]) -> int:
    """Hunt mutants, keep their plans, and return how many survived."""
    survivors = 0
    PLANS.mkdir(exist_ok=True)
    for name in names or list(ALL):
        failure = hunt(name)
        if failure is None:
            survivors += 1
            _tell(f"{name}: survived {MOST_SEEDS} seeds")
            continue
        plan = failure.shrunk.plan
        kinds = ", ".join(fault.kind for fault in plan.faults)
        _tell(f"{name}: seed {plan.seed}, {len(plan.faults)} faults ({kinds}): {failure.smallest.violation}")
        (PLANS / f"{name}.json").write_text(plan.to_json())
    return survivors


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
