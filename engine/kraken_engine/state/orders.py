"""The orders of one account: execution reports merged into what each order is now, and fills counted once each.

Theory of operation. A report names its order and what changed. Quantities are never taken over on trust: a fill adds
its quantity, once per ``exec_id`` (I-13), and every cumulative quantity the venue mentions must equal the sum. Statuses
move along the table below and no other way (I-11)::

    PENDING_NEW ──> NEW ──> PARTIALLY_FILLED ──> FILLED
         │           │             │
         └───────────┴─────────────┴──────────> CANCELED, EXPIRED

A fill says ``partially_filled`` even when it completes its order; only the report that follows says ``filled``. What
contradicts what is known here is an :class:`Inconsistency`: something was lost, and only a snapshot can help.

Knows nothing of sequences, connections or time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from types import MappingProxyType

import attrs

from kraken_engine.model import OrderStatus, OrderType, TimeInForce, minus, plus, times
from kraken_engine.normalise.account_events import (
    ExecType,
    ExecutionReport,
    Fill,
    Order,
    OrderUpdate,
)
from kraken_engine.normalise.events import AccountEvent

__all__ = ["LEGAL", "Inconsistency", "Orders", "merged", "opened"]

LEGAL: Mapping[OrderStatus, frozenset[OrderStatus]] = MappingProxyType(
    {
        OrderStatus.PENDING_NEW: frozenset(OrderStatus),
        OrderStatus.NEW: frozenset(OrderStatus) - {OrderStatus.PENDING_NEW},
        OrderStatus.PARTIALLY_FILLED: frozenset(OrderStatus) - {OrderStatus.PENDING_NEW, OrderStatus.NEW},
        OrderStatus.FILLED: frozenset(),
        OrderStatus.CANCELED: frozenset(),
        OrderStatus.EXPIRED: frozenset(),
    }
)
"""From each status, the statuses a report may bring; a terminal one is the last."""

_IMPLIED = {
    ExecType.PENDING_NEW: OrderStatus.PENDING_NEW,
    ExecType.NEW: OrderStatus.NEW,
    ExecType.TRADE: OrderStatus.PARTIALLY_FILLED,
    ExecType.FILLED: OrderStatus.FILLED,
    ExecType.CANCELED: OrderStatus.CANCELED,
    ExecType.EXPIRED: OrderStatus.EXPIRED,
}
_TAKEN_OVER = (
    "cl_ord_id", "userref", "order_qty", "cash_order_qty", "limit_price", "limit_price_type", "display_qty",
    "display_qty_remain", "cum_cost", "avg_price", "fee_usd_equiv", "fee_in", "trigger", "conditional", "reason",
    "amended", "post_only", "reduce_only", "margin", "liquidated", "effective_time", "expire_time",
)  # fmt: skip
"""Fields of a report that replace those of the order, where they are told."""

_ZERO = Decimal(0)


class Inconsistency(Exception):
    """A report contradicts what is known: something before it is missing."""


@attrs.define
class Orders:
    """The open orders of one account, the last closed ones, and the ids of the fills counted."""

    account: str
    is_own: Callable[[str], bool] = lambda _: False
    """Whether a ``cl_ord_id`` was given by this engine; every other order is external."""
    most_closed: int = 1_000
    """Closed orders kept; the oldest go first."""
    most_fills: int = 50_000
    """Fill ids remembered; the venue repeats the last 50 with every snapshot."""
    most_ended: int = 50_000
    """Ids of closed orders remembered, far more than the orders: REST names again what closed just before a gap."""
    repeated: int = attrs.field(default=0, init=False)
    """Fills, and reports about closed orders, that were ignored because they had been taken already."""
    _open: dict[str, Order] = attrs.field(factory=dict[str, Order], init=False)
    _closed: dict[str, Order] = attrs.field(factory=dict[str, Order], init=False)
    _by_client: dict[str, str] = attrs.field(factory=dict[str, str], init=False)
    """Order id by client id, of open orders: only among these is it unique at the venue."""
    _fills: dict[str, None] = attrs.field(factory=dict[str, None], init=False)
    _ended: dict[str, None] = attrs.field(factory=dict[str, None], init=False)

    # -- questions

    def get(self, order_id: str) -> Order | None:
        """Return an order by the venue's id, open or lately closed."""
        return self._open.get(order_id) or self._closed.get(order_id)

    def get_open(self, order_id: str) -> Order | None:
        """Return an open order by the venue's id."""
        return self._open.get(order_id)

    def by_client_id(self, cl_ord_id: str) -> Order | None:
        """Return the open order with this client id, else the one that closed last."""
        order_id = self._by_client.get(cl_ord_id)
        if order_id is not None:
            return self._open[order_id]
        return next((order for order in reversed(self._closed.values()) if order.cl_ord_id == cl_ord_id), None)

    def open(self) -> dict[str, Order]:
        """Return the open orders by id, oldest first."""
        return dict(self._open)

    def closed(self) -> dict[str, Order]:
        """Return the closed orders that are kept, the one closed last at the end."""
        return dict(self._closed)

    def is_external(self, cl_ord_id: str | None) -> bool:
        """Return whether an order with this client id was not placed through this engine."""
        return cl_ord_id is None or not self.is_own(cl_ord_id)

    def has_ended(self, order_id: str) -> bool:
        """Return whether the end of this order has been taken, even if no more than its id is remembered."""
        return order_id in self._ended

    def has_fill(self, exec_id: str) -> bool:
        """Return whether this fill has been counted."""
        return exec_id in self._fills

    # -- what the venue says

    def apply(self, report: ExecutionReport, *, replayed: bool = False) -> tuple[AccountEvent, ...]:
        """Merge one report, and return what readers are told: the fill or the report, and the order after it.

        Returns nothing for a fill that was counted before, or a report about an order that has ended.

        Raises:
            Inconsistency: it contradicts what is known; nothing was changed.
        """
        order = self._find(report)
        if report.exec_type is ExecType.TRADE and report.exec_id in self._fills:
            self.repeated += 1
            return ()
        if order is None:
            order = opened(report, external=self.is_external(report.cl_ord_id))
            after = merged(order, report) if report.exec_type is ExecType.TRADE else order
        elif order.status.is_terminal:
            if report.exec_type is ExecType.TRADE:
                raise Inconsistency(f"{order.order_id}: fill {report.exec_id} of an order that is {order.status}")
            self.repeated += 1
            return ()
        else:
            after = merged(order, report)
        told: tuple[AccountEvent, ...] = (report,)
        if report.exec_type is ExecType.TRADE:
            fill = _fill(after, report, replayed=replayed)
            self.note_fill(fill.exec_id)
            told = (fill,)
        self.put(after)
        return (*told, _update(report, after))

    def refresh(self, report: ExecutionReport) -> OrderUpdate:
        """Merge what a snapshot says of an order that is open; it may be less precise on how far the order has come.

        Raises:
            Inconsistency: the quantities do not add up; nothing was changed.
        """
        order = self._find(report)
        if order is None:
            raise Inconsistency(f"{report.order_id}: in the snapshot, and not known")
        if order.is_open and report.status not in (None, *LEGAL[order.status]):
            report = attrs.evolve(report, status=order.status)  # an order never goes back
        after = merged(order, report)
        self.put(after)
        return _update(report, after)

    def put(self, order: Order) -> None:
        """Take ``order`` as what the venue has, whatever was known of it."""
        before = self._open.get(order.order_id)
        if before is not None and before.cl_ord_id != order.cl_ord_id:
            self._release(before)
        self._open.pop(order.order_id, None) if not order.is_open else self._closed.pop(order.order_id, None)
        self._ended.pop(order.order_id, None)
        if order.is_open:
            self._open[order.order_id] = order
            if order.cl_ord_id is not None:
                self._by_client[order.cl_ord_id] = order.order_id
            return
        self._release(order)
        self._closed.pop(order.order_id, None)
        self._closed[order.order_id] = order
        if len(self._closed) > self.most_closed:
            del self._closed[next(iter(self._closed))]
        self._ended[order.order_id] = None
        if len(self._ended) > self.most_ended:
            del self._ended[next(iter(self._ended))]

    def copy(self) -> Orders:
        """Return an independent copy, to try something on."""
        other = Orders(self.account, self.is_own, self.most_closed, self.most_fills, self.most_ended)
        other.become(self)
        return other

    def become(self, other: Orders) -> None:
        """Take over what ``other`` knows."""
        self.repeated = other.repeated
        self._open, self._closed = dict(other._open), dict(other._closed)
        self._by_client, self._fills, self._ended = dict(other._by_client), dict(other._fills), dict(other._ended)

    def note_fill(self, exec_id: str) -> None:
        """Count a fill as told, or as older than anything that is to be told."""
        self._fills[exec_id] = None
        if len(self._fills) > self.most_fills:
            del self._fills[next(iter(self._fills))]

    def note_fills(self, exec_ids: Iterable[str]) -> None:
        """Count several fills as told."""
        for exec_id in exec_ids:
            self.note_fill(exec_id)

    def _release(self, order: Order) -> None:
        if order.cl_ord_id is not None and self._by_client.get(order.cl_ord_id) == order.order_id:
            del self._by_client[order.cl_ord_id]

    def _find(self, report: ExecutionReport) -> Order | None:
        if report.order_id is not None:
            return self.get(report.order_id)
        order_id = self._by_client.get(report.cl_ord_id or "")
        if order_id is None:
            raise Inconsistency(f"{report.cl_ord_id}: a report without order_id about no open order")
        return self._open[order_id]


def opened(report: ExecutionReport, *, external: bool) -> Order:
    """Return the order that a full report describes; of a fill, as it was before.

    Raises:
        Inconsistency: it describes none: its first reports are missing.
    """
    if report.order_id is None or report.symbol is None or report.side is None:
        raise Inconsistency(f"{report.order_id}: {report.exec_type} of an order that is not known")
    trade = report.exec_type is ExecType.TRADE
    if trade and report.order_qty is None and report.cash_order_qty is None:
        raise Inconsistency(f"{report.order_id}: fill {report.exec_id} of an order that is not known")
    cum_qty = _ZERO if report.cum_qty is None else report.cum_qty
    before = minus(cum_qty, report.last_qty or _ZERO) if trade else cum_qty
    status = OrderStatus.PENDING_NEW if trade else report.status or _IMPLIED.get(report.exec_type, OrderStatus.NEW)
    order = Order(
        order_id=report.order_id,
        cl_ord_id=report.cl_ord_id,
        userref=report.userref,
        symbol=report.symbol,
        side=report.side,
        order_type=report.order_type or OrderType.UNKNOWN,
        status=status,
        time_in_force=report.time_in_force or TimeInForce.UNKNOWN,
        order_qty=None,
        cum_qty=max(before, _ZERO),
        opened_time=report.opened_time or report.venue_time,
        updated_time=report.venue_time,
        external=external,
        evidence=_evidence(report) if status.is_terminal else None,
    )
    order = _taken_over(order, report)
    if order.order_qty is None and order.cash_order_qty is None:
        raise Inconsistency(f"{report.order_id}: {report.exec_type} of an order that is not known")
    return order


def merged(order: Order, report: ExecutionReport) -> Order:
    """Return ``order`` after ``report``.

    Raises:
        Inconsistency: the status may not follow, or the quantities do not add up.
    """
    status = order.status
    told = _IMPLIED[ExecType.TRADE] if report.exec_type is ExecType.TRADE else report.status
    if told is None:
        told = _IMPLIED.get(report.exec_type)
    if told is not None and told is not status:
        if told not in LEGAL[status]:
            raise Inconsistency(f"{order.order_id}: {report.exec_type} brings {told} after {status}")
        status = told
    after = _taken_over(order, report)
    cum_qty = order.cum_qty
    fees = order.fees
    cum_cost = after.cum_cost
    if report.exec_type is ExecType.TRADE:
        assert report.last_qty is not None
        cum_qty = plus(cum_qty, report.last_qty)
        if report.cum_cost is None:
            cum_cost = plus(order.cum_cost, _cost(report))
        fees = _sum(order.fees, report.fees)
    if report.cum_qty is not None and report.cum_qty != cum_qty:
        raise Inconsistency(f"{order.order_id}: cum_qty expected {cum_qty:f}, got {report.cum_qty:f}")
    if after.order_qty is not None and cum_qty > after.order_qty:
        raise Inconsistency(f"{order.order_id}: {cum_qty:f} filled of {after.order_qty:f} ordered")
    return attrs.evolve(
        after,
        status=status,
        cum_qty=cum_qty,
        cum_cost=cum_cost,
        fees=fees,
        updated_time=report.venue_time or order.updated_time,
        evidence=_evidence(report) if status.is_terminal else None,
    )


def _taken_over(order: Order, report: ExecutionReport) -> Order:
    changes = {name: value for name in _TAKEN_OVER if (value := getattr(report, name)) is not None}
    return attrs.evolve(order, **changes)


def _fill(order: Order, report: ExecutionReport, *, replayed: bool) -> Fill:
    assert report.exec_id is not None
    assert report.last_qty is not None
    assert report.last_price is not None
    return Fill(
        account=report.account,
        source=report.source,
        received_s=report.received_s,
        venue_time=report.venue_time,
        integrity=report.integrity,
        exec_id=report.exec_id,
        trade_id=report.trade_id,
        order_id=order.order_id,
        cl_ord_id=order.cl_ord_id,
        symbol=order.symbol,
        side=order.side,
        qty=report.last_qty,
        price=report.last_price,
        cost=_cost(report),
        fees=report.fees,
        liquidity=report.liquidity,
        order_type=order.order_type,
        external=order.external,
        replayed=replayed,
        margin=order.margin,
        position_status=report.position_status,
    )


def _update(report: ExecutionReport, order: Order) -> OrderUpdate:
    return OrderUpdate(
        account=report.account,
        source=report.source,
        received_s=report.received_s,
        venue_time=report.venue_time,
        integrity=report.integrity,
        order=order,
        exec_type=report.exec_type,
    )


def _cost(report: ExecutionReport) -> Decimal:
    if report.cost is not None:
        return report.cost
    assert report.last_qty is not None
    assert report.last_price is not None
    return times(report.last_qty, report.last_price)


def _sum(some: Mapping[str, Decimal], more: Mapping[str, Decimal]) -> Mapping[str, Decimal]:
    if not more:
        return some
    total = dict(some)
    for asset, fee in more.items():
        total[asset] = plus(total.get(asset, _ZERO), fee)
    return MappingProxyType(total)


def _evidence(report: ExecutionReport) -> str:
    why = f" ({report.reason})" if report.reason else ""
    when = f" at {report.venue_time}" if report.venue_time else ""
    return f"{report.source}: {report.exec_type}{why}{when}"
