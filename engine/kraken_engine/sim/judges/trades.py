"""Judges trades: each once, in order, what is missing announced, and all as the venue printed them (I-5)."""

from __future__ import annotations

import attrs

from kraken_engine.normalise.events import Event, Lagged, Trade, TradeGap
from kraken_engine.sim.judges.verdict import Verdict
from kraken_engine.venue.core.exchange import Exchange

__all__ = ["Tape", "TradeJudge"]

_TAPE = 1000
"""Trades of one symbol that the venue keeps."""


@attrs.define
class Tape:
    """What the venue printed, by symbol and id."""

    _exchange: Exchange
    _prints: dict[str, dict[object, dict[str, object]]] = attrs.field(
        factory=dict[str, dict[object, dict[str, object]]], init=False
    )

    def find(self, symbol: str, trade_id: int) -> dict[str, object] | None:
        """Return one trade as the venue printed it, or None."""
        known = self._prints.setdefault(symbol, {})
        for last in (50, _TAPE):
            if trade_id not in known:
                known.update((one["trade_id"], one) for one in self._exchange.trades(symbol, last))
        return known.get(trade_id)


@attrs.define(kw_only=True)
class TradeJudge:
    """Judges the trades of any number of symbols, as one reader sees them."""

    reader: str
    """Who sees them, for messages."""
    tape: Tape
    verdict: Verdict
    gapless: bool = True
    """Whether ids follow each other from the first trade on; False where a stream may end and begin anew."""
    _last: dict[str, int] = attrs.field(factory=dict[str, int], init=False)
    _announced: dict[str, tuple[int, int]] = attrs.field(factory=dict[str, tuple[int, int]], init=False)
    _may_lack: int = attrs.field(default=0, init=False)
    """Events of its own queue that this reader was told it lost, and that may have been trades."""

    def see(self, event: Event) -> None:
        """Judge what the reader gets next."""
        if isinstance(event, TradeGap):
            self._announced[event.symbol] = (event.first, event.last)
        elif isinstance(event, Lagged):
            self._may_lack += event.lost
        elif isinstance(event, Trade):
            self._sequence(event)
            self._contents(event)

    def _sequence(self, trade: Trade) -> None:
        last = self._last.get(trade.symbol)
        gap = self._announced.pop(trade.symbol, None)
        self._last[trade.symbol] = trade.trade_id
        where = f"{self.reader}: {trade.symbol}"
        if last is None:
            return
        if trade.trade_id <= last:
            self.verdict.fail("I-5", f"{where}: expected a trade after {last}, got {trade.trade_id}")
        missing = trade.trade_id - last - 1
        if not missing or not self.gapless:
            return
        unexplained = missing if gap is None else missing - (gap[1] - gap[0] + 1)
        if unexplained <= 0 and gap == (last + 1, trade.trade_id - 1):
            return
        if 0 <= unexplained <= self._may_lack:
            self._may_lack -= unexplained
            return
        self.verdict.fail("I-5", f"{where}: expected {last + 1} or its gap, got {trade.trade_id} and the gap {gap}")

    def _contents(self, trade: Trade) -> None:
        true = self.tape.find(trade.symbol, trade.trade_id)
        shown: dict[str, object] = {
            "trade_id": trade.trade_id,
            "side": trade.side.value,
            "price": f"{trade.price:f}",
            "qty": f"{trade.qty:f}",
            "timestamp": trade.venue_time,
        }
        if shown != true:
            self.verdict.fail("I-5", f"{self.reader}: {trade.symbol}: expected {true}, got {shown}")
