"""Run a Trio program so that one seed gives one order of events, in virtual time.

Trio picks the order of tasks that are ready together at random, from a private generator, and hides the order of
addresses and sets only when a private flag is set (Hypothesis sets it for its own runs). Both names are used here and
nowhere else; canary tests fail when Trio renames them or stops to honour them. This is also the one place that seeds
Python's global generator, for libraries that draw from it, and that looks at real time, to end a run that hangs.

What a run may still not do: real input or output, threads, ``os.urandom`` whose value decides anything.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import random
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable, Generator, Sequence
from types import FrameType
from typing import Any, Final, TypeVar

import apsw
import attrs
import trio
import trio.testing

from kraken_engine.errors import UsageError
from kraken_engine.sim.failures import HorizonReached, SimulationStuck, UnraisableFailure, unwrapped

__all__ = ["run", "task_stacks"]

T = TypeVar("T")

SCHEDULER_MODULE: Final = "trio._core._run"
SCHEDULER_FLAG: Final = "_ALLOW_DETERMINISTIC_SCHEDULING"
SCHEDULER_RANDOM: Final = "_r"

GRACE_S = 30.0
"""Virtual seconds a program may take to leave once it was cancelled at its horizon."""
COLLECT_EVERY_S = 30.0
"""Virtual seconds between two runs of the garbage collector, which never runs at any other time."""
ALARM_AGAIN_S = 0.25
"""Real seconds until the alarm rings once more, should somebody have swallowed it."""
MOST_UNRAISABLE = 10


def run(
    seed: object,
    main: Callable[[], Awaitable[T]],
    *,
    horizon_s: float,
    real_limit_s: float = 120.0,
    instruments: Sequence[trio.abc.Instrument] = (),
) -> T:
    """Run ``main`` to its end in virtual time and return what it returns.

    Args:
        seed: decides the order of tasks and the global random numbers, through its ``str``.
        main: the whole program; virtual time starts at 0.
        horizon_s: virtual seconds it may take. A deadlock ends here, at once in real time.
        real_limit_s: real seconds it may take.
        instruments: observers, as ``trio.run`` has them.

    Returns:
        What ``main`` returned.

    Raises:
        HorizonReached: ``main`` had not ended after ``horizon_s``.
        SimulationStuck: it ran into ``real_limit_s``, or did not leave within 30 virtual seconds of being cancelled.
        UnraisableFailure: a finaliser failed, or a coroutine was never awaited.
        UsageError: called inside another Trio run, or outside the main thread.
        BaseException: what ``main`` raised, without the exception groups around it where it is one
            (:func:`~kraken_engine.sim.failures.unwrapped`).
    """
    if _in_a_run():
        raise UsageError("simulation: already inside a Trio run; call run() from ordinary code")
    guard = _Guard(horizon_s=horizon_s, real_limit_s=real_limit_s)
    results: list[T] = []
    failure: BaseException | None = None
    with _collected() as unraisable:
        try:
            with _seeded(seed), guard.watching():
                clock = trio.testing.MockClock(autojump_threshold=0)
                results.append(trio.run(guard.supervise, main, clock=clock, instruments=instruments))
        except BaseException as error:  # noqa: ASYNC103, BLE001 - raised below, once all is put back
            failure = guard.failure(error)
    try:
        if failure is not None:
            raise failure
    finally:
        del failure  # its traceback holds this frame
    if unraisable:
        raise UnraisableFailure(unraisable)
    (result,) = results
    return result


def task_stacks() -> list[str]:
    """Return one line for each task of the current run: its name and the calls in which it waits, innermost last."""
    root = trio.lowlevel.current_root_task()
    lines: list[str] = []
    pending = [] if root is None else [root]
    while pending:
        task = pending.pop()
        frames = [f"{frame.f_code.co_qualname}:{line}" for frame, line in task.iter_await_frames()]
        lines.append(f"{task.name}: {' > '.join(frames)}")
        for nursery in task.child_nurseries:
            pending.extend(nursery.child_tasks)
    return sorted(lines)


def _in_a_run() -> bool:
    try:
        trio.lowlevel.current_clock()
    except RuntimeError:
        return False
    return True


class _Alarm(BaseException):
    """Raised wherever the program happens to be when real time is over: no ``except Exception`` stops it."""


@attrs.define(kw_only=True)
class _Guard:
    """The two limits of a run, and what was seen when one of them was hit."""

    horizon_s: float
    real_limit_s: float
    late: list[str] | None = None
    """Stacks at the horizon."""
    overstayed: bool = False
    """Whether something was left when the time to leave was over too."""
    stuck: list[str] | None = None
    """Stacks when the alarm rang first."""

    async def supervise(self, main: Callable[[], Awaitable[T]]) -> T:
        """Run ``main`` with a timer always pending, since virtual time only moves from timer to timer."""
        results: list[T] = []
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                nursery.start_soon(self._keep_time, scope)  # noqa: ASYNC111 - cancelling an ended scope does nothing
                results.append(await main())
            nursery.cancel_scope.cancel()
        if self.late is not None:
            raise HorizonReached(self.horizon_s, self.late)
        (result,) = results
        return result

    async def _keep_time(self, scope: trio.CancelScope) -> None:
        while trio.current_time() < self.horizon_s:
            await trio.sleep_until(min(self.horizon_s, trio.current_time() + COLLECT_EVERY_S))
            gc.collect()
        self.late = task_stacks()
        scope.cancel()
        await trio.sleep(GRACE_S)
        # Whatever is still here is shielded: no cancellation reaches it, and no other timer may be left to end it.
        self.overstayed = True
        signal.setitimer(signal.ITIMER_REAL, 0.001, ALARM_AGAIN_S)

    def failure(self, error: BaseException) -> BaseException:
        """Return what ``error``, which ended the run, really means."""
        if self.stuck is not None:
            overstayed = f"would not be cancelled at its horizon of {self.horizon_s:g} s"
            why = overstayed if self.overstayed else f"no end after {self.real_limit_s:g} real seconds"
            return SimulationStuck(why, self.stuck)
        found = unwrapped(error)
        if self.late is None or isinstance(found, HorizonReached):
            return found
        failure = HorizonReached(self.horizon_s, self.late)
        failure.__cause__ = found
        return failure

    @contextlib.contextmanager
    def watching(self) -> Generator[None]:
        """Let an alarm ring after ``real_limit_s``; any alarm that was set before is put back afterwards."""
        try:
            before = signal.signal(signal.SIGALRM, self._ring)
        except ValueError:
            raise UsageError("simulation: only the main thread can run one (its watchdog is a signal)") from None
        timer = signal.setitimer(signal.ITIMER_REAL, self.real_limit_s, ALARM_AGAIN_S)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, *timer)
            signal.signal(signal.SIGALRM, before)

    def _ring(self, _signal: int, frame: FrameType | None) -> None:
        if not _in_a_run():
            return  # it is over already
        if self.stuck is None:
            here = [f"{f.name}:{f.lineno}" for f in traceback.extract_stack(frame, limit=12)]
            self.stuck = [*task_stacks(), f"running: {' > '.join(here)}"]
        raise _Alarm


@contextlib.contextmanager
def _seeded(seed: object) -> Generator[None]:
    """Pin Trio's scheduler and the global generator, and leave both as they were."""
    scheduler: dict[str, Any] = vars(importlib.import_module(SCHEDULER_MODULE))
    missing = [name for name in (SCHEDULER_FLAG, SCHEDULER_RANDOM) if name not in scheduler]
    if missing:
        raise UsageError(f"simulation: Trio {trio.__version__} has no {SCHEDULER_MODULE}.{' or '.join(missing)}")
    tasks: random.Random = scheduler[SCHEDULER_RANDOM]
    flag, task_state, global_state = scheduler[SCHEDULER_FLAG], tasks.getstate(), random.getstate()
    scheduler[SCHEDULER_FLAG] = True
    tasks.seed(f"tasks:{seed}")
    random.seed(f"global:{seed}")
    try:
        yield
    finally:
        random.setstate(global_state)
        tasks.setstate(task_state)
        scheduler[SCHEDULER_FLAG] = flag


GROWTH = 1.2
"""What is set aside may grow by so much, with garbage in it perhaps, until it is searched again."""
_SET_ASIDE = [0]
"""How many objects were set aside when the whole heap was searched last."""


@contextlib.contextmanager
def _collected() -> Generator[list[str]]:
    """Keep the garbage collector from running at moments that depend on the process, and hear what finalisers say.

    Everything alive before is set aside (``gc.freeze``), so that the collections of this run are cheap and finalise
    only what this run made. That costs a search of the whole heap, so who makes many runs in a large process sets aside
    what is there before the first of them: then it stays so after each, and is searched again only when it has grown.
    """
    unraisable: list[str] = []

    def note(event: sys.UnraisableHookArgs) -> None:
        if event.object is None and issubclass(event.exc_type, apsw.Error):
            return  # a connection that a killed life left behind, closed by the collector on a disk that fails
        if len(unraisable) < MOST_UNRAISABLE:
            what = event.exc_value if event.exc_value is not None else event.exc_type
            unraisable.append(f"{what!r} in {event.object!r}")

    set_aside = gc.get_freeze_count()  # counts them one by one: not more than once a run
    stays = set_aside > 0
    search = not stays or set_aside > GROWTH * _SET_ASIDE[0]
    if search:
        gc.unfreeze()
    gc.collect()  # what the run before this one left in cycles is not to be set aside with the rest
    hook, enabled = sys.unraisablehook, gc.isenabled()
    sys.unraisablehook = note
    gc.disable()
    gc.freeze()
    if search:
        _SET_ASIDE[0] = gc.get_freeze_count()
    try:
        yield unraisable
    finally:
        gc.collect()
        if not stays:
            gc.unfreeze()
        if enabled:
            gc.enable()
        sys.unraisablehook = hook
