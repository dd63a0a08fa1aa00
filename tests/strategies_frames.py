"""Strategies for WebSocket v2 frames: well-formed ones, broken ones, and the number tokens in them."""

from __future__ import annotations

import json

from hypothesis import strategies as st

SNAPSHOT = (
    b'{"channel":"book","type":"snapshot","data":[{"symbol":"GST/USD","bids":[{"price":0.016,"qty":255965.95133811},'
    b'{"price":0.010,"qty":211909.56878553}],"asks":[{"price":0.017,"qty":94510.50669693}],"checksum":1931231958}]}'
)
UPDATE = (
    b'{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[],"asks":[{"price":63502.0,'
    b'"qty":0.01573311}],"checksum":1007031556,"timestamp":"2026-07-07T23:00:04.031158Z"}]}'
)
TICKER = (
    b'{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","bid":83744.2,"bid_qty":0.56251979,'
    b'"ask":83744.3,"ask_qty":0.00044780,"last":83744.3,"volume":3156.84782110,"vwap":84174.6,"low":83163.6,'
    b'"high":85247.4,"change":-429.3,"change_pct":-0.51,"trades":135262,"timestamp":"2026-09-25T17:48:26.844359Z"}]}'
)
TRADE = (
    b'{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"buy","price":83744.3,"qty":0.00044780,'
    b'"ord_type":"limit","trade_id":109116693,"timestamp":"2026-09-25T17:48:26.844359Z"}]}'
)
OHLC = (
    b'{"channel":"ohlc","type":"update","timestamp":"2026-09-25T17:48:26.844359566Z","data":[{"symbol":"BTC/USD",'
    b'"open":83729.5,"high":83745.2,"low":83729.4,"close":83744.3,"trades":33,"volume":0.21155628,"vwap":83736.4,'
    b'"interval_begin":"2026-09-25T17:48:00.000000000Z","interval":1,"timestamp":"2026-09-25T17:49:00.000000Z"}]}'
)
INSTRUMENT = (
    b'{"channel":"instrument","type":"snapshot","data":{"assets":[{"id":"USD","status":"enabled"}],"pairs":['
    b'{"symbol":"EUR/USD","base":"EUR","quote":"USD","status":"online","qty_precision":8,"qty_increment":0.00000001,'
    b'"price_precision":5,"cost_precision":5,"marginable":true,"has_index":true,"cost_min":0.50,"tick_size":0.00001,'
    b'"price_increment":0.00001,"qty_min":0.50000000}]}}'
)
STATUS = (
    b'{"channel":"status","type":"update","data":[{"version":"2.0.10","system":"online","api_version":"v2",'
    b'"connection_id":18125794168470749634,"upcoming_maintenance":[],"emergency":[]}]}'
)
HEARTBEAT = b'{"channel":"heartbeat"}'
PONG = (
    b'{"method":"pong","req_id":101,"time_in":"2023-09-24T14:10:23.799685Z","time_out":"2023-09-24T14:10:23.799703Z"}'
)
ACK = (
    b'{"method":"subscribe","req_id":11,"result":{"channel":"book","depth":10,"snapshot":true,"symbol":"BTC/USD",'
    b'"warnings":["this is deprecated"]},"success":true,"time_in":"2024-05-19T16:27:13Z"}'
)
REFUSAL = b'{"error":"Currency pair not supported XBT/USD","method":"subscribe","success":false,"symbol":"XBT/USD"}'
PRIVATE_REFUSAL = (
    b'{"channel":"executions","error":"ESession:Invalid session","method":"subscribe","status":"error","success":false}'
)
EXECUTIONS = b'{"channel":"executions","type":"snapshot","data":[],"sequence":1}'

MARKET_FRAMES = [SNAPSHOT, UPDATE, TICKER, TRADE, OHLC, INSTRUMENT, STATUS, HEARTBEAT]
FRAMES = [*MARKET_FRAMES, PONG, ACK, REFUSAL, PRIVATE_REFUSAL, EXECUTIONS]

_HOSTILE_TOKENS = [
    b"NaN", b"Infinity", b"-Infinity", b"1e999999999", b"1E-99", b"9" * 5000, b"0." + b"9" * 5000, b"-0", b"-0.0",
    b"01", b"1.", b".5", b"+1", b"0x1", b"null", b"true", b'"5"', b'"\\ud800"', b'"\\udc00x"', b'"\xff"', b"",
    b"[" * 40 + b"]" * 40, b"[" * 3000, b'{"a":' * 50 + b"1" + b"}" * 50, b'{"a":1,"a":2}',
    b'"' + b'\\"' * 2000, b"18446744073709551616",
]  # fmt: skip

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)

_NAMES = [
    "channel", "method", "type", "data", "symbol", "bids", "asks", "price", "qty", "checksum", "success", "result",
    "req_id", "error", "assets", "pairs", "system", "connection_id", "warnings", "depth", "last", "trade_id",
]  # fmt: skip
_WORDS = [
    "book", "ticker", "trade", "ohlc", "instrument", "status", "heartbeat", "snapshot", "update", "subscribe", "pong",
    "executions", "BTC/USD", "buy", "limit",
]  # fmt: skip


def _like(leaf: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.recursive(
        leaf,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=6),
        max_leaves=20,
    )


grammar_frames = st.dictionaries(st.sampled_from(_NAMES), _like(json_values | st.sampled_from(_WORDS)), max_size=6).map(
    lambda fields: json.dumps(fields).encode()
)
"""JSON objects in the venue's words, put together in ways the venue would not."""


@st.composite
def mutated_frames(draw: st.DrawFn) -> bytes:
    """Return a real frame with some bytes cut, doubled, replaced, or a value swapped for a hostile one."""
    frame = draw(st.sampled_from(FRAMES))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(frame)))
        end = min(len(frame), start + draw(st.integers(0, 12)))
        middle = draw(
            st.sampled_from(_HOSTILE_TOKENS) | st.binary(max_size=6) | st.just(frame[start:end] * 2) | st.just(b"")
        )
        if draw(st.booleans()):  # put it where a value stands, so that the frame often stays JSON
            colon = frame.find(b":", start)
            if colon >= 0:
                start = colon + 1
                ends = [at for at in (frame.find(b",", start), frame.find(b"}", start)) if at >= 0]
                end = min(ends, default=len(frame))
        frame = frame[:start] + middle + frame[end:]
    return frame


def decimal_tokens(max_whole: int = 10, max_fraction: int = 10) -> st.SearchStrategy[bytes]:
    """Return number tokens as the venue writes them: digits, a point, digits."""
    whole = st.from_regex(rf"\A(0|[1-9][0-9]{{0,{max_whole - 1}}})\Z")
    fraction = st.from_regex(rf"\A[0-9]{{1,{max_fraction}}}\Z")
    return st.builds(lambda left, right: f"{left}.{right}".encode(), whole, fraction)
