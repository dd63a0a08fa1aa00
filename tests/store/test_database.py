"""What the store has acknowledged it gives back, whole, to one engine at a time, and it says what it cannot do."""

from __future__ import annotations

import errno
import threading
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import apsw
import attrs
import pytest
import trio
import trio.testing
from tests.store.stores import FILLED, HOME, FixedClock, everything, fill, on_disk, on_real_disk

from kraken_engine.config import BackoffSettings, StoreSettings
from kraken_engine.control import connect_budget as control
from kraken_engine.errors import StoreCorrupt, StoreError, StoreLocked, UsageError
from kraken_engine.runtime import Runtime, Worker, seeded_rng
from kraken_engine.sim.disk import DiskFault, SimDisk
from kraken_engine.store.connection import DATABASE
from kraken_engine.store.database import Store, open_store
from kraken_engine.store.schema import MIGRATIONS, NONCES, Migration
from kraken_engine.store.sealed import Table, Transaction


@pytest.fixture(params=["real", "simulated"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Runtime, str]:
    if request.param == "simulated":
        return on_disk(SimDisk()), HOME
    return on_real_disk(), str(tmp_path / "state")


@pytest.fixture
def disk() -> SimDisk:
    return SimDisk()


@pytest.fixture
async def store(disk: SimDisk) -> AsyncGenerator[Store]:
    async with open_store(on_disk(disk), HOME) as store:
        yield store


# --- what is kept -------------------------------------------------------------------------------------------------


async def test_what_was_written_is_there_after_a_restart(world: tuple[Runtime, str]) -> None:
    async with open_store(*world) as store:
        assert store.opened.created
        assert store.opened.notes == (
            f"{world[1]}/store.db: made anew; nothing is known of nonces and fills of before",
        )
        await fill(store)
        assert await everything(store) == FILLED
    async with open_store(*world) as store:
        assert not store.opened.created
        assert store.opened.notes == ()
        assert await everything(store) == FILLED


async def test_a_mark_only_rises(store: Store) -> None:
    await store.nonces.raise_mark("k", 10)
    await store.nonces.raise_mark("k", 9)
    assert await store.nonces.mark("k") == 10
    await store.nonces.raise_mark("k", 2**63 - 1)
    assert await store.nonces.mark("k") == 2**63 - 1
    for impossible in (0, -1, 2**63):
        with pytest.raises(UsageError, match="nonce mark: expected a number above 0 and below"):
            await store.nonces.raise_mark("k", impossible)


async def test_attempts_to_connect_outlive_a_process_and_never_lie_in_the_future(disk: SimDisk) -> None:
    clock = FixedClock()
    first = clock.wall
    async with open_store(on_disk(disk, clock=clock), HOME) as store:
        await store.connects.append(first)
        await store.connects.append(first + 5)
    clock.wall += 5
    async with open_store(on_disk(disk, clock=clock), HOME) as store:
        assert await store.connects.load() == (first, first + 5)
        clock.wall -= 10
        assert await store.connects.load() == (first - 5, first - 5)
    clock.wall += 7
    async with open_store(on_disk(disk, clock=clock), HOME) as store:
        assert await store.connects.load() == (first - 5, first - 5), "they age from when they were first seen"


async def test_a_budget_goes_on_where_the_last_process_left_it(disk: SimDisk) -> None:
    clock = FixedClock()
    settings = BackoffSettings(max_attempts=3, window_s=600.0, min_gap_s=0.0)
    async with open_store(on_disk(disk, clock=clock), HOME) as store:
        log: control.ConnectLog = store.connects
        for _ in range(3):
            await log.append(clock.wall)
    clock.wall += 100 * 10**9
    async with open_store(on_disk(disk, clock=clock), HOME) as store:
        budget = control.ConnectBudget(settings)
        budget.restore([(clock.wall - at) / 1e9 for at in await store.connects.load()], now=50.0)
        assert budget.reserve(now=50.0) == 500.0


async def test_a_failing_disk_keeps_nobody_from_connecting(disk: SimDisk, store: Store) -> None:
    disk.fault = DiskFault.FULL
    await store.connects.append(1)
    assert store.health().failures == 1


async def test_the_log_of_attempts_is_bounded(store: Store) -> None:
    for number in range(1_010):
        await store.connects.append(number)
    assert len(await store.connects.load()) == 1_000


async def test_a_history_is_bounded_and_keeps_its_numbers(disk: SimDisk) -> None:
    async with open_store(on_disk(disk), HOME, settings=StoreSettings(history_entries=3)) as store:
        history = store.history("failover")
        assert [await history.append(b"%d" % number) for number in range(1, 6)] == [1, 2, 3, 4, 5]
        assert [(entry.number, entry.body) for entry in await history.latest()] == [(3, b"3"), (4, b"4"), (5, b"5")]
        assert [entry.body for entry in await history.latest(1)] == [b"5"]
        assert await store.history("keys").latest() == []


async def test_a_fill_is_written_once_and_delivered_until_it_is_acknowledged(store: Store) -> None:
    fills = store.fills("main")
    assert [fill.number for fill in await fills.append([("E1", b"1"), ("E2", b"2")])] == [1, 2]
    assert [fill.exec_id for fill in await fills.append([("E2", b"2"), ("E3", b"3"), ("E3", b"3")])] == ["E3"]
    assert [fill.exec_id for fill in await fills.after(0)] == ["E1", "E2", "E3"]
    assert [fill.exec_id for fill in await fills.after(1, limit=1)] == ["E2"]
    assert await store.fills("other").after(0) == []
    assert await fills.cursor("bot") == 0
    await fills.acknowledge("bot", 2)
    await fills.acknowledge("bot", 1)
    assert (await fills.cursor("bot"), await fills.cursor("other"), await fills.last()) == (2, 0, 3)
    with pytest.raises(UsageError, match="fills of main: expected a number from 0 to 3, got 4"):
        await fills.acknowledge("bot", 4)


async def test_only_fills_that_everybody_has_are_forgotten(disk: SimDisk) -> None:
    async with open_store(on_disk(disk), HOME, settings=StoreSettings(fills_kept=2)) as store:
        fills = store.fills("main")
        for number in range(1, 7):
            await fills.append([(f"E{number}", b"")])
        assert len(await fills.after(0)) == 6
        await fills.acknowledge("slow", 3)
        await fills.acknowledge("quick", 6)
        await fills.append([("E7", b"")])
        assert [fill.number for fill in await fills.after(0)] == [4, 5, 6, 7]
        await fills.acknowledge("slow", 7)
        await fills.acknowledge("quick", 7)
        await fills.append([("E8", b"")])
        assert [fill.number for fill in await fills.after(0)] == [7, 8]


# --- transactions -------------------------------------------------------------------------------------------------


async def test_a_transaction_that_raises_writes_nothing_and_the_next_one_works(world: tuple[Runtime, str]) -> None:
    def half(transaction: Transaction) -> None:
        transaction.put(NONCES, "a", 5)
        raise LookupError("x")

    async with open_store(*world) as store:
        with pytest.raises(LookupError, match="x"):
            await store.transact(half)
        assert await store.nonces.mark("a") == 0
        await store.nonces.raise_mark("a", 6)
        assert await store.nonces.mark("a") == 6
        assert store.health().failing is None


async def test_transactions_of_many_tasks_come_one_after_the_other(world: tuple[Runtime, str]) -> None:
    def count(transaction: Transaction) -> None:
        row = transaction.get(NONCES, "a")
        transaction.put(NONCES, "a", 1 if row is None else int(row[1]) + 1)

    async with open_store(*world) as store:
        async with trio.open_nursery() as nursery:
            for _ in range(40):
                nursery.start_soon(store.transact, count)
        assert await store.nonces.mark("a") == 40
        assert store.health().transactions == 41


async def test_a_cancelled_wait_may_have_written_and_then_the_whole_transaction(tmp_path: Path) -> None:
    gate, begun = threading.Event(), threading.Event()

    def slow(transaction: Transaction) -> None:
        transaction.put(NONCES, "a", 5)
        begun.set()
        gate.wait()
        transaction.put(NONCES, "b", 6)

    async with open_store(on_real_disk(), str(tmp_path / "state")) as store:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.transact, slow)
            await trio.to_thread.run_sync(begun.wait)
            nursery.cancel_scope.cancel()
        gate.set()
        assert (await store.nonces.mark("a"), await store.nonces.mark("b")) == (5, 6)


async def test_in_simulation_a_cancelled_wait_has_written_all_or_nothing(autojump_clock: object) -> None:
    outcomes = set()
    for seed in range(60):
        runtime = on_disk(SimDisk())
        workers: Any = runtime.workers
        workers.rng = seeded_rng(seed)
        async with open_store(runtime, HOME) as store:
            workers.wait_s = 1.0
            told = False
            with trio.move_on_after(0.7):
                await store.nonces.raise_mark("a", 5)
                told = True
            workers.wait_s = 0.0
            outcomes.add((await store.nonces.mark("a"), told))
    assert outcomes == {(0, False), (5, False), (5, True)}


async def test_a_disk_that_does_not_answer_fails_the_caller_in_time(autojump_clock: object) -> None:
    runtime = on_disk(SimDisk())
    workers: Any = runtime.workers
    troubles: list[str | None] = []
    async with open_store(runtime, HOME, on_trouble=troubles.append) as store:
        workers.wait_s = 1e6
        began_s = trio.current_time()
        with pytest.raises(StoreError, match=r"expected the disk to answer within 5 s; .* may be done all the same"):
            await store.nonces.raise_mark("a", 5)
        assert trio.current_time() == began_s + 5
        workers.wait_s = 0.0
        assert await store.nonces.mark("a") in (0, 5)
        await store.nonces.raise_mark("a", 6)
    assert [trouble is None for trouble in troubles] == [False, True]


async def test_so_many_transactions_may_wait_and_no_more() -> None:
    runtime = on_disk(SimDisk())
    workers: Any = runtime.workers
    async with open_store(runtime, HOME, settings=StoreSettings(max_waiting=3)) as store:
        workers.wait_s = 1e6
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(store.nonces.mark, "a")
            await trio.testing.wait_all_tasks_blocked()
            assert store.health().waiting == 3
            with pytest.raises(StoreError, match="3 transactions wait for the disk already"):
                await store.nonces.mark("a")
            nursery.cancel_scope.cancel()
        workers.wait_s = 0.0
        assert store.health().waiting == 0


# --- a disk that fails --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", DiskFault)
async def test_a_failing_disk_is_named_and_what_was_acknowledged_stays(
    disk: SimDisk, store: Store, fault: DiskFault
) -> None:
    await store.nonces.raise_mark("a", 5)
    disk.fault = fault
    words = {DiskFault.FULL: "the disk is full", DiskFault.READ_ONLY: "read-only", DiskFault.IO_ERROR: "EIO"}
    for _ in range(3):
        with pytest.raises(StoreError, match=f"{HOME}/store.db: cannot write: .*{words[fault]}"):
            await store.nonces.raise_mark("a", 6)
    disk.fault = None
    assert await store.nonces.mark("a") == 5
    await store.nonces.raise_mark("a", 7)
    assert await store.nonces.mark("a") == 7
    assert store.health().failures == 3


@pytest.mark.parametrize("fault", [DiskFault.FULL, DiskFault.READ_ONLY])
async def test_what_was_kept_can_be_read_while_the_disk_takes_no_writes(disk: SimDisk, fault: DiskFault) -> None:
    async with open_store(on_disk(disk), HOME) as store:
        await fill(store)
        disk.fault = fault
        for _ in range(2):
            with pytest.raises(StoreError):
                await store.nonces.raise_mark("bbbb", 8)
            assert await everything(store) == FILLED
            assert store.health().failing
        disk.fault = None
        await store.nonces.raise_mark("bbbb", 8)
        assert store.health().failing is None


async def test_a_row_that_is_damaged_keeps_nothing_else_from_being_written(disk: SimDisk, store: Store) -> None:
    await store.nonces.raise_mark("damaged", 1)
    await store.nonces.raise_mark("whole", 1)

    def damage(transaction: Transaction) -> None:
        transaction._connection.execute("update nonces set mark = 7 where fingerprint = 'damaged'")

    await store.transact(damage)
    with pytest.raises(StoreCorrupt, match="not as it was written") as held:  # as a log keeps it, or a traceback
        await store.nonces.raise_mark("damaged", 9)
    disk.fault = DiskFault.FULL
    with pytest.raises(StoreError, match="full"):
        await store.nonces.raise_mark("whole", 5)
    disk.fault = None
    await store.nonces.raise_mark("whole", 5)
    assert await store.nonces.mark("whole") == 5
    assert isinstance(held.value, StoreCorrupt)


async def test_trouble_is_told_once_when_it_begins_and_once_when_it_ends(disk: SimDisk) -> None:
    troubles: list[str | None] = []
    async with open_store(on_disk(disk), HOME, on_trouble=troubles.append) as store:
        disk.fault = DiskFault.FULL
        for _ in range(2):
            with pytest.raises(StoreError):
                await store.nonces.raise_mark("a", 5)
        assert troubles == [f"{HOME}/store.db: cannot write: the disk is full"]
        disk.fault = None
        await store.nonces.raise_mark("a", 5)
        assert troubles[1:] == [None]


async def test_every_single_failing_step_of_a_transaction_is_survived_and_reported() -> None:
    steps = 0
    for step in range(1, 100):
        disk = SimDisk()
        async with open_store(on_disk(disk), HOME, settings=StoreSettings(log_transactions=2)) as store:
            await store.nonces.raise_mark("a", 5)
            before = disk.steps
            disk.fail_at(step)
            failed = False
            try:
                await store.nonces.raise_mark("a", 6)
            except StoreError:
                failed = True
            reached = disk.steps - before >= step
            disk.fail_at(10**6)
            assert await store.nonces.mark("a") in ((5, 6) if failed else (6,))
            await store.nonces.raise_mark("a", 7)
            await store.nonces.raise_mark("a", 8)
        async with open_store(on_disk(disk), HOME) as store:
            assert await store.nonces.mark("a") == 8
        if not reached:
            steps = step
            break
    assert steps > 5


async def test_every_single_failing_step_of_opening_is_reported_and_leaves_nothing_locked() -> None:
    for step in range(1, 200):
        disk = SimDisk()
        disk.fail_at(step)
        try:
            async with open_store(on_disk(disk), HOME):
                pass
        except StoreError:
            pass
        finished = disk.steps < step
        disk.fail_at(10**6)
        async with open_store(on_disk(disk), HOME) as store:
            await store.nonces.raise_mark("a", 5)
            assert await store.nonces.mark("a") == 5
        if finished:
            return
    pytest.fail("opening takes more than 200 steps")


async def test_a_log_that_cannot_be_emptied_grows_only_so_far() -> None:
    class FullForTheDatabase(SimDisk):
        """A disk on which the log can be written, and the database cannot."""

        refuse = False

        def write(self, path: str, data: bytes, *, offset: int = 0) -> None:
            if self.refuse and path.endswith(DATABASE):
                raise OSError(errno.ENOSPC, "ENOSPC", path)
            super().write(path, data, offset=offset)

    disk = FullForTheDatabase()
    async with open_store(on_disk(disk), HOME, settings=StoreSettings(log_transactions=2)) as store:
        FullForTheDatabase.refuse = True
        written = 0
        with pytest.raises(StoreError, match="the disk is full"):
            for mark in range(1, 1_000):
                await store.nonces.raise_mark("a", mark)
                written = mark
        FullForTheDatabase.refuse = False
        assert written == 2 * 20
        assert await store.nonces.mark("a") == written
        await store.nonces.raise_mark("a", 1_000)


# --- one engine at a time -----------------------------------------------------------------------------------------


async def test_a_second_engine_is_refused_and_told_who_is_there(world: tuple[Runtime, str]) -> None:
    async with open_store(*world):
        with pytest.raises(StoreLocked, match=f"^{world[1]}: expected to be alone, but process .*{world[1]} holds it$"):
            async with open_store(*world):
                pass
    async with open_store(*world):
        pass


async def test_another_program_with_the_database_open_is_named_as_what_it_is(tmp_path: Path) -> None:
    directory = str(tmp_path / "state")
    async with open_store(on_real_disk(), directory) as store:
        await store.nonces.raise_mark("a", 5)
    other = apsw.Connection(f"{directory}/{DATABASE}")
    other.execute("begin exclusive")
    with pytest.raises(StoreLocked, match=r"store\.db: cannot open: another program has it open"):
        async with open_store(on_real_disk(), directory):
            pass
    other.close()
    async with open_store(on_real_disk(), directory) as store:
        assert await store.nonces.mark("a") == 5


async def test_a_directory_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    directory.mkdir(mode=0o700)
    directory.chmod(0o770)
    with pytest.raises(StoreError, match=r"nobody else may write to, got one of user \d+ with mode 0770"):
        async with open_store(on_real_disk(), str(directory)):
            pass


async def test_files_of_the_store_are_ours_alone(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    async with open_store(on_real_disk(), str(directory)) as store:
        await fill(store)
        found = {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()}
        assert found == dict.fromkeys(["engine.lock", "store.db", "store.db-wal"], 0o600)
    assert directory.stat().st_mode & 0o777 == 0o700


async def test_a_link_in_the_place_of_the_database_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    directory.mkdir(mode=0o700)
    (tmp_path / "elsewhere").write_bytes(b"")
    (directory / "store.db").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="cannot open"):
        async with open_store(on_real_disk(), str(directory)):
            pass


async def test_a_file_in_the_place_of_the_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"")
    with pytest.raises(StoreError, match=f"cannot open: {tmp_path}/state: File exists"):
        async with open_store(on_real_disk(), str(tmp_path / "state")):
            pass


# --- cancellation -------------------------------------------------------------------------------------------------


async def test_a_store_that_is_cancelled_while_it_opens_leaves_no_lock(autojump_clock: object) -> None:
    for tenth in range(1, 12):
        disk = SimDisk()
        runtime = on_disk(disk, wait_s=1.0)
        with trio.move_on_after(tenth / 10):
            async with open_store(runtime, HOME):
                pass
        disk.lock(f"{HOME}/engine.lock" if disk.exists(f"{HOME}/engine.lock") else "/lock", "me").release()


class HangingWorkers:
    """Workers whose disk never answers once ``hang`` is set."""

    def __init__(self) -> None:
        self.hang = False

    def worker(self, name: str) -> Worker:
        return self

    async def run(self, work: Callable[[], Any]) -> Any:
        if self.hang:
            await trio.sleep_forever()
        return work()


async def test_closing_waits_for_a_hanging_disk_only_so_long(autojump_clock: object) -> None:
    workers = HangingWorkers()
    runtime = attrs.evolve(on_disk(SimDisk()), workers=workers)
    troubles: list[str | None] = []
    async with open_store(runtime, HOME, on_trouble=troubles.append):
        workers.hang = True
        began_s = trio.current_time()
    assert trio.current_time() == began_s + 5
    assert len(troubles) == 1
    assert "within 5 s" in str(troubles[0])


async def test_a_disk_that_hangs_keeps_nobody_from_connecting(autojump_clock: object) -> None:
    workers = HangingWorkers()
    async with open_store(attrs.evolve(on_disk(SimDisk()), workers=workers), HOME) as store:
        workers.hang = True
        began_s = trio.current_time()
        await store.connects.append(1)
        assert trio.current_time() - began_s <= 0.5


# --- versions -----------------------------------------------------------------------------------------------------

OLD = Table("words", (("word", str), ("times", int)))
NEW = Table("counts", (("word", str), ("times", int), ("note", str)))


async def test_what_nobody_could_wait_for_closes_itself_when_the_disk_answers(tmp_path: Path) -> None:
    runtime, directory = on_real_disk(), str(tmp_path / "state")
    begun, answers = threading.Event(), threading.Event()
    told: list[str | None] = []

    def hang(transaction: Transaction) -> None:
        transaction.put(NONCES, "k", 5)
        begun.set()
        answers.wait(30)

    settings = StoreSettings(close_timeout_s=0.05)
    async with (
        open_store(runtime, directory, settings=settings, on_trouble=told.append) as store,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(store.transact, hang)
        await trio.to_thread.run_sync(begun.wait)
        nursery.cancel_scope.cancel()
    assert "it closes when the disk answers" in (told[-1] or "")
    with pytest.raises(StoreLocked):
        async with open_store(runtime, directory):
            pass
    answers.set()
    with trio.fail_after(30):
        while True:
            try:
                async with open_store(runtime, directory) as again:
                    assert await again.nonces.mark("k") == 5  # it went on to its end
                    return
            except StoreLocked:
                await trio.lowlevel.checkpoint()


def carry_over(transaction: Transaction) -> None:
    for word, times in transaction.rows(OLD):
        transaction.put(NEW, word, times, "from version 2")


VERSION_2 = (*MIGRATIONS, Migration(creates=(OLD,)))
VERSION_3 = (*VERSION_2, Migration(creates=(NEW,), convert=carry_over, drops=(OLD,)))


async def test_an_older_store_is_brought_up_to_date_with_all_it_holds(world: tuple[Runtime, str]) -> None:
    async with open_store(*world) as store:
        await fill(store)
    async with open_store(*world, migrations=VERSION_2) as store:
        assert (store.opened.migrated, store.opened.created) == (1, False)
        await store.transact(lambda transaction: transaction.put(OLD, "a", 5))
    async with open_store(*world, migrations=VERSION_3) as store:
        assert store.opened.notes == (f"{world[1]}/store.db: brought up to date by 1 versions",)
        assert await store.transact(lambda transaction: transaction.rows(NEW)) == [("a", 5, "from version 2")]
        assert await everything(store) == FILLED
    async with open_store(*world, migrations=VERSION_3) as store:
        assert store.opened.migrated == 0


async def test_a_new_store_gets_every_version_at_once(disk: SimDisk) -> None:
    async with open_store(on_disk(disk), HOME, migrations=VERSION_3) as store:
        assert (store.opened.migrated, store.opened.created) == (0, True)
        assert await store.transact(lambda transaction: transaction.rows(NEW)) == []


async def test_a_store_of_a_newer_engine_is_refused(disk: SimDisk) -> None:
    async with open_store(on_disk(disk), HOME, migrations=VERSION_3):
        pass
    with pytest.raises(StoreError, match="schema: expected version 1 or older, got 3: a newer engine made it"):
        async with open_store(on_disk(disk), HOME):
            pass


async def test_a_migration_that_fails_changes_nothing(disk: SimDisk) -> None:
    def fail(transaction: Transaction) -> None:
        carry_over(transaction)
        raise LookupError("x")

    async with open_store(on_disk(disk), HOME, migrations=VERSION_2) as store:
        await store.transact(lambda transaction: transaction.put(OLD, "a", 5))
    broken = (*VERSION_2, Migration(creates=(NEW,), convert=fail, drops=(OLD,)))
    with pytest.raises(LookupError):
        async with open_store(on_disk(disk), HOME, migrations=broken):
            pass
    async with open_store(on_disk(disk), HOME, migrations=VERSION_2) as store:
        assert await store.transact(lambda transaction: transaction.rows(OLD)) == [("a", 5)]


async def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    directory.mkdir(mode=0o700)
    with apsw.Connection(f"{directory}/{DATABASE}") as other:
        other.execute("create table theirs(a)")
    other.close()
    with pytest.raises(StoreCorrupt, match="expected a store of this engine, got application id 0"):
        async with open_store(on_real_disk(), str(directory)):
            pass
