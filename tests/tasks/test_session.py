"""What the tasks of one connection tell each other."""

from __future__ import annotations

import trio

from kraken_engine.tasks.session import Outbound


async def test_requests_to_the_writer_coalesce_and_none_is_ever_lost(autojump_clock: trio.testing.MockClock) -> None:
    outbound = Outbound()
    for n in range(5000):
        outbound.again[("book", f"S{n}/USD")] = None
        outbound.poke()
    outbound.ping = True
    outbound.poke()
    await outbound.poked()
    assert len(outbound.again) == 5000
    assert outbound.ping
    with trio.move_on_after(1) as nothing_more:
        await outbound.poked()
    assert nothing_more.cancelled_caught, "one look is enough for all of it"
    outbound.close()
    outbound.poke()
