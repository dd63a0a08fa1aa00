"""Judges connections by what the network saw: I-6 (silence is noticed), I-24 (attempts keep their distance)."""

from __future__ import annotations

import itertools
import math
from collections import deque

import attrs
import trio

from kraken_engine.sim.judges.verdict import Verdict
from kraken_engine.sim.trace import Fact
from kraken_engine.sim.world import World

__all__ = ["AWAKE_S", "LineJudge"]

STALE_S = 2.5
"""No frame for so long, and what the line feeds is stale (I-6)."""
NOTICE_S = 0.25
"""How long the engine may take to say so."""
AWAKE_S = 5.0
"""After the machine has slept, nobody can be late for so long."""

JUST_S = 0.5

MIN_GAP_S = 0.999
ONCE_PER_S = 60.0
MOST_ATTEMPTS = 100
WINDOW_S = 599.9
"""Ten minutes, with room for the rounding of floating-point sleeps."""


@attrs.define(kw_only=True)
class LineJudge:
    """Listens to the network's trace."""

    world: World
    verdict: Verdict
    attempts: list[float] = attrs.field(factory=list[float], init=False)
    """When each attempt to connect began: with a look-up of the venue's name."""
    _heard: dict[str, float] = attrs.field(factory=dict[str, float], init=False)
    """When the engine's end of a connection last read bytes, by connection."""
    _closed: dict[str, tuple[float, float]] = attrs.field(factory=dict[str, tuple[float, float]], init=False)
    """The same for connections that are closed, and when that was."""
    _at_once: deque[float] = attrs.field(factory=lambda: deque[float](maxlen=1), init=False)

    def trace(self, kind: str, facts: tuple[Fact, ...]) -> None:
        """Take one event of the trace."""
        now = trio.current_time()
        if kind == "resolve":
            self._attempt(now)
        elif kind == "rx" and str(facts[0]).endswith("<"):
            self._heard[str(facts[0])[:-1]] = now
        elif kind == "close" and len(facts) > 1 and facts[1] == "client":
            self._closed[str(facts[0])] = self._heard.pop(str(facts[0]), -math.inf), now

    def silent_s(self) -> float:
        """Return for how long the engine has read nothing at all from any connection it holds."""
        now = trio.current_time()
        return now - max(self._heard.values(), default=-1e9)

    def heard(self) -> dict[str, float]:
        """Return when the engine last read bytes, by connection: of those it holds, and those it has just closed."""
        now = trio.current_time()
        just = {label: heard for label, (heard, at) in self._closed.items() if now - at < JUST_S}
        return self._heard | just

    def check_silence(self, live: list[str]) -> None:
        """Judge the streams called current at this moment."""
        silent_s = self.silent_s()
        awake_s = trio.current_time() - self.world.slept_until
        if live and silent_s > STALE_S + NOTICE_S and awake_s > AWAKE_S:
            heard = "no connection" if silent_s > 1e6 else f"no byte for {silent_s:.2f} s"
            self.verdict.fail("I-6", f"expected everything stale after {STALE_S} s, got {live[0]} live with {heard}")

    def earliest_attempt(self) -> float:
        """Return when the limit of attempts lets the next one begin."""
        if len(self.attempts) < MOST_ATTEMPTS:
            return 0.0
        return self.attempts[-MOST_ATTEMPTS] + WINDOW_S

    def _attempt(self, now: float) -> None:
        previous = self.attempts[-1] if self.attempts else -ONCE_PER_S
        self.attempts.append(now)
        if now - previous < MIN_GAP_S:
            if self._at_once and now - self._at_once[0] < ONCE_PER_S:
                what = "expected one immediate attempt a minute at most"
                self.verdict.fail("I-24", f"{what}, got one {now - previous:.3f} s after another")
            self._at_once.append(now)
        recent = sum(1 for _ in itertools.takewhile(lambda at: at > now - WINDOW_S, reversed(self.attempts)))
        if recent > MOST_ATTEMPTS:
            self.verdict.fail("I-24", f"expected at most {MOST_ATTEMPTS} attempts in {WINDOW_S:g} s, got {recent}")
