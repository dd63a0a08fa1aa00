"""Fills in the order in which they were learnt of, and how far each consumer has got.

A fill is written once, whatever the venue repeats (I-13), and delivered until it is acknowledged: at least once, across
restarts. What a fill says is up to whoever writes it; here it is bytes with an id of the venue's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, final

import attrs

from kraken_engine.errors import StoreCorrupt, UsageError
from kraken_engine.store.schema import CURSORS, FILL_IDS, FILLS
from kraken_engine.store.sealed import Row, Transaction
from kraken_engine.store.transactions import Transact

__all__ = ["Fills", "StoredFill"]

FORGOTTEN_AT_ONCE: Final = 8
"""Old fills that one transaction takes away at most, for each that it adds."""


@attrs.frozen(kw_only=True)
class StoredFill:
    """One fill."""

    number: int
    """Consecutive within the account, from 1: what a cursor counts."""
    exec_id: str
    body: bytes


@final
@attrs.frozen
class Fills:
    """The fills of one account."""

    _transact: Transact
    _account: str
    _keep: int = attrs.field(kw_only=True, alias="keep")

    async def append(self, fills: Sequence[tuple[str, bytes]]) -> list[StoredFill]:
        """Write fills, each ``(exec_id, body)``, and return those that were not known yet, once they are durable.

        Raises:
            StoreError: perhaps they are not; appending them again does no harm.
        """

        def work(transaction: Transaction) -> list[StoredFill]:
            number = self._last(transaction)
            added: list[StoredFill] = []
            for exec_id, body in fills:
                if transaction.get(FILL_IDS, self._account, exec_id) is None:
                    number += 1
                    transaction.put(FILLS, self._account, number, exec_id, body)
                    transaction.put(FILL_IDS, self._account, exec_id, number)
                    added.append(StoredFill(number=number, exec_id=exec_id, body=body))
            self._forget(transaction, number, len(added) * FORGOTTEN_AT_ONCE)
            return added

        return await self._transact(work)

    async def after(self, number: int, limit: int = 1_000) -> list[StoredFill]:
        """Return up to ``limit`` fills after ``number``, in order.

        Raises:
            StoreCorrupt: one is missing, or not as it was written.
            StoreError: they could not be read.
        """
        rows = await self._transact(
            lambda transaction: transaction.rows(FILLS, self._account, after=number, limit=limit)
        )
        found = [_fill(row) for row in rows]
        numbers = [fill.number for fill in found]
        if numbers and numbers != list(range(numbers[0], numbers[0] + len(numbers))):
            raise StoreCorrupt(f"fills of {self._account}: expected consecutive numbers, got a gap after {number}")
        return found

    async def last(self) -> int:
        """Return the number of the last fill; 0 if there is none."""
        return await self._transact(self._last)

    async def cursor(self, consumer: str) -> int:
        """Return the number of the last fill that ``consumer`` acknowledged; 0 if there is none.

        Raises:
            StoreError: it could not be read.
        """
        row = await self._transact(lambda transaction: transaction.get(CURSORS, self._account, consumer))
        return 0 if row is None else int(row[2])

    async def acknowledge(self, consumer: str, number: int) -> None:
        """Note that ``consumer`` has every fill up to ``number``; a cursor never goes back.

        Raises:
            UsageError: there is no such fill.
            StoreError: perhaps it is not noted.
        """

        def work(transaction: Transaction) -> None:
            last = self._last(transaction)
            if not 0 <= number <= last:
                raise UsageError(f"fills of {self._account}: expected a number from 0 to {last}, got {number}")
            row = transaction.get(CURSORS, self._account, consumer)
            if row is None or int(row[2]) < number:
                transaction.put(CURSORS, self._account, consumer, number)

        await self._transact(work)

    def _last(self, transaction: Transaction) -> int:
        newest = transaction.rows(FILLS, self._account, descending=True, limit=1)
        return int(newest[0][1]) if newest else 0

    def _forget(self, transaction: Transaction, last: int, most: int) -> None:
        """Take away the oldest fills that every consumer has, beyond those to keep."""
        acknowledged = min((int(number) for _, _, number in transaction.rows(CURSORS, self._account)), default=0)
        for _, number, exec_id, _ in transaction.rows(FILLS, self._account, limit=most):
            if int(number) > min(acknowledged, last - self._keep):
                return
            transaction.remove(FILLS, self._account, int(number))
            transaction.remove(FILL_IDS, self._account, str(exec_id))


def _fill(row: Row) -> StoredFill:
    _, number, exec_id, body = row
    return StoredFill(number=int(number), exec_id=str(exec_id), body=body if isinstance(body, bytes) else b"")
