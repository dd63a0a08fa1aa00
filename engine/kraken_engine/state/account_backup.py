"""What REST says of an account whose private line is lost: kept aside, never mixed into what the line brought.

Lists, not stories: balances as they are, and the orders that are open. Nothing of it is verified, and nothing of it
moves the account's own state, which goes on from where it was once the line is back. An answer to a question from
before the line was back for the last time is dropped: it is older than what the line has brought since.

Knows nothing of when to ask, and who is told. Sources: docs "Get Extended Balance", "Get Open Orders".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Generic, TypeVar

import attrs

from kraken_engine.errors import DecodeError
from kraken_engine.model import Integrity, Source
from kraken_engine.normalise.account_events import BalanceUpdate, Order, OrdersListed
from kraken_engine.normalise.events import AccountEvent
from kraken_engine.normalise.rest_account import AssetBalance, RestOrder
from kraken_engine.normalise.rest_reports import order_report
from kraken_engine.state.orders import Inconsistency, opened

__all__ = ["AccountBackup", "Listed"]

V = TypeVar("V")

_ZERO = Decimal(0)


@attrs.frozen(kw_only=True)
class Listed(Generic[V]):
    """One answer."""

    values: Mapping[str, V]
    asked_s: float
    received_s: float


@attrs.define
class AccountBackup:
    """The last answers about one account since its line was lost, and what readers know of them."""

    account: str
    is_external: Callable[[str | None], bool] = lambda _: True
    """Whether an order with this client id was not placed through this engine."""
    answers: int = attrs.field(default=0, init=False)
    balances: Listed[BalanceUpdate] | None = attrs.field(default=None, init=False)
    orders: Listed[Order] | None = attrs.field(default=None, init=False)
    _since_s: float = attrs.field(default=-math.inf, init=False)
    """Answers to questions from before that are worth nothing."""
    _told_balances: dict[str, tuple[Decimal, Decimal]] = attrs.field(
        factory=dict[str, "tuple[Decimal, Decimal]"], init=False
    )
    _told_orders: Mapping[str, Order] | None = attrs.field(default=None, init=False)

    def take_balances(self, answer: Mapping[str, AssetBalance], *, asked_s: float, received_s: float) -> None:
        """Take what ``BalanceEx`` answered."""
        if asked_s < self._since_s:
            return
        self.answers += 1
        values = {asset: self._balance(balance, received_s) for asset, balance in answer.items()}
        self.balances = Listed(values=values, asked_s=asked_s, received_s=received_s)

    def take_orders(self, answer: Mapping[str, RestOrder], *, asked_s: float, received_s: float) -> None:
        """Take what ``OpenOrders`` answered.

        Raises:
            DecodeError: an order makes no sense; nothing was taken.
        """
        if asked_s < self._since_s:
            return
        oldest_first = reversed(list(answer.items()))
        values = {order_id: self._order(order) for order_id, order in oldest_first}
        self.answers += 1
        self.orders = Listed(values=values, asked_s=asked_s, received_s=received_s)

    def forget(self, *, now: float) -> None:
        """Forget the answers, those on their way too: the line is back, and knows better."""
        self._since_s = now
        self.balances = self.orders = self._told_orders = None
        self._told_balances.clear()

    def news(self, known: Mapping[str, BalanceUpdate]) -> list[AccountEvent]:
        """Return what readers, who know the balances ``known``, have not been told of the answers."""
        told: list[AccountEvent] = []
        if self.balances is not None:
            for asset, update in self.balances.values.items():
                before = known.get(asset)
                last = self._told_balances.get(asset, None if before is None else (before.total, before.used))
                if last != (update.total, update.used):
                    told.append(update)
                self._told_balances[asset] = (update.total, update.used)
        if self.orders is not None and self.orders.values != self._told_orders:
            self._told_orders = self.orders.values
            told.append(
                OrdersListed(
                    account=self.account,
                    source=Source.REST,
                    received_s=self.orders.received_s,
                    venue_time=None,
                    integrity=Integrity.UNVERIFIED,
                    orders=tuple(self.orders.values.values()),
                )
            )
        return told

    def _balance(self, balance: AssetBalance, received_s: float) -> BalanceUpdate:
        return BalanceUpdate(
            account=self.account,
            source=Source.REST,
            received_s=received_s,
            venue_time=None,
            integrity=Integrity.UNVERIFIED,
            asset=balance.asset,
            total=balance.total,
            used=balance.held,
            earn=balance.total if "." in balance.asset else _ZERO,  # ``ATOM.S``: cannot be traded from
        )

    def _order(self, order: RestOrder) -> Order:
        try:
            return opened(order_report(order, account=self.account), external=self.is_external(order.row.cl_ord_id))
        except Inconsistency as error:
            raise DecodeError(f"$.result.open.{order.order_id}", "an open order", str(error)) from None
