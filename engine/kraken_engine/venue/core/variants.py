"""The same truth told otherwise to one session than to another: several updates in one, or the same in other bytes.

Nothing documents that two connections get equal bytes for equal facts; a client that reads two of them has to be right
either way. A batched book is one whole update at a time: it makes the newest book of the last one told, in one element.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import attrs

from kraken_engine.venue.core.book_channel import BookPublisher, Totals
from kraken_engine.venue.core.records import FaultRecord
from kraken_engine.venue.core.sessions import Session

__all__ = ["STYLES", "BatchedBook", "Batching", "Wording"]


def _spaced(payload: bytes) -> bytes:
    return payload.replace(b',"', b', "').replace(b'":', b'": ')


def _extended(payload: bytes) -> bytes:
    return payload.replace(b'{"symbol":', b'{"novelty":[{"depth":1}],"symbol":')


def _reordered(payload: bytes) -> bytes:
    turned = _BOOK.sub(rb'{"timestamp":\4,"checksum":\3,\2,"symbol":\1}', payload)
    return _HEAD.sub(rb'{"type":\2,"channel":\1,', turned, count=1)


_HEAD = re.compile(rb'^\{"channel":("\w+"),"type":("\w+"),')
_BOOK = re.compile(rb'\{"symbol":("[^"]+"),("bids":.*?),"checksum":(\d+),"timestamp":("[^"]+")\}')

STYLES: Mapping[str, Callable[[bytes], bytes]] = {
    "spaced": _spaced,
    "reordered": _reordered,
    "extended": _extended,
}
"""How market data may be worded otherwise: white space, order of the keys, a field nobody knows."""


@attrs.define(kw_only=True)
class Wording:
    """Market data that matches is written in another style. None matches everything."""

    record: FaultRecord
    session_id: int | None
    symbol: str | None
    style: str

    def matches(self, session: Session, symbol: str | None) -> bool:
        """Return whether this payload is worded otherwise."""
        return self.session_id in (None, session.id) and self.symbol in (None, symbol)


@attrs.define(kw_only=True, eq=False)
class Batching:
    """Book updates that match are told several at a time. None matches everything."""

    record: FaultRecord
    session_id: int | None
    symbol: str | None
    size: int | None
    """How many make one; None: two for every other session, three for the rest, so that no two neighbours agree."""
    later: Callable[[Callable[[], None]], None]
    """Calls back when an update has waited long enough for the next one."""

    def matches(self, session: Session, symbol: str) -> bool:
        """Return whether this session gets this book so."""
        return self.session_id in (None, session.id) and self.symbol in (None, symbol)

    def size_for(self, session: Session) -> int:
        """Return how many updates make one for ``session``."""
        return self.size or 2 + session.id % 2


@attrs.define(kw_only=True, eq=False)
class BatchedBook:
    """One book as one session is told it under a :class:`Batching`."""

    batching: Batching
    session: Session
    symbol: str
    book: BookPublisher
    depth: int
    flush: Callable[[BatchedBook], None]
    """Delivers what waits."""
    _before: Totals = attrs.field(init=False)
    """The book that the session was told last."""
    _waiting: int = attrs.field(default=0, init=False)
    _batches: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._before = self.book.totals(self.depth)

    def add(self) -> bytes | None:
        """Take one more update, and return the one that is told now, if any."""
        self._waiting += 1
        if self._waiting >= self.batching.size_for(self.session):
            return self.take()
        if self._waiting == 1:
            batch = self._batches
            self.batching.later(lambda: self._overdue(batch))
        return None

    def take(self) -> bytes | None:
        """Return everything that waits as one update."""
        if not self._waiting:
            return None
        self._batches += 1
        self._waiting = 0
        payload = self.book.update_since(self._before, self.depth)
        self._before = self.book.totals(self.depth)
        return payload

    def _overdue(self, batch: int) -> None:
        if batch == self._batches and self._waiting:
            self.flush(self)
