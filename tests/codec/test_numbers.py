"""Numbers are exact or refused."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies_frames import decimal_tokens

from kraken_engine.codec.numbers import MAX_DIGITS, MAX_EXPONENT, Scale, decimal_of, positive, require_number
from kraken_engine.errors import DecodeError

NOT_NUMBERS: list[object] = [
    None, True, False, "5", "", [], {}, 5.0, b"", b".", b".5", b"5.", b"-", b"+1.0", b"1_0.0", b" 1.0", b"1.0\n",
    b"NaN", b"Infinity", b"0x10", b"1e", b"1e+", b"1.0.0", "1.0", b"\xd9\xa1.0", b"9" * (MAX_DIGITS + 1),
    b"0." + b"0" * MAX_DIGITS, 10**MAX_DIGITS, -(10**MAX_DIGITS), b"1e31", b"1e-31", b"1e9999999", b"1e" + b"9" * 5000,
]  # fmt: skip


@pytest.mark.parametrize(
    ("token", "decimals", "scaled"),
    [
        (b"0.00100000", 8, 100_000),
        (b"63502.0", 1, 635_020),
        (b"0.8", 8, 80_000_000),
        (5, 8, 500_000_000),
        (0, 8, 0),
        (b"0.00000000", 8, 0),
        (b"1e-08", 8, 1),
        (b"1E-8", 8, 1),
        (b"1.5e2", 0, 150),
        (b"8e-1", 8, 80_000_000),
        (7, 0, 7),
    ],
)
def test_a_token_is_scaled_exactly(token: object, decimals: int, scaled: int) -> None:
    scale = Scale(decimals)
    assert scale(token) == scaled
    assert scale(token) == scaled, "the remembered answer is the same"
    assert scale.scaled(token) == scaled


@pytest.mark.parametrize("token", [b"1.000000000", b"0.000000001", b"1e-9", b"0.10e-8"])
def test_more_digits_than_the_scale_are_refused_even_zeros(token: bytes) -> None:
    for convert in (Scale(8), Scale(8).scaled):
        with pytest.raises(DecodeError, match="precision"):
            convert(token)


def test_a_scale_without_decimals_takes_integers_only() -> None:
    assert Scale(0)(12) == 12
    with pytest.raises(DecodeError):
        Scale(0)(b"12.0")


@pytest.mark.parametrize("token", [b"-1.0", b"-0.5", -1, b"-1e2"])
def test_a_negative_price_or_quantity_is_refused(token: object) -> None:
    for convert in (Scale(1), Scale(1).scaled):
        with pytest.raises(DecodeError, match="0 or more"):
            convert(token)


@pytest.mark.parametrize("token", NOT_NUMBERS, ids=lambda token: repr(token)[:20])
def test_what_is_no_number_is_refused_with_its_path(token: object) -> None:
    for convert in (Scale(8, "$.x"), Scale(8, "$.x").scaled, lambda token: decimal_of(token, "$.x")):
        with pytest.raises(DecodeError) as caught:
            convert(token)
        assert caught.value.path == "$.x"


@pytest.mark.parametrize(("token", "decimals"), [(b".5", 1), (b".12345678", 8), (b"5.", 0)])
def test_a_point_without_digits_on_both_sides_is_refused(token: bytes, decimals: int) -> None:
    with pytest.raises(DecodeError):
        Scale(decimals).scaled(token)


def test_the_point_decides_not_the_length() -> None:
    assert Scale(8).scaled(b"12345678") == 12345678 * 10**8


def test_true_does_not_pass_for_a_remembered_one() -> None:
    scale = Scale(0)
    assert scale(1) == 1
    with pytest.raises(DecodeError):
        scale(True)


def test_decimals_keep_the_digits_as_sent() -> None:
    assert str(decimal_of(b"0.10", "$")) == "0.10"
    assert decimal_of(b"0.10", "$").as_tuple().exponent == -2
    assert decimal_of(-5, "$") == Decimal(-5)
    assert decimal_of(b"1e-08", "$") == Decimal("0.00000001")
    assert decimal_of(b"9." + b"9" * 39, "$") == Decimal("9." + "9" * 39)
    assert decimal_of(f"1e{MAX_EXPONENT}".encode(), "$") == Decimal(10) ** MAX_EXPONENT


@pytest.mark.parametrize("token", [0, -1, b"0.0", b"-0.1"])
def test_positive_means_above_zero(token: object) -> None:
    with pytest.raises(DecodeError, match="above 0"):
        positive(token, "$")


def test_a_scale_forgets_rather_than_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kraken_engine.codec.numbers._MEMO_TOKENS", 10)
    scale = Scale(1)
    assert [scale(b"%d.0" % n) for n in range(1, 1000)] == [10 * n for n in range(1, 1000)]
    assert len(scale._memo) <= 10


@given(token=decimal_tokens(), decimals=st.integers(0, 12))
def test_scaling_agrees_with_decimal_arithmetic(token: bytes, decimals: int) -> None:
    scale = Scale(decimals)
    if len(token.partition(b".")[2]) > decimals:
        with pytest.raises(DecodeError):
            scale(token)
        return
    expected = int(Decimal(token.decode()).scaleb(decimals))
    assert scale(token) == expected
    assert scale.scaled(token) == expected


@given(
    token=st.one_of(
        st.binary(max_size=60),
        st.text(max_size=10),
        st.integers(),
        st.floats(),
        st.from_regex(rb"\A[-+0-9.eE]{1,60}\Z"),
    )
)
def test_any_token_gives_a_number_or_a_decode_error(token: object) -> None:
    for convert in (Scale(8), Scale(8).scaled, lambda token: decimal_of(token, "$")):
        try:
            value = convert(token)
        except DecodeError:
            continue
        assert isinstance(token, (int, bytes))
        assert isinstance(value, (int, Decimal))


@given(
    token=decimal_tokens(30, 30)
    | st.integers()
    | st.from_regex(rb"\A-?(0|[1-9][0-9]{0,50})(\.[0-9]{1,50})?([eE][-+]?[0-9]{1,4})?\Z")
    | st.text(max_size=5)
)
def test_the_check_lets_pass_exactly_what_becomes_a_decimal(token: object) -> None:
    """For every token a JSON parser can hand over; it never hands over ``01.0`` or ``5.``."""
    try:
        require_number(token, "$")
    except DecodeError:
        with pytest.raises(DecodeError):
            decimal_of(token, "$")
    else:
        decimal_of(token, "$")
