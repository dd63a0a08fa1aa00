"""Judges what is on the disk: what was acknowledged as durable is there after every restart, or its loss was said.

Three things are followed, by what was handed to the store and what it gave back: the marks of nonces, a diary, and
checkpoints. A store may lose what was acknowledged only if the disk was damaged on purpose, and then only with a word
about it; and no nonce may reach the venue that is not below a mark acknowledged before (I-18, I-33).

Knows nothing of how any of it is written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import attrs

from kraken_engine.feed.publisher import Publisher
from kraken_engine.model import Integrity
from kraken_engine.normalise.events import Event, MarketEvent
from kraken_engine.sim.judges.verdict import Verdict
from kraken_engine.state.checkpoint import Restored
from kraken_engine.state.freshness import StreamKey
from kraken_engine.store.checkpoint import Loaded
from kraken_engine.store.database import Opened
from kraken_engine.store.history import Entry

__all__ = ["DurabilityJudge", "RestoredJudge"]


@attrs.define(eq=False)
class DurabilityJudge:
    """One state directory, over all lives of the clients that use it."""

    verdict: Verdict
    damaged: bool = attrs.field(default=False, init=False)
    """Whether something on the disk was changed behind everybody's back."""
    removed: bool = attrs.field(default=False, init=False)
    """Whether the operator removed the store, since it could not be used any more."""
    trouble: str | None = attrs.field(default=None, init=False)
    """What the store of the present life said last of its disk."""
    _marks: dict[str, int] = attrs.field(factory=dict[str, int], init=False)
    """Acknowledged, by key."""
    _highest: int = attrs.field(default=0, init=False)
    """The highest mark that was ever acknowledged, or found."""
    _diary: dict[int, bytes] = attrs.field(factory=dict[int, bytes], init=False)
    """Acknowledged entries by number."""
    _saved: list[bytes] = attrs.field(factory=list[bytes], init=False)
    """Digest of every checkpoint somebody tried to save, in order."""
    _kept: int = attrs.field(default=0, init=False)
    """How many of them were tried when the last acknowledged one was: that one, or a later one, has to be found."""
    _cut: bool = attrs.field(default=False, init=False)
    """Whether the store of the present life said that its last transaction may be missing ..."""
    _log_lost: bool = attrs.field(default=False, init=False)
    """... or all of its log."""

    # -- lives

    def opened(self, opened: Opened) -> None:
        """A store was opened."""
        self.trouble = None
        self._cut, self._log_lost = opened.cut, opened.log_lost
        if (opened.created or opened.cut or opened.log_lost) and not opened.notes:
            self._fail("I-33", f"expected words about what may be missing, got none: {opened}")
        if not opened.created:
            return
        if (self._marks or self._diary) and not (self.removed or self.damaged):
            self._fail("I-33", "expected the store of before, got one made anew")
        self._marks.clear()
        self._diary.clear()
        self.removed = False

    def corrupt(self, why: str) -> None:
        """A store, or a part of it, was refused as damaged."""
        if not self.damaged:
            self._fail("I-33", f"nothing was damaged, got {why}")

    # -- marks

    def acknowledged(self, fingerprint: str, mark: int) -> None:
        """A mark is said to be durable."""
        self._marks[fingerprint] = max(mark, self._marks.get(fingerprint, 0))
        self._highest = max(self._highest, mark)

    def found(self, fingerprint: str, mark: int) -> None:
        """A life begins with this mark."""
        before = self._marks.get(fingerprint, 0)
        if mark < before and not (self._cut or self._log_lost):
            self._fail("I-18", f"expected a mark of {before} or more, got {mark}, and no word about it")
        self._marks[fingerprint] = mark
        self._highest = max(self._highest, mark)

    def nonce(self, nonce: int) -> None:
        """The venue has seen a nonce."""
        if nonce >= self._highest:
            self._fail("I-18", f"expected nonces below a durable mark ({self._highest}), got {nonce}")

    # -- diary

    def wrote(self, number: int, body: bytes) -> None:
        """An entry is said to be durable."""
        self._diary[number] = body
        if self.trouble is not None:
            self._fail("D-1", f"a transaction succeeded, and the last word about the disk is {self.trouble!r}")

    def wrote_not(self, why: str) -> None:
        """An entry could not be written: whoever runs the engine has to be told."""
        if self.trouble is None:
            self._fail("D-1", f"expected an alarm about the disk, got none: {why}")

    def read(self, entries: Sequence[Entry]) -> None:
        """A life begins with these last entries."""
        got = {entry.number: entry.body for entry in entries}
        first, last = min(got, default=1), max(got, default=0)
        lost = [number for number in self._diary if number > last]
        if len(lost) > int(self._cut) and not (self._log_lost and self.damaged):
            self._fail("I-33", f"expected entry {max(lost)} of the diary, which was acknowledged, got {last} of them")
        for number, body in self._diary.items():
            if first <= number <= last and got.get(number) != body:
                self._fail("I-33", f"entry {number} of the diary is not what was written")
        self._diary = {number: body for number, body in self._diary.items() if number <= last}

    # -- checkpoints

    def saving(self, payload: bytes) -> int:
        """A checkpoint is about to be saved; returns its number for :meth:`saved`."""
        self._saved.append(hashlib.blake2b(payload).digest())
        return len(self._saved)

    def saved(self, number: int) -> None:
        """This one is said to be durable."""
        self._kept = number

    def loaded(self, loaded: Loaded, *, readable: bool) -> None:
        """A life begins with this checkpoint; ``readable``: whether the disk could be read all the while."""
        if loaded.notes and readable and not self.damaged:
            self._fail("I-33", f"nothing was damaged, got {'; '.join(loaded.notes)}")
        number = 0
        if loaded.payload is not None:
            digest = hashlib.blake2b(loaded.payload).digest()
            if digest not in self._saved:
                self._fail("I-33", f"checkpoint {loaded.generation} is none that was saved")
                return
            number = len(self._saved) - self._saved[::-1].index(digest)
        if number < self._kept and not loaded.notes:
            self._fail("I-33", f"expected checkpoint {self._kept} or a later one, got {number}, and no word about it")
        self._kept = number

    # -- secrets

    def files(self, contents: Iterable[tuple[str, bytes]], secrets: Sequence[str]) -> None:
        """Look for secrets in what is on the disk."""
        for path, content in contents:
            for secret in secrets:
                if secret.encode() in content:
                    self._fail("I-34", f"a secret in {path}")

    def _fail(self, invariant: str, what: str) -> None:
        self.verdict.fail(invariant, what)


@attrs.define(eq=False)
class RestoredJudge:
    """What one life shows of the life before it: nothing of it as current, until the venue has spoken (I-33)."""

    verdict: Verdict
    publisher: Publisher
    restored: Restored
    _values: dict[StreamKey, MarketEvent] = attrs.field(factory=dict[StreamKey, MarketEvent], init=False)
    """What is shown of streams of which the venue has said nothing yet."""

    def __attrs_post_init__(self) -> None:
        for key, _ in self.restored.events():
            value = self.publisher.latest(key)
            if value is not None and value.integrity is Integrity.RESYNCING:
                self._values[key] = value

    def see(self, key: StreamKey, event: Event) -> None:
        """Take everything that is published."""
        if event is self._values.get(key):
            self.verdict.fail("I-33", f"{key}: restored, and published as news")
        elif isinstance(event, MarketEvent):
            self._values.pop(key, None)

    def look(self) -> None:
        """Look at what readers are told of streams that the venue has said nothing about."""
        for key, value in self._values.items():
            if self.publisher.latest(key) is value and self.publisher.stale(key) is None:
                self.verdict.fail("I-33", f"{key}: restored, and shown as current")
