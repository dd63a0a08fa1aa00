"""Faults that break nothing: the same truth told otherwise, and maintenance that is announced before it comes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kraken_engine.errors import UsageError
from kraken_engine.venue.core.delivery import Delivery
from kraken_engine.venue.core.fault_log import FaultedVenue, FaultLog, Outcome, check_room, nanoseconds
from kraken_engine.venue.core.listing import Listing
from kraken_engine.venue.core.maintenance import Notice
from kraken_engine.venue.core.ports import Close
from kraken_engine.venue.core.timestamps import NS_PER_S
from kraken_engine.venue.core.variants import STYLES, Batching, Wording

__all__ = ["Variants"]

MOST_BATCHED = 100

MAINTENANCE_NS = 60 * NS_PER_S
"""How long maintenance lasts, by what is announced."""


class Variants(FaultLog):
    """The commands of this kind; they read as those of ``Faults``, which they are."""

    def __init__(self, venue: FaultedVenue, listings: Mapping[str, Listing], delivery: Delivery) -> None:
        super().__init__(venue, listings, delivery)
        self._announced: list[Notice] = []

    def batch_differently(
        self,
        *,
        now: float,
        seconds: float,
        symbol: str | None = None,
        session_id: int | None = None,
        size: int | None = None,
        linger: float = 0.5,
    ) -> Outcome:
        """Tell ``size`` book updates of ``symbol`` in one, as one element with the last one's checksum and time.

        Without ``size`` it is two for every other session and three for the rest. An update that waited ``linger``
        seconds for the next one is told alone. After ``seconds`` what waits goes out, and every update by itself.
        """
        if size is not None and not 2 <= size <= MOST_BATCHED:
            raise UsageError(f"size: expected 2 to {MOST_BATCHED} updates in one, got {size}")
        linger_ns, lasts_ns = nanoseconds(linger), nanoseconds(seconds)
        symbols = self._symbols(symbol)
        sessions = self._sessions(session_id, now)
        record = self._record(
            "batch_differently", now, seconds=seconds, symbol=symbol, session_id=session_id, size=size, linger=linger
        )
        record.until_s = now + seconds
        venue = self._venue

        def later(flush: Callable[[], None]) -> None:
            venue.at(venue.elapsed_ns(venue.now_s()) + linger_ns, lambda _: flush())

        batching = Batching(record=record, session_id=session_id, symbol=symbol, size=size, later=later)
        self._delivery.batch(batching)
        for name in symbols:
            self._listings[name].rejoin([session.id for session in sessions])
        venue.at(venue.elapsed_ns(now) + lasts_ns, lambda _: self._delivery.unbatch(batching))
        return record.as_json()

    def word_differently(
        self,
        *,
        now: float,
        seconds: float,
        style: str,
        symbol: str | None = None,
        session_id: int | None = None,
    ) -> Outcome:
        """Write market data in other bytes that mean the same: ``spaced``, ``reordered`` or ``extended``."""
        if style not in STYLES:
            raise UsageError(f"style: expected one of {', '.join(STYLES)}, got {style!r}")
        lasts_ns = nanoseconds(seconds)
        self._symbols(symbol)
        self._sessions(session_id, now)
        wordings = self._delivery.wordings
        check_room(len(wordings))
        record = self._record(
            "word_differently", now, seconds=seconds, style=style, symbol=symbol, session_id=session_id
        )
        record.until_s = now + seconds
        wording = Wording(record=record, session_id=session_id, symbol=symbol, style=style)
        wordings.append(wording)

        def end(_: int) -> None:
            if wording in wordings:
                wordings.remove(wording)

        self._venue.at(self._venue.elapsed_ns(now) + lasts_ns, end)
        return record.as_json()

    def announce_maintenance(
        self,
        *,
        now: float,
        seconds: float,
        session_id: int | None = None,
        notice: str = "imminent_5m",
        action: str = "disconnect_and_wait",
    ) -> Outcome:
        """Announce maintenance of the WebSocket servers; after ``seconds`` those told are closed with 1012.

        With ``session_id`` one server of many is maintained, and only that session is told. Otherwise all are, one
        after the other: sessions that open later are told as well, but run on servers that have had theirs.
        """
        lasts_ns = nanoseconds(seconds)
        sessions = self._sessions(session_id, now)
        begin_ns = self._venue.wall_ns() + lasts_ns
        announced = Notice(
            notice=notice, action=action, begin_ns=begin_ns, end_ns=begin_ns + MAINTENANCE_NS, session_id=session_id
        )
        check_room(len(self._announced))
        record = self._record(
            "announce_maintenance", now, seconds=seconds, session_id=session_id, notice=notice, action=action
        )
        record.until_s = now + seconds
        self._announced.append(announced)
        record.hit(now, self._venue.announce(announced))

        def begin(_: int) -> None:
            if announced in self._announced:
                self._announced.remove(announced)
                self._venue.retract(announced)
                for session in sessions:
                    session.end(Close(1012, "Service Restart"))

        self._venue.at(self._venue.elapsed_ns(now) + lasts_ns, begin)
        return record.as_json()

    def call_off_maintenance(self) -> None:
        """Tell everybody that what was announced does not come."""
        for announced in self._announced:
            self._venue.retract(announced)
        self._announced.clear()
