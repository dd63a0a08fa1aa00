"""Which streams are current, and what their readers must be told before the next value.

One :class:`Freshness` for all streams of a market. A stream is *awaiting* its first data, *live*, or *stale*. Two
things make it stale: the state behind it is lost (the book's own synchronisation says so), or the line that feeds
it has gone quiet. Only data makes it live again; a heartbeat never does (I-7).

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
    """Updates are missing; otherwise the source only went quiet."""


@attrs.define
class Freshness:
    """Filters the events of every stream and adds the notices that keep readers honest."""

    _stale: dict[StreamKey, _Staleness] = attrs.field(factory=dict[StreamKey, _Staleness], init=False)
    _live: dict[StreamKey, None] = attrs.field(factory=dict[StreamKey, None], init=False)

    def receive(self, key: StreamKey, event: Event) -> Iterable[Event]:
        """Return what readers of ``key`` are told for ``event``: notices it implies, then the event itself."""
        if isinstance(event, MarketEvent):
            if key in self._live:
                return (event,)
            return (*self._revive(key, event.received_s), event)
        if isinstance(event, Stale):
            return self._mark(key, event, lost=True)
        if isinstance(event, Live):
            return self._revive(key, event.at_s)
        if isinstance(event, Gap):
            # Whoever says how the gap was healed knows best: from here on only Live is missing.
            self._stale.pop(key, None)
        return (event,)

    def suspect(self, key: StreamKey, why: str, *, now: float) -> Iterable[Event]:
        """Mark a live stream stale because its source went quiet; return what its readers are told."""
        return self._mark(key, _stale(key, why, now), lost=False) if key in self._live else ()

    def lose(self, key: StreamKey, why: str, *, now: float) -> Iterable[Event]:
        """Mark a stream stale because updates were, or may have been, lost."""
        known = key in self._live or key in self._stale
        return self._mark(key, _stale(key, why, now), lost=True) if known else ()

    def forget(self, key: StreamKey) -> None:
        """Drop what is known of a stream nobody reads any more."""
        self._stale.pop(key, None)
        self._live.pop(key, None)

    def stale(self, key: StreamKey) -> Stale | None:
        """Return why ``key`` may not be trusted now, or None when it is live or still awaits its first data."""
        staleness = self._stale.get(key)
        return None if staleness is None else staleness.stale

    def is_live(self, key: StreamKey) -> bool:
        """Return whether the last value of ``key`` is current."""
        return key in self._live

    def _mark(self, key: StreamKey, stale: Stale, *, lost: bool) -> Iterable[Event]:
        """Record a stream as stale; readers are told the first time only."""
        self._live.pop(key, None)
        known = self._stale.get(key)
        if known is not None:
            known.lost |= lost
            return ()
        self._stale[key] = _Staleness(stale, lost)
        return (stale,)

    def _revive(self, key: StreamKey, now: float) -> Iterable[Event]:
        if key in self._live:
            return ()
        self._live[key] = None
        staleness = self._stale.pop(key, None)
        channel, symbol = str(key[0]), str(key[1]) if len(key) > 1 else ""
        live = Live(at_s=now, channel=channel, symbol=symbol)
        if staleness is None or not staleness.lost or staleness.stale.since_s is None:
            return (live,)
        gap = Gap(
            at_s=now,
            channel=channel,
            symbol=symbol,
            start_s=staleness.stale.since_s,
            end_s=now,
            reason=staleness.stale.why,
            healed_by="snapshot",
        )
        return (gap, live)


def _stale(key: StreamKey, why: str, now: float) -> Stale:
    return Stale(str(key[0]), str(key[1]) if len(key) > 1 else None, why, since_s=now)
