"""The demo calls a fault healed only when its books were announced stale and are live again."""

from __future__ import annotations

from kraken_engine.cli.demo_ledger import Ledger
from kraken_engine.normalise.events import Gap, LineDown, LineUp, Live, Stale

SYMBOLS = ("BTC/USD", "ETH/USD")


def ledger() -> Ledger:
    return Ledger(SYMBOLS)


def test_nothing_made_is_whole() -> None:
    assert ledger().whole
    assert ledger().made("cut") == 0


def test_a_fault_that_was_never_announced_is_not_healed_by_a_live_book() -> None:
    books = ledger()
    books.fault("corruption", ["BTC/USD"], at_s=1.0)
    books.receive(Live(at_s=2.0, channel="book", symbol="BTC/USD"))
    assert not books.whole
    assert books.healed("corruption") == 0


def test_a_cut_is_healed_only_when_every_book_is_live_again() -> None:
    books = ledger()
    books.fault("cut", SYMBOLS, at_s=1.0)
    for symbol in SYMBOLS:
        books.receive(Stale("book", symbol, "connection closed", since_s=1.1))
    books.receive(Live(at_s=2.0, channel="book", symbol="BTC/USD"))
    assert not books.whole
    assert list(books.stale) == ["ETH/USD"]
    books.receive(Live(at_s=2.1, channel="book", symbol="ETH/USD"))
    assert (books.made("cut"), books.healed("cut")) == (1, 1)
    assert "connection closed" in books.story()[0]


def test_a_loss_without_a_symbol_concerns_every_book() -> None:
    books = ledger()
    books.fault("cut", SYMBOLS, at_s=1.0)
    books.receive(Stale("book", None, "line down"))
    assert list(books.stale) == list(SYMBOLS)


def test_other_channels_heal_nothing() -> None:
    books = ledger()
    books.fault("cut", ["BTC/USD"], at_s=1.0)
    books.receive(Stale("ticker", "BTC/USD", "line down"))
    books.receive(Live(at_s=2.0, channel="ticker", symbol="BTC/USD"))
    assert not books.whole


def test_gaps_are_counted_by_symbol() -> None:
    books = ledger()
    gap = Gap(at_s=2.0, channel="book", symbol="BTC/USD", start_s=1.0, end_s=2.0, reason="cut", healed_by="snapshot")
    books.receive(gap)
    assert books.gaps == {"BTC/USD": 1}


def line_down(line: str) -> LineDown:
    return LineDown(at_s=1.1, line=line, reason="closed with 1006", failures=1, retry_in_s=0.0)


def test_the_loss_of_one_line_is_healed_when_that_line_is_up_again() -> None:
    books = ledger()
    books.fault("line", SYMBOLS, at_s=1.0)
    books.receive(line_down("market A"))
    books.receive(LineUp(at_s=1.2, line="market B", connection=1))
    assert books.healed("line") == 0
    books.receive(LineUp(at_s=1.3, line="market A", connection=2))
    assert books.whole
    assert books.healed("line") == 1
    assert books.story() == ["line: healed, and no book noticed (the engine said: closed with 1006)"]


def test_the_loss_of_one_line_must_not_be_noticed_by_a_book() -> None:
    books = ledger()
    books.fault("line", SYMBOLS, at_s=1.0)
    books.receive(line_down("market A"))
    books.receive(Stale("book", "ETH/USD", "connection closed", since_s=1.1))
    books.receive(Live(at_s=1.2, channel="book", symbol="ETH/USD"))
    books.receive(LineUp(at_s=1.3, line="market A", connection=2))
    assert books.whole
    assert books.healed("line") == 0
    assert "NOT UNNOTICED: ETH/USD" in books.story()[0]
