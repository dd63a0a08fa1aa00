"""Make a failing fault plan small: fewer faults first, then a shorter run.

Delta debugging (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002) over the list of
faults: chunks are left out, halves first, single faults last, as long as the run still fails. What remains is minimal
in the sense that no single fault can be left out. Then the horizon is halved as long as the run still fails, and
what lasts on before the first fault and after the last one is cut away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from kraken_engine.errors import UsageError
from kraken_engine.sim.plan import Fault, Plan

__all__ = ["Fails", "Shrunk", "shrink"]

Fails = Callable[[Plan], bool]
"""Runs a plan and says whether it fails *in the same way* as the one to be shrunk."""

SHORTEST_S = 1.0
"""No horizon below this is tried."""


@attrs.frozen(kw_only=True)
class Shrunk:
    """A smaller plan that still fails."""

    plan: Plan
    runs: int
    """How many runs it took."""
    minimal: bool
    """False: the allowed number of runs was used up first."""


def shrink(plan: Plan, fails: Fails, *, max_runs: int = 200) -> Shrunk:
    """Return a small plan that still fails.

    Args:
        plan: fails.
        fails: must be deterministic, and true only for the same failure.
        max_runs: bound on the calls of ``fails``.

    Raises:
        UsageError: ``plan`` does not fail.
    """
    budget = _Budget(fails, plan, max_runs)
    if not budget.fails(plan.faults, plan.horizon_s):
        raise UsageError("shrink: this plan does not fail (or not every time)")
    faults, horizon_s = plan.faults, plan.horizon_s
    faults = () if budget.fails((), horizon_s) else _fewer(faults, horizon_s, budget)
    while horizon_s / 2 >= SHORTEST_S:
        earlier = tuple(fault for fault in faults if fault.at_s < horizon_s / 2)
        if not budget.fails(earlier, horizon_s / 2):
            break
        faults, horizon_s = earlier, horizon_s / 2
    faults, horizon_s = _sooner(faults, horizon_s, budget)
    smallest = attrs.evolve(plan, faults=tuple(faults), horizon_s=horizon_s)
    return Shrunk(plan=smallest, runs=budget.runs, minimal=not budget.exhausted)


def _fewer(faults: tuple[Fault, ...], horizon_s: float, budget: _Budget) -> tuple[Fault, ...]:
    size = (len(faults) + 1) // 2
    while faults and not budget.exhausted:
        for begin in range(0, len(faults), size):
            rest = faults[:begin] + faults[begin + size :]
            if rest and budget.fails(rest, horizon_s):
                faults = rest
                break
        else:
            if size == 1:
                break
            size = (size + 1) // 2
        size = min(size, max(1, len(faults) // 2))
    return faults


def _sooner(faults: tuple[Fault, ...], horizon_s: float, budget: _Budget) -> tuple[tuple[Fault, ...], float]:
    """Return the faults, together, as early as they still make the run fail, and a horizon soon after them."""
    if not faults:
        return faults, horizon_s
    end_s = faults[-1].at_s + SHORTEST_S
    if end_s < horizon_s and budget.fails(faults, end_s):
        horizon_s = end_s
    by_s = faults[0].at_s - SHORTEST_S
    while by_s >= SHORTEST_S:
        moved = tuple(attrs.evolve(fault, at_s=round(fault.at_s - by_s, 3)) for fault in faults)
        if moved[0].at_s >= 0 and budget.fails(moved, horizon_s - by_s):
            faults, horizon_s = moved, horizon_s - by_s
        by_s = round(by_s / 2, 3)
    return faults, horizon_s


@attrs.define
class _Budget:
    """Calls ``fails`` at most so often, and never twice for the same plan."""

    _fails: Fails
    _plan: Plan
    _max_runs: int
    runs: int = 0
    exhausted: bool = False
    _known: dict[tuple[tuple[int, ...], float], bool] = attrs.field(
        factory=dict[tuple[tuple[int, ...], float], bool], init=False
    )
    """What came of a plan, by the identity of its faults, which are kept alive for that."""
    _alive: list[Sequence[Fault]] = attrs.field(factory=list[Sequence[Fault]], init=False)

    def fails(self, faults: Sequence[Fault], horizon_s: float) -> bool:
        key = (tuple(id(fault) for fault in faults), horizon_s)
        if key not in self._known:
            if self.runs >= self._max_runs:
                self.exhausted = True
                return False
            self.runs += 1
            self._alive.append(faults)
            self._known[key] = self._fails(attrs.evolve(self._plan, faults=tuple(faults), horizon_s=horizon_s))
        return self._known[key]
