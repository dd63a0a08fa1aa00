from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.state.venue_time import VenueTimeFloor, is_before, is_venue_time, time_key

micros = st.sampled_from([0, 1, 10, 120_000, 500_000]) | st.integers(0, 999_999)
moments = st.tuples(st.integers(0, 3), micros, st.booleans())
START = datetime.fromisoformat("2026-11-22T23:59:59+00:00")


def written(moment: tuple[int, int, bool]) -> str:
    seconds, micros, short = moment
    at = START + timedelta(seconds=seconds, microseconds=micros)
    fraction = f"{at.microsecond:06d}"
    fraction = fraction.rstrip("0") if short else fraction
    return at.strftime("%Y-%m-%dT%H:%M:%S") + (f".{fraction}" if fraction else "") + "Z"


@given(moments, moments)
def test_older_is_older_however_many_digits_it_is_written_with(
    a: tuple[int, int, bool], b: tuple[int, int, bool]
) -> None:
    floor = VenueTimeFloor()
    floor.raise_to(written(a))

    assert floor.is_behind(written(b)) == (b[:2] < a[:2])
    assert is_before(written(b), written(a)) == (b[:2] < a[:2])
    assert (time_key(written(a)) == time_key(written(b))) == (a[:2] == b[:2])
    assert time_key("") < time_key(written(a))


def test_no_time_is_never_behind_and_raises_nothing() -> None:
    floor = VenueTimeFloor()
    floor.raise_to("2026-11-22T07:00:00Z")

    floor.raise_to(None)

    assert not floor.is_behind(None)
    assert floor.is_behind("2026-11-22T06:59:59.999999Z")


@given(moments)
def test_what_the_venue_writes_is_a_venue_time(moment: tuple[int, int, bool]) -> None:
    assert is_venue_time(written(moment))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Z",
        "2026-11-22",
        "2026-11-22T07:00:00",
        "2026-11-22T07:00:00.Z",
        "2026-11-22T07:00:0٣Z",
        "2026-11-22T07:00:00ZZ",
    ],
)
def test_anything_else_is_not(text: str) -> None:
    assert not is_venue_time(text)
