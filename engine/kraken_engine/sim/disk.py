"""A simulated disk that forgets at a crash what was not synced, in every way it may.

The model is the one crash-consistency studies use (Pillai and others, "All File Systems Are Not Created Equal", OSDI
2014). Written blocks of a file are durable after ``sync_file``; names (create, rename, remove) after
``sync_directory`` of their directory. At a crash each unsynced block is kept, lost or torn, and each unsynced change of
a name kept or lost, in any combination. Directories themselves are durable at once, and a rename stays within one.

It implements ``runtime.Files`` and, beyond it, the primitives a careful writer needs.
"""

from __future__ import annotations

import enum
import errno
import itertools
import posixpath
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal

import apsw
import attrs

from kraken_engine.errors import UsageError
from kraken_engine.runtime import FileFacts, FileLock, Rng
from kraken_engine.sim import sqlite_vfs

__all__ = ["DiskFault", "SimDisk"]

PRIVATE_MODE: Final = 0o600
PRIVATE_DIRECTORY_MODE: Final = 0o700
MOST_UNSYNCED: Final = 4096
"""Beyond so many unsynced writes, or changes of names, the older half becomes durable: a kernel writes back in time."""


class DiskFault(enum.Enum):
    """What every write to the disk meets; reading goes on, except for ``IO_ERROR``."""

    IO_ERROR = errno.EIO
    FULL = errno.ENOSPC
    READ_ONLY = errno.EROFS


class _Fate(enum.Enum):
    LOST = 0
    KEPT = 1
    TORN = 2


@attrs.frozen
class _Write:
    """One block of a file that is not durable yet; ``data`` is None for a truncation to ``offset``."""

    inode: int
    offset: int
    data: bytes | None


@attrs.frozen
class _Naming:
    """A change of names in one directory that is not durable yet: ``remove``, ``add`` or both (a rename)."""

    directory: str
    inode: int
    remove: str | None
    add: str | None


@attrs.define
class _Image:
    """Names and contents, as a program or, after a crash, the next one sees them."""

    names: dict[str, int] = attrs.field(factory=dict[str, int])
    data: dict[int, bytearray] = attrs.field(factory=dict[int, bytearray])

    def copy(self) -> _Image:
        return _Image(dict(self.names), {inode: bytearray(content) for inode, content in self.data.items()})

    def write(self, write: _Write, *, torn: bool = False) -> None:
        """Bring one write to its file, if that is still there; of a torn one only the first half."""
        content = self.data.get(write.inode)
        if content is None:
            return
        if write.data is None:
            if not torn:
                del content[write.offset :]
            return
        data = write.data[: len(write.data) // 2] if torn else write.data
        content.extend(bytes(max(0, write.offset - len(content))))
        content[write.offset : write.offset + len(data)] = data

    def name(self, naming: _Naming) -> None:
        """Bring one change of names to their directory; a name that goes must still be this file's."""
        if naming.remove is not None and self.names.get(naming.remove) == naming.inode:
            del self.names[naming.remove]
        if naming.add is not None:
            self.names[naming.add] = naming.inode


@attrs.frozen(eq=False)
class _SimLock:
    _held: dict[str, _SimLock]
    _path: str

    def release(self) -> None:
        """Let go, unless a crash has done so and somebody else holds it by now."""
        if self._held.get(self._path) is self:
            del self._held[self._path]


@attrs.define(kw_only=True, eq=False)
class SimDisk:
    """A ``runtime.Files`` in memory, with the crashes and errors of a real one."""

    block_bytes: int = 4096
    """What is written at once: a crash loses, keeps or tears whole blocks of so many bytes."""
    capacity_bytes: int | None = None
    """A write that would exceed it fails with ENOSPC."""
    fault: DiskFault | None = None
    sync_fault: DiskFault | None = None
    """What every sync meets, while all else goes on: what was written is there until the next crash."""
    after_step: Callable[[], None] | None = attrs.field(default=None, repr=False)
    """Called after each step that changes something: where a crash may come in between."""
    user_id: int = 1000
    """Whom the process acts for; files belong to this user unless :meth:`give` says otherwise."""
    epoch: int = attrs.field(default=0, init=False)
    """Crashes so far (:meth:`crash`): a file opened before one is gone."""
    steps: int = attrs.field(default=0, init=False)
    """Changing steps so far."""
    _facts: dict[str, FileFacts] = attrs.field(factory=dict[str, FileFacts], init=False)
    """What :meth:`give` said, by path."""
    _locks: dict[str, _SimLock] = attrs.field(factory=dict[str, "_SimLock"], init=False)
    _directories: tuple[str, ...] = attrs.field(default=("/",), alias="directories")
    _durable: _Image = attrs.field(factory=_Image, alias="durable", repr=False)
    _live: _Image = attrs.field(init=False, repr=False)
    _writes: list[_Write] = attrs.field(factory=list[_Write], init=False, repr=False)
    """What separates ``_live`` from ``_durable``: contents ..."""
    _namings: list[_Naming] = attrs.field(factory=list[_Naming], init=False, repr=False)
    """... and names, oldest first."""
    _next_inode: int = attrs.field(init=False, repr=False)
    _fail_at: int | None = attrs.field(default=None, init=False)
    _fail_with: DiskFault = attrs.field(default=DiskFault.IO_ERROR, init=False)
    _killed: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._live = self._durable.copy()
        self._next_inode = max(self._durable.data, default=0) + 1

    # --- runtime.Files ---

    def read_bytes(self, path: str) -> bytes:
        """Return the whole content."""
        return self._content(path)

    def write_private(self, path: str, data: bytes) -> None:
        """Create or replace ``path`` with mode 0600; nothing of it is synced."""
        if _clean(path) in self._live.names:
            self.remove(path)
        self.create(path)
        self.write(path, data)

    def make_directory(self, path: str) -> None:
        """Create ``path`` (mode 0700) and its parents unless it is there."""
        path = _clean(path)
        if path in self._directories:
            return
        if path in self._live.names:
            raise _error(errno.EEXIST, path)
        self.make_directory(posixpath.dirname(path))
        self._begin(path)
        self._directories = (*self._directories, path)
        self._done()

    def mode(self, path: str) -> int:
        """Return the permission bits of ``path``."""
        return self.look(path).mode

    def look(self, path: str) -> FileFacts:
        """Return the facts of a file or directory; there are no links here."""
        path = _clean(path)
        is_directory = path in self._directories
        if not is_directory:
            self._inode(path)
        kind: Literal["file", "directory"] = "directory" if is_directory else "file"
        mode = PRIVATE_DIRECTORY_MODE if is_directory else PRIVATE_MODE
        return self._facts.get(path) or FileFacts(kind=kind, mode=mode, owner=self.user_id)

    def give(self, path: str, *, mode: int | None = None, owner: int | None = None) -> None:
        """Change the permission bits or the owner of ``path``; nothing here minds them but :meth:`look`."""
        facts = self.look(path)
        mode = facts.mode if mode is None else mode
        self._facts[_clean(path)] = attrs.evolve(facts, mode=mode, owner=facts.owner if owner is None else owner)

    def read_checked(self, path: str, check: Callable[[FileFacts], None], *, most_bytes: int) -> bytes:
        """Return the first ``most_bytes`` of a file that ``check`` lets pass."""
        check(self.look(path))
        return self._content(path)[:most_bytes]

    def user(self) -> int:
        """Return the number of the user the process acts for."""
        return self.user_id

    def free_bytes(self, path: str) -> int:
        """Return what is left of the capacity; without one, a tebibyte."""
        self.look(path)
        return 2**40 if self.capacity_bytes is None else max(0, self.capacity_bytes - self._used())

    def lock(self, path: str, about: str) -> FileLock:
        """Lock ``path``; a crash releases it, as the end of a process would."""
        path = _clean(path)
        if path in self._locks:
            raise BlockingIOError(errno.EAGAIN, "EAGAIN", path)
        if path not in self._live.names:
            self.create(path)
        self.truncate(path)
        self.write(path, f"process 1 on a simulated machine, {about}\n".encode())
        lock = self._locks[path] = _SimLock(self._locks, path)
        return lock

    def write_new(self, path: str, data: bytes) -> None:
        """Create a file with ``data`` and sync its content; its name is not durable."""
        self.create(path)
        self.write(path, data)
        self.sync_file(path)

    def open_database(self, path: str) -> apsw.Connection:
        """Open the SQLite database in an existing file of this disk."""
        return sqlite_vfs.open_database(self, _clean(path))

    # --- what a careful writer needs ---

    def exists(self, path: str) -> bool:
        """Tell whether there is a file of this name."""
        return _clean(path) in self._live.names

    def size(self, path: str) -> int:
        """Return the size of a file in bytes."""
        return len(self._live.data[self._inode(path)])

    def read_at(self, path: str, offset: int, count: int) -> bytes:
        """Return up to ``count`` bytes from ``offset`` on."""
        if self.fault is DiskFault.IO_ERROR:
            raise _error(errno.EIO, path)
        return bytes(memoryview(self._live.data[self._inode(path)])[offset : offset + count])

    def create(self, path: str) -> None:
        """Create an empty file (mode 0600) that must not be there yet."""
        path = _clean(path)
        if path in self._live.names or path in self._directories:
            raise _error(errno.EEXIST, path)
        if posixpath.dirname(path) not in self._directories:
            raise _error(errno.ENOENT, path)
        self._begin(path)
        inode, self._next_inode = self._next_inode, self._next_inode + 1
        self._live.data[inode] = bytearray()
        self._durable.data[inode] = bytearray()
        self._change_names(_Naming(posixpath.dirname(path), inode, None, path))

    def write(self, path: str, data: bytes, *, offset: int = 0) -> None:
        """Write ``data`` at ``offset``, block by block: each block is a step of its own."""
        inode = self._inode(path)
        begin = offset
        while begin < offset + len(data):
            end = min(offset + len(data), (begin // self.block_bytes + 1) * self.block_bytes)
            self._begin(path, grows_by=max(0, end - len(self._live.data[inode])))
            self._change_content(_Write(inode, begin, data[begin - offset : end - offset]))
            begin = end

    def truncate(self, path: str, size: int = 0) -> None:
        """Cut a file to ``size`` bytes."""
        inode = self._inode(path)
        self._begin(path)
        self._change_content(_Write(inode, size, None))

    def sync_file(self, path: str) -> None:
        """Make the content of ``path`` durable (fsync); not its name."""
        inode = self._inode(path)
        self._begin(path, sync=True)
        self._durable.data[inode] = bytearray(self._live.data[inode])
        self._writes = [write for write in self._writes if write.inode != inode]
        self._done()

    def rename(self, source: str, target: str) -> None:
        """Give a file another name in its directory, replacing what had that name."""
        source, target = _clean(source), _clean(target)
        inode = self._inode(source)
        if posixpath.dirname(source) != posixpath.dirname(target):
            raise _error(errno.EXDEV, target)
        if target in self._directories:
            raise _error(errno.EISDIR, target)
        self._begin(source)
        self._change_names(_Naming(posixpath.dirname(source), inode, source, target))

    def remove(self, path: str) -> None:
        """Remove the name of a file."""
        path = _clean(path)
        inode = self._inode(path)
        self._begin(path)
        self._change_names(_Naming(posixpath.dirname(path), inode, path, None))

    def sync_directory(self, path: str) -> None:
        """Make the names in ``path`` durable (fsync of the directory)."""
        path = _clean(path)
        if path not in self._directories:
            raise _error(errno.ENOENT, path)
        self._begin(path, sync=True)
        for naming in self._namings:
            if naming.directory == path:
                self._durable.name(naming)
        self._namings = [naming for naming in self._namings if naming.directory != path]
        self._forget_nameless()
        self._done()

    def list_directory(self, path: str) -> list[str]:
        """Return the names of the files in ``path``, sorted."""
        path = _clean(path)
        if path not in self._directories:
            raise _error(errno.ENOENT, path)
        return sorted(posixpath.basename(name) for name in self._live.names if posixpath.dirname(name) == path)

    # --- faults and crashes ---

    def heal(self) -> None:
        """End every fault, and forget the step that was to fail."""
        self.fault = self.sync_fault = self._fail_at = None

    def fail_at(self, step: int, fault: DiskFault = DiskFault.IO_ERROR) -> None:
        """Let the ``step``-th changing step from now (1: the next) fail once with ``fault``."""
        if step < 1:
            raise UsageError(f"fail_at: expected a step of 1 or more, got {step}")
        self._fail_at, self._fail_with = self.steps + step, fault

    def flip_bit(self, path: str, bit: int) -> None:
        """Flip bit number ``bit`` (modulo the size) of a file, durably and without any error: silent corruption."""
        inode = self._inode(path)
        size = 8 * len(self._live.data[inode])
        if size:
            for image in (self._live, self._durable):
                if bit % size < 8 * len(image.data[inode]):
                    image.data[inode][bit % size // 8] ^= 1 << bit % size % 8

    def wipe(self, path: str) -> None:
        """Empty a file, durably and without any error: what some file systems leave of one after a crash."""
        inode = self._inode(path)
        for image in (self._live, self._durable):
            del image.data[inode][:]
        self._writes = [write for write in self._writes if write.inode != inode]

    def crash_states(self, *, limit: int, rng: Rng) -> Iterator[SimDisk]:
        """Yield disks as they may be found after a crash at this moment.

        Args:
            limit: all states if there are at most so many; else so many drawn at random, preceded by the two extremes
                (everything unsynced lost, everything kept).
            rng: draws them.
        """
        total = 3 ** len(self._writes) * 2 ** len(self._namings)
        if total <= limit:
            for fates in itertools.product(_Fate, repeat=len(self._writes)):
                for kept in itertools.product((False, True), repeat=len(self._namings)):
                    yield self._reborn(self._crashed(fates, kept))
            return
        for fate in itertools.islice((_Fate.LOST, _Fate.KEPT), limit):
            names_too = [fate is _Fate.KEPT] * len(self._namings)
            yield self._reborn(self._crashed([fate] * len(self._writes), names_too))
        for _ in range(limit - 2):
            yield self._reborn(self._drawn(rng))

    def crash(self, rng: Rng) -> None:
        """Become one of the states a crash at this moment may leave, drawn at random."""
        self._durable = self._drawn(rng)
        self._live = self._durable.copy()
        self._writes, self._namings = [], []
        self._locks.clear()
        self.epoch += 1

    def kill(self, rng: Rng) -> None:
        """Crash, as by ``kill -9`` of the process that uses it: what that one still does changes nothing any more.

        A simulated process is cancelled and tidies up, which a killed one does not; until :meth:`start` every change is
        refused.
        """
        self.crash(rng)
        self._killed = True

    def start(self) -> None:
        """Let the next process change things again."""
        self._killed = False

    def unsynced(self) -> tuple[int, int]:
        """Return how many (blocks and truncations, changes of names) a crash could lose now."""
        return len(self._writes), len(self._namings)

    def _reborn(self, image: _Image) -> SimDisk:
        return SimDisk(
            block_bytes=self.block_bytes,
            capacity_bytes=self.capacity_bytes,
            directories=self._directories,
            durable=image,
        )

    def _drawn(self, rng: Rng) -> _Image:
        fates = [rng.choice(tuple(_Fate)) for _ in self._writes]
        return self._crashed(fates, [rng.random() < 0.5 for _ in self._namings])

    def _crashed(self, fates: Sequence[_Fate], kept: Sequence[bool]) -> _Image:
        after = self._durable.copy()
        for naming, keep in zip(self._namings, kept, strict=True):
            if keep:
                after.name(naming)
        for write, fate in zip(self._writes, fates, strict=True):
            if fate is not _Fate.LOST:
                after.write(write, torn=fate is _Fate.TORN)
        named = set(after.names.values())
        after.data = {inode: content for inode, content in after.data.items() if inode in named}
        return after

    def _content(self, path: str) -> bytes:
        if self.fault is DiskFault.IO_ERROR:
            raise _error(errno.EIO, path)
        return bytes(self._live.data[self._inode(path)])

    def _inode(self, path: str) -> int:
        path = _clean(path)
        if path in self._directories:
            raise _error(errno.EISDIR, path)
        if path not in self._live.names:
            raise _error(errno.ENOENT, path)
        return self._live.names[path]

    def _used(self) -> int:
        return sum(len(self._live.data[inode]) for inode in self._live.names.values())

    def _begin(self, path: str, *, grows_by: int = 0, sync: bool = False) -> None:
        """Fail a step that is about to change ``path``, if it is to fail."""
        if self._killed:
            raise _error(errno.EIO, path)
        self.steps += 1
        if self._fail_at == self.steps:
            raise _error(self._fail_with.value, path)
        if self.fault is not None:
            raise _error(self.fault.value, path)
        if sync and self.sync_fault is not None:
            raise _error(self.sync_fault.value, path)
        if self.capacity_bytes is not None and grows_by and self._used() + grows_by > self.capacity_bytes:
            raise _error(errno.ENOSPC, path)

    def _done(self) -> None:
        if self.after_step is not None:
            self.after_step()

    def _change_content(self, write: _Write) -> None:
        self._live.write(write)
        self._writes.append(write)
        if len(self._writes) > MOST_UNSYNCED:
            for old in self._writes[: MOST_UNSYNCED // 2]:
                self._durable.write(old)
            del self._writes[: MOST_UNSYNCED // 2]
        self._done()

    def _change_names(self, naming: _Naming) -> None:
        self._live.name(naming)
        self._namings.append(naming)
        if len(self._namings) > MOST_UNSYNCED:
            for old in self._namings[: MOST_UNSYNCED // 2]:
                self._durable.name(old)
            del self._namings[: MOST_UNSYNCED // 2]
            self._forget_nameless()
        self._done()

    def _forget_nameless(self) -> None:
        """Free files that have no name any more, and cannot get one back by a crash."""
        named = {*self._live.names.values(), *self._durable.names.values()}
        named.update(naming.inode for naming in self._namings)
        for image in (self._live, self._durable):
            image.data = {inode: content for inode, content in image.data.items() if inode in named}
        self._writes = [write for write in self._writes if write.inode in named]


def _clean(path: str) -> str:
    return posixpath.normpath(posixpath.join("/", path))


def _error(number: int, path: str) -> OSError:
    return OSError(number, errno.errorcode[number], path)
