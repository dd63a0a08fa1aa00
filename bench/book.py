"""What it costs to apply one book update and verify its checksum, against the two ways it is usually written.

    python bench/book.py [--quick]

Every contender gets the same decoded messages, applies all of them and has to agree with every checksum, or the run
fails. Rounds are interleaved; the figure is CPU time per update. Machines differ and are shared: compare ratios of
one run, never absolute figures of two.

The messages are made like the venue's (calibrated on a recording of 22 s): about two changed levels a message, a
removed level comes with its replacement in the same message, half the inserts push a level out without a word.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
import zlib
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from kraken_engine.codec.ws_v2 import BookData
from kraken_engine.config import SubscriptionSettings
from kraken_engine.state.book_sync import BookSync
from kraken_engine.state.order_book import OrderBook

SYMBOLS = [
    ("BTC/USD", 1, 8, 650_000),
    ("ETH/USD", 2, 8, 260_000),
    ("DOGE/USD", 7, 8, 1_000_000),
    ("PEPE/USD", 9, 5, 8_000),
]

Frame = tuple[str, bool, str]
"""Symbol, whether it is a snapshot, and the element of ``data`` as JSON."""
Apply = Callable[[Any, bool], bool]
"""Applies one message (snapshot or not); returns whether its checksum matched."""


class Market:
    """One symbol's whole book, and what a subscriber of ``depth`` levels is told of it."""

    def __init__(self, listing: tuple[str, int, int, int], depth: int, rng: random.Random) -> None:
        self.symbol, price_decimals, qty_decimals, mid = listing
        self.depth, self.rng = depth, rng
        self.decimals = (price_decimals, qty_decimals)
        far = range(1, 2 * depth + 30)
        self.sides = ({mid - 2 * i: self.lots() for i in far}, {mid + 2 * i: self.lots() for i in far})
        self.micros = 0

    def lots(self) -> int:
        return max(1, int(10 ** self.rng.uniform(self.decimals[1] - 3, self.decimals[1] + 3)))

    def window(self, side: int, levels: int) -> list[tuple[int, int]]:
        return sorted(self.sides[side].items(), reverse=side == 0)[:levels]

    def snapshot(self) -> Frame:
        return self.symbol, True, self.json(self.window(0, self.depth), self.window(1, self.depth))

    def update(self) -> Frame | None:
        rng, old = self.rng, [self.window(0, self.depth), self.window(1, self.depth)]
        for _ in range(rng.choice((1, 1, 1, 2, 2))):
            side = rng.randrange(2)
            book, top = self.sides[side], self.window(side, self.depth)
            tick = top[min(int(rng.expovariate(3.5 / self.depth)), self.depth - 1)][0]
            kind = rng.random()
            if kind < 0.45:
                book[tick] = self.lots()
            elif kind < 0.7 and len(book) > self.depth + 5:
                del book[tick]
            else:
                away = rng.randint(-1, 1)
                best_other = self.window(1 - side, 1)[0][0]
                new = min(tick + away, best_other - 1) if side == 0 else max(tick + away, best_other + 1)
                book[new] = self.lots()
        changed: list[list[tuple[int, int]]] = []
        for side in (0, 1):
            now = self.window(side, self.depth)
            gone = [(tick, 0) for tick, _ in old[side] if tick not in self.sides[side]]
            changed.append(gone + [level for level in now if level not in old[side]])
        return (self.symbol, False, self.json(*changed)) if any(changed) else None

    def json(self, bids: Sequence[tuple[int, int]], asks: Sequence[tuple[int, int]]) -> str:
        self.micros += 137
        tokens = [str(part) for side in (1, 0) for level in self.window(side, 10) for part in level]
        checksum = zlib.crc32("".join(tokens).encode())
        seconds, micros = divmod(self.micros, 1_000_000)
        at = f"2026-11-22T07:{seconds // 60:02d}:{seconds % 60:02d}.{micros:06d}Z"
        written = f'"bids":{self.levels(bids)},"asks":{self.levels(asks)}'
        return f'{{"symbol":"{self.symbol}",{written},"checksum":{checksum},"timestamp":"{at}"}}'

    def levels(self, levels: Sequence[tuple[int, int]]) -> str:
        price, qty = self.decimals
        return "[" + ",".join(f'{{"price":{text(p, price)},"qty":{text(q, qty)}}}' for p, q in levels) + "]"


def text(scaled: int, decimals: int) -> str:
    whole, fraction = divmod(scaled, 10**decimals)
    return f"{whole}.{fraction:0{decimals}d}"


def frames(updates: int, depth: int, seed: int) -> list[Frame]:
    rng = random.Random(seed)
    markets = [Market(listing, depth, rng) for listing in SYMBOLS]
    made = [market.snapshot() for market in markets]
    while len(made) < updates + len(markets):
        frame = rng.choice(markets).update()
        if frame is not None:
            made.append(frame)
    return made


class Ours:
    """OrderBook: bisected integer lists, cached checksum text"""

    def __init__(self, symbol: str, depth: int) -> None:
        self.book = OrderBook(symbol, depth)

    decode = staticmethod(msgspec.json.Decoder(BookData, float_hook=str.encode).decode)

    def apply(self, data: BookData, snapshot: bool) -> bool:
        self.book.apply(data, snapshot=snapshot)
        return True


class OursPublished(Ours):
    """BookSync: the same, with an event and a view made for every update"""

    def __init__(self, symbol: str, depth: int) -> None:
        self.sync = BookSync(symbol, depth, SubscriptionSettings())
        self.now = 0.0

    def apply(self, data: BookData, snapshot: bool) -> bool:
        self.now += 0.001
        return len(self.sync.receive(data, snapshot=snapshot, now=self.now)) > 0 and self.sync.view() is not None


class Naive:
    """dictionaries of Decimal, sorted for every update"""

    decode = staticmethod(msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode)

    def __init__(self, _symbol: str, depth: int) -> None:
        self.depth = depth
        self.sides: dict[str, dict[Decimal, Decimal]] = {"asks": {}, "bids": {}}

    def apply(self, data: dict[str, Any], snapshot: bool) -> bool:
        joined = ""
        for name, side in self.sides.items():
            if snapshot:
                side.clear()
            for level in data[name]:
                if level["qty"]:
                    side[level["price"]] = level["qty"]
                else:
                    side.pop(level["price"], None)
            prices = sorted(side, reverse=name == "bids")
            for price in prices[self.depth :]:
                del side[price]
            for price in prices[:10]:
                joined += f"{price:f}".replace(".", "").lstrip("0") + f"{side[price]:f}".replace(".", "").lstrip("0")
        return bool(zlib.crc32(joined.encode()) == data["checksum"])


class Floats:
    """floats formatted back to fixed digits, sorted for every level (as widespread SDKs do)"""

    decode = staticmethod(msgspec.json.Decoder(dict[str, Any]).decode)

    def __init__(self, symbol: str, depth: int) -> None:
        self.depth = depth
        self.decimals = next((price, qty) for name, price, qty, _ in SYMBOLS if name == symbol)
        self.sides: dict[str, dict[str, str]] = {"asks": {}, "bids": {}}

    def apply(self, data: dict[str, Any], snapshot: bool) -> bool:
        joined = ""
        for name in ("asks", "bids"):
            if snapshot:
                self.sides[name] = {}
            for level in data[name]:
                price, qty = (f"{level[k]:.{n}f}" for k, n in zip(("price", "qty"), self.decimals, strict=True))
                if float(qty) > 0:
                    self.sides[name][price] = qty
                else:
                    self.sides[name].pop(price, None)
                ordered = sorted(self.sides[name].items(), key=lambda item: float(item[0]), reverse=name == "bids")
                self.sides[name] = dict(ordered[: self.depth])
            for price, qty in list(self.sides[name].items())[:10]:
                joined += price.replace(".", "").lstrip("0") + qty.replace(".", "").lstrip("0")
        return bool(zlib.crc32(joined.encode()) == data["checksum"])


CONTENDERS: list[type[Any]] = [Ours, OursPublished, Naive, Floats]


def round_of(contender: type[Any], made: list[Frame], depth: int) -> float:
    """Run all frames through fresh books; return CPU microseconds per update."""
    books = {symbol: contender(symbol, depth) for symbol, *_ in SYMBOLS}
    calls: list[tuple[Apply, Any, bool]] = [
        (books[symbol].apply, contender.decode(text.encode()), snapshot) for symbol, snapshot, text in made
    ]
    for apply, data, snapshot in calls[: len(SYMBOLS)]:
        assert apply(data, snapshot)
    agreed = 0
    began = time.process_time_ns()
    for apply, data, snapshot in calls[len(SYMBOLS) :]:
        agreed += apply(data, snapshot)
    spent = time.process_time_ns() - began
    updates = len(made) - len(SYMBOLS)
    if agreed != updates:
        raise SystemExit(f"{contender.__name__}: {updates - agreed} of {updates} checksums did not match")
    return spent / updates / 1000


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few updates, one round: does it run, does it agree")
    parser.add_argument("--depth", type=int, default=10, choices=(10, 25, 100, 500, 1000))
    parser.add_argument("--updates", type=int, default=15_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    updates, rounds = (400, 1) if options.quick else (options.updates, options.rounds)

    made = frames(updates, options.depth, options.seed)
    changed = sum(text.count('"qty"') for _, snapshot, text in made if not snapshot) / updates
    spent: dict[str, list[float]] = {contender.__name__: [] for contender in CONTENDERS}
    for _ in range(rounds):
        for contender in CONTENDERS:
            spent[contender.__name__].append(round_of(contender, made, options.depth))

    best = statistics.median(spent["Ours"])
    print(f"depth {options.depth}, {updates} updates of {changed:.2f} levels, {rounds} rounds, every checksum agreed")
    for contender in CONTENDERS:
        figures = spent[contender.__name__]
        low, mid, high = min(figures), statistics.median(figures), max(figures)
        print(f"{contender.__name__:14} {low:7.2f} {mid:7.2f} {high:7.2f} us  {mid / best:5.1f}x  {contender.__doc__}")
    return {name: statistics.median(figures) for name, figures in spent.items()}


if __name__ == "__main__":
    main()
