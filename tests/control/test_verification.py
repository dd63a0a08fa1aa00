"""Turns are fair, one difference is looked at again, two renew the stream, and a renewed one is left alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.control.failover import Stream
from kraken_engine.control.verification import Consequence, Verification

A: Stream = ("book", "A/B")
B: Stream = ("ticker", "A/B")
C: Stream = ("ticker", "C/D")


def test_streams_take_turns_and_a_new_one_comes_first() -> None:
    verification = Verification()
    assert [verification.take([A, B]) for _ in range(4)] == [A, B, A, B]
    assert [verification.take([A, B, C]) for _ in range(4)] == [C, A, B, C]
    assert verification.take([]) is None


def test_two_differences_in_a_row_renew_the_stream_and_two_more_only_tell() -> None:
    verification = Verification()
    assert [verification.judge(A, agrees=False) for _ in range(6)] == [
        Consequence.LOOK_AGAIN,
        Consequence.RESYNC,
        Consequence.LOOK_AGAIN,
        Consequence.TELL,
        Consequence.LOOK_AGAIN,
        Consequence.TELL,
    ]
    assert verification.judge(A, agrees=True) is Consequence.NOTHING
    assert [verification.judge(A, agrees=False) for _ in range(2)] == [Consequence.LOOK_AGAIN, Consequence.RESYNC]
    assert (verification.compared, verification.differences, verification.resyncs) == (9, 8, 2)


def test_a_difference_that_is_gone_at_the_second_look_was_none() -> None:
    verification = Verification()
    for _ in range(5):
        assert verification.judge(A, agrees=False) is Consequence.LOOK_AGAIN
        assert verification.judge(A, agrees=True) is Consequence.NOTHING
    assert verification.resyncs == 0


def test_the_doubts_of_one_stream_are_not_those_of_another_and_end_with_its_readers() -> None:
    verification = Verification()
    verification.take([A, B])
    verification.judge(A, agrees=False)
    assert verification.judge(B, agrees=False) is Consequence.LOOK_AGAIN
    verification.take([B])
    assert verification.judge(A, agrees=False) is Consequence.LOOK_AGAIN


def test_a_doubt_whose_second_look_came_to_nothing_is_not_held_against_the_next_turn() -> None:
    verification = Verification()
    for _ in range(5):
        assert verification.take([A]) == A
        assert verification.judge(A, agrees=False) is Consequence.LOOK_AGAIN
    assert verification.resyncs == 0


@given(rounds=st.lists(st.sets(st.sampled_from([A, B, C]), min_size=1), min_size=1, max_size=40))
def test_nobody_waits_longer_than_everybody_else_together(rounds: list[set[Stream]]) -> None:
    verification, waited = Verification(), dict.fromkeys((A, B, C), 0)
    for streams in rounds:
        taken = verification.take(sorted(streams))
        assert taken in streams
        for stream in waited:
            waited[stream] = waited[stream] + 1 if stream in streams and stream != taken else 0
        assert max(waited.values()) <= 4
