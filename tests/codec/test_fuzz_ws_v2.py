"""Whatever a peer sends, decoding ends soon, with a message or a DecodeError.

Work is counted, not timed: Python function calls a frame, which for input of some kilobytes bounds the time.
"""

from __future__ import annotations

import os
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.strategies_frames import grammar_frames, mutated_frames

from kraken_engine.codec.caps import check_caps
from kraken_engine.codec.ws_v2 import (
    Ack,
    BookMessage,
    Decoder,
    InstrumentMessage,
    Message,
    OhlcMessage,
    Pong,
    StatusMessage,
    TickerMessage,
    TradeMessage,
    UnknownMessage,
)
from kraken_engine.errors import DecodeError
from kraken_engine.normalise.instruments import instrument_update, venue_status
from kraken_engine.normalise.market_data import candles, ticker_updates, trades

EXAMPLES = int(os.environ.get("KRAKEN_FUZZ_EXAMPLES", "400"))
"""Frames a test; more at night."""

MAX_CALLS = 20_000


@given(frame=mutated_frames())
@settings(max_examples=EXAMPLES, deadline=None)
def test_mutated_frames_give_a_message_or_a_decode_error(frame: bytes) -> None:
    exercise(frame)


@given(frame=grammar_frames)
@settings(max_examples=EXAMPLES, deadline=None)
def test_frames_in_the_venues_words_give_a_message_or_a_decode_error(frame: bytes) -> None:
    exercise(frame)


@given(frame=st.binary(max_size=400))
@settings(max_examples=EXAMPLES, deadline=None)
def test_arbitrary_bytes_give_a_message_or_a_decode_error(frame: bytes) -> None:
    exercise(frame)


@pytest.mark.parametrize(
    "frame",
    [
        b"[" * 100_000,
        b'{"channel":' * 100_000,
        b'{"channel":"book","type":"update","data":' + b"[{" * 50_000,
        b'{"channel":"heartbeat","x":' + b"9" * 5_000 + b"}",
        b'{"method":"pong","req_id":' + b"9" * 5_000 + b"}",
        b'{"channel":"heartbeat","x":1e999999999}',
        b'{"x":"' + b'\\"' * 50_000,
        b'"' * 100_001,
        b"\\" * 100_000,
        b'{"channel":"heartbeat","x":"' + b"[" * 100_000 + b'"}',
        b"{" + b",".join(b'"%d":1' % n for n in range(20_000)) + b"}",
        b'{"method":"x","success":true,"a":[' + b"[]," * 15_000 + b"[]]}",
        b'{"method":"x","success":true,' + b",".join(b'"%d":1' % n for n in range(5_000)) + b"}",
        b"\x00" * 10_000,
        b"\xff" * 10_000,
        "\u2028".encode() * 10_000,
    ],
    ids=lambda frame: repr(frame[:24]),
)
def test_hostile_frames_end_without_much_work(frame: bytes) -> None:
    exercise(frame)


@given(
    st.lists(st.sampled_from([b"[", b"]", b"{", b"}", b'"', b"\\", b"a"]), max_size=200).map(b"".join)
    | st.lists(st.sampled_from([b"[]", b"{}", b'["[[["]']), max_size=70).map(
        lambda pairs: b"".join(pair[:-1] for pair in pairs) + b"".join(pair[-1:] for pair in reversed(pairs))
    )
)
@settings(max_examples=EXAMPLES, deadline=None)
def test_the_look_at_depth_agrees_with_a_simple_count(frame: bytes) -> None:
    depth = deepest = 0
    inside = escaped = False
    balanced = True
    for byte in frame:
        char = chr(byte)
        if escaped:
            escaped = False
        elif inside:
            escaped, inside = char == "\\", char != '"'
        elif char == '"':
            inside = True
        elif char in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif char in "]}":
            depth -= 1
            balanced = balanced and depth >= 0
    try:
        check_caps(frame)
    except DecodeError:
        assert deepest > 32 or not balanced or depth != 0, "well-matched and shallow, yet refused"
    else:
        assert deepest <= 32 or not balanced or depth != 0 or inside, "well-matched and deep, yet accepted"


def exercise(frame: bytes) -> None:
    """Take ``frame`` through decoder and normaliser as a line does."""
    decoder = Decoder(sample_every=1)
    calls = 0
    refusal: DecodeError | None = None

    def count(_frame: object, event: str, _arg: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        message = decoder.decode(frame)
        normalise(message)
    except DecodeError as caught:
        refusal = caught
    finally:
        sys.setprofile(before)
    assert calls < MAX_CALLS
    if refusal is not None:
        assert refusal.path.startswith("$")
        assert len(str(refusal)) < 1000


def normalise(message: Message) -> None:
    rejected: list[DecodeError] = []
    match message:
        case TickerMessage():
            for update in ticker_updates(message, received_s=0.0, reject=rejected.append):
                assert update.bid.is_finite()
                assert update.change_pct is not None
                assert update.change_pct.is_finite()
        case TradeMessage():
            assert all(trade.price > 0 for trade in trades(message, received_s=0.0, reject=rejected.append))
        case OhlcMessage():
            assert all(candle.low <= candle.high for candle in candles(message, received_s=0.0, reject=rejected.append))
        case InstrumentMessage():
            instrument_update(message, received_s=0.0, reject=rejected.append)
        case StatusMessage():
            venue_status(message, at_s=0.0, reject=rejected.append)
        case BookMessage() | Ack() | Pong() | UnknownMessage():
            pass
    assert all(error.path.startswith("$.data") for error in rejected)
