"""The venue's time is known without a question, and a wall clock that is set or wrong is told of (I-28, fault 61)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
from tests.tasks.account_world import MAIN, in_world

from kraken_engine import Account, ClockNotice, Market
from kraken_engine.sim.world import World
from kraken_engine.tasks.account import open_account

Scenario = Callable[[World, Market, Account, list[ClockNotice]], Awaitable[None]]


def with_notices(scenario: Scenario) -> None:
    async def main(world: World) -> None:
        async with world.open_market() as market:
            notices: list[ClockNotice] = []
            stop = market.publisher.observe(
                lambda _, event: notices.append(event) if isinstance(event, ClockNotice) else None
            )
            async with open_account(MAIN, market) as account:
                with trio.fail_after(30):
                    await account.wait_live()
                await scenario(world, market, account, notices)
            stop()

    in_world(main)


def test_the_venues_time_is_known_from_the_first_answer_on_and_a_right_clock_is_not_worth_a_word() -> None:
    async def scenario(world: World, market: Market, account: Account, notices: list[ClockNotice]) -> None:
        assert market.rest is not None
        venue_clock, now = market.rest.venue_clock, world.clock.now()
        assert venue_clock.age_s(now=now) < 30.0
        offset_s = venue_clock.offset_s(world.clock.wall_ns(), now=now)
        assert offset_s is not None
        assert abs(offset_s) <= venue_clock.error_s(now=now) < 2.0
        await trio.sleep(120)
        assert notices == []

    with_notices(scenario)


def test_a_clock_that_is_set_is_told_of_and_does_not_move_the_venues_time() -> None:
    async def scenario(world: World, market: Market, account: Account, notices: list[ClockNotice]) -> None:
        assert market.rest is not None
        world.clock.step(-3600.0)
        await trio.sleep(15)
        (step,) = notices
        assert step.wrong
        assert step.step_s == -3600.0
        await account.check_balances()  # any answer will do
        await trio.sleep(15)
        now = world.clock.now()
        offset_s = market.rest.venue_clock.offset_s(world.clock.wall_ns(), now=now)
        assert offset_s is not None
        assert abs(offset_s + 3600.0) <= market.rest.venue_clock.error_s(now=now)
        assert [(notice.wrong, notice.offset_s is not None) for notice in notices[1:]] == [(True, True)]
        world.clock.step(3600.0)
        await trio.sleep(15)
        await account.check_balances()
        await trio.sleep(15)
        assert [notice.step_s for notice in notices[2:3]] == [3600.0]
        assert [notice.wrong for notice in notices[3:]] == [False]

    with_notices(scenario)
