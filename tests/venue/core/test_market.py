"""The synthetic crowd: reproducible, bounded, and obedient to the state of the venue."""

from __future__ import annotations

import attrs
import pytest

from kraken_engine.runtime import seeded_rng
from kraken_engine.venue.core.instruments import Pair, listed_pairs
from kraken_engine.venue.core.market import MarketFlow, TradingMode
from kraken_engine.venue.core.matching import ASK, BID, Fill

PAIRS = listed_pairs(46)


@attrs.define
class Diary:
    """A sink that writes down what it hears."""

    fills: list[tuple[int, str, Fill]] = attrs.field(factory=list[tuple[int, str, Fill]])
    commits: int = 0

    def traded(self, taker_side: int, order_type: str, fills: list[Fill]) -> None:
        assert fills
        self.fills += [(taker_side, order_type, fill) for fill in fills]

    def commit(self) -> None:
        self.commits += 1


def walked(
    pair: Pair, steps: int, *, seed: int = 1, mode: TradingMode = TradingMode.ONLINE
) -> tuple[MarketFlow, Diary]:
    flow, diary = MarketFlow(pair, seeded_rng(seed), 100), Diary()
    flow.mode = mode
    for _ in range(steps):
        flow.step(diary)
    return flow, diary


def levels(flow: MarketFlow) -> list[tuple[int, int]]:
    return [(key, ladder.levels[key].total) for ladder in flow.book.ladders for key in ladder.keys]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.symbol)
def test_every_pair_keeps_a_full_and_sane_book(pair: Pair) -> None:
    flow, diary = walked(pair, 1500)
    for ladder in flow.book.ladders:
        assert 30 < len(ladder.keys) < 150
        assert 0.9 * pair.open_price < abs(ladder.keys[0]) < 1.1 * pair.open_price
        assert all(level.total > 0 for level in ladder.levels.values())
    assert diary.commits >= 1500
    assert 0.05 < len(diary.fills) / 1500 < 0.4


def test_one_seed_gives_one_market_and_another_seed_another() -> None:
    once, again, other = (walked(PAIRS[0], 500, seed=seed) for seed in (1, 1, 2))
    assert levels(once[0]) == levels(again[0])
    assert once[1] == again[1]
    assert levels(once[0]) != levels(other[0])


def test_takers_lean_towards_the_opening_price_and_so_the_price_stays_near_it() -> None:
    pair = PAIRS[19]
    assert pair.symbol == "SHIB/USD"
    takers = {(above, side): 0 for above in (True, False) for side in (BID, ASK)}
    for seed in (1, 2, 3):
        flow, diary = MarketFlow(pair, seeded_rng(seed), 100), Diary()
        for _ in range(20_000):
            traded = len(diary.fills)
            flow.step(diary)
            away = abs(flow.book.bids.keys[0]) / pair.open_price - 1
            assert abs(away) < 0.15
            if len(diary.fills) > traded and abs(away) > 0.008:
                takers[away > 0, diary.fills[-1][0]] += 1
    assert takers[True, ASK] > 1.15 * takers[True, BID]
    assert takers[False, BID] > 1.15 * takers[False, ASK]


def test_in_maintenance_nothing_moves() -> None:
    flow, diary = walked(PAIRS[0], 300, mode=TradingMode.MAINTENANCE)
    assert levels(flow) == levels(walked(PAIRS[0], 0)[0])
    assert not diary.fills


def test_in_cancel_only_the_book_only_gets_thinner_and_never_empty() -> None:
    before = dict(levels(walked(PAIRS[0], 0)[0]))
    flow, diary = walked(PAIRS[0], 1000, mode=TradingMode.CANCEL_ONLY)
    after = dict(levels(flow))
    assert len(after) < len(before)
    assert all(before[key] >= total for key, total in after.items())
    assert not diary.fills
    assert all(len(ladder.keys) >= 20 for ladder in flow.book.ladders)


def test_in_post_only_orders_arrive_and_nothing_trades() -> None:
    flow, diary = walked(PAIRS[0], 300, mode=TradingMode.POST_ONLY)
    assert sum(total for _, total in levels(flow)) > sum(total for _, total in levels(walked(PAIRS[0], 0)[0]))
    assert not diary.fills


def test_in_limit_only_no_taker_is_a_market_order() -> None:
    _, diary = walked(PAIRS[0], 1000, mode=TradingMode.LIMIT_ONLY)
    assert {order_type for _, order_type, _ in diary.fills} == {"limit"}
    assert {order_type for _, order_type, _ in walked(PAIRS[0], 1000)[1].fills} == {"limit", "market"}
