"""How far the data of a line is behind the venue, by the venue's own time.

The two clocks have no common zero, and the path has a length nobody told. So what counts is not the difference between
the moment an update was read and the time the venue gave it, but how much larger that is than the smallest of the last
minute: the floor. A minute is short enough for clocks that drift, and long enough for a path that has become slow to be
found out; one that stays slow for longer cannot be told from a venue whose clock was set back, and is the new floor.

Judges updates, and replies to pings while the line is late: a snapshot carries the time of the last change, which is
old in a quiet market. Knows nothing of connections, streams or our own wall clock.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime

import attrs

__all__ = ["Lag"]

_WINDOW_S = 60.0


@attrs.define
class Lag:
    """The judge of one line, across its connections: a slow one is found out by the one before it."""

    late_after_s: float
    """Further behind than that is late; it is over when it is less than half of it, so that jitter makes no storm."""
    late: bool = attrs.field(default=False, init=False)
    """Whether the last update of this connection came late."""
    words: str | None = attrs.field(default=None, init=False)
    """How late this connection was when :meth:`judge` found out, for readers; None: on time."""
    _floors: deque[tuple[float, float]] = attrs.field(factory=deque[tuple[float, float]], init=False, repr=False)
    """(when, difference): each larger than the one before it, at most one for each second of the window."""
    _ahead: bool = attrs.field(default=False, init=False)
    """Whether the last update was too far ahead of all others to be believed by itself."""

    def judge(self, venue_time: str | None, *, received_s: float) -> bool:
        """Observe the newest update of a read, and return whether :attr:`words` changed by it."""
        if venue_time is None:
            return False
        behind_s = self.observe(venue_time, received_s=received_s)
        if self.late == (self.words is not None):
            return False
        self.words = f"data is {behind_s:.1f} s behind the venue" if self.late else None
        return True

    def observe(self, venue_time: str, *, received_s: float) -> float:
        """Judge one update, in the order of reading, and return by how many seconds it is behind.

        A time that cannot be read says nothing: 0, and no change. Nor does a single one that would make all others
        look late, since nothing protects timestamps: the next one has to agree.
        """
        venue_s = _seconds(venue_time)
        if venue_s is None:
            return 0.0
        difference, floors = received_s - venue_s, self._floors
        while floors and floors[0][0] <= received_s - _WINDOW_S:
            floors.popleft()
        if floors and difference < floors[0][1] - self.late_after_s and not self._ahead:
            self._ahead = True
            return 0.0
        self._ahead = False
        while floors and floors[-1][1] >= difference:
            floors.pop()
        if not floors or int(floors[-1][0]) != int(received_s):
            floors.append((received_s, difference))
        behind_s = difference - floors[0][1]
        self.late = behind_s > (self.late_after_s / 2 if self.late else self.late_after_s)
        return behind_s

    def restart(self) -> None:
        """The connection has ended: the next one is not late until it shows it."""
        self.late = False
        self.words = None


def _seconds(venue_time: str) -> float | None:
    try:
        time = datetime.fromisoformat(venue_time)
    except ValueError:
        return None
    return time.timestamp() if time.tzinfo is not None else None
