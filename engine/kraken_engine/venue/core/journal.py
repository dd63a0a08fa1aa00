"""What sessions did and asked for, in order: for judges who want to know how a client behaves."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable

import attrs

__all__ = ["Entry", "Journal"]

KEPT = 20_000


@attrs.frozen(kw_only=True)
class Entry:
    """One thing a session did."""

    at_s: float
    """On the clock of the exchange's ``now``."""
    session: int
    what: str
    """``open``, ``end``, or the method of a request that could be read."""
    channel: str | None = None
    symbols: tuple[str, ...] = ()


class Journal:
    """The last 20,000 entries, numbered from 0."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        """Begin an empty one; ``now_s`` tells the time of what is happening."""
        self.observers: list[Callable[[Entry], None]] = []
        """Called with every entry, in the task of whoever caused it."""
        self._now_s = now_s
        self._entries: deque[Entry] = deque(maxlen=KEPT)
        self.next = 0
        """Number of the entry that comes next."""

    def add(self, session: int, what: str, channel: str | None = None, symbols: Iterable[str | None] = ()) -> None:
        """Write one more."""
        named = tuple(symbol for symbol in symbols if symbol is not None)
        entry = Entry(at_s=self._now_s(), session=session, what=what, channel=channel, symbols=named)
        self._entries.append(entry)
        self.next += 1
        for observer in self.observers:
            observer(entry)

    def since(self, number: int) -> list[Entry]:
        """Return the entries from ``number`` on, as far as they are kept."""
        first = self.next - len(self._entries)
        return list(itertools.islice(self._entries, max(0, number - first), None))
