"""Judges C-2: the engine itself ends no line that is well while no other line carries what is read.

A line is replaced while it works, on command or when maintenance is announced; what takes its place has to be there
before. Where another line has the same streams nobody would notice the mistake, until both are replaced at once.
"""

from __future__ import annotations

from collections.abc import Collection

import attrs

from kraken_engine.sim.judges.evidence import name_of
from kraken_engine.sim.judges.verdict import Verdict
from kraken_engine.sim.trace import Fact
from kraken_engine.sim.world import World
from kraken_engine.state.freshness import StreamKey

__all__ = ["RotationJudge"]

_TOLD = ("book", "trade", "ticker")
"""Channels that every line has to bring anew before it may take the place of another."""


@attrs.define(kw_only=True)
class RotationJudge:
    """Listens to the network's trace."""

    world: World
    verdict: Verdict
    keys: Collection[StreamKey]
    """Streams that somebody always reads."""
    over: bool = attrs.field(default=False, init=False)
    """Whether the engine is being stopped, and so ends everything."""

    def trace(self, kind: str, facts: tuple[Fact, ...]) -> None:
        """Take one event of the trace."""
        if kind != "close" or len(facts) < 2 or facts[1] != "client" or self.over:
            return
        wellness = self.world.wellness
        session = next((number for number, link in wellness.links.items() if link.label == str(facts[0])), None)
        if session is None:
            return  # the venue ended it
        for key in self.keys:
            if key[0] in _TOLD and wellness.was_well(session, key) and not wellness.is_carried(key):
                what = "expected a line that is well to be ended only when another brings what it brings"
                self.verdict.fail("C-2", f"{name_of(key)}: {what}, got session {session} ended")
                return
