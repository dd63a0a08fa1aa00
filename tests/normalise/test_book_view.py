from __future__ import annotations

from decimal import Decimal, localcontext

import attrs
import pytest

from kraken_engine.codec.ws_v2 import Level
from kraken_engine.errors import UsageError
from kraken_engine.normalise.book_view import BookView


def view(bids: list[tuple[object, object]], asks: list[tuple[object, object]], *, depth: int = 10) -> BookView:
    raw_bids, raw_asks = (tuple(Level(price=p, qty=q) for p, q in side) for side in (bids, asks))
    return BookView(symbol="BTC/USD", depth=depth, checksum=7, raw_bids=raw_bids, raw_asks=raw_asks)


TWO = view([(b"0.00000051", b"0.00100000"), (b"0.00000050", b"4.0")], [(b"0.00000053", 12), (b"0.00000060", b"1.5")])


def test_digits_are_those_of_the_wire() -> None:
    assert [(f"{level.price:f}", f"{level.qty:f}") for level in (*TWO.bids, *TWO.asks)] == [
        ("0.00000051", "0.00100000"), ("0.00000050", "4.0"), ("0.00000053", "12"), ("0.00000060", "1.5"),
    ]  # fmt: skip


def test_the_top_of_the_book_is_its_first_level() -> None:
    assert (TWO.bid, TWO.bid_qty) == (TWO.bids[0].price, TWO.bids[0].qty)
    assert (TWO.ask, TWO.ask_qty) == (TWO.asks[0].price, TWO.asks[0].qty)


def test_spread_and_mid_are_exact_whatever_the_callers_decimal_context() -> None:
    with localcontext(prec=1):
        assert TWO.spread == Decimal("0.00000002")
        assert TWO.mid == Decimal("0.00000052")
        wide = view([(b"12345678901234567890.1", 1)], [(b"12345678901234567890.2", 1)])
        assert wide.mid == Decimal("12345678901234567890.15")
        assert view([(b"1.05", 1)], [(b"2.18", 1)]).spread == Decimal("1.13")


@pytest.mark.parametrize(("bids", "asks"), [([], []), ([(1, 1)], []), ([], [(1, 1)])])
def test_an_empty_side_has_no_best_and_so_no_spread(
    bids: list[tuple[object, object]], asks: list[tuple[object, object]]
) -> None:
    one_sided = view(bids, asks)

    assert (one_sided.bid is None, one_sided.bid_qty is None) == (not bids, not bids)
    assert (one_sided.ask is None, one_sided.ask_qty is None) == (not asks, not asks)
    assert one_sided.spread is None
    assert one_sided.mid is None


def test_top_cuts_each_side_and_keeps_the_checksum() -> None:
    top = TWO.top(1)

    assert (top.bids, top.asks, top.depth, top.checksum) == (TWO.bids[:1], TWO.asks[:1], 1, TWO.checksum)
    assert TWO.top(10) is TWO
    with pytest.raises(UsageError, match="expected 1 level or more, got 0"):
        TWO.top(0)


def test_a_view_is_a_value() -> None:
    same = attrs.evolve(TWO)

    assert same == TWO
    assert hash(same) == hash(TWO)
    assert {TWO: 1}[same] == 1
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        TWO.depth = 5  # type: ignore[misc]
