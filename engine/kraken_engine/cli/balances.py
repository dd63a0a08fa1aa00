"""``kraken-engine balances``: what an account has, what of it is free, and whether the venue says the same."""

from __future__ import annotations

from kraken_engine.cli.one_account import number, open_one_account, table
from kraken_engine.cli.output import print_json, print_text
from kraken_engine.cli.parameters import Flag, Seconds

__all__ = ["balances"]


async def balances(
    account: str = "main",
    /,
    *,
    config: str | None = None,
    sim: Flag = False,
    check: Flag = False,
    wait: Seconds = 30.0,
    json: Flag = False,
) -> int:
    """Show what an account has: free, used by open orders, and in total.

    Parameters
    ----------
    account
        Its name in the configuration.
    config
        The configuration file.
    sim
        Instead: the test account of the embedded simulated venue.
    check
        Ask REST for balances and holds too, and compare.
    wait
        How many seconds to wait for the account to be in step with the venue.
    json
        Print one line of JSON.
    """
    async with open_one_account(account, config=config, sim=sim, wait_s=wait) as (opened, _):
        held = sorted(opened.holdings().items())
        report = await opened.check_balances() if check else None
    differences = [] if report is None else [
        {"asset": d.asset, "what": d.what, "ours": number(d.ours), "theirs": number(d.theirs)}
        for d in report.differences
    ]  # fmt: skip
    if json:
        rows = [
            {
                "asset": asset,
                "free": number(balance.free),
                "used": number(balance.used),
                "earn": number(balance.earn),
                "total": number(balance.total),
                "timestamp": balance.venue_time,
                "source": str(balance.source),
            }
            for asset, balance in held
        ]
        print_json({"account": account, "balances": rows, "checked": check, "differences": differences})
    else:
        head = ("asset", "free", "used", "total", "source")
        lines = [(a, number(b.free), number(b.used), number(b.total), str(b.source)) for a, b in held]
        print_text(table(head, lines))
        for found in differences:
            print_text("DIFFERS: {asset} {what}: {ours} here, {theirs} at the venue\n".format_map(found))
        if check and not differences:
            print_text("the same at the venue, balances and holds\n")
    return 1 if differences else 0
