"""One run of a world with accounts in it: traffic, faults, judges, first safety and then liveness.

::

    0 s        a market and two accounts open, one of them with a store; orders are placed, filled and cancelled at the
               venue all the time, by the crowd and by its operator
    10 s       the faults of the plan, for its whole horizon (safety)
    horizon    every fault ends; both accounts have to be live again (liveness), as soon as whatever the venue, or our
               own caution, makes them wait for is over
    then       the traffic ends; after 10 s everything is the venue's, to the last digit, and nothing is left behind
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack

import attrs
import trio

from kraken_engine.config import AccountSettings
from kraken_engine.errors import UsageError
from kraken_engine.model import Source
from kraken_engine.normalise.account_events import AccountStale, Fill
from kraken_engine.normalise.events import Event, SourceChanged
from kraken_engine.runtime import seeded_rng
from kraken_engine.sim.catalogue_accounts import ACCOUNT_CATALOGUE
from kraken_engine.sim.hooks import FAULTS
from kraken_engine.sim.hooks_accounts import ACCOUNT_FAULTS
from kraken_engine.sim.judges.accounts import AccountJudge
from kraken_engine.sim.judges.verdict import Verdict
from kraken_engine.sim.plan import Catalogue, Plan
from kraken_engine.sim.rest_faults import REST_FAULTS
from kraken_engine.sim.trace import Trace
from kraken_engine.sim.world import World
from kraken_engine.state.freshness import StreamKey
from kraken_engine.store.database import open_store
from kraken_engine.tasks.account import open_account
from kraken_engine.trading.account import Account
from kraken_engine.venue.core.accounts.settings import TEST_KEY, TEST_SECRET

__all__ = ["PRIVATE_FAULTS", "AccountScenario"]

CALM_S = 10.0
RECOVERY_S = 60.0
LONGEST_WAIT_S = 1300.0
"""A refused key is not tried for 900 s, and a breaker stays open for 300 s: recovery may have to wait for both."""
SAMPLE_S = 0.25
STIRS_PER_S = 1.0
ACCOUNTS = ("main", "second")
ON_MARGIN = {"main": 0.0, "second": 0.3}
"""Share of the new orders that are on margin."""

_NETWORK = ("reset_peer", "limit_data", "blackhole", "latency", "slicer", "refuse", "flap")
"""What may happen to the connections themselves, those of accounts and of REST among them."""

_DISK = ("disk_fails", "disk_slow", "disk_hiccup", "fsync_fails")
"""What may happen to the disk: one account keeps its fills and the marks of its nonces there."""

_SOMETIMES = (
    "a missed fill was fetched",
    "an account was out of step",
    "an account came back in step",
    "REST stood in for a private line",
)

PRIVATE_FAULTS: Catalogue = Catalogue(
    [
        *FAULTS.only(_NETWORK).kinds,
        *(ACCOUNT_FAULTS.kind(kind.name) for kind in ACCOUNT_CATALOGUE.kinds),
        *(attrs.evolve(kind, weight=0.3) for kind in REST_FAULTS.only(_DISK).kinds),
    ]
)
"""Faults of the profile ``private``."""


@attrs.define(eq=False)
class AccountScenario:
    """Everything around two accounts of one market in one world."""

    world: World
    plan: Plan
    faults: Catalogue
    verdict: Verdict
    market_trace: Trace = attrs.field(factory=Trace, init=False)
    """What was told of accounts, alone."""
    _judges: dict[str, AccountJudge] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.world.aims_at_accounts = True
        self.world.sometimes.register(*_SOMETIMES)
        self._judges = {name: AccountJudge(world=self.world, account=name, verdict=self.verdict) for name in ACCOUNTS}

    async def run(self) -> None:
        """Run everything to the end, or to the first violation.

        Raises:
            Exception: whatever comes out of the engine; that is a violation too.
        """
        with trio.CancelScope() as scope:
            self.verdict.on_violation(scope.cancel)
            await self._open_and_run()
        if self.verdict.violation is None:
            left = self.world.network.open_streams("client")
            if left:
                self.verdict.fail("I-29", f"expected every connection closed, got {', '.join(left)}")

    async def _open_and_run(self) -> None:
        world = self.world
        keys = {"main": TEST_KEY, "second": "SIMULATED+VENUE+SECOND+KEY"}
        world.exchange.private.operator.create(name="second", key=keys["second"], secret=TEST_SECRET, tier="pro")
        environment = {f"KRAKEN_ENGINE_ACCOUNTS__{name.upper()}__KEY": key for name, key in keys.items()}
        environment |= {f"KRAKEN_ENGINE_ACCOUNTS__{name.upper()}__SECRET": TEST_SECRET for name in keys}
        world.runtime = attrs.evolve(world.runtime, environment=environment)
        for name in ACCOUNTS:
            self._place(name, 6)
        async with AsyncExitStack() as stack:
            market = await stack.enter_async_context(world.open_market())
            stack.callback(market.publisher.observe(self._observe))
            store = await stack.enter_async_context(open_store(world.runtime, "/state"))
            accounts = [
                await stack.enter_async_context(
                    open_account(
                        AccountSettings(name=name, tier="intermediate" if name == "main" else "pro"),
                        market,
                        store=store if name == "main" else None,
                    )
                )
                for name in ACCOUNTS
            ]
            await self._run_with(accounts)

    async def _run_with(self, accounts: Sequence[Account]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._sample, accounts)
            with trio.move_on_after(CALM_S):
                for account in accounts:
                    await account.wait_live()
            if not all(account.may_trade for account in accounts):
                self.verdict.fail("L-1", f"expected live accounts within {CALM_S:g} s, got {list(accounts)}")
            await self._break_things()
            await self._recover(accounts)
            nursery.cancel_scope.cancel()

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
        begin = trio.current_time()
        for name in ACCOUNTS:
            self.world.exchange.private.operator.stir(
                name, seconds=self.plan.horizon_s, per_second=STIRS_PER_S, margin=ON_MARGIN[name]
            )
        async with trio.open_nursery() as nursery:
            for fault in self.plan.faults:
                await trio.sleep_until(begin + fault.at_s)
                nursery.start_soon(self.faults.apply, self.world, fault)
            await trio.sleep_until(begin + self.plan.horizon_s)
            nursery.cancel_scope.cancel()

    async def _recover(self, accounts: Sequence[Account]) -> None:
        world = self.world
        world.network.heal()
        world.disk.heal()
        world.exchange.faults.end_all(now=trio.current_time())
        patience_s = LONGEST_WAIT_S if self._may_have_to_wait() else RECOVERY_S
        with trio.move_on_after(patience_s):
            for account in accounts:
                await account.wait_live()
        # The loss of the last frame shows with the next one: something has to happen once more.
        for name in ACCOUNTS:
            world.exchange.private.operator.deposit(name, asset="USD", amount="1")
            self._place(name, 1)
        await trio.sleep(CALM_S)
        problems: list[str] = []
        deadline = trio.current_time() + RECOVERY_S
        while trio.current_time() < deadline:
            problems = [each for account in accounts for each in self._judges[account.name].differences(account)]
            if not problems:
                break
            await trio.sleep(1.0)
        if problems:
            self.verdict.fail("L-1", f"expected accounts as the venue has them: {'; '.join(problems[:5])}")

    def _may_have_to_wait(self) -> bool:
        """Whether something that the venue or our own caution answers with a long pause may still be in force."""
        quick = {*_NETWORK, "private_cut", "private_frame_lost", "private_frame_doubled", "private_frames_swapped",
                 "private_snapshot_late", "fill", "unsolicited_cancel", "external_order"}  # fmt: skip
        return any(self.world.hits[kind] for kind in self.world.hits if kind not in quick)

    # -- observers

    def _observe(self, key: StreamKey, event: Event) -> None:
        judge = self._judges.get(str(key[-1]))
        if judge is None:
            return
        self.market_trace("account", str(key[0]), type(event).__name__, getattr(event, "exec_id", None))
        judge.see(event)
        sometimes = self.world.sometimes
        if isinstance(event, Fill) and event.replayed:
            sometimes.reach("a missed fill was fetched")
        elif isinstance(event, SourceChanged) and event.source is Source.REST:
            sometimes.reach("REST stood in for a private line")
        elif isinstance(event, AccountStale):
            sometimes.reach("an account was out of step")
        if judge.lives > 1 and judge.live:
            sometimes.reach("an account came back in step")

    async def _sample(self, accounts: Sequence[Account]) -> None:
        while True:
            await trio.sleep(SAMPLE_S)
            for account in accounts:
                self._judges[account.name].check(account)
