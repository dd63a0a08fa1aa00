"""``kraken-engine fills``: the fills of an account that are on record, and those that come."""

from __future__ import annotations

from typing import Annotated, Any

import trio
from cyclopts import Parameter
from cyclopts.validators import Number

from kraken_engine.cli.one_account import number, open_one_account
from kraken_engine.cli.output import json_line, print_json, print_text, print_while_others_run
from kraken_engine.cli.parameters import Flag, Seconds
from kraken_engine.trading.fill_stream import DeliveredFill

__all__ = ["fills"]

Since = Annotated[int, Parameter(validator=Number(gte=0))]


async def fills(
    account: str = "main",
    /,
    *,
    config: str | None = None,
    sim: Flag = False,
    since: Since = 0,
    seconds: Seconds | None = None,
    wait: Seconds = 30.0,
    json: Flag = False,
) -> int:
    """Show the fills of an account, in the order in which they were learnt of.

    Parameters
    ----------
    account
        Its name in the configuration. What is on record is in its state directory.
    config
        The configuration file.
    sim
        Instead: the test account of the embedded simulated venue, with a few fills.
    since
        Only those after this number.
    seconds
        Go on for so long, and show what comes; without it, what is on record.
    wait
        How many seconds to wait for the account to be in step with the venue.
    json
        Print one line of JSON per fill, and a summary as the last line.
    """
    async with open_one_account(account, config=config, sim=sim, wait_s=wait) as (opened, operator):
        if operator is not None:
            operator.fill(account, count=3, percent=50)
        stream = opened.fills(min(since, await opened.last_fill()))  # what is just being learnt of has no number yet
        shown = 0
        with trio.move_on_after(1.0 if seconds is None else seconds):  # those just learnt of are on their way to disk
            while True:
                delivered = await stream.__anext__()
                if delivered.number <= since:
                    continue
                shown += 1
                await print_while_others_run(json_line(_as_json(delivered)) if json else _line(delivered))
        last = await opened.last_fill()
    if json:
        print_json({"account": account, "fills": shown, "last": last})
    else:
        print_text(f"{shown} fills; the last one on record is number {last}\n")
    return 0


def _line(delivered: DeliveredFill) -> str:
    fill = delivered.fill
    what = f"{fill.side.value} {number(fill.qty)} {fill.symbol} at {number(fill.price)}"
    fees = ", ".join(f"{number(fee)} {asset}" for asset, fee in fill.fees.items()) or "no"
    late = " (fetched afterwards)" if fill.replayed else ""
    return f"{delivered.number}  {fill.venue_time}  {what}  fees {fees}  {fill.exec_id}{late}\n"


def _as_json(delivered: DeliveredFill) -> dict[str, Any]:
    fill = delivered.fill
    return {
        "number": delivered.number,
        "exec_id": fill.exec_id,
        "order_id": fill.order_id,
        "cl_ord_id": fill.cl_ord_id,
        "symbol": fill.symbol,
        "side": fill.side.value,
        "qty": number(fill.qty),
        "price": number(fill.price),
        "cost": number(fill.cost),
        "fees": {asset: number(fee) for asset, fee in fill.fees.items()},
        "liquidity": None if fill.liquidity is None else str(fill.liquidity),
        "timestamp": fill.venue_time,
        "source": str(fill.source),
        "replayed": fill.replayed,
        "external": fill.external,
    }
