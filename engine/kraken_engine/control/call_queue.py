"""Which of the waiting REST calls goes next.

The most urgent goes first, and among equals the one that came first. While it waits for its turn in the rate limit,
only calls that cost nothing may overtake it: a stream of cheap ones would otherwise keep it waiting for ever. A full
queue sends away the least urgent; a cancel always finds room. Knows nothing of what the calls are.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar, final

import attrs

__all__ = ["CallQueue", "Urgency", "Wait"]

T = TypeVar("T")


class Urgency(enum.IntEnum):
    """What goes before what: lower is sooner."""

    FAREWELL = 0
    """Cancels of the kill switch and of the end, and the dead man's switch."""
    CANCEL = 1
    TOKEN = 2
    """The key to the private line."""
    ORDER = 3
    RECOVERY = 4
    """What became of orders, fills and balances."""
    SNAPSHOT = 5
    VALIDATION = 6
    BACKUP = 7
    """Market data, balances and orders while their primary source is down."""
    HISTORY = 8
    ADMINISTRATIVE = 9
    CHECK = 10
    """Looking whether all is well, while there is no sign that it is not."""


@attrs.frozen
class Wait:
    """Nothing may go for ``wait_s`` seconds."""

    wait_s: float


@attrs.frozen
class _Place(Generic[T]):
    item: T
    cost: int


@final
@attrs.define
class CallQueue(Generic[T]):
    """At most ``capacity`` waiting calls; items are told apart by identity."""

    capacity: int = attrs.field(default=256, validator=attrs.validators.ge(1))
    _lanes: dict[Urgency, list[_Place[T]]] = attrs.field(
        factory=lambda: {urgency: [] for urgency in Urgency}, init=False, repr=False
    )

    def __len__(self) -> int:
        return sum(map(len, self._lanes.values()))

    def __iter__(self) -> Iterator[T]:
        """Go through the waiting calls in their order."""
        return (place.item for lane in self._lanes.values() for place in lane)

    def put(self, item: T, urgency: Urgency, *, cost: int = 1) -> T | None:
        """Let ``item`` wait, and return who has to leave for it: nobody, a less urgent one, or ``item`` itself."""
        leaves: T | None = None
        if len(self) >= self.capacity:
            last = max(rank for rank, lane in self._lanes.items() if lane)
            if last <= urgency:
                return item
            leaves = self._lanes[last].pop().item
        self._lanes[urgency].append(_Place(item, cost))
        return leaves

    def take(self, wait_s: Callable[[T, int], float]) -> T | Wait | None:
        """Take the call that goes next.

        Args:
            wait_s: for how many seconds an item of a cost has to wait for the rate limit.

        Returns:
            The call, no longer in the queue; how long the first one waits; or None if there is none.
        """
        first_wait: float | None = None
        for lane in self._lanes.values():
            for at, place in enumerate(lane):
                if first_wait is not None and place.cost > 0:
                    continue
                pause_s = wait_s(place.item, place.cost)
                if pause_s <= 0.0:
                    return lane.pop(at).item
                first_wait = pause_s if first_wait is None else min(first_wait, pause_s)
        return None if first_wait is None else Wait(first_wait)

    def remove(self, item: T) -> bool:
        """Take a call out that nobody waits for any more, and say whether it was there."""
        for lane in self._lanes.values():
            for at, place in enumerate(lane):
                if place.item is item:
                    del lane[at]
                    return True
        return False

    def waits(self, urgency: Urgency) -> bool:
        """Return whether a call of this urgency is in the queue."""
        return bool(self._lanes[urgency])
