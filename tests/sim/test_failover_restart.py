"""Restarts inside the failover profile (rows 67 and 68, I-33): the engine holds, and the judges would notice if not."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from kraken_engine.config import Config, PoolSettings
from kraken_engine.errors import Stale
from kraken_engine.feed.publisher import Publisher
from kraken_engine.model import Integrity
from kraken_engine.normalise.events import MarketEvent
from kraken_engine.sim.failover import BOTH_DAMAGED, COLD, OLD_GIVEN, WARM, WENT_BACK
from kraken_engine.sim.plan import Fault, Plan
from kraken_engine.sim.runner import Options, Report, simulate
from kraken_engine.sim.world import WorldSettings
from kraken_engine.state.freshness import StreamKey
from kraken_engine.store import checkpoint
from kraken_engine.store.checkpoint import CheckpointFiles, Loaded
from kraken_engine.tasks import engine

SMALL = WorldSettings(symbols=3, rate=2.0, config=Config(pool=PoolSettings(max_connections=1)))
OPTIONS = Options(profile="failover", settings=SMALL)


def kill(at_s: float) -> Fault:
    return Fault(at_s=at_s, kind="restart")


def damage(at_s: float, which: str, how: str = "flip") -> Fault:
    return Fault(at_s=at_s, kind="damaged_checkpoint", params={"which": which, "how": how, "bit": 7_777})


def played(*faults: Fault) -> Report:
    return simulate("1", Plan(seed="1", horizon_s=faults[-1].at_s + 20.0, faults=faults), OPTIONS)


def held(*faults: Fault) -> dict[str, int]:
    """Return what came up in a run to which no judge objects."""
    report = played(*faults)
    assert report.violation is None, str(report.violation)
    assert sum(report.fault_kinds.values()) == len(faults)
    return dict(report.sometimes)


def test_fault_68_an_engine_begins_with_what_it_knew_and_gives_it_as_old_to_those_who_ask_for_that() -> None:
    came_up = held(kill(45.0))
    assert (came_up[COLD], came_up[WARM]) == (1, 1)
    assert came_up[OLD_GIVEN] >= 1


def test_fault_68_a_restart_before_the_first_checkpoint_is_a_cold_one_and_that_is_said() -> None:
    came_up = held(kill(5.0))
    assert (came_up[COLD], came_up[WARM]) == (2, 0)


@pytest.mark.parametrize("how", ["flip", "scribble", "empty"])
def test_fault_67_a_damaged_newest_checkpoint_means_the_one_before_and_that_is_said(how: str) -> None:
    assert held(damage(75.0, "newest", how))[WENT_BACK] == 1


def test_fault_67_two_damaged_checkpoints_mean_a_cold_start_and_that_is_said() -> None:
    assert held(damage(75.0, "both"))[BOTH_DAMAGED] == 1


def test_a_restart_while_every_line_is_down_waits_for_one_and_is_warm_all_the_same() -> None:
    down = Fault(at_s=45.0, kind="lines_down", params={"for_s": 40.0})
    assert held(down, kill(50.0), kill(100.0))[WARM] == 2


def test_the_same_restarts_make_the_same_run() -> None:
    faults = (damage(75.0, "newest"), kill(80.0))
    assert len({played(*faults).digest for _ in range(2)}) == 1


# -- planted bugs


def shown_as_live(self: Publisher, key: StreamKey, event: MarketEvent, stale: Stale) -> None:
    """What was restored is published like anything else."""
    self.publish(key, event)


def kept_as_live(self: Publisher, key: StreamKey, event: MarketEvent, stale: Stale) -> None:
    """What was restored is kept, and nobody who asks is told that it is old."""
    self._gate.latest.setdefault(key, attrs.evolve(event, integrity=Integrity.UNVERIFIED))
    self.freshness.restore(key, stale)
    self.freshness.forget(key)


def greeted_with(self: Publisher, key: StreamKey, event: MarketEvent, stale: Stale) -> None:
    """A reader who comes first is told what was restored, as if it were current."""
    kept_as_live(self, key, event, stale)
    self.freshness._live[key] = 0.0


def digest_not_checked(data: bytes) -> tuple[int, bytes]:
    """A checkpoint is believed as it stands."""
    return int.from_bytes(data[8:16]), data[56:]


def nothing_said(self: Any, notes: Any) -> None:
    """The start keeps to itself what it found."""


def one_too_old(self: CheckpointFiles) -> Loaded:
    """The one before is used though the newest is whole."""
    loaded = load(self)
    if loaded.before is None:
        return loaded
    return attrs.evolve(loaded, generation=loaded.before[0], payload=loaded.before[1])


load = CheckpointFiles.load
RESTART = (kill(45.0),)
DAMAGED = (damage(75.0, "newest"),)
BUGS: dict[str, tuple[tuple[Any, str], Any, tuple[Fault, ...], str]] = {
    "shown as live": (
        (Publisher, "restore"),
        shown_as_live,
        RESTART,
        "published as news|given to a reader|expected a value of this life",
    ),
    "kept as live": ((Publisher, "restore"), kept_as_live, RESTART, "expected a value of this life"),
    "a reader is greeted with it": ((Publisher, "restore"), greeted_with, RESTART, "expected a value of this life"),
    "nothing said": ((engine._DiskNews, "note"), nothing_said, RESTART, "to be said"),
    "one too old": ((CheckpointFiles, "load"), one_too_old, (kill(75.0),), "expected a start with checkpoint 2, got 1"),
    "digest not checked": (
        (checkpoint, "unseal"),
        digest_not_checked,
        DAMAGED,
        "expected a start with|is damaged, got",
    ),
}


@pytest.mark.parametrize("name", list(BUGS))
def test_a_planted_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (owner, attribute), bug, faults, expected = BUGS[name]
    monkeypatch.setattr(owner, attribute, bug)
    violation = played(*faults).violation
    assert violation is not None
    assert violation.invariant == "I-33"
    assert any(words in violation.what for words in expected.split("|"))
