"""What REST recorded of orders and fills becomes the reports that the private line brings."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from kraken_engine.codec import rest_private as codec
from kraken_engine.codec.rest import Number, decode_envelope
from kraken_engine.errors import DecodeError
from kraken_engine.model import Liquidity, OrderStatus, OrderType, Side, Source
from kraken_engine.normalise.account_events import ExecType, ExecutionReport
from kraken_engine.normalise.rest_account import RestFill, RestOrder
from kraken_engine.normalise.rest_reports import fill_report, order_report, unix_seconds, venue_time


def orders(fixtures: Path, name: str) -> dict[str, ExecutionReport]:
    envelope = decode_envelope((fixtures / "rest" / "private" / name).read_bytes())
    rows = codec.decode_open_orders(envelope) if name == "open_orders.json" else codec.decode_orders(envelope)
    return {
        order_id: order_report(
            RestOrder(order_id=order_id, symbol="LUNA/USD", side=Side(row.descr.type), row=row, received_s=7.0),
            account="main",
        )
        for order_id, row in rows.items()
    }


def fills(fixtures: Path) -> dict[str, ExecutionReport]:
    page = codec.decode_trades_history(
        decode_envelope((fixtures / "rest" / "private" / "trades_history.json").read_bytes())
    )
    return {
        exec_id: fill_report(
            RestFill(exec_id=exec_id, symbol="ATOM/USD", side=Side(row.type), row=row, received_s=7.0), account="main"
        )
        for exec_id, row in page.trades.items()
    }


def test_a_recorded_cancelled_order_says_how_it_ended(fixtures: Path) -> None:
    (report,) = orders(fixtures, "query_orders.json").values()
    assert (report.exec_type, report.status) == (ExecType.CANCELED, OrderStatus.CANCELED)
    assert (report.order_type, report.order_qty, report.cum_qty) == (OrderType.LIMIT, Decimal(20), Decimal(0))
    assert (report.limit_price, report.reason) == (Decimal("0.9000"), "Order replaced")
    assert report.opened_time == "2023-11-12T12:37:21.584501Z"
    assert report.venue_time == "2023-11-12T12:37:21.705669Z"
    assert (report.source, report.fee_in, report.userref) == (Source.REST, "quote", None)


def test_every_recorded_open_order_is_a_full_report(fixtures: Path) -> None:
    found = orders(fixtures, "open_orders.json")
    assert found
    for report in found.values():
        assert (report.exec_type, report.status) == (ExecType.STATUS, OrderStatus.NEW)
        assert report.order_qty is not None
        assert report.limit_price is not None


def test_every_recorded_fill_keeps_its_digits(fixtures: Path) -> None:
    found = fills(fixtures)
    assert found
    first = found["DH9ICY-FXRTM-GESBKK"]
    assert (str(first.last_qty), str(first.last_price), str(first.cost)) == ("4.00000000", "8.250000", "44.250000")
    assert (first.order_id, first.trade_id, first.liquidity) == ("R0X871-F5PY6-A5707B", 6179175, Liquidity.MAKER)
    assert {asset: str(fee) for asset, fee in first.fees.items()} == {"USD": "0.079000"}
    assert first.venue_time == "2023-11-17T16:12:12.169032Z"
    assert all(report.exec_type is ExecType.TRADE for report in found.values())


def test_times_go_both_ways() -> None:
    assert venue_time(Decimal("1676384710.121142")) == "2023-02-14T14:25:10.121142Z"
    assert venue_time(Decimal(0)) == "1970-01-01T00:00:00.000000Z"
    assert unix_seconds("2023-02-14T14:25:10.999999Z") == 1676384710
    for wrong in ("", "yesterday", "2023-02-30T00:00:00Z"):
        with pytest.raises(DecodeError):
            unix_seconds(wrong)
    for beyond in (Decimal(-1), Decimal("1e20")):
        with pytest.raises(DecodeError):
            venue_time(beyond)


def test_an_order_in_a_state_nobody_knows_is_refused() -> None:
    row = codec.OrderRow(
        status="dreaming", descr=codec.OrderDescription(), vol=Number(1), vol_exec=Number(0), opentm=Number(1)
    )
    with pytest.raises(DecodeError, match=r"\$\.result\.O1\.status: expected pending or open"):
        order_report(RestOrder(order_id="O1", symbol="A/B", side=Side.BUY, row=row, received_s=0.0), account="main")


def test_a_stop_order_s_limit_is_its_second_price_and_one_by_cost_has_no_quantity() -> None:
    row = codec.OrderRow(
        status="open",
        descr=codec.OrderDescription(ordertype="stop-loss-limit", price="100", price2="99.5"),
        vol=Number(1),
        vol_exec=Number("0.5"),
        opentm=Number(1),
        oflags="fciq,viqc",
    )
    report = order_report(
        RestOrder(order_id="O1", symbol="A/B", side=Side.BUY, row=row, received_s=0.0), account="main"
    )
    assert (report.limit_price, report.order_qty, report.cash_order_qty) == (Decimal("99.5"), None, Decimal(1))
    assert report.status is OrderStatus.PARTIALLY_FILLED
