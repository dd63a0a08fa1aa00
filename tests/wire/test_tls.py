from __future__ import annotations

import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing
import trustme

from kraken_engine.config import WireSettings
from kraken_engine.errors import ConfigError
from kraken_engine.runtime import Stream, real_runtime
from kraken_engine.wire.tls import DrainingTlsStream, client_context

AUTHORITY = trustme.CA()
SERVER_CONTEXT = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
SERVER_CONTEXT.num_tickets = 0  # nobody would read them from a lockstep stream
AUTHORITY.issue_cert("venue.test").configure_cert(SERVER_CONTEXT)
CLIENT_CONTEXT = ssl.create_default_context()
AUTHORITY.configure_trust(CLIENT_CONTEXT)


@attrs.define(eq=False)
class RawServer:
    """A TLS server by hand, so that records can be put together, cut and withheld."""

    stream: Stream
    incoming: ssl.MemoryBIO = attrs.field(factory=ssl.MemoryBIO)
    outgoing: ssl.MemoryBIO = attrs.field(factory=ssl.MemoryBIO)
    tls: ssl.SSLObject = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.tls = SERVER_CONTEXT.wrap_bio(self.incoming, self.outgoing, server_side=True)

    async def handshake(self) -> None:
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.stream.send_all(self.outgoing.read())
                self.incoming.write(await self.stream.receive_some(65536))
            else:
                await self.stream.send_all(self.outgoing.read())
                return

    def records(self, *payloads: bytes) -> bytes:
        for payload in payloads:
            self.tls.write(payload)
        return self.outgoing.read()


@asynccontextmanager
async def pair(
    make: Callable[[], tuple[Stream, Stream]] = trio.testing.memory_stream_pair,
) -> AsyncIterator[tuple[DrainingTlsStream, RawServer]]:
    ours, theirs = make()
    client = DrainingTlsStream(ours, CLIENT_CONTEXT, "venue.test", close_timeout_s=2.0)
    server = RawServer(theirs)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.handshake)
        await client.handshake()
    yield client, server
    await trio.aclose_forcefully(client)
    await trio.aclose_forcefully(theirs)


async def test_it_is_a_stream_as_trio_understands_it() -> None:
    async def make() -> tuple[Stream, Stream]:
        ours, theirs = trio.testing.memory_stream_pair()
        client = DrainingTlsStream(ours, CLIENT_CONTEXT, "venue.test", close_timeout_s=2.0)
        server = trio.SSLStream(theirs, SERVER_CONTEXT, server_side=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.do_handshake)
            await client.handshake()
        return client, server

    await trio.testing.check_two_way_stream(make, None)


async def test_all_records_that_arrived_come_out_of_one_receive() -> None:
    async with pair() as (client, server):
        payloads = [b"%d;" % i for i in range(500)]
        await server.stream.send_all(server.records(*payloads))
        assert await client.receive_some() == b"".join(payloads)


async def test_a_small_receive_leaves_the_rest_for_the_next() -> None:
    async with pair() as (client, server):
        await server.stream.send_all(server.records(b"abc", b"def"))
        assert [await client.receive_some(4), await client.receive_some(1), await client.receive_some()] == [
            b"abcd",
            b"e",
            b"f",
        ]


async def test_what_is_sent_arrives_decrypted() -> None:
    async with pair() as (client, server):
        data = random.Random(1).randbytes(200_000)
        got = b""
        await client.send_all(data)
        while len(got) < len(data):
            server.incoming.write(await server.stream.receive_some(1 << 20))
            try:
                while True:
                    got += server.tls.read(65536)
            except ssl.SSLWantReadError:
                continue
        assert got == data


async def test_close_notify_is_the_end_of_the_stream() -> None:
    async with pair() as (client, server):
        server.tls.write(b"last")
        with pytest.raises(ssl.SSLWantReadError):
            server.tls.unwrap()
        await server.stream.send_all(server.outgoing.read())
        assert [await client.receive_some(), await client.receive_some(), await client.receive_some()] == [
            b"last",
            b"",
            b"",
        ]


async def test_an_end_without_close_notify_is_a_broken_stream_after_its_last_whole_record() -> None:
    async with pair() as (client, server):
        await server.stream.send_all(server.records(b"whole", b"cut off")[:-3])
        await trio.aclose_forcefully(server.stream)
        assert await client.receive_some() == b"whole"
        with pytest.raises(trio.BrokenResourceError, match="close_notify"):
            await client.receive_some()


async def test_a_corrupt_record_is_a_broken_stream_after_the_good_ones() -> None:
    async with pair() as (client, server):
        good, bad = server.records(b"good"), bytearray(server.records(b"bad"))
        bad[-1] ^= 1
        await server.stream.send_all(good + bad)
        assert await client.receive_some() == b"good"
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError):
                await client.receive_some()


async def test_receives_cancelled_at_random_moments_lose_no_byte(autojump_clock: trio.testing.MockClock) -> None:
    rng = random.Random(7)
    sent, got = [b"<%d>" % i for i in range(400)], b""
    async with pair() as (client, server), trio.open_nursery() as nursery:

        async def serve() -> None:
            wire = server.records(*sent)
            while wire:
                size = rng.choice((1, 5, 30, 200, 2000))
                await server.stream.send_all(wire[:size])
                wire = wire[size:]
                await trio.sleep(rng.choice((0.0, 0.1, 0.3)))

        nursery.start_soon(serve)
        cancelled = 0
        while len(got) < len(b"".join(sent)):
            with trio.move_on_after(rng.choice((0.0, 0.1, 0.2))) as scope:
                got += await client.receive_some(rng.choice((1, 10, 65536)))
            cancelled += scope.cancelled_caught
        assert got == b"".join(sent)
        assert cancelled > 20


async def test_a_receive_cancelled_while_it_hands_over_what_it_has_still_returns_it() -> None:
    async with pair() as (client, server):
        await server.stream.send_all(server.records(bytes(range(60))))
        got = await client.receive_some(1)  # from now on it has the rest
        for _ in range(30):  # in either order of the two tasks
            async with trio.open_nursery() as nursery:
                with trio.CancelScope() as scope:
                    nursery.start_soon(canceller, scope)
                    got += await client.receive_some(1)
        assert got + await client.receive_some() == bytes(range(60))


async def canceller(scope: trio.CancelScope) -> None:
    scope.cancel()


async def test_a_send_that_was_cut_short_breaks_the_sending_side_only(autojump_clock: trio.testing.MockClock) -> None:
    async with pair(trio.testing.lockstep_stream_pair) as (client, server):
        with trio.move_on_after(1) as scope:
            await client.send_all(b"never read")
        assert scope.cancelled_caught
        with pytest.raises(trio.BrokenResourceError, match="cut short"):
            await client.send_all(b"next")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.stream.send_all, server.records(b"still heard"))
            assert await client.receive_some() == b"still heard"


async def test_a_send_cancelled_before_it_began_breaks_nothing() -> None:
    async with pair() as (client, _):
        with trio.CancelScope() as scope:
            scope.cancel()
            await client.send_all(b"not sent")
        await client.send_all(b"sent")


async def test_closing_against_a_frozen_peer_takes_as_long_as_allowed(autojump_clock: trio.testing.MockClock) -> None:
    async with pair(trio.testing.lockstep_stream_pair) as (client, _):
        start = trio.current_time()
        await client.aclose()
        assert trio.current_time() - start == 2.0


async def test_closing_tells_the_peer_with_close_notify() -> None:
    async with pair() as (client, server):
        await client.aclose()
        server.incoming.write(await server.stream.receive_some(65536))
        assert server.tls.read(1) == b""


async def test_nothing_is_received_or_sent_before_the_handshake() -> None:
    ours, _ = trio.testing.memory_stream_pair()
    client = DrainingTlsStream(ours, CLIENT_CONTEXT, "venue.test", close_timeout_s=2.0)
    uses: tuple[Callable[[], Awaitable[object]], ...] = (client.receive_some, lambda: client.send_all(b"secret"))
    for use in uses:
        with pytest.raises(trio.BrokenResourceError, match="handshake"):
            await use()


def test_the_context_verifies_names_and_refuses_old_tls(tmp_path: Path) -> None:
    anchor = tmp_path / "ca.pem"
    AUTHORITY.cert_pem.write_to_path(str(anchor))
    context = client_context(WireSettings(ca_file=str(anchor)), real_runtime().files)
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert len(context.get_ca_certs()) == len(client_context(WireSettings(), real_runtime().files).get_ca_certs()) + 1


@pytest.mark.parametrize("content", [None, b"", b"no certificate", b"\xff\xfe"])
def test_an_unusable_ca_file_is_a_config_error(tmp_path: Path, content: bytes | None) -> None:
    anchor = tmp_path / "ca.pem"
    if content is not None:
        anchor.write_bytes(content)
    with pytest.raises(ConfigError, match="ca_file"):
        client_context(WireSettings(ca_file=str(anchor)), real_runtime().files)
