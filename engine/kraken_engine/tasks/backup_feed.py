"""REST polling while the lines are down: asks what the plan says, and shows the answers.

One task plans; each question is asked in a task of its own, so that one that hangs delays no other. Where a question
fails while the lines are down, the venue may be away on purpose, and is asked. While it is, nothing is asked but its
state, which ends that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs
import trio

from kraken_engine.control.backup_plan import TICKERS, Poll
from kraken_engine.errors import CircuitOpen, EngineError, Rejected, UsageError
from kraken_engine.feed.questions import REST_BOOK_DEPTH, Questions
from kraken_engine.model import Integrity
from kraken_engine.normalise.events import Candle, MarketEvent
from kraken_engine.state.freshness import StreamKey
from kraken_engine.tasks.continuity import Continuity
from kraken_engine.tasks.tickers import Tickers

__all__ = ["run_backup_feed"]

_ANSWER_S = 5.0
"""How long one question may take; the next one about the same comes then."""
_STATUS_S = 15.0
"""Time between two questions about the state of a venue that is away."""
_PREPARE_AGAIN_S = 60.0


async def run_backup_feed(continuity: Continuity, questions: Questions) -> None:
    """Feed the streams the watchdog has given to the backup, until cancelled.

    Owns the questions in flight. What fails is noted and asked again in the next round; only bugs end it.
    """
    feed = _BackupFeed(continuity, questions)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.prepare)
        while True:
            if continuity.modes.away is not None:
                await feed.wait_for_the_venue()
                continue
            continuity.replan()
            continuity.expire()
            now = continuity.clock.now()
            poll = continuity.plan.take(now=now)
            if poll is None:
                due = min(continuity.plan.next_due(now=now), continuity.next_expiry)
                await continuity.feed.wait_until(due)
            elif poll not in feed.in_flight:
                feed.in_flight[poll] = None
                nursery.start_soon(feed.ask, poll)


@attrs.define(eq=False)
class _BackupFeed:
    continuity: Continuity
    questions: Questions
    tickers: Tickers = attrs.field(init=False)
    in_flight: dict[Poll, None] = attrs.field(factory=dict[Poll, None], init=False)
    _since: dict[Poll, tuple[int, float]] = attrs.field(factory=dict[Poll, tuple[int, float]], init=False)
    """Where the last answer ended, and when it was asked for: one of an earlier outage is nowhere to go on from."""
    _state_due_s: float = attrs.field(default=-math.inf, init=False)
    """When the venue may be asked for its state again."""

    def __attrs_post_init__(self) -> None:
        self.tickers = Tickers(self.questions, self.continuity.clock)

    async def prepare(self) -> None:
        """Learn REST's names of symbols ahead of time: later there is none to lose."""
        while True:
            try:
                await self.questions.symbols()
            except EngineError:  # whoever needs them asks again; it is no fault of a market that is well
                await trio.sleep(_PREPARE_AGAIN_S)
            else:
                return

    async def ask(self, poll: Poll) -> None:
        """Ask one question and show what comes of it."""
        continuity = self.continuity
        asked_s = continuity.clock.now()
        try:
            with trio.move_on_after(_ANSWER_S) as scope:
                await self._ask(poll, asked_s)
            if scope.cancelled_caught:
                continuity.failed(poll, f"no answer within {_ANSWER_S:g} s")
        except (Rejected, UsageError) as error:
            self._rejected(poll, error)
        except CircuitOpen as error:
            continuity.failed(poll, str(error))
        except EngineError as error:
            continuity.failed(poll, f"{type(error).__name__}: {error}")
        finally:
            del self.in_flight[poll]
        if not continuity.brought(poll):
            await self.ask_for_the_state()
        continuity.publisher.flush()
        continuity.feed.set()

    async def _ask(self, poll: Poll, asked_s: float) -> None:
        continuity, symbol = self.continuity, poll.symbol or ""
        if poll == TICKERS:
            await self._ask_tickers(asked_s)
            return
        values: Sequence[MarketEvent]
        if poll.kind == "book":
            depth = poll.detail if isinstance(poll.detail, int) else 10
            values = (await self.questions.depth(symbol, min(depth, REST_BOOK_DEPTH)),)
        elif poll.kind == "trade":
            trades = await self.questions.trades(symbol, since=self._end_of_last(poll, asked_s))
            self._since[poll], values = (trades.last, asked_s), trades.trades
        else:
            interval = poll.detail if isinstance(poll.detail, int) else 1
            candles = await self.questions.ohlc(symbol, interval, since=self._end_of_last(poll, asked_s))
            self._since[poll] = candles.last, asked_s
            values = [*candles.candles, *([] if candles.current is None else [candles.current])]
        for key in continuity.streams_of(poll):
            continuity.answered(key, self._fitting(key, values), asked_s=asked_s)

    def _end_of_last(self, poll: Poll, asked_s: float) -> int | None:
        """Return where the answer before ended, if it was of this outage; then what came since is all there is."""
        limit_s = self.continuity.settings.backup_lost_s
        self._since = {one: (end, at) for one, (end, at) in self._since.items() if asked_s - at <= limit_s}
        return self._since[poll][0] if poll in self._since else None

    async def _ask_tickers(self, asked_s: float) -> None:
        continuity = self.continuity
        symbols = [str(key[1]) for key in continuity.streams_of(TICKERS)]
        tickers = await self.tickers.ask(symbols)
        for key in continuity.streams_of(TICKERS):
            ticker = tickers.get(str(key[1]))
            if ticker is not None:
                continuity.answered(key, (ticker,), asked_s=asked_s)
            elif str(key[1]) in symbols:
                continuity.refused(key, "REST: no ticker of this symbol")

    def _fitting(self, key: StreamKey, values: Sequence[MarketEvent]) -> Sequence[MarketEvent]:
        """Return what is about to be shown: of candles the newest alone, unless some were shown before."""
        latest = self.continuity.publisher.latest(key)
        shown = isinstance(latest, Candle) and latest.integrity is not Integrity.RESYNCING
        return values if shown or key[0] != "ohlc" else values[-1:]

    def _rejected(self, poll: Poll, error: Rejected | UsageError) -> None:
        continuity = self.continuity
        if poll == TICKERS or (isinstance(error, Rejected) and error.retryable):
            continuity.failed(poll, str(error))
        else:
            for key in continuity.streams_of(poll):
                continuity.refused(key, f"REST: {error}")

    async def ask_for_the_state(self) -> None:
        """Ask whether the venue is away on purpose, unless it was asked a moment ago."""
        continuity = self.continuity
        if continuity.clock.now() < self._state_due_s:
            return
        self._state_due_s = continuity.clock.now() + _STATUS_S
        try:
            with trio.move_on_after(_ANSWER_S):
                continuity.sources.announce(await self.questions.system_status())
                continuity.publisher.flush()
        except EngineError:  # its absence is what is known already
            continuity.failed(Poll("status"), "no state")

    async def wait_for_the_venue(self) -> None:
        """Ask for the venue's state now and then, until it is back; lines may bring the news as well."""
        continuity = self.continuity
        await self.ask_for_the_state()
        if continuity.modes.away is not None:
            continuity.expire()
            await continuity.feed.wait_until(min(self._state_due_s, continuity.next_expiry))
