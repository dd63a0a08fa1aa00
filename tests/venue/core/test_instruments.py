"""The list of pairs: real ones first, made-up ones as many as asked for, names unambiguous."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.errors import ConfigError
from kraken_engine.venue.core.instruments import assets_of, listed_pairs, plain


def test_a_longer_list_starts_with_the_shorter_one() -> None:
    assert listed_pairs(1200)[:60] == listed_pairs(60)


def test_every_name_belongs_to_one_pair() -> None:
    pairs = listed_pairs(1200)
    assert len({pair.symbol for pair in pairs}) == 1200
    names = [name for pair in pairs for name in {pair.key, pair.altname}]
    assert len(names) == len(set(names))
    assets = assets_of(pairs)
    assert len({asset.code for asset in assets}) == len({asset.key for asset in assets}) == len(assets)


@pytest.mark.parametrize(
    ("symbol", "key", "altname", "wsname"),
    [
        ("BTC/USD", "XXBTZUSD", "XBTUSD", "XBT/USD"),
        ("ETH/BTC", "XETHXXBT", "ETHXBT", "ETH/XBT"),
        ("DOGE/USD", "XDGUSD", "XDGUSD", "XDG/USD"),
        ("SOL/USD", "SOLUSD", "SOLUSD", "SOL/USD"),
        ("BTC/USDT", "XBTUSDT", "XBTUSDT", "XBT/USDT"),
        ("USDT/USD", "USDTZUSD", "USDTUSD", "USDT/USD"),
        ("EUR/USD", "ZEURZUSD", "EURUSD", "EUR/USD"),
    ],
)
def test_legacy_names_are_those_of_the_venue(symbol: str, key: str, altname: str, wsname: str) -> None:
    (pair,) = (pair for pair in listed_pairs(50) if pair.symbol == symbol)
    assert (pair.key, pair.altname, pair.wsname) == (key, altname, wsname)


def test_every_pair_has_room_for_a_book_and_decimals_for_it() -> None:
    for pair in listed_pairs(1200):
        assert pair.open_price > 1000
        assert pair.typical_lots > 1000
        assert pair.price_decimals > 0
        assert pair.qty_decimals > 0


@pytest.mark.parametrize("count", [0, -1, 5001])
def test_a_list_that_cannot_be_is_refused(count: int) -> None:
    with pytest.raises(ConfigError, match="symbols: expected 1 to 5000"):
        listed_pairs(count)


@given(st.integers(-(10**20), 10**20), st.integers(0, 12))
def test_plain_digits_are_exact_and_keep_their_zeros(value: int, decimals: int) -> None:
    text = plain(value, decimals)
    assert int(text.replace(".", "")) == value
    assert len(text.partition(".")[2]) == decimals
    assert "e" not in text.lower()
