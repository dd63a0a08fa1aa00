"""Split mode against stock trio-websocket: the same bytes give the same messages, pongs and endings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

import attrs
import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.wire.harness import CLOSE, PONG, ClientFrames, Received, accept, frame, opened
from tests.wire.strategies_wire import CLOSES, VIOLATIONS, Sent, chunk_sizes, chunked, well_formed

from kraken_engine.config import WireSettings
from kraken_engine.errors import LineClosed
from kraken_engine.runtime import Stream
from kraken_engine.wire.websocket import WebSocket

Mode = Literal["split", "stock"]
ENDINGS = {**VIOLATIONS, **CLOSES, "end of file": (b"", 1006), "end in a frame": (b"\x81\x7e\x01", 1006)}
SILENT_FAILURES = {*VIOLATIONS, "one byte", "code below 1000", "local-only code", "unassigned code", "reason not UTF-8"}
"""Endings that stock trio-websocket does not answer: only split mode may send a close frame."""


@attrs.frozen
class Seen:
    """Everything an application and the peer can tell."""

    messages: list[bytes]
    code: int
    pongs: list[bytes]
    answered_close: list[bytes]


async def run(mode: Mode, pieces: list[bytes], *, hang_up: bool) -> Seen:
    sent_by_client: list[tuple[int, bytes]] = []
    found: list[LineClosed] = []
    received = Received()

    async def serve(stream: Stream) -> None:
        await accept(stream)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen, stream)
            try:
                for piece in pieces:
                    await stream.send_all(piece)
                    await trio.lowlevel.checkpoint()
                if hang_up:
                    await trio.testing.wait_all_tasks_blocked()
                    await stream.aclose()
            except trio.BrokenResourceError:
                return  # the client has left already

    async def listen(stream: Stream) -> None:
        try:
            sent_by_client.extend(await ClientFrames(stream).all())
        except trio.ClosedResourceError:
            return

    async def body(websocket: WebSocket) -> None:
        with trio.fail_after(60):
            found.append(await websocket.wait_closed())
        await trio.testing.wait_all_tasks_blocked()

    wire = WireSettings(mode=mode, max_pings_per_s=10_000, max_message_bytes=1 << 20)
    await opened(serve, body, deliver=received, settings=wire)
    return Seen(
        received.messages,
        found[0].code,
        [payload for first, payload in sent_by_client if first == PONG],
        [payload for first, payload in sent_by_client if first == CLOSE],
    )


def virtually(main: Callable[[], Awaitable[Seen]]) -> Seen:
    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@given(well_formed, st.sampled_from(sorted(ENDINGS)), chunk_sizes)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_both_modes_deliver_answer_and_end_alike(sent: Sent, ending: str, sizes: list[int]) -> None:
    end, code = ENDINGS[ending]
    hang_up = ending.startswith("end")
    after = b"" if hang_up else frame(b"after the end")
    pieces = chunked(sent.wire + end + after, sizes)
    split = virtually(lambda: run("split", pieces, hang_up=hang_up))
    stock = virtually(lambda: run("stock", pieces, hang_up=hang_up))
    if ending in SILENT_FAILURES or hang_up:
        split, stock = attrs.evolve(split, answered_close=[]), attrs.evolve(stock, answered_close=[])
    assert split == stock
    assert split.messages == list(sent.texts)
    assert split.code == code
    if not hang_up:
        assert split.pongs == list(sent.pings)


@pytest.mark.parametrize("ending", sorted(ENDINGS))
@pytest.mark.parametrize("size", [1, 70_000])
def test_every_ending_is_the_same_in_both_modes(ending: str, size: int) -> None:
    end, code = ENDINGS[ending]
    pieces = chunked(frame(b"before") + end, [size])
    split = virtually(lambda: run("split", pieces, hang_up=ending.startswith("end")))
    stock = virtually(lambda: run("stock", pieces, hang_up=ending.startswith("end")))
    assert (split.messages, split.code) == (stock.messages, stock.code) == ([b"before"], code)
