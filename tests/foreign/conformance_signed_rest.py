"""Two other projects' clients sign their own calls: the venue understands them, and they understand the venue.

Run by ``nox -s foreign``, which installs python-kraken-sdk and ccxt; the file's name keeps it out of the ordinary run.
Neither shares code with ours. Both fetch balances and open orders of an account over signed REST on real sockets, place
an order and cancel it, and find in the answers what the venue itself says is true.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import ccxt
import ccxt.async_support
import pytest
from kraken.exceptions import KrakenInvalidSignatureError
from kraken.spot import SpotAsyncClient, Trade, User

from kraken_engine.venue.core.accounts.settings import TEST_KEY, TEST_SECRET

WRONG_SECRET = "bm90IHRoZSBzZWNyZXQgb2YgdGhpcyBrZXk="

Addresses = dict[str, str]


@pytest.fixture
def venue() -> Iterator[Addresses]:
    command = [sys.executable, "-m", "kraken_engine", "venue", "--symbols", "5", "--control-port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.terminate()
        assert process.wait(timeout=10) == 0


def told(venue: Addresses, path: str, body: object = None) -> Any:
    """Ask the venue's control port."""
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{venue['control']}/accounts/main{path}", data)) as answer:
        return json.load(answer)


def ccxt_settings(venue: Addresses) -> dict[str, Any]:
    urls = {"public": venue["rest"], "private": venue["rest"]}
    return {"apiKey": TEST_KEY, "secret": TEST_SECRET, "urls": {"api": urls}, "enableRateLimit": False}


def place_some(venue: Addresses) -> set[str]:
    order = {"symbol": "BTC/USD", "side": "buy", "count": 7, "client_ids": True}
    return {row["order_id"] for row in told(venue, "/orders", order)}


# -- python-kraken-sdk


def test_the_sdk_fetches_balances_and_open_orders(venue: Addresses) -> None:
    placed = place_some(venue)
    user = User(key=TEST_KEY, secret=TEST_SECRET, url=venue["rest"])
    truth = told(venue, "/balances")
    balances = user.get_account_balance()
    assert balances["XXBT"] == truth["BTC"]["balance"]
    extended = user.get_balances()
    assert extended["ZUSD"] == {"balance": truth["USD"]["balance"], "hold_trade": truth["USD"]["hold"]}
    assert set(user.get_open_orders()["open"]) == placed
    assert user.get_trades_history()["count"] == 0


def test_the_sdk_trades_and_finds_its_fills(venue: Addresses) -> None:
    trade = Trade(key=TEST_KEY, secret=TEST_SECRET, url=venue["rest"])
    user = User(key=TEST_KEY, secret=TEST_SECRET, url=venue["rest"])
    done = trade.create_order(ordertype="market", side="buy", pair="XBTUSD", volume="0.01")
    (txid,) = done["txid"]
    trades = user.get_trades_history()["trades"]
    fills = told(venue, "/fills")
    assert {row["ordertxid"] for row in trades.values()} == {txid}
    assert set(trades) == {fill["exec_id"] for fill in fills}
    assert {Decimal(row["fee"]) for row in trades.values()} == {Decimal(fill["fee"]) for fill in fills}
    resting = trade.create_order(ordertype="limit", side="buy", pair="XBTUSD", volume="0.01", price="30000")
    assert trade.cancel_order(txid=resting["txid"][0])["count"] == 1


def test_the_sdk_is_told_when_its_secret_is_wrong(venue: Addresses) -> None:
    user = User(key=TEST_KEY, secret=WRONG_SECRET, url=venue["rest"])
    with pytest.raises(KrakenInvalidSignatureError):
        user.get_account_balance()


def test_the_sdk_fetches_balances_asynchronously_too(venue: Addresses) -> None:
    async def fetch() -> Any:
        async with SpotAsyncClient(key=TEST_KEY, secret=TEST_SECRET, url=venue["rest"]) as client:
            return await client.request("POST", "/0/private/Balance")

    assert asyncio.run(fetch())["ZUSD"] == told(venue, "/balances")["USD"]["balance"]


# -- ccxt


def test_ccxt_fetches_balances_and_open_orders(venue: Addresses) -> None:
    placed = place_some(venue)
    exchange = ccxt.kraken(ccxt_settings(venue))
    truth = told(venue, "/balances")
    balances = exchange.fetch_balance()
    assert balances["BTC"]["total"] == float(truth["BTC"]["balance"])
    assert balances["USD"]["used"] == float(truth["USD"]["hold"])
    orders = exchange.fetch_open_orders("BTC/USD")
    assert {order["id"] for order in orders} == placed
    assert {order["symbol"] for order in orders} == {"BTC/USD"}


def test_ccxt_trades_and_finds_its_fills(venue: Addresses) -> None:
    exchange = ccxt.kraken(ccxt_settings(venue))
    order = exchange.create_order("ETH/USD", "market", "sell", 0.5)
    fills = told(venue, "/fills")
    trades = exchange.fetch_my_trades("ETH/USD")
    assert {trade["id"] for trade in trades} == {fill["exec_id"] for fill in fills}
    assert {trade["order"] for trade in trades} == {order["id"]}
    resting = exchange.create_order("ETH/USD", "limit", "buy", 0.5, 1000.0, {"postOnly": True})
    exchange.cancel_order(resting["id"], "ETH/USD")
    assert exchange.fetch_open_orders("ETH/USD") == []


def test_ccxt_is_told_when_its_secret_is_wrong(venue: Addresses) -> None:
    exchange = ccxt.kraken({**ccxt_settings(venue), "secret": WRONG_SECRET})
    with pytest.raises(ccxt.BaseError, match="EAPI:Invalid signature"):
        exchange.fetch_balance()


def test_ccxt_fetches_balances_asynchronously_too(venue: Addresses) -> None:
    async def fetch() -> Any:
        exchange = ccxt.async_support.kraken(ccxt_settings(venue))
        try:
            return await exchange.fetch_balance()
        finally:
            await exchange.close()

    assert asyncio.run(fetch())["USD"]["total"] == float(told(venue, "/balances")["USD"]["balance"])
