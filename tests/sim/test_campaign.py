"""Campaigns: a quick set of seeds on every commit, kept plans of old failures, small plans for new ones."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.sim.hunt_mutants import PLANS as MUTANT_PLANS
from tests.sim.hunt_mutants import options_for
from tests.sim.mutants_of_accounts import MUTANTS_OF_ACCOUNTS

from kraken_engine.cli.app import run
from kraken_engine.cli.sim import told_of
from kraken_engine.config import Config
from kraken_engine.errors import UsageError
from kraken_engine.sim.campaign import Campaign, Failure, run_campaign, shrink_report
from kraken_engine.sim.hooks import FAULTS
from kraken_engine.sim.judges.coverage import SOMETIMES
from kraken_engine.sim.judges.streams import StreamJudge
from kraken_engine.sim.plan import Fault, FaultKind, Number, Plan
from kraken_engine.sim.runner import Options, plan_for, simulate
from kraken_engine.sim.scenario import REFUSED_S
from kraken_engine.sim.shrink import Shrunk
from kraken_engine.sim.trace import Trace
from kraken_engine.sim.world import WorldSettings

PLANS = sorted((Path(__file__).parent / "plans").glob("*.json"))
QUICK = Options(minutes=2)
ONE_LINE = Options(minutes=2, settings=WorldSettings())


@pytest.mark.parametrize("profile", ["mixed", "storm"])
def test_a_quick_set_of_seeds_violates_nothing(profile: str) -> None:
    campaign = run_campaign(range(1000, 1004), Options(minutes=2, profile=profile))
    assert [str(failure.smallest.violation) for failure in campaign.violations] == []
    assert len(campaign.trace_hashes) == 4
    assert set(campaign.sometimes.counts()) == set(SOMETIMES)


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
@pytest.mark.parametrize("settings", [WorldSettings(), WorldSettings(config=Config())], ids=["one line", "two lines"])
def test_what_was_once_found_stays_fixed(path: Path, settings: WorldSettings) -> None:
    plan = Plan.from_json(path.read_bytes())
    report = simulate(plan.seed, plan, Options(settings=settings))
    assert report.violation is None, str(report.violation)


def test_a_seed_gives_the_same_run_again_and_another_seed_another() -> None:
    first, again, other = (simulate(seed, None, QUICK) for seed in (7, 7, 8))
    assert first.digest == again.digest
    assert first.market_digest == again.market_digest
    assert first.digest != other.digest


def test_the_hash_seed_of_python_makes_no_difference() -> None:
    program = "from kraken_engine.cli.app import run; run(['sim', '--seeds', '3:5', '--minutes', '1', '--json'])"
    hashes: list[dict[str, str]] = []
    for hash_seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)
        hashes.append(json.loads(done.stdout)["trace_hashes"])
    assert list(hashes[0]) == ["3", "4"]
    assert hashes[0] == hashes[1]


def test_the_wall_clock_changes_nothing_that_is_published() -> None:
    clocks = Plan(
        seed="5",
        horizon_s=60,
        faults=(
            Fault(at_s=5, kind="clock_step", params={"by_s": 3600.0}),
            Fault(at_s=10, kind="clock_drift", params={"rate": 0.01, "for_s": 30.0}),
            Fault(at_s=20, kind="venue_close", params={"mode": "close", "code": 1012}),
            Fault(at_s=40, kind="clock_step", params={"by_s": -3600.0}),
        ),
    )
    report = simulate("5", clocks)
    assert report.violation is None
    assert report.fault_kinds["clock_step"] == 2
    still = Plan(
        seed="5",
        horizon_s=60,
        faults=tuple(
            Fault(at_s=f.at_s, kind=f.kind, target=f.target, params={**f.params, "by_s": 0.0, "rate": 0.0})
            if f.kind.startswith("clock")
            else f
            for f in clocks.faults
        ),
    )
    assert simulate("5", still).market_digest == report.market_digest


def test_every_other_seed_may_be_shorter_and_the_rest_stay_as_they_are() -> None:
    horizons = [plan_for(seed, Options(minutes=10, vary=True)).horizon_s for seed in range(200)]
    short = [horizon for horizon in horizons if horizon < 600]
    assert 70 <= len(short) <= 130
    assert min(short) >= 120
    assert max(short) - min(short) > 300
    for seed in (0, 1, 2, 3):
        if horizons[seed] == 600:
            assert plan_for(seed, Options(minutes=10, vary=True)) == plan_for(seed, Options(minutes=10))
    assert {plan_for(seed, Options(minutes=1, vary=True)).horizon_s for seed in range(20)} == {60}


def test_a_plan_without_faults_reaches_no_hard_case_and_calls_nothing_stale() -> None:
    report = simulate(1, None, Options(minutes=1, profile="none"))
    assert report.violation is None
    assert report.fault_kinds == {}
    assert report.sometimes["a gap was healed by a snapshot"] == report.sometimes["the depth of a book changed"]


def test_a_fault_that_finds_nothing_to_hit_is_not_counted() -> None:
    down = Fault(at_s=1, kind="down", params={"for_s": 20.0})
    late = Fault(at_s=5, kind="venue_abort", params={"mode": "abort"})
    report = simulate(1, Plan(seed="1", horizon_s=30, faults=(down, late)))
    assert report.fault_kinds == {"down": 1}


def _numeric(kind: FaultKind) -> list[str]:
    return [name for name, parameter in kind.parameters.items() if isinstance(parameter, Number)]


@pytest.mark.parametrize("kind", [kind.name for kind in FAULTS.kinds if _numeric(kind) and kind.aims_at != "link"])
def test_parameters_that_make_no_sense_are_a_usage_error(kind: str) -> None:
    wanted = FAULTS.kind(kind).parameters
    plan = Plan(seed="1", horizon_s=5, faults=(Fault(at_s=1, kind=kind, params=dict.fromkeys(wanted, "soon")),))
    with pytest.raises(UsageError, match="expected"):
        simulate("1", plan)


def test_a_kind_that_does_not_exist_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="earthquake"):
        simulate("1", Plan(seed="1", horizon_s=5, faults=(Fault(at_s=1, kind="earthquake"),)))


def test_a_failure_is_shrunk_to_the_fault_that_makes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kraken_engine.feed.publisher.Publisher.suspect", lambda *_, **__: None)
    silent = Fault(at_s=10, kind="forget")
    others = tuple(Fault(at_s=at, kind="unknown_message", params={"text": "{}"}) for at in (2.0, 12.0))
    report = simulate("1", Plan(seed="1", horizon_s=30, faults=(others[0], silent, others[1])), ONE_LINE)
    assert report.violation is not None
    assert report.violation.invariant == "I-6"
    failure = shrink_report(report, ONE_LINE)
    assert [fault.kind for fault in failure.shrunk.plan.faults] == ["forget"]
    campaign = Campaign()
    campaign.add(report)
    campaign.violations.append(failure)
    (found,) = json.loads(json.dumps(campaign.as_json()))["violations"]
    assert found["invariant"] == "I-6"


def test_the_command_tells_a_failure_so_that_it_can_be_replayed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("kraken_engine.state.arbitration.Arbiter._tell_stale", lambda *_, **__: None)
    assert run(["sim", "--seeds", "11:12", "--minutes", "1"]) == 1
    told = capsys.readouterr().out
    for words in ("VIOLATION I-6", "commit: ", "options: --minutes 1 --profile mixed", "last events:", "--replay 11 "):
        assert words in told
    plan = told[told.index('{"seed"') : told.index("]}") + 2]
    (tmp_path / "plan.json").write_text(plan)
    monkeypatch.chdir(tmp_path)
    assert run([*_replay_told(told.splitlines()), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["violations"][0]["invariant"] == "I-6"


def _replay_told(lines: list[str]) -> list[str]:
    """Return the arguments of the command that replays a plan, as it was told."""
    (told,) = [line for line in lines if line.startswith("replay: ")]
    return told.removeprefix("replay: kraken-engine ").split()


def test_a_failure_is_told_with_its_commit_its_last_events_and_a_command_for_its_world(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    MUTANTS_OF_ACCOUNTS["fill_told_twice"](monkeypatch)
    plan = Plan.from_json((MUTANT_PLANS / "fill_told_twice.json").read_bytes())
    options = options_for("fill_told_twice")
    report = simulate(plan.seed, plan, options)
    failure = Failure(report=report, shrunk=Shrunk(plan=plan, runs=1, minimal=True), smallest=report)
    told = told_of(failure, options)
    (commit,) = [line.removeprefix("commit: ") for line in told if line.startswith("commit: ")]
    assert re.fullmatch("[0-9a-f]{40}|of version .*", commit)
    assert told[told.index("last events:") + len(report.tail)].endswith("VIOLATION I-13")
    assert "'Fill'" in report.tail[-2]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan.json").write_text(plan.to_json())
    assert run([*_replay_told(told), "--json"]) == 1
    again = json.loads(capsys.readouterr().out)
    assert report.violation is not None
    assert again["violations"][0]["what"] == report.violation.what
    assert again["trace_hashes"] == {plan.seed: report.digest}


def test_an_exception_that_ends_a_run_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StreamJudge, "check", lambda _: 1 / 0)
    report = simulate("1", Plan(seed="1", horizon_s=1), ONE_LINE)
    assert report.violation is not None
    assert report.violation.invariant == "X-0"
    assert "ZeroDivisionError" in report.violation.what
    assert report.tail


def test_a_clock_that_shows_in_what_is_published_is_found_again_when_it_is_replayed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    stepped = Fault(at_s=2, kind="clock_step", params={"by_s": 40.0})
    (tmp_path / "plan.json").write_text(Plan(seed="1", horizon_s=5, faults=(stepped,)).to_json())
    digests = itertools.count()
    monkeypatch.setattr(Trace, "digest", lambda _: f"another one: {next(digests)}")
    assert run(["sim", "--replay", str(tmp_path / "plan.json"), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["violations"][0]["invariant"] == "I-28"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seeds", "5"], "seeds: expected A:B"),
        (["--seeds", "5:5"], "1 to 1000000 seeds, got 0"),
        (["--minutes", "0"], "minutes"),
        (["--profile", "calm"], "profile"),
        (["--replay", "nowhere.json"], "nowhere.json: No such file"),
        (["--replay", "58.txt"], "58.txt: No such file"),
    ],
)
def test_wrong_arguments_are_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sim", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_the_summary_counts_what_was_simulated(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sim", "--seeds", "0:2", "--minutes", "0.5", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["seeds"] == 2
    assert summary["violations"] == []
    # Half a minute of faults and 50 s around them, each; and the venue may have told a line to stay away for a minute.
    assert 155 <= summary["virtual_seconds"] <= 2 * (80 + REFUSED_S)
    assert list(summary["sometimes"]) == list(SOMETIMES)
