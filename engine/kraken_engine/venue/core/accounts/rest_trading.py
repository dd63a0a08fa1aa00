"""The private REST endpoints that trade: new orders, changes, cancels, the dead man's switch."""

from __future__ import annotations

from collections.abc import Mapping

from kraken_engine.venue.core.accounts.access import Denied
from kraken_engine.venue.core.accounts.desk import Desk
from kraken_engine.venue.core.accounts.order_form import read_lots, read_order, read_price
from kraken_engine.venue.core.accounts.orders import AccountOrder
from kraken_engine.venue.core.accounts.rest_rows import described
from kraken_engine.venue.core.names import Names
from kraken_engine.venue.core.rest_form import RestFailed, flag, integer
from kraken_engine.venue.core.rest_private import Endpoint, PrivateCall
from kraken_engine.venue.core.timestamps import Stamps

__all__ = ["trading_endpoints"]

_MODIFY = ("modify-trades",)
_CANCEL = ("modify-trades", "close-trades")

_LONGEST_SWITCH_S = 86_399


def trading_endpoints(desk: Desk, names: Names) -> Mapping[str, Endpoint]:
    """Return the endpoints by name."""
    stamps = Stamps()

    def add(call: PrivateCall) -> object:
        _, listing = names.market(call.fields.get("pair"))
        request = read_order(call.fields, listing.pair, call.wall_ns)
        descr = {"order": described(request, request.qty, request.price)}
        if flag(call.fields, "validate"):
            desk.check(call.account, request, call.wall_ns)
            return {"descr": descr}
        order = desk.place(call.account, request, call.wall_ns)
        return {"txid": [order.id], "descr": descr}

    def amend(call: PrivateCall) -> object:
        (order,) = _named(call)
        fields = call.fields
        desk.amend(
            call.account,
            order,
            call.wall_ns,
            qty=read_lots(fields, order.pair, "order_qty") if "order_qty" in fields else None,
            price=read_price(fields, order.pair, "limit_price") if "limit_price" in fields else None,
            post_only=flag(fields, "post_only") if "post_only" in fields else None,
        )
        return {"amend_id": call.account.ids.trade()}

    def cancel(call: PrivateCall) -> object:
        orders = _named(call)
        for order in orders:
            desk.cancel(call.account, order, call.wall_ns)
        return {"count": len(orders)}

    def cancel_all(call: PrivateCall) -> object:
        return {"count": desk.cancel_all(call.account, call.wall_ns)}

    def cancel_after(call: PrivateCall) -> object:
        seconds = integer(call.fields, "timeout", _LONGEST_SWITCH_S + 1)
        if seconds > _LONGEST_SWITCH_S:
            raise RestFailed("EGeneral:Invalid arguments:timeout")
        at_ns = desk.cancel_after(call.account, seconds, call.wall_ns)
        return {
            "currentTime": stamps.seconds(call.wall_ns).decode(),
            "triggerTime": "0" if at_ns is None else stamps.seconds(at_ns).decode(),
        }

    return {
        "AddOrder": Endpoint(answer=add, any_of=_MODIFY, counted=False),
        "AmendOrder": Endpoint(answer=amend, any_of=_MODIFY, counted=False),
        "CancelOrder": Endpoint(answer=cancel, any_of=_CANCEL, counted=False),
        "CancelAll": Endpoint(answer=cancel_all, any_of=_CANCEL),
        "CancelAllOrdersAfter": Endpoint(answer=cancel_after, any_of=_CANCEL),
    }


def _named(call: PrivateCall) -> list[AccountOrder]:
    """Return the open orders that a call names by id, by the client's id, or by reference number (perhaps several)."""
    name, cl_ord_id = call.fields.get("txid"), call.fields.get("cl_ord_id")
    if (name is None) == (cl_ord_id is None):
        raise RestFailed("EGeneral:Invalid arguments:txid")
    orders = call.account.orders.values()
    if cl_ord_id is not None:
        found = [order for order in orders if order.request.cl_ord_id == cl_ord_id]
    else:
        found = [order for order in orders if order.id == name]
        found = found or [order for order in orders if str(order.request.userref) == name]
    if not found:
        raise Denied("EOrder:Unknown order")
    return found
