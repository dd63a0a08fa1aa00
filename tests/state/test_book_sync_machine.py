from __future__ import annotations

from collections.abc import Iterable

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.strategies_book_sync import corrupted, sync_of, texts
from tests.strategies_books import Digits, Pairs, VenueBook

from kraken_engine.codec.ws_v2 import BookData
from kraken_engine.config import SubscriptionSettings
from kraken_engine.errors import Stale
from kraken_engine.normalise.book_view import BookUpdate
from kraken_engine.normalise.events import Event, Gap, Live
from kraken_engine.state.book_sync import DOUBT_TOLERANCE_S, Action, Resubscribe, SyncState


@attrs.frozen
class Sent:
    """A message on its way, and what the book was when the venue sent it."""

    data: BookData
    snapshot: bool


class BookSyncMachine(RuleBasedStateMachine):
    """One subscriber against a venue whose messages are lost, doubled, delayed and spoilt on the way.

    The model: the visible book is one the venue had, never older than one seen before, or there is none.
    """

    @initialize(
        price=st.integers(0, 3), qty=st.integers(0, 8), free=st.integers(1, 3), pause_s=st.sampled_from([5.0, 15.0])
    )
    def begin(self, price: int, qty: int, free: int, pause_s: float) -> None:
        self.venue = VenueBook(Digits(price=price, qty=qty))
        for away in range(1, 8):
            self.venue.change([(True, 100 - away, away), (False, 100 + away, away)])
        self.sync = sync_of(self.venue, SubscriptionSettings(resyncs_in_window=free, resync_pause_s=pause_s))
        self.had: dict[str, tuple[Pairs, Pairs]] = {self.venue.timestamp(): self.venue.texts()}
        self.sent: list[Sent] = []
        self.now = 0.0
        self.asked = 0
        self.told: list[Event] = []
        self.seen_live = False

    def act(self, actions: Iterable[Action]) -> None:
        for action in actions:
            if isinstance(action, Resubscribe):
                self.asked += 1
                continue
            event = action.event
            if isinstance(event, Stale):
                assert self.seen_live
                self.seen_live = False
            elif isinstance(event, Live):
                assert not self.seen_live
                assert bool(self.told) == isinstance(self.told[-1] if self.told else None, Gap)
                self.seen_live = True
            elif isinstance(event, Gap):
                assert isinstance(self.told[-1], Stale)
                assert event.start_s <= self.now == event.end_s
            elif isinstance(event, BookUpdate):
                assert self.seen_live
                assert event.book == self.sync.view()
            self.told.append(event)

    def venue_changes(self, orders: list[tuple[bool, int, int]]) -> Sent:
        update = Sent(self.venue.change(orders), snapshot=False)
        self.had[self.venue.timestamp()] = self.venue.texts()
        self.sent.append(update)
        return update

    def deliver(self, sent: Sent, *, spoilt: bool = False) -> None:
        data = corrupted(sent.data) if spoilt else sent.data
        self.act(self.sync.receive(data, snapshot=sent.snapshot, now=self.now))

    orders = st.lists(
        st.builds(
            lambda is_bid, away, lots: (is_bid, 100 - away if is_bid else 100 + away, lots),
            st.booleans(), st.integers(-1, 14), st.integers(0, 3),
        ),
        min_size=1, max_size=4,
    )  # fmt: skip

    @rule(orders=orders)
    def update_arrives(self, orders: list[tuple[bool, int, int]]) -> None:
        self.deliver(self.venue_changes(orders))

    @rule(orders=orders)
    def update_is_lost(self, orders: list[tuple[bool, int, int]]) -> None:
        self.venue_changes(orders)

    @rule(orders=orders)
    def update_arrives_spoilt(self, orders: list[tuple[bool, int, int]]) -> None:
        self.deliver(self.venue_changes(orders), spoilt=True)
        assert self.sync.view() is None

    @precondition(lambda self: bool(self.sent))
    @rule(data=st.data())
    def old_message_arrives_again(self, data: st.DataObject) -> None:
        self.deliver(self.sent[-data.draw(st.integers(1, min(5, len(self.sent))))])

    @rule()
    def snapshot_arrives(self) -> None:
        snapshot = Sent(self.venue.snapshot(), snapshot=True)
        self.sent.append(snapshot)
        self.deliver(snapshot)
        assert texts(self.sync.view()) == self.venue.texts()  # the newest there is: whatever was wrong is healed
        doubt_ends = self.sync.next_due
        assert doubt_ends is None or doubt_ends <= self.now + DOUBT_TOLERANCE_S

    @rule()
    def something_is_lost_outside(self) -> None:
        self.act(self.sync.lose("overrun", now=self.now))
        assert self.sync.view() is None

    @rule()
    def line_goes_down(self) -> None:
        asked = self.asked
        self.act(self.sync.lose("line down", now=self.now, resubscribe=False))
        assert self.sync.view() is None
        assert self.asked == asked
        assert self.sync.next_due is None

    @rule(seconds=st.sampled_from([0.01, 1.0, 2.0, 11.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        for _ in range(3):
            due = self.sync.next_due
            if due is None or due > self.now:
                break
            self.act(self.sync.tick(now=self.now))
        else:
            pytest.fail("a tick must settle what is due")

    @rule()
    def venue_answers_until_all_is_well(self) -> None:
        """A dark book that waits for anything asks in the end; then one good snapshot makes it live."""
        asked = self.asked
        waiting = self.sync.view() is None and self.sync.next_due is not None
        for _ in range(3):
            due = self.sync.next_due
            if not waiting or due is None or self.asked > asked:
                break
            self.now = max(self.now, due)
            self.act(self.sync.tick(now=self.now))
        assert self.asked == asked + waiting
        self.snapshot_arrives()
        assert self.sync.state is SyncState.LIVE

    @invariant()
    def visible_book_is_one_the_venue_had(self) -> None:
        if not hasattr(self, "sync"):
            return
        view = self.sync.view()
        assert [view is not None, self.sync.state is SyncState.LIVE] == [self.seen_live] * 2
        if view is not None:
            last = next(event for event in reversed(self.told) if isinstance(event, BookUpdate))
            assert last.venue_time is not None
            assert texts(view) == self.had[last.venue_time]

    @invariant()
    def venue_times_never_go_back(self) -> None:
        if not hasattr(self, "sync"):
            return
        times: list[str | None] = []
        for event in self.told:
            if isinstance(event, Stale) and "venue time went back" in event.why:
                times.clear()  # consumers were told: from here on times may start lower
            elif isinstance(event, BookUpdate):
                times.append(event.venue_time)
                assert times == sorted(times, key=str)


TestBookSyncMachine = BookSyncMachine.TestCase
TestBookSyncMachine.settings = settings(max_examples=150, stateful_step_count=30)
