"""The configuration file: every mistake at once with its line, nothing coerced, and nothing but ConfigError."""

from __future__ import annotations

import itertools
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kraken_engine.config import BackoffSettings, BreakerSettings, Config, PerformanceSettings, RestSettings
from kraken_engine.config_file import CHANNELS
from kraken_engine.errors import ConfigError
from kraken_engine.runtime import real_runtime

FOUNDING = """\
# config/data_system.yaml
websocket:
  endpoint: wss://ws-auth.kraken.com/v2
  channels:
    - balances
    - ticker
    - book
    - executions
  reconnect_interval: 5
  max_reconnect_attempts: 10

rest_api:
  base_url: https://api.kraken.com
  timeout: 15
  max_retries: 3
  rate_limit_buffer: 0.8  # Use only 80% of rate limit

performance:
  enable_compression: true
  batch_size: 100
  cache_ttl: 300
"""


def parse(text: str, **environment: str) -> Config:
    return Config.parse(text.encode(), name="k.yaml", environment=environment)


def mistakes(text: str | bytes, **environment: str) -> list[str]:
    data = text.encode() if isinstance(text, str) else text
    with pytest.raises(ConfigError) as caught:
        Config.parse(data, name="k.yaml", environment=environment)
    return list(caught.value.mistakes)


def test_the_founding_file_is_read_as_it_stands() -> None:
    config = parse(FOUNDING)
    assert config.private_url == "wss://ws-auth.kraken.com/v2"
    assert config.public_url == "wss://ws.kraken.com/v2"
    assert config.channels == ("balances", "ticker", "book", "executions")
    assert config.backoff == BackoffSettings(cap_s=5.0, down_after=10)
    assert config.rest == RestSettings(timeout_s=15.0, max_retries=3, rate_limit_buffer=0.8)
    assert config.performance == PerformanceSettings(enable_compression=True, batch_size=100, cache_ttl_s=300.0)


def test_every_key_reaches_its_setting() -> None:
    config = parse(
        """
websocket:
  endpoint: ws://127.0.0.1:1/v2
  public_endpoint: ws://127.0.0.1:2/v2
  channels: [book, trade, book]
  symbols: [BTC/USD, "ETH/USD", BTC/USD]
  reconnect_interval: 2.5
  max_reconnect_attempts: 3
rest_api: {base_url: "http://127.0.0.1:3", timeout: 1.5, max_retries: 0, rate_limit_buffer: 1}
circuit_breaker: {failure_threshold: 5, rate_limit_threshold: 2, timeout: 60, half_open_requests: 3}
performance: {enable_compression: false, batch_size: 7, cache_ttl: 0}
"""
    )
    assert config == Config(
        public_url="ws://127.0.0.1:2/v2",
        private_url="ws://127.0.0.1:1/v2",
        channels=("book", "trade"),
        symbols=("BTC/USD", "ETH/USD"),
        backoff=BackoffSettings(cap_s=2.5, down_after=3),
        rest=RestSettings(base_url="http://127.0.0.1:3", timeout_s=1.5, max_retries=0, rate_limit_buffer=1.0),
        breaker=BreakerSettings(failure_threshold=5, rate_limit_threshold=2, timeout_s=60.0, half_open_requests=3),
        performance=PerformanceSettings(enable_compression=False, batch_size=7, cache_ttl_s=0.0),
    )


@pytest.mark.parametrize("text", ["", "# nothing\n", "~\n", "{}", "websocket:\nrest_api: ~\nperformance: {}\n"])
def test_what_is_left_out_has_its_default(text: str) -> None:
    assert parse(text) == Config()


@pytest.mark.parametrize("channel", CHANNELS)
def test_every_channel_of_the_specification_may_be_named(channel: str) -> None:
    assert parse(f"websocket: {{channels: [{channel}]}}").channels == (channel,)


SECTIONS = "accounts, circuit_breaker, performance, rest_api, storage, websocket"
ALL_CHANNELS = ", ".join(CHANNELS)
WEBSOCKET = "channels, endpoint, max_reconnect_attempts, public_endpoint, reconnect_interval, symbols"

BROKEN: dict[str, tuple[str | bytes, list[str]]] = {
    "unknown section": ("foo: {a: 1}\n", [f"k.yaml:1: foo: unknown key, expected one of {SECTIONS}"]),
    "misspelt section": ("\nwebsoket: {}\n", ["k.yaml:2: websoket: unknown key, did you mean websocket?"]),
    "misspelt key": (
        "websocket:\n  reconect_interval: 5\n",
        ["k.yaml:2: websocket.reconect_interval: unknown key, did you mean reconnect_interval?"],
    ),
    "unknown key": ("websocket:\n  zzz: 5\n", [f"k.yaml:2: websocket.zzz: unknown key, expected one of {WEBSOCKET}"]),
    "text for a number": (
        "rest_api:\n  timeout: '15'\n",
        ["k.yaml:2: rest_api.timeout: expected seconds above 0 and up to 300, got '15'"],
    ),
    "truth for a number": (
        "rest_api:\n  max_retries: true\n",
        ["k.yaml:2: rest_api.max_retries: expected a whole number from 0 to 100, got True"],
    ),
    "fraction for a whole number": (
        "performance:\n  batch_size: 100.0\n",
        ["k.yaml:2: performance.batch_size: expected a whole number from 1 to 10000, got 100.0"],
    ),
    "number for truth": (
        "performance:\n  enable_compression: 1\n",
        ["k.yaml:2: performance.enable_compression: expected true or false, got 1"],
    ),
    "yes is text in YAML 1.2": (
        "performance:\n  enable_compression: yes\n",
        ["k.yaml:2: performance.enable_compression: expected true or false, got 'yes'"],
    ),
    "nothing for a number": (
        "websocket:\n  reconnect_interval:\n",
        ["k.yaml:2: websocket.reconnect_interval: expected seconds above 0 and up to 600, got nothing"],
    ),
    "out of range": (
        "rest_api:\n  rate_limit_buffer: 1.5\n",
        ["k.yaml:2: rest_api.rate_limit_buffer: expected a number above 0 and up to 1, got 1.5"],
    ),
    "infinity": (
        "rest_api:\n  timeout: .inf\n",
        ["k.yaml:2: rest_api.timeout: expected a finite decimal number, got .inf"],
    ),
    "a number of many digits": (
        "rest_api:\n  max_retries: 1" + "0" * 30 + "\n",
        ["k.yaml:2: rest_api.max_retries: expected a finite decimal number, got 1" + "0" * 30],
    ),
    "octal": (
        "rest_api:\n  timeout: 0o17\n",
        ["k.yaml:2: rest_api.timeout: expected a finite decimal number, got 0o17"],
    ),
    "text for a list": (
        "websocket:\n  symbols: BTC/USD\n",
        ["k.yaml:2: websocket.symbols: expected a list such as [first, second], got 'BTC/USD'"],
    ),
    "misspelt channel": (
        "websocket:\n  channels:\n    - book\n    - tikcer\n",
        [f"k.yaml:4: websocket.channels.1: expected one of {ALL_CHANNELS}, got 'tikcer', did you mean ticker?"],
    ),
    "no symbol": (
        "websocket:\n  symbols: [BTC/USD, BTCUSD]\n",
        ["k.yaml:2: websocket.symbols.1: expected a symbol such as BTC/USD, got 'BTCUSD'"],
    ),
    "wrong scheme": (
        "websocket:\n  endpoint: https://ws.kraken.com/v2\n",
        ["k.yaml:2: websocket.endpoint: expected a URL beginning with ws:// or wss://, got 'https://ws.kraken.com/v2'"],
    ),
    "no port": (
        "websocket:\n  endpoint: wss://h:99999/\n",
        ["k.yaml:2: websocket.endpoint: expected a URL beginning with ws:// or wss://, got 'wss://h:99999/'"],
    ),
    "a password in a URL is not repeated": (
        "rest_api:\n  base_url: https://me:hunter2@api.kraken.com\n",
        ["k.yaml:2: rest_api.base_url: expected a URL without user and password, got one with '@', not shown"],
    ),
    "scalar for a section": ("performance: 3\n", ["k.yaml:1: performance: expected keys and values, got 3"]),
    "list for a section": ("performance: [3]\n", ["k.yaml:1: performance: expected keys and values, got a list"]),
    "list at the top": ("- 1\n", ["k.yaml:1: expected keys and values at the top"]),
    "duplicate key": (
        "websocket:\n  reconnect_interval: 5\n  reconnect_interval: 6\n",
        ["k.yaml:3: websocket.reconnect_interval: duplicate key, first in line 2"],
    ),
    "duplicate section": (
        "websocket: {}\nrest_api: {}\nwebsocket: {}\n",
        ["k.yaml:3: websocket: duplicate key, first in line 1"],
    ),
    "a key that is no name": ("1: 2\n", ["k.yaml:1: top: expected a name before the colon"]),
    "alias": (
        "websocket:\n  symbols: &x [BTC/USD]\n",
        ["k.yaml:2: websocket.symbols: anchors and aliases are not supported"],
    ),
    "tag of an object": (
        "rest_api: !!python/object:os.system {}\n",
        ["k.yaml:1: rest_api: expected a plain value, got one with the tag tag:yaml.org,2002:python/object:os.system"],
    ),
    "tag of a value": (
        "rest_api:\n  timeout: !thing 3\n",
        ["k.yaml:2: rest_api.timeout: expected a plain value, got one with the tag !thing"],
    ),
    "nested too deeply": (
        "websocket: {symbols: [[[[[[[1]]]]]]]}\n",
        ["k.yaml:1: websocket.symbols.0.0.0.0.0.0.0: nested more than 8 deep"],
    ),
    "no YAML": ("rest_api:\n  timeout: 3\n bad: 4\n", ["k.yaml:3: not YAML: "]),
    "no UTF-8": (b"rest_api:\n  base_url: \xff\n", ["k.yaml:2: expected UTF-8, got byte 0xff"]),
    "too large": ("#" * 65537, ["k.yaml: expected at most 65536 bytes, got 65537"]),
    "control characters": ("a\x00b", ["k.yaml:1: not YAML: unacceptable character #x0000"]),
    "brackets without end": ("[" * 5000, ["k.yaml:1: nested too deeply"]),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_mistake_is_named_with_its_line(case: str) -> None:
    text, expected = BROKEN[case]
    found = mistakes(text)
    assert len(found) == len(expected)
    for message, beginning in zip(found, expected, strict=True):
        if beginning.startswith(("k.yaml:3: not YAML", "k.yaml:1: not YAML")):
            assert message.startswith(beginning)
        else:
            assert message == beginning


def test_all_mistakes_come_at_once_in_the_order_of_the_file_then_of_the_environment() -> None:
    text = """\
rest_api:
  timeout: fast
  retires: 4
websocket:
  channels: [book, 3]
  reconnect_interval: -1
performance: 3
"""
    found = mistakes(text, KRAKEN_ENGINE_REST_API__MAX_RETRIES="many", KRAKEN_ENGINE_NOPE__A="1")
    assert [m.split(": ")[0] for m in found] == [
        "k.yaml:2",
        "k.yaml:3",
        "k.yaml:5",
        "k.yaml:6",
        "k.yaml:7",
        "environment KRAKEN_ENGINE_NOPE__A",
        "environment KRAKEN_ENGINE_REST_API__MAX_RETRIES",
    ]


def test_the_environment_overrides_the_file() -> None:
    config = parse(
        FOUNDING,
        KRAKEN_ENGINE_WEBSOCKET__RECONNECT_INTERVAL="2.5",
        KRAKEN_ENGINE_WEBSOCKET__SYMBOLS="[BTC/USD, ETH/USD]",
        KRAKEN_ENGINE_WEBSOCKET__CHANNELS="[trade]",
        KRAKEN_ENGINE_PERFORMANCE__ENABLE_COMPRESSION="false",
    )
    assert (config.backoff.cap_s, config.backoff.down_after) == (2.5, 10)
    assert (config.symbols, config.channels) == (("BTC/USD", "ETH/USD"), ("trade",))
    assert not config.performance.enable_compression


def test_an_override_mends_a_mistake_of_the_file_in_type_but_hides_none_in_form() -> None:
    fast = "rest_api: {timeout: fast}"
    assert parse(fast, KRAKEN_ENGINE_REST_API__TIMEOUT="3").rest.timeout_s == 3.0
    assert mistakes("rest_api: {timeout: .inf}", KRAKEN_ENGINE_REST_API__TIMEOUT="3") == [
        "k.yaml:1: rest_api.timeout: expected a finite decimal number, got .inf"
    ]


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("WEBSOCKET__SYMBOLS", "[BTC/USD, x]", "websocket.symbols.1: expected a symbol such as BTC/USD, got 'x'"),
        ("WEBSOCKET__SYMBLS", "[BTC/USD]", "websocket.symbls: unknown key, did you mean symbols?"),
        ("REST_API__TIMEOUT", "", "rest_api.timeout: expected seconds above 0 and up to 300, got nothing"),
        ("REST_API__TIMEOUT", "&a 3", "rest_api.timeout: anchors and aliases are not supported"),
        ("PERFORMANCE__BATCH_SIZE", "[", "not YAML: "),
        ("PERFORMANCE__BATCH_SIZE", "1" * 70_000, "expected at most 65536 characters, got 70000"),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(variable: str, text: str, expected: str) -> None:
    (message,) = mistakes(FOUNDING, **{f"KRAKEN_ENGINE_{variable}": text})
    assert message.startswith(f"environment KRAKEN_ENGINE_{variable}: {expected}")


def test_other_variables_are_not_ours() -> None:
    assert parse("", PATH="a__b", KRAKEN_ENGINE_LOG="x", OTHER__REST_API="1") == Config()


def test_an_alias_bomb_costs_nothing() -> None:
    lines = [f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]" for before, name in itertools.pairwise("abcdefghi")]
    bomb = "\n".join(["a: &a [x, x]", *lines])
    tracemalloc.start()
    try:
        assert len(mistakes(bomb)) >= 1
        assert tracemalloc.get_traced_memory()[1] < 16 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_a_file_is_loaded_through_the_runtime(tmp_path: Path) -> None:
    path = str(tmp_path / "k.yaml")
    (tmp_path / "k.yaml").write_text(FOUNDING)
    assert Config.load(path, runtime=real_runtime()) == parse(FOUNDING) == Config.load(path)


@pytest.mark.parametrize(
    ("path", "why"), [("/nowhere/k.yaml", "No such file"), ("/", "Is a directory"), ("a\0b", "null byte")]
)
def test_a_file_that_cannot_be_read_is_a_config_error(path: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        Config.load(path, runtime=real_runtime())


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 10**25),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        ["book", "BTC/USD", "wss://h/", "&a x", "*a", "!!int x", "!x", "2001-01-01", "<<", "0x1F", "1_0", "?"]
    ),
)
NAMES = st.sampled_from(
    ["websocket", "rest_api", "performance", *WEBSOCKET.split(", "), "timeout", "batch_size", "cache_ttl", "'1'", "zz"]
)
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12
)


def written(tree: object) -> str:
    """Return a tree in flow style, without quoting anything: much of it is broken on purpose."""
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{key}: {written(value)}" for key, value in tree.items()) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(map(written, tree)) + "]"
    return str(tree)


def is_config_or_config_error(data: bytes, environment: dict[str, str]) -> None:
    messages: tuple[str, ...] = ()
    try:
        Config.parse(data, name="k.yaml", environment=environment)
    except ConfigError as error:
        messages = error.mistakes or ("no mistake named",)
    for message in messages:
        assert message.startswith(("k.yaml", "environment KRAKEN_ENGINE_"))
        assert len(message) < 1000
        assert message.isprintable()


@given(tree=TREES, override=TREES)
def test_any_tree_gives_a_config_or_a_config_error(tree: object, override: object) -> None:
    environment = {"KRAKEN_ENGINE_WEBSOCKET__SYMBOLS": written(override)}
    is_config_or_config_error(written(tree).encode(errors="replace"), environment)


@given(text=st.text(alphabet=st.sampled_from("ab:-[]{}&*!|>'\"%@`#?,. \n\t1.<~=\\\x85\u2028"), max_size=60))
@example(text="%YAML 9.9\n---\na: 1")
@example(text="%YAML 1\n---\na: 1")
@example(text="%YAML x.y\n---\na: 1")
@example(text="%TAG ! foo\n---\n!x a")
@example(text="%FOO bar\n---\na")
@example(text="{? : }")
@example(text='"\\UFFFFFFFF"')
@example(text="--- !!binary x")
@example(text="a: !<!> b")
def test_any_text_gives_a_config_or_a_config_error(text: str) -> None:
    is_config_or_config_error(text.encode(), {"KRAKEN_ENGINE_REST_API__TIMEOUT": text})


@given(data=st.binary(max_size=60))
def test_any_bytes_give_a_config_or_a_config_error(data: bytes) -> None:
    is_config_or_config_error(data, {})
