"""Which symbols have open orders, over all accounts of a market: they come first wherever there is a queue.

Every connection asks for their books before all other market data, and the backup covers their books before others.
Who opens an account adds it; the answer is always that of the moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import final

__all__ = ["UrgentSymbols"]


@final
class UrgentSymbols:
    """The symbols with open orders; called, it names them, each once."""

    def __init__(self) -> None:
        self._accounts: list[Callable[[], Iterable[str]]] = []

    def __call__(self) -> tuple[str, ...]:
        """Return the symbols, those of the account that was added first in front."""
        return tuple(dict.fromkeys(symbol for symbols in self._accounts for symbol in symbols()))

    def add(self, symbols: Callable[[], Iterable[str]]) -> Callable[[], None]:
        """Count the symbols of one more account, until the returned function is called."""
        self._accounts.append(symbols)
        return lambda: self._accounts.remove(symbols)
