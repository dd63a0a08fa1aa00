"""Times that were promised, and what they came to: distributions over many runs, by what went wrong.

Knows nothing of how a time is taken. A promise for every single case (``p100``) that is broken is a violation of the
run in which that happened; the others can only be judged over many.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import attrs

__all__ = ["PROMISES", "Figures", "Promise", "distribution", "promise_of"]

MOST_KEPT = 100_000
"""Times of one name; of more, every other one is kept."""


@attrs.frozen(kw_only=True)
class Promise:
    """What was promised of a time."""

    p50_s: float | None = None
    p99_s: float | None = None
    p100_s: float | None = None

    def broken_by(self, seconds: Sequence[float]) -> list[str]:
        """Return which parts of it these times break, in words."""
        ordered = sorted(seconds)
        parts = (("p50", 50, self.p50_s), ("p99", 99, self.p99_s), ("p100", 100, self.p100_s))
        return [
            f"{name} {_percentile(ordered, percent):.3f} s, promised {limit:g} s"
            for name, percent, limit in parts
            if limit is not None and ordered and _percentile(ordered, percent) > limit
        ]

    def __str__(self) -> str:
        parts = (("p50", self.p50_s), ("p99", self.p99_s), ("p100", self.p100_s))
        return ", ".join(f"{name} <= {limit:g} s" for name, limit in parts if limit is not None)


PROMISES: Mapping[str, Promise] = {
    "silence until everything is stale": Promise(p100_s=2.75),
    "silence until the connection is replaced": Promise(p100_s=4.25),
    "mute subscription until it is asked for anew": Promise(p100_s=3.5),
    "wrong checksum until the book is asked for anew": Promise(p99_s=1.0),
    "lost connection until every book is there again": Promise(p50_s=0.5, p99_s=2.0),
    "an update shown while a line is well": Promise(p100_s=0.05),
    "restart until both accounts are live": Promise(p100_s=5.0),
}
"""By name; a name in front of a colon is the promise, what follows tells the kind of fault."""


@attrs.define
class Figures:
    """Times by name."""

    seconds: dict[str, list[float]] = attrs.field(factory=dict[str, list[float]])
    on_broken: Callable[[str], None] | None = None
    """Told, in words, when a time breaks what was promised for every single case."""

    def add(self, name: str, seconds: float) -> None:
        """Note one time."""
        kept = self.seconds.setdefault(name, [])
        kept.append(seconds)
        if len(kept) > MOST_KEPT:
            del kept[::2]
        limit = promise_of(name).p100_s
        if limit is not None and seconds > limit and self.on_broken is not None:
            self.on_broken(f"{name}: expected at most {limit:g} s, got {seconds:.3f} s")

    def merge(self, other: Mapping[str, Sequence[float]]) -> None:
        """Add the times of another run."""
        for name, seconds in other.items():
            kept = self.seconds.setdefault(name, [])
            kept.extend(seconds)
            while len(kept) > MOST_KEPT:
                del kept[::2]

    def rows(self) -> dict[str, Sequence[float]]:
        """Return the times by name, in order; those of a promise about half of all cases also with all kinds together.

        Such a promise is made of them together; what few or none may exceed holds for each kind by itself, lest many
        quick ones hide a slow one.
        """
        together: dict[str, list[float]] = {}
        for name, kept in self.seconds.items():
            if promise_of(name).p50_s is not None:
                together.setdefault(name.partition(":")[0], []).extend(kept)
        return dict(sorted({**self.seconds, **together}.items()))

    def broken(self) -> list[str]:
        """Return the promises that these times break, in words."""
        told: list[str] = []
        for name, kept in self.rows().items():
            promise = promise_of(name)
            if ":" in name:
                promise = attrs.evolve(promise, p50_s=None)
            told += [f"{name}: {part}" for part in promise.broken_by(kept)]
        return told


def promise_of(name: str) -> Promise:
    """Return what was promised of the time called ``name``; nothing, for most names."""
    return PROMISES.get(name.partition(":")[0], Promise())


def distribution(seconds: Sequence[float]) -> dict[str, float]:
    """Return count, minimum, median, 90th and 99th percentile and maximum; times in seconds."""
    ordered = sorted(seconds)
    if not ordered:
        return {"count": 0}
    shown = {f"p{percent}": _percentile(ordered, percent) for percent in (50, 90, 99)}
    return {"count": len(ordered), "min": ordered[0], **shown, "max": ordered[-1]}


def _percentile(ordered: Sequence[float], percent: int) -> float:
    """Return the smallest time that so many percent do not exceed (nearest rank)."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
