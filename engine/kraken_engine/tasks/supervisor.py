"""Keeps one line connected: connect, run, back off, again, within the limits of the process."""

from __future__ import annotations

import trio

from kraken_engine.control.connect_budget import ConnectBudget, ConnectLog
from kraken_engine.control.error_actions import Where
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
    backoff = line.backoff
    await _wait(line, budget, budget.reserve(now=line.now()))
    while True:
        if log is not None:
            await log.append(line.runtime.clock.wall_ns())
        reason = await run_session(line)
        # Whatever ended it, another connection is what a supervisor can do about it.
        line.desk.decide(reason, Where(line=line.name))
        line.disconnected(str(reason))
        pause_s = backoff.failed(now=line.now(), floor_s=backoff.floor_s(reason))
        pause_s += budget.reserve(now=line.now() + pause_s, immediate=pause_s == 0.0)
        down = LineDown(
            at_s=line.now(), line=line.name, reason=str(reason), failures=backoff.failures, retry_in_s=pause_s
        )
        line.outlet.announce(down)
        line.outlet.flush()
        await _wait(line, budget, pause_s)


async def _wait(line: Line, budget: ConnectBudget, pause_s: float) -> None:
    """Wait for an attempt that was booked; whoever is cancelled before its time gives it back.

    Who wakes up much too late, since the machine was asleep, is not alone: the attempt is booked anew.
    """
    while True:
        start = line.now() + pause_s
        try:
            await trio.sleep(pause_s)
        finally:
            if line.now() < start:
                budget.give_back(start)
        now = line.now()
        if now - start < line.config.backoff.min_gap_s / 2:
            return
        budget.give_back(start)
        pause_s = budget.reserve(now=now)
        if not pause_s:
            return
