"""Forty secrets that must never be seen, and a search for them in all that a test run leaves behind.

Two of them are the key of the simulated venue, with which every test signs; the others come from the fixtures
``canary_keys`` and ``canary_tokens``, for tests of whatever handles keys. Searched is what a curious reader could get
hold of: log records (of every library, from DEBUG up), warnings, captured output, failures with the locals of every
frame, and the files in the tests' temporary directories. A canary is seen as it stands, URL-encoded, in base64
(wherever it begins), in hex and escaped. Files named ``*.key`` are key files, and may hold keys.

One sighting fails the run. The last line says how much was searched. Loaded by ``tests/conftest.py``, or with
``-p tests.canaries``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import attrs
import pytest

from kraken_engine.secret import ApiKey, Secret
from kraken_engine.venue.core.accounts.settings import TEST_KEY, TEST_SECRET

MAX_FILE_BYTES = 16 * 1024 * 1024
MAX_SIGHTINGS = 50
MAX_WAITING_CHARACTERS = 1024 * 1024
KEY_PAIRS = 12


def _noise(name: str, count: int) -> bytes:
    return hashlib.shake_256(f"kraken-engine canary {name}".encode()).digest(count)


def _canaries() -> dict[str, str]:
    """Return the texts by name: keys and secrets of the venue's form, passwords with characters that are escaped."""
    found = {"key of the venue": TEST_KEY, "secret of the venue": TEST_SECRET}
    for number in range(KEY_PAIRS):
        found[f"key {number}"] = base64.b64encode(_noise(f"key {number}", 42)).decode()
        found[f"secret {number}"] = base64.b64encode(_noise(f"secret {number}", 64)).decode()
        found[f"password {number}"] = f'pa/ss+"w\\ö{_noise(f"password {number}", 9).hex()}'
    for number in range(2):
        found[f"token {number}"] = base64.b64encode(_noise(f"token {number}", 32)).decode().rstrip("=")
    return found


CANARIES = _canaries()


def forms(text: str) -> Iterator[str]:
    """Return the ways in which a text is commonly written. Not shared with the code under test, which has its own."""
    data = text.encode()
    yield from {text, quote(text), quote(text, safe=""), quote_plus(text), json.dumps(text)[1:-1], repr(text)[1:-1]}
    yield from {json.dumps(text, ensure_ascii=False)[1:-1], repr(data)[2:-1], data.hex(), data.hex().upper()}
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for before in range(3):
            coded = encode(b"\0" * before + data + b"\0\0\0").decode()
            yield coded[-(-before * 8 // 6) : (before + len(data)) * 8 // 6]


FORMS = {form: name for name, text in CANARIES.items() for form in forms(text)}
BYTE_FORMS = {form.encode(): name for form, name in FORMS.items()}


def sightings(text: str | bytes) -> set[str]:
    """Return the names of the canaries in ``text``."""
    if isinstance(text, bytes):
        return {name for form, name in BYTE_FORMS.items() if form in text}
    return {name for form, name in FORMS.items() if form in text}


def with_locals(error: BaseException) -> str:
    """Return the traceback of ``error`` with the locals of every frame, as far as they can be written out."""
    try:
        return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    except Exception:  # noqa: BLE001 - some object's own repr fails
        return "".join(traceback.format_exception(error))


@attrs.define
class Watch:
    """What was searched, and what was found; never the text itself."""

    searched: dict[str, int] = attrs.field(factory=dict)
    found: list[str] = attrs.field(factory=list)
    used: int = 0
    """Times that canaries were handed to a test."""

    def look(self, kind: str, where: str, text: str | bytes) -> None:
        self.count(kind, 1)
        self.find(kind, where, text)

    def count(self, kind: str, looked_at: int) -> None:
        self.searched[kind] = self.searched.get(kind, 0) + looked_at

    def find(self, kind: str, where: str, text: str | bytes) -> None:
        if len(self.found) < MAX_SIGHTINGS:
            self.found += [f"{name} in {kind} of {where}" for name in sorted(sightings(text))]

    def add(self, other: dict[str, Any]) -> None:
        """Take over what another process saw."""
        for kind, count in other["searched"].items():
            self.count(kind, count)
        self.found += other["found"]
        self.used += other["used"]

    def summary(self) -> str:
        searched = ", ".join(f"{count} {kind}" for kind, count in sorted(self.searched.items())) or "nothing"
        planted = f"{len(CANARIES)} planted, handed out {self.used} times"
        return f"canaries: {planted}; searched {searched}; {len(self.found)} sightings"


class _Records(logging.Handler):
    """Sees every record of every logger, and searches many at once: each search is for hundreds of forms."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(logging.DEBUG)
        self._watch = watch
        self._formatter = logging.Formatter("%(name)s %(message)s")
        self._waiting: list[tuple[str, str]] = []
        self._length = 0

    def emit(self, record: logging.LogRecord) -> None:
        extra = {name: value for name, value in vars(record).items() if name not in _USUAL}
        text = f"{self._formatter.format(record)} {record.args!r} {extra!r}"
        self._waiting.append((f"{record.name}:{record.lineno}", text))
        self._length += len(text)
        if self._length > MAX_WAITING_CHARACTERS:
            self.search()

    def search(self) -> None:
        """Search what has come since the last search; where something is in it, record by record."""
        waiting, self._waiting, self._length = self._waiting, [], 0
        if not waiting:
            return
        self._watch.count("log records", len(waiting))
        if sightings("\n".join(text for _, text in waiting)):
            for where, text in waiting:
                self._watch.find("log records", where, text)


_USUAL = frozenset(vars(logging.makeLogRecord({})))
_WATCH = Watch()
_RECORDS = _Records(_WATCH)


def pytest_configure(config: pytest.Config) -> None:
    root = logging.getLogger()
    root.addHandler(_RECORDS)
    root.setLevel(logging.DEBUG)


def pytest_unconfigure(config: pytest.Config) -> None:
    logging.getLogger().removeHandler(_RECORDS)


def pytest_warning_recorded(warning_message: Any, nodeid: str) -> None:
    _WATCH.look("warnings", nodeid, str(warning_message.message))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report: Any = yield
    _RECORDS.search()
    for name, content in report.sections:
        _WATCH.look("captured outputs", f"{item.nodeid} ({name})", content)
    if call.excinfo is not None and not isinstance(call.excinfo.value, pytest.skip.Exception):
        _WATCH.look("failures", item.nodeid, with_locals(call.excinfo.value) + report.longreprtext)
    return report  # type: ignore[no-any-return]


def pytest_sessionfinish(session: pytest.Session) -> None:
    _RECORDS.search()
    factory = getattr(session.config, "_tmp_path_factory", None)
    base: Path | None = getattr(factory, "_basetemp", None)
    if base is not None and not session.config.pluginmanager.hasplugin("dsession"):  # else each process has its own
        for path in sorted(base.rglob("*")):
            _search_file(path, base)
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["canaries"] = attrs.asdict(_WATCH)
    elif _WATCH.found:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _search_file(path: Path, base: Path) -> None:
    relative = str(path.relative_to(base))
    _WATCH.look("file names", "the temporary directory", relative)
    if path.is_symlink() or not path.is_file() or path.suffix == ".key":
        return
    try:
        content = path.read_bytes() if path.stat().st_size <= MAX_FILE_BYTES else b""
    except OSError:
        return  # a test took away the right to read it
    _WATCH.look("files", relative, content)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Take over what a process of pytest-xdist saw."""
    found = getattr(node, "workeroutput", {}).get("canaries")
    if found is not None:
        _WATCH.add(found)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    terminalreporter.write_line(_WATCH.summary())
    for what in _WATCH.found[:MAX_SIGHTINGS]:
        terminalreporter.write_line(f"SEEN {what}")


@pytest.fixture
def canary_keys() -> tuple[ApiKey, ...]:
    """Keys that must never be seen."""
    _WATCH.used += 3 * KEY_PAIRS
    return tuple(
        ApiKey(
            key=Secret(CANARIES[f"key {number}"]),
            secret=Secret(CANARIES[f"secret {number}"]),
            otp=Secret(CANARIES[f"password {number}"]),
        )
        for number in range(KEY_PAIRS)
    )


@pytest.fixture
def canary_tokens() -> tuple[Secret, ...]:
    """Tokens that must never be seen."""
    _WATCH.used += 2
    return (Secret(CANARIES["token 0"]), Secret(CANARIES["token 1"]))
