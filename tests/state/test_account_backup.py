"""What REST lists of an account is told once, oldest order first, and never survives the line's return."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.codec.rest import Number
from kraken_engine.codec.rest_private import OrderDescription, OrderRow
from kraken_engine.errors import DecodeError
from kraken_engine.model import Integrity, OrderStatus, Side, Source
from kraken_engine.normalise.account_events import BalanceUpdate, OrdersListed
from kraken_engine.normalise.rest_account import AssetBalance, RestOrder
from kraken_engine.state.account_backup import AccountBackup

D = Decimal


def balances(**totals: int) -> dict[str, AssetBalance]:
    return {
        asset: AssetBalance(asset=asset, total=D(total), held=D(1), received_s=0.0) for asset, total in totals.items()
    }


def order(order_id: str, *, filled: str = "0", status: str = "open", **changes: Any) -> RestOrder:
    row = OrderRow(
        status=status,
        descr=OrderDescription(pair="XBTUSD", type="buy", ordertype="limit", price="100"),
        vol=Number(2),
        vol_exec=Number(filled),
        opentm=Number(5),
    )
    row = msgspec.structs.replace(row, **changes)
    return RestOrder(order_id=order_id, symbol="BTC/USD", side=Side.BUY, row=row, received_s=0.0)


def test_balances_are_unverified_and_told_when_they_differ_from_what_readers_know() -> None:
    backup = AccountBackup("main")
    backup.take_balances(balances(USD=5, BTC=7), asked_s=1.0, received_s=2.0)
    known = BalanceUpdate(
        account="main", source=Source.WEBSOCKET_V2, received_s=0.0, venue_time=None, asset="USD", total=D(5), used=D(1)
    )
    (told,) = backup.news({"USD": known})
    assert isinstance(told, BalanceUpdate)
    assert (told.asset, told.total, told.used, told.source, told.integrity, told.received_s) == (
        *("BTC", D(7), D(1)), *(Source.REST, Integrity.UNVERIFIED, 2.0),
    )  # fmt: skip
    assert backup.news({"USD": known}) == []
    backup.take_balances(balances(USD=5, BTC=8), asked_s=3.0, received_s=4.0)
    assert [event.asset for event in backup.news({}) if isinstance(event, BalanceUpdate)] == ["BTC"]


def test_what_cannot_be_traded_from_is_not_free() -> None:
    backup = AccountBackup("main")
    staked = AssetBalance(asset="ATOM.S", total=D(5), held=D(0), received_s=0.0)
    backup.take_balances({"ATOM.S": staked}, asked_s=1.0, received_s=2.0)
    assert backup.balances is not None
    assert backup.balances.values["ATOM.S"].free == 0


def test_orders_are_listed_oldest_first_whenever_the_list_changes() -> None:
    backup = AccountBackup("main", is_external=lambda cl_ord_id: cl_ord_id != "mine")
    newest_first = {"O2": order("O2", cl_ord_id="mine"), "O1": order("O1", filled="0.5")}
    backup.take_orders(newest_first, asked_s=1.0, received_s=2.0)
    (listed,) = backup.news({})
    assert isinstance(listed, OrdersListed)
    assert [(o.order_id, o.status, o.remaining_qty, o.external) for o in listed.orders] == [
        ("O1", OrderStatus.PARTIALLY_FILLED, D("1.5"), True),
        ("O2", OrderStatus.NEW, D(2), False),
    ]
    backup.take_orders(newest_first, asked_s=3.0, received_s=4.0)
    assert backup.news({}) == []
    backup.take_orders({}, asked_s=5.0, received_s=6.0)
    (listed,) = backup.news({})
    assert isinstance(listed, OrdersListed)
    assert listed.orders == ()


def test_an_order_that_makes_no_sense_costs_the_answer_and_leaves_the_one_before() -> None:
    backup = AccountBackup("main")
    backup.take_orders({"O1": order("O1")}, asked_s=1.0, received_s=2.0)
    with pytest.raises(DecodeError):
        backup.take_orders({"O1": order("O1", status="gone")}, asked_s=3.0, received_s=4.0)
    assert backup.orders is not None
    assert list(backup.orders.values) == ["O1"]


@given(st.lists(st.tuples(st.sampled_from(["take", "forget"]), st.integers(0, 9), st.integers(1, 9)), max_size=20))
def test_no_answer_is_older_than_the_line_s_last_return(steps: list[tuple[str, int, int]]) -> None:
    """Questions take a while: an answer may come after the line was back, and gone again."""
    backup, now, back_s = AccountBackup("main"), 0.0, -math.inf
    for what, took, total in steps:
        now += 1.0
        if what == "forget":
            backup.forget(now=now)
            back_s = now
            assert (backup.balances, backup.orders) == (None, None)
        else:
            backup.take_balances(balances(USD=total), asked_s=now - took, received_s=now)
            backup.take_orders({}, asked_s=now - took, received_s=now)
        for listed in (backup.balances, backup.orders):
            assert listed is None or listed.asked_s >= back_s
