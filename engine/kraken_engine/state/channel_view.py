"""What every view of a channel has: messages in, what happened to which stream out.

A view is what one line knows of one channel, and survives the line's reconnects. An outcome is an event for the readers
of a stream or a :class:`Restore`: ask the venue anew for it. No I/O, no clock: shells tell the time.

Where several lines have the same streams, what another line has brought is no news from this one, unless it was told to
speak up: somebody has to know that this line is current as well.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

import attrs

from kraken_engine.errors import DecodeError, Stale
from kraken_engine.normalise.events import Event
from kraken_engine.state.freshness import StreamKey
from kraken_engine.state.subscriptions import SubscriptionKey

__all__ = ["ChannelView", "Outcome", "Progress", "Restore", "SimpleChannel"]


@attrs.frozen
class Restore:
    """Subscribe anew: only a fresh snapshot makes this stream whole."""

    reason: str


Outcome = tuple[StreamKey, Event | Restore]

Progress = str | int | tuple[str, int]
"""How far a line has come with a stream: comparable with the same stream on another line, and only growing."""


class ChannelView(Protocol):
    """What the shell of a channel task needs."""

    channel: str
    rejected: int
    """Elements skipped because they could not be trusted."""
    unsubscribed: int
    """Elements ignored because nobody here asked for their symbol."""

    def tell_rejects(self, tell: Callable[[DecodeError], None]) -> None:
        """Call ``tell`` for each element that is left out from now on."""
        ...

    def want(self, key: StreamKey, subscription: SubscriptionKey, *, now: float) -> None:
        """Expect messages of this stream from now on."""
        ...

    def drop(self, key: StreamKey) -> None:
        """Ignore messages of this stream from now on, and forget what is known of it."""
        ...

    def receive(self, message: Any, *, received_s: float) -> list[Outcome]:
        """Apply one message of this channel."""
        ...

    def passes(self, message: Any, *, now: float) -> bool:
        """Return whether ``message``, the very object another line brought, needs no more than to be taken note of.

        To be asked in the order of the line's messages, and then not to be received as well.
        """
        ...

    def speak_up(self, key: StreamKey, *, loud: bool) -> None:
        """Tell (``loud``), or do not tell, of values that another line brought first."""
        ...

    def progress(self, key: StreamKey) -> Progress | None:
        """Return how far this line has come with a stream on its present connection; None: nowhere, or unknown."""
        ...

    def is_dated(self, key: StreamKey) -> bool:
        """Return whether other lines can be measured by :meth:`progress`: a snapshot's time may be that of asking."""
        ...

    def lose(self, why: str, *, now: float, symbol: str | None = None, line_down: bool = False) -> list[Outcome]:
        """Note that messages of ``symbol`` (None: of any symbol) may be missing.

        ``line_down``: the next connection subscribes to everything anew, so nothing need be asked for here.
        """
        ...

    def confirmed(self, symbol: str | None, *, depth: int | None, now: float) -> None:
        """Note that the venue confirmed a subscription (of a book: at ``depth``)."""
        ...

    def tick(self, *, now: float) -> list[Outcome]:
        """Do what is due by now."""
        ...

    @property
    def next_due(self) -> float | None:
        """When :meth:`tick` is wanted next."""
        ...


S = TypeVar("S")


@attrs.define
class SimpleChannel(abc.ABC, Generic[S]):
    """Common ground of the channels with one small state per stream and nothing ever due."""

    channel: str = attrs.field(init=False)
    rejected: int = attrs.field(default=0, init=False)
    unsubscribed: int = attrs.field(default=0, init=False)
    last_reject: DecodeError | None = attrs.field(default=None, init=False)
    _tell_reject: Callable[[DecodeError], None] | None = attrs.field(default=None, init=False)
    _brought: dict[StreamKey, Progress] = attrs.field(factory=dict[StreamKey, Progress], init=False)
    _undated: dict[StreamKey, None] = attrs.field(factory=dict[StreamKey, None], init=False)
    """Streams of which a snapshot came last."""
    _loud: dict[StreamKey, None] = attrs.field(factory=dict[StreamKey, None], init=False)
    _streams: dict[StreamKey, S] = attrs.field(factory=dict[StreamKey, S], init=False)

    def tell_rejects(self, tell: Callable[[DecodeError], None]) -> None:
        """Call ``tell`` for each element that is left out from now on."""
        self._tell_reject = tell

    @abc.abstractmethod
    def _begin(self, subscription: SubscriptionKey) -> S:
        """Return the state of a stream of which nothing is known yet."""

    def want(self, key: StreamKey, subscription: SubscriptionKey, *, now: float) -> None:  # noqa: ARG002 - books need it
        """Expect messages of this stream from now on."""
        self._streams[key] = self._begin(subscription)

    def drop(self, key: StreamKey) -> None:
        """Ignore messages of this stream from now on."""
        self._streams.pop(key, None)
        self._brought.pop(key, None)
        self._undated.pop(key, None)
        self._loud.pop(key, None)

    def passes(self, message: Any, *, now: float) -> bool:  # noqa: ARG002 - channels differ
        """Pass nothing over: what is rare costs little."""
        return False

    def speak_up(self, key: StreamKey, *, loud: bool) -> None:
        """Tell, or do not tell, of what another line brought first."""
        if loud:
            self._loud[key] = None
        else:
            self._loud.pop(key, None)

    def progress(self, key: StreamKey) -> Progress | None:
        """Return how far this line has come with a stream."""
        return self._brought.get(key)

    def is_dated(self, key: StreamKey) -> bool:
        """Return whether an update came last."""
        return key not in self._undated

    def lose(self, why: str, *, now: float, symbol: str | None = None, line_down: bool = False) -> list[Outcome]:
        """Ask anew: the venue answers a fresh subscription with the present state."""
        if line_down:
            self._brought.clear()
        concerned = [key for key in self._streams if symbol is None or (len(key) > 1 and key[1] == symbol)]
        outcomes: list[Outcome] = []
        for key in concerned:
            self._forget_forming(self._streams[key])
            outcomes.append((key, _stale(key, why, now)))
            if not line_down:
                outcomes.append((key, Restore(why)))
        return outcomes

    def confirmed(self, symbol: str | None, *, depth: int | None, now: float) -> None:
        """Take note of nothing: no deadline depends on it."""

    def tick(self, *, now: float) -> list[Outcome]:  # noqa: ARG002 - nothing is ever due here
        """Do nothing: nothing is ever due here."""
        return []

    @property
    def next_due(self) -> float | None:
        """Return None: nothing is ever due here."""
        return None

    def _forget_forming(self, state: S) -> None:
        pass

    def _reject(self, error: DecodeError) -> None:
        self.rejected += 1
        self.last_reject = error
        if self._tell_reject is not None:
            self._tell_reject(error)


def _stale(key: StreamKey, why: str, now: float) -> Stale:
    return Stale(str(key[0]), str(key[1]) if len(key) > 1 else None, why, since_s=now)
