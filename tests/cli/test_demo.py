"""The demo breaks the engine three times, and succeeds only if it heals and its books are the venue's."""

from __future__ import annotations

import json

import pytest

from kraken_engine.cli.app import run


def test_it_heals_and_ends_with_the_books_of_the_venue(capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["demo", "--seconds", "3", "--symbols", "3", "--rate", "100", "--seed", "4", "--json"])
    (line,) = capsys.readouterr().out.splitlines()
    summary = json.loads(line)
    assert summary["ok"], summary
    assert code == 0
    assert summary["lines_lost"] == summary["lines_lost_unnoticed"] == 1
    assert summary["cuts"] == summary["cuts_healed"] == 1
    assert summary["corruptions"] == summary["corruptions_healed"] == 1
    assert 1 <= summary["mismatches_seen"] <= 2  # once for each line, unless another brought the next one first
    assert summary["books_equal_venue"]
    assert summary["books_verified"] > 0
    assert summary["frames"] > 0
    assert set(summary["kpis"]) == {
        "websocket_uptime",
        "websocket_message_rate",
        "rest_api_calls",
        "data_latency",
        "failover_count",
        "error_rate",
    }


def test_people_see_a_table_and_a_report(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["demo", "--seconds", "1", "--symbols", "1"]) == 0
    shown = capsys.readouterr().out
    assert "line: healed, and no book noticed" in shown
    assert "cut: healed" in shown
    assert "corruption: healed" in shown
    assert "every book equals the venue's: yes" in shown
