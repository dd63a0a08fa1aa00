from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.wire.harness import PING as PING_FRAME
from tests.wire.harness import PONG as PONG_FRAME
from tests.wire.harness import close, frame
from tests.wire.strategies_wire import CLOSES, VIOLATIONS, Sent, chunk_sizes, chunked, well_formed

from kraken_engine.wire.frames import CLOSE, PING, FrameSplitter, close_frame, control_frame


def splitter(*, size: int = 100_000, fragments: int = 64, pings: int = 10_000) -> FrameSplitter:
    return FrameSplitter(max_message_bytes=size, max_fragments=fragments, max_pings_per_s=pings)


def fed(s: FrameSplitter, pieces: list[bytes]) -> tuple[list[bytes], bytes]:
    texts, forward = [], b""
    for piece in pieces:
        cut = s.feed(piece, now=0.0)
        texts += cut.texts
        forward += cut.forward
    return texts, forward


@given(well_formed, chunk_sizes)
def test_messages_come_out_whole_and_in_order_however_the_bytes_are_cut(sent: Sent, sizes: list[int]) -> None:
    s = splitter()
    texts, forward = fed(s, chunked(sent.wire, sizes))
    assert texts == list(sent.texts)
    assert forward == b"".join(frame(p, PING_FRAME) for p in sent.pings)
    assert s.violation is None
    assert not s.closed


@pytest.mark.parametrize("name", VIOLATIONS)
@pytest.mark.parametrize("size", [1, 3, 100_000])
def test_a_violation_ends_the_cutting_with_its_code_after_what_came_before_it(name: str, size: int) -> None:
    wire, code = VIOLATIONS[name]
    s = splitter()
    before, after = frame(b"before") + frame(b"p", PING_FRAME), frame(b"after") + frame(b"q", PING_FRAME)
    texts, forward = fed(s, chunked(before + wire + after, [size]))
    assert texts == [b"before"]
    assert forward == frame(b"p", PING_FRAME)
    assert s.violation is not None
    assert s.violation.code == code


@pytest.mark.parametrize("name", CLOSES)
def test_a_close_frame_is_forwarded_and_nothing_after_it_is_looked_at(name: str) -> None:
    wire, _ = CLOSES[name]
    s = splitter()
    texts, forward = fed(s, [frame(b"before") + wire + frame(b"after"), b"\xff\xff\xff"])
    assert (texts, forward) == ([b"before"], wire)
    assert s.closed
    assert s.violation is None


@given(st.binary(max_size=300), chunk_sizes)
def test_any_bytes_give_the_same_result_in_any_pieces(data: bytes, sizes: list[int]) -> None:
    whole, pieces = splitter(size=200, fragments=3), splitter(size=200, fragments=3)
    assert fed(whole, [data]) == fed(pieces, chunked(data, sizes))
    assert str(whole.violation) == str(pieces.violation)
    assert whole.closed == pieces.closed


@pytest.mark.parametrize("declared", [101, 70_000, 1 << 62])
@pytest.mark.parametrize("first", [0x81, 0x01])
def test_a_message_above_the_limit_is_refused_by_its_declared_length(declared: int, first: int) -> None:
    s = splitter(size=100)
    length = b"\x65" if declared == 101 else b"\x7f" + declared.to_bytes(8, "big")
    fed(s, [frame(b"x" * 100), bytes((first,)) + length])
    assert s.violation is not None
    assert s.violation.code == 1009


def test_fragments_count_together_against_the_size_limit() -> None:
    s = splitter(size=100)
    texts, _ = fed(s, [frame(b"x" * 60, 0x01) + frame(b"x" * 40, 0x80) + frame(b"x" * 60, 0x01) + b"\x80\x29"])
    assert texts == [b"x" * 100]
    assert s.violation is not None
    assert s.violation.code == 1009


def test_a_message_of_too_many_fragments_is_refused() -> None:
    s = splitter(fragments=64)
    just = frame(b"", 0x01) + frame(b"", 0x00) * 62 + frame(b"x", 0x80)
    texts, _ = fed(s, [just + frame(b"", 0x01) + frame(b"", 0x00) * 64])
    assert texts == [b"x"]
    assert s.violation is not None
    assert s.violation.code == 1009


def test_no_more_pings_are_handed_on_in_any_second_than_allowed() -> None:
    s = splitter(pings=10)
    handed: list[float] = []
    for tenth in range(100):
        forward = s.feed(frame(b"", PING_FRAME) * 3, now=tenth / 10).forward
        handed += [tenth / 10] * (len(forward) // 2)
    assert s.pings == 300
    assert s.pings - s.pings_dropped == len(handed) >= 95
    for first, eleventh in zip(handed, handed[10:], strict=False):
        assert eleventh - first >= 1.0


def test_messages_between_dropped_pings_are_still_read() -> None:
    s = splitter(pings=1)
    texts, forward = fed(s, [(frame(b"p", PING_FRAME) + frame(b"m")) * 500])
    assert texts == [b"m"] * 500
    assert forward == frame(b"p", PING_FRAME)


def test_pongs_are_counted_and_dropped() -> None:
    s = splitter()
    assert fed(s, [frame(b"x", PONG_FRAME) * 3]) == ([], b"")
    assert s.pongs == 3


def test_no_ping_is_handed_on_once_we_are_closing() -> None:
    s = splitter()
    s.answering = False
    assert fed(s, [frame(b"p", PING_FRAME) + close()]) == ([], close())


@given(st.binary(max_size=125), st.integers(0, 2**32 - 1))
def test_a_control_frame_unmasks_to_its_payload(payload: bytes, key: int) -> None:
    made = control_frame(PING, payload, masking_key=key)
    assert made[:6] == bytes((0x89, 0x80 | len(payload))) + key.to_bytes(4, "big")
    assert bytes(b ^ made[2 + i % 4] for i, b in enumerate(made[6:])) == payload


def test_a_control_frame_cannot_be_made_too_long() -> None:
    with pytest.raises(ValueError, match="125"):
        control_frame(PING, b"x" * 126, masking_key=0)


def test_a_long_close_reason_is_cut_at_a_character() -> None:
    made = close_frame(1002, "€" * 100, masking_key=0)
    assert made[0] == 0x80 | CLOSE
    assert made[6:8] == b"\x03\xea"
    assert made[8:].decode() == "€" * 41
