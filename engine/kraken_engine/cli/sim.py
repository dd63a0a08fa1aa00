"""``kraken-engine sim``: seeds through the simulated world, and failures as small plans that can be replayed."""

from __future__ import annotations

import importlib.metadata
import posixpath
import sys
from typing import Literal

from kraken_engine.cli.output import print_json
from kraken_engine.cli.parameters import Flag, Minutes
from kraken_engine.errors import ConfigError, UsageError
from kraken_engine.runtime import Files, real_runtime
from kraken_engine.sim.campaign import Campaign, Failure, judged_again, run_campaign
from kraken_engine.sim.figures import Figures, distribution, promise_of
from kraken_engine.sim.plan import Plan
from kraken_engine.sim.runner import Options, Report, simulate

__all__ = ["sim", "told_of"]

Profile = Literal["none", "mixed", "storm", "network", "venue", "clock", "private", "rest", "failover"]

_MOST_SEEDS = 1_000_000


def sim(
    *,
    seeds: str = "0:10",
    minutes: Minutes = 10.0,
    profile: Profile = "mixed",
    vary: Flag = False,
    replay: str | None = None,
    json: Flag = False,
) -> int:
    """Run the engine in simulated worlds full of faults, and judge it by its invariants.

    Parameters
    ----------
    seeds
        From A up to, not including, B: A:B.
    minutes
        Virtual minutes of faults per seed.
    profile
        Which faults, and how many.
    vary
        Give every other seed fewer minutes, 2 at least.
    replay
        Instead: one seed again, or the plan of a file (*.json), with its last events.
    json
        Print one line of JSON.
    """
    options = Options(minutes=minutes, profile=profile, vary=vary)
    if replay is not None:
        return _replay(replay, options, json=json)
    campaign = run_campaign(_seeds(seeds), options, each=None if json else _progress)
    if json:
        print_json(campaign.as_json())
    else:
        _summarise(campaign, options)
    return 1 if campaign.violations else 0


def _seeds(text: str) -> range:
    first, colon, end = text.partition(":")
    if not (colon and first.isdecimal() and end.isdecimal()):
        raise UsageError(f"seeds: expected A:B, such as 0:100, got {text!r}")
    chosen = range(int(first), int(end))
    if not 0 < len(chosen) <= _MOST_SEEDS:
        raise UsageError(f"seeds: expected 1 to {_MOST_SEEDS} seeds, got {len(chosen)}")
    return chosen


def _replay(what: str, options: Options, *, json: bool) -> int:
    plan: Plan | None = None
    seed = what
    if not what.isdecimal():
        plan = _plan(real_runtime().files, what)
        seed = plan.seed
    report = judged_again(simulate(seed, plan, options), options)
    if json:
        campaign = Campaign()
        campaign.add(report)
        found = report.violation
        shown = [] if found is None else [{"seed": seed, "invariant": found.invariant, "what": found.what}]
        print_json(campaign.as_json() | {"violations": shown})
    else:
        _write([*report.tail, _line(report)])
    return 1 if report.violation is not None else 0


def _plan(files: Files, path: str) -> Plan:
    try:
        return Plan.from_json(files.read_bytes(path))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None


def _progress(report: Report) -> None:
    _write([_line(report)])


def _line(report: Report) -> str:
    outcome = "ok" if report.violation is None else f"VIOLATION {report.violation}"
    return f"seed {report.seed}: {sum(report.fault_kinds.values())} faults, trace {report.digest}: {outcome}"


def _summarise(campaign: Campaign, options: Options) -> None:
    lines: list[str] = []
    for failure in campaign.violations:
        lines += told_of(failure, options)
    pace = campaign.virtual_s / max(campaign.cpu_s, 1e-9)
    counted = f"{len(campaign.trace_hashes)} seeds, {len(campaign.violations)} violations"
    lines.append(f"{counted}, {campaign.virtual_s:.0f} virtual seconds, {pace:.0f} per CPU second")
    never = campaign.sometimes.never()
    if never:
        lines.append(f"never reached: {', '.join(never)}")
    lines += _times(campaign.figures)
    _write(lines)


def _times(figures: Figures) -> list[str]:
    """Return the distributions of times, each with what was promised."""
    if not figures.seconds:
        return []
    lines = ["", f"{'times in seconds':64}{'count':>8}{'min':>8}{'p50':>8}{'p90':>8}{'p99':>8}{'max':>8}  promised"]
    for name, seconds in figures.rows().items():
        shown = distribution(seconds)
        values = "".join(f"{shown[part]:8.3f}" for part in ("min", "p50", "p90", "p99", "max"))
        lines.append(f"{name:64}{len(seconds):8}{values}  {promise_of(name)}".rstrip())
    return [*lines, *(f"PROMISE BROKEN {broken}" for broken in figures.broken())]


def told_of(failure: Failure, options: Options) -> list[str]:
    """Return what somebody needs who wants to see this failure again."""
    report, plan = failure.report, failure.shrunk.plan
    return [
        "",
        f"seed {report.seed}: {failure.smallest.violation}",
        f"commit: {_commit(real_runtime().files)}",
        f"options: {_as_arguments(options)}",
        f"smallest plan, {len(plan.faults)} faults (save it as plan.json):",
        plan.to_json().rstrip(),
        "last events:",
        *(f"  {event}" for event in failure.smallest.tail),
        f"replay: kraken-engine sim --replay plan.json --profile {options.profile}",
        f"or:     kraken-engine sim --replay {report.seed} {_as_arguments(options)}",
        "",
    ]


def _as_arguments(options: Options) -> str:
    return f"--minutes {options.minutes:g} --profile {options.profile}{' --vary' if options.vary else ''}"


def _commit(files: Files) -> str:
    """Return the commit of the work tree this code is run from, as far as its files tell, else the version."""
    root = f"{posixpath.dirname(__file__)}/../../.."
    try:
        git = f"{root}/.git"
        if "kraken-engine" not in files.read_bytes(f"{root}/pyproject.toml").decode():
            return _version()
        if files.look(git).kind == "file":  # a further work tree of a repository elsewhere
            git = files.read_bytes(git).decode().removeprefix("gitdir: ").strip()
        head = files.read_bytes(f"{git}/HEAD").decode().strip()
        if not head.startswith("ref: "):
            return head
        return _resolved(files, git, head.removeprefix("ref: "))
    except (OSError, UnicodeError):
        return _version()


def _resolved(files: Files, git: str, name: str) -> str:
    """Return the commit that a branch is at."""
    try:
        common = posixpath.join(git, files.read_bytes(f"{git}/commondir").decode().strip())
    except OSError:
        common = git
    try:
        return files.read_bytes(f"{common}/{name}").decode().strip()
    except OSError:
        for line in files.read_bytes(f"{common}/packed-refs").decode().splitlines():
            if line.endswith(f" {name}"):
                return line.partition(" ")[0]
    return _version()


def _version() -> str:
    return f"of version {importlib.metadata.version('kraken-engine')}"


def _write(lines: list[str]) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
