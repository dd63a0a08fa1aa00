"""What an account asked the market for, and what came of it: orders and their fills, in integers.

Prices are in ticks, quantities in lots, turnovers in ticks times lots, fees and costs as each field says. An order
knows nothing of money: what it holds and what a fill is worth is the business of ``account``.
"""

from __future__ import annotations

from enum import Enum

import attrs

from kraken_engine.venue.core.instruments import Pair
from kraken_engine.venue.core.matching import BID

__all__ = ["AccountFill", "AccountOrder", "OrderRequest", "OrderStatus"]


class OrderStatus(Enum):
    """Where an order stands, in the words of WebSocket v2."""

    PENDING_NEW = "pending_new"
    NEW = "new"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"


@attrs.frozen(kw_only=True)
class OrderRequest:
    """A new order, already read and checked for form."""

    pair: Pair
    side: int
    kind: str
    """``limit`` or ``market``."""
    qty: int
    price: int | None
    """None for a market order."""
    time_in_force: str = "GTC"
    """``GTC``, ``GTD``, ``IOC`` or ``FOK``."""
    post_only: bool = False
    expire_ns: int | None = None
    """Wall time; only with ``GTD``."""
    cl_ord_id: str | None = None
    userref: int | None = None
    leverage: int = 0
    """How many times its money an order on margin turns over; 0: without margin."""
    deadline_ns: int | None = None
    """Wall time after which the order may not reach the market any more."""


@attrs.frozen(kw_only=True)
class AccountFill:
    """One execution."""

    exec_id: str
    trade_id: int
    order: AccountOrder
    price: int
    qty: int
    cost: int
    """In units of ``10 ** -cost_decimals`` of the quote, rounded half up."""
    fee: int
    """In units of the quote asset."""
    maker: bool
    wall_ns: int
    ledger_ids: tuple[str, ...]
    """Of the entries for base and quote; on margin, of the one for the quote."""
    post_id: str
    """What REST calls ``postxid``: on margin, the id of the position it opened, if it did."""
    position_status: str | None = None
    """On margin: ``opened``, ``closing`` or ``closed``."""
    margin: int = 0
    """What the position it opened ties up, in units of the quote asset."""


@attrs.define(eq=False, kw_only=True)
class AccountOrder:
    """One order of an account, open or not."""

    id: str
    account: str
    request: OrderRequest
    qty: int
    price: int | None
    post_only: bool
    opened_ns: int
    """Wall time."""
    aged_ns: int
    """Wall time of its creation or latest amendment: cancelling soon after costs more."""
    status: OrderStatus = OrderStatus.PENDING_NEW
    book_id: int | None = None
    """Its id in the book while it rests there."""
    cum_qty: int = 0
    cum_turnover: int = 0
    fee: int = 0
    """In units of the quote asset."""
    hold: int = 0
    reserve: int = 0
    reason: str = ""
    closed_ns: int | None = None
    amended: bool = False
    fills: list[AccountFill] = attrs.field(factory=list[AccountFill])

    @property
    def pair(self) -> Pair:
        """Its market."""
        return self.request.pair

    @property
    def buys(self) -> bool:
        """Whether it buys the base."""
        return self.request.side == BID

    @property
    def on_margin(self) -> bool:
        """Whether it opens and closes positions, rather than spending what the account owns."""
        return self.request.leverage > 0

    @property
    def left(self) -> int:
        """What is not filled yet."""
        return self.qty - self.cum_qty

    @property
    def open(self) -> bool:
        """Whether anything may still happen to it."""
        return self.closed_ns is None

    @property
    def average_price(self) -> int:
        """Mean price of its fills in ticks, rounded half up; 0 without fills."""
        return (2 * self.cum_turnover + self.cum_qty) // (2 * self.cum_qty) if self.cum_qty else 0
