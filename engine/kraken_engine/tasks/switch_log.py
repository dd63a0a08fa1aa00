"""Changes of source, written down: which stream came from where, since when and why, across restarts.

Entries of the history ``failover`` are JSON: ``{"channel", "symbol", "source", "reason"}``; the time is the entry's.
"""

from __future__ import annotations

from typing import Final

import msgspec
import trio

from kraken_engine.errors import StoreError
from kraken_engine.feed.publisher import Publisher
from kraken_engine.normalise.events import Event, SourceChanged
from kraken_engine.state.freshness import StreamKey
from kraken_engine.store.history import History

__all__ = ["run_switch_log"]

MOST_WAITING: Final = 10_000
"""Changes that may wait for the disk; more are dropped: the newest are on the health topic all the same."""


async def run_switch_log(publisher: Publisher, history: History) -> None:
    """Write every change of source into ``history`` until cancelled. A disk that fails costs the entry alone."""
    send, receive = trio.open_memory_channel[SourceChanged](MOST_WAITING)

    def note(_: StreamKey, event: Event) -> None:
        if isinstance(event, SourceChanged) and send.statistics().current_buffer_used < MOST_WAITING:
            send.send_nowait(event)

    stop = publisher.observe(note)
    try:
        with send, receive:
            async for event in receive:
                entry = {
                    "channel": event.channel,
                    "symbol": event.symbol,
                    "source": event.source.value,
                    "reason": event.reason,
                }
                try:
                    await history.append(msgspec.json.encode(entry))
                except StoreError:
                    continue  # told by the store itself
    finally:
        stop()
