"""WebSocket v2: the two channels of an account, field for field.

``executions`` tells of orders and fills, ``balances`` of money. Both are numbered from 1 per subscription, so that a
loss shows on the next message. Nearly every field of an execution report is optional: a report carries the identity
of its order and what changed, and absent means unchanged.

:class:`PrivateDecoder` decides whether a frame is one of these, or one of those all lines have in common
(:mod:`~kraken_engine.codec.ws_v2_frames`: refusals of private channels, status, heartbeats), and gives its values as
they were written. Number fields hold tokens, see :mod:`~kraken_engine.codec.numbers`.

Knows nothing of what a report means for an order. Sources: docs "Executions", "Balances"; recordings of 2023 to 2026.
"""

from __future__ import annotations

import msgspec

from kraken_engine.codec.caps import MAX_FRAME_BYTES, check_caps
from kraken_engine.codec.ws_v2_frames import (
    Ack,
    Count,
    FrameDecoder,
    HeartbeatMessage,
    Int64,
    Kind,
    Pong,
    StatusMessage,
    Token,
    UnknownMessage,
    strictly,
)

__all__ = [
    "BalanceData",
    "BalanceRow",
    "BalancesMessage",
    "ConditionalData",
    "ExecutionData",
    "ExecutionsMessage",
    "FeeData",
    "PrivateDecoder",
    "PrivateMessage",
    "TriggerData",
    "WalletData",
    "decode_balance_rows",
]


class FeeData(msgspec.Struct, frozen=True, gc=False):
    """A fee of one fill, in one asset."""

    asset: str
    qty: Token


class TriggerData(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What has to happen before the order acts."""

    reference: str | None = None
    """``index`` or ``last``."""
    price: Token = None
    price_type: str | None = None
    """``static``, ``pct`` or ``quote``."""
    actual_price: Token = None
    peak_price: Token = None
    last_price: Token = None
    status: str | None = None
    """``triggered`` or ``untriggered``."""
    timestamp: str | None = None


class ConditionalData(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The order that each fill of this one makes."""

    order_type: str | None = None
    trigger_price: Token = None
    trigger_price_type: str | None = None
    limit_price: Token = None
    limit_price_type: str | None = None


class ExecutionData(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One execution report; what is None is unchanged, or not known to the venue."""

    exec_type: str
    order_id: str | None = None
    cl_ord_id: str | None = None
    order_userref: Int64 | None = None
    exec_id: str | None = None
    """Of a fill; each changes a quantity at most once."""
    trade_id: Count | None = None
    symbol: str | None = None
    side: str | None = None
    order_type: str | None = None
    order_status: str | None = None
    """A fill says ``partially_filled`` even when it completes the order; ``filled`` has a report of its own."""
    time_in_force: str | None = None
    order_qty: Token = None
    cash_order_qty: Token = None
    limit_price: Token = None
    limit_price_type: str | None = None
    stop_price: Token = None
    """Deprecated: ``triggers.price``."""
    display_qty: Token = None
    display_qty_remain: Token = None
    last_qty: Token = None
    last_price: Token = None
    cost: Token = None
    """Of this fill, in the quote asset."""
    liquidity_ind: str | None = None
    """``m`` maker, ``t`` taker."""
    fees: list[FeeData] | None = None
    cum_qty: Token = None
    cum_cost: Token = None
    avg_price: Token = None
    fee_usd_equiv: Token = None
    fee_ccy_pref: str | None = None
    """``fcib`` base, ``fciq`` quote."""
    triggers: TriggerData | None = None
    contingent: ConditionalData | None = None
    reason: str | None = None
    cancel_reason: str | None = None
    """Deprecated copy of ``reason``."""
    amended: bool | None = None
    post_only: bool | None = None
    reduce_only: bool | None = None
    margin: bool | None = None
    margin_borrow: bool | None = None
    liquidated: bool | None = None
    no_mpp: bool | None = None
    position_status: str | None = None
    """``opened``, ``closing``, ``closed``."""
    ord_ref_id: str | None = None
    ext_ord_id: str | None = None
    ext_exec_id: str | None = None
    sender_sub_id: str | None = None
    user: str | None = None
    effective_time: str | None = None
    expire_time: str | None = None
    timestamp: str | None = None


class ExecutionsMessage(msgspec.Struct, frozen=True, gc=False, tag_field="channel", tag="executions"):
    """Snapshot (open orders, and the last fills where asked for) or reports, numbered per subscription."""

    type: Kind
    data: list[ExecutionData]
    sequence: Count


class WalletData(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A part of a balance."""

    type: str
    """``spot`` or ``earn``."""
    id: str
    balance: Token


class BalanceData(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """In a snapshot an asset and its wallets; in an update one transaction of the ledger, and the balance after it."""

    asset: str
    balance: Token
    """Total over all wallets; holds for open orders are in it."""
    asset_class: str | None = None
    wallets: list[WalletData] = []
    ledger_id: str | None = None
    ref_id: str | None = None
    """Of a trade: both of its transactions refer to it."""
    type: str | None = None
    subtype: str | None = None
    category: str | None = None
    wallet_type: str | None = None
    wallet_id: str | None = None
    amount: Token = None
    fee: Token = None
    user: str | None = None
    timestamp: str | None = None


class BalancesMessage(msgspec.Struct, frozen=True, gc=False, tag_field="channel", tag="balances"):
    """Snapshot of all balances, or transactions, numbered per subscription."""

    type: Kind
    data: list[BalanceData]
    sequence: Count


class BalanceRow(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One row of ``asset, balance, hold_trade``; its numbers are tokens of the digits in the text."""

    asset: str
    balance: Token
    hold_trade: Token = 0


def decode_balance_rows(document: bytes) -> list[BalanceRow]:
    """Return the rows of ``[{"asset": "MANA", "balance": "163.94", "hold_trade": "0"}]``, numbers in quotes or not.

    Raises:
        DecodeError: it is no such list.
    """
    check_caps(document)
    return [
        BalanceRow(asset=row.asset, balance=_unquoted(row.balance), hold_trade=_unquoted(row.hold_trade))
        for row in strictly(_ROWS, document)
    ]


def _unquoted(token: object) -> object:
    return token.encode() if isinstance(token, str) else token


_ROWS = msgspec.json.Decoder(list[BalanceRow], float_hook=str.encode)

PrivateData = ExecutionsMessage | BalancesMessage | StatusMessage | HeartbeatMessage
PrivateMessage = PrivateData | Ack | Pong | UnknownMessage


class PrivateDecoder(FrameDecoder[PrivateData]):
    """Decodes the frames of a private line; arguments as for :class:`FrameDecoder`."""

    def __init__(self, *, sample_every: int = 16, max_bytes: int = MAX_FRAME_BYTES) -> None:
        super().__init__(PrivateData, sample_every=sample_every, max_bytes=max_bytes)
