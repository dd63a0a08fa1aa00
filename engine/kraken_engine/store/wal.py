"""What the write-ahead log of SQLite holds beyond its last whole transaction.

SQLite ends its log at the first frame that does not fit, without a word. After a crash that is right: nobody was told
that the transaction behind it had happened. After a byte has flipped in the log it is not. So whoever opens a store
asks here first. The log is emptied at every checkpoint (and that is synced), so there are never old frames in it, and
one transaction at most is on its way at any time: two unreadable ones mean that something was lost. That the log itself
was emptied by somebody else shows elsewhere: :mod:`~kraken_engine.store.connection` never leaves it empty.

The format is the one SQLite documents ("WAL-mode File Format"). Knows nothing of the store.
"""

from __future__ import annotations

import enum
import struct
from typing import Final

__all__ = ["LogState", "inspect_log"]

_HEADER: Final = 32
_FRAME_HEADER: Final = 24
_MAGIC: Final = 0x377F0682
_VERSION: Final = 3007000


class LogState(enum.Enum):
    """What is to be thought of a log."""

    EMPTY = "empty"
    """No transaction is in it, and nothing else."""
    WHOLE = "whole"
    """Every byte belongs to a finished transaction."""
    CUT = "cut"
    """The last transaction is unfinished, or no longer readable: nothing tells which."""
    BROKEN = "broken"
    """A transaction that was finished is no longer readable."""


def inspect_log(log: bytes) -> LogState:
    """Return the state of a write-ahead log that nobody has open."""
    if not log:
        return LogState.EMPTY
    if len(log) <= _HEADER:
        return LogState.CUT if _header(log) is None else LogState.EMPTY
    header = _header(log)
    if header is None:
        return LogState.BROKEN  # the header is synced before the first frame is written
    order, page_bytes, salts, sums = header
    frame_bytes = _FRAME_HEADER + page_bytes
    begin, end = _HEADER, _HEADER
    while begin + frame_bytes <= len(log):
        page, commits, *found = struct.unpack_from(">6I", log, begin)
        sums = _sums(log[begin : begin + 8], order, sums)
        sums = _sums(log[begin + _FRAME_HEADER : begin + frame_bytes], order, sums)
        if page == 0 or tuple(found[:2]) != salts or tuple(found[2:]) != sums:
            break
        begin += frame_bytes
        if commits:
            end = begin
    if end == len(log):
        return LogState.WHOLE
    unreadable = 0
    for frame in range(end, len(log) - _FRAME_HEADER + 1, frame_bytes):
        _, commits, *found = struct.unpack_from(">6I", log, frame)
        ours = found[0] == salts[0] or found[1] == salts[1]
        unreadable += bool(commits) and ours
    return LogState.BROKEN if unreadable > 1 else LogState.CUT


def _header(log: bytes) -> tuple[str, int, tuple[int, int], tuple[int, int]] | None:
    """Return byte order, page size, salts and checksums; None if this is no header."""
    if len(log) < _HEADER:
        return None
    magic, version, page_bytes, _, salt_1, salt_2, *sums = struct.unpack_from(">8I", log)
    order = ">" if magic & 1 else "<"
    if magic & ~1 != _MAGIC or version != _VERSION or tuple(sums) != _sums(log[:24], order, (0, 0)):
        return None
    return order, page_bytes, (salt_1, salt_2), (sums[0], sums[1])


def _sums(data: bytes, order: str, sums: tuple[int, int]) -> tuple[int, int]:
    """Return SQLite's running checksums after ``data``, whose length is a multiple of 8."""
    first, second = sums
    for even, odd in struct.iter_unpack(f"{order}2I", data):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second
