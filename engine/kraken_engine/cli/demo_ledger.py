"""What the demo broke, what the stream said about it, and whether it is whole again.

A fault is *seen* when every book it hits was announced stale after it, and *healed* when each of them is live again.
Decides that from events alone; knows nothing of the venue, of tasks or of tables.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Sequence
from typing import Literal

import attrs

from kraken_engine.errors import Stale
from kraken_engine.normalise.book_view import BookUpdate
from kraken_engine.normalise.events import Event, Gap, Live

__all__ = ["FaultKind", "Ledger"]

FaultKind = Literal["cut", "corruption"]


@attrs.define
class _Fault:
    kind: FaultKind
    at_s: float
    unseen: dict[str, None]
    """Symbols whose book has not been announced stale since."""
    unhealed: dict[str, None]
    """Symbols whose book is not live again."""
    why: str = ""
    """What the engine said was wrong."""


@attrs.define
class Ledger:
    """Follow the books of ``symbols`` through the faults made on purpose."""

    symbols: Sequence[str]
    updates: collections.Counter[str] = attrs.field(factory=collections.Counter[str], init=False)
    """Verified books received, by symbol."""
    gaps: collections.Counter[str] = attrs.field(factory=collections.Counter[str], init=False)
    """Gaps announced as healed, by symbol."""
    stale: dict[str, str] = attrs.field(factory=dict[str, str], init=False)
    """Symbols whose book is stale now, and why."""
    _faults: list[_Fault] = attrs.field(factory=list[_Fault], init=False)

    def fault(self, kind: FaultKind, symbols: Iterable[str], *, at_s: float) -> None:
        """Note that the books of ``symbols`` are broken on purpose from now on."""
        hit = dict.fromkeys(symbols)
        self._faults.append(_Fault(kind, at_s, dict(hit), dict(hit)))

    def receive(self, event: Event) -> None:
        """Take one event of the stream."""
        match event:
            case BookUpdate(symbol=symbol):
                self.updates[symbol] += 1
            case Gap(channel="book", symbol=symbol):
                self.gaps[symbol] += 1
            case Stale(channel="book"):
                for symbol in self.symbols if event.symbol is None else (event.symbol,):
                    self._lost(symbol, event.why)
            case Live(channel="book", symbol=symbol):
                self._live(symbol)
            case _:
                pass

    def made(self, kind: FaultKind) -> int:
        """Return how many faults of this kind were made."""
        return sum(fault.kind == kind for fault in self._faults)

    def healed(self, kind: FaultKind) -> int:
        """Return how many of them were seen and are healed."""
        return sum(fault.kind == kind and not fault.unhealed for fault in self._faults)

    @property
    def whole(self) -> bool:
        """Whether every fault made so far was seen and is healed."""
        return not any(fault.unhealed for fault in self._faults)

    def story(self) -> list[str]:
        """Return one line per fault, for people."""
        return [
            f"{fault.kind}: {'healed' if not fault.unhealed else 'NOT HEALED: ' + ', '.join(fault.unhealed)}"
            f" (the engine said: {fault.why or 'nothing'})"
            for fault in self._faults
        ]

    def _lost(self, symbol: str, why: str) -> None:
        self.stale[symbol] = why
        for fault in self._faults:
            if symbol in fault.unseen:
                del fault.unseen[symbol]
                fault.why = fault.why or why

    def _live(self, symbol: str) -> None:
        self.stale.pop(symbol, None)
        for fault in self._faults:
            if symbol not in fault.unseen:
                fault.unhealed.pop(symbol, None)
