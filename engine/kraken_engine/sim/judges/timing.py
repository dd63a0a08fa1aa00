"""Takes the times that were promised: how soon what is wrong is noticed, and how soon it is well again; judges I-2.

Everything is measured from outside: from the first frame that a fault kept back, or the last byte that was read, to
what the engine asks of the venue, or says. How soon a lost connection is made up for is measured in
:mod:`~kraken_engine.sim.judges.healing`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection

import attrs
import trio

from kraken_engine.errors import Stale
from kraken_engine.normalise.events import Event, Gap, LineDown, ModeChanged
from kraken_engine.sim.figures import PROMISES, Figures
from kraken_engine.sim.judges.lines import AWAKE_S, LineJudge
from kraken_engine.sim.judges.readership import Readership
from kraken_engine.sim.judges.verdict import Verdict
from kraken_engine.sim.trace import Fact
from kraken_engine.sim.world import Corrupted, World
from kraken_engine.state.freshness import StreamKey
from kraken_engine.venue.core.journal import Entry
from kraken_engine.venue.core.records import FaultRecord

__all__ = ["MUTE", "SILENT", "TimingJudge"]

SILENT = "no frame for "
"""How a line says that it was given up for its silence."""
MUTE = "mute subscription until it is asked for anew"
CORRUPTED = "wrong checksum until the book is asked for anew"
LATE_S = 0.3
"""How long after a promise is broken it is called so, while nothing came yet."""
MOST_CHECKSUM_S = 20.0
"""A book that is not asked for anew by then is believed in: resyncs that are spaced out come sooner."""


@attrs.define(kw_only=True)
class TimingJudge:
    """Measures; what breaks a promise for every case is told by the figures."""

    world: World
    verdict: Verdict
    figures: Figures
    lines: LineJudge
    readership: Readership
    kept: Collection[str]
    """Symbols that are always read."""
    _causes: dict[str, str] = attrs.field(factory=dict[str, str], init=False)
    """The fault that hit a connection or a session last, by label or ``session=ID``."""
    _resyncs: dict[tuple[int, str], deque[float]] = attrs.field(factory=dict[tuple[int, str], deque[float]], init=False)
    """When a session, ended or not, gave up a book last, to have it anew; so often that a resync has to wait."""
    _mutes: list[FaultRecord] = attrs.field(factory=list[FaultRecord], init=False)
    _expected_since: float = attrs.field(default=-math.inf, init=False)
    """Since when data is to be expected of the venue; infinity: it is away on purpose, and silence is no fault."""
    _stale_since: float = attrs.field(default=-1.0, init=False)
    """The silence that was measured last, by its beginning."""

    def __attrs_post_init__(self) -> None:
        self.world.exchange.journal.observers.append(self._entry)

    def trace(self, kind: str, facts: tuple[Fact, ...]) -> None:
        """Take one event of the trace."""
        if kind != "fault":
            return
        for fact in facts[1:]:
            self._causes[str(fact)] = str(facts[0])
        if str(facts[0]) in ("silence", "silence_subscription"):
            record = self.world.exchange.faults.newest()
            mutes = record.params["kind"] == "data" or record.params["symbol"] is not None
            if mutes and self._spoke(record):  # without heartbeats it is the silence of a connection
                self._mutes.append(record)

    def published(self, key: StreamKey, event: Event) -> None:
        """Look at what is published."""
        if isinstance(event, Stale):
            if SILENT in event.why:  # else another line that had spoken until now has just ended
                self._stale()
        elif isinstance(event, LineDown):
            self._line_down(event)
        elif isinstance(event, ModeChanged):
            if event.symbol is None:
                self._expected_since = trio.current_time() if event.away is None else math.inf
        elif isinstance(event, Gap):
            self.figures.add(f"gap that readers of {key[0]} were told of", event.end_s - event.start_s)

    def sample(self) -> None:
        """Look for what should have happened by now."""
        now = trio.current_time()
        limit = PROMISES[MUTE].p100_s or 0.0
        for record in list(self._mutes):
            ended = record.until_s is not None and now >= record.until_s
            if ended or record.params["session_id"] not in self.world.wellness.sessions():
                self._mutes.remove(record)
            elif record.first_hit_s is not None and now - self._missed_since(record.first_hit_s) > limit + LATE_S:
                self._muted(record, now)
        for corrupted in list(self.world.corrupted):
            hit_s = corrupted.record.first_hit_s
            session = self.world.exchange.sessions.get(corrupted.session)
            held = corrupted.session in self.world.wellness.sessions()
            if session is None or not held or ("book", corrupted.symbol, None) not in session.subscriptions:
                self.world.corrupted.remove(corrupted)
            elif hit_s is not None and now - max(hit_s, self.world.slept_until) > MOST_CHECKSUM_S:
                self.world.corrupted.remove(corrupted)
                what = f"expected the book to be asked for anew after the wrong checksum of {hit_s:.3f} s"
                self.verdict.fail("I-2", f"{corrupted.symbol}: {what}, got nothing for {MOST_CHECKSUM_S:g} s")

    def _stale(self) -> None:
        now, silent_s = trio.current_time(), self.lines.silent_s()
        began = now - silent_s
        slept = now - self.world.slept_until <= AWAKE_S + silent_s
        if 2.0 < silent_s < 1e6 and not slept and abs(began - self._stale_since) > 0.001:
            self._stale_since = began
            self.figures.add("silence until everything is stale", silent_s)

    def _line_down(self, event: LineDown) -> None:
        now = trio.current_time()
        if now - self.world.slept_until <= 2 * AWAKE_S or SILENT not in event.reason:
            return
        label, silent_s = self._silent(event.reason)
        if label is not None:
            cause = self._causes.get(label, "other")
            self.figures.add(f"silence until the connection is replaced: {cause}", silent_s)

    def _silent(self, reason: str) -> tuple[str | None, float]:
        """Return which connection was given up for its silence, and how long that was by what the network saw."""
        now, said_s = trio.current_time(), float(reason.partition(SILENT)[2].split()[0])
        silences = {label: now - heard_s for label, heard_s in self.lines.heard().items()}
        silent = {label: silent_s for label, silent_s in silences.items() if silent_s > said_s / 2}
        label = min(silent, key=lambda one: abs(silent[one] - said_s), default=None)
        return label, 0.0 if label is None else silent[label]

    def _entry(self, entry: Entry) -> None:
        now = trio.current_time()
        for record in list(self._mutes):
            if _answers(entry, record):
                self._muted(record, now)
        if entry.what == "unsubscribe" and entry.channel == "trade":
            self._check_cause(entry)
        if entry.channel != "book":
            return
        lost: dict[str, None] = {}
        for corrupted in sorted(self.world.corrupted, key=lambda one: one.record.first_hit_s or math.inf):
            hit_s, symbol = corrupted.record.first_hit_s, corrupted.symbol
            if hit_s is not None and corrupted.session == entry.session and symbol in entry.symbols:
                self.world.corrupted.remove(corrupted)
                # The second one of a burst hits a book that is lost already, and may be waiting for its turn.
                freely = symbol not in lost and self._may_ask(corrupted, hit_s)
                lost[symbol] = None
                self.figures.add(CORRUPTED if freely else f"{CORRUPTED}, hindered", now - hit_s)
        if entry.what == "subscribe":
            for place in ((entry.session, symbol) for symbol in entry.symbols):
                if place in self._resyncs:  # also one that got no snapshot is asked for anew
                    self._resyncs[place].append(now)
                else:
                    self._resyncs[place] = deque(maxlen=self._most_resyncs())

    def _may_ask(self, corrupted: Corrupted, hit_s: float) -> bool:
        """Whether nothing kept the message back, and the book had not been asked for so often that it has to wait.

        A line remembers over its connections how often it asked; which of those that ended was its own is not known
        here, so all of them count.
        """
        since_s = hit_s - self.world.config.subscriptions.resync_window_s
        held = self.world.wellness.sessions()
        recent = sum(
            at >= since_s
            for (session, symbol), resyncs in self._resyncs.items()
            if symbol == corrupted.symbol and (session == corrupted.session or session not in held)
            for at in resyncs
        )
        clean = self.world.wellness.connection_is_clean(corrupted.session, since_s=hit_s)
        return clean and recent < self._most_resyncs()

    def _most_resyncs(self) -> int:
        return self.world.config.subscriptions.resyncs_in_window

    def _check_cause(self, entry: Entry) -> None:
        """Trades that somebody always reads are asked for anew only when something is wrong with that line."""
        for symbol in entry.symbols:
            if symbol in self.kept and self.world.wellness.line_is_well(entry.session, ("trade", symbol)):
                what = "expected no subscription of a line that is well to be given up"
                self.verdict.fail("I-6", f"trade {symbol}: {what}, got that on session {entry.session}")

    def _spoke(self, record: FaultRecord) -> bool:
        """Whether what is muted was well before: what was mute already is asked for anew more and more seldom."""
        session, symbol, channel = (record.params[name] for name in ("session_id", "symbol", "channel"))
        keys = [(channel or "book", one) for one in self.world.exchange.symbols if symbol in (None, one)]
        well = self.world.wellness.line_is_well
        return isinstance(session, int) and any(well(session, key, but=record) for key in keys)

    def _muted(self, record: FaultRecord, now: float) -> None:
        """Note how long a mute went unnoticed, if somebody missed what another line could show to be missing."""
        if record.first_hit_s is None:
            return
        self._mutes.remove(record)
        since_s = self._missed_since(record.first_hit_s)
        if since_s > now:
            return
        symbol, channel = record.params["symbol"], record.params["channel"] or "book"
        keys = [(channel, one) for one in self.world.exchange.symbols if symbol in (None, one)]
        if all(max(self.world.wellness.well_since(key), self.readership.since(key)) <= since_s for key in keys):
            self.figures.add(f"{MUTE}: {record.params['channel'] or 'everything'}", now - since_s)

    def _missed_since(self, hit_s: float) -> float:
        """Return since when lines can be told apart by what one lacks since ``hit_s``: not while the venue is away."""
        return max(hit_s, self._expected_since)


def _answers(entry: Entry, record: FaultRecord) -> bool:
    """Whether what a session did is an answer to its being mute."""
    params = record.params
    if record.first_hit_s is None or entry.session != params["session_id"]:
        return False
    if entry.what == "end":
        return True
    fits = params["channel"] in (None, entry.channel)
    return fits and (params["symbol"] is None or params["symbol"] in entry.symbols)
