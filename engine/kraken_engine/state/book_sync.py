"""Whether a symbol's book may be shown, and when to ask for it anew.

The venue numbers nothing on its book channel: a checksum that matches is all there is. So the states are

* ``AWAITING_SNAPSHOT``: nothing was shown yet;
* ``LIVE``: the last message verified, and the book it made is what consumers see;
* ``RESYNCING``: something was lost; consumers were told (``Stale``) and see no prices until a snapshot verifies.

Updates without a book are dropped: after an unsubscribe the venue still has some on the way, and they say nothing
about the snapshot to come. A loss costs one resubscription of this one symbol, spaced out when it keeps happening.

A verified book can still be in *doubt*: crossed, or older by the venue's own time than what was shown (a late
duplicate, a server that lags). A crossed book is shown with its flag; an older one is kept up to date but not shown,
so that venue times never go backwards. Doubt for longer than :data:`DOUBT_TOLERANCE_S` is a loss.

No checksum covers the levels beyond the tenth. Every ``deep_resnapshot_s`` a book that has them is asked for anew
without being dropped: consumers keep what verified until the snapshot takes its place, which is a matter of two round
trips. A snapshot that is not there within :data:`REFRESH_TOLERANCE_S` makes it a loss like any other.

Where several lines bring the book, each has a synchronisation of its own, whose book may be a
:class:`~kraken_engine.state.book_log.Replica`: what another line has brought already is no news, and is not shown again
unless somebody has to hear it.

Knows nothing of sockets, of other symbols, or of silence on the line, which is not its loss to judge.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Sequence
from zlib import crc32

import attrs

from kraken_engine.codec.ws_v2 import BookData
from kraken_engine.config import SubscriptionSettings
from kraken_engine.errors import Stale, shown
from kraken_engine.model import Instrument, Integrity, Source
from kraken_engine.normalise.book_view import VERIFIED_LEVELS, BookUpdate, BookView
from kraken_engine.normalise.events import Event, Gap, Live
from kraken_engine.state.book_log import Replica
from kraken_engine.state.order_book import BookFault, ChecksumMismatch, OrderBook
from kraken_engine.state.venue_time import WENT_BACK, VenueTimeFloor, is_venue_time

__all__ = [
    "DOUBT_TOLERANCE_S",
    "REFRESH_TOLERANCE_S",
    "Action",
    "BookSync",
    "BookSyncStatistics",
    "Publish",
    "Resubscribe",
    "SyncState",
]

DOUBT_TOLERANCE_S = 2.0
"""How long a book whose checksum matches may be crossed, or behind the venue time already shown (I-8, I-4)."""

REFRESH_TOLERANCE_S = 2.5
"""How long a book may be shown while a fresh snapshot of it is under way; then it is as stale as a silent line."""

_CHANNEL = "book"


class SyncState(enum.Enum):
    """What consumers may see of a book."""

    AWAITING_SNAPSHOT = "awaiting_snapshot"
    LIVE = "live"
    RESYNCING = "resyncing"


@attrs.frozen
class Publish:
    """Hand ``event`` to the consumers of this book, in this order."""

    event: Event


@attrs.frozen(kw_only=True)
class Resubscribe:
    """Unsubscribe this one book and subscribe it again, for a fresh snapshot."""

    symbol: str
    reason: str
    alarm: bool = False
    """Whether somebody should look at the symbol, though its readers lose nothing."""


Action = Publish | Resubscribe


@attrs.frozen(kw_only=True)
class BookSyncStatistics:
    """What has happened so far; nothing here shows a price."""

    state: SyncState
    verified: int
    """Messages after which the checksum matched."""
    mismatched: int
    """Messages after which it did not."""
    malformed: int
    """Messages that could not be applied at all."""
    dropped_before_snapshot: int
    """Updates that came while there was no book to apply them to."""
    withheld: int
    """Verified states that were not shown because something newer had been."""
    resyncs: int
    """Resubscriptions asked for."""


@attrs.define
class BookSync:
    """Decide, from messages and time alone, whether one symbol's book may be shown.

    Outlives connections: what it promises its consumers must hold across them.
    """

    symbol: str
    depth: int
    settings: SubscriptionSettings
    replica: Replica | None = None
    """The book, where other lines bring it as well; None: this line's own."""
    loud: bool = False
    """Whether states are to be shown even though another line brought them first."""
    state: SyncState = attrs.field(default=SyncState.AWAITING_SNAPSHOT, init=False)
    _book: OrderBook | Replica = attrs.field(init=False, repr=False)
    _shown: BookView | None = attrs.field(default=None, init=False, repr=False)
    _floor: VenueTimeFloor = attrs.field(factory=VenueTimeFloor, init=False, repr=False)
    _loss: Gap | None = attrs.field(default=None, init=False, repr=False)
    """What consumers are to be told when the present (else: the last) loss is healed; ``end_s`` is not known yet."""
    _announced: tuple[int, int] | None = attrs.field(default=None, init=False)
    """Precision the instrument channel gave last: price and quantity decimals."""
    _storm: _StormGuard = attrs.field(init=False, repr=False)
    _verified_s: float | None = attrs.field(default=None, init=False)
    _resubscribe_due: float | None = attrs.field(default=None, init=False)
    _resubscribe_why: str = attrs.field(default="", init=False)
    _snapshot_due: float | None = attrs.field(default=None, init=False)
    _doubt_due: float | None = attrs.field(default=None, init=False)
    _refresh_due: float | None = attrs.field(default=None, init=False)
    """When to ask for the levels beyond the checksum anew; while that is under way, until when to wait for them."""
    _refreshing: bool = attrs.field(default=False, init=False)
    _place: float = attrs.field(init=False, repr=False)
    """Where between the earliest and the latest moment of a refresh this book has its own: 0 to 1."""
    _verified: int = attrs.field(default=0, init=False)
    _mismatched: int = attrs.field(default=0, init=False)
    _malformed: int = attrs.field(default=0, init=False)
    _dropped: int = attrs.field(default=0, init=False)
    _withheld: int = attrs.field(default=0, init=False)
    _resyncs: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._book = OrderBook(self.symbol, self.depth) if self.replica is None else self.replica
        self._place = crc32(self.symbol.encode()) / 2**32
        self._storm = _StormGuard(self.settings)

    @property
    def next_due(self) -> float | None:
        """When :meth:`tick` is wanted next; None: only a message can change anything."""
        due = self._resubscribe_due
        for at in (self._snapshot_due, self._doubt_due, self._refresh_due):
            if at is not None and (due is None or at < due):
                due = at
        return due

    def view(self) -> BookView | None:
        """Return the book consumers see now, or None while there is none to be trusted."""
        return self._shown

    def alarm(self, *, now: float) -> bool:
        """Return whether this book does not hold: the next resubscription would have to keep its distance."""
        return self._storm.is_full(now)

    def statistics(self) -> BookSyncStatistics:
        """Return the counters."""
        return BookSyncStatistics(
            state=self.state,
            verified=self._verified,
            mismatched=self._mismatched,
            malformed=self._malformed,
            dropped_before_snapshot=self._dropped,
            withheld=self._withheld,
            resyncs=self._resyncs,
        )

    @property
    def progress(self) -> str | None:
        """The venue's time of the last message this line brought, verified; None: it has no book, or no times."""
        time = None if self.replica is None else self.replica.venue_time
        return None if time is None else time.rstrip("Z")

    def passes(self, data: BookData, *, now: float) -> bool:
        """Return whether ``data``, the very object another line brought, is all this line was to bring next.

        Then it has been applied and shown, and there is nothing to do.
        """
        replica = self.replica
        if (
            self.loud
            or replica is None
            or self.state is not SyncState.LIVE
            or self._doubt_due is not None
            or not replica.passes(data)
        ):
            return False
        self._verified += 1
        self._verified_s = now
        return True

    def receive(self, data: BookData, *, snapshot: bool, now: float) -> Sequence[Action]:
        """Apply one element of a book message received at ``now``."""
        if not snapshot and not self._book.is_verified:
            self._dropped += 1
            self._expect_snapshot(now)
            return ()
        try:
            _check_time(data.timestamp)
            news = self._book.apply(data, snapshot=snapshot)
        except BookFault as fault:
            if isinstance(fault, ChecksumMismatch):
                self._mismatched += 1
            else:
                self._malformed += 1
            # What is missing went missing after the last message that verified.
            since = now if self._verified_s is None else self._verified_s
            return self._resync(str(fault), since=since, now=now)
        self._verified += 1
        self._verified_s = now
        if snapshot:
            self._snapshot_due = self._resubscribe_due = None
            self._plan_refresh(now)
        if self.replica is not None and self.replica.doubt is not None:
            return (*self._judge(data, snapshot=snapshot, news=news, now=now), *self._resolve_doubt(now))
        return self._judge(data, snapshot=snapshot, news=news, now=now)

    def _judge(self, data: BookData, *, snapshot: bool, news: bool, now: float) -> Sequence[Action]:
        """Decide whether the state that ``data`` made is to be shown."""
        if not news and not self.loud and self.state is SyncState.LIVE and self._doubt_due is None:
            return ()
        behind = self._floor.is_behind(data.timestamp)
        if not behind and not self._book.crossed:
            self._doubt_due = None
        elif self._doubt_due is None:
            self._doubt_due = now + DOUBT_TOLERANCE_S
        elif now >= self._doubt_due:
            return self._end_doubt(now)
        if behind:
            self._withheld += 1
            return ()
        return self._show(data.timestamp, snapshot=snapshot, now=now)

    def lose(self, reason: str, *, now: float, resubscribe: bool = True) -> Sequence[Action]:
        """Updates of this book were, or may have been, lost outside (overrun, undecodable frame, line down).

        Args:
            reason: for consumers and logs.
            now: the present time.
            resubscribe: False when the line itself is gone: its subscriptions come back with the next one.
        """
        if not resubscribe:
            stale = self._drop(reason, since=now, now=now)
            self._resubscribe_due = self._snapshot_due = None
            return stale
        if self._book.is_verified:
            return self._resync(reason, since=now, now=now)
        self._expect_snapshot(now)  # it may have been the snapshot that was lost: its deadline finds out
        return ()

    def subscribed(self, *, now: float) -> None:
        """The venue confirmed the subscription: unless there is a book already, its snapshot is due from now on."""
        if not self._book.is_verified and self._resubscribe_due is None:
            self._snapshot_due = now + self.settings.snapshot_timeout_s

    def tick(self, *, now: float) -> Sequence[Action]:
        """Do what has come due."""
        if self._resubscribe_due is not None and now >= self._resubscribe_due:
            return self._resubscribe(now)
        if self._snapshot_due is not None and now >= self._snapshot_due:
            return self._request(f"no snapshot within {self.settings.snapshot_timeout_s:g} s", now)
        if self._doubt_due is not None and now >= self._doubt_due:
            return self._end_doubt(now)
        if self._refresh_due is not None and now >= self._refresh_due:
            return self._refresh(now)
        return ()

    def instrument(self, instrument: Instrument, *, now: float) -> Sequence[Action]:
        """Take the precision of prices and quantities from ``instrument``; another one than announced is a new book."""
        was, announced = self._announced, (instrument.price_decimals, instrument.qty_decimals)
        self._announced = announced
        self._book.expect_precision(*announced)
        # A snapshot may show more digits than the instrument announces: only news is a reason to ask again.
        if not self._book.is_verified or announced in (was, self._book.precision):
            return ()
        was = was or self._book.precision
        reason = f"precision changed: price and qty decimals were {was}, are {announced}"
        return self._resync(reason, since=now, now=now)

    def _show(self, venue_time: str | None, *, snapshot: bool, now: float) -> Sequence[Action]:
        self._floor.raise_to(venue_time)
        self._shown = view = self._book.view()
        update = BookUpdate(
            symbol=self.symbol,
            source=Source.WEBSOCKET_V2,
            received_s=now,
            venue_time=venue_time,
            integrity=Integrity.VERIFIED,
            book=view,
            snapshot=snapshot or self.state is not SyncState.LIVE,
        )
        if self.state is SyncState.LIVE:
            return (Publish(update),)
        self.state = SyncState.LIVE
        live = Publish(Live(at_s=now, channel=_CHANNEL, symbol=self.symbol))
        if self._loss is None:
            return (live, Publish(update))
        gap = attrs.evolve(self._loss, at_s=now, end_s=now)
        return (Publish(gap), live, Publish(update))

    def _resolve_doubt(self, now: float) -> Sequence[Action]:
        """Ask for a fresh snapshot, without dropping a book of which only levels beyond the checksum are in doubt."""
        assert self.replica is not None
        reason, self.replica.doubt = self.replica.doubt, None
        if self._refreshing or reason is None:
            return ()
        self._refreshing = True
        self._refresh_due = now + REFRESH_TOLERANCE_S
        return (Resubscribe(symbol=self.symbol, reason=reason, alarm=True),)

    def _end_doubt(self, now: float) -> Sequence[Action]:
        since = now if self._doubt_due is None else self._doubt_due - DOUBT_TOLERANCE_S
        if self._book.crossed:
            return self._resync(f"crossed for {DOUBT_TOLERANCE_S:g} s", since=since, now=now)
        # Nothing newer came: the venue's clock itself went back, and waiting for it would never end. Consumers are
        # told by Stale and Gap, after which times may start lower.
        self._floor.reset()
        return self._resync(f"{WENT_BACK} for {DOUBT_TOLERANCE_S:g} s", since=since, now=now)

    def _plan_refresh(self, now: float) -> None:
        self._refreshing = False
        self._refresh_due = None
        if self.depth > VERIFIED_LEVELS:
            # Books that were subscribed together are not all to be asked for again at the same moment.
            self._refresh_due = now + self.settings.deep_resnapshot_s * (0.5 + 0.5 * self._place)

    def _refresh(self, now: float) -> Sequence[Action]:
        if self._refreshing:
            since = now - REFRESH_TOLERANCE_S if self._verified_s is None else self._verified_s
            return self._resync(f"no fresh snapshot within {REFRESH_TOLERANCE_S:g} s", since=since, now=now)
        self._refreshing = True
        self._refresh_due = now + REFRESH_TOLERANCE_S
        return (Resubscribe(symbol=self.symbol, reason=f"levels beyond {VERIFIED_LEVELS} are due for a snapshot"),)

    def _resync(self, reason: str, *, since: float, now: float) -> Sequence[Action]:
        return (*self._drop(reason, since=since, now=now), *self._request(reason, now))

    def _drop(self, reason: str, *, since: float, now: float) -> Sequence[Action]:
        """Forget the book, and tell consumers if they saw one."""
        self._book.clear()
        self._shown = None
        self._doubt_due = self._refresh_due = None
        if self.state is not SyncState.LIVE:
            return ()
        self.state = SyncState.RESYNCING
        self._loss = Gap(
            at_s=now,
            channel=_CHANNEL,
            symbol=self.symbol,
            start_s=since,
            end_s=now,
            reason=reason,
            healed_by="snapshot",
        )
        return (Publish(Stale(_CHANNEL, self.symbol, reason, since_s=now)),)

    def _request(self, reason: str, now: float) -> Sequence[Action]:
        self._snapshot_due = None
        self._resubscribe_why = reason
        at = self._storm.earliest(now)
        if at > now:
            self._resubscribe_due = at
            return ()
        return self._resubscribe(now)

    def _resubscribe(self, now: float) -> Sequence[Action]:
        self._storm.spend(now)
        self._resyncs += 1
        self._resubscribe_due = None
        self._snapshot_due = now + self.settings.snapshot_timeout_s
        return (Resubscribe(symbol=self.symbol, reason=self._resubscribe_why),)

    def _expect_snapshot(self, now: float) -> None:
        if self.next_due is None:
            self._snapshot_due = now + self.settings.snapshot_timeout_s


def _check_time(text: str | None) -> None:
    if text is not None and not is_venue_time(text):
        raise BookFault(f"$.data[0].timestamp: expected an RFC 3339 time in UTC, got {shown(text)}")


class _StormGuard:
    """Spaces resubscriptions: some at once, the rest a pause apart.

    In any window there are at most ``resyncs_in_window + resync_window_s / resync_pause_s`` of them: the first
    ``resyncs_in_window`` are free, each later one follows its predecessor by a pause at least.
    """

    __slots__ = ("_pause_s", "_recent", "_window_s")

    def __init__(self, settings: SubscriptionSettings) -> None:
        self._window_s = settings.resync_window_s
        self._pause_s = settings.resync_pause_s
        self._recent: deque[float] = deque(maxlen=settings.resyncs_in_window)

    def is_full(self, now: float) -> bool:
        """Return whether the next one has to keep its distance."""
        return len(self._recent) == self._recent.maxlen and now - self._recent[0] < self._window_s

    def earliest(self, now: float) -> float:
        """Return when the next one may go out; not before ``now``."""
        return max(now, self._recent[-1] + self._pause_s) if self.is_full(now) else now

    def spend(self, now: float) -> None:
        """Record one that goes out."""
        self._recent.append(now)
