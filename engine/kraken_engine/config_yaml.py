"""YAML text as plain values that remember where they stood.

Builds the values from the node graph of ruamel.yaml rather than with one of its constructors: so every key and value
has its line, no tag can make an object, and nothing is coerced. Anchors are refused, for a few lines of them can
stand for gigabytes. Knows nothing of what the keys mean.
"""

from __future__ import annotations

import math
import re
from typing import Any, TypeAlias

import attrs
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from kraken_engine.errors import ConfigError, shown

__all__ = ["Document", "Path", "Place", "Value"]

Value: TypeAlias = "dict[str, Value] | list[Value] | str | float | int | bool | None"
Path: TypeAlias = tuple[str | int, ...]

_Node: TypeAlias = Any
"""A node of ruamel.yaml, whose attributes have no types: ``id``, ``tag``, ``value``, ``anchor``, ``start_mark``."""

_MAX_BYTES = 64 * 1024
_MAX_DEPTH = 8
_TAG = "tag:yaml.org,2002:"
_CONTAINER_TAGS = (f"{_TAG}map", f"{_TAG}seq")
_WHOLE = re.compile(r"[-+]?[0-9]{1,18}")
_DECIMAL = re.compile(r"[-+]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})([eE][-+]?[0-9]{1,3})?")
_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
"""Which of these are booleans depends on the YAML version; the resolver has decided that already."""


_UNUSABLE: Any = object()
"""Stands for a value about which a mistake has been noted already."""


@attrs.frozen
class Place:
    """Where something stands: a source, and a line of it (from 1; None for a source without lines)."""

    source: str
    line: int | None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


class Document:
    """The values of a file and of what overrides it, and all mistakes found so far.

    Values below the top-level keys ``hidden`` are not repeated in mistakes: they may be secret.
    """

    def __init__(self, name: str, *, hidden: tuple[str, ...] = ()) -> None:
        self._name = name
        self._hidden = hidden
        self.values: dict[str, Any] = {}
        self._places: dict[Path, Place] = {}
        self._mistakes: list[tuple[Place, str]] = []

    def read(self, data: bytes) -> None:
        """Take in the file; what cannot be used is a mistake, and left out."""
        if len(data) > _MAX_BYTES:
            self.mistake(Place(self._name, None), f"expected at most {_MAX_BYTES} bytes, got {len(data)}")
            return
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            self.mistake(Place(self._name, line), f"expected UTF-8, got byte 0x{data[error.start]:02x}")
            return
        root = self._compose(text, Place(self._name, 1))
        if root is _UNUSABLE or root is None or _is_null(root):
            return
        if root.id == "mapping":
            self.values = self._mapping(root, (), _Reading(self._name))
        else:
            self.mistake(Place(self._name, 1), "expected keys and values at the top")

    def override(self, path: Path, text: str, *, source: str) -> None:
        """Put the value ``text`` at ``path``, whatever stands there."""
        place = Place(source, None)
        if len(text) > _MAX_BYTES:
            self.mistake(place, f"expected at most {_MAX_BYTES} characters, got {len(text)}")
            return
        node = self._compose(text, place)
        if node is _UNUSABLE:
            return
        value = None if node is None else self._value(node, path, _Reading(source, lines=False))
        if value is _UNUSABLE:
            return
        values: dict[str, Any] = self.values
        for depth, section in enumerate(path[:-1], 1):
            if not isinstance(values.get(str(section)), dict):
                values[str(section)] = {}
                self._places.setdefault(path[:depth], place)
            values = values[str(section)]
        values[str(path[-1])] = value
        self._places = {inner: at for inner, at in self._places.items() if inner[: len(path)] != path}
        self._places[path] = place

    def place(self, path: Path) -> Place:
        """Return where ``path``, or the nearest thing around it, stands."""
        while path and path not in self._places:
            path = path[:-1]
        return self._places.get(path, Place(self._name, 1))

    def mistake(self, place: Place, what: str) -> None:
        """Note a mistake."""
        self._mistakes.append((place, what))

    def raise_mistakes(self) -> None:
        """Raise one :class:`ConfigError` of all mistakes, in the order of the file, then of the environment."""
        if self._mistakes:
            ordered = sorted(self._mistakes, key=lambda m: (m[0].line or math.inf, m[0].source))
            raise ConfigError([f"{shown(str(place))}: {what}" for place, what in ordered])

    def _compose(self, text: str, place: Place) -> _Node:
        """Return the root of the node graph; None for a text without a document."""
        try:
            return YAML(typ="safe", pure=True).compose(text)
        except MarkedYAMLError as error:
            slip: Any = error
            mark = slip.problem_mark or slip.context_mark
            if place.line is not None and mark is not None:
                place = Place(place.source, mark.line + 1)
            why = _QUOTED.sub("(not shown)", str(slip.problem or slip.context or "unreadable"))
            self.mistake(place, f"not YAML: {shown(why)}")
        except RecursionError:
            self.mistake(place, "nested too deeply")
        except Exception as error:  # noqa: BLE001 - the parser trips over some garbage, and then the text is at fault
            why = _QUOTED.sub("(not shown)", str(error).partition("\n")[0]) or type(error).__name__
            self.mistake(place, f"not YAML: {shown(why)}")
        return _UNUSABLE

    def _value(self, node: _Node, path: Path, reading: _Reading) -> Any:
        place = reading.place(node)
        self._places.setdefault(path, place)
        if node.anchor is not None or id(node) in reading.seen:
            self.mistake(place, f"{_dotted(path)}: anchors and aliases are not supported")
        elif len(path) > _MAX_DEPTH:
            self.mistake(place, f"{_dotted(path)}: nested more than {_MAX_DEPTH} deep")
        elif node.id != "scalar" and node.tag not in _CONTAINER_TAGS:
            self.mistake(place, f"{_dotted(path)}: expected a plain value, got one with the tag {shown(str(node.tag))}")
        elif node.id == "mapping":
            return self._mapping(node, path, reading)
        elif node.id == "sequence":
            reading.seen.add(id(node))
            items = [self._value(item, (*path, i), reading) for i, item in enumerate(node.value)]
            return _UNUSABLE if _UNUSABLE in items else items
        else:
            try:
                return _scalar(node)
            except ValueError as error:
                what = "expected a plain value, got one that is not shown" if path[0] in self._hidden else str(error)
                self.mistake(place, f"{_dotted(path)}: {what}")
        return _UNUSABLE

    def _mapping(self, node: _Node, path: Path, reading: _Reading) -> dict[str, Value]:
        reading.seen.add(id(node))
        values: dict[str, Value] = {}
        for key_node, value_node in node.value:
            place = reading.place(key_node)
            key = key_node.value if key_node.id == "scalar" and key_node.tag == f"{_TAG}str" else None
            if not isinstance(key, str):
                self.mistake(place, f"{_dotted(path)}: expected a name before the colon")
            elif (*path, key) in reading.keys:
                first = self._places[(*path, key)]
                self.mistake(place, f"{_dotted((*path, key))}: duplicate key, first in line {first.line}")
            else:
                self._places[(*path, key)] = place
                reading.keys.add((*path, key))
                value = self._value(value_node, (*path, key), reading)
                if value is not _UNUSABLE:
                    values[key] = value
        return values


_QUOTED = re.compile(r"'[^']{4,}'" '|"[^"]{4,}"')
"""What the parser repeats of the text beyond single characters: it might be a key."""


@attrs.define
class _Reading:
    """One pass over one node graph."""

    source: str
    lines: bool = True
    seen: set[int] = attrs.field(factory=set[int])
    """Ids of the containers met so far; one met twice is an alias."""
    keys: set[Path] = attrs.field(factory=set[Path])

    def place(self, node: _Node) -> Place:
        return Place(self.source, node.start_mark.line + 1 if self.lines and node.start_mark is not None else None)


def _is_null(node: _Node) -> bool:
    return bool(node.id == "scalar" and node.tag == f"{_TAG}null")


def _scalar(node: _Node) -> Value:
    """Return the value of a scalar by its tag.

    Raises:
        ValueError: the tag is not one of YAML's own, or the text is not what the tag says.
    """
    text = str(node.value)
    match str(node.tag).removeprefix(_TAG):
        case "null":
            return None
        case "bool" if text.lower() in _BOOLEANS:
            return _BOOLEANS[text.lower()]
        case "int" if _WHOLE.fullmatch(text):
            return int(text)
        case "float" if _DECIMAL.fullmatch(text) and math.isfinite(float(text)):
            return float(text)
        case "bool":
            raise ValueError(f"expected true or false, got {shown(text)}")
        case "int" | "float":
            raise ValueError(f"expected a finite decimal number, got {shown(text)}")
        case "str" | "timestamp" | "merge" | "value":
            return text
        case tag:
            raise ValueError(f"expected a plain value, got one with the tag {shown(tag)}")


def _dotted(path: Path) -> str:
    return shown(".".join(map(str, path))) if path else "top"
