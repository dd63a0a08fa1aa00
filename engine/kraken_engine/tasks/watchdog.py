"""The failover watchdog: wakes when something is due, or has changed, and lets the core decide.

Owns nothing, touches no socket; ends only when it is cancelled.
"""

from __future__ import annotations

from kraken_engine.tasks.continuity import Continuity

__all__ = ["run_watchdog"]


async def run_watchdog(continuity: Continuity) -> None:
    """Watch over the streams of one market, until cancelled."""
    while True:
        continuity.look()
        await continuity.watch.wait_until(continuity.watchdog.next_due)
