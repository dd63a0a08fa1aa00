"""The account core against a tiny model: money is conserved, holds fit into balances, every fill counts once.

The model keeps exact fractions and knows nothing of rounding: it says how much may be off by it.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import attrs
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.venue.core.accounts.callers import opened_with
from tests.venue.core.naive_client import WALL_NS

from kraken_engine.venue.core.accounts.access import Denied
from kraken_engine.venue.core.accounts.ledger import LedgerEntry
from kraken_engine.venue.core.accounts.orders import AccountFill, AccountOrder, OrderRequest, OrderStatus
from kraken_engine.venue.core.accounts.settings import TEST_ACCOUNT
from kraken_engine.venue.core.exchange import Exchange
from kraken_engine.venue.core.matching import BID

SYMBOLS = 3
RICH = attrs.evolve(
    TEST_ACCOUNT, name="rich", tier="pro", funds={"USD": "3000000", "BTC": "2", "ETH": "40", "SOL": "9"}
)
POOR = attrs.evolve(TEST_ACCOUNT, name="poor", keys=(), funds={"USD": "900.0001", "BTC": "0.0099"})


@attrs.define
class Heard:
    """A watcher that keeps what it heard."""

    reports: list[tuple[str, AccountOrder, str]] = attrs.field(factory=list[Any])
    entries: list[tuple[str, LedgerEntry]] = attrs.field(factory=list[Any])
    fills: list[AccountFill] = attrs.field(factory=list[AccountFill])

    def reported(self, account: Any, order: AccountOrder, exec_type: str, fill: AccountFill | None) -> None:
        self.reports.append((account.name, order, exec_type))
        if fill is not None:
            self.fills.append(fill)

    def booked(self, account: Any, entry: LedgerEntry) -> None:
        self.entries.append((account.name, entry))


class Trading(RuleBasedStateMachine):
    """Two accounts, one of them nearly without money, trade with the crowd and with each other."""

    def __init__(self) -> None:
        super().__init__()
        self.exchange: Exchange = opened_with(RICH, POOR, symbols=SYMBOLS, rate=50.0)
        self.now = 0.0
        self.heard = Heard()
        for account in self.exchange.accounts.values():
            account.watcher = self.heard
            for entry in account.ledger.entries:
                self.heard.entries.append((account.name, entry))

    @property
    def wall_ns(self) -> int:
        return WALL_NS + self.exchange.elapsed_ns(self.now)

    def open_orders(self) -> list[AccountOrder]:
        return [order for account in self.exchange.accounts.values() for order in account.orders.values()]

    @rule(seconds=st.floats(0.01, 3.0))
    def let_the_crowd_trade(self, seconds: float) -> None:
        self.now += seconds
        self.exchange.advance(self.now)

    @rule(data=st.data())
    def place(self, data: st.DataObject) -> None:
        account = self.exchange.accounts[data.draw(st.sampled_from(["rich", "poor"]))]
        listing = self.exchange.listing(data.draw(st.sampled_from(self.exchange.symbols)))
        side = data.draw(st.sampled_from([0, 1]))
        kind = data.draw(st.sampled_from(["limit", "limit", "limit", "market"]))
        near = listing.flow.book.best(side)
        assert near is not None
        away = data.draw(st.integers(-300, 300))
        pair = listing.pair
        code = pair.quote.code if side == BID else pair.base.code
        ledger = account.ledger
        units = ledger.balance(code) if data.draw(st.booleans()) else ledger.available(code)
        owned = Fraction(units, 10 ** ledger.asset(code).decimals)
        lots = owned * 10**pair.qty_decimals
        if side == BID:
            lots = lots * 10**pair.price_decimals / (near + away)
        # About as much as is owned, fees in or out, or some part of it.
        share = data.draw(st.sampled_from([Fraction(1), Fraction(1000, 1003), Fraction(1000, 1004), Fraction(1, 3)]))
        post_only = kind == "limit" and data.draw(st.booleans())
        request = OrderRequest(
            pair=listing.pair,
            side=side,
            kind=kind,
            qty=max(1, int(lots * share) + data.draw(st.integers(-2, 2))),
            price=max(1, near + away) if kind == "limit" else None,
            post_only=post_only,
            time_in_force="GTC" if post_only or kind == "market" else data.draw(st.sampled_from(["GTC", "IOC", "FOK"])),
        )
        before = len(self.heard.reports), len(self.heard.entries)
        try:
            order = self.exchange.private.desk.place(account, request, self.wall_ns)
        except Denied:
            assert (len(self.heard.reports), len(self.heard.entries)) == before
            return
        kinds = [kind for _, reported, kind in self.heard.reports if reported is order]
        assert kinds[:2] == ["pending_new", "new"]
        if request.kind == "market" or request.time_in_force != "GTC":
            assert not order.open
        if request.time_in_force == "FOK":
            assert order.cum_qty in (0, order.qty)
        if post_only:
            assert not order.fills

    @precondition(lambda self: self.open_orders())
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        order = data.draw(st.sampled_from(self.open_orders()))
        account = self.exchange.accounts[order.account]
        try:
            self.exchange.private.desk.cancel(account, order, self.wall_ns)
        except Denied:
            assert order.open
        else:
            assert (order.status, order.reason) == (OrderStatus.CANCELED, "User requested")

    @precondition(lambda self: self.open_orders())
    @rule(data=st.data())
    def amend(self, data: st.DataObject) -> None:
        order = data.draw(st.sampled_from(self.open_orders()))
        account = self.exchange.accounts[order.account]
        assert order.price is not None
        before = order.qty, order.price, order.hold, order.reserve
        try:
            self.exchange.private.desk.amend(
                account,
                order,
                self.wall_ns,
                qty=data.draw(st.none() | st.integers(1, 2 * order.qty)),
                price=data.draw(st.none() | st.integers(max(1, order.price - 200), order.price + 200)),
            )
        except Denied:
            assert (order.qty, order.price, order.hold, order.reserve) == before

    @precondition(lambda self: self.open_orders())
    @rule(data=st.data())
    def fill_out_of_turn(self, data: st.DataObject) -> None:
        order = data.draw(st.sampled_from(self.open_orders()))
        qty = order.left if data.draw(st.booleans()) else data.draw(st.integers(1, order.left))
        filled = order.cum_qty
        self.exchange.private.desk.fill(order, qty, self.wall_ns)
        assert order.cum_qty == filled + qty

    @rule(name=st.sampled_from(["rich", "poor"]))
    def cancel_all(self, name: str) -> None:
        account = self.exchange.accounts[name]
        self.exchange.private.desk.cancel_all(account, self.wall_ns)
        assert not account.orders

    @invariant()
    def a_balance_is_the_sum_of_its_ledger(self) -> None:
        sums: dict[tuple[str, str], int] = {}
        for name, entry in self.heard.entries:
            place = name, entry.asset.code
            sums[place] = sums.get(place, 0) + entry.amount - entry.fee
            assert entry.fee >= 0
        for (name, code), total in sums.items():
            assert self.exchange.accounts[name].ledger.balance(code) == total

    @invariant()
    def holds_fit_into_balances_and_belong_to_open_orders(self) -> None:
        for account in self.exchange.accounts.values():
            held: dict[str, int] = {}
            for order in account.orders.values():
                code = order.pair.quote.code if order.buys else order.pair.base.code
                held[code] = held.get(code, 0) + order.hold
                assert order.hold > 0
            for asset in account.ledger.assets:
                assert account.ledger.hold(asset.code) == held.get(asset.code, 0)
                assert account.ledger.available(asset.code) >= 0
                assert account.ledger.balance(asset.code) >= account.ledger.hold(asset.code) >= 0

    @invariant()
    def every_fill_counts_once(self) -> None:
        ids = [fill.exec_id for fill in self.heard.fills]
        assert len(ids) == len(set(ids))
        by_order: dict[str, list[AccountFill]] = {}
        for fill in self.heard.fills:
            by_order.setdefault(fill.order.id, []).append(fill)
            assert fill.qty > 0
        for account in self.exchange.accounts.values():
            for order in [*account.orders.values(), *account.closed]:
                fills = by_order.get(order.id, [])
                assert order.fills == fills
                assert sum(fill.qty for fill in fills) == order.cum_qty <= order.qty
                assert sum(fill.price * fill.qty for fill in fills) == order.cum_turnover
                assert sum(fill.fee for fill in fills) == order.fee

    @invariant()
    def the_ledger_agrees_with_the_fills_up_to_half_a_digit_an_order(self) -> None:
        exact: dict[tuple[str, str], Fraction] = {}
        slack: dict[tuple[str, str], int] = {}
        for account in self.exchange.accounts.values():
            for order in [*account.orders.values(), *account.closed]:
                sign = 1 if order.buys else -1
                pair = order.pair
                base = Fraction(sign * order.cum_qty, 10**pair.qty_decimals)
                quote = Fraction(-sign * order.cum_turnover, 10 ** (pair.price_decimals + pair.qty_decimals))
                for code, amount in ((pair.base.code, base), (pair.quote.code, quote)):
                    place = account.name, code
                    exact[place] = exact.get(place, Fraction(0)) + amount
                    slack[place] = slack.get(place, 0) + 1
        traded: dict[tuple[str, str], Fraction] = {}
        for name, entry in self.heard.entries:
            if entry.kind == "trade":
                place = name, entry.asset.code
                unit = Fraction(entry.amount, 10**entry.asset.decimals)
                traded[place] = traded.get(place, Fraction(0)) + unit
        for place, amount in exact.items():
            decimals = self.exchange.accounts[place[0]].ledger.asset(place[1]).decimals
            assert abs(traded.get(place, Fraction(0)) - amount) <= Fraction(slack[place], 2 * 10**decimals)

    @invariant()
    def the_book_holds_what_the_accounts_have_open(self) -> None:
        for symbol in self.exchange.symbols:
            listing = self.exchange.listing(symbol)
            book = listing.flow.book
            resting = {order.id: (order.owner, order.qty) for order in book.orders.values() if order.owner is not None}
            expected = {
                order.book_id: (order.account, order.left)
                for order in self.open_orders()
                if order.pair.symbol == symbol
            }
            assert resting == expected
            assert set(listing.resting) == set(expected)
            assert book.bids.owned + book.asks.owned == len(expected)

    @invariant()
    def nobody_trades_with_himself(self) -> None:
        trades: dict[tuple[str, int], list[str]] = {}
        for fill in self.heard.fills:
            trades.setdefault((fill.order.pair.symbol, fill.trade_id), []).append(fill.order.account)
        for accounts in trades.values():
            assert len(accounts) == len(set(accounts)) <= 2

    @invariant()
    def counters_never_fall_below_zero(self) -> None:
        for account in self.exchange.accounts.values():
            for symbol in self.exchange.symbols:
                assert account.counter(symbol).level(self.wall_ns) >= 0


TestTrading = Trading.TestCase
TestTrading.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def test_the_machine_does_buy_and_sell() -> None:
    """A run by hand through the same rules, so that a machine that only ever sees refusals would be noticed."""
    machine = Trading()
    account = machine.exchange.accounts["rich"]
    pair = machine.exchange.listing("BTC/USD").pair
    request = OrderRequest(pair=pair, side=BID, kind="market", qty=pair.typical_lots, price=None)
    order = machine.exchange.private.desk.place(account, request, machine.wall_ns)
    assert order.status is OrderStatus.FILLED
    assert sum(fill.qty for fill in machine.heard.fills) == pair.typical_lots
    machine.every_fill_counts_once()
    machine.the_ledger_agrees_with_the_fills_up_to_half_a_digit_an_order()
