"""Compares what a consumer was shown with what the venue sent: complete, in order, nothing twice."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import attrs

__all__ = ["Comparison", "compare", "microseconds"]

Point = tuple[int, int]
"""Venue time in µs since 1970, and checksum."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@attrs.frozen(kw_only=True)
class Comparison:
    """What is wrong with a consumer's stream; all zero: nothing."""

    shown: int = 0
    missing: int = 0
    """Sent between the first and the last shown, and not shown."""
    repeated: int = 0
    """Shown more than once."""
    unknown: int = 0
    """Never sent; a first snapshot aside."""

    @property
    def wrong(self) -> int:
        """How many in all."""
        return self.missing + self.repeated + self.unknown

    def __add__(self, other: Comparison) -> Comparison:
        return Comparison(
            shown=self.shown + other.shown,
            missing=self.missing + other.missing,
            repeated=self.repeated + other.repeated,
            unknown=self.unknown + other.unknown,
        )


def compare(shown: Sequence[object], sent: Sequence[object]) -> Comparison:
    """Compare a consumer's stream with the venue's, from the first thing both have to the last one shown.

    What is shown late counts as missing where it belongs, and as repeated where it comes.
    """
    places = {point: place for place, point in reversed(list(enumerate(sent)))}
    expected: int | None = None
    missing = repeated = unknown = 0
    for point in shown:
        if expected is not None and expected < len(sent) and sent[expected] == point:
            expected += 1
            continue
        place = places.get(point)
        if place is None:
            unknown += expected is not None  # a first snapshot may be of a book that nobody was told before
        elif expected is None or place >= expected:
            missing += 0 if expected is None else place - expected
            expected = place + 1
        else:
            repeated += 1
    return Comparison(shown=len(shown), missing=missing, repeated=repeated, unknown=unknown)


def microseconds(timestamp: str | None) -> int:
    """Return an RFC 3339 time as microseconds since 1970."""
    if timestamp is None:
        return 0
    return (datetime.fromisoformat(timestamp) - _EPOCH) // timedelta(microseconds=1)
