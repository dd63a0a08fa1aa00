"""What a setting may be: rules that take a value or say what was expected and what was got instead.

Each rule is a validator of attrs. What it refuses is a :class:`~kraken_engine.errors.ConfigError` when the settings
are made; a value that may be a secret is never repeated.
"""

from __future__ import annotations

import ipaddress
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import attrs

from kraken_engine.errors import ConfigError, shown

__all__ = [
    "REST_URL_RULE",
    "at_least_0",
    "at_least_1",
    "instance",
    "is_a",
    "is_account_name",
    "is_confidential",
    "is_key_file",
    "is_path",
    "is_rest_url",
    "is_url",
    "not_negative",
    "one_of",
    "path",
    "positive",
    "priorities",
    "rest_url",
    "seed",
    "share",
    "switch",
    "text",
    "texts",
    "url",
]


def is_url(text: str, schemes: tuple[str, ...]) -> bool:
    """Return whether this is a URL of one of the ``schemes``, with a host; who dials it checks the rest."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    printable = text.isascii() and text.isprintable() and " " not in text
    return printable and parts.scheme in schemes and bool(parts.hostname) and port != 0


def is_confidential(url: str) -> bool:
    """Return whether nobody in between reads what is sent there: it is encrypted, or does not leave this machine."""
    parts = urlsplit(url)
    if parts.scheme in ("https", "wss"):
        return True
    host = parts.hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_rest_url(text: str) -> bool:
    """Return whether this is the address of a REST API, without what each call brings itself: ``/0/public/Time``."""
    if not is_url(text, ("http", "https")):
        return False
    parts = urlsplit(text)
    return not (parts.query or parts.fragment) and not parts.path.rstrip("/").endswith("/0")


def is_path(value: object) -> bool:
    """Return whether this can be the path of a file; ``~`` is a matter of shells, and would be a file of that name."""
    return _is_text(value) and not str(value).startswith("~")


def is_account_name(value: object) -> bool:
    """Return whether this can name an account: it also stands in names of environment variables and files."""
    return isinstance(value, str) and _ACCOUNT.fullmatch(value) is not None


def is_key_file(value: object) -> bool:
    """Return whether this can be the path of a key file, and is not a key that somebody put in its place."""
    return is_path(value) and _KEY_MATERIAL.fullmatch(str(value)) is None


REST_URL_RULE = "a URL beginning with http:// or https://, and ending before /0"
_ACCOUNT = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_KEY_MATERIAL = re.compile(r"(?=.*[A-Z])(?=.*[0-9])([A-Za-z0-9+/]{56}|[A-Za-z0-9+/]{86}==)")
"""A key or a secret of the venue: base64 of 42 or 64 bytes."""

_Validator = Callable[[Any, "attrs.Attribute[Any]", Any], None]


def _rule(expected: str, fits: Callable[[Any], bool]) -> _Validator:
    """Return a validator that takes what ``fits``; every other value, of whatever type, is a ConfigError."""

    def validate(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if not fits(value):
            raise ConfigError(f"{attribute.name}: expected {expected}, got {_got(value)}")

    validate.__doc__ = f"Take {expected}."
    return validate


def _got(value: Any) -> str:
    return shown(repr(value) if isinstance(value, str) else value)


def is_a(cls: type[Any], value: Any) -> bool:
    """Whether this is one; typed so that a value of any type may be asked about."""
    return isinstance(value, cls)


def _is_number(value: Any) -> bool:
    """Whether this is a finite number: no NaN, no infinity, no integer that no float can hold, no bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != "" and value.isprintable()


def _whole(least: int, most: int) -> _Validator:
    return _rule(f"a whole number from {least} to {most}", lambda value: _is_whole(value) and least <= value <= most)


def _count(least: int) -> _Validator:
    return _whole(least, 2**31 - 1)


def one_of(*choices: str) -> _Validator:
    """One of these words."""
    return _rule(" or ".join(choices), lambda value: isinstance(value, str) and value in choices)


def instance(cls: type[Any]) -> _Validator:
    """An instance of this class."""
    return _rule(cls.__name__, lambda value: is_a(cls, value))


def url(*schemes: str) -> _Validator:
    """A URL of one of these schemes, without user and password."""
    beginning = " or ".join(f"{scheme}://" for scheme in schemes)
    return _without_user(
        _rule(f"a URL beginning with {beginning}", lambda value: isinstance(value, str) and is_url(value, schemes))
    )


def _without_user(right: _Validator) -> _Validator:
    def validate(owner: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if isinstance(value, str) and "@" in value:
            # Not repeated: what stands there may be a secret.
            raise ConfigError(f"{attribute.name}: expected a URL without user and password, got one with '@'")
        right(owner, attribute, value)

    validate.__doc__ = right.__doc__
    return validate


def _are_texts(value: Any) -> bool:
    return is_a(tuple, value) and all(map(_is_text, value))


def _are_priorities(value: Any) -> bool:
    return is_a(Mapping, value) and all(map(_is_text, value)) and all(map(_is_whole, value.values()))


positive = _rule("a finite number above 0", lambda value: _is_number(value) and value > 0)
not_negative = _rule("a finite number of 0 or more", lambda value: _is_number(value) and value >= 0)
share = _rule("a number above 0 and up to 1", lambda value: _is_number(value) and 0 < value <= 1)
at_least_0, at_least_1 = _count(0), _count(1)
seed = _whole(-(2**63), 2**63 - 1)
switch = _rule("True or False", lambda value: isinstance(value, bool))
text = _rule("a printable text", _is_text)
path = _rule("the path of a directory, written out without ~", is_path)
rest_url = _without_user(_rule(REST_URL_RULE, lambda value: isinstance(value, str) and is_rest_url(value)))
texts = _rule("a tuple of printable texts", _are_texts)
priorities = _rule("a whole number for each name of a channel", _are_priorities)
