"""Engine and venue as shipped, in memory, on the virtual clock: one seed is one run, in every process (I-35)."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import sys, trio
from kraken_engine import Book, Bounded, Candles, Ticker, Trades
from kraken_engine.sim.deterministic import run
from kraken_engine.sim.world import WorldSettings, open_world

async def main():
    async with open_world(sys.argv[1], WorldSettings(rate=20)) as world, world.open_market() as market:
        symbols = world.exchange.symbols
        market.publisher.observe(lambda key, event: world.trace(type(event).__name__, *map(str, key)))
        topics = [topic(s) for topic in (Book, Ticker, Trades, Candles) for s in symbols]
        async with market.feed.subscribe(*topics, market.health, on_full=Bounded()) as events:
            with trio.move_on_after(30):
                async for event in events:
                    world.trace("read", type(event).__name__)
            world.network.reset("*")
            world.exchange.faults.apply("corrupt_checksum", {"symbol": symbols[0]}, trio.current_time())
            with trio.move_on_after(30):
                async for event in events:
                    world.trace("read", type(event).__name__)
        counts = world.trace.counts()
        assert counts["Gap"] >= 1 and counts["BookUpdate"] > 100, counts
        return world.trace.digest()

print(run(sys.argv[1], main, horizon_s=300))
"""


DISK = """
import sys
from kraken_engine.sim.plan import Fault, Plan
from kraken_engine.sim.runner import Options, simulate

faults = (
    Fault(at_s=5, kind="fsync_fails", params={"fault": "FULL", "for_s": 4}),
    Fault(at_s=15, kind="restart"),
    Fault(at_s=20, kind="second_engine", params={"shares": "directory"}),
    Fault(at_s=25, kind="disk_damage", params={"file": "store.db", "how": "scribble", "bit": 7}),
    Fault(at_s=26, kind="restart"),
)
plan = Plan(seed=sys.argv[1], horizon_s=40, faults=faults)
report = simulate(sys.argv[1], plan, Options(minutes=1, profile="rest"))
assert report.violation is None, report.violation
print(report.digest)
"""


def digest(seed: int, hash_seed: int, script: str = SCRIPT) -> str:
    result = subprocess.run(
        [sys.executable, "-c", script, str(seed)],
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.mark.parametrize("seed", [1, 2])
def test_one_seed_gives_one_trace_under_every_hash_seed_and_another_seed_another(seed: int) -> None:
    first = digest(seed, 1)
    assert len(first) == 32
    assert digest(seed, 1) == first
    assert digest(seed, 2) == first
    assert digest(seed + 10, 1) != first


ACCOUNTS = """
import sys
from kraken_engine.sim.plan import Fault, Plan
from kraken_engine.sim.runner import Options, simulate

faults = (
    Fault(at_s=3, kind="private_frame_lost", params={"channel": "executions"}),
    Fault(at_s=6, kind="restart"),
    Fault(at_s=9, kind="disk_fails", params={"fault": "FULL", "for_s": 2}),
    Fault(at_s=12, kind="killed_while_writing", params={"step": 9, "of": "the next life"}),
    Fault(at_s=18, kind="reboot", params={"back_s": 60.0}),
)
plan = Plan(seed=sys.argv[1], horizon_s=20, faults=faults)
report = simulate(sys.argv[1], plan, Options(minutes=1, profile="private"))
assert report.violation is None, report.violation
print(report.digest)
"""


def test_a_disk_that_fails_is_damaged_and_crashes_gives_one_trace_under_every_hash_seed() -> None:
    first = digest(1, 1, DISK)
    assert digest(1, 2, DISK) == first
    assert digest(2, 2, DISK) != first


def test_an_engine_with_accounts_that_is_killed_gives_one_trace_under_every_hash_seed() -> None:
    assert digest(1, 1, ACCOUNTS) == digest(1, 2, ACCOUNTS)
