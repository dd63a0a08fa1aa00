"""What a client may ask of the private channels, and how it is acknowledged (docs "Executions", "Balances").

Reads and checks parameters; decides nothing about who may listen. Keys and words are those of recordings.
"""

from __future__ import annotations

import functools
from typing import Any

import attrs

from kraken_engine.venue.core.accounts.settings import Tier
from kraken_engine.venue.core.requests import Refused, Request

__all__ = ["NEEDED", "PrivateSubscription", "acknowledged", "read_private"]

NEEDED = {
    "executions": ("query-open-trades", "query-closed-trades"),
    "balances": ("query-funds",),
}
"""The private channels we serve, and the permissions one of which the token's key needs."""

_FLAGS = {
    "executions": (
        "snap_orders",
        "snap_trades",
        "snapshot",
        "snapshot_trades",
        "order_status",
        "ratecounter",
        "rebased",
    ),
    "balances": ("snapshot", "rebased"),
}

_WARNINGS = (
    "cancel_reason is deprecated, use reason",
    "stop_price is deprecated, use triggers.price",
    "trigger is deprecated use triggers.reference",
    "triggered_price is deprecated use triggers.last_price",
)


@attrs.frozen(kw_only=True)
class PrivateSubscription:
    """One private subscription, as asked for."""

    channel: str
    snapshot: bool = True
    snap_orders: bool = True
    snap_trades: bool = False
    order_status: bool = True
    ratecounter: bool = False


def read_private(request: Request) -> PrivateSubscription:
    """Read a subscription to a private channel.

    Raises:
        Refused: a parameter is unknown or of the wrong type.
    """
    params = request.params or {}
    channel: str = params["channel"]
    refused = functools.partial(Refused, method=request.method, req_id=request.req_id)
    for name, value in params.items():
        if name in ("channel", "token"):
            continue
        if name == "users":
            raise refused("EGeneral:Permission denied")  # for master accounts; none of ours is one
        if name not in _FLAGS[channel]:
            raise refused(f"Unsupported field: {name!r} for the given msg type: {request.method}")
        if not isinstance(value, bool):
            raise refused(f"{name.capitalize()} field must be a boolean")
    orders: bool = params.get("snap_orders", params.get("snapshot", True))
    return PrivateSubscription(
        channel=channel,
        snapshot=params.get("snapshot", True),
        snap_orders=orders,
        snap_trades=params.get("snap_trades", params.get("snapshot_trades", False)),
        order_status=params.get("order_status", True),
        ratecounter=params.get("ratecounter", False),
    )


def acknowledged(request: Request, subscription: PrivateSubscription, tier: Tier) -> dict[str, Any]:
    """Return the ``result`` of a success reply."""
    if request.method != "subscribe":
        return {"channel": subscription.channel}
    if subscription.channel == "balances":
        return {"channel": "balances", "snapshot": subscription.snapshot}
    return {
        "channel": "executions",
        "maxratecount": tier.trade_most,
        "snap_orders": subscription.snap_orders,
        "snap_trades": subscription.snap_trades,
        "snapshot": subscription.snap_orders,
        "warnings": list(_WARNINGS),
    }
