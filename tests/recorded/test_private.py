"""What the real venue told of accounts becomes orders, fills and balances, every digit kept and no frame refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from kraken_engine.codec.ws_v2_private import (
    BalancesMessage,
    ExecutionsMessage,
    PrivateDecoder,
    decode_balance_rows,
)
from kraken_engine.model import OrderStatus, Source
from kraken_engine.normalise.account import balance_reports, balance_rows, execution_reports
from kraken_engine.normalise.account_events import Fill, OrderUpdate
from kraken_engine.normalise.events import AccountEvent
from kraken_engine.runtime import real_runtime
from kraken_engine.state.balances import Balances
from kraken_engine.state.orders import Orders
from kraken_engine.store.recording import read_frames, replay_frames

FILES = real_runtime().files

REPLAYED: dict[str, dict[str, int]] = {
    "balances_2024.jsonl": {"BalanceUpdate": 7},
    "balances_doc_examples.jsonl": {"BalanceUpdate": 6},
    "balances_snapshot_2026-01.jsonl": {"BalanceUpdate": 1},
    "executions_doc_examples.jsonl": {"ExecutionReport": 2, "Fill": 1, "OrderUpdate": 3},
    "executions_lifecycle_2026-01.jsonl": {"ExecutionReport": 5, "OrderUpdate": 5},
}
"""What consumers would have seen of each recording."""


def messages(fixtures: Path, name: str) -> Iterator[ExecutionsMessage | BalancesMessage]:
    decoder = PrivateDecoder(sample_every=1)
    for frame in read_frames(FILES, str(fixtures / "ws_v2" / name)):
        message = decoder.decode(frame.payload)
        assert isinstance(message, (ExecutionsMessage, BalancesMessage))
        yield message
    assert decoder.unknown_fields == {}


def merged(fixtures: Path, name: str) -> tuple[Orders, list[AccountEvent]]:
    orders = Orders("main")
    told: list[AccountEvent] = []
    for message in messages(fixtures, name):
        assert isinstance(message, ExecutionsMessage)
        for report in execution_reports(message, account="main", received_s=0.0):
            told += orders.apply(report)
    return orders, told


@pytest.mark.parametrize("name", REPLAYED)
def test_a_private_recording_replays_without_a_rejected_frame(fixtures: Path, name: str) -> None:
    summary = replay_frames(read_frames(FILES, str(fixtures / "ws_v2" / name)))
    assert (summary.rejected, summary.losses, summary.unknown_channels, summary.unknown_fields) == ((), (), {}, {})
    assert summary.events == REPLAYED[name]


def test_every_private_recording_is_replayed(fixtures: Path) -> None:
    there = {f.name for f in (fixtures / "ws_v2").iterdir() if f.name.startswith(("balances_", "executions_"))}
    assert there == set(REPLAYED)


def test_the_recorded_order_lives_as_the_venue_told_it(fixtures: Path) -> None:
    orders, told = merged(fixtures, "executions_lifecycle_2026-01.jsonl")
    statuses = [event.order.status for event in told if isinstance(event, OrderUpdate)]
    assert statuses == [OrderStatus.PENDING_NEW, *[OrderStatus.NEW] * 3, OrderStatus.CANCELED]
    order = orders.by_client_id("b17c7bb34d000200")
    assert order is not None
    assert (order.order_id, str(order.order_qty), str(order.limit_price)) == (
        "OVN7VD-7VYHS-APBKHA", "0.00005000", "81818.0",
    )  # fmt: skip
    assert order.evidence == "websocket_v2: canceled (User requested) at 2026-01-22T06:06:36.039852Z"


def test_the_documented_fill_completes_its_order_without_saying_so(fixtures: Path) -> None:
    orders, told = merged(fixtures, "executions_doc_examples.jsonl")
    (fill,) = [event for event in told if isinstance(event, Fill)]
    assert (fill.exec_id, fill.qty, fill.price, fill.cost) == (
        "TGBB7L-HT5LX-J3BZ4A", Decimal("0.005"), Decimal("26599.9"), Decimal("132.9995"),
    )  # fmt: skip
    assert fill.fees == {"USD": Decimal("0.3458")}
    order = orders.get("OK4GJX-KSTLS-7DZZO5")
    assert order is not None
    assert (order.status, order.cum_qty, order.remaining_qty) == (
        OrderStatus.PARTIALLY_FILLED,
        order.order_qty,
        Decimal(0),
    )


@pytest.mark.parametrize("name", [name for name in REPLAYED if name.startswith("balances")])
def test_every_recorded_balance_is_the_one_that_was_sent(fixtures: Path, name: str) -> None:
    balances = Balances("main")
    for message, frame in zip(
        messages(fixtures, name), read_frames(FILES, str(fixtures / "ws_v2" / name)), strict=True
    ):
        assert isinstance(message, BalancesMessage)
        reports = balance_reports(message)
        if message.type == "snapshot":
            balances.snapshot(reports, source=Source.WEBSOCKET_V2, received_s=0.0)
        else:
            for report in reports:
                balances.apply(report, received_s=0.0)
        for sent in json.loads(frame.payload, parse_float=Decimal)["data"]:
            known = balances.get(sent["asset"])
            assert known is not None
            assert str(known.total) == str(sent["balance"])


def test_the_rows_of_the_founding_document_are_balances() -> None:
    rows = balance_rows(decode_balance_rows(b'[{"asset": "MANA", "balance": "163.94", "hold_trade": "0"}]'))
    balances = Balances("main")
    (mana,) = balances.snapshot(rows, source=Source.WEBSOCKET_V2, received_s=3.0)
    assert (mana.free, mana.used, mana.total) == (Decimal("163.94"), Decimal(0), Decimal("163.94"))
    assert (mana.source, mana.received_s) == (Source.WEBSOCKET_V2, 3.0)
