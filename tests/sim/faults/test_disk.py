"""Rows 66 to 68 and 70 of the fault matrix: a disk that fails or lies, a client that is killed, and a second engine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
import trio

from kraken_engine.errors import NotSent
from kraken_engine.runtime import seeded_rng
from kraken_engine.secret import ApiKey, Secret
from kraken_engine.sim.deterministic import run
from kraken_engine.sim.disk import DiskFault
from kraken_engine.sim.durable_life import WARM_SHARE
from kraken_engine.sim.plan import Fault, Plan
from kraken_engine.sim.runner import Options, Report, simulate
from kraken_engine.sim.workers import SimWorkers
from kraken_engine.sim.world import World, WorldSettings, open_world
from kraken_engine.store.database import Store, open_store
from kraken_engine.tasks.rest import Rest, open_rest
from kraken_engine.venue.core.accounts.settings import TEST_KEY, TEST_SECRET

KEY = ApiKey(key=Secret(TEST_KEY), secret=Secret(TEST_SECRET))
OPTIONS = Options(minutes=2.0, profile="rest")


AFault = tuple[float, str, Mapping[str, Any]]
"""When, what, and its parameters."""


def played(name: str, *faults: AFault) -> Report:
    """Run the REST world under these faults, and demand that no judge objects."""
    plan = Plan(seed=name, horizon_s=120.0, faults=tuple(Fault(at_s=at, kind=k, params=dict(p)) for at, k, p in faults))
    report = simulate(name, plan, OPTIONS)
    assert report.violation is None, str(report.violation)
    assert sum(report.fault_kinds.values()) == len(faults)
    return report


def world_name(*, warm: bool) -> str:
    """Return the seed of a world whose checkpoints are of a market, or else bytes that nobody can mistake."""
    names = (f"disk {n}" for n in range(100))
    return next(name for name in names if (seeded_rng(f"{name}:durable life").random() < WARM_SHARE) is warm)


Alarms = list[str | None]


def with_store(scenario: Callable[[World, Store, Rest, Alarms], Awaitable[None]]) -> None:
    """Run ``scenario`` with a client whose marks are in a store, and what that says of its disk."""

    async def main() -> None:
        async with open_world(1, WorldSettings(symbols=1, rate=0.5, door="rest")) as world:
            alarms: Alarms = []
            async with (
                open_store(world.runtime, "/state", on_trouble=alarms.append) as store,
                open_rest(
                    world.config, runtime=world.runtime, key=KEY, tier="intermediate", marks=store.nonces
                ) as rest,
            ):
                await scenario(world, store, rest, alarms)

    run(1, main, horizon_s=3600)


@pytest.mark.parametrize("how", ["full", "read_only", "io_error", "fsync"])
def test_fault_66_a_failing_disk_stops_signed_calls_alone_and_is_told(how: str) -> None:
    """Nonce falls back to refusing REST signed calls; alarm; everything else goes on, and so do they afterwards."""

    async def scenario(world: World, store: Store, rest: Rest, alarms: Alarms) -> None:
        await rest.private.balance()
        if how == "fsync":
            world.disk.sync_fault = DiskFault.IO_ERROR
        else:
            world.disk.fault = DiskFault[how.upper()]
        await trio.sleep(120)  # the nonces below the mark are used up by the clock
        seen = len(_nonces(world))
        with pytest.raises(NotSent, match="cannot be saved, so nothing is signed"):
            await rest.private.balance()
        assert len(_nonces(world)) == seen
        assert [alarm is not None for alarm in alarms] == [True]
        await rest.public.system_status()
        world.disk.fault = world.disk.sync_fault = None
        await rest.private.balance()
        assert alarms[1:] == [None]
        assert len(_nonces(world)) == seen + 1

    with_store(scenario)


def test_fault_66_a_disk_that_is_slow_delays_signed_calls_and_nothing_else() -> None:
    async def scenario(world: World, store: Store, rest: Rest, alarms: Alarms) -> None:
        workers = world.runtime.workers
        assert isinstance(workers, SimWorkers)
        workers.wait_s = 3.0
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rest.private.balance)
            await rest.public.system_status()
            assert trio.current_time() - began < 0.5
        assert trio.current_time() - began > 0.5
        assert alarms == []

    with_store(scenario)


def test_fault_66_every_failing_step_of_the_disk_is_survived() -> None:
    hiccups = [(3.0 * n, "disk_hiccup", {"step": 1 + n % 20, "fault": ("IO_ERROR", "FULL")[n % 2]}) for n in range(30)]
    report = played(world_name(warm=False), *hiccups, (100.0, "restart", {}))
    assert report.sometimes["the disk failed and was told"] > 0


@pytest.mark.parametrize("how", ["flip", "scribble", "empty"])
def test_fault_67_a_damaged_checkpoint_means_the_one_before_and_that_is_said(how: str) -> None:
    damages = [(55.0, "disk_damage", {"file": "checkpoint.0", "how": how, "bit": 777})]
    report = played(world_name(warm=False), *damages, (56.0, "restart", {}))
    assert report.sometimes["a damaged checkpoint was told"] == 1
    assert report.sometimes["a checkpoint was found again"] > 0


def test_fault_67_a_damaged_store_is_refused_and_what_it_knew_is_not_guessed_at() -> None:
    # Not in the first page: while a store is open, its log has that one anew.
    damages: list[AFault] = [
        (30.0 * n, "disk_damage", {"file": "store.db", "how": "scribble", "bit": 440_000 * n}) for n in (1, 2, 3)
    ]
    kills: list[AFault] = [(30.0 * n + 0.1, "restart", {}) for n in (1, 2, 3)]
    report = played("damage", *sorted([*damages, *kills], key=lambda fault: fault[0]))
    assert report.sometimes["a damaged store was refused"] > 0


def test_fault_67_a_log_that_is_emptied_costs_what_was_in_it_and_no_nonce_comes_twice() -> None:
    empties: list[AFault] = [
        (30.0 * n, "disk_damage", {"file": "store.db-wal", "how": "empty", "bit": 0}) for n in (1, 2, 3)
    ]
    kills: list[AFault] = [(30.0 * n + 0.01, "restart", {}) for n in (1, 2, 3)]
    report = played("emptied", *sorted([*empties, *kills], key=lambda fault: fault[0]))
    assert report.sometimes["a mark was found again"] > 0


def test_fault_68_a_client_that_is_killed_finds_what_was_acknowledged() -> None:
    kills: list[AFault] = [(7.0 * n + 3, "restart", {}) for n in range(16)]
    report = played(world_name(warm=False), *kills)
    assert report.sometimes["a mark was found again"] >= 16
    assert report.sometimes["a checkpoint was found again"] >= 8


def test_fault_68_a_market_begins_with_what_it_knew_and_nothing_of_it_counts_as_current() -> None:
    report = played(world_name(warm=True), (50.0, "restart", {}), (90.0, "restart", {}))
    assert report.sometimes["a restored value was shown"] >= 2


@pytest.mark.parametrize("shares", ["directory", "key"])
def test_fault_70_a_second_engine_is_refused_and_told_who_is_there(shares: str) -> None:
    report = played(f"second {shares}", *((20.0 * n, "second_engine", {"shares": shares}) for n in range(1, 5)))
    assert report.sometimes["a second engine was refused"] == 4


def _nonces(world: World) -> list[int]:
    return [seen.nonce for key in world.exchange.accounts.api_keys.values() for seen in key.nonces]
