"""Many seeds, one after the other: what held, what was reached, and for each failure the smallest plan that fails.

Decides which runs are made and what is kept of them; what a single run is, is up to the runner. Every tenth seed whose
plan moves the wall clock is run again with a wall clock that stays right: what is published must be the same (I-28).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import attrs

from kraken_engine.sim.failures import Violation
from kraken_engine.sim.figures import Figures, distribution
from kraken_engine.sim.plan import Fault, Plan
from kraken_engine.sim.runner import Options, Report, simulate
from kraken_engine.sim.shrink import Shrunk, shrink
from kraken_engine.sim.trace import Sometimes

__all__ = ["Campaign", "Failure", "judge_wall_clock", "judged_again", "run_campaign", "shrink_report"]

MOST_SHRINK_RUNS = 80
CLOCK_EVERY = 10

_STANDSTILL = {"clock_step": "by_s", "clock_drift": "rate"}
"""Kinds of faults that move the wall clock and nothing else, and the parameter by which."""


@attrs.frozen(kw_only=True)
class Failure:
    """A seed that failed, and the smallest plan found that fails in the same way."""

    report: Report
    """Of the run as drawn."""
    shrunk: Shrunk
    smallest: Report
    """Of the run under the shrunk plan."""


@attrs.define(kw_only=True)
class Campaign:
    """What many runs came to."""

    violations: list[Failure] = attrs.field(factory=list[Failure], init=False)
    trace_hashes: dict[str, str] = attrs.field(factory=dict[str, str], init=False)
    """Digest of each run, by seed."""
    virtual_s: float = attrs.field(default=0.0, init=False)
    cpu_s: float = attrs.field(default=0.0, init=False)
    fault_kinds: Counter[str] = attrs.field(factory=Counter[str], init=False)
    sometimes: Sometimes = attrs.field(factory=Sometimes, init=False)
    figures: Figures = attrs.field(factory=Figures, init=False)

    def add(self, report: Report) -> None:
        """Count one run."""
        self.trace_hashes[report.seed] = report.digest
        self.virtual_s += report.virtual_s
        self.cpu_s += report.cpu_s
        self.fault_kinds.update(report.fault_kinds)
        self.sometimes.add(report.sometimes)
        self.figures.merge(report.figures)

    def as_json(self) -> dict[str, object]:
        """Return it JSON-ready."""
        return {
            "seeds": len(self.trace_hashes),
            "violations": [
                {
                    "seed": failure.report.seed,
                    "invariant": failure.smallest.violation.invariant if failure.smallest.violation else None,
                    "what": failure.smallest.violation.what if failure.smallest.violation else None,
                    "faults": [attrs.asdict(fault) for fault in failure.shrunk.plan.faults],
                }
                for failure in self.violations
            ],
            "trace_hashes": self.trace_hashes,
            "virtual_seconds": round(self.virtual_s, 3),
            "cpu_seconds": round(self.cpu_s, 3),
            "fault_kinds": dict(sorted(self.fault_kinds.items())),
            "sometimes": self.sometimes.counts(),
            "figures": {name: distribution(kept) for name, kept in self.figures.rows().items()},
            "promises_broken": self.figures.broken(),
        }


def run_campaign(
    seeds: Iterable[object], options: Options | None = None, *, each: Callable[[Report], None] | None = None
) -> Campaign:
    """Run every seed and return what came of it; ``each`` is told after every run, before a failure is shrunk."""
    options = options or Options()
    campaign = Campaign()
    clocks = 0
    for seed in seeds:
        report = simulate(seed, None, options)
        if report.violation is None and _moves_the_clock(report.plan):
            if clocks % CLOCK_EVERY == 0:
                report = judged_again(report, options)
            clocks += 1
        campaign.add(report)
        if each is not None:
            each(report)
        if report.violation is not None:
            campaign.violations.append(shrink_report(report, options))
    return campaign


def shrink_report(report: Report, options: Options) -> Failure:
    """Return the smallest plan found that violates the same invariant; at most 80 more runs."""
    failed: list[Report] = []
    violation = report.violation

    def fails(plan: Plan) -> bool:
        again = simulate(report.seed, plan, options)
        if violation is not None and violation.invariant == "I-28":
            again = judged_again(again, options)
        same = again.violation is not None and _invariant(again.violation) == _invariant(violation)
        if same:
            failed.append(again)
        return same

    shrunk = shrink(report.plan, fails, max_runs=MOST_SHRINK_RUNS)
    return Failure(report=report, shrunk=shrunk, smallest=failed[-1])


def judged_again(report: Report, options: Options) -> Report:
    """Return ``report`` with the judgement on the wall clock, if it was well so far and that was moved (I-28)."""
    if report.violation is not None or not _moves_the_clock(report.plan):
        return report
    return attrs.evolve(report, violation=judge_wall_clock(report, options))


def _moves_the_clock(plan: Plan) -> bool:
    return any(fault.kind in _STANDSTILL for fault in plan.faults)


def judge_wall_clock(report: Report, options: Options) -> Violation | None:
    """Run the same plan with a wall clock that stays right; what is published must not differ (I-28)."""
    plan = attrs.evolve(report.plan, faults=tuple(_stands_still(fault) for fault in report.plan.faults))
    market_digest = simulate(report.seed, plan, options).market_digest
    if market_digest == report.market_digest:
        return None
    return Violation("I-28", f"expected the same events whatever the wall clock, got {report.market_digest[:8]}")


def _stands_still(fault: Fault) -> Fault:
    name = _STANDSTILL.get(fault.kind)
    return fault if name is None else attrs.evolve(fault, params={**fault.params, name: 0.0})


def _invariant(violation: Violation | None) -> str | None:
    return None if violation is None else violation.invariant
