"""A close look at a few frames: keys sent twice, and fields this version does not know.

The fast pass sees neither (it skips what it does not know, and the last of two equal keys wins), and looking at
every frame this closely would cost ten times as much. Knows the shape of messages from their types alone.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

from msgspec import inspect

from kraken_engine.codec.tally import Tally
from kraken_engine.errors import DecodeError

__all__ = ["FieldSampler", "Fields", "known_fields", "refuse_duplicate_keys"]

Fields: TypeAlias = "Mapping[str, Fields | None]"
"""Names known at one level of a message, each with those below it (None: anything goes)."""

_Json: TypeAlias = "bool | str | list[_Json] | dict[str, _Json] | None"
_MAX_SAMPLE_BYTES = 65_536
"""Longer frames are not looked at: a close look at a whole instrument snapshot would hold up the line."""


@functools.cache  # every connection has a decoder of its own, and the types are the same
def known_fields(union: Any) -> Mapping[str, Fields]:
    """Return the fields of every message of a union of Structs tagged by ``channel``, by tag."""
    found = inspect.type_info(union)
    kinds = found.types if isinstance(found, inspect.UnionType) else (found,)
    return MappingProxyType(
        {
            str(kind.tag): {"channel": None, **(_below(kind) or {})}
            for kind in kinds
            if isinstance(kind, inspect.StructType)
        }
    )


class FieldSampler:
    """Counts unknown fields of the frames it is shown.

    Args:
        known: fields by channel, see :func:`known_fields`.
    """

    def __init__(self, known: Mapping[str, Fields]) -> None:
        self._known = known
        self._tally = Tally()

    @property
    def unknown(self) -> Mapping[str, int]:
        """In how many sampled frames each unknown field was seen."""
        return self._tally.counts

    def sample(self, frame: bytes) -> None:
        """Look at ``frame``, which has decoded as a message of a known channel.

        Raises:
            DecodeError: an object in it has a key twice.
        """
        if len(frame) > _MAX_SAMPLE_BYTES:
            return
        document = _parse(frame)
        channel = document["channel"]
        seen: dict[str, None] = {}
        _walk(document, self._known[channel], channel, seen)
        for name in seen:
            self._tally.add(name)


def refuse_duplicate_keys(frame: bytes) -> None:
    """Check that no object of a frame that is known to be JSON has a key twice.

    Raises:
        DecodeError: one has.
    """
    _parse(frame)


def _parse(frame: bytes) -> Any:
    return json.loads(frame, object_pairs_hook=_object, parse_int=str, parse_float=str)


def _object(pairs: list[tuple[str, _Json]]) -> dict[str, _Json]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise DecodeError("$", "each key once in an object", f"{name!r} twice")
            seen.add(name)
    return fields


def _walk(value: _Json, known: Fields, path: str, seen: dict[str, None]) -> None:
    if isinstance(value, list):
        for item in value:
            _walk(item, known, path, seen)
    elif isinstance(value, dict):
        for name, below in value.items():
            if name not in known:
                seen[f"{path}.{name}"] = None
            elif (deeper := known[name]) is not None:
                _walk(below, deeper, f"{path}.{name}", seen)


def _below(kind: inspect.Type) -> Fields | None:
    match kind:
        case inspect.StructType():
            return {field.encode_name: _below(field.type) for field in kind.fields}
        case inspect.ListType():
            return _below(kind.item_type)
        case _:
            return None
