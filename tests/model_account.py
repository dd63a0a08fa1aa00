"""A venue small enough to be right by looking at it: one account, its orders and fills, and how it tells of them.

Written from the documents, with nothing of the engine in it but the reports that stand for REST's answers. Times are
numbers that only rise; every event has its own. All quantities are whole multiples of 0.1, so that what it says is
written like the venue writes it.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import attrs

from kraken_engine.model import OrderStatus, OrderType, Side, Source, TimeInForce
from kraken_engine.normalise.account_events import ExecType, ExecutionReport

TENTH = Decimal("0.1")
OPEN = {"pending_new", "new", "partially_filled"}


@attrs.define
class ModelOrder:
    order_id: str
    cl_ord_id: str | None
    symbol: str
    side: str
    qty: Decimal
    price: Decimal
    opened: int
    status: str = "pending_new"
    cum: Decimal = Decimal("0.0")
    cost: Decimal = Decimal("0.00")
    reason: str | None = None
    changed: int = 0


@attrs.define
class ModelFill:
    exec_id: str
    trade_id: int
    order_id: str
    symbol: str
    side: str
    qty: Decimal
    price: Decimal
    fee: Decimal
    at: int


@attrs.define
class ModelVenue:
    """One account at the venue. Every change queues the frames that tell of it, once somebody is subscribed."""

    snapshot_fills: int = 50
    clock: int = 0
    orders: dict[str, ModelOrder] = attrs.field(factory=dict)
    fills: list[ModelFill] = attrs.field(factory=list)
    balances: dict[str, Decimal] = attrs.field(factory=lambda: {"BTC": Decimal("50.0"), "USD": Decimal("90000.00")})
    wire: list[bytes] = attrs.field(factory=list)
    """Frames on their way."""
    sequence: dict[str, int] = attrs.field(factory=dict)
    """By channel that is subscribed."""
    ledger: int = 0
    told_before: dict[bytes, int] = attrs.field(factory=dict)
    """How many fills there had been at each snapshot."""

    # -- what happens

    def place(self, *, side: str, tenths: int, price: int, cl_ord_id: str | None = None) -> str:
        order_id = f"O{len(self.orders) + 1:05d}"
        at = self.tick()
        order = self.orders[order_id] = ModelOrder(
            order_id, cl_ord_id, "BTC/USD", side, TENTH * tenths, Decimal(price), at, changed=at
        )
        self.tell(self.full(order, "pending_new"))
        order.status = "new"
        self.tell(self.brief(order, "new"))
        return order_id

    def fill(self, order_id: str, tenths: int) -> None:
        order = self.orders[order_id]
        qty = min(TENTH * tenths, order.qty - order.cum)
        at = self.tick()
        fill = ModelFill(
            f"T{len(self.fills) + 1:05d}", len(self.fills) + 1, order_id, order.symbol, order.side, qty, order.price,
            qty * order.price * Decimal("0.01"), at,
        )  # fmt: skip
        self.fills.append(fill)
        order.cum += qty
        order.cost += qty * order.price
        order.changed, order.status = at, "partially_filled"
        self.tell(
            {
                **self.brief(order, "trade"),
                **self.fill_fields(fill),
                "cum_qty": order.cum,
                "cum_cost": order.cost,
            }
        )
        if order.cum == order.qty:
            order.status = "filled"
            self.tell({**self.brief(order, "filled"), "cum_qty": order.cum, "cum_cost": order.cost})
        sign = 1 if order.side == "buy" else -1
        self.move("BTC", sign * qty, Decimal("0.0"), fill.exec_id)
        self.move("USD", -sign * qty * order.price, fill.fee, fill.exec_id)

    def cancel(self, order_id: str) -> None:
        order = self.orders[order_id]
        order.changed, order.status, order.reason = self.tick(), "canceled", "User requested"
        self.tell({**self.brief(order, "canceled"), "cum_qty": order.cum, "reason": order.reason})

    def amend(self, order_id: str, *, more: int, price: int) -> None:
        order = self.orders[order_id]
        order.changed = self.tick()
        order.qty += TENTH * more
        order.price = Decimal(price)
        self.tell(
            {
                **self.brief(order, "amended"),
                "cum_qty": order.cum,
                "order_qty": order.qty,
                "limit_price": order.price,
                "amended": True,
                "reason": "User requested",
            }
        )

    def move(self, asset: str, amount: Decimal, fee: Decimal, ref_id: str) -> None:
        self.balances[asset] += amount - fee
        self.ledger += 1
        self.send(
            "balances",
            "update",
            [
                {
                    "ledger_id": f"L{self.ledger:05d}",
                    "ref_id": ref_id,
                    "timestamp": stamp(self.clock),
                    "type": "trade",
                    "category": "trade",
                    "asset": asset,
                    "asset_class": "currency",
                    "wallet_type": "spot",
                    "wallet_id": "main",
                    "amount": amount,
                    "fee": fee,
                    "balance": self.balances[asset],
                }
            ],
        )

    # -- what it says on the stream

    def subscribe(self, channel: str) -> None:
        """Start a subscription: its confirmation and its snapshot are on their way."""
        ack = {"method": "subscribe", "result": {"channel": channel}, "success": True, "time_in": stamp(self.tick())}
        self.wire.append(written(ack))
        self.sequence[channel] = 0
        if channel == "balances":
            rows = [{"asset": asset, "balance": total, "wallets": []} for asset, total in self.balances.items()]
            self.send("balances", "snapshot", rows)
        else:
            orders = [self.full(o, o.status) for o in self.orders.values() if o.status in OPEN]
            fills = [
                {**self.brief(self.orders[f.order_id], "trade"), **self.fill_fields(f)}
                for f in self.fills[-self.snapshot_fills :]
            ]
            self.send("executions", "snapshot", orders + fills)
            self.told_before[self.wire[-1]] = len(self.fills)

    def cut(self) -> None:
        self.wire.clear()
        self.sequence.clear()

    def tell(self, report: dict[str, Any]) -> None:
        self.send("executions", "update", [report])

    def send(self, channel: str, kind: str, data: list[dict[str, Any]]) -> None:
        if channel not in self.sequence:
            return
        self.sequence[channel] += 1
        frame = {"channel": channel, "type": kind, "data": data, "sequence": self.sequence[channel]}
        self.wire.append(written(frame))

    def full(self, order: ModelOrder, exec_type: str) -> dict[str, Any]:
        return {
            **self.brief(order, exec_type),
            "symbol": order.symbol,
            "side": order.side,
            "order_type": "limit",
            "order_qty": order.qty,
            "limit_price": order.price,
            "time_in_force": "GTC",
            "cum_qty": order.cum,
            "cum_cost": order.cost,
            "timestamp": stamp(order.opened),
        }

    def brief(self, order: ModelOrder, exec_type: str) -> dict[str, Any]:
        brief = {
            "exec_type": exec_type,
            "order_id": order.order_id,
            "order_status": order.status,
            "timestamp": stamp(order.changed),
        }
        return brief if order.cl_ord_id is None else {**brief, "cl_ord_id": order.cl_ord_id}

    def fill_fields(self, fill: ModelFill) -> dict[str, Any]:
        return {
            "exec_id": fill.exec_id,
            "trade_id": fill.trade_id,
            "symbol": fill.symbol,
            "side": fill.side,
            "order_type": "limit",
            "last_qty": fill.qty,
            "last_price": fill.price,
            "cost": fill.qty * fill.price,
            "liquidity_ind": "m",
            "fees": [{"asset": "USD", "qty": fill.fee}],
            "timestamp": stamp(fill.at),
        }

    # -- what it says when asked

    def closed_since(self, since: str) -> list[ExecutionReport]:
        return [self.ending(o) for o in self.orders.values() if o.status not in OPEN and o.changed >= moment(since)]

    def trades_since(self, since: str) -> list[ExecutionReport]:
        return [
            ExecutionReport(
                account="main",
                source=Source.REST,
                received_s=0.0,
                venue_time=stamp(f.at),
                exec_type=ExecType.TRADE,
                order_id=f.order_id,
                exec_id=f.exec_id,
                trade_id=f.trade_id,
                symbol=f.symbol,
                side=Side(f.side),
                last_qty=f.qty,
                last_price=f.price,
                cost=f.qty * f.price,
                fees={"USD": f.fee},
            )
            for f in self.fills
            if f.at >= moment(since)
        ]

    def orders_by_id(self, order_ids: tuple[str, ...]) -> list[ExecutionReport]:
        return [self.ending(self.orders[order_id]) for order_id in order_ids]

    def ending(self, order: ModelOrder) -> ExecutionReport:
        status = OrderStatus(order.status)
        return ExecutionReport(
            account="main",
            source=Source.REST,
            received_s=0.0,
            venue_time=stamp(order.changed),
            exec_type=ExecType(order.status) if status.is_terminal else ExecType.STATUS,
            order_id=order.order_id,
            cl_ord_id=order.cl_ord_id,
            symbol=order.symbol,
            side=Side(order.side),
            order_type=OrderType.LIMIT,
            status=status,
            time_in_force=TimeInForce.GTC,
            order_qty=order.qty,
            limit_price=order.price,
            cum_qty=order.cum,
            cum_cost=order.cost,
            reason=order.reason,
            opened_time=stamp(order.opened),
        )

    def tick(self) -> int:
        self.clock += 1
        return self.clock


def stamp(at: int) -> str:
    """Write a time, in tenths of a second, with now more digits and now fewer, as several servers do."""
    second, tenth = divmod(at, 10)
    fraction = ("", ".0", ".000000")[at % 3] if not tenth else (f".{tenth}", f".{tenth}00", f".{tenth}00000")[at % 3]
    return f"{DAY}{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}{fraction}Z"


def moment(text: str) -> int:
    """Return the time that was written; what is of another day was before everything."""
    if not text.startswith(DAY):
        return -1
    hours, minutes, seconds = text.removeprefix(DAY).rstrip("Z").split(":")
    return int(Decimal(seconds) * 10) + 600 * int(minutes) + 36_000 * int(hours)


DAY = "2026-11-25T"


def written(document: object) -> bytes:
    """Write JSON with decimals as numbers that keep their digits."""
    marked = json.dumps(document, default=lambda number: f"\0{number:f}\0")
    return marked.replace('"\\u0000', "").replace('\\u0000"', "").encode()
