"""HTTP for the REST API: one request out, one answer in, within limits; every failure is one kind of error.

httpx keeps connections and speaks HTTP/1.1. What it stands on is ours: connections come about like those of a WebSocket
(:mod:`~kraken_engine.wire.dial`: the same look-up, the same guard, the same TLS), so that it runs over sockets and in a
simulation alike. It is used below its client, at its transport: no redirects, no cookies, no proxies of the
environment, no ``.netrc``.

Limits: one deadline over everything beside those of each step, header bytes (httpcore's 100 kB), body bytes as they
come and as they are unpacked, and how many times longer a packed body becomes: gzip is inflated step by step, so that
no bomb is ever held whole.

Knows nothing of the venue, of keys, or of which calls may be repeated.
"""

from __future__ import annotations

import re
import ssl
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, final

import attrs
import httpcore
import httpx
import trio

from kraken_engine.config import RestSettings, WireSettings
from kraken_engine.errors import ConfigError, LineError, RestFailed
from kraken_engine.runtime import Runtime
from kraken_engine.wire.endpoints import Endpoint
from kraken_engine.wire.http_streams import StreamBackend

__all__ = ["HttpAnswer", "HttpClient", "open_http"]

USER_AGENT = "kraken-engine/0.1 (Trio)"
"""The venue asks for one (docs "Spot REST Introduction")."""

_CHUNK_BYTES = 65536
_MOST_RETRY_AFTER_S = 900.0


@attrs.frozen(kw_only=True)
class HttpAnswer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """By name in lower case; of equal names the last."""
    body: bytes = attrs.field(repr=False)
    """Unpacked."""
    received_s: float
    """Monotonic seconds at which the last byte was there."""
    took_s: float = 0.0
    """Seconds since the request was handed over, connecting included."""

    @property
    def date_unix_s(self) -> int | None:
        """Whole seconds since 1970 by the sender's clock (``Date``); None if it does not say, or nonsense.

        None, too, for what some cache has kept for a while (``Age``): that has the date of the first answer.
        """
        return _unix_seconds(self.headers.get("date", "")) if self.headers.get("age", "0").strip() == "0" else None

    @property
    def retry_after_s(self) -> float:
        """How long the answer asks to wait, in seconds; 0 when it does not, or names a date."""
        text = self.headers.get("retry-after", "").strip()
        return min(float(text), _MOST_RETRY_AFTER_S) if text.isascii() and text.isdigit() and len(text) < 8 else 0.0


@final
class HttpClient:
    """Connections to one endpoint; made by :func:`open_http`."""

    def __init__(self, endpoint: Endpoint, transport: _Transport, runtime: Runtime, settings: RestSettings) -> None:
        self.endpoint = endpoint
        self._transport = transport
        self._runtime = runtime
        self._settings = settings

    @property
    def connections(self) -> int:
        """How many connections were opened so far."""
        return self._transport.backend.opened

    async def request(
        self,
        what: str,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout_s: float | None = None,
    ) -> HttpAnswer:
        """Send one request and return its answer, whatever its status is.

        Args:
            what: name of the call, for messages.
            method: ``GET`` or ``POST``.
            target: path and query, beginning with ``/``.
            headers: beside those every request has.
            body: sent as it is.
            timeout_s: over everything, from now; the settings' when not given.

        Raises:
            RestFailed: no whole answer came; ``maybe_executed`` is False only if not a byte was sent.
        """
        limit_s = self._settings.timeout_s if timeout_s is None else timeout_s
        progress = _Progress()
        request = httpx.Request(
            method,
            f"{self.endpoint.url.rstrip('/')}{target}",
            headers=[
                ("Host", self.endpoint.authority),
                *_COMMON_HEADERS,
                *(headers or {}).items(),
                *([("Content-Length", str(len(body)))] if method == "POST" else []),
            ],
            stream=_Content(body),
            extensions={"trace": progress.note},
        )
        del headers, body  # a traceback with locals would show them
        try:
            with trio.fail_after(max(0.0, limit_s)):
                return await self._exchange(what, request)
        except trio.TooSlowError:
            why = f"no answer within {limit_s:g} s"
        except LineError as error:
            why = str(error)
        except httpx.TransportError as error:
            why = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise RestFailed(what, why, maybe_executed=progress.began)

    async def _exchange(self, what: str, request: httpx.Request) -> HttpAnswer:
        backend = self._transport.backend
        began_s = self._runtime.clock.now()
        await backend.look_for_dead_streams()
        response = await self._transport.handle_async_request(request)
        try:
            body = await self._read_body(what, response)
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + backend.wire.close_timeout_s):
                await response.aclose()
        response.extensions["network_stream"].busy = False
        received_s = self._runtime.clock.now()
        return HttpAnswer(
            status=response.status_code,
            headers={name.lower(): value for name, value in response.headers.items()},
            body=body,
            received_s=received_s,
            took_s=received_s - began_s,
        )

    async def _read_body(self, what: str, response: httpx.Response) -> bytes:
        packing = response.headers.get("content-encoding", "identity").strip().lower()
        if packing not in _PACKINGS:
            why = f"expected gzip or no packing, got {packing}"
            raise RestFailed(what, why, maybe_executed=True, status=response.status_code)
        body = _Body(self._settings.max_body_bytes, self._settings.max_inflation, packed=packing != "identity")
        problem: str | None = None
        try:
            async for chunk in response.aiter_raw():
                problem = problem or body.feed(chunk)
                if problem is not None:
                    # Not left here and now: of the generators inside each other, only the outermost would be closed.
                    response.extensions["network_stream"].abort()
        except httpx.TransportError:
            if problem is None:
                raise
        if problem is None and not body.whole:
            problem = "the packed body is cut short"
        if problem is not None:
            raise RestFailed(what, problem, maybe_executed=True, status=response.status_code)
        return bytes(body.data)


@asynccontextmanager
async def open_http(
    runtime: Runtime,
    endpoint: Endpoint,
    wire: WireSettings,
    settings: RestSettings,
    *,
    max_connections: int | None = None,
) -> AsyncGenerator[HttpClient]:
    """Open a client of ``endpoint`` (with the protocol ``http``) for as long as the block lasts.

    No connection is made before the first request, and none is left afterwards.

    Args:
        runtime: the network to dial through.
        endpoint: where the API is.
        wire: deadlines and trust of a connection.
        settings: limits of a call.
        max_connections: the settings' when not given; signed calls of a key must have 1, or nonces overtake each
            other.

    Raises:
        ConfigError: the endpoint has a query.
    """
    if "?" in endpoint.path:
        raise ConfigError(f"url {endpoint}: expected no query")
    backend = StreamBackend(runtime=runtime, endpoint=endpoint, wire=wire, keepalive_s=settings.keepalive_s)
    transport = _Transport(backend, settings.max_connections if max_connections is None else max_connections)
    try:
        yield HttpClient(endpoint, transport, runtime, settings)
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + wire.close_timeout_s):
            await transport.aclose()


_COMMON_HEADERS = (
    ("User-Agent", USER_AGENT),
    ("Accept", "application/json"),
    ("Accept-Encoding", "gzip"),
)
_PACKINGS = ("identity", "gzip", "x-gzip", "")


@final
class _Content(httpx.AsyncByteStream):
    """A request's body. httpx's own is an async generator, which a cancelled request would leave half done."""

    def __init__(self, body: bytes) -> None:
        self._left = [body] if body else []

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()


@attrs.define(eq=False)
class _Progress:
    """How far one request got; httpcore tells its ``trace``."""

    began: bool = False
    """Whether its first byte may have left."""

    async def note(self, event: str, info: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Take note of ``event``; ``info`` has headers in it and is left alone."""
        self.began = self.began or event.endswith("send_request_headers.started")


@attrs.define(eq=False)
class _Body:
    """A body as it grows, unpacked step by step."""

    max_bytes: int
    max_inflation: int
    packed: bool
    data: bytearray = attrs.field(factory=bytearray, init=False)
    _came: int = attrs.field(default=0, init=False)
    _inflate: Any = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)

    @property
    def whole(self) -> bool:
        """Whether a packed body came to its own end."""
        return not self.packed or self._inflate.eof or self._came == 0

    def feed(self, chunk: bytes) -> str | None:
        """Take the next bytes; return what is wrong, or None."""
        self._came += len(chunk)
        if self._came > self.max_bytes:
            return f"expected a body of at most {self.max_bytes} bytes, got more"
        if not self.packed:
            self.data += chunk
            return None
        rest = chunk
        while rest and not self._inflate.eof:
            try:
                piece = self._inflate.decompress(rest, _CHUNK_BYTES)
            except zlib.error as error:
                return f"the packed body is broken: {error}"
            self.data += piece
            rest = self._inflate.unconsumed_tail
            if len(self.data) > self.max_bytes:
                return f"expected a body of at most {self.max_bytes} bytes once unpacked, got more"
            if len(self.data) > self._came * self.max_inflation:
                return f"expected a body that unpacks to at most {self.max_inflation} times its length, got more"
        return "bytes after the end of the packed body" if rest or self._inflate.unused_data else None


@final
class _Transport(httpx.AsyncHTTPTransport):
    """httpx on a pool whose connections are ours."""

    def __init__(self, backend: StreamBackend, max_connections: int) -> None:
        # Both contexts stay unused: the backend's streams are secured already when the pool gets them.
        super().__init__(verify=_unused_context(), trust_env=False)
        self.backend = backend
        # No expiry here: httpcore's would go by real time. The backend expires connections by the runtime's clock.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=_unused_context(),
            max_connections=max_connections,
            max_keepalive_connections=max_connections,
            keepalive_expiry=None,
            network_backend=backend,
        )


def _unix_seconds(text: str) -> int | None:
    """Return the time in ``Sun, 06 Nov 1994 08:49:37 GMT`` (RFC 9110, 5.6.7: the one form that is still sent)."""
    found = _DATE.fullmatch(text.strip())
    if found is None or found["month"] not in _MONTHS:
        return None
    month = _MONTHS.index(found["month"]) + 1
    day, year, hour, minute, second = (int(found[part]) for part in ("day", "year", "hour", "minute", "second"))
    try:
        return int(datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp())
    except ValueError:
        return None


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DATE = re.compile(
    r"[A-Z][a-z]{2}, (?P<day>[0-9]{2}) (?P<month>[A-Z][a-z]{2}) (?P<year>[0-9]{4}) "
    r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2}) GMT"
)


def _unused_context() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
