"""An HTTP/1.1 server over any byte stream: requests in, answers out, nothing more.

h11 reads and writes the protocol; this module decides how long a client may take, how much it may send, and when a
connection is kept. What a request means is the business of the ``answer`` it is given.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from typing import cast, final
from urllib.parse import parse_qsl

import attrs
import h11
import msgspec
import trio

from kraken_engine.runtime import Stream
from kraken_engine.venue.core.ports import RestRequest, RestResponse

__all__ = ["Answer", "HttpLimits", "HttpServer", "json_response"]

Answer = Callable[[RestRequest], RestResponse]
"""Answers one request at once; what is wrong with the request is part of the answer, never an exception."""


@attrs.frozen(kw_only=True)
class HttpLimits:
    """Bounds of one connection."""

    header_timeout_s: float = 5.0
    """From the connection, or from the first byte of a later request, to the end of its headers."""
    body_timeout_s: float = 10.0
    idle_timeout_s: float = 60.0
    """How long a connection is kept between requests."""
    send_timeout_s: float = 5.0
    close_timeout_s: float = 2.0
    read_bytes: int = 65536
    max_header_bytes: int = 16 * 1024
    max_body_bytes: int = 1024 * 1024
    max_query_fields: int = 100


@final
@attrs.define(eq=False, kw_only=True)
class HttpServer:
    """Serve the HTTP connections of one listener."""

    answer: Answer
    limits: HttpLimits = attrs.field(factory=HttpLimits)
    _in_work: Counter[str] = attrs.field(factory=Counter[str], init=False)
    """Requests that are being answered, by address of the client."""

    async def serve(self, stream: Stream) -> None:
        """Serve one connection until it ends, and close ``stream``; the world's failures are not raised."""
        try:
            with contextlib.suppress(trio.BrokenResourceError, trio.TooSlowError):
                await _Conversation(stream, self.limits, self._in_work).run(self.answer)
        finally:
            # Shielded: a cancellation delivered here would take the place of the error in flight.
            with trio.move_on_after(self.limits.close_timeout_s, shield=True):
                await stream.aclose()


def json_response(status: int, value: object) -> RestResponse:
    """Return ``value`` as a JSON answer."""
    body = msgspec.json.encode(value)
    return RestResponse(status=status, headers={"content-type": "application/json"}, body=body)


class _Refused(Exception):
    """The request cannot be served; say ``why`` with ``status`` and end the connection."""

    def __init__(self, status: int, why: str) -> None:
        self.status = status
        self.why = why
        super().__init__(why)


@final
class _Conversation:
    """The requests of one connection, one after the other."""

    def __init__(self, stream: Stream, limits: HttpLimits, in_work: Counter[str]) -> None:
        self._stream = stream
        self._client = _address(stream)
        self._in_work = in_work
        self._limits = limits
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.max_header_bytes)

    async def run(self, answer: Answer) -> None:
        patience_s = self._limits.header_timeout_s
        try:
            while (head := await self._head(patience_s)) is not None:
                request = self._request(head, await self._body(head))
                if await self._answer(request, answer(request)):
                    return
                if self._http.our_state is h11.MUST_CLOSE:
                    return
                self._http.start_next_cycle()
                patience_s = self._limits.idle_timeout_s
        except _Refused as refused:
            response = json_response(refused.status, {"error": refused.why})
            headers = {**response.headers, "connection": "close"}
            await self._send(attrs.evolve(response, headers=headers), with_body=True)
            await self._read_away()

    async def _answer(self, request: RestRequest, response: RestResponse) -> bool:
        """Send an answer; return whether the connection ends with it."""
        self._in_work[self._client] += 1
        try:
            if response.script is not None:
                await self._play(response.script)
                return True
            await self._send(response, with_body=request.method != "HEAD")
            return False
        finally:
            self._in_work[self._client] -= 1
            if not self._in_work[self._client]:
                del self._in_work[self._client]

    async def _head(self, patience_s: float) -> h11.Request | None:
        """Return the next request without its body, or None when the client is done or stays silent."""
        started = bool(self._http.trailing_data[0])
        with trio.move_on_after(self._limits.header_timeout_s if started else patience_s) as patience:
            while (event := self._next_event()) is h11.NEED_DATA:
                await self._feed()
                if not started:
                    started = True
                    patience.deadline = min(patience.deadline, trio.current_time() + self._limits.header_timeout_s)
            return event if isinstance(event, h11.Request) else None
        if started:
            raise _Refused(408, f"expected the headers within {self._limits.header_timeout_s} s")
        return None

    async def _body(self, head: h11.Request) -> bytes:
        limit = self._limits.max_body_bytes
        for name, value in head.headers:
            if name == b"content-length" and int(value) > limit:
                raise _Refused(413, f"expected a body of at most {limit} bytes, got {int(value)}")
        if self._http.they_are_waiting_for_100_continue:
            await self._send_events([h11.InformationalResponse(status_code=100, headers=[])])
        body = bytearray()
        with trio.move_on_after(self._limits.body_timeout_s):
            while not isinstance(event := self._next_event(), h11.EndOfMessage):
                if isinstance(event, h11.Data):
                    body += event.data
                    if len(body) > limit:
                        raise _Refused(413, f"expected a body of at most {limit} bytes")
                else:
                    await self._feed()
            return bytes(body)
        raise _Refused(408, f"expected the body within {self._limits.body_timeout_s} s")

    def _request(self, head: h11.Request, body: bytes) -> RestRequest:
        path, _, query = head.target.decode("latin-1").partition("?")
        try:
            fields = parse_qsl(query, keep_blank_values=True, max_num_fields=self._limits.max_query_fields)
        except ValueError:
            raise _Refused(400, f"expected at most {self._limits.max_query_fields} query fields") from None
        return RestRequest(
            method=head.method.decode("ascii"),
            path=path,
            query=dict(fields),
            headers={name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers},
            body=body,
            client=self._client,
            concurrent=self._in_work[self._client],
        )

    async def _send(self, response: RestResponse, *, with_body: bool) -> None:
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.items()]
        headers.append((b"content-length", b"%d" % len(response.body)))
        events: list[h11.Event] = [h11.Response(status_code=response.status, headers=headers), h11.EndOfMessage()]
        if with_body:
            events.insert(1, h11.Data(data=response.body))
        await self._send_events(events)

    async def _play(self, script: tuple[bytes | float, ...]) -> None:
        """Send and wait as a script says, until a client leaves that is tired of waiting."""
        for step in script:
            if isinstance(step, bytes):
                with trio.fail_after(self._limits.send_timeout_s):
                    await self._stream.send_all(step)
                continue
            with trio.move_on_after(step):
                while await self._stream.receive_some(self._limits.read_bytes):
                    pass
                return

    async def _send_events(self, events: list[h11.Event]) -> None:
        data = b"".join(self._http.send(event) or b"" for event in events)
        with trio.fail_after(self._limits.send_timeout_s):
            await self._stream.send_all(data)

    def _next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        try:
            return self._http.next_event()
        except h11.RemoteProtocolError as error:
            raise _Refused(error.error_status_hint, str(error)) from None

    async def _feed(self) -> None:
        self._http.receive_data(bytes(await self._stream.receive_some(self._limits.read_bytes)))

    async def _read_away(self) -> None:
        """Let a client that is still sending read our refusal: closing over unread bytes would reset it away."""
        with trio.move_on_after(self._limits.close_timeout_s):
            while await self._stream.receive_some(self._limits.read_bytes):
                pass


def _address(stream: Stream) -> str:
    """Return the address of the other end, where there is one."""
    inner = cast("trio.SSLStream[Stream]", stream).transport_stream if isinstance(stream, trio.SSLStream) else stream
    if isinstance(inner, trio.SocketStream):
        with contextlib.suppress(OSError):  # the client may be gone already
            return str(inner.socket.getpeername()[0])
    return "somebody"
