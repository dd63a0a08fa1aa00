"""The plan of the backup: within its budget, the most important first, each in turn, and honest about the rest."""

from __future__ import annotations

import itertools
import math

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kraken_engine.config import FailoverSettings
from kraken_engine.control.backup_plan import TICKERS, BackupPlan, Poll
from kraken_engine.control.failover import Stream

SETTINGS = FailoverSettings(calls_per_s=1.0, burst=5)
TIGHT = FailoverSettings(calls_per_s=0.8, pair_calls_per_s=0.6, burst=2)
PACES = (("ticker", "book"), ("trade", "ohlc"))
Wanted = dict[Stream, Poll]


def wanted(*kinds: str, symbols: int = 1) -> Wanted:
    """Streams of ``symbols`` symbols, one of each kind."""
    return {
        (kind, f"S{number}/USD"): TICKERS if kind == "ticker" else Poll(kind, f"S{number}/USD")
        for kind in kinds
        for number in range(symbols)
    }


def asked(plan: BackupPlan, *, begin: float, until: float) -> list[tuple[float, Poll]]:
    """Take every question as soon as it is due."""
    seen: list[tuple[float, Poll]] = []
    now = begin
    while (now := max(now, plan.next_due(now=now))) <= until:
        poll = plan.take(now=now)
        assert poll is not None
        seen.append((now, poll))
        assert len(seen) < 10_000
    return seen


def test_the_tickers_of_all_symbols_cost_one_call() -> None:
    plan = BackupPlan(SETTINGS)
    changed = plan.cover(wanted("ticker", symbols=200), now=0.0)
    assert len(changed.covered) == 200
    assert plan.polls == (TICKERS,)


def test_as_many_books_as_the_budget_reaches_and_the_rest_is_said_to_be_uncovered() -> None:
    plan = BackupPlan(SETTINGS)
    changed = plan.cover(wanted("ticker", "book", symbols=20), now=0.0)
    assert plan.room("book") == 5
    assert len(changed.covered) == 20 + 4
    assert changed.uncovered == tuple(("book", f"S{number}/USD") for number in range(4, 20))
    assert not plan.is_covered(("book", "S4/USD"))


def test_books_of_symbols_with_open_orders_come_before_other_books() -> None:
    plan = BackupPlan(SETTINGS)
    plan.cover(wanted("book", "ticker", "ohlc", "trade", symbols=20), open_orders=["S17/USD", "S9/USD"], now=0.0)
    assert plan.polls == (
        TICKERS,
        Poll("book", "S9/USD"),
        Poll("book", "S17/USD"),
        Poll("book", "S0/USD"),
        Poll("book", "S1/USD"),
        *(Poll("trade", f"S{number}/USD") for number in range(10)),
    )


def test_the_first_round_goes_out_at_once_in_order_of_importance() -> None:
    plan = BackupPlan(SETTINGS)
    plan.cover(wanted("ohlc", "trade", "book", "ticker"), now=10.0)
    assert asked(plan, begin=10.0, until=10.0) == [
        (10.0, TICKERS),
        (10.0, Poll("book", "S0/USD")),
        (10.0, Poll("trade", "S0/USD")),
        (10.0, Poll("ohlc", "S0/USD")),
    ]


def test_rounds_are_shorter_when_there_is_room_to_spare_but_never_below_the_fastest() -> None:
    plan = BackupPlan(SETTINGS)
    plan.cover(wanted("ticker"), now=0.0)
    assert [at for at, _ in asked(plan, begin=0.0, until=5.0)] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    plan.cover(wanted("ticker", "book", "trade"), now=5.5)
    assert plan.round_s("book") == 2.0
    assert plan.round_s("trade") == 1.0


def test_a_stream_that_left_the_backup_makes_room_for_another() -> None:
    plan = BackupPlan(SETTINGS)
    streams = wanted("book", symbols=7)
    assert plan.cover(streams, now=0.0).uncovered == (("book", "S5/USD"), ("book", "S6/USD"))
    del streams["book", "S0/USD"]
    changed = plan.cover(streams, now=1.0)
    assert changed.covered == (("book", "S5/USD"),)
    assert changed.uncovered == ()


def test_a_plan_made_anew_does_not_ask_again_what_was_just_asked() -> None:
    plan = BackupPlan(SETTINGS)
    plan.cover(wanted("ticker"), now=0.0)
    assert plan.take(now=0.0) == TICKERS
    plan.cover(wanted("ticker", "book"), now=0.1)
    assert plan.take(now=0.1) == Poll("book", "S0/USD")
    assert plan.take(now=0.2) is None


def test_an_empty_plan_asks_nothing() -> None:
    plan = BackupPlan(SETTINGS)
    plan.cover(wanted("ticker"), now=0.0)
    plan.cover({}, now=1.0)
    assert plan.take(now=100.0) is None
    assert plan.next_due(now=100.0) == math.inf


@given(
    kinds=st.lists(st.sampled_from(["ticker", "book", "trade", "ohlc"]), min_size=1, max_size=4, unique=True),
    symbols=st.integers(1, 30),
    rate=st.floats(0.2, 20.0),
    burst=st.integers(1, 10),
)
def test_what_is_covered_is_asked_for_at_least_every_slowest_s_and_the_budget_is_kept(
    kinds: list[str], symbols: int, rate: float, burst: int
) -> None:
    plan = BackupPlan(FailoverSettings(calls_per_s=rate, pair_calls_per_s=rate, burst=burst))
    plan.cover(wanted(*kinds, symbols=symbols), now=0.0)
    seen = asked(plan, begin=0.0, until=60.0)
    for pace in ("ticker", "book"), ("trade", "ohlc"):
        assert sum(poll.kind in pace for _, poll in seen) <= burst + rate * 60.0 + 1e-3
    longest = max(SETTINGS.slowest_s, 1 / rate)
    for poll in plan.polls:
        times = [0.0, *(at for at, one in seen if one == poll), 60.0]
        assert max(b - a for a, b in itertools.pairwise(times)) <= longest + 1e-6


class BackupPlanMachine(RuleBasedStateMachine):
    """The plan against the rules written as arithmetic over everything that happened."""

    everything = wanted("ticker", "book", "trade", "ohlc", symbols=4)

    @initialize()
    def begin(self) -> None:
        self.plan, self.now = BackupPlan(TIGHT), 0.0
        self.streams: Wanted = {}
        self.open_orders: list[str] = []
        self.covered: set[Stream] = set()
        self.asked: list[tuple[float, Poll]] = []

    @rule(
        streams=st.lists(st.sampled_from(sorted(everything)), unique=True),
        open_orders=st.lists(st.sampled_from(["S0/USD", "S1/USD", "S2/USD"]), unique=True),
    )
    def plan_anew(self, streams: list[Stream], open_orders: list[str]) -> None:
        before, was = self.covered, set(self.streams)
        self.streams = {stream: self.everything[stream] for stream in streams}
        self.open_orders = open_orders
        changed = self.plan.cover(self.streams, open_orders=open_orders, now=self.now)
        self.covered = {stream for stream in streams if self.plan.is_covered(stream)}
        assert set(changed.covered) == self.covered - before
        assert set(changed.uncovered) == (set(streams) - self.covered) - (was - before)

    @rule(steps=st.integers(1, 30))
    def time_passes(self, steps: int) -> None:
        until = self.now + steps * 0.25
        self.asked += asked(self.plan, begin=self.now, until=until)
        self.now = until

    @invariant()
    def nothing_less_important_is_covered_in_the_place_of_something_more_important(self) -> None:
        def importance(stream: Stream) -> int:
            kind, symbol = stream
            if kind == "book":
                return 1 if symbol in self.open_orders else 2
            return {"ticker": 0, "trade": 3, "ohlc": 4}[str(kind)]

        for pace in PACES:
            covered = [importance(stream) for stream in self.covered if stream[0] in pace]
            left_out = [
                importance(stream) for stream in self.streams if stream not in self.covered and stream[0] in pace
            ]
            assert not left_out or max(covered) <= min(left_out)

    @invariant()
    def the_room_is_used_up_before_anything_is_left_out(self) -> None:
        for pace in PACES:
            polls = {self.streams[stream] for stream in self.covered if stream[0] in pace}
            wanted = {poll for poll in self.streams.values() if poll.kind in pace}
            assert len(polls) == min(self.plan.room(pace[0]), len(wanted))

    @invariant()
    def the_budget_is_kept(self) -> None:
        for pace, rate in zip(PACES, (TIGHT.calls_per_s, TIGHT.pair_calls_per_s), strict=True):
            asked = [at for at, poll in self.asked if poll.kind in pace]
            for number, first in enumerate(asked):
                window = [at for at in asked[number:] if at - first < 10.0]
                assert len(window) <= TIGHT.burst + 10.0 * rate


TestBackupPlanMachine = BackupPlanMachine.TestCase
TestBackupPlanMachine.settings = settings(max_examples=50, stateful_step_count=25)
