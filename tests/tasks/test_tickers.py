"""One symbol that REST does not know costs nobody else their ticker, and one call more now and then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import pytest
import trio
import trio.testing

from kraken_engine.codec.venue_errors import rejected
from kraken_engine.codec.ws_v2 import TickerData
from kraken_engine.errors import DecodeError, EngineError, Rejected, UsageError
from kraken_engine.model import Integrity, Source
from kraken_engine.normalise.events import TickerUpdate
from kraken_engine.runtime import real_runtime
from kraken_engine.tasks.tickers import Tickers

KNOWN = ("A/B", "C/D")
REFUSALS: list[EngineError] = [
    rejected("Ticker", ["EQuery:Unknown asset pair"], read=True),
    UsageError("symbol: expected one of the venue's"),
    DecodeError("$.result", "a ticker of X/Y", "none"),
]


def ticker(symbol: str) -> TickerUpdate:
    data = TickerData(
        symbol=symbol, bid=b"1", bid_qty=b"1", ask=b"2", ask_qty=b"1", last=b"1", volume=b"1", vwap=b"1", low=b"1",
        high=b"2", change=None, change_pct=None,
    )  # fmt: skip
    return TickerUpdate(
        symbol=symbol, source=Source.REST, received_s=0.0, venue_time=None, integrity=Integrity.UNVERIFIED, data=data
    )


@attrs.define
class Rest:
    """A REST API that refuses the whole call where it does not know a symbol."""

    refusal: EngineError
    asked: list[Sequence[str]] = attrs.field(factory=list[Sequence[str]])

    async def ticker(
        self, symbols: Sequence[str] = (), *, timeout_s: float | None = None
    ) -> Mapping[str, TickerUpdate]:
        await trio.lowlevel.checkpoint()
        self.asked.append(tuple(symbols))
        if not set(symbols) <= set(KNOWN):
            raise self.refusal
        return {symbol: ticker(symbol) for symbol in symbols or KNOWN}


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: type(refusal).__name__)
async def test_everybody_else_has_an_answer_at_once_and_the_unknown_one_is_left_out_for_ten_minutes(
    refusal: EngineError, autojump_clock: trio.testing.MockClock
) -> None:
    rest = Rest(refusal)
    tickers = Tickers(rest, real_runtime().clock)
    wanted = ["A/B", "X/Y", "C/D"]
    for _ in range(2):
        assert list(await tickers.ask(wanted)) == ["A/B", "C/D"]
    assert rest.asked == [("A/B", "X/Y", "C/D"), (), ("A/B", "C/D")]
    assert await tickers.ask(["X/Y"]) == {}
    await trio.sleep(601)
    await tickers.ask(wanted)
    assert rest.asked[3:] == [("A/B", "X/Y", "C/D"), ()]


async def test_many_are_asked_for_by_asking_for_all() -> None:
    rest = Rest(REFUSALS[0])
    await Tickers(rest, real_runtime().clock).ask([f"S{n}/USD" for n in range(51)])
    assert rest.asked == [()]


async def test_what_may_be_asked_again_as_it_is_asks_for_no_more() -> None:
    rest = Rest(rejected("Ticker", ["EService:Busy"], read=True))
    with pytest.raises(Rejected):
        await Tickers(rest, real_runtime().clock).ask(["X/Y"])
    assert rest.asked == [("X/Y",)]
