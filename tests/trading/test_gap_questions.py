"""What REST is asked about a gap is answered whole, or in a way that ends, whatever the venue lists (any more)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
import trio
from tests.rest.harness import TinyVenue, rest_of

from kraken_engine.errors import RestFailed
from kraken_engine.state.gap_closure import AskClosed, AskTrades
from kraken_engine.trading import gap_questions
from kraken_engine.trading.gap_questions import answer

SINCE = "2026-11-22T00:00:00.000000Z"
ORDER: dict[str, Any] = {
    "status": "canceled", "opentm": 1795305600.5, "closetm": 1795305601.5, "vol": "1.5", "vol_exec": "0.5",
    "descr": {"pair": "XBTUSD", "type": "sell", "ordertype": "limit", "price": "100.0"},
}  # fmt: skip
FILL: dict[str, Any] = {
    "ordertxid": "O1", "pair": "XXBTZUSD", "time": 1795305601.25, "type": "buy", "ordertype": "limit", "price": "2",
    "cost": "2", "fee": "0.1", "vol": "1",
}  # fmt: skip


def page(number: int, key: str, row: dict[str, Any], count: int) -> dict[str, Any]:
    return {key: {f"{key}-{number}-{n}": row for n in range(50)}, "count": count}


async def test_a_fill_of_a_pair_that_was_delisted_since_is_named_by_what_its_name_says(
    autojump_clock: trio.testing.MockClock,
) -> None:
    venue = TinyVenue()
    fills = {"T1": FILL, "T2": FILL | {"pair": "MATICUSD"}, "T3": FILL | {"pair": "LUNAWHAT"}}
    venue.script["TradesHistory"] = [{"trades": fills, "count": 3}]
    async with rest_of(venue) as rest:
        reports = await answer(AskTrades(SINCE), rest.private, account="main")
    named = {report.exec_id: (report.symbol, dict(report.fees or {})) for report in reports}
    fee = Decimal("0.1")
    assert named == {
        "T1": ("BTC/USD", {"USD": fee}),
        "T2": ("MATIC/USD", {"USD": fee}),
        "T3": ("LUNAWHAT", {"quote of LUNAWHAT": fee}),
    }


async def test_of_closed_orders_a_thousand_are_listed_and_the_rest_is_left_to_questions_by_id(
    autojump_clock: trio.testing.MockClock,
) -> None:
    venue = TinyVenue()
    venue.script["ClosedOrders"] = [page(n, "closed", ORDER, 1_234) for n in range(25)]
    async with rest_of(venue) as rest:
        reports = await answer(AskClosed(SINCE), rest.private, account="main")
    assert len({report.order_id for report in reports}) == 1_000
    assert venue.names().count("ClosedOrders") == 20


async def test_fills_are_listed_to_the_last_or_not_at_all(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    venue = TinyVenue()
    venue.script["TradesHistory"] = [page(n, "trades", FILL, 120) for n in range(3)]
    async with rest_of(venue) as rest:
        assert len(await answer(AskTrades(SINCE), rest.private, account="main")) == 150
        monkeypatch.setattr(gap_questions, "MOST_PAGES", 2)
        venue.script["TradesHistory"] = [page(n, "trades", FILL, 120) for n in range(3)]
        with pytest.raises(RestFailed, match=f"120 fills since {SINCE}, expected 100 at most"):
            await answer(AskTrades(SINCE), rest.private, account="main")
    assert venue.names().count("TradesHistory") == 3 + 1, "what will not be whole is not begun"
