"""Keeps a token for private WebSocket connections ready, so that a reconnect need not wait for REST.

::

    private line ──get()──▶ ┌────────────┐ ──GetWebSocketsToken──▶ REST queue of the key
                 ◀──token── │ token slot │ ◀──────token──────────
    private line ──rejected/accepted──▶   └────────────┘ ──AuthFailed──▶ notices

One fetch at a time serves everybody who waits. While the circuit breaker is open the fetch stays in the queue, where it
is the first probe to be let through: breaker and token have timers of the same length, and a token that had to wait for
the breaker to close would be too old just then.

When to fetch, and when the account counts as not authenticated, is decided by
:class:`~kraken_engine.control.token_lifetime.TokenLifetime`; this shell asks, waits and tells.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import final

import trio

from kraken_engine.config import Config, TokenSettings
from kraken_engine.control.token_lifetime import Fetch, TokenLifetime
from kraken_engine.errors import AuthRejected, CircuitOpen, EngineError, NotSent, SessionRejected
from kraken_engine.normalise.events import AuthFailed, Notice
from kraken_engine.rest.private import PrivateRest
from kraken_engine.runtime import Clock, Rng, Runtime
from kraken_engine.secret import Secret
from kraken_engine.tasks.scope import open_background

__all__ = ["AuthRefresher", "open_auth_refresher"]


@final
class AuthRefresher:
    """The token of one account, and the task that renews it.

    Args:
        account: its name, for messages.
        rest: where tokens come from.
        settings: when they are renewed.
        clock: the runtime's.
        rng: for jitter.
        notify: told when the account is not authenticated, and when it is again; must not wait.
    """

    def __init__(
        self,
        account: str,
        *,
        rest: PrivateRest,
        settings: TokenSettings,
        clock: Clock,
        rng: Rng,
        notify: Callable[[Notice], None],
    ) -> None:
        self.account = account
        self._rest = rest
        self._settings = settings
        self._clock = clock
        self._notify = notify
        self._lifetime = TokenLifetime(settings, rng)
        self._changed = trio.Event()
        self._wanted = False
        self._alarmed = False

    async def get(self) -> Secret:
        """Return a token to connect with, as soon as there is one. Set a deadline around it.

        Raises:
            AuthRejected: the venue takes neither the key nor its tokens; says for how long nothing is asked.
        """
        if not self._wanted:
            self._wanted = True
            self._wake()
        while True:
            now = self._clock.now()
            token = self._lifetime.usable(now=now)
            if token is not None:
                return token
            if self._lifetime.auth_failed(now=now):
                left_s = self._lifetime.auth_failed_until - now
                raise AuthRejected(
                    "GetWebSocketsToken",
                    self._lifetime.auth_failed_why,
                    retryable=False,
                    action="log_and_continue",
                    retry_after_s=left_s,
                )
            changed = self._changed
            with trio.move_on_after(self._settings.check_s):
                await changed.wait()

    def rejected(self, token: Secret, why: str) -> None:
        """A session was refused with ``token``: the next :meth:`get` brings another one, for all who were refused."""
        self._lifetime.rejected(token, why, now=self._clock.now())
        self._tell()

    def accepted(self, token: Secret) -> None:
        """A session works with ``token``."""
        self._lifetime.accepted(token)

    async def keep_ready(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Renew the token until cancelled. The first one is fetched when somebody wants it, not before."""
        task_status.started()
        while True:
            if not self._wanted:
                await self._wait(self._settings.check_s)
                continue
            now = self._clock.now()
            fetch = self._lifetime.begin(now=now)
            if fetch is not None:
                await self._fetch(fetch)
                self._tell()
            else:
                await self._wait(self._lifetime.next_check(now=now) - now)

    async def _wait(self, seconds: float) -> None:
        changed = self._changed
        with trio.move_on_after(seconds):
            await changed.wait()

    async def _fetch(self, fetch: Fetch) -> None:
        lifetime = self._lifetime
        try:
            # Queueing for the breaker is part of it: whoever leaves the queue in between loses the first place.
            session = await self._rest.websockets_token(timeout_s=self._settings.fetch_timeout_s)
        except CircuitOpen as error:
            lifetime.failed(fetch, now=self._clock.now(), retry_after_s=error.retry_in_s)
        except NotSent:
            # It queued for all its time: back into the queue at once. It was turned away (a disk that saves no nonces,
            # a full queue): that will not be better in this instant.
            now = self._clock.now()
            queued = now >= fetch.asked_at + self._settings.fetch_timeout_s
            lifetime.failed(fetch, now=now, retry_after_s=0.0 if queued else None)
        except AuthRejected as error:
            if isinstance(error, SessionRejected):
                lifetime.failed(fetch, now=self._clock.now())
            else:
                lifetime.refused(fetch, error.words, now=self._clock.now())
        except EngineError:
            lifetime.failed(fetch, now=self._clock.now())
        except BaseException:
            lifetime.cancelled(fetch)
            raise
        else:
            lifetime.fetched(fetch, session.token, expires_s=session.expires_s, now=self._clock.now())

    def _tell(self) -> None:
        """Wake whoever waits, and announce a change of whether the account is authenticated."""
        now = self._clock.now()
        failed = self._lifetime.auth_failed(now=now)
        if failed and not self._alarmed:
            left_s = self._lifetime.auth_failed_until - now
            self._notify(
                AuthFailed(at_s=now, account=self.account, reason=self._lifetime.auth_failed_why, retry_in_s=left_s)
            )
        if failed or self._lifetime.usable(now=now) is not None:
            self._alarmed = failed
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()


@asynccontextmanager
async def open_auth_refresher(
    account: str,
    rest: PrivateRest,
    config: Config,
    runtime: Runtime,
    *,
    notify: Callable[[Notice], None],
) -> AsyncGenerator[AuthRefresher]:
    """Keep a token of ``account`` ready for as long as the block lasts, once somebody wants it.

    Raises:
        EngineFailed: the task failed; the body was cancelled.
    """
    refresher = AuthRefresher(
        account,
        rest=rest,
        settings=config.token,
        clock=runtime.clock,
        rng=runtime.fork_rng(f"token {account}"),
        notify=notify,
    )
    async with open_background(f"the auth refresher of account {account}") as nursery:
        await nursery.start(refresher.keep_ready)
        yield refresher
