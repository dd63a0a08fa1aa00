"""``venue`` prints where it listens, serves, and ends cleanly on a signal."""

from __future__ import annotations

import json
import signal
import urllib.request

import pytest
from tests.venue_process import venue_process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_exit_code_0(number: signal.Signals) -> None:
    with venue_process("--symbols", "1") as (addresses, process):
        assert addresses["ws"].startswith("ws://")
        process.send_signal(number)
        assert process.wait(timeout=30) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_its_rest_interface_answers_where_it_says(venue_addresses: dict[str, str]) -> None:
    with urllib.request.urlopen(f"{venue_addresses['rest']}/0/public/SystemStatus") as answer:
        assert json.load(answer)["result"]["status"] == "online"


def test_what_does_not_exist_yet_is_null(venue_addresses: dict[str, str | None]) -> None:
    assert venue_addresses["ws_v1"] is None
    assert venue_addresses["ca_file"] is None


def test_there_is_no_control_port_unless_asked_for() -> None:
    with venue_process() as (addresses, _):
        assert addresses["control"] is None
