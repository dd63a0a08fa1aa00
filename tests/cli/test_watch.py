"""``watch`` shows what the feed says, and sums it up in its last line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.venue_process import venue_process

from kraken_engine.cli.app import run


def watched(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    assert run(["watch", *arguments, "--seconds", "1", "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_every_event_is_a_line_and_the_last_line_counts_them(
    venue_addresses: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    *events, summary = watched(capsys, "BTC/USD", "ETH/USD", "--ws-url", venue_addresses["ws"])
    assert summary["event"] == "summary"
    assert sum(summary["events"].values()) == len(events)
    assert set(summary["books"]) == {"BTC/USD", "ETH/USD"}
    assert summary["verified"] >= summary["events"]["BookUpdate"] > 0
    assert summary["mismatched"] == 0
    assert summary["books"]["BTC/USD"]["checksum"] > 0


def test_a_market_is_live_before_its_first_price(
    venue_addresses: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    events = watched(capsys, "BTC/USD", "--ws-url", venue_addresses["ws"])
    kinds = [event["event"] for event in events if event.get("channel") == "book" or event["event"] == "BookUpdate"]
    assert kinds.index("Live") < kinds.index("BookUpdate")


def test_a_market_the_venue_has_not_is_refused(
    venue_addresses: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["watch", "NOPE/USD", "--ws-url", venue_addresses["ws"]]) == 2
    assert "NOPE/USD" in capsys.readouterr().err


def test_tls_with_the_authority_of_the_venue(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with venue_process("--tls", str(tmp_path / "tls")) as (addresses, _):
        assert addresses["ws"].startswith("wss://")
        *_, summary = watched(capsys, "BTC/USD", "--ws-url", addresses["ws"], "--ca-file", addresses["ca_file"])
        assert summary["verified"] > 0


def test_the_table_is_for_people(venue_addresses: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["watch", "BTC/USD", "--ws-url", venue_addresses["ws"], "--seconds", "1"]) == 0
    shown = capsys.readouterr().out
    assert "BTC/USD" in shown
    assert "checksums" in shown
