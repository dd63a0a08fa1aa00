"""Which states of a book come before which, where lines tell the same changes in different portions.

Each line, or each group of lines in step, has a sequence of states (:mod:`~kraken_engine.state.book_log`). A *place* is
one state of one sequence. A sequence that was begun from a place has passed all that the old one had passed there; one
that was met at a place has, from there on, passed all that the other had. All else is in no order.

Knows nothing of books: places are compared, not what is there. It remembers the last few sequences only.
"""

from __future__ import annotations

__all__ = ["MOST_REMEMBERED", "Lineage", "Place"]

MOST_REMEMBERED = 8
"""Other sequences of which is remembered how they stand to this one."""

Place = tuple[object, int]
"""The token of a sequence, and a position in it."""


class Lineage:
    """How one sequence of states stands to others."""

    __slots__ = ("_passed", "token")

    def __init__(self) -> None:
        self.token = object()
        """Stands for this sequence in places, and keeps nothing else alive."""
        self._passed: dict[object, tuple[int, int]] = {}
        """By token of another sequence: up to which position there all was passed, and at which position here."""

    def begin(self, parent: Lineage, at: int) -> None:
        """Note that this sequence begins, at position 0, with the state of ``parent`` at ``at``."""
        for token, (there, here) in parent._passed.items():
            if here <= at:
                self._note(token, there, 0)
        self._note(parent.token, at, 0)

    def meet(self, other: Lineage, there: int, here: int) -> None:
        """Note that the state of ``other`` at ``there`` is the one of this sequence at ``here``."""
        for token, (passed, at) in other._passed.items():
            if at <= there and token is not self.token and token not in self._passed:
                self._note(token, passed, here)
        self._note(other.token, there, here)

    def has_passed(self, place: Place, at: int) -> bool:
        """Return whether the state at ``at`` is known to be ``place``, or to come after it."""
        token, position = place
        if token is self.token:
            return position <= at
        known = self._passed.get(token)
        return known is not None and position <= known[0] and at >= known[1]

    def steps_since(self, other: Lineage, there: int, here: int) -> tuple[int, int] | None:
        """Return how many messages each took from where they parted to where they are one: this one, and ``other``."""
        known = self._passed.get(other.token)
        if known is not None:
            return here - known[1], there - known[0]
        known = other._passed.get(self.token)
        return None if known is None else (here - known[0], there - known[1])

    def _note(self, token: object, there: int, here: int) -> None:
        self._passed.pop(token, None)
        if len(self._passed) >= MOST_REMEMBERED:
            del self._passed[next(iter(self._passed))]
        self._passed[token] = (there, here)
