"""The judges' own arithmetic: checksums over shown digits, times from text. Shares nothing with the engine's."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from kraken_engine.normalise.events import PriceLevel

__all__ = ["checksum", "microseconds", "name_of", "rows"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rows(levels: Iterable[PriceLevel]) -> list[list[str]]:
    """Return levels as price and quantity text, the digits as shown to consumers."""
    return [[f"{level.price:f}", f"{level.qty:f}"] for level in levels]


def checksum(bids: Sequence[Sequence[str]], asks: Sequence[Sequence[str]]) -> int:
    """Return the CRC-32 over the ten best levels of each side (docs "Book Checksum")."""
    text = "".join(_digits(number) for side in (asks[:10], bids[:10]) for row in side for number in row)
    return zlib.crc32(text.encode())


def microseconds(timestamp: str) -> int:
    """Return an RFC 3339 time as microseconds since 1970."""
    return (datetime.fromisoformat(timestamp) - _EPOCH) // timedelta(microseconds=1)


def name_of(key: Sequence[object]) -> str:
    """Return a stream key in words."""
    return " ".join(str(part) for part in key)


def _digits(number: str) -> str:
    return number.replace(".", "").lstrip("0")
