"""What each kind of fault does to a world: the hooks behind the names of the catalogue.

A hook begins its fault, notes that it hit, waits until it is over and puts things back. A fault that finds nothing to
hit (no connection, say) does nothing and is not counted. Targets count round what there is at that moment: connections
of the engine, sessions of the venue, symbols. Knows nothing of when faults come, and judges nothing.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal

import trio

from kraken_engine.errors import UsageError
from kraken_engine.sim.catalogue import CATALOGUE
from kraken_engine.sim.link import Link
from kraken_engine.sim.network import RESOLVE_S, Dialing, ResolverFault
from kraken_engine.sim.plan import Apply, Fault
from kraken_engine.sim.world import Corrupted, World

__all__ = ["FAULTS", "LASTS_S", "Hook"]

Hook = Callable[[World, Fault], Awaitable[None]]
"""What a kind of fault does to a world."""

LASTS_S: Final = "for_s"
"""The parameter that says how long a fault lasts; it is never one of the venue's own commands."""


def _number(fault: Fault, name: str) -> float:
    value = fault.params.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise UsageError(f"{fault.kind}: {name}: expected a number, got {value!r}")
    return float(value)


async def _last(fault: Fault) -> None:
    await trio.sleep(max(0.0, _number(fault, LASTS_S)))


# -- the network


def _dialing(meets: Dialing) -> Hook:
    async def apply(world: World, fault: Fault) -> None:
        world.hit(fault)
        world.network.set_dialing(world.venue_address, meets)
        try:
            await _last(fault)
        finally:
            world.network.set_dialing(world.venue_address, Dialing.ACCEPT)

    return apply


def _resolver(meets: ResolverFault) -> Hook:
    async def apply(world: World, fault: Fault) -> None:
        world.hit(fault)
        world.network.resolver.fault = meets
        try:
            await _last(fault)
        finally:
            world.network.resolver.fault = None

    return apply


async def _resolver_slow(world: World, fault: Fault) -> None:
    world.hit(fault)
    world.network.resolver.delay_s = _number(fault, "delay_s")
    try:
        await _last(fault)
    finally:
        world.network.resolver.delay_s = RESOLVE_S


def _link(world: World, fault: Fault) -> Link | None:
    links = world.engine_links()
    return links[fault.target % len(links)] if links else None


def _once(act: Callable[[Link, Fault], None]) -> Hook:
    async def apply(world: World, fault: Fault) -> None:
        link = _link(world, fault)
        if link is not None:
            world.hit(fault, link.label)
            act(link, fault)
        await trio.lowlevel.checkpoint()

    return apply


def _while(*names: str, direction: Literal["up", "down", "both"] = "both", **fixed: Any) -> Hook:
    """Return a hook that sets conditions of one link for a time: those called ``names`` come from the plan."""

    async def apply(world: World, fault: Fault) -> None:
        link = _link(world, fault)
        if link is None:
            return
        changes: dict[str, Any] = {name: _number(fault, name) for name in names} | fixed
        if "slice_bytes" in changes:
            changes["slice_bytes"] = int(changes["slice_bytes"])
        well = {name: getattr(world.network.conditions, name) for name in changes}
        world.hit(fault, link.label)
        link.change(direction=direction, **changes)
        try:
            await _last(fault)
        finally:
            link.change(direction=direction, **well)

    return apply


def _limit(link: Link, fault: Fault) -> None:
    link.change(direction="down", limit_bytes=int(_number(fault, "limit_bytes")))


async def _down(world: World, fault: Fault) -> None:
    world.hit(fault)
    world.network.take_down(world.venue_address)
    try:
        await _last(fault)
    finally:
        world.network.set_dialing(world.venue_address, Dialing.ACCEPT)


async def _flap(world: World, fault: Fault) -> None:
    world.hit(fault)
    half_s = max(0.1, _number(fault, "period_s") / 2)
    with trio.move_on_after(max(0.0, _number(fault, LASTS_S))):
        try:
            while True:
                world.network.take_down(world.venue_address)
                await trio.sleep(half_s)
                world.network.set_dialing(world.venue_address, Dialing.ACCEPT)
                await trio.sleep(half_s)
        finally:
            world.network.set_dialing(world.venue_address, Dialing.ACCEPT)


async def _swizzle(world: World, fault: Fault) -> None:
    if world.engine_links():
        world.hit(fault)
        await world.network.swizzle(spread_s=_number(fault, "spread_s"), hold_s=_number(fault, "hold_s"))


# -- the venue


async def _command(world: World, fault: Fault) -> None:
    """Give the venue a command of its own; a broken update is meant for one session alone."""
    kind = CATALOGUE.kind(fault.kind)
    command = kind.command or fault.kind
    world.exchange.advance(trio.current_time())
    sessions, symbols = world.wellness.sessions(), world.exchange.symbols
    params: dict[str, object] = {name: value for name, value in fault.params.items() if name != LASTS_S}
    one_of_many = command in _ONE_SESSION or kind.aims_at == "subscription"
    if kind.aims_at == "session" or one_of_many:
        if not sessions:
            return
        place = fault.target // len(symbols) if one_of_many else fault.target
        params["session"] = sessions[place % len(sessions)]
    if kind.aims_at in ("symbol", "subscription"):
        params["symbol"] = symbols[fault.target % len(symbols)]
    try:
        given = world.exchange.faults.apply(command, params, trio.current_time())
    except UsageError:
        if params.get("session") in (None, *world.exchange.sessions):
            raise
        return  # a market that had overslept caught up just now, and ended the session on the way
    record = world.exchange.faults.record(int(str(given["id"])))
    if command not in _HARMLESS:
        world.wellness.follow(record)
    world.hit(fault, *(f"{name}={params[name]}" for name in ("session", "symbol", "channel") if name in params))
    if command == "corrupt_checksum":
        world.corrupted.append(
            Corrupted(symbol=str(params["symbol"]), session=_whole(params["session"]), record=record)
        )
    await trio.lowlevel.checkpoint()


_ONE_SESSION = (
    "drop_update",
    "duplicate_update",
    "reorder_updates",
    "merge_updates",
    "corrupt_checksum",
    "falsify_level",
)
_HARMLESS = (
    "word_differently",
    "announce_maintenance",
    "refuse_upgrade",
    "refuse_subscriptions",
    "ignore_subscriptions",
)
"""What a line that is well must not even feel, as long as it is there."""


def _whole(value: object) -> int:
    return int(str(value))


async def _status(world: World, fault: Fault) -> None:
    world.hit(fault)
    faults = world.exchange.faults
    faults.apply("set_status", {"mode": fault.params.get("mode")}, trio.current_time())
    try:
        await _last(fault)
    finally:
        faults.set_status("online", now=trio.current_time())


# -- the machine, and the program around the engine


async def _clock_step(world: World, fault: Fault) -> None:
    world.hit(fault)
    world.clock.step(_number(fault, "by_s"))
    await trio.lowlevel.checkpoint()


async def _clock_drift(world: World, fault: Fault) -> None:
    world.hit(fault)
    world.clock.drift(_number(fault, "rate"))
    try:
        await _last(fault)
    finally:
        world.clock.drift(0.0)


async def _suspend(world: World, fault: Fault) -> None:
    world.hit(fault)
    world.suspend(_number(fault, "by_s"))
    await trio.lowlevel.checkpoint()


async def _slow_consumer(world: World, fault: Fault) -> None:
    world.hit(fault)
    world.consumers_sleep_until = max(world.consumers_sleep_until, trio.current_time() + _number(fault, LASTS_S))
    await trio.lowlevel.checkpoint()


_HOOKS: Final[dict[str, Hook]] = {
    "refuse": _dialing(Dialing.REFUSE),
    "hang_connect": _dialing(Dialing.HANG),
    "resolver_fail": _resolver(ResolverFault.FAIL),
    "resolver_empty": _resolver(ResolverFault.EMPTY),
    "resolver_private": _resolver(ResolverFault.PRIVATE),
    "resolver_slow": _resolver_slow,
    "reset_peer": _once(lambda link, _: link.reset()),
    "limit_data": _once(_limit),
    "forget": _once(lambda link, _: link.forget()),
    "blackhole": _while(blackhole=True),
    "blackhole_up": _while(direction="up", blackhole=True),
    "blackhole_down": _while(direction="down", blackhole=True),
    "latency": _while("latency_s", "jitter_s"),
    "bandwidth": _while("bytes_per_s"),
    "slicer": _while("slice_bytes", "slice_delay_s"),
    "slow_close": _while("slow_close_s"),
    "flap": _flap,
    "swizzle": _swizzle,
    "down": _down,
    "status": _status,
    "clock_step": _clock_step,
    "clock_drift": _clock_drift,
    "suspend": _suspend,
    "slow_consumer": _slow_consumer,
}


def _all_hooks() -> dict[str, Apply]:
    commands = {kind.name: _command for kind in CATALOGUE.kinds if kind.command and kind.name not in _HOOKS}
    return {kind.name: hook for kind in CATALOGUE.kinds if (hook := _HOOKS.get(kind.name) or commands.get(kind.name))}


FAULTS = CATALOGUE.bound(_all_hooks())
"""Every kind of fault that a world of market data can bring about, with its hook; disks are not among them yet."""
