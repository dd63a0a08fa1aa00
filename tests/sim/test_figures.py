"""Times that were promised: what a distribution shows, and when a promise is broken."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.sim.figures import PROMISES, Figures, Promise, distribution, promise_of

NAME = "silence until everything is stale"
SECONDS = st.lists(st.floats(0, 100), min_size=1, max_size=200)


@given(SECONDS)
def test_a_percentile_is_a_time_that_was_taken_and_that_so_many_do_not_exceed(seconds: list[float]) -> None:
    shown = distribution(seconds)
    assert shown["count"] == len(seconds)
    assert (shown["min"], shown["max"]) == (min(seconds), max(seconds))
    for percent in (50, 90, 99):
        value = shown[f"p{percent}"]
        assert value in seconds
        below = sum(one <= value for one in seconds)
        assert below >= math.ceil(len(seconds) * percent / 100)
        assert sum(one < value for one in seconds) < math.ceil(len(seconds) * percent / 100)


def test_nothing_taken_is_no_distribution() -> None:
    assert distribution([]) == {"count": 0}
    assert Figures().broken() == []


def test_each_part_of_a_promise_is_judged_by_itself() -> None:
    promise = Promise(p50_s=1.0, p99_s=2.0, p100_s=3.0)
    assert str(promise) == "p50 <= 1 s, p99 <= 2 s, p100 <= 3 s"
    assert promise.broken_by([0.5] * 199 + [3.0]) == []
    assert promise.broken_by([0.5] * 199 + [3.5]) == ["p100 3.500 s, promised 3 s"]
    assert promise.broken_by([0.5] * 90 + [2.5] * 10) == ["p99 2.500 s, promised 2 s"]
    assert promise.broken_by([1.5] * 10) == ["p50 1.500 s, promised 1 s"]


def test_a_time_that_breaks_a_promise_for_every_case_is_told_at_once() -> None:
    told: list[str] = []
    figures = Figures(on_broken=told.append)
    figures.add(NAME, 2.75)
    assert told == []
    figures.add(NAME, 2.76)
    assert told == [f"{NAME}: expected at most 2.75 s, got 2.760 s"]
    figures.add("lost connection until every book is there again: reset_peer", 100.0)
    assert len(told) == 1, "what is promised of most cases is judged over many"


def test_what_follows_a_colon_tells_the_fault_and_not_the_promise() -> None:
    name = "silence until the connection is replaced"
    assert promise_of(f"{name}: forget") is PROMISES[name]
    assert promise_of("something else") == Promise()


def test_half_of_the_cases_are_those_of_all_faults_together_and_the_slow_ones_those_of_each() -> None:
    name = "lost connection until every book is there again"
    quick, slow = {f"{name}: reset_peer": [0.1] * 900}, {f"{name}: venue_close": [0.7] * 3}
    figures = Figures()
    figures.merge(quick | slow)
    assert list(figures.rows()) == [name, f"{name}: reset_peer", f"{name}: venue_close"]
    assert figures.broken() == []
    figures.merge({f"{name}: venue_close": [2.5]})
    assert figures.broken() == [f"{name}: venue_close: p99 2.500 s, promised 2 s"], "quick ones must not hide it"
    figures.merge({f"{name}: venue_close": [0.7] * 1000})
    assert figures.broken() == [f"{name}: p50 0.700 s, promised 0.5 s"]


def test_nothing_is_promised_of_what_is_hindered() -> None:
    figures = Figures()
    figures.add("lost connection until every book is there again, hindered: reset_peer", 100.0)
    figures.add("wrong checksum until the book is asked for anew, hindered", 100.0)
    assert figures.broken() == []
    assert list(figures.rows()) == sorted(figures.seconds)


@given(SECONDS, SECONDS)
def test_runs_add_up(first: list[float], second: list[float]) -> None:
    one, other = Figures(), Figures()
    for figures, seconds in ((one, first), (other, second)):
        for value in seconds:
            figures.add(NAME, value)
    one.merge(other.seconds)
    assert one.seconds == {NAME: first + second}


def test_what_is_kept_is_bounded() -> None:
    figures = Figures()
    for _ in range(5):
        figures.merge({"x": [1.0] * 60_000})
    assert len(figures.seconds["x"]) <= 100_000
