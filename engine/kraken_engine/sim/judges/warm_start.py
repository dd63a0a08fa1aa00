"""Judges an engine that was started again: what it begins with, says of that, and that none of it is live (I-33).

Two judges. One compares what the start used, and said, with the checkpoints that were on the disk and whole; the other
one listens to everything that the engine shows and answers: what was read before this life began is an old value, and
old values are given, marked, to those alone who ask for them.

Knows nothing of lines, sources or deadlines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from kraken_engine.errors import Stale
from kraken_engine.feed.current import CandleRun, Reading
from kraken_engine.feed.feed import Feed
from kraken_engine.feed.topics import Book, Candles, Ticker, Trades
from kraken_engine.model import Integrity
from kraken_engine.normalise.events import Event, MarketEvent
from kraken_engine.sim.judges.evidence import name_of
from kraken_engine.sim.judges.verdict import Verdict
from kraken_engine.state.checkpoint import decode_state
from kraken_engine.state.freshness import StreamKey
from kraken_engine.tasks.engine import Engine

__all__ = ["Found", "NotLiveJudge", "judge_start"]


@attrs.frozen(kw_only=True)
class Found:
    """The checkpoints that an engine finds when it starts."""

    whole: Mapping[int, bytes]
    """Their payloads by generation."""
    damaged: Sequence[str]
    """Names of the files that were damaged, and not written since."""


def judge_start(verdict: Verdict, engine: Engine, found: Found) -> None:
    """Judge what ``engine``, which has just opened, began with, and what it said of it."""
    newest = max(found.whole, default=None)
    used = None if engine.restored is None else engine.restored.generation
    said = " | ".join(engine.opening)
    if used != newest:
        verdict.fail("I-33", f"expected a start with checkpoint {newest}, got {used}; said: {said}")
        return
    if engine.restored is not None and newest is not None:
        saved_ns = decode_state(found.whole[newest]).saved_wall_ns
        if engine.restored.state.saved_wall_ns != saved_ns:
            verdict.fail("I-33", f"expected what checkpoint {newest} holds, got something else")
    beginning = "a cold start" if newest is None else f"a warm start with checkpoint {newest},"
    if beginning not in said:
        verdict.fail("I-33", f"expected {beginning!r} to be said, got {said!r}")
    for name in ("checkpoint.0", "checkpoint.1"):
        if (f"/{name}:" in said) is not (name in found.damaged):
            what = "damaged" if name in found.damaged else "whole, or not there"
            verdict.fail("I-33", f"{name} is {what}, got {said!r}")
    if found.damaged and newest is not None and f"generation {newest} of" not in said:
        verdict.fail("I-33", f"expected generation {newest} to be named, got {said!r}")


@attrs.define(eq=False)
class NotLiveJudge:
    """One life of an engine."""

    verdict: Verdict
    feed: Feed
    began_s: float
    """When it was started, by the engine's clock: nothing the venue said in this life was read before."""
    topics: Sequence[Ticker | Book | Trades | Candles]
    """What readers listen to, sooner or later."""
    on_given: Callable[[], None]
    """Called when a value of before was given to somebody who asked for one, marked as such."""

    def see(self, key: StreamKey, event: Event) -> None:
        """Take everything that is published."""
        self._told(key, event, "published as news")

    def read(self, event: Event) -> None:
        """Take everything that a reader gets: also what he is told first."""
        self._told((type(event).__name__, getattr(event, "symbol", "")), event, "given to a reader")

    def look(self) -> None:
        """Ask for the current value of each stream, and for an old one."""
        for topic in self.topics:
            for allow_stale in (False, True):
                try:
                    reading = self.feed.latest(topic, allow_stale=allow_stale)
                except Stale:
                    continue
                self.answered(f"latest({name_of(topic.key)})", reading, allow_stale=allow_stale)

    async def ask(self, symbol: str) -> None:
        """Ask for current values of ``symbol``, from whatever source, and for old ones if there are no others."""
        for allow_stale in (False, True):
            for name, get in (
                ("ticker", self.feed.get_ticker),
                ("book", self.feed.get_book),
                ("candles", self.feed.get_candles),
            ):
                try:
                    reading: Reading[Any] = await get(symbol, allow_stale=allow_stale)
                except Stale:
                    continue
                self.answered(f"get_{name}({symbol})", reading, allow_stale=allow_stale)

    def answered(self, what: str, reading: Reading[Any], *, allow_stale: bool) -> None:
        """Judge one answer."""
        if not self._is_old(reading.value):
            return
        if not allow_stale:
            self.verdict.fail("I-33", f"{what}: expected a value of this life, got one of {reading.age_s:.2f} s ago")
        elif reading.stale is None or reading.integrity is not Integrity.RESYNCING:
            self.verdict.fail("I-33", f"{what}: expected a value of before to be marked, got {reading!r:.200}")
        else:
            self.on_given()

    def _told(self, key: StreamKey, event: Event, how: str) -> None:
        if isinstance(event, MarketEvent) and self._is_old(event):
            self.verdict.fail("I-33", f"{name_of(key)}: a value of before this life was {how}: {event!r:.120}")

    def _is_old(self, value: MarketEvent) -> bool:
        values = value.candles if isinstance(value, CandleRun) else (value,)
        return any(one.received_s < self.began_s or one.integrity is Integrity.RESYNCING for one in values)
