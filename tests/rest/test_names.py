"""The venue's tables of names: fetched once for all who wait, and in nobody's way when they cannot be had."""

from __future__ import annotations

from decimal import Decimal

import attrs
import pytest
import trio
from tests.rest.harness import CONFIG, Hang, TinyVenue, rest_of
from trio.testing import MockClock

from kraken_engine.errors import UsageError
from kraken_engine.model import Instrument
from kraken_engine.rest.public import TABLE_PAUSE_S
from kraken_engine.tasks.rest import Rest

ONE = Decimal(1)
BITCOIN = Instrument(
    symbol="BTC/USD", base="BTC", quote="USD", status="online", price_decimals=1, qty_decimals=8,
    price_increment=ONE, qty_increment=ONE, qty_min=ONE, cost_min=ONE,
)  # fmt: skip


async def test_a_name_that_many_ask_for_at_once_is_looked_for_once_a_minute(autojump_clock: MockClock) -> None:
    venue = TinyVenue(latency_s=0.5)

    async def ask(rest: Rest) -> None:
        with pytest.raises(UsageError, match="NEW/USD"):
            await rest.public.depth("NEW/USD")

    async with rest_of(venue) as rest:
        await rest.public.symbols()
        for expected in (1, 2, 3):
            async with trio.open_nursery() as nursery:
                for _ in range(8):
                    nursery.start_soon(ask, rest)
            assert venue.names() == ["AssetPairs"] * expected
            await trio.sleep(TABLE_PAUSE_S)


async def test_whoever_waits_for_tables_that_another_asks_for_goes_on_with_the_names_at_hand(
    autojump_clock: MockClock,
) -> None:
    venue = TinyVenue()
    venue.script["AssetPairs"] = [Hang()] * 10
    config = attrs.evolve(CONFIG, rest=attrs.evolve(CONFIG.rest, timeout_s=30.0))
    async with rest_of(venue, config) as rest, trio.open_nursery() as nursery:
        rest.public.stand_in({"BTC/USD": BITCOIN})
        nursery.start_soon(rest.private.balance)
        await trio.sleep(0.1)
        assert await rest.private.balance(timeout_s=10.0) == {"BTC": Decimal("1.5")}
        assert trio.current_time() < 10.0
