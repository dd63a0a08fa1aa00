"""REST replies about an account, field for field.

Fields that one reply has and another lacks (closing times, fees of a maker, ids of a later year) are optional. What is
nobody's business here, such as the account's IBAN in ``GetApiKeyInfo``, has no field. Knows nothing of what the values
mean together. Sources: docs of each endpoint, recordings.
"""

from __future__ import annotations

from typing import Annotated

import attrs
import msgspec

from kraken_engine.codec.rest import Envelope, Number, Signed, UnixTime, decode_result, reply_decoder
from kraken_engine.errors import DecodeError
from kraken_engine.secret import Secret

__all__ = [
    "BalanceRow",
    "CancelCount",
    "ClosedOrdersPage",
    "DeadMansSwitch",
    "DepositAddress",
    "DepositMethod",
    "KeyInfo",
    "NewOrder",
    "OrderDescription",
    "OrderRow",
    "PositionRow",
    "SessionToken",
    "TradeHistoryPage",
    "TradeHistoryRow",
    "WithdrawInfo",
    "WithdrawMethod",
    "decode_add_order",
    "decode_balance",
    "decode_balance_ex",
    "decode_cancel",
    "decode_cancel_all_after",
    "decode_closed_orders",
    "decode_deposit_addresses",
    "decode_deposit_methods",
    "decode_key_info",
    "decode_open_orders",
    "decode_orders",
    "decode_positions",
    "decode_token",
    "decode_trades_history",
    "decode_withdraw_info",
    "decode_withdraw_methods",
]

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class BalanceRow(msgspec.Struct, frozen=True, kw_only=True):
    """One asset of ``BalanceEx``; holds cover spot orders without margin only."""

    balance: Number
    hold_trade: Number
    credit: Number | None = None
    credit_used: Number | None = None


class OrderDescription(msgspec.Struct, frozen=True, kw_only=True):
    """What an order is, in the venue's words."""

    pair: str = ""
    type: str = ""
    ordertype: str = ""
    price: str = ""
    """A number, or a relative price such as ``+5.0%``."""
    price2: str = ""
    leverage: str = "none"
    order: str = ""
    close: str = ""


class OrderRow(msgspec.Struct, frozen=True, kw_only=True):
    """One order; replies are keyed by its id."""

    status: str
    descr: OrderDescription
    vol: Number
    vol_exec: Number
    opentm: UnixTime
    cost: Number | None = None
    fee: Number | None = None
    price: Number | None = None
    """Average price of its fills."""
    stopprice: Number | None = None
    limitprice: Number | None = None
    closetm: UnixTime | None = None
    starttm: UnixTime | None = None
    expiretm: UnixTime | None = None
    refid: str | None = None
    link_id: str | None = None
    userref: Signed | None = None
    cl_ord_id: str | None = None
    reason: str | None = None
    trigger: str | None = None
    margin: bool = False
    misc: str = ""
    oflags: str = ""
    trades: list[str] = []


class ClosedOrdersPage(msgspec.Struct, frozen=True, kw_only=True):
    """At most 50 orders; ``count`` of them match in all."""

    closed: dict[str, OrderRow]
    count: Count = 0


class TradeHistoryRow(msgspec.Struct, frozen=True, kw_only=True):
    """One fill of the account; replies are keyed by its id."""

    ordertxid: str
    pair: str
    time: UnixTime
    type: str
    ordertype: str
    price: Number
    cost: Number
    fee: Number
    vol: Number
    margin: Number | None = None
    misc: str = ""
    trade_id: Signed | None = None
    maker: bool | None = None
    cl_ord_id: str | None = None
    postxid: str | None = None


class TradeHistoryPage(msgspec.Struct, frozen=True, kw_only=True):
    """At most 50 fills, newest first; ``count`` of them match in all."""

    trades: dict[str, TradeHistoryRow]
    count: Count = 0


class PositionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One open margin position."""

    ordertxid: str
    pair: str
    time: UnixTime
    type: str
    ordertype: str
    cost: Number
    fee: Number
    vol: Number
    vol_closed: Number
    margin: Number
    posstatus: str = "open"
    value: Number | None = None
    net: Number | None = None
    terms: str = ""
    rollovertm: UnixTime | None = None
    misc: str = ""
    oflags: str = ""


class KeyInfo(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the venue says of the key that asks."""

    permissions: list[str]
    api_key_name: str = ""
    nonce: Number | None = None
    """The last nonce it took."""
    nonce_window: Number | None = None
    valid_until: Number | None = None
    """Unix seconds; 0: it does not end."""
    ip_allowlist: list[str] = []


@attrs.frozen(kw_only=True)
class SessionToken:
    """A token for a private WebSocket."""

    token: Secret
    expires_s: int
    """Within which it has to be used."""


class DepositMethod(msgspec.Struct, frozen=True, kw_only=True, rename={"gen_address": "gen-address"}):
    """One way to pay in."""

    method: str
    limit: bool | str = False
    """The most that may be paid in now, as the venue writes it; False: there is no limit."""
    fee: Number | None = None
    gen_address: bool = False
    minimum: Number | None = None


class DepositAddress(msgspec.Struct, frozen=True, kw_only=True):
    """One address to pay in to."""

    address: str
    expiretm: Number
    """Unix seconds; 0: it does not end."""
    new: bool = False
    tag: str | None = None
    memo: str | None = None


class WithdrawMethod(msgspec.Struct, frozen=True, kw_only=True):
    """One way to pay out."""

    asset: str
    method: str
    network: str | None = None
    minimum: Number | None = None


class WithdrawInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What paying out would cost now."""

    method: str
    limit: Number
    amount: Number
    fee: Number


class CancelCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many orders were cancelled; ``pending``: the venue is not done with it."""

    count: Count
    pending: bool = False


class DeadMansSwitch(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """When the venue will cancel everything; ``trigger_time`` is ``"0"`` when the switch is off."""

    current_time: str
    trigger_time: str


class _NewOrderDescription(msgspec.Struct, frozen=True, kw_only=True):
    order: str
    close: str = ""


class NewOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What became of ``AddOrder``; a validation alone has no ids."""

    descr: _NewOrderDescription
    txid: list[str] = []


def decode_balance(envelope: Envelope) -> dict[str, Number]:
    """Return the result of ``Balance`` by asset id; like all of these, :class:`DecodeError` when it is none."""
    return decode_result(envelope, _BALANCE)


def decode_balance_ex(envelope: Envelope) -> dict[str, BalanceRow]:
    """Return the result of ``BalanceEx`` by asset id."""
    return decode_result(envelope, _BALANCE_EX)


def decode_open_orders(envelope: Envelope) -> dict[str, OrderRow]:
    """Return the result of ``OpenOrders`` by order id."""
    return decode_result(envelope, _OPEN_ORDERS).open


def decode_closed_orders(envelope: Envelope) -> ClosedOrdersPage:
    """Return the result of ``ClosedOrders``."""
    return decode_result(envelope, _CLOSED_ORDERS)


def decode_orders(envelope: Envelope) -> dict[str, OrderRow]:
    """Return the result of ``QueryOrders`` by order id."""
    return decode_result(envelope, _ORDERS)


def decode_trades_history(envelope: Envelope) -> TradeHistoryPage:
    """Return the result of ``TradesHistory``."""
    return decode_result(envelope, _TRADES_HISTORY)


def decode_positions(envelope: Envelope) -> dict[str, PositionRow]:
    """Return the result of ``OpenPositions`` by position id; an account without any gets an empty array at times."""
    return {} if envelope.result == _NO_ROWS else decode_result(envelope, _POSITIONS)


def decode_key_info(envelope: Envelope) -> KeyInfo:
    """Return the result of ``GetApiKeyInfo``."""
    return decode_result(envelope, _KEY_INFO)


def decode_token(envelope: Envelope) -> SessionToken:
    """Return the result of ``GetWebSocketsToken``; the token itself never gets into a message."""
    try:
        answer = decode_result(envelope, _TOKEN)
    except DecodeError as error:
        raise DecodeError(error.path, error.expected, "something else (not shown)") from None
    if not answer.token or not answer.token.isascii() or not answer.token.isprintable():
        raise DecodeError("$.result.token", "a printable token", "something else (not shown)")
    return SessionToken(token=Secret(answer.token), expires_s=answer.expires)


def decode_deposit_methods(envelope: Envelope) -> list[DepositMethod]:
    """Return the result of ``DepositMethods``."""
    return decode_result(envelope, _DEPOSIT_METHODS)


def decode_deposit_addresses(envelope: Envelope) -> list[DepositAddress]:
    """Return the result of ``DepositAddresses``."""
    return decode_result(envelope, _DEPOSIT_ADDRESSES)


def decode_withdraw_methods(envelope: Envelope) -> list[WithdrawMethod]:
    """Return the result of ``WithdrawMethods``."""
    return decode_result(envelope, _WITHDRAW_METHODS)


def decode_withdraw_info(envelope: Envelope) -> WithdrawInfo:
    """Return the result of ``WithdrawInfo``."""
    return decode_result(envelope, _WITHDRAW_INFO)


def decode_cancel(envelope: Envelope) -> CancelCount:
    """Return the result of ``CancelOrder`` and ``CancelAll``."""
    return decode_result(envelope, _CANCEL)


def decode_cancel_all_after(envelope: Envelope) -> DeadMansSwitch:
    """Return the result of ``CancelAllOrdersAfter``."""
    return decode_result(envelope, _SWITCH)


def decode_add_order(envelope: Envelope) -> NewOrder:
    """Return the result of ``AddOrder``."""
    return decode_result(envelope, _NEW_ORDER)


class _OpenOrders(msgspec.Struct, frozen=True, kw_only=True):
    open: dict[str, OrderRow]


class _Token(msgspec.Struct, frozen=True, kw_only=True):
    token: str
    expires: Annotated[int, msgspec.Meta(ge=1, le=86_400)]


_NO_ROWS = msgspec.Raw(b"[]")
_BALANCE = reply_decoder(dict[str, Number])
_BALANCE_EX = reply_decoder(dict[str, BalanceRow])
_OPEN_ORDERS = reply_decoder(_OpenOrders)
_CLOSED_ORDERS = reply_decoder(ClosedOrdersPage)
_ORDERS = reply_decoder(dict[str, OrderRow])
_TRADES_HISTORY = reply_decoder(TradeHistoryPage)
_POSITIONS = reply_decoder(dict[str, PositionRow])
_KEY_INFO = reply_decoder(KeyInfo)
_TOKEN = reply_decoder(_Token)
_DEPOSIT_METHODS = reply_decoder(list[DepositMethod])
_DEPOSIT_ADDRESSES = reply_decoder(list[DepositAddress])
_WITHDRAW_METHODS = reply_decoder(list[WithdrawMethod])
_WITHDRAW_INFO = reply_decoder(WithdrawInfo)
_CANCEL = reply_decoder(CancelCount)
_SWITCH = reply_decoder(DeadMansSwitch)
_NEW_ORDER = reply_decoder(NewOrder)
