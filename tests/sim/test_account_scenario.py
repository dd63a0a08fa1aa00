"""Worlds with accounts: all is well in them, also when the engine is killed, and the judges see it when it is not."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from kraken_engine.control.connect_budget import ConnectBudget
from kraken_engine.sim.account_faults import KILLED_WRITING, NEXT_LIFE, REBOOT, THIS_LIFE
from kraken_engine.sim.account_scenario import AGAIN, RECONCILED
from kraken_engine.sim.judges.holdings import same_lots
from kraken_engine.sim.plan import Fault, Plan
from kraken_engine.sim.runner import PRIVATE, Options, simulate
from kraken_engine.state.gap_closure import GapClosure

MINUTES = 1.0
OPTIONS = Options(profile=PRIVATE, minutes=MINUTES)


def plan(*faults: tuple[float, str, dict[str, Any]], target: int = 0) -> Plan:
    """Return faults for the account ``main``, at these times."""
    listed = tuple(Fault(at_s=at_s, kind=kind, target=target, params=params) for at_s, kind, params in faults)
    return Plan(seed="1", horizon_s=MINUTES * 60, faults=listed)


Faults = tuple[tuple[float, str, dict[str, Any]], ...]

LOST: Faults = tuple(
    each
    for at_s in range(4, 50, 4)
    for each in (
        (at_s + 0.0, "private_frame_lost", {"channel": "executions"}),
        (at_s + 0.5, "fill", {}),
        (at_s + 1.0, "private_frame_doubled", {"channel": "executions"}),
        (at_s + 1.5, "fill", {}),
    )
)
AWAY: Faults = tuple(
    each
    for at_s in range(5, 50, 10)
    for each in (
        (at_s + 0.0, "refuse", {"for_s": 4.0}),
        (at_s + 0.1, "private_cut", {"mode": "abort"}),
        (at_s + 1.0, "fill", {}),
        (at_s + 2.0, "fill", {}),
    )
)


def test_accounts_are_right_whatever_is_lost_doubled_or_cut() -> None:
    report = simulate(1, plan(*LOST, *AWAY), OPTIONS)
    assert report.violation is None
    assert report.fault_kinds["private_cut"] == 5
    never = [name for name, count in report.sometimes.items() if not count]
    assert never == ["an engine with accounts was killed", AGAIN]


def test_accounts_are_right_while_the_disk_fails_and_afterwards() -> None:
    failing = tuple(
        each
        for at_s in (6, 16, 26, 36)
        for each in (
            (at_s + 0.0, "disk_fails", {"fault": "FULL", "for_s": 3.0}),
            (at_s + 4.0, "fsync_fails", {"fault": "IO_ERROR", "for_s": 3.0}),
            (at_s + 8.0, "disk_hiccup", {"fault": "IO_ERROR", "step": 3}),
        )
    )
    report = simulate(1, plan(*sorted([*LOST, *failing], key=lambda fault: fault[0])), OPTIONS)
    assert report.violation is None, str(report.violation)
    assert report.fault_kinds["disk_fails"] == 4
    assert report.sometimes["a missed fill was fetched"] > 0


def test_a_seed_of_everything_gives_one_run() -> None:
    options = Options(profile=PRIVATE, minutes=2.0)
    first, second = simulate(3, None, options), simulate(3, None, options)
    assert first.violation is None
    assert (first.digest, first.market_digest) == (second.digest, second.market_digest)


def restarts(*at_s: float) -> Faults:
    return tuple((each, "restart", {}) for each in at_s)


def test_fault_68_an_engine_that_is_killed_reconciles_in_time_and_delivers_every_fill() -> None:
    report = simulate(1, plan(*restarts(11.0, 23.0, 35.0, 47.0)), OPTIONS)
    assert report.violation is None, str(report.violation)
    assert report.sometimes["an engine with accounts was killed"] == 4
    assert report.sometimes[AGAIN] > 0
    assert len(report.figures[RECONCILED]) == 5
    assert max(report.figures[RECONCILED]) <= 5.0


@pytest.mark.parametrize("of", [THIS_LIFE, NEXT_LIFE])
def test_fault_68_an_engine_that_is_killed_while_it_writes_loses_nothing(of: str) -> None:
    killed = tuple((8.0 + 7.0 * n, KILLED_WRITING, {"step": 3**n, "of": of}) for n in range(5))
    report = simulate(1, plan(*killed), OPTIONS)
    assert report.violation is None, str(report.violation)
    assert report.sometimes["an engine with accounts was killed"] >= 5


def test_fault_61_a_machine_that_comes_back_in_the_past_uses_no_nonce_again() -> None:
    report = simulate(1, plan((12.0, REBOOT, {"back_s": 3600.0}), (30.0, REBOOT, {"back_s": 0.5})), OPTIONS)
    assert report.violation is None, str(report.violation)


def test_fills_that_are_left_out_of_a_closure_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GapClosure, "_vanished", lambda self: [])
    monkeypatch.setattr(GapClosure, "_orphaned", lambda self: [])
    monkeypatch.setattr(GapClosure, "_concluded", lambda self: {})
    report = simulate(1, plan(*AWAY), OPTIONS)
    assert report.violation is not None


def test_a_restart_that_takes_too_long_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ConnectBudget, "reserve", lambda *_, **__: 3.0)
    report = simulate(1, plan(*restarts(20.0)), OPTIONS)
    assert report.violation is not None
    assert report.violation.invariant == "T-1"


@pytest.mark.parametrize(
    ("ours", "same"),
    [
        ([("sell", "0.00000882", "2604.31"), ("sell", "0.002", "2604.5")], True),  # 0.02297 is all the venue said of it
        ([("sell", "0.00000882", "2604.67"), ("sell", "0.002", "2604.51")], False),
        ([("sell", "0.00000883", "2604.67"), ("sell", "0.002", "2604.5")], False),
        ([("buy", "0.00000882", "2604.67"), ("sell", "0.002", "2604.5")], False),
        ([("sell", "0.00000882", "2604.67")], False),
    ],
)
def test_positions_are_the_same_to_the_last_digit_of_what_the_venue_tells(
    ours: list[tuple[str, str, str]], same: bool
) -> None:
    theirs = [("sell", Decimal("0.00000882"), Decimal("2604.67")), ("sell", Decimal("0.002"), Decimal("2604.5"))]
    assert same_lots([(side, Decimal(qty), Decimal(price)) for side, qty, price in ours], theirs) == same
