"""One account: its money, its orders and fills, and the rules that tie them together.

An open order holds what it may spend; a fill books two ledger entries, one per asset, and holds that much less. Costs
are booked rounded half up over the whole order, not fill by fill, and fees rounded down, so that an order never spends
more than it held. An order on margin holds nothing: its fills open and close positions, and book what closing earned
or lost, and the fee, in the quote.

It knows nothing of books, requests or channels; a :class:`Watcher` hears what happened.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

import attrs

from kraken_engine.venue.core.accounts.counters import LeakyCounter
from kraken_engine.venue.core.accounts.ids import Ids
from kraken_engine.venue.core.accounts.ledger import Ledger, LedgerEntry, ceiled, floored, halved_up
from kraken_engine.venue.core.accounts.orders import AccountFill, AccountOrder, OrderStatus
from kraken_engine.venue.core.accounts.positions import Positions, margin_for
from kraken_engine.venue.core.accounts.settings import TIERS, AccountSettings, Tier
from kraken_engine.venue.core.instruments import Pair

__all__ = ["Account", "Unwatched", "Watcher"]

CLOSED_KEPT = 20_000
FILLS_KEPT = 50_000


class Watcher(Protocol):
    """Hears what happened in an account, as it happens."""

    def reported(self, account: Account, order: AccountOrder, exec_type: str, fill: AccountFill | None) -> None:
        """Hear of an order; ``exec_type`` is that of WebSocket v2."""
        ...

    def booked(self, account: Account, entry: LedgerEntry) -> None:
        """Hear of a change of a balance."""
        ...


class Unwatched:
    """A watcher that keeps nothing."""

    def reported(self, account: Account, order: AccountOrder, exec_type: str, fill: AccountFill | None) -> None:
        """Hear of an order."""

    def booked(self, account: Account, entry: LedgerEntry) -> None:
        """Hear of a change of a balance."""


@attrs.define(eq=False)
class Account:
    """One account."""

    settings: AccountSettings
    ledger: Ledger
    ids: Ids
    watcher: Watcher
    orders: dict[str, AccountOrder] = attrs.field(factory=dict[str, AccountOrder])
    """The open ones by id, oldest first."""
    closed: deque[AccountOrder] = attrs.field(factory=lambda: deque[AccountOrder](maxlen=CLOSED_KEPT))
    """The last 20,000, in the order in which they closed."""
    fills: deque[AccountFill] = attrs.field(factory=lambda: deque[AccountFill](maxlen=FILLS_KEPT))
    """The last 50,000, oldest first."""
    filled: int = 0
    """Executions in all."""
    positions: Positions = attrs.field(factory=Positions)
    cancel_at_ns: int | None = None
    """When the dead man's switch cancels every order, wall time; None: it is off."""
    _counters: dict[str, LeakyCounter] = attrs.field(factory=dict[str, LeakyCounter], init=False)

    @property
    def name(self) -> str:
        """What judges call it."""
        return self.settings.name

    @property
    def tier(self) -> Tier:
        """Its limits."""
        return TIERS[self.settings.tier]

    def counter(self, symbol: str) -> LeakyCounter:
        """Return the trading counter of a pair."""
        counter = self._counters.get(symbol)
        if counter is None:
            counter = self._counters[symbol] = LeakyCounter(self.tier.trade_most, self.tier.trade_decay)
        return counter

    def counters(self, wall_ns: int) -> dict[str, float]:
        """Return where the trading counter of every pair stands that was ever used."""
        return {symbol: counter.value(wall_ns) for symbol, counter in self._counters.items()}

    def by_client_id(self, cl_ord_id: str) -> AccountOrder | None:
        """Return the open order that the client calls so."""
        for order in self.orders.values():
            if order.request.cl_ord_id == cl_ord_id:
                return order
        return None

    def order(self, order_id: str) -> AccountOrder | None:
        """Return an order, open or closed."""
        found = self.orders.get(order_id)
        return found or next((order for order in reversed(self.closed) if order.id == order_id), None)

    def needs(self, pair: Pair, *, buys: bool, turnover: int, qty: int, leverage: int = 0) -> tuple[str, int]:
        """Return the asset that an order would spend, and how much of it at most, fees included.

        On margin that is what the part of it that closes nothing ties up, beside what open positions do.
        """
        if leverage:
            opens = max(0, qty - self.positions.against(pair.symbol, buys=buys))
            tied = margin_for(pair, turnover * opens // qty, leverage)
            return pair.quote.code, self.positions.margin(pair.quote.code) + tied + self._fee_set_aside(pair, turnover)
        if not buys:
            return pair.base.code, ceiled(qty, pair.qty_decimals, pair.base.decimals)
        return pair.quote.code, self._cost_held(pair, turnover) + self._fee_set_aside(pair, turnover)

    def accept(self, order: AccountOrder) -> None:
        """Take a new order on, and hold what it may spend."""
        self.orders[order.id] = order
        self._hold(order)
        self._report(order, "pending_new")
        order.status = OrderStatus.NEW
        self._report(order, "new")

    def amend(self, order: AccountOrder, *, qty: int, price: int | None, post_only: bool, wall_ns: int) -> None:
        """Change what an open order asks for, and what it holds."""
        order.qty, order.price, order.post_only = qty, price, post_only
        order.amended, order.aged_ns = True, wall_ns
        self._hold(order)
        order.reason = "User requested"
        self._report(order, "amended")
        order.reason = ""

    def fill(self, order: AccountOrder, *, price: int, qty: int, maker: bool, trade_id: int, wall_ns: int) -> None:
        """Book one execution of an open order; the last one closes it."""
        pair, turnover = order.pair, price * qty
        exec_id = self.ids.trade()
        ledger_ids = tuple(self.ids.ledger() for _ in range(1 if order.on_margin else 2))
        post_id = self.ids.trade()
        fee = self._fee(pair, turnover, maker=maker)
        before_qty, before_turnover = order.cum_qty, order.cum_turnover
        order.cum_qty += qty
        order.cum_turnover += turnover
        order.fee += fee
        order.status = OrderStatus.PARTIALLY_FILLED
        self._hold(order)
        position_status, margin = None, 0
        if order.on_margin:
            traded = self.positions.trade(order, price=price, qty=qty, fee=fee, position_id=post_id, wall_ns=wall_ns)
            position_status = traded.status
            margin = margin_for(pair, price * traded.opened, order.request.leverage)
            changes = [(pair.quote.code, self._cost_booked(pair, traded.gain), fee)]
        else:
            sign = 1 if order.buys else -1
            base = self._base_booked(order, order.cum_qty) - self._base_booked(order, before_qty)
            quote = self._cost_booked(pair, order.cum_turnover) - self._cost_booked(pair, before_turnover)
            changes = [(pair.base.code, sign * base, 0), (pair.quote.code, -sign * quote, fee)]
        kind = "margin" if order.on_margin else "trade"
        booked = [
            self.ledger.book(code, amount, fee=paid, kind=kind, entry_id=entry_id, ref_id=exec_id, wall_ns=wall_ns)
            for (code, amount, paid), entry_id in zip(changes, ledger_ids, strict=True)
        ]
        done = AccountFill(
            exec_id=exec_id,
            trade_id=trade_id,
            order=order,
            price=price,
            qty=qty,
            cost=halved_up(turnover, pair.price_decimals + pair.qty_decimals, pair.cost_decimals),
            fee=fee,
            maker=maker,
            wall_ns=wall_ns,
            ledger_ids=ledger_ids,
            post_id=post_id,
            position_status=position_status,
            margin=margin,
        )
        self._note(done, booked)

    def _note(self, done: AccountFill, booked: list[LedgerEntry]) -> None:
        """Keep an execution, tell of it and of what it booked; the last one of an order closes it."""
        order = done.order
        order.fills.append(done)
        self.fills.append(done)
        self.filled += 1
        self._report(order, "trade", done)
        for entry in booked:
            self.watcher.booked(self, entry)
        if not order.left:
            self._close(order, OrderStatus.FILLED, "", done.wall_ns)

    def cancel(self, order: AccountOrder, reason: str, wall_ns: int, *, expired: bool = False) -> None:
        """Close an open order that is not filled, and let go of what it held."""
        self._close(order, OrderStatus.EXPIRED if expired else OrderStatus.CANCELED, reason, wall_ns)

    def deposit(self, code: str, amount: int, wall_ns: int) -> LedgerEntry:
        """Book a deposit, or a withdrawal when ``amount`` is below 0."""
        kind = "deposit" if amount >= 0 else "withdrawal"
        entry = self.ledger.book(
            code, amount, kind=kind, entry_id=self.ids.ledger(), ref_id=self.ids.trade(), wall_ns=wall_ns
        )
        self.watcher.booked(self, entry)
        return entry

    def _close(self, order: AccountOrder, status: OrderStatus, reason: str, wall_ns: int) -> None:
        order.status, order.reason, order.closed_ns = status, reason, wall_ns
        del self.orders[order.id]
        self._hold(order)
        self.closed.append(order)
        self._report(order, status.value)

    def _report(self, order: AccountOrder, exec_type: str, fill: AccountFill | None = None) -> None:
        self.watcher.reported(self, order, exec_type, fill)

    def _hold(self, order: AccountOrder) -> None:
        """Bring what the order holds in line with what it may still spend."""
        hold, reserve = self._held(order)
        code = order.pair.quote.code if order.buys else order.pair.base.code
        self.ledger.set_aside(code, hold - order.hold, reserve - order.reserve)
        order.hold, order.reserve = hold, reserve

    def _held(self, order: AccountOrder) -> tuple[int, int]:
        pair, price = order.pair, order.price
        if not order.open or not order.left or order.on_margin:
            return 0, 0
        if not order.buys:
            whole = ceiled(order.qty, pair.qty_decimals, pair.base.decimals)
            return whole - self._base_booked(order, order.cum_qty), 0
        if price is None:
            return 0, 0  # a market order never rests: what it costs was looked up before it came
        left = price * order.left
        hold = self._cost_held(pair, order.cum_turnover + left) - self._cost_booked(pair, order.cum_turnover)
        return hold, self._fee_set_aside(pair, left)

    def _base_booked(self, order: AccountOrder, qty: int) -> int:
        return halved_up(qty, order.pair.qty_decimals, order.pair.base.decimals)

    def _cost_booked(self, pair: Pair, turnover: int) -> int:
        return halved_up(turnover, pair.price_decimals + pair.qty_decimals, pair.quote.decimals)

    def _cost_held(self, pair: Pair, turnover: int) -> int:
        return ceiled(turnover, pair.price_decimals + pair.qty_decimals, pair.quote.decimals)

    def _fee(self, pair: Pair, turnover: int, *, maker: bool) -> int:
        rate = self.settings.maker_fee if maker else self.settings.taker_fee
        return floored(turnover * rate, _fee_decimals(pair), pair.quote.decimals)

    def _fee_set_aside(self, pair: Pair, turnover: int) -> int:
        rate = max(self.settings.maker_fee, self.settings.taker_fee)
        return ceiled(turnover * rate, _fee_decimals(pair), pair.quote.decimals)


def _fee_decimals(pair: Pair) -> int:
    """Return the decimals of a turnover times a rate in millionths."""
    return pair.price_decimals + pair.qty_decimals + 6
