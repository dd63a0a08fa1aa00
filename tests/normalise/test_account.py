"""Account messages become events in our own words; what makes no sense refuses its whole message."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from kraken_engine.codec.ws_v2_private import BalancesMessage, ExecutionsMessage, PrivateDecoder, decode_balance_rows
from kraken_engine.errors import DecodeError, Stale
from kraken_engine.model import Liquidity, OrderStatus, OrderType, Side, Source, TimeInForce
from kraken_engine.normalise.account import BalanceReport, balance_reports, balance_rows, execution_reports
from kraken_engine.normalise.account_events import (
    AccountGap,
    AccountLive,
    AccountStale,
    BalanceUpdate,
    ExecType,
    ExecutionReport,
)
from kraken_engine.normalise.events import Gap, Live


def report(**fields: Any) -> ExecutionReport:
    data = {"exec_type": "new", "order_id": "O1", **fields}
    frame = json.dumps({"channel": "executions", "type": "update", "data": [data], "sequence": 2})
    message = PrivateDecoder().decode(frame.encode())
    assert isinstance(message, ExecutionsMessage)
    (only,) = execution_reports(message, account="main", received_s=7.0)
    return only


def balances(kind: str, **fields: Any) -> BalanceReport:
    frame = json.dumps({"channel": "balances", "type": kind, "data": [{"asset": "USD", **fields}], "sequence": 2})
    message = PrivateDecoder().decode(frame.encode())
    assert isinstance(message, BalancesMessage)
    (only,) = balance_reports(message)
    return only


def test_a_report_says_whose_it_is_when_it_came_and_from_where() -> None:
    got = report(timestamp="2026-01-22T06:06:19.833306Z")
    assert (got.account, got.received_s, got.source) == ("main", 7.0, Source.WEBSOCKET_V2)
    assert got.venue_time == "2026-01-22T06:06:19.833306Z"


def test_words_become_nouns_whatever_their_case() -> None:
    got = report(side="buy", order_type="stop-loss-limit", time_in_force="GTC", order_status="pending_new")
    assert (got.side, got.order_type) == (Side.BUY, OrderType.STOP_LOSS_LIMIT)
    assert (got.time_in_force, got.status) == (TimeInForce.GTC, OrderStatus.PENDING_NEW)
    assert report(exec_type="iceberg_refill").exec_type is ExecType.ICEBERG_REFILL


def test_new_words_that_change_no_quantity_are_tolerated() -> None:
    got = report(exec_type="blessed", order_type="horoscope", time_in_force="TIL")
    assert (got.exec_type, got.order_type, got.time_in_force) == (
        ExecType.UNKNOWN,
        OrderType.UNKNOWN,
        TimeInForce.UNKNOWN,
    )


def test_a_fill_has_its_numbers_and_its_fees_by_asset() -> None:
    got = report(
        exec_type="trade", exec_id="T1", last_qty=0.5, last_price=2.5, liquidity_ind="m",
        fees=[{"asset": "USD", "qty": 0.1}, {"asset": "USD", "qty": 0.2}, {"asset": "BTC", "qty": 0.3}],
    )  # fmt: skip
    assert (got.last_qty, got.last_price, got.liquidity) == (Decimal("0.5"), Decimal("2.5"), Liquidity.MAKER)
    assert got.fees == {"USD": Decimal("0.3"), "BTC": Decimal("0.3")}


def test_the_deprecated_reason_stands_in_for_the_reason() -> None:
    assert report(exec_type="canceled", cancel_reason="User requested").reason == "User requested"
    assert report(exec_type="canceled", cancel_reason="old", reason="new").reason == "new"


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"order_id": None}, "$.data[0].order_id"),
        ({"side": "both"}, "$.data[0].side"),
        ({"order_status": "wounded"}, "$.data[0].order_status"),
        ({"order_qty": "1.0"}, "$.data[0].order_qty"),
        ({"order_qty": -1.0}, "$.data[0].order_qty"),
        ({"cum_qty": -0.1}, "$.data[0].cum_qty"),
        ({"limit_price": True}, "$.data[0].limit_price"),
        ({"exec_type": "trade", "last_qty": 1.0, "last_price": 1.0}, "$.data[0].exec_id"),
        ({"exec_type": "trade", "exec_id": "T", "last_price": 1.0}, "$.data[0].last_qty"),
        ({"exec_type": "trade", "exec_id": "T", "last_qty": 0.0, "last_price": 1.0}, "$.data[0].last_qty"),
        ({"exec_type": "trade", "exec_id": "T", "last_qty": 1.0, "last_price": 0}, "$.data[0].last_price"),
        ({"fees": [{"asset": "USD", "qty": "x"}]}, "$.data[0].fees[0].qty"),
        ({"triggers": {"price": [1]}}, "$.data[0].triggers.price"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_path(fields: dict[str, Any], path: str) -> None:
    with pytest.raises(DecodeError) as refusal:
        report(**fields)
    assert refusal.value.path == path


def test_an_order_may_be_named_by_its_client_id_alone() -> None:
    got = report(order_id=None, cl_ord_id="mine")
    assert (got.order_id, got.cl_ord_id) == (None, "mine")


def test_what_is_earning_is_told_apart_in_a_snapshot() -> None:
    got = balances(
        "snapshot", balance=500,
        wallets=[{"type": "spot", "id": "main", "balance": 300}, {"type": "earn", "id": "flex", "balance": 200}],
    )  # fmt: skip
    assert (got.total, got.earn, got.change) == (Decimal(500), Decimal(200), None)


def test_a_transaction_carries_the_balance_after_it() -> None:
    got = balances("update", balance=118.0677, amount=-19.9743, fee=0.0499, ledger_id="L", ref_id="R", type="trade")
    assert got.change is not None
    assert (got.total, got.change.amount, got.change.fee) == (
        Decimal("118.0677"), Decimal("-19.9743"), Decimal("0.0499"),
    )  # fmt: skip
    assert (got.earn, got.in_earn) == (None, False)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"balance": "1"}, "$.data[0].balance"),
        ({"balance": 1, "amount": 1}, "$.data[0].ledger_id"),
        ({"balance": 1, "ledger_id": "L"}, "$.data[0].amount"),
        ({"asset": "", "balance": 1, "ledger_id": "L", "amount": 1}, "$.data[0].asset"),
    ],
)
def test_a_transaction_that_makes_no_sense_is_refused(fields: dict[str, Any], path: str) -> None:
    with pytest.raises(DecodeError) as refusal:
        balances("update", **fields)
    assert refusal.value.path == path


def test_a_row_of_balance_and_hold_is_what_is_free_and_what_is_used() -> None:
    (row,) = balance_rows(decode_balance_rows(b'[{"asset": "MANA", "balance": "163.94", "hold_trade": "1.06"}]'))
    assert (row.asset, row.total, row.used, row.earn) == ("MANA", Decimal("165.00"), Decimal("1.06"), Decimal(0))


@pytest.mark.parametrize("document", [b'[{"asset":"","balance":"1"}]', b'[{"asset":"A","balance":"one"}]'])
def test_a_row_that_makes_no_sense_is_refused(document: bytes) -> None:
    with pytest.raises(DecodeError):
        balance_rows(decode_balance_rows(document))


def test_notices_of_an_account_are_notices_like_any_other() -> None:
    live = AccountLive(at_s=1.0, channel="account", symbol="main")
    gap = AccountGap(
        at_s=1.0, channel="account", symbol="main", start_s=0.0, end_s=1.0, reason="cut", healed_by="rest", fills=2
    )
    stale = AccountStale("main", "cut", since_s=1.0)
    assert isinstance(live, Live)
    assert isinstance(gap, Gap)
    assert isinstance(stale, Stale)
    assert (live.account, gap.account, stale.account) == ("main",) * 3
    assert str(stale) == "account main: cut"


def test_what_is_free_is_what_is_neither_used_nor_earning() -> None:
    update = BalanceUpdate(
        account="main", source=Source.WEBSOCKET_V2, received_s=0.0, venue_time=None, asset="USD",
        total=Decimal("100.0000000000000000000000000000000001"), used=Decimal(1), earn=Decimal(2),
    )  # fmt: skip
    assert update.free == Decimal("97.0000000000000000000000000000000001"), "more digits than a context keeps"
