"""What REST says of orders and fills, as the same reports the private line brings.

A missed fill that is fetched afterwards has to go through the same checks as one that was streamed, so it has to look
the same. REST writes times as seconds with a fraction, rounded by a microsecond at worst; ids are the same everywhere.

Knows nothing of why somebody asked. Sources: docs "Get Closed Orders", "Query Orders Info", "Get Trades History".
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType

from kraken_engine.errors import DecodeError
from kraken_engine.model import Liquidity, OrderStatus, OrderType, TimeInForce
from kraken_engine.normalise.account_events import ExecType, ExecutionReport
from kraken_engine.normalise.rest_account import RestFill, RestOrder

__all__ = ["fill_report", "order_report", "unix_seconds", "venue_time"]

_STATUSES = {
    "pending": OrderStatus.PENDING_NEW,
    "open": OrderStatus.NEW,
    "closed": OrderStatus.FILLED,
    "canceled": OrderStatus.CANCELED,
    "expired": OrderStatus.EXPIRED,
}
_ORDER_TYPES = {kind.value: kind for kind in OrderType if kind is not OrderType.UNKNOWN}
_FEE_IN = {"fcib": "base", "fciq": "quote"}
_LARGEST_S = 253_402_300_799  # the last second that four digits of a year can hold


def order_report(order: RestOrder, *, account: str) -> ExecutionReport:
    """Return a full report of one order: identity, terms, quantities, and how it ended if it did.

    Raises:
        DecodeError: its status or one of its times makes no sense.
    """
    row = order.row
    status = _STATUSES.get(row.status)
    if status is None:
        raise DecodeError(f"$.result.{order.order_id}.status", " or ".join(_STATUSES), row.status)
    if status is OrderStatus.NEW and row.vol_exec > 0:
        status = OrderStatus.PARTIALLY_FILLED
    flags = row.oflags.split(",")
    by_cost = "viqc" in flags
    opened = venue_time(row.opentm)
    return ExecutionReport(
        account=account,
        source=order.source,
        received_s=order.received_s,
        venue_time=opened if row.closetm is None else venue_time(row.closetm),
        integrity=order.integrity,
        exec_type=ExecType(status.value) if status.is_terminal else ExecType.STATUS,
        order_id=order.order_id,
        cl_ord_id=row.cl_ord_id,
        userref=row.userref or None,
        symbol=order.symbol,
        side=order.side,
        order_type=_ORDER_TYPES.get(row.descr.ordertype, OrderType.UNKNOWN),
        status=status,
        time_in_force=TimeInForce.UNKNOWN,
        order_qty=None if by_cost else Decimal(row.vol),
        cash_order_qty=Decimal(row.vol) if by_cost else None,
        limit_price=_limit_price(order),
        cum_qty=Decimal(row.vol_exec),
        cum_cost=None if row.cost is None else Decimal(row.cost),
        avg_price=None if row.price is None else Decimal(row.price),
        fee_in=next((_FEE_IN[flag] for flag in flags if flag in _FEE_IN), None),
        reason=row.reason,
        post_only=True if "post" in flags else None,
        margin=True if row.descr.leverage not in ("", "none") else None,
        opened_time=opened,
    )


def fill_report(fill: RestFill, *, account: str) -> ExecutionReport:
    """Return the report of one fill. Its fee is in the quote asset, as all fees of this list are; where the name of a
    delisted pair does not say which that is, its key says whose quote.

    Raises:
        DecodeError: a quantity, a price or a time makes no sense.
    """
    row = fill.row
    for name, number in (("vol", row.vol), ("price", row.price)):
        if number <= 0:
            raise DecodeError(f"$.result.{fill.exec_id}.{name}", "a number above 0", format(number, "f"))
    quote = fill.symbol.partition("/")[2] or f"quote of {fill.symbol}"
    return ExecutionReport(
        account=account,
        source=fill.source,
        received_s=fill.received_s,
        venue_time=venue_time(row.time),
        integrity=fill.integrity,
        exec_type=ExecType.TRADE,
        order_id=row.ordertxid,
        cl_ord_id=row.cl_ord_id,
        symbol=fill.symbol,
        side=fill.side,
        exec_id=fill.exec_id,
        trade_id=row.trade_id,
        last_qty=Decimal(row.vol),
        last_price=Decimal(row.price),
        cost=Decimal(row.cost),
        liquidity=None if row.maker is None else Liquidity.MAKER if row.maker else Liquidity.TAKER,
        fees=MappingProxyType({quote: Decimal(row.fee)} if row.fee else {}),
    )


def venue_time(seconds: Decimal) -> str:
    """Return a time of REST as the streams write it: RFC 3339, UTC, microseconds.

    Raises:
        DecodeError: it is none of this calendar.
    """
    if not 0 <= seconds <= _LARGEST_S:
        raise DecodeError("$.result", "seconds since 1970", format(seconds, "f"))
    whole = int(seconds)
    micros = int((seconds - whole) * 1_000_000)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{micros:06d}Z"


def unix_seconds(venue_time: str) -> int:
    """Return a time of the streams in whole seconds since 1970, rounded down.

    Raises:
        DecodeError: it is no such time.
    """
    try:
        return int(datetime.fromisoformat(venue_time[:19] + "+00:00").timestamp())
    except ValueError:
        raise DecodeError("$", "a time such as 2026-07-07T23:00:03.947173Z", venue_time) from None


def _limit_price(order: RestOrder) -> Decimal | None:
    """Return the limit of an order that has one; of stop orders it is the second price."""
    descr = order.row.descr
    text = descr.price2 if descr.ordertype in ("stop-loss-limit", "take-profit-limit") else descr.price
    if descr.ordertype not in ("limit", "iceberg", "stop-loss-limit", "take-profit-limit"):
        return None
    return Decimal(text) if text.replace(".", "", 1).isdigit() and text.isascii() else None
