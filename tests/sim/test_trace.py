"""The digest of a trace changes with every event, and with nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.errors import UsageError
from kraken_engine.sim.trace import TAIL_EVENTS, Fact, Sometimes, Trace

facts = st.lists(
    st.one_of(st.integers(), st.text(max_size=5), st.floats(allow_nan=False), st.booleans(), st.none()), max_size=3
)
events = st.lists(st.tuples(st.floats(0, 1e6), st.sampled_from(["tx", "rx", "fault"]), facts), max_size=8)
Event = tuple[float, str, list[Fact]]


def _traced(recorded: list[Event]) -> Trace:
    times = iter([at for at, _, _ in recorded])
    trace = Trace(now=lambda: next(times))
    for _, kind, of in recorded:
        trace(kind, *of)
    return trace


@given(events)
def test_equal_events_give_equal_digests(recorded: list[Event]) -> None:
    assert _traced(recorded).digest() == _traced(list(recorded)).digest()


@given(events, st.data())
def test_leaving_out_an_event_changes_the_digest(recorded: list[Event], data: st.DataObject) -> None:
    if recorded:
        missing = data.draw(st.integers(0, len(recorded) - 1))
        fewer = recorded[:missing] + recorded[missing + 1 :]
        assert _traced(recorded).digest() != _traced(fewer).digest()


def test_time_kind_and_facts_each_change_the_digest() -> None:
    base: Event = (1.0, "tx", ["a", 1])
    others: list[Event] = [
        (1.000001, "tx", ["a", 1]),
        (1.0, "rx", ["a", 1]),
        (1.0, "tx", ["b", 1]),
        (1.0, "tx", ["a", 2]),
    ]
    assert len({_traced([event]).digest() for event in [base, *others]}) == 5


def test_the_tail_keeps_the_last_events_in_words() -> None:
    trace = _traced([(float(i), "tx", [i]) for i in range(TAIL_EVENTS + 10)])
    assert len(trace.tail()) == TAIL_EVENTS
    assert trace.tail()[-1] == f"{TAIL_EVENTS + 9:.9f} tx ({TAIL_EVENTS + 9},)"
    assert trace.counts() == {"tx": TAIL_EVENTS + 10}


async def test_an_event_carries_the_virtual_time(autojump_clock: object) -> None:
    trace = Trace()
    trace("tx")
    assert len(trace.tail()) == 1


def test_what_was_registered_and_not_reached_is_reported() -> None:
    sometimes = Sometimes()
    sometimes.register("resync", "failover")
    sometimes.reach("resync")
    sometimes.register("resync")
    assert sometimes.counts() == {"resync": 1, "failover": 0}
    assert sometimes.never() == ["failover"]


def test_reaching_what_nobody_registered_is_an_error() -> None:
    with pytest.raises(UsageError, match="'typo'"):
        Sometimes().reach("typo")


def test_counters_of_several_runs_add_up() -> None:
    campaign = Sometimes()
    campaign.register("failover")
    campaign.add({"resync": 2, "failover": 0})
    campaign.add({"resync": 1, "failover": 0})
    assert campaign.counts() == {"failover": 0, "resync": 3}
    assert campaign.never() == ["failover"]


def test_an_observer_sees_every_event_from_then_on() -> None:
    trace = Trace(now=lambda: 1.0)
    trace("tx", "before")
    seen: list[tuple[str, tuple[Fact, ...]]] = []
    trace.observe(lambda kind, said: seen.append((kind, said)))
    trace("rx", "a<", 5)
    assert seen == [("rx", ("a<", 5))]
