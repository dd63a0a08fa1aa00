"""The nonce marks: below its mark every used nonce of a key lies, and the mark is on the disk before one is used."""

from __future__ import annotations

from typing import final

import attrs

from kraken_engine.errors import UsageError
from kraken_engine.store.schema import NONCES
from kraken_engine.store.sealed import Transaction
from kraken_engine.store.transactions import Transact

__all__ = ["Nonces", "raise_all_marks"]


@final
@attrs.frozen
class Nonces:
    """Marks by fingerprint of the key (:attr:`~kraken_engine.secret.ApiKey.fingerprint`)."""

    _transact: Transact

    async def mark(self, fingerprint: str) -> int:
        """Return the mark of a key; 0 for one that was never used here.

        Raises:
            StoreError: it could not be read: sign nothing.
        """
        row = await self._transact(lambda transaction: transaction.get(NONCES, fingerprint))
        return 0 if row is None else int(row[1])

    async def raise_mark(self, fingerprint: str, mark: int) -> None:
        """Raise the mark of a key; return once that is durable. A mark that is higher already stays.

        Raises:
            StoreError: perhaps it is not: use no nonce at or above the old one.
            UsageError: no such mark.
        """
        if not 0 < mark < 2**63:
            raise UsageError(f"nonce mark: expected a number above 0 and below 2**63, got {mark}")

        def work(transaction: Transaction) -> None:
            row = transaction.get(NONCES, fingerprint)
            if row is None or int(row[1]) < mark:
                transaction.put(NONCES, fingerprint, mark)

        await self._transact(work)


def raise_all_marks(transaction: Transaction, wall_ns: int, ahead_ns: int) -> list[str]:
    """Raise every mark ``ahead_ns`` above itself and the clock, and return whose they are."""
    rows = transaction.rows(NONCES)
    for fingerprint, mark in rows:
        transaction.put(NONCES, fingerprint, min(max(int(mark), wall_ns) + ahead_ns, 2**63 - 1))
    return [str(fingerprint) for fingerprint, _ in rows]
