"""Margin at the venue: executions open positions and close the oldest first, money moves by gains and fees alone."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.venue.core.accounts.callers import Caller, opened_with
from tests.venue.core.naive_client import WALL_NS

from kraken_engine.errors import UsageError
from kraken_engine.venue.core.accounts.positions import Positions
from kraken_engine.venue.core.accounts.settings import TEST_ACCOUNT, AccountSettings, KeySettings


@pytest.fixture
def caller() -> Caller:
    return Caller(opened_with(rate=1.0))


def market(caller: Caller, side: str, volume: str, **more: Any) -> dict[str, Any]:
    """Send a market order on margin and return its row."""
    order = {"pair": "XBTUSD", "type": side, "ordertype": "market", "volume": volume, "leverage": "2", **more}
    (txid,) = caller.call("AddOrder", **order)["txid"]
    row: dict[str, Any] = caller.call("QueryOrders", txid=txid, trades="true")[txid]
    return row


def usd(caller: Caller) -> Decimal:
    return Decimal(caller.call("Balance")["ZUSD"])


def test_a_fill_on_margin_opens_a_position_and_costs_its_fee_alone(caller: Caller) -> None:
    before = caller.call("BalanceEx")
    row = market(caller, "sell", "0.01")
    assert row["descr"]["leverage"] == "2:1"
    assert row["margin"] is True
    after = caller.call("BalanceEx")
    assert after["XXBT"] == before["XXBT"]
    assert Decimal(before["ZUSD"]["balance"]) - Decimal(after["ZUSD"]["balance"]) == Decimal(row["fee"])
    assert after["ZUSD"]["hold_trade"] == "0.0000"
    positions = caller.call("OpenPositions", docalcs="true")
    assert sum(Decimal(position["vol"]) for position in positions.values()) == Decimal("0.01")
    position = next(iter(positions.values()))
    assert list(position) == [
        *("ordertxid", "posstatus", "pair", "time", "type", "ordertype", "cost", "fee", "vol", "vol_closed", "margin"),
        *("value", "net", "terms", "rollovertm", "misc", "oflags"),
    ]
    assert (position["type"], position["pair"], position["posstatus"]) == ("sell", "XXBTZUSD", "open")
    assert abs(Decimal(position["margin"]) - Decimal(position["cost"]) / 2) < Decimal("0.001")
    assert "value" not in next(iter(caller.call("OpenPositions").values()))


def test_closing_books_what_was_earned_and_leaves_no_position(caller: Caller) -> None:
    start = usd(caller)
    opened = market(caller, "buy", "0.02")
    closed = market(caller, "sell", "0.02")
    assert caller.call("OpenPositions") == {}
    earned = Decimal(closed["cost"]) - Decimal(opened["cost"])
    fees = Decimal(opened["fee"]) + Decimal(closed["fee"])
    assert abs(usd(caller) - (start + earned - fees)) <= Decimal("0.0010")  # each fill is rounded to its last digit
    (entry, *_) = caller.call("Ledgers", type="margin")["ledger"].values()
    assert (entry["type"], entry["asset"]) == ("margin", "ZUSD")


def test_more_than_is_open_turns_the_position_around(caller: Caller) -> None:
    market(caller, "buy", "0.01")
    market(caller, "sell", "0.03")
    (side,) = {position["type"] for position in caller.call("OpenPositions").values()}
    left = sum(
        Decimal(position["vol"]) - Decimal(position["vol_closed"]) for position in caller.call("OpenPositions").values()
    )
    assert (side, left) == ("sell", Decimal("0.02"))


def test_margin_that_is_not_there_is_refused_and_closing_needs_none() -> None:
    poor = AccountSettings(name="poor", keys=TEST_ACCOUNT.keys, funds={"USD": "1200"})
    caller = Caller(opened_with(poor, rate=1.0))
    order = {"pair": "XBTUSD", "type": "buy", "ordertype": "market", "leverage": "2"}
    assert caller.error("AddOrder", volume="5", **order) == "EOrder:Insufficient margin"
    price = Decimal(str(caller.exchange.book_state("BTC/USD", 1)["asks"][0][0]))  # type: ignore[index]
    volume = f"{Decimal(2000) / price:.6f}"
    market(caller, "buy", volume)
    assert caller.error("AddOrder", volume=volume, **order) == "EOrder:Insufficient margin"
    market(caller, "sell", volume)
    assert caller.call("OpenPositions") == {}


def test_leverage_the_pair_does_not_have_is_refused(caller: Caller) -> None:
    order = {"pair": "XBTUSD", "type": "buy", "ordertype": "market", "volume": "0.01"}
    for leverage in ("1", "99", "2:1", ""):
        assert caller.error("AddOrder", leverage=leverage, **order) == "EGeneral:Invalid arguments:leverage"
    with pytest.raises(UsageError, match="leverage: expected one of 0, 2"):
        caller.exchange.private.operator.place("main", symbol="BTC/USD", side="buy", leverage=99)


def test_trade_balance_says_what_positions_tie_up_and_have_earned(caller: Caller) -> None:
    market(caller, "buy", "0.02")
    figures = {name: Decimal(text) for name, text in caller.call("TradeBalance").items()}
    positions = caller.call("OpenPositions", docalcs="true").values()
    assert abs(figures["m"] - sum(Decimal(position["margin"]) for position in positions)) < Decimal("0.001")
    assert abs(figures["n"] - sum(Decimal(position["net"]) for position in positions)) < Decimal("0.001")
    assert figures["v"] == figures["c"] + figures["n"]
    assert figures["mf"] == figures["e"] - figures["m"]


def test_positions_are_the_business_of_keys_that_may_see_open_orders() -> None:
    blind = KeySettings(key=TEST_ACCOUNT.keys[0].key, secret=TEST_ACCOUNT.keys[0].secret, permissions=("query-funds",))
    caller = Caller(opened_with(AccountSettings(keys=(blind,)), rate=1.0))
    assert caller.error("OpenPositions") == "EGeneral:Permission denied"


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 9), st.integers(1, 99)), max_size=20))
def test_a_pair_is_long_or_short_and_the_sum_of_its_fills(fills: list[tuple[bool, int, int]]) -> None:
    exchange = opened_with(rate=1.0)
    positions = Positions()
    net, paid, gained = 0, 0, 0
    for buys, qty, price in fills:
        (order,) = exchange.private.operator.place(
            "main", symbol="BTC/USD", side="buy" if buys else "sell", away=500, leverage=2
        )
        could_close = positions.against("BTC/USD", buys=buys)
        traded = positions.trade(order, price=price, qty=qty, fee=0, position_id="T", wall_ns=WALL_NS)
        net += qty if buys else -qty
        paid += price * qty * (1 if buys else -1)
        gained += traded.gain
        assert traded.opened == max(0, qty - could_close)
        assert traded.status == ("opened" if traded.opened else "closing" if positions.all() else "closed")
    held = [(p.left if p.order.buys else -p.left, p.price) for p in positions.all()]
    assert sum(left for left, _ in held) == net
    assert len({left > 0 for left, _ in held}) <= 1
    assert sum(left * price for left, price in held) == paid + gained
