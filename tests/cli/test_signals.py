"""A signal ends every command cleanly: no traceback, and an exit code that says what happened."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from kraken_engine.cli.app import run


def started(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "kraken_engine", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Return the exit code, and the rest of what the process printed."""
    assert process.stdout is not None
    assert process.stderr is not None
    return process.wait(timeout=30), process.stdout.read(), process.stderr.read()


def test_an_interrupted_watch_sums_up_what_it_saw(venue_addresses: dict[str, str]) -> None:
    with started("watch", "BTC/USD", "--ws-url", venue_addresses["ws"], "--json") as watch:
        assert watch.stdout is not None
        first = watch.stdout.readline()
        watch.send_signal(signal.SIGINT)
        code, rest, errors = ended(watch)
    assert (code, errors) == (0, "")
    lines = [json.loads(line) for line in [first, *rest.splitlines()]]
    assert lines[-1]["event"] == "summary"
    assert sum(lines[-1]["events"].values()) == len(lines) - 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_venue_has_answered_ends_watch_without_a_word(number: signal.Signals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"ws://127.0.0.1:{silent.getsockname()[1]}/v2"
        with started("watch", "BTC/USD", "--ws-url", address, "--json") as watch:
            silent.accept()[0].close()
            watch.send_signal(number)
            assert ended(watch) == (128 + number, "", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_says_that_it_proved_nothing(
    number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    with later(number):
        assert run(["demo", "--seconds", "600", "--json"]) == 128 + number
    out, errors = capfd.readouterr()
    summary = json.loads(out)
    assert not summary["ok"]
    assert summary["interrupted"] == number.name
    assert errors == ""


def test_an_interrupted_demo_gives_the_cursor_back() -> None:
    ours, its = os.openpty()
    command = [sys.executable, "-m", "kraken_engine", "demo", "--seconds", "600"]
    with subprocess.Popen(command, stdin=its, stdout=its, stderr=its) as demo:
        os.close(its)
        shown = b""
        while b"verified" not in shown:
            shown += os.read(ours, 65_536)
        demo.send_signal(signal.SIGTERM)
        with contextlib.suppress(OSError):  # how a terminal says that nobody is left
            while more := os.read(ours, 65_536):
                shown += more
        os.close(ours)
        assert demo.wait(timeout=30) == 143
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l"), "the cursor is hidden"
    assert b"Traceback" not in shown
    assert b"interrupted (SIGTERM)" in shown


def test_an_interrupt_during_the_imports_is_no_traceback() -> None:
    program = """
import sys
from kraken_engine.__main__ import main
class Slow:
    def find_spec(self, name, *_):
        if name == "cyclopts":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Slow())
main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@contextmanager
def later(number: signal.Signals) -> Iterator[None]:
    """Send this process ``number`` in half a second."""
    before = signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(number))
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
