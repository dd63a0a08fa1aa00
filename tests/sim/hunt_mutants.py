"""Hunt every planted bug with fresh seeds: ``python -m tests.sim.hunt_mutants [NAME ...]``, or ``nox -s mutants``.

Each mutant has to fall within 50 seeds of two virtual minutes. The smallest plan that kills it goes to
``mutant_plans/NAME.json``, where the quick test takes it from.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.sim.mutants import MUTANTS

from kraken_engine.sim.campaign import Failure, shrink_report
from kraken_engine.sim.runner import Options, simulate

PLANS = Path(__file__).parent / "mutant_plans"
OPTIONS = Options(minutes=2)
MOST_SEEDS = 50


def hunt(name: str) -> Failure | None:
    """Return the first failure of a mutant, shrunk; None: it survived."""
    with pytest.MonkeyPatch.context() as patch:
        MUTANTS[name](patch)
        for seed in range(MOST_SEEDS):
            report = simulate(seed, None, OPTIONS)
            if report.violation is not None:
                return shrink_report(report, OPTIONS)
    return None


def main(names: list[str]) -> int:
    """Hunt mutants, keep their plans, and return how many survived."""
    survivors = 0
    PLANS.mkdir(exist_ok=True)
    for name in names or list(MUTANTS):
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
