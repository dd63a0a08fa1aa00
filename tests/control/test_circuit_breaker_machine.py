"""The circuit breaker against a model that counts ticks of five seconds, one by one."""

from __future__ import annotations

import copy
import math

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kraken_engine.config import BreakerSettings
from kraken_engine.control.circuit_breaker import (
    BreakerEvent,
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

TICK_S = 5.0


@attrs.define
class Call:
    """One attempt as the model knows it."""

    number: int
    epoch: int
    """How many changes of the state came before it; -1: it was let past."""
    probe_ticks: int | None
    """For a probe: ticks until it is late."""


@attrs.define
class Model:
    """What ``spec.md`` says, in the plainest way: counters that go down with every tick."""

    failures_allowed: int
    throttles_allowed: int
    trials: int
    mode: str = "closed"
    epoch: int = 0
    tick_count: int = 0
    open_ticks: int = 0
    recovery_ticks: int = 0
    throttle_pause: int = 0
    row: list[int] = attrs.field(factory=list[int])
    """Calls of the present row of failures, each once."""
    throttled_row: list[int] = attrs.field(factory=list[int])
    won: int = 0
    probes: list[Call] = attrs.field(factory=list[Call])
    events: list[BreakerEvent] = attrs.field(factory=list[BreakerEvent])

    @property
    def now(self) -> float:
        return self.tick_count * TICK_S

    def tick(self) -> None:
        self.tick_count += 1
        self.recovery_ticks = max(0, self.recovery_ticks - 1)
        opening = self.epoch
        for call in list(self.probes):
            assert call.probe_ticks is not None
            call.probe_ticks -= 1
            if call.probe_ticks == 0:
                self.fail(call, Failure.TRANSPORT, 0)
        if self.mode == "open" and self.epoch == opening:  # not one that opened in this very tick
            self.open_ticks -= 1
            if self.open_ticks == 0:
                self.change("half")
                self.events.append(HalfOpened(self.now))

    def change(self, mode: str) -> None:
        self.mode, self.epoch, self.won = mode, self.epoch + 1, 0
        self.row, self.throttled_row = [], []

    def open(self, cause: Failure, hold: int) -> None:
        wait = 3
        if cause is Failure.RATE_LIMIT:
            self.throttle_pause = min(60, self.throttle_pause * 2) if self.throttle_pause else 12
            wait = self.throttle_pause
        hold = min(hold, 180)
        self.change("open")
        self.open_ticks, self.recovery_ticks = max(60, hold), max(wait, hold)
        self.events.append(Opened(self.now, cause, (self.tick_count + self.open_ticks) * TICK_S))

    def admits(self, kind: CallKind, token_waits: bool) -> bool:
        if self.mode == "closed" or kind in (CallKind.STATUS, CallKind.FAREWELL):
            return True
        if token_waits and kind is not CallKind.TOKEN:
            return False
        if self.mode == "half":
            return len(self.probes) + self.won < self.trials
        return kind in (CallKind.TOKEN, CallKind.RECOVERY) and not self.probes and self.recovery_ticks == 0

    def admit(self, number: int, kind: CallKind) -> Call:
        if self.mode == "closed":
            return Call(number, self.epoch, None)
        if kind in (CallKind.STATUS, CallKind.FAREWELL):
            return Call(number, -1, None)
        call = Call(number, self.epoch, 2)
        self.probes.append(call)
        self.events.append(Probed(self.now, kind))
        return call

    def settle(self, call: Call) -> bool:
        """Take a result in, and say whether it means anything."""
        if call.probe_ticks is not None:
            if not any(probe is call for probe in self.probes):
                return False
            self.probes = [probe for probe in self.probes if probe is not call]
        return call.epoch == self.epoch

    def succeed(self, call: Call) -> None:
        if not self.settle(call):
            return
        if self.mode == "closed":
            self.row, self.throttled_row = [], []
        elif self.mode == "open":
            self.recovery_ticks = 0
        else:
            self.won += 1
            if self.won == self.trials:
                self.change("closed")
                self.throttle_pause = 0
                self.events.append(Closed(self.now))

    def fail(self, call: Call, failure: Failure, hold: int) -> None:
        if not self.settle(call):
            return
        if self.mode == "closed":
            if call.number not in self.row:
                self.row.append(call.number)
            if failure is Failure.RATE_LIMIT and call.number not in self.throttled_row:
                self.throttled_row.append(call.number)
            if len(self.row) >= self.failures_allowed or len(self.throttled_row) >= self.throttles_allowed:
                self.open(failure, hold)
        elif self.mode == "open" and failure is Failure.TRANSPORT:
            self.recovery_ticks = max(3, min(hold, 180))
        else:
            self.open(failure, hold)


KINDS = st.sampled_from(CallKind)
HOLDS = st.sampled_from([0, 2, 20, 100, 500])


class BreakerMachine(RuleBasedStateMachine):
    """Calls are admitted, answered, lost, cancelled, repeated and answered twice, in every order."""

    @initialize(failures=st.integers(1, 4), throttles=st.integers(1, 2), trials=st.integers(1, 2))
    def begin(self, failures: int, throttles: int, trials: int) -> None:
        self.breaker = CircuitBreaker(
            BreakerSettings(failure_threshold=failures, rate_limit_threshold=throttles, half_open_requests=trials)
        )
        self.model = Model(failures, throttles, trials)
        self.seen: list[BreakerEvent] = []
        self.calls: list[tuple[Ticket, Call]] = []
        """All attempts so far, answered or not; the last 40."""
        self.number = 0

    @property
    def now(self) -> float:
        return self.model.now

    @rule(ticks=st.sampled_from([1, 1, 2, 3, 12, 57, 60, 200]))
    def time_passes(self, ticks: int) -> None:
        for _ in range(ticks):
            self.model.tick()

    @rule(kind=KINDS, token_waits=st.booleans())
    def call(self, kind: CallKind, token_waits: bool) -> None:
        self.number += 1
        self.ask(self.number, kind, token_waits, self.breaker.admit(kind, now=self.now, token_waits=token_waits))

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), token_waits=st.booleans())
    def call_again(self, data: st.DataObject, token_waits: bool) -> None:
        ticket, call = data.draw(st.sampled_from(self.calls))
        answer = self.breaker.retry(ticket, now=self.now, token_waits=token_waits)
        self.ask(call.number, ticket.kind, token_waits, answer)

    def ask(self, number: int, kind: CallKind, token_waits: bool, answer: Ticket | Refused) -> None:
        expected = self.model.admits(kind, token_waits)
        assert isinstance(answer, Ticket) == expected
        if isinstance(answer, Ticket):
            call = self.model.admit(number, kind)
            assert answer.is_probe == (call.probe_ticks is not None)
            if answer.is_probe:
                assert answer.deadline_s == self.now + 10.0
            self.calls = [*self.calls[-39:], (answer, call)]
            return
        future, patience = copy.deepcopy(self.model), 0
        while not future.admits(kind, False) and patience < 200:
            future.tick()
            patience += 1
        assert answer.wait_s > 0.0
        if not token_waits:
            assert answer.wait_s <= patience * TICK_S
            if not self.model.probes:
                assert answer.wait_s == patience * TICK_S

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        ticket, call = data.draw(st.sampled_from(self.calls))
        self.breaker.succeeded(ticket, now=self.now)
        self.model.succeed(call)

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), failure=st.sampled_from(Failure), hold=HOLDS)
    def fail(self, data: st.DataObject, failure: Failure, hold: int) -> None:
        ticket, call = data.draw(st.sampled_from(self.calls))
        not_before = self.now + hold * TICK_S if hold else -math.inf
        self.breaker.failed(ticket, failure, now=self.now, not_before=not_before)
        self.model.fail(call, failure, hold)

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        ticket, call = data.draw(st.sampled_from(self.calls))
        self.breaker.cancelled(ticket, now=self.now)
        if call.probe_ticks is not None:
            self.model.settle(call)

    @rule(failure=st.sampled_from(Failure), hold=HOLDS)
    def trip(self, failure: Failure, hold: int) -> None:
        self.breaker.trip(failure, now=self.now, not_before=self.now + hold * TICK_S if hold else -math.inf)
        self.model.open(failure, hold)

    @invariant()
    def same_state_and_same_events(self) -> None:
        if not hasattr(self, "breaker"):
            return
        state = self.breaker.look(now=self.now)
        names = {"closed": BreakerState.CLOSED, "open": BreakerState.OPEN, "half": BreakerState.HALF_OPEN}
        assert state is names[self.model.mode]
        self.seen += self.breaker.take_events()
        assert self.seen == self.model.events

    def teardown(self) -> None:
        """Whatever hangs, an ordinary call gets through in the end."""
        if hasattr(self, "breaker"):
            assert isinstance(self.breaker.admit(CallKind.ORDINARY, now=self.now + 2000.0), Ticket)


BreakerMachine.TestCase.settings = settings(stateful_step_count=30)
TestBreaker = BreakerMachine.TestCase
