"""Workers without threads: blocking work done at once, with a wait of seeded length before and after it.

A real worker's thread would run outside virtual time. Here a piece of work is one step; what a thread would let happen
meanwhile happens in the waits, and a wait that is cancelled means what it means there: before the work, never done;
after it, done and nobody told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import attrs
import trio

from kraken_engine.runtime import Rng, Worker

__all__ = ["SimWorkers"]

T = TypeVar("T")


@attrs.define(eq=False)
class SimWorkers:
    """``runtime.Workers`` in virtual time.

    Args:
        rng: draws the waits.
        wait_s: longest of them, virtual seconds; may be changed at any time, for a disk that becomes slow.
    """

    rng: Rng
    wait_s: float = 0.002

    def worker(self, name: str) -> Worker:  # noqa: ARG002 - each one waits for itself alone
        """Return a worker of its own."""
        return _SimWorker(self)


class _SimWorker:
    def __init__(self, workers: SimWorkers) -> None:
        self._workers = workers
        self._turn = trio.StrictFIFOLock()

    async def run(self, work: Callable[[], T]) -> T:
        async with self._turn:
            await self._wait()
            results: list[T] = []
            failure: Exception | None = None
            try:
                results.append(work())
            except Exception as error:  # noqa: BLE001 - raised below: the wait comes first, as a thread's news would
                failure = error
            await self._wait()
            if failure is not None:
                raise failure
            return results[0]

    async def _wait(self) -> None:
        await trio.sleep(self._workers.rng.uniform(0.0, self._workers.wait_s))
