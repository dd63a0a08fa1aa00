"""Balances: what the venue says is the truth, what orders hold is computed, and both are compared with its own word."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.model import Instrument, Integrity, OrderStatus, OrderType, Side, Source, TimeInForce
from kraken_engine.normalise.account import BalanceReport
from kraken_engine.normalise.account_events import LedgerEntry, Order
from kraken_engine.state.balances import Balances, Difference, holds

D = Decimal


def row(asset: str, total: str, **fields: Any) -> BalanceReport:
    fields.setdefault("earn", D(0))
    return BalanceReport(asset=asset, total=D(total), **fields)


def moved(asset: str, total: str, amount: str, *, fee: str = "0", in_earn: bool = False) -> BalanceReport:
    change = LedgerEntry(
        ledger_id="L1", ref_id="T1", type="trade", subtype=None, category="trade", amount=D(amount), fee=D(fee)
    )
    return BalanceReport(
        asset=asset, total=D(total), earn=None, change=change, in_earn=in_earn, venue_time="2026-01-01T00:00:00Z"
    )


def order(side: Side, qty: str, price: str | None, *, cum: str = "0", **fields: Any) -> Order:
    fields.setdefault("status", OrderStatus.NEW)
    return Order(
        order_id="O1", cl_ord_id=None, userref=None, symbol=fields.pop("symbol", "BTC/USD"), side=side,
        order_type=OrderType.LIMIT, time_in_force=TimeInForce.GTC, order_qty=D(qty), cum_qty=D(cum),
        limit_price=None if price is None else D(price), **fields,
    )  # fmt: skip


def opened(*rows: BalanceReport) -> Balances:
    balances = Balances("main")
    balances.snapshot(rows, source=Source.WEBSOCKET_V2, received_s=1.0)
    return balances


def test_a_snapshot_is_all_there_is() -> None:
    balances = opened(row("USD", "100.00"), row("BTC", "1.0"))
    told = balances.snapshot([row("USD", "90.00")], source=Source.WEBSOCKET_V2, received_s=2.0)
    assert {update.asset: update.total for update in told} == {"USD": D("90.00"), "BTC": 0}, "what is gone is told"
    assert {asset: update.total for asset, update in balances.all().items()} == {"USD": D("90.00"), "BTC": 0}


def test_the_balance_of_a_transaction_is_the_truth_and_its_amount_is_information() -> None:
    balances = opened(row("USD", "100.00"))
    told = balances.apply(moved("USD", "79.95", "-20.00", fee="0.05"), received_s=2.0)
    assert (told.total, told.free, told.received_s) == (D("79.95"), D("79.95"), 2.0)
    assert told.change is not None
    assert (told.change.amount, told.change.fee) == (D("-20.00"), D("0.05"))
    told = balances.apply(moved("USD", "500.00", "1.00"), received_s=3.0)
    assert told.total == D("500.00")


def test_what_earns_is_not_free_and_moves_with_its_own_transactions() -> None:
    balances = opened(row("ETH", "5.0", earn=D("2.0")))
    assert balances.get("ETH").free == D("3.0")  # type: ignore[union-attr]
    told = balances.apply(moved("ETH", "5.0", "1.0", in_earn=True), received_s=2.0)
    assert (told.earn, told.free) == (D("3.0"), D("2.0"))


def test_where_a_balance_comes_from_says_how_far_to_trust_it() -> None:
    balances = opened(row("USD", "1"))
    assert balances.get("USD").integrity is Integrity.VERIFIED  # type: ignore[union-attr]
    balances.snapshot([row("USD", "1", used=D("0.5"))], source=Source.REST, received_s=2.0)
    usd = balances.get("USD")
    assert usd is not None
    assert (usd.source, usd.integrity, usd.used, usd.free) == (Source.REST, Integrity.UNVERIFIED, D("0.5"), D("0.5"))


def test_orders_hold_the_base_they_sell_and_the_quote_they_buy_with() -> None:
    held = holds(
        [
            order(Side.SELL, "2.0", "100", cum="0.5"),
            order(Side.BUY, "1.0", "90.5", cum="0.2"),
            order(Side.BUY, "3.0", "10", symbol="ETH/USD"),
        ],
        {},
    )
    assert held == {"BTC": D("1.5"), "USD": D("102.40")}


def test_orders_on_margin_closed_ones_and_purchases_at_any_price_hold_nothing() -> None:
    assert holds(
        [
            order(Side.SELL, "2.0", "100", margin=True),
            order(Side.SELL, "2.0", "100", status=OrderStatus.CANCELED),
            order(Side.BUY, "2.0", None),
        ],
        {},
    ) == {}  # fmt: skip


def test_the_instrument_says_what_base_and_quote_are() -> None:
    instrument = Instrument(
        symbol="BTC/USD", base="XBT", quote="ZUSD", status="online", price_decimals=1, qty_decimals=8,
        price_increment=D("0.1"), qty_increment=D("0.1"), qty_min=D("0.1"), cost_min=D("0.1"),
    )  # fmt: skip
    assert holds([order(Side.SELL, "2", "1")], {"BTC/USD": instrument}) == {"XBT": 2}


def test_only_assets_whose_hold_changed_are_told() -> None:
    balances = opened(row("USD", "100"), row("BTC", "1"))
    (told,) = balances.hold({"USD": D(40)})
    assert (told.asset, told.used, told.free) == ("USD", D(40), D(60))
    assert balances.hold({"USD": D(40)}) == ()
    (released,) = balances.hold({})
    assert (released.asset, released.used) == ("USD", D(0))


def test_a_hold_survives_the_next_snapshot_of_totals() -> None:
    balances = opened(row("USD", "100"))
    balances.hold({"USD": D(40)})
    balances.snapshot([row("USD", "90")], source=Source.WEBSOCKET_V2, received_s=2.0)
    usd = balances.get("USD")
    assert usd is not None
    assert (usd.total, usd.used, usd.free) == (D(90), D(40), D(50))


def test_the_comparison_names_every_difference() -> None:
    balances = opened(row("USD", "100"), row("BTC", "1"), row("ETH", "0"))
    balances.hold({"USD": D(40)})
    agreed = balances.compare({"USD": (D("100.0"), D("40.00")), "BTC": (D(1), None)}, now=5.0)
    assert (agreed.consistent, agreed.compared, agreed.at_s) == (True, 3, 5.0)
    differs = balances.compare({"USD": (D(99), D(41)), "XRP": (D(7), D(0)), "BTC": (D(1), D(0))}, now=5.0)
    assert differs.differences == (
        Difference(asset="USD", what="total", ours=D(100), theirs=D(99)),
        Difference(asset="USD", what="used", ours=D(40), theirs=D(41)),
        Difference(asset="XRP", what="total", ours=D(0), theirs=D(7)),
    )


@given(st.lists(st.tuples(st.sampled_from("ABC"), st.integers(-50, 50)), max_size=30))
def test_the_parts_of_a_balance_are_the_whole(moves: list[tuple[str, int]]) -> None:
    balances = opened(row("A", "100"), row("B", "100", earn=D(10)))
    total = {"A": 100, "B": 100, "C": 0}
    for asset, amount in moves:
        total[asset] += amount
        told = balances.apply(moved(asset, str(total[asset]), str(amount), in_earn=amount % 2 == 0), received_s=1.0)
        balances.hold({asset: D(abs(amount))})
        shown = balances.get(asset)
        assert shown is not None
        assert told.total == shown.total == shown.free + shown.used + shown.earn == total[asset]
