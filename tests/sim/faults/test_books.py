"""Rows 38 to 43, 46, 47 and 74 of the fault matrix: books that lose, repeat, swap, falsify or regroup their updates."""

from __future__ import annotations

import itertools
from decimal import Decimal
from functools import partial

import attrs
import pytest
import trio
from tests.sim.faults.forged import book_frame, checksum, true_rows
from tests.sim.faults.harness import HEALED, SETTINGS, Scene, run_in_world

from kraken_engine import Book, BookUpdate, Conflate, Gap, Live, Stale
from kraken_engine.config import SubscriptionSettings

HEALED_S = 1.0
"""The goal from a loss to a verified book."""
QUIET = attrs.evolve(SETTINGS, rate=0.5)


async def hit(scene: Scene, name: str, symbol: str, **params: object) -> float:
    """Give a venue command and wait for its effect; return when that was."""
    given = scene.world.exchange.faults.apply(name, {"symbol": symbol, **params}, scene.now)
    record = scene.world.exchange.faults.record(int(str(given["id"])))
    await scene.until(lambda: record.hits, 10.0)
    return record.last_hit_s or scene.now


def healed(scene: Scene, symbol: str, start: float, *, times: int = 1) -> bool:
    """Return whether the reader of a book was told so many gaps, and prices after the last."""
    story = scene.story(symbol, start)
    return story.count("Gap") == times and story[-4:] == HEALED


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("command", ["drop_update", "reorder_updates", "corrupt_checksum"])
def test_fault_38_40_41_a_lost_swapped_or_falsified_update_is_noticed_by_the_checksum_and_healed(
    command: str, seed: int
) -> None:
    """I-2: unsynced before the next event, resync within 1 s, the other books untouched."""

    async def scenario(scene: Scene) -> None:
        start, (symbol, other) = scene.now, scene.symbols
        await hit(scene, command, symbol)
        await scene.until(lambda: any(isinstance(event, Live) for _, event in scene.book_events(symbol, start)), 5.0)
        await trio.sleep(5)
        stale_at, stale = scene.first(Stale, symbol, start)
        gap_at, gap = scene.first(Gap, symbol, start)
        assert scene.story(symbol, start) == ["BookUpdate", *HEALED] or scene.story(symbol, start) == HEALED
        assert "checksum: the venue has" in stale.why
        assert gap_at - stale_at <= HEALED_S
        assert gap.start_s <= stale_at
        assert gap.healed_by == "snapshot"
        scene.assert_untouched(other, start)
        assert scene.line_ends(start) == []

    run_in_world(scenario, seed=seed)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_fault_39_a_repeated_update_has_no_effect(seed: int) -> None:
    """No effect."""

    async def scenario(scene: Scene) -> None:
        start = scene.now
        for symbol in scene.symbols:
            await hit(scene, "duplicate_update", symbol)
        await trio.sleep(5)
        for symbol in scene.symbols:
            scene.assert_untouched(symbol, start)
        assert scene.market.statistics().books_mismatched == 0

    run_in_world(scenario, seed=seed)


def test_fault_41_a_book_whose_checksums_keep_failing_is_asked_for_at_a_distance_and_shown_never() -> None:
    """Resync; after 3 in 60 s the next ones keep 5 s apart, and no wrong book is ever shown."""

    async def scenario(scene: Scene) -> None:
        start, (symbol, other) = scene.now, scene.symbols
        for made in range(1, 7):
            await hit(scene, "corrupt_checksum", symbol)
            await scene.until(partial(healed, scene, symbol, start, times=made), 6.5)
        dark = [
            gap.end_s - stale_at
            for (stale_at, _), (_, gap) in zip(
                [(at, event) for at, event in scene.book_events(symbol, start) if isinstance(event, Stale)],
                [(at, event) for at, event in scene.book_events(symbol, start) if isinstance(event, Gap)],
                strict=True,
            )
        ]
        assert len(dark) == 6
        assert max(dark[:3]) <= HEALED_S
        assert min(dark[3:]) > HEALED_S, "the fourth within a minute has to wait"
        assert max(dark) <= 5.0 + HEALED_S
        scene.assert_untouched(other, start)

    run_in_world(scenario)


def test_fault_42_a_wrong_level_that_no_checksum_covers_is_gone_within_five_minutes_without_a_gap() -> None:
    """Found by the re-snapshot every 5 minutes; the verified book is shown until the new one takes its place."""

    async def scenario(scene: Scene) -> None:
        symbol = scene.symbols[0]
        async with scene.market.feed.subscribe(Book(symbol, 25), on_full=Conflate()):
            await trio.sleep(10)

            def wrong_levels() -> int:
                book = scene.market.feed.latest(Book(symbol, 25)).value.book
                true = scene.world.exchange.book_state(symbol, 25)["bids"]
                assert isinstance(true, list)
                return sum(
                    (level.price, level.qty) != (Decimal(price), Decimal(qty))
                    for level, (price, qty) in zip(book.bids, true, strict=True)
                )

            start = scene.now
            await hit(scene, "falsify_level", symbol)
            await trio.sleep(0.01)
            assert wrong_levels() == 1
            assert scene.market.feed.latest(Book(symbol, 25)).value.book.verified_levels == 10
            assert await scene.until(lambda: not wrong_levels(), 300.0) > 10.0
            healed_at = scene.now
            scene.assert_untouched(symbol, start)
            fresh = [
                event for at, event in scene.book_events(symbol, healed_at - 0.02) if isinstance(event, BookUpdate)
            ]
            assert fresh[0].snapshot

    run_in_world(scenario, settings=attrs.evolve(SETTINGS, rate=1e-6))


def test_fault_42_a_re_snapshot_that_is_lost_makes_the_kept_book_stale_in_time() -> None:
    """A kept book is not shown as live for longer than a silent line's: 2.5 s."""

    async def scenario(scene: Scene) -> None:
        symbol = scene.symbols[0]
        async with scene.market.feed.subscribe(Book(symbol, 25), on_full=Conflate()):
            await trio.sleep(10)
            scene.fault("delay_snapshot", symbol=symbol, seconds=5.0)
            start = scene.now
            await scene.until(
                lambda: any(isinstance(event, Stale) for _, event in scene.book_events(symbol, start)), 25.0
            )
            assert "no fresh snapshot within 2.5 s" in scene.first(Stale, symbol, start)[1].why
            await scene.until(scene.live, 6.0)

    often = SubscriptionSettings(deep_resnapshot_s=20.0)
    run_in_world(scenario, settings=attrs.evolve(QUIET, config=attrs.evolve(QUIET.config, subscriptions=often)))


def test_fault_43_a_crossed_book_is_flagged_at_once_and_asked_for_anew_after_two_seconds() -> None:
    """I-8: flagged crossed for at most 2 s, then resync."""

    async def scenario(scene: Scene) -> None:
        symbol, other = scene.symbols
        scene.forged[symbol] = None
        scene.fault("silence", symbol=symbol, channel="book", seconds=1.99)
        await trio.sleep(0.05)
        start = scene.now
        bids, asks, stamp = true_rows(scene.world.exchange, symbol)
        crossing = [asks[0][0], "0.12345678"]
        crc = checksum([crossing, *bids], asks)
        scene.fault(
            "send_text",
            text=book_frame("update", symbol, [crossing], [], crc=crc, timestamp=stamp),
            session=scene.session,
        )
        await trio.sleep(0.1)
        shown = scene.market.feed.latest(Book(symbol)).value.book
        assert shown.crossed
        assert shown.bid == shown.ask
        await scene.until(lambda: HEALED[-1] in scene.story(symbol, start)[1:], 3.0)
        stale_at, stale = scene.first(Stale, symbol, start)
        assert "crossed for 2 s" in stale.why
        assert stale_at - start == pytest.approx(2.0, abs=0.01)
        assert scene.first(Live, symbol, start)[0] - stale_at <= HEALED_S
        assert not scene.market.feed.latest(Book(symbol)).value.book.crossed
        await trio.sleep(30)
        scene.assert_untouched(other, start)

    run_in_world(scenario, settings=QUIET)


def test_fault_46_updates_before_a_late_snapshot_are_dropped_and_the_snapshot_is_applied() -> None:
    """Drop, then apply: nothing is shown before a snapshot verified."""

    async def scenario(scene: Scene) -> None:
        start, (symbol, other) = scene.now, scene.symbols
        scene.fault("delay_snapshot", symbol=symbol, seconds=4.0)
        await hit(scene, "corrupt_checksum", symbol)
        await trio.sleep(1)
        bids, asks, stamp = true_rows(scene.world.exchange, symbol)
        early = book_frame("update", symbol, bids[:1], [], crc=checksum(bids, asks), timestamp=stamp)
        for _ in range(1_000):
            scene.fault("send_text", text=early, session=scene.session)
        await scene.until(scene.live, 5.0)
        await trio.sleep(5)
        assert scene.story(symbol, start)[-4:] == HEALED
        _, gap = scene.first(Gap, symbol, start)
        assert 4.0 <= gap.end_s - gap.start_s < 5.0
        sync = scene.market.pool.lines[0].books.sync(symbol)
        assert sync is not None
        assert sync.statistics().dropped_before_snapshot == 1_000
        assert sync.statistics().resyncs == 1
        scene.assert_untouched(other, start)

    run_in_world(scenario)


def test_fault_46_a_snapshot_that_does_not_come_within_ten_seconds_is_asked_for_again() -> None:
    """Bounded: a snapshot has a deadline of its own."""

    async def scenario(scene: Scene) -> None:
        start, symbol = scene.now, scene.symbols[0]
        scene.fault("delay_snapshot", symbol=symbol, seconds=60.0)
        await hit(scene, "corrupt_checksum", symbol)
        assert await scene.until(lambda: not scene.live(), 1.0) < 1.0
        assert await scene.until(scene.live, 12.0) == pytest.approx(10.0, abs=0.1)
        assert scene.story(symbol, start)[-3:] == HEALED[1:]

    run_in_world(scenario)


@pytest.mark.parametrize(("price", "qty"), [(1, 0), (0, 1), (2, 2)])
def test_fault_47_a_change_of_precision_reloads_the_instrument_and_the_book(price: int, qty: int) -> None:
    """Reload instruments, resync book: that one alone, within 1 s, there and back."""

    async def scenario(scene: Scene) -> None:
        symbol, other = scene.symbols
        before = scene.market.instruments[symbol]
        for digits in ({"price": price, "qty": qty}, {"price": 0, "qty": 0}):
            start = scene.now
            scene.fault("change_precision", symbol=symbol, **digits)
            await scene.until(partial(healed, scene, symbol, start), HEALED_S)
            await scene.assert_books_equal()
            known = scene.market.instruments[symbol]
            assert known.price_decimals == before.price_decimals + digits["price"]
            assert known.qty_decimals == before.qty_decimals + digits["qty"]
            _, stale = scene.first(Stale, symbol, start)
            assert "precision changed" in stale.why
            top = scene.market.feed.latest(Book(symbol)).value.book.bids[0]
            assert -int(top.price.as_tuple().exponent) == known.price_decimals
            await trio.sleep(5)
            assert scene.story(symbol, start).count("Stale") == 1
            scene.assert_untouched(other, start)
        assert scene.market.statistics().books_mismatched == 0

    run_in_world(scenario)


@pytest.mark.parametrize("slice_bytes", [1, 7, 400])
def test_fault_74_the_same_updates_make_the_same_book_however_they_are_cut_and_grouped(slice_bytes: int) -> None:
    """Both right: split over many reads, and two to a message."""

    async def scenario(scene: Scene) -> None:
        start = scene.now
        seen = [e.book.checksum for _, e in scene.book_events(scene.symbols[0]) if isinstance(e, BookUpdate)][-1]
        scene.link.change(direction="down", slice_bytes=slice_bytes)
        for _ in range(5):
            for symbol in scene.symbols:
                await hit(scene, "merge_updates", symbol)
            await trio.sleep(1)
        for symbol in scene.symbols:
            scene.assert_untouched(symbol, start)
        await scene.assert_books_equal()
        symbol = scene.symbols[0]
        history = [book.checksum for book in scene.world.exchange._listings[symbol].book.recent]
        published = [e.book.checksum for _, e in scene.book_events(symbol, start) if isinstance(e, BookUpdate)]
        told = [crc for crc, _ in itertools.groupby(published)]
        missed = history[len(history) - history[::-1].index(seen) :]
        assert told == [crc for crc, _ in itertools.groupby(missed)], "every state once, in order, none left out"
        assert scene.market.statistics().books_mismatched == 0

    run_in_world(scenario)
