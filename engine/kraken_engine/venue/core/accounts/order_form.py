"""Reads the fields of a new order, and of a change to one, as REST clients send them (docs "Add Order").

Orders are limit and market orders; with time in force GTC, GTD, IOC or FOK, post-only or not, on margin or not. Fees
are always paid in the quote. What else the documents know (triggers, reduce-only, conditional closes, icebergs) is
refused as an invalid argument: better no order than another one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from kraken_engine.venue.core.accounts.orders import OrderRequest
from kraken_engine.venue.core.instruments import Pair
from kraken_engine.venue.core.matching import ASK, BID
from kraken_engine.venue.core.rest_form import RestFailed
from kraken_engine.venue.core.timestamps import NS_PER_S, rfc3339_ns

__all__ = ["read_lots", "read_order", "read_price"]

_KINDS = ("limit", "market")
_TIMES = ("GTC", "GTD", "IOC", "FOK")
_FLAGS = ("post", "fciq", "nompp")
_KNOWN = frozenset(
    (
        "nonce", "otp", "ordertype", "type", "volume", "pair", "price", "timeinforce", "oflags", "expiretm", "userref",
        "cl_ord_id", "deadline", "validate", "asset_class", "stptype", "leverage", "reduce_only", "starttm",
    )
)  # fmt: skip
_MUST_BE: Mapping[str, tuple[str, ...]] = {
    "asset_class": ("currency",),
    "stptype": ("cancel-newest",),
    "reduce_only": ("false",),
    "starttm": ("0",),
}
"""Fields of which only what we do anyway is accepted."""

_CLIENT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}|[!-~]{1,18}")
_PLAIN = re.compile(r"[0-9]{1,18}(\.[0-9]{1,18})?")
_MONTH_S = 31 * 86_400
_LONGEST_DEADLINE_NS = 60 * NS_PER_S


def read_order(fields: Mapping[str, str], pair: Pair, wall_ns: int) -> OrderRequest:
    """Return the order that the fields describe.

    Raises:
        RestFailed: with the venue's words, naming the field.
    """
    for name in fields:
        if name not in _KNOWN:
            raise _bad(name)
    for name, allowed in _MUST_BE.items():
        if name in fields and fields[name].lower() not in allowed:
            raise _bad(name)
    kind = _one_of(fields, "ordertype", _KINDS)
    side = BID if _one_of(fields, "type", ("buy", "sell")) == "buy" else ASK
    flags = [flag for flag in fields.get("oflags", "").split(",") if flag]
    if any(flag not in _FLAGS for flag in flags):
        raise _bad("oflags")
    post_only = "post" in flags
    time_in_force = _one_of(fields, "timeinforce", _TIMES, "GTC")
    if kind == "market" and (post_only or time_in_force not in ("GTC", "IOC")):
        raise _bad("oflags" if post_only else "timeinforce")
    if post_only and time_in_force in ("IOC", "FOK"):
        raise _bad("timeinforce")
    if "cl_ord_id" in fields and ("userref" in fields or _CLIENT_ID.fullmatch(fields["cl_ord_id"]) is None):
        raise _bad("cl_ord_id")
    return OrderRequest(
        pair=pair,
        side=side,
        kind=kind,
        qty=read_lots(fields, pair),
        price=read_price(fields, pair) if kind == "limit" else None,
        time_in_force=time_in_force,
        post_only=post_only,
        expire_ns=_expiry(fields, wall_ns) if time_in_force == "GTD" else None,
        cl_ord_id=fields.get("cl_ord_id"),
        userref=_userref(fields),
        leverage=_leverage(fields, pair),
        deadline_ns=_deadline(fields, wall_ns),
    )


def read_lots(fields: Mapping[str, str], pair: Pair, name: str = "volume") -> int:
    """Return a quantity. RestFailed: it is not there, not above 0, or has too many decimals."""
    return _units(fields, name, pair.qty_decimals, f"EGeneral:Invalid arguments:{name}")


def read_price(fields: Mapping[str, str], pair: Pair, name: str = "price") -> int:
    """Return a price. RestFailed: it is not there, not above 0, or not on a tick."""
    return _units(fields, name, pair.price_decimals, "EOrder:Tick size check failed")


def _units(fields: Mapping[str, str], name: str, decimals: int, too_fine: str) -> int:
    text = fields.get(name, "")
    if _PLAIN.fullmatch(text) is None:
        raise _bad(name)
    whole, _, rest = text.partition(".")
    if rest[decimals:].strip("0"):
        raise RestFailed(too_fine)
    value = int(whole + rest[:decimals].ljust(decimals, "0"))
    if not value:
        raise _bad(name)
    return value


def _one_of(fields: Mapping[str, str], name: str, known: tuple[str, ...], default: str = "") -> str:
    value = fields.get(name, default)
    if value not in known:
        raise _bad(name)
    return value


def _expiry(fields: Mapping[str, str], wall_ns: int) -> int:
    """Return when the order expires: seconds since 1970, or from now on when there is a plus before them."""
    text = fields.get("expiretm", "")
    relative = text.startswith("+")
    digits = text.removeprefix("+")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 12):
        raise _bad("expiretm")
    at_ns = int(digits) * NS_PER_S + (wall_ns if relative else 0)
    if not wall_ns < at_ns <= wall_ns + _MONTH_S * NS_PER_S:
        raise _bad("expiretm")
    return at_ns


def _userref(fields: Mapping[str, str]) -> int | None:
    text = fields.get("userref")
    if text is None:
        return None
    if re.fullmatch(r"-?[0-9]{1,10}", text) is None or not -(2**31) <= int(text) < 2**31:
        raise _bad("userref")
    return int(text)


def _leverage(fields: Mapping[str, str], pair: Pair) -> int:
    text = fields.get("leverage", "none")
    if text.lower() == "none":
        return 0
    if text not in {str(allowed) for allowed in pair.leverage}:
        raise _bad("leverage")
    return int(text)


def _deadline(fields: Mapping[str, str], wall_ns: int) -> int | None:
    text = fields.get("deadline")
    if text is None:
        return None
    at_ns = rfc3339_ns(text)
    if at_ns is None or at_ns > wall_ns + _LONGEST_DEADLINE_NS:
        raise _bad("deadline")
    return at_ns


def _bad(name: str) -> RestFailed:
    return RestFailed(f"EGeneral:Invalid arguments:{name}")
