"""Compare the WebSocket with REST at random moments, with the venue's own history as witness.

Over real sockets, a lively venue; every comparison has to be equal, equal but for rounding, or explained by age. And
the witness has to agree: what the WebSocket showed is a book the venue had (its checksum is in the venue's history),
and what REST showed is a book of that history, rounded.

::

    python -m tests.drills.consistency [--comparisons 200] [--rate 400]
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import attrs
import trio

from kraken_engine import Book, BookUpdate, Config, Ticker, UsageError, open_market
from kraken_engine.feed.consistency import QTY_ROUNDING, Agreement, Comparison
from kraken_engine.runtime import real_runtime
from kraken_engine.venue.core.exchange import Exchange
from kraken_engine.venue.shells.server import VenueSettings, open_venue

Rows = list[tuple[Decimal, Decimal]]


@attrs.define
class Witness:
    """Remembers every book of the venue that the engine was shown, and asks the venue about it."""

    exchange: Exchange
    checksums: dict[str, dict[int, None]] = attrs.field(factory=dict)

    def see(self, event: object) -> None:
        if isinstance(event, BookUpdate) and event.book.verified:
            self.checksums.setdefault(event.symbol, {})[event.book.checksum] = None

    def problem(self, comparison: Comparison) -> str | None:
        """Return what the venue's history says against a comparison of books."""
        shown, rest, symbol = comparison.websocket, comparison.rest, comparison.symbol
        if not isinstance(shown, BookUpdate) or not isinstance(rest, BookUpdate):
            return None
        if not self.exchange.ever_had(symbol, shown.book.checksum, shown.venue_time):
            return f"{symbol}: the WebSocket showed a book the venue never had"
        top = [[(level.price, level.qty) for level in side[:10]] for side in (rest.book.bids, rest.book.asks)]
        known = reversed(self.checksums.get(symbol, {}))
        if not any(self._is_that_book(symbol, checksum, top) for checksum in known):
            return f"{symbol}: REST showed a book that is none of the venue's, rounded"
        return None

    def _is_that_book(self, symbol: str, checksum: int, top: list[Rows]) -> bool:
        try:
            true: Any = self.exchange.past_book(symbol, checksum)
        except UsageError:
            return False
        for side, rows in zip(("bids", "asks"), top, strict=True):
            for (price, qty), (true_price, true_qty) in zip(rows, true[side], strict=True):
                if price != Decimal(true_price) or abs(qty - Decimal(true_qty)) > QTY_ROUNDING:
                    return False
        return True


async def compare(count: int, rate: float) -> int:
    """Compare so often; return the number of comparisons that nothing explains."""
    rng, tally, bad = random.Random(7), Counter[str](), list[str]()
    async with open_venue(real_runtime(), VenueSettings(symbols=4, rate=rate, seed=5)) as venue:
        config = Config(public_url=venue.ws_url)
        config = attrs.evolve(config, rest=attrs.evolve(config.rest, base_url=venue.rest_url))
        witness = Witness(venue.exchange)
        async with open_market(config) as market:
            market.publisher.observe(lambda _, event: witness.see(event))
            topics: list[Ticker | Book] = [
                topic for symbol in venue.exchange.symbols for topic in (Ticker(symbol), Book(symbol))
            ]
            async with market.feed.subscribe(*topics), trio.open_nursery() as nursery:
                await trio.sleep(2.0)

                async def one(topic: Ticker | Book) -> None:
                    compared = await market.failover.verify_consistency(topic)
                    if not compared:  # a busy machine may have kept the line silent for long enough
                        tally["left out: fed by REST at that moment"] += 1
                        return
                    (comparison,) = compared
                    tally[f"{comparison.channel}: {comparison.agreement.value}"] += 1
                    problem = witness.problem(comparison)
                    if not comparison.agreement.fine or comparison.agreement is Agreement.UNKNOWN:
                        bad.append(f"{comparison.channel} {comparison.symbol}: {comparison.what}")
                    elif problem is not None:
                        bad.append(problem)

                for _ in range(count):
                    await one(rng.choice(topics))
                    await trio.sleep(rng.uniform(0.0, 0.5))
                nursery.cancel_scope.cancel()
    print(f"{count} comparisons at {rate:g} messages a second, {len(bad)} unexplained")
    for what, number in sorted(tally.items()):
        print(f"  {number:4} {what}")
    for what in bad[:10]:
        print(f"  UNEXPLAINED {what}")
    return len(bad)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the drill; return 0 if everything is explained."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--comparisons", type=int, default=200)
    parser.add_argument("--rate", type=float, default=400.0)
    asked = parser.parse_args(arguments)
    return 1 if trio.run(compare, asked.comparisons, asked.rate) else 0


if __name__ == "__main__":
    sys.exit(main())
