"""The exchange as a whole: one seed and one set of inputs give one run, whatever the shell does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.venue.core.naive_client import WALL_NS, NaiveBook, ask, decoded, opened, subscribe, taken

from kraken_engine.errors import ConfigError, UsageError
from kraken_engine.venue.core.exchange import MOST_PER_CALL, Exchange
from kraken_engine.venue.core.ports import Abort, Close, Out, RestRequest
from kraken_engine.venue.core.sessions import MOST_OUT, Session

END = 5.0

REQUESTS = (
    (0.30, b'{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD","ETH/USD"]},"req_id":1}'),
    (0.30, b'{"method":"subscribe","params":{"channel":"ticker","symbol":["BTC/USD"],"event_trigger":"bbo"}}'),
    (1.70, b'{"method":"subscribe","params":{"channel":"trade","symbol":["SOL/USD"],"snapshot":true}}'),
    (2.10, b'{"method":"unsubscribe","params":{"channel":"book","symbol":["BTC/USD"]}}'),
    (2.50, b'{"method":"subscribe","params":{"channel":"ohlc","symbol":["ETH/USD"],"interval":5}}'),
    (3.10, b"not a request"),
)


def run(advances: list[float], seed: int = 1) -> list[Out]:
    """Play ``REQUESTS`` while the shell calls ``advance`` at ``advances`` besides, and return all that was sent."""
    exchange = Exchange(seed, 3, 150.0, 10.0, WALL_NS, levels=60)
    session = exchange.connect("public", 10.1)
    calls: list[tuple[float, bytes | None]] = [*REQUESTS, *((at, None) for at in advances), (END, None)]
    for at, text in sorted(calls, key=lambda call: call[0]):
        if text is None:
            exchange.advance(10.0 + at)
        else:
            session.receive(text, 10.0 + at)
    return taken(session)


ONE_STEP = run([])


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0.2, END), max_size=60))
def test_it_makes_no_difference_how_the_time_is_cut_into_calls(advances: list[float]) -> None:
    assert run(advances) == ONE_STEP


def test_the_run_to_compare_with_has_everything_in_it() -> None:
    kinds = {frame.get("channel", frame.get("method")) for frame in decoded(ONE_STEP)}
    assert kinds == {"status", "subscribe", "unsubscribe", "error", "book", "ticker", "trade", "ohlc", "heartbeat"}


def test_another_seed_gives_another_run() -> None:
    assert run([], seed=2) != ONE_STEP


def test_the_status_frame_comes_first_and_unasked() -> None:
    (status,) = decoded(taken(opened().connect("public", 0.0)))
    assert list(status) == ["channel", "type", "data"]
    (data,) = status["data"]
    assert list(data) == ["version", "system", "api_version", "connection_id", "upcoming_maintenance", "emergency"]
    assert (data["system"], data["api_version"]) == ("online", "v2")
    assert 0 <= data["connection_id"] < 1 << 64


def test_every_connection_has_an_id_of_its_own() -> None:
    exchange = opened()
    ids = [decoded(taken(exchange.connect("public", 0.0)))[0]["data"][0]["connection_id"] for _ in range(50)]
    assert len(set(ids)) == 50
    assert any(number > 1 << 63 for number in ids)


def heartbeats(session: Session) -> int:
    return taken(session).count(b'{"channel":"heartbeat"}')


def test_heartbeats_start_with_the_first_subscription_and_come_each_second_whatever_else_is_sent() -> None:
    exchange = opened(rate=1000.0)
    session = exchange.connect("public", 0.0)
    exchange.advance(5.0)
    assert heartbeats(session) == 0
    ask(session, 5.5, "subscribe", params={"channel": "book", "symbol": ["XBT/USD"]})
    exchange.advance(7.4)
    assert heartbeats(session) == 0
    subscribe(session, 7.5, "book", ["BTC/USD"])
    for second in range(1, 20):
        for _ in range(3):
            exchange.advance(7.5 + second)
        assert heartbeats(session) == 1


def test_a_client_that_says_nothing_for_60_seconds_is_closed_though_heartbeats_flow() -> None:
    exchange = opened(rate=5.0)
    session = exchange.connect("public", 0.0)
    subscribe(session, 1.0, "ticker", ["BTC/USD"])
    exchange.advance(60.9)
    assert list(exchange.sessions.values()) == [session]
    exchange.advance(61.1)
    assert not exchange.sessions
    assert taken(session)[-1] == Close(1000)
    exchange.advance(70.0)
    assert not taken(session)
    assert exchange.counters()["sessions_closed_idle"] == 1


def test_any_request_keeps_a_connection_open() -> None:
    exchange = opened(rate=5.0)
    session = exchange.connect("public", 0.0)
    for minute in range(1, 8):
        ask(session, minute * 50.0, "ping")
    assert session.open


def test_about_rate_book_messages_a_second_reach_a_client_of_all_books() -> None:
    exchange = opened(symbols=20, rate=800.0)
    session = exchange.connect("public", 0.0)
    subscribe(session, 0.0, "book", exchange.symbols)
    frames = 0
    for second in range(1, 6):
        exchange.advance(float(second))
        frames += sum(frame["channel"] == "book" for frame in decoded(taken(session)))
    assert frames == pytest.approx(5 * 800, rel=0.06)


def test_one_call_does_a_bounded_amount_of_work_and_says_that_it_left_some() -> None:
    exchange = opened(rate=1000.0)
    exchange.advance(60.0)
    assert exchange.counters()["steps"] == MOST_PER_CALL
    assert exchange.next_due() < 60.0
    calls = 0
    while exchange.next_due() <= 60.0:
        exchange.advance(60.0)
        calls += 1
    assert exchange.counters()["steps"] == pytest.approx(60_000, rel=0.05)
    assert calls < 40


@given(st.floats(0, 1e7))
@settings(max_examples=40, deadline=None)
def test_waking_up_when_asked_to_always_makes_progress(start: float) -> None:
    exchange = Exchange(1, 1, 500.0, start, WALL_NS, levels=60)
    for _ in range(30):
        due = exchange.next_due()
        exchange.advance(due)
        assert exchange.next_due() > due


def test_a_client_that_does_not_read_is_cut_off_and_nobody_else() -> None:
    exchange = opened(rate=50_000.0)
    deaf, other = exchange.connect("public", 0.0), exchange.connect("public", 0.0)
    for session in (deaf, other):
        subscribe(session, 0.0, "book", exchange.symbols)
    while deaf.open:
        exchange.advance(exchange.next_due() + 0.01)
        taken(other)
    assert list(deaf.outbox) == [Abort()]
    assert other.open
    exchange.advance(exchange.next_due() + 0.01)
    assert len(exchange.sessions) == 1
    assert MOST_OUT > 1000


def test_a_client_that_floods_requests_faster_than_they_are_handled_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kraken_engine.venue.core.exchange.MOST_WAITING", 10)
    exchange = opened(rate=100_000.0)
    session = exchange.connect("public", 0.0)
    while session.open:
        session.receive(b'{"method":"ping"}', 1000.0)
    assert taken(session)[-1] == Close(1008, "too many requests")


def test_a_closed_session_is_owed_nothing_and_forgotten() -> None:
    exchange = opened()
    session = exchange.connect("public", 0.0)
    subscribe(session, 0.1, "book", ["BTC/USD"])
    session.closed(0.2)
    session.closed(0.2)
    session.receive(b'{"method":"ping"}', 0.3)
    exchange.advance(5.0)
    assert not session.outbox
    assert not exchange.sessions
    assert exchange.counters()["sessions_opened"] == 1


def test_the_shell_is_woken_when_something_is_owed_after_nothing_was() -> None:
    exchange = opened(rate=100.0)
    session = exchange.connect("public", 0.0)
    taken(session)
    woken: list[int] = []
    session.wake = lambda: woken.append(len(session.outbox))
    subscribe(session, 0.1, "book", exchange.symbols)
    exchange.advance(1.0)
    exchange.advance(2.0)
    assert woken == [1, 1]


def test_sessions_of_one_depth_share_the_very_same_bytes() -> None:
    exchange = opened(rate=300.0)
    sessions = [exchange.connect("public", 0.0) for _ in range(2)]
    for session in sessions:
        subscribe(session, 0.1, "book", exchange.symbols)
    exchange.advance(1.0)
    for one, other in zip(*(taken(session) for session in sessions), strict=True):
        assert one is other or one == b'{"channel":"heartbeat"}'


def test_one_subscriber_leaving_does_not_disturb_the_others() -> None:
    exchange = opened(rate=300.0)
    staying, leaving, dying = (exchange.connect("public", 0.0) for _ in range(3))
    client = NaiveBook(10)
    client.receive(subscribe(staying, 0.0, "book", ["BTC/USD"])[-1])
    for session in (leaving, dying):
        subscribe(session, 0.0, "book", ["BTC/USD"])
    exchange.advance(1.0)
    ask(leaving, 1.0, "unsubscribe", params={"channel": "book", "symbol": ["BTC/USD"]})
    dying.closed(1.0)
    exchange.advance(3.0)
    for frame in decoded(taken(staying)):
        if frame["channel"] == "book":
            client.receive(frame)
    assert client.messages > 100
    assert client.checksum() == exchange.book_state("BTC/USD")["checksum"]
    assert {frame["channel"] for frame in decoded(taken(leaving))} == {"heartbeat"}


def test_the_oracle_knows_every_book_that_was_sent_and_no_other() -> None:
    exchange = opened(rate=300.0)
    session = exchange.connect("public", 0.0)
    frames = subscribe(session, 0.1, "book", ["ETH/USD"])
    exchange.advance(3.0)
    books = [f["data"][0] for f in [*frames, *decoded(taken(session))] if f.get("channel") == "book"]
    assert len(books) > 100
    for book in books:
        assert exchange.ever_had("ETH/USD", book["checksum"], book["timestamp"])
        assert exchange.ever_had("ETH/USD", book["checksum"])
        assert not exchange.ever_had("ETH/USD", book["checksum"] ^ 1, book["timestamp"])
        assert not exchange.ever_had("BTC/USD", book["checksum"])
    last = exchange.book_state("ETH/USD")
    assert (last["checksum"], last["timestamp"]) == (books[-1]["checksum"], books[-1]["timestamp"])


def test_the_oracle_shows_a_past_book_by_its_checksum_as_a_client_had_it() -> None:
    exchange = opened(rate=300.0)
    session = exchange.connect("public", 0.0)
    client = NaiveBook(10)
    frames = subscribe(session, 0.1, "book", ["ETH/USD"])
    exchange.advance(2.0)
    books = [frame for frame in [*frames, *decoded(taken(session))] if frame.get("channel") == "book"]
    had: dict[int, list[list[list[str]]]] = {}
    for frame in books:
        client.receive(frame)
        had[client.checksum()] = [[list(level) for level in client.best_first(side)] for side in ("bids", "asks")]
    assert len(had) > 50
    for checksum, sides in had.items():
        past = exchange.past_book("ETH/USD", checksum)
        assert [past["bids"], past["asks"], past["checksum"]] == [*sides, checksum]
    latest_first = [book["checksum"] for book in exchange.recent_books("ETH/USD")]
    assert latest_first[0] == client.checksum()
    assert set(had) <= set(latest_first)
    with pytest.raises(UsageError, match="a recent book of ETH/USD"):
        exchange.past_book("ETH/USD", next(n for n in range(1000) if n not in had))


def test_the_oracle_has_the_trades_that_were_sent() -> None:
    exchange = opened(rate=300.0)
    session = exchange.connect("public", 0.0)
    subscribe(session, 0.1, "trade", ["BTC/USD"])
    exchange.advance(3.0)
    sent = [t for f in decoded(taken(session)) if f.get("channel") == "trade" for t in f["data"]]
    assert [t["trade_id"] for t in exchange.trades("BTC/USD", len(sent))] == [t["trade_id"] for t in sent]
    assert exchange.trades("BTC/USD", 0) == []


def test_questions_to_the_oracle_that_make_no_sense_are_refused() -> None:
    exchange = opened()
    with pytest.raises(UsageError, match="symbol: expected a listed one"):
        exchange.book_state("XBT/USD")
    with pytest.raises(UsageError, match="timestamp: expected"):
        exchange.ever_had("BTC/USD", 1, "yesterday")


def test_what_the_oracle_says_is_json() -> None:
    exchange = opened()
    exchange.faults.apply("drop_connection", {}, 0.1)
    for said in (exchange.book_state("BTC/USD"), exchange.counters(), exchange.trades("BTC/USD"), exchange.faults.log):
        assert json.loads(json.dumps(said)) == said


@pytest.mark.parametrize(
    ("setting", "value"),
    [("symbols", 0), ("symbols", 5001), ("rate", 0.0), ("rate", -1.0), ("rate", float("nan")), ("levels", 59)],
)
def test_an_exchange_that_cannot_work_is_not_opened(setting: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"{setting}: expected"):
        opened(**{setting: value})


def test_a_thousand_symbols_can_be_listed_and_subscribed_in_one_request() -> None:
    exchange = opened(symbols=1000, rate=1000.0)
    session = exchange.connect("public", 0.0)
    frames = subscribe(session, 0.1, "book", exchange.symbols)
    acks = [frame for frame in frames if frame.get("method") == "subscribe"]
    assert [frame["result"]["symbol"] for frame in acks] == exchange.symbols
    snapshots = [frame for frame in frames if frame.get("type") == "snapshot"]
    assert [frame["data"][0]["symbol"] for frame in snapshots] == exchange.symbols


def test_rest_and_websocket_tell_of_the_same_market() -> None:
    exchange = opened()
    exchange.advance(3.0)
    answer = exchange.rest(RestRequest(method="GET", path="/0/public/Depth", query={"pair": "BTC/USD"}), 3.0)
    rows = json.loads(answer.body)["result"]["BTC/USD"]["bids"]
    truth = exchange.book_state("BTC/USD", 100)["bids"]
    assert isinstance(truth, list)
    assert [float(row[0]) for row in rows] == [float(price) for price, _ in truth]
