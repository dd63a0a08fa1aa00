"""A TCP proxy over real sockets that can be cut, frozen and mended; it remembers when it last passed a byte on."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import attrs
import trio

__all__ = ["Proxy", "open_proxy"]


@attrs.define(eq=False)
class Proxy:
    """One listening port in front of another."""

    target: tuple[str, int]
    port: int = 0
    last_byte_s: float = 0.0
    """When the last byte went to a client (monotonic)."""
    broken: str | None = None
    """``cut``: connections end, new ones are ended at once; ``frozen``: nothing passes, nothing ends."""
    _open: dict[trio.CancelScope, None] = attrs.field(factory=dict)
    _thawed: trio.Event = attrs.field(factory=trio.Event)

    def cut(self) -> None:
        self.broken = "cut"
        self._end_all()

    def freeze(self) -> None:
        self.broken = "frozen"
        self._thawed = trio.Event()

    def mend(self) -> None:
        """Let new connections through; those of before are gone."""
        self.broken = None
        self._end_all()
        self._thawed.set()

    def _end_all(self) -> None:
        for scope in self._open:
            scope.cancel()

    async def serve(self, client: trio.SocketStream) -> None:
        if self.broken == "cut":
            await trio.aclose_forcefully(client)
            return
        with trio.CancelScope() as own:
            self._open[own] = None
            with suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                async with await trio.open_tcp_stream(*self.target) as server, trio.open_nursery() as nursery:
                    nursery.start_soon(self._pass, client, server, own, False)
                    await self._pass(server, client, own, True)
        del self._open[own]
        await trio.aclose_forcefully(client)

    async def _pass(
        self, source: trio.SocketStream, sink: trio.SocketStream, own: trio.CancelScope, to_client: bool
    ) -> None:
        with suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            async for chunk in source:
                if self.broken == "frozen":
                    await self._thawed.wait()
                await sink.send_all(chunk)
                if to_client:
                    self.last_byte_s = trio.current_time()
        own.cancel()


@asynccontextmanager
async def open_proxy(host: str, port: int) -> AsyncGenerator[Proxy]:
    """Open a proxy in front of ``host:port`` for as long as the block lasts."""
    proxy = Proxy((host, port))
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, proxy.serve, 0)
        proxy.port = listeners[0].socket.getsockname()[1]
        yield proxy
        nursery.cancel_scope.cancel()
