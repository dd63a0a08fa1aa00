"""Liveness: detection figures, quiet markets, and patience with a blocked or sleeping host."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.config import LivenessSettings
from kraken_engine.control.liveness import Liveness, LivenessAction, MarkStale, Replace, SendPing
from kraken_engine.errors import ConfigError

Seen = list[tuple[float, LivenessAction]]


def subscribed(*, at: float = 0.0) -> Liveness:
    """A line that was greeted and has asked for something at ``at``."""
    line = Liveness(LivenessSettings())
    line.connected(now=at)
    line.frame(now=at)
    line.sent(now=at)
    return line


def run(line: Liveness, *, until: float, frames: list[float] | None = None, pong_after_s: float | None = None) -> Seen:
    """Look at the line whenever it asks for it; frames arrive in between, and pongs if wanted."""
    pending, seen = sorted((at, False) for at in frames or []), []
    while line.next_check <= until:
        due = line.next_check
        while pending and pending[0][0] <= due:
            at, is_pong = pending.pop(0)
            line.frame(now=at)
            if is_pong:
                line.pong()
        for action in line.check(now=due):
            seen.append((due, action))
            if isinstance(action, SendPing) and pong_after_s is not None:
                pending = sorted([*pending, (due + pong_after_s, True)])
        assert len(seen) < 10_000
        assert line.next_check > due
    return seen


def test_silence_is_pinged_and_stale_after_2_5_s_and_replaced_after_4_s() -> None:
    line = subscribed()
    line.frame(now=1.0)
    assert run(line, until=100.0) == [
        (3.5, SendPing()),
        (3.5, MarkStale("no frame for 2.5 s")),
        (5.0, Replace("no frame for 4.0 s, the ping included")),
    ]
    assert line.next_check == math.inf
    assert line.check(now=200.0) == []


@given(last=st.floats(0.0, 1e6))
def test_detection_keeps_its_figures_whenever_the_silence_begins(last: float) -> None:
    line = subscribed(at=last)
    seen = run(line, until=last + 100.0)
    assert [type(a) for _, a in seen] == [SendPing, MarkStale, Replace]
    assert seen[1][0] - last <= 2.75
    assert seen[2][0] - last <= 4.25


@given(gaps=st.lists(st.floats(0.2, 1.8), min_size=1, max_size=200))
def test_a_quiet_market_with_heartbeats_is_never_stale(gaps: list[float]) -> None:
    beats, now = [], 0.0
    for gap in gaps:
        now += gap
        beats.append(now)
    seen = run(subscribed(), until=now, frames=beats, pong_after_s=0.1)
    assert {type(a) for _, a in seen} <= {SendPing}


def test_a_frame_ends_a_stale_period_and_the_next_silence_is_judged_anew() -> None:
    line = subscribed()
    run(line, until=3.0)
    marked = line.stale
    ended = [line.frame(now=3.1), line.frame(now=3.2)]
    assert (marked, ended, line.stale) == (True, [True, False], False)
    seen = run(line, until=100.0)
    assert [type(a) for _, a in seen] == [SendPing, MarkStale, Replace]
    assert [t for t, _ in seen] == pytest.approx([5.7, 5.7, 7.2])


def test_a_pong_keeps_a_line_alive() -> None:
    seen = run(subscribed(), until=60.0, pong_after_s=0.2)
    assert not [a for _, a in seen if isinstance(a, Replace)]


def test_before_the_first_request_silence_is_pinged_but_not_stale() -> None:
    line = Liveness(LivenessSettings())
    line.connected(now=0.0)
    line.frame(now=0.1)
    seen = run(line, until=50.0, pong_after_s=0.1)
    assert {type(a) for _, a in seen} == {SendPing}
    assert len(seen) < 25


def test_before_the_first_request_an_unanswered_ping_still_ends_the_line() -> None:
    line = Liveness(LivenessSettings())
    line.connected(now=0.0)
    line.frame(now=0.0)
    assert [type(a) for _, a in run(line, until=50.0)] == [SendPing, Replace]


def test_silence_before_the_first_request_is_not_held_against_the_line() -> None:
    line = Liveness(LivenessSettings())
    line.connected(now=0.0)
    line.frame(now=0.0)
    run(line, until=2.4)
    line.sent(now=2.4)
    seen = run(line, until=100.0, frames=[2.6, 3.4])
    assert [(t, type(a)) for t, a in seen if isinstance(a, MarkStale)] == [(5.9, MarkStale)]


def test_a_line_that_is_never_greeted_is_replaced_after_10_s() -> None:
    line = Liveness(LivenessSettings())
    line.connected(now=5.0)
    line.sent(now=5.0)
    assert run(line, until=100.0) == [(15.0, Replace("no frame within 10.0 s of the upgrade"))]


def test_a_line_that_only_listens_is_pinged_before_the_venue_closes_it() -> None:
    beats = [float(n) for n in range(1, 101)]
    seen = run(subscribed(), until=100.0, frames=beats, pong_after_s=0.1)
    assert seen == [(t, SendPing()) for t in (20.0, 40.0, 60.0, 80.0, 100.0)]


def test_a_peer_that_is_heard_but_does_not_hear_us_is_replaced_when_a_ping_stays_unanswered() -> None:
    beats = [float(n) for n in range(1, 101)]
    seen = run(subscribed(), until=100.0, frames=beats)
    assert seen == [(20.0, SendPing()), (30.0, Replace("no answer to a ping for 10.0 s, it does not hear us"))]


def test_requests_do_not_postpone_the_ping_that_asks_for_an_answer() -> None:
    line = subscribed()
    seen = []
    for second in range(1, 101):
        seen += run(line, until=float(second), frames=[float(second)])
        line.sent(now=float(second))
    assert [(t, type(a)) for t, a in seen] == [(20.0, SendPing), (30.0, Replace)]


@given(pong_after_s=st.floats(0.0, 9.9))
def test_a_slow_answer_is_an_answer(pong_after_s: float) -> None:
    beats = [float(n) for n in range(1, 201)]
    seen = run(subscribed(), until=200.0, frames=beats, pong_after_s=pong_after_s)
    assert {type(a) for _, a in seen} == {SendPing}


def test_a_later_ping_does_not_give_an_unanswered_one_more_time() -> None:
    line = Liveness(LivenessSettings(idle_ping_s=4.0))
    line.connected(now=0.0)
    line.frame(now=0.0)
    seen = run(line, until=100.0, frames=[float(n) for n in range(1, 101)])
    assert [(t, type(a)) for t, a in seen] == [(4.0, SendPing), (8.0, SendPing), (12.0, SendPing), (14.0, Replace)]


def test_time_nobody_looked_is_not_held_against_an_unanswered_ping() -> None:
    line = subscribed()
    run(line, until=29.0, frames=[float(n) for n in range(1, 30)])
    woken = line.next_check + 3.0
    assert line.check(now=woken) == []
    line.frame(now=woken)
    line.pong()
    assert run(line, until=woken + 2.0) == []


def test_a_new_connection_owes_no_pong_for_the_pings_of_the_old_one() -> None:
    line = subscribed()
    run(line, until=21.0, frames=[float(n) for n in range(1, 22)])
    line.connected(now=22.0)
    line.frame(now=22.0)
    seen = run(line, until=41.0, frames=[float(n) for n in range(23, 42)])
    assert seen == []


def test_idle_pings_do_not_spin_when_death_is_far_away() -> None:
    line = Liveness(LivenessSettings(stale_after_s=10.0, dead_after_s=100.0, idle_ping_s=5.0))
    line.connected(now=0.0)
    line.frame(now=0.0)
    line.sent(now=0.0)
    seen = run(line, until=200.0)
    assert isinstance(seen[-1][1], Replace)
    assert len(seen) < 30


@given(blocked=st.floats(0.2, 3.9), at=st.floats(0.0, 3.0))
def test_a_blocked_event_loop_is_no_false_alarm(blocked: float, at: float) -> None:
    line = subscribed()
    run(line, until=at, frames=[float(n) for n in range(1, 10) if n <= at])
    woken = line.next_check + blocked
    assert line.check(now=woken) == []
    assert line.lag_s == pytest.approx(blocked)


def test_after_a_blocked_loop_a_dead_line_is_still_found() -> None:
    line = subscribed()
    run(line, until=0.6)
    assert line.check(now=4.0) == []
    seen = run(line, until=100.0)
    assert [type(a) for _, a in seen] == [SendPing, MarkStale, Replace]
    assert seen[-1][0] <= 4.0 + 4.0


@given(slept=st.floats(4.01, 1e5))
def test_a_machine_that_slept_replaces_the_connection_for_what_waits_in_it_is_old(slept: float) -> None:
    line = subscribed()
    run(line, until=0.6)
    woken = line.next_check + slept
    (action,) = line.check(now=woken)
    assert isinstance(action, Replace)
    assert action.reason == f"nobody looked for {line.lag_s:.1f} s, what came meanwhile is too old"
    assert line.check(now=woken + 10.0) == []


def test_a_machine_that_slept_before_anything_was_asked_for_keeps_the_connection() -> None:
    line = Liveness(LivenessSettings())
    line.connected(now=0.0)
    line.frame(now=0.0)
    assert not [a for a in line.check(now=30.0) if isinstance(a, Replace)]


def test_nothing_is_judged_without_a_connection() -> None:
    line = Liveness(LivenessSettings())
    assert line.check(now=100.0) == []
    line = subscribed()
    line.disconnected()
    assert line.check(now=100.0) == []


def test_a_new_connection_starts_with_a_clean_slate() -> None:
    line = subscribed()
    run(line, until=100.0)
    line.connected(now=200.0)
    assert not line.stale
    assert run(line, until=300.0) == [(210.0, Replace("no frame within 10.0 s of the upgrade"))]


def test_dead_before_stale_is_refused() -> None:
    with pytest.raises(ConfigError, match="dead_after_s: expected more than stale_after_s 5, got 4"):
        LivenessSettings(stale_after_s=5.0)
