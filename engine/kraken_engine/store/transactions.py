"""What repositories need of a store: a way to run a function as one transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from kraken_engine.store.sealed import Transaction

__all__ = ["Transact"]

T = TypeVar("T")


class Transact(Protocol):
    """``Store.transact``."""

    async def __call__(self, work: Callable[[Transaction], T]) -> T:
        """Run ``work`` as one transaction, and return what it returns once that is durable."""
        ...
