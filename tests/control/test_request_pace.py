"""Request pace: never more than promised in a second; complaints slow it down once each, and are forgiven."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.control.request_pace import RequestPace


def sent(pace: RequestPace, *, start: float, until: float) -> list[float]:
    now = start
    times: list[float] = []
    while True:
        now += pace.wait_s(now=now)
        if now > until:
            return times
        assert pace.take(now=now)
        times.append(now)


@given(per_second=st.floats(0.2, 60.0), start=st.floats(0.0, 1e6))
def test_no_second_sees_more_requests_than_allowed(per_second: float, start: float) -> None:
    times = sent(RequestPace(per_second), start=start, until=start + 3.0)
    for i, first in enumerate(times):
        assert sum(1 for t in times[i:] if t - first < 1.0 - 1e-6) <= max(1.0, per_second + 1.0 - 1e-9)
        if per_second.is_integer():
            assert sum(1 for t in times[i:] if t - first < 1.0 - 1e-6) <= max(1.0, per_second)


def test_the_default_pace_is_twenty_in_the_first_second() -> None:
    assert len(sent(RequestPace(20.0), start=0.0, until=0.999)) == 20


def test_a_complaint_halves_the_pace_and_empties_the_bucket() -> None:
    pace = RequestPace(20.0)
    pace.complained(sent_at=0.0, now=1.0)
    assert pace.wait_s(now=1.0) == 1 / 8
    assert len(sent(pace, start=1.0, until=11.0)) == 80


def test_many_complaints_about_one_burst_count_once() -> None:
    pace = RequestPace(20.0)
    for _ in range(25):
        pace.complained(sent_at=0.9, now=1.0)
    assert pace.wait_s(now=1.0) == 1 / 8


def test_the_pace_never_falls_below_a_sixteenth_and_comes_back() -> None:
    pace = RequestPace(20.0)
    for n in range(20):
        pace.complained(sent_at=n + 0.5, now=float(n + 1))
    assert pace.wait_s(now=20.0) == 1.0
    assert pace.take(now=81.0)
    assert len(sent(pace, start=82.0, until=82.999)) == 20
