"""What a client may ask over a WebSocket, and the venue's words when it may not.

Reads and checks text; decides nothing about who is subscribed. Error texts are the venue's, word for word where a
recording has them; the others follow the wording of the older API:

======================================================  ====================================================
text                                                    source
======================================================  ====================================================
Malformed request · Unsupported event                   recordings of v2
Unsupported field: '<name>' for the given msg type: …   recordings of v2
Symbol field must be an array · Already subscribed      recordings of v2
Subscription depth not supported                        recordings of v2
Currency pair not supported <symbol>                    recordings of v2, docs "Spot Websockets FAQ"
the two wrong-endpoint texts                            recordings of v2
Token(s) not found · ESession:Invalid session           recordings of v2
Subscription ohlc interval not supported                the v1 wording
Symbol(s) not found · Subscription Not Found            by analogy with the v1 wording
<Field> field must be a …                               the pattern of v2 (``must be a number_float``)
======================================================  ====================================================
"""

from __future__ import annotations

import functools
from typing import Any, cast

import attrs
import msgspec

from kraken_engine.venue.core.book_channel import DEPTHS
from kraken_engine.venue.core.candles import INTERVALS
from kraken_engine.venue.core.sessions import Subscription

__all__ = [
    "ONLY_PRIVATE",
    "PRIVATE_CHANNELS",
    "TRADING",
    "Refused",
    "Request",
    "SubscriptionRequest",
    "ack",
    "pong",
    "read_request",
    "read_subscription",
    "refusal",
    "success",
]

MOST_BYTES = 256 * 1024
"""A longer request is malformed: a subscription of every listed pair is far shorter."""

ONLY_PRIVATE = "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com"
_ONLY_PUBLIC = "Public market data subscriptions are unavailable on this endpoint. Try ws.kraken.com"

PRIVATE_CHANNELS = ("executions", "balances", "level3")
TRADING = (
    "add_order",
    "amend_order",
    "edit_order",
    "cancel_order",
    "cancel_all",
    "cancel_all_orders_after",
    "batch_add",
    "batch_cancel",
)

_PARAMS: dict[str, tuple[str, ...]] = {
    "book": ("symbol", "depth", "snapshot"),
    "ticker": ("symbol", "event_trigger", "snapshot"),
    "trade": ("symbol", "snapshot"),
    "ohlc": ("symbol", "interval", "snapshot"),
    "instrument": ("snapshot", "execution_venue", "include_tokenized_assets"),
}
"""Parameters of the public channels besides ``channel``."""

_CHOICES = {
    "event_trigger": ("trades", "bbo"),
    "execution_venue": ("international", "bitnomial-exchange"),
}
"""Parameters that take one of a few words."""

_WARNINGS = {
    "ohlc": ["timestamp is deprecated, use interval_begin"],
    "instrument": ["tick_size is deprecated, use price_increment"],
}

_DEFAULTS: dict[str, dict[str, int | str]] = {
    "book": {"depth": 10},
    "ticker": {"event_trigger": "trades"},
    "ohlc": {"interval": 1},
}


@attrs.frozen(kw_only=True)
class Request:
    """A well-formed request."""

    method: str
    params: dict[str, Any] | None
    req_id: int | None


@attrs.frozen(kw_only=True)
class SubscriptionRequest:
    """A checked ``subscribe`` or ``unsubscribe``; one ack per element."""

    subscriptions: tuple[Subscription, ...]
    snapshot: bool


class Refused(Exception):
    """The request gets a failure reply, one for each of ``symbols`` when there are any."""

    def __init__(
        self,
        error: str,
        *,
        method: str = "error",
        req_id: int | None = None,
        symbols: tuple[str, ...] = (),
        extra: dict[str, str] | None = None,
    ) -> None:
        self.error = error
        self.method = method
        self.req_id = req_id
        self.symbols = symbols
        self.extra = extra or {}
        super().__init__(error)


def read_request(text: bytes) -> Request:
    """Parse a request.

    Raises:
        Refused: it is no request at all.
    """
    malformed = Refused("Malformed request")
    if len(text) > MOST_BYTES:
        raise malformed
    try:
        value: Any = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise malformed from None
    if not isinstance(value, dict):
        raise malformed
    fields = cast("dict[str, Any]", value)
    method, params, req_id = fields.get("method"), fields.get("params"), fields.get("req_id")
    if not isinstance(method, str):
        raise malformed
    if "req_id" in fields and (not isinstance(req_id, int) or isinstance(req_id, bool)):
        raise Refused("Req_id field must be a number_integer", method=method)
    known_params = ("params",) if method != "ping" else ()
    for name in fields:
        if name not in ("method", "req_id", *known_params):
            raise Refused(f"Unsupported field: {name!r} for the given msg type: {method}", method=method, req_id=req_id)
    if "params" in fields and not isinstance(params, dict):
        raise Refused("Params field must be an object", method=method, req_id=req_id)
    return Request(method=method, params=cast("dict[str, Any] | None", params), req_id=req_id)


def read_subscription(request: Request, kind: str) -> SubscriptionRequest:
    """Check a request about market data that came to the host ``kind`` (``public`` or ``auth``).

    Raises:
        Refused: with the venue's words.
    """
    method, params = request.method, request.params or {}
    refused = functools.partial(Refused, method=method, req_id=request.req_id)
    channel = params.get("channel")
    if method not in ("subscribe", "unsubscribe") or not isinstance(channel, str):
        raise refused("Unsupported event")
    if channel not in _PARAMS:
        raise refused("Unsupported event")
    if kind != "public":
        raise refused(_ONLY_PUBLIC)
    symbols = _symbols(request, params) if channel != "instrument" else ()
    error = _mistake(method, channel, params)
    if error is not None:
        raise refused(error, symbols=symbols)
    options: dict[str, Any] = {name: params.get(name, default) for name, default in _DEFAULTS.get(channel, {}).items()}
    return SubscriptionRequest(
        subscriptions=tuple(Subscription(channel=channel, symbol=symbol, **options) for symbol in symbols or (None,)),
        snapshot=params.get("snapshot", channel != "trade"),
    )


def ack(request: Request, subscription: Subscription, snapshot: bool, time_in: bytes, time_out: bytes) -> bytes:
    """Return the success reply of one subscription; its keys are in alphabetical order, as recorded."""
    result: dict[str, Any] = {"channel": subscription.channel}
    for name in ("depth", "event_trigger", "interval", "symbol"):
        value = getattr(subscription, name)
        if value is not None:
            result[name] = value
    if request.method == "subscribe":
        result["snapshot"] = snapshot
        if subscription.channel in _WARNINGS:
            result["warnings"] = _WARNINGS[subscription.channel]
    return success(request, result, time_in, time_out)


def success(request: Request, result: dict[str, Any], time_in: bytes, time_out: bytes) -> bytes:
    """Return the success reply that carries ``result``."""
    return _reply(
        {"method": request.method, "req_id": request.req_id, "result": result, "success": True}, time_in, time_out
    )


def refusal(refused: Refused, symbol: str | None, time_in: bytes, time_out: bytes) -> bytes:
    """Return one failure reply: it has no ``result``."""
    fields: dict[str, Any] = {
        "error": refused.error,
        "method": refused.method,
        "req_id": refused.req_id,
        "success": False,
        "symbol": symbol,
        **refused.extra,
    }
    return _reply(fields, time_in, time_out)


def pong(req_id: int | None, time_in: bytes, time_out: bytes) -> bytes:
    """Return the answer to a ping: it has neither ``success`` nor ``result``."""
    return _reply({"method": "pong", "req_id": req_id}, time_in, time_out)


def _reply(fields: dict[str, Any], time_in: bytes, time_out: bytes) -> bytes:
    fields = {name: value for name, value in fields.items() if value is not None}
    fields |= {"time_in": time_in.decode(), "time_out": time_out.decode()}
    return msgspec.json.encode(fields, order="sorted")


def _symbols(request: Request, params: dict[str, Any]) -> tuple[str, ...]:
    value = params.get("symbol")
    if value is None or value == []:
        raise Refused("Symbol(s) not found", method=request.method, req_id=request.req_id)
    try:
        return tuple(msgspec.convert(value, list[str]))
    except msgspec.ValidationError:
        error = "Symbol field must be an array" + (" of strings" if isinstance(value, list) else "")
        raise Refused(error, method=request.method, req_id=request.req_id) from None


def _mistake(method: str, channel: str, params: dict[str, Any]) -> str | None:
    """Return what is wrong with the parameters besides channel and symbol."""
    for name, value in params.items():
        if name == "channel":
            continue
        if name not in _PARAMS[channel]:
            return f"Unsupported field: {name!r} for the given msg type: {method}"
        if name in ("depth", "interval") and (not isinstance(value, int) or isinstance(value, bool)):
            return f"{name.capitalize()} field must be a number_integer"
        if name in ("snapshot", "include_tokenized_assets") and not isinstance(value, bool):
            return f"{name.capitalize()} field must be a boolean"
        if name == "depth" and value not in DEPTHS:
            return "Subscription depth not supported"
        if name == "interval" and value not in INTERVALS:
            return "Subscription ohlc interval not supported"
        if name in _CHOICES and value not in _CHOICES[name]:
            return f"{name.capitalize()} field must be one of {', '.join(_CHOICES[name])}"
    return None
