"""Executions and balances as a listener gets them: acks, snapshots, sequences, reports, and who may listen."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import attrs
import pytest
from tests.venue.core.accounts.callers import Caller, opened_with
from tests.venue.core.naive_client import ask, decoded, taken

from kraken_engine.venue.core.accounts.settings import TEST_ACCOUNT
from kraken_engine.venue.core.ports import Abort, Close
from kraken_engine.venue.core.sessions import Session

WARNINGS = [
    "cancel_reason is deprecated, use reason",
    "stop_price is deprecated, use triggers.price",
    "trigger is deprecated use triggers.reference",
    "triggered_price is deprecated use triggers.last_price",
]

ADD = {"pair": "XBTUSD", "type": "buy", "ordertype": "limit"}


@attrs.define
class Listening:
    """A caller with a private session."""

    caller: Caller
    session: Session
    token: str

    def subscribe(self, channel: str, **params: Any) -> list[dict[str, Any]]:
        params = {"channel": channel, "token": self.token, **params}
        return ask(self.session, self.caller.now, "subscribe", params=params)

    def frames(self, channel: str) -> list[dict[str, Any]]:
        self.caller.exchange.advance(self.caller.now)
        return [frame for frame in decoded(taken(self.session)) if frame.get("channel") == channel]

    def reports(self) -> list[dict[str, Any]]:
        return [frame["data"][0] for frame in self.frames("executions")]


def listening(**settings: Any) -> Listening:
    caller = Caller(opened_with(attrs.evolve(TEST_ACCOUNT, **settings), rate=1.0))
    session = caller.exchange.connect("auth", 0.0)
    taken(session)
    return Listening(caller, session, caller.call("GetWebSocketsToken")["token"])


@pytest.fixture
def ear() -> Listening:
    return listening()


def test_executions_are_acknowledged_with_warnings_and_the_tiers_counter_limit(ear: Listening) -> None:
    reply, snapshot = ear.subscribe("executions", snap_trades=True)
    assert reply["result"] == {
        "channel": "executions",
        "maxratecount": 125,
        "snap_orders": True,
        "snap_trades": True,
        "snapshot": True,
        "warnings": WARNINGS,
    }
    assert reply["success"] is True
    assert snapshot == {"channel": "executions", "type": "snapshot", "data": [], "sequence": 1}


def test_balances_are_acknowledged_and_told_whole(ear: Listening) -> None:
    reply, snapshot = ear.subscribe("balances")
    assert reply["result"] == {"channel": "balances", "snapshot": True}
    assert (snapshot["type"], snapshot["sequence"]) == ("snapshot", 1)
    assert snapshot["data"][0] == {
        "asset": "USD",
        "asset_class": "currency",
        "wallets": [{"type": "spot", "id": "main", "balance": "1000000.0000"}],
        "balance": "1000000.0000",
    }
    assert {row["asset"] for row in snapshot["data"]} == {"USD", "BTC", "ETH", "SOL"}


def test_a_resting_order_comes_whole_once_and_then_by_its_changes(ear: Listening) -> None:
    ear.subscribe("executions")
    txid = ear.caller.call("AddOrder", **ADD, price="60000", volume="0.5", cl_ord_id="mine")["txid"][0]
    ear.caller.call("AmendOrder", txid=txid, order_qty="0.4")
    ear.caller.call("CancelOrder", txid=txid)
    frames = ear.frames("executions")
    assert [frame["sequence"] for frame in frames] == [2, 3, 4, 5]
    pending, new, amended, canceled = (frame["data"][0] for frame in frames)
    stamp = "2026-07-07T23:00:03.947173Z"
    assert pending == {
        "order_id": txid,
        "symbol": "BTC/USD",
        "order_qty": "0.50000000",
        "cum_cost": "0.00000",
        "time_in_force": "GTC",
        "exec_type": "pending_new",
        "side": "buy",
        "order_type": "limit",
        "cl_ord_id": "mine",
        "limit_price_type": "static",
        "limit_price": "60000.0",
        "stop_price": "0.0",
        "order_status": "pending_new",
        "fee_usd_equiv": "0.0000",
        "fee_ccy_pref": "fciq",
        "timestamp": stamp,
    }
    ids = {"cl_ord_id": "mine", "order_id": txid}
    assert new == {"timestamp": stamp, "order_status": "new", "exec_type": "new", **ids}
    assert amended == {
        "timestamp": stamp,
        "exec_type": "amended",
        "order_status": "new",
        "cum_qty": "0.00000000",
        "reason": "User requested",
        "amended": True,
        "order_qty": "0.40000000",
        "limit_price": "60000.0",
        "limit_price_type": "static",
        **ids,
    }
    assert canceled == {
        "timestamp": stamp,
        "order_status": "canceled",
        "exec_type": "canceled",
        "cum_qty": "0.00000000",
        "cum_cost": "0.00000",
        "fee_usd_equiv": "0.0000",
        "avg_price": "0.0",
        "cancel_reason": "User requested",
        "reason": "User requested",
        **ids,
    }


def test_the_last_trade_says_partially_filled_and_filled_follows(ear: Listening) -> None:
    ear.subscribe("executions")
    ear.caller.call("AddOrder", pair="XBTUSD", type="sell", ordertype="market", volume="1")
    pending, new, *trades, filled = ear.reports()
    assert "limit_price" not in pending
    assert new["order_status"] == "new"
    assert trades
    cum_qty = cum_cost = Decimal(0)
    for trade in trades:
        assert (trade["exec_type"], trade["order_status"], trade["liquidity_ind"]) == ("trade", "partially_filled", "t")
        cum_qty += Decimal(trade["last_qty"])
        cum_cost += Decimal(trade["cost"])
        assert Decimal(trade["cum_qty"]) == cum_qty
        assert abs(Decimal(trade["cum_cost"]) - cum_cost) <= Decimal("0.00001") * len(trades)
        assert trade["fees"][0]["asset"] == "USD"
    assert (filled["exec_type"], filled["order_status"], filled["cum_qty"]) == ("filled", "filled", "1.00000000")
    assert "exec_id" not in filled


def test_a_trade_changes_two_balances_with_one_reference(ear: Listening) -> None:
    ear.subscribe("balances")
    ear.subscribe("executions")
    ear.caller.call("AddOrder", pair="XBTUSD", type="buy", ordertype="market", volume="0.001")
    everything = decoded(taken(ear.session))
    base, quote = (frame for frame in everything if frame.get("channel") == "balances")
    (trade,) = (
        frame["data"][0]
        for frame in everything
        if frame.get("channel") == "executions" and frame["data"][0]["exec_type"] == "trade"
    )
    assert (base["sequence"], quote["sequence"]) == (2, 3)
    (bought,), (paid,) = base["data"], quote["data"]
    assert list(bought) == [
        *("ledger_id", "ref_id", "timestamp", "type", "asset", "asset_class", "category", "wallet_type", "wallet_id"),
        *("amount", "fee", "balance"),
    ]
    assert bought["ref_id"] == paid["ref_id"] == trade["exec_id"]
    assert (bought["asset"], bought["amount"], bought["balance"]) == ("BTC", "0.0010000000", "50.0010000000")
    assert Decimal(paid["balance"]) == 1_000_000 + Decimal(paid["amount"]) - Decimal(paid["fee"])
    assert paid["fee"] == trade["fees"][0]["qty"]
    assert ear.caller.call("Balance")["ZUSD"] == paid["balance"]


def test_a_later_snapshot_has_the_open_orders_and_the_last_fifty_fills(ear: Listening) -> None:
    for _ in range(60):
        ear.caller.call("AddOrder", pair="XBTUSD", type="buy", ordertype="market", volume="0.0001")
        ear.caller.now += 0.8
    order = ear.caller.call("AddOrder", **ADD, price="60000", volume="0.5")["txid"][0]
    _, snapshot = ear.subscribe("executions", snap_trades=True)
    first, *trades = snapshot["data"]
    assert (first["order_id"], first["exec_type"], first["order_status"]) == (order, "new", "new")
    assert (first["cum_qty"], first["avg_price"]) == ("0.00000000", "0.0")
    fills = list(ear.caller.exchange.accounts["main"].fills)[-50:]
    assert [trade["exec_id"] for trade in trades] == [fill.exec_id for fill in fills]
    assert {trade["order_status"] for trade in trades} == {"filled"}
    assert not any("cum_qty" in trade for trade in trades)
    ear.caller.call("CancelOrder", txid=order)
    assert [frame["sequence"] for frame in ear.frames("executions")] == [2]


def test_snapshots_are_sent_as_far_as_they_are_wanted(ear: Listening) -> None:
    ear.caller.call("AddOrder", **ADD, price="60000", volume="0.5")
    assert len(ear.subscribe("executions", snap_orders=False)) == 1
    ear.caller.call("CancelAll")
    assert [frame["sequence"] for frame in ear.frames("executions")] == [1]
    assert len(ear.subscribe("balances", snapshot=False)) == 1


def test_whoever_wants_no_transitions_gets_the_ends_and_the_trades(ear: Listening) -> None:
    ear.subscribe("executions", order_status=False)
    ear.caller.call("AddOrder", pair="XBTUSD", type="buy", ordertype="market", volume="0.0001")
    assert [report["exec_type"] for report in ear.reports()] == ["new", "trade", "filled"]


def test_the_trading_counter_comes_along_for_those_who_ask(ear: Listening) -> None:
    ear.subscribe("executions", ratecounter=True)
    txid = ear.caller.call("AddOrder", **ADD, price="60000", volume="0.5")["txid"][0]
    ear.caller.call("CancelOrder", txid=txid)
    assert [report["ratecount"] for report in ear.reports()] == [1, 1, 9]


def test_unsubscribing_ends_it_and_a_new_subscription_counts_from_one(ear: Listening) -> None:
    ear.subscribe("executions")
    (again,) = ear.subscribe("executions")
    assert (again["error"], again["success"]) == ("Already subscribed", False)
    params = {"channel": "executions", "token": ear.token}
    (ended,) = ask(ear.session, 0.0, "unsubscribe", params=params)
    assert ended["result"] == {"channel": "executions"}
    (refused,) = ask(ear.session, 0.0, "unsubscribe", params=params)
    assert refused["error"] == "Subscription Not Found"
    ear.caller.call("AddOrder", **ADD, price="60000", volume="0.5")
    assert ear.frames("executions") == []
    _, snapshot = ear.subscribe("executions")
    assert (snapshot["sequence"], len(snapshot["data"])) == (1, 1)


@pytest.mark.parametrize(
    ("kind", "params", "error"),
    [
        ("public", {}, "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com"),
        ("auth", {"token": None}, "Token(s) not found"),
        ("auth", {"token": 7}, "Token field must be a string"),
        ("auth", {"token": "nonsense"}, "ESession:Invalid session"),
        ("auth", {"depth": 10}, "Unsupported field: 'depth' for the given msg type: subscribe"),
        ("auth", {"snap_orders": "yes"}, "Snap_orders field must be a boolean"),
        ("auth", {"users": "all"}, "EGeneral:Permission denied"),
        ("auth", {"channel": "level3"}, "Unsupported event"),
    ],
)
def test_what_may_not_be_is_refused_in_the_venues_words(
    ear: Listening, kind: str, params: dict[str, Any], error: str
) -> None:
    session = ear.session if kind == "auth" else ear.caller.exchange.connect(kind, 0.0)
    taken(session)
    asked = {"channel": "executions", "token": ear.token, **params}
    asked = {name: value for name, value in asked.items() if value is not None}
    (reply,) = ask(session, 0.0, "subscribe", params=asked, req_id=3)
    assert (reply["error"], reply["method"], reply["req_id"], reply["success"]) == (error, "subscribe", 3, False)
    assert "result" not in reply
    if error.startswith("ESession"):
        assert (reply["channel"], reply["status"]) == ("executions", "error")


def test_the_private_host_has_no_market_data(ear: Listening) -> None:
    (reply,) = ask(ear.session, 0.0, "subscribe", params={"channel": "ticker", "symbol": ["BTC/USD"]})
    assert reply["error"] == "Public market data subscriptions are unavailable on this endpoint. Try ws.kraken.com"


def test_trading_over_the_websocket_is_switched_off_and_says_so(ear: Listening) -> None:
    (reply,) = ask(ear.session, 0.0, "add_order", params={"token": ear.token})
    assert (reply["error"], reply["method"]) == ("EAPI:Feature disabled", "add_order")
    (reply,) = ask(ear.session, 0.0, "add_order", params={"token": "nonsense"})
    assert reply["error"] == "ESession:Invalid session"


def test_a_token_ages_unless_a_subscription_holds_it_on_that_connection(ear: Listening) -> None:
    ear.subscribe("executions")
    late = ear.caller.exchange.connect("auth", 0.0)
    for minute in range(1, 20):
        for session in (ear.session, late):
            session.receive(b'{"method":"ping"}', minute * 50.0)
    ear.caller.now = 950.0
    taken(late)
    taken(ear.session)
    reply, *_ = ear.subscribe("balances")
    assert reply["success"] is True
    (refused,) = ask(late, 950.0, "subscribe", params={"channel": "balances", "token": ear.token})
    assert refused["error"] == "ESession:Invalid session"
    for channel in ("executions", "balances"):
        ask(ear.session, 950.0, "unsubscribe", params={"channel": channel, "token": ear.token})
    (gone, *_) = ear.subscribe("executions")
    assert gone["error"] == "ESession:Invalid session"


def test_a_key_without_the_permission_may_not_listen() -> None:
    key = attrs.evolve(TEST_ACCOUNT.keys[0], permissions=("query-funds", "access-websockets"))
    ear = listening(keys=(key,))
    (refused,) = ear.subscribe("executions")
    assert refused["error"] == "EGeneral:Permission denied"
    reply, _ = ear.subscribe("balances")
    assert reply["success"] is True


def test_several_listeners_hear_the_same_and_strangers_nothing() -> None:
    key = attrs.evolve(TEST_ACCOUNT.keys[0], key="other")
    exchange = opened_with(TEST_ACCOUNT, attrs.evolve(TEST_ACCOUNT, name="other", keys=(key,)), rate=1.0)
    ears: list[Listening] = []
    for caller in (Caller(exchange), Caller(exchange), Caller(exchange, key="other")):
        caller.nonce += 100 * len(ears)
        session = exchange.connect("auth", 0.0)
        taken(session)
        ears.append(Listening(caller, session, caller.call("GetWebSocketsToken")["token"]))
        ears[-1].subscribe("executions")
    ears[1].caller.call("AddOrder", **ADD, price="60000", volume="0.5")
    first, second, stranger = (ear.frames("executions") for ear in ears)
    assert first == second
    assert len(first) == 2
    assert stranger == []


def test_heartbeats_begin_with_a_private_subscription_too(ear: Listening) -> None:
    ear.subscribe("balances")
    ear.caller.exchange.advance(3.5)
    assert taken(ear.session).count(b'{"channel":"heartbeat"}') == 3


def test_an_ended_session_is_told_nothing_and_holds_no_token(ear: Listening) -> None:
    ear.subscribe("executions")
    ear.session.closed(1.0)
    ear.caller.exchange.advance(1.1)
    assert ear.caller.exchange.listeners_to("main") == []
    (token,) = ear.caller.exchange.accounts.tokens.of("main")
    assert token.sessions == {}


# -- faults


def sequences(frames: list[dict[str, Any]]) -> list[int]:
    return [frame["sequence"] for frame in frames]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("drop_private_frame", [4, 5]),
        ("duplicate_private_frame", [2, 2, 3, 3, 4, 5]),
        ("reorder_private_frames", [3, 2, 5, 4]),
    ],
)
def test_a_fault_of_frames_is_seen_by_their_numbers_and_hits_as_often_as_told(
    ear: Listening, fault: str, expected: list[int]
) -> None:
    ear.subscribe("executions")
    faults = ear.caller.exchange.faults
    done = faults.apply(fault, {"times": 2, "account": "main"}, 0.0)
    for price in (60000, 60001):
        ear.caller.call("AddOrder", **ADD, price=price, volume="0.5")
    assert sequences(ear.frames("executions")) == expected
    assert faults.record(int(str(done["id"]))).hits == 2
    assert ear.caller.exchange.accounts["main"].orders  # the truth stays whole


def test_a_ledger_update_can_be_lost(ear: Listening) -> None:
    ear.subscribe("balances")
    ear.caller.exchange.faults.apply("drop_private_frame", {"channel": "balances"}, 0.0)
    ear.caller.call("AddOrder", pair="XBTUSD", type="buy", ordertype="market", volume="0.0001")
    assert sequences(ear.frames("balances")) == [3]


def test_an_update_that_is_withheld_has_no_number_and_only_rest_knows_of_it(ear: Listening) -> None:
    ear.subscribe("balances")
    ear.caller.exchange.faults.apply("withhold_private_frame", {"channel": "balances"}, 0.0)
    for amount in ("1", "2"):
        ear.caller.exchange.private.operator.deposit("main", asset="USD", amount=amount)
    (told,) = ear.frames("balances")
    assert told["sequence"] == 2
    assert str(told["data"][0]["balance"]) == "1000003.0000"
    assert ear.caller.call("BalanceEx")["ZUSD"]["balance"] == "1000003.0000"


def test_a_late_snapshot_holds_everything_back_and_has_it_all(ear: Listening) -> None:
    ear.caller.exchange.faults.apply("delay_private_snapshot", {"seconds": 3.0}, 0.0)
    assert len(ear.subscribe("executions")) == 1
    txid = ear.caller.call("AddOrder", **ADD, price="60000", volume="0.5")["txid"][0]
    assert ear.frames("executions") == []
    ear.caller.now = 3.1
    (snapshot,) = ear.frames("executions")
    assert (snapshot["type"], snapshot["sequence"]) == ("snapshot", 1)
    assert [row["order_id"] for row in snapshot["data"]] == [txid]


@pytest.mark.parametrize("mode", ["keep", "close"])
def test_revoked_tokens_are_worthless_at_once(ear: Listening, mode: str) -> None:
    ear.subscribe("executions")
    ear.caller.exchange.faults.apply("revoke_tokens", {"account": "main", "mode": mode}, 0.0)
    if mode == "close":
        assert taken(ear.session) == [Close(1008, "session revoked")]
        return
    (refused,) = ear.subscribe("balances")
    assert refused["error"] == "ESession:Invalid session"
    ear.caller.call("AddOrder", **ADD, price="60000", volume="0.5")
    assert sequences(ear.frames("executions")) == [2, 3]


def test_a_good_token_can_be_refused_as_often_as_told(ear: Listening) -> None:
    ear.caller.exchange.faults.apply("refuse_private_subscriptions", {"times": 2}, 0.0)
    for _ in range(2):
        (refused,) = ear.subscribe("executions")
        assert refused["error"] == "ESession:Invalid session"
    assert len(ear.subscribe("executions")) == 2


def test_the_private_line_can_be_cut_and_nothing_else_with_it(ear: Listening) -> None:
    exchange = ear.caller.exchange
    public, idle = exchange.connect("public", 0.0), exchange.connect("auth", 0.0)
    ear.subscribe("executions")
    exchange.faults.apply("cut_private_line", {"account": "main"}, 0.0)
    assert taken(ear.session) == [Abort()]
    assert public.open
    assert idle.open


def test_a_deleted_key_is_unknown_and_so_are_its_tokens_until_all_faults_end(ear: Listening) -> None:
    faults = ear.caller.exchange.faults
    faults.apply("delete_key", {}, 0.0)
    assert ear.caller.error("Balance") == "EAPI:Invalid key"
    (refused,) = ear.subscribe("executions")
    assert refused["error"] == "ESession:Invalid session"
    faults.end_all(now=0.0)
    assert ear.caller.call("Balance")


def test_permissions_lockouts_and_nonces_can_be_taken_away(ear: Listening) -> None:
    faults, caller = ear.caller.exchange.faults, ear.caller
    faults.apply("drop_permission", {"permission": "query-funds"}, 0.0)
    assert caller.error("Balance") == "EGeneral:Permission denied"
    faults.apply("lock_out", {"seconds": 10.0}, 0.0)
    assert caller.error("OpenOrders") == "EGeneral:Temporary lockout"
    caller.now = 10.1
    assert caller.call("OpenOrders") == {"open": {}}
    faults.end_all(now=10.1)
    assert caller.call("Balance")
    faults.apply("take_nonce", {"ahead": 2.0}, 10.1)
    assert caller.error("Balance") == "EAPI:Invalid nonce"
    caller.nonce = caller.exchange.accounts.api_keys[caller.key].last_nonce
    assert caller.call("Balance")


def test_numbers_are_plain_digits_in_every_frame(ear: Listening) -> None:
    ear.subscribe("executions", ratecounter=True)
    ear.subscribe("balances")
    ear.caller.call("AddOrder", pair="XBTUSD", type="buy", ordertype="market", volume="0.0001")
    for frame in taken(ear.session):
        assert isinstance(frame, bytes)
        json.loads(frame)
        assert b"e-" not in frame
