"""A simulated world with an open account in it, and the venue's own word to compare with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import attrs
import trio

from kraken_engine import Event
from kraken_engine.config import AccountSettings
from kraken_engine.runtime import seeded_rng
from kraken_engine.sim.deterministic import run
from kraken_engine.sim.workers import SimWorkers
from kraken_engine.sim.world import World, WorldSettings, open_world
from kraken_engine.tasks.account import open_account
from kraken_engine.trading.account import Account
from kraken_engine.venue.core.accounts.settings import TEST_KEY, TEST_SECRET

__all__ = ["KEYS", "MAIN", "SETTINGS", "check", "in_world", "may_trade", "place", "truth", "with_account"]

KEYS = {"KRAKEN_ENGINE_ACCOUNTS__MAIN__KEY": TEST_KEY, "KRAKEN_ENGINE_ACCOUNTS__MAIN__SECRET": TEST_SECRET}
MAIN = AccountSettings(name="main", tier="intermediate")
SETTINGS = WorldSettings(symbols=3, rate=2.0)


def in_world(scenario: Callable[[World], Awaitable[Any]], *, keys: dict[str, str] = KEYS) -> Any:
    """Run ``scenario`` in the world of seed 1 and demand that nothing is left of it."""

    async def main() -> Any:
        async with open_world(1, SETTINGS) as world:
            workers = SimWorkers(seeded_rng(1), wait_s=0.01)
            world.runtime = attrs.evolve(world.runtime, environment=keys, workers=workers)
            result = await scenario(world)
            await trio.sleep(5)
            assert world.network.open_streams("client") == []
            return result

    return run(1, main, horizon_s=3600)


def with_account(scenario: Callable[[World, Account, list[Event]], Awaitable[Any]]) -> Any:
    """Run ``scenario`` with a live account and everything it tells from the first moment on."""

    async def main(world: World) -> Any:
        async with world.open_market() as market, open_account(MAIN, market) as account:
            told: list[Event] = []
            stop = market.publisher.observe(lambda key, event: told.append(event) if key[-1] == "main" else None)
            with trio.fail_after(30):
                await account.wait_live()
            await trio.sleep(1)
            result = await scenario(world, account, told)
            stop()
            return result

    return in_world(main)


def may_trade(account: Account) -> bool:
    return account.may_trade


def place(world: World, count: int = 3, **params: Any) -> list[str]:
    params = {"symbol": "BTC/USD", "side": "sell", "away": 50, **params}
    placed = world.exchange.private.operator.place("main", count=count, **params)
    return [order.id for order in placed]


def truth(world: World) -> dict[str, Any]:
    return world.exchange.private.truth.summary("main", world.exchange.wall_ns())


def check(world: World, account: Account) -> None:
    """Compare orders and balances with the venue's own, to the last digit."""
    true = truth(world)
    ours = {
        order.order_id: (str(order.status), f"{order.cum_qty:f}", f"{order.order_qty:f}", f"{order.limit_price:f}")
        for order in account.open_orders().values()
    }
    theirs = {
        order["order_id"]: (order["order_status"], order["cum_qty"], order["order_qty"], order["limit_price"])
        for order in true["orders"]
    }
    assert {order_id: tuple(map(_plain, values)) for order_id, values in ours.items()} == {
        order_id: tuple(map(_plain, values)) for order_id, values in theirs.items()
    }
    assert {asset: f"{update.total:f}" for asset, update in account.holdings().items()} == {
        asset: balance["balance"] for asset, balance in true["balances"].items()
    }


def _plain(value: str) -> Any:
    return Decimal(value) if value.replace(".", "").isdigit() else value
