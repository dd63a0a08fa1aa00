"""Settings are frozen, and a value that cannot work is refused when they are made."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from kraken_engine import config as config_module
from kraken_engine.config import BackoffSettings, Config, LivenessSettings, RestSettings, SubscriptionSettings
from kraken_engine.errors import ConfigError

CLASSES: list[type[Any]] = [
    getattr(config_module, name) for name in config_module.__all__ if attrs.has(getattr(config_module, name))
]
NUMBERS = [
    (cls, field.name)
    for cls in CLASSES
    for field in attrs.fields(cls)
    if field.type in ("float", "int") and field.name != "seed"
]


@pytest.mark.parametrize("cls", CLASSES)
def test_settings_have_a_working_default_and_are_frozen(cls: type[Any]) -> None:
    made = cls()
    name = attrs.fields(cls)[0].name
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(made, name, getattr(made, name))


@pytest.mark.parametrize(("cls", "name"), NUMBERS)
def test_a_negative_number_is_refused_by_name(cls: type[Any], name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}: expected .*, got -1"):
        cls(**{name: -1})


@pytest.mark.parametrize(("cls", "name"), NUMBERS)
def test_a_number_that_is_none_is_refused_by_name(cls: type[Any], name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}: expected .*, got nan"):
        cls(**{name: float("nan")})


def test_a_share_is_at_most_one() -> None:
    with pytest.raises(ConfigError, match=r"rate_limit_buffer: expected .* up to 1, got 1\.1"):
        RestSettings(rate_limit_buffer=1.1)


def test_a_config_can_be_compared_and_hashed() -> None:
    assert Config.simulated(seed=3) == Config.simulated(seed=3) != Config.simulated(seed=4)
    assert len({Config(), Config(), Config(backoff=BackoffSettings(cap_s=1.0))}) == 2


def test_priorities_of_one_config_are_not_those_of_another() -> None:
    assert SubscriptionSettings().priorities is not SubscriptionSettings().priorities
    assert SubscriptionSettings().priorities["instrument"] == 0


def test_liveness_marks_before_it_replaces() -> None:
    with pytest.raises(ConfigError, match="dead_after_s: expected more than stale_after_s 4, got 4"):
        LivenessSettings(stale_after_s=4.0)
