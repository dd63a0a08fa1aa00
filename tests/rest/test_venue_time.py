"""A refused nonce is followed by one above the venue's own time, which is asked for then (I-20)."""

from __future__ import annotations

from datetime import UTC, datetime

import attrs
import pytest
import trio
from tests.rest.harness import RESULTS, Hang, Http, TinyVenue, rest_of
from trio.testing import MockClock

from kraken_engine.errors import NonceRejected
from kraken_engine.normalise.events import ClockNotice, Notice
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


def a_little_late(runtime: Runtime) -> Runtime:
    return attrs.evolve(runtime, clock=WrongClock(1800.0))


def right(runtime: Runtime) -> Runtime:
    return attrs.evolve(runtime, clock=WrongClock(0.0))


def ahead(runtime: Runtime) -> Runtime:
    return attrs.evolve(runtime, clock=WrongClock(-86_400.0))


def date(unix_s: int) -> bytes:
    at = datetime.fromtimestamp(unix_s, UTC)
    return f"Date: {at:%a, %d %b %Y %H:%M:%S} GMT\r\n".encode()


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


async def test_a_key_that_rested_goes_above_the_venues_time_first_if_it_was_not_known_before(
    autojump_clock: MockClock,
) -> None:
    """Else the one call after each rest is refused, and means another rest, for as long as the clock is behind."""
    venue = used_until_now()
    venue.script["Time"] = [["EService:Unavailable"]] * 9
    async with rest_of(venue, change=late) as rest:
        with pytest.raises(NonceRejected, match="Invalid nonce"):
            await rest.private.api_key_info()
        asked = venue.names()
        await trio.sleep(450.0)
        with pytest.raises(NonceRejected, match="another program"):
            await rest.private.api_key_info()
        assert venue.names() == asked
        venue.script["Time"].clear()
        await trio.sleep(450.0)
        await rest.private.api_key_info()
    assert venue.names()[len(asked) :] == ["Time", "GetApiKeyInfo"]


async def test_a_cancel_of_a_key_that_rests_goes_above_the_venues_time_and_ends_the_rest(
    autojump_clock: MockClock,
) -> None:
    """Else each cancel is refused, and prolongs the rest, until the venue locks the key out."""
    venue = used_until_now()
    venue.script["Time"] = [["EService:Unavailable"]] * 9
    async with rest_of(venue, change=late) as rest:
        with pytest.raises(NonceRejected, match="Invalid nonce"):
            await rest.private.api_key_info()
        asked = venue.names()
        venue.script["Time"].clear()
        await trio.sleep(310.0)  # the breaker of the public API was open as well
        await rest.private.cancel_all()
        await rest.private.api_key_info()
    assert venue.names()[len(asked) :] == ["Time", "CancelAll", "GetApiKeyInfo"]


async def test_the_time_is_not_asked_for_while_nonces_are_taken(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    async with rest_of(venue) as rest:
        for _ in range(5):
            await rest.private.api_key_info()
    assert "Time" not in venue.names()


async def test_the_date_of_any_answer_says_the_venues_time(autojump_clock: MockClock) -> None:
    """Also that of a refusal: the next nonce is above it, and nobody has to ask."""
    venue = TinyVenue()
    venue.script["GetApiKeyInfo"] = [Http(200, b'{"error":["EAPI:Invalid nonce"]}', date(NOW_S))]
    async with rest_of(venue, change=a_little_late) as rest:
        await rest.private.api_key_info()
        assert rest.public.venue_clock.now_ns(now=trio.current_time()) == pytest.approx((NOW_S + 0.5) * 1e9, abs=1e9)
    assert "Time" not in venue.names()
    assert venue.nonces()[-1] > NOW_S * 10**9


async def test_a_date_that_is_far_off_moves_no_nonce_unless_the_venue_itself_says_so(autojump_clock: MockClock) -> None:
    """The date is of whoever answered, the edge for one: a nonce from another century would shut the key for good."""
    venue = TinyVenue()
    lies = date(NOW_S + 60 * 365 * 86_400)
    venue.script["GetApiKeyInfo"] = [Http(200, b'{"error":["EAPI:Invalid nonce"]}', lies)]
    async with rest_of(venue, change=right) as rest:
        await rest.private.api_key_info()
    assert venue.names() == ["GetApiKeyInfo", "Time", "GetApiKeyInfo"]
    assert NOW_S * 10**9 < venue.nonces()[-1] < (NOW_S + 3600) * 10**9


async def test_a_date_nobody_vouches_for_moves_no_nonce(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    venue.script["SystemStatus"] = [Http(200, b'{"error":[],"result":{"status":"online"}}', date(NOW_S + 2 * 10**9))]
    venue.script["Time"] = [Hang()]
    async with rest_of(venue, change=right) as rest:
        await rest.public.system_status()
        await rest.private.api_key_info()
    assert NOW_S * 10**9 < venue.nonces()[-1] < (NOW_S + 3600) * 10**9


@pytest.mark.parametrize("years", [-56, 60])
async def test_nonces_follow_the_wall_clock_whatever_date_an_edge_has(years: int, autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    said = date(NOW_S + years * 365 * 86_400)
    venue.script["SystemStatus"] = [Http(200, b'{"error":[],"result":{"status":"online"}}', said)]
    async with rest_of(venue, change=right) as rest:
        await rest.public.system_status()
        for _ in range(2):
            await rest.private.api_key_info()
    assert venue.names() == ["SystemStatus", "Time", "GetApiKeyInfo", "GetApiKeyInfo"], "asked once, to be sure"
    assert all((NOW_S - 1) * 10**9 < nonce < (NOW_S + 3600) * 10**9 for nonce in venue.nonces())


async def test_nonces_that_do_not_follow_a_clock_are_told_of_once(autojump_clock: MockClock) -> None:
    venue, notices = TinyVenue(), list[Notice]()
    venue.script["SystemStatus"] = [Http(200, b'{"error":[],"result":{"status":"online"}}', date(NOW_S))]
    async with rest_of(venue, change=ahead, notices=notices) as rest:
        await rest.public.system_status()
        for _ in range(3):
            await rest.private.api_key_info()
    told = [notice.what for notice in notices if isinstance(notice, ClockNotice) and notice.step_s is not None]
    assert len(told) == 1
    assert told[0].startswith("main: nonces do not follow the wall clock, which is 86")
    assert all(nonce < (NOW_S + 3600) * 10**9 for nonce in venue.nonces())
