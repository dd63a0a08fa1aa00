"""Which stream is compared with REST next, and what a difference that nothing explains leads to.

Streams take turns, the one that was compared longest ago first. One difference proves little: the two sources never
answer at the same instant, and what explains it may be on its way. So it is looked at once more, a moment later. If it
is still there, the stream is asked for anew, once: should it differ again from a snapshot the venue has just sent, then
it is REST that is wrong, or old, and asking on and on would only keep readers from their data. That is told and
counted, until the two have agreed again.

Knows nothing of prices, REST or tasks; streams are opaque.
"""

from __future__ import annotations

import enum
from collections.abc import Collection

import attrs

from kraken_engine.control.failover import Stream

__all__ = ["Consequence", "Verification"]


class Consequence(enum.Enum):
    """What a comparison leads to."""

    NOTHING = "nothing"
    LOOK_AGAIN = "look again"
    RESYNC = "resync"
    """Trust the stream no more until it has a fresh snapshot."""
    TELL = "tell"
    """It was asked for anew already: tell, and leave it."""


@attrs.define
class Verification:
    """Turns and doubts of one market."""

    compared: int = attrs.field(default=0, init=False)
    """Comparisons that came to something."""
    differences: int = attrs.field(default=0, init=False)
    """Those that nothing explained, a second look included."""
    resyncs: int = attrs.field(default=0, init=False)
    """Streams that were asked for anew because of one."""
    _turns: dict[Stream, None] = attrs.field(factory=dict[Stream, None], init=False)
    """The stream that was compared longest ago first."""
    _doubted: dict[Stream, None] = attrs.field(factory=dict[Stream, None], init=False)
    """Streams that differed at the last look ..."""
    _renewed: dict[Stream, None] = attrs.field(factory=dict[Stream, None], init=False)
    """... and those that were asked for anew, and have not agreed since."""

    def take(self, streams: Collection[Stream]) -> Stream | None:
        """Return the one of ``streams`` whose turn it is, and put it at the end; None: there are none.

        A turn begins without a doubt: one whose second look came to nothing was of another time.
        """
        for memory in (self._turns, self._doubted, self._renewed):
            for gone in [stream for stream in memory if stream not in streams]:
                del memory[gone]
        turns = {**dict.fromkeys(stream for stream in streams if stream not in self._turns), **self._turns}
        if not turns:
            return None
        stream = next(iter(turns))
        del turns[stream]
        self._turns = {**turns, stream: None}
        self._doubted.pop(stream, None)
        return stream

    def judge(self, stream: Stream, *, agrees: bool) -> Consequence:
        """Return what follows from a comparison of ``stream``."""
        self.compared += 1
        if agrees:
            self._doubted.pop(stream, None)
            self._renewed.pop(stream, None)
            return Consequence.NOTHING
        self.differences += 1
        if stream not in self._doubted:
            self._doubted[stream] = None
            return Consequence.LOOK_AGAIN
        del self._doubted[stream]
        if stream in self._renewed:
            return Consequence.TELL
        self._renewed[stream] = None
        self.resyncs += 1
        return Consequence.RESYNC
