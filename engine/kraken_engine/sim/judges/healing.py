"""Takes the time from a lost connection until every book is asked for again, where that was promised and where not.

The promise is about a venue and a network that are well: it is measured where, from the loss on, the name resolves at
once, connections are accepted, nothing is refused, no maintenance is announced, and the new connection is as it should
be; where no other line is missing; and where the rules let the line try at once or after its distance to the last
attempt (I-24), as it had been well before. Whatever else is lost is *hindered*: a distribution of its own, with no
promise. All of that is known from outside; nothing here asks the engine why it waited.
"""

from __future__ import annotations

import math

import attrs
import trio

from kraken_engine.normalise.events import Event, LineDown, LineUp
from kraken_engine.sim.figures import Figures
from kraken_engine.sim.judges.lines import AWAKE_S, LineJudge
from kraken_engine.sim.judges.readership import Readership
from kraken_engine.sim.judges.timing import SILENT
from kraken_engine.sim.network import RESOLVE_S, Dialing, accepted_link
from kraken_engine.sim.trace import Fact
from kraken_engine.sim.world import World
from kraken_engine.venue.core.journal import Entry
from kraken_engine.venue.core.records import FaultRecord

__all__ = ["HEALED", "HINDERED", "HealingJudge"]

HEALED = "lost connection until every book is there again"
HINDERED = f"{HEALED}, hindered"

_ARMED = ("refuse_upgrade", "refuse_subscriptions", "ignore_subscriptions")
"""Commands of the venue that lie in wait for whoever comes next, so many times."""
_ENDS_ALL = ("down", "flap", "swizzle", "maintenance_of_all")
"""Faults that may end every connection there is."""
_ANNOUNCED = "announce_maintenance"
"""A command after which clients are asked to stay away for a while."""


@attrs.define
class _Lost:
    """A connection that was lost, and is not made up for yet."""

    at_s: float
    cause: str
    hindered: bool


@attrs.define(kw_only=True)
class HealingJudge:
    """Measures; the figures tell what that means for the promise."""

    world: World
    figures: Figures
    lines: LineJudge
    readership: Readership
    _causes: dict[str, tuple[float, str]] = attrs.field(factory=dict[str, tuple[float, str]], init=False)
    """When what fault hit a connection or a session last, by label or ``session=ID``."""
    _of_all: tuple[float, str] = attrs.field(default=(-math.inf, "other"), init=False)
    """When what fault hit every connection last."""
    _closed: str = attrs.field(default="", init=False)
    """The connection that the engine closed last, by label."""
    _sessions: dict[str, int] = attrs.field(factory=dict[str, int], init=False)
    """The session that a connection carried, by label."""
    _opened: dict[int, float] = attrs.field(factory=dict[int, float], init=False)
    """When a session was opened."""
    _books: dict[int, dict[str, None]] = attrs.field(factory=dict[int, dict[str, None]], init=False)
    """The symbols whose book a session asked for, be it long ago."""
    _records: list[FaultRecord] = attrs.field(factory=list[FaultRecord], init=False)
    """Commands of the venue that may be in the way of a new connection."""
    _up: dict[str, float] = attrs.field(factory=dict[str, float], init=False)
    """Since when a line has been up, by name."""
    _failures: dict[str, int] = attrs.field(factory=dict[str, int], init=False)
    """Losses and failed attempts of a line since it was last well for long enough, by name."""
    _began_s: float = attrs.field(factory=trio.current_time, init=False)
    """A line that was up before anybody looked has been so since then."""
    _lost: _Lost | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.world.exchange.journal.observers.append(self._entry)

    def trace(self, kind: str, facts: tuple[Fact, ...]) -> None:
        """Take one event of the trace."""
        if kind == "close" and facts[1:] == ("client",):
            self._closed = str(facts[0])
        if kind != "fault":
            return
        now, faults = trio.current_time(), self.world.exchange.faults
        cause = now, str(facts[0])
        if facts[0] in _ENDS_ALL:
            self._of_all = cause
        self._causes.update({str(fact): cause for fact in facts[1:]})
        newest = [faults.newest()] if faults.given else []
        self._records = [one for one in (*self._records, *newest) if _in_the_way(one, now)]

    def published(self, event: Event) -> None:
        """Look at what is published."""
        if isinstance(event, LineUp):
            self._up[event.line] = trio.current_time()
        elif isinstance(event, LineDown):
            self._line_down(event)

    def sample(self) -> None:
        """Look whether something is in the way just now; to be called several times a second."""
        if self._lost is not None and self._obstructed(self._lost.at_s):
            self._lost.hindered = True

    def _line_down(self, event: LineDown) -> None:
        unknown = event.line not in self._failures
        now, up_at = trio.current_time(), self._up.pop(event.line, self._began_s if unknown else None)
        if up_at is not None and now - up_at >= self.world.config.backoff.healthy_s:
            self._failures[event.line] = 0
        self._failures[event.line] = self._failures.get(event.line, 0) + 1
        if now - self.world.slept_until <= 2 * AWAKE_S:
            self._lost = None
        elif self._lost is not None:
            self._lost.hindered = True
        elif up_at is not None and SILENT not in event.reason:
            others_lack = self._complete() < self._lines_wanted() - 1
            too_often = self._failures[event.line] > 1 or self.lines.earliest_attempt() > now
            self._lost = _Lost(now, self._cause(), others_lack or too_often or self._obstructed(now))

    def _cause(self) -> str:
        """Return the newest fault that hit the connection closed last, or all of them."""
        hit = self._closed, f"session={self._sessions.get(self._closed)}"
        return max(self._of_all, *(self._causes.get(one, self._of_all) for one in hit))[1]

    def _entry(self, entry: Entry) -> None:
        if entry.what == "open":
            self._opened[entry.session] = trio.current_time()
            link = accepted_link()
            if link is not None:
                self._sessions[link.label] = entry.session
        elif entry.what == "end":
            self._books.pop(entry.session, None)
            self._opened.pop(entry.session, None)
        elif entry.what == "subscribe" and entry.channel == "book":
            self._books.setdefault(entry.session, {}).update(dict.fromkeys(entry.symbols))
            self._again()

    def _again(self) -> None:
        """Look whether every line has every book again."""
        lost = self._lost
        if lost is None or self._complete() < self._lines_wanted():
            return
        self._lost = None
        hindered = lost.hindered or self._obstructed(lost.at_s)
        self.figures.add(f"{HINDERED if hindered else HEALED}: {lost.cause}", trio.current_time() - lost.at_s)

    def _complete(self) -> int:
        """Return how many connections of the engine were asked for every book that somebody reads."""
        wanted = [one for one in self.world.exchange.symbols if self.readership.since(("book", one)) < math.inf]
        held = [self._books.get(session, {}) for session in self.world.wellness.sessions()]
        return sum(all(symbol in books for symbol in wanted) for books in held)

    def _lines_wanted(self) -> int:
        pool = self.world.config.pool
        return min(pool.redundancy, pool.market_lines)

    def _obstructed(self, since_s: float) -> bool:
        """Whether something is in the way of a connection begun now, or of one that was opened since ``since_s``."""
        world, network = self.world, self.world.network
        if network.resolver.fault is not None or network.resolver.delay_s > RESOLVE_S:
            return True
        if network.dialing(world.venue_address) is not Dialing.ACCEPT or world.exchange.system == "maintenance":
            return True
        if any(_in_the_way(record, trio.current_time()) for record in self._records):
            return True
        new = [link for one, link in world.wellness.links.items() if self._opened.get(one, -1.0) >= since_s]
        return any(way.conditions != world.wellness.well for link in new for way in (link.up, link.down))


def _in_the_way(record: FaultRecord, now: float) -> bool:
    """Whether a command of the venue may keep a line away now: an announcement, or what is not used up."""
    if record.name == _ANNOUNCED:
        return record.until_s is None or now < record.until_s
    times = record.params.get("times")
    return record.name in _ARMED and isinstance(times, int) and record.hits < times
