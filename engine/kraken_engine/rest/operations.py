"""Every REST operation this client will ever call, by the group that says what it is called for.

An operation that is in no group does not exist here: asking for it raises
:class:`~kraken_engine.errors.OperationNotAllowed` before a byte is sent. That is how a key with too many permissions is
kept from moving funds by mistake: there is no ``Withdraw`` to call.

The group also decides how urgent a call is, and what the circuit breaker makes of it. Knows names alone.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType

import attrs

from kraken_engine.control.call_queue import Urgency
from kraken_engine.control.circuit_breaker import CallKind
from kraken_engine.control.rest_limits import call_cost
from kraken_engine.errors import OperationNotAllowed

__all__ = ["GROUPS", "OPERATIONS", "Group", "Operation", "operation"]


class Group(enum.Enum):
    """What an operation is called for (the founding document, section 2.1)."""

    INITIAL_SNAPSHOT = "initial_snapshot"
    HISTORICAL_DATA = "historical_data"
    VALIDATION = "validation"
    RECOVERY = "recovery"
    BACKUP = "backup"
    CONSISTENCY = "consistency"
    """Comparing what is known of an account, or of a market, with the venue's word; nobody waits for it."""
    ADMINISTRATIVE = "administrative"
    EMERGENCY = "emergency"
    FAREWELL = "farewell"
    """Cancels of the kill switch and of the end of an account: those of ``emergency`` that nothing may hold up."""

    def __str__(self) -> str:
        return self.value


@attrs.frozen(kw_only=True)
class Operation:
    """One operation, called for the purpose of one group."""

    name: str
    """As in the venue's path: ``BalanceEx``."""
    group: Group
    private: bool
    read: bool
    """Whether it changes nothing at the venue."""
    repeatable: bool
    """Whether a second copy does no harm: questions, and cancels."""
    urgency: Urgency
    kind: CallKind
    cost: int
    """What it adds to the venue's counter of the key; 0 for public ones, which are paced."""

    @property
    def path(self) -> str:
        """The venue's path, and what a signature covers."""
        return f"/0/{'private' if self.private else 'public'}/{self.name}"


_PUBLIC = ("Time", "SystemStatus", "Assets", "AssetPairs", "Ticker", "OHLC", "Depth", "Trades", "Spread")
_CHANGING = ("AddOrder", "CancelOrder", "CancelAll", "CancelAllOrdersAfter")
_CANCELS = ("CancelOrder", "CancelAll", "CancelAllOrdersAfter")

GROUPS: Mapping[Group, tuple[str, ...]] = MappingProxyType(
    {
        Group.INITIAL_SNAPSHOT: ("Balance", "BalanceEx", "OpenOrders", "OpenPositions"),
        Group.HISTORICAL_DATA: ("OHLC", "Trades"),
        Group.VALIDATION: ("SystemStatus", "Time", "Assets", "AssetPairs", "GetApiKeyInfo"),
        Group.RECOVERY: (
            "Balance",
            "BalanceEx",
            "OpenOrders",
            "ClosedOrders",
            "QueryOrders",
            "TradesHistory",
            "OpenPositions",
            "GetWebSocketsToken",
        ),
        Group.BACKUP: ("Ticker", "Depth", "Trades", "OHLC", "Spread", "BalanceEx", "OpenOrders"),
        Group.CONSISTENCY: ("BalanceEx", "OpenPositions", "Ticker", "Depth"),
        Group.ADMINISTRATIVE: ("WithdrawInfo", "WithdrawMethods", "DepositMethods", "DepositAddresses"),
        Group.EMERGENCY: (*_CANCELS, "AddOrder"),
        Group.FAREWELL: _CANCELS,
    }
)
"""What may be called, and for what. ``AddOrder`` also needs ``allow_add_order`` in the settings."""

_URGENCY: Mapping[Group, Urgency] = {
    Group.INITIAL_SNAPSHOT: Urgency.SNAPSHOT,
    Group.HISTORICAL_DATA: Urgency.HISTORY,
    Group.VALIDATION: Urgency.VALIDATION,
    Group.RECOVERY: Urgency.RECOVERY,
    Group.BACKUP: Urgency.BACKUP,
    Group.CONSISTENCY: Urgency.CHECK,
    Group.ADMINISTRATIVE: Urgency.ADMINISTRATIVE,
    Group.EMERGENCY: Urgency.CANCEL,
    Group.FAREWELL: Urgency.FAREWELL,
}
_KIND: Mapping[Group, CallKind] = {Group.RECOVERY: CallKind.RECOVERY, Group.FAREWELL: CallKind.FAREWELL}
_OWN: Mapping[str, tuple[Urgency, CallKind]] = {
    "GetWebSocketsToken": (Urgency.TOKEN, CallKind.TOKEN),
    "AddOrder": (Urgency.ORDER, CallKind.ORDINARY),
}


def _operation(group: Group, name: str) -> Operation:
    private = name not in _PUBLIC
    urgency, kind = _OWN.get(name, (_URGENCY[group], _KIND.get(group, CallKind.ORDINARY)))
    if name == "SystemStatus":
        kind = CallKind.STATUS
    return Operation(
        name=name,
        group=group,
        private=private,
        read=name not in _CHANGING,
        repeatable=name != "AddOrder",
        urgency=urgency,
        kind=kind,
        cost=call_cost(name) if private else 0,
    )


OPERATIONS: Mapping[tuple[Group, str], Operation] = MappingProxyType(
    {(group, name): _operation(group, name) for group, names in GROUPS.items() for name in names}
)


def operation(group: Group, name: str, *, allow_add_order: bool = False) -> Operation:
    """Return the operation called ``name`` of ``group``.

    Args:
        group: what it is called for.
        name: as in the venue's path.
        allow_add_order: whether the settings allow orders over REST.

    Raises:
        OperationNotAllowed: there is none in this group, or the settings do not allow it.
    """
    found = OPERATIONS.get((group, name))
    if found is None:
        raise OperationNotAllowed(name, f"expected one of {', '.join(GROUPS[group])} in group {group}")
    if name == "AddOrder" and not allow_add_order:
        raise OperationNotAllowed(name, "orders go over the private line; rest.allow_add_order would allow them here")
    return found
