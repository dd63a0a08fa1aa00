"""What every fault command needs: the venue it is given to, and the log of what was given and what came of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Protocol

from kraken_engine.errors import UsageError
from kraken_engine.venue.core.accounts.channels import Listener
from kraken_engine.venue.core.accounts.registry import Accounts
from kraken_engine.venue.core.agenda import Happening
from kraken_engine.venue.core.delivery import Delivery
from kraken_engine.venue.core.listing import Listing
from kraken_engine.venue.core.maintenance import Notice
from kraken_engine.venue.core.market import TradingMode
from kraken_engine.venue.core.records import FaultRecord
from kraken_engine.venue.core.sessions import Session
from kraken_engine.venue.core.timestamps import NS_PER_S

__all__ = ["FaultLog", "FaultedVenue", "Outcome", "check_room", "nanoseconds"]

LOG_KEPT = 1_000

MOST_WAITING = 1_000
"""Faults of one sort that wait for their moment, or for their end, at the same time."""

MOST_SECONDS = 86_400.0

Outcome = dict[str, object]
"""An entry of the log, JSON-ready."""


class FaultedVenue(Protocol):
    """The exchange, as faults need it."""

    sessions: dict[int, Session]

    @property
    def accounts(self) -> Accounts:
        """Every account."""
        ...

    def listeners_to(self, account: str) -> list[Listener]:
        """Return everybody who listens to an account."""
        ...

    def advance(self, now: float) -> None:
        """Let time pass."""
        ...

    def elapsed_ns(self, now: float) -> int:
        """Return ``now`` on the agenda's clock."""
        ...

    def now_s(self) -> float:
        """Return how far the exchange has got, on the clock of ``now``."""
        ...

    def at(self, time_ns: int, happening: Happening) -> None:
        """Enter something into the agenda."""
        ...

    def set_mode(self, mode: TradingMode) -> int:
        """Change the state of the venue."""
        ...

    def change_precision(self, symbol: str, price: int, qty: int) -> int:
        """Change the digits of a pair."""
        ...

    def announce(self, notice: Notice) -> int:
        """Tell of maintenance from now on, and return how many were told."""
        ...

    def retract(self, notice: Notice) -> None:
        """Tell of it no more."""
        ...

    def wall_ns(self) -> int:
        """Return how far the exchange has got, in nanoseconds since 1970."""
        ...


class FaultLog:
    """The log, and what commands are checked against."""

    def __init__(self, venue: FaultedVenue, listings: Mapping[str, Listing], delivery: Delivery) -> None:
        """Note nothing yet."""
        self.given = 0
        """Commands taken."""
        self._venue = venue
        self._listings = listings
        self._delivery = delivery
        self._log: deque[FaultRecord] = deque(maxlen=LOG_KEPT)

    @property
    def log(self) -> list[Outcome]:
        """The last 1,000 commands, oldest first: ``id, name, params, at_s, until_s, hits``, first and last hit."""
        return [record.as_json() for record in self._log]

    def record(self, fault_id: int) -> FaultRecord:
        """Return one entry of the log as it stands, and as it will be. UsageError: not among the last 1,000."""
        for record in reversed(self._log):
            if record.id == fault_id:
                return record
        raise UsageError(f"fault: expected one of the last {LOG_KEPT}, got {fault_id}")

    def newest(self) -> FaultRecord:
        """Return the entry of the last command. UsageError: there was none."""
        return self.record(self.given)

    def hits(self) -> dict[str, int]:
        """Return how often each kind of fault of the log took effect."""
        counted: dict[str, int] = {}
        for record in self._log:
            counted[record.name] = counted.get(record.name, 0) + record.hits
        return counted

    def _sessions(self, session_id: int | None, now: float) -> list[Session]:
        self._venue.advance(now)
        if session_id is None:
            return list(self._venue.sessions.values())
        session = self._venue.sessions.get(session_id)
        if session is None:
            raise UsageError(f"session: expected one of {list(self._venue.sessions)}, got {session_id}")
        return [session]

    def _symbols(self, symbol: str | None) -> list[str]:
        if symbol is None:
            return list(self._listings)
        self._check_symbol(symbol)
        return [symbol]

    def _check_symbol(self, symbol: str) -> None:
        if symbol not in self._listings:
            raise UsageError(f"symbol: expected a listed one such as {next(iter(self._listings))}, got {symbol!r}")

    def _record(self, name: str, now: float, **params: object) -> FaultRecord:
        self.given += 1
        record = FaultRecord(id=self.given, name=name, params=params, at_s=now)
        self._log.append(record)
        return record


def check_room(waiting: int) -> None:
    """Raise UsageError when too many faults of a sort wait already."""
    if waiting >= MOST_WAITING:
        raise UsageError(f"faults: expected at most {MOST_WAITING} of a sort waiting at the same time, got one more")


def nanoseconds(seconds: float) -> int:
    """Return a duration of a fault in nanoseconds. UsageError: not above 0, or more than a day."""
    if not 0 < seconds <= MOST_SECONDS:
        raise UsageError(f"seconds: expected more than 0 and at most {MOST_SECONDS:g}, got {seconds!r}")
    return round(seconds * NS_PER_S)
