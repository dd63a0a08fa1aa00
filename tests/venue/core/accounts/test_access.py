"""Who may call: the signature of the documents, nonces that only rise, lockouts, counters, permissions, passwords."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.venue.core.accounts.callers import Caller, opened_with

from kraken_engine.venue.core.accounts.access import ApiKey, Denied, signature
from kraken_engine.venue.core.accounts.settings import (
    TEST_ACCOUNT,
    TEST_KEY,
    TEST_SECRET,
    TIERS,
    AccountSettings,
    KeySettings,
)
from kraken_engine.venue.core.ports import RestRequest

VECTOR = Path(os.environ.get("KRAKEN_FIXTURES", "nowhere")) / "rest" / "api_sign_vector.json"

ASSETS = {"ZUSD": "1000000.0000", "XXBT": "50.0000000000", "XETH": "500.0000000000", "SOL": "5000.0000000000"}


@pytest.fixture
def caller() -> Caller:
    return Caller(opened_with(rate=1.0))


def key_with(**changes: Any) -> AccountSettings:
    (key,) = TEST_ACCOUNT.keys
    return attrs.evolve(TEST_ACCOUNT, keys=(attrs.evolve(key, **changes),))


def test_the_documentation_prints_the_keys_of_the_test_account() -> None:
    text = (Path(__file__).parents[4] / "docs" / "reference" / "venue.md").read_text()
    assert f"`{TEST_KEY}`" in text
    assert f"`{TEST_SECRET}`" in text


def test_the_signature_is_that_of_the_documents() -> None:
    vector = {
        "private_key_b64": "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg==",
        "nonce": "1616492376594",
        "uri_path": "/0/private/AddOrder",
        "encoded_payload": "nonce=1616492376594&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25",
        "api_sign": "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ==",
    }
    if VECTOR.exists():
        recorded = json.loads(VECTOR.read_text())
        assert {name: recorded[name] for name in vector} == vector
    payload = vector["encoded_payload"].encode()
    got = signature(vector["private_key_b64"], vector["uri_path"], vector["nonce"], payload)
    assert got == vector["api_sign"]


@pytest.mark.parametrize("as_json", [False, True])
def test_a_signed_call_is_answered_whether_its_body_is_a_form_or_json(caller: Caller, as_json: bool) -> None:
    assert caller.send("Balance", as_json=as_json) == {"error": [], "result": ASSETS}


def test_an_unknown_key_a_wrong_signature_and_a_get_are_refused(caller: Caller) -> None:
    assert caller.error("Balance", sign="AAAA") == "EAPI:Invalid signature"
    assert caller.error("Balance", sign="not base64!") == "EAPI:Invalid signature"
    assert Caller(caller.exchange, key="nobody's").error("Balance") == "EAPI:Invalid key"
    assert caller.exchange.rest(RestRequest(method="GET", path="/0/private/Balance"), 0.0).status == 405


@given(st.lists(st.integers(0, 2**64 + 3), min_size=1, max_size=30))
def test_a_nonce_is_taken_exactly_when_it_is_above_every_one_taken_before(nonces: list[int]) -> None:
    (settings,) = TEST_ACCOUNT.keys
    key = ApiKey(settings, "main", set())
    highest = -1
    for place, nonce in enumerate(nonces):
        sign = signature(settings.secret, "/0/private/Balance", str(nonce), b"payload")
        good = highest < nonce < 2**64
        with contextlib.nullcontext() if good else pytest.raises(Denied, match="EAPI:Invalid nonce"):
            key.check("/0/private/Balance", str(nonce), b"payload", sign, now_ns=place * 100 * 10**9)
        highest = nonce if good else highest
    taken = [seen.nonce for seen in key.nonces if not seen.refused]
    assert taken == sorted(set(taken))
    assert key.refused_nonces == len(nonces) - len(taken)


@pytest.mark.parametrize("nonce", ["", "abc", "-5", "1.5", "9" * 30])
def test_what_is_no_nonce_is_refused(caller: Caller, nonce: str) -> None:
    assert caller.error("Balance", nonce=nonce) == "EAPI:Invalid nonce"


def test_a_nonce_is_used_up_by_a_call_that_is_refused_for_another_reason(caller: Caller) -> None:
    assert caller.error("NoSuchThing") == "EGeneral:Unknown method"
    assert caller.error("Balance", nonce=str(caller.nonce)) == "EAPI:Invalid nonce"


def test_five_bad_nonces_in_a_minute_lock_the_key_out_for_a_quarter_of_an_hour(caller: Caller) -> None:
    caller.call("Balance")
    for _ in range(5):
        assert caller.error("Balance", nonce="1") == "EAPI:Invalid nonce"
    assert caller.error("Balance") == "EGeneral:Temporary lockout"
    caller.now = 899.0
    assert caller.error("Balance") == "EGeneral:Temporary lockout"
    caller.now = 901.0
    assert caller.call("Balance")


@pytest.mark.parametrize("tier", TIERS)
def test_the_call_counter_fills_by_calls_and_drains_by_time(tier: str) -> None:
    caller = Caller(opened_with(attrs.evolve(TEST_ACCOUNT, tier=tier), symbols=1))
    limits = TIERS[tier]
    for _ in range(limits.rest_most):
        caller.call("Balance")
    assert caller.error("Balance") == "EAPI:Rate limit exceeded"
    # One over, and the next call needs room as well: two calls have to drain.
    caller.now = 200 / limits.rest_decay - 0.01
    assert caller.error("Balance") == "EAPI:Rate limit exceeded"
    caller.now += 200 / limits.rest_decay
    assert caller.call("Balance")


def test_whoever_goes_on_calling_over_the_limit_waits_longer(caller: Caller) -> None:
    for _ in range(20 + 200):
        caller.send("Balance")
    caller.now = 20 / 0.5
    assert caller.error("Balance") == "EAPI:Rate limit exceeded"
    caller.now = 2 * 20 / 0.5
    assert caller.call("Balance")


def test_a_key_is_told_when_it_lacks_the_permission() -> None:
    caller = Caller(opened_with(key_with(permissions=("query-open-trades",))))
    assert caller.error("Balance") == "EGeneral:Permission denied"
    assert caller.error("GetWebSocketsToken") == "EGeneral:Permission denied"
    assert caller.call("GetApiKeyInfo")["permissions"] == ["query-open-trades"]


def test_a_key_with_a_password_wants_it() -> None:
    caller = Caller(opened_with(key_with(otp="sesame")))
    assert caller.error("Balance") == "EAPI:Invalid signature"
    assert caller.call("Balance", otp="sesame")


def test_keys_count_their_calls_and_nonces_each_for_itself() -> None:
    second = KeySettings(key="second", secret=TEST_ACCOUNT.keys[0].secret)
    exchange = opened_with(attrs.evolve(TEST_ACCOUNT, keys=(*TEST_ACCOUNT.keys, second)))
    first, other = Caller(exchange), Caller(exchange, key="second", nonce=5)
    for _ in range(20):
        first.call("Balance")
    assert first.error("Balance") == "EAPI:Rate limit exceeded"
    assert other.call("Balance")


def test_every_call_of_a_known_key_is_remembered_for_judges(caller: Caller) -> None:
    caller.call("Balance")
    caller.error("Balance", sign="AAAA")
    calls = caller.exchange.accounts.calls_of("main")
    assert [(call.path, call.nonce, call.error, call.counter) for call in calls] == [
        ("/0/private/Balance", "1001", None, 1.0),
        ("/0/private/Balance", "1002", "EAPI:Invalid signature", 1.0),
    ]


def test_balances_go_by_rest_ids_with_the_digits_of_the_asset(caller: Caller) -> None:
    assert caller.call("Balance") == ASSETS
    assert caller.call("BalanceEx")["XXBT"] == {"balance": "50.0000000000", "hold_trade": "0.0000000000"}


def test_a_token_is_43_characters_and_good_for_900_seconds(caller: Caller) -> None:
    result = caller.call("GetWebSocketsToken")
    assert set(result) == {"token", "expires"}
    assert (len(result["token"]), result["expires"]) == (43, 900)
    assert caller.call("GetWebSocketsToken")["token"] != result["token"]
    tokens = caller.exchange.accounts.tokens
    assert tokens.find(result["token"], 1, 899 * 10**9 + caller_wall(caller)) is not None
    assert tokens.find(result["token"], 1, 900 * 10**9 + caller_wall(caller)) is None


def caller_wall(caller: Caller) -> int:
    return caller.exchange.accounts.tokens.of("main")[0].made_ns


def test_a_venue_without_accounts_knows_no_key() -> None:
    exchange = opened_with(attrs.evolve(TEST_ACCOUNT, keys=()))
    assert Caller(exchange).error("Balance") == "EAPI:Invalid key"
