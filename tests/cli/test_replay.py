"""``replay`` plays V2 recordings through the live code, and says clearly what it cannot play."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kraken_engine.cli.app import run

HEARTBEAT = '{"channel":"heartbeat"}'
TRADE = (
    '{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"buy","price":1.5,"qty":2.0,'
    '"ord_type":"limit","trade_id":1,"timestamp":"2026-01-01T00:00:00.000000Z"}]}'
)

BOOK = (
    '{"channel":"book","type":"snapshot","data":[{"symbol":"BTC/USD","bids":[{"price":1.5,"qty":2.0}],'
    '"asks":[{"price":1.6,"qty":3.0}],"checksum":1705446661,"timestamp":"2026-01-01T00:00:00.000000Z"}]}'
)


def recording(folder: Path, *lines: str) -> str:
    file = folder / "recording.jsonl"
    file.write_text("\n".join(lines) + "\n")
    return str(file)


def replayed(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    assert run(["replay", *arguments, "--json"]) == code
    (line,) = capsys.readouterr().out.splitlines()
    summary: dict[str, Any] = json.loads(line)
    return summary


def test_frames_and_events_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = replayed(capsys, recording(tmp_path, HEARTBEAT, TRADE))
    assert (summary["frames"], summary["decoded"], summary["rejected_count"]) == (2, 2, 0)
    assert summary["events"] == {"Trade": 1}


def test_a_broken_frame_is_reported_with_its_line_and_the_rest_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = replayed(capsys, recording(tmp_path, HEARTBEAT, '{"channel":', TRADE), code=1)
    assert [rejection["line"] for rejection in summary["rejected"]] == [2]
    assert summary["events"] == {"Trade": 1}


def test_each_file_starts_afresh_and_one_summary_adds_them_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = recording(tmp_path, TRADE, "junk")
    summary = replayed(capsys, file, file, code=1)
    assert summary["files"] == [file, file]
    assert (summary["frames"], summary["decoded"], summary["rejected_count"]) == (4, 2, 2)
    assert summary["events"] == {"Trade": 2}, "the second file knows nothing of the first one's trade"
    assert [(one["file"], one["line"]) for one in summary["rejected"]] == [(file, 2), (file, 2)]


def test_without_json_people_can_read_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["replay", recording(tmp_path, "junk", TRADE)]) == 1
    shown = capsys.readouterr().out
    assert "line 1" in shown
    assert "1 Trade" in shown


def test_a_checksum_that_does_not_match_is_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = BOOK.replace('"checksum":1705446661', '"checksum":1')
    assert replayed(capsys, recording(tmp_path, BOOK))["books"]["BTC/USD"]["verified"] == 1
    summary = replayed(capsys, recording(tmp_path, wrong), code=1)
    assert (summary["rejected_count"], summary["books"]["BTC/USD"]["mismatched"]) == (0, 1)


@pytest.mark.parametrize("arguments", [[], ["--protocol", "v1"]])
def test_a_recording_of_v1_is_refused_in_so_many_words(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["replay", recording(tmp_path, '[0,{"c":["1.0","2.0"]},"ticker","XBT/USD"]'), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "v1" in line
    assert "not supported in this version" in line


@pytest.mark.parametrize("content", ["", "[]", "not json", '{"BTC/USD": {"price_decimals": -1, "qty_decimals": 8}}'])
def test_an_instruments_file_that_is_none_is_refused(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = tmp_path / "pairs.json"
    pairs.write_text(content)
    assert run(["replay", recording(tmp_path, TRADE), "--instruments", str(pairs)]) == 2
    assert "pairs.json" in capsys.readouterr().err
