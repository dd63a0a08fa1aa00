"""The real disk and the simulated one answer the same questions in the same way."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from kraken_engine.runtime import FileFacts, Files, real_runtime
from kraken_engine.sim.disk import SimDisk


@pytest.fixture(params=["real", "simulated"])
def files(request: pytest.FixtureRequest) -> Files:
    return SimDisk() if request.param == "simulated" else real_runtime().files


@pytest.fixture
def home(files: Files, tmp_path: Path) -> str:
    path = f"{tmp_path}/home"
    files.make_directory(path)
    return path


def test_what_was_written_is_read_listed_renamed_and_removed(files: Files, home: str) -> None:
    files.write_new(f"{home}/a", b"one")
    files.write_private(f"{home}/b", b"two")
    assert files.list_directory(home) == ["a", "b"]
    files.rename(f"{home}/a", f"{home}/b")
    files.sync_directory(home)
    assert (files.list_directory(home), files.read_bytes(f"{home}/b")) == (["b"], b"one")
    files.remove(f"{home}/b")
    assert files.list_directory(home) == []


@pytest.mark.parametrize(
    ("act", "number"),
    [
        (lambda files, home: files.read_bytes(f"{home}/none"), errno.ENOENT),
        (lambda files, home: files.read_bytes(home), errno.EISDIR),
        (lambda files, home: files.write_new(f"{home}/there", b""), errno.EEXIST),
        (lambda files, home: files.write_new(f"{home}/none/a", b""), errno.ENOENT),
        (lambda files, home: files.rename(f"{home}/none", f"{home}/b"), errno.ENOENT),
        (lambda files, home: files.remove(f"{home}/none"), errno.ENOENT),
        (lambda files, home: files.sync_directory(f"{home}/none"), errno.ENOENT),
        (lambda files, home: files.list_directory(f"{home}/none"), errno.ENOENT),
        (lambda files, home: files.make_directory(f"{home}/there"), errno.EEXIST),
        (lambda files, home: files.look(f"{home}/none"), errno.ENOENT),
        (lambda files, home: files.free_bytes(f"{home}/none"), errno.ENOENT),
        (lambda files, home: files.read_checked(f"{home}/none", lambda _: None, most_bytes=1), errno.ENOENT),
        (lambda files, home: files.lock(f"{home}/none/lock", "me"), errno.ENOENT),
    ],
)
def test_what_cannot_be_done_fails_with_the_same_number(
    files: Files, home: str, act: Callable[[Files, str], object], number: int
) -> None:
    files.write_new(f"{home}/there", b"")
    with pytest.raises(OSError) as failed:
        act(files, home)
    assert failed.value.errno == number


def test_facts_of_files_are_private_and_ours(files: Files, home: str) -> None:
    files.write_new(f"{home}/a", b"")
    assert files.look(f"{home}/a") == FileFacts(kind="file", mode=0o600, owner=files.user())
    assert files.look(home) == FileFacts(kind="directory", mode=0o700, owner=files.user())
    assert files.mode(f"{home}/a") == 0o600
    assert files.free_bytes(home) > 0


def test_a_checked_read_shows_the_facts_first_and_stops_where_asked(files: Files, home: str) -> None:
    files.write_new(f"{home}/a", b"0123456789")
    seen: list[FileFacts] = []
    assert files.read_checked(f"{home}/a", seen.append, most_bytes=4) == b"0123"
    assert seen == [files.look(f"{home}/a")]

    def refuse(_: FileFacts) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        files.read_checked(f"{home}/a", refuse, most_bytes=4)


def test_a_lock_is_held_once_names_its_holder_and_can_be_taken_again(files: Files, home: str) -> None:
    lock = files.lock(f"{home}/lock", "engine one")
    with pytest.raises(BlockingIOError):
        files.lock(f"{home}/lock", "engine two")
    assert files.read_bytes(f"{home}/lock").endswith(b", engine one\n")
    lock.release()
    lock.release()
    second = files.lock(f"{home}/lock", "2")
    lock.release()  # not ours any more
    with pytest.raises(BlockingIOError):
        files.lock(f"{home}/lock", "engine three")
    assert files.read_bytes(f"{home}/lock").endswith(b", 2\n")
    second.release()
