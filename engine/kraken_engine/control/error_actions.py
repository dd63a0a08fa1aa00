"""What is done about an error: one table, and commands to those who own the matter.

Every error is of one of seven kinds (the founding document's words, section 5.2), and every kind has one action:

==================== ============================== =====================================================
kind                 action                         command, and who carries it out
==================== ============================== =====================================================
websocket_disconnect reconnect_with_backoff         ``ReconnectWithBackoff``: supervisor of the line
websocket_auth_fail  refresh_token_and_reconnect    ``RefreshTokenAndReconnect``: auth refresher, private line
rest_rate_limit      activate_circuit_breaker       ``ActivateCircuitBreaker``: REST queue
rest_nonce_error     reset_nonce_and_retry          ``ResetNonceAndRetry``: REST queue of the key
data_validation_fail log_and_skip                   ``SkipMessage`` or, where a skipped message would be a
                                                    gap, ``Resnapshot``: channel task
state_corruption     restore_from_checkpoint        ``RestoreFromCheckpoint``: checkpoints
other                log_and_continue               ``LogAndContinue``: whoever noticed
==================== ============================== =====================================================

The venue's words get their kind from :mod:`~kraken_engine.codec.venue_errors`, exceptions from :data:`EXCEPTIONS`. What
is in neither is *unknown*: counted under its name, told, and survived.

Nothing here acts; a command is a value. Usually whoever noticed the error owns the matter and obeys what
:meth:`ErrorDesk.decide` returns; where somebody else does, :meth:`ErrorDesk.deliver` hands it to who said so with
:meth:`ErrorDesk.own`: a rate limit that a private line hears of stops the REST calls of the same key.

One that a public line hears of stops nothing but that line's own haste, which its subscriptions see to. The venue
limits messages of a connection, and REST calls of an address; neither is evidence of the other, and a breaker that
opened for it would take away the backup just when the lines have trouble.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar, cast, final

import attrs

from kraken_engine import errors
from kraken_engine.codec.venue_errors import VENUE_ERRORS, ErrorAction, ErrorRule, classify
from kraken_engine.errors import shown

__all__ = [
    "ACTIONS",
    "COMMANDS",
    "EXCEPTIONS",
    "STATELESS_CHANNELS",
    "ActivateCircuitBreaker",
    "Command",
    "ErrorDesk",
    "ErrorKind",
    "ErrorRow",
    "LogAndContinue",
    "ReconnectWithBackoff",
    "RefreshTokenAndReconnect",
    "ResetNonceAndRetry",
    "Resnapshot",
    "RestoreFromCheckpoint",
    "SkipMessage",
    "Where",
    "error_table",
    "kind_of",
]


class ErrorKind(enum.StrEnum):
    """What kind of trouble an error is; the gravest last."""

    OTHER = "other"
    DATA_VALIDATION_FAIL = "data_validation_fail"
    WEBSOCKET_DISCONNECT = "websocket_disconnect"
    REST_RATE_LIMIT = "rest_rate_limit"
    REST_NONCE_ERROR = "rest_nonce_error"
    WEBSOCKET_AUTH_FAIL = "websocket_auth_fail"
    STATE_CORRUPTION = "state_corruption"


ACTIONS: Mapping[ErrorKind, ErrorAction] = MappingProxyType(
    {
        ErrorKind.WEBSOCKET_DISCONNECT: ErrorAction.RECONNECT_WITH_BACKOFF,
        ErrorKind.WEBSOCKET_AUTH_FAIL: ErrorAction.REFRESH_TOKEN_AND_RECONNECT,
        ErrorKind.REST_RATE_LIMIT: ErrorAction.ACTIVATE_CIRCUIT_BREAKER,
        ErrorKind.REST_NONCE_ERROR: ErrorAction.RESET_NONCE_AND_RETRY,
        ErrorKind.DATA_VALIDATION_FAIL: ErrorAction.LOG_AND_SKIP,
        ErrorKind.STATE_CORRUPTION: ErrorAction.RESTORE_FROM_CHECKPOINT,
        ErrorKind.OTHER: ErrorAction.LOG_AND_CONTINUE,
    }
)
_KINDS = {action: kind for kind, action in ACTIONS.items()}
_KINDS_BY_NAME = {str(action): kind for action, kind in _KINDS.items()}

_DECIDED: Mapping[type[Exception], ErrorKind | None] = {
    errors.EngineError: ErrorKind.OTHER,
    errors.ProtocolError: ErrorKind.DATA_VALIDATION_FAIL,
    errors.LineError: ErrorKind.WEBSOCKET_DISCONNECT,
    errors.RestFailed: None,
    errors.Rejected: None,
    errors.StoreCorrupt: ErrorKind.STATE_CORRUPTION,
}
"""Kinds of classes, and of those below them that are not named here."""


def _nearest(cls: type[Exception]) -> ErrorKind | None:
    return next((_DECIDED[base] for base in cls.__mro__ if base in _DECIDED), ErrorKind.OTHER)


EXCEPTIONS: Mapping[type[Exception], ErrorKind | None] = MappingProxyType(
    {
        cls: _nearest(cls)
        for cls in (getattr(errors, name) for name in errors.__all__)
        if isinstance(cls, type) and issubclass(cls, errors.EngineError)
    }
)
"""Every class of ``errors.py``; None where what it holds decides: the venue's words, the HTTP status."""

STATELESS_CHANNELS = frozenset({"ticker", "trade", "ohlc", "status", "heartbeat"})
"""Channels of which each message stands by itself. On any other a skipped one is a gap (reliability, finding 6)."""


@attrs.frozen(kw_only=True)
class Where:
    """Where an error happened, as far as it is known: it addresses the command."""

    line: str | None = None
    account: str | None = None
    """None for the public side."""
    channel: str | None = None
    symbol: str | None = None
    operation: str | None = None
    """Of REST, such as ``Balance``; None: it did not happen there."""


@attrs.frozen(kw_only=True)
class ReconnectWithBackoff:
    """End the connection, and make another one after a pause."""

    where: Where
    why: str


@attrs.frozen(kw_only=True)
class RefreshTokenAndReconnect:
    """The token is worthless: fetch another one, then connect and subscribe anew."""

    where: Where
    why: str


@attrs.frozen(kw_only=True)
class ActivateCircuitBreaker:
    """Stop calls of this key, or public ones, at once; for ``pause_s`` at least."""

    where: Where
    why: str
    pause_s: float = 0.0


@attrs.frozen(kw_only=True)
class ResetNonceAndRetry:
    """Go up with the nonces of this key, and make the call again."""

    where: Where
    why: str


@attrs.frozen(kw_only=True)
class SkipMessage:
    """Count the message, or the answer, leave it out, and go on: the next one stands by itself."""

    where: Where
    why: str


@attrs.frozen(kw_only=True)
class Resnapshot:
    """A message is missing now: hide what rests on it, and ask for a snapshot. Without a channel: of every one."""

    where: Where
    why: str


@attrs.frozen(kw_only=True)
class RestoreFromCheckpoint:
    """What is stored is not what was written: use the generation before it, and say so."""

    where: Where
    why: str


@attrs.frozen(kw_only=True)
class LogAndContinue:
    """Nothing to be done about it here: tell, count, go on."""

    where: Where
    why: str
    known: bool = True
    """False for an error that is in no table."""


Command = (
    ReconnectWithBackoff
    | RefreshTokenAndReconnect
    | ActivateCircuitBreaker
    | ResetNonceAndRetry
    | SkipMessage
    | Resnapshot
    | RestoreFromCheckpoint
    | LogAndContinue
)

C = TypeVar("C", bound=Command)

_COMMAND_OF: Mapping[ErrorKind, type[Command]] = {
    ErrorKind.WEBSOCKET_DISCONNECT: ReconnectWithBackoff,
    ErrorKind.WEBSOCKET_AUTH_FAIL: RefreshTokenAndReconnect,
    ErrorKind.REST_RATE_LIMIT: ActivateCircuitBreaker,
    ErrorKind.REST_NONCE_ERROR: ResetNonceAndRetry,
    ErrorKind.DATA_VALIDATION_FAIL: Resnapshot,
    ErrorKind.STATE_CORRUPTION: RestoreFromCheckpoint,
    ErrorKind.OTHER: LogAndContinue,
}

COMMANDS: Mapping[type[Command], str] = MappingProxyType(
    {
        ReconnectWithBackoff: "supervisor of the line",
        RefreshTokenAndReconnect: "auth refresher, private line",
        ActivateCircuitBreaker: "REST queue of the address or the key",
        ResetNonceAndRetry: "REST queue of the key",
        SkipMessage: "channel task",
        Resnapshot: "channel task",
        RestoreFromCheckpoint: "checkpoints",
        LogAndContinue: "whoever noticed",
    }
)
"""Every command, and whose it is."""

_KEPT = 100
"""Names of unknown errors kept apart; more are counted together."""
_TOO_MANY_REQUESTS = 429


@attrs.frozen(kw_only=True)
class ErrorRow:
    """One row of the table, for people."""

    source: str
    """``venue`` for the venue's words, ``exception`` for a class of ours."""
    name: str
    kind: ErrorKind | None
    """None: what such an exception holds decides."""
    action: ErrorAction | None
    commands: tuple[type[Command], ...]


@final
@attrs.define
class ErrorDesk:
    """Decides about errors and counts them; one for an engine."""

    counts: dict[ErrorKind, int] = attrs.field(factory=lambda: dict.fromkeys(ErrorKind, 0), init=False)
    unknown: dict[str, int] = attrs.field(factory=dict[str, int], init=False)
    """How often each unknown error was seen, by its name."""
    on_decided: Callable[[Command], None] = lambda _: None
    """Told of every command: the log, for one."""
    _owners: dict[tuple[type, str | None], Callable[[Any], None]] = attrs.field(
        factory=dict[tuple[type, str | None], Callable[[Any], None]], init=False, repr=False
    )

    def own(self, command: type[C], account: str | None, obey: Callable[[C], None]) -> Callable[[], None]:
        """Have commands of a kind that concern ``account`` (None: the public side) delivered to ``obey``.

        Returns:
            What ends that.
        """
        place = (command, account)
        self._owners[place] = obey

        def leave() -> None:
            if self._owners.get(place) is obey:
                del self._owners[place]

        return leave

    def deliver(self, command: Command) -> bool:
        """Hand a command to its owner, who obeys at once; return whether there is one."""
        obey = self._owners.get((type(command), command.where.account))
        if obey is None:
            return False
        obey(command)
        return True

    def decide(self, error: Exception | str, where: Where) -> Command:
        """Return what is to be done about an exception, or about the venue's words over a WebSocket.

        Of a group, the gravest member decides, and all are counted.
        """
        members = _members(error)
        if members:
            decided = [(self.decide(each, where), kind_of(each)) for each in members]
            return max(decided, key=lambda pair: _GRAVITY[pair[1]])[0]
        kind, known = kind_of(error), _is_known(error)
        self.counts[kind] += 1
        if not known:
            name = shown(error) if isinstance(error, str) else _name(error)
            name = name if name in self.unknown or len(self.unknown) < _KEPT else "others"
            self.unknown[name] = self.unknown.get(name, 0) + 1
        command = self._command(error, kind, where, known=known)
        self.on_decided(command)
        return command

    def _command(self, error: Exception | str, kind: ErrorKind, where: Where, *, known: bool) -> Command:
        why = shown(error if isinstance(error, str) else str(error) or type(error).__name__)
        match kind:
            case ErrorKind.REST_RATE_LIMIT if where.operation is None and where.account is None:
                return LogAndContinue(where=where, why=why)
            case ErrorKind.REST_RATE_LIMIT:
                pause_s = _rule(error).pause_s if isinstance(error, str) else getattr(error, "retry_after_s", 0.0)
                return ActivateCircuitBreaker(where=where, why=why, pause_s=pause_s)
            case ErrorKind.DATA_VALIDATION_FAIL if where.operation is not None or where.channel in STATELESS_CHANNELS:
                return SkipMessage(where=where, why=why)
            case ErrorKind.OTHER:
                return LogAndContinue(where=where, why=why, known=known)
            case _:
                return _COMMAND_OF[kind](where=where, why=why)


def kind_of(error: Exception | str) -> ErrorKind:
    """Return the kind of an exception, or of the venue's words; ``OTHER`` for what nobody knows."""
    if isinstance(error, str):
        return _KINDS[_rule(error).action]
    members = _members(error)
    if members:
        return max(map(kind_of, members), key=_GRAVITY.__getitem__)
    if isinstance(error, errors.Rejected):
        return _KINDS_BY_NAME.get(error.action, ErrorKind.OTHER)
    if isinstance(error, errors.RestFailed):
        return ErrorKind.REST_RATE_LIMIT if error.status == _TOO_MANY_REQUESTS else ErrorKind.OTHER
    return _nearest(type(error)) or ErrorKind.OTHER


def error_table() -> tuple[ErrorRow, ...]:
    """Return the whole table: every string of the venue, then every exception class."""
    rows = [_row("venue", words, _KINDS[rule.action]) for words, rule in VENUE_ERRORS.items()]
    rows += [_row("exception", cls.__name__, kind) for cls, kind in EXCEPTIONS.items()]
    return tuple(rows)


_GRAVITY = {kind: gravity for gravity, kind in enumerate(ErrorKind)}


def _row(source: str, name: str, kind: ErrorKind | None) -> ErrorRow:
    if kind is None:
        return ErrorRow(source=source, name=name, kind=None, action=None, commands=())
    commands: tuple[type[Command], ...] = (_COMMAND_OF[kind],)
    if kind is ErrorKind.DATA_VALIDATION_FAIL:
        commands = (SkipMessage, Resnapshot)
    return ErrorRow(source=source, name=name, kind=kind, action=ACTIONS[kind], commands=commands)


def _rule(words: str) -> ErrorRule:
    return classify(words).rule


def _members(error: Exception | str) -> tuple[Exception, ...]:
    """Return what is in a group; nothing for anything else."""
    return cast("ExceptionGroup[Exception]", error).exceptions if isinstance(error, ExceptionGroup) else ()


def _is_known(error: Exception | str) -> bool:
    if isinstance(error, str):
        return _rule(error).known
    if isinstance(error, errors.Rejected):
        return error.action in _KINDS_BY_NAME and all(_rule(words).known for words in error.words.split("; "))
    return isinstance(error, errors.EngineError)


def _name(error: Exception) -> str:
    return error.words if isinstance(error, errors.Rejected) else type(error).__name__
