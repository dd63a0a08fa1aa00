"""What is going to happen, in order of time: the one queue everything in the exchange comes from."""

from __future__ import annotations

import heapq
from collections.abc import Callable

__all__ = ["Agenda", "Happening"]

Happening = Callable[[int], int | None]
"""Called with its time (ns); returns when it wants to happen again, or None."""

_FIRST_LATE_ORDER = 1 << 32


class Agenda:
    """Happenings by time; those of equal time in order of ``order``, else of entry."""

    def __init__(self) -> None:
        self.now_ns = 0
        """Time of the latest happening or of the latest :meth:`run`; never goes back."""
        self._heap: list[tuple[int, int, Happening]] = []
        self._entries = _FIRST_LATE_ORDER

    @property
    def next_ns(self) -> int | None:
        """When the next happening is due."""
        return self._heap[0][0] if self._heap else None

    def at(self, time_ns: int, happening: Happening, *, order: int | None = None) -> None:
        """Enter a happening; one of the past happens as soon as possible."""
        if order is None:
            self._entries += 1
            order = self._entries
        heapq.heappush(self._heap, (max(time_ns, self.now_ns), order, happening))

    def run(self, until_ns: int, most: int) -> bool:
        """Let everything until ``until_ns`` happen, at most ``most`` of it; return whether that was all."""
        heap = self._heap
        while heap and heap[0][0] <= until_ns:
            if not most:
                return False
            most -= 1
            time_ns, order, happening = heap[0]
            self.now_ns = time_ns
            again_ns = happening(time_ns)
            if again_ns is None:
                heapq.heappop(heap)
            else:
                heapq.heapreplace(heap, (max(again_ns, time_ns + 1), order, happening))
        self.now_ns = max(self.now_ns, until_ns)
        return True
