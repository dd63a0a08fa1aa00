"""The order book of one symbol: apply what the venue sends, and believe it only if its checksum agrees.

Rules of the book (docs "Book (Level 2)", "Book Checksum"): changes count in the order of the array, quantity 0
removes a level, then each side is cut to the subscribed depth, then a CRC-32 over the ten best levels of each side
must equal the one in the message. A message that breaks any rule costs the whole book: it is emptied at once, so
that nothing unverified can be read from it.

Each side is kept in parallel lists, best level first: integer keys for bisection, the checksum's text of each level,
and the level as received, from which views make exact decimals.

Knows nothing of time, subscriptions or what to do after a fault: see :mod:`kraken_engine.state.book_sync`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from zlib import crc32

from kraken_engine.codec.numbers import MAX_DIGITS, Scale, decimal_of
from kraken_engine.codec.ws_v2 import BookData, Level
from kraken_engine.errors import DecodeError, ProtocolError, Stale
from kraken_engine.normalise.book_view import VERIFIED_LEVELS, BookView, Witness

__all__ = ["BookFault", "ChecksumMismatch", "OrderBook"]

_PRICE_PATH = "$.data[0].*.price"
_QTY_PATH = "$.data[0].*.qty"


class BookFault(ProtocolError):
    """A message does not fit the book; the book has been emptied. Stays inside ``state``."""


class ChecksumMismatch(BookFault):
    """The book after the message is not the book the venue has."""


class OrderBook:
    """Price levels of one symbol to ``depth`` a side.

    Args:
        symbol: as the venue names it.
        depth: levels a side, as subscribed.
    """

    __slots__ = ("_asks", "_bids", "_checksum", "_instrument", "_price", "_qty", "depth", "symbol")

    def __init__(self, symbol: str, depth: int) -> None:
        self.symbol = symbol
        self.depth = depth
        self._asks = _Side(1, depth)
        self._bids = _Side(-1, depth)
        self._checksum: int | None = None
        """Checksum of the last message, which matched; None: there is no book."""
        self._instrument = (0, 0)
        """Decimals of price and quantity that the instrument announces."""
        self._price = Scale(0, _PRICE_PATH)
        self._qty = Scale(0, _QTY_PATH)

    def __repr__(self) -> str:
        return f"OrderBook({self.symbol!r}, depth={self.depth}, is_verified={self.is_verified})"

    @property
    def is_verified(self) -> bool:
        """Whether there is a book: one whose last message left it with the venue's checksum."""
        return self._checksum is not None

    @property
    def precision(self) -> tuple[int, int]:
        """Digits after the point of prices and of quantities, as the present book is read."""
        return self._price.decimals, self._qty.decimals

    @property
    def crossed(self) -> bool:
        """Whether the best bid is at or above the best ask."""
        return bool(self._bids.keys and self._asks.keys) and -self._bids.keys[0] >= self._asks.keys[0]

    def expect_precision(self, price_decimals: int, qty_decimals: int) -> None:
        """Say what the instrument says; holds from the next snapshot on.

        Needed where trailing zeros were lost on the way (recordings): the checksum is over the venue's digits. A
        snapshot that shows more digits than the instrument announces is believed, and then checked.
        """
        self._instrument = (price_decimals, qty_decimals)

    def apply(self, data: BookData, *, snapshot: bool) -> bool:
        """Replace (``snapshot``) or change the book, then verify it.

        Returns:
            Whether this made a state that was not known before: True, always, for a book that nobody else makes.

        Raises:
            ChecksumMismatch: the result is not the venue's book.
            BookFault: the message cannot be applied: a number with more digits than this book's precision, far more
                levels than subscribed, an update without a book. Either way the book is empty afterwards.
        """
        try:
            if snapshot or not (self._asks.keys or self._bids.keys):
                self._begin(data, snapshot=snapshot)
            if data.asks:
                self._asks.change(data.asks, self._price, self._qty)
            if data.bids:
                self._bids.change(data.bids, self._price, self._qty)
        except BookFault:
            self.clear()
            raise
        except DecodeError as error:
            self.clear()
            raise BookFault(str(error)) from None
        checksum = crc32(self._bids.text, crc32(self._asks.text))
        if checksum != data.checksum:
            self.clear()
            raise ChecksumMismatch(f"checksum: the venue has {data.checksum}, this book had {checksum}")
        self._checksum = checksum
        return True

    def copy(self) -> OrderBook:
        """Return a book in the same state that goes its own way from here."""
        twin = OrderBook(self.symbol, self.depth)
        twin._asks.take(self._asks)
        twin._bids.take(self._bids)
        twin._checksum, twin._instrument = self._checksum, self._instrument
        twin._price, twin._qty = self._price, self._qty
        return twin

    def same_levels(self, other: OrderBook) -> bool:
        """Return whether both books have the same levels, those that no checksum covers included."""
        return (
            self.precision == other.precision
            and self._asks.same_levels(other._asks)
            and self._bids.same_levels(other._bids)
        )

    def clear(self) -> None:
        """Drop every level; only a snapshot fills the book again."""
        self._checksum = None
        self._asks.clear()
        self._bids.clear()

    def view(self, *, witness: Witness | None = None, position: int = 0) -> BookView:
        """Return the present book as an immutable value.

        Args:
            witness: knows how far a second line agrees with this book, levels beyond the checksum included ...
            position: ... and this is how far it has to agree for this view.

        Raises:
            Stale: there is no verified book.
        """
        if self._checksum is None:
            raise Stale("book", self.symbol, "no verified book")
        return BookView(
            symbol=self.symbol,
            depth=self.depth,
            checksum=self._checksum,
            crossed=self.crossed,
            raw_bids=tuple(self._bids.levels),
            raw_asks=tuple(self._asks.levels),
            witness=witness,
            position=position,
        )

    def _begin(self, data: BookData, *, snapshot: bool) -> None:
        """Make an empty book ready for its first levels, which settle its precision."""
        if snapshot:
            self.clear()
        elif self._checksum is None:
            raise BookFault("update without a snapshot")
        both = (*data.asks[: 2 * self.depth], *data.bids[: 2 * self.depth])
        price_decimals, qty_decimals = self._instrument
        price_decimals = max(price_decimals, _decimals(level.price for level in both))
        qty_decimals = max(qty_decimals, _decimals(level.qty for level in both))
        if (price_decimals, qty_decimals) != self.precision:
            self._price, self._qty = Scale(price_decimals, _PRICE_PATH), Scale(qty_decimals, _QTY_PATH)


class _Side:
    """One side of a book in parallel lists, best level first."""

    __slots__ = ("depth", "keys", "levels", "sign", "text", "tokens")

    def __init__(self, sign: int, depth: int) -> None:
        self.sign = sign
        self.depth = depth
        self.keys: list[int] = []
        """Scaled prices, negated for bids, so that the best is always the smallest."""
        self.tokens: list[bytes] = []
        """The checksum's text of each level: digits of price and quantity without point and leading zeros."""
        self.levels: list[Level] = []
        """The levels as received."""
        self.text = b""
        """The checksum's text of the whole side."""

    def same_levels(self, other: _Side) -> bool:
        return self.keys == other.keys and self.tokens == other.tokens

    def take(self, other: _Side) -> None:
        self.keys, self.tokens, self.levels = other.keys.copy(), other.tokens.copy(), other.levels.copy()
        self.text = other.text

    def clear(self) -> None:
        self.keys.clear()
        self.tokens.clear()
        self.levels.clear()
        self.text = b""

    def change(self, changes: Sequence[Level], price_scale: Scale, qty_scale: Scale) -> None:
        """Apply ``changes`` in their order, then cut the side to its depth.

        Raises:
            BookFault: more changes than any honest message has.
            DecodeError: a price or quantity is no number of this book's precision.
        """
        if len(changes) > 2 * self.depth:
            raise BookFault(f"expected at most {2 * self.depth} levels of a side in one message, got {len(changes)}")
        keys, tokens, levels, sign = self.keys, self.tokens, self.levels, self.sign
        for level in changes:
            price = price_scale(level.price)
            qty = qty_scale.scaled(level.qty)
            key = sign * price
            at = bisect_left(keys, key)
            if at < len(keys) and keys[at] == key:
                if qty:
                    tokens[at] = b"%d%d" % (price, qty)
                    levels[at] = level
                else:
                    del keys[at], tokens[at], levels[at]
            elif qty:
                if not price:
                    raise BookFault("expected a price above 0, got 0")
                keys.insert(at, key)
                tokens.insert(at, b"%d%d" % (price, qty))
                levels.insert(at, level)
            # else: removing what is not there changes nothing; the checksum tells if it should have
        depth = self.depth
        if len(keys) > depth:
            del keys[depth:], tokens[depth:], levels[depth:]
        self.text = b"".join(tokens[:VERIFIED_LEVELS])


def _decimals(tokens: Iterable[object]) -> int:
    """Return the most digits after the point that any of ``tokens`` has.

    Raises:
        DecodeError: one is no number.
    """
    most = 0
    for token in tokens:
        point = token.find(b".") + 1 if type(token) is bytes else 0
        if type(token) is bytes and point and len(token) <= MAX_DIGITS and token[point:].isdigit():
            digits = len(token) - point
        else:
            exponent = decimal_of(token, "$.data[0]").as_tuple().exponent
            assert isinstance(exponent, int), "decimal_of returns finite numbers only"
            digits = -exponent
        most = max(most, digits)
    return most
