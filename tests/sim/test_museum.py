"""The bug museum: faults that cost users of other Kraken clients money or nights, each as a seeded scenario here.

Numbers are those of the collection the project started from; the lines about orders and tokens come with those.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal

import attrs
import pytest
import trio
from tests.sim.faults.forged import Rows, book_frame, checksum
from tests.sim.faults.harness import HEALED, SETTINGS, Scene, run_in_world

from kraken_engine import (
    Book,
    BookUpdate,
    Bounded,
    Candle,
    Candles,
    Conflate,
    Gap,
    LineDown,
    LineUp,
    Live,
    Refused,
    Stale,
    Ticker,
    Trade,
    Trades,
    VenueMode,
    VenueStatus,
)
from kraken_engine.normalise.events import PriceLevel
from kraken_engine.sim.clock import WALL_START_NS
from kraken_engine.sim.deterministic import run
from kraken_engine.sim.network import Dialing
from kraken_engine.sim.world import WorldSettings, open_world

FULL = os.environ.get("KRAKEN_SIM_FULL") == "1"
SEEDS = pytest.mark.parametrize("seed", [1, 2])


def told(scene: Scene, kind: type[object], symbol: str, since: float) -> bool:
    return any(isinstance(event, kind) for _, event in scene.book_events(symbol, since))


@SEEDS
def test_museum_01_a_line_that_confirmed_everything_and_then_said_nothing_is_replaced(seed: int) -> None:
    """Not even heartbeats come: stale 2.5 s after the last frame, replaced after 4 s."""

    async def scenario(scene: Scene) -> None:
        start = scene.now
        scene.link.reset()
        await scene.until(lambda: scene.recorder.all(LineUp, start), 2.0)
        await trio.sleep(0.01)  # acks and snapshots are here
        assert scene.live()
        scene.fault("silence", session=scene.session, kind="all", seconds=3600.0)
        mute = scene.now
        await scene.until(lambda: scene.told(Stale, mute), 2.75)
        at, _ = await scene.next_line_down(mute, within_s=2.0)
        assert at - mute <= 4.25
        await scene.until(scene.live, 2.0)
        assert scene.recorder.all(Refused, start) == []

    run_in_world(scenario, seed=seed)


@SEEDS
def test_museum_02_one_channel_of_many_goes_quiet_and_is_right_again_with_its_next_message(
    seed: int,
) -> None:
    """Heartbeats and the other channels go on: the line is kept, and what was missed is never shown as a step."""

    async def scenario(scene: Scene) -> None:
        start = scene.now
        scene.fault("silence", session=scene.session, channel="book", seconds=1200.0)
        await trio.sleep(1200.0)
        loud = scene.now
        assert scene.recorder.all(LineDown, start) == []
        assert scene.market.feed.latest(Ticker(scene.symbols[0])).age_s < 600
        await scene.until(lambda: scene.told(Gap, loud - 1.0), 600.0)
        for symbol in scene.symbols:
            assert [k for k in scene.story(symbol, start + 1.0) if k != "BookUpdate"][:3] == HEALED[:3]

    run_in_world(scenario, seed=seed, settings=attrs.evolve(SETTINGS, rate=0.1), horizon_s=7200.0)


@SEEDS
def test_museum_03_updates_that_share_a_read_all_reach_a_slow_reader_who_wants_all(seed: int) -> None:
    """Two updates in one read and a reader who sleeps: none is lost, none is doubled, the last state is the venue's."""

    async def scenario(scene: Scene) -> None:
        symbol = scene.symbols[0]
        ids: list[int] = []
        books: list[int] = []
        async with scene.market.feed.subscribe(Book(symbol), Trades(symbol), on_full=Bounded(10_000)) as events:
            start = scene.now
            before = [e.trade_id for _, e in scene.recorder.events if isinstance(e, Trade) and e.symbol == symbol]
            scene.link.change(direction="down", jitter_s=1.0)  # what comes within a second is read at once
            with trio.move_on_after(60.0):
                async for event in events:
                    if isinstance(event, Trade):
                        ids.append(event.trade_id)
                    elif isinstance(event, BookUpdate):
                        books.append(event.book.checksum)
                    await trio.sleep(0.15)
            while len(events):
                event = await events.__anext__()
                ids += [event.trade_id] if isinstance(event, Trade) else []
                books += [event.book.checksum] if isinstance(event, BookUpdate) else []
        fast = [e.book.checksum for _, e in scene.book_events(symbol, start) if isinstance(e, BookUpdate)]
        assert books[-len(fast) :] == fast[-len(books) :]
        assert len(books) >= 200
        assert len(ids) >= 10
        assert ids == list(range(ids[0], ids[0] + len(ids)))
        assert not before or ids[0] in (before[-1], before[-1] + 1)
        assert scene.market.statistics().frames_per_read > 1.2
        scene.world.network.heal()

    run_in_world(scenario, seed=seed)


@SEEDS
def test_museum_09_a_burst_of_subscriptions_refused_in_its_tail_is_completed_for_every_symbol(seed: int) -> None:
    """``Exceeded msg rate`` for some of many after a reconnect: nothing is silently missing afterwards."""

    async def scenario(scene: Scene) -> None:
        await trio.sleep(1)
        start = scene.now
        for symbol in scene.symbols[10:]:
            scene.fault("refuse_subscriptions", symbol=symbol, error="Exceeded msg rate", times=3)
        scene.link.reset()
        await scene.until(lambda: all(told(scene, Live, symbol, start) for symbol in scene.symbols[:10]), 3.0)
        await scene.until(scene.live, 60.0)
        assert {event.symbol for _, event in scene.recorder.all(Refused, start)} == set(scene.symbols[10:])
        assert not any(event.final for _, event in scene.recorder.all(Refused, start))
        for symbol in scene.symbols:
            assert scene.market.feed.latest(Ticker(symbol), allow_stale=True).stale is None
            assert scene.market.publisher.freshness.stale(("trade", symbol)) is None

    run_in_world(scenario, seed=seed, settings=attrs.evolve(SETTINGS, symbols=20))


@attrs.frozen(kw_only=True)
class Script:
    """A book and the messages that follow its snapshot; the side after each is spelt out, not worked out."""

    bids: Rows
    asks: Rows
    updates: Sequence[tuple[Rows, Rows, Rows, Rows]] = ()
    """(bids sent, asks sent, bids afterwards, asks afterwards)"""


def ladder(best: str, step: str, count: int) -> list[list[str]]:
    return [[str(Decimal(best) + Decimal(step) * n), "1.50000000"] for n in range(count)]


BIDS, ASKS = ladder("99.9", "-0.2", 10), ladder("100.1", "0.2", 10)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(
            Script(
                bids=[["65000.10", "0.50000000"], ["64999.00", "10.00000000"]],
                asks=[["65000.20", "1.00000000"]],
                updates=[
                    (
                        [["65000.10", "0.10000000"]], [],
                        [["65000.10", "0.10000000"], ["64999.00", "10.00000000"]], [["65000.20", "1.00000000"]],
                    )
                ],
            ),
            id="trailing zeros",
        ),
        pytest.param(
            Script(
                bids=[["0.0000097", "1000000.00000000"]],
                asks=[["0.0000098", "0.00001000"]],
                updates=[
                    (
                        [], [["0.0000099", "5.00000000"]],
                        [["0.0000097", "1000000.00000000"]], [["0.0000098", "0.00001000"], ["0.0000099", "5.00000000"]],
                    )
                ],
            ),
            id="numbers a float would write as 9.7e-06",
        ),
        pytest.param(Script(bids=BIDS[:3], asks=ASKS[:2]), id="fewer than ten levels"),
        pytest.param(Script(bids=[], asks=ASKS[:1]), id="an empty side"),
        pytest.param(
            Script(
                bids=BIDS,
                asks=ASKS,
                updates=[
                    ([["99.8", "2.00000000"]], [], [BIDS[0], ["99.8", "2.00000000"], *BIDS[1:9]], ASKS),
                    ([["99.8", "0.00000000"], BIDS[9]], [], BIDS, ASKS),
                ],
            ),
            id="a level that comes back after it was cut off",
        ),
        pytest.param(
            Script(
                bids=BIDS,
                asks=ASKS,
                updates=[
                    (
                        [["99.9", "3.00000000"]], [["100.1", "0.00000000"], ["102.1", "4.00000000"]],
                        [["99.9", "3.00000000"], *BIDS[1:]], [*ASKS[1:], ["102.1", "4.00000000"]],
                    )
                ],
            ),
            id="both sides in one message",
        ),
    ],
)  # fmt: skip
def test_museum_10_checksums_agree_on_the_awkward_books(script: Script) -> None:
    """Trailing zeros, tiny prices, short sides, levels that return, both sides at once: each verifies as it is."""

    def scenario_of(scene: Scene) -> Callable[[], None]:
        symbol = scene.symbols[0]

        def send(kind: str, bids: Rows, asks: Rows, crc: int) -> None:
            scene.fault("send_text", text=book_frame(kind, symbol, bids, asks, crc=crc), session=scene.session)

        def play() -> None:
            send("snapshot", script.bids, script.asks, checksum(script.bids, script.asks))
            for bids, asks, bids_after, asks_after in script.updates:
                send("update", bids, asks, checksum(bids_after, asks_after))

        return play

    async def scenario(scene: Scene) -> None:
        symbol = scene.symbols[0]
        scene.forged[symbol] = None
        scene.fault("silence", symbol=symbol, channel="book", seconds=5.0)
        await trio.sleep(0.1)
        start = scene.now
        scenario_of(scene)()
        await trio.sleep(0.1)
        books = [event.book for _, event in scene.book_events(symbol, start) if isinstance(event, BookUpdate)]
        expected = [(script.bids, script.asks), *((after[2], after[3]) for after in script.updates)]
        assert [digits(book.bids) for book in books] == [[list(row) for row in bids] for bids, _ in expected]
        assert [digits(book.asks) for book in books] == [[list(row) for row in asks] for _, asks in expected]
        assert not told(scene, Stale, symbol, start)

    run_in_world(scenario)


def digits(levels: Sequence[PriceLevel]) -> list[list[str]]:
    return [[f"{level.price:f}", f"{level.qty:f}"] for level in levels]


@SEEDS
def test_museum_10_a_checksum_above_two_to_the_31_is_no_negative_number(seed: int) -> None:
    """Half of all checksums are above 2**31: all of them verify."""

    async def scenario(scene: Scene) -> None:
        await trio.sleep(30)
        books = [
            event.book
            for symbol in scene.symbols
            for _, event in scene.book_events(symbol)
            if isinstance(event, BookUpdate)
        ]
        above = sum(book.checksum > 2**31 for book in books)
        assert 0.3 < above / len(books) < 0.7
        assert scene.market.statistics().books_mismatched == 0

    run_in_world(scenario, seed=seed)


def test_museum_10_a_crossed_book_with_a_valid_checksum_is_shown_with_its_flag() -> None:
    """A checksum says that the book is the venue's, not that it makes sense."""
    bids, asks = [["100.2", "1.00000000"]], [["100.1", "1.00000000"]]

    async def scenario(scene: Scene) -> None:
        symbol = scene.symbols[0]
        scene.forged[symbol] = None
        scene.fault("silence", symbol=symbol, channel="book", seconds=1.0)
        await trio.sleep(0.1)
        frame = book_frame("snapshot", symbol, bids, asks, crc=checksum(bids, asks))
        scene.fault("send_text", text=frame, session=scene.session)
        await trio.sleep(0.1)
        assert scene.market.feed.latest(Book(symbol)).value.book.crossed
        await trio.sleep(15)
        assert not scene.market.feed.latest(Book(symbol)).value.book.crossed

    run_in_world(scenario)


@SEEDS
def test_museum_11_a_mismatch_of_one_symbol_touches_no_other(seed: int) -> None:
    """Nine books in a row each fail once: their neighbours are told nothing, and the line stays."""

    async def scenario(scene: Scene) -> None:
        for symbol in scene.symbols[1:]:
            start = scene.now
            scene.fault("corrupt_checksum", symbol=symbol, session=scene.session)
            await scene.until(lambda: told(scene, Gap, symbol, start), 20.0)  # noqa: B023 - waited for at once
            for other in scene.symbols:
                if other != symbol:
                    assert not told(scene, Stale, other, start)
        assert scene.recorder.all(LineDown) == []
        assert scene.market.statistics().lines[0].connections == 1

    run_in_world(scenario, seed=seed, settings=attrs.evolve(SETTINGS, symbols=10))


@SEEDS
def test_museum_12_updates_in_flight_between_unsubscribe_and_snapshot_spoil_nothing(seed: int) -> None:
    """A slow line full of updates while the book is asked for anew: they are dropped, one resync is enough."""

    async def scenario(scene: Scene) -> None:
        symbol = scene.symbols[0]
        scene.link.change(latency_s=0.3)
        await trio.sleep(2)
        start = scene.now
        scene.fault("corrupt_checksum", symbol=symbol, session=scene.session)
        await scene.until(lambda: told(scene, Gap, symbol, start), 10.0)
        await trio.sleep(5)
        sync = scene.market.pool.lines[0].books.sync(symbol)
        assert sync is not None
        assert sync.statistics().dropped_before_snapshot >= 1
        assert sync.statistics().resyncs == 1
        assert scene.story(symbol, start).count("Stale") == 1
        scene.world.network.heal()

    run_in_world(scenario, seed=seed)


@SEEDS
def test_museum_13_a_reader_who_stalls_for_a_minute_costs_no_memory_no_pong_and_nobody_else(seed: int) -> None:
    """60 s without a read: its queue stays small, pings stay answered, the others read on."""

    async def scenario(scene: Scene) -> None:
        topics = [topic(symbol) for symbol in scene.symbols for topic in (Book, Ticker)]
        async with scene.market.feed.subscribe(*topics, on_full=Conflate()) as stalled:
            start = scene.now
            for _ in range(60):
                scene.fault("send_raw", hex="8900", session=scene.session)
                await trio.sleep(1.0)
            assert len(stalled) <= len(topics)
            assert stalled.statistics().conflated > 300
            sent = [facts for at, kind, facts in scene.recorder.network if kind == "tx" and at >= start]
            assert sent.count((f"{scene.link.label}>", 6)) == 60
            assert scene.recorder.all(LineDown, start) == []
            for symbol in scene.symbols:
                scene.assert_untouched(symbol, start)
                newest = scene.market.feed.latest(Book(symbol)).value
            latest = {
                event.symbol: event
                for event in [await anext(stalled) for _ in range(len(stalled))]
                if isinstance(event, BookUpdate)
            }
            assert latest[newest.symbol] == newest

    run_in_world(scenario, seed=seed)


@SEEDS
def test_museum_14_a_quiet_market_is_not_a_dead_feed(seed: int) -> None:
    """An hour with a message every ten minutes: never stale, never reconnected."""

    async def scenario(scene: Scene) -> None:
        await trio.sleep(3600)
        assert scene.recorder.all(LineDown) == []
        assert not any(isinstance(event, Stale) for _, event in scene.recorder.events)
        assert scene.market.statistics().lines[0].connections == 1

    run_in_world(scenario, seed=seed, settings=attrs.evolve(SETTINGS, rate=1 / 600), horizon_s=7200.0)


@SEEDS
def test_museum_17_no_way_a_handshake_can_fail_escapes_the_supervisor(seed: int) -> None:
    """Refused, hung, answered with errors, redirects and resets while reconnecting: the line comes back by itself."""

    async def scenario(scene: Scene) -> None:
        network, address = scene.world.network, scene.world.venue_address
        start = scene.now
        scene.fault("refuse_upgrade", status=500, times=1)
        scene.fault("refuse_upgrade", status=301, location="wss://elsewhere.test/v2", times=1)
        scene.fault("refuse_upgrade", status=200, times=1)
        scene.fault("refuse_upgrade", status=503, retry_after=3, times=1)
        scene.link.reset()
        await scene.until(lambda: len(scene.line_ends(start)) >= 5, 30.0)
        for dialing in (Dialing.REFUSE, Dialing.UNREACHABLE, Dialing.NO_DESCRIPTORS, Dialing.HANG):
            network.set_dialing(address, dialing)
            network.reset(address)
            await trio.sleep(7)
        network.change(address, direction="down", limit_bytes=40)
        network.set_dialing(address, Dialing.ACCEPT)
        await trio.sleep(7)
        network.heal()
        await scene.until(scene.live, 12.0)
        assert len({reason.partition("(")[0] for reason in scene.line_ends(start)}) >= 7

    run_in_world(scenario, seed=seed)


def test_museum_18_a_connection_that_flaps_every_five_seconds_for_as_long_as_you_like_stays_within_its_budget() -> None:
    """At most 100 attempts in any ten minutes and one a second; no resource is left behind by any of them.

    ``KRAKEN_SIM_FULL=1`` plays an hour of it, the usual run as long as it takes to see two budgets spent.
    """

    async def scenario(scene: Scene) -> None:
        start = scene.now
        for _ in range(720 if FULL else 300):
            scene.world.network.reset(scene.world.venue_address)
            await trio.sleep(5)
        dials = scene.recorder.dials(start)
        assert len(dials) >= (300 if FULL else 150)
        for first, last in zip(dials, dials[100:], strict=False):
            assert last - first > 600.0
        assert len(scene.world.network.open_streams("client")) <= 1
        await scene.until(scene.live, 600.0)

    run_in_world(scenario, settings=attrs.evolve(SETTINGS, symbols=1, rate=0.1), horizon_s=7200.0)


def test_museum_19_a_snapshot_of_instruments_above_one_mebibyte_passes() -> None:
    """trio-websocket's own limit is 1 MiB and would close with 1009; ours is 8."""

    async def main() -> None:
        async with open_world(1, WorldSettings(symbols=2_800, rate=1.0)) as world, world.open_market() as market:
            assert len(world.exchange._gateway.instruments) > 1024 * 1024
            assert list(market.instruments) == world.exchange.symbols
            assert market.statistics().lines[0].connections == 1

    run(1, main, horizon_s=60)


@SEEDS
def test_museum_21_maintenance_and_the_way_back_are_told_in_order(seed: int) -> None:
    """online, maintenance, cancel_only, post_only, limit_only, online: each told once, the data goes on."""
    modes = ["maintenance", "cancel_only", "post_only", "limit_only", "online"]

    async def scenario(scene: Scene) -> None:
        start = scene.now
        for mode in modes:
            scene.fault("set_status", mode=mode)
            await trio.sleep(10)
        seen = scene.recorder.all(VenueStatus, start)
        assert [event.mode for _, event in seen] == [VenueMode(mode) for mode in modes]
        assert [event.text for _, event in seen] == modes
        assert [at - start for at, _ in seen] == pytest.approx([0.0, 10.0, 20.0, 30.0, 40.0], abs=0.01)
        assert scene.recorder.all(LineDown, start) == []
        for symbol in scene.symbols:
            assert scene.story(symbol, start) in ([], ["BookUpdate"])

    run_in_world(scenario, seed=seed)


@SEEDS
def test_museum_22_a_candle_that_is_still_forming_is_never_taken_for_a_closed_one(seed: int) -> None:
    """Over a lost line and several candle ends: candles in order, each only grows, the last state is the venue's."""

    async def scenario(scene: Scene) -> None:
        symbol = scene.symbols[0]
        candles: list[Candle] = []
        async with scene.market.feed.subscribe(Candles(symbol), on_full=Bounded()) as events:

            async def collect(seconds: float) -> None:
                with trio.move_on_after(seconds):
                    async for event in events:
                        if isinstance(event, Candle):
                            candles.append(event)  # noqa: PERF401 - a comprehension would lose what was read in time

            await collect(90)
            scene.world.network.take_down(scene.world.venue_address)
            await collect(100)
            scene.world.network.heal()
            await collect(120)
        begins = [candle.interval_begin for candle in candles]
        assert begins == sorted(begins)
        for begin, states in itertools.groupby(candles, key=lambda candle: candle.interval_begin):
            counts = [candle.trades for candle in states]
            assert counts == sorted(counts), begin
        series = scene.market.pool.lines[0].views["ohlc"]._streams[("ohlc", symbol, 1)]  # type: ignore[attr-defined]  # inner
        true = scene.world.exchange._listings[symbol].candles[1].rows(WALL_START_NS // 10**9 + int(scene.now))
        final = {row.begin_s: row.trades for row in true}
        closed = [candle for candle in series.closed if candle.interval_begin in set(begins)]
        assert len(closed) >= 2
        for candle in closed:
            assert final[_seconds(candle.interval_begin)] == candle.trades, candle.interval_begin

    run_in_world(scenario, seed=seed)


def _seconds(begin: str) -> int:
    return int(datetime.fromisoformat(begin).timestamp())
