"""Two sources for one stream: told apart, never backwards, nothing twice, and each for as long as it has to."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Any

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kraken_engine.codec.ws_v2 import TickerData
from kraken_engine.errors import Stale
from kraken_engine.feed.publisher import Publisher
from kraken_engine.feed.sources import Sources
from kraken_engine.model import Integrity, Side, Source, VenueMode
from kraken_engine.normalise.events import (
    Candle,
    Event,
    Gap,
    Live,
    MarketEvent,
    Refused,
    SourceChanged,
    TickerUpdate,
    Trade,
    TradeGap,
    VenueStatus,
)
from kraken_engine.state.freshness import StreamKey
from kraken_engine.state.trades import TradeSequence

TICKER: StreamKey = ("ticker", "A/B")
TRADES: StreamKey = ("trade", "A/B")
CANDLES: StreamKey = ("ohlc", "A/B", 1)
WS, REST = Source.WEBSOCKET_V2, Source.REST


def ticker(at: float, *, source: Source = WS, price: int = 1) -> TickerUpdate:
    numbers: dict[str, Any] = dict.fromkeys(
        ("bid", "bid_qty", "ask", "ask_qty", "last", "volume", "vwap", "low", "high", "change", "change_pct"), price
    )
    return TickerUpdate(
        symbol="A/B", source=source, received_s=at, venue_time=None, integrity=Integrity.UNVERIFIED,
        data=TickerData(symbol="A/B", **numbers),
    )  # fmt: skip


def trade(n: int, at: float = 0.0, *, source: Source = WS) -> Trade:
    return Trade(
        symbol="A/B", source=source, received_s=at, venue_time=None, integrity=Integrity.UNVERIFIED,
        side=Side.BUY, price=Decimal(1), qty=Decimal(1), order_type="limit", trade_id=n,
    )  # fmt: skip


def candle(minute: int, trades: int, at: float = 0.0, *, source: Source = WS) -> Candle:
    end = "Z" if source is REST else ".000000000Z"
    return Candle(
        symbol="A/B", source=source, received_s=at, venue_time=None, integrity=Integrity.UNVERIFIED,
        interval_min=1, interval_begin=f"2026-01-01T00:{minute:02}:00{end}", open=Decimal(1), high=Decimal(1),
        low=Decimal(1), close=Decimal(1), vwap=Decimal(1), volume=Decimal(trades), trades=trades,
    )  # fmt: skip


@attrs.define
class Desk:
    """Sources with everything readers are told, and everything the watchdog is."""

    now_s: float = 0.0
    told: list[tuple[StreamKey, Event]] = attrs.field(factory=list)
    heard: list[str] = attrs.field(factory=list)
    publisher: Publisher = attrs.field(factory=Publisher)
    sources: Sources = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.publisher.observe(lambda key, event: self.told.append((key, event)))
        self.sources = Sources(
            self.publisher,
            self,
            on_well=lambda key: self.heard.append(f"well {key[0]}"),
            on_lost=lambda key, why: self.heard.append(f"lost {key[0]}: {why}"),
        )

    def now(self) -> float:
        return self.now_s

    def wall_ns(self) -> int:
        return 0

    def cpu_s(self) -> float:
        return 0.0

    def take(self, key: StreamKey) -> list[Any]:
        """Return what readers of ``key`` were told since the last time: types of notices, values as they are."""
        taken = [event for told, event in self.told if told == key]
        self.told = [entry for entry in self.told if entry[0] != key]
        return [event if isinstance(event, MarketEvent) else type(event) for event in taken]

    def lose(self, key: StreamKey, at: float) -> None:
        self.now_s = at
        self.sources.publish(key, Stale(str(key[0]), "A/B", "the line went down", since_s=at))

    def rest(self, key: StreamKey, *values: MarketEvent, asked: float, at: float) -> bool:
        self.now_s = at
        return self.sources.offer(key, values, asked_s=asked, now=at)


def diverted(key: StreamKey, first: MarketEvent, answer: MarketEvent) -> Desk:
    """A desk whose stream was lost at 2.0 and is fed by the backup since ``answer``."""
    desk = Desk()
    desk.sources.publish(key, first)
    desk.lose(key, 2.0)
    desk.sources.call(key, "the line went down")
    assert desk.rest(key, answer, asked=6.5, at=7.0)
    desk.take(key)
    return desk


def test_without_trouble_everything_just_passes() -> None:
    desk = Desk()
    values = [ticker(1.0), ticker(2.0)]
    for value in values:
        desk.sources.publish(TICKER, value)
    assert desk.take(TICKER) == [Live, *values]
    assert desk.heard == ["well ticker"]


def test_the_backup_heals_the_gap_and_says_who_speaks() -> None:
    desk = Desk()
    desk.sources.publish(TICKER, ticker(1.0))
    desk.lose(TICKER, 2.0)
    desk.sources.call(TICKER, "no frame for 4.5 s")
    answer = ticker(7.0, source=REST)
    assert desk.rest(TICKER, answer, asked=6.5, at=7.0)
    told = [event for key, event in desk.told if key == TICKER]
    assert [type(event) for event in told] == [Live, TickerUpdate, Stale, Gap, SourceChanged, Live, TickerUpdate]
    gap, changed = told[3], told[4]
    assert isinstance(gap, Gap)
    assert (gap.start_s, gap.end_s, gap.healed_by) == (2.0, 7.0, "rest")
    assert isinstance(changed, SourceChanged)
    assert (changed.source, changed.reason) == (REST, "no frame for 4.5 s")
    assert told[-1] is answer
    assert desk.heard == ["well ticker", "lost ticker: the line went down"]


def test_nobody_asked_the_backup_so_it_has_no_say() -> None:
    desk = Desk()
    desk.sources.publish(TICKER, ticker(1.0))
    desk.lose(TICKER, 2.0)
    assert not desk.rest(TICKER, ticker(7.0, source=REST), asked=6.5, at=7.0)
    assert desk.take(TICKER) == [Live, ticker(1.0), Stale]


def test_lines_that_are_back_before_the_backup_answers_keep_the_stream() -> None:
    desk = Desk()
    desk.sources.publish(TICKER, ticker(1.0))
    desk.lose(TICKER, 2.0)
    desk.sources.call(TICKER, "lost")
    desk.sources.publish(TICKER, ticker(6.9))
    assert not desk.rest(TICKER, ticker(7.0, source=REST), asked=6.5, at=7.0)
    assert not desk.sources.is_diverted(TICKER)
    assert desk.take(TICKER)[-2:] == [Live, ticker(6.9)]


def test_an_answer_to_a_question_older_than_what_was_shown_is_dropped() -> None:
    desk = Desk()
    desk.sources.publish(TICKER, ticker(1.0))
    desk.lose(TICKER, 2.0)
    desk.sources.call(TICKER, "lost")
    desk.sources.publish(TICKER, ticker(6.9))
    desk.lose(TICKER, 7.0)
    assert not desk.rest(TICKER, ticker(7.2, source=REST), asked=6.5, at=7.2)
    assert desk.rest(TICKER, ticker(7.4, source=REST), asked=7.3, at=7.4)


def test_while_the_backup_speaks_the_lines_are_heard_but_not_shown() -> None:
    desk = diverted(TICKER, ticker(1.0), ticker(7.0, source=REST))
    desk.sources.publish(TICKER, ticker(8.0))
    desk.sources.publish(TICKER, ticker(9.0))
    assert desk.take(TICKER) == []
    assert desk.heard[-1] == "well ticker"
    assert desk.sources.stale(TICKER) is None
    desk.lose(TICKER, 10.0)
    assert desk.heard[-1] == "lost ticker: the line went down"
    assert desk.take(TICKER) == []
    assert desk.publisher.freshness.is_live(TICKER)


def test_given_back_the_lines_continue_with_their_newest_value() -> None:
    desk = diverted(TICKER, ticker(1.0), ticker(7.0, source=REST))
    desk.sources.publish(TICKER, ticker(8.0))
    desk.sources.publish(TICKER, ticker(9.0))
    assert desk.sources.restore(TICKER, "well for 30 s")
    assert desk.take(TICKER) == [SourceChanged, ticker(9.0)]
    desk.sources.publish(TICKER, ticker(10.0))
    assert desk.take(TICKER) == [ticker(10.0)]


def test_given_back_with_nothing_newer_the_backup_stays_until_there_is() -> None:
    desk = diverted(TICKER, ticker(1.0), ticker(7.0, source=REST))
    desk.sources.publish(TICKER, ticker(8.0))
    assert desk.rest(TICKER, ticker(9.0, source=REST), asked=8.5, at=9.0)
    assert not desk.sources.restore(TICKER, "well for 30 s")
    assert desk.rest(TICKER, ticker(10.0, source=REST), asked=9.5, at=10.0)
    desk.take(TICKER)
    desk.sources.publish(TICKER, ticker(10.0))
    assert desk.take(TICKER) == []
    desk.sources.publish(TICKER, ticker(10.1))
    assert desk.take(TICKER) == [SourceChanged, ticker(10.1)]


def test_lines_that_are_lost_again_while_returning_leave_the_backup_where_it_is() -> None:
    desk = diverted(TICKER, ticker(1.0), ticker(7.0, source=REST))
    desk.sources.publish(TICKER, ticker(6.9))
    assert not desk.sources.restore(TICKER, "well")
    desk.lose(TICKER, 8.0)
    desk.sources.call(TICKER, "lost again")
    desk.sources.publish(TICKER, ticker(9.0))
    assert desk.sources.is_diverted(TICKER)
    assert desk.take(TICKER) == []


def test_a_backup_that_fails_too_makes_the_stream_stale_until_somebody_has_data() -> None:
    desk = diverted(TICKER, ticker(1.0), ticker(7.0, source=REST))
    desk.sources.give_up(TICKER, "REST: 503", now=20.0)
    assert desk.take(TICKER) == [Stale]
    assert not desk.sources.is_diverted(TICKER)
    desk.sources.publish(TICKER, ticker(21.0))
    assert desk.take(TICKER) == [SourceChanged, Gap, Live, ticker(21.0)]


def test_lines_that_announce_themselves_first_do_not_hide_the_change_of_the_source() -> None:
    desk = diverted(TICKER, ticker(1.0), ticker(7.0, source=REST))
    desk.sources.give_up(TICKER, "REST: 503", now=20.0)
    desk.sources.publish(TICKER, Live(at_s=21.0, channel="ticker", symbol="A/B"))
    desk.sources.publish(TICKER, ticker(21.0))
    assert desk.take(TICKER) == [Stale, Gap, Live, SourceChanged, ticker(21.0)]


def test_a_backup_that_comes_back_first_heals_what_it_gave_up() -> None:
    desk = diverted(TICKER, ticker(1.0), ticker(7.0, source=REST))
    desk.sources.give_up(TICKER, "REST: 503", now=20.0)
    assert desk.rest(TICKER, ticker(22.0, source=REST), asked=21.0, at=22.0)
    assert desk.take(TICKER) == [Stale, Gap, SourceChanged, Live, ticker(22.0, source=REST)]


def test_a_backup_that_fails_while_the_lines_are_well_hands_over_at_once() -> None:
    desk = diverted(TICKER, ticker(1.0), ticker(7.0, source=REST))
    desk.sources.publish(TICKER, ticker(15.0))
    desk.sources.give_up(TICKER, "REST: 503", now=20.0)
    assert desk.take(TICKER) == [Stale, SourceChanged, Gap, Live, ticker(15.0)]


def test_a_stream_the_budget_does_not_reach_says_so_to_whoever_asks() -> None:
    desk = Desk()
    desk.sources.publish(TICKER, ticker(1.0))
    desk.lose(TICKER, 2.0)
    desk.sources.call(TICKER, "lost")
    desk.sources.give_up(TICKER, "not within the REST budget", now=7.0)
    stale = desk.publisher.freshness.stale(TICKER)
    assert stale is not None
    assert (stale.why, stale.since_s) == ("not within the REST budget", 2.0)


def test_trades_are_told_once_and_in_order_whatever_their_source() -> None:
    desk = diverted(TRADES, trade(1), trade(2, 7.0, source=REST))
    for n in (2, 3):
        desk.sources.publish(TRADES, trade(n, 8.0))
    rest = [trade(n, 9.0, source=REST) for n in (1, 2, 3, 4)]
    assert desk.rest(TRADES, *rest, asked=8.5, at=9.0)
    assert desk.sources.restore(TRADES, "well")
    for n in (4, 5):
        desk.sources.publish(TRADES, trade(n, 10.0))
    told = desk.take(TRADES)
    assert [event.trade_id if isinstance(event, Trade) else event for event in told] == [3, 4, SourceChanged, 5]
    assert [event.source for event in told if isinstance(event, Trade)] == [REST, REST, WS]


def test_trades_that_neither_source_brought_are_announced_once() -> None:
    desk = diverted(TRADES, trade(1), trade(2, 7.0, source=REST))
    desk.sources.publish(TRADES, TradeGap(at_s=8.0, symbol="A/B", first=2, last=4))
    desk.sources.publish(TRADES, trade(5, 8.0))
    assert desk.sources.restore(TRADES, "well")
    told = [event for key, event in desk.told if key == TRADES and isinstance(event, (Trade, TradeGap))]
    assert told == [TradeGap(at_s=8.0, symbol="A/B", first=3, last=4), trade(5, 8.0)]


def test_an_answer_without_new_trades_is_current_too() -> None:
    desk = Desk()
    desk.sources.publish(TRADES, trade(1))
    desk.lose(TRADES, 2.0)
    desk.sources.call(TRADES, "lost")
    assert desk.rest(TRADES, trade(1, 7.0, source=REST), asked=6.5, at=7.0)
    assert desk.take(TRADES) == [Live, trade(1), Stale, Gap, SourceChanged, Live]


def test_trades_from_before_anybody_listened_are_history() -> None:
    desk = Desk()
    desk.sources.call(TRADES, "no data yet")
    assert desk.rest(TRADES, trade(8, 7.0, source=REST), trade(9, 7.0, source=REST), asked=6.5, at=7.0)
    assert desk.rest(TRADES, trade(9, 8.0, source=REST), trade(10, 8.0, source=REST), asked=7.5, at=8.0)
    assert desk.take(TRADES) == [SourceChanged, Live, trade(10, 8.0, source=REST)]


def later(n: int, second: int, *, source: Source = WS) -> Trade:
    return attrs.evolve(trade(n, float(second), source=source), venue_time=f"2026-01-01T00:00:{second:02}Z")


def test_trades_that_are_numbered_anew_are_told_whatever_their_source_after_stale() -> None:
    desk = diverted(TRADES, later(900, 1), later(901, 7, source=REST))
    assert desk.rest(TRADES, later(1, 9, source=REST), asked=9.5, at=10.0)
    assert desk.take(TRADES) == [Stale, Gap, Live, later(1, 9, source=REST)]
    for n in (1, 2):
        desk.sources.publish(TRADES, later(n, 8 + n))
    assert desk.sources.restore(TRADES, "well again")
    assert desk.take(TRADES) == [SourceChanged, later(2, 10)]
    desk.sources.publish(TRADES, Stale("trade", "A/B", "trade ids went back from 2 to 1", since_s=10.0))
    desk.sources.publish(TRADES, later(1, 20))
    assert desk.take(TRADES) == [Stale, Gap, Live, later(1, 20)], "once, whoever notices"


def test_what_the_lines_say_of_two_numberings_while_the_backup_speaks_is_told_in_their_order() -> None:
    desk = diverted(TRADES, later(900, 1), later(901, 7, source=REST))
    for one in (later(902, 8), later(903, 9), later(1, 20), later(2, 21)):
        desk.sources.publish(TRADES, one)
    assert desk.sources.restore(TRADES, "well again")
    assert desk.take(TRADES) == [
        SourceChanged, later(902, 8), later(903, 9), Stale, Gap, Live, later(1, 20), later(2, 21),
    ]  # fmt: skip


def test_trades_since_the_end_of_an_earlier_process_are_history_too() -> None:
    desk = Desk()
    old = attrs.evolve(trade(7), integrity=Integrity.RESYNCING)
    desk.publisher.restore(TRADES, old, Stale("trade", "A/B", "restored", since_s=0.0))
    desk.sources.call(TRADES, "no data yet")
    assert desk.rest(TRADES, *(trade(n, source=REST) for n in range(3, 20)), asked=1.0, at=1.5)
    assert desk.take(TRADES) == [Gap, SourceChanged, Live]
    assert desk.rest(TRADES, trade(20, source=REST), asked=2.0, at=2.5)
    assert desk.take(TRADES) == [trade(20, source=REST)]


def test_candles_never_go_back_to_an_earlier_state_whatever_their_source() -> None:
    desk = diverted(CANDLES, candle(5, 3), candle(5, 7, 7.0, source=REST))
    desk.sources.publish(CANDLES, candle(5, 6, 8.0))
    assert not desk.sources.restore(CANDLES, "well")
    desk.sources.publish(CANDLES, candle(5, 8, 9.0))
    desk.sources.publish(CANDLES, candle(5, 2, 9.5))
    desk.sources.publish(CANDLES, candle(6, 1, 10.0))
    assert desk.take(CANDLES) == [SourceChanged, candle(5, 8, 9.0), candle(6, 1, 10.0)]


def test_an_older_candle_is_no_reason_to_call_the_stream_live() -> None:
    desk = Desk()
    desk.sources.publish(CANDLES, candle(5, 3))
    desk.lose(CANDLES, 2.0)
    desk.sources.call(CANDLES, "lost")
    assert not desk.rest(CANDLES, candle(5, 2, 7.0, source=REST), asked=6.5, at=7.0)
    assert not desk.sources.is_diverted(CANDLES)
    assert desk.rest(CANDLES, candle(5, 3, 8.0, source=REST), asked=7.5, at=8.0)


def test_values_withheld_for_lateness_are_not_shown_after_those_of_the_backup() -> None:
    desk = Desk()
    desk.sources.publish(TICKER, ticker(1.0))
    desk.sources.hold(TICKER, "3 s behind", now=2.0)
    desk.sources.publish(TICKER, ticker(3.0))
    desk.sources.call(TICKER, "3 s behind")
    assert desk.rest(TICKER, ticker(7.0, source=REST), asked=6.5, at=7.0)
    assert desk.take(TICKER)[-2:] == [Live, ticker(7.0, source=REST)]
    desk.sources.release(TICKER, now=8.0)
    assert desk.heard[-1] == "well ticker"
    assert not desk.sources.restore(TICKER, "well")
    assert desk.take(TICKER) == []


def test_a_refusal_while_the_backup_speaks_does_not_hide_its_values() -> None:
    desk = diverted(TICKER, ticker(1.0), ticker(7.0, source=REST))
    desk.sources.publish(TICKER, Refused(at_s=8.0, channel="ticker", symbol="A/B", error="no", final=True))
    assert desk.publisher.refused(TICKER) is None
    assert [type(event) for key, event in desk.told if key == ("health",)] == [Refused]


def test_a_stream_that_nobody_reads_any_more_ends_on_the_backup_without_a_word() -> None:
    """Who listens to the health of all streams is not told that one is stale."""
    desk = diverted(TICKER, ticker(1.0), ticker(7.0, source=REST))
    desk.sources.dismiss(TICKER, "nobody reads it", now=8.0)
    assert desk.take(TICKER) == []
    assert not desk.rest(TICKER, ticker(9.0, source=REST), asked=8.5, at=9.0)
    assert not desk.publisher.freshness.is_live(TICKER)
    desk.sources.publish(TICKER, ticker(20.0))
    assert desk.take(TICKER) == [SourceChanged, Gap, Live, ticker(20.0)]


def test_the_venues_state_is_told_to_readers_when_it_changes_and_to_whom_it_steers_whenever_it_is_heard() -> None:
    """What the last one said, a line or REST, is not always what this one said last."""
    heard: list[Event] = []
    publisher = Publisher()
    told: list[Event] = []
    publisher.observe(lambda _, event: told.append(event))
    sources = Sources(publisher, Desk(), on_well=lambda _: None, on_lost=lambda _, __: None, on_news=heard.append)
    states = [
        VenueStatus(at_s=float(at), mode=mode, text=mode.value)
        for at, mode in enumerate([VenueMode.ONLINE, VenueMode.ONLINE, VenueMode.MAINTENANCE, VenueMode.ONLINE])
    ]
    for state in states:
        sources.announce(state)
    assert heard == states
    assert told == [states[0], *states[2:]]


def test_a_forgotten_stream_begins_anew() -> None:
    desk = diverted(TRADES, trade(1), trade(2, 7.0, source=REST))
    desk.sources.forget(TRADES)
    desk.sources.publish(TRADES, trade(1, 20.0))
    assert desk.take(TRADES) == [Live, trade(1, 20.0)]


@attrs.frozen
class Print:
    """One trade of the venue."""

    numbering: int
    trade_id: int
    at_s: float

    def told(self, source: Source, received_s: float) -> Trade:
        minutes, second = divmod(self.at_s, 60)
        time = f"2026-01-01T{int(minutes) // 60:02}:{int(minutes) % 60:02}:{second:09.6f}Z"
        return attrs.evolve(
            trade(self.trade_id, received_s, source=source), venue_time=time, qty=Decimal(self.numbering)
        )


class SourcesMachine(RuleBasedStateMachine):
    """Whatever lines, backup and watchdog do, in any order: what readers see keeps its promises.

    The state of the venue is a number that only grows, and every ticker tells it: that is how going backwards shows.
    The quantity of a trade says of which numbering it is.
    """

    keys = (TICKER, TRADES, CANDLES)

    @initialize()
    def begin(self) -> None:
        self.desk = Desk()
        self.state = 0
        """Of the venue: counts changes."""
        self.tape = [Print(1, 1, 0.0)]
        self.line_trade = 0
        """How many trades the line has brought ..."""
        self.line = TradeSequence("A/B")
        """... through what every line has."""
        self.asked: dict[StreamKey, tuple[float, list[MarketEvent]]] = {}
        """Questions in flight, and what the venue makes of them: the moment of asking, at worst."""

    @rule(seconds=st.sampled_from([0.1, 1.0, 7.0]))
    def time_passes(self, seconds: float) -> None:
        self.desk.now_s += seconds

    @rule(trades=st.integers(1, 4))
    def the_market_moves(self, trades: int) -> None:
        self.state += 1
        self.desk.now_s += 0.01
        last = self.tape[-1]
        self.tape += [Print(last.numbering, last.trade_id + 1 + n, self.desk.now_s) for n in range(trades)]

    @rule()
    def the_venue_numbers_its_trades_anew(self) -> None:
        self.state += 1
        self.desk.now_s += 2.0
        self.tape.append(Print(self.tape[-1].numbering + 1, 1, self.desk.now_s))

    @rule(key=st.sampled_from(keys), announced=st.booleans())
    def the_lines_deliver(self, key: StreamKey, announced: bool) -> None:
        self.desk.now_s += 0.01
        if announced:
            self.desk.sources.publish(key, Live(at_s=self.desk.now_s, channel=str(key[0]), symbol="A/B"))
        for value in self.values(key, WS):
            for event in self.line.receive(value, now=0.0) if isinstance(value, Trade) else (value,):
                self.desk.sources.publish(key, event)

    @rule(key=st.sampled_from(keys))
    def the_lines_are_lost(self, key: StreamKey) -> None:
        self.desk.lose(key, self.desk.now_s)

    @rule(key=st.sampled_from(keys))
    def the_lines_go_quiet(self, key: StreamKey) -> None:
        self.desk.sources.suspect(key, "quiet", now=self.desk.now_s)

    @rule(key=st.sampled_from((TICKER, CANDLES)), late=st.booleans())
    def the_lines_are_late(self, key: StreamKey, late: bool) -> None:
        if late:
            self.desk.sources.hold(key, "late", now=self.desk.now_s)
        else:
            self.desk.sources.release(key, now=self.desk.now_s)

    @rule(key=st.sampled_from(keys))
    def call(self, key: StreamKey) -> None:
        self.desk.sources.call(key, "called")

    @rule(key=st.sampled_from(keys))
    def the_backup_is_asked(self, key: StreamKey) -> None:
        self.desk.now_s += 0.01
        self.asked[key] = self.desk.now_s, self.values(key, REST)

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def the_backup_answers(self, data: st.DataObject) -> None:
        """Sooner or later; in between, everything may have become of the stream."""
        self.desk.now_s += 0.01
        key = data.draw(st.sampled_from(list(self.asked)))
        asked, values = self.asked.pop(key)
        now = self.desk.now_s
        self.desk.rest(key, *(attrs.evolve(value, received_s=now) for value in values), asked=asked, at=now)

    @rule(key=st.sampled_from(keys))
    def the_backup_gives_up(self, key: StreamKey) -> None:
        self.desk.sources.give_up(key, "gave up", now=self.desk.now_s)

    @rule(key=st.sampled_from(keys))
    def restore(self, key: StreamKey) -> None:
        self.desk.sources.restore(key, "restored")

    @rule(key=st.sampled_from(keys))
    def the_backup_is_dismissed(self, key: StreamKey) -> None:
        """Whoever reads the stream later begins anew."""
        if self.desk.sources.is_diverted(key):
            self.desk.take(key)
        self.desk.sources.dismiss(key, "nobody reads it", now=self.desk.now_s)

    def values(self, key: StreamKey, source: Source) -> list[MarketEvent]:
        now = self.desk.now_s
        if key == TICKER:
            return [ticker(now, source=source, price=self.state)]
        if key == CANDLES:
            return [candle(self.state // 3, self.state % 3, now, source=source)]
        if source is REST:
            return [one.told(source, now) for one in self.tape[-6:]]
        first, self.line_trade = self.line_trade, len(self.tape)
        return [one.told(source, now) for one in self.tape[first:]]

    @invariant()
    def readers_can_rely_on_what_they_see(self) -> None:
        for key in self.keys:
            told = [event for where, event in self.desk.told if where == key]
            live, source = False, None
            for event in told:
                if isinstance(event, MarketEvent):
                    assert live, "a value while not live"
                    assert source in (None, event.source), "a change of the source that was not told"
                    source = event.source
                elif isinstance(event, Live):
                    live = True
                elif isinstance(event, Stale):
                    live = False
                elif isinstance(event, SourceChanged):
                    source = event.source
            values = [event for event in told if isinstance(event, MarketEvent)]
            if key == TICKER:
                assert all(a.received_s <= b.received_s for a, b in pairwise(values))
                states = [v.bid for v in values if isinstance(v, TickerUpdate)]
                assert states == sorted(states), "the venue's state went backwards"
            elif key == CANDLES:
                candles = [(v.interval_begin[:19], v.trades) for v in values if isinstance(v, Candle)]
                assert candles == sorted(candles)
            assert live is self.desk.publisher.freshness.is_live(key)

    @invariant()
    def each_trade_is_told_once_or_announced_as_missing(self) -> None:
        expected: int | None = None
        numbering, stale = Decimal(0), True
        for key, event in self.desk.told:
            if key != TRADES:
                continue
            if isinstance(event, TradeGap):
                assert expected in (None, event.first)
                expected = event.last + 1
            elif isinstance(event, Stale):
                stale = True
            elif isinstance(event, Trade):
                assert event.qty >= numbering, "what was told of an older numbering is not told again"
                if event.qty > numbering:
                    assert stale, "a new numbering that was not told"
                else:
                    assert expected in (None, event.trade_id)
                numbering, stale, expected = event.qty, False, event.trade_id + 1


TestSourcesMachine = SourcesMachine.TestCase
TestSourcesMachine.settings = settings(max_examples=150, stateful_step_count=40)
