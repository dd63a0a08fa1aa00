"""Rows 18 to 20 of the fault matrix over real sockets: refused, in words that help, and fine once it is right again."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio_websocket
from tests.wire.harness import Received
from tests.wire.test_https import OK, SETTINGS, Server
from tests.wire.tls_edge import CERTIFICATES, Edge, EdgeState

from kraken_engine.config import WireSettings
from kraken_engine.errors import ConnectFailed, RestFailed
from kraken_engine.runtime import Stream, real_runtime
from kraken_engine.wire.endpoints import Endpoint
from kraken_engine.wire.https import open_http
from kraken_engine.wire.websocket import open_websocket

BROKEN = [state for state in EdgeState if state is not EdgeState.GOOD]


@asynccontextmanager
async def edge_on_loopback(
    state: EdgeState, serve: Callable[[Stream], Awaitable[None]], ca_file: Path
) -> AsyncGenerator[tuple[Edge, int, WireSettings]]:
    """Listen on a port of this machine; the settings trust the edge's authority and wait for a third of a second."""
    edge = Edge("localhost", state)
    edge.authority.cert_pem.write_to_path(str(ca_file))
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, lambda stream: edge.accept(stream, serve), [listener])
            yield edge, listener.socket.getsockname()[1], WireSettings(ca_file=str(ca_file), tls_timeout_s=0.3)
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("state", BROKEN)
async def test_fault_18_to_20_a_call_is_refused_with_what_was_expected_and_got(
    state: EdgeState, tmp_path: Path
) -> None:
    server = Server([[OK]])
    async with edge_on_loopback(state, server.serve, tmp_path / "ca.pem") as (edge, port, wire):
        endpoint = Endpoint("localhost", port, "/", tls=True, protocol="http")
        async with open_http(real_runtime(), endpoint, wire, SETTINGS) as client:
            with pytest.raises(RestFailed) as caught:
                await client.request("Time", "GET", "/")
            assert not caught.value.maybe_executed
            assert_helpful(str(caught.value), state, f"https://localhost:{port}")
            assert (server.requests, edge.behind) == ([], 0)
            edge.state = EdgeState.GOOD
            assert (await client.request("Time", "GET", "/")).body == b"ok"


@pytest.mark.parametrize("state", BROKEN)
async def test_fault_18_to_20_a_line_is_refused_with_what_was_expected_and_got(
    state: EdgeState, tmp_path: Path
) -> None:
    async def serve(stream: Stream) -> None:
        async with trio.open_nursery() as nursery:
            request = await trio_websocket.wrap_server_stream(nursery, stream)
            async with await request.accept() as connection:
                await connection.send_message("hello")
                with pytest.raises(trio_websocket.ConnectionClosed):
                    await connection.get_message()

    received, complete = Received(), trio.Event()

    async def deliver(messages: list[bytes], received_s: float) -> None:
        await received(messages, received_s)
        complete.set()

    async with edge_on_loopback(state, serve, tmp_path / "ca.pem") as (edge, port, wire):
        endpoint = Endpoint("localhost", port, "/v2", tls=True)
        with pytest.raises(ConnectFailed) as caught:
            async with open_websocket(real_runtime(), endpoint, wire, deliver):
                pass
        assert caught.value.stage == "tls"
        assert caught.value.retry_floor_s == (30.0 if state in CERTIFICATES else 0.0)
        assert_helpful(str(caught.value), state, f"wss://localhost:{port}/v2")
        assert edge.behind == 0
        edge.state = EdgeState.GOOD
        async with open_websocket(real_runtime(), endpoint, wire, deliver):
            await complete.wait()
    assert received.messages == [b"hello"]


def assert_helpful(text: str, state: EdgeState, where: str) -> None:
    """What, where, expected, got."""
    what, _, got = text.partition(", got")
    assert where in what
    assert "tls failed: expected " in what
    assert state.value in (what if state is EdgeState.STALLS else got)
    if state in CERTIFICATES:
        assert "a certificate of localhost, valid and trusted" in what
    elif state is not EdgeState.STALLS:
        assert "TLS 1.2 or newer" in what
