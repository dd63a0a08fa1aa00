"""How many REST calls the venue will take, from a model of its counters.

Private calls: one counter for each key. A call adds its cost, time takes it away again, and above the limit of the
account's tier the venue refuses, for longer the more one insists (docs "Spot REST Rate Limits"). The model is kept
below a share of the limit; the rest is for urgent calls and for what the model does not know. It errs on the high side:
a call counts as late as the venue may have counted it.

A refusal shows that the model was too low: somebody else uses the key, or calls cost more than the documents say. The
counter is then taken to be full, and for a while less of the limit is used.

Public calls: about one a second for an address, and for ``OHLC`` and ``Trades`` one for each pair. The venue publishes
neither a number nor how it counts; other clients are known to work at five a second. So after a pause a few calls may
follow each other closely, all of them together at most four a second: when the lines are gone, the books that matter
have to be there within seconds. A refusal empties that reserve, and halves the pace for a minute
(:mod:`~kraken_engine.control.request_pace`).

Knows nothing of queues, breakers or HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import attrs

from kraken_engine.control.request_pace import RequestPace

__all__ = ["REST_TIERS", "CallCounter", "PublicPace", "RestTier", "call_cost"]


@attrs.frozen
class RestTier:
    """The counter of one tier: calls it holds, and calls it forgets in a second."""

    limit: float
    decay_per_s: float


REST_TIERS: Mapping[str, RestTier] = {
    "starter": RestTier(15.0, 0.33),
    "intermediate": RestTier(20.0, 0.5),
    "pro": RestTier(20.0, 1.0),
}
"""Docs "Spot REST Rate Limits"."""

_HISTORY_COST = 4
"""Older and newer documents say 4 and 2; the dearer one is safe."""
_COSTS = {
    "AddOrder": 0,
    "CancelOrder": 0,
    "Ledgers": _HISTORY_COST,
    "QueryLedgers": _HISTORY_COST,
    "TradesHistory": _HISTORY_COST,
    "QueryTrades": _HISTORY_COST,
}

_PENALTY = 0.75
"""Each refusal leaves so much of the share that is used ..."""
_SMALLEST_SHARE = 0.25
"""... but not less than this of the limit ..."""
_PARDON_S = 600.0
"""... until there was none for so long."""
_ROUNDING = 1e-9


def call_cost(operation: str) -> int:
    """Return what a private call such as ``Balance`` adds to the counter."""
    return _COSTS.get(operation, 1)


@final
@attrs.define
class CallCounter:
    """The counter of one key, as far as we know."""

    tier: RestTier
    buffer: float = attrs.field(default=0.8, validator=[attrs.validators.gt(0), attrs.validators.le(1)])
    """Share of the limit that is used, urgent calls aside: ``rate_limit_buffer``."""
    _level: float = attrs.field(default=0.0, init=False)
    _at: float = attrs.field(default=0.0, init=False)
    _share: float = attrs.field(init=False)
    _refused_at: float | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._share = self.buffer

    def level(self, *, now: float) -> float:
        """Return where the counter stands."""
        return max(0.0, self._level - max(0.0, now - self._at) * self.tier.decay_per_s)

    def usable(self, *, now: float) -> float:
        """Return up to where ordinary calls may fill it."""
        if self._refused_at is not None and now >= self._refused_at + _PARDON_S:
            self._share, self._refused_at = self.buffer, None
        return self.tier.limit * self._share

    def wait_s(self, cost: int, *, now: float, urgent: bool = False) -> float:
        """Return the seconds until a call of ``cost`` may go out; 0.0 at once.

        An urgent one may use the whole limit. A call that costs more than is usable waits for an empty counter.
        """
        if cost == 0:
            return 0.0
        room = self.tier.limit if urgent else self.usable(now=now)
        too_many = self.level(now=now) + cost - max(room, cost)
        return too_many / self.tier.decay_per_s if too_many > _ROUNDING else 0.0

    def spend(self, cost: int, *, now: float) -> None:
        """Note that a call goes out."""
        self._set(self.level(now=now) + cost, now)

    def answered(self, cost: int, *, now: float) -> None:
        """Note that a call ended: the venue may have counted it only now, when the counter was empty before."""
        self._set(max(self.level(now=now), cost), now)

    def refused(self, cost: int = 1, *, now: float) -> None:
        """Note that the venue refused a call for its limit: the counter is full, and the model was wrong."""
        self._set(max(self.level(now=now), self.tier.limit + cost), now)
        if self.usable(now=now) > self.tier.limit * _SMALLEST_SHARE:
            self._share = max(_SMALLEST_SHARE, self._share * _PENALTY)
        self._refused_at = now

    def drained_at(self, *, now: float) -> float:
        """Return when the counter will be empty if nobody calls (monotonic): ``not_before`` of a breaker."""
        return now + self.level(now=now) / self.tier.decay_per_s

    def _set(self, level: float, now: float) -> None:
        self._level, self._at = level, max(now, self._at)


_BY_PAIR = frozenset({"OHLC", "Trades"})
_PAIRS_KEPT = 512


@final
@attrs.define
class PublicPace:
    """The pace of public calls from this address."""

    per_second: float = 0.8
    """Calls a second: of all operations but those by pair together, and of each of those for each pair."""
    burst: int = 4
    """So many of those that are not by pair may follow each other as closely as :attr:`overall_per_second` lets them,
    after a pause that saved them up."""
    overall_per_second: float = 4.0
    """All calls a second; so many pairs at once would look like an attack."""
    _general: RequestPace = attrs.field(init=False)
    _overall: RequestPace = attrs.field(init=False)
    _by_pair: dict[tuple[str, str], RequestPace] = attrs.field(
        factory=dict[tuple[str, str], RequestPace], init=False, repr=False
    )
    """Least recently used first; a forgotten one has been idle for long."""

    def __attrs_post_init__(self) -> None:
        self._general = RequestPace(self.per_second, self.burst)
        self._overall = RequestPace(self.overall_per_second)

    def wait_s(self, operation: str, pair: str | None = None, *, now: float) -> float:
        """Return the seconds until this call may go out; 0.0 at once."""
        return max(self._pace(operation, pair).wait_s(now=now), self._overall.wait_s(now=now))

    def take(self, operation: str, pair: str | None = None, *, now: float) -> bool:
        """Say whether this call may go out now; if so it counts as sent."""
        if self.wait_s(operation, pair, now=now) > 0.0:
            return False
        return self._pace(operation, pair).take(now=now) and self._overall.take(now=now)

    def refused(self, operation: str, pair: str | None = None, *, sent_at: float, now: float) -> None:
        """Note that the venue found a call that was sent at ``sent_at`` one too many."""
        self._pace(operation, pair).complained(sent_at=sent_at, now=now)
        self._overall.complained(sent_at=sent_at, now=now)

    def _pace(self, operation: str, pair: str | None) -> RequestPace:
        if operation not in _BY_PAIR or pair is None:
            return self._general
        pace = self._by_pair.pop((operation, pair), None) or RequestPace(self.per_second)
        self._by_pair[operation, pair] = pace
        if len(self._by_pair) > _PAIRS_KEPT:
            del self._by_pair[next(iter(self._by_pair))]
        return pace
