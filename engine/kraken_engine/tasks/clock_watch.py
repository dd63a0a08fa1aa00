"""Looks at the wall clock now and then, and tells when it was set, or is not the venue's.

What is worth a word is decided by :mod:`~kraken_engine.control.wall_clock`; this shell waits, tells, and forgets what
the venue said of its time when the monotonic clock may have stood still. The next answer of REST brings it anew.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from kraken_engine.config import ClockSettings
from kraken_engine.control.venue_clock import VenueClock
from kraken_engine.control.wall_clock import Agrees, ClockNews, Differs, Stepped, WallClock
from kraken_engine.normalise.events import ClockNotice
from kraken_engine.runtime import Clock

__all__ = ["run_clock_watch"]


async def run_clock_watch(
    clock: Clock, venue_clock: VenueClock, settings: ClockSettings, notify: Callable[[ClockNotice], None]
) -> None:
    """Watch until cancelled; ``notify`` must not wait."""
    watch = WallClock(settings)
    while True:
        now, wall_ns = clock.now(), clock.wall_ns()
        offset_s, error_s = venue_clock.offset_s(wall_ns, now=now), venue_clock.error_s(now=now)
        for news in watch.look(wall_ns, now=now, offset_s=offset_s, error_s=error_s):
            if isinstance(news, Stepped):
                venue_clock.forget()
            notify(_notice(news, now))
        await trio.sleep(settings.check_every_s)


def _notice(news: ClockNews, now: float) -> ClockNotice:
    match news:
        case Stepped(by_s=by_s):
            way = "ahead" if by_s > 0 else "back"
            cause = "somebody set it, or the machine slept" if by_s > 0 else "somebody set it"
            what = f"the wall clock went {abs(by_s):.1f} s {way}: {cause}"
            return ClockNotice(at_s=now, what=what, wrong=True, step_s=by_s)
        case Differs(by_s=by_s):
            side = "ahead of" if by_s > 0 else "behind"
            what = f"the wall clock is {abs(by_s):.1f} s {side} the venue's: let this machine follow a time server"
            return ClockNotice(at_s=now, what=what, wrong=True, offset_s=by_s)
        case Agrees(by_s=by_s):
            return ClockNotice(at_s=now, what="the wall clock is the venue's again", wrong=False, offset_s=by_s)
