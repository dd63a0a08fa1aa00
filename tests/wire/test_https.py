"""HTTP within limits: whatever the other side does, one answer or one kind of error, and no connection left behind."""

from __future__ import annotations

import gzip
import random
import ssl
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
import trustme
from hypothesis import given
from hypothesis import strategies as st
from tests.wire.harness import MemoryNetwork, runtime_on

from kraken_engine.config import RestSettings, WireSettings
from kraken_engine.errors import ConfigError, RestFailed
from kraken_engine.runtime import Address, Stream, real_runtime
from kraken_engine.wire.endpoints import parse_endpoint
from kraken_engine.wire.https import HttpAnswer, HttpClient, open_http

ENDPOINT = parse_endpoint("http://api.venue.test", "http")
SETTINGS = RestSettings(timeout_s=15.0, max_body_bytes=100_000)
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@attrs.define(eq=False)
class Server:
    """Answers each request with the next piece of its script: bytes to send, seconds to sleep, or None to close."""

    script: list[list[bytes | float | None]]
    requests: list[bytes] = attrs.field(factory=list)
    connections: int = 0

    async def serve(self, stream: Stream) -> None:
        self.connections += 1
        buffer = b""
        with trio.CancelScope():
            try:
                while True:
                    while not _is_whole(buffer):
                        data = await stream.receive_some(65536)
                        if not data:
                            return
                        buffer += data
                    self.requests.append(buffer)
                    buffer = b""
                    for step in self.script.pop(0):
                        if isinstance(step, bytes):
                            await stream.send_all(step)
                        elif step is None:
                            return
                        else:
                            await trio.sleep(step)
            except trio.BrokenResourceError:
                return
            finally:
                await trio.aclose_forcefully(stream)


_NOISE = random.Random(1).randbytes(500) * 20
"""Packs to a twentieth."""


def _is_whole(buffer: bytes) -> bool:
    head, found, body = buffer.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(found) and len(body) >= (int(lengths[0].split(b":")[1]) if lengths else 0)


@asynccontextmanager
async def client_of(
    *script: list[bytes | float | None],
    settings: RestSettings = SETTINGS,
    wire: WireSettings | None = None,
    answers: tuple[Address, ...] = (Address("93.184.216.34", 80),),
) -> AsyncGenerator[tuple[HttpClient, Server]]:
    server = Server(list(script))
    async with trio.open_nursery() as nursery:
        network = MemoryNetwork(nursery, server.serve, answers=answers)
        async with open_http(runtime_on(network), ENDPOINT, wire or WireSettings(), settings) as client:
            yield client, server
        nursery.cancel_scope.cancel()


def _packed(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(body) + body


@pytest.mark.parametrize(
    ("headers", "unix_s"),
    [
        ({"date": "Sun, 06 Nov 1994 08:49:37 GMT"}, 784_111_777),
        ({"date": " Sun, 06 Nov 1994 08:49:37 GMT ", "age": "0"}, 784_111_777),
        ({"date": "Sun, 06 Nov 1994 08:49:37 GMT", "age": "12"}, None),  # some cache has kept it
        ({"date": "Sun, 06 Nov 1994 08:49:37 CET"}, None),
        ({"date": "Sunday, 06-Nov-94 08:49:37 GMT"}, None),
        ({"date": "Sun, 31 Feb 1994 08:49:37 GMT"}, None),
        ({"date": "Sun, 06 Nov 1994 25:49:37 GMT"}, None),
        ({"date": "Sun, 06 Nov 0000 08:49:37 GMT"}, None),
        ({"date": "Sun, 06 Xyz 1994 08:49:37 GMT"}, None),
        ({"date": "Sun, \u0660\u0666 Nov 1994 08:49:37 GMT"}, None),
        ({}, None),
    ],
)
def test_the_date_of_an_answer_is_believed_if_it_is_one(headers: dict[str, str], unix_s: int | None) -> None:
    assert HttpAnswer(status=200, headers=headers, body=b"", received_s=0.0).date_unix_s == unix_s


@given(st.text(max_size=40))
def test_no_date_is_too_strange(text: str) -> None:
    answer = HttpAnswer(status=200, headers={"date": text}, body=b"", received_s=0.0)
    assert answer.date_unix_s is None or text.strip().endswith("GMT")


async def test_an_answer_is_its_status_headers_and_body(autojump_clock: trio.testing.MockClock) -> None:
    answer = b"HTTP/1.1 404 Not Found\r\nX-Thing: a\r\nRetry-After: 7\r\ncontent-length: 3\r\n\r\nabc"
    async with client_of([answer]) as (client, server):
        got = await client.request("Time", "GET", "/0/public/Time?a=1", headers={"X-Ours": "b"})
    assert (got.status, got.body, got.headers["x-thing"], got.retry_after_s) == (404, b"abc", "a", 7.0)
    head = server.requests[0].decode().split("\r\n")
    assert head[0] == "GET /0/public/Time?a=1 HTTP/1.1"
    assert {"Host: api.venue.test", "X-Ours: b", "Accept-Encoding: gzip"} <= set(head)
    assert any(line.startswith("User-Agent: kraken-engine/") for line in head)


async def test_what_httpcore_logs_of_a_call_are_a_few_short_lines_without_its_words(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    headers = {"API-Sign": "words of ours"}
    async with client_of([OK]) as (client, _):
        await client.request("Balance", "POST", "/0/private/Balance", headers=headers, body=b"nonce=5")
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("httpcore")]
    assert 5 < len(lines) < 20
    assert max(map(len, lines)) < 200
    assert [line for line in lines if "words of ours" in line or "nonce" in line] == []


async def test_a_body_is_sent_to_the_byte(autojump_clock: trio.testing.MockClock) -> None:
    async with client_of([OK]) as (client, server):
        await client.request("AddOrder", "POST", "/0/private/AddOrder", body=b"nonce=1&a=%2B")
    assert server.requests[0].endswith(b"\r\n\r\nnonce=1&a=%2B")


async def test_a_connection_is_used_again(autojump_clock: trio.testing.MockClock) -> None:
    async with client_of([OK], [OK], [OK]) as (client, server):
        for _ in range(3):
            await client.request("Time", "GET", "/")
    assert (server.connections, client.connections) == (1, 1)


async def test_a_connection_that_the_peer_has_closed_is_not_used_again(autojump_clock: trio.testing.MockClock) -> None:
    async with client_of([OK, None], [OK]) as (client, server):
        await client.request("Time", "GET", "/")
        await trio.sleep(1)
        assert (await client.request("Time", "GET", "/")).body == b"ok"
    assert server.connections == 2


async def test_a_connection_that_sends_unasked_is_not_used_again(autojump_clock: trio.testing.MockClock) -> None:
    async with client_of([OK, 0.5, b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfalse", 99.0], [OK]) as (
        client,
        server,
    ):
        await client.request("Time", "GET", "/")
        await trio.sleep(1)
        assert (await client.request("Time", "GET", "/")).body == b"ok"
    assert server.connections == 2


async def test_a_connection_unused_for_too_long_is_not_used_again(autojump_clock: trio.testing.MockClock) -> None:
    async with client_of([OK], [OK], [OK]) as (client, server):
        await client.request("Time", "GET", "/")
        await trio.sleep(SETTINGS.keepalive_s - 1)
        await client.request("Time", "GET", "/")
        await trio.sleep(SETTINGS.keepalive_s + 1)
        await client.request("Time", "GET", "/")
    assert server.connections == 2


async def test_concurrent_requests_do_not_take_each_others_answers(autojump_clock: trio.testing.MockClock) -> None:
    got: list[bytes] = []

    async def ask(client: HttpClient, pause_s: float) -> None:
        await trio.sleep(pause_s)
        got.append((await client.request("Time", "GET", "/")).body)

    script: list[list[bytes | float | None]] = [[0.25, OK] for _ in range(40)]
    async with client_of(*script) as (client, server), trio.open_nursery() as nursery:
        for n in range(40):
            nursery.start_soon(ask, client, n % 7 / 10)
    assert got == [b"ok"] * 40
    assert server.connections <= SETTINGS.max_connections


@pytest.mark.parametrize(
    ("script", "why", "after_s"),
    [
        ([None], "disconnected", 0.0),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort", None], "complete message body", 0.0),
        ([b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", None], "chunk header", 0.0),
        ([b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab", None], "complete message body", 0.0),
        ([b"\x16\x03\x01 not http\r\n\r\n", None], "status line", 0.0),
        ([b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 50_000, 99.0], "too long", 0.0),
        ([99.0], "no answer within 15 s", 15.0),
        ([b"HTTP/1.1 200 OK\r\n", 99.0], "no answer within 15 s", 15.0),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", *([1.0, b"x"] * 8), 99.0], "no answer within 15 s", 15.0),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 200000\r\n\r\n" + b"x" * 200_000], "at most 100000 bytes", 0.0),
        ([_packed(gzip.compress(_NOISE * 20))], "at most 100000 bytes once unpacked", 0.0),
        ([_packed(zlib.compress(b"abc"))], "broken", 0.0),
        ([_packed(gzip.compress(b"a" * 1000)[:-9])], "cut short", 0.0),
        ([_packed(gzip.compress(b"abc") + b"junk")], "after the end", 0.0),
        ([b"HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ncontent-length: 2\r\n\r\nok"], "got br", 0.0),
    ],
)  # fmt: skip
async def test_what_is_no_whole_answer_is_one_kind_of_error(
    autojump_clock: trio.testing.MockClock, script: list[bytes | float | None], why: str, after_s: float
) -> None:
    async with client_of(script, [OK]) as (client, _):
        begin = trio.current_time()
        with pytest.raises(RestFailed, match=why) as caught:
            await client.request("Balance", "POST", "/0/private/Balance", body=b"nonce=1")
        assert trio.current_time() - begin == pytest.approx(after_s)
        assert caught.value.maybe_executed
        assert caught.value.operation == "Balance"
        assert (await client.request("Time", "GET", "/")).body == b"ok"


async def test_a_bomb_is_stopped_by_its_ratio_before_it_is_large(autojump_clock: trio.testing.MockClock) -> None:
    settings = attrs.evolve(SETTINGS, max_body_bytes=8 * 1024 * 1024)
    async with client_of([_packed(gzip.compress(b"a" * 4_000_000))], settings=settings) as (client, _):
        with pytest.raises(RestFailed, match="at most 100 times"):
            await client.request("Time", "GET", "/")


async def test_a_packed_answer_is_unpacked(autojump_clock: trio.testing.MockClock) -> None:
    body = _NOISE * 5
    async with client_of([_packed(gzip.compress(body))]) as (client, _):
        assert (await client.request("Time", "GET", "/")).body == body


async def test_a_redirect_is_an_answer_and_is_not_followed(autojump_clock: trio.testing.MockClock) -> None:
    answer = b"HTTP/1.1 302 Found\r\nlocation: http://elsewhere.test/\r\nset-cookie: a=b\r\ncontent-length: 0\r\n\r\n"
    async with client_of([answer], [OK]) as (client, server):
        assert (await client.request("Time", "GET", "/")).status == 302
        await client.request("Time", "GET", "/")
    assert b"cookie" not in server.requests[1].lower()


async def test_a_call_that_never_left_was_not_executed(autojump_clock: trio.testing.MockClock) -> None:
    async with client_of([OK], answers=(Address("127.0.0.1", 80),)) as (client, server):
        with pytest.raises(RestFailed, match="not public") as caught:
            await client.request("AddOrder", "POST", "/")
    assert not caught.value.maybe_executed
    assert server.requests == []


async def test_the_deadline_of_a_call_may_be_shorter(autojump_clock: trio.testing.MockClock) -> None:
    async with client_of([99.0]) as (client, _):
        with pytest.raises(RestFailed, match="within 2 s"):
            await client.request("Time", "GET", "/", timeout_s=2.0)
        assert trio.current_time() == pytest.approx(2.0)


async def test_a_cancelled_call_leaves_no_connection_that_could_answer_the_next_one(
    autojump_clock: trio.testing.MockClock,
) -> None:
    late = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate"
    async with client_of([2.0, late], [OK]) as (client, server):
        with trio.move_on_after(1):
            await client.request("Time", "GET", "/")
        await trio.sleep(2)
        assert (await client.request("Time", "GET", "/")).body == b"ok"
    assert server.connections == 2


async def test_an_endpoint_with_a_query_is_a_mistake(autojump_clock: trio.testing.MockClock) -> None:
    endpoint = parse_endpoint("https://api.venue.test/?a=1", "http")
    async with trio.open_nursery() as nursery:
        network = MemoryNetwork(nursery, Server([]).serve)
        with pytest.raises(ConfigError, match="no query"):
            async with open_http(runtime_on(network), endpoint, WireSettings(), SETTINGS):
                pass


@pytest.mark.parametrize("trusted", [True, False])
async def test_over_real_sockets_tls_is_checked(trusted: bool, tmp_path: Path) -> None:
    authority, other = trustme.CA(), trustme.CA()
    ca_file = tmp_path / "ca.pem"
    (authority if trusted else other).cert_pem.write_to_path(str(ca_file))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    server = Server([[OK], [OK]])
    answers: list[HttpAnswer] = []
    failures: list[RestFailed] = []
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            (tcp,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            port = tcp.socket.getsockname()[1]
            nursery.start_soon(trio.serve_listeners, _tolerant(server.serve), [trio.SSLListener(tcp, context)])
            endpoint = parse_endpoint(f"https://localhost:{port}", "http")
            async with open_http(real_runtime(), endpoint, WireSettings(ca_file=str(ca_file)), SETTINGS) as client:
                try:
                    answers += [await client.request("Time", "GET", "/") for _ in range(2)]
                except RestFailed as error:
                    failures.append(error)
            nursery.cancel_scope.cancel()
    assert [answer.body for answer in answers] == ([b"ok", b"ok"] if trusted else [])
    assert [(error.maybe_executed, "certificate" in str(error)) for error in failures] == [(False, True)] * (
        not trusted
    )


def _tolerant(serve: Callable[[Stream], Awaitable[None]]) -> Callable[[Stream], Awaitable[None]]:
    async def run(stream: Stream) -> None:
        try:
            await serve(stream)
        except (trio.BrokenResourceError, ssl.SSLError):
            return

    return run
