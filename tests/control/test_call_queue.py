"""The queue of REST calls: cancels first, nobody starves behind cheaper calls, and a bound that cancels do not feel."""

from __future__ import annotations

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kraken_engine.control.call_queue import CallQueue, Urgency, Wait


@attrs.frozen(eq=False)
class Call:
    number: int
    urgency: Urgency
    cost: int


def queue_of(*calls: Call, capacity: int = 256) -> CallQueue[Call]:
    queue: CallQueue[Call] = CallQueue(capacity)
    for call in calls:
        assert queue.put(call, call.urgency, cost=call.cost) is None
    return queue


def free(_: Call, __: int) -> float:
    return 0.0


def busy(_: Call, cost: int) -> float:
    return 2.0 if cost else 0.0


def test_the_most_urgent_goes_first_and_among_equals_the_one_that_came_first() -> None:
    order = [Urgency.HISTORY, Urgency.CANCEL, Urgency.TOKEN, Urgency.CANCEL, Urgency.FAREWELL]
    queue = queue_of(*(Call(n, urgency, 1) for n, urgency in enumerate(order)))
    taken = [queue.take(free) for _ in range(6)]
    assert [call.number if isinstance(call, Call) else call for call in taken] == [4, 1, 3, 2, 0, None]


def test_only_calls_that_cost_nothing_overtake_one_that_waits_for_the_limit() -> None:
    dear, cheap, order = Call(0, Urgency.RECOVERY, 4), Call(1, Urgency.HISTORY, 1), Call(2, Urgency.HISTORY, 0)
    queue = queue_of(dear, cheap, order)
    assert queue.take(lambda _, cost: 3.0 if cost == 4 else 0.0) is order
    assert queue.take(lambda _, cost: 3.0 if cost == 4 else 0.0) == Wait(3.0)
    assert queue.take(free) is dear


def test_a_full_queue_sends_away_the_least_urgent_and_latest() -> None:
    calls = [Call(0, Urgency.CANCEL, 1), Call(1, Urgency.BACKUP, 1), Call(2, Urgency.BACKUP, 1)]
    queue = queue_of(*calls, capacity=3)
    late = Call(3, Urgency.BACKUP, 1)
    assert queue.put(late, late.urgency) is late
    cancel = Call(4, Urgency.CANCEL, 1)
    assert queue.put(cancel, cancel.urgency) is calls[2]
    assert list(queue) == [calls[0], cancel, calls[1]]


def test_a_call_nobody_waits_for_leaves() -> None:
    token = Call(0, Urgency.TOKEN, 1)
    queue = queue_of(token)
    assert queue.waits(Urgency.TOKEN)
    assert queue.remove(token)
    assert not queue.remove(token)
    assert not queue.waits(Urgency.TOKEN)
    assert queue.take(free) is None


class QueueMachine(RuleBasedStateMachine):
    """The model is one list, sorted."""

    @initialize(capacity=st.integers(1, 5))
    def begin(self, capacity: int) -> None:
        self.queue: CallQueue[Call] = CallQueue(capacity)
        self.capacity = capacity
        self.model: list[Call] = []
        self.number = 0

    @rule(urgency=st.sampled_from(Urgency), cost=st.sampled_from([0, 1, 4]))
    def put(self, urgency: Urgency, cost: int) -> None:
        self.number += 1
        call = Call(self.number, urgency, cost)
        leaves = self.queue.put(call, urgency, cost=cost)
        self.model = sorted([*self.model, call], key=lambda each: (each.urgency, each.number))
        if len(self.model) > self.capacity:
            assert leaves is self.model.pop()
        else:
            assert leaves is None

    @rule(is_busy=st.booleans())
    def take(self, is_busy: bool) -> None:
        taken = self.queue.take(busy if is_busy else free)
        may_go = [call for call in self.model if not is_busy or call.cost == 0]
        if may_go:
            assert taken is may_go[0]
            self.model.remove(may_go[0])
        else:
            assert taken == (Wait(2.0) if self.model else None)

    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        if self.model:
            call = data.draw(st.sampled_from(self.model))
            assert self.queue.remove(call)
            self.model.remove(call)

    @invariant()
    def same_order(self) -> None:
        if hasattr(self, "queue"):
            assert list(self.queue) == self.model
            assert len(self.queue) == len(self.model)
            assert [u for u in Urgency if self.queue.waits(u)] == sorted({call.urgency for call in self.model})


QueueMachine.TestCase.settings = settings(stateful_step_count=40)
TestQueue = QueueMachine.TestCase
