"""The private REST endpoints about deposits and withdrawals: they tell, and move nothing.

Every asset has one method each way, and every account one saved withdrawal address per asset, labelled ``test``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from kraken_engine.venue.core.instruments import Asset
from kraken_engine.venue.core.names import Names
from kraken_engine.venue.core.rest_form import RestFailed
from kraken_engine.venue.core.rest_private import Endpoint, PrivateCall

__all__ = ["WITHDRAW_KEY", "funding_endpoints"]

WITHDRAW_KEY = "test"

_FIAT = ("USD", "EUR", "GBP")
_NAMES = {"BTC": "Bitcoin", "ETH": "Ether (Hex)", "SOL": "Solana", "DOGE": "Dogecoin", "LTC": "Litecoin"}
_NETWORKS = {"BTC": "Bitcoin", "ETH": "Ethereum", "SOL": "Solana"}


def funding_endpoints(names: Names) -> Mapping[str, Endpoint]:
    """Return the endpoints by name."""

    def asked(call: PrivateCall) -> Asset:
        if not call.fields.get("asset"):
            raise RestFailed("EGeneral:Invalid arguments:asset")
        return names.asset(call.fields["asset"])

    def withdraw_methods(call: PrivateCall) -> object:
        assets = [asked(call)] if "asset" in call.fields else list(names.assets)
        return [
            {
                "asset": asset.key,
                "method": _method(asset),
                "network": _NETWORKS.get(asset.code),
                "minimum": _tenth(asset),
            }
            for asset in assets
        ]

    def withdraw_info(call: PrivateCall) -> object:
        asset = asked(call)
        if call.fields.get("key") != WITHDRAW_KEY:
            raise RestFailed("EFunding:Unknown withdraw key")
        amount = call.fields.get("amount", "")
        if re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,18})?", amount) is None or not amount.strip("0."):
            raise RestFailed("EFunding:Invalid amount")
        ledger = call.account.ledger
        return {
            "method": _method(asset),
            "limit": ledger.text(asset.code, max(0, ledger.available(asset.code))),
            "amount": _with_decimals(amount, asset.decimals),
            "fee": _tenth(asset),
        }

    def deposit_methods(call: PrivateCall) -> object:
        asset = asked(call)
        return [
            {
                "method": _method(asset),
                "limit": False,
                "gen-address": asset.code not in _FIAT,
                "minimum": _tenth(asset),
            }
        ]

    def deposit_addresses(call: PrivateCall) -> object:
        asset = asked(call)
        if call.fields.get("method") != _method(asset) or asset.code in _FIAT:
            raise RestFailed("EFunding:No funding method")
        name = f"{call.account.name}:{asset.code}".encode()
        return [{"address": hashlib.sha256(name).hexdigest()[:34], "expiretm": "0"}]

    return {
        "WithdrawMethods": Endpoint(answer=withdraw_methods, any_of=("query-funds", "withdraw-funds")),
        "WithdrawInfo": Endpoint(answer=withdraw_info, any_of=("query-funds", "withdraw-funds")),
        "DepositMethods": Endpoint(answer=deposit_methods, any_of=("query-funds", "deposit-funds")),
        "DepositAddresses": Endpoint(answer=deposit_addresses, any_of=("query-funds", "deposit-funds")),
    }


def _method(asset: Asset) -> str:
    if asset.code in _FIAT:
        return "Bank transfer"
    return _NAMES.get(asset.code, asset.code)


def _tenth(asset: Asset) -> str:
    """Return a tenth of a unit for coins and a whole one for money, as text of the asset."""
    return _with_decimals("1" if asset.code in _FIAT else "0.1", asset.decimals)


def _with_decimals(text: str, decimals: int) -> str:
    whole, _, rest = text.partition(".")
    return f"{int(whole)}.{rest[:decimals].ljust(decimals, '0')}"
