"""The drills' own judgement: what is complete, what is not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.drills._truth import Comparison, compare

SENT = list(range(100, 110))


def test_what_was_sent_is_complete_wherever_it_begins_and_ends() -> None:
    assert compare(SENT[3:8], SENT) == Comparison(shown=5)
    assert compare([7, *SENT[3:]], SENT) == Comparison(shown=8), "a first snapshot was never sent as an update"
    assert compare([], SENT) == Comparison()


def test_holes_repetitions_and_inventions_are_counted() -> None:
    assert compare([100, 103, 104], SENT).missing == 2
    assert compare([100, 101, 101, 102, 100], SENT) == Comparison(shown=5, repeated=2)
    assert compare([100, 7, 101], SENT) == Comparison(shown=3, unknown=1)
    assert compare([100, 102, 101, 103], SENT) == Comparison(shown=4, missing=1, repeated=1)


@given(st.lists(st.integers(0, 8), max_size=12, unique=True), st.data())
def test_leaving_out_showing_twice_and_inventing_are_told_apart(sent: list[int], data: st.DataObject) -> None:
    left_out = data.draw(st.sets(st.sampled_from(sent[1:-1]), max_size=3)) if len(sent) > 2 else set()
    shown = [point for point in sent if point not in left_out]
    assert compare(shown, sent) == Comparison(shown=len(shown), missing=len(left_out))
    if shown:
        twice = data.draw(st.integers(0, len(shown) - 1))
        again = [*shown[: twice + 1], shown[twice], *shown[twice + 1 :]]
        assert compare(again, sent) == Comparison(shown=len(again), missing=len(left_out), repeated=1)
