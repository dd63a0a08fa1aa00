"""The sequence of one symbol's trades: each id once, in order, and every hole announced (I-5).

Knows nothing of why a trade is missing or comes twice; a reconnect, a snapshot that overlaps and a lost frame all
look the same here. Where several lines bring the trades, a hole that one of them leaves may be filled by another: it is
announced when all of them are past it, or when waiting has become too long.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from kraken_engine.normalise.events import Event, Trade, TradeGap

__all__ = ["TRADE_PATIENCE_S", "MergedTrades", "SharedTrades", "TradeSequence"]

TRADE_PATIENCE_S = 0.5
"""How long trades wait for those before them that another line may still bring."""


@attrs.define
class TradeSequence:
    """Passes each trade once; what is missing before one is announced first."""

    symbol: str
    last_id: int | None = attrs.field(default=None, init=False)
    """Id of the latest trade passed on."""
    repeated: int = attrs.field(default=0, init=False)
    """Trades dropped because they, or later ones, had been passed on."""
    missing: int = attrs.field(default=0, init=False)
    """Trades announced as missing."""

    def receive(self, trade: Trade, *, now: float) -> Sequence[Event]:
        """Return what consumers are to see of ``trade``: itself, a :class:`TradeGap` and itself, or nothing."""
        last, trade_id = self.last_id, trade.trade_id
        if last is not None and trade_id <= last:
            self.repeated += 1
            return ()
        self.last_id = trade_id
        if last is None or trade_id == last + 1:
            return (trade,)
        self.missing += trade_id - last - 1
        gap = TradeGap(at_s=now, symbol=self.symbol, first=last + 1, last=trade_id - 1)
        return (gap, trade)


@attrs.define
class MergedTrades:
    """One symbol's trades from several lines, as one sequence."""

    symbol: str
    repeated: int = attrs.field(default=0, init=False)
    """Trades dropped because another line, or the same one, had brought them."""
    missing: int = attrs.field(default=0, init=False)
    """Trades announced as missing."""
    filled: int = attrs.field(default=0, init=False)
    """Trades that one line lacked and another one brought."""
    _last: int | None = attrs.field(default=None, init=False)
    _waiting: dict[int, tuple[Trade, float]] = attrs.field(factory=dict[int, tuple[Trade, float]], init=False)
    """Trades after a hole, by id, and until when each may wait for what is missing before it."""
    _reached: dict[str, int] = attrs.field(factory=dict[str, int], init=False)
    """By line: the latest id it brought on its present connection."""
    _due: float | None = attrs.field(default=None, init=False)

    @property
    def last_id(self) -> int | None:
        """Id of the latest trade passed on; None before the first."""
        return self._last

    @property
    def next_due(self) -> float | None:
        """When :meth:`tick` is wanted; None: no trade waits for those before it."""
        return self._due

    def reached(self, line: str) -> int | None:
        """Return the latest id that ``line`` brought on its present connection."""
        return self._reached.get(line)

    def receive(self, line: str, trade: Trade, *, now: float) -> list[Event]:
        """Return what consumers are to see now that ``line`` brought ``trade``."""
        trade_id = trade.trade_id
        self._reached[line] = max(trade_id, self._reached.get(line, trade_id))
        last = self._last
        if last is None or (trade_id == last + 1 and not self._waiting):
            self._last = trade_id
            return [trade]
        if trade_id <= last or trade_id in self._waiting:
            self.repeated += 1
        else:
            self._waiting[trade_id] = (trade, now + TRADE_PATIENCE_S)
        # Even a known trade is news of how far its line has come: perhaps nobody is left to fill the hole.
        return self._settle(now) if self._waiting else []

    def passes(self, line: str, trade_id: int) -> bool:
        """Take note that ``line`` brought ``trade_id`` and all before it, if nothing more is to be done about it."""
        if self._last is None or trade_id > self._last or self._waiting:
            return False
        self._reached[line] = trade_id
        self.repeated += 1
        return True

    def leave(self, line: str, *, now: float) -> list[Event]:
        """A line brings nothing any more, or may lack something: nobody waits for it."""
        self._reached.pop(line, None)
        return self._settle(now) if self._waiting else []

    def tick(self, *, now: float) -> list[Event]:
        """Announce what was waited for long enough."""
        return self._settle(now) if self._waiting else []

    def _settle(self, now: float) -> list[Event]:
        passed: list[Event] = []
        holes = self._due is not None
        self._due = None
        while self._waiting:
            assert self._last is not None
            first = min(self._waiting)
            trade, due = self._waiting[first]
            if first != self._last + 1:
                if now < due and any(reached <= self._last for reached in self._reached.values()):
                    self._due = due
                    return passed
                self.missing += first - self._last - 1
                passed.append(TradeGap(at_s=now, symbol=self.symbol, first=self._last + 1, last=first - 1))
            elif holes:
                self.filled += 1
            holes = False
            del self._waiting[first]
            self._last = first
            passed.append(trade)
        return passed


class SharedTrades:
    """The merged trades of all symbols, each shared by the lines that want it."""

    def __init__(self) -> None:
        self._merged: dict[str, tuple[MergedTrades, dict[str, None]]] = {}

    def begin(self, symbol: str, line: str) -> MergedTrades:
        """Return the sequence of ``symbol``, in which ``line`` takes part from now on."""
        merged, lines = self._merged.setdefault(symbol, (MergedTrades(symbol), {}))
        lines[line] = None
        return merged

    def end(self, symbol: str, line: str) -> None:
        """``line`` takes no part any more; without lines the sequence is forgotten."""
        lines = self._merged[symbol][1]
        lines.pop(line, None)
        if not lines:
            del self._merged[symbol]
