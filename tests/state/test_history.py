"""The history: changes only, bounded, and no lane can push out another."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kraken_engine.codec.ws_v2 import Level
from kraken_engine.errors import UsageError
from kraken_engine.model import Integrity, Source
from kraken_engine.normalise.book_view import BookUpdate, BookView
from kraken_engine.state.history import CONNECTIONS, MAX_ENTRIES, History, Lane, account_lane, book_lane


def book(
    bids: Sequence[tuple[bytes, bytes]],
    asks: Sequence[tuple[bytes, bytes]],
    *,
    at_s: float = 0.0,
    source: Source = Source.WEBSOCKET_V2,
) -> BookUpdate:
    """A book of these levels."""
    view = BookView(
        symbol="BTC/USD",
        depth=10,
        checksum=0,
        raw_bids=tuple(Level(*level) for level in bids),
        raw_asks=tuple(Level(*level) for level in asks),
    )
    return BookUpdate(
        symbol="BTC/USD",
        source=source,
        received_s=at_s,
        venue_time=None,
        integrity=Integrity.VERIFIED,
        book=view,
        snapshot=False,
    )


def test_ten_thousand_entries_unless_told_otherwise() -> None:
    assert History().max_entries == MAX_ENTRIES == 10_000


def test_only_changes_are_remembered() -> None:
    history = History()
    assert [history.add(CONNECTIONS, up, at_s=at) for at, up in enumerate([True, True, False, True])] == [
        True, False, True, True,
    ]  # fmt: skip
    assert [(change.at_s, change.value) for change in history.changes(CONNECTIONS)] == [
        (0, True), (2, False), (3, True),
    ]  # fmt: skip


def test_a_book_is_remembered_when_its_top_changes_with_its_digits_and_its_source() -> None:
    history = History()
    rest = [(b"9.90", b"1"), (b"9.8", b"5")]
    assert history.book(book(rest, [], at_s=1.0))
    assert not history.book(book([(b"9.90", b"1"), (b"9.8", b"7")], [], at_s=2.0))
    assert history.book(book([(b"9.90", b"1.50")], [(b"10", b"3")], at_s=3.0))
    assert history.book(book([(b"9.90", b"1.50")], [(b"10", b"3")], at_s=4.0, source=Source.REST))
    first, second, third = (change.value for change in history.changes(book_lane("BTC/USD")))
    assert (str(first.bid.price), first.ask) == ("9.90", None)
    assert (str(second.bid.qty), str(second.ask.price)) == ("1.50", "10")
    assert third.source is Source.REST


def test_what_held_at_a_moment_is_the_last_change_before_it() -> None:
    history = History()
    for at_s, value in ((1.0, "a"), (5.0, "b")):
        history.add(CONNECTIONS, value, at_s=at_s)
    held = [history.at(CONNECTIONS, at_s) for at_s in (0.5, 1.0, 4.9, 5.0, 99.0)]
    assert [None if change is None else change.value for change in held] == [None, "a", "a", "b", "b"]
    assert history.at(book_lane("never"), 1.0) is None


def test_a_lane_can_be_asked_by_time_and_by_number() -> None:
    history = History()
    for at_s in range(10):
        history.add(CONNECTIONS, at_s, at_s=float(at_s))
    assert [change.value for change in history.changes(CONNECTIONS, since_s=7.0)] == [7, 8, 9]
    assert [change.value for change in history.changes(CONNECTIONS, last=2)] == [8, 9]
    assert history.changes(CONNECTIONS, last=0) == ()
    assert len(history.changes(CONNECTIONS, last=99)) == 10
    with pytest.raises(UsageError, match="last: expected 0 or more, got -1"):
        history.changes(CONNECTIONS, last=-1)


def test_a_busy_book_does_not_push_out_what_happened_to_the_account() -> None:
    history = History(max_entries=100)
    for at_s in range(20):
        history.add(account_lane("main"), at_s, at_s=float(at_s))
    for at_s in range(5000):
        history.add(book_lane("BTC/USD"), at_s, at_s=float(at_s))
    assert len(history) == 100
    assert len(history.changes(account_lane("main"))) == 20
    assert [change.value for change in history.changes(book_lane("BTC/USD"))] == list(range(4920, 5000))
    assert history.forgotten == 4920


def test_a_new_lane_is_paid_for_by_the_longest() -> None:
    history = History(max_entries=10)
    for at_s in range(10):
        history.add(book_lane("BTC/USD"), at_s, at_s=float(at_s))
    for at_s in range(4):
        history.add(CONNECTIONS, at_s, at_s=float(at_s))
    assert len(history.changes(CONNECTIONS)) == 4
    assert len(history.changes(book_lane("BTC/USD"))) == 6


class HistoryMachine(RuleBasedStateMachine):
    """The history against lists that forget nothing."""

    lanes: tuple[Lane, ...] = (CONNECTIONS, account_lane("main"), book_lane("A/B"), book_lane("C/D"))

    @initialize(max_entries=st.integers(1, 12))
    def begin(self, max_entries: int) -> None:
        self.history = History(max_entries)
        self.everything: dict[Lane, list[tuple[float, int]]] = {lane: [] for lane in self.lanes}
        self.now = 0.0

    @rule(lane=st.sampled_from(lanes), values=st.lists(st.integers(0, 2), min_size=1, max_size=12))
    def add(self, lane: Lane, values: list[int]) -> None:
        for value in values:
            self.now += 1.0
            known = self.everything[lane]
            kept = self.history.changes(lane)
            is_news = not kept or known[-1][1] != value
            assert self.history.add(lane, value, at_s=self.now) is is_news
            if is_news:
                known.append((self.now, value))

    @invariant()
    def each_lane_is_the_end_of_what_happened(self) -> None:
        for lane in self.lanes:
            kept = [(change.at_s, change.value) for change in self.history.changes(lane)]
            assert kept == self.everything[lane][len(self.everything[lane]) - len(kept) :]

    @invariant()
    def it_is_bounded_and_nothing_is_forgotten_before_it_is_full(self) -> None:
        happened = sum(map(len, self.everything.values()))
        assert len(self.history) == sum(len(self.history.changes(lane)) for lane in self.lanes)
        assert len(self.history) == min(happened, self.history.max_entries)
        assert self.history.forgotten == happened - len(self.history)
        assert sorted(map(repr, self.history.lanes)) == sorted(
            repr(lane) for lane in self.lanes if self.history.changes(lane)
        )

    @invariant()
    def whoever_has_less_than_an_equal_share_lost_nothing_to_a_longer_one(self) -> None:
        kept = {lane: len(self.history.changes(lane)) for lane in self.lanes}
        share = self.history.max_entries // len(self.lanes)
        for lane in self.lanes:
            if len(self.everything[lane]) <= share:
                assert kept[lane] == len(self.everything[lane])


TestHistoryMachine = HistoryMachine.TestCase
TestHistoryMachine.settings = settings(max_examples=60, stateful_step_count=30)
