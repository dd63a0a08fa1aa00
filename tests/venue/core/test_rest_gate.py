"""Public REST by address: paces, pairs, and how much at the same time."""

from __future__ import annotations

import json

import pytest
from tests.venue.core.naive_client import WALL_NS

from kraken_engine.errors import ConfigError
from kraken_engine.venue.core.exchange import Exchange
from kraken_engine.venue.core.ports import RestRequest
from kraken_engine.venue.core.rest_gate import MOST_CONCURRENT, PublicPace


def errors(
    exchange: Exchange, name: str, now: float, *, client: str = "a", concurrent: int = 0, **query: str
) -> object:
    request = RestRequest(method="GET", path=f"/0/public/{name}", query=query, client=client, concurrent=concurrent)
    return json.loads(exchange.rest(request, now).body)["error"]


@pytest.fixture
def exchange() -> Exchange:
    return Exchange(1, 2, 1.0, 0.0, WALL_NS, levels=60, public_pace=PublicPace(most=3, decay=100))


def test_an_address_is_let_through_as_often_as_its_pace_says(exchange: Exchange) -> None:
    assert [errors(exchange, "Time", 0.0) for _ in range(4)] == [[], [], [], ["EAPI:Rate limit exceeded"]]
    assert errors(exchange, "Time", 0.0, client="b") == []
    assert errors(exchange, "Time", 1.5) == ["EAPI:Rate limit exceeded"]
    assert errors(exchange, "Time", 4.0) == []


def test_trades_and_candles_count_by_pair(exchange: Exchange) -> None:
    for pair in ("XBTUSD", "ETHUSD"):
        for name in ("Trades", "OHLC"):
            assert [errors(exchange, name, 0.0, pair=pair) for _ in range(3)] == [[], [], []]
    assert errors(exchange, "Trades", 0.0, pair="XBTUSD") == ["EAPI:Rate limit exceeded"]
    assert errors(exchange, "Time", 0.0) == []


def test_too_much_at_the_same_time_is_throttled_with_the_second_to_come_again(exchange: Exchange) -> None:
    assert errors(exchange, "Time", 0.0, concurrent=MOST_CONCURRENT - 1) == []
    second = WALL_NS // 10**9 + 2
    assert errors(exchange, "Time", 0.0, concurrent=MOST_CONCURRENT) == [f"EService: Throttled: {second}"]


def test_a_pace_is_above_nothing() -> None:
    with pytest.raises(ConfigError, match="public_pace: expected numbers above 0"):
        PublicPace(most=0)
