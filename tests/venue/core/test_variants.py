"""The same truth told otherwise: batched books, other bytes, announced maintenance; and what is remembered of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.venue.core.naive_client import NaiveBook, decoded, opened, subscribe, taken

from kraken_engine.venue.core.book_channel import BookHistory
from kraken_engine.venue.core.exchange import Exchange
from kraken_engine.venue.core.ports import Close
from kraken_engine.venue.core.sessions import Session
from kraken_engine.venue.core.variants import STYLES

BTC = "BTC/USD"


def with_book(exchange: Exchange, depth: int = 10, symbol: str = BTC) -> tuple[Session, NaiveBook]:
    session = exchange.connect("public", 0.0)
    client = NaiveBook(depth, deep=False)
    client.receive(subscribe(session, 0.0, "book", [symbol], depth=depth)[-1])
    return session, client


def books(session: Session) -> list[dict[str, Any]]:
    return [frame for frame in decoded(taken(session)) if frame.get("channel") == "book"]


def points(frames: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(data["timestamp"], data["checksum"]) for frame in frames for data in frame["data"]]


def heard(exchange: Exchange, session: Session, client: NaiveBook, until: float) -> list[dict[str, Any]]:
    exchange.advance(until)
    frames = books(session)
    for frame in frames:
        client.receive(frame)
    return frames


@pytest.mark.parametrize("depth", [10, 25, 100])
@pytest.mark.parametrize("size", [2, 3, 20])
def test_a_batched_book_is_the_venues_at_every_message_in_fewer_messages(depth: int, size: int) -> None:
    exchange = opened()
    (batched, client), (single, other) = with_book(exchange, depth), with_book(exchange, depth)
    exchange.faults.batch_differently(now=0.0, seconds=60.0, session_id=batched.id, size=size, linger=30.0)
    few, many = heard(exchange, batched, client, 4.0), heard(exchange, single, other, 4.0)
    assert len(many) // size - 1 <= len(few) <= len(many) // size + 1
    assert all(len(frame["data"]) == 1 for frame in few)
    assert set(points(few)) <= set(points(many))


def test_without_a_size_neighbours_batch_differently() -> None:
    exchange = opened()
    sessions = [with_book(exchange) for _ in range(2)]
    exchange.faults.batch_differently(now=0.0, seconds=60.0, linger=30.0)
    exchange.advance(4.0)
    counts = [len(books(session)) for session, _ in sessions]
    assert 1.3 < max(counts) / min(counts) < 1.7


def test_an_update_that_waits_too_long_for_the_next_one_is_told_alone() -> None:
    exchange = opened(rate=1.0)
    session, client = with_book(exchange)
    exchange.faults.batch_differently(now=0.0, seconds=60.0, size=100, linger=0.2)
    for tick in range(600):
        heard(exchange, session, client, tick / 10)
        true, changed_s = exchange.book_state(BTC), exchange.now_s()
        if client.checksum() != true["checksum"]:
            heard(exchange, session, client, changed_s + 0.2)
            assert client.checksum() in (true["checksum"], exchange.book_state(BTC)["checksum"])
    assert client.messages > 5


@pytest.mark.parametrize("end", ["by itself", "healed"])
def test_when_batching_ends_nothing_is_lost_and_each_update_comes_by_itself(end: str) -> None:
    exchange = opened()
    (session, client), (single, other) = with_book(exchange), with_book(exchange)
    exchange.faults.batch_differently(now=0.0, seconds=1.0, size=50, session_id=session.id, linger=30.0)
    heard(exchange, session, client, 0.9)
    if end == "healed":
        exchange.faults.end_all(now=0.95)
    heard(exchange, session, client, 1.0)
    heard(exchange, single, other, 1.0)
    assert points(heard(exchange, session, client, 3.0)) == points(heard(exchange, single, other, 3.0))


def test_a_session_that_subscribes_meanwhile_is_batched_from_its_snapshot_on() -> None:
    exchange = opened()
    exchange.faults.batch_differently(now=0.0, seconds=60.0, size=2, linger=30.0)
    session, client = with_book(exchange)
    assert heard(exchange, session, client, 2.0)
    session.closed(2.0)
    exchange.advance(4.0)
    assert not session.outbox, "what waited for a session that left goes nowhere"


def test_a_batched_update_can_be_broken_like_any_other() -> None:
    exchange = opened()
    session, client = with_book(exchange)
    exchange.faults.batch_differently(now=0.0, seconds=60.0, size=2, linger=30.0)
    exchange.faults.corrupt_checksum(BTC, now=0.0)
    exchange.advance(1.0)
    frames = books(session)
    with pytest.raises(AssertionError):
        client.receive(frames[0])
    for frame in frames[1:]:
        client.receive(frame)


def test_changed_digits_reach_a_batched_book() -> None:
    exchange = opened()
    session, client = with_book(exchange)
    exchange.faults.batch_differently(now=0.0, seconds=60.0, size=2, linger=30.0)
    heard(exchange, session, client, 0.5)
    exchange.faults.change_precision(BTC, now=0.5, price=1, qty=0)
    exchange.advance(1.0)
    assert points(books(session))[-1][1] in {checksum for _, checksum in exchange.told(BTC)[1]}


@pytest.mark.parametrize("style", list(STYLES))
def test_other_words_mean_the_same(style: str) -> None:
    exchange = opened()
    (session, client), (plain, other) = with_book(exchange), with_book(exchange)
    for one in (session, plain):
        for channel in ("ticker", "trade", "ohlc"):
            subscribe(one, 0.0, channel, [BTC], snapshot=True)
    exchange.faults.word_differently(now=0.0, seconds=2.0, style=style, session_id=session.id)
    exchange.advance(4.0)
    worded, usual = ([frame for frame in taken(one) if isinstance(frame, bytes)] for one in (session, plain))
    assert worded != usual
    assert {len(frame) for frame in usual[-20:]} == {len(frame) for frame in worded[-20:]}, "it lasts its time only"
    for odd, even in zip(worded, usual, strict=True):
        meant, said = json.loads(even, parse_float=str), json.loads(odd, parse_float=str)
        for row in said.get("data", ()):
            row.pop("novelty", None)
        assert said == meant
        if meant.get("channel") == "book":
            client.receive(meant)
    assert exchange.faults.hits()["word_differently"] > 10
    assert other.messages == 0


def maintenance(session: Session) -> list[list[dict[str, Any]]]:
    frames = decoded(taken(session))
    return [frame["data"][0]["upcoming_maintenance"] for frame in frames if frame.get("channel") == "status"]


def test_announced_maintenance_is_told_to_all_and_ends_those_that_did_not_leave_before() -> None:
    exchange = opened()
    old, _ = with_book(exchange)
    exchange.faults.announce_maintenance(now=0.0, seconds=10.0)
    ((entry,),) = maintenance(old)
    assert entry["status"] == "imminent_5m"
    assert entry["action"] == "disconnect_and_wait"
    assert entry["services"] == ["spot_ws"]
    assert entry["begin"] == "2026-07-07T23:00:13.947173Z"
    exchange.advance(5.0)
    new = exchange.connect("public", 5.0)
    assert maintenance(new) == [[entry]]
    exchange.advance(10.1)
    assert taken(old)[-1] == Close(1012, "Service Restart")
    assert maintenance(new) == [[]]
    assert new.open


def test_maintenance_of_one_server_is_told_to_its_session_alone() -> None:
    exchange = opened()
    one, other = exchange.connect("public", 0.0), exchange.connect("public", 0.0)
    taken(one), taken(other)
    exchange.faults.announce_maintenance(now=0.0, seconds=10.0, session_id=one.id, notice="final_warning_30s")
    assert len(maintenance(one)) == 1
    assert maintenance(other) == []
    assert maintenance(exchange.connect("public", 0.0)) == [[]]
    exchange.advance(11.0)
    assert not one.open
    assert other.open


def test_maintenance_that_was_called_off_ends_nobody() -> None:
    exchange = opened()
    session = exchange.connect("public", 0.0)
    exchange.faults.announce_maintenance(now=0.0, seconds=10.0)
    exchange.faults.end_all(now=1.0)
    assert maintenance(session)[-1] == []
    exchange.advance(20.0)
    assert session.open


def test_the_venue_remembers_what_each_depth_was_told_and_nothing_else() -> None:
    exchange = opened()
    (shallow, first), (deep, second) = with_book(exchange, 10), with_book(exchange, 100)
    for session, client, depth in ((shallow, first, 10), (deep, second, 100)):
        frames = heard(exchange, session, client, 4.0)
        number, told = exchange.told(BTC, depth)
        assert number == 0
        assert len(told) == len(frames)
        assert [checksum for _, checksum in told] == [checksum for _, checksum in points(frames)]
        assert exchange.told(BTC, depth, len(told) - 2) == (len(told) - 2, told[-2:])
        assert exchange.told(BTC, depth, 10**9) == (len(told), []), "the next number tells how many there were"
    assert exchange.told(BTC, 25) == (0, [])


@given(st.integers(1, 40), st.integers(1, 200), st.integers(0, 250))
def test_a_history_numbers_what_it_keeps_as_if_it_had_kept_everything(capacity: int, added: int, since: int) -> None:
    history = BookHistory(capacity)
    for number in range(added):
        history.add(number, number * 7)
    everything = [(number, number * 7) for number in range(added)]
    assert history.since(since) == everything[max(since, history.forgotten) :]
    assert added - history.forgotten < 2 * capacity


def test_trades_after_one_are_those_that_follow_it() -> None:
    exchange = opened()
    exchange.advance(4.0)
    last = exchange.trades(BTC, 20)
    assert exchange.trades_after(BTC, int(str(last[4]["trade_id"]))) == last[5:]
    assert exchange.trades_after(BTC, 10**12) == []
    assert len(exchange.trades_after(BTC, 0)) >= 20


def test_the_journal_tells_who_came_asked_and_went() -> None:
    exchange = opened()
    session, _ = with_book(exchange)
    session.receive(b"{", 0.5)
    session.receive(b'{"method":"unsubscribe","params":{"channel":"book","symbol":["BTC/USD"],"depth":10}}', 1.0)
    session.closed(2.0)
    told = [
        (entry.at_s, entry.session, entry.what, entry.channel, entry.symbols) for entry in exchange.journal.since(0)
    ]
    assert told == [
        (0.0, 1, "open", None, ()),
        (0.0, 1, "subscribe", "book", (BTC,)),
        (1.0, 1, "unsubscribe", "book", (BTC,)),
        (2.0, 1, "end", None, ()),
    ]
    assert exchange.journal.since(3) == exchange.journal.since(0)[3:]
    assert exchange.journal.next == 4
