"""Reports become orders: only along the table, and only with quantities that add up (I-11, I-13)."""

from __future__ import annotations

from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.model import OrderStatus, OrderType, Side, Source, TimeInForce
from kraken_engine.normalise.account_events import ExecType, ExecutionReport, Fill, OrderUpdate
from kraken_engine.state.orders import LEGAL, Inconsistency, Orders

D = Decimal


def report(exec_type: str, order_id: str | None = "O1", **fields: Any) -> ExecutionReport:
    return ExecutionReport(
        account="main",
        source=Source.WEBSOCKET_V2,
        received_s=1.0,
        venue_time=fields.pop("at", "2026-01-22T06:06:19.833306Z"),
        exec_type=ExecType(exec_type),
        order_id=order_id,
        **fields,
    )


def pending(order_id: str = "O1", *, qty: str = "1.0", **fields: Any) -> ExecutionReport:
    return report(
        "pending_new", order_id, symbol="BTC/USD", side=Side.BUY, order_type=OrderType.LIMIT, order_qty=D(qty),
        limit_price=D("80000.0"), time_in_force=TimeInForce.GTC, status=OrderStatus.PENDING_NEW, **fields,
    )  # fmt: skip


def fill(exec_id: str, qty: str, *, cum: str | None = None, order_id: str = "O1", **fields: Any) -> ExecutionReport:
    return report(
        "trade", order_id, exec_id=exec_id, last_qty=D(qty), last_price=D(100), cost=D(qty) * 100,
        cum_qty=None if cum is None else D(cum), status=OrderStatus.PARTIALLY_FILLED, fees={"USD": D("0.10")}, **fields,
    )  # fmt: skip


def live(*reports: ExecutionReport) -> Orders:
    orders = Orders("main")
    for each in (pending(), report("new", status=OrderStatus.NEW), *reports):
        orders.apply(each)
    return orders


def test_an_order_lives_from_pending_to_filled() -> None:
    orders = live(fill("T1", "0.4", cum="0.4"), fill("T2", "0.6", cum="1.0"))
    order = orders.get("O1")
    assert order is not None
    assert (order.status, order.cum_qty, order.cum_cost) == (OrderStatus.PARTIALLY_FILLED, D(1), D(100))
    assert order.is_open, "a fill never says that an order is complete"
    orders.apply(report("filled", status=OrderStatus.FILLED, cum_qty=D("1.0"), cum_cost=D("100.0")))
    order = orders.get("O1")
    assert order is not None
    assert (order.status, order.is_open, order.remaining_qty) == (OrderStatus.FILLED, False, D(0))
    assert orders.open() == {}
    assert order.fees == {"USD": D("0.20")}


def test_a_report_is_told_with_the_order_after_it_and_a_fill_as_a_fill() -> None:
    orders = live()
    told = orders.apply(fill("T1", "0.4", trade_id=7))
    assert [type(event) for event in told] == [Fill, OrderUpdate]
    first, second = told
    assert isinstance(first, Fill)
    assert isinstance(second, OrderUpdate)
    assert (first.exec_id, first.trade_id, first.qty, first.price, first.cost) == ("T1", 7, D("0.4"), D(100), D(40))
    assert (first.symbol, first.side, first.order_type) == ("BTC/USD", Side.BUY, OrderType.LIMIT)
    assert second.order.cum_qty == D("0.4")
    told = orders.apply(report("amended", limit_price=D("81818.0"), amended=True, cum_qty=D("0.4")))
    assert [type(event) for event in told] == [ExecutionReport, OrderUpdate]


def test_a_fill_counts_once_whatever_is_repeated() -> None:
    orders = live(fill("T1", "0.4", cum="0.4"))
    assert orders.apply(fill("T1", "0.4", cum="0.4")) == ()
    order = orders.get("O1")
    assert order is not None
    assert (order.cum_qty, orders.repeated) == (D("0.4"), 1)


def test_a_quantity_that_does_not_add_up_changes_nothing() -> None:
    orders = live(fill("T1", "0.4", cum="0.4"))
    before = orders.get("O1")
    with pytest.raises(Inconsistency, match=r"O1: cum_qty expected 0\.6, got 0\.9"):
        orders.apply(fill("T3", "0.2", cum="0.9"))
    assert orders.get("O1") == before
    assert not orders.has_fill("T3")
    with pytest.raises(Inconsistency, match=r"O1: 1\.1 filled of 1\.0 ordered"):
        orders.apply(fill("T4", "0.7"))
    with pytest.raises(Inconsistency, match=r"cum_qty expected 0\.4, got 1\.0"):
        orders.apply(report("filled", status=OrderStatus.FILLED, cum_qty=D("1.0")))


def test_absent_means_unchanged() -> None:
    orders = live(report("amended", limit_price=D("81818.0"), amended=True, reason="User requested"))
    order = orders.get("O1")
    assert order is not None
    assert (order.limit_price, order.order_qty, order.order_type) == (D("81818.0"), D("1.0"), OrderType.LIMIT)
    assert (order.amended, order.reason) == (True, "User requested")


def test_a_refill_of_an_iceberg_and_a_restatement_change_what_they_name() -> None:
    orders = live(
        report("iceberg_refill", display_qty=D("0.2"), display_qty_remain=D("0.1")),
        report("restated", order_qty=D("0.9"), reason="venue"),
    )
    order = orders.get("O1")
    assert order is not None
    assert (order.display_qty, order.display_qty_remain, order.order_qty) == (D("0.2"), D("0.1"), D("0.9"))
    assert order.status is OrderStatus.NEW


@pytest.mark.parametrize("exec_type", ["canceled", "expired"])
def test_an_ending_has_evidence(exec_type: str) -> None:
    status = OrderStatus(exec_type)
    orders = live(report(exec_type, status=status, cum_qty=D(0), reason="User requested", at="2026-01-01T00:00:00Z"))
    order = orders.get("O1")
    assert order is not None
    assert order.evidence == f"websocket_v2: {exec_type} (User requested) at 2026-01-01T00:00:00Z"


def test_nothing_moves_an_order_that_has_ended() -> None:
    orders = live(report("canceled", status=OrderStatus.CANCELED))
    ended = orders.get("O1")
    for late in (report("new", status=OrderStatus.NEW), report("filled", status=OrderStatus.FILLED)):
        assert orders.apply(late) == ()
    assert orders.get("O1") == ended
    with pytest.raises(Inconsistency, match="fill T9 of an order that is canceled"):
        orders.apply(fill("T9", "0.1"))


@pytest.mark.parametrize("before", [s for s in OrderStatus if not s.is_terminal])
@pytest.mark.parametrize("after", list(OrderStatus))
def test_only_listed_transitions_occur(before: OrderStatus, after: OrderStatus) -> None:
    orders = Orders("main")
    orders.apply(pending())
    if before is not OrderStatus.PENDING_NEW:
        orders.apply(report("status", status=before))
    if after is before or after in LEGAL[before]:
        orders.apply(report("status", status=after))
        moved = orders.get("O1")
        assert moved is not None
        assert moved.status is after
    else:
        with pytest.raises(Inconsistency, match=f"brings {after} after {before}"):
            orders.apply(report("status", status=after))


@pytest.mark.parametrize("said", [OrderStatus.PENDING_NEW, OrderStatus.NEW])
def test_a_snapshot_moves_no_order_backwards(said: OrderStatus) -> None:
    orders = live(fill("T1", "0.4", cum="0.4"))
    update = orders.refresh(report("new", status=said, cum_qty=D("0.4"), limit_price=D("81000.0")))
    assert update.order.status is OrderStatus.PARTIALLY_FILLED
    assert update.order.limit_price == D("81000.0")


def test_a_client_id_that_an_order_had_before_leads_nowhere() -> None:
    orders = Orders("main")
    orders.apply(pending(cl_ord_id="mine"))
    orders.apply(report("amended", cl_ord_id="other"))
    assert orders.by_client_id("mine") is None
    orders.apply(report("canceled", status=OrderStatus.CANCELED))
    assert orders.by_client_id("mine") is None
    order = orders.by_client_id("other")
    assert order is not None
    assert order.status is OrderStatus.CANCELED


def test_an_order_whose_beginning_is_missing_is_not_guessed() -> None:
    orders = Orders("main")
    for orphan in (report("new"), fill("T1", "0.1"), report("canceled", symbol="BTC/USD", side=Side.BUY)):
        with pytest.raises(Inconsistency, match="that is not known"):
            orders.apply(orphan)
    with pytest.raises(Inconsistency, match="nobody: a report without order_id about no open order"):
        orders.apply(report("new", None, cl_ord_id="nobody"))


def test_a_report_may_name_its_order_by_client_id() -> None:
    orders = Orders("main")
    orders.apply(pending(cl_ord_id="mine"))
    orders.apply(report("new", None, cl_ord_id="mine", status=OrderStatus.NEW))
    order = orders.by_client_id("mine")
    assert order is not None
    assert (order.order_id, order.status) == ("O1", OrderStatus.NEW)
    orders.apply(report("canceled", None, cl_ord_id="mine", status=OrderStatus.CANCELED))
    assert orders.open() == {}
    closed = orders.by_client_id("mine")
    assert closed is not None, "the closed one is still found"
    orders.apply(pending("O2", cl_ord_id="mine"))
    again = orders.by_client_id("mine")
    assert again is not None
    assert again.order_id == "O2", "a client id is unique among open orders only"


def test_an_order_is_external_unless_its_client_id_is_ours() -> None:
    orders = Orders("main", is_own=lambda cl_ord_id: cl_ord_id.startswith("ke-"))
    orders.apply(pending("O1", cl_ord_id="ke-1"))
    orders.apply(pending("O2", cl_ord_id="other"))
    orders.apply(pending("O3"))
    assert [order.external for order in orders.open().values()] == [False, True, True]


def test_what_is_kept_is_bounded() -> None:
    orders = Orders("main", most_closed=2, most_fills=3, most_ended=4)
    for n in range(5):
        orders.apply(pending(f"O{n}"))
        orders.apply(fill(f"T{n}", "0.1", order_id=f"O{n}"))
        orders.apply(report("canceled", f"O{n}", status=OrderStatus.CANCELED))
    assert list(orders.closed()) == ["O3", "O4"]
    assert [orders.has_fill(f"T{n}") for n in range(5)] == [False, False, True, True, True]
    assert [orders.has_ended(f"O{n}") for n in range(5)] == [False, True, True, True, True]


def test_a_context_of_the_application_rounds_nothing() -> None:
    with localcontext() as context:
        context.prec = 2
        orders = live(fill("T1", "0.12345678"), fill("T2", "0.00000001", cum="0.12345679"))
    order = orders.get("O1")
    assert order is not None
    assert order.cum_qty == D("0.12345679")
    assert order.remaining_qty == D("0.87654321")


def test_a_copy_is_another_thing() -> None:
    orders = live()
    other = orders.copy()
    other.apply(fill("T1", "0.4"))
    kept = orders.get("O1")
    assert kept is not None
    assert (kept.cum_qty, orders.has_fill("T1")) == (D(0), False)
    orders.become(other)
    taken = orders.get("O1")
    assert taken is not None
    assert (taken.cum_qty, orders.has_fill("T1")) == (D("0.4"), True)


@given(st.data())
def test_the_cumulative_quantity_is_the_sum_of_the_fills_whatever_is_repeated(data: st.DataObject) -> None:
    tenths = data.draw(st.lists(st.integers(1, 9), max_size=8))
    orders = Orders("main")
    orders.apply(pending(qty=str(D(sum(tenths)) / 10 + 1)))
    fills = [fill(f"T{n}", str(D(qty) / 10)) for n, qty in enumerate(tenths)]
    told: list[str] = []
    done: list[ExecutionReport] = []
    for each in fills:
        done.append(each)
        for again in [each, *data.draw(st.lists(st.sampled_from(done), max_size=3))]:
            told += [event.exec_id for event in orders.apply(again) if isinstance(event, Fill)]
    order = orders.get("O1")
    assert order is not None
    assert order.cum_qty == D(sum(tenths)) / 10
    assert told == [f"T{n}" for n in range(len(tenths))]
