"""What a client of the seeded world keeps on its disk, from one life to the next, in front of a judge.

::

    one life       store (marks, diary) · checkpoints, and in some worlds a market that begins with the last one
    between two    a crash of the disk; an operator, who removes a store that is damaged
    second engine  on the same directory, or with the same key, while a life may hold it

Decides what is written and when. What must be there afterwards is judged in
:mod:`~kraken_engine.sim.judges.durability`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Literal

import attrs
import trio

from kraken_engine.errors import StartupError, StoreCorrupt, StoreError, StoreLocked
from kraken_engine.feed.subscription import Bounded
from kraken_engine.feed.topics import Book, Ticker
from kraken_engine.runtime import Rng, seeded_rng
from kraken_engine.secret import ApiKey
from kraken_engine.sim.judges.durability import DurabilityJudge, RestoredJudge
from kraken_engine.sim.judges.verdict import Verdict
from kraken_engine.sim.rest_faults import STATE
from kraken_engine.sim.world import World
from kraken_engine.store.checkpoint import Checkpoints
from kraken_engine.store.connection import DATABASE
from kraken_engine.store.database import Store, open_store
from kraken_engine.store.locks import hold_key
from kraken_engine.tasks.checkpointer import restore_checkpoint, run_checkpointer
from kraken_engine.tasks.market import open_market
from kraken_engine.tasks.scope import open_background
from kraken_engine.trading.account import Account

__all__ = ["SITUATIONS", "WARM_SHARE", "DurableLife"]

MARK_FOUND = "a mark was found again"
CHECKPOINT_FOUND = "a checkpoint was found again"
DAMAGE_REFUSED = "a damaged store was refused"
ENGINE_REFUSED = "a second engine was refused"
CHECKPOINT_DAMAGED = "a damaged checkpoint was told"
RESTORED = "a restored value was shown"
TOLD = "the disk failed and was told"
SITUATIONS = (MARK_FOUND, CHECKPOINT_FOUND, CHECKPOINT_DAMAGED, DAMAGE_REFUSED, ENGINE_REFUSED, RESTORED, TOLD)

WARM_SHARE = 0.25
"""So many worlds have a market beside the REST client, whose checkpoints hold what it knew."""
OTHER_STATE = "/other"
LONGEST_CHECKPOINT_BYTES = 20_000


@attrs.frozen(eq=False)
class _JudgedMarks:
    """The marks of a store, each of them told to the judge once it is said to be durable."""

    store: Store
    judge: DurabilityJudge
    found: Callable[[], None]
    """Called when there was a mark."""
    failed: Callable[[StoreError], object]
    """Told when one could not be raised."""

    async def mark(self, fingerprint: str) -> int:
        mark = await self.store.nonces.mark(fingerprint)
        self.judge.found(fingerprint, mark)
        if mark:
            self.found()
        return mark

    async def raise_mark(self, fingerprint: str, mark: int) -> None:
        try:
            await self.store.nonces.raise_mark(fingerprint, mark)
        except StoreError as error:
            self.failed(error)
            raise
        self.judge.acknowledged(fingerprint, mark)


@attrs.define(eq=False)
class DurableLife:
    """The state directory of one world's client."""

    world: World
    key: ApiKey
    verdict: Verdict
    end_life: Callable[[], None]
    """Kills the present life: its operator saw that the store is damaged."""
    judge: DurabilityJudge = attrs.field(init=False)
    _warm: bool = attrs.field(init=False)
    _rng: Rng = attrs.field(init=False)
    _holds: str | None = attrs.field(default=None, init=False)
    """What the present life holds: its directory; None: nothing."""

    def __attrs_post_init__(self) -> None:
        self.judge = DurabilityJudge(verdict=self.verdict)
        self._rng = seeded_rng(f"{self.world.seed}:durable life")
        self._warm = self._rng.random() < WARM_SHARE
        self.world.sometimes.register(*SITUATIONS)

    # -- one life

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[_JudgedMarks]:
        """Open the store for one life, and keep things in it meanwhile; returns the marks of nonces.

        Raises:
            StoreError: it cannot be opened now.
        """
        world, judge = self.world, self.judge
        with hold_key(world.runtime, self.key.fingerprint, f"state directory {STATE}"):
            async with open_store(world.runtime, STATE, on_trouble=self._trouble) as store:
                self._holds = STATE
                try:
                    judge.opened(store.opened)
                    if store.opened.created:
                        self._begin_key_anew()
                    checkpoints = Checkpoints(world.runtime, STATE)
                    async with open_background("what is on the disk") as nursery:
                        nursery.start_soon(self._keep_diary, store)
                        nursery.start_soon(self._run_markets if self._warm else self._keep_checkpoints, checkpoints)
                        found = partial(world.sometimes.reach, MARK_FOUND)
                        yield _JudgedMarks(store, judge, found, self._is_corrupt)
                finally:
                    self._holds = None

    def _trouble(self, what: str | None) -> None:
        self.judge.trouble = what
        if what is not None:
            self.world.sometimes.reach(TOLD)

    async def _keep_diary(self, store: Store) -> None:
        """Read what is there, then write an entry now and then."""
        diary, judge = store.history("diary"), self.judge
        try:
            judge.read(await diary.latest())
        except StoreError as error:
            if self._is_corrupt(error):
                return
        while True:
            await trio.sleep(self._rng.uniform(1.0, 15.0))
            body = self._rng.getrandbits(256).to_bytes(32, "big")
            try:
                number = await diary.append(body)
            except StoreError as error:
                judge.wrote_not(str(error))
                if self._is_corrupt(error):
                    return
            else:
                judge.wrote(number, body)

    def _is_corrupt(self, error: StoreError) -> bool:
        """Whether a store that works turned out to be damaged; then this life ends."""
        if isinstance(error, StoreCorrupt):
            self.judge.corrupt(str(error))
            self.end_life()
            return True
        return False

    async def _keep_checkpoints(self, checkpoints: Checkpoints) -> None:
        """Load the last checkpoint, then save one now and then: numbers that nobody can mistake for others."""
        judge = self.judge
        faults = self.world.hits["disk_fails"]
        try:
            loaded = await checkpoints.load()
        except StoreError:
            return
        judge.loaded(loaded, readable=self.world.disk.fault is None and faults == self.world.hits["disk_fails"])
        if loaded.notes:
            self.world.sometimes.reach(CHECKPOINT_DAMAGED)
        if loaded.payload is not None:
            self.world.sometimes.reach(CHECKPOINT_FOUND)
        while True:
            await trio.sleep(self._rng.uniform(2.0, 25.0))
            payload = self._rng.randbytes(self._rng.randrange(1, LONGEST_CHECKPOINT_BYTES))
            number = judge.saving(payload)
            try:
                await checkpoints.save(payload)
            except StoreError:
                continue
            judge.saved(number)

    async def _run_markets(self, checkpoints: Checkpoints) -> None:
        while True:
            try:
                await self._run_market(checkpoints)
            except StartupError:
                await trio.sleep(1.0)

    async def _run_market(self, checkpoints: Checkpoints) -> None:
        """Keep a market, which begins with what the one before it knew."""
        world = self.world
        notes: list[str] = []
        async with open_market(world.config, runtime=world.runtime) as market, trio.open_nursery() as nursery:
            restored = await restore_checkpoint(checkpoints, market, notes.append)
            if restored is not None:
                world.sometimes.reach(RESTORED)
                judge = RestoredJudge(self.verdict, market.publisher, restored)
                market.publisher.observe(judge.see)
                nursery.start_soon(self._look_at, judge)
            nursery.start_soon(run_checkpointer, checkpoints, market, dict[str, Account](), notes.append)
            symbol = world.exchange.symbols[0]
            async with market.feed.subscribe(Book(symbol), Ticker(symbol), on_full=Bounded()) as events:
                async for _ in events:
                    await trio.lowlevel.checkpoint()

    async def _look_at(self, judge: RestoredJudge) -> None:
        while True:
            judge.look()
            await trio.sleep(0.1)

    # -- between lives, and beside them

    async def start_anew(self, why: str) -> None:
        """Do what an operator does about a store that is damaged: remove it."""
        disk = self.world.disk
        self.judge.corrupt(why)
        self.world.sometimes.reach(DAMAGE_REFUSED)
        try:
            for name in (DATABASE, f"{DATABASE}-wal"):
                if disk.exists(f"{STATE}/{name}"):
                    disk.remove(f"{STATE}/{name}")
            disk.sync_directory(STATE)
        except OSError:
            return  # it will be damaged next time as well
        self.judge.removed = True
        await trio.lowlevel.checkpoint()

    def _begin_key_anew(self) -> None:
        """Give the key a new beginning, as another one would have: nothing is known of the nonces of before."""
        for key in self.world.exchange.accounts.api_keys.values():
            key.last_nonce = -1

    async def second_engine(self, shares: Literal["directory", "key"]) -> None:
        """Open what the present life may hold, as another process would; it has to be refused, and told by whom."""
        runtime = self.world.runtime
        try:
            if shares == "key":
                with hold_key(runtime, self.key.fingerprint, "a second engine"):
                    self._check_alone("the key")
            else:
                async with open_store(runtime, STATE) as store:
                    self._check_alone("the directory")
                    self.judge.opened(store.opened)  # what may be missing is said to whoever is the first to look
                    self.judge.read(await store.history("diary").latest())
        except StoreLocked as error:
            self.world.sometimes.reach(ENGINE_REFUSED)
            named = "process 1 on a simulated machine" in str(error)
            if not named and "whose name cannot be read" not in str(error):
                self.verdict.fail("D-2", f"expected the holder to be named, got {error}")
        except StoreError:
            return

    def _check_alone(self, what: str) -> None:
        if self._holds is not None:
            self.verdict.fail("D-2", f"expected one engine, got a second one with {what}")

    def look_for_secrets(self, secrets: Sequence[str]) -> None:
        """Look for ``secrets`` in everything on the disk."""
        files = self.world.runtime.files
        try:
            names = files.list_directory(STATE)
        except OSError:
            return  # there is none yet
        self.judge.files([(name, files.read_bytes(f"{STATE}/{name}")) for name in names], secrets)
