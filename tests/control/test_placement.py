"""Streams go round the lines, each on as many as there is redundancy, and stay where they are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.control.placement import Placement

names = st.integers(1, 5).map(lambda count: tuple("ABCDE"[:count]))


@given(names, st.integers(1, 6), st.integers(1, 40))
def test_every_stream_is_on_so_many_different_lines_and_the_load_is_even(
    lines: tuple[str, ...], redundancy: int, streams: int
) -> None:
    placement: Placement[int] = Placement(lines, redundancy)
    placed = [placement.place(key) for key in range(streams)]
    assert all(len(set(one)) == len(one) == min(redundancy, len(lines)) for one in placed)
    load = placement.load().values()
    assert max(load) - min(load) <= min(redundancy, len(lines))
    assert [placement.place(key) for key in range(streams)] == placed, "nothing moves by itself"


def test_a_stream_that_everybody_needs_is_on_every_line() -> None:
    placement: Placement[str] = Placement(("A", "B", "C"), 1)
    assert set(placement.place("instruments", everywhere=True)) == {"A", "B", "C"}


def test_a_stream_moves_to_the_line_that_carries_least_and_keeps_its_other_places() -> None:
    placement: Placement[str] = Placement(("A", "B", "C", "D"), 2)
    assert placement.place("one") == ("A", "B")
    assert placement.place("two") == ("B", "C")
    assert placement.move("one", "B") == "D"
    assert placement.lines_of("one") == ("A", "D")
    assert placement.move("one", "C") is None, "it is not there"


def test_a_stream_that_is_everywhere_cannot_move() -> None:
    placement: Placement[str] = Placement(("A", "B"), 2)
    placement.place("one")
    assert placement.move("one", "A") is None
    assert placement.lines_of("one") == ("A", "B")


def test_a_stream_that_was_dropped_is_nowhere_and_is_placed_anew() -> None:
    placement: Placement[str] = Placement(("A", "B"), 1)
    assert placement.place("one") == ("A",)
    assert placement.drop("one") == ("A",)
    assert placement.lines_of("one") == ()
    assert placement.drop("one") == ()
    assert placement.place("one") == ("B",)
