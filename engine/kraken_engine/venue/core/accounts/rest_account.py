"""The private REST endpoints about an account itself: balances, the key, tokens.

Balances go by the REST ids of assets, amounts are text with the asset's own decimals (recordings).
"""

from __future__ import annotations

from collections.abc import Mapping

from kraken_engine.venue.core.accounts.account import Account
from kraken_engine.venue.core.accounts.ledger import halved_up
from kraken_engine.venue.core.accounts.registry import Accounts
from kraken_engine.venue.core.accounts.tokens import LIFETIME_S
from kraken_engine.venue.core.instruments import Asset, plain
from kraken_engine.venue.core.names import Names
from kraken_engine.venue.core.rest_private import Endpoint, PrivateCall
from kraken_engine.venue.core.timestamps import NS_PER_S

__all__ = ["account_endpoints"]

_FUNDS = ("query-funds",)

_TRADE_BALANCE_DECIMALS = 4


def account_endpoints(accounts: Accounts, names: Names) -> Mapping[str, Endpoint]:
    """Return the endpoints by name."""

    def token(call: PrivateCall) -> object:
        made = accounts.tokens.make(call.account.name, call.key.settings.key, call.wall_ns)
        return {"token": made.text, "expires": LIFETIME_S}

    def trade_balance(call: PrivateCall) -> object:
        asset = names.asset(call.fields.get("asset", "ZUSD"))
        whole, collateral = _worth(call.account, asset, names)
        tied, cost, gain = _on_margin(call.account, asset, names)
        figures = {"eb": whole, "tb": collateral, "m": tied, "uv": 0, "n": gain, "c": cost, "v": cost + gain}
        figures |= {"e": collateral + gain, "mf": collateral + gain - tied}
        return {name: plain(figure, _TRADE_BALANCE_DECIMALS) for name, figure in figures.items()}

    return {
        "Balance": Endpoint(answer=_balance, any_of=_FUNDS),
        "BalanceEx": Endpoint(answer=_balance_ex, any_of=_FUNDS),
        "TradeBalance": Endpoint(answer=trade_balance, any_of=_FUNDS),
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


def _worth(account: Account, quote: Asset, names: Names) -> tuple[int, int]:
    """Return what everything is worth in ``quote`` by the last trades, and what of it counts as collateral."""
    whole = collateral = 0
    for asset in account.ledger.assets:
        balance = account.ledger.balance(asset.code)
        if asset.code == quote.code:
            worth = halved_up(balance, asset.decimals, _TRADE_BALANCE_DECIMALS)
        else:
            listing = next(
                (found for found in names.listings if (found.pair.base, found.pair.quote) == (asset, quote)), None
            )
            if listing is None:
                continue
            last, decimals = listing.tape.trades[-1].price, listing.pair.price_decimals + asset.decimals
            worth = halved_up(balance * last, decimals, _TRADE_BALANCE_DECIMALS)
        whole += worth
        collateral += worth * int(asset.collateral.replace(".", "")) // 1000
    return whole, collateral


def _on_margin(account: Account, quote: Asset, names: Names) -> tuple[int, int, int]:
    """Return what the positions in pairs quoted in ``quote`` tie up, what they cost, and what they have earned."""
    tied = cost = gain = 0
    last = {listing.pair.symbol: listing.tape.trades[-1].price for listing in names.listings}
    for position in account.positions.all():
        order, pair = position.order, position.order.pair
        if pair.quote != quote:
            continue
        decimals = pair.price_decimals + pair.qty_decimals
        moved = (last[pair.symbol] - position.price) * (1 if order.buys else -1)
        tied += halved_up(position.margin, quote.decimals, _TRADE_BALANCE_DECIMALS)
        cost += halved_up(position.price * position.left, decimals, _TRADE_BALANCE_DECIMALS)
        gain += halved_up(moved * position.left, decimals, _TRADE_BALANCE_DECIMALS)
    return tied, cost, gain


def _key_info(call: PrivateCall) -> object:
    key = call.key
    return {
        "apiKeyName": key.settings.name,
        "apiKey": key.settings.key,
        "nonce": str(key.last_nonce),
        "nonceWindow": "0",
        "permissions": [name for name in key.settings.permissions if name in key.permissions],
        "ipAllowlist": [],
        "validUntil": "0",
        "queryFrom": "0",
        "queryTo": "0",
        "lastUsed": str((key.last_used_ns or 0) // NS_PER_S),
    }
