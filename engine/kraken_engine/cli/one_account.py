"""What the commands about an account share: which one, how it is opened, and how its values are written."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal

import attrs
import trio

from kraken_engine.config import Config
from kraken_engine.errors import StartupError, UsageError
from kraken_engine.tasks.engine import open_engine
from kraken_engine.trading.account import Account
from kraken_engine.venue.core.accounts.operator import Operator

__all__ = ["number", "open_one_account", "table"]

_SIMULATED = "main"


@asynccontextmanager
async def open_one_account(
    name: str, *, config: str | None, sim: bool, wait_s: float, on_margin: bool = False
) -> AsyncGenerator[tuple[Account, Operator | None]]:
    """Open one account of a configuration file, or that of the embedded venue, and wait until it is live.

    The operator of the embedded venue has placed a few orders before, and opened two positions if they are to be
    ``on_margin``; there is none elsewhere.

    Raises:
        UsageError: neither a file nor ``sim``, or both, or no such account.
        StartupError: the account was not live in time; says why.
    """
    if sim == (config is not None):
        raise UsageError("expected one of --config FILE and --sim")
    settings = Config.simulated() if config is None else Config.load(config)
    if not sim:
        if name not in settings.accounts:
            known = ", ".join(settings.accounts) or "none"
            raise UsageError(f"{config}: no account called {name}; there is {known}")
        settings = attrs.evolve(settings, accounts={name: settings.accounts[name]})
    elif name != _SIMULATED:
        raise UsageError(f"--sim has one account, called {_SIMULATED}; got {name}")
    async with open_engine(settings) as engine:
        operator = None
        if engine.market.venue is not None:
            operator = engine.market.venue.exchange.private.operator
            for side, symbol in (("sell", "BTC/USD"), ("buy", "ETH/USD"), ("buy", "BTC/USD")):
                operator.place(name, symbol=symbol, side=side, lots=2_000_000, away=80, count=2, client_ids=True)
            if on_margin:
                for side, symbol in (("buy", "BTC/USD"), ("sell", "ETH/USD")):
                    operator.place(name, symbol=symbol, side=side, market=True, leverage=2)
        account = engine.accounts[name]
        with trio.move_on_after(wait_s):
            await account.wait_live()
        if not account.may_trade:
            raise StartupError([f"account {name}: not in step with the venue within {wait_s:g} s", account.why])
        yield account, operator


def number(value: Decimal | None) -> str:
    """Return a number with its digits, never with an exponent; nothing for None."""
    return "" if value is None else format(value, "f")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows under a head, as text in columns; the first column to the left, the others to the right."""
    lines = [head, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "".join(
        "  ".join(cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(columns)) + "\n"
        for columns in (list(zip(line, widths, strict=True)) for line in lines)
    )
