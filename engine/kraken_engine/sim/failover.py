"""The failover profile: every line lost, REST lost, both, flapping, maintenance, restarts; and who judges it.

::

    0 s        the engine opens with a backup and a state directory; everything is well
    10 s       the faults of the plan, for its whole horizon; now and then the engine is killed, its disk crashes, its
               checkpoints may be damaged, and it is started again
    horizon    every fault ends; once REST may be asked again everything has to be live within 30 s, from some source

Fewer streams than in the other profiles, so that the budget of REST reaches all of them and nothing is excused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import attrs
import trio

from kraken_engine.errors import StartupError
from kraken_engine.feed.subscription import Bounded
from kraken_engine.feed.topics import Book, Candles, Ticker, Trades
from kraken_engine.model import Source
from kraken_engine.normalise.events import Event, SourceChanged
from kraken_engine.runtime import Rng, seeded_rng
from kraken_engine.sim.engine_disk import Damage, EngineDisk
from kraken_engine.sim.hooks import FAULTS, LASTS_S
from kraken_engine.sim.hooks_accounts import ACCOUNT_FAULTS
from kraken_engine.sim.judges.evidence import name_of
from kraken_engine.sim.judges.failover import FailoverJudge
from kraken_engine.sim.judges.trades import Tape
from kraken_engine.sim.judges.verdict import Verdict
from kraken_engine.sim.judges.warm_start import NotLiveJudge, judge_start
from kraken_engine.sim.network import Dialing
from kraken_engine.sim.plan import Catalogue, Choice, Fault, FaultKind, Number, Plan
from kraken_engine.sim.playing import play
from kraken_engine.sim.rest_faults import REST_FAULTS, RESTART, STATE
from kraken_engine.sim.trace import Fact, Trace
from kraken_engine.sim.world import World
from kraken_engine.state.freshness import StreamKey
from kraken_engine.tasks.engine import Engine, open_engine

__all__ = ["FAILOVER_FAULTS", "FailoverScenario"]

CALM_S = 10.0
SAMPLE_S = 0.25
RECOVERY_S = 30.0
BREAKER_S = 330.0
"""The longest a breaker that is open when the faults end may keep REST closed, and the lines their pause."""
LONGEST_PAUSE_S = 2.0
"""Between two lives, and between the start of an engine and its first reader."""
PATIENCE_S = 3.0
"""For answers about the present to somebody who asks right after a start."""

FED_BY_REST = "fed by REST"
RETURNED = "returned to the line"
WARM = "began with what the last life knew"
COLD = "began anew for want of a checkpoint"
WENT_BACK = "began with the checkpoint before a damaged one"
BOTH_DAMAGED = "began anew since no checkpoint was whole"
OLD_GIVEN = "a restored value was given, marked, to who asked for one"
SITUATIONS = (FED_BY_REST, RETURNED, WARM, COLD, WENT_BACK, BOTH_DAMAGED, OLD_GIVEN)

DAMAGED_RESTART = "damaged_checkpoint"
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


async def _restart_damaged(world: World, fault: Fault) -> None:
    """Leave it to the scenario, which reads it in the trace."""
    world.hit(fault, *(fault.params.get(name, "") for name in ("which", "how", "bit")))
    await trio.lowlevel.checkpoint()


_OWN = Catalogue(
    [
        FaultKind(name="lines_down", number=16, weight=4, parameters={LASTS_S: _DOWN_S},
                  apply=partial(_take_down, lines=True, rest=False)),
        FaultKind(name="rest_down", number=16, weight=1, parameters={LASTS_S: _DOWN_S},
                  apply=partial(_take_down, lines=False, rest=True)),
        FaultKind(name="blackout", number=17, weight=1, parameters={LASTS_S: _DOWN_S},
                  apply=partial(_take_down, lines=True, rest=True)),
        FaultKind(name=DAMAGED_RESTART, number=67, place="host", weight=2, apply=_restart_damaged, parameters={
            "which": Choice(("newest", "newest", "older", "both")),
            "how": Choice(("flip", "scribble", "empty")),
            "bit": Number(0, 10_000_000, whole=True),
        }),
        attrs.evolve(REST_FAULTS.kind(RESTART), weight=2),
    ]
)  # fmt: skip
_BORROWED = (
    "flap",
    "reset_peer",
    "blackhole",
    "silence",
    "corrupt_checksum",
    "refuse_upgrade",
    "hang_connect",
    "suspend",
)
_STATUS = FAULTS.kind("status")
_AWAY_MOSTLY = Choice(("maintenance", "maintenance", "maintenance", "cancel_only", "post_only", "limit_only"))
"""Of the venue's states it is this one in which nobody may go over to REST."""
_REST = ("rest_page", "rest_slow", "rest_hang", "rest_broken", "rest_error", "rest_lie")
_PUBLIC = Choice(("/0/public/Ticker", "/0/public/Depth", "/0/public/Trades", "/0/public/OHLC"))

FAILOVER_FAULTS = Catalogue(
    [
        *_OWN.kinds,
        *FAULTS.only(_BORROWED).kinds,
        attrs.evolve(_STATUS, weight=3, parameters={**_STATUS.parameters, "mode": _AWAY_MOSTLY}),
        *(
            attrs.evolve(kind, weight=0.3, parameters={**kind.parameters, "path": _PUBLIC})
            for kind in ACCOUNT_FAULTS.only(_REST).kinds
        ),
    ]
)
"""Every kind of fault of this profile, with its hook."""


@attrs.define(eq=False)
class FailoverScenario:
    """Everything around one engine with a backup and a state directory."""

    world: World
    plan: Plan
    faults: Catalogue
    verdict: Verdict
    market_trace: Trace = attrs.field(factory=Trace, init=False)
    """What was published, alone."""
    over_s: list[float] = attrs.field(factory=list[float], init=False)
    """How long streams were without data before REST had them, in all lives that ended."""
    _topics: Sequence[Ticker | Book | Trades | Candles] = attrs.field(init=False)
    _tape: Tape = attrs.field(init=False)
    _rng: Rng = attrs.field(init=False)
    _disk: EngineDisk = attrs.field(init=False)
    _damage: Damage | None = attrs.field(default=None, init=False)
    """What is to become of the disk before the next life."""
    _life: trio.CancelScope | None = attrs.field(default=None, init=False)
    _judge: FailoverJudge | None = attrs.field(default=None, init=False)
    """Of the present life, once it has readers ..."""
    _not_live: NotLiveJudge | None = attrs.field(default=None, init=False)
    """... and from its beginning."""
    _rest_bad_s: float = attrs.field(default=-math.inf, init=False)

    def __attrs_post_init__(self) -> None:
        first, *others = self.world.exchange.symbols
        self._topics = [Ticker(first), Book(first), Trades(first), Candles(first)]
        self._topics += [Ticker(symbol) for symbol in others[:2]]
        self._tape = Tape(self.world.exchange)
        self._rng = seeded_rng(f"{self.world.seed}:lives")
        self._disk = EngineDisk(self.world, self.verdict)
        self.world.sometimes.register(*SITUATIONS)
        self.world.trace.observe(self._observe_trace)

    async def run(self) -> None:
        """Run everything to the end, or to the first violation."""
        with trio.CancelScope() as scope:
            self.verdict.on_violation(scope.cancel)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._live)
                nursery.start_soon(self._sample)
                await trio.sleep(CALM_S)
                await self._break_things()
                await self._recover()
                nursery.cancel_scope.cancel()

    def _observe_trace(self, kind: str, facts: tuple[Fact, ...]) -> None:
        match kind, facts:
            case "fault", (name, *_) if name == RESTART:
                self._kill()
            case "fault", (name, which, how, bit) if name == DAMAGED_RESTART:
                self._damage = Damage(str(which), str(how), int(bit or 0))
                self._kill()
            case _:
                pass

    def _kill(self) -> None:
        if self._life is not None:
            self._life.cancel()

    # -- lives

    async def _live(self) -> None:
        """Open the engine, again and again: whenever it was killed, or could not start."""
        while True:
            with trio.CancelScope() as self._life:
                try:
                    await self._one_life()
                except StartupError:  # every line is down: whoever runs the engine tries again
                    await trio.sleep(self._rng.uniform(0.0, LONGEST_PAUSE_S))
                    continue
                finally:
                    self._end_judges()
            self._disk.crash()
            what, self._damage = self._damage, None
            if what is not None:
                self._disk.damage(what)
            await trio.sleep(self._rng.uniform(0.0, LONGEST_PAUSE_S))

    async def _one_life(self) -> None:
        world, found = self.world, self._disk.found()
        began_s = world.runtime.clock.now()
        config = attrs.evolve(world.config, state_dir=STATE)
        async with open_engine(config, runtime=world.runtime) as engine, trio.open_nursery() as nursery:
            judge_start(self.verdict, engine, found)
            self._count(engine, damaged=bool(found.damaged))
            not_live = self._not_live = NotLiveJudge(
                verdict=self.verdict,
                feed=engine.feed,
                began_s=began_s,
                topics=self._topics,
                on_given=partial(world.sometimes.reach, OLD_GIVEN),
            )
            engine.market.publisher.observe(self._observe)
            not_live.look()
            if engine.restored is not None:
                nursery.start_soon(self._ask, not_live)
                await trio.sleep(self._rng.choice((0.0, self._rng.uniform(0.0, LONGEST_PAUSE_S))))
            self._judge = FailoverJudge(
                world=world,
                verdict=self.verdict,
                market=engine.market,
                keys=[topic.key for topic in self._topics],
                tape=self._tape,
                rest_bad_s=self._rest_bad_s,
            )
            await self._read(engine, not_live)

    def _count(self, engine: Engine, *, damaged: bool) -> None:
        if engine.restored is None:
            self.world.sometimes.reach(BOTH_DAMAGED if damaged else COLD)
        else:
            self.world.sometimes.reach(WENT_BACK if damaged else WARM)

    def _end_judges(self) -> None:
        if self._judge is not None:
            self._rest_bad_s = max(self._rest_bad_s, self._judge.rest_bad_s)
            self.over_s += self._judge.over_s
        self._judge = self._not_live = None

    async def _ask(self, judge: NotLiveJudge) -> None:
        """Ask for current values before, or while, the first reader comes."""
        with trio.move_on_after(PATIENCE_S):
            await judge.ask(self._topics[0].symbol)

    async def _read(self, engine: Engine, judge: NotLiveJudge) -> None:
        async with engine.feed.subscribe(*self._topics, on_full=Bounded()) as events:
            async for event in events:
                judge.read(event)

    async def _sample(self) -> None:
        while True:
            await trio.sleep(SAMPLE_S)
            if self._not_live is not None:
                self._not_live.look()
            if self._judge is not None:
                self._judge.check()

    # -- faults

    async def _break_things(self) -> None:
        async with trio.open_nursery() as nursery:
            await play(self.plan, self._apply, nursery)

    async def _apply(self, fault: Fault) -> None:
        hurts_rest = fault.kind.startswith("rest_") or fault.kind == "blackout"
        async with trio.open_nursery() as nursery:
            if hurts_rest:
                nursery.start_soon(_keep_saying, self._rest_is_bad)
            await self.faults.apply(self.world, fault)
            nursery.cancel_scope.cancel()

    async def _recover(self) -> None:
        """Heal the world, and demand that everything is live once REST, or the line, may be tried again."""
        self.world.network.heal()
        self.world.exchange.faults.end_all(now=trio.current_time())
        deadline = trio.current_time() + BREAKER_S + RECOVERY_S
        while self._unrecovered() and trio.current_time() < deadline:  # noqa: ASYNC110 - it looks at several streams
            await trio.sleep(SAMPLE_S)
        if missing := self._unrecovered():
            self.verdict.fail("L-1", f"expected all streams live after the last fault, got {', '.join(missing)} stale")
        await trio.sleep(CALM_S)

    def _rest_is_bad(self) -> None:
        self._rest_bad_s = trio.current_time()
        if self._judge is not None:
            self._judge.rest_is_bad()

    def _unrecovered(self) -> list[str]:
        """Return what is not live: everything, while there is no engine."""
        if self._judge is None:
            return [name_of(topic.key) for topic in self._topics]
        return self._judge.unrecovered()

    def _observe(self, key: StreamKey, event: Event) -> None:
        for trace in (self.world.trace, self.market_trace):
            trace("published", name_of(key), type(event).__name__)
        if isinstance(event, SourceChanged):
            self.world.sometimes.reach(FED_BY_REST if event.source is Source.REST else RETURNED)
        if self._not_live is not None:
            self._not_live.see(key, event)
        if self._judge is not None:
            self._judge.see(key, event)


async def _keep_saying(say: Callable[[], None]) -> None:
    while True:
        say()
        await trio.sleep(SAMPLE_S)
