"""Shrinking keeps a failure and ends at a plan from which no fault can be left out."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.errors import UsageError
from kraken_engine.sim.plan import Fault, Plan
from kraken_engine.sim.shrink import SHORTEST_S, shrink


def _plan(count: int, horizon_s: float = 3600) -> Plan:
    return Plan(
        seed="1",
        horizon_s=horizon_s,
        faults=tuple(Fault(at_s=horizon_s * number / (count + 1), kind=f"k{number}") for number in range(count)),
    )


@given(st.integers(1, 60), st.data())
def test_it_finds_the_one_or_two_faults_that_matter(count: int, data: st.DataObject) -> None:
    needed = set(data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=2, unique=True)))
    runs = 0

    def fails(plan: Plan) -> bool:
        nonlocal runs
        runs += 1
        return {f"k{number}" for number in needed} <= {fault.kind for fault in plan.faults}

    shrunk = shrink(_plan(count), fails)
    assert {fault.kind for fault in shrunk.plan.faults} == {f"k{number}" for number in needed}
    assert shrunk.minimal
    assert shrunk.runs == runs <= 80


@given(st.integers(1, 25), st.integers(0, 2**32), st.integers(1, 12))
def test_any_predicate_ends_at_a_failing_plan_from_which_nothing_can_be_left_out(
    count: int, salt: int, kept: int
) -> None:
    """The predicate fails for arbitrary subsets, so it is not monotone, as real failures are not."""
    whole = _plan(count)

    def fails(plan: Plan) -> bool:
        chosen = sum(1 << int(fault.kind[1:]) for fault in plan.faults)
        return len(plan.faults) == count or (len(plan.faults) >= kept and (chosen * 2654435761 + salt) % 3 == 0)

    shrunk = shrink(whole, fails, max_runs=5000)
    assert fails(shrunk.plan)
    assert shrunk.minimal
    if shrunk.plan.horizon_s == whole.horizon_s and shrunk.plan.faults:
        for index in range(len(shrunk.plan.faults)):
            fewer = shrunk.plan.faults[:index] + shrunk.plan.faults[index + 1 :]
            assert not fewer or not fails(attrs.evolve(shrunk.plan, faults=fewer))


def test_a_failure_without_any_fault_shrinks_to_an_empty_plan() -> None:
    shrunk = shrink(_plan(40), lambda plan: True)
    assert shrunk.plan.faults == ()
    assert SHORTEST_S <= shrunk.plan.horizon_s < 2 * SHORTEST_S


def test_the_horizon_is_halved_while_the_failure_stays() -> None:
    def fails(plan: Plan) -> bool:
        return any(fault.kind == "k3" for fault in plan.faults) and plan.horizon_s >= 900

    shrunk = shrink(_plan(40), fails)
    assert [fault.kind for fault in shrunk.plan.faults] == ["k3"]
    assert shrunk.plan.horizon_s == 900


def test_a_late_fault_is_brought_forward_and_the_run_ends_soon_after_it() -> None:
    def fails(plan: Plan) -> bool:
        return {"k35", "k38"} <= {fault.kind for fault in plan.faults}

    shrunk = shrink(_plan(40), fails)
    first, last = shrunk.plan.faults
    assert first.at_s < 2 * SHORTEST_S + 1
    assert last.at_s - first.at_s == pytest.approx(3 * 3600 / 41, abs=0.01)
    assert shrunk.plan.horizon_s == pytest.approx(last.at_s + SHORTEST_S, abs=0.01)


def test_faults_that_matter_only_late_stay_late() -> None:
    def fails(plan: Plan) -> bool:
        return any(fault.kind == "k35" and fault.at_s > 1000 for fault in plan.faults)

    (fault,) = shrink(_plan(40), fails).plan.faults
    assert 1000 < fault.at_s < 1010


def test_it_takes_a_bounded_number_of_runs_and_says_that_it_gave_up() -> None:
    runs = 0

    def fails(plan: Plan) -> bool:
        nonlocal runs
        runs += 1
        return len(plan.faults) > 30

    shrunk = shrink(_plan(60), fails, max_runs=5)
    assert shrunk.runs == runs == 5
    assert not shrunk.minimal
    assert len(shrunk.plan.faults) > 30


def test_no_plan_is_run_twice() -> None:
    seen: set[tuple[tuple[str, ...], float]] = set()

    def fails(plan: Plan) -> bool:
        key = (tuple(fault.kind for fault in plan.faults), plan.horizon_s)
        assert key not in seen
        seen.add(key)
        return {"k3", "k31"} <= {fault.kind for fault in plan.faults}

    assert len(shrink(_plan(40), fails).plan.faults) == 2


def test_a_plan_that_does_not_fail_is_refused() -> None:
    with pytest.raises(UsageError, match="does not fail"):
        shrink(_plan(3), lambda plan: False)
