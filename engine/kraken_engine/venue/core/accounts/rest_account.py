"""The private REST endpoints about an account itself: balances, the key, tokens.

Balances go by the REST ids of assets, amounts are text with the asset's own decimals (recordings).
"""

from __future__ import annotations

from collections.abc import Mapping

from kraken_engine.venue.core.accounts.registry import Accounts
from kraken_engine.venue.core.accounts.tokens import LIFETIME_S
from kraken_engine.venue.core.rest_private import Endpoint, PrivateCall
from kraken_engine.venue.core.timestamps import NS_PER_S

__all__ = ["account_endpoints"]

_FUNDS = ("query-funds",)


def account_endpoints(accounts: Accounts) -> Mapping[str, Endpoint]:
    """Return the endpoints by name."""

    def token(call: PrivateCall) -> object:
        made = accounts.tokens.make(call.account.name, call.wall_ns)
        return {"token": made.text, "expires": LIFETIME_S}

    return {
        "Balance": Endpoint(answer=_balance, any_of=_FUNDS),
        "BalanceEx": Endpoint(answer=_balance_ex, any_of=_FUNDS),
        "GetApiKeyInfo": Endpoint(answer=_key_info),
        "GetWebSocketsToken": Endpoint(answer=token, any_of=("access-websockets",)),
    }


def _balance(call: PrivateCall) -> object:
    ledger = call.account.ledger
    return {asset.key: ledger.text(asset.code, ledger.balance(asset.code)) for asset in ledger.assets}


def _balance_ex(call: PrivateCall) -> object:
    ledger = call.account.ledger
    return {
        asset.key: {
            "balance": ledger.text(asset.code, ledger.balance(asset.code)),
            "hold_trade": ledger.text(asset.code, ledger.hold(asset.code)),
        }
        for asset in ledger.assets
    }


def _key_info(call: PrivateCall) -> object:
    key = call.key
    return {
        "api_key_name": key.settings.name,
        "api_key": key.settings.key,
        "nonce": str(key.last_nonce),
        "nonce_window": "0",
        "permissions": [name for name in key.settings.permissions if name in key.permissions],
        "ip_allowlist": [],
        "valid_until": "0",
        "query_from": "0",
        "query_to": "0",
        "last_used": str((key.last_used_ns or 0) // NS_PER_S),
    }
