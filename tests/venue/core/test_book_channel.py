"""What subscribers of the book see, against a naive client and the behaviour of recordings."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.venue.core.naive_client import WALL_NS, NaiveBook, decoded, opened, subscribe, taken

from kraken_engine.venue.core.book_channel import DEPTHS, BookHistory, BookMessage, BookPublisher
from kraken_engine.venue.core.instruments import listed_pairs
from kraken_engine.venue.core.matching import ASK, BID, MatchingBook
from kraken_engine.venue.core.timestamps import Stamps

PAIR = listed_pairs(1)[0]


def publisher_of(book: MatchingBook, *depths: int) -> BookPublisher:
    publisher = BookPublisher(PAIR, book, Stamps(), WALL_NS)
    for depth in depths:
        publisher.open_window(depth)
    return publisher


def laddered(levels: int) -> MatchingBook:
    book = MatchingBook()
    for place in range(levels):
        book.rest(BID, 1000 - 2 * place, 10)
        book.rest(ASK, 1001 + 2 * place, 10)
    return book


def receive(client: NaiveBook, messages: list[BookMessage]) -> None:
    for message in messages:
        if message.depth == client.depth:
            client.receive(json.loads(message.payload, parse_float=str))


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_client_of_any_depth_follows_the_book_through_every_message(depth: int, seed: int) -> None:
    exchange = opened(seed=seed, symbols=4, rate=400.0, levels=None)
    session = exchange.connect("public", 0.0)
    books = {symbol: NaiveBook(depth) for symbol in exchange.symbols}
    frames = subscribe(session, 0.1, "book", exchange.symbols, depth=depth)
    for step in range(1, 41):
        exchange.advance(step * 0.1)
        frames += decoded(taken(session))
    for frame in frames:
        if frame.get("channel") == "book":
            books[frame["data"][0]["symbol"]].receive(frame)
    assert sum(book.messages for book in books.values()) > 1000
    for symbol, book in books.items():
        truth = exchange.book_state(symbol, depth)
        assert [list(level) for level in book.best_first("bids")] == truth["bids"]
        assert [list(level) for level in book.best_first("asks")] == truth["asks"]
        assert book.checksum() == truth["checksum"]


def test_the_mix_of_messages_is_that_of_the_recording() -> None:
    exchange = opened(symbols=2, rate=3000.0)
    session = exchange.connect("public", 0.0)
    books = {symbol: NaiveBook(10) for symbol in exchange.symbols}
    frames = subscribe(session, 0.0, "book", exchange.symbols)
    for step in range(1, 51):
        exchange.advance(step * 0.1)
        frames += decoded(taken(session))
    for frame in frames:
        if frame.get("channel") == "book":
            books[frame["data"][0]["symbol"]].receive(frame)
    messages = sum(book.messages for book in books.values())
    assert messages == pytest.approx(5 * 3000, rel=0.05)
    assert 0.30 < sum(book.deletes for book in books.values()) / messages < 0.42
    assert 0.0005 < sum(book.repeated_prices for book in books.values()) / messages < 0.005
    assert 0 <= sum(book.both_sides for book in books.values()) / messages < 0.002


CHANGES = st.tuples(
    st.sampled_from(["rest", "cancel", "reduce", "take", "commit"]),
    st.sampled_from([BID, ASK]),
    st.integers(0, 30),
    st.integers(1, 25),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(CHANGES, max_size=60), st.integers(0, 30))
def test_messages_are_right_however_many_changes_one_carries(
    changes: list[tuple[str, int, int, int]], levels: int
) -> None:
    book = laddered(levels)
    publisher = publisher_of(book, 10, 25)
    clients = [NaiveBook(10, deep=False), NaiveBook(25, deep=False)]
    for client in clients:
        client.receive(json.loads(publisher.snapshot(client.depth), parse_float=str))
    for kind, side, place, qty in [*changes, ("commit", BID, 0, 1)]:
        orders = [order for order in book.orders.values() if order.side == side]
        if kind == "rest":
            price = 1000 - place if side == BID else 1001 + place
            other = book.best(1 - side)
            if other is None or (price < other if side == BID else price > other):
                book.rest(side, price, qty)
        elif kind == "take":
            book.take(side, qty)
        elif kind == "cancel" and orders:
            book.cancel(orders[place % len(orders)].id)
        elif kind == "reduce" and orders and orders[place % len(orders)].qty > 1:
            book.reduce(orders[place % len(orders)].id, 1)
        elif kind == "commit":
            messages = publisher.commit()
            for client in clients:
                receive(client, messages)
    for client in clients:
        for name, ladder in (("bids", book.bids), ("asks", book.asks)):
            expected = [PAIR.price_text(abs(key)) for key in ladder.keys[: client.depth]]
            assert [price for price, _ in client.best_first(name)] == expected


def test_a_level_pushed_out_and_then_deleted_unseen_does_not_stay_with_the_client() -> None:
    book = laddered(11)
    publisher = publisher_of(book, 10)
    client = NaiveBook(10)
    client.receive(json.loads(publisher.snapshot(10), parse_float=str))
    tenth = book.bids.levels[book.bids.keys[9]]
    first = book.bids.levels[book.bids.keys[0]]
    book.rest(BID, 999, 5)
    book.cancel(next(iter(tenth.orders)))
    book.cancel(next(iter(first.orders)))
    messages = publisher.commit()
    assert len(messages) == 2
    receive(client, messages)
    assert len(client.bids) == 10


def test_a_deleted_level_and_its_replacement_are_neighbours_in_one_message() -> None:
    book = laddered(12)
    publisher = publisher_of(book, 10)
    book.take(BID, 10)
    (message,) = publisher.commit()
    levels = json.loads(message.payload, parse_float=str)["data"][0]["asks"]
    assert levels == [{"price": "100.1", "qty": "0.00000000"}, {"price": "102.1", "qty": "0.00000010"}]


def test_a_level_pushed_out_is_not_mentioned() -> None:
    book = laddered(10)
    publisher = publisher_of(book, 10)
    book.rest(ASK, 1002, 7)
    (message,) = publisher.commit()
    assert json.loads(message.payload, parse_float=str)["data"][0]["asks"] == [{"price": "100.2", "qty": "0.00000007"}]


def test_a_change_beyond_a_window_says_nothing_to_it() -> None:
    book = laddered(30)
    publisher = publisher_of(book, 10, 25)
    book.rest(ASK, 1001 + 2 * 15, 7)
    assert [message.depth for message in publisher.commit()] == [25]


def test_nothing_is_worked_out_for_a_depth_nobody_wants_any_more() -> None:
    book = laddered(12)
    publisher = publisher_of(book, 10, 25)
    publisher.close_window(10)
    book.rest(ASK, 1002, 7)
    assert [message.depth for message in publisher.commit()] == [25]


def test_the_checksum_of_the_documents_is_reproduced() -> None:
    asks = [
        "45285.2",
        "0.00100000",
        "45286.4",
        "1.54571953",
        "45286.6",
        "1.54571109",
        "45289.6",
        "1.54560911",
        "45290.2",
        "0.15890660",
        "45291.8",
        "1.54553491",
        "45294.7",
        "0.04454749",
        "45296.1",
        "0.35380000",
        "45297.5",
        "0.09945542",
        "45299.5",
        "0.18772827",
    ]
    bids = [
        "45283.5",
        "0.10000000",
        "45283.4",
        "1.54582015",
        "45282.1",
        "0.10000000",
        "45281.0",
        "0.10000000",
        "45280.3",
        "1.54592586",
        "45279.0",
        "0.07990000",
        "45277.6",
        "0.03310103",
        "45277.5",
        "0.30000000",
        "45277.3",
        "1.54602737",
        "45276.6",
        "0.15445238",
    ]
    book = MatchingBook()
    for side, tokens in ((ASK, asks), (BID, bids)):
        for price, qty in zip(tokens[::2], tokens[1::2], strict=True):
            book.rest(side, int(price.replace(".", "")), int(qty.replace(".", "")))
    assert publisher_of(book).checksum == 3310070434


def test_history_forgets_the_oldest_half_and_finds_the_rest() -> None:
    history = BookHistory(capacity=10)
    for time_us in range(25):
        history.add(time_us, 1000 + time_us)
    assert len(history) < 20
    assert not history.had(1000)
    assert history.had(1024)
    assert history.had(1024, 24)
    assert not history.had(1024, 23)
