"""A worker does one piece at a time, in order; who stops waiting for one has not stopped it."""

from __future__ import annotations

import threading

import attrs
import pytest
import trio
import trio.testing

from kraken_engine.runtime import Worker, Workers, real_runtime, seeded_rng
from kraken_engine.sim.workers import SimWorkers


@pytest.fixture(params=["real", "simulated"])
def workers(request: pytest.FixtureRequest) -> Workers:
    return SimWorkers(seeded_rng(1)) if request.param == "simulated" else real_runtime().workers


async def test_a_worker_returns_and_raises_what_the_work_does(workers: Workers) -> None:
    worker = workers.worker("w")
    assert await worker.run(lambda: 5) == 5

    def fail() -> None:
        raise LookupError("x")

    with pytest.raises(LookupError, match="x"):
        await worker.run(fail)
    assert await worker.run(lambda: 6) == 6


async def test_pieces_are_done_in_the_order_in_which_they_came(workers: Workers) -> None:
    worker = workers.worker("w")
    done: list[int] = []
    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(worker.run, lambda number=number: done.append(number))
            await trio.testing.wait_all_tasks_blocked()
    assert done == list(range(50))


async def test_work_that_has_not_begun_is_never_done_once_the_wait_is_cancelled(workers: Workers) -> None:
    worker = workers.worker("w")
    done: list[str] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        await worker.run(lambda: done.append("never"))
    assert scope.cancelled_caught
    await worker.run(lambda: done.append("next"))
    assert done == ["next"]


async def test_a_thread_goes_on_when_nobody_waits_for_it_and_the_next_piece_waits() -> None:
    worker = real_runtime().workers.worker("w")
    gate, begun = threading.Event(), threading.Event()
    done: list[str] = []

    def slow() -> None:
        begun.set()
        gate.wait()
        done.append("slow")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run, slow)
        await trio.to_thread.run_sync(begun.wait)
        nursery.cancel_scope.cancel()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run, lambda: done.append("next"))
        await trio.testing.wait_all_tasks_blocked()
        assert done == []
        gate.set()
    assert done == ["slow", "next"]


@attrs.define
class Waits:
    """What became of a piece of work whose wait ended after a given time."""

    worker: Worker
    done: bool = False
    told: bool = False

    async def run(self, patience_s: float) -> None:
        with trio.move_on_after(patience_s):
            await self.worker.run(self._work)
            self.told = True

    def _work(self) -> None:
        self.done = True


async def test_a_simulated_wait_may_end_before_the_work_or_after_it(autojump_clock: object) -> None:
    outcomes = set()
    for seed in range(200):
        waits = Waits(SimWorkers(seeded_rng(seed), wait_s=1.0).worker("w"))
        await waits.run(0.7)
        outcomes.add((waits.done, waits.told))
    assert outcomes == {(False, False), (True, False), (True, True)}
