"""The peer's reply to the WebSocket upgrade, up to the empty line: accepted, refused, or no HTTP at all.

Decides from the bytes alone, so that a refusal is known at once and its body, however long, is never read.
What a 101 must contain is checked by trio-websocket afterwards. Redirects are refusals: nobody follows them.
"""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime

import attrs

from kraken_engine.errors import ConnectFailed, UpgradeRejected, shown

__all__ = ["ReplyHead"]

REFUSED_RETRY_FLOOR_S = 30.0
"""Shortest pause after HTTP 403 or 429: the edge of the venue has blocked or limited this address."""

MAX_RETRY_AFTER_S = 3600.0
"""However long the peer asks us to stay away, we ask again after this."""

_PREFIX = b"HTTP/1."
_END = re.compile(rb"\n\r?\n")
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?: [^\r\n]*)?\r?\n")
_RETRY_AFTER = re.compile(rb"\nretry-after:[ \t]*([^\r\n]{0,64})", re.IGNORECASE)


@attrs.define(kw_only=True)
class ReplyHead:
    """Collect the head of the reply."""

    target: str
    """Whom to name in errors."""
    max_bytes: int
    _head: bytearray = attrs.field(factory=bytearray, init=False)

    def feed(self, data: bytes, *, wall_s: float) -> tuple[bytes, bytes] | None:
        """Take the next piece; return the whole head and what came after it once the head is complete.

        Args:
            data: the bytes read; empty means that the peer closed.
            wall_s: seconds since 1970, against which a date in ``Retry-After`` is read.

        Raises:
            UpgradeRejected: HTTP, but not 101.
            ConnectFailed: closed, not HTTP, or a head above the limit.
        """
        head = self._head
        if not data:
            raise self._failed(f"closed after {len(head)} bytes of the reply")
        searched = max(0, len(head) - 2)
        head += data
        if not head.startswith(_PREFIX[: len(head)]):
            raise self._failed(f"expected HTTP/1.1, got {shown(bytes(head[:40]))}")
        found = _END.search(head, searched)
        if (len(head) if found is None else found.end()) > self.max_bytes:
            raise self._failed(f"reply head above {self.max_bytes} bytes")
        if found is None:
            return None
        whole, rest = bytes(head[: found.end()]), bytes(head[found.end() :])
        status = _STATUS.match(whole)
        if status is None:
            raise self._failed(f"expected an HTTP/1.1 status line, got {shown(whole[:40])}")
        if status[1] != b"101":
            code = int(status[1])
            raise UpgradeRejected(self.target, code, retry_floor_s=_retry_floor_s(code, whole, wall_s))
        return whole, rest

    def _failed(self, why: str) -> ConnectFailed:
        return ConnectFailed("upgrade", self.target, why)


def _retry_floor_s(status: int, head: bytes, wall_s: float) -> float:
    floor_s = REFUSED_RETRY_FLOOR_S if status in (403, 429) else 0.0
    found = _RETRY_AFTER.search(head)
    asked_s = 0.0 if found is None else _retry_after_s(found[1].decode("latin-1").strip(), wall_s)
    return max(floor_s, min(asked_s, MAX_RETRY_AFTER_S))


def _retry_after_s(value: str, wall_s: float) -> float:
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return parsedate_to_datetime(value).timestamp() - wall_s
    except (ValueError, TypeError, OverflowError):
        return 0.0
