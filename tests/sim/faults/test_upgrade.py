"""Rows 21 and 22 of the fault matrix: what the venue's edge may answer to the upgrade, and how long we stay away."""

from __future__ import annotations

import pytest
import trio
from tests.sim.faults.harness import HEALED, Scene, gaps_between, run_in_world

from kraken_engine import BookUpdate, Gap, Live, Stale, StartupError
from kraken_engine.sim.deterministic import run
from kraken_engine.sim.world import VENUE_NAME, WorldSettings, open_world


@pytest.mark.parametrize("status", [403, 429])
def test_fault_21_a_ban_or_a_limit_keeps_the_line_away_for_30_s(status: int) -> None:
    """429/403: floor 30 s backoff, the status in the reason; no attempt before."""

    async def scenario(scene: Scene) -> None:
        start = scene.now
        scene.fault("refuse_upgrade", status=status, times=2)
        scene.world.network.reset(scene.world.venue_address)
        await trio.sleep(70)
        refused = [reason for reason in scene.line_ends(start) if f"expected HTTP 101, got {status}" in reason]
        dials = scene.recorder.dials(start)
        assert len(refused) == 2
        assert len(dials) == 3
        assert all(30.0 <= pause <= 35.1 for pause in gaps_between(dials))
        for symbol in scene.symbols:
            (at, _), (live_at, _) = scene.first(Stale, symbol, start), scene.first(Live, symbol, start)
            assert at - start < 0.05
            assert live_at - dials[-1] < 0.5
            assert scene.story(symbol, start)[:4] == HEALED

    run_in_world(scenario)


def test_fault_21_an_overloaded_venue_is_tried_again_soon_unless_it_says_when() -> None:
    """503: ordinary backoff; with ``Retry-After`` not before that."""

    async def scenario(scene: Scene) -> None:
        start = scene.now
        scene.fault("refuse_upgrade", status=503)
        scene.world.network.reset(scene.world.venue_address)
        await scene.until(lambda: scene.told(BookUpdate, start), 3.0)
        await trio.sleep(40)
        start = scene.now
        scene.fault("refuse_upgrade", status=503, retry_after=12)
        scene.world.network.reset(scene.world.venue_address)
        await trio.sleep(20)
        (pause,) = gaps_between(scene.recorder.dials(start))
        assert 12.0 <= pause <= 13.1

    run_in_world(scenario)


def test_fault_21_refused_attempts_count_in_the_budget_of_the_process() -> None:
    """Counts to I-24: a venue that refuses for 20 minutes sees at most 100 attempts in any 10 minutes."""

    async def scenario(scene: Scene) -> None:
        start = scene.now
        scene.fault("refuse_upgrade", status=503, times=100_000)
        scene.world.network.reset(scene.world.venue_address)
        await trio.sleep(1200)
        dials = scene.recorder.dials(start)
        assert len(dials) > 100
        assert all(late - early >= 599.99 for early, late in zip(dials, dials[100:], strict=False))
        scene.world.exchange.faults.end_all(now=scene.now)
        await scene.until(scene.live, 600.0)
        assert scene.first(Gap, scene.symbols[0], start)[1].end_s - start > 1200

    run_in_world(scenario)


@pytest.mark.parametrize("status", [200, 301, 302, 307, 308])
def test_fault_22_a_redirect_is_a_refusal_and_not_followed(status: int) -> None:
    """Not followed: the address in ``Location`` is not even looked up."""

    async def scenario(scene: Scene) -> None:
        start = scene.now
        scene.world.network.resolver.names["elsewhere.test"] = ("100.128.0.66",)
        scene.fault("refuse_upgrade", status=status, location="ws://elsewhere.test/v2")
        scene.world.network.reset(scene.world.venue_address)
        await scene.until(lambda: scene.told(BookUpdate, start), 5.0)
        assert any(f"expected HTTP 101, got {status}" in reason for reason in scene.line_ends(start))
        assert {facts[0] for _, kind, facts in scene.recorder.network if kind == "resolve"} == {VENUE_NAME}
        assert scene.recorder.dialled() == [scene.world.venue_address]

    run_in_world(scenario)


def test_fault_21_a_start_that_is_refused_says_with_which_status() -> None:
    """A ban at the start: a typed error with the status, after one attempt."""

    async def main() -> None:
        async with open_world(1, WorldSettings(symbols=1)) as world:
            world.exchange.faults.refuse_upgrade(now=trio.current_time(), status=403, times=100)
            with pytest.raises(StartupError) as caught:
                async with world.open_market():
                    pytest.fail("opened")
            assert any("expected HTTP 101, got 403" in reason for reason in caught.value.reasons)
            assert world.trace.counts()["dial"] == 1
            assert world.network.open_streams("client") == []

    run(1, main, horizon_s=60)
