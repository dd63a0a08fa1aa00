"""Following the fills of an account: each at least once, across restarts, until it was acknowledged."""

from __future__ import annotations

from collections import deque
from typing import final

import attrs
import trio

from kraken_engine.errors import UsageError, shown
from kraken_engine.normalise.account_events import Fill
from kraken_engine.trading.fill_journal import FillJournal

__all__ = ["DeliveredFill", "FillStream"]

_PAGE = 100


@final
@attrs.frozen(kw_only=True)
class DeliveredFill:
    """One fill on record, and the way to say that it was dealt with."""

    fill: Fill
    number: int
    """Consecutive within the account, from 1: what ``since`` counts."""
    _journal: FillJournal = attrs.field(alias="journal", repr=False, eq=False)
    _consumer: str = attrs.field(alias="consumer", repr=False, eq=False)

    async def acknowledge(self) -> None:
        """Say that this fill, and every one before it, need not be delivered again.

        Raises:
            StoreError: perhaps it is not noted; it may be delivered once more.
        """
        await self._journal.record.acknowledge(self._consumer, self.number)


@final
class FillStream:
    """The fills of one account, in the order in which they were learnt of; made by ``Account.fills``.

    Begins behind the last fill that was acknowledged under this name, or behind the number given. It ends when the
    account closes; what was not acknowledged is delivered after the next start, where there is a state directory.
    Cancelling a wait loses nothing. One task at a time.
    """

    def __init__(self, journal: FillJournal, consumer: str, since: int | None) -> None:
        if not isinstance(consumer, str) or not consumer or not consumer.isprintable() or len(consumer) > 64:
            raise UsageError(f"consumer: expected a printable name of at most 64 characters, got {shown(consumer)}")
        if since is not None and (isinstance(since, bool) or not isinstance(since, int) or since < 0):
            raise UsageError(f"since: expected the number of a fill, or 0 for all of them, got {shown(since)}")
        self._journal = journal
        self._consumer = consumer
        self._since = since
        self._after: int | None = None
        self._ready: deque[DeliveredFill] = deque()
        self._reading = False

    def __aiter__(self) -> FillStream:
        return self

    async def __anext__(self) -> DeliveredFill:
        """Wait for the next fill.

        Raises:
            SlowConsumer: without a state directory memory keeps only so many fills, and the next one had to make room.
            StopAsyncIteration: the account is closed, and everything on record has been delivered.
            StoreError: the record cannot be read.
            UsageError: ``since`` is the number of no fill on record: it is of another one, and waiting for what comes
                after it would pass over all that come before.
            trio.BusyResourceError: another task reads this stream.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._reading:
            raise trio.BusyResourceError("another task reads this stream of fills")
        self._reading = True
        try:
            if self._after is None:
                self._after = await self._begin()
            if not self._ready:
                for number, fill in await self._journal.read(self._after, _PAGE):
                    self._ready.append(
                        DeliveredFill(fill=fill, number=number, journal=self._journal, consumer=self._consumer)
                    )
        finally:
            self._reading = False
        if not self._ready:
            raise StopAsyncIteration
        delivered = self._ready.popleft()
        self._after = delivered.number
        return delivered

    async def _begin(self) -> int:
        """Return behind which number the stream begins."""
        if self._since is None:
            return await self._journal.record.cursor(self._consumer)
        last = await self._journal.record.last()
        if self._since > last:
            raise UsageError(f"since: expected the number of a fill on record, {last} at most, got {self._since}")
        return self._since
