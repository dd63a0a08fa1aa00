"""After a silence a stream has its time to prove itself by data, and is then asked for anew, once."""

from __future__ import annotations

from kraken_engine.state.freshness import StreamKey
from kraken_engine.state.suspects import Suspects

A: StreamKey = ("book", "A/USD")
B: StreamKey = ("book", "B/USD")


def test_what_is_still_stale_when_its_time_is_over_is_asked_for_once_and_nothing_else_is() -> None:
    suspects = Suspects(2.5)
    suspects.spoke_again([A, B], now=10.0)
    assert suspects.due_s == 12.5
    assert suspects.take(lambda _: True, late=False, now=12.4) == []
    assert suspects.take(lambda key: key == B, late=False, now=12.5) == [B]
    assert suspects.take(lambda _: True, late=False, now=100.0) == []


def test_while_the_line_is_late_nothing_is_proof_and_nobody_is_asked() -> None:
    suspects = Suspects(2.5)
    suspects.spoke_again([A], now=0.0)
    assert suspects.take(lambda _: True, late=True, now=50.0) == []
    assert suspects.take(lambda _: True, late=False, now=51.0) == [A]


def test_another_silence_gives_everybody_a_new_chance() -> None:
    suspects = Suspects(2.5)
    suspects.spoke_again([A], now=0.0)
    suspects.spoke_again([A, B], now=2.0)
    assert suspects.take(lambda _: True, late=False, now=2.5) == []
    assert suspects.take(lambda _: True, late=False, now=4.5) == [A, B]


def test_a_line_that_was_never_silent_has_no_suspects() -> None:
    assert Suspects(2.5).take(lambda _: True, late=False, now=1e9) == []
