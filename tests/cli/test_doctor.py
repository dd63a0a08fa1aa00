"""``doctor`` says what is wrong before an engine depends on it, in words and as JSON, and its exit code agrees."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from kraken_engine.cli.doctor import Check, Doctor
from kraken_engine.config import AccountSettings, Config, RestSettings
from kraken_engine.rest.preflight import FORBIDDEN, Level
from kraken_engine.runtime import Runtime, real_runtime
from kraken_engine.secret import ApiKey, Secret
from kraken_engine.sim.clock import SimClock
from kraken_engine.store.database import open_store
from kraken_engine.store.locks import hold_key
from kraken_engine.venue.core.accounts.settings import PERMISSIONS, TEST_KEY, TEST_SECRET, KeySettings
from kraken_engine.venue.core.accounts.settings import AccountSettings as VenueAccount
from kraken_engine.venue.shells.memory import MemoryNetwork
from kraken_engine.venue.shells.server import VenueServer, VenueSettings, open_venue

KEY = ApiKey(key=Secret(TEST_KEY), secret=Secret(TEST_SECRET))
SAFE = tuple(name for name in PERMISSIONS if name not in FORBIDDEN)


@asynccontextmanager
async def examined(
    *, permissions: tuple[str, ...] = SAFE, wall_error_s: float = 0.0, account: bool = True
) -> AsyncGenerator[tuple[Doctor, VenueServer]]:
    network = MemoryNetwork()
    true = SimClock()
    runtime = attrs.evolve(real_runtime(), network=network, clock=true)
    ours = SimClock()
    ours.step(wall_error_s)
    settings = VenueSettings(
        symbols=2,
        rate=1.0,
        accounts=(VenueAccount(keys=(KeySettings(key=TEST_KEY, secret=TEST_SECRET, permissions=permissions),)),),
    )
    async with open_venue(runtime, settings) as venue:
        config = Config(
            rest=RestSettings(base_url=venue.rest_url, max_retries=0),
            symbols=("BTC/USD", "NEW/USD"),
            accounts={"main": AccountSettings(tier="intermediate")} if account else {},
        )
        yield Doctor(attrs.evolve(runtime, clock=ours), config, {"main": KEY}), venue


def level(checks: list[Check], name: str) -> Level:
    found = [check.level for check in checks if check.name == name]
    assert found, [check.name for check in checks]
    return next(level for level in (Level.FAIL, Level.WARN, Level.OK) if level in found)


async def test_what_is_well_is_said_to_be_well_and_a_missing_pair_is_named(autojump_clock: MockClock) -> None:
    async with examined() as (doctor, _):
        checks = await doctor.run()
    assert level(checks, "venue") is Level.OK
    assert level(checks, "clock") is Level.OK
    assert level(checks, "pair BTC/USD") is Level.OK
    assert level(checks, "pair NEW/USD") is Level.FAIL
    assert level(checks, "main: tier") is Level.OK
    assert level(checks, "main: key") is Level.WARN  # works from every address


@pytest.mark.parametrize("permissions", [PERMISSIONS, SAFE[1:]])
async def test_a_key_that_may_too_much_or_too_little_fails(
    autojump_clock: MockClock, permissions: tuple[str, ...]
) -> None:
    async with examined(permissions=permissions) as (doctor, _):
        assert level(await doctor.run(), "main: key") is Level.FAIL


@pytest.mark.parametrize(("error_s", "expected"), [(0.5, Level.OK), (10.0, Level.WARN), (-3600.0, Level.FAIL)])
async def test_a_clock_that_is_wrong_is_named_with_the_direction(
    autojump_clock: MockClock, error_s: float, expected: Level
) -> None:
    async with examined(wall_error_s=error_s) as (doctor, _):
        checks = await doctor.run()
    assert level(checks, "clock") is expected
    (text,) = [check.text for check in checks if check.name == "clock"]
    assert ("ahead of" in text) == (error_s > 0)


async def test_a_deleted_key_is_a_line_of_the_report_without_the_key(autojump_clock: MockClock) -> None:
    async with examined() as (doctor, venue):
        venue.exchange.faults.apply("delete_key", {}, trio.current_time())
        checks = await doctor.run()
    assert level(checks, "main: key") is Level.FAIL
    assert not any(TEST_KEY in check.text or TEST_SECRET in check.text for check in checks)


async def test_nonces_that_another_program_uses_up_are_a_line_of_the_report(autojump_clock: MockClock) -> None:
    async with examined() as (doctor, venue):
        venue.exchange.faults.apply("refuse_nonce", {"times": 100}, trio.current_time())
        checks = await doctor.run()
    assert level(checks, "main: nonces") is Level.FAIL


EMERGENCY = {"key": "an-emergency-key", "secret": TEST_SECRET}


@asynccontextmanager
async def with_keys(tmp_path: Path, *, emergency: tuple[str, ...] = ("close-trades",)) -> AsyncGenerator[Doctor]:
    """A doctor of an account whose keys, an ordinary and an emergency one, stand in the environment."""
    prefix = "KRAKEN_ENGINE_ACCOUNTS__MAIN__"
    environment = {
        "XDG_RUNTIME_DIR": str(tmp_path),
        f"{prefix}KEY": "an-ordinary-key",
        f"{prefix}SECRET": TEST_SECRET,
        f"{prefix}EMERGENCY_KEY": EMERGENCY["key"],
        f"{prefix}EMERGENCY_SECRET": EMERGENCY["secret"],
    }
    runtime = attrs.evolve(real_runtime(), network=MemoryNetwork(), clock=SimClock(), environment=environment)
    keys = (
        KeySettings(key="an-ordinary-key", secret=TEST_SECRET, permissions=SAFE),
        KeySettings(**EMERGENCY, permissions=emergency),
    )
    async with open_venue(runtime, VenueSettings(symbols=1, rate=1.0, accounts=(VenueAccount(keys=keys),))) as venue:
        config = Config(rest=RestSettings(base_url=venue.rest_url), accounts={"main": AccountSettings()})
        yield Doctor(runtime, config)


@pytest.mark.parametrize(
    ("permissions", "expected"),
    [(("close-trades",), Level.WARN), (("query-funds",), Level.FAIL), (("close-trades", "withdraw-funds"), Level.FAIL)],
)
async def test_an_emergency_key_is_examined_by_what_it_is_for(
    autojump_clock: MockClock, tmp_path: Path, permissions: tuple[str, ...], expected: Level
) -> None:
    async with with_keys(tmp_path, emergency=permissions) as doctor:
        checks = await doctor.run()
    assert level(checks, "main: key") is Level.WARN  # works from every address, as does the other one
    assert level(checks, "main (emergency key): key") is expected


async def test_a_key_that_an_engine_uses_is_left_alone_whatever_its_state_directory(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with with_keys(tmp_path) as doctor:
        fingerprint = ApiKey(key=Secret("an-ordinary-key"), secret=Secret(TEST_SECRET)).fingerprint
        with hold_key(doctor.runtime, fingerprint, "an engine of another state directory"):
            checks = await doctor.run()
    (found,) = [check for check in checks if check.name == "main: key"]
    assert found.level is Level.WARN
    assert "an engine of another state directory" in found.text
    assert level(checks, "main (emergency key): key") is Level.WARN


async def test_a_venue_out_of_reach_is_a_line_of_the_report(autojump_clock: MockClock) -> None:
    config = Config(rest=RestSettings(base_url="http://127.0.0.1:1", max_retries=0))
    checks = await Doctor(attrs.evolve(real_runtime(), network=MemoryNetwork()), config).run()
    assert level(checks, "venue") is Level.FAIL


async def test_the_state_directory_is_examined_and_one_in_use_is_left_alone(tmp_path: Path) -> None:
    runtime: Runtime = attrs.evolve(real_runtime(), network=MemoryNetwork())
    directory = str(tmp_path / "state")
    async with open_venue(runtime, VenueSettings(symbols=1, rate=1.0)) as venue:
        config = Config(
            rest=RestSettings(base_url=venue.rest_url), accounts={"main": AccountSettings()}, state_dir=directory
        )
        with trio.fail_after(60):
            checks = await Doctor(runtime, config, {"main": KEY}).run()
            assert level(checks, "main: nonces") is Level.OK
            async with open_store(runtime, directory):
                used = venue.exchange.accounts.api_keys[TEST_KEY].last_nonce
                checks = await Doctor(runtime, config, {"main": KEY}).run()
                assert level(checks, "disk") is Level.FAIL
                assert venue.exchange.accounts.api_keys[TEST_KEY].last_nonce == used  # nothing was signed


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kraken_engine", "doctor", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_examines_the_embedded_venue_and_ends_with_0() -> None:
    done = _run("--sim", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert report["ok"] is True
    assert {"venue", "clock", "pairs", "disk", "test: key"} <= {check["check"] for check in report["checks"]}


def test_the_command_ends_with_1_when_something_fails_and_says_it_in_words() -> None:
    done = _run("--rest-url", "http://127.0.0.1:9")
    assert done.returncode == 1
    assert "fail  venue" in done.stdout
    assert "127.0.0.1" in done.stdout
