"""Whatever is lost, repeated, reordered or late: every fill is told once, in order, and a live account is a right one.

The rules play an account at a small venue (``tests/model_account.py``), a wire that loses frames, and a REST that is
behind or fails; the invariants compare what readers were told with what happened.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.model_account import OPEN, ModelVenue

from kraken_engine.codec.ws_v2_frames import Ack
from kraken_engine.codec.ws_v2_private import BalancesMessage, ExecutionsMessage, PrivateDecoder
from kraken_engine.config import ReconciliationSettings
from kraken_engine.normalise.account_events import (
    AccountGap,
    AccountLive,
    AccountStale,
    BalanceUpdate,
    ExecutionReport,
    Fill,
    OrderUpdate,
)
from kraken_engine.state.account_sync import AccountAction, AccountSync, Ask, Phase, Resubscribe, Tell
from kraken_engine.state.gap_closure import AskClosed, AskTrades

SNAPSHOT_FILLS = 50


class AccountMachine(RuleBasedStateMachine):
    @initialize(orders=st.integers(0, 4), fills=st.integers(0, 3))
    def account_exists(self, orders: int, fills: int) -> None:
        """The account has a past before anybody watches."""
        self.venue = ModelVenue()
        self.decoder = PrivateDecoder()
        self.now = 0.0
        self.asks: deque[Ask] = deque()
        self.wanted: dict[str, None] = {}
        self.told: list[object] = []
        self.on_record: list[Fill] = []
        """What a durable store would have kept over a restart."""
        self.sent: list[bytes] = []
        self.connected = False
        self.behind = 0
        for n in range(orders):
            order_id = self.venue.place(side="buy" if n % 2 else "sell", tenths=20, price=100 + n)
            for _ in range(fills):
                self.venue.fill(order_id, 1)
        self.history = 0
        """How many fills are older than the first snapshot."""
        self.sync = self.fresh()

    def fresh(self) -> AccountSync:
        return AccountSync("main", {}, ReconciliationSettings(tries=3))

    # -- the venue

    @rule(
        side=st.sampled_from(["buy", "sell"]), tenths=st.integers(1, 30), price=st.integers(1, 200), named=st.booleans()
    )
    def order_is_placed(self, side: str, tenths: int, price: int, named: bool) -> None:
        name = f"c{len(self.venue.orders)}" if named else None
        self.venue.place(side=side, tenths=tenths, price=price, cl_ord_id=name)

    def open_order(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from([o.order_id for o in self.venue.orders.values() if o.status in OPEN]))

    def has_open_orders(self) -> bool:
        return hasattr(self, "venue") and any(o.status in OPEN for o in self.venue.orders.values())

    @precondition(has_open_orders)
    @rule(data=st.data(), tenths=st.integers(1, 15))
    def order_is_filled(self, data: st.DataObject, tenths: int) -> None:
        self.venue.fill(self.open_order(data), tenths)

    @precondition(has_open_orders)
    @rule(data=st.data())
    def order_is_cancelled(self, data: st.DataObject) -> None:
        self.venue.cancel(self.open_order(data))

    @precondition(has_open_orders)
    @rule(data=st.data(), more=st.integers(0, 5), price=st.integers(1, 200))
    def order_is_amended(self, data: st.DataObject, more: int, price: int) -> None:
        self.venue.amend(self.open_order(data), more=more, price=price)

    @rule()
    def many_fills_happen_at_once(self) -> None:
        """More than a snapshot repeats: only REST knows the first of them."""
        order_id = self.venue.place(side="sell", tenths=60, price=50)
        for _ in range(60):
            self.venue.fill(order_id, 1)

    # -- the wire

    @precondition(lambda self: hasattr(self, "venue") and not self.connected)
    @rule()
    def line_comes_up(self) -> None:
        self.connected = True
        self.act(self.sync.connected(now=self.now))
        for channel in ("executions", "balances"):
            self.subscribe(channel)

    def subscribe(self, channel: str) -> None:
        self.wanted.pop(channel, None)
        self.venue.subscribe(channel)

    @precondition(lambda self: hasattr(self, "venue") and self.connected)
    @rule()
    def line_is_cut(self) -> None:
        self.connected = False
        self.venue.cut()
        self.sent.clear()
        self.wanted.clear()
        self.act(self.sync.disconnected("cut", now=self.now))

    @precondition(lambda self: hasattr(self, "venue") and bool(self.venue.wire))
    @rule(count=st.integers(1, 12))
    def frames_arrive(self, count: int) -> None:
        for _ in range(min(count, len(self.venue.wire))):
            self.deliver(self.venue.wire.pop(0))

    @precondition(lambda self: hasattr(self, "venue") and bool(self.venue.wire))
    @rule()
    def frame_is_lost(self) -> None:
        self.venue.wire.pop(0)

    @precondition(lambda self: hasattr(self, "venue") and len(self.venue.wire) > 1)
    @rule()
    def frames_swap(self) -> None:
        self.venue.wire[0], self.venue.wire[1] = self.venue.wire[1], self.venue.wire[0]

    @precondition(lambda self: hasattr(self, "venue") and bool(self.sent))
    @rule(data=st.data())
    def frame_arrives_again(self, data: st.DataObject) -> None:
        self.deliver(data.draw(st.sampled_from(self.sent[-4:])))

    def deliver(self, frame: bytes) -> None:
        message = self.decoder.decode(frame)
        if isinstance(message, Ack):
            self.sync.confirmed(message.channel or "", venue_time=message.time_in, now=self.now)
            return
        assert isinstance(message, (ExecutionsMessage, BalancesMessage))
        if message.type == "update":
            self.sent.append(frame)
        else:
            self.sent.clear()  # what came before a snapshot cannot come after it
        if self.sync.history is None and frame in self.venue.told_before:
            self.history = self.venue.told_before[frame]
        self.act(self.sync.receive(message, received_s=self.now))

    # -- REST, and time

    @precondition(lambda self: hasattr(self, "venue") and bool(self.asks))
    @rule(behind=st.sampled_from([0, 0, 0, 1, 5]))
    def rest_answers(self, behind: int) -> None:
        """REST may not know yet what happened last."""
        self.answer(behind)

    def answer(self, behind: int) -> None:
        ask = self.asks.popleft()
        question = ask.question
        if isinstance(question, AskClosed):
            reports = self.venue.closed_since(question.since)
        elif isinstance(question, AskTrades):
            reports = self.venue.trades_since(question.since)
        else:
            reports = self.venue.orders_by_id(question.order_ids)
        if behind:
            reports = sorted(reports, key=lambda report: report.venue_time or "")[:-behind]
        self.act(self.sync.answered(ask, reports, now=self.now))

    @precondition(lambda self: hasattr(self, "venue") and bool(self.asks))
    @rule()
    def rest_fails(self) -> None:
        self.act(self.sync.failed(self.asks.popleft(), "out of reach", now=self.now))
        assert not self.sync.may_trade
        assert self.sync.why

    @rule(seconds=st.sampled_from([0.5, 2.0, 11.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.act(self.sync.tick(now=self.now))

    @precondition(lambda self: hasattr(self, "venue") and self.connected and bool(self.wanted))
    @rule()
    def venue_subscribes_anew(self) -> None:
        for channel in list(self.wanted):
            self.subscribe(channel)

    @precondition(lambda self: hasattr(self, "venue") and not self.connected and self.sync.history is not None)
    @rule()
    def engine_restarts(self) -> None:
        """Only the fills told, and the beginning of the story, are on record."""
        before = self.sync
        assert before.history is not None
        self.on_record = [event for event in self.told if isinstance(event, Fill)]
        self.asks.clear()
        self.sync = self.fresh()
        until = max((fill.venue_time or "" for fill in self.on_record), default=None)
        self.sync.restore(before.history, fills=[fill.exec_id for fill in self.on_record], until=until)
        assert not self.sync.may_trade

    @rule()
    def all_is_well_in_the_end(self) -> None:
        if not self.connected:
            self.line_comes_up()
        # The loss of the last frame shows when the next one comes, and not before.
        self.venue.place(side="buy", tenths=1, price=1)
        self.venue.move("USD", Decimal("10.00"), Decimal("0.00"), "deposit")
        for _ in range(10):
            for channel in list(self.wanted):
                self.subscribe(channel)
            while self.venue.wire:
                self.deliver(self.venue.wire.pop(0))
            while self.asks:
                self.answer(0)
            self.now += 11.0
            self.act(self.sync.tick(now=self.now))
        assert self.sync.phase is Phase.LIVE, self.sync.why
        self.compare_with_the_venue()

    def compare_with_the_venue(self) -> None:
        ours = {
            order_id: (str(order.status), order.cum_qty, order.order_qty, order.limit_price, order.cum_cost)
            for order_id, order in self.sync.orders.open().items()
        }
        theirs = {
            o.order_id: (o.status, o.cum, o.qty, o.price, o.cost)
            for o in self.venue.orders.values()
            if o.status in OPEN
        }
        assert ours == theirs
        told = [event.exec_id for event in self.told if isinstance(event, Fill)]
        if self.sync.history is not None:
            assert sorted(told) == [fill.exec_id for fill in self.venue.fills[self.history :]]
        assert {asset: update.total for asset, update in self.sync.balances.all().items()} == self.venue.balances
        held: dict[str, Decimal] = {"BTC": Decimal(0), "USD": Decimal(0)}
        for order in self.venue.orders.values():
            if order.status in OPEN:
                rest = order.qty - order.cum
                held["BTC" if order.side == "sell" else "USD"] += rest if order.side == "sell" else rest * order.price
        assert {asset: update.used for asset, update in self.sync.balances.all().items()} == held
        for order_id, kept in self.sync.orders.closed().items():
            assert (str(kept.status), kept.cum_qty) == (
                self.venue.orders[order_id].status,
                self.venue.orders[order_id].cum,
            )
            assert kept.evidence

    # -- what readers see

    def act(self, actions: list[AccountAction]) -> None:
        for action in actions:
            match action:
                case Tell(event=event):
                    self.see(event)
                case Resubscribe(channel=channel):
                    self.wanted[channel] = None
                case Ask():
                    self.asks.append(action)

    def see(self, event: object) -> None:
        if isinstance(event, AccountLive):
            assert self.sync.may_trade
            assert self.live_told is not True
            self.live_told = True
        elif isinstance(event, AccountStale):
            assert self.live_told is True
            self.live_told = False
        else:
            assert isinstance(event, (Fill, OrderUpdate, BalanceUpdate, ExecutionReport, AccountGap))
        self.told.append(event)

    live_told: bool | None = None

    @invariant()
    def each_fill_is_told_once_and_in_the_order_of_its_order(self) -> None:
        if not hasattr(self, "venue"):
            return
        fills = [event for event in self.told if isinstance(event, Fill)]
        ids = [fill.exec_id for fill in fills]
        assert len(ids) == len(set(ids))
        by_order: dict[str, list[str]] = {}
        for fill in fills:
            by_order.setdefault(fill.order_id, []).append(fill.exec_id)
        assert all(told == sorted(told) for told in by_order.values())

    @invariant()
    def quantities_are_the_sum_of_the_fills(self) -> None:
        if not hasattr(self, "venue"):
            return
        for order in (*self.sync.orders.open().values(), *self.sync.orders.closed().values()):
            assert order.order_qty is None or order.cum_qty <= order.order_qty
            then = sum((f.qty for f in self.venue.fills if f.order_id == order.order_id), Decimal(0))
            assert order.cum_qty <= then

    @invariant()
    def an_account_that_may_not_trade_says_why(self) -> None:
        if hasattr(self, "venue"):
            assert self.sync.may_trade == (not self.sync.why)
            if self.live_told is not None:
                assert self.sync.may_trade <= self.live_told or not self.sync.may_trade


TestAccountMachine = AccountMachine.TestCase
TestAccountMachine.settings = settings(stateful_step_count=40)
