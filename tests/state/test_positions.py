"""Positions are lots, first in first out; nothing is divided, so nothing is rounded."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.model import OrderType, Side, Source
from kraken_engine.normalise.account_events import Fill
from kraken_engine.state.positions import Lot, Positions

D = Decimal


def fill(side: Side, qty: str, price: str, *, margin: bool = True) -> Fill:
    return Fill(
        account="main", source=Source.WEBSOCKET_V2, received_s=0.0, venue_time=None, exec_id="T", trade_id=None,
        order_id="O", cl_ord_id=None, symbol="BTC/USD", side=side, qty=D(qty), price=D(price), cost=D(qty) * D(price),
        fees={}, liquidity=None, order_type=OrderType.LIMIT, external=True, margin=margin,
    )  # fmt: skip


def test_a_fill_without_margin_makes_no_position() -> None:
    positions = Positions()
    assert positions.apply(fill(Side.BUY, "1", "100", margin=False)) is None
    assert positions.all() == {}


def test_lots_are_closed_in_the_order_in_which_they_were_opened() -> None:
    positions = Positions()
    positions.apply(fill(Side.BUY, "1", "100"))
    positions.apply(fill(Side.BUY, "2", "110"))
    left = positions.apply(fill(Side.SELL, "1.5", "120"))
    assert left is not None
    assert (left.side, left.lots, left.qty, left.cost) == (Side.BUY, (Lot(D("1.5"), D(110)),), D("1.5"), D("165.0"))
    assert left.realised == D("25.0")  # 1 x 20 and 0.5 x 10


def test_a_fill_beyond_the_position_turns_it_around() -> None:
    positions = Positions()
    positions.apply(fill(Side.SELL, "1", "100"))
    turned = positions.apply(fill(Side.BUY, "3", "90"))
    assert turned is not None
    assert (turned.side, turned.qty, positions.realised("BTC/USD")) == (Side.BUY, D(2), D(10))
    assert positions.apply(fill(Side.SELL, "2", "90")) is None
    assert positions.get("BTC/USD") is None


def test_a_snapshot_replaces_what_is_known() -> None:
    positions = Positions()
    positions.apply(fill(Side.BUY, "1", "100"))
    positions.snapshot("BTC/USD", Side.SELL, [Lot(D(2), D(50)), Lot(D(0), D(1))])
    position = positions.get("BTC/USD")
    assert position is not None
    assert (position.side, position.qty) == (Side.SELL, D(2))
    positions.snapshot("BTC/USD", Side.SELL, [])
    assert positions.all() == {}


@given(st.lists(st.tuples(st.sampled_from(Side), st.integers(1, 9), st.integers(1, 99)), max_size=20))
def test_what_was_earned_and_what_is_open_account_for_all_money_spent(fills: list[tuple[Side, int, int]]) -> None:
    positions = Positions()
    net, spent = D(0), D(0)
    for side, qty, price in fills:
        positions.apply(fill(side, str(qty), str(price)))
        sign = 1 if side is Side.BUY else -1
        net += sign * qty
        spent += sign * qty * price
    position = positions.get("BTC/USD")
    held = D(0) if position is None else position.qty * (1 if position.side is Side.BUY else -1)
    cost = D(0) if position is None else position.cost * (1 if position.side is Side.BUY else -1)
    assert held == net
    assert cost == spent + positions.realised("BTC/USD")
