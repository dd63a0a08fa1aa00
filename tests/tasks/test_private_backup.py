"""A private line that is lost is stood in for: labelled, within the deadline, and never against what the line knew."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import attrs
import pytest
import trio
from tests.tasks.account_world import MAIN, check, in_world, place

from kraken_engine import Event, Market, Stale
from kraken_engine.control.failover import Feeder
from kraken_engine.model import Integrity, Source
from kraken_engine.normalise.account_events import AccountLive, AccountStale, BalanceUpdate, Fill, OrdersListed
from kraken_engine.normalise.events import AccountEvent, SourceChanged
from kraken_engine.sim.network import Dialing
from kraken_engine.sim.world import World
from kraken_engine.tasks.account import open_account
from kraken_engine.trading.account import Account
from kraken_engine.venue.core.accounts.settings import TEST_SECRET

REST, LINE = Source.REST, Source.WEBSOCKET_V2


@attrs.define
class Scene:
    world: World
    market: Market
    account: Account
    told: list[tuple[float, Event]] = attrs.field(factory=list)

    def cut(self) -> None:
        """End the private connection, and refuse new ones."""
        self.world.aims_at_accounts = True
        self.world.network.take_down(self.world.venue_address)

    def mend(self) -> None:
        self.world.network.set_dialing(self.world.venue_address, Dialing.ACCEPT)

    def calls(self, operation: str = "") -> int:
        calls = self.world.exchange.private.truth.calls("main")
        return len([call for call in calls if call["path"].endswith(operation)])

    def deposit(self, amount: str) -> None:
        self.world.exchange.private.operator.deposit("main", asset="USD", amount=amount)


def with_backup(play: Callable[[Scene], Awaitable[None]]) -> None:
    async def scenario(world: World) -> None:
        world.config = attrs.evolve(world.config, failover=attrs.evolve(world.config.failover, enabled=True))
        async with world.open_market() as market, open_account(MAIN, market) as account:
            scene = Scene(world, market, account)

            def note(key: Any, event: Event) -> None:
                if key[-1] == "main":
                    scene.told.append((trio.current_time(), event))

            stop = market.publisher.observe(note)
            await account.wait_live()
            await trio.sleep(5)
            await play(scene)
            stop()

    in_world(scenario)


def test_balances_and_open_orders_come_from_rest_while_the_line_is_lost() -> None:
    async def play(scene: Scene) -> None:
        (order_id,) = place(scene.world, 1)
        await trio.sleep(1)
        scene.told.clear()
        cut_at = trio.current_time()
        scene.cut()
        scene.deposit("7")
        (more,) = place(scene.world, 1, side="buy")
        await trio.sleep(20)
        assert not scene.account.may_trade
        told = [event for _, event in scene.told]
        kinds = [type(event) for event in told]
        assert kinds[:3] == [AccountStale, SourceChanged, BalanceUpdate]
        assert scene.told[2][0] - cut_at <= 5.5, "within the deadline and a round trip"
        from_rest = [event for event in told if isinstance(event, AccountEvent)]
        assert {(event.source, event.integrity) for event in from_rest} == {(REST, Integrity.UNVERIFIED)}
        (usd,) = [event for event in from_rest if isinstance(event, BalanceUpdate) and event.asset == "USD"]
        assert usd.total == Decimal(1_000_007)
        (listed,) = [event for event in from_rest if isinstance(event, OrdersListed)]
        assert [order.order_id for order in listed.orders] == [order_id, more]
        scene.deposit("1")
        await trio.sleep(15)
        latest = [e for _, e in scene.told if isinstance(e, BalanceUpdate) and e.asset == "USD"][-1]
        assert latest.total == Decimal(1_000_008)
        assert scene.account.statistics().backup_answers >= 6

    with_backup(play)


def test_the_line_has_the_word_again_at_once_and_its_state_went_on_from_where_it_was() -> None:
    async def play(scene: Scene) -> None:
        place(scene.world, 3)
        await trio.sleep(1)
        known = dict(scene.account.holdings())
        scene.cut()
        scene.world.exchange.private.operator.fill("main", count=2)
        await trio.sleep(25)
        assert dict(scene.account.holdings(allow_stale=True)) == known, "what REST says is kept aside"
        scene.told.clear()
        scene.mend()
        await trio.sleep(10)
        check(scene.world, scene.account)
        told = [event for _, event in scene.told]
        back = next(i for i, event in enumerate(told) if isinstance(event, SourceChanged))
        first = next(i for i, e in enumerate(told) if isinstance(e, BalanceUpdate) and e.source is LINE)
        assert back < first
        assert len([event for event in told if isinstance(event, Fill)]) == 2
        assert len([event for event in told if isinstance(event, AccountLive)]) == 1
        over, home = scene.market.failover.switches(topic=scene.account.balances)
        assert [switch.to for switch in (over, home)] == [Feeder.BACKUP, Feeder.PRIMARY]
        assert set(over.streams) == {("balances", "main"), ("orders", "main")}
        assert (over.number, home.number, scene.market.failover.statistics().switches) == (1, 2, 2)
        assert home.at_s - scene.told[-1][0] < 1.0

    with_backup(play)


def test_a_line_that_is_back_within_the_deadline_was_never_stood_in_for() -> None:
    async def play(scene: Scene) -> None:
        calls = scene.calls()
        scene.world.exchange.faults.cut_private_line(now=trio.current_time())
        await trio.sleep(20)
        assert scene.account.may_trade
        assert scene.market.failover.switches() == ()
        assert scene.calls() - calls <= 1, "the token"

    with_backup(play)


def test_current_values_come_from_the_live_line_and_cost_no_call() -> None:
    async def play(scene: Scene) -> None:
        place(scene.world, 2)
        await trio.sleep(1)
        calls = scene.calls()
        balances, orders = await scene.account.get_balances(), await scene.account.get_orders()
        for reading in (balances, orders):
            assert (reading.source, reading.integrity, reading.stale) == (LINE, Integrity.VERIFIED, None)
            assert reading.age_s < 2
        assert dict(balances.values) == dict(scene.account.holdings())
        assert dict(orders.values) == dict(scene.account.open_orders())
        assert scene.calls() == calls

    with_backup(play)


def test_current_values_come_from_rest_while_the_line_is_lost_and_many_share_one_question() -> None:
    async def play(scene: Scene) -> None:
        (order_id,) = place(scene.world, 1)
        await trio.sleep(1)
        scene.cut()
        await trio.sleep(0.5)
        calls, ages = scene.calls("OpenOrders"), list[float]()

        async def ask() -> None:
            reading = await scene.account.get_orders()
            assert (reading.source, reading.integrity) == (REST, Integrity.UNVERIFIED)
            assert list(reading.values) == [order_id]
            ages.append(reading.age_s)

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(ask)
        assert scene.calls("OpenOrders") - calls == 1
        await trio.sleep(0.3)
        await ask()
        assert scene.calls("OpenOrders") - calls == 1, "young enough"
        assert (await scene.account.get_orders(max_age_s=0.0)).age_s < 0.1
        assert scene.calls("OpenOrders") - calls == 2
        assert max(ages) > 0.2

    with_backup(play)


def test_many_who_want_values_that_rest_does_not_bring_wait_for_one_question_together() -> None:
    async def play(scene: Scene) -> None:
        scene.cut()
        scene.world.network.set_dialing(scene.world.rest_address, Dialing.HANG)
        scene.world.network.reset(scene.world.rest_address)
        await trio.sleep(1)
        begin, waited = trio.current_time(), list[float]()

        async def ask() -> None:
            with pytest.raises(Stale, match="REST: "):
                await scene.account.get_balances(max_age_s=0.0)
            waited.append(trio.current_time() - begin)

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(ask)
        assert len(waited) == 5
        assert max(waited) - min(waited) < 0.1
        assert max(waited) > 1.0

    with_backup(play)


def test_without_either_source_there_is_no_value_but_for_those_who_ask_for_an_old_one() -> None:
    async def play(scene: Scene) -> None:
        known = dict(scene.account.holdings())
        scene.cut()
        scene.world.network.take_down(scene.world.rest_address)
        await trio.sleep(1)
        with pytest.raises(Stale, match=r"balances main: .*; REST: "):
            await scene.account.get_balances()
        old = await scene.account.get_balances(allow_stale=True)
        assert (old.source, old.integrity) == (LINE, Integrity.RESYNCING)
        assert dict(old.values) == known
        assert old.stale is not None
        scene.world.network.set_dialing(scene.world.rest_address, Dialing.ACCEPT)
        scene.mend()
        await trio.sleep(60)
        assert (await scene.account.get_balances()).source is LINE

    with_backup(play)


def test_an_answer_from_before_the_line_was_back_is_never_shown_when_it_is_lost_again() -> None:
    async def play(scene: Scene) -> None:
        scene.cut()
        await trio.sleep(1)
        assert (await scene.account.get_balances()).values["USD"].total == Decimal(1_000_000)
        scene.mend()
        await scene.account.wait_live()
        scene.deposit("5")
        await trio.sleep(1)
        scene.cut()
        await trio.sleep(0.5)
        reading = await scene.account.get_balances(max_age_s=100.0)
        assert (reading.source, reading.values["USD"].total) == (REST, Decimal(1_000_005))

    with_backup(play)


def test_a_key_that_is_refused_is_not_knocked_with_again_and_again() -> None:
    async def play(scene: Scene) -> None:
        scene.cut()
        scene.world.exchange.faults.delete_key(now=trio.current_time(), account="main")
        before = scene.calls()
        await trio.sleep(300)
        for _ in range(5):
            with pytest.raises(Stale, match="Invalid key"):
                await scene.account.get_balances()
        assert scene.calls() - before <= 4

    with_backup(play)


def test_the_lowest_tier_s_counter_bears_it() -> None:
    async def scenario(world: World) -> None:
        world.config = attrs.evolve(world.config, failover=attrs.evolve(world.config.failover, enabled=True))
        starter = attrs.evolve(MAIN, tier="starter")
        world.exchange.private.operator.create(name="small", key="KEY+OF+SMALL", secret=TEST_SECRET, tier="starter")
        async with world.open_market() as market, open_account(attrs.evolve(starter, name="small"), market) as account:
            await account.wait_live()
            scene = Scene(world, market, account)
            scene.cut()
            await trio.sleep(200)
            calls = world.exchange.private.truth.calls("small")
            assert not [call for call in calls if call["error"]]
            assert 34 <= len([call for call in calls if call["path"].endswith(("BalanceEx", "OpenOrders"))]) <= 42
            scene.mend()
            await trio.sleep(30)
            assert account.may_trade

    keys = {"KRAKEN_ENGINE_ACCOUNTS__SMALL__KEY": "KEY+OF+SMALL", "KRAKEN_ENGINE_ACCOUNTS__SMALL__SECRET": TEST_SECRET}
    in_world(scenario, keys=keys)
