"""Every name the venue has for a pair or an asset leads to our one, by its tables and never by stripping letters."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.codec.rest_public import AssetInfo, PairInfo
from kraken_engine.model import Instrument
from kraken_engine.normalise.symbols import Symbols, modern


def asset(altname: str) -> AssetInfo:
    return AssetInfo(altname=altname, decimals=8, display_decimals=5)


def pair(altname: str, base: str, quote: str, wsname: str | None = None) -> PairInfo:
    return PairInfo(altname=altname, base=base, quote=quote, pair_decimals=1, lot_decimals=8, wsname=wsname)


ASSETS = {
    "XXBT": asset("XBT"), "XXDG": asset("XDG"), "XETH": asset("ETH"), "ZUSD": asset("USD"), "XTZ": asset("XTZ"),
    "ZRX": asset("ZRX"), "SOL": asset("SOL"), "XBT.M": asset("XBT.M"), "XXLM": asset("XLM"),
}  # fmt: skip
PAIRS = {
    "XXBTZUSD": pair("XBTUSD", "XXBT", "ZUSD", "XBT/USD"),
    "XDGUSD": pair("XDGUSD", "XXDG", "ZUSD", "XDG/USD"),
    "XTZUSD": pair("XTZUSD", "XTZ", "ZUSD", "XTZ/USD"),
    "XETHXXBT": pair("ETHXBT", "XETH", "XXBT"),
    "XXBTZUSD.d": pair("XBTUSD.d", "XXBT", "ZUSD"),
}
SYMBOLS = Symbols(ASSETS, PAIRS)


@pytest.mark.parametrize("name", ["XXBTZUSD", "XBTUSD", "XBT/USD", "BTC/USD"])
def test_every_name_of_a_pair_leads_to_its_symbol(name: str) -> None:
    assert SYMBOLS.symbol(name) == "BTC/USD"


def test_a_pair_without_a_name_for_websockets_is_found_by_its_assets() -> None:
    assert SYMBOLS.symbol("ETHXBT") == "ETH/BTC"


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("XXBTZUSD", "BTC/USD"), ("SOLUSD", "SOL/USD"), ("SOLXBT", "SOL/BTC"), ("SOL/USD", "SOL/USD"),
        ("MATICUSD", "MATIC/USD"),  # its asset is gone as well
        ("MATIC/XBT", "MATIC/BTC"),
        ("XREPZUSD", "REP/USD"),
        ("XETHZUSD", "ETH/USD"), ("XTZZRX", "XTZ/ZRX"), ("FOZUSD", "FOZ/USD"),
        ("LUNAWHAT", "LUNAWHAT"),  # no asset anybody knows
    ],
)  # fmt: skip
@pytest.mark.parametrize("symbols", [SYMBOLS, Symbols({}, PAIRS | {"ZRXSOL": pair("ZRXSOL", "ZRX", "SOL", "ZRX/SOL")})])
def test_a_pair_that_no_table_has_any_more_is_read_as_two_assets(symbols: Symbols, name: str, symbol: str) -> None:
    assert symbols.named(name) == symbol


@given(st.text(max_size=20))
def test_every_name_gives_a_symbol(name: str) -> None:
    assert SYMBOLS.named(name) or not name


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("XXBT", "BTC"), ("XBT", "BTC"), ("BTC", "BTC"), ("XXDG", "DOGE"), ("XDG", "DOGE"), ("ZUSD", "USD"),
        # Nothing is stripped from ids that merely begin like the old ones.
        ("XTZ", "XTZ"), ("ZRX", "ZRX"), ("ZZZZ", "ZZZZ"), ("XNEW", "XNEW"),
        # Wallets that cannot be traded from keep their suffix.
        ("XBT.M", "BTC.M"), ("XXBT.S", "BTC.S"), ("ATOM.S", "ATOM.S"), ("XDG.F", "DOGE.F"),
    ],
)  # fmt: skip
def test_every_name_of_an_asset_leads_to_its_code(name: str, code: str) -> None:
    assert SYMBOLS.asset(name) == code


def test_the_way_back_gives_the_venues_own_key_and_id() -> None:
    assert SYMBOLS.key("BTC/USD") == "XXBTZUSD"
    assert SYMBOLS.asset_id("BTC") == "XXBT"
    assert SYMBOLS.asset_id("NEWCOIN") == "NEWCOIN"


def test_the_old_dark_pool_is_left_out() -> None:
    assert SYMBOLS.symbol("XXBTZUSD.d") is None
    assert SYMBOLS.symbols == ("BTC/USD", "DOGE/USD", "XTZ/USD", "ETH/BTC")


def test_a_name_that_is_not_in_the_tables_is_no_pair() -> None:
    assert SYMBOLS.symbol("SHIBUSD") is None
    assert SYMBOLS.key("SHIB/USD") is None


def test_tables_that_are_empty_still_know_the_old_ids_and_the_two_renamed_codes() -> None:
    empty = Symbols({}, {})
    assert [empty.asset(name) for name in ("XBT", "XXBT", "ZUSD", "XNEW")] == ["BTC", "BTC", "USD", "XNEW"]
    assert empty.symbols == ()


@given(st.sampled_from(["XBT", "XDG", "ETH", "USD", "XTZ"]), st.sampled_from(["", ".S", ".M", ".B", ".F", ".T"]))
def test_a_modern_code_is_a_fixed_point(name: str, suffix: str) -> None:
    code = modern(name + suffix)
    assert modern(code) == code
    assert code.endswith(suffix)


def test_names_follow_from_modern_symbols_where_the_tables_cannot_be_had() -> None:
    def instrument(symbol: str) -> Instrument:
        base, quote = symbol.split("/")
        one = Decimal(1)
        return Instrument(
            symbol=symbol, base=base, quote=quote, status="online", price_decimals=1, qty_decimals=8,
            price_increment=one, qty_increment=one, qty_min=one, cost_min=one,
        )  # fmt: skip

    names = Symbols.of_instruments(map(instrument, ("BTC/USD", "DOGE/USD", "XTZ/USD", "ETH/BTC")))
    for key, pair in PAIRS.items():
        symbol = SYMBOLS.symbol(key)
        if symbol is not None:
            assert {names.symbol(name) for name in (key, pair.altname, symbol)} == {symbol}
    assert [names.asset(name) for name in ("XXBT", "ZUSD", "XTZ", "XBT.M", "XXDG")] == [
        "BTC",
        "USD",
        "XTZ",
        "BTC.M",
        "DOGE",
    ]
    assert names.asset_id("BTC") == "XXBT"
    assert names.symbol("SHIBUSD") is None
