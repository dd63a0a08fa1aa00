"""Judges call wrong what is wrong, and nothing else; whole worlds and planted bugs are in ``test_mutants``."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs
import pytest
import trio
from tests.sim.mutants_of_lines import mute_not_noticed

from kraken_engine.errors import Stale
from kraken_engine.model import Integrity, Side, Source
from kraken_engine.normalise.events import Event, Lagged, LineDown, Live, PriceLevel, Refused, Trade, TradeGap
from kraken_engine.sim.deterministic import run
from kraken_engine.sim.judges.evidence import checksum, microseconds, rows
from kraken_engine.sim.judges.lines import LineJudge
from kraken_engine.sim.judges.streams import Condition, StreamJudge
from kraken_engine.sim.judges.timing import MUTE
from kraken_engine.sim.judges.trades import Tape, TradeJudge
from kraken_engine.sim.judges.verdict import Verdict
from kraken_engine.sim.plan import Fault, Plan
from kraken_engine.sim.runner import Options, simulate
from kraken_engine.sim.world import WorldSettings, open_world
from kraken_engine.venue.core.exchange import Exchange

SYMBOL = "BTC/USD"
TRADES = ("trade", SYMBOL)


def verdict_on(*events: Event, calm: bool = False, joins: bool = False) -> str | None:
    """Return the invariant that a stream of events breaks first."""
    verdict = Verdict()
    judge = StreamJudge(reader="test", verdict=verdict, calm=calm, joins=joins)
    for event in events:
        judge.see(TRADES, event)
    judge.check()
    return None if verdict.violation is None else verdict.violation.invariant


def trade(trade_id: int = 1, **changes: Any) -> Trade:
    made = Trade(
        symbol=SYMBOL,
        source=Source.WEBSOCKET_V2,
        received_s=0.0,
        venue_time="2026-09-21T14:13:20.000000Z",
        integrity=Integrity.VERIFIED,
        side=Side.BUY,
        price=Decimal(1),
        qty=Decimal(1),
        order_type="limit",
        trade_id=trade_id,
    )
    return attrs.evolve(made, **changes)


def refused(*, final: bool) -> Refused:
    return Refused(at_s=0.0, channel="trade", symbol=SYMBOL, error="no answer", final=final)


LIVE = Live(at_s=0.0, channel="trade", symbol=SYMBOL)
STALE = Stale("trade", SYMBOL, "lost")
DOWN = LineDown(at_s=0.0, line="A", reason="reset", failures=1, retry_in_s=0.0)


def test_data_needs_live_before_it() -> None:
    assert verdict_on(LIVE, trade(), STALE, LIVE, trade()) is None
    assert verdict_on(trade()) == "I-2"
    assert verdict_on(LIVE, trade(), STALE, trade()) == "I-2"


def test_a_value_does_not_overtake_a_notice() -> None:
    early, late = trade(received_s=1.0), trade(2, received_s=3.0)
    stale = Stale("trade", SYMBOL, "lost", since_s=2.0)
    assert verdict_on(LIVE, early, stale, attrs.evolve(LIVE, at_s=3.0), late) is None
    assert verdict_on(LIVE, early, late, stale) == "I-2"


def test_a_stream_is_given_up_only_when_its_readers_were_told_so_and_until_it_lives_again() -> None:
    judge = StreamJudge(reader="test", verdict=Verdict())
    seen: list[bool] = []
    for event in (STALE, refused(final=False), refused(final=True), attrs.evolve(LIVE)):
        judge.see(TRADES, event)
        seen.append(judge.given_up(TRADES))
    assert seen == [False, False, True, False]


def test_who_joins_a_live_stream_begins_with_its_value() -> None:
    assert verdict_on(trade(), joins=True) is None
    assert verdict_on(STALE, trade(), joins=True) == "I-2"


def test_while_all_is_well_nothing_is_called_wrong() -> None:
    assert verdict_on(LIVE, trade(), calm=True) is None
    assert verdict_on(STALE, calm=True) == "I-6"
    assert verdict_on(DOWN, calm=True) == "I-6"


def test_live_without_data_is_a_violation_but_for_trades() -> None:
    async def main() -> None:
        for key, expected in ((TRADES, "None"), (("ticker", SYMBOL), "I-7: ")):
            verdict = Verdict()
            judge = StreamJudge(reader="test", verdict=verdict)
            judge.see(key, LIVE)
            assert judge.condition(key) is Condition.LIVE
            judge.check()
            assert str(verdict.violation).startswith(expected)

    run(1, main, horizon_s=1)


def judged(*events: Event | int, **options: Any) -> str | None:
    """Return what is wrong with trades of a venue; an integer stands for the trade of that place on its tape."""
    exchange = Exchange(1, 1, 20.0, 0.0, 1_790_000_000_000_000_000, levels=60)
    printed = exchange.trades(SYMBOL, 50)
    verdict = Verdict()
    judge = TradeJudge(reader="test", tape=Tape(exchange), verdict=verdict, **options)
    first = int(str(printed[0]["trade_id"]))
    for event in events:
        if isinstance(event, TradeGap):
            judge.see(attrs.evolve(event, first=first + event.first, last=first + event.last))
        elif isinstance(event, int):
            one = printed[event]
            judge.see(
                trade(
                    int(str(one["trade_id"])),
                    price=Decimal(str(one["price"])),
                    qty=Decimal(str(one["qty"])),
                    side=Side(one["side"]),
                    venue_time=str(one["timestamp"]),
                )
            )
        else:
            judge.see(event)
    return None if verdict.violation is None else verdict.violation.what


def test_trades_come_once_in_order_and_holes_are_announced() -> None:
    gap = TradeGap(at_s=0.0, symbol=SYMBOL, first=2, last=3)
    assert judged(0, 1, 2) is None
    assert judged(0, 1, gap, 4) is None
    assert "expected a trade after" in str(judged(0, 1, 1))
    assert "or its gap" in str(judged(0, 1, 4))
    assert "or its gap" in str(judged(0, gap, 4))


def test_a_reader_that_was_told_it_lost_something_may_lack_that_much() -> None:
    assert judged(0, Lagged(at_s=0.0, lost=2), 3) is None
    assert "or its gap" in str(judged(0, Lagged(at_s=0.0, lost=1), 3))


def test_a_trade_has_the_contents_the_venue_printed() -> None:
    assert "expected None" in str(judged(trade(1)))


def test_attempts_keep_their_distance_but_for_one_a_minute() -> None:
    async def main() -> list[str | None]:
        found: list[str | None] = []
        async with open_world(1, WorldSettings(symbols=1)) as world:
            for pauses in ([1.0] * 5, [0.0, 1.0, 1.0], [0.0, 1.0, 0.5], [0.0, 61.0, 0.0], [5.0] * 130, [2.0] * 120):
                verdict = Verdict()
                judge = LineJudge(world=world, verdict=verdict)
                for pause_s in pauses:
                    judge.trace("resolve", ("venue",))
                    await trio.sleep(pause_s)
                judge.trace("resolve", ("venue",))
                found.append(None if verdict.violation is None else verdict.violation.what.split(",")[0])
        return found

    one, window = "expected one immediate attempt a minute at most", "expected at most 100 attempts in 599.9 s"
    assert run(1, main, horizon_s=5000) == [None, None, one, None, window, window]


def test_the_first_verdict_counts_and_ends_the_run_at_once() -> None:
    ended: list[str] = []
    verdict = Verdict()
    verdict.on_violation(lambda: ended.append("once"))
    verdict.fail("I-1", "first")
    verdict.fail("I-2", "second")
    assert ended == ["once"]
    assert str(verdict.violation) == "I-1: first"


def test_the_judges_checksum_is_that_of_the_venue() -> None:
    exchange = Exchange(1, 1, 20.0, 0.0, 0, levels=60)
    state: Any = exchange.book_state(SYMBOL, 25)
    assert checksum(state["bids"], state["asks"]) == state["checksum"]
    state["bids"][3][1] += "1"
    assert checksum(state["bids"], state["asks"]) != state["checksum"]


def test_rows_show_the_digits_and_times_are_whole_microseconds() -> None:
    assert rows([PriceLevel(Decimal("1.50"), Decimal("1E-8"))]) == [["1.50", "0.00000001"]]
    assert microseconds("2026-07-07T23:00:03.947173Z") % 1_000_000 == 947_173


@pytest.mark.parametrize("calm", [True, False])
def test_a_line_may_only_end_when_something_is_wrong(calm: bool) -> None:
    assert verdict_on(DOWN, calm=calm) == ("I-6" if calm else None)


def test_a_mute_subscription_is_to_be_asked_for_anew_once_the_venue_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(
        seed="23",
        horizon_s=25.0,
        faults=(
            Fault(at_s=2.0, kind="status", params={"mode": "maintenance", "for_s": 9.0}),
            Fault(at_s=5.0, kind="silence_subscription", params={"channel": "book", "seconds": 60.0}, target=517),
        ),
    )
    report = simulate(plan.seed, plan, Options())
    assert report.violation is None
    assert len(report.figures[f"{MUTE}: book"]) == 1
    mute_not_noticed(monkeypatch)
    report = simulate(plan.seed, plan, Options())
    assert report.violation is not None
    assert report.violation.invariant == "T-1"
