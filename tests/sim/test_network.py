"""Bytes arrive whole and in order or the connection dies; names, addresses and connections fail as they are told to."""

import errno
import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kraken_engine.errors import UsageError
from kraken_engine.runtime import Address, Network, seeded_rng
from kraken_engine.sim.deterministic import run
from kraken_engine.sim.link import WINDOW_BYTES, Conditions, SimStream
from kraken_engine.sim.network import BACKLOG, Dialing, Resolver, ResolverFault, SimListener, SimNetwork
from kraken_engine.sim.trace import Trace

HOST = "10.1.1.1"


def _network(conditions: Conditions | None = None, seed: int = 1) -> SimNetwork:
    return SimNetwork(rng=seeded_rng(seed), trace=Trace(), conditions=conditions or Conditions())


async def _pair(network: SimNetwork) -> tuple[SimStream, SimStream]:
    """Return (client, server) of a new connection to a new address."""
    listener, address = await network.listen(HOST, 0)
    client = await network.dial(address)
    return client, await listener.accept()


@asynccontextmanager
async def _connected(conditions: Conditions | None = None) -> AsyncGenerator[tuple[SimNetwork, SimStream, SimStream]]:
    network = _network(conditions)
    client, server = await _pair(network)
    try:
        yield network, client, server
    finally:
        await trio.aclose_forcefully(client)
        await trio.aclose_forcefully(server)


async def _read_all(stream: SimStream, max_bytes: int | None = None) -> bytes:
    got = b""
    while data := await stream.receive_some(max_bytes):
        got += data
    return got


def _in_virtual_time(test: Callable[[], Awaitable[None]]) -> None:
    run(1, test, horizon_s=1e6, real_limit_s=30)


def test_it_is_a_network_of_the_runtime() -> None:
    network: Network = _network()
    assert network


# --- streams ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "conditions",
    [
        Conditions(),
        Conditions(latency_s=0.2, jitter_s=0.3),
        Conditions(slice_bytes=700, slice_delay_s=0.001),
        Conditions(bytes_per_s=50_000, slow_close_s=3),
    ],
    ids=["plain", "jitter", "slicer", "slow"],
)
def test_streams_keep_the_contract_of_trio(conditions: Conditions) -> None:
    async def main() -> None:
        async def make() -> tuple[trio.abc.HalfCloseableStream, trio.abc.HalfCloseableStream]:
            return await _pair(network)

        async def make_clogged() -> tuple[trio.abc.HalfCloseableStream, trio.abc.HalfCloseableStream]:
            client, server = await _pair(network)
            for stream in (client, server):
                await stream.send_all(bytes(WINDOW_BYTES))
            return client, server

        network = _network(conditions)
        await trio.testing.check_half_closeable_stream(make, make_clogged)
        assert network.open_streams() == []

    _in_virtual_time(main)


def test_a_byte_takes_the_latency_and_a_dial_a_round_trip() -> None:
    async def main() -> None:
        async with _connected(Conditions(latency_s=0.25)) as (_, client, server):
            assert trio.current_time() == 0.5
            await client.send_all(b"x")
            assert trio.current_time() == 0.5
            assert await server.receive_some() == b"x"
            assert trio.current_time() == 0.75

    _in_virtual_time(main)


def test_what_arrived_together_is_read_together_up_to_max_bytes() -> None:
    async def main() -> None:
        async with _connected() as (_, client, server):
            for number in range(10):
                await client.send_all(bytes([number]) * 10)
            await trio.sleep(1)
            assert len(await server.receive_some(33)) == 33
            assert len(await server.receive_some()) == 67

    _in_virtual_time(main)


def test_a_reader_wakes_once_for_all_that_is_due_at_one_moment() -> None:
    class Steps(trio.abc.Instrument):
        count = 0

        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            self.count += task.name.endswith("_read_all")

    def steps(sends: int) -> int:
        async def main() -> None:
            async with _connected() as (_, client, server), trio.open_nursery() as nursery:
                nursery.start_soon(_read_all, server)
                await trio.sleep(1)
                for _ in range(sends):
                    await client.send_all(b"x" * 100)
                await trio.sleep(1)
                nursery.cancel_scope.cancel()

        counter = Steps()
        run(1, main, horizon_s=10, instruments=[counter])
        return counter.count

    assert steps(100) == steps(1)


def test_a_slicer_cuts_what_would_be_read_together() -> None:
    async def main() -> None:
        async with _connected(Conditions(slice_bytes=1, slice_delay_s=0.5)) as (_, client, server):
            await client.send_all(b"abcd")
            began = trio.current_time()
            assert [await server.receive_some() for _ in range(4)] == [b"a", b"b", b"c", b"d"]
            assert trio.current_time() - began == pytest.approx(1.5, abs=0.01)

    _in_virtual_time(main)


def test_bandwidth_lets_bytes_trickle() -> None:
    async def main() -> None:
        async with _connected(Conditions(latency_s=0, bytes_per_s=1000)) as (_, client, server):
            began = trio.current_time()
            await client.send_all(bytes(10_000))
            got, halfway = 0, 0
            while got < 10_000:
                got += len(await server.receive_some())
                if trio.current_time() - began <= 5:
                    halfway = got
            assert trio.current_time() - began == pytest.approx(10)
            assert halfway == pytest.approx(5000, abs=100)

    _in_virtual_time(main)


def test_a_peer_that_does_not_read_stops_the_sender_at_the_window() -> None:
    async def main() -> None:
        async with _connected() as (_, client, server):
            with trio.move_on_after(1000) as scope:
                await client.send_all(bytes(10 * WINDOW_BYTES))
            assert scope.cancelled_caught
            assert client.link.up.held_bytes == WINDOW_BYTES
            got = 0
            with trio.move_on_after(1):
                while True:
                    got += len(await server.receive_some())
            assert got == WINDOW_BYTES

    _in_virtual_time(main)


def test_a_slow_close_delays_the_end_and_not_the_bytes() -> None:
    async def main() -> None:
        async with _connected(Conditions(latency_s=0, slow_close_s=7)) as (_, client, server):
            began = trio.current_time()
            await client.send_all(b"x")
            await client.aclose()
            assert await server.receive_some() == b"x"
            assert trio.current_time() == began
            assert await server.receive_some() == b""
            assert trio.current_time() == began + 7

    _in_virtual_time(main)


def test_a_cancelled_read_loses_nothing() -> None:
    async def main() -> None:
        async with _connected(Conditions(latency_s=1)) as (_, client, server):
            sent = b""
            got = b""
            for number in range(20):
                await client.send_all(bytes([number]))
                sent += bytes([number])
                with trio.move_on_after(number / 10):
                    got += await server.receive_some()
            await client.send_eof()
            assert got + await _read_all(server) == sent

    _in_virtual_time(main)


def test_a_blackhole_holds_everything_back_and_tells_nobody() -> None:
    async def main() -> None:
        async with _connected(Conditions(latency_s=0.1)) as (_, client, server):
            await client.send_all(b"before ")
            client.link.change(direction="up", blackhole=True)
            await client.send_all(b"during ")
            await client.send_eof()
            with trio.move_on_after(100) as scope:
                await server.receive_some()
            assert scope.cancelled_caught
            client.link.change(direction="up", blackhole=False)
            healed = trio.current_time()
            assert await _read_all(server) == b"before during "
            assert trio.current_time() == pytest.approx(healed + 0.1)

    _in_virtual_time(main)


def test_bytes_that_had_arrived_are_readable_in_a_blackhole() -> None:
    async def main() -> None:
        async with _connected() as (_, client, server):
            await client.send_all(b"x")
            await trio.sleep(1)
            client.link.change(blackhole=True)
            assert await server.receive_some() == b"x"

    _in_virtual_time(main)


def test_a_blackhole_in_one_direction_leaves_the_other_alone() -> None:
    async def main() -> None:
        async with _connected() as (_, client, server):
            client.link.change(direction="up", blackhole=True)
            await client.send_all(b"lost?")
            await server.send_all(b"heard")
            assert await client.receive_some() == b"heard"
            with trio.move_on_after(10) as scope:
                await server.receive_some()
            assert scope.cancelled_caught

    _in_virtual_time(main)


def test_a_close_into_a_blackhole_is_not_heard_before_it_heals() -> None:
    async def main() -> None:
        async with _connected() as (network, client, server):
            client.link.change(blackhole=True)
            await client.aclose()
            await trio.sleep(100)
            await server.send_all(b"x")
            network.heal()
            await trio.sleep(1)
            with pytest.raises(trio.BrokenResourceError):
                await server.send_all(b"x")
            assert await server.receive_some() == b""

    _in_virtual_time(main)


def test_a_forgotten_link_stays_silent_for_ever() -> None:
    async def main() -> None:
        async with _connected() as (network, client, server):
            client.link.forget()
            network.heal()
            await client.send_all(b"x")
            with trio.move_on_after(10_000) as scope:
                await server.receive_some()
            assert scope.cancelled_caught

    _in_virtual_time(main)


def test_a_reset_breaks_both_ends_at_once_whatever_they_do() -> None:
    async def broken(call: Callable[[], Awaitable[object]], at: float) -> None:
        with pytest.raises(trio.BrokenResourceError):
            await call()
        assert trio.current_time() == at

    async def main() -> None:
        async with _connected(Conditions(latency_s=1)) as (network, client, server):
            began = trio.current_time()
            await client.send_all(b"on its way")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(broken, client.receive_some, began + 0.5)
                nursery.start_soon(broken, server.receive_some, began + 0.5)
                nursery.start_soon(broken, lambda: client.send_all(bytes(WINDOW_BYTES)), began + 0.5)
                await trio.sleep(0.25)
                network.reset("*", in_s=0.25)
            await broken(lambda: server.send_all(b"x"), began + 0.5)
            await broken(client.wait_send_all_might_not_block, began + 0.5)

    _in_virtual_time(main)


def test_bytes_that_arrived_before_a_reset_can_still_be_read() -> None:
    async def main() -> None:
        async with _connected() as (_, client, server):
            await client.send_all(b"x")
            await trio.sleep(1)
            client.link.reset()
            assert await server.receive_some() == b"x"
            with pytest.raises(trio.BrokenResourceError):
                await server.receive_some()

    _in_virtual_time(main)


@pytest.mark.parametrize("limit", [0, 1, 10, 19])
def test_a_limit_cuts_the_connection_in_the_middle_of_a_message(limit: int) -> None:
    async def main() -> None:
        async with _connected() as (_, client, server):
            client.link.change(direction="up", limit_bytes=limit)
            await client.send_all(b"0123456789")
            if limit > 10:
                await client.send_all(b"0123456789")
            got = b""
            with pytest.raises(trio.BrokenResourceError):
                while True:
                    got += await server.receive_some()
            assert got == b"01234567890123456789"[:limit]
            with pytest.raises(trio.BrokenResourceError):
                await client.receive_some()

    _in_virtual_time(main)


# --- any conditions, any order of faults ------------------------------------------------------------------------------

conditions = st.builds(
    Conditions,
    latency_s=st.sampled_from([0, 0.001, 0.5]),
    jitter_s=st.sampled_from([0, 0.4]),
    bytes_per_s=st.sampled_from([None, 3_000, 1_000_000]),
    slice_bytes=st.sampled_from([None, 1, 100]),
    slice_delay_s=st.sampled_from([0, 0.01]),
    slow_close_s=st.sampled_from([0, 3]),
    blackhole=st.booleans(),
)
steps = st.lists(st.tuples(st.sampled_from(["up", "down", "both"]), conditions, st.floats(0, 3)), max_size=5)
messages = st.lists(st.integers(0, 9000), max_size=12)


def _echo_run(
    messages: list[int], steps: list[tuple[Any, Conditions, float]], fate: str, seed: int
) -> tuple[bytes, bytes, bool, str]:
    """Return what was sent, what arrived, whether the connection died, and the digest of the trace."""

    async def main() -> tuple[bytes, bytes, bool, str]:
        trace = Trace()
        network = SimNetwork(rng=seeded_rng(seed), trace=trace)
        client, server = await _pair(network)
        pattern = itertools.cycle(range(251))
        sent, got, died = bytearray(), bytearray(), False

        async def send() -> None:
            nonlocal died
            try:
                for size in messages:
                    data = bytes(itertools.islice(pattern, size))
                    sent.extend(data)
                    await client.send_all(data)
                    await trio.sleep(0.1)
                await client.aclose()
            except trio.BrokenResourceError:
                died = True

        async def receive() -> None:
            nonlocal died
            sizes = seeded_rng(f"reads {seed}")
            try:
                while data := await server.receive_some(sizes.choice([1, 100, 65536])):
                    got.extend(data)
            except trio.BrokenResourceError:
                died = True

        async def faults() -> None:
            for direction, wanted, pause_s in steps:
                network.change("*", direction=direction, **attrs.asdict(wanted))
                await trio.sleep(pause_s)
            match fate:
                case "reset":
                    network.reset("*")
                case "limit":
                    network.change("*", limit_bytes=1000)
                case _:
                    pass
            network.change(
                "*", **attrs.asdict(attrs.evolve(network.conditions, limit_bytes=client.link.up.conditions.limit_bytes))
            )

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            nursery.start_soon(receive)
            nursery.start_soon(faults)
        for stream in (client, server):
            await trio.aclose_forcefully(stream)
        assert network.open_streams() == []
        assert network.links == {}
        return bytes(sent), bytes(got), died, trace.digest()

    return run(seed, main, horizon_s=10_000, real_limit_s=30)


@settings(deadline=None, max_examples=30)
@given(messages, steps, st.sampled_from(["live", "reset", "limit"]), st.integers(0, 3))
@example([0, 1, 1001], [("up", Conditions(latency_s=0.5), 0.125)], "limit", 0)  # an end sent right behind the cut
def test_exactly_the_sent_bytes_arrive_in_order_unless_the_connection_dies(
    messages: list[int], steps: list[tuple[Any, Conditions, float]], fate: str, seed: int
) -> None:
    sent, got, died, digest = _echo_run(messages, steps, fate, seed)
    assert sent.startswith(got)
    assert got == sent or died
    assert not (died and fate == "live")
    assert digest == _echo_run(messages, steps, fate, seed)[3]


# --- connecting -------------------------------------------------------------------------------------------------------


async def test_dialling_where_nobody_listens_is_refused(autojump_clock: object) -> None:
    network = _network()
    with pytest.raises(ConnectionRefusedError, match=r"10\.1\.1\.1:443"):
        await network.dial(Address(HOST, 443))


@pytest.mark.parametrize(
    ("dialing", "number"),
    [
        (Dialing.REFUSE, errno.ECONNREFUSED),
        (Dialing.UNREACHABLE, errno.EHOSTUNREACH),
        (Dialing.NO_DESCRIPTORS, errno.EMFILE),
    ],
)
async def test_dialling_fails_as_told_until_it_heals(autojump_clock: object, dialing: Dialing, number: int) -> None:
    network = _network()
    _, address = await network.listen(HOST, 443)
    network.set_dialing("*", dialing)
    with pytest.raises(OSError) as caught:
        await network.dial(address)
    assert caught.value.errno == number
    network.heal()
    await (await network.dial(address)).aclose()


@pytest.mark.parametrize("how", ["hang", "blackhole up", "blackhole down"])
async def test_a_dial_into_silence_waits_until_it_heals(autojump_clock: trio.testing.MockClock, how: str) -> None:
    network = _network()
    _, address = await network.listen(HOST, 443)
    if how == "hang":
        network.set_dialing("10.1.1.1:443", Dialing.HANG)
    else:
        network.change("10.1.1.1:443", direction="up" if how.endswith("up") else "down", blackhole=True)
    with trio.move_on_after(1000) as scope:
        await network.dial(address)
    assert scope.cancelled_caught
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(network.dial, address)
        await trio.sleep(5)
        assert network.links == {}
        network.heal("10.1.1.1:443")
    assert trio.current_time() - began == pytest.approx(5, abs=0.01)
    assert list(network.links) == ["10.1.1.1:443#1"]


async def test_taking_an_address_down_resets_and_refuses_there_and_nowhere_else(autojump_clock: object) -> None:
    network = _network()
    client, _ = await _pair(network)
    other, _ = await _pair(network)
    address = Address(HOST, int(client.link.label.split(":")[1].split("#")[0]))
    network.take_down(f"{address.host}:{address.port}")
    with pytest.raises(trio.BrokenResourceError):
        await client.receive_some()
    with pytest.raises(ConnectionRefusedError):
        await network.dial(address)
    await other.send_all(b"x")


async def test_changes_of_an_address_reach_its_later_connections_and_those_of_a_link_do_not(
    autojump_clock: object,
) -> None:
    network = _network()
    listener, address = await network.listen(HOST, 443)
    first = await network.dial(address)
    network.change("10.1.1.1:443#1", latency_s=3)
    network.change("10.1.1.1:443", direction="up", latency_s=5)
    second = await network.dial(address)
    assert first.link.up.conditions.latency_s == second.link.up.conditions.latency_s == 5
    assert first.link.down.conditions.latency_s == 3
    assert second.link.down.conditions == network.conditions
    network.change("*", latency_s=7)
    third, _ = await _pair(network)
    assert third.link.down.conditions.latency_s == 7
    network.heal()
    for stream in (first, second, third):
        assert stream.link.up.conditions == stream.link.down.conditions == network.conditions
    await listener.aclose()


async def test_a_listener_takes_connections_in_order_and_closes_for_good(autojump_clock: object) -> None:
    network = _network()
    listener, address = await network.listen(HOST, 443)
    with pytest.raises(OSError, match="already in use"):
        await network.listen(HOST, 443)
    clients = [await network.dial(address) for _ in range(3)]
    accepted = [(await listener.accept()).link.label for _ in range(2)]
    assert accepted == ["10.1.1.1:443#1", "10.1.1.1:443#2"]
    await listener.aclose()
    with pytest.raises(trio.BrokenResourceError):
        await clients[2].receive_some()
    with pytest.raises(trio.ClosedResourceError):
        await listener.accept()
    with pytest.raises(ConnectionRefusedError):
        await network.dial(address)
    await network.listen(HOST, 443)


async def test_connections_beyond_the_backlog_are_refused(autojump_clock: object) -> None:
    network = _network()
    listener, address = await network.listen(HOST, 443)
    for _ in range(BACKLOG):
        await network.dial(address)
    with pytest.raises(ConnectionRefusedError):
        await network.dial(address)
    await listener.accept()
    await network.dial(address)


async def test_trio_can_serve_a_simulated_listener(autojump_clock: object) -> None:
    async def echo(stream: trio.abc.Stream) -> None:
        async for data in stream:
            await stream.send_all(data)

    network = _network()
    listener, address = await network.listen(HOST, 0)
    assert isinstance(listener, SimListener)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, echo, [listener])
        async with await network.dial(address) as client:
            await client.send_all(b"hello")
            assert await client.receive_some() == b"hello"
        nursery.cancel_scope.cancel()


async def test_only_numeric_addresses_can_be_listened_on(autojump_clock: object) -> None:
    with pytest.raises(OSError, match="numeric"):
        await _network().listen("localhost", 0)


async def test_a_leak_check_sees_each_stream_nobody_closed(autojump_clock: object) -> None:
    network = _network()
    client, server = await _pair(network)
    label = client.link.label
    assert network.open_streams() == [f"{label} client", f"{label} server"]
    await client.aclose()
    assert network.open_streams("client") == []
    assert network.open_streams() == [f"{label} server"]
    await server.aclose()
    assert network.open_streams() == []
    assert network.links == {}


@pytest.mark.parametrize("target", ["10.1.1.1", "venue:443", "10.1.1.1:https", ""])
def test_a_target_that_names_nothing_is_an_error(target: str) -> None:
    with pytest.raises(UsageError, match="target"):
        _network().change(target, latency_s=1)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"latency": 1}, "latency_s"),
        ({"latency_s": -1}, "latency_s"),
        ({"bytes_per_s": 0}, "bytes_per_s"),
        ({"slice_bytes": 0}, "slice"),
    ],
)
async def test_a_condition_that_makes_no_sense_is_an_error(
    autojump_clock: object, changes: dict[str, Any], what: str
) -> None:
    network = _network()
    await _pair(network)
    with pytest.raises(UsageError, match=what):
        network.change("*", **changes)


def test_swizzling_heals_in_another_order_than_it_clogged() -> None:
    async def main() -> None:
        network = _network()
        for _ in range(12):
            await _pair(network)
        clogged: list[str] = []
        healed: list[str] = []

        def look() -> None:
            for label, link in network.links.items():
                hole = link.up.conditions.blackhole
                if hole and label not in clogged:
                    clogged.append(label)
                if not hole and label in clogged and label not in healed:
                    healed.append(label)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: network.swizzle(spread_s=1, hold_s=50))
            for _ in range(10_000):
                await trio.sleep(0.01)
                look()
        assert 2 < len(clogged) < 12
        assert sorted(healed) == sorted(clogged)
        assert healed != clogged

    _in_virtual_time(main)


async def test_a_cancelled_swizzle_leaves_no_link_clogged(autojump_clock: object) -> None:
    network = _network()
    for _ in range(12):
        await _pair(network)
    with trio.move_on_after(3):
        await network.swizzle(spread_s=0.1, hold_s=50)
    assert not any(link.up.conditions.blackhole for link in network.links.values())


# --- names ------------------------------------------------------------------------------------------------------------


async def test_names_resolve_as_told(autojump_clock: trio.testing.MockClock) -> None:
    network = SimNetwork(rng=seeded_rng(1), trace=Trace(), resolver=Resolver(names={"venue": ("10.0.0.1", "10.0.0.2")}))
    assert await network.resolve("venue", 443) == [Address("10.0.0.1", 443), Address("10.0.0.2", 443)]
    assert await network.resolve("::1", 443) == [Address("::1", 443)]
    with pytest.raises(OSError, match="nowhere"):
        await network.resolve("nowhere", 443)


@pytest.mark.parametrize("fault", ResolverFault)
async def test_a_resolver_at_fault_gives_what_it_was_told(autojump_clock: object, fault: ResolverFault) -> None:
    network = SimNetwork(rng=seeded_rng(1), trace=Trace(), resolver=Resolver(names={"venue": ("93.184.0.1",)}))
    network.resolver.fault = fault
    if fault is ResolverFault.FAIL:
        with pytest.raises(OSError, match="temporary failure"):
            await network.resolve("venue", 443)
    elif fault is ResolverFault.EMPTY:
        assert await network.resolve("venue", 443) == []
    else:
        assert [address.host for address in await network.resolve("venue", 443)] == ["127.0.0.1", "10.0.0.1"]
    network.heal()
    assert await network.resolve("venue", 443) == [Address("93.184.0.1", 443)]


async def test_a_slow_resolver_takes_its_time(autojump_clock: object) -> None:
    network = SimNetwork(rng=seeded_rng(1), trace=Trace(), resolver=Resolver(names={"venue": ("93.184.0.1",)}))
    network.resolver.delay_s = 30
    began = trio.current_time()
    await network.resolve("venue", 443)
    assert trio.current_time() == began + 30
    network.resolver.delay_s = float("inf")
    with trio.move_on_after(1e5) as scope:
        await network.resolve("venue", 443)
    assert scope.cancelled_caught
