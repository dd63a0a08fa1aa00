"""Accounts in a simulated world: opened at its venue, with their keys in the engine's environment."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import attrs

from kraken_engine.config import AccountSettings
from kraken_engine.sim.world import World
from kraken_engine.tasks.account import open_account
from kraken_engine.tasks.market import Market
from kraken_engine.trading.account import Account
from kraken_engine.venue.core.accounts.settings import TEST_KEY, TEST_SECRET

__all__ = ["give_accounts", "open_accounts"]

TIER = "intermediate"
_TEST_ACCOUNT = "main"
"""The venue has it from the beginning, with money and a key that everybody knows."""


def give_accounts(world: World, names: Iterable[str]) -> list[AccountSettings]:
    """Let the venue and the engine have these accounts, before a market is opened; return what to open them with.

    Raises:
        ConfigError: one of them cannot be called so.
    """
    settings = [AccountSettings(name=name, tier=TIER) for name in dict.fromkeys(names)]
    environment = dict(world.runtime.environment)
    for one in settings:
        key = TEST_KEY if one.name == _TEST_ACCOUNT else f"SIMULATED+VENUE+KEY+OF+{one.name.upper()}"
        if one.name not in world.exchange.accounts:
            world.exchange.private.operator.create(name=one.name, key=key, secret=TEST_SECRET, tier=TIER)
        environment[f"KRAKEN_ENGINE_ACCOUNTS__{one.name.upper()}__KEY"] = key
        environment[f"KRAKEN_ENGINE_ACCOUNTS__{one.name.upper()}__SECRET"] = TEST_SECRET
    world.runtime = attrs.evolve(world.runtime, environment=environment)
    return settings


@asynccontextmanager
async def open_accounts(market: Market, settings: Sequence[AccountSettings]) -> AsyncGenerator[dict[str, Account]]:
    """Open accounts on ``market`` for as long as the block lasts, and return them by name."""
    async with AsyncExitStack() as stack:
        yield {one.name: await stack.enter_async_context(open_account(one, market)) for one in settings}
