"""The kinds of the catalogue mean something to the parts they are applied to."""

import pytest

from kraken_engine.runtime import seeded_rng
from kraken_engine.sim.catalogue import CATALOGUE
from kraken_engine.sim.catalogue_accounts import ACCOUNT_CATALOGUE
from kraken_engine.sim.disk import DiskFault
from kraken_engine.sim.link import Conditions, changed
from kraken_engine.sim.plan import FaultKind, Plan, draw_plan
from kraken_engine.venue.core.fault_params import COMMANDS, read_params


def _of(place: str) -> list[FaultKind]:
    return [kind for kind in CATALOGUE.kinds if kind.place == place]


@pytest.mark.parametrize("kind", _of("venue"), ids=lambda kind: kind.name)
def test_a_kind_of_the_venue_is_a_command_the_venue_understands(kind: FaultKind) -> None:
    assert kind.command is not None
    for draw in range(50):
        params = dict(kind.draw(seeded_rng(draw), at_s=0).params)
        params.pop("for_s", None)
        if kind.aims_at in ("session", "subscription"):
            params["session"] = 1
        if kind.aims_at in ("symbol", "subscription"):
            params["symbol"] = "BTC/USD"
        read_params(kind.command, params)


def test_every_command_of_the_venue_has_a_kind() -> None:
    of_accounts = {kind.command for kind in ACCOUNT_CATALOGUE.kinds} - {None}
    assert set(COMMANDS) == {kind.command for kind in _of("venue")} | of_accounts


@pytest.mark.parametrize(
    "kind", [kind for kind in _of("network") if kind.aims_at == "link"], ids=lambda kind: kind.name
)
def test_what_a_kind_does_to_a_link_is_a_condition_that_makes_sense(kind: FaultKind) -> None:
    for draw in range(50):
        params = dict(kind.draw(seeded_rng(draw), at_s=0).params)
        params.pop("for_s", None)
        assert changed(Conditions(), params)


def test_the_errors_of_the_disk_are_known_to_the_disk() -> None:
    for draw in range(50):
        assert DiskFault[str(CATALOGUE.kind("disk_error").draw(seeded_rng(draw), at_s=0).params["fault"]).upper()]


def test_every_kind_is_drawn_by_some_seed_and_survives_json() -> None:
    drawn: dict[str, int] = {}
    for seed in range(40):
        plan = draw_plan(seed, 3600, CATALOGUE, faults_per_min=2)
        assert Plan.from_json(plan.to_json()) == plan
        for fault in plan.faults:
            drawn[fault.kind] = drawn.get(fault.kind, 0) + 1
    assert sorted(drawn) == sorted(kind.name for kind in CATALOGUE.kinds)


def test_rows_and_places_are_those_of_the_matrix() -> None:
    for kind in CATALOGUE.kinds:
        assert kind.place in ("network", "venue", "clock", "disk", "host")
        assert kind.aims_at in (None, "link", "session", "symbol", "subscription")
        assert 1 <= kind.number <= 74
        assert kind.weight > 0
