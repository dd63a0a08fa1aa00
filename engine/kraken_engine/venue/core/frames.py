"""The frames of the public channels besides the book, byte for byte in the shape and key order of recordings.

Numbers keep their fixed decimals, trailing zeros included; times are as ``timestamps`` writes them. Hand-built: some of
these go out thousands of times a second.
"""

from __future__ import annotations

from collections.abc import Sequence

from kraken_engine.venue.core.candles import Candle, TradePrint
from kraken_engine.venue.core.instruments import Asset, Pair, plain
from kraken_engine.venue.core.timestamps import NS_PER_S, Stamps

__all__ = ["HEARTBEAT", "instrument_frame", "ohlc_frame", "status_frame", "ticker_frame", "trade_frame"]

HEARTBEAT = b'{"channel":"heartbeat"}'


def status_frame(system: str, connection_id: int, maintenance: Sequence[bytes] = ()) -> bytes:
    """Return the frame that greets a connection and tells of changes (docs "Status")."""
    return (
        b'{"channel":"status","type":"update","data":[{"version":"2.0.10","system":"%b","api_version":"v2",'
        b'"connection_id":%d,"upcoming_maintenance":[%b],"emergency":[]}]}'
        % (system.encode(), connection_id, b",".join(maintenance))
    )


def ticker_frame(
    kind: bytes,
    pair: Pair,
    *,
    bid: tuple[int, int],
    ask: tuple[int, int],
    day: Candle,
    stamp: bytes,
) -> bytes:
    """Return a ticker: ``bid`` and ``ask`` are price and quantity, ``day`` the last 24 hours."""
    price, qty = pair.price_text, pair.qty_text
    change = day.close - day.open
    percent = round(10_000 * change / day.open)
    text = (
        f'{{"channel":"ticker","type":"{kind.decode()}","data":[{{"symbol":"{pair.symbol}",'
        f'"bid":{price(bid[0])},"bid_qty":{qty(bid[1])},"ask":{price(ask[0])},"ask_qty":{qty(ask[1])},'
        f'"last":{price(day.close)},"volume":{qty(day.volume)},"vwap":{price(day.vwap)},'
        f'"low":{price(day.low)},"high":{price(day.high)},"change":{price(change)},"change_pct":{plain(percent, 2)},'
        f'"trades":{day.trades},"timestamp":"{stamp.decode()}"}}]}}'
    )
    return text.encode()


def trade_frame(kind: bytes, pair: Pair, trades: Sequence[TradePrint], stamps: Stamps) -> bytes:
    """Return one frame of trades, oldest first."""
    rows = ",".join(
        f'{{"symbol":"{pair.symbol}","side":"{"buy" if trade.taker_buys else "sell"}",'
        f'"price":{pair.price_text(trade.price)},"qty":{pair.qty_text(trade.qty)},"ord_type":"{trade.order_type}",'
        f'"trade_id":{trade.id},"timestamp":"{stamps.micros(trade.wall_ns).decode()}"}}'
        for trade in trades
    )
    return b'{"channel":"trade","type":"%b","data":[%b]}' % (kind, rows.encode())


def ohlc_frame(
    kind: bytes, pair: Pair, minutes: int, candles: Sequence[Candle], *, stamps: Stamps, wall_ns: int
) -> bytes:
    """Return one frame of candles, oldest first. The deprecated ``timestamp`` of a candle is its end, as recorded."""
    price = pair.price_text
    head = b'{"channel":"ohlc","type":"%b","timestamp":"%b","data":[' % (kind, stamps.nanos(wall_ns))
    rows = ",".join(
        f'{{"symbol":"{pair.symbol}","open":{price(candle.open)},"high":{price(candle.high)},"low":{price(candle.low)},'
        f'"close":{price(candle.close)},"trades":{candle.trades},"volume":{pair.qty_text(candle.volume)},'
        f'"vwap":{price(candle.vwap)},"interval_begin":"{stamps.nanos(candle.begin_s * NS_PER_S).decode()}",'
        f'"interval":{minutes},"timestamp":"{stamps.micros((candle.begin_s + 60 * minutes) * NS_PER_S).decode()}"}}'
        for candle in candles
    )
    return head + rows.encode() + b"]}"


def instrument_frame(kind: bytes, assets: Sequence[Asset], pairs: Sequence[Pair]) -> bytes:
    """Return one frame of the instrument channel."""
    return b'{"channel":"instrument","type":"%b","data":{"assets":[%b],"pairs":[%b]}}' % (
        kind,
        ",".join(map(_asset_row, assets)).encode(),
        ",".join(map(_pair_row, pairs)).encode(),
    )


def _asset_row(asset: Asset) -> str:
    borrowable = "false" if asset.margin_rate is None else "true"
    margin_rate = "" if asset.margin_rate is None else f',"margin_rate":{asset.margin_rate}'
    return (
        f'{{"id":"{asset.code}","status":"enabled","precision":{asset.decimals},'
        f'"precision_display":{asset.display_decimals},"borrowable":{borrowable},'
        f'"collateral_value":{asset.collateral},"class":"currency"{margin_rate}}}'
    )


def _pair_row(pair: Pair) -> str:
    tick = pair.price_text(1)
    margin = ""
    if pair.leverage:
        initial = plain(100 // max(pair.leverage), 2)
        margin = f'"margin_initial":{initial},"position_limit_long":{pair.position_limit},'
        margin += f'"position_limit_short":{pair.position_limit},'
    return (
        f'{{"symbol":"{pair.symbol}","base":"{pair.base.code}","quote":"{pair.quote.code}","status":"online",'
        f'"qty_precision":{pair.qty_decimals},"qty_increment":{pair.qty_text(1)},'
        f'"price_precision":{pair.price_decimals},"cost_precision":{pair.cost_decimals},'
        f'"marginable":{"true" if pair.leverage else "false"},"has_index":true,'
        f'"ws_display_price_precision":{pair.price_decimals},"cost_min":{pair.cost_min},{margin}'
        f'"tick_size":{tick},"price_increment":{tick},"qty_min":{pair.qty_text(pair.qty_min)}}}'
    )
