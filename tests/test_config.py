"""Settings are frozen, and a value that cannot work is refused when they are made."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import attrs
import pytest

from kraken_engine import config as config_module
from kraken_engine.config import (
    AccountSettings,
    BackoffSettings,
    Config,
    FailoverSettings,
    FeedSettings,
    LivenessSettings,
    PerformanceSettings,
    RestSettings,
    SimulatedVenue,
    SubscriptionSettings,
    WireSettings,
)
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
PACKAGE = Path(config_module.__file__).parent
ATTRIBUTES_READ = {
    node.attr
    for path in PACKAGE.rglob("*.py")
    if path.parent != PACKAGE and "venue" not in path.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    if isinstance(node, ast.Attribute)
}
FIELDS = [(cls, field.name) for cls in CLASSES for field in attrs.fields(cls)]
WHOLE = [(cls, field.name) for cls in CLASSES for field in attrs.fields(cls) if field.type == "int"]
REAL = [(cls, field.name) for cls in CLASSES for field in attrs.fields(cls) if field.type == "float"]


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


@pytest.mark.parametrize(("cls", "name"), FIELDS)
def test_a_value_of_another_type_is_refused_by_name(cls: type[Any], name: str) -> None:
    for value in (object(), b"5", "", "\x00\x1b", [], {5: "x"}, 1j, 10**5000):
        with pytest.raises(ConfigError, match=f"^{name}: expected .*, got "):
            cls(**{name: value})


@pytest.mark.parametrize(("cls", "name"), WHOLE)
def test_a_count_is_a_whole_number(cls: type[Any], name: str) -> None:
    for value in (0.5, 2.0, "5", True, None, 2**64, float("inf")):
        with pytest.raises(ConfigError, match=f"^{name}: expected a whole number from .* to .*, got "):
            cls(**{name: value})


@pytest.mark.parametrize(("cls", "name"), REAL)
def test_a_duration_or_rate_is_a_finite_number(cls: type[Any], name: str) -> None:
    for value in ("5", True, None, float("inf"), float("-inf"), 10**400):
        with pytest.raises(ConfigError, match=f"^{name}: expected a .*number.*, got "):
            cls(**{name: value})


@pytest.mark.parametrize(("cls", "name"), [(cls, name) for cls, name in REAL if name != "rate_limit_buffer"])
def test_a_duration_or_rate_may_be_written_without_a_point(cls: type[Any], name: str) -> None:
    consistent: dict[type[Any], dict[str, int]] = {
        LivenessSettings: {"stale_after_s": 3, "dead_after_s": 4},
        FailoverSettings: {"hold_s": 2, "fastest_s": 2, "slowest_s": 3},
    }
    settings = consistent.get(cls, {})
    value = settings.setdefault(name, 3)
    assert getattr(cls(**settings), name) == value


@pytest.mark.parametrize(
    ("cls", "name"), [(WireSettings, "allow_private_addresses"), (PerformanceSettings, "enable_compression")]
)
@pytest.mark.parametrize("value", [0, 1, "true", None])
def test_a_switch_is_true_or_false(cls: type[Any], name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"^{name}: expected True or False, got "):
        cls(**{name: value})


def test_a_mode_of_the_wire_is_one_of_two() -> None:
    assert WireSettings(mode="stock").mode == "stock"
    with pytest.raises(ConfigError, match=r"^mode: expected split or stock, got 'bogus'$"):
        WireSettings(mode="bogus")  # type: ignore[arg-type]  # what a caller without a type checker may write


@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        "ws.kraken.com/v2",
        "https://ws.kraken.com",
        "wss://",
        "wss://h:0",
        "wss://[::1",
        "wss://h/a b",
        "wss://k\u00f6ln",
    ],
)
@pytest.mark.parametrize("name", ["public_url", "private_url"])
def test_the_url_of_a_websocket_is_one(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"^{name}: expected a URL beginning with ws:// or wss://, got "):
        Config(**{name: value})


def test_the_url_of_rest_is_one() -> None:
    assert RestSettings(base_url="http://[::1]:8080").base_url == "http://[::1]:8080"
    with pytest.raises(
        ConfigError,
        match=r"^base_url: expected a URL beginning with http:// or https://, and ending before /0, got 'wss://h'$",
    ):
        RestSettings(base_url="wss://h")


@pytest.mark.parametrize("url", ["wss://me:hunter2@h/v2", "wss://me:hunter2@[::1/v2"])
def test_a_password_in_a_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^public_url: expected a URL without user and password") as caught:
        Config(public_url=url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("value", ["BTC/USD", ["BTC/USD"], ("BTC/USD", 5), ("",), None])
@pytest.mark.parametrize("name", ["channels", "symbols"])
def test_names_come_as_a_tuple_of_texts(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"^{name}: expected a tuple of printable texts, got "):
        Config(**{name: value})


@pytest.mark.parametrize("value", [None, {"book": 1.0}, {"book": True}, {5: 1}, ["book"]])
def test_priorities_are_whole_numbers_by_channel(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"^priorities: expected a whole number for each name of a channel, got "):
        SubscriptionSettings(priorities=value)


def test_a_part_of_a_config_is_of_its_own_class() -> None:
    with pytest.raises(ConfigError, match=r"^wire: expected WireSettings, got LivenessSettings\("):
        Config(wire=LivenessSettings())  # type: ignore[arg-type]  # what a caller without a type checker may write


def test_a_simulated_venue_lists_whole_symbols() -> None:
    with pytest.raises(ConfigError, match=r"^symbols: expected a whole number from 1 to \d+, got 2\.5$"):
        Config.simulated(symbols=2.5)  # type: ignore[arg-type]  # what a caller without a type checker may write


@pytest.mark.parametrize(
    "cls", [WireSettings, LivenessSettings, BackoffSettings, SubscriptionSettings, FeedSettings, SimulatedVenue]
)
def test_every_setting_of_market_data_is_read_by_the_engine(cls: type[Any]) -> None:
    assert [field.name for field in attrs.fields(cls) if field.name not in ATTRIBUTES_READ] == []


@pytest.mark.parametrize(
    "url", ["https://api.kraken.com/0", "https://api.kraken.com/0/", "https://h?a=1", "https://h/#x"]
)
def test_the_address_of_rest_ends_before_what_each_call_brings_itself(url: str) -> None:
    with pytest.raises(ConfigError, match=r"base_url: expected a URL beginning with http.*, and ending before /0, got"):
        RestSettings(base_url=url)
    assert RestSettings(base_url="https://proxy.example/kraken/").base_url


@pytest.mark.parametrize("path", ["~", "~/state", "~trader/state"])
def test_a_path_with_a_tilde_is_refused_before_a_directory_of_that_name_is_made(path: str) -> None:
    with pytest.raises(ConfigError, match=r"state_dir: expected the path of a directory, written out without ~, got"):
        Config(state_dir=path)
    with pytest.raises(
        ConfigError, match=r"k\.yaml:1: storage.state_dir: expected the path of a directory, written out"
    ):
        Config.parse(f"storage: {{state_dir: '{path}'}}".encode(), name="k.yaml")
    with pytest.raises(ConfigError, match="key_file: expected the path of a key file, written out without ~"):
        AccountSettings(key_file=path)


def test_a_file_may_be_named_by_a_path(tmp_path: Path) -> None:
    file = tmp_path / "k.yaml"
    file.write_text("storage: {state_dir: state}")
    assert Config.load(file) == Config.load(str(file)) == Config(state_dir=f"{tmp_path}/state")
