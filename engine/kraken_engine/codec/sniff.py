"""What an undecodable frame was probably about.

A frame that cannot be decoded may have changed something. Its beginning often still says which channel and symbol it
belonged to; where it does not, everything on the line is under suspicion. Looks at text only, decides nothing.
"""

from __future__ import annotations

import re

__all__ = ["sniff"]

_LOOKED_AT_BYTES = 4096
_CHANNEL = re.compile(rb'"channel"\s*:\s*"([a-z0-9_]{1,24})"')
_SYMBOL = re.compile(rb'"symbol"\s*:\s*"([A-Z0-9./_-]{3,24})"')


def sniff(frame: bytes) -> tuple[str | None, str | None] | None:
    """Return the ``(channel, symbol)`` a broken frame names, None for each it does not name.

    Returns None when the frame cannot have been market data at all: it does not even begin like JSON (an
    intermediary's plain text, for one).
    """
    head = frame[:_LOOKED_AT_BYTES].lstrip()
    if not head.startswith(b"{"):
        return None
    channel = _CHANNEL.search(head)
    symbols = dict.fromkeys(_SYMBOL.findall(head))
    # Two symbols in one frame: a frame of several books, or two frames run together. Blame the whole channel.
    symbol = next(iter(symbols)).decode() if len(symbols) == 1 else None
    return channel[1].decode() if channel else None, symbol
