"""Several lines feed the same streams, and readers see one: which line's word counts, and what readers are told.

Each line tells its streams as if it were the only one, through a gate of its own; so what comes here is consistent by
itself: values between ``Live`` and ``Stale``, which the line vouches for. Of these

* the first to bring something newer counts, whichever line that is: the newest state is shown once, and never one that
  is older (I-4);
* two states of one venue time are in order when one line brought both, or when it is known of a line that it had passed
  the one before it brought the other (:mod:`~kraken_engine.state.lineage`). In no order, one is shown only if no line
  goes on from what was shown last, or if those lack it for :data:`UNSETTLED_S`;
* a line that has just got its snapshot may be ahead of the line that readers follow: what it brings is early, and waits
  until that line has come so far (:mod:`~kraken_engine.state.early`), or for :data:`UNSETTLED_S`;
* so does, for :data:`LUMPED_S` at the most, what a line brings that lately told several changes in one, while another
  line tells them one by one: else readers would miss the states between;
* trades come here merged, and instruments only where they changed.

A stream is stale for its readers when the last line that fed it cannot be trusted, and live as soon as one can. So the
end of a line is no event for readers while another one feeds their streams. What happened to a single line is told to
those who ask for health.

A line that is not trusted, or a stream that is not live, is *loud*: the line tells also what others brought first, so
that somebody learns that it is current again.

Knows nothing of tasks, sockets, or why there are several lines.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import attrs

from kraken_engine.errors import Stale
from kraken_engine.model import Instrument
from kraken_engine.normalise.book_view import BookUpdate
from kraken_engine.normalise.events import (
    Event,
    Gap,
    InstrumentUpdate,
    Live,
    MarketEvent,
    Notice,
    Refused,
    Resync,
    Trade,
)
from kraken_engine.state.arbitrated import Feed, Stream, Told
from kraken_engine.state.early import MOST_EARLY, Early
from kraken_engine.state.event_order import EQUAL, NEWER, OLDER, identical, order_of, same
from kraken_engine.state.freshness import StreamKey
from kraken_engine.state.member import Member
from kraken_engine.state.outlet import Outlet
from kraken_engine.state.trades import renumbered
from kraken_engine.state.venue_time import WENT_BACK

__all__ = ["CROSSED_S", "LUMPED_S", "UNSETTLED_S", "Arbiter"]

UNSETTLED_S = 1.0
"""How long a state waits that may come before the shown one, or long after it, for the lines that would show that."""

LUMPED_S = 0.02
"""How long several changes in one wait for the line that tells each; well below what showing an update may take."""

CROSSED_S = 2.0
"""How long a crossed book may be shown (I-8), however many lines agree about it."""

_CROSSED = f"crossed for {CROSSED_S:g} s"

_REMEMBERED = 64
"""States of one venue time remembered, so that none of them is shown twice."""


class Arbiter:
    """Decides for every stream of a market between the lines that feed it."""

    def __init__(self, readers: Outlet, on_wait: Callable[[], None] | None = None) -> None:
        """``on_wait`` is called when something begins to wait, and :attr:`due_s` may be sooner than before."""
        self.readers = readers
        self.due_s = math.inf
        """When :meth:`tick` is wanted, lest something waits for longer than it should."""
        self.duplicates = 0
        """Values that another line had brought, as far as lines told of them."""
        self.withheld = 0
        """Values not shown because something newer was."""
        self._on_wait = on_wait
        self._streams: dict[StreamKey, Stream] = {}
        self._restless: dict[StreamKey, None] = {}
        """Streams of which time alone may change something."""
        self._instruments: dict[str, Instrument] = {}

    def member(self, name: str) -> Member:
        """Return the outlet of one more line."""
        return Member(self, name)

    def join(self, member: Member, key: StreamKey) -> None:
        """A line is to feed a stream, which begins with this call if it is new."""
        self._stream(key).feeds.setdefault(member, Feed())

    def feeds(self, key: StreamKey) -> dict[str, bool]:
        """Return which lines feed a stream, and whether each may be trusted with it now."""
        stream = self._streams.get(key)
        return {} if stream is None else {member.name: feed.live for member, feed in stream.feeds.items()}

    def show_again(self, key: StreamKey, *, now: float) -> None:
        """Show the next state that a line brings after ``now``, even if it is the one that is shown."""
        stream = self._streams.get(key)
        if stream is not None:
            stream.again_s = now
            for member in stream.feeds:
                member.speak_up(key, loud=True)

    def announce(self, notice: Notice) -> None:
        """Publish what a line says of no single stream."""
        self.readers.announce(notice)

    def flush(self) -> None:
        """A batch of one line is complete."""
        self.readers.flush()

    def hear(self, member: Member, key: StreamKey, event: Event) -> None:
        """Take what one line, by itself, would have told its readers."""
        stream = self._streams.get(key)
        if isinstance(event, InstrumentUpdate):
            self._changed(key, event)
            return
        if stream is None:
            stream = self._stream(key)
        feed = stream.feeds.get(member)
        if feed is None:
            feed = stream.feeds[member] = Feed()
        if isinstance(event, MarketEvent):
            self._value(stream, member, feed, event)
        elif isinstance(event, Stale):
            feed.went_back = feed.went_back or event.why.startswith(WENT_BACK)
            self._fell(stream, member, feed, event)
        elif isinstance(event, Live):
            self._rose(stream, member, feed, event)
        elif isinstance(event, Gap):
            feed.gap = event
        elif isinstance(event, Resync):
            self._aside(stream, event)
        elif isinstance(event, Refused):
            self._refused(stream, member, feed, event)
        else:
            self.readers.publish(key, event)

    def leave(self, member: Member, key: StreamKey) -> None:
        """A line feeds a stream no longer."""
        stream = self._streams.get(key)
        feed = None if stream is None else stream.feeds.pop(member, None)
        if stream is None or feed is None:
            return
        stream.begin_anew(member)
        if not stream.feeds:
            del self._streams[key]
            self._restless.pop(key, None)
            self.readers.forget(key)
        elif feed.live:
            since_s = 0.0 if stream.last is None else stream.last.received_s
            self._lost_one(stream, feed, _stale(key, f"{member.name} feeds it no longer", since_s), lost=False)

    def tick(self, *, now: float) -> None:
        """Do what is due by now; to be called several times a second, and at :attr:`due_s`."""
        self.due_s = math.inf
        for key in list(self._restless):
            stream = self._streams[key]
            restless = False
            if stream.crossed_s is not None:
                restless = True
                if now - stream.crossed_s >= CROSSED_S and stream.told is Told.LIVE:
                    self._tell_stale(stream, _stale(key, _CROSSED, now), None, lost=True)
            if stream.waits:
                restless = True
                self._release(stream, now=now)
            for member, feed in stream.feeds.items():
                if feed.unsettled is not None:
                    if now - feed.unsettled.received_s < UNSETTLED_S:
                        restless = True
                    else:
                        self._settle(stream, member, feed)
            if not restless:
                del self._restless[key]

    def _stream(self, key: StreamKey) -> Stream:
        stream = self._streams.get(key)
        if stream is None:
            stream = self._streams[key] = Stream(key)
        return stream

    # -- values

    def _value(self, stream: Stream, member: Member, feed: Feed, event: MarketEvent) -> None:
        last = stream.last
        order = NEWER if last is None or stream.key[0] == "trade" else order_of(last, event)
        if type(event) is BookUpdate:
            if event.snapshot:
                stream.begin_anew(member)
            if member.views is not None:
                feed.place = member.views.place(stream.key)
            patience_s = self._patience_s(stream, member, feed, event, order)
            if patience_s:
                after = stream.last if stream.has_brought(member) else None
                self._wait(stream, member, feed, Early(event, feed.place, patience_s, after))
                return
        elif isinstance(event, Trade) and isinstance(last, Trade) and event.trade_id <= last.trade_id:
            self._renumbered(stream, feed, renumbered(last, event), event.received_s)
        if order == NEWER or self._counts(stream, member, feed, event, order):
            self._show(stream, member, feed, event, order)
        if stream.waits:
            self._release(stream, now=event.received_s)

    def _patience_s(self, stream: Stream, member: Member, feed: Feed, event: BookUpdate, order: int) -> float:
        """Return for how long ``event`` is to wait for what another line will bring; 0: not at all."""
        if order == NEWER and (event.snapshot or feed.early) and stream.is_ahead(member):
            return UNSETTLED_S
        if order in (NEWER, EQUAL) and stream.is_lumped(member):
            return 0.0 if order == EQUAL and any(same(shown, event) for shown in stream.shown) else LUMPED_S
        return 0.0

    def _counts(self, stream: Stream, member: Member, feed: Feed, event: MarketEvent, order: int) -> bool:
        """Return whether ``event``, which is not newer than what was shown last, is to be shown all the same."""
        last = stream.last
        assert last is not None
        if order == OLDER:
            if feed.went_back and all(one.went_back or not one.live for one in stream.feeds.values()):
                self._forget_times(stream, event)
                return True
            self.withheld += 1
            return False
        if stream.told is not Told.LIVE:
            # Nobody is trusted any more but this line; and the shown state itself is worth another look.
            return same(last, event) or not any(same(shown, event) for shown in stream.shown)
        if stream.again_s is not None and event.received_s > stream.again_s and same(last, event):
            return True
        if stream.has_passed(member):
            return not identical(last, event)
        if any(same(shown, event) for shown in stream.shown):
            self.duplicates += 1
            if order == EQUAL and same(last, event):
                stream.come[member] = None
                feed.unsettled = None  # it came before
            return False
        if member in stream.come or not stream.origin_lives():
            return True
        if order == EQUAL:
            feed.unsettled, feed.unsettled_at = event, feed.place
            self._restless[stream.key] = None
        return False

    def _show(self, stream: Stream, member: Member, feed: Feed, event: MarketEvent, order: int) -> None:
        if (
            isinstance(event, BookUpdate)
            and (event.book.crossed or stream.crossed_s is not None)
            and self._is_crossed_too_long(stream, feed, event)
        ):
            return
        stream.shown_by(member, feed.place)
        shown = stream.shown
        if order == NEWER:
            shown.clear()
        if len(shown) < _REMEMBERED:
            shown.append(event)
        stream.last = event
        feed.unsettled = None
        feed.went_back = False
        if stream.told is not Told.LIVE:
            self._tell_live(stream, feed, event.received_s)
        if stream.again_s is not None and event.received_s > stream.again_s:
            stream.again_s = None
            for one, its in stream.feeds.items():
                one.speak_up(stream.key, loud=stream.is_curious or not its.live)
        self.readers.publish(stream.key, event)

    def _is_crossed_too_long(self, stream: Stream, feed: Feed, event: BookUpdate) -> bool:
        if not event.book.crossed:
            stream.crossed_s = None
        elif stream.crossed_s is None:
            stream.crossed_s = event.received_s
            self._restless[stream.key] = None
        elif event.received_s - stream.crossed_s >= CROSSED_S:
            if stream.told is Told.LIVE:
                self._tell_stale(stream, _stale(stream.key, _CROSSED, event.received_s), feed, lost=True)
            return True
        return False

    def _settle(self, stream: Stream, member: Member, feed: Feed) -> None:
        """Show what was unsettled, unless that has been answered meanwhile."""
        event, feed.unsettled = feed.unsettled, None
        last = stream.last
        if event is None or last is None or not feed.live or stream.told is not Told.LIVE:
            return
        if stream.goes_on(member):
            return  # the line has come to the shown state, or to where it is from; so what it brought before is older
        if order_of(last, event) == EQUAL and not any(same(shown, event) for shown in stream.shown):
            feed.place = feed.unsettled_at
            self._show(stream, member, feed, event, EQUAL)

    def _wait(self, stream: Stream, member: Member, feed: Feed, early: Early) -> None:
        """Let a state wait for the followed line, which is to tell all it brings until it has come so far."""
        feed.early.add(early)
        if not stream.waits:
            stream.waits = True
            self._restless[stream.key] = None
            for other in stream.feeds:
                if other is not member:
                    other.speak_up(stream.key, loud=True)
        if len(feed.early) >= MOST_EARLY:
            self._release(stream, now=early.state.received_s)
        elif feed.early.due_s < self.due_s:
            self.due_s = feed.early.due_s
            if self._on_wait is not None:
                self._on_wait()

    def _release(self, stream: Stream, *, now: float) -> None:
        """Show the states that were early and are next now, or that have waited for too long."""
        for member, feed in stream.feeds.items():
            early = feed.early
            if not early:
                continue
            if not feed.live:
                early.clear()
                continue
            if stream.last is not None and early.include(stream.last):
                early.forget_to(stream.last)
                stream.come[member] = None
            late = now >= early.due_s or len(early) >= MOST_EARLY
            if late or not (stream.is_ahead(member) or stream.is_lumped(member)):
                self._take(stream, member, feed)
            self.due_s = min(self.due_s, early.due_s)
        if not any(feed.early for feed in stream.feeds.values()):
            stream.waits = False
            for member, feed in stream.feeds.items():
                if feed.live and stream.told is Told.LIVE:
                    member.speak_up(stream.key, loud=stream.is_curious)

    def _take(self, stream: Stream, member: Member, feed: Feed) -> None:
        """Show all that one line brought early, but for what turned out to be older than what is shown."""
        follows = False
        for one in feed.early.take():
            order = NEWER if stream.last is None else order_of(stream.last, one.state)
            if order == EQUAL and not follows and one.after is not stream.last and stream.has_brought(member):
                self.withheld += 1  # the line came to the shown state after this one
                continue
            feed.place = one.place
            if order == NEWER or self._counts(stream, member, feed, one.state, order):
                self._show(stream, member, feed, one.state, order)
                follows = True

    def _forget_times(self, stream: Stream, event: MarketEvent) -> None:
        if stream.told is Told.LIVE:
            self._tell_stale(stream, _stale(stream.key, WENT_BACK, event.received_s), None, lost=True)
        stream.last = None
        stream.shown.clear()
        for feed in stream.feeds.values():
            feed.went_back = False

    def _renumbered(self, stream: Stream, feed: Feed, why: Stale, now: float) -> None:
        """Tell readers before the trade that follows ``why``: merged trades come in order, but for this."""
        if stream.told is Told.LIVE:
            self._tell_stale(stream, why, feed, lost=True)
            feed.gap = Gap(
                at_s=now,
                channel="trade",
                symbol=str(stream.key[1]),
                start_s=stream.since_s,
                end_s=now,
                reason=why.why,
                healed_by="line",
            )

    # -- lines come and go

    def _rose(self, stream: Stream, member: Member, feed: Feed, event: Live) -> None:
        feed.live = True
        feed.refused = None
        if stream.told is Told.LIVE:
            feed.gap = None  # readers have missed nothing
            member.speak_up(stream.key, loud=stream.is_curious)
        elif stream.key[0] == "trade":  # which needs no value to be known as current
            self._tell_live(stream, feed, event.at_s)
            self.readers.publish(stream.key, event)

    def _fell(self, stream: Stream, member: Member, feed: Feed, event: Stale) -> None:
        member.speak_up(stream.key, loud=True)
        stream.begin_anew(member)
        if feed.live:
            feed.live = False
            self._lost_one(stream, feed, event, lost=member.is_lost(stream.key))
        elif stream.told is Told.AWAITING and all(one.stale(stream.key) is not None for one in stream.feeds):
            self._tell_stale(stream, event, feed, lost=member.is_lost(stream.key))

    def _lost_one(self, stream: Stream, feed: Feed, why: Stale, *, lost: bool) -> None:
        """A line fell that had fed the stream: another one goes on, or none can."""
        feed.unsettled = None
        feed.early.clear()
        if stream.told is not Told.LIVE:
            return
        if not any(one.live for one in stream.feeds.values()):
            self._tell_stale(stream, why, feed, lost=lost)
            return
        if stream.waits:
            self._release(stream, now=-math.inf)
        if not stream.origin_lives():
            for member, other in list(stream.feeds.items()):
                if other.unsettled is not None:
                    self._settle(stream, member, other)

    def _tell_stale(self, stream: Stream, why: Stale, feed: Feed | None, *, lost: bool) -> None:
        if stream.key[0] == "instrument":
            return  # a list that is a minute old is as good as new
        if lost or stream.told is not Told.LIVE:
            self.readers.publish(stream.key, why)
        else:
            self.readers.suspect(stream.key, why.why, now=why.since_s or 0.0)
        stream.told = Told.STALE
        stream.fell_with, stream.lost = feed, lost
        stream.since_s = why.since_s or 0.0
        for member in stream.feeds:
            member.speak_up(stream.key, loud=True)

    def _tell_live(self, stream: Stream, feed: Feed, now: float) -> None:
        """Say how the staleness ended; the value or notice that ends it follows."""
        if stream.told is Told.STALE and (stream.lost or feed.gap is not None):
            self.readers.publish(stream.key, self._gap(stream, feed, now))
        stream.told = Told.LIVE
        stream.fell_with = None
        for member, one in stream.feeds.items():
            one.gap = None
            if one.live:
                member.speak_up(stream.key, loud=False)

    def _gap(self, stream: Stream, feed: Feed, now: float) -> Gap:
        """Return what readers missed: all since the last line fell, unless the line that heals it brought that too."""
        own = feed.gap
        key = stream.key
        if own is not None and feed is stream.fell_with:
            return attrs.evolve(own, at_s=now, end_s=now)
        return Gap(
            at_s=now,
            channel=str(key[0]),
            symbol=str(key[1]) if len(key) > 1 else "",
            start_s=stream.since_s,
            end_s=now,
            reason="no line was left to be trusted" if own is None else own.reason,
            healed_by="line" if own is None else "snapshot",
        )

    # -- notices about one line

    def _aside(self, stream: Stream, notice: Notice) -> None:
        """Tell readers of the stream if it concerns them, and else who asks for health."""
        if stream.told is Told.LIVE:
            self.readers.announce(notice)
        else:
            self.readers.publish(stream.key, notice)

    def _refused(self, stream: Stream, member: Member, feed: Feed, event: Refused) -> None:
        feed.refused = event
        if event.final and all(one.refused is not None and one.refused.final for one in stream.feeds.values()):
            self.readers.publish(stream.key, event)
        elif event.final or next(iter(stream.feeds)) is not member:
            self.readers.announce(event)
        else:
            self._aside(stream, event)

    def _changed(self, key: StreamKey, event: InstrumentUpdate) -> None:
        """Publish instruments that are new or have changed; each line brings them all."""
        first = not self._instruments
        news = tuple(one for one in event.instruments if self._instruments.get(one.symbol) != one)
        for instrument in news:
            self._instruments[instrument.symbol] = instrument
        if news or first:
            self.readers.publish(key, attrs.evolve(event, instruments=news, snapshot=event.snapshot and first))


def _stale(key: StreamKey, why: str, since_s: float) -> Stale:
    return Stale(str(key[0]), str(key[1]) if len(key) > 1 else None, why, since_s=since_s)
