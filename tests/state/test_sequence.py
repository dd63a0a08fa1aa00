"""A message is next, repeated, beyond a gap, or before any snapshot (I-14)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.state.sequence import Place, Sequence


def test_messages_follow_their_snapshot_one_by_one() -> None:
    sequence = Sequence()
    assert sequence.take(1, snapshot=True) is Place.NEXT
    assert [sequence.take(n, snapshot=False) for n in (2, 3, 3, 2, 4)] == [
        Place.NEXT, Place.NEXT, Place.REPEATED, Place.REPEATED, Place.NEXT,
    ]  # fmt: skip
    assert (sequence.repeated, sequence.gaps) == (2, 0)


def test_a_gap_is_noticed_on_the_next_message_and_not_stepped_over() -> None:
    sequence = Sequence()
    sequence.take(1, snapshot=True)
    assert sequence.take(3, snapshot=False) is Place.BEYOND
    assert sequence.last == 1


def test_nothing_can_be_placed_before_a_snapshot() -> None:
    sequence = Sequence()
    assert sequence.take(1, snapshot=False) is Place.EARLY
    sequence.take(1, snapshot=True)
    sequence.reset()
    assert sequence.take(2, snapshot=False) is Place.EARLY


@given(st.lists(st.integers(2, 30)))
def test_what_is_taken_is_an_unbroken_run(numbers: list[int]) -> None:
    sequence = Sequence()
    sequence.take(1, snapshot=True)
    taken = [number for number in numbers if sequence.take(number, snapshot=False) is Place.NEXT]
    assert taken == list(range(2, 2 + len(taken)))
