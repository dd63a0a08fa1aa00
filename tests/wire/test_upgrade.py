from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.errors import ConnectFailed, UpgradeRejected
from kraken_engine.wire.upgrade import ReplyHead

ACCEPTED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
NOON_S = 1_795_348_800.0  # 2026-11-22 12:00:00 UTC


def head(limit: int = 1000) -> ReplyHead:
    return ReplyHead(target="ws://h/", max_bytes=limit)


def rejected(reply: bytes) -> UpgradeRejected:
    with pytest.raises(UpgradeRejected) as caught:
        head().feed(reply, wall_s=NOON_S)
    return caught.value


@given(st.binary(max_size=20), st.integers(1, 80))
def test_the_head_ends_at_the_empty_line_however_it_is_cut(rest: bytes, size: int) -> None:
    reply, wire = head(), ACCEPTED + rest
    for at in range(0, len(wire), size):
        done = reply.feed(wire[at : at + size], wall_s=0.0)
        if done is not None:
            assert done[0] == ACCEPTED
            assert done[1] == wire[len(ACCEPTED) : at + size]
            return
    raise AssertionError("the head never ended")


@pytest.mark.parametrize("status", [200, 301, 302, 307, 400, 403, 429, 500, 503])
def test_any_other_status_is_a_refusal_known_before_the_body(status: int) -> None:
    error = rejected(b"HTTP/1.1 %d Whatever\r\nLocation: wss://elsewhere/\r\nContent-Length: 9999999\r\n\r\n" % status)
    assert error.status == status
    assert error.stage == "upgrade"


@pytest.mark.parametrize(
    ("status", "header", "floor_s"),
    [
        (403, b"", 30.0),
        (429, b"", 30.0),
        (429, b"Retry-After: 7\r\n", 30.0),
        (429, b"retry-AFTER:120  \r\n", 120.0),
        (429, b"Retry-After: 999999999999\r\n", 3600.0),
        (429, b"Retry-After: Sun, 22 Nov 2026 12:05:00 GMT\r\n", 300.0),
        (429, b"Retry-After: Sun, 22 Nov 2026 11:00:00 GMT\r\n", 30.0),
        (429, b"Retry-After: tomorrow\r\n", 30.0),
        (429, b"Retry-After: -5\r\n", 30.0),
        (429, b"Retry-After: " + b"9" * 900 + b"\r\n", 3600.0),
        (503, b"", 0.0),
        (503, b"Retry-After: 5\r\n", 5.0),
        (500, b"Retry-After: \xb2\r\n", 0.0),
    ],
)
def test_a_refusal_says_how_long_to_stay_away(status: int, header: bytes, floor_s: float) -> None:
    assert rejected(b"HTTP/1.1 %d X\r\n" % status + header + b"\r\n").retry_floor_s == floor_s


@pytest.mark.parametrize(
    "junk",
    [
        b"\x15\x03\x03\x00\x02\x02\x46",
        b"SSH-2.0-x\r\n",
        b"<html>",
        b"HTTP/2 101\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"\n\n",
    ],
)
def test_what_is_not_http_fails_at_once(junk: bytes) -> None:
    with pytest.raises(ConnectFailed, match=r"HTTP/1\.1") as caught:
        head().feed(junk, wall_s=0.0)
    assert caught.value.stage == "upgrade"
    assert not isinstance(caught.value, UpgradeRejected)


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_head_above_the_limit_is_refused_as_soon_as_it_is(size: int) -> None:
    reply, wire = head(limit=200), ACCEPTED[:-2] + b"X: " + b"y" * 5000 + b"\r\n\r\n"
    with pytest.raises(ConnectFailed, match="above 200 bytes"):
        for at in range(0, 200 + size, size):
            reply.feed(wire[at : at + size], wall_s=0.0)


def test_closing_before_the_head_is_complete_says_how_far_it_got() -> None:
    reply = head()
    assert reply.feed(ACCEPTED[:20], wall_s=0.0) is None
    with pytest.raises(ConnectFailed, match="closed after 20 bytes"):
        reply.feed(b"", wall_s=0.0)


@given(st.binary(max_size=200) | st.binary(max_size=150).map(b"HTTP/1.1 ".__add__))
def test_any_bytes_are_a_head_a_failure_or_an_unfinished_head(data: bytes) -> None:
    try:
        head().feed(data, wall_s=0.0)
    except ConnectFailed:
        return
