"""``sim.check`` finds the fault that breaks a strategy, and leaves a right one alone."""

from __future__ import annotations

import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from kraken_engine import Book, BookUpdate, Engine, Stale, UsageError, sim
from kraken_engine.sim.checking import check


class Quoting:
    """Quotes around the middle of the book; with the bug, whatever becomes of the book."""

    def __init__(self, *, bug: bool) -> None:
        self._bug = bug
        self._quoting = False

    async def __call__(self, engine: Engine) -> None:
        self._quoting = False
        async with engine.feed.subscribe(Book("BTC/USD")) as events:
            async for event in events:
                if isinstance(event, BookUpdate):
                    self._quoting = True
                elif isinstance(event, Stale) and not self._bug:
                    self._quoting = False

    def invariant(self, engine: Engine) -> None:
        if self._quoting:
            engine.feed.latest(Book("BTC/USD"))


def test_a_planted_bug_is_found_and_shrunk_to_the_loss_of_both_lines() -> None:
    strategy = Quoting(bug=True)
    with pytest.raises(sim.StrategyFailed) as caught:
        check(strategy, invariant=strategy.invariant)
    failure = caught.value
    assert isinstance(failure.__cause__, Stale)
    assert len(failure.plan.faults) == 2  # one for each line: the loss of one alone is nothing a strategy can notice
    again = Quoting(bug=True)
    with pytest.raises(sim.StrategyFailed):
        check(again, seeds=[failure.seed], faults=failure.plan, invariant=again.invariant)


def test_a_right_strategy_passes() -> None:
    strategy = Quoting(bug=False)
    check(strategy, seeds=range(4), invariant=strategy.invariant)


def test_without_faults_the_bug_does_not_show() -> None:
    strategy = Quoting(bug=True)
    check(strategy, seeds=range(2), minutes=1, faults=(), invariant=strategy.invariant)


def test_a_strategy_that_raises_fails_even_without_faults() -> None:
    async def impatient(engine: Engine) -> None:
        engine.feed.latest(Book("BTC/USD"))

    with pytest.raises(sim.StrategyFailed, match="no value yet") as caught:
        check(impatient, seeds=["first"])
    assert caught.value.seed == "first"
    assert caught.value.plan.faults == ()


def test_a_strategy_may_return_by_itself() -> None:
    async def short(engine: Engine) -> None:
        async with engine.feed.subscribe(Book("BTC/USD")) as events:
            async for _ in events:
                return

    check(short, seeds=range(2))


def test_unknown_faults_and_no_minutes_are_usage_errors() -> None:
    with pytest.raises(UsageError, match="earthquake"):
        check(Quoting(bug=False), faults=["earthquake"])
    with pytest.raises(UsageError, match="minutes"):
        check(Quoting(bug=False), minutes=0)


def test_the_pytest_plugin_gives_the_same_function() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    ((name, value),) = project["project"]["entry-points"]["pytest11"].items()
    plugin = EntryPoint(name=name, value=value, group="pytest11").load()
    assert plugin.sim_check.__wrapped__() is check
