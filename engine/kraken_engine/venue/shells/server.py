"""The venue as a running server: listeners, the exchange's clockwork, an orderly end.

The network comes from the runtime, so the same code serves real sockets and memory streams. Decides which port leads
where and in which order things end. What is said on a connection is up to ``websocket`` and ``http``, and what the
exchange does is up to the core.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, cast, final

import attrs
import trio

from kraken_engine.errors import ConfigError, EngineFailed, StartupError
from kraken_engine.runtime import Address, Clock, Listener, Runtime, Stream
from kraken_engine.venue.core.accounts.settings import TEST_ACCOUNT, AccountSettings
from kraken_engine.venue.core.exchange import Exchange
from kraken_engine.venue.core.ports import RestRequest, RestResponse
from kraken_engine.venue.core.rest_gate import PublicPace
from kraken_engine.venue.shells.certificate import Certificate, make_certificate
from kraken_engine.venue.shells.control import ControlPort
from kraken_engine.venue.shells.http import HttpServer
from kraken_engine.venue.shells.websocket import WebSocketServer

__all__ = ["VenueServer", "VenueSettings", "open_venue"]

MAX_CONNECTIONS = 256
"""Connections one listener serves at a time; further ones are closed as they come."""

SHORTEST_PAUSE_S = 0.001
"""The exchange gets a turn at most so often (a client's message aside): what is due sooner goes out together."""

LONGEST_TURN_S = 0.005
"""Market time that one turn may catch up on: a burst much longer would overrun clients that do read."""

GO_AWAY_TIMEOUT_S = 2.5
"""How long WebSocket connections may take to end when the venue does; a little above their own deadline for closing."""


def _loopback(_: Any, attribute: attrs.Attribute[Any], value: str) -> None:
    try:
        loopback = ipaddress.ip_address(value).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ConfigError(f"{attribute.name}: expected a numeric loopback address such as 127.0.0.1, got {value!r}")


def _port(_: Any, attribute: attrs.Attribute[Any], value: int | None) -> None:
    if value is not None and not 0 <= value <= 65535:
        raise ConfigError(f"{attribute.name}: expected a port from 0 to 65535, got {value!r}")


def _positive(_: Any, attribute: attrs.Attribute[Any], value: float) -> None:
    if not 0 < value < math.inf:
        raise ConfigError(f"{attribute.name}: expected a finite number above 0, got {value!r}")


@attrs.frozen(kw_only=True)
class VenueSettings:
    """How to run a simulated venue. It listens on the loopback interface only; port 0 is any free one."""

    host: str = attrs.field(default="127.0.0.1", validator=_loopback)
    ws_port: int = attrs.field(default=0, validator=_port)
    ws_auth_port: int = attrs.field(default=0, validator=_port)
    rest_port: int = attrs.field(default=0, validator=_port)
    control_port: int | None = attrs.field(default=None, validator=_port)
    """Port for faults and the venue's own state; None: no such port."""
    symbols: int = attrs.field(default=5, validator=_positive)
    rate: float = attrs.field(default=50.0, validator=_positive)
    """Messages a second over all symbols."""
    seed: int = 1
    levels: int | None = None
    """Levels a side of every book; None: as many as suit the number of symbols."""
    accounts: tuple[AccountSettings, ...] = (TEST_ACCOUNT,)
    """Its accounts; by default the one whose keys are fixed, for tests."""
    public_pace: PublicPace | None = attrs.field(factory=PublicPace)
    """How often one address may ask REST for public data; None: as often as it likes."""
    tls_dir: str | None = None
    """Where to write a throw-away certificate; None: no TLS. The control port never has it."""


@final
@attrs.frozen(kw_only=True)
class VenueServer:
    """A running venue: where to reach it, and the exchange itself."""

    ws_url: str
    ws_auth_url: str
    rest_url: str
    control_url: str | None
    ca_file: str | None
    """PEM file a TLS client has to trust."""
    exchange: Exchange
    """Its truth is ``exchange.book_state``; faults are applied with ``exchange.faults``."""


@asynccontextmanager
async def open_venue(runtime: Runtime, settings: VenueSettings) -> AsyncGenerator[VenueServer]:
    """Run a simulated venue for as long as the block lasts.

    Leaving the block stops the listeners, closes the WebSockets with 1001 under a deadline, and ends the rest. A
    cancelled block ends at once.

    Raises:
        ConfigError: the certificate of ``tls_dir`` cannot be made.
        StartupError: a port cannot be listened on; every such port is listed.
        EngineFailed: the exchange or a server failed in the background; the body was cancelled.
    """
    tls = None if settings.tls_dir is None else make_certificate(runtime.files, settings.tls_dir, settings.host)
    clock = runtime.clock
    exchange = Exchange(
        settings.seed,
        settings.symbols,
        settings.rate,
        clock.now(),
        clock.wall_ns(),
        levels=settings.levels,
        accounts=settings.accounts,
        public_pace=settings.public_pace,
    )
    market = _Market(exchange, clock)
    public, auth = (
        WebSocketServer(
            routes={"/v2": kind},
            connect=exchange.connect,
            clock=clock,
            nudge=market.nudge,
            refusal=exchange.faults.upgrade_refusal,
        )
        for kind in ("public", "auth")
    )

    def rest(request: RestRequest) -> RestResponse:
        return exchange.rest(request, clock.now())

    doors = await _listen(runtime, settings)
    async with _open_stages([public, auth]) as stages:
        stages.serve(_secured(doors["ws"], tls), public.serve, stages.lines)
        stages.serve(_secured(doors["ws_auth"], tls), auth.serve, stages.lines)
        stages.serve(_secured(doors["rest"], tls), HttpServer(answer=rest).serve, stages.background)
        if (door := doors.get("control")) is not None:
            control = ControlPort(exchange=exchange, hosts=_hosts(door.address), clock=clock, nudge=market.nudge)
            stages.serve(door.listener, HttpServer(answer=control.answer).serve, stages.background)
        stages.background.start_soon(market.run)
        yield VenueServer(
            ws_url=f"ws{'s' if tls else ''}://{_host_port(doors['ws'].address)}/v2",
            ws_auth_url=f"ws{'s' if tls else ''}://{_host_port(doors['ws_auth'].address)}/v2",
            rest_url=f"http{'s' if tls else ''}://{_host_port(doors['rest'].address)}",
            control_url=None if door is None else f"http://{_host_port(door.address)}",
            ca_file=None if tls is None else tls.ca_file,
            exchange=exchange,
        )


@final
@attrs.define(eq=False)
class _Market:
    """The clockwork: gives the exchange its turns."""

    exchange: Exchange
    clock: Clock
    _nudged: trio.Event = attrs.field(factory=trio.Event, init=False)

    def nudge(self) -> None:
        """Have the exchange asked again when it wants its next turn."""
        self._nudged.set()

    async def run(self) -> None:
        """Advance the exchange whenever something is due; never returns.

        One turn covers at most ``LONGEST_TURN_S`` of the market. When that leaves work over, the connections get to
        write, and clients in the same process to read, before the next one.
        """
        while True:
            now = self.clock.now()
            self.exchange.advance(min(now, self.exchange.next_due() + LONGEST_TURN_S))
            pause_s = self.exchange.next_due() - now
            if pause_s <= 0:
                await trio.lowlevel.checkpoint()
                continue
            self._nudged = trio.Event()
            with trio.move_on_after(max(pause_s, SHORTEST_PAUSE_S)):
                await self._nudged.wait()


@attrs.frozen
class _Door:
    listener: Listener
    address: Address


async def _listen(runtime: Runtime, settings: VenueSettings) -> dict[str, _Door]:
    """Open every port that the settings ask for, or none."""
    ports = {"ws": settings.ws_port, "ws_auth": settings.ws_auth_port, "rest": settings.rest_port}
    if settings.control_port is not None:
        ports["control"] = settings.control_port
    doors: dict[str, _Door] = {}
    reasons: list[str] = []
    async with AsyncExitStack() as opened:
        for name, port in ports.items():
            try:
                door = doors[name] = _Door(*await runtime.network.listen(settings.host, port))
            except OSError as error:
                reasons.append(f"{name}_port: cannot listen on {settings.host} port {port}: {error}")
            else:
                opened.push_async_callback(trio.aclose_forcefully, door.listener)
        if not reasons:
            opened.pop_all()
            return doors
    raise StartupError(reasons)


def _secured(door: _Door, tls: Certificate | None) -> Listener:
    if tls is None:
        return door.listener
    # Clients of the real venue end TLS without a farewell, as browsers do: https_compatible.
    return trio.SSLListener(door.listener, tls.context, https_compatible=True)


@final
@attrs.define(eq=False)
class _Stages:
    """The nurseries of a venue, in the order in which they end."""

    accepting: trio.Nursery
    """Listeners: end first, at once."""
    lines: trio.Nursery
    """WebSocket connections: told to close, they end by themselves within a deadline."""
    background: trio.Nursery
    """The market and HTTP conversations: end last, at once."""

    def serve(self, listener: Listener, handler: Callable[[Stream], Awaitable[None]], where: trio.Nursery) -> None:
        """Accept connections of ``listener`` and serve each in ``where``."""
        room = trio.CapacityLimiter(MAX_CONNECTIONS)

        async def bounded(stream: Stream) -> None:
            try:
                room.acquire_on_behalf_of_nowait(stream)
            except trio.WouldBlock:
                await trio.aclose_forcefully(stream)
                return
            try:
                await handler(stream)
            finally:
                room.release_on_behalf_of(stream)

        self.accepting.start_soon(partial(trio.serve_listeners, bounded, [listener], handler_nursery=where))


@asynccontextmanager
async def _open_stages(servers: Sequence[WebSocketServer]) -> AsyncGenerator[_Stages]:
    """Open the nurseries of a venue; the body's errors leave as themselves, those of its tasks as ``EngineFailed``."""
    leaving: BaseException | None = None
    try:
        async with trio.open_nursery() as background:
            async with trio.open_nursery() as lines:
                async with trio.open_nursery() as accepting:
                    try:
                        yield _Stages(accepting, lines, background)
                    except (trio.Cancelled, GeneratorExit) as error:
                        leaving = error
                        raise
                    except BaseException as error:  # noqa: BLE001  # raised again below, after the farewell
                        leaving = error
                    accepting.cancel_scope.cancel()
                for server in servers:
                    server.go_away()
                lines.cancel_scope.deadline = trio.current_time() + GO_AWAY_TIMEOUT_S
            background.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        failed = group.split(trio.Cancelled)[1]
        if failed is None:  # a cancellation from outside: the body's own, or one of ours if that was through
            leaving = leaving or _first(group)
        elif (abrupt := failed.split(Exception)[1]) is not None:  # an interrupt that Trio handed to one of our tasks
            leaving = _first(abrupt)
        else:
            why = _first(failed)
            leaving = EngineFailed(f"the simulated venue failed in the background: {type(why).__name__}: {why}")
            leaving.__cause__ = failed
    # Raised out here: the group must not become the context of an error that has nothing to do with it.
    if leaving is not None:
        raise leaving


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error


def _host_port(address: Address) -> str:
    return f"[{address.host}]:{address.port}" if ":" in address.host else f"{address.host}:{address.port}"


def _hosts(address: Address) -> tuple[str, ...]:
    return (_host_port(address), f"localhost:{address.port}")
