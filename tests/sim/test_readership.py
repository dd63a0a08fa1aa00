"""Who reads a stream without a break is known to the judges of times."""

from __future__ import annotations

import math

import trio
from trio.testing import MockClock

from kraken_engine.sim.judges.readership import Readership

BOOK, TICKER = ("book", "BTC/USD"), ("ticker", "BTC/USD")


async def test_a_stream_is_read_since_its_first_reader_came_and_until_its_last_one_left(
    autojump_clock: MockClock,
) -> None:
    del autojump_clock  # time is virtual
    readership, begin = Readership(), trio.current_time()
    with readership.reading([BOOK]):
        await trio.sleep(1)
        with readership.reading([BOOK, TICKER]):
            await trio.sleep(1)
            assert readership.since(BOOK) == begin
            assert readership.since(TICKER) == begin + 1
        assert readership.since(BOOK) == begin
        assert readership.since(TICKER) == math.inf
    assert readership.since(BOOK) == math.inf
    await trio.sleep(1)
    with readership.reading([BOOK]):
        assert readership.since(BOOK) == begin + 3


async def test_candles_of_two_intervals_have_their_readers_together(autojump_clock: MockClock) -> None:
    """What the venue is told to keep back names a channel and a symbol."""
    del autojump_clock  # time is virtual
    readership = Readership()
    with readership.reading([("ohlc", "BTC/USD", 1)]):
        assert readership.since(("ohlc", "BTC/USD", 5)) == trio.current_time()
