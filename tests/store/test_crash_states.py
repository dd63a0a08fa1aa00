"""Whatever a crash leaves, the last acknowledged state comes back; whatever byte flips, nothing is silently wrong.

The short form of ``tests/drills/crash_states.py``; and proof that its eyes are open: each bug planted here is found.
"""

from __future__ import annotations

import contextlib

import pytest
import trio
from tests.drills.crash_states import (
    LATER,
    crash_checkpoints,
    crash_store,
    disk_with,
    flip_checkpoints,
    flip_store,
    store_to_flip,
)
from tests.store.stores import HOME, on_disk, with_store

from kraken_engine.config import StoreSettings
from kraken_engine.errors import StoreError
from kraken_engine.runtime import seeded_rng
from kraken_engine.sim.disk import DiskFault, SimDisk
from kraken_engine.store import checkpoint, connection, wal
from kraken_engine.store.checkpoint import CheckpointFiles
from kraken_engine.store.connection import CLOSED, Database
from kraken_engine.store.database import Opened, Store, open_store
from kraken_engine.store.schema import MIGRATIONS
from kraken_engine.store.sealed import Row, Table
from kraken_engine.store.wal import LogState


class NoDirectorySync(SimDisk):
    """A disk whose names are never synced, whatever it says."""

    def sync_directory(self, path: str) -> None:
        pass


class NoFileSync(SimDisk):
    """A disk whose contents are never synced, whatever it says."""

    def sync_file(self, path: str) -> None:
        pass


class OneGeneration(CheckpointFiles):
    """Saves that overwrite the only checkpoint there is."""

    def save(self, payload: bytes) -> int:
        path = f"{self._directory}/checkpoint.0"
        if "checkpoint.0" in self._files.list_directory(self._directory):
            self._files.remove(path)
        self._files.write_new(path, checkpoint.seal(1, payload))
        self._files.sync_directory(self._directory)
        return 1


# --- checkpoints --------------------------------------------------------------------------------------------------


def test_a_checkpoint_that_was_saved_is_loaded_after_any_crash() -> None:
    tally = crash_checkpoints(saves=5, limit=300)
    assert tally.bad == []
    assert tally.steps > 40
    assert tally.states > 4_000


def test_a_missing_sync_of_the_directory_would_be_found() -> None:
    assert crash_checkpoints(2, 300, disk=NoDirectorySync(block_bytes=16)).bad


def test_a_missing_sync_of_the_file_would_be_found() -> None:
    assert crash_checkpoints(2, 300, disk=NoFileSync(block_bytes=16)).bad


def test_a_missing_second_generation_would_be_found() -> None:
    assert crash_checkpoints(3, 300, files=OneGeneration).bad


def test_a_missing_digest_of_checkpoints_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "_digest", lambda head, payload: bytes(32))
    assert flip_checkpoints(7).bad


def test_a_flipped_bit_of_a_checkpoint_means_the_other_one_and_that_is_said() -> None:
    flips = flip_checkpoints(5)
    assert flips.bad == []
    assert flips.said == flips.tried > 300


# --- the store ----------------------------------------------------------------------------------------------------


def test_a_transaction_that_was_acknowledged_is_there_after_any_crash() -> None:
    tally = crash_store(transactions=4, limit=4)
    assert tally.bad == []
    assert tally.steps > 100
    assert tally.cut > 0


def test_a_store_on_a_disk_that_lies_about_names_would_be_found() -> None:
    assert crash_store(2, 2, disk=NoDirectorySync()).bad


def test_a_store_on_a_disk_that_lies_about_contents_would_be_found() -> None:
    assert crash_store(2, 2, disk=NoFileSync()).bad


def sample(size: int, count: int) -> list[int]:
    return sorted(seeded_rng(f"offsets of {size}").sample(range(size), count))


@pytest.fixture(scope="module")
def closed() -> dict[str, bytes]:
    return store_to_flip(killed=False)


@pytest.fixture(scope="module")
def killed() -> dict[str, bytes]:
    return store_to_flip(killed=True)


def used(files: dict[str, bytes], name: str, count: int) -> list[int]:
    """Return places of bytes that are not zero: where there is something to flip."""
    places = [place for place, byte in enumerate(files[name]) if byte]
    return [places[index] for index in sample(len(places), count)]


def test_a_flipped_byte_of_a_closed_store_is_named_or_harmless(closed: dict[str, bytes]) -> None:
    flips = flip_store(closed, "store.db", used(closed, "store.db", 250))
    assert flips.bad == []
    assert flips.refused > 200
    assert flips.said == 0


def test_a_flipped_byte_of_the_log_is_named_or_said(killed: dict[str, bytes]) -> None:
    flips = flip_store(killed, "store.db-wal", used(killed, "store.db-wal", 80))
    assert flips.bad == []
    assert (flips.refused > 0, flips.said > 0, flips.harmless) == (True, True, 0)


def test_starts_while_nothing_can_be_synced_leave_nothing_that_a_crash_can_tear(killed: dict[str, bytes]) -> None:
    """Each start would add a transaction that nobody knows to be on the disk, and one at most may be on its way."""
    disk = disk_with(killed)
    disk.sync_fault = DiskFault.FULL
    for _ in range(4):
        database = Database(disk, HOME, MIGRATIONS, log_transactions=100)
        with pytest.raises(StoreError, match="ENOSPC"):
            database.open()
        with contextlib.suppress(StoreError):
            database.close()
    for crashed in disk.crash_states(limit=500, rng=seeded_rng("starts")):
        again = Database(crashed, HOME, MIGRATIONS, log_transactions=100)
        again.open()
        again.close()


@pytest.mark.parametrize("left", [None, 0, 32], ids=["removed", "emptied", "header alone"])
def test_a_log_that_was_emptied_behind_our_back_is_said_and_no_nonce_comes_twice(
    killed: dict[str, bytes], left: int | None
) -> None:
    files = {name: content for name, content in killed.items() if name != "store.db-wal"}
    if left is not None:
        files["store.db-wal"] = killed["store.db-wal"][:left]

    async def look(store: Store) -> tuple[Opened, int]:
        return store.opened, await store.nonces.mark("aaaa")

    opened, mark = with_store(disk_with(files), look)
    assert opened.log_lost
    assert opened.notes[0].endswith("what was written last is gone")
    assert mark > LATER[1]  # which was acknowledged, and is gone with the log


def test_a_store_that_was_closed_needs_no_log(closed: dict[str, bytes]) -> None:
    files = {name: content for name, content in closed.items() if name != "store.db-wal"}
    assert with_store(disk_with(files), _opened).notes == ()


def test_a_store_that_was_killed_with_its_log_whole_has_lost_nothing(killed: dict[str, bytes]) -> None:
    assert with_store(disk_with(killed), _opened).notes == ()


@pytest.mark.parametrize("written", range(5))
def test_a_store_that_was_killed_after_its_log_was_emptied_has_lost_nothing(written: int) -> None:
    disk = SimDisk()

    async def main() -> None:
        async with open_store(on_disk(disk), HOME, settings=StoreSettings(log_transactions=2)) as store:
            for mark in range(1, written + 1):
                await store.nonces.raise_mark("aaaa", mark)
            disk.crash(seeded_rng(1))

    trio.run(main)
    assert with_store(disk, _opened).notes == ()


def test_a_store_of_before_the_word_open_was_kept_is_taken_for_closed(closed: dict[str, bytes]) -> None:
    content = bytearray(closed["store.db"])
    assert content[60:64] == CLOSED.to_bytes(4)  # "user version" of the header
    content[60:64] = bytes(4)
    assert with_store(disk_with({**closed, "store.db": bytes(content)}), _opened).notes == ()


async def _opened(store: Store) -> Opened:
    return store.opened


def test_missing_digests_of_rows_would_be_found(closed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    def no_digest(self: Table, row: Row) -> bytes:
        return bytes(16)

    monkeypatch.setattr(Table, "digest", no_digest)
    unsealed = store_to_flip(killed=False)
    assert flip_store(unsealed, "store.db", used(unsealed, "store.db", 250)).bad


def test_a_missing_look_at_the_log_would_be_found(killed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "inspect_log", lambda log: LogState.WHOLE)
    assert flip_store(killed, "store.db-wal", used(killed, "store.db-wal", 20)).bad


# --- the log, alone -----------------------------------------------------------------------------------------------


def test_a_log_is_whole_cut_or_broken_by_what_is_left_of_it(killed: dict[str, bytes]) -> None:
    log = killed["store.db-wal"]
    assert wal.inspect_log(log) is LogState.WHOLE
    assert wal.inspect_log(b"") is LogState.EMPTY
    assert wal.inspect_log(log[:32]) is LogState.EMPTY
    assert wal.inspect_log(log[:31]) is LogState.CUT
    assert wal.inspect_log(log[:-1]) is LogState.CUT
    assert wal.inspect_log(log + b"x") is LogState.CUT
    first_frame = bytearray(log)
    first_frame[100] ^= 1
    assert wal.inspect_log(bytes(first_frame)) is LogState.BROKEN
    header = bytearray(log)
    header[12] ^= 1
    assert wal.inspect_log(bytes(header)) is LogState.BROKEN
