"""REST answers about an account carry our names, and none is ever left out silently."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from tests.normalise.test_symbols import SYMBOLS

from kraken_engine.codec import rest_private as codec
from kraken_engine.codec.rest import Envelope, decode_envelope
from kraken_engine.errors import DecodeError
from kraken_engine.model import Integrity, Side, Source
from kraken_engine.normalise import rest_account as normalise


def _reply(result: Any) -> Envelope:
    return decode_envelope(msgspec.json.encode({"error": [], "result": result}))


ORDER: dict[str, Any] = {
    "status": "open", "opentm": 1676384710.121142, "vol": "1.5", "vol_exec": "0.5",
    "descr": {"pair": "XBTUSD", "type": "sell", "ordertype": "limit", "price": "100.0", "order": "sell ..."},
}  # fmt: skip


def test_totals_are_by_our_code() -> None:
    totals = normalise.asset_totals(codec.decode_balance(_reply({"XXBT": "1.0", "ZUSD": "2", "XBT.M": "3"})), SYMBOLS)
    assert totals == {"BTC": Decimal(1), "USD": Decimal(2), "BTC.M": Decimal(3)}


def test_what_is_available_counts_credit_and_holds() -> None:
    rows = codec.decode_balance_ex(
        _reply({"ZUSD": {"balance": "100.0", "hold_trade": "30.0", "credit": "20.0", "credit_used": "5.0"},
                "XXBT": {"balance": "1.0", "hold_trade": "0.0"}})
    )  # fmt: skip
    balances = normalise.asset_balances(rows, SYMBOLS, received_s=3.0)
    assert balances["USD"].available == Decimal("85.0")
    assert balances["BTC"].available == Decimal(1)
    assert (balances["BTC"].source, balances["BTC"].integrity) == (Source.REST, Integrity.UNVERIFIED)


def test_orders_fills_and_positions_carry_symbol_and_side() -> None:
    orders = normalise.rest_orders(codec.decode_open_orders(_reply({"open": {"O1": ORDER}})), SYMBOLS, received_s=0.0)
    assert (orders["O1"].symbol, orders["O1"].side, orders["O1"].row.vol) == ("BTC/USD", Side.SELL, Decimal("1.5"))
    fill = {
        "ordertxid": "O1", "pair": "XXBTZUSD", "time": 1.5, "type": "buy", "ordertype": "limit", "price": "1",
        "cost": "1", "fee": "0.1", "vol": "1",
    }  # fmt: skip
    page = codec.decode_trades_history(_reply({"trades": {"T1": fill}, "count": 1}))
    fills = normalise.rest_fills(page.trades, SYMBOLS, received_s=0.0)
    assert (fills["T1"].symbol, fills["T1"].side) == ("BTC/USD", Side.BUY)
    position = fill | {"vol_closed": "0", "margin": "1"}
    positions = normalise.rest_positions(codec.decode_positions(_reply({"P1": position})), SYMBOLS, received_s=0.0)
    assert (positions["P1"].symbol, positions["P1"].side) == ("BTC/USD", Side.BUY)


@pytest.mark.parametrize(("field", "value"), [("pair", "WHAT USD"), ("pair", ""), ("type", "hold")])
def test_an_order_that_cannot_be_named_fails_the_whole_answer(field: str, value: str) -> None:
    order = ORDER | {"descr": ORDER["descr"] | {field: value}}
    with pytest.raises(DecodeError, match="O2"):
        normalise.rest_orders(codec.decode_orders(_reply({"O1": ORDER, "O2": order})), SYMBOLS, received_s=0.0)
