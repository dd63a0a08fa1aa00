"""``sim.check``: run a strategy in simulated worlds full of faults, and find the seed that breaks it.

Decides how a strategy's failure is found, shrunk and told. Knows nothing of what the strategy does: it fails by
raising, or by an invariant that raises.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial

import attrs
import trio

from kraken_engine.errors import ConfigError, UsageError, shown
from kraken_engine.sim.deterministic import run
from kraken_engine.sim.failures import SimulationError, unwrapped
from kraken_engine.sim.hooks import FAULTS
from kraken_engine.sim.hooks_accounts import ACCOUNT_FAULTS
from kraken_engine.sim.plan import Catalogue, Plan, draw_plan
from kraken_engine.sim.playing import play
from kraken_engine.sim.shrink import shrink
from kraken_engine.sim.with_accounts import give_accounts, open_accounts
from kraken_engine.sim.world import World, WorldSettings, open_world
from kraken_engine.tasks.engine import Engine

__all__ = ["Invariant", "Strategy", "StrategyFailed", "check"]

Strategy = Callable[[Engine], Awaitable[None]]
Invariant = Callable[[Engine], None]

WITH_ACCOUNTS = Catalogue([*FAULTS.kinds, *ACCOUNT_FAULTS.kinds])
"""What may happen to a strategy that has accounts."""

LOOK_S = 0.1
"""The invariant is looked at so often."""
CALM_S = 5.0
MOST_SHRINK_RUNS = 60
MOST_MINUTES = 1440


class StrategyFailed(SimulationError):
    """A strategy, or the invariant, raised; ``__cause__`` is what it raised under the shrunk plan."""

    def __init__(self, seed: object, plan: Plan, cause: BaseException, accounts: Sequence[str] = ()) -> None:
        self.seed = seed
        self.plan = plan
        """The smallest plan found that still makes it fail."""
        with_them = f", accounts={list(accounts)!r}" if accounts else ""
        replay = f"sim.check(strategy, seeds=[{seed!r}], faults=Plan.from_json(the plan above){with_them})"
        what = f"{type(cause).__name__}: {cause}".rstrip(": ")
        super().__init__(f"seed {seed}: {what}\nunder {len(plan.faults)} fault(s):\n{plan.to_json()}replay: {replay}")


def check(
    strategy: Strategy,
    *,
    seeds: Iterable[object] = range(20),
    minutes: float = 2.0,
    faults: Sequence[str] | Plan | None = None,
    faults_per_min: float = 6.0,
    invariant: Invariant | None = None,
    accounts: Sequence[str] = (),
    settings: WorldSettings | None = None,
) -> None:
    """Run ``strategy`` once in the world of each seed; return if it never failed.

    Each world has a venue, an engine and a network in virtual time. After 5 calm seconds things go wrong for
    ``minutes``; then the strategy is cancelled, unless it has returned by itself.

    Args:
        strategy: is given the open engine; fails by raising. ``Stale`` and ``SlowConsumer`` that it does not handle
            are failures too.
        seeds: each one a world and a plan of faults of its own.
        minutes: virtual minutes of faults.
        faults: kinds of faults by name, a plan of your own, or None for every kind; with accounts, those of keys,
            private lines and REST, and deeds of other people on the accounts, are among them.
        faults_per_min: how many a minute on average.
        invariant: called every 0.1 virtual seconds; fails by raising.
        accounts: names of the accounts that the strategy finds in ``engine.accounts``. ``main`` is the venue's test
            account, with money of five kinds; others begin with the same.
        settings: of the world: symbols, rate, the engine's configuration.

    Raises:
        StrategyFailed: with the seed, and the smallest plan that still makes it fail.
        UsageError: unknown kinds of faults; numbers out of range; a text instead of a list of names; called inside a
            Trio run.
        ConfigError: no account can be called so.
    """
    if not _is_number(minutes) or not 0 < minutes <= MOST_MINUTES:
        raise UsageError(f"minutes: expected a number above 0 and up to {MOST_MINUTES}, got {shown(minutes)}")
    if not _is_number(faults_per_min) or not faults_per_min >= 0:
        raise UsageError(f"faults_per_min: expected a number of 0 or more, got {shown(faults_per_min)}")
    for name, value in (("faults", faults), ("accounts", accounts)):
        if isinstance(value, str):  # which would be taken letter by letter
            raise UsageError(f"{name}: expected a list of names, got {shown(repr(value))}")
    trial = _Trial(strategy, invariant, tuple(accounts), settings)
    for seed in seeds:
        plan = _plan(seed, minutes, faults, faults_per_min, WITH_ACCOUNTS if accounts else FAULTS)
        error = trial.error(seed, plan)
        if error is None:
            continue
        kind = type(error)

        def fails(smaller: Plan, seed: object = seed, kind: type[BaseException] = kind) -> bool:
            return type(trial.error(seed, smaller)) is kind

        smallest = shrink(plan, fails, max_runs=MOST_SHRINK_RUNS).plan
        cause = trial.error(seed, smallest) or error
        raise StrategyFailed(seed, smallest, cause, trial.accounts) from cause


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _plan(
    seed: object, minutes: float, faults: Sequence[str] | Plan | None, faults_per_min: float, known: Catalogue
) -> Plan:
    if isinstance(faults, Plan):
        return faults
    kinds = known if faults is None else known.only(faults)
    return draw_plan(seed, minutes * 60, kinds, faults_per_min=faults_per_min)


@attrs.frozen
class _Trial:
    """What is run in each world."""

    strategy: Strategy
    invariant: Invariant | None
    accounts: tuple[str, ...]
    settings: WorldSettings | None

    def error(self, seed: object, plan: Plan) -> BaseException | None:
        """Run one world and return what it failed with."""
        asleep_s = sum(float(fault.params.get("by_s", 0.0)) for fault in plan.faults if fault.kind == "suspend")
        try:
            run(seed, partial(self._run, seed, plan), horizon_s=plan.horizon_s + CALM_S + asleep_s + 60.0)
        except (UsageError, ConfigError):
            raise
        except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - the caller raises it with the plan
            return unwrapped(error)
        return None

    async def _run(self, seed: object, plan: Plan) -> None:
        async with open_world(seed, self.settings) as world:
            accounts = give_accounts(world, self.accounts)
            async with world.open_market() as market, open_accounts(market, accounts) as opened:
                engine = Engine(market, opened)
                async with trio.open_nursery() as nursery:
                    if self.invariant is not None:
                        nursery.start_soon(_look, self.invariant, engine)
                    nursery.start_soon(_apply, world, plan, nursery.cancel_scope)
                    await self.strategy(engine)
                    nursery.cancel_scope.cancel()


async def _apply(world: World, plan: Plan, scope: trio.CancelScope) -> None:
    """Let the faults of ``plan`` happen, then end the run."""
    await trio.sleep(CALM_S)
    async with trio.open_nursery() as nursery:
        await play(plan, partial(WITH_ACCOUNTS.apply, world), nursery)
    scope.cancel()


async def _look(invariant: Invariant, engine: Engine) -> None:
    while True:
        invariant(engine)
        await trio.sleep(LOOK_S)
