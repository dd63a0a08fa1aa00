"""``open_store``: what must survive a restart, as a scope.

A transaction is one plain function that runs whole in the store's worker::

    mark = await store.transact(lambda transaction: transaction.get(NONCES, fingerprint))

Cancelled, the wait ends and the transaction does not: it may be written all the same, and then whole. So whoever is
cancelled, or gets a :class:`~kraken_engine.errors.StoreError`, knows "perhaps", never "no".

Decides what opening a damaged store leads to. Damage that can be recognised is refused
(:class:`~kraken_engine.errors.StoreCorrupt`); where the last transaction may or may not be missing, the store goes on
with what errs on the safe side, and says so in ``store.opened``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeVar, final

import attrs
import trio

from kraken_engine.config import StoreSettings
from kraken_engine.errors import StoreError
from kraken_engine.runtime import Runtime, Worker
from kraken_engine.store.connection import Database
from kraken_engine.store.connects import ConnectLog, add_connect
from kraken_engine.store.fills import Fills
from kraken_engine.store.history import History
from kraken_engine.store.nonces import Nonces, raise_all_marks
from kraken_engine.store.schema import MIGRATIONS, Migration
from kraken_engine.store.sealed import Transaction
from kraken_engine.store.wal import LogState

__all__ = ["Opened", "Store", "StoreHealth", "open_store"]

T = TypeVar("T")

AHEAD_NS: Final = 60 * 10**9
"""How far above clock and old mark nonces go on when a raise of the mark may be missing: more than any block."""

_CUT: Final = "the last transaction was not finished, or is no longer readable"
_LOST: Final = (
    "not closed, and its log is empty: it ended just as the log was emptied, or somebody else emptied it, and "
    "what was written last is gone"
)


@attrs.frozen(kw_only=True)
class Opened:
    """How a store was found."""

    created: bool
    """There was none: nothing is known of nonces and fills of before."""
    migrated: int
    """Versions by which it was brought up to date."""
    cut: bool
    """The last transaction may be missing; what that means was made good, as ``notes`` say."""
    log_lost: bool
    """Nobody closed the store, and its log is empty: everything since it was last emptied may be missing; also made
    good."""
    notes: tuple[str, ...]
    """All of it in words, for whoever runs the engine; empty after a normal stop."""


@attrs.frozen(kw_only=True)
class StoreHealth:
    """How a store is doing."""

    transactions: int
    """Written and acknowledged."""
    failures: int
    failing: str | None
    """What the last transaction failed with; None once one that writes succeeds."""
    slowest_s: float
    waiting: int
    """Transactions that wait for the disk now."""


@final
class Store:
    """An open store; made by :func:`open_store`."""

    def __init__(
        self,
        *,
        runtime: Runtime,
        directory: str,
        settings: StoreSettings,
        database: Database,
        worker: Worker,
        opened: Opened,
        on_trouble: Callable[[str | None], None] | None,
    ) -> None:
        self.directory = directory
        self.opened = opened
        self._runtime = runtime
        self._settings = settings
        self._database = database
        self._worker = worker
        self._on_trouble = on_trouble
        self._health = StoreHealth(transactions=0, failures=0, failing=None, slowest_s=0.0, waiting=0)
        self.nonces = Nonces(self.transact)
        """The nonce below which all used ones are, by key."""
        self.connects = ConnectLog(self.transact, runtime.clock)
        """Attempts to connect, so that the venue's limit holds across restarts."""

    def history(self, stream: str) -> History:
        """Return the history called ``stream``: ``failover``, ``keys``."""
        return History(self.transact, self._runtime.clock, stream, most=self._settings.history_entries)

    def fills(self, account: str) -> Fills:
        """Return the fills of an account, and who has seen how many of them."""
        return Fills(self.transact, account, keep=self._settings.fills_kept)

    def health(self) -> StoreHealth:
        """Return how the store is doing."""
        return self._health

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run ``work`` as one transaction in the store's worker, and return what it returns once that is durable.

        Args:
            work: plain Python, quick, without side effects: it runs in another thread, to its end even if nobody
                waits any more.

        Raises:
            StoreCorrupt: what it read is not as it was written.
            StoreError: the disk failed, is full, or took longer than ``timeout_s``; see the module.
            Exception: whatever ``work`` raises; nothing is written then.
        """
        if self._health.waiting >= self._settings.max_waiting:
            self._failed(f"{self.directory}: {self._health.waiting} transactions wait for the disk already")
            raise StoreError(self._health.failing or "")

        def attempt() -> tuple[T, bool]:
            return self._database.run(lambda transaction: (work(transaction), transaction.writes))

        began_s = self._runtime.clock.now()
        self._count(waiting=1)
        try:
            result, wrote = await _within(self._worker, attempt, self._settings.timeout_s, self.directory)
        except StoreError as error:
            self._failed(str(error))
            raise
        finally:
            self._count(waiting=-1)
        self._succeeded(self._runtime.clock.now() - began_s, wrote=wrote)
        return result

    def _count(self, *, waiting: int) -> None:
        self._health = attrs.evolve(self._health, waiting=self._health.waiting + waiting)

    def _failed(self, what: str) -> None:
        healthy = self._health.failing is None
        self._health = attrs.evolve(self._health, failures=self._health.failures + 1, failing=what)
        if healthy and self._on_trouble is not None:
            self._on_trouble(what)

    def _succeeded(self, took_s: float, *, wrote: bool) -> None:
        health = self._health
        self._health = attrs.evolve(
            health,
            transactions=health.transactions + 1,
            failing=None if wrote else health.failing,  # reading says nothing of whether writes succeed
            slowest_s=max(health.slowest_s, took_s),
        )
        if health.failing is not None and wrote and self._on_trouble is not None:
            self._on_trouble(None)


@asynccontextmanager
async def open_store(
    runtime: Runtime,
    directory: str,
    *,
    settings: StoreSettings | None = None,
    on_trouble: Callable[[str | None], None] | None = None,
    migrations: Sequence[Migration] = MIGRATIONS,
) -> AsyncGenerator[Store]:
    """Open the store in ``directory``, which is made if need be, for as long as the block lasts.

    The directory is locked: no other engine can open it meanwhile. Leaving the block closes the store, also when it is
    cancelled, and waits for that ``close_timeout_s`` at most; a disk that takes longer closes it when it can.

    Args:
        runtime: its files, workers and clock.
        directory: absolute path.
        settings: limits and deadlines.
        on_trouble: told what is wrong when transactions begin to fail, and None when they succeed again.
        migrations: the schema, version by version; for tests.

    Raises:
        StoreLocked: another engine has it; it is named.
        StoreCorrupt: it is not as it was written; nothing of it is used.
        StoreError: the disk does not allow it, or did not answer within ``open_timeout_s``.
    """
    settings = settings or StoreSettings()
    worker = runtime.workers.worker("store")
    database = Database(runtime.files, directory, migrations, log_transactions=settings.log_transactions)

    def begin() -> Opened:
        database.open()
        return _look(database, runtime.clock.wall_ns())

    try:
        opened = await _within(worker, begin, settings.open_timeout_s, directory)
        yield Store(
            runtime=runtime,
            directory=directory,
            settings=settings,
            database=database,
            worker=worker,
            opened=opened,
            on_trouble=on_trouble,
        )
    finally:
        # A worker that is busy when the wait for it ends never gets as far as closing.
        database.give_up()
        with trio.move_on_after(settings.close_timeout_s, shield=True) as closing:
            await _close(worker, database, on_trouble)
        if closing.cancelled_caught and on_trouble is not None:
            on_trouble(
                f"{database.path}: not closed within {settings.close_timeout_s:g} s; it closes when the disk answers"
            )


async def _within(worker: Worker, work: Callable[[], T], timeout_s: float, what: str) -> T:
    """Return what the worker's ``work`` returns, if that comes in time.

    Raises:
        StoreError: it did not; it goes on all the same.
        Exception: whatever ``work`` raises.
    """
    with trio.move_on_after(timeout_s):
        return await worker.run(work)
    raise StoreError(
        f"{what}: expected the disk to answer within {timeout_s:g} s; what was asked may be done all the same"
    )


async def _close(worker: Worker, database: Database, on_trouble: Callable[[str | None], None] | None) -> None:
    """Close, whatever happened; what could not be written then is in the log, and is found there next time."""
    try:
        await worker.run(database.close)
    except StoreError as error:
        if on_trouble is not None:
            on_trouble(str(error))


def _look(database: Database, wall_ns: int) -> Opened:
    """Say how the store was found, and make good what the last transaction may have been."""
    notes: list[str] = []
    if database.created:
        notes.append(f"{database.path}: made anew; nothing is known of nonces and fills of before")
    if database.migrated:
        notes.append(f"{database.path}: brought up to date by {database.migrated} versions")
    cut, lost = database.log_state is LogState.CUT, database.log_lost
    if cut or lost:
        notes.append(f"{database.path}: {_LOST if lost else _CUT}")

        def make_good(transaction: Transaction) -> list[str]:
            add_connect(transaction, wall_ns)
            return raise_all_marks(transaction, wall_ns, AHEAD_NS)

        raised = database.run(make_good)
        notes += [f"nonces of key {key}: go on above the clock, for a mark may be missing" for key in raised]
        notes.append("attempts to connect: one more is counted, for one may be missing")
    return Opened(created=database.created, migrated=database.migrated, cut=cut, log_lost=lost, notes=tuple(notes))
