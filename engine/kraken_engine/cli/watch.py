"""``kraken-engine watch``: listen to markets, as a table or as JSON lines."""

from __future__ import annotations

import sys
from typing import Any

import attrs
import trio

from kraken_engine.cli.board import Board
from kraken_engine.cli.demo_ledger import Ledger
from kraken_engine.cli.output import EventCounts, book_json, event_json, print_json
from kraken_engine.cli.parameters import Flag, Seconds
from kraken_engine.config import PUBLIC_V2_URL, Config, WireSettings
from kraken_engine.errors import UsageError
from kraken_engine.feed.subscription import DropOldest, Subscription
from kraken_engine.feed.topics import Book, Ticker, Topic, Trades
from kraken_engine.runtime import real_runtime, wait_interrupted
from kraken_engine.tasks.market import Market, open_market
from kraken_engine.tasks.scope import open_background

__all__ = ["watch"]


async def watch(
    symbol: str,
    /,
    *symbols: str,
    ws_url: str = PUBLIC_V2_URL,
    ca_file: str | None = None,
    seconds: Seconds | None = None,
    startup_timeout: Seconds = 15.0,
    json: Flag = False,
) -> int:
    """Listen to ticker, book and trades of some markets; without --seconds until interrupted.

    Parameters
    ----------
    symbol
        A market, such as BTC/USD.
    symbols
        More markets.
    ws_url
        The WebSocket V2 address to listen at.
    ca_file
        One more certificate authority to trust (PEM).
    seconds
        How long to listen.
    startup_timeout
        How many seconds to wait for the venue.
    json
        Print one line of JSON per event, and a summary as the last line.
    """
    names = list(dict.fromkeys((symbol, *symbols)))
    topics: list[Topic] = [topic for name in names for topic in (Ticker(name), Book(name), Trades(name))]
    config = Config(public_url=ws_url, wire=WireSettings(ca_file=ca_file), startup_timeout_s=startup_timeout)
    runtime = real_runtime()
    async with open_market(config, runtime=runtime) as market:
        missing = [name for name in names if name not in market.instruments]
        if missing:
            raise UsageError(f"{ws_url}: no such market: {', '.join(missing)}")
        watcher = _Watcher(market=market, ledger=Ledger(names), json=json)
        async with (
            market.feed.subscribe(*topics, market.health, on_full=DropOldest(100_000)) as events,
            open_background("watching") as nursery,
        ):
            if not json:
                board = Board(title=ws_url, market=market, ledger=watcher.ledger, clock=runtime.clock)
                nursery.start_soon(board.run)
            stop = trio.CancelScope() if seconds is None else trio.move_on_after(seconds)
            nursery.start_soon(_stop_when_interrupted, stop)
            with stop:
                await watcher.follow(events)
        watcher.finish()
    return 0


async def _stop_when_interrupted(scope: trio.CancelScope) -> None:
    await wait_interrupted()
    scope.cancel()


@attrs.define(kw_only=True)
class _Watcher:
    """Counts what comes, and prints it where that is wanted."""

    market: Market
    ledger: Ledger
    json: bool
    counts: EventCounts = attrs.field(factory=EventCounts, init=False)

    async def follow(self, events: Subscription) -> None:
        """Take events until the stream ends."""
        async for batch in events.batches():
            self.counts.add(batch)
            for event in batch:
                self.ledger.receive(event)
                if self.json:
                    print_json(event_json(event))

    def finish(self) -> None:
        """Print the counts, and the newest books."""
        statistics = self.market.statistics()
        summary: dict[str, Any] = {
            "event": "summary",
            "frames": statistics.frames,
            "frames_per_read": round(statistics.frames_per_read, 3),
            "events": dict(self.counts.by_kind),
            "verified": statistics.books_verified,
            "mismatched": statistics.books_mismatched,
            "books": {symbol: book_json(book) for symbol, book in self.counts.books.items()},
        }
        if self.json:
            print_json(summary)
        else:
            counted = ", ".join(f"{count} {kind}" for kind, count in sorted(summary["events"].items()))
            sys.stdout.write(f"{summary['frames']} frames, {summary['frames_per_read']} a read: {counted}\n")
            sys.stdout.write(f"checksums: {summary['verified']} verified, {summary['mismatched']} failed\n")
