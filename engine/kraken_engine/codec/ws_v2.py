"""WebSocket v2: the venue's market data and replies, field for field, and the requests to it.

:class:`Decoder` decides whether a frame is one of the messages below and gives its values as they were written;
whether they make sense together is for the next stages. A frame that is none of them raises
:class:`~kraken_engine.errors.DecodeError`, and nothing else, with the path to the fault.

One compiled pass over a union tagged by ``channel`` decodes market data. What that refuses gets a second, slower
look: replies have no ``channel`` (refusals of private channels have both ``channel`` and ``method``), and a channel
of another version is an :class:`UnknownMessage`. Number fields hold tokens, see :mod:`~kraken_engine.codec.numbers`.

Knows nothing of connections, subscriptions or books. Sources: docs "Book (Level 2)", "Ticker (Level 1)", "Trades",
"Candles", "Instruments", "Status", "Heartbeat", "Ping".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal, NoReturn, TypeVar, cast

import msgspec

from kraken_engine.codec.caps import MAX_FRAME_BYTES, check_caps
from kraken_engine.codec.sampling import FieldSampler, known_fields, refuse_duplicate_keys
from kraken_engine.codec.tally import Tally
from kraken_engine.errors import DecodeError, UsageError

__all__ = [
    "Ack",
    "BookData",
    "BookMessage",
    "Decoder",
    "HeartbeatMessage",
    "InstrumentData",
    "InstrumentMessage",
    "Level",
    "Message",
    "OhlcData",
    "OhlcMessage",
    "Pair",
    "Pong",
    "StatusData",
    "StatusMessage",
    "TickerData",
    "TickerMessage",
    "TradeData",
    "TradeMessage",
    "UnknownMessage",
    "decode_pair",
    "encode_request",
]

Token = Any
"""A number as the parser hands it over, ``bytes`` or ``int``; anything else is refused where it is read."""

_T = TypeVar("_T")

Kind = Literal["snapshot", "update"]
Count = Annotated[int, msgspec.Meta(ge=0)]
Checksum = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
Precision = Annotated[int, msgspec.Meta(ge=0, le=30)]
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class Level(msgspec.Struct, frozen=True, gc=False):
    """One book level: the new total ``qty`` at ``price``; zero removes it."""

    price: Token
    qty: Token


class BookData(msgspec.Struct, frozen=True, gc=False):
    """The levels of one symbol, in the order in which they are to be applied, and the checksum afterwards."""

    symbol: str
    bids: list[Level]
    asks: list[Level]
    checksum: Checksum
    timestamp: str | None = None


class BookMessage(msgspec.Struct, frozen=True, gc=False, tag_field="channel", tag="book"):
    """Snapshot or update of books."""

    type: Kind
    data: list[BookData]


class TickerData(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One symbol's ticker; each is complete, never a difference."""

    symbol: str
    bid: Token
    bid_qty: Token
    ask: Token
    ask_qty: Token
    last: Token
    volume: Token
    vwap: Token
    low: Token
    high: Token
    change: Token
    change_pct: Token
    timestamp: str | None = None
    trades: Count | None = None
    """Trades of the last 24 hours; sent since 2026, undocumented."""


class TickerMessage(msgspec.Struct, frozen=True, gc=False, tag_field="channel", tag="ticker"):
    """Tickers."""

    type: Kind
    data: list[TickerData]


class TradeData(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One trade; ``side`` and ``ord_type`` are the taker's."""

    symbol: str
    side: str
    price: Token
    qty: Token
    ord_type: str
    trade_id: Count
    timestamp: str


class TradeMessage(msgspec.Struct, frozen=True, gc=False, tag_field="channel", tag="trade"):
    """Trades, oldest first."""

    type: Kind
    data: list[TradeData]


class OhlcData(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One candle; ``timestamp`` is deprecated and is the end of the interval in recordings."""

    symbol: str
    open: Token
    high: Token
    low: Token
    close: Token
    vwap: Token
    volume: Token
    trades: Count
    interval_begin: str
    interval: Count
    timestamp: str | None = None


class OhlcMessage(msgspec.Struct, frozen=True, gc=False, tag_field="channel", tag="ohlc"):
    """Candles; the envelope carries the time of the message."""

    type: Kind
    data: list[OhlcData]
    timestamp: str | None = None


class InstrumentData(msgspec.Struct, frozen=True, gc=False):
    """Assets and pairs, each entry still JSON: :func:`decode_pair` reads one, so that a bad one spoils no other."""

    assets: list[msgspec.Raw]
    pairs: list[msgspec.Raw]


class InstrumentMessage(msgspec.Struct, frozen=True, gc=False, tag_field="channel", tag="instrument"):
    """Reference data: everything in the snapshot, changed entries in updates."""

    type: Kind
    data: InstrumentData


class Pair(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One pair of the instrument channel, as far as market data needs it."""

    symbol: str
    base: str
    quote: str
    status: str
    qty_precision: Precision
    price_precision: Precision
    qty_increment: Token
    price_increment: Token
    qty_min: Token
    cost_min: Token
    """A number in every recording, a string in the docs."""
    marginable: bool = False


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
    error: str | None = None
    warnings: tuple[str, ...] = ()


class Pong(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The reply to a ping."""

    req_id: int | None = None


class UnknownMessage(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A message of a channel this codec does not know; its content was not looked at."""

    channel: str


MarketMessage = (
    BookMessage | TickerMessage | TradeMessage | OhlcMessage | InstrumentMessage | StatusMessage | HeartbeatMessage
)
Message = MarketMessage | Ack | Pong | UnknownMessage


class Decoder:
    """Decodes the frames of one line. Stateless but for its counters.

    Caps, before a value is made of anything: bytes of a frame and depth of nesting here, digits and exponents of a
    number where its token is read. Unknown fields are tolerated.

    Three things would cost more than the decoding itself and are looked for in every reply but only in one market
    data frame of ``sample_every``: unknown fields (counted), repeated keys (refused; unseen, the last one counts), and
    too deep a nesting in a frame so short that it cannot do harm (refused; unseen, it sits in an unknown field or in
    place of a number, which is refused where it is read).

    Args:
        sample_every: one market data frame of so many is compared with the fields known here, the first included.
        max_bytes: longest frame accepted.
    """

    def __init__(self, *, sample_every: int = 256, max_bytes: int = MAX_FRAME_BYTES) -> None:
        self._decode = msgspec.json.Decoder(MarketMessage, float_hook=str.encode).decode
        self._max_bytes = max_bytes
        self._sample_every = sample_every
        self._until_sample = 1
        self._sampler = FieldSampler(_KNOWN)
        self._unknown_channels = Tally()

    @property
    def unknown_channels(self) -> Mapping[str, int]:
        """How many frames came on channels not known here, by label-safe name."""
        return self._unknown_channels.counts

    @property
    def unknown_fields(self) -> Mapping[str, int]:
        """In how many sampled frames a field not known here was seen, by label-safe path (``book.data.extra``)."""
        return self._sampler.unknown

    def decode(self, frame: bytes) -> Message:
        """Return the message in ``frame``.

        Raises:
            DecodeError: the frame is none, or breaks a cap.
        """
        if len(frame) > _UNCHECKED_BYTES or not frame.isascii():
            check_caps(frame, self._max_bytes)
        try:
            message: MarketMessage = self._decode(frame)
        except _REFUSALS as error:
            return self._second_look(frame, error)
        self._until_sample -= 1
        if not self._until_sample:
            self._until_sample = self._sample_every
            check_caps(frame, self._max_bytes)
            self._sampler.sample(frame)
        return message

    def _second_look(self, frame: bytes, refusal: Exception) -> Message:
        """Decode what is no known market data message, or say why it is none."""
        check_caps(frame, self._max_bytes)
        if frame.startswith(b"CloudFlare"):
            raise DecodeError(
                "$", "JSON", f"the plain text {frame[:80].decode('ascii', 'replace')!r} (a proxy's notice)"
            )
        envelope = _strictly(_ENVELOPE, frame)
        if isinstance(envelope.method, str):
            return _reply(frame)
        if not isinstance(envelope.channel, str):
            raise DecodeError("$", "an object with a channel or a method", frame[:80].decode("utf-8", "replace"))
        if envelope.channel in _KNOWN:
            _refuse(refusal)
        self._unknown_channels.add(envelope.channel)
        return UnknownMessage(channel=envelope.channel)


def decode_pair(raw: msgspec.Raw, path: str) -> Pair:
    """Return one entry of :attr:`InstrumentData.pairs`.

    Raises:
        DecodeError: it is no pair; the path starts with ``path``.
    """
    return _strictly(_PAIR, raw, path)


def encode_request(method: str, params: Mapping[str, object] | None, req_id: int | None) -> bytes:
    """Return a request as one text frame.

    Decimals are written as JSON numbers with exactly their digits and without an exponent, which is how the venue
    wants them.

    Raises:
        UsageError: a value cannot be written exactly (a float has lost digits already) or is no JSON value.
    """
    request: dict[str, object] = {"method": method}
    if params is not None:
        request["params"] = params
    if req_id is not None:
        request["req_id"] = req_id
    try:
        return _ENCODER.encode(_exact(request, "$"))
    except (ValueError, TypeError, OverflowError) as error:  # a lone surrogate, an integer beyond 64 bits
        raise UsageError(f"$: cannot be written as JSON: {error}") from None


class _Result(msgspec.Struct, frozen=True, gc=False):
    channel: str | None = None
    symbol: str | None = None
    depth: Int64 | None = None
    interval: Int64 | None = None
    event_trigger: str | None = None
    warnings: list[str] | None = None


class _Reply(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    method: str
    success: bool | None = None
    req_id: Int64 | None = None
    error: str | None = None
    channel: str | None = None
    symbol: str | None = None
    result: _Result | list[Any] | None = None


class _Envelope(msgspec.Struct, frozen=True, gc=False):
    channel: Any = None
    method: Any = None


_UNCHECKED_BYTES = 512
"""Frames up to this length skip the look for caps: they cannot nest deeper than the parser's own guard allows."""

_REFUSALS = (msgspec.MsgspecError, RecursionError, ValueError, OverflowError)
"""All the parser raises: UnicodeDecodeError is a ValueError."""

_KNOWN = known_fields(MarketMessage)
_ENVELOPE = msgspec.json.Decoder(_Envelope, float_hook=str.encode)
_REPLY = msgspec.json.Decoder(_Reply, float_hook=str.encode)
_PAIR = msgspec.json.Decoder(Pair, float_hook=str.encode)
_ENCODER = msgspec.json.Encoder()
_MAX_REPLY_BYTES = 65_536
_NO_RESULT = _Result()
_AT = re.compile(r"(?P<why>.*?)(?: - at `\$?(?P<path>.*)`)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`", re.DOTALL)
_EXPECTED_GOT = re.compile(r"Expected (.*?)(?:, got (.*))?", re.DOTALL)


def _reply(frame: bytes) -> Ack | Pong:
    if len(frame) > _MAX_REPLY_BYTES:
        raise DecodeError("$", f"a reply of at most {_MAX_REPLY_BYTES} bytes", f"{len(frame)} bytes")
    refuse_duplicate_keys(frame)
    reply = _strictly(_REPLY, frame)
    if reply.success is None:
        if reply.method == "pong":
            return Pong(req_id=reply.req_id)
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
        error=reply.error,
        warnings=tuple(result.warnings or ()),
    )


def _strictly(decoder: msgspec.json.Decoder[_T], document: bytes | msgspec.Raw, path: str = "$") -> _T:
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


def _exact(value: object, path: str) -> object:
    """Return ``value`` with every decimal replaced by its own digits."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, Decimal):
        if not value.is_finite() or abs(value.adjusted()) > 40 or len(value.as_tuple().digits) > 40:
            raise UsageError(f"{path}: expected a finite number of at most 40 digits, got {value!r:.80}")
        return msgspec.Raw(format(value, "f").encode())
    if isinstance(value, Mapping):
        fields = cast("Mapping[object, object]", value)
        return {str(key): _exact(item, f"{path}.{key}") for key, item in fields.items()}
    if isinstance(value, (list, tuple)):
        items = cast("Sequence[object]", value)
        return [_exact(item, f"{path}[{index}]") for index, item in enumerate(items)]
    raise UsageError(f"{path}: expected None, bool, int, str, Decimal, list or dict, got {type(value).__name__}")
