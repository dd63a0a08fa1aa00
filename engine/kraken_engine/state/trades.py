"""The sequence of one symbol's trades: each id once, in order, and every hole announced (I-5).

Knows nothing of why a trade is missing or comes twice; a reconnect, a snapshot that overlaps and a lost frame all
look the same here.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from kraken_engine.normalise.events import Event, Trade, TradeGap

__all__ = ["TradeSequence"]


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
