"""``open_failover``: watchdog, backup feed and their REST client, around the lines of one market.

::

    open_failover()                 leaving the block ends everything below it
    ├─ public REST                  queue, breaker and pace inside
    └─ background (nursery)
       ├─ failover watchdog         samples in, commands out; never touches a socket
       ├─ backup feed               REST polling while the lines are down
       ├─ probe                     asks REST about streams that say nothing
       └─ verification              compares one stream after the other with REST

Where there is no REST of the same venue, streams just are stale until their line is back.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import final
from urllib.parse import urlsplit

import attrs

from kraken_engine.config import REST_URL, Config
from kraken_engine.control.error_actions import ErrorDesk
from kraken_engine.control.failover import Feeder, Switch
from kraken_engine.control.venue_mode import VenueModes
from kraken_engine.errors import UsageError
from kraken_engine.feed.consistency import Comparison
from kraken_engine.feed.topics import Book, Ticker, Topic
from kraken_engine.rest.public import PublicRest
from kraken_engine.runtime import Runtime
from kraken_engine.tasks.backup_feed import run_backup_feed
from kraken_engine.tasks.consistency import run_probe, run_verification, verify_consistency
from kraken_engine.tasks.continuity import Continuity, FailoverStatistics
from kraken_engine.tasks.rest import open_public_rest
from kraken_engine.tasks.scope import open_background
from kraken_engine.tasks.watchdog import run_watchdog

__all__ = ["Failover", "has_rest", "open_failover"]


@final
class Failover:
    """Which source feeds what, for applications; an open market has one."""

    def __init__(self, continuity: Continuity, rest: PublicRest | None) -> None:
        self._continuity = continuity
        self._rest = rest

    @property
    def modes(self) -> VenueModes:
        """The state of the venue and its markets, and what it means for orders and data."""
        return self._continuity.modes

    def source(self, topic: Topic) -> Feeder:
        """Return who is to feed the stream of ``topic`` now; values say themselves where they come from."""
        return self._continuity.watchdog.feeder(topic.key)

    def switches(self, *, since_s: float = -math.inf, topic: Topic | None = None) -> tuple[Switch, ...]:
        """Return the remembered changes of the source, oldest first.

        Args:
            since_s: only those from this moment on (monotonic).
            topic: only those that concern its stream.
        """
        stream = None if topic is None else topic.key
        return self._continuity.watchdog.history(since_s=since_s, stream=stream)

    def record(self, switch: Switch) -> None:
        """Put a change of the source that an account decided into the history."""
        self._continuity.note(switch)

    async def verify_consistency(self, *topics: Ticker | Book) -> list[Comparison]:
        """Compare what the WebSocket shows with REST: ``topics``, or every ticker and book that somebody reads.

        One question each, at the pace of REST. Streams that are fed by REST, or by nobody, are left out.

        Raises:
            UsageError: there is no REST here.
            EngineError: REST did not answer.
        """
        if self._rest is None:
            raise UsageError("verify_consistency: expected a REST API of the same venue (rest.base_url), there is none")
        keys = [topic.key for topic in topics] if topics else None
        return await verify_consistency(self._continuity, self._rest, keys=keys)

    def statistics(self) -> FailoverStatistics:
        """Return the counters."""
        return self._continuity.statistics()


def has_rest(config: Config) -> bool:
    """Return whether the REST API of ``config`` is of the venue its WebSocket is of, as far as can be told.

    A default that nobody changed is Kraken's; next to another venue's WebSocket it means that nobody thought of it.
    """
    host = urlsplit(config.public_url).hostname or ""
    return config.rest.base_url != REST_URL or host == "kraken.com" or host.endswith(".kraken.com")


@asynccontextmanager
async def open_failover(
    config: Config, runtime: Runtime, continuity: Continuity, *, desk: ErrorDesk | None = None
) -> AsyncGenerator[PublicRest | None]:
    """Open the backup of a market for as long as the block lasts, and return its REST client, if it has one.

    Nothing is sent before the first question.

    Raises:
        ConfigError: the REST settings cannot work.
        EngineFailed: a background task failed; the body was cancelled.
    """
    async with AsyncExitStack() as stack:
        rest: PublicRest | None = None
        if has_rest(config):
            rest = await stack.enter_async_context(
                open_public_rest(config, runtime, notify=continuity.sources.announce_at_once, desk=desk)
            )
        if rest is None or not config.failover.enabled:
            continuity.settings = attrs.evolve(continuity.settings, enabled=False)
        else:
            nursery = await stack.enter_async_context(open_background("the failover"))
            nursery.start_soon(run_watchdog, continuity)
            nursery.start_soon(run_backup_feed, continuity, rest)
            nursery.start_soon(run_probe, continuity, rest)
            if config.failover.verify_every_s > 0.0:
                nursery.start_soon(run_verification, continuity, rest.at_leisure())
        yield rest
