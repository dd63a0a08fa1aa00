"""The whole table of errors, walked: for each action, whoever owns the matter did it, and the venue saw it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest
import trio
from tests.rest.harness import RESULTS, TinyVenue, rest_of
from tests.tasks.account_world import MAIN, in_world
from tests.tasks.test_engine_store import STATE, config, world
from trio.testing import MockClock

from kraken_engine import (
    Account,
    Book,
    CircuitChanged,
    Event,
    Instruments,
    LineUp,
    Market,
    Refused,
    Ticker,
    open_engine,
)
from kraken_engine.codec.venue_errors import VENUE_ERRORS, BreakerEffect, ErrorAction
from kraken_engine.control.error_actions import ACTIONS, ErrorKind
from kraken_engine.errors import EngineError
from kraken_engine.sim.disk import SimDisk
from kraken_engine.sim.world import World
from kraken_engine.store.checkpoint import seal
from kraken_engine.tasks.account import open_account

Scenario = Callable[[World, Market, Account], Awaitable[None]]


def with_account(scenario: Scenario) -> None:
    """Run ``scenario`` with a market and a live account, and something that reads."""

    async def main(world: World) -> None:
        async with world.open_market() as market, open_account(MAIN, market) as account:
            symbol = world.exchange.symbols[0]
            async with market.feed.subscribe(Ticker(symbol), Book(symbol)):
                with trio.fail_after(30):
                    await account.wait_live()
                await trio.sleep(2)
                await scenario(world, market, account)

    in_world(main)


def count(market: Market, kind: ErrorKind) -> int:
    return market.desk.counts[kind]


def test_every_action_of_the_founding_table_is_walked_here() -> None:
    """Whoever adds an action has to show that it is done."""
    assert set(ACTIONS.values()) == set(WALKED)
    assert all(callable(globals().get(name)) for name in WALKED.values())


WALKED = {
    ErrorAction.RECONNECT_WITH_BACKOFF: "test_reconnect_with_backoff_the_line_is_up_again_after_a_pause",
    ErrorAction.REFRESH_TOKEN_AND_RECONNECT: "test_refresh_token_and_reconnect_the_venue_is_asked_for_another_token",
    ErrorAction.ACTIVATE_CIRCUIT_BREAKER: "test_activate_circuit_breaker_nothing_more_is_sent",
    ErrorAction.RESET_NONCE_AND_RETRY: "test_reset_nonce_and_retry_the_venue_sees_the_call_again_with_a_higher_nonce",
    ErrorAction.LOG_AND_SKIP: "test_log_and_skip_the_element_is_left_out_and_counted_and_the_stream_goes_on",
    ErrorAction.RESTORE_FROM_CHECKPOINT: "test_restore_from_checkpoint_the_generation_before_is_what_is_shown",
    ErrorAction.LOG_AND_CONTINUE: "test_log_and_continue_an_unknown_refusal_is_told_counted_and_survived",
}


def test_reconnect_with_backoff_the_line_is_up_again_after_a_pause() -> None:
    async def scenario(world: World, market: Market, account: Account) -> None:
        ups: list[float] = []
        stop = market.publisher.observe(lambda _, event: ups.append(event.at_s) if isinstance(event, LineUp) else None)
        before = count(market, ErrorKind.WEBSOCKET_DISCONNECT)
        pauses = []
        for _ in range(3):
            ended = trio.current_time()
            world.network.reset(world.venue_address)
            await trio.sleep(10)
            pauses.append(ups[-1] - ended)
        stop()
        assert len(ups) == 3
        assert count(market, ErrorKind.WEBSOCKET_DISCONNECT) == before + 3
        assert pauses[0] < 0.1, "the one immediate retry"
        assert all(pause > 0.1 for pause in pauses[1:])
        assert account.may_trade

    with_account(scenario)


def test_refresh_token_and_reconnect_the_venue_is_asked_for_another_token() -> None:
    async def scenario(world: World, market: Market, account: Account) -> None:
        before = count(market, ErrorKind.WEBSOCKET_AUTH_FAIL)
        asked: list[str] = []
        world.exchange.faults.revoke_tokens(now=trio.current_time(), mode="close")
        stop = market.publisher.observe(
            lambda _, event: asked.append(event.line) if isinstance(event, LineUp) else None
        )
        await trio.sleep(30)
        stop()
        assert count(market, ErrorKind.WEBSOCKET_AUTH_FAIL) > before
        assert asked.count("private main") >= 2, "once with the token that was worthless, once with the next"
        assert account.may_trade

    with_account(scenario)


async def test_activate_circuit_breaker_nothing_more_is_sent(autojump_clock: MockClock) -> None:
    """Whoever is told of a limit, the call itself here."""
    limits = [words for words, rule in VENUE_ERRORS.items() if rule.action is ErrorAction.ACTIVATE_CIRCUIT_BREAKER]
    assert limits == [words for words, rule in VENUE_ERRORS.items() if rule.breaker is BreakerEffect.RATE_LIMIT]
    for words in limits:
        venue = TinyVenue()
        venue.script["Balance"] = [[words]]
        async with rest_of(venue) as rest:
            with pytest.raises(EngineError):
                await rest.private.balance()
            sent = len(venue.seen)
            with pytest.raises(EngineError, match=r"circuit breaker|open"):
                await rest.private.balance_ex()
            assert len(venue.seen) == sent
            await rest.public.time()  # the other side is not concerned


def test_a_rate_limit_that_a_public_line_hears_of_does_not_take_away_the_backup() -> None:
    """Whatever the words: messages of a connection are one thing, REST calls of an address another."""

    async def scenario(world: World, market: Market, account: Account) -> None:
        second = world.exchange.symbols[1]
        changed: list[Event] = []
        stop = market.publisher.observe(
            lambda _, event: changed.append(event) if isinstance(event, CircuitChanged) else None
        )
        for words in ("EAPI:Rate limit exceeded", "EGeneral:Temporary lockout", "Exceeded msg rate"):
            world.exchange.faults.refuse_subscriptions(now=trio.current_time(), symbol=second, error=words)
            async with market.feed.subscribe(Ticker(second)):
                await trio.sleep(5)
        stop()
        assert changed == []
        assert market.rest is not None
        await market.rest.time()

    with_account(scenario)


async def test_reset_nonce_and_retry_the_venue_sees_the_call_again_with_a_higher_nonce(
    autojump_clock: MockClock,
) -> None:
    venue = TinyVenue()
    venue.script["Balance"] = [["EAPI:Invalid nonce"], RESULTS["Balance"]]
    async with rest_of(venue) as rest:
        await rest.private.balance()
        first, second = [seen.nonce for seen in venue.seen if seen.name == "Balance"]
        assert second > first + 10**6, "up past what another program may have used"
        assert rest.public.desk.counts[ErrorKind.REST_NONCE_ERROR] == 1


_GOOD = '"bid_qty":1.0,"ask":2.0,"ask_qty":1.0,"last":1.5,"volume":1.0,"vwap":1.0,"low":1.0,"high":2.0'


def test_log_and_skip_the_element_is_left_out_and_counted_and_the_stream_goes_on() -> None:
    async def scenario(world: World, market: Market, account: Account) -> None:
        symbol = world.exchange.symbols[0]
        before, rejected = count(market, ErrorKind.DATA_VALIDATION_FAIL), market.statistics().lines[0].rejected
        nonsense = (
            f'{{"channel":"ticker","type":"update","data":[{{"symbol":"{symbol}","bid":null,{_GOOD},'
            '"change":0.0,"change_pct":0.0}]}'
        )
        connections = market.statistics().lines[0].connections
        world.exchange.faults.send_text(nonsense.encode(), now=trio.current_time())
        await trio.sleep(1)
        line = market.statistics().lines[0]
        assert count(market, ErrorKind.DATA_VALIDATION_FAIL) == before + 1
        assert (line.rejected, line.undecodable) == (rejected + 1, 0)
        assert (line.connections, line.resubscriptions) == (connections, 0)
        assert market.feed.latest(Ticker(symbol)).value.bid > 0
        assert account.may_trade

    with_account(scenario)


def test_an_element_others_build_upon_is_asked_for_anew_once_and_no_more() -> None:
    async def scenario(world: World, market: Market, account: Account) -> None:
        nonsense = b'{"channel":"instrument","type":"update","data":{"assets":[],"pairs":[{"symbol":7}]}}'
        seen: list[Any] = []
        async with market.feed.subscribe(Instruments()) as events:

            async def read() -> None:
                async for event in events:
                    seen.append(event)  # noqa: PERF401 - it has to be seen while it grows

            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                await trio.sleep(1)
                lines = market.statistics().lines[0]
                for _ in range(3):
                    world.exchange.faults.send_text(nonsense, now=trio.current_time())
                    await trio.sleep(5)
                after = market.statistics().lines[0]
                nursery.cancel_scope.cancel()
        assert after.undecodable + after.rejected > lines.undecodable + lines.rejected
        assert after.resubscriptions == lines.resubscriptions + 1
        assert account.may_trade

    with_account(scenario)


async def test_restore_from_checkpoint_the_generation_before_is_what_is_shown() -> None:
    """Whole as a file, and yet no state of an engine: the one before it is restored, and nothing of it is live."""
    disk = SimDisk()
    settings = attrs.evolve(config(), store=attrs.evolve(config().store, checkpoint_every_s=3_600.0))
    async with open_engine(settings, runtime=world(disk)) as engine:
        symbol = next(iter(engine.instruments))
        async with engine.feed.subscribe(Ticker(symbol)) as events:
            with trio.fail_after(60):
                async for _ in events:
                    if engine.market.publisher.latest(("ticker", symbol)) is not None:
                        break
    async with open_engine(settings, runtime=world(disk)):
        pass
    slots = sorted(name for name in disk.list_directory(STATE) if name.startswith("checkpoint."))
    disk.remove(f"{STATE}/{slots[0]}")
    disk.write_new(f"{STATE}/{slots[0]}", seal(1000, b"not what an engine wrote"))
    async with open_engine(settings, runtime=world(disk)) as engine:
        assert engine.restored is not None
        assert engine.market.statistics().errors["state_corruption"] == 1
        reading = engine.feed.latest(Ticker(symbol), allow_stale=True)
        assert reading.stale is not None
        assert "restored" in reading.stale.why


def test_log_and_continue_an_unknown_refusal_is_told_counted_and_survived() -> None:
    async def scenario(world: World, market: Market, account: Account) -> None:
        second = world.exchange.symbols[1]
        told: list[str] = []
        stop = market.publisher.observe(
            lambda _, event: told.append(event.error) if isinstance(event, Refused) else None
        )
        world.exchange.faults.refuse_subscriptions(
            now=trio.current_time(), symbol=second, error="EFuture:Never heard of"
        )
        async with market.feed.subscribe(Ticker(second)):
            await trio.sleep(10)
            assert market.feed.latest(Ticker(second)).value.bid > 0
        stop()
        assert told == ["EFuture:Never heard of"]
        assert market.statistics().unknown_errors == {"EFuture:Never heard of": 1}
        assert account.may_trade

    with_account(scenario)


def test_whatever_words_a_subscription_is_refused_with_are_told_and_cost_that_subscription_alone() -> None:
    """The whole table once more, over a WebSocket: the line lives, other streams go on, and nothing is unknown."""

    async def scenario(world: World, market: Market, account: Account) -> None:
        first, second = world.exchange.symbols[:2]
        told: list[str] = []
        stop = market.publisher.observe(
            lambda _, event: told.append(event.error) if isinstance(event, Refused) else None
        )
        connections = [line.connections for line in market.statistics().lines]
        for words in VENUE_ERRORS:
            world.exchange.faults.refuse_subscriptions(now=trio.current_time(), symbol=second, error=words)
            async with market.feed.subscribe(Ticker(second)):
                await trio.sleep(2)
            await trio.sleep(8)
            assert set(told) == {words}
            told.clear()
            assert market.feed.latest(Ticker(first)).value.bid > 0
            assert account.may_trade
        stop()
        assert [line.connections for line in market.statistics().lines] == connections
        assert market.statistics().unknown_errors == {}
        assert count(market, ErrorKind.OTHER) >= len(VENUE_ERRORS) - 10

    with_account(scenario)
