"""Maintenance that is coming, as the ``status`` frame announces it (docs "Status", two arrays since 2026).

The documents name what an entry tells, and its values; the names of its fields were never seen, and are ours.
"""

from __future__ import annotations

from typing import Any

import attrs

from kraken_engine.errors import UsageError
from kraken_engine.venue.core.timestamps import Stamps

__all__ = ["ACTIONS", "STAGES", "Notice"]

STAGES = ("announced", "reminder_24h", "approaching_30m", "imminent_5m", "final_warning_30s", "unspecified")
"""How close it is."""
ACTIONS = (
    "continue",
    "reduce_activity",
    "cancel_open_orders",
    "stop_new_orders",
    "disconnect_and_wait",
    "unspecified",
)
"""What clients are advised to do."""


def _one_of(words: tuple[str, ...]) -> Any:
    def check(_: object, attribute: attrs.Attribute[str], value: str) -> None:
        if value not in words:
            raise UsageError(f"{attribute.name}: expected one of {', '.join(words)}, got {value!r}")

    return check


@attrs.frozen(kw_only=True)
class Notice:
    """One window of maintenance of the WebSocket servers."""

    notice: str = attrs.field(validator=_one_of(STAGES))
    action: str = attrs.field(validator=_one_of(ACTIONS))
    begin_ns: int
    """Wall-clock time, as ``end_ns``."""
    end_ns: int
    session_id: int | None
    """The one session that is told of it; None: all are, those that open until then as well."""

    def entry(self, stamps: Stamps) -> bytes:
        """Return the entry of ``upcoming_maintenance``."""
        return b'{"status":"%b","services":["spot_ws"],"action":"%b","begin":"%b","end":"%b"}' % (
            self.notice.encode(),
            self.action.encode(),
            stamps.micros(self.begin_ns),
            stamps.micros(self.end_ns),
        )
