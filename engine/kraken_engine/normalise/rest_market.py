"""REST replies about market data become the same events as those of a WebSocket, marked with where they come from.

Their source is ``rest`` and their integrity ``unverified``: nothing checks them, books are rounded to three decimals of
quantity, and a ticker has no change over 24 hours. Whoever has newer verified data keeps it.

A reply names its market itself. One that names another market than was asked for is refused as a whole: it answers
somebody else's question. Within a reply, an element that makes no sense is handed to ``reject`` and the rest stands,
except in a book, which is refused whole.

Knows the venue's field names and our event names, nothing of what happened before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TypeVar

import attrs

from kraken_engine.codec.rest_public import (
    BookLevels,
    OhlcPage,
    OhlcRow,
    PairInfo,
    RestLevel,
    RestTicker,
    SpreadPage,
    SystemState,
    TradePage,
    TradeRow,
)
from kraken_engine.codec.ws_v2 import Level, TickerData
from kraken_engine.errors import DecodeError
from kraken_engine.model import Instrument, Integrity, Side, Source, VenueMode
from kraken_engine.normalise.book_view import BookUpdate, BookView
from kraken_engine.normalise.events import Candle, InstrumentUpdate, TickerUpdate, Trade, VenueStatus
from kraken_engine.normalise.market_data import Reject
from kraken_engine.normalise.symbols import Symbols

__all__ = [
    "CandleHistory",
    "SpreadPoint",
    "TradeHistory",
    "candle_history",
    "rest_book",
    "rest_instruments",
    "rest_tickers",
    "rest_time",
    "rest_venue_status",
    "spread_points",
    "trade_history",
]

_Row = TypeVar("_Row")
_Event = TypeVar("_Event")

_SIDES = {"b": Side.BUY, "s": Side.SELL}
_ORDER_TYPES = {"m": "market", "l": "limit"}
_MODES = {mode.value: mode for mode in VenueMode if mode is not VenueMode.UNKNOWN}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_UNIX_S = 253_402_300_799  # the last second of the year 9999
_MOST_DECIMALS = 30


@attrs.frozen(kw_only=True)
class CandleHistory:
    """Candles of one symbol, oldest first, finished ones alone; ``last`` is the next ``since``."""

    candles: tuple[Candle, ...]
    current: Candle | None
    """The candle that is not finished yet."""
    last: int


@attrs.frozen(kw_only=True)
class TradeHistory:
    """Trades of one symbol, oldest first; ``last`` is the next ``since``."""

    trades: tuple[Trade, ...]
    last: int


@attrs.frozen(kw_only=True)
class SpreadPoint:
    """Best bid and ask of ``symbol`` at one second."""

    symbol: str
    venue_time: str
    bid: Decimal
    ask: Decimal


def rest_time(unix_s: Decimal | int) -> str:
    """Return Unix seconds as RFC 3339 in UTC, with the digits after the point that were given, without rounding.

    Raises:
        DecodeError: before 1970 or after 9999.
    """
    number = Decimal(unix_s)
    if not 0 <= number <= _LATEST_UNIX_S:
        raise DecodeError("$", "Unix seconds", str(unix_s))
    whole = int(number)
    fraction = format(number, "f").partition(".")[2]
    text = (_EPOCH + timedelta(seconds=whole)).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{fraction}Z" if fraction else f"{text}Z"


def rest_venue_status(state: SystemState, *, at_s: float) -> VenueStatus:
    """Return the venue's announced state; a word not known here is :attr:`VenueMode.UNKNOWN`."""
    return VenueStatus(
        at_s=at_s,
        mode=_MODES.get(state.status, VenueMode.UNKNOWN),
        text=state.status,
        maintenance=(*state.upcoming_maintenance, *state.emergency),
    )


def rest_instruments(
    pairs: Mapping[str, PairInfo], symbols: Symbols, *, received_s: float, reject: Reject
) -> InstrumentUpdate:
    """Return the instruments of ``AssetPairs``, without those that make no sense and those of the old dark pool."""
    instruments: list[Instrument] = []
    for key, pair in pairs.items():
        symbol = symbols.symbol(key)
        if symbol is None:
            continue
        try:
            instruments.append(_instrument(symbol, pair))
        except DecodeError as error:
            reject(_under(f"$.result.{symbol}", error))
    return InstrumentUpdate(instruments=tuple(instruments), snapshot=True, received_s=received_s)


def rest_tickers(
    tickers: Mapping[str, RestTicker], symbols: Symbols, *, received_s: float, reject: Reject
) -> dict[str, TickerUpdate]:
    """Return the tickers of ``Ticker`` by symbol; those of pairs that are not in the tables are rejected."""
    found: dict[str, TickerUpdate] = {}
    for name, ticker in tickers.items():
        symbol = symbols.symbol(name)
        if symbol is None:
            reject(DecodeError("$.result", "pairs of AssetPairs", name))
            continue
        found[symbol] = _ticker(symbol, ticker, received_s)
    return found


def rest_book(
    symbol: str, answer: tuple[str, BookLevels], symbols: Symbols, *, depth: int, received_s: float
) -> BookUpdate:
    """Return the book of ``Depth``.

    Raises:
        DecodeError: another market's book, more levels than ``depth``, a side out of order, or a level without price
            or quantity.
    """
    market, levels = answer
    _require_market(symbol, market, symbols)
    bids = _side(levels.bids, depth, "$.result.bids", falling=True)
    asks = _side(levels.asks, depth, "$.result.asks", falling=False)
    crossed = bool(levels.bids and levels.asks) and levels.bids[0].price >= levels.asks[0].price
    view = BookView(
        symbol=symbol, depth=depth, checksum=0, verified=False, crossed=crossed, raw_bids=bids, raw_asks=asks
    )
    return BookUpdate(
        symbol=symbol,
        source=Source.REST,
        received_s=received_s,
        venue_time=None,
        integrity=Integrity.UNVERIFIED,
        book=view,
        snapshot=True,
    )


def candle_history(
    symbol: str, page: OhlcPage, symbols: Symbols, *, interval_min: int, received_s: float, reject: Reject
) -> CandleHistory:
    """Return the candles of ``OHLC``. The last row of the venue is not finished, unless it says otherwise.

    Raises:
        DecodeError: another market's candles.
    """
    _require_market(symbol, page.market, symbols)
    made = _each(page.rows, lambda row: _candle(symbol, row, interval_min, received_s), reject)
    finished = tuple(candle for row, candle in made if row.time <= page.last)
    current = next((candle for row, candle in reversed(made) if row.time > page.last), None)
    return CandleHistory(candles=finished, current=current, last=page.last)


def trade_history(symbol: str, page: TradePage, symbols: Symbols, *, received_s: float, reject: Reject) -> TradeHistory:
    """Return the trades of ``Trades`` in its order.

    Raises:
        DecodeError: another market's trades.
    """
    _require_market(symbol, page.market, symbols)
    made = _each(page.rows, lambda row: _trade(symbol, row, received_s), reject)
    return TradeHistory(trades=tuple(trade for _, trade in made), last=page.last)


def spread_points(symbol: str, page: SpreadPage, symbols: Symbols) -> tuple[SpreadPoint, ...]:
    """Return the rows of ``Spread`` in its order.

    Raises:
        DecodeError: another market's rows, or a time that is none.
    """
    _require_market(symbol, page.market, symbols)
    return tuple(
        SpreadPoint(symbol=symbol, venue_time=rest_time(row.time), bid=row.bid, ask=row.ask) for row in page.rows
    )


def _require_market(symbol: str, market: str, symbols: Symbols) -> None:
    if symbols.symbol(market) != symbol:
        raise DecodeError("$.result", f"an answer about {symbol}", market)


def _each(rows: Sequence[_Row], make: Callable[[_Row], _Event], reject: Reject) -> list[tuple[_Row, _Event]]:
    made: list[tuple[_Row, _Event]] = []
    for index, row in enumerate(rows):
        try:
            made.append((row, make(row)))
        except DecodeError as error:
            reject(_under(f"$.result[{index}]", error))
    return made


def _under(path: str, error: DecodeError) -> DecodeError:
    return DecodeError(path + error.path.removeprefix("$"), error.expected, error.got)


def _token(number: Decimal) -> bytes:
    return format(number, "f").encode()


def _positive(number: Decimal, path: str) -> Decimal:
    if number <= 0:
        raise DecodeError(path, "a number above 0", str(number))
    return number


def _not_negative(number: Decimal, path: str) -> Decimal:
    if number < 0:
        raise DecodeError(path, "a number of 0 or more", str(number))
    return number


def _instrument(symbol: str, pair: PairInfo) -> Instrument:
    base, _, quote = symbol.partition("/")
    for name, decimals in (("pair_decimals", pair.pair_decimals), ("lot_decimals", pair.lot_decimals)):
        if not 0 <= decimals <= _MOST_DECIMALS:
            raise DecodeError(f"$.{name}", f"0 to {_MOST_DECIMALS}", decimals)
    tick = Decimal(1).scaleb(-pair.pair_decimals) if pair.tick_size is None else pair.tick_size
    return Instrument(
        symbol=symbol,
        base=base,
        quote=quote,
        status=pair.status,
        price_decimals=pair.pair_decimals,
        qty_decimals=pair.lot_decimals,
        price_increment=_positive(tick, "$.tick_size"),
        qty_increment=Decimal(1).scaleb(-pair.lot_decimals),
        qty_min=_not_negative(pair.ordermin or Decimal(0), "$.ordermin"),
        cost_min=_not_negative(pair.costmin or Decimal(0), "$.costmin"),
        marginable=bool(pair.leverage_buy or pair.leverage_sell),
    )


def _ticker(symbol: str, ticker: RestTicker, received_s: float) -> TickerUpdate:
    data = TickerData(
        symbol=symbol,
        bid=_token(ticker.b[0]),
        bid_qty=_token(ticker.b[2]),
        ask=_token(ticker.a[0]),
        ask_qty=_token(ticker.a[2]),
        last=_token(ticker.c[0]),
        volume=_token(ticker.v[1]),
        vwap=_token(ticker.p[1]),
        low=_token(ticker.l[1]),
        high=_token(ticker.h[1]),
        change=None,
        change_pct=None,
    )
    return TickerUpdate(
        symbol=symbol,
        source=Source.REST,
        received_s=received_s,
        venue_time=None,
        integrity=Integrity.UNVERIFIED,
        data=data,
    )


def _side(levels: Sequence[RestLevel], depth: int, path: str, *, falling: bool) -> tuple[Level, ...]:
    if len(levels) > depth:
        raise DecodeError(path, f"at most {depth} levels", len(levels))
    before: Decimal | None = None
    for index, level in enumerate(levels):
        price = _positive(level.price, f"{path}[{index}][0]")
        _not_negative(level.volume, f"{path}[{index}][1]")  # a small one is rounded to nothing
        if before is not None and (price >= before if falling else price <= before):
            raise DecodeError(f"{path}[{index}][0]", f"a price {'below' if falling else 'above'} {before}", str(price))
        before = price
    return tuple(Level(_token(level.price), _token(level.volume)) for level in levels)


def _candle(symbol: str, row: OhlcRow, interval_min: int, received_s: float) -> Candle:
    prices = [row.low, row.open, row.close, row.high]
    if row.low != min(prices) or row.high != max(prices):
        raise DecodeError("$", "low <= open, close <= high", ", ".join(map(str, prices)))
    return Candle(
        symbol=symbol,
        source=Source.REST,
        received_s=received_s,
        venue_time=None,
        integrity=Integrity.UNVERIFIED,
        interval_min=interval_min,
        interval_begin=rest_time(row.time),
        open=row.open,
        high=row.high,
        low=row.low,
        close=row.close,
        vwap=row.vwap,
        volume=row.volume,
        trades=row.count,
    )


def _trade(symbol: str, row: TradeRow, received_s: float) -> Trade:
    side, order_type = _SIDES.get(row.side), _ORDER_TYPES.get(row.order_type)
    if side is None:
        raise DecodeError("$[3]", "b or s", row.side)
    if order_type is None:
        raise DecodeError("$[4]", "m or l", row.order_type)
    if row.trade_id is None:
        raise DecodeError("$[6]", "the number of the trade", "nothing")
    return Trade(
        symbol=symbol,
        source=Source.REST,
        received_s=received_s,
        venue_time=rest_time(row.time),
        integrity=Integrity.UNVERIFIED,
        side=side,
        price=_positive(row.price, "$[0]"),
        qty=_positive(row.volume, "$[1]"),
        order_type=order_type,
        trade_id=row.trade_id,
    )
