"""The HTTP server: what it understands, what it refuses, how long it waits. An h11 client over memory streams."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.venue.shells.clients import HttpClient

from kraken_engine.venue.core.ports import RestRequest, RestResponse
from kraken_engine.venue.shells.http import HttpLimits, HttpServer, json_response
from kraken_engine.venue.shells.memory import MemoryStream, memory_stream_pair

Clock = trio.testing.MockClock


@attrs.define
class Conversation:
    client: HttpClient
    stream: MemoryStream
    requests: list[RestRequest]
    done: trio.Event

    async def rest(self) -> bytes:
        """Return everything the server still sends."""
        data = b""
        while more := await self.stream.receive_some():
            data += more
        return data


@asynccontextmanager
async def serving(*, limits: HttpLimits | None = None, buffer_bytes: int = 65536) -> AsyncGenerator[Conversation]:
    """Serve one memory stream; the answer repeats the number of the request and its path."""
    requests: list[RestRequest] = []

    def answer(request: RestRequest) -> RestResponse:
        requests.append(request)
        return json_response(200, {"number": len(requests), "path": request.path})

    near, far = memory_stream_pair(buffer_bytes)
    done = trio.Event()

    async def serve() -> None:
        await HttpServer(answer=answer, limits=limits or HttpLimits()).serve(far)
        done.set()

    with trio.fail_after(3600):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            yield Conversation(HttpClient(near), near, requests, done)
            await near.aclose()
            await done.wait()


async def test_a_request_is_taken_apart_and_answered() -> None:
    async with serving() as http:
        target = "/0/public/Depth?pair=XBTUSD&count=2&pair=ETHUSD&empty=&space=a%20b"
        answer = await http.client.request(target, method="POST", body=b"nonce=1", headers={"API-Key": "k"})
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.json == {"number": 1, "path": "/0/public/Depth"}
        (request,) = http.requests
        assert request.method == "POST"
        assert request.path == "/0/public/Depth"
        assert request.query == {"pair": "ETHUSD", "count": "2", "empty": "", "space": "a b"}
        assert request.headers["api-key"] == "k"
        assert request.body == b"nonce=1"


async def test_a_connection_is_kept_for_the_next_request() -> None:
    async with serving() as http:
        numbers = [(await http.client.request("/x")).json for _ in range(3)]
        assert numbers == [{"number": i, "path": "/x"} for i in (1, 2, 3)]


async def test_requests_sent_ahead_are_answered_in_order() -> None:
    async with serving() as http:
        await http.stream.send_all(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % i for i in range(3)))
        await http.stream.send_eof()
        assert (await http.rest()).count(b"HTTP/1.1 200") == 3
        assert [request.path for request in http.requests] == ["/0", "/1", "/2"]


async def test_a_client_that_wants_to_close_is_closed_after_its_answer() -> None:
    async with serving() as http:
        assert (await http.client.request("/x", headers={"connection": "close"})).status == 200
        assert await http.client.at_end()


async def test_http_1_0_is_answered_and_closed() -> None:
    async with serving() as http:
        await http.stream.send_all(b"GET /x HTTP/1.0\r\n\r\n")
        assert (await http.rest()).startswith(b"HTTP/1.1 200")


async def test_head_gets_the_headers_without_the_body() -> None:
    async with serving() as http:
        await http.stream.send_all(b"HEAD /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        head, _, body = (await http.rest()).partition(b"\r\n\r\n")
        assert b"content-length: 24" in head
        assert body == b""


async def test_a_client_that_asks_whether_to_continue_is_told_to() -> None:
    async with serving() as http:
        await http.stream.send_all(
            b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        )
        assert (await http.stream.receive_some()).startswith(b"HTTP/1.1 100 ")
        await http.stream.send_all(b"body")
        assert (await http.rest()).startswith(b"HTTP/1.1 200 ")
        assert http.requests[0].body == b"body"


@settings(deadline=None, max_examples=50)
@given(cuts=st.lists(st.integers(1, 60), min_size=1, max_size=10), body=st.binary(max_size=100))
async def test_a_request_is_understood_however_its_bytes_are_cut(cuts: list[int], body: bytes) -> None:
    data = b"POST /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    async with serving() as http:
        turn = 0
        while data:
            await http.stream.send_all(data[: cuts[turn % len(cuts)]])
            data = data[cuts[turn % len(cuts)] :]
            turn += 1
        assert (await http.stream.receive_some()).startswith(b"HTTP/1.1 200 ")
        assert http.requests[0].body == body
        assert http.requests[0].query == {"b": "c"}


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET /x HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 20_000, 431),
        (b"GET /x?" + b"&".join(b"%d=1" % i for i in range(101)) + b" HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\n\r\n", 413),
        (b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabc", 400),  # and then the end
    ],
)
async def test_what_cannot_be_served_is_refused_with_a_reason(autojump_clock: Clock, data: bytes, status: int) -> None:
    async with serving() as http:
        await http.stream.send_all(data)
        await http.stream.send_eof()
        head, _, body = (await http.rest()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert b"connection: close" in head.lower()
        assert body.startswith(b'{"error":"')
        assert http.requests == []


async def test_a_chunked_body_beyond_the_limit_is_refused_while_it_comes(autojump_clock: Clock) -> None:
    async with serving(limits=HttpLimits(max_body_bytes=1000)) as http:
        await http.stream.send_all(b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(11):
            await http.stream.send_all(b"64\r\n" + b"x" * 100 + b"\r\n")
        assert (await http.rest()).startswith(b"HTTP/1.1 413 ")


async def test_a_client_still_sending_a_refused_body_can_read_the_refusal(autojump_clock: Clock) -> None:
    async with serving(limits=HttpLimits(max_body_bytes=1000), buffer_bytes=1000) as http:
        answer = await http.client.request("/x", method="POST", body=b"x" * 50_000)
        assert answer.status == 413


async def test_headers_that_do_not_come_end_after_their_deadline(autojump_clock: Clock) -> None:
    async with serving() as http:
        began = trio.current_time()
        for _ in range(4):
            await http.stream.send_all(b"GET"[:1])
            await trio.sleep(1)
        answer = await http.stream.receive_some()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert trio.current_time() - began == pytest.approx(HttpLimits().header_timeout_s)


async def test_a_silent_connection_is_closed_without_a_word(autojump_clock: Clock) -> None:
    async with serving() as http:
        began = trio.current_time()
        assert await http.rest() == b""
        assert trio.current_time() - began == pytest.approx(HttpLimits().header_timeout_s)


async def test_a_kept_connection_may_be_idle_for_longer(autojump_clock: Clock) -> None:
    async with serving() as http:
        await http.client.request("/x")
        await trio.sleep(HttpLimits().idle_timeout_s - 1)
        await http.client.request("/x")
        began = trio.current_time()
        assert await http.rest() == b""
        assert trio.current_time() - began == pytest.approx(HttpLimits().idle_timeout_s)


async def test_a_later_request_too_has_to_be_complete_in_time(autojump_clock: Clock) -> None:
    async with serving() as http:
        await http.client.request("/x")
        await http.stream.send_all(b"GET")
        began = trio.current_time()
        assert (await http.stream.receive_some()).startswith(b"HTTP/1.1 408 ")
        assert trio.current_time() - began == pytest.approx(HttpLimits().header_timeout_s)


async def test_the_start_of_a_request_sent_ahead_counts_as_its_first_byte(autojump_clock: Clock) -> None:
    async with serving() as http:
        began = trio.current_time()
        await http.stream.send_all(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\nGET")
        assert b"HTTP/1.1 408 " in await http.rest()
        assert trio.current_time() - began < HttpLimits().header_timeout_s + HttpLimits().close_timeout_s + 1


async def test_a_body_that_does_not_come_ends_after_its_deadline(autojump_clock: Clock) -> None:
    async with serving() as http:
        await http.stream.send_all(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabc")
        began = trio.current_time()
        assert (await http.stream.receive_some()).startswith(b"HTTP/1.1 408 ")
        assert trio.current_time() - began == pytest.approx(HttpLimits().body_timeout_s)


async def test_a_client_that_does_not_read_its_answer_is_dropped(autojump_clock: Clock) -> None:
    async with serving(buffer_bytes=20) as http:
        await http.stream.send_all(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
        began = trio.current_time()
        await http.done.wait()
        assert trio.current_time() - began == pytest.approx(HttpLimits().send_timeout_s)


async def test_a_client_that_vanishes_is_forgotten() -> None:
    async with serving() as http:
        await http.stream.send_all(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
        await http.stream.aclose()
        await http.done.wait()


async def scripted(*script: bytes | float) -> tuple[bytes, float]:
    """Return what a client gets of an answer with this script, and how long it takes until the connection ends."""
    near, far = memory_stream_pair()
    server = HttpServer(answer=lambda _: RestResponse(status=200, headers={}, body=b"", script=script))
    begun = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve, far)
        await near.send_all(b"GET / HTTP/1.1\r\nhost: venue\r\n\r\n")
        data = b""
        while more := await near.receive_some():
            data += more
        return data, trio.current_time() - begun


async def test_a_script_is_played_to_its_end_and_the_connection_with_it(autojump_clock: Clock) -> None:
    data, took_s = await scripted(b"HTTP/1.1 200 OK\r\n", 3.0, b"\r\nno", 4.5, b" length")
    assert data == b"HTTP/1.1 200 OK\r\n\r\nno length"
    assert took_s == pytest.approx(7.5)
    assert (await scripted(b""))[0] == b""


async def test_a_script_ends_when_the_client_is_tired_of_it(autojump_clock: Clock) -> None:
    near, far = memory_stream_pair()
    server = HttpServer(answer=lambda _: RestResponse(status=200, headers={}, body=b"", script=(3600.0, b"late")))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve, far)
        await near.send_all(b"GET / HTTP/1.1\r\nhost: venue\r\n\r\nGET / HTTP/1.1\r\n")
        await trio.sleep(2.0)
        await near.aclose()
    assert trio.current_time() < 10.0


async def test_a_request_says_how_many_others_of_its_client_are_in_work(autojump_clock: Clock) -> None:
    seen: list[tuple[str, int]] = []

    def answer(request: RestRequest) -> RestResponse:
        seen.append((request.client, request.concurrent))
        return RestResponse(status=200, headers={}, body=b"", script=(10.0,))

    server = HttpServer(answer=answer)
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            near, far = memory_stream_pair()
            nursery.start_soon(server.serve, far)
            await near.send_all(b"GET / HTTP/1.1\r\nhost: venue\r\n\r\n")
            await trio.sleep(1.0)
        await trio.sleep(30.0)
        near, far = memory_stream_pair()
        nursery.start_soon(server.serve, far)
        await near.send_all(b"GET / HTTP/1.1\r\nhost: venue\r\n\r\n")
    assert seen == [("somebody", 0), ("somebody", 1), ("somebody", 2), ("somebody", 0)]
