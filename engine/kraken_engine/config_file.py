"""Settings from a YAML file and the environment, with every mistake named at once.

Reads the file's words (units in the comments of the file, not in its keys) into the frozen settings of
:mod:`~kraken_engine.settings`. A value is taken as it stands: ``"5"`` is not a number, ``1`` is not ``true``, a key
that is not known is a mistake. Knows nothing of what the settings do.

Environment variables override the file: ``KRAKEN_ENGINE_WEBSOCKET__RECONNECT_INTERVAL=2.5`` is the key
``reconnect_interval`` of the section ``websocket``; the value is written as in the file. Keys of accounts stand in the
environment or in files of their own, and never here: one found here is a mistake that does not repeat it.
"""

from __future__ import annotations

import difflib
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NewType

import attrs
import cattrs
from cattrs.cols import homogenous_tuple_structure_factory
from cattrs.errors import (
    AttributeValidationNote,
    BaseValidationError,
    ForbiddenExtraKeysError,
    IterableValidationNote,
)

from kraken_engine.config_accounts import ACCOUNTS_PREFIX, override_account, take_out_keys
from kraken_engine.config_rules import REST_URL_RULE, is_confidential, is_key_file, is_path, is_rest_url, is_url
from kraken_engine.config_yaml import Document, Path, Place, Value
from kraken_engine.errors import ConfigError, shown
from kraken_engine.runtime import Runtime
from kraken_engine.settings import (
    PRIVATE_V2_URL,
    PUBLIC_V2_URL,
    TIERS,
    AccountSettings,
    BackoffSettings,
    BreakerSettings,
    PerformanceSettings,
    RestSettings,
)

__all__ = ["CHANNELS", "checked_settings", "parse_document", "read_document"]

CHANNELS = (
    "balances", "executions", "ticker", "book", "ohlc", "orders",
    "trade", "instrument", "level3", "status", "heartbeat",
)  # fmt: skip
"""What ``websocket.channels`` may name; ``orders`` is the view of orders kept from ``executions``."""

_ENVIRONMENT_PREFIX = "KRAKEN_ENGINE_"
_SYMBOL = re.compile(r"[A-Za-z0-9._-]{1,16}/[A-Za-z0-9._-]{1,16}")

WebSocketUrl = NewType("WebSocketUrl", str)
RestUrl = NewType("RestUrl", str)
Channel = NewType("Channel", str)
Symbol = NewType("Symbol", str)
Switch = NewType("Switch", bool)
Pause = NewType("Pause", float)
Timeout = NewType("Timeout", float)
Age = NewType("Age", float)
Share = NewType("Share", float)
Attempts = NewType("Attempts", int)
Retries = NewType("Retries", int)
Batch = NewType("Batch", int)
Threshold = NewType("Threshold", int)
Hold = NewType("Hold", float)
Tier = NewType("Tier", str)
KeyFile = NewType("KeyFile", str)
Directory = NewType("Directory", str)


@attrs.frozen(kw_only=True)
class _WebSocketSection:
    endpoint: WebSocketUrl = WebSocketUrl(PRIVATE_V2_URL)
    public_endpoint: WebSocketUrl = WebSocketUrl(PUBLIC_V2_URL)
    channels: tuple[Channel, ...] = ()
    symbols: tuple[Symbol, ...] = ()
    reconnect_interval: Pause = Pause(BackoffSettings().cap_s)
    max_reconnect_attempts: Attempts = Attempts(BackoffSettings().down_after)


@attrs.frozen(kw_only=True)
class _RestSection:
    base_url: RestUrl = RestUrl(RestSettings().base_url)
    timeout: Timeout = Timeout(RestSettings().timeout_s)
    max_retries: Retries = Retries(RestSettings().max_retries)
    rate_limit_buffer: Share = Share(RestSettings().rate_limit_buffer)


@attrs.frozen(kw_only=True)
class _BreakerSection:
    failure_threshold: Threshold = Threshold(BreakerSettings().failure_threshold)
    rate_limit_threshold: Threshold = Threshold(BreakerSettings().rate_limit_threshold)
    timeout: Hold = Hold(BreakerSettings().timeout_s)
    half_open_requests: Threshold = Threshold(BreakerSettings().half_open_requests)


@attrs.frozen(kw_only=True)
class _PerformanceSection:
    enable_compression: Switch = Switch(PerformanceSettings().enable_compression)
    batch_size: Batch = Batch(PerformanceSettings().batch_size)
    cache_ttl: Age = Age(PerformanceSettings().cache_ttl_s)


@attrs.frozen(kw_only=True)
class _AccountSection:
    key_file: KeyFile | None = None
    emergency_key_file: KeyFile | None = None
    tier: Tier = Tier(TIERS[0])


@attrs.frozen(kw_only=True)
class _StorageSection:
    state_dir: Directory | None = None


@attrs.frozen(kw_only=True)
class _File:
    websocket: _WebSocketSection = attrs.field(factory=_WebSocketSection)
    rest_api: _RestSection = attrs.field(factory=_RestSection)
    circuit_breaker: _BreakerSection = attrs.field(factory=_BreakerSection)
    performance: _PerformanceSection = attrs.field(factory=_PerformanceSection)
    accounts: dict[str, _AccountSection] = attrs.field(factory=dict[str, _AccountSection])
    storage: _StorageSection = attrs.field(factory=_StorageSection)


def read_document(runtime: Runtime, path: str) -> Document:
    """Return the file at ``path``, overridden by the environment of ``runtime``; its mistakes are still in it.

    Raises:
        ConfigError: the file cannot be read.
    """
    document = _document(path)
    try:
        document.read(runtime.files.read_bytes(path))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else None
        raise ConfigError(f"{path or repr(path)}: cannot be read: {why or error}") from error
    _override(document, runtime.environment)
    return document


def parse_document(data: bytes, *, name: str, environment: Mapping[str, str]) -> Document:
    """Return what the bytes of a file called ``name`` say, overridden by ``environment``; mistakes are still in it."""
    document = _document(name)
    document.read(data)
    _override(document, environment)
    return document


def checked_settings(document: Document, name: str) -> dict[str, Any]:
    """Return what a document says of each field of a Config; paths in it are beside the file ``name``.

    Raises:
        ConfigError: all mistakes, each ``file:line: what, expected, got``, in the order of the file.
    """
    _sections_are_mappings(document)
    take_out_keys(document)
    _keys_travel_unseen(document)
    file = _structured(document)
    document.raise_mistakes()
    assert file is not None
    return _fields(file, posixpath.dirname(name))


def _document(name: str) -> Document:
    return Document(name, hidden=_HIDDEN)


_HIDDEN = ("accounts",)
"""Sections of which nothing is repeated: where a key might stand."""


def _override(document: Document, environment: Mapping[str, str]) -> None:
    """Let variables of ours override the file."""
    _sections_are_mappings(document)
    for variable, text in sorted(environment.items()):
        if variable.startswith(ACCOUNTS_PREFIX):
            override_account(document, variable, text)
            continue
        section, found, key = variable.removeprefix(_ENVIRONMENT_PREFIX).lower().partition("__")
        if found and variable.startswith(_ENVIRONMENT_PREFIX):
            document.override((section, key), text, source=f"environment {variable}")


def _fields(file: _File, folder: str) -> dict[str, Any]:
    websocket, rest, breaker, performance = file.websocket, file.rest_api, file.circuit_breaker, file.performance
    return dict[str, Any](
        public_url=websocket.public_endpoint,
        private_url=websocket.endpoint,
        channels=tuple(dict.fromkeys(websocket.channels)),
        symbols=tuple(dict.fromkeys(websocket.symbols)),
        backoff=BackoffSettings(cap_s=websocket.reconnect_interval, down_after=websocket.max_reconnect_attempts),
        rest=RestSettings(
            base_url=rest.base_url,
            timeout_s=rest.timeout,
            max_retries=rest.max_retries,
            rate_limit_buffer=rest.rate_limit_buffer,
        ),
        breaker=BreakerSettings(
            failure_threshold=breaker.failure_threshold,
            rate_limit_threshold=breaker.rate_limit_threshold,
            timeout_s=breaker.timeout,
            half_open_requests=breaker.half_open_requests,
        ),
        performance=PerformanceSettings(
            enable_compression=performance.enable_compression,
            batch_size=performance.batch_size,
            cache_ttl_s=performance.cache_ttl,
        ),
        accounts={
            account: AccountSettings(
                name=account,
                key_file=_beside(folder, section.key_file),
                emergency_key_file=_beside(folder, section.emergency_key_file),
                tier=section.tier,
            )
            for account, section in file.accounts.items()
        },
        state_dir=_beside(folder, file.storage.state_dir),
    )


def _beside(folder: str, path: str | None) -> str | None:
    """Return a path as seen from the folder of the configuration file."""
    return None if path is None else posixpath.join(folder, path)


def _sections_are_mappings(document: Document) -> None:
    """Take an empty section for one without keys, and anything else that holds no keys out of the document."""
    for section in attrs.fields_dict(_File):
        value = document.values.get(section, {})
        if value is None:
            document.values[section] = {}
        elif not isinstance(value, dict):
            got = "something else, not shown" if section in _HIDDEN and isinstance(value, str) else _got(value)
            document.mistake(document.place((section,)), f"{section}: expected keys and values, got {got}")
            del document.values[section]


def _keys_travel_unseen(document: Document) -> None:
    """Refuse to send keys and tokens over a network in the clear; ``Config`` refuses it too, but knows no lines."""
    if not document.values.get("accounts"):
        return
    for section, key, schemes in (
        ("websocket", "endpoint", ("ws", "wss")),
        ("rest_api", "base_url", ("http", "https")),
    ):
        value = document.values.get(section, {}).get(key)
        if isinstance(value, str) and "@" not in value and is_url(value, schemes) and not is_confidential(value):
            expected = f"{schemes[1]}:// or an address of this machine, since accounts have keys"
            document.mistake(document.place((section, key)), f"{section}.{key}: expected {expected}, got {_got(value)}")


# -- structure, type and range


class _MismatchError(ValueError):
    """A value is not what a rule expects; the message says both."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(f"expected {expected}, got {got}")


Rule = Callable[[Value], Any]


def _number(expected: str, fits: Callable[[float], bool]) -> Rule:
    def rule(value: Value) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not fits(value):
            raise _MismatchError(expected, _got(value))
        return float(value)

    return rule


def _whole(least: int, most: int) -> Rule:
    def rule(value: Value) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise _MismatchError(f"a whole number from {least} to {most}", _got(value))
        return value

    return rule


def _url(expected: str, fits: Callable[[str], bool]) -> Rule:
    def rule(value: Value) -> str:
        if isinstance(value, str) and "@" in value:
            raise _MismatchError("a URL without user and password", "one with '@', not shown")
        if not isinstance(value, str) or not fits(value):
            raise _MismatchError(expected, _got(value))
        return value

    return rule


def _channel(value: Value) -> str:
    if not isinstance(value, str) or value not in CHANNELS:
        nearest = _nearest(value, CHANNELS)
        raise _MismatchError(f"one of {', '.join(CHANNELS)}", _got(value) + nearest)
    return value


def _symbol(value: Value) -> str:
    if not isinstance(value, str) or not _SYMBOL.fullmatch(value):
        raise _MismatchError("a symbol such as BTC/USD", _got(value))
    return value


def _tier(value: Value) -> str:
    if not isinstance(value, str) or value not in TIERS:
        raise _MismatchError(f"one of {', '.join(TIERS)}", "something else, not shown")
    return value


def _key_file(value: Value) -> str:
    if not is_key_file(value):
        raise _MismatchError("the path of a key file, written out without ~", "something else, not shown")
    return str(value)


def _directory(value: Value) -> str:
    if not is_path(value):
        raise _MismatchError("the path of a directory, written out without ~", _got(value))
    return str(value)


def _switch(value: Value) -> bool:
    if not isinstance(value, bool):
        raise _MismatchError("true or false", _got(value))
    return value


_RULES: dict[Any, Rule] = {
    WebSocketUrl: _url("a URL beginning with ws:// or wss://", lambda url: is_url(url, ("ws", "wss"))),
    RestUrl: _url(REST_URL_RULE, is_rest_url),
    Channel: _channel,
    Symbol: _symbol,
    Switch: _switch,
    Pause: _number("seconds above 0 and up to 600", lambda x: 0 < x <= 600),
    Timeout: _number("seconds above 0 and up to 300", lambda x: 0 < x <= 300),
    Age: _number("seconds from 0 to 86400", lambda x: 0 <= x <= 86_400),
    Share: _number("a number above 0 and up to 1", lambda x: 0 < x <= 1),
    Attempts: _whole(1, 1_000_000),
    Retries: _whole(0, 100),
    Batch: _whole(1, 10_000),
    Threshold: _whole(1, 100),
    Hold: _number("seconds above 0 and up to 86400", lambda x: 0 < x <= 86_400),
    Tier: _tier,
    KeyFile: _key_file,
    Directory: _directory,
}


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    for type_, rule in _RULES.items():
        converter.register_structure_hook(type_, _hook(rule))
    converter.register_structure_hook_factory(_is_tuple, _lists_only)
    return converter


def _hook(rule: Rule) -> Callable[[Value, Any], Any]:
    return lambda value, _: rule(value)


def _is_tuple(type_: Any) -> bool:
    return getattr(type_, "__origin__", None) is tuple


def _lists_only(type_: Any, converter: cattrs.Converter) -> Callable[[Value, Any], Any]:
    """Return a hook that makes a tuple of a list, and of nothing else: a string is iterable, too."""
    structure = homogenous_tuple_structure_factory(type_, converter)

    def hook(value: Value, type_: Any) -> Any:
        if not isinstance(value, list):
            raise _MismatchError("a list such as [first, second]", _got(value))
        return structure(value, type_)

    return hook


_CONVERTER = _converter()


def _structured(document: Document) -> _File | None:
    try:
        return _CONVERTER.structure(document.values, _File)
    except BaseValidationError as error:
        for place, what in _mistakes(error, (), document):
            document.mistake(place, what)
        return None


def _mistakes(error: Exception, path: Path, document: Document) -> Iterator[tuple[Place, str]]:
    """Name each leaf of cattrs' tree of errors by its place and its dotted path."""
    if isinstance(error, ForbiddenExtraKeysError):
        known = sorted(attrs.fields_dict(error.cl))
        for key in sorted(error.extra_fields):
            named = ".".join(map(str, (*path, key)))
            nearest = _nearest(key, known) or f", expected one of {', '.join(known)}"
            yield document.place((*path, key)), f"{shown(named)}: unknown key{nearest}"
    elif isinstance(error, BaseValidationError):
        for inner in error.exceptions:
            yield from _mistakes(inner, (*path, *_step(inner)), document)
    else:
        yield document.place(path), f"{'.'.join(map(str, path))}: {error}"


def _step(error: BaseException) -> Iterator[str | int]:
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            yield note.name
        elif isinstance(note, IterableValidationNote):
            yield note.index


def _nearest(word: Value, known: tuple[str, ...] | list[str]) -> str:
    near = difflib.get_close_matches(word[:64], known, n=1) if isinstance(word, str) else []
    return f", did you mean {near[0]}?" if near else ""


def _got(value: Value) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "keys and values"
    return "a list" if isinstance(value, list) else shown(repr(value))
