"""Accounts are configured in the file; their keys are not, and one found there is never repeated."""

from __future__ import annotations

import attrs
import pytest

from kraken_engine.config import TIERS, AccountSettings, Config, RestSettings
from kraken_engine.errors import ConfigError

KEY = "8XaCanaryCanaryCanaryCanaryCanaryCanaryCanaryCanary1234/"
SECRET = "kQCanaryCanaryCanaryCanaryCanaryCanaryCanaryCanaryCanaryCanaryCanaryCanaryCanaryuZj6F1=="
PREFIX = "KRAKEN_ENGINE_ACCOUNTS__"


def parse(text: str, name: str = "/etc/kraken/k.yaml", **environment: str) -> Config:
    return Config.parse(text.encode(), name=name, environment=environment)


def mistakes(text: str, **environment: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        parse(text, name="k.yaml", **environment)
    assert "anary" not in repr(refused.value)
    return list(refused.value.mistakes)


def test_accounts_have_a_name_a_tier_and_files_for_their_keys() -> None:
    config = parse(
        """
accounts:
  main: {tier: pro, key_file: main.key, emergency_key_file: /run/keys/emergency.key}
  spot_2:
storage: {state_dir: state}
"""
    )
    assert config.accounts == {
        "main": AccountSettings(
            name="main",
            tier="pro",
            key_file="/etc/kraken/main.key",
            emergency_key_file="/run/keys/emergency.key",
        ),
        "spot_2": AccountSettings(name="spot_2"),
    }
    assert config.state_dir == "/etc/kraken/state"


@pytest.mark.parametrize("tier", TIERS)
def test_every_tier_may_be_named(tier: str) -> None:
    assert parse(f"accounts: {{main: {{tier: {tier}}}}}").accounts["main"].tier == tier


def test_a_variable_that_holds_a_key_makes_its_account_and_is_not_read() -> None:
    environment = {f"{PREFIX}MAIN__{part}": SECRET for part in ("KEY", "SECRET", "OTP", "EMERGENCY_KEY")}
    assert parse("", **environment).accounts == {"main": AccountSettings()}
    config = parse("accounts: {main: {tier: pro}}", **environment)
    assert config.accounts == {"main": AccountSettings(tier="pro")}
    assert SECRET not in repr(config)


def test_the_environment_overrides_the_settings_of_an_account() -> None:
    environment = {PREFIX + "MAIN__TIER": "pro", PREFIX + "SPOT_2__KEY_FILE": "/k"}
    assert parse("accounts: {main: {tier: starter}}", **environment).accounts == {
        "main": AccountSettings(tier="pro"),
        "spot_2": AccountSettings(name="spot_2", key_file="/k"),
    }
    assert parse("", KRAKEN_ENGINE_STORAGE__STATE_DIR="/var/lib/kraken").state_dir == "/var/lib/kraken"


@pytest.mark.parametrize(
    "name",
    ["key", "secret", "otp", "api_key", "apikey", "api_secret", "private_key", "Secret", "password", "emergency_key"],
)
def test_a_key_in_the_file_is_a_mistake_that_says_where_it_belongs(name: str) -> None:
    (mistake,) = mistakes(f"accounts:\n  main:\n    {name}: {SECRET}\n")
    variable = f"{PREFIX}MAIN__{name.upper()}"
    where = f"k.yaml:3: accounts.main.{name}"
    assert mistake == (
        f"{where}: a key has no place here (not shown): put it into a file that key_file names, or into {variable}"
    )


@pytest.mark.parametrize("value", [KEY, SECRET, "0o17", f"[{SECRET}]", f"{{a: {SECRET}}}", f"!x {SECRET}", "1" * 40])
@pytest.mark.parametrize("name", ["key", "tier", "key_file", "emergency_key_file", "other"])
def test_nothing_below_accounts_is_repeated(name: str, value: str) -> None:
    found = mistakes(f"accounts:\n  main:\n    {name}: {value}\n")
    assert found
    assert not any("0o17" in mistake or "1" * 40 in mistake for mistake in found)


@pytest.mark.parametrize("name", [SECRET, "Main", "a__b", "1a", "_a", "a_"])
def test_an_account_is_called_what_a_variable_can_be_called(name: str) -> None:
    expected = "k.yaml:1: accounts: expected names such as main or spot_2, got one that is not shown"
    assert mistakes(f"accounts: {{{name}: {{}}}}") == [expected]


@pytest.mark.parametrize("name", [KEY, SECRET, "tier2", "1" * 40, "?"])
def test_a_setting_is_called_what_a_setting_can_be_called(name: str) -> None:
    expected = "k.yaml:3: accounts.main: expected names such as tier, got one that is not shown"
    assert mistakes(f"accounts:\n  main:\n    '{name}': x\n") == [expected]


def test_what_stands_in_the_place_of_all_accounts_is_not_repeated() -> None:
    expected = "k.yaml:1: accounts: expected keys and values, got something else, not shown"
    assert mistakes(f"accounts: {SECRET}") == [expected]


@pytest.mark.parametrize("text", ["*password-1", "&password-1 x, other: &password-1 y"])
def test_what_is_no_yaml_is_not_repeated_either(text: str) -> None:
    assert not any("password" in mistake for mistake in mistakes(f"accounts: {{main: {{otp: {text}}}}}"))


def test_an_account_is_keys_and_values() -> None:
    expected = "k.yaml:1: accounts.main: expected keys and values, got something else, not shown"
    assert mistakes(f"accounts: {{main: {SECRET}}}") == [expected]


def test_a_misspelt_variable_of_an_account_is_a_mistake() -> None:
    (mistake,) = mistakes("", **{PREFIX + "MAIN__KEYFILE": SECRET})
    assert mistake.startswith(f"environment {PREFIX}MAIN__KEYFILE: accounts.main.keyfile: unknown key")


@pytest.mark.parametrize("value", [KEY, SECRET])
def test_a_key_is_no_path_of_a_key_file(value: str) -> None:
    with pytest.raises(ConfigError) as refused:
        AccountSettings(key_file=value)
    assert (
        str(refused.value)
        == "key_file: expected the path of a key file, written out without ~, got something else, not shown"
    )


def test_accounts_stand_under_their_own_names() -> None:
    with pytest.raises(ConfigError, match="accounts: expected AccountSettings under their own names"):
        Config(accounts={"main": AccountSettings(name="other")})
    mine = {"main": AccountSettings()}
    config = Config(accounts=mine)
    mine.clear()
    assert config.accounts == {"main": AccountSettings()}


CLEAR = """
accounts:
  main: {tier: gold}
websocket:
  endpoint: ws://ws-auth.example/v2
rest_api:
  base_url: http://api.example
"""


def test_keys_are_never_sent_over_a_network_in_the_clear() -> None:
    assert mistakes(CLEAR) == [
        "k.yaml:3: accounts.main.tier: expected one of starter, intermediate, pro, got something else, not shown",
        "k.yaml:5: websocket.endpoint: expected wss:// or an address of this machine, since accounts have keys, "
        "got 'ws://ws-auth.example/v2'",
        "k.yaml:7: rest_api.base_url: expected https:// or an address of this machine, since accounts have keys, "
        "got 'http://api.example'",
    ]
    variable = {f"{PREFIX}MAIN__KEY": KEY, "KRAKEN_ENGINE_REST_API__BASE_URL": "http://10.0.0.7"}
    assert mistakes("", **variable) == [
        "environment KRAKEN_ENGINE_REST_API__BASE_URL: rest_api.base_url: expected https:// or an address of this "
        "machine, since accounts have keys, got 'http://10.0.0.7'"
    ]


def test_the_same_holds_for_settings_that_a_program_makes() -> None:
    clear = Config(private_url="ws://ws-auth.example/v2", rest=RestSettings(base_url="http://api.example"))
    with pytest.raises(ConfigError) as refused:
        attrs.evolve(clear, accounts={"main": AccountSettings()})
    assert [mistake.partition(":")[0] for mistake in refused.value.mistakes] == ["private_url", "rest.base_url"]


@pytest.mark.parametrize("host", ["127.0.0.1:80", "127.9.9.9", "[::1]:8080", "localhost", "LOCALHOST:1"])
def test_on_this_machine_nobody_is_in_between(host: str) -> None:
    config = Config(
        accounts={"main": AccountSettings()},
        private_url=f"ws://{host}/v2",
        rest=RestSettings(base_url=f"http://{host}"),
    )
    assert parse(f"accounts: {{main: }}\nwebsocket: {{endpoint: 'ws://{host}/v2'}}").accounts == config.accounts


@pytest.mark.parametrize("host", ["127.0.0.1.example", "localhost.example", "0.0.0.0", "10.0.0.1", "[::2]", "loopback"])
def test_what_only_looks_like_this_machine_is_not(host: str) -> None:
    with pytest.raises(ConfigError, match="private_url: expected wss"):
        Config(accounts={"main": AccountSettings()}, private_url=f"ws://{host}/v2")


def test_market_data_holds_no_secret_and_may_come_from_anywhere() -> None:
    assert Config(public_url="ws://data.example/v2", accounts={"main": AccountSettings()}).accounts
    assert Config(rest=RestSettings(base_url="http://api.example")).accounts == {}
