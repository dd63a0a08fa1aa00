"""Orders as a REST client meets them: words, rows, holds, fees, history, the dead man's switch."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import attrs
import pytest
from tests.venue.core.accounts.callers import Caller, opened_with
from tests.venue.core.naive_client import WALL_NS, taken

from kraken_engine.venue.core.accounts.settings import TEST_ACCOUNT, AccountSettings
from kraken_engine.venue.core.exchange import Exchange
from kraken_engine.venue.core.ports import Out

MARKET: dict[str, Any] = {"pair": "XBTUSD", "type": "buy", "ordertype": "market", "volume": "0.3"}


@pytest.fixture
def caller() -> Caller:
    return Caller(opened_with(rate=1.0))


def best(caller: Caller) -> tuple[Decimal, Decimal]:
    """Return best bid and ask of BTC/USD."""
    book = caller.exchange.book_state("BTC/USD", 1)
    bids, asks = book["bids"], book["asks"]
    assert isinstance(bids, list)
    assert isinstance(asks, list)
    return Decimal(bids[0][0]), Decimal(asks[0][0])


def add(caller: Caller, side: str, volume: str, price: object | None = None, **more: Any) -> str:
    kind = {"ordertype": "market"} if price is None else {"ordertype": "limit", "price": str(price)}
    result = caller.call("AddOrder", pair="XBTUSD", type=side, volume=volume, **kind, **more)
    (txid,) = result["txid"]
    assert isinstance(txid, str)
    return txid


def test_a_resting_order_is_open_holds_its_cost_and_stands_in_the_book(caller: Caller) -> None:
    bid, _ = best(caller)
    price = bid + Decimal("0.1")
    txid = add(caller, "buy", "0.5", price)
    assert len(txid) == 19
    assert txid[0] == "O"
    row = caller.call("OpenOrders")["open"][txid]
    assert list(row) == [
        *("refid", "userref", "status", "opentm", "starttm", "expiretm", "descr", "vol", "vol_exec", "cost", "fee"),
        *("price", "stopprice", "limitprice", "misc", "oflags"),
    ]
    assert row["descr"] == {
        "pair": "XBTUSD",
        "type": "buy",
        "ordertype": "limit",
        "price": str(price),
        "price2": "0",
        "leverage": "none",
        "order": f"buy 0.50000000 XBTUSD @ limit {price}",
        "close": "",
    }
    assert (row["status"], row["vol"], row["vol_exec"]) == ("open", "0.50000000", "0.00000000")
    held = caller.call("BalanceEx")["ZUSD"]
    assert held == {"balance": "1000000.0000", "hold_trade": f"{price / 2:.4f}"}
    assert best(caller)[0] == price


def test_cancelling_lets_go_of_the_hold_and_leaves_a_closed_row_with_its_reason(caller: Caller) -> None:
    txid = add(caller, "buy", "0.5", "60000")
    assert caller.call("CancelOrder", txid=txid) == {"count": 1}
    assert caller.error("CancelOrder", txid=txid) == "EOrder:Unknown order"
    assert caller.call("OpenOrders") == {"open": {}}
    closed = caller.call("ClosedOrders")
    assert closed["count"] == 1
    row = closed["closed"][txid]
    assert (row["status"], row["reason"]) == ("canceled", "User requested")
    assert caller.call("QueryOrders", txid=txid)[txid] == row
    assert caller.call("BalanceEx")["ZUSD"]["hold_trade"] == "0.0000"


def test_a_market_order_is_filled_at_once_and_booked_twice_per_fill(caller: Caller) -> None:
    txid = add(caller, "buy", "1.0")
    row = caller.call("QueryOrders", txid=txid, trades="true")[txid]
    assert (row["status"], row["vol_exec"]) == ("closed", "1.00000000")
    trades = caller.call("TradesHistory")
    assert trades["count"] == len(row["trades"]) == len(trades["trades"])
    assert sum(Decimal(trade["vol"]) for trade in trades["trades"].values()) == 1
    for trade in trades["trades"].values():
        assert list(trade) == [
            *("ordertxid", "postxid", "pair", "time", "type", "ordertype", "price", "cost", "fee", "vol", "margin"),
            *("leverage", "misc", "ledgers", "trade_id", "maker"),
        ]
        assert (trade["ordertxid"], trade["pair"], trade["maker"]) == (txid, "XXBTZUSD", False)
        exact = Decimal(trade["price"]) * Decimal(trade["vol"])
        assert abs(Decimal(trade["cost"]) - exact) <= Decimal("0.000005")
        assert 0 <= exact * Decimal("0.004") - Decimal(trade["fee"]) < Decimal("0.0001")
    ledger = caller.call("Ledgers", type="trade")
    assert ledger["count"] == 2 * trades["count"]
    entries = ledger["ledger"].values()
    assert sum(Decimal(entry["amount"]) for entry in entries if entry["asset"] == "XXBT") == 1
    spent = sum(Decimal(entry["amount"]) - Decimal(entry["fee"]) for entry in entries if entry["asset"] == "ZUSD")
    assert Decimal(caller.call("Balance")["ZUSD"]) == 1_000_000 + spent
    assert {entry["refid"] for entry in entries} == set(trades["trades"])


def test_a_maker_pays_the_makers_fee_when_the_crowd_takes_his_order() -> None:
    caller = Caller(opened_with(rate=200.0))
    bid, _ = best(caller)
    txid = add(caller, "buy", "0.01", bid + Decimal("0.1"))
    caller.now = 8.0
    row = caller.call("QueryOrders", txid=txid)[txid]
    assert row["status"] == "closed"
    tape = {one["trade_id"]: one for one in caller.exchange.trades("BTC/USD", 1000)}
    trades = caller.call("TradesHistory")["trades"].values()
    assert sum(Decimal(trade["vol"]) for trade in trades) == Decimal("0.01")
    for trade in trades:
        assert trade["maker"] is True
        assert 0 <= Decimal(trade["cost"]) * Decimal("0.0025") - Decimal(trade["fee"]) < Decimal("0.0002")
        assert tape[trade["trade_id"]]["side"] == "sell"


def test_a_post_only_order_that_would_take_is_accepted_and_cancelled(caller: Caller) -> None:
    _, ask = best(caller)
    txid = add(caller, "buy", "0.5", ask, oflags="post")
    row = caller.call("QueryOrders", txid=txid)[txid]
    assert (row["status"], row["reason"], row["oflags"]) == ("canceled", "Post only order", "fciq,post")


@pytest.mark.parametrize(("tif", "status"), [("IOC", "expired"), ("FOK", "expired"), ("GTC", "open")])
def test_what_may_not_rest_expires(caller: Caller, tif: str, status: str) -> None:
    txid = add(caller, "buy", "0.5", "60000", timeinforce=tif)
    assert caller.call("QueryOrders", txid=txid)[txid]["status"] == status


def test_an_order_good_till_a_date_expires_then(caller: Caller) -> None:
    txid = add(caller, "buy", "0.5", "60000", timeinforce="GTD", expiretm="+30")
    caller.now = 29.9
    assert caller.call("QueryOrders", txid=txid)[txid]["status"] == "open"
    caller.now = 30.1
    assert caller.call("QueryOrders", txid=txid)[txid]["status"] == "expired"


def test_what_is_held_or_set_aside_for_fees_is_not_spent_twice() -> None:
    caller = Caller(opened_with(attrs.evolve(TEST_ACCOUNT, funds={"USD": "1004", "BTC": "0.001"}), rate=1.0))
    add(caller, "buy", "0.02", "50000")  # 1000 USD, and 4 for the fee
    least: dict[str, Any] = {"pair": "XBTUSD", "ordertype": "limit", "volume": "0.00005"}
    assert caller.error("AddOrder", type="buy", price="50000", **least) == "EOrder:Insufficient funds"
    add(caller, "sell", "0.001", "90000")
    assert caller.error("AddOrder", type="sell", price="90000", **least) == "EOrder:Insufficient funds"
    (bought,) = (txid for txid, row in caller.call("OpenOrders")["open"].items() if row["descr"]["type"] == "buy")
    assert caller.error("AmendOrder", txid=bought, order_qty="0.0201") == "EOrder:Insufficient funds"
    caller.call("AmendOrder", txid=bought, order_qty="0.0199")
    caller.call("AmendOrder", txid=bought, order_qty="0.02")


def test_the_dead_mans_switch_cancels_everything_unless_it_is_set_anew(caller: Caller) -> None:
    txid = add(caller, "buy", "0.5", "60000")
    first = caller.call("CancelAllOrdersAfter", timeout="60")
    assert first == {"currentTime": "2026-07-07T23:00:03Z", "triggerTime": "2026-07-07T23:01:03Z"}
    caller.now = 40.0
    caller.call("CancelAllOrdersAfter", timeout="60")
    caller.now = 99.0
    assert txid in caller.call("OpenOrders")["open"]
    caller.now = 101.0
    assert caller.call("OpenOrders")["open"] == {}
    assert caller.call("QueryOrders", txid=txid)[txid]["reason"] == "CancelAllOrdersAfter Timeout"
    assert caller.call("CancelAllOrdersAfter", timeout="0")["triggerTime"] == "0"
    assert caller.error("CancelAllOrdersAfter", timeout="86400") == "EGeneral:Invalid arguments:timeout"


def test_cancel_all_counts_what_it_cancelled(caller: Caller) -> None:
    for price in (60000, 60001, 60002):
        add(caller, "buy", "0.01", price)
    assert caller.call("CancelAll") == {"count": 3}
    assert caller.call("CancelAll") == {"count": 0}


def test_orders_can_be_named_by_the_clients_id_or_by_a_reference_number(caller: Caller) -> None:
    add(caller, "buy", "0.01", 60000, cl_ord_id="my-order")
    again = {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "price": "60000", "volume": "0.01"}
    assert caller.error("AddOrder", **again, cl_ord_id="my-order") == (
        "EGeneral:Invalid arguments:cl_ord_id not unique"
    )
    add(caller, "buy", "0.01", 60001, userref="7")
    add(caller, "buy", "0.01", 60002, userref="7")
    assert len(caller.call("OpenOrders", userref="7")["open"]) == 2
    assert len(caller.call("OpenOrders", cl_ord_id="my-order")["open"]) == 1
    assert caller.call("CancelOrder", txid="7") == {"count": 2}
    assert caller.call("CancelOrder", cl_ord_id="my-order") == {"count": 1}
    add(caller, "buy", "0.01", 60000, cl_ord_id="my-order")  # free again: unique among open orders only


def test_an_amendment_keeps_the_id_and_moves_the_hold(caller: Caller) -> None:
    txid = add(caller, "buy", "0.5", "60000")
    assert caller.call("AmendOrder", txid=txid, order_qty="0.25", limit_price="59000.0")["amend_id"][0] == "T"
    row = caller.call("OpenOrders")["open"][txid]
    assert (row["vol"], row["descr"]["price"], row["misc"]) == ("0.25000000", "59000.0", "amended")
    assert caller.call("BalanceEx")["ZUSD"]["hold_trade"] == "14750.0000"
    assert caller.error("AmendOrder", txid="O", order_qty="1") == "EOrder:Unknown order"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"pair": "NOPE"}, "EQuery:Unknown asset pair"),
        ({"ordertype": "stop-loss"}, "EGeneral:Invalid arguments:ordertype"),
        ({"type": "hold"}, "EGeneral:Invalid arguments:type"),
        ({"volume": "0.00001"}, "EGeneral:Invalid arguments:volume minimum not met"),
        ({"volume": "-1"}, "EGeneral:Invalid arguments:volume"),
        ({"volume": "1e3"}, "EGeneral:Invalid arguments:volume"),
        ({"price": "60000.01"}, "EOrder:Tick size check failed"),
        ({"price": "0.1"}, "EOrder:Cost minimum not met"),
        ({"volume": "100"}, "EOrder:Insufficient funds"),
        ({"oflags": "fcib"}, "EGeneral:Invalid arguments:oflags"),
        ({"leverage": "2:1"}, "EGeneral:Invalid arguments:leverage"),
        ({"displayvol": "0.1"}, "EGeneral:Invalid arguments:displayvol"),
        ({"cl_ord_id": "far too long to be one"}, "EGeneral:Invalid arguments:cl_ord_id"),
        ({"cl_ord_id": "a", "userref": "1"}, "EGeneral:Invalid arguments:cl_ord_id"),
        ({"userref": "99999999999"}, "EGeneral:Invalid arguments:userref"),
        ({"timeinforce": "GTD"}, "EGeneral:Invalid arguments:expiretm"),
        ({"deadline": "2026-07-07T23:00:03.5Z"}, "EService:Deadline elapsed"),
        ({"deadline": "2026-07-07T23:09:03.5Z"}, "EGeneral:Invalid arguments:deadline"),
    ],
)
def test_a_bad_order_is_refused_in_the_venues_words_and_changes_nothing(
    caller: Caller, changes: dict[str, str], error: str
) -> None:
    before = caller.call("BalanceEx")
    order = {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "price": "60000", "volume": "0.5"}
    assert caller.error("AddOrder", **order | changes) == error
    assert caller.call("OpenOrders") == {"open": {}}
    assert caller.call("BalanceEx") == before


def test_what_clients_say_by_default_is_understood(caller: Caller) -> None:
    add(caller, "buy", "0.5", "60000", reduce_only="False", leverage="none", starttm="0", stptype="cancel-newest")


def test_a_validated_order_is_checked_and_not_placed(caller: Caller) -> None:
    order = {"pair": "BTC/USD", "type": "buy", "ordertype": "limit", "price": "60000", "volume": "0.5"}
    result = caller.call("AddOrder", validate="true", **order)
    assert result == {"descr": {"order": "buy 0.50000000 XBTUSD @ limit 60000.0"}}
    assert caller.call("OpenOrders") == {"open": {}}


@pytest.mark.parametrize(
    ("mode", "order", "error"),
    [
        ("maintenance", {"oflags": "post"}, "EService:Unavailable"),
        ("cancel_only", {"oflags": "post"}, "EService:Market in cancel_only mode"),
        ("post_only", {}, "EService:Market in post_only mode"),
        ("post_only", {"oflags": "post"}, None),
        ("limit_only", {}, None),
        ("limit_only", {"ordertype": "market"}, "EService:Market in limit_only mode"),
    ],
)
def test_the_state_of_the_venue_says_which_orders_may_come(
    caller: Caller, mode: str, order: dict[str, Any], error: str | None
) -> None:
    resting = add(caller, "buy", "0.5", "60000")
    caller.exchange.faults.set_status(mode, now=0.0)
    fields: dict[str, Any] = {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "price": "60000", "volume": "0.5"}
    fields |= order
    answer = caller.send("AddOrder", **fields)
    assert answer["error"] == ([] if error is None else [error])
    cancelled = caller.send("CancelOrder", txid=resting)
    assert cancelled["error"] == (["EService:Unavailable"] if mode == "maintenance" else [])


def test_the_trading_counter_follows_the_example_of_the_documents(caller: Caller) -> None:
    """Add, amend at 7 s, cancel 36 s later: 1 + 1 + 2 + 4, less what drains."""
    counter = caller.exchange.accounts["main"].counter("BTC/USD")
    wall_ns = caller.exchange.wall_ns()
    txid = add(caller, "buy", "0.5", "60000")
    assert counter.value(wall_ns) == 1
    caller.now = 7.0
    caller.call("AmendOrder", txid=txid, order_qty="0.4")
    assert counter.value(caller.exchange.wall_ns()) == 1 + 2
    caller.now = 43.0
    caller.call("CancelOrder", txid=txid)
    assert counter.value(caller.exchange.wall_ns()) == 4


def test_too_many_cancels_of_young_orders_fill_the_trading_counter(caller: Caller) -> None:
    errors: list[str] = []
    for _ in range(20):
        order: dict[str, Any] = {
            "pair": "XBTUSD",
            "type": "buy",
            "ordertype": "limit",
            "price": "60000",
            "volume": "0.01",
        }
        answer = caller.send("AddOrder", **order)
        errors += answer["error"]
        if not answer["error"]:
            errors += caller.send("CancelOrder", txid=answer["result"]["txid"][0])["error"]
    assert set(errors) == {"EOrder:Rate limit exceeded"}
    other: dict[str, Any] = {"pair": "ETHUSD", "type": "buy", "ordertype": "limit", "price": "2000", "volume": "0.01"}
    assert caller.send("AddOrder", **other)["error"] == []  # each pair has a counter of its own


def test_open_orders_per_pair_are_limited_by_tier() -> None:
    caller = Caller(opened_with(attrs.evolve(TEST_ACCOUNT, tier="starter"), rate=1.0))
    for place in range(60):
        caller.now = 2.0 * place
        add(caller, "buy", "0.01", 50000 + place)
    order = {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "price": "40000", "volume": "0.01"}
    assert caller.error("AddOrder", **order) == "EOrder:Orders limit exceeded"


def test_history_comes_newest_first_in_pages_of_fifty_and_by_time(caller: Caller) -> None:
    account = caller.exchange.accounts["main"]
    for place in range(70):
        account.deposit("USD", 10_000, caller.exchange.wall_ns())
        caller.now = float(place + 1)
        caller.exchange.advance(caller.now)
    first = caller.call("Ledgers", asset="ZUSD", type="deposit")
    second = caller.call("Ledgers", asset="ZUSD", type="deposit", ofs="50")
    assert (first["count"], len(first["ledger"]), len(second["ledger"])) == (71, 50, 21)
    times = [row["time"] for page in (first, second) for row in page["ledger"].values()]
    assert times == sorted(times, reverse=True)
    caller.now += 20.0
    newest = caller.call("Ledgers", start=repr(times[10]))
    assert [row["time"] for row in newest["ledger"].values()] == times[:10]
    by_id = caller.call("Ledgers", start=list(first["ledger"])[10])
    assert by_id == newest
    caller.now += 20.0
    assert caller.call("Ledgers", end=repr(times[10]))["count"] == 71 - 10 + 4 - 1


def test_two_accounts_trade_with_each_other_and_none_with_itself() -> None:
    key = attrs.evolve(TEST_ACCOUNT.keys[0], key="other")
    exchange = opened_with(TEST_ACCOUNT, attrs.evolve(TEST_ACCOUNT, name="other", keys=(key,)), rate=1.0)
    one, other = Caller(exchange), Caller(exchange, key="other")
    bid, ask = best(one)
    price = (bid + ask) / 2 // Decimal("0.1") * Decimal("0.1") if ask - bid > Decimal("0.1") else bid
    maker = add(one, "buy", "0.2", price, oflags="post")
    own = add(one, "sell", "0.2", price)
    row = one.call("QueryOrders", txid=own)[own]
    assert (row["status"], row["reason"], row["vol_exec"]) == ("canceled", "Self trade prevention", "0.00000000")
    add(other, "sell", "5", price, timeinforce="IOC")
    (trade,) = [row for row in one.call("TradesHistory")["trades"].values() if row["ordertxid"] == maker]
    theirs = other.call("TradesHistory")["trades"].values()
    assert [row["maker"] for row in theirs if row["trade_id"] == trade["trade_id"]] == [False]


def test_a_taker_leaves_ten_levels_alone(caller: Caller) -> None:
    txid = add(caller, "sell", "49")
    row = caller.call("QueryOrders", txid=txid)[txid]
    assert (row["status"], row["reason"]) == ("canceled", "Market price protection")
    assert 0 < Decimal(row["vol_exec"]) < 49
    assert len(caller.exchange.listing("BTC/USD").flow.book.bids.keys) == 10
    caller.exchange.advance(30.0)  # and the crowd goes on


def test_the_crowd_touches_orders_of_accounts_by_taking_them_and_not_otherwise() -> None:
    caller = Caller(opened_with(rate=400.0, symbols=1))
    bid, _ = best(caller)
    near, far = add(caller, "buy", "10", bid), add(caller, "buy", "0.001", "20000")
    for second in range(1, 30):
        caller.exchange.advance(float(second))
    account = caller.exchange.accounts["main"]
    orders = {order.id: order for order in (*account.orders.values(), *account.closed)}
    assert orders[far].open
    assert orders[far].cum_qty == 0
    assert orders[near].reason == ""
    assert orders[near].fills


def test_funding_endpoints_tell_what_there_is(caller: Caller) -> None:
    (method,) = caller.call("WithdrawMethods", asset="XBT")
    assert method == {"asset": "XXBT", "method": "Bitcoin", "network": "Bitcoin", "minimum": "0.1000000000"}
    info = caller.call("WithdrawInfo", asset="XBT", key="test", amount="0.725")
    assert info == {
        "method": "Bitcoin",
        "limit": "50.0000000000",
        "amount": "0.7250000000",
        "fee": "0.1000000000",
    }
    assert caller.error("WithdrawInfo", asset="XBT", key="mine", amount="1") == "EFunding:Unknown withdraw key"
    assert caller.error("WithdrawInfo", asset="XBT", key="test", amount="0") == "EFunding:Invalid amount"
    (deposit,) = caller.call("DepositMethods", asset="XBT")
    assert deposit == {"method": "Bitcoin", "limit": False, "gen-address": True, "minimum": "0.1000000000"}
    (address,) = caller.call("DepositAddresses", asset="XBT", method="Bitcoin")
    assert set(address) == {"address", "expiretm"}
    assert caller.error("DepositAddresses", asset="XBT", method="Pigeon") == "EFunding:No funding method"
    assert caller.error("DepositMethods", asset="NOPE") == "EQuery:Unknown asset"


def test_positions_are_none_and_the_trade_balance_adds_everything_up(caller: Caller) -> None:
    assert caller.call("OpenPositions") == {}
    balance = caller.call("TradeBalance")
    assert list(balance) == ["eb", "tb", "m", "uv", "n", "c", "v", "e", "mf"]
    assert Decimal(balance["eb"]) > Decimal(balance["tb"]) > 1_000_000


def test_accounts_that_do_nothing_change_not_one_byte_of_the_market() -> None:
    def run(*accounts: AccountSettings) -> list[Out]:
        exchange = Exchange(5, 3, 200.0, 0.0, WALL_NS, levels=60, accounts=accounts)
        session = exchange.connect("public", 0.0)
        params = {"channel": "book", "symbol": exchange.symbols}
        session.receive(json.dumps({"method": "subscribe", "params": params}).encode(), 0.1)
        exchange.advance(5.0)
        return taken(session)

    assert run() == run(TEST_ACCOUNT) == run(TEST_ACCOUNT, attrs.evolve(TEST_ACCOUNT, name="other", keys=()))


def test_the_same_orders_from_the_same_seed_give_the_same_answers() -> None:
    def run() -> list[Any]:
        caller = Caller(opened_with(rate=100.0))
        answers: list[Any] = []
        for place in range(12):
            caller.now = float(place)
            answers.append(caller.send("AddOrder", **MARKET))
            answers.append(caller.send("TradesHistory"))
            answers.append(caller.exchange.private.truth.summary("main", caller.exchange.wall_ns()))
        return answers

    assert run() == run()
