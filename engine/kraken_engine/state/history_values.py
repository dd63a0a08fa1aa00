"""What the history remembers besides the top of books, how it is written into a checkpoint, and read back.

Values are small and compared by what they say: a line that is down stays down however often it tries. In a checkpoint
each change is a record with the name of its kind, since kinds may come and go between versions; what is not known any
more is left out, never guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, cast

import attrs
import msgspec

from kraken_engine.state.history import Change, TopOfBook

__all__ = [
    "ChangeRecord",
    "Holding",
    "LineState",
    "OrderState",
    "SourceState",
    "Standing",
    "VenueState",
    "plain",
    "read_changes",
    "record_changes",
]


@attrs.frozen
class LineState:
    """A line came, or went."""

    line: str
    up: bool
    why: str | None
    """Why it went."""


@attrs.frozen
class VenueState:
    """The state of the venue (``symbol`` None) or of one market changed."""

    symbol: str | None
    mode: str


@attrs.frozen
class SourceState:
    """Values of a stream come from elsewhere."""

    channel: str
    symbol: str
    source: str
    why: str


@attrs.frozen
class Standing:
    """An account came in step with the venue, or may not be relied on any more."""

    current: bool
    why: str | None


@attrs.frozen
class Holding:
    """The balance of one asset."""

    asset: str
    total: Decimal
    used: Decimal


@attrs.frozen
class OrderState:
    """How far an order has come."""

    order_id: str
    symbol: str
    status: str
    cum_qty: Decimal


class ChangeRecord(msgspec.Struct, frozen=True, array_like=True):
    """One change as it stands in a checkpoint."""

    lane: tuple[str, ...]
    at_s: float
    """Monotonic, by the clock of the process that wrote it."""
    kind: str
    body: bytes


_KINDS: Mapping[str, type[Any]] = {
    "line": LineState,
    "venue": VenueState,
    "source": SourceState,
    "account": Standing,
    "holding": Holding,
    "order": OrderState,
    "top": TopOfBook,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def plain(value: object) -> object:
    """Return what MessagePack has a form for; called for what it has none for.

    Numbers of REST replies are decimals of a kind of their own; what they say is the same.

    Raises:
        TypeError: there is none for it: whoever gave it is wrong.
    """
    if isinstance(value, Decimal):
        return Decimal(value)
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, object]", value))
    raise TypeError(f"a {type(value).__name__} has no place in a checkpoint")


_ENCODER = msgspec.msgpack.Encoder(enc_hook=plain)
_DECODERS = {name: msgspec.msgpack.Decoder(kind) for name, kind in _KINDS.items()}


def record_changes(changes: Iterable[Change]) -> tuple[ChangeRecord, ...]:
    """Return changes as records, in their order; values of a kind that has no name here stay behind."""
    return tuple(
        ChangeRecord(
            tuple(str(part) for part in change.lane),
            change.at_s,
            _NAMES[type(change.value)],
            _ENCODER.encode(change.value),
        )
        for change in changes
        if type(change.value) in _NAMES
    )


def read_changes(records: Iterable[ChangeRecord], *, older_s: float) -> list[Change]:
    """Return the changes in ``records`` as those of an earlier process, ``older_s`` seconds further back."""
    found: list[Change] = []
    for record in records:
        decoder = _DECODERS.get(record.kind)
        if decoder is None:
            continue
        try:
            value = decoder.decode(record.body)
        except msgspec.MsgspecError:
            continue
        found.append(Change(record.lane, record.at_s - older_s, value, restored=True))
    return found
