"""Changes of source, written down: which stream came from where, since when and why, across restarts.

Entries of the history ``failover`` are JSON: ``{"channel", "symbol", "source", "reason"}``; the time is the entry's.
"""

from __future__ import annotations

from typing import Final

import attrs
import msgspec
import trio

from kraken_engine.errors import StoreCorrupt, StoreError, UsageError
from kraken_engine.feed.publisher import Publisher
from kraken_engine.normalise.events import Event, SourceChanged
from kraken_engine.state.freshness import StreamKey
from kraken_engine.store.database import Store

__all__ = ["RecordedSwitch", "read_switches", "run_switch_log"]

MOST_WAITING: Final = 10_000
"""Changes that may wait for the disk; more are dropped: the newest are on the health topic all the same."""
SETTLE_S: Final = 2.0
"""How long a change may take to be written, and at the end all that wait."""
_STREAM: Final = "failover"


class _Body(msgspec.Struct, frozen=True):
    channel: str
    symbol: str
    source: str
    reason: str


@attrs.frozen(kw_only=True)
class RecordedSwitch:
    """A change of the source of one stream, as it is on record."""

    number: int
    """Consecutive, from 1."""
    wall_ns: int
    """When it was written down: nanoseconds since 1970, by the wall clock of then."""
    channel: str
    """``account`` for an account, whose name is the symbol."""
    symbol: str
    source: str
    """Where its values came from since: ``websocket_v2``, ``websocket_v1`` or ``rest``."""
    reason: str


async def read_switches(store: Store, *, last: int = 100) -> tuple[RecordedSwitch, ...]:
    """Return the last changes on record, oldest first, those of earlier engines included.

    Raises:
        UsageError: ``last`` is below 1.
        StoreCorrupt: an entry is not as it was written.
        StoreError: they could not be read.
    """
    if last < 1:
        raise UsageError(f"last: expected 1 or more, got {last}")
    found: list[RecordedSwitch] = []
    for entry in await store.history(_STREAM).latest(last):
        try:
            body = _DECODER.decode(entry.body)
        except msgspec.MsgspecError as error:
            raise StoreCorrupt(f"history {_STREAM}: entry {entry.number}: {error}") from None
        switch = RecordedSwitch(
            number=entry.number,
            wall_ns=entry.wall_ns,
            channel=body.channel,
            symbol=body.symbol,
            source=body.source,
            reason=body.reason,
        )
        found.append(switch)
    return tuple(found)


async def run_switch_log(
    publisher: Publisher, store: Store, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Write down every change of source from now on until cancelled, and then those that wait.

    A disk that fails costs the entry alone.
    """
    send, receive = trio.open_memory_channel[SourceChanged](MOST_WAITING)

    def note(_: StreamKey, event: Event) -> None:
        if isinstance(event, SourceChanged) and send.statistics().current_buffer_used < MOST_WAITING:
            send.send_nowait(event)

    stop = publisher.observe(note)
    task_status.started()
    with send, receive:
        try:
            async for event in receive:
                with trio.move_on_after(SETTLE_S, shield=True):
                    await _write(store, event)
        finally:
            stop()
            with trio.move_on_after(SETTLE_S, shield=True):
                while send.statistics().current_buffer_used:
                    await _write(store, receive.receive_nowait())


async def _write(store: Store, event: SourceChanged) -> None:
    body = _Body(event.channel, event.symbol, event.source.value, event.reason)
    try:
        await store.history(_STREAM).append(_ENCODER.encode(body))
    except StoreError:
        return  # told by the store itself


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(_Body)
