"""What the real venue sent, and what its documents print, decodes and verifies.

One test per file of the recordings; ``test_every_file_is_accounted_for`` notices a new one.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from kraken_engine.codec.ws_v2 import Ack, BookMessage, Decoder, InstrumentMessage, Message, Pong, UnknownMessage
from kraken_engine.errors import DecodeError
from kraken_engine.model import Instrument
from kraken_engine.runtime import real_runtime
from kraken_engine.state.order_book import OrderBook
from kraken_engine.store.instrument_file import read_instruments
from kraken_engine.store.recording import BookTally, Frame, ReplaySummary, is_legacy, read_frames, replay_frames

FILES = real_runtime().files

REPLAYED: dict[str, tuple[str, int]] = {
    "book_btcusd_d10_capture.jsonl": ("BTC/USD", 562),
    "book_btcusd_d10_reserialised.jsonl": ("BTC/USD", 510),
    "book_gstusd_d10_snapshot.jsonl": ("GST/USD", 1),
    "book_matic_doc_example.jsonl": ("MATIC/USD", 2),
}
"""Books with every checksum: symbol and messages."""

LOST_ZEROS = {
    "book_btcusd_d10_reserialised.jsonl": b'{"BTC/USD":{"price_decimals":1,"qty_decimals":8}}',
    "book_matic_doc_example.jsonl": b'{"MATIC/USD":{"price_decimals":4,"qty_decimals":8}}',
}
"""Recordings that went through a decoder of floats, and the precisions that bring their zeros back."""

DECODED = {
    "balances_2024.jsonl": {"UnknownMessage": 3},
    "balances_doc_examples.jsonl": {"UnknownMessage": 4},
    "balances_snapshot_2026-01.jsonl": {"UnknownMessage": 1},
    "book_btcusd_excerpts.jsonl": {"BookMessage": 2},
    "errors_2024.jsonl": {"Ack": 7},
    "errors_live_2026.jsonl": {"Ack": 6},
    "executions_doc_examples.jsonl": {"UnknownMessage": 3},
    "executions_lifecycle_2026-01.jsonl": {"UnknownMessage": 6},
    "instrument_2026-01.jsonl": {"InstrumentMessage": 1},
    "instrument_doc_examples.jsonl": {"InstrumentMessage": 2},
    "level3_checksum_doc_example.json": {"UnknownMessage": 1},
    "level3_doc_excerpts.jsonl": {"Ack": 1, "UnknownMessage": 2},
    "order_acks_2026-01.jsonl": {"Ack": 6},
    "order_requests_and_acks_doc.jsonl": {"Ack": 10, "request": 10},
    "public_doc_examples.jsonl": {
        "Ack": 2,
        "HeartbeatMessage": 1,
        "OhlcMessage": 2,
        "Pong": 1,
        "StatusMessage": 1,
        "TickerMessage": 2,
        "TradeMessage": 2,
        "request": 2,
    },
    "public_live_2026-09.jsonl": {
        "Ack": 1,
        "HeartbeatMessage": 1,
        "OhlcMessage": 1,
        "StatusMessage": 1,
        "TickerMessage": 1,
        "TradeMessage": 1,
    },
    "subscribe_acks_2024.jsonl": {"Ack": 8},
    "subscribe_acks_2026-01.jsonl": {"Ack": 3},
}
"""What the frames of the other files are; ``request``: a client's frame, which no venue would send."""

WITH_STRINGS = "book_checksum_doc_example.json"
"""The documented example of the checksum, printed with strings for numbers."""


def frames_of(fixtures: Path, name: str) -> list[Frame]:
    return read_frames(FILES, str(fixtures / "ws_v2" / name))


def replayed(fixtures: Path, name: str, tmp_path: Path) -> ReplaySummary:
    instruments: tuple[Instrument, ...] = ()
    if name in LOST_ZEROS:
        table = tmp_path / "precisions.json"
        table.write_bytes(LOST_ZEROS[name])
        instruments = read_instruments(FILES, str(table))
    return replay_frames(frames_of(fixtures, name), instruments=instruments)


def decoded(frame: Frame) -> Message | str:
    """Return the message, or ``request`` for a client's frame."""
    if "params" in json.loads(frame.payload) or (b'"method":"ping"' in frame.payload and b"error" not in frame.payload):
        with pytest.raises(DecodeError, match=r"\$\.success"):
            Decoder().decode(frame.payload)
        return "request"
    return Decoder(sample_every=1).decode(frame.payload)


def test_every_file_is_accounted_for(fixtures: Path) -> None:
    there = {file.name for file in (fixtures / "ws_v2").iterdir()}
    assert there == {*REPLAYED, *DECODED, WITH_STRINGS}


@pytest.mark.parametrize("name", REPLAYED)
def test_every_checksum_of_a_recorded_book_verifies(fixtures: Path, tmp_path: Path, name: str) -> None:
    summary = replayed(fixtures, name, tmp_path)
    symbol, messages = REPLAYED[name]
    assert summary.books == {symbol: BookTally(verified=messages, mismatched=0, malformed=0, without_snapshot=0)}
    assert (summary.rejected, summary.losses) == ((), ())
    assert summary.decoded == summary.frames
    assert (summary.unknown_channels, summary.unknown_fields) == ({}, {})


@pytest.mark.parametrize("name", LOST_ZEROS)
def test_a_snapshot_that_shows_each_precision_once_makes_up_for_lost_zeros(fixtures: Path, name: str) -> None:
    (tally,) = replay_frames(frames_of(fixtures, name)).books.values()
    assert (tally.verified, tally.mismatched) == (REPLAYED[name][1], 0)


def test_one_changed_digit_is_found_and_nothing_is_shown_until_the_next_snapshot(fixtures: Path) -> None:
    frames = frames_of(fixtures, "book_btcusd_d10_capture.jsonl")
    at = next(
        index
        for index, frame in enumerate(frames)
        if b'"update","data":[{"symbol":"BTC/USD","bids":[],' in frame.payload
    )
    bad = frames[at].payload.replace(b'"qty":0.', b'"qty":1.', 1)
    frames[at] = Frame(frames[at].line, bad)
    summary = replay_frames(frames)
    (tally,) = summary.books.values()
    assert (tally.verified, tally.mismatched, tally.without_snapshot) == (1, 1, 560)
    assert [loss.line for loss in summary.losses] == [frames[at].line]
    assert summary.events["BookUpdate"] == 1


@pytest.mark.parametrize("name", DECODED)
def test_every_frame_decodes_as_what_it_is(fixtures: Path, name: str) -> None:
    kinds = Counter(
        found if isinstance(found, str) else type(found).__name__ for found in map(decoded, frames_of(fixtures, name))
    )
    assert kinds == DECODED[name]


@pytest.mark.parametrize("name", [*DECODED, *REPLAYED])
def test_a_replay_rejects_nothing_the_venue_sent(fixtures: Path, tmp_path: Path, name: str) -> None:
    summary = replayed(fixtures, name, tmp_path)
    assert summary.rejected_count == DECODED.get(name, {}).get("request", 0)
    assert summary.unknown_fields == {}


ACK_FILES = [
    "errors_2024.jsonl",
    "errors_live_2026.jsonl",
    "level3_doc_excerpts.jsonl",
    "order_acks_2026-01.jsonl",
    "order_requests_and_acks_doc.jsonl",
    "public_doc_examples.jsonl",
    "subscribe_acks_2024.jsonl",
    "subscribe_acks_2026-01.jsonl",
]


@pytest.mark.parametrize("name", ACK_FILES)
def test_every_field_of_a_reply_is_found(fixtures: Path, name: str) -> None:
    replies = 0
    for frame in frames_of(fixtures, name):
        sent = json.loads(frame.payload)
        if "success" not in sent:
            continue
        replies += 1
        result = sent["result"] if isinstance(sent.get("result"), dict) else {}
        assert Decoder().decode(frame.payload) == Ack(
            method=sent["method"],
            success=sent["success"],
            req_id=sent.get("req_id"),
            channel=result.get("channel", sent.get("channel")),
            symbol=result.get("symbol", sent.get("symbol")),
            depth=result.get("depth"),
            interval=result.get("interval"),
            event_trigger=result.get("event_trigger"),
            max_rate_count=result.get("maxratecount"),
            time_in=sent["time_in"],
            error=sent.get("error"),
            warnings=tuple(result.get("warnings", ())),
        )
    assert replies


def test_the_recorded_refusals_say_what_was_refused(fixtures: Path) -> None:
    refusals = [Decoder().decode(frame.payload) for frame in frames_of(fixtures, "errors_live_2026.jsonl")]
    assert refusals[0] == Ack(
        method="subscribe",
        success=False,
        symbol="XBT/USD",
        time_in="2026-09-25T17:48:54.701041Z",
        error="Currency pair not supported XBT/USD",
    )
    assert refusals[3] == Ack(
        method="subscribe",
        success=False,
        channel="executions",
        time_in="2026-09-25T17:58:09.493462Z",
        error="ESession:Invalid session",
    )


def test_the_recorded_pong_keeps_its_id_and_says_when_it_was_sent(fixtures: Path) -> None:
    pongs = [decoded(frame) for frame in frames_of(fixtures, "public_doc_examples.jsonl")]
    (pong,) = [pong for pong in pongs if isinstance(pong, Pong)]
    assert pong.req_id == 101
    assert pong.time_out is not None


def test_channels_of_another_line_are_recognised_and_left_alone(fixtures: Path) -> None:
    for name in ("balances_2024.jsonl", "executions_lifecycle_2026-01.jsonl", "level3_checksum_doc_example.json"):
        channels = {
            message.channel
            for message in map(decoded, frames_of(fixtures, name))
            if isinstance(message, UnknownMessage)
        }
        assert channels == {name.partition("_")[0]}


def test_the_documented_checksum_example_verifies_once_its_strings_are_numbers(fixtures: Path) -> None:
    (frame,) = frames_of(fixtures, WITH_STRINGS)
    (tally,) = replay_frames([frame]).books.values()
    assert (tally.verified, tally.malformed) == (0, 1), "a string is no number"
    document = json.loads(frame.payload)
    for side in ("bids", "asks"):
        for level in document["data"][0][side]:
            level["price"], level["qty"] = f"<{level['price']}>", f"<{level['qty']}>"
    payload = json.dumps(document).replace('"<', "").replace('>"', "").encode()
    message = Decoder().decode(payload)
    assert isinstance(message, BookMessage)
    book = OrderBook("BTC/USD", 10)
    book.apply(message.data[0], snapshot=True)
    assert book.view().checksum == 3310070434


def test_recordings_of_the_older_protocol_are_recognised(fixtures: Path) -> None:
    older = sorted((fixtures / "ws_v1").glob("*.jsonl"))
    assert older
    assert all(is_legacy(read_frames(FILES, str(file))) for file in older)
    assert not any(is_legacy(frames_of(fixtures, name)) for name in [*REPLAYED, *DECODED])


@pytest.mark.parametrize(
    ("name", "symbol", "decimals"),
    [
        ("rest/asset_pairs_2026-07.json", "DOGE/USD", (7, 8)),
        ("rest/asset_pairs_2026-09_excerpt.json", "BTC/USD", (1, 8)),
        ("ws_v2/instrument_2026-01.jsonl", "VET/USDT", (6, 5)),
        ("ws_v2/instrument_doc_examples.jsonl", "MATIC/GBP", (4, 8)),
    ],
)
def test_precisions_are_read_from_the_venues_own_documents(
    fixtures: Path, name: str, symbol: str, decimals: tuple[int, int]
) -> None:
    found = {each.symbol: each for each in read_instruments(FILES, str(fixtures / name))}
    assert (found[symbol].price_decimals, found[symbol].qty_decimals) == decimals


def test_recorded_instruments_are_complete(fixtures: Path) -> None:
    (frame,) = frames_of(fixtures, "instrument_2026-01.jsonl")
    message = Decoder().decode(frame.payload)
    assert isinstance(message, InstrumentMessage)
    summary = replay_frames([frame])
    assert (summary.rejected_count, summary.events) == (0, {"InstrumentUpdate": 1})
    assert len(message.data.pairs) == len(json.loads(frame.payload)["data"]["pairs"])
