"""REST replies about an account, with our names for its pairs and assets.

What the venue said stands beside them, row for row; REST may lag behind the private line by a little, so these answers
are ``unverified`` and ordered by when they were received. Knows nothing of what happened before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal

import attrs

from kraken_engine.codec.rest_private import BalanceRow, OrderRow, PositionRow, TradeHistoryRow
from kraken_engine.errors import DecodeError
from kraken_engine.model import Integrity, Side, Source
from kraken_engine.normalise.symbols import Symbols

__all__ = [
    "AssetBalance",
    "RestAnswer",
    "RestFill",
    "RestOrder",
    "RestPosition",
    "asset_balances",
    "asset_totals",
    "rest_fills",
    "rest_orders",
    "rest_positions",
]

_SIDES = {"buy": Side.BUY, "sell": Side.SELL}


@attrs.frozen(kw_only=True)
class RestAnswer:
    """What every answer about an account carries."""

    received_s: float
    """Monotonic seconds (the runtime's clock) at which the reply had arrived."""
    source: Source = Source.REST
    integrity: Integrity = Integrity.UNVERIFIED


@attrs.frozen(kw_only=True)
class AssetBalance(RestAnswer):
    """What the account has of ``asset``: ``BTC``, or ``ATOM.S`` for a wallet that cannot be traded from."""

    asset: str
    total: Decimal
    held: Decimal
    """For open spot orders without margin."""
    credit: Decimal = Decimal(0)
    credit_used: Decimal = Decimal(0)

    @property
    def available(self) -> Decimal:
        """What a new order can use (docs "Get Extended Balance")."""
        return self.total + self.credit - self.credit_used - self.held


@attrs.frozen(kw_only=True)
class RestOrder(RestAnswer):
    """One order."""

    order_id: str
    symbol: str
    side: Side
    row: OrderRow
    """As the venue sent it."""


@attrs.frozen(kw_only=True)
class RestFill(RestAnswer):
    """One execution of one order of the account."""

    exec_id: str
    symbol: str
    side: Side
    row: TradeHistoryRow
    """As the venue sent it."""


@attrs.frozen(kw_only=True)
class RestPosition(RestAnswer):
    """One open margin position."""

    position_id: str
    symbol: str
    side: Side
    row: PositionRow
    """As the venue sent it."""


def asset_totals(totals: Mapping[str, Decimal], symbols: Symbols) -> dict[str, Decimal]:
    """Return what ``Balance`` said, by our code."""
    return {symbols.asset(name): total for name, total in totals.items()}


def asset_balances(rows: Mapping[str, BalanceRow], symbols: Symbols, *, received_s: float) -> dict[str, AssetBalance]:
    """Return what ``BalanceEx`` said, by our code."""
    balances = [
        AssetBalance(
            asset=symbols.asset(name),
            total=row.balance,
            held=row.hold_trade,
            credit=row.credit or Decimal(0),
            credit_used=row.credit_used or Decimal(0),
            received_s=received_s,
        )
        for name, row in rows.items()
    ]
    return {balance.asset: balance for balance in balances}


def rest_orders(rows: Mapping[str, OrderRow], symbols: Symbols, *, received_s: float) -> dict[str, RestOrder]:
    """Return orders by id, in the venue's order.

    Raises:
        DecodeError: one is of no pair or side: leaving out an order would be worse than no answer.
    """
    return {
        order_id: RestOrder(
            order_id=order_id,
            symbol=_symbol(row.descr.pair, symbols, order_id),
            side=_side(row.descr.type, order_id),
            row=row,
            received_s=received_s,
        )
        for order_id, row in rows.items()
    }


def rest_fills(rows: Mapping[str, TradeHistoryRow], symbols: Symbols, *, received_s: float) -> dict[str, RestFill]:
    """Return executions by id, in the venue's order.

    Raises:
        DecodeError: one is of no pair or side.
    """
    return {
        exec_id: RestFill(
            exec_id=exec_id,
            symbol=_symbol(row.pair, symbols, exec_id),
            side=_side(row.type, exec_id),
            row=row,
            received_s=received_s,
        )
        for exec_id, row in rows.items()
    }


def rest_positions(rows: Mapping[str, PositionRow], symbols: Symbols, *, received_s: float) -> dict[str, RestPosition]:
    """Return positions by id, in the venue's order.

    Raises:
        DecodeError: one is of no pair or side.
    """
    return {
        position_id: RestPosition(
            position_id=position_id,
            symbol=_symbol(row.pair, symbols, position_id),
            side=_side(row.type, position_id),
            row=row,
            received_s=received_s,
        )
        for position_id, row in rows.items()
    }


def _symbol(name: str, symbols: Symbols, row_id: str) -> str:
    """Return the symbol of a pair; of one that was delisted since, what its name says."""
    if _PAIR_NAME.fullmatch(name) is None:
        raise DecodeError(f"$.result.{row_id}.pair", "the name of a pair", name)
    return symbols.named(name)


_PAIR_NAME = re.compile(r"[A-Za-z0-9./_-]{1,32}")


def _side(name: str, row_id: str) -> Side:
    side = _SIDES.get(name)
    if side is None:
        raise DecodeError(f"$.result.{row_id}.type", "buy or sell", name)
    return side
