"""Judges accounts: fills once and without a hole, sums that add up, nothing called live that is not (I-13 to I-15).

A value of REST says that it is one, and is none of a live account (I-26). Compares what readers are told, in one life
of an engine, with the venue's own list of fills. Works out everything from the digits shown; shares no logic with the
engine. Whether what is held at rest is the venue's is judged in :mod:`~kraken_engine.sim.judges.holdings`.
"""

from __future__ import annotations

import math
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
from kraken_engine.sim.judges.record import Before, is_the_same_fill
from kraken_engine.sim.judges.verdict import Verdict
from kraken_engine.sim.world import World
from kraken_engine.trading.account import Account

__all__ = ["AccountJudge"]

UNHEARD_S = 6.0
"""A line nobody listens on at the venue is found out, at the latest, after so long."""


@attrs.define(kw_only=True, eq=False)
class AccountJudge:
    """Judges one account in one life of the engine, as one reader of everything sees it."""

    world: World
    account: str
    verdict: Verdict
    before: Before = attrs.field(factory=Before)
    """What is known of its fills from earlier lives."""
    live: bool | None = attrs.field(default=None, init=False)
    lives: int = attrs.field(default=0, init=False)
    stale_s: float = attrs.field(default=-math.inf, init=False)
    """When it was called stale last."""
    told: list[str] = attrs.field(factory=list[str], init=False)
    """Ids of the fills, in the order in which they were told."""
    replayed: int = attrs.field(default=0, init=False)
    source: Source = attrs.field(default=Source.WEBSOCKET_V2, init=False)
    """Where balances and orders come from, as readers were told last."""
    _first: int | None = attrs.field(init=False)
    """Number of the venue's fill with which the story begins."""
    _accounted: set[str] = attrs.field(init=False)
    """Ids of the fills that were told, or need not be."""
    _numbers: dict[str, int] = attrs.field(factory=dict[str, int], init=False)
    _fills: list[dict[str, Any]] = attrs.field(factory=list[dict[str, Any]], init=False)
    _sums: dict[str, Decimal] = attrs.field(factory=dict[str, Decimal], init=False)
    """Quantity told by fills, by order."""
    _bases: dict[str, Decimal] = attrs.field(factory=dict[str, Decimal], init=False)
    """What an order had been filled before its first fill was told."""
    _unheard_since: float | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._first = self.before.first
        self._accounted = set(self.before.kept | self.before.perhaps)

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
                self.live, self.stale_s = False, trio.current_time()
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

    def untold(self) -> list[str]:
        """Return the ids of the venue's fills, from the beginning of the story on, that nobody was told of."""
        self._learn()
        return self._holes(len(self._fills))

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
        if fill.exec_id in self.told or fill.exec_id in self.before.kept:
            self._fail("I-13", f"{fill.exec_id}: told twice, or on record and told again")
        if self._first is None or number < self._first:
            self._first = number  # it came with the first snapshot's stream, before the account was told to be live
        self.told.append(fill.exec_id)
        self._accounted.add(fill.exec_id)
        self.replayed += fill.replayed
        if not is_the_same_fill(fill, true := self._fills[number]):
            self._fail("I-13", f"{fill.exec_id}: expected {true}, got {fill}")
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
        holes = self._holes(max(self._numbers[exec_id] for exec_id in self.told))
        if holes:
            self._fail("I-14", f"{len(holes)} fills before the last one told were not told, {when}: {holes[:3]}")

    def _holes(self, end: int) -> list[str]:
        first = end if self._first is None else self._first
        ids = [fill["exec_id"] for fill in self._fills[first:end]]
        return [exec_id for exec_id in ids if exec_id not in self._accounted]

    def _learn(self) -> None:
        """Take note of what the venue filled since."""
        for fill in self.world.exchange.private.truth.fills(self.account, len(self._fills)):
            self._numbers[fill["exec_id"]] = len(self._fills)
            self._fills.append(fill)

    def _fail(self, invariant: str, what: str) -> None:
        self.verdict.fail(invariant, f"account {self.account}: {what}")
