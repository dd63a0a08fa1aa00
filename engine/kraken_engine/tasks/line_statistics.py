"""What a line counts, and how it is shown."""

from __future__ import annotations

import attrs

__all__ = ["LineCounters", "LineStatistics"]


@attrs.define
class LineCounters:
    """Running totals of one line."""

    connections: int = 0
    reads: int = 0
    frames: int = 0
    handled: int = 0
    """Messages of channels applied."""
    passed: int = 0
    """Messages that another line had brought: their bytes were known, and not decoded again."""
    overruns: int = 0
    """Batches dropped because a channel's inbox was full."""
    undecodable: int = 0
    resubscriptions: int = 0
    longest_lag_s: float = 0.0
    """Most seconds by which a look at this line came late."""


@attrs.frozen(kw_only=True)
class LineStatistics:
    """What a line did so far."""

    name: str
    up: bool
    connections: int
    reads: int
    frames: int
    overruns: int
    undecodable: int
    passed: int
    """Messages that another line had brought: their bytes were known, and not decoded again."""
    rejected: int
    """Elements of stateless channels skipped because they could not be trusted."""
    resubscriptions: int
    books_verified: int
    """Checksums that matched."""
    books_mismatched: int
    """Checksums that did not: each one dropped the book at once."""
    longest_lag_s: float
    """Most seconds by which a look at the line came late: code blocked the event loop, or the machine slept."""

    def __add__(self, later: LineStatistics) -> LineStatistics:
        """Return what two lines did that had the same place one after the other."""
        sums = {
            field.name: getattr(self, field.name) + getattr(later, field.name)
            for field in attrs.fields(LineStatistics)
            if field.name not in ("name", "up", "longest_lag_s")
        }
        return LineStatistics(
            name=later.name, up=later.up, longest_lag_s=max(self.longest_lag_s, later.longest_lag_s), **sums
        )

    @property
    def frames_per_read(self) -> float:
        """Text frames cut from one socket read, on average."""
        return self.frames / self.reads if self.reads else 0.0
