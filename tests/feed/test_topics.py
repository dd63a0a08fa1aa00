"""A topic that no venue could serve is refused when it is made."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.errors import UsageError
from kraken_engine.feed.topics import Book, Candles, Health, Instruments, Ticker, Topic, Trades
from kraken_engine.model import BOOK_DEPTHS, CANDLE_INTERVALS_MIN

OF_A_SYMBOL: list[type[Any]] = [Ticker, Book, Trades, Candles]


@pytest.mark.parametrize("topic", OF_A_SYMBOL)
@pytest.mark.parametrize(
    "symbol", ["BTC/USD", "a/b", "TSLAx/USD", "1INCH/EUR", "USD.M/EUR", "ABCDEFGHIJK/ABCDEFGHIJKL"]
)
def test_a_symbol_is_a_base_and_a_quote(topic: type[Any], symbol: str) -> None:
    assert topic(symbol).symbol == symbol


@pytest.mark.parametrize("topic", OF_A_SYMBOL)
@pytest.mark.parametrize(
    "symbol",
    [
        *("/USD", "BTC/", "/", "//", "A//B", "A/B/C", "BTCUSD", "", "BTC/USD\n", "B C/USD", "BTC/\u00dcSD"),
        *("A/" + "B" * 23, None, 5, b"BTC/USD", ["BTC/USD"], 10**5000),
    ],
    ids=lambda symbol: symbol if isinstance(symbol, str) else type(symbol).__name__,
)
def test_anything_else_is_no_symbol(topic: type[Any], symbol: object) -> None:
    with pytest.raises(UsageError, match=r"^symbol: expected BASE/QUOTE such as BTC/USD, got "):
        topic(symbol)


@given(st.text(max_size=8) | st.text(alphabet="AB/._-", max_size=8))
def test_a_symbol_that_is_taken_has_two_names_that_are_not_empty(text: str) -> None:
    try:
        symbol = Ticker(text).symbol
    except UsageError:
        return
    base, quote = symbol.split("/")
    assert base
    assert quote


@pytest.mark.parametrize(
    "depth", [10.0, 11, 0, -10, True, "10", None, [10], float("nan"), 10**5000], ids=lambda value: type(value).__name__
)
def test_a_depth_is_one_of_the_venue_and_whole(depth: Any) -> None:
    assert [Book("BTC/USD", known).depth for known in BOOK_DEPTHS] == list(BOOK_DEPTHS)
    with pytest.raises(UsageError, match=r"^depth: expected one of \(10, .*\), got "):
        Book("BTC/USD", depth)


@pytest.mark.parametrize(
    "interval_min", [1.0, True, 2, 0, -1, "1", None, [1], 10**5000], ids=lambda value: type(value).__name__
)
def test_an_interval_is_one_of_the_venue_and_whole(interval_min: Any) -> None:
    assert [Candles("BTC/USD", known).interval_min for known in CANDLE_INTERVALS_MIN] == list(CANDLE_INTERVALS_MIN)
    with pytest.raises(UsageError, match=r"^interval_min: expected one of \(1, .*\), got "):
        Candles("BTC/USD", interval_min)


@pytest.mark.parametrize("trigger", ["", "x", "BBO", None, 5, ["bbo"]])
def test_a_trigger_is_one_of_two(trigger: Any) -> None:
    assert [Ticker("BTC/USD", "bbo").trigger, Ticker("BTC/USD", "trades").trigger] == ["bbo", "trades"]
    with pytest.raises(UsageError, match=r"^trigger: expected bbo or trades, got "):
        Ticker("BTC/USD", trigger)


def test_topics_of_one_stream_share_its_key() -> None:
    assert Book("BTC/USD", 10).key == Book("BTC/USD", 100).key
    assert Ticker("BTC/USD", "bbo").key == Ticker("BTC/USD", "trades").key
    assert Candles("BTC/USD", 1).key != Candles("BTC/USD", 5).key
    streams: list[Topic] = [Ticker("A/B"), Book("A/B"), Trades("A/B"), Candles("A/B"), Instruments(), Health()]
    assert len({topic.key for topic in streams}) == len(streams)
