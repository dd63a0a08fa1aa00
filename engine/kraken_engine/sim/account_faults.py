"""Faults of the profile ``private``: what befalls connections, REST, accounts, the disk, and the engine as a whole."""

from __future__ import annotations

import attrs
import trio

from kraken_engine.sim.catalogue_accounts import ACCOUNT_CATALOGUE
from kraken_engine.sim.hooks import FAULTS
from kraken_engine.sim.hooks_accounts import ACCOUNT_FAULTS
from kraken_engine.sim.plan import Catalogue, Choice, Fault, FaultKind, Number
from kraken_engine.sim.rest_faults import REST_FAULTS, RESTART
from kraken_engine.sim.world import World

__all__ = ["KILLED_WRITING", "NEXT_LIFE", "PRIVATE_FAULTS", "REBOOT", "is_brief", "is_restart"]

KILLED_WRITING = "killed_while_writing"
THIS_LIFE, NEXT_LIFE = "this life", "the next life"
"""Whose steps are counted until it is killed; the latter is to be the life after a kill at once."""
REBOOT = "reboot"

_NETWORK = ("reset_peer", "limit_data", "blackhole", "latency", "slicer", "refuse", "flap")
"""What may happen to the connections themselves, those of accounts and of REST among them."""

_DISK = ("disk_fails", "disk_slow", "disk_hiccup", "fsync_fails")
"""What may happen to the disk: one account keeps its fills and the marks of its nonces there."""

_RESTARTS = frozenset({RESTART, KILLED_WRITING})

_BRIEF = frozenset(
    {
        *(
            *_NETWORK,
            *_RESTARTS,
            "private_cut",
            "private_frame_lost",
            "private_frame_withheld",
            "private_frame_doubled",
        ),
        *("private_frames_swapped", "private_snapshot_late", "fill", "unsolicited_cancel", "external_order"),
    }
)


async def _told(world: World, fault: Fault) -> None:
    """Leave it to the scenario, which reads it in the trace."""
    world.hit(fault, *fault.params.values())
    await trio.lowlevel.checkpoint()


_OWN = (
    attrs.evolve(REST_FAULTS.kind(RESTART), weight=2),
    FaultKind(
        name=KILLED_WRITING,
        number=68,
        place="host",
        weight=4,
        parameters={"step": Number(1, 60, log=True, whole=True), "of": Choice((THIS_LIFE, NEXT_LIFE))},
        apply=_told,
    ),
    # A machine whose clock has lost its battery comes back in the past.
    FaultKind(
        name=REBOOT,
        number=61,
        place="host",
        weight=2,
        parameters={"back_s": Number(0.1, 7200, log=True)},
        apply=_told,
    ),
)

PRIVATE_FAULTS: Catalogue = Catalogue(
    [
        *FAULTS.only(_NETWORK).kinds,
        *(ACCOUNT_FAULTS.kind(kind.name) for kind in ACCOUNT_CATALOGUE.kinds),
        *(attrs.evolve(kind, weight=0.6) for kind in REST_FAULTS.only(_DISK).kinds),
        *_OWN,
    ]
)
"""Every kind of fault of this profile, with its hook."""


def is_brief(kind: str) -> bool:
    """Return whether a kind of fault is over when it ends: nobody, and no breaker, answers it with a long pause."""
    return kind in _BRIEF


def is_restart(kind: str) -> bool:
    """Return whether a kind of fault kills the engine, and nothing else."""
    return kind in _RESTARTS
