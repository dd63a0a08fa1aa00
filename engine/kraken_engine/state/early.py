"""What a line brings before the line that readers follow is that far.

A line that has just got its snapshot may be ahead of the others by the few messages that are still on their way to
them. Shown at once, it would make readers skip what those messages tell. So its states wait here until the followed
line has come to one of them, and what is after that goes on without a hole. Likewise what a line brings that tells
several changes in one, while another line tells them one by one.

Knows nothing of lines, or of how long is too long.
"""

from __future__ import annotations

import math

import attrs

from kraken_engine.normalise.events import MarketEvent
from kraken_engine.state.event_order import EQUAL, order_of, same
from kraken_engine.state.lineage import Place

__all__ = ["MOST_EARLY", "Early", "EarlyStates"]

MOST_EARLY = 1024
"""States of one stream that wait at the most; with more, waiting costs more than a hole."""


@attrs.frozen
class Early:
    """One state that waits."""

    state: MarketEvent
    place: Place | None
    """Where its line stood with it."""
    patience_s: float
    """How long it may wait, from when it was received."""
    after: MarketEvent | None
    """What readers were shown last, if its line had brought that before; None: it had not, as far as is known."""


@attrs.define
class EarlyStates:
    """The states of one stream that one line brought early, in its order."""

    due_s: float = attrs.field(default=math.inf, init=False)
    """Until when they wait."""
    _states: list[Early] = attrs.field(factory=list[Early], init=False)

    def __len__(self) -> int:
        return len(self._states)

    def add(self, early: Early) -> None:
        """Let one more wait: as long as it may, if it is the first, or is one that may wait longer."""
        due_s = early.state.received_s + early.patience_s
        if not self._states or early.patience_s > self._states[0].patience_s:
            self.due_s = due_s
        self._states.append(early)

    def clear(self) -> None:
        """Forget them: their line cannot be trusted any more, and the others bring them."""
        self._states.clear()
        self.due_s = math.inf

    def include(self, shown: MarketEvent | None) -> bool:
        """Return whether what was shown last is one of them: then what follows it is next."""
        return shown is not None and any(_is(shown, early.state) for early in self._states)

    def forget_to(self, shown: MarketEvent) -> None:
        """Forget what was shown last and all before it; what is left waits from when it came."""
        for place in range(len(self._states) - 1, -1, -1):
            if _is(shown, self._states[place].state):
                self._states = [attrs.evolve(one, after=shown) for one in self._states[place + 1 :]]
                break
        first = self._states[0] if self._states else None
        self.due_s = math.inf if first is None else first.state.received_s + first.patience_s

    def take(self) -> list[Early]:
        """Return, and forget, all of them."""
        states = list(self._states)
        self.clear()
        return states


def _is(shown: MarketEvent, state: MarketEvent) -> bool:
    return order_of(shown, state) == EQUAL and same(shown, state)
