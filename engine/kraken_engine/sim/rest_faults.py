"""Faults of the REST side and of the disk: rows 21 to 27, 55 to 62, 66 to 68 and 70 of the fault matrix.

Most are commands of the simulated venue. TLS (rows 18 to 20) is not among them, see the explanation of the simulation.
Judges nothing.
"""

from __future__ import annotations

from typing import Final

import attrs
import trio

from kraken_engine.errors import UsageError
from kraken_engine.sim.disk import DiskFault, SimDisk
from kraken_engine.sim.hooks import FAULTS, LASTS_S
from kraken_engine.sim.plan import Apply, Catalogue, Choice, Fault, FaultKind, Number
from kraken_engine.sim.workers import SimWorkers
from kraken_engine.sim.world import World

__all__ = ["DAMAGE", "RESTART", "REST_FAULTS", "SECOND_ENGINE", "STATE", "damage"]

RESTART = "restart"
SECOND_ENGINE = "second_engine"
DAMAGE = "disk_damage"

STATE: Final = "/state"
"""The state directory of the client."""

SCRIBBLED_BITS: Final = 100
SCRIBBLE_STRIDE_BITS: Final = 104_729
"""A prime, so that they are spread over the whole file."""

_PATH = Choice(("/0/", "/0/public/", "/0/private/"))
_TIMES = Number(1, 6, log=True, whole=True)
_NETWORK = (
    "refuse", "hang_connect", "resolver_fail", "resolver_empty", "resolver_slow", "resolver_private", "reset_peer",
    "limit_data", "forget", "blackhole", "blackhole_up", "blackhole_down", "latency", "bandwidth", "slicer",
    "slow_close", "down", "clock_step", "clock_drift", "suspend", "status",
)  # fmt: skip

_KINDS = (
    FaultKind(
        name="rest_redirect",
        number=22,
        place="venue",
        command="rest_status",
        parameters={"status": Choice((301, 302)), "location": Choice(("http://elsewhere.test/",)), "path": _PATH},
    ),
    FaultKind(
        name="rest_page",
        number=23,
        place="venue",
        command="rest_status",
        weight=2,
        parameters={
            "status": Choice((403, 429, 500, 502, 503, 520)),
            "times": _TIMES,
            "path": _PATH,
            "executed": Choice((False, True)),
        },
    ),
    FaultKind(
        name="rest_slow",
        number=24,
        place="venue",
        command="rest_slow",
        weight=2,
        parameters={
            "seconds": Number(0.2, 60, log=True),
            "part": Choice(("headers", "body")),
            "times": _TIMES,
            "path": _PATH,
        },
    ),
    FaultKind(
        name="rest_break",
        number=25,
        place="venue",
        command="rest_break",
        weight=2,
        parameters={
            "kind": Choice(
                ("truncated", "short_length", "chunk_garbage", "bad_status_line", "never_ends", "no_answer", "reset")
            ),
            "times": _TIMES,
            "path": _PATH,
        },
    ),
    FaultKind(
        name="rest_bomb",
        number=26,
        place="venue",
        command="rest_break",
        weight=0.2,
        parameters={"kind": Choice(("gzip_bomb", "endless")), "path": _PATH},
    ),
    FaultKind(
        name="rest_words",
        number=27,
        place="venue",
        command="rest_error",
        weight=2,
        parameters={
            "error": Choice(
                (
                    "EService:Unavailable",
                    "EService:Busy",
                    "EGeneral:Internal error",
                    "EDatabase:Internal error",
                    "ENew:Never seen",
                    "EGeneral:Invalid arguments",
                )
            ),
            "times": _TIMES,
            "path": _PATH,
            "executed": Choice((False, True)),
        },
    ),
    FaultKind(
        name="rest_lie",
        number=35,
        place="venue",
        command="rest_lie",
        parameters={
            "kind": Choice(
                (
                    "wrong_types",
                    "missing_fields",
                    "huge_digits",
                    "exponent",
                    "not_a_number",
                    "deep",
                    "no_envelope",
                    "error_is_text",
                    "half",
                    "html",
                    "empty",
                    "not_utf8",
                )
            ),
            "times": _TIMES,
            "path": _PATH,
        },
    ),
    FaultKind(name="revoke_tokens", number=55, place="venue", command="revoke_tokens"),
    FaultKind(
        name="drop_permission",
        number=56,
        place="venue",
        command="drop_permission",
        weight=0.1,
        parameters={"permission": Choice(("query-funds", "access-websockets"))},
    ),
    FaultKind(name="delete_key", number=56, place="venue", command="delete_key", weight=0.05),
    FaultKind(
        name="refuse_nonce", number=58, place="venue", command="refuse_nonce", parameters={"times": Choice((1, 2, 30))}
    ),
    FaultKind(
        name="take_nonce",
        number=58,
        place="venue",
        command="take_nonce",
        parameters={"ahead": Number(0.001, 30, log=True)},
    ),
    FaultKind(
        name="rest_limit",
        number=59,
        place="venue",
        command="rest_error",
        weight=0.5,
        parameters={"error": Choice(("EAPI:Rate limit exceeded", "EGeneral:Too many requests")), "path": _PATH},
    ),
    FaultKind(
        name="lock_out",
        number=59,
        place="venue",
        command="lock_out",
        weight=0.2,
        parameters={"seconds": Number(5, 900, log=True)},
    ),
    FaultKind(
        name="throttle",
        number=59,
        place="venue",
        command="throttle",
        weight=0.5,
        parameters={"seconds": Number(1, 600, log=True), "path": _PATH},
    ),
    FaultKind(
        name="pair_limit",
        number=60,
        place="venue",
        command="rest_error",
        parameters={
            "error": Choice(("EOrder:Rate limit exceeded",)),
            "path": Choice(("/0/private/CancelOrder",)),
            "times": _TIMES,
        },
    ),
    FaultKind(
        name="disk_fails",
        number=66,
        place="disk",
        parameters={"fault": Choice(("IO_ERROR", "FULL", "READ_ONLY")), LASTS_S: Number(0.5, 60, log=True)},
    ),
    FaultKind(
        name="disk_slow",
        number=66,
        place="disk",
        parameters={"wait_s": Number(0.1, 3, log=True), LASTS_S: Number(0.5, 60, log=True)},
    ),
    FaultKind(
        name="fsync_fails",
        number=66,
        place="disk",
        parameters={"fault": Choice(("IO_ERROR", "FULL")), LASTS_S: Number(0.5, 60, log=True)},
    ),
    FaultKind(
        name="disk_hiccup",
        number=66,
        place="disk",
        parameters={"step": Number(1, 40, log=True, whole=True), "fault": Choice(("IO_ERROR", "FULL"))},
    ),
    FaultKind(
        name=DAMAGE,
        number=67,
        place="disk",
        weight=0.5,
        parameters={
            "file": Choice(("store.db", "store.db-wal", "checkpoint.0", "checkpoint.1")),
            "how": Choice(("flip", "scribble", "scribble", "empty")),
            "bit": Number(0, 10_000_000, whole=True),
        },
    ),
    FaultKind(name=RESTART, number=68, place="host", weight=1.5),
    FaultKind(
        name=SECOND_ENGINE,
        number=70,
        place="host",
        weight=0.7,
        parameters={"shares": Choice(("directory", "key"))},
    ),
)


async def _command(world: World, fault: Fault) -> None:
    kind = REST_FAULTS.kind(fault.kind)
    world.exchange.advance(trio.current_time())
    world.exchange.faults.apply(kind.command or fault.kind, dict(fault.params), trio.current_time())
    world.hit(fault, *(f"{name}={value}" for name, value in fault.params.items()))
    await trio.lowlevel.checkpoint()


async def _told(world: World, fault: Fault) -> None:
    """Leave it to the scenario, which reads it in the trace."""
    world.hit(fault, *(str(value) for value in fault.params.values()))
    await trio.lowlevel.checkpoint()


async def _disk_fails(world: World, fault: Fault) -> None:
    world.hit(fault, str(fault.params.get("fault")))
    world.disk.fault = DiskFault[str(fault.params.get("fault"))]
    try:
        await trio.sleep(_seconds(fault, LASTS_S))
    finally:
        world.disk.fault = None


async def _fsync_fails(world: World, fault: Fault) -> None:
    world.hit(fault, str(fault.params.get("fault")))
    world.disk.sync_fault = DiskFault[str(fault.params.get("fault"))]
    try:
        await trio.sleep(_seconds(fault, LASTS_S))
    finally:
        world.disk.sync_fault = None


async def _disk_hiccup(world: World, fault: Fault) -> None:
    world.hit(fault, str(fault.params.get("fault")))
    world.disk.fail_at(int(_seconds(fault, "step")), DiskFault[str(fault.params.get("fault"))])
    await trio.lowlevel.checkpoint()


async def _disk_damage(world: World, fault: Fault) -> None:
    """Change one file behind everybody's back, if it is there and holds anything."""
    path, bit = f"{STATE}/{fault.params.get('file')}", int(_seconds(fault, "bit"))
    if world.disk.exists(path) and world.disk.size(path):
        how = str(fault.params.get("how"))
        world.hit(fault, str(fault.params.get("file")), how)
        damage(world.disk, path, how, bit)
    await trio.lowlevel.checkpoint()


def damage(disk: SimDisk, path: str, how: str, bit: int) -> None:
    """Change a file that is there: ``empty`` it, ``flip`` one bit of it, or else many."""
    match how:
        case "empty":
            disk.wipe(path)
        case "flip":
            disk.flip_bit(path, bit)
        case _:  # most of a database is room that nobody reads: one bit is rarely of any meaning
            for n in range(SCRIBBLED_BITS):
                disk.flip_bit(path, bit + n * SCRIBBLE_STRIDE_BITS)


async def _disk_slow(world: World, fault: Fault) -> None:
    workers = world.runtime.workers
    if not isinstance(workers, SimWorkers):
        raise UsageError("disk_slow: expected the workers of a simulation")
    world.hit(fault)
    well_s, workers.wait_s = workers.wait_s, _seconds(fault, "wait_s")
    try:
        await trio.sleep(_seconds(fault, LASTS_S))
    finally:
        workers.wait_s = well_s


def _seconds(fault: Fault, name: str) -> float:
    value = fault.params.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
        raise UsageError(f"{fault.kind}: {name}: expected seconds, got {value!r}")
    return float(value)


_HOOKS: Final[dict[str, Apply]] = {
    RESTART: _told,
    SECOND_ENGINE: _told,
    DAMAGE: _disk_damage,
    "disk_fails": _disk_fails,
    "disk_slow": _disk_slow,
    "disk_hiccup": _disk_hiccup,
    "fsync_fails": _fsync_fails,
}

REST_FAULTS: Final = Catalogue(
    [
        *FAULTS.only(_NETWORK).kinds,
        *(attrs.evolve(kind, apply=_HOOKS.get(kind.name, _command)) for kind in _KINDS),
    ]
)
"""Every kind of fault that a world of REST calls can bring about, with its hook."""
