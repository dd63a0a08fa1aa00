"""Counts of names that a peer made up: bounded in number, safe to print and to use as labels."""

from __future__ import annotations

import re

import attrs

__all__ = ["Tally", "label"]

_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")
_LABEL_CHARACTERS = 64


def label(name: str) -> str:
    """Return ``name`` cut to 64 characters, with everything but letters, digits, ``_``, ``.``, ``-`` made ``_``."""
    return _UNSAFE.sub("_", name[:_LABEL_CHARACTERS]) or "_"


@attrs.define
class Tally:
    """Counts by name; names beyond the first ``most`` are counted together as ``(other)``."""

    most: int = 64
    counts: dict[str, int] = attrs.field(factory=dict[str, int], init=False)

    def add(self, name: str) -> None:
        """Count one occurrence of ``name``."""
        name = label(name)
        if name not in self.counts and len(self.counts) >= self.most:
            name = "(other)"
        self.counts[name] = self.counts.get(name, 0) + 1
