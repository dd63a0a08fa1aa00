"""What every line of WebSocket v2 has in common: how a frame is decoded, replies, the venue's state, heartbeats.

One compiled pass over a union of messages tagged by ``channel`` decodes the data a line is for. What that refuses
gets a second, slower look: replies have no ``channel`` (refusals of private channels have both ``channel`` and
``method``), and a channel of another line or version is an :class:`UnknownMessage`. A frame that is none of these
raises :class:`~kraken_engine.errors.DecodeError`, and nothing else, with the path to the fault.

Knows nothing of what the data messages say: :mod:`~kraken_engine.codec.ws_v2` has those of market data,
:mod:`~kraken_engine.codec.ws_v2_private` those of an account. Sources: docs "Status", "Heartbeat", "Ping".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Generic, Literal, NoReturn, TypeVar

import msgspec

from kraken_engine.codec.caps import MAX_FRAME_BYTES, check_caps
from kraken_engine.codec.sampling import FieldSampler, known_fields, refuse_duplicate_keys
from kraken_engine.codec.tally import Tally
from kraken_engine.errors import DecodeError

__all__ = [
    "Ack",
    "Checksum",
    "Count",
    "FrameDecoder",
    "HeartbeatMessage",
    "Int64",
    "Kind",
    "Pong",
    "Precision",
    "StatusData",
    "StatusMessage",
    "Token",
    "UnknownMessage",
    "strictly",
]

Token = Any
"""A number as the parser hands it over, ``bytes`` or ``int``; anything else is refused where it is read."""

_T = TypeVar("_T")
_M = TypeVar("_M")

Kind = Literal["snapshot", "update"]
Count = Annotated[int, msgspec.Meta(ge=0)]
Checksum = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
Precision = Annotated[int, msgspec.Meta(ge=0, le=30)]
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class StatusData(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """State of the trading engine, and who we are to it."""

    system: str
    version: str | None = None
    api_version: str | None = None
    connection_id: Count | None = None
    """Unsigned, 64 bits, often above 2**63."""
    upcoming_maintenance: list[Any] = []
    emergency: list[Any] = []

    def __post_init__(self) -> None:
        if self.connection_id is not None and self.connection_id >= 2**64:
            raise ValueError("Expected `int` < 2**64 as connection_id")


class StatusMessage(msgspec.Struct, frozen=True, gc=False, tag_field="channel", tag="status"):
    """Sent on connecting and whenever the state changes; always one element."""

    type: Kind
    data: list[StatusData]


class HeartbeatMessage(msgspec.Struct, frozen=True, gc=False, tag_field="channel", tag="heartbeat"):
    """The line is alive."""


class Ack(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The reply to one request, or to one symbol of it. Fields the venue left out are None."""

    method: str
    success: bool
    req_id: int | None = None
    channel: str | None = None
    symbol: str | None = None
    depth: int | None = None
    interval: int | None = None
    event_trigger: str | None = None
    max_rate_count: int | None = None
    """Of executions: the account's limit of the trading counter per pair (60, 125, 180 by tier)."""
    time_in: str | None = None
    """Venue time at which the request came in: what it brings is no older."""
    error: str | None = None
    warnings: tuple[str, ...] = ()


class Pong(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The reply to a ping."""

    req_id: int | None = None
    time_out: str | None = None
    """Venue time at which it was sent."""


class UnknownMessage(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A message of a channel this codec does not know; its content was not looked at."""

    channel: str


class FrameDecoder(Generic[_M]):
    """Decodes the frames of one line. Stateless but for its counters.

    Caps, before a value is made of anything: bytes of a frame and depth of nesting here, digits and exponents of a
    number where its token is read. Unknown fields are tolerated.

    Three things would cost more than the decoding itself and are looked for in every reply but only in one data
    frame of ``sample_every``: unknown fields (counted), repeated keys (refused; unseen, the last one counts), and
    too deep a nesting in a frame so short that it cannot do harm (refused; unseen, it sits in an unknown field or in
    place of a number, which is refused where it is read).

    Args:
        messages: the union of the messages a line is for, tagged by ``channel``.
        sample_every: one data frame of so many is compared with the fields known here, the first included.
        max_bytes: longest frame accepted.
    """

    def __init__(self, messages: Any, *, sample_every: int = 256, max_bytes: int = MAX_FRAME_BYTES) -> None:
        self._decode: Callable[[bytes], _M] = msgspec.json.Decoder(messages, float_hook=str.encode).decode
        self._known = known_fields(messages)
        self._max_bytes = max_bytes
        self._sample_every = sample_every
        self._until_sample = 1
        self._sampler = FieldSampler(self._known)
        self._unknown_channels = Tally()

    @property
    def unknown_channels(self) -> Mapping[str, int]:
        """How many frames came on channels not known here, by label-safe name."""
        return self._unknown_channels.counts

    @property
    def unknown_fields(self) -> Mapping[str, int]:
        """In how many sampled frames a field not known here was seen, by label-safe path (``book.data.extra``)."""
        return self._sampler.unknown

    def decode(self, frame: bytes) -> _M | Ack | Pong | UnknownMessage:
        """Return the message in ``frame``.

        Raises:
            DecodeError: the frame is none, or breaks a cap.
        """
        if len(frame) > _UNCHECKED_BYTES or not frame.isascii():
            check_caps(frame, self._max_bytes)
        try:
            message = self._decode(frame)
        except _REFUSALS as error:
            return self._second_look(frame, error)
        self._until_sample -= 1
        if not self._until_sample:
            self._until_sample = self._sample_every
            check_caps(frame, self._max_bytes)
            self._sampler.sample(frame)
        return message

    def _second_look(self, frame: bytes, refusal: Exception) -> _M | Ack | Pong | UnknownMessage:
        """Decode what is no known data message, or say why it is none."""
        check_caps(frame, self._max_bytes)
        if frame.startswith(b"CloudFlare"):
            raise DecodeError(
                "$", "JSON", f"the plain text {frame[:80].decode('ascii', 'replace')!r} (a proxy's notice)"
            )
        envelope = strictly(_ENVELOPE, frame)
        if isinstance(envelope.method, str):
            return _reply(frame)
        if not isinstance(envelope.channel, str):
            raise DecodeError("$", "an object with a channel or a method", frame[:80].decode("utf-8", "replace"))
        if envelope.channel in self._known:
            _refuse(refusal)
        self._unknown_channels.add(envelope.channel)
        return UnknownMessage(channel=envelope.channel)


class _Result(msgspec.Struct, frozen=True, gc=False):
    channel: str | None = None
    symbol: str | None = None
    depth: Int64 | None = None
    interval: Int64 | None = None
    event_trigger: str | None = None
    maxratecount: Int64 | None = None
    warnings: list[str] | None = None


class _Reply(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    method: str
    success: bool | None = None
    req_id: Int64 | None = None
    error: str | None = None
    channel: str | None = None
    symbol: str | None = None
    time_in: str | None = None
    time_out: str | None = None
    result: _Result | list[Any] | None = None


class _Envelope(msgspec.Struct, frozen=True, gc=False):
    channel: Any = None
    method: Any = None


_UNCHECKED_BYTES = 512
"""Frames up to this length skip the look for caps: they cannot nest deeper than the parser's own guard allows."""

_REFUSALS = (msgspec.MsgspecError, RecursionError, ValueError, OverflowError)
"""All the parser raises: UnicodeDecodeError is a ValueError."""

_ENVELOPE = msgspec.json.Decoder(_Envelope, float_hook=str.encode)
_REPLY = msgspec.json.Decoder(_Reply, float_hook=str.encode)
_MAX_REPLY_BYTES = 65_536
_NO_RESULT = _Result()
_AT = re.compile(r"(?P<why>.*?)(?: - at `\$?(?P<path>.*)`)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`", re.DOTALL)
_EXPECTED_GOT = re.compile(r"Expected (.*?)(?:, got (.*))?", re.DOTALL)


def _reply(frame: bytes) -> Ack | Pong:
    if len(frame) > _MAX_REPLY_BYTES:
        raise DecodeError("$", f"a reply of at most {_MAX_REPLY_BYTES} bytes", f"{len(frame)} bytes")
    refuse_duplicate_keys(frame)
    reply = strictly(_REPLY, frame)
    if reply.success is None:
        if reply.method == "pong":
            return Pong(req_id=reply.req_id, time_out=reply.time_out)
        raise DecodeError("$.success", "true or false", "nothing")
    result = reply.result if isinstance(reply.result, _Result) else _NO_RESULT
    return Ack(
        method=reply.method,
        success=reply.success,
        req_id=reply.req_id,
        channel=reply.channel if result.channel is None else result.channel,
        symbol=reply.symbol if result.symbol is None else result.symbol,
        depth=result.depth,
        interval=result.interval,
        event_trigger=result.event_trigger,
        max_rate_count=result.maxratecount,
        time_in=reply.time_in,
        error=reply.error,
        warnings=tuple(result.warnings or ()),
    )


def strictly(decoder: msgspec.json.Decoder[_T], document: bytes | msgspec.Raw, path: str = "$") -> _T:
    """Return what ``decoder`` makes of ``document``, or refuse it as the frames of a line are refused.

    Raises:
        DecodeError: with the path to the fault, which starts with ``path``.
    """
    try:
        return decoder.decode(document)
    except _REFUSALS as error:
        _refuse(error, path)


def _refuse(refusal: Exception, path: str = "$") -> NoReturn:
    """Raise the parser's refusal as our own: where, expected, got."""
    if isinstance(refusal, RecursionError):
        raise DecodeError(path, "shallower nesting", "more levels than the parser takes") from None
    found = _AT.fullmatch(str(refusal))
    why, where = (found["why"], path + (found["path"] or "")) if found else (str(refusal), path)
    if missing := _MISSING.fullmatch(why):
        raise DecodeError(f"{where}.{missing[1]}", "a value", "nothing") from None
    if expected := _EXPECTED_GOT.fullmatch(why):
        raise DecodeError(
            where, expected[1].replace("`", ""), (expected[2] or "something else").replace("`", "")
        ) from None
    raise DecodeError(
        where, "JSON" if not isinstance(refusal, msgspec.ValidationError) else "a known value", why
    ) from None
