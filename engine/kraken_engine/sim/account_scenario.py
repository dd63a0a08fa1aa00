"""One run of a world with accounts in it: traffic, faults, restarts, judges; first safety and then liveness.

::

    0 s        an engine opens with an account that it keeps on its disk, and one that it does not; orders are placed,
               filled and cancelled at the venue all the time, by the crowd and by its operator
    10 s       the faults of the plan, for its whole horizon (safety); now and then the engine is killed, its disk keeps
               what it likes of what was not synced, and it is started again
    horizon    every fault ends; both accounts have to be live again (liveness), as soon as whatever the venue, or our
               own caution, makes them wait for is over
    then       the traffic ends, with one change that the venue tells nobody of; after a while everything is the
               venue's all the same, to the last digit, every fill was delivered, and nothing is left behind
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial

import attrs
import trio

from kraken_engine.config import AccountSettings
from kraken_engine.errors import StartupError, StoreError, UsageError
from kraken_engine.model import Source
from kraken_engine.normalise.account_events import AccountStale, Fill
from kraken_engine.normalise.events import Event, SourceChanged
from kraken_engine.runtime import Rng, seeded_rng
from kraken_engine.sim.account_faults import KILLED_WRITING, NEXT_LIFE, REBOOT, is_brief, is_restart
from kraken_engine.sim.figures import Figures
from kraken_engine.sim.judges.accounts import AccountJudge
from kraken_engine.sim.judges.gaps import LOSSES, GapJudge
from kraken_engine.sim.judges.holdings import HoldingsJudge
from kraken_engine.sim.judges.record import FillsJudge, NonceJudge
from kraken_engine.sim.judges.verdict import Verdict
from kraken_engine.sim.plan import Catalogue, Plan
from kraken_engine.sim.playing import play
from kraken_engine.sim.rest_faults import RESTART, STATE
from kraken_engine.sim.trace import Fact, Trace
from kraken_engine.sim.world import World
from kraken_engine.state.freshness import StreamKey
from kraken_engine.store.database import open_store
from kraken_engine.tasks.account import open_account
from kraken_engine.tasks.market import open_market
from kraken_engine.trading.account import Account
from kraken_engine.venue.core.accounts.settings import TEST_KEY, TEST_SECRET

__all__ = ["AccountScenario"]

CALM_S = 10.0
RECOVERY_S = 60.0
FOUND_OUT_S = 90.0
"""A change that the venue told nobody of is found by the next comparison with REST, and the one that confirms it."""
LONGEST_WAIT_S = 1300.0
"""A refused key is not tried for 900 s, and a breaker stays open for 300 s: recovery may have to wait for both.

An account that is live all that time has to wait as long before REST may be asked whether it is right.
"""
LONGEST_PAUSE_S = 2.0
"""Between two lives."""
SAMPLE_S = 0.25
STIRS_PER_S = 1.0
KEPT, UNKEPT = "main", "second"
"""The account whose fills and marks of nonces are on the disk, and the one whose are not."""
ACCOUNTS = {KEPT: "intermediate", UNKEPT: "pro"}
"""Their tiers by name."""
ON_MARGIN = {KEPT: 0.0, UNKEPT: 0.3}
"""Share of the new orders that are on margin."""
MOST_RESTARTS = 20
SHORTEST_LIFE_S = 5.0
"""A start takes four connections: one a second, and a hundred in ten minutes, are all that is allowed (I-24)."""
DAWDLES = 0.2
"""How often a reader of the fills takes its time, so that several of them wait for it."""

RECONCILED = "restart until both accounts are live"
AGAIN = "a fill was delivered again after a restart"
_SOMETIMES = (
    "a missed fill was fetched",
    "an account was out of step",
    "an account came back in step",
    "REST stood in for a private line",
    "an engine with accounts was killed",
    AGAIN,
)


@attrs.define(eq=False)
class _Life:
    """One life of the engine: from its start until it is killed."""

    accounts: Mapping[str, Account]
    judges: Mapping[str, AccountJudge]


@attrs.define(eq=False)
class AccountScenario:
    """Everything around two accounts of one engine in one world."""

    world: World
    plan: Plan
    faults: Catalogue
    verdict: Verdict
    market_trace: Trace = attrs.field(factory=Trace, init=False)
    """What was told of accounts, alone."""
    figures: Figures = attrs.field(factory=Figures, init=False)
    """Times that were taken."""
    _life: _Life | None = attrs.field(default=None, init=False)
    """The present one, once its accounts are open."""
    _judges: Mapping[str, AccountJudge] = attrs.field(factory=dict[str, AccountJudge], init=False)
    """Of the present life, from its beginning."""
    _scope: trio.CancelScope | None = attrs.field(default=None, init=False)
    _began_s: float = attrs.field(default=-math.inf, init=False)
    """When the last life began."""
    _fills: FillsJudge = attrs.field(init=False)
    _nonces: NonceJudge = attrs.field(init=False)
    _gaps: GapJudge = attrs.field(init=False)
    _rng: Rng = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.world.aims_at_accounts = True
        self.world.sometimes.register(*_SOMETIMES)
        self.world.trace.observe(self._observe_trace)
        self.figures.on_broken = lambda what: self.verdict.fail("T-1", what)
        self._fills = FillsJudge(world=self.world, account=KEPT, verdict=self.verdict)
        self._nonces = NonceJudge(world=self.world, account=KEPT, verdict=self.verdict)
        self._gaps = GapJudge(world=self.world, verdict=self.verdict)
        self._rng = seeded_rng(f"{self.world.seed}:lives with accounts")

    async def run(self) -> None:
        """Run everything to the end, or to the first violation.

        Raises:
            Exception: whatever comes out of the engine; that is a violation too.
        """
        with trio.CancelScope() as scope:
            self.verdict.on_violation(scope.cancel)
            self._open_at_the_venue()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._live)
                nursery.start_soon(self._sample)
                if not await self._are_live(CALM_S):
                    self.verdict.fail("L-1", f"expected live accounts within {CALM_S:g} s, got {self._shown()}")
                await self._break_things()
                await self._recover()
                nursery.cancel_scope.cancel()
        if self.verdict.violation is None:
            self._nonces.look()
            left = self.world.network.open_streams("client")
            if left:
                self.verdict.fail("I-29", f"expected every connection closed, got {', '.join(left)}")

    def _open_at_the_venue(self) -> None:
        world = self.world
        keys = {KEPT: TEST_KEY, UNKEPT: "SIMULATED+VENUE+SECOND+KEY"}
        world.exchange.private.operator.create(name=UNKEPT, key=keys[UNKEPT], secret=TEST_SECRET, tier=ACCOUNTS[UNKEPT])
        environment = {f"KRAKEN_ENGINE_ACCOUNTS__{name.upper()}__KEY": key for name, key in keys.items()}
        environment |= {f"KRAKEN_ENGINE_ACCOUNTS__{name.upper()}__SECRET": TEST_SECRET for name in keys}
        world.runtime = attrs.evolve(world.runtime, environment=environment)
        for name in ACCOUNTS:
            self._place(name, 6)

    # -- lives

    async def _live(self) -> None:
        """Open the engine, again and again: whenever it was killed, or could not start."""
        while True:
            with trio.CancelScope() as self._scope:
                try:
                    await self._one_life()
                except (StartupError, StoreError):  # no line, or no disk: whoever runs the engine tries again
                    self._end_life()
            self._scope = None
            self.world.disk.start()
            await trio.sleep(self._rng.uniform(0.0, LONGEST_PAUSE_S))

    async def _one_life(self) -> None:
        world, began_s = self.world, trio.current_time()
        hasty, self._began_s = began_s - self._began_s < SHORTEST_LIFE_S, began_s
        judge = partial(AccountJudge, world=world, verdict=self.verdict)
        self._judges = {KEPT: judge(account=KEPT, before=self._fills.before()), UNKEPT: judge(account=UNKEPT)}
        async with (
            open_store(world.runtime, STATE) as store,
            open_market(world.config, runtime=world.runtime, connect_log=store.connects) as market,
            AsyncExitStack() as stack,
        ):
            market.publisher.observe(self._observe)
            accounts: dict[str, Account] = {}
            for name, tier in ACCOUNTS.items():
                settings = AccountSettings(name=name, tier=tier)
                kept = store if name == KEPT else None
                accounts[name] = await stack.enter_async_context(open_account(settings, market, store=kept))
            self._life = _Life(accounts, self._judges)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._follow, accounts[KEPT])
                for account in accounts.values():
                    await account.wait_live()
                if self._was_calm() and not hasty:
                    self.figures.add(RECONCILED, trio.current_time() - began_s)

    def _observe_trace(self, kind: str, facts: tuple[Fact, ...]) -> None:
        match kind, facts:
            case "fault", (name, *_) if name == RESTART:
                self._kill()
            case "fault", (name, int(step), whose) if name == KILLED_WRITING:
                if whose == NEXT_LIFE:
                    self._kill()
                self.world.disk.after_step = partial(self._count_down, [step])
            case "fault", (name, float(back_s)) if name == REBOOT:
                self._kill()
                self.world.clock.step(-back_s)
            case "fault", (name, *_) if name in LOSSES:
                self._gaps.commanded()
            case _:
                pass

    def _count_down(self, left: list[int]) -> None:
        """Count the steps of the disk, and kill whoever makes the last one, in the midst of what he is writing."""
        left[0] -= 1
        if left[0] <= 0:
            self._kill()

    def _kill(self) -> None:
        """End the present life at this very step: what it does from now on is nothing that anybody sees."""
        if self._scope is None:
            return  # there is none
        self.world.sometimes.reach("an engine with accounts was killed")
        self.world.trace("killed")
        self.world.disk.after_step = None
        self.world.disk.kill(self._rng)
        self._end_life()
        self._scope.cancel()

    def _end_life(self) -> None:
        self._life, self._judges = None, {}
        self._nonces.killed()

    async def _follow(self, account: Account) -> None:
        """Read the fills on record, as fast as a reader does who has other things to do, and acknowledge some."""
        judge, rng = self._fills, seeded_rng(f"{self.world.seed}:reader of fills:{trio.current_time()}")
        while True:
            judge.begin()
            try:
                async for delivered in account.fills(consumer="judge"):
                    if judge.delivered(delivered.number, delivered.fill):
                        self.world.sometimes.reach(AGAIN)
                    if rng.random() < DAWDLES:
                        await trio.sleep(rng.uniform(0.0, 10.0))
                    if rng.random() < 0.5:
                        judge.acknowledging(delivered.number)
                        await delivered.acknowledge()
                        judge.acknowledged(delivered.number)
            except StoreError:
                await trio.sleep(1.0)

    # -- traffic and faults

    def _place(self, name: str, count: int) -> None:
        rng = seeded_rng(f"{self.world.seed}:orders of {name}")
        for _ in range(count):
            side, symbol = rng.choice(("buy", "sell")), rng.choice(self.world.exchange.symbols)
            try:
                self.world.exchange.private.operator.place(name, symbol=symbol, side=side, away=rng.randrange(60))
            except UsageError:
                continue  # the account has no money for it

    async def _break_things(self) -> None:
        for name in ACCOUNTS:
            self.world.exchange.private.operator.stir(
                name, seconds=self.plan.horizon_s, per_second=STIRS_PER_S, margin=ON_MARGIN[name]
            )
        async with trio.open_nursery() as nursery:
            await play(self.plan, partial(self.faults.apply, self.world), nursery)

    async def _recover(self) -> None:
        world = self.world
        world.network.heal()
        world.disk.heal()
        world.exchange.faults.end_all(now=trio.current_time())
        world.disk.after_step = None
        patience_s = RECOVERY_S if self._was_brief() else LONGEST_WAIT_S
        if not await self._are_live(patience_s):
            self.verdict.fail(
                "L-1", f"expected live accounts {patience_s:g} s after the last fault, got {self._shown()}"
            )
        # The loss of the last frame shows with the next one: something has to happen once more. Then there is one
        # change of which no frame tells, and that REST alone knows of.
        for name in ACCOUNTS:
            world.exchange.private.operator.deposit(name, asset="USD", amount="1")
            self._place(name, 1)
            world.exchange.faults.withhold_private_frame(now=trio.current_time(), account=name)
            world.exchange.private.operator.deposit(name, asset=self._at_rest(name), amount="2")
        await trio.sleep(CALM_S)
        deadline = trio.current_time() + patience_s + FOUND_OUT_S
        while (problems := self._differences()) and trio.current_time() < deadline:  # noqa: ASYNC110 - of two accounts
            await trio.sleep(1.0)
        if problems:
            self.verdict.fail("L-1", f"expected accounts as the venue has them: {'; '.join(problems[:5])}")

    def _at_rest(self, name: str) -> str:
        """Return an asset that no open order of an account is about: no fill will tell of it."""
        symbols = {order["symbol"] for order in self.world.exchange.private.truth.orders(name)}
        idle = [symbol for symbol in self.world.exchange.symbols if symbol not in symbols]
        return idle[0].partition("/")[0] if idle else "USD"

    async def _are_live(self, within_s: float) -> bool:
        """Wait until both accounts are live, for so long at most, and return whether they are."""
        deadline = trio.current_time() + within_s
        while True:
            if self._life is not None and all(account.may_trade for account in self._life.accounts.values()):
                return True
            if trio.current_time() >= deadline:
                return False
            await trio.sleep(SAMPLE_S)

    def _differences(self) -> list[str]:
        """Return where what is known is not the venue's, and what was never told."""
        if self._life is None:
            return ["no engine is running"]
        found: list[str] = []
        for name, account in self._life.accounts.items():
            found += HoldingsJudge(self.world, account).differences()
            if untold := self._life.judges[name].untold():
                found.append(f"{name}: {len(untold)} fills were never told")
        if missing := self._fills.missing():
            found.append(f"{KEPT}: {len(missing)} fills were never delivered")
        return found

    def _was_brief(self) -> bool:
        """Whether nothing happened that the venue, or our own caution, answers with a long pause."""
        return all(is_brief(kind) for kind, hits in self.world.hits.items() if hits)

    def _was_calm(self) -> bool:
        """Whether nothing but a few restarts went wrong so far."""
        hits = self.world.hits
        return hits.total() <= MOST_RESTARTS and all(is_restart(kind) for kind, count in hits.items() if count)

    def _shown(self) -> str:
        return "no engine" if self._life is None else str(list(self._life.accounts.values()))

    # -- observers

    def _observe(self, key: StreamKey, event: Event) -> None:
        judge = self._judges.get(str(key[-1]))
        if judge is None:
            return
        for trace in (self.world.trace, self.market_trace):
            trace("told", judge.account, str(key[0]), type(event).__name__, getattr(event, "exec_id", None))
        judge.see(event)
        sometimes = self.world.sometimes
        if isinstance(event, Fill):
            if judge.account == KEPT:
                self._fills.told(event.exec_id)
            if event.replayed:
                sometimes.reach("a missed fill was fetched")
        elif isinstance(event, SourceChanged) and event.source is Source.REST:
            sometimes.reach("REST stood in for a private line")
        elif isinstance(event, AccountStale):
            sometimes.reach("an account was out of step")
        if judge.lives > 1 and judge.live:
            sometimes.reach("an account came back in step")

    async def _sample(self) -> None:
        while True:
            await trio.sleep(SAMPLE_S)
            if self._life is not None:
                for name, account in self._life.accounts.items():
                    self._life.judges[name].check(account)
                self._gaps.look(self._life.judges)
