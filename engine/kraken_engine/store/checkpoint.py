"""Checkpoints on disk: the last one or the one before it, whole, whatever happens while one is written.

Two files take turns. A new checkpoint is written beside them under a third name and synced; then it takes the name of
the older one, and the directory is synced. So at every moment a whole checkpoint stands under one of the names, and a
saved one (I-33: old or new, never mixed) under both readings of what a crash left. Each file says how long it is, of
which generation, and ends with nothing: a BLAKE2 digest over all of it stands at its head. One that does not fit is
not used, and that is said.

Knows nothing of what a checkpoint holds.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from typing import Final, final

import attrs

from kraken_engine.errors import StoreCorrupt, StoreError, UsageError
from kraken_engine.runtime import Files, Runtime

__all__ = ["SLOTS", "CheckpointFiles", "Checkpoints", "Loaded", "seal", "unseal"]

MAGIC: Final = b"KECKPT"
VERSION: Final = 1
MAX_BYTES: Final = 64 * 1024 * 1024
SLOTS: Final = ("checkpoint.0", "checkpoint.1")
TEMPORARY: Final = "checkpoint.new"

_HEADER: Final = struct.Struct(">6sHQQ")
_DIGEST_BYTES: Final = 32


@attrs.frozen(kw_only=True)
class Loaded:
    """What was found."""

    payload: bytes | None
    """The newest whole checkpoint; None: a cold start."""
    generation: int
    """Counts the checkpoints; 0 without one."""
    notes: tuple[str, ...]
    """What could not be used and what is used instead, for whoever runs the engine; empty when all was well."""
    before: tuple[int, bytes] | None = None
    """Generation and payload of the whole checkpoint before it, for whoever cannot make sense of the newest."""


def seal(generation: int, payload: bytes) -> bytes:
    """Return the content of a file: head, digest, payload."""
    head = _HEADER.pack(MAGIC, VERSION, generation, len(payload))
    return head + _digest(head, payload) + payload


def unseal(data: bytes) -> tuple[int, bytes]:
    """Return generation and payload of a file.

    Raises:
        StoreCorrupt: it is not, in every byte, what :func:`seal` made.
    """
    if len(data) < _HEADER.size + _DIGEST_BYTES:
        raise StoreCorrupt(f"expected {_HEADER.size + _DIGEST_BYTES} bytes or more, got {len(data)}")
    head, digest = data[: _HEADER.size], data[_HEADER.size : _HEADER.size + _DIGEST_BYTES]
    payload = data[_HEADER.size + _DIGEST_BYTES :]
    magic, version, generation, length = _HEADER.unpack(head)
    if magic != MAGIC:
        raise StoreCorrupt("expected a checkpoint, got something else")
    if version != VERSION:
        raise StoreCorrupt(f"expected version {VERSION}, got {version}")
    if length != len(payload):
        raise StoreCorrupt(f"expected {length} bytes of content, got {len(payload)}")
    if digest != _digest(head, payload):
        raise StoreCorrupt("its digest does not fit")
    return generation, payload


def _digest(head: bytes, payload: bytes) -> bytes:
    return hashlib.blake2b(head + payload, digest_size=_DIGEST_BYTES).digest()


class CheckpointFiles:
    """The files in one directory, which must be there and locked by this engine. Everything here blocks."""

    def __init__(self, files: Files, directory: str) -> None:
        self._files = files
        self._directory = directory
        self._generation: int | None = None
        """Of the last checkpoint that is known to be durable, or was found; None before the first load."""
        self._unread: str | None = None
        """What kept a file from being read; it may hold a later checkpoint than the one that was found."""

    def load(self) -> Loaded:
        """Return the newest whole checkpoint, and say what else was found.

        Raises:
            StoreError: the directory cannot be read or synced.
        """
        try:
            names = self._files.list_directory(self._directory)
            # What the process before this one saw need not be on the disk yet; from now on it is relied on.
            self._files.sync_directory(self._directory)
        except OSError as error:
            raise StoreError(f"{self._directory}: cannot load: {error.strerror or error}") from error
        whole: dict[str, tuple[int, bytes]] = {}
        broken: list[str] = []
        self._unread = None
        for name in SLOTS:
            if name in names:
                try:
                    whole[name] = self._read(name)
                except StoreCorrupt as error:
                    broken.append(f"{self._directory}/{name}: {error}")
        best = max(whole, key=lambda name: whole[name][0], default=None)
        self._generation, payload = (0, None) if best is None else whole[best]
        if broken and best is None:
            broken.append("no checkpoint is whole: a cold start")
        elif broken:
            broken.append(f"generation {self._generation} of {best} is used, which may be the one before the last")
        before = [found for name, found in whole.items() if name != best]
        return Loaded(
            payload=payload,
            generation=self._generation,
            notes=tuple(broken),
            before=before[0] if before else None,
        )

    def save(self, payload: bytes) -> int:
        """Write a checkpoint, and return its generation once it is durable.

        Raises:
            StoreError: it may not be; the one before it still is.
            UsageError: it is too long.
        """
        if len(payload) > MAX_BYTES:
            raise UsageError(f"checkpoint: expected at most {MAX_BYTES} bytes, got {len(payload)}")
        if self._generation is None or self._unread is not None:
            self.load()
        if self._unread is not None:
            raise StoreError(f"{self._directory}: cannot save a checkpoint below one that may be there: {self._unread}")
        generation = (self._generation or 0) + 1
        temporary = f"{self._directory}/{TEMPORARY}"
        try:
            if TEMPORARY in self._files.list_directory(self._directory):
                self._files.remove(temporary)
            self._files.write_new(temporary, seal(generation, payload))
            self._files.rename(temporary, f"{self._directory}/{SLOTS[generation % 2]}")
            self._files.sync_directory(self._directory)
        except OSError as error:
            # The generation stays: the next attempt takes the same name, and leaves the last good one alone.
            raise StoreError(f"{self._directory}: cannot save a checkpoint: {error.strerror or error}") from error
        self._generation = generation
        return generation

    def _read(self, name: str) -> tuple[int, bytes]:
        try:
            data = self._files.read_checked(
                f"{self._directory}/{name}", lambda _: None, most_bytes=MAX_BYTES + _HEADER.size + _DIGEST_BYTES + 1
            )
        except OSError as error:
            self._unread = f"{name} cannot be read: {error.strerror or error}"
            raise StoreCorrupt(f"cannot be read: {error.strerror or error}") from error
        return unseal(data)


@final
class Checkpoints:
    """:class:`CheckpointFiles` for tasks: the work is done in a worker of its own."""

    def __init__(self, runtime: Runtime, directory: str) -> None:
        self._files = CheckpointFiles(runtime.files, directory)
        self._worker = runtime.workers.worker("checkpoint")

    async def load(self) -> Loaded:
        """See :meth:`CheckpointFiles.load`."""
        return await self._worker.run(self._files.load)

    async def save(self, payload: bytes) -> int:
        """See :meth:`CheckpointFiles.save`. Cancelled, it may be saved all the same, and then whole."""
        return await self.save_made(lambda: payload)

    async def save_made(self, make: Callable[[], bytes]) -> int:
        """Save what ``make`` returns; it runs in the worker, too, for it may take its time."""
        return await self._worker.run(lambda: self._files.save(make()))
