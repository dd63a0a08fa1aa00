"""The private REST endpoints about orders, executions and ledger entries, open and past.

Past ones come newest first, fifty to a page, with the number of all that match. ``start`` is exclusive and ``end``
inclusive; either is a time or the id of a row, whose time is then meant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

import attrs

from kraken_engine.venue.core.accounts.ledger import LedgerEntry
from kraken_engine.venue.core.accounts.orders import AccountFill, AccountOrder
from kraken_engine.venue.core.accounts.rest_rows import ledger_row, order_row, position_row, seconds, trade_row
from kraken_engine.venue.core.names import Names
from kraken_engine.venue.core.rest_form import Answer, RestFailed, flag, integer
from kraken_engine.venue.core.rest_private import Endpoint, PrivateCall

__all__ = ["history_endpoints"]

PAGE = 50
MOST_ASKED = 50

_OPEN = ("query-open-trades",)
_CLOSED = ("query-closed-trades",)

_Row = TypeVar("_Row")


@attrs.frozen(kw_only=True)
class _Listed(Generic[_Row]):
    """How rows of one sort are found and written."""

    id_of: Callable[[_Row], str]
    times_of: Callable[[_Row], tuple[float, ...]]
    """One of them has to lie within ``start`` and ``end``."""
    written: Callable[[_Row], Answer]

    def page(self, rows: Iterable[_Row], fields: Mapping[str, str]) -> tuple[dict[str, Answer], int]:
        """Return the page asked for, and how many rows match; ``rows`` come newest first."""
        rows = list(rows)
        start, end = (self._time(fields, name, rows) for name in ("start", "end"))
        matching = [
            row
            for row in rows
            if any((start is None or time > start) and (end is None or time <= end) for time in self.times_of(row))
        ]
        first = integer(fields, "ofs", 0)
        return {self.id_of(row): self.written(row) for row in matching[first : first + PAGE]}, len(matching)

    def _time(self, fields: Mapping[str, str], name: str, rows: list[_Row]) -> float | None:
        text = fields.get(name)
        if text is None:
            return None
        for row in rows:
            if self.id_of(row) == text:
                return self.times_of(row)[-1]
        try:
            return float(text)
        except ValueError:
            raise RestFailed(f"EGeneral:Invalid arguments:{name}") from None


def history_endpoints(names: Names) -> Mapping[str, Endpoint]:
    """Return the endpoints by name; ``names`` are those of assets and markets."""

    def ledgers(call: PrivateCall) -> object:
        asked = call.fields.get("asset", "all")
        codes = None if asked == "all" else {names.asset(name).code for name in asked.split(",")}
        kind = call.fields.get("type", "all")
        entries = [
            entry
            for entry in reversed(call.account.ledger.entries)
            if (codes is None or entry.asset.code in codes) and kind in ("all", entry.kind)
        ]
        rows, count = _LEDGER.page(entries, call.fields)
        return {"ledger": rows, "count": count}

    def open_positions(call: PrivateCall) -> object:
        if call.fields.get("consolidation") not in (None, "none"):
            raise RestFailed("EGeneral:Invalid arguments:consolidation")
        asked = [name.strip() for name in call.fields.get("txid", "").split(",") if name.strip()]
        positions = call.account.positions.all()
        if any(name not in {position.id for position in positions} for name in asked):
            raise RestFailed("EOrder:Unknown position")
        last = {listing.pair.symbol: listing.tape.trades[-1].price for listing in names.listings}
        with_value = flag(call.fields, "docalcs")
        return {
            position.id: position_row(position, last=last[position.order.pair.symbol] if with_value else None)
            for position in positions
            if not asked or position.id in asked
        }

    return {
        "OpenOrders": Endpoint(answer=_open_orders, any_of=_OPEN),
        "ClosedOrders": Endpoint(answer=_closed_orders, any_of=_CLOSED),
        "QueryOrders": Endpoint(answer=_query_orders, any_of=_OPEN + _CLOSED),
        "TradesHistory": Endpoint(answer=_trades_history, any_of=_OPEN + _CLOSED, history=True),
        "OpenPositions": Endpoint(answer=open_positions, any_of=_OPEN),
        "Ledgers": Endpoint(answer=ledgers, any_of=("query-ledger",), history=True),
    }


_LEDGER = _Listed[LedgerEntry](
    id_of=lambda entry: entry.id, times_of=lambda entry: (seconds(entry.wall_ns),), written=ledger_row
)
_FILLS = _Listed[AccountFill](
    id_of=lambda fill: fill.exec_id, times_of=lambda fill: (seconds(fill.wall_ns),), written=trade_row
)


def _order_times(order: AccountOrder, which: str) -> tuple[float, ...]:
    opened, closed = seconds(order.opened_ns), seconds(order.closed_ns or order.opened_ns)
    return {"open": (opened,), "close": (closed,)}.get(which, (opened, closed))


def _matches(order: AccountOrder, fields: Mapping[str, str]) -> bool:
    userref, cl_ord_id = fields.get("userref"), fields.get("cl_ord_id")
    return (userref is None or str(order.request.userref) == userref) and (
        cl_ord_id is None or order.request.cl_ord_id == cl_ord_id
    )


def _open_orders(call: PrivateCall) -> object:
    with_trades = flag(call.fields, "trades")
    orders = [order for order in reversed(call.account.orders.values()) if _matches(order, call.fields)]
    return {"open": {order.id: order_row(order, with_trades=with_trades) for order in orders}}


def _closed_orders(call: PrivateCall) -> object:
    with_trades = flag(call.fields, "trades")
    which = call.fields.get("closetime", "both")
    if which not in ("open", "close", "both"):
        raise RestFailed("EGeneral:Invalid arguments:closetime")
    listed = _Listed[AccountOrder](
        id_of=lambda order: order.id,
        times_of=lambda order: _order_times(order, which),
        written=lambda order: order_row(order, with_trades=with_trades),
    )
    orders = [order for order in reversed(call.account.closed) if _matches(order, call.fields)]
    rows, count = listed.page(orders, call.fields)
    return {"closed": rows, "count": count}


def _query_orders(call: PrivateCall) -> object:
    asked = [name.strip() for name in call.fields.get("txid", "").split(",") if name.strip()]
    if not 1 <= len(asked) <= MOST_ASKED:
        raise RestFailed("EGeneral:Invalid arguments:txid")
    with_trades = flag(call.fields, "trades")
    found = [order for name in asked if (order := call.account.order(name)) is not None]
    found = [order for order in found if _matches(order, call.fields)]
    if not found:
        raise RestFailed("EOrder:Unknown order")
    return {order.id: order_row(order, with_trades=with_trades) for order in found}


def _trades_history(call: PrivateCall) -> object:
    if call.fields.get("type", "all") not in ("all", "no position"):
        raise RestFailed("EGeneral:Invalid arguments:type")
    rows, count = _FILLS.page(reversed(call.account.fills), call.fields)
    return {"trades": rows, "count": count}
