"""Judges what an account holds at rest: orders, balances, what orders hold of them, positions, all as the venue has it.

What is on its way is no mistake, so this is looked at when nothing happens any more: then everything is equal to the
last digit that the venue tells. Shares no logic with the engine.
"""

from __future__ import annotations

from decimal import Decimal

import attrs

from kraken_engine.sim.world import World
from kraken_engine.trading.account import Account

__all__ = ["HoldingsJudge", "same_lots"]

COST_UNIT = Decimal("0.00001")
"""Last digit of what a position cost, as ``OpenPositions`` tells it: the price of an older lot is known by no more."""

_Lots = list[tuple[str, Decimal, Decimal]]
"""Side, quantity and price of each lot, oldest first."""


def same_lots(ours: _Lots, theirs: _Lots) -> bool:
    """Return whether two positions are one: sides and quantities to the last digit, and what each lot cost, rounded."""
    return len(ours) == len(theirs) and all(
        (side, qty) == (true_side, true_qty) and abs(price - true_price) * qty <= COST_UNIT
        for (side, qty, price), (true_side, true_qty, true_price) in zip(ours, theirs, strict=True)
    )


@attrs.frozen(eq=False)
class HoldingsJudge:
    """What one account holds, and what the venue says that it does."""

    world: World
    account: Account

    def differences(self) -> list[str]:
        """Return where an account that had time to settle is not the venue's."""
        name = self.account.name
        if not self.account.may_trade:
            return [f"{name}: not live: {self.account.why}"]
        return [f"{name}: {what}" for what in (*self._orders(), *self._positions(), *self._balances())]

    def _orders(self) -> list[str]:
        ours = self.account.open_orders()
        theirs = {order["order_id"]: order for order in self.world.exchange.private.truth.orders(self.account.name)}
        found: list[str] = []
        if set(ours) != set(theirs):
            found.append(f"open orders differ: {sorted(set(ours) ^ set(theirs))}")
        for order_id in sorted(set(ours) & set(theirs)):
            mine = (str(ours[order_id].status), ours[order_id].cum_qty, ours[order_id].order_qty)
            true = theirs[order_id]
            if mine != (true["order_status"], Decimal(true["cum_qty"]), Decimal(true["order_qty"])):
                found.append(f"{order_id}: expected {true}, got {mine}")
        return found

    def _balances(self) -> list[str]:
        truth = self.world.exchange.private.truth
        theirs = truth.balances(self.account.name)
        orders = len(truth.orders(self.account.name))
        found: list[str] = []
        for asset, holding in self.account.holdings().items():
            total, hold = Decimal(theirs[asset]["balance"]), Decimal(theirs[asset]["hold"])
            if holding.total != total:
                found.append(f"{asset}: expected {total:f}, got {holding.total:f}")
            unit = Decimal(1).scaleb(int(hold.as_tuple().exponent))  # the venue rounds what each order holds
            if abs(holding.used - hold) > orders * unit:
                found.append(f"{asset}: expected {hold:f} held by orders, got {holding.used:f}")
        return found

    def _positions(self) -> list[str]:
        """Return where a position that is called verified is not the venue's."""
        theirs: dict[str, _Lots] = {}
        for row in self.world.exchange.private.truth.positions(self.account.name):
            theirs.setdefault(row["symbol"], []).append((row["side"], Decimal(row["qty"]), Decimal(row["price"])))
        found: list[str] = []
        for symbol in self.world.exchange.symbols:
            reading = self.account.position(symbol, allow_stale=True)
            position = reading.position
            lots = () if position is None else position.lots
            ours = [(position.side.value, lot.qty, lot.price) for lot in lots if position is not None]
            if reading.verified and not same_lots(ours, theirs.get(symbol, [])):
                found.append(f"position in {symbol}: expected {theirs.get(symbol, [])}, got {ours}")
        return found
