"""Which announced maintenance will end our connections, so that they are replaced before it does.

The venue announces windows and incidents in its status messages (docs "Status", since 2026): how close one is, which
services it affects, what it advises. The names of the keys were never seen, and may differ; so an entry is read by its
values, whatever they are called, and what is not understood is no reason to do anything.

A new connection lands on servers that are not about to go, if there are any. Each announcement counts once for each of
its stages, and any two of one stage within :data:`STAGE_S` as one: a field that changes with every message would have
connections replaced for ever.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import attrs

__all__ = ["STAGE_S", "Maintenance"]

STAGE_S = 600.0
"""How long connections made for one stage of an announcement are new enough for another one of that stage."""

_SERVICES = frozenset({"spot_ws", "all"})
"""Words for what carries market data."""

_CLOSE = frozenset({"approaching_30m", "imminent_5m", "final_warning_30s"})
"""Stages at which a window is near enough to move; earlier ones would only move twice."""

_MOST_WORDS = 200
_DEEPEST = 4
_REMEMBERED = 64


@attrs.define
class Maintenance:
    """Remembers which announcements were acted on."""

    _known: dict[tuple[str, ...], None] = attrs.field(factory=dict[tuple[str, ...], None], init=False)
    _acted_s: dict[str, float] = attrs.field(factory=dict[str, float], init=False)
    """By stage: when connections were replaced for it last."""

    def announced(self, entries: Sequence[object], *, now: float) -> str | None:
        """Return why connections should be replaced now, or None.

        Args:
            entries: announcements as sent, of any shape.
            now: monotonic seconds.
        """
        why: str | None = None
        for entry in entries:
            words = tuple(sorted(dict.fromkeys(_words(entry, _DEEPEST))))[:_MOST_WORDS]
            stage = next((word for word in words if word in _CLOSE), None)
            if stage is None or not _SERVICES.intersection(words) or words in self._known:
                continue
            if len(self._known) >= _REMEMBERED:
                del self._known[next(iter(self._known))]
            self._known[words] = None
            if now - self._acted_s.get(stage, -math.inf) < STAGE_S:
                continue
            self._acted_s[stage] = now
            why = f"maintenance of the venue: {stage}"
        return why


def _words(value: object, depth: int) -> Iterator[str]:
    """Return every text in ``value``, keys left out."""
    if isinstance(value, str):
        yield value
    elif depth and isinstance(value, Mapping):
        for item in cast("Mapping[object, object]", value).values():
            yield from _words(item, depth - 1)
    elif depth and isinstance(value, (list, tuple)):
        for item in cast("Sequence[object]", value):
            yield from _words(item, depth - 1)
