"""The kinds of faults of accounts and REST: commands the venue understands, and deeds that a world can see."""

from __future__ import annotations

import pytest
import trio

from kraken_engine.runtime import seeded_rng
from kraken_engine.sim.catalogue import CATALOGUE
from kraken_engine.sim.catalogue_accounts import ACCOUNT_CATALOGUE
from kraken_engine.sim.deterministic import run
from kraken_engine.sim.hooks_accounts import ACCOUNT_FAULTS
from kraken_engine.sim.plan import Fault, FaultKind
from kraken_engine.sim.world import open_world
from kraken_engine.venue.core.fault_params import read_params
from kraken_engine.venue.core.ports import RestRequest

KINDS = ACCOUNT_CATALOGUE.kinds


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.command], ids=lambda kind: kind.name)
def test_a_kind_is_a_command_the_venue_understands(kind: FaultKind) -> None:
    assert kind.command is not None
    for draw in range(50):
        params = dict(kind.draw(seeded_rng(draw), at_s=0).params)
        params.pop("for_s", None)
        if kind.aims_at is not None:
            params["account"] = "main"
        read_params(kind.command, params)


def test_names_are_unlike_those_of_other_faults() -> None:
    assert not {kind.name for kind in KINDS} & {kind.name for kind in CATALOGUE.kinds}
    assert {kind.place for kind in KINDS} == {"rest", "account"}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_kind_hits_a_world_with_an_account_and_an_order(kind: FaultKind) -> None:
    async def main() -> None:
        async with open_world(1) as world:
            operator = world.exchange.private.operator
            operator.place("main", symbol="BTC/USD", side="buy", count=3)
            await ACCOUNT_FAULTS.apply(world, kind.draw(seeded_rng(3), at_s=0))
            assert world.hits == ({kind.name: 1})
            assert all(not key.deleted for key in world.exchange.accounts.api_keys.values())

    run(1, main, horizon_s=400)


def test_a_fault_without_anything_to_hit_is_not_counted() -> None:
    async def main() -> None:
        async with open_world(1) as world:
            for name in ("fill", "unsolicited_cancel"):
                await ACCOUNT_FAULTS.apply(world, Fault(at_s=0, kind=name))
            assert not world.hits

    run(1, main, horizon_s=10)


def test_a_deleted_key_comes_back_when_its_time_is_over() -> None:
    async def main() -> None:
        async with open_world(1) as world:
            (key,) = world.exchange.accounts.keys_of("main")
            async with trio.open_nursery() as nursery:
                fault = Fault(at_s=0, kind="key_deleted", params={"for_s": 20.0})
                nursery.start_soon(ACCOUNT_FAULTS.apply, world, fault)
                await trio.sleep(19.0)
                assert key.deleted
            assert not key.deleted

    run(1, main, horizon_s=60)


def test_a_rest_fault_meets_the_next_request() -> None:
    async def main() -> None:
        async with open_world(1) as world:
            fault = Fault(at_s=0, kind="rest_limit", params={"error": "EAPI:Rate limit exceeded", "path": "/0/"})
            await ACCOUNT_FAULTS.apply(world, fault)
            request = RestRequest(method="GET", path="/0/public/Time")
            answer = world.exchange.rest(request, trio.current_time())
            assert answer.body == b'{"error":["EAPI:Rate limit exceeded"]}'

    run(1, main, horizon_s=10)
