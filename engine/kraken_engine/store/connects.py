"""Attempts to connect, kept across restarts: the venue bans an address after too many, whoever made them.

Times are of the wall clock, the only one that outlives a process. Where it was set back, an attempt seems to lie in the
future: it counts as one of the moment in which that is noticed, and is noted as such. Else each start would count it as
just made, and an engine that is started again and again would not connect until the clock has come that far.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Final, final

import attrs
import trio

from kraken_engine.errors import StoreError
from kraken_engine.runtime import Clock
from kraken_engine.store.schema import CONNECTS
from kraken_engine.store.sealed import Transaction
from kraken_engine.store.transactions import Transact

__all__ = ["ConnectLog", "add_connect"]

PATIENCE_S: Final = 0.5
"""How long an attempt waits until it is noted: a disk takes milliseconds, and one that hangs may never answer."""
MAX_ROWS: Final = 1_000
"""The oldest go first; far more than any limit allows in any window."""


@final
@attrs.frozen
class ConnectLog:
    """The attempts of every engine that used this directory; a ``control.connect_budget.ConnectLog``."""

    _transact: Transact
    _clock: Clock

    async def load(self) -> tuple[int, ...]:
        """Return when attempts were made, nanoseconds since 1970, never later than now; the oldest first.

        Raises:
            StoreError: they could not be read.
        """
        now_ns = self._clock.wall_ns()
        rows = await self._transact(lambda transaction: transaction.rows(CONNECTS))
        ahead = [int(number) for number, wall_ns in rows if int(wall_ns) > now_ns]
        if ahead:
            await self._note(lambda transaction: _date(transaction, ahead, now_ns))
        return tuple(sorted(min(int(wall_ns), now_ns) for _, wall_ns in rows))

    async def append(self, wall_ns: int) -> None:
        """Note an attempt that is about to be made. A disk that fails, or hangs, does not keep anybody from connecting.

        That it fails is told by the store (``on_trouble``), and an attempt that is not noted counts in this process.
        """
        await self._note(lambda transaction: add_connect(transaction, wall_ns))

    async def _note(self, work: Callable[[Transaction], None]) -> None:
        with contextlib.suppress(StoreError), trio.move_on_after(PATIENCE_S):
            await self._transact(work)


def _date(transaction: Transaction, numbers: Iterable[int], wall_ns: int) -> None:
    for number in numbers:
        transaction.put(CONNECTS, number, wall_ns)


def add_connect(transaction: Transaction, wall_ns: int) -> None:
    """Note an attempt, and forget the oldest ones when there are too many."""
    newest = transaction.rows(CONNECTS, descending=True, limit=1)
    number = int(newest[0][0]) + 1 if newest else 1
    transaction.put(CONNECTS, number, wall_ns)
    for old, _ in transaction.rows(CONNECTS, limit=2):
        if int(old) <= number - MAX_ROWS:
            transaction.remove(CONNECTS, int(old))
