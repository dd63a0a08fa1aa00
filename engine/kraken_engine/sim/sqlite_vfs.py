"""SQLite on a simulated disk: the real SQLite, whose every write, sync and rename goes through a disk that can crash.

Does what SQLite's own file system for Unix does, and no more: a new journal's name is synced with its content, other
names are not; there is no shared memory, so write-ahead logging needs ``locking_mode=EXCLUSIVE``. Knows nothing of what
is stored.
"""

from __future__ import annotations

import errno
import itertools
import weakref
from collections.abc import Callable
from typing import Final, Protocol, TypeVar

import apsw

from kraken_engine.runtime import connect_database

__all__ = ["BlockDisk", "open_database"]

T = TypeVar("T")

NAME: Final = "kraken-engine-simulated-disk"
SECTOR_BYTES: Final = 4096
_JOURNALS: Final = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL


class BlockDisk(Protocol):
    """What SQLite asks of a disk; every call may raise ``OSError``."""

    epoch: int
    """Goes up at every crash: what was opened before it is gone."""

    def exists(self, path: str) -> bool:
        """Tell whether there is a file of this name."""
        ...

    def read_at(self, path: str, offset: int, count: int) -> bytes:
        """Return up to ``count`` bytes from ``offset`` on."""
        ...

    def size(self, path: str) -> int:
        """Return the size of a file in bytes."""
        ...

    def create(self, path: str) -> None:
        """Create an empty file."""
        ...

    def write(self, path: str, data: bytes, *, offset: int = 0) -> None:
        """Write into a file."""
        ...

    def truncate(self, path: str, size: int = 0) -> None:
        """Cut a file."""
        ...

    def sync_file(self, path: str) -> None:
        """Make the content of a file durable."""
        ...

    def remove(self, path: str) -> None:
        """Remove a file."""
        ...

    def sync_directory(self, path: str) -> None:
        """Make the names in a directory durable."""
        ...


def open_database(disk: BlockDisk, path: str) -> apsw.Connection:
    """Open the database in an existing file of ``disk``.

    Raises:
        apsw.Error: it cannot be opened.
    """
    return connect_database(f"/{_number(disk)}{path}", _registered().name)


_DISKS: weakref.WeakValueDictionary[int, BlockDisk] = weakref.WeakValueDictionary()
_NUMBERS = itertools.count(1)
_VFS: list[_SimulatedVfs] = []


def _number(disk: BlockDisk) -> int:
    """Return the number that stands for ``disk`` at the beginning of its paths, for SQLite knows only one namespace."""
    for number, known in _DISKS.items():
        if known is disk:
            return number
    number = next(_NUMBERS)
    _DISKS[number] = disk
    return number


def _registered() -> _SimulatedVfs:
    if not _VFS:
        _VFS.append(_SimulatedVfs())
    return _VFS[0]


def _found(name: str) -> tuple[BlockDisk, str]:
    number, _, path = name.removeprefix("/").partition("/")
    return _DISKS[int(number)], f"/{path}"


def _tried(act: Callable[[], T]) -> T:
    """Return what ``act`` returns, its errors in SQLite's words."""
    try:
        return act()
    except OSError as error:
        kinds: dict[int | None, type[apsw.Error]] = {errno.ENOSPC: apsw.FullError, errno.EROFS: apsw.ReadOnlyError}
        raise kinds.get(error.errno, apsw.IOError)(str(error)) from None


class _SimulatedVfs(apsw.VFS):
    def __init__(self) -> None:
        self.name = NAME
        super().__init__(NAME, base="")

    def xFullPathname(self, name: str) -> str:  # noqa: N802
        return name

    def xAccess(self, pathname: str, flags: int) -> bool:  # noqa: ARG002, N802
        disk, path = _found(pathname)
        return disk.exists(path)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        disk, path = _found(filename)
        if not disk.exists(path):
            raise apsw.IOError(f"{path}: not there")
        _tried(lambda: disk.remove(path))
        if syncdir:
            _tried(lambda: disk.sync_directory(path.rpartition("/")[0] or "/"))

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> _SimulatedFile:  # type: ignore[override]  # noqa: N802
        if name is None:
            raise apsw.CantOpenError("expected no temporary files: temp_store is memory")
        disk, path = _found(name.filename() if isinstance(name, apsw.URIFilename) else name)
        new = not disk.exists(path)
        if new:
            if not flags[0] & apsw.SQLITE_OPEN_CREATE:
                raise apsw.CantOpenError(f"{path}: not there")
            _tried(lambda: disk.create(path))
        flags[1] = flags[0]
        return _SimulatedFile(disk, path, sync_name=new and bool(flags[0] & _JOURNALS))


class _SimulatedFile:
    """One open file. Nobody else opens it, so locks are only remembered."""

    def __init__(self, disk: BlockDisk, path: str, *, sync_name: bool) -> None:
        self._disk = disk
        self._path = path
        self._sync_name = sync_name
        self._epoch = disk.epoch

    def _tried(self, act: Callable[[], T]) -> T:
        if self._epoch != self._disk.epoch:
            raise apsw.IOError(f"{self._path}: opened before a crash")
        return _tried(act)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        return self._tried(lambda: self._disk.read_at(self._path, offset, amount))

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._tried(lambda: self._disk.write(self._path, bytes(data), offset=offset))

    def xTruncate(self, size: int) -> None:  # noqa: N802
        self._tried(lambda: self._disk.truncate(self._path, size))

    def xSync(self, flags: int) -> None:  # noqa: ARG002, N802
        self._tried(lambda: self._disk.sync_file(self._path))
        if self._sync_name:
            self._sync_name = False
            self._tried(lambda: self._disk.sync_directory(self._path.rpartition("/")[0] or "/"))

    def xFileSize(self) -> int:  # noqa: N802
        return self._tried(lambda: self._disk.size(self._path))

    def xLock(self, level: int) -> None:  # noqa: N802
        """Do nothing: see the class."""

    def xUnlock(self, level: int) -> None:  # noqa: N802
        """Do nothing: see the class."""

    def xCheckReservedLock(self) -> bool:  # noqa: N802
        return False

    def xFileControl(self, op: int, ptr: int) -> bool:  # noqa: ARG002, N802
        return False

    def xSectorSize(self) -> int:  # noqa: N802
        return SECTOR_BYTES

    def xDeviceCharacteristics(self) -> int:  # noqa: N802
        return apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE  # as on Unix: a torn write leaves its neighbours alone

    def xClose(self) -> None:  # noqa: N802
        """Do nothing: what was written is on the disk, synced or not."""
