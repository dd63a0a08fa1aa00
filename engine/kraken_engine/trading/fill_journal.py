"""Fills on their way to where they are kept, and from there to whoever follows them.

The private line adds fills as it learns of them and never waits; one task writes them, in order, each once. Whoever
follows the journal gets a fill when it is durable, and again after a restart until it was acknowledged. A disk that
fails loses nothing: what is not written waits, the journal says so, and writing is tried again.
"""

from __future__ import annotations

from collections import deque
from typing import final

import attrs
import trio

from kraken_engine.errors import StoreCorrupt, StoreError
from kraken_engine.normalise.account_events import Fill
from kraken_engine.runtime import Clock
from kraken_engine.state.gap_closure import History
from kraken_engine.trading.fill_bodies import decode_fill, encode_fill
from kraken_engine.trading.fill_record import FillRecord

__all__ = ["MOST_PENDING", "FillJournal"]

RETRY_S = 1.0
MOST_PENDING = 10_000
"""Fills that may wait for the disk; beyond that the account's line waits, too."""
_PAGE = 500


@final
@attrs.define(eq=False)
class FillJournal:
    """The fills of one account."""

    record: FillRecord
    clock: Clock
    failing: str | None = attrs.field(default=None, init=False)
    """Why fills cannot be written now; None: they can."""
    written: int = attrs.field(default=0, init=False)
    closed: bool = attrs.field(default=False, init=False)
    """Whether nothing more will be written."""
    _pending: deque[Fill] = attrs.field(factory=deque[Fill], init=False)
    _history: History | None = attrs.field(default=None, init=False)
    _until: str | None = attrs.field(default=None, init=False)
    _wanted: trio.Event = attrs.field(factory=trio.Event, init=False)
    _grown: trio.Event = attrs.field(factory=trio.Event, init=False)

    # -- the line's side: synchronous

    def begin(self, history: History) -> None:
        """Keep where the story of the account begins."""
        self._history = history
        self._wanted.set()

    def add(self, fill: Fill) -> None:
        """Keep a fill, as soon as the disk allows."""
        self._pending.append(fill)
        self._wanted.set()

    def reached(self, until: str) -> None:
        """Keep that everything up to ``until`` (venue time) is here, or on its way before this."""
        self._until = until
        self._wanted.set()

    @property
    def pending(self) -> int:
        """Fills that are not durable yet."""
        return len(self._pending)

    def has_room(self) -> bool:
        """Return whether more fills may wait for the disk."""
        return len(self._pending) <= MOST_PENDING

    async def wait_for_room(self) -> None:
        """Wait until the disk has caught up, if too much waits for it."""
        while not self.has_room():
            await self._grown.wait()

    # -- the task

    async def run(self) -> None:
        """Write what comes, in order, until cancelled; a failing disk is tried again and again."""
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            try:
                await self._write()
            except StoreError as error:
                self.failing = str(error)
                self._wanted.set()
                await trio.sleep(RETRY_S)
            else:
                self.failing = None

    async def settle(self) -> None:
        """Write what is left, once; for the end.

        Raises:
            StoreError: it could not be written.
        """
        await self._write()

    def close(self) -> None:
        """Let followers come to an end behind what is written."""
        self.closed = True
        self._grown.set()

    async def _write(self) -> None:
        if self._history is not None:
            history = self._history
            await self.record.begin(history)
            if self._history is history:
                self._history = None
        until = self._until
        while self._pending:
            batch = [self._pending[i] for i in range(min(len(self._pending), _PAGE))]
            added = await self.record.append([(fill.exec_id, encode_fill(fill)) for fill in batch])
            for _ in batch:
                self._pending.popleft()
            self.written += len(added)
            grown, self._grown = self._grown, trio.Event()
            grown.set()
        if until is not None:
            await self.record.reached(until)
            if self._until is until:
                self._until = None

    # -- the follower's side

    async def read(self, after: int, limit: int = 100) -> list[tuple[int, Fill]]:
        """Wait for fills after number ``after``, and return up to ``limit`` of them, each with its number.

        None of them: the account is closed, and there are no more.

        Raises:
            SlowConsumer: without a state directory: fills after that one had to make room.
            StoreCorrupt: one is not as it was written.
            StoreError: they could not be read.
        """
        while True:
            grown, closed = self._grown, self.closed
            try:
                found = await self.record.after(after, limit)
            except StoreError as error:
                if self.closed and not isinstance(error, StoreCorrupt):
                    return []  # the store is closed, too: what is left comes after the next start
                raise
            if found:
                now = self.clock.now()
                return [(kept.number, decode_fill(kept.body, received_s=now)) for kept in found]
            if closed:
                return []
            await grown.wait()
