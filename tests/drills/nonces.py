"""Kill a client that signs calls from 32 tasks, again and again, while its clock jumps: the venue refuses no nonce.

The venue listens on real sockets in this process and keeps every nonce with a right signature, in order of arrival. The
client is a process of its own with a state directory; it is killed with SIGKILL in the middle of whatever it does, and
started again at once, with a wall clock that is up to an hour off and is stepped while it runs.

::

    python -m tests.drills.nonces [--kills 50] [--tasks 32] [--seed 1]

Two counts have to be 0: nonces that did not rise, and nonces the venue refused.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import attrs
import trio

from kraken_engine.config import Config, RestSettings
from kraken_engine.errors import EngineError
from kraken_engine.rest.private import PrivateRest
from kraken_engine.runtime import Clock, Rng, real_runtime, seeded_rng
from kraken_engine.secret import ApiKey, Secret
from kraken_engine.store.database import open_store
from kraken_engine.tasks.rest import open_rest
from kraken_engine.venue.core.accounts.settings import TEST_KEY, TEST_SECRET
from kraken_engine.venue.shells.server import VenueServer, VenueSettings, open_venue

HOUR_S = 3600.0
LIFE_S = (0.1, 0.8)
"""How long a client lives after its first call of a life."""
START_S = 60.0


@attrs.define
class SteppedClock:
    """The real clock, but for its wall time, which somebody keeps setting."""

    real: Clock
    offset_s: float

    def now(self) -> float:
        return self.real.now()

    def wall_ns(self) -> int:
        return self.real.wall_ns() + round(self.offset_s * 1e9)

    def cpu_s(self) -> float:
        return self.real.cpu_s()


async def client(url: str, directory: str, tasks: int, seed: str) -> None:
    """Make signed calls from many tasks until somebody kills us."""
    rng = seeded_rng(seed)
    real = real_runtime()
    clock = SteppedClock(real.clock, rng.uniform(-HOUR_S, HOUR_S))
    runtime = attrs.evolve(real, clock=clock)
    config = Config(rest=RestSettings(base_url=url, queue_calls=1024))
    key = ApiKey(key=Secret(TEST_KEY), secret=Secret(TEST_SECRET))
    async with (
        open_store(runtime, directory) as store,
        open_rest(config, runtime=runtime, key=key, tier="intermediate", marks=store.nonces) as rest,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(_step, clock, rng)
        for number in range(tasks):
            nursery.start_soon(_call, rest.private, number)


async def _step(clock: SteppedClock, rng: Rng) -> None:
    while True:
        await trio.sleep(rng.uniform(0.02, 0.2))
        clock.offset_s = rng.uniform(-HOUR_S, HOUR_S)


async def _call(private: PrivateRest, number: int) -> None:
    """Cancel orders that are not there: signed like any other call, and free of charge in the venue's counters."""
    while True:
        try:
            await private.cancel_order(f"O{number:05d}-AAAAA-AAAAAA")
        except EngineError:
            await trio.sleep(0.001)


@attrs.define
class Count:
    """What the venue saw."""

    kills: int = 0
    nonces: int = 0
    not_risen: int = 0
    refused: int = 0
    lives: list[int] = attrs.field(factory=list)
    """Calls of each life."""

    @property
    def good(self) -> bool:
        return self.nonces > 0 and not self.not_risen and not self.refused and all(self.lives)

    def shown(self) -> str:
        lives = sorted(self.lives) or [0]
        return (
            f"{self.kills} kills, {self.nonces} nonces: {self.not_risen} did not rise, {self.refused} refused\n"
            f"calls of a life: least {lives[0]}, median {statistics.median(lives):g}, most {lives[-1]}"
        )


async def drill(kills: int, tasks: int, seed: int) -> Count:
    """Run ``kills`` lives that are cut short, and one that ends in peace."""
    count, rng = Count(), seeded_rng(f"nonces:{seed}")
    with tempfile.TemporaryDirectory() as directory:
        async with open_venue(real_runtime(), VenueSettings(symbols=1, rate=1.0, seed=seed)) as venue:
            for life in range(kills + 1):
                before = len(_seen(venue))
                arguments = ["--client", venue.rest_url, "--directory", f"{directory}/state"]
                arguments += ["--tasks", str(tasks), "--seed", f"{seed}:{life}"]
                process = await trio.lowlevel.open_process([sys.executable, "-m", "tests.drills.nonces", *arguments])
                try:
                    with trio.fail_after(START_S):
                        while len(_seen(venue)) == before and process.poll() is None:  # noqa: ASYNC110 - of another process
                            await trio.sleep(0.01)
                    await trio.sleep(rng.uniform(*LIFE_S))
                finally:
                    process.send_signal(signal.SIGKILL if life < kills else signal.SIGTERM)
                    with trio.CancelScope(shield=True), trio.fail_after(START_S):
                        await process.wait()
                count.kills += life < kills
                await trio.sleep(0.02)  # what was on its way
                count.lives.append(len(_seen(venue)) - before)
            seen = _seen(venue)
            key = venue.exchange.accounts.api_keys[TEST_KEY]
            count.nonces = len(seen)
            count.not_risen = sum(later <= earlier for earlier, later in pairwise(seen))
            count.refused = key.refused_nonces
    return count


def _seen(venue: VenueServer) -> Sequence[int]:
    return [seen.nonce for seen in venue.exchange.accounts.api_keys[TEST_KEY].nonces]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the drill, or one life of its client."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--tasks", type=int, default=32)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--client", help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.client is not None:
        trio.run(client, options.client, str(options.directory), options.tasks, options.seed)
        return 0
    began = time.monotonic()
    count = trio.run(drill, options.kills, options.tasks, int(options.seed))
    print(count.shown())
    print(f"{time.monotonic() - began:.0f} s")
    return 0 if count.good else 1


if __name__ == "__main__":
    sys.exit(main())
