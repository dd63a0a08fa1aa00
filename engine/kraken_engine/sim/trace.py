"""The trace of a run: one hash over everything that happened, the last events in words, and coverage counters.

Two runs are the same run exactly when their digests are equal. Only times, kinds, ids and sizes go in, never contents:
WebSocket masks and TLS records come from the operating system's randomness, and differ where behaviour does not.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Mapping

import attrs
import trio

from kraken_engine.errors import UsageError

__all__ = ["Fact", "Sometimes", "Trace"]

Fact = str | int | float | bool | None
"""What an event may say of itself: ids, sizes, times."""

TAIL_EVENTS = 50


@attrs.define(kw_only=True)
class Trace:
    """Collects the events of one run.

    Calling it records one event: ``trace("tx", "127.0.0.1:443#1>", 512)``.
    """

    now: Callable[[], float] = trio.current_time
    """Where the time of an event comes from: virtual seconds."""
    _hash: hashlib.blake2b = attrs.field(factory=lambda: hashlib.blake2b(digest_size=16), init=False, repr=False)
    _tail: deque[str] = attrs.field(factory=lambda: deque(maxlen=TAIL_EVENTS), init=False, repr=False)
    _closed: bool = attrs.field(default=False, init=False)
    _counts: Counter[str] = attrs.field(factory=Counter[str], init=False)
    _observers: list[Callable[[str, tuple[Fact, ...]], None]] = attrs.field(
        factory=list[Callable[[str, tuple[Fact, ...]], None]], init=False, repr=False
    )

    def observe(self, observer: Callable[[str, tuple[Fact, ...]], None]) -> None:
        """Call ``observer(kind, facts)`` for every event from now on; judges read the network's doings here."""
        self._observers.append(observer)

    def __call__(self, kind: str, *facts: Fact) -> None:
        """Record an event of ``kind`` at this moment."""
        line = f"{self.now():.9f} {kind} {facts}"
        self._hash.update(line.encode())
        if not self._closed:
            self._tail.append(line)
        self._counts[kind] += 1
        for observer in self._observers:
            observer(kind, facts)

    def digest(self) -> str:
        """Return the hash of all events so far as 32 hexadecimal digits."""
        return self._hash.hexdigest()

    def tail(self) -> list[str]:
        """Return the last 50 events, oldest first, one line each."""
        return list(self._tail)

    def close_tail(self, last: str) -> None:
        """Keep the last events up to here, and ``last`` of all: what follows is only how the run is taken down."""
        if not self._closed:
            self._closed = True
            self._tail.append(f"{self.now():.9f} {last}")

    def counts(self) -> dict[str, int]:
        """Return how many events of each kind there were."""
        return dict(self._counts)


@attrs.define
class Sometimes:
    """Named situations that a campaign has to reach now and then, or it proves nothing about them.

    An invariant says *always*; its twin says that the hard case did come up. Code of a simulation calls
    :meth:`reach` in that case, and a campaign over many seeds, whose counters are added up with :meth:`add`,
    fails when :meth:`never` is not empty.
    """

    _counts: dict[str, int] = attrs.field(factory=dict[str, int], init=False)

    def register(self, *names: str) -> None:
        """Declare situations; a name that is already there keeps its count."""
        for name in names:
            self._counts.setdefault(name, 0)

    def reach(self, name: str) -> None:
        """Count one more time that ``name`` came up.

        Raises:
            UsageError: nobody registered ``name``, so nobody would notice if it never came up.
        """
        if name not in self._counts:
            raise UsageError(f"sometimes: {name!r} is not registered")
        self._counts[name] += 1

    def add(self, counts: Mapping[str, int]) -> None:
        """Add the counters of another run, registering what is new."""
        for name, count in counts.items():
            self._counts[name] = self._counts.get(name, 0) + count

    def counts(self) -> dict[str, int]:
        """Return every counter, in order of registration."""
        return dict(self._counts)

    def never(self) -> list[str]:
        """Return what was registered and never reached."""
        return [name for name, count in self._counts.items() if not count]
