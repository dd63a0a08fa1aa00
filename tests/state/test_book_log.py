"""A book that lines share is, for each of them, the book it would have by itself."""

from __future__ import annotations

from collections import deque

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.strategies_book_sync import corrupted, texts
from tests.strategies_books import Digits, Pairs, VenueBook

from kraken_engine.codec.ws_v2 import BookData
from kraken_engine.state import book_log
from kraken_engine.state.book_log import Replica, SharedBook, SharedBooks
from kraken_engine.state.order_book import BookFault, OrderBook

DEPTH = 14
SYMBOL = "BTC/USD"
Levels = tuple[Pairs, Pairs]


def venue_of(levels: int = 20) -> VenueBook:
    venue = VenueBook(Digits(price=1, qty=2), depth=DEPTH)
    for away in range(1, levels + 1):
        venue.change([(True, 100 - away, away), (False, 100 + away, away)])
    return venue


def merged(first: BookData, second: BookData) -> BookData:
    """Both updates in one message, as a server may send them that batches."""
    return BookData(
        first.symbol, first.bids + second.bids, first.asks + second.asks, second.checksum, second.timestamp
    )  # fmt: skip


def copied(data: BookData) -> BookData:
    """The same content in another object: decoded from another frame."""
    return BookData(data.symbol, list(data.bids), list(data.asks), data.checksum, data.timestamp)


def with_deep_bid(data: BookData, tick: int, lots: int) -> BookData:
    """The update with one more level, far from the best."""
    return attrs_evolve(data, bids=[*data.bids, Digits(price=1, qty=2).level(tick, lots)])


def attrs_evolve(data: BookData, **changes: object) -> BookData:
    fields = {name: getattr(data, name) for name in ("symbol", "bids", "asks", "checksum", "timestamp")}
    return BookData(**{**fields, **changes})


def pair() -> tuple[SharedBook, Replica, Replica]:
    shared = SharedBook(SYMBOL, DEPTH)
    return shared, Replica(shared), Replica(shared)


def test_what_one_line_has_brought_only_moves_the_cursor_of_the_other() -> None:
    venue = venue_of()
    shared, a, b = pair()
    snapshot = venue.snapshot()
    assert a.apply(snapshot, snapshot=True)
    assert not b.apply(copied(snapshot), snapshot=True), "the state is known"
    assert a.log is b.log
    for n in range(100):
        update = venue.change([(True, 90, n + 1)])
        assert a.apply(update, snapshot=False)
        assert a.news
        assert b.passes(update) if n % 2 else not b.apply(copied(update), snapshot=False)
        assert texts(b.view()) == texts(a.view()) == venue.texts()
    assert len(shared.logs) == 1


@pytest.mark.parametrize("behind", [0, 1, 5, 40])
def test_a_line_joins_with_its_snapshot_whichever_of_the_two_is_ahead(behind: int) -> None:
    venue = venue_of()
    shared, a, b = pair()
    a.apply(venue.snapshot(), snapshot=True)
    updates = [venue.change([(True, 90, n + 2)]) for n in range(behind)]
    b.apply(venue.snapshot(), snapshot=True)
    assert (a.log is b.log) == (not behind), "b has a state that a has still to bring"
    for update in updates:
        a.apply(update, snapshot=False)
    assert a.log is b.log
    later = [venue.change([(False, 105, n + 2)]) for n in range(5)]
    for update in later:
        assert b.apply(update, snapshot=False), "b brings it first"
    assert a.cursor == b.cursor - len(later)
    assert shared.logs == [a.log]


def test_a_line_that_dies_takes_nothing_with_it() -> None:
    venue = venue_of()
    shared, a, b = pair()
    snapshot = venue.snapshot()
    a.apply(snapshot, snapshot=True)
    b.apply(snapshot, snapshot=True)
    updates = [venue.change([(True, 95, n + 1)]) for n in range(10)]
    for update in updates:
        a.apply(update, snapshot=False)
    a.clear()
    assert b.is_verified
    for update in updates:
        assert not b.apply(update, snapshot=False), "it was shown already"
    assert b.apply(venue.change([(True, 95, 77)]), snapshot=False)
    assert texts(b.view()) == venue.texts()
    b.clear()
    assert shared.logs == []


def test_what_does_not_verify_costs_the_line_that_brought_it_and_no_other() -> None:
    venue = venue_of()
    _, a, b = pair()
    snapshot = venue.snapshot()
    for line in (a, b):
        line.apply(snapshot, snapshot=True)
    update = venue.change([(True, 95, 50)])
    with pytest.raises(BookFault):
        a.apply(corrupted(update), snapshot=False)
    assert not a.is_verified
    assert b.apply(update, snapshot=False)
    assert texts(b.view()) == venue.texts()


def test_lines_that_batch_differently_part_and_meet_again() -> None:
    venue = venue_of()
    shared, a, b = pair()
    snapshot = venue.snapshot()
    for line in (a, b):
        line.apply(snapshot, snapshot=True)
    first, second = venue.change([(True, 95, 50)]), venue.change([(False, 104, 9)])
    assert a.apply(merged(first, second), snapshot=False)
    assert b.apply(first, snapshot=False), "a state of its own, if an older one"
    assert a.log is not b.log
    assert not b.apply(second, snapshot=False)
    assert a.log is b.log
    assert texts(a.view()) == texts(b.view()) == venue.texts()
    assert shared.partings == 1


def test_a_message_that_sums_up_the_last_few_is_no_news() -> None:
    venue = venue_of()
    _, a, b = pair()
    snapshot = venue.snapshot()
    for line in (a, b):
        line.apply(snapshot, snapshot=True)
    first, second = venue.change([(True, 95, 50)]), venue.change([(False, 104, 9)])
    for update in (first, second):
        a.apply(update, snapshot=False)
    assert not a.apply(merged(first, second), snapshot=False)
    assert a.log is not None
    assert a.log.position == 2
    for update in (first, second):
        assert b.passes(update)


def test_lines_that_always_batch_differently_are_left_apart_and_still_vouch_for_each_other() -> None:
    venue = venue_of()
    shared, a, b = pair()
    snapshot = venue.snapshot()
    for line in (a, b):
        line.apply(snapshot, snapshot=True)
    for n in range(80):
        first, second = venue.change([(True, 95, n + 1)]), venue.change([(False, 104, n + 1)])
        a.apply(merged(first, second), snapshot=False)
        b.apply(first, snapshot=False)
        b.apply(second, snapshot=False)
        assert texts(a.view()) == texts(b.view()) == venue.texts()
    assert shared.partings > book_log.PARTINGS
    assert a.log is not b.log
    assert a.log is not None
    assert a.log.witness.agreed_to > 0


def test_levels_beyond_the_checksum_are_vouched_for_as_soon_as_a_second_line_has_them() -> None:
    venue = venue_of()
    _, a, b = pair()
    snapshot = venue.snapshot()
    a.apply(snapshot, snapshot=True)
    alone = a.view()
    assert alone.verified_levels == 10
    b.apply(snapshot, snapshot=True)
    assert alone.verified_levels == DEPTH
    update = venue.change([(True, 88, 5)])
    a.apply(update, snapshot=False)
    fresh = a.view()
    assert fresh.verified_levels == 10
    assert b.passes(update)
    assert fresh.verified_levels == DEPTH


def test_a_wrong_deep_level_is_found_by_the_other_line_and_both_books_are_asked_for_anew() -> None:
    venue = venue_of()
    shared, a, b = pair()
    snapshot = venue.snapshot()
    for line in (a, b):
        line.apply(snapshot, snapshot=True)
    a.apply(with_deep_bid(venue.snapshot(), 88, 999), snapshot=False)  # told to one line, covered by no checksum
    assert a.view().verified_levels == 10
    update = venue.change([(True, 95, 50)])
    a.apply(update, snapshot=False)
    b.apply(update, snapshot=False)
    assert shared.disagreements == 1
    assert [a.doubt is None, b.doubt is None] == [False, False], "it is not known which of them is wrong"
    assert a.view().verified_levels == b.view().verified_levels == 10
    b.apply(venue.snapshot(), snapshot=True)
    assert [a.doubt is None, b.doubt is None] == [False, True], "the fresher one is believed"
    a.apply(venue.snapshot(), snapshot=True)
    assert [a.doubt, b.doubt] == [None, None]
    assert a.log is b.log
    assert a.view().verified_levels == DEPTH


def test_a_deep_update_that_one_line_lacks_is_found_out_by_its_next_message() -> None:
    venue = venue_of()
    shared, a, b = pair()
    snapshot = venue.snapshot()
    for line in (a, b):
        line.apply(snapshot, snapshot=True)
    deep = venue.change([(True, 88, 5)])
    assert deep.checksum == snapshot.checksum, "beyond what it covers"
    a.apply(deep, snapshot=False)
    update = venue.change([(True, 95, 50)])
    a.apply(update, snapshot=False)
    b.apply(update, snapshot=False)  # the checksum matches, and still something is missing
    assert shared.disagreements == 1
    assert texts(a.view()) == venue.texts()


def test_memory_is_bounded_while_one_line_lags_and_while_all_keep_up() -> None:
    venue = venue_of()
    shared, a, b = pair()
    snapshot = venue.snapshot()
    for line in (a, b):
        line.apply(snapshot, snapshot=True)
    updates = []
    for n in range(1, 2 * book_log.MOST_BEHIND):
        update = venue.change([(True, 95, n)])
        updates.append(update)
        a.apply(update, snapshot=False)
    assert a.log is not None
    assert len(a.log._entries) <= book_log.MOST_BEHIND + 2 * book_log.MARK_EVERY
    assert a.log is not b.log, "the log does not wait for ever"
    for update in updates:
        b.apply(update, snapshot=False)
    assert a.log is b.log
    for n in range(200):
        update = venue.change([(True, 95, n + 7)])
        a.apply(update, snapshot=False)
        b.apply(update, snapshot=False)
    assert len(a.log._entries) <= 3 * book_log.MARK_EVERY
    assert len(a.log._marks) <= 4
    assert shared.logs == [a.log]


def test_a_book_that_nobody_wants_any_more_is_forgotten() -> None:
    books = SharedBooks()
    a, b = books.replica(SYMBOL, DEPTH), books.replica(SYMBOL, DEPTH)
    assert a.shared is b.shared
    assert books.replica(SYMBOL, 25).shared is not a.shared
    for line in (a, b):
        line.apply(venue_of().snapshot(), snapshot=True)
        books.give_back(line)
    assert list(books._books) == [(SYMBOL, 25)]


@attrs.define
class Path:
    """One line: what is on its way to us, our shared book through it, and the book it would have alone."""

    replica: Replica
    own: OrderBook
    queue: deque[tuple[BookData, bool]] = attrs.field(factory=deque)
    states: list[Levels] = attrs.field(factory=list)


class LinesMachine(RuleBasedStateMachine):
    """Three lines bring one venue's book: late, merged, doubled, with holes and falsehoods, in any interleaving."""

    @initialize()
    def begin(self) -> None:
        self.venue = venue_of()
        self.shared = SharedBook(SYMBOL, DEPTH)
        self.paths = [Path(Replica(self.shared), OrderBook(SYMBOL, DEPTH)) for _ in range(3)]

    orders = st.lists(
        st.builds(
            lambda is_bid, away, lots: (is_bid, 100 - away if is_bid else 100 + away, lots),
            st.booleans(), st.integers(1, 24), st.integers(0, 3),
        ),
        min_size=1, max_size=3,
    )  # fmt: skip
    which = st.integers(0, 2)

    @rule(orders=orders, how=st.tuples(*[st.sampled_from("ssssssscldbf")] * 3))
    def venue_changes(self, orders: list[tuple[bool, int, int]], how: tuple[str, ...]) -> None:
        update = self.venue.change(orders)
        for path, fate in zip(self.paths, how, strict=True):
            waiting = path.queue[-1] if path.queue else None
            if fate == "l":
                continue
            if fate == "b" and waiting is not None and not waiting[1]:
                path.queue[-1] = (merged(waiting[0], update), False)
                continue
            data = corrupted(update) if fate == "f" else copied(update) if fate == "c" else update
            path.queue.append((data, False))
            if fate == "d":
                path.queue.append((copied(update), False))

    @rule(which=which)
    def snapshot_is_sent(self, which: int) -> None:
        self.paths[which].queue.append((self.venue.snapshot(), True))

    @rule(which=which, levels=st.integers(1, 3))
    def deep_falsehood_is_sent(self, which: int, levels: int) -> None:
        self.paths[which].queue.append((with_deep_bid(self.venue.snapshot(), 88, levels), False))

    @rule(which=which, most=st.integers(1, 6))
    def messages_arrive(self, which: int, most: int) -> None:
        path = self.paths[which]
        for _ in range(min(most, len(path.queue))):
            data, snapshot = path.queue.popleft()
            self.arrive(path, data, snapshot=snapshot)

    @precondition(lambda self: any(len(path.queue) > 1 for path in self.paths))
    @rule(which=which)
    def order_is_swapped(self, which: int) -> None:
        queue = self.paths[which].queue
        if len(queue) > 1:
            queue[0], queue[1] = queue[1], queue[0]

    @rule(which=which)
    def line_is_lost(self, which: int) -> None:
        path = self.paths[which]
        path.queue.clear()
        path.own.clear()
        path.replica.clear()

    def arrive(self, path: Path, data: BookData, *, snapshot: bool) -> None:
        if not snapshot and not path.own.is_verified:
            return
        if not snapshot and path.replica.passes(data):
            path.own.apply(data, snapshot=False)
            path.states.append(texts(path.own.view()))
            return
        try:
            path.own.apply(data, snapshot=snapshot)
        except BookFault:
            with pytest.raises(BookFault):
                path.replica.apply(data, snapshot=snapshot)
        else:
            path.replica.apply(data, snapshot=snapshot)
            path.states.append(texts(path.own.view()))

    @invariant()
    def each_line_has_the_book_it_would_have_alone(self) -> None:
        for path in getattr(self, "paths", ()):
            assert path.replica.is_verified == path.own.is_verified
            if path.own.is_verified:
                mine, alone = path.replica.view(), path.own.view()
                assert mine == alone
                assert path.replica.crossed == path.own.crossed

    @invariant()
    def deep_levels_are_vouched_for_by_another_line_that_has_had_them(self) -> None:
        for path in getattr(self, "paths", ()):
            if path.own.is_verified and path.replica.view().verified_levels > 10:
                mine = texts(path.replica.view())
                assert any(mine in other.states for other in self.paths if other is not path)

    @invariant()
    def every_log_has_members_and_every_member_one_log(self) -> None:
        for path in getattr(self, "paths", ()):
            log = path.replica.log
            if log is not None:
                assert log in self.shared.logs
                assert path.replica in log.members
                assert path.replica.cursor <= log.position
        for log in getattr(self, "shared", SharedBook(SYMBOL, DEPTH)).logs:
            assert log.members
            assert log.head.is_verified


TestLinesMachine = LinesMachine.TestCase
TestLinesMachine.settings = settings(max_examples=120, stateful_step_count=40)
