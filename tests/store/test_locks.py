"""Two engines never share a directory or a key: the second is refused and told who is there; the dead hold nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest
from tests.store.stores import HOME, on_disk, on_real_disk

from kraken_engine.errors import StoreError, StoreLocked
from kraken_engine.runtime import Runtime, seeded_rng
from kraken_engine.sim.disk import DiskFault, SimDisk
from kraken_engine.store.connection import lock_directory
from kraken_engine.store.database import open_store
from kraken_engine.store.locks import hold_key, locks_directories

KEY = "0123456789abcdef"


@pytest.fixture(params=["real", "simulated"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Runtime:
    runtime = on_disk(SimDisk()) if request.param == "simulated" else on_real_disk()
    return attrs.evolve(runtime, environment={"XDG_RUNTIME_DIR": str(tmp_path)})


def test_a_key_is_used_by_one_engine_which_the_second_is_told(world: Runtime) -> None:
    with (
        hold_key(world, KEY, "account main, /state"),
        hold_key(world, "another key", "account main, /state"),
        pytest.raises(
            StoreLocked, match=f"^key {KEY}: expected to be its only user, but process .*account main, /state"
        ),
        hold_key(world, KEY, "account main, /other"),
    ):
        pytest.fail("two engines hold one key")
    with hold_key(world, KEY, "again"):
        pass


@pytest.mark.parametrize("what", ["key", "directory"])
def test_a_holder_whose_name_cannot_be_read_is_still_a_holder(what: str) -> None:
    disk = SimDisk()
    world = on_disk(disk)
    with hold_key(world, KEY, "the first"):
        lock_directory(disk, "/state")
        disk.fault = DiskFault.IO_ERROR
        with pytest.raises(StoreLocked, match="but somebody whose name cannot be read holds it"):
            if what == "directory":
                lock_directory(disk, "/state")
            with hold_key(world, KEY, "the second"):
                pass
        disk.fault = None


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        (None, ("/tmp/kraken-engine-1000",)),
        ("relative", ("/tmp/kraken-engine-1000",)),
        ("/run/user/1000", ("/run/user/1000/kraken-engine", "/tmp/kraken-engine-1000")),
        ("/run/user/1000/", ("/run/user/1000/kraken-engine", "/tmp/kraken-engine-1000")),
        ("/chosen", ("/chosen/kraken-engine",)),
    ],
)
def test_locks_are_where_the_system_keeps_such_things_and_where_whoever_has_no_session_looks(
    variable: str | None, expected: tuple[str, ...]
) -> None:
    environment = {} if variable is None else {"XDG_RUNTIME_DIR": variable}
    assert locks_directories(attrs.evolve(on_disk(SimDisk()), environment=environment)) == expected


@pytest.mark.parametrize("first_in_session", [True, False])
def test_an_engine_in_a_session_and_a_service_see_each_other(first_in_session: bool) -> None:
    service = on_disk(SimDisk())
    session = attrs.evolve(service, environment={"XDG_RUNTIME_DIR": "/run/user/1000"})
    first, second = (session, service) if first_in_session else (service, session)
    for _ in range(2):
        with (
            hold_key(first, KEY, "the first"),
            pytest.raises(StoreLocked, match="the first"),
            hold_key(second, KEY, "the second"),
        ):
            pytest.fail("two engines hold one key")
    with hold_key(second, KEY, "the second"):  # what was taken before the refusal was given back
        pass


@pytest.mark.parametrize(("owner", "mode"), [(1001, 0o700), (1000, 0o755), (1000, 0o770)])
def test_a_directory_of_locks_that_is_not_ours_alone_is_refused(owner: int, mode: int) -> None:
    disk = SimDisk()
    disk.make_directory("/tmp/kraken-engine-1000")
    disk.give("/tmp/kraken-engine-1000", owner=owner, mode=mode)
    expected = f"expected a directory of user 1000 alone, got one of user {owner} with mode {mode:04o}"
    with pytest.raises(StoreError, match=expected), hold_key(on_disk(disk), KEY, "x"):
        pass


def test_a_crash_lets_go_of_every_lock() -> None:
    disk = SimDisk()
    with hold_key(on_disk(disk), KEY, "before"):
        disk.crash(seeded_rng(1))
        with hold_key(on_disk(disk), KEY, "after"):
            pass


HOLDER = """
import sys, trio
from kraken_engine.runtime import real_runtime
from kraken_engine.store.database import open_store
from kraken_engine.store.locks import hold_key

async def main(directory, key):
    with hold_key(real_runtime(), key, "account main, the first engine"):
        async with open_store(real_runtime(), directory) as store:
            await store.nonces.raise_mark("k", 77)
            print("ready", flush=True)
            await trio.sleep_forever()

trio.run(main, *sys.argv[1:])
"""


@contextmanager
def another_engine(directory: str, runtime_directory: Path) -> Iterator[Callable[[], None]]:
    """Run an engine's store in another process, and give the way to kill it without a word."""
    command = [sys.executable, "-c", HOLDER, directory, KEY]
    environment = {"PYTHONPATH": ":".join(sys.path), "XDG_RUNTIME_DIR": str(runtime_directory)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"

            def kill() -> None:
                process.send_signal(signal.SIGKILL)
                process.wait()

            yield kill
        finally:
            process.kill()


async def test_an_engine_that_was_killed_holds_nothing_and_has_lost_nothing(tmp_path: Path) -> None:
    directory = str(tmp_path / "state")
    runtime = attrs.evolve(on_real_disk(), environment={"XDG_RUNTIME_DIR": str(tmp_path)})
    with another_engine(directory, tmp_path) as kill:
        with pytest.raises(StoreLocked, match=rf"^{directory}: expected to be alone, but process \d+ on .* holds it$"):
            async with open_store(runtime, directory):
                pass
        with pytest.raises(StoreLocked, match="the first engine holds it"), hold_key(runtime, KEY, "the second"):
            pass
        kill()
        with hold_key(runtime, KEY, "the second"):
            async with open_store(runtime, directory) as store:
                assert not store.opened.created
                assert await store.nonces.mark("k") == 77


async def test_a_directory_is_free_again_after_a_simulated_crash() -> None:
    disk = SimDisk()
    async with open_store(on_disk(disk), HOME) as store:
        await store.nonces.raise_mark("k", 77)
        disk.crash(seeded_rng(1))
        async with open_store(on_disk(disk), HOME) as after:
            assert await after.nonces.mark("k") == 77
        with pytest.raises(StoreError, match="opened before a crash"):
            await store.nonces.raise_mark("k", 78)
