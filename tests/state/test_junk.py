"""An undecodable frame costs what it may have changed, and several of them the connection."""

from __future__ import annotations

import pytest

from kraken_engine.errors import DecodeError
from kraken_engine.state.junk import JUNK_FRAMES, JUNK_WINDOW_S, Junk, Lost

ERROR = DecodeError("$.data[0].bids", "array", "nothing")
WHY = f"undecodable frame ({ERROR})"
CHANNELS = ("book", "ticker", "trade")


@pytest.mark.parametrize(
    ("frame", "cost"),
    [
        (b'{"channel":"book","data":[{"symbol":"BTC/USD"', [("book", Lost(WHY, "BTC/USD"))]),
        (b'{"channel":"book","data":[{', [("book", Lost(WHY, None))]),
        (b'{"channel":"book","data":[{"symbol":"A/USD"},{"symbol":"B/USD"', [("book", Lost(WHY, None))]),
        (b'{"chan', [(channel, Lost(WHY, None)) for channel in CHANNELS]),
        (b'{"channel":"level3","data":[{"symbol":"BTC/USD"', []),
        (b"CloudFlare WebSocket proxy restarting", []),
    ],
)
def test_a_frame_costs_what_it_names_and_everything_when_it_names_nothing(
    frame: bytes, cost: list[tuple[str, Lost]]
) -> None:
    assert Junk(CHANNELS).cost(frame, ERROR) == cost


def test_so_many_within_the_window_are_the_end_and_the_last_fault_is_named() -> None:
    junk = Junk(CHANNELS)
    verdicts = [junk.verdict(ERROR, now=float(at)) for at in range(JUNK_FRAMES)]
    assert verdicts[:-1] == [None] * (JUNK_FRAMES - 1)
    assert verdicts[-1] == f"3 undecodable frames within 10 s, last: {ERROR}"


def test_the_same_number_over_a_longer_time_is_borne() -> None:
    junk = Junk(CHANNELS)
    apart_s = JUNK_WINDOW_S / (JUNK_FRAMES - 1)
    assert [junk.verdict(ERROR, now=at * apart_s) for at in range(20)] == [None] * 20
