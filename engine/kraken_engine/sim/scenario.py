"""One run of a world with an engine in it: readers, faults, judges, first safety and then liveness.

::

    0 s        the market opens, permanent readers begin; nothing is wrong, and nothing may be called wrong
    10 s       the faults of the plan, for its whole horizon, while readers come and go (safety)
    horizon    every fault ends; within 30 s everything has to be live, true and complete again (liveness)
    then       10 s of calm, in which nothing may be called wrong; the market closes and leaves nothing behind

The first violation ends the run. Judges are in :mod:`kraken_engine.sim.judges`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import attrs
import trio

from kraken_engine.errors import SlowConsumer, Stale
from kraken_engine.feed.subscription import Bounded, Conflate, DropOldest, OnFull, Subscription
from kraken_engine.feed.topics import Book, Candles, Health, Ticker, Topic, Trades
from kraken_engine.normalise.book_view import BookUpdate
from kraken_engine.normalise.events import Candle, ClockNotice, Event, Live, MarketEvent, TickerUpdate, Trade
from kraken_engine.runtime import Rng, seeded_rng
from kraken_engine.sim.figures import Figures
from kraken_engine.sim.judges.books import BookJudge
from kraken_engine.sim.judges.continuity import ContinuityJudge
from kraken_engine.sim.judges.coverage import Coverage
from kraken_engine.sim.judges.currency import CurrencyJudge
from kraken_engine.sim.judges.delivery import DeliveryJudge, check_sizes
from kraken_engine.sim.judges.evidence import name_of
from kraken_engine.sim.judges.healing import HealingJudge
from kraken_engine.sim.judges.lines import LineJudge
from kraken_engine.sim.judges.readership import Readership
from kraken_engine.sim.judges.rotation import RotationJudge
from kraken_engine.sim.judges.streams import Condition, StreamJudge
from kraken_engine.sim.judges.timing import TimingJudge
from kraken_engine.sim.judges.trades import Tape, TradeJudge
from kraken_engine.sim.judges.verdict import Verdict
from kraken_engine.sim.plan import Catalogue, Plan
from kraken_engine.sim.playing import play
from kraken_engine.sim.trace import Fact, Trace
from kraken_engine.sim.world import World
from kraken_engine.state.freshness import StreamKey
from kraken_engine.tasks.market import Market

__all__ = ["AROUND_S", "REFUSED_S", "Scenario"]

CALM_S = 10.0
RECOVERY_S = 30.0
AROUND_S = 2 * CALM_S + RECOVERY_S
"""Virtual seconds a run takes beside the horizon of its plan, unless the limit of attempts makes it wait."""

REFUSED_S = 70.0
"""The longest pause after a refused upgrade: a ``Retry-After`` of a minute, and the jitter on top."""

SAMPLE_S = 0.25
SAMPLES_PER_LOOK = 4
SAMPLES_PER_COUNT = 20
SLOW_CAPACITY = 40
JOINERS = 2
DEEP = 25
"""Depth to which one symbol is always read: levels that no checksum covers."""


@attrs.define(eq=False)
class Scenario:
    """Everything around one engine in one world."""

    world: World
    plan: Plan
    faults: Catalogue
    verdict: Verdict
    market_trace: Trace = attrs.field(factory=Trace, init=False)
    """What was published, alone: it must not depend on the wall clock."""
    figures: Figures = attrs.field(factory=Figures, init=False)
    """Times that were taken."""
    _published: StreamJudge = attrs.field(init=False)
    _books: BookJudge = attrs.field(init=False)
    _lines: LineJudge = attrs.field(init=False)
    _currency: CurrencyJudge = attrs.field(init=False)
    _coverage: Coverage = attrs.field(init=False)
    _trades: TradeJudge = attrs.field(init=False)
    _tape: Tape = attrs.field(init=False)
    _continuity: ContinuityJudge = attrs.field(init=False)
    _timing: TimingJudge = attrs.field(init=False)
    _healing: HealingJudge = attrs.field(init=False)
    _rotation: RotationJudge = attrs.field(init=False)
    _readership: Readership = attrs.field(factory=Readership, init=False)
    _deliveries: list[DeliveryJudge] = attrs.field(factory=list[DeliveryJudge], init=False)
    _subscriptions: dict[str, tuple[Subscription, int]] = attrs.field(
        factory=dict[str, tuple[Subscription, int]], init=False
    )
    _permanent: dict[StreamKey, None] = attrs.field(factory=dict[StreamKey, None], init=False)

    def __attrs_post_init__(self) -> None:
        world, verdict = self.world, self.verdict
        self._tape = Tape(world.exchange)
        self._permanent = {topic.key: None for symbol in self._kept_symbols() for topic in _all_topics(symbol)}
        self._published = StreamJudge(reader="published", verdict=verdict)
        self._books = BookJudge(world=world, verdict=verdict)
        self._lines = LineJudge(world=world, verdict=verdict)
        self._coverage = Coverage(world=world)
        self._trades = TradeJudge(reader="published", tape=self._tape, verdict=verdict)
        self._currency = CurrencyJudge(
            world=world, verdict=verdict, streams=self._published, keys=tuple(self._permanent), tape=self._tape
        )
        self.figures.on_broken = lambda what: verdict.fail("T-1", what)
        self._continuity = ContinuityJudge(world=world, verdict=verdict, figures=self.figures, keys=self._permanent)
        self._timing = TimingJudge(
            world=world,
            verdict=verdict,
            figures=self.figures,
            lines=self._lines,
            readership=self._readership,
            kept=self._kept_symbols(),
        )
        self._healing = HealingJudge(world=world, figures=self.figures, lines=self._lines, readership=self._readership)
        self._rotation = RotationJudge(world=world, verdict=verdict, keys=self._permanent)
        world.trace.observe(self._observe_trace)

    async def run(self) -> None:
        """Run everything to the end, or to the first violation.

        Raises:
            Exception: whatever comes out of the engine; that is a violation too.
        """
        with trio.CancelScope() as scope:
            self.verdict.on_violation(scope.cancel)
            async with self.world.open_market() as market:
                await self._run_in(market)
        if self.verdict.violation is None:
            self._check_leaks()

    async def _run_in(self, market: Market) -> None:
        stop = market.publisher.observe(self._observe)
        async with trio.open_nursery() as nursery:
            self._start_readers(market, nursery)
            nursery.start_soon(self._sample, market)
            await trio.sleep(CALM_S)
            self._published.calm = False
            await self._break_things(market)
            await self._recover()
            self._published.calm = True
            await trio.sleep(CALM_S)
            nursery.cancel_scope.cancel()
        self._rotation.over = True
        stop()

    # -- faults

    async def _break_things(self, market: Market) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(JOINERS):
                nursery.start_soon(self._join_and_leave, market, number)
            await play(self.plan, partial(self.faults.apply, self.world), nursery)

    async def _recover(self) -> None:
        """Heal the world and demand progress: random healing would hide an engine that is stuck."""
        world = self.world
        world.network.heal()
        world.exchange.faults.end_all(now=trio.current_time())
        world.clock.drift(0.0)
        world.consumers_sleep_until = 0.0
        self._currency.healed()
        deadline = max(trio.current_time() + self._asked_to_wait_s(), self._lines.earliest_attempt()) + RECOVERY_S
        problems: list[str] = []
        since_well = 0
        while since_well < SAMPLES_PER_LOOK and trio.current_time() < deadline:
            await trio.sleep(SAMPLE_S)
            problems = self._currency.unrecovered()
            since_well = 0 if problems else since_well + 1
        if problems:
            shown = "; ".join(problems[:5])
            self.verdict.fail("L-1", f"expected everything well {RECOVERY_S:g} s after the last fault: {shown}")
        await trio.sleep_until(deadline)

    def _asked_to_wait_s(self) -> float:
        """Return how long the engine may still keep away because the venue told it to."""
        return REFUSED_S if any(self.world.hits[kind] for kind in ("refuse_upgrade", "redirect_upgrade")) else 0.0

    # -- readers

    def _start_readers(self, market: Market, nursery: trio.Nursery) -> None:
        kept = self._kept_symbols()
        everything = [topic for symbol in kept for topic in _all_topics(symbol)]
        begin = nursery.start_soon
        begin(partial(self._read, market, "conflating", [*everything, Health()], Conflate()))
        begin(partial(self._read, market, "deep", [Book(kept[0], DEEP)], Bounded()))
        for symbol in kept:
            topics: list[Topic] = [Book(symbol), Trades(symbol)]
            begin(partial(self._read, market, f"ordered {symbol}", topics, Bounded(), faithful=True))
        slow_topics: list[Topic] = [topic for symbol in kept for topic in (Book(symbol), Trades(symbol))]
        rules: tuple[tuple[str, OnFull], ...] = (
            ("slow dropping", DropOldest(SLOW_CAPACITY)),
            ("slow bounded", Bounded(SLOW_CAPACITY)),
            ("slow conflating", Conflate(SLOW_CAPACITY)),
        )
        for name, rule in rules:
            begin(partial(self._read_again_and_again, market, name, slow_topics, rule))
        begin(self._look_up, market)

    async def _read(
        self,
        market: Market,
        name: str,
        topics: list[Topic],
        rule: OnFull,
        *,
        faithful: bool = False,
        slow: bool = False,
    ) -> None:
        """Read one subscription for as long as it lasts, and judge what it gives."""
        keys = [topic.key for topic in topics]
        judged = [key for key in keys if key[0] != "ohlc" or len(keys) == 1]  # notices do not name the interval
        streams = StreamJudge(reader=name, verdict=self.verdict, calm=False, joins=True)
        trades = TradeJudge(reader=name, tape=self._tape, verdict=self.verdict)
        with self._readership.reading(keys):
            async with market.feed.subscribe(*topics, on_full=rule) as subscription:
                # What conflates is bounded by the number of streams; the capacity is for the rest.
                states = len(topics) if isinstance(rule, Conflate) else 0
                self._subscriptions[name] = (subscription, rule.capacity + states)
                delivery = DeliveryJudge(reader=name, keys=keys, world=self.world, verdict=self.verdict)
                if faithful:
                    self._deliveries.append(delivery)
                try:
                    async for event in subscription:
                        if faithful:
                            delivery.delivered(event)
                        key = _key_of(event, judged)
                        if key is not None:
                            streams.see(key, event)
                        trades.see(event)
                        self._coverage.delivered(event)
                        if slow:
                            await trio.sleep_until(self.world.consumers_sleep_until)
                finally:
                    del self._subscriptions[name]
                    if subscription.statistics().conflated:
                        self._coverage.reach("a reader's values were conflated")

    async def _read_again_and_again(self, market: Market, name: str, topics: list[Topic], rule: OnFull) -> None:
        while True:
            try:
                await self._read(market, name, topics, rule, slow=True)
            except SlowConsumer:
                self._coverage.reach("a slow reader was ended")
            await trio.sleep(1.0)

    async def _join_and_leave(self, market: Market, number: int) -> None:
        rng = seeded_rng(f"{self.world.seed}:joiner {number}")
        while True:
            await trio.sleep(rng.uniform(2, 30))
            topic = _any_topic(rng, self.world.exchange.symbols)
            with trio.move_on_after(rng.uniform(0.5, 40)):
                await self._read(market, f"joiner {number}", [topic], Bounded())

    async def _look_up(self, market: Market) -> None:
        """Ask for current values now and then: what is handed out unasked is live."""
        rng = seeded_rng(f"{self.world.seed}:looks")
        topics = [topic for symbol in self._kept_symbols() for topic in _all_topics(symbol)]
        while True:
            await trio.sleep(rng.uniform(0.2, 2))
            topic = rng.choice(topics)
            condition = self._published.condition(topic.key)
            try:
                market.feed.latest(topic)
            except Stale as error:
                self._coverage.reach("a stale value was not handed out")
                if condition is Condition.LIVE and self._published.last(topic.key) is not None:
                    self.verdict.fail("I-7", f"latest {topic}: expected a value while live, got {error}")
            else:
                if condition is not Condition.LIVE:
                    self.verdict.fail("I-2", f"latest {topic}: expected Stale while {condition.value}, got a value")

    # -- observers

    def _observe(self, key: StreamKey, event: Event) -> None:
        trace = self.market_trace
        if isinstance(event, MarketEvent):
            trace("event", name_of(key), type(event).__name__, event.received_s, event.venue_time)
        elif not isinstance(event, ClockNotice):  # the one word that is about the wall clock
            trace("notice", name_of(key), type(event).__name__)
        self._coverage.published(key, event)
        for delivery in self._deliveries:
            delivery.published(key, event)
        if isinstance(event, BookUpdate):
            self._books.published(event)
        self._continuity.see(key, event)
        self._timing.published(key, event)
        self._healing.published(event)
        if key in self._permanent or len(key) == 1:
            self._published.see(key, event)
            self._trades.see(event)

    def _observe_trace(self, kind: str, facts: tuple[Fact, ...]) -> None:
        self._lines.trace(kind, facts)
        self._timing.trace(kind, facts)
        self._healing.trace(kind, facts)
        self._rotation.trace(kind, facts)
        self._coverage.trace(kind, facts)

    async def _sample(self, market: Market) -> None:
        """Judge at regular times what no event would show."""
        count = 0
        while True:
            await trio.sleep(SAMPLE_S)
            count += 1
            self.world.wellness.sample()
            self._timing.sample()
            self._healing.sample()
            self._published.check()
            self._books.check()
            self._lines.check_silence([name_of(key) for key in self._published.live() if len(key) > 1])
            self._coverage.sample(market)
            for delivery in self._deliveries:
                delivery.check()
            if count % SAMPLES_PER_LOOK == 0:
                self._currency.check()
            if count % SAMPLES_PER_COUNT == 0:
                check_sizes(self.world, self.verdict, self._subscriptions)

    def _check_leaks(self) -> None:
        left = self.world.network.open_streams("client")
        if left:
            self.verdict.fail("I-29", f"expected every connection closed, got {', '.join(left)}")

    def _kept_symbols(self) -> list[str]:
        """Return the symbols somebody always reads; the last one is left to those who come and go."""
        return self.world.exchange.symbols[:-1] or self.world.exchange.symbols


def _all_topics(symbol: str) -> list[Ticker | Book | Trades | Candles]:
    return [Ticker(symbol), Book(symbol), Trades(symbol), Candles(symbol)]


def _any_topic(rng: Rng, symbols: list[str]) -> Topic:
    symbol = rng.choice(symbols)
    makers: list[Callable[[], Topic]] = [
        lambda: Book(symbol, rng.choice((10, 25, 100))),
        lambda: Ticker(symbol, rng.choice(("bbo", "trades"))),
        lambda: Trades(symbol),
        lambda: Candles(symbol, rng.choice((1, 5))),
    ]
    return rng.choices(makers, (3, 1, 1, 1))[0]()


def _key_of(event: Event, keys: list[StreamKey]) -> StreamKey | None:
    """Return which of a reader's streams an event belongs to; None for notices about something else."""
    if isinstance(event, (Stale, Live)):
        channel: str = event.channel
    elif isinstance(event, MarketEvent):
        channel = _CHANNELS[type(event)]
    else:
        return None
    return next((key for key in keys if key[:2] == (channel, event.symbol)), None)


_CHANNELS: dict[type[MarketEvent], str] = {BookUpdate: "book", TickerUpdate: "ticker", Trade: "trade", Candle: "ohlc"}
