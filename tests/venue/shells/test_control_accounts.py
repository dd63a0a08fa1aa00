"""The control port and accounts: their truth, and what an operator may do to them."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import attrs
import pytest
from tests.venue.core.accounts.callers import Caller, opened_with
from tests.venue.shells.clients import request_of

from kraken_engine.venue.core.accounts.settings import TEST_KEY, TEST_SECRET
from kraken_engine.venue.core.exchange import Exchange
from kraken_engine.venue.shells.control import ControlPort

HOST = "127.0.0.1:9000"


@attrs.define
class Operator:
    exchange: Exchange
    now_s: float = 0.0

    def now(self) -> float:
        return self.now_s

    def wall_ns(self) -> int:
        return self.exchange.wall_ns()

    def cpu_s(self) -> float:
        return 0.0

    def send(self, method: str, path: str, body: object = None, **query: str) -> tuple[int, Any]:
        port = ControlPort(exchange=self.exchange, hosts=(HOST,), clock=self, nudge=lambda: None)
        data = b"" if body is None else json.dumps(body).encode()
        response = port.answer(request_of(method, path, query=query, headers={"host": HOST}, body=data))
        return response.status, json.loads(response.body)

    def get(self, path: str, **query: str) -> Any:
        status, answer = self.send("GET", path, **query)
        assert status == 200, answer
        return answer

    def post(self, path: str, **body: Any) -> Any:
        status, answer = self.send("POST", path, body)
        assert status == 200, answer
        return answer


@pytest.fixture
def operator() -> Operator:
    return Operator(opened_with(rate=1.0))


def test_two_hundred_orders_can_be_placed_at_once_and_stand_in_the_book(operator: Operator) -> None:
    for side in ("buy", "sell"):
        placed = operator.post("/accounts/main/orders", symbol="BTC/USD", side=side, count=100, client_ids=True)
        assert len(placed) == 100
    orders = operator.get("/accounts/main/orders")
    assert len(orders) == len({order["cl_ord_id"] for order in orders}) == 200
    book = operator.exchange.listing("BTC/USD").flow.book
    assert {order["order_id"] for order in orders} == set(operator.exchange.accounts["main"].orders)
    assert book.bids.owned == book.asks.owned == 100
    summary = operator.get("/accounts/main")
    assert summary["counters"] == {}
    assert Decimal(summary["balances"]["BTC"]["hold"]) == sum(
        Decimal(order["order_qty"]) for order in orders if order["side"] == "sell"
    )


def test_fills_partial_fills_and_cancels_happen_at_the_operators_word(operator: Operator) -> None:
    placed = operator.post("/accounts/main/orders", symbol="BTC/USD", side="buy", count=3)
    assert operator.post("/accounts/main/fill", count=2, percent=50) == {"done": 2}
    assert operator.post("/accounts/main/fill", order_id=placed[0]["order_id"]) == {"done": 1}
    assert operator.post("/accounts/main/cancel", order_id=placed[1]["order_id"], reason="Because") == {"done": 1}
    fills = operator.get("/accounts/main/fills")
    assert [(fill["number"], fill["order_id"]) for fill in fills] == [
        (0, placed[0]["order_id"]),
        (1, placed[1]["order_id"]),
        (2, placed[0]["order_id"]),
    ]
    assert operator.get("/accounts/main/fills", since="2") == fills[2:]
    filled, cancelled = operator.get("/accounts/main/closed")
    assert (filled["order_status"], cancelled["order_status"], cancelled["reason"]) == ("filled", "canceled", "Because")
    assert [order["order_id"] for order in operator.get("/accounts/main/orders")] == [placed[2]["order_id"]]
    ledger = operator.get("/accounts/main/ledger")
    usd = [entry for entry in ledger if entry["asset"] == "USD"]
    assert usd[-1]["balance"] == operator.get("/accounts/main/balances")["USD"]["balance"]
    assert sum(Decimal(entry["amount"]) - Decimal(entry["fee"]) for entry in usd) == Decimal(usd[-1]["balance"])


def test_a_stirred_account_is_busy_for_as_long_as_told_and_the_same_from_the_same_seed(operator: Operator) -> None:
    def run() -> list[Any]:
        busy = Operator(opened_with(rate=1.0))
        busy.post("/accounts/main/orders", symbol="BTC/USD", side="buy", count=20)
        busy.post("/accounts/main/stir", seconds=20.0, per_second=10.0)
        told: list[Any] = []
        for second in (10.0, 19.9, 21.0, 40.0):
            busy.now_s = second
            told.append([busy.get("/accounts/main/fills"), busy.get("/accounts/main/balances")])
        return told

    first = run()
    assert len(first[0][0]) > 20
    assert len(first[1][0]) > len(first[0][0])
    assert first[2] == first[3]
    assert run() == first


def test_an_account_can_be_opened_and_used_at_once(operator: Operator) -> None:
    settings = {"name": "second", "key": "k2", "secret": TEST_SECRET, "tier": "pro", "funds": {"USD": "7.5"}}
    assert operator.post("/accounts", **settings, permissions=["query-funds"]) == {"name": "second"}
    assert operator.get("/accounts") == ["main", "second"]
    caller = Caller(operator.exchange, key="k2")
    assert caller.call("Balance") == {"ZUSD": "7.5000"}
    assert caller.error("OpenOrders") == "EGeneral:Permission denied"
    operator.post("/accounts/second/deposit", asset="USD", amount="-2.25")
    assert caller.call("Balance") == {"ZUSD": "5.2500"}


def test_nonces_calls_and_tokens_are_told_without_what_opens_doors(operator: Operator) -> None:
    caller = Caller(operator.exchange)
    caller.call("GetWebSocketsToken")
    caller.error("Balance", nonce="3")
    nonces = operator.get("/accounts/main/nonces")[TEST_KEY]
    assert (nonces["last"], nonces["refused"]) == (1001, 1)
    assert nonces["seen"] == [[1001, False, "/0/private/GetWebSocketsToken"], [3, True, "/0/private/Balance"]]
    calls = operator.get("/accounts/main/calls")
    assert [(call["path"], call["nonce"], call["error"]) for call in calls] == [
        ("/0/private/GetWebSocketsToken", "1001", None),
        ("/0/private/Balance", "3", "EAPI:Invalid nonce"),
    ]
    (token,) = operator.get("/accounts/main/tokens")
    assert (token["sessions"], token["revoked"]) == ([], False)
    (key,) = operator.get("/accounts/main")["keys"]
    assert (key["refused_nonces"], key["counter"]) == (1, 1.0)
    everything = json.dumps([operator.get("/accounts/main"), nonces, calls, token])
    assert TEST_SECRET not in everything
    assert operator.exchange.accounts.tokens.of("main")[0].text not in everything


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("GET", "/accounts/nobody", None, (404, "account: expected one of GET /accounts")),
        ("GET", "/accounts/main/secrets", None, (404, "path: expected one of balances")),
        ("POST", "/accounts/main/dance", {}, (404, "path: expected one of orders")),
        ("DELETE", "/accounts/main", None, (405, "method: expected GET, or POST")),
        ("POST", "/accounts", {"name": "x"}, (400, "expected the parameter 'key'")),
        ("POST", "/accounts", {"name": "main", "key": "k", "secret": "QQ=="}, (400, "expected a name that is free")),
        ("POST", "/accounts", {"name": "x", "key": "k", "secret": "?"}, (400, "secret: expected base64 text")),
        ("POST", "/accounts", {"name": "x", "key": "k", "secret": "QQ==", "funds": 7}, (400, "account: ")),
        ("POST", "/accounts/main/orders", {"symbol": "BTC/USD"}, (400, "expected the parameter 'side', got none")),
        ("POST", "/accounts/main/orders", {"symbol": "X", "side": "buy"}, (400, "symbol: expected a listed one")),
        ("POST", "/accounts/main/orders", {"symbol": "BTC/USD", "side": "buy", "lots": 1}, (400, "volume minimum")),
        ("POST", "/accounts/main/orders", {"symbol": "BTC/USD", "side": "buy", "count": True}, (400, "expected int")),
        ("POST", "/accounts/main/orders", {"symbol": "BTC/USD", "side": "buy", "away": 10**6}, (400, "above 0")),
        ("POST", "/accounts/main/fill", {"order_id": "O"}, (400, "order_id: expected one that is open")),
        ("POST", "/accounts/main/deposit", {"asset": "USD", "amount": "-9999999"}, (400, "available to stay")),
        ("POST", "/accounts/main/deposit", {"asset": "USD", "amount": "1e3"}, (400, "amount: expected plain digits")),
        ("POST", "/accounts/main/stir", {"seconds": 0.0}, (400, "seconds: expected more than 0")),
        ("POST", "/accounts/nobody/stir", {"seconds": 1.0}, (400, "account: expected one of main")),
    ],
)
def test_what_cannot_be_is_told_in_one_sentence(
    operator: Operator, method: str, path: str, body: object, expected: tuple[int, str]
) -> None:
    status, answer = operator.send(method, path, body)
    assert status == expected[0]
    assert expected[1] in answer["error"]
