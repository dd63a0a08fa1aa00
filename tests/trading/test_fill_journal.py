"""Fills are kept once, in order, and delivered until acknowledged; a disk that fails loses none of them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.errors import SlowConsumer, StoreCorrupt, StoreError, UsageError
from kraken_engine.model import Liquidity, OrderType, Side, Source
from kraken_engine.normalise.account_events import Fill
from kraken_engine.runtime import real_runtime
from kraken_engine.state.gap_closure import History
from kraken_engine.store.fills import StoredFill
from kraken_engine.trading.fill_bodies import decode_fill, encode_fill
from kraken_engine.trading.fill_journal import FillJournal
from kraken_engine.trading.fill_record import SLACK, MemoryRecord
from kraken_engine.trading.fill_stream import FillStream


def fill(n: int, **fields: Any) -> Fill:
    made = Fill(
        account="main", source=Source.WEBSOCKET_V2, received_s=0.0, venue_time="2026-01-01T00:00:00.000001Z",
        exec_id=f"T{n}", trade_id=n, order_id="O1", cl_ord_id=None, symbol="BTC/USD", side=Side.BUY,
        qty=Decimal("0.00010000"), price=Decimal("65018.6"), cost=Decimal("6.50186"),
        fees={"USD": Decimal("0.0162")}, liquidity=Liquidity.MAKER, order_type=OrderType.LIMIT, external=True,
    )  # fmt: skip
    return attrs.evolve(made, **fields)


class Failing(MemoryRecord):
    """A disk that fails so many times, and then does not."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures

    async def append(self, fills: Sequence[tuple[str, bytes]]) -> list[StoredFill]:
        if self.failures:
            self.failures -= 1
            raise StoreError("disk full")
        return await super().append(fills)


def journal(record: MemoryRecord | None = None) -> FillJournal:
    return FillJournal(record or MemoryRecord(), real_runtime().clock)


async def test_a_fill_is_delivered_when_it_is_kept(autojump_clock: object, nursery: trio.Nursery) -> None:
    kept = journal()
    nursery.start_soon(kept.run)
    stream = FillStream(kept, "bot", None)
    with trio.move_on_after(1) as waiting:
        await stream.__anext__()
    assert waiting.cancelled_caught, "nothing to deliver yet, and cancelling the wait costs nothing"
    for n in (1, 2, 2, 3):
        kept.add(fill(n))
    with trio.fail_after(1):
        got = [await stream.__anext__() for _ in range(3)]
    assert [(each.number, each.fill.exec_id) for each in got] == [(1, "T1"), (2, "T2"), (3, "T3")]


async def test_each_consumer_resumes_behind_what_it_acknowledged(autojump_clock: object, nursery: trio.Nursery) -> None:
    kept = journal()
    nursery.start_soon(kept.run)
    for n in range(1, 6):
        kept.add(fill(n))
    with trio.fail_after(5):
        stream = FillStream(kept, "bot", None)
        got = [await stream.__anext__() for _ in range(4)]
        await got[1].acknowledge()
        await got[0].acknowledge()
        assert (await FillStream(kept, "bot", None).__anext__()).number == 3, "a cursor never goes back"
        assert (await FillStream(kept, "other", None).__anext__()).number == 1
        assert (await FillStream(kept, "bot", 0).__anext__()).number == 1
        assert (await FillStream(kept, "bot", 4).__anext__()).number == 5


async def test_a_disk_that_fails_loses_nothing(autojump_clock: object, nursery: trio.Nursery) -> None:
    kept = journal(Failing(3))
    nursery.start_soon(kept.run)
    kept.add(fill(1))
    await trio.sleep(0.5)
    assert (kept.failing, kept.pending) == ("disk full", 1)
    kept.add(fill(2))
    with trio.fail_after(10):
        got = await kept.read(0)
        got += await kept.read(got[-1][0]) if len(got) < 2 else []
    assert [each.exec_id for _, each in got] == ["T1", "T2"]
    await trio.sleep(1)
    assert (kept.failing, kept.pending) == (None, 0)


async def test_whoever_connects_waits_for_a_disk_that_lags(autojump_clock: object, nursery: trio.Nursery) -> None:
    record = Failing(2)
    kept = journal(record)
    for n in range(10_001):
        kept.add(fill(n))
    with trio.move_on_after(1) as waiting:
        await kept.wait_for_room()
    assert waiting.cancelled_caught
    nursery.start_soon(kept.run)
    with trio.fail_after(60):
        await kept.wait_for_room()


async def test_followers_of_a_closed_account_get_what_is_on_record_and_the_end(
    autojump_clock: object, nursery: trio.Nursery
) -> None:
    kept = journal()
    got: list[int] = []

    async def follow() -> None:
        got.extend([delivered.number async for delivered in FillStream(kept, "bot", None)])
        got.append(-1)

    nursery.start_soon(follow)
    await trio.testing.wait_all_tasks_blocked()
    kept.add(fill(1))
    await kept.settle()
    kept.close()
    await trio.testing.wait_all_tasks_blocked()
    assert got == [1, -1]
    with trio.fail_after(1):
        assert [each.number async for each in FillStream(kept, "late", 0)] == [1]


async def test_a_follower_that_waits_for_nothing_more_is_woken_by_the_end(
    autojump_clock: object, nursery: trio.Nursery
) -> None:
    kept = journal()
    nursery.start_soon(_close_after_a_while, kept)
    with trio.fail_after(10):
        assert [each.number async for each in FillStream(kept, "bot", None)] == []


async def _close_after_a_while(kept: FillJournal) -> None:
    await trio.sleep(1)
    kept.close()


async def test_a_store_that_is_closed_with_its_account_ends_the_stream_and_one_that_fails_does_not(
    autojump_clock: object,
) -> None:
    class Gone(MemoryRecord):
        async def after(self, number: int, limit: int = 1_000) -> list[StoredFill]:
            raise StoreError("gone")

    kept = journal(Gone())
    with pytest.raises(StoreError, match="gone"):
        await kept.read(0)
    kept.close()
    assert await kept.read(0) == []


async def test_two_readers_of_one_stream_are_told_apart(autojump_clock: object, nursery: trio.Nursery) -> None:
    stream = FillStream(journal(), "bot", None)
    nursery.start_soon(stream.__anext__)
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(trio.BusyResourceError):
        await stream.__anext__()
    nursery.cancel_scope.cancel()


async def test_a_cursor_of_another_record_is_refused_rather_than_waited_for(nursery: trio.Nursery) -> None:
    kept = journal()
    nursery.start_soon(kept.run)
    kept.add(fill(1))
    with trio.fail_after(5):
        await FillStream(kept, "bot", None).__anext__()
        stream = FillStream(kept, "bot", 7)
        for _ in range(2):
            with pytest.raises(UsageError, match="since: expected the number of a fill on record, 1 at most, got 7"):
                await stream.__anext__()


async def test_memory_keeps_so_many_fills_and_says_so_to_whoever_is_behind(autojump_clock: object) -> None:
    record = MemoryRecord(keep=10)
    for n in range(1, 3_001):
        await record.append([(f"T{n}", encode_fill(fill(n)))])
    kept = await record.after(0, 10_000)
    assert 10 <= len(kept) <= 10 + SLACK
    assert [each.number for each in kept] == list(range(kept[0].number, 3_001))
    assert [each.exec_id for each in kept] == [f"T{each.number}" for each in kept]
    assert await record.last() == 3_000
    assert [each.number for each in await record.after(2_990, 5)] == [2_991, 2_992, 2_993, 2_994, 2_995]
    assert await record.append([("T3000", b"again")]) == []
    await record.acknowledge("bot", 3_000)
    with pytest.raises(SlowConsumer) as raised:
        await record.after(1)
    assert raised.value.lost == kept[0].number - 2
    assert (await record.after(kept[0].number - 1, 1))[0] == kept[0]


async def test_a_reader_that_is_left_behind_is_told_and_begins_again(
    autojump_clock: object, nursery: trio.Nursery
) -> None:
    made = journal(MemoryRecord(keep=10))
    nursery.start_soon(made.run)
    made.add(fill(1))
    with trio.fail_after(5):
        stream = FillStream(made, "bot", None)
        assert (await stream.__anext__()).number == 1
        for n in range(2, 2_500):
            made.add(fill(n))
        await trio.sleep(1)
        with pytest.raises(SlowConsumer, match="fills kept in memory"):
            await stream.__anext__()
        assert (await FillStream(made, "bot", 0).__anext__()).number > 1_000


@pytest.mark.parametrize(
    ("consumer", "since"), [("", None), ("a\n", None), ("x" * 65, None), ("a", -1), ("a", True), (5, None)]
)
def test_a_cursor_that_makes_no_sense_is_refused(consumer: str, since: int | None) -> None:
    with pytest.raises(UsageError):
        FillStream(journal(), consumer, since)


async def test_a_fill_that_does_not_exist_cannot_be_acknowledged() -> None:
    record = MemoryRecord()
    await record.begin(History())
    with pytest.raises(UsageError, match="expected a number from 0 to 0, got 1"):
        await record.acknowledge("bot", 1)


@given(
    st.builds(
        fill,
        st.integers(1, 9),
        qty=st.decimals(0, 10**9, places=8),
        venue_time=st.none() | st.just("2026-01-01T00:00:00Z"),
        cl_ord_id=st.none() | st.text(max_size=18),
        liquidity=st.none() | st.sampled_from(Liquidity),
        fees=st.dictionaries(st.sampled_from(["USD", "BTC"]), st.decimals(0, 10, places=4)),
        external=st.booleans(),
        replayed=st.booleans(),
        margin=st.booleans(),
    )
)
def test_a_fill_is_read_back_with_every_digit(made: Fill) -> None:
    read = decode_fill(encode_fill(made), received_s=made.received_s)
    assert read == made
    assert (format(read.qty, "f"), format(read.price, "f")) == (format(made.qty, "f"), format(made.price, "f"))


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", encode_fill(fill(1)).replace(b"buy", b"bye"),
                                  encode_fill(fill(1)).replace(b"0.00010000", b"much")])  # fmt: skip
def test_what_is_no_fill_is_refused(body: bytes) -> None:
    with pytest.raises(StoreCorrupt):
        decode_fill(body, received_s=0.0)
