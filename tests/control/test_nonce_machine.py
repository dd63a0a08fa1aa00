"""Nonces against a venue without a window: crashes at every step, lost writes, clock steps, two users of a key."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kraken_engine.config import NonceSettings
from kraken_engine.control.nonce import Held, NeedsMark, NonceSource

S = 10**9
T0 = 1_795_000_000 * S


class NonceMachine(RuleBasedStateMachine):
    """The model is the venue: it keeps the highest nonce it saw and refuses all others.

    It never refuses one, unless somebody else used the key since; then the first retry above its time succeeds.
    """

    @initialize(block=st.sampled_from([1, 1000, S]), behind_s=st.integers(-3, 3))
    def begin(self, block: int, behind_s: int) -> None:
        self.settings = NonceSettings(block_ns=block)
        self.disk = 0
        self.seen = -1
        self.real_ns = T0
        self.offset_ns = behind_s * S
        self.booted_ns = T0
        self.intruded = False
        self.writing: NeedsMark | None = None
        self.clock_known = False  # by this process
        self.misled = False  # by a clock that was years ahead when nothing was known yet
        self.source = NonceSource(self.disk, self.settings)

    @property
    def wall_ns(self) -> int:
        return self.real_ns + self.offset_ns

    @property
    def now(self) -> float:
        return (self.real_ns - self.booted_ns) / S

    @rule(ns=st.sampled_from([1, 1000, S // 10, S, 60 * S, 3600 * S]))
    def time_passes(self, ns: int) -> None:
        self.real_ns += ns

    @rule(seconds=st.sampled_from([-(10**8), -3600, -1, 0, 1, 3600, 10**8, 10**12]))
    def clock_is_set(self, seconds: int) -> None:
        self.offset_ns = max(seconds * S, -self.real_ns)

    @rule(urgent=st.booleans(), venue_known=st.booleans())
    def sign(self, urgent: bool, venue_known: bool) -> None:
        """One signed call; it stops at the door of the disk."""
        if self.writing is not None:
            return
        self.misled |= not self.clock_known and self.offset_ns > 3600 * S
        self.clock_known = True
        answer = self.source.next(self.wall_ns, now=self.now, urgent=urgent)
        if isinstance(answer, NeedsMark):
            self.writing = answer
            return
        if isinstance(answer, Held):
            assert self.source.refusals > 2
            assert not urgent
            assert 0.0 < answer.wait_s <= 900.0 + 1e-6  # what is left is a difference of rounded numbers
            return
        assert answer < self.disk, "used before it was reserved on disk"
        if answer > self.seen:
            self.seen = answer
            self.intruded = False
            self.source.accepted()
        else:
            assert self.intruded, "refused without anybody else's doing"
            before = self.source.refusals
            venue_ns = max(self.real_ns, self.seen + 1) if venue_known else 0
            assert self.source.refused(now=self.now, venue_ns=venue_ns) == (before < 2)
            self.intruded = not venue_known and self.disk + self.settings.block_ns <= self.seen

    @rule(venue_known=st.booleans(), ahead=st.sampled_from([0, 1, S // 2]))
    def sign_with_all_retries(self, venue_known: bool, ahead: int) -> None:
        if ahead:
            self.somebody_else_uses_the_key(ahead)
        for _ in range(6):
            self.sign(urgent=True, venue_known=venue_known)
            if self.writing is not None:
                self.disk_answers()

    @precondition(lambda self: self.writing is not None)
    @rule()
    def disk_answers(self) -> None:
        assert self.writing is not None
        assert self.writing.up_to > self.disk
        self.disk = self.writing.up_to
        self.source.marked(self.disk)
        self.writing = None

    @rule(written=st.booleans())
    def crash(self, written: bool) -> None:
        """At any point; what was being written is there or not."""
        if self.writing is not None and written:
            self.disk = self.writing.up_to
        self.writing = None
        self.booted_ns = self.real_ns
        self.intruded = self.seen >= self.disk  # a reset upward that no mark made durable is forgotten
        self.clock_known = False
        self.source = NonceSource(self.disk, self.settings)

    @rule(ahead=st.sampled_from([1, S, 30 * S, 7200 * S]))
    def somebody_else_uses_the_key(self, ahead: int) -> None:
        self.seen = max(self.seen, self.disk, self.real_ns) + ahead
        self.intruded = True

    @rule(late_s=st.sampled_from([0, 1]))
    def venue_tells_its_time(self, late_s: int) -> None:
        self.clock_known = True
        self.source.told(self.real_ns - late_s * S, now=self.now)

    @invariant()
    def the_mark_only_says_what_is_on_disk(self) -> None:
        if hasattr(self, "source"):
            assert self.source.mark == self.disk

    @invariant()
    def no_clock_poisons_the_key(self) -> None:
        """Reserved is what resets and hours of error explain, not what a clock of another year says."""
        if hasattr(self, "source") and not self.misled:
            assert self.disk < max(self.real_ns, self.seen) + 10**6 * S


NonceMachine.TestCase.settings = settings(stateful_step_count=30)
TestNonce = NonceMachine.TestCase
