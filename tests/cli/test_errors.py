"""``errors`` prints the whole table, and every test it names exists."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from kraken_engine.cli.app import run
from kraken_engine.cli.errors import EXERCISED_BY
from kraken_engine.codec.venue_errors import VENUE_ERRORS
from kraken_engine.control.error_actions import COMMANDS, EXCEPTIONS

ROOT = Path(__file__).parent.parent.parent


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert run(["errors", "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    document: dict[str, Any] = json.loads(line)
    return document


def exists(test: str) -> bool:
    """Whether a file has a function of this name at its top, or in one of its classes; a case in brackets aside."""
    path, _, name = test.partition("::")
    file = ROOT / path
    name = name.partition("[")[0].rpartition("::")[2]
    return file.is_file() and any(
        isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == name
        for node in ast.walk(ast.parse(file.read_text()))
    )


def test_every_row_names_a_test_that_exists(capsys: pytest.CaptureFixture[str]) -> None:
    document = printed(capsys)
    assert len(document["rows"]) == len(VENUE_ERRORS) + len(EXCEPTIONS)
    assert [row["command"] for row in document["commands"]] == [command.__name__ for command in COMMANDS]
    tests = {row["test"] for name in ("rows", "commands") for row in document[name]}
    assert len(tests) == len(document["rows"]) + len(document["commands"])
    assert [test for test in sorted(tests) if not exists(test)] == []


def test_a_test_that_does_not_exist_would_be_noticed() -> None:
    (one, *_) = EXERCISED_BY.values()
    assert exists(one)
    assert not exists(one + "_or_not")
    assert not exists(one.replace("tests/", "tests/no"))


def test_the_cases_of_a_row_are_those_of_the_test_that_walks_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    cases = {row["test"].partition("[")[2].rstrip("]") for row in printed(capsys)["rows"]}
    assert cases == {*VENUE_ERRORS, *(cls.__name__ for cls in EXCEPTIONS)}


def test_for_people_it_prints_two_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["errors"]) == 0
    out = capsys.readouterr().out
    first, second = out.split("\n\n")
    assert first.splitlines()[0].split() == ["command", "owner", "test"]
    assert len(first.splitlines()) == 1 + len(COMMANDS)
    assert len(second.splitlines()) == 1 + len(VENUE_ERRORS) + len(EXCEPTIONS)
    (nonce,) = [line for line in second.splitlines() if line.startswith("EAPI:Invalid nonce")]
    assert nonce.split()[2:5] == ["rest_nonce_error", "reset_nonce_and_retry", "ResetNonceAndRetry"]
