"""What the queue of calls promises holds at every step: who leaves between two of them, and what the pace allows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from itertools import pairwise
from typing import Any

import attrs
import pytest
import trio
from tests.rest.harness import CONFIG, KEY, Hang, Http, TinyVenue, rest_of
from tests.wire.harness import MemoryNetwork, runtime_on
from trio.testing import MockClock, assert_checkpoints

from kraken_engine.config import Config
from kraken_engine.control.rest_limits import PublicPace
from kraken_engine.errors import EngineError, NotSent, RestFailed, UsageError
from kraken_engine.normalise.events import CircuitChanged, Notice
from kraken_engine.rest.operations import Group
from kraken_engine.tasks.rest import Rest, open_rest


def config(**changes: Any) -> Config:
    return attrs.evolve(CONFIG, rest=attrs.evolve(CONFIG.rest, **changes))


ORDERS = config(allow_add_order=True)


async def outcome(call: Callable[[], Awaitable[Any]]) -> Any:
    try:
        return await call()
    except EngineError as error:
        return error


def order(rest: Rest, **changes: Any) -> Awaitable[Any]:
    return rest.private.add_order("BTC/USD", "buy", "limit", "1", price="1", **changes)


async def test_public_calls_that_come_together_leave_at_the_pace_of_the_address(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    async with rest_of(venue) as rest, trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(rest.public.time)
    times = [seen.at_s for seen in venue.seen]
    gap_s = 1 / PublicPace().overall_per_second
    assert all(later - earlier >= gap_s - 1e-6 for earlier, later in pairwise(times))


async def test_an_order_whose_second_attempt_is_not_answered_may_live(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    async with rest_of(venue, ORDERS) as rest:
        await rest.public.symbols()
        venue.script["AddOrder"] = [["EAPI:Invalid nonce"], Hang()]
        raised = await outcome(lambda: order(rest, timeout_s=5.0))
    assert venue.names().count("AddOrder") == 2
    assert isinstance(raised, RestFailed)
    assert raised.maybe_executed


@pytest.mark.parametrize("status", [201, 202, 204, 299])
async def test_an_order_with_an_answer_of_another_success_may_live(autojump_clock: MockClock, status: int) -> None:
    venue = TinyVenue()
    async with rest_of(venue, ORDERS) as rest:
        venue.script["AddOrder"] = [Http(status)]
        raised = await outcome(lambda: order(rest))
        assert raised.maybe_executed
    assert venue.names().count("AddOrder") == 1


async def test_a_caller_that_is_cancelled_at_any_step_frees_the_way_of_its_key(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    async with rest_of(venue) as rest:
        await rest.public.symbols(assets=True)
        for steps in [*range(8)] * 12:
            venue.script["Balance"] = [Hang()]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(rest.private.balance)
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            begin = trio.current_time()
            await rest.private.api_key_info()
            assert trio.current_time() == begin
            await trio.sleep(5.0)  # for the counter of the key


async def test_a_cancel_waits_for_no_question_at_whatever_step_it_comes(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    async with rest_of(venue) as rest:
        await rest.public.symbols(assets=True)
        for steps in [*range(8)] * 12:
            async with trio.open_nursery() as nursery:
                venue.script["Balance"] = [Hang()]
                nursery.start_soon(outcome, rest.private.balance)
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                begin = trio.current_time()
                await rest.private.cancel_all()
                assert trio.current_time() - begin <= 2 * CONFIG.rest.abort_reads_after_s
                nursery.cancel_scope.cancel()
            await trio.sleep(10.0)


async def test_farewells_at_the_very_end_leave_one_at_a_time_with_rising_nonces(autojump_clock: MockClock) -> None:
    venue = TinyVenue(latency_s=0.1)
    async with trio.open_nursery() as nursery:
        runtime = runtime_on(MemoryNetwork(nursery, venue.serve))
        with trio.CancelScope() as outside:
            async with open_rest(CONFIG, runtime=runtime, key=KEY) as rest:
                try:
                    outside.cancel()
                    await trio.sleep_forever()
                finally:
                    with trio.CancelScope(shield=True, deadline=trio.current_time() + 10):
                        async with trio.open_nursery() as farewells:
                            for _ in range(8):
                                farewells.start_soon(partial(rest.private.cancel_all, group=Group.FAREWELL))
        nursery.cancel_scope.cancel()
    assert venue.names() == ["CancelAll"] * 8
    assert venue.nonces() == sorted(set(venue.nonces()))


async def test_a_farewell_at_the_very_end_is_tried_again(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    venue.script["CancelAll"] = [["EAPI:Invalid nonce"], ["EService:Unavailable"]]
    async with trio.open_nursery() as nursery:
        runtime = runtime_on(MemoryNetwork(nursery, venue.serve))
        with trio.CancelScope() as outside:
            async with open_rest(CONFIG, runtime=runtime, key=KEY) as rest:
                try:
                    outside.cancel()
                    await trio.sleep_forever()
                finally:
                    with trio.CancelScope(shield=True, deadline=trio.current_time() + 10):
                        await rest.private.cancel_all(group=Group.FAREWELL)
        nursery.cancel_scope.cancel()
    assert venue.names() == ["CancelAll"] * 3


async def test_a_closed_client_refuses_with_a_checkpoint(autojump_clock: MockClock) -> None:
    """Who tries again in a loop must not stop the whole process."""
    async with rest_of(TinyVenue()) as rest:
        pass
    with pytest.raises(NotSent, match="closed"), assert_checkpoints():
        await rest.private.api_key_info()


async def test_the_time_of_a_call_covers_the_wait_for_the_disk(autojump_clock: MockClock) -> None:
    class Stuck:
        async def mark(self, fingerprint: str) -> int:
            return 0

        async def raise_mark(self, fingerprint: str, mark: int) -> None:
            await trio.sleep(12.0)

    venue = TinyVenue()
    venue.script["CancelAll"] = [Hang()]
    async with rest_of(venue, config(max_retries=0), marks=Stuck()) as rest:
        begin = trio.current_time()
        raised = await outcome(rest.private.cancel_all)
        assert trio.current_time() - begin == pytest.approx(CONFIG.rest.timeout_s)
        assert raised.maybe_executed


async def test_a_disk_that_takes_the_whole_time_of_a_call_sends_nothing(autojump_clock: MockClock) -> None:
    class Stuck:
        async def mark(self, fingerprint: str) -> int:
            return 0

        async def raise_mark(self, fingerprint: str, mark: int) -> None:
            await trio.sleep(1000.0)

    venue = TinyVenue()
    async with rest_of(venue, marks=Stuck()) as rest:
        begin = trio.current_time()
        with pytest.raises(NotSent, match="mark of its nonces"):
            await rest.private.cancel_all()
        assert trio.current_time() - begin == pytest.approx(CONFIG.rest.timeout_s)
    assert venue.seen == []


async def test_a_text_that_cannot_be_sent_is_the_callers_mistake_alone(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    async with rest_of(venue) as rest:
        with pytest.raises(UsageError, match="txid"):
            await rest.private.cancel_order("O\ud800")
        await rest.private.cancel_order("O1")
    assert venue.names() == ["CancelOrder"]


async def test_recovery_calls_behind_a_waiting_token_call_follow_it_as_soon_as_it_succeeds(
    autojump_clock: MockClock,
) -> None:
    venue = TinyVenue()
    async with rest_of(venue) as rest, trio.open_nursery() as nursery:
        await rest.public.symbols(assets=True)
        venue.script["CancelAll"] = [["EAPI:Rate limit exceeded"]]
        await outcome(rest.private.cancel_all)
        venue.seen.clear()
        nursery.start_soon(partial(rest.private.websockets_token, timeout_s=400))
        await trio.sleep(0.1)
        for _ in range(2):
            nursery.start_soon(partial(rest.private.balance, timeout_s=400))
    assert venue.names() == ["GetWebSocketsToken", "Balance", "Balance"]
    assert venue.seen[-1].at_s - venue.seen[0].at_s < 1.0


async def test_a_breaker_that_lets_probes_through_again_is_announced_then(autojump_clock: MockClock) -> None:
    venue, notices = TinyVenue(), list[Notice]()
    async with rest_of(venue, notices=notices) as rest:
        venue.script["Balance"] = [["EAPI:Rate limit exceeded"]]
        await outcome(rest.private.balance)
        await trio.sleep(301.0)
        states = [notice.state for notice in notices if isinstance(notice, CircuitChanged)]
        assert states == ["open", "half_open"]
