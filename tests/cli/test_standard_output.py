"""What standard output refuses, or takes too slowly, ends a command with one line, and never holds up the engine."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest
import trio
from tests.cli.test_output import TRADE

from kraken_engine.cli.app import run
from kraken_engine.cli.demo_ledger import Ledger
from kraken_engine.cli.output import OutputFailed, print_while_others_run
from kraken_engine.cli.watch import Watcher
from kraken_engine.feed.subscription import DropOldest, Subscription
from kraken_engine.normalise.events import Event

COMMAND = f"exec {sys.executable} -m kraken_engine "
MANY = 5_000
"""Events whose lines are more than a pipe holds."""
LAST = attrs.evolve(TRADE, symbol="LAST/USD")


def shell(command: str, recording: Path | None = None) -> subprocess.CompletedProcess[str]:
    script = ["sh", "-c", COMMAND + command, "sh", str(recording)]
    return subprocess.run(script, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    file = tmp_path / "recording.jsonl"
    file.write_text('{"channel":"heartbeat"}\n')
    return file


@contextmanager
def pipe() -> Iterator[int]:
    """Make standard output a pipe, and return its other end."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb"), os.fdopen(writer, "w") as stdout, contextlib.redirect_stdout(stdout):
        yield reader


async def read(reader: int) -> bytes:
    """Return what the pipe holds, waiting in Trio's loop: nothing comes while anything blocks that."""
    await trio.lowlevel.wait_readable(reader)
    return os.read(reader, 1 << 20)


@pytest.mark.parametrize(
    "command",
    [
        'replay "$1" --json > /dev/full',
        'replay "$1" > /dev/full',
        "demo --seconds 1 --symbols 1 --json > /dev/full",
        "demo --seconds 1 --symbols 1 > /dev/full",
        "venue > /dev/full",
        "demo --help > /dev/full",
    ],
)
def test_a_full_disk_is_one_line_and_exit_code_1(command: str, recording: Path) -> None:
    done = shell(command, recording)
    assert (done.returncode, done.stderr) == (1, "kraken-engine: standard output: No space left on device\n")


@pytest.mark.parametrize("command", ['replay "$1" --json', "demo --seconds 1 --symbols 1 --json", "venue", "--help"])
def test_a_closed_output_is_refused_at_once(command: str, recording: Path) -> None:
    done = shell(command + " >&-", recording)
    assert (done.returncode, done.stderr) == (2, "kraken-engine: standard output: closed\n")


def test_with_both_outputs_closed_the_exit_code_is_all_there_is(recording: Path) -> None:
    assert shell('replay "$1" >&- 2>&-', recording).returncode == 2


def test_a_table_whose_reader_leaves_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "kraken_engine", "demo", "--seconds", "1", "--symbols", "1"]
    try:
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_help_whose_reader_has_left_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stdout = os.fdopen(writer, "w")
    with contextlib.redirect_stdout(stdout):
        assert run(["--help"]) == 0
    assert stdout.closed
    assert capsys.readouterr().err == ""


async def test_others_run_while_a_slow_reader_is_written_to() -> None:
    text = "x" * (1 << 20)
    received = 0
    with pipe() as reader, trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(print_while_others_run, text)
            while received < len(text):
                received += len(await read(reader))


async def test_a_reader_that_left_is_an_error_with_a_name() -> None:
    with pipe() as reader:
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, reader)
        os.close(nothing)
        with pytest.raises(OutputFailed) as caught:
            await print_while_others_run("x")
    assert caught.value.reader_left


async def test_what_a_slow_reader_misses_is_a_line_that_says_how_much() -> None:
    events = Subscription("test", DropOldest(10))
    watcher = Watcher(ledger=Ledger(["BTC/USD"]), json=True)
    received = b""
    with pipe() as reader, trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watcher.follow, events)
            for _ in range(MANY):
                offer(events, TRADE)
                await trio.lowlevel.checkpoint()
            offer(events, LAST)
            events.end()
            while LAST.symbol.encode() not in received:
                received += await read(reader)
    lines = [json.loads(line) for line in received.splitlines()]
    lost = [line["lost"] for line in lines if line["event"] == "Lagged"]
    assert lost
    assert len(lines) - len(lost) + sum(lost) == MANY + 1


def test_a_reader_that_takes_nothing_cannot_keep_watch_from_ending(venue_addresses: dict[str, str]) -> None:
    command = [sys.executable, "-m", "kraken_engine", "watch", "BTC/USD", "ETH/USD", "--seconds", "1", "--json"]
    command += ["--ws-url", venue_addresses["ws"]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watch:
        assert watch.stderr is not None
        assert watch.wait(timeout=30) == 1
        (line,) = watch.stderr.read().splitlines()
    assert line.startswith("kraken-engine: standard output: ")


def offer(subscription: Subscription, event: Event) -> None:
    subscription.offer(("trade", "BTC/USD"), event)
    subscription.wake()
