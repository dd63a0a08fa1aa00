"""A venue's order book and a naive client of it, both written from the documents alone, and strategies over them.

Nothing here imports the code under test except the shape of its input (``Level``, ``BookData``).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from decimal import Decimal

import attrs
from hypothesis import strategies as st

from kraken_engine.codec.ws_v2 import BookData, Level

Pairs = list[tuple[str, str]]


@attrs.frozen
class Digits:
    """How a venue writes the numbers of one instrument."""

    price: int
    qty: int
    lose_zeros: bool = False
    """As a recorder writes them that went through floats."""

    def level(self, tick: int, lots: int) -> Level:
        return Level(price=self._token(tick, self.price), qty=self._token(lots, self.qty))

    def _token(self, scaled: int, decimals: int) -> bytes | int:
        if not decimals:
            return scaled
        text = as_text(scaled, decimals)
        if self.lose_zeros:
            text = text.rstrip("0")
            text += "0" if text.endswith(".") else ""
        return text.encode()


def as_text(scaled: int, decimals: int) -> str:
    """Write ``scaled / 10**decimals`` with all its digits."""
    if not decimals:
        return str(scaled)
    whole, fraction = divmod(scaled, 10**decimals)
    return f"{whole}.{fraction:0{decimals}d}"


def checksum_of(asks: Pairs, bids: Pairs) -> int:
    """Return the documented CRC-32 of two sides given as text, best level first."""
    text = ""
    for price, qty in [*asks[:10], *bids[:10]]:
        text += price.replace(".", "").lstrip("0") + qty.replace(".", "").lstrip("0")
    return zlib.crc32(text.encode())


@attrs.define
class VenueBook:
    """The whole book of one symbol at the venue, and the messages a subscriber of ``depth`` levels gets."""

    digits: Digits
    depth: int = 10
    symbol: str = "BTC/USD"
    bids: dict[int, int] = attrs.field(factory=dict)
    asks: dict[int, int] = attrs.field(factory=dict)
    micros: int = 0

    def window(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Return bids and asks within the subscriber's depth, best first, as scaled integers."""
        bids = sorted(self.bids.items(), reverse=True)[: self.depth]
        return bids, sorted(self.asks.items())[: self.depth]

    def texts(self) -> tuple[Pairs, Pairs]:
        """Return the window as the venue writes it."""
        bids, asks = self.window()
        return self._texts(bids), self._texts(asks)

    def checksum(self) -> int:
        bids, asks = self.texts()
        return checksum_of(asks, bids)

    def timestamp(self) -> str:
        seconds, micros = divmod(self.micros, 1_000_000)
        return f"2026-11-22T07:{seconds // 60:02d}:{seconds % 60:02d}.{micros:06d}Z"

    def snapshot(self) -> BookData:
        bids, asks = self.window()
        return self._data(bids, asks)

    def change(self, orders: Sequence[tuple[bool, int, int]]) -> BookData:
        """Set ``(is_bid, tick, lots)`` one after the other; return the update a subscriber gets.

        A level that leaves the window by being pushed out is not mentioned; one that comes into it is.
        """
        self.micros += 1
        before = self.window()
        for is_bid, tick, lots in orders:
            side = self.bids if is_bid else self.asks
            if lots:
                side[tick] = lots
            else:
                side.pop(tick, None)
        after = self.window()
        changes = [
            [(tick, 0) for tick, _ in old if tick not in side] + [level for level in new if level not in old]
            for old, new, side in zip(before, after, (self.bids, self.asks), strict=True)
        ]
        return self._data(*changes)

    def _data(self, bids: list[tuple[int, int]], asks: list[tuple[int, int]]) -> BookData:
        return BookData(
            symbol=self.symbol,
            bids=[self.digits.level(*level) for level in bids],
            asks=[self.digits.level(*level) for level in asks],
            checksum=self.checksum(),
            timestamp=self.timestamp(),
        )

    def _texts(self, side: list[tuple[int, int]]) -> Pairs:
        return [(as_text(tick, self.digits.price), as_text(lots, self.digits.qty)) for tick, lots in side]


@attrs.define
class NaiveBook:
    """A client as one would write it first: dictionaries of decimals, sorted for every message."""

    digits: Digits
    depth: int
    bids: dict[Decimal, Decimal] = attrs.field(factory=dict)
    asks: dict[Decimal, Decimal] = attrs.field(factory=dict)

    def apply(self, data: BookData, *, snapshot: bool) -> bool:
        """Apply a message; return whether its checksum matches."""
        if snapshot:
            self.bids, self.asks = {}, {}
        for side, levels, reverse in ((self.bids, data.bids, True), (self.asks, data.asks, False)):
            for level in levels:
                price, qty = _decimal(level.price), _decimal(level.qty)
                if qty:
                    side[price] = qty
                else:
                    side.pop(price, None)
            for price in sorted(side, reverse=reverse)[self.depth :]:
                del side[price]
        return checksum_of(self.texts(self.asks), self.texts(self.bids, reverse=True)) == data.checksum

    def texts(self, side: dict[Decimal, Decimal], *, reverse: bool = False) -> Pairs:
        price_places, qty_places = self.digits.price, self.digits.qty
        return [
            (f"{price:.{price_places}f}", f"{side[price]:.{qty_places}f}") for price in sorted(side, reverse=reverse)
        ]


def _decimal(token: bytes | int) -> Decimal:
    return Decimal(token.decode()) if isinstance(token, bytes) else Decimal(token)


digits = st.builds(Digits, price=st.integers(0, 9), qty=st.integers(0, 8))


@st.composite
def walks(
    draw: st.DrawFn, *, depth: int = 10, messages: int = 12, lose_zeros: bool = False
) -> tuple[VenueBook, list[BookData]]:
    """Draw a venue's book and the messages of a subscriber: a snapshot, then updates.

    The book is narrow, so that levels are hit, emptied, pushed out and come back; sometimes it has fewer levels than
    the window, sometimes quantities beyond 32 bits, and sometimes prices with leading zeros.
    """
    venue = VenueBook(attrs.evolve(draw(digits), lose_zeros=lose_zeros), depth)
    mid = draw(st.sampled_from([40, 635_018, 2**31 + 7]))
    lots = st.one_of(st.integers(1, 9), st.integers(2**31, 2**34), st.sampled_from([10, 100_000, 10**8]))
    ticks = st.integers(1, 16)
    for is_bid in (True, False):
        for away, size in draw(st.lists(st.tuples(ticks, lots), max_size=16)):
            venue.change([(is_bid, mid - away if is_bid else mid + away, size)])
    order = st.builds(
        lambda is_bid, away, size: (is_bid, mid - away if is_bid else mid + away, size),
        st.booleans(),
        ticks,
        st.one_of(st.just(0), lots),
    )
    messages_ = [venue.snapshot()]
    for orders in draw(st.lists(st.lists(order, min_size=1, max_size=4), max_size=messages)):
        messages_.append(venue.change(orders))  # noqa: PERF401 - each change depends on the one before
    return venue, messages_
