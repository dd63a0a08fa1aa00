"""REST limits (I-23): the venue's counter by tier, the share that is used, what a refusal teaches, and public calls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.control.rest_limits import REST_TIERS, CallCounter, PublicPace, call_cost


def calls_at_once(counter: CallCounter, *, cost: int = 1, now: float = 0.0, urgent: bool = False) -> int:
    sent = 0
    while counter.wait_s(cost, now=now, urgent=urgent) == 0.0:
        counter.spend(cost, now=now)
        sent += 1
    return sent


@pytest.mark.parametrize(
    ("tier", "usable", "pause_s"), [("starter", 12, 1 / 0.33), ("intermediate", 16, 2.0), ("pro", 16, 1.0)]
)
def test_eighty_percent_of_the_limit_are_used_then_the_decay_sets_the_pace(
    tier: str, usable: int, pause_s: float
) -> None:
    counter = CallCounter(REST_TIERS[tier])
    assert calls_at_once(counter) == usable
    assert counter.wait_s(1, now=0.0) == pytest.approx(pause_s)
    assert counter.wait_s(1, now=pause_s) == 0.0


def test_history_costs_four_orders_nothing_and_the_rest_one() -> None:
    assert [call_cost(name) for name in ("TradesHistory", "Ledgers", "QueryTrades", "QueryLedgers")] == [4, 4, 4, 4]
    assert [call_cost(name) for name in ("AddOrder", "CancelOrder")] == [0, 0]
    assert [call_cost(name) for name in ("Balance", "CancelAll", "GetWebSocketsToken", "NeverHeardOf")] == [1, 1, 1, 1]


def test_a_call_that_costs_nothing_never_waits() -> None:
    counter = CallCounter(REST_TIERS["starter"])
    counter.refused(now=0.0)
    assert counter.wait_s(0, now=0.0) == 0.0


def test_urgent_calls_may_use_the_rest_of_the_limit_and_no_more() -> None:
    counter = CallCounter(REST_TIERS["starter"])
    calls_at_once(counter)
    assert calls_at_once(counter, urgent=True) == 3
    assert counter.level(now=0.0) == 15.0


def test_a_call_dearer_than_the_share_waits_for_an_empty_counter() -> None:
    counter = CallCounter(REST_TIERS["pro"], buffer=0.1)
    counter.spend(2, now=0.0)
    assert counter.wait_s(4, now=0.0) == 2.0
    assert counter.wait_s(4, now=2.0) == 0.0


def test_a_call_counts_from_its_answer_when_the_counter_was_empty() -> None:
    counter = CallCounter(REST_TIERS["pro"])
    counter.spend(4, now=0.0)
    assert counter.level(now=3.0) == 1.0
    counter.answered(4, now=3.0)
    assert counter.level(now=3.0) == 4.0


def test_a_refusal_fills_the_counter_and_less_is_used_for_ten_minutes() -> None:
    counter = CallCounter(REST_TIERS["pro"])
    counter.refused(now=0.0)
    assert counter.level(now=0.0) == 21.0
    assert counter.drained_at(now=1.0) == 21.0
    assert counter.usable(now=0.0) == pytest.approx(12.0)
    for _ in range(10):
        counter.refused(now=1.0)
    assert counter.usable(now=600.9) == 5.0
    assert counter.usable(now=601.0) == 16.0


def test_a_refusal_never_raises_a_share_that_was_configured_small() -> None:
    counter = CallCounter(REST_TIERS["pro"], buffer=0.2)
    counter.refused(now=0.0)
    assert counter.usable(now=0.0) == 4.0


@pytest.mark.parametrize("buffer", [0.0, -1.0, 1.01])
def test_a_share_that_makes_no_sense_is_refused(buffer: float) -> None:
    with pytest.raises(ValueError):
        CallCounter(REST_TIERS["pro"], buffer=buffer)


def public_times(pace: PublicPace, wanted: Sequence[tuple[str, str | None]]) -> list[float]:
    now, times = 0.0, []
    for operation, pair in wanted:
        now += pace.wait_s(operation, pair, now=now)
        assert pace.take(operation, pair, now=now)
        times.append(now)
    return times


def test_public_calls_are_paced_for_the_address() -> None:
    pace = PublicPace(per_second=1.0, burst=1)
    assert public_times(pace, [("Ticker", None), ("Depth", "XBTUSD"), ("Depth", "ETHUSD")]) == [0.0, 1.0, 2.0]
    assert not pace.take("Depth", "LTCUSD", now=2.5)


def test_a_few_public_calls_may_follow_each_other_closely_and_then_it_is_the_pace_again() -> None:
    pace = PublicPace(per_second=0.8, burst=4, overall_per_second=4.0)
    times = public_times(pace, [("Depth", f"P{n}") for n in range(8)])
    assert times[:4] == [0.0, 0.25, 0.5, 0.75]
    assert times[4:] == pytest.approx([1.25, 2.5, 3.75, 5.0])
    assert not pace.take("Ticker", now=5.5)
    assert [pace.take("Ticker", now=20.0 + n / 4) for n in range(6)] == [True] * 4 + [False, True]


@given(gaps=st.lists(st.floats(0.0, 3.0), max_size=80))
def test_no_second_sees_more_than_four_public_calls_and_no_minute_more_than_fifty_two(gaps: list[float]) -> None:
    """The venue's own rule is not published: about one a second is known to be safe, five a second to work."""
    pace, now, sent = PublicPace(), 0.0, []
    for gap in gaps:
        now += gap
        if pace.take("Depth", now=now):
            sent.append(now)
    for first in sent:
        assert sum(first <= at < first + 1.0 - 1e-6 for at in sent) <= 4
        assert sum(first <= at < first + 60.0 for at in sent) <= 4 + 48


def test_a_refusal_costs_the_calls_that_were_saved_up() -> None:
    pace = PublicPace()
    pace.take("Depth", now=0.0)
    pace.refused("Depth", sent_at=0.0, now=0.5)
    assert pace.wait_s("Depth", now=0.5) == pytest.approx(2.5)
    assert not pace.take("Depth", now=2.9)


def test_candles_and_trades_are_paced_for_each_pair() -> None:
    pace = PublicPace(per_second=1.0, overall_per_second=4.0)
    wanted = [("OHLC", "XBTUSD"), ("OHLC", "ETHUSD"), ("Trades", "XBTUSD"), ("OHLC", "XBTUSD")]
    assert public_times(pace, wanted) == [0.0, 0.25, 0.5, 1.0]


def test_a_refused_public_call_halves_the_pace_for_a_minute() -> None:
    pace = PublicPace(per_second=1.0, burst=1)
    pace.take("Depth", now=0.0)
    pace.refused("Depth", sent_at=0.0, now=0.5)
    assert pace.wait_s("Depth", now=0.5) == 2.0
    assert pace.wait_s("OHLC", "XBTUSD", now=0.5) == 0.5
    assert pace.take("Depth", now=70.0)
    assert pace.wait_s("Depth", now=70.0) == 1.0


@pytest.mark.parametrize("pairs", [range(600), range(2000, 0, -3), [*range(512), *range(0, 2000, 7)]])
def test_the_paces_of_pairs_are_bounded(pairs: Iterable[int]) -> None:
    pace = PublicPace()
    for at, pair in enumerate(pairs):
        pace.take("OHLC", f"P{pair}", now=float(at))
    assert len(pace._by_pair) == 512
