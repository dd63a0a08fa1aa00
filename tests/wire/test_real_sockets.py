"""The same connection over loopback sockets: what streams in memory cannot show."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trio
import trio_websocket
import trustme
from tests.wire.harness import Received

from kraken_engine.config import WireSettings
from kraken_engine.runtime import real_runtime
from kraken_engine.wire.endpoints import Endpoint
from kraken_engine.wire.websocket import open_websocket


@pytest.mark.parametrize("settings", [WireSettings(mode="split"), WireSettings(mode="stock")], ids=["split", "stock"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
async def test_it_works_over_real_sockets(settings: WireSettings, tls: bool, tmp_path: Path) -> None:
    authority, ca_file = trustme.CA(), tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    context = None
    if tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(context)
    sent = [f'{{"n":{i}}}' for i in range(500)]
    heard: list[str | bytes] = []

    async def serve(request: trio_websocket.WebSocketRequest) -> None:
        connection = await request.accept()
        heard.append(await connection.get_message())
        for message in sent:
            await connection.send_message(message)
        with pytest.raises(trio_websocket.ConnectionClosed):
            await connection.get_message()

    received, complete = Received(), trio.Event()

    async def deliver(messages: list[bytes], received_s: float) -> None:
        await received(messages, received_s)
        if len(received.messages) == len(sent):
            complete.set()

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            server = await nursery.start(trio_websocket.serve_websocket, serve, "127.0.0.1", 0, context)
            endpoint = Endpoint("127.0.0.1", server.port, "/v2", tls=tls)
            wire = WireSettings(mode=settings.mode, ca_file=str(ca_file))
            async with open_websocket(real_runtime(), endpoint, wire, deliver) as websocket:
                await websocket.send(b"subscribe")
                await complete.wait()
            nursery.cancel_scope.cancel()
    assert received.messages == [message.encode() for message in sent]
    assert heard == ["subscribe"]
