"""The one seam to the world: clock, network, files, randomness.

Nothing else in the package may ask the operating system for the time, a random number, a name look-up, a
connection, a file or a thread (``tests/test_layers.py`` keeps it so). Whoever needs one of these takes a
:class:`Runtime`. That is what lets the same engine and the same venue run on real sockets, and from a seed
on a virtual clock.

Trio's own timers (``trio.sleep``, ``trio.move_on_after``) may be used by the shells: Trio's clock is the
monotonic clock here, and a simulation replaces it as a whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import queue
import random
import signal
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Literal, TypeVar

import apsw
import attrs
import trio

from kraken_engine.doors import (
    Address,
    Clock,
    FileFacts,
    FileLock,
    Files,
    Listener,
    Network,
    Readable,
    Stream,
    Worker,
    Workers,
)

__all__ = [
    "Address",
    "Clock",
    "Environment",
    "FileFacts",
    "FileLock",
    "Files",
    "Listener",
    "Network",
    "Readable",
    "Rng",
    "Runtime",
    "Stream",
    "Worker",
    "Workers",
    "connect_database",
    "error_lines",
    "real_runtime",
    "seeded_rng",
    "wait_interrupted",
    "write_output",
]

T = TypeVar("T")

Rng = random.Random
"""The type of every generator handed around; only a :class:`Runtime` or a seed makes one."""

Environment = Mapping[str, str]


@attrs.frozen(kw_only=True)
class Runtime:
    """Everything the package knows of the world outside it."""

    clock: Clock
    network: Network
    files: Files
    rng: Rng
    environment: Environment = attrs.field(factory=dict[str, str], repr=False)
    workers: Workers = attrs.field(factory=lambda: _Threads())  # noqa: PLW0108 - defined below

    def fresh_id(self) -> str:
        """Return 32 hexadecimal digits that no other call returned."""
        return f"{self.rng.getrandbits(128):032x}"

    def fork_rng(self, name: str) -> Rng:
        """Return a generator of its own for ``name``, so that one user's draws do not move another's."""
        return random.Random(f"{self.rng.getrandbits(64)}:{name}")


def seeded_rng(seed: object) -> Rng:
    """Return a generator that depends on ``seed`` alone (its ``str``, so the hash seed of Python does not matter)."""
    return random.Random(str(seed))


class _RealClock:
    def now(self) -> float:
        return trio.current_time()

    def wall_ns(self) -> int:
        return time.time_ns()

    def cpu_s(self) -> float:
        return time.process_time()


class _RealNetwork:
    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [Address(str(where[0]), int(where[1])) for *_, where in found]

    async def dial(self, address: Address) -> Stream:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        sock = trio.socket.socket(family, socket.SOCK_STREAM)
        try:
            await sock.connect((address.host, address.port))
        except BaseException:
            sock.close()
            raise
        return trio.SocketStream(sock)

    async def listen(self, host: str, port: int) -> tuple[Listener, Address]:
        (listener,) = await trio.open_tcp_listeners(port, host=host)
        bound = listener.socket.getsockname()
        return listener, Address(str(bound[0]), int(bound[1]))


class _RealLock:
    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)  # the kernel lets go of the lock with it, as it does when the process dies
            self._descriptor = None


class _ThreadWorker:
    def __init__(self) -> None:
        self._turn = trio.CapacityLimiter(1)

    async def run(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._turn)


class _Threads:
    def worker(self, name: str) -> Worker:  # noqa: ARG002 - each one waits for itself alone
        return _ThreadWorker()


def connect_database(path: str, vfs: str | None = None) -> apsw.Connection:
    """Open the SQLite database in an existing file; ``vfs`` names another file system than the real one."""
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOFOLLOW
    return apsw.Connection(path, flags=flags, vfs=vfs)


class _RealFiles:
    def read_bytes(self, path: str) -> bytes:
        with open(path, "rb") as file:
            return file.read()

    def read_checked(self, path: str, check: Callable[[FileFacts], None], *, most_bytes: int) -> bytes:
        # Not blocking: opening a FIFO would wait for somebody to write into it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            check(_facts(os.fstat(descriptor)))
            with open(descriptor, "rb", closefd=False) as file:
                return file.read(most_bytes)
        finally:
            os.close(descriptor)

    def write_private(self, path: str, data: bytes) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)

    def write_new(self, path: str, data: bytes) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())

    def rename(self, source: str, target: str) -> None:
        os.replace(source, target)

    def remove(self, path: str) -> None:
        os.unlink(path)

    def sync_file(self, path: str) -> None:
        _sync(path, os.O_RDWR)

    def sync_directory(self, path: str) -> None:
        _sync(path, os.O_RDONLY | os.O_DIRECTORY)

    def list_directory(self, path: str) -> list[str]:
        return sorted(os.listdir(path))

    def make_directory(self, path: str) -> None:
        os.makedirs(path, mode=0o700, exist_ok=True)

    def mode(self, path: str) -> int:
        return stat.S_IMODE(os.stat(path).st_mode)

    def look(self, path: str) -> FileFacts:
        return _facts(os.stat(path))

    def user(self) -> int:
        return os.geteuid()

    def free_bytes(self, path: str) -> int:
        disk = os.statvfs(path)
        return disk.f_bavail * disk.f_frsize

    def lock(self, path: str, about: str) -> FileLock:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}, {about}\n".encode(), 0)
        except BaseException:
            os.close(descriptor)
            raise
        return _RealLock(descriptor)

    def open_database(self, path: str) -> apsw.Connection:
        return connect_database(os.path.realpath(os.path.dirname(path)) + "/" + os.path.basename(path))


def _sync(path: str, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _facts(found: os.stat_result) -> FileFacts:
    kind: Literal["file", "directory", "other"] = "other"
    if stat.S_ISREG(found.st_mode):
        kind = "file"
    elif stat.S_ISDIR(found.st_mode):
        kind = "directory"
    return FileFacts(kind=kind, mode=stat.S_IMODE(found.st_mode), owner=found.st_uid)


def real_runtime() -> Runtime:
    """Return the runtime of a normal process: real clock, sockets, disk and operating-system randomness."""
    return Runtime(
        clock=_RealClock(),
        network=_RealNetwork(),
        files=_RealFiles(),
        rng=random.SystemRandom(),
        environment=os.environ,
    )


async def wait_interrupted(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> signal.Signals:
    """Return when somebody asks this process to end: SIGINT (the keyboard) or SIGTERM (a supervisor); say which.

    Started once the signals are caught; before that, and afterwards, they do what they always did.
    """
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        return signal.Signals(await anext(aiter(signals)))


_OUTPUT = threading.Lock()
"""Held while something is written, so that nothing else gets into the middle of it."""


async def write_output(text: str) -> None:
    """Write ``text`` to standard output, all of it, while other tasks run: a thread waits for a slow reader.

    Cancelling gives up waiting, not writing: how much of ``text`` comes out is then open, and later calls wait for it.

    Raises:
        OSError: nobody reads any more, the disk is full, ...
    """
    await trio.to_thread.run_sync(_write_output, text, abandon_on_cancel=True)


def _write_output(text: str) -> None:
    try:
        descriptor = sys.stdout.fileno()
    except OSError:  # what a notebook or a test puts in the place of a file
        sys.stdout.write(text)
        return
    # Not through the buffer of sys.stdout: at exit Python waits for its lock, which a forgotten thread would hold.
    rest = memoryview(text.encode())
    with _OUTPUT:
        while rest:
            rest = rest[os.write(descriptor, rest) :]


@contextlib.contextmanager
def error_lines(*, most_waiting: int = 10_000, close_timeout_s: float = 1.0) -> Generator[Callable[[str], None]]:
    """Give a function that writes a line to standard error and never waits, for as long as the block lasts.

    A thread does the waiting. Beyond ``most_waiting``, lines that a slow reader keeps from being written are dropped,
    and counted in the line after them. Leaving writes what is left, for ``close_timeout_s`` at most.
    """
    waiting: queue.Queue[str | None] = queue.Queue(most_waiting)
    dropped = [0]

    def write() -> None:
        while (line := waiting.get()) is not None:
            lost, dropped[0] = dropped[0], 0
            note = f"({lost} lines were not written, for nobody read them)\n" if lost else ""
            with contextlib.suppress(OSError, ValueError):  # nobody reads any more: there is nobody to tell
                sys.stderr.write(f"{note}{line}\n")
                sys.stderr.flush()

    def put(line: str) -> None:
        try:
            waiting.put_nowait(line)
        except queue.Full:
            dropped[0] += 1

    thread = threading.Thread(target=write, name="kraken-engine log", daemon=True)
    thread.start()
    try:
        yield put
    finally:
        with contextlib.suppress(queue.Full):
            waiting.put(None, timeout=close_timeout_s)
        thread.join(close_timeout_s)
