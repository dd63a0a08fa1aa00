"""A position is what the venue said and every fill since, once each, or it says that it is not known for sure."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kraken_engine.codec.rest import Number
from kraken_engine.codec.rest_private import PositionRow
from kraken_engine.errors import DecodeError
from kraken_engine.model import Instrument, OrderType, Side, Source
from kraken_engine.normalise.account_events import Fill
from kraken_engine.normalise.rest_account import RestPosition
from kraken_engine.state.position_lots import Lot, OpenLots, open_lots, traded
from kraken_engine.state.positions import Positions

D = Decimal
BTC = Instrument(
    symbol="BTC/USD", base="BTC", quote="USD", status="online", price_decimals=1, qty_decimals=8,
    price_increment=D("0.1"), qty_increment=D("0.00000001"), qty_min=D("0.0001"), cost_min=D("0.5"),
)  # fmt: skip


def fill(
    side: Side, qty: str | Decimal, price: str | Decimal, *, margin: bool = True, at_s: float = 0.0,
    symbol: str = "BTC/USD",
) -> Fill:  # fmt: skip
    return Fill(
        account="main", source=Source.WEBSOCKET_V2, received_s=at_s, venue_time=None, exec_id="T", trade_id=None,
        order_id="O", cl_ord_id=None, symbol=symbol, side=side, qty=D(qty), price=D(price), cost=D(qty) * D(price),
        fees={}, liquidity=None, order_type=OrderType.LIMIT, external=True, margin=margin,
    )  # fmt: skip


def long(qty: str, price: str = "100") -> OpenLots:
    return OpenLots(Side.BUY, (Lot(D(qty), D(price)),))


def row(
    vol: str, cost: str, *, closed: str = "0", side: str = "buy", time: int = 1, position_id: str = "TP"
) -> RestPosition:
    wire = PositionRow(
        ordertxid="O", pair="XXBTZUSD", time=Number(time), type=side, ordertype="limit", cost=Number(cost),
        fee=Number(0), vol=Number(vol), vol_closed=Number(closed), margin=Number(0),
    )  # fmt: skip
    return RestPosition(position_id=position_id, symbol="BTC/USD", side=Side(side), row=wire, received_s=0.0)


def told(positions: Positions, answer: dict[str, OpenLots], *, at_s: float) -> None:
    positions.begin(now=at_s)
    positions.answered(answer)
    assert positions.settle(now=at_s + positions.lag_s)


# -- lots


def test_a_fill_without_margin_makes_no_position() -> None:
    assert traded(None, fill(Side.BUY, "1", "100", margin=False)) == (None, D(0))
    positions = Positions()
    positions.apply(fill(Side.BUY, "1", "100", margin=False))
    assert positions.all() == {}
    assert not positions.in_play


def test_lots_are_closed_in_the_order_in_which_they_were_opened() -> None:
    state, _ = traded(None, fill(Side.BUY, "1", "100"))
    state, _ = traded(state, fill(Side.BUY, "2", "110"))
    state, earned = traded(state, fill(Side.SELL, "1.5", "120"))
    assert state == OpenLots(Side.BUY, (Lot(D("1.5"), D(110)),))
    assert earned == D("25.0")  # 1 x 20 and 0.5 x 10


def test_a_fill_beyond_the_position_turns_it_around() -> None:
    state, _ = traded(None, fill(Side.SELL, "1", "100"))
    state, earned = traded(state, fill(Side.BUY, "3", "90"))
    assert state is not None
    assert (state.side, state.net, earned) == (Side.BUY, D(2), D(10))
    assert traded(state, fill(Side.SELL, "2", "90")) == (None, D(0))


@given(st.lists(st.tuples(st.sampled_from(Side), st.integers(1, 9), st.integers(1, 99)), max_size=20))
def test_what_was_earned_and_what_is_open_account_for_all_money_spent(fills: list[tuple[Side, int, int]]) -> None:
    positions = Positions()
    told(positions, {}, at_s=-100.0)
    net, spent = D(0), D(0)
    for side, qty, price in fills:
        positions.apply(fill(side, str(qty), str(price)))
        sign = 1 if side is Side.BUY else -1
        net += sign * qty
        spent += sign * qty * price
    state = positions.get("BTC/USD")
    position = state.position
    sign = 1 if position is None or position.side is Side.BUY else -1
    assert (D(0) if position is None else sign * position.qty) == net
    assert (D(0) if position is None else sign * position.cost) == spent + state.realised


def test_the_price_of_the_venue_s_lot_is_the_tick_that_explains_its_cost() -> None:
    lots = open_lots([row("0.3", "17901.09"), row("3", "1.00001", time=2, closed="1")], {"BTC/USD": BTC})
    assert lots["BTC/USD"].lots[0] == Lot(D("0.3"), D("59670.3"))
    assert lots["BTC/USD"].lots[1].qty == D(2)
    assert abs(lots["BTC/USD"].lots[1].price - D("0.33333666")) < D("0.00000001"), "no tick: several prices in one"


def test_rows_that_are_closed_are_no_position_and_nonsense_is_refused() -> None:
    assert open_lots([row("1", "100", closed="1")], {}) == {}
    for rows in ([row("0", "0")], [row("1", "1", closed="2")], [row("1", "1"), row("1", "1", side="sell")]):
        with pytest.raises(DecodeError):
            open_lots(rows, {})


# -- what the venue says


def test_nothing_is_known_before_the_venue_was_asked_and_it_says_why() -> None:
    positions = Positions()
    positions.failed("EGeneral:Permission denied")
    state = positions.get("BTC/USD")
    assert (state.position, state.known, state.verified, state.checked_s) == (None, False, False, None)
    assert "EGeneral:Permission denied" in state.why
    assert positions.wanted


def test_a_position_from_before_is_there_and_fills_add_to_it() -> None:
    positions = Positions()
    told(positions, {"BTC/USD": long("2")}, at_s=10.0)
    positions.apply(fill(Side.BUY, "1", "110", at_s=20.0))
    state = positions.get("BTC/USD")
    assert state.position is not None
    assert (state.position.qty, state.position.cost, state.verified) == (D(3), D(310), True)
    assert (state.source, state.checked_s) == (Source.REST, 13.0)
    assert positions.get("ETH/USD").verified, "the venue did not mention it: nothing is open"


def test_a_fill_in_the_window_of_an_answer_is_counted_once_or_left_open() -> None:
    positions = Positions()
    positions.begin(now=10.0)
    positions.apply(fill(Side.BUY, "1", "100", at_s=10.1))
    positions.answered({"BTC/USD": long("1")})
    positions.settle(now=13.0)
    assert not positions.get("BTC/USD").verified, "one or two: the answer may hold the fill"
    assert positions.wanted
    told(positions, {"BTC/USD": long("1")}, at_s=20.0)
    state = positions.get("BTC/USD")
    assert state.position is not None
    assert (state.position.qty, state.verified, positions.wanted) == (D(1), True, False)


def test_an_answer_may_be_older_than_the_question_and_miss_a_fill_that_was_read_before_it() -> None:
    positions = Positions()
    positions.apply(fill(Side.BUY, "1", "100", at_s=9.0))
    told(positions, {}, at_s=10.0)
    assert not positions.get("BTC/USD").verified
    told(positions, {"BTC/USD": long("1")}, at_s=20.0)
    assert positions.get("BTC/USD").verified


def test_an_answer_that_contradicts_the_fills_has_to_say_so_twice() -> None:
    positions = Positions()
    told(positions, {}, at_s=0.0)
    told(positions, {"BTC/USD": long("2")}, at_s=10.0)
    state = positions.get("BTC/USD")
    assert (state.position, state.verified, positions.corrected) == (None, False, 0)
    assert "OpenPositions makes it 2" in state.why
    told(positions, {"BTC/USD": long("2")}, at_s=20.0)
    state = positions.get("BTC/USD")
    assert state.position is not None
    assert (state.position.qty, state.verified, positions.corrected) == (D(2), True, 1)


def test_an_answer_whose_window_was_interrupted_is_worth_nothing() -> None:
    positions = Positions()
    positions.begin(now=0.0)
    positions.answered({})
    positions.abandon()
    assert not positions.settle(now=3.0)
    assert positions.wanted


# -- against a venue


class PositionsMachine(RuleBasedStateMachine):
    """A venue with fills on their way, and a REST that may be behind: whatever is called verified is what it has."""

    LAG = 3

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.states: list[tuple[int, OpenLots | None]] = [(-100, None)]
        """Everything that ever was open, with the time from which on it was."""
        self.wire: list[tuple[int, Fill]] = []
        self.heard: OpenLots | None = None
        """What is open after the fills that have arrived."""
        self.positions = Positions(float(self.LAG))
        self.asked: int | None = None
        self.answered: int | None = None

    @rule(side=st.sampled_from(Side), qty=st.integers(1, 3), price=st.integers(90, 110))
    def fill_happens(self, side: Side, qty: int, price: int) -> None:
        done = fill(side, D(qty), D(price))
        self.states.append((self.now, traded(self.states[-1][1], done)[0]))
        self.wire.append((self.now, done))

    @rule(seconds=st.integers(1, 4))
    def time_passes(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now += 1
            while self.wire and self.wire[0][0] + self.LAG <= self.now:
                self.fill_arrives()
            if self.answered is not None and self.answered + self.LAG <= self.now:
                assert self.positions.settle(now=float(self.now))
                self.asked = self.answered = None

    @precondition(lambda self: bool(self.wire))
    @rule()
    def fill_arrives(self) -> None:
        _, done = self.wire.pop(0)
        arrived = fill(done.side, done.qty, done.price, at_s=float(self.now))
        self.heard = traded(self.heard, arrived)[0]
        self.positions.apply(arrived)

    @precondition(lambda self: self.asked is None)
    @rule()
    def venue_is_asked(self) -> None:
        self.asked = self.now
        self.positions.begin(now=float(self.now))

    @precondition(lambda self: self.asked is not None and self.answered is None)
    @rule(data=st.data())
    def it_answers(self, data: st.DataObject) -> None:
        """It speaks of any moment from LAG before the question on."""
        assert self.asked is not None
        possible = [state for at, state in self.states if at > self.asked - self.LAG]
        before = [state for at, state in self.states if at <= self.asked - self.LAG][-1]
        said = data.draw(st.sampled_from([before, *possible]))
        self.positions.answered({} if said is None else {"BTC/USD": said})
        self.answered = self.now

    @precondition(lambda self: self.asked is None)
    @rule(data=st.data(), arrives=st.booleans())
    def fills_come_around_a_question(self, data: st.DataObject, arrives: bool) -> None:
        for _ in range(data.draw(st.integers(1, 2))):
            self.fill_happens(data.draw(st.sampled_from(Side)), data.draw(st.integers(1, 3)), 100)
        while arrives and self.wire:
            self.fill_arrives()
        self.venue_is_asked()
        self.it_answers(data)

    @precondition(lambda self: self.asked is not None)
    @rule()
    def it_does_not_answer(self) -> None:
        self.positions.failed("out of reach")
        self.asked = self.answered = None

    @precondition(lambda self: self.asked is not None)
    @rule()
    def the_line_is_cut(self) -> None:
        self.positions.abandon()
        self.asked = self.answered = None

    @rule()
    def quiet_comes(self) -> None:
        for _ in range(2):
            self.now += 2 * self.LAG
            while self.wire:
                self.fill_arrives()
            self.now += 2 * self.LAG
            self.positions.begin(now=float(self.now))
            said = self.states[-1][1]
            self.positions.answered({} if said is None else {"BTC/USD": said})
            self.positions.settle(now=float(self.now))
            self.asked = self.answered = None
        assert self.positions.get("BTC/USD").verified
        assert not self.positions.wanted

    @invariant()
    def what_is_verified_is_what_is_open(self) -> None:
        state = self.positions.get("BTC/USD")
        if state.verified:
            shown = None if state.position is None else OpenLots(state.position.side, state.position.lots)
            assert shown == self.heard
        else:
            assert state.why

    @invariant()
    def nothing_is_ever_corrected_that_was_right(self) -> None:
        assert self.positions.corrected == 0


TestPositionsMachine = PositionsMachine.TestCase
TestPositionsMachine.settings = settings(max_examples=150, stateful_step_count=40)
