"""What the venue says of an account's key, told once when the account is opened.

A key that may withdraw is worth stealing, and one that lacks a permission fails at the worst moment; an account works
with either, so nothing is refused here. Which words are right is decided by :mod:`~kraken_engine.rest.preflight`.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from kraken_engine.errors import EngineError, Rejected
from kraken_engine.normalise.events import KeyNotice
from kraken_engine.rest.preflight import Level, check_key_info
from kraken_engine.rest.private import PrivateRest
from kraken_engine.runtime import Clock

__all__ = ["check_key"]

AGAIN_S = 60.0
"""Pause before the venue is asked once more, when no answer came."""
NS_PER_S = 10**9


async def check_key(account: str, rest: PrivateRest, clock: Clock, notify: Callable[[KeyNotice], None]) -> None:
    """Ask the venue what the key may do until it answers, and tell what is to be said of it.

    A venue that refuses to answer is not asked again: one without that question is none the worse for it, and a key
    that it does not know is told of by whoever needs a token.
    """
    while True:
        try:
            info = await rest.api_key_info()
        except Rejected as error:
            if not error.retryable:
                return
        except EngineError:  # told already: the desk counts it, and the breaker says when it opens
            pass
        else:
            break
        await trio.sleep(AGAIN_S)
    for finding in check_key_info(info, unix_s=clock.wall_ns() / NS_PER_S):
        if finding.level is not Level.OK:
            notify(KeyNotice(at_s=clock.now(), account=account, what=finding.text, grave=finding.level is Level.FAIL))
