"""Whatever goes wrong in an engine is counted at one desk: that of its lines, its accounts and both sides of REST."""

from __future__ import annotations

from collections import Counter

import pytest
import trio
from tests.rest.harness import Http, TinyVenue, rest_of
from tests.tasks.account_world import MAIN, in_world
from trio.testing import MockClock

from kraken_engine.control.error_actions import ErrorDesk, ErrorKind
from kraken_engine.errors import EngineError, RateLimited
from kraken_engine.sim.world import World
from kraken_engine.tasks.account import open_account


def counted(desk: ErrorDesk) -> Counter[ErrorKind]:
    return +Counter(desk.counts)


async def test_every_attempt_of_rest_that_did_not_succeed_is_counted_by_kind(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    venue.script["Time"] = [Http(502), {"unixtime": "none"}, {"unixtime": 1}]
    venue.script["Balance"] = [["EAPI:Invalid nonce"], {"XXBT": "1.5"}]
    venue.script["OpenOrders"] = [["EFuture:Never heard of"], ["EAPI:Rate limit exceeded"]]
    async with rest_of(venue) as rest:
        desk = rest.public.desk
        await rest.public.time()
        assert counted(desk) == {ErrorKind.OTHER: 1, ErrorKind.DATA_VALIDATION_FAIL: 1}
        await rest.private.balance()
        assert counted(desk)[ErrorKind.REST_NONCE_ERROR] == 1
        assert desk.unknown == {}
        with pytest.raises(RateLimited):
            await rest.private.open_orders()
        assert desk.unknown == {"EFuture:Never heard of": 1}
        assert counted(desk)[ErrorKind.REST_RATE_LIMIT] == 1


def test_errors_of_an_account_are_counted_with_those_of_the_market() -> None:
    async def scenario(world: World) -> None:
        faults = world.exchange.faults
        async with world.open_market() as market, open_account(MAIN, market) as account:
            with trio.fail_after(60):
                await account.wait_live()
            before = counted(market.desk)
            faults.rest_error("EService:Busy", now=trio.current_time(), path="/0/private/")
            faults.refuse_nonce(now=trio.current_time())
            with trio.move_on_after(60):
                for _ in range(3):
                    try:
                        await account.check_balances()
                    except EngineError:
                        continue
            assert counted(market.desk) - before == {ErrorKind.OTHER: 1, ErrorKind.REST_NONCE_ERROR: 1}
            # A session that lost its token: the venue closes it, and refuses the next one with the same.
            faults.revoke_tokens(now=trio.current_time(), mode="close")
            await trio.sleep(30)
            with trio.fail_after(60):
                await account.wait_live()
            errors = market.statistics().errors
            assert errors["websocket_disconnect"] >= 1
            assert errors["websocket_auth_fail"] >= 1
            assert not market.statistics().unknown_errors

    in_world(scenario)
