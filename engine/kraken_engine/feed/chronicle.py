"""Writes the history: of all that is published, what changed in connections, accounts, and at the top of books.

Listens where recorders and judges do, costs a comparison for each book and nothing for other market data. Knows nothing
of who asks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

from kraken_engine.normalise.account_events import AccountLive, AccountStale, BalanceUpdate, OrderUpdate
from kraken_engine.normalise.book_view import BookUpdate
from kraken_engine.normalise.events import Event, LineDown, LineUp, ModeChanged, SourceChanged
from kraken_engine.state.freshness import StreamKey
from kraken_engine.state.history import CONNECTIONS, History, account_lane
from kraken_engine.state.history_values import (
    Holding,
    LineState,
    OrderState,
    SourceState,
    Standing,
    VenueState,
)

__all__ = ["Chronicle"]


@final
class Chronicle:
    """Keeps one history up to date; :meth:`note` is to be told of everything published."""

    def __init__(self, history: History, now: Callable[[], float]) -> None:
        self._history = history
        self._now = now
        self._up: dict[str, bool] = {}
        """By line, and by account: whether it is up, as far as was told."""
        self._write: dict[type, Callable[[Any], object]] = {
            BookUpdate: history.book,
            LineUp: self._line_up,
            LineDown: self._line_down,
            ModeChanged: self._mode,
            SourceChanged: self._source,
            AccountLive: self._account_live,
            AccountStale: self._account_stale,
            BalanceUpdate: self._balance,
            OrderUpdate: self._order,
        }

    def note(self, _: StreamKey, event: Event) -> None:
        """Take note of one event."""
        write = self._write.get(type(event))
        if write is not None:
            write(event)

    def _line_up(self, event: LineUp) -> None:
        self._up[event.line] = True
        self._history.add(CONNECTIONS, LineState(event.line, True, None), at_s=event.at_s)

    def _line_down(self, event: LineDown) -> None:
        if self._up.get(event.line, True):  # of an outage the beginning, not every attempt to end it
            self._up[event.line] = False
            self._history.add(CONNECTIONS, LineState(event.line, False, event.reason), at_s=event.at_s)

    def _mode(self, event: ModeChanged) -> None:
        self._history.add(CONNECTIONS, VenueState(event.symbol, event.mode), at_s=event.at_s)

    def _source(self, event: SourceChanged) -> None:
        state = SourceState(event.channel, event.symbol, event.source.value, event.reason)
        self._history.add(CONNECTIONS, state, at_s=event.at_s)

    def _account_live(self, event: AccountLive) -> None:
        self._history.add(account_lane(event.account), Standing(True, None), at_s=event.at_s)
        self._up[f"account {event.account}"] = True

    def _account_stale(self, event: AccountStale) -> None:
        if self._up.get(f"account {event.account}", True):
            self._up[f"account {event.account}"] = False
            at_s = self._now() if event.since_s is None else event.since_s
            self._history.add(account_lane(event.account), Standing(False, event.why), at_s=at_s)

    def _balance(self, event: BalanceUpdate) -> None:
        holding = Holding(event.asset, event.total, event.used)
        self._history.add(account_lane(event.account), holding, at_s=event.received_s)

    def _order(self, event: OrderUpdate) -> None:
        order = event.order
        state = OrderState(order.order_id, order.symbol, str(order.status), order.cum_qty)
        self._history.add(account_lane(event.account), state, at_s=event.received_s)
