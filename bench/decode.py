"""What it costs to decode one frame, against the ways it is usually done.

    python bench/decode.py [--quick]

Rounds are interleaved and CPU time is counted; a frame's figure is the median over the rounds. Machines differ and are
shared: compare ratios of one run, never absolute figures of two. Each contender also decodes ``0.00100000``, and the
last column says whether the digits survived: without them a book's checksum cannot be checked.

"the parser alone" is the compiled pass inside our decoder; what is between the two is the price of caps and sampling.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import statistics
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Literal

import msgspec

from kraken_engine.codec.numbers import Scale
from kraken_engine.codec.ws_v2 import BookMessage, Decoder, MarketMessage

Decode = Callable[[bytes], Any]

PROBE = (
    b'{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[],"asks":[{"price":63502.0,'
    b'"qty":0.00100000}],"checksum":1,"timestamp":"2026-07-07T23:00:04.031158Z"}]}'
)


class DecimalLevel(msgspec.Struct, gc=False):
    price: Decimal
    qty: Decimal


class DecimalBookData(msgspec.Struct, gc=False):
    symbol: str
    bids: list[DecimalLevel]
    asks: list[DecimalLevel]
    checksum: int
    timestamp: str | None = None


class DecimalBook(msgspec.Struct, gc=False):
    channel: Literal["book"]
    type: str
    data: list[DecimalBookData]


def scaled() -> Decode:
    """Return our decoder with every number made an integer, as the order book makes them."""
    decode, price, qty = Decoder().decode, Scale(1), Scale(8)

    def decode_and_scale(frame: bytes) -> Any:
        message = decode(frame)
        if isinstance(message, BookMessage):
            for data in message.data:
                for side in (data.bids, data.asks):
                    for level in side:
                        price(level.price)
                        qty.scaled(level.qty)
        return message

    return decode_and_scale


CONTENDERS: dict[str, Decode] = {
    "json, floats": json.loads,
    "json, Decimal": lambda frame: json.loads(frame, parse_float=Decimal),
    "msgspec, untyped, Decimal": msgspec.json.Decoder(float_hook=Decimal).decode,
    "msgspec, typed, Decimal (books only)": msgspec.json.Decoder(DecimalBook).decode,
    "the parser alone": msgspec.json.Decoder(MarketMessage, float_hook=str.encode).decode,
    "our decoder": Decoder().decode,
    "our decoder, numbers scaled": scaled(),
}
BASE = "json, Decimal"


def level(rng: random.Random) -> str:
    qty = "0.00000000" if rng.random() < 0.3 else f"{rng.randrange(1, 300_000_000) / 1e8:.8f}"
    return f'{{"price":{rng.randrange(634_000, 636_000) / 10:.1f},"qty":{qty}}}'


def book_update(rng: random.Random) -> bytes:
    sides: tuple[list[str], list[str]] = ([], [])
    changed = sides[rng.randrange(2)]
    changed.extend(level(rng) for _ in range(rng.choice((1, 1, 2, 2, 3))))
    return (
        f'{{"channel":"book","type":"update","data":[{{"symbol":"BTC/USD","bids":[{",".join(sides[0])}],'
        f'"asks":[{",".join(sides[1])}],"checksum":{rng.getrandbits(32)},'
        f'"timestamp":"2026-07-07T23:00:04.{rng.randrange(10**6):06d}Z"}}]}}'
    ).encode()


def book_snapshot(rng: random.Random) -> bytes:
    sides = [",".join(level(rng) for _ in range(10)) for _ in range(2)]
    return (
        f'{{"channel":"book","type":"snapshot","data":[{{"symbol":"BTC/USD","bids":[{sides[0]}],"asks":[{sides[1]}],'
        f'"checksum":{rng.getrandbits(32)}}}]}}'
    ).encode()


def ticker(rng: random.Random) -> bytes:
    names = ("bid", "bid_qty", "ask", "ask_qty", "last", "volume", "vwap", "low", "high", "change", "change_pct")
    numbers = ",".join(f'"{name}":{rng.randrange(1, 10**10) / 1e5:.{rng.choice((1, 8))}f}' for name in names)
    return f'{{"channel":"ticker","type":"update","data":[{{"symbol":"BTC/USD",{numbers}}}]}}'.encode()


def measure(frames: list[bytes], rounds: int) -> dict[str, float]:
    """Return microseconds of CPU a frame, by contender."""
    spent: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for number in range(rounds + 1):
        for name, decode in CONTENDERS.items():
            if "books only" in name and b'"book"' not in frames[0]:
                continue
            gc.collect()
            start = time.process_time_ns()
            for frame in frames:
                decode(frame)
            if number:  # the first round warms up
                spent[name].append((time.process_time_ns() - start) / len(frames) / 1000)
    return {name: statistics.median(figures) for name, figures in spent.items() if figures}


def keeps_digits(decode: Decode) -> bool:
    document = decode(PROBE)
    asks = document["data"][0]["asks"] if isinstance(document, dict) else document.data[0].asks
    qty = asks[0]["qty"] if isinstance(document, dict) else asks[0].qty
    return (qty.decode() if isinstance(qty, bytes) else str(qty)) == "0.00100000"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a few frames, to see that it runs")
    quick = parser.parse_args().quick
    count, rounds = (200, 2) if quick else (3_000, 9)
    rng = random.Random(1)
    kinds = {"book update": book_update, "book snapshot": book_snapshot, "ticker": ticker}
    results = {kind: measure([make(rng) for _ in range(count)], rounds) for kind, make in kinds.items()}

    print(f"us CPU a frame (times faster than {BASE}), median of {rounds} interleaved rounds, {count} frames of a kind")
    print(f"{'':38}" + "".join(f"{kind:>20}" for kind in kinds) + f"{'digits kept':>14}")
    for name, decode in CONTENDERS.items():
        cells = "".join(
            f"{results[kind][name]:12.2f} ({results[kind][BASE] / results[kind][name]:4.1f}x)"
            if name in results[kind]
            else f"{'-':>20}"
            for kind in kinds
        )
        print(f"{name:38}{cells}{'yes' if keeps_digits(decode) else 'no':>14}")


if __name__ == "__main__":
    main()
