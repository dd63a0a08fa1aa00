"""Whether the WebSocket and REST tell the same, as far as that can be told.

The two never answer at the same instant, and REST rounds: quantities of a book to three decimals, prices written with
more zeros. So a difference is *explained* when rounding, or a state the WebSocket showed while the question was under
way, accounts for it; everything else is a *difference*, and a reason to look. Pure comparisons: who asks whom, and
when, is decided elsewhere.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from decimal import Decimal

import attrs

from kraken_engine.normalise.book_view import BookUpdate
from kraken_engine.normalise.events import Candle, MarketEvent, PriceLevel, TickerUpdate, Trade

__all__ = ["QTY_ROUNDING", "Agreement", "Comparison", "compare", "contradicts"]

QTY_ROUNDING = Decimal("0.0005")
"""How far a quantity rounded to three decimals may be from the true one (recordings of ``Depth`` and ``Ticker``)."""

_COMPARED_LEVELS = 10


class Agreement(enum.Enum):
    """What a comparison came to."""

    EQUAL = "equal"
    """The same, digit for digit, at the moment of the answer."""
    ROUNDED = "equal but for rounding"
    AGE = "explained by age"
    """REST shows what the WebSocket showed at another moment while the question was under way."""
    DIFFERENT = "different"
    UNKNOWN = "unknown"
    """One of the two had nothing current to compare."""

    @property
    def fine(self) -> bool:
        """Whether there is nothing to look into."""
        return self is not Agreement.DIFFERENT


@attrs.frozen(kw_only=True)
class Comparison:
    """One comparison of one stream."""

    channel: str
    symbol: str
    agreement: Agreement
    what: str
    """Where they differ, or why nothing could be compared; empty when all is well."""
    asked_s: float
    answered_s: float
    rest: MarketEvent | None = attrs.field(repr=False)
    websocket: MarketEvent | None = attrs.field(repr=False)
    """What the WebSocket showed when the answer came."""


def compare(rest: MarketEvent, shown: Sequence[MarketEvent], *, asked_s: float, answered_s: float) -> Comparison:
    """Compare an answer of REST with what the WebSocket showed.

    Args:
        rest: a ticker or a book.
        shown: the states of the same stream from the one that held at ``asked_s`` on, oldest first, those that came
            shortly after the answer included.
        asked_s: when the question was sent.
        answered_s: when the answer was read.
    """
    held = [event for event in shown if event.received_s <= answered_s]
    now = held[-1] if held else None
    agreement, what = Agreement.UNKNOWN, "the WebSocket shows nothing current"
    if now is not None:
        agreement, what = _judge(rest, now, shown)
    return Comparison(
        channel="book" if isinstance(rest, BookUpdate) else "ticker",
        symbol=rest.symbol,
        agreement=agreement,
        what=what,
        asked_s=asked_s,
        answered_s=answered_s,
        rest=rest,
        websocket=now,
    )


def contradicts(rest: TickerUpdate, shown: MarketEvent) -> str | None:
    """Return how a ticker of REST contradicts what a stream shows, in words; None: it does not.

    Only what rounding leaves alone is compared: prices.
    """
    if isinstance(shown, TickerUpdate):
        for name in ("bid", "ask", "last"):
            here, there = getattr(shown, name), getattr(rest, name)
            if here != there:
                return f"{name} {here} here, {there} at REST"
    elif isinstance(shown, BookUpdate):
        for name in ("bid", "ask"):
            here, there = getattr(shown.book, name), getattr(rest, name)
            if here is not None and here != there:
                return f"best {name} {here} here, {there} at REST"
    elif isinstance(shown, (Trade, Candle)):
        last = shown.price if isinstance(shown, Trade) else shown.close
        if last != rest.last:
            return f"last trade at {last} here, {rest.last} at REST"
    return None


def _judge(rest: MarketEvent, now: MarketEvent, shown: Sequence[MarketEvent]) -> tuple[Agreement, str]:
    difference = _difference(rest, now, Decimal(0))
    if difference is None:
        return Agreement.EQUAL, ""
    difference = _difference(rest, now, QTY_ROUNDING)
    if difference is None:
        return Agreement.ROUNDED, ""
    if any(_difference(rest, event, QTY_ROUNDING) is None for event in shown):
        return Agreement.AGE, ""
    if isinstance(rest, BookUpdate) and len(shown) > 1 and _is_between(rest, shown):
        return Agreement.AGE, ""
    return Agreement.DIFFERENT, difference


def _difference(rest: MarketEvent, shown: MarketEvent, rounding: Decimal) -> str | None:
    if isinstance(rest, TickerUpdate) and isinstance(shown, TickerUpdate):
        pairs = [(name, getattr(rest, name), getattr(shown, name), Decimal(0)) for name in ("bid", "ask", "last")]
        pairs += [(name, getattr(rest, name), getattr(shown, name), rounding) for name in ("bid_qty", "ask_qty")]
        for name, there, here, allowed in pairs:
            if abs(there - here) > allowed:
                return f"{name}: REST {there}, WebSocket {here}"
        return None
    if isinstance(rest, BookUpdate) and isinstance(shown, BookUpdate):
        sides = (("bids", rest.book.bids, shown.book.bids), ("asks", rest.book.asks, shown.book.asks))
        for name, there, here in sides:
            if len(_top(there)) != len(_top(here)):
                return f"{name}: REST has {len(there)} levels, WebSocket {len(here)}"
            for place, (a, b) in enumerate(zip(_top(there), _top(here), strict=True)):
                if a.price != b.price or abs(a.qty - b.qty) > rounding:
                    return f"{name}[{place}]: REST {a.qty} at {a.price}, WebSocket {b.qty} at {b.price}"
        return None
    return f"a {type(rest).__name__} cannot be compared with a {type(shown).__name__}"


def _is_between(rest: BookUpdate, shown: Sequence[MarketEvent]) -> bool:
    """Return whether every level of REST was in the book at some moment: one of the states in between."""
    for rest_side, sides in (
        (rest.book.bids, [event.book.bids for event in shown if isinstance(event, BookUpdate)]),
        (rest.book.asks, [event.book.asks for event in shown if isinstance(event, BookUpdate)]),
    ):
        known: dict[Decimal, list[Decimal]] = {}
        for side in sides:
            for level in side:
                known.setdefault(level.price, []).append(level.qty)
        fewest = min((len(_top(side)) for side in sides), default=0)
        if len(_top(rest_side)) < fewest or not all(_was(level, known) for level in _top(rest_side)):
            return False
    return True


def _was(level: PriceLevel, known: dict[Decimal, list[Decimal]]) -> bool:
    return any(abs(level.qty - qty) <= QTY_ROUNDING for qty in known.get(level.price, ()))


def _top(levels: Iterable[PriceLevel]) -> list[PriceLevel]:
    return list(levels)[:_COMPARED_LEVELS]
