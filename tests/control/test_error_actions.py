"""Error actions (``spec.md`` row 18): the founding table, every word of the venue, every exception, and the unknown.

What is expected is written down here once more, from the documents, and not taken from the tables.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_engine import errors
from kraken_engine.codec.venue_errors import VENUE_ERRORS, rejected
from kraken_engine.control.error_actions import (
    ACTIONS,
    COMMANDS,
    EXCEPTIONS,
    ActivateCircuitBreaker,
    Command,
    ErrorDesk,
    ErrorKind,
    LogAndContinue,
    ReconnectWithBackoff,
    RefreshTokenAndReconnect,
    ResetNonceAndRetry,
    Resnapshot,
    RestoreFromCheckpoint,
    SkipMessage,
    Where,
    error_table,
    kind_of,
)
from kraken_engine.errors import (
    ConfigError,
    ConnectFailed,
    DecodeError,
    EngineError,
    EngineFailed,
    LineClosed,
    LineError,
    ProtocolError,
    Rejected,
    RestFailed,
    SlowConsumer,
    Stale,
    StartupError,
    StoreCorrupt,
    StoreError,
    StoreLocked,
    UpgradeRejected,
    UsageError,
)

HERE = Where(line="private", account="main")

FOUNDING = {
    "websocket_disconnect": "reconnect_with_backoff",
    "websocket_auth_fail": "refresh_token_and_reconnect",
    "rest_rate_limit": "activate_circuit_breaker",
    "rest_nonce_error": "reset_nonce_and_retry",
    "data_validation_fail": "log_and_skip",
    "state_corruption": "restore_from_checkpoint",
    "other": "log_and_continue",
}

SPECIAL_WORDS: dict[str, type[Command]] = {
    "EAPI:Invalid nonce": ResetNonceAndRetry,
    "EAPI:Rate limit exceeded": ActivateCircuitBreaker,
    "EAuth:Rate limit exceeded": ActivateCircuitBreaker,
    "EAuth:Too many requests": ActivateCircuitBreaker,
    "EGeneral:Temporary lockout": ActivateCircuitBreaker,
    "EGeneral:Too many requests": ActivateCircuitBreaker,
    "EService:Throttled": ActivateCircuitBreaker,
    "ESession:Invalid session": RefreshTokenAndReconnect,
    "Token(s) not found": RefreshTokenAndReconnect,
}
"""Words that ask for more than telling and counting."""


def test_each_kind_has_the_action_of_the_founding_document() -> None:
    assert {str(kind): str(action) for kind, action in ACTIONS.items()} == FOUNDING
    assert {command for row in error_table() for command in row.commands} == set(COMMANDS)


@pytest.mark.parametrize("words", VENUE_ERRORS)
def test_the_venues_words_lead_to_their_command(words: str) -> None:
    """Over a WebSocket as they are, over REST inside the exception they become: it is the same command."""
    expected = SPECIAL_WORDS.get(words, LogAndContinue)
    raised = rejected("Balance", [words], read=True)
    for error in (words, words.upper(), raised):
        desk = ErrorDesk()
        command = desk.decide(error, HERE)
        assert type(command) is expected
        assert command.where == HERE
        assert words.casefold() in command.why.casefold()
        assert desk.unknown == {}
        assert desk.counts[kind_of(error)] == 1
        assert FOUNDING[kind_of(error)] == VENUE_ERRORS[words].action


def test_no_special_word_was_forgotten() -> None:
    assert set(SPECIAL_WORDS) <= set(VENUE_ERRORS)


def of_the_venue(cls: type[Rejected]) -> tuple[EngineError, type[Command]]:
    words = next(words for words, rule in VENUE_ERRORS.items() if rule.error is cls)
    return rejected("Balance", [words], read=True), SPECIAL_WORDS.get(words, LogAndContinue)


EXAMPLES: dict[str, tuple[EngineError, type[Command]]] = {
    "EngineError": (EngineError("x"), LogAndContinue),
    "ConfigError": (ConfigError("x"), LogAndContinue),
    "UsageError": (UsageError("x"), LogAndContinue),
    "StartupError": (StartupError(["x"]), LogAndContinue),
    "EngineFailed": (EngineFailed("x"), LogAndContinue),
    "ProtocolError": (ProtocolError("x"), Resnapshot),
    "DecodeError": (DecodeError("$", "x", "y"), Resnapshot),
    "LineError": (LineError("x"), ReconnectWithBackoff),
    "ConnectFailed": (ConnectFailed("dial", "x", "y"), ReconnectWithBackoff),
    "UpgradeRejected": (UpgradeRejected("x", 403), ReconnectWithBackoff),
    "LineClosed": (LineClosed("x", 1006), ReconnectWithBackoff),
    "RestFailed": (RestFailed("Balance", "x", maybe_executed=False), LogAndContinue),
    "CircuitOpen": (errors.CircuitOpen("private", 1.0), LogAndContinue),
    "StoreError": (StoreError("x"), LogAndContinue),
    "StoreCorrupt": (StoreCorrupt("x"), RestoreFromCheckpoint),
    "StoreLocked": (StoreLocked("x"), LogAndContinue),
    "Stale": (Stale("book", "BTC/USD", "x"), LogAndContinue),
    "SlowConsumer": (SlowConsumer("x", 1, 1), LogAndContinue),
}


def classes() -> list[type[EngineError]]:
    found = [getattr(errors, name) for name in errors.__all__]
    return [cls for cls in found if isinstance(cls, type) and issubclass(cls, EngineError)]


@pytest.mark.parametrize("name", [cls.__name__ for cls in classes()])
def test_every_exception_leads_to_its_command(name: str) -> None:
    cls = getattr(errors, name)
    assert cls in EXCEPTIONS
    if issubclass(cls, Rejected):
        error, expected = of_the_venue(cls)
    elif name in EXAMPLES:
        error, expected = EXAMPLES[name]
    else:  # new: as its parent, until somebody says otherwise here
        parent = EXAMPLES[cls.__mro__[1].__name__]
        error, expected = cls.__new__(cls), parent[1]
        error.__dict__.update(vars(parent[0]))
    desk = ErrorDesk()
    assert type(desk.decide(error, HERE)) is expected
    assert desk.unknown == {}


def test_the_table_has_a_row_for_each_and_names_its_command() -> None:
    rows = {(row.source, row.name): row for row in error_table()}
    assert {name for source, name in rows if source == "venue"} == set(VENUE_ERRORS)
    assert {name for source, name in rows if source == "exception"} == {cls.__name__ for cls in classes()}
    for (source, name), row in rows.items():
        if source == "venue":
            assert row.commands == (SPECIAL_WORDS.get(name, LogAndContinue),)
        elif row.kind is None:
            assert issubclass(getattr(errors, name), (Rejected, RestFailed))
        elif name in EXAMPLES:
            assert EXAMPLES[name][1] in row.commands


@pytest.mark.parametrize("channel", ["ticker", "trade", "ohlc"])
def test_a_message_that_stands_by_itself_is_skipped(channel: str) -> None:
    where = Where(line="market-1", channel=channel, symbol="BTC/USD")
    command = ErrorDesk().decide(DecodeError("$.data[0].bid", "a number", "x"), where)
    assert command == SkipMessage(where=where, why="$.data[0].bid: expected a number, got x")


def test_an_answer_of_rest_stands_by_itself() -> None:
    where = Where(account="main", operation="Balance")
    assert type(ErrorDesk().decide(DecodeError("$.result", "an object", "x"), where)) is SkipMessage


@pytest.mark.parametrize("channel", ["book", "level3", "executions", "balances", "instrument", "never heard of", None])
def test_a_message_others_build_upon_is_a_gap_when_it_is_skipped(channel: str | None) -> None:
    where = Where(line="market-1", channel=channel)
    assert type(ErrorDesk().decide(DecodeError("$", "x", "y"), where)) is Resnapshot


def test_http_429_is_a_rate_limit_and_what_it_asks_for_is_passed_on() -> None:
    error = RestFailed("Balance", "HTTP 429", maybe_executed=False, status=429, retry_after_s=7.0)
    assert ErrorDesk().decide(error, HERE) == ActivateCircuitBreaker(where=HERE, why="Balance: HTTP 429", pause_s=7.0)
    command = ErrorDesk().decide("EGeneral:Temporary lockout", HERE)
    assert isinstance(command, ActivateCircuitBreaker)
    assert command.pause_s == 900.0


@pytest.mark.parametrize(
    ("error", "name"),
    [
        ("EFuture:Never heard of", "EFuture:Never heard of"),
        (rejected("Balance", ["EFuture:Never heard of"], read=True), "EFuture:Never heard of"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError"),
        (OSError(5, "Input/output error"), "OSError"),
        ("\x1b[31mred", "\\x1b[31mred"),
    ],
)
def test_an_unknown_error_is_counted_told_and_survived(error: Exception | str, name: str) -> None:
    desk = ErrorDesk()
    for _ in range(3):
        command = desk.decide(error, HERE)
        assert isinstance(command, LogAndContinue)
        assert not command.known
        assert command.why
    assert desk.unknown == {name: 3}
    assert desk.counts[ErrorKind.OTHER] == 3


def test_the_gravest_of_a_group_decides_and_all_are_counted() -> None:
    desk = ErrorDesk()
    inner = ExceptionGroup("inner", [StoreCorrupt("x"), LineError("y")])
    command = desk.decide(ExceptionGroup("outer", [ValueError("z"), inner]), HERE)
    assert type(command) is RestoreFromCheckpoint
    assert {kind: count for kind, count in desk.counts.items() if count} == {
        ErrorKind.OTHER: 1,
        ErrorKind.WEBSOCKET_DISCONNECT: 1,
        ErrorKind.STATE_CORRUPTION: 1,
    }


@pytest.mark.parametrize("words", [words for words, sort in SPECIAL_WORDS.items() if sort is ActivateCircuitBreaker])
def test_a_rate_limit_stops_rest_calls_of_whoever_was_told_of_it_but_not_for_the_haste_of_a_public_line(
    words: str,
) -> None:
    desk = ErrorDesk()
    told_by: dict[Where, type[Command]] = {
        Where(operation="Ticker"): ActivateCircuitBreaker,
        Where(operation="Balance", account="main"): ActivateCircuitBreaker,
        Where(line="private main", account="main", channel="executions"): ActivateCircuitBreaker,
        Where(line="market A", channel="book", symbol="A/B"): LogAndContinue,
    }
    assert {where: type(desk.decide(words, where)) for where in told_by} == told_by
    assert desk.counts[ErrorKind.REST_RATE_LIMIT] == len(told_by)


def test_the_names_of_unknown_errors_are_bounded() -> None:
    desk = ErrorDesk()
    for n in range(1000):
        desk.decide(f"EFuture:{n}", HERE)
    assert len(desk.unknown) == 101
    assert sum(desk.unknown.values()) == 1000
    assert desk.unknown["others"] == 900


@given(words=st.text(max_size=300))
def test_no_words_of_the_venue_are_too_strange(words: str) -> None:
    command = ErrorDesk().decide(words, HERE)
    assert command.why.isprintable()
    assert len(command.why) <= 130 * 4
