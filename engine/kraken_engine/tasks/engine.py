"""``open_engine``: everything an application of one venue needs, as one scope: a market, and the accounts on it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from types import MappingProxyType
from typing import final

from kraken_engine.config import AccountSettings, Config
from kraken_engine.feed.feed import Feed
from kraken_engine.feed.topics import Health
from kraken_engine.model import Instrument
from kraken_engine.runtime import Runtime
from kraken_engine.store.database import open_store
from kraken_engine.tasks.account import open_account
from kraken_engine.tasks.market import Market, open_market
from kraken_engine.tasks.rest import open_public_rest
from kraken_engine.trading.account import Account

__all__ = ["Engine", "open_engine"]


@final
class Engine:
    """An open engine; made by :func:`open_engine`."""

    def __init__(self, market: Market, accounts: Mapping[str, Account]) -> None:
        self.market = market
        """The market data part, with its statistics and key figures."""
        self.accounts = MappingProxyType(dict(accounts))
        """The accounts of the configuration by name; each says for itself whether it is in step with the venue."""

    @property
    def feed(self) -> Feed:
        """Streams and current values."""
        return self.market.feed

    @property
    def health(self) -> Health:
        """The topic of every notice."""
        return self.market.health

    @property
    def instruments(self) -> Mapping[str, Instrument]:
        """Every tradable pair by symbol, kept up to date."""
        return self.market.instruments


@asynccontextmanager
async def open_engine(config: Config, *, runtime: Runtime | None = None) -> AsyncGenerator[Engine]:
    """Open an engine for as long as the block lasts: a market, and each of ``config.accounts`` on it.

    A simulated configuration without accounts has the venue's test account, called ``main``. Accounts become live by
    themselves; one that cannot (a dead key, say) says why and touches no other. Arguments and errors are those of
    :func:`open_market` and :func:`~kraken_engine.tasks.account.open_account`.
    """
    async with AsyncExitStack() as stack:
        market = await stack.enter_async_context(open_market(config, runtime=runtime))
        settings = dict(config.accounts)
        if config.venue is not None and not settings:
            settings["main"] = AccountSettings(tier="intermediate")
        accounts: dict[str, Account] = {}
        if settings:
            store = None
            if config.state_dir is not None:
                store = await stack.enter_async_context(
                    open_store(market.runtime, config.state_dir, settings=config.store)
                )
            public = await stack.enter_async_context(
                open_public_rest(market.config, market.runtime, notify=market.publisher.announce)
            )
            for name, account in settings.items():
                accounts[name] = await stack.enter_async_context(
                    open_account(account, market, store=store, public=public)
                )
        yield Engine(market, accounts)
