"""Hunt every planted bug with fresh seeds: ``python -m tests.sim.hunt_mutants [NAME ...]``, or ``nox -s mutants``.

Each mutant has to fall within 50 seeds of two virtual minutes. The smallest plan that kills it goes to
``mutant_plans/NAME.json``, where the quick test takes it from.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.sim.mutants import MUTANTS
from tests.sim.mutants_of_lines import MUTANTS_OF_LINES

from kraken_engine.sim.campaign import Failure, shrink_report
from kraken_engine.sim.runner import Options, simulate
from kraken_engine.sim.world import WorldSettings

PLANS = Path(__file__).parent / "mutant_plans"
ONE_LINE = Options(minutes=2, settings=WorldSettings())
TWO_LINES = Options(minutes=2)
MOST_SEEDS = 50
ALL = MUTANTS | MUTANTS_OF_LINES


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
    """Return the world to hunt in: a second line would hide what is wrong with one."""
    return TWO_LINES if name in MUTANTS_OF_LINES else ONE_LINE


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
