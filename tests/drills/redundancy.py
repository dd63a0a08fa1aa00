"""Lose one of two lines again and again under load; the consumer must not be able to tell.

    python -m tests.drills.redundancy [--kills 10] [--rate 2000] [--symbols 5] [--seed N]

The venue runs in another process and is asked afterwards what it sent: the stream of every book has to be that,
complete, in order, nothing twice, and so has every trade. A line is killed at random moments (the seed is printed) once
both carry everything. With ``--redundancy 1`` the same shows what one line alone would have cost. Exit code 0: nothing
was wrong.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence

import attrs
import trio
from tests.drills._control import Control, Door, Session
from tests.drills._truth import Comparison, compare, microseconds
from tests.venue_process import venue_process

from kraken_engine import Book, BookUpdate, Bounded, Event, Gap, Lagged, Market, Stale, Trade, TradeGap, Trades
from kraken_engine.config import Config, PoolSettings
from kraken_engine.tasks.market import open_market

QUEUE = 200_000
READY_S = 30.0
LOOK_S = 0.05
PAUSES_S = (0.2, 2.0)
"""Between both lines carrying everything and the next kill."""
MODES: Sequence[dict[str, object]] = (
    {"mode": "abort"},
    {"mode": "close", "code": 1001},
    {"mode": "close", "code": 1012},
)


@attrs.define
class Stream:
    """What the consumer of one symbol was shown."""

    books: list[tuple[int, int]] = attrs.field(factory=list[tuple[int, int]])
    trades: list[int] = attrs.field(factory=list[int])
    notices: list[Event] = attrs.field(factory=list[Event])


@attrs.define(kw_only=True)
class Drill:
    """One run."""

    seed: int
    kills: int
    redundancy: int
    control: Control
    symbols: list[str]
    streams: dict[str, Stream] = attrs.field(factory=dict[str, Stream], init=False)
    sent: dict[str, list[tuple[int, int]]] = attrs.field(factory=dict[str, list[tuple[int, int]]], init=False)
    printed: dict[str, list[int]] = attrs.field(factory=dict[str, list[int]], init=False)
    killed: list[tuple[int, dict[str, object]]] = attrs.field(factory=list[tuple[int, dict[str, object]]], init=False)
    door: Door = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.door = Door(self.control)

    async def run(self, market: Market) -> None:
        """Read, kill, and gather the truth."""
        async with trio.open_nursery() as nursery:
            for symbol in self.symbols:
                self.streams[symbol] = Stream()
                nursery.start_soon(self._consume, market, symbol)
            nursery.start_soon(self._remember)
            rng = random.Random(self.seed)
            for _ in range(self.kills):
                lines = await self._both_ready()
                await trio.sleep(rng.uniform(*PAUSES_S))
                victim, how = rng.choice(lines), dict(rng.choice(MODES))
                await self.control.fault("drop_connection", session=victim.id, **how)
                self.killed.append((victim.id, how))
            await self._both_ready()
            await trio.sleep(1.0)
            nursery.cancel_scope.cancel()
        await self._note()

    async def _consume(self, market: Market, symbol: str) -> None:
        stream = self.streams[symbol]
        async with market.feed.subscribe(Book(symbol), Trades(symbol), on_full=Bounded(QUEUE)) as events:
            async for event in events:
                if isinstance(event, BookUpdate):
                    stream.books.append((microseconds(event.venue_time), event.book.checksum))
                elif isinstance(event, Trade):
                    stream.trades.append(event.trade_id)
                elif isinstance(event, (Stale, Gap, TradeGap, Lagged)):
                    stream.notices.append(event)

    async def _both_ready(self) -> list[Session]:
        """Wait until every line carries everything, and return them.

        Raises:
            TooSlowError: they do not within 30 s.
        """
        with trio.fail_after(READY_S):
            while True:
                lines = await self.door.look()
                ready = [line for line in lines if all(line.has(channel, self.symbols) for channel in CHANNELS)]
                if len(ready) == self.redundancy:
                    return ready
                await trio.sleep(LOOK_S)

    async def _remember(self) -> None:
        """Ask now and then what was sent: the venue does not keep it for ever."""
        while True:
            await self._note()
            await trio.sleep(1.0)

    async def _note(self) -> None:
        for symbol in self.symbols:
            sent = self.sent.setdefault(symbol, [])
            answer = await self.control.get(f"told/{symbol}", since=len(sent))
            if answer["first"] != len(sent):
                raise AssertionError(f"{symbol}: the venue forgot updates before they were asked for")
            sent.extend((time_us, checksum) for time_us, checksum in answer["books"])
            printed = self.printed.setdefault(symbol, [])
            since = printed[-1] if printed else 0
            printed.extend(one["trade_id"] for one in await self.control.get(f"trades/{symbol}", since=since))

    def judge(self) -> dict[str, tuple[Comparison, Comparison, int]]:
        """Return what is wrong with the books and the trades of each symbol, and how many notices there were."""
        return {
            symbol: (
                compare(stream.books, self.sent[symbol]),
                compare(stream.trades, self.printed[symbol]),
                len(stream.notices),
            )
            for symbol, stream in self.streams.items()
        }


CHANNELS = ("book", "trade")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the drill, print what came of it, and return 0 if nothing was wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--rate", type=float, default=2000.0, help="book updates a second, over all symbols")
    parser.add_argument("--symbols", type=int, default=5)
    parser.add_argument("--redundancy", type=int, choices=(1, 2), default=2, help="lines that carry everything")
    parser.add_argument(
        "--seed", type=int, default=None, help="of the moments and victims; drawn and printed otherwise"
    )
    options = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    tell(f"seed {seed}: {options.kills} kills at {options.rate:g} updates a second of {options.symbols} symbols")
    venue = ("--symbols", str(options.symbols), "--rate", str(options.rate), "--control-port", "0")
    with venue_process(*venue) as (addresses, _):
        drill = trio.run(_run, seed, options.kills, options.redundancy, addresses)
    return report(drill)


async def _run(seed: int, kills: int, redundancy: int, addresses: dict[str, str]) -> Drill:
    control = Control(addresses["control"])
    symbols = await control.get("symbols")
    drill = Drill(seed=seed, kills=kills, redundancy=redundancy, control=control, symbols=symbols)
    pool = PoolSettings(redundancy=redundancy, max_connections=redundancy + 1)
    async with open_market(Config(public_url=addresses["ws"], pool=pool)) as market:
        await drill.run(market)
    return drill


def report(drill: Drill) -> int:
    """Print counts; return 0 if there is nothing wrong among them."""
    found = drill.judge()
    tell(f"{'symbol':12}{'books':>9}{'missing':>9}{'twice':>7}{'unknown':>9}{'trades':>8}{'missing':>9}{'notices':>9}")
    for symbol, (books, trades, notices) in found.items():
        counts = f"{books.shown:9}{books.missing:9}{books.repeated:7}{books.unknown:9}"
        tell(f"{symbol:12}{counts}{trades.shown:8}{trades.missing:9}{notices:9}")
    for symbol, stream in drill.streams.items():
        for notice in stream.notices[:3]:
            tell(f"{symbol}: {notice}")
    wrong = sum(books.wrong + trades.wrong + notices for books, trades, notices in found.values())
    shown = sum(books.shown for books, _, _ in found.values())
    sessions = len(drill.door.sessions)
    tell(f"{len(drill.killed)} kills, {sessions} connections, {shown} books shown, {wrong} things wrong")
    return 0 if not wrong and shown and len(drill.killed) == drill.kills else 1


def tell(line: str) -> None:
    """Print a line now."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
