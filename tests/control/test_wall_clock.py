"""A wall clock that was set, or is wrong, is told of once; one that is merely adjusted is not (I-28)."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.config import ClockSettings
from kraken_engine.control.wall_clock import Agrees, ClockNews, Differs, Stepped, WallClock

T0 = 1_795_000_000
SETTINGS = ClockSettings(step_s=1.0, offset_s=2.0)


def shown(
    watch: WallClock, wall_s: float, *, now: float, offset_s: float | None = None, error_s: float = 0.0
) -> object:
    return watch.look(round((T0 + wall_s) * 1e9), now=now, offset_s=offset_s, error_s=error_s)


def test_a_step_either_way_is_told_once() -> None:
    watch = WallClock(SETTINGS)
    assert shown(watch, 0.0, now=0.0) == []
    assert shown(watch, 10.5, now=10.0) == []  # a time server at work
    assert shown(watch, -3589.5, now=20.0) == [Stepped(-3610.0)]
    assert shown(watch, -3579.5, now=30.0) == []
    assert shown(watch, 1220.5, now=30.0) == [Stepped(4800.0)]
    assert shown(watch, 1230.5, now=40.0) == []


def test_a_machine_that_slept_looks_like_a_step_ahead() -> None:
    watch = WallClock(SETTINGS)
    shown(watch, 0.0, now=0.0)
    assert shown(watch, 1210.0, now=10.0) == [Stepped(1200.0)]


def test_a_difference_from_the_venue_is_told_and_its_end() -> None:
    watch = WallClock(SETTINGS)
    told = [
        shown(watch, now, now=now, offset_s=offset) for now, offset in enumerate([1.9, -2.0, -2.5, -1.1, -0.9, 0.0])
    ]
    assert told == [[], [Differs(-2.0)], [], [], [Agrees(-0.9)], []]


def test_what_may_be_an_error_of_measurement_is_no_difference() -> None:
    watch = WallClock(SETTINGS)
    assert shown(watch, 0.0, now=0.0, offset_s=5.0, error_s=3.5) == []
    assert shown(watch, 1.0, now=1.0, offset_s=5.0, error_s=0.5) == [Differs(5.0)]


def test_the_step_comes_before_a_difference_that_was_measured_before_it() -> None:
    watch = WallClock(SETTINGS)
    shown(watch, 0.0, now=0.0, offset_s=0.0)
    assert shown(watch, 100.0, now=10.0, offset_s=90.0) == [Stepped(90.0)]
    assert shown(watch, 110.0, now=20.0, offset_s=None) == []
    assert shown(watch, 120.0, now=30.0, offset_s=90.0) == [Differs(90.0)]


@given(st.lists(st.tuples(st.floats(0.1, 60.0), st.floats(-1e6, 1e6), st.floats(-10.0, 10.0) | st.none()), max_size=30))
def test_every_step_that_counts_is_told_and_differences_take_turns_with_agreement(
    looks: Sequence[tuple[float, float, float | None]],
) -> None:
    watch = WallClock(SETTINGS)
    now, error = 0.0, 0.0
    watch.look(T0 * 10**9, now=now)
    others: list[ClockNews] = []
    for pause_s, step_s, offset_s in looks:
        now, error = now + pause_s, error + step_s
        news = watch.look(round((T0 + now + error) * 1e9), now=now, offset_s=offset_s)
        assert (
            any(isinstance(each, Stepped) for each in news) is (abs(step_s) > 1.0 + 1e-3)
            or abs(abs(step_s) - 1.0) < 2e-3
        )
        others += [each for each in news if not isinstance(each, Stepped)]
    assert [type(each) for each in others] == [(Differs, Agrees)[n % 2] for n in range(len(others))]
