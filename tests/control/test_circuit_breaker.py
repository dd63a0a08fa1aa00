"""Circuit breaker (I-21, I-22, finding 7): what opens it, who passes meanwhile, and what cannot wedge it."""

from __future__ import annotations

import math

import pytest

from kraken_engine.config import BreakerSettings
from kraken_engine.control.circuit_breaker import (
    BreakerState,
    CallKind,
    CircuitBreaker,
    Closed,
    Failure,
    HalfOpened,
    Opened,
    Probed,
    Refused,
    Ticket,
)

ORDINARY, RECOVERY, TOKEN = CallKind.ORDINARY, CallKind.RECOVERY, CallKind.TOKEN
TRANSPORT, RATE_LIMIT = Failure.TRANSPORT, Failure.RATE_LIMIT


def state_of(breaker: CircuitBreaker) -> BreakerState:
    return breaker.state


def admitted(breaker: CircuitBreaker, kind: CallKind = ORDINARY, *, now: float, token_waits: bool = False) -> Ticket:
    answer = breaker.admit(kind, now=now, token_waits=token_waits)
    assert isinstance(answer, Ticket)
    return answer


def refused(breaker: CircuitBreaker, kind: CallKind = ORDINARY, *, now: float, token_waits: bool = False) -> float:
    answer = breaker.admit(kind, now=now, token_waits=token_waits)
    assert isinstance(answer, Refused)
    return answer.wait_s


def fail(breaker: CircuitBreaker, failure: Failure, *, now: float, not_before: float = -math.inf) -> None:
    breaker.failed(admitted(breaker, now=now), failure, now=now, not_before=not_before)


def opened(failure: Failure = TRANSPORT, *, settings: BreakerSettings | None = None) -> CircuitBreaker:
    """A breaker that opened at 0."""
    breaker = CircuitBreaker(BreakerSettings() if settings is None else settings)
    while state_of(breaker) is BreakerState.CLOSED:
        fail(breaker, failure, now=0.0)
    breaker.take_events()
    return breaker


def test_three_failures_in_a_row_open_it_for_300_s() -> None:
    breaker = CircuitBreaker()
    for now in (0.0, 1.0):
        fail(breaker, TRANSPORT, now=now)
    assert state_of(breaker) is BreakerState.CLOSED
    fail(breaker, TRANSPORT, now=2.0)
    assert breaker.take_events() == [Opened(2.0, TRANSPORT, until_s=302.0)]
    assert refused(breaker, now=12.0) == 290.0


def test_a_success_in_between_starts_the_count_anew() -> None:
    breaker = CircuitBreaker()
    for now in range(10):
        fail(breaker, TRANSPORT, now=now)
        fail(breaker, TRANSPORT, now=now)
        breaker.succeeded(admitted(breaker, now=now), now=now)
    assert breaker.take_events() == []


def test_one_rate_limit_answer_opens_it() -> None:
    breaker = CircuitBreaker()
    fail(breaker, RATE_LIMIT, now=7.0)
    assert breaker.take_events() == [Opened(7.0, RATE_LIMIT, until_s=307.0)]


def test_as_many_rate_limit_answers_as_configured_open_it_and_a_success_forgets_them() -> None:
    breaker = CircuitBreaker(BreakerSettings(failure_threshold=9, rate_limit_threshold=2))
    fail(breaker, RATE_LIMIT, now=0.0)
    breaker.succeeded(admitted(breaker, now=1.0), now=1.0)
    fail(breaker, RATE_LIMIT, now=2.0)
    assert state_of(breaker) is BreakerState.CLOSED
    fail(breaker, RATE_LIMIT, now=3.0)
    assert state_of(breaker) is BreakerState.OPEN


def test_retries_of_one_call_count_as_one_failure() -> None:
    breaker = CircuitBreaker()
    ticket: Ticket | Refused = admitted(breaker, now=0.0)
    for now in (1.0, 2.0, 3.0, 4.0):
        assert isinstance(ticket, Ticket)
        breaker.failed(ticket, TRANSPORT, now=now)
        ticket = breaker.retry(ticket, now=now)
    fail(breaker, TRANSPORT, now=5.0)
    assert state_of(breaker) is BreakerState.CLOSED
    fail(breaker, TRANSPORT, now=6.0)
    assert state_of(breaker) is BreakerState.OPEN
    assert isinstance(ticket, Ticket)
    assert breaker.retry(ticket, now=7.0) == Refused(299.0)


@pytest.mark.parametrize("kind", [CallKind.STATUS, CallKind.FAREWELL])
def test_status_and_farewell_pass_an_open_breaker_and_change_nothing(kind: CallKind) -> None:
    breaker = opened()
    for now in range(1, 400, 20):
        breaker.succeeded(admitted(breaker, kind, now=now), now=now)
        breaker.failed(admitted(breaker, kind, now=now), RATE_LIMIT, now=now)
        breaker.cancelled(admitted(breaker, kind, now=now), now=now)
    assert breaker.take_events() == [HalfOpened(300.0)]
    admitted(breaker, now=400.0)  # the probe is still to be had


@pytest.mark.parametrize("kind", [CallKind.STATUS, CallKind.FAREWELL])
def test_status_and_farewell_count_like_others_while_it_is_closed(kind: CallKind) -> None:
    breaker = CircuitBreaker()
    breaker.failed(admitted(breaker, kind, now=0.0), RATE_LIMIT, now=0.0)
    assert state_of(breaker) is BreakerState.OPEN


def test_after_the_timeout_exactly_one_call_passes_and_its_success_closes() -> None:
    breaker = opened()
    assert refused(breaker, now=299.0) == 1.0
    probe = admitted(breaker, now=300.0)
    assert probe.deadline_s == 310.0
    assert refused(breaker, now=301.0) == 9.0
    breaker.succeeded(probe, now=302.0)
    assert breaker.take_events() == [HalfOpened(300.0), Probed(300.0, ORDINARY), Closed(302.0)]
    assert not admitted(breaker, now=302.0).is_probe


def test_a_failed_probe_opens_it_for_another_full_300_s() -> None:
    breaker = opened()
    breaker.failed(admitted(breaker, now=305.0), TRANSPORT, now=306.0)
    assert breaker.take_events()[-1] == Opened(306.0, TRANSPORT, until_s=606.0)


def test_a_probe_that_hangs_has_failed_after_10_s_and_comes_too_late() -> None:
    breaker = opened()
    probe = admitted(breaker, now=300.0)
    assert breaker.look(now=309.9) is BreakerState.HALF_OPEN
    breaker.succeeded(probe, now=310.0)
    assert breaker.take_events()[-1] == Opened(310.0, TRANSPORT, until_s=610.0)


def test_a_cancelled_probe_gives_its_place_back() -> None:
    breaker = opened()
    probe = admitted(breaker, now=300.0)
    breaker.cancelled(probe, now=304.0)
    breaker.succeeded(admitted(breaker, now=304.0), now=305.0)
    assert state_of(breaker) is BreakerState.CLOSED
    breaker.failed(probe, RATE_LIMIT, now=306.0)
    assert state_of(breaker) is BreakerState.CLOSED


def test_several_probes_pass_if_so_configured_and_all_have_to_succeed() -> None:
    breaker = opened(settings=BreakerSettings(half_open_requests=2))
    first, second = admitted(breaker, now=300.0), admitted(breaker, now=300.0)
    refused(breaker, now=300.0)
    breaker.succeeded(first, now=301.0)
    refused(breaker, now=301.0)
    assert state_of(breaker) is BreakerState.HALF_OPEN
    breaker.succeeded(second, now=302.0)
    assert state_of(breaker) is BreakerState.CLOSED


def test_results_of_an_older_generation_change_nothing() -> None:
    breaker = CircuitBreaker()
    old = [admitted(breaker, now=0.0) for _ in range(6)]
    fail(breaker, RATE_LIMIT, now=1.0)
    breaker.succeeded(old[0], now=2.0)
    breaker.failed(old[1], RATE_LIMIT, now=200.0)
    assert breaker.open_until == 301.0
    probe = admitted(breaker, now=301.0)
    breaker.succeeded(old[2], now=302.0)
    assert state_of(breaker) is BreakerState.HALF_OPEN
    breaker.succeeded(probe, now=303.0)
    breaker.failed(old[3], RATE_LIMIT, now=304.0)
    fail(breaker, TRANSPORT, now=305.0)
    breaker.succeeded(old[4], now=306.0)
    fail(breaker, TRANSPORT, now=307.0)
    fail(breaker, TRANSPORT, now=308.0)
    assert state_of(breaker) is BreakerState.OPEN


def test_recovery_calls_probe_an_open_breaker_one_at_a_time_every_15_s() -> None:
    breaker = opened()
    assert refused(breaker, RECOVERY, now=5.0) == 10.0
    probe = admitted(breaker, RECOVERY, now=15.0)
    assert refused(breaker, TOKEN, now=16.0) == 9.0
    breaker.failed(probe, TRANSPORT, now=17.0)
    assert refused(breaker, RECOVERY, now=17.0) == 15.0
    admitted(breaker, RECOVERY, now=32.0)
    assert refused(breaker, RECOVERY, now=42.0) == 15.0  # the second hung until then
    assert breaker.open_until == 300.0


def test_after_a_recovery_call_that_succeeded_the_next_may_follow_but_no_other() -> None:
    breaker = opened()
    for now in (15.0, 16.0, 17.0):
        breaker.succeeded(admitted(breaker, RECOVERY, now=now), now=now)
    assert refused(breaker, now=18.0) == 282.0
    assert breaker.look(now=299.0) is BreakerState.OPEN


def test_a_waiting_token_call_is_the_preferred_probe() -> None:
    breaker = opened()
    assert refused(breaker, RECOVERY, now=15.0, token_waits=True) > 0.0
    breaker.cancelled(admitted(breaker, TOKEN, now=15.0, token_waits=True), now=16.0)
    assert refused(breaker, now=300.0, token_waits=True) > 0.0
    breaker.succeeded(admitted(breaker, TOKEN, now=300.0, token_waits=True), now=301.0)
    assert state_of(breaker) is BreakerState.CLOSED


def test_a_token_refresh_that_falls_due_as_it_opens_is_not_late_for_the_token() -> None:
    """Finding 7: 300 s of timeout and 300 s until the token expires begin together; both kinds of trouble."""
    for failure, first in ((TRANSPORT, 15.0), (RATE_LIMIT, 60.0)):
        breaker = opened(failure)
        assert refused(breaker, TOKEN, now=0.0) == first
        breaker.succeeded(admitted(breaker, TOKEN, now=first), now=first + 1.0)


def test_each_rate_limit_answer_to_a_probe_opens_anew_and_doubles_the_pause_up_to_300_s() -> None:
    breaker, now, pauses = opened(RATE_LIMIT), 0.0, []
    for _ in range(5):
        pauses.append(refused(breaker, RECOVERY, now=now))
        now += pauses[-1]
        breaker.failed(admitted(breaker, RECOVERY, now=now), RATE_LIMIT, now=now)
        assert breaker.open_until == now + 300.0
    assert pauses == [60.0, 120.0, 240.0, 300.0, 300.0]


def test_closing_forgives_the_rate_limit_answers() -> None:
    breaker = opened(RATE_LIMIT)
    breaker.failed(admitted(breaker, RECOVERY, now=60.0), RATE_LIMIT, now=60.0)
    breaker.succeeded(admitted(breaker, now=360.0), now=360.0)
    fail(breaker, RATE_LIMIT, now=400.0)
    assert refused(breaker, RECOVERY, now=400.0) == 60.0


def test_a_time_named_by_the_venue_is_honoured_if_it_is_later_and_believed_for_15_minutes() -> None:
    for named, believed in ((100.0, 300.0), (500.0, 500.0), (1e9, 900.0)):
        breaker = CircuitBreaker()
        fail(breaker, RATE_LIMIT, now=0.0, not_before=named)
        assert refused(breaker, now=0.0) == believed
    assert refused(breaker, RECOVERY, now=0.0) == 900.0


def test_no_probe_before_the_modelled_counter_has_drained() -> None:
    breaker = CircuitBreaker()
    fail(breaker, RATE_LIMIT, now=0.0, not_before=75.0)
    assert refused(breaker, RECOVERY, now=0.0) == 75.0


def test_a_probe_from_before_the_timeout_keeps_its_place_but_decides_nothing_after_it() -> None:
    breaker = opened()
    early = admitted(breaker, RECOVERY, now=299.0)
    assert refused(breaker, now=300.0) == 9.0
    breaker.succeeded(early, now=301.0)
    assert state_of(breaker) is BreakerState.HALF_OPEN
    breaker.succeeded(admitted(breaker, now=301.0), now=302.0)
    assert state_of(breaker) is BreakerState.CLOSED


def test_it_can_be_tripped_from_outside() -> None:
    breaker = CircuitBreaker()
    breaker.trip(RATE_LIMIT, now=1.0, not_before=2.0)
    assert breaker.take_events() == [Opened(1.0, RATE_LIMIT, until_s=301.0)]


def test_a_machine_that_slept_finds_everything_that_was_due_in_order() -> None:
    breaker = opened()
    admitted(breaker, RECOVERY, now=298.0)
    breaker.look(now=10_000.0)
    assert breaker.take_events() == [Probed(298.0, RECOVERY), HalfOpened(300.0)]
    admitted(breaker, now=10_000.0)
    breaker.look(now=20_000.0)
    assert breaker.take_events()[1:] == [Opened(10_010.0, TRANSPORT, 10_310.0), HalfOpened(10_310.0)]


def test_events_nobody_takes_are_bounded() -> None:
    breaker = CircuitBreaker()
    for now in range(1000):
        breaker.trip(TRANSPORT, now=now)
    events = breaker.take_events()
    assert len(events) == 256
    assert events[-1] == Opened(999.0, TRANSPORT, 1299.0)
