"""A plan is drawn from its seed alone, and survives JSON; what is no plan is refused with the place."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.errors import DecodeError, UsageError
from kraken_engine.sim.plan import MOST_FAULTS, Burst, Catalogue, Choice, Fault, FaultKind, Number, Plan, draw_plan

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
seconds = st.floats(0, 1e6)
values = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=5), st.integers(-(2**53), 2**53), st.floats(-1e6, 1e6), st.booleans()
)
faults = st.builds(
    Fault, at_s=seconds, kind=names, target=st.integers(0, 999), params=st.dictionaries(names, values, max_size=3)
)
plans = st.builds(
    Plan,
    seed=names,
    horizon_s=seconds,
    faults=st.lists(faults, max_size=6).map(lambda drawn: tuple(sorted(drawn, key=lambda fault: fault.at_s))),
)

CATALOGUE = Catalogue(
    [
        FaultKind(name="reset_peer", number=5, weight=5),
        FaultKind(
            name="latency", number=11, parameters={"latency_s": Number(0.5, 5, log=True), "for_s": Number(1, 60)}
        ),
        FaultKind(
            name="close", number=32, parameters={"code": Choice((1000, 1001, 1012)), "times": Number(1, 3, whole=True)}
        ),
    ]
)


@given(plans)
def test_a_plan_survives_json(plan: Plan) -> None:
    assert Plan.from_json(plan.to_json()) == plan


@given(plans)
def test_a_plan_in_json_has_one_line_for_each_fault(plan: Plan) -> None:
    assert len(plan.to_json().splitlines()) == (2 + len(plan.faults) if plan.faults else 1)


def test_faults_written_by_hand_are_put_in_order_of_time() -> None:
    plan = Plan.from_json(
        '{"seed": "x", "horizon_s": 9, "faults": [{"at_s": 2, "kind": "b"}, {"at_s": 1, "kind": "a"}]}'
    )
    assert plan.faults == (Fault(at_s=1, kind="a"), Fault(at_s=2, kind="b"))


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", "$"),
        ("[1]", "$"),
        ('"\\ud800"', "$"),
        ("[" * 100_000, "$"),
        ('{"seed": "x"}', "$.horizon_s"),
        ('{"seed": 1, "horizon_s": 9}', "$.seed"),
        ('{"seed": "x", "horizon_s": -1}', "$.horizon_s"),
        ('{"seed": "x", "horizon_s": "9"}', "$.horizon_s"),
        ('{"seed": "x", "horizon_s": true}', "$.horizon_s"),
        ('{"seed": "x", "horizon_s": 9, "sed": 1}', "$"),
        ('{"seed": "x", "horizon_s": 9, "faults": {}}', "$.faults"),
        ('{"seed": "x", "horizon_s": 9, "faults": [1]}', "$.faults[0]"),
        ('{"seed": "x", "horizon_s": 9, "faults": [{"kind": "a"}]}', "$.faults[0].at_s"),
        ('{"seed": "x", "horizon_s": 9, "faults": [{"at_s": 1, "kind": 2}]}', "$.faults[0].kind"),
        ('{"seed": "x", "horizon_s": 9, "faults": [{"at_s": 1, "kind": "a", "target": -1}]}', "$.faults[0].target"),
        ('{"seed": "x", "horizon_s": 9, "faults": [{"at_s": 1, "kind": "a", "params": []}]}', "$.faults[0].params"),
        (
            '{"seed": "x", "horizon_s": 9, "faults": [{"at_s": 1, "kind": "a", "params": {"p": null}}]}',
            "$.faults[0].params.p",
        ),
    ],
)
def test_what_is_no_plan_is_refused_with_the_place(text: str, path: str) -> None:
    with pytest.raises(DecodeError) as caught:
        Plan.from_json(text)
    assert caught.value.path == path


@given(st.text() | st.binary())
def test_any_text_is_a_plan_or_a_decode_error(text: str | bytes) -> None:
    try:
        Plan.from_json(text)
    except DecodeError:
        return


@given(st.integers(), st.floats(1, 600), st.floats(0.1, 12))
def test_a_plan_is_drawn_from_its_seed_alone_and_fits_its_catalogue(seed: int, horizon_s: float, rate: float) -> None:
    plan = draw_plan(seed, horizon_s, CATALOGUE, faults_per_min=rate)
    assert plan == draw_plan(seed, horizon_s, CATALOGUE, faults_per_min=rate)
    assert Plan.from_json(plan.to_json()) == plan
    assert [fault.at_s for fault in plan.faults] == sorted(fault.at_s for fault in plan.faults)
    for fault in plan.faults:
        assert 0 <= fault.at_s < horizon_s
        kind = CATALOGUE.kind(fault.kind)
        assert list(fault.params) == list(kind.parameters)
        for name, value in fault.params.items():
            parameter = kind.parameters[name]
            if isinstance(parameter, Choice):
                assert value in parameter.options
            else:
                assert isinstance(value, (int, float))
                assert parameter.low <= value <= parameter.high
                assert isinstance(value, int) == parameter.whole


def test_each_seed_enables_its_own_subset_of_the_kinds() -> None:
    subsets = {
        tuple(sorted({fault.kind for fault in draw_plan(seed, 3600, CATALOGUE, faults_per_min=10).faults}))
        for seed in range(60)
    }
    assert len(subsets) == 7


def test_the_rate_and_the_weights_hold_on_average() -> None:
    plan = draw_plan(1, 600_000, CATALOGUE.only(["reset_peer", "latency"]), faults_per_min=1)
    assert len(plan.faults) == pytest.approx(10_000, rel=0.05)
    both = [draw_plan(seed, 6000, CATALOGUE.only(["reset_peer", "latency"]), faults_per_min=6) for seed in range(9)]
    drawn = [fault.kind for plan in both if len({fault.kind for fault in plan.faults}) == 2 for fault in plan.faults]
    assert drawn.count("reset_peer") / drawn.count("latency") == pytest.approx(5, rel=0.2)


def test_a_burst_is_the_same_again_at_the_same_target_and_moves_nothing_else() -> None:
    burst = Burst(share=0.5, count=Number(2, 4, whole=True), every_s=Number(1, 3))
    kinds = [attrs.evolve(kind, burst=burst if kind.name == "close" else None) for kind in CATALOGUE.kinds]
    longest = 0
    for seed in range(20):
        alone = draw_plan(seed, 600, CATALOGUE, faults_per_min=6).faults
        bursting = draw_plan(seed, 600, Catalogue(kinds), faults_per_min=6).faults
        assert [fault for fault in bursting if fault in alone] == list(alone)
        assert [fault.at_s for fault in bursting] == sorted(fault.at_s for fault in bursting)
        closes = {(fault.target, str(fault.params)) for fault in alone if fault.kind == "close"}
        followers = [fault for fault in bursting if fault not in alone]
        assert all((fault.target, str(fault.params)) in closes and fault.at_s < 600 for fault in followers)
        longest = max(longest, len(followers))
    assert longest > 4


def test_no_kinds_or_no_rate_is_a_plan_without_faults() -> None:
    assert draw_plan(1, 3600, Catalogue([]), faults_per_min=10).faults == ()
    assert draw_plan(1, 3600, CATALOGUE, faults_per_min=0).faults == ()


def test_a_plan_has_a_bounded_number_of_faults() -> None:
    assert len(draw_plan(1, 1e9, CATALOGUE, faults_per_min=1e6).faults) == MOST_FAULTS


async def test_a_bound_kind_is_applied_to_the_world() -> None:
    seen: list[tuple[object, Fault]] = []

    async def hook(world: object, fault: Fault) -> None:
        seen.append((world, fault))

    bound = CATALOGUE.bound({"latency": hook})
    assert [kind.name for kind in bound.kinds] == ["latency"]
    fault = Fault(at_s=1, kind="latency")
    await bound.apply("world", fault)
    assert seen == [("world", fault)]


async def test_what_is_not_in_the_catalogue_or_not_bound_is_an_error() -> None:
    async def hook(world: object, fault: Fault) -> None: ...

    with pytest.raises(UsageError, match="reset_peer, latency, close"):
        CATALOGUE.bound({"latencie": hook})
    with pytest.raises(UsageError, match="nobody bound"):
        await CATALOGUE.apply(None, Fault(at_s=1, kind="latency"))
    with pytest.raises(UsageError, match="two kinds"):
        Catalogue([*CATALOGUE.kinds, attrs.evolve(CATALOGUE.kinds[0])])
