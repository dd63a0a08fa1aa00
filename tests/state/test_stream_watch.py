"""A subscription is mute when another line moves and it does not; a quiet market never is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.config import PoolSettings
from kraken_engine.state.freshness import StreamKey
from kraken_engine.state.stream_watch import FIRST_DATA_S, FORGIVEN_S, Mute, Remedy, Report, StreamWatch

SETTINGS = PoolSettings(mute_after_s=1.5, heal_patience_s=5.0)
BOOK: StreamKey = ("book", "A/USD")
TRADE: StreamKey = ("trade", "A/USD")
TICKER: StreamKey = ("ticker", "A/USD")
LOOK_S = 0.25

Lines = dict[str, Report]


def at(progress: int) -> Report:
    return Report(progress)


def watch_for(seconds: float, watch: StreamWatch, reports: dict[StreamKey, Lines], *, start: float = 0.0) -> list[Mute]:
    """Look at the same reports again and again, and return what was found."""
    found = []
    for n in range(int(seconds / LOOK_S) + 1):
        found += watch.look(reports, now=start + n * LOOK_S)
    return found


def test_a_quiet_market_is_quiet_on_every_line() -> None:
    assert watch_for(3600, StreamWatch(SETTINGS), {BOOK: {"A": at(5), "B": at(5)}}) == []


def test_one_line_alone_says_nothing() -> None:
    assert watch_for(3600, StreamWatch(SETTINGS), {BOOK: {"A": at(5)}, TRADE: {"B": at(5)}}) == []


def test_a_stream_that_stands_still_while_another_line_is_ahead_is_asked_for_anew() -> None:
    watch = StreamWatch(SETTINGS)
    keeps_moving = {TRADE: {"A": at(1), "B": at(1)}}
    assert watch.look({BOOK: {"A": at(5), "B": at(6)}, **keeps_moving}, now=0.0) == []
    assert watch.look({BOOK: {"A": at(5), "B": at(9)}, **keeps_moving}, now=1.25) == []
    (mute,) = watch.look({BOOK: {"A": at(5), "B": at(9)}, **keeps_moving}, now=1.5)
    assert (mute.line, mute.key, mute.remedy) == ("A", BOOK, Remedy.RESUBSCRIBE)
    assert mute.why == "silent for 1.5 s while another line moves"


def test_a_line_that_is_behind_but_moves_is_slow_and_not_mute() -> None:
    watch = StreamWatch(SETTINGS)
    for n in range(400):
        assert watch.look({BOOK: {"A": at(n // 5), "B": at(n + 10)}}, now=n * LOOK_S) == []


def test_a_confirmed_subscription_of_which_nothing_comes_is_mute_if_another_line_has_data() -> None:
    silent = {BOOK: {"A": Report(None, awaited=True), "B": at(3)}}
    found = watch_for(FIRST_DATA_S, StreamWatch(SETTINGS), silent)
    assert [(mute.line, mute.why) for mute in found] == [("A", "confirmed, but no data within 2.5 s")]
    nobody_has = {BOOK: {"A": Report(None, awaited=True), "B": Report(None, awaited=True)}}
    assert watch_for(600, StreamWatch(SETTINGS), nobody_has) == []


def test_a_line_of_which_nothing_is_heard_is_not_judged_here() -> None:
    watch = StreamWatch(SETTINGS)
    for n in range(40):
        reports = {key: {"A": Report(5, heard_s=0.5), "B": at(6)} for key in (BOOK, TRADE, TICKER)}
        assert watch.look(reports, now=n * LOOK_S) == []
    (replaced,) = watch.look({key: {"A": Report(5, heard_s=9.9), "B": at(6)} for key in (BOOK, TRADE)}, now=10.0)
    assert replaced.remedy is Remedy.REPLACE


def test_nobody_is_measured_by_a_snapshot_whose_time_may_be_that_of_asking() -> None:
    watch = StreamWatch(SETTINGS)
    asked_late = Report(9, is_dated=False)
    assert watch_for(600, watch, {TICKER: {"A": at(5), "B": asked_late}}) == []
    (mute,) = watch_for(1.5, watch, {TICKER: {"A": at(10), "B": asked_late}}, start=700.0)
    assert mute.line == "B"


def test_what_cannot_be_compared_is_not_judged() -> None:
    no_times = {TICKER: {"A": Report(None), "B": at(3)}}
    assert watch_for(600, StreamWatch(SETTINGS), no_times) == []


def test_remedies_grow_and_become_more_and_more_seldom() -> None:
    watch, when = StreamWatch(SETTINGS), []
    for n in range(4 * 200):
        now = n * LOOK_S
        moving = {TRADE: {"A": at(n), "B": at(n)}}  # the line as such is well
        when += [(now, mute.remedy) for mute in watch.look({BOOK: {"A": at(5), "B": at(6 + n)}, **moving}, now=now)]
    assert [remedy for _, remedy in when] == [Remedy.RESUBSCRIBE, Remedy.MOVE, *[Remedy.RESUBSCRIBE] * 4]
    assert [now for now, _ in when] == [1.5, 6.5, 16.5, 36.5, 76.5, 156.5]


def test_a_stream_that_falls_silent_again_soon_gets_the_stronger_remedy_and_later_the_weakest_again() -> None:
    watch = StreamWatch(SETTINGS)
    moving = {TRADE: {"A": at(1), "B": at(1)}}
    (first,) = watch_for(1.5, watch, {BOOK: {"A": at(5), "B": at(6)}, **moving})
    assert watch_for(5, watch, {BOOK: {"A": at(6), "B": at(6)}, **moving}, start=2.0) == []
    found = watch_for(3, watch, {BOOK: {"A": at(6), "B": at(7)}, TRADE: {"A": at(2), "B": at(2)}}, start=8.0)
    assert [mute.remedy for mute in (first, *found)] == [Remedy.RESUBSCRIBE, Remedy.MOVE]
    watch_for(2 * FORGIVEN_S, watch, {BOOK: {"A": at(7), "B": at(7)}, **moving}, start=20.0)
    (much_later,) = watch_for(1.5, watch, {BOOK: {"A": at(7), "B": at(8)}, **moving}, start=200.0)
    assert much_later.remedy is Remedy.RESUBSCRIBE


def test_a_line_of_which_nothing_moves_is_replaced_as_a_whole_and_once() -> None:
    mute = {key: {"A": at(1), "B": at(2)} for key in (BOOK, TRADE, TICKER)}
    found = watch_for(3, StreamWatch(SETTINGS), mute)
    assert [(one.line, one.remedy) for one in found] == [("A", Remedy.REPLACE)]
    assert "nothing of 3 streams" in found[0].why


def test_a_single_stream_of_a_line_is_asked_for_before_the_line_is_replaced() -> None:
    (first, *_) = watch_for(3, StreamWatch(SETTINGS), {BOOK: {"A": at(1), "B": at(2)}})
    assert first.remedy is Remedy.RESUBSCRIBE


def test_a_line_that_went_down_is_forgiven() -> None:
    watch = StreamWatch(SETTINGS)
    watch.look({BOOK: {"A": at(1), "B": at(2)}}, now=0.0)
    watch.look({BOOK: {"B": at(2)}}, now=1.0)
    assert watch.look({BOOK: {"A": at(1), "B": at(2)}}, now=1.6) == []


@given(
    st.lists(st.tuples(st.sampled_from([0, 0, 1, 2]), st.booleans(), st.booleans()), min_size=1, max_size=120),
)
def test_a_line_that_brings_everything_within_a_second_is_never_touched(
    steps: list[tuple[int, bool, bool]],
) -> None:
    """Whatever the market does: each line has by now what the other one had a second ago."""
    watch, news, delays = StreamWatch(SETTINGS), [0], {"A": 0, "B": 0}
    for n, (moves, a_late, b_late) in enumerate(steps):
        news.append(news[-1] + moves)
        delays = {"A": min(4, delays["A"] + 1) if a_late else 0, "B": min(4, delays["B"] + 1) if b_late else 0}
        reports = {BOOK: {line: at(news[max(0, len(news) - 1 - late)]) for line, late in delays.items()}}
        assert watch.look(reports, now=n * LOOK_S) == []
