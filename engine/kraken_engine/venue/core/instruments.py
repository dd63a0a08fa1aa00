"""The pairs and assets the venue lists: real names, precisions and minima, and as many made-up ones as asked for.

Nothing here changes while the venue runs. Prices and quantities are integers: a price counts units of
``10 ** -price_decimals`` of the quote, a quantity ("lots") units of ``10 ** -qty_decimals`` of the base.

Real names come in three spellings (docs "Spot REST Introduction"): the REST key ``XXBTZUSD``, its ``altname``
``XBTUSD``, and the symbol of WebSocket v2 ``BTC/USD``.
"""

from __future__ import annotations

import functools

import attrs

from kraken_engine.errors import ConfigError

__all__ = ["MOST_PAIRS", "Asset", "Pair", "assets_of", "listed_pairs", "plain"]

MOST_PAIRS = 5000

QTY_DECIMALS = 8


def plain(value: int, decimals: int) -> str:
    """Return ``value`` units of ``10 ** -decimals`` in plain digits: ``plain(-510, 3)`` is ``-0.510``."""
    if not decimals:
        return str(value)
    whole, rest = divmod(abs(value), 10**decimals)
    return f"{'-' if value < 0 else ''}{whole}.{rest:0{decimals}d}"


@attrs.frozen(kw_only=True)
class Asset:
    """One currency, token or fiat."""

    code: str
    """Modern code: ``BTC``."""
    key: str
    """REST id: ``XXBT``."""
    altname: str
    """REST altname: ``XBT``."""
    decimals: int
    display_decimals: int
    collateral: str
    margin_rate: str | None


@attrs.frozen(kw_only=True)
class Pair:
    """One market."""

    symbol: str
    """``BTC/USD``: the name of WebSocket v2."""
    base: Asset
    quote: Asset
    key: str
    """``XXBTZUSD``: the name REST answers with."""
    altname: str
    """``XBTUSD``."""
    price_decimals: int
    qty_decimals: int
    cost_decimals: int
    open_price: int
    """What the synthetic market starts around, in ticks (units of ``10 ** -price_decimals``)."""
    typical_lots: int
    """Size of an ordinary order, in units of ``10 ** -qty_decimals``."""
    qty_min: int
    cost_min: str
    leverage: tuple[int, ...]
    position_limit: int

    @property
    def wsname(self) -> str:
        """The legacy WebSocket name, ``XBT/USD``; WebSocket v2 refuses it."""
        return f"{self.base.altname}/{self.quote.altname}"

    def with_digits(self, price: int, qty: int) -> Pair:
        """Return the pair as it is announced when its numbers have so many more digits after the point."""
        return attrs.evolve(
            self,
            price_decimals=self.price_decimals + price,
            qty_decimals=self.qty_decimals + qty,
            qty_min=self.qty_min * 10**qty,
        )

    def price_text(self, ticks: int) -> str:
        """Return a price as WebSocket v2 writes it."""
        return plain(ticks, self.price_decimals)

    def qty_text(self, lots: int) -> str:
        """Return a quantity as WebSocket v2 writes it."""
        return plain(lots, self.qty_decimals)


def listed_pairs(count: int) -> tuple[Pair, ...]:
    """Return the first ``count`` pairs; beyond the table they are made up, always in the same way.

    Raises:
        ConfigError: ``count`` is not in 1..5000.
    """
    if not 1 <= count <= MOST_PAIRS:
        raise ConfigError(f"symbols: expected 1 to {MOST_PAIRS}, got {count!r}")
    real = [_real_pair(row) for row in _PAIRS[:count]]
    return (*real, *(_made_up_pair(number) for number in range(len(real) + 1, count + 1)))


def assets_of(pairs: tuple[Pair, ...]) -> tuple[Asset, ...]:
    """Return every asset of ``pairs`` once, in order of first appearance."""
    found: dict[str, Asset] = {}
    for pair in pairs:
        found.setdefault(pair.base.code, pair.base)
        found.setdefault(pair.quote.code, pair.quote)
    return tuple(found.values())


# code, REST id, altname, decimals, display decimals, collateral value, margin rate
_ASSETS: dict[str, tuple[str, str, int, int, str, str | None]] = {
    "USD": ("ZUSD", "USD", 4, 2, "1.000", "0.036000"),
    "EUR": ("ZEUR", "EUR", 4, 2, "1.000", "0.025000"),
    "GBP": ("ZGBP", "GBP", 4, 2, "1.000", "0.025000"),
    "BTC": ("XXBT", "XBT", 10, 5, "0.990", "0.010000"),
    "ETH": ("XETH", "ETH", 10, 5, "0.990", "0.020000"),
    "SOL": ("SOL", "SOL", 10, 5, "0.925", "0.020000"),
    "XRP": ("XXRP", "XRP", 8, 5, "0.950", "0.020000"),
    "DOGE": ("XXDG", "XDG", 8, 2, "0.925", "0.020000"),
    "LTC": ("XLTC", "LTC", 10, 5, "0.950", "0.020000"),
    "XLM": ("XXLM", "XLM", 8, 5, "0.900", "0.020000"),
    "ETC": ("XETC", "ETC", 10, 5, "0.900", "0.020000"),
    "XMR": ("XXMR", "XMR", 10, 5, "0.900", "0.020000"),
    "ZEC": ("XZEC", "ZEC", 10, 5, "0.900", "0.020000"),
    "USDT": ("USDT", "USDT", 8, 4, "0.950", "0.030000"),
    "USDC": ("USDC", "USDC", 8, 4, "0.990", "0.030000"),
    "PEPE": ("PEPE", "PEPE", 5, 2, "0.000", None),
    "SHIB": ("SHIB", "SHIB", 5, 2, "0.900", "0.020000"),
    "VET": ("VET", "VET", 5, 2, "0.000", None),
}
"""Assets whose names or precisions differ from the rule (id = altname = code, 10 and 5 decimals, not borrowable)."""

_PairRow = tuple[str, int, int, int, str, str, str, int, int]
# symbol, price, qty and cost decimals, opening price, typical order, qty_min, highest leverage, position limit
_PAIRS: tuple[_PairRow, ...] = (
    ("BTC/USD", 1, 8, 5, "65012.3", "0.15", "0.00005", 10, 350),
    ("ETH/USD", 2, 8, 5, "2604.57", "2", "0.001", 10, 6000),
    ("SOL/USD", 2, 8, 5, "145.31", "20", "0.06", 10, 37000),
    ("XRP/USD", 5, 8, 5, "0.52418", "3000", "2", 10, 5000000),
    ("DOGE/USD", 7, 8, 9, "0.1044375", "15000", "50", 10, 30000000),
    ("ADA/USD", 6, 8, 6, "0.351264", "4000", "4.4", 10, 2500000),
    ("LTC/USD", 2, 8, 5, "70.44", "15", "0.05", 5, 50000),
    ("LINK/USD", 5, 8, 5, "11.02913", "120", "0.2", 5, 200000),
    ("DOT/USD", 4, 8, 5, "4.2107", "350", "0.7", 5, 350000),
    ("BTC/EUR", 1, 8, 5, "60087.4", "0.12", "0.00005", 10, 250),
    ("ETH/EUR", 2, 8, 5, "2408.11", "1.5", "0.001", 10, 4000),
    ("BCH/USD", 2, 8, 5, "351.62", "4", "0.01", 5, 5000),
    ("AVAX/USD", 2, 8, 5, "25.31", "60", "0.1", 5, 60000),
    ("ATOM/USD", 4, 8, 5, "4.5238", "250", "0.5", 5, 120000),
    ("UNI/USD", 3, 8, 5, "7.041", "150", "0.5", 5, 60000),
    ("TRX/USD", 6, 8, 6, "0.161044", "9000", "15", 5, 5000000),
    ("XLM/USD", 6, 8, 6, "0.093411", "12000", "20", 3, 5000000),
    ("USDT/USD", 5, 8, 5, "0.99981", "5000", "5", 3, 20000000),
    ("PEPE/USD", 9, 5, 9, "0.000008112", "90000000", "450000", 0, 0),
    ("SHIB/USD", 8, 5, 9, "0.00001448", "60000000", "160000", 3, 50000000000),
    ("SOL/EUR", 2, 8, 5, "134.27", "15", "0.06", 10, 20000),
    ("XRP/EUR", 5, 8, 5, "0.48322", "2500", "2", 10, 3000000),
    ("DOGE/EUR", 7, 8, 9, "0.0964218", "12000", "50", 5, 15000000),
    ("ADA/EUR", 6, 8, 6, "0.324188", "3500", "4.4", 5, 1200000),
    ("ETH/BTC", 6, 8, 10, "0.040063", "1.2", "0.001", 5, 1000),
    ("BTC/USDT", 1, 8, 5, "65020.1", "0.08", "0.00005", 10, 80),
    ("ETH/USDT", 2, 8, 5, "2605.04", "1.1", "0.001", 10, 1500),
    ("BTC/USDC", 1, 8, 5, "65015.8", "0.06", "0.00005", 10, 50),
    ("ETH/USDC", 2, 8, 5, "2604.83", "0.9", "0.001", 10, 1000),
    ("BTC/GBP", 1, 8, 5, "51144.6", "0.05", "0.00005", 5, 50),
    ("AAVE/USD", 2, 8, 5, "148.66", "9", "0.02", 5, 8000),
    ("ALGO/USD", 5, 8, 5, "0.12577", "7000", "15", 5, 3000000),
    ("ETC/USD", 3, 8, 5, "18.742", "60", "0.2", 5, 60000),
    ("FIL/USD", 3, 8, 5, "3.661", "300", "1", 5, 120000),
    ("NEAR/USD", 4, 8, 5, "4.1877", "300", "1.2", 5, 200000),
    ("XMR/USD", 2, 8, 5, "152.33", "6", "0.03", 2, 5000),
    ("ZEC/USD", 2, 8, 5, "38.27", "20", "0.1", 2, 10000),
    ("DASH/USD", 3, 8, 5, "25.608", "20", "0.1", 3, 8000),
    ("EUR/USD", 5, 8, 5, "1.08243", "2000", "0.5", 0, 0),
    ("GBP/USD", 5, 8, 5, "1.27104", "1500", "5", 0, 0),
    ("VET/USDT", 6, 5, 5, "0.023418", "40000", "200", 0, 0),
    ("USDC/USD", 4, 8, 5, "0.9999", "5000", "5", 3, 20000000),
)

_IRREGULAR_KEYS = {"DOGE/USD": "XDGUSD", "DOGE/EUR": "XDGEUR", "USDT/USD": "USDTZUSD"}
"""Keys that follow neither rule: both legacy ids joined when both assets have one, both altnames otherwise."""

_COST_MIN = {"USD": "0.5", "EUR": "0.45", "GBP": "0.4", "BTC": "0.00002", "USDT": "0.5", "USDC": "0.5"}

# price decimals, opening price, typical order, qty_min: what made-up pairs take in turn
_MADE_UP = (
    (2, "41.70", "40", "0.1"),
    (4, "3.0155", "500", "1"),
    (5, "0.41253", "4000", "5"),
    (6, "0.072231", "20000", "20"),
)


def _real_pair(row: _PairRow) -> Pair:
    symbol, price_decimals, qty_decimals, cost_decimals, price, typical, smallest, leverage, limit = row
    base, quote = (_asset(code) for code in symbol.split("/"))
    altname = base.altname + quote.altname
    legacy = base.key != base.altname and quote.key != quote.altname
    return Pair(
        symbol=symbol,
        base=base,
        quote=quote,
        key=_IRREGULAR_KEYS.get(symbol, base.key + quote.key if legacy else altname),
        altname=altname,
        price_decimals=price_decimals,
        qty_decimals=qty_decimals,
        cost_decimals=cost_decimals,
        open_price=_units(price, price_decimals),
        typical_lots=_units(typical, qty_decimals),
        qty_min=_units(smallest, qty_decimals),
        cost_min=_COST_MIN[quote.code],
        leverage=tuple(range(2, leverage + 1)),
        position_limit=limit,
    )


def _made_up_pair(number: int) -> Pair:
    price_decimals, price, typical, smallest = _MADE_UP[number % len(_MADE_UP)]
    base, quote = _asset(f"SIM{number}"), _asset("USD")
    return Pair(
        symbol=f"{base.code}/USD",
        base=base,
        quote=quote,
        key=f"{base.code}USD",
        altname=f"{base.code}USD",
        price_decimals=price_decimals,
        qty_decimals=QTY_DECIMALS,
        cost_decimals=5,
        open_price=_units(price, price_decimals) * (50 + number * 37 % 100) // 100,
        typical_lots=_units(typical, QTY_DECIMALS),
        qty_min=_units(smallest, QTY_DECIMALS),
        cost_min=_COST_MIN["USD"],
        leverage=(),
        position_limit=0,
    )


@functools.cache
def _asset(code: str) -> Asset:
    key, altname, decimals, display, collateral, margin_rate = _ASSETS.get(code, (code, code, 10, 5, "0.000", None))
    return Asset(
        code=code,
        key=key,
        altname=altname,
        decimals=decimals,
        display_decimals=display,
        collateral=collateral,
        margin_rate=margin_rate,
    )


def _units(text: str, decimals: int) -> int:
    whole, _, rest = text.partition(".")
    return int(whole + rest.ljust(decimals, "0"))
