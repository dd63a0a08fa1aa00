"""The failover profile: every line lost, REST lost, both, flapping, maintenance, one silent book; and who judges it.

::

    0 s        the market opens with a backup; everything is well
    10 s       the faults of the plan, for its whole horizon
    horizon    every fault ends; once REST may be asked again everything has to be live within 30 s, from some source

Fewer streams than in the other profiles, so that the budget of REST reaches all of them and nothing is excused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import attrs
import trio

from kraken_engine.feed.subscription import Bounded
from kraken_engine.feed.topics import Book, Candles, Ticker, Topic, Trades
from kraken_engine.model import Source
from kraken_engine.normalise.events import Event, SourceChanged
from kraken_engine.sim.hooks import FAULTS, LASTS_S
from kraken_engine.sim.hooks_accounts import ACCOUNT_FAULTS
from kraken_engine.sim.judges.evidence import name_of
from kraken_engine.sim.judges.failover import FailoverJudge
from kraken_engine.sim.judges.trades import Tape
from kraken_engine.sim.judges.verdict import Verdict
from kraken_engine.sim.network import Dialing
from kraken_engine.sim.plan import Catalogue, Choice, Fault, FaultKind, Number, Plan
from kraken_engine.sim.trace import Trace
from kraken_engine.sim.world import World
from kraken_engine.state.freshness import StreamKey
from kraken_engine.tasks.market import Market

__all__ = ["FAILOVER_FAULTS", "FailoverScenario"]

CALM_S = 10.0
SAMPLE_S = 0.25
RECOVERY_S = 30.0
BREAKER_S = 330.0
"""The longest a breaker that is open when the faults end may keep REST closed, and the lines their pause."""

_DOWN_S = Number(1, 200, log=True)


async def _take_down(world: World, fault: Fault, *, lines: bool, rest: bool) -> None:
    """End all connections to what is down, and refuse new ones, for a time."""
    world.hit(fault)
    addresses = [address for address, hit in ((world.venue_address, lines), (world.rest_address, rest)) if hit]
    for address in addresses:
        world.network.take_down(address)
    try:
        value = fault.params.get(LASTS_S)
        await trio.sleep(float(value) if isinstance(value, (int, float)) else 1.0)
    finally:
        for address in addresses:
            world.network.set_dialing(address, Dialing.ACCEPT)


_OWN = Catalogue(
    [
        FaultKind(name="lines_down", number=16, weight=4, parameters={LASTS_S: _DOWN_S},
                  apply=partial(_take_down, lines=True, rest=False)),
        FaultKind(name="rest_down", number=16, weight=1, parameters={LASTS_S: _DOWN_S},
                  apply=partial(_take_down, lines=False, rest=True)),
        FaultKind(name="blackout", number=17, weight=1, parameters={LASTS_S: _DOWN_S},
                  apply=partial(_take_down, lines=True, rest=True)),
    ]
)  # fmt: skip
_BORROWED = (
    "flap",
    "reset_peer",
    "blackhole",
    "silence",
    "status",
    "corrupt_checksum",
    "refuse_upgrade",
    "hang_connect",
)
_REST = ("rest_page", "rest_slow", "rest_hang", "rest_broken", "rest_error", "rest_lie")
_PUBLIC = Choice(("/0/public/Ticker", "/0/public/Depth", "/0/public/Trades", "/0/public/OHLC"))

FAILOVER_FAULTS = Catalogue(
    [
        *_OWN.kinds,
        *FAULTS.only(_BORROWED).kinds,
        *(
            attrs.evolve(kind, weight=0.3, parameters={**kind.parameters, "path": _PUBLIC})
            for kind in ACCOUNT_FAULTS.only(_REST).kinds
        ),
    ]
)
"""Every kind of fault of this profile, with its hook."""


@attrs.define(eq=False)
class FailoverScenario:
    """Everything around one engine with a backup."""

    world: World
    plan: Plan
    faults: Catalogue
    verdict: Verdict
    market_trace: Trace = attrs.field(factory=Trace, init=False)
    """What was published, alone."""
    over_s: list[float] = attrs.field(factory=list[float], init=False)
    """How long streams were without data before REST had them."""
    _judge: FailoverJudge | None = attrs.field(default=None, init=False)

    async def run(self) -> None:
        """Run everything to the end, or to the first violation."""
        self.world.sometimes.register("fed by REST", "returned to the line")
        with trio.CancelScope() as scope:
            self.verdict.on_violation(scope.cancel)
            async with self.world.open_market() as market:
                await self._run_in(market)

    async def _run_in(self, market: Market) -> None:
        first, *others = self.world.exchange.symbols
        topics: list[Topic] = [Ticker(first), Book(first), Trades(first), Candles(first)]
        topics += [Ticker(symbol) for symbol in others[:2]]
        keys = [topic.key for topic in topics]
        judge = self._judge = FailoverJudge(
            world=self.world, verdict=self.verdict, market=market, keys=keys, tape=Tape(self.world.exchange)
        )
        stop = market.publisher.observe(self._observe)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read, market, topics)
            nursery.start_soon(self._sample, judge)
            await trio.sleep(CALM_S)
            await self._break_things(judge)
            await self._recover(judge)
            nursery.cancel_scope.cancel()
        stop()
        self.over_s = judge.over_s

    async def _read(self, market: Market, topics: Sequence[Topic]) -> None:
        async with market.feed.subscribe(*topics, on_full=Bounded()) as events:
            async for _ in events:
                pass  # the judge sees all of it, and earlier

    async def _sample(self, judge: FailoverJudge) -> None:
        while True:
            await trio.sleep(SAMPLE_S)
            judge.check()

    async def _break_things(self, judge: FailoverJudge) -> None:
        begin = trio.current_time()
        async with trio.open_nursery() as nursery:
            for fault in self.plan.faults:
                await trio.sleep_until(begin + fault.at_s)
                nursery.start_soon(self._apply, fault, judge)
            await trio.sleep_until(begin + self.plan.horizon_s)
            nursery.cancel_scope.cancel()

    async def _apply(self, fault: Fault, judge: FailoverJudge) -> None:
        hurts_rest = fault.kind.startswith("rest_") or fault.kind == "blackout"
        async with trio.open_nursery() as nursery:
            if hurts_rest:
                nursery.start_soon(_keep_saying, judge.rest_is_bad)
            await self.faults.apply(self.world, fault)
            nursery.cancel_scope.cancel()

    async def _recover(self, judge: FailoverJudge) -> None:
        """Heal the world, and demand that everything is live once REST, or the line, may be tried again."""
        self.world.network.heal()
        self.world.exchange.faults.end_all(now=trio.current_time())
        deadline = trio.current_time() + BREAKER_S + RECOVERY_S
        while judge.unrecovered() and trio.current_time() < deadline:  # noqa: ASYNC110 - it looks at several streams
            await trio.sleep(SAMPLE_S)
        if missing := judge.unrecovered():
            self.verdict.fail("L-1", f"expected all streams live after the last fault, got {', '.join(missing)} stale")
        await trio.sleep(CALM_S)

    def _observe(self, key: StreamKey, event: Event) -> None:
        for trace in (self.world.trace, self.market_trace):
            trace("published", name_of(key), type(event).__name__)
        if isinstance(event, SourceChanged):
            self.world.sometimes.reach("fed by REST" if event.source is Source.REST else "returned to the line")
        if self._judge is not None:
            self._judge.see(key, event)


async def _keep_saying(say: Callable[[], None]) -> None:
    while True:
        say()
        await trio.sleep(SAMPLE_S)
