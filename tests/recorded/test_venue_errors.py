"""Every error the venue was recorded to answer is in the table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kraken_engine.codec.venue_errors import classify


def _replies(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_every_recorded_rest_error_is_known(fixtures: Path) -> None:
    seen = 0
    for reply in _replies(fixtures / "rest" / "errors.jsonl"):
        errors = reply["error"]
        assert isinstance(errors, list)
        assert all(classify(words).rule.known for words in errors), errors
        seen += len(errors)
    assert seen > 0


@pytest.mark.parametrize("name", ["errors_2024.jsonl", "errors_live_2026.jsonl"])
def test_every_recorded_websocket_error_is_known(fixtures: Path, name: str) -> None:
    texts = [str(reply["error"]) for reply in _replies(fixtures / "ws_v2" / name) if "error" in reply]
    assert texts
    assert [text for text in texts if not classify(text).rule.known] == []
