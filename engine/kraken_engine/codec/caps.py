"""Limits on a frame that are checked before anything parses it: length, UTF-8, depth of nesting.

Knows JSON's brackets and strings, nothing else of it.
"""

from __future__ import annotations

import re

from kraken_engine.errors import DecodeError

__all__ = ["MAX_DEPTH", "MAX_FRAME_BYTES", "check_caps"]

MAX_FRAME_BYTES = 8 * 1024 * 1024
"""Longest frame accepted; the largest real one, the instrument snapshot, has some hundred kilobytes."""

MAX_DEPTH = 32
"""Deepest nesting accepted; the venue's deepest has 4."""

_ALL_BUT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)  # possessive, closing quote optional: linear


def check_caps(frame: bytes, max_bytes: int = MAX_FRAME_BYTES) -> None:
    """Check length, encoding and depth in time linear in the frame.

    Raises:
        DecodeError: a limit is broken.
    """
    if len(frame) > max_bytes:
        raise DecodeError("$", f"at most {max_bytes} bytes", f"{len(frame)} bytes")
    if not frame.isascii():
        try:
            frame.decode()
        except UnicodeDecodeError as error:
            raise DecodeError("$", "UTF-8", f"byte {frame[error.start]:#04x} at {error.start}") from None
    if frame.count(b"[") + frame.count(b"{") > MAX_DEPTH and _too_deep(frame) and _too_deep(_STRING.sub(b"", frame)):
        raise DecodeError("$", f"at most {MAX_DEPTH} levels of nesting", "more")


def _too_deep(frame: bytes) -> bool:
    """Tell whether the brackets alone, those inside strings included, nest too deep.

    Both kinds count as one here; each round removes the innermost pairs, in C. Openers that are left without a
    match make no JSON, and the parser will refuse them, unless they are so many that it must not see them.
    """
    skeleton = frame.translate(_ONE_KIND, _ALL_BUT_BRACKETS)
    for _ in range(MAX_DEPTH):
        outer = skeleton.replace(b"[]", b"")
        if len(outer) == len(skeleton):
            return outer.count(b"[") > MAX_DEPTH
        skeleton = outer
    return b"[" in skeleton
