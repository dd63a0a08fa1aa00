"""Trades of several lines are one sequence: each once, in order, and no hole while a line may still fill it."""

from __future__ import annotations

from collections import deque
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.model import Integrity, Side, Source
from kraken_engine.normalise.events import Event, Trade, TradeGap
from kraken_engine.state.trades import TRADE_PATIENCE_S, MergedTrades, SharedTrades


def trade(n: int, second: int | None = None) -> Trade:
    time = None if second is None else f"2026-01-01T00:00:{second:02}Z"
    return Trade(
        symbol="A/B", source=Source.WEBSOCKET_V2, received_s=0.0, venue_time=time, integrity=Integrity.UNVERIFIED,
        side=Side.BUY, price=Decimal(1), qty=Decimal(1), order_type="limit", trade_id=n,
    )  # fmt: skip


def ids(events: list[Event]) -> list[object]:
    return [
        event.trade_id if isinstance(event, Trade) else (event.first, event.last)
        for event in events
        if isinstance(event, (Trade, TradeGap))
    ]


def merged_of(*steps: tuple[str, int], now: float = 0.0) -> tuple[MergedTrades, list[object]]:
    merged, told = MergedTrades("A/B"), []
    for line, trade_id in steps:
        told += ids(merged.receive(line, trade(trade_id), now=now))
    return merged, told


def test_the_first_line_to_bring_a_trade_counts() -> None:
    _, told = merged_of(("a", 5), ("b", 5), ("b", 6), ("a", 6), ("a", 7), ("b", 7))
    assert told == [5, 6, 7]


def test_a_hole_that_the_other_line_fills_is_never_told() -> None:
    merged, told = merged_of(("a", 5), ("b", 5), ("a", 8), ("a", 9))
    assert told == [5]
    assert merged.next_due == TRADE_PATIENCE_S
    for n in (6, 7):
        told += ids(merged.receive("b", trade(n), now=0.1))
    assert told == [5, 6, 7, 8, 9]
    assert (merged.missing, merged.filled) == (0, 2)
    assert merged.tick(now=9.0) == []


def test_a_hole_that_every_line_has_passed_is_told_at_once() -> None:
    _, told = merged_of(("a", 5), ("b", 5), ("a", 8), ("b", 8))
    assert told == [5, (6, 7), 8]


def test_a_line_that_is_gone_is_not_waited_for() -> None:
    merged, told = merged_of(("a", 5), ("b", 5), ("a", 8))
    told += ids(merged.leave("b", now=0.1))
    assert told == [5, (6, 7), 8]


def test_nobody_waits_where_there_is_one_line() -> None:
    _, told = merged_of(("a", 5), ("a", 8))
    assert told == [5, (6, 7), 8]


def test_waiting_has_an_end() -> None:
    merged, told = merged_of(("a", 5), ("b", 5), ("a", 8))
    told += ids(merged.tick(now=TRADE_PATIENCE_S - 0.01))
    assert told == [5]
    told += ids(merged.tick(now=TRADE_PATIENCE_S))
    assert told == [5, (6, 7), 8]
    assert ids(merged.receive("b", trade(6), now=1.0)) == [], "too late: what came after it was told"


def test_what_is_known_is_passed_over_and_says_how_far_its_line_is() -> None:
    merged, _ = merged_of(("a", 5), ("a", 6), ("b", 5))
    assert merged.passes("b", 6)
    assert merged.reached("b") == 6
    assert not merged.passes("b", 7)


def test_a_sequence_is_shared_by_the_lines_that_want_it_and_forgotten_with_the_last() -> None:
    shared = SharedTrades()
    first = shared.begin("A/B", "a")
    assert shared.begin("A/B", "b") is first
    shared.end("A/B", "a")
    assert shared.begin("A/B", "c") is first
    shared.end("A/B", "b")
    shared.end("A/B", "c")
    assert shared.begin("A/B", "a") is not first


@given(
    st.lists(st.tuples(st.sets(st.sampled_from("abc")), st.booleans()), min_size=1, max_size=60),
    st.randoms(use_true_random=False),
)
def test_whatever_lines_lack_and_however_they_interleave_each_trade_is_told_once_or_as_missing(
    fates: list[tuple[set[str], bool]], random: object
) -> None:
    """The venue prints 0, 1, 2, ...; each trade reaches some of the lines, which bring what they have in order."""
    queues: dict[str, deque[int]] = {line: deque([0]) for line in "abc"}
    for n, (lines, _) in enumerate(fates, start=1):
        for line in sorted(lines):
            queues[line].append(n)
    merged, told, now = MergedTrades("A/B"), [], 0.0
    while any(queues.values()):
        line = random.choice([line for line in "abc" if queues[line]])  # type: ignore[attr-defined] # a random.Random
        now += 0.01
        told += ids(merged.receive(line, trade(queues[line].popleft()), now=now))
    told += ids(merged.tick(now=now + TRADE_PATIENCE_S))
    expected = 0
    brought = {0} | {n for n, (lines, _) in enumerate(fates, start=1) if lines}
    for one in told:
        if isinstance(one, tuple):
            assert one[0] == expected
            expected = one[1] + 1
        else:
            assert one == expected
            expected += 1
    assert expected == max(brought) + 1
    assert merged.next_due is None


@given(st.lists(st.sets(st.sampled_from("ab"), min_size=1), min_size=1, max_size=60))
def test_what_at_least_one_of_two_lines_brings_within_patience_is_never_missing(fates: list[set[str]]) -> None:
    merged, told = MergedTrades("A/B"), []
    for line in "ab":
        told += ids(merged.receive(line, trade(0), now=0.0))
    last = {line: max([0, *[n for n, lines in enumerate(fates, start=1) if line in lines]]) for line in "ab"}
    for n, lines in enumerate(fates, start=1):
        for line in sorted(lines):
            told += ids(merged.receive(line, trade(n), now=0.0))
    # What follows on the slower line tells that it is past everything.
    told += ids(merged.receive("a", trade(len(fates) + 1), now=0.0))
    told += ids(merged.receive("b", trade(len(fates) + 1), now=0.0))
    assert told == list(range(len(fates) + 2)), last


def test_a_new_numbering_begins_with_whichever_line_brings_it_and_the_old_one_is_over() -> None:
    merged, told = MergedTrades("A/B"), []
    for line, n, second in (
        ("a", 900, 1), ("b", 900, 1), ("a", 901, 2), ("a", 1, 9), ("b", 901, 2), ("b", 1, 9), ("b", 2, 9), ("a", 2, 9),
        ("a", 3, 9),
    ):  # fmt: skip
        told += ids(merged.receive(line, trade(n, second), now=0.0))
    assert told == [900, 901, 1, 2, 3]
    assert merged.reached("a") == 3


def test_what_waits_for_another_line_is_told_before_a_new_numbering_begins() -> None:
    merged, told = MergedTrades("A/B"), []
    for line, n, second in (("a", 5, 1), ("b", 5, 1), ("a", 8, 2), ("a", 1, 9)):
        told += ids(merged.receive(line, trade(n, second), now=0.0))
    assert told == [5, (6, 7), 8, 1]
    assert merged.next_due is None


def test_a_line_that_had_come_far_before_a_new_numbering_is_behind_until_it_brings_that() -> None:
    merged = MergedTrades("A/B")
    for line, n, second in (("a", 900, 1), ("b", 900, 1), ("a", 1, 9)):
        merged.receive(line, trade(n, second), now=0.0)
    assert (merged.reached("a"), merged.reached("b")) == (1, 0)
