"""Reads the JSON parameters of fault commands, so that a mistake is told in one clear sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from kraken_engine.errors import UsageError

__all__ = ["COMMANDS", "Param", "read_params"]


@attrs.frozen
class Param:
    """One parameter: its name in JSON, the argument it becomes, what it must be."""

    name: str
    argument: str
    kind: str
    """``text``, ``integer``, ``number``, ``flag``, ``utf8`` (text that becomes bytes) or ``hex``."""
    required: bool = False


_SESSION = Param("session", "session_id", "integer")
_SYMBOL = Param("symbol", "symbol", "text", required=True)
_ANY_SYMBOL = Param("symbol", "symbol", "text")
_SECONDS = Param("seconds", "seconds", "number", required=True)
_TIMES = Param("times", "times", "integer")
_ACCOUNT = Param("account", "account", "text")
_CHANNEL = Param("channel", "channel", "text")
_PATH = Param("path", "path", "text")
_EXECUTED = Param("executed", "executed", "flag")

COMMANDS: dict[str, tuple[Param, ...]] = {
    "drop_connection": (
        _SESSION,
        Param("mode", "mode", "text"),
        Param("code", "code", "integer"),
        Param("reason", "reason", "text"),
    ),
    "corrupt_checksum": (_SYMBOL, _SESSION),
    "drop_update": (_SYMBOL, _SESSION),
    "duplicate_update": (_SYMBOL, _SESSION),
    "reorder_updates": (_SYMBOL, _SESSION),
    "merge_updates": (_SYMBOL, _SESSION),
    "falsify_level": (_SYMBOL, _SESSION),
    "change_precision": (_SYMBOL, Param("price", "price", "integer"), Param("qty", "qty", "integer")),
    "silence": (_SECONDS, _SESSION, _ANY_SYMBOL, Param("channel", "channel", "text"), Param("kind", "kind", "text")),
    "batch_differently": (
        _SECONDS,
        _ANY_SYMBOL,
        _SESSION,
        Param("size", "size", "integer"),
        Param("linger", "linger", "number"),
    ),
    "word_differently": (_SECONDS, Param("style", "style", "text", required=True), _ANY_SYMBOL, _SESSION),
    "announce_maintenance": (
        _SECONDS,
        _SESSION,
        Param("notice", "notice", "text"),
        Param("action", "action", "text"),
    ),
    "set_status": (Param("mode", "mode", "text", required=True),),
    "refuse_upgrade": (
        Param("status", "status", "integer", required=True),
        Param("retry_after", "retry_after", "integer"),
        Param("location", "location", "text"),
        _TIMES,
    ),
    "refuse_subscriptions": (_ANY_SYMBOL, Param("error", "error", "text"), _TIMES),
    "ignore_subscriptions": (_ANY_SYMBOL, _TIMES),
    "delay_snapshot": (_SYMBOL, _SECONDS),
    "drop_private_frame": (_CHANNEL, _ACCOUNT, _TIMES),
    "withhold_private_frame": (_CHANNEL, _ACCOUNT, _TIMES),
    "duplicate_private_frame": (_CHANNEL, _ACCOUNT, _TIMES),
    "reorder_private_frames": (_CHANNEL, _ACCOUNT, _TIMES),
    "delay_private_snapshot": (_SECONDS, _CHANNEL, _ACCOUNT),
    "refuse_private_subscriptions": (Param("error", "error", "text"), _ACCOUNT, _TIMES),
    "revoke_tokens": (_ACCOUNT, Param("mode", "mode", "text")),
    "cut_private_line": (_ACCOUNT, Param("mode", "mode", "text")),
    "delete_key": (_ACCOUNT,),
    "drop_permission": (Param("permission", "permission", "text", required=True), _ACCOUNT),
    "lock_out": (Param("seconds", "seconds", "number"), _ACCOUNT),
    "take_nonce": (Param("ahead", "ahead", "number"), _ACCOUNT),
    "rest_error": (Param("error", "error", "text", required=True), _PATH, _TIMES, _EXECUTED),
    "refuse_nonce": (_TIMES,),
    "throttle": (_SECONDS, _PATH, _TIMES),
    "rest_status": (
        Param("status", "status", "integer", required=True),
        _PATH,
        _TIMES,
        Param("retry_after", "retry_after", "integer"),
        Param("location", "location", "text"),
        _EXECUTED,
    ),
    "rest_slow": (_SECONDS, Param("part", "part", "text"), _PATH, _TIMES),
    "rest_break": (Param("kind", "kind", "text", required=True), _PATH, _TIMES),
    "rest_lie": (Param("kind", "kind", "text", required=True), _PATH, _TIMES),
    "send_text": (Param("text", "data", "utf8", required=True), _SESSION),
    "send_raw": (Param("hex", "data", "hex", required=True), _SESSION),
}
"""Every fault a control port may ask for, with its parameters; names are those of the methods of ``Faults``."""


def read_params(command: str, given: Mapping[str, object]) -> dict[str, Any]:
    """Return the keyword arguments for the method ``command``; null counts as not given.

    Raises:
        UsageError: unknown command; unknown, missing or wrong parameter.
    """
    if command not in COMMANDS:
        raise UsageError(f"fault: expected one of {', '.join(COMMANDS)}, got {command!r}")
    known = {param.name: param for param in COMMANDS[command]}
    for name in given:
        if name not in known:
            raise UsageError(f"{command}: expected parameters among {', '.join(known)}, got {name!r}")
    arguments: dict[str, Any] = {}
    for param in known.values():
        value = given.get(param.name)
        if value is not None:
            arguments[param.argument] = _read(command, param, value)
        elif param.required:
            raise UsageError(f"{command}: expected the parameter {param.name!r}, got none")
    return arguments


def _read(command: str, param: Param, value: object) -> object:
    match param.kind, value:
        case "text", str():
            return value
        case "flag", bool():
            return value
        case "utf8", str():
            return value.encode("utf-8", "surrogatepass")
        case "hex", str():
            try:
                return bytes.fromhex(value)
            except ValueError:
                pass
        case "integer", int() if not isinstance(value, bool):
            return value
        case "number", int() | float() if not isinstance(value, bool):
            return float(value)
        case _:
            pass
    raise UsageError(f"{command}: {param.name}: expected {param.kind}, got {value!r}")
