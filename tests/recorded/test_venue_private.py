"""What the simulated venue sends in private has the keys of the recordings, in their order, and values of their kinds.

Numbers have to be numbers over the WebSocket and text over REST, with the digits the asset or pair has; which digits,
other tests say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.venue.core.accounts.callers import Caller, opened_with
from tests.venue.core.naive_client import taken

Frame = dict[str, Any]

NEWER = {"reason", "closetm", "cl_ord_id", "link_id", "trigger", "margin"}
"""Keys of order rows that come and go between recordings."""


def frames_of(path: Path) -> Iterator[Frame]:
    for line in path.read_text().splitlines():
        yield json.loads(line)


def kinds(value: Any) -> Any:
    """Return what a value is made of: keys in order, and what kind each part is."""
    match value:
        case dict():
            return {name: kinds(part) for name, part in value.items()}
        case list():
            return [kinds(part) for part in value[:1]]
        case bool():
            return "flag"
        case int() | float():
            return "number"
        case str() if re.fullmatch(r"-?\d+(\.\d+)?", value):
            return "digits"
        case str():
            return "text"
        case _:
            return "nothing"


@pytest.fixture
def session_frames() -> list[Frame]:
    """Return what a listener is sent while an order rests, is amended and cancelled, and another one trades."""
    caller = Caller(opened_with(rate=1.0))
    session = caller.exchange.connect("auth", 0.0)
    token = caller.call("GetWebSocketsToken")["token"]
    for channel in ("balances", "executions"):
        params = {"channel": channel, "token": token}
        session.receive(json.dumps({"method": "subscribe", "params": params}).encode(), 0.0)
    order = {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "price": "60000", "volume": "0.5"}
    txid = caller.call("AddOrder", cl_ord_id="b17c7bb34d000200", **order)["txid"][0]
    caller.call("AmendOrder", txid=txid, order_qty="0.4")
    caller.call("CancelOrder", txid=txid)
    caller.call("AddOrder", pair="XBTUSD", type="sell", ordertype="limit", price="60000", volume="0.005", userref="3")
    return [json.loads(frame) for frame in taken(session) if isinstance(frame, bytes)]


def reports(frames: list[Frame] | Iterator[Frame], channel: str) -> Iterator[Frame]:
    for frame in frames:
        if frame.get("channel") == channel and frame["type"] == "update":
            assert list(frame) == ["channel", "type", "data", "sequence"]
            yield from frame["data"]


@pytest.mark.parametrize("name", ["executions_lifecycle_2026-01.jsonl", "executions_doc_examples.jsonl"])
def test_every_recorded_report_has_its_like(fixtures: Path, session_frames: list[Frame], name: str) -> None:
    ours = [kinds(report) for report in reports(session_frames, "executions")]
    wanted = [kinds(report) for report in reports(frames_of(fixtures / "ws_v2" / name), "executions")]
    assert wanted
    for report in wanted:
        assert report in ours
        alike = [list(one) for one in ours if one == report]
        assert list(report) in alike, "the same keys in another order"


def test_an_empty_account_is_told_as_recorded(fixtures: Path, session_frames: list[Frame]) -> None:
    recorded = next(frames_of(fixtures / "ws_v2" / "executions_lifecycle_2026-01.jsonl"))
    assert recorded["data"] == []
    ours = next(frame for frame in session_frames if frame.get("channel") == "executions")
    assert ours == recorded
    assert list(ours) == list(recorded)


def test_ledger_updates_and_balances_are_as_recorded(fixtures: Path, session_frames: list[Frame]) -> None:
    ours = list(reports(session_frames, "balances"))
    assert ours
    for name in ("balances_2024.jsonl", "balances_doc_examples.jsonl"):
        for recorded in reports(frames_of(fixtures / "ws_v2" / name), "balances"):
            assert [list(row) for row in ours if kinds(row) == kinds(recorded)][:1] == [list(recorded)]
    (snapshot,) = frames_of(fixtures / "ws_v2" / "balances_snapshot_2026-01.jsonl")
    told = next(frame for frame in session_frames if frame.get("channel") == "balances")
    assert kinds(told) == kinds(snapshot)
    assert list(told["data"][0]) == list(snapshot["data"][0])


def test_the_acknowledgement_is_as_recorded(fixtures: Path, session_frames: list[Frame]) -> None:
    recorded = [
        frame
        for frame in frames_of(fixtures / "ws_v2" / "subscribe_acks_2026-01.jsonl")
        if frame["result"]["channel"] == "executions"
    ]
    ours = [frame for frame in session_frames if frame.get("result", {}).get("channel") == "executions"]
    assert recorded
    assert kinds(ours[0]) == kinds(recorded[0])
    assert ours[0]["result"] == {**recorded[0]["result"], "snap_trades": False}
    assert list(ours[0]) == list(recorded[0])
    assert list(ours[0]["result"]) == list(recorded[0]["result"])


def recorded_result(fixtures: Path, name: str) -> Any:
    return json.loads((fixtures / "rest" / "private" / f"{name}.json").read_text())["result"]


def test_private_rest_answers_as_recorded(fixtures: Path) -> None:
    caller = Caller(opened_with(rate=1.0))
    order = {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "price": "60000", "volume": "0.5"}
    added = caller.call("AddOrder", **order)
    assert kinds(added) == kinds(recorded_result(fixtures, "add_order"))
    caller.call("AddOrder", pair="XBTUSD", type="sell", ordertype="market", volume="0.005")

    (ours,) = caller.call("OpenOrders")["open"].values()
    for recorded in recorded_result(fixtures, "open_orders")["open"].values():
        assert [name for name in ours if name not in NEWER] == [name for name in recorded if name not in NEWER]
        assert list(ours["descr"]) == list(recorded["descr"])
        assert {name: kinds(ours[name]) for name in ours} == {name: kinds(recorded[name]) for name in ours}

    for endpoint, key in (("TradesHistory", "trades"), ("Ledgers", "ledger")):
        known = recorded_result(fixtures, {"TradesHistory": "trades_history"}.get(endpoint, "ledgers"))
        answer = caller.call(endpoint)
        assert set(answer) == set(known) == {key, "count"}
        row, like = next(iter(answer[key].values())), next(iter(known[key].values()))
        assert set(row) == set(like)
        assert {name: kinds(row[name]) for name in row if name != "subtype"} == {
            name: kinds(like[name]) for name in row if name != "subtype"
        }

    (closed,) = caller.call("QueryOrders", txid=added["txid"][0]).values()
    assert set(closed) <= set(next(iter(recorded_result(fixtures, "query_orders").values())))
    cancelled = caller.call("CancelOrder", txid=added["txid"][0])
    assert kinds(cancelled) == kinds(recorded_result(fixtures, "cancel_order"))
    switch = caller.call("CancelAllOrdersAfter", timeout="60")
    assert kinds(switch) == kinds(recorded_result(fixtures, "cancel_all_orders_after"))


@pytest.mark.parametrize(
    ("endpoint", "name", "fields"),
    [
        ("BalanceEx", "balance_ex", {}),
        ("TradeBalance", "trade_balance", {}),
        ("WithdrawInfo", "withdraw_info", {"asset": "XBT", "key": "test", "amount": "0.7"}),
        ("WithdrawMethods", "withdraw_methods_doc", {"asset": "XBT"}),
        ("DepositMethods", "deposit_methods", {"asset": "XBT"}),
        ("DepositAddresses", "deposit_addresses", {"asset": "XBT", "method": "Bitcoin"}),
        ("GetWebSocketsToken", "websockets_token", {}),
    ],
)
def test_what_private_rest_tells_has_the_keys_of_recordings(
    fixtures: Path, endpoint: str, name: str, fields: dict[str, Any]
) -> None:
    ours, recorded = Caller(opened_with(rate=1.0)).call(endpoint, **fields), recorded_result(fixtures, name)
    if name == "balance_ex":
        ours, recorded = next(iter(ours.values())), next(iter(recorded.values()))
    assert kinds(ours) == kinds(recorded)
    assert json.dumps(kinds(ours)) == json.dumps(kinds(recorded))


def test_refusals_are_as_recorded(fixtures: Path) -> None:
    known = {json.loads(line)["error"][0] for line in (fixtures / "rest" / "errors.jsonl").read_text().splitlines()}
    caller = Caller(opened_with(rate=1.0))
    order = {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "price": "60000", "volume": "500"}
    told = {
        caller.error("AddOrder", **order | {"ordertype": "settle"}),
        caller.error("AddOrder", **order | {"pair": "NOPE"}),
        caller.error("AddOrder", **order),
        Caller(caller.exchange, key="nobody").error("Balance"),
        caller.error("Balance", nonce="1"),
    }
    assert told <= known
    assert len(told) == 5
