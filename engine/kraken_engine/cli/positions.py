"""``kraken-engine positions``: what an account has open on margin, and whether that is certain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import trio

from kraken_engine.cli.one_account import number, open_one_account, table
from kraken_engine.cli.output import print_json, print_text
from kraken_engine.cli.parameters import Flag, Seconds
from kraken_engine.errors import Stale, StartupError
from kraken_engine.trading.account import Account, PositionReading

__all__ = ["positions"]


async def positions(
    account: str = "main",
    /,
    *,
    config: str | None = None,
    sim: Flag = False,
    wait: Seconds = 30.0,
    json: Flag = False,
) -> int:
    """Show what an account has open on margin.

    Parameters
    ----------
    account
        Its name in the configuration.
    config
        The configuration file.
    sim
        Instead: the test account of the embedded simulated venue, with two positions.
    wait
        How many seconds to wait for the account to be in step with the venue, and then for its positions.
    json
        Print one line of JSON.
    """
    async with open_one_account(account, config=config, sim=sim, wait_s=wait, on_margin=True) as (opened, _):
        listed = await _known(opened, wait)
        rows = [_as_json(reading) for reading in listed.values()]
    if json:
        print_json({"account": account, "positions": rows})
        return 0
    head = ("symbol", "side", "qty", "cost", "realised", "source", "verified")
    lines = [[str(row[name]) for name in head[:-1]] + ["yes" if row["verified"] else "no"] for row in rows]
    print_text(table(head, lines) if rows else "no open positions\n")
    for row in rows:
        if row["why"]:
            print_text(f"not verified: {row['symbol']}: {row['why']}\n")
    return 0


async def _known(account: Account, wait_s: float) -> Mapping[str, PositionReading]:
    """Wait until the venue has said what is open.

    Raises:
        StartupError: it did not say so in time; says why.
    """
    try:
        with trio.move_on_after(wait_s):
            await account.wait_positions()
        return account.positions()
    except Stale as stale:
        raise StartupError([f"account {account.name}: no positions within {wait_s:g} s", stale.why]) from None


def _as_json(reading: PositionReading) -> dict[str, Any]:
    position = reading.position
    return {
        "symbol": reading.symbol,
        "side": "" if position is None else position.side.value,
        "qty": "0" if position is None else number(position.qty),
        "cost": "0" if position is None else number(position.cost),
        "lots": []
        if position is None
        else [{"qty": number(lot.qty), "price": number(lot.price)} for lot in position.lots],
        "realised": number(reading.realised),
        "source": str(reading.source),
        "verified": reading.verified,
        "why": reading.why,
    }
