"""A checkpoint is the last one or the one before it, and whatever else was found is said."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.store.stores import HOME, on_disk

from kraken_engine.errors import StoreCorrupt, StoreError, UsageError
from kraken_engine.runtime import seeded_rng
from kraken_engine.sim.disk import DiskFault, SimDisk
from kraken_engine.store.checkpoint import MAX_BYTES, CheckpointFiles, Checkpoints, Loaded, seal, unseal


@pytest.fixture
def disk() -> SimDisk:
    disk = SimDisk()
    disk.make_directory(HOME)
    return disk


def saved(disk: SimDisk, *payloads: bytes) -> CheckpointFiles:
    files = CheckpointFiles(disk, HOME)
    for payload in payloads:
        files.save(payload)
    return files


def test_without_a_checkpoint_the_start_is_cold_and_nothing_is_wrong(disk: SimDisk) -> None:
    assert saved(disk).load() == Loaded(payload=None, generation=0, notes=())


def test_the_newest_checkpoint_is_loaded_by_the_next_process(disk: SimDisk) -> None:
    saved(disk, b"one", b"two", b"three")
    assert CheckpointFiles(disk, HOME).load() == Loaded(payload=b"three", generation=3, notes=(), before=(2, b"two"))
    saved(disk, b"four")
    assert CheckpointFiles(disk, HOME).load() == Loaded(payload=b"four", generation=4, notes=(), before=(3, b"three"))
    assert disk.list_directory(HOME) == ["checkpoint.0", "checkpoint.1"]


def test_a_corrupt_checkpoint_means_the_one_before_and_that_is_said(disk: SimDisk) -> None:
    saved(disk, b"one", b"two", b"three")
    disk.flip_bit(f"{HOME}/checkpoint.1", 8 * 60)
    loaded = CheckpointFiles(disk, HOME).load()
    assert (loaded.payload, loaded.generation) == (b"two", 2)
    assert loaded.notes == (
        f"{HOME}/checkpoint.1: its digest does not fit",
        "generation 2 of checkpoint.0 is used, which may be the one before the last",
    )
    saved(disk, b"four")
    assert CheckpointFiles(disk, HOME).load().payload == b"four"


def test_without_any_whole_checkpoint_the_start_is_cold_and_that_is_said(disk: SimDisk) -> None:
    saved(disk, b"one", b"two")
    disk.truncate(f"{HOME}/checkpoint.0")
    disk.write(f"{HOME}/checkpoint.1", b"something else, of a size that might be one ....................")
    loaded = CheckpointFiles(disk, HOME).load()
    assert loaded.payload is None
    assert loaded.notes == (
        f"{HOME}/checkpoint.0: expected 56 bytes or more, got 0",
        f"{HOME}/checkpoint.1: expected a checkpoint, got something else",
        "no checkpoint is whole: a cold start",
    )
    saved(disk, b"three", b"four")
    assert CheckpointFiles(disk, HOME).load() == Loaded(payload=b"four", generation=2, notes=(), before=(1, b"three"))


def test_what_cannot_be_read_now_is_not_overtaken_by_a_lower_generation(disk: SimDisk) -> None:
    saved(disk, b"one", b"two", b"three")
    files = CheckpointFiles(disk, HOME)

    def fail() -> None:
        disk.fault = DiskFault.IO_ERROR

    disk.after_step = fail  # the directory can be synced, and then the files cannot be read
    loaded = files.load()
    assert loaded.payload is None  # a cold start, which is said
    assert loaded.notes[0].endswith("checkpoint.0: cannot be read: EIO")
    disk.fault = None
    with pytest.raises(StoreError, match=r"below one that may be there: checkpoint\.1 cannot be read"):
        files.save(b"four")
    disk.fault = disk.after_step = None
    assert files.save(b"four") == 4
    assert CheckpointFiles(disk, HOME).load() == Loaded(payload=b"four", generation=4, notes=(), before=(3, b"three"))


def test_an_older_version_is_not_guessed_at(disk: SimDisk) -> None:
    content = bytearray(seal(1, b"x"))
    content[7] = 9
    with pytest.raises(StoreCorrupt, match="expected version 1, got 9"):
        unseal(bytes(content))


@given(payload=st.binary(max_size=300), generation=st.integers(0, 2**64 - 1), data=st.data())
def test_only_what_was_sealed_is_unsealed(payload: bytes, generation: int, data: st.DataObject) -> None:
    content = seal(generation, payload)
    assert unseal(content) == (generation, payload)
    place = data.draw(st.integers(0, len(content) - 1))
    flipped = bytearray(content)
    flipped[place] ^= data.draw(st.integers(1, 255))
    for other in (bytes(flipped), content[:place], content + b"x"):
        with pytest.raises(StoreCorrupt):
            unseal(other)


@pytest.mark.parametrize("fault", DiskFault)
def test_a_save_that_fails_says_so_and_leaves_the_last_one(disk: SimDisk, fault: DiskFault) -> None:
    files = saved(disk, b"one", b"two")
    disk.fault = fault
    with pytest.raises(StoreError, match=f"{HOME}: cannot save a checkpoint: "):
        files.save(b"three")
    disk.fault = None
    assert CheckpointFiles(disk, HOME).load().payload == b"two"
    assert files.save(b"four") == 3
    assert CheckpointFiles(disk, HOME).load().payload == b"four"


def test_every_single_failing_step_of_a_save_leaves_the_last_two(disk: SimDisk) -> None:
    files = saved(disk, b"one", b"two")
    acknowledged = b"two"
    for step in range(1, 50):
        before = disk.steps
        disk.fail_at(step)
        try:
            files.save(b"save %d" % step)
        except StoreError:
            for after in disk.crash_states(limit=50, rng=seeded_rng(step)):
                assert CheckpointFiles(after, HOME).load().payload in (acknowledged, b"save %d" % step)
        else:
            acknowledged = b"save %d" % step
        if disk.steps - before < step:
            return
    pytest.fail("a save takes more than 50 steps")


def test_a_checkpoint_that_is_too_long_is_refused(disk: SimDisk) -> None:
    with pytest.raises(UsageError, match=f"checkpoint: expected at most {MAX_BYTES} bytes, got {MAX_BYTES + 1}"):
        saved(disk).save(bytes(MAX_BYTES + 1))


async def test_tasks_save_and_load_through_a_worker(disk: SimDisk, autojump_clock: object) -> None:
    checkpoints = Checkpoints(on_disk(disk, wait_s=1.0), HOME)
    assert await checkpoints.save(b"one") == 1
    assert (await checkpoints.load()).payload == b"one"
    assert trio.current_time() > 0


class SavesAndCrashes(RuleBasedStateMachine):
    """Saves, crashes, failures and flips in any order, against the list of what was saved."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = SimDisk(block_bytes=16)
        self.disk.make_directory(HOME)
        self.files = CheckpointFiles(self.disk, HOME)
        self.saves = 0
        self.possible: set[int] = {0}
        """What may be loaded now."""

    @rule()
    def save(self) -> None:
        self.saves += 1
        self.files.save(b"%d" % self.saves)
        self.possible = {self.saves}

    @rule(step=st.integers(1, 12))
    def save_on_a_bad_day(self, step: int) -> None:
        self.saves += 1
        self.disk.fail_at(step)
        try:
            self.files.save(b"%d" % self.saves)
        except StoreError:
            self.possible.add(self.saves)
        else:
            self.possible = {self.saves}
        self.disk.fail_at(10**6)

    @rule(seed=st.integers(0, 2**32))
    def crash(self, seed: int) -> None:
        self.disk.crash(seeded_rng(seed))
        self.files = CheckpointFiles(self.disk, HOME)
        self.possible = {self.loaded()}

    @rule()
    def another_process(self) -> None:
        self.files = CheckpointFiles(self.disk, HOME)
        self.possible = {self.loaded()}

    @rule(bit=st.integers(0, 10_000), slot=st.sampled_from(["checkpoint.0", "checkpoint.1"]))
    def flip_and_flip_back(self, bit: int, slot: str) -> None:
        path = f"{HOME}/{slot}"
        if self.disk.exists(path):
            self.disk.flip_bit(path, bit)
            loaded = CheckpointFiles(self.disk, HOME).load()
            assert loaded.notes
            assert loaded.payload is None or int(loaded.payload) <= self.saves
            self.disk.flip_bit(path, bit)

    @invariant()
    def the_last_save_is_loaded(self) -> None:
        assert self.loaded() in self.possible

    def loaded(self) -> int:
        loaded = CheckpointFiles(self.disk, HOME).load()
        assert loaded.notes == ()
        return int(loaded.payload or b"0")


TestSavesAndCrashes = SavesAndCrashes.TestCase
TestSavesAndCrashes.settings = settings(max_examples=max(30, settings().max_examples // 4))
