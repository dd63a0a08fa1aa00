"""No nonce leaves whose mark may not be remembered."""

from __future__ import annotations

import attrs
import pytest
from tests.store.stores import HOME, FixedClock, on_disk

from kraken_engine import Config
from kraken_engine.errors import NotSent
from kraken_engine.runtime import Runtime, real_runtime
from kraken_engine.sim.disk import DiskFault, SimDisk
from kraken_engine.store.database import open_store
from kraken_engine.tasks.rest import open_rest


def world(disk: SimDisk, clock: FixedClock) -> Runtime:
    return attrs.evolve(real_runtime(), clock=clock, files=disk, workers=on_disk(disk).workers, environment={})


@pytest.mark.parametrize("fault", DiskFault)
async def test_on_a_disk_that_fails_no_signed_call_is_sent_and_public_ones_are(fault: DiskFault) -> None:
    disk = SimDisk()
    runtime = world(disk, FixedClock())
    async with (
        open_store(runtime, HOME) as store,
        open_rest(Config.simulated(), runtime=runtime, marks=store.nonces) as rest,
    ):
        disk.fault = fault
        with pytest.raises(NotSent):
            await rest.private.balance()
        await rest.public.time()
        disk.fault = None
        await rest.private.balance()
