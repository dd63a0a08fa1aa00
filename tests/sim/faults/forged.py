"""Book messages a test writes itself, with checksums worked out from the documents (docs "Book Checksum").

Prices and quantities are text, as they go on the wire.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import cast

from kraken_engine.venue.core.exchange import Exchange

__all__ = ["Rows", "book_frame", "checksum", "true_rows"]

Rows = Sequence[Sequence[str]]
"""Price and quantity of each level, best first."""

_TIME = "2030-01-01T00:00:00.000000Z"


def checksum(bids: Rows, asks: Rows) -> int:
    """Return the CRC-32 over the ten best levels a side: asks first, digits without point and leading zeros."""
    numbers = (number for side in (asks, bids) for row in side[:10] for number in row)
    return zlib.crc32("".join(number.replace(".", "").lstrip("0") for number in numbers).encode())


def book_frame(kind: str, symbol: str, bids: Rows, asks: Rows, *, crc: int, timestamp: str = _TIME) -> str:
    """Return one message of the book channel."""
    sides = (
        ",".join(f'{{"price":{price},"qty":{qty}}}' for price, qty in side)
        for side in (bids, asks)
    )  # fmt: skip
    data = '{"symbol":"%s","bids":[%s],"asks":[%s],' % (symbol, *sides)  # noqa: UP031 - JSON is full of braces
    return f'{{"channel":"book","type":"{kind}","data":[{data}"checksum":{crc},"timestamp":"{timestamp}"}}]}}'


def true_rows(exchange: Exchange, symbol: str) -> tuple[list[list[str]], list[list[str]], str]:
    """Return the ten best bids and asks of the venue's own book, and the time of its last change."""
    state = exchange.book_state(symbol)
    bids, asks = (cast("list[list[str]]", state[side]) for side in ("bids", "asks"))
    return bids, asks, str(state["timestamp"])
