"""A network inside the process: names, listeners and byte streams without sockets, threads or a wall clock.

:class:`MemoryNetwork` is a :class:`~kraken_engine.runtime.Network` like the real one, so whatever listens and dials
through a runtime runs on it unchanged: the same server code, the same bytes, and real backpressure, because every
direction of a stream holds a bounded number of bytes. It knows nothing of the venue or of any protocol.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import itertools
import operator
from collections.abc import Generator, Mapping, Sequence
from typing import final

import attrs
import trio

from kraken_engine.runtime import Address, Listener, Stream

__all__ = ["MemoryNetwork", "MemoryStream", "memory_stream_pair"]

BUFFER_BYTES = 65536
"""Bytes one direction of a stream holds before its sender waits."""

BACKLOG = 128
"""Dialled streams a listener holds unaccepted before further dialling is refused."""

FIRST_FREE_PORT = 49152
"""Where free ports are counted from (RFC 6335: the dynamic range)."""


def memory_stream_pair(buffer_bytes: int = BUFFER_BYTES) -> tuple[MemoryStream, MemoryStream]:
    """Return the two ends of a byte stream that behaves like TCP: ordered, half-closeable, bounded.

    Args:
        buffer_bytes: what each direction holds before ``send_all`` waits; a ``receive_some`` without a limit
            returns all of it at once.
    """
    there, back = _Pipe(buffer_bytes), _Pipe(buffer_bytes)
    return MemoryStream(there, back), MemoryStream(back, there)


@final
class MemoryNetwork:
    """Names, listeners and streams of one process.

    A dialled connection reaches the listener of exactly that address or is refused. Free ports are counted, so the
    same calls in the same order give the same addresses.
    """

    def __init__(self, names: Mapping[str, str] | None = None, *, buffer_bytes: int = BUFFER_BYTES) -> None:
        """Make an empty network.

        Args:
            names: host name to numeric address; ``localhost`` is known without being told.
            buffer_bytes: capacity of each direction of every stream.
        """
        self._names = {"localhost": "127.0.0.1", **(names or {})}
        self._buffer_bytes = buffer_bytes
        self._ports = itertools.count(FIRST_FREE_PORT)
        self._listeners: dict[Address, _MemoryListener] = {}

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        """Return the one address of a known name, or a numeric ``host`` as it is.

        Raises:
            OSError: nobody told this network about ``host``.
        """
        await trio.lowlevel.checkpoint()
        numeric = self._names.get(host, host)
        if not _is_numeric(numeric):
            raise OSError(errno.EADDRNOTAVAIL, f"name {host!r} is not known to the memory network")
        return [Address(numeric, port)]

    async def dial(self, address: Address) -> Stream:
        """Open one connection to a listener of this network.

        Raises:
            ConnectionRefusedError: nobody listens there, or the listener does not keep up with accepting.
        """
        await trio.lowlevel.checkpoint()
        if (listener := self._listeners.get(address)) is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"nobody listens on {address.host}:{address.port}")
        near, far = memory_stream_pair(self._buffer_bytes)
        try:
            listener.backlog.send_nowait(far)
        except trio.WouldBlock:
            why = f"{address.host}:{address.port} has {BACKLOG} connections waiting to be accepted"
            raise ConnectionRefusedError(errno.ECONNREFUSED, why) from None
        return near

    async def listen(self, host: str, port: int) -> tuple[Listener, Address]:
        """Listen on ``host`` (numeric) and ``port`` (0: the next free one).

        Raises:
            OSError: the address is taken, or ``host`` is not numeric.
        """
        await trio.lowlevel.checkpoint()
        if not _is_numeric(host):
            raise OSError(errno.EADDRNOTAVAIL, f"expected a numeric address to listen on, got {host!r}")
        address = Address(host, port or self._free_port(host))
        if address in self._listeners:
            raise OSError(errno.EADDRINUSE, f"{host}:{port} is taken")
        listener = self._listeners[address] = _MemoryListener(self._listeners, address)
        return listener, address

    def _free_port(self, host: str) -> int:
        return next(port for port in self._ports if Address(host, port) not in self._listeners)


@final
class MemoryStream(trio.abc.HalfCloseableStream):
    """One end of :func:`memory_stream_pair`."""

    def __init__(self, outgoing: _Pipe, incoming: _Pipe) -> None:
        self._outgoing = outgoing
        self._incoming = incoming

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send ``data``, waiting while the other end has a full buffer to read."""
        await self._outgoing.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there is room to send something."""
        await self._outgoing.wait_room()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return at least one byte, at most ``max_bytes`` (or all there are); ``b""`` when the other end has ended."""
        return await self._incoming.receive_some(max_bytes)

    async def send_eof(self) -> None:
        """Say that nothing more will be sent; receiving goes on."""
        await self._outgoing.send_eof()

    async def aclose(self) -> None:
        """Close both directions; what was sent before can still be read."""
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Close as :meth:`aclose` does, from synchronous code."""
        self._outgoing.end()
        self._incoming.break_off()


@final
class _MemoryListener(trio.abc.Listener[trio.abc.Stream]):
    """The accepting end of a bounded queue of dialled streams."""

    def __init__(self, registry: dict[Address, _MemoryListener], address: Address) -> None:
        self._registry = registry
        self._address = address
        self.backlog, self._accepted = trio.open_memory_channel[MemoryStream](BACKLOG)

    async def accept(self) -> MemoryStream:
        return await self._accepted.receive()

    async def aclose(self) -> None:
        if self._registry.get(self._address) is self:
            del self._registry[self._address]
            # As a kernel does: whoever was not accepted yet is cut off.
            with contextlib.suppress(trio.WouldBlock):
                while True:
                    self._accepted.receive_nowait().close()
            self._accepted.close()
        await trio.lowlevel.checkpoint()


@final
@attrs.define(eq=False)
class _Pipe:
    """One direction: at most ``capacity`` bytes between one sending and one receiving task.

    At any moment at most one of the two can be waiting (for room, or for bytes), so one place to park is enough.
    """

    capacity: int
    _buffer: bytearray = attrs.field(factory=bytearray, init=False)
    _ended: bool = attrs.field(default=False, init=False)
    _broken: bool = attrs.field(default=False, init=False)
    _sending: bool = attrs.field(default=False, init=False)
    _receiving: bool = attrs.field(default=False, init=False)
    _changed: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with self._only_sender():
            await trio.lowlevel.checkpoint()
            self._check_sendable()
            rest = memoryview(data)
            while rest:
                await self._room()
                taken = self.capacity - len(self._buffer)
                self._buffer += rest[:taken]
                rest = rest[taken:]
                self._changed.unpark_all()

    async def wait_room(self) -> None:
        with self._only_sender():
            await trio.lowlevel.checkpoint()
            await self._room()

    async def send_eof(self) -> None:
        with self._only_sender():
            self.end()
            await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None) -> bytes:
        limit = self.capacity if max_bytes is None else operator.index(max_bytes)
        if limit < 1:
            raise ValueError(f"max_bytes: expected 1 or more, got {max_bytes!r}")
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this stream")
        self._receiving = True
        try:
            await trio.lowlevel.checkpoint()
            while not (self._buffer or self._ended or self._broken):
                await self._changed.park()
        finally:
            self._receiving = False
        if self._broken:
            raise trio.ClosedResourceError("this end of the stream was closed")
        taken = bytes(self._buffer[:limit])
        del self._buffer[:limit]
        self._changed.unpark_all()
        return taken

    def end(self) -> None:
        """Close the sending end."""
        self._ended = True
        self._changed.unpark_all()

    def break_off(self) -> None:
        """Close the receiving end: nothing more can be sent or received."""
        self._broken = True
        self._changed.unpark_all()

    async def _room(self) -> None:
        """Wait until a byte fits; raises as soon as none ever will."""
        self._check_sendable()
        while len(self._buffer) >= self.capacity:
            await self._changed.park()
            self._check_sendable()

    def _check_sendable(self) -> None:
        if self._ended:
            raise trio.ClosedResourceError("this end of the stream was closed")
        if self._broken:
            raise trio.BrokenResourceError("the other end of the stream was closed")

    @contextlib.contextmanager
    def _only_sender(self) -> Generator[None]:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._sending = True
        try:
            yield
        finally:
            self._sending = False


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
