"""SIGINT and SIGTERM from a command's first moment: whatever it is opening is given up, cleanly, and with a name."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import final

import attrs
import trio

from kraken_engine.runtime import wait_interrupted
from kraken_engine.tasks.scope import open_background

__all__ = ["Interruption", "open_interruption"]

_BY_SIGNAL = 128
"""Shells tell a death by signal from an exit by this difference; 130 is the keyboard, 143 a supervisor."""


@final
@attrs.define(eq=False)
class Interruption:
    """The first signal that asks the command to end; made by :func:`open_interruption`."""

    scope: trio.CancelScope
    """What the signal cancels, unless somebody waits for it."""
    name: str | None = attrs.field(default=None, init=False)
    """SIGINT or SIGTERM, once one came."""
    code: int = attrs.field(default=0, init=False)
    """The exit code of a command that the signal cut short: 128 and its number; 0 for one it did not cut short."""
    _arrived: trio.Event = attrs.field(factory=trio.Event, init=False)
    _awaited: bool = attrs.field(default=False, init=False)

    async def wait(self) -> None:
        """Wait for the signal; from now on it cancels nothing, and the caller ends the command its own way."""
        self._awaited = True
        await self._arrived.wait()

    # What it waits for reports the start, with the status handed on.
    async def listen(  # noqa: ASYNC128
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Catch the signals until one has come."""
        number = await wait_interrupted(task_status=task_status)
        self.name = number.name
        self._arrived.set()
        if not self._awaited:
            self.code = _BY_SIGNAL + number
            self.scope.cancel()


@asynccontextmanager
async def open_interruption() -> AsyncGenerator[Interruption]:
    """Catch SIGINT and SIGTERM while the block runs; the first one cancels it unless somebody waits for it.

    A second one does what it does to any process, so that a command which does not end can still be ended.
    """
    interruption = Interruption(trio.CancelScope())
    async with open_background("signals") as nursery:
        await nursery.start(interruption.listen)
        with interruption.scope:
            yield interruption
