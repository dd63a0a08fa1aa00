"""The judges find what is wrong: every planted bug breaks an invariant under its kept plan, and the engine none."""

from __future__ import annotations

import pytest
from tests.sim.hunt_mutants import ALL, PLANS, options_for
from tests.sim.mutants import MUTANTS
from tests.sim.mutants_of_accounts import MUTANTS_OF_ACCOUNTS
from tests.sim.mutants_of_continuity import MUTANTS_OF_CONTINUITY
from tests.sim.mutants_of_lines import MUTANTS_OF_LINES

from kraken_engine.sim.plan import Plan
from kraken_engine.sim.runner import simulate

MOST_FAULTS = 3


def plan_of(name: str) -> Plan:
    return Plan.from_json((PLANS / f"{name}.json").read_bytes())


@pytest.mark.parametrize("name", list(ALL))
def test_a_planted_bug_is_found_by_a_plan_of_few_faults(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(name)
    assert len(plan.faults) <= MOST_FAULTS
    ALL[name](monkeypatch)
    assert simulate(plan.seed, plan, options_for(name)).violation is not None


SAMPLE = [
    *(*list(MUTANTS)[::4], *list(MUTANTS_OF_LINES)[::3]),
    *(*list(MUTANTS_OF_ACCOUNTS)[::6], *list(MUTANTS_OF_CONTINUITY)[::6]),
]


@pytest.mark.parametrize("name", SAMPLE)
def test_without_the_bug_the_same_plan_finds_nothing(name: str) -> None:
    plan = plan_of(name)
    report = simulate(plan.seed, plan, options_for(name))
    assert report.violation is None, str(report.violation)
