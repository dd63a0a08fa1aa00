"""Asks REST what the closure of a gap needs to know, page by page, with bounds.

REST's lists are newest first, fifty to a page; each page costs calls of a small budget, so no more are fetched than
reach back to the time in question.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeVar

from kraken_engine.errors import RestFailed
from kraken_engine.normalise.account_events import ExecutionReport
from kraken_engine.normalise.rest_account import RestFill, RestOrder
from kraken_engine.normalise.rest_reports import fill_report, order_report, unix_seconds
from kraken_engine.state.gap_closure import AskClosed, AskOrders, AskTrades, Question

__all__ = ["MOST_PAGES", "MOST_PAGES_OF_ORDERS", "AccountQuestions", "answer"]

_MARGIN_S = 5
"""How much earlier than needed is asked for: two of the venue's servers may not agree on the time."""
MOST_PAGES = 400
"""Pages of fills: twenty thousand. At the pace REST allows, more would take days."""
MOST_PAGES_OF_ORDERS = 20
"""Pages of closed orders: a thousand. Those that matter are asked for by their ids then, fifty in a call; one that came
and went unfilled is missed, and changed nothing."""
_ORDERS_PER_CALL = 50
_ROWS = 50
"""Rows of a page."""

_Row = TypeVar("_Row")


class AccountQuestions(Protocol):
    """What REST has to answer; the private operations of an account."""

    async def closed_orders(
        self, *, start: int | str | None = None, offset: int = 0
    ) -> tuple[dict[str, RestOrder], int]:
        """Return one page of closed orders, newest first, and how many match in all."""
        ...

    async def trades_history(
        self, *, start: int | str | None = None, offset: int = 0
    ) -> tuple[dict[str, RestFill], int]:
        """Return one page of fills, newest first, and how many match in all."""
        ...

    async def query_orders(self, order_ids: list[str]) -> dict[str, RestOrder]:
        """Return orders by the venue's ids."""
        ...


async def answer(question: Question, rest: AccountQuestions, *, account: str) -> list[ExecutionReport]:
    """Return REST's answer to ``question`` as reports.

    Raises:
        EngineError: REST did not answer, or more than can be fetched.
    """
    match question:
        case AskClosed(since=since):
            start = max(unix_seconds(since) - _MARGIN_S, 0)
            orders, _ = await _pages(
                lambda offset: rest.closed_orders(start=start, offset=offset), MOST_PAGES_OF_ORDERS
            )
            return [order_report(order, account=account) for order in orders.values()]
        case AskTrades(since=since):
            start = max(unix_seconds(since) - _MARGIN_S, 0)
            fills, count = await _pages(
                lambda offset: rest.trades_history(start=start, offset=offset), MOST_PAGES, all_or_none=True
            )
            if len(fills) < count:
                why = (
                    f"{count} fills since {since}, expected {MOST_PAGES * _ROWS} at most: an account that was away for "
                    "so many begins anew under another name, or with another state directory"
                )
                raise RestFailed("TradesHistory", why, maybe_executed=False)
            return [fill_report(fill, account=account) for fill in fills.values()]
        case AskOrders(order_ids=order_ids):
            reports: list[ExecutionReport] = []
            for i in range(0, len(order_ids), _ORDERS_PER_CALL):
                found = await rest.query_orders(list(order_ids[i : i + _ORDERS_PER_CALL]))
                reports += [order_report(order, account=account) for order in found.values()]
            return reports


async def _pages(
    fetch: Callable[[int], Awaitable[tuple[Mapping[str, _Row], int]]], most: int, *, all_or_none: bool = False
) -> tuple[dict[str, _Row], int]:
    """Return the rows of all pages, or of the first ``most``, and how many rows there are.

    Rows that come while it turns pages shift the rest: some are seen twice. ``all_or_none``: of too many pages only the
    first is turned, for they cost a key more than an hour of its calls.
    """
    rows: dict[str, _Row] = {}
    offset = count = 0
    for _ in range(most):
        page, count = await fetch(offset)
        rows.update(page)
        offset += len(page)
        if not page or offset >= count:
            return rows, len(rows)
        if all_or_none and count > most * _ROWS:
            break
    return rows, count
