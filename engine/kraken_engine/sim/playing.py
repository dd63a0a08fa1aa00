"""Plays a plan: each fault in its time, and all of them over at the horizon.

Knows nothing of what a fault does, or to what.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from kraken_engine.sim.plan import Fault, Plan

__all__ = ["play"]


async def play(plan: Plan, apply: Callable[[Fault], Awaitable[None]], nursery: trio.Nursery) -> None:
    """Let every fault begin in its time from now on, and cancel ``nursery`` at the horizon.

    Args:
        plan: the faults, in the order of their times.
        apply: makes one happen, and returns when it is over.
        nursery: where they run, and whatever else is to end with them.
    """
    begin = trio.current_time()
    for fault in plan.faults:
        await trio.sleep_until(begin + fault.at_s)
        nursery.start_soon(apply, fault)
    await trio.sleep_until(begin + plan.horizon_s)
    nursery.cancel_scope.cancel()
