"""``open_engine``: everything an application of one venue needs, as one scope."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import final

from kraken_engine.config import Config
from kraken_engine.feed.feed import Feed
from kraken_engine.feed.topics import Health
from kraken_engine.model import Instrument
from kraken_engine.runtime import Runtime
from kraken_engine.tasks.market import Market, open_market

__all__ = ["Engine", "open_engine"]


@final
class Engine:
    """An open engine; made by :func:`open_engine`."""

    def __init__(self, market: Market) -> None:
        self.market = market
        """The market data part, with its statistics and key figures."""

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
    """Open an engine for as long as the block lasts; arguments and errors are those of :func:`open_market`."""
    async with open_market(config, runtime=runtime) as market:
        yield Engine(market)
