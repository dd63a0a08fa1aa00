"""One line among several: where it publishes, and what may be asked of it.

What a line tells passes a gate of its own (:mod:`~kraken_engine.state.gate`), as if it were the only one, and then goes
to whoever decides between the lines.

Knows nothing of other lines, nor of what becomes of what is told.
"""

from __future__ import annotations

from typing import Protocol

from kraken_engine.errors import Stale
from kraken_engine.normalise.events import Event, Notice
from kraken_engine.state.freshness import StreamKey
from kraken_engine.state.gate import Gate
from kraken_engine.state.lineage import Place

__all__ = ["Ears", "LineViews", "Member"]


class LineViews(Protocol):
    """What has to be asked of a line."""

    def place(self, key: StreamKey) -> Place | None:
        """Return where the line stands among the states of a book; None: it has no such book, or shares none."""
        ...

    def has_passed(self, key: StreamKey, place: Place) -> bool:
        """Return whether the line is known to have brought ``place`` of a book, or what comes after it."""
        ...

    def follows(self, key: StreamKey, place: Place) -> bool:
        """Return whether the line has passed ``place`` of a book, or is going to."""
        ...

    def lumps(self, key: StreamKey) -> bool:
        """Return whether the line lately told several changes of a book in one that another told one by one."""
        ...

    def speak_up(self, key: StreamKey, *, loud: bool) -> None:
        """Tell, or do not tell, of what another line brought first."""
        ...


class Ears(Protocol):
    """Who decides between the lines, as each of them sees it."""

    def join(self, member: Member, key: StreamKey) -> None:
        """A line is to feed a stream."""
        ...

    def leave(self, member: Member, key: StreamKey) -> None:
        """A line feeds a stream no longer."""
        ...

    def hear(self, member: Member, key: StreamKey, event: Event) -> None:
        """Take what a line, by itself, would have told its readers."""
        ...

    def announce(self, notice: Notice) -> None:
        """Take what a line says of no single stream."""
        ...

    def flush(self) -> None:
        """A batch is complete."""
        ...


class Member:
    """Where one line publishes; an outlet as any other."""

    def __init__(self, ears: Ears, name: str) -> None:
        self.name = name
        self.views: LineViews | None = None
        """The line itself; set before it says anything."""
        self._ears = ears
        self._gate = Gate(self._hear)
        self._streams: dict[StreamKey, None] = {}

    def __repr__(self) -> str:
        return f"<Member {self.name}, {len(self._streams)} streams>"

    def begin(self, key: StreamKey) -> None:
        """This line is to feed ``key``."""
        self._streams[key] = None
        self._ears.join(self, key)

    def is_live(self, key: StreamKey) -> bool:
        """Return whether this line may be trusted with ``key`` now."""
        return self._gate.freshness.is_live(key)

    def is_lost(self, key: StreamKey) -> bool:
        """Return whether this line lacks updates of ``key``."""
        return self._gate.freshness.is_lost(key)

    def publish(self, key: StreamKey, event: Event) -> None:
        """Something happened to the stream ``key``, as this line has it."""
        self._gate.publish(key, event)

    def announce(self, notice: Notice) -> None:
        """Something happened that concerns no single stream."""
        self._ears.announce(notice)

    def flush(self) -> None:
        """A batch is complete."""
        self._ears.flush()

    def hold(self, key: StreamKey, why: str, *, now: float) -> None:
        """Values of ``key`` come late on this line."""
        self._gate.hold(key, why, now=now)

    def release(self, key: StreamKey, *, now: float) -> None:
        """Values of ``key`` come in time again."""
        self._gate.release(key, now=now)

    def suspect(self, key: StreamKey, why: str, *, now: float) -> None:
        """This line went quiet."""
        self._gate.suspect(key, why, now=now)

    def lose(self, key: StreamKey, why: str, *, now: float) -> None:
        """This line lacks updates of ``key``."""
        self._gate.lose(key, why, now=now)

    def stale(self, key: StreamKey) -> Stale | None:
        """Return why this line may not be trusted with ``key`` now."""
        return self._gate.freshness.stale(key)

    def forget(self, key: StreamKey) -> None:
        """This line feeds ``key`` no longer."""
        self._gate.forget(key)
        self._streams.pop(key, None)
        self._ears.leave(self, key)

    def end(self) -> None:
        """This line feeds nothing any more."""
        for key in list(self._streams):
            self.forget(key)

    def speak_up(self, key: StreamKey, *, loud: bool) -> None:
        """Let this line tell, or not tell, of what another line brought first."""
        if self.views is not None:
            self.views.speak_up(key, loud=loud)

    def _hear(self, key: StreamKey, event: Event) -> None:
        self._ears.hear(self, key, event)
