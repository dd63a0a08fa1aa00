"""What the demo broke, what the stream said about it, and whether it is whole again.

A fault is *seen* when every book it hits was announced stale after it, and *healed* when each of them is live again.
The loss of one line of several is another matter: it is healed when a line is up again, and no book may have been
announced stale meanwhile. Decides that from events alone; knows nothing of the venue, of tasks or of tables.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Sequence
from typing import Literal

import attrs

from kraken_engine.errors import Stale
from kraken_engine.normalise.book_view import BookUpdate
from kraken_engine.normalise.events import Event, Gap, LineDown, LineUp, Live

__all__ = ["FaultKind", "Ledger"]

FaultKind = Literal["line", "cut", "corruption"]
"""One line of several lost; every line lost; a wrong checksum."""


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
    line: str | None = None
    """Of the loss of one line: which, once that is known; it is unhealed until that line is up again."""
    disturbed: dict[str, None] = attrs.field(factory=dict[str, None])
    """Of the loss of one line: books that were announced stale, which another line should have prevented."""

    @property
    def healed(self) -> bool:
        return not self.unhealed and not self.disturbed


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
        """Note that the books of ``symbols`` are broken on purpose from now on, or a line that others stand in for."""
        hit = dict.fromkeys(symbols)
        self._faults.append(_Fault(kind, at_s, {} if kind == "line" else dict(hit), dict(hit)))

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
            case LineDown(line=line, reason=reason):
                for fault in self._of_lines():
                    if fault.line is None:
                        fault.line, fault.why = line, reason
            case LineUp(line=line):
                for fault in self._of_lines():
                    if fault.line == line:
                        fault.unhealed.clear()
            case _:
                pass

    def made(self, kind: FaultKind) -> int:
        """Return how many faults of this kind were made."""
        return sum(fault.kind == kind for fault in self._faults)

    def healed(self, kind: FaultKind) -> int:
        """Return how many of them were seen and are healed."""
        return sum(fault.kind == kind and fault.healed for fault in self._faults)

    @property
    def whole(self) -> bool:
        """Whether every fault made so far was seen and is healed."""
        return not any(fault.unhealed for fault in self._faults)

    def story(self) -> list[str]:
        """Return one line per fault, for people."""
        return [_told(fault) for fault in self._faults]

    def _of_lines(self) -> list[_Fault]:
        return [fault for fault in self._faults if fault.kind == "line" and fault.unhealed]

    def _lost(self, symbol: str, why: str) -> None:
        self.stale[symbol] = why
        for fault in self._faults:
            if symbol in fault.unseen:
                del fault.unseen[symbol]
                fault.why = fault.why or why
            elif fault.kind == "line" and symbol in fault.unhealed:
                fault.disturbed[symbol] = None

    def _live(self, symbol: str) -> None:
        self.stale.pop(symbol, None)
        for fault in self._faults:
            if fault.kind != "line" and symbol not in fault.unseen:
                fault.unhealed.pop(symbol, None)


def _told(fault: _Fault) -> str:
    if fault.disturbed:
        outcome = f"NOT UNNOTICED: {', '.join(fault.disturbed)}"
    elif fault.unhealed:
        outcome = f"NOT HEALED: {', '.join(fault.unhealed)}"
    else:
        outcome = "healed, and no book noticed" if fault.kind == "line" else "healed"
    return f"{fault.kind}: {outcome} (the engine said: {fault.why or 'nothing'})"
