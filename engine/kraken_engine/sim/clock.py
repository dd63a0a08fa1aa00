"""The clocks of a simulated machine: virtual monotonic time, and a wall clock that can be wrong.

Monotonic time is Trio's own (a ``MockClock`` in a simulated run). Wall time is monotonic time plus an offset that
faults move: steps, drift, a machine that slept.
"""

from __future__ import annotations

import attrs
import trio
import trio.testing

from kraken_engine.errors import UsageError

__all__ = ["WALL_START_NS", "SimClock"]

WALL_START_NS = 1_790_000_000_000_000_000
"""Where simulated wall time begins unless told otherwise: in September 2026."""


@attrs.define(kw_only=True)
class SimClock:
    """A ``runtime.Clock`` in virtual time."""

    wall_start_ns: int = WALL_START_NS
    _offset_ns: int = attrs.field(default=0, init=False)
    _drift: float = attrs.field(default=0.0, init=False)
    """Seconds the wall clock gains per second, since ``_drifting_from_s``."""
    _drifting_from_s: float = attrs.field(default=0.0, init=False)

    def now(self) -> float:
        """Return virtual monotonic seconds."""
        return trio.current_time()

    def wall_ns(self) -> int:
        """Return what the wall clock of the simulated machine shows."""
        return self.wall_start_ns + self._offset_ns + self._drifted_ns() + round(self.now() * 1e9)

    def cpu_s(self) -> float:
        """Return 0: real CPU time would make two runs of one seed differ."""
        return 0.0

    def error_ns(self) -> int:
        """Return how far the wall clock is ahead of the true time."""
        return self._offset_ns + self._drifted_ns()

    def step(self, seconds: float) -> None:
        """Set the wall clock forward, or back when ``seconds`` is below 0; timers do not notice."""
        self._offset_ns += round(seconds * 1e9)

    def drift(self, rate: float) -> None:
        """Let the wall clock gain ``rate`` seconds per second from now on; 0 ends it and keeps the error."""
        self._offset_ns += self._drifted_ns()
        self._drifting_from_s = self.now()
        self._drift = rate

    def suspend(self, seconds: float) -> None:
        """Let the whole machine sleep: everything that was due meanwhile is due at once when it wakes.

        Raises:
            UsageError: this is no simulated run, so time is not ours to move.
        """
        clock = trio.lowlevel.current_clock()
        if not isinstance(clock, trio.testing.MockClock):
            raise UsageError("suspend: only a run in virtual time can skip time")
        clock.jump(seconds)

    def _drifted_ns(self) -> int:
        return round(self._drift * (self.now() - self._drifting_from_s) * 1e9)
