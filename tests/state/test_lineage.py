"""Of two sequences of states is known what the places where they parted or met say, and nothing else."""

from __future__ import annotations

from kraken_engine.state.lineage import MOST_REMEMBERED, Lineage


def test_in_one_sequence_what_comes_later_has_passed_what_came_before() -> None:
    one = Lineage()
    assert one.has_passed((one.token, 3), 3)
    assert one.has_passed((one.token, 3), 4)
    assert not one.has_passed((one.token, 3), 2)


def test_a_sequence_begun_from_another_has_passed_what_that_had_passed_there_and_no_more() -> None:
    root, old, new = Lineage(), Lineage(), Lineage()
    old.begin(root, 7)
    new.begin(old, 5)
    assert new.has_passed((old.token, 5), 0)
    assert not new.has_passed((old.token, 6), 9)
    assert new.has_passed((root.token, 7), 0)
    assert not old.has_passed((new.token, 0), 9), "nobody knows how far the old one is behind"


def test_a_sequence_that_was_met_has_passed_the_other_from_that_state_on() -> None:
    root, one, other = Lineage(), Lineage(), Lineage()
    one.begin(root, 2)
    other.meet(one, 4, 6)
    assert other.has_passed((one.token, 4), 6)
    assert other.has_passed((root.token, 2), 6)
    assert not other.has_passed((one.token, 4), 5), "that was before they were one"
    assert not other.has_passed((one.token, 5), 9)


def test_the_messages_since_two_parted_are_counted_for_each() -> None:
    old, new = Lineage(), Lineage()
    assert old.steps_since(new, 1, 1) is None
    new.begin(old, 10)
    assert new.steps_since(old, 13, 1) == (1, 3)
    assert old.steps_since(new, 1, 13) == (3, 1)


def test_only_the_last_few_are_remembered() -> None:
    one, others = Lineage(), [Lineage() for _ in range(MOST_REMEMBERED + 1)]
    for here, other in enumerate(others):
        one.meet(other, 1, here)
    assert not one.has_passed((others[0].token, 1), 99)
    assert one.has_passed((others[-1].token, 1), 99)
