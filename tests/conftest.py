"""Rules for all tests.

Hypothesis judges what is true, not how fast this machine is today: its deadline per example is off. A failing example
is printed in a form that can be pasted into the test.

Every test runs under the eyes of :mod:`tests.canaries`: forty secrets that must never be seen.

The examples are the same in every run, so that a run says something of the change and nothing of its luck. Luck has
profiles of its own: ``HYPOTHESIS_PROFILE=explore`` draws other examples each time, ``HYPOTHESIS_PROFILE=deep`` plays
10,000 of them where a test does not set a number of its own (``nox -s deep``).
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from tests.canaries import (  # noqa: F401 - hooks and fixtures, found by their names
    canary_keys,
    canary_tokens,
    pytest_configure,
    pytest_runtest_makereport,
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_testnodedown,
    pytest_unconfigure,
    pytest_warning_recorded,
)

settings.register_profile("kraken-engine", deadline=None, print_blob=True, derandomize=True)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.register_profile(
    "deep", deadline=None, print_blob=True, max_examples=10_000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "kraken-engine"))


def pytest_collection_finish() -> None:
    """Set aside what is here before the first test: thousands of simulated runs would each search it for garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def locks_of_this_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Let the locks of keys be those of this process: test runs side by side may use the same key."""
    directory = tmp_path_factory.mktemp("locks")
    before = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = str(directory)
    yield directory
    if before is None:
        del os.environ["XDG_RUNTIME_DIR"]
    else:
        os.environ["XDG_RUNTIME_DIR"] = before
