"""The seeded world of REST calls: a few seeds hold, the same seed is the same run, and planted bugs are found."""

from __future__ import annotations

from typing import Any

import pytest

from kraken_engine.control.circuit_breaker import CircuitBreaker
from kraken_engine.control.nonce import NonceSource
from kraken_engine.control.retry_budget import RetryBudget
from kraken_engine.sim.campaign import run_campaign
from kraken_engine.sim.plan import Fault, Plan
from kraken_engine.sim.runner import Options, simulate

OPTIONS = Options(minutes=2.0, profile="rest")


@pytest.mark.parametrize("seed", range(2))
def test_a_seed_holds(seed: int) -> None:
    report = simulate(seed, None, OPTIONS)
    assert report.violation is None
    assert sum(report.fault_kinds.values()) > 0


def test_the_same_seed_is_the_same_run() -> None:
    assert simulate(3, None, OPTIONS).digest == simulate(3, None, OPTIONS).digest


def test_a_client_that_is_killed_again_and_again_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    faults = tuple(Fault(at_s=30.0 * n + 5.0, kind="restart") for n in range(6))
    report = simulate("kills", Plan(seed="kills", horizon_s=200.0, faults=faults), OPTIONS)
    assert report.violation is None
    assert report.sometimes["restarted"] >= 6


BUSY = Fault(at_s=1.0, kind="rest_words", params={"error": "EService:Busy", "path": "/0/", "times": 100})


def _never_opens(self: CircuitBreaker, *_: Any, **__: Any) -> None:
    return None


def _lend(self: RetryBudget, *, now: float) -> bool:
    return True


def _same_again(self: NonceSource, wall_ns: int, **_: Any) -> int:
    return wall_ns // 10**11 * 10**11


@pytest.mark.parametrize(
    ("where", "bug", "invariant", "faults"),
    [
        ((CircuitBreaker, "failed"), _never_opens, "I-21", (BUSY,)),
        ((NonceSource, "next"), _same_again, "I-18", ()),
        ((RetryBudget, "retry"), _lend, "I-25", (BUSY,)),
    ],
)
def test_a_planted_bug_is_found(
    monkeypatch: pytest.MonkeyPatch, where: tuple[type, str], bug: Any, invariant: str, faults: tuple[Fault, ...]
) -> None:
    monkeypatch.setattr(*where, bug)
    found = set()
    for seed in range(4):
        plan = Plan(seed=f"bug {seed}", horizon_s=200.0, faults=faults)
        violation = simulate(f"bug {seed}", plan, OPTIONS).violation
        found.add(None if violation is None else violation.invariant)
    assert invariant in found


def test_a_campaign_of_this_profile_counts_what_it_reached() -> None:
    campaign = run_campaign(range(2, 4), OPTIONS)
    assert campaign.violations == []
    assert "breaker_opened" in campaign.as_json()["sometimes"]  # type: ignore[operator]
