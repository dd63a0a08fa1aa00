"""Which streams somebody reads, and since when: to nobody else has anything been promised.

A stream that its last reader left stays subscribed for a while, in case somebody comes back. What becomes of it then is
nobody's business, so a judge of times has to know.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Generator, Iterable
from contextlib import contextmanager

import attrs
import trio

from kraken_engine.state.freshness import StreamKey

__all__ = ["Readership"]

_Place = tuple[object, ...]
"""Channel and symbol: subscriptions that differ in nothing else are one to a fault."""


@attrs.define
class Readership:
    """Counts the readers of each channel and symbol."""

    _readers: Counter[_Place] = attrs.field(factory=Counter[_Place], init=False)
    _since: dict[_Place, float] = attrs.field(factory=dict[_Place, float], init=False)

    @contextmanager
    def reading(self, keys: Iterable[StreamKey]) -> Generator[None]:
        """Count one more reader of ``keys`` while the block lasts."""
        places = list(dict.fromkeys(key[:2] for key in keys))
        for place in places:
            self._readers[place] += 1
            self._since.setdefault(place, trio.current_time())
        try:
            yield
        finally:
            for place in places:
                self._readers[place] -= 1
                if not self._readers[place]:
                    del self._since[place]

    def since(self, key: StreamKey) -> float:
        """Return since when there has been a reader of ``key`` without a break; infinity: there is none now."""
        return self._since.get(key[:2], math.inf)
