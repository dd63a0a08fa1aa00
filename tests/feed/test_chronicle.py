"""The chronicle: of all that is published, what changed, once; and what an earlier process saw says so."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.state.test_history import book

from kraken_engine.feed.chronicle import Chronicle
from kraken_engine.model import Source, VenueMode
from kraken_engine.normalise.account_events import AccountLive, AccountStale
from kraken_engine.normalise.events import LineDown, LineUp, ModeChanged, SourceChanged, VenueStatus
from kraken_engine.state.history import CONNECTIONS, Change, History, account_lane, book_lane
from kraken_engine.state.history_values import (
    Holding,
    LineState,
    OrderState,
    SourceState,
    Standing,
    VenueState,
    read_changes,
    record_changes,
)


def down(line: str, at_s: float, failures: int = 1) -> LineDown:
    return LineDown(at_s=at_s, line=line, reason=f"reset {at_s:g}", failures=failures, retry_in_s=0.0)


def test_an_outage_is_one_change_however_often_a_line_tries() -> None:
    history = History()
    note = Chronicle(history, lambda: 0.0).note
    for at in range(50):
        for line in ("market A", "market B"):
            note(("health",), down(line, float(at), at))
    note(("health",), LineUp(at_s=60.0, line="market A", connection=2))
    assert [(change.at_s, change.value) for change in history.changes(CONNECTIONS)] == [
        (0.0, LineState("market A", False, "reset 0")),
        (0.0, LineState("market B", False, "reset 0")),
        (60.0, LineState("market A", True, None)),
    ]


def test_states_sources_and_accounts_have_their_lanes() -> None:
    history = History()
    note = Chronicle(history, lambda: 9.0).note
    note(("health",), VenueStatus(at_s=1.0, mode=VenueMode.MAINTENANCE, text="maintenance"))
    note(("health",), ModeChanged(
        at_s=1.0, symbol=None, mode="maintenance", before="online", orders="none", cancels=False, away="it is away",
    ))  # fmt: skip
    note(("ticker", "A/B"), SourceChanged(at_s=2.0, channel="ticker", symbol="A/B", source=Source.REST, reason="lost"))
    note(("account", "main"), AccountStale("main", "not connected"))
    note(("account", "main"), AccountStale("main", "still not connected"))
    note(("account", "main"), AccountLive(at_s=10.0, channel="account", symbol="main"))
    assert [change.value for change in history.changes(CONNECTIONS)] == [
        VenueState(None, "maintenance"), SourceState("ticker", "A/B", "rest", "lost"),
    ]  # fmt: skip
    assert [(change.at_s, change.value) for change in history.changes(account_lane("main"))] == [
        (9.0, Standing(False, "not connected")), (10.0, Standing(True, None)),
    ]  # fmt: skip


def test_of_books_the_tops_are_kept() -> None:
    history = History()
    note = Chronicle(history, lambda: 0.0).note
    for at, deep in enumerate((b"1", b"2", b"3")):
        note(("book", "BTC/USD"), book([(b"10", b"1"), (b"9", deep)], [(b"11", b"1")], at_s=float(at)))
    assert len(history.changes(book_lane("BTC/USD"))) == 1


VALUES = st.one_of(
    st.builds(LineState, line=st.text(max_size=5), up=st.booleans(), why=st.none() | st.text(max_size=5)),
    st.builds(Holding, asset=st.just("BTC"), total=st.decimals(0, 10, places=8), used=st.just(Decimal("0.10"))),
    st.builds(OrderState, order_id=st.text(max_size=5), symbol=st.just("A/B"), status=st.just("new"),
              cum_qty=st.decimals(0, 10, places=8)),
    st.builds(Standing, current=st.booleans(), why=st.none() | st.text(max_size=5)),
)  # fmt: skip


@given(values=st.lists(VALUES, max_size=20), older_s=st.floats(-100.0, 1000.0))
def test_what_is_written_down_is_read_back_older_and_as_restored(values: list[object], older_s: float) -> None:
    changes = [Change(CONNECTIONS, float(at), value) for at, value in enumerate(values)]
    read = read_changes(record_changes(changes), older_s=older_s)
    assert [(change.lane, change.at_s, change.value) for change in read] == [
        (CONNECTIONS, at - older_s, value) for at, value in enumerate(values)
    ]
    assert all(change.restored for change in read)


def test_a_top_survives_with_every_digit() -> None:
    history = History()
    history.book(book([(b"10.10", b"0.100")], []))
    (change,) = read_changes(record_changes(history), older_s=0.0)
    assert str(change.value.bid.price) == "10.10"
    assert change.value.ask is None


def test_a_kind_nobody_knows_any_more_is_left_out() -> None:
    (known,) = record_changes([Change(CONNECTIONS, 0.0, Standing(True, None))])
    records = [type(known)(known.lane, 0.0, "gone", b"x"), type(known)(known.lane, 0.0, "line", b"x"), known]
    assert [change.value for change in read_changes(records, older_s=0.0)] == [Standing(True, None)]


def test_what_somebody_else_put_into_the_history_does_not_keep_the_rest_from_being_saved() -> None:
    changes = [Change(CONNECTIONS, 0.0, object()), Change(CONNECTIONS, 1.0, Standing(True, None))]
    assert [record.at_s for record in record_changes(changes)] == [1.0]


def test_what_is_restored_comes_first_and_the_same_seen_again_is_news() -> None:
    history = History()
    history.add(CONNECTIONS, "up", at_s=5.0)
    history.restore([Change(CONNECTIONS, -9.0, "down", restored=True), Change(("top", "A"), -8.0, 1, restored=True)])
    assert [change.value for change in history.changes(CONNECTIONS)] == ["down", "up"]
    assert history.add(("top", "A"), 1, at_s=6.0)
    assert not history.add(("top", "A"), 1, at_s=7.0)
    assert [change.restored for change in history.changes(("top", "A"))] == [True, False]
    assert len(history) == 4


@pytest.mark.parametrize("most", [1, 3, 10])
def test_restoring_keeps_the_bound(most: int) -> None:
    history = History(max_entries=most)
    history.add(CONNECTIONS, "up", at_s=5.0)
    history.restore(Change(CONNECTIONS, float(-n), n, restored=True) for n in range(20, 0, -1))
    assert len(history) == most
    assert history.changes(CONNECTIONS)[-1].value == "up"
