"""Whatever goes wrong on the command line is one clear line and an exit code, never a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kraken_engine.cli.app import run


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["frobnicate"], "frobnicate"),
        (["demo", "--seconds", "x"], "--seconds"),
        (["demo", "--seconds", "-1"], "--seconds"),
        (["demo", "--seconds", "nan"], "--seconds"),
        (["demo", "--symbols", "0"], "--symbols"),
        (["demo", "stray"], "stray"),
        (["venue", "--port", "70000"], "--port"),
        (["venue", "--rate", "0"], "--rate"),
        (["watch"], "SYMBOL"),
        (["watch", "BTCUSD"], "BTC/USD"),
        (["watch", "BTC/USD", "--ws-url", "http://example.com"], "http"),
        (["watch", "BTC/USD", "--ws-url", "wss://"], "wss://"),
        (["watch", "BTC/USD", "--ws-url", "wss://127.0.0.1:1/v2", "--ca-file", "no-such.pem"], "no-such.pem"),
        (["replay"], "FILE"),
        (["replay", "no-such-file.jsonl"], "no-such-file.jsonl"),
        (["replay", "x", "--protocol", "v3"], "--protocol"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_bad_argument_is_one_line_and_exit_code_2(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("kraken-engine: ")
    assert says in line


def test_every_mistake_of_a_configuration_has_a_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "kraken.yaml"
    file.write_text("websocket: {symbols: BTC/USD}\nnope: 1\n")
    assert run(["doctor", "--config", str(file)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[:3] for line in lines] == [
        ["kraken-engine", f"{file}:1", "websocket.symbols"],
        ["kraken-engine", f"{file}:2", "nope"],
    ]


def test_a_venue_that_is_not_there_is_one_line_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["watch", "BTC/USD", "--ws-url", "ws://127.0.0.1:9/v2", "--seconds", "1", "--startup-timeout", "1"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "127.0.0.1:9" in line


@pytest.mark.parametrize("arguments", [["--help"], ["demo", "--help"], ["venue", "-h"], ["watch", "-h"], ["--version"]])
def test_help_and_version_are_answers_not_errors(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 0
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("missing", ["cyclopts", "rich"])
def test_a_missing_extra_is_one_line_and_exit_code_2(missing: str) -> None:
    program = f"import sys; sys.modules[{missing!r}] = None; from kraken_engine.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert missing in line
    assert "kraken-engine[cli]" in line


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    recording = tmp_path / "heartbeats.jsonl"
    recording.write_text('{"channel":"heartbeat"}\n')
    files = [str(recording)] * 5_000
    command = [sys.executable, "-m", "kraken_engine", "replay", "--json", *files]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=60) == 0
