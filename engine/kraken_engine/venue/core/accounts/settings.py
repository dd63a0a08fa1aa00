"""What an account of the venue is like before anybody uses it: its keys, its tier, its money.

Limits by tier are those of docs "Spot REST Rate Limits" and "Spot Trading Limits". Nothing here changes while the venue
runs. The test account's keys are fixed on purpose: they open nothing but a simulated venue.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from kraken_engine.errors import ConfigError

__all__ = ["PERMISSIONS", "TEST_ACCOUNT", "TEST_KEY", "TEST_SECRET", "TIERS", "AccountSettings", "KeySettings", "Tier"]

PERMISSIONS = (
    "query-funds",
    "deposit-funds",
    "withdraw-funds",
    "query-open-trades",
    "query-closed-trades",
    "modify-trades",
    "close-trades",
    "query-ledger",
    "export-data",
    "access-websockets",
)
"""What a key may be allowed to do (docs "How to create an API key")."""
SENSIBLE = tuple(name for name in PERMISSIONS if name != "withdraw-funds")
"""What a key for a trading program has."""


@attrs.frozen(kw_only=True)
class Tier:
    """How often an account of one verification level may call and trade. Decays are in hundredths a second."""

    rest_most: int
    rest_decay: int
    trade_most: int
    trade_decay: int
    open_orders: int
    """Open orders per pair."""


TIERS: Mapping[str, Tier] = {
    "starter": Tier(rest_most=15, rest_decay=33, trade_most=60, trade_decay=100, open_orders=60),
    "intermediate": Tier(rest_most=20, rest_decay=50, trade_most=125, trade_decay=234, open_orders=80),
    "pro": Tier(rest_most=20, rest_decay=100, trade_most=180, trade_decay=375, open_orders=225),
}

_Validator = Callable[[Any, "attrs.Attribute[Any]", Any], None]


def _matches(pattern: str, expected: str) -> _Validator:
    def check(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if not isinstance(value, str) or re.fullmatch(pattern, value) is None:
            raise ConfigError(f"{attribute.name}: expected {expected}, got {value!r}")

    return check


def _within(least: int, most: int) -> _Validator:
    def check(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if not isinstance(value, int) or not least <= value <= most:
            raise ConfigError(f"{attribute.name}: expected {least} to {most}, got {value!r}")

    return check


def _secret(_: Any, attribute: attrs.Attribute[Any], value: str) -> None:
    try:
        decoded = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    if not decoded:
        raise ConfigError(f"{attribute.name}: expected base64 text")


def _permissions(_: Any, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    for name in value:
        if name not in PERMISSIONS:
            raise ConfigError(f"{attribute.name}: expected some of {', '.join(PERMISSIONS)}, got {name!r}")


def _amounts(_: Any, attribute: attrs.Attribute[Any], value: Mapping[str, str]) -> None:
    for asset, amount in value.items():
        if re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,18})?", amount) is None:
            raise ConfigError(f"{attribute.name}: {asset}: expected plain digits such as 12.5, got {amount!r}")


@attrs.frozen(kw_only=True)
class KeySettings:
    """One API key of an account."""

    key: str = attrs.field(validator=_matches(r"[!-~]{1,100}", "printable ASCII without spaces"))
    """The public half, as sent in the header ``API-Key``."""
    secret: str = attrs.field(validator=_secret, repr=False)
    """The private half, base64."""
    name: str = "test"
    permissions: tuple[str, ...] = attrs.field(default=SENSIBLE, validator=_permissions)
    otp: str | None = attrs.field(default=None, repr=False)
    """Password of the key's two-factor login; None: it has none."""


TEST_KEY = "SIMULATED+VENUE+TEST+KEY+0000000000000000000000000000000"
TEST_SECRET = base64.b64encode(b"This secret opens nothing but the simulated venue of these tests").decode()

TEST_FUNDS: Mapping[str, str] = {"USD": "1000000", "EUR": "500000", "BTC": "50", "ETH": "500", "SOL": "5000"}


@attrs.frozen(kw_only=True)
class AccountSettings:
    """One account of the venue."""

    name: str = attrs.field(default="main", validator=_matches(r"[A-Za-z0-9_.-]{1,40}", "letters, digits, . _ -"))
    """What judges and the control port call it; clients never see it."""
    keys: tuple[KeySettings, ...] = (KeySettings(key=TEST_KEY, secret=TEST_SECRET),)
    tier: str = attrs.field(default="intermediate", validator=_matches("|".join(TIERS), f"one of {', '.join(TIERS)}"))
    funds: Mapping[str, str] = attrs.field(factory=lambda: dict(TEST_FUNDS), validator=_amounts)
    """What it owns at first, by modern asset code; assets that the venue does not list are left out."""
    maker_fee: int = attrs.field(default=2500, validator=_within(0, 100_000))
    """Millionths of the cost."""
    taker_fee: int = attrs.field(default=4000, validator=_within(0, 100_000))
    history_cost: int = attrs.field(default=4, validator=_within(1, 15))
    """What one call for ledgers or past trades adds to the REST counter: sources differ between 2 and 4."""


TEST_ACCOUNT = AccountSettings()
"""The account that every running venue has unless its settings say otherwise."""
