"""A token is ready before it is needed, fetched once for all who wait, and not at all once the key has failed."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from tests.rest.harness import CONFIG, KEY, Drop, Hang, TinyVenue, rest_of
from tests.wire.harness import MemoryNetwork, runtime_on
from trio.testing import MockClock

from kraken_engine.errors import AuthRejected, StoreError
from kraken_engine.normalise.events import AuthFailed, Notice
from kraken_engine.secret import Secret
from kraken_engine.tasks.auth_refresher import AuthRefresher, open_auth_refresher
from kraken_engine.tasks.rest import Rest, open_rest


@asynccontextmanager
async def tokens_of(
    venue: TinyVenue, notices: list[Notice] | None = None
) -> AsyncGenerator[tuple[AuthRefresher, Rest]]:
    notify = (notices if notices is not None else []).append
    async with trio.open_nursery() as nursery:
        runtime = runtime_on(MemoryNetwork(nursery, venue.serve))
        config = attrs.evolve(CONFIG, rest=attrs.evolve(CONFIG.rest, max_retries=0))
        async with (
            open_rest(config, runtime=runtime, key=KEY, tier="pro") as rest,
            open_auth_refresher("main", rest.private, config, runtime, notify=notify) as tokens,
        ):
            yield tokens, rest
        nursery.cancel_scope.cancel()


def fetches(venue: TinyVenue) -> list[float]:
    return [seen.at_s for seen in venue.seen if seen.name == "GetWebSocketsToken"]


async def test_nothing_is_fetched_before_somebody_wants_it(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    async with tokens_of(venue) as (tokens, _):
        await trio.sleep(1000)
        assert venue.seen == []
        assert await tokens.get() == Secret("the-token-itself")
        assert fetches(venue) == [1000.0]


async def test_one_fetch_serves_everybody_who_waits(autojump_clock: MockClock) -> None:
    venue = TinyVenue(latency_s=2.0)
    got: list[Secret] = []

    async def get(tokens: AuthRefresher) -> None:
        got.append(await tokens.get())

    async with tokens_of(venue) as (tokens, _):
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(get, tokens)
        assert trio.current_time() == pytest.approx(2.0)
    assert len(got) == 20
    assert len(fetches(venue)) == 1


async def test_a_token_is_renewed_five_minutes_before_it_expires(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    async with tokens_of(venue) as (tokens, _):
        await tokens.get()
        await trio.sleep(3600)
        before = len(fetches(venue))
        await tokens.get()
        assert len(fetches(venue)) == before  # it was ready
    pauses = [later - earlier for earlier, later in zip(fetches(venue), fetches(venue)[1:], strict=False)]
    assert pauses
    assert all(570 <= pause <= 600 for pause in pauses)


async def test_a_rejected_token_is_replaced_once_for_all_who_were_refused(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    venue.script["GetWebSocketsToken"] = [
        {"token": "first-token", "expires": 900}, {"token": "second-token", "expires": 900},
    ]  # fmt: skip
    async with tokens_of(venue) as (tokens, _):
        first = await tokens.get()
        for _ in range(5):
            tokens.rejected(first, "ESession:Invalid session")
        assert await tokens.get() == Secret("second-token")
    assert len(fetches(venue)) == 2


async def test_three_rejections_in_a_row_stop_the_account_for_a_quarter_of_an_hour(autojump_clock: MockClock) -> None:
    venue, notices = TinyVenue(), list[Notice]()
    venue.script["GetWebSocketsToken"] = [{"token": f"token-{n}", "expires": 900} for n in range(9)]
    async with tokens_of(venue, notices) as (tokens, _):
        for _ in range(3):
            tokens.rejected(await tokens.get(), "ESession:Invalid session")
        begin = trio.current_time()
        with pytest.raises(AuthRejected, match="3 tokens rejected in a row: ESession:Invalid session") as caught:
            await tokens.get()
        assert caught.value.retry_after_s == pytest.approx(900)
        assert [notice.account for notice in notices if isinstance(notice, AuthFailed)] == ["main"]
        await trio.sleep(901)
        assert await tokens.get()
    assert not [at for at in fetches(venue) if begin < at < begin + 899]


async def test_a_key_without_the_permission_fails_at_once_and_is_not_tried_again(autojump_clock: MockClock) -> None:
    venue, notices = TinyVenue(), list[Notice]()
    venue.script["GetWebSocketsToken"] = [["EGeneral:Permission denied"]]
    async with tokens_of(venue, notices) as (tokens, _):
        with pytest.raises(AuthRejected, match="Permission denied"):
            await tokens.get()
        await trio.sleep(890)
        assert len(fetches(venue)) == 1
        assert len(notices) == 1


async def test_a_failure_of_the_network_is_tried_again(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    venue.script["GetWebSocketsToken"] = [Drop(), ["EService:Busy"]]
    async with tokens_of(venue) as (tokens, _):
        with trio.fail_after(60):
            assert await tokens.get()


async def test_a_refresh_that_falls_due_while_the_breaker_is_open_is_the_first_probe(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    async with tokens_of(venue) as (tokens, rest):
        await tokens.get()
        await trio.sleep(560)
        venue.script["GetApiKeyInfo"] = [["EAPI:Rate limit exceeded"]]
        with pytest.raises(Exception, match="Rate limit"):
            await rest.private.api_key_info()
        opened = trio.current_time()
        await trio.sleep(200)
        renewed = fetches(venue)[-1]
        assert 60 <= renewed - opened <= 90  # a rate limit keeps everything off for a minute
        with trio.fail_after(0.1):
            await tokens.get()


async def test_a_cancelled_fetch_does_not_wedge_the_slot(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    venue.script["GetWebSocketsToken"] = [Hang()]
    async with tokens_of(venue) as (tokens, _):
        with trio.move_on_after(5):
            await tokens.get()
        with trio.fail_after(120):
            assert await tokens.get()


async def test_a_disk_that_saves_no_nonces_is_asked_again_after_pauses_that_grow(autojump_clock: MockClock) -> None:
    class ReadOnly:
        attempts = 0

        async def mark(self, fingerprint: str) -> int:
            return 0

        async def raise_mark(self, fingerprint: str, mark: int) -> None:
            self.attempts += 1
            await trio.sleep(0.01)
            raise StoreError("the disk is read-only")

    venue, marks = TinyVenue(), ReadOnly()
    async with rest_of(venue, marks=marks) as rest, trio.open_nursery() as nursery:
        runtime = runtime_on(MemoryNetwork(nursery, venue.serve))
        async with open_auth_refresher("main", rest.private, CONFIG, runtime, notify=lambda _: None) as tokens:
            with trio.move_on_after(300.0):
                await tokens.get()
    assert 5 <= marks.attempts <= 20


async def test_a_client_that_has_closed_does_not_keep_the_refresher_busy(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    async with rest_of(venue) as rest:
        pass
    begin = trio.current_time()
    async with trio.open_nursery() as nursery:
        runtime = runtime_on(MemoryNetwork(nursery, venue.serve))
        async with open_auth_refresher("main", rest.private, CONFIG, runtime, notify=lambda _: None) as tokens:
            with trio.move_on_after(300.0):
                await tokens.get()
    assert trio.current_time() - begin == pytest.approx(300.0)
    assert rest.private.statistics().refused_here <= 20
