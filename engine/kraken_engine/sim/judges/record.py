"""Judges what outlives an engine that is killed: fills on record, how far a reader of them has got, nonces.

A fill that was delivered is on record for good, under its number; one that was acknowledged is not delivered again, one
that was not is; none is left out (I-13). No nonce of a later life is at or below one of an earlier life (I-18). All of
it is counted from what readers got and from what the venue saw.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs

from kraken_engine.normalise.account_events import Fill
from kraken_engine.sim.judges.verdict import Verdict
from kraken_engine.sim.world import World

__all__ = ["Before", "FillsJudge", "NonceJudge", "is_the_same_fill"]


def is_the_same_fill(fill: Fill, true: dict[str, Any]) -> bool:
    """Return whether a fill says what the venue's own list says of it, to the last digit."""
    shown = (fill.order_id, fill.qty, fill.price, fill.cost, fill.fees.get(true["fee_asset"], Decimal(0)))
    return shown == (true["order_id"], *(Decimal(true[name]) for name in ("last_qty", "last_price", "cost", "fee")))


@attrs.frozen(kw_only=True)
class Before:
    """What is known of the fills of an account when a life of the engine begins."""

    first: int | None = None
    """Number of the venue's fill with which the story on record begins; None: perhaps none is on record."""
    kept: frozenset[str] = frozenset()
    """Ids of those that are on record for certain: nobody is told of them again."""
    perhaps: frozenset[str] = frozenset()
    """Ids of those that readers were told of in earlier lives, and that may be on record."""


@attrs.define(kw_only=True, eq=False)
class FillsJudge:
    """One reader of the fills of one account, in all lives of an engine that keeps them."""

    world: World
    account: str
    verdict: Verdict
    _ids: dict[int, str] = attrs.field(factory=dict[int, str], init=False)
    """What was delivered under each number."""
    _numbers: dict[str, int] = attrs.field(factory=dict[str, int], init=False)
    _next: int | None = attrs.field(default=None, init=False)
    """The number that has to come next; None: a stream begins."""
    _acknowledged: int = attrs.field(default=0, init=False)
    """The highest number of which it was said that its acknowledgement is on record ..."""
    _perhaps: int = attrs.field(default=0, init=False)
    """... and the highest one that was to be acknowledged."""
    _truth: dict[str, dict[str, Any]] = attrs.field(factory=dict[str, dict[str, Any]], init=False)
    """The venue's fills by id, in order."""
    _told: dict[str, None] = attrs.field(factory=dict[str, None], init=False)
    """Ids of the fills that readers of the feed were told of, in all lives."""

    def told(self, exec_id: str) -> None:
        """Readers of the feed were told of a fill: from now on it may be on record."""
        self._told[exec_id] = None

    def before(self) -> Before:
        """Return what a life that begins now finds."""
        self._learn()
        first = list(self._truth).index(self._ids[1]) if 1 in self._ids else None
        return Before(
            first=first,
            kept=frozenset(self._numbers),
            perhaps=frozenset(exec_id for exec_id in self._told if exec_id not in self._numbers),
        )

    def begin(self) -> None:
        """A stream begins, behind what was acknowledged last."""
        self._next = None

    def delivered(self, number: int, fill: Fill) -> bool:
        """Take what the stream brought, and return whether it has brought it before."""
        again = number in self._ids
        if self._next is None and not self._acknowledged < number <= self._perhaps + 1:
            self._fail(f"expected a stream to begin behind {self._acknowledged} to {self._perhaps}, got {number}")
        elif self._next is not None and number != self._next:
            self._fail(f"expected fill {self._next}, got {number}")
        self._next = number + 1
        known = self._ids.setdefault(number, fill.exec_id)
        if known != fill.exec_id or self._numbers.setdefault(fill.exec_id, number) != number:
            self._fail(f"expected {known} under {number}, and nowhere else, got {fill.exec_id}")
        self._learn()
        true = self._truth.get(fill.exec_id)
        if true is None or not is_the_same_fill(fill, true):
            self._fail(f"{fill.exec_id}: expected {true}, got {fill}")
        return again

    def acknowledging(self, number: int) -> None:
        """A fill, and all before it, are about to be acknowledged."""
        self._perhaps = max(self._perhaps, number)

    def acknowledged(self, number: int) -> None:
        """That is said to be on record."""
        self._acknowledged = max(self._acknowledged, number)

    def missing(self) -> list[str]:
        """Return the ids of the venue's fills, from the first one delivered on, that were not delivered."""
        self._learn()
        ids = list(self._truth)
        first = ids.index(self._ids[1]) if 1 in self._ids else len(ids)
        return [exec_id for exec_id in ids[first:] if exec_id not in self._numbers]

    def _learn(self) -> None:
        for fill in self.world.exchange.private.truth.fills(self.account, len(self._truth)):
            self._truth[fill["exec_id"]] = fill

    def _fail(self, what: str) -> None:
        self.verdict.fail("I-13", f"account {self.account}, fills on record: {what}")


@attrs.define(kw_only=True, eq=False)
class NonceJudge:
    """The nonces of one account whose marks are on the disk, as the venue saw them, in all lives of the engine."""

    world: World
    account: str
    verdict: Verdict
    _seen: dict[str, int] = attrs.field(factory=dict[str, int], init=False)
    """How many the venue has seen, by key."""
    _used: set[tuple[str, int]] = attrs.field(factory=set[tuple[str, int]], init=False)
    _highest: dict[str, int] = attrs.field(factory=dict[str, int], init=False)
    _floor: dict[str, int] = attrs.field(factory=dict[str, int], init=False)
    """The highest that the venue had seen when the last life ended."""

    def killed(self) -> None:
        """The engine was killed: what it sends from now on lies above all that arrived."""
        self.look()
        self._floor = dict(self._highest)

    def look(self) -> None:
        """Look at what the venue has seen since the last look."""
        for name, told in self.world.exchange.private.truth.nonces(self.account).items():
            for nonce, *_ in told["seen"][self._seen.get(name, 0) :]:
                if (name, nonce) in self._used:
                    self._fail(f"expected each nonce once, got {nonce} again")
                if nonce <= self._floor.get(name, -1):
                    self._fail(f"expected a nonce above {self._floor[name]}, of an earlier life, got {nonce}")
                self._used.add((name, nonce))
                self._highest[name] = max(nonce, self._highest.get(name, -1))
            self._seen[name] = len(told["seen"])

    def _fail(self, what: str) -> None:
        self.verdict.fail("I-18", f"account {self.account}: {what}")
