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
import os
import random
import signal
import socket
import stat
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

import attrs
import trio

__all__ = [
    "Address",
    "Clock",
    "Environment",
    "Files",
    "Listener",
    "Network",
    "Rng",
    "Runtime",
    "Stream",
    "real_runtime",
    "seeded_rng",
    "wait_interrupted",
    "write_output",
]

Rng = random.Random
"""The type of every generator handed around; only a :class:`Runtime` or a seed makes one."""

Stream = trio.abc.Stream
Listener = trio.abc.Listener[trio.abc.Stream]


@attrs.frozen
class Address:
    """A numeric network address: what a name look-up returns and a dial takes."""

    host: str
    """Numeric IPv4 or IPv6 address."""
    port: int


class Clock(Protocol):
    """Where times come from."""

    def now(self) -> float:
        """Return monotonic seconds: the clock of every deadline and age."""
        ...

    def wall_ns(self) -> int:
        """Return nanoseconds since 1970 UTC: for display, nonces and order deadlines only."""
        ...

    def cpu_s(self) -> float:
        """Return CPU seconds (user + system) this process has used: for reports only."""
        ...


class Network(Protocol):
    """Names and byte streams."""

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        """Return the addresses of ``host`` in order of preference.

        Raises:
            OSError: the name could not be resolved.
        """
        ...

    async def dial(self, address: Address) -> Stream:
        """Open one TCP connection.

        Raises:
            OSError: refused, unreachable or reset.
        """
        ...

    async def listen(self, host: str, port: int) -> tuple[Listener, Address]:
        """Listen on ``host`` (numeric) and ``port`` (0: any free one) and say where."""
        ...


class Files(Protocol):
    """Small whole-file operations; they block, and belong at start-up, at the end, or in a worker."""

    def read_bytes(self, path: str) -> bytes:
        """Return the whole content; ``OSError`` as the operating system has it."""
        ...

    def write_private(self, path: str, data: bytes) -> None:
        """Create or replace ``path`` with mode 0600."""
        ...

    def make_directory(self, path: str) -> None:
        """Create ``path`` (mode 0700) and its parents unless it is there."""
        ...

    def mode(self, path: str) -> int:
        """Return the permission bits of ``path``."""
        ...


Environment = Mapping[str, str]


@attrs.frozen(kw_only=True)
class Runtime:
    """Everything the package knows of the world outside it."""

    clock: Clock
    network: Network
    files: Files
    rng: Rng
    environment: Environment = attrs.field(factory=dict[str, str], repr=False)

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


class _RealFiles:
    def read_bytes(self, path: str) -> bytes:
        with open(path, "rb") as file:
            return file.read()

    def write_private(self, path: str, data: bytes) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)

    def make_directory(self, path: str) -> None:
        os.makedirs(path, mode=0o700, exist_ok=True)

    def mode(self, path: str) -> int:
        return stat.S_IMODE(os.stat(path).st_mode)


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
