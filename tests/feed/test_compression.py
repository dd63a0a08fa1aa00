"""Books in short form: every digit survives, and what does not fit is refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies_books import VenueBook, walks

from kraken_engine.errors import DecodeError
from kraken_engine.feed.compression import compress, restore
from kraken_engine.model import Integrity, Source
from kraken_engine.normalise.book_view import BookUpdate, BookView
from kraken_engine.state.order_book import OrderBook

TIME = "2026-07-07T23:00:03.947173Z"


def update(view: BookView) -> BookUpdate:
    return BookUpdate(
        symbol=view.symbol, source=Source.WEBSOCKET_V2, received_s=1.0, venue_time=TIME,
        integrity=Integrity.VERIFIED, book=view, snapshot=True,
    )  # fmt: skip


@given(walk=walks(depth=25))
def test_ten_levels_survive_digit_for_digit_on_their_way_through_json(walk: tuple[VenueBook, list[Any]]) -> None:
    venue, messages = walk
    book = OrderBook(venue.symbol, 25)
    for number, message in enumerate(messages):
        book.apply(message, snapshot=number == 0)
        view = book.view()
        wire = msgspec.json.decode(msgspec.json.encode(compress(update(view))))
        again, time = restore(venue.symbol, wire)
        assert (again.raw_bids, again.raw_asks) == (view.raw_bids[:10], view.raw_asks[:10])
        assert [str(level.qty) for level in again.bids] == [str(level.qty) for level in view.bids[:10]]
        assert (again.crossed, again.verified, time) == (view.crossed, True, TIME)


def short(**changed: object) -> dict[str, object]:
    return {"b": [["9.90", "1"], ["9.8", "2"]], "a": [["10.0", "0.5"]], "t": TIME} | changed


def test_what_was_not_verified_is_not_verified_afterwards() -> None:
    view, _ = restore("A/B", short())
    assert (view.verified, view.verified_levels, str(view.bid), view.crossed) == (False, 0, "9.90", False)
    assert "c" not in compress(update(view))
    assert compress(update(view)) == short()


def test_fewer_levels_than_the_checksum_is_over_do_not_claim_it() -> None:
    view, _ = restore("A/B", short())
    claimed = BookView(symbol="A/B", depth=1, checksum=7, raw_bids=view.raw_bids, raw_asks=view.raw_asks)
    assert "c" not in compress(update(claimed))


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        ({"c": 1}, r"\$.c"),
        ({"t": 5}, r"\$.t"),
        ({"b": None}, r"\$.b"),
        ({"b": [["1", "1"]] * 11}, r"\$.b"),
        ({"b": [["9", "1"], ["9", "1"]]}, r"\$.b\[1\]"),
        ({"a": [["9", "1"], ["8", "1"]]}, r"\$.a\[1\]"),
        ({"a": [["9"]]}, r"\$.a\[0\]"),
        ({"a": [["9", 1]]}, r"\$.a\[0\]"),
        ({"a": [["-9", "1"]]}, r"\$.a\[0\]"),
        ({"a": [["9", "1e5"]]}, r"\$.a\[0\]"),
        ({"a": ["99"]}, r"\$.a\[0\]"),
    ],
)
def test_what_is_no_short_form_is_refused_by_place(changed: dict[str, object], where: str) -> None:
    with pytest.raises(DecodeError, match=f"^{where}: expected"):
        restore("A/B", short(**changed))


@given(junk=st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda x: st.lists(x, max_size=3)))
def test_whatever_comes_is_a_book_or_refused(junk: object) -> None:
    for document in (junk, {"b": junk, "a": []}, {"b": [], "a": junk}):
        try:
            view, _ = restore("A/B", document)
        except DecodeError:
            continue
        assert len(view.raw_bids) <= 10
