"""Bugs planted in what makes several lines one: arbitration, shared books, merged trades, liveness, rotation."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kraken_engine.codec.ws_v2 import BookData
from kraken_engine.errors import Stale
from kraken_engine.normalise.book_view import Witness
from kraken_engine.normalise.events import Event, TradeGap
from kraken_engine.state import arbitration, event_order, stream_watch
from kraken_engine.state.arbitrated import Stream
from kraken_engine.state.arbitration import Arbiter
from kraken_engine.state.book_log import BookLog, Replica
from kraken_engine.state.order_book import BookFault, OrderBook
from kraken_engine.state.stream_watch import StreamWatch
from kraken_engine.state.trades import MergedTrades
from kraken_engine.tasks.pool import Pool

Mutant = Callable[[pytest.MonkeyPatch], None]


def cursor_not_moved(patch: pytest.MonkeyPatch) -> None:
    """What a line brings second is passed over, and its place in the common book stays where it was."""
    patch.setattr(Replica, "_move", lambda *_: None)


def older_states_shown(patch: pytest.MonkeyPatch) -> None:
    """A line that is behind is believed as much as one that is ahead."""
    order = event_order.order_of
    patch.setattr(arbitration, "order_of", lambda last, event: abs(order(last, event)))


def duplicates_shown(patch: pytest.MonkeyPatch) -> None:
    """What two lines bring is shown twice."""
    patch.setattr(arbitration, "same", lambda *_: False)
    patch.setattr(Stream, "origin_lives", lambda *_: False)
    patch.setattr(Replica, "passes", lambda *_: False)
    apply = Replica.apply

    def wrong(self: Replica, data: BookData, *, snapshot: bool) -> bool:
        apply(self, data, snapshot=snapshot)
        self.news = True
        return True

    patch.setattr(Replica, "apply", wrong)


def one_lost_line_makes_all_stale(patch: pytest.MonkeyPatch) -> None:
    """The end of a line is told to readers although another one goes on."""
    lost_one = Arbiter._lost_one

    def wrong(self: Arbiter, stream: object, feed: object, why: Stale, *, lost: bool) -> None:
        self._tell_stale(stream, why, feed, lost=lost)  # type: ignore[arg-type]  # as the method it stands for
        lost_one(self, stream, feed, why, lost=lost)  # type: ignore[arg-type]

    patch.setattr(Arbiter, "_lost_one", wrong)


def lost_line_still_trusted(patch: pytest.MonkeyPatch) -> None:
    """Readers are told nothing when the last line that fed a stream falls."""
    patch.setattr(Arbiter, "_lost_one", lambda *_, **__: None)


def deep_levels_trusted(patch: pytest.MonkeyPatch) -> None:
    """Levels that no checksum covers are called verified before a second line has brought them."""
    patch.setattr(Witness, "agreed_to", property(lambda _: 1 << 60, lambda *_: None), raising=False)


def differing_levels_ignored(patch: pytest.MonkeyPatch) -> None:
    """Two books of one time and checksum count as one, whatever their deeper levels are."""
    patch.setattr(OrderBook, "same_levels", lambda *_: True)


def mute_not_noticed(patch: pytest.MonkeyPatch) -> None:
    """Nobody compares what the lines bring."""
    patch.setattr(StreamWatch, "look", lambda *_, **__: [])


def broken_book_goes_on(patch: pytest.MonkeyPatch) -> None:
    """A line whose update did not verify goes on in the common book as if it had."""
    append = Replica._append

    def wrong(self: Replica, log: BookLog, data: BookData) -> None:
        try:
            append(self, log, data)
        except BookFault:
            self.log, self.cursor = log, log.position
            log.members[self] = None

    patch.setattr(Replica, "_append", wrong)


def hole_of_all_lines_not_told(patch: pytest.MonkeyPatch) -> None:
    """Trades that no line brought are passed over in silence."""
    settle = MergedTrades._settle

    def wrong(self: MergedTrades, now: float) -> list[Event]:
        return [event for event in settle(self, now) if not isinstance(event, TradeGap)]

    patch.setattr(MergedTrades, "_settle", wrong)


def break_before_make(patch: pytest.MonkeyPatch) -> None:
    """A line is ended as soon as another is to take its place."""
    patch.setattr(Pool, "_brings_all", lambda *_: True)


def quiet_market_called_stale(patch: pytest.MonkeyPatch) -> None:
    """A stream that brings nothing for a while is mute, and not trusted, whatever other lines bring."""
    patch.setattr(stream_watch, "_before", lambda *_: True)


MUTANTS_OF_LINES: dict[str, Mutant] = {
    mutant.__name__: mutant
    for mutant in (
        cursor_not_moved,
        older_states_shown,
        duplicates_shown,
        one_lost_line_makes_all_stale,
        lost_line_still_trusted,
        deep_levels_trusted,
        differing_levels_ignored,
        mute_not_noticed,
        broken_book_goes_on,
        break_before_make,
        hole_of_all_lines_not_told,
        quiet_market_called_stale,
    )
}
