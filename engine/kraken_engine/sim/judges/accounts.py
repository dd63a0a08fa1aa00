"""Judges accounts: fills once and without a hole, sums that add up, nothing called live that is not (I-13 to I-15).

A value of REST says that it is one, and is none of a live account (I-26). Compares what readers are told with the
venue's own list of fills and its ledger. Works out everything from the digits shown; shares no logic with the engine.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs
import trio

from kraken_engine.model import Integrity, Source
from kraken_engine.normalise.account_events import (
    AccountLive,
    AccountStale,
    BalanceUpdate,
    Fill,
    OrdersListed,
    OrderUpdate,
)
from kraken_engine.normalise.events import AccountEvent, Event, SourceChanged
from kraken_engine.sim.judges.verdict import Verdict
from kraken_engine.sim.world import World
from kraken_engine.trading.account import Account

__all__ = ["AccountJudge", "same_lots"]

COST_UNIT = Decimal("0.00001")
"""Last digit of what a position cost, as ``OpenPositions`` tells it: the price of an older lot is known by no more."""
UNHEARD_S = 6.0
"""A line nobody listens on at the venue is found out, at the latest, after so long."""


_Lots = list[tuple[str, Decimal, Decimal]]
"""Side, quantity and price of each lot, oldest first."""


def same_lots(ours: _Lots, theirs: _Lots) -> bool:
    """Return whether two positions are one: sides and quantities to the last digit, and what each lot cost, rounded."""
    return len(ours) == len(theirs) and all(
        (side, qty) == (true_side, true_qty) and abs(price - true_price) * qty <= COST_UNIT
        for (side, qty, price), (true_side, true_qty, true_price) in zip(ours, theirs, strict=True)
    )


@attrs.define(kw_only=True, eq=False)
class AccountJudge:
    """Judges one account, as one reader of everything sees it."""

    world: World
    account: str
    verdict: Verdict
    live: bool | None = attrs.field(default=None, init=False)
    lives: int = attrs.field(default=0, init=False)
    told: list[str] = attrs.field(factory=list[str], init=False)
    """Ids of the fills, in the order in which they were told."""
    replayed: int = attrs.field(default=0, init=False)
    source: Source = attrs.field(default=Source.WEBSOCKET_V2, init=False)
    """Where balances and orders come from, as readers were told last."""
    _first: int | None = attrs.field(default=None, init=False)
    """Number of the venue's fill with which the story begins."""
    _numbers: dict[str, int] = attrs.field(factory=dict[str, int], init=False)
    _fills: list[dict[str, Any]] = attrs.field(factory=list[dict[str, Any]], init=False)
    _sums: dict[str, Decimal] = attrs.field(factory=dict[str, Decimal], init=False)
    """Quantity told by fills, by order."""
    _bases: dict[str, Decimal] = attrs.field(factory=dict[str, Decimal], init=False)
    """What an order had been filled before its first fill was told."""
    _unheard_since: float | None = attrs.field(default=None, init=False)

    def see(self, event: Event) -> None:
        """Judge what is published next."""
        if isinstance(event, (BalanceUpdate, OrdersListed, OrderUpdate)):
            self._see_source(event)
        match event:
            case SourceChanged():
                self.source = event.source
            case AccountLive():
                self._see_live()
            case AccountStale():
                if self.live is not True:
                    self._fail("I-15", "told to be stale while it was not live")
                self.live = False
            case Fill():
                self._see_fill(event)
            case OrderUpdate():
                self._see_order(event)
            case BalanceUpdate():
                if event.total != event.free + event.used + event.earn:
                    self._fail("I-14", f"{event.asset}: parts that are not the whole: {event}")
            case _:
                pass

    def check(self, account: Account) -> None:
        """Judge at a regular time what no event would show."""
        if account.may_trade != (self.live is True) or account.may_trade != (not account.why):
            self._fail("I-15", f"may trade {account.may_trade}, told live {self.live}, why {account.why!r}")
        now = trio.current_time()
        heard = {one.subscription.channel for one in self.world.exchange.listeners_to(self.account) if one.begun}
        if heard == {"executions", "balances"} or now - self.world.slept_until < UNHEARD_S:
            self._unheard_since = None
        elif self._unheard_since is None:
            self._unheard_since = now
        elif now - self._unheard_since > UNHEARD_S and account.may_trade:
            self._fail("I-15", f"may trade though the venue tells it only {sorted(heard)} for {UNHEARD_S:g} s")

    def differences(self, account: Account) -> list[str]:
        """Return where an account that had time to settle is not the venue's, to the last digit."""
        if not account.may_trade:
            return [f"{self.account}: not live: {account.why}"]
        self._learn()
        truth = self.world.exchange.private.truth
        found: list[str] = []
        ours = account.open_orders()
        theirs = {order["order_id"]: order for order in truth.orders(self.account)}
        if set(ours) != set(theirs):
            found.append(f"{self.account}: open orders differ: {sorted(set(ours) ^ set(theirs))}")
        for order_id in sorted(set(ours) & set(theirs)):
            mine = (str(ours[order_id].status), ours[order_id].cum_qty, ours[order_id].order_qty)
            true = theirs[order_id]
            if mine != (true["order_status"], Decimal(true["cum_qty"]), Decimal(true["order_qty"])):
                found.append(f"{self.account}: {order_id}: expected {true}, got {mine}")
        missing = len(self._fills) - (self._first or 0) - len(self.told)
        if missing:
            found.append(f"{self.account}: {missing} fills were never told")
        found += self._wrong_positions(account)
        balances = truth.balances(self.account)
        for asset, holding in account.holdings().items():
            if holding.total != Decimal(balances[asset]["balance"]):
                found.append(f"{self.account}: {asset}: expected {balances[asset]['balance']}, got {holding.total:f}")
        return found

    def _wrong_positions(self, account: Account) -> list[str]:
        """Return where a position that is called verified is not the venue's."""
        theirs: dict[str, _Lots] = {}
        for row in self.world.exchange.private.truth.positions(self.account):
            theirs.setdefault(row["symbol"], []).append((row["side"], Decimal(row["qty"]), Decimal(row["price"])))
        found: list[str] = []
        for symbol in self.world.exchange.symbols:
            reading = account.position(symbol, allow_stale=True)
            position = reading.position
            lots = () if position is None else position.lots
            ours = [(position.side.value, lot.qty, lot.price) for lot in lots if position is not None]
            if reading.verified and not same_lots(ours, theirs.get(symbol, [])):
                found.append(f"{self.account}: position in {symbol}: expected {theirs.get(symbol, [])}, got {ours}")
        return found

    def _see_live(self) -> None:
        if self.live is True:
            self._fail("I-15", "told to be live twice")
        if self.source is Source.REST:
            self._fail("I-26", "told to be live while REST had the word")
        self.live = True
        self.lives += 1
        self._learn()
        if self._first is None:
            self._first = len(self._fills)
        self._check_no_hole("when it was told to be live")

    def _see_source(self, event: AccountEvent) -> None:
        """Values of REST are labelled, told of before, and come only while the account is not live."""
        if isinstance(event, OrderUpdate) and event.source is Source.REST:
            return  # what was missed, and is told after the fact
        if event.source is not self.source:
            self._fail("I-26", f"a value of {event.source} while readers were told of {self.source}: {event}")
        if event.source is Source.REST and (self.live or event.integrity is not Integrity.UNVERIFIED):
            self._fail("I-15", f"a value of REST of a live account, or one that is called verified: {event}")

    def _see_fill(self, fill: Fill) -> None:
        self._learn()
        number = self._numbers.get(fill.exec_id)
        if number is None:
            self._fail("I-13", f"a fill the venue knows nothing of: {fill.exec_id}")
            return
        if fill.exec_id in self.told:
            self._fail("I-13", f"{fill.exec_id}: told twice")
        if self._first is None or number < self._first:
            self._first = number  # it came with the first snapshot's stream, before the account was told to be live
        self.told.append(fill.exec_id)
        self.replayed += fill.replayed
        true = self._fills[number]
        shown = (fill.order_id, fill.qty, fill.price, fill.cost, fill.fees.get(true["fee_asset"], Decimal(0)))
        if shown != (true["order_id"], *(Decimal(true[n]) for n in ("last_qty", "last_price", "cost", "fee"))):
            self._fail("I-13", f"{fill.exec_id}: expected {true}, got {shown}")
        self._sums[fill.order_id] = self._sums.get(fill.order_id, Decimal(0)) + fill.qty
        if self.live:
            self._check_no_hole(f"with {fill.exec_id}")

    def _see_order(self, update: OrderUpdate) -> None:
        order = update.order
        told = self._sums.get(order.order_id, Decimal(0))
        base = self._bases.setdefault(order.order_id, order.cum_qty - told)
        if order.cum_qty != base + told:
            self._fail("I-13", f"{order.order_id}: {told} told by fills upon {base}, but {order.cum_qty} filled")
        if order.order_qty is not None and order.cum_qty > order.order_qty:
            self._fail("I-13", f"{order.order_id}: {order.cum_qty} filled of {order.order_qty}")
        if order.status.is_terminal and not order.evidence:
            self._fail("I-11", f"{order.order_id}: {order.status} without evidence")

    def _check_no_hole(self, when: str) -> None:
        """While an account is live, every fill before the last one told has been told."""
        if self._first is None or not self.told:
            return
        last = max(self._numbers[exec_id] for exec_id in self.told)
        expected = last - self._first + 1
        if len(self.told) != expected:
            self._fail("I-14", f"{expected - len(self.told)} fills before the last one told were not told, {when}")

    def _learn(self) -> None:
        """Take note of what the venue filled since."""
        for fill in self.world.exchange.private.truth.fills(self.account, len(self._fills)):
            self._numbers[fill["exec_id"]] = len(self._fills)
            self._fills.append(fill)

    def _fail(self, invariant: str, what: str) -> None:
        self.verdict.fail(invariant, f"account {self.account}: {what}")
