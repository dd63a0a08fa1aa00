"""The connections an HTTP pool uses: ours, opened through the runtime.

httpcore's own streams insist on sockets. These stand on any stream, and are opened by
:func:`~kraken_engine.wire.dial.open_stream`, TLS included, so that name look-up, the guard against private addresses,
trust and deadlines are those of every other connection of the engine.

Who keeps a connection must notice that the peer has closed it meanwhile. httpcore asks the operating system for that
before it uses a connection again; here, an unused connection is tried for the end of its stream (see
:meth:`StreamBackend.look_for_dead_streams`), and expires by the runtime's clock. The peer may still close in the very
moment in which a request leaves: whether that was executed, nobody can tell.

Knows nothing of HTTP.
"""

# The signatures are httpcore's.
# ruff: noqa: ARG002

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import Any, final

import attrs
import httpcore
import trio

from kraken_engine.config import WireSettings
from kraken_engine.runtime import Runtime, Stream
from kraken_engine.wire.dial import AddressCache, open_stream
from kraken_engine.wire.endpoints import Endpoint

__all__ = ["PooledStream", "StreamBackend"]

_TURNS = 6
"""Turns of the scheduler in which a receive that need not wait is over."""


@final
@attrs.define(eq=False)
class StreamBackend(httpcore.AsyncNetworkBackend):
    """Where httpcore gets its connections from."""

    runtime: Runtime
    endpoint: Endpoint
    wire: WireSettings
    keepalive_s: float
    opened: int = attrs.field(default=0, init=False)
    _cache: AddressCache = attrs.field(factory=AddressCache, init=False)
    _streams: dict[int, PooledStream] = attrs.field(factory=dict[int, "PooledStream"], init=False)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Open a connection to the endpoint, TLS included. Each step has a deadline of its own.

        Raises:
            ConnectFailed: with the stage; httpcore and httpx pass it on as it is.
        """
        stream = await open_stream(self.runtime, self.endpoint, self.wire, self._cache)
        self.opened += 1
        pooled = PooledStream(backend=self, stream=stream, used_at=self.runtime.clock.now(), number=self.opened)
        self._streams[self.opened] = pooled
        return pooled

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Refuse: this client has one endpoint, and it is none.

        Raises:
            UnsupportedProtocol: always.
        """
        raise httpcore.UnsupportedProtocol(f"no Unix sockets: {path}")

    async def sleep(self, seconds: float) -> None:
        """Sleep by Trio's clock."""
        await trio.sleep(seconds)

    async def look_for_dead_streams(self) -> None:
        """Find out which unused connections their peer has closed meanwhile."""
        for stream in list(self._streams.values()):
            await stream.look()

    def forget(self, stream: PooledStream) -> None:
        """Drop a connection that is closed."""
        self._streams.pop(stream.number, None)


@final
@attrs.define(eq=False)
class PooledStream(httpcore.AsyncNetworkStream):
    """One of our streams as httpcore wants it."""

    backend: StreamBackend
    stream: Stream
    used_at: float
    number: int
    busy: bool = True
    """Between the first byte of a request and the end of its answer."""
    dead: bool = False
    _look: trio.CancelScope | None = None
    _looked: trio.Event = attrs.field(factory=trio.Event)
    _aborted: bool = False
    _early: bytes = b""
    """What a look received that a request had asked for meanwhile."""

    def __repr__(self) -> str:
        # httpcore logs it; what it is made of would be a page of words.
        return f"<PooledStream {self.number} to {self.backend.endpoint}>"

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        """Return the next bytes; the deadline is that of the whole call."""
        if self._aborted:
            raise httpcore.ReadError("given up")
        if self._look is not None:
            self._look.cancel()
            await self._looked.wait()
        if self._early:
            data, self._early = self._early, b""
            return data
        try:
            data = bytes(await self.stream.receive_some(max_bytes))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore.ReadError(str(error.__cause__ or error)) from error
        self.used_at = self.backend.runtime.clock.now()
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Send ``buffer``."""
        if not buffer:
            return
        self.used_at, self.busy = self.backend.runtime.clock.now(), True
        try:
            with trio.fail_after(self.backend.wire.send_timeout_s if timeout is None else timeout):
                await self.stream.send_all(buffer)
        except trio.TooSlowError:
            self.dead = True  # part of the request may have left
            raise httpcore.WriteTimeout("the peer takes nothing") from None
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore.WriteError(str(error.__cause__ or error)) from error

    def abort(self) -> None:
        """Let every further read fail, and never use this connection again."""
        self._aborted = self.dead = True

    async def aclose(self) -> None:
        """Close at once: whoever closes has read what it wanted, or gives up."""
        self.dead = True
        self.backend.forget(self)
        await trio.aclose_forcefully(self.stream)

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        """Return this stream: it was opened with TLS, by :func:`~kraken_engine.wire.dial.open_stream`."""
        return self

    def get_extra_info(self, info: str) -> Any:
        """Tell httpcore whether an unused connection is to be thrown away."""
        if info == "is_readable":
            return self.dead or self.backend.runtime.clock.now() - self.used_at > self.backend.keepalive_s
        return None

    async def look(self) -> None:
        """Note whether the peer has closed, if nobody is using this connection.

        A receive that would have to wait is cancelled at once, which loses nothing (the contract of our streams).
        """
        if self.busy or self.dead or self._look is not None:
            return
        self._looked = trio.Event()
        try:
            async with trio.open_nursery() as nursery:
                self._look = nursery.cancel_scope
                nursery.start_soon(self._receive_unasked)
                for _ in range(_TURNS):
                    if not self.dead:
                        await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
        finally:
            self._look = None
            self._looked.set()

    async def _receive_unasked(self) -> None:
        try:
            data = await self.stream.receive_some(1)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            data = b""
        if self.busy and data:
            self._early = bytes(data)
        else:
            self.dead = True
