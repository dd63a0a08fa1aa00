"""What an account owns, to the last digit: balances, what open orders hold of them, and the ledger that explains them.

Amounts are integers in units of ``10 ** -decimals`` of their asset. A balance is the sum of its ledger entries, amounts
less fees, and holds never exceed it: whoever asks for a hold has been told before what is available.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import attrs

from kraken_engine.errors import UsageError
from kraken_engine.venue.core.instruments import Asset, plain

__all__ = ["Ledger", "LedgerEntry", "ceiled", "floored", "halved_up"]

ENTRIES_KEPT = 50_000


def halved_up(value: int, decimals: int, to_decimals: int) -> int:
    """Return ``value`` with so many decimals, rounded half up."""
    if to_decimals >= decimals:
        return value * _power(to_decimals - decimals)
    scale = _power(decimals - to_decimals)
    return (2 * value + scale) // (2 * scale)


def floored(value: int, decimals: int, to_decimals: int) -> int:
    """Return ``value`` with so many decimals, rounded down."""
    if to_decimals >= decimals:
        return value * _power(to_decimals - decimals)
    return value // _power(decimals - to_decimals)


def ceiled(value: int, decimals: int, to_decimals: int) -> int:
    """Return ``value`` with so many decimals, rounded up."""
    return -floored(-value, decimals, to_decimals)


def _power(exponent: int) -> int:
    return int(10**exponent)


@attrs.frozen(kw_only=True)
class LedgerEntry:
    """One change of a balance."""

    id: str
    ref_id: str
    wall_ns: int
    kind: str
    """``trade``, ``margin``, ``deposit`` or ``withdrawal``."""
    asset: Asset
    amount: int
    """Signed; the fee comes on top."""
    fee: int
    balance: int
    """Of the asset, after this."""


@attrs.define
class _Stock:
    asset: Asset
    balance: int = 0
    hold: int = 0
    reserve: int = 0


class Ledger:
    """The money of one account."""

    def __init__(self, assets: Mapping[str, Asset]) -> None:
        """Own nothing; ``assets`` by modern code are those that the venue lists."""
        self.entries: deque[LedgerEntry] = deque(maxlen=ENTRIES_KEPT)
        """The last 50,000, oldest first."""
        self.booked = 0
        """Entries made in all."""
        self._assets = assets
        self._stocks: dict[str, _Stock] = {}

    @property
    def assets(self) -> list[Asset]:
        """Every asset that was ever owned, in order of first appearance."""
        return [stock.asset for stock in self._stocks.values()]

    def asset(self, code: str) -> Asset:
        """Return a listed asset. UsageError: it is not."""
        if code not in self._assets:
            raise UsageError(f"asset: expected one of {', '.join(self._assets)}, got {code!r}")
        return self._assets[code]

    def balance(self, code: str) -> int:
        """Return the whole balance."""
        stock = self._stocks.get(code)
        return 0 if stock is None else stock.balance

    def hold(self, code: str) -> int:
        """Return what open orders hold of it, fees aside."""
        stock = self._stocks.get(code)
        return 0 if stock is None else stock.hold

    def available(self, code: str) -> int:
        """Return what a new order may use: the balance less holds, and less what is set aside for fees."""
        stock = self._stocks.get(code)
        return 0 if stock is None else stock.balance - stock.hold - stock.reserve

    def text(self, code: str, amount: int) -> str:
        """Return an amount as the venue writes it."""
        return plain(amount, self._assets[code].decimals)

    def set_aside(self, code: str, hold: int, reserve: int) -> None:
        """Change what is held, and what is set aside for fees, by so much."""
        stock = self._stock(code)
        stock.hold += hold
        stock.reserve += reserve

    def book(
        self, code: str, amount: int, *, fee: int = 0, kind: str, entry_id: str, ref_id: str, wall_ns: int
    ) -> LedgerEntry:
        """Change a balance by ``amount`` less ``fee``, and say why."""
        stock = self._stock(code)
        stock.balance += amount - fee
        entry = LedgerEntry(
            id=entry_id,
            ref_id=ref_id,
            wall_ns=wall_ns,
            kind=kind,
            asset=stock.asset,
            amount=amount,
            fee=fee,
            balance=stock.balance,
        )
        self.entries.append(entry)
        self.booked += 1
        return entry

    def _stock(self, code: str) -> _Stock:
        stock = self._stocks.get(code)
        if stock is None:
            stock = self._stocks[code] = _Stock(self.asset(code))
        return stock
