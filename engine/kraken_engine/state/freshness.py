"""Which streams are current, and what their readers must be told before the next value.

One :class:`Freshness` for all streams of a market. A stream is *awaiting* its first data, *live*, or *stale*. Three
things make it stale: the state behind it is lost (the book's own synchronisation says so), the line that feeds it has
gone quiet, or what that line delivers comes late. Only data makes it live again; a heartbeat never does (I-7). While
a stream is *held* because its line is late, data does not either: its values are withheld until it is released.

Knows nothing of time but what it is told, and nothing of tasks.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import attrs

from kraken_engine.errors import Stale
from kraken_engine.normalise.events import Event, Gap, Live, MarketEvent

__all__ = ["Freshness", "StreamKey"]

StreamKey = tuple[Hashable, ...]
"""``(channel, symbol, ...)``; a stream without a symbol is ``(channel,)``."""


@attrs.define
class _Staleness:
    stale: Stale
    lost: bool
    """Updates are missing; otherwise the source only went quiet, or is late."""
    whole: bool = False
    """Nothing but lateness keeps the stream from being live."""


@attrs.define
class Freshness:
    """Filters the events of every stream and adds the notices that keep readers honest."""

    _stale: dict[StreamKey, _Staleness] = attrs.field(factory=dict[StreamKey, _Staleness], init=False)
    _live: dict[StreamKey, float] = attrs.field(factory=dict[StreamKey, float], init=False)
    """Since when streams have been live."""
    _held: dict[StreamKey, str] = attrs.field(factory=dict[StreamKey, str], init=False)
    """Streams whose values come late, and how that is said."""

    def receive(self, key: StreamKey, event: Event) -> Iterable[Event]:
        """Return what readers of ``key`` are told for ``event``: notices it implies, then the event itself.

        A value of a held stream is not among them.
        """
        if isinstance(event, MarketEvent):
            if key in self._live:
                return (event,)
            if key in self._held:
                return self._withhold(key, event.received_s)
            return (*self._revive(key, event.received_s), event)
        if isinstance(event, Stale):
            return self._mark(key, event, lost=True)
        if isinstance(event, Live):
            return self._withhold(key, event.at_s) if key in self._held else self._revive(key, event.at_s)
        if isinstance(event, Gap):
            # Whoever says how the gap was healed knows best: from here on only Live is missing.
            if key not in self._held:
                self._stale.pop(key, None)
            elif key in self._stale:
                self._stale[key].lost = False
        return (event,)

    def hold(self, key: StreamKey, why: str, *, now: float) -> Iterable[Event]:
        """Withhold the values of a stream from now on, since they come late; return what its readers are told."""
        self._held[key] = why
        return self._mark(key, _stale(key, why, now), lost=False, whole=True) if key in self._live else ()

    def release(self, key: StreamKey, *, now: float) -> Iterable[Event]:
        """End :meth:`hold`, and return what readers are told: nothing if the stream is stale for another reason too.

        After :class:`Live` they are owed the newest value.
        """
        staleness = self._stale.get(key)
        if self._held.pop(key, None) is None or staleness is None or not staleness.whole:
            return ()
        return self._revive(key, now)

    def end_hold(self, key: StreamKey) -> None:
        """End :meth:`hold` without a word: the stream stays as stale as it is until other data comes."""
        self._held.pop(key, None)

    def is_held(self, key: StreamKey) -> bool:
        """Return whether values of ``key`` are withheld now."""
        return key in self._held

    def suspect(self, key: StreamKey, why: str, *, now: float) -> Iterable[Event]:
        """Mark a live stream stale because its source went quiet; return what its readers are told."""
        return self._mark(key, _stale(key, why, now), lost=False) if key in self._live else ()

    def lose(self, key: StreamKey, why: str, *, now: float) -> Iterable[Event]:
        """Mark a stream stale because updates were, or may have been, lost."""
        known = key in self._live or key in self._stale
        return self._mark(key, _stale(key, why, now), lost=True) if known else ()

    def restore(self, key: StreamKey, stale: Stale) -> None:
        """Note that a value of ``key`` comes from an earlier process: stale from the beginning, and after a loss."""
        if key not in self._live and key not in self._stale:
            self._stale[key] = _Staleness(stale, lost=True)

    def forget(self, key: StreamKey) -> None:
        """Drop what is known of a stream nobody reads any more."""
        self._stale.pop(key, None)
        self._live.pop(key, None)
        self._held.pop(key, None)

    def end(self, why: str) -> None:
        """Let nothing be current any more, without telling readers, whose streams end."""
        for key in self._live:
            self._stale[key] = _Staleness(_stale(key, why, None), lost=False)
        self._live.clear()

    def copy(self, key: StreamKey, to: Freshness) -> None:
        """Let ``to`` know of ``key`` exactly what is known here."""
        to.forget(key)
        if key in self._stale:
            to._stale[key] = attrs.evolve(self._stale[key])
        if key in self._live:
            to._live[key] = self._live[key]
        if key in self._held:
            to._held[key] = self._held[key]

    def restate(self, key: StreamKey, why: str) -> None:
        """Give another reason why ``key`` is stale, for whoever asks from now on; since when stays."""
        staleness = self._stale.get(key)
        if staleness is not None:
            stale = staleness.stale
            staleness.stale = Stale(stale.channel, stale.symbol, why, since_s=stale.since_s)

    def stale_keys(self) -> list[StreamKey]:
        """Return the streams whose last value may not be trusted now."""
        return list(self._stale)

    def stale(self, key: StreamKey) -> Stale | None:
        """Return why ``key`` may not be trusted now, or None when it is live or still awaits its first data."""
        staleness = self._stale.get(key)
        return None if staleness is None else staleness.stale

    def is_lost(self, key: StreamKey) -> bool:
        """Return whether ``key`` is stale because updates are missing, rather than late or not heard of."""
        staleness = self._stale.get(key)
        return staleness is not None and staleness.lost

    def is_live(self, key: StreamKey) -> bool:
        """Return whether the last value of ``key`` is current."""
        return key in self._live

    def live_since(self, key: StreamKey) -> float | None:
        """Return since when ``key`` has been live without a break (monotonic); None: it is not."""
        return self._live.get(key)

    def _withhold(self, key: StreamKey, now: float) -> Iterable[Event]:
        """Note that a held stream is whole, and how a loss before that ended."""
        told = list(self._mark(key, _stale(key, self._held[key], now), lost=False))
        staleness = self._stale[key]
        staleness.whole = True
        if staleness.lost:
            staleness.lost = False
            told.extend(_gap(key, staleness.stale, now))
        return told

    def _mark(self, key: StreamKey, stale: Stale, *, lost: bool, whole: bool = False) -> Iterable[Event]:
        """Record a stream as stale; readers are told the first time only."""
        self._live.pop(key, None)
        known = self._stale.get(key)
        if known is not None:
            known.lost |= lost
            known.whole = whole
            return ()
        self._stale[key] = _Staleness(stale, lost, whole)
        return (stale,)

    def _revive(self, key: StreamKey, now: float) -> Iterable[Event]:
        if key in self._live:
            return ()
        self._live[key] = now
        staleness = self._stale.pop(key, None)
        channel, symbol = str(key[0]), str(key[1]) if len(key) > 1 else ""
        live = Live(at_s=now, channel=channel, symbol=symbol)
        if staleness is None or not staleness.lost:
            return (live,)
        return (*_gap(key, staleness.stale, now), live)


def _gap(key: StreamKey, stale: Stale, now: float) -> tuple[Gap, ...]:
    """Return the gap that ends ``stale``, if it is known when that began."""
    if stale.since_s is None:
        return ()
    channel, symbol = str(key[0]), str(key[1]) if len(key) > 1 else ""
    gap = Gap(
        at_s=now,
        channel=channel,
        symbol=symbol,
        start_s=stale.since_s,
        end_s=now,
        reason=stale.why,
        healed_by="snapshot",
    )
    return (gap,)


def _stale(key: StreamKey, why: str, now: float | None) -> Stale:
    return Stale(str(key[0]), str(key[1]) if len(key) > 1 else None, why, since_s=now)
