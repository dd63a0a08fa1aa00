"""Rows 34 to 37 of the fault matrix: frames in order, but what they say is broken, hostile or none of our business."""

from __future__ import annotations

import pytest
import trio
from tests.sim.faults.forged import book_frame, checksum, true_rows
from tests.sim.faults.harness import HEALED, Scene, run_in_world

from kraken_engine import Stale

HEALED_S = 1.0
"""The goal from a loss to a verified book."""

_BOOK = '{"channel":"book","type":"update","data":[{"symbol":"BTC/USD",'


def undecodable(scene: Scene) -> int:
    return scene.market.statistics().lines[0].undecodable


async def assert_resynced_alone(scene: Scene, symbol: str, start: float) -> None:
    """Check that the book of ``symbol`` was taken back at once and healed, and that nothing else noticed."""
    await scene.until(lambda: any(isinstance(event, Stale) for _, event in scene.book_events(symbol, start)), 0.1)
    assert await scene.until(scene.live, HEALED_S) <= HEALED_S
    await trio.sleep(5)
    assert scene.story(symbol, start)[-4:] == HEALED
    for other in scene.symbols:
        if other != symbol:
            scene.assert_untouched(other, start)
    assert scene.line_ends(start) == []


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(_BOOK + '"bids":[{"price":65000.1,"qty":0.1', id="truncated"),
        pytest.param(_BOOK + '"bids":[],"asks":[],"checksum":1,"timestamp":"2030-01-01T00:00:00Z"}]}}', id="trailing"),
        pytest.param(_BOOK + '"bids":[],"asks":[],"checksum":1}]}' + _BOOK + '"bids":[]}]}', id="two run together"),
    ],
)
def test_fault_34_a_broken_frame_costs_the_book_it_names_and_the_line_nothing(text: str) -> None:
    """I-2: unsynced before the next event, resync; counted."""

    async def scenario(scene: Scene) -> None:
        start, before = scene.now, undecodable(scene)
        scene.fault("send_text", text=text, session=scene.session)
        await assert_resynced_alone(scene, "BTC/USD", start)
        assert undecodable(scene) == before + 1

    run_in_world(scenario)


@pytest.mark.parametrize("text", ["CloudFlare WebSocket proxy restarting", "", "[]", "null", "\ufeff{}"])
def test_fault_34_a_frame_that_is_no_message_at_all_costs_no_book(text: str) -> None:
    """Counted, and no more: it cannot have been market data."""

    async def scenario(scene: Scene) -> None:
        start, before = scene.now, undecodable(scene)
        scene.fault("send_text", text=text, session=scene.session)
        await trio.sleep(5)
        for symbol in scene.symbols:
            scene.assert_untouched(symbol, start)
        assert undecodable(scene) == before + 1
        assert scene.line_ends(start) == []

    run_in_world(scenario)


def test_fault_34_three_broken_frames_within_ten_seconds_replace_the_line() -> None:
    """Count; reconnect after 3 in 10 s, and not before."""

    async def scenario(scene: Scene) -> None:
        start = scene.now
        for pause_s in (6.0, 6.0, 3.9):
            scene.fault("send_text", text="{", session=scene.session)
            await trio.sleep(pause_s)
        assert scene.line_ends(start) == []
        scene.fault("send_text", text="{", session=scene.session)
        _, down = await scene.next_line_down(start, within_s=0.1)
        assert "3 undecodable frames within 10 s" in down.reason
        assert await scene.until(scene.live, 2.0) <= 2.0

    run_in_world(scenario)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(_BOOK + '"bids":' + "[" * 100_000, id="depth 100,000"),
        pytest.param(_BOOK + '"bids":' + "[" * 100_000 + "]" * 100_000 + "}]}", id="depth 100,000, closed"),
        pytest.param(
            _BOOK + '"bids":[{"price":%s,"qty":1.0}],"asks":[],"checksum":1}]}' % ("9" * 5000), id="5,000 digits"
        ),
        pytest.param(
            _BOOK + '"bids":[{"price":1e999999999,"qty":1.0}],"asks":[],"checksum":1}]}', id="exponent of 9 digits"
        ),
        pytest.param(_BOOK + '"bids":[{"price":1e-999999999,"qty":1}],"asks":[],"checksum":1}]}', id="tiny exponent"),
        pytest.param(_BOOK + '"bids":[{"price":NaN,"qty":1.0}],"asks":[],"checksum":1}]}', id="NaN"),
        pytest.param(_BOOK + '"bids":[{"price":-Infinity,"qty":1}],"asks":[],"checksum":1}]}', id="Infinity"),
        pytest.param(_BOOK + '"bids":[{"price":-1.0,"qty":1.0}],"asks":[],"checksum":1}]}', id="negative price"),
        pytest.param(_BOOK + '"bids":[{"price":1.0,"qty":-1.0}],"asks":[],"checksum":1}]}', id="negative quantity"),
        pytest.param(_BOOK + '"bids":[],"asks":[],"checksum":1,"checksum":2}]}', id="duplicate keys"),
        pytest.param(_BOOK + '"bids":[],"asks":[],"checksum":1,"timestamp":"\\ud800"}]}', id="lone surrogate"),
        pytest.param(_BOOK + '"bids":[],"asks":[],"checksum":' + "1" * 5000 + "}]}", id="checksum of 5,000 digits"),
        pytest.param(_BOOK + '"bids":[],"asks":[],"checksum":1e400}]}', id="checksum out of range"),
        pytest.param(
            _BOOK + '"bids":[' + ",".join(['{"price":1.0,"qty":1.0}'] * 10_000) + '],"asks":[],"checksum":1}]}',
            id="10,000 levels",
        ),
        pytest.param(_BOOK + '"bids":[],"asks":[],"checksum":1,"timestamp":"' + "9" * 100_000 + '"}]}', id="long time"),
    ],
)
def test_fault_35_hostile_numbers_nesting_and_text_are_refused_and_cost_one_book(text: str) -> None:
    """Rejected as a validation error, no crash; the book it names is synchronised anew."""

    async def scenario(scene: Scene) -> None:
        start = scene.now
        scene.fault("send_text", text=text, session=scene.session)
        await assert_resynced_alone(scene, "BTC/USD", start)

    run_in_world(scenario)


def test_fault_36_unknown_channels_and_unknown_fields_are_tolerated() -> None:
    """Unknown tolerated: the venue may add what it likes."""

    async def scenario(scene: Scene) -> None:
        start, before = scene.now, undecodable(scene)
        symbol = scene.symbols[0]
        bids, asks, stamp = true_rows(scene.world.exchange, symbol)
        known = book_frame("update", symbol, bids[:1], [], crc=checksum(bids, asks), timestamp=stamp)
        texts = (
            '{"channel":"novelty","data":[]}',
            '{"channel":"novelty\\u0000<script>","type":"update"}',
            '{"channel":"heartbeat","novelty":{"a":[1]}}',
            known.replace('"checksum"', '"novelty":[{"deep":1}],"checksum"'),
        )
        for text in texts * 20:
            scene.fault("send_text", text=text, session=scene.session)
        await trio.sleep(5)
        for name in scene.symbols:
            scene.assert_untouched(name, start)
        assert undecodable(scene) == before
        assert scene.line_ends(start) == []

    run_in_world(scenario)


@pytest.mark.parametrize(
    "rest",
    [
        pytest.param('"bids":[],"asks":[]}]}', id="checksum missing"),
        pytest.param('"asks":[],"checksum":1}]}', id="bids missing"),
        pytest.param('"bids":[],"asks":[],"checksum":"1"}]}', id="checksum as text"),
        pytest.param('"bids":{},"asks":[],"checksum":1}]}', id="bids as object"),
        pytest.param('"bids":[{"price":"1.0","qty":1.0}],"asks":[],"checksum":1}]}', id="price as text"),
        pytest.param('"bids":[{"price":null,"qty":1.0}],"asks":[],"checksum":1}]}', id="price null"),
        pytest.param('"bids":[{"price":1.0}],"asks":[],"checksum":1}]}', id="quantity missing"),
        pytest.param('"bids":[],"asks":[],"checksum":1,"timestamp":"yesterday"}]}', id="time that is none"),
    ],
)
def test_fault_36_a_missing_field_or_a_wrong_type_is_a_gap_of_that_book_alone(rest: str) -> None:
    """Missing = I-2."""

    async def scenario(scene: Scene) -> None:
        start = scene.now
        scene.fault("send_text", text=_BOOK + rest, session=scene.session)
        await assert_resynced_alone(scene, "BTC/USD", start)

    run_in_world(scenario)


def test_fault_37_a_symbol_nobody_asked_for_is_ignored_and_counted() -> None:
    """Ignored, counted, label-safe."""

    async def scenario(scene: Scene) -> None:
        start, before = scene.now, undecodable(scene)
        view = scene.market.pool.lines[0].views["book"]
        ignored = view.unsubscribed
        symbols = ("SOL/USD", "NO/SUCH", "\\u001b[31m\\nfake log line", "x" * 10_000)
        for symbol in symbols:
            rows = [["1.0", "1.0"]]
            for kind in ("snapshot", "update"):
                text = book_frame(kind, symbol, rows, [], crc=checksum(rows, []))
                scene.fault("send_text", text=text, session=scene.session)
        await trio.sleep(5)
        assert view.unsubscribed == ignored + 2 * len(symbols)
        for symbol in scene.symbols:
            scene.assert_untouched(symbol, start)
        assert undecodable(scene) == before
        known = {str(part) for key in scene.market.publisher._gate.latest for part in key}
        assert not known & {"SOL/USD", "NO/SUCH"}

    run_in_world(scenario)
