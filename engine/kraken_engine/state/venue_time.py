"""The venue's timestamps of one stream, which consumers must never see go backwards (I-4).

Compares timestamps as text, since that is what they are until somebody reads them: RFC 3339, UTC, any number of
digits after the second (the streams write six, or nine, REST is rounded, and half a second may be ``.5``). Knows
nothing of our own clock.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import attrs

__all__ = ["WENT_BACK", "VenueTimeFloor", "is_before", "is_later_by", "is_venue_time", "time_key"]

WENT_BACK = "venue time went back"
"""How readers are told that the venue's own clock was set back: after that, times may start lower."""

_RFC3339_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z", re.ASCII)


def is_venue_time(text: str) -> bool:
    """Return whether ``text`` has the form of the venue's timestamps (``2026-07-07T23:00:03.947173Z``)."""
    return _RFC3339_UTC.fullmatch(text) is not None


def time_key(text: str) -> str:
    """Return the venue's time ``text`` in a form that compares as times do; no time (``""``) is before all others."""
    if not text:
        return ""
    seconds, _, fraction = text.rstrip("Z").partition(".")
    return f"{seconds}.{fraction:0<9}"


def is_before(one: str, other: str) -> bool:
    """Return whether the venue's time ``one`` lies before ``other``."""
    if len(one) == len(other):
        return one < other
    return time_key(one) < time_key(other)


def is_later_by(one: str, other: str, seconds: float) -> bool:
    """Return whether the venue's time ``one`` lies more than so many seconds after ``other``; False if one is none."""
    if not is_before(other, one):
        return False
    try:
        return datetime.fromisoformat(one) - datetime.fromisoformat(other) > timedelta(seconds=seconds)
    except (ValueError, TypeError):  # no time, or one with a zone and one without
        return False


@attrs.define
class VenueTimeFloor:
    """The latest venue time that was shown; what is older must not be shown after it.

    Equal is not older: the venue's timestamps are not unique. None (older servers send no time) is never older.
    """

    _latest: str = attrs.field(default="", init=False)

    def is_behind(self, venue_time: str | None) -> bool:
        """Return whether ``venue_time`` lies before the latest one shown."""
        # What lies before is less as text, too; the same time with fewer digits is as well, and that is rare.
        return (
            venue_time is not None
            and venue_time.rstrip("Z") < self._latest
            and time_key(venue_time) < time_key(self._latest)
        )

    def raise_to(self, venue_time: str | None) -> None:
        """Record that ``venue_time`` is shown now."""
        if venue_time is not None:
            self._latest = venue_time.rstrip("Z")

    def reset(self) -> None:
        """Forget: the venue's own clock was found to have gone back."""
        self._latest = ""
