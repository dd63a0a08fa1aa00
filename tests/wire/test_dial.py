from __future__ import annotations

import contextlib
import random
import ssl
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing
import trustme
from tests.wire.harness import PLAIN, SECURE, MemoryNetwork, VirtualClock, runtime_on

from kraken_engine.config import WireSettings
from kraken_engine.errors import ConnectFailed
from kraken_engine.runtime import Address, Listener, Runtime, Stream, real_runtime
from kraken_engine.wire.dial import AddressCache, open_stream
from kraken_engine.wire.endpoints import Endpoint, parse_endpoint

GOOD, OTHER, SIX = Address("93.184.216.34", 80), Address("93.184.216.35", 80), Address("2606:2800::1", 80)


@attrs.define(eq=False)
class World:
    """A resolver and hosts that behave as told; every stream handed out is remembered with its peer."""

    resolve_as: Callable[[], Awaitable[Sequence[Address]]]
    dial_as: dict[str, Callable[[], Awaitable[None]]] = attrs.field(factory=dict)
    dialled: list[tuple[float, str]] = attrs.field(factory=list)
    handed_out: list[tuple[Stream, Stream]] = attrs.field(factory=list)

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        return await self.resolve_as()

    async def dial(self, address: Address) -> Stream:
        self.dialled.append((trio.current_time(), address.host))
        await self.dial_as.get(address.host, trio.lowlevel.checkpoint)()
        streams = trio.testing.memory_stream_pair()
        self.handed_out.append(streams)
        return streams[0]

    async def listen(self, host: str, port: int) -> tuple[Listener, Address]:
        raise OSError("nothing listens here")

    async def open(
        self, endpoint: Endpoint = PLAIN, cache: AddressCache | None = None, settings: WireSettings | None = None
    ) -> Stream:
        runtime = Runtime(clock=VirtualClock(), network=self, files=real_runtime().files, rng=random.Random(1))
        return await open_stream(runtime, endpoint, settings or WireSettings(), cache or AddressCache())


def answering(*addresses: Address) -> Callable[[], Awaitable[Sequence[Address]]]:
    async def resolve() -> Sequence[Address]:
        await trio.lowlevel.checkpoint()
        return addresses

    return resolve


async def no_such_name() -> Sequence[Address]:
    await trio.lowlevel.checkpoint()
    raise OSError("Name or service not known")


async def silent() -> Sequence[Address]:
    await trio.sleep_forever()


async def refused() -> None:
    await trio.lowlevel.checkpoint()
    raise ConnectionRefusedError(111, "Connection refused")


async def blackhole() -> None:
    await trio.sleep_forever()


async def failed(opening: Awaitable[Stream]) -> ConnectFailed:
    with pytest.raises(ConnectFailed) as caught:
        await opening
    return caught.value


@pytest.mark.parametrize(
    ("resolver", "why", "after_s"),
    [(no_such_name, "not known", 0.0), (answering(), "no address", 0.0), (silent, "within 5.0 s", 5.0)],
)
async def test_a_resolver_that_fails_is_reported_within_its_deadline(
    autojump_clock: trio.testing.MockClock,
    resolver: Callable[[], Awaitable[Sequence[Address]]],
    why: str,
    after_s: float,
) -> None:
    start = trio.current_time()
    error = await failed(World(resolver).open())
    assert error.stage == "resolve"
    assert why in str(error)
    assert trio.current_time() - start == after_s


@pytest.mark.parametrize("resolver", [no_such_name, answering(), silent])
async def test_when_the_resolver_fails_the_last_answer_is_used_once(
    autojump_clock: trio.testing.MockClock, resolver: Callable[[], Awaitable[Sequence[Address]]]
) -> None:
    cache = AddressCache()
    world = World(answering(GOOD))
    await world.open(cache=cache)
    world.resolve_as = resolver
    await world.open(cache=cache)
    assert (await failed(world.open(cache=cache))).stage == "resolve"
    world.resolve_as = answering(OTHER)
    await world.open(cache=cache)
    world.resolve_as = resolver
    await world.open(cache=cache)
    assert [host for _, host in world.dialled] == [GOOD.host, GOOD.host, OTHER.host, OTHER.host]


def test_the_cache_of_addresses_is_bounded() -> None:
    cache = AddressCache(max_hosts=2)
    for host in ("a", "b", "c"):
        cache.remember(host, [GOOD])
    assert [cache.spend(host) for host in ("a", "b", "c")] == [(), (GOOD,), (GOOD,)]


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fc00::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "not an address",
    ],
)
async def test_a_name_may_not_lead_into_a_private_network(host: str) -> None:
    world = World(answering(Address(host, 80)))
    error = await failed(world.open())
    assert error.stage == "resolve"
    assert "not public" in str(error)
    assert world.dialled == []


async def test_private_addresses_beside_public_ones_are_left_out() -> None:
    world = World(answering(Address("127.0.0.1", 80), GOOD))
    await world.open()
    assert [host for _, host in world.dialled] == [GOOD.host]


@pytest.mark.parametrize("url", ["ws://127.0.0.1:1/", "ws://[::1]:1/", "ws://localhost:1/"])
async def test_a_private_address_that_the_user_wrote_is_dialled(url: str) -> None:
    world = World(answering(Address("127.0.0.1", 1)))
    await world.open(parse_endpoint(url))
    assert len(world.dialled) == 1


async def test_private_addresses_are_dialled_when_allowed() -> None:
    world = World(answering(Address("10.0.0.1", 80)))
    await world.open(settings=WireSettings(allow_private_addresses=True))
    assert [host for _, host in world.dialled] == ["10.0.0.1"]


async def test_a_refused_address_is_followed_by_the_next_at_once(autojump_clock: trio.testing.MockClock) -> None:
    world = World(answering(GOOD, OTHER), {GOOD.host: refused})
    start = trio.current_time()
    await world.open()
    assert world.dialled == [(start, GOOD.host), (start, OTHER.host)]


async def test_a_dead_address_gets_a_head_start_only_and_families_alternate(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world = World(answering(GOOD, OTHER, SIX), {GOOD.host: blackhole, SIX.host: blackhole})
    start = trio.current_time()
    await world.open()
    assert world.dialled == [(start, GOOD.host), (start + 0.25, SIX.host), (start + 0.5, OTHER.host)]


@pytest.mark.parametrize(("host", "after_s", "why"), [(blackhole, 5.0, "within 5.0 s"), (refused, 0.0, "refused")])
async def test_no_connection_is_reported_within_the_deadline(
    autojump_clock: trio.testing.MockClock, host: Callable[[], Awaitable[None]], after_s: float, why: str
) -> None:
    world = World(answering(GOOD, SIX), {GOOD.host: host, SIX.host: host})
    start = trio.current_time()
    error = await failed(world.open())
    assert error.stage == "dial"
    assert why in str(error)
    assert trio.current_time() - start == after_s


async def test_however_many_addresses_there_are_eight_are_tried() -> None:
    many = [Address(f"93.184.216.{i}", 80) for i in range(200)]
    world = World(answering(*many), {a.host: refused for a in many})
    await failed(world.open())
    assert len(world.dialled) == 8


async def test_of_two_connections_at_the_same_moment_one_is_closed(autojump_clock: trio.testing.MockClock) -> None:
    async def after_half_a_second() -> None:
        await trio.sleep(0.5)

    async def after_a_quarter() -> None:
        await trio.sleep(0.25)

    world = World(answering(GOOD, OTHER), {GOOD.host: after_half_a_second, OTHER.host: after_a_quarter})
    stream = await world.open()
    for ours, peer in world.handed_out:
        if ours is not stream:
            with trio.move_on_after(1):
                assert await peer.receive_some() == b""
    assert any(ours is stream for ours, _ in world.handed_out)


@pytest.mark.parametrize("after_s", [0.0, 0.1, 0.25, 0.3, 0.6])
async def test_a_cancelled_dial_leaves_no_connection_behind(
    autojump_clock: trio.testing.MockClock, after_s: float
) -> None:
    async def slow() -> None:
        await trio.sleep(0.3)

    world = World(answering(GOOD, OTHER), {GOOD.host: slow, OTHER.host: slow})
    stream = None
    with trio.move_on_after(after_s):
        stream = await world.open()
    for ours, peer in world.handed_out:
        if ours is not stream:
            assert await peer.receive_some() == b""


AUTHORITY = trustme.CA()


def server_context(authority: trustme.CA = AUTHORITY, host: str = "venue.test") -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(host).configure_cert(context)
    return context


def tls_server(context: ssl.SSLContext) -> Callable[[Stream], Awaitable[None]]:
    async def serve(stream: Stream) -> None:
        secured = trio.SSLStream(stream, context, server_side=True)
        with contextlib.suppress(trio.BrokenResourceError):
            await secured.do_handshake()
            await secured.send_all(b"hello")
            await trio.sleep_forever()

    return serve


async def stalls(stream: Stream) -> None:
    await stream.receive_some(65536)
    await stream.send_all(b"\x16\x03\x03\x00\x7a\x02")
    await trio.sleep_forever()


async def knows_old_tls_only(stream: Stream) -> None:
    await stream.receive_some(65536)
    await stream.send_all(b"\x15\x03\x01\x00\x02\x02\x46")  # alert: fatal, protocol_version
    await trio.sleep_forever()


async def chooses_tls_1_1(stream: Stream) -> None:
    await stream.receive_some(65536)
    hello = b"\x03\x02" + bytes(32) + b"\x00" + b"\xc0\x14" + b"\x00"
    body = b"\x02" + len(hello).to_bytes(3, "big") + hello
    await stream.send_all(b"\x16\x03\x02" + len(body).to_bytes(2, "big") + body)
    await trio.sleep_forever()


async def hangs_up(stream: Stream) -> None:
    await stream.receive_some(65536)
    await stream.aclose()


async def speaks_http(stream: Stream) -> None:
    await stream.receive_some(65536)
    await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await trio.sleep_forever()


async def first_bytes_over_tls(serve: Callable[[Stream], Awaitable[None]], authority: Path) -> bytes | ConnectFailed:
    AUTHORITY.cert_pem.write_to_path(str(authority))
    async with trio.open_nursery() as nursery:
        runtime = runtime_on(MemoryNetwork(nursery, serve))
        got: bytes | ConnectFailed
        try:
            stream = await open_stream(runtime, SECURE, WireSettings(ca_file=str(authority)), AddressCache())
            got = bytes(await stream.receive_some())
            await trio.aclose_forcefully(stream)
        except ConnectFailed as error:
            got = error
        nursery.cancel_scope.cancel()
    return got


async def test_a_server_with_a_trusted_certificate_of_its_name_is_accepted(tmp_path: Path) -> None:
    assert await first_bytes_over_tls(tls_server(server_context()), tmp_path / "ca.pem") == b"hello"


@pytest.mark.parametrize(
    ("serve", "expected"),
    [
        (tls_server(server_context(host="other.test")), ("Hostname mismatch", 0.0, 30.0)),
        (tls_server(server_context(trustme.CA())), ("unable to get local issuer certificate", 0.0, 30.0)),
        (knows_old_tls_only, ("protocol version", 0.0, 0.0)),
        (chooses_tls_1_1, ("unsupported protocol", 0.0, 0.0)),
        (stalls, ("within 5.0 s", 5.0, 0.0)),
        (hangs_up, ("ended during the TLS handshake", 0.0, 0.0)),
        (speaks_http, ("version", 0.0, 0.0)),
    ],
    ids=["wrong host", "unknown authority", "alert", "TLS 1.1", "stalls", "hangs up", "no TLS"],
)
async def test_a_tls_failure_is_typed_says_why_and_keeps_its_deadline(
    autojump_clock: trio.testing.MockClock,
    tmp_path: Path,
    serve: Callable[[Stream], Awaitable[None]],
    expected: tuple[str, float, float],
) -> None:
    start = trio.current_time()
    error = await first_bytes_over_tls(serve, tmp_path / "ca.pem")
    assert isinstance(error, ConnectFailed)
    why, after_s, retry_floor_s = expected
    assert why in str(error)
    assert (error.stage, error.retry_floor_s) == ("tls", retry_floor_s)
    assert trio.current_time() - start == after_s
