"""The numbers of one private subscription: what is the next message, what was there before, what is missing (I-14).

The venue numbers the messages of each subscription from 1, the snapshot. Knows nothing of what they say.
"""

from __future__ import annotations

import enum

import attrs

__all__ = ["Place", "Sequence"]


class Place(enum.Enum):
    """Where a message stands."""

    NEXT = "next"
    REPEATED = "repeated"
    """At or below the last one: it has been applied already, or it belongs to a time before the snapshot."""
    BEYOND = "beyond"
    """Something before it is missing."""
    EARLY = "early"
    """There has been no snapshot yet to which it could belong."""


@attrs.define
class Sequence:
    """Judges message after message of one subscription at a time."""

    last: int | None = attrs.field(default=None, init=False)
    """Number of the last message taken; None: a snapshot is awaited."""
    repeated: int = attrs.field(default=0, init=False)
    gaps: int = attrs.field(default=0, init=False)
    early: int = attrs.field(default=0, init=False)

    def take(self, number: int, *, snapshot: bool) -> Place:
        """Return where the message ``number`` stands; one that is next counts as taken.

        A snapshot starts the sequence anew, whatever came before it.
        """
        if snapshot:
            self.last = number
            return Place.NEXT
        if self.last is None:
            self.early += 1
            return Place.EARLY
        if number <= self.last:
            self.repeated += 1
            return Place.REPEATED
        if number != self.last + 1:
            self.gaps += 1
            return Place.BEYOND
        self.last = number
        return Place.NEXT

    def reset(self) -> None:
        """Wait for a snapshot: what comes before it cannot be placed."""
        self.last = None
