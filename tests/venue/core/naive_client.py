"""A client of the venue as the documents describe one, slow and obvious; it shares no code with what it judges."""

from __future__ import annotations

import json
import zlib
from typing import Any

import attrs

from kraken_engine.venue.core.exchange import Exchange
from kraken_engine.venue.core.ports import Out
from kraken_engine.venue.core.sessions import Session

__all__ = ["WALL_NS", "NaiveBook", "ask", "decoded", "opened", "subscribe", "taken"]

WALL_NS = 1_783_465_203_947_173_566
"""2026-07-07T23:00:03.947173566Z."""


def opened(*, seed: int = 1, symbols: int = 3, rate: float = 200.0, levels: int | None = 60) -> Exchange:
    """Open an exchange at second 0."""
    return Exchange(seed, symbols, rate, 0.0, WALL_NS, levels=levels)


def ask(session: Session, now: float, method: str, **fields: Any) -> list[dict[str, Any]]:
    """Send one request and return everything that the session is owed by then."""
    session.receive(json.dumps({"method": method, **fields}).encode(), now)
    return decoded(taken(session))


def subscribe(session: Session, now: float, channel: str, symbols: list[str], **params: Any) -> list[dict[str, Any]]:
    """Subscribe and return everything that the session is owed by then."""
    return ask(session, now, "subscribe", params={"channel": channel, "symbol": symbols, **params})


def taken(session: Session) -> list[Out]:
    """Empty the outbox."""
    frames = list(session.outbox)
    session.outbox.clear()
    return frames


def decoded(frames: list[Out]) -> list[dict[str, Any]]:
    """Decode text frames; numbers with a point stay the text they were."""
    return [json.loads(frame, parse_float=str) for frame in frames if isinstance(frame, bytes)]


@attrs.define
class NaiveBook:
    """Levels by price text: apply in array order, truncate, compare the checksum."""

    depth: int
    deep: bool = True
    """Whether the venue has more levels than the client: then no message may leave the client short of levels."""
    bids: dict[str, str] = attrs.field(factory=dict[str, str])
    asks: dict[str, str] = attrs.field(factory=dict[str, str])
    deletes: int = 0
    inserts: int = 0
    messages: int = 0
    repeated_prices: int = 0
    both_sides: int = 0

    def receive(self, message: dict[str, Any]) -> None:
        """Apply a book message and check everything the venue promises about it."""
        (data,) = message["data"]
        if message["type"] == "snapshot":
            self.bids, self.asks = {}, {}
        else:
            self.messages += 1
            self.both_sides += bool(data["bids"] and data["asks"])
            assert data["bids"] or data["asks"], "an update without a change"
        for name, side in (("bids", self.bids), ("asks", self.asks)):
            full = len(side) == self.depth
            prices = [level["price"] for level in data[name]]
            self.repeated_prices += len(prices) != len(set(prices))
            for level in data[name]:
                if float(level["qty"]) == 0:
                    self.deletes += 1
                    assert level["price"] in side, "a delete of a level the client does not hold"
                    del side[level["price"]]
                else:
                    self.inserts += level["price"] not in side
                    side[level["price"]] = level["qty"]
            best_first = self.best_first(name)
            for price, _ in best_first[self.depth :]:
                del side[price]
            assert not (full and self.deep) or len(side) == self.depth, "a delete without its replacement"
        assert self.checksum() == data["checksum"]

    def best_first(self, name: str) -> list[tuple[str, str]]:
        side = self.bids if name == "bids" else self.asks
        return sorted(side.items(), key=lambda level: float(level[0]), reverse=name == "bids")

    def checksum(self) -> int:
        text = ""
        for name in ("asks", "bids"):
            for price, qty in self.best_first(name)[:10]:
                text += price.replace(".", "").lstrip("0") + qty.replace(".", "").lstrip("0")
        return zlib.crc32(text.encode())
