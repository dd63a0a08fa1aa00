"""Which source each stream is read from: the WebSocket lines (the primary) or REST polling (the backup).

Decides from what it is told about each stream alone: when the primary last was good for it, since when the primary has
been well again, and whether the backup delivers. So a fault that takes away one symbol, or one channel, moves no more
than that.

Three rules.

* *Over* is a deadline, never delayed and never limited: ``deadline_s`` after the last good frame the backup has been
  asked for (``lead_s`` earlier, so that the question can be on its way by then).
* *Back* is slow on purpose: only after ``hold_s`` of health without a break, at most ``most_returns`` times in
  ``window_s``; a return that did not last ``window_s`` doubles the next hold, up to ``longest_hold_s``.
* A hold protects data that comes from the backup. Where none comes (REST fails as well, or its budget does not reach
  so far), there is nothing to protect: the stream is the primary's again as soon as that is well.

While the venue is away on purpose there is nothing to go over to, and nobody does; what is still lost when it is back
goes over then.

Knows nothing of tasks, sockets, prices or what a stream is: keys are opaque.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from collections.abc import Hashable, Iterable

import attrs

from kraken_engine.config import FailoverSettings

__all__ = ["Command", "Feeder", "Stream", "Switch", "UseBackup", "UsePrimary", "Watchdog"]

Stream = tuple[Hashable, ...]
"""A stream's key, ``(channel, symbol, ...)``."""


class Feeder(enum.Enum):
    """Who feeds a stream."""

    PRIMARY = "primary"
    BACKUP = "backup"

    def __str__(self) -> str:
        return self.value


@attrs.frozen(kw_only=True)
class Switch:
    """One change of the source of one or more streams, made at the same moment for the same reason."""

    number: int
    """Counts the changes from 1."""
    at_s: float
    """Monotonic seconds of the decision."""
    to: Feeder
    streams: tuple[Stream, ...]
    reason: str
    good_s: float
    """To the backup: the last good frame of the primary, of the stream that has waited longest.
    To the primary: since when it has been well, for the stream where that is shortest."""


@attrs.frozen
class UseBackup:
    """Feed these streams from the backup from now on."""

    switch: Switch


@attrs.frozen
class UsePrimary:
    """Feed these streams from the primary again."""

    switch: Switch


Command = UseBackup | UsePrimary


@attrs.define
class _Watch:
    feeder: Feeder
    good_s: float
    """When the primary was known to be good for the stream, for the last time before it was lost."""
    lost: str | None
    """Why the primary is not current; None: it is."""
    well_since_s: float = math.inf
    """Since when the primary has been well without a break."""
    hold_s: float = 0.0
    backup_s: float = -math.inf
    """When the backup last delivered."""
    returns: deque[float] = attrs.field(factory=deque[float])
    """When held streams went back to the primary, the latest few."""


@attrs.define
class Watchdog:
    """Watches every stream that has readers."""

    settings: FailoverSettings
    is_away: bool = attrs.field(default=False, init=False)
    """Whether the venue is away on purpose; whoever knows of its state sets it."""
    _streams: dict[Stream, _Watch] = attrs.field(factory=dict[Stream, _Watch], init=False)
    _restless: dict[Stream, None] = attrs.field(factory=dict[Stream, None], init=False)
    """Streams that have something due, some time: lost by the primary, or fed by the backup."""
    _history: deque[Switch] = attrs.field(init=False)
    _switches: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._history = deque(maxlen=self.settings.history_entries)

    # -- samples

    def want(self, stream: Stream, *, now: float) -> None:
        """Watch a stream from now on: its first data is due within the deadline, from whatever source."""
        if stream not in self._streams:
            self._streams[stream] = _Watch(feeder=Feeder.PRIMARY, good_s=now, lost="no data yet")
            self._restless[stream] = None

    def drop(self, stream: Stream) -> None:
        """Forget a stream: nobody reads it any more."""
        self._streams.pop(stream, None)
        self._restless.pop(stream, None)

    def well(self, stream: Stream, *, now: float) -> None:
        """Note that the primary delivers current data of ``stream`` from now on."""
        watch = self._streams.get(stream)
        if watch is not None and watch.lost is not None:
            watch.lost, watch.well_since_s = None, now
            self._note(stream, watch)

    def lost(self, stream: Stream, why: str, *, good_s: float) -> None:
        """Note that the primary is not current for ``stream``; ``good_s`` is when it last was (its last good frame)."""
        watch = self._streams.get(stream)
        if watch is not None and watch.lost is None:
            watch.lost, watch.good_s, watch.well_since_s = why, good_s, math.inf
            self._note(stream, watch)

    def delivered(self, stream: Stream, *, now: float) -> None:
        """Note that the backup has delivered current data of ``stream``."""
        watch = self._streams.get(stream)
        if watch is not None:
            watch.backup_s = now

    def uncovered(self, stream: Stream) -> None:
        """Note that the backup gave ``stream`` up: nothing more is to be expected from it."""
        watch = self._streams.get(stream)
        if watch is not None:
            watch.backup_s = -math.inf

    # -- decisions

    def check(self, *, now: float) -> list[Command]:
        """Return what has come due, streams of one kind and reason together."""
        over: dict[str, list[Stream]] = {}
        back: dict[str, list[Stream]] = {}
        for stream in list(self._restless):
            watch = self._streams[stream]
            if now < self._due(watch):
                continue
            if watch.feeder is Feeder.PRIMARY:
                self._go_over(watch, now)
                over.setdefault(watch.lost or "", []).append(stream)
            else:
                back.setdefault(self._go_back(watch, now), []).append(stream)
            self._note(stream, watch)
        return [
            *(UsePrimary(self._record(Feeder.PRIMARY, reason, streams, now)) for reason, streams in back.items()),
            *(UseBackup(self._record(Feeder.BACKUP, reason, streams, now)) for reason, streams in over.items()),
        ]

    @property
    def next_due(self) -> float:
        """When :meth:`check` is wanted next (monotonic); infinity: only news can change anything."""
        return min((self._due(self._streams[stream]) for stream in self._restless), default=math.inf)

    # -- what is, and what was

    def feeder(self, stream: Stream) -> Feeder:
        """Return who feeds ``stream`` now; a stream nobody reads counts as the primary's."""
        watch = self._streams.get(stream)
        return Feeder.PRIMARY if watch is None else watch.feeder

    def on_backup(self) -> list[Stream]:
        """Return the streams that are fed by the backup now."""
        return [stream for stream in self._restless if self._streams[stream].feeder is Feeder.BACKUP]

    @property
    def switches(self) -> int:
        """Changes of the source so far, in either direction."""
        return self._switches

    def history(self, *, since_s: float = -math.inf, stream: Stream | None = None) -> tuple[Switch, ...]:
        """Return the remembered changes from ``since_s`` (monotonic) on, oldest first; of one ``stream`` if given."""
        return tuple(
            switch
            for switch in self._history
            if switch.at_s >= since_s and (stream is None or stream in switch.streams)
        )

    def adopt(self, switch: Switch) -> Switch:
        """Put a change that another watchdog decided into this history, and return it with its number here."""
        self._switches += 1
        adopted = attrs.evolve(switch, number=self._switches)
        self._history.append(adopted)
        return adopted

    # -- helpers

    def _due(self, watch: _Watch) -> float:
        """Return when the source of this stream has to change; infinity: not as things are."""
        settings = self.settings
        if watch.feeder is Feeder.PRIMARY:
            if watch.lost is None or self.is_away:
                return math.inf
            return watch.good_s + settings.deadline_s - settings.lead_s
        if watch.lost is not None:
            return math.inf
        return min(self._held_until(watch), max(watch.well_since_s, watch.backup_s + settings.backup_lost_s))

    def _held_until(self, watch: _Watch) -> float:
        held_until = watch.well_since_s + watch.hold_s
        if len(watch.returns) >= self.settings.most_returns:
            held_until = max(held_until, watch.returns[0] + self.settings.window_s)
        return held_until

    def _go_over(self, watch: _Watch, now: float) -> None:
        settings = self.settings
        lasted = not watch.returns or now - watch.returns[-1] >= settings.window_s
        watch.hold_s = settings.hold_s if lasted else min(2 * watch.hold_s, settings.longest_hold_s)
        watch.feeder, watch.backup_s = Feeder.BACKUP, -math.inf

    def _go_back(self, watch: _Watch, now: float) -> str:
        held = now >= self._held_until(watch)
        watch.feeder = Feeder.PRIMARY
        if not held:
            return "the primary is well and the backup delivers nothing"
        watch.returns.append(now)
        if len(watch.returns) > self.settings.most_returns:
            watch.returns.popleft()
        return f"the primary has been well for {watch.hold_s:g} s"

    def _note(self, stream: Stream, watch: _Watch) -> None:
        if watch.lost is None and watch.feeder is Feeder.PRIMARY:
            self._restless.pop(stream, None)
        else:
            self._restless[stream] = None

    def _record(self, to: Feeder, reason: str, streams: Iterable[Stream], now: float) -> Switch:
        concerned = tuple(streams)
        watches = [self._streams[stream] for stream in concerned]
        good_s = (
            min(watch.good_s for watch in watches)
            if to is Feeder.BACKUP
            else max(watch.well_since_s for watch in watches)
        )
        self._switches += 1
        switch = Switch(number=self._switches, at_s=now, to=to, streams=concerned, reason=reason, good_s=good_s)
        self._history.append(switch)
        return switch
