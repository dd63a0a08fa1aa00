"""The private channels: who listens to which account, what he is told first, and what as it happens.

Every subscription counts its own frames from 1, the snapshot among them. What goes wrong on command on the way is the
business of ``fault_accounts``; what is true stays in the accounts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import attrs

from kraken_engine.venue.core.accounts import reports
from kraken_engine.venue.core.accounts.account import Account
from kraken_engine.venue.core.accounts.counters import UNIT
from kraken_engine.venue.core.accounts.ledger import LedgerEntry
from kraken_engine.venue.core.accounts.orders import AccountFill, AccountOrder
from kraken_engine.venue.core.accounts.private_requests import PrivateSubscription
from kraken_engine.venue.core.accounts.tokens import Token
from kraken_engine.venue.core.delivery import Delivery
from kraken_engine.venue.core.sessions import Session
from kraken_engine.venue.core.timestamps import Stamps

__all__ = ["Listener", "PrivateChannels", "Way"]

SNAPSHOT_TRADES = 50

_ALWAYS = ("new", "filled", "canceled", "expired", "trade")
"""What is reported to those who do not want every transition of an order; executions are no transition."""


@attrs.define(eq=False)
class Listener:
    """One private subscription of one session."""

    session: Session
    subscription: PrivateSubscription
    account: Account
    token: Token
    sequence: int = 0
    """Of the latest frame."""
    begun: bool = False
    """Whether it had its snapshot, or needs none; what happens before is in it."""

    def numbered(self) -> int:
        """Return the number of the next frame."""
        self.sequence += 1
        return self.sequence


class Way(Protocol):
    """What updates pass through on their way to a listener."""

    def withholds(self, listener: Listener) -> bool:
        """Return whether an update is never made for a listener, and has no number."""
        ...

    def way(self, listener: Listener, payload: bytes) -> list[bytes]:
        """Return what the listener gets: usually ``payload`` itself."""
        ...

    def forget_listener(self, listener: Listener) -> None:
        """Hold back nothing any more for a listener that is gone."""
        ...


class PrivateChannels:
    """Tells listeners what happens in accounts. The watcher of every account."""

    def __init__(self, delivery: Delivery, stamps: Stamps, now_ns: Callable[[], int], way: Way) -> None:
        """Tell nobody yet; ``now_ns`` gives the wall time of what is happening."""
        self._way = way
        self._delivery = delivery
        self._stamps = stamps
        self._now_ns = now_ns
        self._listeners: dict[str, dict[tuple[int, str], Listener]] = {}
        """By account, then by session id and channel."""

    def find(self, session_id: int, channel: str) -> Listener | None:
        """Return the subscription of a session to a channel."""
        for listeners in self._listeners.values():
            if (session_id, channel) in listeners:
                return listeners[session_id, channel]
        return None

    def of_session(self, session_id: int) -> list[Listener]:
        """Return every private subscription of a session."""
        return [
            listener
            for listeners in self._listeners.values()
            for (owner, _), listener in listeners.items()
            if owner == session_id
        ]

    def of_account(self, name: str) -> list[Listener]:
        """Return everybody who listens to an account."""
        return list(self._listeners.get(name, {}).values())

    def add(self, listener: Listener) -> None:
        """Take on a subscription; it hears nothing until :meth:`begin`."""
        place = listener.session.id, listener.subscription.channel
        self._listeners.setdefault(listener.account.name, {})[place] = listener

    def remove(self, listener: Listener) -> None:
        """Tell a listener no more."""
        listener.begun = False
        self._way.forget_listener(listener)
        self._listeners[listener.account.name].pop((listener.session.id, listener.subscription.channel), None)

    def begin(self, listener: Listener) -> None:
        """Send the snapshot, if one is wanted, and from now on what happens."""
        if listener.begun:
            return
        listener.begun = True
        subscription, account = listener.subscription, listener.account
        if subscription.channel == "balances":
            if subscription.snapshot:
                assets = account.ledger.assets
                self._send(listener, "snapshot", [reports.balance_row(account, asset.code) for asset in assets])
        elif subscription.snap_orders or subscription.snap_trades:
            rows: list[str] = []
            if subscription.snap_orders:
                rows += [reports.order_snapshot(order, stamps=self._stamps) for order in account.orders.values()]
            if subscription.snap_trades:
                last = list(account.fills)[-SNAPSHOT_TRADES:]
                rows += [reports.trade_snapshot(fill, stamps=self._stamps) for fill in last]
            self._send(listener, "snapshot", rows)

    def reported(self, account: Account, order: AccountOrder, exec_type: str, fill: AccountFill | None) -> None:
        """Tell of an order."""
        for listener in self._begun(account, "executions"):
            subscription = listener.subscription
            if not subscription.order_status and exec_type not in _ALWAYS:
                continue
            wall_ns = self._now_ns()
            ratecount = None
            if subscription.ratecounter:
                ratecount = -(-account.counter(order.pair.symbol).level(wall_ns) // UNIT)
            row = reports.report(order, exec_type, fill, stamps=self._stamps, wall_ns=wall_ns, ratecount=ratecount)
            self._send(listener, "update", [row])

    def booked(self, account: Account, entry: LedgerEntry) -> None:
        """Tell of a change of a balance."""
        for listener in self._begun(account, "balances"):
            self._send(listener, "update", [reports.ledger_update(entry, stamps=self._stamps)])

    def _begun(self, account: Account, channel: str) -> list[Listener]:
        return [
            listener
            for listener in self._listeners.get(account.name, {}).values()
            if listener.begun and listener.subscription.channel == channel
        ]

    def _send(self, listener: Listener, kind: str, rows: list[str]) -> None:
        channel = listener.subscription.channel
        if kind == "update" and self._way.withholds(listener):
            return
        frame = reports.private_frame(channel, kind, rows, listener.numbered())
        for payload in [frame] if kind == "snapshot" else self._way.way(listener, frame):
            self._delivery.tell(listener.session, channel, payload)
