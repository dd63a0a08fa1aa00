"""Precisions of instruments from a file, for recordings that lost trailing zeros.

Understands a frame of the ``instrument`` channel (alone, or the first in a recording), a REST ``AssetPairs`` answer,
and a plain table ``{symbol: {"price_decimals": …, "qty_decimals": …}}``.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

import msgspec

from kraken_engine.codec.ws_v2 import Decoder, InstrumentMessage
from kraken_engine.errors import ConfigError, DecodeError, shown
from kraken_engine.model import Instrument
from kraken_engine.normalise.instruments import instrument_update
from kraken_engine.runtime import Readable

__all__ = ["read_instruments"]

_MODERN = {"XBT": "BTC", "XDG": "DOGE"}
"""Asset names that REST still spells the old way."""

_Decimals = Annotated[int, msgspec.Meta(ge=0, le=30)]


class _Row(msgspec.Struct):
    price_decimals: _Decimals
    qty_decimals: _Decimals


class _RestPair(msgspec.Struct):
    wsname: str
    pair_decimals: _Decimals
    lot_decimals: _Decimals


class _RestAnswer(msgspec.Struct):
    result: dict[str, _RestPair]


_REST = msgspec.json.Decoder(_RestAnswer)
_TABLE = msgspec.json.Decoder(dict[str, _Row])
_ANY = msgspec.json.Decoder(dict[str, Any], float_hook=str)
_UNREADABLE = (msgspec.MsgspecError, RecursionError, ValueError)


def read_instruments(files: Readable, path: str) -> tuple[Instrument, ...]:
    """Return the instruments that the file at ``path`` describes, as far as it does.

    Raises:
        ConfigError: the file cannot be read, is none of the three kinds, or names no instrument.
    """
    try:
        content = files.read_bytes(path).strip()
    except OSError as error:
        raise ConfigError(f"{path}: expected a file of instruments, got {error.strerror or error}") from None
    try:
        found = _read(content)
    except (*_UNREADABLE, DecodeError) as error:
        raise ConfigError(f"{path}: expected instruments, got {shown(str(error))}") from None
    if not found:
        raise ConfigError(f"{path}: expected instruments, got none")
    return found


def _read(content: bytes) -> tuple[Instrument, ...]:
    frame = content.split(b"\n", 1)[0] if content.startswith(b'{"channel"') else content
    document = _ANY.decode(frame)
    if "channel" in document:
        message = Decoder().decode(frame)
        if not isinstance(message, InstrumentMessage):
            raise DecodeError("$.channel", "instrument", document["channel"])
        return instrument_update(message, received_s=0.0, reject=_refuse).instruments
    if "result" in document:
        pairs = _REST.decode(frame).result.values()
        return tuple(_instrument(_modern(pair.wsname), pair.pair_decimals, pair.lot_decimals) for pair in pairs)
    return tuple(
        _instrument(symbol, row.price_decimals, row.qty_decimals) for symbol, row in _TABLE.decode(frame).items()
    )


def _instrument(symbol: str, price_decimals: int, qty_decimals: int) -> Instrument:
    base, _, quote = symbol.partition("/")
    if not base or not quote:
        raise DecodeError("$", "a symbol such as BTC/USD", symbol)
    price_increment, qty_increment = Decimal(1).scaleb(-price_decimals), Decimal(1).scaleb(-qty_decimals)
    return Instrument(
        symbol=symbol,
        base=base,
        quote=quote,
        status="unknown",
        price_decimals=price_decimals,
        qty_decimals=qty_decimals,
        price_increment=price_increment,
        qty_increment=qty_increment,
        qty_min=qty_increment,
        cost_min=Decimal(0),
    )


def _modern(name: str) -> str:
    return "/".join(_MODERN.get(asset, asset) for asset in name.split("/"))


def _refuse(error: DecodeError) -> None:
    raise error
