"""What a WebSocket server may send: well-formed messages, control frames, violations, and ways to cut the bytes."""

from __future__ import annotations

import itertools
import struct

import attrs
from hypothesis import strategies as st
from tests.wire.harness import CLOSE, PING, PONG, close, frame


@attrs.frozen
class Sent:
    """Bytes on the wire and what a receiver must make of them."""

    wire: bytes
    texts: tuple[bytes, ...] = ()
    pings: tuple[bytes, ...] = ()


_payloads = st.one_of(
    st.text(max_size=40).map(str.encode),
    st.sampled_from([b"", b"x" * 125, b"x" * 126, b"y" * 300, b"z" * 65535, b"z" * 65536, "€".encode() * 50]),
)
_control_payloads = st.binary(max_size=8)
_controls = st.one_of(
    _control_payloads.map(lambda p: Sent(frame(p, PING), pings=(p,))),
    _control_payloads.map(lambda p: Sent(frame(p, PONG))),
)


@st.composite
def _fragmented(draw: st.DrawFn) -> Sent:
    """One message in 2 to 5 fragments (cut anywhere, characters too), with control frames between them."""
    payload = draw(_payloads)
    cuts = sorted(draw(st.lists(st.integers(0, len(payload)), min_size=1, max_size=4)))
    edges = [0, *cuts, len(payload)]
    wire = b""
    pings: tuple[bytes, ...] = ()
    for i, (start, stop) in enumerate(itertools.pairwise(edges)):
        last = i == len(edges) - 2
        wire += frame(payload[start:stop], (0x00 if i else 0x01) | (0x80 if last else 0))
        if not last and draw(st.booleans()):
            control = draw(_controls)
            wire += control.wire
            pings += control.pings
    return Sent(wire, (payload,), pings)


def _joined(many: list[Sent]) -> Sent:
    return Sent(
        b"".join(sent.wire for sent in many),
        tuple(text for sent in many for text in sent.texts),
        tuple(ping for sent in many for ping in sent.pings),
    )


well_formed = st.lists(
    st.one_of(_payloads.map(lambda p: Sent(frame(p), (p,))), _fragmented(), _controls), max_size=12
).map(_joined)
"""Any number of whole messages and control frames."""

VIOLATIONS = {
    "reserved bit": (frame(b"a", 0xC1), 1002),
    "reserved bit on a ping": (frame(b"a", 0xA9), 1002),
    "masked by the server": (b"\x81\x81\0\0\0\0a", 1002),
    "masked close": (b"\x88\x80\0\0\0\0", 1002),
    "reserved opcode": (frame(b"a", 0x83), 1002),
    "reserved control opcode": (frame(b"a", 0x8B), 1002),
    "fragmented ping": (frame(b"a", 0x09), 1002),
    "fragmented close": (frame(b"", 0x08), 1002),
    "ping of 126 bytes": (frame(b"a" * 126, PING), 1002),
    "close of 126 bytes": (frame(b"a" * 126, CLOSE), 1002),
    "two length bytes too many": (b"\x81\x7e\x00\x05hello", 1002),
    "eight length bytes too many": (struct.pack("!BBQ", 0x81, 127, 65535) + b"a" * 65535, 1002),
    "length with the top bit": (struct.pack("!BBQ", 0x81, 127, 1 << 63) + b"abc", 1002),
    "continuation of nothing": (frame(b"a", 0x80), 1002),
    "text inside a message": (frame(b"a", 0x01) + frame(b"b"), 1002),
    "fragmented text inside a message": (frame(b"a", 0x01) + frame(b"b", 0x01), 1002),
    "binary inside a message": (frame(b"a", 0x01) + frame(b"b", 0x82), 1002),
    "binary": (frame(b"\x00\x01", 0x82), 1003),
    "not UTF-8": (frame(b"ab\xff"), 1007),
    "cut character": (frame("€".encode()[:2]), 1007),
    "surrogate": (frame(b"\xed\xa0\x80"), 1007),
    "not UTF-8 in a fragment": (frame(b"a", 0x01) + frame(b"\xff", 0x00) + frame(b"a", 0x80), 1007),
    "cut character at the end of fragments": (frame(b"a\xe2", 0x01) + frame(b"\x82", 0x80), 1007),
}
"""Name: bytes, close code."""

CLOSES = {
    "normal": (close(1000, b"bye"), 1000),
    "going away": (close(1001), 1001),
    "service restart": (close(1012, b"maintenance"), 1012),
    "try again later": (close(1013), 1013),
    "private": (close(4001, b"x"), 4001),
    "no status": (frame(b"", CLOSE), 1005),
    "one byte": (frame(b"\x03", CLOSE), 1002),
    "code below 1000": (close(999), 1002),
    "local-only code": (close(1006), 1002),
    "unassigned code": (close(2999), 1002),
    "reason not UTF-8": (close(1000, b"\xff"), 1007),
}
"""Name: bytes, close code the client reports."""

chunk_sizes = st.lists(st.sampled_from([1, 2, 3, 4, 7, 100, 4000, 70000]), min_size=1, max_size=8)


def chunked(data: bytes, sizes: list[int]) -> list[bytes]:
    """Cut ``data`` by the sizes, over and over; at most 500 pieces, the last one takes the rest."""
    pieces: list[bytes] = []
    at = 0
    while at < len(data):
        size = sizes[len(pieces) % len(sizes)] if len(pieces) < 499 else len(data)
        pieces.append(data[at : at + size])
        at += size
    return pieces
