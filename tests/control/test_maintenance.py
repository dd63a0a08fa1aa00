"""Connections are replaced once for each near announcement that concerns them, whatever its fields are called."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.control.maintenance import STAGE_S, Maintenance

NEAR: dict[str, Any] = {"proximity": "imminent_5m", "services": ["spot_ws", "spot_trading"], "action": "continue"}


def test_a_near_window_of_market_data_counts_once_for_each_of_its_stages() -> None:
    maintenance = Maintenance()
    assert maintenance.announced([{**NEAR, "proximity": "approaching_30m"}], now=1.0) == (
        "maintenance of the venue: approaching_30m"
    )
    assert maintenance.announced([NEAR], now=1.0) == "maintenance of the venue: imminent_5m"
    assert maintenance.announced([NEAR], now=1.0) is None
    assert maintenance.announced([dict(reversed(NEAR.items()))], now=1.0) is None, "the order of keys varies"


def test_a_field_that_is_another_in_each_message_does_not_have_connections_replaced_for_ever() -> None:
    maintenance = Maintenance()
    acted = [
        second
        for second in range(0, 3600, 10)
        if maintenance.announced([{**NEAR, "sent": f"2026-01-01T00:00:{second}Z"}], now=float(second))
    ]
    assert acted == list(range(0, 3600, int(STAGE_S)))


@pytest.mark.parametrize(
    "entry",
    [
        {**NEAR, "services": ["spot_rest"]},
        {**NEAR, "proximity": "announced"},
        {**NEAR, "proximity": "reminder_24h"},
        {"affects": "futures_ws", "stage": "imminent_5m"},
        {},
        "imminent_5m",
        None,
        17,
    ],
)
def test_what_is_far_away_or_somewhere_else_or_not_understood_changes_nothing(entry: object) -> None:
    assert Maintenance().announced([entry], now=1.0) is None


@pytest.mark.parametrize(
    "entry",
    [
        {"when": "imminent_5m", "affected_services": [{"name": "spot_ws"}]},
        {"status": {"stage": "final_warning_30s"}, "services": "all"},
        ["imminent_5m", ["spot_ws"]],
    ],
)
def test_the_names_of_the_fields_do_not_matter(entry: object) -> None:
    assert Maintenance().announced([entry], now=1.0) is not None


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["spot_ws", "all", "imminent_5m"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.lists(st.lists(json, max_size=4), max_size=10))
def test_nothing_a_venue_sends_does_harm_and_the_same_again_is_no_news(messages: list[list[object]]) -> None:
    maintenance = Maintenance()
    for entries in messages:
        maintenance.announced(entries, now=1.0)
        assert maintenance.announced(entries, now=1e6) is None
