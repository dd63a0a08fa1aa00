"""The server side of a WebSocket: what it says, how it ends, what it bears. A wsproto client over memory streams."""

from __future__ import annotations

import contextlib

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.venue.shells.clients import LingeringStream, ScriptedSession, serving
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.frame_protocol import CloseReason

from kraken_engine.venue.core.ports import Abort, Close, Raw
from kraken_engine.venue.shells.websocket import WebSocketLimits

Clock = trio.testing.MockClock


async def test_an_upgrade_opens_a_session_of_the_routes_kind(autojump_clock: Clock) -> None:
    async with serving(session=ScriptedSession(kind="")) as served:
        assert served.client.status == 101
        assert served.session.kind == "public"


async def test_the_query_of_the_path_does_not_matter(autojump_clock: Clock) -> None:
    async with serving(path="/v2?compress=0") as served:
        assert served.client.status == 101


async def test_what_waits_when_the_session_opens_comes_first(autojump_clock: Clock) -> None:
    session = ScriptedSession()
    session.say(b"hello", b"again")
    async with serving(session=session) as served:
        assert [await served.client.text() for _ in range(2)] == ["hello", "again"]


async def test_another_path_is_not_found_and_opens_no_session(autojump_clock: Clock) -> None:
    session = ScriptedSession(kind="none")
    async with serving(session=session, path="/v3") as served:
        assert served.client.status == 404
        assert b"expected the path /v2" in served.client.body
        assert await served.client.at_end()
    assert session.kind == "none"
    assert session.closed_at is None


UPGRADE = b"GET /v2 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: eA==\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"POST /v2 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", 400),
        (UPGRADE + b"Sec-WebSocket-Version: 8\r\n\r\n", 426),
        (UPGRADE.replace(b"Host: x", b"Host: \xff") + b"Sec-WebSocket-Version: 13\r\n\r\n", 400),
        (b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\n", 400),
    ],
)
async def test_what_is_no_upgrade_is_refused_in_http(autojump_clock: Clock, request_bytes: bytes, status: int) -> None:
    async with serving(upgrade=False) as served:
        await served.client.stream.send_all(request_bytes)
        answer = b""
        while data := await served.client.stream.receive_some():
            answer += data
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert b"connection: close" in answer.lower()
        assert answer.endswith(b"\n")
        assert served.session.closed_at is None


async def test_a_handshake_that_does_not_come_ends_after_its_deadline(autojump_clock: Clock) -> None:
    async with serving(upgrade=False) as served:
        began = trio.current_time()
        await served.client.stream.send_all(b"GET /v2 HTTP/1.1\r\nHost: x\r\n")
        assert await served.client.at_end()
        assert trio.current_time() - began == pytest.approx(WebSocketLimits().handshake_timeout_s)


async def test_a_client_that_leaves_during_the_handshake_is_forgotten(autojump_clock: Clock) -> None:
    async with serving(upgrade=False) as served:
        await served.client.stream.send_all(b"GET ")
        await served.client.stream.aclose()
        await served.done.wait()


async def test_text_reaches_the_session_with_its_time_and_the_answer_comes_back(autojump_clock: Clock) -> None:
    async with serving(session=ScriptedSession(answer=lambda text: [text.upper()])) as served:
        await trio.sleep(3)
        now = trio.current_time()
        await served.client.send(TextMessage('{"method":"ping"}'))
        assert await served.client.text() == '{"METHOD":"PING"}'
        assert served.session.received == [(b'{"method":"ping"}', now)]
        assert served.nudges == [now]


async def test_fragments_are_joined_around_a_ping(autojump_clock: Clock) -> None:
    async with serving() as served:
        await served.client.send(
            TextMessage("aä", message_finished=False),
            Ping(b"between"),
            TextMessage("", message_finished=False),
            TextMessage("bö", message_finished=True),
            Ping(b"after"),
        )
        assert [await served.client.pong(), await served.client.pong()] == [b"between", b"after"]
        assert served.session.texts == ["aäbö".encode()]


@settings(deadline=None, max_examples=50)
@given(texts=st.lists(st.text(max_size=300), max_size=8), cuts=st.lists(st.integers(1, 200), min_size=1, max_size=8))
async def test_messages_arrive_the_same_however_their_bytes_are_cut(texts: list[str], cuts: list[int]) -> None:
    async with serving() as served:
        protocol = served.client.protocol
        data = b"".join(protocol.send(TextMessage(text)) for text in texts) + protocol.send(Ping(b"end"))
        turn = 0
        while data:
            cut = cuts[turn % len(cuts)]
            await served.client.stream.send_all(data[:cut])
            data = data[cut:]
            turn += 1
        assert await served.client.pong() == b"end"
        assert served.session.texts == [text.encode() for text in texts]


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65535, 65536, 70000])
async def test_a_text_frame_of_any_length_is_read_back(autojump_clock: Clock, length: int) -> None:
    async with serving() as served:
        served.session.say(b"x" * length)
        assert await served.client.text() == "x" * length


async def test_everything_said_in_one_turn_leaves_in_one_write(autojump_clock: Clock) -> None:
    async with serving() as served:
        before = len(served.writes)
        served.session.say(*[b"%d" % i for i in range(1000)])
        assert [await served.client.text() for _ in range(1000)] == [str(i) for i in range(1000)]
        assert len(served.writes) - before == 1


async def test_what_piles_up_behind_a_slow_write_leaves_in_one_write(autojump_clock: Clock) -> None:
    async with serving(buffer_bytes=1024) as served:
        before = len(served.writes)
        served.session.say(b"x" * 5000)
        await trio.testing.wait_all_tasks_blocked()
        for i in range(100):
            served.session.say(b"%d" % i)
            await trio.testing.wait_all_tasks_blocked()
        assert await served.client.text() == "x" * 5000
        assert [await served.client.text() for _ in range(100)] == [str(i) for i in range(100)]
        assert len(served.writes) - before == 2


async def test_a_closing_client_gets_its_code_back_and_then_the_end(autojump_clock: Clock) -> None:
    async with serving() as served:
        await trio.sleep(7)
        await served.client.send(CloseConnection(1000, "bye"))
        assert await served.client.close_frame() == (1000, "bye")
        assert await served.client.at_end()
        await served.done.wait()
        assert served.session.closed_at == trio.current_time()


async def test_a_close_without_a_code_is_answered_without_one(autojump_clock: Clock) -> None:
    async with serving() as served:
        await served.client.send(CloseConnection(CloseReason.NO_STATUS_RCVD))
        assert (await served.client.close_frame())[0] == 1005
        assert await served.client.at_end()


async def test_the_session_closes_after_what_it_said_before(autojump_clock: Clock) -> None:
    async with serving() as served:
        served.session.say(b"last", Close(1013, "try later"), b"never")
        assert await served.client.text() == "last"
        event = await served.client.next()
        assert event == CloseConnection(1013, "try later")
        await served.client.answer_close(CloseConnection(1013))
        assert await served.client.at_end()


async def test_a_client_that_never_answers_our_close_is_left_after_the_deadline(autojump_clock: Clock) -> None:
    async with serving() as served:
        served.session.say(Close(1001, ""))
        began = trio.current_time()
        await served.done.wait()
        assert trio.current_time() - began == pytest.approx(WebSocketLimits().close_timeout_s)
        assert served.session.closed_at == trio.current_time()


async def test_what_a_client_says_while_we_close_is_not_heard(autojump_clock: Clock) -> None:
    async with serving() as served:
        served.session.say(Close(1001, ""))
        await served.client.send(TextMessage("too late"), Ping(b"too"))
        assert (await served.client.close_frame())[0] == 1001
        await served.client.answer_close(CloseConnection(1001))
        assert await served.client.at_end()
        assert served.session.texts == []


async def test_an_abort_ends_the_stream_without_a_close_frame_after_what_was_said(autojump_clock: Clock) -> None:
    async with serving() as served:
        served.session.say(b"last", Abort(), b"never")
        assert await served.client.text() == "last"
        assert await served.client.at_end()


async def test_after_an_abort_not_even_the_clients_close_is_answered(autojump_clock: Clock) -> None:
    async with serving(buffer_bytes=1000) as served:
        served.session.say(b"x" * 2000)
        await trio.testing.wait_all_tasks_blocked()
        served.session.say(b"last", Abort())
        await served.client.send(CloseConnection(1000))
        await trio.testing.wait_all_tasks_blocked()
        assert await served.client.text() == "x" * 2000
        assert await served.client.text() == "last"
        assert await served.client.at_end()


async def test_an_error_of_the_session_survives_being_cancelled(autojump_clock: Clock) -> None:
    class Failing(ScriptedSession):
        def closed(self, now: float) -> None:
            super().closed(now)
            raise ZeroDivisionError("planted")

    with pytest.raises(ExceptionGroup) as caught:
        async with serving(session=Failing()) as served:
            served.scope.cancel()
    assert caught.group_contains(ZeroDivisionError, match="planted")


async def test_a_transport_that_will_not_close_is_left_after_the_deadline(autojump_clock: Clock) -> None:
    async with serving(wrap=LingeringStream) as served:
        began = trio.current_time()
        served.session.say(Abort())
        await served.done.wait()
        assert trio.current_time() - began == pytest.approx(WebSocketLimits().close_timeout_s)


async def test_raw_bytes_go_out_as_they_are_in_their_place(autojump_clock: Clock) -> None:
    async with serving() as served:
        served.session.say(b"one", Raw(b"\x01\x02tw"), Raw(b"\x80\x01o"), b"three")
        assert [await served.client.text() for _ in range(3)] == ["one", "two", "three"]


async def test_half_a_frame_and_an_abort_is_a_connection_cut_in_the_middle(autojump_clock: Clock) -> None:
    async with serving() as served:
        served.session.say(Raw(b"\x81\x10half"), Abort())
        event = await served.client.next()
        assert isinstance(event, TextMessage)
        assert not event.message_finished
        assert await served.client.at_end()


async def test_a_message_beyond_the_limit_is_refused_before_it_is_complete(autojump_clock: Clock) -> None:
    async with serving(limits=WebSocketLimits(max_message_bytes=1000)) as served:
        await served.client.send(TextMessage("x" * 900, message_finished=False))
        await served.client.send(TextMessage("x" * 101, message_finished=False))
        code, reason = await served.client.close_frame()
        assert code == 1009
        assert "at most 1000 bytes" in reason
        assert served.session.texts == []


async def test_a_refused_client_that_answers_the_close_is_done(autojump_clock: Clock) -> None:
    async with serving(limits=WebSocketLimits(max_message_bytes=1000)) as served:
        began = trio.current_time()
        await served.client.send(TextMessage("x" * 1001, message_finished=False))
        event = await served.client.next()
        assert isinstance(event, CloseConnection)
        await served.client.answer_close(event)
        assert await served.client.at_end()
        assert trio.current_time() == pytest.approx(began)


@settings(deadline=None, max_examples=50)
@given(
    frames=st.lists(
        st.one_of(
            st.tuples(
                st.sampled_from(b"\x00\x01\x02\x08\x09\x0a\x0f\x80\x81\x82\x88\x89\x8a\xc1\xff"), st.binary(max_size=30)
            ),
            st.tuples(st.integers(0, 255), st.binary(max_size=30)),
        ),
        max_size=8,
    ),
    tail=st.binary(max_size=30),
    cut=st.integers(1, 50),
)
async def test_no_bytes_of_a_client_do_worse_than_end_its_connection(
    frames: list[tuple[int, bytes]], tail: bytes, cut: int
) -> None:
    data = b"".join(bytes((first, 0x80 | len(payload), 0, 0, 0, 0)) + payload for first, payload in frames) + tail
    async with serving() as served:
        with contextlib.suppress(trio.BrokenResourceError):
            for start in range(0, len(data), cut):
                await served.client.stream.send_all(data[start : start + cut])
        await served.client.stream.aclose()
        await served.done.wait()
        assert served.session.closed_at is not None


@settings(deadline=None, max_examples=50)
@given(data=st.binary(max_size=200), cut=st.integers(1, 200))
async def test_no_bytes_in_place_of_a_handshake_do_worse_than_end_the_connection(data: bytes, cut: int) -> None:
    for request in (data, UPGRADE + data, b"GET /" + data):
        async with serving(upgrade=False) as served:
            with contextlib.suppress(trio.BrokenResourceError):
                for start in range(0, len(request), cut):
                    await served.client.stream.send_all(request[start : start + cut])
                await served.client.stream.aclose()
            await served.done.wait()


async def test_a_message_at_the_limit_is_taken(autojump_clock: Clock) -> None:
    async with serving(limits=WebSocketLimits(max_message_bytes=1000)) as served:
        await served.client.send(TextMessage("x" * 1000), Ping())
        await served.client.pong()
        assert served.session.texts == [b"x" * 1000]


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (b"\x81\x03abc", 1002),  # not masked
        (b"\xc1\x80\0\0\0\0", 1002),  # a reserved bit
        (b"\x83\x80\0\0\0\0", 1002),  # a reserved opcode
        (b"\x80\x80\0\0\0\0", 1002),  # nothing to continue
        (b"\x09\x80\0\0\0\0", 1002),  # a fragmented ping
        (b"\x81\x82\0\0\0\0\xc3\x28", 1007),  # no UTF-8
        (b"\x88\x81\0\0\0\0\x03", 1002),  # half a close code
    ],
)
async def test_a_violation_is_answered_with_its_close_code(autojump_clock: Clock, bad: bytes, code: int) -> None:
    async with serving() as served:
        await served.client.stream.send_all(bad)
        assert (await served.client.close_frame())[0] == code
        await served.client.stream.send_all(b"\x81\x83\0\0\0\0abc" * 1000)
        assert await served.client.at_end()
        assert served.session.texts == []


async def test_binary_frames_are_not_supported(autojump_clock: Clock) -> None:
    async with serving() as served:
        await served.client.send(BytesMessage(b"\0"))
        assert (await served.client.close_frame())[0] == 1003


async def test_a_pong_nobody_asked_for_changes_nothing(autojump_clock: Clock) -> None:
    async with serving() as served:
        await served.client.send(Pong(b"unasked"), Ping(b"asked"))
        assert await served.client.pong() == b"asked"


async def test_a_client_too_far_behind_is_dropped_at_once(autojump_clock: Clock) -> None:
    limits = WebSocketLimits(max_pending_bytes=10_000)
    async with serving(limits=limits, buffer_bytes=1000) as served:
        began = trio.current_time()
        served.session.say(b"x" * 2000)
        await trio.testing.wait_all_tasks_blocked()
        served.session.say(*[b"x" * 100] * 98)
        await trio.testing.wait_all_tasks_blocked()
        assert served.session.closed_at is None
        served.session.say(b"x" * 100)
        await served.done.wait()
        assert served.session.closed_at == began


async def test_pings_of_a_client_that_does_not_read_count_too(autojump_clock: Clock) -> None:
    async with serving(limits=WebSocketLimits(max_pending_bytes=10_000), buffer_bytes=1000) as served:
        with pytest.raises(trio.BrokenResourceError):
            for _ in range(1000):
                await served.client.send(Ping(b"x" * 100))
        await served.done.wait()


async def test_a_write_that_does_not_get_through_ends_the_connection_after_its_deadline(autojump_clock: Clock) -> None:
    async with serving(buffer_bytes=1000) as served:
        began = trio.current_time()
        served.session.say(b"x" * 2000)
        await served.done.wait()
        assert trio.current_time() - began == pytest.approx(WebSocketLimits().send_timeout_s)


async def test_a_client_that_ends_its_side_still_gets_what_it_is_owed(autojump_clock: Clock) -> None:
    async with serving(session=ScriptedSession(answer=lambda text: [text])) as served:
        await served.client.send(TextMessage("question"))
        assert isinstance(served.client.stream, trio.abc.HalfCloseableStream)
        await served.client.stream.send_eof()
        assert await served.client.text() == "question"
        assert await served.client.at_end()
        await served.done.wait()
        assert served.session.closed_at is not None


async def test_a_client_that_vanishes_is_noticed_on_writing(autojump_clock: Clock) -> None:
    async with serving() as served:
        await served.client.stream.aclose()
        served.session.say(b"anybody there?")
        await served.done.wait()
        assert served.session.closed_at is not None


async def test_going_away_closes_every_connection_with_1001(autojump_clock: Clock) -> None:
    async with serving() as served:
        served.server.go_away()
        served.server.go_away()
        assert (await served.client.close_frame())[0] == 1001


@pytest.mark.parametrize("outs", [[], [b"x" * 100_000], [Close(1001, "")]])
async def test_cancelling_closes_the_stream_and_tells_the_session(
    autojump_clock: Clock, outs: list[bytes | Close]
) -> None:
    async with serving(buffer_bytes=1000) as served:
        served.session.say(*outs)
        await trio.testing.wait_all_tasks_blocked()
        now = trio.current_time()
        served.scope.cancel()
        await served.done.wait()
        assert served.session.closed_at == now
        with pytest.raises(trio.BrokenResourceError):
            await served.client.stream.send_all(b"x")
