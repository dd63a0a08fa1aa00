"""Every recorded reply of the real REST API decodes, with the digits it was recorded with."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from kraken_engine.codec import rest_private as private
from kraken_engine.codec import rest_public as public
from kraken_engine.codec.rest import Envelope, decode_envelope

RECORDED: dict[str, Callable[[Envelope], object]] = {
    "asset_pairs_2026-07.json": public.decode_asset_pairs,
    "asset_pairs_2026-09_excerpt.json": public.decode_asset_pairs,
    "asset_pairs_xbtusdt_2025-11.json": public.decode_asset_pairs,
    "assets_2026-09_excerpt.json": public.decode_assets,
    "depth_btcusd_2026-07.json": public.decode_depth,
    "depth_xxbtzusd_2023.json": public.decode_depth,
    "ohlc_xbtusdt_2025-11_trimmed.json": public.decode_ohlc,
    "ohlc_xxbtzusd_2023.json": public.decode_ohlc,
    "spreads_old.json": public.decode_spread,
    "system_status_2025-11.json": public.decode_system_status,
    "system_status_doc_2026.json": public.decode_system_status,
    "ticker_xbtusdt_2025-11.json": public.decode_ticker,
    "time_2025-11.json": public.decode_time,
    "trades_xbtusdt_2025-11_trimmed.json": public.decode_trades,
    "trades_xxbtzusd_2023.json": public.decode_trades,
    "private/add_order.json": private.decode_add_order,
    "private/balance.json": private.decode_balance,
    "private/balance_ex.json": private.decode_balance_ex,
    "private/cancel_all_orders_after.json": private.decode_cancel_all_after,
    "private/cancel_order.json": private.decode_cancel,
    "private/deposit_addresses.json": private.decode_deposit_addresses,
    "private/deposit_methods.json": private.decode_deposit_methods,
    "private/open_orders.json": private.decode_open_orders,
    "private/query_orders.json": private.decode_orders,
    "private/trades_history.json": private.decode_trades_history,
    "private/websockets_token.json": private.decode_token,
    "private/withdraw_info.json": private.decode_withdraw_info,
    "private/withdraw_methods.json": private.decode_withdraw_methods,
    "private/withdraw_methods_doc.json": private.decode_withdraw_methods,
}


@pytest.mark.parametrize("name", RECORDED)
def test_every_recorded_reply_decodes(fixtures: Path, name: str) -> None:
    assert RECORDED[name](decode_envelope((fixtures / "rest" / name).read_bytes()))


def test_recorded_digits_are_kept(fixtures: Path) -> None:
    _, book = public.decode_depth(decode_envelope((fixtures / "rest" / "depth_btcusd_2026-07.json").read_bytes()))
    assert str(book.asks[0].price) == "63531.90000"
    orders = private.decode_open_orders(
        decode_envelope((fixtures / "rest" / "private" / "open_orders.json").read_bytes())
    )
    assert str(orders["604X4L-ANXHT-JV0ZQT"].opentm) == "1676384710.121142"
    trades = public.decode_trades(decode_envelope((fixtures / "rest" / "trades_xxbtzusd_2023.json").read_bytes()))
    assert trades.rows[0].time == Decimal("1701019771.0383663")
