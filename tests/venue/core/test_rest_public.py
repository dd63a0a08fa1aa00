"""Public REST: shapes and roundings of the recordings, names echoed, errors in words."""

from __future__ import annotations

import email.utils
import itertools
import json
import re
from typing import Any

import pytest
from tests.venue.core.naive_client import opened

from kraken_engine.venue.core.candles import INTERVALS
from kraken_engine.venue.core.exchange import Exchange
from kraken_engine.venue.core.ports import RestRequest

PAIR = [
    "altname",
    "wsname",
    "aclass_base",
    "base",
    "aclass_quote",
    "quote",
    "lot",
    "cost_decimals",
    "pair_decimals",
    "lot_decimals",
    "lot_multiplier",
    "leverage_buy",
    "leverage_sell",
    "fees",
    "fees_maker",
    "fee_volume_currency",
    "margin_call",
    "margin_stop",
    "ordermin",
    "costmin",
    "tick_size",
    "status",
    "execution_venue",
    "long_position_limit",
    "short_position_limit",
]


@pytest.fixture(scope="module")
def exchange() -> Exchange:
    exchange = opened(symbols=20, rate=400.0, levels=120)
    for second in range(1, 6):
        exchange.advance(float(second))
    return exchange


def answer(exchange: Exchange, name: str, **query: str) -> dict[str, Any]:
    response = exchange.rest(RestRequest(method="GET", path=f"/0/public/{name}", query=query), 5.0)
    assert response.status == 200
    assert response.headers["content-type"] == "application/json"
    body: dict[str, Any] = json.loads(response.body)
    return body


def result(exchange: Exchange, name: str, **query: str) -> dict[str, Any]:
    body = answer(exchange, name, **query)
    assert list(body) == ["error", "result"]
    assert body["error"] == []
    got: dict[str, Any] = body["result"]
    return got


def test_time_is_that_of_the_venue(exchange: Exchange) -> None:
    assert result(exchange, "Time") == {"unixtime": 1783465208, "rfc1123": "Tue, 07 Jul 26 23:00:08 +0000"}


def test_system_status_has_the_maintenance_arrays(exchange: Exchange) -> None:
    expected = {"status": "online", "timestamp": "2026-07-07T23:00:08Z", "upcoming_maintenance": [], "emergency": []}
    assert result(exchange, "SystemStatus") == expected


@pytest.mark.parametrize("endpoint", ["Ticker", "OHLC", "Depth", "Trades", "Spread", "AssetPairs"])
@pytest.mark.parametrize(
    ("asked", "echoed"),
    [
        ("XXBTZUSD", "XXBTZUSD"),
        ("XBTUSD", "XXBTZUSD"),
        ("BTC/USD", "BTC/USD"),
        ("XDGUSD", "XDGUSD"),
        ("DOGE/USD", "DOGE/USD"),
        ("SOLUSD", "SOLUSD"),
        ("USDTUSD", "USDTZUSD"),
    ],
)
def test_a_market_is_answered_under_the_name_it_was_asked_by(
    exchange: Exchange, endpoint: str, asked: str, echoed: str
) -> None:
    assert [name for name in result(exchange, endpoint, pair=asked) if name != "last"] == [echoed]


@pytest.mark.parametrize("endpoint", ["Ticker", "OHLC", "Depth", "Trades", "Spread", "AssetPairs"])
@pytest.mark.parametrize("asked", ["XBT/USD", "BTCUSD", "nonsense", ","])
def test_an_unknown_market_is_refused(exchange: Exchange, endpoint: str, asked: str) -> None:
    assert answer(exchange, endpoint, pair=asked) == {"error": ["EQuery:Unknown asset pair"]}


def test_asset_pairs_have_the_keys_of_the_recording(exchange: Exchange) -> None:
    pairs = result(exchange, "AssetPairs")
    assert len(pairs) == 20
    bitcoin = pairs["XXBTZUSD"]
    assert list(bitcoin) == PAIR
    assert (bitcoin["altname"], bitcoin["wsname"], bitcoin["base"], bitcoin["quote"]) == (
        "XBTUSD",
        "XBT/USD",
        "XXBT",
        "ZUSD",
    )
    assert (bitcoin["pair_decimals"], bitcoin["lot_decimals"], bitcoin["tick_size"]) == (1, 8, "0.1")
    assert (bitcoin["ordermin"], bitcoin["costmin"]) == ("0.00005", "0.5")
    assert list(pairs["PEPEUSD"]) == PAIR[:-2]
    assert "BTC/USD" in result(exchange, "AssetPairs", assetVersion="1")


def test_assets_have_the_keys_of_the_recording_and_all_three_names(exchange: Exchange) -> None:
    expected = {
        "XXBT": {
            "aclass": "currency",
            "altname": "XBT",
            "decimals": 10,
            "display_decimals": 5,
            "collateral_value": 0.99,
            "status": "enabled",
            "margin_rate": "0.01",
        }
    }
    for name in ("XXBT", "XBT", "BTC"):
        assert result(exchange, "Assets", asset=name) == expected
    assert list(result(exchange, "Assets", asset="BTC,DOGE", assetVersion="1")) == ["BTC", "DOGE"]
    assert answer(exchange, "Assets", asset="NOPE") == {"error": ["EQuery:Unknown asset"]}


def test_a_ticker_has_the_shape_of_the_recording(exchange: Exchange) -> None:
    ticker = result(exchange, "Ticker", pair="XBTUSD")["XXBTZUSD"]
    assert list(ticker) == ["a", "b", "c", "v", "p", "t", "l", "h", "o"]
    for name in ("a", "b"):
        price, whole, lot = ticker[name]
        assert re.fullmatch(r"\d+\.\d{5}", price)
        assert re.fullmatch(r"[1-9]\d*", whole)
        assert re.fullmatch(r"\d+\.\d{3}", lot)
    assert re.fullmatch(r"\d+\.\d{8}", ticker["c"][1])
    assert ticker["t"][0] <= ticker["t"][1]
    assert float(ticker["l"][1]) <= float(ticker["l"][0]) <= float(ticker["h"][0]) <= float(ticker["h"][1])
    assert len(result(exchange, "Ticker")) == 20
    assert list(result(exchange, "Ticker", pair="XBTUSD,ETH/USD")) == ["XXBTZUSD", "ETH/USD"]


@pytest.mark.parametrize("interval", INTERVALS)
def test_ohlc_has_721_rows_without_holes_and_last_is_the_last_finished_one(exchange: Exchange, interval: int) -> None:
    answered = result(exchange, "OHLC", pair="XBTUSD", interval=str(interval))
    rows, last = answered["XXBTZUSD"], answered["last"]
    assert len(rows) == 721
    assert last == rows[-2][0]
    assert {later[0] - row[0] for row, later in itertools.pairwise(rows)} == {interval * 60}
    for time_s, *prices, volume, count in rows:
        opened_at, high, low, close, vwap = map(float, prices)
        assert time_s % (interval * 60) == 0
        assert low <= min(opened_at, close) <= max(opened_at, close) <= high
        assert (low <= vwap <= high and count) or (vwap == 0 and not count)
        assert re.fullmatch(r"\d+\.\d{8}", volume)


def test_ohlc_since_leaves_out_what_is_not_newer(exchange: Exchange) -> None:
    last = result(exchange, "OHLC", pair="XBTUSD")["last"]
    assert len(result(exchange, "OHLC", pair="XBTUSD", since=str(last))["XXBTZUSD"]) == 1


def test_depth_is_rounded_and_padded_as_recorded(exchange: Exchange) -> None:
    book = result(exchange, "Depth", pair="XBTUSD", count="25")["XXBTZUSD"]
    assert list(book) == ["asks", "bids"]
    assert [len(book[side]) for side in book] == [25, 25]
    for price, qty, time_s in book["asks"] + book["bids"]:
        assert re.fullmatch(r"\d+\.\d0000", price)
        assert re.fullmatch(r"\d+\.\d{3}", qty)
        assert time_s == 1783465208
    asks, bids = ([float(row[0]) for row in book[side]] for side in ("asks", "bids"))
    assert asks == sorted(asks)
    assert bids == sorted(bids, reverse=True)
    assert bids[0] < asks[0]
    assert len(result(exchange, "Depth", pair="XBTUSD")["XXBTZUSD"]["asks"]) == 100


def test_prices_with_more_than_five_decimals_keep_them_all(exchange: Exchange) -> None:
    row = result(exchange, "Depth", pair="PEPE/USD", count="1")["PEPE/USD"]["asks"][0]
    assert re.fullmatch(r"0\.\d{9}", row[0])


def test_trades_can_be_paged_with_last_without_loss_or_repetition(exchange: Exchange) -> None:
    everything = result(exchange, "Trades", pair="XBTUSD")["XXBTZUSD"]
    assert len(everything) > 60
    price, qty, time_s, side, order_type, misc, trade_id = everything[-1]
    assert re.fullmatch(r"\d+\.\d{5}", price)
    assert re.fullmatch(r"\d+\.\d{8}", qty)
    assert isinstance(time_s, float)
    assert side in "bs"
    assert order_type in "lm"
    assert misc == ""
    assert isinstance(trade_id, int)
    times = [row[2] for row in everything]
    page_of = 7
    ids: list[int] = []
    since = str(int(times[0] * 1e9) - 1000)
    while True:
        page = result(exchange, "Trades", pair="XBTUSD", count=str(page_of), since=since)
        if not page["XXBTZUSD"]:
            break
        ids += [row[6] for row in page["XXBTZUSD"]]
        assert isinstance(page["last"], str)
        since = page["last"]
    assert sorted(set(ids)) == ids
    assert set(ids) <= {row[6] for row in everything}
    assert len(ids) > 0.8 * len(everything)


def test_spread_has_prices_and_the_time_of_the_last_row(exchange: Exchange) -> None:
    answered = result(exchange, "Spread", pair="XBTUSD")
    rows = answered["XXBTZUSD"]
    assert 10 < len(rows) <= 200
    assert answered["last"] == rows[-1][0]
    assert all(float(bid) < float(ask) for _, bid, ask in rows)


@pytest.mark.parametrize(
    ("name", "query", "error"),
    [
        ("Nothing", {}, "EGeneral:Unknown method"),
        ("OHLC", {}, "EGeneral:Invalid arguments"),
        ("OHLC", {"pair": "XBTUSD", "interval": "2"}, "EGeneral:Invalid arguments:interval"),
        ("OHLC", {"pair": "XBTUSD", "since": "-1"}, "EGeneral:Invalid arguments:since"),
        ("Depth", {"pair": "XBTUSD", "count": "501"}, "EGeneral:Invalid arguments:count"),
        ("Depth", {"pair": "XBTUSD", "count": "x"}, "EGeneral:Invalid arguments:count"),
        ("Depth", {"pair": "XBTUSD,ETHUSD"}, "EQuery:Unknown asset pair"),
        ("AssetPairs", {"info": "zzz"}, "EGeneral:Invalid arguments"),
        ("AssetPairs", {"pair": "XBTUSD", "info": ""}, "EGeneral:Invalid arguments"),
        ("Trades", {"pair": "XBTUSD", "count": "0"}, "EGeneral:Invalid arguments:count"),
        ("Trades", {"pair": "XBTUSD", "since": "9" * 40}, "EGeneral:Invalid arguments:since"),
    ],
)
def test_errors_come_with_status_200_and_without_a_result(
    exchange: Exchange, name: str, query: dict[str, str], error: str
) -> None:
    assert answer(exchange, name, **query) == {"error": [error]}


def test_private_methods_know_no_key_and_other_paths_nothing(exchange: Exchange) -> None:
    private = exchange.rest(RestRequest(method="POST", path="/0/private/Balance"), 5.0)
    assert (private.status, private.body) == (200, b'{"error":["EAPI:Invalid key"]}')
    assert exchange.rest(RestRequest(method="GET", path="/"), 5.0).status == 404
    assert exchange.rest(RestRequest(method="DELETE", path="/0/public/Time"), 5.0).status == 405


@pytest.mark.parametrize("info", ["info", "leverage", "fees", "margin"])
def test_asset_pairs_take_the_kinds_of_info_that_the_documentation_names(exchange: Exchange, info: str) -> None:
    assert list(result(exchange, "AssetPairs", pair="XBTUSD", info=info)) == ["XXBTZUSD"]


def posted(exchange: Exchange, body: bytes, **headers: str) -> dict[str, Any]:
    query = {"pair": "XBTUSD", "count": "3"}
    request = RestRequest(method="POST", path="/0/public/Depth", query=query, headers=headers, body=body)
    response = exchange.rest(request, 5.0)
    assert response.status == 200
    got: dict[str, Any] = json.loads(response.body)
    return got


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "Application/X-WWW-Form-Urlencoded; charset=utf-8"]
)
def test_a_posted_form_is_taken_like_the_query_string_and_before_it(exchange: Exchange, content_type: str) -> None:
    book = posted(exchange, b"pair=BTC%2FUSD&count=2", **{"content-type": content_type})["result"]["BTC/USD"]
    assert len(book["asks"]) == 2
    book = posted(exchange, b"pair=BTC%2FUSD")["result"]["BTC/USD"]
    assert len(book["asks"]) == 3
    assert len(posted(exchange, b"")["result"]["XXBTZUSD"]["asks"]) == 3


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"pair":"BTC/USD"}', "application/json"),
        (b'{"pair":"BTC/USD"}', "application/x-www-form-urlencoded"),
        (b"\xff=\xff", "application/x-www-form-urlencoded"),
        (b"pair=%ff", "application/x-www-form-urlencoded"),
        (b"&".join([b"a=1"] * 101), "application/x-www-form-urlencoded"),
    ],
)
def test_a_posted_body_that_is_no_form_is_refused(exchange: Exchange, body: bytes, content_type: str) -> None:
    assert posted(exchange, body, **{"content-type": content_type}) == {"error": ["EGeneral:Invalid arguments"]}


def test_a_body_of_a_get_says_nothing(exchange: Exchange) -> None:
    query = {"pair": "XBTUSD"}
    request = RestRequest(method="GET", path="/0/public/Depth", query=query, body=b"pair=ETHUSD")
    assert list(json.loads(exchange.rest(request, 5.0).body)["result"]) == ["XXBTZUSD"]


@pytest.mark.parametrize("path", ["/0/public/Time", "/0/public/Nothing", "/0/private/Balance"])
def test_every_answer_has_the_date_of_the_venues_clock(exchange: Exchange, path: str) -> None:
    said = exchange.rest(RestRequest(method="GET", path=path), 5.0).headers["date"]
    assert email.utils.parsedate_to_datetime(said).timestamp() == answer(exchange, "Time")["result"]["unixtime"]
