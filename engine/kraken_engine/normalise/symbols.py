"""The venue's several names for one thing, and our one.

An asset has a legacy id (``XXBT``, ``ZUSD``), a short name (``XBT``, ``USD``) and a modern code (``BTC``, ``USD``).
A pair has a legacy key (``XXBTZUSD``), a short name (``XBTUSD``), a name of WebSocket v1 (``XBT/USD``) and a modern
symbol (``BTC/USD``). Ours are the modern ones, everywhere. They are found in the venue's tables, ``Assets`` and
``AssetPairs``, and by the two codes the venue renamed; never by stripping letters, for most ids have nothing to strip
(``XTZ``, ``ZRX``). A pair that is in no table any more, since it was delisted, still has orders and fills: its name is
read as two of assets, as far as that can be done in one way.

Knows tables alone: who fetched them, and when, is decided above. Source: docs "Get Asset Info", "Get Tradable Asset
Pairs"; 838 of 849 ids equalled their code in 2026-09.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import final

from kraken_engine.codec.rest_public import AssetInfo, PairInfo
from kraken_engine.model import Instrument

__all__ = ["RENAMED", "Symbols", "modern"]

RENAMED: Mapping[str, str] = {"XBT": "BTC", "XDG": "DOGE"}
"""Short names for which the modern code is another one."""

_SHORT = {code: name for name, code in RENAMED.items()}
_OLD_IDS = {
    "XBT": "XXBT", "XDG": "XXDG", "ETC": "XETC", "ETH": "XETH", "LTC": "XLTC", "MLN": "XMLN", "REP": "XREP",
    "XLM": "XXLM", "XMR": "XXMR", "XRP": "XXRP", "ZEC": "XZEC", "AUD": "ZAUD", "CAD": "ZCAD", "EUR": "ZEUR",
    "GBP": "ZGBP", "JPY": "ZJPY", "USD": "ZUSD",
}  # fmt: skip
"""The assets whose legacy id is not their short name: a closed list, new ones have none."""

_OLD: Mapping[str, str] = {asset_id: RENAMED.get(name, name) for name, asset_id in _OLD_IDS.items()}
"""Modern code by legacy id."""
_DARK_POOL = ".d"


def modern(short_name: str) -> str:
    """Return the modern code of an asset's short name; what follows a point (``.S`` staked, ``.M``) stays."""
    name, point, wallet = short_name.partition(".")
    return RENAMED.get(name, name) + point + wallet


def _is_old(asset_id: str) -> bool:
    """Return whether this is, or looks like, an id of the old kind."""
    return len(asset_id) == 4 and asset_id[0] in "XZ"


@final
class Symbols:
    """Names both ways, from one edition of the venue's tables.

    Args:
        assets: by legacy id, as ``Assets`` gives them.
        pairs: by legacy key, as ``AssetPairs`` gives them; of the old dark pool are left out.
    """

    def __init__(self, assets: Mapping[str, AssetInfo], pairs: Mapping[str, PairInfo]) -> None:
        self._codes: dict[str, str] = {}
        self._ids: dict[str, str] = {}
        for asset_id, asset in assets.items():
            code = modern(asset.altname)
            self._codes |= {asset_id: code, asset.altname: code, code: code}
            self._ids[code] = asset_id
        self._symbols: dict[str, str] = {}
        self._keys: dict[str, str] = {}
        for key, pair in pairs.items():
            if key.endswith(_DARK_POOL):
                continue
            codes = self._codes_of(pair)
            symbol = "/".join(codes)
            self._keys.setdefault(symbol, key)
            names = (key, pair.altname, symbol, pair.wsname or symbol)
            self._symbols |= dict.fromkeys(names, symbol)
            for asset_id, code in zip((pair.base, pair.quote), codes, strict=True):
                self._codes.setdefault(asset_id, code)
                self._codes |= {_SHORT.get(code, code): code, code: code}

    @classmethod
    def of_instruments(cls, instruments: Iterable[Instrument]) -> Symbols:
        """Return the names that follow from modern symbols, for as long as the venue's tables cannot be had.

        Every name of a pair that the venue may answer with is among them; keys are guessed for the way there, where the
        short name does as well.
        """
        made = cls({}, {})
        for instrument in instruments:
            base, quote = (_SHORT.get(code, code) for code in (instrument.base, instrument.quote))
            ids = [_OLD_IDS.get(name, name) for name in (base, quote)]
            names = (instrument.symbol, base + quote, f"{base}/{quote}", "".join(ids))
            made._symbols |= dict.fromkeys(names, instrument.symbol)
            made._keys[instrument.symbol] = base + quote
            for name, asset_id, code in zip((base, quote), ids, (instrument.base, instrument.quote), strict=True):
                made._codes |= {asset_id: code, name: code, code: code}
                made._ids[code] = asset_id
        return made

    @property
    def symbols(self) -> tuple[str, ...]:
        """Every pair, in the venue's order."""
        return tuple(self._keys)

    def symbol(self, name: str) -> str | None:
        """Return our symbol for any name of a pair; None if the tables do not have it."""
        return self._symbols.get(name)

    def named(self, name: str) -> str:
        """Return our symbol for any name of a pair, of one that the tables lack as well.

        That is what its letters say if its quote is an asset that is known: of several the one whose base is known,
        too, and else the longest. A name that says nothing stays as it is.
        """
        symbol = self.symbol(name)
        if symbol is not None:
            return symbol
        if name.count("/") == 1:
            base, quote = name.split("/")
            return f"{self.asset(base)}/{self.asset(quote)}"
        halves = [(name[:at], name[at:]) for at in range(1, len(name)) if name[at:] in self._codes]
        # An id of the old kind stands beside another one (XXBTZUSD, XREPZUSD), and nowhere else (XTZUSD).
        halves = [(base, quote) for base, quote in halves if _is_old(base) or quote not in _OLD]
        best = next(((base, quote) for base, quote in halves if base in self._codes), halves[0] if halves else None)
        return name if best is None else f"{self.asset(best[0])}/{self.asset(best[1])}"

    def key(self, symbol: str) -> str | None:
        """Return the venue's key for our ``symbol``; None if the tables do not have it."""
        return self._keys.get(symbol)

    def asset(self, name: str) -> str:
        """Return our code for any name of an asset, with what follows a point; one the tables lack stays as it is.

        A wallet of its own (``XBT.M``, ``ATOM.S``) keeps its suffix: it cannot be traded with.
        """
        code = self._codes.get(name)
        if code is not None:
            return code
        base, point, wallet = name.partition(".")
        return self._codes.get(base, _OLD.get(base, RENAMED.get(base, base))) + point + wallet

    def asset_id(self, code: str) -> str:
        """Return the venue's id for our ``code``; one the tables lack stays as it is."""
        return self._ids.get(code, code)

    def _codes_of(self, pair: PairInfo) -> tuple[str, str]:
        if pair.wsname is not None and pair.wsname.count("/") == 1:
            base, quote = pair.wsname.split("/")
            return modern(base), modern(quote)
        return self.asset(pair.base), self.asset(pair.quote)
