"""The control port's view of accounts: what is true of them, and what the operator may do to them.

::

    GET  /accounts                    the names
    GET  /accounts/NAME               balances, open orders, counters, keys
    GET  /accounts/NAME/orders        the open orders
    GET  /accounts/NAME/positions     the open positions on margin
    GET  /accounts/NAME/closed        the closed ones, in the order in which they closed
    GET  /accounts/NAME/fills[?since=N]    the executions, from the N-th (from 0) on
    GET  /accounts/NAME/ledger[?since=N]   the ledger, from the N-th entry (from 0) on
    GET  /accounts/NAME/nonces        by key: every nonce in order of arrival, and how many were refused
    GET  /accounts/NAME/calls         the private REST calls, with where the counter stood
    GET  /accounts/NAME/tokens        when each was made, and who holds it
    POST /accounts                    {"name", "key", "secret", ...}: open one
    POST /accounts/NAME/orders        {"symbol", "side", "count", "away", "step", ...}: place orders
    POST /accounts/NAME/fill          {"count", "percent", "order_id"}: let the crowd take them
    POST /accounts/NAME/cancel        {"order_id", "reason"}: cancel one, or all
    POST /accounts/NAME/deposit       {"asset", "amount"}
    POST /accounts/NAME/stir          {"seconds", "per_second"}: keep it busy for a while

The parameters of a command are those of the method of ``Operator`` it is named after.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from kraken_engine.errors import UsageError, shown
from kraken_engine.venue.core.accounts.operator import Operator
from kraken_engine.venue.core.accounts.truth import AccountTruth
from kraken_engine.venue.core.exchange import Exchange
from kraken_engine.venue.core.ports import RestRequest
from kraken_engine.venue.shells.control_form import MOST_NUMBER, Problem, read_object, whole

__all__ = ["answer_about_accounts"]

_PLAIN: Mapping[str, Callable[[AccountTruth, str], object]] = {
    "balances": AccountTruth.balances,
    "orders": AccountTruth.orders,
    "positions": AccountTruth.positions,
    "closed": AccountTruth.closed,
    "nonces": AccountTruth.nonces,
    "calls": AccountTruth.calls,
    "tokens": AccountTruth.tokens,
}
_NUMBERED: Mapping[str, Callable[[AccountTruth, str, int], object]] = {
    "fills": AccountTruth.fills,
    "ledger": AccountTruth.ledger,
}
_COMMANDS: Mapping[str, Callable[..., object]] = {
    "orders": Operator.place,
    "fill": Operator.fill,
    "cancel": Operator.cancel,
    "deposit": Operator.deposit,
    "stir": Operator.stir,
}

_TYPES: Mapping[str, tuple[type, ...]] = {
    "str": (str,),
    "str | None": (str,),
    "int": (int,),
    "int | None": (int,),
    "float": (int, float),
    "bool": (bool,),
}
"""JSON types by the annotation of the parameter they are for."""


def answer_about_accounts(exchange: Exchange, request: RestRequest, path: str, now: float) -> object:
    """Answer a request whose ``path`` begins with ``accounts``; anything due until ``now`` happens first.

    Raises:
        Problem: no such thing.
        UsageError: a command cannot be carried out.
    """
    exchange.advance(now)
    _, _, rest = path.partition("/")
    name, _, what = rest.partition("/")
    if request.method == "POST":
        return _command(exchange, name, what, read_object(request.body, "{}"))
    if not name:
        return list(exchange.accounts)
    if name not in exchange.accounts:
        raise Problem(404, f"account: expected one of GET /accounts, got {shown(name)}")
    truth = exchange.private.truth
    if not what:
        return truth.summary(name, exchange.wall_ns())
    if what in _PLAIN:
        return _PLAIN[what](truth, name)
    if what in _NUMBERED:
        return _NUMBERED[what](truth, name, whole(request, "since", MOST_NUMBER, "0"))
    raise Problem(404, f"path: expected one of {', '.join((*_PLAIN, *_NUMBERED))}, got {shown(what)}")


def _command(exchange: Exchange, name: str, what: str, params: dict[str, Any]) -> object:
    operator = exchange.private.operator
    if not name:
        for required in ("name", "key", "secret"):
            if not isinstance(params.get(required), str):
                raise UsageError(f"account: expected the parameter {required!r} as text")
        created = operator.create(**params)
        return {"name": created.name}
    command = _COMMANDS.get(what)
    if command is None:
        raise Problem(404, f"path: expected one of {', '.join(_COMMANDS)}, got {shown(what)}")
    done = command(operator, name, **_checked(what, command, params))
    truth = exchange.private.truth
    if what == "orders":
        return [row for row in (*truth.orders(name), *truth.closed(name)) if row["order_id"] in _ids(done)]
    return {"done": done if isinstance(done, int) else 1}


def _ids(orders: Any) -> set[str]:
    return {order.id for order in orders}


def _checked(what: str, command: Callable[..., object], params: dict[str, Any]) -> dict[str, Any]:
    known = {
        name: parameter
        for name, parameter in inspect.signature(command).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    for name, value in params.items():
        if name not in known:
            raise UsageError(f"{what}: expected parameters among {', '.join(known)}, got {name!r}")
        types = _TYPES[str(known[name].annotation)]
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise UsageError(f"{what}: {name}: expected {known[name].annotation}, got {value!r}")
    for name, parameter in known.items():
        if parameter.default is inspect.Parameter.empty and name not in params:
            raise UsageError(f"{what}: expected the parameter {name!r}, got none")
    return params
