"""Times as the venue writes them: RFC 3339 in UTC with six or nine decimals, from integer nanoseconds since 1970."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

__all__ = ["NS_PER_S", "NS_PER_US", "Stamps", "http_date", "rfc1123", "rfc3339_ns"]

NS_PER_S = 1_000_000_000
NS_PER_US = 1_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Stamps:
    """Write times. The text up to the second is kept, since one second is asked for thousands of times in a row."""

    def __init__(self) -> None:
        self._second = -1
        self._text = b""

    def micros(self, wall_ns: int) -> bytes:
        """Return ``2026-07-07T23:00:03.947173Z``."""
        second, rest = divmod(wall_ns, NS_PER_S)
        if second != self._second:
            self._turn(second)
        return b"%b.%06dZ" % (self._text, rest // NS_PER_US)

    def nanos(self, wall_ns: int) -> bytes:
        """Return ``2026-07-07T23:00:03.947173566Z``."""
        second, rest = divmod(wall_ns, NS_PER_S)
        if second != self._second:
            self._turn(second)
        return b"%b.%09dZ" % (self._text, rest)

    def seconds(self, wall_ns: int) -> bytes:
        """Return ``2026-07-07T23:00:03Z``."""
        second = wall_ns // NS_PER_S
        if second != self._second:
            self._turn(second)
        return self._text + b"Z"

    def _turn(self, second: int) -> None:
        self._second = second
        self._text = (_EPOCH + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S").encode()


def rfc1123(wall_ns: int) -> str:
    """Return ``Tue, 11 Nov 25 00:17:04 +0000``, the form of the REST ``Time`` answer."""
    at = _EPOCH + timedelta(seconds=wall_ns // NS_PER_S)
    day = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[at.weekday()]
    month = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")[at.month - 1]
    return f"{day}, {at.day:02d} {month} {at.year % 100:02d} {at.hour:02d}:{at.minute:02d}:{at.second:02d} +0000"


def http_date(wall_ns: int) -> str:
    """Return ``Tue, 11 Nov 2025 00:17:04 GMT``, the form of the header ``Date`` of every answer (RFC 9110, 5.6.7)."""
    day, date, month, _, time, _ = rfc1123(wall_ns).split(" ")
    year = (_EPOCH + timedelta(seconds=wall_ns // NS_PER_S)).year
    return f"{day} {date} {month} {year} {time} GMT"


def rfc3339_ns(text: str) -> int | None:
    """Return the nanoseconds since 1970 of ``2026-07-07T23:00:03.947Z``, to the microsecond; None: no such time."""
    try:
        return (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1) * NS_PER_US
    except (ValueError, TypeError):
        return None
