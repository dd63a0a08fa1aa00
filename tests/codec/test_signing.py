"""A signed request is signed as the venue's documentation says, and shows nothing of its secrets."""

from __future__ import annotations

import base64
import hashlib
import hmac
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.codec.signing import check_key, sign, signed_request
from kraken_engine.errors import ConfigError
from kraken_engine.secret import ApiKey, Secret

OFFICIAL = "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="
PATH = "/0/private/AddOrder"
NONCE = 1616492376594
FIELDS = {"ordertype": "limit", "pair": "XBTUSD", "price": "37500", "type": "buy", "volume": "1.25"}


def _key(otp: str | None = None) -> ApiKey:
    return ApiKey(key=Secret("public-half"), secret=Secret(OFFICIAL), otp=None if otp is None else Secret(otp))


def test_the_vector_of_the_documentation_is_met() -> None:
    request = signed_request(PATH, FIELDS, nonce=NONCE, key=_key())
    assert request.body == b"nonce=1616492376594&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25"
    assert request.headers["API-Sign"] == (
        "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ=="
    )
    assert request.headers["API-Key"] == "public-half"


def test_a_json_body_is_signed_by_the_same_rule() -> None:
    body = b'{"nonce":"1616492376594","ordertype":"limit","pair":"XBTUSD","price":"37500","type":"buy","volume":"1.25"}'
    assert sign(PATH, NONCE, body, Secret(OFFICIAL)) == (
        "r/o+GpKxXjV/mls/r5CKLu5R+yzK5psqvQ4hXxMX1nzdxTBhV+ui82QGgPZMMitpFwCOAdPEZMmXgZxD2chJEg=="
    )


def test_the_second_factor_is_in_the_body_and_under_the_signature() -> None:
    request = signed_request(PATH, {"a": "1"}, nonce=7, key=_key("123 456"))
    assert request.body == b"nonce=7&a=1&otp=123+456"
    assert request.headers["API-Sign"] == sign(PATH, 7, request.body, Secret(OFFICIAL))


def test_a_plus_in_a_value_survives_the_form() -> None:
    assert b"expiretm=%2B60" in signed_request(PATH, {"expiretm": "+60"}, nonce=1, key=_key()).body


@given(st.dictionaries(st.text(min_size=1, max_size=9), st.text(max_size=20), max_size=5), st.integers(0, 2**64 - 1))
def test_the_form_holds_the_fields_and_the_signature_covers_all_of_it(fields: dict[str, str], nonce: int) -> None:
    fields.pop("nonce", None)
    request = signed_request(PATH, fields, nonce=nonce, key=_key())
    sent = dict(parse_qsl(request.body.decode(), keep_blank_values=True))
    assert sent == {"nonce": str(nonce), **fields}
    message = PATH.encode() + hashlib.sha256(str(nonce).encode() + request.body).digest()
    expected = hmac.digest(base64.b64decode(OFFICIAL), message, "sha512")
    assert base64.b64decode(request.headers["API-Sign"]) == expected


def test_no_representation_of_a_request_shows_key_signature_or_body() -> None:
    request = signed_request(PATH, FIELDS, nonce=NONCE, key=_key("654321"))
    for shown in (repr(request), str(request), f"{request}"):
        for secret in (OFFICIAL, "public-half", request.headers["API-Sign"], "654321", str(NONCE)):
            assert secret not in shown


@pytest.mark.parametrize("secret", ["not base64!", "abc", "====", "kQH5HW/8p1\n"])
def test_a_secret_that_cannot_sign_is_a_mistake_of_the_settings_and_is_not_shown(secret: str) -> None:
    key = ApiKey(key=Secret("public-half"), secret=Secret(secret))
    with pytest.raises(ConfigError, match="base64") as caught:
        check_key(key)
    assert secret not in str(caught.value)


@pytest.mark.parametrize("name", ["two words", "line\nbreak", "ümlaut"])
def test_a_key_that_fits_in_no_header_is_a_mistake_of_the_settings(name: str) -> None:
    with pytest.raises(ConfigError, match="API key") as caught:
        check_key(ApiKey(key=Secret(name), secret=Secret(OFFICIAL)))
    assert name not in str(caught.value)


def test_a_good_key_is_accepted() -> None:
    check_key(_key())
