"""What the kinds of ``catalogue_accounts`` do to a world: commands to its venue, and deeds of other people there.

A fault that finds no account, or no open order, does nothing and is not counted.
"""

from __future__ import annotations

import trio

from kraken_engine.errors import UsageError
from kraken_engine.sim.catalogue_accounts import ACCOUNT_CATALOGUE
from kraken_engine.sim.hooks import LASTS_S, Hook
from kraken_engine.sim.plan import Apply, Fault
from kraken_engine.sim.world import World

__all__ = ["ACCOUNT_FAULTS"]


def _account(world: World, fault: Fault) -> str | None:
    world.exchange.advance(trio.current_time())
    names = list(world.exchange.accounts)
    return names[fault.target % len(names)] if names else None


async def _command(world: World, fault: Fault) -> None:
    """Give the venue a command of its own; what lasts is undone in the end."""
    kind = ACCOUNT_CATALOGUE.kind(fault.kind)
    params: dict[str, object] = {name: value for name, value in fault.params.items() if name != LASTS_S}
    if kind.aims_at == "account":
        name = _account(world, fault)
        if name is None:
            return
        params["account"] = name
    faults = world.exchange.faults
    faults.apply(kind.command or fault.kind, params, trio.current_time())
    world.hit(fault, *(f"{name}={params[name]}" for name in ("account", "path") if name in params))
    lasts_s = fault.params.get(LASTS_S)
    if isinstance(lasts_s, (int, float)):
        try:
            await trio.sleep(lasts_s)
        finally:
            faults.restore_keys(str(params["account"]))
    await trio.lowlevel.checkpoint()


async def _fill(world: World, fault: Fault) -> None:
    """Let the crowd take an open order, whoever listens."""
    name = _account(world, fault)
    if name is not None and (orders := list(world.exchange.accounts[name].orders)):
        world.hit(fault, f"account={name}")
        order_id = orders[fault.target % len(orders)]
        world.exchange.private.operator.fill(name, order_id=order_id, percent=1 + fault.target % 100)
    await trio.lowlevel.checkpoint()


async def _unsolicited_cancel(world: World, fault: Fault) -> None:
    """Have the venue cancel an open order of its own accord."""
    name = _account(world, fault)
    if name is not None and (orders := list(world.exchange.accounts[name].orders)):
        world.hit(fault, f"account={name}")
        world.exchange.private.operator.cancel(name, order_id=orders[fault.target % len(orders)])
    await trio.lowlevel.checkpoint()


async def _external_order(world: World, fault: Fault) -> None:
    """Have somebody else place an order for the same account."""
    name = _account(world, fault)
    if name is not None:
        symbols = world.exchange.symbols
        symbol = symbols[fault.target % len(symbols)]
        for side in ("sell", "buy") if fault.target % 2 else ("buy", "sell"):
            try:
                world.exchange.private.operator.place(name, symbol=symbol, side=side, away=fault.target % 40)
            except UsageError:
                continue  # the account has no money for it, or the venue takes no orders now
            world.hit(fault, f"account={name}", f"symbol={symbol}", side)
            break
    await trio.lowlevel.checkpoint()


_HOOKS: dict[str, Hook] = {
    "fill": _fill,
    "unsolicited_cancel": _unsolicited_cancel,
    "external_order": _external_order,
}


def _all_hooks() -> dict[str, Apply]:
    return {kind.name: _HOOKS.get(kind.name, _command) for kind in ACCOUNT_CATALOGUE.kinds}


ACCOUNT_FAULTS = ACCOUNT_CATALOGUE.bound(_all_hooks())
"""Every kind of fault of REST calls and accounts, with its hook."""
