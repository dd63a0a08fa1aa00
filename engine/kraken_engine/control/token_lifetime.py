"""When the token of private connections is fetched anew, and when an account counts as not authenticated.

A token is to be used within 15 minutes of its creation; a connection that subscribed with it may keep it for as long as
it lives (docs "Get Websockets Token"). So the token is only for the *next* connection: it is kept ready, renewed five
minutes before it expires, and no live connection is dropped for the age of its token.

One fetch at a time serves everybody who waits. Its time begins when it was asked for, not when it came.

A session that rejects the token makes it worthless: all who report the same one cause one new fetch. Three tokens
rejected in a row, or a key that the venue does not let have one, and the account is ``auth_failed`` for 15 minutes:
asking on would end in a lockout. Knows nothing of connections, breakers or REST.
"""

from __future__ import annotations

import math
from typing import final

import attrs

from kraken_engine.config import TokenSettings
from kraken_engine.runtime import Rng
from kraken_engine.secret import Secret

__all__ = ["Fetch", "TokenLifetime"]

_LONGEST_LIFE_S = 900.0
"""The venue's promise; no answer is believed to promise more."""
_MARGIN_S = 5.0
"""A token that expires sooner may be too old when it arrives at the venue."""
_MAX_DOUBLINGS = 30


@attrs.frozen
class Fetch:
    """Leave to fetch a token; to be given back with what became of it."""

    number: int
    asked_at: float


@final
@attrs.define
class TokenLifetime:
    """The token of one account. All times are monotonic seconds, and never decrease."""

    settings: TokenSettings
    rng: Rng = attrs.field(repr=False)
    auth_failed_until: float = attrs.field(default=-math.inf, init=False)
    auth_failed_why: str = attrs.field(default="", init=False)
    """Why the account is, or last was, not authenticated."""
    _token: Secret | None = attrs.field(default=None, init=False, repr=False)
    _expires_at: float = attrs.field(default=-math.inf, init=False)
    _refresh_at: float = attrs.field(default=-math.inf, init=False)
    _fetch: Fetch | None = attrs.field(default=None, init=False)
    _fetches: int = attrs.field(default=0, init=False)
    _not_before: float = attrs.field(default=-math.inf, init=False)
    """No fetch before this: the last one failed."""
    _failures: int = attrs.field(default=0, init=False)
    _rejections: int = attrs.field(default=0, init=False)

    def usable(self, *, now: float) -> Secret | None:
        """Return the token to connect with now; None while there is none."""
        return self._token if now < self._expires_at - _MARGIN_S else None

    def auth_failed(self, *, now: float) -> bool:
        """Return whether the venue takes neither the key nor its tokens; nothing is asked meanwhile."""
        return now < self.auth_failed_until

    def begin(self, *, now: float) -> Fetch | None:
        """Ask whether to fetch a token now; whoever gets a :class:`Fetch` has to, and to report on it."""
        if self._fetch is not None:
            if now < self._fetch.asked_at + self.settings.fetch_timeout_s:
                return None
            self._pause(now)  # nobody reported on it
        if now < self._due_at():
            return None
        self._fetches += 1
        self._fetch = Fetch(self._fetches, now)
        return self._fetch

    def fetched(self, fetch: Fetch, token: Secret, *, expires_s: float, now: float) -> None:
        """The venue gave a token that lives for ``expires_s``."""
        life_s = min(expires_s, _LONGEST_LIFE_S)
        if fetch != self._fetch:
            return
        if not now < fetch.asked_at + life_s - _MARGIN_S:
            self._pause(now)
            return
        self._fetch, self._failures, self._not_before = None, 0, -math.inf
        self._token, self._expires_at = token, fetch.asked_at + life_s
        early_s = min(self.settings.refresh_before_s + self.rng.uniform(0.0, self.settings.jitter_s), life_s / 2)
        self._refresh_at = self._expires_at - early_s

    def failed(self, fetch: Fetch, *, now: float, retry_after_s: float | None = None) -> None:
        """The fetch failed, for no fault of the key.

        Args:
            fetch: which one.
            now: monotonic seconds.
            retry_after_s: when the next one makes sense, if that is known (an open breaker knows).
        """
        if fetch == self._fetch:
            self._pause(now, retry_after_s)

    def refused(self, fetch: Fetch, why: str, *, now: float) -> None:
        """The venue does not let this key have a token: a permission is missing, the key is gone or wrong."""
        if fetch == self._fetch:
            self._fetch = None
            self._fail_auth(why, now)

    def cancelled(self, fetch: Fetch) -> None:
        """Nobody waits for this fetch any more: the next one who asks may fetch at once."""
        if fetch == self._fetch:
            self._fetch = None

    def rejected(self, token: Secret, why: str, *, now: float) -> None:
        """A session was refused with ``token``; for one that was replaced meanwhile this means nothing."""
        if self._token is None or self._token != token:
            return
        self._token, self._expires_at, self._refresh_at = None, -math.inf, -math.inf
        self._rejections += 1
        if self._rejections >= self.settings.rejections:
            self._fail_auth(f"{self._rejections} tokens rejected in a row: {why}", now)

    def accepted(self, token: Secret) -> None:
        """A session works with ``token``: rejections before it are forgotten."""
        if self._token is not None and self._token == token:
            self._rejections = 0

    def next_check(self, *, now: float) -> float:
        """Return when to ask :meth:`begin` next, unless somebody reports something before."""
        if self._fetch is not None:
            return max(now, self._fetch.asked_at + self.settings.fetch_timeout_s)
        return max(now, min(self._due_at(), now + self.settings.check_s))

    def _due_at(self) -> float:
        return max(self._refresh_at, self._not_before, self.auth_failed_until)

    def _pause(self, now: float, retry_after_s: float | None = None) -> None:
        self._fetch = None
        if retry_after_s is None:
            bound_s = self.settings.retry_pause_s * 2.0 ** min(self._failures, _MAX_DOUBLINGS)
            bound_s = min(bound_s, self.settings.longest_retry_pause_s)
            retry_after_s = self.rng.uniform(bound_s / 2, bound_s)
        self._failures += 1
        self._not_before = now + retry_after_s

    def _fail_auth(self, why: str, now: float) -> None:
        self.auth_failed_until = now + self.settings.auth_failed_s
        self.auth_failed_why = why
        self._rejections = 0
