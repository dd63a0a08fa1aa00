"""An account as an application meets it: live and right, or saying why not; every fill once, whatever happens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal

import attrs
import pytest
import trio
from tests.tasks.account_world import KEYS, MAIN, check, in_world, may_trade, place, with_account

from kraken_engine import ConfigError, Event, KeyNotice, LineUp, Stale, UsageError
from kraken_engine.config import AccountSettings, RestSettings
from kraken_engine.normalise.account_events import (
    AccountGap,
    AccountLive,
    AccountStale,
    Fill,
    OrderUpdate,
)
from kraken_engine.sim.disk import DiskFault
from kraken_engine.sim.world import World
from kraken_engine.store.database import open_store
from kraken_engine.tasks.account import open_account
from kraken_engine.trading import fill_journal
from kraken_engine.trading.account import Account
from kraken_engine.venue.core.accounts.settings import TEST_SECRET


def test_an_account_becomes_live_with_the_venue_s_orders_and_balances() -> None:
    async def scenario(world: World) -> None:
        place(world, 5)
        async with world.open_market() as market, open_account(MAIN, market) as account:
            assert not may_trade(account)
            with pytest.raises(Stale, match="account main: not connected yet"):
                account.open_orders()
            with trio.fail_after(30):
                await account.wait_live()
            check(world, account)
            assert len(account.open_orders()) == 5
            assert (account.why, account.may_trade) == ("", True)
            report = await account.check_balances()
            assert report.consistent, report

    in_world(scenario)


def test_what_happens_is_told_in_order_with_the_order_after_it() -> None:
    async def scenario(world: World, account: Account, told: list[Event]) -> None:
        (order_id,) = place(world, 1)
        world.exchange.private.operator.fill("main", percent=50)
        world.exchange.private.operator.fill("main")
        await trio.sleep(1)
        kinds = [type(event) for event in told if isinstance(event, (Fill, OrderUpdate))]
        assert kinds == [OrderUpdate, OrderUpdate, Fill, OrderUpdate, Fill, OrderUpdate, OrderUpdate]
        order = account.order(order_id)
        assert order is not None
        assert (str(order.status), order.remaining_qty, order.external) == ("filled", Decimal(0), True)
        check(world, account)

    with_account(scenario)


def test_what_was_missed_is_told_before_the_account_is_live_again() -> None:
    async def scenario(world: World, account: Account, told: list[Event]) -> None:
        place(world, 4)
        await trio.sleep(1)
        told.clear()
        world.exchange.faults.cut_private_line(now=trio.current_time())
        world.exchange.private.operator.fill("main", count=2)
        world.exchange.private.operator.fill("main", count=1, percent=30)
        await trio.sleep(10)
        assert may_trade(account)
        check(world, account)
        notices = [type(e) for e in told if isinstance(e, (AccountStale, AccountLive, AccountGap, Fill))]
        assert notices == [AccountStale, Fill, Fill, Fill, AccountGap, AccountLive]
        assert [e.replayed for e in told if isinstance(e, Fill)] == [True, True, True]

    with_account(scenario)


@pytest.mark.parametrize("fault", ["drop_private_frame", "duplicate_private_frame", "reorder_private_frames"])
@pytest.mark.parametrize("channel", ["executions", "balances"])
def test_an_account_whose_frames_go_astray_is_whole_again(fault: str, channel: str) -> None:
    async def scenario(world: World, account: Account, told: list[Event]) -> None:
        place(world, 6)
        await trio.sleep(1)
        getattr(world.exchange.faults, fault)(now=trio.current_time(), channel=channel, times=2)
        for _ in range(6):
            world.exchange.private.operator.fill("main", count=1)
            await trio.sleep(0.5)
        await trio.sleep(10)
        with trio.fail_after(30):
            await account.wait_live()
        check(world, account)
        fills = [event.exec_id for event in told if isinstance(event, Fill)]
        assert fills == [fill["exec_id"] for fill in world.exchange.private.truth.fills("main")]

    with_account(scenario)


def test_a_refused_session_costs_the_token_and_the_connection_and_heals_by_itself() -> None:
    async def scenario(world: World, account: Account, told: list[Event]) -> None:
        world.exchange.faults.revoke_tokens(now=trio.current_time())
        world.exchange.faults.cut_private_line(now=trio.current_time())
        await trio.sleep(30)
        assert may_trade(account)
        assert account.statistics().connections > 2, "one more, with another token"
        check(world, account)

    with_account(scenario)


def test_a_snapshot_that_is_late_is_waited_for_or_asked_for_anew() -> None:
    async def scenario(world: World, account: Account, told: list[Event]) -> None:
        place(world, 2)
        for channel in ("executions", "balances"):
            world.exchange.faults.delay_private_snapshot(now=trio.current_time(), seconds=12, channel=channel)
        world.exchange.faults.cut_private_line(now=trio.current_time())
        world.exchange.private.operator.fill("main")
        await trio.sleep(5)
        assert (account.may_trade, account.why) == (False, "waiting for the snapshots")
        await trio.sleep(55)
        check(world, account)

    with_account(scenario)


@pytest.mark.parametrize("how", ["unanswered", "refused"])
def test_a_venue_that_could_not_subscribe_us_for_a_minute_costs_a_minute_and_not_the_account(how: str) -> None:
    async def scenario(world: World, account: Account, told: list[Event]) -> None:
        faults = world.exchange.faults
        if how == "unanswered":
            faults.ignore_subscriptions(now=trio.current_time(), times=16)
        else:
            faults.refuse_subscriptions(now=trio.current_time(), times=16, error="EGeneral:Temporary trouble")
        faults.cut_private_line(now=trio.current_time())
        await trio.sleep(20)
        assert not may_trade(account)
        with trio.fail_after(100):
            await account.wait_live()
        check(world, account)

    with_account(scenario)


def test_a_dead_key_touches_no_other_account() -> None:
    async def scenario(world: World) -> None:
        for name in ("second", "dead"):
            world.exchange.private.operator.create(name=name, key=f"KEY+OF+{name}", secret=TEST_SECRET)
        accounts = [AccountSettings(name=name, tier="intermediate") for name in ("main", "second", "dead")]
        async with world.open_market() as market:
            world.exchange.faults.delete_key(now=trio.current_time(), account="dead")
            async with (
                open_account(accounts[0], market) as main,
                open_account(accounts[1], market) as second,
                open_account(accounts[2], market) as dead,
            ):
                with trio.fail_after(60):
                    await main.wait_live()
                    await second.wait_live()
                for _ in range(60):
                    await trio.sleep(10)
                    assert main.may_trade
                    assert second.may_trade
                    assert not dead.may_trade
                assert "EAPI:Invalid key" in dead.why
                assert dead.statistics().connections == 0
                calls = world.exchange.private.truth.calls("main")
                assert len([call for call in calls if call["path"] != "/0/private/BalanceEx"]) < 10

    keys = dict(KEYS)
    for name in ("SECOND", "DEAD"):
        keys[f"KRAKEN_ENGINE_ACCOUNTS__{name}__KEY"] = f"KEY+OF+{name.lower()}"
        keys[f"KRAKEN_ENGINE_ACCOUNTS__{name}__SECRET"] = TEST_SECRET
    in_world(scenario, keys=keys)


def test_two_accounts_whose_tokens_come_at_once_do_not_dial_at_once() -> None:
    async def scenario(world: World) -> None:
        world.exchange.private.operator.create(name="second", key="KEY+OF+second", secret=TEST_SECRET)
        accounts = [AccountSettings(name=name, tier="intermediate") for name in ("main", "second")]
        async with world.open_market() as market:
            ups: list[LineUp] = []
            stop = market.publisher.observe(lambda _, event: ups.append(event) if isinstance(event, LineUp) else None)
            for seconds in (5.0, 4.0):  # the second one asks a second later
                world.exchange.faults.rest_slow(
                    now=trio.current_time(), seconds=seconds, path="/0/private/GetWebSocketsToken"
                )
            async with open_account(accounts[0], market) as main, open_account(accounts[1], market) as second:
                with trio.fail_after(60):
                    await main.wait_live()
                    await second.wait_live()
            stop()
            up = {event.line: event.at_s for event in ups}
            assert up["private main"] > 4.0
            assert abs(up["private second"] - up["private main"]) > 0.9

    keys = KEYS | {
        "KRAKEN_ENGINE_ACCOUNTS__SECOND__KEY": "KEY+OF+second", "KRAKEN_ENGINE_ACCOUNTS__SECOND__SECRET": TEST_SECRET
    }  # fmt: skip
    in_world(scenario, keys=keys)


def test_a_private_line_in_the_clear_over_a_network_is_refused_before_the_token_is_asked_for() -> None:
    async def scenario(world: World) -> None:
        world.config = attrs.evolve(world.config, rest=RestSettings(base_url="https://api.venue.test"))
        async with world.open_market() as market:
            with pytest.raises(
                ConfigError, match=r"account main: expected a URL with TLS, .* for its key, got ws://ws\."
            ):
                async with open_account(MAIN, market):
                    pass

    in_world(scenario, keys={**KEYS, "KRAKEN_ENGINE_ACCOUNTS__MAIN__SECRET": "c29tZWJvZHkncyBvd24gc2VjcmV0ISEh"})


def test_an_account_is_open_once() -> None:
    async def scenario(world: World) -> None:
        async with world.open_market() as market, open_account(MAIN, market):
            with pytest.raises(UsageError, match="an account called main is open already"):
                async with open_account(MAIN, market):
                    pass

    in_world(scenario)


def test_nothing_of_a_closed_account_is_current_and_nobody_waits_for_it() -> None:
    async def scenario(world: World) -> None:
        outcomes: list[str] = []

        async def waits(wait: Callable[[], Awaitable[None]]) -> None:
            with pytest.raises(UsageError) as refused:
                await wait()
            outcomes.append(str(refused.value))

        async with trio.open_nursery() as nursery:
            async with world.open_market() as market, open_account(MAIN, market) as account:
                nursery.start_soon(waits, account.wait_positions)
                await account.wait_live()
                assert account.balance("USD") is not None
            with trio.fail_after(1):
                await waits(account.wait_live)
        assert sorted(outcomes) == ["wait_live: account main is closed", "wait_positions: account main is closed"]
        assert (account.may_trade, account.why) == (False, "the account is closed")
        with pytest.raises(Stale, match="the account is closed"):
            account.balance("USD")
        with pytest.raises(Stale, match="the account is closed; REST: "):
            await account.get_balances()
        assert account.balance("USD", allow_stale=True) is not None

    in_world(scenario)


def test_fills_are_delivered_until_acknowledged_and_resume_where_a_restart_left_them() -> None:
    async def scenario(world: World) -> None:
        place(world, 5)
        async with world.open_market() as market:
            async with (
                open_store(world.runtime, "/state") as store,
                open_account(MAIN, market, store=store) as account,
            ):
                await account.wait_live()
                world.exchange.private.operator.fill("main", count=3)
                fills = account.fills(consumer="bot")
                first = [await fills.__anext__() for _ in range(3)]
                await first[1].acknowledge()
            # Nobody watches; the process is another one when it does again.
            world.exchange.private.operator.fill("main", count=2)
            async with (
                open_store(world.runtime, "/state") as store,
                open_account(MAIN, market, store=store) as account,
            ):
                again = account.fills(consumer="bot")
                with trio.fail_after(60):
                    rest = [await again.__anext__() for _ in range(3)]
                assert [each.fill.exec_id for each in (*first, *rest[1:])] == [
                    fill["exec_id"] for fill in world.exchange.private.truth.fills("main")
                ]
                assert rest[0].fill.exec_id == first[2].fill.exec_id, "delivered, and not acknowledged"
                assert [each.number for each in rest] == [3, 4, 5]
                assert [each.fill.replayed for each in rest] == [False, True, True]

    in_world(scenario)


def test_an_account_that_goes_by_another_key_is_asked_about() -> None:
    """It may be another account, whose fills would go on where those of the first one ended."""

    async def told_with(world: World, key: str) -> list[str]:
        keys = KEYS | {"KRAKEN_ENGINE_ACCOUNTS__MAIN__KEY": key}
        world.runtime = attrs.evolve(world.runtime, environment=keys)
        told: list[KeyNotice] = []
        async with world.open_market() as market, open_store(world.runtime, "/state") as store:
            market.publisher.observe(lambda _, event: told.append(event) if isinstance(event, KeyNotice) else None)
            async with open_account(MAIN, market, store=store) as account:
                await account.wait_live()
        return [notice.what for notice in told if "another key than the last time" in notice.what]

    async def scenario(world: World) -> None:
        world.exchange.private.operator.create(name="second", key="KEY+OF+second", secret=TEST_SECRET)
        first = KEYS["KRAKEN_ENGINE_ACCOUNTS__MAIN__KEY"]
        asked = [len(await told_with(world, key)) for key in (first, first, "KEY+OF+second", "KEY+OF+second", first)]
        assert asked == [0, 0, 1, 0, 1]

    in_world(scenario)


def test_an_unsolicited_cancel_and_an_order_of_somebody_else_are_adopted_as_external() -> None:
    async def scenario(world: World, account: Account, told: list[Event]) -> None:
        (order_id,) = place(world, 1)
        await trio.sleep(1)
        world.exchange.private.operator.cancel("main", order_id=order_id, reason="Position closed")
        await trio.sleep(1)
        order = account.order(order_id)
        assert order is not None
        assert (str(order.status), order.external, order.reason) == ("canceled", True, "Position closed")
        assert order.evidence is not None
        assert "Position closed" in order.evidence
        check(world, account)

    with_account(scenario)


def test_three_refused_sessions_in_a_row_are_followed_by_a_long_pause_and_a_recovery() -> None:
    async def scenario(world: World, account: Account, told: list[Event]) -> None:
        world.exchange.faults.refuse_private_subscriptions(now=trio.current_time(), times=6)
        world.exchange.faults.cut_private_line(now=trio.current_time())
        await trio.sleep(120)
        assert not may_trade(account)
        tokens = len(world.exchange.private.truth.tokens("main"))
        await trio.sleep(600)
        assert len(world.exchange.private.truth.tokens("main")) == tokens, "no token was asked for meanwhile"
        await trio.sleep(400)
        assert may_trade(account)
        check(world, account)

    with_account(scenario)


def test_a_permission_that_is_gone_is_found_out_at_once_and_not_asked_for_again_and_again() -> None:
    async def scenario(world: World, account: Account, told: list[Event]) -> None:
        world.exchange.faults.drop_permission("query-funds", now=trio.current_time(), account="main")
        world.exchange.faults.cut_private_line(now=trio.current_time())
        await trio.sleep(60)
        assert not may_trade(account)
        connections = account.statistics().connections
        assert connections <= 3
        await trio.sleep(600)
        assert account.statistics().connections == connections
        assert account.why
        world.exchange.faults.restore_keys("main")
        await trio.sleep(400)
        assert may_trade(account)
        check(world, account)

    with_account(scenario)


def test_a_token_that_is_due_while_the_breaker_opens_costs_no_live_line() -> None:
    async def scenario(world: World, account: Account, told: list[Event]) -> None:
        await trio.sleep(500)  # it is renewed about ten minutes after it was made
        world.exchange.faults.rest_error(
            "EAPI:Rate limit exceeded", now=trio.current_time(), path="/0/private/GetWebSocketsToken"
        )
        await trio.sleep(600)
        (given,) = world.exchange.faults.log
        assert given["hits"] == 1, "the refresh met it"
        assert may_trade(account)
        assert account.statistics().connections == 1
        check(world, account)

    with_account(scenario)


def test_an_account_stops_listening_before_more_fills_wait_for_the_disk_than_memory_is_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fill_journal, "MOST_PENDING", 3)

    async def scenario(world: World) -> None:
        place(world, 12)
        async with (
            world.open_market() as market,
            open_store(world.runtime, "/state") as store,
            open_account(MAIN, market, store=store) as account,
        ):
            await account.wait_live()
            await trio.sleep(5)
            world.disk.fault = DiskFault.IO_ERROR
            for _ in range(10):
                world.exchange.private.operator.fill("main")
                await trio.sleep(1)
            assert 3 < account.statistics().fills_pending <= 5
            assert not may_trade(account)
            assert "fills wait for the disk" in account.why
            world.disk.fault = None
            with trio.fail_after(60):
                await account.wait_live()
            check(world, account)
            fills = account.fills(consumer="bot")
            with trio.fail_after(60):
                kept = [(await fills.__anext__()).fill.exec_id for _ in range(10)]
            assert kept == [fill["exec_id"] for fill in world.exchange.private.truth.fills("main")]

    in_world(scenario)
