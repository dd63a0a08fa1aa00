"""Trading counters: the venue's table and example, the share that is used, corrections, and ages of orders."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.control.trading_rate import (
    ADD_COST,
    TRADING_TIERS,
    TradingRate,
    amend_cost,
    batch_add_cost,
    cancel_cost,
    edit_cost,
)

BTC, ETH = "BTC/USD", "ETH/USD"


def test_the_example_of_the_documents_adds_up_to_eight() -> None:
    """Add, amend at 7 s, cancel 36 s later: 1 + (1 + 2) + 4 (docs "Spot Trading Limits")."""
    rate = TradingRate(TRADING_TIERS["pro"])
    charged = ADD_COST
    rate.opened("O1", BTC, now=100.0)
    charged += amend_cost(rate.age_s("O1", now=107.0))
    rate.amended("O1", now=107.0)
    charged += cancel_cost(rate.age_s("O1", now=143.0))
    assert charged == 8.0


AGES = (0.0, 5.0, 10.0, 15.0, 45.0, 90.0, 300.0)


def test_costs_fall_with_age_as_in_the_table() -> None:
    assert [amend_cost(age) for age in AGES] == [4, 3, 2, 1, 1, 1, 1]
    assert [edit_cost(age) for age in AGES] == [7, 6, 5, 3, 2, 1, 1]
    assert [cancel_cost(age) for age in AGES] == [8, 6, 5, 4, 2, 1, 0]
    assert [cancel_cost(age - 0.001) for age in AGES[1:]] == [8, 6, 5, 4, 2, 1]
    assert [batch_add_cost(n) for n in (2, 15)] == [1.0, 7.5]


def test_a_batch_of_cancels_costs_what_its_orders_cost_alone() -> None:
    rate = TradingRate(TRADING_TIERS["pro"])
    for order, at in (("old", 0.0), ("young", 98.0)):
        rate.opened(order, BTC, now=at)
    assert rate.batch_cancel_cost(["old", "young", "never heard of"], now=100.0) == 1 + 8 + 8


@pytest.mark.parametrize(("tier", "adds"), [("starter", 48), ("intermediate", 100), ("pro", 144)])
def test_eighty_percent_of_the_threshold_are_used_for_each_pair(tier: str, adds: int) -> None:
    rate = TradingRate(TRADING_TIERS[tier])
    sent = 0
    while rate.wait_s(BTC, ADD_COST, now=0.0) == 0.0:
        rate.charge(BTC, ADD_COST, now=0.0)
        sent += 1
    assert sent == adds
    assert rate.wait_s(BTC, ADD_COST, now=0.0) == pytest.approx(1 / TRADING_TIERS[tier].decay_per_s)
    assert rate.wait_s(ETH, ADD_COST, now=0.0) == 0.0


def test_cancels_are_charged_beyond_the_threshold_and_then_hold_what_adds_risk() -> None:
    rate = TradingRate(TRADING_TIERS["starter"])
    rate.charge(BTC, 70.0, now=0.0)
    assert rate.level(BTC, now=0.0) == 70.0
    assert rate.wait_s(BTC, ADD_COST, now=0.0) == 23.0


def test_the_venue_corrects_the_model_both_ways() -> None:
    rate = TradingRate(TRADING_TIERS["starter"])
    rate.charge(BTC, 10.0, now=0.0)
    rate.corrected(BTC, 3.25, now=1.0)
    assert rate.level(BTC, now=2.25) == 2.0
    rate.corrected(BTC, 50.0, now=3.0)
    assert rate.wait_s(BTC, ADD_COST, now=3.0) == 3.0
    rate.corrected(BTC, -1.0, now=4.0)
    assert rate.level(BTC, now=4.0) == 0.0


def test_a_refusal_fills_the_counter_of_that_pair_alone() -> None:
    rate = TradingRate(TRADING_TIERS["starter"])
    rate.refused(BTC, now=0.0)
    assert rate.level(BTC, now=0.0) == 60.0
    assert rate.level(ETH, now=0.0) == 0.0


def test_open_orders_are_counted_for_each_pair() -> None:
    rate = TradingRate(TRADING_TIERS["starter"])
    for n in range(60):
        rate.opened(f"O{n}", BTC, now=0.0)
    rate.opened("O0", BTC, now=1.0)
    assert rate.open_orders(BTC) == 60
    assert not rate.has_room(BTC)
    assert rate.has_room(ETH, 60)
    assert not rate.has_room(ETH, 61)
    rate.closed("O0")
    rate.closed("O0")
    assert rate.has_room(BTC)


def test_orders_kept_are_bounded_and_the_oldest_go() -> None:
    rate = TradingRate(TRADING_TIERS["pro"])
    for n in range(10_050):
        rate.opened(f"O{n}", BTC, now=0.0)
    assert rate.open_orders(BTC) == 10_000
    assert rate.age_s("O0", now=100.0) == 0.0
    assert rate.age_s("O10049", now=100.0) == 100.0


EVENTS = st.lists(
    st.tuples(st.integers(0, 20_000), st.sampled_from(["add", "amend", "edit", "cancel", "batch"]), st.integers(0, 3)),
    max_size=60,
)


@given(events=EVENTS, tier=st.sampled_from(sorted(TRADING_TIERS)))
def test_the_venue_never_counts_more_than_the_model_and_adds_stay_below_the_threshold(
    events: list[tuple[int, str, int]], tier: str
) -> None:
    """The venue in this test counts in fractions of milliseconds' decay, by the table written down once more."""
    rate, limits = TradingRate(TRADING_TIERS[tier]), TRADING_TIERS[tier]
    decay = Fraction(str(limits.decay_per_s))
    level, at_ms, now_ms = Fraction(0), 0, 0
    born: dict[str, int] = {}

    def by_age(order: str, table: dict[int, int]) -> int:
        age_ms = now_ms - born[order]
        return next((cost for below, cost in table.items() if age_ms < below * 1000), 0)

    for pause_ms, what, number in events:
        now_ms += pause_ms
        now, order = now_ms / 1000, f"O{number}"
        if what == "add" or order not in born:
            cost, expected = ADD_COST, Fraction(1)
        elif what == "amend":
            cost, expected = amend_cost(rate.age_s(order, now=now)), Fraction(1 + by_age(order, {5: 3, 10: 2, 15: 1}))
        elif what == "edit":
            cost = edit_cost(rate.age_s(order, now=now))
            expected = Fraction(1 + by_age(order, {5: 6, 10: 5, 15: 4, 45: 2, 90: 1}))
        else:
            cost = rate.batch_cancel_cost([order], now=now)
            expected = Fraction(by_age(order, {5: 8, 10: 6, 15: 5, 45: 4, 90: 2, 300: 1}))
        assert cost == expected
        is_cancel = what in ("cancel", "batch") and order in born
        if not is_cancel and rate.wait_s(BTC, cost, now=now) > 0.0:
            continue
        rate.charge(BTC, cost, now=now)
        level = max(Fraction(0), level - decay * Fraction(now_ms - at_ms, 1000)) + expected
        at_ms = now_ms
        assert abs(float(level) - rate.level(BTC, now=now)) < 1e-6
        assert is_cancel or level <= limits.threshold * 0.8 + 1e-6
        if is_cancel:
            rate.closed(order)
            del born[order]
        elif what == "amend" and order in born:
            rate.amended(order, now=now)
            born[order] = now_ms
        else:
            rate.opened(order, BTC, now=now)
            born[order] = now_ms
