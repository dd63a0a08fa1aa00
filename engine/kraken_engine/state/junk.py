"""What an undecodable frame costs: the state it may have changed, and in the end the connection.

A frame is never skipped silently. Where it names a channel and a symbol, that one stream may lack an update; where it
does not, any stream of the line may. Frames that cannot have been data at all cost nothing but patience, of which there
is little: a peer that sends several within seconds is not worth listening to.

Knows nothing of what becomes of the streams, nor of sockets.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from kraken_engine.codec.sniff import sniff
from kraken_engine.control.tripwire import Tripwire
from kraken_engine.errors import DecodeError

__all__ = ["JUNK_FRAMES", "JUNK_WINDOW_S", "Junk", "Lost"]

JUNK_FRAMES = 3
"""So many undecodable frames ..."""
JUNK_WINDOW_S = 10.0
"""... within such a time are the end of a connection."""


@attrs.frozen
class Lost:
    """Among the messages of a channel, where they are missing: those of ``symbol`` (None: of any) could not be had."""

    why: str
    symbol: str | None


@attrs.define
class Junk:
    """The judge of one connection's undecodable frames."""

    channels: Sequence[str]
    """The channels of the line whose state a frame may have changed."""
    _tripwire: Tripwire = attrs.field(factory=lambda: Tripwire(JUNK_FRAMES, JUNK_WINDOW_S), init=False)

    def cost(self, frame: bytes, error: DecodeError) -> list[tuple[str, Lost]]:
        """Return what may be missing because ``frame`` could not be decoded, by channel."""
        suspect = sniff(frame)
        if suspect is None:
            return []
        channel, symbol = suspect
        concerned = self.channels if channel is None else [channel] if channel in self.channels else []
        return [(name, Lost(f"undecodable frame ({error})", symbol)) for name in concerned]

    def verdict(self, error: DecodeError, *, now: float) -> str | None:
        """Count one undecodable frame, and return why the connection is to be given up; None: not yet."""
        if not self._tripwire.fault(now=now):
            return None
        return f"{JUNK_FRAMES} undecodable frames within {JUNK_WINDOW_S:g} s, last: {error}"
