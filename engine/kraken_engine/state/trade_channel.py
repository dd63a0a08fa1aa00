"""One line's view of the trades: alone, or together with other lines."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from kraken_engine.codec.ws_v2 import TradeMessage
from kraken_engine.normalise.events import Event, Live
from kraken_engine.normalise.market_data import trades
from kraken_engine.state.channel_view import Outcome, Progress, SimpleChannel
from kraken_engine.state.freshness import StreamKey
from kraken_engine.state.subscriptions import SubscriptionKey
from kraken_engine.state.trades import MergedTrades, SharedTrades, TradeSequence

__all__ = ["MergedTradeChannel", "TradeChannel"]


@attrs.define
class TradeChannel(SimpleChannel[TradeSequence]):
    """Trades: each once, in order, with what is missing announced before what follows.

    The snapshot that answers the first subscription is history from before anybody listened: it sets the sequence and
    is not passed on. Later ones fill the hole a lost connection left.
    """

    channel: str = attrs.field(default="trade", init=False)

    def _begin(self, subscription: SubscriptionKey) -> TradeSequence:
        return TradeSequence(subscription.symbol or "")

    def receive(self, message: TradeMessage, *, received_s: float) -> list[Outcome]:
        """Return the new trades of one message, after the gaps before them."""
        outcomes: list[Outcome] = []
        snapshot = message.type == "snapshot"
        history: dict[StreamKey, None] = {}
        answered: dict[StreamKey, str] = {}
        for trade in trades(message, received_s=received_s, reject=self._reject):
            key: StreamKey = ("trade", trade.symbol)
            sequence = self._streams.get(key)
            if sequence is None:
                self.unsubscribed += 1
                continue
            if snapshot:
                answered[key] = trade.symbol
                if sequence.last_id is None:
                    history[key] = None
            passed = sequence.receive(trade, now=received_s)
            if key not in history:
                outcomes.extend((key, event) for event in passed)
        for key, symbol in answered.items():
            outcomes.append((key, Live(at_s=received_s, channel="trade", symbol=symbol)))
        return outcomes


@attrs.define
class MergedTradeChannel(SimpleChannel[MergedTrades]):
    """Trades of a line that is not the only one: each once, whoever brings it, and no hole while one may fill it.

    The snapshot of the first line is history, see :class:`TradeChannel`.
    """

    line: str
    """Name of the line."""
    shared: SharedTrades
    channel: str = attrs.field(default="trade", init=False)
    _restless: dict[StreamKey, MergedTrades] = attrs.field(factory=dict[StreamKey, MergedTrades], init=False)
    """Where trades wait for those before them."""

    def _begin(self, subscription: SubscriptionKey) -> MergedTrades:
        return self.shared.begin(subscription.symbol or "", self.line)

    def drop(self, key: StreamKey) -> None:
        """Bring nothing to this stream any more."""
        if key in self._streams:
            self.shared.end(self._streams[key].symbol, self.line)
        self._restless.pop(key, None)
        SimpleChannel.drop(self, key)

    def receive(self, message: TradeMessage, *, received_s: float) -> list[Outcome]:
        """Return the trades that are news, and those that waited for them, after the gaps before them."""
        outcomes: list[Outcome] = []
        snapshot = message.type == "snapshot"
        history: dict[StreamKey, None] = {}
        answered: dict[StreamKey, str] = {}
        for trade in trades(message, received_s=received_s, reject=self._reject):
            key: StreamKey = ("trade", trade.symbol)
            merged = self._streams.get(key)
            if merged is None:
                self.unsubscribed += 1
                continue
            if snapshot or key in self._loud:
                answered[key] = trade.symbol
            if snapshot and merged.last_id is None:
                history[key] = None
            passed = merged.receive(self.line, trade, now=received_s)
            if key not in history:
                self._pass_on(key, merged, passed, outcomes)
        for key, symbol in answered.items():
            outcomes.append((key, Live(at_s=received_s, channel="trade", symbol=symbol)))
        return outcomes

    def passes(self, message: TradeMessage, *, now: float) -> bool:  # noqa: ARG002 - books need it
        """Pass over trades that are known, all of them."""
        data = message.data
        if message.type == "snapshot" or not data:
            return False
        key: StreamKey = ("trade", data[0].symbol)
        merged = self._streams.get(key)
        if merged is None or key in self._loud or any(one.symbol != data[0].symbol for one in data[1:]):
            return False
        return merged.passes(self.line, data[-1].trade_id)

    def progress(self, key: StreamKey) -> Progress | None:
        """Return the latest id this line brought."""
        merged = self._streams.get(key)
        return None if merged is None else merged.reached(self.line)

    def lose(self, why: str, *, now: float, symbol: str | None = None, line_down: bool = False) -> list[Outcome]:
        """Let nobody wait for this line any more, and ask anew."""
        outcomes: list[Outcome] = []
        for key, merged in self._streams.items():
            if symbol is None or key[1] == symbol:
                self._pass_on(key, merged, merged.leave(self.line, now=now), outcomes)
        return outcomes + SimpleChannel.lose(self, why, now=now, symbol=symbol, line_down=line_down)

    def tick(self, *, now: float) -> list[Outcome]:
        """Announce the holes that nobody filled in time."""
        outcomes: list[Outcome] = []
        for key, merged in list(self._restless.items()):
            self._pass_on(key, merged, merged.tick(now=now), outcomes)
        return outcomes

    @property
    def next_due(self) -> float | None:
        """When the first of those who wait have waited long enough."""
        due = [merged.next_due for merged in self._restless.values() if merged.next_due is not None]
        return min(due, default=None)

    def _pass_on(self, key: StreamKey, merged: MergedTrades, passed: Sequence[Event], outcomes: list[Outcome]) -> None:
        outcomes.extend((key, event) for event in passed)
        if merged.next_due is not None:
            self._restless[key] = merged
        elif key in self._restless:
            del self._restless[key]
