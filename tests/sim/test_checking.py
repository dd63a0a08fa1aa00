"""``sim.check`` finds the fault that breaks a strategy, and leaves a right one alone."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from kraken_engine import AccountStale, Book, BookUpdate, ConfigError, Engine, Stale, UsageError, sim
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


class Spending:
    """Knows what it may spend; with the bug, also when nobody can."""

    def __init__(self, *, bug: bool) -> None:
        self._bug = bug
        self._budget: Decimal | None = None

    async def __call__(self, engine: Engine) -> None:
        self._budget = None
        account = engine.accounts["main"]
        async with engine.feed.subscribe(account.balances, account.executions) as events:
            async for event in events:
                if isinstance(event, AccountStale) and not self._bug:
                    self._budget = None
                elif account.may_trade and (usd := account.balance("USD")) is not None:
                    self._budget = usd.free

    def invariant(self, engine: Engine) -> None:
        if self._budget is not None:
            engine.accounts["main"].balance("USD")


def test_a_strategy_that_trusts_a_lost_account_is_found_and_shrunk_to_what_loses_it() -> None:
    strategy = Spending(bug=True)
    with pytest.raises(sim.StrategyFailed) as caught:
        check(strategy, accounts=["main"], minutes=1, faults=["private_cut", "fill"], invariant=strategy.invariant)
    assert isinstance(caught.value.__cause__, Stale)
    assert "accounts=['main'])" in str(caught.value)
    kinds = [fault.kind for fault in caught.value.plan.faults]
    assert kinds == ["private_cut"] * len(kinds), "a fill harms nobody"
    assert 1 <= len(kinds) <= 2, "the first loss of a minute is over sooner than anybody looks"


def test_a_strategy_that_minds_its_account_passes_with_every_fault_there_is() -> None:
    strategy = Spending(bug=False)
    check(strategy, seeds=range(2), accounts=["main", "other"], invariant=strategy.invariant)


def test_a_strategy_without_accounts_has_none_and_no_faults_of_accounts() -> None:
    seen: list[int] = []

    async def look(engine: Engine) -> None:
        seen.append(len(engine.accounts))

    check(look, seeds=range(1), minutes=1)
    assert seen == [0]
    with pytest.raises(UsageError, match="private_cut"):
        check(look, seeds=range(1), faults=["private_cut"])
    with pytest.raises(ConfigError):
        check(look, seeds=range(1), accounts=["Not A Name"])


def test_unknown_faults_and_no_minutes_are_usage_errors() -> None:
    with pytest.raises(UsageError, match="earthquake"):
        check(Quoting(bug=False), faults=["earthquake"])
    with pytest.raises(UsageError, match="minutes"):
        check(Quoting(bug=False), minutes=0)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"minutes": "2"}, "minutes: expected a number above 0 and up to 1440, got 2"),
        ({"minutes": float("inf")}, "minutes: expected a number above 0 and up to 1440, got inf"),
        ({"faults_per_min": -1}, "faults_per_min: expected a number of 0 or more, got -1"),
        ({"faults": "venue_close"}, "faults: expected a list of names, got 'venue_close'"),
        ({"accounts": "main"}, "accounts: expected a list of names, got 'main'"),
    ],
)
def test_arguments_that_mean_something_else_than_they_say_are_usage_errors(
    arguments: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        check(Quoting(bug=False), **arguments)


def test_the_pytest_plugin_gives_the_same_function() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    ((name, value),) = project["project"]["entry-points"]["pytest11"].items()
    plugin = EntryPoint(name=name, value=value, group="pytest11").load()
    assert plugin.sim_check.__wrapped__() is check
