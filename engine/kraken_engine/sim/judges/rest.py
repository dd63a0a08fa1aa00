"""Judges the REST side: nonces as the venue saw them, breakers, limits and retries as attempts show them, secrets.

Everything here is counted anew, from what left and what came back; nothing is asked of the engine's own models.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import attrs

from kraken_engine.codec.venue_errors import BreakerEffect
from kraken_engine.control.circuit_breaker import CallKind
from kraken_engine.errors import Rejected
from kraken_engine.normalise.events import CircuitChanged, Notice
from kraken_engine.rest.calls import Attempt
from kraken_engine.sim.judges.verdict import Verdict
from kraken_engine.sim.world import World
from kraken_engine.venue.core.accounts.settings import TEST_KEY, TEST_SECRET

__all__ = ["RestJudge"]

OPEN_S = 300.0
THRESHOLD = 3
WINDOW_S = 60.0
FREE_RETRIES = 10
RETRY_SHARE = 0.2
IN_FLIGHT = 5
_SLACK_S = 0.01
_ROUNDING = 1e-6


@attrs.define(eq=False)
class _Breaker:
    """What one breaker is in, by what it announced, and what should have led there."""

    state: str = "closed"
    since_s: float = 0.0
    failed_calls: dict[int, None] = attrs.field(factory=dict[int, None])
    """Since the last success."""
    limited_at_s: float = -1e9
    probes: int = 0
    """Ordinary attempts since it became half open."""


@attrs.define(eq=False)
class RestJudge:
    """One life of a client after another, in one world."""

    world: World
    verdict: Verdict
    on_nonce: Callable[[int], None] = lambda _: None
    """Told of every nonce that the venue has seen."""
    given_up: int = attrs.field(default=0, init=False)
    """Signed attempts of which nobody knows when, or whether, they arrived."""
    restarts: int = attrs.field(default=0, init=False)
    _breakers: dict[str, _Breaker] = attrs.field(factory=dict[str, _Breaker], init=False)
    _ended_s: dict[str, float] = attrs.field(factory=dict[str, float], init=False)
    _firsts: deque[float] = attrs.field(factory=deque[float], init=False)
    _retries: deque[float] = attrs.field(factory=deque[float], init=False)
    _nonces_seen: int = attrs.field(default=0, init=False)
    _nonces: set[int] = attrs.field(factory=set[int], init=False)
    _refused: int = attrs.field(default=0, init=False)
    _limits_met: int = attrs.field(default=0, init=False)

    def begin_life(self) -> None:
        """A new client begins: what the last one counted is gone with it."""
        self.restarts += 1
        self._breakers.clear()
        self._ended_s.clear()
        self._firsts.clear()
        self._retries.clear()

    def notice(self, notice: Notice) -> None:
        """Take what a breaker announces."""
        self.text(repr(notice))
        if not isinstance(notice, CircuitChanged):
            return
        breaker, now = self._breaker(notice.breaker), notice.at_s
        if notice.state == "open":
            limited = now - breaker.limited_at_s < 1.0
            if breaker.state == "closed" and len(breaker.failed_calls) < THRESHOLD and not limited:
                failed = len(breaker.failed_calls)
                self._fail("I-22", f"{notice.breaker}: expected {THRESHOLD} failed calls before it opens, got {failed}")
            if breaker.state == "closed":
                self.world.sometimes.reach("breaker_opened")
        elif notice.state == "half_open" and now - breaker.since_s < OPEN_S - _SLACK_S:
            self._fail("I-21", f"{notice.breaker}: expected 300 s open, got {now - breaker.since_s:.3f}")
        elif notice.state == "closed":
            self.world.sometimes.reach("breaker_closed")
            breaker.failed_calls.clear()
        breaker.state, breaker.since_s, breaker.probes = notice.state, now, 0

    def attempt(self, attempt: Attempt) -> None:
        """Take one attempt that is over."""
        private = attempt.queue != "public"
        if attempt.error is not None:
            self.text(str(attempt.error), repr(attempt.error))
        self._check_serial(attempt, private=private)
        self._check_breaker(attempt)
        self._check_budget(attempt)
        if private and (attempt.given_up or attempt.effect is BreakerEffect.FAILURE):
            self.given_up += 1
        if private and isinstance(attempt.error, Rejected) and "EAPI:Rate limit exceeded" in attempt.error.words:
            self._limits_met += 1

    def look(self) -> None:
        """Look at what the venue has seen since the last look."""
        hits = self.world.hits
        for key in self.world.exchange.accounts.api_keys.values():
            fresh = list(key.nonces)[self._nonces_seen :]
            self._nonces_seen += len(fresh)
            for seen in fresh:
                if seen.nonce in self._nonces:
                    self._fail("I-18", f"expected each nonce once, got {seen.nonce} again")
                self._nonces.add(seen.nonce)
                self.on_nonce(seen.nonce)
                self._refused += seen.refused
        # A call that was given up may arrive after the next one; another program may be ahead of us.
        explained = self.given_up + self.restarts + 4 * hits["take_nonce"]
        if self._refused > explained:
            self._fail("I-19", f"expected at most {explained} nonces refused, got {self._refused}")
        if self._limits_met > hits["rest_limit"] + 3 * hits["restart"]:
            self._fail("I-23", f"expected no limit but those made up, got {self._limits_met}")

    def text(self, *texts: str) -> None:
        """Look for secrets in what could be logged."""
        for text in texts:
            for secret in self.secrets():
                if secret in text:
                    self._fail("I-34", f"a secret in: {text.replace(secret, '[secret]')}")

    def secrets(self) -> list[str]:
        """Return what must not be seen anywhere: key, secret and every token."""
        return [TEST_KEY, TEST_SECRET, *(token.text for token in self.world.exchange.accounts.tokens.of("main"))]

    def farewell_refused(self, why: str) -> None:
        """A cancel of the end did not get through for a reason of ours."""
        self._fail("I-21", f"expected every farewell to leave, got {why}")

    def _check_serial(self, attempt: Attempt, *, private: bool) -> None:
        before_s = self._ended_s.get(attempt.queue, 0.0)
        if private and attempt.sent_at_s < before_s - _ROUNDING:
            self._fail("I-19", f"{attempt.what.name} at {attempt.sent_at_s:.6f}, while another was in flight")
        self._ended_s[attempt.queue] = attempt.ended_at_s

    def _check_breaker(self, attempt: Attempt) -> None:
        breaker = self._breaker(attempt.queue)
        ordinary = attempt.what.kind is CallKind.ORDINARY
        if ordinary and breaker.state == "open" and attempt.sent_at_s > breaker.since_s + _SLACK_S:
            self._fail("I-21", f"{attempt.queue}: expected nothing ordinary while open, got {attempt.what.name}")
        # One that never got to the venue, or was given up, gave its place back.
        took_place = attempt.effect is not None and not attempt.given_up
        if ordinary and took_place and breaker.state == "half_open" and attempt.sent_at_s > breaker.since_s:
            breaker.probes += 1
            if breaker.probes > 1:
                self._fail("I-21", f"{attempt.queue}: expected one probe, got {breaker.probes}")
        if attempt.what.kind in (CallKind.FAREWELL, CallKind.STATUS) and breaker.state != "closed":
            return
        if attempt.effect is BreakerEffect.NONE:
            breaker.failed_calls.clear()
        elif attempt.effect is BreakerEffect.FAILURE:
            breaker.failed_calls[attempt.call] = None
            if breaker.state == "closed" and len(breaker.failed_calls) > THRESHOLD + IN_FLIGHT:
                self._fail("I-21", f"{attempt.queue}: still closed after {len(breaker.failed_calls)} failed calls")
        elif attempt.effect is BreakerEffect.RATE_LIMIT:
            breaker.limited_at_s = attempt.ended_at_s

    def _check_budget(self, attempt: Attempt) -> None:
        (self._retries if attempt.retry else self._firsts).append(attempt.sent_at_s)
        begin_s = attempt.sent_at_s - WINDOW_S
        for times in (self._firsts, self._retries):
            while times and times[0] < begin_s - WINDOW_S:
                times.popleft()
        retries = sum(at > begin_s for at in self._retries)
        # Attempts are told when they end: one that began within the window may still be in flight, and counts as first.
        allowed = FREE_RETRIES + RETRY_SHARE * (sum(at >= begin_s for at in self._firsts) + IN_FLIGHT)
        if retries > allowed:
            self._fail("I-25", f"expected at most {allowed:.1f} retries in a minute, got {retries}")

    def _breaker(self, name: str) -> _Breaker:
        return self._breakers.setdefault(name, _Breaker())

    def _fail(self, invariant: str, what: str) -> None:
        self.verdict.fail(invariant, what)
