"""The limiter against a venue that counts exactly, in fractions, whenever a slow network brings it the call."""

from __future__ import annotations

import copy
from fractions import Fraction

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kraken_engine.control.rest_limits import REST_TIERS, CallCounter


@attrs.define
class Venue:
    """The documented counter: over the limit it refuses, and counts the call all the same."""

    limit: int
    decay_per_s: Fraction
    level: Fraction = Fraction(0)
    at_ms: int = 0

    def stand(self, now_ms: int) -> Fraction:
        return max(Fraction(0), self.level - self.decay_per_s * Fraction(now_ms - self.at_ms, 1000))

    def call(self, cost: int, now_ms: int) -> bool:
        self.level, self.at_ms = self.stand(now_ms) + cost, now_ms
        taken = self.level <= self.limit
        self.level = min(self.level, Fraction(2 * self.limit))
        return taken


TIERS = {"starter": (15, Fraction(33, 100)), "intermediate": (20, Fraction(1, 2)), "pro": (20, Fraction(1))}
COSTS = st.sampled_from([0, 1, 1, 1, 4])
EPSILON = 1e-6


class LimiterMachine(RuleBasedStateMachine):
    """One call at a time over a network with delays; sometimes somebody else uses the key."""

    @initialize(tier=st.sampled_from(sorted(TIERS)), share=st.sampled_from([0.1, 0.5, 0.8, 1.0]), fast=st.booleans())
    def begin(self, tier: str, share: float, fast: bool) -> None:
        limit, decay = TIERS[tier]
        self.venue = Venue(limit, decay)
        self.share = share
        self.fast = fast
        """A network without delays: then the model has to be exact."""
        self.counter = CallCounter(REST_TIERS[tier], buffer=share)
        self.now_ms = 0
        self.surprised = False
        """Somebody else used the key, and no refusal has told us everything yet."""
        self.refused_ms: int | None = None

    @property
    def now(self) -> float:
        return self.now_ms / 1000

    @rule(ms=st.sampled_from([1, 250, 1000, 3000, 30_000, 599_000, 601_000]))
    def time_passes(self, ms: int) -> None:
        self.now_ms += ms

    @rule(cost=COSTS, urgent=st.booleans(), there_ms=st.integers(0, 5000), back_ms=st.integers(0, 5000))
    def call(self, cost: int, urgent: bool, there_ms: int, back_ms: int) -> None:
        wait_s = self.counter.wait_s(cost, now=self.now, urgent=urgent)
        assert wait_s == 0.0 or cost > 0
        if wait_s > 0.0:
            empty_at = self.counter.drained_at(now=self.now)
            assert wait_s <= empty_at - self.now + EPSILON
            future = copy.deepcopy(self.counter)
            if wait_s > 0.01 and future.usable(now=self.now + wait_s / 2) == self.counter.usable(now=self.now):
                assert future.wait_s(cost, now=self.now + wait_s / 2, urgent=urgent) > 0.0
            assert future.wait_s(cost, now=self.now + wait_s, urgent=urgent) == 0.0
            return
        self.counter.spend(cost, now=self.now)
        if not urgent and not self.surprised and cost > 0:
            assert self.counter.level(now=self.now) <= max(self.venue.limit * self.share, cost) + EPSILON
        self.now_ms += 0 if self.fast else there_ms
        taken = cost == 0 or self.venue.call(cost, self.now_ms)
        self.now_ms += 0 if self.fast else back_ms
        if taken:
            self.counter.answered(cost, now=self.now)
        else:
            assert self.surprised, "the venue refused a call that the model let go"
            self.counter.refused(cost, now=self.now)
            self.refused_ms = self.now_ms
            assert self.counter.level(now=self.now) >= self.venue.limit

    @rule(calls=st.integers(1, 40))
    def somebody_else_calls(self, calls: int) -> None:
        self.surprised = True
        for _ in range(calls):
            self.venue.call(1, self.now_ms)

    @invariant()
    def the_model_is_never_below_the_venue(self) -> None:
        if not hasattr(self, "venue"):
            return
        stand, level = float(self.venue.stand(self.now_ms)), self.counter.level(now=self.now)
        if level >= stand:
            self.surprised = False
        if not self.surprised:
            assert level >= stand - EPSILON
            assert stand <= self.venue.limit + EPSILON or self.refused_ms is not None
            if self.fast and self.refused_ms is None:
                assert level - stand <= EPSILON

    @invariant()
    def the_share_in_use_is_bounded_and_comes_back(self) -> None:
        if not hasattr(self, "venue"):
            return
        usable = self.counter.usable(now=self.now) / self.venue.limit
        assert min(self.share, 0.25) - EPSILON <= usable <= self.share + EPSILON
        if self.refused_ms is None or self.now_ms > self.refused_ms + 600_000:
            assert abs(usable - self.share) <= EPSILON


LimiterMachine.TestCase.settings = settings(stateful_step_count=30)
TestLimiter = LimiterMachine.TestCase
