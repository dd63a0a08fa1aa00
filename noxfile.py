"""The sessions of this project: ``nox -l`` lists them, ``nox -s tests`` runs one.

Every session installs what it needs from the dependency groups of ``pyproject.toml``; nothing else has to be there but
Python 3.11 or newer.
"""

from __future__ import annotations

import os
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["tests"]

PYPROJECT = nox.project.load_toml("pyproject.toml")
HTML = "docs/_build/html"


@nox.session
def demo(session: nox.Session) -> None:
    """Run the engine on the embedded venue, break it three times, and show that it heals."""
    _install(session)
    session.run("kraken-engine", "demo", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the whole test suite, two workers a core: a third of the time a test waits for a socket or a process."""
    _install(session, "tests")
    workers = str(2 * (os.cpu_count() or 1))
    session.run("pytest", "-q", "-n", workers, "--dist", "worksteal", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting, and the rules for asynchronous code."""
    session.install(*_group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("flake8", "engine")  # tests break these rules on purpose; ruff has the everyday ones


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of the package, of the tests, and of the public API as an application sees it."""
    _install(session, "types")
    session.run("mypy")
    session.run("pyright")
    session.run("pyright", "tests/typing")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning is an error, and the interactive examples must print what they show."""
    _install(session, "docs")
    session.run("sphinx-build", "-q", "-W", "--keep-going", "-b", "html", "docs", HTML)
    session.run("sphinx-build", "-q", "-W", "--keep-going", "-b", "doctest", "docs", "docs/_build/doctest")
    session.log(f"open {HTML}/index.html")


@nox.session
def foreign(session: nox.Session) -> None:
    """Let other people's Kraken clients check the simulated venue."""
    _install(session, "foreign")
    programs = sorted(str(program) for program in Path("tests/foreign").glob("conformance_*.py"))
    session.run("pytest", "-q", "-rP", *(session.posargs or programs))


@nox.session
def bench(session: nox.Session) -> None:
    """Measure against the usual ways to do the same; compare ratios of one run, never figures of two."""
    _install(session, "tests")
    for program in sorted(Path("bench").glob("*.py")):
        session.run("python", str(program), *session.posargs)


@nox.session
def sim(session: nox.Session) -> None:
    """Run the engine in simulated worlds full of faults: a hundred seeds of ten minutes each, or what you ask for.

    Unless you ask for something, the market is also cancelled at every step of its life.
    """
    _install(session, "tests")
    session.run("kraken-engine", "sim", *(session.posargs or ("--seeds", "0:100", "--minutes", "10")))
    if not session.posargs:
        session.run("pytest", "-q", "-rP", "tests/sim/test_sweep_market.py", env={"KRAKEN_SIM_FULL": "1"})


@nox.session
def mutants(session: nox.Session) -> None:
    """Hunt the bugs planted in the engine: each has to fall within 50 seeds."""
    _install(session, "tests")
    session.run("python", "-m", "tests.sim.hunt_mutants", *session.posargs)


@nox.session
def deep(session: nox.Session) -> None:
    """Play 10,000 examples of each state machine: breaker, limiter, nonce, token, or what you name."""
    _install(session, "tests")
    machines = [str(file) for file in sorted(Path("tests/control").glob("test_*_machine.py"))]
    # One test takes minutes here, by right: nothing hangs.
    patience = ("-o", "faulthandler_timeout=0", "--durations=0")
    session.run(
        "pytest", "-q", "-n", "auto", *patience, *(session.posargs or machines), env={"HYPOTHESIS_PROFILE": "deep"}
    )


@nox.session
def drill(session: nox.Session) -> None:
    """Break things over real sockets and count what was lost: ``nox -s drill -- NAME``, or every one of them."""
    _install(session, "tests")
    names = session.posargs[:1] or [
        file.stem for file in sorted(Path("tests/drills").glob("*.py")) if not file.stem.startswith(("_", "test_"))
    ]
    for name in names:
        session.run("python", "-m", f"tests.drills.{name}", *session.posargs[1:])


@nox.session
def changelog(session: nox.Session) -> None:
    """Show what the next release notes would say."""
    session.install(*_group("changelog"))
    session.run("towncrier", "build", "--draft", "--version", "next", *session.posargs)


def _install(session: nox.Session, *groups: str) -> None:
    """Install the package, editable (so that a reused environment is never stale), and the groups."""
    session.install("-e", ".[cli]", *_group(*groups))


def _group(*names: str) -> tuple[str, ...]:
    return nox.project.dependency_groups(PYPROJECT, *names)
