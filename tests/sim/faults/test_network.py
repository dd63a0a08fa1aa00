"""Rows 1 to 17 of the fault matrix: what the network does to the one line of a market, and what its readers see.

Rows that speak of other members of a pool, of REST data or of orders are shown as far as one line of market data goes.
"""

from __future__ import annotations

import math

import attrs
import pytest
import trio
from tests.sim.faults.harness import HEALED, SETTINGS, Scene, age_s, gaps_between, run_in_world

from kraken_engine import (
    Book,
    BookUpdate,
    Candles,
    Config,
    Gap,
    LineDown,
    LineUp,
    Live,
    MarketEvent,
    Stale,
    StartupError,
    Ticker,
    Trade,
    TradeGap,
    Trades,
)
from kraken_engine.sim.deterministic import run
from kraken_engine.sim.network import Dialing, ResolverFault
from kraken_engine.sim.world import VENUE_NAME, WorldSettings, open_world

FROZEN = ["Stale", "Live", "BookUpdate"]
"""What it is told when the line was only silent: TCP lost nothing, so there is no gap."""


def test_fault_01_a_refused_connection_is_tried_again_with_growing_jittered_pauses() -> None:
    """Reconnect, jitter: stale at once, attempts at least 1 s apart but for the first, back within the cap."""

    async def scenario(scene: Scene) -> None:
        start = scene.now
        scene.world.network.take_down(scene.world.venue_address)
        assert await scene.until(scene.stale, 0.1) < 0.05
        await trio.sleep(30)
        dials = scene.recorder.dials(start)
        pauses = list(gaps_between(dials))
        assert dials[0] - start < 0.05, "one attempt at once after a healthy time"
        assert 6 <= len(dials) <= 31
        assert min(pauses) >= 1.0
        assert max(pauses) <= 6.1
        assert len({round(pause, 3) for pause in pauses}) >= 3, "jittered"
        assert any("dial failed" in reason for reason in scene.line_ends(start))
        scene.world.network.heal()
        assert await scene.until(scene.live, 7.0) <= 6.5
        assert scene.story(scene.symbols[0], start)[:4] == HEALED

    run_in_world(scenario)


def test_fault_02_an_address_that_swallows_syns_costs_five_seconds_an_attempt() -> None:
    """Connect timeout 5 s, and then the next attempt."""

    async def scenario(scene: Scene) -> None:
        start = scene.now
        scene.world.network.set_dialing(scene.world.venue_address, Dialing.HANG)
        scene.world.network.reset(scene.world.venue_address)
        await trio.sleep(20)
        hung = [at for at, down in scene.recorder.all(LineDown, start) if "no answer within 5.0 s" in down.reason]
        dials = scene.recorder.dials(start)
        assert len(hung) >= 2
        assert [at - dial for at, dial in zip(hung, dials, strict=False)] == pytest.approx([5.0] * len(hung), abs=0.01)
        scene.world.network.heal()
        await scene.until(scene.live, 11.0)
        assert scene.story(scene.symbols[0], start)[:4] == HEALED

    run_in_world(scenario)


def test_fault_02_another_address_of_the_name_gets_its_chance_within_250_ms() -> None:
    """Connect timeout 5 s, other address: the dead one has a head start, not a monopoly."""

    async def scenario(scene: Scene) -> None:
        names = scene.world.network.resolver.names
        port = scene.world.venue_address.rpartition(":")[2]
        names[VENUE_NAME] = ("100.128.0.99", *names[VENUE_NAME])
        scene.world.network.set_dialing(f"100.128.0.99:{port}", Dialing.HANG)
        start = scene.now
        scene.world.network.reset(scene.world.venue_address)
        await scene.until(lambda: scene.told(Stale, start), 0.1)
        assert await scene.until(scene.live, 2.0) <= 1.0
        dials = scene.recorder.dials(start)
        assert list(gaps_between(dials)) == pytest.approx([0.25], abs=0.001)
        assert scene.line_ends(start)[1:] == []

    run_in_world(scenario)


@pytest.mark.parametrize("fault", [ResolverFault.FAIL, ResolverFault.EMPTY])
def test_fault_03_a_failing_resolver_is_survived_once_by_the_last_answer(fault: ResolverFault) -> None:
    """Cached answer once, then backoff; no busy loop."""

    async def scenario(scene: Scene) -> None:
        start = scene.now
        scene.world.network.resolver.fault = fault
        scene.world.network.reset(scene.world.venue_address)
        await scene.until(lambda: scene.told(Stale, start), 0.1)
        assert await scene.until(lambda: scene.told(Live, start), 2.0) <= 1.0, "the cached answer"
        again = scene.now
        scene.world.network.reset(scene.world.venue_address)
        await trio.sleep(20)
        assert scene.recorder.dials(again) == [], "it had its chance"
        lookups = [at for at, kind, _ in scene.recorder.network if kind == "resolve" and at >= again]
        assert 3 <= len(lookups) <= 21
        assert all("resolve failed" in reason for reason in scene.line_ends(again)[1:])
        scene.world.network.heal()
        await scene.until(scene.live, 7.0)
        assert scene.story(scene.symbols[0], start)[:4] == HEALED

    run_in_world(scenario)


def test_fault_03_a_resolver_that_never_answers_costs_five_seconds_an_attempt() -> None:
    """Slow DNS: 5 s deadline, the cached answer once, then backoff."""

    async def scenario(scene: Scene) -> None:
        scene.world.network.resolver.delay_s = math.inf
        start = scene.now
        scene.world.network.reset(scene.world.venue_address)
        await scene.until(lambda: scene.told(Stale, start), 0.1)
        assert await scene.until(scene.live, 7.0) == pytest.approx(5.0, abs=1.0)
        scene.world.network.reset(scene.world.venue_address)
        await scene.until(lambda: any("no answer for ws.venue.test within 5.0 s" in w for w in scene.line_ends()), 11.0)
        assert len(scene.recorder.dials(start)) == 1
        scene.world.network.heal()
        await scene.until(scene.live, 11.0)

    run_in_world(scenario)


def test_fault_04_a_name_that_leads_into_the_own_network_is_refused() -> None:
    """Refuse unless allowed in the configuration: no connection to a loopback or private address is even tried."""

    async def scenario(scene: Scene) -> None:
        start = scene.now
        scene.world.network.resolver.fault = ResolverFault.PRIVATE
        scene.world.network.reset(scene.world.venue_address)
        await trio.sleep(15)
        assert scene.recorder.dials(start) == []
        refused = [reason for reason in scene.line_ends(start) if "addresses that are not public: 127.0.0.1" in reason]
        assert 2 <= len(refused) <= 16
        scene.world.network.heal()
        await scene.until(scene.live, 7.0)
        assert scene.story(scene.symbols[0], start)[:4] == HEALED

    run_in_world(scenario)


def test_fault_04_a_private_answer_is_taken_when_the_configuration_allows_it() -> None:
    async def scenario(scene: Scene) -> None:
        start = scene.now
        scene.world.network.resolver.fault = ResolverFault.PRIVATE
        scene.world.network.reset(scene.world.venue_address)
        await scene.until(lambda: len(scene.recorder.all(LineUp, start)) == 1, 5.0)

    config = attrs.evolve(WorldSettings().config, wire=attrs.evolve(Config().wire, allow_private_addresses=True))
    run_in_world(scenario, settings=attrs.evolve(SETTINGS, config=config))


def test_fault_05_reset_while_idle_is_noticed_at_once_and_healed() -> None:
    """Detect at once, reconnect: books are verified again within 0.5 s on a good network."""

    async def scenario(scene: Scene) -> None:
        start = scene.now
        scene.world.network.reset(scene.world.venue_address)
        assert await scene.until(lambda: scene.told(Stale, start), 0.1) <= 0.02
        assert await scene.until(lambda: scene.told(BookUpdate, start), 2.0) <= 0.5
        assert len(scene.recorder.dials(start)) == 1
        for symbol in scene.symbols:
            assert scene.story(symbol, start)[:4] == HEALED
            for channel in ("book", "ticker", "trade"):
                assert scene.notices(channel, symbol, start) == ["Stale", "Gap", "Live"]
            _, stale = scene.first(Stale, symbol, start)
            _, gap = scene.first(Gap, symbol, start)
            assert "1006" in stale.why
            assert (gap.start_s, gap.healed_by) == (stale.since_s, "snapshot")

    run_in_world(scenario, settings=attrs.evolve(SETTINGS, rate=0.5))


@pytest.mark.parametrize("limit_bytes", [1, 3, 100, 517])
def test_fault_06_a_frame_cut_in_the_middle_is_dropped_and_the_line_replaced(limit_bytes: int) -> None:
    """Drop the partial frame, unsynced, reconnect: half a frame never becomes a message."""

    async def scenario(scene: Scene) -> None:
        start = scene.now
        scene.link.change(direction="down", limit_bytes=limit_bytes)
        await scene.until(lambda: scene.told(Stale, start), 2.0)
        await scene.until(scene.live, 2.0)
        await trio.sleep(1)
        assert scene.market.statistics().lines[0].undecodable == 0
        assert [kind for kind in scene.story(scene.symbols[0], start) if kind != "BookUpdate"] == HEALED[:3]
        assert "1006" in scene.line_ends(start)[0]

    run_in_world(scenario)


def test_fault_07_an_end_without_a_close_frame_is_1006_and_healed() -> None:
    """1006, reconnect."""

    async def scenario(scene: Scene) -> None:
        start = scene.now
        scene.fault("drop_connection", mode="abort")
        assert await scene.until(lambda: scene.told(Stale, start), 0.1) <= 0.05
        assert await scene.until(lambda: scene.told(BookUpdate, start), 2.0) <= 0.5
        (ended,) = scene.line_ends(start)
        assert "closed with 1006 (the peer ended the connection without a close frame)" in ended
        assert scene.story(scene.symbols[0], start)[:4] == HEALED

    run_in_world(scenario)


def test_fault_08_a_half_open_connection_is_stale_after_2_5_s_and_replaced_after_4_s() -> None:
    """Stale + ping at 2.5 s, socket replaced at 4.0 s, counted from the last frame."""

    async def scenario(scene: Scene) -> None:
        link = scene.link
        forgotten = scene.now
        link.forget()
        await scene.until(scene.stale, 3.0)
        stale_at = scene.now
        last_frame = scene.recorder.last("rx", f"{link.label}<")
        assert last_frame <= forgotten + 0.01
        assert 2.5 <= stale_at - last_frame <= 2.75
        assert scene.recorder.last("tx", f"{link.label}>") == pytest.approx(last_frame + 2.5, abs=0.25), "a ping"
        down_at, down = await scene.next_line_down(forgotten, within_s=5.0)
        assert 4.0 <= down_at - last_frame <= 4.25
        assert down.reason == "market A: no frame for 4.0 s, the ping included"
        await scene.until(scene.live, 2.0)
        for symbol in scene.symbols:
            assert scene.story(symbol, stale_at - 0.1)[-4:] == HEALED

    run_in_world(scenario)


def test_fault_08_a_short_silence_makes_stale_and_costs_no_reconnect() -> None:
    """Stale at 2.5 s; bytes that come before 4.0 s save the connection: TCP lost nothing, so no gap is told."""

    async def scenario(scene: Scene) -> None:
        await trio.sleep(0.25)
        start = scene.now
        scene.link.change(direction="both", blackhole=True)
        await trio.sleep(3.2)
        assert scene.stale()
        scene.link.change(direction="both", blackhole=False)
        assert await scene.until(scene.live, 5.0) <= 3.0
        assert scene.line_ends(start) == []
        for symbol in scene.symbols:
            assert scene.story(symbol, start)[-3:] == FROZEN

    run_in_world(scenario)


def test_fault_09_a_peer_that_is_heard_but_does_not_hear_is_replaced() -> None:
    """A ping unanswered leads to a reconnect: found within ping interval + 10 s, while data goes on being delivered."""

    async def scenario(scene: Scene) -> None:
        start = scene.now
        scene.link.change(direction="up", blackhole=True)
        down_at, down = await scene.next_line_down(start, within_s=31.0)
        assert down.reason == "market A: no answer to a ping for 10.0 s, it does not hear us"
        assert 10.0 <= down_at - start <= 30.1
        before = [kind for kind in scene.story(scene.symbols[0], start) if kind != "BookUpdate"]
        assert before == ["Stale"], "what was heard was good until the line was given up"
        await scene.until(scene.live, 2.0)
        assert scene.story(scene.symbols[0], start)[1:5] == HEALED

    run_in_world(scenario)


def test_fault_10_a_peer_that_hears_but_is_not_heard_is_stale_after_2_5_s() -> None:
    """Stale 2.5 s, replaced at 4.0 s."""

    async def scenario(scene: Scene) -> None:
        start = scene.now
        scene.link.change(direction="down", blackhole=True)
        assert 2.4 <= await scene.until(scene.stale, 2.8) <= 2.75
        down_at, _ = await scene.next_line_down(start, within_s=5.0)
        assert 3.9 <= down_at - start <= 4.25
        await scene.until(scene.live, 2.0)
        assert [kind for kind in scene.story(scene.symbols[0], start) if kind != "BookUpdate"] == HEALED[:3]

    run_in_world(scenario)


@pytest.mark.parametrize(("latency_s", "jitter_s"), [(0.5, 0.5), (2.0, 0.0), (4.0, 0.9)])
def test_fault_11_latency_and_jitter_are_no_false_death(latency_s: float, jitter_s: float) -> None:
    """No false death below the limit: a rise of the latency is a silence once, and then a line like any other."""

    async def scenario(scene: Scene) -> None:
        start = scene.now
        scene.world.network.change(scene.world.venue_address, latency_s=latency_s / 3, jitter_s=jitter_s / 3)
        await trio.sleep(10)
        scene.world.network.change(scene.world.venue_address, latency_s=latency_s * 2 / 3, jitter_s=jitter_s * 2 / 3)
        await trio.sleep(10)
        scene.world.network.change(scene.world.venue_address, latency_s=latency_s, jitter_s=jitter_s)
        await trio.sleep(120)
        assert scene.line_ends(start) == []
        assert scene.recorder.all(Gap, start) == []
        scene.world.network.heal()
        await trio.sleep(10)
        assert scene.line_ends(start) == []

    run_in_world(scenario)


def test_fault_11_data_that_comes_late_is_stale_by_the_venues_time_and_costs_no_reconnect() -> None:
    """Stale flag by venue time lag: told with the first late update, withheld until it is over, and no gap."""

    async def scenario(scene: Scene) -> None:
        start = scene.now
        for latency_s in (1.0, 2.0):
            scene.link.change(direction="down", latency_s=latency_s)
            await trio.sleep(5)
        assert scene.recorder.all(Stale, start) == [], "behind, but within the limit"
        risen_at = scene.now
        for latency_s in (3.0, 4.0):
            scene.link.change(direction="down", latency_s=latency_s)
            await trio.sleep(5)
        for topic in (Book(scene.symbols[0]), Ticker(scene.symbols[0])):
            with pytest.raises(Stale, match="behind the venue"):
                scene.market.feed.latest(topic)
            reading = scene.market.feed.latest(topic, allow_stale=True)
            assert age_s(scene.now, reading.value) < 6.0, "the newest, for who asks for it all the same"
        told = scene.recorder.all(Stale, risen_at)
        assert {event.channel for _, event in told} == {"book", "ticker"}
        assert all(event.why == "data is 3.0 s behind the venue" for _, event in told)
        assert all(at - risen_at <= 3.2 for at, _ in told), "by the first update that was under way for longer"
        assert scene.recorder.all(Trade, risen_at + 4), "a trade is a fact, however late"
        healed_at = scene.now
        scene.world.network.heal()
        assert await scene.until(scene.live, 5.0) <= 4.2
        await trio.sleep(2)
        assert scene.line_ends(start) == []
        assert scene.recorder.all(Gap, start) == []
        for symbol in scene.symbols:
            assert scene.story(symbol, start) == ["BookUpdate", *FROZEN]
            assert scene.notices("ticker", symbol, start) == ["Stale", "Live"]
        prices = [(at, event) for at, event in scene.recorder.all(MarketEvent, start) if not isinstance(event, Trade)]
        assert not [at for at, _ in prices if risen_at + 3.2 < at < healed_at]

    run_in_world(scenario)


def test_fault_11_a_sudden_delay_is_a_silence_first_and_late_data_does_not_end_it() -> None:
    """A step of the latency is Stale by the silence it begins with, and stays so: what follows is that old."""

    async def scenario(scene: Scene) -> None:
        start = scene.now
        scene.link.change(direction="down", latency_s=3.5)
        await trio.sleep(20)
        assert scene.stale()
        assert scene.market.statistics().lines[0].resubscriptions == 0, "asking anew would make nothing quicker"
        scene.world.network.heal()
        await scene.until(scene.live, 5.0)
        assert scene.line_ends(start) == []
        for symbol in scene.symbols:
            assert scene.story(symbol, start)[-3:] == FROZEN
            assert scene.notices("book", symbol, start) == ["Stale", "Live"]

    run_in_world(scenario)


def test_fault_11_a_book_that_fails_while_its_line_is_late_is_healed_with_a_gap() -> None:
    """Late or not, a lost book is resynchronised; readers are told Stale once, and the gap before Live."""

    async def scenario(scene: Scene) -> None:
        start, symbol = scene.now, scene.symbols[0]
        for latency_s in (2.0, 4.0):
            scene.link.change(direction="down", latency_s=latency_s)
            await trio.sleep(5)
        scene.fault("corrupt_checksum", symbol=symbol)
        await trio.sleep(12)
        assert scene.stale()
        scene.world.network.heal()
        await scene.until(scene.live, 5.0)
        assert scene.line_ends(start) == []
        assert scene.story(symbol, start)[:5] == ["BookUpdate", *HEALED]
        assert scene.notices("book", symbol, start) == ["Stale", "Gap", "Live"]
        assert scene.notices("book", scene.symbols[1], start) == ["Stale", "Live"]
        assert scene.market.statistics().lines[0].resubscriptions == 1

    run_in_world(scenario)


def test_fault_11_streams_without_an_update_of_their_own_are_late_and_on_time_with_the_others() -> None:
    """Staleness is a matter of the line: what was sent before an update that is on time has arrived as well."""

    async def scenario(scene: Scene) -> None:
        topic = Candles(scene.symbols[1], 60)
        freshness = scene.market.publisher.freshness
        async with scene.market.feed.subscribe(topic) as candles:
            assert isinstance(await anext(candles), Live)
            start = scene.now
            for latency_s in (2.0, 4.0):
                scene.link.change(direction="down", latency_s=latency_s)
                await trio.sleep(2.4)
            await scene.until(scene.stale, 3.0)
            assert freshness.stale(topic.key) is not None
            scene.world.network.heal()
            await scene.until(scene.live, 5.0)
            assert freshness.is_live(topic.key)
            assert scene.line_ends(start) == []

    run_in_world(scenario, settings=attrs.evolve(SETTINGS, rate=5.0))


def test_fault_11_a_market_in_which_nothing_happens_is_not_late() -> None:
    """Snapshots and quiet books carry old times: they are no sign of a delay, even on a new connection."""

    async def scenario(scene: Scene) -> None:
        start = scene.now
        await trio.sleep(60)
        scene.world.network.reset(scene.world.venue_address)
        await scene.until(lambda: scene.told(Live, start + 60), 2.0)
        await trio.sleep(60)
        assert not [event for _, event in scene.recorder.all(Stale, start) if "behind the venue" in event.why]

    run_in_world(scenario, settings=attrs.evolve(SETTINGS, rate=0.05))


def test_fault_12_a_line_far_too_slow_is_called_stale_and_given_up() -> None:
    """Backpressure visible, no memory growth: queues are bounded, and old data is not called live."""

    async def scenario(scene: Scene) -> None:
        start = scene.now
        scene.link.change(direction="down", bytes_per_s=1000.0)
        link = scene.link
        held: list[int] = []
        while scene.line_ends(start) == []:
            assert scene.now - start < 60
            held.append(link.down.held_bytes)
            await trio.sleep(0.1)
        assert max(held) <= 65536
        assert max(held) > 10_000, "it did queue"
        assert max(age_s(at, event) for at, event in scene.recorder.all(BookUpdate, start)) <= 2.6
        scene.world.network.heal()
        await scene.until(scene.live, 8.0)
        assert scene.story(scene.symbols[0], start)[:5] == ["BookUpdate", *HEALED]

    run_in_world(scenario)


@pytest.mark.parametrize("slice_bytes", [1, 7, 1000])
def test_fault_13_slices_of_any_size_make_no_difference(slice_bytes: int) -> None:
    """Identical result: the same messages, whatever the reads look like."""

    def books(slice_bytes: int | None) -> list[tuple[str, int, str | None]]:
        async def scenario(scene: Scene) -> None:
            scene.world.network.change("*", slice_bytes=slice_bytes)
            await trio.sleep(20)

        recorder = run_in_world(scenario)
        return [(event.symbol, event.book.checksum, event.venue_time) for _, event in recorder.all(BookUpdate)]

    whole, sliced = books(None), books(slice_bytes)
    common = min(len(whole), len(sliced))
    assert common > 300
    assert sliced[:common] == whole[:common]


def test_fault_14_a_flapping_line_is_not_hammered_and_never_lies() -> None:
    """Hold-down: attempts stay 1 s apart (one immediate retry per healthy time), whatever the network does."""

    async def scenario(scene: Scene) -> None:
        start = scene.now
        for _ in range(20):
            scene.world.network.take_down(scene.world.venue_address)
            await trio.sleep(3)
            scene.world.network.heal()
            await trio.sleep(3)
        dials = scene.recorder.dials(start)
        pauses = list(gaps_between(dials))
        assert all(pause >= 0.999 for pause in pauses)
        assert len(dials) <= 100
        await scene.until(scene.live, 7.0)
        flaps = [type(event) for _, event in scene.recorder.events if isinstance(event, (Stale, Live))]
        assert flaps.count(Live) > 6
        for symbol in scene.symbols:
            story = [kind for kind in scene.story(symbol, start) if kind != "BookUpdate"]
            assert story == ["Stale", "Gap", "Live"] * (len(story) // 3)

    run_in_world(scenario)


@pytest.mark.parametrize("seed", range(4))
def test_fault_15_clogged_links_recover_in_any_order(seed: int) -> None:
    """Recover in any order."""

    async def scenario(scene: Scene) -> None:
        for hold_s in (1.0, 3.0, 8.0):
            await scene.world.network.swizzle(spread_s=1.0, hold_s=hold_s)
            await scene.until(scene.live, 10.0)
            await trio.sleep(5)

    run_in_world(scenario, seed=seed)


def test_fault_16_all_lines_dead_is_stale_within_the_promise_and_recovers() -> None:
    """All members dead: every stream says so at once, no value is readable as current, and the line comes back."""

    async def scenario(scene: Scene) -> None:
        start = scene.now
        scene.world.network.take_down("*")
        await scene.until(scene.stale, 0.1)
        await trio.sleep(60)
        for symbol in scene.symbols:
            for topic in (Book(symbol), Trades(symbol)):
                with pytest.raises(Stale):
                    scene.market.feed.latest(topic)
            assert scene.market.feed.latest(Book(symbol), allow_stale=True).age_s >= 60
            assert scene.story(symbol, start) == ["Stale"]
        scene.world.network.heal()
        assert await scene.until(scene.live, 8.0) <= 7.5
        assert scene.story(scene.symbols[0], start)[:4] == HEALED

    run_in_world(scenario)


def test_fault_17_ten_minutes_without_any_path_cost_at_most_100_attempts_and_no_memory() -> None:
    """Stale, bounded memory, bounded retries: at most 100 attempts in any 10 minutes, small queues."""

    async def scenario(scene: Scene) -> None:
        start = scene.now
        async with scene.market.feed.subscribe(*map(Book, scene.symbols), scene.market.health) as unread:
            scene.world.network.take_down("*")
            await trio.sleep(1200)
            assert scene.stale()
            dials = scene.recorder.dials(start)
            assert len(dials) > 100
            for first in dials:
                assert len([at for at in dials if first <= at < first + 599.99]) <= 100
            assert min(gaps_between(dials)) >= 0.999
            assert len(unread) < 300
            assert scene.story(scene.symbols[0], start) == ["Stale"]
            scene.world.network.heal()
            waited_s = await scene.until(scene.live, 605.0)
            assert waited_s <= 600
        missed = [gap for _, gap in scene.recorder.all(TradeGap, start) if gap.last >= gap.first]
        assert missed, "trades of the outage are told as missing, not forgotten"

    run_in_world(scenario)


def test_fault_17_an_engine_that_starts_without_any_path_says_why() -> None:
    """All paths dead at the start: a typed error with every reason, in bounded time."""

    async def main() -> None:
        async with open_world(1, WorldSettings(symbols=1)) as world:
            world.network.set_dialing("*", Dialing.UNREACHABLE)
            start = trio.current_time()
            with pytest.raises(StartupError) as caught:
                async with world.open_market():
                    pytest.fail("opened")
            assert trio.current_time() - start == pytest.approx(15.0, abs=0.5)
            assert any("dial failed" in reason for reason in caught.value.reasons)
            assert world.network.open_streams("client") == []

    run(1, main, horizon_s=60)
