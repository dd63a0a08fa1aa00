"""Opening, using and leaving a connection, in both modes, against servers that behave and servers that do not."""

from __future__ import annotations

import contextlib
import random
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
import trio.testing
import trustme
from tests.wire.harness import (
    CLOSE,
    PING,
    PLAIN,
    SECURE,
    ClientFrames,
    ClientLeft,
    MemoryNetwork,
    Received,
    Serve,
    accept,
    close,
    frame,
    opened,
    read_request,
    reply,
    runtime_on,
)

from kraken_engine.config import WireSettings
from kraken_engine.errors import ConnectFailed, LineClosed, LineError, UpgradeRejected, UsageError
from kraken_engine.runtime import Stream
from kraken_engine.wire.endpoints import Endpoint
from kraken_engine.wire.websocket import WebSocket, open_websocket

SPLIT, STOCK = WireSettings(mode="split"), WireSettings(mode="stock")
both_modes = pytest.mark.parametrize("settings", [SPLIT, STOCK], ids=["split", "stock"])


def sends(*pieces: bytes, then: Callable[[Stream], Awaitable[object]] | None = None) -> Serve:
    """A server that accepts, sends the pieces, and then waits for ever unless told otherwise."""

    async def serve(stream: Stream) -> None:
        await accept(stream)
        for piece in pieces:
            await stream.send_all(piece)
        if then is None:
            await trio.sleep_forever()
        else:
            await then(stream)

    return serve


def answers(response: bytes, then: Callable[[Stream], Awaitable[object]] | None = None) -> Serve:
    async def serve(stream: Stream) -> None:
        await read_request(stream)
        await stream.send_all(response)
        if then is None:
            await trio.sleep_forever()
        else:
            await then(stream)

    return serve


async def hang_up(stream: Stream) -> None:
    await stream.aclose()


async def nothing(_: WebSocket) -> None:
    await trio.lowlevel.checkpoint()


async def until_closed(websocket: WebSocket) -> None:
    await websocket.wait_closed()


def closing_with(found: list[LineClosed]) -> Callable[[WebSocket], Awaitable[None]]:
    async def body(websocket: WebSocket) -> None:
        found.append(await websocket.wait_closed())

    return body


def tls_server(folder: Path) -> tuple[str, ssl.SSLContext]:
    """The file with the anchor to trust, and the context of the server."""
    authority, ca_file = trustme.CA(), folder / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.num_tickets = 0  # nobody would read them from a lockstep stream
    authority.issue_cert("venue.test").configure_cert(context)
    return str(ca_file), context


# Opening


@both_modes
@pytest.mark.parametrize(
    ("serve", "why", "after_s"),
    [
        (hang_up, "upgrade failed", 0.0),
        (answers(b"", hang_up), "closed after 0 bytes", 0.0),
        (answers(b"HTTP/1.1 101 Swit", hang_up), "closed after 17 bytes", 0.0),
        (answers(b""), "no reply within 10.0 s", 10.0),
        (answers(b"HTTP/1.1 101 Switching"), "no reply within 10.0 s", 10.0),
        (answers(b"\x00\x01 hello\r\n\r\n"), "expected HTTP/1.1", 0.0),
        (answers(b"HTTP/1.1 101 X\r\nbroken header\r\n\r\n"), "upgrade failed", 0.0),
        (answers(b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"), "upgrade failed", 0.0),
        (answers(b"HTTP/1.1 101 X\r\nSec-WebSocket-Protocol: \xff\r\n\r\n"), "upgrade failed", 0.0),
        (answers(b"HTTP/1.1 101 X\r\n" + b"X: y\r\n" * 300_000), "above 1048576 bytes", 0.0),
    ],
    ids=[
        "EOF at once", "EOF", "EOF in the reply", "silence", "silence in the reply", "junk", "bad header", "no accept",
        "header not ASCII", "huge head",
    ],
)  # fmt: skip
async def test_a_failed_upgrade_is_typed_and_known_within_its_deadline(
    autojump_clock: trio.testing.MockClock, settings: WireSettings, serve: Serve, why: str, after_s: float
) -> None:
    start = trio.current_time()
    with pytest.raises(ConnectFailed) as caught:
        await opened(serve, nothing, settings=settings)
    assert caught.value.stage == "upgrade"
    assert why in str(caught.value)
    assert trio.current_time() - start == after_s


@both_modes
@pytest.mark.parametrize(("status", "floor_s"), [(302, 0.0), (403, 30.0), (429, 30.0), (503, 0.0)])
async def test_another_status_is_a_refusal_even_if_its_body_never_ends(
    autojump_clock: trio.testing.MockClock, settings: WireSettings, status: int, floor_s: float
) -> None:
    start = trio.current_time()
    head = b"HTTP/1.1 %d No\r\nLocation: /elsewhere\r\nContent-Length: 99999999\r\n\r\nbegin" % status
    with pytest.raises(UpgradeRejected) as caught:
        await opened(answers(head), nothing, settings=settings)
    assert (caught.value.status, caught.value.retry_floor_s) == (status, floor_s)
    assert trio.current_time() == start


@both_modes
async def test_a_request_that_nobody_reads_fails_within_the_deadline_of_a_send(
    autojump_clock: trio.testing.MockClock, settings: WireSettings
) -> None:
    async def never_reads(_: Stream) -> None:
        await trio.sleep_forever()

    start = trio.current_time()
    with pytest.raises(ConnectFailed, match=r"a send took more than 5\.0 s"):
        await opened(never_reads, nothing, settings=settings, lockstep=True)
    assert trio.current_time() - start == 5.0


async def test_the_request_names_host_and_path_and_offers_no_extension(autojump_clock: trio.testing.MockClock) -> None:
    requests: list[bytes] = []

    async def serve(stream: Stream) -> None:
        requests.append(await read_request(stream))
        await stream.send_all(reply(requests[0]))
        await trio.sleep_forever()

    await opened(serve, nothing, endpoint=Endpoint("venue.test", 8080, "/v2?x=1", tls=False))
    assert requests[0].startswith(b"GET /v2?x=1 HTTP/1.1\r\nHost: venue.test:8080\r\n")
    assert b"extension" not in requests[0].lower()


@both_modes
async def test_an_extension_nobody_asked_for_fails_the_upgrade(
    autojump_clock: trio.testing.MockClock, settings: WireSettings
) -> None:
    async def serve(stream: Stream) -> None:
        await stream.send_all(reply(await read_request(stream), b"Sec-WebSocket-Extensions: permessage-deflate\r\n"))
        await trio.sleep_forever()

    with pytest.raises(ConnectFailed, match="extension"):
        await opened(serve, nothing, settings=settings)


@both_modes
async def test_a_reply_head_may_be_large_and_come_in_pieces(
    autojump_clock: trio.testing.MockClock, settings: WireSettings
) -> None:
    async def serve(stream: Stream) -> None:
        wire = reply(await read_request(stream), b"X: " + b"y" * 200_000 + b"\r\n") + frame(b"first")
        for start in range(0, len(wire), 999):
            await stream.send_all(wire[start : start + 999])
            await trio.lowlevel.checkpoint()
        await stream.send_all(close())

    received = Received()
    await opened(serve, until_closed, deliver=received, settings=settings)
    assert received.messages == [b"first"]


# Messages


@both_modes
async def test_messages_that_come_with_the_reply_wait_until_the_block_is_entered(
    autojump_clock: trio.testing.MockClock, settings: WireSettings
) -> None:
    order: list[str] = []

    async def serve(stream: Stream) -> None:
        await stream.send_all(reply(await read_request(stream)) + frame(b"early"))
        await trio.sleep_forever()

    async def deliver(messages: list[bytes], _: float) -> None:
        order.append(messages[0].decode())
        await trio.lowlevel.checkpoint()

    async def body(_: WebSocket) -> None:
        order.append("entered")
        await trio.testing.wait_all_tasks_blocked()

    await opened(serve, body, deliver=deliver, settings=settings)
    assert order == ["entered", "early"]


async def test_the_messages_of_one_read_are_one_batch_with_the_time_of_that_read(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def more(stream: Stream) -> None:
        await trio.sleep(3)
        await stream.send_all(frame(b"c"))
        await stream.send_all(close())

    received = Received()
    start = trio.current_time()
    await opened(sends(frame(b"a") + frame(b"b"), then=more), until_closed, deliver=received)
    assert received.batches == [[b"a", b"b"], [b"c"]]
    assert [stamp - start for stamp in received.stamps] == [0.0, 3.0]


async def test_stock_mode_delivers_one_message_a_call(autojump_clock: trio.testing.MockClock) -> None:
    received = Received()
    await opened(sends(frame(b"a") + frame(b"b") + close()), until_closed, deliver=received, settings=STOCK)
    assert received.batches == [[b"a"], [b"b"]]


async def test_statistics_count_what_passed(autojump_clock: trio.testing.MockClock) -> None:
    async def body(websocket: WebSocket) -> None:
        await websocket.send(b"hello")
        await websocket.ping()
        await trio.testing.wait_all_tasks_blocked()
        got = websocket.statistics()
        assert (got.frames, got.pings_answered, got.pings_dropped, got.pongs) == (2, 10, 5, 1)
        assert got.bytes_received > 40
        assert got.bytes_sent > 150
        assert "2 messages" in repr(websocket)

    pings = frame(b"p", PING) * 15
    await opened(sends(frame(b"a") + pings + frame(b"", 0x8A) + frame(b"b")), body)


@both_modes
async def test_pings_are_answered_with_their_payload(
    autojump_clock: trio.testing.MockClock, settings: WireSettings
) -> None:
    got: list[tuple[int, bytes] | None] = []

    async def listen(stream: Stream) -> None:
        frames = ClientFrames(stream)
        got.extend([await frames.next(), await frames.next()])
        await stream.send_all(close())

    await opened(sends(frame(b"1", PING) + frame(b"22", PING), then=listen), until_closed, settings=settings)
    assert got == [(0x8A, b"1"), (0x8A, b"22")]


@both_modes
async def test_what_is_sent_arrives_as_text_and_pings_as_pings(
    autojump_clock: trio.testing.MockClock, settings: WireSettings
) -> None:
    got: list[tuple[int, bytes] | None] = []

    async def listen(stream: Stream) -> None:
        frames = ClientFrames(stream)
        got.extend([await frames.next() for _ in range(4)])
        await stream.send_all(close())

    async def body(websocket: WebSocket) -> None:
        await websocket.send(b'{"method":"ping"}')
        await websocket.ping()
        await websocket.send("€".encode() * 30_000)
        await websocket.ping()
        await websocket.wait_closed()

    await opened(sends(then=listen), body, settings=settings)
    assert got == [
        (0x81, b'{"method":"ping"}'),
        (0x89, (1).to_bytes(4, "big")),
        (0x81, "€".encode() * 30_000),
        (0x89, (2).to_bytes(4, "big")),
    ]


async def test_only_utf8_can_be_sent(autojump_clock: trio.testing.MockClock) -> None:
    async def body(websocket: WebSocket) -> None:
        with pytest.raises(UsageError, match="at byte 2"):
            await websocket.send(b"ab\xff")

    await opened(sends(), body)


# The end of a connection


@both_modes
@pytest.mark.parametrize("code", [1000, 1001, 1012, 1013, 4001])
async def test_a_close_frame_is_answered_reported_and_ends_the_tcp_connection(
    autojump_clock: trio.testing.MockClock, settings: WireSettings, code: int
) -> None:
    got: list[tuple[int, bytes]] = []
    found: list[LineClosed] = []

    async def listen(stream: Stream) -> None:
        got.extend(await ClientFrames(stream).all())  # ends when the client closes TCP

    async def body(websocket: WebSocket) -> None:
        found.append(await websocket.wait_closed())
        await trio.testing.wait_all_tasks_blocked()
        assert [first for first, _ in got] == [CLOSE]

    await opened(sends(close(code, b"why"), then=listen), body, settings=settings)
    assert (found[0].code, found[0].reason) == (code, "why")
    assert got[0][1][:2] == code.to_bytes(2, "big")


@both_modes
async def test_an_end_without_a_close_frame_is_1006(
    autojump_clock: trio.testing.MockClock, settings: WireSettings
) -> None:
    found: list[LineClosed] = []
    await opened(sends(frame(b"a") + b"\x81\x05cut", then=hang_up), closing_with(found), settings=settings)
    assert found[0].code == 1006
    assert "without a close frame" in found[0].reason


@both_modes
async def test_a_violation_ends_the_tcp_connection_while_the_block_is_still_in_use(
    autojump_clock: trio.testing.MockClock, settings: WireSettings
) -> None:
    over: list[bool] = []

    async def listen(stream: Stream) -> None:
        await ClientFrames(stream).all()
        over.append(True)

    async def body(websocket: WebSocket) -> None:
        assert (await websocket.wait_closed()).code == 1002
        await trio.testing.wait_all_tasks_blocked()
        assert over
        with pytest.raises(LineClosed):
            await websocket.send(b"x")
        with pytest.raises(LineClosed):
            await websocket.ping()

    await opened(sends(frame(b"a", 0xC1), then=listen), body, settings=settings)


async def test_split_mode_tells_the_peer_what_it_did_wrong(autojump_clock: trio.testing.MockClock) -> None:
    got: list[tuple[int, bytes]] = []

    async def listen(stream: Stream) -> None:
        got.extend(await ClientFrames(stream).all())

    await opened(sends(frame(b"\xff"), then=listen), until_closed)
    assert [(first, payload[:2]) for first, payload in got] == [(CLOSE, (1007).to_bytes(2, "big"))]


@both_modes
async def test_a_message_above_the_limit_is_1009(
    autojump_clock: trio.testing.MockClock, settings: WireSettings
) -> None:
    small = WireSettings(mode=settings.mode, max_message_bytes=1000)
    found: list[LineClosed] = []
    received = Received()
    await opened(sends(frame(b"x" * 1001)), closing_with(found), deliver=received, settings=small)
    assert found[0].code == 1009
    assert received.messages == []


@both_modes
async def test_a_binary_message_is_1003(autojump_clock: trio.testing.MockClock, settings: WireSettings) -> None:
    found: list[LineClosed] = []
    await opened(sends(frame(b"\x00", 0x82)), closing_with(found), settings=settings)
    assert found[0].code == 1003


async def test_a_huge_declared_length_is_refused_before_it_is_buffered(autojump_clock: trio.testing.MockClock) -> None:
    found: list[LineClosed] = []
    await opened(sends(b"\x81\x7f" + (1 << 40).to_bytes(8, "big")), closing_with(found))
    assert found[0].code == 1009


@both_modes
async def test_nothing_can_be_sent_on_a_closed_connection(
    autojump_clock: trio.testing.MockClock, settings: WireSettings
) -> None:
    async def body(websocket: WebSocket) -> None:
        await websocket.wait_closed()
        with pytest.raises(LineClosed) as caught:
            await websocket.send(b"x")
        assert caught.value.code == 1012
        assert "1012" in repr(websocket)

    await opened(sends(close(1012)), body, settings=settings)


@both_modes
@pytest.mark.parametrize("what", ["send", "ping"])
async def test_a_send_that_nobody_takes_fails_within_its_deadline_and_ends_the_line(
    autojump_clock: trio.testing.MockClock, settings: WireSettings, what: str
) -> None:
    start = 0.0

    async def body(websocket: WebSocket) -> None:
        nonlocal start
        start = trio.current_time()
        with pytest.raises(LineError, match=r"more than 5\.0 s"):
            await (websocket.send(b"x") if what == "send" else websocket.ping())
        assert trio.current_time() - start == 5.0
        assert (await websocket.wait_closed()).code == 1006

    await opened(sends(), body, settings=settings, lockstep=True)
    assert trio.current_time() - start == 5.0


@both_modes
async def test_a_pong_that_nobody_takes_ends_the_line_within_the_deadline_of_a_send(
    autojump_clock: trio.testing.MockClock, settings: WireSettings
) -> None:
    found: list[LineClosed] = []
    start = trio.current_time()
    await opened(sends(frame(b"p", PING)), closing_with(found), settings=settings, lockstep=True)
    assert found[0].code == 1006
    assert trio.current_time() - start == 5.0


@both_modes
async def test_a_send_cancelled_half_way_ends_the_line(
    autojump_clock: trio.testing.MockClock, settings: WireSettings
) -> None:
    async def body(websocket: WebSocket) -> None:
        with trio.move_on_after(1):
            await websocket.send(b"x")
        closed = await websocket.wait_closed()
        assert (closed.code, closed.reason) == (1006, "a send was cut short")

    await opened(sends(), body, settings=settings, lockstep=True)


@both_modes
async def test_a_send_cancelled_before_it_began_does_no_harm(
    autojump_clock: trio.testing.MockClock, settings: WireSettings
) -> None:
    async def echo(stream: Stream) -> None:
        assert await ClientFrames(stream).next() == (0x81, b"sent")
        await stream.send_all(close(1012))

    async def body(websocket: WebSocket) -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await websocket.send(b"not sent")
        await websocket.send(b"sent")
        assert (await websocket.wait_closed()).code == 1012

    await opened(sends(then=echo), body, settings=settings)


# Leaving


@both_modes
async def test_leaving_makes_the_closing_handshake(
    autojump_clock: trio.testing.MockClock, settings: WireSettings
) -> None:
    got: list[tuple[int, bytes] | None] = []

    async def polite(stream: Stream) -> None:
        frames = ClientFrames(stream)
        got.append(await frames.next())
        await stream.send_all(frame(b"late") + frame(b"p", PING) * (settings.mode == "split") + close())
        got.append(await frames.next())

    received = Received()
    await opened(sends(then=polite), nothing, deliver=received, settings=settings)
    assert got == [(CLOSE, (1000).to_bytes(2, "big")), None]
    assert received.messages == []


@both_modes
@pytest.mark.parametrize("lockstep", [False, True])
async def test_leaving_a_frozen_peer_takes_as_long_as_allowed(
    autojump_clock: trio.testing.MockClock, settings: WireSettings, lockstep: bool
) -> None:
    start = trio.current_time()
    await opened(sends(), nothing, settings=settings, lockstep=lockstep)
    assert trio.current_time() - start == 2.0


@both_modes
@pytest.mark.parametrize("lockstep", [False, True])
async def test_leaving_a_frozen_peer_by_cancellation_hardly_takes_time(
    autojump_clock: trio.testing.MockClock, settings: WireSettings, lockstep: bool
) -> None:
    async def body(_: WebSocket) -> None:
        await trio.sleep_forever()

    start = trio.current_time()
    with trio.move_on_after(1) as scope:
        await opened(sends(), body, settings=settings, lockstep=lockstep)
    assert scope.cancelled_caught
    assert trio.current_time() - start == pytest.approx(1.1 if lockstep else 1.0)


@both_modes
async def test_leaving_by_an_exception_still_says_goodbye(
    autojump_clock: trio.testing.MockClock, settings: WireSettings
) -> None:
    got: list[tuple[int, bytes]] = []

    async def listen(stream: Stream) -> None:
        got.extend(await ClientFrames(stream).all())

    async def body(_: WebSocket) -> None:
        raise LookupError("mine")

    async with trio.open_nursery() as nursery:
        network = MemoryNetwork(nursery, sends(then=listen))
        with pytest.raises(LookupError, match="mine") as caught:
            async with open_websocket(runtime_on(network), PLAIN, settings, Received()) as websocket:
                await body(websocket)
        assert caught.value.__context__ is None
    assert got == [(CLOSE, (1000).to_bytes(2, "big"))]


@both_modes
@pytest.mark.parametrize(("error", "after_s"), [(None, 2.0), (LookupError("mine"), 0.1)])
async def test_leaving_a_frozen_peer_over_tls_takes_no_longer_than_without(
    autojump_clock: trio.testing.MockClock,
    settings: WireSettings,
    tmp_path: Path,
    error: Exception | None,
    after_s: float,
) -> None:
    ca_file, context = tls_server(tmp_path)

    async def serve(stream: Stream) -> None:
        await accept(trio.SSLStream(stream, context, server_side=True))
        await trio.sleep_forever()

    start = 0.0

    async def body(_: WebSocket) -> None:
        nonlocal start
        start = trio.current_time()
        if error is not None:
            raise error

    wire = WireSettings(mode=settings.mode, ca_file=ca_file)
    with contextlib.suppress(LookupError):
        await opened(serve, body, settings=wire, endpoint=SECURE, lockstep=True)
    assert trio.current_time() - start == pytest.approx(after_s)


@both_modes
async def test_leaving_by_an_exception_does_not_wait_for_a_tls_goodbye_under_way(
    autojump_clock: trio.testing.MockClock, settings: WireSettings, tmp_path: Path
) -> None:
    ca_file, context = tls_server(tmp_path)

    async def serve(stream: Stream) -> None:
        secured = trio.SSLStream(stream, context, server_side=True)
        await accept(secured)
        await secured.send_all(close(1012))
        await ClientFrames(secured).next()
        await trio.sleep_forever()

    async def body(websocket: WebSocket) -> None:
        raise await websocket.wait_closed()

    start = trio.current_time()
    wire = WireSettings(mode=settings.mode, ca_file=ca_file)
    with pytest.raises(LineClosed):
        await opened(serve, body, settings=wire, endpoint=SECURE, lockstep=True)
    assert trio.current_time() == start


@both_modes
@pytest.mark.parametrize(
    "error", [ValueError("theirs"), trio.BrokenResourceError("theirs"), trio.ClosedResourceError("theirs"), KeyError(1)]
)
async def test_an_exception_of_deliver_ends_the_block_and_leaves_as_itself(
    autojump_clock: trio.testing.MockClock, settings: WireSettings, error: Exception
) -> None:
    async def deliver(_: list[bytes], __: float) -> None:
        await trio.lowlevel.checkpoint()
        raise error

    async def body(_: WebSocket) -> None:
        await trio.sleep_forever()

    with pytest.raises(type(error)) as caught:
        await opened(sends(frame(b"a")), body, deliver=deliver, settings=settings)
    assert caught.value is error


@both_modes
async def test_the_body_wins_over_deliver_when_both_fail(
    autojump_clock: trio.testing.MockClock, settings: WireSettings
) -> None:
    async def deliver(_: list[bytes], __: float) -> None:
        await trio.lowlevel.checkpoint()
        raise ValueError("theirs")

    async def body(_: WebSocket) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine") as caught:
        await opened(sends(frame(b"a")), body, deliver=deliver, settings=settings)
    assert "theirs" in caught.value.__notes__[0]


@both_modes
async def test_wherever_it_is_cancelled_it_ends_with_the_cancellation_and_closes_its_connection(
    autojump_clock: trio.testing.MockClock, settings: WireSettings
) -> None:
    rng = random.Random(3)
    served: list[trio.Event] = []

    async def serve(stream: Stream) -> None:
        closed = trio.Event()
        served.append(closed)
        try:
            await trio.sleep(rng.choice((0.0, 0.1)))
            await stream.send_all(reply(await read_request(stream)))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(talk, stream)
                await ClientFrames(stream).all()
                nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, ClientLeft):
            pass
        closed.set()

    async def talk(stream: Stream) -> None:
        while True:
            await stream.send_all(frame(b"x" * rng.randrange(200)) + frame(b"p", PING))
            await trio.sleep(rng.choice((0.01, 0.1)))

    async def slow(_: list[bytes], __: float) -> None:
        await trio.sleep(rng.choice((0.0, 0.05)))

    async with trio.open_nursery() as nursery:
        network = MemoryNetwork(nursery, serve)
        for _ in range(60):
            with trio.move_on_after(rng.choice((0.0, 0.01, 0.05, 0.1, 0.15, 0.3, 0.7))) as scope:
                async with open_websocket(runtime_on(network), PLAIN, settings, slow) as websocket:
                    while True:
                        await websocket.send(b"x")
                        await websocket.ping()
                        await trio.sleep(0.03)
            assert scope.cancelled_caught
        with trio.fail_after(5):
            for closed in served:
                await closed.wait()
        assert len(served) > 30
