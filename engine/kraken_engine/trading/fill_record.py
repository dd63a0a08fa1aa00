"""Where the fills of one account are kept: in the store, or, without a state directory, as long as the process lives.

Beside the fills stand the beginning of the account's story, and up to when everything is on record: what a restart
needs to find out what it missed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Protocol, final

import attrs
import msgspec
import trio

from kraken_engine.config import StoreSettings
from kraken_engine.errors import SlowConsumer, StoreCorrupt, StoreError, UsageError
from kraken_engine.state.gap_closure import History
from kraken_engine.store.database import Store
from kraken_engine.store.fills import StoredFill

__all__ = ["FillRecord", "Kept", "MemoryRecord", "StoredRecord"]

SLACK = 1_000
"""Fills that memory may hold beyond those to keep, so that not every new one has to push out an old one."""
REMEMBERED = 10_000
"""Fills of before whose ids are looked up when an account begins."""


@attrs.frozen(kw_only=True)
class Kept:
    """What is on record of an account when it begins."""

    history: History | None
    """Where its story begins; None: it was never watched."""
    fills: tuple[str, ...]
    """Ids of the last fills."""
    until: str | None
    """Venue time up to which everything is on record."""
    other_key: bool = False
    """Whether the account had another key the last time: it may be another account."""


class FillRecord(Protocol):
    """Where the fills of one account are kept."""

    async def load(self) -> Kept:
        """Return what is on record."""
        ...

    async def begin(self, history: History) -> None:
        """Keep where the story begins."""
        ...

    async def reached(self, until: str) -> None:
        """Keep up to which time everything is on record."""
        ...

    async def append(self, fills: Sequence[tuple[str, bytes]]) -> list[StoredFill]:
        """Keep fills, each ``(exec_id, body)``, and return those that were not known yet, once they are durable."""
        ...

    async def after(self, number: int, limit: int = 1_000) -> list[StoredFill]:
        """Return up to ``limit`` fills after ``number``, in order."""
        ...

    async def last(self) -> int:
        """Return the number of the last fill; 0 if there is none."""
        ...

    async def cursor(self, consumer: str) -> int:
        """Return the number of the last fill that ``consumer`` acknowledged; 0 if there is none."""
        ...

    async def acknowledge(self, consumer: str, number: int) -> None:
        """Note that ``consumer`` has every fill up to ``number``."""
        ...


class MemoryRecord:
    """A record that ends with the process: for engines without a state directory.

    It keeps the last ``keep`` fills, acknowledged or not, and up to :data:`SLACK` more: memory is no disk. Whoever is
    still at older ones gets :class:`~kraken_engine.errors.SlowConsumer`, and begins again with what is there.
    """

    def __init__(self, keep: int = StoreSettings().fills_kept) -> None:
        self._keep = keep
        self._fills: list[StoredFill] = []
        self._forgotten = 0
        self._ids: set[str] = set()
        self._cursors: dict[str, int] = {}

    async def load(self) -> Kept:
        """See :class:`FillRecord`."""
        await trio.lowlevel.checkpoint()
        return Kept(history=None, fills=(), until=None)

    async def begin(self, history: History) -> None:  # noqa: ARG002 - nobody will ask
        """See :class:`FillRecord`."""
        await trio.lowlevel.checkpoint()

    async def reached(self, until: str) -> None:  # noqa: ARG002 - nobody will ask
        """See :class:`FillRecord`."""
        await trio.lowlevel.checkpoint()

    async def append(self, fills: Sequence[tuple[str, bytes]]) -> list[StoredFill]:
        """See :class:`FillRecord`."""
        await trio.lowlevel.checkpoint()
        added: list[StoredFill] = []
        for exec_id, body in fills:
            if exec_id not in self._ids:
                self._ids.add(exec_id)
                added.append(StoredFill(number=self._last + len(added) + 1, exec_id=exec_id, body=body))
        self._fills += added
        if len(self._fills) > self._keep + SLACK:
            too_many = len(self._fills) - self._keep
            self._ids.difference_update(fill.exec_id for fill in self._fills[:too_many])
            del self._fills[:too_many]
            self._forgotten += too_many
        return added

    async def after(self, number: int, limit: int = 1_000) -> list[StoredFill]:
        """See :class:`FillRecord`; after number 0 comes the first that is kept.

        Raises:
            SlowConsumer: fills after ``number`` had to make room.
        """
        await trio.lowlevel.checkpoint()
        if 0 < number < self._forgotten:
            raise SlowConsumer("fills kept in memory", self._keep, self._forgotten - number)
        begin = max(number - self._forgotten, 0)
        return self._fills[begin : begin + limit]

    async def last(self) -> int:
        """See :class:`FillRecord`."""
        await trio.lowlevel.checkpoint()
        return self._last

    async def cursor(self, consumer: str) -> int:
        """See :class:`FillRecord`."""
        await trio.lowlevel.checkpoint()
        return self._cursors.get(consumer, 0)

    async def acknowledge(self, consumer: str, number: int) -> None:
        """See :class:`FillRecord`."""
        await trio.lowlevel.checkpoint()
        if not 0 <= number <= self._last:
            raise UsageError(f"fills: expected a number from 0 to {self._last}, got {number}")
        self._cursors[consumer] = max(number, self._cursors.get(consumer, 0))

    @property
    def _last(self) -> int:
        return self._forgotten + len(self._fills)


@final
class StoredRecord:
    """The record in the store of the engine."""

    def __init__(self, store: Store, account: str, fingerprint: str = "") -> None:
        self._fingerprint = fingerprint
        self._keys = store.history(f"account {account} key")
        self._fills = store.fills(account)
        self._beginnings = store.history(f"account {account} begin")
        self._reached = store.history(f"account {account} reached")

    async def load(self) -> Kept:
        """See :class:`FillRecord`."""
        other_key = await self._note_key()
        beginnings = await self._beginnings.latest(1)
        if not beginnings:
            return Kept(history=None, fills=(), until=None)
        history = _history(beginnings[-1].body)
        reached = await self._reached.latest(1)
        until = reached[-1].body.decode() if reached else history.until
        number = max(await self._fills.last() - REMEMBERED, 0)
        known: list[str] = []
        while page := await self._fills.after(number):
            known += [kept.exec_id for kept in page]
            number = page[-1].number
        return Kept(history=history, fills=tuple(known), until=until, other_key=other_key)

    async def _note_key(self) -> bool:
        """Put on record by which key the account goes, and return whether it was another one before."""
        last = await self._keys.latest(1)
        if last and last[-1].body.decode(errors="replace") == self._fingerprint:
            return False
        with contextlib.suppress(StoreError):  # told by the store itself; noted the next time
            await self._keys.append(self._fingerprint.encode())
        return bool(last)

    async def begin(self, history: History) -> None:
        """See :class:`FillRecord`."""
        body = _ENCODER.encode(_Beginning(until=history.until, fills=sorted(history.fills)))
        await self._beginnings.append(body)

    async def reached(self, until: str) -> None:
        """See :class:`FillRecord`."""
        await self._reached.append(until.encode())

    async def append(self, fills: Sequence[tuple[str, bytes]]) -> list[StoredFill]:
        """See :class:`FillRecord`."""
        return await self._fills.append(fills)

    async def after(self, number: int, limit: int = 1_000) -> list[StoredFill]:
        """See :class:`FillRecord`."""
        return await self._fills.after(number, limit)

    async def last(self) -> int:
        """See :class:`FillRecord`."""
        return await self._fills.last()

    async def cursor(self, consumer: str) -> int:
        """See :class:`FillRecord`."""
        return await self._fills.cursor(consumer)

    async def acknowledge(self, consumer: str, number: int) -> None:
        """See :class:`FillRecord`."""
        await self._fills.acknowledge(consumer, number)


class _Beginning(msgspec.Struct, frozen=True):
    until: str
    fills: list[str]


_ENCODER = msgspec.json.Encoder()
_BEGINNING = msgspec.json.Decoder(_Beginning)


def _history(body: bytes) -> History:
    try:
        kept = _BEGINNING.decode(body)
    except msgspec.MsgspecError as error:
        raise StoreCorrupt(f"the beginning of an account that was kept: {error}") from None
    return History(until=kept.until, fills=frozenset(kept.fills))
