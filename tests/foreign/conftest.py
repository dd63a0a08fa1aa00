"""Other people's clients, and what of them the canaries need not see."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def no_debug_log_of_ccxt() -> Iterator[None]:
    """Ccxt writes the headers of each request, the key among them, to its debug log. That is its user's matter."""
    logger = logging.getLogger("ccxt")
    before = logger.level
    logger.setLevel(logging.WARNING)
    yield
    logger.setLevel(before)
