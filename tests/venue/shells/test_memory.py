"""The in-memory network behaves like the real one where it matters: order, bounds, refusals, ends."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from kraken_engine.runtime import Address
from kraken_engine.venue.shells.memory import BACKLOG, MemoryNetwork, MemoryStream, memory_stream_pair


async def _pair() -> tuple[MemoryStream, MemoryStream]:
    return memory_stream_pair()


async def _clogged_pair() -> tuple[MemoryStream, MemoryStream]:
    near, far = memory_stream_pair(8)
    await near.send_all(b"x" * 8)
    await far.send_all(b"x" * 8)
    return near, far


async def test_a_stream_keeps_trios_rules_for_half_closeable_streams() -> None:
    await trio.testing.check_half_closeable_stream(_pair, _clogged_pair)


@settings(deadline=None)
@given(
    chunks=st.lists(st.binary(max_size=40), max_size=20),
    reads=st.lists(st.integers(1, 50), min_size=1, max_size=10),
    buffer_bytes=st.integers(1, 64),
)
async def test_bytes_arrive_in_order_however_they_are_cut(
    chunks: list[bytes], reads: list[int], buffer_bytes: int
) -> None:
    near, far = memory_stream_pair(buffer_bytes)
    got = bytearray()

    async def send() -> None:
        for chunk in chunks:
            await near.send_all(chunk)
        await near.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        turn = 0
        while data := await far.receive_some(reads[turn % len(reads)]):
            assert len(data) <= min(reads[turn % len(reads)], buffer_bytes)
            got += data
            turn += 1
    assert bytes(got) == b"".join(chunks)


async def test_a_sender_waits_while_the_buffer_is_full(autojump_clock: trio.testing.MockClock) -> None:
    near, far = memory_stream_pair(100)
    with trio.move_on_after(60) as patience:
        await near.send_all(b"x" * 101)
    assert patience.cancelled_caught
    assert await far.receive_some() == b"x" * 100


async def test_the_other_direction_lives_on_after_eof() -> None:
    near, far = memory_stream_pair()
    await near.send_all(b"question")
    await near.send_eof()
    assert await far.receive_some() == b"question"
    assert await far.receive_some() == b""
    await far.send_all(b"answer")
    assert await near.receive_some() == b"answer"


async def test_a_dial_reaches_the_listener_of_that_address() -> None:
    network = MemoryNetwork()
    listeners = [await network.listen("127.0.0.1", 0) for _ in range(2)]
    near = await network.dial(listeners[1][1])
    far = await listeners[1][0].accept()
    await near.send_all(b"hello")
    assert await far.receive_some(10) == b"hello"


async def test_free_ports_are_counted_and_skip_taken_ones() -> None:
    network = MemoryNetwork()
    await network.listen("127.0.0.1", 49153)
    ports = [(await network.listen("127.0.0.1", 0))[1].port for _ in range(3)]
    assert ports == [49152, 49154, 49155]


async def test_a_taken_port_cannot_be_listened_on_until_its_listener_is_closed() -> None:
    network = MemoryNetwork()
    listener, _ = await network.listen("127.0.0.1", 443)
    with pytest.raises(OSError, match="taken") as caught:
        await network.listen("127.0.0.1", 443)
    assert caught.value.errno == errno.EADDRINUSE
    await listener.aclose()
    await network.listen("127.0.0.1", 443)


@pytest.mark.parametrize("address", [Address("127.0.0.1", 1), Address("127.0.0.2", 49152)])
async def test_a_dial_to_nobody_is_refused(address: Address) -> None:
    network = MemoryNetwork()
    await network.listen("127.0.0.1", 0)
    with pytest.raises(ConnectionRefusedError):
        await network.dial(address)


async def test_closing_a_listener_twice_leaves_its_successor_alone() -> None:
    network = MemoryNetwork()
    first, address = await network.listen("127.0.0.1", 0)
    await first.aclose()
    second, _ = await network.listen(address.host, address.port)
    await first.aclose()
    await network.dial(address)
    await second.accept()


async def test_whoever_was_not_accepted_is_cut_off_when_the_listener_closes() -> None:
    network = MemoryNetwork()
    listener, address = await network.listen("127.0.0.1", 0)
    near = await network.dial(address)
    await listener.aclose()
    assert await near.receive_some(1) == b""
    with pytest.raises(trio.BrokenResourceError):
        await near.send_all(b"x")
    with pytest.raises(ConnectionRefusedError):
        await network.dial(address)


async def test_a_listener_that_does_not_accept_refuses_further_dials() -> None:
    network = MemoryNetwork()
    listener, address = await network.listen("127.0.0.1", 0)
    for _ in range(BACKLOG):
        await network.dial(address)
    with pytest.raises(ConnectionRefusedError, match="waiting to be accepted"):
        await network.dial(address)
    await listener.accept()
    await network.dial(address)


async def test_accept_on_a_closed_listener_says_so() -> None:
    listener, _ = await MemoryNetwork().listen("127.0.0.1", 0)
    await listener.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await listener.accept()


@pytest.mark.parametrize(
    ("host", "expected"),
    [("ws.example", "10.0.0.7"), ("localhost", "127.0.0.1"), ("192.0.2.1", "192.0.2.1"), ("::1", "::1")],
)
async def test_known_names_and_numbers_resolve(host: str, expected: str) -> None:
    assert await MemoryNetwork({"ws.example": "10.0.0.7"}).resolve(host, 443) == [Address(expected, 443)]


async def test_an_unknown_name_does_not_resolve() -> None:
    with pytest.raises(OSError, match=r"nowhere\.example"):
        await MemoryNetwork().resolve("nowhere.example", 443)


async def test_a_name_cannot_be_listened_on() -> None:
    with pytest.raises(OSError, match="numeric"):
        await MemoryNetwork().listen("localhost", 0)


@pytest.mark.parametrize("call", [lambda n: n.dial(Address("127.0.0.1", 1)), lambda n: n.resolve("localhost", 1)])
async def test_every_network_call_is_a_checkpoint(call: Callable[[MemoryNetwork], Awaitable[object]]) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await call(MemoryNetwork())
    assert scope.cancelled_caught
