"""The keyboard ends every command cleanly: no traceback, and an exit code that says what happened."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from kraken_engine.cli.app import run


def started(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "kraken_engine", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_an_interrupted_watch_sums_up_what_it_saw(venue_addresses: dict[str, str]) -> None:
    with started("watch", "BTC/USD", "--ws-url", venue_addresses["ws"], "--json") as watch:
        assert watch.stdout is not None
        first = watch.stdout.readline()
        watch.send_signal(signal.SIGINT)
        rest, errors = watch.communicate(timeout=30)
    assert (watch.returncode, errors) == (0, "")
    lines = [json.loads(line) for line in [first, *rest.splitlines()]]
    assert lines[-1]["event"] == "summary"
    assert sum(lines[-1]["events"].values()) == len(lines) - 1


def test_an_interrupted_demo_says_nothing_more(capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        assert run(["demo", "--seconds", "600", "--json"]) == 130
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert capfd.readouterr() == ("", "")
