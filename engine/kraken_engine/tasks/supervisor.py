"""Keeps one line connected: connect, run, back off, again, within the limits of the process.

While the venue is away on purpose the pauses do not grow, and its return ends the one that is under way.
"""

from __future__ import annotations

import trio

from kraken_engine.control.connect_budget import ConnectBudget, ConnectLog
from kraken_engine.control.error_actions import ReconnectWithBackoff, Where
from kraken_engine.control.venue_mode import VenueModes
from kraken_engine.errors import LineError
from kraken_engine.normalise.events import LineDown
from kraken_engine.tasks.line import Line
from kraken_engine.tasks.session import run_session

__all__ = ["run_line"]


async def run_line(line: Line, budget: ConnectBudget, log: ConnectLog | None = None) -> None:
    """Run the connections of ``line`` one after the other, until cancelled.

    Args:
        line: what to connect.
        budget: shared by all lines of the process ...
        log: ... and this one by all processes that use the same state directory.

    Owns nothing that outlives a connection but the pauses between them; what the line knows is in ``line``. Only
    bugs end it: every failure of the network is a reason to try again.
    """
    back = _Back(line.modes)
    stop = line.modes.observe(back.look)
    try:
        await _run_connections(line, budget, log, back)
    finally:
        stop()


async def _run_connections(line: Line, budget: ConnectBudget, log: ConnectLog | None, back: _Back) -> None:
    backoff = line.backoff
    start = await _wait(line, budget, budget.reserve(now=line.now()), back)
    while True:
        reason = await _prepare(line, budget, start)
        if reason is None:
            if log is not None:
                await log.append(line.runtime.clock.wall_ns())
            reason = await run_session(line)
        command = line.desk.decide(reason, Where(line=line.name, account=line.account_name))
        if not isinstance(command, ReconnectWithBackoff):
            line.desk.deliver(command)  # to whoever can do more about it; a supervisor cannot
        line.disconnected(str(reason))
        away = line.modes.away is not None
        floor_s = backoff.floor_s(reason)
        pause_s = backoff.failed(now=line.now(), floor_s=floor_s, excused=away)
        pause_s += budget.reserve(now=line.now(), after_s=pause_s, immediate=pause_s == 0.0)
        down = LineDown(
            at_s=line.now(), line=line.name, reason=str(reason), failures=backoff.failures, retry_in_s=pause_s
        )
        line.outlet.announce(down)
        line.outlet.flush()
        start = await _wait(line, budget, pause_s, back, floor_s)


async def _prepare(line: Line, budget: ConnectBudget, start: float) -> LineError | None:
    """Get ready what a connection needs for the attempt that was booked for ``start``; return why that failed, if so.

    What takes long (a token while REST is away) leaves the attempt to others, and books another one when it is there:
    several lines that waited for the same must not dial in the same moment (I-24).
    """
    if line.prepare is None:
        return None
    while True:
        in_time = False
        try:
            await line.prepare()
            in_time = line.now() - start < line.config.backoff.min_gap_s / 2
        except LineError as error:
            return error
        finally:
            if not in_time:
                budget.give_back(start)
        if in_time:
            return None
        pause_s = budget.reserve(now=line.now())
        if not pause_s:
            return None
        start = await _wait(line, budget, pause_s)


class _Back:
    """Tells a waiting supervisor that the venue is back."""

    def __init__(self, modes: VenueModes) -> None:
        self._modes = modes
        self._was_away = modes.away is not None
        self.event = trio.Event()
        """Set, and made anew, whenever the venue returns."""

    def look(self) -> None:
        """Note a change of the venue's state."""
        away = self._modes.away is not None
        if self._was_away and not away:
            event, self.event = self.event, trio.Event()
            event.set()
        self._was_away = away


async def _wait(
    line: Line, budget: ConnectBudget, pause_s: float, back: _Back | None = None, floor_s: float = 0.0
) -> float:
    """Wait for an attempt that was booked, and return its time; whoever is cancelled before that gives it back.

    Who wakes up much too late, since the machine was asleep, is not alone: the attempt is booked anew. So it is when
    the venue comes back meanwhile, but not for earlier than ``floor_s`` from now.
    """
    earliest = line.now() + floor_s
    while True:
        start = line.now() + pause_s
        returned = trio.Event() if back is None else back.event
        try:
            with trio.move_on_after(pause_s):
                await returned.wait()
        finally:
            if line.now() < start:
                budget.give_back(start)
        now = line.now()
        if now >= start or not returned.is_set():
            if now - start < line.config.backoff.min_gap_s / 2:
                return start
            budget.give_back(start)
        held_s = max(0.0, earliest - now)
        pause_s = held_s + budget.reserve(now=now, after_s=held_s)
        if not pause_s:
            return now
