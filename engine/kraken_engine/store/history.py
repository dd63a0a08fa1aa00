"""Histories: what happened, in order, as bytes of whoever writes them; bounded, the oldest entries go first."""

from __future__ import annotations

from typing import final

import attrs

from kraken_engine.errors import StoreCorrupt
from kraken_engine.runtime import Clock
from kraken_engine.store.schema import HISTORY
from kraken_engine.store.sealed import Row, Transaction
from kraken_engine.store.transactions import Transact

__all__ = ["Entry", "History"]


@attrs.frozen(kw_only=True)
class Entry:
    """One thing that happened."""

    number: int
    """Consecutive, from 1."""
    wall_ns: int
    """When it was written, by the wall clock."""
    body: bytes


@final
@attrs.frozen
class History:
    """One stream of entries."""

    _transact: Transact
    _clock: Clock
    _stream: str
    _most: int = attrs.field(kw_only=True, alias="most")

    async def append(self, body: bytes) -> int:
        """Write an entry, and return its number once it is durable.

        Raises:
            StoreError: perhaps it is not.
        """
        wall_ns = self._clock.wall_ns()

        def work(transaction: Transaction) -> int:
            newest = transaction.rows(HISTORY, self._stream, descending=True, limit=1)
            number = int(newest[0][1]) + 1 if newest else 1
            transaction.put(HISTORY, self._stream, number, wall_ns, body)
            for _, old, *_ in transaction.rows(HISTORY, self._stream, limit=2):
                if int(old) <= number - self._most:
                    transaction.remove(HISTORY, self._stream, int(old))
            return number

        return await self._transact(work)

    async def latest(self, limit: int = 100) -> list[Entry]:
        """Return the last ``limit`` entries, the oldest of them first.

        Raises:
            StoreCorrupt: one is missing, or not as it was written.
            StoreError: they could not be read.
        """
        rows = await self._transact(
            lambda transaction: transaction.rows(HISTORY, self._stream, descending=True, limit=limit)
        )
        entries = [_entry(row) for row in reversed(rows)]
        numbers = [entry.number for entry in entries]
        if numbers and numbers != list(range(numbers[0], numbers[-1] + 1)):
            raise StoreCorrupt(f"history {self._stream}: expected consecutive numbers, got a gap")
        return entries


def _entry(row: Row) -> Entry:
    _, number, wall_ns, body = row
    return Entry(number=int(number), wall_ns=int(wall_ns), body=body if isinstance(body, bytes) else b"")
