"""Where judges report: the first violation of a run counts, and ends it."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from kraken_engine.sim.failures import Violation

__all__ = ["Verdict"]


@attrs.define
class Verdict:
    """The outcome of one run so far."""

    violation: Violation | None = None
    note: Callable[[Violation], None] = lambda _: None
    """Told of the violation, before anything ends because of it."""
    _ends: Callable[[], None] | None = None

    def fail(self, invariant: str, what: str) -> None:
        """Report that ``invariant`` did not hold; all but the first report are ignored."""
        if self.violation is None:
            self.violation = Violation(invariant, what)
            self.note(self.violation)
            if self._ends is not None:
                self._ends()

    def on_violation(self, end: Callable[[], None]) -> None:
        """Call ``end`` at the first violation: it stops the run."""
        self._ends = end
        if self.violation is not None:
            end()
