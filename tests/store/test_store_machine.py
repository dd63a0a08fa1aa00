"""Whatever is written, refused, crashed and opened again, a store is what a dictionary would be that cannot crash."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.store.stores import HOME

from kraken_engine.errors import StoreError
from kraken_engine.runtime import seeded_rng
from kraken_engine.sim.disk import SimDisk
from kraken_engine.store.connection import Database
from kraken_engine.store.fills import Fills
from kraken_engine.store.nonces import Nonces
from kraken_engine.store.schema import CURSORS, FILLS, MIGRATIONS, NONCES
from kraken_engine.store.sealed import Transaction
from kraken_engine.store.wal import LogState

Model = tuple[dict[str, int], tuple[str, ...], int]
"""Marks by key, ids of fills in order, cursor."""

keys = st.sampled_from(["a", "b", "c"])
ids = st.lists(st.sampled_from([f"E{number}" for number in range(12)]), min_size=1, max_size=4)


class StoreAgainstModel(RuleBasedStateMachine):
    """One database on a disk that crashes, fails and is opened again; ``possible`` is what may be in it."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = SimDisk()
        self.disk.make_directory(HOME)
        self.possible: list[Model] = [({}, (), 0)]
        self.database = self.opened()

    def opened(self) -> Database:
        database = Database(self.disk, HOME, MIGRATIONS, log_transactions=3)
        database.open()
        assert database.log_state is not LogState.BROKEN
        return database

    def transact(self, work: Callable[[Transaction], object], becomes: Callable[[Model], Model]) -> None:
        after = [becomes(model) for model in self.possible]
        try:
            self.database.run(work)
        except StoreError:
            self.possible += [model for model in after if model not in self.possible]
        else:
            self.possible = after

    @rule(key=keys, mark=st.integers(1, 9))
    def raise_mark(self, key: str, mark: int) -> None:
        self.transact(
            _captured(lambda transact: Nonces(transact).raise_mark(key, mark)),
            lambda model: ({**model[0], key: max(mark, model[0].get(key, 0))}, *model[1:]),
        )

    @rule(exec_ids=ids)
    def append_fills(self, exec_ids: list[str]) -> None:
        self.transact(
            _captured(lambda transact: Fills(transact, "main", keep=1_000).append([(each, b"x") for each in exec_ids])),
            lambda model: (model[0], tuple(dict.fromkeys([*model[1], *exec_ids])), model[2]),
        )

    @rule(behind=st.integers(0, 3))
    def acknowledge(self, behind: int) -> None:
        number = max(0, min(len(model[1]) for model in self.possible) - behind)
        self.transact(
            _captured(lambda transact: Fills(transact, "main", keep=1_000).acknowledge("bot", number)),
            lambda model: (*model[:2], max(model[2], number)),
        )

    @rule(step=st.integers(1, 8))
    def have_a_bad_day(self, step: int) -> None:
        self.disk.fail_at(step)

    @rule()
    def restart(self) -> None:
        self.disk.fail_at(10**9)
        self.database.close()
        self.database = self.opened()
        self.possible = [self.found()]

    @rule(seed=st.integers(0, 2**32))
    def crash(self, seed: int) -> None:
        self.disk.fail_at(10**9)
        self.disk.crash(seeded_rng(seed))
        with contextlib.suppress(StoreError):  # it was opened before the crash
            self.database.close()
        self.database = self.opened()
        found = self.found()
        assert found in self.possible
        self.possible = [found]

    @invariant()
    def it_holds_what_it_may(self) -> None:
        fail_at, self.disk._fail_at = self.disk._fail_at, None  # looking changes nothing
        try:
            assert self.found() in self.possible
        finally:
            self.disk._fail_at = fail_at

    def teardown(self) -> None:
        self.disk.fail_at(10**9)
        self.database.close()

    def found(self) -> Model:
        def read(transaction: Transaction) -> Model:
            marks = {str(key): int(mark) for key, mark in transaction.rows(NONCES)}
            fills = transaction.rows(FILLS, "main")
            assert [row[1] for row in fills] == list(range(1, len(fills) + 1))
            cursor = transaction.get(CURSORS, "main", "bot")
            return marks, tuple(str(row[2]) for row in fills), 0 if cursor is None else int(cursor[2])

        return self.database.run(read)


def _captured(use: Callable[..., object]) -> Callable[[Transaction], object]:
    """Return the function that a repository hands to the store as its transaction."""
    works: list[Callable[[Transaction], object]] = []

    async def transact(work: Callable[[Transaction], object]) -> object:
        works.append(work)
        return None

    coroutine = use(transact)
    with contextlib.suppress(StopIteration):
        coroutine.send(None)  # type: ignore[attr-defined]
    return works[0]


TestStoreAgainstModel = StoreAgainstModel.TestCase
TestStoreAgainstModel.settings = settings(max_examples=max(25, settings().max_examples // 10), stateful_step_count=20)
