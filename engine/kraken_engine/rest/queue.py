"""The task between everybody who calls and the venue: one prioritised queue, with breaker, limits and retries inside.

::

    caller ──call()──▶ waiting calls ──▶ limits ▸ breaker ──▶ sender ──▶ verdict ──▶ caller
                            ▲                                                 │
                            └───────────────── pause ◀──── retry budget ◀─────┘

One queue per breaker: the public API of this address, and each key. Signed calls leave one at a time, since their
nonces have to arrive in order; an urgent cancel may end a question that is still in flight. The venue refuses a request
that was overtaken that way, which is as it should be: it can do nothing late.

A caller that is cancelled, or whose deadline is over, frees the place of its call at once, wherever it is. While the
breaker is open, callers are told so without waiting; only a call for the token waits, as the first probe there will be,
and behind it those of the recovery group, which follow it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar, cast, final

import trio

from kraken_engine.codec.venue_errors import BreakerEffect
from kraken_engine.config import RestSettings
from kraken_engine.control.call_queue import CallQueue, Urgency, Wait
from kraken_engine.control.circuit_breaker import (
    BreakerState,
    CallKind,
    CircuitBreaker,
    Closed,
    Failure,
    HalfOpened,
    Opened,
    Probed,
    Ticket,
)
from kraken_engine.control.error_actions import ActivateCircuitBreaker, ErrorDesk, ResetNonceAndRetry, Where
from kraken_engine.control.retry_budget import RetryBudget
from kraken_engine.control.retry_pause import RetryPause
from kraken_engine.control.venue_clock import VenueClock
from kraken_engine.errors import CircuitOpen, EngineError, NotSent, RestFailed
from kraken_engine.normalise.events import CircuitChanged, Notice
from kraken_engine.rest.calls import Attempt, Call, Counters, RestStatistics, check_fields, patience_s
from kraken_engine.rest.limits import Limits
from kraken_engine.rest.operations import Operation
from kraken_engine.rest.sending import Reply, Sender, forget_frames
from kraken_engine.rest.verdict import Verdict, refusal, verdict
from kraken_engine.runtime import Clock

__all__ = ["RestQueue"]

_T = TypeVar("_T")


@final
class RestQueue:
    """The calls of one key, or of the public API.

    Args:
        name: for messages: ``public``, or the account.
        sender: puts one call on the wire.
        limits: the venue's, as far as we know.
        breaker: of its own.
        budget: of retries, one for the whole process.
        settings: of the REST API.
        clock: the runtime's.
        venue_clock: the venue's, for the times it names.
        pauses: before retries.
        concurrency: calls in flight at once; 1 for signed ones.
        desk: hears of every attempt that did not succeed.
        account: whose key it is; None for the public API.
        notify: told when the breaker changes; must not wait.
    """

    def __init__(
        self,
        name: str,
        *,
        sender: Sender,
        limits: Limits,
        breaker: CircuitBreaker,
        budget: RetryBudget,
        settings: RestSettings,
        clock: Clock,
        venue_clock: VenueClock,
        pauses: RetryPause,
        concurrency: int,
        notify: Callable[[Notice], None],
        desk: ErrorDesk,
        account: str | None = None,
    ) -> None:
        self.name = name
        self.account = account
        self.desk = desk
        self.breaker = breaker
        self.sender = sender
        self._limits = limits
        self.budget = budget
        self._settings = settings
        self._clock = clock
        self._venue_clock = venue_clock
        self._pauses = pauses
        self._concurrency = concurrency
        self._notify = notify
        self._waiting: CallQueue[Call] = CallQueue(settings.queue_calls)
        self._in_flight: list[Call] = []
        self._unanswered: dict[Call, None] = {}
        self._changed = trio.Event()
        self._open = False
        self._at_the_end = trio.Lock()
        self._counters = Counters()
        self._observers: list[Callable[[Attempt], None]] = []

    def observe(self, observer: Callable[[Attempt], None]) -> Callable[[], None]:
        """Call ``observer`` for every attempt that is over, until the returned function is called; it must be quick."""
        self._observers.append(observer)
        return lambda: self._observers.remove(observer)

    @property
    def is_open(self) -> bool:
        """Whether the breaker lets nothing ordinary through now."""
        return self.breaker.look(now=self._clock.now()) is BreakerState.OPEN

    def patience(self, timeout_s: float | None) -> Callable[[], float]:
        """Return what tells how many seconds are left of ``timeout_s`` (None: the settings' patience) from now on."""
        ends_s = self._clock.now() + patience_s(timeout_s, self._settings.patience_s)
        return lambda: max(0.0, ends_s - self._clock.now())

    def statistics(self) -> RestStatistics:
        """Return the counters."""
        return self._counters.statistics(waiting=len(self._waiting))

    async def call(
        self,
        what: Operation,
        fields: Mapping[str, str],
        finish: Callable[[Reply], _T],
        *,
        pair: str | None = None,
        timeout_s: float | None = None,
    ) -> _T:
        """Call ``what`` when it is its turn, and return what ``finish`` makes of the venue's answer.

        Args:
            what: the operation, with the group it is called for.
            fields: its arguments, in the venue's words.
            finish: makes the result of a reply without errors; a DecodeError of it counts as an answer that was none.
            pair: of a public call, for the venue's limits by pair.
            timeout_s: how long the caller waits in all; the settings' patience when not given.

        Raises:
            Rejected: the venue refused.
            CircuitOpen: the breaker is open.
            RestFailed: there was no answer, or none within ``timeout_s``; says whether it may have been executed.
            NotSent: it never left.
            DecodeError: the answer to a question made no sense.
            UsageError: a field is no text that can be sent, or ``timeout_s`` no time.
        """
        check_fields(fields)
        self._counters.calls += 1
        wait_s = patience_s(timeout_s, self._settings.patience_s)
        call = Call(self._counters.calls, what, fields, finish, pair, self._clock.now() + wait_s)
        if not self._open:
            await self._call_at_the_end(call)
        else:
            self._unanswered[call] = None
            self._put(call)
            try:
                with trio.move_on_after(wait_s):
                    await call.done.wait()
            finally:
                del self._unanswered[call]
                if not call.done.is_set():
                    self._withdraw(call)
            if call.orphaned:
                call.done = trio.Event()
                await self._call_at_the_end(call)
        # What became of the attempt before says nothing of one that is on its way: an order may live now.
        if not call.done.is_set() and (call.error is None or (call.scope is not None and not call.what.read)):
            call.error = self._too_late(call, wait_s)
        if call.error is not None:
            raise call.error
        return cast("_T", call.value)

    async def serve_calls(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve the queue until cancelled; then whoever still waits is told that it is closed.

        Afterwards only farewells are sent, each by whoever asks for it: they are for the very end.
        """
        try:
            async with trio.open_nursery() as nursery:
                self._open = True
                task_status.started()
                while True:
                    self._changed = trio.Event()
                    pause_s = self._turn(nursery)
                    if self.breaker.state is BreakerState.OPEN:  # when it no longer is, that is told, too
                        pause_s = min(pause_s, self.breaker.open_until - self._clock.now())
                    with trio.move_on_after(pause_s):
                        await self._changed.wait()
        finally:
            self._open = False
            for call in self._unanswered:
                self._waiting.remove(call)
                if call.what.kind is CallKind.FAREWELL:
                    call.orphaned = True
                    call.done.set()
                else:
                    call.fail(self._closed(call))

    def _closed(self, call: Call) -> EngineError:
        return self._without_answer(call, f"the REST client ({self.name}) is closed")

    def _too_late(self, call: Call, wait_s: float) -> EngineError:
        self._counters.refused_here += call.attempts == 0
        why = f"no answer within {wait_s:g} s" if call.attempts else f"its turn did not come within {wait_s:g} s"
        return self._without_answer(call, why)

    def _without_answer(self, call: Call, why: str) -> EngineError:
        if call.attempts == 0:
            return NotSent(call.what.name, why)
        return RestFailed(call.what.name, why, maybe_executed=not call.what.read)

    async def _call_at_the_end(self, call: Call) -> None:
        """Send a farewell although the task is gone: one at a time, for their nonces have to arrive in order."""
        await trio.lowlevel.checkpoint()  # whoever asks again and again must not hold up everybody else
        if call.what.kind is not CallKind.FAREWELL:
            self._counters.refused_here += 1
            call.fail(self._closed(call))
            return
        with trio.move_on_after(call.deadline_s - self._clock.now()):
            while not call.done.is_set():
                async with self._at_the_end:
                    now = self._clock.now()
                    admitted = self.breaker.admit(call.what.kind, now=now)
                    call.ticket = admitted if isinstance(admitted, Ticket) else None
                    self._limits.sent(call.what, call.pair, now=now)
                    pause_s = await self._serve(call)
                if pause_s is not None:
                    await trio.sleep(pause_s)

    # -- waiting

    def _put(self, call: Call) -> None:
        leaves = self._waiting.put(call, call.what.urgency, cost=call.what.cost)
        if leaves is not None:
            self._counters.refused_here += leaves.attempts == 0
            why = f"{self._settings.queue_calls} calls wait already ({self.name})"
            leaves.fail(leaves.error or self._without_answer(leaves, why))
        self._changed.set()

    def _withdraw(self, call: Call) -> None:
        call.withdrawn = True
        self._waiting.remove(call)
        if call.scope is not None:
            call.scope.cancel()
        self._changed.set()

    def _tell(self, now: float) -> None:
        """Announce what the breaker went through since the last look, each with the time at which it happened."""
        self.breaker.look(now=now)
        for event in self.breaker.take_events():
            match event:
                case Opened(at_s=at_s, until_s=until_s):
                    state, retry_in_s = BreakerState.OPEN, max(0.0, until_s - now)
                case HalfOpened(at_s=at_s):
                    state, retry_in_s = BreakerState.HALF_OPEN, 0.0
                case Closed(at_s=at_s):
                    state, retry_in_s = BreakerState.CLOSED, 0.0
                case Probed():
                    continue
            self._notify(CircuitChanged(at_s=at_s, breaker=self.name, state=state.value, retry_in_s=retry_in_s))

    def _turn(self, nursery: trio.Nursery) -> float:
        """Let go what may go, and return after how many seconds to look again at the latest."""
        now = self._clock.now()
        self._tell(now)
        if self.breaker.state is BreakerState.OPEN:
            for call in [call for call in self._waiting if call.what.kind is CallKind.ORDINARY]:
                self._waiting.remove(call)
                self._refuse(call, self.breaker.open_until - now)
        while len(self._in_flight) < self._concurrency:
            taken = self._waiting.take(partial(self._wait_s, now=now))
            if taken is None:
                return math.inf
            if isinstance(taken, Wait):
                return taken.wait_s
            if taken.refused is not None:
                self._refuse(taken, taken.refused.wait_s)
            else:
                # Now, not when its task has begun: the next one in this very turn has to see it.
                self._limits.sent(taken.what, taken.pair, now=now)
                self._in_flight.append(taken)
                nursery.start_soon(self._serve_and_free, taken)
        return self._preempt(now)

    def _wait_s(self, call: Call, _: int, *, now: float) -> float:
        """Return for how long ``call`` has to wait; 0.0: it leaves, with a ticket of the breaker or its refusal."""
        wait_s = self._limits.wait_s(call.what, call.pair, now=now)
        if wait_s > 0.0:
            return wait_s
        token_waits = self._waiting.waits(Urgency.TOKEN)
        if call.ticket is None:
            admitted = self.breaker.admit(call.what.kind, now=now, token_waits=token_waits)
        else:
            admitted = self.breaker.retry(call.ticket, now=now, token_waits=token_waits)
        if isinstance(admitted, Ticket):
            call.ticket = admitted
            return 0.0
        if call.what.kind is CallKind.TOKEN:
            return admitted.wait_s
        call.refused = admitted
        return 0.0

    def _refuse(self, call: Call, left_s: float) -> None:
        """End a call that the breaker does not let through; one that was tried already ends with what came of it."""
        self._counters.refused_here += call.attempts == 0
        call.fail(call.error or CircuitOpen(self.name, left_s))

    def _preempt(self, now: float) -> float:
        """End a question in flight that a cancel has waited for long enough, and return when to look again."""
        if self._concurrency > 1 or not self._cancel_waits():
            return math.inf
        (asked,) = self._in_flight
        if not asked.what.read:
            return math.inf
        if asked.scope is None:  # its task has not begun
            return self._settings.abort_reads_after_s
        left_s = asked.sent_at + self._settings.abort_reads_after_s - now
        if left_s <= 0.0:
            asked.preempted = True
            asked.scope.cancel()
            return math.inf
        return left_s

    def _cancel_waits(self) -> bool:
        return self._waiting.waits(Urgency.FAREWELL) or self._waiting.waits(Urgency.CANCEL)

    # -- in flight

    async def _serve_and_free(self, call: Call) -> None:
        try:
            pause_s = await self._serve(call)
        finally:
            self._in_flight.remove(call)
            self._changed.set()
        if pause_s is not None:
            await trio.sleep(pause_s)
            if not call.withdrawn:
                self._put(call)

    async def _serve(self, call: Call) -> float | None:
        """Make one attempt; return how long to pause before the next one, or None if the call is over."""
        now = call.sent_at = self._clock.now()
        ends_s = min(
            now + self._settings.timeout_s, call.deadline_s, math.inf if call.ticket is None else call.ticket.deadline_s
        )
        in_time = now < ends_s  # not after the machine has slept, for one
        if call.withdrawn or not in_time or (call.retry and not self.budget.retry(now=now)):
            if call.ticket is not None:
                self.breaker.cancelled(call.ticket, now=now)
            call.fail(call.error or self._without_answer(call, "its time was over before its turn came"))
            return None
        self._counters.attempts += 1
        if call.attempts == 0:
            self.budget.first(now=now)
        call.attempts += 1
        found: Verdict | None = None
        with trio.CancelScope() as call.scope:
            found = await self._attempt(call, ends_s - now)
        given_up, call.scope = call.scope.cancelled_caught, None
        now = self._clock.now()
        self._limits.answered(call.what, now=now)
        self._report(call, found, now, given_up=given_up)
        if not given_up:
            return self._settle(call, found, now)
        if call.ticket is not None:
            self.breaker.cancelled(call.ticket, now=now)
        if call.withdrawn or not call.preempted:
            return None
        call.preempted = call.retry = False
        return 0.0

    async def _attempt(self, call: Call, timeout_s: float) -> Verdict | None:
        """Send the call, and return what is wrong with what became of it, or None."""
        try:
            reply = await self.sender.send(call.what, call.fields, timeout_s=timeout_s)
            self._counters.latencies.append(reply.received_s - call.sent_at)
            if reply.date_unix_s is not None:
                self._venue_clock.learn(reply.date_unix_s, at_s=reply.received_s, took_s=reply.took_s)
            if reply.envelope.errors:
                return refusal(call.what, reply.envelope.errors)
            call.value = call.finish(reply)
        except EngineError as error:
            if call.what.private:
                forget_frames(error)
            return verdict(call.what, error)
        return None

    def _report(self, call: Call, found: Verdict | None, now: float, *, given_up: bool) -> None:
        if not self._observers:
            return
        effect = None if given_up else BreakerEffect.NONE if found is None else found.effect
        attempt = Attempt(
            queue=self.name,
            call=call.number,
            retry=call.retry,
            what=call.what,
            sent_at_s=call.sent_at,
            ended_at_s=now,
            effect=effect,
            error=None if found is None else found.error,
            given_up=given_up,
        )
        for observer in self._observers:
            observer(attempt)

    def _settle(self, call: Call, found: Verdict | None, now: float) -> float | None:
        if found is None:
            self.sender.heard(None, reset=False)
            if call.ticket is not None:
                self.breaker.succeeded(call.ticket, now=now)
            call.succeed(call.value)
            return None
        self._counters.failed(found)
        # What the table commands is done right here: breaker, nonces and retries are this task's own.
        where = Where(account=self.account, operation=call.what.name, symbol=call.pair)
        command = self.desk.decide(found.error, where)
        try_nonce_again = self.sender.heard(found, reset=isinstance(command, ResetNonceAndRetry))
        # Of several words the gravest gives the command; a rate limit among the others counts all the same.
        limited = isinstance(command, ActivateCircuitBreaker) or found.effect is BreakerEffect.RATE_LIMIT
        self._tell_breaker(call, found, now, limited=limited)
        pause_s = self._pause_s(call, found, now, try_nonce_again=try_nonce_again)
        if pause_s is None:
            call.fail(found.error)
        else:
            self._counters.retries += 1
            call.error, call.retry = found.error, True
        return pause_s

    def activate_breaker(self, command: ActivateCircuitBreaker) -> None:
        """Stop the calls of this queue: somebody else of the same account, or address, was told of its limit."""
        now = self._clock.now()
        self.breaker.trip(Failure.RATE_LIMIT, now=now, not_before=now + command.pause_s)
        self._changed.set()

    def _tell_breaker(self, call: Call, found: Verdict, now: float, *, limited: bool) -> None:
        ticket, breaker = call.ticket, self.breaker
        not_before = now + found.pause_s
        if found.retry_at_unix_s is not None:
            venue_ns = self._venue_clock.now_ns(now=now)
            unix_s = (self._clock.wall_ns() if venue_ns is None else venue_ns) / 1e9
            not_before = max(not_before, now + found.retry_at_unix_s - unix_s)
        if limited:
            free_s = self._limits.refused(call.what, call.pair, sent_at=call.sent_at, now=now)
            not_before = max(not_before, free_s)
        if ticket is None:
            return
        if limited:
            breaker.failed(ticket, Failure.RATE_LIMIT, now=now, not_before=not_before)
        elif found.effect is None:
            breaker.cancelled(ticket, now=now)
        elif found.effect is BreakerEffect.FAILURE:
            breaker.failed(ticket, Failure.TRANSPORT, now=now)
        else:
            breaker.succeeded(ticket, now=now)

    def _pause_s(self, call: Call, found: Verdict, now: float, *, try_nonce_again: bool) -> float | None:
        """Return the pause before another attempt, or None if there is none."""
        settings = self._settings
        most = settings.max_retries if found.most_retries is None else min(settings.max_retries, found.most_retries)
        allowed = try_nonce_again or (found.may_retry and not found.nonce_refused and call.attempts <= most)
        passes = call.what.kind in _ALWAYS_PASS or self.breaker.look(now=now) is BreakerState.CLOSED
        if call.withdrawn or not allowed or not passes:
            return None
        if try_nonce_again:
            pause_s = 0.0
        elif found.pause_s > 0.0:
            pause_s = self._pauses.throttled_s(call.attempts, at_least_s=found.pause_s)
        else:
            pause_s = self._pauses.transport_s(call.attempts)
        return None if now + pause_s >= call.deadline_s else pause_s


_ALWAYS_PASS = (CallKind.FAREWELL, CallKind.STATUS)
