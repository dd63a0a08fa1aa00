"""Price-time priority, conservation of quantity, and what a listener hears, against a list-of-orders model."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kraken_engine.errors import UsageError
from kraken_engine.venue.core.matching import ASK, BID, MatchingBook

SIDES = st.sampled_from([BID, ASK])
PRICES = st.integers(90, 110)
QUANTITIES = st.integers(1, 50)


@attrs.define
class Echo:
    """Rebuilds one ladder from what a listener hears."""

    keys: list[int] = attrs.field(factory=list[int])
    totals: list[int] = attrs.field(factory=list[int])

    def inserted(self, index: int, key: int, total: int) -> None:
        self.keys.insert(index, key)
        self.totals.insert(index, total)

    def changed(self, index: int, key: int, total: int) -> None:
        assert self.keys[index] == key
        self.totals[index] = total

    def removing(self, index: int, key: int) -> None:
        assert self.keys.pop(index) == key
        self.totals.pop(index)


class Matching(RuleBasedStateMachine):
    """The model is a plain list of ``[id, side, price, qty]`` in order of arrival."""

    def __init__(self) -> None:
        super().__init__()
        self.book = MatchingBook()
        self.echoes = (Echo(), Echo())
        for ladder, echo in zip(self.book.ladders, self.echoes, strict=True):
            ladder.listeners.append(echo)
        self.model: list[list[int]] = []

    def queue(self, side: int) -> list[list[int]]:
        """Return the model's orders of ``side``, first to be filled first (sorting is stable)."""
        return sorted((o for o in self.model if o[1] == side), key=lambda o: -o[2] if side == BID else o[2])

    @rule(side=SIDES, price=PRICES, qty=QUANTITIES)
    def submit(self, side: int, price: int, qty: int) -> None:
        """An incoming limit order trades what it can and rests with what is left."""
        expected = self.model_take(side, qty, price)
        fills, left = self.book.take(side, qty, limit=price)
        assert ([(f.maker_id, f.price, f.qty) for f in fills], left) == expected
        if left:
            self.model.append([self.book.rest(side, price, left), side, price, left])

    @rule(side=SIDES, qty=QUANTITIES)
    def market(self, side: int, qty: int) -> None:
        expected = self.model_take(side, qty, None)
        fills, left = self.book.take(side, qty)
        assert ([(f.maker_id, f.price, f.qty) for f in fills], left) == expected

    def model_take(self, side: int, qty: int, limit: int | None) -> tuple[list[tuple[int, int, int]], int]:
        fills: list[tuple[int, int, int]] = []
        for order in self.queue(1 - side):
            if not qty or (limit is not None and (order[2] > limit if side == BID else order[2] < limit)):
                break
            part = min(qty, order[3])
            order[3] -= part
            qty -= part
            fills.append((order[0], order[2], part))
        self.model = [order for order in self.model if order[3]]
        return fills, qty

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        order = data.draw(st.sampled_from(self.model))
        self.model.remove(order)
        assert self.book.cancel(order[0]) == order[3]

    @precondition(lambda self: any(order[3] > 1 for order in self.model))
    @rule(data=st.data())
    def reduce(self, data: st.DataObject) -> None:
        order = data.draw(st.sampled_from([order for order in self.model if order[3] > 1]))
        order[3] = data.draw(st.integers(1, order[3] - 1))
        self.book.reduce(order[0], order[3])

    @invariant()
    def the_book_holds_what_the_model_holds(self) -> None:
        assert {o.id: o.qty for o in self.book.orders.values()} == {o[0]: o[3] for o in self.model}
        for side, (ladder, echo) in enumerate(zip(self.book.ladders, self.echoes, strict=True)):
            totals: dict[int, int] = {}
            for _, _, price, qty in self.queue(side):
                totals[price] = totals.get(price, 0) + qty
            assert [abs(key) for key in ladder.keys] == list(totals)
            assert [ladder.total(i) for i in range(len(ladder.keys))] == list(totals.values())
            assert (echo.keys, echo.totals) == (ladder.keys, list(totals.values()))

    @invariant()
    def the_book_is_never_crossed(self) -> None:
        bid, ask = self.book.best(BID), self.book.best(ASK)
        assert bid is None or ask is None or bid < ask


TestMatching = Matching.TestCase
TestMatching.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(side=SIDES, price=PRICES)
def test_an_order_that_would_trade_may_not_just_rest(side: int, price: int) -> None:
    book = MatchingBook()
    book.rest(1 - side, price, 1)
    with pytest.raises(UsageError, match="does not cross"):
        book.rest(side, price, 1)


@pytest.mark.parametrize("number", [0, -1])
def test_numbers_that_make_no_sense_are_refused_by_name(number: int) -> None:
    book = MatchingBook()
    for call in (
        lambda: book.rest(BID, 100, number),
        lambda: book.rest(BID, number, 1),
        lambda: book.take(ASK, number),
    ):
        with pytest.raises(UsageError, match="above 0"):
            call()


def test_an_order_that_is_not_there_cannot_be_cancelled_or_reduced() -> None:
    book = MatchingBook()
    with pytest.raises(UsageError, match="order 7"):
        book.cancel(7)
    with pytest.raises(UsageError, match="order 7"):
        book.reduce(7, 1)


def test_a_reduction_must_leave_less_than_there_is() -> None:
    book = MatchingBook()
    order = book.rest(BID, 100, 5)
    for qty in (0, 5, 6):
        with pytest.raises(UsageError, match="between 0 and 5"):
            book.reduce(order, qty)
