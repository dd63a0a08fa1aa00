"""WebSocket v2: the venue's market data, field for field.

:class:`Decoder` decides whether a frame is one of the messages below, or one of those all lines have in common
(:mod:`~kraken_engine.codec.ws_v2_frames`), and gives its values as they were written; whether they make sense together
is for the next stages. Number fields hold tokens, see :mod:`~kraken_engine.codec.numbers`.

Knows nothing of connections, subscriptions or books. Sources: docs "Book (Level 2)", "Ticker (Level 1)", "Trades",
"Candles", "Instruments".
"""

from __future__ import annotations

import msgspec

from kraken_engine.codec.caps import MAX_FRAME_BYTES
from kraken_engine.codec.ws_v2_frames import (
    Ack,
    Checksum,
    Count,
    FrameDecoder,
    HeartbeatMessage,
    Kind,
    Pong,
    Precision,
    StatusData,
    StatusMessage,
    Token,
    UnknownMessage,
    strictly,
)

__all__ = [
    "Ack",
    "BookData",
    "BookMessage",
    "Decoder",
    "HeartbeatMessage",
    "InstrumentData",
    "InstrumentMessage",
    "Level",
    "MarketMessage",
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
]


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


MarketMessage = (
    BookMessage | TickerMessage | TradeMessage | OhlcMessage | InstrumentMessage | StatusMessage | HeartbeatMessage
)
Message = MarketMessage | Ack | Pong | UnknownMessage


class Decoder(FrameDecoder[MarketMessage]):
    """Decodes the frames of a line of market data; arguments as for :class:`FrameDecoder`."""

    def __init__(self, *, sample_every: int = 256, max_bytes: int = MAX_FRAME_BYTES) -> None:
        super().__init__(MarketMessage, sample_every=sample_every, max_bytes=max_bytes)


def decode_pair(raw: msgspec.Raw, path: str) -> Pair:
    """Return one entry of :attr:`InstrumentData.pairs`.

    Raises:
        DecodeError: it is no pair; the path starts with ``path``.
    """
    return strictly(_PAIR, raw, path)


_PAIR = msgspec.json.Decoder(Pair, float_hook=str.encode)
