"""Rows 5, 8 to 10, 15, 32, 38 to 42, 45 and 74 of the fault matrix with two lines: nobody notices what one suffers.

Beside what a test asserts by itself, readers are judged throughout: while one line is well nothing is called stale,
no trade is missing, and every update that the venue sent is shown, once, in order, within 50 ms.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager

import attrs
import pytest
import trio
from tests.sim.faults.harness import SETTINGS, Scene, run_in_world

from kraken_engine import Book, BookUpdate, Bounded, Config, Event, Resync
from kraken_engine.config import PoolSettings
from kraken_engine.sim.figures import Figures
from kraken_engine.sim.judges.continuity import ContinuityJudge
from kraken_engine.sim.judges.verdict import Verdict
from kraken_engine.sim.link import Link
from kraken_engine.state.freshness import StreamKey
from kraken_engine.venue.core.records import FaultRecord

TWO = attrs.evolve(SETTINGS, config=Config(pool=PoolSettings(max_connections=3, redundancy=2)))
SAMPLE_S = 0.25
REPLACED_S = 4.25
MUTE_S = 3.5


@attrs.define
class Pair:
    """Two lines, and what their readers must not notice."""

    scene: Scene
    verdict: Verdict = attrs.field(factory=Verdict)
    figures: Figures = attrs.field(factory=Figures)
    skipped: int = 0

    @property
    def sessions(self) -> list[int]:
        """The venue's sessions of the lines, oldest first."""
        return self.scene.world.wellness.sessions()

    def link(self, session: int) -> Link:
        """Return the connection of a session."""
        return self.scene.world.wellness.links[session]

    def apply(self, name: str, **params: object) -> FaultRecord:
        """Give the venue a command, and return its record."""
        faults = self.scene.world.exchange.faults
        given = faults.apply(name, params, self.scene.now)
        record = faults.record(int(str(given["id"])))
        if name not in ("word_differently", "announce_maintenance"):
            self.scene.world.wellness.follow(record)
        return record

    def asked(self, since: float) -> list[tuple[float, int, str, str | None, tuple[str, ...]]]:
        """Return what sessions asked for since then."""
        return [
            (entry.at_s, entry.session, entry.what, entry.channel, entry.symbols)
            for entry in self.scene.world.exchange.journal.since(0)
            if entry.at_s >= since and entry.what in ("subscribe", "unsubscribe")
        ]

    def carrying(self, channel: str, symbol: str) -> list[int]:
        """Return the sessions that are subscribed to a stream."""
        sessions = {number: self.scene.world.exchange.sessions[number] for number in self.sessions}
        return [
            number
            for number, session in sessions.items()
            if any(place[:2] == (channel, symbol) for place in session.subscriptions)
        ]

    async def until_hit(self, record: FaultRecord) -> None:
        """Wait until a fault came about."""
        await self.scene.until(lambda: record.hits, 20.0)

    async def whole_again(self, within_s: float = 30.0) -> None:
        """Wait until two lines bring every book, trade and ticker."""
        places = [(channel, symbol) for channel in ("book", "trade", "ticker") for symbol in self.scene.symbols]

        def whole() -> bool:
            sessions = [self.scene.world.exchange.sessions.get(session) for session in self.sessions]
            return len(sessions) == 2 and all(
                session is not None and all(any(key[:2] == place for key in session.subscriptions) for place in places)
                for session in sessions
            )

        await self.scene.until(whole, within_s)

    def judge(self) -> None:
        """Nobody noticed anything."""
        assert self.verdict.violation is None, str(self.verdict.violation)
        (shown,) = self.figures.seconds.values()
        assert len(shown) > 40
        assert max(shown) <= 0.05


def with_two_lines(scenario: Callable[[Pair], Awaitable[None]], *, seed: int = 1, rate: float = 20.0) -> None:
    """Run ``scenario`` with two lines that both bring everything, and judge what readers noticed."""

    async def main(scene: Scene) -> None:
        pair = Pair(scene)
        await pair.whole_again()
        with _judged(pair):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_sample, scene)
                await trio.sleep(3.0)
                await scenario(pair)
                await pair.whole_again()
                await trio.sleep(3.0)
                nursery.cancel_scope.cancel()
        if rate >= SETTINGS.rate:
            pair.judge()
        else:
            assert pair.verdict.violation is None, str(pair.verdict.violation)

    run_in_world(main, seed=seed, settings=attrs.evolve(TWO, rate=rate))


@contextmanager
def _judged(pair: Pair) -> Generator[None]:
    judge = ContinuityJudge(world=pair.scene.world, verdict=pair.verdict, figures=pair.figures)

    def observe(key: StreamKey, event: Event) -> None:
        judge.see(key, event)
        pair.skipped = judge.skipped

    stop = pair.scene.market.publisher.observe(observe)
    try:
        yield
    finally:
        stop()


async def _sample(scene: Scene) -> None:
    while True:
        scene.world.wellness.sample()
        await trio.sleep(SAMPLE_S)


@pytest.mark.parametrize("which", [0, 1])
def test_fault_08_a_half_open_line_is_replaced_and_nobody_notices(which: int) -> None:
    """Stale and ping at 2.5 s, socket replaced at 4.0 s: of that line, not of its streams."""

    async def scenario(pair: Pair) -> None:
        link = pair.link(pair.sessions[which])
        link.forget()
        await trio.lowlevel.checkpoint()
        heard = pair.scene.recorder.last("rx", f"{link.label}<")
        await pair.scene.until(lambda: link.client.closed, 10.0)
        assert pair.scene.now - heard <= REPLACED_S + 2.0, "with the time a close may take"
        (down,) = pair.scene.line_ends(heard)
        assert "no frame for 4.0 s" in down

    with_two_lines(scenario)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("direction", ["up", "down"])
def test_fault_09_10_one_way_loss_of_a_line_is_noticed_by_the_line_alone(direction: str, which: int) -> None:
    """Ping unanswered, or nothing heard: reconnect."""

    async def scenario(pair: Pair) -> None:
        start, link = pair.scene.now, pair.link(pair.sessions[which])
        link.change(direction=direction, blackhole=True)  # type: ignore[arg-type]  # one of the two words
        await pair.scene.until(lambda: link.client.closed, 40.0)
        (down,) = pair.scene.line_ends(start)
        assert ("does not hear us" if direction == "up" else "no frame for 4.0 s") in down

    with_two_lines(scenario)


def test_fault_15_lines_clogged_one_after_the_other_recover_in_any_order() -> None:
    """Swizzle: as long as the clogs do not overlap, nobody notices."""

    async def scenario(pair: Pair) -> None:
        for _ in range(3):
            for session in list(pair.sessions):
                pair.link(session).change(blackhole=True)
                await trio.sleep(20.0)
                await pair.whole_again()
                await trio.sleep(15.0)

    with_two_lines(scenario)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_fault_15_both_lines_clogged_and_freed_in_any_order_recover(order: tuple[int, int]) -> None:
    """Here readers are told, for there is no line left; what they are told is judged as always."""

    async def scenario(scene: Scene) -> None:
        links = [scene.world.wellness.links[session] for session in scene.world.wellness.sessions()]
        assert len(links) == 2
        for link in links:
            link.change(blackhole=True)
            await trio.sleep(0.7)
        await scene.until(scene.stale, 4.0)
        for place in order:
            links[place].change(blackhole=False)
            await trio.sleep(0.7)
        await scene.until(scene.live, 15.0)

    run_in_world(scenario, settings=TWO)


@pytest.mark.parametrize("how", [{"mode": "abort"}, {"mode": "close", "code": 1012}, {"mode": "close", "code": 1001}])
def test_fault_05_32_a_line_that_ends_is_restored_and_the_other_untouched(how: dict[str, object]) -> None:
    """1012: respected, jittered; other members untouched."""

    async def scenario(pair: Pair) -> None:
        for which in (0, 1, 0, 1):
            victim, other = pair.sessions[which], pair.sessions[1 - which]
            pair.scene.fault("drop_connection", session=victim, **how)
            await trio.sleep(5.0)
            await pair.whole_again()
            assert other in pair.sessions
            await trio.sleep(3.0)

    with_two_lines(scenario)


@pytest.mark.parametrize("everywhere", [True, False])
def test_fault_32_announced_maintenance_ends_no_line_that_has_not_been_replaced(everywhere: bool) -> None:
    """Make before break: the new connection brings everything before the old one goes."""

    async def scenario(pair: Pair) -> None:
        before = list(pair.sessions)
        told = {} if everywhere else {"session": before[0]}
        pair.apply("announce_maintenance", seconds=45.0, **told)
        await trio.sleep(44.0)
        gone = before if everywhere else before[:1]
        assert not set(gone) & set(pair.sessions), "they left before they were sent away"
        await trio.sleep(30.0)
        assert len(pair.scene.world.exchange.sessions) <= 2
        assert len(pair.scene.recorder.dials()) <= 2 + 2 * len(gone), "and once was enough"

    with_two_lines(scenario)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("command", ["drop_update", "reorder_updates", "corrupt_checksum", "duplicate_update"])
def test_fault_38_to_41_a_broken_update_of_one_line_costs_that_line_its_book_and_readers_nothing(
    command: str, which: int
) -> None:
    """Its book is asked for anew; readers go on with the other line's."""

    async def scenario(pair: Pair) -> None:
        symbol, session = pair.scene.symbols[0], pair.sessions[which]
        record = pair.apply(command, symbol=symbol, session=session)
        await pair.scene.until(lambda: record.hits, 10.0)
        hit = record.first_hit_s or 0.0
        await trio.sleep(3.0)
        asked = [one for one in pair.asked(hit) if one[1] == session]
        if command == "duplicate_update":
            assert asked == []
        else:
            assert [what for _, _, what, *_ in asked] == ["unsubscribe", "subscribe"]
            assert asked[0][0] - hit <= 2.0
        await trio.sleep(12.0)

    with_two_lines(scenario)


def test_fault_41_three_wrong_checksums_in_a_minute_raise_an_alarm_and_readers_see_true_books_all_the_while() -> None:
    """After 3 in 60 s: alarm; what readers see comes from the other line."""

    async def scenario(pair: Pair) -> None:
        start, symbol, session = pair.scene.now, pair.scene.symbols[0], pair.sessions[0]
        for _ in range(5):
            record = pair.apply("corrupt_checksum", symbol=symbol, session=session)
            await pair.until_hit(record)
            await trio.sleep(1.0)
        alarms = [event for _, event in pair.scene.recorder.all(Resync, start) if event.alarm]
        assert alarms
        assert {alarm.symbol for alarm in alarms} == {symbol}

    with_two_lines(scenario)


def test_fault_42_a_level_that_no_checksum_covers_is_found_wrong_by_the_other_line() -> None:
    """I-3: it is not called verified, and it is set right within a minute."""

    async def scenario(pair: Pair) -> None:
        scene, symbol = pair.scene, pair.scene.symbols[0]
        deep: list[BookUpdate] = []
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                async with scene.market.feed.subscribe(Book(symbol, depth=25), on_full=Bounded(10_000)) as events:
                    async for event in events:
                        deep.extend([event] if isinstance(event, BookUpdate) else [])

            nursery.start_soon(read)
            await scene.until(lambda: deep and deep[-1].book.verified_levels == 25, 65.0)
            await trio.sleep(15.0)
            record = pair.apply("falsify_level", symbol=symbol, session=pair.sessions[0])
            assert record.hits == 1
            at = scene.now
            await trio.sleep(1.0)
            await scene.until(lambda: [one for one in pair.asked(at) if symbol in one[4]], 60.0)
            for update in deep:
                if update.received_s >= at and update.book.verified_levels > 10:
                    assert _deep_is_true(scene, update)
            await trio.sleep(12.0)
            await scene.until(lambda: deep[-1].book.verified_levels == 25 and _deep_is_true(scene, deep[-1]), 65.0)
            nursery.cancel_scope.cancel()
        await trio.sleep(12.0)

    with_two_lines(scenario)


def _deep_is_true(scene: Scene, update: BookUpdate) -> bool:
    """Whether every level shown is the venue's, as far as it is the venue's present book."""
    true = scene.world.exchange.book_state(update.symbol, update.book.verified_levels)
    if true["checksum"] != update.book.checksum or true["timestamp"] != update.venue_time:
        return True  # of the past: what was true then is known to ten levels only
    shown = [[f"{level.price:f}", f"{level.qty:f}"] for level in update.book.bids]
    return shown == true["bids"]


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("channel", ["book", "trade", "ticker"])
def test_fault_45_a_subscription_that_falls_silent_is_healed_alone(channel: str, which: int) -> None:
    """Detected within 3.5 s of the first message it lacks; that one is asked for anew, and nothing else."""

    async def scenario(pair: Pair) -> None:
        scene, symbol, session = pair.scene, pair.scene.symbols[0], pair.sessions[which]
        start = scene.now
        record = pair.apply("silence", session=session, symbol=symbol, channel=channel, seconds=12.0)
        await scene.until(lambda: record.hits, 20.0)
        await scene.until(lambda: [one for one in pair.asked(start) if one[1] == session], 10.0)
        (at, _, _, asked_channel, symbols), *_ = [one for one in pair.asked(start) if one[1] == session]
        assert at - (record.first_hit_s or 0.0) <= MUTE_S
        assert (asked_channel, symbols) == (channel, (symbol,))
        await trio.sleep(15.0)
        assert {(one[3], one[4]) for one in pair.asked(start) if one[1] == session} == {(channel, (symbol,))}
        assert scene.line_ends(start) == []

    with_two_lines(scenario)


def test_fault_45_a_subscription_that_stays_silent_is_moved_to_a_line_that_has_room() -> None:
    """Asking anew does not help where the fault is the connection's."""

    async def scenario(scene: Scene) -> None:
        pair, symbol = Pair(scene), scene.symbols[0]
        carrying = pair.carrying("book", symbol)
        assert len(pair.sessions) == 3
        assert len(carrying) == 2
        record = pair.apply("silence", session=carrying[0], symbol=symbol, channel="book", seconds=300.0)
        await pair.until_hit(record)
        await scene.until(lambda: set(pair.carrying("book", symbol)) & (set(pair.sessions) - set(carrying)), 30.0)
        await scene.until(lambda: carrying[0] not in pair.carrying("book", symbol), 30.0)
        assert len(pair.carrying("book", symbol)) == 2
        assert scene.line_ends() == []

    three = Config(pool=PoolSettings(max_connections=4, redundancy=2))
    run_in_world(scenario, settings=attrs.evolve(SETTINGS, config=three))


def test_fault_45_a_line_with_heartbeats_and_no_data_is_found_by_the_other() -> None:
    """Connected but mute: within 3.5 s of the first message it lacks."""

    async def scenario(pair: Pair) -> None:
        scene, session = pair.scene, pair.sessions[0]
        start = scene.now
        record = pair.apply("silence", session=session, kind="data", seconds=300.0)
        await scene.until(lambda: record.hits, 5.0)

        def answered() -> bool:
            return session not in pair.sessions or any(one[1] == session for one in pair.asked(start))

        await scene.until(answered, 10.0)
        assert scene.now - (record.first_hit_s or 0.0) <= MUTE_S
        await scene.until(lambda: session not in pair.sessions, 60.0)

    with_two_lines(scenario)


@pytest.mark.parametrize("rate", [0.02, 0.2])
def test_fault_45_a_quiet_market_is_neither_stale_nor_asked_for_anew(rate: float) -> None:
    """Heartbeats, and nothing to tell: that is all right."""

    async def scenario(pair: Pair) -> None:
        start = pair.scene.now
        await trio.sleep(280.0)  # before the time at which deeper levels are asked for anew
        assert pair.asked(start) == []
        assert pair.scene.line_ends(start) == []
        for symbol in pair.scene.symbols:
            for channel in ("book", "trade", "ticker"):
                assert pair.scene.notices(channel, symbol, start) == []

    with_two_lines(scenario, rate=rate)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("size", [2, 3, 5])
def test_fault_74_a_line_that_batches_differently_changes_nothing_for_readers(size: int, which: int) -> None:
    """Every update is shown by the line that brings each by itself, whichever of the two it is."""

    async def scenario(pair: Pair) -> None:
        before = pair.skipped
        pair.apply("batch_differently", session=pair.sessions[which], seconds=30.0, size=size, linger=0.4)
        await trio.sleep(45.0)
        assert pair.skipped == before

    with_two_lines(scenario)


def test_fault_74_lines_that_all_batch_differently_show_true_books_in_order() -> None:
    """No line brings everything, so not all of it is shown; what is shown is the venue's."""

    async def scenario(pair: Pair) -> None:
        start = pair.scene.now
        pair.apply("batch_differently", seconds=30.0, linger=0.4)
        await trio.sleep(25.0)
        for symbol in pair.scene.symbols:
            pair.scene.assert_untouched(symbol, start)
        await trio.sleep(20.0)

    with_two_lines(scenario)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("style", ["spaced", "reordered", "extended"])
def test_fault_74_other_bytes_of_the_same_content_change_nothing_for_readers(style: str, which: int) -> None:
    """Bytes need not be equal; and what is equal in content is shown once."""

    async def scenario(pair: Pair) -> None:
        start = pair.scene.now
        pair.apply("word_differently", session=pair.sessions[which], seconds=20.0, style=style)
        await trio.sleep(25.0)
        assert pair.asked(start) == []
        for symbol in pair.scene.symbols:
            pair.scene.assert_untouched(symbol, start)

    with_two_lines(scenario)
