"""Faults move the wall clock; only a suspended machine moves the timers."""

import pytest
import trio
import trio.testing

from kraken_engine.errors import UsageError
from kraken_engine.sim.clock import WALL_START_NS, SimClock
from kraken_engine.sim.deterministic import run


async def test_wall_time_is_the_start_plus_monotonic_time(autojump_clock: trio.testing.MockClock) -> None:
    clock = SimClock()
    began = clock.now()
    assert clock.wall_ns() == WALL_START_NS + round(began * 1e9)
    await trio.sleep(2.5)
    assert clock.now() == began + 2.5
    assert clock.wall_ns() == WALL_START_NS + round((began + 2.5) * 1e9)


async def test_a_step_moves_wall_time_alone(autojump_clock: trio.testing.MockClock) -> None:
    clock = SimClock()
    wall, now = clock.wall_ns(), clock.now()
    clock.step(-3600)
    assert clock.wall_ns() == wall - 3600 * 10**9
    assert clock.now() == now
    assert clock.error_ns() == -3600 * 10**9


async def test_a_drift_adds_up_and_its_error_stays(autojump_clock: trio.testing.MockClock) -> None:
    clock = SimClock()
    clock.drift(0.01)
    await trio.sleep(100)
    assert clock.error_ns() == pytest.approx(10**9, abs=2)
    clock.drift(-0.01)
    await trio.sleep(50)
    assert clock.error_ns() == pytest.approx(5 * 10**8, abs=2)
    clock.drift(0)
    await trio.sleep(50)
    assert clock.error_ns() == pytest.approx(5 * 10**8, abs=2)


def test_timers_of_a_suspended_machine_fire_once_when_it_wakes() -> None:
    fired: list[float] = []

    async def ticker() -> None:
        while True:
            await trio.sleep(1)
            fired.append(trio.current_time())

    async def main() -> int:
        clock = SimClock()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ticker)
            await trio.sleep(2.5)
            clock.suspend(1200)
            await trio.sleep(2)
            nursery.cancel_scope.cancel()
        return clock.wall_ns()

    wall_ns = run(1, main, horizon_s=5000)
    assert fired == [1, 2, 1202.5, 1203.5]
    assert wall_ns == WALL_START_NS + round(1204.5e9)


def test_suspending_needs_virtual_time() -> None:
    async def main() -> None:
        SimClock().suspend(1)

    with pytest.raises(UsageError, match="virtual time"):
        trio.run(main)


def test_cpu_time_does_not_reach_a_run() -> None:
    assert SimClock().cpu_s() == 0
