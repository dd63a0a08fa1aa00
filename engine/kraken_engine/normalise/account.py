"""Execution reports and balances become events in our own words, or the whole message is refused.

Both channels carry state from one message to the next, so an element that makes no sense is not left out: the message
it came in is as good as lost, and whoever asked gets a :class:`~kraken_engine.errors.DecodeError` with the path.

Words that change no quantity (an order type, a time in force, a kind of report) may be new: they become ``UNKNOWN``.
A status that is not known here is refused, since nobody could say whether the order still lives.

Knows the venue's field names and our event names, nothing of what happened before.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import TypeVar

import attrs

from kraken_engine.codec.numbers import decimal_of, positive
from kraken_engine.codec.ws_v2_private import (
    BalanceData,
    BalanceRow,
    BalancesMessage,
    ConditionalData,
    ExecutionData,
    ExecutionsMessage,
    FeeData,
    TriggerData,
)
from kraken_engine.errors import DecodeError
from kraken_engine.model import Liquidity, OrderStatus, OrderType, Side, Source, TimeInForce, plus
from kraken_engine.normalise.account_events import Conditional, ExecType, ExecutionReport, LedgerEntry, Trigger

__all__ = ["BalanceReport", "balance_reports", "balance_rows", "execution_reports"]

_E = TypeVar("_E", bound=enum.Enum)
_SIDES = {side.value: side for side in Side}
_ORDER_TYPES = {kind.value: kind for kind in OrderType if kind is not OrderType.UNKNOWN}
_LIFETIMES = {kind.value: kind for kind in TimeInForce if kind is not TimeInForce.UNKNOWN}
_EXEC_TYPES = {kind.value: kind for kind in ExecType if kind is not ExecType.UNKNOWN}
_STATUSES = {status.value: status for status in OrderStatus}
_LIQUIDITY = {"m": Liquidity.MAKER, "t": Liquidity.TAKER}
_FEE_IN = {"fcib": "base", "fciq": "quote"}
_EARN = "earn"


@attrs.frozen(kw_only=True)
class BalanceReport:
    """What the venue says of one asset."""

    asset: str
    total: Decimal
    earn: Decimal | None
    """In wallets that cannot be traded from; None: a transaction, which tells of one wallet only."""
    used: Decimal | None = None
    """Held for open orders; None: not told."""
    change: LedgerEntry | None = None
    in_earn: bool = False
    """The transaction was in such a wallet."""
    venue_time: str | None = None


def execution_reports(message: ExecutionsMessage, *, account: str, received_s: float) -> list[ExecutionReport]:
    """Return the reports of ``message`` in its order.

    Args:
        message: a decoded snapshot or update.
        account: name of the account it is about.
        received_s: monotonic seconds at which its bytes were read.

    Raises:
        DecodeError: an element makes no sense: no order, a fill without an id, quantity or price, an unknown status.
    """
    return [_report(data, f"$.data[{i}]", account, received_s) for i, data in enumerate(message.data)]


def balance_reports(message: BalancesMessage) -> list[BalanceReport]:
    """Return what ``message`` says of each asset, in its order.

    Raises:
        DecodeError: an element makes no sense.
    """
    snapshot = message.type == "snapshot"
    return [_balance(data, f"$.data[{i}]", snapshot=snapshot) for i, data in enumerate(message.data)]


def balance_rows(rows: Sequence[BalanceRow]) -> list[BalanceReport]:
    """Return what rows of ``asset, balance, hold_trade`` say: ``balance`` is what is free there, the hold beside it.

    Raises:
        DecodeError: a row makes no sense.
    """
    reports: list[BalanceReport] = []
    for i, row in enumerate(rows):
        path = f"$[{i}]"
        if not row.asset:
            raise DecodeError(f"{path}.asset", "an asset", "nothing")
        free = decimal_of(row.balance, f"{path}.balance")
        used = decimal_of(row.hold_trade, f"{path}.hold_trade")
        reports.append(BalanceReport(asset=row.asset, total=plus(free, used), earn=Decimal(0), used=used))
    return reports


def _report(data: ExecutionData, path: str, account: str, received_s: float) -> ExecutionReport:
    exec_type = _EXEC_TYPES.get(data.exec_type, ExecType.UNKNOWN)
    if not data.order_id and not data.cl_ord_id:
        raise DecodeError(f"{path}.order_id", "an order_id or a cl_ord_id", "nothing")
    if exec_type is ExecType.TRADE:
        _check_fill(data, path)
    return ExecutionReport(
        account=account,
        source=Source.WEBSOCKET_V2,
        received_s=received_s,
        venue_time=data.timestamp,
        exec_type=exec_type,
        order_id=data.order_id,
        cl_ord_id=data.cl_ord_id,
        userref=data.order_userref,
        symbol=data.symbol,
        side=_known(_SIDES, data.side, f"{path}.side"),
        order_type=_word(_ORDER_TYPES, data.order_type, OrderType.UNKNOWN),
        status=_known(_STATUSES, data.order_status, f"{path}.order_status"),
        time_in_force=_word(_LIFETIMES, data.time_in_force, TimeInForce.UNKNOWN),
        order_qty=_not_negative(data.order_qty, f"{path}.order_qty"),
        cash_order_qty=_not_negative(data.cash_order_qty, f"{path}.cash_order_qty"),
        limit_price=_number(data.limit_price, f"{path}.limit_price"),
        limit_price_type=data.limit_price_type,
        display_qty=_not_negative(data.display_qty, f"{path}.display_qty"),
        display_qty_remain=_not_negative(data.display_qty_remain, f"{path}.display_qty_remain"),
        cum_qty=_not_negative(data.cum_qty, f"{path}.cum_qty"),
        cum_cost=_not_negative(data.cum_cost, f"{path}.cum_cost"),
        avg_price=_number(data.avg_price, f"{path}.avg_price"),
        fee_usd_equiv=_number(data.fee_usd_equiv, f"{path}.fee_usd_equiv"),
        fee_in=_FEE_IN.get(data.fee_ccy_pref or ""),
        trigger=_trigger(data.triggers, f"{path}.triggers"),
        conditional=_conditional(data.contingent, f"{path}.contingent"),
        reason=data.reason if data.reason is not None else data.cancel_reason,
        amended=data.amended,
        post_only=data.post_only,
        reduce_only=data.reduce_only,
        margin=data.margin,
        liquidated=data.liquidated,
        position_status=data.position_status,
        effective_time=data.effective_time,
        expire_time=data.expire_time,
        exec_id=data.exec_id,
        trade_id=data.trade_id,
        last_qty=_number(data.last_qty, f"{path}.last_qty"),
        last_price=_number(data.last_price, f"{path}.last_price"),
        cost=_number(data.cost, f"{path}.cost"),
        liquidity=_LIQUIDITY.get(data.liquidity_ind or ""),
        fees=_fees(data.fees, f"{path}.fees"),
    )


def _check_fill(data: ExecutionData, path: str) -> None:
    if not data.exec_id:
        raise DecodeError(f"{path}.exec_id", "the id of the fill", "nothing")
    positive(data.last_qty, f"{path}.last_qty")
    positive(data.last_price, f"{path}.last_price")


def _balance(data: BalanceData, path: str, *, snapshot: bool) -> BalanceReport:
    total = decimal_of(data.balance, f"{path}.balance")
    if not data.asset:
        raise DecodeError(f"{path}.asset", "an asset", "nothing")
    if snapshot:
        earn = Decimal(0)
        for i, wallet in enumerate(data.wallets):
            if wallet.type == _EARN:
                earn = plus(earn, decimal_of(wallet.balance, f"{path}.wallets[{i}].balance"))
        return BalanceReport(asset=data.asset, total=total, earn=earn, venue_time=data.timestamp)
    if not data.ledger_id:
        raise DecodeError(f"{path}.ledger_id", "the id of the transaction", "nothing")
    change = LedgerEntry(
        ledger_id=data.ledger_id,
        ref_id=data.ref_id,
        type=data.type or "",
        subtype=data.subtype,
        category=data.category,
        amount=decimal_of(data.amount, f"{path}.amount"),
        fee=_number(data.fee, f"{path}.fee") or Decimal(0),
    )
    return BalanceReport(
        asset=data.asset,
        total=total,
        earn=None,
        change=change,
        in_earn=data.wallet_type == _EARN,
        venue_time=data.timestamp,
    )


def _fees(fees: Sequence[FeeData] | None, path: str) -> Mapping[str, Decimal]:
    total: dict[str, Decimal] = {}
    for i, fee in enumerate(fees or ()):
        total[fee.asset] = plus(total.get(fee.asset, Decimal(0)), decimal_of(fee.qty, f"{path}[{i}].qty"))
    return MappingProxyType(total)


def _trigger(data: TriggerData | None, path: str) -> Trigger | None:
    if data is None:
        return None
    return Trigger(
        reference=data.reference,
        price=_number(data.price, f"{path}.price"),
        price_type=data.price_type,
        actual_price=_number(data.actual_price, f"{path}.actual_price"),
        peak_price=_number(data.peak_price, f"{path}.peak_price"),
        last_price=_number(data.last_price, f"{path}.last_price"),
        triggered=None if data.status is None else data.status == "triggered",
        venue_time=data.timestamp,
    )


def _conditional(data: ConditionalData | None, path: str) -> Conditional | None:
    if data is None:
        return None
    return Conditional(
        order_type=_word(_ORDER_TYPES, data.order_type, OrderType.UNKNOWN) or OrderType.UNKNOWN,
        limit_price=_number(data.limit_price, f"{path}.limit_price"),
        limit_price_type=data.limit_price_type,
        trigger_price=_number(data.trigger_price, f"{path}.trigger_price"),
        trigger_price_type=data.trigger_price_type,
    )


def _number(token: object, path: str) -> Decimal | None:
    return None if token is None else decimal_of(token, path)


def _not_negative(token: object, path: str) -> Decimal | None:
    number = _number(token, path)
    if number is not None and number < 0:
        raise DecodeError(path, "a number of 0 or more", format(number, "f"))
    return number


def _known(words: Mapping[str, _E], word: str | None, path: str) -> _E | None:
    if word is None:
        return None
    found = words.get(word)
    if found is None:
        raise DecodeError(path, " or ".join(words), word)
    return found


def _word(words: Mapping[str, _E], word: str | None, unknown: _E) -> _E | None:
    return None if word is None else words.get(word.lower(), unknown)
