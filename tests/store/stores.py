"""What the tests of the store stand on: real and simulated disks, and a store filled with a bit of all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import trio

from kraken_engine.runtime import Runtime, real_runtime, seeded_rng
from kraken_engine.sim.disk import SimDisk
from kraken_engine.sim.workers import SimWorkers
from kraken_engine.store.database import Store, open_store

HOME = "/var/lib/kraken"


class FixedClock:
    """A wall clock that stands still unless it is set, and Trio's for the rest."""

    def __init__(self, wall_ns: int = 1_795_305_600 * 10**9) -> None:
        self.wall = wall_ns

    def now(self) -> float:
        return trio.current_time()

    def wall_ns(self) -> int:
        return self.wall

    def cpu_s(self) -> float:
        return 0.0


def on_disk(disk: SimDisk, *, clock: FixedClock | None = None, wait_s: float = 0.0) -> Runtime:
    return attrs.evolve(
        real_runtime(),
        clock=clock or FixedClock(),
        files=disk,
        workers=SimWorkers(seeded_rng(1), wait_s=wait_s),
        environment={},
    )


def on_real_disk() -> Runtime:
    return attrs.evolve(real_runtime(), clock=FixedClock(), environment={})


async def fill(store: Store) -> None:
    """Put a bit of everything in."""
    await store.nonces.raise_mark("aaaa", 1_795_305_600_000_000_000)
    await store.nonces.raise_mark("bbbb", 7)
    await store.connects.append(1_795_305_600 * 10**9)
    for word in (b"to rest", b"to websocket"):
        await store.history("failover").append(word)
    await store.history("keys").append(b"warned: may withdraw")
    await store.fills("main").append([("E1", b"one"), ("E2", b"two"), ("E3", b"three")])
    await store.fills("main").acknowledge("bot", 2)


async def everything(store: Store) -> dict[str, Any]:
    """Read all of it back."""
    fills = store.fills("main")
    return {
        "nonces": [await store.nonces.mark(key) for key in ("aaaa", "bbbb", "cccc")],
        "connects": await store.connects.load(),
        "failover": [entry.body for entry in await store.history("failover").latest()],
        "keys": [entry.body for entry in await store.history("keys").latest()],
        "fills": [(fill.number, fill.exec_id, fill.body) for fill in await fills.after(0)],
        "cursor": await fills.cursor("bot"),
    }


FILLED: dict[str, Any] = {
    "nonces": [1_795_305_600_000_000_000, 7, 0],
    "connects": (1_795_305_600 * 10**9,),
    "failover": [b"to rest", b"to websocket"],
    "keys": [b"warned: may withdraw"],
    "fills": [(1, "E1", b"one"), (2, "E2", b"two"), (3, "E3", b"three")],
    "cursor": 2,
}


def filled_disk() -> SimDisk:
    """Return a disk with a store that was filled and closed."""
    disk = SimDisk()

    async def main() -> None:
        async with open_store(on_disk(disk), HOME) as store:
            await fill(store)

    trio.run(main)
    return disk


def with_store(disk: SimDisk, use: Callable[[Store], Any]) -> Any:
    """Open the store on ``disk`` and return what ``await use(store)`` returns."""

    async def main() -> Any:
        async with open_store(on_disk(disk), HOME) as store:
            return await use(store)

    return trio.run(main)
