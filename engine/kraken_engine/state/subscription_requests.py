"""What can be asked of the venue: subscriptions as keys, and the requests and refusals about them in its own words.

Knows nothing of what was asked already, or when.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any

import attrs

from kraken_engine.codec.venue_errors import RetryClass, classify
from kraken_engine.codec.ws_v2 import Ack
from kraken_engine.errors import RateLimited, SessionRejected

__all__ = ["Refusal", "Request", "SubscriptionKey", "SubscriptionStatus", "request_for", "same_parameters"]


@attrs.frozen
class SubscriptionKey:
    """One subscription at the venue; parameters left None are the venue's defaults."""

    channel: str
    symbol: str | None = None
    depth: int | None = None
    interval: int | None = None
    trigger: str | None = None
    """``event_trigger`` of the ticker: ``trades`` or ``bbo``."""


class SubscriptionStatus(enum.Enum):
    """How far a subscription has come."""

    WANTED = "wanted"
    """To be asked for: no connection yet, or waiting for its turn."""
    REQUESTED = "requested"
    ACKED = "acked"
    LIVE = "live"
    """Confirmed, and data has come."""
    REFUSED = "refused"
    """The venue said no, or nothing; asked for again unless its words were final."""
    LEAVING = "leaving"
    """An unsubscribe is in flight, to get a new snapshot or because nobody wants the key."""


@attrs.frozen(kw_only=True)
class Request:
    """One request to send now; ``params`` is the object as the venue wants it."""

    method: str
    channel: str
    symbols: tuple[str, ...]
    params: dict[str, Any]
    req_id: int


def request_for(method: str, keys: Sequence[SubscriptionKey], req_id: int) -> Request:
    """Return one request for ``keys``, which differ in nothing but their symbols."""
    key = keys[0]
    symbols = tuple(k.symbol for k in keys if k.symbol is not None)
    params: dict[str, Any] = {"channel": key.channel}
    if symbols:
        params["symbol"] = list(symbols)
    if key.depth is not None:
        params["depth"] = key.depth
    if key.interval is not None:
        params["interval"] = key.interval
    if key.trigger is not None:
        params["event_trigger"] = key.trigger
    if method == "subscribe" and key.channel in _SNAPSHOT_ON_REQUEST:
        params["snapshot"] = True
    return Request(method=method, channel=key.channel, symbols=symbols, params=params, req_id=req_id)


def same_parameters(ack: Ack, key: SubscriptionKey) -> bool:
    """Return whether a reply may be about ``key``, as far as it repeats the parameters."""
    return all(
        echoed is None or asked is None or echoed == asked
        for echoed, asked in (
            (ack.depth, key.depth),
            (ack.interval, key.interval),
            (ack.event_trigger, key.trigger),
        )
    )


class Refusal(enum.Enum):
    """What a refusal means for the next try."""

    FINAL = "final"
    """Asking again cannot change it."""
    TOO_FAST = "too fast"
    ALREADY = "already"
    """No refusal at all: the subscription is there."""
    SESSION = "session"
    """The token is bad or too old: asking again takes another one, and with it another connection."""
    OTHER = "other"

    @classmethod
    def of(cls, error: str) -> Refusal:
        """Return what the venue's words mean: by the table of all its words, and by phrases for what it lacks."""
        rule = classify(error).rule
        if rule.error is SessionRejected:
            return cls.SESSION
        if rule.known and rule.retry in (RetryClass.FIX, RetryClass.STOP):
            return cls.FINAL
        if rule.error is RateLimited:
            return cls.TOO_FAST
        words = error.lower()
        return next((refusal for phrase, refusal in _PHRASES.items() if phrase in words), cls.OTHER)


_SNAPSHOT_ON_REQUEST = frozenset({"trade"})
"""Channels whose snapshot the venue sends only when asked: the last 50 trades close the gap of a reconnect."""

_PHRASES = {
    "already subscribed": Refusal.ALREADY,
    "unsupported": Refusal.FINAL,
    "unavailable on this endpoint": Refusal.FINAL,
}
"""The venue's words in lower case (docs "Errors"); the first phrase found decides."""
