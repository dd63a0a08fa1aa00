"""The balances of one account: what the venue says each asset is worth, and what open orders hold of it.

Three shapes come in: the snapshot of the ``balances`` channel, its transactions (each with the balance after it, which
is taken as the truth), and rows of ``asset, balance, hold_trade``. The channel tells nothing of holds, so ``used`` is
computed from the open orders; :meth:`Balances.compare` checks both against the venue's own word, REST ``BalanceEx``.

Knows nothing of sequences, connections or time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal

import attrs

from kraken_engine.model import Instrument, Integrity, Side, Source, minus, plus, times
from kraken_engine.normalise.account import BalanceReport
from kraken_engine.normalise.account_events import BalanceUpdate, LedgerEntry, Order

__all__ = ["Balances", "ConsistencyReport", "Difference", "hold_tolerance", "holds"]

_ZERO = Decimal(0)


@attrs.frozen(kw_only=True)
class Difference:
    """One asset of which the venue's two answers are not the same."""

    asset: str
    what: str
    """``total`` or ``used``."""
    ours: Decimal
    theirs: Decimal


@attrs.frozen(kw_only=True)
class ConsistencyReport:
    """What came of comparing the balances kept here with the venue's own word for them."""

    compared: int
    """Assets looked at."""
    differences: tuple[Difference, ...]
    at_s: float
    """Monotonic seconds of the comparison."""

    @property
    def consistent(self) -> bool:
        """Whether nothing differs."""
        return not self.differences


@attrs.define
class _Asset:
    total: Decimal
    earn: Decimal = _ZERO
    used: Decimal = _ZERO
    source: Source = Source.WEBSOCKET_V2
    received_s: float = 0.0
    venue_time: str | None = None


@attrs.define
class Balances:
    """What one account has, by asset."""

    account: str
    _assets: dict[str, _Asset] = attrs.field(factory=dict[str, _Asset], init=False)

    # -- questions

    def get(self, asset: str) -> BalanceUpdate | None:
        """Return what is known of one asset."""
        known = self._assets.get(asset)
        return None if known is None else self._shown(asset, known, None)

    def all(self) -> dict[str, BalanceUpdate]:
        """Return what is known, by asset."""
        return {asset: self._shown(asset, known, None) for asset, known in self._assets.items()}

    def compare(
        self,
        totals: Mapping[str, tuple[Decimal, Decimal | None]],
        *,
        orders: Collection[Order] = (),
        now: float,
    ) -> ConsistencyReport:
        """Compare with the venue's answer: total, and what it holds for open orders (None: it does not say), by asset.

        An asset that only one side knows counts as zero on the other. Totals have to be equal; a hold may differ by one
        unit of its last digit for each of the open ``orders``, since the venue rounds each of them.
        """
        found: list[Difference] = []
        assets = sorted({*self._assets, *totals})
        for asset in assets:
            ours = self._assets.get(asset, _Asset(_ZERO))
            total, used = totals.get(asset, (_ZERO, _ZERO))
            if ours.total != total:
                found.append(Difference(asset=asset, what="total", ours=ours.total, theirs=total))
            if used is not None and abs(minus(ours.used, used)) > hold_tolerance(used, len(orders)):
                found.append(Difference(asset=asset, what="used", ours=ours.used, theirs=used))
        return ConsistencyReport(compared=len(assets), differences=tuple(found), at_s=now)

    # -- what the venue says

    def snapshot(
        self, reports: Iterable[BalanceReport], *, source: Source, received_s: float
    ) -> tuple[BalanceUpdate, ...]:
        """Take over a full list; an asset that is not in it is gone. Returns what differs from before."""
        before = self.all()
        used = {asset: known.used for asset, known in self._assets.items()}
        self._assets = {}
        for report in reports:
            self._assets[report.asset] = _Asset(
                total=report.total,
                earn=report.earn or _ZERO,
                used=report.used if report.used is not None else used.get(report.asset, _ZERO),
                source=source,
                received_s=received_s,
                venue_time=report.venue_time,
            )
        for asset, held in used.items():
            if asset not in self._assets and (held or before[asset].total):
                self._assets[asset] = _Asset(_ZERO, used=held, source=source, received_s=received_s)
        return tuple(update for asset, update in self.all().items() if not _same(before.get(asset), update))

    def apply(self, report: BalanceReport, *, received_s: float) -> BalanceUpdate:
        """Take over one transaction: its balance as the truth, its amount for the wallet it was in."""
        known = self._assets.setdefault(report.asset, _Asset(_ZERO))
        known.total = report.total
        if report.in_earn and report.change is not None:
            known.earn = plus(known.earn, plus(report.change.amount, report.change.fee.copy_negate()))
        known.source, known.received_s, known.venue_time = Source.WEBSOCKET_V2, received_s, report.venue_time
        return self._shown(report.asset, known, report.change)

    def hold(self, held: Mapping[str, Decimal]) -> tuple[BalanceUpdate, ...]:
        """Take over what open orders hold now, see :func:`holds`. Returns what differs from before."""
        changed: list[BalanceUpdate] = []
        for asset in held:
            self._assets.setdefault(asset, _Asset(_ZERO))
        for asset, known in self._assets.items():
            used = held.get(asset, _ZERO)
            if used != known.used:
                known.used = used
                changed.append(self._shown(asset, known, None))
        return tuple(changed)

    def _shown(self, asset: str, known: _Asset, change: LedgerEntry | None) -> BalanceUpdate:
        return BalanceUpdate(
            account=self.account,
            source=known.source,
            received_s=known.received_s,
            venue_time=known.venue_time,
            integrity=Integrity.VERIFIED if known.source is Source.WEBSOCKET_V2 else Integrity.UNVERIFIED,
            asset=asset,
            total=known.total,
            used=known.used,
            earn=known.earn,
            change=change,
        )


def holds(orders: Iterable[Order], instruments: Mapping[str, Instrument]) -> dict[str, Decimal]:
    """Return what ``orders`` hold, by asset: the base of a sale, and the quote of a purchase at its limit.

    Orders on margin hold nothing here, nor does a purchase without a limit: what it will cost is not known.
    """
    held: dict[str, Decimal] = {}
    for order in orders:
        remaining = order.remaining_qty
        if order.margin or not order.is_open or remaining is None:
            continue
        known = instruments.get(order.symbol)
        base, _, quote = order.symbol.partition("/")
        if known is not None:
            base, quote = known.base, known.quote
        if order.side is Side.SELL:
            held[base] = plus(held.get(base, _ZERO), remaining)
        elif order.limit_price is not None:
            held[quote] = plus(held.get(quote, _ZERO), times(remaining, order.limit_price))
    return held


def hold_tolerance(used: Decimal, orders: int) -> Decimal:
    """Return how far what we work out may be from what the venue says is held: it rounds what each order holds."""
    return times(_unit(used), Decimal(orders))


def _unit(number: Decimal) -> Decimal:
    """Return one unit of the last digit of ``number``."""
    exponent = number.as_tuple().exponent
    return Decimal(1).scaleb(exponent) if isinstance(exponent, int) else _ZERO


def _same(before: BalanceUpdate | None, after: BalanceUpdate) -> bool:
    return before is not None and (before.total, before.used, before.earn) == (after.total, after.used, after.earn)
