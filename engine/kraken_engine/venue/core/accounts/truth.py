"""What is true of an account, for judges: tests, drills, the control port. Clients never see it. JSON-ready throughout.

Numbers are text with the digits of the wire, times as the wire writes them. The public half of a key is told, and a
token by its place in the order of their making: what opens doors stays inside.
"""

from __future__ import annotations

import itertools
from typing import Any

from kraken_engine.venue.core.accounts.ledger import LedgerEntry, halved_up
from kraken_engine.venue.core.accounts.orders import AccountFill, AccountOrder
from kraken_engine.venue.core.accounts.registry import Accounts
from kraken_engine.venue.core.instruments import plain
from kraken_engine.venue.core.timestamps import Stamps

__all__ = ["AccountTruth"]

_Row = dict[str, Any]

MOST_ROWS = 10_000


class AccountTruth:
    """Answers questions about the accounts. An unknown name is a UsageError."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._stamps = Stamps()

    def summary(self, name: str, wall_ns: int) -> _Row:
        """Return the state of an account: balances with holds, open orders, counters, and how many of the rest."""
        account = self._accounts.named(name)
        return {
            "name": name,
            "tier": account.settings.tier,
            "balances": self.balances(name),
            "orders": self.orders(name),
            "positions": self.positions(name),
            "closed": len(account.closed),
            "fills": account.filled,
            "ledger": account.ledger.booked,
            "counters": {symbol: value for symbol, value in account.counters(wall_ns).items() if value},
            "cancel_at": None if account.cancel_at_ns is None else self._stamp(account.cancel_at_ns),
            "keys": [self._key(key.settings.key, wall_ns) for key in self._accounts.keys_of(name)],
        }

    def balances(self, name: str) -> _Row:
        """Return balance and hold by modern asset code."""
        ledger = self._accounts.named(name).ledger
        return {
            asset.code: {
                "balance": ledger.text(asset.code, ledger.balance(asset.code)),
                "hold": ledger.text(asset.code, ledger.hold(asset.code)),
            }
            for asset in ledger.assets
        }

    def orders(self, name: str) -> list[_Row]:
        """Return the open orders, oldest first."""
        return [self._order(order) for order in self._accounts.named(name).orders.values()]

    def positions(self, name: str) -> list[_Row]:
        """Return the open positions on margin, pair by pair, oldest first."""
        return [
            {
                "position_id": position.id,
                "order_id": position.order.id,
                "symbol": position.order.pair.symbol,
                "side": "buy" if position.order.buys else "sell",
                "qty": position.order.pair.qty_text(position.left),
                "price": position.order.pair.price_text(position.price),
                "opened": self._stamp(position.wall_ns),
            }
            for position in self._accounts.named(name).positions.all()
        ]

    def closed(self, name: str, last: int = MOST_ROWS) -> list[_Row]:
        """Return the last closed orders, in the order in which they closed."""
        closed = self._accounts.named(name).closed
        return [self._order(order) for order in itertools.islice(closed, max(0, len(closed) - last), None)]

    def fills(self, name: str, since: int = 0) -> list[_Row]:
        """Return the executions from the one numbered ``since`` (from 0) on, in order, as far as they are kept."""
        account = self._accounts.named(name)
        first = account.filled - len(account.fills)
        kept = itertools.islice(account.fills, max(0, since - first), None)
        return [{"number": max(first, since) + place, **self._fill(fill)} for place, fill in enumerate(kept)]

    def ledger(self, name: str, since: int = 0) -> list[_Row]:
        """Return the ledger entries from the one numbered ``since`` (from 0) on, in order, as far as they are kept."""
        ledger = self._accounts.named(name).ledger
        first = ledger.booked - len(ledger.entries)
        kept = itertools.islice(ledger.entries, max(0, since - first), None)
        return [{"number": max(first, since) + place, **self._entry(entry)} for place, entry in enumerate(kept)]

    def nonces(self, name: str) -> _Row:
        """Return, by public key, the last nonces in order of arrival, and how many were refused in all."""
        return {
            key.settings.key: {
                "last": key.last_nonce,
                "refused": key.refused_nonces,
                "seen": [[seen.nonce, seen.refused, seen.path] for seen in key.nonces],
            }
            for key in self._accounts.keys_of(self._accounts.named(name).name)
        }

    def calls(self, name: str) -> list[_Row]:
        """Return the last private REST calls: time, path, nonce, error, and where the counter stood afterwards."""
        return [
            {
                "timestamp": self._stamp(call.wall_ns),
                "path": call.path,
                "nonce": call.nonce,
                "error": call.error,
                "counter": call.counter,
            }
            for call in self._accounts.calls_of(self._accounts.named(name).name)
        ]

    def tokens(self, name: str) -> list[_Row]:
        """Return when each token was made, which sessions hold it, and whether it was revoked."""
        return [
            {"made": self._stamp(token.made_ns), "sessions": list(token.sessions), "revoked": token.revoked}
            for token in self._accounts.tokens.of(self._accounts.named(name).name)
        ]

    def _key(self, public: str, wall_ns: int) -> _Row:
        key = self._accounts.api_keys[public]
        return {
            "key": public,
            "permissions": sorted(key.permissions),
            "deleted": key.deleted,
            "locked_out": wall_ns < key.locked_until_ns,
            "last_nonce": key.last_nonce,
            "refused_nonces": key.refused_nonces,
            "counter": self._accounts.counters[public].value(wall_ns),
        }

    def _order(self, order: AccountOrder) -> _Row:
        pair, request = order.pair, order.request
        cost = halved_up(order.cum_turnover, pair.price_decimals + pair.qty_decimals, pair.cost_decimals)
        return {
            "order_id": order.id,
            "symbol": pair.symbol,
            "side": "buy" if order.buys else "sell",
            "order_type": request.kind,
            "order_qty": pair.qty_text(order.qty),
            "leverage": request.leverage,
            "limit_price": None if order.price is None else pair.price_text(order.price),
            "time_in_force": request.time_in_force,
            "post_only": order.post_only,
            "cl_ord_id": request.cl_ord_id,
            "order_userref": request.userref,
            "order_status": order.status.value,
            "cum_qty": pair.qty_text(order.cum_qty),
            "cum_cost": plain(cost, pair.cost_decimals),
            "avg_price": pair.price_text(order.average_price),
            "fee": plain(order.fee, pair.quote.decimals),
            "reason": order.reason,
            "amended": order.amended,
            "opened": self._stamp(order.opened_ns),
            "closed": None if order.closed_ns is None else self._stamp(order.closed_ns),
            "exec_ids": [fill.exec_id for fill in order.fills],
        }

    def _fill(self, fill: AccountFill) -> _Row:
        order, pair = fill.order, fill.order.pair
        return {
            "exec_id": fill.exec_id,
            "trade_id": fill.trade_id,
            "order_id": order.id,
            "symbol": pair.symbol,
            "side": "buy" if order.buys else "sell",
            "last_qty": pair.qty_text(fill.qty),
            "last_price": pair.price_text(fill.price),
            "cost": plain(fill.cost, pair.cost_decimals),
            "fee": plain(fill.fee, pair.quote.decimals),
            "fee_asset": pair.quote.code,
            "liquidity_ind": "m" if fill.maker else "t",
            "timestamp": self._stamp(fill.wall_ns),
        }

    def _entry(self, entry: LedgerEntry) -> _Row:
        decimals = entry.asset.decimals
        return {
            "ledger_id": entry.id,
            "ref_id": entry.ref_id,
            "type": entry.kind,
            "asset": entry.asset.code,
            "amount": plain(entry.amount, decimals),
            "fee": plain(entry.fee, decimals),
            "balance": plain(entry.balance, decimals),
            "timestamp": self._stamp(entry.wall_ns),
        }

    def _stamp(self, wall_ns: int) -> str:
        return self._stamps.micros(wall_ns).decode()
