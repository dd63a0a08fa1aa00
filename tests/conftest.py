"""Rules for all tests.

Hypothesis judges what is true, not how fast this machine is today: its deadline per example is off. A failing example
is printed in a form that can be pasted into the test.
"""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("kraken-engine", deadline=None, print_blob=True)
settings.load_profile("kraken-engine")
