"""One venue process for all tests of commands that need one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.venue_process import venue_process


@pytest.fixture(scope="session")
def venue_addresses() -> Iterator[dict[str, Any]]:
    with venue_process("--symbols", "2", "--rate", "200", "--seed", "5", "--control-port", "0") as (addresses, _):
        yield addresses
