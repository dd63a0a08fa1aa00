"""The judges find what is wrong: every planted bug breaks an invariant under its kept plan, and the engine none."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.sim.mutants import MUTANTS

from kraken_engine.sim.plan import Plan
from kraken_engine.sim.runner import simulate

PLANS = Path(__file__).parent / "mutant_plans"
MOST_FAULTS = 3


def plan_of(name: str) -> Plan:
    return Plan.from_json((PLANS / f"{name}.json").read_bytes())


@pytest.mark.parametrize("name", list(MUTANTS))
def test_a_planted_bug_is_found_by_a_plan_of_few_faults(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(name)
    assert len(plan.faults) <= MOST_FAULTS
    MUTANTS[name](monkeypatch)
    assert simulate(plan.seed, plan).violation is not None


@pytest.mark.parametrize("name", list(MUTANTS)[::4])
def test_without_the_bug_the_same_plan_finds_nothing(name: str) -> None:
    plan = plan_of(name)
    report = simulate(plan.seed, plan)
    assert report.violation is None, str(report.violation)
