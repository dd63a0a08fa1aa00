"""``simulate``: one seed, one plan, one run, one report.

Decides what a run costs and what its outcome is called. Whatever comes out of the engine as an exception is a violation
too (``X-0``), and so is a world that gets stuck.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from kraken_engine.config import Config
from kraken_engine.errors import EngineError, UsageError
from kraken_engine.runtime import real_runtime, seeded_rng
from kraken_engine.sim.account_faults import PRIVATE_FAULTS
from kraken_engine.sim.account_scenario import AccountScenario
from kraken_engine.sim.deterministic import run
from kraken_engine.sim.failover import FAILOVER_FAULTS, FailoverScenario
from kraken_engine.sim.failures import SimulationError, Violation, unwrapped
from kraken_engine.sim.hooks import FAULTS
from kraken_engine.sim.judges.verdict import Verdict
from kraken_engine.sim.plan import Catalogue, Fault, Plan, draw_plan
from kraken_engine.sim.rest_faults import REST_FAULTS
from kraken_engine.sim.rest_scenario import RestScenario
from kraken_engine.sim.scenario import AROUND_S, Scenario
from kraken_engine.sim.world import WorldSettings, open_world

__all__ = ["FAILOVER", "PRIVATE", "PROFILES", "REST", "Options", "Report", "plan_for", "simulate"]

PRIVATE = "private"
"""The profile whose world has accounts in it, with judges and faults of their own."""
REST = "rest"
"""The profile whose world has no market but REST calls alone, with judges and faults of their own."""
FAILOVER = "failover"
"""The profile of a market with a backup, whose lines and REST are broken."""

PROFILES: Mapping[str, tuple[float, Sequence[str] | None]] = {
    "none": (0.0, ()),
    "mixed": (6.0, None),
    "storm": (30.0, None),
    "network": (8.0, [kind.name for kind in FAULTS.kinds if kind.place == "network"]),
    "venue": (12.0, [kind.name for kind in FAULTS.kinds if kind.place == "venue"]),
    "clock": (4.0, [kind.name for kind in FAULTS.kinds if kind.place == "clock"]),
    "private": (6.0, None),
    "rest": (4.0, None),
    "failover": (1.5, None),
}
"""Faults a minute on average, and which kinds (None: all there are for this profile), by name."""

SHORTEST_MIN = 2.0
LONGEST_RECOVERY_S = 3000.0
"""The limit of attempts, a lockout or a breaker may keep an engine away for long after the last fault, one by one."""


@attrs.frozen(kw_only=True)
class Options:
    """What a seed is made into."""

    minutes: float = 10.0
    """Virtual minutes of faults."""
    vary: bool = False
    """Whether every other seed gets fewer minutes, 2 at least: some mistakes only show when a run ends early."""
    profile: str = "mixed"
    settings: WorldSettings = attrs.field(factory=lambda: WorldSettings(config=Config()))
    """Of the world; the engine's own are those it is shipped with, with two market lines."""

    def __attrs_post_init__(self) -> None:
        if not 0 < self.minutes <= 1440:
            raise UsageError(f"minutes: expected more than 0 and at most 1440, got {self.minutes!r}")
        if self.profile not in PROFILES:
            raise UsageError(f"profile: expected one of {', '.join(PROFILES)}, got {self.profile!r}")


@attrs.frozen(kw_only=True)
class Report:
    """What one run came to."""

    seed: str
    plan: Plan
    violation: Violation | None
    digest: str
    """Hash of everything that happened, see :class:`~kraken_engine.sim.trace.Trace`."""
    market_digest: str
    """Hash of what was published alone."""
    tail: Sequence[str]
    """The last 50 events; of a run that failed, those before it did."""
    virtual_s: float
    cpu_s: float
    fault_kinds: Mapping[str, int]
    """Faults that found something to hit, by kind."""
    figures: Mapping[str, Sequence[float]]
    """Times that were taken, by name."""
    sometimes: Mapping[str, int]


def plan_for(seed: object, options: Options) -> Plan:
    """Return the faults that ``options`` mean for ``seed``."""
    faults_per_min, names = PROFILES[options.profile]
    kinds = _catalogue(options)
    if names is not None:
        kinds = kinds.only(names)
    return draw_plan(seed, _minutes(seed, options) * 60, kinds, faults_per_min=faults_per_min)


def _minutes(seed: object, options: Options) -> float:
    rng = seeded_rng(f"minutes:{seed}")
    if not options.vary or options.minutes <= SHORTEST_MIN or rng.random() < 0.5:
        return options.minutes
    return round(rng.uniform(SHORTEST_MIN, options.minutes), 2)


def simulate(seed: object, plan: Plan | None = None, options: Options | None = None) -> Report:
    """Run the world of ``seed`` under ``plan`` (drawn from the seed if None) and return what became of it.

    Raises:
        UsageError: the plan names a kind of fault that does not exist here, or parameters that make no sense.
    """
    options = options or Options()
    plan = plan_for(seed, options) if plan is None else plan
    kinds = _catalogue(options)
    _check(plan, kinds)
    verdict = Verdict()
    found: dict[str, Any] = {}

    async def main() -> None:
        async with open_world(seed, _settings(options)) as world:
            verdict.note = lambda violation: world.trace.close_tail(f"VIOLATION {violation.invariant}")
            scenario = _scenario(options)(world=world, plan=plan, faults=kinds, verdict=verdict)
            found.update(world=world, scenario=scenario)
            await scenario.run()
            found["virtual_s"] = world.clock.now() - world.slept_s

    cpu = real_runtime().clock.cpu_s
    began_s = cpu()
    try:
        run(seed, main, horizon_s=_longest_s(plan), real_limit_s=300 + plan.horizon_s)
    except UsageError:
        raise
    except (SimulationError, EngineError, Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - all of them count
        verdict.note = lambda _: None  # there is no run left to note it in ...
        verdict.on_violation(lambda: None)  # ... or to end
        verdict.fail(*_named(error))
    world, scenario = found["world"], found["scenario"]
    return Report(
        seed=str(seed),
        plan=plan,
        violation=verdict.violation,
        digest=world.trace.digest(),
        market_digest=scenario.market_trace.digest(),
        tail=world.trace.tail(),
        virtual_s=found.get("virtual_s", 0.0),
        cpu_s=cpu() - began_s,
        fault_kinds=dict(world.hits),
        figures=scenario.figures.seconds if isinstance(scenario, (Scenario, AccountScenario)) else {},
        sometimes=world.sometimes.counts(),
    )


def _longest_s(plan: Plan) -> float:
    """Return how long a run may take: sleep of the machine, and whatever has to be waited for, included."""
    asleep_s = sum(_seconds(fault) for fault in plan.faults if fault.kind == "suspend")
    return plan.horizon_s + AROUND_S + asleep_s + LONGEST_RECOVERY_S


def _seconds(fault: Fault) -> float:
    value = fault.params.get("by_s", 0.0)
    return float(value) if isinstance(value, (int, float)) else 0.0


def _catalogue(options: Options) -> Catalogue:
    known = {PRIVATE: PRIVATE_FAULTS, REST: REST_FAULTS, FAILOVER: FAILOVER_FAULTS}
    return known.get(options.profile, FAULTS)


def _settings(options: Options) -> WorldSettings:
    if options.profile == REST:
        return attrs.evolve(options.settings, door="rest", rate=0.5)
    backup = options.settings.backup or options.profile in (FAILOVER, PRIVATE)
    return attrs.evolve(options.settings, backup=backup)


_AnyScenario = type[Scenario] | type[AccountScenario] | type[RestScenario] | type[FailoverScenario]


def _scenario(options: Options) -> _AnyScenario:
    own: dict[str, _AnyScenario] = {PRIVATE: AccountScenario, REST: RestScenario, FAILOVER: FailoverScenario}
    return own.get(options.profile, Scenario)


def _check(plan: Plan, kinds: Catalogue) -> None:
    for fault in plan.faults:
        kinds.kind(fault.kind)


def _named(error: BaseException) -> tuple[str, str]:
    leaf = unwrapped(error)
    cause = leaf.__cause__
    if cause is not None:
        leaf = unwrapped(cause)
    if isinstance(leaf, Violation):
        return leaf.invariant, leaf.what
    return "X-0", f"expected no exception, got {type(leaf).__name__}: {leaf}"
