"""A Trio engine for Kraken market data: verified, self-healing, replayable from a seed.

Re-exports only; the folders below are the stages the data passes on its way to an application.
"""

from kraken_engine.config import AccountSettings, Config
from kraken_engine.errors import (
    ConfigError,
    ConnectFailed,
    DecodeError,
    EngineError,
    EngineFailed,
    LineClosed,
    LineError,
    ProtocolError,
    SlowConsumer,
    Stale,
    StartupError,
    UpgradeRejected,
    UsageError,
)
from kraken_engine.feed.feed import Feed, Reading
from kraken_engine.feed.subscription import Bounded, Conflate, DropOldest, Subscription
from kraken_engine.feed.topics import Book, Candles, Health, Instruments, Ticker, Trades
from kraken_engine.model import Instrument, Integrity, Side, Source, VenueMode
from kraken_engine.normalise.book_view import BookUpdate, BookView
from kraken_engine.normalise.events import (
    Candle,
    Event,
    Gap,
    InstrumentUpdate,
    Lagged,
    LineDown,
    LineUp,
    Live,
    MarketEvent,
    Notice,
    PriceLevel,
    Refused,
    Resync,
    SourceChanged,
    TickerUpdate,
    Trade,
    TradeGap,
    VenueStatus,
)
from kraken_engine.runtime import Runtime, real_runtime
from kraken_engine.secret import ApiKey, Secret
from kraken_engine.tasks.engine import Engine, open_engine
from kraken_engine.tasks.market import Market, MarketStatistics, open_market

__all__ = [
    "AccountSettings",
    "ApiKey",
    "Book",
    "BookUpdate",
    "BookView",
    "Bounded",
    "Candle",
    "Candles",
    "Config",
    "ConfigError",
    "Conflate",
    "ConnectFailed",
    "DecodeError",
    "DropOldest",
    "Engine",
    "EngineError",
    "EngineFailed",
    "Event",
    "Feed",
    "Gap",
    "Health",
    "Instrument",
    "InstrumentUpdate",
    "Instruments",
    "Integrity",
    "Lagged",
    "LineClosed",
    "LineDown",
    "LineError",
    "LineUp",
    "Live",
    "Market",
    "MarketEvent",
    "MarketStatistics",
    "Notice",
    "PriceLevel",
    "ProtocolError",
    "Reading",
    "Refused",
    "Resync",
    "Runtime",
    "Secret",
    "Side",
    "SlowConsumer",
    "Source",
    "SourceChanged",
    "Stale",
    "StartupError",
    "Subscription",
    "Ticker",
    "TickerUpdate",
    "Trade",
    "TradeGap",
    "Trades",
    "UpgradeRejected",
    "UsageError",
    "VenueMode",
    "VenueStatus",
    "open_engine",
    "open_market",
    "real_runtime",
]
