"""``open_rest``: the REST API as a scope, and its parts: the public one, and one for each account.

::

    open_public_rest()                leaving the block ends everything below it
    ├─ HTTP connections               pooled
    └─ background (nursery)
       ├─ REST queue "public"         breaker, pace and retries inside
       └─ clock watch                 tells when the wall clock was set, or is not the venue's
    open_private_rest()               one for each account
    ├─ HTTP connections               one for each key: nonces must not overtake each other
    └─ background (nursery)
       ├─ REST queue of the key       breaker, counter, nonce order and retries inside
       └─ REST queue of the emergency key, if there is one

The connections outlive the queues, so that a farewell can still be sent while everything else ends.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import final

import attrs

from kraken_engine.codec.signing import check_key
from kraken_engine.config import Config, must_be_config
from kraken_engine.config_rules import is_confidential
from kraken_engine.control.circuit_breaker import CircuitBreaker
from kraken_engine.control.error_actions import ActivateCircuitBreaker, ErrorDesk
from kraken_engine.control.nonce import ClockStepped, NonceSource
from kraken_engine.control.nonce_guide import NonceGuide
from kraken_engine.control.rest_limits import REST_TIERS, CallCounter, PublicPace
from kraken_engine.control.retry_budget import RetryBudget
from kraken_engine.control.retry_pause import RetryPause
from kraken_engine.control.venue_clock import VenueClock
from kraken_engine.errors import ConfigError, UsageError, shown
from kraken_engine.normalise.events import ClockNotice, Notice
from kraken_engine.rest.limits import AddressLimits, KeyLimits, assumed_level
from kraken_engine.rest.private import PrivateRest
from kraken_engine.rest.public import PublicRest
from kraken_engine.rest.queue import RestQueue
from kraken_engine.rest.sending import MemoryMarks, NonceMarks, SignedSender, UnsignedSender
from kraken_engine.runtime import Runtime, real_runtime
from kraken_engine.secret import ApiKey, Secret
from kraken_engine.tasks.clock_watch import run_clock_watch
from kraken_engine.tasks.scope import open_background
from kraken_engine.venue.core.accounts.settings import TEST_KEY, TEST_SECRET
from kraken_engine.venue.shells.memory import MemoryNetwork
from kraken_engine.venue.shells.server import VenueSettings, open_venue
from kraken_engine.wire.endpoints import parse_endpoint
from kraken_engine.wire.https import open_http
from kraken_engine.wire.tls import client_context

__all__ = ["Rest", "keep_unseen", "open_private_rest", "open_public_rest", "open_rest"]

Notify = Callable[[Notice], None]


@final
@attrs.frozen(eq=False)
class Rest:
    """An open REST client; made by :func:`open_rest`."""

    public: PublicRest
    _private: PrivateRest | None = None

    @property
    def private(self) -> PrivateRest:
        """What the key may ask and do.

        Raises:
            UsageError: it was opened without a key.
        """
        if self._private is None:
            raise UsageError("rest: expected a key for private operations, it was opened without one")
        return self._private


@asynccontextmanager
async def open_rest(
    config: Config,
    *,
    runtime: Runtime | None = None,
    key: ApiKey | None = None,
    emergency_key: ApiKey | None = None,
    tier: str = "starter",
    marks: NonceMarks | None = None,
    notify: Notify | None = None,
    desk: ErrorDesk | None = None,
) -> AsyncGenerator[Rest]:
    """Open the REST API of ``config`` for as long as the block lasts; private operations if there is a key.

    Nothing is sent before the first call.

    Args:
        config: The settings; ``Config.simulated()`` brings a venue of its own, and the key of its test account.
        runtime: The world to run in; the real one when not given.
        key: Of the account.
        emergency_key: For cancels alone.
        tier: Of the account: ``starter``, ``intermediate`` or ``pro``.
        marks: Where nonces are remembered beyond this process. Without them they rise with the wall clock alone, which
            is enough only as long as nobody sets it back between two processes.
        notify: Told of changes of the circuit breakers; must not wait.
        desk: Decides about errors and counts them; one of its own when not given.

    Raises:
        UsageError: ``config`` is no Config.
        ConfigError: the settings, or the key, cannot work; or it would be sent over a network in the clear.
        EngineFailed: a background task failed; the body was cancelled.
    """
    must_be_config(config)
    runtime = runtime or real_runtime()
    desk = desk or ErrorDesk()
    async with AsyncExitStack() as stack:
        if config.venue is not None:
            runtime = attrs.evolve(runtime, network=MemoryNetwork())
            simulated = config.venue
            settings = VenueSettings(symbols=simulated.symbols, rate=simulated.rate, seed=simulated.seed)
            venue = await stack.enter_async_context(open_venue(runtime, settings))
            config = attrs.evolve(config, rest=attrs.evolve(config.rest, base_url=venue.rest_url))
            if key is None:
                key, tier = ApiKey(key=Secret(TEST_KEY), secret=Secret(TEST_SECRET)), "intermediate"
        public = await stack.enter_async_context(open_public_rest(config, runtime, notify=notify, desk=desk))
        private: PrivateRest | None = None
        if key is not None:
            private = await stack.enter_async_context(
                open_private_rest(
                    config,
                    runtime,
                    public,
                    key=key,
                    emergency_key=emergency_key,
                    tier=tier,
                    marks=marks,
                    notify=notify,
                    desk=desk,
                )
            )
        yield Rest(public, private)


@asynccontextmanager
async def open_public_rest(
    config: Config, runtime: Runtime, *, notify: Notify | None = None, desk: ErrorDesk | None = None
) -> AsyncGenerator[PublicRest]:
    """Open the public operations for as long as the block lasts; see :func:`open_rest`."""
    endpoint = parse_endpoint(config.rest.base_url, "http")
    if endpoint.tls:
        client_context(config.wire, runtime.files)  # an unusable certificate is a mistake now, not a failing call later
    venue_clock = VenueClock()
    async with open_http(runtime, endpoint, config.wire, config.rest) as http:
        queue = RestQueue(
            "public",
            sender=UnsignedSender(http),
            limits=AddressLimits(PublicPace()),
            breaker=CircuitBreaker(config.breaker),
            budget=RetryBudget(config.retry),
            settings=config.rest,
            clock=runtime.clock,
            venue_clock=venue_clock,
            pauses=RetryPause(config.retry, runtime.fork_rng("rest public")),
            concurrency=config.rest.max_connections,
            notify=notify or _to_nobody,
            desk=desk or ErrorDesk(),
        )
        async with open_background("the public REST API") as nursery:
            await nursery.start(queue.serve_calls)
            nursery.start_soon(run_clock_watch, runtime.clock, venue_clock, config.clock, notify or _to_nobody)
            leave = queue.desk.own(ActivateCircuitBreaker, None, queue.activate_breaker)
            try:
                yield PublicRest(queue, runtime.clock, venue_clock)
            finally:
                leave()


@asynccontextmanager
async def open_private_rest(
    config: Config,
    runtime: Runtime,
    public: PublicRest,
    *,
    key: ApiKey,
    name: str = "main",
    emergency_key: ApiKey | None = None,
    tier: str = "starter",
    marks: NonceMarks | None = None,
    notify: Notify | None = None,
    desk: ErrorDesk | None = None,
) -> AsyncGenerator[PrivateRest]:
    """Open the private operations of one account for as long as the block lasts; see :func:`open_rest`.

    ``name``: of the account, for messages. ``public``: for the venue's tables of names, the budget of retries, and the
    desk of errors when none is given.
    """
    check_key(key)
    keep_unseen(key, config.rest.base_url, f"account {name}")
    if emergency_key is not None:
        check_key(emergency_key)
        keep_unseen(emergency_key, config.rest.base_url, f"account {name} (emergency key)")
        if emergency_key.key == key.key:  # two queues, and with them two sources of nonces, that overtake each other
            raise ConfigError(f"account {name}: expected another key for emergencies, got the ordinary one twice")
    if tier not in REST_TIERS:
        raise ConfigError(f"account {name}: expected a tier of {', '.join(REST_TIERS)}, got {shown(tier)}")
    marks, tell = marks or MemoryMarks(), notify or _to_nobody
    desk = desk or public.desk
    account = name
    endpoint = parse_endpoint(config.rest.base_url, "http")
    async with AsyncExitStack() as stack:

        async def make(name: str, key: ApiKey) -> RestQueue:
            http = await stack.enter_async_context(
                open_http(runtime, endpoint, config.wire, config.rest, max_connections=1)
            )
            mark = await marks.mark(key.fingerprint)
            counter = CallCounter(REST_TIERS[tier], config.rest.rate_limit_buffer)
            if mark:
                # The mark is a little above the last nonce, and that is the time of the last call.
                idle_s = max(0.0, (runtime.clock.wall_ns() - mark) / 1e9)
                now = runtime.clock.now()
                counter.spend(assumed_level(REST_TIERS[tier], config.rest.rate_limit_buffer, idle_s), now=now)
            guide = NonceGuide(NonceSource(mark, config.nonce), public.venue_clock)

            def not_followed(step: ClockStepped) -> None:
                what = f"{name}: nonces do not follow the wall clock, which is {step.by_s:.1f} s ahead of all else"
                tell(ClockNotice(at_s=runtime.clock.now(), what=what, wrong=True, step_s=step.by_s))

            return RestQueue(
                name,
                sender=SignedSender(http, key, guide, marks, runtime.clock, public.time, not_followed),
                limits=KeyLimits(counter),
                breaker=CircuitBreaker(config.breaker),
                budget=public.budget,
                settings=config.rest,
                clock=runtime.clock,
                venue_clock=public.venue_clock,
                pauses=RetryPause(config.retry, runtime.fork_rng(f"rest {name}")),
                concurrency=1,
                notify=tell,
                desk=desk,
                account=account,
            )

        queue = await make(name, key)
        emergency = None if emergency_key is None else await make(f"{name} (emergency key)", emergency_key)
        async with open_background(f"the REST API of account {name}") as nursery:
            await nursery.start(queue.serve_calls)
            if emergency is not None:
                await nursery.start(emergency.serve_calls)
            leave = desk.own(ActivateCircuitBreaker, account, queue.activate_breaker)
            try:
                yield PrivateRest(
                    queue,
                    public,
                    emergency=emergency,
                    allow_add_order=config.rest.allow_add_order,
                    fingerprint=key.fingerprint,
                )
            finally:
                leave()


def keep_unseen(key: ApiKey, url: str, whose: str) -> None:
    """Refuse to send what ``key`` signs, and the tokens it is given, over a network in the clear.

    Simulated venues are reached so; their accounts all have the secret that everybody knows.

    Raises:
        ConfigError: ``url`` is neither encrypted nor on this machine.
    """
    if not is_confidential(url) and key.secret != Secret(TEST_SECRET):
        raise ConfigError(f"{whose}: expected a URL with TLS, or on this machine, for its key, got {shown(url)}")


def _to_nobody(_: Notice) -> None:
    """Tell nobody."""
