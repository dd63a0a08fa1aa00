"""A replay is the live code on recorded bytes, and its counts are honest."""

from __future__ import annotations

import errno
import json
from zlib import crc32

import attrs
import pytest
from tests import strategies_frames as frames

from kraken_engine.errors import ConfigError, Stale
from kraken_engine.normalise.book_view import BookUpdate
from kraken_engine.normalise.events import Gap, Live, TradeGap, VenueStatus
from kraken_engine.store.instrument_file import read_instruments
from kraken_engine.store.recording import BookTally, Frame, Replay, is_legacy, read_frames, replay_frames


@attrs.frozen
class MemoryFiles:
    """Files of a process that has one."""

    content: bytes | None

    def read_bytes(self, path: str) -> bytes:
        if self.content is None:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        return self.content

    def write_private(self, path: str, data: bytes) -> None:
        raise PermissionError(path)

    def make_directory(self, path: str) -> None:
        raise PermissionError(path)

    def mode(self, path: str) -> int:
        return 0o600


def book(
    kind: str, bids: list[tuple[str, str]], asks: list[tuple[str, str]], after: list[list[tuple[str, str]]]
) -> bytes:
    """Return a book frame whose checksum is that of the sides ``after`` it: bids, then asks, best first."""
    text = "".join(
        (price.replace(".", "").lstrip("0") + qty.replace(".", "").lstrip("0"))
        for side in reversed(after)
        for price, qty in side[:10]
    )

    def levels(side: list[tuple[str, str]]) -> str:
        return ",".join(f'{{"price":{price},"qty":{qty}}}' for price, qty in side)

    return (
        f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"A/B","bids":[{levels(bids)}],"asks":[{levels(asks)}],'
        f'"checksum":{crc32(text.encode())}}}]}}'
    ).encode()


BIDS = [("9.5", "1.00"), ("9.4", "2.00")]
ASKS = [("9.6", "3.00")]
SNAPSHOT = book("snapshot", BIDS, ASKS, [BIDS, ASKS])
UPDATE = book("update", [], [("9.6", "4.00")], [BIDS, [("9.6", "4.00")]])
LOST = book("update", [("9.5", "7.00")], [], [[("9.5", "7.00"), ("9.4", "8.00")], [("9.6", "4.00")]])


def recording(*payloads: bytes) -> list[Frame]:
    return [Frame(number, payload) for number, payload in enumerate(payloads, start=1)]


def tally(**counts: int) -> BookTally:
    return BookTally(**{"verified": 0, "mismatched": 0, "malformed": 0, "without_snapshot": 0} | counts)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"a":1}\n\n  {"b":2}  \r\n', [Frame(1, b'{"a":1}'), Frame(3, b'{"b":2}')]),
        (b'{"a":1}', [Frame(1, b'{"a":1}')]),
        (b'{\n "a": 0.10\n}\n', [Frame(1, b'{\n "a": 0.10\n}\n')]),
        (b'[{"a":0.10},\n {"b": 2}]', [Frame(1, b'{"a":0.10}'), Frame(2, b'{"b": 2}')]),
        (b'[1,{"c":"x"},"book-10"]', [Frame(1, b'[1,{"c":"x"},"book-10"]')]),
        (b"not\xff json\n{}", [Frame(1, b"not\xff json"), Frame(2, b"{}")]),
        (b"[" * 100_000, [Frame(1, b"[" * 100_000)]),
    ],
)
def test_lines_an_array_and_a_single_document_are_all_recordings(content: bytes, expected: list[Frame]) -> None:
    assert read_frames(MemoryFiles(content), "x.jsonl") == expected


@pytest.mark.parametrize("content", [None, b"", b" \n \n", b"[]"])
def test_a_file_without_frames_is_a_mistake_of_the_caller(content: bytes | None) -> None:
    with pytest.raises(ConfigError, match=r"^x\.jsonl: expected a recording, got"):
        read_frames(MemoryFiles(content), "x.jsonl")


@pytest.mark.parametrize(
    ("payloads", "legacy"),
    [
        ([b'{"event":"systemStatus","status":"online"}', b"[1,{}]"], True),
        ([b'[336,{},"ticker","XBT/USD"]'], True),
        ([b"garbage", b'{"event":"heartbeat"}'], True),
        ([frames.HEARTBEAT, b"[1]"], False),
        ([frames.ACK], False),
        ([b"garbage", b"{}"], False),
        ([], False),
    ],
)
def test_the_older_protocol_is_recognised(payloads: list[bytes], legacy: bool) -> None:
    assert is_legacy(recording(*payloads)) is legacy


def test_verified_updates_are_counted_and_published() -> None:
    events: list[object] = []
    replay = Replay(publish=events.append)
    for frame in recording(SNAPSHOT, UPDATE):
        replay.feed(frame)
    summary = replay.summary()
    assert summary.books == {"A/B": tally(verified=2)}
    assert summary.events == {"BookUpdate": 2, "Live": 1}
    assert [type(event) for event in events] == [Live, BookUpdate, BookUpdate]
    assert (summary.frames, summary.decoded, summary.rejected_count, summary.losses) == (2, 2, 0, ())


def test_after_a_mismatch_a_book_waits_for_the_next_snapshot() -> None:
    events: list[object] = []
    replay = Replay(publish=events.append)
    for frame in recording(SNAPSHOT, LOST, UPDATE, UPDATE, SNAPSHOT, UPDATE):
        replay.feed(frame)
    summary = replay.summary()
    assert summary.books == {"A/B": tally(verified=3, mismatched=1, without_snapshot=2)}
    assert [type(event) for event in events] == [Live, BookUpdate, Stale, Gap, Live, BookUpdate, BookUpdate]
    assert [loss.line for loss in summary.losses] == [2]
    assert "checksum" in summary.losses[0].reason


def test_updates_before_any_snapshot_are_not_counted_as_verified() -> None:
    assert replay_frames(recording(UPDATE, UPDATE)).books == {"A/B": tally(without_snapshot=2)}


def test_an_undecodable_book_frame_costs_the_book_it_names() -> None:
    summary = replay_frames(recording(SNAPSHOT, UPDATE[:-5], UPDATE, SNAPSHOT))
    assert summary.books == {"A/B": tally(verified=2, without_snapshot=1)}
    assert (summary.decoded, summary.rejected_count) == (3, 1)
    assert [(rejection.line, rejection.reason[:3]) for rejection in summary.rejected] == [(2, "$: ")]
    assert [loss.line for loss in summary.losses] == [2]


def test_an_undecodable_frame_of_another_channel_costs_no_book() -> None:
    summary = replay_frames(recording(SNAPSHOT, frames.TICKER[:-5], b"CloudFlare WebSocket proxy restarting", UPDATE))
    assert summary.books == {"A/B": tally(verified=2)}
    assert summary.rejected_count == 2


def test_a_rejected_element_is_named_with_its_line() -> None:
    summary = replay_frames(recording(frames.HEARTBEAT, frames.TICKER.replace(b"83744.2", b'"83744.2"')))
    assert summary.decoded == 2
    assert [(rejection.line, rejection.reason) for rejection in summary.rejected] == [
        (2, "$.data[0].bid: expected a number, got the string '83744.2'")
    ]


def test_rejections_are_counted_beyond_those_that_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kraken_engine.store.recording.MAX_REJECTIONS", 3)
    summary = replay_frames(recording(*[b"garbage"] * 10))
    assert (summary.rejected_count, len(summary.rejected)) == (10, 3)


def test_trades_pass_once_with_their_gaps() -> None:
    later = frames.TRADE.replace(b"109116693", b"109116696")
    events: list[object] = []
    replay = Replay(publish=events.append)
    for frame in recording(frames.TRADE, frames.TRADE, later):
        replay.feed(frame)
    assert replay.summary().events == {"Trade": 2, "TradeGap": 1}
    gap = next(event for event in events if isinstance(event, TradeGap))
    assert (gap.first, gap.last) == (109116694, 109116695)


def test_every_channel_is_played() -> None:
    events: list[object] = []
    replay = Replay(publish=events.append)
    for frame in recording(*frames.FRAMES):
        replay.feed(frame)
    summary = replay.summary()
    assert summary.rejected_count == 0
    assert {"TickerUpdate", "Trade", "Candle", "InstrumentUpdate", "VenueStatus"} <= set(summary.events)
    assert summary.unknown_channels == {}
    assert any(isinstance(event, VenueStatus) for event in events)


def test_the_acknowledged_depth_is_the_depth_of_the_book() -> None:
    deep = [(f"9.{n:03}", "1.0") for n in range(900, 875, -1)]
    ack = b'{"method":"subscribe","success":true,"result":{"channel":"book","symbol":"A/B","depth":25}}'
    depths: list[int] = []

    def note(event: object) -> None:
        if isinstance(event, BookUpdate):
            depths.append(event.book.depth)

    replay = Replay(publish=note)
    for frame in recording(
        book("snapshot", deep, [], [deep, []]), SNAPSHOT, ack, SNAPSHOT, book("snapshot", deep, [], [deep, []])
    ):
        replay.feed(frame)
    assert depths == [25, 10, 25, 25], "guessed from the snapshot until the venue said"
    assert replay.summary().books == {"A/B": tally(verified=4)}, "another depth does not lose the counts before it"


def test_lost_zeros_come_back_with_the_precision_of_the_instrument() -> None:
    stripped = [frame.replace(b".00", b".0") for frame in (SNAPSHOT, UPDATE)]
    assert replay_frames(recording(*stripped)).books == {"A/B": tally(mismatched=1, without_snapshot=1)}
    table = MemoryFiles(b'{"A/B":{"price_decimals":1,"qty_decimals":2}}')
    summary = replay_frames(recording(*stripped), instruments=read_instruments(table, "x"))
    assert summary.books == {"A/B": tally(verified=2)}


def test_an_instrument_frame_in_the_recording_gives_the_precision_too() -> None:
    instrument = (
        frames.INSTRUMENT.replace(b"EUR/USD", b"A/B")
        .replace(b'"price_precision":5', b'"price_precision":1')
        .replace(b'"qty_precision":8', b'"qty_precision":2')
    )
    stripped = [frame.replace(b".00", b".0") for frame in (SNAPSHOT, UPDATE)]
    assert replay_frames(recording(instrument, *stripped)).books == {"A/B": tally(verified=2)}


def test_the_summary_is_plain_json() -> None:
    summary = replay_frames(recording(SNAPSHOT, LOST, b"x"))
    assert json.loads(json.dumps(summary.as_json())) == {
        "frames": 3,
        "decoded": 2,
        "rejected_count": 1,
        "rejected": [{"line": 3, "reason": summary.rejected[0].reason}],
        "losses": [{"line": 2, "reason": summary.losses[0].reason}],
        "events": {"BookUpdate": 1, "Live": 1, "Stale": 1},
        "books": {"A/B": {"verified": 1, "mismatched": 1, "malformed": 0, "without_snapshot": 0}},
        "unknown_channels": {},
        "unknown_fields": {},
    }


def test_the_same_recording_gives_the_same_summary() -> None:
    played = recording(*frames.FRAMES, SNAPSHOT, UPDATE, LOST, b"garbage", SNAPSHOT)
    assert replay_frames(played) == replay_frames(played)
