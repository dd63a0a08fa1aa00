"""Rows 44 and 45 of the fault matrix: subscriptions that are refused or not answered, lines and streams gone mute."""

from __future__ import annotations

import pytest
import trio
from tests.sim.faults.harness import HEALED, Scene, gaps_between, run_in_world

from kraken_engine import BookUpdate, LineDown, Live, Refused, Stale, Ticker

HEALED_S = 1.0


def refusals(scene: Scene, symbol: str, start: float) -> list[tuple[float, Refused]]:
    """Return what the venue's refusals of a book were told as, with their times."""
    told = scene.recorder.all(Refused, start)
    return [(at, event) for at, event in told if (event.channel, event.symbol) == ("book", symbol)]


@pytest.mark.parametrize("error", ["Exceeded msg rate", "Internal error"])
def test_fault_44_a_refused_subscription_is_tried_again_for_that_symbol_while_the_others_proceed(error: str) -> None:
    """Retry per symbol with a budget; others proceed."""

    async def scenario(scene: Scene) -> None:
        symbol, other = scene.symbols
        start = scene.now
        # Ticker, trade and book of the symbol: one refusal each, and two more for whoever comes first.
        scene.fault("refuse_subscriptions", symbol=symbol, error=error, times=5)
        scene.link.reset()
        await scene.until(lambda: "Live" in scene.story(other, start), 2.0)
        assert scene.first(Live, other, start)[0] - start <= 2.0
        assert await scene.until(scene.live, 15.0) >= 0.99
        told = refusals(scene, symbol, start)
        assert [(event.error, event.final) for _, event in told] == [(error, False)] * len(told)
        assert told
        assert scene.story(symbol, start)[-4:] == HEALED
        await trio.sleep(5)
        assert scene.story(other, start)[-4:] == HEALED
        assert scene.story(other, start).count("Stale") == 1

    run_in_world(scenario)


def test_fault_44_a_subscription_refused_again_and_again_is_given_up_in_the_end_and_budgeted_anew_by_a_reconnect() -> (
    None
):
    """Retry with budget: five retries a connection, then final; the next connection starts over."""

    async def scenario(scene: Scene) -> None:
        symbol, other = scene.symbols
        start = scene.now
        scene.fault("refuse_subscriptions", symbol=symbol, error="Internal error", times=1_000)
        scene.link.reset()
        await scene.until(lambda: any(event.final for _, event in refusals(scene, symbol, start)), 60.0)
        told = refusals(scene, symbol, start)
        assert [event.final for _, event in told] == [False] * 5 + [True]
        assert min(gaps_between([at for at, _ in told])) >= 0.999
        await trio.sleep(60)
        assert len(refusals(scene, symbol, start)) == 6, "given up: not asked for again"
        assert scene.market.publisher.freshness.stale(("book", symbol)) is not None
        assert scene.story(other, start)[-4:] == HEALED
        scene.world.exchange.faults.end_all(now=scene.now)
        scene.link.reset()
        await scene.until(scene.live, 2.0)

    run_in_world(scenario)


def test_fault_44_a_subscription_that_is_never_answered_is_asked_for_again_after_five_seconds() -> None:
    """Never answered: told after 5 s, retried, others proceed."""

    async def scenario(scene: Scene) -> None:
        symbol, other = scene.symbols
        start = scene.now
        scene.fault("ignore_subscriptions", symbol=symbol, times=3)
        scene.link.reset()
        await scene.until(lambda: "Live" in scene.story(other, start), 2.0)
        await scene.until(scene.live, 6.0)
        ((at, told),) = refusals(scene, symbol, start)
        assert told.error == "no answer within 5 s"
        assert not told.final
        assert at - start == pytest.approx(5.0, abs=0.1)
        assert scene.first(Live, symbol, start)[0] - at < 0.1
        assert scene.story(symbol, start)[-4:] == HEALED

    run_in_world(scenario)


def test_fault_45_a_line_with_heartbeats_and_no_data_is_quiet_and_what_was_lost_is_found_by_the_next_update() -> None:
    """One line and no second source: quiet, never stale by silence alone; the next update finds the loss."""

    async def scenario(scene: Scene) -> None:
        start = scene.now
        scene.fault("silence", session=scene.session, kind="data", seconds=20.0)
        await trio.sleep(19.99)
        for symbol in scene.symbols:
            assert scene.story(symbol, start) in ([], ["BookUpdate"])
        assert scene.live()
        assert scene.recorder.all(LineDown, start) == []
        loud = start + 20.0
        await scene.until(lambda: all(HEALED[2] in scene.story(symbol, loud) for symbol in scene.symbols), 5.0)
        for symbol in scene.symbols:
            stale_at, stale = scene.first(Stale, symbol, start)
            assert "checksum" in stale.why
            assert scene.first(Live, symbol, loud)[0] - stale_at <= HEALED_S
        assert scene.recorder.all(LineDown, start) == []

    run_in_world(scenario)


def test_fault_45_a_line_that_is_mute_altogether_is_stale_at_2_5_s_and_replaced_at_4_s() -> None:
    """Heartbeats gone as well: stale at 2.5 s, replaced at 4.0 s, whatever the acks said before."""

    async def scenario(scene: Scene) -> None:
        symbol = scene.symbols[0]
        start = scene.now
        last = max(at for at, event in scene.recorder.events if isinstance(event, BookUpdate))
        scene.fault("silence", session=scene.session, kind="all", seconds=60.0)
        await scene.until(lambda: scene.told(Stale, start), 4.0)
        assert 2.4 <= scene.first(Stale, symbol, start)[0] - last <= 2.75
        at, down = await scene.next_line_down(start, within_s=3.0)
        assert 3.9 <= at - last <= 4.25
        assert "no frame for" in down.reason
        assert await scene.until(scene.live, 2.0) <= 2.0
        assert scene.story(symbol, start)[-4:] == HEALED

    run_in_world(scenario)


def test_fault_45_one_symbol_gone_mute_on_a_line_that_speaks_is_quiet_and_touches_nobody() -> None:
    """Silence of a symbol alone is quiet (I-6), and its first update afterwards finds what was lost."""

    async def scenario(scene: Scene) -> None:
        symbol, other = scene.symbols
        start = scene.now
        scene.fault("silence", symbol=symbol, seconds=20.0)
        await trio.sleep(19.99)
        assert scene.story(symbol, start) in ([], ["BookUpdate"])
        assert scene.market.feed.latest(Ticker(symbol)).stale is None
        await scene.until(lambda: "Gap" in scene.story(symbol, start), 5.0)
        await trio.sleep(5)
        assert scene.story(symbol, start)[-4:] == HEALED
        scene.assert_untouched(other, start)

    run_in_world(scenario)
