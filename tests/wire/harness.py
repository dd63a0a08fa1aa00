"""What the wire tests stand on: a network in memory, and a server that speaks raw bytes."""

from __future__ import annotations

import base64
import hashlib
import random
import struct
from collections.abc import Awaitable, Callable, Sequence

import attrs
import trio
import trio.testing

from kraken_engine.config import WireSettings
from kraken_engine.runtime import Address, Listener, Runtime, Stream, real_runtime
from kraken_engine.wire.endpoints import Endpoint, parse_endpoint
from kraken_engine.wire.websocket import WebSocket, open_websocket

Serve = Callable[[Stream], Awaitable[None]]

PLAIN = parse_endpoint("ws://venue.test/v2")
SECURE = parse_endpoint("wss://venue.test/v2")
PUBLIC = Address("93.184.216.34", 80)

CLOSE, PING, PONG = 0x88, 0x89, 0x8A


class VirtualClock:
    def now(self) -> float:
        return trio.current_time()

    def wall_ns(self) -> int:
        return 1_795_305_600 * 10**9  # 2026-11-22 00:00:00 UTC

    def cpu_s(self) -> float:
        return 0.0


@attrs.define(eq=False)
class MemoryNetwork:
    """Every dial ends in ``serve``, over in-memory streams."""

    nursery: trio.Nursery
    serve: Serve
    answers: Sequence[Address] = (PUBLIC,)
    lockstep: bool = False
    """Sends wait until the peer reads."""
    dialled: list[Address] = attrs.field(factory=list)

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        await trio.lowlevel.checkpoint()
        return self.answers

    async def dial(self, address: Address) -> Stream:
        await trio.lowlevel.checkpoint()
        self.dialled.append(address)
        make = trio.testing.lockstep_stream_pair if self.lockstep else trio.testing.memory_stream_pair
        ours, theirs = make()
        self.nursery.start_soon(self.serve, theirs)
        return ours

    async def listen(self, host: str, port: int) -> tuple[Listener, Address]:
        raise OSError("nothing listens here")


def runtime_on(network: MemoryNetwork) -> Runtime:
    return Runtime(clock=VirtualClock(), network=network, files=real_runtime().files, rng=random.Random(1))


def frame(payload: bytes, first: int = 0x81) -> bytes:
    """One frame as a server sends it."""
    n = len(payload)
    if n < 126:
        return bytes((first, n)) + payload
    return (struct.pack("!BBH", first, 126, n) if n < 65536 else struct.pack("!BBQ", first, 127, n)) + payload


def close(code: int = 1000, reason: bytes = b"") -> bytes:
    return frame(struct.pack("!H", code) + reason, CLOSE)


class ClientLeft(Exception):
    """The client closed before its request was complete."""


async def read_request(stream: Stream) -> bytes:
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        data = await stream.receive_some(65536)
        if not data:
            raise ClientLeft
        request += data
    return request


def reply(request: bytes, extra: bytes = b"") -> bytes:
    (key,) = [line.split(b": ")[1] for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:")]
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
    return head + base64.b64encode(digest) + b"\r\n" + extra + b"\r\n"


async def accept(stream: Stream) -> None:
    await stream.send_all(reply(await read_request(stream)))


@attrs.define
class ClientFrames:
    """The frames a client sent, unmasked."""

    stream: Stream
    buffer: bytes = b""

    async def next(self) -> tuple[int, bytes] | None:
        while True:
            if len(self.buffer) >= 2:
                size, start = self.buffer[1] & 127, 2
                if size == 126:
                    size, start = int.from_bytes(self.buffer[2:4], "big"), 4
                elif size == 127:
                    size, start = int.from_bytes(self.buffer[2:10], "big"), 10
                if len(self.buffer) >= start + 4 + size:
                    assert self.buffer[1] & 128, "a client masks its frames"
                    key = self.buffer[start : start + 4]
                    masked = self.buffer[start + 4 : start + 4 + size]
                    first, self.buffer = self.buffer[0], self.buffer[start + 4 + size :]
                    return first, bytes(byte ^ key[i % 4] for i, byte in enumerate(masked))
            try:
                data = await self.stream.receive_some(65536)
            except trio.BrokenResourceError:
                return None
            if not data:
                return None
            self.buffer += data

    async def all(self) -> list[tuple[int, bytes]]:
        frames = []
        while (found := await self.next()) is not None:
            frames.append(found)
        return frames


@attrs.define
class Received:
    """A ``deliver`` that keeps what it gets."""

    batches: list[list[bytes]] = attrs.field(factory=list)
    stamps: list[float] = attrs.field(factory=list)

    async def __call__(self, messages: list[bytes], received_s: float) -> None:
        await trio.lowlevel.checkpoint()
        self.batches.append(messages)
        self.stamps.append(received_s)

    @property
    def messages(self) -> list[bytes]:
        return [message for batch in self.batches for message in batch]


async def opened(
    serve: Serve,
    body: Callable[[WebSocket], Awaitable[None]],
    *,
    deliver: Callable[[list[bytes], float], Awaitable[None]] | None = None,
    settings: WireSettings | None = None,
    endpoint: Endpoint = PLAIN,
    lockstep: bool = False,
) -> None:
    """Open a WebSocket to ``serve`` and run ``body`` on it; exceptions leave as they came."""
    raised: BaseException | None = None
    async with trio.open_nursery() as nursery:
        network = MemoryNetwork(nursery, serve, lockstep=lockstep)
        try:
            async with open_websocket(
                runtime_on(network), endpoint, settings or WireSettings(), deliver or Received()
            ) as websocket:
                await body(websocket)
        except trio.Cancelled:
            raise
        except BaseException as error:  # noqa: BLE001 - raised below, outside the nursery that would wrap it
            raised = error
        nursery.cancel_scope.cancel()
    if raised is not None:
        raise raised
