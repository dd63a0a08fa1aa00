"""A log line is one line, wide, without secrets; and a library says nothing unless it is asked to."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.canaries import CANARIES, forms

from kraken_engine.config import Config
from kraken_engine.errors import LineClosed, Stale
from kraken_engine.monitor.log import RedactingFormatter, log_event, log_to_standard_error, logger
from kraken_engine.normalise.events import Event, LineDown, LineUp, Live, Refused, Resync
from kraken_engine.runtime import error_lines
from kraken_engine.secret import HIDDEN, ApiKey, Secret
from kraken_engine.tasks.market import open_market


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What the engine's loggers say, from DEBUG up."""
    found: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(f"{record.levelname} {record.name} {record.getMessage()}")

    handler, log = Keep(), logging.getLogger("kraken_engine")
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    yield found
    log.removeHandler(handler)
    log.setLevel(level)


def test_a_line_says_what_happened_then_its_fields_in_order(lines: list[str]) -> None:
    logger("store").warning("disk full", free_bytes=0, path="/var/x", why='a "word"', none=None)
    expected = 'WARNING kraken_engine.store disk full free_bytes=0 path=/var/x why="a \\"word\\"" none=None'
    assert lines == [expected]


def test_fields_of_a_bound_logger_stand_in_every_line(lines: list[str]) -> None:
    logger("rest").bind(account="main").info("call", operation="Balance")
    assert lines == ["INFO kraken_engine.rest call account=main operation=Balance"]


@pytest.mark.parametrize(
    "name",
    ["key", "secret", "otp", "token", "api_key", "API-Key", "API-Sign", "nonce", "password", "ws_token", "apikey"],
)
def test_fields_named_like_secrets_are_emptied_even_if_nobody_made_them_one(lines: list[str], name: str) -> None:
    logger("rest").info("call", **{name: "hunter2", "headers": {name: "hunter2", "Host": "x"}})
    assert "hunter2" not in lines[0]
    assert lines[0].count(HIDDEN) == 2
    assert "Host" in lines[0]


def test_a_fingerprint_and_a_key_object_are_shown(lines: list[str]) -> None:
    key = ApiKey(key=Secret("name of a key"), secret=Secret("secret of a key"))
    logger("rest").info("call", fingerprint=key.fingerprint, who=key)
    assert lines == [f"INFO kraken_engine.rest call fingerprint={key.fingerprint} who=ApiKey({key.fingerprint})"]


def test_every_form_of_every_living_secret_is_taken_out_of_every_line(
    lines: list[str], canary_keys: tuple[ApiKey, ...], canary_tokens: tuple[Secret, ...]
) -> None:
    for name, text in CANARIES.items():
        held = Secret(text)
        for form in sorted(forms(text)):
            logger("rest").error(f"sent {form}", body=form, nested={"a": {"b": form}}, items=[form, (form,)])
            assert form not in lines[-1], name
        assert held


def test_an_exception_leaves_its_words_and_its_way_but_no_locals(lines: list[str]) -> None:
    hidden = "-".join(["hunter2", "local"])

    def fail(local: str) -> None:
        raise LineClosed("wss://host", 1006, "gone")

    try:
        fail(hidden)
    except LineClosed:
        logger("line").exception("line ended", line="market A")
    (line,) = lines
    assert "line=market A" not in line
    assert 'line="market A" error="LineClosed: wss://host: closed with 1006 (gone)" traceback=' in line
    assert "in fail" in line
    assert hidden not in line


def test_a_traceback_is_redacted_before_it_is_cut(lines: list[str]) -> None:
    secret = Secret("s" * 400 + "e" * 1_900)
    try:
        int(secret.reveal())
    except ValueError:
        logger("x").exception("failed")
    assert "e" * 50 not in lines[0]


@given(st.text())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nobody_writes_lines_of_their_own_into_the_log(lines: list[str], text: str) -> None:
    logger("x").info(text, field=text)
    logger("x").info("what", a=text + "\n2026-11-25 ERROR forged\x1b[31m")
    for line in lines[-2:]:
        assert line.isprintable() or " " in line
        assert "\n" not in line
        assert "\x1b" not in line


def test_records_of_other_libraries_are_redacted_by_the_formatter() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(RedactingFormatter())
    secret = Secret("a secret token of ours")
    log = logging.getLogger("another library")
    record = log.makeRecord(log.name, logging.INFO, "f", 1, "sent %s\nand %s", ("a secret token of ours", 5), None)
    handler.emit(record)
    assert stream.getvalue().endswith(f"INFO another library sent {HIDDEN}\\nand 5\n")
    assert secret


EVENTS: list[tuple[Event, str | None]] = [
    (LineUp(at_s=1.0, line="market A", connection=2), 'INFO line up at_s=1.0 line="market A" connection=2'),
    (
        LineDown(at_s=1.0, line="market A", reason="closed with 1006", failures=1, retry_in_s=0.5),
        'WARNING line down at_s=1.0 line="market A" reason="closed with 1006" failures=1 retry_in_s=0.5',
    ),
    (Resync(at_s=1.0, channel="book", symbol="A/B", reason="x", alarm=True), "WARNING resync at_s=1.0 channel=book"),
    (Resync(at_s=1.0, channel="book", symbol="A/B", reason="x"), "DEBUG resync at_s=1.0 channel=book"),
    (Refused(at_s=1.0, channel="book", symbol="A/B", error="no", final=True), "WARNING refused at_s=1.0 channel=book"),
    (Live(at_s=1.0, channel="book", symbol="A/B"), "DEBUG live at_s=1.0 channel=book symbol=A/B"),
    (Stale("book", "A/B", "quiet"), "DEBUG stale channel=book symbol=A/B why=quiet"),
]


@pytest.mark.parametrize(("event", "expected"), EVENTS)
def test_what_happens_to_lines_is_told_and_what_happens_to_symbols_is_for_debugging(
    lines: list[str], event: Event, expected: str
) -> None:
    log_event(logger("market"), event)
    (line,) = lines
    assert line.replace(" kraken_engine.market", "").startswith(expected)


async def test_a_market_logs_its_line_and_no_market_data(lines: list[str]) -> None:
    async with open_market(Config.simulated()):
        pass
    assert [line for line in lines if " line up " in line]
    assert not [line for line in lines if "ticker" in line and "live" not in line]


# --- who prints, and when -----------------------------------------------------------------------------------------


def run(code: str) -> tuple[str, str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # a real process
    return done.stdout, done.stderr


def test_a_library_prints_nothing_by_itself() -> None:
    code = "from kraken_engine.monitor.log import logger; logger('x').error('disk full')"
    assert run(code) == ("", "")


def test_the_command_line_writes_lines_to_standard_error_when_asked() -> None:
    code = "import sys; from kraken_engine.cli.app import run; sys.exit(run(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "--log", "info", "sim", "--seeds", "0:1", "--minutes", "0.05"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "violations" in done.stdout
    assert " INFO kraken_engine.market line up " in done.stderr
    assert all(line.isprintable() for line in done.stderr.splitlines())


@pytest.mark.parametrize(("option", "got"), [(["--log", "loud"], "loud"), (["--log=x"], "x"), (["--log"], "demo")])
def test_an_unknown_level_is_a_mistake(option: list[str], got: str, capsys: pytest.CaptureFixture[str]) -> None:
    from kraken_engine.cli.app import run as run_command

    assert run_command([*option, "demo"]) == 2
    assert f"--log: expected debug, info, warning, error, got {got}" in capsys.readouterr().err


def test_logging_to_standard_error_ends_with_its_block(capsys: pytest.CaptureFixture[str]) -> None:
    with log_to_standard_error("warning"):
        logger("x").info("not this")
        logger("x").warning("but this", number=5)
    logger("x").warning("not this either")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("WARNING kraken_engine.x but this number=5")


def test_a_reader_who_does_not_read_costs_lines_and_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    gate = threading.Event()

    class Stuck(io.StringIO):
        def write(self, text: str) -> int:
            gate.wait()
            return super().write(text)

    stuck = Stuck()
    monkeypatch.setattr(sys, "stderr", stuck)
    with error_lines(most_waiting=3, close_timeout_s=30) as write:
        for number in range(1_000):
            write(f"line {number}")
        gate.set()
    shown = stuck.getvalue().splitlines()
    assert shown[0] == "line 0" or "not written" in shown[0]
    told = [int(line.split()[0][1:]) for line in shown if "were not written" in line]
    assert sum(told) + len([line for line in shown if line.startswith("line ")]) == 1_000
