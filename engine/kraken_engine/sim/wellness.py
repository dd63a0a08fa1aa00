"""Which lines are well, as seen from the venue and the network: what redundancy has to be judged by.

A line is one session of the venue and the connection that carries it. It is *well* for a stream while it is subscribed
to it, nothing is wrong with its connection, and no fault touches what it is told; all of that for some time, so that
what went wrong before is over. While one line is well nobody may notice what becomes of the others.
"""

from __future__ import annotations

import math

import attrs
import trio

from kraken_engine.sim.link import Conditions, Link
from kraken_engine.sim.network import accepted_link
from kraken_engine.state.freshness import StreamKey
from kraken_engine.venue.core.exchange import Exchange
from kraken_engine.venue.core.journal import Entry
from kraken_engine.venue.core.records import FaultRecord
from kraken_engine.venue.core.sessions import Session

__all__ = ["Wellness"]

SETTLED_S = 1.5
"""How long a subscription takes to count: its snapshot has to arrive and to be verified."""
WAITING_S = 300.0
"""How long a fault that is still to come about is waited for."""
DELAYED_S = 0.05
"""Bytes that arrive later than so long from now are under way from before all was well."""
HELD_S = 60.0
"""How long a held update waits for its successor at most, in all but the quietest markets."""
OVER_S = 12.0
"""How long a fault may be felt after it has ended: a healing that had begun because of it runs its course."""


@attrs.define(kw_only=True)
class Wellness:
    """Follows sessions, connections and faults."""

    exchange: Exchange
    well: Conditions
    """Of a connection that nothing is wrong with."""
    links: dict[int, Link] = attrs.field(factory=dict[int, Link], init=False)
    """The connection of each session, by id."""
    _asked_at: dict[tuple[int, str, str], float] = attrs.field(factory=dict[tuple[int, str, str], float], init=False)
    """When a session subscribed last, by session, channel and symbol."""
    _clean_since: dict[str, float] = attrs.field(factory=dict[str, float], init=False)
    """Since when nothing has been wrong with a connection, by label."""
    _faults: list[FaultRecord] = attrs.field(factory=list[FaultRecord], init=False)
    """Faults that may still be felt, or are still to come about."""
    _all_ill_until: float = attrs.field(default=-math.inf, init=False)

    def __attrs_post_init__(self) -> None:
        self.exchange.journal.observers.append(self._note)

    def disturbed(self) -> None:
        """Note that something happened to everything at once."""
        self._all_ill_until = trio.current_time() + OVER_S

    def follow(self, record: FaultRecord) -> None:
        """Note a command of the venue's that may be felt when it comes about, which may be later than now."""
        self._faults.append(record)

    def sample(self) -> None:
        """Look at the connections; to be called several times a second."""
        now = trio.current_time()
        self._faults = [record for record in self._faults if now < _felt_until(record) + WAITING_S]
        for link in self.links.values():
            if any(way.conditions != self.well or way.last_due() > now + DELAYED_S for way in (link.up, link.down)):
                self._clean_since[link.label] = now + OVER_S
            else:
                self._clean_since.setdefault(link.label, now)

    def well_since(self, key: StreamKey) -> float:
        """Return since when one line alone has been well for the stream ``key``; infinity: none is now."""
        if len(key) < 2:
            return math.inf
        channel, symbol = str(key[0]), str(key[1])
        sessions = self.exchange.sessions.values()
        return min((self._since(session, channel, symbol) for session in sessions), default=math.inf)

    def line_is_well(self, session: int, key: StreamKey, *, but: FaultRecord | None = None) -> bool:
        """Return whether the line of ``session`` is well for the stream ``key`` now, or would be but for one fault."""
        known, faults = self.exchange.sessions.get(session), self._faults
        self._faults = [record for record in faults if record is not but]
        try:
            return known is not None and self._since(known, str(key[0]), str(key[1])) <= trio.current_time()
        finally:
            self._faults = faults

    def connection_is_clean(self, session: int, *, since_s: float) -> bool:
        """Return whether nothing is wrong with the connection of ``session``, nor was since ``since_s``."""
        link = self.links.get(session)
        if link is None or any(way.conditions != self.well for way in (link.up, link.down)):
            return False
        return self._clean_since.get(link.label, math.inf) - OVER_S <= since_s

    def was_well(self, session: int, key: StreamKey) -> bool:
        """Return whether the line of ``session`` was well for ``key`` until now, when the engine ended it."""
        known = self.exchange.sessions.get(session)
        return known is not None and self._since(known, str(key[0]), str(key[1]), ended=True) <= trio.current_time()

    def is_carried(self, key: StreamKey) -> bool:
        """Return whether a connection that the engine holds is subscribed to ``key``."""
        sessions = [self.exchange.sessions.get(session) for session in self.sessions()]
        return any(session is not None and _subscribed(session, str(key[0]), str(key[1])) for session in sessions)

    def is_told_truly(self, channel: str, symbol: str) -> bool:
        """Return whether a connection that the engine holds was told all of a stream, and right, since its snapshot.

        What two lines agree about is true only if one of them was: both may lack the same.
        """
        return any(
            (session, channel, symbol) in self._asked_at and not self._is_deceived(session, channel, symbol)
            for session in self.sessions()
        )

    def sessions(self) -> list[int]:
        """Return the sessions whose other end the engine holds, oldest first: the venue may not know one is gone."""
        return [session for session, link in self.links.items() if not link.client.closed]

    def is_well(self, key: StreamKey) -> bool:
        """Return whether a line is well for the stream ``key`` now."""
        return self.well_since(key) <= trio.current_time()

    def felt(self, symbol: str, *names: str) -> bool:
        """Return whether a fault called one of ``names`` may be felt by some line's data of ``symbol`` now."""
        now = trio.current_time()
        return any(
            record.name in names and record.params.get("symbol") in (None, symbol) and now <= _felt_until(record)
            for record in self._faults
        )

    def _since(self, session: Session, channel: str, symbol: str, *, ended: bool = False) -> float:
        link, asked = self.links.get(session.id), self._asked_at.get((session.id, channel, symbol), math.inf)
        if link is None or link.reset_at < math.inf or not _subscribed(session, channel, symbol):
            return math.inf
        if link.client.closed and not ended:
            return math.inf
        if any(way.conditions != self.well for way in (link.up, link.down)):
            return math.inf
        if channel == "book" and self._is_deceived(session.id, channel, symbol):
            return math.inf  # what it lacks comes up whenever the market moves there
        felt = (_felt_until(record) for record in self._faults if _touches(record, session.id, symbol))
        clean_since = self._clean_since.get(link.label, math.inf)
        return max(asked + SETTLED_S, clean_since, self._all_ill_until, *felt)

    def _is_deceived(self, session: int, channel: str, symbol: str) -> bool:
        """Whether a line was told not all, or something wrong, since it subscribed."""
        asked = self._asked_at.get((session, channel, symbol), math.inf)
        return any(
            record.name in _DECEIVING
            and record.last_hit_s is not None
            and record.last_hit_s >= asked
            and record.params.get("session_id") in (None, session)
            and record.params.get("symbol") in (None, symbol)
            and record.params.get("channel") in (None, channel)
            for record in self._faults
        )

    def _note(self, entry: Entry) -> None:
        if entry.what == "open":
            link = accepted_link()
            if link is not None:
                self.links[entry.session] = link
        elif entry.what == "end":
            self.links.pop(entry.session, None)
            for place in [place for place in self._asked_at if place[0] == entry.session]:
                del self._asked_at[place]
        elif entry.channel is not None:
            for symbol in entry.symbols:
                self._asked_at[entry.session, entry.channel, symbol] = trio.current_time()


def _felt_until(record: FaultRecord) -> float:
    lasts_s = record.params.get("seconds", 0.0)
    assert isinstance(lasts_s, float)
    held_s = HELD_S if record.name in _HOLDING else 0.0
    return max(record.at_s, record.last_hit_s or 0.0) + lasts_s + held_s + OVER_S


def _touches(record: FaultRecord, session: int, symbol: str) -> bool:
    params = record.params
    if params.get("session_id") not in (None, session):
        return False
    return record.name in (*_HOLDING, _BACKDATED) or params.get("symbol") in (None, symbol)


_HOLDING = ("reorder_updates", "merge_updates", "batch_differently")
"""What holds an update back: when it comes, everything that its session is told may look late."""
_BACKDATED = "falsify_level"
"""What is told with the time of the book's last change, which may be long ago: the same may look late."""


_DECEIVING = ("silence", "drop_update", "reorder_updates", "falsify_level")
"""What leaves a line with a book that is wrong in levels which no checksum covers."""


def _subscribed(session: Session, channel: str, symbol: str) -> bool:
    return any(place[:2] == (channel, symbol) for place in session.subscriptions)
