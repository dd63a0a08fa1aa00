"""The public operations, typed: symbols and events are ours, in both directions.

Arguments are checked before a call is queued, so that a mistake costs nothing. Names are translated by the venue's own
tables, which are fetched when first needed and again when a name is missing from them, but not more often than once a
minute.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import final

import trio

from kraken_engine.codec import rest_public as codec
from kraken_engine.codec.rest_public import AssetInfo, PairInfo
from kraken_engine.codec.tally import Tally
from kraken_engine.control.error_actions import ErrorDesk
from kraken_engine.control.retry_budget import RetryBudget
from kraken_engine.control.venue_clock import VenueClock
from kraken_engine.errors import DecodeError, EngineError, NotSent, UsageError, shown
from kraken_engine.model import CANDLE_INTERVALS_MIN, Instrument
from kraken_engine.normalise import rest_market as normalise
from kraken_engine.normalise.book_view import BookUpdate
from kraken_engine.normalise.events import InstrumentUpdate, TickerUpdate, VenueStatus
from kraken_engine.normalise.rest_market import CandleHistory, SpreadPoint, TradeHistory
from kraken_engine.normalise.symbols import Symbols
from kraken_engine.rest.calls import Attempt, RestStatistics, check_names
from kraken_engine.rest.operations import Group, operation
from kraken_engine.rest.queue import RestQueue
from kraken_engine.rest.sending import Reply
from kraken_engine.runtime import Clock

__all__ = ["MOST_LEVELS", "MOST_TRADES", "PublicRest"]

MOST_LEVELS = 500
MOST_TRADES = 1000
TABLE_PAUSE_S = 60.0


@final
class PublicRest:
    """What anybody may ask the venue. Answers are ``unverified``; calls of one address share a breaker and a pace.

    Every method raises what :meth:`~kraken_engine.rest.queue.RestQueue.call` raises. ``group`` says what the call is
    for, and with that how urgent it is; ``timeout_s`` is how long the caller waits in all.
    """

    def __init__(self, queue: RestQueue, clock: Clock, venue_clock: VenueClock) -> None:
        self._queue = queue
        self._clock = clock
        self._rejected = Tally()
        self._pairs: dict[str, PairInfo] | None = None
        self._assets: dict[str, AssetInfo] | None = None
        self._fetched_at = 0.0
        self._fetching = trio.Lock()
        self._stand_in: Mapping[str, Instrument] = {}
        self.venue_clock = venue_clock
        """The venue's time, from every answer, private ones included: deadlines of orders are to be reckoned by it."""

    @property
    def rejected(self) -> Mapping[str, int]:
        """Elements of answers that were left out because they made no sense, by place."""
        return self._rejected.counts

    @property
    def budget(self) -> RetryBudget:
        """Of retries: one for the whole process, so that accounts share it."""
        return self._queue.budget

    @property
    def desk(self) -> ErrorDesk:
        """Counts the errors, by kind; one for all who were opened with it."""
        return self._queue.desk

    def statistics(self) -> RestStatistics:
        """Return the counters of public calls."""
        return self._queue.statistics()

    def observe(self, observer: Callable[[Attempt], None]) -> Callable[[], None]:
        """Call ``observer`` for every attempt that is over, until the returned function is called; it must be quick."""
        return self._queue.observe(observer)

    async def time(self, *, group: Group = Group.VALIDATION, timeout_s: float | None = None) -> codec.ServerTime:
        """Return the venue's clock, to the second."""

        def finish(reply: Reply) -> codec.ServerTime:
            said = codec.decode_time(reply.envelope)
            self.venue_clock.learn(said.unixtime, at_s=reply.received_s, took_s=reply.took_s)
            return said

        return await self._queue.call(operation(group, "Time"), {}, finish, timeout_s=timeout_s)

    async def system_status(self, *, group: Group = Group.VALIDATION, timeout_s: float | None = None) -> VenueStatus:
        """Return the state of the trading engine. Passes while the circuit breaker is open."""

        def finish(reply: Reply) -> VenueStatus:
            return normalise.rest_venue_status(codec.decode_system_status(reply.envelope), at_s=reply.received_s)

        return await self._queue.call(operation(group, "SystemStatus"), {}, finish, timeout_s=timeout_s)

    async def assets(self, *, timeout_s: float | None = None) -> dict[str, AssetInfo]:
        """Return every asset by the venue's own id; :meth:`symbols` translates ids."""

        def finish(reply: Reply) -> dict[str, AssetInfo]:
            return codec.decode_assets(reply.envelope)

        found = await self._queue.call(operation(Group.VALIDATION, "Assets"), {}, finish, timeout_s=timeout_s)
        self._assets = found
        return found

    async def asset_pairs(self, *, timeout_s: float | None = None) -> InstrumentUpdate:
        """Return every tradable pair, as the ``instrument`` channel describes them."""

        def finish(reply: Reply) -> tuple[dict[str, PairInfo], float]:
            return codec.decode_asset_pairs(reply.envelope), reply.received_s

        what = operation(Group.VALIDATION, "AssetPairs")
        pairs, received_s = await self._queue.call(what, {}, finish, timeout_s=timeout_s)
        self._pairs, self._fetched_at = pairs, self._clock.now()
        symbols = Symbols(self._assets or {}, pairs)
        return normalise.rest_instruments(pairs, symbols, received_s=received_s, reject=self._reject)

    def stand_in(self, instruments: Mapping[str, Instrument]) -> None:
        """Use the names of ``instruments``, which may grow, while the venue's tables cannot be had.

        Trouble of the public API must not blind the private one: orders and balances have to be named.
        """
        self._stand_in = instruments

    async def symbols(self, *, assets: bool = False, timeout_s: float | None = None) -> Symbols:
        """Return the names of pairs, and of assets too if ``assets``; fetched when first asked for."""
        left = self._queue.patience(timeout_s)
        with trio.move_on_after(left() / 2 if self._stand_in else left()) as waiting:
            async with self._fetching:
                waiting.deadline = math.inf  # from here on each call keeps to it, and says what became of it
                try:
                    if self._pairs is None:
                        await self.asset_pairs(timeout_s=left() / 2 if self._stand_in else left())
                    if assets and self._assets is None:
                        await self.assets(timeout_s=left() / 2 if self._stand_in else left())
                except EngineError:
                    if not self._stand_in:
                        raise
                    return Symbols.of_instruments(self._stand_in.values())
        if waiting.cancelled_caught and self._stand_in:
            return Symbols.of_instruments(self._stand_in.values())
        if waiting.cancelled_caught:
            raise NotSent("AssetPairs", "somebody else has been asking for the names of pairs for too long")
        return Symbols(self._assets or {}, self._pairs or {})

    async def symbols_with(self, symbol: str, *, timeout_s: float | None = None) -> Symbols:
        """Return the names of pairs, fetched anew if ``symbol`` is not among them and they are old enough.

        Raises:
            UsageError: the venue has no such pair.
        """
        left = self._queue.patience(timeout_s)
        symbols = await self.symbols(timeout_s=left())
        if symbols.key(symbol) is None and self._tables_are_old:
            with trio.move_on_after(left()) as waiting:
                async with self._fetching:
                    waiting.deadline = math.inf
                    if self._tables_are_old:  # others may have asked for the same, and have it by now
                        await self.asset_pairs(timeout_s=left())
            symbols = await self.symbols(timeout_s=left())
        if symbols.key(symbol) is None:
            raise UsageError(f"symbol: expected one of the venue's, such as BTC/USD, got {shown(symbol)}")
        return symbols

    @property
    def _tables_are_old(self) -> bool:
        return self._clock.now() - self._fetched_at >= TABLE_PAUSE_S

    def at_leisure(self) -> AtLeisure:
        """Return the questions with which two sources are compared, asked only when nobody else has one."""
        return AtLeisure(self)

    async def ticker(
        self, symbols: Sequence[str] = (), *, group: Group = Group.BACKUP, timeout_s: float | None = None
    ) -> dict[str, TickerUpdate]:
        """Return tickers by symbol: of ``symbols``, or in one call those of all pairs."""
        check_names("symbols", symbols)
        left = self._queue.patience(timeout_s)
        what = operation(group, "Ticker")
        names = await self.symbols(timeout_s=left())
        keys = [(await self.symbols_with(symbol, timeout_s=left())).key(symbol) or symbol for symbol in symbols]
        if symbols:
            names = await self.symbols(timeout_s=left())

        def finish(reply: Reply) -> dict[str, TickerUpdate]:
            found = normalise.rest_tickers(
                codec.decode_ticker(reply.envelope), names, received_s=reply.received_s, reject=self._reject
            )
            for symbol in symbols:
                if symbol not in found:
                    raise DecodeError("$.result", f"a ticker of {symbol}", "none")
            return found

        fields = {"pair": ",".join(keys)} if keys else {}
        return await self._queue.call(what, fields, finish, timeout_s=left())

    async def ohlc(
        self,
        symbol: str,
        interval_min: int = 1,
        *,
        since: int | None = None,
        group: Group = Group.BACKUP,
        timeout_s: float | None = None,
    ) -> CandleHistory:
        """Return candles of ``interval_min`` minutes, at most 720, those after ``since`` (``last`` of an answer)."""
        left = self._queue.patience(timeout_s)
        what = operation(group, "OHLC")
        if interval_min not in CANDLE_INTERVALS_MIN:
            raise UsageError(f"interval_min: expected one of {CANDLE_INTERVALS_MIN}, got {interval_min!r}")
        names = await self.symbols_with(symbol, timeout_s=left())

        def finish(reply: Reply) -> CandleHistory:
            page = codec.decode_ohlc(reply.envelope)
            return normalise.candle_history(
                symbol, page, names, interval_min=interval_min, received_s=reply.received_s, reject=self._reject
            )

        fields = _given(pair=names.key(symbol), interval=str(interval_min), since=_cursor("since", since))
        return await self._queue.call(what, fields, finish, pair=symbol, timeout_s=left())

    async def depth(
        self, symbol: str, depth: int = 100, *, group: Group = Group.BACKUP, timeout_s: float | None = None
    ) -> BookUpdate:
        """Return the best ``depth`` levels of each side; quantities are rounded to three decimals by the venue."""
        left = self._queue.patience(timeout_s)
        what = operation(group, "Depth")
        _within("depth", depth, MOST_LEVELS)
        names = await self.symbols_with(symbol, timeout_s=left())

        def finish(reply: Reply) -> BookUpdate:
            levels = codec.decode_depth(reply.envelope)
            return normalise.rest_book(symbol, levels, names, depth=depth, received_s=reply.received_s)

        fields = _given(pair=names.key(symbol), count=str(depth))
        return await self._queue.call(what, fields, finish, pair=symbol, timeout_s=left())

    async def trades(
        self,
        symbol: str,
        *,
        since: int | None = None,
        count: int = MOST_TRADES,
        group: Group = Group.BACKUP,
        timeout_s: float | None = None,
    ) -> TradeHistory:
        """Return trades, oldest first: the newest ``count``, or those after ``since`` (``last`` of an answer)."""
        left = self._queue.patience(timeout_s)
        what = operation(group, "Trades")
        _within("count", count, MOST_TRADES)
        names = await self.symbols_with(symbol, timeout_s=left())

        def finish(reply: Reply) -> TradeHistory:
            page = codec.decode_trades(reply.envelope)
            return normalise.trade_history(symbol, page, names, received_s=reply.received_s, reject=self._reject)

        fields = _given(pair=names.key(symbol), count=str(count), since=_cursor("since", since))
        return await self._queue.call(what, fields, finish, pair=symbol, timeout_s=left())

    async def spread(
        self, symbol: str, *, since: int | None = None, group: Group = Group.BACKUP, timeout_s: float | None = None
    ) -> tuple[SpreadPoint, ...]:
        """Return some 200 recent best bids and asks, oldest first."""
        left = self._queue.patience(timeout_s)
        what = operation(group, "Spread")
        names = await self.symbols_with(symbol, timeout_s=left())

        def finish(reply: Reply) -> tuple[SpreadPoint, ...]:
            return normalise.spread_points(symbol, codec.decode_spread(reply.envelope), names)

        fields = _given(pair=names.key(symbol), since=_cursor("since", since))
        return await self._queue.call(what, fields, finish, pair=symbol, timeout_s=left())

    def _reject(self, error: DecodeError) -> None:
        self._rejected.add(f"{error.path}: {error.expected}")


@final
class AtLeisure:
    """Questions that wait for everybody else's; see :class:`PublicRest`."""

    def __init__(self, rest: PublicRest) -> None:
        self._rest = rest

    async def ticker(self, symbols: Sequence[str] = (), *, timeout_s: float | None = None) -> dict[str, TickerUpdate]:
        """See :meth:`PublicRest.ticker`."""
        return await self._rest.ticker(symbols, group=Group.CONSISTENCY, timeout_s=timeout_s)

    async def depth(self, symbol: str, depth: int = 100, *, timeout_s: float | None = None) -> BookUpdate:
        """See :meth:`PublicRest.depth`."""
        return await self._rest.depth(symbol, depth, group=Group.CONSISTENCY, timeout_s=timeout_s)


def _given(**fields: str | None) -> dict[str, str]:
    return {name: value for name, value in fields.items() if value is not None}


def _cursor(name: str, value: int | None) -> str | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise UsageError(f"{name}: expected a whole number of 0 or more, got {shown(value)}")
    return str(value)


def _within(name: str, value: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise UsageError(f"{name}: expected a whole number from 1 to {most}, got {shown(value)}")
