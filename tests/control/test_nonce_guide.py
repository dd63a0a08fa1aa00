"""When nonces go above the venue's time, and whose word about that time counts (I-20)."""

from __future__ import annotations

import attrs
from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.config import NonceSettings
from kraken_engine.control.nonce import NeedsMark, NonceSource
from kraken_engine.control.nonce_guide import NonceGuide
from kraken_engine.control.venue_clock import VenueClock

T0_S = 1_795_305_600
S = 10**9


@attrs.define
class World:
    """A key, and a machine whose wall clock is ``late_s`` behind the venue's."""

    late_s: float = 0.0
    now: float = 0.0
    guide: NonceGuide = attrs.field(factory=lambda: NonceGuide(NonceSource(0, NonceSettings()), VenueClock()))

    @property
    def venue_s(self) -> int:
        return T0_S + int(self.now)

    @property
    def wall_ns(self) -> int:
        return round((T0_S + self.now - self.late_s) * S)

    def says_its_time(self) -> None:
        self.guide.venue_clock.learn(self.venue_s, at_s=self.now)

    def has_to_ask(self, *, urgent: bool = False) -> bool:
        return self.guide.has_to_ask(self.wall_ns, now=self.now, urgent=urgent)

    def refused(self, *, reset: bool = True) -> bool:
        return self.guide.not_accepted(self.wall_ns, now=self.now, reset=reset)

    def draw(self) -> int:
        drawn = self.guide.nonces.next(self.wall_ns, now=self.now, urgent=True)
        while isinstance(drawn, NeedsMark):
            self.guide.nonces.marked(drawn.up_to)
            drawn = self.guide.nonces.next(self.wall_ns, now=self.now, urgent=True)
        assert isinstance(drawn, int)
        return drawn


def test_nobody_is_asked_while_nonces_are_taken() -> None:
    world = World()
    assert not world.has_to_ask()
    world.says_its_time()
    assert not world.has_to_ask()


def test_after_a_refusal_a_date_that_can_be_believed_is_enough() -> None:
    world = World(late_s=1800.0)
    world.says_its_time()
    assert world.refused()
    assert not world.has_to_ask()
    assert world.draw() > world.venue_s * S


def test_a_date_far_from_the_wall_clock_has_to_be_confirmed_and_moves_nothing_until_then() -> None:
    world = World(late_s=7200.0)
    world.draw()
    world.says_its_time()
    assert world.refused()
    assert world.draw() < world.venue_s * S
    assert world.has_to_ask()
    world.guide.told(now=world.now)
    assert world.draw() > world.venue_s * S
    assert not world.has_to_ask()


def test_a_wall_clock_that_is_far_off_from_the_beginning_is_doubted_once() -> None:
    world = World(late_s=7200.0)
    world.says_its_time()
    assert [world.has_to_ask() for _ in range(3)] == [True, False, False]


def test_a_wall_clock_that_was_right_when_it_was_compared_is_not_compared_again() -> None:
    """What it does later are steps, which the nonces notice themselves."""
    world = World()
    world.says_its_time()
    assert not world.has_to_ask()
    world.late_s = 7200.0
    assert not world.has_to_ask()


def test_a_need_that_was_not_met_stays_until_a_nonce_is_taken() -> None:
    world = World(late_s=7200.0)
    world.draw()
    assert world.refused()
    assert [world.has_to_ask() for _ in range(3)] == [True] * 3  # and nobody could say it
    world.guide.accepted()
    assert not world.has_to_ask()


def test_a_key_that_rests_asks_for_an_urgent_call_alone_and_for_all_when_the_rest_is_over() -> None:
    world = World(late_s=7200.0)
    world.draw()
    assert [world.refused() for _ in range(3)] == [True, True, False]
    assert not world.has_to_ask()
    assert world.has_to_ask(urgent=True)
    world.refused(reset=False)  # what the rest itself refuses is no word of the venue
    world.now = NonceSettings().hold_s
    assert world.has_to_ask()


@given(
    late_s=st.floats(-86_400.0, 86_400.0),
    acts=st.lists(st.sampled_from(["refused", "says", "told", "accepted", "wait"]), max_size=20),
)
def test_whatever_happens_nonces_rise_and_after_the_venues_word_they_are_above_its_time(
    late_s: float, acts: list[str]
) -> None:
    world = World(late_s=late_s)
    last = world.draw()
    for act in acts:
        told = False
        match act:
            case "refused":
                world.refused()
            case "says":
                world.says_its_time()
            case "told":
                world.says_its_time()
                world.guide.told(now=world.now)
                told = True
            case "accepted":
                world.guide.accepted()
            case _:
                world.now += 100.0
        nonce = world.draw()
        assert nonce > last
        assert not told or nonce >= world.venue_s * S
        last = nonce
