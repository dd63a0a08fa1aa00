"""A refused nonce is followed by one above the venue's own time, which is asked for then (I-20)."""

from __future__ import annotations

import attrs
import pytest
import trio
from tests.rest.harness import RESULTS, Hang, TinyVenue, rest_of
from trio.testing import MockClock

from kraken_engine.errors import NonceRejected
from kraken_engine.runtime import Runtime

NOW_S: int = RESULTS["Time"]["unixtime"]


@attrs.frozen
class WrongClock:
    """The wall clock of a machine that is ``late_s`` behind the venue's."""

    late_s: float

    def now(self) -> float:
        return trio.current_time()

    def wall_ns(self) -> int:
        return round((NOW_S + trio.current_time() - self.late_s) * 1e9)

    def cpu_s(self) -> float:
        return 0.0


def late(runtime: Runtime) -> Runtime:
    return attrs.evolve(runtime, clock=WrongClock(3600.0))


def used_until_now() -> TinyVenue:
    """A venue at which another program, with a clock that is right, has used the key until now."""
    venue = TinyVenue()
    venue.last_nonce["ordinary-key"] = NOW_S * 10**9
    return venue


async def test_a_clock_that_is_behind_costs_one_refusal(autojump_clock: MockClock) -> None:
    venue = used_until_now()
    async with rest_of(venue, change=late) as rest:
        for _ in range(3):
            await rest.private.api_key_info()
    assert venue.names() == ["GetApiKeyInfo", "Time", *["GetApiKeyInfo"] * 3]
    nonces = venue.nonces()
    assert nonces == sorted(set(nonces))
    assert nonces[-1] < (NOW_S + 60) * 10**9


async def test_a_venue_that_does_not_say_its_time_costs_a_few_seconds(autojump_clock: MockClock) -> None:
    venue = used_until_now()
    venue.script["Time"] = [Hang()] * 9
    async with rest_of(venue, change=late) as rest:
        with pytest.raises(NonceRejected):
            await rest.private.api_key_info()
        assert trio.current_time() < 15.0
    assert venue.nonces() == sorted(set(venue.nonces()))


async def test_the_time_is_not_asked_for_while_nonces_are_taken(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    async with rest_of(venue) as rest:
        for _ in range(5):
            await rest.private.api_key_info()
    assert "Time" not in venue.names()
