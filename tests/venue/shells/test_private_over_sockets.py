"""The private side over real sockets: signed REST, broken answers, a private line that is cut again and again.

The clients are httpx and trio-websocket, driven by hand; none of it is ours.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import attrs
import httpx
import pytest
import trio
from tests.venue.core.accounts.callers import Caller
from tests.venue.shells.clients import trio_websocket
from trio_websocket import ConnectionClosed, WebSocketConnection

from kraken_engine.runtime import real_runtime
from kraken_engine.venue.core.accounts.settings import TEST_KEY
from kraken_engine.venue.shells.server import VenueServer, VenueSettings, open_venue

CUTS = 8


@attrs.define
class Client:
    """Calls a running venue."""

    venue: VenueServer
    http: httpx.AsyncClient
    signer: Caller

    async def send(self, name: str, **fields: Any) -> httpx.Response:
        self.signer.nonce += 1
        payload = urlencode({"nonce": str(self.signer.nonce), **fields})
        path = f"/0/private/{name}"
        headers = {"API-Key": TEST_KEY, "API-Sign": self.signer.signed(path, str(self.signer.nonce), payload)}
        headers["content-type"] = "application/x-www-form-urlencoded"
        return await self.http.post(self.venue.rest_url + path, content=payload, headers=headers)

    async def call(self, name: str, **fields: Any) -> Any:
        answer = (await self.send(name, **fields)).json()
        assert answer["error"] == []
        return answer["result"]

    def fault(self, name: str, **params: Any) -> None:
        self.venue.exchange.faults.apply(name, params, trio.current_time())


@asynccontextmanager
async def calling(**settings: Any) -> AsyncGenerator[Client]:
    async with (
        open_venue(real_runtime(), VenueSettings(symbols=2, rate=20.0, **settings)) as venue,
        httpx.AsyncClient(timeout=2.0) as http,
    ):
        yield Client(venue, http, Caller(venue.exchange))


async def test_a_signed_call_and_a_wrong_one_are_answered_over_sockets() -> None:
    async with calling() as client:
        assert (await client.call("Balance"))["ZUSD"] == "1000000.0000"
        client.signer.nonce -= 1
        assert (await client.send("Balance")).json() == {"error": ["EAPI:Invalid nonce"]}


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("truncated", httpx.RemoteProtocolError),
        ("chunk_garbage", httpx.RemoteProtocolError),
        ("bad_status_line", httpx.RemoteProtocolError),
        ("reset", httpx.RemoteProtocolError),
        ("no_answer", httpx.ReadTimeout),
        ("never_ends", httpx.ReadTimeout),
    ],
)
async def test_a_broken_answer_is_broken_for_a_real_client_and_the_next_is_whole(
    kind: str, error: type[Exception]
) -> None:
    async with calling() as client:
        client.http.timeout = httpx.Timeout(0.3)
        client.fault("rest_break", kind=kind, path="/0/private/Balance")
        with pytest.raises(error):
            await client.send("Balance")
        client.http.timeout = httpx.Timeout(5.0)
        assert (await client.call("Balance"))["ZUSD"] == "1000000.0000"


async def test_an_endless_body_goes_on_for_as_long_as_somebody_reads() -> None:
    async with calling() as client:
        client.fault("rest_break", kind="endless")
        host, _, port = client.venue.rest_url.removeprefix("http://").rpartition(":")
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            await stream.send_all(b"GET /0/public/Time HTTP/1.1\r\nhost: venue\r\n\r\n")
            read = 0
            while read < 8 * 2**20:
                more = len(await stream.receive_some())
                assert more
                read += more
        assert (await client.call("Balance"))["ZUSD"] == "1000000.0000"


@attrs.define
class Copy:
    """An account as one connection tells it: orders by id, balances by asset, fills by id."""

    orders: dict[str, dict[str, Any]]
    balances: dict[str, str]
    fills: set[str]
    sequences: dict[str, int]

    def receive(self, frame: dict[str, Any]) -> None:
        channel = frame["channel"]
        assert frame["sequence"] == self.sequences.get(channel, 0) + 1, "a frame is missing"
        self.sequences[channel] = frame["sequence"]
        for row in frame["data"]:
            if channel == "balances":
                self.balances[row["asset"]] = row["balance"]
                continue
            if "exec_id" in row:
                assert row["exec_id"] not in self.fills, "a fill told twice"
                self.fills.add(row["exec_id"])
            if frame["type"] == "snapshot" and row["exec_type"] == "trade":
                continue
            order = self.orders.setdefault(row["order_id"], {})
            order.update(row)
            if row["order_status"] in ("filled", "canceled", "expired"):
                del self.orders[row["order_id"]]


async def subscribed(client: Client, websocket: WebSocketConnection) -> Copy:
    """Subscribe both private channels, and return the account as the snapshots have it."""
    token = (await client.call("GetWebSocketsToken"))["token"]
    copy = Copy(orders={}, balances={}, fills=set(), sequences={})
    for channel in ("executions", "balances"):
        params = {"channel": channel, "token": token}
        await websocket.send_message(json.dumps({"method": "subscribe", "params": params}))
    while len(copy.sequences) < 2:
        take(copy, await websocket.get_message())
    return copy


def take(copy: Copy, message: str | bytes) -> None:
    frame = json.loads(message, parse_float=str)
    if frame.get("channel") in ("executions", "balances"):
        copy.receive(frame)


async def test_an_account_of_200_orders_is_told_right_after_every_cut_while_fills_go_on() -> None:
    async with calling(accounts=(attrs.evolve(VenueSettings().accounts[0], tier="pro"),)) as client:
        exchange = client.venue.exchange
        operator, truth = exchange.private.operator, exchange.private.truth
        for side in ("buy", "sell"):
            operator.place("main", symbol="BTC/USD", side=side, count=100, client_ids=True)
        operator.stir("main", seconds=600.0, per_second=200.0)
        filled = 0
        for _ in range(CUTS):
            before = len(exchange.accounts["main"].fills)
            await trio.sleep(0.05)
            filled += len(exchange.accounts["main"].fills) - before
            async with trio_websocket(client.venue.ws_auth_url) as websocket:
                copy = await subscribed(client, websocket)
                # What is on its way is read up to the moment of the cut; then the venue is asked what was true there.
                with trio.move_on_after(0.05):
                    while True:
                        take(copy, await websocket.get_message())
                client.fault("cut_private_line", account="main", mode="close")
                orders, balances = truth.orders("main"), truth.balances("main")
                with pytest.raises(ConnectionClosed):
                    while True:
                        take(copy, await websocket.get_message())
            assert set(copy.orders) == {order["order_id"] for order in orders}
            for order in orders:
                told = copy.orders[order["order_id"]]
                for name in ("symbol", "side", "order_qty", "limit_price", "order_status", "cl_ord_id"):
                    assert told.get(name) == order[name]
                assert Decimal(told.get("cum_qty", 0)) == Decimal(order["cum_qty"])
            assert copy.balances == {asset: row["balance"] for asset, row in balances.items()}
        assert filled > 0
