"""One seed gives one order of events; every way to hang ends in a typed failure."""

import contextlib
import functools
import gc
import os
import random
import signal
import subprocess
import sys
import warnings
from types import ModuleType

import pytest
import trio
import trio._core._run as scheduler
import trio.testing

from kraken_engine.errors import UsageError
from kraken_engine.sim.deterministic import GROWTH, SCHEDULER_FLAG, SCHEDULER_RANDOM, run, task_stacks
from kraken_engine.sim.failures import HorizonReached, SimulationStuck, UnraisableFailure, Violation

RACE = """
import sys, trio, trio.testing
from kraken_engine.sim.deterministic import run

async def race():
    order = []
    async def runner(name):
        for lap in range(4):
            await trio.sleep(1)  # everybody is due at the same instant
            order.append(name)
    async with trio.open_nursery() as nursery:
        for name in {f"r{i}" for i in range(9)} if sys.argv[2] == "sets" else [f"r{i}" for i in range(9)]:
            nursery.start_soon(runner, name)
    return " ".join(order)

print(run(sys.argv[1], race, horizon_s=60))
"""


@functools.cache
def _in_a_process(seed: str, hash_seed: str, names: str = "list") -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-c", RACE, seed, names],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


def test_trio_still_has_the_two_private_names() -> None:
    assert isinstance(scheduler, ModuleType)
    assert vars(scheduler)[SCHEDULER_FLAG] in (True, False)
    assert isinstance(vars(scheduler)[SCHEDULER_RANDOM], random.Random)


def test_trio_without_the_private_names_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(scheduler, SCHEDULER_FLAG)

    async def main() -> None: ...

    with pytest.raises(UsageError, match=SCHEDULER_FLAG):
        run(1, main, horizon_s=1)


def test_one_seed_gives_one_order_in_processes_with_different_hash_seeds() -> None:
    assert _in_a_process("7", "1") == _in_a_process("7", "2")
    assert _in_a_process("7", "1") != _in_a_process("8", "1")


def test_without_a_seed_the_order_is_another_one_each_time() -> None:
    """The control for the test above: Trio on its own does not repeat itself."""
    orders = [trio.run(_race, clock=trio.testing.MockClock(autojump_threshold=0)) for _ in range(20)]
    assert len({tuple(order[:-1]) for order in orders}) > 1


def test_the_order_of_a_set_of_names_does_depend_on_the_hash_seed() -> None:
    """The other control: hash seeds do reach these processes."""
    assert _in_a_process("7", "1", "sets") != _in_a_process("7", "2", "sets")


async def _race() -> list[int]:
    order: list[int] = []

    async def runner(number: int) -> None:
        for _ in range(4):
            await trio.sleep(1)
            order.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(9):
            nursery.start_soon(runner, number)
    return [*order, random.randrange(10**9)]


def test_one_seed_gives_one_order_and_seeds_differ() -> None:
    assert run(1, _race, horizon_s=60) == run(1, _race, horizon_s=60)
    assert len({tuple(run(seed, _race, horizon_s=60)) for seed in range(8)}) == 8


def test_trio_still_shuffles_when_the_flag_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the flag, tasks that are ready together go in order of arrival or in reverse, nothing else."""

    async def first_steps() -> tuple[int, ...]:
        order: list[int] = []

        async def runner(number: int) -> None:
            order.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(runner, number)
        return tuple(order)

    monkeypatch.setattr(scheduler, SCHEDULER_FLAG, False)
    assert len({trio.run(first_steps) for _ in range(20)}) <= 2
    assert len({run(seed, first_steps, horizon_s=1) for seed in range(20)}) > 2


@pytest.mark.parametrize("set_aside", [True, False])
def test_a_run_leaves_set_aside_only_what_somebody_had_set_aside_before(set_aside: bool) -> None:
    (gc.freeze if set_aside else gc.unfreeze)()
    try:
        run(1, _within, horizon_s=1)
        assert (gc.get_freeze_count() > 0) == set_aside
        assert run(1, _within, horizon_s=1) > 0
    finally:
        gc.freeze()  # as the whole test run has it


def test_garbage_from_before_a_run_is_not_finalised_in_it_and_not_kept_for_ever() -> None:
    """Somebody else's finaliser that complains would be called a failure of the run."""

    class Complaint:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            finalised.append(trio.lowlevel.in_trio_run())

    finalised: list[bool] = []
    kept = [Complaint() for _ in range(1000)]

    async def drop_and_collect() -> None:
        kept.clear()
        await trio.sleep(600)

    gc.freeze()
    run(1, drop_and_collect, horizon_s=1000)
    assert finalised == []
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    assert finalised == [False] * 1000


def test_what_is_set_aside_is_searched_again_when_it_has_grown() -> None:
    gc.freeze()
    run(1, _within, horizon_s=1)
    before = gc.get_freeze_count()
    garbage = [[number] for number in range(before)]
    garbage[0].append(garbage)  # type: ignore[arg-type]  # a cycle
    gc.freeze()
    del garbage
    run(1, _within, horizon_s=1)
    assert gc.get_freeze_count() < GROWTH * before


async def _within() -> int:
    return gc.get_freeze_count()


def test_a_run_leaves_the_state_of_the_process_as_it_was() -> None:
    def state() -> tuple[object, ...]:
        private = vars(scheduler)
        return (
            private[SCHEDULER_FLAG],
            private[SCHEDULER_RANDOM].getstate(),
            random.getstate(),
            signal.getsignal(signal.SIGALRM),
            signal.getitimer(signal.ITIMER_REAL),
            sys.unraisablehook,
            gc.isenabled(),
        )

    async def fail() -> None:
        raise ValueError

    before = state()
    run(1, _race, horizon_s=60)
    assert state() == before
    with pytest.raises(ValueError):
        run(1, fail, horizon_s=60)
    assert state() == before


def test_time_is_virtual() -> None:
    async def main() -> float:
        await trio.sleep(86_400)
        return trio.current_time()

    assert run(1, main, horizon_s=90_000) == 86_400


def test_a_deadlock_ends_at_the_horizon_and_says_where_it_was() -> None:
    async def waiting_for_godot() -> None:
        await trio.sleep_forever()

    with pytest.raises(HorizonReached, match="waiting_for_godot") as caught:
        run(1, waiting_for_godot, horizon_s=3600)
    assert caught.value.horizon_s == 3600
    assert caught.value.stacks


def test_a_program_that_is_late_and_then_fails_is_late_with_that_cause() -> None:
    async def main() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("in clean-up")

    with pytest.raises(HorizonReached) as caught:
        run(1, main, horizon_s=1)
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_shield_that_never_ends_is_stuck() -> None:
    async def shielded() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep_forever()

    with pytest.raises(SimulationStuck, match=r"would not be cancelled(.|\n)*shielded"):
        run(1, shielded, horizon_s=1)


@pytest.mark.parametrize("swallowed", [0, 2])
def test_a_loop_without_a_checkpoint_is_stuck(swallowed: int) -> None:
    async def spinning() -> None:
        for _ in range(swallowed):
            with contextlib.suppress(BaseException):
                _spin()
        _spin()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(spinning)

    with pytest.raises(SimulationStuck, match=r"no end after 0\.1 real seconds(.|\n)*running:.*_spin"):
        run(1, main, horizon_s=10, real_limit_s=0.1)


def _spin() -> None:
    while True:
        pass


def test_a_stuck_run_does_not_disturb_the_next_one() -> None:
    async def spinning() -> None:
        while True:
            await trio.lowlevel.checkpoint()

    with pytest.raises(SimulationStuck):
        run(1, spinning, horizon_s=10, real_limit_s=0.1)
    assert run(1, _race, horizon_s=60) == run(1, _race, horizon_s=60)


def test_a_violation_leaves_the_nursery_tree_as_itself() -> None:
    async def judge() -> None:
        await trio.sleep(1)
        raise Violation("I-1", "book differs")

    async def main() -> None:
        async with trio.open_nursery() as outer, trio.open_nursery() as inner:
            inner.start_soon(judge)
            outer.start_soon(trio.sleep_forever)

    with pytest.raises(Violation, match="I-1: book differs"):
        run(1, main, horizon_s=60)


def test_a_violation_is_found_among_other_failures() -> None:
    async def judge() -> None:
        raise Violation("I-1", "book differs")

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(judge)
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("in clean-up")

    with pytest.raises(Violation) as caught:
        run(1, main, horizon_s=60)
    assert "ValueError" in "".join(caught.value.__notes__)


def test_several_failures_of_other_kinds_stay_a_group() -> None:
    async def fail(error: Exception) -> None:
        raise error

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail, ValueError())
            nursery.start_soon(fail, KeyError())

    with pytest.raises(ExceptionGroup):
        run(1, main, horizon_s=60)


def test_a_finaliser_that_fails_fails_the_run() -> None:
    class Bad:
        def __init__(self) -> None:
            self.cycle = self  # only the collector finds it

        def __del__(self) -> None:
            raise ValueError("in finaliser")

    async def main() -> None:
        Bad()

    with pytest.raises(UnraisableFailure, match="in finaliser"):
        run(1, main, horizon_s=60)


def test_the_collector_runs_at_virtual_times_only() -> None:
    async def main() -> list[float]:
        times: list[float] = []

        def note(phase: str, _: dict[str, int]) -> None:
            if phase == "start":
                times.append(trio.current_time())

        gc.callbacks.append(note)
        try:
            for _ in range(100):
                cycles: list[list[object]] = [[] for _ in range(1000)]
                for cycle in cycles:
                    cycle.append(cycle)
                await trio.sleep(1)
        finally:
            gc.callbacks.remove(note)
        return times

    assert run(1, main, horizon_s=1000) == [30, 60, 90]


def test_a_run_inside_a_run_is_refused() -> None:
    async def main() -> None:
        run(2, _race, horizon_s=60)

    with pytest.raises(UsageError, match="already inside"):
        run(1, main, horizon_s=60)


def test_another_thread_than_the_main_one_is_refused() -> None:
    async def main() -> None:
        with pytest.raises(UsageError, match="main thread"):
            await trio.to_thread.run_sync(lambda: run(1, _race, horizon_s=60))

    trio.run(main)


def test_an_alarm_of_somebody_else_is_put_back() -> None:
    rang: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: rang.append(number))
    signal.setitimer(signal.ITIMER_REAL, 3600)
    try:
        run(1, _race, horizon_s=60)
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 3600
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert rang == []


def test_instruments_see_the_run() -> None:
    class Steps(trio.abc.Instrument):
        count = 0

        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            self.count += 1

    counts = []
    for _ in range(2):
        steps = Steps()
        run(3, _race, horizon_s=60, instruments=[steps])
        counts.append(steps.count)
    assert counts[0] == counts[1] > 36


async def test_task_stacks_name_every_task_and_where_it_waits() -> None:
    async def dozing() -> None:
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(dozing)
        await trio.testing.wait_all_tasks_blocked()
        assert any("dozing" in line and "sleep_forever" in line for line in task_stacks())
        nursery.cancel_scope.cancel()


def test_a_failed_run_keeps_no_unfinished_coroutine_for_later() -> None:
    async def shielded() -> None:
        try:
            with trio.CancelScope(shield=True):
                await trio.sleep_forever()
        finally:
            await trio.lowlevel.checkpoint()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(SimulationStuck):
            run(1, shielded, horizon_s=1)
        gc.collect()
