"""The disk of an engine that is killed and started again: crashes, damage between two lives, and what is whole then.

A file may be damaged only while no engine runs, so that what the next life finds is known exactly. Knows nothing of
what a checkpoint holds.
"""

from __future__ import annotations

import attrs

from kraken_engine.errors import StoreCorrupt
from kraken_engine.runtime import Rng, seeded_rng
from kraken_engine.sim.judges.verdict import Verdict
from kraken_engine.sim.judges.warm_start import Found
from kraken_engine.sim.rest_faults import STATE, damage
from kraken_engine.sim.world import World
from kraken_engine.store.checkpoint import SLOTS, unseal

__all__ = ["Damage", "EngineDisk"]


@attrs.frozen
class Damage:
    """What is to become of the checkpoints before the next life."""

    which: str
    """``newest``, ``older`` or ``both``."""
    how: str
    bit: int


@attrs.define(eq=False)
class EngineDisk:
    """The state directory of one world's engine."""

    world: World
    verdict: Verdict
    _rng: Rng = attrs.field(init=False)
    _damaged: dict[str, bytes] = attrs.field(factory=dict[str, bytes], init=False)
    """What damage left of a file, by name; it is damaged as long as it stays like that."""

    def __attrs_post_init__(self) -> None:
        self._rng = seeded_rng(f"{self.world.seed}:engine disk")

    def crash(self) -> None:
        """Lose what a crash may lose: the last checkpoint if its name was not synced yet, never one of before."""
        had_damage, before = bool(self._damaged), max(self.found().whole, default=0)
        self.world.disk.crash(self._rng)
        after = max(self.found().whole, default=0)
        if not had_damage and after < before - 1:
            self.verdict.fail("I-33", f"expected checkpoint {before} or {before - 1} after a crash, got {after}")

    def damage(self, what: Damage) -> bool:
        """Change files behind everybody's back; return whether there were any."""
        names = self._newest_first()
        chosen = {"newest": names[:1], "older": names[1:]}.get(what.which, names)
        for name in chosen:
            damage(self.world.disk, f"{STATE}/{name}", what.how, what.bit)
            self._damaged[name] = self._read(name)
        return bool(chosen)

    def found(self) -> Found:
        """Return what an engine would find now; every file that nobody damaged has to be whole."""
        whole: dict[int, bytes] = {}
        for name in self._names():
            content = self._read(name)
            if self._damaged.get(name) == content:
                continue
            self._damaged.pop(name, None)
            try:
                generation, payload = unseal(content)
            except StoreCorrupt as error:
                self.verdict.fail("I-33", f"{name}: expected a checkpoint, old or new, got a file of which {error}")
                continue
            whole[generation] = payload
        return Found(whole=whole, damaged=sorted(self._damaged))

    def _names(self) -> list[str]:
        return [name for name in SLOTS if self.world.disk.exists(f"{STATE}/{name}")]

    def _newest_first(self) -> list[str]:
        whole = self.found().whole
        names = [SLOTS[generation % len(SLOTS)] for generation in sorted(whole, reverse=True)]
        return names + [name for name in self._names() if name not in names]

    def _read(self, name: str) -> bytes:
        path = f"{STATE}/{name}"
        return self.world.disk.read_at(path, 0, self.world.disk.size(path))
