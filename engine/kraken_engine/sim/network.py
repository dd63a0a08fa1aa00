"""A simulated network: names, addresses, listeners and connections, and the faults of each.

It implements ``runtime.Network`` in virtual time. Which faults happen when is not decided here. What a connection does
to its bytes is in :mod:`~kraken_engine.sim.link`.

A *target* is ``host:port#n`` (one connection), ``host:port`` (all connections to that address, later ones too), or
``*`` (everything, later connections too).
"""

from __future__ import annotations

import enum
import errno
import ipaddress
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any, Literal

import attrs
import trio

from kraken_engine.errors import UsageError
from kraken_engine.runtime import Address, Rng, Stream, seeded_rng
from kraken_engine.sim.link import Conditions, Link, Side, SimStream, changed
from kraken_engine.sim.trace import Trace

__all__ = ["RESOLVE_S", "Dialing", "Resolver", "ResolverFault", "SimListener", "SimNetwork", "accepted_link"]

BACKLOG = 128
"""Connections that may wait for a listener to accept them; further ones are refused."""
FIRST_FREE_PORT = 40_000
RESOLVE_S = 0.002


class Dialing(enum.Enum):
    """What an attempt to connect meets."""

    ACCEPT = None
    REFUSE = errno.ECONNREFUSED
    UNREACHABLE = errno.EHOSTUNREACH
    NO_DESCRIPTORS = errno.EMFILE
    HANG = "hang"
    """No answer at all, until this changes."""


class ResolverFault(enum.Enum):
    """What a name look-up gives instead of the addresses."""

    FAIL = "fail"
    EMPTY = "empty"
    PRIVATE = "private"
    """Loopback and private addresses, as a DNS rebinding attack does."""


@attrs.define(kw_only=True)
class Resolver:
    """The name service: ``names`` to numeric addresses, in order of preference."""

    names: dict[str, tuple[str, ...]] = attrs.field(factory=dict[str, tuple[str, ...]])
    delay_s: float = RESOLVE_S
    """Seconds a look-up takes; infinity for no answer at all."""
    fault: ResolverFault | None = None

    async def resolve(self, host: str) -> Sequence[str]:
        """Return the numeric addresses of ``host``; a numeric one is its own, without a look-up."""
        if _is_numeric(host):
            await trio.lowlevel.checkpoint()
            return [host]
        await trio.sleep(self.delay_s)
        match self.fault:
            case ResolverFault.EMPTY:
                return []
            case ResolverFault.PRIVATE:
                return ["127.0.0.1", "10.0.0.1"]
            case ResolverFault.FAIL:
                raise OSError(errno.EIO, f"{host}: temporary failure in name resolution")
            case None:
                if host not in self.names:
                    raise OSError(errno.ENOENT, f"{host}: name or service not known")
                return self.names[host]


@attrs.define(kw_only=True, eq=False)
class _Route:
    """How one address is reached: the conditions of its next connections, and whether there will be any."""

    label: str
    up: Conditions
    down: Conditions
    dialing: Dialing
    connections: int = 0
    changed: trio.Event = attrs.field(factory=trio.Event)
    """Set, and replaced by a fresh one, when dialling may go differently now."""

    def silent(self) -> bool:
        return self.dialing is Dialing.HANG or self.up.blackhole or self.down.blackhole

    def announce(self) -> None:
        self.changed.set()
        self.changed = trio.Event()


_ACCEPTED: ContextVar[Link | None] = ContextVar("accepted", default=None)


def accepted_link() -> Link | None:
    """Return the connection that the task we are in, or the one that began it, accepted last.

    A server begins one task for each connection right after accepting it, so inside such a task this is its own. So a
    judge finds out which of the server's sessions is which link.
    """
    return _ACCEPTED.get()


class SimListener(trio.abc.Listener[Stream]):
    """A listening socket of a simulated network."""

    def __init__(self, network: SimNetwork, address: Address) -> None:
        self.address = address
        self._network = network
        self._send, self._receive = trio.open_memory_channel[SimStream](BACKLOG)

    def __repr__(self) -> str:
        return f"<SimListener {_label(self.address)}>"

    async def accept(self) -> SimStream:
        """Return the next connection; :func:`accepted_link` tells it to whoever serves it."""
        stream = await self._receive.receive()
        _ACCEPTED.set(stream.link)
        return stream

    async def aclose(self) -> None:
        """Stop listening; connections nobody accepted are reset."""
        self._network.stop_listening(self)
        while self._receive.statistics().current_buffer_used:
            waiting = self._receive.receive_nowait()
            waiting.link.reset()
            await trio.aclose_forcefully(waiting)
        self._send.close()
        self._receive.close()
        await trio.lowlevel.checkpoint()

    def offer(self, stream: SimStream) -> bool:
        """Put a new connection in line; False when the line is full."""
        try:
            self._send.send_nowait(stream)
        except trio.WouldBlock:
            return False
        return True


@attrs.define(kw_only=True, eq=False)
class SimNetwork:
    """A ``runtime.Network`` in virtual time, with every fault of :class:`~kraken_engine.sim.link.Conditions`."""

    _rng: Rng = attrs.field(alias="rng", repr=False)
    """Where all delays and slices come from."""
    _trace: Trace = attrs.field(alias="trace", repr=False)
    conditions: Conditions = attrs.field(factory=Conditions)
    """What connections are like when all is well; :meth:`heal` restores it."""
    resolver: Resolver = attrs.field(factory=Resolver)
    links: dict[str, Link] = attrs.field(factory=dict[str, Link], init=False, repr=False)
    """Live connections by label, oldest first: until both ends were closed."""
    _routes: dict[str, _Route] = attrs.field(factory=dict[str, _Route], init=False, repr=False)
    _listeners: dict[str, SimListener] = attrs.field(factory=dict[str, SimListener], init=False, repr=False)
    _elsewhere: _Route = attrs.field(init=False, repr=False)
    """The model of routes that do not exist yet."""
    _seed: int = attrs.field(init=False, repr=False)
    _next_port: int = attrs.field(default=FIRST_FREE_PORT, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._seed = self._rng.getrandbits(64)
        self._elsewhere = _Route(label="*", up=self.conditions, down=self.conditions, dialing=Dialing.ACCEPT)

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        """Return the addresses of ``host``.

        Raises:
            OSError: unknown name, or the resolver is at fault.
        """
        self._trace("resolve", host)
        return [Address(numeric, port) for numeric in await self.resolver.resolve(host)]

    async def dial(self, address: Address) -> SimStream:
        """Open one connection to ``address``; it takes one round trip.

        Raises:
            OSError: refused, unreachable or out of descriptors.
        """
        label = _label(address)
        route = self._route(label)
        self._trace("dial", label)
        while True:
            while route.silent():
                await route.changed.wait()
            await trio.sleep(route.up.latency_s + route.down.latency_s)
            if not route.silent():
                break
        if isinstance(route.dialing.value, int):
            raise OSError(route.dialing.value, f"{label}: {route.dialing.name.lower()}")
        listener = self._listeners.get(label)
        route.connections += 1
        name = f"{label}#{route.connections}"
        rng = seeded_rng(f"{self._seed}:{name}")
        link = Link.between(name, route.up, route.down, rng=rng, trace=self._trace, closed=self._forget)
        if listener is None or not listener.offer(link.server):
            self._trace("refuse", name)
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"{label}: connection refused")
        self.links[name] = link
        self._trace("connect", name)
        return link.client

    async def listen(self, host: str, port: int) -> tuple[SimListener, Address]:
        """Listen on ``host`` (numeric) and ``port`` (0: any free one) and say where.

        Raises:
            OSError: ``host`` is no numeric address, or the address is taken.
        """
        await trio.lowlevel.checkpoint()
        if not _is_numeric(host):
            raise OSError(errno.EADDRNOTAVAIL, f"{host}: expected a numeric address")
        if not port:
            port, self._next_port = self._next_port, self._next_port + 1
        address = Address(host, port)
        if _label(address) in self._listeners:
            raise OSError(errno.EADDRINUSE, f"{_label(address)}: address already in use")
        listener = self._listeners[_label(address)] = SimListener(self, address)
        return listener, address

    def change(self, target: str, *, direction: Literal["up", "down", "both"] = "both", **changes: Any) -> None:
        """Change some :class:`~kraken_engine.sim.link.Conditions` of ``target``, by field name.

        Raises:
            UsageError: no such target, condition or value.
        """
        for route in self._routes_of(target):
            if direction in ("up", "both"):
                route.up = changed(route.up, changes)
            if direction in ("down", "both"):
                route.down = changed(route.down, changes)
            route.announce()
        for link in self.links_of(target):
            link.change(direction=direction, **changes)

    def dialing(self, target: str) -> Dialing:
        """Return what attempts to connect to an address meet now."""
        return self._route(target).dialing

    def set_dialing(self, target: str, dialing: Dialing) -> None:
        """Let attempts to connect to an address, or to all (``*``), meet ``dialing`` from now on."""
        self._trace("dialing", target, dialing.name)
        for route in self._routes_of(target):
            route.dialing = dialing
            route.announce()

    def take_down(self, target: str) -> None:
        """Reset the connections to an address, or to all (``*``), and refuse new ones."""
        self.set_dialing(target, Dialing.REFUSE)
        self.reset(target)

    def reset(self, target: str, *, in_s: float = 0.0) -> None:
        """Reset the connections of ``target`` ``in_s`` from now."""
        for link in self.links_of(target):
            link.reset(in_s=in_s)

    def heal(self, target: str = "*") -> None:
        """End every fault of ``target``: its conditions, its dialling, with ``*`` the resolver's.

        Forgotten links stay dead.
        """
        well = attrs.asdict(self.conditions)
        self.change(target, **well)
        if "#" not in target:
            self.set_dialing(target, Dialing.ACCEPT)
        if target == "*":
            self.resolver.fault = None
            self.resolver.delay_s = RESOLVE_S

    async def swizzle(self, *, spread_s: float, hold_s: float) -> None:
        """Clog a random half of the links one after the other, and unclog them in another order.

        Args:
            spread_s: longest pause between two links.
            hold_s: how long all of them stay clogged.
        """
        chosen = [link for link in self.links.values() if self._rng.random() < 0.5]
        try:
            for link in chosen:
                link.change(blackhole=True)
                await trio.sleep(self._rng.uniform(0, spread_s))
            await trio.sleep(hold_s)
            self._rng.shuffle(chosen)
            while chosen:
                chosen.pop().change(blackhole=False)
                await trio.sleep(self._rng.uniform(0, spread_s))
        finally:
            for link in chosen:
                link.change(blackhole=False)

    def links_of(self, target: str) -> list[Link]:
        """Return the live connections of ``target``, oldest first."""
        if target == "*":
            return list(self.links.values())
        if "#" in target:
            return [self.links[target]] if target in self.links else []
        return [link for name, link in self.links.items() if name.startswith(f"{target}#")]

    def open_streams(self, side: Side | None = None) -> list[str]:
        """Return the streams nobody closed, as ``host:port#n client`` or ``... server``: what a leak check asks for."""
        return [
            f"{link.label} {stream.side}"
            for link in self.links.values()
            for stream in (link.client, link.server)
            if not stream.closed and side in (None, stream.side)
        ]

    def stop_listening(self, listener: SimListener) -> None:
        """Forget a listener; dialling its address is refused from now on."""
        label = _label(listener.address)
        if self._listeners.get(label) is listener:
            del self._listeners[label]

    def _forget(self, link: Link) -> None:
        self.links.pop(link.label, None)

    def _route(self, label: str) -> _Route:
        if label not in self._routes:
            model = self._elsewhere
            self._routes[label] = _Route(label=label, up=model.up, down=model.down, dialing=model.dialing)
        return self._routes[label]

    def _routes_of(self, target: str) -> list[_Route]:
        if target == "*":
            return [self._elsewhere, *self._routes.values()]
        if "#" in target:
            return []
        host, _, port = target.rpartition(":")
        if not _is_numeric(host.strip("[]")) or not port.isdecimal():
            raise UsageError(f"target: expected '*', 'address:port' or 'address:port#n', got {target!r}")
        return [self._route(target)]


def _label(address: Address) -> str:
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{host}:{address.port}"


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
