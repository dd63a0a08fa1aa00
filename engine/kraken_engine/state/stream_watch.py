"""Which subscription of which line is mute, found out by what another line brings.

A symbol that is silent on one line says nothing: the market may be quiet. But where a second line has brought
something newer, this one should have brought it, too (I-6). So the lines are compared, stream by stream, by how far
each has come in the venue's own words: times, trade ids, candles. Behind is every slower line for a moment; mute is
one that is behind and does not move at all, although its line was heard of since: TCP keeps the order, so what was
sent before a heartbeat is here when that is. A line of which nothing is heard is the business of its liveness.

Remedies grow: ask anew, on that line alone; then bring the stream on another line instead, if there is one that does
not carry it; else ask anew, more and more seldom. A line of which nothing moves although several streams should is
not worth such patience: it is replaced as a whole, heartbeats or not.

Nobody is called stale here: readers have the stream from the other line. Knows nothing of connections or tasks.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping

import attrs

from kraken_engine.config import PoolSettings
from kraken_engine.state.channel_view import Progress
from kraken_engine.state.freshness import StreamKey

__all__ = ["FIRST_DATA_S", "FORGIVEN_S", "Mute", "Remedy", "Report", "StreamWatch"]

FIRST_DATA_S = 2.5
"""How long a confirmed subscription may take to bring its first data, while another line has some."""

_MANY = 2
"""So many streams have to be mute before a line of which nothing moves is given up."""

_MOST_DOUBLINGS = 4

FORGIVEN_S = 60.0
"""A subscription that falls silent again within such a time after a remedy gets the next stronger one."""


@attrs.frozen
class Report:
    """How one line stands with one stream."""

    progress: Progress | None
    """How far it has come on this connection; None: it brought nothing, or nothing that can be compared."""
    awaited: bool = False
    """Whether the venue has confirmed the subscription, and nothing has come of it yet."""
    is_dated: bool = True
    """Whether others can be measured by it: the time of a snapshot may be that of asking."""
    heard_s: float = math.inf
    """When the line was heard of last, a heartbeat included."""


class Remedy(enum.Enum):
    """What is to be done about a mute subscription."""

    RESUBSCRIBE = "resubscribe"
    MOVE = "move"
    """Bring the stream on another line instead; where none is free, ask anew."""
    REPLACE = "replace"
    """The connection as a whole: end it and make another."""


@attrs.frozen(kw_only=True)
class Mute:
    """A subscription that is silent though it should not be."""

    line: str
    key: StreamKey
    why: str
    remedy: Remedy


@attrs.define
class _Behind:
    progress: Progress | None
    since_s: float
    """Since when it is behind and has not moved."""
    tries: int = 0
    not_before_s: float = 0.0


@attrs.define
class StreamWatch:
    """Compares the lines of a pool."""

    settings: PoolSettings
    _behind: dict[tuple[str, StreamKey], _Behind] = attrs.field(
        factory=dict[tuple[str, StreamKey], _Behind], init=False
    )
    _seen: dict[tuple[str, StreamKey], Progress] = attrs.field(
        factory=dict[tuple[str, StreamKey], Progress], init=False
    )
    _moved_s: dict[str, float] = attrs.field(factory=dict[str, float], init=False)
    """By line: when any of its streams was last seen to have moved."""

    def look(self, reports: Mapping[StreamKey, Mapping[str, Report]], *, now: float) -> list[Mute]:
        """Compare, and return what has to be healed now.

        Args:
            reports: of every stream, how each line stands that is up, in time, and subscribed to it as far as is known.
            now: the present time.
        """
        self._note_moves(reports, now)
        behind: dict[tuple[str, StreamKey], _Behind] = {}
        due: list[tuple[str, StreamKey]] = []
        for key, lines in reports.items():
            newest = _newest(lines)
            if newest is None:
                continue
            for line, report in lines.items():
                if report.progress is None and not report.awaited:
                    continue
                if report.progress is not None and not _before(report.progress, newest):
                    self._recovered(line, key, report.progress, behind, now)
                    continue
                place = (line, key)
                known = behind[place] = self._behind.get(place) or _Behind(report.progress, now)
                if known.progress != report.progress:
                    known.progress, known.since_s = report.progress, now
                patience_s = FIRST_DATA_S if report.progress is None else self.settings.mute_after_s
                speaks = report.heard_s >= known.since_s + self.settings.mute_after_s / 2
                if speaks and now >= max(known.since_s + patience_s, known.not_before_s):
                    due.append(place)
        self._behind = behind
        return self._remedies(due, now)

    def _note_moves(self, reports: Mapping[StreamKey, Mapping[str, Report]], now: float) -> None:
        seen: dict[tuple[str, StreamKey], Progress] = {}
        for key, lines in reports.items():
            for line, report in lines.items():
                self._moved_s.setdefault(line, now)
                if report.progress is not None:
                    seen[line, key] = report.progress
                    if self._seen.get((line, key)) != report.progress:
                        self._moved_s[line] = now
        self._seen = seen

    def _recovered(
        self,
        line: str,
        key: StreamKey,
        progress: Progress,
        behind: dict[tuple[str, StreamKey], _Behind],
        now: float,
    ) -> None:
        """Remember for a while what was tried: a stream that caught up may fall silent again at once."""
        known = self._behind.get((line, key))
        if known is not None and known.tries and now < known.not_before_s + FORGIVEN_S:
            known.progress, known.since_s = progress, now
            behind[line, key] = known

    def _remedies(self, due: list[tuple[str, StreamKey]], now: float) -> list[Mute]:
        found: list[Mute] = []
        given_up: dict[str, None] = {}
        for line, key in due:
            if line in given_up:
                continue
            count = sum(1 for other, _ in due if other == line)
            still_s = now - self._moved_s.get(line, now)
            known = self._behind[line, key]
            if count >= _MANY and still_s >= self.settings.mute_after_s:
                given_up[line] = None
                why = f"nothing of {count} streams that another line brings, for {still_s:.1f} s"
                found.append(Mute(line=line, key=key, why=why, remedy=Remedy.REPLACE))
                continue
            remedy = Remedy.MOVE if known.tries == 1 else Remedy.RESUBSCRIBE
            if known.progress is None:
                why = f"confirmed, but no data within {now - known.since_s:.1f} s"
            else:
                why = f"silent for {now - known.since_s:.1f} s while another line moves"
            pause_s = self.settings.heal_patience_s * 2.0 ** min(known.tries, _MOST_DOUBLINGS)
            known.tries += 1
            known.not_before_s = now + pause_s
            found.append(Mute(line=line, key=key, why=why, remedy=remedy))
        for line in given_up:
            for place in [place for place in self._behind if place[0] == line]:
                del self._behind[place]
        return found


def _newest(lines: Mapping[str, Report]) -> Progress | None:
    """Return the farthest that any line has come; None if there is nothing to compare."""
    newest: Progress | None = None
    if len(lines) < 2:
        return None
    for report in lines.values():
        if report.progress is not None and report.is_dated and (newest is None or _before(newest, report.progress)):
            newest = report.progress
    return newest


def _before(one: Progress, other: Progress) -> bool:
    # Both are of one stream, so of one type; a checker cannot know that.
    return one < other  # type: ignore[operator]
