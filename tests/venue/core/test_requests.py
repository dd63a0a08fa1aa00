"""What a session is told: acks, errors word for word, and that nothing a client sends can do harm."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.venue.core.naive_client import ask, decoded, opened, subscribe, taken

PRIVATE = "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com"
PUBLIC = "Public market data subscriptions are unavailable on this endpoint. Try ws.kraken.com"


def answers(kind: str, text: bytes) -> list[dict[str, Any]]:
    session = opened().connect(kind, 0.0)
    taken(session)
    session.receive(text, 0.1)
    return decoded(taken(session))


def sub(**params: Any) -> bytes:
    return json.dumps({"method": "subscribe", "params": params, "req_id": 9}).encode()


@pytest.mark.parametrize(
    ("kind", "text", "error", "method", "symbol"),
    [
        ("public", b"", "Malformed request", "error", None),
        ("public", b"{", "Malformed request", "error", None),
        ("public", b"[]", "Malformed request", "error", None),
        ("public", b"{}", "Malformed request", "error", None),
        ("public", b'{"method":5}', "Malformed request", "error", None),
        ("public", b"\xff\xfe", "Malformed request", "error", None),
        ("public", b"[" * 100_000, "Malformed request", "error", None),
        ("public", b'{"method":"ping","x":"' + b"y" * 300_000 + b'"}', "Malformed request", "error", None),
        ("public", b'{"method":"dance"}', "Unsupported event", "dance", None),
        ("public", sub(channel="orders", symbol=["BTC/USD"]), "Unsupported event", "subscribe", None),
        ("public", sub(symbol=["BTC/USD"]), "Unsupported event", "subscribe", None),
        (
            "public",
            b'{"method":"ping","params":{},"req_id":0}',
            "Unsupported field: 'params' for the given msg type: ping",
            "ping",
            None,
        ),
        (
            "public",
            b'{"method":"subscribe","channel":"book"}',
            "Unsupported field: 'channel' for the given msg type: subscribe",
            "subscribe",
            None,
        ),
        (
            "public",
            sub(channel="trade", symbol=["BTC/USD"], depth=10),
            "Unsupported field: 'depth' for the given msg type: subscribe",
            "subscribe",
            "BTC/USD",
        ),
        ("public", b'{"method":"ping","req_id":"1"}', "Req_id field must be a number_integer", "ping", None),
        ("public", b'{"method":"subscribe","params":[]}', "Params field must be an object", "subscribe", None),
        ("public", sub(channel="book", symbol="BTC/USD"), "Symbol field must be an array", "subscribe", None),
        ("public", sub(channel="book", symbol=[5]), "Symbol field must be an array of strings", "subscribe", None),
        (
            "public",
            sub(channel="book", symbol=["BTC/USD", None]),
            "Symbol field must be an array of strings",
            "subscribe",
            None,
        ),
        ("public", sub(channel="book"), "Symbol(s) not found", "subscribe", None),
        ("public", sub(channel="book", symbol=[]), "Symbol(s) not found", "subscribe", None),
        (
            "public",
            sub(channel="book", symbol=["XBT/USD"]),
            "Currency pair not supported XBT/USD",
            "subscribe",
            "XBT/USD",
        ),
        (
            "public",
            sub(channel="book", symbol=["BTC/USD"], depth=11),
            "Subscription depth not supported",
            "subscribe",
            "BTC/USD",
        ),
        (
            "public",
            sub(channel="book", symbol=["BTC/USD"], depth="10"),
            "Depth field must be a number_integer",
            "subscribe",
            "BTC/USD",
        ),
        (
            "public",
            sub(channel="ohlc", symbol=["BTC/USD"], interval=2),
            "Subscription ohlc interval not supported",
            "subscribe",
            "BTC/USD",
        ),
        (
            "public",
            sub(channel="book", symbol=["BTC/USD"], snapshot=1),
            "Snapshot field must be a boolean",
            "subscribe",
            "BTC/USD",
        ),
        (
            "public",
            sub(channel="ticker", symbol=["BTC/USD"], event_trigger="x"),
            "Event_trigger field must be one of trades, bbo",
            "subscribe",
            "BTC/USD",
        ),
        (
            "public",
            sub(channel="instrument", execution_venue="mars"),
            "Execution_venue field must be one of international, bitnomial-exchange",
            "subscribe",
            None,
        ),
        (
            "public",
            sub(channel="instrument", execution_venue=["international"]),
            "Execution_venue field must be one of international, bitnomial-exchange",
            "subscribe",
            None,
        ),
        (
            "public",
            sub(channel="instrument", include_tokenized_assets="yes"),
            "Include_tokenized_assets field must be a boolean",
            "subscribe",
            None,
        ),
        (
            "public",
            b'{"method":"unsubscribe","params":{"channel":"book","symbol":["BTC/USD"]}}',
            "Subscription Not Found",
            "unsubscribe",
            "BTC/USD",
        ),
        ("public", sub(channel="executions", token="t"), PRIVATE, "subscribe", None),
        ("public", sub(channel="level3", symbol=["BTC/USD"]), PRIVATE, "subscribe", None),
        ("public", b'{"method":"add_order","params":{}}', PRIVATE, "add_order", None),
        ("auth", sub(channel="book", symbol=["BTC/USD"]), PUBLIC, "subscribe", None),
        ("auth", sub(channel="executions"), "Token(s) not found", "subscribe", None),
        ("auth", sub(channel="balances", token="stale"), "ESession:Invalid session", "subscribe", None),
        ("auth", b'{"method":"add_order","params":{"token":"stale"}}', "ESession:Invalid session", "add_order", None),
    ],
    ids=str,
)
def test_every_refusal_has_the_words_of_the_venue(
    kind: str, text: bytes, error: str, method: str, symbol: str | None
) -> None:
    (answer,) = answers(kind, text)
    assert (answer["error"], answer["method"], answer["success"]) == (error, method, False)
    assert answer.get("symbol") == symbol
    assert "result" not in answer
    assert list(answer) == sorted(answer)
    assert answer["time_in"] < answer["time_out"]


def test_a_bad_token_is_refused_with_channel_and_status() -> None:
    (answer,) = answers("auth", sub(channel="executions", token="stale"))
    assert (answer["channel"], answer["status"]) == ("executions", "error")


ACKS = [
    ("book", {}, {"channel": "book", "depth": 10, "snapshot": True, "symbol": "BTC/USD"}),
    (
        "book",
        {"depth": 25, "snapshot": False},
        {"channel": "book", "depth": 25, "snapshot": False, "symbol": "BTC/USD"},
    ),
    ("ticker", {}, {"channel": "ticker", "event_trigger": "trades", "snapshot": True, "symbol": "BTC/USD"}),
    ("trade", {}, {"channel": "trade", "snapshot": False, "symbol": "BTC/USD"}),
    ("trade", {"snapshot": True}, {"channel": "trade", "snapshot": True, "symbol": "BTC/USD"}),
    (
        "ohlc",
        {"interval": 60},
        {
            "channel": "ohlc",
            "interval": 60,
            "snapshot": True,
            "symbol": "BTC/USD",
            "warnings": ["timestamp is deprecated, use interval_begin"],
        },
    ),
]


@pytest.mark.parametrize(("channel", "params", "result"), ACKS)
def test_an_ack_echoes_what_was_subscribed(channel: str, params: dict[str, Any], result: dict[str, Any]) -> None:
    ack = subscribe(opened().connect("public", 0.0), 0.1, channel, ["BTC/USD"], **params)[1]
    assert list(ack) == ["method", "result", "success", "time_in", "time_out"]
    assert (ack["method"], ack["success"]) == ("subscribe", True)
    assert list(ack["result"].items()) == list(result.items())
    assert ack["time_in"] < ack["time_out"]


def test_an_unsubscription_is_acked_without_snapshot_and_warnings_and_ends_the_stream() -> None:
    exchange = opened()
    session = exchange.connect("public", 0.0)
    subscribe(session, 0.1, "ohlc", ["BTC/USD"], interval=5)
    (ack,) = ask(session, 0.1, "unsubscribe", params={"channel": "ohlc", "symbol": ["BTC/USD"], "interval": 5})
    assert ack["result"] == {"channel": "ohlc", "interval": 5, "symbol": "BTC/USD"}
    exchange.advance(4.0)
    assert {frame["channel"] for frame in decoded(taken(session))} == {"heartbeat"}


def test_instrument_needs_no_symbol_and_is_acked_once() -> None:
    session = opened().connect("public", 0.0)
    _, ack, snapshot = ask(session, 0.1, "subscribe", params={"channel": "instrument"}, req_id=3)
    warnings = ["tick_size is deprecated, use price_increment"]
    assert ack["result"] == {"channel": "instrument", "snapshot": True, "warnings": warnings}
    assert snapshot["type"] == "snapshot"
    (ack,) = ask(session, 0.2, "unsubscribe", params={"channel": "instrument"})
    assert ack["result"] == {"channel": "instrument"}


def test_instrument_takes_the_venues_that_the_documentation_names() -> None:
    for name in ("international", "bitnomial-exchange"):
        params = {"channel": "instrument", "execution_venue": name, "include_tokenized_assets": True}
        assert ask(opened().connect("public", 0.0), 0.1, "subscribe", params=params)[1]["success"]


@given(
    st.lists(st.sampled_from(["BTC/USD", "ETH/USD", "SOL/USD", "XBT/USD", "A/B"]), min_size=1, max_size=12),
    st.none() | st.integers(0, 2**40),
)
@settings(max_examples=25, deadline=None)
def test_every_symbol_of_a_request_gets_one_answer_in_order_before_the_snapshots(
    symbols: list[str], req_id: int | None
) -> None:
    session = opened().connect("public", 0.0)
    taken(session)
    request = {"params": {"channel": "book", "symbol": symbols}} | ({} if req_id is None else {"req_id": req_id})
    frames = ask(session, 0.0, "subscribe", **request)
    replies, snapshots = frames[: len(symbols)], frames[len(symbols) :]
    assert [r.get("symbol") or r["result"]["symbol"] for r in replies] == symbols
    assert all(r.get("req_id") == req_id and ("req_id" in r) == (req_id is not None) for r in replies)
    taken_once = list(dict.fromkeys(s for s in symbols if s in ("BTC/USD", "ETH/USD", "SOL/USD")))
    assert [f["data"][0]["symbol"] for f in snapshots] == taken_once
    for reply in replies:
        again = "Already subscribed"
        assert reply["success"] or reply["error"] in (again, f"Currency pair not supported {reply['symbol']}")


def test_several_intervals_may_be_subscribed_together_but_not_several_depths() -> None:
    session = opened().connect("public", 0.0)
    for interval in (1, 5):
        assert "error" not in subscribe(session, 0.1, "ohlc", ["BTC/USD"], interval=interval)[-2]
    assert subscribe(session, 0.1, "book", ["BTC/USD"])[0]["success"]
    (refusal,) = subscribe(session, 0.1, "book", ["BTC/USD"], depth=25)
    assert (refusal["error"], refusal["symbol"]) == ("Already subscribed", "BTC/USD")


def test_an_unsubscription_must_name_the_depth_that_is_subscribed() -> None:
    session = opened().connect("public", 0.0)
    subscribe(session, 0.1, "book", ["BTC/USD"], depth=25)
    (refusal,) = ask(session, 0.1, "unsubscribe", params={"channel": "book", "symbol": ["BTC/USD"]})
    assert refusal["error"] == "Subscription Not Found"


def test_a_pong_has_neither_success_nor_result() -> None:
    session = opened().connect("public", 0.0)
    taken(session)
    (pong,) = ask(session, 0.5, "ping", req_id=101)
    assert list(pong) == ["method", "req_id", "time_in", "time_out"]
    assert (pong["method"], pong["req_id"]) == ("pong", 101)
    assert pong["time_in"] == "2026-07-07T23:00:04.447173Z"
    (pong,) = ask(session, 0.5, "ping")
    assert "req_id" not in pong


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
    max_leaves=8,
)
NEAR_REQUESTS = st.fixed_dictionaries(
    {"method": st.sampled_from(["subscribe", "unsubscribe", "ping", "add_order"])},
    optional={
        "req_id": JSON,
        "params": JSON
        | st.fixed_dictionaries(
            {"channel": st.sampled_from(["book", "ticker", "trade", "ohlc", "instrument", "executions"]) | JSON},
            optional={
                "symbol": st.lists(st.sampled_from(["BTC/USD", "?"])) | JSON,
                "depth": st.sampled_from([10, 25]) | JSON,
                "interval": JSON,
                "snapshot": st.booleans() | JSON,
                "event_trigger": JSON,
            },
        ),
    },
)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60) | JSON.map(json.dumps).map(str.encode) | NEAR_REQUESTS.map(json.dumps).map(str.encode))
def test_whatever_a_client_sends_the_answer_is_a_frame(text: bytes) -> None:
    for kind in ("public", "auth"):
        session = SHARED.connect(kind, 0.0)
        taken(session)
        session.receive(text, 0.0)
        replies = decoded(taken(session))
        assert replies
        assert all("method" in reply or "channel" in reply for reply in replies)
        session.closed(0.0)


SHARED = opened()
