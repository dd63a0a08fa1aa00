"""Requests are exact JSON, with numbers as the venue wants them."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.codec.requests import encode_request
from kraken_engine.errors import UsageError
from kraken_engine.secret import Secret


def test_a_subscription_is_written_in_the_venues_order() -> None:
    assert encode_request("subscribe", {"channel": "book", "symbol": ["BTC/USD"], "depth": 10}, 7) == (
        b'{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD"],"depth":10},"req_id":7}'
    )


def test_a_ping_has_no_params_key_since_the_venue_refuses_one() -> None:
    assert encode_request("ping", None, 101) == b'{"method":"ping","req_id":101}'
    assert encode_request("ping", None, None) == b'{"method":"ping"}'


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (Decimal("0.00000001"), b"0.00000001"),
        (Decimal("1E-8"), b"0.00000001"),
        (Decimal("26500.40"), b"26500.40"),
        (Decimal("1E+3"), b"1000"),
        (Decimal("0E-8"), b"0.00000000"),
        (Decimal("-2.0"), b"-2.0"),
        (5, b"5"),
        (True, b"true"),
        (None, b"null"),
    ],
)
def test_numbers_are_written_digit_for_digit_without_exponent(number: object, written: bytes) -> None:
    assert encode_request("x", {"n": number}, None) == b'{"method":"x","params":{"n":' + written + b"}}"


@pytest.mark.parametrize(
    "value",
    [0.1, float("nan"), Decimal("NaN"), Decimal("Infinity"), Decimal("1E+1000000"), Decimal("1." + "1" * 50), b"bytes",
     object(), "\ud800", 10**5000, {1, 2}],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_cannot_be_written_exactly_is_refused(value: object) -> None:
    with pytest.raises(UsageError):
        encode_request("x", {"nested": [{"n": value}]}, None)


def test_the_refusal_names_the_place() -> None:
    with pytest.raises(UsageError, match=r"\$\.params\.orders\[1\]\.price"):
        encode_request("batch_add", {"orders": [{"price": Decimal(1)}, {"price": 1.5}]}, None)


@given(
    value=st.decimals(allow_nan=False, allow_infinity=False, min_value=Decimal(-(10**12)), max_value=10**12, places=8)
)
def test_every_decimal_is_read_back_as_it_was(value: Decimal) -> None:
    frame = encode_request("x", {"n": value}, None)
    assert json.loads(frame, parse_float=Decimal, parse_int=Decimal)["params"]["n"] == value
    assert b"e" not in frame[20:].lower()


def test_a_token_is_written_as_its_text_and_shown_nowhere_else() -> None:
    token = Secret("nmc39wCfFqn0mirRrpHMFOu0xfq4VVghFy+UPzpVcJo")
    params = {"channel": "executions", "token": token}
    assert b'"token":"nmc39wCfFqn0mirRrpHMFOu0xfq4VVghFy+UPzpVcJo"' in encode_request("subscribe", params, 1)
    assert "nmc39" not in repr(params)
