"""What the operator of a venue may do to its accounts: open them, give them money, orders and fills, keep them busy.

These commands go past counters and numbers of open orders, so that a test has two hundred orders at once; what an order
may cost, and what the state of the venue allows, holds for them too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from kraken_engine.errors import ConfigError, UsageError
from kraken_engine.runtime import Rng, seeded_rng
from kraken_engine.venue.core.accounts.access import Denied
from kraken_engine.venue.core.accounts.account import Account
from kraken_engine.venue.core.accounts.desk import USER, Desk
from kraken_engine.venue.core.accounts.orders import AccountOrder, OrderRequest
from kraken_engine.venue.core.accounts.registry import Accounts
from kraken_engine.venue.core.accounts.settings import AccountSettings, KeySettings
from kraken_engine.venue.core.agenda import Happening
from kraken_engine.venue.core.listing import Listing
from kraken_engine.venue.core.matching import ASK, BID
from kraken_engine.venue.core.timestamps import NS_PER_S

__all__ = ["Operator"]

MOST_ORDERS = 1_000
MOST_STIRS_A_SECOND = 1_000.0
MOST_SECONDS = 86_400.0


@attrs.define
class _Stir:
    until_ns: int
    mean_ns: float
    margin: float
    rng: Rng


class Operator:
    """Acts on accounts. Whatever cannot be is a UsageError, and nothing happens."""

    def __init__(
        self,
        accounts: Accounts,
        desk: Desk,
        listings: Mapping[str, Listing],
        *,
        seed: int,
        wall_ns: Callable[[], int],
        at_wall: Callable[[int, Happening], None],
    ) -> None:
        self._accounts = accounts
        self._desk = desk
        self._listings = listings
        self._seed = seed
        self._wall_ns = wall_ns
        self._at_wall = at_wall
        self._stirs = 0

    def create(self, *, name: str, key: str, secret: str, **settings: Any) -> Account:
        """Open an account with one key; ``settings`` are further ones of an account, or of its key."""
        for_key = {known: settings.pop(known) for known in ("permissions", "otp") if known in settings}
        try:
            if "permissions" in for_key:
                for_key["permissions"] = tuple(for_key["permissions"])
            keys = (KeySettings(key=key, secret=secret, **for_key),)
            return self._accounts.create(AccountSettings(name=name, keys=keys, **settings), self._wall_ns())
        except (ConfigError, TypeError, AttributeError) as error:
            raise UsageError(f"account: {error}") from None

    def deposit(self, name: str, *, asset: str, amount: str) -> None:
        """Give an account money; with a minus before it, take it away."""
        account = self._accounts.named(name)
        decimals = account.ledger.asset(asset).decimals
        whole, _, rest = amount.lstrip("-").partition(".")
        if not (whole + rest).isdigit() or not (whole + rest).isascii() or len(rest) > decimals or len(whole) > 15:
            raise UsageError(f"amount: expected plain digits, at most {decimals} after the point, got {amount!r}")
        units = int(whole + rest.ljust(decimals, "0")) * (-1 if amount.startswith("-") else 1)
        if account.ledger.available(asset) + units < 0:
            raise UsageError(f"amount: expected at least what is available to stay, got {amount!r}")
        account.deposit(asset, units, self._wall_ns())

    def place(
        self,
        name: str,
        *,
        symbol: str,
        side: str,
        count: int = 1,
        lots: int | None = None,
        away: int = 50,
        step: int = 1,
        market: bool = False,
        post_only: bool = False,
        client_ids: bool = False,
        leverage: int = 0,
    ) -> list[AccountOrder]:
        """Place ``count`` orders for an account.

        Args:
            name: whose.
            symbol: in which market.
            side: ``buy`` or ``sell``.
            count: how many.
            lots: how much each, in units of the pair's last digit; by default twice the least that is allowed.
            away: ticks from the best price of the same side to the first one, outwards.
            step: ticks from each to the next, outwards.
            market: market orders instead; ``away`` and ``step`` then mean nothing.
            post_only: cancelled if they would take.
            client_ids: give each a ``cl_ord_id``.
            leverage: on margin, turning over so many times what they tie up; 0: without.

        Raises:
            UsageError: a parameter is out of range, or the venue refuses an order; those before it stay.
        """
        account = self._accounts.named(name)
        listing = self._listings.get(symbol)
        if listing is None:
            raise UsageError(f"symbol: expected a listed one such as {next(iter(self._listings))}, got {symbol!r}")
        if side not in ("buy", "sell"):
            raise UsageError(f"side: expected buy or sell, got {side!r}")
        if not 1 <= count <= MOST_ORDERS:
            raise UsageError(f"count: expected 1 to {MOST_ORDERS}, got {count}")
        bid_or_ask = BID if side == "buy" else ASK
        if leverage and leverage not in listing.pair.leverage:
            allowed = ", ".join(map(str, (0, *listing.pair.leverage)))
            raise UsageError(f"leverage: expected one of {allowed} for {symbol}, got {leverage}")
        best = listing.flow.book.best(bid_or_ask)
        if best is None:
            raise UsageError(f"symbol: expected a market with orders, got {symbol!r}")
        outwards = -1 if side == "buy" else 1
        placed: list[AccountOrder] = []
        for place in range(count):
            price = best + outwards * (away + place * step)
            if price <= 0:
                raise UsageError(f"away: expected a price above 0, got {price} ticks")
            request = OrderRequest(
                pair=listing.pair,
                side=bid_or_ask,
                kind="market" if market else "limit",
                qty=lots or 2 * listing.pair.qty_min,
                price=None if market else price,
                post_only=post_only and not market,
                cl_ord_id=account.ids.order().lower().replace("-", "") if client_ids else None,
                leverage=leverage,
            )
            try:
                placed.append(self._desk.place(account, request, self._wall_ns(), limited=False))
            except Denied as denied:
                raise UsageError(f"order {place + 1} of {count}: {denied}") from None
        return placed

    def fill(self, name: str, *, count: int = 1, percent: int = 100, order_id: str | None = None) -> int:
        """Let the crowd take ``percent`` of what is left of the oldest ``count`` open orders, or of one.

        Returns:
            How many orders that were.
        """
        if not 1 <= percent <= 100:
            raise UsageError(f"percent: expected 1 to 100, got {percent}")
        account = self._accounts.named(name)
        orders = list(account.orders.values())[:count] if order_id is None else [self._open(account, order_id)]
        for order in orders:
            self._desk.fill(order, max(1, order.left * percent // 100), self._wall_ns())
        return len(orders)

    def cancel(self, name: str, *, order_id: str | None = None, reason: str = "Cancelled by the operator") -> int:
        """Cancel an open order, or every one, of the venue's own accord; return how many."""
        account = self._accounts.named(name)
        orders = list(account.orders.values()) if order_id is None else [self._open(account, order_id)]
        for order in orders:
            self._desk.unsolicited(account, order, reason, self._wall_ns())
        return len(orders)

    def stir(self, name: str, *, seconds: float, per_second: float = 5.0, margin: float = 0.0) -> None:
        """Keep an account busy for a while: fills, new orders, cancels, at random times that follow from the seed.

        ``margin`` is the share of the new orders that are on margin, where the pair allows it.
        """
        self._accounts.named(name)
        if not 0 < seconds <= MOST_SECONDS:
            raise UsageError(f"seconds: expected more than 0 and at most {MOST_SECONDS:g}, got {seconds!r}")
        if not 0 < per_second <= MOST_STIRS_A_SECOND:
            raise UsageError(
                f"per_second: expected more than 0 and at most {MOST_STIRS_A_SECOND:g}, got {per_second!r}"
            )
        if not 0 <= margin <= 1:
            raise UsageError(f"margin: expected 0 to 1, got {margin!r}")
        self._stirs += 1
        now_ns = self._wall_ns()
        stir = _Stir(
            until_ns=now_ns + round(seconds * NS_PER_S),
            mean_ns=NS_PER_S / per_second,
            margin=margin,
            rng=seeded_rng(f"{self._seed}:stir:{name}:{self._stirs}"),
        )

        def again(_: int) -> None:
            self._stir_once(name, stir)
            plan()

        def plan() -> None:
            at_ns = self._wall_ns() + 1 + int(stir.rng.expovariate(1.0) * stir.mean_ns)
            if at_ns <= stir.until_ns:
                self._at_wall(at_ns, again)

        plan()

    def _stir_once(self, name: str, stir: _Stir) -> None:
        rng = stir.rng
        account = self._accounts.named(name)
        orders = list(account.orders.values())
        draw = rng.random()
        if orders and draw < 0.5:
            order = orders[int(rng.random() * len(orders))]
            self._desk.fill(order, max(1, int(order.left * (1.0 if draw < 0.3 else rng.random()))), self._wall_ns())
        elif orders and draw < 0.65:
            self._desk.unsolicited(account, orders[int(rng.random() * len(orders))], USER, self._wall_ns())
        else:
            symbols = list(self._listings)
            side = "buy" if rng.random() < 0.5 else "sell"
            symbol = symbols[int(rng.random() * len(symbols))]
            away, market = int(rng.random() * 40), rng.random() < 0.2
            pair = self._listings[symbol].pair
            leverage = pair.leverage[0] if stir.margin and rng.random() < stir.margin and pair.leverage else 0
            try:
                self.place(name, symbol=symbol, side=side, away=away, market=market, leverage=leverage)
            except UsageError:
                return  # out of money, or the venue takes no orders: somebody else has more luck

    def _open(self, account: Account, order_id: str) -> AccountOrder:
        order = account.orders.get(order_id)
        if order is None:
            raise UsageError(f"order_id: expected one that is open, got {order_id!r}")
        return order
