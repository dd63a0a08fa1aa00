"""``kraken-engine orders``: the open orders of an account, whoever placed them."""

from __future__ import annotations

from typing import Any

from kraken_engine.cli.one_account import number, open_one_account, table
from kraken_engine.cli.output import print_json, print_text
from kraken_engine.cli.parameters import Flag, Seconds
from kraken_engine.normalise.account_events import Order

__all__ = ["orders"]


async def orders(
    account: str = "main",
    /,
    *,
    config: str | None = None,
    sim: Flag = False,
    wait: Seconds = 30.0,
    json: Flag = False,
) -> int:
    """Show the open orders of an account.

    Parameters
    ----------
    account
        Its name in the configuration.
    config
        The configuration file.
    sim
        Instead: the test account of the embedded simulated venue, with a few orders.
    wait
        How many seconds to wait for the account to be in step with the venue.
    json
        Print one line of JSON.
    """
    async with open_one_account(account, config=config, sim=sim, wait_s=wait) as (opened, _):
        listed = list(opened.open_orders().values())
    if json:
        print_json({"account": account, "orders": [_as_json(order) for order in listed]})
        return 0
    head = ("order", "symbol", "side", "type", "price", "qty", "filled", "status")
    rows = [
        (
            order.order_id,
            order.symbol,
            order.side.value,
            str(order.order_type),
            number(order.limit_price),
            number(order.order_qty),
            number(order.cum_qty),
            str(order.status),
        )
        for order in listed
    ]
    print_text(table(head, rows) if rows else "no open orders\n")
    return 0


def _as_json(order: Order) -> dict[str, Any]:
    return {
        "order_id": order.order_id,
        "cl_ord_id": order.cl_ord_id,
        "symbol": order.symbol,
        "side": order.side.value,
        "order_type": str(order.order_type),
        "time_in_force": str(order.time_in_force),
        "status": str(order.status),
        "limit_price": number(order.limit_price) or None,
        "order_qty": number(order.order_qty) or None,
        "cum_qty": number(order.cum_qty),
        "cum_cost": number(order.cum_cost),
        "external": order.external,
        "opened": order.opened_time,
    }
