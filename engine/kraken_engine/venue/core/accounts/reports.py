"""The frames of the private channels, in the shape and key order of recordings (docs "Executions", "Balances").

An order comes whole once (``pending_new``, and in snapshots); later reports carry what changed and the ids. Numbers
keep their fixed decimals. A ``trade`` says ``partially_filled`` even when it completes the order: ``filled`` follows.
"""

from __future__ import annotations

from collections.abc import Sequence

from kraken_engine.venue.core.accounts.account import Account
from kraken_engine.venue.core.accounts.ledger import LedgerEntry, halved_up
from kraken_engine.venue.core.accounts.orders import AccountFill, AccountOrder
from kraken_engine.venue.core.instruments import Pair, plain
from kraken_engine.venue.core.timestamps import Stamps

__all__ = [
    "balance_row",
    "ledger_update",
    "order_snapshot",
    "private_frame",
    "report",
    "trade_snapshot",
]

_USD = ("USD", "USDT", "USDC")
_CATEGORIES = {"margin": "margin-trade"}


def private_frame(channel: str, kind: str, rows: Sequence[str], sequence: int) -> bytes:
    """Return one frame of a private channel."""
    return f'{{"channel":"{channel}","type":"{kind}","data":[{",".join(rows)}],"sequence":{sequence}}}'.encode()


def report(
    order: AccountOrder,
    exec_type: str,
    fill: AccountFill | None,
    *,
    stamps: Stamps,
    wall_ns: int,
    ratecount: int | None,
) -> str:
    """Return what an update says of an order.

    Args:
        order: as it stands after what happened.
        exec_type: what happened.
        fill: of an execution.
        stamps: writes times.
        wall_ns: when it happened.
        ratecount: where the trading counter of the pair stands, for those who asked.
    """
    stamp = _text(stamps.micros(wall_ns).decode())
    match exec_type:
        case "pending_new":
            fields = _whole(order, exec_type) | {"timestamp": stamp}
        case "trade" if fill is not None:
            fields = {
                "order_id": _text(order.id),
                **_client_id(order),
                **_execution(fill),
                "timestamp": stamp,
                "order_status": '"partially_filled"',
                **_progress(order),
                "fee_usd_equiv": _usd(order.pair, fill.fee),
                "fees": _fees(fill),
            }
        case "amended":
            fields = {
                "timestamp": stamp,
                "exec_type": '"amended"',
                "order_status": _text(order.status.value),
                "cum_qty": order.pair.qty_text(order.cum_qty),
                "reason": _text(order.reason),
                "amended": "true",
                "order_qty": order.pair.qty_text(order.qty),
                **dict(reversed(_limit(order).items())),
                **_client_id(order),
                "order_id": _text(order.id),
            }
        case "canceled" | "expired" | "filled":
            reason = _text(order.reason)
            fields = {
                "timestamp": stamp,
                **_state(order, exec_type),
                **_totals(order),
                **_client_id(order),
                **({"cancel_reason": reason, "reason": reason} if order.reason else {}),
                "order_id": _text(order.id),
            }
        case _:
            fields = {"timestamp": stamp, **_state(order, exec_type), **_client_id(order)}
            if order.post_only:
                fields["post_only"] = "true"
            fields["order_id"] = _text(order.id)
    if ratecount is not None:
        fields["ratecount"] = str(ratecount)
    return _object(fields)


def order_snapshot(order: AccountOrder, *, stamps: Stamps) -> str:
    """Return an open order as the snapshot has it: whole, with what is filled of it."""
    fields = _whole(order, "new") | {"order_status": _text(order.status.value)} | _progress(order)
    if order.amended:
        fields["amended"] = "true"
    return _object(fields | {"timestamp": _text(stamps.micros(order.aged_ns).decode())})


def trade_snapshot(fill: AccountFill, *, stamps: Stamps) -> str:
    """Return an execution as the snapshot has it: with the present status of its order, and no sums (recordings)."""
    order = fill.order
    return _object(
        {
            "order_id": _text(order.id),
            **_client_id(order),
            **_execution(fill),
            "order_status": _text(order.status.value),
            "fee_usd_equiv": _usd(order.pair, fill.fee),
            "fees": _fees(fill),
            "timestamp": _text(stamps.micros(fill.wall_ns).decode()),
        }
    )


def balance_row(account: Account, code: str) -> str:
    """Return one asset of the snapshot of balances."""
    balance = account.ledger.text(code, account.ledger.balance(code))
    return (
        f'{{"asset":"{code}","asset_class":"currency",'
        f'"wallets":[{{"type":"spot","id":"main","balance":{balance}}}],"balance":{balance}}}'
    )


def ledger_update(entry: LedgerEntry, *, stamps: Stamps) -> str:
    """Return one ledger entry as an update of balances."""
    decimals = entry.asset.decimals
    return _object(
        {
            "ledger_id": _text(entry.id),
            "ref_id": _text(entry.ref_id),
            "timestamp": _text(stamps.micros(entry.wall_ns).decode()),
            "type": _text(entry.kind),
            "asset": _text(entry.asset.code),
            "asset_class": '"currency"',
            "category": _text(_CATEGORIES.get(entry.kind, entry.kind)),
            "wallet_type": '"spot"',
            "wallet_id": '"main"',
            "amount": plain(entry.amount, decimals),
            "fee": plain(entry.fee, decimals),
            "balance": plain(entry.balance, decimals),
        }
    )


def _whole(order: AccountOrder, exec_type: str) -> dict[str, str]:
    pair, request = order.pair, order.request
    client_id = _client_id(order)
    first = {} if "cl_ord_id" in client_id else client_id  # a reference number stands elsewhere, in recordings
    fields = {
        "order_id": _text(order.id),
        **first,
        "symbol": _text(pair.symbol),
        "order_qty": pair.qty_text(order.qty),
        "cum_cost": _cost(pair, order.cum_turnover),
        "time_in_force": _text(request.time_in_force),
        "exec_type": _text(exec_type),
        "side": '"buy"' if order.buys else '"sell"',
        "order_type": _text(request.kind),
        **client_id,
        **_limit(order),
        "stop_price": pair.price_text(0),
        "order_status": _text(order.status.value),
        "fee_usd_equiv": _usd(pair, order.fee),
        "fee_ccy_pref": '"fciq"',
    }
    if order.post_only:
        fields["post_only"] = "true"
    if order.on_margin:
        fields["margin"] = "true"
    return fields


def _state(order: AccountOrder, exec_type: str) -> dict[str, str]:
    return {"order_status": _text(order.status.value), "exec_type": _text(exec_type)}


def _execution(fill: AccountFill) -> dict[str, str]:
    order, pair = fill.order, fill.order.pair
    return {
        "exec_id": _text(fill.exec_id),
        "exec_type": '"trade"',
        "trade_id": str(fill.trade_id),
        "symbol": _text(pair.symbol),
        "side": '"buy"' if order.buys else '"sell"',
        "last_qty": pair.qty_text(fill.qty),
        "last_price": pair.price_text(fill.price),
        "liquidity_ind": '"m"' if fill.maker else '"t"',
        "cost": plain(fill.cost, pair.cost_decimals),
        "order_type": _text(order.request.kind),
        **({} if fill.position_status is None else {"position_status": _text(fill.position_status), "margin": "true"}),
    }


def _progress(order: AccountOrder) -> dict[str, str]:
    pair = order.pair
    return {
        "cum_qty": pair.qty_text(order.cum_qty),
        "cum_cost": _cost(pair, order.cum_turnover),
        "avg_price": pair.price_text(order.average_price),
    }


def _totals(order: AccountOrder) -> dict[str, str]:
    cum_qty, cum_cost, avg_price = _progress(order).items()
    return dict([cum_qty, cum_cost, ("fee_usd_equiv", _usd(order.pair, order.fee)), avg_price])


def _limit(order: AccountOrder) -> dict[str, str]:
    if order.price is None:
        return {}
    return {"limit_price_type": '"static"', "limit_price": order.pair.price_text(order.price)}


def _client_id(order: AccountOrder) -> dict[str, str]:
    request = order.request
    if request.cl_ord_id is not None:
        return {"cl_ord_id": _text(request.cl_ord_id)}
    if request.userref is not None:
        return {"order_userref": str(request.userref)}
    return {}


def _fees(fill: AccountFill) -> str:
    quote = fill.order.pair.quote
    return f'[{{"asset":"{quote.code}","qty":{plain(fill.fee, quote.decimals)}}}]'


def _usd(pair: Pair, fee: int) -> str:
    """Return a fee in dollars: exact where the quote is one, nothing otherwise, for want of a rate."""
    if pair.quote.code not in _USD:
        return "0.0000"
    return plain(halved_up(fee, pair.quote.decimals, 4), 4)


def _cost(pair: Pair, turnover: int) -> str:
    return plain(halved_up(turnover, pair.price_decimals + pair.qty_decimals, pair.cost_decimals), pair.cost_decimals)


def _object(fields: dict[str, str]) -> str:
    return "{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}"


def _text(value: str) -> str:
    """Return a JSON string; ids and words of the venue, and of clients as checked, are printable ASCII."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
