"""The first line to bring something newer counts, nothing is shown twice, and one line's trouble is its own."""

from __future__ import annotations

from decimal import Decimal

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kraken_engine.errors import Stale
from kraken_engine.feed.publisher import Publisher
from kraken_engine.model import Instrument, Integrity, Side, Source
from kraken_engine.normalise.book_view import BookUpdate, BookView
from kraken_engine.normalise.events import (
    Candle,
    Event,
    Gap,
    InstrumentUpdate,
    Live,
    MarketEvent,
    Refused,
    Resync,
    Trade,
)
from kraken_engine.state.arbitration import CROSSED_S, UNSETTLED_S, Arbiter
from kraken_engine.state.early import MOST_EARLY
from kraken_engine.state.freshness import StreamKey
from kraken_engine.state.lineage import Place
from kraken_engine.state.member import Member

KEY: StreamKey = ("book", "A/B")
HEALTH: StreamKey = ("health",)


def trade(n: int, at: float) -> Trade:
    return Trade(
        symbol="A/B", source=Source.WEBSOCKET_V2, received_s=at, venue_time=None, integrity=Integrity.UNVERIFIED,
        side=Side.BUY, price=Decimal(1), qty=Decimal(1), order_type="limit", trade_id=n,
    )  # fmt: skip


@attrs.define
class Heard:
    """A publisher of two or three lines, and everything it told."""

    told: list[tuple[StreamKey, Event]] = attrs.field(factory=list)
    publisher: Publisher = attrs.field(factory=Publisher)
    arbiter: Arbiter = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.publisher.observe(lambda key, event: self.told.append((key, event)))
        self.arbiter = Arbiter(self.publisher)

    def line(self, name: str, *keys: StreamKey) -> Member:
        member = self.arbiter.member(name)
        for key in keys or (KEY,):
            member.begin(key)
        return member

    def of(self, key: StreamKey = KEY) -> list[object]:
        """What readers of a stream were told: states as (time, checksum), notices by name."""
        return [
            (event.venue_time, event.book.checksum) if isinstance(event, BookUpdate) else type(event).__name__
            for where, event in self.told
            if where == key
        ]


def book(time: str | None, checksum: int, *, at: float = 1.0, crossed: bool = False) -> BookUpdate:
    view = BookView(symbol="A/B", depth=10, checksum=checksum, crossed=crossed, raw_bids=(), raw_asks=())
    return BookUpdate(
        symbol="A/B", source=Source.WEBSOCKET_V2, received_s=at, venue_time=time, integrity=Integrity.VERIFIED,
        book=view, snapshot=False,
    )  # fmt: skip


def candle(begin: str, trades: int) -> Candle:
    return Candle(
        symbol="A/B", source=Source.WEBSOCKET_V2, received_s=1.0, venue_time=None, integrity=Integrity.UNVERIFIED,
        interval_min=1, interval_begin=begin, open=Decimal(1), high=Decimal(1), low=Decimal(1), close=Decimal(1),
        vwap=Decimal(1), volume=Decimal(1), trades=trades,
    )  # fmt: skip


def lost(why: str = "checksum") -> Stale:
    return Stale("book", "A/B", why, since_s=2.0)


def test_each_state_is_shown_once_and_by_the_line_that_brings_it_first() -> None:
    heard = Heard()
    a, b = heard.line("a"), heard.line("b")
    a.publish(KEY, book("1Z", 11))
    b.publish(KEY, book("1Z", 11))
    b.publish(KEY, book("2Z", 12))
    a.publish(KEY, book("2Z", 12))
    a.publish(KEY, book("3Z", 13))
    assert heard.of() == ["Live", ("1Z", 11), ("2Z", 12), ("3Z", 13)]


def snapshot(time: str, checksum: int, *, at: float = 1.0) -> BookUpdate:
    return attrs.evolve(book(time, checksum, at=at), snapshot=True)


def test_a_line_whose_snapshot_is_ahead_waits_for_the_line_that_readers_follow() -> None:
    heard = Heard()
    a, b = heard.line("a"), heard.line("b")
    a.publish(KEY, book("1Z", 11))
    b.publish(KEY, snapshot("3Z", 13))
    b.publish(KEY, book("4Z", 14))
    assert heard.of() == ["Live", ("1Z", 11)]
    a.publish(KEY, book("2Z", 12))
    a.publish(KEY, book("3Z", 13))
    assert heard.of() == ["Live", ("1Z", 11), ("2Z", 12), ("3Z", 13), ("4Z", 14)]
    a.publish(KEY, book("4Z", 14))
    b.publish(KEY, book("5Z", 15))
    assert heard.of()[-2:] == [("4Z", 14), ("5Z", 15)]


def test_what_waits_is_shown_at_once_when_the_line_it_waits_for_ends() -> None:
    heard = Heard()
    a, b = heard.line("a"), heard.line("b")
    a.publish(KEY, book("1Z", 11))
    b.publish(KEY, snapshot("3Z", 13))
    b.publish(KEY, book("4Z", 14))
    a.publish(KEY, lost())
    assert heard.of() == ["Live", ("1Z", 11), ("3Z", 13), ("4Z", 14)]


def test_what_waits_is_shown_when_the_line_it_waits_for_does_not_bring_it_in_time() -> None:
    heard = Heard()
    a, b = heard.line("a"), heard.line("b")
    a.publish(KEY, book("1Z", 11))
    b.publish(KEY, snapshot("3Z", 13, at=2.0))
    heard.arbiter.tick(now=2.0 + UNSETTLED_S / 2)
    assert heard.of() == ["Live", ("1Z", 11)]
    heard.arbiter.tick(now=2.0 + UNSETTLED_S)
    assert heard.of() == ["Live", ("1Z", 11), ("3Z", 13)]


def test_what_waits_is_forgotten_when_its_own_line_ends() -> None:
    heard = Heard()
    a, b = heard.line("a"), heard.line("b")
    a.publish(KEY, book("1Z", 11))
    b.publish(KEY, snapshot("3Z", 13))
    b.publish(KEY, lost())
    a.publish(KEY, book("2Z", 12))
    a.publish(KEY, book("3Z", 13))
    assert heard.of() == ["Live", ("1Z", 11), ("2Z", 12), ("3Z", 13)]


def test_no_more_states_wait_than_may() -> None:
    heard = Heard()
    a, b = heard.line("a"), heard.line("b")
    a.publish(KEY, book("1Z", 1))
    b.publish(KEY, snapshot("2Z", 2))
    for n in range(3, MOST_EARLY + 1):
        b.publish(KEY, book(f"2{n:05}Z", n))
    assert len(heard.of()) == 2
    b.publish(KEY, book("99999Z", 99_999))
    assert len(heard.of()) == 2 + MOST_EARLY


def test_a_slower_line_shows_nothing_that_is_older() -> None:
    heard = Heard()
    a, b = heard.line("a"), heard.line("b")
    for n in range(1, 6):
        a.publish(KEY, book(f"{n}Z", n))
    for n in range(1, 6):
        b.publish(KEY, book(f"{n}Z", n))
    assert len(heard.of()) == 6
    assert heard.arbiter.withheld == 4


def test_the_end_of_one_line_is_no_event_while_another_one_is_well() -> None:
    heard = Heard()
    a, b = heard.line("a"), heard.line("b")
    for line in (a, b):
        line.publish(KEY, book("1Z", 11))
    a.publish(KEY, lost())
    a.publish(KEY, Resync(at_s=2.0, channel="book", symbol="A/B", reason="checksum"))
    b.publish(KEY, book("2Z", 12))
    a.publish(KEY, book("3Z", 13, at=4.0))
    assert heard.of() == ["Live", ("1Z", 11), ("2Z", 12), ("3Z", 13)]
    assert heard.of(HEALTH) == ["Resync"]


def test_the_end_of_the_last_line_is_told_and_so_is_how_it_was_healed() -> None:
    heard = Heard()
    a, b = heard.line("a"), heard.line("b")
    for line in (a, b):
        line.publish(KEY, book("1Z", 11))
    b.suspect(KEY, "no frame for 2.5 s", now=2.0)
    a.publish(KEY, lost())
    b.publish(KEY, book("2Z", 12, at=5.0))
    assert heard.of() == ["Live", ("1Z", 11), "Stale", "Gap", "Live", ("2Z", 12)]
    (gap,) = [event for _, event in heard.told if isinstance(event, Gap)]
    assert (gap.start_s, gap.end_s, gap.healed_by) == (2.0, 5.0, "line")


def test_a_line_that_healed_itself_by_a_snapshot_says_so() -> None:
    heard = Heard()
    a = heard.line("a")
    a.publish(KEY, book("1Z", 11))
    a.publish(KEY, lost())
    a.publish(KEY, book("2Z", 12, at=5.0))
    (gap,) = [event for _, event in heard.told if isinstance(event, Gap)]
    assert gap.healed_by == "snapshot"


def test_silence_of_all_lines_is_stale_and_no_gap() -> None:
    heard = Heard()
    a, b = heard.line("a"), heard.line("b")
    for line in (a, b):
        line.publish(KEY, book("1Z", 11))
    for line in (a, b):
        line.suspect(KEY, "no frame for 2.5 s", now=2.0)
    a.publish(KEY, book("2Z", 12))
    assert heard.of() == ["Live", ("1Z", 11), "Stale", "Live", ("2Z", 12)]


def test_what_was_shown_is_not_shown_again_when_its_line_is_on_time_again() -> None:
    heard = Heard()
    a, b = heard.line("a"), heard.line("b")
    for line in (a, b):
        line.publish(KEY, book("1Z", 11))
    b.publish(KEY, book("2Z", 12))
    b.hold(KEY, "data is 3.0 s behind the venue", now=2.0)
    b.release(KEY, now=3.0)
    assert heard.of() == ["Live", ("1Z", 11), ("2Z", 12)]


def test_a_state_that_may_be_older_waits_for_the_line_that_showed_the_last_one() -> None:
    heard = Heard()
    a, b = heard.line("a"), heard.line("b")
    for line in (a, b):
        line.publish(KEY, book("1Z", 11, at=1.0))
    a.publish(KEY, book("2Z", 12, at=2.0))
    b.publish(KEY, book("2Z", 99, at=2.1))
    heard.arbiter.tick(now=2.1 + UNSETTLED_S / 2)
    assert heard.of()[-1] == ("2Z", 12)
    heard.arbiter.tick(now=2.1 + UNSETTLED_S)
    assert heard.of()[-1] == ("2Z", 99), "the other line lacks it"


def test_readers_are_told_before_trades_that_are_numbered_anew_however_well_the_lines_are() -> None:
    """Even where the line that brings the first one was not trusted until then: after a reconnect, say."""
    key: StreamKey = ("trade", "A/B")
    for was_down in (False, True):
        heard = Heard()
        a, b = heard.line("a", key), heard.line("b", key)
        for member in (a, b):
            member.publish(key, Live(at_s=1.0, channel="trade", symbol="A/B"))
        b.publish(key, trade(900, 2.0))
        if was_down:
            a.lose(key, "reconnecting", now=3.0)
        a.publish(key, trade(1, 5.0))
        b.publish(key, trade(2, 6.0))
        told = [event for where, event in heard.told if where == key]
        assert [type(event).__name__ for event in told] == ["Live", "Trade", "Stale", "Gap", "Live", "Trade", "Trade"]
        gap = told[3]
        assert isinstance(gap, Gap)
        assert (gap.start_s, gap.end_s) == (2.0, 5.0)
        assert gap.reason == "trade ids went back from 900 to 1: what came between is not known"


@attrs.define
class InOneLog:
    """The views of a line whose book stands in the log of another one, or has left it."""

    log: object
    joined: bool = True

    def place(self, key: StreamKey) -> Place | None:
        return (self.log if self.joined else self, 0)

    def has_passed(self, key: StreamKey, place: Place) -> bool:
        return self.follows(key, place)

    def follows(self, key: StreamKey, place: Place) -> bool:
        return place[0] is (self.log if self.joined else self)

    def lumps(self, key: StreamKey) -> bool:
        return False

    def speak_up(self, key: StreamKey, *, loud: bool) -> None:
        """Everything is told anyway."""


def test_what_waited_is_older_if_its_line_has_found_back_to_the_others_meanwhile() -> None:
    heard, log = Heard(), object()
    a, b = heard.line("a"), heard.line("b")
    mine = InOneLog(log)
    a.views, b.views = InOneLog(log), mine
    for line in (a, b):
        line.publish(KEY, book("1Z", 11))
    a.publish(KEY, book("2Z", 13, at=2.0))  # two changes in one message
    mine.joined = False
    b.publish(KEY, book("2Z", 12, at=2.0))  # the first of them alone
    mine.joined = True  # and the second, which is no news
    heard.arbiter.tick(now=9.0)
    assert heard.of()[-1] == ("2Z", 13)


def test_what_a_line_brings_after_the_shown_state_is_next_and_what_it_brought_before_is_older() -> None:
    heard = Heard()
    a, b = heard.line("a"), heard.line("b")
    for line in (a, b):
        line.publish(KEY, book("1Z", 11))
    a.publish(KEY, book("2Z", 13))  # two changes in one message
    b.publish(KEY, book("2Z", 12))
    b.publish(KEY, book("2Z", 13))
    b.publish(KEY, book("2Z", 14))
    assert heard.of()[-1] == ("2Z", 14), "the states of one line are in order"
    a.publish(KEY, book("2Z", 14))
    a.publish(KEY, book("2Z", 16))
    b.publish(KEY, book("2Z", 15))
    b.publish(KEY, book("2Z", 16))
    a.publish(KEY, book("2Z", 17))
    heard.arbiter.tick(now=9.0)
    assert heard.of() == ["Live", ("1Z", 11), ("2Z", 13), ("2Z", 14), ("2Z", 16), ("2Z", 17)]


def test_what_waited_is_shown_at_once_when_that_line_falls() -> None:
    heard = Heard()
    a, b = heard.line("a"), heard.line("b")
    for line in (a, b):
        line.publish(KEY, book("1Z", 11))
    a.publish(KEY, book("2Z", 12))
    b.publish(KEY, book("2Z", 13))
    a.publish(KEY, lost())
    assert heard.of()[-1] == ("2Z", 13)
    b.publish(KEY, book("2Z", 12))
    assert heard.of()[-1] == ("2Z", 12), "the states of one line are in order"


def test_without_times_one_line_is_followed_until_it_falls() -> None:
    heard = Heard()
    a, b = heard.line("a"), heard.line("b")
    a.publish(KEY, book(None, 1))
    b.publish(KEY, book(None, 2))
    a.publish(KEY, book(None, 3))
    a.publish(KEY, lost())
    b.publish(KEY, book(None, 4))
    assert heard.of() == ["Live", (None, 1), (None, 3), (None, 4)]


def test_a_crossed_book_is_shown_for_two_seconds_however_many_lines_agree() -> None:
    heard = Heard()
    a, b = heard.line("a"), heard.line("b")
    for n, line in enumerate((a, b, a, b)):
        line.publish(KEY, book(f"{n}Z", n, at=float(n), crossed=True))
    assert heard.of() == ["Live", ("0Z", 0), ("1Z", 1), "Stale"]
    b.publish(KEY, book("5Z", 5, at=9.0))
    assert heard.of()[-3:] == ["Gap", "Live", ("5Z", 5)]


def test_a_crossed_book_that_nobody_changes_is_called_stale_by_the_clock() -> None:
    heard = Heard()
    heard.line("a").publish(KEY, book("1Z", 1, at=1.0, crossed=True))
    heard.arbiter.tick(now=1.0 + CROSSED_S - 0.01)
    assert heard.of()[-1] == ("1Z", 1)
    heard.arbiter.tick(now=1.0 + CROSSED_S)
    assert heard.of()[-1] == "Stale"


def test_times_may_go_back_when_every_line_says_that_the_venue_s_clock_did() -> None:
    heard = Heard()
    a, b = heard.line("a"), heard.line("b")
    for line in (a, b):
        line.publish(KEY, book("9Z", 9))
    a.publish(KEY, lost("venue time went back for 2 s"))
    a.publish(KEY, book("1Z", 1, at=5.0))
    assert heard.of() == ["Live", ("9Z", 9)], "one line may be wrong"
    b.publish(KEY, lost("venue time went back for 2 s"))
    b.publish(KEY, book("2Z", 2, at=6.0))
    assert heard.of() == ["Live", ("9Z", 9), "Stale", "Gap", "Live", ("2Z", 2)]


def test_a_candle_is_told_once_and_never_in_an_older_state() -> None:
    heard = Heard()
    key: StreamKey = ("ohlc", "A/B", 1)
    a, b = heard.line("a", key), heard.line("b", key)
    for line, one in ((a, candle("1", 1)), (b, candle("1", 1)), (b, candle("1", 2)), (a, candle("2", 1))):
        line.publish(key, one)
    b.publish(key, candle("1", 3))
    told = [(e.interval_begin, e.trades) for where, e in heard.told if where == key and isinstance(e, Candle)]
    assert told == [("1", 1), ("1", 2), ("2", 1)]


def test_a_refusal_is_final_when_every_line_got_one() -> None:
    heard = Heard()
    a, b = heard.line("a"), heard.line("b")
    refused = Refused(at_s=1.0, channel="book", symbol="A/B", error="no such pair", final=True)
    a.publish(KEY, refused)
    assert (heard.of(), heard.of(HEALTH)) == ([], ["Refused"])
    b.publish(KEY, refused)
    assert heard.of() == ["Refused"]


def test_instruments_are_told_when_they_change() -> None:
    heard = Heard()
    key: StreamKey = ("instrument",)
    a, b = heard.line("a", key), heard.line("b", key)
    one = Instrument(
        symbol="A/B", base="A", quote="B", status="online", price_decimals=1, qty_decimals=1,
        price_increment=Decimal(1), qty_increment=Decimal(1), qty_min=Decimal(1), cost_min=Decimal(1),
    )  # fmt: skip
    for line in (a, b):
        line.publish(key, InstrumentUpdate(instruments=(one,), snapshot=True, received_s=1.0))
    changed = attrs.evolve(one, status="cancel_only")
    for line in (a, b):
        line.publish(key, InstrumentUpdate(instruments=(changed,), snapshot=False, received_s=2.0))
    assert heard.of(key) == ["InstrumentUpdate"] * 2


def test_a_stream_that_no_line_feeds_any_more_is_forgotten() -> None:
    heard = Heard()
    a, b = heard.line("a"), heard.line("b")
    a.publish(KEY, book("1Z", 1))
    a.forget(KEY)
    assert heard.publisher.latest(KEY) is not None
    b.end()
    assert heard.publisher.latest(KEY) is None
    assert heard.arbiter.feeds(KEY) == {}


class LinesMachine(RuleBasedStateMachine):
    """Lines bring one history of states, each at its own pace, and fall and rise; readers see one of them.

    The model: what is shown is a state of that history, never an older one than before, and never the same again.
    """

    @initialize(same_time=st.lists(st.booleans(), min_size=60, max_size=60))
    def begin(self, same_time: list[bool]) -> None:
        self.heard = Heard()
        self.lines = [self.heard.line(name) for name in "abc"]
        self.places = [0, 0, 0]
        self.live = [False, False, False]
        self.now = 0.0
        self.times: list[str] = []
        clock = 100
        for same in same_time:
            clock += not same
            self.times.append(f"{clock}Z")

    which = st.integers(0, 2)

    def state(self, place: int) -> BookUpdate:
        return book(self.times[place], place, at=self.now)

    @rule(which=which, steps=st.integers(1, 4))
    def line_brings_what_comes_next(self, which: int, steps: int) -> None:
        for _ in range(steps):
            if self.places[which] < len(self.times):
                self.now += 0.01
                self.lines[which].publish(KEY, self.state(self.places[which]))
                self.places[which] += 1
                self.live[which] = True

    @rule(which=which)
    def line_falls_silent(self, which: int) -> None:
        self.lines[which].suspect(KEY, "no frame for 2.5 s", now=self.now)
        self.live[which] = False

    @precondition(lambda self: any(self.live))
    @rule(which=which, skipped=st.integers(0, 5))
    def line_lacks_something_until_its_next_snapshot(self, which: int, skipped: int) -> None:
        if self.live[which]:
            self.lines[which].publish(KEY, Stale("book", "A/B", "gap", since_s=self.now))
            self.places[which] = min(len(self.times), self.places[which] + skipped)
            self.live[which] = False

    @rule()
    def time_passes(self) -> None:
        self.now += 2.0
        self.heard.arbiter.tick(now=self.now)

    @invariant()
    def what_is_shown_never_goes_back_and_never_repeats_while_live(self) -> None:
        if not hasattr(self, "heard"):
            return
        last: tuple[str, int] | None = None
        fresh = True
        seen: set[int] = set()
        for event in (event for key, event in self.heard.told if key == KEY):
            if isinstance(event, Live):
                fresh = True
            elif isinstance(event, BookUpdate):
                assert event.venue_time is not None
                mine = (event.venue_time, event.book.checksum)
                assert last is None or mine[0] >= last[0]
                # States of one venue time are in no order; a line that stays behind for a second may be believed.
                assert fresh or mine[1] not in seen or (last is not None and mine[0] == last[0])
                assert fresh or last is None or mine != last
                last, fresh = mine, False
                seen.add(mine[1])

    @invariant()
    def readers_are_told_stale_only_when_no_line_is_left(self) -> None:
        if not hasattr(self, "heard"):
            return
        told = [event for key, event in self.heard.told if key == KEY and isinstance(event, (Live, Stale))]
        if told:
            is_live = isinstance(told[-1], Live)
            assert is_live or not any(self.live) or self.every_live_line_is_behind()
            assert any(self.live) or not is_live

    def every_live_line_is_behind(self) -> bool:
        last = self.heard.publisher.latest(KEY)
        assert isinstance(last, MarketEvent)
        assert last.venue_time is not None
        return all(
            self.times[place - 1] <= last.venue_time
            for place, live in zip(self.places, self.live, strict=True)
            if live and place
        )

    @rule()
    def all_catch_up_and_the_newest_is_shown(self) -> None:
        if not any(self.places):
            return
        for which in range(3):
            self.line_brings_what_comes_next(which, len(self.times))
        if any(self.live):
            self.now += 2.0
            self.heard.arbiter.tick(now=self.now)
            shown = self.heard.publisher.latest(KEY)
            assert isinstance(shown, BookUpdate)
            assert shown.venue_time == self.times[-1]


TestLinesMachine = LinesMachine.TestCase
TestLinesMachine.settings = settings(max_examples=120, stateful_step_count=30)
