"""One line's view of the order books: each verified on its own, one's trouble never touches another."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs

from kraken_engine.codec.ws_v2 import BookMessage
from kraken_engine.config import SubscriptionSettings
from kraken_engine.errors import DecodeError
from kraken_engine.model import Instrument
from kraken_engine.normalise.events import Resync
from kraken_engine.state.book_log import Replica, SharedBooks
from kraken_engine.state.book_sync import Action, BookSync, Publish, SyncState
from kraken_engine.state.channel_view import Outcome, Progress, Restore
from kraken_engine.state.freshness import StreamKey
from kraken_engine.state.subscriptions import SubscriptionKey

__all__ = ["BookChannel"]


@attrs.define
class BookChannel:
    """Order books: each verified on its own, one's trouble never touches another."""

    settings: SubscriptionSettings
    instrument: Callable[[str], Instrument | None]
    """What is known of a symbol's precision."""
    shared: SharedBooks | None = None
    """The books as all lines have them; None: this line is the only one."""
    channel: str = attrs.field(default="book", init=False)
    rejected: int = attrs.field(default=0, init=False)
    unsubscribed: int = attrs.field(default=0, init=False)
    _syncs: dict[str, tuple[StreamKey, BookSync]] = attrs.field(
        factory=dict[str, tuple[StreamKey, BookSync]], init=False
    )
    _foreign: dict[str, None] = attrs.field(factory=dict[str, None], init=False)
    """Symbols whose messages are still those of another depth: a message does not say which it belongs to."""
    _retired_verified: int = attrs.field(default=0, init=False)
    _retired_mismatched: int = attrs.field(default=0, init=False)
    _restless: dict[str, None] = attrs.field(factory=dict[str, None], init=False)
    """Symbols whose synchronisation has something due."""

    def tell_rejects(self, tell: Callable[[DecodeError], None]) -> None:
        """Tell of nothing: a message that makes no sense costs the book, which says so itself."""

    def want(self, key: StreamKey, subscription: SubscriptionKey, *, now: float) -> None:
        """Expect a snapshot and updates of this book, at this depth, from now on."""
        assert subscription.symbol is not None
        assert subscription.depth is not None
        symbol = subscription.symbol
        another_depth = symbol in self._syncs
        self.drop(key)
        if another_depth:
            self._foreign[symbol] = None
        replica = None if self.shared is None else self.shared.replica(symbol, subscription.depth)
        sync = BookSync(symbol, subscription.depth, self.settings, replica)
        known = self.instrument(symbol)
        if known is not None:
            sync.instrument(known, now=now)
        self._syncs[symbol] = (key, sync)

    def drop(self, key: StreamKey) -> None:
        """Ignore messages of this book from now on."""
        symbol = str(key[1])
        found = self._syncs.pop(symbol, None)
        self._restless.pop(symbol, None)
        self._foreign.pop(symbol, None)
        if found is not None:
            counted = found[1].statistics()
            self._retired_verified += counted.verified
            self._retired_mismatched += counted.mismatched
            replica = found[1].replica
            if replica is not None and self.shared is not None:
                self.shared.give_back(replica)

    def sync(self, symbol: str) -> BookSync | None:
        """Return the synchronisation of one symbol: its state and counters."""
        found = self._syncs.get(symbol)
        return None if found is None else found[1]

    @property
    def verified(self) -> int:
        """Checksums that matched, of all books so far."""
        return self._retired_verified + sum(sync.statistics().verified for _, sync in self._syncs.values())

    @property
    def mismatched(self) -> int:
        """Checksums that did not match, of all books so far."""
        return self._retired_mismatched + sum(sync.statistics().mismatched for _, sync in self._syncs.values())

    def receive(self, message: BookMessage, *, received_s: float) -> list[Outcome]:
        """Apply a snapshot or an update."""
        outcomes: list[Outcome] = []
        snapshot = message.type == "snapshot"
        for data in message.data:
            found = self._syncs.get(data.symbol)
            if found is None:
                self.unsubscribed += 1
                continue
            if data.symbol in self._foreign:
                continue
            key, sync = found
            self._collect(key, sync, sync.receive(data, snapshot=snapshot, now=received_s), outcomes, received_s)
        return outcomes

    def passes(self, message: BookMessage, *, now: float) -> bool:
        """Pass over an update that another line has brought, if it is the next one for this line."""
        if len(message.data) != 1 or message.type == "snapshot":
            return False
        data = message.data[0]
        found = self._syncs.get(data.symbol)
        return found is not None and data.symbol not in self._foreign and found[1].passes(data, now=now)

    def speak_up(self, key: StreamKey, *, loud: bool) -> None:
        """Tell, or do not tell, of books that another line brought first."""
        found = self._syncs.get(str(key[1]))
        if found is not None:
            found[1].loud = loud

    def progress(self, key: StreamKey) -> Progress | None:
        """Return the venue's time of the last update this line brought."""
        found = self._syncs.get(str(key[1]))
        return None if found is None else found[1].progress

    def is_dated(self, key: StreamKey) -> bool:
        """Return whether that is when something happened, and not when a snapshot was made."""
        replica = self.replica(key)
        return replica is not None and replica.is_dated

    def replica(self, key: StreamKey) -> Replica | None:
        """Return this line's part in the common book of ``key``, if there is one."""
        found = self._syncs.get(key[1])  # type: ignore[call-overload] # it is a symbol
        return None if found is None else found[1].replica

    def lose(self, why: str, *, now: float, symbol: str | None = None, line_down: bool = False) -> list[Outcome]:
        """Mark the book of ``symbol``, or every book of this line, as unsynchronised."""
        if line_down:
            self._foreign.clear()
        outcomes: list[Outcome] = []
        for name in list(self._syncs) if symbol is None else [symbol] if symbol in self._syncs else []:
            key, sync = self._syncs[name]
            self._collect(key, sync, sync.lose(why, now=now, resubscribe=not line_down), outcomes, now)
        return outcomes

    def confirmed(self, symbol: str | None, *, depth: int | None, now: float) -> None:
        """Expect the snapshot from now on: the venue confirmed the subscription."""
        found = self._syncs.get(symbol or "")
        if found is not None and depth in (None, found[1].depth):
            _, sync = found
            self._foreign.pop(sync.symbol, None)
            sync.subscribed(now=now)
            self._note_due(sync)

    def changed(self, instrument: Instrument, *, now: float) -> list[Outcome]:
        """Take note of a symbol's precision."""
        outcomes: list[Outcome] = []
        found = self._syncs.get(instrument.symbol)
        if found is not None:
            key, sync = found
            self._collect(key, sync, sync.instrument(instrument, now=now), outcomes, now)
        return outcomes

    def tick(self, *, now: float) -> list[Outcome]:
        """Ask again for snapshots that are overdue."""
        outcomes: list[Outcome] = []
        for symbol in list(self._restless):
            key, sync = self._syncs[symbol]
            if sync.next_due is not None and sync.next_due <= now:
                self._collect(key, sync, sync.tick(now=now), outcomes, now)
        return outcomes

    @property
    def next_due(self) -> float | None:
        """When the first of the books has something due."""
        due: float | None = None
        for symbol in self._restless:
            at = self._syncs[symbol][1].next_due
            if at is not None and (due is None or at < due):
                due = at
        return due

    def _collect(
        self, key: StreamKey, sync: BookSync, actions: Iterable[Action], outcomes: list[Outcome], now: float
    ) -> None:
        for action in actions:
            if isinstance(action, Publish):
                outcomes.append((key, action.event))
                continue
            if action.alarm or sync.state is not SyncState.LIVE:  # a live book that is refreshed has lost nothing
                alarm = action.alarm or sync.alarm(now=now)
                notice = Resync(at_s=now, channel="book", symbol=sync.symbol, reason=action.reason, alarm=alarm)
                outcomes.append((key, notice))
            outcomes.append((key, Restore(action.reason)))
        self._note_due(sync)

    def _note_due(self, sync: BookSync) -> None:
        if sync.next_due is not None:
            self._restless[sync.symbol] = None
        elif sync.symbol in self._restless:
            del self._restless[sync.symbol]
