"""Only what was synced survives every crash, and the simulated disk finds the writers who rely on more."""

import errno
import hashlib
from collections.abc import Callable

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.errors import UsageError
from kraken_engine.runtime import Files, seeded_rng
from kraken_engine.sim.deterministic import run
from kraken_engine.sim.disk import MOST_UNSYNCED, DiskFault, SimDisk
from kraken_engine.store.connection import Database
from kraken_engine.store.schema import MIGRATIONS, NONCES

# --- ways to save a number, and what comes back after a crash -----------------------------------------------------

BLOCK_BYTES = 4
PADDING = b"x" * 8


def _plain(value: int) -> bytes:
    return b"%06d" % value + PADDING


def _sealed(value: int) -> bytes:
    return _plain(value) + hashlib.blake2b(_plain(value), digest_size=4).digest()


def _save_in_place(disk: SimDisk, value: int) -> None:
    if "c" not in disk.list_directory("/"):
        disk.create("c")
    disk.truncate("c")
    disk.write("c", _plain(value))
    disk.sync_file("c")
    disk.sync_directory("/")


def _save_by_rename_without_sync(disk: SimDisk, value: int) -> None:
    disk.write_private("t", _plain(value))
    disk.rename("t", "c")


def _save_by_rename_without_directory_sync(disk: SimDisk, value: int) -> None:
    disk.write_private("t", _plain(value))
    disk.sync_file("t")
    disk.rename("t", "c")


def _save_two_generations(disk: SimDisk, value: int) -> None:
    disk.write_private("t", _sealed(value))
    disk.sync_file("t")
    disk.rename("t", f"g{value % 2}")
    disk.sync_directory("/")


def _recover_plain(disk: SimDisk) -> int | None:
    try:
        raw = disk.read_bytes("c")
    except FileNotFoundError:
        return 0
    return int(raw[:6]) if raw[6:] == PADDING and raw[:6].isdigit() else None


def _recover_sealed(disk: SimDisk) -> int | None:
    found = [0]
    for name in ("g0", "g1"):
        if name in disk.list_directory("/"):
            raw = disk.read_bytes(name)
            if raw[6:14] == PADDING and _sealed(int(raw[:6])) == raw:
                found.append(int(raw[:6]))
    return max(found)


def _campaign(
    save: Callable[[SimDisk, int], None], recover: Callable[[SimDisk], int | None], *, saves: int = 6, limit: int = 500
) -> tuple[int, int, int]:
    """Return (states, garbage, lost): crash after every step of several saves, and recover from every state."""
    disk = SimDisk(block_bytes=BLOCK_BYTES)
    rng = seeded_rng(1)
    states = garbage = lost = acknowledged = started = 0

    def crash() -> None:
        nonlocal states, garbage, lost
        for after in disk.crash_states(limit=limit, rng=rng):
            states += 1
            found = recover(after)
            garbage += found is None
            lost += found is not None and not acknowledged <= found <= started

    disk.after_step = crash
    for value in range(1, saves + 1):
        started = value
        save(disk, value)
        acknowledged = value
        crash()
    return states, garbage, lost


def test_two_sealed_generations_survive_every_crash() -> None:
    states, garbage, lost = _campaign(_save_two_generations, _recover_sealed)
    assert (garbage, lost) == (0, 0)
    assert states > 2000


@pytest.mark.parametrize("save", [_save_in_place, _save_by_rename_without_sync])
def test_saving_in_place_or_without_a_sync_ends_in_garbage(save: Callable[[SimDisk, int], None]) -> None:
    _, garbage, _ = _campaign(save, _recover_plain)
    assert garbage > 0


def test_a_rename_without_a_directory_sync_loses_what_was_acknowledged() -> None:
    _, garbage, lost = _campaign(_save_by_rename_without_directory_sync, _recover_plain)
    assert garbage == 0
    assert lost > 0


def test_every_single_failing_step_of_a_save_leaves_the_old_or_the_new_value() -> None:
    disk = SimDisk(block_bytes=BLOCK_BYTES)
    _save_two_generations(disk, 1)
    before = disk.steps
    _save_two_generations(disk, 2)
    for step in range(1, disk.steps - before + 1):
        disk = SimDisk(block_bytes=BLOCK_BYTES)
        _save_two_generations(disk, 1)
        disk.fail_at(step)
        with pytest.raises(OSError):
            _save_two_generations(disk, 2)
        for after in disk.crash_states(limit=1000, rng=seeded_rng(1)):
            assert _recover_sealed(after) in (1, 2)
        _save_two_generations(disk, 3)
        assert _recover_sealed(disk) == 3


def test_a_flipped_bit_is_never_taken_for_a_value_that_was_not_saved() -> None:
    for bit in range(8 * len(_sealed(2))):
        disk = SimDisk()
        for value in (1, 2):
            _save_two_generations(disk, value)
        disk.flip_bit("g0", bit)
        assert _recover_sealed_or_digits_broken(disk) == 1


def _recover_sealed_or_digits_broken(disk: SimDisk) -> int | None:
    try:
        return _recover_sealed(disk)
    except ValueError:
        return 1  # the digits themselves are no number any more: the other generation it is


# --- the disk itself --------------------------------------------------------------------------------------------------


def _states(disk: SimDisk, limit: int = 10_000) -> set[bytes | None]:
    return {_content(after) for after in disk.crash_states(limit=limit, rng=seeded_rng(1))}


def _content(disk: SimDisk, path: str = "f") -> bytes | None:
    try:
        return disk.read_bytes(path)
    except FileNotFoundError:
        return None


def test_it_is_the_files_of_a_runtime() -> None:
    disk = SimDisk()
    files: Files = disk
    files.make_directory("/state/deep")
    files.write_private("/state/deep/f", b"one")
    files.write_private("/state/deep/f", b"two")
    assert files.read_bytes("/state/deep/../deep/f") == b"two"
    assert files.mode("/state/deep/f") == 0o600
    assert files.mode("/state") == 0o700
    assert disk.list_directory("/state/deep") == ["f"]


def test_each_unsynced_block_is_kept_lost_or_torn_and_each_name_kept_or_lost() -> None:
    disk = SimDisk(block_bytes=2)
    disk.write_private("f", b"abcd")
    assert disk.unsynced() == (2, 1)
    assert _states(disk) == {None, b"", b"a", b"ab", b"\0\0c", b"\0\0cd", b"a\0c", b"a\0cd", b"abc", b"abcd"}


def test_synced_content_under_an_unsynced_name_is_there_whole_or_not_at_all() -> None:
    disk = SimDisk(block_bytes=2)
    disk.write_private("f", b"abcd")
    disk.sync_file("f")
    assert _states(disk) == {None, b"abcd"}
    disk.sync_directory("/")
    assert _states(disk) == {b"abcd"}


def test_a_kept_rename_takes_away_only_the_name_of_its_own_file() -> None:
    disk = SimDisk()
    for content in (b"one", b"two"):
        disk.write_private("t", content)
        disk.sync_file("t")
        disk.rename("t", "f")
    found = {(_content(after, "t"), _content(after)) for after in disk.crash_states(limit=100, rng=seeded_rng(1))}
    assert (b"one", b"two") in found
    assert (b"two", b"two") not in found


def test_a_lost_overwrite_leaves_the_old_block() -> None:
    disk = SimDisk(block_bytes=2)
    disk.write_private("f", b"abcd")
    disk.sync_file("f")
    disk.sync_directory("/")
    disk.write("f", b"XY", offset=1)
    assert disk.read_bytes("f") == b"aXYd"
    assert _states(disk) == {b"abcd", b"aXcd", b"abYd", b"aXYd"}


@given(
    st.lists(st.tuples(st.sampled_from("wtsdrx"), st.sampled_from("abc"), st.binary(max_size=9)), max_size=12),
    st.integers(),
)
def test_synced_files_with_synced_names_are_the_same_in_every_crash_state(
    script: list[tuple[str, str, bytes]], seed: int
) -> None:
    """A naive model keeps what must survive: the content of a name whose file and directory were both synced."""
    disk = SimDisk(block_bytes=2)
    for what, name, data in script:
        there = name in disk.list_directory("/")
        match what:
            case "w":
                disk.write_private(name, data)
            case "t" if there:
                disk.truncate(name, len(data))
            case "s" if there:
                disk.sync_file(name)
            case "d":
                disk.sync_directory("/")
            case "r" if there:
                disk.rename(name, "c" if name != "c" else "a")
            case "x" if there:
                disk.remove(name)
            case _:
                pass
    for name in disk.list_directory("/"):
        disk.sync_file(name)
    disk.sync_directory("/")
    expected = {name: disk.read_bytes(name) for name in disk.list_directory("/")}
    assert disk.unsynced() == (0, 0)
    disk.write_private("later", b"unsynced")
    for after in disk.crash_states(limit=20, rng=seeded_rng(seed)):
        assert {name: after.read_bytes(name) for name in after.list_directory("/") if name != "later"} == expected


def test_too_many_states_are_sampled_with_both_extremes() -> None:
    disk = SimDisk(block_bytes=1)
    disk.write_private("f", bytes(range(1, 41)))
    states = [_content(after) for after in disk.crash_states(limit=50, rng=seeded_rng(1))]
    assert len(states) == 50
    assert states[:2] == [None, bytes(range(1, 41))]
    assert [_content(after) for after in disk.crash_states(limit=1, rng=seeded_rng(1))] == [None]


def test_a_crash_becomes_one_of_the_crash_states_and_life_goes_on() -> None:
    for seed in range(20):
        disk = SimDisk(block_bytes=2)
        disk.write_private("f", b"abcd")
        possible = _states(disk)
        disk.crash(seeded_rng(seed))
        assert _content(disk) in possible
        assert disk.unsynced() == (0, 0)
        disk.write_private("f", b"new")
        assert disk.read_bytes("f") == b"new"


def test_looking_at_crash_states_changes_nothing() -> None:
    disk = SimDisk(block_bytes=2)
    disk.write_private("f", b"abcd")
    for after in disk.crash_states(limit=100, rng=seeded_rng(1)):
        after.write_private("f", b"other")
        after.write_private("g", b"other")
    assert disk.read_bytes("f") == b"abcd"
    assert disk.list_directory("/") == ["f"]


@pytest.mark.parametrize("fault", DiskFault)
def test_a_disk_at_fault_refuses_writes_with_its_error_until_it_heals(fault: DiskFault) -> None:
    disk = SimDisk()
    disk.write_private("f", b"old")
    disk.fault = fault
    changes: list[Callable[[], None]] = [
        lambda: disk.write_private("g", b"x"),
        lambda: disk.write("f", b"x"),
        lambda: disk.truncate("f"),
        lambda: disk.sync_file("f"),
        lambda: disk.sync_directory("/"),
        lambda: disk.rename("f", "g"),
        lambda: disk.remove("f"),
        lambda: disk.make_directory("/d"),
    ]
    for change in changes:
        with pytest.raises(OSError) as caught:
            change()
        assert caught.value.errno == fault.value
    if fault is DiskFault.IO_ERROR:
        with pytest.raises(OSError):
            disk.read_bytes("f")
    disk.fault = None
    assert disk.read_bytes("f") == b"old"
    assert disk.list_directory("/") == ["f"]


def test_a_full_disk_takes_what_fits_and_no_more() -> None:
    disk = SimDisk(block_bytes=4, capacity_bytes=10)
    with pytest.raises(OSError) as caught:
        disk.write_private("f", b"x" * 12)
    assert caught.value.errno == errno.ENOSPC
    assert disk.read_bytes("f") == b"x" * 8
    disk.write("f", b"y" * 8)
    disk.remove("f")
    disk.write_private("g", b"z" * 10)


@pytest.mark.parametrize(
    ("call", "number"),
    [
        (lambda disk: disk.read_bytes("/nothing"), errno.ENOENT),
        (lambda disk: disk.mode("/nothing"), errno.ENOENT),
        (lambda disk: disk.write("/nothing", b"x"), errno.ENOENT),
        (lambda disk: disk.create("/nowhere/f"), errno.ENOENT),
        (lambda disk: disk.create("/d/f"), errno.EEXIST),
        (lambda disk: disk.make_directory("/d/f"), errno.EEXIST),
        (lambda disk: disk.read_bytes("/d"), errno.EISDIR),
        (lambda disk: disk.rename("/d/f", "/f"), errno.EXDEV),
        (lambda disk: disk.rename("/f", "/d"), errno.EISDIR),
        (lambda disk: disk.sync_directory("/nowhere"), errno.ENOENT),
        (lambda disk: disk.list_directory("/nowhere"), errno.ENOENT),
    ],
)
def test_mistakes_are_the_errors_of_an_operating_system(call: Callable[[SimDisk], object], number: int) -> None:
    disk = SimDisk()
    disk.make_directory("/d")
    disk.create("/d/f")
    disk.create("/f")
    with pytest.raises(OSError) as caught:
        call(disk)
    assert caught.value.errno == number


def test_what_is_never_synced_takes_bounded_memory() -> None:
    disk = SimDisk()
    for value in range(2 * MOST_UNSYNCED):
        disk.write_private("f", b"%d" % value)
    assert max(disk.unsynced()) <= MOST_UNSYNCED
    disk.sync_file("f")
    disk.sync_directory("/")
    assert disk.unsynced() == (0, 0)
    assert disk.read_bytes("f") == b"%d" % (2 * MOST_UNSYNCED - 1)


def test_a_disk_that_refuses_to_sync_takes_writes_and_keeps_none_of_them_for_certain() -> None:
    disk = SimDisk()
    disk.write_new("/file", b"old")
    disk.sync_directory("/")
    disk.sync_fault = DiskFault.IO_ERROR
    disk.write("/file", b"new")
    with pytest.raises(OSError, match="EIO"):
        disk.sync_file("/file")
    with pytest.raises(OSError, match="EIO"):
        disk.sync_directory("/")
    assert disk.read_bytes("/file") == b"new"
    after = {state.read_bytes("/file") for state in disk.crash_states(limit=10, rng=seeded_rng(1))}
    assert {b"old", b"new"} <= after


def test_a_wiped_file_is_empty_after_every_crash_and_still_there() -> None:
    disk = SimDisk()
    disk.write_new("/file", b"old")
    disk.sync_directory("/")
    disk.write("/file", b"something longer")
    disk.wipe("/file")
    assert [state.read_bytes("/file") for state in disk.crash_states(limit=10, rng=seeded_rng(1))] == [b""]
    assert disk.size("/file") == 0


def test_a_step_to_fail_counts_from_one() -> None:
    with pytest.raises(UsageError):
        SimDisk().fail_at(0)


def test_a_database_that_a_killed_life_left_open_is_no_failure_of_the_run() -> None:
    async def main() -> None:
        disk = SimDisk()
        database = Database(disk, "/state", MIGRATIONS, log_transactions=100)
        database.open()
        database.run(lambda transaction: transaction.put(NONCES, "k", 1))
        disk.crash(seeded_rng(1))
        await trio.lowlevel.checkpoint()

    run(1, main, horizon_s=1)


def test_a_process_that_was_killed_changes_nothing_any_more_until_the_next_one_starts() -> None:
    disk = SimDisk()
    disk.make_directory("/state")
    disk.write_new("/state/kept", b"before")
    disk.sync_directory("/state")
    disk.kill(seeded_rng(1))
    with pytest.raises(OSError, match="EIO"):
        disk.write("/state/kept", b"after")
    with pytest.raises(OSError, match="EIO"):
        disk.write_new("/state/new", b"after")
    with pytest.raises(OSError, match="EIO"):
        disk.remove("/state/kept")
    assert (disk.list_directory("/state"), disk.read_bytes("/state/kept")) == (["kept"], b"before")
    disk.start()
    disk.write("/state/kept", b"after!")
    assert disk.read_bytes("/state/kept") == b"after!"


def test_a_healed_disk_has_forgotten_what_was_to_fail() -> None:
    disk = SimDisk()
    disk.fault = disk.sync_fault = DiskFault.FULL
    disk.fail_at(1)
    disk.heal()
    disk.write_new("/file", b"whole")
    assert disk.read_bytes("/file") == b"whole"
