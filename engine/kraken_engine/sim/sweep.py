"""Cancel a scenario at each of its steps, one run after the other, and see that it leaves nothing behind.

A step is one turn of a task: what runs between two checkpoints. Cancelling before the n-th step of a program, for every
n, tries each place at which a cancellation can arrive, which no test that picks times by hand does.

::

    async def scenario(victim: Victim) -> None:
        network = SimNetwork(...)
        async with trio.open_nursery() as nursery:
            await nursery.start(serve_venue, network)
            await victim.run(lambda: use_engine(network), leaks=lambda: network.open_streams("client"))
            nursery.cancel_scope.cancel()


    report = cancel_at_every_step(scenario, seed=1, horizon_s=60)
    assert not report.failures
"""

from __future__ import annotations

import weakref
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import attrs
import trio

from kraken_engine.errors import UsageError
from kraken_engine.sim.deterministic import run

__all__ = ["Scenario", "SweepFailure", "SweepReport", "Victim", "cancel_at_every_step", "count_steps"]

Scenario = Callable[["Victim"], Awaitable[None]]
"""A whole world in which one part, given to :meth:`Victim.run`, is cancelled. Run once for each step, afresh."""


class Victim(trio.abc.Instrument):
    """The part of a scenario that is cancelled, and every task that it started, wherever."""

    def __init__(self, cancel_before: int | None) -> None:
        self.steps = 0
        """Steps of the victim so far."""
        self.cancelled_at: float | None = None
        self.left_at: float | None = None
        self.left_behind: list[str] = []
        """Tasks and other things that were still there when it had left."""
        self._cancel_before = cancel_before
        self._scope: weakref.ref[trio.CancelScope] | None = None
        self._family: dict[int, str] = {}
        """Names of the victim's tasks by ``id``. Neither they nor the scope are held here: a run that got stuck has to
        go away as a whole when it is over, and this object stays."""

    async def run(
        self, main: Callable[[], Awaitable[object]], *, leaks: Callable[[], Sequence[str]] | None = None
    ) -> None:
        """Run ``main``, to its end or until it is cancelled, and look for what it left behind.

        Args:
            main: the part under test. What it raises leaves as it is, and fails this run.
            leaks: names what is still open, once ``main`` has left.

        Raises:
            UsageError: called twice in one scenario.
        """
        if self._scope is not None:
            raise UsageError("victim: run() was called twice in one scenario")
        here = trio.lowlevel.current_task()
        self._family[id(here)] = here.name
        try:
            with trio.CancelScope() as scope:
                self._scope = weakref.ref(scope)
                await main()
        finally:
            self.left_at = trio.current_time()
            del self._family[id(here)]
        self.left_behind += [f"task {name}" for name in self._family.values()]
        if leaks is not None:
            self.left_behind += leaks()

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        """Count a task that the victim started as the victim's, whatever nursery it runs in."""
        if self._family and id(trio.lowlevel.current_task()) in self._family:
            self._family[id(task)] = task.name

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        """Forget a task of the victim that has ended."""
        self._family.pop(id(task), None)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count a step of the victim, and cancel it if this is the one."""
        if id(task) in self._family and self.left_at is None:
            self.steps += 1
            scope = None if self._scope is None else self._scope()
            if self.steps == self._cancel_before and scope is not None:
                self.cancelled_at = trio.current_time()
                scope.cancel()


@attrs.frozen
class SweepFailure:
    """Cancelled before ``step``, the scenario did not end as it should: ``what``."""

    step: int
    what: str


@attrs.frozen(kw_only=True)
class SweepReport:
    """What a sweep did."""

    steps: int
    """Steps the victim takes when nobody cancels it."""
    tried: int
    failures: tuple[SweepFailure, ...]


def count_steps(scenario: Scenario, *, seed: object, horizon_s: float) -> int:
    """Run ``scenario`` without cancelling anything and return how many steps its victim takes.

    Raises:
        UsageError: it has no victim, or leaves something behind even so.
        Exception: whatever the scenario raises.
    """
    victim, _ = _one(scenario, None, seed=seed, horizon_s=horizon_s)
    if victim.left_at is None:
        raise UsageError("scenario: it never called victim.run()")
    if victim.left_behind:
        raise UsageError(f"scenario: leaves behind {', '.join(victim.left_behind)} even when nobody cancels it")
    return victim.steps


def cancel_at_every_step(
    scenario: Scenario,
    *,
    seed: object,
    horizon_s: float,
    steps: Iterable[int] | None = None,
    exit_within_s: float = 1.0,
) -> SweepReport:
    """Run ``scenario`` once for each step of its victim, cancelling the victim just before that step.

    Each time the victim must leave within ``exit_within_s`` virtual seconds of being cancelled, leave no task and
    nothing of its ``leaks`` behind, and nothing may be raised.

    Args:
        scenario: builds its world anew on each call; must bear that its victim ends early.
        seed: of every run; steps are the same ones each time.
        horizon_s: virtual seconds one run may take.
        steps: which ones to try, from 1; None for all.
        exit_within_s: virtual seconds.

    Raises:
        UsageError: the scenario fails, or leaks, even when nobody cancels it.
    """
    total = count_steps(scenario, seed=seed, horizon_s=horizon_s)
    failures: list[SweepFailure] = []
    tried = 0
    for step in range(1, total + 1) if steps is None else steps:
        tried += 1
        victim, error = _one(scenario, step, seed=seed, horizon_s=horizon_s)
        failures += [SweepFailure(step, what) for what in _faults(victim, error, exit_within_s)]
    return SweepReport(steps=total, tried=tried, failures=tuple(failures))


def _one(
    scenario: Scenario, step: int | None, *, seed: object, horizon_s: float
) -> tuple[Victim, Exception | BaseExceptionGroup[Any] | None]:
    victim = Victim(step)
    try:
        run(seed, lambda: scenario(victim), horizon_s=horizon_s, instruments=[victim])
    except (Exception, BaseExceptionGroup) as error:
        if step is None:
            raise
        return victim, error
    return victim, None


def _faults(victim: Victim, error: BaseException | None, exit_within_s: float) -> Iterable[str]:
    if error is not None:
        yield f"raised {error!r}"
    if victim.cancelled_at is None:
        yield "did not take this step, although the seed is the same: something of another run got in"
    elif victim.left_at is None:
        yield "never left"
    elif victim.left_at - victim.cancelled_at > exit_within_s:
        yield f"left {victim.left_at - victim.cancelled_at:.3f} s after it was cancelled"
    if victim.left_behind:
        yield f"left behind {', '.join(victim.left_behind)}"
