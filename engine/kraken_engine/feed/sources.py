"""Two sources for one stream: what the WebSocket lines say, and what REST says while they cannot.

The lines publish here instead of straight to the publisher. Usually that makes no difference. A stream is *on call*
once the backup has been asked for it: the lines still have the word, until the backup brings something while they have
nothing. From then on it is *diverted*: readers get the backup's values, and what the lines say is kept aside, with what
it would have meant to readers. A *returning* stream is diverted until the lines have something newer than what was
shown last.

What holds across all of it:

* readers are told of each change of the source before the first value from there (:class:`SourceChanged`);
* a value of the backup that was asked for before the newest value of the lines was read is dropped: it may be older;
* tickers and books of the lines follow those of the backup only if they were read later;
* trades are told once and in order by their ids, candles by their begin and their count of trades, whatever the source.

Knows nothing of deadlines, holds, budgets or REST; the watchdog decides, the backup feed asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

import attrs

from kraken_engine.errors import Stale
from kraken_engine.feed.publisher import Publisher
from kraken_engine.model import Integrity, Source
from kraken_engine.normalise.events import (
    Candle,
    Event,
    Gap,
    InstrumentUpdate,
    Live,
    MarketEvent,
    Notice,
    Refused,
    Resync,
    SourceChanged,
    Trade,
    TradeGap,
    VenueStatus,
)
from kraken_engine.runtime import Clock
from kraken_engine.state.freshness import Freshness, StreamKey
from kraken_engine.state.trades import TradeSequence

__all__ = ["Sources"]

_KEPT_ASIDE = 1000
"""Trades or candles of the lines kept aside per stream; the backup has told most of them already."""

_SECONDS = len("2026-01-01T00:00:00")


@attrs.define
class _Floor:
    """What was shown last of the candles of a stream: only what is at least as new may follow."""

    begin: str = ""
    trades: int = -1

    def passes(self, candle: Candle) -> bool:
        return (candle.interval_begin[:_SECONDS], candle.trades) >= (self.begin, self.trades)

    def raise_to(self, candle: Candle) -> None:
        self.begin, self.trades = candle.interval_begin[:_SECONDS], candle.trades


@attrs.define
class _Diverted:
    """One stream that the backup feeds."""

    shown_s: float
    """When the last value shown from the backup was read."""
    returning: str | None = None
    """Why the lines are to have it back; None: they are not, yet."""
    newest: MarketEvent | None = None
    """Of the lines, current or not."""
    aside: dict[str | int, MarketEvent] = attrs.field(factory=dict[str | int, MarketEvent])
    """Trades by id, and of each candle the last state."""


@final
class Sources:
    """Stands between the lines and the publisher, for one market; has the lines' vocabulary (``Outlet``).

    Args:
        publisher: where readers are.
        clock: the runtime's.
        on_well: called when the lines have become current for a stream.
        on_lost: called when they are not current any more, and why.
        on_news: called with what concerns no single stream: the venue's state, instruments, lines.
    """

    def __init__(
        self,
        publisher: Publisher,
        clock: Clock,
        *,
        on_well: Callable[[StreamKey], None],
        on_lost: Callable[[StreamKey, str], None],
        on_news: Callable[[Event], None] = lambda _: None,
    ) -> None:
        self._publisher = publisher
        self._clock = clock
        self._on_well = on_well
        self._on_lost = on_lost
        self._on_news = on_news
        self._lines = Freshness()
        """What the lines say of diverted streams."""
        self._well: dict[StreamKey, None] = {}
        self._plain: dict[StreamKey, None] = {}
        """Streams the lines are current for, that are neither diverted nor filtered: their values just pass."""
        self._on_call: dict[StreamKey, str] = {}
        """Streams the backup has been asked for, and why."""
        self._diverted: dict[StreamKey, _Diverted] = {}
        self._from_backup: dict[StreamKey, str] = {}
        """Streams whose last source told to readers is the backup, and why it is not any more, once it is not."""
        self._trades: dict[StreamKey, TradeSequence] = {}
        self._candles: dict[StreamKey, _Floor] = {}
        self._status: tuple[object, ...] | None = None
        """The venue's state that readers were told last."""

    # -- the lines' side

    def publish(self, key: StreamKey, event: Event) -> None:
        """Take what the lines say of ``key``."""
        if key in self._plain and isinstance(event, MarketEvent):
            self._publisher.publish(key, event)
            return
        if isinstance(event, InstrumentUpdate):
            self._on_news(event)
        diverted = self._diverted.get(key)
        if diverted is None:
            self._pass(key, event)
        else:
            self._keep(key, diverted, event)
        self._settle(key)

    def announce(self, notice: Notice) -> None:
        """Pass on a notice that concerns no single stream; the venue's state is told to readers when it changes.

        Each line tells it with every connection, and REST when it is asked: what the last one said is not always what
        this one said last.
        """
        self._on_news(notice)
        if isinstance(notice, VenueStatus):
            status = (notice.text, tuple(notice.maintenance))
            if status == self._status:
                return
            self._status = status
        self._publisher.announce(notice)

    def announce_at_once(self, notice: Notice) -> None:
        """Pass such a notice on, and let readers run."""
        self.announce(notice)
        self.flush()

    def flush(self) -> None:
        """Let readers run."""
        self._publisher.flush()

    def hold(self, key: StreamKey, why: str, *, now: float) -> None:
        """Note that the lines' values of ``key`` come late."""
        if key in self._diverted:
            self._lines.hold(key, why, now=now)
        else:
            self._publisher.hold(key, why, now=now)
        self._settle(key)

    def release(self, key: StreamKey, *, now: float) -> None:
        """Note that they come in time again."""
        if key in self._diverted:
            self._lines.release(key, now=now)
        else:
            self._publisher.release(key, now=now)
        self._settle(key)

    def suspect(self, key: StreamKey, why: str, *, now: float) -> None:
        """Note that the lines went quiet."""
        if key in self._diverted:
            self._lines.suspect(key, why, now=now)
        else:
            self._publisher.suspect(key, why, now=now)
        self._settle(key)

    def lose(self, key: StreamKey, why: str, *, now: float) -> None:
        """Note that the lines lost updates."""
        if key in self._diverted:
            self._lines.lose(key, why, now=now)
        else:
            self._publisher.lose(key, why, now=now)
        self._settle(key)

    def forget(self, key: StreamKey) -> None:
        """Forget a stream nobody reads any more."""
        for memory in (
            self._well,
            self._plain,
            self._on_call,
            self._diverted,
            self._from_backup,
            self._trades,
            self._candles,
        ):
            memory.pop(key, None)
        self._lines.forget(key)
        self._publisher.forget(key)

    def stale(self, key: StreamKey) -> Stale | None:
        """Return why the lines' values of ``key`` may not be trusted now; None: they may, or there are none yet."""
        return self._lines.stale(key) if key in self._diverted else self._publisher.freshness.stale(key)

    # -- the backup's side

    def call(self, key: StreamKey, why: str) -> None:
        """Expect values of ``key`` from the backup: they are shown as long as the lines have nothing current."""
        if key in self._diverted:
            self._diverted[key].returning = None
        else:
            self._on_call[key] = why

    def offer(self, key: StreamKey, values: Sequence[MarketEvent], *, asked_s: float, now: float) -> bool:
        """Show what the backup answered, and return whether it is what readers see now.

        Args:
            key: the stream.
            values: the state of a ticker or book; trades, oldest first, or none if there were no new ones; candles,
                oldest first.
            asked_s: when the question was sent: what the lines told after that is newer.
            now: when the answer was read.
        """
        diverted = self._diverted.get(key)
        if diverted is None and not self._may_divert(key, asked_s):
            return False
        shown = self._news(key, values)
        if not shown and key[0] != "trade":
            return False
        if diverted is None:
            diverted = self._divert(key, now)
        for event in shown:
            self._tell(key, event)
        if not self._publisher.freshness.is_live(key):  # no new trade is an answer, too
            self._publisher.publish(key, Live(at_s=now, channel=str(key[0]), symbol=str(key[1])))
        diverted.shown_s = now
        return True

    def give_up(self, key: StreamKey, why: str, *, now: float) -> None:
        """The backup has nothing current of ``key`` either: readers are told, and the lines have the word again."""
        diverted = self._diverted.get(key)
        if diverted is None:
            self._publisher.freshness.restate(key, why)
            return
        self._publisher.lose(key, why, now=now)
        if self._lines.is_live(key):
            diverted.returning = diverted.returning or why
            self._try_return(key, diverted)
        else:
            self._on_call[key] = why
            self._leave_to_lines(key, why, now)
        self._settle(key)

    def restore(self, key: StreamKey, why: str) -> bool:
        """Give ``key`` back to the lines, as soon as they have something to show; return whether they have now."""
        self._on_call.pop(key, None)
        diverted = self._diverted.get(key)
        if diverted is None:
            return True
        diverted.returning = why
        self._try_return(key, diverted)
        return key not in self._diverted

    def dismiss(self, key: StreamKey, why: str, *, now: float) -> None:
        """Expect nothing of ``key`` from the backup any more: nobody reads it, so there is nobody to tell."""
        self._on_call.pop(key, None)
        if key in self._diverted:
            self._leave_to_lines(key, why, now)
            self._settle(key)

    def is_called(self, key: StreamKey) -> bool:
        """Return whether values of ``key`` are expected from the backup."""
        return key in self._on_call or key in self._diverted

    def is_well(self, key: StreamKey) -> bool:
        """Return whether the lines are current for ``key``."""
        return key in self._well

    def is_diverted(self, key: StreamKey) -> bool:
        """Return whether readers of ``key`` get the backup's values."""
        return key in self._diverted

    # -- helpers

    def _pass(self, key: StreamKey, event: Event) -> None:
        for told in self._filtered(key, event):
            if key in self._from_backup and isinstance(told, MarketEvent):
                self._tell_source(key, told.source, self._from_backup[key], self._clock.now())
            if told is event:
                self._publisher.publish(key, told)
            else:
                self._tell(key, told)

    def _tell(self, key: StreamKey, event: Event) -> None:
        """Tell readers what was found out here; that the stream is stale only where they know of nothing wrong."""
        if not isinstance(event, Stale) or self._publisher.freshness.is_live(key):
            self._publisher.publish(key, event)

    def _keep(self, key: StreamKey, diverted: _Diverted, event: Event) -> None:
        """Take note of what the lines say while readers listen to the backup."""
        if isinstance(event, (Refused, Resync)):
            self._publisher.announce(event)
            return
        self._lines.receive(key, event)
        if isinstance(event, MarketEvent):
            diverted.newest = event
            if isinstance(event, Trade):
                diverted.aside.pop(event.trade_id, None)  # of an older numbering
                diverted.aside[event.trade_id] = event
            elif isinstance(event, Candle):
                diverted.aside[event.interval_begin] = event
            if len(diverted.aside) > _KEPT_ASIDE:
                del diverted.aside[next(iter(diverted.aside))]
        self._try_return(key, diverted)

    def _may_divert(self, key: StreamKey, asked_s: float) -> bool:
        """Return whether an answer to a question of ``asked_s`` may take over ``key``."""
        latest = self._publisher.latest(key)
        older = latest is not None and latest.source is not Source.REST and latest.received_s >= asked_s
        return key in self._on_call and not older and not self._publisher.freshness.is_live(key)

    def _divert(self, key: StreamKey, now: float) -> _Diverted:
        why = self._on_call.pop(key)
        stale = self._publisher.freshness.stale(key)
        self._publisher.freshness.copy(key, self._lines)
        self._publisher.end_hold(key)
        channel, symbol = str(key[0]), str(key[1])
        if stale is not None and stale.since_s is not None:
            gap = Gap(
                at_s=now,
                channel=channel,
                symbol=symbol,
                start_s=stale.since_s,
                end_s=now,
                reason=stale.why,
                healed_by="rest",
            )
            self._publisher.publish(key, gap)
        self._tell_source(key, Source.REST, why, now)
        diverted = self._diverted[key] = _Diverted(now)
        return diverted

    def _try_return(self, key: StreamKey, diverted: _Diverted) -> None:
        """Let the lines have ``key`` back, if they are to and have something newer than what was shown."""
        why, newest = diverted.returning, diverted.newest
        if why is None or not self._lines.is_live(key):
            return
        if key[0] == "trade":
            values = list(diverted.aside.values())
        elif newest is None or newest.received_s <= diverted.shown_s:
            return
        else:
            values = list(diverted.aside.values()) or [newest]
        news = self._news(key, values)
        if not news and key[0] != "trade":
            return
        now = self._clock.now()
        self._end(key)
        source = Source.WEBSOCKET_V2 if newest is None else newest.source
        self._tell_source(key, source, why, now)
        for event in news:
            self._tell(key, event)
        if not self._publisher.freshness.is_live(key):
            self._publisher.publish(key, Live(at_s=now, channel=str(key[0]), symbol=str(key[1])))

    def _leave_to_lines(self, key: StreamKey, why: str, now: float) -> None:
        """Nobody has anything current; whoever has it next begins with :class:`SourceChanged` if that is a line."""
        self._from_backup[key] = why
        self._lines.lose(key, why, now=now)
        self._lines.copy(key, self._publisher.freshness)
        self._end(key)

    def _end(self, key: StreamKey) -> None:
        del self._diverted[key]
        self._lines.forget(key)

    def _tell_source(self, key: StreamKey, source: Source, why: str, now: float) -> None:
        changed = SourceChanged(at_s=now, channel=str(key[0]), symbol=str(key[1]), source=source, reason=why)
        self._publisher.publish(key, changed)
        if source is Source.REST:
            self._from_backup[key] = why
        else:
            self._from_backup.pop(key, None)

    def _news(self, key: StreamKey, values: Sequence[MarketEvent]) -> list[Event]:
        """Return what of ``values`` readers have not been told, from now on whatever its source."""
        latest = self._publisher.latest(key)
        if key[0] == "trade" and key not in self._trades:
            shown = latest if isinstance(latest, Trade) and latest.integrity is not Integrity.RESYNCING else None
            self._trades[key] = TradeSequence(str(key[1]), shown)
            if shown is None and values:  # trades from before anybody listened are history
                self._filtered(key, values[-1])
                return []
        elif key[0] == "ohlc" and key not in self._candles:
            floor = self._candles[key] = _Floor()
            if isinstance(latest, Candle):
                floor.raise_to(latest)
        return [event for value in values for event in self._filtered(key, value)]

    def _filtered(self, key: StreamKey, event: Event) -> Sequence[Event]:
        """Return what is told for ``event``: nothing if it, or something newer, was told by the other source."""
        if isinstance(event, (Trade, TradeGap)):
            sequence = self._trades.get(key)
            if sequence is None:
                return (event,)
            # What is missing is worked out from the ids again: the other source may have told it.
            return sequence.receive(event, now=event.received_s) if isinstance(event, Trade) else ()
        if isinstance(event, Candle):
            floor = self._candles.get(key)
            if floor is None:
                return (event,)
            if not floor.passes(event):
                return ()
            floor.raise_to(event)
        return (event,)

    def _settle(self, key: StreamKey) -> None:
        """Tell whether the lines are current for ``key``, if that has changed."""
        diverted = key in self._diverted
        well = (self._lines if diverted else self._publisher.freshness).is_live(key)
        filters = (self._trades, self._candles, self._from_backup)
        if well and not diverted and not any(key in one for one in filters):
            self._plain[key] = None
        else:
            self._plain.pop(key, None)
        if well and key not in self._well:
            self._well[key] = None
            self._on_well(key)
        elif not well and key in self._well:
            del self._well[key]
            stale = self.stale(key)
            self._on_lost(key, "not current" if stale is None else stale.why)
