"""The venue goes away on purpose and comes back: nobody is alarmed, nothing grows, and all of it ends by itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import attrs
import pytest
import trio

from kraken_engine import (
    Book,
    BookUpdate,
    Bounded,
    Config,
    Event,
    LineDown,
    LineUp,
    Market,
    ModeChanged,
    OrderShape,
    Refused,
    Resync,
    SourceChanged,
    Stale,
    Ticker,
    Trades,
)
from kraken_engine.config import BackoffSettings, PoolSettings
from kraken_engine.model import VenueMode
from kraken_engine.normalise.events import VenueStatus
from kraken_engine.sim.deterministic import run
from kraken_engine.sim.network import Dialing
from kraken_engine.sim.world import World, WorldSettings, open_world

SETTINGS = WorldSettings(symbols=2, rate=20.0, backup=True, config=Config(pool=PoolSettings(max_connections=3)))
AWAY = "the venue is in maintenance"

E = TypeVar("E", bound=Event)


@attrs.define
class Scene:
    """A world, a market on two lines, and everything its reader was told, with the time."""

    world: World
    market: Market
    told: list[tuple[float, Event]] = attrs.field(factory=list)

    @property
    def symbol(self) -> str:
        return self.world.exchange.symbols[0]

    def mode(self, mode: str) -> float:
        """Let the venue change its state, and return when."""
        self.world.exchange.faults.set_status(mode=mode, now=trio.current_time())
        return trio.current_time()

    def cut(self) -> None:
        self.world.network.take_down(self.world.venue_address)

    def mend(self) -> None:
        self.world.network.set_dialing(self.world.venue_address, Dialing.ACCEPT)

    def all(self, kind: type[E], since: float = 0.0) -> list[E]:
        return [event for at, event in self.told if isinstance(event, kind) and at >= since]

    @contextmanager
    def watched(self) -> Iterator[list[Event]]:
        """Note everything that is published."""
        seen: list[Event] = []
        stop = self.market.publisher.observe(lambda _, event: seen.append(event))
        try:
            yield seen
        finally:
            stop()


def in_scene(play: Callable[[Scene], Awaitable[None]], settings: WorldSettings = SETTINGS) -> None:
    async def main() -> None:
        async with open_world(1, settings) as world, world.open_market() as market:
            scene = Scene(world, market)
            topics = (Ticker(scene.symbol), Trades(scene.symbol), Book(scene.symbol), market.health)

            async def read() -> None:
                async with market.feed.subscribe(*topics, on_full=Bounded()) as events:
                    async for event in events:
                        scene.told.append((trio.current_time(), event))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                await trio.sleep(5)
                await play(scene)
                nursery.cancel_scope.cancel()

    run(1, main, horizon_s=1000)


def test_each_change_of_the_state_is_told_once_in_band_with_what_it_allows() -> None:
    async def play(scene: Scene) -> None:
        start = trio.current_time()
        for mode in ("maintenance", "cancel_only", "post_only", "online"):
            scene.mode(mode)
            await trio.sleep(5)
        changes = scene.all(ModeChanged, start)
        assert [(one.before, one.mode, one.orders, one.cancels, one.away) for one in changes] == [
            ("online", "maintenance", "no new orders", False, AWAY),
            ("maintenance", "cancel_only", "no new orders", True, None),
            ("cancel_only", "post_only", "limit orders that only rest (post only)", True, None),
            ("post_only", "online", "all orders", True, None),
        ]

    in_scene(play)


def test_what_may_be_asked_of_the_venue_follows_its_state_at_once() -> None:
    limit, resting = OrderShape(limit=True), OrderShape(limit=True, post_only=True)

    async def play(scene: Scene) -> None:
        market, seen = scene.market, []
        for mode in ("online", "maintenance", "cancel_only", "post_only", "online"):
            scene.mode(mode)
            await trio.sleep(1)
            permits = (
                market.allows(scene.symbol, limit),
                market.allows(scene.symbol, resting),
                market.allows_cancel(scene.symbol),
            )
            seen.append((mode, *map(bool, permits)))
        assert seen == [
            ("online", True, True, True),
            ("maintenance", False, False, False),
            ("cancel_only", False, False, True),
            ("post_only", False, True, True),
            ("online", True, True, True),
        ]
        assert market.allows("XBT/EVERYTHING", limit).refusal == "XBT/EVERYTHING: the venue lists no such symbol"
        scene.mode("maintenance")
        await trio.sleep(1)
        assert market.allows(scene.symbol, limit).refusal == f"{AWAY}: no new orders"

    in_scene(play)


def test_pauses_do_not_grow_while_the_venue_is_away_and_its_return_ends_the_one_under_way() -> None:
    """The longest pause is a minute here, and REST says within 15 s that the venue is back."""
    config = attrs.evolve(SETTINGS.config, backoff=BackoffSettings(cap_s=60.0))

    async def play(scene: Scene) -> None:
        gone = scene.mode("maintenance")
        await trio.sleep(1)
        scene.cut()
        await trio.sleep(300)
        downs = scene.all(LineDown, gone)
        assert len(downs) > 8
        assert {down.failures for down in downs} == {0}
        assert all(30.0 <= down.retry_in_s <= 61.0 for down in downs)
        assert scene.all(LineUp, gone) == []
        back = scene.mode("online")
        scene.mend()
        await trio.sleep(20)
        assert len(scene.all(LineUp, back)) == 2

    in_scene(play, attrs.evolve(SETTINGS, config=config))


def test_a_floor_the_venue_set_is_kept_although_it_is_back() -> None:
    async def play(scene: Scene) -> None:
        scene.mode("maintenance")
        await trio.sleep(1)
        scene.world.exchange.faults.refuse_upgrade(now=trio.current_time(), status=429, times=2)
        scene.world.network.reset(scene.world.venue_address)
        refused = trio.current_time()
        await trio.sleep(8)
        scene.mode("online")
        ups: list[float] = []
        while len(ups) < 2:  # noqa: ASYNC110 - virtual time
            await trio.sleep(1)
            ups = [at for at, event in scene.told if isinstance(event, LineUp) and at > refused]
        assert min(ups) - refused >= 30.0

    in_scene(play)


def test_what_is_stale_meanwhile_names_the_maintenance_and_nobody_goes_over_until_the_venue_is_back() -> None:
    async def play(scene: Scene) -> None:
        gone = scene.mode("maintenance")
        await trio.sleep(1)
        assert scene.market.feed.latest(Book(scene.symbol)).stale is None, "its book stands still, and is known"
        scene.cut()
        await trio.sleep(60)
        stale = scene.all(Stale, gone)
        assert {event.channel for event in stale} == {"ticker", "trade", "book"}
        assert all(event.why.startswith(f"{AWAY}: ") for event in stale)
        assert scene.market.failover.switches() == ()
        assert scene.all(SourceChanged) == []
        back = scene.mode("online")
        await trio.sleep(22)
        assert {event.channel for event in scene.all(SourceChanged, back)} == {"ticker", "trade", "book"}
        scene.mend()
        await trio.sleep(60)
        assert scene.market.feed.latest(Book(scene.symbol)).value.book.verified

    in_scene(play)


def test_a_maintenance_that_only_rest_can_tell_of_is_found_out_by_asking() -> None:
    """Lines and REST go down together, as at the beginning of a real one; then the state alone can be had."""

    async def play(scene: Scene) -> None:
        scene.cut()
        scene.world.network.take_down(scene.world.rest_address)
        await trio.sleep(20)
        scene.mode("maintenance")
        before = scene.market.modes.away
        scene.world.network.set_dialing(scene.world.rest_address, Dialing.ACCEPT)
        await trio.sleep(20)
        assert (before, scene.market.modes.away) == (None, AWAY)
        assert [change.mode for change in scene.all(ModeChanged)] == ["maintenance"]
        with pytest.raises(Stale, match=AWAY):
            scene.market.feed.latest(Ticker(scene.symbol))

    in_scene(play)


def test_a_return_that_only_a_line_can_tell_of_ends_what_rest_had_told_of() -> None:
    """The line says what it had said before: nobody but REST had told of anything else in between."""

    async def play(scene: Scene) -> None:
        modes, states = scene.market.failover.modes, list[str | None]()
        scene.cut()
        scene.world.network.take_down(scene.world.rest_address)
        scene.mode("maintenance")
        await trio.sleep(20)
        scene.world.network.set_dialing(scene.world.rest_address, Dialing.ACCEPT)
        await trio.sleep(20)
        states.append(modes.away)
        scene.world.network.take_down(scene.world.rest_address)
        scene.mode("online")
        scene.mend()
        await trio.sleep(20)
        states.append(modes.away)
        assert states == [AWAY, None]
        assert scene.market.feed.latest(Ticker(scene.symbol)).stale is None

    in_scene(play)


def test_what_the_backup_shows_is_stale_in_time_although_only_the_state_is_asked_for() -> None:
    async def play(scene: Scene) -> None:
        scene.cut()
        await trio.sleep(10)
        scene.mode("maintenance")
        words, now = "EService:Unavailable", trio.current_time()
        scene.world.exchange.faults.rest_error(words, now=now, path="/0/public/Ticker", times=20)
        await trio.sleep(60)
        assert scene.market.failover.modes.away == AWAY
        last = max(event.received_s for event in scene.all(BookUpdate))
        stale = [at for at, event in scene.told if isinstance(event, Stale) and event.channel == "book" and at > last]
        assert stale
        assert stale[0] - last <= 12.1

    in_scene(play)


def test_a_maintenance_that_a_line_tells_of_again_is_believed_although_rest_said_otherwise() -> None:
    async def play(scene: Scene) -> None:
        modes, states = scene.market.failover.modes, list[str | None]()
        scene.mode("maintenance")
        await trio.sleep(1)
        online = VenueStatus(at_s=trio.current_time(), mode=VenueMode.ONLINE, text="online")
        scene.market.failover._continuity.sources.announce(online)
        states.append(modes.away)
        scene.world.network.reset(scene.world.venue_address)
        await trio.sleep(5)
        states.append(modes.away)
        assert states == [None, AWAY]

    in_scene(play)


@pytest.mark.parametrize("mode", ["maintenance", "online"])
def test_alarms_are_held_back_while_the_venue_is_away(mode: str) -> None:
    """A subscription nobody answers, and a snapshot that does not come: an alarm, but not during maintenance."""

    async def play(scene: Scene) -> None:
        second = scene.world.exchange.symbols[1]
        scene.mode(mode)
        await trio.sleep(1)
        now = trio.current_time()
        scene.world.exchange.faults.ignore_subscriptions(now=now, times=1000, symbol=second)
        with scene.watched() as seen:
            async with scene.market.feed.subscribe(Ticker(second)):
                await trio.sleep(60)
            finals = [event for event in seen if isinstance(event, Refused) and event.final]
            assert bool(finals) is (mode == "online")
        scene.world.exchange.faults.end_all(now=trio.current_time())
        scene.mode(mode)
        await trio.sleep(10)
        for _ in range(40):
            scene.world.exchange.faults.delay_snapshot(second, now=trio.current_time(), seconds=1000)
        with scene.watched() as seen:
            async with scene.market.feed.subscribe(Book(second)):
                await trio.sleep(90)
            resyncs = [event for event in seen if isinstance(event, Resync) and event.symbol == second]
            assert len(resyncs) > 4
            assert any(event.alarm for event in resyncs) is (mode == "online")

    in_scene(play)


def test_a_subscription_made_during_maintenance_is_live_soon_after_it() -> None:
    async def play(scene: Scene) -> None:
        second = scene.world.exchange.symbols[1]
        scene.mode("maintenance")
        await trio.sleep(1)
        scene.world.exchange.faults.ignore_subscriptions(now=trio.current_time(), times=1000, symbol=second)
        async with scene.market.feed.subscribe(Book(second)):
            await trio.sleep(120)
            scene.world.exchange.faults.end_all(now=trio.current_time())
            await trio.sleep(12)
            assert scene.market.feed.latest(Book(second)).value.book.verified

    in_scene(play)
