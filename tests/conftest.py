"""Rules for all tests.

Hypothesis judges what is true, not how fast this machine is today: its deadline per example is off. A failing example
is printed in a form that can be pasted into the test.

``HYPOTHESIS_PROFILE=deep`` plays 10,000 examples where a test does not set a number of its own (``nox -s deep``).
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile("kraken-engine", deadline=None, print_blob=True)
settings.register_profile(
    "deep", deadline=None, print_blob=True, max_examples=10_000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "kraken-engine"))
