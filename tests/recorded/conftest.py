"""Where the recordings of the real venue are.

They belong to their authors and are not part of this repository. ``KRAKEN_FIXTURES`` names their folder; without it,
``../shared/fixtures/kraken`` beside the repository is tried. With ``KRAKEN_FIXTURES_REQUIRED=1`` a missing folder
fails the tests instead of skipping them.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """Return the folder of recordings."""
    default = Path(__file__).parents[2] / ".." / "shared" / "fixtures" / "kraken"
    folder = Path(os.environ.get("KRAKEN_FIXTURES") or default).resolve()
    if not (folder / "ws_v2").is_dir():
        why = "no recordings of the venue: set KRAKEN_FIXTURES to the folder that holds ws_v2/"
        if os.environ.get("KRAKEN_FIXTURES_REQUIRED") == "1":
            pytest.fail(why)
        pytest.skip(why)
    return folder
