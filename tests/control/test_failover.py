"""The watchdog: over within the deadline, back after the hold, just what is concerned, and all of it on record."""

from __future__ import annotations

import math
import random

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kraken_engine.config import FailoverSettings
from kraken_engine.control.failover import Command, Feeder, Stream, UseBackup, UsePrimary, Watchdog
from kraken_engine.errors import ConfigError

BTC: Stream = ("ticker", "BTC/USD")
ETH: Stream = ("ticker", "ETH/USD")
BOOK: Stream = ("book", "BTC/USD", 10)
FILLS: Stream = ("executions", "main")
SETTINGS = FailoverSettings(lead_s=0.5)
AHEAD_S = SETTINGS.deadline_s - SETTINGS.lead_s


def watching(*streams: Stream, at: float = 0.0, how: FailoverSettings = SETTINGS) -> Watchdog:
    """A watchdog whose streams are all well."""
    watchdog = Watchdog(how)
    for stream in streams:
        watchdog.want(stream, now=at)
        watchdog.well(stream, now=at)
    return watchdog


def run(watchdog: Watchdog, *, until: float, delivers: tuple[Stream, ...] = ()) -> list[tuple[float, Command]]:
    """Look whenever it is due; the backup delivers ``delivers`` as soon as it is asked for them."""
    seen: list[tuple[float, Command]] = []
    while watchdog.next_due <= until:
        due = watchdog.next_due
        for command in watchdog.check(now=due):
            seen.append((due, command))
            if isinstance(command, UseBackup):
                for stream in set(delivers) & set(command.switch.streams):
                    watchdog.delivered(stream, now=math.inf)  # and from then on all the time
        assert len(seen) < 10_000
    return seen


def test_the_backup_is_asked_for_ahead_of_the_deadline_which_counts_from_the_last_good_frame() -> None:
    watchdog = watching(BTC)
    watchdog.lost(BTC, "no frame for 2.5 s", good_s=100.0)
    assert watchdog.next_due == 104.5
    assert watchdog.check(now=104.4) == []
    (command,) = watchdog.check(now=104.5)
    assert isinstance(command, UseBackup)
    assert command.switch.streams == (BTC,)
    assert command.switch.reason == "no frame for 2.5 s"
    assert command.switch.good_s == 100.0
    assert watchdog.on_backup() == [BTC]


def test_a_line_that_is_lost_again_and_again_does_not_begin_its_deadline_anew() -> None:
    watchdog = watching(BTC)
    for at in (100.0, 101.0, 102.0):
        watchdog.lost(BTC, "connection reset", good_s=at)
    assert watchdog.next_due == 104.5


def test_a_stream_that_never_had_data_is_due_from_its_first_reader_on() -> None:
    watchdog = Watchdog(SETTINGS)
    watchdog.want(BTC, now=10.0)
    assert run(watchdog, until=14.4) == []
    ((at, command),) = run(watchdog, until=20.0)
    assert (at, type(command)) == (14.5, UseBackup)


def test_whoever_is_back_before_the_deadline_was_never_away() -> None:
    watchdog = watching(BTC)
    watchdog.lost(BTC, "connection reset", good_s=100.0)
    watchdog.well(BTC, now=102.0)
    assert run(watchdog, until=1e6) == []
    assert watchdog.history() == ()


@pytest.mark.parametrize("gone", [BTC, BOOK, FILLS])
def test_a_partial_loss_moves_just_that_part(gone: Stream) -> None:
    watchdog = watching(BTC, ETH, BOOK, FILLS)
    watchdog.lost(gone, "resubscribing", good_s=50.0)
    ((_, command),) = run(watchdog, until=60.0, delivers=(gone,))
    assert command.switch.streams == (gone,)
    assert [stream for stream in (BTC, ETH, BOOK, FILLS) if watchdog.feeder(stream) is Feeder.BACKUP] == [gone]


def test_streams_lost_together_move_together_in_one_entry_of_the_history() -> None:
    watchdog = watching(BTC, ETH, BOOK)
    for stream in (BTC, ETH):
        watchdog.lost(stream, "market A: reset", good_s=7.0)
    watchdog.lost(BOOK, "checksum", good_s=6.9)
    seen = [command for _, command in run(watchdog, until=20.0)]
    assert [(command.switch.streams, command.switch.reason) for command in seen] == [
        ((BOOK,), "checksum"),
        ((BTC, ETH), "market A: reset"),
    ]


def test_nobody_goes_over_while_the_venue_is_away_on_purpose_and_what_is_still_lost_then_goes_at_once() -> None:
    watchdog = watching(BTC, ETH)
    watchdog.is_away = True
    for stream in (BTC, ETH):
        watchdog.lost(stream, "reset", good_s=10.0)
    assert run(watchdog, until=500.0) == []
    watchdog.well(ETH, now=500.0)
    watchdog.is_away = False
    (command,) = watchdog.check(now=501.0)
    assert (type(command), command.switch.streams) == (UseBackup, (BTC,))


def test_a_stream_on_the_backup_comes_home_although_the_venue_is_away() -> None:
    watchdog = watching(BTC)
    watchdog.lost(BTC, "reset", good_s=0.0)
    run(watchdog, until=10.0)
    watchdog.is_away = True
    watchdog.well(BTC, now=20.0)
    ((_, command),) = run(watchdog, until=60.0)
    assert type(command) is UsePrimary


def test_the_primary_is_back_after_thirty_seconds_of_health_without_a_break() -> None:
    watchdog = watching(BTC)
    watchdog.lost(BTC, "reset", good_s=0.0)
    run(watchdog, until=10.0, delivers=(BTC,))
    watchdog.well(BTC, now=20.0)
    watchdog.lost(BTC, "reset", good_s=45.0)
    watchdog.well(BTC, now=46.0)
    ((at, command),) = run(watchdog, until=1000.0)
    assert (at, type(command)) == (76.0, UsePrimary)
    assert command.switch.reason == "the primary has been well for 30 s"
    assert command.switch.good_s == 46.0


def test_each_return_that_did_not_last_doubles_the_hold_up_to_its_limit() -> None:
    how = FailoverSettings(longest_hold_s=100.0)
    watchdog, now, holds = watching(BTC, how=how), 0.0, []
    for _ in range(5):
        watchdog.lost(BTC, "flap", good_s=now)
        run(watchdog, until=now + 5.0, delivers=(BTC,))
        watchdog.well(BTC, now=now + 6.0)
        ((at, _),) = run(watchdog, until=now + 10_000.0)
        holds.append(at - now - 6.0)
        now = at + 1.0
    assert holds[:4] == [30.0, 60.0, 100.0, 100.0]


def test_a_return_that_lasted_starts_again_with_the_short_hold() -> None:
    watchdog, now = watching(BTC), 0.0
    for _ in range(3):
        watchdog.lost(BTC, "reset", good_s=now)
        run(watchdog, until=now + 5.0, delivers=(BTC,))
        watchdog.well(BTC, now=now + 6.0)
        ((at, _),) = run(watchdog, until=now + 10_000.0)
        assert at == now + 36.0
        now = at + SETTINGS.window_s


def test_at_most_four_returns_in_ten_minutes_however_short_the_hold() -> None:
    how = FailoverSettings(hold_s=1.0, longest_hold_s=1.0)
    watchdog, now, returns = watching(BTC, how=how), 0.0, []
    while now < 3600.0:
        watchdog.lost(BTC, "flap", good_s=now)
        run(watchdog, until=now + 5.0, delivers=(BTC,))
        watchdog.well(BTC, now=now + 6.0)
        ((at, _),) = run(watchdog, until=1e9)
        returns.append(at)
        now = at
    assert len(returns) >= 20
    assert max(sum(at <= other < at + 600.0 for other in returns) for at in returns) == 4


def test_going_to_the_backup_is_never_delayed_by_the_flapping_before() -> None:
    watchdog, now = watching(BTC), 0.0
    for _ in range(50):
        watchdog.lost(BTC, "flap", good_s=now)
        assert watchdog.next_due == now + AHEAD_S
        run(watchdog, until=now + AHEAD_S, delivers=(BTC,))
        assert watchdog.feeder(BTC) is Feeder.BACKUP
        watchdog.well(BTC, now=now + 6.0)
        ((now, _),) = run(watchdog, until=1e9)


def test_without_data_from_the_backup_the_primary_is_welcome_at_once() -> None:
    watchdog = watching(BTC)
    watchdog.lost(BTC, "reset", good_s=0.0)
    run(watchdog, until=5.0)
    watchdog.well(BTC, now=8.0)
    ((at, command),) = run(watchdog, until=100.0)
    assert (at, type(command)) == (8.0, UsePrimary)
    assert command.switch.reason == "the primary is well and the backup delivers nothing"


def test_a_backup_that_falls_silent_ends_the_hold() -> None:
    watchdog = watching(BTC)
    watchdog.lost(BTC, "reset", good_s=0.0)
    run(watchdog, until=5.0)
    watchdog.delivered(BTC, now=5.1)
    watchdog.well(BTC, now=8.0)
    watchdog.delivered(BTC, now=9.0)
    ((at, _),) = run(watchdog, until=100.0)
    assert at == 9.0 + SETTINGS.backup_lost_s


def test_what_the_backup_delivered_before_the_last_return_does_not_count_for_the_next_hold() -> None:
    watchdog = watching(BTC)
    watchdog.lost(BTC, "reset", good_s=0.0)
    run(watchdog, until=5.0)
    watchdog.well(BTC, now=6.0)
    watchdog.delivered(BTC, now=35.9)
    run(watchdog, until=36.0)
    watchdog.lost(BTC, "reset", good_s=36.0)
    run(watchdog, until=40.5)
    watchdog.well(BTC, now=41.0)
    assert [at for at, _ in run(watchdog, until=100.0)] == [41.0]


def test_a_stream_the_budget_does_not_reach_is_the_primarys_as_soon_as_that_is_well() -> None:
    watchdog = watching(BOOK)
    watchdog.lost(BOOK, "reset", good_s=0.0)
    run(watchdog, until=5.0)
    watchdog.delivered(BOOK, now=5.1)
    watchdog.uncovered(BOOK)
    watchdog.well(BOOK, now=6.0)
    assert [at for at, _ in run(watchdog, until=100.0)] == [6.0]


def test_a_stream_without_readers_is_forgotten() -> None:
    watchdog = watching(BTC)
    watchdog.lost(BTC, "reset", good_s=0.0)
    watchdog.drop(BTC)
    watchdog.lost(BTC, "reset", good_s=0.0)
    watchdog.well(BTC, now=1.0)
    watchdog.delivered(BTC, now=1.0)
    assert watchdog.next_due == math.inf
    assert watchdog.feeder(BTC) is Feeder.PRIMARY


def test_the_history_is_bounded_and_can_be_asked_by_time_and_stream() -> None:
    watchdog = watching(BTC, ETH, how=FailoverSettings(lead_s=0.5, history_entries=4))
    for cycle in range(5):
        now = cycle * 1000.0
        stream = BTC if cycle % 2 else ETH
        watchdog.lost(stream, f"loss {cycle}", good_s=now)
        run(watchdog, until=now + 5.0, delivers=(stream,))
        watchdog.well(stream, now=now + 6.0)
        run(watchdog, until=now + 999.0)
    history = watchdog.history()
    assert [switch.number for switch in history] == [7, 8, 9, 10]
    assert watchdog.switches == 10
    assert [switch.number for switch in watchdog.history(since_s=4000.0)] == [9, 10]
    assert [switch.number for switch in watchdog.history(stream=BTC)] == [7, 8]
    assert [switch.to for switch in history] == [Feeder.BACKUP, Feeder.PRIMARY] * 2


def test_two_hundred_cycles_keep_every_figure() -> None:
    watchdog, rng, now = watching(BTC, BOOK), random.Random(5), 0.0
    over, back = [], []
    for _ in range(200):
        watchdog.lost(BTC, "cut", good_s=now)
        for at, command in run(watchdog, until=now + 5.0, delivers=(BTC,)):
            assert isinstance(command, UseBackup)
            over.append(at - now)
        well = now + rng.uniform(5.0, 60.0)
        watchdog.well(BTC, now=well)
        for at, command in run(watchdog, until=well + 1000.0):
            assert isinstance(command, UsePrimary)
            back.append(at - well)
            now = at + rng.uniform(0.0, 1200.0)
    assert len(over) == len(back) == 200
    assert over == pytest.approx([AHEAD_S] * 200)
    assert min(back) == pytest.approx(30.0)
    assert watchdog.feeder(BOOK) is Feeder.PRIMARY


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ConfigError, match="deadline_s: expected lead_s 6 or more, got 5"):
        FailoverSettings(lead_s=6.0)
    with pytest.raises(ConfigError, match="longest_hold_s: expected hold_s 700 or more, got 600"):
        FailoverSettings(hold_s=700.0)


FLAPPY = FailoverSettings(lead_s=0.5, longest_hold_s=45.0)
"""Holds short enough for the limit of returns to count."""


@attrs.define
class _Known:
    """Everything that ever happened to one stream, from which the model works out what has to be."""

    primary: list[tuple[float, float | None]] = attrs.field(factory=list)
    """(when, last good frame) for a loss, (when, None) for a recovery."""
    backup: list[float] = attrs.field(factory=list)
    switches: list[tuple[float, Feeder, bool]] = attrs.field(factory=list)
    """(when, to whom, whether it was a held return)."""

    def feeder(self) -> Feeder:
        return self.switches[-1][1] if self.switches else Feeder.PRIMARY

    def hold_s(self) -> float:
        hold, last_return = FLAPPY.hold_s, None
        for at, to, held in self.switches:
            if to is Feeder.BACKUP:
                flapping = last_return is not None and at - last_return < FLAPPY.window_s
                hold = min(hold * 2, FLAPPY.longest_hold_s) if flapping else FLAPPY.hold_s
            elif held:
                last_return = at
        return hold

    def expected(self, now: float) -> tuple[Feeder, bool]:
        """Return who has to feed the stream at ``now``, and whether a change to the primary is a held one."""
        at, good_s = self.primary[-1]
        if self.feeder() is Feeder.PRIMARY:
            overdue = good_s is not None and now >= good_s + AHEAD_S
            return (Feeder.BACKUP if overdue else Feeder.PRIMARY), False
        if good_s is not None:
            return Feeder.BACKUP, False
        recent = [when for when, to, held in self.switches if held and now - when < FLAPPY.window_s]
        if now >= at + self.hold_s() and len(recent) < FLAPPY.most_returns:
            return Feeder.PRIMARY, True
        since = self.switches[-1][0]
        delivers = any(when >= since and now < when + FLAPPY.backup_lost_s for when in self.backup)
        return (Feeder.BACKUP if delivers else Feeder.PRIMARY), False


class WatchdogMachine(RuleBasedStateMachine):
    """The watchdog against a model that keeps everything and works from scratch.

    Times are multiples of half a second, so that "at the same moment" happens often.
    """

    streams = (BTC, BOOK)

    @initialize()
    def begin(self) -> None:
        self.now = 0.0
        self.watchdog = Watchdog(FLAPPY)
        self.known = {stream: _Known() for stream in self.streams}
        for stream in self.streams:
            self.watchdog.want(stream, now=0.0)
            self.known[stream].primary.append((0.0, 0.0))
        self.check()

    @rule(steps=st.integers(1, 40))
    def time_passes(self, steps: int) -> None:
        """Look only when it is due: that alone has to be enough."""
        until = self.now + steps * 0.5
        while self.watchdog.next_due <= until:
            self.now = max(self.now, self.watchdog.next_due)
            self.check()
        self.now = until
        for stream in self.streams:
            assert self.known[stream].expected(until)[0] is self.watchdog.feeder(stream)

    @rule(steps=st.integers(1, 200))
    def a_long_time_passes_while_the_backup_delivers(self, steps: int) -> None:
        for _ in range(steps):
            for stream in self.streams:
                self.delivered(stream)
            self.time_passes(10)

    @rule(stream=st.sampled_from(streams), rounds=st.integers(0, 12), kept=st.integers(0, 3) | st.integers(0, 150))
    def a_whole_cycle(self, stream: Stream, rounds: int, kept: int) -> None:
        """Lost, over, well; the backup delivers for some rounds, and a return is kept for some more."""
        self.lost(stream, 0)
        self.time_passes(10)
        self.well(stream)
        self.a_long_time_passes_while_the_backup_delivers(rounds)
        self.a_long_time_passes_while_the_backup_delivers(kept)

    @rule(stream=st.sampled_from(streams), silent=st.integers(0, 6))
    def lost(self, stream: Stream, silent: int) -> None:
        known = self.known[stream]
        good_s = max(self.now - silent * 0.5, known.primary[-1][0])
        self.watchdog.lost(stream, "lost", good_s=good_s)
        if known.primary[-1][1] is None:
            known.primary.append((self.now, good_s))
        self.check()

    @rule(stream=st.sampled_from(streams))
    def well(self, stream: Stream) -> None:
        self.watchdog.well(stream, now=self.now)
        if self.known[stream].primary[-1][1] is not None:
            self.known[stream].primary.append((self.now, None))
        self.check()

    @rule(stream=st.sampled_from(streams))
    def delivered(self, stream: Stream) -> None:
        if self.watchdog.feeder(stream) is Feeder.BACKUP:
            self.watchdog.delivered(stream, now=self.now)
            self.known[stream].backup.append(self.now)

    @rule(stream=st.sampled_from(streams))
    def uncovered(self, stream: Stream) -> None:
        self.watchdog.uncovered(stream)
        self.known[stream].backup.clear()
        self.check()

    def check(self) -> None:
        expected = {stream: self.known[stream].expected(self.now) for stream in self.streams}
        changed = {stream for stream in self.streams if expected[stream][0] is not self.known[stream].feeder()}
        commands = self.watchdog.check(now=self.now)
        named = [stream for command in commands for stream in command.switch.streams]
        assert set(named) == changed
        assert len(named) == len(changed)
        for stream in changed:
            to, held = expected[stream]
            self.known[stream].switches.append((self.now, to, held))
        assert all(command.switch.at_s == self.now for command in commands)

    @invariant()
    def both_agree_who_feeds(self) -> None:
        for stream in self.streams:
            assert self.watchdog.feeder(stream) is self.known[stream].feeder()

    @invariant()
    def nothing_overdue_is_left(self) -> None:
        assert self.watchdog.next_due > self.now

    @invariant()
    def returns_are_within_their_limit(self) -> None:
        for known in self.known.values():
            returns = [at for at, _, held in known.switches if held]
            for first, fifth in zip(returns, returns[FLAPPY.most_returns :], strict=False):
                assert fifth - first >= FLAPPY.window_s


TestWatchdogMachine = WatchdogMachine.TestCase
TestWatchdogMachine.settings = settings(max_examples=80, stateful_step_count=50)


@given(good=st.floats(0.0, 1e6), late=st.floats(0.0, 4.5))
def test_the_deadline_holds_however_late_the_loss_is_noticed(good: float, late: float) -> None:
    watchdog = watching(BTC, at=good)
    watchdog.lost(BTC, "silent", good_s=good)
    assert watchdog.next_due <= good + SETTINGS.deadline_s
    assert [type(command) for command in watchdog.check(now=max(good + late, watchdog.next_due))] == [UseBackup]
