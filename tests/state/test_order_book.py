from __future__ import annotations

from decimal import Decimal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies_books import Digits, NaiveBook, VenueBook, checksum_of, walks

from kraken_engine.codec.ws_v2 import BookData, Level
from kraken_engine.errors import Stale
from kraken_engine.normalise.book_view import BookView
from kraken_engine.state.order_book import BookFault, ChecksumMismatch, OrderBook

CENTS = Digits(price=1, qty=8)

DOCUMENTED_ASKS = [
    ("45285.2", "0.00100000"), ("45286.4", "1.54571953"), ("45286.6", "1.54571109"), ("45289.6", "1.54560911"),
    ("45290.2", "0.15890660"), ("45291.8", "1.54553491"), ("45294.7", "0.04454749"), ("45296.1", "0.35380000"),
    ("45297.5", "0.09945542"), ("45299.5", "0.18772827"),
]  # fmt: skip
DOCUMENTED_BIDS = [
    ("45283.5", "0.10000000"), ("45283.4", "1.54582015"), ("45282.1", "0.10000000"), ("45281.0", "0.10000000"),
    ("45280.3", "1.54592586"), ("45279.0", "0.07990000"), ("45277.6", "0.03310103"), ("45277.5", "0.30000000"),
    ("45277.3", "1.54602737"), ("45276.6", "0.15445238"),
]  # fmt: skip
DOCUMENTED_CHECKSUM = 3310070434
"""The worked example of docs "Spot Websockets (v2) Book Checksum"."""


def levels(pairs: list[tuple[str, str]]) -> list[Level]:
    return [Level(price=price.encode(), qty=qty.encode()) for price, qty in pairs]


def documented() -> BookData:
    return BookData("BTC/USD", levels(DOCUMENTED_BIDS), levels(DOCUMENTED_ASKS), DOCUMENTED_CHECKSUM)


def venue_with(levels_a_side: int, *, depth: int = 10, digits: Digits = CENTS) -> VenueBook:
    venue = VenueBook(digits, depth)
    for away in range(1, levels_a_side + 1):
        venue.change([(True, 1000 - away, 10 * away), (False, 1000 + away, 10 * away)])
    return venue


def following(venue: VenueBook) -> OrderBook:
    book = OrderBook(venue.symbol, venue.depth)
    book.apply(venue.snapshot(), snapshot=True)
    return book


def texts(view: BookView) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    bids = [(f"{level.price:f}", f"{level.qty:f}") for level in view.bids]
    return bids, [(f"{level.price:f}", f"{level.qty:f}") for level in view.asks]


def assert_empty(book: OrderBook) -> None:
    with pytest.raises(Stale, match="no verified book"):
        book.view()
    assert not book.is_verified
    assert repr(book) == f"OrderBook({book.symbol!r}, depth={book.depth}, is_verified=False)"
    assert not book.crossed
    with pytest.raises(BookFault, match="update without a snapshot"):
        book.apply(BookData(book.symbol, [], [], 0), snapshot=False)


def test_the_documented_example_verifies_and_keeps_its_digits() -> None:
    book = OrderBook("BTC/USD", 10)
    book.apply(documented(), snapshot=True)

    view = book.view()

    assert texts(view) == (DOCUMENTED_BIDS, DOCUMENTED_ASKS)
    assert view.checksum == DOCUMENTED_CHECKSUM
    assert str(view.ask_qty) == "0.00100000"


def test_the_order_of_levels_in_a_snapshot_does_not_matter() -> None:
    book = OrderBook("BTC/USD", 10)
    data = documented()
    book.apply(BookData("BTC/USD", data.bids[::-1], data.asks[::-1], data.checksum), snapshot=True)

    assert texts(book.view()) == (DOCUMENTED_BIDS, DOCUMENTED_ASKS)


@given(st.sampled_from([10, 25]).flatmap(lambda depth: walks(depth=depth)))
def test_every_message_of_a_venue_verifies_and_gives_its_book(walk: tuple[VenueBook, list[BookData]]) -> None:
    venue, messages = walk
    book = OrderBook(venue.symbol, venue.depth)

    for count, data in enumerate(messages):
        book.apply(data, snapshot=count == 0)

    assert texts(book.view()) == venue.texts()


@given(walks())
def test_it_agrees_with_a_naive_book_on_every_message(walk: tuple[VenueBook, list[BookData]]) -> None:
    venue, messages = walk
    book, naive = OrderBook(venue.symbol, venue.depth), NaiveBook(venue.digits, venue.depth)

    for count, data in enumerate(messages):
        book.apply(data, snapshot=count == 0)
        assert naive.apply(data, snapshot=count == 0)
        assert texts(book.view()) == (naive.texts(naive.bids, reverse=True), naive.texts(naive.asks))


@given(walks(), st.data())
def test_a_lost_update_is_found_or_made_no_difference(
    walk: tuple[VenueBook, list[BookData]], data: st.DataObject
) -> None:
    venue, messages = walk
    lost = data.draw(st.integers(1, len(messages)), label="lost")
    book = OrderBook(venue.symbol, venue.depth)

    try:
        for count, message in enumerate(messages):
            if count != lost:
                book.apply(message, snapshot=count == 0)
    except ChecksumMismatch:
        assert_empty(book)
    else:
        # Lost with nothing after it, or healed by what followed: then the last checksum is over the whole window.
        if lost < len(messages) - 1:
            assert texts(book.view()) == venue.texts()


@given(walks(lose_zeros=True))
def test_lost_zeros_are_put_back_when_the_precision_is_known(walk: tuple[VenueBook, list[BookData]]) -> None:
    venue, messages = walk
    book = OrderBook(venue.symbol, venue.depth)
    book.expect_precision(venue.digits.price, venue.digits.qty)

    for count, data in enumerate(messages):
        book.apply(data, snapshot=count == 0)

    bids, asks = book.view().bids, book.view().asks
    assert [(Decimal(p), Decimal(q)) for p, q in venue.texts()[0]] == [(level.price, level.qty) for level in bids]
    assert [(Decimal(p), Decimal(q)) for p, q in venue.texts()[1]] == [(level.price, level.qty) for level in asks]


@given(walks(), st.data())
def test_a_wrong_checksum_empties_the_book(walk: tuple[VenueBook, list[BookData]], data: st.DataObject) -> None:
    venue, messages = walk
    wrong = data.draw(st.integers(0, len(messages) - 1), label="wrong")
    book = OrderBook(venue.symbol, venue.depth)
    for count, message in enumerate(messages[:wrong]):
        book.apply(message, snapshot=count == 0)
    bad = messages[wrong]

    with pytest.raises(ChecksumMismatch, match=rf"the venue has {bad.checksum ^ 1}, this book had {bad.checksum}"):
        book.apply(BookData(bad.symbol, bad.bids, bad.asks, bad.checksum ^ 1), snapshot=wrong == 0)

    assert_empty(book)
    book.apply(venue.snapshot(), snapshot=True)
    assert texts(book.view()) == venue.texts()


def test_of_a_price_repeated_in_one_message_the_last_counts() -> None:
    venue = venue_with(12)
    book = following(venue)
    update = venue.change([(True, 999, 7)])
    twice = [CENTS.level(999, 3), CENTS.level(999, 0), *update.bids]

    book.apply(BookData(update.symbol, twice, update.asks, update.checksum), snapshot=False)

    assert texts(book.view()) == venue.texts()


def test_a_level_pushed_out_of_the_window_is_forgotten_and_comes_back_when_sent_again() -> None:
    venue = venue_with(10)
    book = following(venue)
    worst = venue.texts()[1][-1]

    pushed = venue.change([(False, 1000, 5)])
    assert len(pushed.asks) == 1  # the venue does not mention what left the window
    book.apply(pushed, snapshot=False)
    assert worst not in texts(book.view())[1]

    back = venue.change([(False, 1000, 0)])
    assert len(back.asks) == 2  # the removal and what comes back
    book.apply(back, snapshot=False)
    assert texts(book.view())[1][-1] == worst


def test_pushing_out_happens_after_the_whole_message() -> None:
    """An eleventh level in the middle of a message must survive when a later change makes room for it."""
    venue = venue_with(10)
    book = following(venue)
    update = venue.change([(False, 1011, 5), (False, 1001, 0)])
    inserted_first = sorted(update.asks, key=lambda level: level.qty == b"0.00000000")

    book.apply(BookData(update.symbol, [], inserted_first, update.checksum), snapshot=False)

    assert texts(book.view()) == venue.texts()


def test_removing_a_level_that_is_not_there_is_tolerated() -> None:
    venue = venue_with(3)
    book = following(venue)

    book.apply(BookData(venue.symbol, [CENTS.level(5, 0)], [], venue.checksum()), snapshot=False)

    assert texts(book.view()) == venue.texts()


@pytest.mark.parametrize("levels_a_side", [0, 1, 9, 10])
def test_a_side_may_have_fewer_levels_than_the_checksum_covers(levels_a_side: int) -> None:
    venue = venue_with(levels_a_side)

    assert len(following(venue).view().bids) == levels_a_side


def test_a_book_that_begins_empty_learns_its_precision_from_the_first_levels() -> None:
    venue = venue_with(0)
    book = following(venue)

    book.apply(venue.change([(True, 999, 7)]), snapshot=False)

    assert texts(book.view()) == venue.texts()


def test_levels_beyond_the_tenth_are_not_vouched_for() -> None:
    venue = venue_with(25, depth=25)
    book = following(venue)
    eleventh = 1000 - 11

    book.apply(BookData(venue.symbol, [CENTS.level(eleventh, 1)], [], venue.checksum()), snapshot=False)

    view = book.view()
    assert view.verified_levels == 10
    assert texts(view)[0][:10] == venue.texts()[0][:10]
    assert texts(view)[0][10] != venue.texts()[0][10]


def test_an_update_with_more_digits_than_the_book_is_a_fault() -> None:
    venue = venue_with(3)
    book = following(venue)

    with pytest.raises(
        BookFault, match=r"\*\.price: expected at most 1 digits after the point \(precision changed\?\)"
    ):
        book.apply(BookData(venue.symbol, [Level(b"99.95", b"1.00000000")], [], 1), snapshot=False)

    assert_empty(book)


def test_a_snapshot_that_shows_more_digits_than_the_instrument_is_believed_and_checked() -> None:
    venue = venue_with(12, digits=Digits(price=2, qty=8))
    book = OrderBook(venue.symbol, venue.depth)
    book.expect_precision(1, 3)

    book.apply(venue.snapshot(), snapshot=True)

    assert book.precision == (2, 8)
    assert texts(book.view()) == venue.texts()


def test_a_snapshot_without_a_single_digit_in_the_last_place_needs_the_instrument() -> None:
    venue = VenueBook(Digits(price=2, qty=8, lose_zeros=True))
    for away in range(1, 12):
        venue.change([(True, 10 * (1000 - away), 10**8), (False, 10 * (1000 + away), 10**8)])
    book = OrderBook(venue.symbol, venue.depth)

    with pytest.raises(ChecksumMismatch):
        book.apply(venue.snapshot(), snapshot=True)
    book.expect_precision(2, 8)
    book.apply(venue.snapshot(), snapshot=True)

    assert str(book.view().bid) == "99.9"


def test_a_one_sided_book_has_a_precision_too() -> None:
    venue = VenueBook(CENTS)
    venue.change([(False, 1001, 5)])
    book = following(venue)

    with pytest.raises(BookFault, match="precision changed"):
        book.apply(BookData(venue.symbol, [Level(b"99.95", b"1.00000000")], [], 1), snapshot=False)


def test_numbers_in_exponent_form_are_numbers() -> None:
    book = OrderBook("BTC/USD", 10)
    checksum = checksum_of([("45", "0.00000001")], [("44", "0.00000120")])

    book.apply(BookData("BTC/USD", [Level(44, b"1.2e-6")], [Level(b"4.5e1", b"1e-08")], checksum), snapshot=True)

    assert book.precision == (0, 8)
    assert book.view().ask_qty == Decimal("0.00000001")


@pytest.mark.parametrize("snapshot", [True, False])
def test_far_more_levels_than_subscribed_are_a_fault(snapshot: bool) -> None:
    venue = venue_with(12)
    book = following(venue)
    many = [CENTS.level(2000 + away, 1) for away in range(21)]

    with pytest.raises(BookFault, match="expected at most 20 levels of a side in one message, got 21"):
        book.apply(BookData(venue.symbol, [], many, 1), snapshot=snapshot)

    assert_empty(book)


def test_a_price_of_zero_is_a_fault() -> None:
    venue = venue_with(3)
    book = following(venue)

    with pytest.raises(BookFault, match="expected a price above 0"):
        book.apply(BookData(venue.symbol, [CENTS.level(0, 5)], [], 1), snapshot=False)

    assert_empty(book)


tokens = st.one_of(
    st.none(), st.booleans(), st.text(max_size=8), st.floats(), st.lists(st.integers(), max_size=2), st.integers(),
    st.binary(max_size=8), st.from_regex(rb"-?[0-9]{1,45}(\.[0-9]{0,45})?([eE][+-]?[0-9]{1,9})?", fullmatch=True),
)  # fmt: skip


@given(st.lists(st.builds(Level, price=tokens, qty=tokens), max_size=5), st.booleans())
def test_whatever_stands_for_a_number_gives_a_book_or_a_fault(junk: list[Level], snapshot: bool) -> None:
    venue = venue_with(3)
    book = following(venue)

    try:
        book.apply(BookData(venue.symbol, junk, [], venue.checksum()), snapshot=snapshot)
    except BookFault:
        assert_empty(book)
    else:
        view = book.view()
        assert all(level.price > 0 and level.qty > 0 for level in (*view.bids, *view.asks))


def test_a_crossed_book_is_flagged() -> None:
    venue = venue_with(3)
    book = following(venue)
    assert not book.view().crossed

    book.apply(venue.change([(True, 1001, 5)]), snapshot=False)

    assert book.view().crossed
    assert book.view().spread == 0


def test_a_view_does_not_change_with_the_book() -> None:
    venue = venue_with(12)
    book = following(venue)
    view = book.view()
    before = texts(attrs.evolve(view))

    book.apply(venue.change([(True, 999, 0), (False, 1001, 77)]), snapshot=False)

    assert texts(view) == before
    assert texts(book.view()) != before
