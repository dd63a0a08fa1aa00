"""Calls leave in order of urgency, one at a time for each key, as long as breaker and limits let them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from itertools import pairwise
from typing import Any

import attrs
import pytest
import trio
from tests.rest.harness import (
    CONFIG,
    EMERGENCY_KEY,
    KEY,
    Drop,
    Hang,
    Http,
    TinyVenue,
    rest_of,
)
from tests.wire.harness import MemoryNetwork, runtime_on
from trio.testing import MockClock

from kraken_engine.config import Config
from kraken_engine.errors import (
    AuthRejected,
    CircuitOpen,
    DecodeError,
    EngineError,
    NonceRejected,
    NotSent,
    OperationNotAllowed,
    OrderRefused,
    RateLimited,
    RestFailed,
    StoreError,
)
from kraken_engine.model import Instrument
from kraken_engine.normalise.events import CircuitChanged, Notice
from kraken_engine.rest.calls import Attempt
from kraken_engine.rest.operations import Group
from kraken_engine.rest.sending import MemoryMarks
from kraken_engine.tasks.rest import Rest, open_rest


def config(**changes: Any) -> Config:
    return attrs.evolve(CONFIG, rest=attrs.evolve(CONFIG.rest, **changes))


ONCE = config(max_retries=0)


async def outcome(call: Callable[[], Awaitable[Any]]) -> Any:
    try:
        return await call()
    except EngineError as error:
        return error


async def ready(rest: Rest) -> None:
    """Fetch the names beforehand, so that only the call in question is seen."""
    await rest.public.symbols(assets=True)


# -- order


async def test_the_most_urgent_call_leaves_first(autojump_clock: MockClock) -> None:
    venue = TinyVenue(latency_s=0.4)
    async with rest_of(venue) as rest, trio.open_nursery() as nursery:
        await ready(rest)
        venue.seen.clear()
        private = rest.private
        nursery.start_soon(private.balance)
        await trio.sleep(0.1)
        for call in (private.api_key_info, private.open_orders, private.websockets_token, private.cancel_all):
            nursery.start_soon(call)
            await trio.sleep(0.01)
    assert venue.names() == ["Balance", "CancelAll", "GetWebSocketsToken", "OpenOrders", "GetApiKeyInfo"]


async def test_signed_calls_are_one_at_a_time_on_one_connection_with_rising_nonces(autojump_clock: MockClock) -> None:
    venue = TinyVenue(latency_s=0.05)

    async def ask(rest: Rest) -> None:
        for _ in range(3):
            assert await rest.private.balance(timeout_s=1000) == {"BTC": pytest.approx(1.5)}

    async with rest_of(venue) as rest:
        await ready(rest)
        venue.seen.clear()
        async with trio.open_nursery() as nursery:
            for _ in range(32):
                nursery.start_soon(ask, rest)
    nonces = venue.nonces()
    assert len(nonces) == 96
    assert nonces == sorted(set(nonces))
    assert len({seen.connection for seen in venue.seen}) == 1
    times = [seen.at_s for seen in venue.seen]
    assert all(later - earlier > 0.049 for earlier, later in pairwise(times))


async def test_public_calls_may_be_in_flight_together(autojump_clock: MockClock) -> None:
    venue = TinyVenue(latency_s=5.0)
    async with rest_of(venue) as rest:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(rest.public.time)
        assert trio.current_time() < 10.0


async def test_a_full_queue_sends_away_the_least_urgent_and_always_takes_a_cancel(autojump_clock: MockClock) -> None:
    venue = TinyVenue(latency_s=0.4)
    results: dict[str, Any] = {}

    async with rest_of(venue, config(queue_calls=2)) as rest:
        await ready(rest)

        async def run(name: str, call: Callable[[], Awaitable[Any]]) -> None:
            results[name] = await outcome(call)

        async with trio.open_nursery() as nursery:
            calls: dict[str, Callable[[], Awaitable[Any]]] = {
                "first": rest.private.balance,
                "balance": rest.private.balance,
                "info": rest.private.api_key_info,
                "late info": rest.private.api_key_info,
                "cancel": rest.private.cancel_all,
            }
            for name, call in calls.items():
                nursery.start_soon(run, name, call)
                await trio.sleep(0.01)
    assert {name for name, result in results.items() if isinstance(result, NotSent)} == {"info", "late info"}
    assert results["cancel"].count == 0


async def test_an_urgent_cancel_ends_a_question_in_flight_which_then_goes_again(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    async with rest_of(venue) as rest:
        await ready(rest)
        venue.seen.clear()
        venue.script["Balance"] = [Hang(10.0)]
        begin = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rest.private.balance)
            await trio.sleep(0.2)
            await rest.private.cancel_all()
            assert trio.current_time() - begin == pytest.approx(0.5)
    assert venue.names() == ["Balance", "CancelAll", "Balance"]
    assert venue.nonces() == sorted(venue.nonces())


async def test_a_cancel_in_flight_is_never_ended_by_another_one(autojump_clock: MockClock) -> None:
    venue = TinyVenue(latency_s=3.0)
    async with rest_of(venue) as rest, trio.open_nursery() as nursery:
        nursery.start_soon(rest.private.cancel_all)
        await trio.sleep(0.1)
        await rest.private.cancel_all_orders_after(0)
    assert venue.names() == ["CancelAll", "CancelAllOrdersAfter"]


async def test_cancels_go_over_the_emergency_key_and_wait_for_nobody(autojump_clock: MockClock) -> None:
    venue = TinyVenue(latency_s=3.0)
    async with rest_of(venue, emergency_key=EMERGENCY_KEY) as rest, trio.open_nursery() as nursery:
        await ready(rest)
        begin = trio.current_time()
        nursery.start_soon(rest.private.balance)
        await trio.sleep(0.1)
        await rest.private.cancel_all()
        assert trio.current_time() - begin == pytest.approx(3.1)
    assert {seen.name: seen.key for seen in venue.seen if seen.key} == {
        "Balance": "ordinary-key",
        "CancelAll": "emergency-key",
    }


# -- callers that leave


async def test_a_cancelled_caller_frees_its_place_in_the_queue(autojump_clock: MockClock) -> None:
    venue = TinyVenue(latency_s=2.0)
    async with rest_of(venue) as rest, trio.open_nursery() as nursery:
        await ready(rest)
        venue.seen.clear()
        nursery.start_soon(rest.private.balance)
        await trio.sleep(0.1)
        with trio.move_on_after(0.5):
            await rest.private.open_orders()
        await rest.private.balance_ex()
    assert venue.names() == ["Balance", "BalanceEx"]


async def test_a_cancelled_caller_frees_the_way_in_flight(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    async with rest_of(venue) as rest:
        await ready(rest)
        venue.script["Balance"] = [Hang()]
        with trio.move_on_after(1.0):
            await rest.private.balance()
        begin = trio.current_time()
        await rest.private.open_orders()
        assert trio.current_time() == begin
        assert rest.private.statistics().waiting == 0


async def test_a_caller_waits_as_long_as_it_said(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    async with rest_of(venue) as rest, trio.open_nursery() as nursery:
        await ready(rest)
        venue.script["Balance"] = [Hang()]
        nursery.start_soon(outcome, rest.private.balance)
        await trio.sleep(0.1)
        begin = trio.current_time()
        with pytest.raises(NotSent, match="turn did not come within 3 s"):
            await rest.private.open_orders(timeout_s=3.0)
        assert trio.current_time() - begin == pytest.approx(3.0)
        nursery.cancel_scope.cancel()


# -- the breaker


async def test_three_failures_in_a_row_open_the_breaker_and_nothing_ordinary_leaves(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    notices: list[Notice] = []
    async with rest_of(venue, ONCE, notices=notices) as rest:
        await ready(rest)
        venue.seen.clear()
        venue.script["GetApiKeyInfo"] = [Drop(), Http(520, b"<html>"), ["EService:Unavailable"]]
        for _ in range(3):
            assert isinstance(await outcome(rest.private.api_key_info), EngineError)
        await trio.sleep(100)
        with pytest.raises(CircuitOpen) as caught:
            await rest.private.api_key_info()
        assert caught.value.retry_in_s == pytest.approx(200)
        assert len(venue.seen) == 3
        await trio.sleep(201)
        await rest.private.api_key_info()
    states = [notice.state for notice in notices if isinstance(notice, CircuitChanged)]
    assert states == ["open", "half_open", "closed"]


async def test_one_failed_call_counts_as_one_failure_however_often_it_was_retried(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    async with rest_of(venue) as rest:
        venue.script["GetApiKeyInfo"] = [Drop()] * 8
        for _ in range(2):
            with pytest.raises(RestFailed):
                await rest.private.api_key_info()
        assert venue.names().count("GetApiKeyInfo") == 8
        await rest.private.api_key_info()


async def test_a_rate_limit_answer_opens_the_breaker_at_once_and_is_not_retried(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    async with rest_of(venue) as rest:
        venue.script["GetApiKeyInfo"] = [["EAPI:Rate limit exceeded"]]
        with pytest.raises(RateLimited):
            await rest.private.api_key_info()
        with pytest.raises(CircuitOpen):
            await rest.private.api_key_info()
        await rest.public.time()  # the other breaker
    assert venue.names() == ["GetApiKeyInfo", "Time"]


@pytest.mark.parametrize(
    "step", [["EOrder:Unknown order"], ["EGeneral:Invalid arguments"], ["EGeneral:Permission denied"]]
)
async def test_a_venue_that_says_no_is_well(autojump_clock: MockClock, step: list[str]) -> None:
    venue = TinyVenue()
    async with rest_of(venue) as rest:
        venue.script["CancelOrder"] = [step] * 5
        for _ in range(5):
            with pytest.raises((OrderRefused, EngineError), match=step[0]):
                await rest.private.cancel_order("O1")
        await rest.private.cancel_order("O1")
    assert len(venue.seen) == 6


async def test_while_open_the_status_and_the_farewell_pass_and_nothing_waits_for_them(
    autojump_clock: MockClock,
) -> None:
    venue = TinyVenue()
    async with rest_of(venue, ONCE) as rest:
        for name in ("Time", "CancelAll"):
            venue.script[name] = [["EGeneral:Too many requests"]]
        await outcome(rest.public.time)
        await outcome(rest.private.cancel_all)
        assert isinstance(await outcome(rest.private.cancel_all), CircuitOpen)
        await rest.public.system_status()
        await rest.private.cancel_all(group=Group.FAREWELL)
        await rest.private.cancel_all_orders_after(0, group=Group.FAREWELL)
        assert isinstance(await outcome(rest.public.time), CircuitOpen)
    assert venue.names() == ["Time", "CancelAll", "SystemStatus", "CancelAll", "CancelAllOrdersAfter"]


async def test_a_waiting_token_call_is_the_first_probe_and_recovery_follows_it(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    async with rest_of(venue, ONCE) as rest:
        await ready(rest)
        venue.seen.clear()
        venue.script["GetApiKeyInfo"] = [["EService:Unavailable"]] * 3
        for _ in range(3):
            await outcome(rest.private.api_key_info)
        opened = trio.current_time()
        token = await rest.private.websockets_token()
        assert token.expires_s == 900
        assert 14.9 <= trio.current_time() - opened <= 15.1
        await rest.private.open_orders()
        assert isinstance(await outcome(rest.private.api_key_info), CircuitOpen)
    assert venue.names()[3:] == ["GetWebSocketsToken", "OpenOrders"]


async def test_a_recovery_call_is_told_when_it_may_probe(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    async with rest_of(venue, ONCE) as rest:
        await ready(rest)
        venue.script["Balance"] = [Drop()] * 3
        for _ in range(3):
            await outcome(rest.private.balance)
        with pytest.raises(CircuitOpen) as caught:
            await rest.private.balance()
        assert 0 < caught.value.retry_in_s <= 15.0
        await trio.sleep(caught.value.retry_in_s)
        await rest.private.balance()


async def test_a_probe_that_hangs_fails_after_ten_seconds(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    async with rest_of(venue, ONCE) as rest:
        await ready(rest)
        venue.script["Balance"] = [Drop()] * 3 + [Hang()]
        for _ in range(3):
            await outcome(rest.private.balance)
        await trio.sleep(15.0)
        begin = trio.current_time()
        with pytest.raises(RestFailed, match="within 10 s"):
            await rest.private.balance()
        assert trio.current_time() - begin == pytest.approx(10.0)


async def test_a_cancelled_probe_frees_its_place(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    async with rest_of(venue, ONCE) as rest:
        await ready(rest)
        venue.script["Balance"] = [Drop()] * 3 + [Hang()]
        for _ in range(3):
            await outcome(rest.private.balance)
        await trio.sleep(15.0)
        with trio.move_on_after(1.0):
            await rest.private.balance()
        await rest.private.balance()


async def test_a_time_that_the_venue_names_is_honoured_by_its_own_clock(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    async with rest_of(venue, ONCE) as rest:
        said = (await rest.public.time()).unixtime
        venue.script["GetApiKeyInfo"] = [[f"EService: Throttled: {said + 600}"]]
        await outcome(rest.private.api_key_info)
        with pytest.raises(CircuitOpen) as caught:
            await rest.private.api_key_info()
        assert caught.value.retry_in_s == pytest.approx(600, abs=2)


# -- retries


async def test_a_question_is_asked_again_up_to_three_times(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    async with rest_of(venue) as rest:
        venue.script["GetApiKeyInfo"] = [Drop(), Http(502), ["EService:Busy"]]
        assert (await rest.private.api_key_info()).permissions == ["query-funds"]
        assert rest.private.statistics().retries == 3
        venue.script["GetApiKeyInfo"] = [Http(502)] * 9
        with pytest.raises(RestFailed, match="502"):
            await rest.private.api_key_info()
    assert len(venue.seen) == 8
    assert venue.nonces() == sorted(venue.nonces())


async def test_words_that_nobody_knows_are_answered_with_one_more_question(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    async with rest_of(venue) as rest:
        venue.script["GetApiKeyInfo"] = [["ENew:What"]] * 5
        with pytest.raises(EngineError, match="ENew:What"):
            await rest.private.api_key_info()
    assert len(venue.seen) == 2


ORDERS = config(allow_add_order=True)


@pytest.mark.parametrize(
    "step", [Drop(), Http(502), ["EService:Busy"], ["ENew:What"], Http(200, b'{"error":[],"result":{"x":1}}')]
)
async def test_an_order_that_may_live_is_never_sent_again(autojump_clock: MockClock, step: object) -> None:
    venue = TinyVenue()
    async with rest_of(venue, ORDERS) as rest:
        venue.script["AddOrder"] = [step]
        raised = await outcome(lambda: rest.private.add_order("BTC/USD", "buy", "limit", "1", price="1"))
        assert raised.maybe_executed
    assert venue.names().count("AddOrder") == 1


async def test_an_order_without_an_answer_may_live_and_is_not_sent_again(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    async with rest_of(venue, ORDERS) as rest:
        venue.script["AddOrder"] = [Hang()]
        with pytest.raises(RestFailed, match="within 15 s") as caught:
            await rest.private.add_order("BTC/USD", "buy", "limit", "1", price="1")
        assert caught.value.maybe_executed
    assert venue.names().count("AddOrder") == 1


async def test_an_order_that_came_too_late_is_refused_for_good_and_not_sent_again(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    async with rest_of(venue, ORDERS) as rest:
        venue.script["AddOrder"] = [["EService:Deadline elapsed"]]
        with pytest.raises(OrderRefused) as raised:
            await rest.private.add_order("BTC/USD", "buy", "limit", "1", price="1", deadline="2026-11-22T00:00:02.000Z")
        assert not raised.value.maybe_executed
        assert not raised.value.retryable
        await rest.private.balance()  # the venue works: no breaker hears of it
    assert venue.names().count("AddOrder") == 1


async def test_an_order_that_certainly_does_not_live_is_sent_again(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    async with rest_of(venue, ORDERS) as rest:
        venue.script["AddOrder"] = [Http(403, b"blocked")]
        assert (await rest.private.add_order("BTC/USD", "buy", "limit", "1", price="1")).txid == ["O1"]
    assert venue.names().count("AddOrder") == 2


async def test_a_cancel_is_repeated_since_a_second_one_does_no_harm(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    async with rest_of(venue) as rest:
        venue.script["CancelAll"] = [Drop()]
        assert (await rest.private.cancel_all()).count == 0
    assert len(venue.seen) == 2


async def test_an_answer_that_makes_no_sense_is_asked_for_again_and_then_named(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    async with rest_of(venue) as rest:
        venue.script["GetApiKeyInfo"] = [{"permissions": "all of them"}] * 4
        with pytest.raises(DecodeError, match=r"\$\.result\.permissions"):
            await rest.private.api_key_info()
    assert len(venue.seen) == 4


async def test_no_retry_begins_after_the_callers_time_is_over(autojump_clock: MockClock) -> None:
    venue = TinyVenue(latency_s=1.0)
    async with rest_of(venue) as rest:
        venue.script["GetApiKeyInfo"] = [Drop()] * 9
        begin = trio.current_time()
        with pytest.raises(RestFailed):
            await rest.private.api_key_info(timeout_s=1.01)
        assert trio.current_time() - begin <= 1.01


# -- nonces


async def test_a_refused_nonce_is_followed_by_a_higher_one(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    async with rest_of(venue) as rest:
        await rest.private.api_key_info()
        venue.last_nonce["ordinary-key"] += 10**9 // 2
        assert await rest.private.api_key_info()
    assert venue.nonces() == sorted(venue.nonces())
    assert len(venue.nonces()) == 3


async def test_nonces_that_are_always_refused_stop_the_key_and_a_cancel_still_tries(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    async with rest_of(venue) as rest:
        venue.script["GetApiKeyInfo"] = [["EAPI:Invalid nonce"]] * 9
        with pytest.raises(NonceRejected, match="Invalid nonce"):
            await rest.private.api_key_info()
        assert len(venue.nonces()) == 3
        with pytest.raises(NonceRejected, match="another program"):
            await rest.private.api_key_info()
        assert len(venue.nonces()) == 3
        await rest.private.cancel_all()
        assert len(venue.nonces()) == 4
        venue.script["GetApiKeyInfo"].clear()
        await rest.private.api_key_info()  # a nonce was taken: all is well again


@attrs.define(eq=False)
class Marks:
    """A disk that notes what is durable, and may fail."""

    durable: int = 0
    fails: bool = False
    slow_s: float = 0.0

    async def mark(self, fingerprint: str) -> int:
        return self.durable

    async def raise_mark(self, fingerprint: str, mark: int) -> None:
        await trio.sleep(self.slow_s)
        if self.fails:
            raise StoreError("disk full")
        self.durable = max(self.durable, mark)


async def test_a_mark_is_durable_before_a_nonce_below_it_is_used(autojump_clock: MockClock) -> None:
    venue, marks = TinyVenue(), Marks(slow_s=0.2)
    for _ in range(5):
        async with rest_of(venue, marks=marks) as rest:
            for _ in range(4):
                await rest.private.api_key_info()
                assert venue.nonces()[-1] < marks.durable
    assert venue.nonces() == sorted(set(venue.nonces()))


async def test_without_a_durable_mark_nothing_is_signed_and_the_breaker_stays_out_of_it(
    autojump_clock: MockClock,
) -> None:
    venue, marks = TinyVenue(), Marks(fails=True)
    async with rest_of(venue, marks=marks) as rest:
        for _ in range(5):
            with pytest.raises(NotSent, match="disk full"):
                await rest.private.api_key_info()
        assert venue.seen == []
        marks.fails = False
        await rest.private.api_key_info()


async def test_a_restart_goes_on_above_the_mark_even_if_the_clock_was_set_back(autojump_clock: MockClock) -> None:
    venue, marks = TinyVenue(), MemoryMarks()
    async with rest_of(venue, marks=marks) as rest:
        await rest.private.api_key_info()
    await marks.raise_mark(EMERGENCY_KEY.fingerprint, 1)
    first = venue.nonces()[-1]

    @attrs.frozen
    class EarlierClock:
        def now(self) -> float:
            return trio.current_time()

        def wall_ns(self) -> int:
            return first - 3600 * 10**9

        def cpu_s(self) -> float:
            return 0.0

    async with rest_of(venue, marks=marks, change=lambda runtime: attrs.evolve(runtime, clock=EarlierClock())) as rest:
        await rest.private.api_key_info()
    assert venue.nonces()[-1] > first


# -- the edges


async def test_an_operation_that_is_in_no_group_never_leaves(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    async with rest_of(venue) as rest:
        with pytest.raises(OperationNotAllowed, match="AddOrder"):
            await rest.private.add_order("BTC/USD", "buy", "limit", "1", price="1")
        with pytest.raises(OperationNotAllowed, match="Time"):
            await rest.public.time(group=Group.BACKUP)
        with pytest.raises(OperationNotAllowed, match="CancelAll"):
            await rest.private.cancel_all(group=Group.RECOVERY)
    assert venue.seen == []


async def test_a_page_of_html_is_named_by_its_words_without_markup_or_secrets(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    page = b"<html><head><style>p{}</style></head><body><p>Error&nbsp;520</p> key ordinary-key \x1b[2J</body></html>"
    async with rest_of(venue, ONCE) as rest:
        venue.script["GetApiKeyInfo"] = [Http(520, page)]
        with pytest.raises(RestFailed) as caught:
            await rest.private.api_key_info()
    assert "Error 520" in str(caught.value)
    assert caught.value.status == 520
    for unwanted in ("<", "p{}", "ordinary-key", "\x1b"):
        assert unwanted not in str(caught.value)


async def test_the_venues_own_words_count_whatever_the_status_is(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    async with rest_of(venue) as rest:
        venue.script["GetApiKeyInfo"] = [Http(401, b'{"error":["EAPI:Invalid key"]}')]
        with pytest.raises(AuthRejected, match="EAPI:Invalid key"):
            await rest.private.api_key_info()
    assert len(venue.seen) == 1


async def test_whoever_still_waits_when_it_closes_is_told_so(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    results: list[Any] = []

    async def ask(call: Callable[[], Awaitable[Any]]) -> None:
        results.append(await outcome(call))

    async with trio.open_nursery() as nursery:
        async with rest_of(venue) as rest:
            await ready(rest)
            venue.script["CancelAll"] = [Hang()]
            nursery.start_soon(ask, rest.private.cancel_all)
            await trio.sleep(0.1)
            nursery.start_soon(ask, rest.private.balance)
            await trio.sleep(0.1)
        with pytest.raises(NotSent, match="closed"):
            await rest.private.balance()
    found = {(type(result), result.maybe_executed) for result in results}
    assert found == {(RestFailed, True), (NotSent, False)}


async def test_a_farewell_is_sent_although_everything_else_has_ended(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
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
                        await rest.private.cancel_all_orders_after(0, group=Group.FAREWELL)
        nursery.cancel_scope.cancel()
    assert venue.names() == ["CancelAll", "CancelAllOrdersAfter"]


async def test_the_limits_of_the_key_hold_calls_back_but_no_cancel_of_the_end(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    async with rest_of(venue, tier="starter") as rest, trio.open_nursery() as nursery:
        await ready(rest)
        begin = trio.current_time()
        for _ in range(14):
            nursery.start_soon(rest.private.balance)
        await trio.sleep(0.01)
        await rest.private.cancel_all(group=Group.FAREWELL)
        assert trio.current_time() - begin == pytest.approx(0.01)
    balances = [seen.at_s - begin for seen in venue.seen if seen.name == "Balance"]
    assert sum(at <= 0.01 for at in balances) == 12  # 80 % of 15
    assert max(balances) > 3.0


async def test_a_restart_takes_the_counter_to_be_as_full_as_it_may_be(autojump_clock: MockClock) -> None:
    venue, marks = TinyVenue(), MemoryMarks()
    sent: list[int] = []
    for _ in range(3):
        begin, before = trio.current_time(), len(venue.seen)
        async with rest_of(venue, marks=marks, tier="starter") as rest, trio.open_nursery() as nursery:
            for _ in range(14):
                nursery.start_soon(outcome, rest.private.api_key_info)
            await trio.sleep(0.01)
            sent.append(len(venue.seen) - before)
            nursery.cancel_scope.cancel()
        assert trio.current_time() - begin < 1.0
    assert sent == [12, 3, 3]  # 80 % of 15, and then the fifth that is left


async def test_an_observer_is_told_of_every_attempt(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    attempts: list[Attempt] = []
    async with rest_of(venue) as rest:
        rest.private.observe(attempts.append)
        venue.script["GetApiKeyInfo"] = [Drop()]
        await rest.private.api_key_info()
    found = [(attempt.call, attempt.retry, attempt.error is None) for attempt in attempts]
    assert found == [(1, False, False), (1, True, True)]


async def test_an_answer_about_another_market_is_no_answer(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    async with rest_of(venue, ONCE) as rest:
        await ready(rest)
        venue.script["Depth"] = [{"XETHZUSD": {"asks": [], "bids": []}}]
        with pytest.raises(DecodeError, match="an answer about BTC/USD"):
            await rest.public.depth("BTC/USD")
        assert rest.public.statistics().failures == 1


async def test_the_time_a_caller_gives_covers_the_names_that_have_to_be_fetched_first(
    autojump_clock: MockClock,
) -> None:
    venue = TinyVenue()
    async with rest_of(venue, ONCE) as rest, trio.open_nursery() as nursery:
        venue.script["AssetPairs"] = [Hang()]
        nursery.start_soon(outcome, rest.private.open_orders)
        await trio.sleep(1.0)
        begin = trio.current_time()
        with pytest.raises(RestFailed):
            await rest.private.balance_ex(timeout_s=5.0)
        assert trio.current_time() - begin == pytest.approx(5.0)
        nursery.cancel_scope.cancel()


async def test_trouble_of_the_public_api_does_not_blind_the_private_one(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    one = Decimal(1)
    bitcoin = Instrument(
        symbol="BTC/USD", base="BTC", quote="USD", status="online", price_decimals=1, qty_decimals=8,
        price_increment=one, qty_increment=one, qty_min=one, cost_min=one,
    )  # fmt: skip
    async with rest_of(venue, ONCE) as rest:
        venue.script["AssetPairs"] = [["EGeneral:Too many requests"]]
        with pytest.raises(RateLimited):
            await rest.private.balance()
        rest.public.stand_in({"BTC/USD": bitcoin})
        assert await rest.private.balance() == {"BTC": Decimal("1.5")}
        assert list(await rest.private.open_orders()) == []


async def test_a_machine_that_slept_past_a_callers_time_sends_nothing_late(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    async with rest_of(venue) as rest, trio.open_nursery() as nursery:
        await ready(rest)
        venue.script["Balance"] = [Hang(3.0)]
        results: list[Any] = []

        async def ask() -> None:
            results.append(await outcome(lambda: rest.private.open_orders(timeout_s=20.0)))

        nursery.start_soon(outcome, rest.private.balance)
        await trio.sleep(0.1)
        nursery.start_soon(ask)
        await trio.sleep(0.1)
        autojump_clock.jump(1000.0)
        await trio.sleep(30.0)
        assert [type(result) for result in results] == [NotSent]
        assert "OpenOrders" not in venue.names()
        await rest.private.open_orders()
