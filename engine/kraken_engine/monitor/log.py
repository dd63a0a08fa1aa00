"""Log lines: few and wide, one for each thing worth knowing, and never with a secret in it.

The lines go to the standard library's logger ``kraken_engine``, each already one text ``what key=value ...``, so that
an application's own handlers get them; a library prints nothing by itself. Before a line leaves here, fields whose
names are those of secrets are emptied, the text of every living secret is taken out wherever it stands, and whatever is
not printable is escaped, so that nobody writes lines of their own into the log. :class:`RedactingFormatter` does the
same for handlers that see records of other libraries.

Decides what a line looks like and which events deserve one. Knows nothing of who reads it.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from collections.abc import Callable, Generator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any, Final, cast

import attrs
import structlog

from kraken_engine.errors import Stale
from kraken_engine.normalise.account_events import AccountDiffers
from kraken_engine.normalise.events import (
    ClockNotice,
    Event,
    Inconsistent,
    KeyNotice,
    LineDown,
    LineUp,
    MarketEvent,
    ModeChanged,
    Notice,
    Refused,
    Resync,
    SourceChanged,
    StoreNotice,
    VenueStatus,
)
from kraken_engine.runtime import error_lines
from kraken_engine.secret import HIDDEN, redacted

__all__ = ["LEVELS", "RedactingFormatter", "log_event", "log_to_standard_error", "logger"]

ROOT: Final = "kraken_engine"
LEVELS: Final = ("debug", "info", "warning", "error")

MAX_VALUE: Final = 2_000
"""Characters of a field that are kept; of a traceback the last ones."""

_SECRET_FIELDS: Final = re.compile(
    r"(?i)(.*[_-])?(api[_-]?key|api[_-]?sign|key|secret|otp|token|sign|signature|nonce|password|passphrase|authorization)"
)
_PLAIN: Final = re.compile(r"[^\s\"=]+")

logging.getLogger(ROOT).addHandler(logging.NullHandler())  # else Python prints warnings that nobody handles


def logger(part: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of a part of the engine: ``logger("store").warning("disk full", free_bytes=0)``."""
    return cast(
        "structlog.stdlib.BoundLogger",
        structlog.wrap_logger(
            logging.getLogger(f"{ROOT}.{part}"),
            processors=[structlog.stdlib.filter_by_level, _describe_exception, _render],
            wrapper_class=structlog.stdlib.BoundLogger,
            context_class=dict,
        ),
    )


class RedactingFormatter(logging.Formatter):
    """Formats records of any library as one line each, without secrets."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return _printable(redacted(super().format(record)))


class _LineHandler(logging.Handler):
    def __init__(self, write: Callable[[str], None]) -> None:
        super().__init__()
        self._write = write
        self.setFormatter(RedactingFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._write(self.format(record))
        except Exception:  # noqa: BLE001 - as every handler of the standard library does it
            self.handleError(record)


@contextmanager
def log_to_standard_error(level: str) -> Generator[None]:
    """Write the engine's log lines of ``level`` (one of :data:`LEVELS`) and above to standard error, inside the block.

    The engine never waits for whoever reads them.
    """
    log = logging.getLogger(ROOT)
    before = log.level
    with error_lines() as write:
        handler = _LineHandler(write)
        log.addHandler(handler)
        log.setLevel(level.upper())
        try:
            yield
        finally:
            log.setLevel(before)
            log.removeHandler(handler)


def log_event(log: structlog.stdlib.BoundLogger, event: Event) -> None:
    """Write a line about ``event`` if it deserves one.

    Lines going down, accounts that differ, keys that should be others, clocks that are wrong, alarms and refusals are
    warnings; lines coming up, sources and states of the venue are information; what happens to single symbols is for
    debugging, and market data is never logged.
    """
    if isinstance(event, MarketEvent):
        return
    match event:
        case (
            LineDown()
            | AccountDiffers()
            | ClockNotice(wrong=True)
            | Inconsistent()
            | KeyNotice(grave=True)
            | Refused(final=True)
            | Resync(alarm=True)
            | StoreNotice(failing=True)
        ):
            log.warning(_name(event), **_fields(event))
        case ClockNotice() | KeyNotice() | LineUp() | ModeChanged() | SourceChanged() | StoreNotice() | VenueStatus():
            log.info(_name(event), **_fields(event))
        case Notice():
            log.debug(_name(event), **_fields(event))
        case Stale():
            log.debug("stale", channel=event.channel, symbol=event.symbol, why=event.why)
        case _:
            pass


def _name(event: Notice) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(event).__name__).lower()


def _fields(event: Notice) -> dict[str, Any]:
    return {field.name: getattr(event, field.name) for field in attrs.fields(type(event))}


def _describe_exception(_: Any, __: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Turn the exception that is handled into text: what it says and where it came from, without any locals."""
    error = fields.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, BaseException):
        fields["error"] = f"{type(error).__name__}: {error}"
        # Redacted before it is cut: half a secret would not be found.
        fields["traceback"] = redacted("".join(traceback.format_exception(error)))[-MAX_VALUE:]
    return fields


def _render(_: Any, __: str, fields: MutableMapping[str, Any]) -> tuple[tuple[str], dict[str, bool]]:
    """Return what the standard library is called with: the line, and no exception, for it is in the line already.

    The line says what happened, then the fields in the order in which they were given.
    """
    what = str(fields.pop("event", ""))
    words = [what, *(f"{name}={_value(name, value)}" for name, value in fields.items())]
    return (_printable(redacted(" ".join(words))),), {"exc_info": False}


def _value(name: str, value: object) -> str:
    if _SECRET_FIELDS.fullmatch(name):
        return HIDDEN
    if isinstance(value, Mapping):
        inside = cast("Mapping[object, object]", value)
        return json.dumps({str(key): _value(str(key), inner) for key, inner in inside.items()})
    text = redacted(str(value))[:MAX_VALUE]
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _printable(text: str) -> str:
    """Return ``text`` on one line: whatever is not printable is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
