"""Another project's order-book client runs against the simulated venue and checks every update by itself.

Run by ``nox -s foreign``, which installs that client; its file name keeps it out of the ordinary run. The client
(python-kraken-sdk, asyncio) shares no code with ours: it asks the venue's REST interface for precisions, keeps its own
books, and compares its own checksum with the venue's after each update.
"""

from __future__ import annotations

import asyncio
import collections
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from kraken.spot import Market, SpotOrderBookClient

SECONDS = 20.0
SYMBOLS = 5
RATE = 250


@pytest.fixture
def addresses() -> Iterator[dict[str, str]]:
    command = [sys.executable, "-m", "kraken_engine", "venue", "--symbols", str(SYMBOLS), "--rate", str(RATE)]
    with subprocess.Popen([*command, "--control-port", "0", "--json"], stdout=subprocess.PIPE, text=True) as venue:
        assert venue.stdout is not None
        yield json.loads(venue.stdout.readline())
        venue.terminate()
        assert venue.wait(timeout=10) == 0


class Judge(SpotOrderBookClient):  # type: ignore[misc]  # the client has no type information
    """Counts what the client's own check says about every update."""

    def __init__(self) -> None:
        super().__init__(depth=10)
        self.snapshots: collections.Counter[str] = collections.Counter()
        self.valid: collections.Counter[str] = collections.Counter()
        self.invalid: collections.Counter[str] = collections.Counter()

    async def on_book_update(self, pair: str, message: dict[str, Any]) -> None:
        if message.get("type") == "snapshot":
            self.snapshots[pair] += 1
        elif message.get("type") == "update":
            (self.valid if self.get(pair=pair)["valid"] else self.invalid)[pair] += 1


def test_every_update_passes_the_checksum_of_a_client_that_is_not_ours(
    addresses: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    base = addresses["ws"].removesuffix("/v2")
    monkeypatch.setattr(SpotOrderBookClient, "WS_URL", base)
    monkeypatch.setattr(SpotOrderBookClient, "AUTH_WS_URL", addresses["ws_auth"].removesuffix("/v2"))
    monkeypatch.setattr(Market, "URL", addresses["rest"])

    with urllib.request.urlopen(f"{addresses['control']}/symbols") as answer:
        pairs: list[str] = json.load(answer)
    judge = asyncio.run(_follow(pairs))
    counted = {"snapshots": judge.snapshots, "valid": judge.valid, "invalid": judge.invalid}
    sys.stdout.write(json.dumps({name: dict(counts) for name, counts in counted.items()}) + "\n")

    assert not judge.exception_occur
    assert judge.invalid == {}
    assert set(judge.snapshots) == set(pairs)
    assert set(judge.valid) == set(pairs)
    assert judge.valid.total() >= RATE * SECONDS / 2


async def _follow(pairs: list[str]) -> Judge:
    judge = Judge()
    await judge.start()
    try:
        await judge.add_book(pairs=pairs)
        await asyncio.sleep(SECONDS)
    finally:
        await judge.stop()
    return judge
