"""REST faults on command: whom they hit and how often, what was carried out all the same, what the answer is like."""

from __future__ import annotations

import json
import zlib
from typing import Any

import pytest
from tests.venue.core.accounts.callers import Caller, opened_with

from kraken_engine.errors import UsageError
from kraken_engine.venue.core.exchange import Exchange
from kraken_engine.venue.core.ports import RestRequest, RestResponse
from kraken_engine.venue.core.rest_scripts import BREAKS, LIES

ORDER = {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "price": "60000", "volume": "0.5"}


@pytest.fixture
def exchange() -> Exchange:
    return opened_with(rate=1.0)


def get(exchange: Exchange, name: str = "Time", **query: str) -> RestResponse:
    return exchange.rest(RestRequest(method="GET", path=f"/0/public/{name}", query=query), 0.0)


def errors(exchange: Exchange, name: str = "Time") -> list[str]:
    answer: dict[str, Any] = json.loads(get(exchange, name).body)
    got: list[str] = answer["error"]
    return got


def test_words_of_the_venue_hit_the_path_they_are_for_as_often_as_told(exchange: Exchange) -> None:
    fault = {"error": "EService:Busy", "path": "/0/public/Ticker", "times": 2}
    done = exchange.faults.apply("rest_error", fault, 0.0)
    assert errors(exchange) == []
    assert [errors(exchange, "Ticker") for _ in range(3)] == [["EService:Busy"], ["EService:Busy"], []]
    assert exchange.faults.record(int(str(done["id"]))).hits == 2


@pytest.mark.parametrize("executed", [False, True])
def test_a_request_is_carried_out_behind_an_error_exactly_when_told(exchange: Exchange, executed: bool) -> None:
    caller = Caller(exchange)
    fault = {"error": "EService:Unavailable", "path": "/0/private/AddOrder", "executed": executed}
    exchange.faults.apply("rest_error", fault, 0.0)
    assert caller.error("AddOrder", **ORDER) == "EService:Unavailable"
    assert len(exchange.accounts["main"].orders) == executed
    assert (exchange.accounts.api_keys[caller.key].last_nonce == caller.nonce) is executed


def test_nonces_can_be_refused_for_good_and_until_all_faults_end(exchange: Exchange) -> None:
    caller = Caller(exchange)
    exchange.faults.apply("refuse_nonce", {"times": 1_000_000}, 0.0)
    assert {caller.error("Balance") for _ in range(30)} == {"EAPI:Invalid nonce"}
    assert errors(exchange) == []
    assert not exchange.accounts.api_keys[caller.key].nonces
    exchange.faults.end_all(now=0.0)
    assert caller.call("Balance")


def test_a_throttled_request_is_told_the_second_from_which_it_may_come_again(exchange: Exchange) -> None:
    exchange.faults.apply("throttle", {"seconds": 10.0}, 0.0)
    (text,) = errors(exchange)
    prefix, _, second = text.rpartition(" ")
    assert prefix == "EService: Throttled:"
    assert 10 <= int(second) - exchange.wall_ns() / 10**9 < 11


@pytest.mark.parametrize("status", [301, 403, 429, 500, 502, 520])
def test_the_edge_answers_with_a_page_and_its_headers(exchange: Exchange, status: int) -> None:
    fault = {"status": status, "retry_after": 7, "location": "https://elsewhere.test/0/public/Time"}
    exchange.faults.apply("rest_status", fault, 0.0)
    page = get(exchange)
    assert (page.status, page.headers["content-type"], page.headers["retry-after"]) == (status, "text/html", "7")
    assert page.headers["location"] == "https://elsewhere.test/0/public/Time"
    assert page.body.startswith(b"<!DOCTYPE html>")
    assert get(exchange).status == 200


@pytest.mark.parametrize("part", ["headers", "body"])
def test_a_slow_answer_takes_as_long_as_told_and_is_true(exchange: Exchange, part: str) -> None:
    truth = get(exchange, "Assets")
    exchange.faults.apply("rest_slow", {"seconds": 30.0, "part": part}, 0.0)
    script = get(exchange, "Assets").script
    assert script is not None
    waits = [step for step in script if isinstance(step, float)]
    sent = b"".join(step for step in script if isinstance(step, bytes))
    assert sum(waits) == pytest.approx(30.0)
    assert (len(waits) > 1) is (part == "body")
    assert isinstance(script[0], float) is (part == "headers")
    head, _, body = sent.partition(b"\r\n\r\n")
    assert body == truth.body
    assert f"content-length: {len(body)}".encode() in head


@pytest.mark.parametrize("kind", [kind for kind in BREAKS if kind != "gzip_bomb"])
def test_a_broken_answer_is_not_what_http_promises(exchange: Exchange, kind: str) -> None:
    truth = get(exchange, "Assets").body
    exchange.faults.apply("rest_break", {"kind": kind}, 0.0)
    script = get(exchange, "Assets").script
    assert script is not None
    sent = b"".join(step for step in script if isinstance(step, bytes))
    _, _, body = sent.partition(b"\r\n\r\n")
    whole = f"content-length: {len(body)}\r\n".encode() in sent and body == truth
    assert not whole


def test_a_bomb_is_small_on_the_wire_and_64_mib_unpacked(exchange: Exchange) -> None:
    exchange.faults.apply("rest_break", {"kind": "gzip_bomb"}, 0.0)
    answer = get(exchange)
    assert answer.headers["content-encoding"] == "gzip"
    assert len(answer.body) < 200_000
    unpacked, left = 0, zlib.decompressobj(wbits=31)
    for start in range(0, len(answer.body), 4096):
        unpacked += len(left.decompress(answer.body[start : start + 4096]))
    assert unpacked > 64 * 1024 * 1024


@pytest.mark.parametrize("kind", LIES)
@pytest.mark.parametrize("name", ["Time", "Assets", "OHLC"])
def test_a_lie_is_another_body_than_the_truth(exchange: Exchange, kind: str, name: str) -> None:
    query = {"pair": "XBTUSD"} if name == "OHLC" else {}
    truth = get(exchange, name, **query)
    exchange.faults.apply("rest_lie", {"kind": kind}, 0.0)
    lie = get(exchange, name, **query)
    assert lie.status == 200
    assert lie.body != truth.body
    assert get(exchange, name, **query) == truth


def test_a_lie_about_an_error_says_that_all_is_well(exchange: Exchange) -> None:
    exchange.faults.apply("rest_lie", {"kind": "wrong_types", "path": "/0/private/"}, 0.0)
    assert Caller(exchange, key="nobody").send("Balance") == {"error": []}


def test_what_makes_no_sense_is_refused(exchange: Exchange) -> None:
    for name, params, message in (
        ("rest_error", {}, "expected the parameter 'error'"),
        ("rest_error", {"error": "x", "path": "nowhere"}, "path: expected one such as"),
        ("rest_error", {"error": "x", "executed": 1}, "executed: expected flag, got 1"),
        ("rest_status", {"status": 200}, "status: expected 300 to 599"),
        ("rest_break", {"kind": "nicely"}, "kind: expected one of truncated"),
        ("rest_lie", {"kind": "white"}, "kind: expected one of wrong_types"),
        ("rest_slow", {"seconds": 0.0}, "seconds: expected more than 0"),
        ("refuse_nonce", {"times": 0}, "times: expected 1 to"),
        ("delete_key", {"account": "nobody"}, "account: expected one of main"),
        ("drop_private_frame", {"channel": "book"}, "channel: expected one of executions"),
        ("drop_permission", {"permission": "all"}, "permission: expected one of query-funds"),
    ):
        with pytest.raises(UsageError, match=message):
            exchange.faults.apply(name, params, 0.0)
    assert exchange.faults.log == []
    assert errors(exchange) == []
