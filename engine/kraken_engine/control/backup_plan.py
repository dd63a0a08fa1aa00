"""What the REST backup asks for, and when: as much as its budget reaches, the most important first.

One call brings the tickers of all symbols; a book, the trades and the candles of a symbol cost one call each. Tickers
and books share one pace, trades and candles another, as at the venue. With so many calls a second, and nothing older
than ``slowest_s``, there is room for so many questions in each round: tickers first, then books of symbols with open
orders, other books; trades, candles. What finds no room is *uncovered*: it is said to be stale rather than shown old.
When there is room to spare, rounds are shorter, down to ``fastest_s``.

Knows nothing of HTTP, of prices, or why a stream is on the backup; who asks keeps the venue's pace besides.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping

import attrs

from kraken_engine.config import FailoverSettings
from kraken_engine.control.failover import Stream
from kraken_engine.control.token_bucket import TokenBucket

__all__ = ["TICKERS", "BackupPlan", "Changed", "Poll"]


@attrs.frozen
class Poll:
    """One question to REST, asked again and again."""

    kind: str
    """``ticker`` (all of them), ``book``, ``trade``, ``ohlc``; other names are ranked last."""
    symbol: str | None = None
    detail: Hashable = None
    """What tells apart questions about one symbol: the interval of candles."""


TICKERS = Poll("ticker")

_GENERAL = ("ticker", "book")
_RANK = {"ticker": 0, "book": 2, "trade": 3, "ohlc": 4}
_RANK_OPEN_ORDERS = 1
_RANK_OTHER = 5


@attrs.frozen(kw_only=True)
class Changed:
    """What a change of the plan means for streams."""

    covered: tuple[Stream, ...]
    """Newly asked for."""
    uncovered: tuple[Stream, ...]
    """Not, or not any more, within the budget."""


@attrs.define
class _Due:
    at_s: float
    rank: tuple[int, int]


@attrs.define
class _Pace:
    """One of the two paces."""

    per_s: float
    burst: int
    asked: int = 0
    """Questions of a round."""
    bucket: TokenBucket = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.bucket = TokenBucket(rate=self.per_s, burst=self.burst)


@attrs.define
class BackupPlan:
    """The round of questions; :meth:`cover` says about what, :meth:`take` hands out the next one."""

    settings: FailoverSettings
    _polls: dict[Poll, _Due] = attrs.field(factory=dict[Poll, _Due], init=False)
    _streams: dict[Stream, Poll] = attrs.field(factory=dict[Stream, Poll], init=False)
    """The covered ones."""
    _uncovered: dict[Stream, None] = attrs.field(factory=dict[Stream, None], init=False)
    _general: _Pace = attrs.field(init=False)
    _by_pair: _Pace = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._general = _Pace(self.settings.calls_per_s, self.settings.burst)
        self._by_pair = _Pace(self.settings.pair_calls_per_s, self.settings.burst)

    def room(self, kind: str) -> int:
        """Return how many questions of the pace of ``kind`` a round may have."""
        return max(1, math.floor(self._pace(kind).per_s * self.settings.slowest_s + 1e-9))

    def round_s(self, kind: str) -> float:
        """Return how long a round takes: the time between two questions about the same."""
        pace = self._pace(kind)
        return min(self.settings.slowest_s, max(self.settings.fastest_s, pace.asked / pace.per_s))

    @property
    def polls(self) -> tuple[Poll, ...]:
        """The questions of a round, the most important first."""
        return tuple(sorted(self._polls, key=lambda poll: self._polls[poll].rank))

    def is_covered(self, stream: Stream) -> bool:
        """Return whether ``stream`` is asked for."""
        return stream in self._streams

    def cover(self, streams: Mapping[Stream, Poll], *, open_orders: Iterable[str] = (), now: float) -> Changed:
        """Make the plan for exactly these ``streams``, each with the question that brings it.

        Args:
            streams: in the order in which they count among their kind.
            open_orders: symbols whose books come before other books.
            now: the present time.
        """
        ranked = self._ranked(streams.values(), dict.fromkeys(open_orders))
        self._general.asked = self._by_pair.asked = 0
        admitted: dict[Poll, tuple[int, int]] = {}
        for poll, rank in ranked.items():
            pace = self._pace(poll.kind)
            if pace.asked < self.room(poll.kind):
                pace.asked += 1
                admitted[poll] = rank
        self._polls = {
            poll: _Due(self._polls[poll].at_s if poll in self._polls else now, rank) for poll, rank in admitted.items()
        }
        before, missing = self._streams, self._uncovered
        self._streams = {stream: poll for stream, poll in streams.items() if poll in admitted}
        self._uncovered = {stream: None for stream in streams if stream not in self._streams}
        return Changed(
            covered=tuple(stream for stream in self._streams if stream not in before),
            uncovered=tuple(stream for stream in self._uncovered if stream not in missing),
        )

    def take(self, *, now: float) -> Poll | None:
        """Return the question to ask now, and plan its next turn; None before :meth:`next_due`.

        What has waited longest comes first; of what was due at the same moment, the most important.
        """
        for poll in sorted(self._polls, key=lambda poll: (self._polls[poll].at_s, self._polls[poll].rank)):
            due = self._polls[poll]
            if due.at_s > now:
                return None
            if self._pace(poll.kind).bucket.take(now=now):
                due.at_s = now + self.round_s(poll.kind)
                return poll
        return None

    def next_due(self, *, now: float) -> float:
        """Return when :meth:`take` is wanted next (monotonic); infinity: nothing is to be asked."""
        return min(
            (max(due.at_s, now + self._pace(poll.kind).bucket.wait_s(now=now)) for poll, due in self._polls.items()),
            default=math.inf,
        )

    def _pace(self, kind: str) -> _Pace:
        return self._general if kind in _GENERAL else self._by_pair

    def _ranked(self, polls: Iterable[Poll], first: Mapping[str, None]) -> dict[Poll, tuple[int, int]]:
        order: dict[Poll, int] = {}
        for number, poll in enumerate(polls):
            order.setdefault(poll, number)

        def rank(poll: Poll) -> tuple[int, int]:
            if poll.kind == "book" and poll.symbol in first:
                return _RANK_OPEN_ORDERS, order[poll]
            return _RANK.get(poll.kind, _RANK_OTHER), order[poll]

        return {poll: rank(poll) for poll in sorted(order, key=rank)}
