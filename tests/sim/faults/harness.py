"""A market under one fault: opened in a world of its own, recorded from a consumer's side, and judged at the end.

Whatever a test asserts by itself, every scenario shows that no book was delivered which the venue never had, that no
price came between a ``Stale`` and its ``Live``, that the books are the venue's in the end, and that nothing stays open.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import TypeVar, cast

import attrs
import trio

from kraken_engine import (
    Book,
    BookUpdate,
    Bounded,
    Event,
    Gap,
    LineDown,
    Live,
    Market,
    MarketEvent,
    Stale,
    Ticker,
    Trades,
)
from kraken_engine.feed.topics import Topic
from kraken_engine.sim.clock import WALL_START_NS
from kraken_engine.sim.deterministic import run
from kraken_engine.sim.link import Link
from kraken_engine.sim.trace import Fact
from kraken_engine.sim.world import World, WorldSettings, open_world

__all__ = ["HEALED", "SETTINGS", "Recorder", "Scene", "age_s", "gaps_between", "run_in_world"]

E = TypeVar("E")

SETTINGS = WorldSettings(symbols=2, rate=20.0)
HEALED = ["Stale", "Gap", "Live", "BookUpdate"]
"""What a reader of a book is told when updates were lost: nothing newer comes before the gap was told."""
WARM_UP_S = 5.0
POLL_S = 0.01


@attrs.define
class Recorder:
    """What a consumer of every stream was told, and what the network did, each with its virtual time."""

    events: list[tuple[float, Event]] = attrs.field(factory=list[tuple[float, Event]])
    network: list[tuple[float, str, tuple[Fact, ...]]] = attrs.field(factory=list[tuple[float, str, tuple[Fact, ...]]])

    def note(self, kind: str, facts: tuple[Fact, ...]) -> None:
        """Take one event of the trace."""
        self.network.append((trio.current_time(), kind, facts))

    def dials(self, since: float = 0.0) -> list[float]:
        """Return when connections were attempted."""
        return [at for at, kind, _ in self.network if kind == "dial" and at >= since]

    def dialled(self) -> list[str]:
        """Return the addresses to which connections were attempted, each once."""
        return list(dict.fromkeys(str(facts[0]) for _, kind, facts in self.network if kind == "dial"))

    def last(self, kind: str, label: str) -> float:
        """Return when the network last did ``kind`` to the thing called ``label``."""
        return max(at for at, done, facts in self.network if done == kind and facts[0] == label)

    def all(self, kind: type[E], since: float = 0.0) -> list[tuple[float, E]]:
        """Return the events of a kind with their times."""
        return [(at, event) for at, event in self.events if isinstance(event, kind) and at >= since]


@attrs.define(kw_only=True)
class Scene:
    """A market that is live, and everything around it."""

    world: World
    market: Market
    recorder: Recorder = attrs.field(factory=Recorder)
    forged: dict[str, None] = attrs.field(factory=dict[str, None])
    """Symbols whose books a test writes itself: they are not compared with the venue's."""

    @property
    def now(self) -> float:
        """Virtual seconds."""
        return trio.current_time()

    @property
    def symbols(self) -> list[str]:
        """The symbols of the venue."""
        return self.world.exchange.symbols

    @property
    def session(self) -> int:
        """The venue's session of the connection the market has now."""
        return list(self.world.exchange.sessions)[-1]

    @property
    def link(self) -> Link:
        """The connection the market has now."""
        return [link for link in self.world.network.links_of(self.world.venue_address) if not link.client.closed][-1]

    def fault(self, name: str, **params: object) -> None:
        """Give the venue a fault command."""
        self.world.exchange.faults.apply(name, params, self.now)

    def book_events(self, symbol: str, since: float = 0.0) -> list[tuple[float, Event]]:
        """Return what a reader of a book was told."""
        return [(at, event) for at, event in self.recorder.events if at >= since and _of_book(event) == symbol]

    def story(self, symbol: str, since: float = 0.0) -> list[str]:
        """Return the kinds of a book's events in order, repetitions left out."""
        kinds = (type(event).__name__ for _, event in self.book_events(symbol, since))
        return [kind for kind, _ in itertools.groupby(kinds)]

    def notices(self, channel: str, symbol: str, since: float) -> list[str]:
        """Return the kinds of the notices that readers of one stream were told, in order."""
        return [
            type(event).__name__
            for at, event in self.recorder.events
            if at >= since
            and isinstance(event, (Stale, Gap, Live))
            and (event.channel, event.symbol) == (channel, symbol)
        ]

    def assert_untouched(self, symbol: str, since: float) -> None:
        """Check that the reader of a book was told of no trouble, and of its prices all the while."""
        assert self.story(symbol, since) == ["BookUpdate"]

    def first(self, kind: type[E], symbol: str, since: float) -> tuple[float, E]:
        """Return when a reader of a book was first told an event of ``kind``, and the event."""
        return next((at, event) for at, event in self.book_events(symbol, since) if isinstance(event, kind))

    def line_ends(self, since: float = 0.0) -> list[str]:
        """Return why connections, or attempts at one, ended."""
        return [event.reason for _, event in self.recorder.all(LineDown, since)]

    def told(self, kind: type[Event], since: float) -> bool:
        """Whether every book's reader was told an event of ``kind``: states may pass quicker than anybody polls."""
        return all(any(isinstance(event, kind) for _, event in self.book_events(s, since)) for s in self.symbols)

    def live(self) -> bool:
        """Whether every book is current."""
        return all(self.market.publisher.freshness.is_live(("book", symbol)) for symbol in self.symbols)

    def stale(self) -> bool:
        """Whether every book is known to be stale."""
        return all(self.market.publisher.freshness.stale(("book", symbol)) for symbol in self.symbols)

    async def until(self, condition: Callable[[], object], within_s: float) -> float:
        """Wait for a condition and return how long that took; it has to come true ``within_s`` seconds."""
        start = self.now
        while not condition():
            assert self.now - start <= within_s, f"not within {within_s} s; line ends: {self.line_ends()[-3:]}"
            await trio.sleep(POLL_S)
        return self.now - start

    async def next_line_down(self, since: float, *, within_s: float) -> tuple[float, LineDown]:
        """Return when the line was first reported down after ``since``, and the report."""
        await self.until(lambda: self.recorder.all(LineDown, since), within_s)
        return self.recorder.all(LineDown, since)[0]

    async def assert_books_equal(self) -> None:
        """Wait until no update is under way, and compare every book with the venue's, level for level."""
        await self.until(lambda: all(self._equal(symbol) for symbol in self.symbols if symbol not in self.forged), 5.0)

    def _equal(self, symbol: str) -> bool:
        if self.market.publisher.freshness.stale(("book", symbol)) is not None:
            return False
        book = self.market.feed.latest(Book(symbol)).value.book
        true = self.world.exchange.book_state(symbol)
        return book.checksum == true["checksum"] and all(
            [(level.price, level.qty) for level in mine] == [(Decimal(price), Decimal(qty)) for price, qty in theirs]
            for mine, theirs in (
                (book.bids, cast("list[tuple[str, str]]", true["bids"])),
                (book.asks, cast("list[tuple[str, str]]", true["asks"])),
            )
        )

    def judge(self) -> None:
        """Check what must hold whatever happened."""
        for symbol in self.symbols:
            stale = False
            for at, event in self.book_events(symbol):
                stale = isinstance(event, Stale) or (stale and not isinstance(event, Live))
                if isinstance(event, BookUpdate):
                    assert not stale, f"{at}: {symbol} delivered while stale"
                if isinstance(event, BookUpdate) and symbol not in self.forged:
                    had = self.world.exchange.ever_had(symbol, event.book.checksum, event.venue_time)
                    assert had, f"{at}: {symbol} was never like this"


def run_in_world(
    scenario: Callable[[Scene], Awaitable[None]],
    *,
    seed: int = 1,
    settings: WorldSettings = SETTINGS,
    horizon_s: float = 3600.0,
) -> Recorder:
    """Run ``scenario`` once the market of world ``seed`` has been live for some seconds; judge it, and its end."""

    async def main() -> Recorder:
        async with open_world(seed, settings) as world:
            recorder = Recorder()
            world.trace.observe(recorder.note)
            async with world.open_market() as market, trio.open_nursery() as nursery:
                scene = Scene(world=world, market=market, recorder=recorder)
                nursery.start_soon(_record, scene)
                await scene.until(scene.live, WARM_UP_S)
                await trio.sleep(WARM_UP_S)
                await scenario(scene)
                await scene.until(scene.live, 30.0)
                await scene.assert_books_equal()
                nursery.cancel_scope.cancel()
            scene.judge()
            assert world.network.open_streams("client") == []
            return recorder

    return run(seed, main, horizon_s=horizon_s)


async def _record(scene: Scene) -> None:
    topics: list[Topic] = [topic(symbol) for symbol in scene.symbols for topic in (Book, Ticker, Trades)]
    async with scene.market.feed.subscribe(*topics, scene.market.health, on_full=Bounded(100_000)) as events:
        async for event in events:
            scene.recorder.events.append((trio.current_time(), event))


def gaps_between(times: list[float]) -> Iterator[float]:
    """Return the pauses between consecutive times."""
    return (later - earlier for earlier, later in itertools.pairwise(times))


def age_s(at: float, event: MarketEvent) -> float:
    """Return how old an event was when it was delivered at ``at``, by the venue's own time; 0 when it gives none."""
    if event.venue_time is None:
        return 0.0
    return WALL_START_NS / 1e9 + at - datetime.fromisoformat(event.venue_time).timestamp()


def _of_book(event: Event) -> str | None:
    """Return the symbol whose book an event is about."""
    if isinstance(event, MarketEvent):
        return event.symbol if isinstance(event, BookUpdate) else None
    if isinstance(event, (Stale, Gap, Live)):
        return event.symbol if event.channel == "book" else None
    return None
