"""A fill as the bytes that are kept of it, and back, with every digit."""

from __future__ import annotations

from decimal import Decimal
from types import MappingProxyType

import msgspec

from kraken_engine.errors import StoreCorrupt
from kraken_engine.model import Integrity, Liquidity, OrderType, Side, Source
from kraken_engine.normalise.account_events import Fill

__all__ = ["decode_fill", "encode_fill"]


class _Body(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    account: str
    source: str
    exec_id: str
    order_id: str
    symbol: str
    side: str
    qty: str
    price: str
    cost: str
    fees: dict[str, str]
    order_type: str
    external: bool
    venue_time: str | None = None
    trade_id: int | None = None
    cl_ord_id: str | None = None
    liquidity: str | None = None
    replayed: bool = False
    margin: bool = False
    position_status: str | None = None
    integrity: str = Integrity.VERIFIED.value


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(_Body)


def encode_fill(fill: Fill) -> bytes:
    """Return ``fill`` as JSON; only when it was received, by a clock that means nothing later, is left out."""
    return _ENCODER.encode(
        _Body(
            account=fill.account,
            source=fill.source.value,
            exec_id=fill.exec_id,
            order_id=fill.order_id,
            symbol=fill.symbol,
            side=fill.side.value,
            qty=format(fill.qty, "f"),
            price=format(fill.price, "f"),
            cost=format(fill.cost, "f"),
            fees={asset: format(fee, "f") for asset, fee in fill.fees.items()},
            order_type=fill.order_type.value,
            external=fill.external,
            venue_time=fill.venue_time,
            trade_id=fill.trade_id,
            cl_ord_id=fill.cl_ord_id,
            liquidity=None if fill.liquidity is None else fill.liquidity.value,
            replayed=fill.replayed,
            margin=fill.margin,
            position_status=fill.position_status,
            integrity=fill.integrity.value,
        )
    )


def decode_fill(body: bytes, *, received_s: float) -> Fill:
    """Return the fill in ``body``; ``received_s`` is when it was read back.

    Raises:
        StoreCorrupt: it is none.
    """
    try:
        kept = _DECODER.decode(body)
        return Fill(
            account=kept.account,
            source=Source(kept.source),
            received_s=received_s,
            venue_time=kept.venue_time,
            integrity=Integrity(kept.integrity),
            exec_id=kept.exec_id,
            trade_id=kept.trade_id,
            order_id=kept.order_id,
            cl_ord_id=kept.cl_ord_id,
            symbol=kept.symbol,
            side=Side(kept.side),
            qty=Decimal(kept.qty),
            price=Decimal(kept.price),
            cost=Decimal(kept.cost),
            fees=MappingProxyType({asset: Decimal(fee) for asset, fee in kept.fees.items()}),
            liquidity=None if kept.liquidity is None else Liquidity(kept.liquidity),
            order_type=OrderType(kept.order_type),
            external=kept.external,
            replayed=kept.replayed,
            margin=kept.margin,
            position_status=kept.position_status,
        )
    except (msgspec.MsgspecError, ValueError, ArithmeticError) as error:
        raise StoreCorrupt(f"a fill that was kept: {error}") from None
