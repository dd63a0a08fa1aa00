"""One stream that several lines feed: what readers were told of it, and how each line stands with it.

Answers which line goes on from what was shown last, and which is ahead of that. Decides nothing; knows nothing of time.
"""

from __future__ import annotations

import enum

import attrs

from kraken_engine.normalise.events import Gap, MarketEvent, Refused
from kraken_engine.state.early import EarlyStates
from kraken_engine.state.freshness import StreamKey
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
    unsettled: MarketEvent | None = None
    """A state of the shown venue time of which it is not known whether it comes before or after the shown one."""
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
    origin: object = None
    """Where :attr:`last` came from."""
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

    def goes_on(self, member: Member) -> bool:
        """Return whether what this line brings next follows what was shown last."""
        views = member.views
        return member is self.origin or (views is not None and views.stands_in(self.key, self.origin))

    def origin_lives(self) -> bool:
        """Return whether a line that may be trusted will go on from what was shown last."""
        return any(feed.live and self.goes_on(member) for member, feed in self.feeds.items())

    def is_ahead(self, member: Member) -> bool:
        """Return whether another line still brings what lies between the shown state and what ``member`` has."""
        if self.told is not Told.LIVE or self.goes_on(member):
            return False
        return any(one.live and other is not member and self.goes_on(other) for other, one in self.feeds.items())

    def origin_of(self, member: Member) -> object:
        """Return where this line's newest value comes from."""
        return member if self.key[0] != "book" or member.views is None else member.views.origin(self.key)
