"""An account is live when it is in step with the venue, and says why when it is not (I-14, I-15)."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import attrs
import pytest
from tests.model_account import ModelVenue, written

from kraken_engine.codec.ws_v2_frames import Ack
from kraken_engine.codec.ws_v2_private import BalancesMessage, ExecutionsMessage, PrivateDecoder
from kraken_engine.config import ReconciliationSettings
from kraken_engine.model import OrderStatus, Source
from kraken_engine.normalise.account_events import (
    AccountGap,
    AccountLive,
    AccountStale,
    BalanceUpdate,
    ExecType,
    ExecutionReport,
    Fill,
    OrderUpdate,
)
from kraken_engine.state.account_sync import AccountAction, AccountSync, Ask, Phase, Resubscribe, Tell
from kraken_engine.state.gap_closure import AskClosed, AskOrders, AskTrades, History


@attrs.define
class Watched:
    """An account, the venue it is at, and everything that was told."""

    venue: ModelVenue = attrs.field(factory=ModelVenue)
    sync: AccountSync = attrs.field(factory=lambda: AccountSync("main", {}))
    told: list[object] = attrs.field(factory=list)
    asks: list[Ask] = attrs.field(factory=list)
    wanted: list[Resubscribe] = attrs.field(factory=list)
    now: float = 0.0
    answers: bool = True

    def act(self, actions: Iterable[AccountAction]) -> None:
        for action in actions:
            match action:
                case Tell(event=event):
                    self.told.append(event)
                case Ask():
                    self.asks.append(action)
                case Resubscribe():
                    self.wanted.append(action)
        if self.answers:
            while self.asks:
                self.answer(self.asks.pop(0))

    def answer(self, ask: Ask, *, without: str = "") -> None:
        question = ask.question
        reports: list[ExecutionReport]
        if isinstance(question, AskClosed):
            reports = self.venue.closed_since(question.since)
        elif isinstance(question, AskTrades):
            reports = self.venue.trades_since(question.since)
        else:
            reports = self.venue.orders_by_id(question.order_ids)
        self.act(self.sync.answered(ask, [r for r in reports if r.exec_id != without or not without], now=self.now))

    def connect(self) -> None:
        self.act(self.sync.connected(now=self.now))
        self.subscribe("executions", "balances")

    def subscribe(self, *channels: str) -> None:
        self.wanted.clear()
        for channel in channels:
            self.venue.subscribe(channel)
        self.arrive()

    def cut_with_a_question(self) -> None:
        """Cut the line, and let an order end meanwhile: only REST knows how."""
        order_id = self.venue.place(side="buy", tenths=1, price=1)
        self.arrive()
        self.cut()
        self.venue.cancel(order_id)

    def cut(self) -> None:
        self.venue.cut()
        self.act(self.sync.disconnected("cut", now=self.now))

    def arrive(self) -> None:
        wire, self.venue.wire = self.venue.wire, []
        for frame in wire:
            self.deliver(frame)

    def deliver(self, frame: bytes) -> None:
        message = PrivateDecoder().decode(frame)
        if isinstance(message, Ack):
            self.sync.confirmed(message.channel or "", venue_time=message.time_in, now=self.now)
        elif isinstance(message, (ExecutionsMessage, BalancesMessage)):
            self.act(self.sync.receive(message, received_s=self.now))

    def may_trade(self) -> bool:
        return self.sync.may_trade

    def fills(self) -> list[str]:
        return [event.exec_id for event in self.told if isinstance(event, Fill)]

    def notices(self) -> list[type]:
        kinds = (AccountLive, AccountStale, AccountGap)
        return [type(event) for event in self.told if isinstance(event, kinds)]


@pytest.fixture
def watched() -> Watched:
    """An account with an order of 2.0, of which 0.1 were filled before anybody watched."""
    watched = Watched()
    watched.venue.place(side="sell", tenths=20, price=100, cl_ord_id="mine")
    watched.venue.fill("O00001", 1)
    watched.connect()
    return watched


def test_the_first_snapshot_is_where_the_story_begins(watched: Watched) -> None:
    assert watched.may_trade()
    assert watched.fills() == [], "older fills are nobody's news"
    assert watched.notices() == [AccountLive]
    order = watched.sync.orders.by_client_id("mine")
    assert order is not None
    assert (order.cum_qty, order.status) == (Decimal("0.1"), OrderStatus.PARTIALLY_FILLED)
    btc = watched.sync.balances.get("BTC")
    assert btc is not None
    assert (btc.total, btc.used, btc.free) == (Decimal("49.9"), Decimal("1.9"), Decimal("48.0"))


def test_an_account_with_one_snapshot_of_two_is_not_live() -> None:
    watched = Watched()
    watched.act(watched.sync.connected(now=0.0))
    watched.subscribe("balances")
    assert (watched.may_trade(), watched.sync.phase) == (False, Phase.AWAITING)
    assert watched.sync.why == "waiting for the snapshots"
    watched.subscribe("executions")
    assert (watched.may_trade(), watched.sync.phase, watched.sync.why) == (True, Phase.LIVE, "")


def test_missed_fills_are_told_in_order_before_the_account_is_live_again(watched: Watched) -> None:
    watched.cut()
    assert not watched.may_trade()
    for _ in range(3):
        watched.venue.fill("O00001", 1)
    watched.now = 5.0
    watched.connect()
    told = [e for e in watched.told if isinstance(e, (Fill, AccountGap, AccountLive, AccountStale))]
    assert [type(event) for event in told] == [AccountLive, AccountStale, Fill, Fill, Fill, AccountGap, AccountLive]
    assert watched.fills() == ["T00002", "T00003", "T00004"]
    assert all(event.replayed for event in told if isinstance(event, Fill))
    gap = next(event for event in told if isinstance(event, AccountGap))
    assert (gap.start_s, gap.end_s, gap.reason, gap.healed_by, gap.fills) == (0.0, 5.0, "cut", "snapshot", 3)


def test_each_change_of_an_order_in_the_hole_is_told_with_the_fill_that_made_it(watched: Watched) -> None:
    watched.cut()
    watched.venue.fill("O00001", 4)
    watched.venue.fill("O00001", 99)
    watched.told.clear()
    watched.connect()
    updates = [event.order for event in watched.told if isinstance(event, OrderUpdate)]
    assert [(str(order.status), order.cum_qty) for order in updates] == [
        ("partially_filled", Decimal("0.5")), ("partially_filled", Decimal("2.0")), ("filled", Decimal("2.0")),
    ]  # fmt: skip
    assert updates[-1].evidence is not None
    assert updates[-1].evidence.startswith("rest: filled")


def test_an_order_that_came_and_went_in_the_hole_is_adopted_as_external(watched: Watched) -> None:
    watched.cut()
    order_id = watched.venue.place(side="buy", tenths=5, price=90)
    watched.venue.fill(order_id, 2)
    watched.venue.cancel(order_id)
    watched.connect()
    order = watched.sync.orders.get(order_id)
    assert order is not None
    assert (order.status, order.cum_qty, order.external) == (OrderStatus.CANCELED, Decimal("0.2"), True)
    assert watched.fills() == ["T00002"]


def test_what_the_snapshot_answers_is_not_asked(watched: Watched) -> None:
    watched.cut()
    watched.venue.fill("O00001", 1)
    watched.answers = False
    watched.connect()
    assert watched.asks == []
    assert (watched.may_trade(), watched.fills()) == (True, ["T00002"])


def test_more_fills_than_a_snapshot_repeats_are_fetched(watched: Watched) -> None:
    watched.cut()
    order_id = watched.venue.place(side="buy", tenths=80, price=90)
    for _ in range(70):
        watched.venue.fill(order_id, 1)
    asked: list[object] = []
    watched.answers = False
    watched.connect()
    while watched.asks:
        ask = watched.asks.pop(0)
        asked.append(type(ask.question))
        watched.answer(ask)
    assert asked == [AskTrades]
    assert len(watched.fills()) == 70
    assert watched.may_trade()


def test_what_arrives_while_rest_is_asked_waits_for_its_turn(watched: Watched) -> None:
    watched.cut_with_a_question()
    watched.venue.fill("O00001", 1)
    watched.answers = False
    watched.connect()
    assert watched.sync.phase is Phase.CLOSING
    assert watched.sync.why == "finding out what happened before the snapshot"
    watched.venue.fill("O00001", 1)
    watched.arrive()
    assert watched.fills() == []
    watched.answer(watched.asks.pop())
    assert watched.fills() == ["T00002", "T00003"]
    assert [event.replayed for event in watched.told if isinstance(event, Fill)] == [True, False]


def test_rest_that_is_behind_is_asked_again(watched: Watched) -> None:
    watched.cut()
    order_id = watched.venue.place(side="buy", tenths=80, price=90)
    for _ in range(60):
        watched.venue.fill(order_id, 1)
    watched.answers = False
    watched.connect()
    watched.answer(watched.asks.pop(), without="T00005")
    assert not watched.may_trade()
    assert "fills for 5.9 are known, the venue says 6.0" in watched.sync.why
    watched.answers, watched.now = True, 1.0
    watched.act(watched.sync.tick(now=1.0))
    assert watched.may_trade()
    assert watched.fills() == [f"T{n:05d}" for n in range(2, 62)]


def test_rest_that_fails_keeps_the_account_closed_and_is_asked_for_as_long_as_it_takes(watched: Watched) -> None:
    watched.cut_with_a_question()
    watched.answers = False
    watched.connect()
    for n in range(20):
        watched.act(watched.sync.failed(watched.asks.pop(), "circuit open for 300 s", now=float(n)))
        assert watched.sync.why == "missed reports cannot be fetched: circuit open for 300 s"
        assert watched.asks == []
        watched.act(watched.sync.tick(now=n + 1.0))
    watched.answer(watched.asks.pop())
    assert watched.may_trade()


def test_answers_that_never_add_up_cost_the_snapshot(watched: Watched) -> None:
    watched.sync.settings = ReconciliationSettings(tries=2)
    watched.cut()
    order_id = watched.venue.place(side="buy", tenths=80, price=90)
    for _ in range(60):
        watched.venue.fill(order_id, 1)
    watched.answers = False
    watched.connect()
    for _ in range(2):
        while watched.asks:
            watched.answer(watched.asks.pop(), without="T00005")
        watched.now += 1.0
        watched.act(watched.sync.tick(now=watched.now))
    assert [wanted.channel for wanted in watched.wanted] == ["executions"]
    watched.answers = True
    watched.subscribe("executions")
    assert watched.may_trade()


@pytest.mark.parametrize(
    "until", ["2026-11-25T00:00:01.5Z", "2026-11-25T00:00:01.500000Z", "2026-11-25T00:00:01.500000000Z"]
)
@pytest.mark.parametrize(
    ("at", "is_history"),
    [("01.5Z", False), ("01.500000Z", False), ("02Z", False), ("01Z", True), ("01.49Z", True), ("01.499999999Z", True)],
)
def test_what_is_history_is_decided_by_the_time_and_not_by_how_it_is_written(
    until: str, at: str, is_history: bool
) -> None:
    fill = ExecutionReport(
        account="main", source=Source.REST, received_s=0.0, exec_type=ExecType.TRADE,
        order_id="O1", exec_id="T1", venue_time=f"2026-11-25T00:00:{at}",
    )  # fmt: skip
    assert History(until=until).has(fill) is is_history


def test_more_orders_that_closed_just_before_the_cut_than_are_kept_are_not_told_again(watched: Watched) -> None:
    """REST is asked from a little before the hole on, and names orders whose story was told, and forgotten since."""
    watched.sync.orders.most_closed = 2
    for n in range(12):
        order_id = watched.venue.place(side="buy", tenths=3, price=90)
        watched.venue.fill(order_id, 3 if n % 2 else 1)
        if not n % 2:
            watched.venue.cancel(order_id)
    watched.arrive()
    assert len(watched.sync.orders.closed()) == 2
    watched.cut_with_a_question()
    watched.answers = False
    watched.told.clear()
    watched.connect()
    ask = watched.asks.pop()
    assert isinstance(ask.question, AskClosed)
    everything = watched.venue.closed_since("1970-01-01T00:00:00Z")
    assert len(everything) == 13
    watched.act(watched.sync.answered(ask, everything, now=0.0))
    while watched.asks:
        watched.answer(watched.asks.pop())
    assert watched.may_trade(), watched.sync.why
    assert watched.fills() == []
    ended = [event.order.order_id for event in watched.told if isinstance(event, OrderUpdate)]
    assert ended == ["O00014"], "the one that ended in the hole"


def test_an_order_that_vanished_is_asked_about_by_its_id(watched: Watched) -> None:
    watched.cut()
    watched.venue.cancel("O00001")
    watched.answers = False
    watched.connect()
    watched.act(watched.sync.answered(watched.asks.pop(), [], now=0.0))
    ask = watched.asks.pop()
    assert ask.question == AskOrders(("O00001",))
    watched.answer(ask)
    order = watched.sync.orders.get("O00001")
    assert order is not None
    assert order.status is OrderStatus.CANCELED


@pytest.mark.parametrize("channel", ["executions", "balances"])
def test_a_gap_is_noticed_on_the_next_message_and_costs_that_channel(watched: Watched, channel: str) -> None:
    for _ in range(3):
        watched.venue.fill("O00001", 1)
    mine = [frame for frame in watched.venue.wire if f'"{channel}"'.encode() in frame]
    watched.venue.wire.clear()
    watched.deliver(mine[1])
    assert not watched.may_trade()
    assert watched.sync.why.startswith(f"{channel}: expected sequence 2, got 3")
    assert [wanted.channel for wanted in watched.wanted] == [channel]
    watched.deliver(mine[2])
    assert watched.fills() == [], "nothing of a channel is current until a fresh snapshot"
    watched.subscribe(channel)
    assert watched.may_trade()
    if channel == "executions":
        assert watched.fills() == ["T00002", "T00003", "T00004"]


def test_a_frame_that_comes_twice_changes_nothing(watched: Watched) -> None:
    watched.venue.fill("O00001", 1)
    for frame in [frame for frame in watched.venue.wire for _ in range(2)]:
        watched.deliver(frame)
    assert watched.fills() == ["T00002"]
    assert watched.may_trade()


def test_a_number_that_comes_twice_with_something_else_is_an_alarm(watched: Watched) -> None:
    watched.venue.fill("O00001", 1)
    frames = [frame for frame in watched.venue.wire if b'"executions"' in frame]
    watched.deliver(frames[0])
    watched.deliver(frames[0].replace(b"T00002", b"T00009"))
    assert watched.sync.why == "executions: sequence 2 came twice, and differs"


def test_a_report_that_cannot_be_is_a_loss(watched: Watched) -> None:
    frame = {
        "channel": "executions", "type": "update", "sequence": 2,
        "data": [{"exec_type": "trade", "order_id": "O00001", "last_qty": 1, "last_price": 1}],
    }  # fmt: skip
    watched.deliver(written(frame))
    assert watched.sync.why.startswith("executions: $.data[0].exec_id: expected the id of the fill")
    frame["data"] = [{"exec_type": "new", "order_id": "O99999"}]
    watched.subscribe("executions")
    watched.deliver(written(frame))
    assert watched.sync.why == "executions: O99999: new of an order that is not known"


def test_a_snapshot_that_is_late_is_asked_for_anew() -> None:
    watched = Watched()
    watched.act(watched.sync.connected(now=0.0))
    watched.sync.confirmed("executions", venue_time=None, now=3.0)
    assert watched.sync.next_due == 10.0
    watched.act(watched.sync.tick(now=10.0))
    assert [wanted.channel for wanted in watched.wanted] == ["balances"]
    watched.act(watched.sync.tick(now=13.0))
    assert [wanted.channel for wanted in watched.wanted] == ["balances", "executions"]
    assert watched.sync.why == "executions: no snapshot within 10 s"


@pytest.mark.parametrize("channel", ["executions", "balances"])
def test_a_confirmation_that_comes_after_its_snapshot_awaits_none(watched: Watched, channel: str) -> None:
    assert watched.sync.phase is Phase.LIVE
    watched.sync.confirmed(channel, venue_time="2026-01-22T06:06:19.833306Z", now=watched.now)
    assert watched.sync.next_due is None


def test_reports_that_wait_are_bounded(watched: Watched) -> None:
    watched.sync.settings = ReconciliationSettings(most_waiting=3)
    watched.cut_with_a_question()
    watched.answers = False
    watched.connect()
    for _ in range(4):
        watched.venue.fill("O00001", 1)
    watched.arrive()
    assert watched.sync.why == "executions: 4 reports waited for REST"
    watched.answers = True
    watched.subscribe("executions")
    assert watched.fills() == ["T00002", "T00003", "T00004", "T00005"]


def test_an_answer_to_an_earlier_snapshot_is_worth_nothing(watched: Watched) -> None:
    watched.cut_with_a_question()
    watched.answers = False
    watched.connect()
    old = watched.asks.pop()
    watched.cut()
    watched.venue.fill("O00001", 1)
    watched.connect()
    watched.act(watched.sync.answered(old, [], now=0.0))
    watched.act(watched.sync.failed(old, "late", now=0.0))
    assert watched.sync.phase is Phase.CLOSING
    watched.answer(watched.asks.pop())
    assert watched.fills() == ["T00002"]


def test_a_restart_resumes_behind_the_fills_on_record(watched: Watched) -> None:
    watched.venue.fill("O00001", 1)
    watched.arrive()
    watched.cut()
    watched.venue.fill("O00001", 1)
    other = watched.venue.place(side="buy", tenths=3, price=90)
    watched.venue.fill(other, 3)
    history = watched.sync.history
    assert history is not None
    again = Watched(venue=watched.venue)
    again.sync.restore(history, fills=["T00002"], until="2026-11-25T00:00:04.000000Z")
    again.connect()
    assert again.fills() == ["T00003", "T00004"], "the first is history, the second is on record"
    assert again.sync.orders.get("O00001").cum_qty == Decimal("0.3")  # type: ignore[union-attr]
    assert again.sync.orders.get(other).status is OrderStatus.FILLED  # type: ignore[union-attr]


@pytest.mark.parametrize("filled", [0, 2])
def test_what_ended_in_an_earlier_life_is_not_told_by_a_later_gap(watched: Watched, filled: int) -> None:
    """REST is asked from a little before the hole on, and names orders that nobody in this process has heard of."""
    earlier = watched.venue.place(side="buy", tenths=3, price=90)
    if filled:
        watched.venue.fill(earlier, filled)
    watched.venue.cancel(earlier)
    watched.arrive()
    history = watched.sync.history
    assert history is not None
    again = Watched(venue=watched.venue)
    again.sync.restore(history, fills=watched.fills(), until=watched.sync.complete_until)
    again.connect()
    again.cut_with_a_question()
    again.answers = False
    again.told.clear()
    again.connect()
    ask = again.asks.pop()
    assert isinstance(ask.question, AskClosed)
    closed = again.venue.closed_since("1970-01-01T00:00:00Z")
    assert earlier in [report.order_id for report in closed]
    again.act(again.sync.answered(ask, closed, now=0.0))
    while again.asks:
        again.answer(again.asks.pop())
    assert again.may_trade(), again.sync.why
    assert again.fills() == []
    assert earlier not in [event.order.order_id for event in again.told if isinstance(event, OrderUpdate)]


def test_holds_follow_the_orders(watched: Watched) -> None:
    watched.told.clear()
    watched.venue.place(side="buy", tenths=10, price=50)
    watched.arrive()
    (held,) = [event for event in watched.told if isinstance(event, BalanceUpdate)]
    assert (held.asset, held.used, held.change) == ("USD", Decimal("50.0"), None)


def test_a_final_refusal_is_the_reason_that_is_given(watched: Watched) -> None:
    watched.act(watched.sync.refused("executions: EGeneral:Permission denied", now=1.0))
    assert (watched.may_trade(), watched.sync.why) == (False, "executions: EGeneral:Permission denied")
    stale = watched.sync.stale
    assert stale is not None
    assert (stale.account, stale.since_s) == ("main", 1.0)
