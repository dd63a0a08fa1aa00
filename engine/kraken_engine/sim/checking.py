"""``sim.check``: run a strategy in simulated worlds full of faults, and find the seed that breaks it.

Decides how a strategy's failure is found, shrunk and told. Knows nothing of what the strategy does: it fails by
raising, or by an invariant that raises.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence

import trio

from kraken_engine.errors import UsageError
from kraken_engine.sim.deterministic import run
from kraken_engine.sim.failures import SimulationError, unwrapped
from kraken_engine.sim.hooks import FAULTS
from kraken_engine.sim.plan import Plan, draw_plan
from kraken_engine.sim.shrink import shrink
from kraken_engine.sim.world import World, WorldSettings, open_world
from kraken_engine.tasks.engine import Engine

__all__ = ["Invariant", "Strategy", "StrategyFailed", "check"]

Strategy = Callable[[Engine], Awaitable[None]]
Invariant = Callable[[Engine], None]

LOOK_S = 0.1
"""The invariant is looked at so often."""
CALM_S = 5.0
MOST_SHRINK_RUNS = 60


class StrategyFailed(SimulationError):
    """A strategy, or the invariant, raised; ``__cause__`` is what it raised under the shrunk plan."""

    def __init__(self, seed: object, plan: Plan, cause: BaseException) -> None:
        self.seed = seed
        self.plan = plan
        """The smallest plan found that still makes it fail."""
        replay = f"sim.check(strategy, seeds=[{seed!r}], faults=Plan.from_json(the plan above))"
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
        faults: kinds of faults by name, a plan of your own, or None for every kind.
        faults_per_min: how many a minute on average.
        invariant: called every 0.1 virtual seconds; fails by raising.
        settings: of the world: symbols, rate, the engine's configuration.

    Raises:
        StrategyFailed: with the seed, and the smallest plan that still makes it fail.
        UsageError: unknown kinds of faults; minutes that are not above 0; called inside a Trio run.
    """
    if not minutes > 0:
        raise UsageError(f"minutes: expected more than 0, got {minutes!r}")
    for seed in seeds:
        plan = _plan(seed, minutes, faults, faults_per_min)
        error = _error(strategy, invariant, seed, plan, settings)
        if error is None:
            continue
        kind = type(error)

        def fails(smaller: Plan, seed: object = seed, kind: type[BaseException] = kind) -> bool:
            return type(_error(strategy, invariant, seed, smaller, settings)) is kind

        smallest = shrink(plan, fails, max_runs=MOST_SHRINK_RUNS).plan
        cause = _error(strategy, invariant, seed, smallest, settings) or error
        raise StrategyFailed(seed, smallest, cause) from cause


def _plan(seed: object, minutes: float, faults: Sequence[str] | Plan | None, faults_per_min: float) -> Plan:
    if isinstance(faults, Plan):
        return faults
    kinds = FAULTS if faults is None else FAULTS.only(faults)
    return draw_plan(seed, minutes * 60, kinds, faults_per_min=faults_per_min)


def _error(
    strategy: Strategy, invariant: Invariant | None, seed: object, plan: Plan, settings: WorldSettings | None
) -> BaseException | None:
    """Run one world and return what it failed with."""

    async def main() -> None:
        async with open_world(seed, settings) as world, world.open_market() as market:
            engine = Engine(market, {})
            async with trio.open_nursery() as nursery:
                if invariant is not None:
                    nursery.start_soon(_look, invariant, engine)
                nursery.start_soon(_apply, world, plan, nursery.cancel_scope)
                await strategy(engine)
                nursery.cancel_scope.cancel()

    asleep_s = sum(float(fault.params.get("by_s", 0.0)) for fault in plan.faults if fault.kind == "suspend")
    try:
        run(seed, main, horizon_s=plan.horizon_s + CALM_S + asleep_s + 60.0)
    except UsageError:
        raise
    except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - the caller raises it with the plan
        return unwrapped(error)
    return None


async def _apply(world: World, plan: Plan, scope: trio.CancelScope) -> None:
    """Let the faults of ``plan`` happen, then end the run."""
    await trio.sleep(CALM_S)
    begin = trio.current_time()
    async with trio.open_nursery() as nursery:
        for fault in plan.faults:
            await trio.sleep_until(begin + fault.at_s)
            nursery.start_soon(FAULTS.apply, world, fault)
        await trio.sleep_until(begin + plan.horizon_s)
        nursery.cancel_scope.cancel()
    scope.cancel()


async def _look(invariant: Invariant, engine: Engine) -> None:
    while True:
        invariant(engine)
        await trio.sleep(LOOK_S)
