"""The names under which REST knows markets and assets, and the name each is answered under.

A market may be asked for by its key (``XXBTZUSD``), its altname (``XBTUSD``) or its modern symbol (``BTC/USD``); the
first two are answered with the key, the last with itself (recordings).
"""

from __future__ import annotations

from collections.abc import Sequence

from kraken_engine.venue.core.instruments import Asset
from kraken_engine.venue.core.listing import Listing
from kraken_engine.venue.core.rest_form import RestFailed

__all__ = ["Names"]


class Names:
    """Finds markets and assets by name."""

    def __init__(self, listings: Sequence[Listing], assets: Sequence[Asset]) -> None:
        self.listings = tuple(listings)
        self.assets = tuple(assets)
        self._by_legacy_name = {
            name: listing for listing in listings for name in (listing.pair.altname, listing.pair.key)
        }
        self._by_symbol = {listing.pair.symbol: listing for listing in listings}
        self._assets = {name: asset for asset in assets for name in (asset.code, asset.altname, asset.key)}

    def markets(self, names: str) -> list[tuple[str, Listing]]:
        """Return every market of a list with commas, with the name it is answered under.

        Raises:
            RestFailed: one of them is not listed.
        """
        found: list[tuple[str, Listing]] = []
        for name in names.split(",")[: len(self.listings) + 1]:
            if name in self._by_symbol:
                found.append((name, self._by_symbol[name]))
            elif name in self._by_legacy_name:
                listing = self._by_legacy_name[name]
                found.append((listing.pair.key, listing))
            else:
                raise RestFailed("EQuery:Unknown asset pair")
        return found

    def market(self, name: str | None) -> tuple[str, Listing]:
        """Return the one market of this name, with the name it is answered under.

        Raises:
            RestFailed: no name, an unknown one, or more than one.
        """
        if not name:
            raise RestFailed("EGeneral:Invalid arguments")
        found = self.markets(name)
        if len(found) != 1:
            raise RestFailed("EQuery:Unknown asset pair")
        return found[0]

    def asset(self, name: str) -> Asset:
        """Return an asset. RestFailed: it is not listed."""
        if name not in self._assets:
            raise RestFailed("EQuery:Unknown asset")
        return self._assets[name]
