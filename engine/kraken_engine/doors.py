"""What the doors to the world look like: clock, network, files, workers. Those that lead outside are in ``runtime``.

Whoever needs one of them takes a :class:`~kraken_engine.runtime.Runtime` and imports these names from there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol, TypeVar

import apsw
import attrs
import trio

__all__ = [
    "Address",
    "Clock",
    "FileFacts",
    "FileLock",
    "Files",
    "Listener",
    "Network",
    "Readable",
    "Stream",
    "Worker",
    "Workers",
]

T = TypeVar("T")

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


@attrs.frozen(kw_only=True)
class FileFacts:
    """Who may do what with a file."""

    kind: Literal["file", "directory", "other"]
    mode: int
    """Permission bits, 0 to 0o7777."""
    owner: int
    """Number of the user it belongs to."""


class FileLock(Protocol):
    """A lock that this process holds until it releases it, or ends, however it ends."""

    def release(self) -> None:
        """Let go; more than once does no harm."""
        ...


class Readable(Protocol):
    """Files that can be read whole."""

    def read_bytes(self, path: str) -> bytes:
        """Return the whole content; ``OSError`` as the operating system has it."""
        ...


class Files(Readable, Protocol):
    """Files and directories.

    Everything here blocks: it belongs at start-up, at the end, or in a worker. What fails raises ``OSError`` as the
    operating system has it. A write is durable once the file *and* the name are synced (``write_new`` or ``sync_file``,
    and ``sync_directory``); until then a crash may take any part of it.
    """

    def read_checked(self, path: str, check: Callable[[FileFacts], None], *, most_bytes: int) -> bytes:
        """Return the first ``most_bytes`` of a file, if ``check`` lets the open file pass (it raises otherwise).

        A symbolic link as the last part of ``path`` is not followed (``OSError``).
        """
        ...

    def write_private(self, path: str, data: bytes) -> None:
        """Create or replace ``path`` with mode 0600."""
        ...

    def write_new(self, path: str, data: bytes) -> None:
        """Create ``path`` (mode 0600), which must not be there, with ``data``, and sync the content; not the name."""
        ...

    def rename(self, source: str, target: str) -> None:
        """Give a file another name in its directory, replacing what had that name."""
        ...

    def remove(self, path: str) -> None:
        """Remove the name of a file."""
        ...

    def sync_file(self, path: str) -> None:
        """Make the content of ``path`` durable; not its name."""
        ...

    def sync_directory(self, path: str) -> None:
        """Make the names in ``path`` durable."""
        ...

    def list_directory(self, path: str) -> list[str]:
        """Return the names in ``path``, sorted."""
        ...

    def make_directory(self, path: str) -> None:
        """Create ``path`` (mode 0700) and its parents unless it is there."""
        ...

    def mode(self, path: str) -> int:
        """Return the permission bits of ``path``."""
        ...

    def look(self, path: str) -> FileFacts:
        """Return the facts of what ``path`` leads to, links followed."""
        ...

    def user(self) -> int:
        """Return the number of the user this process acts for."""
        ...

    def free_bytes(self, path: str) -> int:
        """Return how many bytes this user may still write to the disk that holds ``path``."""
        ...

    def lock(self, path: str, about: str) -> FileLock:
        """Lock ``path`` (created if need be) for this process, and write into it who holds it: ``about``.

        Raises:
            BlockingIOError: somebody else holds it; the file says who.
        """
        ...

    def open_database(self, path: str) -> apsw.Connection:
        """Open the SQLite database in an existing file, not through a link. Its calls block, and belong in a worker.

        Raises:
            apsw.Error: it cannot be opened.
        """
        ...


class Worker(Protocol):
    """Does blocking work, one piece after the other, while other tasks run."""

    async def run(self, work: Callable[[], T]) -> T:
        """Return what ``work`` returns, or raise what it raises.

        A cancelled wait gives up waiting, not the work: a piece that has begun goes on to its end, and the next one
        waits for it. One that has not begun is never done. So "cancelled" means "perhaps done".
        """
        ...


class Workers(Protocol):
    """Where workers come from."""

    def worker(self, name: str) -> Worker:
        """Return a worker of its own for ``name``: others neither wait for it nor delay it."""
        ...
