"""The failover profile: the engine holds, and the judge would notice if it did not."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from kraken_engine.config import Config, FailoverSettings, PoolSettings
from kraken_engine.control.venue_mode import VenueModes
from kraken_engine.feed.sources import Sources
from kraken_engine.sim.deterministic import run
from kraken_engine.sim.failover import FAILOVER_FAULTS, FailoverScenario
from kraken_engine.sim.failures import Violation
from kraken_engine.sim.judges.verdict import Verdict
from kraken_engine.sim.plan import Fault, Plan
from kraken_engine.sim.runner import Options, simulate
from kraken_engine.sim.world import WorldSettings, open_world

DOWN = Plan(seed="1", horizon_s=60.0, faults=(Fault(at_s=5.0, kind="lines_down", params={"for_s": 20.0}),))
LONG = attrs.evolve(DOWN, horizon_s=120.0)


def judged(plan: Plan, failover: FailoverSettings, *, backup: bool = True) -> Violation | None:
    """Play ``plan`` with these settings and return what the judge says."""
    verdict = Verdict()
    config = Config(failover=failover, pool=PoolSettings(max_connections=1))
    settings = WorldSettings(symbols=3, backup=backup, config=config)

    async def main() -> None:
        async with open_world(1, settings) as world:
            await FailoverScenario(world=world, plan=plan, faults=FAILOVER_FAULTS, verdict=verdict).run()

    run(1, main, horizon_s=3000.0)
    return verdict.violation


def test_a_run_under_faults_holds() -> None:
    report = simulate(4, None, Options(profile="failover", minutes=3.0))
    assert report.violation is None
    assert report.fault_kinds


def test_the_same_seed_makes_the_same_run() -> None:
    digests = {simulate("1", DOWN, Options(profile="failover")).digest for _ in range(2)}
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("failover", "backup"), [(FailoverSettings(), False), (FailoverSettings(deadline_s=15.0), True)]
)
def test_a_backup_that_is_missing_or_late_is_noticed(failover: FailoverSettings, backup: bool) -> None:
    violation = judged(DOWN, failover, backup=backup)
    assert violation is not None
    assert violation.invariant == "I-26"
    assert "expected data within" in violation.what


MAINTENANCE = Plan(
    seed="1",
    horizon_s=90.0,
    faults=(
        Fault(at_s=3.0, kind="status", params={"mode": "maintenance", "for_s": 60.0}),
        Fault(at_s=5.0, kind="lines_down", params={"for_s": 20.0}),
    ),
)


def test_a_maintenance_in_which_the_lines_are_lost_is_nothing_to_worry_about() -> None:
    assert judged(MAINTENANCE, FailoverSettings()) is None


def test_an_engine_that_does_not_care_for_maintenance_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VenueModes, "away", None)
    violation = judged(MAINTENANCE, FailoverSettings())
    assert violation is not None
    assert "while the venue is away" in violation.what


def test_a_return_that_comes_too_early_is_noticed() -> None:
    violation = judged(LONG, FailoverSettings(hold_s=10.0))
    assert violation is not None
    assert "expected the line up for 30 s before the return" in violation.what


def test_a_change_of_the_source_that_nobody_told_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def untold(*_: Any) -> None:
        """Say nothing: the bug that is planted here."""

    monkeypatch.setattr(Sources, "_tell_source", untold)
    violation = judged(DOWN, FailoverSettings())
    assert violation is not None
    assert "untold" in violation.what
