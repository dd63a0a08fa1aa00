"""What an account asks REST of its own accord: positions are known exactly or not at all, lost balances are found."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs
import msgspec
import pytest
import trio
from tests.tasks.account_world import MAIN, SETTINGS, check, in_world, place, with_account

from kraken_engine import Event, Stale
from kraken_engine.codec.ws_v2_private import BalancesMessage
from kraken_engine.model import Side, Source
from kraken_engine.normalise.account_events import AccountDiffers, AccountGap, AccountStale
from kraken_engine.sim.world import World
from kraken_engine.state.account_sync import AccountSync
from kraken_engine.tasks.account import open_account
from kraken_engine.trading.account import Account

BTC = "BTC/USD"


def trade(world: World, side: str, lots: int, *, symbol: str = BTC) -> None:
    """Let the account trade on margin at the market."""
    place(world, 1, symbol=symbol, side=side, market=True, lots=lots, leverage=2)


def theirs(world: World) -> dict[str, list[tuple[str, Decimal, Decimal]]]:
    """Return the venue's own positions: side, quantity and price of each lot, by symbol."""
    found: dict[str, list[tuple[str, Decimal, Decimal]]] = {}
    for row in world.exchange.private.truth.positions("main"):
        lot = row["side"], Decimal(row["qty"]), Decimal(row["price"])
        found.setdefault(row["symbol"], []).append(lot)
    return found


def ours(account: Account) -> dict[str, list[tuple[str, Decimal, Decimal]]]:
    readings = account.positions()
    assert all(reading.verified for reading in readings.values()), readings
    return {
        symbol: [(reading.position.side.value, lot.qty, lot.price) for lot in reading.position.lots]
        for symbol, reading in readings.items()
        if reading.position is not None
    }


def calls(world: World, path: str) -> list[dict[str, Any]]:
    return [call for call in world.exchange.private.truth.calls("main") if call["path"] == f"/0/private/{path}"]


# -- positions


def test_positions_from_before_are_known_and_every_fill_moves_them() -> None:
    async def scenario(world: World) -> None:
        trade(world, "buy", 20_000_000)
        trade(world, "sell", 5_000_000, symbol="ETH/USD")
        async with world.open_market() as market, open_account(MAIN, market) as account:
            await account.wait_live()
            with pytest.raises(Stale, match="positions main: positions from before are unknown"):
                account.position(BTC)
            with trio.fail_after(6):
                await account.wait_positions()
            assert ours(account) == theirs(world)
            assert set(ours(account)) == {BTC, "ETH/USD"}
            trade(world, "sell", 30_000_000)
            await trio.sleep(1)
            assert ours(account) == theirs(world)
            reading = account.position(BTC)
            assert reading.position is not None
            assert (reading.position.side, reading.source, reading.verified) == (Side.SELL, Source.REST, True)
            assert reading.age_s is not None
            assert 1 <= reading.age_s < 10
            assert account.position("SOL/USD").position is None
            assert account.position("SOL/USD").verified
            check(world, account)

    in_world(scenario)


def test_positions_are_exact_after_a_cut_in_which_the_account_traded() -> None:
    async def scenario(world: World, account: Account, told: list[Event]) -> None:
        trade(world, "buy", 20_000_000)
        await trio.sleep(12)
        world.exchange.faults.cut_private_line(now=trio.current_time())
        trade(world, "sell", 5_000_000)
        trade(world, "buy", 7_000_000)
        await account.wait_live()
        asked = len(calls(world, "OpenPositions"))
        await trio.sleep(1)
        assert ours(account) == theirs(world), "the fills of the cut were replayed"
        await trio.sleep(10)
        assert len(calls(world, "OpenPositions")) == asked + 1, "and the venue was asked whether that is all"
        assert ours(account) == theirs(world)
        assert account.statistics().differences == 0

    with_account(scenario)


def test_fills_while_the_venue_is_asked_are_counted_once() -> None:
    async def scenario(world: World) -> None:
        trade(world, "buy", 20_000_000)
        async with world.open_market() as market, open_account(MAIN, market) as account:
            await account.wait_live()
            for _ in range(40):  # never quiet for as long as REST may be behind
                trade(world, "sell", 1_000_000)
                await trio.sleep(0.7)
                reading = account.position(BTC, allow_stale=True)
                assert ours(account) == theirs(world) if reading.verified else reading.why
            await trio.sleep(20)
            assert ours(account) == theirs(world)

    in_world(scenario)


def test_a_key_that_may_not_see_positions_leaves_them_unknown_and_the_account_live() -> None:
    async def scenario(world: World) -> None:
        trade(world, "buy", 20_000_000)
        world.exchange.faults.drop_permission("query-open-trades", now=trio.current_time(), account="main")
        async with world.open_market() as market, open_account(MAIN, market) as account:
            await account.wait_live()
            await trio.sleep(30)
            assert account.may_trade
            with pytest.raises(Stale, match=r"unknown: REST: .*Permission denied"):
                account.positions()
            reading = account.position(BTC, allow_stale=True)
            assert (reading.position, reading.verified, reading.age_s) == (None, False, None)
            assert "Permission denied" in reading.why
            assert len(calls(world, "OpenPositions")) == 1
            world.exchange.faults.restore_keys("main")
            await trio.sleep(70)
            assert ours(account) == theirs(world)

    in_world(scenario)


def test_an_account_without_margin_asks_for_positions_once() -> None:
    async def scenario(world: World, account: Account, told: list[Event]) -> None:
        await trio.sleep(200)
        world.exchange.faults.cut_private_line(now=trio.current_time())
        await trio.sleep(200)
        assert len(calls(world, "OpenPositions")) == 1
        assert account.positions() == {}

    with_account(scenario)


# -- balances


def lose_balance_updates(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Plant a bug: so many updates of balances are taken for handled and are not."""
    left = [times]
    take = AccountSync._take_balances

    def lossy(self: AccountSync, message: BalancesMessage, now: float) -> Any:
        if message.type == "update" and left[0]:
            left[0] -= 1
            return []
        return take(self, message, now)

    monkeypatch.setattr(AccountSync, "_take_balances", lossy)


def test_a_balance_update_that_is_lost_silently_is_found_and_healed_within_the_period(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lose_balance_updates(monkeypatch, 1)

    async def scenario(world: World, account: Account, told: list[Event]) -> None:
        world.exchange.private.operator.deposit("main", asset="USD", amount="7")
        await trio.sleep(1)
        with pytest.raises(AssertionError):
            check(world, account)
        await trio.sleep(75)
        check(world, account)
        assert account.may_trade
        assert account.statistics().differences == 1
        (stale,) = [event for event in told if isinstance(event, AccountStale)]
        assert "REST tells otherwise, twice: USD total 1000007.0000, here 1000000.0000" in stale.why
        assert [event.healed_by for event in told if isinstance(event, AccountGap)][-1] == "snapshot"

    with_account(scenario)


def test_a_busy_account_is_accused_of_nothing() -> None:
    async def scenario(world: World, account: Account, told: list[Event]) -> None:
        world.exchange.private.operator.stir("main", seconds=200, per_second=4, margin=0.3)
        told.clear()
        await trio.sleep(200)
        statistics = account.statistics()
        assert statistics.checks == 3
        assert (statistics.differences, statistics.gaps) == (0, 0)
        assert not [event for event in told if isinstance(event, (AccountStale, AccountDiffers))]
        await trio.sleep(70)
        check(world, account)
        assert ours(account) == theirs(world)

    with_account(scenario)


def test_a_difference_that_a_fresh_snapshot_does_not_heal_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    take = AccountSync._take_balances

    def blind(self: AccountSync, message: BalancesMessage, now: float) -> Any:
        rows = [row for row in message.data if row.asset != "BTC"]
        return take(self, msgspec.structs.replace(message, data=rows), now)

    monkeypatch.setattr(AccountSync, "_take_balances", blind)

    async def scenario(world: World, account: Account, told: list[Event]) -> None:
        await trio.sleep(400)
        assert account.may_trade
        assert len([event for event in told if isinstance(event, AccountStale)]) == 1
        (differs,) = [event for event in told if isinstance(event, AccountDiffers)]
        assert "after a fresh snapshot as before: BTC total 50.0000000000, here 0" in differs.reason

    with_account(scenario)


def test_nothing_is_asked_while_the_account_is_not_live() -> None:
    async def scenario(world: World, account: Account, told: list[Event]) -> None:
        world.exchange.faults.refuse_private_subscriptions(now=trio.current_time(), times=6)
        world.exchange.faults.cut_private_line(now=trio.current_time())
        await trio.sleep(30)
        before = len(calls(world, "BalanceEx"))
        await trio.sleep(600)
        assert not account.may_trade
        assert len(calls(world, "BalanceEx")) == before

    with_account(scenario)


def test_the_period_is_a_setting() -> None:
    async def scenario(world: World) -> None:
        config = world.config
        world.config = attrs.evolve(config, reconciliation=attrs.evolve(config.reconciliation, check_every_s=600.0))
        async with world.open_market() as market, open_account(MAIN, market) as account:
            await trio.sleep(590)
            assert account.statistics().checks == 0
            await trio.sleep(20)
            assert account.statistics().checks == 1

    assert SETTINGS.symbols >= 3
    in_world(scenario)
