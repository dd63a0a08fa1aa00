"""The control port: the venue's truth, faults, clear errors, and who may ask."""

from __future__ import annotations

import json

import attrs
import pytest
from tests.venue.shells.clients import request_of

from kraken_engine.venue.core.exchange import Exchange
from kraken_engine.venue.shells.control import ControlPort

HOST = "127.0.0.1:9000"


@attrs.define
class FixedClock:
    time: float = 100.0

    def now(self) -> float:
        return self.time

    def wall_ns(self) -> int:
        return 1_795_305_600 * 10**9

    def cpu_s(self) -> float:
        return 0.0


@attrs.define
class Operator:
    """Asks a control port, and keeps what it nudged."""

    exchange: Exchange
    port: ControlPort
    nudges: list[None]

    def ask(self, method: str, path: str, *, body: bytes = b"", host: str = HOST, **query: str) -> tuple[int, object]:
        request = request_of(method, path, query=query, headers={"host": host}, body=body)
        response = self.port.answer(request)
        assert response.headers["content-type"] == "application/json"
        return response.status, json.loads(response.body)


@pytest.fixture
def operator() -> Operator:
    nudges: list[None] = []
    exchange = Exchange(7, 3, 50.0, 100.0, 1_795_305_600 * 10**9)
    port = ControlPort(
        exchange=exchange, hosts=(HOST, "localhost:9000"), clock=FixedClock(), nudge=lambda: nudges.append(None)
    )
    return Operator(exchange, port, nudges)


def test_symbols_are_listed(operator: Operator) -> None:
    assert operator.ask("GET", "/symbols") == (200, operator.exchange.symbols)


def test_every_book_is_the_venues_own(operator: Operator) -> None:
    expected = {symbol: operator.exchange.book_state(symbol, 10) for symbol in operator.exchange.symbols}
    assert operator.ask("GET", "/books") == (200, expected)


@pytest.mark.parametrize("path", ["/books/BTC/USD", "/books/BTC%2FUSD", "/books/BTC/USD/"])
def test_one_book_comes_to_the_depth_asked_for(operator: Operator, path: str) -> None:
    status, book = operator.ask("GET", path, depth="3")
    assert status == 200
    assert book == operator.exchange.book_state("BTC/USD", 3)


def test_what_a_book_was_told_comes_from_the_number_asked_for(operator: Operator) -> None:
    session = operator.exchange.connect("public", 100.0)
    session.receive(b'{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD"]}}', 100.0)
    operator.exchange.advance(102.0)
    _, told = operator.exchange.told("BTC/USD")
    books = [list(one) for one in told]
    answer = {"first": 1, "next": len(books), "books": books[1:]}
    assert operator.ask("GET", "/told/BTC/USD", since="1") == (200, answer)
    assert operator.ask("GET", "/told/BTC/USD", depth="25") == (200, {"first": 0, "next": 0, "books": []})


def test_trades_come_from_the_one_asked_for(operator: Operator) -> None:
    since = operator.exchange.trades("BTC/USD", 3)[0]["trade_id"]
    expected = operator.exchange.trades("BTC/USD", 2)
    assert operator.ask("GET", "/trades/BTC/USD", since=str(since)) == (200, expected)


def test_the_journal_comes_from_the_entry_asked_for(operator: Operator) -> None:
    for _ in range(2):
        operator.exchange.connect("public", 100.0)
    entry = {"at_s": 100.0, "session": 2, "what": "open", "channel": None, "symbols": []}
    assert operator.ask("GET", "/journal", since="1") == (200, {"next": 2, "entries": [entry]})


def test_counters_are_the_venues_own(operator: Operator) -> None:
    assert operator.ask("GET", "/counters") == (200, operator.exchange.counters())


def test_a_fault_is_applied_logged_and_followed_by_a_turn_of_the_exchange(operator: Operator) -> None:
    body = b'{"fault": "corrupt_checksum", "symbol": "BTC/USD"}'
    status, done = operator.ask("POST", "/faults", body=body)
    assert status == 200
    assert operator.nudges == [None]
    assert operator.ask("GET", "/faults") == (200, [done])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "JSON object"),
        (b"[]", "JSON object"),
        (b"{" * 100_000, "JSON object"),
        (b'{"a":' * 100_000, "JSON object"),
        (b"\xff", "JSON object"),
        (b"{}", "fault: expected the name"),
        (b'{"fault": 5}', "fault: expected the name"),
        (b'{"fault": "earthquake"}', "earthquake"),
        (b'{"fault": "apply", "name": "x"}', "apply"),
        (b'{"fault": "__init__"}', "__init__"),
        (b'{"fault": "drop_update"}', "symbol"),
        (b'{"fault": "drop_update", "symbol": "NO/NE"}', "NO/NE"),
        (b'{"fault": "drop_update", "symbol": "BTC/USD", "extra": 1}', "extra"),
        (b'{"fault": "drop_update", "symbol": "BTC/USD", "now": 1}', "now"),
        (b'{"fault": "silence", "seconds": "long"}', "seconds"),
    ],
)
def test_a_fault_that_cannot_be_applied_says_why_and_changes_nothing(
    operator: Operator, body: bytes, words: str
) -> None:
    status, answer = operator.ask("POST", "/faults", body=body)
    assert status == 400
    assert isinstance(answer, dict)
    assert words in answer["error"]
    assert operator.ask("GET", "/faults") == (200, [])
    assert operator.nudges == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/nothing", 404),
        ("GET", "/books/NO/NE", 404),
        ("GET", "/symbols/more", 404),
        ("POST", "/books", 405),
        ("POST", "/books/BTC/USD", 405),
        ("DELETE", "/faults", 405),
        ("PUT", "/counters", 405),
    ],
)
def test_what_is_not_there_says_what_is(operator: Operator, method: str, path: str, status: int) -> None:
    got, answer = operator.ask(method, path)
    assert got == status
    assert isinstance(answer, dict)
    assert "expected" in answer["error"]


@pytest.mark.parametrize("depth", ["0", "-1", "x", "1.5", "99999", "²", ""])
def test_a_depth_that_is_none_is_refused(operator: Operator, depth: str) -> None:
    assert operator.ask("GET", "/books", depth=depth)[0] == 400


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "evil.example:9000", "127.0.0.1:9001", "127.0.0.1:9000.evil.example", ""]
)
def test_another_host_header_is_refused(operator: Operator, host: str) -> None:
    assert operator.ask("GET", "/symbols", host=host)[0] == 421


@pytest.mark.parametrize("host", [HOST, "localhost:9000", "LOCALHOST:9000"])
def test_its_own_names_are_accepted(operator: Operator, host: str) -> None:
    assert operator.ask("GET", "/symbols", host=host)[0] == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("origin", ["null", "http://127.0.0.1:9000", "https://evil.example"])
def test_a_request_from_a_web_page_is_refused(operator: Operator, method: str, origin: str) -> None:
    headers = {"host": HOST, "origin": origin}
    body = b'{"fault": "drop_connection"}'
    response = operator.port.answer(request_of(method, "/faults", headers=headers, body=body))
    assert response.status == 403
    assert operator.exchange.faults.log == []
