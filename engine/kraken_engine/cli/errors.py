"""``kraken-engine errors``: what the engine does about every error it knows, and the test that shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kraken_engine.cli.output import print_json, print_text
from kraken_engine.cli.parameters import Flag
from kraken_engine.control.error_actions import (
    COMMANDS,
    ActivateCircuitBreaker,
    Command,
    ErrorRow,
    LogAndContinue,
    ReconnectWithBackoff,
    RefreshTokenAndReconnect,
    ResetNonceAndRetry,
    Resnapshot,
    RestoreFromCheckpoint,
    SkipMessage,
    error_table,
)

__all__ = ["EXERCISED_BY", "errors"]

EXERCISED_BY: Mapping[type[Command], str] = {
    ReconnectWithBackoff: "tests/tasks/test_market.py::"
    "test_a_cut_line_is_told_as_stale_and_healed_with_a_gap_before_the_next_price",
    RefreshTokenAndReconnect: "tests/tasks/test_auth_refresher.py::"
    "test_a_rejected_token_is_replaced_once_for_all_who_were_refused",
    ActivateCircuitBreaker: "tests/rest/test_queue.py::"
    "test_a_rate_limit_answer_opens_the_breaker_at_once_and_is_not_retried",
    ResetNonceAndRetry: "tests/rest/test_queue.py::test_a_refused_nonce_is_followed_by_a_higher_one",
    SkipMessage: "tests/normalise/test_market_data.py::test_a_ticker_with_a_number_that_is_none_is_rejected_alone",
    Resnapshot: "tests/state/test_book_sync.py::test_a_mismatch_hides_the_book_before_anything_else_and_asks_once",
    RestoreFromCheckpoint: "tests/store/test_checkpoint.py::"
    "test_a_corrupt_checkpoint_means_the_one_before_and_that_is_said",
    LogAndContinue: "tests/tasks/test_market.py::test_words_of_the_venue_that_nobody_knows_are_counted_and_survived",
}
"""The test that shows how a command is carried out."""

_WALKED_BY = {
    "venue": "tests/rest/test_error_rows.py::test_what_the_venue_answers_leads_to_what_its_row_says",
    "exception": "tests/control/test_error_actions.py::test_every_exception_leads_to_its_command",
}
"""The tests that walk the table, one case for each row."""


def errors(*, json: Flag = False) -> int:
    """Print what is done about each error string of the venue and each exception of the engine.

    Parameters
    ----------
    json
        Print one line of JSON instead of tables.
    """
    commands = [
        {"command": command.__name__, "owner": owner, "test": EXERCISED_BY[command]}
        for command, owner in COMMANDS.items()
    ]
    rows = [_row(row) for row in error_table()]
    if json:
        print_json({"commands": commands, "rows": rows})
        return 0
    lines = _table(commands, ("command", "owner", "test"))
    lines += ["", *_table(rows, ("error", "kind", "action", "command", "test"))]
    print_text("\n".join(lines) + "\n")
    return 0


def _row(row: ErrorRow) -> dict[str, Any]:
    words = "by what it holds"
    return {
        "source": row.source,
        "error": row.name,
        "kind": str(row.kind) if row.kind is not None else words,
        "action": str(row.action) if row.action is not None else words,
        "command": " | ".join(command.__name__ for command in row.commands) or words,
        "test": f"{_WALKED_BY[row.source]}[{row.name}]",
    }


def _table(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> list[str]:
    """Return lines with columns as wide as they have to be; the last one is not padded."""
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in columns}
    texts = [{name: name for name in columns}, *rows]
    return ["  ".join(text[name].ljust(widths[name]) for name in columns).rstrip() for text in texts]
