"""Orders, executions, positions and ledger entries as private REST writes them: numbers as text, times as floats."""

from __future__ import annotations

from kraken_engine.venue.core.accounts.ledger import LedgerEntry, halved_up
from kraken_engine.venue.core.accounts.orders import AccountFill, AccountOrder, OrderRequest, OrderStatus
from kraken_engine.venue.core.accounts.positions import VenuePosition
from kraken_engine.venue.core.instruments import Pair, plain
from kraken_engine.venue.core.matching import BID
from kraken_engine.venue.core.rest_form import Answer
from kraken_engine.venue.core.timestamps import NS_PER_S

__all__ = ["described", "ledger_row", "order_row", "position_row", "seconds", "trade_row"]

_STATUS = {
    OrderStatus.PENDING_NEW: "pending",
    OrderStatus.NEW: "open",
    OrderStatus.PARTIALLY_FILLED: "open",
    OrderStatus.FILLED: "closed",
    OrderStatus.CANCELED: "canceled",
    OrderStatus.EXPIRED: "expired",
}

_TRADE_PRICE_DECIMALS = 5
"""Prices of executions have at least so many decimals."""


def seconds(wall_ns: int) -> float:
    """Return a time as REST writes it."""
    return wall_ns / NS_PER_S


def described(request: OrderRequest, qty: int, price: int | None) -> str:
    """Return an order in a sentence: ``buy 5.00000000 USDCUSD @ limit 0.9000``."""
    pair = request.pair
    side = "buy" if request.side == BID else "sell"
    at = "market" if price is None else f"limit {pair.price_text(price)}"
    with_leverage = f" with {request.leverage}:1 leverage" if request.leverage else ""
    return f"{side} {pair.qty_text(qty)} {pair.altname} @ {at}{with_leverage}"


def order_row(order: AccountOrder, *, with_trades: bool) -> Answer:
    """Return one order."""
    pair, request = order.pair, order.request
    row: Answer = {"refid": None, "userref": request.userref or 0}
    if request.cl_ord_id is not None:
        row["cl_ord_id"] = request.cl_ord_id
    nothing = pair.price_text(0)
    row |= {
        "status": _STATUS[order.status],
        "opentm": seconds(order.opened_ns),
        "starttm": 0,
        "expiretm": 0 if request.expire_ns is None else seconds(request.expire_ns),
        "descr": {
            "pair": pair.altname,
            "type": "buy" if order.buys else "sell",
            "ordertype": request.kind,
            "price": "0" if order.price is None else pair.price_text(order.price),
            "price2": "0",
            "leverage": f"{request.leverage}:1" if request.leverage else "none",
            "order": described(request, order.qty, order.price),
            "close": "",
        },
        "vol": pair.qty_text(order.qty),
        "vol_exec": pair.qty_text(order.cum_qty),
        "cost": _cost(pair, order.cum_turnover),
        "fee": plain(order.fee, pair.quote.decimals),
        "price": pair.price_text(order.average_price),
        "stopprice": nothing,
        "limitprice": nothing,
        "misc": "amended" if order.amended else "",
        "oflags": "fciq,post" if order.post_only else "fciq",
    }
    if order.on_margin:
        row["margin"] = True
    if order.closed_ns is not None:
        row |= {"reason": order.reason or None, "closetm": seconds(order.closed_ns)}
    if with_trades and order.fills:
        row["trades"] = [fill.exec_id for fill in order.fills]
    return row


def trade_row(fill: AccountFill) -> Answer:
    """Return one execution."""
    order, pair = fill.order, fill.order.pair
    return {
        "ordertxid": order.id,
        "postxid": fill.post_id,
        "pair": pair.key,
        "time": seconds(fill.wall_ns),
        "type": "buy" if order.buys else "sell",
        "ordertype": order.request.kind,
        "price": _padded(pair, fill.price),
        "cost": plain(fill.cost, pair.cost_decimals),
        "fee": plain(fill.fee, pair.quote.decimals),
        "vol": pair.qty_text(fill.qty),
        "margin": plain(fill.margin, pair.quote.decimals) if order.on_margin else plain(0, pair.cost_decimals),
        "leverage": str(order.request.leverage),
        "misc": "",
        "ledgers": list(fill.ledger_ids),
        "trade_id": fill.trade_id,
        "maker": fill.maker,
    }


def position_row(position: VenuePosition, *, last: int | None) -> Answer:
    """Return one open position; with what it is worth at a price of ``last`` ticks, if that is given."""
    order, pair = position.order, position.order.pair
    row: Answer = {
        "ordertxid": order.id,
        "posstatus": "open",
        "pair": pair.key,
        "time": seconds(position.wall_ns),
        "type": "buy" if order.buys else "sell",
        "ordertype": order.request.kind,
        "cost": _cost(pair, position.price * position.qty),
        "fee": plain(position.fee, pair.quote.decimals),
        "vol": pair.qty_text(position.qty),
        "vol_closed": pair.qty_text(position.closed),
        "margin": plain(position.margin, pair.quote.decimals),
    }
    if last is not None:
        gain = position.left * (last - position.price) * (1 if order.buys else -1)
        row |= {"value": _cost(pair, last * position.left), "net": f"{'+' if gain >= 0 else ''}{_cost(pair, gain)}"}
    return row | {"terms": "0.0000% per 4 hours", "rollovertm": "0", "misc": "", "oflags": ""}


def ledger_row(entry: LedgerEntry) -> Answer:
    """Return one ledger entry."""
    decimals = entry.asset.decimals
    return {
        "aclass": "currency",
        "amount": plain(entry.amount, decimals),
        "asset": entry.asset.key,
        "balance": plain(entry.balance, decimals),
        "fee": plain(entry.fee, decimals),
        "refid": entry.ref_id,
        "time": seconds(entry.wall_ns),
        "type": entry.kind,
        "subtype": "",
    }


def _cost(pair: Pair, turnover: int) -> str:
    cost = halved_up(turnover, pair.price_decimals + pair.qty_decimals, pair.cost_decimals)
    return plain(cost, pair.cost_decimals)


def _padded(pair: Pair, price: int) -> str:
    return pair.price_text(price) + "0" * (_TRADE_PRICE_DECIMALS - pair.price_decimals)
