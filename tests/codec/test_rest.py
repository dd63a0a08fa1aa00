"""A REST reply is decoded exactly, or refused with the path to the fault; never half, never with a crash."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.codec import rest_private as private
from kraken_engine.codec import rest_public as public
from kraken_engine.codec.rest import MAX_BODY_BYTES, Envelope, decode_envelope
from kraken_engine.errors import DecodeError

DECODERS: list[Callable[[Envelope], object]] = [
    *(getattr(public, name) for name in public.__all__ if name.startswith("decode_")),
    *(getattr(private, name) for name in private.__all__ if name.startswith("decode_")),
]


def _ok(result: object) -> Envelope:
    return decode_envelope(msgspec.json.encode({"error": [], "result": result}))


def test_errors_and_warnings_are_told_apart() -> None:
    envelope = decode_envelope(b'{"error":["WDatabase:No change","EService:Busy"]}')
    assert (envelope.errors, envelope.warnings) == (("EService:Busy",), ("WDatabase:No change",))


def test_a_warning_beside_a_result_leaves_the_result_standing() -> None:
    envelope = decode_envelope(b'{"error":["WDatabase:No change"],"result":{"count":2}}')
    assert envelope.errors == ()
    assert private.decode_cancel(envelope).count == 2


@pytest.mark.parametrize("result", ["", ',"result":null', ',"result":{}'])
def test_a_failure_needs_no_result(result: str) -> None:
    assert decode_envelope(f'{{"error":["EAPI:Invalid key"]{result}}}'.encode()).errors == ("EAPI:Invalid key",)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b"", "$"),
        (b"<html><body>520</body></html>", "$"),
        (b'{"error":[],"result":{"count":1}', "$"),
        (b'{"error":[],"result":{"count":1}} trailing', "$"),
        (b'{"result":{"count":1}}', "$.error"),
        (b'{"error":"EAPI:Invalid key"}', "$.error"),
        (b'{"error":[1]}', "$.error[0]"),
        (b'{"error":[]}', "$.result"),
        (b'{"error":[],"result":null}', "$.result"),
        (b'{"error":[],"error":["EAPI:Invalid key"],"result":{}}', "$"),
        (b'{"error":[],"result":{"count":1,"count":2}}', "$"),
        (b'{"error":[],"result":"\xff"}', "$"),
        (b'{"error":[],"result":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "$"),
        (b'["error"]', "$"),
        (b'{"error":[' + b",".join([b'"E"'] * 33) + b"]}", "$.error"),
    ],
)
def test_what_is_no_reply_is_refused_with_its_path(body: bytes, path: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_envelope(body)
    assert caught.value.path == path


def test_a_body_over_the_limit_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(DecodeError, match="at most"):
        decode_envelope(b" " * (MAX_BODY_BYTES + 1))


@pytest.mark.parametrize("token", ['"0.10"', "0.10", '"1e-08"', "1e-08", "3", '"3"', '"-0.00000001"'])
def test_a_number_keeps_its_digits_whether_it_is_a_string_or_not(token: str) -> None:
    envelope = decode_envelope(f'{{"error":[],"result":{{"ZUSD":{token}}}}}'.encode())
    amount = private.decode_balance(envelope)["ZUSD"]
    assert str(amount) == str(Decimal(token.strip('"')))


@pytest.mark.parametrize(
    "token", ['"1e999999999"', "1e999999999", '"NaN"', '"Infinity"', '""', '"1,5"', "true", "null", "[]", "{}",
              '"\u0661"', "1" * 41, '"' + "1" * 5000 + '"', "1" * 5000, '" 1"', '"\\ud800"'],
)  # fmt: skip
def test_what_is_no_number_is_refused_with_its_path(token: str) -> None:
    with pytest.raises(DecodeError) as caught:
        private.decode_balance(decode_envelope(f'{{"error":[],"result":{{"ZUSD":{token}}}}}'.encode()))
    assert caught.value.path.startswith("$")


def test_the_path_leads_to_the_row() -> None:
    rows = [[1700980260, "1", "1", "1", "1", "1", "0.1", 1], [1700980320, "1", "1", "1", "x", "1", "0.1", 1]]
    with pytest.raises(DecodeError) as caught:
        public.decode_ohlc(_ok({"XXBTZUSD": rows, "last": 1700980260}))
    assert caught.value.path == "$.result.XXBTZUSD[1][4]"


def test_a_row_may_have_more_elements_than_are_known_here_but_not_fewer() -> None:
    row = ["1.0", "2.0", 1700980260, "one more"]
    market, book = public.decode_depth(_ok({"XXBTZUSD": {"asks": [row], "bids": []}}))
    assert (market, book.asks[0].volume) == ("XXBTZUSD", Decimal("2.0"))
    with pytest.raises(DecodeError, match="at least length 3"):
        public.decode_depth(_ok({"XXBTZUSD": {"asks": [row[:2]], "bids": []}}))


def test_a_page_names_its_market_and_its_cursor() -> None:
    row = ["1.0", "2.0", 1700980260.5, "b", "l", "", 7]
    page = public.decode_trades(_ok({"BTC/USD": [row], "last": "1700980260500000000"}))
    assert (page.market, page.last, page.rows[0].trade_id) == ("BTC/USD", 1700980260500000000, 7)
    assert str(page.rows[0].time) == "1700980260.5"


@pytest.mark.parametrize(
    "result",
    [
        {"last": "1"},
        {"A": [], "B": [], "last": "1"},
        {"A": []},
        {"A": [], "last": "-1"},
        {"A": [], "last": "1.5"},
        {"A": [], "last": None},
    ],
)
def test_a_page_without_one_market_and_one_cursor_is_refused(result: object) -> None:
    with pytest.raises(DecodeError):
        public.decode_trades(_ok(result))


def test_a_token_is_a_secret_from_the_first_moment() -> None:
    token = private.decode_token(_ok({"token": "nmc39wCfFqn0mirRrpHMFOu0xfq4VVghFy", "expires": 900}))
    assert token.token.reveal() == "nmc39wCfFqn0mirRrpHMFOu0xfq4VVghFy"
    assert "nmc39" not in repr(token)


@pytest.mark.parametrize("token", ["", "nmc39\n", "ünmc39"])
def test_a_token_that_fits_in_no_request_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(DecodeError) as caught:
        private.decode_token(_ok({"token": token, "expires": 900}))
    assert "nmc39" not in str(caught.value)


def test_a_token_in_the_wrong_place_is_not_shown_either() -> None:
    with pytest.raises(DecodeError) as caught:
        private.decode_token(_ok({"token": {"nmc39": 1}, "expires": "nmc39"}))
    assert "nmc39" not in str(caught.value)


def test_what_a_position_has_earned_comes_with_its_sign() -> None:
    row = dict.fromkeys(("time", "cost", "fee", "vol", "vol_closed", "margin"), "1")
    row |= {"ordertxid": "O", "pair": "XXBTZUSD", "type": "buy", "ordertype": "limit"}
    for text, net in (("+0.0494", "0.0494"), ("-12.5", "-12.5"), ("0", "0")):
        assert private.decode_positions(_ok({"TP": {**row, "net": text}}))["TP"].net == Decimal(net)
    for text in ("++1", "+", "+-1", "+ 1"):
        with pytest.raises(DecodeError):
            private.decode_positions(_ok({"TP": {**row, "net": text}}))


def test_no_open_positions_may_be_an_empty_array() -> None:
    assert private.decode_positions(_ok([])) == {}
    assert private.decode_positions(_ok({})) == {}


def test_what_the_venue_tells_of_a_key_is_read_as_documented() -> None:
    info = private.decode_key_info(
        _ok(
            {
                "apiKeyName": "my-api-key",
                "apiKey": "not kept",
                "nonce": "1772627060997",
                "nonceWindow": 0,
                "permissions": ["query-funds", "modify-trades"],
                "iban": "not kept",
                "validUntil": "0",
                "ipAllowlist": [],
            }
        )
    )
    assert (info.permissions, info.nonce) == (["query-funds", "modify-trades"], Decimal(1772627060997))
    assert "not kept" not in repr(info)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=8) | st.floats(allow_nan=False)
    | st.sampled_from(["1.5", "0.00000001", "b", "open", "1e400"]),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(
        st.sampled_from(["XXBTZUSD", "last", "open", "closed", "count", "trades", "token", "expires", "descr", "a"]),
        inner, max_size=6),
    max_leaves=20,
)  # fmt: skip


@given(_VALUES, st.sampled_from(DECODERS))
def test_no_result_whatever_makes_a_decoder_raise_anything_but_a_decode_error(
    result: object, decode: Callable[[Envelope], object]
) -> None:
    with contextlib.suppress(DecodeError):
        decode(decode_envelope(json.dumps({"error": [], "result": result}).encode()))


@given(st.binary(max_size=60))
def test_no_bytes_whatever_make_the_envelope_raise_anything_but_a_decode_error(body: bytes) -> None:
    with contextlib.suppress(DecodeError):
        decode_envelope(body)


@given(st.integers(0, 2000), st.integers(0, 255))
def test_a_broken_byte_is_found_or_changes_a_value_but_never_crashes(at: int, byte: int) -> None:
    rows = [[1700980260 + 60 * n, "1.0", "1.0", "1.0", "1.0", "1.0", "0.10000000", 1] for n in range(20)]
    body = bytearray(msgspec.json.encode({"error": [], "result": {"XXBTZUSD": rows, "last": 1700980260}}))
    body[at % len(body)] = byte
    with contextlib.suppress(DecodeError):
        public.decode_ohlc(decode_envelope(bytes(body)))
