"""Streams of an account: in order with everything else, told once, never conflated and never dropped."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import pytest
import trio

from kraken_engine.errors import SlowConsumer, UsageError
from kraken_engine.feed.demand import Demand
from kraken_engine.feed.feed import Feed
from kraken_engine.feed.publisher import Publisher
from kraken_engine.feed.subscription import Bounded, Conflate, DropOldest, OnFull, Subscription
from kraken_engine.feed.topics import Balances, Executions, Health, Orders
from kraken_engine.model import OrderType, Side, Source
from kraken_engine.normalise.account_events import AccountLive, AccountStale, BalanceUpdate, Fill
from kraken_engine.normalise.events import Event
from kraken_engine.runtime import real_runtime
from kraken_engine.state.freshness import StreamKey

LIVE = AccountLive(at_s=1.0, channel="account", symbol="main")


def fill(n: int, account: str = "main") -> Fill:
    return Fill(
        account=account, source=Source.WEBSOCKET_V2, received_s=1.0, venue_time=None, exec_id=f"T{n}", trade_id=n,
        order_id="O1", cl_ord_id=None, symbol="BTC/USD", side=Side.BUY, qty=Decimal(1), price=Decimal(n),
        cost=Decimal(n), fees={}, liquidity=None, order_type=OrderType.LIMIT, external=True,
    )  # fmt: skip


def balance(total: int) -> BalanceUpdate:
    return BalanceUpdate(
        account="main", source=Source.WEBSOCKET_V2, received_s=1.0, venue_time=None, asset="USD",
        total=Decimal(total), used=Decimal(0),
    )  # fmt: skip


def greeting(key: StreamKey) -> Iterable[Event]:
    return (LIVE, balance(5)) if key[0] == "balances" else (LIVE,)


def hosting() -> tuple[Publisher, Feed]:
    publisher = Publisher()
    publisher.host("main", greeting)
    nothing = Demand(
        want=lambda *_: pytest.fail("nothing to want"),
        drop=lambda *_: pytest.fail("nothing to drop"),
        change=lambda *_: pytest.fail("nothing to change"),
    )
    return publisher, Feed(publisher, nothing, real_runtime().clock)


async def read(subscription: Subscription, count: int) -> list[Event]:
    with trio.fail_after(1):
        return [await subscription.__anext__() for _ in range(count)]


async def test_a_reader_begins_with_what_is_true_and_is_told_each_notice_once(autojump_clock: object) -> None:
    publisher, feed = hosting()
    async with feed.subscribe(Executions("main"), Orders("main"), Balances("main"), Health()) as events:
        assert await read(events, 2) == [LIVE, balance(5)]
        stale = AccountStale("main", "cut", since_s=2.0)
        publisher.tell("main", stale)
        publisher.tell("main", fill(1))
        publisher.tell("main", balance(6))
        publisher.flush()
        assert await read(events, 3) == [stale, fill(1), balance(6)]
        assert len(events) == 0


async def test_a_topic_brings_its_own_events_and_every_notice(autojump_clock: object) -> None:
    publisher, feed = hosting()
    async with feed.subscribe(Balances("main")) as balances, feed.subscribe(Health()) as health:
        publisher.tell("main", fill(1))
        publisher.tell("main", LIVE)
        publisher.flush()
        assert await read(balances, 3) == [LIVE, balance(5), LIVE]
        assert await read(health, 1) == [LIVE]


@pytest.mark.parametrize("on_full", [Conflate(100), DropOldest(100), Bounded(100)])
async def test_no_rule_conflates_or_drops_anything_of_an_account(autojump_clock: object, on_full: OnFull) -> None:
    publisher, feed = hosting()
    async with feed.subscribe(Executions("main"), Balances("main"), on_full=on_full) as events:
        told = [each for n in range(40) for each in (fill(n), balance(n))]
        for event in told:
            publisher.tell("main", event)
        publisher.flush()
        assert (await read(events, 82))[2:] == told


@pytest.mark.parametrize("on_full", [Conflate(10), DropOldest(10), Bounded(10)])
async def test_a_reader_too_slow_for_an_account_is_ended_and_told(autojump_clock: object, on_full: OnFull) -> None:
    publisher, feed = hosting()
    async with feed.subscribe(Executions("main"), on_full=on_full) as events:
        for n in range(12):
            publisher.tell("main", fill(n))
        publisher.flush()
        with pytest.raises(SlowConsumer):
            await read(events, 1)


async def test_an_account_that_is_not_open_cannot_be_listened_to(autojump_clock: object) -> None:
    publisher, feed = hosting()
    with pytest.raises(UsageError, match="no account called other is open here"):
        async with feed.subscribe(Executions("other")):
            pass
    leave = publisher.host("other", greeting)
    async with feed.subscribe(Executions("other")) as events:
        publisher.tell("main", fill(1))
        publisher.tell("other", fill(2, "other"))
        publisher.flush()
        assert await read(events, 2) == [LIVE, fill(2, "other")]
    leave()
    assert not publisher.hosts("other")


def test_an_observer_sees_everything_of_an_account() -> None:
    publisher, _ = hosting()
    seen: list[tuple[StreamKey, Event]] = []
    publisher.observe(lambda key, event: seen.append((key, event)))
    for event in (LIVE, fill(1), balance(1)):
        publisher.tell("main", event)
    assert seen == [(("account", "main"), LIVE), (("executions", "main"), fill(1)), (("balances", "main"), balance(1))]
