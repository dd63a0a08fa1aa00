"""Asking REST whether the lines tell the truth: on demand, in the background, and for streams that say nothing.

A quiet stream on a line that is well is either a quiet market or a subscription the venue has forgotten; only a second
source can tell. So while something is quiet, and nothing is lost, one question about all tickers goes out every
``probe_every_s``. A stream whose prices REST contradicts, and that still says nothing once any update in flight would
be here, is not trusted any more: it is asked for anew, and the backup stands by as for any other loss.

Besides, every ``verify_every_s`` one ticker or book is compared in its turn
(:mod:`~kraken_engine.control.verification`), after all other questions: what only looks well is found that way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Protocol

import attrs
import trio

from kraken_engine.control.verification import Consequence
from kraken_engine.errors import EngineError, Rejected, Stale, UsageError
from kraken_engine.feed.consistency import Agreement, Comparison, compare, contradicts
from kraken_engine.feed.questions import REST_BOOK_DEPTH, Questions
from kraken_engine.normalise.book_view import BookUpdate
from kraken_engine.normalise.events import Event, Inconsistent, MarketEvent, TickerUpdate
from kraken_engine.state.freshness import StreamKey
from kraken_engine.tasks.continuity import Continuity
from kraken_engine.tasks.tickers import AsksTickers, Tickers

__all__ = ["Comparing", "run_probe", "run_verification", "verify_consistency"]

_SETTLE_S = 0.5
"""How long after an answer the lines may show the same moment of the venue."""
_ANSWER_S = 5.0


class Comparing(AsksTickers, Protocol):
    """The questions a comparison takes; see :class:`~kraken_engine.feed.questions.Questions`."""

    async def depth(self, symbol: str, depth: int = 100, *, timeout_s: float | None = None) -> BookUpdate:
        """Return a book."""
        ...


async def verify_consistency(
    continuity: Continuity, questions: Questions, *, keys: Iterable[StreamKey] | None = None
) -> list[Comparison]:
    """Compare tickers and books that the lines feed with REST, one question after the other.

    Args:
        continuity: of the market.
        questions: REST.
        keys: which streams; all tickers and books with readers when not given.

    Returns:
        What each comparison came to; ``UNKNOWN`` also for what REST does not know, and for a ticker that is triggered
        by trades, which does not follow bid and ask between them.

    Raises:
        EngineError: REST did not answer.
    """
    wanted = continuity.streams() if keys is None else list(keys)
    compared: list[Comparison] = []
    for key in wanted:
        if key[0] not in ("ticker", "book") or continuity.sources.is_diverted(key):
            continue
        if continuity.trigger(key) == "trades":
            compared.append(_incomparable(continuity, key, "between trades, this ticker does not follow bid and ask"))
            continue
        try:
            compared.append(await _compare(continuity, questions, key))
        except (Rejected, UsageError) as error:
            if isinstance(error, Rejected) and error.retryable:
                raise
            compared.append(_incomparable(continuity, key, f"REST: {error}"))
    return compared


def _incomparable(continuity: Continuity, key: StreamKey, why: str) -> Comparison:
    now = continuity.clock.now()
    return Comparison(
        channel=str(key[0]),
        symbol=str(key[1]),
        agreement=Agreement.UNKNOWN,
        what=why,
        asked_s=now,
        answered_s=now,
        rest=None,
        websocket=continuity.publisher.latest(key),
    )


async def _compare(continuity: Continuity, questions: Comparing, key: StreamKey) -> Comparison:
    publisher, clock, symbol = continuity.publisher, continuity.clock, str(key[1])
    shown: list[MarketEvent] = []
    lost: list[Stale] = []
    latest = publisher.latest(key)
    if latest is not None and publisher.freshness.is_live(key):
        shown.append(latest)

    def note(where: StreamKey, event: Event) -> None:
        if where == key and isinstance(event, MarketEvent):
            shown.append(event)
        elif where == key and isinstance(event, Stale):
            lost.append(event)

    stop = publisher.observe(note)
    try:
        asked_s = clock.now()
        rest: MarketEvent
        if key[0] == "ticker":
            rest = (await questions.ticker([symbol]))[symbol]
        else:
            depth = latest.book.depth if isinstance(latest, BookUpdate) else 10
            rest = await questions.depth(symbol, min(depth, REST_BOOK_DEPTH))
        answered_s = clock.now()
        await trio.sleep(_SETTLE_S)
    finally:
        stop()
    if lost:
        return _incomparable(continuity, key, f"the WebSocket lost it meanwhile: {lost[0].why}")
    return compare(rest, shown, asked_s=asked_s, answered_s=answered_s)


async def run_probe(continuity: Continuity, questions: AsksTickers) -> None:
    """Look for subscriptions the venue has forgotten, until cancelled. What REST does not answer proves nothing."""
    settings, asking = continuity.settings, Tickers(questions, continuity.clock)
    prices: dict[str, _Price] = {}
    while True:
        await trio.sleep(settings.probe_every_s)
        quiet = continuity.quiet_streams(longer_than_s=settings.probe_every_s / 2)
        if not quiet:
            continue
        tickers, asked_s = None, continuity.clock.now()
        try:
            with trio.move_on_after(_ANSWER_S):
                tickers = await asking.ask([str(key[1]) for key in quiet])
        except EngineError:
            continue
        if tickers is None:
            continue
        suspects = [one for key, event in quiet.items() for one in _suspect(continuity, key, event, tickers, prices)]
        prices = {str(key[1]): _Price(asked_s, tickers[str(key[1])].last) for key in quiet if str(key[1]) in tickers}
        if suspects:
            await trio.sleep(settings.probe_patience_s)
            _convict(continuity, suspects)


async def run_verification(continuity: Continuity, questions: Comparing) -> None:
    """Compare one stream after the other with REST, until cancelled. What REST does not answer proves nothing."""
    verification, settings = continuity.verification, continuity.settings
    while True:
        await trio.sleep(settings.verify_every_s)
        key = verification.take(continuity.comparable_streams()) if continuity.is_calm() else None
        if key is None:
            continue
        consequence, what = await _verify(continuity, questions, key)
        if consequence is Consequence.LOOK_AGAIN:
            await trio.sleep(settings.probe_patience_s)
            consequence, what = await _verify(continuity, questions, key)
        if consequence in (Consequence.RESYNC, Consequence.TELL):
            resync = consequence is Consequence.RESYNC
            notice = Inconsistent(
                at_s=continuity.clock.now(), channel=str(key[0]), symbol=str(key[1]), what=what, resync=resync
            )
            continuity.publisher.announce(notice)
            continuity.publisher.flush()
            if resync:
                continuity.doubt(key, f"REST differs twice: {what}")


async def _verify(continuity: Continuity, questions: Comparing, key: StreamKey) -> tuple[Consequence, str]:
    """Make one comparison, if the lines still feed the stream; return what follows from it, and where they differ."""
    found: Comparison | None = None
    if key not in continuity.comparable_streams():
        return Consequence.NOTHING, ""
    try:
        with trio.move_on_after(_ANSWER_S):
            found = await _compare(continuity, questions, key)
    except EngineError:
        return Consequence.NOTHING, ""
    if found is None or found.agreement is Agreement.UNKNOWN or key not in continuity.comparable_streams():
        return Consequence.NOTHING, ""
    return continuity.verification.judge(key, agrees=found.agreement.fine), found.what


@attrs.frozen
class _Price:
    """What REST said was the price of the last trade."""

    asked_s: float
    last: Decimal


@attrs.frozen
class _Suspect:
    key: StreamKey
    event: MarketEvent | None
    why: str


def _suspect(
    continuity: Continuity,
    key: StreamKey,
    event: MarketEvent | None,
    tickers: Mapping[str, TickerUpdate],
    before: Mapping[str, _Price],
) -> Sequence[_Suspect]:
    ticker = tickers.get(str(key[1]))
    if ticker is None or not continuity.shows(key, event):
        return ()
    if event is None:
        why = _missed(continuity, key, before.get(str(key[1])), ticker)
    elif continuity.trigger(key) == "trades" and ticker.last == getattr(event, "last", None):
        why = None  # between trades, such a ticker does not follow bid and ask
    else:
        why = contradicts(ticker, event)
    return () if why is None else (_Suspect(key, event, why),)


def _missed(continuity: Continuity, key: StreamKey, before: _Price | None, now: TickerUpdate) -> str | None:
    """Return how the price has changed since a stream is live that has not told a trade yet; None: it has not."""
    live_s = continuity.publisher.freshness.live_since(key)
    if before is None or live_s is None or before.asked_s < live_s or before.last == now.last:
        return None
    return f"last trade at {before.last} a while ago, at {now.last} now"


def _convict(continuity: Continuity, suspects: Sequence[_Suspect]) -> None:
    for suspect in suspects:
        if continuity.shows(suspect.key, suspect.event):
            continuity.doubt(suspect.key, f"it says nothing, and REST has newer data: {suspect.why}")
