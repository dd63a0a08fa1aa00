"""Token lifetime against a model that keeps the facts and looks at them anew each time."""

from __future__ import annotations

import random

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kraken_engine.config import TokenSettings
from kraken_engine.control.token_lifetime import Fetch, TokenLifetime
from kraken_engine.secret import Secret


class Highest(random.Random):
    """Draws the highest number each time, so that a model can foretell it."""

    def uniform(self, a: float, b: float) -> float:
        return max(a, b)


@attrs.define
class Held:
    """The token the model believes in."""

    secret: Secret
    asked: int
    life: int


class TokenMachine(RuleBasedStateMachine):
    """Fetches succeed, fail, hang, are cancelled and answered late; sessions take tokens and reject them."""

    @initialize(rejections=st.integers(1, 3))
    def begin(self, rejections: int) -> None:
        self.tokens = TokenLifetime(TokenSettings(rejections=rejections), Highest())
        self.allowed = rejections
        self.now = 0
        self.held: Held | None = None
        self.fetch: Fetch | None = None
        self.old_fetches: list[Fetch] = []
        self.old_tokens: list[Secret] = []
        self.failures = 0
        self.wait_until = 0
        self.rejections = 0
        self.locked_until = 0
        self.issued = 0

    def due(self) -> bool:
        if self.now < self.wait_until or self.now < self.locked_until:
            return False
        if self.held is None:
            return True
        early = min(330.0, self.held.life / 2)
        return self.now >= self.held.asked + self.held.life - early

    def failed(self, pause: int | None = None) -> None:
        if self.fetch is not None:
            self.old_fetches = [*self.old_fetches[-5:], self.fetch]
        self.fetch = None
        self.wait_until = self.now + (min(60, 5 * 2**self.failures) if pause is None else pause)
        self.failures += 1

    @rule(seconds=st.sampled_from([1, 5, 29, 30, 60, 265, 300, 900]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def shell_looks(self) -> None:
        given = self.tokens.begin(now=self.now)
        if self.fetch is not None and self.now >= self.fetch.asked_at + 30:
            self.failed()
        if self.fetch is not None or not self.due():
            assert given is None
        else:
            assert given is not None
            assert given.asked_at == self.now
            self.fetch = given

    @rule(life=st.sampled_from([0, 5, 6, 60, 700, 900, 10_000]), late=st.booleans(), delay=st.integers(0, 20))
    def venue_gives(self, life: int, late: bool, delay: int = 0) -> None:
        self.now += delay
        fetch = self.old_fetches[0] if late and self.old_fetches else self.fetch
        if fetch is None:
            return
        self.issued += 1
        secret = Secret(f"token-{self.issued:08d}")
        self.tokens.fetched(fetch, secret, expires_s=life, now=self.now)
        if fetch is not self.fetch:
            return
        life = min(life, 900)
        if self.now >= fetch.asked_at + life - 5:
            self.failed()
            return
        if self.held is not None:
            self.old_tokens = [*self.old_tokens[-5:], self.held.secret]
        self.held = Held(secret, int(fetch.asked_at), life)
        self.old_fetches = [*self.old_fetches[-5:], fetch]
        self.fetch, self.failures, self.wait_until = None, 0, 0

    @rule(pause=st.sampled_from([None, 0, 15, 300]), late=st.booleans())
    def venue_fails(self, pause: int | None, late: bool) -> None:
        fetch = self.old_fetches[0] if late and self.old_fetches else self.fetch
        if fetch is not None:
            self.tokens.failed(fetch, now=self.now, retry_after_s=pause)
            if fetch is self.fetch:
                self.failed(pause)

    @rule(times=st.integers(2, 6))
    def venue_fails_in_a_row(self, times: int) -> None:
        """Looked at each second, the next fetch begins when its pause is over, and not before."""
        for _ in range(times):
            for _ in range(61):
                self.shell_looks()
                if self.fetch is not None:
                    break
                self.now += 1
            self.venue_fails(None, late=False)

    @rule()
    def venue_refuses_the_key(self) -> None:
        if self.fetch is not None:
            self.tokens.refused(self.fetch, "EGeneral:Permission denied", now=self.now)
            self.fetch = None
            self.locked_until = self.now + 900
            self.rejections = 0

    @rule()
    def shell_is_cancelled(self) -> None:
        if self.fetch is not None:
            self.tokens.cancelled(self.fetch)
            self.old_fetches = [*self.old_fetches[-5:], self.fetch]
            self.fetch = None

    @rule(reporters=st.integers(1, 3))
    def sessions_are_rejected(self, reporters: int) -> None:
        if self.held is None:
            return
        token, self.held = self.held.secret, None
        self.old_tokens = [*self.old_tokens[-5:], token]
        self.rejections += 1
        for _ in range(reporters):
            self.tokens.rejected(token, "ESession:Invalid session", now=self.now)
        if self.rejections == self.allowed:
            self.rejections, self.locked_until = 0, self.now + 900

    @rule()
    def session_works(self) -> None:
        if self.held is not None:
            self.tokens.accepted(self.held.secret)
            self.rejections = 0

    @rule(works=st.booleans())
    def session_of_an_old_token_reports(self, works: bool) -> None:
        for token in self.old_tokens:
            if works:
                self.tokens.accepted(token)
            else:
                self.tokens.rejected(token, "ESession:Invalid session", now=self.now)

    @rule()
    def all_is_well_for_an_hour(self) -> None:
        """A shell that looks when it is told to keeps a token ready, and asks no more often than it must."""
        end, asked = self.now + 3600, 0
        settled = max(self.now + 35, self.wait_until, self.locked_until) + 65
        while self.now < end:
            self.shell_looks()
            if self.fetch is not None and self.fetch.asked_at == self.now:
                asked += 1
                self.venue_gives(900, late=False)
            assert self.now < settled or self.tokens.usable(now=self.now) is not None
            look_at = self.tokens.next_check(now=self.now)
            assert self.now <= look_at <= self.now + 60
            self.now = max(self.now + 1, round(look_at + 0.499))
        assert asked <= 3600 / 570 + 2

    @invariant()
    def same_token_and_same_lock(self) -> None:
        if not hasattr(self, "tokens"):
            return
        usable = self.tokens.usable(now=self.now)
        if self.held is not None and self.now < self.held.asked + self.held.life - 5:
            assert usable is self.held.secret
        else:
            assert usable is None
        assert self.tokens.auth_failed(now=self.now) == (self.now < self.locked_until)


TokenMachine.TestCase.settings = settings(stateful_step_count=30)
TestToken = TokenMachine.TestCase
