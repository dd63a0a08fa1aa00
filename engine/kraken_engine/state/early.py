"""What a line brings before the line that readers follow is that far.

A line that has just got its snapshot may be ahead of the others by the few messages that are still on their way to
them. Shown at once, it would make readers skip what those messages tell. So its states wait here until the followed
line has come to one of them, and what is after that goes on without a hole.

Knows nothing of lines, or of how long is too long.
"""

from __future__ import annotations

import attrs

from kraken_engine.normalise.events import MarketEvent
from kraken_engine.state.event_order import EQUAL, NEWER, order_of, same

__all__ = ["MOST_EARLY", "EarlyStates"]

MOST_EARLY = 1024
"""States of one stream that wait at the most; with more, waiting costs more than a hole."""


@attrs.define
class EarlyStates:
    """The states of one stream that one line brought early, in its order."""

    _states: list[MarketEvent] = attrs.field(factory=list[MarketEvent], init=False)

    def __len__(self) -> int:
        return len(self._states)

    @property
    def since_s(self) -> float:
        """When the first of them was received."""
        return self._states[0].received_s

    def add(self, state: MarketEvent) -> None:
        """Let one more wait."""
        self._states.append(state)

    def clear(self) -> None:
        """Forget them: their line cannot be trusted any more, and the others bring them."""
        self._states.clear()

    def include(self, shown: MarketEvent | None) -> bool:
        """Return whether what was shown last is one of them: then what follows it is next."""
        return shown is not None and any(_is(shown, state) for state in self._states)

    def take_after(self, shown: MarketEvent | None) -> list[MarketEvent]:
        """Return, and forget, those after what was shown last, or all that are newer if it is not among them."""
        states, self._states = self._states, []
        if shown is None:
            return states
        for place in range(len(states) - 1, -1, -1):
            if _is(shown, states[place]):
                return states[place + 1 :]
        return [state for state in states if order_of(shown, state) == NEWER]


def _is(shown: MarketEvent, state: MarketEvent) -> bool:
    return order_of(shown, state) == EQUAL and same(shown, state)
