"""Where orders of accounts meet the market: checked, matched in the crowd's own book, rested, amended, cancelled.

Every refusal is one of the venue's texts, raised as :class:`Denied`, before anything has changed. An order that would
take and may not (post-only), or that may not rest (IOC, FOK), is first accepted and then closed with a reason, as at
the venue. A taker leaves the last ten levels of the book alone, and never trades with an order of its own account: what
is left of it then is cancelled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from kraken_engine.venue.core.accounts.access import Denied
from kraken_engine.venue.core.accounts.account import Account
from kraken_engine.venue.core.accounts.counters import amend_cost, cancel_cost
from kraken_engine.venue.core.accounts.orders import AccountOrder, OrderRequest
from kraken_engine.venue.core.agenda import Happening
from kraken_engine.venue.core.candles import TradePrint
from kraken_engine.venue.core.instruments import Pair
from kraken_engine.venue.core.listing import Listing
from kraken_engine.venue.core.market import TOP, TradingMode
from kraken_engine.venue.core.matching import BID, Fill
from kraken_engine.venue.core.timestamps import NS_PER_S

__all__ = ["USER", "Desk"]

USER = "User requested"
POST_ONLY = "Post only order"
SWITCH = "CancelAllOrdersAfter Timeout"
SELF_TRADE = "Self trade prevention"
PROTECTED = "Market price protection"


class Desk:
    """Takes the orders of every account."""

    def __init__(self, listings: Mapping[str, Listing], at: Callable[[int, Happening], None]) -> None:
        """Serve these markets; ``at`` enters something into the agenda at a wall time."""
        self._listings = listings
        self._at = at

    def check(self, account: Account, request: OrderRequest, wall_ns: int, *, limited: bool = True) -> None:
        """Refuse a new order that may not be.

        Args:
            account: whose order.
            request: what is asked.
            wall_ns: now.
            limited: whether counters and numbers of open orders matter; the operator's own orders go without.

        Raises:
            Denied: with the venue's words.
        """
        pair = request.pair
        self._check_mode(request)
        if limited and not account.counter(pair.symbol).add(1, wall_ns):
            raise Denied("EOrder:Rate limit exceeded")
        if request.deadline_ns is not None and wall_ns > request.deadline_ns:
            raise Denied("EService:Deadline elapsed")
        if limited and _open_in(account, pair) >= account.tier.open_orders:
            raise Denied("EOrder:Orders limit exceeded")
        if request.cl_ord_id is not None and account.by_client_id(request.cl_ord_id) is not None:
            raise Denied("EGeneral:Invalid arguments:cl_ord_id not unique")
        if request.qty < pair.qty_min:
            raise Denied("EGeneral:Invalid arguments:volume minimum not met")
        turnover = self._turnover(account, request)
        if turnover < _cost_min(pair):
            raise Denied("EOrder:Cost minimum not met")
        code, needed = account.needs(
            pair, buys=request.side == BID, turnover=turnover, qty=request.qty, leverage=request.leverage
        )
        if needed > account.ledger.available(code):
            raise Denied(_too_little(request))

    def place(self, account: Account, request: OrderRequest, wall_ns: int, *, limited: bool = True) -> AccountOrder:
        """Check a new order and bring it to the market. Denied: as :meth:`check` says; nothing has changed then."""
        self.check(account, request, wall_ns, limited=limited)
        order = AccountOrder(
            id=account.ids.order(),
            account=account.name,
            request=request,
            qty=request.qty,
            price=request.price,
            post_only=request.post_only,
            opened_ns=wall_ns,
            aged_ns=wall_ns,
        )
        account.accept(order)
        self._enter(account, order, wall_ns)
        if order.open and request.expire_ns is not None:
            self._at(request.expire_ns, partial(self._expire, account, order))
        return order

    def amend(
        self,
        account: Account,
        order: AccountOrder,
        wall_ns: int,
        *,
        qty: int | None = None,
        price: int | None = None,
        post_only: bool | None = None,
    ) -> None:
        """Change an open order in place.

        Lowering the quantity keeps its place in the queue; a new price or a higher quantity loses it. A quantity not
        above what is filled ends the order.

        Raises:
            Denied: with the venue's words; nothing has changed then, the trading counter aside.
        """
        listing, pair = self._listings[order.pair.symbol], order.pair
        self._check_mode(order.request)
        if not account.counter(pair.symbol).add(amend_cost(wall_ns - order.aged_ns), wall_ns):
            raise Denied("EOrder:Rate limit exceeded")
        new_qty = order.qty if qty is None else qty
        new_price = order.price if price is None else price
        strict = order.post_only if post_only is None else post_only
        moved = new_price != order.price
        if new_price is None or order.book_id is None:
            raise Denied("EOrder:Unknown order")
        if new_qty <= order.cum_qty:
            self._end(account, order, USER, wall_ns)
            return
        if new_qty < pair.qty_min:
            raise Denied("EGeneral:Invalid arguments:volume minimum not met")
        if moved and strict and self._would_take(listing, order.request.side, new_price):
            raise Denied("EOrder:Post only order")
        left = new_qty - order.cum_qty
        code, needed = account.needs(
            pair, buys=order.buys, turnover=new_price * left, qty=left, leverage=order.request.leverage
        )
        if needed > account.ledger.available(code) + order.hold + order.reserve:
            raise Denied(_too_little(order.request))
        listing.act_at(wall_ns)
        if not moved and left < order.left:
            listing.flow.book.reduce(order.book_id, left)
            account.amend(order, qty=new_qty, price=new_price, post_only=strict, wall_ns=wall_ns)
            listing.commit()
            return
        if not moved and left == order.left:
            account.amend(order, qty=new_qty, price=new_price, post_only=strict, wall_ns=wall_ns)
            return
        self._take_out(listing, order)
        account.amend(order, qty=new_qty, price=new_price, post_only=strict, wall_ns=wall_ns)
        self._enter(account, order, wall_ns)

    def cancel(self, account: Account, order: AccountOrder, wall_ns: int) -> None:
        """Cancel an open order as its owner asked.

        Raises:
            Denied: the venue takes no cancels now, or the trading counter of the pair is full.
        """
        if self._listings[order.pair.symbol].flow.mode is TradingMode.MAINTENANCE:
            raise Denied("EService:Unavailable")
        if not account.counter(order.pair.symbol).add(cancel_cost(wall_ns - order.aged_ns), wall_ns):
            raise Denied("EOrder:Rate limit exceeded")
        self._end(account, order, USER, wall_ns)

    def cancel_all(self, account: Account, wall_ns: int, *, reason: str = USER) -> int:
        """Cancel every open order, whatever the counters say; return how many there were."""
        for listing in self._listings.values():
            if listing.flow.mode is TradingMode.MAINTENANCE:
                raise Denied("EService:Unavailable")
        orders = list(account.orders.values())
        for order in orders:
            self._end(account, order, reason, wall_ns)
        return len(orders)

    def cancel_after(self, account: Account, seconds: int, wall_ns: int) -> int | None:
        """Set the dead man's switch to so many seconds from now, or off (0); return when it acts, wall time."""
        account.cancel_at_ns = None if not seconds else wall_ns + seconds * NS_PER_S
        if account.cancel_at_ns is not None:
            self._at(account.cancel_at_ns, partial(self._switch, account, account.cancel_at_ns))
        return account.cancel_at_ns

    def unsolicited(self, account: Account, order: AccountOrder, reason: str, wall_ns: int) -> None:
        """Cancel an open order of the venue's own accord."""
        self._end(account, order, reason, wall_ns)

    def fill(self, order: AccountOrder, qty: int, wall_ns: int) -> None:
        """Let the crowd take ``qty`` of a resting order at its own price, out of turn: for operators and judges."""
        listing = self._listings[order.pair.symbol]
        if order.book_id is None:
            return
        listing.act_at(wall_ns)
        fill = listing.flow.book.fill(order.book_id, qty)
        listing.traded(1 - order.request.side, "market", [fill])
        listing.commit()

    def _enter(self, account: Account, order: AccountOrder, wall_ns: int) -> None:
        """Take what the order may take, and rest what is left of it."""
        listing, request = self._listings[order.pair.symbol], order.request
        book = listing.flow.book
        listing.act_at(wall_ns)
        if order.post_only and order.price is not None and self._would_take(listing, request.side, order.price):
            account.cancel(order, POST_ONLY, wall_ns)
            return
        limit = self._worst(listing, order)
        if request.time_in_force == "FOK":
            seen = book.preview(request.side, order.left, limit=limit, avoiding=account.name)
            if seen.left:
                account.cancel(order, "", wall_ns, expired=True)
                return
        if limit is not None:
            fills, _ = book.take(request.side, order.left, limit=limit, avoiding=account.name)
            if fills:
                for fill, trade in zip(fills, listing.traded(request.side, request.kind, fills), strict=True):
                    account.fill(order, price=fill.price, qty=fill.qty, maker=False, trade_id=trade.id, wall_ns=wall_ns)
        if order.open:
            self._rest(account, order, listing, wall_ns)
        listing.commit()

    def _rest(self, account: Account, order: AccountOrder, listing: Listing, wall_ns: int) -> None:
        request, book = order.request, listing.flow.book
        if self._meets_own(account, order, listing):
            account.cancel(order, SELF_TRADE, wall_ns)
        elif request.time_in_force in ("IOC", "FOK"):
            account.cancel(order, "", wall_ns, expired=True)
        elif order.price is None or self._would_take(listing, request.side, order.price):
            account.cancel(order, PROTECTED, wall_ns)
        else:
            order.book_id = book.rest(request.side, order.price, order.left, account.name)
            listing.resting[order.book_id] = partial(self._maker_filled, account, order, listing)

    def _maker_filled(
        self, account: Account, order: AccountOrder, listing: Listing, fill: Fill, trade: TradePrint
    ) -> None:
        if fill.qty == order.left:
            self._forget(listing, order)
        account.fill(order, price=fill.price, qty=fill.qty, maker=True, trade_id=trade.id, wall_ns=trade.wall_ns)

    def _end(self, account: Account, order: AccountOrder, reason: str, wall_ns: int, *, expired: bool = False) -> None:
        listing = self._listings[order.pair.symbol]
        listing.act_at(wall_ns)
        self._take_out(listing, order)
        account.cancel(order, reason, wall_ns, expired=expired)
        listing.commit()

    def _take_out(self, listing: Listing, order: AccountOrder) -> None:
        if order.book_id is not None:
            listing.flow.book.cancel(order.book_id)
            self._forget(listing, order)

    def _forget(self, listing: Listing, order: AccountOrder) -> None:
        if order.book_id is not None:
            del listing.resting[order.book_id]
            order.book_id = None

    def _expire(self, account: Account, order: AccountOrder, _: int) -> None:
        if order.open and order.request.expire_ns is not None:
            self._end(account, order, "", order.request.expire_ns, expired=True)

    def _switch(self, account: Account, at_ns: int, _: int) -> None:
        if account.cancel_at_ns == at_ns:
            account.cancel_at_ns = None  # having fired, it is off (docs "Cancel All Orders After X")
            for order in list(account.orders.values()):
                self._end(account, order, SWITCH, at_ns)

    def _check_mode(self, request: OrderRequest) -> None:
        mode = self._listings[request.pair.symbol].flow.mode
        if mode is TradingMode.MAINTENANCE:
            raise Denied("EService:Unavailable")
        refused = (
            mode is TradingMode.CANCEL_ONLY
            or (mode is TradingMode.POST_ONLY and not request.post_only)
            or (mode is TradingMode.LIMIT_ONLY and request.kind != "limit")
        )
        if refused:
            raise Denied(f"EService:Market in {mode.value} mode")

    def _turnover(self, account: Account, request: OrderRequest) -> int:
        """Return the most that an order may turn over: at its limit, or at what the book has for a market order."""
        if request.price is not None:
            return request.price * request.qty
        book = self._listings[request.pair.symbol].flow.book
        return book.preview(request.side, request.qty, limit=None, avoiding=account.name).turnover

    def _worst(self, listing: Listing, order: AccountOrder) -> int | None:
        """Return the worst price that an order may take at, or None when it may take nothing."""
        side = order.request.side
        keys = listing.flow.book.ladders[1 - side].keys
        if len(keys) <= TOP:
            return None
        protected = abs(keys[len(keys) - TOP - 1])
        if order.price is None:
            return protected
        return min(order.price, protected) if side == BID else max(order.price, protected)

    def _meets_own(self, account: Account, order: AccountOrder, listing: Listing) -> bool:
        limit = self._worst(listing, order)
        if limit is None:
            return False
        return listing.flow.book.preview(order.request.side, 1, limit=limit, avoiding=account.name).meets_own

    def _would_take(self, listing: Listing, side: int, price: int) -> bool:
        best = listing.flow.book.best(1 - side)
        return best is not None and (price >= best if side == BID else price <= best)


def _open_in(account: Account, pair: Pair) -> int:
    return sum(order.pair.symbol == pair.symbol for order in account.orders.values())


def _too_little(request: OrderRequest) -> str:
    return "EOrder:Insufficient margin" if request.leverage else "EOrder:Insufficient funds"


def _cost_min(pair: Pair) -> int:
    """Return the least turnover of an order."""
    whole, _, rest = pair.cost_min.partition(".")
    decimals = pair.price_decimals + pair.qty_decimals
    return int(whole + rest[:decimals].ljust(decimals, "0"))
