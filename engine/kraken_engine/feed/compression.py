"""Books in short form, for storage and transmission: ten levels a side, as digits, and the time.

``{"b": [["63502.0", "0.10000000"], …], "a": […], "t": "2026-07-07T23:00:03.947173Z", "c": 3310070434}``: bids from
the highest, asks from the lowest, digits as the venue sent them, so that the checksum over them can be computed again.
``t`` is the venue's time, or null; ``c`` is the checksum that matched, and is left out where none did, or where the
levels it is over are not all there.

A book in short form has no memory of how it was verified. Who restores one gets it unverified, unless its ten levels
still have the checksum that is said to have matched.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, cast
from zlib import crc32

from kraken_engine.codec.ws_v2 import Level
from kraken_engine.errors import DecodeError
from kraken_engine.normalise.book_view import VERIFIED_LEVELS, BookUpdate, BookView

__all__ = ["compress", "restore"]

_DIGITS = re.compile(r"(0|[1-9][0-9]{0,39})(\.[0-9]{1,30})?")


def compress(update: BookUpdate) -> dict[str, Any]:
    """Return the ten best levels a side of a book in short form, JSON-ready."""
    view = update.book
    short: dict[str, Any] = {
        "b": [_row(level) for level in view.raw_bids[:VERIFIED_LEVELS]],
        "a": [_row(level) for level in view.raw_asks[:VERIFIED_LEVELS]],
        "t": update.venue_time,
    }
    if view.verified and view.checksum == _checksum(view.raw_bids, view.raw_asks):
        short["c"] = view.checksum
    return short


def restore(symbol: str, short: object) -> tuple[BookView, str | None]:
    """Return the book of a short form, and the venue's time.

    Raises:
        DecodeError: it is no short form, a side is out of order, or its checksum does not fit.
    """
    if not isinstance(short, Mapping):
        raise DecodeError("$", "a book in short form", short)
    fields = cast("Mapping[object, object]", short)
    bids = _side(fields.get("b"), "$.b", falling=True)
    asks = _side(fields.get("a"), "$.a", falling=False)
    time, checksum = fields.get("t"), fields.get("c")
    if time is not None and not isinstance(time, str):
        raise DecodeError("$.t", "the venue's time or null", time)
    if checksum is not None and checksum != _checksum(bids, asks):
        raise DecodeError("$.c", f"the checksum of these levels, {_checksum(bids, asks)}", checksum)
    view = BookView(
        symbol=symbol,
        depth=VERIFIED_LEVELS,
        checksum=_checksum(bids, asks) if checksum is not None else 0,
        verified=checksum is not None,
        crossed=bool(bids and asks) and _number(bids[0]) >= _number(asks[0]),
        raw_bids=bids,
        raw_asks=asks,
    )
    return view, time


def _row(level: Level) -> list[str]:
    return [_text(level.price), _text(level.qty)]


def _text(token: object) -> str:
    text = token.decode() if isinstance(token, bytes) else str(token)
    return format(Decimal(text), "f") if "e" in text.lower() else text


def _side(rows: object, path: str, *, falling: bool) -> tuple[Level, ...]:
    levels: list[Level] = []
    for index, row in enumerate(_list(rows, path, f"a list of at most {VERIFIED_LEVELS} levels", VERIFIED_LEVELS)):
        where = f"{path}[{index}]"
        pair = _list(row, where, "price and quantity", 2)
        if len(pair) != 2:
            raise DecodeError(where, "price and quantity", pair)
        price, qty = pair
        for number in pair:
            if not isinstance(number, str) or not _DIGITS.fullmatch(number):
                raise DecodeError(where, "numbers as text", number)
        levels.append(Level(_token(str(price)), _token(str(qty))))
        better, worse = (levels[-2:] if falling else levels[:-3:-1]) if index else (None, None)
        if better is not None and worse is not None and _number(better) <= _number(worse):
            raise DecodeError(where, f"a price {'below' if falling else 'above'} the one before", price)
    return tuple(levels)


def _list(value: Any, path: str, expected: str, most: int) -> list[object]:
    if not isinstance(value, (list, tuple)) or len(cast("list[object]", value)) > most:
        raise DecodeError(path, expected, cast("object", value))
    return list(cast("list[object]", value))


def _token(text: str) -> bytes | int:
    """Return a number as the parser of frames would have it."""
    return text.encode() if "." in text else int(text)


def _number(level: Level) -> Decimal:
    return Decimal(_text(level.price))


def _checksum(bids: Sequence[Level], asks: Sequence[Level]) -> int:
    """Return the venue's checksum over these levels (docs "Book Checksum")."""
    levels = (*asks[:VERIFIED_LEVELS], *bids[:VERIFIED_LEVELS])
    tokens = (token for level in levels for token in (level.price, level.qty))
    return crc32("".join(_text(token).replace(".", "").lstrip("0") for token in tokens).encode())
