"""Faults on command: what each does, to whom, for how long, and that the truth stays whole."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any, cast

import pytest
from tests.venue.core.naive_client import NaiveBook, ask, decoded, opened, subscribe, taken

from kraken_engine.errors import UsageError
from kraken_engine.venue.core.exchange import Exchange
from kraken_engine.venue.core.fault_params import COMMANDS
from kraken_engine.venue.core.faults import Faults
from kraken_engine.venue.core.ports import Abort, Close, Raw, RestRequest, UpgradeRefusal
from kraken_engine.venue.core.sessions import Session


def with_book(exchange: Exchange, symbol: str = "BTC/USD") -> tuple[Session, NaiveBook]:
    session = exchange.connect("public", 0.0)
    client = NaiveBook(10)
    client.receive(subscribe(session, 0.0, "book", [symbol])[-1])
    return session, client


def books(session: Session) -> list[dict[str, Any]]:
    return [frame for frame in decoded(taken(session)) if frame.get("channel") == "book"]


def rows(side: object) -> list[list[str]]:
    return cast("list[list[str]]", side)


def first_mismatch(client: NaiveBook, frames: list[dict[str, Any]]) -> int | None:
    for place, frame in enumerate(frames):
        try:
            client.receive(frame)
        except AssertionError:
            return place
    return None


def test_a_corrupt_checksum_is_wrong_once_and_the_update_itself_is_right() -> None:
    exchange = opened()
    session, client = with_book(exchange)
    exchange.faults.corrupt_checksum("BTC/USD", now=0.0)
    exchange.advance(2.0)
    frames = books(session)
    assert first_mismatch(client, frames) == 0
    assert first_mismatch(client, frames[1:]) is None


def test_a_corrupt_checksum_never_existed_in_the_venue() -> None:
    exchange = opened()
    session, _ = with_book(exchange)
    exchange.faults.corrupt_checksum("BTC/USD", now=0.0)
    exchange.advance(1.0)
    (data,) = books(session)[0]["data"]
    assert not exchange.ever_had("BTC/USD", data["checksum"], data["timestamp"])
    assert exchange.ever_had("BTC/USD", data["checksum"] ^ 1, data["timestamp"])


@pytest.mark.parametrize("fault", ["drop_update", "duplicate_update", "reorder_updates"])
def test_a_broken_update_hits_every_subscriber_of_the_symbol_once_and_nobody_else(fault: str) -> None:
    whole, broken = opened(), opened()
    for exchange in (whole, broken):
        for symbol in ("BTC/USD", "BTC/USD", "ETH/USD"):
            with_book(exchange, symbol)
    broken.faults.apply(fault, {"symbol": "BTC/USD"}, 0.0)
    sent: list[list[list[dict[str, Any]]]] = []
    for exchange in (whole, broken):
        exchange.advance(2.0)
        sent.append([books(session) for session in exchange.sessions.values()])
    right, wrong = sent
    assert wrong[2] == right[2]
    for session in (0, 1):
        expected = right[session]
        if fault == "drop_update":
            expected = expected[1:]
        elif fault == "duplicate_update":
            expected = [expected[0], *expected]
        else:
            expected = [expected[1], expected[0], *expected[2:]]
        assert wrong[session] == expected
    assert broken.faults.log[-1]["hits"] == 2
    assert broken.book_state("BTC/USD") == whole.book_state("BTC/USD")


def test_a_broken_update_may_be_meant_for_one_session() -> None:
    exchange = opened()
    (victim, _), (other, _) = with_book(exchange), with_book(exchange)
    exchange.faults.drop_update("BTC/USD", now=0.0, session_id=victim.id)
    exchange.advance(1.0)
    assert len(books(other)) == len(books(victim)) + 1


def test_an_update_that_silence_has_lost_leaves_what_is_to_be_broken_for_the_next() -> None:
    exchange = opened()
    session, client = with_book(exchange)
    exchange.faults.silence(now=0.0, seconds=1.5, symbol="BTC/USD")
    exchange.faults.corrupt_checksum("BTC/USD", now=0.0)
    hits: list[object] = []
    for until in (1.4, 4.0):
        exchange.advance(until)
        hits.append(exchange.faults.log[-1]["hits"])
    assert hits == [0, 1]
    assert first_mismatch(client, books(session)) == 0


def test_a_broken_update_armed_before_anyone_subscribes_waits_for_the_first() -> None:
    exchange = opened()
    exchange.faults.corrupt_checksum("BTC/USD", now=0.0)
    session, client = with_book(exchange)
    exchange.advance(1.0)
    assert first_mismatch(client, books(session)) == 0


def test_a_broken_update_is_forgotten_with_the_subscription() -> None:
    exchange = opened()
    session, _ = with_book(exchange)
    exchange.faults.corrupt_checksum("BTC/USD", now=0.0)
    ask(session, 0.0, "unsubscribe", params={"channel": "book", "symbol": ["BTC/USD"]})
    client = NaiveBook(10)
    client.receive(subscribe(session, 0.0, "book", ["BTC/USD"])[-1])
    exchange.advance(1.0)
    assert first_mismatch(client, books(session)) is None


def test_merged_updates_are_one_message_that_makes_the_same_book() -> None:
    exchange = opened()
    session, client = with_book(exchange)
    exchange.faults.merge_updates("BTC/USD", now=0.0)
    exchange.advance(2.0)
    frames = books(session)
    assert [len(frame["data"]) for frame in frames] == [2] + [1] * (len(frames) - 1)
    elements = [{**frame, "data": [element]} for frame in frames for element in frame["data"]]
    assert first_mismatch(client, elements) is None


def test_a_falsified_level_is_told_to_deep_books_only_and_under_a_checksum_that_matches() -> None:
    exchange = opened()
    shallow, _ = with_book(exchange)
    deep = exchange.connect("public", 0.0)
    client = NaiveBook(25)
    client.receive(subscribe(deep, 0.0, "book", ["BTC/USD"], depth=25)[-1])
    taken(shallow)
    taken(deep)
    exchange.faults.falsify_level("BTC/USD", now=0.0)
    assert books(shallow) == []
    (wrong,) = books(deep)
    assert first_mismatch(client, [wrong]) is None
    (level,) = wrong["data"][0]["bids"]
    price, qty = rows(exchange.book_state("BTC/USD", 25)["bids"])[10]
    assert (level["price"], Decimal(level["qty"])) == (price, 2 * Decimal(qty))


def test_a_change_of_precision_is_announced_and_then_written_and_can_be_taken_back() -> None:
    exchange = opened()
    session, _ = with_book(exchange)
    ask(session, 0.0, "subscribe", params={"channel": "instrument"})
    before = exchange.book_state("BTC/USD")
    exchange.faults.change_precision("BTC/USD", now=0.0, price=1)
    (told,) = decoded(taken(session))
    assert told["type"] == "update"
    assert [(pair["symbol"], pair["price_precision"]) for pair in told["data"]["pairs"]] == [("BTC/USD", 2)]
    after = exchange.book_state("BTC/USD")
    assert after["bids"] == [[price + "0", qty] for price, qty in rows(before["bids"])]
    assert after["checksum"] != before["checksum"]
    client = NaiveBook(10)
    client.receive(subscribe(exchange.connect("public", 0.0), 0.0, "book", ["BTC/USD"])[-1])
    exchange.faults.change_precision("BTC/USD", now=0.0)
    assert exchange.book_state("BTC/USD") == before


def test_a_dropped_connection_is_aborted_or_closed_with_the_code_asked_for() -> None:
    exchange = opened()
    one, two, three = (exchange.connect("public", 0.0) for _ in range(3))
    exchange.faults.drop_connection(now=1.0, session_id=one.id)
    assert taken(one)[-1] == Abort()
    exchange.faults.drop_connection(now=1.0, mode="close", code=1012, reason="restart")
    assert taken(two)[-1] == taken(three)[-1] == Close(1012, "restart")
    exchange.advance(2.0)
    assert not exchange.sessions
    assert [entry["hits"] for entry in exchange.faults.log] == [1, 2]


def frames_by_second(exchange: Exchange, session: Session, until: int) -> list[list[str]]:
    seconds: list[list[str]] = []
    for second in range(1, until + 1):
        exchange.advance(second + 0.5)
        seconds.append([frame["channel"] for frame in decoded(taken(session)) if "channel" in frame])
    return seconds


def test_silence_loses_every_frame_for_its_seconds_and_then_all_flows_again() -> None:
    exchange = opened()
    session, _ = with_book(exchange)
    exchange.advance(0.5)
    exchange.faults.silence(now=0.5, seconds=3.0)
    taken(session)
    assert ask(session, 1.0, "ping") == []
    seconds = frames_by_second(exchange, session, 5)
    assert [bool(frames) for frames in seconds] == [False, False, False, True, True]


def test_silence_of_data_leaves_heartbeats_and_answers() -> None:
    exchange = opened()
    session, _ = with_book(exchange)
    exchange.faults.silence(now=0.0, seconds=3.0, kind="data")
    exchange.advance(0.5)
    assert [frame["method"] for frame in ask(session, 0.5, "ping")] == ["pong"]
    assert frames_by_second(exchange, session, 2) == [["heartbeat"], ["heartbeat"]]


@pytest.mark.parametrize(
    ("params", "lost"),
    [
        ({"channel": "heartbeat"}, {"heartbeat"}),
        ({"channel": "ticker"}, {"ticker"}),
        ({"symbol": "BTC/USD"}, {"book", "ticker"}),
        ({"symbol": "ETH/USD"}, set()),
        ({"channel": "book", "symbol": "BTC/USD"}, {"book"}),
        ({"session": 2}, set()),
    ],
)
def test_silence_hits_what_it_names(params: dict[str, object], lost: set[str]) -> None:
    exchange = opened()
    session, _ = with_book(exchange)
    exchange.connect("public", 0.0)
    subscribe(session, 0.0, "ticker", ["BTC/USD"])
    exchange.faults.apply("silence", {"seconds": 10, **params}, 0.0)
    exchange.advance(5.0)
    seen = {frame["channel"] for frame in decoded(taken(session))}
    assert seen == {"book", "ticker", "heartbeat"} - lost


def test_silence_says_until_when() -> None:
    assert opened().faults.silence(now=2.0, seconds=3.0)["until_s"] == 5.0


def test_a_change_of_status_is_told_to_every_session_and_to_rest_and_stops_the_market() -> None:
    exchange = opened()
    session, _ = with_book(exchange)
    other = exchange.connect("auth", 0.0)
    for each in (session, other):
        taken(each)
    exchange.faults.set_status("maintenance", now=1.0)
    status = decoded(taken(other))
    assert [frame["data"][0]["system"] for frame in status] == ["maintenance"]
    taken(session)
    exchange.advance(5.0)
    assert {frame["channel"] for frame in decoded(taken(session))} == {"heartbeat"}
    answer = exchange.rest(RestRequest(method="GET", path="/0/public/SystemStatus"), 5.0)
    assert json.loads(answer.body)["result"]["status"] == "maintenance"
    exchange.faults.set_status("online", now=5.0)
    exchange.advance(7.0)
    assert "book" in {frame["channel"] for frame in decoded(taken(session))}


def test_refused_subscriptions_get_the_words_asked_for_as_often_as_asked_for() -> None:
    exchange = opened()
    session = exchange.connect("public", 0.0)
    exchange.faults.refuse_subscriptions(now=0.0, symbol="BTC/USD", error="Exceeded msg rate", times=2)
    assert subscribe(session, 0.1, "ticker", ["ETH/USD"])[1]["success"]
    for _ in range(2):
        refusal = subscribe(session, 0.1, "book", ["BTC/USD"])[0]
        assert (refusal["error"], refusal["symbol"]) == ("Exceeded msg rate", "BTC/USD")
    assert subscribe(session, 0.1, "book", ["BTC/USD"])[0]["success"]
    assert exchange.faults.log[-1]["hits"] == 2


def test_ignored_subscriptions_get_no_answer_and_no_data() -> None:
    exchange = opened()
    session = exchange.connect("public", 0.0)
    taken(session)
    exchange.faults.ignore_subscriptions(now=0.0, times=2)
    frames = subscribe(session, 0.1, "book", ["BTC/USD", "ETH/USD", "SOL/USD"])
    assert [frame.get("result", {}).get("symbol") for frame in frames] == ["SOL/USD", None]
    exchange.advance(1.0)
    assert {frame["data"][0]["symbol"] for frame in books(session)} == {"SOL/USD"}


def test_a_delayed_snapshot_comes_late_and_no_update_before_it() -> None:
    exchange = opened()
    session = exchange.connect("public", 0.0)
    exchange.faults.delay_snapshot("BTC/USD", now=0.0, seconds=2.0)
    assert subscribe(session, 0.0, "book", ["BTC/USD"])[-1]["method"] == "subscribe"
    exchange.advance(1.9)
    assert not books(session)
    exchange.advance(4.0)
    client = NaiveBook(10)
    frames = books(session)
    assert frames[0]["type"] == "snapshot"
    assert first_mismatch(client, frames) is None


def test_a_delayed_snapshot_is_not_sent_to_who_left_meanwhile() -> None:
    exchange = opened()
    session = exchange.connect("public", 0.0)
    exchange.faults.delay_snapshot("BTC/USD", now=0.0, seconds=2.0)
    subscribe(session, 0.0, "book", ["BTC/USD"])
    ask(session, 1.0, "unsubscribe", params={"channel": "book", "symbol": ["BTC/USD"]})
    exchange.advance(4.0)
    assert not books(session)


def test_a_delayed_snapshot_is_not_sent_on_top_of_that_of_a_newer_subscription() -> None:
    exchange = opened()
    session = exchange.connect("public", 0.0)
    exchange.faults.delay_snapshot("BTC/USD", now=0.0, seconds=2.0)
    subscribe(session, 0.0, "book", ["BTC/USD"])
    ask(session, 1.0, "unsubscribe", params={"channel": "book", "symbol": ["BTC/USD"]})
    assert subscribe(session, 1.0, "book", ["BTC/USD"])[-1]["type"] == "snapshot"
    exchange.advance(4.0)
    assert {frame["type"] for frame in books(session)} == {"update"}


def test_junk_goes_out_as_it_is() -> None:
    exchange = opened()
    session = exchange.connect("public", 0.0)
    taken(session)
    exchange.faults.send_text(b"CloudFlare WebSocket proxy restarting", now=0.1)
    exchange.faults.apply("send_text", {"text": "{", "session": session.id}, 0.1)
    exchange.faults.apply("send_raw", {"hex": "83ff"}, 0.1)
    assert taken(session) == [b"CloudFlare WebSocket proxy restarting", b"{", Raw(b"\x83\xff")]


def test_the_log_tells_what_was_given_when_and_what_came_of_it() -> None:
    exchange = opened()
    with_book(exchange)
    told = exchange.faults.apply("corrupt_checksum", {"symbol": "BTC/USD", "session": None}, 0.5)
    assert told["hits"] == 0
    exchange.advance(2.0)
    (entry,) = exchange.faults.log
    assert (entry["id"], entry["name"], entry["at_s"], entry["hits"]) == (1, "corrupt_checksum", 0.5, 1)
    assert 0.5 < entry["last_hit_s"] < 2.0  # type: ignore[operator]  # JSON-ready, hence object
    assert exchange.faults.hits() == {"corrupt_checksum": 1}
    assert exchange.counters()["faults_given"] == 1


MISTAKES: list[tuple[str, dict[str, object], str]] = [
    ("explode", {}, "expected one of drop_connection, corrupt_checksum"),
    ("corrupt_checksum", {}, "corrupt_checksum: expected the parameter 'symbol'"),
    ("corrupt_checksum", {"symbol": "XBT/USD"}, "symbol: expected a listed one"),
    ("corrupt_checksum", {"symbol": 5}, "corrupt_checksum: symbol: expected text, got 5"),
    ("corrupt_checksum", {"symbol": "BTC/USD", "session": 99}, "session: expected one of"),
    ("corrupt_checksum", {"symbol": "BTC/USD", "session": True}, "session: expected integer"),
    ("drop_connection", {"who": 1}, "expected parameters among session, mode, code, reason, got 'who'"),
    ("drop_connection", {"mode": "gently"}, "mode: expected abort or close"),
    ("drop_connection", {"mode": "close", "code": 5}, "code: expected 1000 to 4999"),
    ("silence", {"seconds": 0}, "seconds: expected more than 0"),
    ("silence", {"seconds": 1e9}, "seconds: expected more than 0"),
    ("silence", {"seconds": 1, "channel": "orders"}, "channel: expected one of book"),
    ("silence", {"seconds": 1, "kind": "some"}, "kind: expected all or data"),
    ("silence", {"seconds": 1, "symbol": "?"}, "symbol: expected a listed one"),
    ("set_status", {"mode": "sleepy"}, "mode: expected one of online"),
    ("refuse_subscriptions", {"times": 0}, "times: expected 1 or more"),
    ("delay_snapshot", {"symbol": "BTC/USD", "seconds": "1"}, "seconds: expected number"),
    ("send_raw", {"hex": "xyz"}, "hex: expected hex"),
    ("batch_differently", {"seconds": 1, "size": 1}, "size: expected 2 to 100 updates in one, got 1"),
    ("batch_differently", {"seconds": 1, "linger": 0}, "seconds: expected more than 0"),
    ("batch_differently", {"seconds": 1, "symbol": "?"}, "symbol: expected a listed one"),
    ("word_differently", {"seconds": 1, "style": "loud"}, "style: expected one of spaced, reordered, extended"),
    ("announce_maintenance", {"seconds": 1, "notice": "soon"}, "notice: expected one of announced"),
    ("announce_maintenance", {"seconds": 1, "action": "run"}, "action: expected one of continue"),
]


@pytest.mark.parametrize(("name", "params", "message"), MISTAKES)
def test_a_command_that_makes_no_sense_says_what_would_and_does_nothing(
    name: str, params: dict[str, object], message: str
) -> None:
    exchange = opened()
    session, client = with_book(exchange)
    with pytest.raises(UsageError, match=message):
        exchange.faults.apply(name, params, 0.0)
    exchange.advance(1.0)
    assert session.open
    assert exchange.faults.log == []
    assert first_mismatch(client, books(session)) is None


def test_faults_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kraken_engine.venue.core.fault_log.MOST_WAITING", 3)
    faults = opened().faults
    for _ in range(3):
        faults.silence(now=0.0, seconds=1.0)
        faults.drop_update("BTC/USD", now=0.0)
        faults.ignore_subscriptions(now=0.0)
    more: list[Callable[[], object]] = [
        lambda: faults.silence(now=0.0, seconds=1.0),
        lambda: faults.drop_update("ETH/USD", now=0.0),
        lambda: faults.ignore_subscriptions(now=0.0),
    ]
    for arm in more:
        with pytest.raises(UsageError, match="at most 3"):
            arm()
    assert len(faults.log) == 9


def test_upgrades_are_refused_as_often_as_asked_in_the_order_of_the_commands() -> None:
    faults = opened().faults
    assert faults.upgrade_refusal() is None
    faults.refuse_upgrade(now=0.0, status=429, retry_after=7, times=2)
    faults.refuse_upgrade(now=0.0, status=301, location="wss://elsewhere.test/v2")
    throttled = UpgradeRefusal(status=429, headers={"retry-after": "7"})
    moved = UpgradeRefusal(status=301, headers={"location": "wss://elsewhere.test/v2"})
    assert [faults.upgrade_refusal() for _ in range(4)] == [throttled, throttled, moved, None]
    assert faults.hits() == {"refuse_upgrade": 3}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "refuse_upgrade: expected the parameter 'status', got none"),
        ({"status": 101}, "status: expected 200 to 599, got 101"),
        ({"status": 429, "retry_after": -1}, "retry_after: expected 0 or more, got -1"),
        ({"status": 301, "location": "a\r\nb: c"}, "location: expected printable ASCII"),
        ({"status": 429, "times": 0}, "times: expected 1 or more, got 0"),
    ],
)
def test_a_refusal_that_makes_no_sense_is_refused_itself(params: dict[str, object], message: str) -> None:
    faults = opened().faults
    with pytest.raises(UsageError, match=message):
        faults.apply("refuse_upgrade", params, 0.0)
    assert faults.upgrade_refusal() is None


def test_every_command_is_a_method_and_every_fault_a_command() -> None:
    inward = {"apply", "end_all", "hits", "record", "ignores", "refuses", "snapshot_delay_ns", "upgrade_refusal", "log"}
    inward |= {"call_off_maintenance", "newest", "heal_accounts", "heal_rest", "on_rest", "way", "forget_listener"}
    inward |= {"private_delay_ns", "refuses_private", "restore_keys", "withholds"}
    methods = {name for name in dir(Faults) if not name.startswith("_")} - inward
    assert methods == set(COMMANDS)


@pytest.mark.parametrize(
    "arm",
    [
        lambda faults: faults.corrupt_checksum("BTC/USD", now=1.0),
        lambda faults: faults.reorder_updates("BTC/USD", now=1.0),
        lambda faults: faults.silence(now=1.0, seconds=1.0, symbol="BTC/USD"),
    ],
)
def test_faults_are_as_reproducible_as_everything_else(arm: Callable[[Faults], object]) -> None:
    runs: list[object] = []
    for steps in (1, 7):
        exchange = opened()
        session, _ = with_book(exchange)
        arm(exchange.faults)
        for step in range(1, steps + 1):
            exchange.advance(1.0 + 3.0 * step / steps)
        runs.append((taken(session), exchange.faults.log))
    assert runs[0] == runs[1]


def test_ending_all_faults_leaves_nothing_that_is_still_to_hit() -> None:
    exchange = opened()
    session, client = with_book(exchange)
    faults = exchange.faults
    faults.drop_update("BTC/USD", now=0.0)
    faults.refuse_subscriptions(now=0.0)
    faults.ignore_subscriptions(now=0.0)
    faults.silence(now=0.0, seconds=1.0)
    faults.set_status("maintenance", now=0.0)
    faults.end_all(now=0.0)
    exchange.advance(2.0)  # past the time at which the silence would have ended by itself
    assert first_mismatch(client, books(session)) is None
    assert exchange.system == "online"
    assert subscribe(session, 2.0, "ticker", ["BTC/USD"])[0]["success"]


def test_a_record_of_the_log_is_known_by_its_id_until_it_is_forgotten() -> None:
    exchange = opened()
    with_book(exchange)
    given = exchange.faults.drop_update("BTC/USD", now=0.0)
    record = exchange.faults.record(int(str(given["id"])))
    assert record.hits == 0
    exchange.advance(2.0)
    assert record.hits == 1
    with pytest.raises(UsageError, match="one of the last 1000, got 7"):
        exchange.faults.record(7)


def test_faults_of_one_update_do_not_disturb_each_other() -> None:
    broken = ("drop_update", "reorder_updates", "duplicate_update", "corrupt_checksum")
    for first, second in itertools.product(broken, broken):
        exchange = opened()
        session, _ = with_book(exchange)
        for name in (first, second):
            exchange.faults.apply(name, {"symbol": "BTC/USD"}, 0.0)
        exchange.advance(5.0)
        assert books(session)
        assert [record["hits"] for record in exchange.faults.log] == [1, 1], (first, second)
