"""Judges whether what is called live is current (I-6), and whether all is well again after the faults (L-1)."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import trio

from kraken_engine.normalise.book_view import BookUpdate
from kraken_engine.sim.judges.evidence import name_of
from kraken_engine.sim.judges.streams import Condition, StreamJudge
from kraken_engine.sim.judges.trades import Tape
from kraken_engine.sim.judges.verdict import Verdict
from kraken_engine.sim.world import World
from kraken_engine.state.freshness import StreamKey

__all__ = ["CurrencyJudge"]

BEHIND_S = 5.0
"""How long a live book may stay as it is while the venue's moves on, and a line is well."""


@attrs.define(eq=False)
class _Lag:
    checksum: int
    since: float


@attrs.define(kw_only=True)
class CurrencyJudge:
    """Compares what is shown with what is true now."""

    world: World
    verdict: Verdict
    streams: StreamJudge
    keys: Sequence[StreamKey]
    """Streams that always have readers."""
    tape: Tape
    _lags: dict[StreamKey, _Lag] = attrs.field(factory=dict[StreamKey, _Lag], init=False)
    _printed: dict[str, int] = attrs.field(factory=dict[str, int], init=False)
    """Id of the last trade of each symbol when everything was healed."""

    def check(self) -> None:
        """Judge every live book at this moment."""
        now = trio.current_time()
        for key in self.keys:
            last = self.streams.last(key)
            if not isinstance(last, BookUpdate):
                continue
            shown, true = last.book.checksum, self._true_checksum(key)
            lag = self._lags.get(key)
            if self.streams.condition(key) is not Condition.LIVE or true == shown:
                self._lags.pop(key, None)
            elif lag is None or lag.checksum != shown:
                self._lags[key] = _Lag(shown, now)
            elif now - max(lag.since, self.world.wellness.well_since(key)) > BEHIND_S:
                what = f"expected a live book to follow the venue's ({true})"
                self.verdict.fail("I-6", f"{name_of(key)}: {what}, got {shown} for {now - lag.since:.1f} s")

    def healed(self) -> None:
        """Note where the venue's tapes are now: what is printed from here on has to arrive."""
        for key in self.keys:
            if key[0] == "trade":
                self._printed[str(key[1])] = self._last_print(str(key[1]))

    def unrecovered(self) -> list[str]:
        """Return what is not as it should be when nothing is wrong, in words; empty: all is well at this moment."""
        problems: list[str] = []
        for key in self.keys:
            condition = self.streams.condition(key)
            if self.streams.given_up(key):
                continue
            if condition is not Condition.LIVE:
                problems.append(f"{name_of(key)}: expected live, got {condition.value}")
            elif key[0] == "book":
                last, true = self.streams.last(key), self._true_checksum(key)
                shown = last.book.checksum if isinstance(last, BookUpdate) else None
                if shown != true:
                    problems.append(f"{name_of(key)}: expected the venue's book {true}, got {shown}")
            elif key[0] == "trade":
                problems += self._missing_trades(key)
            problems += self._missing_lines(key)
        return problems

    def _missing_lines(self, key: StreamKey) -> list[str]:
        """Return whether a stream is on fewer lines than it should be: losing one would be noticed.

        A line that the venue refused it for good goes without, until its next connection.
        """
        pool = self.world.config.pool
        expected = min(pool.redundancy, pool.market_lines)
        sessions = [self.world.exchange.sessions.get(number) for number in self.world.wellness.sessions()]
        lines = sum(
            session is not None and any(place[:2] == key[:2] for place in session.subscriptions) for session in sessions
        )
        refused = any(self.world.hits[kind] for kind in ("refuse_subscriptions", "ignore_subscriptions"))
        return (
            []
            if lines >= expected or (lines and refused)
            else [f"{name_of(key)}: expected it on {expected} lines, got {lines}"]
        )

    def _missing_trades(self, key: StreamKey) -> list[str]:
        symbol = str(key[1])
        printed, last = self._last_print(symbol), self.streams.last(key)
        seen = getattr(last, "trade_id", 0)
        if printed <= self._printed.get(symbol, 0) or seen >= printed:
            return []
        return [f"{name_of(key)}: expected the trade {printed}, got {seen} as the last"]

    def _last_print(self, symbol: str) -> int:
        trades = self.world.exchange.trades(symbol, 1)
        return int(str(trades[-1]["trade_id"])) if trades else 0

    def _true_checksum(self, key: StreamKey) -> int:
        return int(str(self.world.exchange.book_state(str(key[1]), 10)["checksum"]))
