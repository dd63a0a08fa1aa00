"""The text side of one market's book: depth windows, their updates and snapshots, and the checksum.

A client of depth *d* holds the *d* best levels of a side. From the changes of the ladders this works out what such a
client has to be told (docs "Book (Level 2)", and the behaviour of recordings where the docs are silent):

* a level inside the window that is new or changed is sent with its total; one that is gone is sent with quantity 0;
* a level pushed out of the window is not mentioned, the client truncates;
* the level that enters at the far end when one is deleted is sent in the same message, right after the deletion.

One message must not contain an insert followed by a delete on the same side: a level that the insert pushed out and
that is then deleted unseen would be kept by the client, who truncates only at the end of a message. So such a delete
starts a new message.

Every message is built once per depth and shared by all its subscribers.
"""

from __future__ import annotations

import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections import deque

import attrs

from kraken_engine.venue.core.instruments import Pair
from kraken_engine.venue.core.matching import ASK, BID, Ladder, MatchingBook
from kraken_engine.venue.core.timestamps import NS_PER_US, Stamps

__all__ = ["CHECKED", "DEPTHS", "RECENT", "BookHistory", "BookMessage", "BookPublisher", "RecentBook", "Totals"]

Totals = tuple[dict[int, int], dict[int, int]]
"""Quantities of bids and asks in lots, by a key that rises from the best level on."""

DEPTHS = (10, 25, 100, 500, 1000)

CHECKED = 10
"""Levels a side that the checksum covers."""

HISTORY = 16_384
RECENT = 2_048
"""Books of one symbol whose checked levels are kept whole, unless the venue says fewer."""


@attrs.frozen
class RecentBook:
    """The checked levels of a book that was, as level texts."""

    time_us: int
    checksum: int
    bids: list[bytes]
    asks: list[bytes]


@attrs.frozen
class BookMessage:
    """One update for the subscribers of one depth; ``checksum`` is the one inside ``payload``."""

    depth: int
    payload: bytes
    checksum: int


class BookPublisher:
    """What the subscribers of one market's book see."""

    def __init__(self, pair: Pair, book: MatchingBook, stamps: Stamps, wall_ns: int, *, recent: int = RECENT) -> None:
        self.wall_ns = wall_ns
        """Time of what happens next; whoever lets the market move sets it first."""
        self.history = BookHistory()
        self.recent: deque[RecentBook] = deque(maxlen=recent)
        self.told: dict[int, BookHistory] = {}
        """The books that each depth was sent as updates, whether or not every subscriber got them."""
        self._stamps = stamps
        self._bids = _SideText(book.bids, pair, self)
        self._asks = _SideText(book.asks, pair, self)
        self._sides = (self._bids, self._asks)
        self._windows: list[_Window] = []
        self._ready: list[BookMessage] = []
        self._head = b'","bids":['.join((b'{"symbol":"' + pair.symbol.encode(), b""))
        self._update = b'{"channel":"book","type":"update","data":[' + self._head
        self._checksum = self._computed()
        self._changed_ns = wall_ns
        self._remember()

    @property
    def checksum(self) -> int:
        """Checksum of the book as last published."""
        return self._checksum

    @property
    def changed_ns(self) -> int:
        """Time of the last change of the book."""
        return self._changed_ns

    def open_window(self, depth: int) -> None:
        """Start to work out updates of ``depth``."""
        if all(window.depth != depth for window in self._windows):
            window = _Window(depth, self.told.setdefault(depth, BookHistory()))
            self._windows.append(window)
            for side in (BID, ASK):
                self._sides[side].windows.append((depth, window.sides[side]))

    def close_window(self, depth: int) -> None:
        """Stop to work out updates of ``depth``: nobody is subscribed any more."""
        self._windows = [window for window in self._windows if window.depth != depth]
        for side in self._sides:
            side.windows = [entry for entry in side.windows if entry[0] != depth]

    def write_digits(self, price: int, qty: int) -> None:
        """Write prices and quantities with so many digits more than the pair has, from the next message on.

        The same levels in other digits have another checksum.
        """
        for side in self._sides:
            side.write_digits(price, qty)
        self._checksum = self._computed()
        self._remember()

    def commit(self) -> list[BookMessage]:
        """Return the messages for everything that changed since the last call."""
        self.seal()
        if not self._ready:
            return _NOTHING
        ready, self._ready = self._ready, []
        return ready

    def seal(self) -> None:
        """End the current message: what follows goes into another one."""
        bids, asks = self._bids, self._asks
        if not (bids.changed_any or asks.changed_any):
            return
        if bids.changed_top or asks.changed_top:
            self._checksum = self._computed()
        bids.changed_any = asks.changed_any = bids.has_insert = asks.has_insert = False
        wall_ns = self._changed_ns = self.wall_ns
        checksum = self._checksum
        self._remember()
        tail = None
        for window in self._windows:
            bid_levels, ask_levels = window.sides
            if bid_levels or ask_levels:
                if tail is None:
                    tail = b'],"checksum":%d,"timestamp":"%b"}]}' % (checksum, self._stamps.micros(wall_ns))
                payload = b"".join((self._update, b",".join(bid_levels), b'],"asks":[', b",".join(ask_levels), tail))
                self._ready.append(BookMessage(window.depth, payload, checksum))
                window.told.add(wall_ns // NS_PER_US, checksum)
                bid_levels.clear()
                ask_levels.clear()

    def snapshot(self, depth: int) -> bytes:
        """Return the snapshot frame of ``depth``; its timestamp is that of the last change."""
        return b"".join(
            (
                b'{"channel":"book","type":"snapshot","data":[',
                self._head,
                b",".join(self._bids.levels(depth)),
                b'],"asks":[',
                b",".join(self._asks.levels(depth)),
                b'],"checksum":%d,"timestamp":"%b"}]}' % (self._checksum, self._stamps.micros(self._changed_ns)),
            )
        )

    def levels(self, side: int, depth: int) -> list[bytes]:
        """Return the texts of the best ``depth`` levels of ``side``."""
        return self._sides[side].levels(depth)

    def totals(self, depth: int) -> Totals:
        """Return the quantities of the best ``depth`` bids and asks by their place, best first."""
        return self._bids.totals(depth), self._asks.totals(depth)

    def update_since(self, before: Totals, depth: int) -> bytes | None:
        """Return one update that makes the book of now of a client's book of ``before``; None: nothing changed."""
        bids, asks = self._bids.changes(before[0], depth), self._asks.changes(before[1], depth)
        if not (bids or asks):
            return None
        tail = b'],"checksum":%d,"timestamp":"%b"}]}' % (self._checksum, self._stamps.micros(self._changed_ns))
        return b"".join((self._update, b",".join(bids), b'],"asks":[', b",".join(asks), tail))

    def wrong_level(self) -> bytes | None:
        """Return an update that gives one bid no checksum covers twice its quantity; None: there is no such bid."""
        level = self._bids.doubled(CHECKED)
        if level is None:
            return None
        stamp = self._stamps.micros(self._changed_ns)
        tail = b'],"asks":[],"checksum":%d,"timestamp":"%b"}]}' % (self._checksum, stamp)
        return b"".join((self._update, level, tail))

    def _remember(self) -> None:
        time_us = self._changed_ns // NS_PER_US
        self.history.add(time_us, self._checksum)
        self.recent.append(RecentBook(time_us, self._checksum, self._bids.checked_texts, self._asks.checked_texts))

    def _computed(self) -> int:
        return zlib.crc32(self._asks.checked() + self._bids.checked())


class BookHistory:
    """The last books that existed, as (time in µs, checksum), oldest first; for judges, not for clients."""

    def __init__(self, capacity: int = HISTORY) -> None:
        self.forgotten = 0
        """Books that were remembered and are not any more."""
        self._capacity = capacity
        self._times = array("q")
        self._checksums = array("L")

    def __len__(self) -> int:
        return len(self._times)

    def add(self, time_us: int, checksum: int) -> None:
        """Remember a book; the oldest half goes when twice the capacity is reached."""
        self._times.append(time_us)
        self._checksums.append(checksum)
        if len(self._times) >= 2 * self._capacity:
            del self._times[: self._capacity]
            del self._checksums[: self._capacity]
            self.forgotten += self._capacity

    def since(self, number: int) -> list[tuple[int, int]]:
        """Return time and checksum of every remembered book but the first ``number`` of all."""
        start = max(0, number - self.forgotten)
        return list(zip(self._times[start:], self._checksums[start:], strict=True))

    def had(self, checksum: int, time_us: int | None = None) -> bool:
        """Return whether a remembered book had ``checksum`` (at exactly ``time_us``, when given)."""
        if time_us is None:
            return checksum in self._checksums
        first, last = bisect_left(self._times, time_us), bisect_right(self._times, time_us)
        return checksum in self._checksums[first:last]


_NOTHING: list[BookMessage] = []


class _Window:
    """Level texts that the next message of one depth will carry."""

    def __init__(self, depth: int, told: BookHistory) -> None:
        self.depth = depth
        self.told = told
        self.sides: tuple[list[bytes], list[bytes]] = ([], [])


class _SideText:
    """The texts of one ladder's levels, kept as it changes."""

    def __init__(self, ladder: Ladder, pair: Pair, publisher: BookPublisher) -> None:
        self.windows: list[tuple[int, list[bytes]]] = []
        self.changed_any = False
        self.changed_top = True
        self.has_insert = False
        self._keys = ladder.keys
        self._publisher = publisher
        self._pair = pair
        self._texts: dict[int, bytes] = {}
        self._tokens: dict[int, bytes] = {}
        self._levels = ladder.levels
        self.checked_texts: list[bytes] = []
        """The levels behind :meth:`checked`, as they were at its last call; never changed in place."""
        self._checked = b""
        self.write_digits(0, 0)
        ladder.listeners.append(self)

    def write_digits(self, price: int, qty: int) -> None:
        """Write every level anew, with so many digits more than the pair has."""
        self._price_unit, self._qty_unit = 10**price, 10**qty
        self._price_scale = 10 ** (self._pair.price_decimals + price)
        self._qty_scale = 10 ** (self._pair.qty_decimals + qty)
        self._price_form = b'{"price":%%d.%%0%dd,"qty":' % (self._pair.price_decimals + price)
        self._qty_form = b"%%b%%d.%%0%dd}" % (self._pair.qty_decimals + qty)
        for key, level in self._levels.items():
            self._write(key, level.total)
        self.changed_top = True

    def doubled(self, index: int) -> bytes | None:
        """Return the text of the level at ``index`` with twice its quantity; None: there are not so many."""
        if index >= len(self._keys):
            return None
        key = self._keys[index]
        return self._text(key, 2 * self._levels[key].total)

    def inserted(self, index: int, key: int, total: int) -> None:
        """Tell every window that reaches so far."""
        self.has_insert = True
        self.changed(index, key, total)

    def changed(self, index: int, key: int, total: int) -> None:
        """Tell every window that reaches so far."""
        text = self._write(key, total)
        self.changed_any = True
        if index < CHECKED:
            self.changed_top = True
        for depth, out in self.windows:
            if index < depth:
                out.append(text)

    def removing(self, index: int, key: int) -> None:
        """Tell every window that reaches so far, together with the level that takes the free place."""
        if self.has_insert:
            self._publisher.seal()
        del self._texts[key], self._tokens[key]
        self.changed_any = True
        if index < CHECKED:
            self.changed_top = True
        keys = self._keys
        for depth, out in self.windows:
            if index < depth:
                out.append(self._text(key, 0))
                if len(keys) > depth:
                    out.append(self._texts[keys[depth]])

    def levels(self, depth: int) -> list[bytes]:
        """Return the texts of the best ``depth`` levels."""
        texts = self._texts
        return [texts[key] for key in self._keys[:depth]]

    def totals(self, depth: int) -> dict[int, int]:
        """Return the quantities of the best ``depth`` levels by key, best first."""
        return {key: self._levels[key].total for key in self._keys[:depth]}

    def changes(self, before: dict[int, int], depth: int) -> list[bytes]:
        """Return the texts that make the levels of now of those ``before``.

        What is gone is mentioned only where a client that truncates would keep it.
        """
        now = self.totals(depth)
        last = self._keys[depth - 1] if len(now) == depth else None
        gone = [self._text(key, 0) for key in before if key not in now and (last is None or key < last)]
        return gone + [self._texts[key] for key, total in now.items() if before.get(key) != total]

    def checked(self) -> bytes:
        """Return this side's part of what the checksum is computed over."""
        if self.changed_top:
            texts, tokens, keys = self._texts, self._tokens, self._keys[:CHECKED]
            self._checked = b"".join([tokens[key] for key in keys])
            self.checked_texts = [texts[key] for key in keys]
            self.changed_top = False
        return self._checked

    def _write(self, key: int, total: int) -> bytes:
        text = self._texts[key] = self._text(key, total)
        self._tokens[key] = b"%d%d" % (abs(key) * self._price_unit, total * self._qty_unit)
        return text

    def _text(self, key: int, total: int) -> bytes:
        price = self._price_form % divmod(abs(key) * self._price_unit, self._price_scale)
        return self._qty_form % (price, *divmod(total * self._qty_unit, self._qty_scale))
