"""Current values with automatic selection of the source: the stream if it is live, else REST, else why there is none.

What a stream shows is never waited for and costs nothing. Where nobody subscribes, or the stream cannot be trusted,
REST is asked; its answer, whoever asked for it, may be used again as long as it is younger than the caller's
``max_age_s``, and is forgotten after ``cache_ttl_s``. Many callers who want the same at once share one question, and
what becomes of it: who came before it was sent could get nothing newer. An old value is returned only to those who say
``allow_stale=True``; everybody else gets :class:`~kraken_engine.errors.Stale`.

Knows nothing of lines, budgets or breakers: whoever answers the questions does.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Generic, TypeVar, final

import attrs
import trio

from kraken_engine.errors import EngineError, Stale, UsageError, shown
from kraken_engine.feed.publisher import Publisher
from kraken_engine.feed.questions import REST_BOOK_DEPTH, ValueQuestions
from kraken_engine.feed.topics import Book, Candles, Ticker
from kraken_engine.model import Integrity, Source
from kraken_engine.normalise.book_view import BookUpdate
from kraken_engine.normalise.events import Candle, MarketEvent, TickerUpdate
from kraken_engine.runtime import Clock
from kraken_engine.state.freshness import StreamKey

__all__ = ["CandleRun", "CurrentValues", "Patience", "Reading", "check_max_age"]

V = TypeVar("V", bound=MarketEvent)

CACHED_ANSWERS = 1000
"""Answers remembered; the oldest go first."""

_MINUTE = len("2026-01-01T00:00")


@attrs.frozen(kw_only=True)
class Reading(Generic[V]):
    """A current value: what it is, where it came from, and how far to trust it."""

    value: V
    stale: Stale | None
    """Why the value may not be trusted now; None: it is current."""
    _clock: Clock = attrs.field(alias="clock", repr=False, eq=False)

    @property
    def source(self) -> Source:
        """Where the value came from."""
        return self.value.source

    @property
    def integrity(self) -> Integrity:
        """How far the value may be trusted."""
        return Integrity.RESYNCING if self.stale is not None else self.value.integrity

    @property
    def age_s(self) -> float:
        """Seconds since the bytes of this value were read, at the moment of asking."""
        return self._clock.now() - self.value.received_s


@attrs.frozen(kw_only=True)
class CandleRun(MarketEvent):
    """Consecutive candles of one symbol, oldest first; the last one is still forming."""

    interval_min: int
    candles: tuple[Candle, ...] = attrs.field(repr=False)

    @property
    def closed(self) -> tuple[Candle, ...]:
        """All but the last."""
        return self.candles[:-1]


def check_max_age(max_age_s: object) -> None:
    """Refuse what is no age.

    Raises:
        UsageError: it is neither None nor a number of seconds, 0 or more.
    """
    if max_age_s is None:
        return
    if isinstance(max_age_s, bool) or not isinstance(max_age_s, (int, float)) or not max_age_s >= 0:
        raise UsageError(f"max_age_s: expected seconds, 0 or more, got {shown(max_age_s)}")


@attrs.frozen(kw_only=True)
class Patience:
    """What a caller puts up with."""

    max_age_s: float | None = attrs.field(default=None, validator=lambda _, __, value: check_max_age(value))
    """How old an answer of REST may be and still count as current; None: the default."""
    allow_stale: bool = False
    """Whether an old value is better than none."""


@attrs.frozen
class _Question:
    """What is asked of REST about one stream, and remembered."""

    stream: StreamKey
    detail: Hashable


@attrs.define(eq=False)
class _Cached:
    value: MarketEvent | None = None
    asked_s: float = -math.inf
    """When the last question was sent of which something came: an answer, or ..."""
    error: EngineError | None = None
    """... why there is none."""
    lock: trio.Lock = attrs.field(factory=trio.Lock)


@final
class CurrentValues:
    """Answers "what is it now" for one market.

    Args:
        publisher: what the streams show.
        questions: REST; None: there is none.
        clock: the runtime's.
        cache_ttl_s: how long an answer of REST is kept.
        fresh_s: how old an answer of REST may be and still count as current, unless the caller says otherwise.
    """

    def __init__(
        self,
        publisher: Publisher,
        questions: ValueQuestions | None,
        clock: Clock,
        *,
        cache_ttl_s: float,
        fresh_s: float,
    ) -> None:
        self._publisher = publisher
        self._questions = questions
        self._clock = clock
        self._cache_ttl_s = cache_ttl_s
        self._fresh_s = fresh_s
        self._cache: dict[_Question, _Cached] = {}

    async def ticker(self, symbol: str, patience: Patience) -> Reading[TickerUpdate]:
        """See :meth:`kraken_engine.feed.feed.Feed.get_ticker`."""
        key = Ticker(symbol).key

        def show() -> TickerUpdate | None:
            shown = self._shown(key, patience)
            return shown if isinstance(shown, TickerUpdate) else None

        async def ask(questions: ValueQuestions) -> TickerUpdate:
            return (await questions.ticker([symbol]))[symbol]

        return await self._current(_Question(key, None), show, ask, patience)

    async def book(self, symbol: str, depth: int, patience: Patience) -> Reading[BookUpdate]:
        """See :meth:`kraken_engine.feed.feed.Feed.get_book`."""
        key = Book(symbol, depth=depth).key

        def show() -> BookUpdate | None:
            shown = self._shown(key, patience)
            return shown if isinstance(shown, BookUpdate) and shown.book.depth >= depth else None

        async def ask(questions: ValueQuestions) -> BookUpdate:
            if depth > REST_BOOK_DEPTH:
                raise UsageError(f"it gives {REST_BOOK_DEPTH} levels at most, {depth} were asked for")
            return await questions.depth(symbol, depth)

        reading = await self._current(_Question(key, depth), show, ask, patience)
        value = reading.value
        return (
            reading
            if value.book.depth <= depth
            else attrs.evolve(reading, value=attrs.evolve(value, book=value.book.top(depth)))
        )

    async def candles(self, symbol: str, interval_min: int, patience: Patience) -> Reading[CandleRun]:
        """See :meth:`kraken_engine.feed.feed.Feed.get_candles`."""
        key = Candles(symbol, interval_min).key
        question = _Question(key, None)

        def show() -> CandleRun | None:
            return self._joined(self._shown(key, patience), self._kept(self._cached(question)))

        async def ask(questions: ValueQuestions) -> CandleRun:
            history = await questions.ohlc(symbol, interval_min)
            candles = (*history.candles, *(() if history.current is None else (history.current,)))
            if not candles:
                raise Stale("ohlc", symbol, "there are no candles")
            last = candles[-1]
            return CandleRun(
                symbol=symbol,
                source=last.source,
                received_s=last.received_s,
                venue_time=last.venue_time,
                integrity=last.integrity,
                interval_min=interval_min,
                candles=candles,
            )

        return await self._current(question, show, ask, patience)

    async def _current(
        self,
        question: _Question,
        show: Callable[[], V | None],
        ask: Callable[[ValueQuestions], Awaitable[V]],
        patience: Patience,
    ) -> Reading[V]:
        """Return what the stream shows, before and after the question to REST, else what that brings."""
        shown = show()
        if shown is not None:
            return self._reading(shown)
        cached, came_s = self._cached(question), self._clock.now()
        async with cached.lock:
            known: Any = self._kept(cached)
            if cached.asked_s < came_s or (known is None and cached.error is None):
                if known is not None and self._is_fresh(known, patience):
                    return self._reading(known)
                await self._ask(cached, ask)
                known = cached.value
            shown = show()
            if shown is not None:
                return self._reading(shown)
            if cached.error is None and known is not None:
                return self._reading(known)
            return self._stale(question, self._kept(cached), cached.error, patience)

    async def _ask(self, cached: _Cached, ask: Callable[[ValueQuestions], Awaitable[MarketEvent]]) -> None:
        """Ask REST, and keep what comes of it; nothing does of a question that is cancelled."""
        asked_s = self._clock.now()
        try:
            if self._questions is None:
                raise UsageError("there is none")
            cached.value, cached.error = await ask(self._questions), None
        except EngineError as error:
            cached.error = error
        cached.asked_s = asked_s

    def _kept(self, cached: _Cached) -> MarketEvent | None:
        """Return the answer that is kept, unless it is too old to be of use to anybody."""
        if cached.value is not None and self._clock.now() - cached.value.received_s > self._cache_ttl_s:
            cached.value = None
        return cached.value

    def _is_fresh(self, value: MarketEvent, patience: Patience) -> bool:
        """Return whether a value of REST is young enough for the caller."""
        fresh_s = self._fresh_s if patience.max_age_s is None else patience.max_age_s
        return self._clock.now() - value.received_s <= fresh_s

    def _stale(self, question: _Question, cached: Any, error: EngineError | None, patience: Patience) -> Reading[Any]:
        """Return the newest value there is to those who asked for it; the truth to everybody else."""
        key = question.stream
        shown = self._publisher.freshness.stale(key)
        latest = self._publisher.latest(key)
        why = "the market is closed" if self._publisher.closed else "nobody subscribes to it"
        since_s: float | None = None
        if shown is not None:
            why, since_s = shown.why, shown.since_s
        elif latest is not None and self._publisher.freshness.is_live(key):
            why, since_s = "what the stream shows has too few levels, or is too old", latest.received_s
        stale = Stale(str(key[0]), str(key[1]), f"{why}; REST: {error or 'no answer'}", since_s=since_s)
        if key[0] == "ohlc":
            latest = None
        known = [value for value in (cached, latest) if value is not None]
        if not patience.allow_stale or not known:
            raise stale from error
        return Reading(value=max(known, key=lambda value: value.received_s), stale=stale, clock=self._clock)

    def _shown(self, key: StreamKey, patience: Patience) -> MarketEvent | None:
        """Return what a stream shows, if it is live, of this life, and, should it be from REST, young enough."""
        latest = self._publisher.latest(key) if self._publisher.freshness.is_live(key) else None
        if latest is None or latest.integrity is Integrity.RESYNCING:
            return None
        return latest if latest.source is not Source.REST or self._is_fresh(latest, patience) else None

    def _joined(self, newest: Any, run: Any) -> CandleRun | None:
        """Return a run from REST that goes on with the candle the stream shows; None: there may be a hole between."""
        if not isinstance(newest, Candle) or not isinstance(run, CandleRun):
            return None
        last = run.candles[-1]
        if last.interval_begin[:_MINUTE] != newest.interval_begin[:_MINUTE]:
            return None  # the last candle of the run may have gone on after the answer
        if newest.trades < last.trades:
            return None
        candles = (*run.candles[:-1], newest)
        return attrs.evolve(
            run, source=newest.source, received_s=newest.received_s, venue_time=newest.venue_time, candles=candles
        )

    def _cached(self, question: _Question) -> _Cached:
        found = self._cache.pop(question, None) or _Cached()
        self._cache[question] = found  # the most recently used last
        if len(self._cache) > CACHED_ANSWERS:
            del self._cache[next(iter(self._cache))]
        return found

    def _reading(self, value: V) -> Reading[V]:
        return Reading(value=value, stale=None, clock=self._clock)
