"""Two hundred books on two lines: none wrong, memory flat, and subscriptions in their order and at their pace.

    python -m tests.drills.symbols [--symbols 200] [--seconds 60] [--rate 2000]

The venue runs in another process and is the judge: it knows what it sent, and when it was asked for what. Half-way, one
line is lost, so that the order is shown on a reconnect as well. Exit code 0: nothing was wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import attrs
import trio
from tests.drills._control import Control, Door, Refused, Session
from tests.drills._truth import Comparison, compare, microseconds
from tests.venue_process import venue_process

from kraken_engine import (
    Book,
    BookUpdate,
    Bounded,
    Candles,
    Event,
    Gap,
    Lagged,
    LineDown,
    Market,
    Stale,
    Ticker,
    Trades,
)
from kraken_engine.config import CHANNEL_PRIORITIES, Config
from kraken_engine.feed.subscription import Conflate
from kraken_engine.feed.topics import Topic
from kraken_engine.sim.judges.evidence import checksum, rows
from kraken_engine.tasks.market import open_market

QUEUE = 500_000
READY_S = 60.0
CHECKED_ONE_IN = 25
"""Of so many books shown, one is worked out anew from its digits."""
MOST_GROWTH = 0.05
"""Of the memory, from the end of the first third to the end."""
PER_SECOND = 20
MOST_SEEN_IN_A_SECOND = 25
"""The engine sends 20; on a busy machine some of them arrive together."""
WATCHED = 20
"""Symbols whose ticker and candles are asked for as well: all of them would be a drill of the venue."""


@attrs.define(kw_only=True)
class Drill:
    """One run."""

    control: Control
    symbols: list[str]
    seconds: float
    door: Door = attrs.field(init=False)
    shown: dict[str, list[tuple[int, int]]] = attrs.field(factory=dict[str, list[tuple[int, int]]], init=False)
    sent: dict[str, list[tuple[int, int]]] = attrs.field(factory=dict[str, list[tuple[int, int]]], init=False)
    last: dict[str, BookUpdate] = attrs.field(factory=dict[str, BookUpdate], init=False)
    memory: list[tuple[float, float, int]] = attrs.field(factory=list[tuple[float, float, int]], init=False)
    """Seconds, resident MiB, allocated blocks."""
    ends: list[LineDown] = attrs.field(factory=list[LineDown], init=False)
    """Connections that ended: one is meant to."""
    notices: list[Event] = attrs.field(factory=list[Event], init=False)
    worked_out: int = attrs.field(default=0, init=False)
    wrong_digits: int = attrs.field(default=0, init=False)
    differing: list[str] = attrs.field(factory=list[str], init=False)
    """Books that were not the venue's in the end."""

    def __attrs_post_init__(self) -> None:
        self.door = Door(self.control)
        self.shown = {symbol: [] for symbol in self.symbols}
        self.sent = {symbol: [] for symbol in self.symbols}

    async def run(self, market: Market) -> None:
        """Read everything for the time asked for, and gather the truth."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._consume, market)
            nursery.start_soon(self._consume_the_rest, market)
            nursery.start_soon(self._follow, market)
            await self._both_ready()
            nursery.start_soon(self._weigh)
            nursery.start_soon(self._remember)
            await trio.sleep(self.seconds / 2)
            victim, *_ = await self._both_ready()
            await self.control.fault("drop_connection", session=victim.id, mode="abort")
            await trio.sleep(self.seconds / 2)
            await self._both_ready()
            await self._compare_in_the_end()
            nursery.cancel_scope.cancel()
        await self._note()

    async def _consume(self, market: Market) -> None:
        count = 0
        async with market.feed.subscribe(*(Book(symbol) for symbol in self.symbols), on_full=Bounded(QUEUE)) as events:
            async for event in events:
                if isinstance(event, BookUpdate):
                    count += 1
                    self.last[event.symbol] = event
                    self.shown[event.symbol].append((microseconds(event.venue_time), event.book.checksum))
                    if count % CHECKED_ONE_IN == 0:
                        self._work_out(event)
                elif isinstance(event, (Stale, Gap, Lagged)):
                    self.notices.append(event)

    async def _follow(self, market: Market) -> None:
        async with market.feed.subscribe(market.health, on_full=Bounded(QUEUE)) as events:
            async for event in events:
                if isinstance(event, LineDown):
                    self.ends.append(event)
                    tell(f"{event.at_s:.1f} s: {event.line} ended: {event.reason}")

    async def _consume_the_rest(self, market: Market) -> None:
        """Ask for the other channels in the order that is not theirs; their values are not the point here."""
        topics: list[Topic] = [kind(symbol) for kind in (Candles, Ticker) for symbol in self.symbols[:WATCHED]]
        topics += [Trades(symbol) for symbol in self.symbols]
        async with market.feed.subscribe(*topics, on_full=Conflate()) as events:
            async for _ in events:
                pass

    def _work_out(self, event: BookUpdate) -> None:
        top = event.book.top(10)
        self.worked_out += 1
        self.wrong_digits += checksum(rows(top.bids), rows(top.asks)) != event.book.checksum

    async def _both_ready(self) -> list[Session]:
        with trio.fail_after(READY_S):
            while True:
                lines = await self.door.look()
                ready = [line for line in lines if self._carries_all(line)]
                if len(ready) == 2:
                    return ready
                await trio.sleep(0.1)

    def _carries_all(self, line: Session) -> bool:
        some = self.symbols[:WATCHED]
        wanted = {"ticker": some, "ohlc": some, "trade": self.symbols, "book": self.symbols}
        return all(line.has(channel, symbols) for channel, symbols in wanted.items())

    async def _weigh(self) -> None:
        start = trio.current_time()
        while True:
            kept = sum(map(len, self.shown.values())) + sum(map(len, self.sent.values()))
            mib = (_resident_bytes() - kept * BYTES_OF_A_POINT) / 2**20
            self.memory.append((trio.current_time() - start, mib, sys.getallocatedblocks() - kept * BLOCKS_OF_A_POINT))
            await trio.sleep(1.0)

    async def _remember(self) -> None:
        while True:
            await self._note()
            await trio.sleep(2.0)

    async def _note(self) -> None:
        for symbol, sent in self.sent.items():
            answer = await self.control.get(f"told/{symbol}", since=len(sent))
            sent.extend((time_us, crc) for time_us, crc in answer["books"])

    async def _compare_in_the_end(self) -> None:
        """Compare the last book shown of every symbol with the venue's book of the same checksum."""
        for symbol in self.symbols:
            mine = self.last[symbol].book
            try:
                true = await self.control.get(f"books/{symbol}", checksum=mine.checksum)
            except Refused as refused:
                self.differing.append(f"{refused} ({mine.checksum} of {self.last[symbol].venue_time})")
                continue
            if [rows(mine.bids[:10]), rows(mine.asks[:10])] != [true["bids"], true["asks"]]:
                self.differing.append(f"{symbol}: expected {true}, got another book of the same checksum")

    def growth(self) -> float:
        """Return by which share memory grew after the first third."""
        third = len(self.memory) // 3
        early = max(mib for _, mib, _ in self.memory[third : 2 * third] or self.memory)
        late = max(mib for _, mib, _ in self.memory[2 * third :])
        return late / early - 1


BYTES_OF_A_POINT = 150
"""What the drill itself keeps of each update: a pair of numbers, which it does not hold against the engine."""
BLOCKS_OF_A_POINT = 3


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def order_and_pace(session: Session) -> tuple[bool, int]:
    """Return whether channels were asked for by priority, and how many requests went out in the busiest second."""
    asked = [(at_s, CHANNEL_PRIORITIES[channel]) for at_s, what, channel, _ in session.requests if what == "subscribe"]
    priorities = [priority for _, priority in asked]
    times = [at_s for at_s, *_ in session.requests]
    busiest = max((sum(1 for at_s in times if 0 <= at_s - start < 1.0) for start in times), default=0)
    return priorities == sorted(priorities), busiest


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the drill, print what came of it, and return 0 if nothing was wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--symbols", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=2000.0, help="book updates a second, over all symbols")
    options = parser.parse_args(arguments)
    venue = ("--symbols", str(options.symbols), "--rate", str(options.rate), "--control-port", "0")
    with venue_process(*venue) as (addresses, _):
        drill = trio.run(_run, options.seconds, addresses)
    return report(drill)


async def _run(seconds: float, addresses: dict[str, str]) -> Drill:
    control = Control(addresses["control"])
    drill = Drill(control=control, symbols=await control.get("symbols"), seconds=seconds)
    async with open_market(Config(public_url=addresses["ws"])) as market:
        await drill.run(market)
    return drill


def report(drill: Drill) -> int:
    """Print everything; return 0 if there is nothing wrong in it."""
    books = sum((compare(drill.shown[s], drill.sent[s]) for s in drill.symbols), Comparison())
    tell(f"{len(drill.symbols)} books, {books.shown} updates shown: {books.missing} missing, {books.repeated} twice,")
    tell(f"  {books.unknown} never sent; {drill.wrong_digits} of {drill.worked_out} with digits of another checksum;")
    tell(f"  {len(drill.differing)} not the venue's in the end; {len(drill.notices)} notices of trouble")
    for line in [*drill.differing[:5], *map(str, drill.notices[:5])]:
        tell(f"  {line}")
    tell("memory: seconds, resident MiB without what the drill keeps, allocated blocks")
    for at_s, mib, blocks in drill.memory[:: max(1, len(drill.memory) // 12)]:
        tell(f"  {at_s:5.1f} {mib:8.1f} {blocks:10}")
    growth = drill.growth()
    tell(f"  growth after the first third: {growth:+.1%} (expected at most {MOST_GROWTH:.0%})")
    in_order = paced = True
    for session in drill.door.sessions.values():
        ordered, busiest = order_and_pace(session)
        reconnect = session.opened_s > next(iter(drill.door.sessions.values())).opened_s + drill.seconds / 2
        in_order &= ordered or not reconnect
        paced &= busiest <= MOST_SEEN_IN_A_SECOND
        name = f"connection {session.id}{' (after the loss)' if reconnect else ''}"
        tell(f"{name}: busiest second {busiest} requests of {PER_SECOND}")
        _tell_requests(session)
    tell(f"order on reconnect {'kept' if in_order else 'BROKEN'}, pace {'kept' if paced else 'BROKEN'}")
    wrong = books.wrong + drill.wrong_digits + len(drill.differing) + len(drill.notices)
    return 0 if not wrong and books.shown and growth <= MOST_GROWTH and in_order and paced else 1


def _tell_requests(session: Session) -> None:
    by_channel: dict[str, list[tuple[float, int]]] = {}
    for at_s, what, channel, symbols in session.requests:
        by_channel.setdefault(f"{what} {channel}", []).append((at_s - session.opened_s, symbols))
    for name, asked in by_channel.items():
        sizes = Counter(symbols for _, symbols in asked)
        told = ", ".join(f"{count} of {size}" for size, count in sizes.most_common(3))
        tell(f"  {name:20} {asked[0][0]:7.3f} s to {asked[-1][0]:7.3f} s: {len(asked)} requests (symbols: {told})")


def tell(line: str) -> None:
    """Print a line now."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
