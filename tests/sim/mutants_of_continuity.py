"""Bugs planted in what keeps the feed going: failover, its way back, sources, modes of the venue, checkpoints."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import pytest

from kraken_engine.control.failover import Feeder, Watchdog
from kraken_engine.control.venue_mode import VenueModes
from kraken_engine.errors import Stale
from kraken_engine.feed.publisher import Publisher
from kraken_engine.feed.sources import Sources
from kraken_engine.normalise.events import Event, MarketEvent, SourceChanged, VenueStatus
from kraken_engine.state.freshness import StreamKey
from kraken_engine.store import checkpoint
from kraken_engine.store.checkpoint import CheckpointFiles, Loaded

Mutant = Callable[[pytest.MonkeyPatch], None]


def restored_shown_as_live(patch: pytest.MonkeyPatch) -> None:
    """What the last life knew is published like anything else."""

    def wrong(self: Publisher, key: StreamKey, event: MarketEvent, stale: Stale) -> None:
        del stale
        self.publish(key, event)

    patch.setattr(Publisher, "restore", wrong)


def return_before_the_hold(patch: pytest.MonkeyPatch) -> None:
    """The lines have the word again as soon as they are well."""
    patch.setattr(Watchdog, "_held_until", lambda _, watch: watch.well_since_s)


def source_told_after_the_value(patch: pytest.MonkeyPatch) -> None:
    """Readers are told of another source only after its first value."""
    publish = Publisher.publish
    late: dict[StreamKey, SourceChanged] = {}

    def wrong(self: Publisher, key: StreamKey, event: Event) -> None:
        if isinstance(event, SourceChanged):
            late[key] = event
            return
        publish(self, key, event)
        if isinstance(event, MarketEvent) and key in late:
            publish(self, key, late.pop(key))

    patch.setattr(Publisher, "publish", wrong)


def hold_not_doubled(patch: pytest.MonkeyPatch) -> None:
    """A return that did not last is no reason to wait longer with the next one."""
    go_over = Watchdog._go_over

    def wrong(self: Watchdog, watch: Any, now: float) -> None:
        go_over(self, watch, now)
        watch.hold_s = self.settings.hold_s

    patch.setattr(Watchdog, "_go_over", wrong)


def older_backup_value_shown(patch: pytest.MonkeyPatch) -> None:
    """What REST answered the last time is shown, with the time of now, in place of what it answers now."""
    offer = Sources.offer
    before: dict[StreamKey, Sequence[MarketEvent]] = {}

    def wrong(self: Sources, key: StreamKey, values: Sequence[MarketEvent], *, asked_s: float, now: float) -> bool:
        older, before[key] = before.get(key, values), values
        if key[0] == "book":
            values = [attrs.evolve(value, received_s=now) for value in older]
        return offer(self, key, values, asked_s=asked_s, now=now)

    patch.setattr(Sources, "offer", wrong)


def mode_not_resumed(patch: pytest.MonkeyPatch) -> None:
    """A venue that was away once counts as away for ever."""
    status = VenueModes.status

    def wrong(self: VenueModes, new: VenueStatus) -> bool:
        return self.away is None and status(self, new)

    patch.setattr(VenueModes, "status", wrong)


def away_not_minded(patch: pytest.MonkeyPatch) -> None:
    """Maintenance is treated as any other loss."""
    patch.setattr(VenueModes, "away", None)


def damaged_checkpoint_accepted(patch: pytest.MonkeyPatch) -> None:
    """A checkpoint is believed as it stands."""
    patch.setattr(checkpoint, "unseal", lambda data: (int.from_bytes(data[8:16]), data[56:]))


def checkpoint_before_the_last_used(patch: pytest.MonkeyPatch) -> None:
    """The older one of two whole checkpoints is used."""
    load = CheckpointFiles.load

    def wrong(self: CheckpointFiles) -> Loaded:
        found = load(self)
        if found.before is None:
            return found
        return Loaded(payload=found.before[1], generation=found.before[0], notes=found.notes)

    patch.setattr(CheckpointFiles, "load", wrong)


def backup_never_asked(patch: pytest.MonkeyPatch) -> None:
    """Nobody goes over to REST."""
    due = Watchdog._due
    patch.setattr(
        Watchdog, "_due", lambda self, watch: math.inf if watch.feeder is Feeder.PRIMARY else due(self, watch)
    )


MUTANTS_OF_CONTINUITY: dict[str, Mutant] = {
    mutant.__name__: mutant
    for mutant in (
        restored_shown_as_live,
        return_before_the_hold,
        source_told_after_the_value,
        hold_not_doubled,
        older_backup_value_shown,
        mode_not_resumed,
        away_not_minded,
        damaged_checkpoint_accepted,
        checkpoint_before_the_last_used,
        backup_never_asked,
    )
}
