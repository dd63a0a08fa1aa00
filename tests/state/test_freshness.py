"""Readers are told the truth about a stream: stale once, a gap when something is missing, live only with data."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.errors import Stale
from kraken_engine.model import Integrity, Side, Source
from kraken_engine.normalise.events import Event, Gap, Live, MarketEvent, Trade
from kraken_engine.state.freshness import Freshness

KEY = ("trade", "A/B")


def value(at: float) -> Trade:
    return Trade(
        symbol="A/B", source=Source.WEBSOCKET_V2, received_s=at, venue_time=None, integrity=Integrity.VERIFIED,
        side=Side.BUY, price=Decimal(1), qty=Decimal(1), order_type="limit", trade_id=1,
    )  # fmt: skip


def kinds(events: object) -> list[type]:
    return [type(event) for event in events]  # type: ignore[attr-defined] # any iterable of events


def test_the_first_value_is_announced_as_live() -> None:
    freshness = Freshness()
    assert kinds(freshness.receive(KEY, value(1))) == [Live, Trade]
    assert kinds(freshness.receive(KEY, value(2))) == [Trade]


def test_a_quiet_source_makes_a_stream_stale_once_and_data_alone_makes_it_live_without_a_gap() -> None:
    freshness = Freshness()
    freshness.receive(KEY, value(1))
    assert kinds(freshness.suspect(KEY, "quiet", now=3)) == [Stale]
    assert kinds(freshness.suspect(KEY, "quiet", now=4)) == []
    assert kinds(freshness.receive(KEY, value(5))) == [Live, Trade]


def test_a_loss_is_closed_by_a_gap_that_says_from_when_to_when() -> None:
    freshness = Freshness()
    freshness.receive(KEY, value(1))
    freshness.suspect(KEY, "quiet", now=3)
    assert kinds(freshness.lose(KEY, "line down", now=4)) == []
    gap, live, _ = freshness.receive(KEY, value(6))
    assert isinstance(gap, Gap)
    assert (gap.start_s, gap.end_s, gap.reason) == (3, 6, "quiet")
    assert isinstance(live, Live)


def test_a_stream_that_never_had_a_value_cannot_be_lost() -> None:
    freshness = Freshness()
    assert kinds(freshness.lose(KEY, "line down", now=1)) == []
    assert kinds(freshness.suspect(KEY, "quiet", now=1)) == []


def test_who_knows_how_a_gap_was_healed_is_not_contradicted() -> None:
    freshness = Freshness()
    freshness.receive(KEY, value(1))
    freshness.receive(KEY, Stale("trade", "A/B", "why", since_s=2.0))
    gap = Gap(at_s=3, channel="trade", symbol="A/B", start_s=2, end_s=3, reason="why", healed_by="rest")
    assert kinds(freshness.receive(KEY, gap)) == [Gap]
    assert kinds(freshness.receive(KEY, Live(at_s=3, channel="trade", symbol="A/B"))) == [Live]
    assert kinds(freshness.receive(KEY, Live(at_s=4, channel="trade", symbol="A/B"))) == []


def test_a_held_stream_is_stale_once_and_live_when_released_without_a_gap() -> None:
    freshness = Freshness()
    freshness.receive(KEY, value(1))
    (stale,) = freshness.hold(KEY, "late", now=3)
    assert isinstance(stale, Stale)
    assert stale.why == "late"
    assert kinds(freshness.receive(KEY, value(4))) == []
    assert freshness.stale(KEY) is stale
    assert kinds(freshness.release(KEY, now=5)) == [Live]
    assert kinds(freshness.receive(KEY, value(6))) == [Trade]


def test_a_stream_that_begins_while_its_line_is_late_begins_stale() -> None:
    freshness = Freshness()
    assert kinds(freshness.hold(KEY, "late", now=1)) == []
    assert kinds(freshness.receive(KEY, value(2))) == [Stale]
    assert kinds(freshness.receive(KEY, value(3))) == []
    assert kinds(freshness.release(KEY, now=4)) == [Live]


def test_releasing_a_stream_without_data_says_nothing() -> None:
    freshness = Freshness()
    freshness.hold(KEY, "late", now=1)
    assert kinds(freshness.release(KEY, now=2)) == []
    assert kinds(freshness.release(KEY, now=2)) == []
    assert kinds(freshness.receive(KEY, value(3))) == [Live, Trade]


def test_a_stream_that_is_quiet_or_lost_as_well_is_not_made_live_by_being_released() -> None:
    freshness = Freshness()
    freshness.receive(KEY, value(1))
    freshness.suspect(KEY, "quiet", now=2)
    freshness.hold(KEY, "late", now=3)
    assert kinds(freshness.release(KEY, now=4)) == []
    assert kinds(freshness.receive(KEY, value(5))) == [Live, Trade]
    freshness.hold(KEY, "late", now=6)
    assert kinds(freshness.receive(KEY, Stale("trade", "A/B", "checksum", since_s=7.0))) == []
    assert kinds(freshness.release(KEY, now=8)) == []
    assert kinds(freshness.receive(KEY, value(9))) == [Gap, Live, Trade]


def test_a_loss_that_heals_while_the_stream_is_held_is_told_as_one_gap() -> None:
    freshness = Freshness()
    freshness.receive(KEY, value(1))
    freshness.hold(KEY, "late", now=2)
    freshness.receive(KEY, Stale("trade", "A/B", "checksum", since_s=3.0))
    gap = Gap(at_s=4, channel="trade", symbol="A/B", start_s=3, end_s=4, reason="checksum", healed_by="snapshot")
    assert freshness.receive(KEY, gap) == (gap,)
    assert kinds(freshness.receive(KEY, Live(at_s=4, channel="trade", symbol="A/B"))) == []
    assert kinds(freshness.receive(KEY, value(4))) == []
    assert kinds(freshness.release(KEY, now=5)) == [Live]
    freshness.hold(KEY, "late", now=6)
    freshness.lose(KEY, "line down", now=7)
    assert kinds(freshness.receive(KEY, value(8))) == [Gap]
    assert kinds(freshness.release(KEY, now=9)) == [Live]


STEPS = st.lists(
    st.sampled_from(["value", "suspect", "lose", "stale", "live", "forget", "hold", "release"]), max_size=40
)


@given(STEPS)
def test_stale_and_live_alternate_and_no_value_comes_while_stale(steps: list[str]) -> None:
    freshness = Freshness()
    told: list[Event] = []
    for at, step in enumerate(steps):
        match step:
            case "value":
                told.extend(freshness.receive(KEY, value(at)))
            case "suspect":
                told.extend(freshness.suspect(KEY, "quiet", now=at))
            case "lose":
                told.extend(freshness.lose(KEY, "lost", now=at))
            case "stale":
                told.extend(freshness.receive(KEY, Stale("trade", "A/B", "why", since_s=float(at))))
            case "live":
                told.extend(freshness.receive(KEY, Live(at_s=at, channel="trade", symbol="A/B")))
            case "hold":
                told.extend(freshness.hold(KEY, "late", now=at))
            case "release":
                told.extend(freshness.release(KEY, now=at))
            case _:
                freshness.forget(KEY)
                told.clear()
        trusted: bool | None = None
        for event in told:
            if isinstance(event, Stale):
                assert trusted is not False, "told stale twice"
                trusted = False
            elif isinstance(event, Live):
                assert trusted is not True, "told live twice"
                trusted = True
            elif isinstance(event, MarketEvent):
                assert trusted, "a value while not live"
        assert not (freshness.is_held(KEY) and freshness.is_live(KEY)), "live though late"
        assert freshness.is_live(KEY) == bool(trusted)
        assert (freshness.stale(KEY) is not None) == (trusted is False)
