"""The events of an account: fills, reports, orders, balances, and whether they can be relied on.

Every fill is told once, in order; a report, an order or a balance is never conflated with the next one, and nothing
is dropped silently. The notices come in the same streams: after :class:`AccountStale` nothing is known to be current
until :class:`AccountLive`, and an :class:`AccountGap` between them says how the hole was closed.

Quantities are exact decimals with the venue's digits. Times of the venue are text (RFC 3339, UTC), as sent.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType

import attrs

from kraken_engine.errors import Stale
from kraken_engine.model import Liquidity, OrderStatus, OrderType, Side, TimeInForce, minus
from kraken_engine.normalise.events import AccountEvent, Gap, Live, Notice

__all__ = [
    "AccountDiffers",
    "AccountGap",
    "AccountLive",
    "AccountStale",
    "BalanceUpdate",
    "Conditional",
    "ExecType",
    "ExecutionReport",
    "Fill",
    "LedgerEntry",
    "Order",
    "OrderUpdate",
    "OrdersListed",
    "Trigger",
]

_NO_FEES: Mapping[str, Decimal] = MappingProxyType({})


class ExecType(enum.Enum):
    """What an execution report is about (docs "Executions")."""

    PENDING_NEW = "pending_new"
    NEW = "new"
    TRADE = "trade"
    """A fill. It says that the order is partially filled even where it completes the order."""
    FILLED = "filled"
    """The order is complete; its last fill came before."""
    CANCELED = "canceled"
    EXPIRED = "expired"
    AMENDED = "amended"
    """Changed by its owner."""
    RESTATED = "restated"
    """Changed by the venue."""
    ICEBERG_REFILL = "iceberg_refill"
    STATUS = "status"
    """A trigger moved or fired."""
    UNKNOWN = "unknown"
    """A word this version does not know: what it changes is taken over, and checked like everything else."""

    def __str__(self) -> str:
        return self.value


@attrs.frozen(kw_only=True)
class Trigger:
    """What has to happen before an order acts; what is None is not told."""

    reference: str | None = None
    """``index`` or ``last``."""
    price: Decimal | None = None
    price_type: str | None = None
    """``static``, ``pct`` or ``quote``."""
    actual_price: Decimal | None = None
    peak_price: Decimal | None = None
    last_price: Decimal | None = None
    triggered: bool | None = None
    venue_time: str | None = None


@attrs.frozen(kw_only=True)
class Conditional:
    """The order that each fill of another one makes."""

    order_type: OrderType
    limit_price: Decimal | None = None
    limit_price_type: str | None = None
    trigger_price: Decimal | None = None
    trigger_price_type: str | None = None


@attrs.frozen(kw_only=True)
class ExecutionReport(AccountEvent):
    """One report about one order, as the venue made it: identity, and what changed. None: unchanged.

    The order after it is in the :class:`OrderUpdate` that follows; quantities and prices of a fill in :class:`Fill`.
    """

    exec_type: ExecType
    order_id: str | None
    cl_ord_id: str | None = None
    userref: int | None = None
    symbol: str | None = None
    side: Side | None = None
    order_type: OrderType | None = None
    status: OrderStatus | None = None
    time_in_force: TimeInForce | None = None
    order_qty: Decimal | None = None
    cash_order_qty: Decimal | None = None
    limit_price: Decimal | None = None
    limit_price_type: str | None = None
    display_qty: Decimal | None = None
    display_qty_remain: Decimal | None = None
    cum_qty: Decimal | None = None
    cum_cost: Decimal | None = None
    avg_price: Decimal | None = None
    fee_usd_equiv: Decimal | None = None
    fee_in: str | None = None
    """``base`` or ``quote``: in which asset fees are preferred."""
    trigger: Trigger | None = None
    conditional: Conditional | None = None
    reason: str | None = None
    amended: bool | None = None
    post_only: bool | None = None
    reduce_only: bool | None = None
    margin: bool | None = None
    liquidated: bool | None = None
    position_status: str | None = None
    opened_time: str | None = None
    """When the order was placed; only REST says."""
    effective_time: str | None = None
    expire_time: str | None = None
    exec_id: str | None = None
    trade_id: int | None = None
    last_qty: Decimal | None = None
    last_price: Decimal | None = None
    cost: Decimal | None = None
    liquidity: Liquidity | None = None
    fees: Mapping[str, Decimal] = _NO_FEES


@attrs.frozen(kw_only=True)
class Fill(AccountEvent):
    """One execution of one order. Each ``exec_id`` is told once."""

    exec_id: str
    trade_id: int | None
    """Number of the public trade, where the venue gives it."""
    order_id: str
    cl_ord_id: str | None
    symbol: str
    side: Side
    """Side of our order."""
    qty: Decimal
    price: Decimal
    cost: Decimal
    """In the quote asset, without fees."""
    fees: Mapping[str, Decimal]
    """By asset."""
    liquidity: Liquidity | None
    order_type: OrderType
    external: bool
    """The order was not placed through this engine."""
    replayed: bool = False
    """It happened while the account was not watched, and was fetched afterwards."""
    margin: bool = False
    position_status: str | None = None
    """Of a position: ``opened``, ``closing``, ``closed``."""


@attrs.frozen(kw_only=True)
class Order:
    """One order as it is after the last report about it."""

    order_id: str
    cl_ord_id: str | None
    userref: int | None
    symbol: str
    side: Side
    order_type: OrderType
    status: OrderStatus
    time_in_force: TimeInForce
    order_qty: Decimal | None
    """None for an order by ``cash_order_qty``."""
    cash_order_qty: Decimal | None = None
    limit_price: Decimal | None = None
    limit_price_type: str | None = None
    display_qty: Decimal | None = None
    display_qty_remain: Decimal | None = None
    cum_qty: Decimal = Decimal(0)
    """Filled so far: what was filled before this account was watched, and every fill told since."""
    cum_cost: Decimal = Decimal(0)
    avg_price: Decimal | None = None
    """Average of the fills as the venue rounds it; None before the first."""
    fees: Mapping[str, Decimal] = _NO_FEES
    """Of the fills told here, by asset."""
    fee_usd_equiv: Decimal | None = None
    fee_in: str | None = None
    trigger: Trigger | None = None
    conditional: Conditional | None = None
    post_only: bool = False
    reduce_only: bool = False
    margin: bool = False
    amended: bool = False
    liquidated: bool = False
    reason: str | None = None
    """Why the last change happened, in the venue's words."""
    opened_time: str | None = None
    """Venue time of the first report."""
    updated_time: str | None = None
    effective_time: str | None = None
    expire_time: str | None = None
    external: bool = True
    """Not placed through this engine."""
    evidence: str | None = None
    """Of a terminal order: what the venue said, and by which way."""

    @property
    def is_open(self) -> bool:
        """Whether something can still happen to it."""
        return not self.status.is_terminal

    @property
    def remaining_qty(self) -> Decimal | None:
        """What is left to fill; None for an order by ``cash_order_qty``."""
        return None if self.order_qty is None else minus(self.order_qty, self.cum_qty)


@attrs.frozen(kw_only=True)
class OrderUpdate(AccountEvent):
    """One order, and what happened to it."""

    order: Order
    exec_type: ExecType


@attrs.frozen(kw_only=True)
class OrdersListed(AccountEvent):
    """The open orders as REST lists them, while the private line is lost: how things are, not what happened.

    Fills and endings of the time without a line are told, in order, when it is back.
    """

    orders: tuple[Order, ...]
    """Oldest first."""


@attrs.frozen(kw_only=True)
class LedgerEntry:
    """One transaction that changed a balance."""

    ledger_id: str
    ref_id: str | None
    """Of a trade: the ``exec_id`` of its fill, or what the venue refers to instead."""
    type: str
    subtype: str | None
    category: str | None
    amount: Decimal
    """Signed."""
    fee: Decimal


@attrs.frozen(kw_only=True)
class BalanceUpdate(AccountEvent):
    """The balance of one asset. ``total`` is ``free`` and ``used`` and ``earn`` together."""

    asset: str
    """Modern code: ``BTC``, ``USD``."""
    total: Decimal
    """As the venue says it."""
    used: Decimal
    """Held by open orders: computed from them, since this channel does not tell."""
    earn: Decimal = Decimal(0)
    """In wallets that cannot be traded from."""
    change: LedgerEntry | None = None
    """The transaction behind the change; None: a snapshot, or an order that holds more or less now."""

    @property
    def free(self) -> Decimal:
        """What a new order can use."""
        return minus(minus(self.total, self.used), self.earn)


@attrs.frozen(kw_only=True)
class AccountLive(Live):
    """Orders, fills and balances of the account in ``symbol`` are in step with the venue."""

    @property
    def account(self) -> str:
        """Name of the account."""
        return self.symbol


@attrs.frozen(kw_only=True)
class AccountGap(Gap):
    """The account in ``symbol`` was not watched for a time; what happened meanwhile has been told, in order."""

    fills: int
    """How many of its fills were missed, and have been told after the fact."""

    @property
    def account(self) -> str:
        """Name of the account."""
        return self.symbol


@attrs.frozen(kw_only=True)
class AccountDiffers(Notice):
    """REST tells something else of the account in ``symbol`` than its line, even after a fresh snapshot.

    Told once for each difference; the account stays live, for it has what the line says.
    """

    channel: str
    symbol: str
    reason: str

    @property
    def account(self) -> str:
        """Name of the account."""
        return self.symbol


class AccountStale(Stale):
    """The account may not be relied on since ``since_s`` (monotonic), and ``why``. New orders are not allowed."""

    def __init__(self, account: str, why: str, *, since_s: float | None = None) -> None:
        self.account = account
        super().__init__("account", account, why, since_s=since_s)
