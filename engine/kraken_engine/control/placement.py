"""Which lines bring which stream.

Streams go round: each new one begins at the line after the one at which its predecessor began, and takes as many
lines as there is redundancy. So lines carry the same within one stream, and none is the first of all. A stream that
fails on one line can be moved to another that does not carry it yet.

Knows nothing of what streams are, nor whether a line is up: a line that is down comes back, and what is placed there
with it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

import attrs

__all__ = ["Placement"]

K = TypeVar("K", bound=Hashable)


@attrs.define
class Placement(Generic[K]):
    """Places streams on lines, which are known by their names."""

    lines: Sequence[str]
    redundancy: int
    """Lines for each stream; no more than there are."""
    _placed: dict[K, tuple[str, ...]] = attrs.field(factory=dict[K, tuple[str, ...]], init=False)
    _next: int = attrs.field(default=0, init=False)

    def place(self, key: K, *, everywhere: bool = False) -> tuple[str, ...]:
        """Return the lines that are to bring ``key``; the same ones as long as it is not dropped."""
        if key not in self._placed:
            count = len(self.lines)
            copies = count if everywhere else min(self.redundancy, count)
            self._placed[key] = tuple(self.lines[(self._next + n) % count] for n in range(copies))
            self._next = (self._next + 1) % count
        return self._placed[key]

    def lines_of(self, key: K) -> tuple[str, ...]:
        """Return the lines that bring ``key``, none if it was not placed."""
        return self._placed.get(key, ())

    def drop(self, key: K) -> tuple[str, ...]:
        """Place ``key`` nowhere any more; return where it was."""
        return self._placed.pop(key, ())

    def move(self, key: K, away_from: str) -> str | None:
        """Bring ``key`` on another line instead; return which, or None if all lines carry it already."""
        placed = self._placed.get(key, ())
        load = {line: 0 for line in self.lines if line not in placed}
        if away_from not in placed or not load:
            return None
        for lines in self._placed.values():
            for line in lines:
                if line in load:
                    load[line] += 1
        least = min(load, key=lambda line: load[line])
        self._placed[key] = tuple(least if line == away_from else line for line in placed)
        return least

    def load(self) -> dict[str, int]:
        """Return how many streams each line carries."""
        load = dict.fromkeys(self.lines, 0)
        for lines in self._placed.values():
            for line in lines:
                load[line] += 1
        return load
