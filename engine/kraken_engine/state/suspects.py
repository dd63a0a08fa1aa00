"""Streams of a line that was silent and speaks again: which of them have to be asked for anew.

A silent line makes all it feeds stale, and only data makes a stream live again (I-7). Most streams prove themselves
within moments. Those of a quiet symbol do not, and would stay stale although nothing was lost: what is still stale
after as long as a silence that makes stale is asked for anew, once, since a fresh snapshot is data. While the line is
late nothing it sends is proof, so that has to wait.

Knows nothing of tasks, and asks nobody itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import attrs

from kraken_engine.state.freshness import StreamKey

__all__ = ["Suspects"]


@attrs.define
class Suspects:
    """The suspects of one connection."""

    patience_s: float
    """How long a stream has to prove itself."""
    due_s: float = attrs.field(default=math.inf, init=False)
    """When :meth:`take` has something to say."""
    _streams: Sequence[StreamKey] = attrs.field(default=(), init=False)

    def spoke_again(self, streams: Sequence[StreamKey], *, now: float) -> None:
        """The line has ended its silence; all of ``streams`` have to prove themselves from now on."""
        self._streams = streams
        self.due_s = now + self.patience_s

    def take(self, is_stale: Callable[[StreamKey], bool], *, late: bool, now: float) -> list[StreamKey]:
        """Return, once, the streams to ask for anew."""
        if now < self.due_s or late:
            return []
        suspects, self._streams = self._streams, ()
        self.due_s = math.inf
        return [key for key in suspects if is_stale(key)]
