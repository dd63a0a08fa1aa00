"""Rows 28 to 33 of the fault matrix: frames that break the protocol, or our limits, and connections that are closed."""

from __future__ import annotations

import zlib

import pytest
import trio
from tests.sim.faults.harness import HEALED, SETTINGS, Scene, run_in_world

from kraken_engine import LineUp, Stale

RECONNECTED_S = 2.0
"""The goal for a network that is fine: connected again and every book verified."""

PONG_BYTES = 6
"""An empty pong of a client: two bytes of header, four of mask."""


async def assert_replaced(scene: Scene, code: int, start: float) -> None:
    """Check that the connection ended at once with ``code`` and that the next one healed everything."""
    at, down = await scene.next_line_down(start, within_s=0.1)
    assert at - start < 0.05
    assert f"closed with {code}" in down.reason
    await scene.until(lambda: scene.told(Stale, start), 0.1)
    assert await scene.until(scene.live, RECONNECTED_S) <= RECONNECTED_S
    await trio.sleep(5)
    for symbol in scene.symbols:
        assert scene.story(symbol, start)[-4:] == HEALED
    assert len(scene.recorder.all(LineUp, start)) == 1


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param("c10141", id="reserved bit"),
        pytest.param("830141", id="reserved opcode"),
        pytest.param("8b00", id="reserved control opcode"),
        pytest.param("81810000000041", id="masked by a server"),
        pytest.param("800141", id="continuation of nothing"),
        pytest.param("010141010142", id="new message inside a message"),
        pytest.param("817e000141", id="length in more bytes than it needs"),
    ],
)
def test_fault_28_a_frame_that_breaks_the_protocol_is_answered_with_1002_and_the_line_replaced(frame: str) -> None:
    """Close 1002, reconnect."""

    async def scenario(scene: Scene) -> None:
        start = scene.now
        scene.fault("send_raw", hex=frame, session=scene.session)
        await assert_replaced(scene, 1002, start)

    run_in_world(scenario)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        pytest.param("8102c328", 1007, id="invalid UTF-8"),
        pytest.param("0101c3800128", 1007, id="invalid UTF-8 over two fragments"),
        pytest.param("8103eda080", 1007, id="a surrogate in UTF-8"),
        pytest.param("0900", 1002, id="fragmented ping"),
        pytest.param("897e007e" + "00" * 126, 1002, id="ping of 126 bytes"),
    ],
)
def test_fault_29_text_that_is_no_text_and_control_frames_out_of_bounds_close_as_the_rfc_says(
    frame: str, code: int
) -> None:
    """Close per RFC 6455: 1007 for text that is no UTF-8, 1002 for control frames."""

    async def scenario(scene: Scene) -> None:
        start = scene.now
        scene.fault("send_raw", hex=frame, session=scene.session)
        await assert_replaced(scene, code, start)

    run_in_world(scenario)


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param("817f0000000000800001", id="one byte above the limit declared"),
        pytest.param("817f7fffffffffffffff", id="all there is declared"),
        pytest.param("010141" + "000141" * 64, id="65 fragments"),
    ],
)
def test_fault_30_a_message_above_the_limits_is_refused_before_it_is_there(frame: str) -> None:
    """Close 1009 before buffering it: the header alone decides."""

    async def scenario(scene: Scene) -> None:
        start = scene.now
        scene.fault("send_raw", hex=frame, session=scene.session)
        await assert_replaced(scene, 1009, start)

    run_in_world(scenario)


def test_fault_30_fragments_count_together_towards_the_limit() -> None:
    """Close 1009 as soon as a fragment is declared that makes the message too long."""
    half = 4 * 1024 * 1024
    first = "017f" + half.to_bytes(8, "big").hex() + "20" * half
    declared = "807f" + (half + 1).to_bytes(8, "big").hex()

    async def scenario(scene: Scene) -> None:
        start = scene.now
        scene.fault("send_raw", hex=first + declared, session=scene.session)
        _, down = await scene.next_line_down(start, within_s=5.0)
        assert "closed with 1009" in down.reason
        await scene.until(scene.live, RECONNECTED_S)

    run_in_world(scenario)


def test_fault_31_a_flood_of_pings_is_answered_ten_times_a_second_and_read_all_the_while() -> None:
    """Answer at most 10 a second, still read."""

    async def scenario(scene: Scene) -> None:
        start = scene.now
        for _ in range(50):
            scene.fault("send_raw", hex="8900" * 200, session=scene.session)
            await trio.sleep(0.1)
        sent = [(at, facts) for at, kind, facts in scene.recorder.network if kind == "tx" and at >= start]
        pongs = [at for at, facts in sent if facts == (f"{scene.link.label}>", PONG_BYTES)]
        assert 40 <= len(pongs) <= 60
        assert all(later - earlier >= 0.999 for earlier, later in zip(pongs, pongs[10:], strict=False))
        for symbol in scene.symbols:
            scene.assert_untouched(symbol, start)
        assert scene.line_ends(start) == []

    run_in_world(scenario)


@pytest.mark.parametrize("code", [1000, 1001, 1011])
def test_fault_32_a_closed_connection_is_replaced_at_once(code: int) -> None:
    """Reconnect at once after a healthy time, every book verified within 2 s."""

    async def scenario(scene: Scene) -> None:
        await trio.sleep(30)
        start = scene.now
        scene.fault("drop_connection", session=scene.session, mode="close", code=code, reason="bye")
        await assert_replaced(scene, code, start)
        assert scene.recorder.dials(start)[0] - start < 0.05

    run_in_world(scenario)


@pytest.mark.parametrize("code", [1012, 1013])
def test_fault_32_a_venue_that_asks_for_a_pause_gets_a_jittered_one(code: int) -> None:
    """1012, 1013: respected and jittered, and still every book verified within 2 s."""
    pauses: list[float] = []

    async def scenario(scene: Scene) -> None:
        await trio.sleep(30)
        start = scene.now
        scene.fault("drop_connection", session=scene.session, mode="close", code=code, reason="restarting")
        await assert_replaced(scene, code, start)
        pauses.append(scene.recorder.dials(start)[0] - start)

    for seed in range(3):
        run_in_world(scenario, seed=seed)
    assert all(0.25 <= pause <= 1.5 for pause in pauses)
    assert len(set(pauses)) == 3


def test_fault_33_a_compressed_bomb_is_refused_unopened_since_compression_was_never_agreed_on() -> None:
    """Not negotiated: 1002, and not a byte is inflated."""
    bomb = zlib.compress(bytes(50_000_000), 9)[2:-4]
    header = b"\xc1\x7e" + len(bomb).to_bytes(2, "big")

    async def scenario(scene: Scene) -> None:
        start = scene.now
        scene.fault("send_raw", hex=(header + bomb).hex(), session=scene.session)
        await assert_replaced(scene, 1002, start)

    assert SETTINGS.config.wire.max_message_bytes < 50_000_000
    run_in_world(scenario)
