"""Keys of accounts, from the environment or from files that nobody else can read or exchange.

What a key file has to be is decided here, before a byte of it is read: a regular file, ours, of mode 0600 or stricter,
reached without a symbolic link, in a directory that is ours or the system's and that not everybody may write to.
Messages name the file and what is wrong with it, never what stands in it; and no function that raises holds the text
of a key in a variable, where a traceback with locals would show it. Knows nothing of what keys are used for.
"""

from __future__ import annotations

import base64
import binascii
import errno
import posixpath
from collections.abc import Callable, Mapping

from kraken_engine.config import AccountSettings
from kraken_engine.config_accounts import ACCOUNTS_PREFIX
from kraken_engine.errors import ConfigError
from kraken_engine.runtime import FileFacts, Files, Runtime
from kraken_engine.secret import ApiKey, Secret

__all__ = ["load_api_key", "load_emergency_key"]

MAX_FILE_BYTES = 4096
MAX_KEY_CHARACTERS = 512
MIN_SECRET_BYTES = 16
_PARTS = ("key", "secret", "otp")


def load_api_key(runtime: Runtime, settings: AccountSettings) -> ApiKey:
    """Return the key of an account.

    Raises:
        ConfigError: there is none, it cannot be one, or others than us could read or exchange its file. All mistakes
            at once; the message holds nothing of the key.
    """
    if settings.key_file is not None:
        return _from_file(runtime.files, settings.key_file)
    found = _from_environment(runtime.environment, settings.name, "")
    if not found:
        variable = f"{_variable(settings.name)}KEY"
        raise ConfigError(f"account {settings.name}: expected a key, got neither key_file nor {variable}")
    return _key(found, [], lambda part: f"{_variable(settings.name)}{part.upper()}")


def load_emergency_key(runtime: Runtime, settings: AccountSettings) -> ApiKey | None:
    """Return the emergency key of an account, or None if it has none; see :func:`load_api_key`."""
    if settings.emergency_key_file is not None:
        return _from_file(runtime.files, settings.emergency_key_file)
    found = _from_environment(runtime.environment, settings.name, "EMERGENCY_")
    return _key(found, [], lambda part: f"{_variable(settings.name)}EMERGENCY_{part.upper()}") if found else None


def _variable(account: str) -> str:
    return f"{ACCOUNTS_PREFIX}{account.upper()}__"


def _from_environment(environment: Mapping[str, str], account: str, kind: str) -> dict[str, Secret]:
    """Return the parts of a key by name; raises nothing, for it holds what must not be seen."""
    prefix = _variable(account) + kind
    names = {part: prefix + part.upper() for part in _PARTS}
    return {part: Secret(environment[name].strip()) for part, name in names.items() if _is_set(environment, name)}


def _is_set(environment: Mapping[str, str], name: str) -> bool:
    return environment.get(name, "").strip() != ""


def _from_file(files: Files, path: str) -> ApiKey:
    """Return the key in a file of lines ``name = value``."""
    user = files.user()
    try:
        _check_directory(files, path)
        found, mistakes = _parse(
            files.read_checked(path, lambda facts: _check_file(facts, path, user), most_bytes=MAX_FILE_BYTES), path
        )
    except OSError as error:
        raise ConfigError(f"{path}: expected a key file, {_why(error)}") from None
    return _key(found, mistakes, lambda part: f"{path}: {part}")


def _why(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "got a symbolic link"
    return f"cannot be read: {error.strerror or type(error).__name__}"


def _check_directory(files: Files, path: str) -> None:
    directory = posixpath.dirname(path) or "."
    facts = files.look(directory)
    if facts.owner not in (files.user(), 0):
        raise ConfigError(f"{path}: expected a directory of user {files.user()} or root, {_owner(facts)}")
    if facts.mode & 0o002:
        raise ConfigError(
            f"{path}: expected a directory that not everybody may write to, got mode {facts.mode:04o} ({directory})"
        )


def _check_file(facts: FileFacts, path: str, user: int) -> None:
    if facts.kind != "file":
        got = "a directory" if facts.kind == "directory" else "a device or a pipe"
        raise ConfigError(f"{path}: expected a regular file, got {got}")
    mistakes: list[str] = []
    if facts.owner != user:
        mistakes.append(f"{path}: expected a file of user {user}, {_owner(facts)}")
    if facts.mode & 0o177:
        mistakes.append(f"{path}: expected mode 0600 or stricter, got {facts.mode:04o}: run chmod 600 on it")
    if mistakes:
        raise ConfigError(mistakes)


def _owner(facts: FileFacts) -> str:
    return f"got one of user {facts.owner}"


def _parse(content: bytes, path: str) -> tuple[dict[str, Secret], list[str]]:
    """Return what stands in the file, by name, and all mistakes; raises nothing, for it holds what must not be seen."""
    if len(content) == MAX_FILE_BYTES:
        return {}, [f"{path}: expected less than {MAX_FILE_BYTES} bytes, got more"]
    mistakes: list[str] = []
    found: dict[str, Secret] = {}
    for number, line in enumerate(content.decode(errors="surrogateescape").split("\n"), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, _, value = (part.strip() for part in line.partition("="))
        name = name.lower()
        if name not in _PARTS or not value:
            mistakes.append(f"{path}:{number}: expected key, secret or otp, = and a value, got something not shown")
        elif name in found:
            mistakes.append(f"{path}:{number}: expected {name} once, got it twice")
        else:
            found[name] = Secret(value)
    return found, mistakes


def _key(parts: Mapping[str, Secret], mistakes: list[str], where: Callable[[str], str]) -> ApiKey:
    """Return the key made of ``parts`` unless there are ``mistakes``; ``where`` says where a part was to be found."""
    if not mistakes:
        mistakes = [f"{where(part)}: expected a value, got none" for part in ("key", "secret") if part not in parts]
        found = [(part, _mistake(part, secret)) for part, secret in parts.items()]
        mistakes += [f"{where(part)}: {what}, not shown" for part, what in found if what is not None]
    if mistakes:
        raise ConfigError(mistakes)
    return ApiKey(key=parts["key"], secret=parts["secret"], otp=parts.get("otp"))


def _mistake(part: str, secret: Secret) -> str | None:
    """Return what is wrong with a part of a key, or None."""
    text = secret.reveal()
    if len(text) > MAX_KEY_CHARACTERS:
        return f"expected at most {MAX_KEY_CHARACTERS} characters, got {len(text)}"
    if part == "otp":
        return None if text.isprintable() else "expected a printable text, got something else"
    if not text.isascii() or not text.isprintable() or " " in text:
        return "expected printable ASCII without blanks, got something else"
    if part == "secret":
        try:
            data = base64.b64decode(text, validate=True)
        except binascii.Error:
            return f"expected base64, got {len(text)} characters that are not"
        if len(data) < MIN_SECRET_BYTES:
            return f"expected at least {MIN_SECRET_BYTES} bytes in base64, got {len(data)}"
    return None
