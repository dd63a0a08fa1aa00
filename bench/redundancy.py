"""What a second line costs: CPU of the engine per distinct message, redundancy 2 against redundancy 1.

    python bench/redundancy.py [--quick]

The venue runs in another process and sends the same kind of load all the time. Rounds of both are interleaved; a round
opens a market, waits until every line carries every book and trade, and takes the CPU time of this process over the
number of distinct book updates the venue sent meanwhile. Machines differ and are shared: compare ratios of one run,
never absolute figures of two. Without ``--quick`` the run fails above the gate.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Sequence
from functools import partial
from typing import Any

import attrs
import trio

from kraken_engine import Book, Bounded, Market, Trades
from kraken_engine.config import Config, PoolSettings
from kraken_engine.tasks.market import open_market

GATE, GOAL = 1.7, 1.25
"""How many times the CPU of one line two may take at most, and should take."""
QUEUE = 200_000
READY_S = 30.0


@attrs.frozen
class Measured:
    """One round."""

    messages: int
    """Distinct book updates the venue sent."""
    shown: int
    """Of them, how many the consumer saw; a few less, or more, at the ends of a round."""
    cpu_s: float

    @property
    def micros(self) -> float:
        return self.cpu_s / max(1, self.messages) * 1e6


def main(arguments: Sequence[str] | None = None) -> dict[int, list[Measured]]:
    """Print the table; return every round by redundancy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few messages: does it run at all?")
    parser.add_argument("--rate", type=float, default=None, help="book updates a second")
    options = parser.parse_args(arguments)
    rounds, seconds, rate = (1, 0.5, 500.0) if options.quick else (5, 8.0, 2000.0)
    venue = [sys.executable, "-m", "kraken_engine", "venue", "--json", "--control-port", "0"]
    venue += ["--symbols", "5", "--rate", str(options.rate or rate)]
    with subprocess.Popen(venue, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            addresses = json.loads(process.stdout.readline())
            figures = _measure(addresses, rounds, seconds)
        finally:
            process.kill()
    ratio = _report(figures)
    if ratio > GATE and not options.quick:
        raise SystemExit(f"{ratio:.2f}x the CPU of one line, expected at most {GATE}x")
    return figures


def _measure(addresses: dict[str, str], rounds: int, seconds: float) -> dict[int, list[Measured]]:
    figures: dict[int, list[Measured]] = {1: [], 2: []}
    for number in range(rounds):
        for redundancy in (1, 2) if number % 2 == 0 else (2, 1):
            figures[redundancy].append(trio.run(_round, addresses, redundancy, seconds))
    return figures


async def _round(addresses: dict[str, str], redundancy: int, seconds: float) -> Measured:
    control = addresses["control"]
    symbols: list[str] = await _ask(control, "symbols")
    journal = (await _ask(control, "journal"))["next"]
    pool = PoolSettings(redundancy=redundancy, max_connections=redundancy + 1)
    async with open_market(Config(public_url=addresses["ws"], pool=pool)) as market, trio.open_nursery() as nursery:
        counted = [0]
        nursery.start_soon(_consume, market, symbols, counted)
        with trio.fail_after(READY_S):
            while True:
                if await _all_there(control, journal, symbols, redundancy):
                    break
                await trio.sleep(0.05)
        await trio.sleep(0.25)
        sent, shown, start = await _sent(control, symbols), counted[0], time.process_time()
        await trio.sleep(seconds)
        cpu_s, shown = time.process_time() - start, counted[0] - shown
        measured = Measured(await _sent(control, symbols) - sent, shown, cpu_s)
        nursery.cancel_scope.cancel()
    return measured


async def _consume(market: Market, symbols: list[str], counted: list[int]) -> None:
    topics = [topic(symbol) for symbol in symbols for topic in (Book, Trades)]
    async with market.feed.subscribe(*topics, on_full=Bounded(QUEUE)) as events:
        async for event in events:
            counted[0] += hasattr(event, "book")


async def _all_there(control: str, since: int, symbols: list[str], lines: int) -> bool:
    """Whether so many sessions asked for everything since a place of the journal."""
    asked: dict[int, dict[tuple[str, str], None]] = {}
    for entry in (await _ask(control, "journal", since=since))["entries"]:
        if entry["what"] == "subscribe":
            places = asked.setdefault(entry["session"], {})
            places.update(((entry["channel"], symbol), None) for symbol in entry["symbols"])
    wanted = [(channel, symbol) for channel in ("book", "trade") for symbol in symbols]
    return sum(all(place in places for place in wanted) for places in asked.values()) == lines


async def _sent(control: str, symbols: list[str]) -> int:
    numbers = [(await _ask(control, f"told/{symbol}", since=10**12))["next"] for symbol in symbols]
    return sum(numbers)


async def _ask(control: str, path: str, **query: int) -> Any:
    return await trio.to_thread.run_sync(partial(_get, f"{control}/{urllib.parse.quote(path)}", query))


def _get(url: str, query: dict[str, int]) -> Any:
    with urllib.request.urlopen(f"{url}?{urllib.parse.urlencode(query)}", timeout=20) as answer:
        return json.loads(answer.read())


def _report(figures: dict[int, list[Measured]]) -> float:
    """Print the table and return how many times the CPU of one line two take."""
    print("redundancy: rounds, messages, CPU us a distinct message min / median / max")
    middle: dict[int, float] = {}
    for redundancy, rounds in figures.items():
        micros = sorted(measured.micros for measured in rounds)
        middle[redundancy] = statistics.median(micros)
        messages = sum(measured.messages for measured in rounds)
        low, high = micros[0], micros[-1]
        print(f"{redundancy}: {len(rounds)}, {messages}, {low:.1f} / {middle[redundancy]:.1f} / {high:.1f}")
    ratio = middle[2] / middle[1]
    print(f"ratio {ratio:.2f} (gate {GATE}, goal {GOAL})")
    return ratio


if __name__ == "__main__":
    main()
