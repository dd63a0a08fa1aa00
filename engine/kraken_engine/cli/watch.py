"""``kraken-engine watch``: listen to markets, as a table or as JSON lines."""

from __future__ import annotations

from typing import Any

import attrs
import trio

from kraken_engine.cli.board import Board
from kraken_engine.cli.demo_ledger import Ledger
from kraken_engine.cli.interruption import Interruption, open_interruption
from kraken_engine.cli.output import (
    EventCounts,
    OutputFailed,
    book_json,
    event_json,
    json_line,
    print_while_others_run,
)
from kraken_engine.cli.parameters import Flag, Seconds
from kraken_engine.config import PUBLIC_V2_URL, Config, WireSettings
from kraken_engine.errors import UsageError
from kraken_engine.feed.subscription import DropOldest, Subscription
from kraken_engine.feed.topics import Book, Ticker, Topic, Trades
from kraken_engine.runtime import real_runtime
from kraken_engine.tasks.market import MarketStatistics, open_market
from kraken_engine.tasks.scope import open_background

__all__ = ["Watcher", "watch"]

_FAREWELL_S = 3.0
"""How long a slow reader has at the end for what is still queued."""


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
    async with open_interruption() as interruption, open_market(config, runtime=runtime) as market:
        missing = [name for name in names if name not in market.instruments]
        if missing:
            raise UsageError(f"{ws_url}: no such market: {', '.join(missing)}")
        watcher = Watcher(ledger=Ledger(names), json=json)
        async with (
            market.feed.subscribe(*topics, market.health, on_full=DropOldest(100_000)) as events,
            open_background("watching") as nursery,
        ):
            if not json:
                board = Board(title=ws_url, market=market, ledger=watcher.ledger, clock=runtime.clock)
                nursery.start_soon(board.run)
            patience = trio.CancelScope()
            nursery.start_soon(_stop, interruption, seconds, events, patience)
            with patience:
                await watcher.follow(events)
        with trio.CancelScope(deadline=patience.deadline) as farewell:
            await watcher.finish(market.statistics())
        if patience.cancelled_caught or farewell.cancelled_caught:
            raise OutputFailed(TimeoutError(f"its reader took too little for {_FAREWELL_S:g} s, the rest was dropped"))
    return interruption.code


async def _stop(
    interruption: Interruption, seconds: float | None, events: Subscription, patience: trio.CancelScope
) -> None:
    """End the stream after ``seconds`` or when interrupted, and give what is queued a while to be printed."""
    with trio.CancelScope() if seconds is None else trio.move_on_after(seconds):
        await interruption.wait()
    events.end()
    patience.deadline = trio.current_time() + _FAREWELL_S


@attrs.define(kw_only=True)
class Watcher:
    """Counts what comes, and prints it where that is wanted."""

    ledger: Ledger
    json: bool
    counts: EventCounts = attrs.field(factory=EventCounts, init=False)

    async def follow(self, events: Subscription) -> None:
        """Take events until the stream ends.

        A reader that is slower than the market holds up nothing but this task: what it has not taken yet waits in
        the queue of ``events``, under that queue's rule.

        Raises:
            OutputFailed: standard output takes nothing more.
            SlowConsumer: the queue's rule ended the stream.
        """
        async for batch in events.batches():
            self.counts.add(batch)
            for event in batch:
                self.ledger.receive(event)
            if self.json:
                await print_while_others_run("".join(json_line(event_json(event)) for event in batch))

    async def finish(self, statistics: MarketStatistics) -> None:
        """Print the counts, and the newest books.

        Raises:
            OutputFailed: standard output takes nothing more.
        """
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
            await print_while_others_run(json_line(summary))
            return
        counted = ", ".join(f"{count} {kind}" for kind, count in sorted(summary["events"].items()))
        await print_while_others_run(
            f"{summary['frames']} frames, {summary['frames_per_read']} a read: {counted}\n"
            f"checksums: {summary['verified']} verified, {summary['mismatched']} failed\n"
        )
