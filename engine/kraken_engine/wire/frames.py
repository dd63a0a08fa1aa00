"""Cuts the bytes of a WebSocket into text messages, and says what else is in them.

:class:`FrameSplitter` decides, for every frame a server sends, between four fates: a text message is handed out
(fragments joined, UTF-8 checked), a control frame that trio-websocket has to answer is forwarded byte for byte, a
pong or a surplus ping is counted and dropped, and a frame that breaks RFC 6455 or a limit of ours ends the
connection with the close code to give. It stops at the first close frame or violation: what comes after is not read.

Knows nothing of sockets and clocks, nor of what the messages mean.
"""

from __future__ import annotations

import codecs
from collections import deque

import attrs

__all__ = ["CLOSE", "PING", "UNSUPPORTED_DATA", "Cut", "FrameSplitter", "Violation", "close_frame", "control_frame"]

CONTINUATION = 0x0
TEXT = 0x1
BINARY = 0x2
CLOSE = 0x8
PING = 0x9
PONG = 0xA

PROTOCOL_ERROR = 1002
UNSUPPORTED_DATA = 1003
INVALID_PAYLOAD = 1007
MESSAGE_TOO_BIG = 1009

_FIN = 0x80
_RSV = 0x70
_OPCODE = 0x0F
_MASK = 0x80
_WHOLE_TEXT = _FIN | TEXT
_MAX_CONTROL_BYTES = 125

_utf8_decoder = codecs.getincrementaldecoder("utf-8")


class Violation(Exception):
    """The peer broke the protocol or a limit; ``code`` is the RFC 6455 close code that says so."""

    def __init__(self, code: int, why: str) -> None:
        self.code = code
        self.why = why
        super().__init__(f"{code}: {why}")


@attrs.frozen
class Cut:
    """What one piece of input held."""

    texts: list[bytes]
    """Whole text messages, in order, valid UTF-8."""
    forward: bytes
    """Whole control frames (ping, close) for trio-websocket to answer, in order."""


@attrs.define(kw_only=True)
class FrameSplitter:
    """Split what a server sends after the upgrade; feed it pieces of any size.

    The result does not depend on how the bytes are cut into pieces, except that pings are rated by the time of
    their piece. At most one message of ``max_message_bytes`` and its frame header are held back.
    """

    max_message_bytes: int
    """Limit of one message; checked against the declared length, before anything is kept."""
    max_fragments: int
    max_pings_per_s: int
    """Pings handed on in any one second; more are dropped (RFC 6455 5.5.3 allows to answer the latest only)."""

    answering: bool = attrs.field(default=True, init=False)
    """Switch off once we have sent a close frame: pings are dropped then, since no pong may follow it."""
    violation: Violation | None = attrs.field(default=None, init=False)
    """Why the connection must be failed; set once, nothing is cut afterwards."""
    closed: bool = attrs.field(default=False, init=False)
    """Whether a close frame was forwarded; nothing is cut afterwards."""
    pings: int = attrs.field(default=0, init=False)
    pings_dropped: int = attrs.field(default=0, init=False)
    pongs: int = attrs.field(default=0, init=False)

    _held: bytearray = attrs.field(factory=bytearray, init=False)
    """An unfinished frame."""
    _wanted: int = attrs.field(default=0, init=False)
    """No use in looking at ``_held`` before it is so long."""
    _fragments: list[bytes] = attrs.field(factory=list[bytes], init=False)
    """Payloads of the unfinished message; empty when none is open."""
    _fragments_bytes: int = attrs.field(default=0, init=False)
    _decoder: codecs.IncrementalDecoder = attrs.field(factory=_utf8_decoder, init=False)
    _answered: deque[float] = attrs.field(init=False)
    """When the last pings were handed on."""

    def __attrs_post_init__(self) -> None:
        self._answered = deque(maxlen=self.max_pings_per_s)

    def feed(self, data: bytes, *, now: float) -> Cut:
        """Take the next piece and return what became complete. Never raises; see :attr:`violation`."""
        texts: list[bytes] = []
        forward: list[bytes] = []
        if self.violation is None and not self.closed:
            if self._held:
                self._held += data
                if len(self._held) < self._wanted:
                    return Cut(texts, b"")
                data = bytes(self._held)
                self._held.clear()
            try:
                self._split(data, texts, forward, now)
            except Violation as violation:
                self.violation = violation
                self._fragments.clear()
        return Cut(texts, b"".join(forward))

    def _split(self, data: bytes, texts: list[bytes], forward: list[bytes], now: float) -> None:
        # The loop every market data message passes through: local names, and no call for the usual frame.
        add = texts.append
        limit = self.max_message_bytes
        fragments = self._fragments
        pos, end = 0, len(data)
        while end - pos >= 2:
            size = data[pos + 1]
            start = pos + 2
            if data[pos] == _WHOLE_TEXT and size < 127 and not fragments:
                if size == 126:
                    start = pos + 4
                    if start > end:
                        self._hold(data, pos, start)
                        return
                    size = data[pos + 2] << 8 | data[pos + 3]
                    if size < 126:
                        raise Violation(PROTOCOL_ERROR, "length in more bytes than it needs")
                if size > limit:
                    raise _too_big(size, limit)
                stop = start + size
                if stop > end:
                    self._hold(data, pos, stop)
                    return
                payload = data[start:stop]
                if not payload.isascii():
                    _check_utf8(payload)
                add(payload)
                pos = stop
                continue
            start += _length_bytes(size)
            if start > end:
                self._hold(data, pos, start)
                return
            size = _length(data, pos, start)
            self._check_header(data[pos], size)
            stop = start + size
            if stop > end:
                self._hold(data, pos, stop)
                return
            opcode = data[pos] & _OPCODE
            if opcode == CLOSE:
                forward.append(data[pos:stop])
                self.closed = True
                return
            if opcode == PING:
                if self._may_answer(now):
                    forward.append(data[pos:stop])
            elif opcode == PONG:
                self.pongs += 1
            else:
                self._fragment(data[start:stop], final=bool(data[pos] & _FIN), texts=texts)
            pos = stop
        if pos < end:
            self._hold(data, pos, pos + 2)

    def _hold(self, data: bytes, pos: int, wanted: int) -> None:
        self._held += data[pos:]
        self._wanted = wanted - pos

    def _check_header(self, first: int, size: int) -> None:
        opcode = first & _OPCODE
        if first & _RSV:
            raise Violation(PROTOCOL_ERROR, "reserved bit set, and no extension was agreed on")
        if opcode in (CLOSE, PING, PONG):
            if not first & _FIN:
                raise Violation(PROTOCOL_ERROR, "fragmented control frame")
            if size > _MAX_CONTROL_BYTES:
                raise Violation(PROTOCOL_ERROR, f"control frame of {size} bytes, at most {_MAX_CONTROL_BYTES} allowed")
        elif opcode == BINARY:
            if self._fragments:
                raise Violation(PROTOCOL_ERROR, "a new message before the last one was finished")
            raise Violation(UNSUPPORTED_DATA, "binary message, only text is understood")
        elif opcode in (TEXT, CONTINUATION):
            if opcode == TEXT and self._fragments:
                raise Violation(PROTOCOL_ERROR, "a new message before the last one was finished")
            if opcode == CONTINUATION and not self._fragments:
                raise Violation(PROTOCOL_ERROR, "continuation of no message")
            if len(self._fragments) >= self.max_fragments:
                raise Violation(MESSAGE_TOO_BIG, f"more than {self.max_fragments} fragments in a message")
            if self._fragments_bytes + size > self.max_message_bytes:
                raise _too_big(self._fragments_bytes + size, self.max_message_bytes)
        else:
            raise Violation(PROTOCOL_ERROR, f"reserved opcode {opcode:#x}")

    def _fragment(self, payload: bytes, *, final: bool, texts: list[bytes]) -> None:
        try:
            # The decoder keeps a character that a fragment boundary cuts; its text is not needed.
            self._decoder.decode(payload, final)
        except UnicodeDecodeError as error:
            raise Violation(INVALID_PAYLOAD, f"text is not UTF-8: {error.reason}") from None
        self._fragments.append(payload)
        self._fragments_bytes += len(payload)
        if final:
            texts.append(b"".join(self._fragments))
            self._fragments.clear()
            self._fragments_bytes = 0
            self._decoder.reset()

    def _may_answer(self, now: float) -> bool:
        self.pings += 1
        answered = self._answered
        if not self.answering or (len(answered) == answered.maxlen and now - answered[0] < 1.0):
            self.pings_dropped += 1
            return False
        answered.append(now)
        return True


def control_frame(opcode: int, payload: bytes, *, masking_key: int) -> bytes:
    """Return one control frame as a client sends it: whole and masked.

    Args:
        opcode: :data:`CLOSE`, :data:`PING` or :data:`PONG`.
        payload: at most 125 bytes.
        masking_key: 32 random bits (RFC 6455 5.3).
    """
    if len(payload) > _MAX_CONTROL_BYTES:
        raise ValueError(f"control frame payload: expected at most {_MAX_CONTROL_BYTES} bytes, got {len(payload)}")
    key = masking_key.to_bytes(4, "big")
    masked = bytes(byte ^ key[i & 3] for i, byte in enumerate(payload))
    return bytes((_FIN | opcode, _MASK | len(payload))) + key + masked


def close_frame(code: int, reason: str, *, masking_key: int) -> bytes:
    """Return a close frame; the reason is cut to fit, at a character boundary."""
    text = reason.encode()[: _MAX_CONTROL_BYTES - 2].decode(errors="ignore").encode()
    return control_frame(CLOSE, code.to_bytes(2, "big") + text, masking_key=masking_key)


def _length_bytes(size: int) -> int:
    if size & _MASK:
        raise Violation(PROTOCOL_ERROR, "masked frame from a server")
    return 2 if size == 126 else 8 if size == 127 else 0


def _length(data: bytes, pos: int, start: int) -> int:
    if start == pos + 2:
        return data[pos + 1]
    size = int.from_bytes(data[pos + 2 : start], "big")
    if size < (126 if start == pos + 4 else 65536):
        raise Violation(PROTOCOL_ERROR, "length in more bytes than it needs")
    if size >> 63:
        raise Violation(PROTOCOL_ERROR, "length above 63 bits")
    return size


def _check_utf8(payload: bytes) -> None:
    try:
        payload.decode()
    except UnicodeDecodeError as error:
        raise Violation(INVALID_PAYLOAD, f"text is not UTF-8: {error.reason}") from None


def _too_big(size: int, limit: int) -> Violation:
    return Violation(MESSAGE_TOO_BIG, f"message of {size} bytes, at most {limit} allowed")
