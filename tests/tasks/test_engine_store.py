"""An engine with a state directory remembers, says how the disk is doing, and shares neither directory nor key."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
import trio
import trio.testing
from tests.store.stores import on_disk

from kraken_engine import Config, Health, StoreNotice, open_engine
from kraken_engine.config import AccountSettings
from kraken_engine.errors import StoreCorrupt, StoreError, StoreLocked, UsageError
from kraken_engine.feed.subscription import Subscription
from kraken_engine.model import Source
from kraken_engine.normalise.events import SourceChanged
from kraken_engine.runtime import Runtime, real_runtime
from kraken_engine.secret import ApiKey
from kraken_engine.sim.disk import DiskFault, SimDisk

STATE = "/var/lib/kraken"


@pytest.fixture
def disk() -> SimDisk:
    return SimDisk()


def world(disk: SimDisk) -> Runtime:
    return attrs.evolve(real_runtime(), files=disk, workers=on_disk(disk).workers, environment={})


def config(state_dir: str | None = STATE, **accounts: AccountSettings) -> Config:
    return attrs.evolve(Config.simulated(symbols=1), state_dir=state_dir, accounts=accounts)


def write_key(disk: SimDisk, key_text: tuple[str, str]) -> AccountSettings:
    disk.write_private("/main.key", "key = {}\nsecret = {}\n".format(*key_text).encode())
    return AccountSettings(name="main", key_file="/main.key")


async def next_store_notice(health: Subscription) -> StoreNotice:
    with trio.fail_after(30):
        async for event in health:
            if isinstance(event, StoreNotice):
                return event
    raise AssertionError("the stream ended")


async def test_without_a_state_directory_nothing_is_kept(disk: SimDisk) -> None:
    async with open_engine(config(None), runtime=world(disk)) as engine:
        assert engine.store is None
    assert disk.list_directory("/") == []


async def test_what_an_engine_keeps_the_next_one_finds(disk: SimDisk) -> None:
    async with open_engine(config(), runtime=world(disk)) as engine:
        assert engine.store is not None
        assert engine.store.opened.created
        await engine.store.nonces.raise_mark("k", 5)
    async with open_engine(config(), runtime=world(disk)) as engine:
        assert engine.store is not None
        assert not engine.store.opened.created
        assert await engine.store.nonces.mark("k") == 5
        assert await engine.store.connects.load() == ()  # the embedded venue bans nobody


async def test_a_second_engine_on_the_directory_is_refused(disk: SimDisk) -> None:
    async with open_engine(config(), runtime=world(disk)):
        with pytest.raises(StoreLocked, match=f"{STATE}: expected to be alone"):
            async with open_engine(config(), runtime=world(disk)):
                pass


async def test_a_second_engine_with_the_key_is_refused_whatever_its_directory(
    disk: SimDisk, canary_keys: tuple[ApiKey, ...]
) -> None:
    from tests.canaries import CANARIES

    account = write_key(disk, (CANARIES["key 0"], CANARIES["secret 0"]))
    expected = (
        f"^key {canary_keys[0].fingerprint}: expected to be its only user, but .* account main, state directory {STATE}"
    )
    async with open_engine(config(main=account), runtime=world(disk)):
        with pytest.raises(StoreLocked, match=expected):
            async with open_engine(config("/other", main=account), runtime=world(disk)):
                pass
    async with open_engine(config("/other", main=account), runtime=world(disk)):
        pass


async def test_the_key_of_the_embedded_venue_is_everybodys(disk: SimDisk) -> None:
    async with open_engine(config(), runtime=world(disk)), open_engine(config("/other"), runtime=world(disk)):
        pass


async def test_readers_are_told_when_the_disk_begins_to_fail_and_when_it_ends(disk: SimDisk) -> None:
    async with (
        open_engine(config(), runtime=world(disk)) as engine,
        engine.feed.subscribe(Health()) as health,
    ):
        assert engine.store is not None
        disk.fault = DiskFault.FULL
        with pytest.raises(StoreError):
            await engine.store.nonces.raise_mark("k", 5)
        notice = await next_store_notice(health)
        assert (notice.failing, notice.what) == (True, f"{STATE}/store.db: cannot write: the disk is full")
        disk.fault = None
        await engine.store.nonces.raise_mark("k", 5)
        notice = await next_store_notice(health)
        assert (notice.failing, notice.what) == (False, "writes succeed again")


async def test_what_is_wrong_with_the_disk_ends_the_start_in_its_own_words(disk: SimDisk, tmp_path: Path) -> None:
    disk.fault = DiskFault.READ_ONLY
    with pytest.raises(StoreError, match=f"{STATE}/store.db: cannot open: /var: EROFS"):
        async with open_engine(config(), runtime=world(disk)):
            pass


def switch(reason: str) -> SourceChanged:
    return SourceChanged(at_s=1.0, channel="book", symbol="A/B", source=Source.REST, reason=reason)


async def test_changes_of_source_are_on_record_across_restarts(disk: SimDisk) -> None:
    async with open_engine(config(), runtime=world(disk)) as engine:
        assert await engine.switches() == ()
        for n in range(20):
            engine.market.publisher.publish(("book", "A/B"), switch(f"no line {n}"))
        # Left at once: what waits for the disk is written all the same.
    async with open_engine(config(), runtime=world(disk)) as engine:
        found = await engine.switches(last=3)
        assert [(each.number, each.reason) for each in found] == [(n + 1, f"no line {n}") for n in (17, 18, 19)]
        assert (found[0].channel, found[0].symbol, found[0].source) == ("book", "A/B", "rest")
        assert len(await engine.switches()) == 20
        with pytest.raises(UsageError, match="last: expected 1 or more, got 0"):
            await engine.switches(last=0)
        assert engine.store is not None
        await engine.store.history("failover").append(b"of another kind")
        with pytest.raises(StoreCorrupt, match="history failover: entry 21"):
            await engine.switches()


async def test_without_a_state_directory_there_is_no_record_of_switches(disk: SimDisk) -> None:
    async with open_engine(config(None), runtime=world(disk)) as engine:
        with pytest.raises(UsageError, match="expected a state directory"):
            await engine.switches()
