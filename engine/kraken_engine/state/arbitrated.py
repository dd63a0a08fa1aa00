"""One stream that several lines feed: what readers were told of it, and how each line stands with it.

Answers which line goes on from what was shown last, and which is ahead of that. Decides nothing; knows nothing of time.
"""

from __future__ import annotations

import enum

import attrs

from kraken_engine.normalise.events import Gap, MarketEvent, Refused
from kraken_engine.state.early import EarlyStates
from kraken_engine.state.freshness import StreamKey
from kraken_engine.state.lineage import Place
from kraken_engine.state.member import Member

__all__ = ["Feed", "Stream", "Told"]


class Told(enum.Enum):
    """What readers of a stream were told last of whether it can be trusted."""

    AWAITING = enum.auto()
    LIVE = enum.auto()
    STALE = enum.auto()


@attrs.define(eq=False)
class Feed:
    """One line's part in a stream."""

    live: bool = False
    gap: Gap | None = None
    """How the line healed what it had lost; forgotten when readers did not miss it."""
    refused: Refused | None = None
    place: Place | None = None
    """Where the line stood, among the states of a common book, with the value that is decided about."""
    unsettled: MarketEvent | None = None
    """A state of the shown venue time of which it is not known whether it comes before or after the shown one ..."""
    unsettled_at: Place | None = None
    """... and where the line stood with it."""
    went_back: bool = False
    """Whether the line found that the venue's clock was set back."""
    early: EarlyStates = attrs.field(factory=EarlyStates)
    """What it brought, from its snapshot on, before the line that readers follow was that far."""


@attrs.define(eq=False)
class Stream:
    """What readers of one stream were told, and what each line that feeds it has brought."""

    key: StreamKey
    feeds: dict[Member, Feed] = attrs.field(factory=dict[Member, Feed])
    told: Told = Told.AWAITING
    last: MarketEvent | None = None
    place: Place | None = None
    """Where the line that showed :attr:`last` stood with it, among the states of a common book."""
    by: Member | None = None
    """The line that showed :attr:`last`, unless it fell or got a snapshot since."""
    come: dict[Member, None] = attrs.field(factory=dict[Member, None])
    """Lines that have brought :attr:`last`, as far as they told; whatever these bring next comes after it."""
    shown: list[MarketEvent] = attrs.field(factory=list[MarketEvent])
    """What was shown of the venue time of :attr:`last`."""
    fell_with: Feed | None = None
    """The last line that fed the stream, while it is stale."""
    lost: bool = False
    """Whether readers were told that updates are missing."""
    since_s: float = 0.0
    crossed_s: float | None = None
    """Since when the shown book is crossed."""
    waits: bool = False
    """Whether some line is early."""
    again_s: float | None = None
    """Since when readers are owed the shown state once more, as soon as a line brings it anew."""

    @property
    def is_curious(self) -> bool:
        """Whether it matters what lines bring that others brought first, although all is well."""
        return self.waits or self.again_s is not None

    def goes_on(self, member: Member) -> bool:
        """Return whether what this line brings next follows what was shown last."""
        if member in self.come:
            return True
        views, place = member.views, self.place
        return views is not None and place is not None and views.follows(self.key, place)

    def has_passed(self, member: Member) -> bool:
        """Return whether this line's newest value is known to be what was shown last, or to come after it."""
        if member is self.by:
            return True
        views, place = member.views, self.place
        return views is not None and place is not None and views.has_passed(self.key, place)

    def has_brought(self, member: Member) -> bool:
        """Return whether this line is known to have brought what was shown last, by its word or by its place."""
        return member in self.come or self.has_passed(member)

    def origin_lives(self) -> bool:
        """Return whether a line that may be trusted will go on from what was shown last."""
        return any(feed.live and self.goes_on(member) for member, feed in self.feeds.items())

    def is_ahead(self, member: Member) -> bool:
        """Return whether another line still brings what lies between the shown state and what ``member`` has."""
        if self.told is not Told.LIVE or self.goes_on(member):
            return False
        return any(one.live and other is not member and self.goes_on(other) for other, one in self.feeds.items())

    def is_lumped(self, member: Member) -> bool:
        """Return whether ``member`` may bring several changes in one that another line brings one by one."""
        if self.told is not Told.LIVE or not _lumps(member, self.key):
            return False
        return any(
            one.live and other is not member and self.goes_on(other) and not _lumps(other, self.key)
            for other, one in self.feeds.items()
        )

    def shown_by(self, member: Member, place: Place | None) -> None:
        """Note that ``member`` brought what is shown now, and where it stood with it."""
        self.place, self.by = place, member
        self.come.clear()
        self.come[member] = None

    def begin_anew(self, member: Member) -> None:
        """What this line brings next need not follow what it brought before: it fell, or got a snapshot."""
        self.come.pop(member, None)
        if self.by is member:
            self.by = None


def _lumps(member: Member, key: StreamKey) -> bool:
    return member.views is not None and member.views.lumps(key)
