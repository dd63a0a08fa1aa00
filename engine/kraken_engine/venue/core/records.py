"""What the fault log keeps of every command."""

from __future__ import annotations

import attrs

__all__ = ["FaultRecord"]


@attrs.define(kw_only=True)
class FaultRecord:
    """One command of the fault log, and what came of it."""

    id: int
    name: str
    params: dict[str, object]
    at_s: float
    """When it was given, on the clock of ``now``."""
    until_s: float | None = None
    """When it ends by itself."""
    hits: int = 0
    """How often it took effect: frames lost or broken, sessions ended, requests refused."""
    first_hit_s: float | None = None
    last_hit_s: float | None = None

    def hit(self, now_s: float, times: int = 1) -> None:
        """Count an effect."""
        self.hits += times
        self.last_hit_s = now_s
        if self.first_hit_s is None:
            self.first_hit_s = now_s

    def as_json(self) -> dict[str, object]:
        """Return it JSON-ready."""
        return attrs.asdict(self)
