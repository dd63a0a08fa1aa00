"""A key that may withdraw, lacks a permission or is about to expire is named before it is used."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.codec.rest import Number
from kraken_engine.codec.rest_private import KeyInfo
from kraken_engine.rest.preflight import FORBIDDEN, NEEDED, Level, check_key_info

NOW = 1_795_305_600.0


def worst(info: KeyInfo) -> Level:
    levels = [finding.level for finding in check_key_info(info, unix_s=NOW)]
    return next(level for level in (Level.FAIL, Level.WARN, Level.OK) if level in levels)


def key(*more: str, without: str = "", **fields: object) -> KeyInfo:
    permissions = [name for name in (*NEEDED, *more) if name != without]
    return KeyInfo(permissions=permissions, **{"ip_allowlist": ["10.0.0.1"], **fields})  # type: ignore[arg-type]


def test_a_key_with_what_it_needs_and_no_more_is_well() -> None:
    assert worst(key()) is Level.OK


def test_a_key_that_may_withdraw_fails() -> None:
    (finding, *_) = check_key_info(key("withdraw-funds"), unix_s=NOW)
    assert finding.level is Level.FAIL
    assert "withdraw-funds" in finding.text


@pytest.mark.parametrize("name", NEEDED)
def test_a_missing_permission_fails_and_says_what_it_is_for(name: str) -> None:
    findings = check_key_info(key(without=name), unix_s=NOW)
    assert [finding.level for finding in findings] == [Level.FAIL]
    assert name in findings[0].text
    assert NEEDED[name] in findings[0].text


@pytest.mark.parametrize(
    ("fields", "level"),
    [
        ({"ip_allowlist": []}, Level.WARN),
        ({"nonce_window": Number(5)}, Level.WARN),
        ({"nonce_window": Number(0)}, Level.OK),
        ({"valid_until": Number(0)}, Level.OK),
        ({"valid_until": Number(int(NOW) - 1)}, Level.FAIL),
        ({"valid_until": Number(int(NOW) + 86_400)}, Level.WARN),
        ({"valid_until": Number(int(NOW) + 90 * 86_400)}, Level.OK),
    ],
)
def test_what_makes_a_key_weak_is_named(fields: dict[str, Any], level: Level) -> None:
    assert worst(key(**fields)) is level


@given(st.lists(st.sampled_from([*NEEDED, *FORBIDDEN, "deposit-funds", "\x1b[2J"]), unique=True))
def test_a_key_is_well_exactly_when_it_has_all_it_needs_and_nothing_forbidden(permissions: list[str]) -> None:
    info = KeyInfo(permissions=permissions, ip_allowlist=["10.0.0.1"])
    good = set(NEEDED) <= set(permissions) and not set(FORBIDDEN) & set(permissions)
    assert (worst(info) is Level.OK) == good
    assert all(finding.text.isprintable() for finding in check_key_info(info, unix_s=NOW))
