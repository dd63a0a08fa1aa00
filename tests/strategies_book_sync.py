"""What tests of the book's synchronisation share: making one, spoiling messages, reading actions."""

from __future__ import annotations

from collections.abc import Iterable

from tests.strategies_books import Pairs, VenueBook

from kraken_engine.codec.ws_v2 import BookData
from kraken_engine.config import SubscriptionSettings
from kraken_engine.normalise.book_view import BookView
from kraken_engine.state.book_sync import Action, BookSync, Publish

SETTINGS = SubscriptionSettings()


def sync_of(venue: VenueBook, settings: SubscriptionSettings = SETTINGS) -> BookSync:
    return BookSync(venue.symbol, venue.depth, settings)


def kinds(actions: Iterable[Action]) -> list[str]:
    return [type(a.event).__name__ if isinstance(a, Publish) else type(a).__name__ for a in actions]


def texts(view: BookView | None) -> tuple[Pairs, Pairs]:
    assert view is not None
    bids = [(f"{level.price:f}", f"{level.qty:f}") for level in view.bids]
    return bids, [(f"{level.price:f}", f"{level.qty:f}") for level in view.asks]


def corrupted(data: BookData) -> BookData:
    return BookData(data.symbol, data.bids, data.asks, data.checksum ^ 1, data.timestamp)
