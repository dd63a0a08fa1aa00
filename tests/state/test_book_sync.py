from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies_book_sync import SETTINGS, corrupted, kinds, sync_of, texts
from tests.strategies_books import Digits, VenueBook

from kraken_engine.codec.ws_v2 import BookData, Level
from kraken_engine.config import SubscriptionSettings
from kraken_engine.errors import Stale
from kraken_engine.model import Instrument, Integrity
from kraken_engine.normalise.book_view import BookUpdate
from kraken_engine.normalise.events import Event, Gap, Live
from kraken_engine.state.book_sync import (
    DOUBT_TOLERANCE_S,
    REFRESH_TOLERANCE_S,
    Action,
    BookSync,
    Publish,
    Resubscribe,
    SyncState,
)

CENTS = Digits(price=1, qty=8)


def venue_with(levels_a_side: int = 12) -> VenueBook:
    venue = VenueBook(CENTS)
    for away in range(1, levels_a_side + 1):
        venue.change([(True, 1000 - away, 10 * away), (False, 1000 + away, 10 * away)])
    return venue


def live(venue: VenueBook, *, now: float = 0.0, settings: SubscriptionSettings = SETTINGS) -> BookSync:
    sync = sync_of(venue, settings)
    sync.receive(venue.snapshot(), snapshot=True, now=now)
    assert sync.state is SyncState.LIVE
    return sync


def events(actions: Iterable[Action]) -> list[Event]:
    return [action.event for action in actions if isinstance(action, Publish)]


def timed(data: BookData, timestamp: str | None) -> BookData:
    return BookData(data.symbol, data.bids, data.asks, data.checksum, timestamp)


def pair(*, price_decimals: int, qty_decimals: int) -> Instrument:
    one = Decimal(1)
    return Instrument(
        symbol="BTC/USD", base="BTC", quote="USD", status="online", price_decimals=price_decimals,
        qty_decimals=qty_decimals, price_increment=one, qty_increment=one, qty_min=one, cost_min=one,
    )  # fmt: skip


def test_the_first_snapshot_makes_the_book_live() -> None:
    venue = venue_with()
    sync = sync_of(venue)
    assert sync.view() is None

    told = events(sync.receive(venue.snapshot(), snapshot=True, now=5.0))

    assert [type(event) for event in told] == [Live, BookUpdate]
    update = told[1]
    assert isinstance(update, BookUpdate)
    assert update.snapshot
    assert update.integrity is Integrity.VERIFIED
    assert update.received_s == 5.0
    assert update.venue_time == venue.timestamp()
    assert texts(sync.view()) == venue.texts()


def test_each_verified_update_is_published_and_nothing_else() -> None:
    venue = venue_with()
    sync = live(venue)

    told = events(sync.receive(venue.change([(True, 999, 7)]), snapshot=False, now=1.0))

    assert [type(event) for event in told] == [BookUpdate]
    assert isinstance(told[0], BookUpdate)
    assert not told[0].snapshot
    assert told[0].book == sync.view()
    assert sync.next_due is None


def test_a_mismatch_hides_the_book_before_anything_else_and_asks_once() -> None:
    venue = venue_with()
    sync = live(venue)

    actions = sync.receive(corrupted(venue.change([(True, 999, 7)])), snapshot=False, now=1.0)

    assert kinds(actions) == ["Stale", "Resubscribe"]
    assert sync.view() is None
    assert sync.state is SyncState.RESYNCING
    [stale] = events(actions)
    assert isinstance(stale, Stale)
    assert (stale.channel, stale.symbol, stale.since_s) == ("book", venue.symbol, 1.0)
    assert "checksum" in stale.why


def test_nothing_a_failed_book_held_can_be_read_anywhere() -> None:
    venue = venue_with()
    sync = live(venue)
    actions = sync.receive(corrupted(venue.change([(True, 999, 123456789)])), snapshot=False, now=1.0)

    seen = "\n".join(map(repr, [actions, sync, sync.statistics(), sync.view(), *(str(e) for e in events(actions))]))

    for side in venue.texts():
        for price, qty in side:
            assert price not in seen
            assert qty not in seen


def test_updates_in_flight_before_the_new_snapshot_are_dropped_and_do_not_count_as_mismatches() -> None:
    venue = venue_with()
    sync = live(venue)
    sync.receive(corrupted(venue.change([(True, 999, 7)])), snapshot=False, now=1.0)

    for _ in range(5):
        assert sync.receive(venue.change([(True, 998, 8)]), snapshot=False, now=1.1) == ()

    counted = sync.statistics()
    assert (counted.mismatched, counted.dropped_before_snapshot, counted.resyncs) == (1, 5, 1)


def test_recovery_tells_the_gap_then_live_then_the_book() -> None:
    venue = venue_with()
    sync = live(venue, now=0.0)
    sync.receive(venue.change([(True, 999, 6)]), snapshot=False, now=1.0)
    sync.receive(corrupted(venue.change([(True, 999, 7)])), snapshot=False, now=3.0)

    told = events(sync.receive(venue.snapshot(), snapshot=True, now=4.0))

    assert [type(event) for event in told] == [Gap, Live, BookUpdate]
    gap = told[0]
    assert isinstance(gap, Gap)
    assert gap.start_s == 1.0  # the last that verified: what is missing went missing after it
    assert (gap.end_s, gap.at_s, gap.healed_by) == (4.0, 4.0, "snapshot")
    assert "checksum" in gap.reason
    assert texts(sync.view()) == venue.texts()
    assert sync.next_due is None


def test_a_snapshot_that_fails_before_anything_was_shown_asks_again_without_crying_stale() -> None:
    venue = venue_with()
    sync = sync_of(venue)

    assert kinds(sync.receive(corrupted(venue.snapshot()), snapshot=True, now=0.0)) == ["Resubscribe"]
    assert sync.state is SyncState.AWAITING_SNAPSHOT
    assert kinds(sync.receive(venue.snapshot(), snapshot=True, now=0.1)) == ["Live", "BookUpdate"]


def test_updates_before_the_first_snapshot_are_dropped_and_the_snapshot_is_waited_for() -> None:
    venue = venue_with()
    sync = sync_of(venue)

    assert sync.receive(venue.change([(True, 999, 7)]), snapshot=False, now=2.0) == ()

    deadline = 2.0 + SETTINGS.snapshot_timeout_s
    assert sync.next_due == deadline
    sync.receive(venue.change([(True, 999, 8)]), snapshot=False, now=3.0)
    assert sync.next_due == deadline  # more of them postpone nothing
    assert kinds(sync.tick(now=deadline)) == ["Resubscribe"]


def test_a_snapshot_overdue_after_the_ack_is_asked_for_again() -> None:
    sync = sync_of(venue_with())
    assert sync.next_due is None
    sync.subscribed(now=1.0)

    assert sync.tick(now=1.0 + SETTINGS.snapshot_timeout_s - 0.001) == ()
    [again] = sync.tick(now=1.0 + SETTINGS.snapshot_timeout_s)

    assert again == Resubscribe(symbol="BTC/USD", reason="no snapshot within 10 s")


def test_a_resubscription_that_brings_no_snapshot_is_repeated() -> None:
    sync = live(venue_with())
    sync.lose("overrun", now=1.0)

    for asked in (11.0, 21.0):
        assert sync.tick(now=asked - 0.001) == ()
        assert kinds(sync.tick(now=asked)) == ["Resubscribe"]


def test_an_overdue_snapshot_waits_for_the_storm_guard_like_any_other_loss() -> None:
    sync = live(venue_with(), settings=SubscriptionSettings(resyncs_in_window=1, resync_pause_s=30.0))
    sync.lose("overrun", now=1.0)

    assert sync.tick(now=11.0) == ()
    assert sync.next_due == 31.0
    sync.subscribed(now=12.0)  # a late ack does not change that it has to be asked for again
    assert sync.next_due == 31.0
    assert kinds(sync.tick(now=31.0)) == ["Resubscribe"]


def test_an_ack_to_a_live_book_starts_no_clock() -> None:
    sync = live(venue_with())

    sync.subscribed(now=1.0)

    assert sync.next_due is None


def test_a_loss_outside_is_a_loss_here() -> None:
    venue = venue_with()
    sync = live(venue)

    assert kinds(sync.lose("inbox overrun", now=2.0)) == ["Stale", "Resubscribe"]
    assert sync.view() is None
    assert sync.lose("inbox overrun", now=2.5) == ()  # said and asked already

    [gap, _, _] = events(sync.receive(venue.snapshot(), snapshot=True, now=3.0))
    assert isinstance(gap, Gap)
    assert (gap.start_s, gap.end_s, gap.reason) == (2.0, 3.0, "inbox overrun")


def test_a_line_that_is_down_is_not_asked_for_anything() -> None:
    venue = venue_with()
    sync = live(venue)

    assert kinds(sync.lose("line down", now=1.0, resubscribe=False)) == ["Stale"]
    assert sync.next_due is None
    assert sync.statistics().resyncs == 0

    assert kinds(sync.receive(venue.snapshot(), snapshot=True, now=9.0)) == ["Gap", "Live", "BookUpdate"]


def test_a_line_that_goes_down_while_resyncing_ends_the_waiting() -> None:
    sync = live(venue_with())
    sync.lose("overrun", now=1.0)

    assert sync.lose("line down", now=2.0, resubscribe=False) == ()

    assert sync.next_due is None


def test_a_snapshot_for_a_live_book_replaces_it() -> None:
    venue = venue_with()
    sync = live(venue)
    venue.change([(True, 999, 7), (False, 1001, 0)])

    assert kinds(sync.receive(venue.snapshot(), snapshot=True, now=1.0)) == ["BookUpdate"]
    assert texts(sync.view()) == venue.texts()


def test_an_update_sent_twice_in_a_row_changes_nothing() -> None:
    venue = venue_with()
    sync = live(venue)
    update = venue.change([(True, 999, 7)])
    sync.receive(update, snapshot=False, now=1.0)
    shown = sync.view()

    assert kinds(sync.receive(update, snapshot=False, now=1.1)) == ["BookUpdate"]
    assert sync.view() == shown


def test_a_late_duplicate_that_verifies_never_shows_the_older_book() -> None:
    venue = venue_with()
    sync = live(venue)
    first = venue.change([(True, 999, 5)])
    second = venue.change([(True, 999, 7)])
    sync.receive(first, snapshot=False, now=1.0)
    sync.receive(second, snapshot=False, now=1.1)
    newest = sync.view()

    assert sync.receive(first, snapshot=False, now=1.2) == ()  # its checksum matches: the book as it was

    assert sync.view() == newest
    assert sync.statistics().withheld == 1
    third = venue.change([(False, 1001, 3)])
    assert kinds(sync.receive(third, snapshot=False, now=1.3)) == ["Stale", "Resubscribe"]


def test_an_older_time_that_catches_up_costs_nothing() -> None:
    """A snapshot stamped when it was made, then updates stamped by an engine a little behind it."""
    venue = venue_with()
    sync = sync_of(venue)
    sync.receive(timed(venue.snapshot(), "2026-11-22T07:00:00.000500Z"), snapshot=True, now=0.0)

    withheld = timed(venue.change([(True, 999, 7)]), "2026-11-22T07:00:00.0004Z")
    shown = timed(venue.change([(True, 998, 7)]), "2026-11-22T07:00:00.000501Z")

    assert sync.receive(withheld, snapshot=False, now=0.1) == ()
    assert kinds(sync.receive(shown, snapshot=False, now=0.2)) == ["BookUpdate"]
    assert texts(sync.view()) == venue.texts()
    assert sync.next_due is None


def test_a_snapshot_of_a_server_that_lags_is_not_shown_until_it_has_caught_up() -> None:
    venue = venue_with()
    sync = sync_of(venue)
    old = venue.snapshot()
    new = venue.change([(True, 999, 7)])
    sync.receive(venue.snapshot(), snapshot=True, now=0.0)
    sync.lose("line down", now=1.0, resubscribe=False)

    assert sync.receive(old, snapshot=True, now=2.0) == ()
    assert sync.view() is None
    told = sync.receive(new, snapshot=False, now=2.5)
    assert kinds(told) == ["Gap", "Live", "BookUpdate"]
    update = events(told)[-1]
    assert isinstance(update, BookUpdate)
    assert update.snapshot  # made anew, for those who see it
    assert texts(sync.view()) == venue.texts()


def test_when_the_venues_clock_goes_back_consumers_are_told_and_served_again() -> None:
    venue = venue_with()
    sync = sync_of(venue)
    sync.receive(timed(venue.snapshot(), "2026-11-22T08:00:00Z"), snapshot=True, now=0.0)
    sync.receive(venue.change([(True, 999, 7)]), snapshot=False, now=1.0)
    assert sync.next_due == 1.0 + DOUBT_TOLERANCE_S

    actions = sync.tick(now=1.0 + DOUBT_TOLERANCE_S)

    assert kinds(actions) == ["Stale", "Resubscribe"]
    assert "venue time went back" in str(events(actions)[0])
    assert kinds(sync.receive(venue.snapshot(), snapshot=True, now=4.0)) == ["Gap", "Live", "BookUpdate"]


def test_without_venue_times_the_order_of_arrival_counts() -> None:
    venue = venue_with()
    sync = live(venue)

    assert kinds(sync.receive(timed(venue.change([(True, 999, 7)]), None), snapshot=False, now=1.0)) == ["BookUpdate"]
    assert kinds(sync.receive(timed(venue.snapshot(), None), snapshot=True, now=2.0)) == ["BookUpdate"]


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-11-22", "2026-11-22T07:00:00", "2026-11-22T07:00:00+01:00", "Z"]
)
def test_a_time_that_is_none_costs_the_book(text: str) -> None:
    venue = venue_with()
    sync = live(venue)

    actions = sync.receive(timed(venue.change([(True, 999, 7)]), text), snapshot=False, now=1.0)

    assert kinds(actions) == ["Stale", "Resubscribe"]
    assert sync.statistics().malformed == 1


def test_a_crossed_book_is_shown_with_its_flag_and_resynced_when_it_stays_crossed() -> None:
    venue = venue_with()
    sync = live(venue)

    sync.receive(venue.change([(True, 1001, 5)]), snapshot=False, now=1.0)
    view = sync.view()
    assert view is not None
    assert view.crossed
    assert sync.next_due == 1.0 + DOUBT_TOLERANCE_S
    sync.receive(venue.change([(True, 900, 5)]), snapshot=False, now=2.0)
    assert sync.next_due == 1.0 + DOUBT_TOLERANCE_S

    assert kinds(sync.tick(now=1.0 + DOUBT_TOLERANCE_S)) == ["Stale", "Resubscribe"]
    assert sync.view() is None


def test_a_book_crossed_too_long_is_found_by_an_update_as_well() -> None:
    venue = venue_with()
    sync = live(venue)
    sync.receive(venue.change([(True, 1001, 5)]), snapshot=False, now=1.0)

    actions = sync.receive(venue.change([(True, 998, 5)]), snapshot=False, now=1.0 + DOUBT_TOLERANCE_S)

    assert kinds(actions) == ["Stale", "Resubscribe"]


def test_a_book_that_uncrosses_in_time_costs_nothing() -> None:
    venue = venue_with()
    sync = live(venue)
    sync.receive(venue.change([(True, 1001, 5)]), snapshot=False, now=1.0)
    sync.receive(venue.change([(True, 1001, 0)]), snapshot=False, now=2.0)

    assert sync.next_due is None
    assert sync.tick(now=99.0) == ()


def test_a_changed_precision_is_a_new_book() -> None:
    sync = live(venue_with())

    actions = sync.instrument(pair(price_decimals=2, qty_decimals=8), now=1.0)

    assert kinds(actions) == ["Stale", "Resubscribe"]
    assert "were (1, 8), are (2, 8)" in str(events(actions)[0])


def test_a_precision_known_beforehand_puts_lost_zeros_back() -> None:
    venue = VenueBook(Digits(price=2, qty=8, lose_zeros=True))
    venue.change([(True, 9990, 10**8), (False, 10010, 10**8)])
    sync = sync_of(venue)

    assert sync.instrument(pair(price_decimals=2, qty_decimals=8), now=0.0) == ()

    assert kinds(sync.receive(venue.snapshot(), snapshot=True, now=0.0)) == ["Live", "BookUpdate"]


def test_the_precision_the_book_already_has_changes_nothing() -> None:
    sync = live(venue_with())

    assert sync.instrument(pair(price_decimals=1, qty_decimals=8), now=1.0) == ()
    assert sync.state is SyncState.LIVE


def test_more_digits_than_before_are_noticed_without_the_instrument() -> None:
    venue = venue_with()
    sync = live(venue)
    finer = BookData(venue.symbol, [Level(b"99.95", b"1.00000000")], [], 1)

    assert kinds(sync.receive(finer, snapshot=False, now=1.0)) == ["Stale", "Resubscribe"]


def test_the_first_resyncs_are_immediate_the_next_are_spaced() -> None:
    venue = venue_with()
    sync = sync_of(venue)
    for now in (0.0, 0.1, 0.2):
        assert not sync.alarm(now=now)
        assert kinds(sync.receive(corrupted(venue.snapshot()), snapshot=True, now=now)) == ["Resubscribe"]
    assert sync.alarm(now=0.3)

    assert sync.receive(corrupted(venue.snapshot()), snapshot=True, now=0.3) == ()
    assert sync.next_due == pytest.approx(0.2 + SETTINGS.resync_pause_s)
    assert sync.tick(now=5.0) == ()
    assert kinds(sync.tick(now=5.2)) == ["Resubscribe"]
    assert sync.tick(now=5.2) == ()
    assert sync.alarm(now=60.0)  # four within the window
    assert not sync.alarm(now=60.2)


def test_a_snapshot_that_arrives_first_saves_the_delayed_resync() -> None:
    venue = venue_with()
    sync = live(venue)
    for now in (0.0, 0.1, 0.2, 0.3):
        sync.receive(corrupted(venue.snapshot()), snapshot=True, now=now)
    delayed_to = sync.next_due
    assert delayed_to == pytest.approx(0.2 + SETTINGS.resync_pause_s)

    sync.receive(venue.snapshot(), snapshot=True, now=1.0)

    assert sync.next_due is None
    assert sync.tick(now=99.0) == ()


@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.sampled_from([0.0, 0.01, 0.3, 1.0, 4.9, 5.0, 11.0]), st.booleans()), max_size=150),
)
def test_resubscriptions_in_any_window_are_bounded(free: int, steps: list[tuple[float, bool]]) -> None:
    """Whatever fails, and however often: at most the free ones, and one per pause."""
    limits = SubscriptionSettings(resyncs_in_window=free, resync_window_s=60.0, resync_pause_s=5.0)
    venue = venue_with()
    sync = live(venue, settings=limits)
    now, asked = 0.0, []
    for pause, good in steps:
        now += pause
        data = venue.snapshot() if good else corrupted(venue.snapshot())
        actions = [*sync.tick(now=now), *sync.receive(data, snapshot=True, now=now)]
        asked += [now for action in actions if isinstance(action, Resubscribe)]

    for first in asked:
        assert sum(first <= at < first + 60.0 for at in asked) <= free + 60.0 / 5.0


def deep(venue: VenueBook) -> BookSync:
    sync = BookSync(venue.symbol, 25, SETTINGS)
    sync.receive(venue.snapshot(), snapshot=True, now=0.0)
    return sync


def test_levels_beyond_the_checksum_are_asked_for_anew_within_five_minutes_and_the_book_is_kept_meanwhile() -> None:
    venue = venue_with()
    sync = deep(venue)
    due = sync.next_due
    assert due is not None
    assert SETTINGS.deep_resnapshot_s / 2 <= due <= SETTINGS.deep_resnapshot_s == 300

    assert sync.tick(now=due - 0.1) == ()
    (asked,) = sync.tick(now=due)

    assert isinstance(asked, Resubscribe)
    assert sync.state is SyncState.LIVE
    assert texts(sync.view()) == venue.texts()
    (update,) = events(sync.receive(venue.snapshot(), snapshot=True, now=due + 0.2))
    assert isinstance(update, BookUpdate)
    assert update.snapshot
    assert sync.next_due is not None
    assert sync.next_due > due + SETTINGS.deep_resnapshot_s / 2


def test_a_fresh_snapshot_that_does_not_come_makes_the_kept_book_a_loss() -> None:
    venue = venue_with()
    sync = deep(venue)
    due = sync.next_due
    assert due is not None
    sync.tick(now=due)
    assert sync.next_due == due + REFRESH_TOLERANCE_S

    actions = sync.tick(now=due + REFRESH_TOLERANCE_S)

    assert [type(event) for event in events(actions)] == [Stale]
    assert isinstance(actions[-1], Resubscribe)
    assert sync.view() is None


def test_a_lost_deep_book_is_not_asked_for_anew_on_top() -> None:
    sync = deep(venue_with())
    sync.lose("line down", now=1.0, resubscribe=False)
    assert sync.next_due is None


def test_a_book_that_the_checksum_covers_whole_is_never_asked_for_anew() -> None:
    venue = venue_with()
    sync = BookSync(venue.symbol, 10, SETTINGS)
    sync.receive(venue.snapshot(), snapshot=True, now=0.0)
    assert sync.next_due is None
