"""The judges of what is on the disk find what is wrong there: each planted bug breaks an invariant, the engine none."""

from __future__ import annotations

from typing import Any

import pytest
from tests.sim.faults.test_disk import world_name

from kraken_engine.errors import Stale
from kraken_engine.feed.publisher import Publisher
from kraken_engine.normalise.events import MarketEvent
from kraken_engine.rest.operations import Operation
from kraken_engine.rest.sending import SignedSender
from kraken_engine.runtime import FileLock, Files
from kraken_engine.sim.plan import Fault, Plan
from kraken_engine.sim.runner import Options, Report, simulate
from kraken_engine.state.freshness import StreamKey
from kraken_engine.store import checkpoint, connection
from kraken_engine.store.database import Store
from kraken_engine.store.history import History
from kraken_engine.venue.core.accounts.settings import TEST_SECRET

OPTIONS = Options(minutes=2.0, profile="rest")


async def mark_believed_at_once(self: SignedSender, what: Operation, up_to: int) -> None:
    """The mark counts before it is on the disk."""
    self.nonces.marked(up_to)


def restored_is_news(self: Publisher, key: StreamKey, event: MarketEvent, stale: Stale) -> None:
    """What was restored is published like anything else."""
    self.publish(key, event)


def restored_is_current(self: Publisher, key: StreamKey, event: MarketEvent, stale: Stale) -> None:
    """What was restored is kept, and nobody is told that it is old."""
    self._gate.latest.setdefault(key, event)


def digest_not_checked(data: bytes) -> tuple[int, bytes]:
    """A checkpoint is believed as it stands."""
    return int.from_bytes(data[8:16]), data[56:]


class _Held:
    def release(self) -> None:
        """Let go of nothing."""


def lock_not_taken(files: Files, directory: str) -> FileLock:
    """Whoever comes gets in."""
    files.make_directory(directory)
    return _Held()


async def secret_kept(self: History, body: bytes) -> int:
    """Somebody writes down more than was asked for."""
    return await append(self, body + TEST_SECRET.encode())


append = History.append
NOT_SYNCED = tuple(
    (name, "off", 0) if name == "synchronous" else (name, value, expected)
    for name, value, expected in connection._PRAGMAS
)
KILLS = tuple(Fault(at_s=9.0 * n + 8.0, kind="restart") for n in range(12))
DAMAGED = (
    Fault(at_s=60.0, kind="disk_damage", params={"file": "checkpoint.0", "how": "scribble", "bit": 500}),
    Fault(at_s=61.0, kind="disk_damage", params={"file": "checkpoint.1", "how": "scribble", "bit": 500}),
    Fault(at_s=62.0, kind="restart"),
)
SECONDS = tuple(Fault(at_s=20.0 * n, kind="second_engine", params={"shares": "directory"}) for n in range(1, 6))
FULL = (Fault(at_s=20.0, kind="disk_fails", params={"fault": "FULL", "for_s": 60.0}),)

BUGS: dict[str, tuple[tuple[Any, str], Any, str, tuple[Fault, ...], bool]] = {
    "mark believed at once": ((SignedSender, "_raise_mark"), mark_believed_at_once, "I-18", (), False),
    "commits not synced": ((connection, "_PRAGMAS"), NOT_SYNCED, "I-33", KILLS, False),
    "restored is news": ((Publisher, "restore"), restored_is_news, "I-33", KILLS[7:8], True),
    "restored is current": ((Publisher, "restore"), restored_is_current, "I-33", KILLS[7:8], True),
    "digest not checked": ((checkpoint, "unseal"), digest_not_checked, "I-33", DAMAGED, False),
    "lock not taken": ((connection, "lock_directory"), lock_not_taken, "D-2", SECONDS, False),
    "alarm not raised": ((Store, "_failed"), lambda *_: None, "D-1", FULL, False),
    "a secret in the diary": ((History, "append"), secret_kept, "I-34", KILLS[7:8], False),
}


def _played(name: str) -> Report:
    _, _, _, faults, warm = BUGS[name]
    seed = world_name(warm=warm)
    return simulate(seed, Plan(seed=seed, horizon_s=120.0, faults=faults), OPTIONS)


@pytest.mark.parametrize("name", list(BUGS))
def test_a_planted_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (owner, attribute), bug, invariant, _, _ = BUGS[name]
    monkeypatch.setattr(owner, attribute, bug)
    violation = _played(name).violation
    assert violation is not None
    assert violation.invariant == invariant


@pytest.mark.parametrize("name", ["commits not synced", "restored is news", "digest not checked", "alarm not raised"])
def test_without_the_bug_the_same_plan_finds_nothing(name: str) -> None:
    report = _played(name)
    assert report.violation is None, str(report.violation)
