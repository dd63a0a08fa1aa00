"""What failover, backup feed and lines share: who feeds each stream, what is asked of REST, and what became of it.

Everything here is synchronous. The lines tell :class:`~kraken_engine.feed.sources.Sources` what they have; that tells
the watchdog; its commands change the sources and the plan of the backup; the two tasks (``watchdog``, ``backup_feed``)
only wait and ask.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Sequence

import attrs
import trio

from kraken_engine.config import FailoverSettings
from kraken_engine.control.backup_plan import TICKERS, BackupPlan, Poll
from kraken_engine.control.failover import Command, Feeder, Switch, UsePrimary, Watchdog
from kraken_engine.control.venue_mode import VenueModes, rules_of
from kraken_engine.control.verification import Verification
from kraken_engine.feed.publisher import Publisher
from kraken_engine.feed.sources import Sources
from kraken_engine.model import Integrity
from kraken_engine.monitor.kpis import Kpis
from kraken_engine.normalise.events import Event, InstrumentUpdate, MarketEvent, ModeChanged, VenueStatus
from kraken_engine.runtime import Clock
from kraken_engine.state.freshness import StreamKey
from kraken_engine.state.subscriptions import SubscriptionKey

__all__ = ["Continuity", "FailoverStatistics", "Signal"]

_UNHEARD_S = 5.0
"""A line that was not heard of for so long is not well, whatever it has not said yet.

This process slept, or was blocked, and the line's own judge has still to look; it would have ended the connection.
"""

BACKED_UP = ("ticker", "book", "trade", "ohlc")
"""Channels that REST has an answer for."""


class Signal:
    """Wakes one waiting task; any number of calls before it wakes count as one."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[None](1)

    def set(self) -> None:
        """Let the task look."""
        with contextlib.suppress(trio.WouldBlock):
            self._send.send_nowait(None)

    async def wait_until(self, deadline_s: float) -> None:
        """Wait for the signal, until ``deadline_s`` (monotonic) at most."""
        with trio.move_on_at(deadline_s):
            await self._receive.receive()


@attrs.frozen(kw_only=True)
class FailoverStatistics:
    """What failover did so far."""

    switches: int
    """Changes of the source, in either direction."""
    on_backup: int
    """Streams that are fed by the backup now, or are waiting for it."""
    answers: int
    """Answers of REST that were used."""
    failures: int
    """Questions that brought nothing."""
    uncovered: int
    """Streams lost by the lines that the budget does not reach now."""
    compared: int
    """Comparisons with REST in the background."""
    differences: int
    """Those that neither rounding nor age explains."""
    resyncs: int
    """Streams that were asked for anew because of one."""


@attrs.define(eq=False, kw_only=True)
class Continuity:
    """The shared state of one market's failover."""

    settings: FailoverSettings
    publisher: Publisher
    clock: Clock
    kpis: Kpis
    modes: VenueModes = attrs.field(factory=VenueModes)
    last_frame_s: Callable[[StreamKey], float] = lambda _: math.inf
    """When the lines that feed a stream last got a frame; whoever makes the lines sets it."""
    ask_again: Callable[[StreamKey], None] = lambda _: None
    """Subscribe anew to a stream, for a fresh snapshot; whoever makes the lines sets it."""
    doubt: Callable[[StreamKey, str], None] = lambda _, __: None
    """Trust no line with a stream until a fresh snapshot is there, and say why; whoever makes the lines sets it."""
    open_orders: Callable[[], Iterable[str]] = tuple
    """Symbols with open orders; whoever opens accounts sets it."""
    on_switch: Callable[[Switch], None] = lambda _: None
    """Told of every change of the source, to keep it; must not wait."""
    verification: Verification = attrs.field(factory=Verification, init=False)
    """Turns and doubts of the comparison with REST."""
    watchdog: Watchdog = attrs.field(init=False)
    plan: BackupPlan = attrs.field(init=False)
    sources: Sources = attrs.field(init=False)
    watch: Signal = attrs.field(factory=Signal, init=False)
    """The watchdog has something to look at."""
    feed: Signal = attrs.field(factory=Signal, init=False)
    """The backup feed has something to look at."""
    _wanted: dict[StreamKey, SubscriptionKey] = attrs.field(factory=dict[StreamKey, SubscriptionKey], init=False)
    _called: dict[StreamKey, float] = attrs.field(factory=dict[StreamKey, float], init=False)
    """Streams the backup is asked for, and until when it may be without an answer."""
    _refused: dict[StreamKey, str] = attrs.field(factory=dict[StreamKey, str], init=False)
    """Streams REST has refused since they were given to it."""
    _why: dict[Poll, str] = attrs.field(factory=dict[Poll, str], init=False)
    """Why the last question brought nothing."""
    _answers: int = attrs.field(default=0, init=False)
    _failures: int = attrs.field(default=0, init=False)
    _knows_markets: bool = attrs.field(default=False, init=False)
    """Whether there was a first list of markets, which changes nothing."""

    def __attrs_post_init__(self) -> None:
        self.watchdog = Watchdog(self.settings)
        self.plan = BackupPlan(self.settings)
        self.sources = Sources(self.publisher, self.clock, on_well=self._well, on_lost=self._lost, on_news=self._heard)

    # -- readers

    def want(self, key: StreamKey, subscription: SubscriptionKey) -> None:
        """Watch over a stream from now on."""
        if not self.settings.enabled or subscription.channel not in BACKED_UP:
            return
        self._wanted[key] = subscription
        self.watchdog.want(key, now=self.clock.now())
        if self.sources.is_well(key):
            self.watchdog.well(key, now=self.clock.now())
        self.watch.set()

    def change(self, key: StreamKey, subscription: SubscriptionKey) -> None:
        """Watch over a stream whose readers want more of it; who feeds it now goes on with that."""
        if key in self._wanted:
            self._wanted[key] = subscription
            self.feed.set()

    def drop(self, key: StreamKey) -> None:
        """Nobody reads a stream any more."""
        self._wanted.pop(key, None)
        self._refused.pop(key, None)
        self._called.pop(key, None)
        self.watchdog.drop(key)
        self.sources.dismiss(key, "nobody reads it", now=self.clock.now())
        self.publisher.flush()
        self.feed.set()

    def streams(self) -> list[StreamKey]:
        """Return the streams that are watched over."""
        return list(self._wanted)

    def trigger(self, key: StreamKey) -> str | None:
        """Return by what a ticker is triggered; None: it is no ticker, or nobody reads it."""
        subscription = self._wanted.get(key)
        return None if subscription is None else subscription.trigger

    def quiet_streams(self, *, longer_than_s: float) -> dict[StreamKey, MarketEvent | None]:
        """Return what the lines show of streams that are live and have said nothing for so long.

        That is None for a stream of trades of which none has come in this life.

        None at all while something is lost, or the venue is away: REST has better to do then, or nothing to say. Nor
        those of which the state of the venue, or of their market, lets nothing be expected: they are silent by
        right.
        """
        if not self.is_calm():
            return {}
        now, quiet = self.clock.now(), dict[StreamKey, MarketEvent | None]()
        for key in self._wanted:
            live_s, shown = self.publisher.freshness.live_since(key), self.shown(key)
            if live_s is None or not self.sources.is_well(key) or not self.modes.expects(str(key[0]), str(key[1])):
                continue
            if now - (live_s if shown is None else shown.received_s) >= longer_than_s:
                quiet[key] = shown
        return quiet

    def shown(self, key: StreamKey) -> MarketEvent | None:
        """Return what was shown last of a stream in this life."""
        latest = self.publisher.latest(key)
        return None if latest is None or latest.integrity is Integrity.RESYNCING else latest

    def is_calm(self) -> bool:
        """Return whether REST has nothing better to do: nothing is lost but what it refuses, and the venue is there."""
        busy = any(key not in self._refused for key in self.watchdog.on_backup())
        return self.modes.away is None and self.watchdog.next_due == math.inf and not busy

    def comparable_streams(self) -> list[StreamKey]:
        """Return the tickers and books that the lines are current for, and that follow every change of theirs."""
        return [
            key
            for key, subscription in self._wanted.items()
            if key[0] in ("ticker", "book")
            and subscription.trigger != "trades"  # between trades, such a ticker does not follow bid and ask
            and self.sources.is_well(key)
            and not self.sources.is_diverted(key)
            and self.modes.expects(str(key[0]), str(key[1]))
        ]

    def shows(self, key: StreamKey, event: MarketEvent | None) -> bool:
        """Return whether ``event`` is still what the lines show of ``key``, as current."""
        well = self.sources.is_well(key) and not self.sources.is_diverted(key)
        return well and self.shown(key) is event

    # -- the watchdog

    def look(self) -> None:
        """Decide what is due, and act on it."""
        now = self.clock.now()
        self._mistrust_the_unheard(now)
        for command in self.watchdog.check(now=now):
            self._act(command, now)
        self.publisher.flush()

    def _mistrust_the_unheard(self, now: float) -> None:
        """Give no stream back to lines that only seem to be well, since nobody has looked."""
        for key in self.watchdog.on_backup():
            silent_s = now - self.last_frame_s(key)
            if silent_s >= _UNHEARD_S and self.sources.is_well(key):
                self.sources.suspect(key, f"its lines were not heard of for {silent_s:.1f} s", now=now)

    def _act(self, command: Command, now: float) -> None:
        switch = command.switch
        self.kpis.failover()
        for key in switch.streams:
            if isinstance(command, UsePrimary):
                if not self.sources.restore(key, switch.reason):
                    self.ask_again(key)
            else:
                self._called[key] = now + self.settings.backup_lost_s
                self._refused.pop(key, None)  # of an earlier time: what was unknown then may be known now
                self.sources.call(key, switch.reason)
        self.on_switch(switch)
        self.feed.set()

    def note(self, switch: Switch) -> None:
        """Put a change of the source of other streams, an account's, on record beside those of the market."""
        self.kpis.failover()
        self.on_switch(self.watchdog.adopt(switch))

    def _well(self, key: StreamKey) -> None:
        self.watchdog.well(key, now=self.clock.now())
        self.watch.set()

    def _lost(self, key: StreamKey, why: str) -> None:
        self.watchdog.lost(key, why, good_s=min(self.clock.now(), self.last_frame_s(key)))
        self.watch.set()

    def _heard(self, event: Event) -> None:
        """Keep account of the venue's state and that of its markets."""
        if isinstance(event, VenueStatus):
            self.heard_status(event)
        elif isinstance(event, InstrumentUpdate):
            for instrument in event.instruments:
                before = self.modes.state_of(instrument.symbol)
                if self.modes.market(instrument.symbol, instrument.status) and self._knows_markets:
                    self._tell_mode(instrument.symbol, instrument.status, before)
            self._knows_markets = True

    def heard_status(self, status: VenueStatus) -> None:
        """Take note of the venue's state, heard from whomever, and let everything that rests on it follow.

        While the venue is away on purpose what is stale says so, whatever made it stale; what is not stale stays as it
        is, since nothing can have become of it.
        """
        before = self.modes.state
        if not self.modes.status(status):
            return
        away = self.modes.away
        self.watchdog.is_away = away is not None
        if away is not None:
            freshness = self.publisher.freshness
            for key in freshness.stale_keys():
                stale = freshness.stale(key)
                if stale is not None:
                    freshness.restate(key, self.modes.blame(stale.why))
        self._tell_mode(None, self.modes.state, before)
        self.watch.set()
        self.feed.set()

    def _tell_mode(self, symbol: str | None, mode: str, before: str) -> None:
        rules = rules_of(mode)
        changed = ModeChanged(
            at_s=self.clock.now(),
            symbol=symbol,
            mode=mode,
            before=before,
            orders=rules.orders.value,
            cancels=rules.cancels,
            away=self.modes.away,
        )
        self.publisher.announce(changed)
        self.publisher.flush()

    # -- the backup feed

    def replan(self) -> None:
        """Make the plan for the streams that the backup is asked for now."""
        now = self.clock.now()
        for key in [key for key in self._called if not self.sources.is_called(key)]:
            del self._called[key]
        streams = {key: self.poll_of(key) for key in self._called if key not in self._refused}
        changed = self.plan.cover(streams, open_orders=self.open_orders(), now=now)
        for key in changed.covered:
            self._called[key] = now + self.settings.backup_lost_s
        for key in changed.uncovered:
            room = self.plan.room(str(key[0]))
            why = f"not within the REST budget of {room} such questions in {self.settings.slowest_s:g} s"
            self._give_up(key, why, now)

    def poll_of(self, key: StreamKey) -> Poll:
        """Return the question that brings a stream."""
        subscription = self._wanted[key]
        if subscription.channel == "ticker":
            return TICKERS
        detail = subscription.interval if subscription.channel == "ohlc" else subscription.depth
        return Poll(subscription.channel, subscription.symbol, detail)

    def streams_of(self, poll: Poll) -> list[StreamKey]:
        """Return the streams a question brings."""
        return [key for key in self._called if self.plan.is_covered(key) and self.poll_of(key) == poll]

    def answered(self, key: StreamKey, values: Sequence[MarketEvent], *, asked_s: float) -> None:
        """Show what REST answered about one stream."""
        now = self.clock.now()
        if not self.sources.offer(key, values, asked_s=asked_s, now=now):
            return
        self._answers += 1
        if key in self._called:
            self._called[key] = now + self.settings.backup_lost_s
            self.watchdog.delivered(key, now=now)
            self._why.pop(self.poll_of(key), None)

    def failed(self, poll: Poll, why: str) -> None:
        """A question brought nothing; what it was to bring stays current for a while."""
        self._failures += 1
        self._why[poll] = why

    def brought(self, poll: Poll) -> bool:
        """Return whether the last answer to a question brought something."""
        return poll not in self._why

    def refused(self, key: StreamKey, why: str) -> None:
        """REST refuses a stream, and would refuse it again."""
        self._failures += 1
        self._refused[key] = why
        self._give_up(key, why, self.clock.now())
        self.feed.set()

    def expire(self) -> None:
        """Give up what REST has not brought for too long."""
        now = self.clock.now()
        self._mistrust_the_unheard(now)
        for key, until_s in self._called.items():
            if until_s <= now and self.plan.is_covered(key):
                why = self._why.get(self.poll_of(key), f"no answer within {self.settings.backup_lost_s:g} s")
                self._give_up(key, self.modes.blame(f"REST: {why}"), now)
                self._called[key] = math.inf
        self.publisher.flush()

    @property
    def next_expiry(self) -> float:
        """When :meth:`expire` is wanted next."""
        return min((until_s for key, until_s in self._called.items() if self.plan.is_covered(key)), default=math.inf)

    def _give_up(self, key: StreamKey, why: str, now: float) -> None:
        self.sources.give_up(key, why, now=now)
        self.watchdog.uncovered(key)
        self.watch.set()

    def statistics(self) -> FailoverStatistics:
        """Return the counters."""
        on_backup = self.watchdog.on_backup()
        return FailoverStatistics(
            switches=self.watchdog.switches,
            on_backup=len(on_backup),
            answers=self._answers,
            failures=self._failures,
            uncovered=sum(not self.plan.is_covered(key) for key in on_backup),
            compared=self.verification.compared,
            differences=self.verification.differences,
            resyncs=self.verification.resyncs,
        )

    def feeder(self, key: StreamKey) -> Feeder:
        """Return who is to feed a stream now."""
        return self.watchdog.feeder(key)
