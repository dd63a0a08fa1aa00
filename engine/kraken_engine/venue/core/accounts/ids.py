"""Ids in the venue's shapes, from a generator: ``OQCLML-BW3P3-BUCMWZ`` for an order."""

from __future__ import annotations

from kraken_engine.runtime import Rng

__all__ = ["Ids"]

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


class Ids:
    """Makes ids; what they look like follows from the generator alone."""

    def __init__(self, rng: Rng) -> None:
        self._rng = rng

    def order(self) -> str:
        """Return an id of an order."""
        return self._id("O")

    def trade(self) -> str:
        """Return an id of an execution, a trade or an amendment."""
        return self._id("T")

    def ledger(self) -> str:
        """Return an id of a ledger entry."""
        return self._id("L")

    def _id(self, first: str) -> str:
        text = first + "".join(self._rng.choice(_LETTERS) for _ in range(16))
        return f"{text[:6]}-{text[6:11]}-{text[11:]}"
