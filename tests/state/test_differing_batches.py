"""Lines tell one book's changes in different portions: readers see what the venue had, in its order, and all of it.

Books, logs and the arbiter are the engine's; only what a line's shell does between them is written anew.
"""

from __future__ import annotations

from collections import deque

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.strategies_book_sync import texts
from tests.strategies_books import Digits, Pairs, VenueBook

from kraken_engine.codec.ws_v2 import BookData
from kraken_engine.errors import Stale
from kraken_engine.feed.publisher import Publisher
from kraken_engine.model import Integrity, Source
from kraken_engine.normalise.book_view import BookUpdate
from kraken_engine.normalise.events import Event
from kraken_engine.state.arbitration import LUMPED_S, UNSETTLED_S, Arbiter
from kraken_engine.state.book_log import PARTINGS, Replica, SharedBook
from kraken_engine.state.freshness import StreamKey
from kraken_engine.state.lineage import Place

DEPTH = 12
SYMBOL = "BTC/USD"
KEY: StreamKey = ("book", SYMBOL)
State = tuple[str, tuple[Pairs, Pairs]]


class OneLine:
    """A line as the arbiter sees it, and what is on its way to it."""

    def __init__(self, name: str, shared: SharedBook, arbiter: Arbiter) -> None:
        self.replica = Replica(shared)
        self.loud = False
        self.queue: deque[BookData] = deque()
        self.member = arbiter.member(name)
        self.member.begin(KEY)
        self.member.views = self

    def place(self, key: StreamKey) -> Place | None:
        return self.replica.place

    def has_passed(self, key: StreamKey, place: Place) -> bool:
        return self.replica.has_passed(place)

    def follows(self, key: StreamKey, place: Place) -> bool:
        return self.replica.follows(place)

    def lumps(self, key: StreamKey) -> bool:
        return self.replica.lumps

    def speak_up(self, key: StreamKey, *, loud: bool) -> None:
        self.loud = loud

    def arrives(self, data: BookData, now: float, *, snapshot: bool = False) -> None:
        if not snapshot and not self.loud and self.replica.passes(data):
            return
        news = self.replica.apply(data, snapshot=snapshot)
        if news or self.loud or snapshot:
            view = self.replica.view()
            self.member.publish(
                KEY,
                BookUpdate(
                    symbol=SYMBOL, source=Source.WEBSOCKET_V2, received_s=now, venue_time=data.timestamp,
                    integrity=Integrity.VERIFIED, book=view, snapshot=snapshot,
                ),
            )  # fmt: skip


@attrs.define
class Scene:
    """A venue, lines, an arbiter, and what its readers were shown."""

    lines_: int
    venue: VenueBook = attrs.field(factory=lambda: VenueBook(Digits(price=1, qty=2), depth=DEPTH))
    shown: list[State] = attrs.field(factory=list)
    history: list[State] = attrs.field(factory=list)
    now: float = 1.0
    time: int = 0
    changes: int = 0
    arbiter: Arbiter = attrs.field(init=False)
    lines: list[OneLine] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        publisher = Publisher()
        publisher.observe(self._see)
        self.arbiter = Arbiter(publisher)
        shared = SharedBook(SYMBOL, DEPTH)
        for away in range(1, 16):
            self.venue.change([(True, 100 - away, away), (False, 100 + away, away)])
        self.lines = [OneLine(name, shared, self.arbiter) for name in "abc"[: self.lines_]]
        self._note(self.venue.timestamp())
        for line in self.lines:
            line.arrives(self.venue.snapshot(), self.now, snapshot=True)

    def _note(self, time: str) -> None:
        self.history.append((time, self.venue.texts()))

    def _see(self, key: StreamKey, event: Event) -> None:
        if isinstance(event, BookUpdate) and key == KEY:
            assert event.venue_time is not None
            self.shown.append((event.venue_time, texts(event.book)))

    def change(self, *, same_time: bool) -> BookData:
        """One more change at the venue, within the microsecond of the one before or in one of its own."""
        if same_time:
            self.venue.micros -= 1
        self.changes += 1
        update = self.venue.change([(True, 95 + self.changes % 3, self.changes)])
        self._note(self.venue.timestamp())
        return update

    def passes(self, seconds: float) -> None:
        self.now += seconds
        self.arbiter.tick(now=self.now)

    def places(self) -> list[int]:
        """Return which states of the venue's history were shown; fail if one is none of them."""
        return [self.history.index(state) for state in self.shown]


def lump(updates: list[BookData]) -> BookData:
    """Several updates in one, as a server that batches tells them."""
    last = updates[-1]
    bids = [level for one in updates for level in one.bids]
    asks = [level for one in updates for level in one.asks]
    return BookData(last.symbol, bids, asks, last.checksum, last.timestamp)


def known_to_lump() -> Scene:
    """Two lines, of which the second was found to tell two changes in one."""
    scene = Scene(2)
    fine, coarse = scene.lines
    first, second = scene.change(same_time=False), scene.change(same_time=False)
    fine.arrives(first, scene.now)
    coarse.arrives(lump([first, second]), scene.now)
    fine.arrives(second, scene.now)
    assert (fine.replica.lumps, coarse.replica.lumps) == (False, True)
    return scene


portions = st.lists(st.integers(1, 4), min_size=1, max_size=30)


@given(sizes=portions, same_times=st.lists(st.booleans(), min_size=120, max_size=120), order=st.randoms())
@settings(max_examples=150)
def test_while_one_line_tells_each_change_all_are_shown_in_order_however_the_other_tells_them(
    sizes: list[int], same_times: list[bool], order: object
) -> None:
    scene = known_to_lump()
    fine, coarse = scene.lines
    times = iter(same_times)
    for size in sizes:
        updates = [scene.change(same_time=next(times)) for _ in range(size)]
        fine.queue.extend(updates)
        coarse.queue.append(lump(updates))
    while fine.queue or coarse.queue:
        line = order.choice([line for line in scene.lines if line.queue])  # type: ignore[attr-defined]  # a Random
        line.arrives(line.queue.popleft(), scene.now)
    scene.passes(2 * UNSETTLED_S)
    assert scene.places() == list(range(len(scene.history)))


def test_several_changes_in_one_wait_for_the_line_that_tells_each_and_no_longer_than_it_may_take() -> None:
    scene = known_to_lump()
    fine, coarse = scene.lines
    first, second = scene.change(same_time=False), scene.change(same_time=True)
    coarse.arrives(lump([first, second]), scene.now)
    assert scene.places() == [0, 1, 2]
    assert scene.arbiter.due_s == scene.now + LUMPED_S
    scene.passes(LUMPED_S)
    assert scene.places() == [0, 1, 2, 4]
    for late in (first, second):
        fine.arrives(late, scene.now)
    scene.passes(UNSETTLED_S)
    assert scene.places() == [0, 1, 2, 4], "what came after was shown"


@pytest.mark.parametrize("partings", [0, PARTINGS])
def test_what_waits_is_older_if_its_line_tells_the_shown_state_after_it(partings: int) -> None:
    # The line that told each change now lumps, and the one that is known to lump tells each.
    scene = known_to_lump()
    fine, coarse = scene.lines
    fine.replica.shared.partings = partings
    first, second = scene.change(same_time=False), scene.change(same_time=True)
    fine.arrives(lump([first, second]), scene.now)
    assert scene.places() == [0, 1, 2, 4]
    coarse.arrives(first, scene.now)
    coarse.arrives(second, scene.now)
    scene.passes(LUMPED_S)
    assert scene.places() == [0, 1, 2, 4], "what came before was shown after it"
    coarse.arrives(scene.change(same_time=True), scene.now)
    scene.passes(LUMPED_S)
    assert scene.places() == [0, 1, 2, 4, 5]


def test_several_changes_in_one_wait_for_nobody_when_the_other_line_has_ended() -> None:
    scene = known_to_lump()
    fine, coarse = scene.lines
    coarse.arrives(lump([scene.change(same_time=False), scene.change(same_time=True)]), scene.now)
    fine.member.publish(KEY, Stale("book", SYMBOL, "line down", since_s=scene.now))
    assert scene.places() == [0, 1, 2, 4]
    coarse.arrives(scene.change(same_time=False), scene.now)
    assert scene.places()[-1] == 5


def test_a_line_that_lumps_no_more_is_forgiven() -> None:
    scene = known_to_lump()
    fine, coarse = scene.lines
    for _ in range(300 * (PARTINGS + 1)):
        update = scene.change(same_time=False)
        for line in (fine, coarse):
            line.arrives(update, scene.now)
    assert not coarse.replica.lumps
    coarse.arrives(scene.change(same_time=False), scene.now)
    assert scene.places()[-1] == len(scene.history) - 1


class BatchesMachine(RuleBasedStateMachine):
    """Three lines tell one book, each in portions of its own, and each at its own pace.

    The model is the venue's history: readers see some of it, each state once, never an older one after a newer one;
    and when everything has arrived they see its end.
    """

    @initialize()
    def begin(self) -> None:
        self.scene = Scene(3)
        self.told: list[list[BookData]] = [[], [], []]

    @rule(same_time=st.booleans())
    def venue_changes(self, same_time: bool) -> None:
        update = self.scene.change(same_time=same_time)
        for waiting in self.told:
            waiting.append(update)

    @rule(which=st.integers(0, 2))
    def line_is_told_what_waits_in_one(self, which: int) -> None:
        if self.told[which]:
            self.scene.lines[which].queue.append(lump(self.told[which]))
            self.told[which] = []

    @rule(which=st.integers(0, 2), most=st.integers(1, 3))
    def messages_arrive(self, which: int, most: int) -> None:
        line = self.scene.lines[which]
        for _ in range(min(most, len(line.queue))):
            line.arrives(line.queue.popleft(), self.scene.now)

    @rule()
    def what_waits_for_a_moment_has_waited(self) -> None:
        if self.scene.now < 1.0 + UNSETTLED_S / 2:
            self.scene.passes(LUMPED_S)

    @rule()
    def everything_arrives_and_the_end_is_shown(self) -> None:
        for which in range(3):
            self.line_is_told_what_waits_in_one(which)
            self.messages_arrive(which, len(self.scene.lines[which].queue))
        self.scene.passes(2 * UNSETTLED_S)
        self.scene.now = 1.0
        assert self.scene.shown[-1] == self.scene.history[-1]

    @invariant()
    def what_is_shown_is_the_venue_s_in_its_order_and_once(self) -> None:
        if hasattr(self, "scene"):
            places = self.scene.places()
            assert places == sorted(dict.fromkeys(places))


TestBatchesMachine = BatchesMachine.TestCase
TestBatchesMachine.settings = settings(max_examples=80, stateful_step_count=40)
